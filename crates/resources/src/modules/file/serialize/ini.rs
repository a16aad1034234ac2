//! Reads and writes INI files.

use crate::text::python_text;
use serde_json::{Map, Value};
use std::fmt::Write;

/// As Python's `configparser` writes it.
pub(super) fn write(data: &Value) -> Result<String, String> {
    let sections = data.as_object().ok_or("an INI file needs a mapping of sections")?;
    let mut out = String::new();
    let default = sections.iter().filter(|it| it.0 == "DEFAULT");
    for (section, settings) in default.chain(sections.iter().filter(|it| it.0 != "DEFAULT")) {
        let settings =
            settings.as_object().ok_or_else(|| format!("the section `{section}` must be a mapping"))?;
        if section.contains(['\n', ']']) {
            return Err(format!("`{section}` cannot be a section's name"));
        }
        let _ = writeln!(out, "[{section}]");
        for (key, value) in settings {
            let value = python_text(value).ok_or_else(|| format!("`{section}.{key}` must be text"))?;
            let _ = writeln!(out, "{} = {}", key.to_lowercase(), value.replace('\n', "\n\t"));
        }
        out.push('\n');
    }
    Ok(out)
}

/// Sections with their settings.
pub(super) fn read(text: &str) -> Result<Value, String> {
    let mut sections = Map::new();
    let (mut section, mut last): (Option<String>, Option<String>) = (None, None);
    for line in text.lines().filter(|it| !it.trim().is_empty() && !it.trim_start().starts_with(['#', ';'])) {
        let trimmed = line.trim();
        let settings = section.as_ref().and_then(|it| sections.get_mut(it)).and_then(Value::as_object_mut);
        if let Some(name) = trimmed.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
            sections.entry(name).or_insert_with(|| Value::Object(Map::new()));
            (section, last) = (Some(name.to_owned()), None);
        } else if let Some(settings) = settings {
            if let (true, Some(key)) = (line.starts_with([' ', '\t']), &last) {
                let before = settings.get(key).and_then(Value::as_str).unwrap_or_default();
                let joined = format!("{before}\n{trimmed}");
                settings.insert(key.clone(), joined.into());
            } else {
                let parts = trimmed.split_once(['=', ':']);
                let (key, value) = parts.ok_or_else(|| format!("`{trimmed}` is no setting"))?;
                let key = key.trim().to_lowercase();
                settings.insert(key.clone(), value.trim().into());
                last = Some(key);
            }
        } else {
            return Err(format!("`{trimmed}` is in no section"));
        }
    }
    Ok(Value::Object(sections))
}
