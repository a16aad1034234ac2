//! YAML output: JSON's data in block style, quoted wherever a reader could take it for something else.

use serde_json::Value;
use std::fmt::Write;

/// One document.
pub(crate) fn of(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(members) if !members.is_empty() => object(&mut text, value, 0),
        Value::Array(items) if !items.is_empty() => array(&mut text, items, 0),
        _ => {
            let _ = writeln!(text, "{}", scalar(value));
        }
    }
    text
}

fn object(text: &mut String, value: &Value, indent: usize) {
    for (key, value) in value.as_object().into_iter().flatten() {
        let _ = write!(text, "{:indent$}{}:", "", plain_or_quoted(key));
        member(text, value, indent);
    }
}

fn array(text: &mut String, items: &[Value], indent: usize) {
    for item in items {
        match item {
            Value::Object(members) if !members.is_empty() => {
                let mut inner = String::new();
                object(&mut inner, item, indent + 2);
                let _ = write!(text, "{:indent$}- {}", "", &inner[indent + 2..]);
            }
            Value::Array(inner) if !inner.is_empty() => {
                let mut lines = String::new();
                array(&mut lines, inner, indent + 2);
                let _ = write!(text, "{:indent$}- {}", "", &lines[indent + 2..]);
            }
            _ => {
                let _ = writeln!(text, "{:indent$}- {}", "", scalar(item));
            }
        }
    }
}

fn member(text: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            text.push('\n');
            object(text, value, indent + 2);
        }
        Value::Array(items) if !items.is_empty() => {
            text.push('\n');
            array(text, items, indent);
        }
        Value::String(lines) if is_block(lines) => block(text, lines, indent + 2),
        _ => {
            let _ = writeln!(text, " {}", scalar(value));
        }
    }
}

/// Whether a literal block says exactly this text.
fn is_block(text: &str) -> bool {
    let printable = |it: char| it == '\n' || it == '\t' || !it.is_control();
    text.contains('\n')
        && !text.starts_with([' ', '\n', '\t'])
        && text.chars().all(printable)
        && !text.lines().any(|line| line.ends_with([' ', '\t']))
        && !text.ends_with("\n\n")
}

fn block(text: &mut String, lines: &str, indent: usize) {
    text.push_str(if lines.ends_with('\n') { " |\n" } else { " |-\n" });
    for line in lines.lines() {
        if line.is_empty() {
            text.push('\n');
        } else {
            let _ = writeln!(text, "{:indent$}{line}", "");
        }
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => plain_or_quoted(text),
        Value::Object(_) => "{}".to_owned(),
        Value::Array(_) => "[]".to_owned(),
        other => other.to_string(),
    }
}

/// Plain only if it begins with a letter or a path's slash, has no character with a meaning and is no word of YAML.
fn plain_or_quoted(text: &str) -> String {
    const WORDS: &[&str] = &["null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf"];
    let begins = text.starts_with(|it: char| it.is_ascii_alphabetic() || it == '/' || it == '_');
    let plain = |it: char| it.is_ascii_alphanumeric() || "._/-+@= ()".contains(it);
    let word = WORDS.contains(&text.to_ascii_lowercase().as_str());
    if begins && !word && text.chars().all(plain) && !text.ends_with(' ') {
        text.to_owned()
    } else {
        Value::from(text).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn data_is_written_in_block_style() {
        let value = json!({
            "a": 1, "mode": "0644", "yes": "no", "empty": {}, "none": [], "path": "/etc/motd",
            "list": [{ "x": "y", "z": [1, 2] }, [3, [4]], "t: u"],
            "text": "one\n\ntwo\n", "odd": " leading\nspace", "null": null,
        });
        let expected = "a: 1\nmode: \"0644\"\n\"yes\": \"no\"\nempty: {}\nnone: []\npath: /etc/motd\nlist:\n\
            - x: \"y\"\n  z:\n  - 1\n  - 2\n- - 3\n  - - 4\n- \"t: u\"\n\
            text: |\n  one\n\n  two\nodd: \" leading\\nspace\"\n\"null\": null\n";
        assert_eq!(of(&value), expected);
    }
}
