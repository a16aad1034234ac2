//! The tests behind `is`: one table, for the engine and for the reference.

use super::{
    ast::Comparison,
    call::{Called, flag, text},
    failure::{Failure, Outcome},
    filters,
    object::Object,
    run::Run,
    value::Value,
};
use crate::say::did_you_mean;

/// A test.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) name: &'static str,
    #[cfg_attr(not(test), expect(dead_code, reason = "for the reference"))]
    pub(super) args: &'static str,
    #[cfg_attr(not(test), expect(dead_code, reason = "for the reference"))]
    pub(super) doc: &'static str,
    call: fn(&Run<'_>, &Value, &Called) -> Outcome<bool>,
}

const fn check(
    name: &'static str,
    args: &'static str,
    doc: &'static str,
    call: fn(&Run<'_>, &Value, &Called) -> Outcome<bool>,
) -> Check {
    Check { name, args, doc, call }
}

/// Tests of other names.
pub(super) const ALIASES: &[(&str, &str)] = &[
    ("==", "eq"),
    ("!=", "ne"),
    ("<", "lt"),
    ("<=", "le"),
    (">", "gt"),
    (">=", "ge"),
    ("equalto", "eq"),
    ("greaterthan", "gt"),
    ("lessthan", "lt"),
];

/// All, in order.
pub(super) const CHECKS: &[Check] = &[
    check("boolean", "", "It is true or false.", |_, it, _| Ok(matches!(it.plain(), Value::Bool(_)))),
    check("callable", "", "It can be called.", |_, it, _| Ok(callable(it))),
    check("defined", "", "It is set.", |_, it, _| Ok(!matches!(it, Value::Missing(_) | Value::Unknown))),
    check("divisibleby", "num", "Nothing is left when it is divided.", divisible),
    check("eq", "other", "It is equal.", |run, it, args| compared(run, it, args, Comparison::Equal)),
    check("escaped", "", "Never: nothing is marked as escaped here.", |_, _, _| Ok(false)),
    check("even", "", "It is an even number.", |_, it, _| Ok(whole(it)? % 2 == 0)),
    check("false", "", "It is false itself.", |_, it, _| Ok(matches!(it.plain(), Value::Bool(false)))),
    check("filter", "", "There is a filter of this name.", |_, it, _| {
        Ok(it.as_str().is_some_and(|it| filters::find(it).is_some()))
    }),
    check("float", "", "It is a number that is not whole.", |_, it, _| {
        Ok(matches!(it.plain(), Value::Float(_)))
    }),
    check("ge", "other", "It is greater or equal.", |run, it, args| {
        compared(run, it, args, Comparison::GreaterEqual)
    }),
    check("gt", "other", "It is greater.", |run, it, args| compared(run, it, args, Comparison::Greater)),
    check("in", "other", "It is an element of the other.", |run, it, args| {
        compared(run, it, args, Comparison::In)
    }),
    check("integer", "", "It is a whole number.", |_, it, _| Ok(matches!(it.plain(), Value::Int(_)))),
    check("iterable", "", "It can be gone through.", |_, it, _| Ok(iterable(it))),
    check("le", "other", "It is less or equal.", |run, it, args| {
        compared(run, it, args, Comparison::LessEqual)
    }),
    check("list", "", "It is a list.", |_, it, _| Ok(matches!(it.plain(), Value::List(list) if !list.tuple))),
    check("lower", "", "It is text in small letters.", |run, it, _| lettered(run, it, "islower")),
    check("lt", "other", "It is less.", |run, it, args| compared(run, it, args, Comparison::Less)),
    check("mapping", "", "It is a mapping.", |_, it, _| Ok(matches!(it.plain(), Value::Dict(_)))),
    check(
        "match",
        "pattern, ignorecase=false, multiline=false",
        "A regular expression matches at its start.",
        matched,
    ),
    check("ne", "other", "It is not equal.", |run, it, args| compared(run, it, args, Comparison::NotEqual)),
    check("none", "", "It is None.", |_, it, _| Ok(it.is_none())),
    check("number", "", "It is a number.", |_, it, _| {
        Ok(matches!(it.plain(), Value::Int(_) | Value::Float(_) | Value::Bool(_)))
    }),
    check("odd", "", "It is an odd number.", |_, it, _| Ok(whole(it)? % 2 != 0)),
    check("sameas", "other", "It is the very same value.", same),
    check("sequence", "", "It has elements in an order.", |_, it, _| {
        Ok(matches!(it.plain(), Value::List(_) | Value::Str(_) | Value::Dict(_)))
    }),
    check("string", "", "It is text.", |_, it, _| Ok(matches!(it.plain(), Value::Str(_)))),
    check("test", "", "There is a test of this name.", |_, it, _| {
        Ok(it.as_str().is_some_and(|it| find(it).is_some()))
    }),
    check("true", "", "It is true itself.", |_, it, _| Ok(matches!(it.plain(), Value::Bool(true)))),
    check("undefined", "", "It is not set.", |_, it, _| Ok(matches!(it, Value::Missing(_) | Value::Unknown))),
    check("upper", "", "It is text in large letters.", |run, it, _| lettered(run, it, "isupper")),
];

fn find(name: &str) -> Option<&'static Check> {
    let name = ALIASES.iter().find(|it| it.0 == name).map_or(name, |it| it.1);
    CHECKS.binary_search_by(|it| it.name.cmp(name)).ok().map(|it| &CHECKS[it])
}

