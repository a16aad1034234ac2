//! Values as text: what Python's `str` and `repr` give.

use super::{
    failure::{Failure, Outcome},
    heap::Heap,
    object::Object,
    value::{Key, Value},
};
use crate::{limits, scan::UNKNOWN};
use std::fmt::Write;

/// What `{{ value }}` prints.
pub(super) fn str_of(value: &Value, heap: &Heap) -> Outcome<String> {
    let mut out = String::new();
    write_str(value, heap, &mut out)?;
    Ok(out)
}

/// As [`str_of`], to the end of a text.
pub(super) fn write_str(value: &Value, heap: &Heap, out: &mut String) -> Outcome<()> {
    match value {
        Value::Str(it) => {
            out.push_str(it);
            bounded(out)
        }
        Value::Asked(it) => write_str(it, heap, out),
        Value::Missing(why) if why.silent => Ok(()),
        Value::Unknown => {
            out.push(UNKNOWN);
            Ok(())
        }
        other => write_repr(other, heap, out),
    }
}

pub(super) fn bounded(out: &str) -> Outcome<()> {
    if out.len() > limits::RENDERED_BYTES {
        let message = format!("a text of more than {} bytes", limits::RENDERED_BYTES);
        return Err(Failure::limit(message));
    }
    Ok(())
}

/// What a value looks like inside a list.
pub(super) fn write_repr(value: &Value, heap: &Heap, out: &mut String) -> Outcome<()> {
    heap.deeper(|| {
        heap.spend(1)?;
        match value.present()? {
            Value::Missing(_) | Value::None => out.push_str("None"),
            Value::Unknown => out.push(UNKNOWN),
            Value::Asked(it) => write_repr(it, heap, out)?,
            Value::Bool(it) => out.push_str(if *it { "True" } else { "False" }),
            Value::Int(it) => {
                let _ = write!(out, "{it}");
            }
            Value::Float(it) => out.push_str(&float(*it)),
            Value::Str(it) => quote(it, out),
            Value::List(list) => write_list(&list.items.borrow(), list.tuple, heap, out)?,
            Value::Dict(dict) => write_pairs(dict.borrow().iter(), heap, out)?,
            Value::Object(object) => write_object(object, heap, out)?,
        }
        bounded(out)
    })
}

fn write_list(items: &[Value], tuple: bool, heap: &Heap, out: &mut String) -> Outcome<()> {
    out.push(if tuple { '(' } else { '[' });
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        write_repr(item, heap, out)?;
    }
    out.push_str(match (tuple, items.len()) {
        (true, 1) => ",)",
        (true, _) => ")",
        _ => "]",
    });
    Ok(())
}

fn write_pairs<'a>(
    pairs: impl Iterator<Item = (&'a Key, &'a Value)>,
    heap: &Heap,
    out: &mut String,
) -> Outcome<()> {
    out.push('{');
    for (index, (key, value)) in pairs.enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        match key {
            Key::Str(it) => quote(it, out),
            other => write_repr(&other.value(heap), heap, out)?,
        }
        out.push_str(": ");
        match value {
            // As YAML reads it: Salt does this so that mappings can be printed into states.
            Value::Str(it) if it.contains(['\n', '\r', '\t']) => {
                out.push_str(&super::yaml_text::double_quoted(it));
            }
            other => write_repr(other, heap, out)?,
        }
    }
    out.push('}');
    Ok(())
}

fn write_object(object: &Object, heap: &Heap, out: &mut String) -> Outcome<()> {
    match object {
        Object::Module { text, .. } => out.push_str(text),
        Object::Namespace(names) => {
            let names = names.borrow();
            let pairs: Vec<(Key, &Value)> =
                names.iter().map(|(key, it)| (Key::Str(key.clone()), it)).collect();
            out.push_str("<Namespace ");
            write_pairs(pairs.iter().map(|(key, it)| (key, *it)), heap, out)?;
            out.push('>');
        }
        other => {
            return Err(
                Failure::new("E0204", format!("{} is printed as it is", other.kind())).help("call it")
            );
        }
    }
    Ok(())
}

/// Python's shortest text of a number.
pub(super) fn float(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if number != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let text = format!("{number}");
    if text.contains('.') { text } else { format!("{text}.0") }
}

/// Python's `repr` of a text.
pub(super) fn quote(text: &str, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for char in text.chars() {
        match char {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            it if it == quote => {
                out.push('\\');
                out.push(it);
            }
            it if (it as u32) < 0x20 || it as u32 == 0x7f => {
                let _ = write!(out, "\\x{:02x}", it as u32);
            }
            it if (0x80..0xa1).contains(&(it as u32)) || it as u32 == 0xad => {
                let _ = write!(out, "\\x{:02x}", it as u32);
            }
            it => out.push(it),
        }
    }
    out.push(quote);
}

pub(super) fn repr(value: &Value, heap: &Heap) -> Outcome<String> {
    let mut out = String::new();
    write_repr(value, heap, &mut out)?;
    Ok(out)
}
