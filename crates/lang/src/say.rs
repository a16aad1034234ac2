//! Makes diagnostics: places in files, severity, notes and "did you mean".

use crate::limits;
use model::{Diagnostic, Severity, Span};
use std::sync::{Arc, OnceLock};

/// An error without a place.
pub(crate) fn error(code: &str, message: impl Into<String>) -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        code: code.to_owned(),
        message: message.into(),
        spans: Vec::new(),
        notes: Vec::new(),
        help: None,
    }
}

/// A warning without a place.
pub(crate) fn warning(code: &str, message: impl Into<String>) -> Diagnostic {
    Diagnostic { severity: Severity::Warning, ..error(code, message) }
}

/// Adds to a diagnostic.
pub(crate) trait Say: Sized {
    /// A place; the first is the main one.
    fn at(self, span: Span) -> Self;
    /// More about it.
    fn note(self, note: impl Into<String>) -> Self;
    /// What to do about it.
    fn help(self, help: impl Into<String>) -> Self;
    /// What to do about it, if there is something.
    fn maybe_help(self, help: Option<String>) -> Self;
}

impl Say for Diagnostic {
    fn at(mut self, span: Span) -> Self {
        self.spans.push(span);
        self
    }
    fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }
    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
    fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
    }
}

/// Complaints in the making: no repetition, and no more than anyone would read.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    list: Vec<Diagnostic>,
    dropped: usize,
}

impl Complaints {
    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        if self.list.contains(&diagnostic) {
            return;
        }
        if self.list.len() < limits::DIAGNOSTICS {
            self.list.push(diagnostic);
        } else {
            self.dropped += 1;
        }
    }
    pub(crate) fn extend(&mut self, diagnostics: impl IntoIterator<Item = Diagnostic>) {
        diagnostics.into_iter().for_each(|it| self.push(it));
    }
    pub(crate) fn has_errors(&self) -> bool {
        self.dropped > 0 || self.list.iter().any(|it| it.severity == Severity::Error)
    }
    pub(crate) fn errors(&self) -> usize {
        self.dropped + self.list.iter().filter(|it| it.severity == Severity::Error).count()
    }
    /// All, in order of place.
    pub(crate) fn finish(mut self) -> Vec<Diagnostic> {
        let key = |it: &Diagnostic| it.spans.first().map(|span| (span.file.clone(), span.line, span.column));
        self.list.sort_by_cached_key(key);
        if self.dropped > 0 {
            self.list.push(error("E0104", format!("and {} more complaints", self.dropped)));
        }
        self.list
    }
}

/// A position in a text, in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct At {
    /// 1-based.
    pub(crate) line: u32,
    /// 1-based.
    pub(crate) column: u32,
    pub(crate) length: u32,
}

/// Numbers for people fit into 32 bits, as texts are bounded.
pub(crate) fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// A file as people wrote it.
#[derive(Debug)]
pub(crate) struct Text {
    pub(crate) path: String,
    pub(crate) body: String,
    /// Where each line begins; found when first asked for.
    starts: OnceLock<Vec<usize>>,
}

impl Text {
    pub(crate) fn new(path: String, body: String) -> Self {
        Self { path, body, starts: OnceLock::new() }
    }
    pub(crate) fn line(&self, line: u32) -> &str {
        let starts = self.starts.get_or_init(|| {
            std::iter::once(0).chain(self.body.match_indices('\n').map(|(byte, _)| byte + 1)).collect()
        });
        let start = starts.get(line.saturating_sub(1) as usize).copied().unwrap_or(self.body.len());
        self.body[start..].lines().next().unwrap_or("")
    }
    /// The position of a byte.
    pub(crate) fn at_byte(&self, byte: usize, length: usize) -> At {
        position(&self.body, byte, length)
    }
    pub(crate) fn span(&self, at: At, label: impl Into<String>) -> Span {
        let line = self.line(at.line);
        let chars = small(line.chars().count());
        let column = at.column.clamp(1, chars + 1);
        let length = at.length.clamp(1, (chars + 1).saturating_sub(column).max(1));
        quoted(&self.path, At { line: at.line.max(1), column, length }, line, label.into())
    }
}

/// Where a byte of a text is.
pub(crate) fn position(body: &str, byte: usize, length: usize) -> At {
    let before = body.get(..byte).unwrap_or(body);
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |it| it + 1);
    At { line: small(line), column: small(before[start..].chars().count() + 1), length: small(length) }
}

fn quoted(file: &str, at: At, line: &str, label: String) -> Span {
    let mut text: String = line.chars().take(limits::QUOTED_CHARS).collect();
    let (mut column, mut length) = (at.column, at.length);
    let most = small(limits::QUOTED_CHARS);
    if column > most {
        let from = column as usize - limits::QUOTED_CHARS / 2;
        text = line.chars().skip(from).take(limits::QUOTED_CHARS).collect();
        column -= small(from);
    }
    length = length.min(small(text.chars().count()) + 1 - column.min(small(text.chars().count()))).max(1);
    Span { file: file.to_owned(), line: at.line, column, length, text, label }
}

