//! Writes values as YAML, byte for byte as `yaml.dump` of Python does in block style.

use crate::pattern::{Flags, Pattern};
use serde_json::{Number, Value};

/// A longer line is folded at its next space.
const WIDTH: usize = 80;
/// A longer key gets a line of its own behind a question mark.
const KEY_CHARS_MAX: usize = 127;
/// Values within values.
const DEPTH_MAX: usize = 64;
/// What YAML 1.1 takes for a number, a date or the like.
const NOT_TEXT: &[&str] = &[
    r"[-+]?0b[0-1_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+|[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+",
    r"[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?",
    r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}",
    concat!(
        r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}",
        r"(?:\.[0-9]*)?(?:[ \t]*(?:Z|[-+][0-9]{1,2}(?::?[0-9]{2})?))?",
    ),
];
const WORDS: &[&str] = &[
    "", "~", "null", "Null", "NULL", "yes", "Yes", "YES", "no", "No", "NO", "true", "True", "TRUE", "false",
    "False", "FALSE", "on", "On", "ON", "off", "Off", "OFF", "<<", "=",
];

/// The text, with a newline at its end.
pub(super) fn write(value: &Value, sorted: bool, unicode: bool) -> Result<String, String> {
    let not_text = NOT_TEXT.iter().map(|it| Pattern::at_start(&format!("(?:{it})\\Z"), Flags::default()));
    let not_text = not_text.collect::<Result<Vec<_>, _>>()?;
    let mut writer = Writer { out: String::new(), column: 0, not_text, sorted, unicode };
    writer.node(value, None, 0, Place::Root)?;
    writer.out.push('\n');
    Ok(writer.out)
}

struct Writer {
    out: String,
    column: usize,
    not_text: Vec<Pattern>,
    sorted: bool,
    unicode: bool,
}

/// Where a value stands.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Root,
    /// Behind a key: a block begins on the next line.
    Value,
    /// Behind a dash: a block begins on the same line.
    Item,
}

impl Writer {
    fn put(&mut self, text: &str) {
        match text.rfind('\n') {
            Some(at) => self.column = text[at + 1..].chars().count(),
            None => self.column += text.chars().count(),
        }
        self.out.push_str(text);
    }
    fn new_line(&mut self, indent: usize) {
        self.put(&format!("\n{:indent$}", ""));
    }

