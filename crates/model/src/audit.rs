//! The audit log: one record a request, and what is told of the chain that they make.

use crate::{Caller, ContentHash, Timestamp};
use serde::{Deserialize, Serialize};

/// One request, for the audit log. Committed with the records of what it caused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub caller: Caller,
    /// The request's name and gist, without secrets.
    pub what: String,
    /// `accepted`, or why it was refused.
    pub result: String,
}

/// One line of the log as it is stored: `hash` is the SHA-256 of `before` (32 bytes) followed by `text`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditLine {
    /// Its number; one more than that of the line before.
    pub number: u64,
    /// When, beside the text; the same as in it.
    pub at: Timestamp,
    /// Hash of the line before; zeros for the first.
    pub before: ContentHash,
    /// Hash of this line.
    pub hash: ContentHash,
    /// The [`Audit`] as JSON, byte for byte.
    pub text: String,
}

/// Which lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AuditFilter {
    /// Only with a higher number, oldest first; without it the newest.
    pub after: Option<u64>,
    /// Only at this time or later.
    pub since: Option<Timestamp>,
    /// Only of this caller.
    pub user: Option<String>,
    /// At most; 0 is 100.
    pub limit: u32,
}

/// What a walk over the chain found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditCheck {
    /// Lines that were looked at and are in order.
    pub lines: u64,
    /// Number and time of the first.
    pub first: Option<(u64, Timestamp)>,
    /// Number and time of the last.
    pub last: Option<(u64, Timestamp)>,
    /// Hash of the last: what to keep elsewhere, to compare later.
    pub head: Option<ContentHash>,
    /// Lines up to this number were removed by age, as a later line says.
    pub removed: Option<u64>,
    /// The first line that is not as it was written.
    pub broken: Option<AuditBreak>,
}

/// Where a chain is broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditBreak {
    /// Number of the line.
    pub number: u64,
    /// What is wrong with it.
    pub why: String,
}
