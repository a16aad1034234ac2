//! Filters on lists: choosing, sorting, counting, and those that apply another filter or test to each element.

use crate::jinja::{
    call::{Called, flag, int as whole, text},
    failure::{Failure, Outcome},
    methods::sort_values,
    run::{Place, Run},
    text::str_of,
    value::Value,
};
use std::{cmp::Ordering, sync::Arc};

type Made = Outcome<Value>;

pub(super) fn abs(_: &Run<'_>, value: &Value, _: &Called, _: &Place) -> Made {
    match value {
        Value::Float(it) => Ok(Value::Float(it.abs())),
        other => {
            let number = other.as_int().and_then(i64::checked_abs);
            number
                .map(Value::Int)
                .ok_or_else(|| Failure::value(format!("`abs` takes a number, not {}", other.kind())))
        }
    }
}

pub(super) fn avg(run: &Run<'_>, value: &Value, _: &Called, _: &Place) -> Made {
    let items = value.items(run.heap)?;
    let total = total(run, &items, Value::Int(0))?;
    let count = i64::try_from(items.len()).unwrap_or(i64::MAX);
    match total.as_float() {
        Some(total) if count > 0 => Ok(Value::Float(total / crate::jinja::value::float(count))),
        _ => Err(Failure::value("`avg` takes a list of numbers that is not empty")),
    }
}

fn total(run: &Run<'_>, items: &[Value], start: Value) -> Made {
    items.iter().try_fold(start, |sum, it| run.heap.calculate("+", &sum, it))
}

pub(super) fn sum(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let [attribute, start] = args.bind("sum", ["attribute", "start"])?;
    let mut items = value.items(run.heap)?;
    if let Some(attribute) = attribute.filter(|it| !it.is_none()) {
        items = items.iter().map(|it| reach(run, it, &attribute)).collect::<Outcome<_>>()?;
    }
    total(run, &items, start.unwrap_or(Value::Int(0)))
}

/// `a.b.0` of a value; what is not there is missing.
fn reach(run: &Run<'_>, value: &Value, path: &Value) -> Made {
    let Some(path_text) = path.as_str() else { return run.item(value, path, || "element".to_owned()) };
    let mut value = value.clone();
    for part in path_text.split('.') {
        let key = part.parse::<i64>().map_or_else(|_| Value::str(part), Value::Int);
        if matches!(value, Value::Missing(_)) {
            break;
        }
        value = run.item(&value, &key, || format!("{path_text} of an element"))?;
    }
    Ok(value)
}

pub(super) fn batch(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let [count, fill] = args.need("batch", 1, ["linecount", "fill_with"])?;
    let count = usize::try_from(whole("batch", count.as_ref(), 1)?).unwrap_or(1).max(1);
    let items = value.items(run.heap)?;
    let mut batches = Vec::new();
    for chunk in items.chunks(count) {
        let mut chunk = chunk.to_vec();
        if let Some(fill) = fill.as_ref().filter(|it| !it.is_none()) {
            run.heap.spend(count)?;
            chunk.resize(count, fill.clone());
        }
        batches.push(run.heap.list(chunk));
    }
    Ok(run.heap.list(batches))
}

pub(super) fn slice(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let [count, fill] = args.need("slice", 1, ["slices", "fill_with"])?;
    let count = usize::try_from(whole("slice", count.as_ref(), 1)?).unwrap_or(1).max(1);
    run.heap.spend(count)?;
    let items = value.items(run.heap)?;
    let (each, more) = (items.len() / count, items.len() % count);
    let mut rest = &items[..];
    let mut slices = Vec::new();
    for index in 0..count {
        let (part, tail) = rest.split_at(each + usize::from(index < more));
        rest = tail;
        let mut part = part.to_vec();
        if let Some(fill) = fill.as_ref().filter(|it| !it.is_none() && index >= more && more > 0) {
            part.push(fill.clone());
        }
        slices.push(run.heap.list(part));
    }
    Ok(run.heap.list(slices))
}

/// A value as it is compared: texts without regard to case, unless it matters.
fn folded(value: &Value, case: bool) -> Value {
    match value {
        Value::Str(text) if !case => Value::str(&text.to_lowercase()),
        other => other.clone(),
    }
}

pub(super) fn dictsort(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let [case, by, reverse] = args.bind("dictsort", ["case_sensitive", "by", "reverse"])?;
    let case = flag(case.as_ref(), false)?;
    let by_value = by.as_ref().and_then(Value::as_str) == Some("value");
    let Value::Dict(dict) = value else {
        return Err(Failure::value(format!("`dictsort` takes a mapping, not {}", value.kind())));
    };
    let mut rows: Vec<(Value, Value)> = Vec::new();
    for (key, item) in dict.borrow().iter() {
        let key = key.value(run.heap);
        let by = folded(if by_value { item } else { &key }, case);
        rows.push((by, run.heap.tuple(vec![key, item.clone()])));
    }
    sort_values(&mut rows, |a, b| run.heap.order(&a.0, &b.0))?;
    let mut pairs: Vec<Value> = rows.into_iter().map(|it| it.1).collect();
    if flag(reverse.as_ref(), false)? {
        pairs.reverse();
    }
    Ok(run.heap.list(pairs))
}

