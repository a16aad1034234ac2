//! What an operator can ask of rules: all of one, what it would do, why it did not, and to be left alone.

use std::fs;
use tests::lab::{LIMIT, Lab};
use tests::wait;

const RULES: &str = "\
disk-full:
  on: user/+/disk
  when: event.percent > 90 and not (event.mount in [\"/tmp\"])
  throttle: 1 per key per 1h
  group_by: [event.mount]
  do:
    - event: { tag: seen, data: { mount: '{{event.mount}}' } }
settled:
  on: user/+/settle
  debounce: 1s
  do:
    - event: { tag: settled }
missed:
  on: user/+/pong
  absent: { within: 1s, after: user/+/ping }
  group_by: source
  do:
    - event: { tag: missed }
night:
  on: user/+/night
  do:
    - reboot: { target: nobody }
other:
  on: user/+/other
  do:
    - event: { tag: seen }
";

fn lab() -> Lab {
    let mut lab = Lab::prepare();
    lab.tree("reactors/rules.yaml", RULES);
    lab.tree("states/top.sls", "{}\n");
    lab.start_master();
    lab
}

/// The number of the newest event of this tag.
fn number(lab: &Lab, tag: &str) -> String {
    wait::until("the event to be stored", LIMIT, || {
        let said = lab.labctl(&["event", "list", tag, "--limit", "1", "-o", "jsonl"]);
        let event: serde_json::Value = serde_json::from_str(said.stdout.lines().last()?).ok()?;
        Some(event["number"].as_u64()?.to_string())
    })
}

fn said(lab: &Lab, arguments: &[&str]) -> String {
    lab.labctl(arguments).expect(0).stdout.clone()
}

#[test]
fn a_rule_is_explained_clause_by_clause_and_why_it_did_not_fire() {
    let lab = lab();
    let shown = said(&lab, &["rule", "show", "disk-full"]);
    for part in
        ["reactors/rules.yaml:1", "user/+/disk", "event.percent > 90", "1 per key per 1h", "event seen"]
    {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    lab.labctl(&["rule", "show", "disk-ful"]).expect(8);
    lab.labctl(&["rule", "test", "disk-full"]).expect(8);

    said(&lab, &["event", "send", "disk", "percent=80", "mount=/"]);
    let small = number(&lab, "user/+/disk");
    let tested = said(&lab, &["rule", "test", "disk-full"]);
    for part in ["would not act", "event.percent > 90", "80", "nothing was done"] {
        assert!(tested.contains(part), "{part}\n{tested}");
    }
    said(&lab, &["event", "send", "disk", "percent=95", "mount=/"]);
    said(&lab, &["event", "send", "disk", "percent=96", "mount=/"]);
    let again = number(&lab, "user/+/disk");
    wait::until("the decision to be stored", LIMIT, || {
        said(&lab, &["rule", "history", "disk-full"]).contains("throttle").then_some(())
    });
    let why = said(&lab, &["rule", "why", &small]);
    for part in ["disk-full", "did not act", "80", "other: their `on`"] {
        assert!(why.contains(part), "{part}\n{why}");
    }
    let why = said(&lab, &["rule", "why", &again, "--rule", "disk-full"]);
    assert!(why.contains("throttle") && !why.contains("other"), "{why}");
    let why = said(&lab, &["rule", "why", &small, "--rule", "other"]);
    assert!(why.contains("user/+/other"), "{why}");
    lab.labctl(&["rule", "why", "999999"]).expect(8);

    let file = lab.folder().join("event.json");
    fs::write(&file, r#"{"tag": "user/root/disk", "data": {"percent": 99, "mount": "/srv"}}"#).unwrap();
    let tested = said(&lab, &["rule", "test", "disk-full", "--event", file.to_str().unwrap()]);
    assert!(tested.contains("would do:") && tested.contains("1. event rule/disk-full/seen"), "{tested}");
}

#[test]
fn why_tells_what_came_of_a_wait_and_a_rule_tells_beforehand_what_it_may_not() {
    let lab = lab();
    said(&lab, &["event", "send", "settle"]);
    said(&lab, &["event", "send", "ping"]);
    let settle = number(&lab, "user/+/settle");
    let ping = number(&lab, "user/+/ping");
    for tag in ["rule/settled/settled", "rule/missed/missed"] {
        number(&lab, tag);
    }
    let why = said(&lab, &["rule", "why", &settle]);
    for part in ["did not act: debounce", "later, of `debounce`", "rule/settled/time", "no more came for 1s"]
    {
        assert!(why.contains(part), "{part}\n{why}");
    }
    let why = said(&lab, &["rule", "why", &ping, "--rule", "missed"]);
    for part in ["began to expect", "later, of `absent`", "acted", "event rule/missed/missed: accepted"] {
        assert!(why.contains(part), "{part}\n{why}");
    }
    let told = "its role `rule` may not target.reboot";
    assert!(said(&lab, &["rule", "list", "-o", "json"]).contains(told));
    assert!(said(&lab, &["rule", "show", "night"]).contains("rules: { names: { night: ROLE } }"));
    let tree = lab.root().join("srv/labctl").to_str().unwrap().to_owned();
    let checked = said(&lab, &["rule", "check", &tree]);
    assert!(checked.contains("W0510") && checked.contains("reactors/rules.yaml:19"), "{checked}");
    let roles = lab.folder().join("roles.yaml");
    fs::write(&roles, "rules: { names: { night: rebooter } }\n").unwrap();
    let checked = said(&lab, &["rule", "check", &tree, "--roles", roles.to_str().unwrap()]);
    assert!(checked.contains("0 warnings"), "{checked}");
}

#[test]
fn a_rule_is_switched_off_and_on_and_events_are_replayed_without_a_master() {
    let mut lab = lab();
    said(&lab, &["rule", "disable", "disk-full", "--for", "2h"]);
    assert!(said(&lab, &["rule", "list"]).contains("disk-full (off)"));
    lab.signal_master("KILL");
    lab.start_master();
    said(&lab, &["event", "send", "disk", "percent=95", "mount=/"]);
    let number = number(&lab, "user/+/disk");
    let why = wait::until("the decision to be stored", LIMIT, || {
        let why = said(&lab, &["rule", "why", &number]);
        why.contains("did not act").then_some(why)
    });
    assert!(why.contains("switched off"), "{why}");
    said(&lab, &["rule", "enable", "disk-full"]);
    said(&lab, &["event", "send", "disk", "percent=95", "mount=/"]);
    wait::until("the rule to act", LIMIT, || {
        said(&lab, &["event", "list", "rule/disk-full/seen"]).contains("mount=/").then_some(())
    });

    let events = lab.folder().join("events.jsonl");
    fs::write(&events, said(&lab, &["event", "list", "-o", "jsonl"])).unwrap();
    let replay = |format: &str| {
        let tree = lab.root().join("srv/labctl").to_str().unwrap().to_owned();
        said(&lab, &["rule", "replay", "--events", events.to_str().unwrap(), "--tree", &tree, "-o", format])
    };
    let told = replay("table");
    assert!(told.contains("disk-full") && told.contains("throttle"), "{told}");
    assert_eq!(replay("json"), replay("json"), "the same input gives the same bytes");

    let wide = said(&lab, &["event", "list", "user/+/disk", "-o", "wide"]);
    assert!(wide.contains(&format!("#{number} ")), "{wide}");
    let file = events.to_str().unwrap();
    let tree = lab.root().join("srv/labctl").to_str().unwrap().to_owned();
    let replay = ["rule", "replay", "--events", file, "--tree", &tree];
    for arguments in [&["rule", "history", "disk-ful"][..], &[&replay[..], &["--rule", "disk-ful"]].concat()]
    {
        let told = lab.labctl(arguments).expect(8);
        assert!(
            told.stdout.is_empty() && told.stderr.contains("did you mean `disk-full`"),
            "{}",
            told.stderr
        );
    }
    lab.labctl(&[&replay[..], &["--zone", "Europe/Berlin", "--rule", "disk-full"]].concat()).expect(0);
    lab.labctl(&[&replay[..], &["--zone", "Nowhere"]].concat()).expect(2);
}
