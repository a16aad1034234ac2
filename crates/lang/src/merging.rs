//! How pillar files are put together.

use crate::{Options, options::Strategy, scalars::is_wrapped};
use serde_json::{Map, Value};

/// Merges `more` into `into`.
pub(crate) fn merge(into: Value, more: Value, options: &Options) -> Value {
    let (Value::Object(mut into), Value::Object(more)) = (into, more) else { return Value::Null };
    match options.pillar_strategy {
        Strategy::Recurse | Strategy::None => recurse(&mut into, more, options.pillar_merge_lists),
        Strategy::Overwrite => {
            for (key, value) in more {
                into.insert(key, value);
            }
        }
    }
    Value::Object(into)
}

fn recurse(into: &mut Map<String, Value>, more: Map<String, Value>, lists: bool) {
    for (key, value) in more {
        match (into.get_mut(&key), value) {
            (Some(Value::Object(old)), Value::Object(new)) if !(is_wrapped(old) || is_wrapped(&new)) => {
                recurse(old, new, lists);
            }
            (Some(Value::Array(old)), Value::Array(new)) if lists => {
                for item in new {
                    if !old.contains(&item) {
                        old.push(item);
                    }
                }
            }
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}
