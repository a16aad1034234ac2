//! What npm is asked.

use crate::host::Command;
use std::path::PathBuf;

/// The packages of a folder, or of the system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The folder; the system's if `None`.
    pub folder: Option<PathBuf>,
    /// Who asks; root if `None`.
    pub user: Option<String>,
}

impl Question {
    /// An npm command about them.
    pub fn npm(&self, args: &[&str], timeout_ms: u64) -> Command {
        let scope = if self.folder.is_none() { &["--global"][..] } else { &[] };
        let words = ["npm"].iter().chain(&args[..1]).chain(scope).chain(&args[1..]);
        Command {
            argv: words.map(|it| (*it).to_owned()).collect(),
            cwd: self.folder.clone(),
            user: self.user.clone(),
            timeout_ms,
            ..Command::default()
        }
    }
    pub(super) fn command(&self) -> Command {
        self.npm(&["list", "--json", "--depth=0"], super::TIMEOUT_MS)
    }
}
