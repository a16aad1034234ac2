//! Reboots, keys and labels by rules: done with the right, refused without it, and known before the rule acts.

use super::*;
use model::Event;

const NIGHT: &str = "\
night:
  on: user/+/go
  when: 'count(\"label:reboot=needed and online and not label:protected=yes\") > 0'
  concurrency: 1 per rule
  do:
    - reboot: { target: 'label:reboot=needed and online and not label:protected=yes', message: a new kernel, batch: 1 }
";

fn roles(bench: &mut Bench, text: &str) {
    let parsed = lang::roles::Roles::parse("roles.yaml", text);
    bench.master.set_roles(Arc::new(parsed.value.unwrap_or_else(|| panic!("{:?}", parsed.diagnostics))));
}

fn label(bench: &mut Bench, target: &str, name: &str, value: &str) -> Vec<Effect> {
    let set = [(name.to_owned(), value.to_owned())].into();
    bench.ask(Request::Label { target: target.to_owned(), set, remove: Vec::new() })
}

fn reboots(bench: &Bench) -> Vec<Vec<MinionId>> {
    let job = |it: &Entry| match it {
        Entry::Job(job) if matches!(job.kind, model::JobKind::Reboot { .. }) && job.ended.is_none() => {
            Some((job.id, job.minions.clone()))
        }
        _ => None,
    };
    let jobs: BTreeMap<JobId, Vec<MinionId>> = bench.disk.iter().filter_map(job).collect();
    jobs.into_values().collect()
}

fn events(effects: &[Effect]) -> Vec<&Event> {
    let event = |it: &'_ Effect| matches!(it, Effect::Event(_));
    let events = effects.iter().filter(|it| event(it));
    events.filter_map(|it| if let Effect::Event(it) = it { Some(&**it) } else { None }).collect()
}

