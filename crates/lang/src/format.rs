//! Writes YAML anew: two spaces a level, lists two spaces inside their key, one space after a dash, no space at line
//! ends. Never alters what it says: what would say something else afterwards is left as it is.

use crate::{
    say::{Complaints, Rendered, Text},
    yaml::{self, Node, Yaml},
};
use std::sync::Arc;

/// Spaces of a level.
const STEP: usize = 2;

/// Why a text is left as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeftAlone {
    /// It has template tags: what it says is known only when they are filled in.
    Template,
    /// It is no YAML; the first complaint.
    Broken(String),
    /// It would say something else afterwards.
    Unsafe,
}

impl std::fmt::Display for LeftAlone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Template => f.write_str("has template tags"),
            Self::Broken(why) => write!(f, "is not YAML: {why}"),
            Self::Unsafe => f.write_str("is written in a way that cannot be moved safely"),
        }
    }
}

/// The same in house style.
pub fn format_yaml(text: &str) -> Result<String, LeftAlone> {
    let plain = text.starts_with("#!yaml\n");
    if !plain && ["{{", "{%", "{#"].iter().any(|it| text.contains(it)) {
        return Err(LeftAlone::Template);
    }
    let before = parse(text)?;
    let made = written(text);
    let same = parse(&made).is_ok_and(|after| says_the_same(&before, &after));
    if same && written(&made) == made { Ok(made) } else { Err(LeftAlone::Unsafe) }
}

fn parse(text: &str) -> Result<Node, LeftAlone> {
    let rendered = Rendered::plain(Arc::new(Text::new("text".to_owned(), text.to_owned())));
    let mut complaints = Complaints::default();
    let root = yaml::parse(&rendered, &mut complaints);
    let told = complaints.finish().into_iter().next();
    match (root, told) {
        (Some(root), None) => Ok(root),
        (_, told) => Err(LeftAlone::Broken(told.map(|it| it.message).unwrap_or_default())),
    }
}

fn says_the_same(a: &Node, b: &Node) -> bool {
    a.tag == b.tag
        && match (&a.value, &b.value) {
            (Yaml::Scalar { text: a, plain: x }, Yaml::Scalar { text: b, plain: y }) => a == b && x == y,
            (Yaml::List(a), Yaml::List(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| says_the_same(a, b))
            }
            (Yaml::Map(a), Yaml::Map(b)) => {
                let pair = |((k, a), (l, b)): (&(yaml::Key, Node), &(yaml::Key, Node))| {
                    k.text == l.text && says_the_same(a, b)
                };
                a.len() == b.len() && a.iter().zip(b).all(pair)
            }
            _ => false,
        }
}

/// Where lines of a level stood, and where they stand now.
#[derive(Clone, Copy, Debug)]
struct Level {
    old: usize,
    new: usize,
    list: bool,
}

#[derive(Default)]
struct Writer {
    levels: Vec<Level>,
    made: String,
    /// Comments that wait for the line they stand above.
    comments: Vec<String>,
    /// A text in `|` or `>`: the column it must be right of, where it begins, and where it is to begin.
    block: Option<(usize, Option<usize>, usize)>,
}

fn written(text: &str) -> String {
    let mut writer = Writer::default();
    for line in text.lines() {
        writer.line(line.trim_end_matches('\r'));
    }
    writer.comments_at(0);
    let made = writer.made.trim_end_matches(['\n', ' ']);
    if made.is_empty() { String::new() } else { format!("{made}\n") }
}

impl Writer {
    fn line(&mut self, line: &str) {
        let indent = line.len() - line.trim_start_matches(' ').len();
        let body = line.trim_end();
        if self.in_block(line, indent) {
            return;
        }
        if body.is_empty() {
            return self.comments.push(String::new());
        }
        let content = &body[indent..];
        if content.starts_with('#') {
            return self.comments.push(content.to_owned());
        }
        let is_item = is_dash(content);
        let at = self.level(indent, is_item);
        self.comments_at(at);
        self.made.extend(std::iter::repeat_n(' ', at));
        let (mut rest, mut column, mut now) = (content, indent, at);
        while is_dash(rest) {
            let inside = rest[1..].trim_start_matches(' ');
            column += rest.len() - inside.len();
            now += STEP;
            self.made.push_str(if inside.is_empty() { "-" } else { "- " });
            if !inside.is_empty() {
                let list = is_dash(inside);
                self.levels.push(Level { old: column, new: now, list });
            }
            rest = inside;
        }
        self.made.push_str(rest);
        self.made.push('\n');
        if opens_block(rest) {
            // A text belongs to the mapping whose key it is the value of, or to the list.
            let above = self.levels.last().copied().unwrap_or(Level { old: 0, new: 0, list: false });
            let parent = if rest.starts_with(['|', '>']) { (indent, at) } else { (above.old, above.new) };
            self.block = Some((parent.0, None, parent.1 + STEP));
        }
    }

