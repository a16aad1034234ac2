//! Reads the shape of a state file of Salt without rendering it: ids, functions and parameters with their places, with
//! template tags blanked out. What is made by tags is left out; what stands in the file is found, whatever is in it.

use crate::say::{At, small};

/// Stands for what a tag prints.
pub(super) const PRINTED: char = '\u{FDE3}';

/// What stands in a file.
#[derive(Debug, Default)]
pub(super) struct Outline {
    pub(super) uses: Vec<Use>,
    /// Names in `include:`.
    pub(super) includes: Vec<(String, At)>,
    /// Keys below an id that are no function, such as requisites.
    pub(super) strays: Vec<(String, String, At)>,
}

/// A function under an id.
#[derive(Debug)]
pub(super) struct Use {
    /// `pkg.installed`.
    pub(super) function: String,
    pub(super) at: At,
    /// Names of arguments, and what stands behind them on their line.
    pub(super) params: Vec<(String, String, At)>,
}

/// A line with something on it.
struct Line<'a> {
    number: u32,
    /// Characters before the first that is neither a space nor the dash of a list.
    column: usize,
    /// Where the dash stands, if it is an element of a list.
    dash: Option<usize>,
    text: &'a str,
}

impl<'a> Line<'a> {
    fn read(number: usize, line: &'a str) -> Option<Self> {
        let indent = line.chars().take_while(|it| *it == ' ').count();
        let mut text = line.trim_start_matches(' ');
        if text.is_empty() || text.starts_with('#') || text.starts_with("---") || text.starts_with("...") {
            return None;
        }
        let (mut column, mut dash) = (indent, None);
        while let Some(rest) = text.strip_prefix('-').filter(|it| it.is_empty() || it.starts_with(' ')) {
            dash = dash.or(Some(column));
            let inside = rest.trim_start_matches(' ');
            column += 1 + (rest.len() - inside.len());
            text = inside;
        }
        Some(Self { number: small(number + 1), column, dash, text: text.trim_end() })
    }
    /// Where the line begins as YAML counts it: its dash, if it has one.
    fn start(&self) -> usize {
        self.dash.unwrap_or(self.column)
    }
    fn at(&self, text: &str) -> At {
        let length = small(text.chars().count().max(1));
        At { line: self.number, column: small(self.column + 1), length }
    }
    /// A key and what follows it.
    fn pair(&self) -> Option<(&'a str, &'a str)> {
        let text = self.text;
        let first = text.chars().next()?;
        let (key, rest) = if matches!(first, '"' | '\'') {
            let end = text[1..].find(first)? + 1;
            (&text[1..end], text[end + 1..].trim_start().strip_prefix(':')?)
        } else {
            let at = text.match_indices(':').map(|it| it.0);
            let at =
                at.into_iter().find(|at| text[at + 1..].is_empty() || text[at + 1..].starts_with(' '))?;
            (text[..at].trim_end(), &text[at + 1..])
        };
        let rest = rest.split(" #").next().unwrap_or_default().trim();
        Some((key, rest))
    }
}

/// Reads a text without tags, as [`blank`] gives it.
pub(super) fn outline(text: &str) -> Outline {
    let mut reader = Reader::default();
    let mut skipped_below: Option<usize> = None;
    for line in text.lines().enumerate().filter_map(|(number, line)| Line::read(number, line)) {
        if skipped_below.is_some_and(|it| line.start() > it) {
            continue;
        }
        skipped_below = None;
        if let Some((_, value)) = line.pair()
            && value.starts_with(['|', '>'])
        {
            skipped_below = Some(line.column);
        }
        reader.line(&line);
    }
    reader.outline
}

#[derive(Default)]
struct Reader {
    outline: Outline,
    /// The key without indentation above this line, if it is an id.
    id: Option<String>,
    /// In `include:`.
    including: bool,
    /// Where functions of this id stand.
    functions: Option<usize>,
    /// The function at work: `pkg` alone waits for its other half.
    half: Option<(String, At)>,
    in_function: bool,
    /// Where arguments of this function stand.
    arguments: Option<usize>,
}

impl Reader {
    fn line(&mut self, line: &Line<'_>) {
        if line.start() == 0 && line.dash.is_none() {
            return self.top(line);
        }
        if self.including {
            let name = line.text.trim_matches(['"', '\'']);
            self.outline.includes.push((name.to_owned(), line.at(name)));
        } else if self.id.is_some() {
            self.below(line);
        }
    }

    fn top(&mut self, line: &Line<'_>) {
        *self = Self { outline: std::mem::take(&mut self.outline), ..Self::default() };
        let Some((key, value)) = line.pair() else { return };
        match key {
            "include" => self.including = true,
            // What they name is looked at where it is defined.
            "extend" | "exclude" => {}
            _ => {
                self.id = Some(key.to_owned());
                // `nginx: pkg.installed`
                if is_function(value) {
                    let at = line.at(key);
                    self.outline.uses.push(Use { function: value.to_owned(), at, params: Vec::new() });
                }
            }
        }
    }

