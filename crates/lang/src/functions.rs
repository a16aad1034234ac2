//! What the helpers of templates compute: values in, value out.

use crate::{
    compare::{lookup, order, order_as_text, same, text_of, truthy},
    limits,
};
use serde_json::{Map, Value};
use std::cmp::Ordering;

/// A helper.
pub(crate) struct Function {
    pub(crate) name: &'static str,
    /// How many arguments, at least and at most.
    arguments: (usize, usize),
    /// A missing variable is nothing rather than an error.
    pub(crate) forgiving: bool,
    run: fn(&[Value]) -> Result<Value, String>,
}

impl Function {
    pub(crate) fn call(&self, arguments: &[Value]) -> Result<Value, String> {
        let (least, most) = self.arguments;
        if arguments.len() < least || arguments.len() > most {
            let wanted = match (least, most) {
                (a, b) if a == b => a.to_string(),
                (a, MANY) => format!("at least {a}"),
                (a, b) => format!("{a} to {b}"),
            };
            return Err(format!("takes {wanted} arguments, not {}", arguments.len()));
        }
        let value = (self.run)(arguments)?;
        if value.as_str().is_some_and(|it| it.len() > limits::RENDERED_BYTES) {
            return Err(TOO_LARGE.to_owned());
        }
        Ok(value)
    }
}

const MANY: usize = 16;
const TOO_LARGE: &str = "gives more text than fits into a file";

const fn of(
    name: &'static str,
    arguments: (usize, usize),
    run: fn(&[Value]) -> Result<Value, String>,
) -> Function {
    Function { name, arguments, forgiving: false, run }
}

const fn forgiving(
    name: &'static str,
    arguments: (usize, usize),
    run: fn(&[Value]) -> Result<Value, String>,
) -> Function {
    Function { name, arguments, forgiving: true, run }
}

/// All of them, by subject.
pub(crate) const FUNCTIONS: &[Function] = &[
    // Absence.
    forgiving("default", (2, 2), |it| Ok(if blank(&it[0]) { it[1].clone() } else { it[0].clone() })),
    // Conditions.
    of("eq", (2, 2), |it| Ok(same(&it[0], &it[1]).into())),
    of("ne", (2, 2), |it| Ok((!same(&it[0], &it[1])).into())),
    of("gt", (2, 2), |it| ordered(it, Ordering::is_gt)),
    of("gte", (2, 2), |it| ordered(it, Ordering::is_ge)),
    of("lt", (2, 2), |it| ordered(it, Ordering::is_lt)),
    of("lte", (2, 2), |it| ordered(it, Ordering::is_le)),
    forgiving("and", (1, MANY), |it| Ok(it.iter().all(truthy).into())),
    forgiving("or", (1, MANY), |it| Ok(it.iter().any(truthy).into())),
    forgiving("not", (1, 1), |it| Ok((!truthy(&it[0])).into())),
    of("in", (2, 2), |it| contains(&it[1], &it[0])),
    of("contains", (2, 2), |it| contains(&it[0], &it[1])),
    of("starts_with", (2, 2), |it| Ok(text(&it[0])?.starts_with(&text(&it[1])?).into())),
    of("ends_with", (2, 2), |it| Ok(text(&it[0])?.ends_with(&text(&it[1])?).into())),
    // Text.
    of("upper", (1, 1), |it| Ok(text(&it[0])?.to_uppercase().into())),
    of("lower", (1, 1), |it| Ok(text(&it[0])?.to_lowercase().into())),
    of("capitalize", (1, 1), |it| Ok(capitalized(&text(&it[0])?).into())),
    of("trim", (1, 1), |it| Ok(text(&it[0])?.trim().into())),
    of("replace", (3, 3), replace),
    of("split", (1, 2), split),
    of("join", (1, 2), join),
    of("concat", (1, MANY), |it| Ok(it.iter().map(text).collect::<Result<String, _>>()?.into())),
    of("indent", (2, 2), indent),
    of("quote", (1, 1), |it| Ok(Value::String(text(&it[0])?).to_string().into())),
    of("shell_quote", (1, 1), |it| Ok(format!("'{}'", text(&it[0])?.replace('\'', r"'\''")).into())),
    of("json", (1, 1), |it| Ok(it[0].to_string().into())),
    of("yaml", (1, 1), |it| Ok(it[0].to_string().into())),
    of("urlencode", (1, 1), |it| Ok(urlencoded(&text(&it[0])?).into())),
    of("basename", (1, 1), |it| Ok(text(&it[0])?.rsplit('/').next().unwrap_or("").into())),
    of("dirname", (1, 1), |it| Ok(text(&it[0])?.rsplit_once('/').map_or("", |(dir, _)| dir).into())),
    // Lists and mappings.
    of("len", (1, 1), len),
    of("first", (1, 1), |it| end(&it[0], <[Value]>::first)),
    of("last", (1, 1), |it| end(&it[0], <[Value]>::last)),
    of("keys", (1, 1), |it| Ok(map(&it[0])?.keys().map(|key| Value::from(key.as_str())).collect())),
    of("values", (1, 1), |it| Ok(map(&it[0])?.values().cloned().collect())),
    of("sort", (1, 1), sort),
    of("unique", (1, 1), unique),
    of("list", (0, MANY), |it| Ok(it.to_vec().into())),
    of("range", (2, 2), range),
    forgiving("get", (2, 3), get),
    of("lookup", (2, 2), look),
    // Other minions.
    of("roster", (1, 1), |it| crate::roster::matching(&text(&it[0])?)),
    // Numbers.
    of("add", (2, 2), |it| calculate(it, i64::checked_add, |a, b| a + b)),
    of("sub", (2, 2), |it| calculate(it, i64::checked_sub, |a, b| a - b)),
    of("mul", (2, 2), |it| calculate(it, i64::checked_mul, |a, b| a * b)),
    of("div", (2, 2), |it| calculate(it, i64::checked_div, |a, b| a / b)),
    of("mod", (2, 2), |it| calculate(it, i64::checked_rem, |a, b| a % b)),
    of("int", (1, 1), |it| {
        let text = text(&it[0])?;
        text.trim()
            .parse::<i64>()
            .map(Value::from)
            .map_err(|_| format!("`{}` is not a whole number", crate::say::shortened(&text)))
    }),
];

