//! Lists and mappings in brackets, and quoted texts, that go on at or left of the column of their key. YAML wants them
//! further right; Salt's reader takes them, and so do people. They are moved to the right, and columns are told as
//! they are written.

/// A text whose lines stand far enough to the right.
pub(crate) struct Moved {
    pub(crate) text: String,
    /// By how much each line was moved.
    by: Vec<usize>,
}

impl Moved {
    /// The column in the text as it is written; both count from 0.
    pub(crate) fn written(&self, line: usize, column: usize) -> usize {
        column.saturating_sub(self.by.get(line.saturating_sub(1)).copied().unwrap_or(0))
    }
}

/// Moves what goes on too far left; nothing if there is no such line, or if a bracket or quote is never closed.
pub(crate) fn moved(text: &str) -> Option<Moved> {
    let mut scan = Scan::default();
    let mut made = String::with_capacity(text.len() + 64);
    let mut by = Vec::new();
    for line in text.split_inclusive('\n') {
        let words = line.trim_start_matches(' ');
        let indent = line.len() - words.len();
        let mut more = 0;
        if scan.is_open() && !words.trim().is_empty() {
            more = (scan.column + 1).saturating_sub(indent);
        }
        made.extend(std::iter::repeat_n(' ', more));
        made += line;
        by.push(more);
        scan.line(line.trim_end(), indent);
    }
    (!scan.is_open() && by.iter().any(|it| *it > 0)).then_some(Moved { text: made, by })
}

/// Where a reading of lines stands.
#[derive(Default)]
struct Scan {
    /// Open brackets.
    depth: usize,
    /// The quote that is open.
    quote: Option<char>,
    /// The column of the key or dash that what is read belongs to.
    column: usize,
    /// Lines further right than this belong to a text without quotes.
    text: Option<usize>,
}

impl Scan {
    fn is_open(&self) -> bool {
        self.depth > 0 || self.quote.is_some()
    }

    fn line(&mut self, line: &str, indent: usize) {
        if !self.is_open() {
            let is_text = self.text.is_some_and(|column| indent > column);
            if is_text || line.trim().is_empty() || line.starts_with("---") || line.starts_with("...") {
                return;
            }
            self.text = None;
            // A value on a line of its own belongs to a key further left.
            self.column = indent.saturating_sub(1);
        }
        let letters: Vec<char> = line.chars().collect();
        let mut at = indent.min(letters.len());
        // Whether a value or key may begin here.
        let mut begins = self.quote.is_none();
        // Where the key would begin, if this is one.
        let mut key = indent;
        while at < letters.len() {
            let it = letters[at];
            if let Some(quote) = self.quote {
                at = self.in_quotes(&letters, at, quote);
                continue;
            }
            let spaced = letters.get(at + 1).is_none_or(|it| it.is_whitespace());
            let after_space = at == 0 || letters[at - 1].is_whitespace();
            match it {
                _ if it.is_whitespace() => {}
                '#' if after_space => return,
                '-' | '?' if begins && spaced && self.depth == 0 => {
                    self.column = at;
                    key = letters[at + 1..].iter().position(|it| *it != ' ').map_or(at, |it| at + 1 + it);
                }
                '!' | '&' if begins => {
                    let end = letters[at..].iter().position(|it| it.is_whitespace());
                    at = end.map_or(letters.len(), |it| at + it);
                    continue;
                }
                '"' | '\'' if begins => {
                    self.quote = Some(it);
                    begins = false;
                }
                '[' | '{' if begins => self.depth += 1,
                ']' | '}' if self.depth > 0 => {
                    self.depth -= 1;
                    begins = false;
                }
                ',' if self.depth > 0 => begins = true,
                ':' if spaced || (self.depth > 0 && !begins) => {
                    begins = spaced || matches!(letters[at - 1], '"' | '\'');
                    if self.depth == 0 {
                        self.column = key;
                    }
                }
                '|' | '>' if begins && self.depth == 0 => {
                    self.text = Some(self.column);
                    return;
                }
                _ => {
                    if begins && self.depth == 0 {
                        self.text = Some(self.column);
                    }
                    begins = false;
                }
            }
            if begins && self.depth == 0 && it == ':' {
                self.text = None;
            }
            at += 1;
        }
    }

