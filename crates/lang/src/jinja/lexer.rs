//! Cuts a Jinja template into text and tokens, with Jinja's own rules for whitespace, raw blocks and line ends.

use super::failure::Failure;
use crate::limits;
use std::{ops::Range, sync::Arc};

/// A piece of a template.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// Text outside of tags.
    Data(Arc<str>),
    /// `{%`
    BlockBegin,
    /// `%}`
    BlockEnd,
    /// `{{`
    PrintBegin,
    /// `}}`
    PrintEnd,
    Name(Arc<str>),
    Text(Arc<str>),
    Int(i64),
    Float(f64),
    Op(&'static str),
    End,
}

/// A piece with its place.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) at: Spot,
}

/// A place in a template: bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) byte: u32,
    pub(super) length: u32,
    /// 1-based.
    pub(super) line: u32,
}

/// How blocks treat the space around them; Salt's trees may say so in a line `#jinja2: {...}`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trim {
    /// The line end after a block goes.
    pub(super) blocks: bool,
    /// The indentation before a block goes.
    pub(super) left: bool,
}

const OPERATORS: [&str; 26] = [
    "**", "//", "==", "!=", "<=", ">=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<",
    "=", ".", ":", "|", ",", ";",
];

struct Lexer<'a> {
    source: &'a str,
    byte: usize,
    line: u32,
    trim: Trim,
    /// Whether text so far ends at the start of a line.
    line_begins: bool,
    tokens: Vec<Token>,
}

