//! Asks programs and runs them, for modules that stand for a tool.

use crate::{
    Error, Host, Probe,
    host::{Action, Command, Query},
    output::size_in_words,
};
use model::Output;

/// Longest that a command may take which alters something small.
pub(crate) const SHORT_MS: u64 = 120_000;
/// Longest that one may take which downloads, builds or formats.
pub(crate) const LONG_MS: u64 = 1_800_000;

/// Most lines of an answer that an error repeats.
const LINES_MAX: usize = 3;

/// What the program says, whatever its exit code. An answer that was cut is none.
pub(crate) fn ask(host: &dyn Probe, query: &Query) -> Result<Output, Error> {
    let program = query.command().argv.remove(0);
    let output = host.query(query).map_err(Error::host("run", &program))?;
    if output.dropped > 0 {
        let most = size_in_words(query.answer_bytes_max());
        let text = format!("`{program}` says more than {most} about this, which is more than is read");
        return Err(Error::Refused(text));
    }
    Ok(output)
}

/// What the program says, if it ends with 0.
pub(crate) fn answer(host: &dyn Probe, query: &Query) -> Result<String, Error> {
    let output = ask(host, query)?;
    if output.code == Some(0) { Ok(output.stdout) } else { Err(refusal(query, output)) }
}

/// The error that an answer means.
pub(crate) fn refusal(query: &Query, output: Output) -> Error {
    let argv = query.command().argv;
    // The options are for programs; people know the tool by its first words.
    let words = argv.iter().map(String::as_str).take_while(|it| !it.starts_with('-')).take(3);
    let what = words.collect::<Vec<_>>().join(" ");
    let said =
        [&output.stderr, &output.stdout].into_iter().map(|it| last_lines(it)).find(|it| !it.is_empty());
    let message =
        said.unwrap_or_else(|| output.code.map_or("failed".into(), |it| format!("exited with {it}")));
    Error::Command { what, message, output: Box::new(output) }
}

/// The end of what a program said, as one line; without its advice to read its help.
fn last_lines(text: &str) -> String {
    let lines: Vec<&str> =
        text.lines().map(str::trim).filter(|it| !it.is_empty() && !it.starts_with("Try `")).collect();
    lines[lines.len().saturating_sub(LINES_MAX)..].join("; ")
}

/// Runs a program to its end; `what` is for people.
pub(crate) fn run(host: &mut dyn Host, command: Command, what: &str) -> Result<Output, Error> {
    let program = command.argv.first().cloned().unwrap_or_default();
    let done = host.perform(&Action::Run(command)).map_err(Error::host("run", program))?;
    done.success(what)
}

/// Program and arguments.
pub(crate) fn command<T: AsRef<str>>(argv: &[T], timeout_ms: u64) -> Command {
    let argv = argv.iter().map(|it| it.as_ref().to_owned()).collect();
    Command { argv, timeout_ms, ..Command::default() }
}

/// Runs a program that is called by what it does.
pub(crate) fn run_argv<T: AsRef<str>>(host: &mut dyn Host, argv: &[T]) -> Result<Output, Error> {
    let what = argv.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(" ");
    run(host, command(argv, LONG_MS), &what)
}
