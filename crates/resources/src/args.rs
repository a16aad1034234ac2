//! Reads a step's parameters against its function's schema: each is checked once, here, and is typed afterwards.

use crate::{Error, Param, ParamType, ParamsError};
use model::ContentHash;
use serde_json::{Map, Value};
use std::path::{Component, PathBuf};

/// Longest text and longest list that a parameter may be.
const TEXT_BYTES_MAX: usize = 8 << 20;
const LIST_ITEMS_MAX: usize = 10_000;

/// What the compiler puts in the place of `source`, `template`, `context`, `defaults` and `contents_pillar`, and (`keep`)
/// the engine in front of `clean`.
const COMPILED: &[&str] = &[
    "content_hash",
    "source_mode",
    "entries",
    "dirs",
    "keep",
    "content_hashes",
    "remote",
    "links",
    "accumulated",
    "failed",
];

/// The parameters of one step.
pub(crate) struct Args<'a> {
    map: &'a Map<String, Value>,
}

impl<'a> Args<'a> {
    /// Checks all names and types against the schema.
    pub(crate) fn new(
        kind: &str,
        schema: &[Param],
        map: &'a Map<String, Value>,
    ) -> Result<Self, ParamsError> {
        for (name, value) in map {
            if value.is_null() {
                continue;
            }
            match schema.iter().find(|it| it.name == name) {
                Some(param) => check(param, value)?,
                None if COMPILED.contains(&name.as_str()) || schema.iter().any(|it| it.name == "*") => (),
                None => return Err(ParamsError::UnknownParam { kind: kind.to_owned(), param: name.clone() }),
            }
        }
        let missing = |param: &&Param| {
            (param.required || param.name == "name") && map.get(param.name).is_none_or(Value::is_null)
        };
        match schema.iter().find(missing) {
            Some(param) => Err(ParamsError::Missing { kind: kind.to_owned(), param: param.name.to_owned() }),
            None => Ok(Self { map }),
        }
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|it| !it.is_null())
    }
    /// As it came.
    pub(crate) fn value(&self, name: &str) -> Option<&'a Value> {
        self.get(name)
    }
    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.get(name).and_then(scalar)
    }
    /// What the step acts on. It is there: `new` has looked.
    pub(crate) fn name(&self) -> String {
        self.text("name").unwrap_or_default()
    }
    pub(crate) fn bool(&self, name: &str, default: bool) -> bool {
        self.get(name).and_then(boolean).unwrap_or(default)
    }
    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        self.get(name).and_then(integer)
    }
    /// A number that a user or a group can have.
    pub(crate) fn id(&self, name: &str) -> Result<Option<u32>, ParamsError> {
        let Some(number) = self.number(name) else { return Ok(None) };
        match u32::try_from(number) {
            Ok(id) if id != u32::MAX => Ok(Some(id)),
            _ => Err(invalid(name, format!("`{name}` is no user or group number: {number}"))),
        }
    }
    pub(crate) fn mode(&self, name: &str) -> Option<u32> {
        self.get(name).and_then(octal)
    }
    pub(crate) fn list(&self, name: &str) -> Option<Vec<String>> {
        self.get(name).and_then(texts)
    }
    pub(crate) fn map(&self, name: &str) -> Option<Vec<(String, String)>> {
        self.get(name).and_then(pairs)
    }
    pub(crate) fn duration_ms(&self, name: &str) -> Option<u64> {
        self.get(name).and_then(duration_ms)
    }
    /// An absolute path in its plain form. `new` has looked whether it is one.
    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        self.text(name).map(|it| plain_path(&it))
    }
    pub(crate) fn hash(&self, name: &str) -> Result<Option<ContentHash>, ParamsError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|error: model::InvalidId| invalid(name, error.to_string()))
    }
    /// A list of mappings, such as the compiler's `entries`.
    pub(crate) fn rows(&self, name: &str) -> Result<Option<Vec<&'a Map<String, Value>>>, ParamsError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let wrong =
            || ParamsError::WrongType { param: name.to_owned(), wanted: "a list of mappings".to_owned() };
        let rows = value.as_array().ok_or_else(wrong)?;
        rows.iter().map(Value::as_object).collect::<Option<_>>().map(Some).ok_or_else(wrong)
    }
}

/// A complaint about one parameter.
pub(crate) fn invalid(param: &str, message: impl Into<String>) -> ParamsError {
    ParamsError::Invalid { param: Some(param.to_owned()), message: message.into() }
}

/// For parameters that become an argument of a program: not empty, one line, not an option.
pub(crate) fn plain_word(param: &str, text: &str) -> Result<(), ParamsError> {
    if text.is_empty() {
        Err(invalid(param, format!("`{param}` is empty")))
    } else if text.starts_with('-') || text.chars().any(|it| it.is_control() || it.is_whitespace()) {
        Err(invalid(param, format!("`{text}` is no `{param}`: it must be one word and not begin with `-`")))
    } else {
        Ok(())
    }
}

