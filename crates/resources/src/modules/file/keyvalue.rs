//! `file.keyvalue`: settings of a file that has one `key=value` a line.

use super::edit::{Editing, Missing, NAME, Rule, SHOW_CHANGES};
use crate::{
    Doc, Examples, Function, Param, ParamType, ParamsError, Resource,
    args::{Args, invalid},
    text::{lines_with_ends, python_text},
};
use serde_json::{Map, Value};

pub(super) const FUNCTION: Function = Function {
    name: "keyvalue",
    doc: Doc::new(
        "Settings of a file with a `key=value` on each line have these values. Settings that the file does not have are \
          left out, unless `append_if_not_found` or `prepend_if_not_found` is set.",
    ),
    params: PARAMS,
    examples: Examples::new(&[
        "/etc/ssh/sshd_config:\n  file.keyvalue:\n    - key_values:\n        PermitRootLogin: 'no'\n        \
         X11Forwarding: 'no'\n    - separator: ' '\n    - uncomment: '# '\n    - key_ignore_case: true\n    - \
         append_if_not_found: true\n",
        "/etc/default/keyboard:\n  file.keyvalue:\n    - key: XKBLAYOUT\n    - value: '\"de\"'\n",
    ]),
    parse,
};

const fn flag(name: &'static str, doc: &'static str) -> Param {
    Param::of(name, ParamType::Bool, "false", doc)
}

const PARAMS: &[Param] = &[
    NAME,
    Param::of("key", ParamType::Text, "", "A key, with `value`."),
    Param::of("value", ParamType::Any, "", "Its value."),
    Param::of(
        "key_values",
        ParamType::Any,
        "",
        "Several keys with their values, instead of `key` and `value`.",
    ),
    Param::of("separator", ParamType::Text, "=", "What stands between key and value."),
    flag("append_if_not_found", "Settings that are not there are written at the end."),
    flag("prepend_if_not_found", "Settings that are not there are written at the beginning."),
    flag("search_only", "Accepted from Salt trees and without effect, as there."),
    SHOW_CHANGES,
    flag("ignore_if_missing", "A file that does not exist is no failure."),
    Param::of(
        "count",
        ParamType::Integer,
        "1",
        "How often a key may stand in the file: further ones are removed; -1 alters all and removes none.",
    ),
    Param::of(
        "uncomment",
        ParamType::Text,
        "none",
        "Characters that make a comment: lines that begin with these are taken for settings too, and lose them.",
    ),
    flag("key_ignore_case", "Keys are the same whatever their case."),
    flag("value_ignore_case", "Values are the same whatever their case."),
    flag("create_if_missing", "A file that does not exist is made, with all settings."),
    flag("prune", "Lines that begin with none of the keys are removed."),
];

#[expect(clippy::struct_excessive_bools, reason = "these are the parameters that people write")]
#[derive(Debug)]
struct KeyValue {
    settings: Vec<(String, String)>,
    separator: String,
    append: bool,
    prepend: bool,
    count: i64,
    uncomment: Option<Vec<char>>,
    key_ignore_case: bool,
    value_ignore_case: bool,
    prune: bool,
}

fn settings(args: &Args<'_>) -> Result<Vec<(String, String)>, ParamsError> {
    let text = |param: &str, value: &Value| {
        python_text(value)
            .ok_or_else(|| invalid(param, format!("`{param}` takes text, not lists or mappings")))
    };
    let mut found = Vec::new();
    let mut add = |map: &Map<String, Value>| -> Result<(), ParamsError> {
        for (key, value) in map {
            found.push((key.clone(), text("key_values", value)?));
        }
        Ok(())
    };
    match args.value("key_values") {
        None => (),
        Some(Value::Object(map)) => add(map)?,
        Some(Value::Array(rows)) => {
            rows.iter().filter_map(Value::as_object).try_for_each(&mut add)?;
        }
        Some(_) => return Err(invalid("key_values", "`key_values` must be a mapping")),
    }
    match (args.text("key"), args.value("value")) {
        (Some(_), Some(_)) if !found.is_empty() => {
            return Err(invalid("key", "give `key` and `value`, or `key_values`, not both"));
        }
        (Some(key), Some(value)) => found.push((key, text("value", value)?)),
        (Some(_), None) => return Err(invalid("key", "`key` needs `value`")),
        _ if found.is_empty() => {
            return Err(invalid("key_values", "give `key` and `value`, or `key_values`"));
        }
        _ => (),
    }
    Ok(found)
}

