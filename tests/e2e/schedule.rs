//! By the clock: a schedule applies, is run by hand, paused and resumed, and finds what has drifted.

use lang::schedule::Schedule;
use model::Timestamp;
use serde_json::{Value, json as value};
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
fn a_minion_keeps_its_schedule_while_the_master_is_away_and_its_results_arrive_once() {
    let mut lab = Lab::prepare();
    lab.tree("states/top.sls", "base:\n  '*':\n    - base\n");
    lab.tree(
        "states/base.sls",
        "motd:\n  file.managed:\n    name: /etc/motd\n    contents: hello\n    makedirs: true\n",
    );
    lab.tree("states/tidy.sls", "count:\n  cmd.run:\n    name: echo run >> tidied\n");
    lab.tree("pillar/top.sls", "base:\n  '*':\n    - clock\n");
    lab.tree("pillar/clock.sls", "schedule:\n  tidy:\n    every: 2s\n    apply: [tidy]\n  look:\n    every: 3s\n    mode: plan\n    apply: []\n");
    lab.start_master();
    let seed = lab.seed("vm-*", &[]);
    let vm = lab.launch("vm-1", &seed);
    wait::until(&format!("a run\n{}", lab.logs()), LIMIT, || (lines(&lab, "/tidied") >= 1).then_some(()));
    lab.signal_master("TERM");
    let before = lines(&lab, "/tidied");
    wait::until("runs without the master", LIMIT, || (lines(&lab, "/tidied") >= before + 2).then_some(()));
    lab.agent(vm).signal("TERM");
    lab.restart(vm);
    let before = lines(&lab, "/tidied");
    wait::until("runs after a restart, with no master", LIMIT, || {
        (lines(&lab, "/tidied") > before).then_some(())
    });
    lab.start_master();
    lab.wait_up("vm-1");
    lab.labctl(&["target", "vm-1", "maintenance", "on"]).expect(0);
    let listed = || {
        let jobs = json(&lab, &["job", "list", "--limit", "1000"]);
        let jobs = jobs["items"].as_array().unwrap().clone();
        let own = |it: &&Value| it["job"]["caller"]["name"] == "schedule:vm-1/tidy";
        jobs.iter().filter(own).cloned().collect::<Vec<Value>>()
    };
    let mut before = 0;
    wait::until("all of its runs to be told and none to come", LIMIT, || {
        let (jobs, runs) = (listed(), lines(&lab, "/tidied"));
        let ended = jobs.iter().all(|it| !it["job"]["ended"].is_null());
        let quiet = std::mem::replace(&mut before, runs) == runs;
        (ended && quiet && jobs.len() == runs).then_some(())
    });
    let wrong: Vec<Value> = listed().into_iter().filter(|it| it["words"]["changed"] != 1).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(json(&lab, &["minion", "drift", "vm-1"])["drift"]["items"].as_array().map(Vec::len), Some(1));
}

