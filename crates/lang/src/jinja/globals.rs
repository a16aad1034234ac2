//! The functions that every Jinja template has, besides `salt`.

#![expect(clippy::unnecessary_wraps, reason = "all functions have one form")]

use super::{
    call::{Called, int},
    failure::{Failure, Outcome},
    object::Object,
    run::{Place, Run},
    value::{Dict, Key, Value, of_json},
};
use std::{cell::Cell, cell::RefCell, rc::Rc, sync::Arc};

/// A function.
#[derive(Debug)]
pub(super) struct Global {
    pub(super) name: &'static str,
    #[cfg_attr(not(test), expect(dead_code, reason = "for the reference"))]
    pub(super) doc: &'static str,
    pub(super) call: fn(&Run<'_>, &Called, &Place) -> Outcome<Value>,
}

/// All, in order.
pub(super) const GLOBALS: &[Global] = &[
    Global { name: "cycler", doc: "One of its arguments after the other, by `.next()`.", call: cycler },
    Global { name: "dict", doc: "A mapping of its named arguments.", call: dict },
    Global {
        name: "ifelse",
        doc: "Pairs of a compound target and a value; the value of the first target that matches, or the last argument.",
        call: ifelse,
    },
    Global {
        name: "joiner",
        doc: "Empty when first called, then its argument: for separators in loops.",
        call: joiner,
    },
    Global { name: "namespace", doc: "Values that can be set inside of loops and macros.", call: namespace },
    Global { name: "odict", doc: "A mapping, as `dict`.", call: dict },
    Global { name: "raise", doc: "Ends the compile with a message.", call: raise },
    Global { name: "range", doc: "Whole numbers: `range(stop)`, `range(start, stop, step)`.", call: range },
    Global {
        name: "roster",
        doc: "Other machines, as `roster` in [Handlebars](template-helpers.md): `roster('label:role=web')`.",
        call: roster,
    },
    Global {
        name: "show_full_context",
        doc: "Refused: it would print every secret of the pillar. Name what you want to see.",
        call: refuse_context,
    },
    Global { name: "lipsum", doc: "Refused: it throws dice.", call: refuse_lipsum },
];

/// Names for "did you mean".
pub(super) fn names<'a>() -> impl Iterator<Item = &'a str> {
    GLOBALS.iter().map(|it| it.name).chain(["salt", "self"])
}

/// The value of a name that is not set by anything.
pub(super) fn value(name: &str, _run: &Run<'_>) -> Option<Value> {
    match name {
        "salt" => Some(Value::object(Object::Salt)),
        "self" => Some(Value::object(Object::Blocks)),
        _ => GLOBALS.iter().find(|it| it.name == name).map(|it| Value::object(Object::Global(it))),
    }
}

fn range(run: &Run<'_>, args: &Called, _: &Place) -> Outcome<Value> {
    if args.all().any(|it| matches!(it, Value::Unknown)) {
        return Ok(run.heap.list(Vec::new()));
    }
    let [first, second, by] = args.need("range", 1, ["start", "stop", "step"])?;
    let first = int("range", first.as_ref(), 0)?;
    let (mut at, end) = match &second {
        Some(end) => (first, int("range", Some(end), 0)?),
        None => (0, first),
    };
    let by = int("range", by.as_ref(), 1)?;
    if by == 0 {
        return Err(Failure::value("`range` needs a step"));
    }
    let distance = if by > 0 { end.saturating_sub(at) } else { at.saturating_sub(end) };
    let count = distance.max(0) / by.saturating_abs().max(1);
    run.heap.spend(usize::try_from(count).unwrap_or(usize::MAX))?;
    let mut items = Vec::new();
    while if by > 0 { at < end } else { at > end } {
        items.push(Value::Int(at));
        let Some(next) = at.checked_add(by) else { break };
        at = next;
    }
    Ok(run.heap.list(items))
}

/// Pairs of a mapping or of a list of pairs.
pub(super) fn pairs(run: &Run<'_>, value: &Value) -> Outcome<Dict> {
    match value.present()?.plain() {
        Value::Dict(dict) => Ok(dict.borrow().clone()),
        Value::Unknown | Value::None => Ok(Dict::new()),
        other => {
            let mut dict = Dict::new();
            for item in other.items(run.heap)? {
                let pair = item.items(run.heap)?;
                let [key, value] = &pair[..] else {
                    return Err(Failure::value("a mapping is made of pairs of a key and a value"));
                };
                dict.insert(Key::of(key, run.heap)?, value.clone());
            }
            Ok(dict)
        }
    }
}

fn dict(run: &Run<'_>, args: &Called, _: &Place) -> Outcome<Value> {
    let mut dict = Dict::new();
    for value in &args.plain {
        dict.extend(pairs(run, value)?);
    }
    dict.extend(args.named.iter().map(|(name, value)| (Key::Str(name.clone()), value.clone())));
    Ok(run.heap.dict(dict))
}

fn namespace(run: &Run<'_>, args: &Called, _: &Place) -> Outcome<Value> {
    let mut names: indexmap::IndexMap<Arc<str>, Value> = indexmap::IndexMap::new();
    for value in &args.plain {
        names.extend(pairs(run, value)?.into_iter().map(|(key, value)| (key.text(run.heap).into(), value)));
    }
    names.extend(args.named.iter().cloned());
    Ok(run.heap.object(Object::Namespace(RefCell::new(names))))
}

fn cycler(run: &Run<'_>, args: &Called, _: &Place) -> Outcome<Value> {
    if args.plain.is_empty() {
        return Err(Failure::value("`cycler` needs values"));
    }
    Ok(run.heap.object(Object::Cycler { items: RefCell::new(args.plain.clone()), next: Cell::new(0) }))
}

fn joiner(_: &Run<'_>, args: &Called, _: &Place) -> Outcome<Value> {
    let [by] = args.bind("joiner", ["sep"])?;
    let by = by.as_ref().and_then(Value::as_str).unwrap_or(", ");
    Ok(Value::object(Object::Joiner { by: by.into(), used: Cell::new(false) }))
}

fn raise(run: &Run<'_>, args: &Called, _: &Place) -> Outcome<Value> {
    let [message] = args.need("raise", 1, ["msg"])?;
    let message = message.map_or(Ok(String::new()), |it| super::text::str_of(&it, run.heap))?;
    Err(Failure::new("E0212", message))
}

fn roster(run: &Run<'_>, args: &Called, _: &Place) -> Outcome<Value> {
    let [expression] = args.need("roster", 1, ["expression"])?;
    let expression = super::call::text("roster", expression.as_ref())?;
    let found = crate::roster::matching(expression)
        .map_err(|cause| Failure::new("E0212", format!("`roster` {cause}")))?;
    Ok(of_json(&found, run.heap))
}

fn ifelse(run: &Run<'_>, args: &Called, _: &Place) -> Outcome<Value> {
    let mut rest = &args.plain[..];
    while let [target, value, tail @ ..] = rest {
        let expression = super::call::text("ifelse", Some(target))?;
        if super::salt::matches(run, "compound", expression)? {
            return Ok(value.clone());
        }
        rest = tail;
    }
    Ok(rest.first().cloned().unwrap_or(Value::None))
}

fn refuse_context(_: &Run<'_>, _: &Called, _: &Place) -> Outcome<Value> {
    Err(Failure::value("`show_full_context` is refused: it would print every secret of the pillar")
        .help("print what you want to see: {{ grains | json(indent=2) }}"))
}

fn refuse_lipsum(_: &Run<'_>, _: &Called, _: &Place) -> Outcome<Value> {
    Err(Failure::value("`lipsum` is refused: the same tree must give the same result").help("write the text"))
}

impl Run<'_> {
    /// What `loop.name` is.
    pub(super) fn loop_member(
        &self,
        object: &Rc<Object>,
        it: &super::object::Loop,
        name: &Arc<str>,
    ) -> Outcome<Value> {
        let items = it.items.borrow();
        let (index, count) = (it.index.get(), items.len());
        let beside = |at: Option<usize>, what: &str| {
            let found = at.and_then(|at| items.get(at).cloned());
            found.unwrap_or_else(|| Value::missing(format!("there is no {what} element"), None))
        };
        Ok(match &**name {
            "index" => Value::int(index + 1),
            "index0" => Value::int(index),
            "revindex" => Value::int(count - index),
            "revindex0" => Value::int(count - index - 1),
            "first" => Value::Bool(index == 0),
            "last" => Value::Bool(index + 1 == count),
            "length" => Value::int(count),
            "depth" => Value::int(it.depth + 1),
            "depth0" => Value::int(it.depth),
            "previtem" => beside(index.checked_sub(1), "previous"),
            "nextitem" => beside(index.checked_add(1), "next"),
            "cycle" | "changed" => {
                self.heap.object(Object::Method(Value::Object(object.clone()).into(), name.clone()))
            }
            _ => {
                let known = [
                    "index",
                    "index0",
                    "revindex",
                    "revindex0",
                    "first",
                    "last",
                    "length",
                    "depth",
                    "previtem",
                    "nextitem",
                    "cycle",
                    "changed",
                ];
                Value::missing(format!("`loop` has no `{name}`"), crate::say::did_you_mean(name, known))
            }
        })
    }

    /// `loop.cycle(…)`, `loop.changed(…)`.
    pub(super) fn loop_method(&self, it: &super::object::Loop, name: &str, args: &Called) -> Outcome<Value> {
        if name == "cycle" {
            let value = args.plain.get(it.index.get() % args.plain.len().max(1)).cloned();
            return value.ok_or_else(|| Failure::value("`loop.cycle` needs values"));
        }
        let before = it.changed.replace(Some(args.plain.clone()));
        let Some(before) = before.filter(|before| before.len() == args.plain.len()) else {
            return Ok(Value::Bool(true));
        };
        for (a, b) in before.iter().zip(&args.plain) {
            if !self.heap.equal(a, b)? {
                return Ok(Value::Bool(true));
            }
        }
        Ok(Value::Bool(false))
    }
}
