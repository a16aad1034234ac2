//! Values at paths (`a:b:0`) and mappings merged into one another, as Salt does both.

use crate::jinja::{
    failure::{Failure, Outcome},
    load,
    run::Run,
    value::{Key, Value},
};

/// The value at a path; none if there is none.
pub(in crate::jinja) fn traverse(
    run: &Run<'_>,
    root: &Value,
    path: &Value,
    delimiter: &str,
) -> Outcome<Option<Value>> {
    let parts: Vec<Value> = match path.plain() {
        Value::Str(text) if delimiter.is_empty() => vec![Value::Str(text.clone())],
        Value::Str(text) => text.split(delimiter).map(Value::str).collect(),
        Value::List(list) => list.items.borrow().clone(),
        other => vec![other.clone()],
    };
    let mut value = root.clone();
    for part in &parts {
        run.heap.spend(1)?;
        let Some(next) = step(run, &value, part)? else { return Ok(None) };
        value = next;
    }
    Ok(Some(value))
}

fn step(run: &Run<'_>, value: &Value, part: &Value) -> Outcome<Option<Value>> {
    let other = part.as_str().map(load::scalar).filter(|it| !matches!(it, Value::Str(_)));
    match value.plain() {
        Value::Dict(dict) => {
            let dict = dict.borrow();
            let found = dict.get(&Key::of(part, run.heap)?).cloned();
            match (found, other) {
                (None, Some(other)) => Ok(dict.get(&Key::of(&other, run.heap)?).cloned()),
                (found, _) => Ok(found),
            }
        }
        Value::List(list) => {
            let index = part.as_int().or_else(|| other.as_ref().and_then(Value::as_int));
            let key = index.map_or_else(|| part.clone(), Value::Int);
            let items = list.items.borrow();
            for item in items.iter() {
                if let Value::Dict(dict) = item.plain()
                    && let Some(found) = dict.borrow().get(&Key::of(&key, run.heap)?)
                {
                    return Ok(Some(found.clone()));
                }
            }
            let index = index.and_then(|it| crate::jinja::compare::position(it, items.len()));
            Ok(index.and_then(|it| items.get(it).cloned()))
        }
        _ => Ok(None),
    }
}

/// Puts one mapping into another, mapping by mapping; lists are joined or replaced.
pub(in crate::jinja) fn update(run: &Run<'_>, into: &Value, more: &Value, join_lists: bool) -> Outcome<()> {
    let (Value::Dict(into_dict), Value::Dict(more_dict)) = (into.plain(), more.plain()) else {
        let message = format!("only mappings can be merged, not {} with {}", into.kind(), more.kind());
        return Err(Failure::value(message));
    };
    if std::rc::Rc::ptr_eq(into_dict, more_dict) {
        return Ok(());
    }
    run.heap.deeper(|| {
        let pairs: Vec<(Key, Value)> =
            more_dict.borrow().iter().map(|(key, it)| (key.clone(), it.clone())).collect();
        for (key, value) in pairs {
            run.heap.spend(1)?;
            let old = into_dict.borrow().get(&key).cloned();
            let new = match (&old, &value) {
                (Some(old @ Value::Dict(_)), Value::Dict(_)) => {
                    update(run, old, &value, join_lists)?;
                    continue;
                }
                (Some(Value::List(old)), Value::List(new)) if join_lists => {
                    let mut joined = run.heap.list(old.items.borrow().clone());
                    for item in new.items.borrow().iter() {
                        if !run.heap.contains(&joined, item)? {
                            push(&mut joined, item.clone());
                        }
                    }
                    joined
                }
                _ => value,
            };
            into_dict.borrow_mut().insert(key, new);
        }
        Ok(())
    })
}

fn push(list: &mut Value, item: Value) {
    if let Value::List(list) = list {
        list.items.borrow_mut().push(item);
    }
}

/// Two mappings as one new one.
pub(in crate::jinja) fn merged(
    run: &Run<'_>,
    first: &Value,
    second: &Value,
    join_lists: bool,
) -> Outcome<Value> {
    let copy = run.heap.deep_copy(first)?;
    update(run, &copy, second, join_lists)?;
    Ok(copy)
}
