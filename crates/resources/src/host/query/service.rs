//! Questions about processes of services.

use super::{super::Command, TIMEOUT_MS};

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// The numbers of processes whose command line fits a regular expression.
    Processes(String),
}

impl Question {
    pub(super) fn command(&self) -> Command {
        let Self::Processes(pattern) = self;
        let argv = ["pgrep", "-f", "--", pattern].map(str::to_owned).to_vec();
        Command { argv, timeout_ms: TIMEOUT_MS, ..Command::default() }
    }
}