/// For a resource that still has its `source`: nothing on a minion can resolve it.
pub(crate) fn not_compiled(param: &str) -> Error {
    Error::Refused(format!("`{param}` was not replaced with content by the compiler"))
}

fn check(param: &Param, value: &Value) -> Result<(), ParamsError> {
    let wrong = |wanted: &str| {
        Err(ParamsError::WrongType { param: param.name.to_owned(), wanted: wanted.to_owned() })
    };
    match param.kind {
        ParamType::Text => match scalar(value) {
            None => wrong("text"),
            Some(text) if text.len() > TEXT_BYTES_MAX => wrong("text of at most 8 MiB"),
            Some(_) => Ok(()),
        },
        ParamType::Bool if boolean(value).is_none() => wrong("true or false"),
        ParamType::Integer if integer(value).is_none() => wrong("a whole number"),
        ParamType::Mode if octal(value).is_none() && value != "keep" => {
            wrong("a file mode in octal, such as 0644")
        }
        ParamType::TextList if texts(value).is_none() => wrong("a list of text"),
        ParamType::TextMap if pairs(value).is_none() => wrong("a mapping of text to text"),
        ParamType::Duration if duration_ms(value).is_none() => {
            wrong("a duration: seconds, or a number with ms, s, m, h or d")
        }
        ParamType::Path => match scalar(value) {
            Some(text) if is_good_path(&text) => Ok(()),
            _ => wrong("an absolute path without `..`"),
        },
        ParamType::Source if texts(value).is_none_or(|it| it.is_empty()) => {
            wrong("`lab://path`, or a list of these")
        }
        _ => Ok(()),
    }
}

fn is_good_path(text: &str) -> bool {
    text.starts_with('/')
        && !text.contains('\0')
        && text.len() < 4096
        && !PathBuf::from(text).components().any(|it| it == Component::ParentDir)
}

/// Without doubled and final slashes and `.`.
pub(crate) fn plain_path(text: &str) -> PathBuf {
    PathBuf::from(text).components().collect()
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => Some(true),
            "false" | "no" | "off" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// The digits of a mode are octal however they were written. `keep` is none: the source's mode counts then.
fn octal(value: &Value) -> Option<u32> {
    let text = match value {
        Value::Number(number) => number.as_u64()?.to_string(),
        Value::String(text) => text.trim().trim_start_matches("0o").to_owned(),
        _ => return None,
    };
    let digits = (1..=5).contains(&text.len()) && text.bytes().all(|it| it.is_ascii_digit());
    u32::from_str_radix(&text, 8).ok().filter(|mode| digits && *mode <= 0o7777)
}

fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Array(items) if items.len() <= LIST_ITEMS_MAX => items.iter().map(scalar).collect(),
        Value::Array(_) => None,
        one => scalar(one).map(|it| vec![it]),
    }
}

fn pairs(value: &Value) -> Option<Vec<(String, String)>> {
    let row = |map: &Map<String, Value>| -> Option<Vec<(String, String)>> {
        map.iter().map(|(key, value)| Some((key.clone(), scalar(value)?))).collect()
    };
    match value {
        Value::Object(map) => row(map),
        Value::Array(rows) if rows.len() <= LIST_ITEMS_MAX => {
            rows.iter().map(|it| row(it.as_object()?)).collect::<Option<Vec<_>>>().map(|it| it.concat())
        }
        _ => None,
    }
}

fn duration_ms(value: &Value) -> Option<u64> {
    model::duration::parse_or_seconds(&scalar(value)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_taken_as_people_write_them() {
        assert_eq!(boolean(&json!("Yes")), Some(true));
        assert_eq!(boolean(&json!("off")), Some(false));
        assert_eq!(boolean(&json!("perhaps")), None);
        assert_eq!(integer(&json!("42")), Some(42));
        assert_eq!(integer(&json!(4.2)), None);
        for mode in [json!("0644"), json!("644"), json!(644)] {
            assert_eq!(octal(&mode), Some(0o644), "{mode}");
        }
        assert_eq!(octal(&json!("0888")), None);
        assert_eq!(octal(&json!(77_777)), None);
        assert_eq!(texts(&json!("one")), Some(vec!["one".to_owned()]));
        assert_eq!(pairs(&json!([{"A": 1}, {"B": "x"}])), pairs(&json!({"A": "1", "B": "x"})));
        assert_eq!(duration_ms(&json!("1.5m")), Some(90_000));
        assert_eq!(duration_ms(&json!(2)), Some(2_000));
        assert_eq!(duration_ms(&json!("250ms")), Some(250));
        assert_eq!(duration_ms(&json!("soon")), None);
    }

    #[test]
    fn a_path_cannot_leave_its_place() {
        assert!(is_good_path("/etc/motd"));
        for bad in ["etc/motd", "/etc/../motd", "", "/a\0b"] {
            assert!(!is_good_path(bad), "{bad}");
        }
        assert_eq!(plain_path("/etc//x/./y/"), PathBuf::from("/etc/x/y"));
    }
}