    /// Goes to the end of a quoted text, or of the line.
    fn in_quotes(&mut self, letters: &[char], at: usize, quote: char) -> usize {
        match letters[at] {
            '\\' if quote == '"' => at + 2,
            it if it != quote => at + 1,
            _ if quote == '\'' && letters.get(at + 1) == Some(&'\'') => at + 2,
            _ => {
                self.quote = None;
                at + 1
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::moved;
    use crate::{
        say::{Complaints, Rendered, Text},
        scalars, yaml,
    };
    use serde_json::json;
    use std::sync::Arc;

    #[test]
    fn lists_and_mappings_go_on_left_of_their_key() {
        for (text, want) in [
            ("a:\n  - pkgs: [\n    vim, curl\n    ]\n", json!({"a": [{"pkgs": ["vim", "curl"]}]})),
            ("a: {x: 1,\ny: 'two\n  three'}\nb: [\n]\n", json!({"a": {"x": 1, "y": "two three"}, "b": []})),
            ("a:\n  b: \"x\ny\"\n  c: |\n    [\n", json!({"a": {"b": "x y", "c": "[\n"}})),
        ] {
            let rendered = Rendered::plain(Arc::new(Text::new("x".to_owned(), text.to_owned())));
            let mut complaints = Complaints::default();
            let root = yaml::parse(&rendered, &mut complaints);
            assert!(!complaints.has_errors(), "{text}{complaints:?}");
            assert_eq!(scalars::value(&root.unwrap()), want, "{text}");
        }
        let text = "a:\n  b: [\nx, y,\n{z: 1, z: 2}]\n";
        let rendered = Rendered::plain(Arc::new(Text::new("x".to_owned(), text.to_owned())));
        let mut complaints = Complaints::default();
        yaml::parse(&rendered, &mut complaints);
        let spans = complaints.finish().remove(0).spans;
        assert_eq!([(spans[0].line, spans[0].column), (spans[1].line, spans[1].column)], [(4, 8), (4, 2)]);
    }

    #[test]
    fn what_goes_on_too_far_left_is_moved_and_nothing_else() {
        for (text, want) in [
            ("a:\n  - pkgs: [\n    vim, curl\n    ]\n", "a:\n  - pkgs: [\n     vim, curl\n     ]\n"),
            ("a: {x: 1,\ny: 2}\nb: [1,\n  2]\n", "a: {x: 1,\n y: 2}\nb: [1,\n  2]\n"),
            ("a: [\"]\",\n'[it''s',\nx] # ]\nb: 1\n", "a: [\"]\",\n '[it''s',\n x] # ]\nb: 1\n"),
            ("a: [ # [\nit's,\n# '\nb]\n", "a: [ # [\n it's,\n # '\n b]\n"),
            ("a:\n  b: 'x\n  y [\n  z'\nc: 1\n", "a:\n  b: 'x\n   y [\n   z'\nc: 1\n"),
            ("- a: |\n    [\n   x\n- b: [\nx]\n", "- a: |\n    [\n   x\n- b: [\n   x]\n"),
            ("a: it's [\nb: [\n1]\n", "a: it's [\nb: [\n 1]\n"),
            ("a: one\n  [ two\n  'three\nb: [\n1]\n", "a: one\n  [ two\n  'three\nb: [\n 1]\n"),
            ("'a[': !!seq [\n1]\n", "'a[': !!seq [\n 1]\n"),
        ] {
            assert_eq!(moved(text).map(|it| it.text).as_deref(), Some(want), "{text}");
        }
    }

    #[test]
    fn texts_with_brackets_are_left_as_they_are() {
        for text in [
            "a: |\n  [\n  {\nb: 1\n",
            "a:\n  - >-\n    x [\n  - y\n",
            "a: x [\nb: {y\n",
            "a: [x\nb: y\n",
            "# [\na: 1\n",
            "a: {\n  b: 1\n  }\n",
            "a: 'x\n",
        ] {
            assert!(moved(text).is_none(), "{text}");
        }
    }

    #[test]
    fn columns_are_told_as_they_are_written() {
        let moved = moved("a:\n  b: [\nx,\n    y]\n").unwrap();
        assert_eq!((moved.written(3, 3), moved.written(4, 4), moved.written(9, 2)), (0, 4, 2));
    }
}
