//! What pip is asked.

use crate::host::Command;
use std::path::PathBuf;

/// Which pip, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pip {
    /// The program and what goes before its own words.
    pub argv: Vec<String>,
    /// Who runs it; root if `None`.
    pub user: Option<String>,
    /// Where.
    pub cwd: Option<PathBuf>,
    /// Its environment.
    pub env: Vec<(String, String)>,
}

impl Pip {
    /// A pip command.
    pub fn command(&self, args: &[&str], timeout_ms: u64) -> Command {
        let quiet = ["--disable-pip-version-check", "--no-input"];
        let words = self.argv.iter().map(String::as_str).chain(quiet).chain(args.iter().copied());
        Command {
            argv: words.map(str::to_owned).collect(),
            cwd: self.cwd.clone(),
            user: self.user.clone(),
            env: self.env.clone(),
            stdin: None,
            timeout_ms,
        }
    }
}

/// A question about Python packages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Which are installed: JSON.
    Installed(Pip),
    /// For which there is a newer version: JSON. This asks the index.
    Outdated(Pip),
}

impl Question {
    pub(super) fn command(&self) -> Command {
        match self {
            Self::Installed(pip) => pip.command(&["list", "--format=json"], super::TIMEOUT_MS),
            Self::Outdated(pip) => {
                pip.command(&["list", "--outdated", "--format=json"], super::REMOTE_TIMEOUT_MS)
            }
        }
    }
}