/// All pieces of a template whose line ends are `\n`, but for the line that `header` covers.
pub(super) fn tokens(source: &str, trim: Trim, header: Range<usize>) -> Result<Vec<Token>, Failure> {
    let mut lexer = Lexer { source, byte: 0, line: 1, trim, line_begins: true, tokens: Vec::new() };
    if !header.is_empty() {
        lexer.data(&source[..header.start], header.start);
        lexer.skip(header.len());
        lexer.line_begins = true;
    }
    while lexer.byte < source.len() {
        lexer.piece()?;
        if lexer.tokens.len() > limits::JINJA_TOKENS {
            let message = format!("more than {} words in the tags of one template", limits::JINJA_TOKENS);
            return Err(Failure::new("E0104", message).at(lexer.spot(1)));
        }
    }
    lexer.push(Kind::End, 0);
    Ok(lexer.tokens)
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.source[self.byte..]
    }

    fn spot(&self, length: usize) -> Spot {
        let small = |it: usize| u32::try_from(it).unwrap_or(u32::MAX);
        Spot { byte: small(self.byte), length: small(length), line: self.line }
    }

    fn push(&mut self, kind: Kind, length: usize) {
        let at = self.spot(length);
        self.tokens.push(Token { kind, at });
        self.skip(length);
    }

    fn skip(&mut self, bytes: usize) {
        let piece = &self.source[self.byte..self.byte + bytes];
        self.line += crate::say::small(piece.matches('\n').count());
        self.byte += bytes;
    }

    /// Text up to a tag, and the tag.
    fn piece(&mut self) -> Result<(), Failure> {
        let rest = self.rest();
        let tag =
            rest.as_bytes().windows(2).position(|it| it[0] == b'{' && matches!(it[1], b'{' | b'%' | b'#'));
        let Some(start) = tag else {
            self.data(rest, rest.len());
            return Ok(());
        };
        let sign = rest.as_bytes().get(start + 2).copied().unwrap_or(0);
        let text = &rest[..start];
        let is_print = rest[start..].starts_with("{{");
        let kept = match sign {
            b'-' => text.trim_end(),
            b'+' => text,
            _ if self.trim.left && !is_print => {
                let line = text.rfind('\n').map_or(0, |it| it + 1);
                let blank = text[line..].chars().all(char::is_whitespace);
                if blank && (line > 0 || self.line_begins) { &text[..line] } else { text }
            }
            _ => text,
        };
        self.data(kept, start);
        let signed = usize::from(matches!(sign, b'-' | b'+'));
        match &rest[start..start + 2] {
            "{#" => self.comment(signed),
            "{{" => {
                self.push(Kind::PrintBegin, 2 + signed);
                self.inside(false)
            }
            _ => self.block(signed),
        }
    }

    fn data(&mut self, kept: &str, length: usize) {
        if !kept.is_empty() {
            let at = self.spot(kept.len());
            self.tokens.push(Token { kind: Kind::Data(kept.into()), at });
        }
        self.skip(length);
        self.line_begins = false;
    }

    /// What the end of a block or comment takes with it.
    fn after_end(&mut self, minus: bool, plus: bool) {
        let rest = self.rest();
        if minus {
            self.skip(rest.len() - rest.trim_start().len());
        } else if self.trim.blocks && !plus && rest.starts_with('\n') {
            self.skip(1);
        }
        self.line_begins = self.source[..self.byte].ends_with('\n');
    }

    fn comment(&mut self, signed: usize) -> Result<(), Failure> {
        let rest = self.rest();
        let Some(end) = rest[2 + signed..].find("#}").map(|it| it + 2 + signed) else {
            return Err(Failure::syntax("this comment is never closed")
                .at(self.spot(2))
                .help("close it with #}"));
        };
        let (minus, plus) = (rest[..end].ends_with('-'), rest[..end].ends_with('+'));
        self.skip(end + 2);
        self.after_end(minus, plus);
        Ok(())
    }

    fn block(&mut self, signed: usize) -> Result<(), Failure> {
        let inner = self.rest()[2 + signed..].trim_start();
        let raw = inner.strip_prefix("raw").map(str::trim_start);
        if let Some(close) = raw.filter(|it| it.starts_with("%}") || it.starts_with("-%}")) {
            return self.raw(close);
        }
        self.push(Kind::BlockBegin, 2 + signed);
        self.inside(true)
    }

    fn raw(&mut self, close: &'a str) -> Result<(), Failure> {
        let opening = self.spot(2);
        let minus = close.starts_with('-');
        self.skip(self.rest().len() - close.len() + 2 + usize::from(minus));
        if minus {
            self.after_end(true, false);
        }
        let rest = self.rest();
        let mut from = 0;
        while let Some(found) = rest[from..].find("{%").map(|it| it + from) {
            let sign = rest.as_bytes().get(found + 2).copied().unwrap_or(0);
            let signed = usize::from(matches!(sign, b'-' | b'+'));
            let tail = rest[found + 2 + signed..].trim_start();
            if let Some(tail) = tail.strip_prefix("endraw").map(str::trim_start) {
                let end_sign = tail.as_bytes().first().copied().unwrap_or(0);
                let end_signed = usize::from(matches!(end_sign, b'-' | b'+'));
                if tail[end_signed..].starts_with("%}") {
                    let text = &rest[..found];
                    self.data(if sign == b'-' { text.trim_end() } else { text }, found);
                    self.skip(self.rest().len() - tail.len() + end_signed + 2);
                    self.after_end(end_sign == b'-', end_sign == b'+');
                    return Ok(());
                }
            }
            from = found + 2;
        }
        Err(Failure::syntax("this raw block is never closed").at(opening).help("close it with {% endraw %}"))
    }

    /// Tokens up to the end of a tag.
    fn inside(&mut self, block: bool) -> Result<(), Failure> {
        let opening = self.tokens.last().map(|it| it.at).unwrap_or_default();
        let mut open: Vec<&'static str> = Vec::new();
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.skip(rest.len() - trimmed.len());
            let Some(first) = trimmed.chars().next() else {
                let end = if block { "%}" } else { "}}" };
                let message = "this tag is never closed";
                return Err(Failure::syntax(message).at(opening).help(format!("close it with {end}")));
            };
            if open.is_empty() && self.end(trimmed, block) {
                return Ok(());
            }
            if first == '"' || first == '\'' {
                self.text(trimmed, first)?;
            } else if first.is_ascii_digit() {
                self.number(trimmed)?;
            } else if first.is_alphabetic() || first == '_' {
                let length = trimmed.find(|it: char| !(it.is_alphanumeric() || it == '_'));
                let length = length.unwrap_or(trimmed.len());
                self.push(Kind::Name(trimmed[..length].into()), length);
            } else if let Some(op) = OPERATORS.iter().find(|it| trimmed.starts_with(**it)) {
                self.bracket(op, &mut open)?;
                self.push(Kind::Op(op), op.len());
            } else {
                let message = format!("`{first}` has no meaning in a tag");
                return Err(Failure::syntax(message).at(self.spot(1)));
            }
        }
    }

    fn bracket(&self, op: &'static str, open: &mut Vec<&'static str>) -> Result<(), Failure> {
        let close = match op {
            "(" => Some(")"),
            "[" => Some("]"),
            "{" => Some("}"),
            _ => None,
        };
        if let Some(close) = close {
            open.push(close);
        } else if matches!(op, ")" | "]" | "}") && open.pop() != Some(op) {
            return Err(Failure::syntax(format!("`{op}` closes nothing here")).at(self.spot(1)));
        }
        Ok(())
    }

    /// Whether the tag ends here; then that is taken.
    fn end(&mut self, rest: &str, block: bool) -> bool {
        let end = if block { "%}" } else { "}}" };
        let minus = rest.starts_with('-') && rest[1..].starts_with(end);
        let plus = block && rest.starts_with('+') && rest[1..].starts_with(end);
        if !(minus || plus || rest.starts_with(end)) {
            return false;
        }
        self.push(if block { Kind::BlockEnd } else { Kind::PrintEnd }, 2 + usize::from(minus || plus));
        if block {
            self.after_end(minus, plus);
        } else if minus {
            self.after_end(true, false);
        }
        true
    }

    fn number(&mut self, rest: &str) -> Result<(), Failure> {
        let word = rest.find(|it: char| !(it.is_ascii_alphanumeric() || it == '_')).unwrap_or(rest.len());
        let mut end = word;
        let prefixed =
            rest.len() > 2 && rest.starts_with('0') && rest[1..].starts_with(['x', 'o', 'b', 'X', 'O', 'B']);
        if !prefixed {
            let digits = rest.find(|it: char| !(it.is_ascii_digit() || it == '_')).unwrap_or(rest.len());
            end = digits;
            let tail = &rest[digits..];
            if tail.starts_with('.') && tail[1..].starts_with(|it: char| it.is_ascii_digit()) {
                end += 1 + tail[1..]
                    .find(|it: char| !(it.is_ascii_digit() || it == '_'))
                    .unwrap_or(tail.len() - 1);
            }
            let tail = &rest[end..];
            if tail.starts_with(['e', 'E']) {
                let sign = usize::from(tail[1..].starts_with(['+', '-']));
                let count = tail[1 + sign..].bytes().take_while(u8::is_ascii_digit).count();
                end += if count > 0 { 1 + sign + count } else { 0 };
            }
        }
        let text = rest[..end].replace('_', "");
        let kind = if prefixed {
            let radix = match text.as_bytes()[1] {
                b'x' | b'X' => 16,
                b'o' | b'O' => 8,
                _ => 2,
            };
            i64::from_str_radix(&text[2..], radix).ok().map(Kind::Int)
        } else if text.contains(['.', 'e', 'E']) {
            text.parse().ok().map(Kind::Float)
        } else {
            text.parse().ok().map(Kind::Int)
        };
        let Some(kind) = kind else {
            return Err(Failure::syntax(format!("`{}` is no number", crate::say::shortened(&text)))
                .at(self.spot(end)));
        };
        self.push(kind, end);
        Ok(())
    }

    fn text(&mut self, rest: &str, quote: char) -> Result<(), Failure> {
        let mut escaped = false;
        for (index, char) in rest.char_indices().skip(1) {
            if escaped {
                escaped = false;
            } else if char == '\\' {
                escaped = true;
            } else if char == quote {
                let inside = unescape(&rest[1..index]);
                self.push(Kind::Text(inside.into()), index + 1);
                return Ok(());
            }
        }
        Err(Failure::syntax("this text is never closed")
            .at(self.spot(1))
            .help(format!("close it with {quote}")))
    }
}

