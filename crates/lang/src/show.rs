//! A recipe for people who know Salt: its field names, secrets masked.

use crate::scalars::mask_texts;
use model::{Recipe, Requisite, Step};
use serde_json::{Map, Value, json};

/// Steps in run order.
pub(crate) fn show(recipe: &Recipe) -> Vec<Value> {
    recipe.steps.iter().map(|step| mask_texts(&one(recipe, step), &recipe.secrets)).collect()
}

fn one(recipe: &Recipe, step: &Step) -> Value {
    let mut shown = Map::from_iter([
        ("state".to_owned(), json!(step.state)),
        ("fun".to_owned(), json!(step.fun)),
        ("name".to_owned(), json!(step.name)),
        ("__id__".to_owned(), json!(step.id)),
        ("__sls__".to_owned(), json!(step.sls)),
        ("__env__".to_owned(), json!(crate::session::ENVIRONMENT)),
    ]);
    for (key, value) in &step.params {
        shown.entry(key.clone()).or_insert_with(|| value.clone());
    }
    let global = &step.global;
    let lists = [
        ("unless", &global.unless),
        ("onlyif", &global.onlyif),
        ("creates", &global.creates),
        ("check_cmd", &global.check_cmd),
    ];
    for (name, list) in lists {
        if !list.is_empty() {
            shown.insert(name.to_owned(), json!(list));
        }
    }
    if global.attempts > 1 {
        let retry = json!({"attempts": global.attempts, "interval": global.interval_ms / 1000});
        shown.insert("retry".to_owned(), retry);
    }
    if global.failhard {
        shown.insert("failhard".to_owned(), json!(true));
    }
    for (name, text) in [("fire_event", &global.fire_event), ("runas", &global.runas)] {
        if let Some(text) = text {
            shown.insert(name.to_owned(), json!(text));
        }
    }
    for link in &step.links {
        let name = name_of(link.when, link.any);
        let Some(other) = recipe.steps.get(link.step) else { continue };
        let entry = Map::from_iter([(other.state.clone(), json!(other.id))]);
        if let Value::Array(list) = shown.entry(name).or_insert_with(|| json!([])) {
            list.push(Value::Object(entry));
        }
    }
    Value::Object(shown)
}

fn name_of(when: Requisite, any: bool) -> String {
    let name = match when {
        Requisite::Require => "require",
        Requisite::Watch => "watch",
        Requisite::Onchanges => "onchanges",
        Requisite::Onfail => "onfail",
        Requisite::Prereq => "prereq",
        Requisite::Listen => "listen",
    };
    if any { format!("{name}_any") } else { name.to_owned() }
}
