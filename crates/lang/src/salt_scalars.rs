//! What plain scalars mean in Salt's YAML, which is version 1.1 with octal digits kept: `0644` is 644, `yes` is true,
//! `1_000` is 1000, `12:30` is 750, a date stays text.

use crate::yaml::{Key, Node, Yaml, is_null};
use serde_json::{Map, Number, Value};

/// A node as Salt sees it.
pub(crate) fn value(node: &Node) -> Value {
    match &node.value {
        Yaml::Scalar { text, plain: true } => plain(text),
        Yaml::Scalar { text, plain: false } => Value::String(text.clone()),
        Yaml::List(nodes) => Value::Array(nodes.iter().map(value).collect()),
        Yaml::Map(pairs) => {
            Value::Object(pairs.iter().map(|it| (key(&it.0), value(&it.1))).collect::<Map<_, _>>())
        }
    }
}

/// A key as text: numbers and booleans as they print in JSON.
pub(crate) fn key(key: &Key) -> String {
    if !key.plain {
        return key.text.clone();
    }
    match plain(&key.text) {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// A plain scalar.
pub(crate) fn plain(text: &str) -> Value {
    match text {
        _ if is_null(text) => Value::Null,
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Value::Bool(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Value::Bool(false),
        _ => number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number),
    }
}

fn number(text: &str) -> Option<Number> {
    let first = *text.as_bytes().first()?;
    if !(first.is_ascii_digit() || b"+-.".contains(&first)) {
        return None;
    }
    whole(text).map(Number::from).or_else(|| Number::from_f64(fraction(text)?))
}

fn of_digits(text: &str, radix: u32) -> bool {
    !text.is_empty() && text.chars().all(|it| it == '_' || it.is_digit(radix))
}

fn parsed(text: &str, radix: u32) -> Option<i64> {
    i64::from_str_radix(&text.replace('_', ""), radix).ok()
}

fn whole(text: &str) -> Option<i64> {
    let (sign, digits) = signed(text);
    let number = if digits == "0" {
        0
    } else if let Some(binary) = digits.strip_prefix("0b") {
        parsed(Some(binary).filter(|it| of_digits(it, 2))?, 2)?
    } else if let Some(hex) = digits.strip_prefix("0x") {
        parsed(Some(hex).filter(|it| of_digits(it, 16))?, 16)?
    } else if let Some(octal) = digits.strip_prefix('0') {
        if !of_digits(octal, 8) {
            return None;
        }
        // Salt drops the zeros in front, so that the digits stay; behind a sign it does not see them.
        match text.starts_with('0').then(|| text.trim_start_matches('0')) {
            Some("") => 0,
            Some(rest) => parsed(rest, 10)?,
            None => parsed(digits, 8)?,
        }
    } else if digits.contains(':') {
        sixties(digits)?
    } else if of_digits(digits, 10) && digits.as_bytes()[0] != b'_' {
        parsed(digits, 10)?
    } else {
        return None;
    };
    Some(sign * number)
}

fn signed(text: &str) -> (i64, &str) {
    match text.as_bytes().first() {
        Some(b'-') => (-1, &text[1..]),
        Some(b'+') => (1, &text[1..]),
        _ => (1, text),
    }
}

/// `12:30` as minutes and seconds: 750.
fn sixties(digits: &str) -> Option<i64> {
    let mut parts = digits.split(':');
    let first = parts.next().filter(|it| of_digits(it, 10) && it.as_bytes()[0] != b'_')?;
    parts.try_fold(parsed(first, 10)?, |sum, part| {
        let good = matches!(part.as_bytes(), [b'0'..=b'5', b'0'..=b'9'] | [b'0'..=b'9']);
        sum.checked_mul(60)?.checked_add(parsed(Some(part).filter(|_| good)?, 10)?)
    })
}

fn fraction(text: &str) -> Option<f64> {
    // A number without digits before the point has no sign.
    let digits = if text.starts_with('.') { text } else { signed(text).1 };
    let (before, after) = digits.split_once('.')?;
    if before.contains(':') {
        let seconds = sixties(before)?;
        let rest =
            format!("0.{}", Some(after).filter(|it| it.is_empty() || of_digits(it, 10))?.replace('_', ""));
        #[expect(clippy::cast_precision_loss, reason = "as Python does")]
        let sum = seconds as f64 + rest.parse::<f64>().unwrap_or(0.0);
        return Some(if text.starts_with('-') { -sum } else { sum });
    }
    let (tail, exponent) = match after.find(['e', 'E']) {
        Some(place) => (&after[..place], Some(&after[place + 1..])),
        None => (after, None),
    };
    let digit_first = |it: &str| it.starts_with(|first: char| first.is_ascii_digit());
    let good_before = if before.is_empty() { digit_first(tail) } else { digit_first(before) };
    let good_digits = |it: &str| it.is_empty() || of_digits(it, 10);
    let good_exponent = exponent.is_none_or(|it| {
        it.starts_with(['+', '-']) && it.len() > 1 && of_digits(&it[1..], 10) && !it.contains('_')
    });
    if !(good_before && good_digits(before) && good_digits(tail) && good_exponent) {
        return None;
    }
    text.replace('_', "").parse::<f64>().ok()
}

#[cfg(test)]
mod tests {
    use super::plain;
    use serde_json::{Value, json};

    /// Recorded from Salt 3008.3.
    #[test]
    fn scalars_mean_what_salt_takes_them_for() {
        for (text, wanted) in [
            ("0644", json!(644)),
            ("00", json!(0)),
            ("0", json!(0)),
            ("-0644", json!(-420)),
            ("08", json!("08")),
            ("0o17", json!("0o17")),
            ("0x1F", json!(31)),
            ("0b101", json!(5)),
            ("1_000", json!(1000)),
            ("12:30", json!(750)),
            ("12:99", json!("12:99")),
            ("1:2:3", json!(3723)),
            ("1.10", json!(1.1)),
            (".5", json!(0.5)),
            ("1.", json!(1.0)),
            ("1e3", json!("1e3")),
            ("1.0e+3", json!(1000.0)),
            ("1.0e3", json!("1.0e3")),
            ("+5", json!(5)),
            ("-1.5", json!(-1.5)),
            ("1.2.3", json!("1.2.3")),
            ("2020-01-01", json!("2020-01-01")),
            ("-", json!("-")),
            ("yes", json!(true)),
            ("Off", json!(false)),
            ("y", json!("y")),
            ("~", Value::Null),
            ("None", json!("None")),
            ("10.0.0.1", json!("10.0.0.1")),
            ("_1", json!("_1")),
        ] {
            assert_eq!(plain(text), wanted, "{text}");
        }
    }
}
