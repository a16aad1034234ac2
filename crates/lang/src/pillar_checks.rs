//! `test.check_pillar`: what it asks of pillar is answered while the step is compiled.

use crate::{compare::lookup, session::Session};
use serde_json::{Map, Value, json};

/// Whether a value is what is wanted.
type Fits = fn(&Value) -> bool;
/// The parameters that name keys, what must be there, and whether a value is that.
const CHECKS: [(&str, &str, Fits); 6] = [
    ("present", "anything", |_| true),
    ("boolean", "true or false", Value::is_boolean),
    ("integer", "a whole number", |it| it.is_i64() || it.is_u64()),
    ("string", "text", Value::is_string),
    ("listing", "a list", Value::is_array),
    ("dictionary", "a mapping", Value::is_object),
];

/// Notes in `failed` which keys are not in pillar, or have something else there.
pub(crate) fn resolve(session: &Session<'_>, params: &mut Map<String, Value>) {
    let pillar = session.scope.data().get("pillar");
    let mut failed = Vec::new();
    for (param, wanted, is_wanted) in CHECKS {
        let keys = params.get(param).and_then(Value::as_array).into_iter().flatten();
        for key in keys.filter_map(Value::as_str) {
            match pillar.and_then(|it| lookup(it, key.split(':'))) {
                None => failed.push(format!("pillar has no `{key}`")),
                Some(value) if !is_wanted(value) => failed.push(format!("pillar `{key}` is not {wanted}")),
                Some(_) => {}
            }
        }
    }
    if !failed.is_empty() {
        params.insert("failed".to_owned(), json!(failed));
    }
}