fn lacks(bench: &mut Bench) -> Vec<String> {
    match reply(&bench.ask(Request::Rules)) {
        Some(Reply::Rules(rules)) => rules[0].lacks.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_rule_reboots_one_machine_after_the_other_and_never_a_protected_one() {
    let mut bench = Bench::with(&["vm-9", "vm-1", "vm-2", "vm-3"]);
    bench.rules(NIGHT);
    label(&mut bench, "vm-9 or vm-1 or vm-2", "reboot", "needed");
    label(&mut bench, "vm-9", "protected", "yes");
    // Without the right nothing happens, and the rule says so before it wants to act.
    assert_eq!(lacks(&mut bench).len(), 1);
    let effects = go(&mut bench, json!({}));
    assert!(tags(&effects).contains(&"rule/night/failed"), "{:?}", tags(&effects));
    assert!(reboots(&bench).is_empty());
    assert!(done(&bench)[0].result.contains("target.reboot"), "{:?}", done(&bench));

    roles(&mut bench, "rules: { names: { night: rebooter } }");
    assert_eq!(lacks(&mut bench), Vec::<String>::new());
    let effects = go(&mut bench, json!({}));
    let jobs = reboots(&bench);
    assert_eq!(jobs, [["vm-1", "vm-2"].map(id)]);
    let mut begun = compiles(&effects);
    for _ in 0..5 {
        begun.extend(compiles(&bench.pass(1_000)));
    }
    assert_eq!(begun.len(), 1, "one machine at a time");
    // A second night while the first goes on waits for it.
    go(&mut bench, json!({}));
    assert_eq!(done(&bench)[0].result, "waits for its turn");
    assert_eq!(reboots(&bench), jobs);
}

#[test]
fn a_rule_forgets_a_member_with_the_right_and_policy_only() {
    let rules =
        "gone:\n  on: user/+/go\n  do:\n    - key: { delete: '{{event.id}}', ids: 'vm-?' }\n".to_owned();
    let mut bench = Bench::with(&["vm-1", "vm-2", "vm-30"]);
    bench.rules(&rules);
    let member = |bench: &Bench, name: &str| bench.master.minion(&id(name)).is_some();
    for (said, why) in [("vm-30", "none that this action is for"), ("vm-9", "no member")] {
        go(&mut bench, json!({"id": said}));
        assert!(done(&bench)[0].result.contains(why), "{:?}", done(&bench));
    }
    go(&mut bench, json!({"id": "vm-1,vm-2"}));
    assert!(["vm-1", "vm-2", "vm-30"].iter().all(|it| member(&bench, it)), "one id, never several");

    roles(
        &mut bench,
        "roles: { few: { allow: [{ functions: minion.remove, targets: 'vm-2' }] } }\nrules: { default: few }",
    );
    assert!(lacks(&mut bench).is_empty(), "it may on some machine");
    go(&mut bench, json!({"id": "vm-1"}));
    assert!(done(&bench)[0].result.contains("may not minion.remove on vm-1") && member(&bench, "vm-1"));
    let effects = go(&mut bench, json!({"id": "vm-2"}));
    assert!(!member(&bench, "vm-2") && member(&bench, "vm-1"));
    assert!(effects.iter().any(|it| matches!(it, Effect::Close { minion } if *minion == id("vm-2"))));
    let key = bench.master.book.keys.values().find(|it| it.minion == id("vm-2")).map(|it| it.status);
    assert_ne!(key, Some(KeyStatus::Accepted), "it does not come back by itself");
    bench.connect("vm-2");
    assert!(!member(&bench, "vm-2"));

    roles(&mut bench, "rules: { default: none }");
    assert_eq!(lacks(&mut bench).len(), 1);
    go(&mut bench, json!({"id": "vm-1"}));
    assert!(member(&bench, "vm-1"));
}

#[test]
fn labels_that_change_are_an_event_and_rules_that_answer_each_other_stop() {
    let rules = "\
on-web: { on: minion/+/labels, when: 'event.set.role = \"web\"', do: [ { label: { target: '{{minion}}', set: { role: db } } } ] }
on-db: { on: minion/+/labels, when: 'event.set.role = \"db\"', do: [ { label: { target: '{{minion}}', set: { role: web } } } ] }
";
    let mut bench = Bench::with(&["vm-1", "vm-2"]);
    let effects = label(&mut bench, "*", "site", "attic");
    assert_eq!(tags(&effects), ["minion/vm-1/labels", "minion/vm-2/labels"]);
    let data =
        json!({"minion": "vm-1", "set": {"site": "attic"}, "removed": [], "more": false, "by": "admin"});
    assert_eq!(events(&effects)[0].data, data);
    let again = label(&mut bench, "*", "site", "attic");
    assert!(tags(&again).is_empty(), "nothing has changed");
    let remove = vec!["site".to_owned(), "nothing".to_owned()];
    let effects = bench.ask(Request::Label { target: "vm-1".to_owned(), set: Labels::new(), remove });
    assert_eq!(events(&effects)[0].data["removed"], json!(["site"]));

    bench.rules(rules);
    let mut all: Vec<Event> = Vec::new();
    for effect in label(&mut bench, "vm-1", "role", "db") {
        if let Effect::Event(event) = effect {
            all.push(*event);
        }
    }
    for _ in 0..20 {
        all.extend(events(&bench.pass(1)).into_iter().cloned());
    }
    let labels: Vec<&Event> = all.iter().filter(|it| it.tag == "minion/vm-1/labels").collect();
    let hops: Vec<u32> = labels.iter().map(|it| it.hops).collect();
    assert_eq!(hops, (0..=lang::rules::HOPS_MAX).collect::<Vec<_>>(), "a loop is cut");
    assert_eq!(labels[1].cause, [labels[0].number]);
    assert_eq!(labels[1].data["by"], "rule:on-db");
}

#[test]
fn what_comes_while_the_action_before_a_wait_goes_on_is_heard_by_it() {
    let rules = rule(
        "    - run: { target: vm-1, command: [x] }\n    - wait_for: { job: last }\n    - wait_for: { event: user/+/ready, timeout: 1m }\n    - wait_for: { event: user/+/ready, timeout: 1m }\n    - event: { tag: over }\n",
    );
    let ready = || Request::SendEvent { tag: "ready".to_owned(), data: Map::new() };
    for crashes in [false, true] {
        let mut bench = lab(&rules);
        bench.ask(ready());
        go(&mut bench, json!({}));
        let job = job_of(&bench);
        // It comes while the job is waited for, before the wait for it has begun.
        bench.ask(ready());
        if crashes {
            crash(&mut bench, &rules);
            bench.back("vm-1", hello());
        }
        let effects = end_job(&mut bench, job, "vm-1", Terminal::Ok);
        assert!(end(&bench, 2).ok && end(&bench, 2).answer.contains("user/admin/ready"), "{crashes}");
        assert!(!tags(&effects).contains(&"rule/r/over"), "one event ends one wait");
        assert!(done(&bench)[3].end.is_none());
        let effects = bench.ask(ready());
        assert!(tags(&effects).contains(&"rule/r/over"), "{:?}", tags(&effects));
    }
    // What an action causes at once is heard as well.
    let rules = rule(
        "    - event: { tag: ping }\n    - wait_for: { event: rule/r/ping, timeout: 1m }\n    - run: { target: vm-1, command: [x] }\n    - wait_for: { event: job/accepted, timeout: 1m }\n    - event: { tag: over }\n",
    );
    let mut bench = lab(&rules);
    let effects = go(&mut bench, json!({}));
    assert!(tags(&effects).contains(&"rule/r/over"), "{:?}", done(&bench));
}

#[test]
fn what_led_to_a_job_of_a_rule_is_known_after_a_restart() {
    let rules = rule("    - run: { target: vm-1, command: [x] }\n");
    let ended = |effects: &[Effect]| {
        let event = events(effects).into_iter().find(|it| it.tag == "job/ended").cloned();
        event.unwrap_or_else(|| panic!("{:?}", tags(effects)))
    };
    let mut told = Vec::new();
    for crashes in [false, true] {
        let mut bench = lab(&rules);
        let effects = go(&mut bench, json!({}));
        let number = events(&effects)[0].number;
        let job = job_of(&bench);
        if crashes {
            crash(&mut bench, &rules);
            bench.back("vm-1", hello());
        }
        let event = ended(&end_job(&mut bench, job, "vm-1", Terminal::Ok));
        assert_eq!((event.hops, &event.cause), (1, &vec![number]));
        told.push(event.cause);
    }
    assert_eq!(told[0], told[1]);
}

#[test]
fn templates_of_actions_see_the_other_machines_also_when_something_failed() {
    let web = "{{#each (roster \"label:role=web and online\")}}{{id}}={{address}} {{/each}}";
    let rules = format!(
        "r:\n  on: user/+/go\n  do:\n    - event: {{ tag: web, data: {{ all: '{web}' }} }}\n    - run: {{ target: nobody, command: [x] }}\n  on_failure:\n    - event: {{ tag: bad, data: {{ all: '{web}' }} }}\n"
    );
    let mut bench = lab(&rules);
    let seen = |effects: &[Effect]| -> Vec<String> {
        let own = |it: &&Event| it.tag == "rule/r/web" || it.tag == "rule/r/bad";
        events(effects)
            .into_iter()
            .filter(own)
            .map(|it| it.data["all"].as_str().unwrap().to_owned())
            .collect()
    };
    label(&mut bench, "*", "role", "web");
    let both = "vm-1=10.0.0.1 vm-2=10.0.0.1 ";
    assert_eq!(seen(&go(&mut bench, json!({}))), [both, both]);
    bench.disconnect("vm-2");
    assert_eq!(seen(&go(&mut bench, json!({}))), ["vm-1=10.0.0.1 "; 2]);
    let event = Event {
        number: 1,
        tag: "user/admin/go".to_owned(),
        source: model::Source::Master,
        at: bench.now,
        data: json!({}),
        hops: 0,
        cause: Vec::new(),
    };
    let effects = bench.ask(Request::ExplainRules { rule: Some("r".to_owned()), event });
    let Some(Reply::Explained(told)) = reply(&effects) else { panic!("{effects:?}") };
    assert!(told[0].verdict.fired, "{told:?}");
}