pub(super) fn sort(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let [reverse, case, attribute] = args.bind("sort", ["reverse", "case_sensitive", "attribute"])?;
    let case = flag(case.as_ref(), false)?;
    let attribute = attribute.filter(|it| !it.is_none());
    let paths: Vec<Value> = match attribute.as_ref() {
        Some(Value::Str(text)) => text.split(',').map(|it| Value::str(it.trim())).collect(),
        other => other.into_iter().cloned().collect(),
    };
    let mut rows = Vec::new();
    for item in value.items(run.heap)? {
        let mut by = Vec::new();
        for path in &paths {
            by.push(folded(reach(run, &item, path)?.present()?, case));
        }
        if paths.is_empty() {
            by.push(folded(&item, case));
        }
        rows.push((by, item));
    }
    let reverse = flag(reverse.as_ref(), false)?;
    sort_values(&mut rows, |a, b| {
        for (a, b) in a.0.iter().zip(&b.0) {
            let order = run.heap.order(a, b)?;
            if order != Ordering::Equal {
                return Ok(if reverse { order.reverse() } else { order });
            }
        }
        Ok(Ordering::Equal)
    })?;
    Ok(run.heap.list(rows.into_iter().map(|it| it.1).collect()))
}

pub(super) fn sorted_ignorecase(run: &Run<'_>, value: &Value, _: &Called, place: &Place) -> Made {
    sort(run, value, &Called::default(), place)
}

fn extreme(run: &Run<'_>, name: &str, value: &Value, args: &Called, wanted: Ordering) -> Made {
    let [case, attribute] = args.bind(name, ["case_sensitive", "attribute"])?;
    let case = flag(case.as_ref(), false)?;
    let mut best: Option<(Value, Value)> = None;
    for item in value.items(run.heap)? {
        let by = match &attribute {
            Some(path) if !path.is_none() => reach(run, &item, path)?,
            _ => item.clone(),
        };
        let by = folded(by.present()?, case);
        let better = match &best {
            Some((old, _)) => run.heap.order(&by, old)? == wanted,
            None => true,
        };
        if better {
            best = Some((by, item));
        }
    }
    best.map(|it| it.1).ok_or_else(|| Failure::value(format!("`{name}` takes a list that is not empty")))
}

pub(super) fn max(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    extreme(run, "max", value, args, Ordering::Greater)
}

pub(super) fn min(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    extreme(run, "min", value, args, Ordering::Less)
}

pub(super) fn first(run: &Run<'_>, value: &Value, _: &Called, _: &Place) -> Made {
    let items = value.items(run.heap)?;
    Ok(items.into_iter().next().unwrap_or_else(|| Value::missing("there is no first element", None)))
}

pub(super) fn last(run: &Run<'_>, value: &Value, _: &Called, _: &Place) -> Made {
    let items = value.items(run.heap)?;
    Ok(items.into_iter().next_back().unwrap_or_else(|| Value::missing("there is no last element", None)))
}

pub(super) fn flatten(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let [levels, nulls] = args.bind("flatten", ["levels", "preserve_nulls"])?;
    let levels = whole("flatten", levels.as_ref(), i64::from(u32::MAX))?;
    let nulls = flag(nulls.as_ref(), false)?;
    let mut out = Vec::new();
    flatten_into(run, value, levels, nulls, &mut out)?;
    Ok(run.heap.list(out))
}

fn flatten_into(run: &Run<'_>, value: &Value, levels: i64, nulls: bool, out: &mut Vec<Value>) -> Outcome<()> {
    run.heap.deeper(|| {
        for item in value.items(run.heap)? {
            match item.plain() {
                Value::List(list) if !list.tuple && levels > 0 => {
                    flatten_into(run, &item, levels - 1, nulls, out)?;
                }
                Value::None if !nulls => {}
                _ => out.push(item),
            }
        }
        Ok(())
    })
}

pub(super) fn groupby(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let [attribute, default, case] = args.need("groupby", 1, ["attribute", "default", "case_sensitive"])?;
    let attribute = attribute.unwrap_or(Value::None);
    let case = flag(case.as_ref(), false)?;
    let mut rows = Vec::new();
    for item in value.items(run.heap)? {
        let by = match (reach(run, &item, &attribute)?, &default) {
            (Value::Missing(_), Some(default)) => default.clone(),
            (by, _) => by.present()?.clone(),
        };
        rows.push((folded(&by, case), by, item));
    }
    sort_values(&mut rows, |a, b| run.heap.order(&a.0, &b.0))?;
    let mut groups: Vec<(Value, Value, Vec<Value>)> = Vec::new();
    for (folded, by, item) in rows {
        match groups.last_mut() {
            Some(group) if run.heap.equal(&group.0, &folded)? => group.2.push(item),
            _ => groups.push((folded, by, vec![item])),
        }
    }
    let pair = |(_, by, items)| {
        let items = run.heap.list(items);
        let names = [("grouper", by), ("list", items)];
        run.heap.tuple(names.into_iter().map(|it| it.1).collect())
    };
    Ok(run.heap.list(groups.into_iter().map(pair).collect()))
}

