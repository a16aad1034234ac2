//! Reads YAML and JSON inside of templates into values, as Salt's `load_yaml` and `import_yaml` have them: `yes` is true.

use super::{
    failure::{Failure, Outcome},
    heap::Heap,
    value::{Dict, Key, Value, of_json},
};
use crate::{
    say::{Complaints, Rendered, Text},
    yaml::{self, Node, Yaml, is_null},
};
use std::sync::Arc;

/// The value of a YAML text that begins behind a line of the template.
pub(super) fn yaml(text: &str, line: u32, heap: &Heap) -> Outcome<Value> {
    heap.room(text.len())?;
    let rendered = Rendered::plain(Arc::new(Text::new("load_yaml".to_owned(), text.to_owned())));
    let mut complaints = Complaints::default();
    let node = yaml::parse(&rendered, &mut complaints);
    let complaints = complaints.finish();
    if let Some(first) = complaints.first() {
        let at = first.spans.first();
        let (down, quoted) = at.map_or((1, ""), |it| (it.line, it.text.as_str()));
        let message = format!("this is not YAML: {}", first.message);
        let told = format!("line {} of it, about line {} here: {}", down, line + down - 1, quoted.trim());
        return Err(Failure::new("E0101", message).note(told).maybe_help(first.help.clone()));
    }
    match node {
        Some(root) => of_node(&root, heap),
        None => Ok(Value::None),
    }
}

fn of_node(node: &Node, heap: &Heap) -> Outcome<Value> {
    heap.spend(1)?;
    Ok(match &node.value {
        Yaml::Scalar { text, plain: true } if node.tag.is_none() => scalar(text),
        Yaml::Scalar { text, .. } => match node.tag.as_deref() {
            Some("int" | "float" | "bool" | "null") => scalar(text),
            _ => Value::str(text),
        },
        Yaml::List(items) => heap.list(items.iter().map(|it| of_node(it, heap)).collect::<Outcome<_>>()?),
        Yaml::Map(pairs) => {
            let mut dict = Dict::with_capacity(pairs.len());
            for (key, value) in pairs {
                dict.insert(Key::of(&scalar(&key.text), heap)?, of_node(value, heap)?);
            }
            heap.dict(dict)
        }
    })
}

/// What a plain scalar means in YAML 1.1, as Salt reads it: `0644` is 644.
pub(super) fn scalar(text: &str) -> Value {
    match text {
        _ if is_null(text) => Value::None,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Value::Bool(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Value::Bool(false),
        _ => number(text).unwrap_or_else(|| Value::str(text)),
    }
}

fn number(text: &str) -> Option<Value> {
    let first = *text.as_bytes().first()?;
    if !(first.is_ascii_digit() || b"+-.".contains(&first)) {
        return None;
    }
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let sign = |it: i64| Value::Int(if negative { -it } else { it });
    let plain = digits.replace('_', "");
    for (prefix, radix) in [("0x", 16), ("0b", 2)] {
        if let Some(rest) = plain.strip_prefix(prefix) {
            return i64::from_str_radix(rest, radix).ok().map(sign);
        }
    }
    if plain.is_empty() {
        return None;
    }
    if plain.bytes().all(|it| it.is_ascii_digit()) && digits.starts_with(|it: char| it.is_ascii_digit()) {
        if plain.len() > 1 && plain.starts_with('0') && plain.contains(['8', '9']) {
            return None;
        }
        return plain.parse().ok().map(sign);
    }
    if let Some(it) = sexagesimal(&plain) {
        return Some(sign(it));
    }
    match digits {
        ".inf" | ".Inf" | ".INF" => {
            return Some(Value::Float(if negative { f64::NEG_INFINITY } else { f64::INFINITY }));
        }
        ".nan" | ".NaN" | ".NAN" => return Some(Value::Float(f64::NAN)),
        _ => {}
    }
    fraction(&plain).map(|it| Value::Float(if negative { -it } else { it }))
}

/// `22:22` is 1342 in YAML 1.1.
fn sexagesimal(text: &str) -> Option<i64> {
    let mut parts = text.split(':');
    let first = parts.next()?;
    if first.is_empty() || first.starts_with('0') || !text.contains(':') {
        return None;
    }
    let mut sum: i64 = first.parse().ok()?;
    for part in parts {
        let digits = !part.is_empty() && part.len() <= 2 && part.bytes().all(|it| it.is_ascii_digit());
        let value: i64 = part.parse().ok().filter(|it| digits && *it < 60)?;
        sum = sum.checked_mul(60)?.checked_add(value)?;
    }
    Some(sum)
}

/// `1.5`, `.5`, `1.5e+3`; without a point or without a sign in the exponent it is text.
fn fraction(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).map_or((text, None), |(a, b)| (a, Some(b)));
    let (whole, part) = mantissa.split_once('.')?;
    let digits = |it: &str| it.bytes().all(|it| it.is_ascii_digit());
    if !digits(whole) || !digits(part) || (whole.is_empty() && part.is_empty()) {
        return None;
    }
    if let Some(exponent) = exponent {
        let rest = exponent.strip_prefix(['+', '-'])?;
        if rest.is_empty() || !digits(rest) {
            return None;
        }
    }
    text.parse().ok()
}

/// The value of a JSON text.
pub(super) fn json(text: &str, heap: &Heap) -> Outcome<Value> {
    heap.room(text.len())?;
    match serde_json::from_str(text) {
        Ok(json) => Ok(of_json(&json, heap)),
        Err(cause) => Err(Failure::new("E0101", format!("this is not JSON: {cause}"))),
    }
}
