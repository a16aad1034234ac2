//! Who is left alone, by whom, and for how long.

use crate::core::{test_kit::*, *};
use bus::message::FromMinion;
use model::{MaintenanceAct, Reply, Request};
use serde_json::json;

const RULES: &str = "all:\n  on: user/+/go\n  do:\n    - run: { target: '*', command: [\"true\"] }\none:\n  on: user/+/one\n  do:\n    - run: { target: vm-1, command: [\"true\"] }\n";

fn on(target: &str, for_ms: Option<u64>) -> Request {
    let act = MaintenanceAct::On { for_ms, reason: "new disk\u{7}".to_owned() };
    Request::Maintain { target: target.to_owned(), act }
}

fn go(bench: &mut Bench, tag: &str) -> (Vec<Vec<MinionId>>, String) {
    let effects = bench.ask(Request::SendEvent { tag: tag.to_owned(), data: serde_json::Map::new() });
    let jobs = records(&effects).into_iter().filter_map(|it| match it {
        Entry::Job(job) if job.ended.is_none() => Some(job.minions.clone()),
        _ => None,
    });
    let said = records(&effects).into_iter().find_map(|it| match it {
        Entry::Decision(decision) => {
            let action = &decision.verdicts[0].actions[0];
            Some(format!("{}: {}", action.what, action.result))
        }
        _ => None,
    });
    (jobs.collect(), said.unwrap_or_default())
}

#[test]
fn rules_pass_a_machine_over_and_people_do_not() {
    let mut bench = Bench::with(&["vm-1", "vm-2"]);
    bench.rules(RULES);
    let effects = bench.ask(on("vm-1", None));
    assert_eq!(tags(&effects), ["minion/vm-1/maintenance"]);
    let Some(Reply::Minions(views)) = reply(&effects) else { panic!("{effects:?}") };
    assert_eq!(views[0].maintenance.as_ref().unwrap().reason, "new disk ");
    let (jobs, said) = go(&mut bench, "go");
    assert_eq!(jobs, [vec![id("vm-2")]]);
    assert!(said.contains("1 in maintenance left out"), "{said}");
    let (jobs, said) = go(&mut bench, "one");
    assert!(jobs.is_empty() && said.ends_with("nobody else is meant"), "{said}");
    let effects = bench.submit(1, "vm-1", command());
    assert!(matches!(reply(&effects), Some(Reply::Submitted(_))));
    let effects = bench.ask(Request::Expand { target: "maintenance".to_owned() });
    let Some(Reply::Targets(list)) = reply(&effects) else { panic!("{effects:?}") };
    assert_eq!(list.minions.iter().map(|it| it.id.clone()).collect::<Vec<_>>(), [id("vm-1")]);
    let off = Request::Maintain { target: "*".to_owned(), act: MaintenanceAct::Off };
    assert_eq!(tags(&bench.ask(off)), ["minion/vm-1/maintenance"], "the other one had none");
    assert_eq!(go(&mut bench, "go").0, [vec![id("vm-1"), id("vm-2")]]);
}

#[test]
fn it_ends_by_itself_also_after_a_restart_and_can_be_given_another_time() {
    let mut bench = Bench::with(&["vm-1"]);
    bench.rules(RULES);
    bench.ask(on("vm-1", Some(60_000)));
    bench.ask(on("vm-1", Some(600_000)));
    bench.pass(120_000);
    bench.crash();
    bench.rules(RULES);
    assert!(bench.master.is_maintained(&id("vm-1")), "the longer one counts");
    let effects = bench.pass(480_000);
    assert!(tags(&effects).contains(&"minion/vm-1/maintenance"));
    assert!(!bench.master.is_maintained(&id("vm-1")));
    bench.crash();
    assert!(!bench.master.is_maintained(&id("vm-1")));
    let effects = bench.ask(on("vm-1", Some(1)));
    assert_eq!(refusal(&effects).unwrap().0, api::ErrorKind::Usage);
}

#[test]
fn a_removed_machine_takes_its_maintenance_along() {
    let mut bench = Bench::with(&["vm-1"]);
    bench.ask(on("vm-1", None));
    bench.ask(Request::RemoveMinion { minion: id("vm-1") });
    assert!(bench.master.book.kept_of(Part::Maintenance).next().is_none());
}

#[test]
fn what_rules_held_back_is_done_at_once_when_it_ends() {
    let rules = "\
configure: { on: minion/+/start, once_per: boot, do: [ { run: { target: '{{minion}}', command: [setup] } } ] }
held: { on: minion/+/event/x, when: 'minion = \"vm-1\"', for: 1m, do: [ { run: { target: '{{minion}}', command: [repair] } } ] }
settled: { on: minion/+/event/x, debounce: 10s, do: [ { run: { target: '{{minion}}', command: [tidy] } } ] }
";
    let words = |effects: &[Effect]| -> Vec<String> {
        let job = |it: &&Entry| match it {
            Entry::Job(job) if job.ended.is_none() => match &job.kind {
                model::JobKind::Run { command, .. } => Some(command[0].clone()),
                _ => None,
            },
            _ => None,
        };
        records(effects).iter().filter_map(job).collect()
    };
    let event = || FromMinion::Event { number: 1, tag: "event/x".to_owned(), data: json!({}), gap: 0 };
    let early = |bench: &mut Bench| {
        bench.ask(Request::Maintain { target: "vm-1".to_owned(), act: MaintenanceAct::Off })
    };
    for (for_ms, ends_early) in [(None, true), (Some(3_600_000), true), (Some(3_600_000), false)] {
        let mut bench = Bench::with(&["vm-1"]);
        bench.rules(rules);
        // The boot that it has begun with.
        let job = bench.master.book.open.keys().next().copied().unwrap();
        bench.compiled(job.0, "vm-1");
        bench.say("vm-1", result(job, model::Terminal::Ok));
        bench.ask(on("vm-1", for_ms));
        bench.back("vm-1", bus::message::Hello { boot: "boot-2".to_owned(), ..hello() });
        let mut done = words(&bench.say("vm-1", event()));
        for _ in 0..10 {
            done.extend(words(&bench.pass(60_000)));
            bench.say("vm-1", FromMinion::Heartbeat { running: None });
        }
        assert!(done.is_empty(), "{done:?}");
        let effects = if ends_early { early(&mut bench) } else { bench.pass(3_000_000) };
        let mut done = words(&effects);
        for _ in 0..3 {
            done.extend(words(&bench.pass(1)));
        }
        done.sort();
        assert_eq!(done, ["repair", "setup", "tidy"], "{for_ms:?} {ends_early}");
        assert!(words(&bench.pass(30_000)).is_empty(), "once");
    }
}
