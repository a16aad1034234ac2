//! Writes values as JSON, character for character as Python's `json.dumps` does.

use super::{
    failure::{Failure, Outcome},
    heap::Heap,
    text::{bounded, float},
    value::{Key, Value},
};
use std::fmt::Write;

/// How it looks.
#[derive(Clone, Debug, Default)]
pub(super) struct Style {
    pub(super) sorted: bool,
    /// Characters beyond ASCII as escapes.
    pub(super) ascii: bool,
    pub(super) indent: Option<usize>,
}

/// The text.
pub(super) fn dump(value: &Value, style: &Style, heap: &Heap) -> Outcome<String> {
    let mut out = String::new();
    write(value, style, 0, heap, &mut out)?;
    Ok(out)
}

fn line(out: &mut String, style: &Style, depth: usize) {
    if let Some(width) = style.indent {
        out.push('\n');
        out.push_str(&" ".repeat(width * depth));
    }
}

fn write(value: &Value, style: &Style, depth: usize, heap: &Heap, out: &mut String) -> Outcome<()> {
    heap.deeper(|| {
        heap.spend(1)?;
        let comma = if style.indent.is_some() { "," } else { ", " };
        match value.present()?.plain() {
            Value::None => out.push_str("null"),
            Value::Bool(it) => out.push_str(if *it { "true" } else { "false" }),
            Value::Int(it) => {
                let _ = write!(out, "{it}");
            }
            Value::Float(it) if it.is_nan() => out.push_str("NaN"),
            Value::Float(it) if it.is_infinite() => {
                out.push_str(if *it > 0.0 { "Infinity" } else { "-Infinity" });
            }
            Value::Float(it) => out.push_str(&float(*it)),
            Value::Str(it) => quote(it, style.ascii, out),
            Value::Unknown => quote(&crate::scan::UNKNOWN.to_string(), false, out),
            Value::List(list) => {
                let items = list.items.borrow();
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push_str(comma);
                    }
                    line(out, style, depth + 1);
                    write(item, style, depth + 1, heap, out)?;
                }
                if !items.is_empty() {
                    line(out, style, depth);
                }
                out.push(']');
            }
            Value::Dict(dict) => {
                let dict = dict.borrow();
                let mut pairs: Vec<(String, &Value)> =
                    dict.iter().map(|(key, it)| (name(key, heap), it)).collect();
                if style.sorted {
                    pairs.sort_by(|a, b| a.0.cmp(&b.0));
                }
                out.push('{');
                for (index, (key, item)) in pairs.iter().enumerate() {
                    if index > 0 {
                        out.push_str(comma);
                    }
                    line(out, style, depth + 1);
                    quote(key, style.ascii, out);
                    out.push_str(": ");
                    write(item, style, depth + 1, heap, out)?;
                }
                if !pairs.is_empty() {
                    line(out, style, depth);
                }
                out.push('}');
            }
            other => return Err(Failure::value(format!("{} cannot be written as JSON", other.kind()))),
        }
        bounded(out)
    })
}

fn name(key: &Key, heap: &Heap) -> String {
    match key {
        Key::None => "null".to_owned(),
        Key::Bool(it) => it.to_string(),
        other => other.text(heap),
    }
}

fn quote(text: &str, ascii: bool, out: &mut String) {
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            it if (it as u32) < 0x20 || (ascii && it as u32 > 0x7e) => {
                let mut units = [0; 2];
                for unit in it.encode_utf16(&mut units) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            it => out.push(it),
        }
    }
    out.push('"');
}
