//! How far actions reach that are no jobs: not to machines that are left alone, and not past the role of their rule.

use super::*;
use bus::message::Hello;
use model::{Audit, MaintenanceAct};

fn roles(bench: &mut Bench, text: &str) {
    let parsed = lang::roles::Roles::parse("roles.yaml", text);
    bench.step(Input::Roles(Arc::new(parsed.value.unwrap_or_else(|| panic!("{:?}", parsed.diagnostics)))));
}

fn maintain(bench: &mut Bench, name: &str) {
    let act = MaintenanceAct::On { for_ms: None, reason: "a new disk".to_owned() };
    bench.ask(Request::Maintain { target: name.to_owned(), act });
}

/// With a network card, and a release that can wake others.
fn waking() -> Hello {
    let mut told = hello();
    told.can.push("wake".to_owned());
    told.grains = json!({"hwaddr_interfaces": {"eth0": "52:54:00:AB:00:01"}}).as_object().cloned();
    told.grains_hash = model::ContentHash([3; 32]);
    told
}

const ALL: &str = "    - label: { target: vm-1, set: { a: b } }\n    - power: { target: vm-1, set: off, by: plug }\n    - wake: { target: vm-1 }\n";

#[test]
fn a_machine_in_maintenance_is_not_labelled_switched_or_woken_by_rules() {
    let mut bench = lab(&rule(ALL));
    bench.back("vm-1", waking());
    maintain(&mut bench, "vm-1");
    let effects = go(&mut bench, json!({}));
    let done = done(&bench);
    assert!(done.iter().all(|it| it.result == "nobody else is meant"), "{done:?}");
    assert!(done.iter().all(|it| it.what.contains("in maintenance")), "{done:?}");
    assert!(calls(&effects).is_empty() && !effects.iter().any(|it| matches!(it, Effect::Wake { .. })));
    assert!(!bench.master.minion(&id("vm-1")).unwrap().labels.contains_key("a"));
    assert!(!tags(&effects).contains(&"rule/r/failed"), "nothing went wrong");
    // One of two, and a rule that says so.
    bench.rules(&rule("    - label: { target: 'vm-*', set: { a: b } }\n"));
    go(&mut bench, json!({}));
    assert!(bench.master.minion(&id("vm-2")).unwrap().labels.contains_key("a"));
    assert!(!bench.master.minion(&id("vm-1")).unwrap().labels.contains_key("a"));
    bench.rules(&format!("{}  maintenance: ignore\n", rule(ALL)));
    let effects = go(&mut bench, json!({}));
    assert_eq!(calls(&effects).len(), 1, "{effects:?}");
    assert!(effects.iter().any(|it| matches!(it, Effect::Wake { .. })));
}

#[test]
fn what_a_rule_switched_off_it_switches_on_again_whatever_comes_in_between() {
    let mut bench = lab(&rule("    - power: { target: vm-1, set: cycle, by: plug }\n"));
    let (off, what) = calls(&go(&mut bench, json!({}))).remove(0);
    assert!(what.contains("plug.test"));
    maintain(&mut bench, "vm-1");
    answer(&mut bench, &off, true, false);
    let on = calls(&bench.pass(5_001));
    assert_eq!(on.len(), 1);
    let switched = done(&bench).into_iter().filter(|it| it.what.starts_with("power on"));
    assert_eq!(switched.map(|it| it.result).collect::<Vec<_>>(), ["accepted"]);
    answer(&mut bench, &on[0].0, true, false);
    // Another firing does not begin.
    assert!(calls(&go(&mut bench, json!({}))).is_empty());
}