    fn below(&mut self, line: &Line<'_>) {
        let at_functions = line.dash.is_none() && self.functions.is_none_or(|it| line.column <= it);
        if at_functions {
            self.functions = Some(line.column);
            return self.function(line);
        }
        let first = *self.arguments.get_or_insert(line.start());
        if line.start() != first || !self.in_function {
            return;
        }
        let Some((key, value)) = line.pair() else {
            if let Some((module, at)) = self.half.take().filter(|_| is_word(line.text)) {
                let function = format!("{module}.{}", line.text);
                self.outline.uses.push(Use { function, at, params: Vec::new() });
            }
            return;
        };
        if let Some(used) = self.outline.uses.last_mut().filter(|_| self.half.is_none()) {
            used.params.push((key.to_owned(), value.to_owned(), line.at(key)));
        }
    }

    fn function(&mut self, line: &Line<'_>) {
        (self.half, self.arguments, self.in_function) = (None, None, true);
        let key = line.pair().map_or(line.text, |it| it.0);
        if key.contains(PRINTED) {
            self.in_function = false;
        } else if is_function(key) {
            self.outline.uses.push(Use { function: key.to_owned(), at: line.at(key), params: Vec::new() });
        } else if crate::arguments::is_known(key) {
            let id = self.id.clone().unwrap_or_default();
            self.outline.strays.push((id, key.to_owned(), line.at(key)));
            self.in_function = false;
        } else if is_word(key) {
            self.half = Some((key.to_owned(), line.at(key)));
        } else {
            self.in_function = false;
        }
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_')
}

fn is_function(text: &str) -> bool {
    text.split_once('.').is_some_and(|(module, function)| is_word(module) && is_word(function))
}

/// A tag of a template: what is in it, and where it begins.
pub(super) struct Tag<'a> {
    pub(super) text: &'a str,
    pub(super) byte: usize,
}

/// The text with its tags blanked out, character for character, and the tags. What a tag prints is a run of
/// [`PRINTED`]; statements and comments are spaces.
pub(super) fn blank(text: &str) -> (String, Vec<Tag<'_>>) {
    let (mut blanked, mut tags) = (String::with_capacity(text.len()), Vec::new());
    let mut at = 0;
    while let Some(found) = text[at..].find('{') {
        let begin = at + found;
        let (end, fill) = match text.as_bytes().get(begin + 1) {
            Some(b'{') => ("}}", PRINTED),
            Some(b'%') => ("%}", ' '),
            Some(b'#') => ("#}", ' '),
            _ => {
                blanked.push_str(&text[at..=begin]);
                at = begin + 1;
                continue;
            }
        };
        let Some(length) = text[begin + 2..].find(end) else { break };
        let stop = begin + 2 + length + 2;
        blanked.push_str(&text[at..begin]);
        blanked.extend(text[begin..stop].chars().map(|it| if it == '\n' { it } else { fill }));
        if end != "#}" {
            tags.push(Tag { text: &text[begin + 2..stop - 2], byte: begin + 2 });
        }
        at = stop;
    }
    blanked.push_str(&text[at..]);
    (blanked, tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<String> {
        let (blanked, _) = blank(text);
        let outline = outline(&blanked);
        let params = |it: &Use| it.params.iter().map(|it| it.0.clone()).collect::<Vec<_>>().join(" ");
        let uses = outline
            .uses
            .iter()
            .map(|it| format!("{}:{} {}({})", it.at.line, it.at.column, it.function, params(it)));
        let strays = outline.strays.iter().map(|it| format!("{} stray {} of {}", it.2.line, it.1, it.0));
        let includes = outline.includes.iter().map(|it| format!("{} include {}", it.1.line, it.0));
        uses.chain(strays).chain(includes).collect()
    }

    #[test]
    fn every_way_to_write_a_state_is_seen() {
        let text = "#!jinja|yaml\n{% set x = {'a': 1} %}\ninclude:\n  - web.base\n  - .b\n\nnginx:\n  pkg.installed: []\n  service.running:\n  - enable: True\n  - watch:\n    - pkg: nginx\n\
                    {% for n in [1, 2] %}\n/etc/{{ n }}:\n  file:\n    - managed\n    - contents: |\n        a: b\n        c.d: e\n    - mode: 644\n  require:\n    - pkg: nginx\n{% endfor %}\n\
                    short: pkg.installed\nplain:\n  test.nop\nmap:\n  file.absent:\n    name: /x\n    force: true\nextend:\n  other:\n    zfs.gone:\n      - a: b\n'x y':\n  {{ fun }}:\n    - z: 1\n";
        assert_eq!(
            read(text),
            [
                "8:3 pkg.installed()",
                "9:3 service.running(enable watch)",
                "15:3 file.managed(contents mode)",
                "24:1 short",
                "26:3 test.nop()",
                "28:3 file.absent(name force)",
                "21 stray require of /etc/\u{FDE3}\u{FDE3}\u{FDE3}\u{FDE3}\u{FDE3}\u{FDE3}\u{FDE3}",
                "4 include web.base",
                "5 include .b",
            ]
            .map(|it| if it == "24:1 short" { "24:1 pkg.installed()" } else { it })
        );
    }

    #[test]
    fn nothing_makes_it_stumble() {
        for text in [
            "",
            "{{",
            "a: {{ b",
            "-",
            "- - - -",
            "\u{0}",
            "a:\n\t- b",
            ":",
            "'",
            "\"a",
            "{%\n%}: x",
            "é: {{ é }}",
        ] {
            read(text);
        }
        read(&"- ".repeat(100_000));
        read(&"{{".repeat(100_000));
    }
}
