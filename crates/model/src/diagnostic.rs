//! Complaints about people's files, as data: made where text is read, shown anywhere.

use crate::Question;
use serde::{Deserialize, Serialize};

/// Stable code such as `E0102`; `labctl explain` knows each.
pub type Code = String;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nothing is made from this file.
    Error,
    /// It works, but probably not as meant.
    Warning,
}

/// A complaint about a state, pillar, reactor or target text, ready to be shown anywhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// How bad.
    pub severity: Severity,
    /// `E####` or `W####`.
    pub code: Code,
    /// What is wrong, in lower case, without a full stop.
    pub message: String,
    /// Where; the first is the main place, others explain.
    pub spans: Vec<Span>,
    /// More about it: `included from …`.
    pub notes: Vec<String>,
    /// What to do about it.
    pub help: Option<String>,
}

/// A place in a file; carries its own lines of text, so that no one needs the file to show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// Relative to the root of the trees, with `/`, such as `states/web/init.sls`.
    pub file: String,
    /// 1-based.
    pub line: u32,
    /// 1-based, in characters.
    pub column: u32,
    /// In characters; at least 1.
    pub length: u32,
    /// The whole line.
    pub text: String,
    /// What to write beneath the caret; may be empty.
    pub label: String,
}

/// A result that may come with complaints. There is no value if any of them is an error.
#[derive(Clone, Debug)]
pub struct Compiled<T> {
    /// What was made.
    pub value: Option<T>,
    /// What is wrong with the sources: errors and warnings, in order of place.
    pub diagnostics: Vec<Diagnostic>,
    /// What templates asked the minion and nobody has answered: it counted as false or empty. Answers may lead to
    /// further questions.
    pub questions: Vec<Question>,
}

impl<T> Compiled<T> {
    /// A value without complaints.
    pub fn clean(value: T) -> Self {
        Self { value: Some(value), diagnostics: Vec::new(), questions: Vec::new() }
    }
    /// Whether something is wrong enough that there is no value.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|it| it.severity == Severity::Error)
    }
}
