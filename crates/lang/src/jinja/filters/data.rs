//! Filters that turn one kind of value into another, and those that look into or alter mappings.

#![expect(clippy::unnecessary_wraps, reason = "all filters have one form")]

use crate::jinja::{
    call::{Called, flag, int as whole, text},
    compare::number,
    failure::{Failure, Outcome},
    globals::pairs,
    run::{Place, Run},
    salt::lookup,
    value::{Dict, Key, Value},
};
use std::sync::Arc;

type Made = Outcome<Value>;

pub(super) fn same(_: &Run<'_>, value: &Value, _: &Called, _: &Place) -> Made {
    Ok(value.clone())
}

pub(super) fn attr(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let [name] = args.need("attr", 1, ["name"])?;
    let name: Arc<str> = text("attr", name.as_ref())?.into();
    match value {
        Value::Object(_) => run.attribute(value, &name, || name.to_string()),
        other if crate::jinja::methods::is_method(other, &name) => {
            run.attribute(value, &name, || name.to_string())
        }
        other => Ok(Value::missing(format!("{} has no attribute `{name}`", other.kind()), None)),
    }
}

/// Another value for what is not set, and for what is not known.
pub(super) fn default(_: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let [default, boolean] = args.bind("default", ["default_value", "boolean"])?;
    let missing = matches!(value, Value::Missing(_) | Value::Unknown);
    if missing || (flag(boolean.as_ref(), false)? && !value.truthy()?) {
        return Ok(default.unwrap_or_else(|| Value::str("")));
    }
    Ok(value.clone())
}

pub(super) fn float(_: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let [default] = args.bind("float", ["default"])?;
    let parsed = value.as_float().or_else(|| value.as_str()?.trim().parse().ok());
    Ok(parsed.map_or_else(|| default.unwrap_or(Value::Float(0.0)), Value::Float))
}

pub(super) fn int(_: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let [default, base] = args.bind("int", ["default", "base"])?;
    let base = whole("int", base.as_ref(), 10)?;
    let parsed = match value {
        Value::Str(text) => {
            let text = text.trim();
            let digits = match base {
                16 => text.trim_start_matches("0x"),
                8 => text.trim_start_matches("0o"),
                2 => text.trim_start_matches("0b"),
                _ => text,
            };
            let radix = u32::try_from(base).ok().filter(|it| (2..=36).contains(it)).unwrap_or(10);
            let parsed = i64::from_str_radix(digits, radix).ok();
            parsed.or_else(|| crate::jinja::value::whole(text.parse::<f64>().ok()?.trunc()))
        }
        Value::Float(it) => crate::jinja::value::whole(it.trunc()),
        other => other.as_int(),
    };
    Ok(parsed.map_or_else(|| default.unwrap_or(Value::Int(0)), Value::Int))
}

pub(super) fn is_iter(_: &Run<'_>, value: &Value, _: &Called, _: &Place) -> Made {
    Ok(Value::Bool(matches!(value, Value::List(_) | Value::Dict(_))))
}

pub(super) fn is_list(_: &Run<'_>, value: &Value, _: &Called, _: &Place) -> Made {
    Ok(Value::Bool(matches!(value, Value::List(list) if !list.tuple)))
}

pub(super) fn items(run: &Run<'_>, value: &Value, _: &Called, _: &Place) -> Made {
    match value {
        Value::Missing(_) | Value::Unknown => Ok(run.heap.list(Vec::new())),
        Value::Dict(_) | Value::Asked(_) => run.method(value, "items", &Called::default()),
        other => Err(Failure::value(format!("`items` takes a mapping, not {}", other.kind()))),
    }
}

pub(super) fn sequence(run: &Run<'_>, value: &Value, _: &Called, _: &Place) -> Made {
    Ok(match value {
        Value::List(_) | Value::Dict(_) => value.clone(),
        one => run.heap.list(vec![one.clone()]),
    })
}

pub(super) fn to_bool(_: &Run<'_>, value: &Value, _: &Called, _: &Place) -> Made {
    Ok(Value::Bool(match value {
        Value::Str(text) => matches!(text.to_lowercase().as_str(), "yes" | "1" | "true"),
        Value::Int(it) => *it > 0,
        Value::Bool(it) => *it,
        Value::List(list) if !list.tuple => !list.items.borrow().is_empty(),
        Value::Dict(dict) => !dict.borrow().is_empty(),
        _ => false,
    }))
}

pub(super) fn to_num(_: &Run<'_>, value: &Value, _: &Called, _: &Place) -> Made {
    Ok(value.as_str().and_then(number).unwrap_or_else(|| value.clone()))
}

pub(super) fn to_entries(run: &Run<'_>, value: &Value, _: &Called, _: &Place) -> Made {
    let entries = pairs(run, value)?;
    let made = entries
        .iter()
        .map(|(key, it)| run.heap.pairs(vec![("key", key.value(run.heap)), ("value", it.clone())]));
    Ok(run.heap.list(made.collect()))
}

pub(super) fn from_entries(run: &Run<'_>, value: &Value, _: &Called, _: &Place) -> Made {
    let mut made = Dict::new();
    for entry in value.items(run.heap)? {
        let entry = pairs(run, &entry)?;
        let find = |names: &[&str]| names.iter().find_map(|it| entry.get(&Key::of_str(it))).cloned();
        let key = find(&["key", "Key", "name", "Name"]);
        let key = key.ok_or_else(|| Failure::value("an entry has no `key`"))?;
        made.insert(Key::of(&key, run.heap)?, find(&["value", "Value"]).unwrap_or(Value::None));
    }
    Ok(run.heap.dict(made))
}

