//! Functions that copy mappings and merge them: `defaults.*` and `slsutil.*`.

use super::lookup::{merged, update};
use crate::jinja::{
    call::{Called, flag},
    failure::{Failure, Outcome},
    globals::pairs,
    run::Run,
    value::{Dict, Value},
};

type Made = Outcome<Value>;

pub(super) fn deep_copy(run: &Run<'_>, args: &Called) -> Made {
    let [source] = args.need("defaults.deepcopy", 1, ["source"])?;
    run.heap.deep_copy(&source.unwrap_or(Value::None))
}

fn mapping(run: &Run<'_>, value: Option<Value>) -> Value {
    value.filter(|it| !it.is_none()).unwrap_or_else(|| run.heap.dict(Dict::new()))
}

pub(super) fn defaults_merge(run: &Run<'_>, args: &Called) -> Made {
    let names = ["dest", "src", "merge_lists", "in_place", "convert_none"];
    let [into, more, lists, in_place, _] = args.need("defaults.merge", 1, names)?;
    let (into, more) = (mapping(run, into), mapping(run, more));
    let lists = flag(lists.as_ref(), false)?;
    if !flag(in_place.as_ref(), true)? {
        return merged(run, &into, &more, lists);
    }
    update(run, &into, &more, lists)?;
    Ok(into)
}

pub(super) fn defaults_update(run: &Run<'_>, args: &Called) -> Made {
    let names = ["dest", "defaults", "merge_lists", "in_place", "convert_none"];
    let [nodes, defaults, lists, in_place, _] = args.need("defaults.update", 1, names)?;
    let (nodes, defaults) = (mapping(run, nodes), mapping(run, defaults));
    let lists = flag(lists.as_ref(), true)?;
    let nodes = if flag(in_place.as_ref(), true)? { nodes } else { run.heap.deep_copy(&nodes)? };
    let mut made = Dict::new();
    for (key, value) in pairs(run, &nodes)? {
        made.insert(key, merged(run, &defaults, &mapping(run, Some(value)), lists)?);
    }
    if let Value::Dict(dict) = &nodes {
        *dict.borrow_mut() = made;
    }
    Ok(nodes)
}

pub(super) fn slsutil_update(run: &Run<'_>, args: &Called) -> Made {
    let [into, more, recursive, lists] =
        args.need("slsutil.update", 2, ["dest", "upd", "recursive_update", "merge_lists"])?;
    let (into, more) = (mapping(run, into), mapping(run, more));
    if flag(recursive.as_ref(), true)? {
        update(run, &into, &more, flag(lists.as_ref(), false)?)?;
    } else if let Value::Dict(dict) = &into {
        let more = pairs(run, &more)?;
        dict.borrow_mut().extend(more);
    }
    Ok(into)
}

fn strategy(run: &Run<'_>, first: &Value, second: &Value, strategy: &str, lists: bool) -> Made {
    match strategy {
        "smart" | "recurse" | "none" => merged(run, first, second, lists),
        "aggregate" => merged(run, first, second, true),
        "overwrite" => {
            let copy = run.heap.deep_copy(first)?;
            let more = pairs(run, second)?;
            if let Value::Dict(dict) = &copy {
                dict.borrow_mut().extend(more);
            }
            Ok(copy)
        }
        "list" => {
            let mut made = pairs(run, first)?;
            for (key, value) in pairs(run, second)? {
                if let Some(old) = made.get_mut(&key) {
                    *old = run.heap.list(vec![old.clone(), value]);
                }
            }
            Ok(run.heap.dict(made))
        }
        other => Err(Failure::value(format!(
            "there is no strategy `{other}`: recurse, aggregate, overwrite, list"
        ))),
    }
}

pub(super) fn slsutil_merge(run: &Run<'_>, args: &Called) -> Made {
    let names = ["obj_a", "obj_b", "strategy", "renderer", "merge_lists"];
    let [first, second, how, _, lists] = args.need("slsutil.merge", 2, names)?;
    let how = how.as_ref().and_then(Value::as_str).unwrap_or("smart");
    strategy(run, &mapping(run, first), &mapping(run, second), how, flag(lists.as_ref(), false)?)
}

pub(super) fn slsutil_merge_all(run: &Run<'_>, args: &Called) -> Made {
    let names = ["lst", "strategy", "renderer", "merge_lists"];
    let [list, how, _, lists] = args.need("slsutil.merge_all", 1, names)?;
    let how = how.as_ref().and_then(Value::as_str).unwrap_or("smart");
    let lists = flag(lists.as_ref(), false)?;
    let mut made = run.heap.dict(Dict::new());
    for item in list.unwrap_or(Value::None).items(run.heap)? {
        made = strategy(run, &made, &item, how, lists)?;
    }
    Ok(made)
}

pub(super) fn boolstr(_: &Run<'_>, args: &Called) -> Made {
    let [value, yes, no] = args.need("slsutil.boolstr", 1, ["value", "true", "false"])?;
    let choose = |it: Option<Value>, default: &str| it.unwrap_or_else(|| Value::str(default));
    let is = match value.as_ref().unwrap_or(&Value::None) {
        Value::Str(it) => matches!(it.to_lowercase().as_str(), "true" | "1" | "yes" | "on"),
        other => other.truthy()?,
    };
    Ok(if is { choose(yes, "true") } else { choose(no, "false") })
}
