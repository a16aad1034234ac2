//! Salt's side: `salt-call --local state.apply` on the host, and its answer.

use super::{Ran, Told, compare::Look};
use serde::Deserialize;
use serde_json::Value;
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

/// Applies what top.sls gives the host, looks, and applies it again: what Salt changes each time may be changed by us.
pub(super) fn run(host: &Host, observe: &str) -> (Ran, Told) {
    let (told, comments) = apply(host);
    let look = Look::at(host, observe);
    (Ran { told, comments, look }, apply(host).0)
}

fn apply(host: &Host) -> (Told, String) {
    let conf = format!(
        "id: vm-1\nroot_dir: {ROOT}\nlog_file: {ROOT}/log\nfile_client: local\nfile_roots: {{ base: [{tree}/states] }}\n\
         pillar_roots: {{ base: [{tree}/pillar] }}\n",
        tree = super::TREE
    );
    let script = format!("mkdir -p {ROOT}/conf && cat > {ROOT}/conf/minion");
    assert!(host.feed(&script, conf.as_bytes()).status.success(), "the host can be written to");
    let output = host
        .run(&format!("cd /root && {} --local -c {ROOT}/conf -l error --out json state.apply", salt::call()));
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
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
