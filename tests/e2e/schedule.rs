//! By the clock: a schedule applies, is run by hand, paused and resumed, and finds what has drifted.

use serde_json::Value;
use std::fs;
use tests::{
    lab::{LIMIT, Lab},
    wait,
};

const RULES: &str = "\
often:
  schedule: { every: 1s }
  do:
    - run: { target: '*', command: [sh, -c, 'echo run >> often'] }
rarely:
  schedule: { cron: '30 3 29 2 *', zone: Europe/Berlin }
  do:
    - run: { target: '*', command: [sh, -c, 'echo run >> rarely'] }
look:
  schedule: { every: 1s }
  do:
    - plan: { target: '*', states: [] }
";

fn text(lab: &Lab, path: &str) -> String {
    fs::read_to_string(lab.on_minion("vm-1", path)).unwrap_or_default()
}

fn lines(lab: &Lab, path: &str) -> usize {
    text(lab, path).lines().count()
}

fn json(lab: &Lab, words: &[&str]) -> Value {
    let words: Vec<&str> = words.iter().copied().chain(["-o", "json"]).collect();
    serde_json::from_str(&lab.labctl(&words).expect(0).stdout).unwrap()
}

fn drifted(lab: &Lab) -> Option<u64> {
    json(lab, &["minion", "drift", "vm-1"])["drift"]["items"].as_array().map(|it| it.len() as u64)
}

fn drift_events(lab: &Lab) -> Vec<u64> {
    let events = json(lab, &["event", "list", "minion/+/drift"]);
    let items = events["items"].as_array().unwrap();
    items.iter().filter_map(|it| it["data"]["steps"].as_u64()).collect()
}

#[test]
fn a_schedule_runs_by_the_clock_by_hand_and_not_while_it_is_paused() {
    let mut lab = Lab::prepare();
    lab.tree("reactors/rules.yaml", RULES);
    lab.tree("states/top.sls", "base:\n  '*':\n    - base\n");
    lab.tree(
        "states/base.sls",
        "motd:\n  file.managed:\n    name: /etc/motd\n    contents: hello\n    makedirs: true\n",
    );
    lab.start_master();
    let seed = lab.seed("vm-*", &[]);
    lab.launch("vm-1", &seed);
    wait::until("three slots", LIMIT, || (lines(&lab, "/often") >= 3).then_some(()));

    lab.labctl(&["schedule", "pause", "often"]).expect(0);
    lab.labctl(&["schedule", "pause", "look", "--for", "1h"]).expect(0);
    let shown = json(&lab, &["schedule", "show", "often"]);
    assert!(shown["paused"]["by"].is_string() && shown["next"].is_null(), "{shown}");
    lab.signal_master("TERM");
    lab.start_master();
    lab.wait_up("vm-1");
    let before = lines(&lab, "/often");
    let next = json(&lab, &["schedule", "next", "-n", "3"]);
    assert!(next["items"].as_array().unwrap().iter().all(|it| it["schedule"] != "often"), "{next}");
    lab.labctl(&["schedule", "run", "rarely"]).expect(0);
    wait::until("the one that was run by hand", LIMIT, || (lines(&lab, "/rarely") == 1).then_some(()));
    assert!(lines(&lab, "/often") <= before + 1, "it is paused, also after a restart");
    lab.labctl(&["schedule", "resume", "often"]).expect(0);
    wait::until("it to go on", LIMIT, || (lines(&lab, "/often") > before + 1).then_some(()));
    lab.labctl(&["schedule", "pause", "no-such"]).expect(8);
    lab.labctl(&["target", "vm-1", "maintenance", "on", "--for", "1h", "--reason", "new disk"]).expect(0);
    assert!(lab.labctl(&["minion", "list"]).stdout.contains("(maintenance)"));
    let held = || {
        let said = lab.labctl(&["rule", "history", "often", "--limit", "1"]).stdout;
        said.contains("1 in maintenance left out").then_some(())
    };
    wait::until("the schedule to leave it out", LIMIT, held);
    lab.labctl(&["target", "vm-1", "maintenance", "off"]).expect(0);
}

#[test]
fn drift_is_found_told_once_and_gone_when_it_is_mended() {
    let mut lab = Lab::prepare();
    lab.tree("reactors/rules.yaml", RULES);
    lab.tree("states/top.sls", "base:\n  '*':\n    - base\n");
    lab.tree(
        "states/base.sls",
        "motd:\n  file.managed:\n    name: /etc/motd\n    contents: hello\n    makedirs: true\n",
    );
    lab.start_master();
    let seed = lab.seed("vm-*", &[]);
    lab.launch("vm-1", &seed);
    lab.labctl(&["target", "vm-1", "apply"]).expect(0);
    wait::until("a look that finds nothing", LIMIT, || (drifted(&lab) == Some(0)).then_some(()));
    fs::write(lab.on_minion("vm-1", "/etc/motd"), "somebody was here\n").unwrap();
    wait::until("a look that finds it", LIMIT, || (drifted(&lab) == Some(1)).then_some(()));
    let seen = json(&lab, &["minion", "drift", "vm-1"])["drift"]["at"].clone();
    wait::until("another look", LIMIT, || {
        (json(&lab, &["minion", "drift", "vm-1"])["drift"]["at"] != seen).then_some(())
    });
    assert_eq!(drift_events(&lab).last(), Some(&1), "{:?}", drift_events(&lab));
    assert_eq!(drift_events(&lab).iter().filter(|it| **it == 1).count(), 1, "{:?}", drift_events(&lab));
    let shown = lab.labctl(&["minion", "drift", "vm-1"]).stdout;
    assert!(shown.contains("somebody was here") && shown.contains("motd"), "{shown}");
    assert!(lab.labctl(&["status"]).stdout.contains("DRIFT"));
    assert!(lab.labctl(&["target", "drifted", "list"]).expect(0).stdout.contains("vm-1"));
    lab.labctl(&["target", "drifted", "apply"]).expect(0);
    assert_eq!(drifted(&lab), Some(0), "a successful apply clears it at once");
    assert_eq!(drift_events(&lab).last(), Some(&0));
    lab.labctl(&["target", "drifted", "list"]).expect(5);
}
