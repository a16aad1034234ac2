//! Writes values as YAML, as `PyYAML` does where Salt's `yaml` filters use it: sorted keys, lines of 80 characters.

use super::{
    failure::{Failure, Outcome},
    heap::Heap,
    load,
    text::{bounded, float},
    value::{Key, Value},
};
use std::fmt::Write;

/// Where `PyYAML` begins a new line in flow style and in long texts.
const WIDTH: usize = 80;

/// How a mapping or list looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// `{a: 1}`
    Flow,
    /// A line each.
    Block,
}

/// The text, without the line end.
pub(super) fn dump(value: &Value, style: Style, heap: &Heap) -> Outcome<String> {
    let mut writer = Writer { out: String::new(), column: 0, level: 0, heap };
    match (style, value.present()?.plain()) {
        (Style::Block, Value::List(list)) if !list.items.borrow().is_empty() => {
            writer.block(value, 0, false)?;
        }
        (Style::Block, Value::Dict(dict)) if !dict.borrow().is_empty() => writer.block(value, 0, false)?,
        _ => writer.flow(value, 0)?,
    }
    Ok(writer.out)
}

struct Writer<'a> {
    out: String,
    column: usize,
    /// Brackets that are open.
    level: usize,
    heap: &'a Heap,
}

impl Writer<'_> {
    fn put(&mut self, text: &str) -> Outcome<()> {
        self.out.push_str(text);
        match text.rfind('\n') {
            Some(end) => self.column = text[end + 1..].chars().count(),
            None => self.column += text.chars().count(),
        }
        bounded(&self.out)
    }
    fn line(&mut self, indent: usize) -> Outcome<()> {
        let text = format!("\n{}", " ".repeat(indent));
        self.put(&text)
    }
    /// Keys in Python's order of their texts.
    fn sorted(&self, dict: &super::value::Dict) -> Vec<(Value, Value)> {
        let mut pairs: Vec<(&Key, &Value)> = dict.iter().collect();
        pairs.sort_by(|a, b| match (a.0, b.0) {
            (Key::Str(a), Key::Str(b)) => a.cmp(b),
            (Key::Int(a), Key::Int(b)) => a.cmp(b),
            _ => std::cmp::Ordering::Equal,
        });
        pairs.into_iter().map(|(key, value)| (key.value(self.heap), value.clone())).collect()
    }

    fn flow(&mut self, value: &Value, indent: usize) -> Outcome<()> {
        let heap = self.heap;
        heap.deeper(|| {
            heap.spend(1)?;
            match value.present()?.plain() {
                Value::List(list) => {
                    self.level += 1;
                    self.put("[")?;
                    for (index, item) in list.items.borrow().iter().enumerate() {
                        self.gap(index, indent + 2)?;
                        self.flow(item, indent + 2)?;
                    }
                    self.level -= 1;
                    self.put("]")
                }
                Value::Dict(dict) => {
                    self.level += 1;
                    self.put("{")?;
                    for (index, (key, item)) in self.sorted(&dict.borrow()).iter().enumerate() {
                        self.gap(index, indent + 2)?;
                        self.scalar(key, indent + 2, true)?;
                        self.put(": ")?;
                        self.flow(item, indent + 2)?;
                    }
                    self.level -= 1;
                    self.put("}")
                }
                scalar => self.scalar(scalar, indent, false),
            }
        })
    }

    /// Between the elements of a flow collection.
    fn gap(&mut self, index: usize, indent: usize) -> Outcome<()> {
        if index > 0 {
            self.put(",")?;
        }
        if self.column > WIDTH {
            return self.line(indent);
        }
        if index > 0 { self.put(" ") } else { Ok(()) }
    }

    /// A collection that is not empty, from where the writer stands.
    fn block(&mut self, value: &Value, indent: usize, in_map: bool) -> Outcome<()> {
        let heap = self.heap;
        heap.deeper(|| {
            heap.spend(1)?;
            match value.plain() {
                Value::List(list) => {
                    // Lists below a key are not indented.
                    for (index, item) in list.items.borrow().iter().enumerate() {
                        if index > 0 || in_map {
                            self.line(indent)?;
                        }
                        self.put("-")?;
                        self.element(item, indent)?;
                    }
                }
                Value::Dict(dict) => {
                    for (index, (key, item)) in self.sorted(&dict.borrow()).iter().enumerate() {
                        if index > 0 || in_map {
                            self.line(indent)?;
                        }
                        self.scalar(key, indent, true)?;
                        self.put(":")?;
                        self.member(item, indent)?;
                    }
                }
                other => self.scalar(other, indent, false)?,
            }
            Ok(())
        })
    }

    fn element(&mut self, item: &Value, indent: usize) -> Outcome<()> {
        self.put(" ")?;
        if is_full(item)? { self.block(item, indent + 2, false) } else { self.flow(item, indent) }
    }

    fn member(&mut self, item: &Value, indent: usize) -> Outcome<()> {
        if is_full(item)? {
            let deeper = if matches!(item.plain(), Value::List(_)) { indent } else { indent + 2 };
            return self.block(item, deeper, true);
        }
        self.put(" ")?;
        self.flow(item, indent)
    }

    fn scalar(&mut self, value: &Value, indent: usize, key: bool) -> Outcome<()> {
        let text = match value.present()?.plain() {
            Value::None => "null".to_owned(),
            Value::Bool(it) => it.to_string(),
            Value::Int(it) => it.to_string(),
            Value::Float(it) => yaml_float(*it),
            Value::Unknown => crate::scan::UNKNOWN.to_string(),
            Value::Str(it) => return self.text(it, indent + 2, key),
            other => return Err(Failure::value(format!("{} cannot be written as YAML", other.kind()))),
        };
        self.put(&text)
    }

    fn text(&mut self, text: &str, indent: usize, key: bool) -> Outcome<()> {
        if needs_double(text) || (key && text.contains('\n')) {
            return self.put(&double_quoted(text));
        }
        if is_plain(text, self.level > 0) {
            return self.folded(text, indent, key);
        }
        self.put("'")?;
        self.folded(&text.replace('\'', "''"), indent, key)?;
        self.put("'")
    }

    /// Words with a new line where the width is reached; a line end is an empty line.
    fn folded(&mut self, text: &str, indent: usize, key: bool) -> Outcome<()> {
        let mut rest = text;
        while let Some(end) = rest.find('\n') {
            self.words(&rest[..end], indent, key)?;
            let tail = rest[end..].trim_start_matches('\n');
            let breaks = rest.len() - end - tail.len();
            let lines = format!("{}{}", "\n".repeat(breaks + 1), " ".repeat(indent));
            self.put(&lines)?;
            rest = tail;
        }
        self.words(rest, indent, key)
    }

    fn words(&mut self, line: &str, indent: usize, key: bool) -> Outcome<()> {
        let mut rest = line;
        while let Some(space) = rest.find(' ') {
            let (word, tail) = rest.split_at(space);
            self.put(word)?;
            let spaces = tail.len() - tail.trim_start_matches(' ').len();
            let inner = !self.out.is_empty() && spaces == 1 && tail.len() > 1 && !word.is_empty();
            if !key && inner && self.column > WIDTH {
                self.line(indent)?;
            } else {
                self.put(&tail[..spaces])?;
            }
            rest = &tail[spaces..];
        }
        self.put(rest)
    }
}

