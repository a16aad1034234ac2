//! Steps for people who know Salt: its field names and what is written, in run order, secrets masked.

use crate::{arguments, blocks::Argument, links::reacts, low::Low, order::Turn, yaml::Yaml};
use serde_json::{Map, Value, json};

/// Steps in run order.
pub(crate) fn show(lows: &[Low], turns: &[Turn]) -> Vec<Value> {
    let mut tried = vec![false; lows.len()];
    let mut trying = vec![false; lows.len()];
    for turn in turns.iter().filter(|it| it.trial) {
        tried[turn.step] = true;
    }
    for (index, low) in lows.iter().enumerate() {
        trying[index] = low.arguments.contains_key("prereq");
    }
    turns
        .iter()
        .map(|turn| {
            let mut shown = one(&lows[turn.step]);
            if tried[turn.step] {
                shown.insert("__prereq__".to_owned(), json!(true));
            }
            if trying[turn.step] {
                shown.insert("__prerequiring__".to_owned(), json!(true));
            }
            Value::Object(shown)
        })
        .collect()
}

fn one(low: &Low) -> Map<String, Value> {
    let mut shown = Map::from_iter([
        ("state".to_owned(), json!(low.state)),
        ("fun".to_owned(), json!(low.fun)),
        ("name".to_owned(), json!(low.name)),
        ("__id__".to_owned(), json!(low.id)),
        ("__sls__".to_owned(), json!(low.sls)),
        ("__env__".to_owned(), json!(*low.environment)),
    ]);
    for (key, parts) in &low.arguments {
        if matches!(key.as_str(), "name" | "state" | "fun") {
            continue;
        }
        let value = match parts.as_slice() {
            [one] if !arguments::is_requisite(key) || key.ends_with("_in") => one.file.value(&one.node),
            parts => Value::Array(parts.iter().flat_map(list).collect()),
        };
        shown.insert(key.clone(), value);
    }
    if !reacts(&low.state) {
        for (from, to) in [("watch", "require"), ("watch_any", "require_any")] {
            if let Some(Value::Array(more)) = shown.shift_remove(from)
                && let Value::Array(list) = shown.entry(to).or_insert_with(|| json!([]))
            {
                list.extend(more);
            }
        }
    }
    shown
}

fn list(argument: &Argument) -> Vec<Value> {
    match &argument.node.value {
        Yaml::List(items) => items.iter().map(|it| argument.file.value(it)).collect(),
        _ => vec![argument.file.value(&argument.node)],
    }
}
