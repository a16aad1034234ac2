//! Reads a template's tags without understanding them: enough to bound it before it is compiled, to find the partials
//! that it uses, to see Jinja in it, and to mark its lines.

use crate::{
    limits,
    say::{At, Say, Text, error},
};
use model::Diagnostic;

/// First of the 16 Unicode noncharacters that write a line number into rendered text.
const MARK: u32 = 0xFDD0;
/// How many of them a mark takes.
pub(crate) const MARK_CHARS: usize = 5;
/// Stands for a value that is not known because there is no minion to ask.
pub(crate) const UNKNOWN: char = '\u{FDE0}';

/// What a scan found.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Names after `{{>`, with their place.
    pub(crate) partials: Vec<(String, At)>,
    /// How deep its blocks, branches and parentheses go.
    pub(crate) depth: usize,
    /// For each line, the 1-based column of its mark, or 0.
    pub(crate) marks: Vec<u32>,
    /// The text with marks.
    pub(crate) marked: String,
    /// Whether there is any tag.
    pub(crate) tags: usize,
}

/// The mark of a line.
fn mark(line: u32) -> impl Iterator<Item = char> {
    (0..MARK_CHARS).rev().filter_map(move |digit| char::from_u32(MARK + ((line >> (4 * digit)) & 15)))
}

/// Takes the marks out of a rendered text; the source line of each line.
pub(crate) fn unmark(rendered: &str) -> (String, Vec<u32>) {
    let (mut text, mut lines) = (String::with_capacity(rendered.len()), Vec::new());
    let (mut current, mut value, mut digits) = (1, 0, 0);
    for char in rendered.chars() {
        let code = u32::from(char);
        if (MARK..MARK + 16).contains(&code) {
            value = value << 4 | (code - MARK);
            digits += 1;
            if digits == MARK_CHARS {
                (current, value, digits) = (value, 0, 0);
            }
            continue;
        }
        text.push(char);
        if char == '\n' {
            lines.push(current);
        }
    }
    lines.push(current);
    (text, lines)
}

struct Scanner<'a> {
    text: &'a Text,
    with_marks: bool,
    byte: usize,
    line: u32,
    line_start: usize,
    marked_line: bool,
    /// Branches of each open block.
    open: Vec<usize>,
    scan: Scan,
    complaints: Vec<Diagnostic>,
}

/// Scans; complaints are about what must not even be compiled.
pub(crate) fn scan(text: &Text, with_marks: bool) -> Result<Scan, Vec<Diagnostic>> {
    let mut scanner = Scanner {
        text,
        with_marks,
        byte: 0,
        line: 1,
        line_start: 0,
        marked_line: false,
        open: Vec::new(),
        scan: Scan::default(),
        complaints: Vec::new(),
    };
    scanner.run();
    let Scanner { scan, mut complaints, .. } = scanner;
    if text.body.len().saturating_mul(scan.tags) > limits::TEMPLATE_WORK {
        complaints.push(
            error("E0104", "too many tags for the size of this template")
                .at(text.span(At { line: 1, column: 1, length: 1 }, ""))
                .help("split it into partials"),
        );
    }
    if complaints.is_empty() { Ok(scan) } else { Err(complaints) }
}

