//! Turns YAML nodes into values. `0644` stays text, `80` is a number, `true` is a boolean, `yes` stays text until
//! somebody wants a boolean.

use crate::{
    salt_scalars,
    yaml::{Node, Yaml, is_null},
};
use serde_json::{Map, Number, Value};

/// The key of the object that wraps a secret inside a pillar tree. No YAML key can be this.
const SECRET: &str = "\u{0}secret";

/// What a plain scalar means.
pub(crate) fn plain(text: &str) -> Value {
    match text {
        _ if is_null(text) => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number),
    }
}

/// A number, if it prints as it is written: neither `0644` nor `1.10` nor `1_000`.
fn number(text: &str) -> Option<Number> {
    let first = *text.as_bytes().first()?;
    if !(first.is_ascii_digit() || first == b'-') {
        return None;
    }
    let number = match text.parse::<i64>() {
        Ok(it) => Number::from(it),
        Err(_) => Number::from_f64(text.parse::<f64>().ok()?)?,
    };
    (number.to_string() == text).then_some(number)
}

/// A node as a value. Secrets are as plain as everything else.
pub(crate) fn value(node: &Node) -> Value {
    convert(node, false, false, false)
}

/// A node as a value in which secrets are wrapped; see [`reveal`] and [`masked`].
/// With `salt`, scalars mean what they mean in Salt.
pub(crate) fn with_secrets(node: &Node, salt: bool) -> Value {
    convert(node, true, false, salt)
}

fn convert(node: &Node, wrap: bool, secret: bool, salt: bool) -> Value {
    let secret = secret || (wrap && node.tag.as_deref() == Some("secret"));
    match &node.value {
        Yaml::Scalar { text, plain: is_plain } => {
            let value = match (is_plain, salt) {
                (true, true) => salt_scalars::plain(text),
                (true, false) => plain(text),
                (false, _) => Value::String(text.clone()),
            };
            if secret && !value.is_null() {
                // A secret keeps the digits that it is written with.
                Value::Object(Map::from_iter([(SECRET.to_owned(), Value::String(text.clone()))]))
            } else {
                value
            }
        }
        Yaml::List(nodes) => Value::Array(nodes.iter().map(|it| convert(it, wrap, secret, salt)).collect()),
        Yaml::Map(pairs) => Value::Object(
            pairs
                .iter()
                .map(|(key, node)| {
                    let text = if salt { salt_scalars::key(key) } else { key.text.clone() };
                    (text, convert(node, wrap, secret, salt))
                })
                .collect(),
        ),
    }
}

/// Whether this is a secret in its wrapping.
pub(crate) fn is_wrapped(map: &Map<String, Value>) -> bool {
    wrapped(map).is_some()
}

fn wrapped(map: &Map<String, Value>) -> Option<&Value> {
    if map.len() == 1 { map.get(SECRET) } else { None }
}

/// Takes the wrapping off and collects the secrets.
pub(crate) fn reveal(value: &Value, secrets: &mut Vec<String>) -> Value {
    match value {
        Value::Object(map) => match wrapped(map) {
            Some(secret) => {
                secrets.extend(secret.as_str().map(str::to_owned));
                secret.clone()
            }
            None => Value::Object(map.iter().map(|(key, it)| (key.clone(), reveal(it, secrets))).collect()),
        },
        Value::Array(list) => Value::Array(list.iter().map(|it| reveal(it, secrets)).collect()),
        other => other.clone(),
    }
}

/// Puts the mask where a secret is wrapped.
pub(crate) fn masked(value: &Value) -> Value {
    match value {
        Value::Object(map) if wrapped(map).is_some() && !model::broken::leaves_out("mask-views") => {
            Value::String(model::SECRET_MASK.to_owned())
        }
        Value::Object(map) => Value::Object(map.iter().map(|(key, it)| (key.clone(), masked(it))).collect()),
        Value::Array(list) => Value::Array(list.iter().map(masked).collect()),
        other => other.clone(),
    }
}

/// Puts the mask over every occurrence of the secrets in texts and keys.
pub(crate) fn mask_texts(value: &Value, secrets: &[String]) -> Value {
    match value {
        Value::String(text) => Value::String(mask_text(text, secrets)),
        Value::Object(map) => Value::Object(
            map.iter().map(|(key, it)| (mask_text(key, secrets), mask_texts(it, secrets))).collect(),
        ),
        Value::Array(list) => Value::Array(list.iter().map(|it| mask_texts(it, secrets)).collect()),
        Value::Number(number) if secrets.contains(&number.to_string()) => {
            Value::String(model::SECRET_MASK.to_owned())
        }
        other => other.clone(),
    }
}

/// Puts the mask over every occurrence of the secrets; longer ones come first in the list.
pub(crate) fn mask_text(text: &str, secrets: &[String]) -> String {
    let mut text = text.to_owned();
    if model::broken::leaves_out("mask-views") {
        return text;
    }
    for secret in secrets {
        if text.contains(secret.as_str()) {
            text = text.replace(secret.as_str(), model::SECRET_MASK);
        }
    }
    text
}

/// Merges `more` into `into`, mapping by mapping; what comes later wins, lists are replaced.
pub(crate) fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) if wrapped(into).is_none() && wrapped(&more).is_none() => {
            for (key, value) in more {
                match into.get_mut(&key) {
                    Some(old) => merge(old, value),
                    None => {
                        into.insert(key, value);
                    }
                }
            }
        }
        (into, more) => *into = more,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn plain_scalars_keep_what_a_number_would_lose() {
        for text in ["0644", "1.10", "1_000", "yes", "no", "on", "1e3", "0x10", "+5", "nan", "inf", "12:30"] {
            assert_eq!(plain(text), json!(text));
        }
        assert_eq!(plain("80"), json!(80));
        assert_eq!(plain("-1.5"), json!(-1.5));
        assert_eq!(plain("~"), Value::Null);
        assert_eq!(plain("false"), json!(false));
    }
}