pub(super) fn method_call(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let [name, rest @ ..] = &args.plain[..] else {
        return Err(Failure::value("`method_call` needs the name of a method"));
    };
    let name = text("method_call", Some(name))?;
    if !crate::jinja::methods::is_method(value, name) {
        return Ok(Value::None);
    }
    run.method(value, name, &Called { plain: rest.to_vec(), named: args.named.clone() })
}

pub(super) fn traverse(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let [key, default, delimiter] = args.need("traverse", 1, ["key", "default", "delimiter"])?;
    let delimiter = delimiter.as_ref().map_or(Ok(":"), |it| text("traverse", Some(it)))?;
    let found = lookup::traverse(run, value, key.as_ref().unwrap_or(&Value::None), delimiter)?;
    Ok(found.unwrap_or_else(|| default.unwrap_or(Value::None)))
}

fn difference(run: &Run<'_>, old: Option<&Value>, new: Option<&Value>) -> Value {
    let side = |it: Option<&Value>| it.cloned().unwrap_or_else(|| Value::str(""));
    run.heap.pairs(vec![("old", side(old)), ("new", side(new))])
}

pub(super) fn compare_dicts(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let [other] = args.need("compare_dicts", 1, ["new"])?;
    let (old, new) = (pairs(run, value)?, pairs(run, other.as_ref().unwrap_or(&Value::None))?);
    let mut made = Dict::new();
    for key in old.keys().chain(new.keys()) {
        let (before, after) = (old.get(key), new.get(key));
        let same = match (before, after) {
            (Some(a), Some(b)) => run.heap.equal(a, b)?,
            _ => false,
        };
        if !same {
            made.insert(key.clone(), difference(run, before, after));
        }
    }
    Ok(run.heap.dict(made))
}

pub(super) fn compare_lists(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let [other] = args.need("compare_lists", 1, ["new"])?;
    let (old, new) = (value.clone(), other.unwrap_or(Value::None));
    let lacking = |from: &Value, other: &Value| -> Outcome<Vec<Value>> {
        let mut lacking = Vec::new();
        for item in from.items(run.heap)? {
            if !run.heap.contains(other, &item)? {
                lacking.push(item);
            }
        }
        Ok(lacking)
    };
    let (gone, come) = (lacking(&old, &new)?, lacking(&new, &old)?);
    let mut made = Vec::new();
    if !come.is_empty() {
        made.push(("new", run.heap.list(come)));
    }
    if !gone.is_empty() {
        made.push(("old", run.heap.list(gone)));
    }
    Ok(run.heap.pairs(made))
}

/// Walks to the mapping that holds the last of some keys, making what is missing; `change` makes the new value of the
/// old one.
fn at_path(
    run: &Run<'_>,
    value: &Value,
    args: &Called,
    name: &str,
    change: impl FnOnce(Value, Value) -> Made,
) -> Made {
    let [keys, new, delimiter, _] = args.need(name, 2, ["keys", "value", "delimiter", "ordered_dict"])?;
    let keys = text(name, keys.as_ref())?;
    let delimiter = delimiter.as_ref().map_or(Ok(":"), |it| text(name, Some(it)))?;
    let mut parts: Vec<&str> = keys.split(delimiter).collect();
    let last = Key::of_str(parts.pop().unwrap_or(""));
    let mut current = value.clone();
    for part in parts {
        let Value::Dict(dict) = &current else { return Err(not_a_mapping(part, &current)) };
        let key = Key::of_str(part);
        let found = dict.borrow().get(&key).filter(|it| !it.is_none()).cloned();
        let next = found.unwrap_or_else(|| run.heap.dict(Dict::new()));
        dict.borrow_mut().insert(key, next.clone());
        current = next;
    }
    let Value::Dict(dict) = &current else { return Err(not_a_mapping(keys, &current)) };
    let old = dict.borrow().get(&last).cloned().unwrap_or(Value::None);
    let changed = change(old, new.unwrap_or(Value::None))?;
    dict.borrow_mut().insert(last, changed);
    Ok(value.clone())
}

fn not_a_mapping(path: &str, value: &Value) -> Failure {
    Failure::value(format!("`{path}` is in {}, not in a mapping", value.kind()))
}

pub(super) fn set_key(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    at_path(run, value, args, "set_dict_key_value", |_, new| Ok(new))
}

pub(super) fn update_key(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    at_path(run, value, args, "update_dict_key_value", |old, new| {
        let new = pairs(run, &new)?;
        let old = if old.is_none() { run.heap.dict(Dict::new()) } else { old };
        let Value::Dict(dict) = &old else {
            return Err(Failure::value(format!("{} cannot be updated", old.kind())));
        };
        dict.borrow_mut().extend(new);
        Ok(old)
    })
}

fn with_list(run: &Run<'_>, old: Value, more: Vec<Value>) -> Made {
    let old = if old.is_none() { run.heap.list(Vec::new()) } else { old };
    match &old {
        Value::List(list) if !list.tuple => list.items.borrow_mut().extend(more),
        other => return Err(Failure::value(format!("{} is no list", other.kind()))),
    }
    Ok(old)
}

pub(super) fn append_key(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    at_path(run, value, args, "append_dict_key_value", |old, new| with_list(run, old, vec![new]))
}

pub(super) fn extend_key(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    at_path(run, value, args, "extend_dict_key_value", |old, new| {
        let more = new.items(run.heap)?;
        with_list(run, old, more)
    })
}