impl Scanner<'_> {
    fn run(&mut self) {
        let body = self.text.body.as_str();
        while let Some(char) = body[self.byte..].chars().next() {
            let rest = &body[self.byte..];
            if rest.starts_with("\\{{") {
                self.mark_line();
                self.take(3);
            } else if char == '\\' {
                // Several backslashes stand for themselves, and a tag may follow.
                self.mark_line();
                self.take(rest.len() - rest.trim_start_matches('\\').len());
            } else if rest.starts_with("{{{{") {
                self.raw_block();
            } else if rest.starts_with("{{") {
                self.tag();
            } else if rest.starts_with("{%") || rest.starts_with("{#") {
                self.jinja(rest);
                self.mark_line();
                self.take(2);
            } else {
                if !char.is_whitespace() {
                    self.mark_line();
                }
                self.take(char.len_utf8());
            }
            if !self.complaints.is_empty() {
                return;
            }
        }
        self.end_line();
    }

    /// Copies, and counts lines.
    fn take(&mut self, bytes: usize) {
        let end = self.byte + bytes;
        let piece = &self.text.body[self.byte..end];
        for (index, _) in piece.match_indices('\n') {
            self.end_line();
            self.line += 1;
            self.line_start = self.byte + index + 1;
        }
        self.scan.marked.push_str(piece);
        self.byte = end;
    }

    fn end_line(&mut self) {
        if !self.marked_line {
            self.scan.marks.push(0);
        }
        self.marked_line = false;
    }

    /// Before the first thing on a line that ends up in the rendered text.
    fn mark_line(&mut self) {
        if self.with_marks && !self.marked_line {
            self.marked_line = true;
            let column = self.text.body[self.line_start..self.byte].chars().count() + 1;
            self.scan.marks.push(crate::say::small(column));
            self.scan.marked.extend(mark(self.line));
        }
    }

    fn complain(&mut self, code: &str, message: &str, length: usize, help: &str) {
        let at = self.text.at_byte(self.byte, length);
        self.complaints.push(error(code, message).at(self.text.span(at, "")).help(help));
    }

    fn jinja(&mut self, rest: &str) {
        let close = if rest.starts_with("{%") { "%}" } else { "#}" };
        let line = rest.lines().next().unwrap_or("");
        if line.contains(close) || (rest.starts_with("{%") && rest.contains(close)) {
            self.complain(
                "E0209",
                "this is Jinja, but the file is read as Handlebars",
                2,
                "begin the file with the line `#!jinja|yaml`, or write it in Handlebars ({{#if x}} … {{/if}})",
            );
        }
    }

    fn raw_block(&mut self) {
        let body = &self.text.body[self.byte..];
        self.scan.tags += 1;
        match body.find("{{{{/").and_then(|start| body[start..].find("}}}}").map(|end| start + end + 4)) {
            Some(length) => self.take(length),
            None => self.complain("E0202", "this raw block is never closed", 4, "close it with {{{{/raw}}}}"),
        }
    }

    fn tag(&mut self) {
        let body = &self.text.body[self.byte..];
        self.scan.tags += 1;
        let inner = body[2..].trim_start_matches('~').trim_start();
        let length = tag_length(body);
        let Some(length) = length else {
            return self.complain(
                "E0202",
                "this tag is never closed",
                2,
                "close it with }}; quotes must be even, also in [brackets]",
            );
        };
        let standalone = inner.starts_with(['#', '/', '^', '!', '>', '*']) || is_else(inner);
        if !standalone && !body.starts_with("{{~") {
            self.mark_line();
        }
        self.kind(inner, length);
        if self.complaints.is_empty() && !inner.starts_with('!') {
            self.nesting(length);
        }
        self.take(length);
    }

    fn kind(&mut self, inner: &str, length: usize) {
        if let Some(name) = inner.strip_prefix('>') {
            let name = name.trim_start();
            let end = name.find(|it: char| it.is_whitespace() || "}~".contains(it)).unwrap_or(name.len());
            let name = name[..end].trim_matches(|it| "'\"[]".contains(it));
            let at = self.text.at_byte(self.byte, length);
            if name.is_empty() || name.contains(['(', '@', '{']) {
                let help = "write the path of a file in the tree: {{> web/files/header.hbs}}";
                return self.complain("E0211", "a partial needs a fixed name", length, help);
            }
            self.scan.partials.push((name.to_owned(), at));
        } else if inner.starts_with('*') || after(inner, '#').is_some_and(|it| it.starts_with(['*', '>'])) {
            let help = "put the text into a file of its own and write {{> path}}";
            self.complain("E0211", "inline partials and partial blocks are not available", length, help);
        } else if inner.starts_with('#') || (inner.starts_with('^') && !is_else(inner)) {
            self.open.push(1);
        } else if inner.starts_with('/') {
            self.open.pop();
        } else if is_else(inner)
            && let Some(branches) = self.open.last_mut()
        {
            *branches += 1;
        }
    }

    fn nesting(&mut self, length: usize) {
        let (mut parentheses, mut most) = (0_usize, 0_usize);
        for byte in self.text.body[self.byte..self.byte + length].bytes() {
            match byte {
                b'(' | b'[' | b'{' => parentheses += 1,
                b')' | b']' | b'}' => parentheses = parentheses.saturating_sub(1),
                _ => {}
            }
            most = most.max(parentheses);
        }
        let depth = self.open.iter().sum::<usize>() + most.saturating_sub(2);
        self.scan.depth = self.scan.depth.max(depth);
        if depth > limits::TEMPLATE_DEPTH {
            let message =
                format!("more than {} blocks or branches inside one another", limits::TEMPLATE_DEPTH);
            self.complain(
                "E0207",
                &message,
                length,
                "move a part of it to a partial, or the data to the pillar",
            );
        }
    }
}

