//! What is asked of the packet filter by `nft`.

use super::plain;
use crate::host::Command;

/// A read-only question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// A table: family and name.
    Table(String, String),
    /// A chain with its rules and their handles: family, table and name.
    Chain(String, String, String),
    /// Everything, as `nft -f` reads it.
    Ruleset,
}

impl Question {
    pub(super) fn command(&self) -> Command {
        match self {
            Self::Table(family, table) => plain(&["nft", "--stateless", "list", "table", family, table]),
            Self::Chain(family, table, chain) => {
                plain(&["nft", "--stateless", "--handle", "list", "chain", family, table, chain])
            }
            Self::Ruleset => plain(&["nft", "--stateless", "list", "ruleset"]),
        }
    }
}
