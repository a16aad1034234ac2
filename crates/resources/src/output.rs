//! Collects what a command prints, up to a limit.

use crate::{
    Error,
    host::{Done, Exit, OUTPUT_BYTES_MAX, Watch},
};
use model::Output;
use std::fmt::Write;

/// Both streams of a command, each cut at [`OUTPUT_BYTES_MAX`] unless it is made with another bound.
#[derive(Clone, Debug)]
pub struct Collected {
    bound: usize,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    dropped: u64,
}

impl Default for Collected {
    fn default() -> Self {
        Self::bounded(OUTPUT_BYTES_MAX)
    }
}

impl Collected {
    /// With each stream cut at so many bytes.
    pub fn bounded(bound: usize) -> Self {
        Self { bound, stdout: Vec::new(), stderr: Vec::new(), dropped: 0 }
    }

    /// As it is reported: lossy UTF-8 with a notice where something was cut.
    pub fn into_output(self, exit: Exit) -> Output {
        let code = match exit {
            Exit::Code(code) => Some(code),
            Exit::Signal(_) | Exit::TimedOut(_) | Exit::Cancelled => None,
        };
        Output {
            stdout: text(&self.stdout, self.bound),
            stderr: text(&self.stderr, self.bound),
            code,
            dropped: self.dropped,
        }
    }
}

impl Watch for Collected {
    fn output(&mut self, stderr: bool, bytes: &[u8]) {
        let stream = if stderr { &mut self.stderr } else { &mut self.stdout };
        let room = self.bound.saturating_sub(stream.len()).min(bytes.len());
        stream.extend_from_slice(&bytes[..room]);
        self.dropped += (bytes.len() - room) as u64;
    }
    fn cancelled(&self) -> bool {
        false
    }
}

/// For people: `64 KiB`.
pub(crate) fn size_in_words(bytes: usize) -> String {
    if bytes >= 1 << 20 { format!("{} MiB", bytes >> 20) } else { format!("{} KiB", bytes >> 10) }
}

fn text(stream: &[u8], bound: usize) -> String {
    let mut text = String::from_utf8_lossy(stream).into_owned();
    if stream.len() >= bound {
        let _ = write!(text, "\n[cut at {}]\n", size_in_words(bound));
    }
    text
}

/// Most lines and bytes of a failed command's output that an error message repeats.
const MESSAGE_LINES_MAX: usize = 5;
const MESSAGE_BYTES_MAX: usize = 1000;

impl Exit {
    /// For people: `exited with 1`.
    pub fn describe(self) -> String {
        match self {
            Self::Code(code) => format!("exited with {code}"),
            Self::Signal(signal) => format!("was ended by signal {signal}"),
            Self::TimedOut(ms) if ms % 1000 == 0 => format!("was killed after {} s (timeout)", ms / 1000),
            Self::TimedOut(ms) => format!("was killed after {ms} ms (timeout)"),
            Self::Cancelled => "was cancelled".to_owned(),
        }
    }
}

impl Done {
    /// Its output, if it ended with 0.
    pub fn success(self, what: &str) -> Result<Output, Error> {
        if self.exit == Exit::Code(0) { Ok(self.output) } else { Err(self.failure(what)) }
    }
    /// The error that its end means.
    pub fn failure(self, what: &str) -> Error {
        let said = [&self.output.stderr, &self.output.stdout]
            .into_iter()
            .find(|it| !it.trim().is_empty())
            .map_or_else(String::new, |it| format!(": {}", last_lines(it)));
        let message = format!("{}{said}", self.exit.describe());
        Error::Command { what: what.to_owned(), message, output: Box::new(self.output) }
    }
}

/// The end of a text, as one line.
fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let tail = lines[lines.len().saturating_sub(MESSAGE_LINES_MAX)..].join("; ");
    let start = tail.len().saturating_sub(MESSAGE_BYTES_MAX);
    let start = (start..tail.len()).find(|it| tail.is_char_boundary(*it)).unwrap_or(tail.len());
    tail[start..].to_owned()
}