/// Python's escapes; what is none stays as it is written.
fn unescape(text: &str) -> String {
    if !text.contains('\\') {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('\\') {
        out.push_str(&rest[..start]);
        let tail = &rest[start + 1..];
        let Some(first) = tail.chars().next() else {
            out.push('\\');
            return out;
        };
        let (char, length) = escape(first, tail);
        match char {
            Some(char) => out.push(char),
            None if first == '\n' => {}
            None => {
                out.push('\\');
                out.push(first);
            }
        }
        rest = &tail[length..];
    }
    out.push_str(rest);
    out
}

/// The character of an escape, and how many bytes after the backslash it takes.
fn escape(first: char, tail: &str) -> (Option<char>, usize) {
    let simple = |it| (Some(it), 1);
    let hex = |digits: usize| {
        let code = tail.get(1..=digits).and_then(|it| u32::from_str_radix(it, 16).ok());
        (code.and_then(char::from_u32), if code.is_some() { digits + 1 } else { 1 })
    };
    match first {
        '\\' | '\'' | '"' => simple(first),
        'n' => simple('\n'),
        't' => simple('\t'),
        'r' => simple('\r'),
        'a' => simple('\u{7}'),
        'b' => simple('\u{8}'),
        'f' => simple('\u{c}'),
        'v' => simple('\u{b}'),
        'x' => hex(2),
        'u' => hex(4),
        'U' => hex(8),
        '0'..='7' => {
            let count = tail.bytes().take(3).take_while(|it| (b'0'..=b'7').contains(it)).count();
            (u32::from_str_radix(&tail[..count], 8).ok().and_then(char::from_u32), count)
        }
        _ => (None, first.len_utf8()),
    }
}
