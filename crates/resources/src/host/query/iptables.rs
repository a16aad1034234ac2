//! What is asked of the packet filter by `iptables` and `ip6tables`.

use super::plain;
use crate::host::Command;

/// A table of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// `iptables` or `ip6tables`.
    pub program: &'static str,
    /// `filter`, `nat`, ...
    pub table: String,
}

/// A read-only question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whether a chain has a rule: ends with 0 if it has.
    Rule(Table, String, Vec<String>),
    /// A chain's policy and rules, as arguments.
    Chain(Table, String),
    /// All tables, as `iptables-restore` reads them.
    Save(&'static str),
}

impl Table {
    /// A command for it.
    pub fn command<T: AsRef<str>>(&self, words: &[T]) -> Command {
        let fixed = [self.program, "--wait", "--table", &self.table];
        let words: Vec<&str> = fixed.into_iter().chain(words.iter().map(AsRef::as_ref)).collect();
        plain(&words)
    }
}

impl Question {
    pub(super) fn command(&self) -> Command {
        match self {
            Self::Rule(table, chain, rule) => {
                let words: Vec<&str> =
                    ["--check", chain].into_iter().chain(rule.iter().map(String::as_str)).collect();
                table.command(&words)
            }
            Self::Chain(table, chain) => table.command(&["--list-rules", chain]),
            Self::Save(program) => plain(&[&format!("{program}-save")]),
        }
    }
}
