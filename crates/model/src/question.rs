//! What a template asks of the minion it is rendered for, and the answers: the master has the probe round, people have a
//! file.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{collections::BTreeMap, fmt};

/// A call of a read-only function that only the minion can answer: `salt['file.file_exists']('/etc/x')`.
///
/// Its text is `fun(args)` with the arguments as JSON, named ones last as `name=value`:
/// `file.file_exists("/etc/x")`, `service.status("ssh")`, `user.list_users()`, `cmd.run("id", runas="www")`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// `module.function`, as Salt calls it.
    pub fun: String,
    /// In order.
    #[serde(default)]
    pub args: Vec<Value>,
    /// By name.
    #[serde(default)]
    pub kwargs: Map<String, Value>,
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.fun)?;
        for (index, arg) in self.args.iter().enumerate() {
            write!(f, "{}{arg}", if index > 0 { ", " } else { "" })?;
        }
        for (index, (name, value)) in self.kwargs.iter().enumerate() {
            write!(f, "{}{name}={value}", if index > 0 || !self.args.is_empty() { ", " } else { "" })?;
        }
        f.write_str(")")
    }
}

/// Answers to questions, by their text.
///
/// As a file for `labctl state show --answers FILE` it is a mapping in YAML or JSON from the text of a question, which is
/// what `labctl` prints for those without an answer, to its value. Quotes of either kind are fine, and a single plain
/// argument needs none:
///
/// ```yaml
/// file.file_exists("/etc/nginx/nginx.conf"): true
/// file.directory_exists(/srv/data): false
/// pkg.version('nginx'): 1.22.1-9
/// user.list_users(): [root, www-data]
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answers(BTreeMap<String, Value>);

/// None at all.
static NONE: Answers = Answers(BTreeMap::new());

impl Answers {
    /// None at all.
    pub fn none() -> &'static Self {
        &NONE
    }
    /// From texts of questions and values.
    pub fn of_map(map: impl IntoIterator<Item = (String, Value)>) -> Self {
        Self(map.into_iter().map(|(text, value)| (canonical(&text), value)).collect())
    }
    /// Adds one.
    pub fn insert(&mut self, question: &Question, value: Value) {
        self.0.insert(question.to_string(), value);
    }
    /// The answer to a question.
    pub fn get(&self, question: &Question) -> Option<&Value> {
        if self.0.is_empty() { None } else { self.0.get(&question.to_string()) }
    }
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The text of a question as [`Question`] prints it, from how people write it; what is no question stays as it is.
fn canonical(text: &str) -> String {
    let text = text.trim();
    let parts = text.split_once('(').and_then(|(fun, rest)| Some((fun.trim(), rest.strip_suffix(')')?)));
    let Some((fun, inside)) = parts else { return text.to_owned() };
    let mut question = Question { fun: fun.to_owned(), args: Vec::new(), kwargs: Map::new() };
    for piece in pieces(inside) {
        match piece.split_once('=') {
            Some((name, value)) if is_name(name.trim()) => {
                question.kwargs.insert(name.trim().to_owned(), argument(value.trim()));
            }
            _ => question.args.push(argument(piece)),
        }
    }
    question.to_string()
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_')
}

/// JSON, a text in single quotes, or a plain text.
fn argument(piece: &str) -> Value {
    let single = piece.strip_prefix('\'').and_then(|it| it.strip_suffix('\''));
    if let Some(inside) = single {
        return Value::String(inside.replace("\\'", "'"));
    }
    match piece {
        "True" => Value::Bool(true),
        "False" => Value::Bool(false),
        "None" => Value::Null,
        _ => serde_json::from_str(piece).unwrap_or_else(|_| Value::String(piece.to_owned())),
    }
}

/// Splits at commas outside quotes and brackets.
fn pieces(inside: &str) -> impl Iterator<Item = &str> {
    let (mut quote, mut escaped, mut depth) = (None, false, 0_i32);
    inside
        .split(move |it: char| {
            match (quote, it) {
                (Some(_), _) if escaped => escaped = false,
                (Some(_), '\\') => escaped = true,
                (Some(open), _) if it == open => quote = None,
                (None, '"' | '\'') => quote = Some(it),
                (None, '[' | '{') => depth += 1,
                (None, ']' | '}') => depth -= 1,
                (None, ',') => return depth <= 0,
                _ => {}
            }
            false
        })
        .map(str::trim)
        .filter(|it| !it.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_question_is_found_however_its_text_is_quoted() {
        let question = |args: Value, kwargs: Value| Question {
            fun: "file.x".to_owned(),
            args: args.as_array().unwrap().clone(),
            kwargs: kwargs.as_object().unwrap().clone(),
        };
        let cases = [
            ("file.x(/etc/a)", question(json!(["/etc/a"]), json!({})), "file.x(\"/etc/a\")"),
            ("file.x('/etc/a b', 3)", question(json!(["/etc/a b", 3]), json!({})), "file.x(\"/etc/a b\", 3)"),
            (
                "file.x([\"a,b\", {\"c\": 1}], runas=www, on=True)",
                question(json!([["a,b", { "c": 1 }]]), json!({"runas": "www", "on": true})),
                "file.x([\"a,b\",{\"c\":1}], runas=\"www\", on=true)",
            ),
            (" file.x( ) ", question(json!([]), json!({})), "file.x()"),
        ];
        for (written, question, text) in cases {
            assert_eq!(question.to_string(), text);
            let answers = Answers::of_map([(written.to_owned(), json!(7))]);
            assert_eq!(answers.get(&question), Some(&json!(7)), "{written}");
            assert_eq!(Answers::of_map([(text.to_owned(), json!(7))]), answers);
        }
        assert_eq!(Answers::none().get(&question(json!([]), json!({}))), None);
    }
}
