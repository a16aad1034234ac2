//! Words, icons and colours, the same everywhere; and errors as people read them.

use crate::{
    cli::{Color, Global},
    failure::Failure,
};
use lang::Paint;
use model::Timestamp;
use std::fmt::Write;
use unicode_width::UnicodeWidthStr;

/// A text in which strangers may have had a say, without what terminals obey; lines, tabs and colours stay.
pub(crate) fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for (index, it) in text.char_indices() {
        let colour = || {
            let rest = text[index..].strip_prefix("\x1b[").unwrap_or_default();
            rest.trim_start_matches(|it: char| it.is_ascii_digit() || it == ';').starts_with('m')
        };
        let end_of_line = || text[index..].starts_with("\r\n");
        let stays = match it {
            '\n' | '\t' => true,
            '\r' => end_of_line(),
            '\x1b' => colour(),
            _ => !it.is_control(),
        };
        shown.push(if stays { it } else { '\u{fffd}' });
    }
    shown
}

/// What a text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Good,
    Changed,
    Bad,
    Away,
    Dim,
    Strong,
}

/// How to write for a reader.
#[derive(Clone, Debug)]
pub(crate) struct Style {
    pub(crate) colour: bool,
    pub(crate) unicode: bool,
    /// Columns of the terminal; none in a pipe.
    pub(crate) width: Option<usize>,
    pub(crate) now: Timestamp,
    pub(crate) time: super::time::Spelling,
    /// -1 with `-q`, 1 with `-v`, 2 with `-vv`.
    pub(crate) verbosity: i8,
}

impl Style {
    /// For one of the standard streams.
    pub(crate) fn of_stream(global: &Global, terminal: bool) -> Self {
        let width = terminal.then(terminal_size::terminal_size).flatten().map(|(it, _)| usize::from(it.0));
        let columns = std::env::var("COLUMNS").ok().and_then(|it| it.parse().ok());
        Self {
            colour: wants_colour(global.color_wish(), terminal, &|name| {
                std::env::var_os(name).map(|it| it.to_string_lossy().into_owned())
            }),
            unicode: speaks_unicode(&|name| std::env::var(name).ok()),
            width: if terminal { width.or(columns) } else { None },
            now: super::time::now(),
            time: global.time_spelling(),
            verbosity: global.verbosity(),
        }
    }

    /// For tests: no colours, no terminal.
    #[cfg(test)]
    pub(crate) fn plain(now: Timestamp) -> Self {
        Self {
            colour: false,
            unicode: true,
            width: None,
            now,
            time: super::time::Spelling::Utc,
            verbosity: 0,
        }
    }

    /// Coloured, if colours are on.
    pub(crate) fn paint(&self, tone: Tone, text: &str) -> String {
        let code = match tone {
            _ if !self.colour || text.is_empty() => return text.to_owned(),
            Tone::Plain => return text.to_owned(),
            Tone::Good => "32",
            Tone::Changed => "33",
            Tone::Bad => "1;31",
            Tone::Away => "35",
            Tone::Dim => "2",
            Tone::Strong => "1",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// The icon of a word.
    pub(crate) fn icon(&self, word: &str) -> &'static str {
        let (fine, plain) = match word {
            "ok" => ("✓", "ok"),
            "changed" | "would change" => ("~", "~"),
            "skipped" | "cancelled" | "superseded" => ("○", "-"),
            "unreachable" | "lost contact" => ("?", "?"),
            "timeout" | "expired" | "waiting" | "running" | "accepted" | "offered" | "received" => ("⧗", "t"),
            _ => ("✗", "x"),
        };
        if self.unicode { fine } else { plain }
    }

    /// Icon in the colour of its word.
    pub(crate) fn mark(&self, word: &str) -> String {
        self.paint(tone_of(word), self.icon(word))
    }

    /// `fine` where the reader's locale can show it.
    pub(crate) fn either(&self, fine: &'static str, plain: &'static str) -> &'static str {
        if self.unicode { fine } else { plain }
    }

    /// How to draw diagnostics.
    pub(crate) fn diagnostics(&self) -> Paint {
        if self.colour { Paint::Ansi } else { Paint::Plain }
    }

    /// Cut to the terminal's width, if there is one.
    pub(crate) fn clip(&self, text: &str) -> String {
        match self.width {
            Some(width) => clip(text, width, self.either("…", "...")),
            None => text.to_owned(),
        }
    }
}

/// The colour of a word.
pub(crate) fn tone_of(word: &str) -> Tone {
    match word {
        "ok" | "up" => Tone::Good,
        "changed" | "would change" | "quiet" | "pending" => Tone::Changed,
        "failed" | "interrupted" | "refused" | "lost" | "conflict" | "suspended" | "revoked" | "rejected" => {
            Tone::Bad
        }
        "unreachable" | "expired" | "timeout" | "lost contact" | "down" => Tone::Away,
        "skipped" | "cancelled" | "superseded" => Tone::Dim,
        _ => Tone::Plain,
    }
}

