//! What `atq` and `at` are asked.

use crate::host::Command;

/// A question about jobs that run once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Those that wait: number, time, queue and user on each line.
    Jobs,
    /// What a job runs.
    Job(String),
}

impl Question {
    pub(super) fn command(&self) -> Command {
        match self {
            Self::Jobs => super::plain(&["atq"]),
            Self::Job(number) => super::plain(&["at", "-c", number]),
        }
    }
}
