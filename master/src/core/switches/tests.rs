//! Rules that are asked what they would do, and rules that are switched off.

use crate::core::{test_kit::*, *};
use model::{Event, Reply, Request, Source, api::ErrorKind};
use serde_json::{Map, Value, json};

const RULES: &str = "\
full:
  on: user/+/disk
  when: event.percent > 90 and event.mount = \"/\"
  throttle: 1 per rule per 1h
  do:
    - event: { tag: seen, data: { mount: \"{{event.mount}}\" } }
other:
  on: user/+/other
  do:
    - event: { tag: seen }
";

fn bench() -> Bench {
    let mut bench = Bench::with(&["vm-1"]);
    bench.rules(RULES);
    bench
}

fn send(bench: &mut Bench, percent: u64) -> Vec<Effect> {
    let data = Map::from_iter([("percent".to_owned(), json!(percent)), ("mount".to_owned(), json!("/"))]);
    bench.ask(Request::SendEvent { tag: "disk".to_owned(), data })
}

fn event(data: Value) -> Event {
    Event {
        number: 7,
        tag: "user/root/disk".to_owned(),
        source: Source::User("root".to_owned()),
        at: Timestamp(0),
        data,
        hops: 0,
        cause: Vec::new(),
    }
}

fn explain(bench: &mut Bench, rule: Option<&str>, data: Value) -> Vec<api::Explained> {
    let request = Request::ExplainRules { rule: rule.map(str::to_owned), event: event(data) };
    match reply(&bench.ask(request)) {
        Some(Reply::Explained(explained)) => explained.clone(),
        other => panic!("{other:?}"),
    }
}

fn fired(effects: &[Effect]) -> bool {
    tags(effects).contains(&"rule/full/seen")
}

fn switch(bench: &mut Bench, on: bool, for_ms: Option<u64>) -> Vec<Effect> {
    bench.ask(Request::SwitchRule { rule: "full".to_owned(), on, for_ms })
}

#[test]
fn a_rule_says_what_it_would_make_of_an_event_and_nothing_is_done_or_remembered() {
    let mut bench = bench();
    for _ in 0..3 {
        let would = explain(&mut bench, Some("full"), json!({"percent": 91, "mount": "/"}));
        let [one] = &would[..] else { panic!("{would:?}") };
        assert!(one.heard && one.verdict.fired, "{one:?}");
        assert_eq!(one.verdict.actions[0].what, "event rule/full/seen");
        assert_eq!(one.place, "reactors/test.yaml:1");
    }
    assert!(fired(&send(&mut bench, 91)), "the throttle has counted none of them");
    let held = explain(&mut bench, Some("full"), json!({"percent": 91, "mount": "/"}));
    assert!(!held[0].verdict.fired && held[0].verdict.reason.contains("throttle"), "{held:?}");
    let small = explain(&mut bench, Some("full"), json!({"percent": 80, "mount": "/"}));
    assert!(small[0].verdict.reason.contains("80"), "{small:?}");
}

#[test]
fn all_rules_are_asked_and_one_that_does_not_listen_says_so() {
    let mut bench = bench();
    let all = explain(&mut bench, None, json!({"percent": 91, "mount": "/"}));
    let told: Vec<(&str, bool)> = all.iter().map(|it| (it.verdict.rule.as_str(), it.heard)).collect();
    assert_eq!(told, [("full", true), ("other", false)]);
    let request = Request::ExplainRules { rule: Some("ful".to_owned()), event: event(json!({})) };
    assert_eq!(refusal(&bench.ask(request)).map(|it| it.0), Some(ErrorKind::NotFound));
    let large = json!({"text": "x".repeat(17 * 1024)});
    let request = Request::ExplainRules { rule: None, event: event(large) };
    assert_eq!(refusal(&bench.ask(request)).map(|it| it.0), Some(ErrorKind::Usage));
}

#[test]
fn a_rule_that_is_switched_off_does_nothing_also_after_a_restart_until_it_is_switched_on() {
    let mut bench = bench();
    let effects = switch(&mut bench, false, None);
    assert!(tags(&effects).contains(&"rule/full/switched"));
    assert!(records(&effects).iter().any(|it| matches!(it, Entry::Audit(_))), "it is in the audit log");
    assert!(!fired(&send(&mut bench, 95)));
    bench.crash();
    bench.rules(RULES);
    assert!(!fired(&send(&mut bench, 95)));
    let said = explain(&mut bench, Some("full"), json!({"percent": 95, "mount": "/"}));
    assert!(said[0].verdict.reason.contains("switched off"), "{said:?}");
    switch(&mut bench, true, None);
    assert!(fired(&send(&mut bench, 95)));
    bench.crash();
    bench.rules(RULES.replace("1h", "1s").as_str());
    assert!(fired(&send(&mut bench, 95)), "it stays on");
}

#[test]
fn a_rule_that_is_switched_off_for_a_time_is_on_again_by_itself() {
    let mut bench = bench();
    switch(&mut bench, false, Some(60_000));
    bench.crash();
    bench.rules(RULES);
    bench.pass(59_999);
    assert!(!fired(&send(&mut bench, 95)));
    let effects = bench.pass(1);
    assert!(tags(&effects).contains(&"rule/full/switched"), "{:?}", tags(&effects));
    assert!(fired(&send(&mut bench, 95)));
}

#[test]
fn what_cannot_be_switched_is_refused() {
    let mut bench = bench();
    let unknown = Request::SwitchRule { rule: "fall".to_owned(), on: false, for_ms: None };
    assert_eq!(refusal(&bench.ask(unknown)).map(|it| it.0), Some(ErrorKind::NotFound));
    assert_eq!(refusal(&switch(&mut bench, false, Some(0))).map(|it| it.0), Some(ErrorKind::Usage));
    let viewer = model::Caller { name: "eve".to_owned(), role: "viewer".to_owned(), ..caller() };
    for request in [
        Request::SwitchRule { rule: "full".to_owned(), on: false, for_ms: None },
        Request::ExplainRules { rule: None, event: event(json!({})) },
    ] {
        let effects = bench.ask_as(viewer.clone(), request);
        assert_eq!(refusal(&effects).map(|it| it.0), Some(ErrorKind::Forbidden));
    }
    assert!(fired(&send(&mut bench, 95)));
}

#[test]
fn a_boot_while_a_rule_was_off_is_configured_when_it_is_on_again() {
    let rules = "r:\n  on: minion/+/start\n  once_per: boot\n  do:\n    - apply: { target: '{{minion}}', states: [] }\n";
    for for_ms in [None, Some(5_000)] {
        let mut bench = Bench::new();
        bench.rules(rules);
        bench.ask(Request::SwitchRule { rule: "r".to_owned(), on: false, for_ms });
        bench.enroll(0, "vm-1", Ok(terms()));
        assert!(compiles(&bench.back("vm-1", hello())).is_empty());
        let mut effects = match for_ms {
            None => bench.ask(Request::SwitchRule { rule: "r".to_owned(), on: true, for_ms: None }),
            Some(ms) => bench.pass(ms),
        };
        effects.extend(bench.pass(1));
        assert_eq!(compiles(&effects), [id("vm-1")], "{for_ms:?}");
    }
}