/// As one part of a path or a query: everything but letters, digits and `-._~` as `%XX`.
pub(crate) fn urlencoded(text: &str) -> String {
    let mut made = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            made.push(char::from(byte));
        } else {
            let hexadecimal = |it: u8| char::from(b"0123456789ABCDEF"[usize::from(it)]);
            made.extend(['%', hexadecimal(byte >> 4), hexadecimal(byte & 15)]);
        }
    }
    made
}

fn blank(value: &Value) -> bool {
    value.is_null() || value.as_str().is_some_and(str::is_empty)
}

fn text(value: &Value) -> Result<String, String> {
    text_of(value).ok_or_else(|| format!("takes text, not {}", kind(value)))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

fn list(value: &Value) -> Result<&Vec<Value>, String> {
    value.as_array().ok_or_else(|| format!("takes a list, not {}", kind(value)))
}

fn map(value: &Value) -> Result<&Map<String, Value>, String> {
    value.as_object().ok_or_else(|| format!("takes a mapping, not {}", kind(value)))
}

fn ordered(it: &[Value], wanted: fn(Ordering) -> bool) -> Result<Value, String> {
    let found = order(&it[0], &it[1])
        .ok_or_else(|| format!("cannot compare {} with {}", kind(&it[0]), kind(&it[1])))?;
    Ok(wanted(found).into())
}

fn contains(whole: &Value, part: &Value) -> Result<Value, String> {
    match whole {
        Value::Array(list) => Ok(list.iter().any(|it| same(it, part)).into()),
        Value::Object(map) => Ok(map.contains_key(&text(part)?).into()),
        other => Ok(text(other)?.contains(&text(part)?).into()),
    }
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
}

fn replace(it: &[Value]) -> Result<Value, String> {
    let (whole, from, to) = (text(&it[0])?, text(&it[1])?, text(&it[2])?);
    if from.is_empty() {
        return Err("needs a text to replace".to_owned());
    }
    let grown = whole.matches(&from).count().saturating_mul(to.len()).saturating_add(whole.len());
    if grown > limits::RENDERED_BYTES {
        Err(TOO_LARGE.to_owned())
    } else {
        Ok(whole.replace(&from, &to).into())
    }
}

fn split(it: &[Value]) -> Result<Value, String> {
    let whole = text(&it[0])?;
    match it.get(1).map(text).transpose()? {
        None => Ok(whole.split_whitespace().map(Value::from).collect()),
        Some(by) if by.is_empty() => Err("needs a text to split by".to_owned()),
        Some(by) => Ok(whole.split(by.as_str()).map(Value::from).collect()),
    }
}

fn join(it: &[Value]) -> Result<Value, String> {
    let by = it.get(1).map_or(Ok(", ".to_owned()), text)?;
    let texts = list(&it[0])?.iter().map(text).collect::<Result<Vec<_>, _>>()?;
    let size = texts.iter().map(String::len).sum::<usize>() + texts.len().saturating_mul(by.len());
    if size > limits::RENDERED_BYTES { Err(TOO_LARGE.to_owned()) } else { Ok(texts.join(&by).into()) }
}

/// Widest indentation.
const INDENT: u64 = 256;

/// Every line but the first, so that the tag itself may stand where the text goes.
fn indent(it: &[Value]) -> Result<Value, String> {
    let whole = text(&it[0])?;
    let width = text(&it[1])?.parse::<u64>().ok().filter(|it| *it <= INDENT);
    let width = usize::try_from(width.ok_or("takes a number of spaces up to 256")?).unwrap_or(0);
    if whole.matches('\n').count() * width + whole.len() > limits::RENDERED_BYTES {
        return Err(TOO_LARGE.to_owned());
    }
    Ok(whole.replace('\n', &format!("\n{}", " ".repeat(width))).into())
}

fn len(it: &[Value]) -> Result<Value, String> {
    match &it[0] {
        Value::Array(list) => Ok(list.len().into()),
        Value::Object(map) => Ok(map.len().into()),
        other => Ok(text(other)?.chars().count().into()),
    }
}

fn end(value: &Value, which: fn(&[Value]) -> Option<&Value>) -> Result<Value, String> {
    which(list(value)?).cloned().ok_or_else(|| "takes a list that is not empty".to_owned())
}

fn sort(it: &[Value]) -> Result<Value, String> {
    let mut sorted = list(&it[0])?.clone();
    sorted.sort_by(|a, b| order_as_text(a, b).unwrap_or(Ordering::Equal));
    Ok(sorted.into())
}

/// Longest list that `unique` compares each with each.
const UNIQUE: usize = 2_000;

fn unique(it: &[Value]) -> Result<Value, String> {
    let all = list(&it[0])?;
    if all.len() > UNIQUE {
        return Err(format!("takes a list of up to {UNIQUE} values"));
    }
    let mut found: Vec<Value> = Vec::new();
    for value in all {
        if !found.contains(value) {
            found.push(value.clone());
        }
    }
    Ok(found.into())
}

/// Longest range.
const RANGE: i64 = 10_000;

fn range(it: &[Value]) -> Result<Value, String> {
    let bound =
        |value: &Value| value.as_i64().ok_or_else(|| format!("takes whole numbers, not {}", kind(value)));
    let (from, to) = (bound(&it[0])?, bound(&it[1])?);
    if to.saturating_sub(from) > RANGE {
        return Err(format!("gives at most {RANGE} numbers"));
    }
    Ok((from..to).map(Value::from).collect())
}

/// `get pillar "a:b" 80`: by a path with colons, with a default.
fn get(it: &[Value]) -> Result<Value, String> {
    let path = text(&it[1])?;
    match lookup(&it[0], path.split(':')).cloned().or_else(|| it.get(2).cloned()) {
        Some(value) => Ok(value),
        None => Err(format!("finds nothing at `{path}`; a third argument is the default")),
    }
}

fn look(it: &[Value]) -> Result<Value, String> {
    let key = text(&it[1])?;
    lookup(&it[0], [key.as_str()]).cloned().ok_or_else(|| format!("finds nothing at `{key}`"))
}

fn calculate(
    it: &[Value],
    whole: fn(i64, i64) -> Option<i64>,
    broken: fn(f64, f64) -> f64,
) -> Result<Value, String> {
    let (a, b) = (text(&it[0])?, text(&it[1])?);
    if let (Ok(a), Ok(b)) = (a.parse::<i64>(), b.parse::<i64>()) {
        return whole(a, b).map(Value::from).ok_or_else(|| "leads beyond whole numbers".to_owned());
    }
    let number = |it: &str| {
        it.parse::<f64>().map_err(|_| format!("takes numbers, not `{}`", crate::say::shortened(it)))
    };
    let result = broken(number(&a)?, number(&b)?);
    if result.is_finite() { Ok(result.into()) } else { Err("has no result".to_owned()) }
}