fn parse(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("file.keyvalue", PARAMS, params)?;
    let create = args.bool("create_if_missing", false);
    let rule = KeyValue {
        settings: settings(&args)?,
        separator: args.text("separator").unwrap_or_else(|| "=".to_owned()),
        append: args.bool("append_if_not_found", false) || create,
        prepend: args.bool("prepend_if_not_found", false),
        count: args.number("count").unwrap_or(1),
        uncomment: args.text("uncomment").map(|it| it.chars().collect()),
        key_ignore_case: args.bool("key_ignore_case", false),
        value_ignore_case: args.bool("value_ignore_case", false),
        prune: args.bool("prune", false),
    };
    if rule.separator.is_empty() {
        return Err(invalid("separator", "`separator` is empty"));
    }
    let missing = match (create, args.bool("ignore_if_missing", false)) {
        (true, _) => Missing::Create { makedirs: false },
        (false, true) => Missing::Ignore,
        (false, false) => Missing::Fail,
    };
    Ok(Box::new(Editing { missing, ..Editing::new(&args, rule) }))
}

impl KeyValue {
    fn folded(&self, key: &str) -> String {
        if self.key_ignore_case { key.to_lowercase() } else { key.to_owned() }
    }

    /// The line as it has to be; `None` if it goes. `left` says how often each key may still come.
    fn line(&self, line: &str, left: &mut [i64]) -> Option<String> {
        let bare = match &self.uncomment {
            Some(signs) => line.trim_start_matches(&signs[..]),
            None => line.trim_start(),
        };
        let uncommented = bare.len() < line.len();
        let folded = self.folded(bare);
        let begins = |key: &str| folded.starts_with(&self.folded(key));
        if self.prune && !self.settings.iter().any(|it| begins(&it.0)) {
            return None;
        }
        let mut result = line.to_owned();
        let Some((key_now, value_now)) = bare.split_once(&self.separator) else { return Some(result) };
        for (at, (key, value)) in self.settings.iter().enumerate() {
            if self.folded(key_now) != self.folded(key) {
                continue;
            }
            let (now, wanted) = (value_now.trim(), value.trim());
            let mut same = if self.value_ignore_case {
                now.to_lowercase() == wanted.to_lowercase()
            } else {
                now == wanted
            };
            let mut needed = false;
            if uncommented {
                needed = left[at] > 0;
                same |= !needed;
            } else if left[at] == 0 {
                needed = true;
            }
            if !same || needed {
                result.clear();
                if left[at] != 0 {
                    result = format!("{key_now}{}{value}\n", self.separator);
                }
            }
            left[at] -= i64::from(left[at] > 0);
        }
        Some(result)
    }
}

impl Rule for KeyValue {
    fn edit(&self, text: &str, _: &[String]) -> Result<String, String> {
        let mut left = vec![self.count; self.settings.len()];
        let mut lines: Vec<String> =
            lines_with_ends(text).iter().filter_map(|it| self.line(it, &mut left)).collect();
        let missing: Vec<String> = self
            .settings
            .iter()
            .zip(&left)
            .filter(|(_, left)| **left > 0)
            .map(|((key, value), _)| format!("{key}{}{value}\n", self.separator))
            .collect();
        if self.append {
            if let Some(last) =
                lines.last_mut().filter(|it| !missing.is_empty() && !it.is_empty() && !it.ends_with('\n'))
            {
                last.push('\n');
            }
            lines.extend(missing);
        } else if self.prepend {
            lines.splice(0..0, missing.into_iter().rev());
        }
        Ok(lines.concat())
    }
    /// A value that is empty or has an end of line in it can come out otherwise.
    fn settles(&self) -> bool {
        false
    }
}