/// At most `width` columns, with a mark where something was left out.
pub(crate) fn clip(text: &str, width: usize, mark: &str) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let room = width.saturating_sub(mark.width());
    let mut clipped = String::new();
    for character in text.chars() {
        clipped.push(character);
        if clipped.width() > room {
            clipped.pop();
            break;
        }
    }
    clipped + mark
}

type Variable<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Flag before environment before terminal.
fn wants_colour(wish: Color, terminal: bool, variable: Variable<'_>) -> bool {
    let set = |name| variable(name).is_some_and(|it| !it.is_empty());
    match wish {
        Color::Always => true,
        Color::Never => false,
        Color::Auto if set("NO_COLOR") => false,
        Color::Auto if variable("CLICOLOR_FORCE").is_some_and(|it| !it.is_empty() && it != "0") => true,
        Color::Auto => terminal && variable("TERM").is_none_or(|it| it != "dumb"),
    }
}

fn speaks_unicode(variable: Variable<'_>) -> bool {
    if variable("TERM").is_some_and(|it| it == "dumb") {
        return false;
    }
    let locale =
        ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| variable(name).filter(|it| !it.is_empty()));
    locale.is_none_or(|it| {
        let it = it.to_ascii_lowercase();
        it.contains("utf-8") || it.contains("utf8")
    })
}

/// Every line with `prefix` in front.
pub(crate) fn prefixed(text: &str, prefix: &str) -> String {
    let mut lines = String::new();
    for line in text.lines() {
        let _ = writeln!(lines, "{prefix}{line}");
    }
    lines
}

/// What happened, where, what to do next.
pub(crate) fn failure_text(failure: &Failure, style: &Style) -> String {
    let mut text = String::new();
    if !failure.diagnostics.is_empty() {
        text = lang::render_diagnostics(&failure.diagnostics, style.diagnostics());
        text.truncate(text.trim_end().len());
        text.push_str("\n\n");
    }
    let _ = write!(text, "{} {}", style.paint(Tone::Bad, "error:"), failure.message);
    if let Some(hint) = &failure.hint {
        let _ = write!(text, "\n  {} {hint}", style.paint(Tone::Strong, "help:"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_are_told_colours_and_nothing_else() {
        let cases = [
            ("a\tb\r\n", "a\tb\r\n"),
            ("\x1b[1;31mred\x1b[0m", "\x1b[1;31mred\x1b[0m"),
            ("\x1b[2J", "\u{fffd}[2J"),
            ("\x1b]0;title\x07", "\u{fffd}]0;title\u{fffd}"),
            ("a\rb\u{9b}1m\x1b", "a\u{fffd}b\u{fffd}1m\u{fffd}"),
        ];
        for (text, shown) in cases {
            assert_eq!(harmless(text), shown);
        }
    }

    #[test]
    fn colours_follow_flag_then_environment_then_terminal() {
        let wants = |wish, terminal, variables: &[(&str, &str)]| {
            wants_colour(wish, terminal, &|name| {
                variables.iter().find(|(it, _)| *it == name).map(|(_, value)| (*value).to_owned())
            })
        };
        assert!(wants(Color::Auto, true, &[]));
        assert!(!wants(Color::Auto, false, &[]));
        assert!(!wants(Color::Auto, true, &[("NO_COLOR", "1")]));
        assert!(wants(Color::Auto, true, &[("NO_COLOR", "")]), "empty counts as not set");
        assert!(wants(Color::Always, false, &[("NO_COLOR", "1")]));
        assert!(wants(Color::Auto, false, &[("CLICOLOR_FORCE", "1")]));
        assert!(!wants(Color::Never, true, &[("CLICOLOR_FORCE", "1")]));
        assert!(!wants(Color::Auto, true, &[("TERM", "dumb")]));
    }

    #[test]
    fn icons_are_ascii_where_the_locale_is() {
        let unicode = |locale: &str| speaks_unicode(&|name| (name == "LANG").then(|| locale.to_owned()));
        assert!(unicode("de_DE.UTF-8"));
        assert!(!unicode("C"));
        let mut style = Style::plain(Timestamp(0));
        assert_eq!(style.icon("failed"), "✗");
        style.unicode = false;
        assert_eq!(style.icon("failed"), "x");
    }

    #[test]
    fn clipping_counts_columns_and_not_bytes() {
        assert_eq!(clip("äöü", 3, "…"), "äöü");
        assert_eq!(clip("äöüß", 3, "…"), "äö…");
        assert_eq!(clip("漢字漢字", 5, "…"), "漢字…");
    }

    #[test]
    fn an_error_says_what_and_what_to_do() {
        let failure =
            Failure::not_found("no state named `wbe`").hint("did you mean `web`?   (labctl state list)");
        assert_eq!(
            failure_text(&failure, &Style::plain(Timestamp(0))),
            "error: no state named `wbe`\n  help: did you mean `web`?   (labctl state list)"
        );
    }
}
