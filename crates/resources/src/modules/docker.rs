//! What the modules for Docker share: inspecting, running `docker`, and values as Salt's users write them.

use crate::{
    Error, Host, ParamsError, Probe,
    args::invalid,
    host::{Query, query::docker::Question},
    tool,
};
use model::Output;
use serde_json::{Map, Value};

/// Most entries of one list of options.
const ENTRIES_MAX: usize = 1000;

/// What Docker has under that name; `None` if nothing.
pub(super) fn inspect(host: &dyn Probe, question: Question) -> Result<Option<Value>, Error> {
    let query = Query::Docker(question);
    let output = tool::ask(host, &query)?;
    if output.code == Some(0) {
        let parsed: Value = serde_json::from_str(&output.stdout).map_err(|error| {
            Error::Refused(format!("`docker` answered with something that is no JSON: {error}"))
        })?;
        return Ok(parsed.get(0).cloned());
    }
    let said = output.stderr.to_ascii_lowercase();
    let gone = ["no such container", "no such volume", "no such image", "no such network", "no such object"];
    let missing =
        gone.iter().any(|it| said.contains(it)) || (said.contains("network") && said.contains("not found"));
    if missing { Ok(None) } else { Err(tool::refusal(&query, output)) }
}

/// Runs `docker` with these arguments.
pub(super) fn docker<T: AsRef<str>>(host: &mut dyn Host, args: &[T]) -> Result<Output, Error> {
    let words: Vec<&str> = ["docker"].into_iter().chain(args.iter().map(AsRef::as_ref)).collect();
    let what = words.iter().take(3).copied().collect::<Vec<_>>().join(" ");
    let last = words.last().copied().unwrap_or_default();
    tool::run(host, tool::command(&words, tool::LONG_MS), &format!("{what} {last}"))
}

/// The name of a container, network or volume.
pub(super) fn object_name(param: &str, name: &str) -> Result<(), ParamsError> {
    let good = name.bytes().all(|it| it.is_ascii_alphanumeric() || b"_.-".contains(&it));
    if !good || !name.starts_with(|it: char| it.is_ascii_alphanumeric()) || name.len() > 255 {
        let text = format!("`{name}` is no name: letters, digits, `_`, `.` and `-`, a letter or digit first");
        return Err(invalid(param, text));
    }
    Ok(())
}

/// The reference of an image: repository with tag or digest.
pub(super) fn image_name(param: &str, name: &str) -> Result<(), ParamsError> {
    let good = |it: u8| it.is_ascii_alphanumeric() || b"_.-/:@".contains(&it);
    let starts = name.starts_with(|it: char| it.is_ascii_alphanumeric());
    if !starts || !name.bytes().all(good) || name.len() > 500 {
        return Err(invalid(
            param,
            format!("`{name}` is no image: `repository:tag` or `repository@sha256:...`"),
        ));
    }
    Ok(())
}

/// With `:latest` if it has neither a tag nor a digest.
pub(super) fn with_tag(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains([':', '@']) { image.to_owned() } else { format!("{image}:latest") }
}

/// A mapping, a list of one-key mappings, or a list of `KEY=VALUE`: all of these are written.
pub(super) fn pairs(param: &str, value: &Value) -> Result<Vec<(String, String)>, ParamsError> {
    let wrong = || ParamsError::WrongType {
        param: param.to_owned(),
        wanted: "a mapping, or a list of `KEY=VALUE`".to_owned(),
    };
    let from_map = |map: &Map<String, Value>| -> Result<Vec<(String, String)>, ParamsError> {
        map.iter().map(|(key, it)| Ok((key.clone(), scalar(it).ok_or_else(wrong)?))).collect()
    };
    let from_text = |text: &str| {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        (key.to_owned(), value.to_owned())
    };
    let all = match value {
        Value::Object(map) => from_map(map)?,
        Value::String(text) => text.split(',').map(|it| from_text(it.trim())).collect(),
        Value::Array(items) if items.len() <= ENTRIES_MAX => {
            let mut all = Vec::new();
            for item in items {
                match item {
                    Value::Object(map) => all.extend(from_map(map)?),
                    it => all.push(from_text(&scalar(it).ok_or_else(wrong)?)),
                }
            }
            all
        }
        _ => return Err(wrong()),
    };
    if all.iter().any(|(key, value)| key.is_empty() || format!("{key}{value}").contains(['\0', '\n'])) {
        return Err(invalid(
            param,
            format!("`{param}`: names must not be empty, and values are one line each"),
        ));
    }
    Ok(all)
}

pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The text at a path of keys; empty if there is none.
pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The mapping of text at a path of keys, in order.
pub(super) fn text_map(value: &Value, pointer: &str) -> Vec<(String, String)> {
    let map = value.pointer(pointer).and_then(Value::as_object);
    map.into_iter().flatten().map(|(key, it)| (key.clone(), scalar(it).unwrap_or_default())).collect()
}

/// `a=b, c=d`, in order of the names.
pub(super) fn joined(pairs: &[(String, String)]) -> String {
    let mut lines: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}={value}")).collect();
    lines.sort();
    lines.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pairs_are_taken_in_all_the_forms_that_people_write() {
        let wanted = vec![("A".to_owned(), "1".to_owned()), ("B".to_owned(), "x=y".to_owned())];
        for written in [
            json!({ "A": 1, "B": "x=y" }),
            json!([{ "A": 1 }, { "B": "x=y" }]),
            json!(["A=1", "B=x=y"]),
            json!("A=1, B=x=y"),
        ] {
            assert_eq!(pairs("p", &written).unwrap(), wanted, "{written}");
        }
        assert!(pairs("p", &json!({ "A": "x\ny" })).is_err());
        assert!(pairs("p", &json!([["A"]])).is_err());
    }

    #[test]
    fn an_image_without_a_tag_means_the_latest() {
        assert_eq!(with_tag("nginx"), "nginx:latest");
        assert_eq!(with_tag("reg.example:5000/nginx"), "reg.example:5000/nginx:latest");
        assert_eq!(with_tag("nginx:1.27"), "nginx:1.27");
        assert_eq!(with_tag("nginx@sha256:0"), "nginx@sha256:0");
        assert!(image_name("image", "--privileged").is_err());
        assert!(object_name("name", "-rf").is_err());
        assert!(object_name("name", "a b").is_err());
    }
}
