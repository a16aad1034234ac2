//! What `quotaon` is asked.

use crate::host::Command;

/// A question about quotas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whether quotas are on at a mount point: a line for each sort.
    State(String),
}

impl Question {
    pub(super) fn command(&self) -> Command {
        match self {
            Self::State(point) => super::plain(&["quotaon", "-p", "--", point]),
        }
    }
}
