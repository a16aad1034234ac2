//! Salt's side: `salt-call --local state.apply` on the host, and its answer.

use super::{Folder, Group, Ran, Told, compare::Look};
use model::Grains;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt::Write};
use tests::{hosts::Host, salt};

/// All that Salt writes for itself lies there, outside of what is compared.
const ROOT: &str = "/run/salt-root";

#[derive(Deserialize)]
struct Step {
    #[serde(rename = "__run_num__")]
    number: u64,
    result: Option<bool>,
    #[serde(default)]
    changes: Value,
    #[serde(default)]
    comment: Value,
}

/// Applies a group's states, looks, and applies them again: what Salt changes each time may be changed by us.
pub(super) fn run(host: &Host, tree: &Folder, group: &Group) -> (Ran, Told) {
    configure(host, tree, &group.grains);
    let states = group.states.join(",");
    let (told, comments) = apply(host, &states);
    group.settle(host);
    let look = Look::at(host, &group.observe);
    (Ran { told, comments, look }, apply(host, &states).0)
}

/// What the host says of itself.
pub(super) fn grains(host: &Host) -> Grains {
    configure(host, &Folder { path: super::TREE.into(), states: "states" }, &Grains::new());
    let said: Value = serde_json::from_str(&call(host, "grains.items").0).expect("Salt answers in JSON");
    serde_json::from_value(said["local"].clone()).expect("grains are an object")
}

fn configure(host: &Host, tree: &Folder, grains: &Grains) {
    // JSON is YAML.
    let conf = json!({
        "id": "vm-1", "root_dir": ROOT, "log_file": format!("{ROOT}/log"), "file_client": "local",
        "grains": grains,
        "file_roots": { "base": [format!("{}/{}", super::TREE, tree.states)] },
        "pillar_roots": { "base": [format!("{}/pillar", super::TREE)] },
    });
    let script = format!("mkdir -p {ROOT}/conf && cat > {ROOT}/conf/minion");
    assert!(host.feed(&script, conf.to_string().as_bytes()).status.success(), "the host can be written to");
}

/// Its answer, and what it complained of.
fn call(host: &Host, function: &str) -> (String, String) {
    let call = salt::call();
    let said = host.run(&format!("cd /root && {call} --local -c {ROOT}/conf -l error --out json {function}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&said.stdout), text(&said.stderr))
}

fn apply(host: &Host, states: &str) -> (Told, String) {
    let (stdout, stderr) = call(host, &format!("state.apply {states}"));
    let answer: Value =
        serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}\n{stdout}\n{stderr}"));
    let steps: BTreeMap<String, Step> = serde_json::from_value(answer["local"].clone())
        .unwrap_or_else(|error| panic!("Salt compiles it: {error}\n{stdout}\n{stderr}"));
    tell(steps)
}

fn tell(steps: BTreeMap<String, Step>) -> (Told, String) {
    let mut steps: Vec<(String, Step)> = steps.into_iter().collect();
    steps.sort_by_key(|(_, step)| step.number);
    let (mut told, mut comments) = (Told::default(), String::new());
    for (key, step) in steps {
        let parts: Vec<&str> = key.split("_|-").collect();
        let [state, id, name, fun] = parts[..] else { panic!("{key}") };
        writeln!(comments, "{} {state}.{fun} {id}: {} {}", word(&step), step.comment, step.changes).unwrap();
        match id.strip_prefix("listener_") {
            // What a listen sets off is told by us with the step itself.
            Some(id) if fun == "mod_watch" => told.refreshed(&format!("{state}."), &format!(" {id} {name}")),
            _ => told.push(&format!("{state}.{fun} {id} {name}"), word(&step)),
        }
    }
    (told, comments)
}

/// In our words.
fn word(step: &Step) -> &'static str {
    const NOT_RUN: [&str; 3] =
        ["State was not run because", "One or more requisite failed", "No changes detected"];
    let comment = step.comment.as_str().unwrap_or_default();
    let changes = match &step.changes {
        Value::Object(changes) => !changes.is_empty(),
        Value::Null => false,
        other => other != "",
    };
    match step.result {
        _ if NOT_RUN.iter().any(|it| comment.starts_with(it)) => "not run",
        Some(false) => "failed",
        Some(true) if !changes => "ok",
        _ => "changed",
    }
}