#[test]
fn a_rule_turns_only_switches_whose_machines_its_role_may_switch() {
    let with = |by: &str| rule(&format!("    - power: {{ target: vm-2, set: off, by: {by} }}\n"));
    let two =
        "roles: { two: { allow: [ { functions: target.power, targets: vm-2 } ] } }\nrules: { default: two }";
    let said = |bench: &mut Bench, rules: &str, role: &str| {
        bench.rules(rules);
        roles(bench, role);
        let effects = go(bench, json!({}));
        let out = calls(&effects).len() + told(&effects).len();
        assert_eq!(tags(&effects).contains(&"rule/r/failed"), out == 0);
        let result = done(bench)[0].result.clone();
        if out == 0 { result } else { "out".to_owned() }
    };
    let mut bench = lab(&with("plug"));
    let why = said(&mut bench, &with("plug"), two);
    assert!(why.contains("the switch `plug` is not for vm-2"), "it belongs to vm-1: {why}");
    let why = said(&mut bench, &with("plug"), "rules: { default: rule }");
    assert!(why.contains("is not for vm-2"), "whatever the role: {why}");
    let why = said(&mut bench, &with("relay"), two);
    assert!(why.contains("may not target.power") && why.contains("`for` of the switch `relay`"), "{why}");
    assert_eq!(said(&mut bench, &with("relay"), "rules: { default: rule }"), "out", "who may switch all");
    // A switch for several machines turns them all.
    let text = "power: { rack: { type: mqtt, for: 'vm-*' }, own: { type: mqtt, for: vm-2 } }";
    let read = |_: &str| Err("no files here".to_owned());
    let made = Notifiers::parse("notify.yaml", text, &read).value.unwrap();
    bench.step(Input::Notifiers(Arc::new(made)));
    let why = said(&mut bench, &with("rack"), two);
    assert!(why.contains("may not target.power on vm-1"), "{why}");
    assert_eq!(said(&mut bench, &with("own"), two), "out");
    // Also if one that hangs on it is left alone.
    maintain(&mut bench, "vm-1");
    bench.rules(&with("rack"));
    roles(&mut bench, "rules: { default: rule }");
    assert!(told(&go(&mut bench, json!({}))).is_empty());
    assert_eq!(done(&bench)[0].result, "nobody else is meant");
}

#[test]
fn a_switch_says_whom_it_is_for_by_what_the_master_knows() {
    for (target, why) in [
        ("'os=debian'", "ids and labels only"),
        ("online", "ids and labels only"),
        ("'vm-1 or'", "missing at the end"),
        ("[vm-1]", "takes a target expression"),
    ] {
        let text = format!("power:\n  plug: {{ type: mqtt, for: {target} }}\n");
        let read = |_: &str| Err("no files here".to_owned());
        let parsed = Notifiers::parse("notify.yaml", &text, &read);
        assert!(parsed.value.is_none(), "{target}");
        let told: String = parsed.diagnostics.iter().map(|it| it.message.as_str()).collect();
        assert!(told.contains(why), "{target}: {told}");
    }
}

#[test]
fn who_sends_packets_for_others_must_be_one_that_the_role_may_use() {
    let web = "roles: { web: { allow: [ { functions: [target.wake, event.send], targets: vm-1 } ] } }\nrules: { default: web }";
    let mut bench = lab(&rule("    - wake: { target: vm-1, via: vm-2 }\n"));
    for name in ["vm-1", "vm-2"] {
        bench.back(name, waking());
    }
    let woken = |effects: &[Effect]| {
        let probe = |it: &&&ToMinion| matches!(it, ToMinion::Probe { ask: Ask::Wake { .. }, .. });
        sent(effects).iter().filter(probe).count()
    };
    assert_eq!(woken(&go(&mut bench, json!({}))), 1);
    roles(&mut bench, web);
    assert_eq!(woken(&go(&mut bench, json!({}))), 0);
    assert!(done(&bench)[0].result.contains("may not target.wake on vm-2"), "{:?}", done(&bench));
    // A person's request, too.
    let ask = |bench: &mut Bench, via: Option<&str>| {
        let via = via.map(id);
        bench.ask_as(Caller::new("ann", "test", "web"), Request::Wake { target: "vm-1".to_owned(), via })
    };
    let effects = ask(&mut bench, Some("vm-2"));
    assert!(refusal(&effects).unwrap().1.contains("may not target.wake on vm-2"), "{effects:?}");
    assert_eq!(woken(&effects), 0);
    assert_eq!(woken(&ask(&mut bench, Some("vm-1"))), 1);
    assert!(refusal(&ask(&mut bench, None)).is_none());
}

#[test]
fn the_audit_log_does_not_say_that_a_machine_was_woken_by_one_that_cannot() {
    let mut bench = lab(&rule("    - event: { tag: x }\n"));
    bench.back("vm-1", waking());
    let wake = Request::Wake { target: "vm-1".to_owned(), via: Some(id("vm-2")) };
    let effects = bench.ask(wake);
    assert!(refusal(&effects).unwrap().1.contains("cannot wake others"));
    let line = |it: &&&Entry| matches!(it, Entry::Audit(Audit { result, .. }) if result == "accepted");
    assert_eq!(records(&effects).iter().filter(line).count(), 0);
}