pub(super) fn join(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let [by, attribute] = args.bind("join", ["d", "attribute"])?;
    let by = by.map_or(Ok(String::new()), |it| str_of(&it, run.heap))?;
    match attribute.filter(|it| !it.is_none()) {
        None => crate::jinja::methods::join(run, &by, value),
        Some(path) => {
            let items =
                value.items(run.heap)?.iter().map(|it| reach(run, it, &path)).collect::<Outcome<_>>()?;
            crate::jinja::methods::join(run, &by, &run.heap.list(items))
        }
    }
}

pub(super) fn length(run: &Run<'_>, value: &Value, _: &Called, _: &Place) -> Made {
    Ok(Value::int(match value {
        Value::Str(text) => text.chars().count(),
        other => other.items(run.heap)?.len(),
    }))
}

pub(super) fn list(run: &Run<'_>, value: &Value, _: &Called, _: &Place) -> Made {
    Ok(run.heap.list(value.items(run.heap)?))
}

pub(super) fn reverse(run: &Run<'_>, value: &Value, _: &Called, _: &Place) -> Made {
    if let Value::Str(text) = value {
        return run.heap.text(text.chars().rev().collect());
    }
    let mut items = value.items(run.heap)?;
    items.reverse();
    Ok(run.heap.list(items))
}

pub(super) fn round(_: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    let [precision, method] = args.bind("round", ["precision", "method"])?;
    let precision = whole("round", precision.as_ref(), 0)?.clamp(-300, 300);
    let method = method.as_ref().map_or(Ok("common"), |it| text("round", Some(it)))?;
    if let Value::Int(_) | Value::Bool(_) = value
        && method == "common"
    {
        return Ok(value.clone());
    }
    let Some(number) = value.as_float() else {
        return Err(Failure::value(format!("`round` takes a number, not {}", value.kind())));
    };
    let factor = 10_f64.powi(i32::try_from(precision).unwrap_or(0));
    let rounded = match method {
        "common" if precision == 0 => number.round_ties_even(),
        "common" if precision > 0 => {
            let places = usize::try_from(precision).unwrap_or(0);
            format!("{number:.places$}").parse().unwrap_or(number)
        }
        "common" => (number * factor).round_ties_even() / factor,
        "ceil" => (number * factor).ceil() / factor,
        "floor" => (number * factor).floor() / factor,
        other => return Err(Failure::value(format!("`round` has no method `{other}`: common, ceil, floor"))),
    };
    Ok(Value::Float(rounded))
}

pub(super) fn map(run: &Run<'_>, value: &Value, args: &Called, place: &Place) -> Made {
    let mut out = Vec::new();
    let named = |wanted: &str| args.named.iter().find(|it| &*it.0 == wanted).map(|it| &it.1);
    if let (Some(attribute), true) = (named("attribute"), args.plain.is_empty()) {
        for item in value.items(run.heap)? {
            out.push(match (reach(run, &item, attribute)?, named("default")) {
                (Value::Missing(_), Some(default)) => default.clone(),
                (found, _) => found,
            });
        }
        return Ok(run.heap.list(out));
    }
    let [filter, rest @ ..] = &args.plain[..] else {
        return Err(Failure::value("`map` needs the name of a filter, or attribute='…'"));
    };
    let filter = text("map", Some(filter))?;
    let args = Called { plain: rest.to_vec(), named: args.named.clone() };
    for item in value.items(run.heap)? {
        out.push(run.filter(filter, &item, &args, place)?);
    }
    Ok(run.heap.list(out))
}

/// The elements that a test holds for, or does not.
fn chosen(run: &Run<'_>, value: &Value, args: &Called, wanted: bool, by_attribute: bool) -> Made {
    let (attribute, rest) = match &args.plain[..] {
        [attribute, rest @ ..] if by_attribute => (Some(attribute), rest),
        _ if by_attribute => return Err(Failure::value("this filter needs the name of an attribute")),
        rest => (None, rest),
    };
    let (test, rest): (Option<Arc<str>>, &[Value]) = match rest {
        [test, rest @ ..] => (Some(text("select", Some(test))?.into()), rest),
        [] => (None, &[]),
    };
    let test_args = Called { plain: rest.to_vec(), named: args.named.clone() };
    let mut out = Vec::new();
    for item in value.items(run.heap)? {
        let by = match attribute {
            Some(path) => reach(run, &item, path)?,
            None => item.clone(),
        };
        let holds = match &test {
            Some(test) => run.test(test, &by, &test_args)?,
            None => by.truthy()?,
        };
        if holds == wanted {
            out.push(item);
        }
    }
    Ok(run.heap.list(out))
}

pub(super) fn select(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    chosen(run, value, args, true, false)
}

pub(super) fn reject(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    chosen(run, value, args, false, false)
}

pub(super) fn selectattr(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    chosen(run, value, args, true, true)
}

pub(super) fn rejectattr(run: &Run<'_>, value: &Value, args: &Called, _: &Place) -> Made {
    chosen(run, value, args, false, true)
}
