//! `lsattr`: attributes that a file has in its file system.

use crate::host::{
    Command,
    query::{TIMEOUT_MS, digest::beneath_root},
};
use std::path::PathBuf;

/// Letters that `chattr` takes.
pub(crate) const LETTERS: &str = "aAcCdDijPsStTu";

/// The attributes of a file: letters and dashes on one line, then its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Which file.
    pub path: PathBuf,
}

impl Attributes {
    pub(super) fn command(&self) -> Command {
        let argv = vec!["lsattr".to_owned(), "-d".to_owned(), beneath_root(&self.path)];
        Command { argv, timeout_ms: TIMEOUT_MS, ..Command::default() }
    }
}

/// The letters that `chattr` could set.
pub(crate) fn letters(answer: &str) -> String {
    let first = answer.split_whitespace().next().unwrap_or_default();
    first.chars().filter(|it| LETTERS.contains(*it)).collect()
}
