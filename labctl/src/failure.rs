//! What went wrong, as data: what happened, where, what to do next, and the exit code.

use model::{
    Diagnostic,
    api::{ErrorKind, ErrorView},
};
use std::io;

/// How the program ends; the one table of exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    /// Did what was asked.
    Done,
    /// It ran, and something failed on at least one minion.
    Failed,
    /// Wrong arguments, or a prompt was refused or impossible.
    Usage,
    /// Does not compile for any target.
    Compile,
    /// Some targeted minion did not answer.
    Unanswered,
    /// The target matched no minion.
    NoMatch,
    /// No master there.
    NoMaster,
    /// Not allowed.
    Forbidden,
    /// No such job, minion, rule.
    NotFound,
    /// With `--detailed-exitcode`: succeeded and changed.
    Changed,
    /// Ctrl-C.
    Interrupted,
    /// Whoever read our output went away: what the shell says of a program that a closed pipe ended.
    Pipe,
    /// A command's own code, with `--passthrough`.
    Command(u8),
}

impl Exit {
    /// The number.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Compile => 3,
            Self::Unanswered => 4,
            Self::NoMatch => 5,
            Self::NoMaster => 6,
            Self::Forbidden => 7,
            Self::NotFound => 8,
            Self::Changed => 10,
            Self::Interrupted => 130,
            Self::Pipe => 141,
            Self::Command(code) => code,
        }
    }
}

/// Why a command could not do what was asked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    pub(crate) diagnostics: Vec<Diagnostic>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None, diagnostics: Vec::new() }
    }
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(Exit::NotFound, message)
    }
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
    pub(crate) fn maybe_hint(self, hint: Option<String>) -> Self {
        Self { hint: hint.or(self.hint), ..self }
    }
    /// A file that cannot be read or written.
    pub(crate) fn file(action: &str, path: &std::path::Path, error: &io::Error) -> Self {
        Self::new(Exit::Failed, format!("cannot {action} `{}`: {error}", path.display()))
    }
}

impl From<ErrorView> for Failure {
    fn from(view: ErrorView) -> Self {
        let exit = match view.kind {
            ErrorKind::Usage => Exit::Usage,
            ErrorKind::Compile => Exit::Compile,
            ErrorKind::NoMatch => Exit::NoMatch,
            ErrorKind::Forbidden => Exit::Forbidden,
            ErrorKind::NotFound => Exit::NotFound,
            ErrorKind::Unavailable | ErrorKind::Unknown => Exit::Failed,
        };
        Self { exit, message: view.message, hint: view.hint, diagnostics: view.diagnostics }
    }
}

impl From<io::Error> for Failure {
    /// Of standard output: a reader that went away is no error worth a word.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(Exit::Pipe, "");
        }
        Self::new(Exit::Failed, format!("cannot write the output: {error}"))
    }
}

/// The most alike of `known`, for "did you mean".
pub(crate) fn did_you_mean<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    const ALIKE: f64 = 0.8;
    const OFFERED_MAX: usize = 3;
    let mut alike: Vec<(f64, &str)> =
        known.into_iter().map(|it| (likeness(typed, it), it)).filter(|(score, _)| *score >= ALIKE).collect();
    alike.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    alike.dedup();
    let names: Vec<String> = alike.iter().take(OFFERED_MAX).map(|(_, it)| format!("`{it}`")).collect();
    (!names.is_empty()).then(|| format!("did you mean {}?", names.join(" or ")))
}

/// As Jaro and Winkler count; letters that changed places in a short word are alike, too.
fn likeness(typed: &str, known: &str) -> f64 {
    const ONE_SLIP: f64 = 0.9;
    let slip = typed.chars().count() > 2 && strsim::osa_distance(typed, known) <= 1;
    strsim::jaro_winkler(typed, known).max(if slip { ONE_SLIP } else { 0.0 })
}

/// A bug: writes what is known to a file, says where it is, ends with 70.
pub(crate) fn report_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let path = std::env::temp_dir().join(format!("labctl-panic-{}.txt", std::process::id()));
    let arguments: Vec<String> = std::env::args().take(3).collect();
    let text = format!(
        "labctl {}\n{}\n{panic}\n{}\n",
        model::VERSION,
        arguments.join(" "),
        std::backtrace::Backtrace::force_capture()
    );
    let written = std::fs::write(&path, text);
    eprintln!("error: this is a bug in labctl: {panic}");
    if written.is_ok() {
        eprintln!("  help: please report it with the file {}", path.display());
    }
    std::process::exit(70);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_no_have_the_exit_codes_of_the_table() {
        for (kind, code) in [
            (ErrorKind::Usage, 2),
            (ErrorKind::Compile, 3),
            (ErrorKind::NoMatch, 5),
            (ErrorKind::Forbidden, 7),
            (ErrorKind::NotFound, 8),
            (ErrorKind::Unavailable, 1),
        ] {
            let view = ErrorView { kind, message: String::new(), hint: None, diagnostics: Vec::new() };
            assert_eq!(Failure::from(view).exit.code(), code, "{kind:?}");
        }
    }

    #[test]
    fn a_typing_error_finds_what_was_meant() {
        assert_eq!(did_you_mean("wbe", ["web", "base"]), Some("did you mean `web`?".to_owned()));
        assert_eq!(did_you_mean("xyz", ["web", "base"]), None);
    }
}
