//! Methods of texts.

use crate::jinja::{
    call::{Called, flag, int, text},
    compare,
    failure::{Failure, Outcome},
    format::{self, Places},
    run::Run,
    text::str_of,
    value::{Key, Value},
};
use std::sync::Arc;

pub(super) fn call(run: &Run<'_>, whole: &str, name: &str, args: &Called) -> Outcome<Value> {
    run.heap.spend(whole.len() / 64)?;
    if let Some(text) = changed(whole, name) {
        args.bind::<0>(name, [])?;
        return run.heap.text(text);
    }
    if let Some(yes) = is(whole, name) {
        args.bind::<0>(name, [])?;
        return Ok(Value::Bool(yes));
    }
    match name {
        "split" | "rsplit" | "splitlines" | "partition" | "rpartition" => split(run, whole, name, args),
        "strip" | "lstrip" | "rstrip" | "removeprefix" | "removesuffix" => stripped(run, whole, name, args),
        "find" | "rfind" | "index" | "rindex" | "count" => find(whole, name, args),
        "startswith" | "endswith" => starts(run, whole, name, args),
        "center" | "ljust" | "rjust" | "zfill" => padded(run, whole, name, args),
        "join" => {
            let [items] = args.need("join", 1, ["items"])?;
            join(run, whole, &items.unwrap_or(Value::None))
        }
        "replace" => {
            let [old, new, count] = args.need("replace", 2, ["old", "new", "count"])?;
            let (old, new) = (text(name, old.as_ref())?, text(name, new.as_ref())?);
            let count = usize::try_from(int(name, count.as_ref(), -1)?).unwrap_or(usize::MAX);
            replace(run, whole, old, new, count)
        }
        "format" => {
            let mut places = Arguments { run, args, next: 0 };
            let made = format::braces(whole, &mut places, run.heap)?;
            run.heap.text(made)
        }
        "format_map" => {
            let [map] = args.need(name, 1, ["mapping"])?;
            let dict = crate::jinja::globals::pairs(run, &map.unwrap_or(Value::None))?;
            let named = dict.into_iter().map(|(key, it)| (key.text(run.heap).into(), it)).collect();
            let args = Called { plain: Vec::new(), named };
            let made = format::braces(whole, &mut Arguments { run, args: &args, next: 0 }, run.heap)?;
            run.heap.text(made)
        }
        "expandtabs" => {
            let [size] = args.bind(name, ["tabsize"])?;
            let size = usize::try_from(int(name, size.as_ref(), 8)?).unwrap_or(0);
            replace(run, whole, "\t", &" ".repeat(size.min(64)), usize::MAX)
        }
        _ => Ok(Value::str(whole)),
    }
}

/// Methods that make another text of a text.
fn changed(whole: &str, name: &str) -> Option<String> {
    Some(match name {
        "upper" => whole.to_uppercase(),
        "lower" | "casefold" => whole.to_lowercase(),
        "capitalize" => capitalized(whole),
        "title" => title(whole),
        "swapcase" => {
            let swap = |it: char| -> String {
                if it.is_lowercase() { it.to_uppercase().collect() } else { it.to_lowercase().collect() }
            };
            whole.chars().map(swap).collect()
        }
        _ => return None,
    })
}

pub(in crate::jinja) fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    let first: String = chars.next().map(|it| it.to_uppercase().collect()).unwrap_or_default();
    first + &chars.as_str().to_lowercase()
}

/// Every word, where a word begins behind whatever is no letter.
fn title(text: &str) -> String {
    let mut inside = false;
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        if inside {
            out.extend(char.to_lowercase());
        } else {
            out.extend(char.to_uppercase());
        }
        inside = char.is_alphabetic();
    }
    out
}

fn is(whole: &str, name: &str) -> Option<bool> {
    let all = |test: fn(char) -> bool| !whole.is_empty() && whole.chars().all(test);
    Some(match name {
        "isalnum" => all(char::is_alphanumeric),
        "isalpha" => all(char::is_alphabetic),
        "isascii" => whole.is_ascii(),
        "isdigit" | "isdecimal" | "isnumeric" => all(char::is_numeric),
        "isspace" => all(char::is_whitespace),
        "islower" => whole.chars().any(char::is_lowercase) && !whole.chars().any(char::is_uppercase),
        "isupper" => whole.chars().any(char::is_uppercase) && !whole.chars().any(char::is_lowercase),
        "istitle" => whole.chars().any(char::is_alphabetic) && title(whole) == whole,
        "isidentifier" => {
            let first = whole.chars().next().is_some_and(|it| it.is_alphabetic() || it == '_');
            first && whole.chars().all(|it| it.is_alphanumeric() || it == '_')
        }
        _ => return None,
    })
}

fn texts(run: &Run<'_>, pieces: impl Iterator<Item = impl AsRef<str>>) -> Outcome<Value> {
    let pieces: Vec<Value> = pieces.map(|it| Value::str(it.as_ref())).collect();
    run.heap.spend(pieces.len())?;
    Ok(run.heap.list(pieces))
}