    /// Takes a line that is a part of a text in `|` or `>`.
    fn in_block(&mut self, line: &str, indent: usize) -> bool {
        let Some((above, begins, now)) = &mut self.block else { return false };
        if line.trim().is_empty() {
            // Spaces beyond the indentation are a part of the text.
            let rest = begins.and_then(|it| line.get(it..)).unwrap_or("");
            if !rest.is_empty() {
                self.made.extend(std::iter::repeat_n(' ', *now));
            }
            self.made.push_str(rest);
            self.made.push('\n');
            return true;
        }
        if indent <= *above && !(*above == 0 && indent > 0) {
            self.block = None;
            return false;
        }
        let first = *begins.get_or_insert(indent);
        let text = &line[first.min(indent)..];
        self.made.extend(std::iter::repeat_n(' ', *now));
        self.made.push_str(text);
        self.made.push('\n');
        true
    }

    /// Where a line is to begin that began at `old`.
    fn level(&mut self, old: usize, list: bool) -> usize {
        while let Some(top) = self.levels.last() {
            let ends = top.old > old || (top.old == old && top.list && !list && self.levels.len() > 1);
            if !ends {
                break;
            }
            self.levels.pop();
        }
        match self.levels.last().copied() {
            Some(top) if top.old == old && top.list == list => top.new,
            Some(top) => {
                let new = top.new + STEP;
                self.levels.push(Level { old, new, list });
                new
            }
            None => {
                self.levels.push(Level { old, new: 0, list });
                0
            }
        }
    }

    fn comments_at(&mut self, column: usize) {
        for comment in std::mem::take(&mut self.comments) {
            if !comment.is_empty() {
                self.made.extend(std::iter::repeat_n(' ', column));
                self.made.push_str(&comment);
            }
            self.made.push('\n');
        }
    }
}

fn is_dash(text: &str) -> bool {
    text.strip_prefix('-').is_some_and(|it| it.is_empty() || it.starts_with(' '))
}

/// Whether a line ends with `|` or `>`, where a text follows.
fn opens_block(line: &str) -> bool {
    let line = line.split(" #").next().unwrap_or_default().trim_end();
    let last = line.rsplit(' ').next().unwrap_or_default();
    let mut marks = last.chars();
    matches!(marks.next(), Some('|' | '>')) && marks.all(|it| matches!(it, '-' | '+'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_becomes_what_stands_beside_it() {
        for (text, want) in [
            (
                "a:\n    b:\n        - c\n        -   d: 1\n            e: 2\n",
                "a:\n  b:\n    - c\n    - d: 1\n      e: 2\n",
            ),
            ("a:\n- b\n-  - c\n   - d\nx: 1", "a:\n  - b\n  - - c\n    - d\nx: 1\n"),
            ("# top  \n\na:   \n      # inside\n      b: 1\n\n\n", "# top\n\na:\n  # inside\n  b: 1\n"),
            (
                "a:\n    b: |\n        one\n          two\n\n        three\n    c: >-\n      x\n",
                "a:\n  b: |\n    one\n      two\n\n    three\n  c: >-\n    x\n",
            ),
            (
                "a:\n    - b: |\n        one\n    - |\n        two\n",
                "a:\n  - b: |\n      one\n  - |\n    two\n",
            ),
            ("- a\n- b:\n      c: d\n", "- a\n- b:\n    c: d\n"),
            ("", ""),
            ("a: 1\r\nb: 2\r\n", "a: 1\nb: 2\n"),
        ] {
            assert_eq!(format_yaml(text).as_deref(), Ok(want), "{text:?}");
            assert_eq!(format_yaml(want).as_deref(), Ok(want), "twice: {text:?}");
        }
    }

    #[test]
    fn what_cannot_be_moved_safely_is_left() {
        assert_eq!(format_yaml("a: {{ b }}\n"), Err(LeftAlone::Template));
        assert!(matches!(format_yaml("a: [\n"), Err(LeftAlone::Broken(_))));
        assert!(matches!(format_yaml("a: 1\na: 2\n"), Err(LeftAlone::Broken(_))));
        assert_eq!(format_yaml("#!yaml\na:   '{{ b }}'\n").as_deref(), Ok("#!yaml\na:   '{{ b }}'\n"));
        for text in ["a: |2\n     x\n", "a: \"x\n   y\"\n", "a:\n   [b,\n  c]\n"] {
            if let Ok(made) = format_yaml(text) {
                assert!(says_the_same(&parse(text).unwrap(), &parse(&made).unwrap()), "{text:?} {made:?}");
            }
        }
    }
}