fn is_full(value: &Value) -> Outcome<bool> {
    Ok(match value.present()?.plain() {
        Value::List(list) => !list.items.borrow().is_empty(),
        Value::Dict(dict) => !dict.borrow().is_empty(),
        _ => false,
    })
}

fn yaml_float(number: f64) -> String {
    if number.is_nan() {
        return ".nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    let text = float(number);
    match text.split_once('e') {
        Some((digits, exponent)) if !digits.contains('.') => format!("{digits}.0e{exponent}"),
        _ => text,
    }
}

fn needs_double(text: &str) -> bool {
    let odd = |it: char| {
        (it as u32) < 0x20 && it != '\n' || it as u32 == 0x7f || ('\u{80}'..='\u{9f}').contains(&it)
    };
    text.chars().any(odd) || text.contains(" \n") || text.contains("\n ")
}

/// Whether a text can stand without quotes, inside brackets or outside.
fn is_plain(text: &str, flow: bool) -> bool {
    let Some(first) = text.chars().next() else { return false };
    if !matches!(load::scalar(text), Value::Str(_)) || matches!(text, "=" | "<<") || is_date(text) {
        return false;
    }
    if text.starts_with("---") || text.starts_with("...") {
        return false;
    }
    if text.starts_with(' ') || text.ends_with(' ') || text.contains(['\n', '\t']) {
        return false;
    }
    let alone = text.chars().nth(1).is_none_or(|it| it == ' ');
    if "#,[]{}&*!|>'\"%@`".contains(first) || ("?:-".contains(first) && alone) {
        return false;
    }
    if text.contains(": ") || text.ends_with(':') || text.contains(" #") {
        return false;
    }
    !(flow && text.contains([',', '?', '[', ']', '{', '}', ':']))
}

/// `2020-01-02`, with or without a time.
fn is_date(text: &str) -> bool {
    let shape: String = text.chars().take(10).map(|it| if it.is_ascii_digit() { '0' } else { it }).collect();
    shape == "0000-00-00"
}

/// A text as YAML's double quotes have it: on one line, whatever is in it.
pub(super) fn double_quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\0' => out.push_str("\\0"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            '\u{1b}' => out.push_str("\\e"),
            it if (it as u32) < 0x20 || it as u32 == 0x7f || ('\u{80}'..='\u{9f}').contains(&it) => {
                let _ = write!(out, "\\x{:02X}", it as u32);
            }
            it => out.push(it),
        }
    }
    out.push('"');
    out
}