fn callable(value: &Value) -> bool {
    let Value::Object(object) = value.plain() else { return false };
    matches!(
        **object,
        Object::Macro(_)
            | Object::Method(..)
            | Object::Global(_)
            | Object::SaltFunction(_)
            | Object::Joiner { .. }
    )
}

fn iterable(value: &Value) -> bool {
    matches!(value.plain(), Value::List(_) | Value::Dict(_) | Value::Str(_))
}

fn whole(value: &Value) -> Outcome<i64> {
    value
        .as_int()
        .ok_or_else(|| Failure::value(format!("this test takes a whole number, not {}", value.kind())))
}

fn divisible(_: &Run<'_>, value: &Value, args: &Called) -> Outcome<bool> {
    let [by] = args.need("divisibleby", 1, ["num"])?;
    let rest = whole(value)?.checked_rem(whole(by.as_ref().unwrap_or(&Value::None))?);
    rest.map(|it| it == 0).ok_or_else(|| Failure::value("this divides by zero"))
}

fn compared(run: &Run<'_>, value: &Value, args: &Called, comparison: Comparison) -> Outcome<bool> {
    let [other] = args.need("this test", 1, ["other"])?;
    run.holds(comparison, value, other.as_ref().unwrap_or(&Value::None))
}

fn lettered(run: &Run<'_>, value: &Value, method: &str) -> Outcome<bool> {
    let text = Value::str(&super::text::str_of(value, run.heap)?);
    run.method(&text, method, &Called::default())?.truthy()
}

fn matched(run: &Run<'_>, value: &Value, args: &Called) -> Outcome<bool> {
    let [pattern, case, lines] = args.need("match", 1, ["rgx", "ignorecase", "multiline"])?;
    let source = format!("\\A(?:{})", text("match", pattern.as_ref())?);
    let pattern =
        filters::patterns::pattern(run, &source, flag(case.as_ref(), false)?, flag(lines.as_ref(), false)?)?;
    Ok(pattern.is_match(text("match", Some(value))?))
}

fn same(run: &Run<'_>, value: &Value, args: &Called) -> Outcome<bool> {
    let [other] = args.need("sameas", 1, ["other"])?;
    let other = other.unwrap_or(Value::None);
    match (value.plain(), other.plain()) {
        (Value::List(a), Value::List(b)) => Ok(std::rc::Rc::ptr_eq(a, b)),
        (Value::Dict(a), Value::Dict(b)) => Ok(std::rc::Rc::ptr_eq(a, b)),
        (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
        (Value::Bool(_), _) | (_, Value::Bool(_)) => Ok(false),
        (a, b) => run.heap.equal(a, b),
    }
}

/// Tests that look at what is missing or unknown themselves.
const OPEN: &[&str] = &["defined", "undefined", "none"];

impl Run<'_> {
    /// Whether a test holds for a value.
    pub(super) fn test(&self, name: &str, value: &Value, args: &Called) -> Outcome<bool> {
        self.heap.spend(1)?;
        let Some(check) = find(name) else {
            let known = CHECKS.iter().map(|it| it.name).chain(ALIASES.iter().map(|it| it.0));
            let help = did_you_mean(name, known);
            return Err(Failure::new("E0203", format!("there is no test `{name}`")).maybe_help(help));
        };
        if !OPEN.contains(&check.name) {
            value.present()?;
            if matches!(value, Value::Unknown) {
                return Ok(false);
            }
        } else if matches!(value, Value::Missing(_)) && check.name == "none" {
            value.present()?;
        }
        match (check.call)(self, value, args) {
            Err(failure) if value.is_open() && !failure.is_fatal() => Ok(false),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_in_order() {
        assert!(CHECKS.is_sorted_by(|a, b| a.name < b.name));
    }
}
