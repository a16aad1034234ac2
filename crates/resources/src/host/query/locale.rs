//! What `locale` is asked.

use crate::host::Command;

/// A question about locales.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Which can be used: a line each.
    All,
}

impl Question {
    pub(super) fn command(self) -> Command {
        match self {
            Self::All => super::plain(&["locale", "-a"]),
        }
    }
}