/// What the master says and what a minion makes of the numbers it is given, slot by slot over two years.
#[test]
fn minions_have_the_slots_that_the_master_has() {
    let zones = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"];
    let crons = [
        "30 2 * * *",
        "15,45 1,2,3 * * *",
        "*/20 2 * * *",
        "*/30 * * * *",
        "0 * * * *",
        "7 0-23 * * *",
        "0 0 29 2 *",
        "0 12 13 * FRI",
        "5 4 1,15 * *",
        "59 23 31 12 *",
        "0 9 * * MON-FRI",
        "0 0 * * 7",
        "@weekly",
        "30 1-3/2 * 3,10,11 SUN",
    ];
    let mut compared = 0;
    for zone in zones {
        for cron in crons {
            let words = value!({"zone": zone, "cron": cron, "jitter": "10m"});
            let schedule = Schedule::of_value("tidy", words.as_object().unwrap(), &[]).unwrap();
            let compiled = schedule.for_minion().unwrap();
            // From 2026-02-01 on, at steps that fall before, into and behind every change of the clock.
            let mut at = Timestamp(1_769_904_000_000);
            for _ in 0..400 {
                let (ours, theirs) = (schedule.next(at), minion::schedule::next(&compiled.times, at));
                assert_eq!(ours, theirs, "{zone} {cron} after {}", schedule.wall(at));
                let Some(slot) = ours else { break };
                assert_eq!(schedule.begins(slot), minion::schedule::begins(&compiled, slot));
                compared += 1;
                at = slot.max(at.plus_ms(47 * 3_600_000 + 1_234_567)).min(slot.plus_ms(40 * 86_400_000));
            }
            // And every slot of the days on which clocks change.
            for begin in [
                1_774_700_000_000,
                1_792_800_000_000,
                1_772_900_000_000,
                1_793_450_000_000,
                1_790_900_000_000,
            ] {
                let mut at = Timestamp(begin);
                for _ in 0..200 {
                    let (ours, theirs) = (schedule.next(at), minion::schedule::next(&compiled.times, at));
                    assert_eq!(ours, theirs, "{zone} {cron} after {}", schedule.wall(at));
                    compared += 1;
                    let Some(slot) = ours else { break };
                    at = slot;
                }
            }
        }
    }
    assert!(compared > 50_000, "{compared}");
    let every = Schedule::of_value("tidy", value!({"every": "7m"}).as_object().unwrap(), &[]).unwrap();
    let compiled = every.for_minion().unwrap();
    assert_eq!(every.next(Timestamp(1)), minion::schedule::next(&compiled.times, Timestamp(1)));
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
    lab.wait_up("vm-1");
    lab.labctl(&["target", "vm-1", "apply"]).expect(0);
    wait::until("a look that finds nothing", LIMIT, || (drifted(&lab) == Some(0)).then_some(()));
    let found = |lab: &Lab| drift_events(lab).iter().filter(|it| **it == 1).count();
    // A look may have come before the first apply.
    let before = found(&lab);
    fs::write(lab.on_minion("vm-1", "/etc/motd"), "somebody was here\n").unwrap();
    wait::until("a look that finds it", LIMIT, || (drifted(&lab) == Some(1)).then_some(()));
    let first = json(&lab, &["minion", "drift", "vm-1"])["drift"]["at"].clone();
    wait::until("another look", LIMIT, || {
        (json(&lab, &["minion", "drift", "vm-1"])["drift"]["at"] != first).then_some(())
    });
    assert_eq!(drift_events(&lab).last(), Some(&1), "{:?}", drift_events(&lab));
    assert_eq!(found(&lab), before + 1, "{:?}", drift_events(&lab));
    let shown = lab.labctl(&["minion", "drift", "vm-1"]).stdout;
    assert!(shown.contains("somebody was here") && shown.contains("motd"), "{shown}");
    assert!(lab.labctl(&["status"]).stdout.contains("DRIFT"));
    assert!(lab.labctl(&["target", "drifted", "list"]).expect(0).stdout.contains("vm-1"));
    lab.labctl(&["target", "drifted", "apply"]).expect(0);
    assert_eq!(drifted(&lab), Some(0), "a successful apply clears it at once");
    assert_eq!(drift_events(&lab).last(), Some(&0));
    lab.labctl(&["target", "drifted", "list"]).expect(5);

    // A rule says that this state may be mended without a person.
    let mends = "mend:\n  on: minion/+/drift\n  when: '\"base\" in event.states'\n  do:\n    - apply: { target: '{{minion}}', states: [base] }\n";
    lab.tree("reactors/mend.yaml", mends);
    lab.signal_master("HUP");
    wait::until("the rule", LIMIT, || lab.labctl(&["rule", "list"]).stdout.contains("mend").then_some(()));
    fs::write(lab.on_minion("vm-1", "/etc/motd"), "and here again\n").unwrap();
    wait::until("it to be mended", LIMIT, || (text(&lab, "/etc/motd").trim() == "hello").then_some(()));
}
