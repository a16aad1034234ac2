//! Writes values as TOML.

use super::{DEPTH_MAX, python_number};
use serde_json::{Map, Value};
use std::fmt::Write;

/// Values first, then tables, each behind an empty line.
pub(super) fn table(
    map: &Map<String, Value>,
    prefix: &str,
    out: &mut String,
    depth: usize,
) -> Result<(), String> {
    if depth > DEPTH_MAX {
        return Err(format!("the data is nested deeper than {DEPTH_MAX}"));
    }
    let bare =
        |key: &str| !key.is_empty() && key.chars().all(|it| it.is_ascii_alphanumeric() || "_-".contains(it));
    let quoted = |key: &str| if bare(key) { key.to_owned() } else { quoted_text(key) };
    let is_tables = |value: &Value| {
        value.as_array().is_some_and(|items| !items.is_empty() && items.iter().all(Value::is_object))
    };
    for (key, value) in map.iter().filter(|it| !it.1.is_object() && !is_tables(it.1)) {
        let _ = writeln!(out, "{} = {}", quoted(key), written(value)?);
    }
    for (key, value) in map {
        let name = if prefix.is_empty() { quoted(key) } else { format!("{prefix}.{}", quoted(key)) };
        let mut table = |open: &str, map: &Map<String, Value>, close: &str| {
            if !out.is_empty() {
                out.push('\n');
            }
            let _ = writeln!(out, "{open}{name}{close}");
            self::table(map, &name, out, depth + 1)
        };
        match value {
            Value::Object(map) => table("[", map, "]")?,
            Value::Array(items) if is_tables(value) => {
                items.iter().filter_map(Value::as_object).try_for_each(|map| table("[[", map, "]]"))?;
            }
            _ => (),
        }
    }
    Ok(())
}

fn quoted_text(text: &str) -> String {
    let mut out = String::from("\"");
    for sign in text.chars() {
        match sign {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ if sign.is_control() => {
                let _ = write!(out, "\\u{:04x}", sign as u32);
            }
            _ => out.push(sign),
        }
    }
    out.push('"');
    out
}

fn written(value: &Value) -> Result<String, String> {
    Ok(match value {
        Value::String(text) => quoted_text(text),
        Value::Bool(it) => it.to_string(),
        Value::Number(number) => python_number(number),
        Value::Array(items) => {
            let items = items.iter().map(written).collect::<Result<Vec<_>, _>>()?;
            items.iter().fold("[".to_owned(), |all, it| format!("{all} {it},")) + "]"
        }
        Value::Null => return Err("TOML has no empty value".to_owned()),
        Value::Object(_) => {
            return Err("a mapping inside a list of other values cannot be written as TOML".to_owned());
        }
    })
}
