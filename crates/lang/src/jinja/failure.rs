//! What went wrong in a Jinja template: a sentence, a place, what to do; and where it was called from.

use super::lexer::Spot;
use crate::say::{At, Say, Text, error, small};
use model::{Diagnostic, Span};
use std::sync::Arc;

/// A complaint that unwinds to where the rendering can go on.
#[derive(Clone, Debug)]
pub(super) struct Failure(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    code: &'static str,
    message: String,
    help: Option<String>,
    spot: Option<Spot>,
    file: Option<Arc<Text>>,
    notes: Vec<String>,
    /// Nothing more can be rendered: a limit is reached.
    fatal: bool,
}

/// What everything that a template calls gives back.
pub(super) type Outcome<T> = Result<T, Failure>;

impl Failure {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self(Box::new(Inner {
            code,
            message,
            help: None,
            spot: None,
            file: None,
            notes: Vec::new(),
            fatal: false,
        }))
    }
    /// Not Jinja.
    pub(super) fn syntax(message: impl Into<String>) -> Self {
        Self::new("E0202", message)
    }
    /// A value that does not fit.
    pub(super) fn value(message: impl Into<String>) -> Self {
        Self::new("E0210", message)
    }
    /// A bound was reached.
    pub(super) fn limit(message: impl Into<String>) -> Self {
        let mut failure = Self::new("E0208", message);
        failure.0.fatal = true;
        failure
    }
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.0.help.get_or_insert(help.into());
        self
    }
    pub(super) fn maybe_help(self, help: Option<String>) -> Self {
        match help {
            Some(help) => self.help(help),
            None => self,
        }
    }
    pub(super) fn note(mut self, note: impl Into<String>) -> Self {
        if self.0.notes.len() < NOTES {
            self.0.notes.push(note.into());
        }
        self
    }
    /// The place, unless a nearer one is known.
    pub(super) fn at(mut self, spot: Spot) -> Self {
        self.0.spot.get_or_insert(spot);
        self
    }
    /// The file that the place is in, unless it is known.
    pub(super) fn within(mut self, file: &Arc<Text>) -> Self {
        if self.0.spot.is_some() {
            self.0.file.get_or_insert_with(|| file.clone());
        }
        self
    }
    pub(super) fn code(&mut self, code: &'static str) {
        self.0.code = code;
    }
    pub(super) fn is(&self, code: &str) -> bool {
        self.0.code == code
    }
    pub(super) fn is_fatal(&self) -> bool {
        self.0.fatal
    }
    /// For people; `main` is the file that is rendered.
    pub(super) fn explain(self, main: &Arc<Text>, label: &str) -> Diagnostic {
        let inner = *self.0;
        let file = inner.file.unwrap_or_else(|| main.clone());
        let mut diagnostic = error(inner.code, inner.message).maybe_help(inner.help);
        diagnostic =
            diagnostic.at(span(&file, inner.spot.unwrap_or(Spot { line: 1, ..Spot::default() }), label));
        for note in inner.notes {
            diagnostic = diagnostic.note(note);
        }
        if file.path != main.path {
            diagnostic = diagnostic.note(format!("part of {}", main.path));
        }
        diagnostic
    }
}

/// Calls that one complaint names.
const NOTES: usize = 8;

/// The place in a file.
pub(super) fn span(file: &Text, spot: Spot, label: &str) -> Span {
    let byte = spot.byte as usize;
    let start = file.body.get(..byte).and_then(|it| it.rfind('\n')).map_or(0, |it| it + 1);
    let column = file.body.get(start..byte).map_or(1, |it| it.chars().count() + 1);
    let words = file.body.get(byte..byte + spot.length as usize).unwrap_or("");
    let length = words.lines().next().unwrap_or("").chars().count();
    file.span(At { line: spot.line.max(1), column: small(column), length: small(length.max(1)) }, label)
}