fn split(run: &Run<'_>, whole: &str, name: &str, args: &Called) -> Outcome<Value> {
    match name {
        "splitlines" => {
            let [keep] = args.bind(name, ["keepends"])?;
            if flag(keep.as_ref(), false)? {
                return texts(run, whole.split_inclusive('\n'));
            }
            return texts(run, whole.lines());
        }
        "partition" | "rpartition" => {
            let [by] = args.need(name, 1, ["sep"])?;
            let by = text(name, by.as_ref())?;
            let found = if name == "partition" { whole.split_once(by) } else { whole.rsplit_once(by) };
            let parts = match found {
                Some((before, after)) => [before, by, after],
                None if name == "partition" => [whole, "", ""],
                None => ["", "", whole],
            };
            return Ok(run.heap.tuple(parts.iter().map(|it| Value::str(it)).collect()));
        }
        _ => {}
    }
    let [by, most] = args.bind(name, ["sep", "maxsplit"])?;
    let most = usize::try_from(int(name, most.as_ref(), -1)?).ok();
    let by = by.filter(|it| !it.is_none());
    let Some(by) = &by else { return words(run, whole, name, most) };
    let by = text(name, Some(by))?;
    if by.is_empty() {
        return Err(Failure::value(format!("`{name}` needs a text to split by")));
    }
    match (name, most) {
        (_, None) => texts(run, whole.split(by)),
        ("split", Some(most)) => texts(run, whole.splitn(most.saturating_add(1), by)),
        (_, Some(most)) => {
            let mut pieces: Vec<&str> = whole.rsplitn(most.saturating_add(1), by).collect();
            pieces.reverse();
            texts(run, pieces.into_iter())
        }
    }
}

/// Splits at any space.
fn words(run: &Run<'_>, whole: &str, name: &str, most: Option<usize>) -> Outcome<Value> {
    let Some(most) = most else { return texts(run, whole.split_whitespace()) };
    let mut pieces = Vec::new();
    let mut rest = if name == "split" { whole.trim_start() } else { whole.trim_end() };
    while pieces.len() < most && !rest.is_empty() {
        if name == "split" {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            pieces.push(&rest[..end]);
            rest = rest[end..].trim_start();
        } else {
            let start = rest.rfind(char::is_whitespace).map_or(0, |it| it + 1);
            pieces.push(&rest[start..]);
            rest = rest[..start].trim_end();
        }
    }
    if !rest.is_empty() {
        pieces.push(rest);
    }
    if name == "rsplit" {
        pieces.reverse();
    }
    texts(run, pieces.into_iter())
}

fn stripped(run: &Run<'_>, whole: &str, name: &str, args: &Called) -> Outcome<Value> {
    let [chars] = args.bind(name, ["chars"])?;
    let chars = chars.filter(|it| !it.is_none());
    let chars = chars.as_ref().map(|it| text(name, Some(it))).transpose()?;
    let any = |it: char| chars.map_or_else(|| it.is_whitespace(), |chars| chars.contains(it));
    let text = match name {
        "strip" => whole.trim_matches(any),
        "lstrip" => whole.trim_start_matches(any),
        "rstrip" => whole.trim_end_matches(any),
        "removeprefix" => whole.strip_prefix(chars.unwrap_or("")).unwrap_or(whole),
        _ => whole.strip_suffix(chars.unwrap_or("")).unwrap_or(whole),
    };
    run.heap.text(text.to_owned())
}

fn find(whole: &str, name: &str, args: &Called) -> Outcome<Value> {
    let [part, start, end] = args.need(name, 1, ["sub", "start", "end"])?;
    let part = text(name, part.as_ref())?;
    let length = whole.chars().count();
    let bound = |it: Option<&Value>, default: usize| -> Outcome<usize> {
        let index = match it {
            None => return Ok(default),
            Some(it) => int(name, Some(it), 0)?,
        };
        let length = i64::try_from(length).unwrap_or(i64::MAX);
        let index = if index < 0 { (index + length).max(0) } else { index.min(length) };
        Ok(usize::try_from(index).unwrap_or(0))
    };
    let (start, end) = (bound(start.as_ref(), 0)?, bound(end.as_ref(), length)?);
    let byte = |at: usize| whole.char_indices().nth(at).map_or(whole.len(), |it| it.0);
    let (from, to) = (byte(start), byte(end));
    let piece = whole.get(from..to.max(from)).unwrap_or("");
    if name == "count" {
        let count = if part.is_empty() { piece.chars().count() + 1 } else { piece.matches(part).count() };
        return Ok(Value::int(count));
    }
    let found = if name.starts_with('r') { piece.rfind(part) } else { piece.find(part) };
    match found {
        Some(byte) => Ok(Value::int(start + piece[..byte].chars().count())),
        None if name.ends_with("index") => Err(Failure::value("the text has no such part")),
        None => Ok(Value::Int(-1)),
    }
}

