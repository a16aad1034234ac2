//! The methods that Python's texts, lists and mappings have.

mod containers;
mod strings;

use super::{
    call::Called,
    failure::{Failure, Outcome},
    object::Object,
    run::Run,
    value::Value,
};
use crate::say::did_you_mean;

/// Of mappings.
pub(super) const OF_DICTS: &[&str] = &[
    "clear",
    "copy",
    "fromkeys",
    "get",
    "has_key",
    "items",
    "iteritems",
    "iterkeys",
    "itervalues",
    "keys",
    "pop",
    "popitem",
    "setdefault",
    "update",
    "values",
];
/// Of lists.
pub(super) const OF_LISTS: &[&str] =
    &["append", "clear", "copy", "count", "extend", "index", "insert", "pop", "remove", "reverse", "sort"];
/// Of tuples.
pub(super) const OF_TUPLES: &[&str] = &["count", "index"];
/// Of texts.
pub(super) const OF_TEXTS: &[&str] = &[
    "capitalize",
    "casefold",
    "center",
    "count",
    "decode",
    "encode",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "format_map",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "upper",
    "zfill",
];
const OF_NUMBERS: &[&str] = &["bit_length", "is_integer"];

/// The methods of a value.
pub(super) fn names(value: &Value) -> impl Iterator<Item = &'static str> {
    let names: &[&str] = match value.plain() {
        Value::Dict(_) => OF_DICTS,
        Value::List(list) if list.tuple => OF_TUPLES,
        Value::List(_) => OF_LISTS,
        Value::Str(_) => OF_TEXTS,
        Value::Int(_) | Value::Float(_) => OF_NUMBERS,
        _ => &[],
    };
    names.iter().copied()
}

/// Whether a value has a method of this name.
pub(super) fn is_method(value: &Value, name: &str) -> bool {
    names(value).any(|it| it == name)
}

impl Run<'_> {
    /// Calls a method.
    pub(super) fn method(&self, value: &Value, name: &str, args: &Called) -> Outcome<Value> {
        self.heap.spend(1)?;
        match value.present()? {
            Value::Unknown => return Ok(super::evaluate::unknown_call(name, args)),
            Value::Asked(_) => {
                return Self::openly(value, args, |value, args| self.method(value, name, args));
            }
            Value::Str(text) => {
                return Self::openly(value, args, |_, args| strings::call(self, text, name, args));
            }
            Value::Dict(dict) => return containers::dict(self, value, dict, name, args),
            Value::List(list) => return containers::list(self, list, name, args),
            Value::Object(object) => {
                if let Object::Loop(it) = &**object {
                    return self.loop_method(it, name, args);
                }
            }
            Value::Int(it) if name == "bit_length" => {
                return Ok(Value::Int(i64::from(64 - it.unsigned_abs().leading_zeros())));
            }
            Value::Int(_) if name == "is_integer" => return Ok(Value::Bool(true)),
            Value::Float(it) if name == "is_integer" => return Ok(Value::Bool(it.fract() == 0.0)),
            _ => {}
        }
        let help = did_you_mean(name, names(value));
        Err(Failure::value(format!("{} has no method `{name}`", value.kind())).maybe_help(help))
    }
}

pub(super) use strings::{capitalized, join, replace};

/// Sorts, stably; the first comparison that cannot be made is told.
pub(super) fn sort_values<T>(
    items: &mut [T],
    mut order: impl FnMut(&T, &T) -> Outcome<std::cmp::Ordering>,
) -> Outcome<()> {
    let mut wrong = None;
    items.sort_by(|a, b| {
        if wrong.is_some() {
            return std::cmp::Ordering::Equal;
        }
        order(a, b).unwrap_or_else(|failure| {
            wrong = Some(failure);
            std::cmp::Ordering::Equal
        })
    });
    wrong.map_or(Ok(()), Err)
}