fn after(text: &str, prefix: char) -> Option<&str> {
    text.strip_prefix(prefix).map(str::trim_start)
}

fn is_else(inner: &str) -> bool {
    let rest = inner.strip_prefix("else").or_else(|| inner.strip_prefix('^'));
    rest.is_some_and(|it| it.starts_with(|next: char| next.is_whitespace() || "}~".contains(next)))
}

fn has_odd_quotes(body: &str) -> bool {
    let inside = body.split(']').next().unwrap_or("");
    ['"', '\''].into_iter().any(|quote| inside.matches(quote).count() % 2 == 1)
}

/// Bytes of the tag at the start of a text, braces included.
fn tag_length(body: &str) -> Option<usize> {
    let inner = body[2..].trim_start_matches('~');
    if inner.starts_with("!--") {
        return body.find("--}}").map(|it| it + 4);
    }
    let close = if body.starts_with("{{{") { "}}}" } else { "}}" };
    if inner.starts_with('!') {
        return body.find("}}").map(|it| it + 2);
    }
    let (mut quote, mut escaped) = (None, false);
    for (index, char) in body.char_indices().skip(2) {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(open) => {
                escaped = char == '\\';
                quote = (char != open).then_some(open);
            }
            // Between brackets a quote may be a part of a name, which this does not try to tell from a text.
            None if char == '[' && has_odd_quotes(&body[index..]) => return None,
            None if char == '"' || char == '\'' => quote = Some(char),
            None if body[index..].starts_with(close) => return Some(index + close.len()),
            None => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(body: &str) -> Text {
        Text::new("states/x.sls".to_owned(), body.to_owned())
    }

    #[test]
    fn marks_give_the_line_of_every_rendered_line() {
        let scan = scan(&text("a\n{{#if x}}\n  b: {{c}}\n{{/if}}\n{{d}}\n"), true).unwrap();
        let (plain, lines) = unmark(&scan.marked);
        assert_eq!(plain, "a\n{{#if x}}\n  b: {{c}}\n{{/if}}\n{{d}}\n");
        assert_eq!(lines, [1, 1, 3, 3, 5, 5]);
        assert_eq!(scan.marks, [1, 0, 3, 0, 1, 0]);
    }

    #[test]
    fn blocks_branches_and_parentheses_count_as_depth() {
        assert_eq!(scan(&text("{{#if a}}{{else if b}}{{else}}{{/if}}"), false).unwrap().depth, 3);
        assert_eq!(scan(&text("{{f (g (h 1))}}"), false).unwrap().depth, 2);
        assert!(scan(&text(&"{{#if a}}".repeat(65)), false).is_err());
    }

    #[test]
    fn nothing_hides_a_tag_from_the_scan() {
        let deep = "{{#if a}}".repeat(100);
        let ways = [
            format!("\\\\{deep}"),
            format!("{{{{a.[']}}}}{deep}'}}}}"),
            format!("{{{{!-- }}}}{deep}--~}}}}"),
        ];
        for text in ways.iter().map(|it| self::text(it)) {
            assert!(scan(&text, false).is_err(), "{}", &text.body[..20]);
        }
        assert_eq!(scan(&text("\\{{#if a}}"), false).unwrap().depth, 0, "an escaped tag is text");
        assert_eq!(scan(&text("{{#if a}}"), false).unwrap().depth, 1);
    }

    #[test]
    fn jinja_is_recognized_and_similar_text_is_not() {
        assert!(scan(&text("{% if x %}"), false).is_err());
        assert!(scan(&text("{# note #}"), false).is_err());
        assert!(scan(&text("printf '{%s'\n{#not"), false).is_ok());
    }
}
