//! What is asked of `WireGuard`: `wg` answers.

use super::plain;
use crate::host::Command;

/// A read-only question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// The interfaces that are up, apart by spaces.
    Interfaces,
}

impl Question {
    pub(super) fn command(&self) -> Command {
        match self {
            Self::Interfaces => plain(&["wg", "show", "interfaces"]),
        }
    }
}
