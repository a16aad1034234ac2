//! Every enum that travels, and what becomes of a word in it that only a newer release knows.

use super::*;
use serde_json::json;
use std::collections::BTreeSet;

/// A word that there will never be.
const WORD: &str = "a_word_of_tomorrow";

/// What becomes of it.
enum Fate {
    /// In an answer with these items at this place: so many are shown.
    Shown(fn() -> Value, &'static str, usize),
    /// In a request: it is refused, for nobody may guess what is wanted.
    Asked(fn() -> Value),
    /// The answer cannot be read; the failure says so.
    Failure,
    /// A line of a stream that nobody waits for.
    Line,
    /// Between master and minions, which refuse what they cannot follow.
    ToMinions,
}
use Fate::{Asked, Failure, Line, Shown, ToMinions};

const TABLE: &[(&str, Fate)] = &[
    ("Ask", Asked(|| json!({"request": "probe", "target": "*", "ask": {"ask": WORD}, "timeout_ms": 1}))),
    (
        "ErrorKind",
        Shown(
            || json!({"reply": "error", "data": {"kind": "usage", "message": "m", "hint": null}}),
            "/data/kind",
            0,
        ),
    ),
    ("JobKind", Shown(jobs, "/data/1/job/kind/kind", 1)),
    ("JobLine", Line),
    (
        "KeyDecision",
        Asked(|| json!({"request": "decide_key", "key": "vm-1", "fingerprint": null, "decision": WORD})),
    ),
    ("KeyStatus", Shown(keys, "/data/1/status", 2)),
    ("MaintenanceAct", Asked(|| json!({"request": "maintain", "target": "*", "act": {"maintenance": WORD}}))),
    ("Missed", ToMinions),
    ("Mode", Shown(jobs, "/data/1/job/kind/mode", 1)),
    ("ObserverRole", Shown(observers, "/data/1/role", 2)),
    ("OnStop", Shown(jobs, "/data/1/job/rolling/on_stop", 1)),
    ("Order", Shown(jobs, "/data/1/job/rolling/order", 1)),
    ("Outcome", Shown(report, "/data/steps/1/outcome", 2)),
    ("Phase", Shown(jobs, "/data/1/job/roll/phase/at", 1)),
    ("Presence", Shown(minions, "/data/1/presence", 2)),
    ("ProbeLine", Line),
    ("Replace", Shown(tokens, "/data/1/terms/replace", 1)),
    ("Reply", Failure),
    ("Request", Asked(|| json!({"request": WORD}))),
    ("Requisite", ToMinions),
    ("ScheduleAct", Asked(|| json!({"request": "schedule", "name": "x", "act": {"act": WORD}}))),
    ("Severity", Shown(compiled, "/data/1/diagnostics/0/severity", 1)),
    ("Share", Shown(jobs, "/data/1/job/rolling/batch", 1)),
    ("Source", Shown(events, "/data/1/source/kind", 2)),
    ("TargetState", Shown(job, "/data/targets/1/state/state", 1)),
    ("Terminal", Shown(minions, "/data/1/last_apply/word", 2)),
    ("Times", ToMinions),
];

fn two(reply: &str, item: &Value) -> Value {
    json!({ "reply": reply, "data": [item, item] })
}

fn a_job() -> Value {
    json!({
        "id": "01M7WZWVB6EEZ9RZNKD37B6PDS", "kind": {"kind": "apply", "states": [], "mode": "apply"},
        "target": "*", "minions": ["vm-1"], "caller": {"name": "ann", "via": "socket"}, "at": 1, "expires": 2,
        "wait": false, "revision": null,
        "rolling": {"batch": "1", "max_fail": "1", "order": "name", "on_stop": "stop"},
        "roll": {"begun": [1], "phase": {"at": "running"}},
    })
}

fn jobs() -> Value {
    two("jobs", &json!({ "job": a_job(), "targets": [], "words": {} }))
}

fn job() -> Value {
    let target = json!({
        "job": "01M7WZWVB6EEZ9RZNKD37B6PDS", "minion": "vm-1", "state": {"state": "accepted"},
    });
    json!({ "reply": "job", "data": { "job": a_job(), "targets": [target, target], "words": {} } })
}

fn keys() -> Value {
    let key = json!({
        "fingerprint": "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "sign": "", "seal": "", "minion": "vm-1",
        "status": "pending", "reason": "", "address": "", "at": 1, "labels": {}, "claims": {}, "token": null,
    });
    two("keys", &key)
}

fn observers() -> Value {
    two("observers", &json!({ "name": "wall", "role": "viewer", "secret": null, "expires": null, "at": 1 }))
}

fn tokens() -> Value {
    let terms = json!({
        "name": "t", "image_key": "", "ids": "*", "labels": {}, "cidr": [], "not_before": 1, "expires": 2, "uses": 1,
        "replace": "never",
    });
    two("tokens", &json!({ "terms": terms, "used_by": [], "revoked": false, "made_by": "ann" }))
}

fn minions() -> Value {
    let last = json!({
        "job": "01M7WZWVB6EEZ9RZNKD37B6PDS", "word": "ok", "at": 1, "revision": null, "mode": "apply", "full": true,
    });
    let minion = json!({
        "id": "vm-1", "presence": "up", "seen_at": 1, "labels": {}, "grains": {}, "version": "0.1.0",
        "fingerprint": "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "address": null, "assigned": null,
        "last_apply": last, "running": null, "sandbox": false, "sample": null, "why": null,
    });
    two("minions", &minion)
}

fn events() -> Value {
    let source = json!({ "kind": "user", "name": "ann" });
    two("events", &json!({ "number": 1, "tag": "x", "source": source, "at": 1, "data": {}, "hops": 0 }))
}

fn report() -> Value {
    let step = json!({
        "index": 0, "id": "a", "sls": "a", "kind": "file.managed", "name": "/a", "outcome": "ok", "comment": "",
        "plan": {"changes": []}, "output": null, "duration_ms": 1, "at": null,
    });
    let data = json!({
        "mode": "apply", "steps": [step, step], "duration_ms": 1, "cancelled": false, "sandbox": false,
    });
    json!({ "reply": "report", "data": data })
}

fn compiled() -> Value {
    let complaint = json!({
        "severity": "error", "code": "E0101", "message": "m", "spans": [], "notes": [], "help": null,
    });
    two("compiled", &json!({ "minion": "vm-1", "steps": null, "diagnostics": [complaint] }))
}

/// The items that there are in what was understood.
fn shown(understood: &Understood) -> usize {
    let value = serde_json::to_value(&understood.reply).unwrap();
    let data = &value["data"];
    let items = [data, &data["targets"], &data["steps"]];
    items.iter().find_map(|it| it.as_array()).map_or(0, Vec::len)
}

#[test]
fn an_unknown_word_is_shown_left_out_with_a_note_or_refused_and_never_spoils_a_list() {
    for (name, fate) in TABLE {
        match fate {
            Shown(answer, place, count) => {
                let mut answer = answer();
                let good = read(answer.to_string().as_bytes()).unwrap_or_else(|it| panic!("{name}: {it}"));
                assert!(good.left_out.is_none(), "{name}");
                *answer.pointer_mut(place).unwrap_or_else(|| panic!("{name}: {place}")) = WORD.into();
                let read = read(answer.to_string().as_bytes()).unwrap_or_else(|it| panic!("{name}: {it}"));
                assert_eq!(shown(&read), *count, "{name}");
                assert_eq!(read.left_out.is_some(), *count == 1, "{name}: {:?}", read.left_out);
                let told = read.left_out.unwrap_or_default();
                assert!(
                    told.is_empty() || told.contains("1 of 2") && told.contains("newer"),
                    "{name}: {told}"
                );
            }
            Asked(wish) => {
                let error = serde_json::from_value::<model::Request>(wish()).unwrap_err();
                assert!(error.to_string().contains(WORD), "{name}: {error}");
            }
            Failure => {
                let error = read(json!({ "reply": WORD, "data": [1] }).to_string().as_bytes()).unwrap_err();
                assert!(error.to_string().contains(WORD), "{name}: {error}");
            }
            Line => {
                let line = json!({ "line": WORD, "data": {} }).to_string();
                assert!(is_unknown_line(line.as_bytes()), "{name}");
            }
            ToMinions => {}
        }
    }
    assert!(!is_unknown_line(b"nonsense") && !is_unknown_line(b"{}"));
}

/// Enums of a source that serde reads: derived, or by hand.
fn read_enums(text: &str) -> impl Iterator<Item = String> {
    let mut derives = false;
    let mut found = Vec::new();
    for line in text.lines().take_while(|it| !it.starts_with("mod tests")) {
        if line.starts_with("#[derive(") {
            derives = line.contains("Deserialize");
        } else if let Some(rest) = line.strip_prefix("pub enum ") {
            let name = rest.split([' ', '<']).next().unwrap_or_default();
            let by_hand = text.contains(&format!("Deserialize<'de> for {name} "));
            if derives || by_hand {
                found.push(name.to_owned());
            }
            derives = false;
        } else if line.starts_with("pub struct ") {
            derives = false;
        }
    }
    found.into_iter()
}

#[test]
fn every_enum_that_travels_is_in_the_table() {
    let model = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/model/src");
    let mut found = BTreeSet::new();
    let mut folders = vec![model];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.extend(read_enums(&std::fs::read_to_string(path).unwrap()));
            }
        }
    }
    let listed: BTreeSet<String> = TABLE.iter().map(|it| it.0.to_owned()).collect();
    assert_eq!(found, listed, "a new enum needs a line that says what becomes of an unknown word");
}
