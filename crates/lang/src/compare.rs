//! How values compare, everywhere in the language: numbers as numbers, versions piece by piece, text as text.

use serde_json::Value;
use std::cmp::Ordering;

/// A value as text: what `{{value}}` prints. Lists and mappings have none.
pub(crate) fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::Bool(it) => Some(it.to_string()),
        Value::Number(it) => Some(it.to_string()),
        Value::String(it) => Some(it.clone()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

/// Whether two values mean the same: `12` and `"12"`, `true` and `"true"`; text without regard to ASCII case.
pub(crate) fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::String(a), Value::String(b)) if a.eq_ignore_ascii_case(b) => return true,
        (Value::Number(a), Value::Number(b)) => return order_numbers(a, b).is_some_and(Ordering::is_eq),
        _ => {}
    }
    match (text_of(left), text_of(right)) {
        (Some(a), Some(b)) => a.eq_ignore_ascii_case(&b) || numbers(&a, &b).is_some_and(Ordering::is_eq),
        _ => left == right,
    }
}

/// Which of two values is greater; none for lists and mappings, and for nothing. A number is no version: 0.5 is more
/// than 0.25.
pub(crate) fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Null, _) | (_, Value::Null) => return None,
        (Value::Number(a), Value::Number(b)) => return order_numbers(a, b),
        (Value::Number(a), Value::String(b)) => {
            if let (Some(a), Ok(b)) = (a.as_f64(), b.parse::<f64>()) {
                return a.partial_cmp(&b);
            }
        }
        _ => {}
    }
    order_as_text(left, right)
}

/// For lists of which nobody knows what is in them: one order for all.
pub(crate) fn order_as_text(left: &Value, right: &Value) -> Option<Ordering> {
    if left.is_null() || right.is_null() {
        return None;
    }
    Some(order_texts(&text_of(left)?, &text_of(right)?))
}

fn order_numbers(a: &serde_json::Number, b: &serde_json::Number) -> Option<Ordering> {
    match (a.as_i64(), b.as_i64()) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
    }
}

fn numbers(a: &str, b: &str) -> Option<Ordering> {
    a.parse::<f64>().ok()?.partial_cmp(&b.parse::<f64>().ok()?)
}

/// `9` before `10`, `1.9` before `1.10` (as versions), `12` before `12.4`, `a` before `b`.
pub(crate) fn order_texts(a: &str, b: &str) -> Ordering {
    let dotted = |it: &str| it.contains('.') && it.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if !(dotted(a) || dotted(b))
        && let Some(order) = numbers(a, b)
    {
        return order;
    }
    let (mut left, mut right) = (pieces(a), pieces(b));
    loop {
        match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(a), Some(b)) => match order_pieces(a, b) {
                Ordering::Equal => {}
                other => return other,
            },
        }
    }
}

fn order_pieces(a: &str, b: &str) -> Ordering {
    let digits = |it: &str| it.bytes().all(|byte| byte.is_ascii_digit());
    if digits(a) && digits(b) {
        let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
        return a.len().cmp(&b.len()).then_with(|| a.cmp(b));
    }
    a.cmp(b)
}

/// Runs of digits and runs of other characters; separators are left out.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    text.split(|it: char| !it.is_alphanumeric()).filter(|it| !it.is_empty()).flat_map(|word| {
        let mut rest = word;
        std::iter::from_fn(move || {
            let first = rest.chars().next()?;
            let digit = first.is_ascii_digit();
            let end = rest.find(|it: char| it.is_ascii_digit() != digit).unwrap_or(rest.len());
            let (piece, more) = rest.split_at(end);
            rest = more;
            Some(piece)
        })
    })
}

/// What counts as yes in a condition: not nothing, not false, not zero, not empty, and none of the texts
/// `no`, `off`, `false`.
pub(crate) fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(it) => *it,
        Value::Number(it) => it.as_f64().is_some_and(|it| it != 0.0),
        Value::String(it) => !it.is_empty() && boolean(it) != Some(false),
        Value::Array(it) => !it.is_empty(),
        Value::Object(it) => !it.is_empty(),
    }
}

/// The boolean that a text means, if any: YAML 1.1's words, as Salt reads them.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => Some(true),
        "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// The value at a path of keys and list positions.
pub(crate) fn lookup<'a, 'b>(root: &'a Value, path: impl IntoIterator<Item = &'b str>) -> Option<&'a Value> {
    path.into_iter().try_fold(root, |value, key| match value {
        Value::Object(map) => map.get(key),
        Value::Array(list) => list.get(key.parse::<usize>().ok()?),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn versions_compare_piece_by_piece_and_numbers_as_numbers() {
        for (small, great) in [
            ("9", "10"),
            ("1.9", "1.10"),
            ("12", "12.4"),
            ("2.0", "10"),
            ("5.10-rc1", "5.10-rc2"),
            ("a", "b"),
            ("-1", "1"),
        ] {
            assert_eq!(order_texts(small, great), Ordering::Less, "{small} {great}");
            assert_eq!(order_texts(great, small), Ordering::Greater, "{small} {great}");
        }
        assert!(same(&json!(12), &json!("12")));
        assert_eq!(order(&json!(0.5), &json!(0.25)), Some(Ordering::Greater));
        assert_eq!(order(&json!(0.5), &json!("0.10")), Some(Ordering::Greater));
        assert_eq!(order(&json!("12.4"), &json!("12.10")), Some(Ordering::Less));
        assert!(same(&json!("Debian"), &json!("debian")));
        assert!(!truthy(&json!("no")));
    }
}
