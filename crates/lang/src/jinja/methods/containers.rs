//! Methods of lists and mappings, those that alter them included.

use crate::jinja::{
    call::{Called, flag, int},
    compare,
    failure::{Failure, Outcome},
    run::Run,
    value::{Dict, Key, List, Value},
};
use std::{cell::RefCell, rc::Rc};

pub(super) fn dict(
    run: &Run<'_>,
    value: &Value,
    cell: &Rc<RefCell<Dict>>,
    name: &str,
    args: &Called,
) -> Outcome<Value> {
    let heap = run.heap;
    let key = |it: &Option<Value>| Key::of(it.as_ref().unwrap_or(&Value::None), heap);
    Ok(match name {
        "get" => {
            let [wanted, default] = args.need("get", 1, ["key", "default"])?;
            let found = cell.borrow().get(&key(&wanted)?).cloned();
            found.or(default).unwrap_or(Value::None)
        }
        "items" | "iteritems" => {
            let pairs: Vec<Value> =
                cell.borrow().iter().map(|(key, it)| heap.tuple(vec![key.value(heap), it.clone()])).collect();
            heap.spend(pairs.len())?;
            heap.list(pairs)
        }
        "keys" | "iterkeys" => heap.list(value.items(heap)?),
        "values" | "itervalues" => {
            heap.spend(cell.borrow().len())?;
            heap.list(cell.borrow().values().cloned().collect())
        }
        "has_key" => {
            let [wanted] = args.need("has_key", 1, ["key"])?;
            Value::Bool(cell.borrow().contains_key(&key(&wanted)?))
        }
        "copy" => {
            heap.spend(cell.borrow().len())?;
            heap.dict(cell.borrow().clone())
        }
        "update" => {
            let more = additions(run, args)?;
            cell.borrow_mut().extend(more);
            Value::None
        }
        "setdefault" => {
            let [wanted, default] = args.need("setdefault", 1, ["key", "default"])?;
            cell.borrow_mut().entry(key(&wanted)?).or_insert(default.unwrap_or(Value::None)).clone()
        }
        "pop" => {
            let [wanted, default] = args.need("pop", 1, ["key", "default"])?;
            let found = cell.borrow_mut().shift_remove(&key(&wanted)?).or(default);
            let missing =
                || Failure::value("the mapping has no such key").help("give a default: .pop(key, none)");
            found.ok_or_else(missing)?
        }
        "popitem" => {
            let (key, it) = cell.borrow_mut().pop().ok_or_else(|| Failure::value("the mapping is empty"))?;
            heap.tuple(vec![key.value(heap), it])
        }
        "clear" => {
            cell.borrow_mut().clear();
            Value::None
        }
        _ => {
            let [keys, default] = args.need("fromkeys", 1, ["keys", "value"])?;
            let default = default.unwrap_or(Value::None);
            let mut made = Dict::new();
            for item in keys.unwrap_or(Value::None).items(heap)? {
                made.insert(Key::of(&item, heap)?, default.clone());
            }
            heap.dict(made)
        }
    })
}

/// What `update` adds.
fn additions(run: &Run<'_>, args: &Called) -> Outcome<Dict> {
    let mut more = Dict::new();
    for other in &args.plain {
        more.extend(crate::jinja::globals::pairs(run, other)?);
    }
    more.extend(args.named.iter().map(|(name, it)| (Key::Str(name.clone()), it.clone())));
    run.heap.spend(more.len())?;
    Ok(more)
}

pub(super) fn list(run: &Run<'_>, list: &Rc<List>, name: &str, args: &Called) -> Outcome<Value> {
    let heap = run.heap;
    if list.tuple && !super::OF_TUPLES.contains(&name) {
        return Err(Failure::value(format!("a tuple has no method `{name}`: it cannot be altered")));
    }
    let items = || list.items.borrow_mut();
    Ok(match name {
        "append" => {
            let [item] = args.need("append", 1, ["item"])?;
            heap.spend(1)?;
            items().push(item.unwrap_or(Value::None));
            Value::None
        }
        "extend" => {
            let [more] = args.need("extend", 1, ["items"])?;
            let more = more.unwrap_or(Value::None).items(heap)?;
            items().extend(more);
            Value::None
        }
        "insert" => insert(run, list, args)?,
        "pop" => {
            let [index] = args.bind("pop", ["index"])?;
            let length = items().len();
            let index = compare::position(int("pop", index.as_ref(), -1)?, length);
            heap.spend(length)?;
            let index = index.ok_or_else(|| Failure::value(format!("the list has {length} elements")))?;
            items().remove(index)
        }
        "remove" => {
            let index = index_of(run, list, args, "remove")?;
            items().remove(index);
            Value::None
        }
        "index" => Value::int(index_of(run, list, args, "index")?),
        "count" => {
            let [wanted] = args.need("count", 1, ["item"])?;
            let wanted = wanted.unwrap_or(Value::None);
            let mut count = 0;
            for item in list.items.borrow().iter() {
                count += usize::from(heap.equal(item, &wanted)?);
            }
            Value::int(count)
        }
        "reverse" => {
            items().reverse();
            Value::None
        }
        "sort" => {
            let [reverse] = args.bind("sort", ["reverse"])?;
            let mut sorted = list.items.borrow().clone();
            super::sort_values(&mut sorted, |a, b| heap.order(a, b))?;
            if flag(reverse.as_ref(), false)? {
                sorted.reverse();
            }
            *items() = sorted;
            Value::None
        }
        "clear" => {
            items().clear();
            Value::None
        }
        _ => {
            heap.spend(items().len())?;
            heap.list(list.items.borrow().clone())
        }
    })
}

fn insert(run: &Run<'_>, list: &Rc<List>, args: &Called) -> Outcome<Value> {
    let [index, item] = args.need("insert", 2, ["index", "item"])?;
    let length = list.items.borrow().len();
    let index = int("insert", index.as_ref(), 0)?;
    let end = i64::try_from(length).unwrap_or(i64::MAX);
    let index = if index < 0 { index.saturating_add(end).max(0) } else { index.min(end) };
    run.heap.spend(length)?;
    list.items.borrow_mut().insert(usize::try_from(index).unwrap_or(0), item.unwrap_or(Value::None));
    Ok(Value::None)
}

fn index_of(run: &Run<'_>, list: &Rc<List>, args: &Called, name: &str) -> Outcome<usize> {
    let [wanted] = args.need(name, 1, ["item"])?;
    let wanted = wanted.unwrap_or(Value::None);
    for (index, item) in list.items.borrow().iter().enumerate() {
        if run.heap.equal(item, &wanted)? {
            return Ok(index);
        }
    }
    Err(Failure::value("the list has no such element"))
}