/// A text that was rendered from a file, and from which of its lines each line came.
#[derive(Debug)]
pub(crate) struct Rendered {
    pub(crate) source: Arc<Text>,
    /// Without marks.
    pub(crate) text: String,
    /// Source line of each line, if it is not the same.
    pub(crate) lines: Option<Vec<u32>>,
}

impl Rendered {
    /// A file that was not rendered.
    pub(crate) fn plain(source: Arc<Text>) -> Self {
        let text = source.body.clone();
        Self { source, text, lines: None }
    }
    /// The source line of a rendered one.
    pub(crate) fn source_line(&self, line: u32) -> u32 {
        let Some(lines) = &self.lines else { return line };
        lines.get(line.saturating_sub(1) as usize).or(lines.last()).copied().unwrap_or(1)
    }
    /// A place in the source file for a position in the rendered text: the same words where they are found,
    /// else the whole line.
    pub(crate) fn span(&self, at: At, label: impl Into<String>) -> Span {
        if self.lines.is_none() {
            return self.source.span(at, label);
        }
        let line = self.source_line(at.line);
        let source = self.source.line(line);
        let rendered = self.text.lines().nth(at.line.saturating_sub(1) as usize).unwrap_or("");
        if source == rendered {
            return self.source.span(At { line, ..at }, label);
        }
        let word: String = rendered.chars().skip(at.column as usize - 1).take(at.length as usize).collect();
        let place = match source.find(&word) {
            Some(byte) if !word.trim().is_empty() => {
                At { line, column: small(source[..byte].chars().count() + 1), length: at.length }
            }
            _ => {
                let indent = source.chars().take_while(|it| it.is_whitespace()).count();
                At { line, column: small(indent + 1), length: small(source.trim().chars().count()) }
            }
        };
        self.source.span(place, label)
    }
    /// What the line became, if that differs from what is written.
    pub(crate) fn note(&self, at: At) -> Option<String> {
        self.lines.as_ref()?;
        let rendered = self.text.lines().nth(at.line.saturating_sub(1) as usize)?;
        let source = self.source.line(self.source_line(at.line));
        (source != rendered && source.contains("{{"))
            .then(|| format!("rendered as `{}`", shortened(rendered.trim())))
    }
}

/// A text for a message: one line, not long.
pub(crate) fn shortened(text: &str) -> String {
    let line: String = text.lines().next().unwrap_or("").chars().take(60).collect();
    if line.len() < text.len() { format!("{line}…") } else { line }
}

/// How alike words must be to be suggested.
const ALIKE: f64 = 0.8;
/// What is further behind the best is not suggested beside it.
const NEARLY_AS_GOOD: f64 = 0.08;
/// At most this many suggestions.
const SUGGESTIONS: usize = 3;

/// One slip in a short word (`wbe` for `web`) is as near as many letters in common are in a long one.
const ONE_SLIP: f64 = 0.9;

fn alike(wrong: &str, name: &str) -> f64 {
    let slip =
        wrong.len() >= 3 && wrong.len().abs_diff(name.len()) <= 1 && strsim::osa_distance(wrong, name) == 1;
    strsim::jaro_winkler(wrong, name).max(if slip { ONE_SLIP } else { 0.0 })
}

/// `did you mean `a` or `b`?` for the nearest of the names, if any is near.
pub(crate) fn did_you_mean<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let wrong: String = wrong.chars().take(80).collect::<String>().to_lowercase();
    let mut near: Vec<(f64, &str)> = names
        .into_iter()
        .map(|name| (alike(&wrong, &name.to_lowercase()), name))
        .filter(|(alike, _)| *alike >= ALIKE)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    near.dedup_by(|a, b| a.1 == b.1);
    let best = near.first().map_or(1.0, |it| it.0);
    near.retain(|it| it.0 >= best - NEARLY_AS_GOOD);
    let names: Vec<_> = near.iter().take(SUGGESTIONS).map(|(_, name)| format!("`{name}`")).collect();
    match names.split_last()? {
        (last, []) => Some(format!("did you mean {last}?")),
        (last, rest) => Some(format!("did you mean {} or {last}?", rest.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_suggested_and_far_ones_are_not() {
        let names = ["file.managed", "file.absent", "pkg.installed"];
        assert_eq!(did_you_mean("file.manged", names).unwrap(), "did you mean `file.managed`?");
        assert_eq!(did_you_mean("wbe", ["web"]).unwrap(), "did you mean `web`?");
        assert_eq!(did_you_mean("xyz", names), None);
    }

    #[test]
    fn positions_count_characters_not_bytes() {
        assert_eq!(position("ä\nöx", 5, 1), At { line: 2, column: 2, length: 1 });
    }
}