fn starts(run: &Run<'_>, whole: &str, name: &str, args: &Called) -> Outcome<Value> {
    let [parts, start, end] = args.need(name, 1, ["prefix", "start", "end"])?;
    let parts = match parts.as_ref().unwrap_or(&Value::None).plain() {
        Value::List(list) => list.items.borrow().clone(),
        one => vec![one.clone()],
    };
    let piece = if start.is_some() || end.is_some() {
        let bound = |it: Option<&Value>| it.map(|it| int(name, Some(it), 0)).transpose();
        let bounds = [bound(start.as_ref())?, bound(end.as_ref())?, None];
        compare::slice(&Value::str(whole), bounds, run.heap)?
    } else {
        Value::str(whole)
    };
    let piece = piece.as_str().unwrap_or("");
    for part in &parts {
        let part = text(name, Some(part))?;
        if if name == "startswith" { piece.starts_with(part) } else { piece.ends_with(part) } {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn padded(run: &Run<'_>, whole: &str, name: &str, args: &Called) -> Outcome<Value> {
    let [width, fill] = args.need(name, 1, ["width", "fillchar"])?;
    let width = usize::try_from(int(name, width.as_ref(), 0)?).unwrap_or(0);
    let fill = fill.as_ref().map(|it| text(name, Some(it))).transpose()?.unwrap_or(" ");
    let missing = width.saturating_sub(whole.chars().count());
    run.heap.room(whole.len() + missing.saturating_mul(fill.len().max(1)))?;
    let text = match name {
        "center" => {
            let left = missing / 2 + (missing & width & 1);
            format!("{}{whole}{}", fill.repeat(left), fill.repeat(missing - left))
        }
        "ljust" => format!("{whole}{}", fill.repeat(missing)),
        "rjust" => format!("{}{whole}", fill.repeat(missing)),
        _ => {
            let (sign, digits) = if whole.starts_with(['-', '+']) { whole.split_at(1) } else { ("", whole) };
            format!("{sign}{}{digits}", "0".repeat(missing))
        }
    };
    Ok(Value::Str(text.into()))
}

/// The texts of some values with another between them.
pub(in crate::jinja) fn join(run: &Run<'_>, by: &str, items: &Value) -> Outcome<Value> {
    let mut out = String::new();
    for (index, item) in items.items(run.heap)?.iter().enumerate() {
        if index > 0 {
            out.push_str(by);
        }
        out.push_str(&str_of(item, run.heap)?);
        crate::jinja::text::bounded(&out)?;
    }
    run.heap.text(out)
}

/// A text with parts of it replaced.
pub(in crate::jinja) fn replace(
    run: &Run<'_>,
    whole: &str,
    old: &str,
    new: &str,
    count: usize,
) -> Outcome<Value> {
    let found = whole.matches(old).take(count).count();
    run.heap.room(whole.len().saturating_add(found.saturating_mul(new.len())))?;
    Ok(Value::Str(whole.replacen(old, new, count).into()))
}

/// What the places of a format take.
struct Arguments<'a, 'b> {
    run: &'a Run<'b>,
    args: &'a Called,
    next: usize,
}

impl Places for Arguments<'_, '_> {
    fn place(&mut self, name: &str) -> Outcome<Value> {
        let end = name.find(['.', '[']).unwrap_or(name.len());
        let (head, mut rest) = name.split_at(end);
        let mut value = if head.is_empty() {
            self.next += 1;
            self.args.plain.get(self.next - 1).cloned()
        } else if let Ok(index) = head.parse::<usize>() {
            self.args.plain.get(index).cloned()
        } else {
            self.args.named.iter().find(|it| &*it.0 == head).map(|it| it.1.clone())
        }
        .ok_or_else(|| Failure::value(format!("no value for the place `{{{name}}}`")))?;
        while !rest.is_empty() {
            if let Some(tail) = rest.strip_prefix('.') {
                let end = tail.find(['.', '[']).unwrap_or(tail.len());
                let attribute: Arc<str> = tail[..end].into();
                value = self.run.attribute(&value, &attribute, || name.to_owned())?;
                rest = &tail[end..];
            } else {
                let (key, tail) = rest[1..].split_once(']').unwrap_or((&rest[1..], ""));
                let key = key.parse::<i64>().map_or_else(|_| Value::str(key), Value::Int);
                if let Value::Dict(dict) = value.plain() {
                    let found = dict.borrow().get(&Key::of(&key, self.run.heap)?).cloned();
                    value = found
                        .ok_or_else(|| Failure::value(format!("no value for the place `{{{name}}}`")))?;
                } else {
                    value = self.run.item(&value, &key, || name.to_owned())?;
                }
                rest = tail;
            }
        }
        value.present()?;
        Ok(value)
    }
}