    /// `indent` is that of the block around it.
    fn node(
        &mut self,
        value: &Value,
        indent: Option<usize>,
        depth: usize,
        place: Place,
    ) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err(format!("the data is nested deeper than {DEPTH_MAX}"));
        }
        let inner = indent.map_or(2, |it| it + 2);
        match value {
            Value::Object(map) if !map.is_empty() => {
                let indent = indent.map_or(0, |it| it + 2);
                let mut pairs: Vec<(&String, &Value)> = map.iter().collect();
                if self.sorted {
                    pairs.sort_by_key(|it| it.0);
                }
                for (at, (key, value)) in pairs.into_iter().enumerate() {
                    if at > 0 || place == Place::Value {
                        self.new_line(indent);
                    }
                    self.pair(key, value, indent, depth)?;
                }
            }
            Value::Array(items) if !items.is_empty() => {
                // In a mapping the dashes stand right below the key.
                let indent = match (indent, place) {
                    (None, _) => 0,
                    (Some(it), Place::Value) => it,
                    (Some(it), _) => it + 2,
                };
                for (at, item) in items.iter().enumerate() {
                    if at > 0 || place == Place::Value {
                        self.new_line(indent);
                    }
                    self.put("- ");
                    self.node(item, Some(indent), depth + 1, Place::Item)?;
                }
            }
            Value::Object(_) => self.put("{}"),
            Value::Array(_) => self.put("[]"),
            Value::Null => self.put("null"),
            Value::Bool(it) => self.put(if *it { "true" } else { "false" }),
            Value::Number(number) => self.put(&number_text(number)),
            Value::String(text) => self.text(text, inner, true),
        }
        Ok(())
    }

    fn pair(&mut self, key: &str, value: &Value, indent: usize, depth: usize) -> Result<(), String> {
        if key.chars().count() > KEY_CHARS_MAX || key.contains('\n') {
            self.put("? ");
            self.text(key, indent + 2, true);
            self.new_line(indent);
        } else {
            self.text(key, indent + 2, false);
        }
        self.put(":");
        if !is_block(value) {
            self.put(" ");
        }
        self.node(value, Some(indent), depth + 1, Place::Value)
    }

    fn text(&mut self, text: &str, indent: usize, folds: bool) {
        let style = self.style(text);
        match style {
            Style::Plain => self.folded(text, indent, folds, |sign| sign.to_string()),
            Style::Single => {
                self.put("'");
                self.folded(text, indent, folds, |sign| {
                    if sign == '\'' { "''".to_owned() } else { sign.to_string() }
                });
                self.put("'");
            }
            Style::Double => {
                self.put("\"");
                let unicode = self.unicode;
                self.folded(text, indent, folds, |sign| escaped(sign, unicode));
                self.put("\"");
            }
        }
    }

    fn folded(&mut self, text: &str, indent: usize, folds: bool, sign: impl Fn(char) -> String) {
        let signs: Vec<char> = text.chars().collect();
        let plain_breaks = matches!(self.style(text), Style::Plain | Style::Single);
        let (mut at, mut spaces) = (0, false);
        while let Some(it) = signs.get(at).copied() {
            if it == '\n' && plain_breaks {
                let run = signs[at..].iter().take_while(|it| **it == '\n').count();
                self.put(&"\n".repeat(run));
                self.new_line(indent);
                at += run;
                continue;
            }
            let inside = at > 0 && at + 1 < signs.len();
            let next_is_space = signs.get(at + 1) == Some(&' ');
            if it == ' '
                && folds
                && !spaces
                && self.column > WIDTH
                && inside
                && !(plain_breaks && next_is_space)
            {
                self.new_line(indent);
                if next_is_space {
                    self.put("\\");
                }
            } else {
                self.put(&sign(it));
            }
            spaces = it == ' ';
            at += 1;
        }
    }

    fn style(&self, text: &str) -> Style {
        let special = |it: char| match it {
            '\n' | ' '..='~' => false,
            '\u{feff}' => true,
            '\u{85}' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'.. => !self.unicode,
            _ => true,
        };
        if text.chars().any(special) || text.contains(" \n") || text.contains("\n ") {
            return Style::Double;
        }
        let is_word = WORDS.contains(&text) || self.not_text.iter().any(|it| it.is_match(text));
        let edges = text.starts_with([' ', '\n']) || text.ends_with([' ', '\n']);
        let plain = !is_word && !edges && !text.contains('\n') && !has_indicator(text);
        if plain { Style::Plain } else { Style::Single }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Style {
    Plain,
    Single,
    Double,
}

fn is_block(value: &Value) -> bool {
    match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    }
}

/// Whether something in it would mean something else outside of quotes.
fn has_indicator(text: &str) -> bool {
    let blank = |it: Option<char>| it.is_none_or(|it| it == ' ');
    let mut signs = text.chars();
    let first = signs.next();
    let next = signs.next();
    if text.starts_with("---") || text.starts_with("...") {
        return true;
    }
    let begins = match first {
        Some(
            '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`',
        ) => true,
        Some('?' | ':' | '-') => blank(next),
        _ => false,
    };
    begins || text.ends_with(':') || text.contains(": ") || text.contains(" #")
}

