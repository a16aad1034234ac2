//! Questions about files of packages and groups of packages.

use super::{super::Command, TIMEOUT_MS};
use std::path::PathBuf;

/// Longest that dnf may take: it may fetch its lists.
const GROUP_TIMEOUT_MS: u64 = 300_000;

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// The version of the package in a file of Debian.
    DebVersion(PathBuf),
    /// The version of the package in a file of rpm, with the epoch if it has one.
    RpmVersion(PathBuf),
    /// What belongs to a group of dnf or yum.
    Group {
        /// Which of the two.
        program: &'static str,
        /// Its name.
        name: String,
    },
}

impl Question {
    pub(super) fn command(&self) -> Command {
        let (argv, timeout_ms) = match self {
            Self::DebVersion(path) => (
                vec!["dpkg-deb".to_owned(), "-f".into(), path.display().to_string(), "Version".into()],
                TIMEOUT_MS,
            ),
            Self::RpmVersion(path) => {
                let format = "%|EPOCH?{%{EPOCH}:}:{}|%{VERSION}-%{RELEASE}";
                let words = ["rpm", "-qp", "--qf", format, "--"].map(str::to_owned);
                (words.into_iter().chain([path.display().to_string()]).collect(), TIMEOUT_MS)
            }
            Self::Group { program, name } => {
                let words = [program, "-q", "group", "info", name];
                (words.map(str::to_owned).to_vec(), GROUP_TIMEOUT_MS)
            }
        };
        Command { argv, env: vec![("LC_ALL".to_owned(), "C".to_owned())], timeout_ms, ..Command::default() }
    }
}