fn escaped(sign: char, unicode: bool) -> String {
    let short = match sign {
        '\0' => "\\0",
        '\x07' => "\\a",
        '\x08' => "\\b",
        '\t' => "\\t",
        '\n' => "\\n",
        '\x0b' => "\\v",
        '\x0c' => "\\f",
        '\r' => "\\r",
        '\x1b' => "\\e",
        '"' => "\\\"",
        '\\' => "\\\\",
        '\u{85}' => "\\N",
        '\u{a0}' => "\\_",
        '\u{2028}' => "\\L",
        '\u{2029}' => "\\P",
        _ => "",
    };
    match sign as u32 {
        _ if !short.is_empty() => short.to_owned(),
        0x20..=0x7e => sign.to_string(),
        0xa1.. if unicode && sign != '\u{feff}' => sign.to_string(),
        code @ ..=0xff => format!("\\x{code:02X}"),
        code @ ..=0xffff => format!("\\u{code:04X}"),
        code => format!("\\U{code:08X}"),
    }
}

fn number_text(number: &Number) -> String {
    let text = super::python_number(number);
    match text.split_once('e') {
        Some((digits, _)) if !digits.contains('.') => text.replacen('e', ".0e", 1),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The right-hand sides are what `yaml.dump` of Python writes.
    #[test]
    fn text_is_quoted_as_pyyaml_does() {
        for (text, written) in [
            ("a: b", "'a: b'"),
            ("- x", "'- x'"),
            ("yes", "'yes'"),
            ("1.5", "'1.5'"),
            ("", "''"),
            ("a'b", "a'b"),
            ("a\"b", "a\"b"),
            ("multi\nline\n", "'multi\n\n  line\n\n  '"),
            ("tab\there", "\"tab\\there\""),
            ("é", "\"\\xE9\""),
            ("#c", "'#c'"),
            ("a #c", "'a #c'"),
            ("a:", "'a:'"),
            ("--", "--"),
            ("---", "'---'"),
            (":x", ":x"),
            ("a, b", "a, b"),
            ("0x1f", "'0x1f'"),
            ("1_000", "'1_000'"),
            ("12:30:45", "'12:30:45'"),
            ("2024-01-01T00:00:00Z", "'2024-01-01T00:00:00Z'"),
            ("1e3", "1e3"),
            ("0o17", "0o17"),
            ("017", "'017'"),
            ("y", "y"),
            ("a\\b", "a\\b"),
            ("|x", "'|x'"),
            ("a\n\nb", "'a\n\n\n  b'"),
            ("a'b\nc", "'a''b\n\n  c'"),
            ("-x", "-x"),
            (" a", "' a'"),
        ] {
            assert_eq!(
                write(&json!({"k": text}), true, false).unwrap(),
                format!("k: {written}\n"),
                "{text:?}"
            );
        }
        let long = "word ".repeat(30);
        let folded = format!("k: '{}\n  {}'\n", "word ".repeat(16).trim_end(), "word ".repeat(14));
        assert_eq!(write(&json!({"k": long}), true, false).unwrap(), folded);
        let accents =
            format!("k: \"{0}\n  {0}\n  {1}\"\n", "\\xE9 ".repeat(16).trim_end(), "\\xE9 ".repeat(8));
        assert_eq!(write(&json!({"k": "é ".repeat(40)}), true, false).unwrap(), accents);
    }

    #[test]
    fn blocks_are_indented_as_pyyaml_does() {
        let value = json!({"a": [1, [2, 3], {"b": 1, "c": []}, []], "e": {"f": {"g": 1.5, "h": null, "i": true}}, "d": {}});
        let wanted = "a:\n- 1\n- - 2\n  - 3\n- b: 1\n  c: []\n- []\nd: {}\ne:\n  f:\n    g: 1.5\n    h: null\n    i: true\n";
        assert_eq!(write(&value, true, false).unwrap(), wanted);
        assert_eq!(write(&json!([1, {"a": "x"}]), true, false).unwrap(), "- 1\n- a: x\n");
        assert_eq!(write(&json!("x"), true, false).unwrap(), "x\n");
        assert_eq!(write(&json!([1e20, 1e-7, 1.0]), true, false).unwrap(), "- 1.0e+20\n- 1.0e-07\n- 1.0\n");
        let key = "k".repeat(130);
        assert_eq!(write(&json!({key.as_str(): 6}), true, false).unwrap(), format!("? {key}\n: 6\n"));
    }
}
