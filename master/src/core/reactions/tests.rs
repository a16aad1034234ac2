//! Every action, and reactions that wait, queue, fail, and go on after a crash.

use super::{
    outbox::{DELIVERED_MAX, OUTGOING_MAX, TRIES_MAX},
    reaction::QUEUED_MAX,
};
use crate::core::{Called, test_kit::*, *};
use bus::message::{FromMinion, ToMinion};
use lang::notifiers::Notifiers;
use model::{
    ActionEnd, Ask, Caller, Decision, DecisionAction, JobId, KeyStatus, Labels, Reply, Request, Terminal,
};
use serde_json::{Map, json};

const NOTIFY: &str = "\
notifiers:
  phone: { type: ntfy, url: 'https://ntfy.test', topic: lab, token: tk_canary }
  log: { type: mqtt }
  night: { type: slack, url: 'https://slack.test/canary', quiet_hours: { from: '00:00', to: '23:59' } }
  never: { type: slack, url: 'https://slack.test/x', quiet_hours: { from: '00:00', to: '23:59', held: drop } }
  slow: { type: webhook, url: 'https://hook.test/x', rate: 2 per 1m }
power:
  plug: { type: http, for: vm-1, on: 'http://plug.test/on', off: 'http://plug.test/off' }
  relay: { type: mqtt }
endpoints:
  desk: { url: 'https://desk.test/api', headers: { X-Key: canary-key } }
";

fn notifiers() -> Arc<Notifiers> {
    let read = |_: &str| Err("no files here".to_owned());
    let parsed = Notifiers::parse("notify.yaml", NOTIFY, &read);
    Arc::new(parsed.value.unwrap_or_else(|| panic!("{:?}", parsed.diagnostics)))
}

/// Two minions, these rules, and services to call.
fn lab(rules: &str) -> Bench {
    let mut bench = Bench::with(&["vm-1", "vm-2"]);
    bench.rules(rules);
    bench.step(Input::Notifiers(notifiers()));
    bench
}

/// The process dies, and comes back with the same files.
fn crash(bench: &mut Bench, rules: &str) -> Vec<Effect> {
    bench.lazy.clear();
    bench.master = Master::restore(settings(), bench.now, bench.disk.clone());
    bench.master.use_notifiers(notifiers());
    let mut effects = bench.step(Input::Tick);
    effects.extend(bench.step(Input::Sources { revision: revision(), rules: parsed(rules) }));
    effects
}

fn parsed(rules: &str) -> lang::rules::Rules {
    let tree = lang::Tree::of_texts([("reactors/test.yaml", rules)]);
    let loaded = lang::rules::Rules::load(&tree);
    loaded.value.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics))
}

fn rule(actions: &str) -> String {
    format!("r:\n  on: user/+/go\n  do:\n{actions}")
}

#[expect(clippy::needless_pass_by_value, reason = "it is called with what `json!` makes")]
fn go(bench: &mut Bench, data: serde_json::Value) -> Vec<Effect> {
    let data: Map<String, serde_json::Value> = data.as_object().unwrap().clone();
    bench.ask(Request::SendEvent { tag: "go".to_owned(), data })
}

/// The newest record of the decision about the n-th event that was sent, as it is on disk.
fn decisions(bench: &Bench) -> Vec<Decision> {
    let mut found: BTreeMap<u64, Decision> = BTreeMap::new();
    for entry in &bench.disk {
        if let Entry::Decision(it) = entry {
            found.insert(it.event, it.clone());
        }
    }
    found.into_values().filter(|it| it.tag == "user/admin/go").collect()
}

fn done(bench: &Bench) -> Vec<DecisionAction> {
    decisions(bench).pop().unwrap().verdicts.remove(0).actions
}

fn end(bench: &Bench, index: usize) -> ActionEnd {
    let done = done(bench);
    done[index].end.clone().unwrap_or_else(|| panic!("{done:?}"))
}

fn calls(effects: &[Effect]) -> Vec<(String, String)> {
    let call = |it: &Effect| match it {
        Effect::Call { id, call } => Some((id.clone(), format!("{} {}", call.method, call.origin()))),
        _ => None,
    };
    effects.iter().filter_map(call).collect()
}

/// What goes out on our own bus: id, topic, payload.
fn told(effects: &[Effect]) -> Vec<(String, String, String)> {
    let tell = |it: &Effect| match it {
        Effect::Tell { id, topic, payload } => Some((id.clone(), topic.clone(), payload.clone())),
        _ => None,
    };
    effects.iter().filter_map(tell).collect()
}

fn answer(bench: &mut Bench, id: &str, good: bool, again: bool) -> Vec<Effect> {
    let answer = if good { "200" } else { "503 busy" }.to_owned();
    bench.step(Input::Called {
        id: id.to_owned(),
        called: Called { good, again, answer, retry_after_ms: None },
    })
}

fn job_of(bench: &Bench) -> JobId {
    done(bench).iter().find_map(|it| it.job).unwrap()
}

fn end_job(bench: &mut Bench, job: JobId, name: &str, word: Terminal) -> Vec<Effect> {
    bench.compiled(job.0, name);
    bench.say(name, result(job, word))
}

#[test]
fn a_job_ends_up_in_the_record_of_the_decision_also_after_a_crash() {
    let rules = rule(
        "    - plan: { target: vm-1, pillar: { a: 1 } }\n    - run: { target: vm-2, command: [x], timeout: 5s }\n",
    );
    let mut bench = lab(&rules);
    go(&mut bench, json!({}));
    let jobs: Vec<JobId> = done(&bench).iter().filter_map(|it| it.job).collect();
    assert!(bench.job(jobs[0].0).kind.is_check());
    assert!(matches!(bench.job(jobs[1].0).kind, model::JobKind::Run { timeout_ms: 5_000, .. }));
    assert!(done(&bench).iter().all(|it| it.end.is_none()));
    bench.pass(1_500);
    end_job(&mut bench, jobs[0], "vm-1", Terminal::Changed);
    let ended = end(&bench, 0);
    assert!(ended.ok && ended.words == [("changed".to_owned(), 1)].into() && ended.duration_ms >= 1_500);
    crash(&mut bench, &rules);
    bench.back("vm-2", hello());
    end_job(&mut bench, jobs[1], "vm-2", Terminal::Failed);
    assert!(!end(&bench, 1).ok && end(&bench, 0).ok, "the other action's end is still there");
    assert!(bench.master.reactions.open.is_empty(), "it is over");
    let kept = |it: &&Entry| matches!(it, Entry::Kept { part: Part::Reaction, .. });
    let last = bench.disk.iter().rfind(kept);
    assert!(matches!(last, Some(Entry::Kept { data: None, .. })), "nothing is kept of it");
}

#[test]
fn labels_keys_and_wake_do_what_operators_do_within_what_the_rule_says() {
    let mut bench = lab(&rule(
        "    - label: { target: '{{event.host}}', set: { role: '{{event.role}}' }, remove: [old] }\n",
    ));
    go(&mut bench, json!({"host": "vm-1", "role": "web"}));
    let labels = |bench: &Bench, id: &str| bench.master.minion(&test_kit::id(id)).unwrap().labels.clone();
    assert_eq!(labels(&bench, "vm-1")["role"], "web");
    go(&mut bench, json!({"host": "vm-1,vm-2", "role": "a\nb"}));
    assert!(done(&bench)[0].result.contains("control characters"));
    assert_eq!(labels(&bench, "vm-2"), Labels::from([("role".to_owned(), "web".to_owned())]), "as it was");

    let accept =
        "    - key: { accept: '{{event.host}}', ids: 'web-*', cidr: [10.0.0.0/8], only_new: true }\n";
    for (name, address, accepted) in
        [("web-1", "10.0.0.9", true), ("db-1", "10.0.0.9", false), ("web-2", "192.168.0.9", false)]
    {
        let mut bench = lab(&rule(accept));
        bench.enroll_from(9, enroll_request(name), Err(TokenFault::Absent), address);
        go(&mut bench, json!({"host": name}));
        assert_eq!(bench.master.minion(&id(name)).is_some(), accepted, "{name}: {:?}", done(&bench));
    }
    let mut bench = lab(&rule(accept));
    for key in [9, 10] {
        bench.enroll_from(key, enroll_request("web-1"), Err(TokenFault::Absent), "10.0.0.9");
        if key == 9 {
            bench.ask(Request::DecideKey {
                key: "web-1".to_owned(),
                fingerprint: None,
                decision: model::KeyDecision::Reject,
            });
        }
    }
    go(&mut bench, json!({"host": "web-1"}));
    assert!(done(&bench)[0].result.contains("none that this action is for"), "the name is not new");
    assert!(bench.master.keys().all(|it| it.status != KeyStatus::Accepted || it.minion != id("web-1")));

    let mut bench =
        lab(&rule("    - wake: { target: vm-1, via: vm-2 }\n    - wake: { mac: 52:54:00:12:34:56 }\n"));
    let effects = go(&mut bench, json!({}));
    assert!(done(&bench)[0].result.contains("no address of a network card"));
    assert!(effects.iter().any(|it| matches!(it, Effect::Wake { macs } if macs[0] == "52:54:00:12:34:56")));
    let mut told = hello();
    told.can.push("wake".to_owned());
    told.grains = json!({"hwaddr_interfaces": {"lo": "00:00:00:00:00:00", "eth0": "52:54:00:AB:00:01"}})
        .as_object()
        .cloned();
    told.grains_hash = model::ContentHash([3; 32]);
    bench.back("vm-1", told.clone());
    let effects = go(&mut bench, json!({}));
    let said = done(&bench)[0].result.clone();
    assert!(said.contains("cannot wake others"), "the release of vm-2 is older: {said}");
    assert!(sent(&effects).is_empty());
    bench.back("vm-2", told);
    let effects = go(&mut bench, json!({}));
    let asked = |it: &&ToMinion| matches!(it, ToMinion::Probe { ask: Ask::Wake { macs }, .. } if macs == &["52:54:00:ab:00:01"]);
    assert!(sent(&effects).iter().any(asked), "{effects:?}");
    let probe =
        Request::Probe { target: "vm-1".to_owned(), ask: Ask::Wake { macs: Vec::new() }, timeout_ms: 1_000 };
    assert!(refusal(&bench.ask(probe)).is_some(), "who may ask may not wake");
}

#[test]
fn a_notice_is_on_disk_before_it_goes_out_and_is_tried_until_it_is_through() {
    let rules = rule("    - notify: { to: [phone, log], message: 'hello {{event.who}}' }\n");
    let mut bench = lab(&rules);
    let effects = go(&mut bench, json!({"who": "you"}));
    let kept = effects.iter().position(
        |it| matches!(it, Effect::Record(it) if matches!(**it, Entry::Kept { part: Part::Outgoing, .. })),
    );
    let sent = effects.iter().position(|it| matches!(it, Effect::Call { .. }));
    assert!(kept.unwrap() < sent.unwrap(), "records come first");
    let (tell, topic, payload) = told(&effects).remove(0);
    assert!(topic == "lab/notify/log" && payload.contains("hello you"), "{topic} {payload}");
    answer(&mut bench, &tell, true, false);
    let (call, what) = calls(&effects).remove(0);
    assert_eq!(what, "POST https://ntfy.test");
    assert!(calls(&answer(&mut bench, &call, false, true)).is_empty(), "not at once");
    let again = calls(&bench.pass(1_300));
    assert_eq!(again[0].0, call, "the same call");
    // The master dies while the call is out: it goes out again, under the same id.
    let mut again = calls(&crash(&mut bench, &rules));
    again.extend(calls(&bench.pass(5_000)));
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].0, call);
    answer(&mut bench, &call, true, false);
    let ended = end(&bench, 0);
    assert!(ended.ok && ended.answer == "200" && ended.attempts >= 2, "{ended:?}");
    assert!(end(&bench, 1).ok);
    assert!(calls(&bench.pass(86_400_000)).is_empty());
    assert!(answer(&mut bench, &call, true, false).iter().all(|it| !matches!(it, Effect::Record(_))));
    assert_eq!(bench.counted("answer to a call that nobody made"), 1);
    for text in [format!("{:?}", bench.disk), format!("{effects:?}")] {
        assert!(!text.contains("canary"), "no secret is kept or printed");
    }
}

#[test]
fn what_a_service_refuses_is_given_up_at_once_and_all_else_after_so_many_tries() {
    let mut bench = lab(&rule("    - http: { to: desk, url: /tickets, json: { a: 1 } }\n"));
    let (call, what) = calls(&go(&mut bench, json!({}))).remove(0);
    assert_eq!(what, "POST https://desk.test");
    let effects = answer(&mut bench, &call, false, false);
    assert!(tags(&effects).contains(&"rule/r/failed"));
    assert!(end(&bench, 0).answer.contains("given up after 1 tries"));

    let (call, _) = calls(&go(&mut bench, json!({}))).remove(0);
    let mut tries = 1;
    answer(&mut bench, &call, false, true);
    while let Some((again, _)) = calls(&bench.pass(20 * 60_000)).pop() {
        assert_eq!(again, call);
        tries += 1;
        answer(&mut bench, &call, false, true);
    }
    assert_eq!(tries, TRIES_MAX);
    assert_eq!(end(&bench, 0).attempts, TRIES_MAX);

    let (call, _) = calls(&go(&mut bench, json!({}))).remove(0);
    let called =
        Called { good: false, again: true, answer: "429".to_owned(), retry_after_ms: Some(86_400_000_000) };
    bench.step(Input::Called { id: call, called });
    assert!(calls(&bench.pass(3_599_000)).is_empty());
    assert_eq!(calls(&bench.pass(2_000)).len(), 1, "an hour is the longest that a service can ask for");
}

#[test]
fn quiet_hours_rates_and_names_are_kept_to() {
    let mut bench = lab(&rule(
        "    - notify: { to: night, message: a, priority: '{{event.p}}' }\n    - notify: { to: never, message: a }\n",
    ));
    assert!(calls(&go(&mut bench, json!({"p": "normal"}))).is_empty(), "it is quiet");
    assert!(end(&bench, 1).answer.contains("quiet hours"), "dropped");
    assert_eq!(calls(&go(&mut bench, json!({"p": "urgent"}))).len(), 1, "what is urgent is not held");
    let later = calls(&bench.pass(36_741_000));
    assert_eq!(later.len(), 1, "what was held is delivered when they are over");

    let mut bench = lab(&rule("    - notify: { to: slow, message: a }\n"));
    for wanted in [1, 1, 0, 0] {
        let out = calls(&go(&mut bench, json!({})));
        assert_eq!(out.len(), wanted);
        for call in &out {
            answer(&mut bench, &call.0, true, false);
        }
    }
    assert!(calls(&bench.pass(59_000)).is_empty());
    assert_eq!(calls(&bench.pass(1_001)).len(), 2);

    let mut bench = lab(&rule("    - notify: { to: nobody, message: a }\n    - event: { tag: next }\n"));
    let effects = go(&mut bench, json!({}));
    assert!(done(&bench)[0].result.contains("no notifier `nobody`"));
    assert!(tags(&effects).contains(&"rule/r/next"), "what follows is done all the same");
}

#[test]
fn the_queue_of_calls_is_bounded_and_what_is_dropped_is_seen() {
    let mut bench = lab(&rule("    - notify: { to: night, message: a }\n"));
    for _ in 0..=OUTGOING_MAX {
        go(&mut bench, json!({}));
    }
    assert_eq!(bench.master.outbox.waiting.len(), OUTGOING_MAX);
    let oldest = decisions(&bench).remove(0).verdicts.remove(0).actions.remove(0);
    assert!(oldest.end.unwrap().answer.contains("dropped"));
    let Some(Reply::Rules(rules)) = reply(&bench.ask(Request::Rules)).cloned() else { panic!() };
    assert_eq!(rules[0].dropped, 1);
    assert!(bench.disk.iter().any(|it| matches!(it, Entry::Event(it) if it.tag == "rule/r/dropped")));
    let kept = bench.master.book.kept_of(Part::Outgoing).count();
    assert!(kept <= OUTGOING_MAX + DELIVERED_MAX);
}

#[test]
fn on_failure_is_done_once_whatever_goes_wrong() {
    let failing = "  on_failure:\n    - event: { tag: bad, data: { why: '{{failure.reason}}', job: '{{failure.job}}' } }\n    - event: { tag: also }\n";
    let bad = |bench: &Bench| {
        let is = |it: &&Entry| matches!(it, Entry::Event(it) if it.tag == "rule/r/bad");
        bench.disk.iter().filter(is).count()
    };
    // A job that ends badly, twice.
    let two = "    - run: { target: vm-1, command: [x] }\n    - run: { target: vm-2, command: [x] }\n";
    let mut bench = lab(&format!("{}{failing}", rule(two)));
    go(&mut bench, json!({}));
    let jobs: Vec<JobId> = done(&bench).iter().filter_map(|it| it.job).collect();
    assert_eq!(bad(&bench), 0);
    end_job(&mut bench, jobs[0], "vm-1", Terminal::Failed);
    end_job(&mut bench, jobs[1], "vm-2", Terminal::Failed);
    assert_eq!(bad(&bench), 1);
    let event = bench.disk.iter().find_map(|it| match it {
        Entry::Event(it) if it.tag == "rule/r/bad" => Some(it.data.clone()),
        _ => None,
    });
    let event = event.unwrap();
    assert!(
        event["why"].as_str().unwrap().contains("1 failed (vm-1)") && event["job"] == jobs[0].to_string()
    );
    // An action that is refused; a wait that is not met; a call that is given up.
    let mut bench = lab(&format!("{}{failing}", rule("    - run: { target: vm-9, command: [x] }\n")));
    go(&mut bench, json!({}));
    assert_eq!((bad(&bench), done(&bench).len()), (1, 3));
    let wait = "    - wait_for: { event: user/+/never, timeout: 10s }\n    - event: { tag: next }\n";
    let mut bench = lab(&format!("{}{failing}", rule(wait)));
    go(&mut bench, json!({}));
    bench.pass(9_000);
    assert_eq!(bad(&bench), 0);
    let effects = bench.pass(2_000);
    assert!(tags(&effects).contains(&"rule/r/bad") && !tags(&effects).contains(&"rule/r/next"));
    let mut bench = lab(&format!("{}{failing}", rule("    - notify: { to: phone, message: a }\n")));
    let (call, _) = calls(&go(&mut bench, json!({}))).remove(0);
    answer(&mut bench, &call, false, false);
    assert_eq!(bad(&bench), 1);
    // After a crash, too, and still once.
    let rules = format!("{}{failing}", rule("    - run: { target: vm-1, command: [x] }\n"));
    let mut bench = lab(&rules);
    go(&mut bench, json!({}));
    let job = job_of(&bench);
    crash(&mut bench, &rules);
    bench.back("vm-1", hello());
    end_job(&mut bench, job, "vm-1", Terminal::Failed);
    crash(&mut bench, &rules);
    assert_eq!(bad(&bench), 1);
}

#[test]
fn a_wait_ends_with_its_event_with_presence_with_the_job_and_goes_on_after_a_crash() {
    let next = "    - event: { tag: next }\n";
    let said = |effects: &[Effect]| tags(effects).contains(&"rule/r/next");
    let with = |wait: &str| rule(&format!("{wait}{next}"));
    let event = |bench: &mut Bench, tag: &str, n: u64| {
        let data = json!({"n": n}).as_object().unwrap().clone();
        bench.ask(Request::SendEvent { tag: tag.to_owned(), data })
    };
    let rules = with("    - wait_for: { event: 'user/+/{{event.what}}', when: event.n > 1, timeout: 5m }\n");
    let mut bench = lab(&rules);
    assert!(!said(&go(&mut bench, json!({"what": "done"}))));
    assert!(!said(&event(&mut bench, "done", 1)) && !said(&event(&mut bench, "other", 2)));
    crash(&mut bench, &rules);
    assert!(said(&event(&mut bench, "done", 2)));
    assert!(end(&bench, 0).ok && end(&bench, 0).answer.contains("user/admin/done"));
    assert!(!said(&event(&mut bench, "done", 2)), "once");

    let mut bench = lab(&with("    - wait_for: { minion: vm-1, presence: up, timeout: 5m }\n"));
    assert!(said(&go(&mut bench, json!({}))), "it is up");
    let mut bench = lab(&with("    - wait_for: { minion: vm-1, presence: down, timeout: 5m }\n"));
    assert!(!said(&go(&mut bench, json!({}))));
    assert!(said(&bench.say("vm-1", FromMinion::Goodbye { reason: "shutdown".to_owned() })));

    let rules =
        with("    - run: { target: vm-1, command: [x] }\n    - wait_for: { job: last, timeout: 5m }\n");
    for (word, goes_on) in [(Terminal::Ok, true), (Terminal::Failed, false)] {
        let mut bench = lab(&rules);
        assert!(!said(&go(&mut bench, json!({}))));
        let job = job_of(&bench);
        assert_eq!(said(&end_job(&mut bench, job, "vm-1", word)), goes_on);
        assert_eq!(end(&bench, 1).ok, goes_on);
    }
    let mut bench = lab(&with("    - wait_for: { job: last }\n"));
    assert!(!said(&go(&mut bench, json!({}))) && done(&bench)[0].result.contains("no job"));
}

#[test]
fn power_is_switched_and_presence_waited_for() {
    let action = |set: &str, by: &str| {
        rule(&format!(
            "    - power: {{ target: vm-1, set: {set}, by: {by}, wait: 3m }}\n    - event: {{ tag: next }}\n"
        ))
    };
    let said = |effects: &[Effect]| tags(effects).contains(&"rule/r/next");
    let mut bench = lab(&action("off", "relay"));
    let effects = go(&mut bench, json!({}));
    let (tell, topic, payload) = told(&effects).remove(0);
    assert_eq!((topic.as_str(), payload.as_str()), ("lab/power/relay", "OFF"));
    answer(&mut bench, &tell, true, false);
    assert!(said(&bench.say("vm-1", FromMinion::Goodbye { reason: "shutdown".to_owned() })));

    let mut bench = lab(&action("cycle", "plug"));
    let (off, _) = calls(&go(&mut bench, json!({}))).remove(0);
    assert!(calls(&bench.pass(10)).is_empty(), "not on before it is off");
    answer(&mut bench, &off, true, false);
    let on = calls(&bench.pass(5_001)).remove(0);
    assert_ne!(on.0, off);
    assert!(!said(&answer(&mut bench, &on.0, true, false)), "it is up, but has not been away");
    let mut anew = hello();
    anew.boot = "boot-2".to_owned();
    assert!(said(&bench.back("vm-1", anew)));

    let mut bench = lab(&action("on", "plug"));
    let (call, _) = calls(&go(&mut bench, json!({}))).remove(0);
    for _ in 0..10 {
        answer(&mut bench, &call, false, true);
        bench.pass(30_000);
    }
    assert!(end(&bench, 0).answer.contains("given up"), "what was to be switched is not switched much later");
}

#[test]
fn concurrency_queues_whole_reactions_in_order_and_drops_the_oldest_in_sight() {
    let rules = "r:\n  on: minion/+/event/go\n  concurrency: 1 per minion\n  do:\n    - run: { target: '{{minion}}', command: [x, '{{event.n}}'] }\n";
    let mut bench = lab(rules);
    let fire = |bench: &mut Bench, minion: &str, n: usize| {
        let tag = format!("minion/{minion}/event/go");
        bench.master.emit_as(tag, model::Source::Minion(id(minion)), json!({ "n": n }), 0, None);
        bench.step(Input::Tick)
    };
    let started = |effects: &[Effect]| {
        let of = |it: &&Entry| matches!(it, Entry::Job(it) if it.ended.is_none());
        let jobs: Vec<String> = records(effects).into_iter().filter(of).map(|it| format!("{it:?}")).collect();
        jobs
    };
    assert_eq!(started(&fire(&mut bench, "vm-1", 1)).len(), 1);
    assert_eq!(started(&fire(&mut bench, "vm-1", 2)).len(), 0, "one at a time");
    assert_eq!(started(&fire(&mut bench, "vm-1", 3)).len(), 0);
    assert_eq!(started(&fire(&mut bench, "vm-2", 1)).len(), 1, "for each minion");
    crash(&mut bench, rules);
    let mut order = Vec::new();
    bench.back("vm-1", hello());
    for _ in 0..3 {
        let job = *bench.master.book.open_of[&id("vm-1")].first().unwrap();
        let model::JobKind::Run { command, .. } = bench.job(job.0).kind else { panic!() };
        order.push(command[1].clone());
        end_job(&mut bench, job, "vm-1", Terminal::Ok);
    }
    assert_eq!(order, ["1", "2", "3"], "also over a restart");
    for n in 0..QUEUED_MAX + 3 {
        fire(&mut bench, "vm-1", n);
    }
    let Some(Reply::Rules(rules)) = reply(&bench.ask(Request::Rules)).cloned() else { panic!() };
    assert_eq!(rules[0].dropped, 2);
    assert!(bench.disk.iter().any(|it| matches!(it, Entry::Event(it) if it.tag == "rule/r/dropped")));
}

#[test]
fn each_action_needs_the_right_of_its_rule() {
    let all = "    - label: { target: vm-1, set: { a: b } }\n    - notify: { to: phone, message: a }\n    - http: { url: 'https://x.test/' }\n    - power: { target: vm-1, set: on, by: plug }\n    - wake: { mac: 52:54:00:12:34:56 }\n    - plan: { target: vm-1 }\n";
    let mut bench = lab(&rule(all));
    let roles = lang::roles::Roles::parse(
        "roles.yaml",
        "roles:\n  little: { allow: [ { functions: event.send } ] }\nrules: { names: { r: little } }\n",
    );
    bench.step(Input::Roles(Arc::new(roles.value.unwrap())));
    let effects = go(&mut bench, json!({}));
    let done = done(&bench);
    assert_eq!(done.len(), 6);
    assert!(done.iter().all(|it| it.result.contains("role little may not")), "{done:?}");
    assert!(calls(&effects).is_empty() && !effects.iter().any(|it| matches!(it, Effect::Wake { .. })));
    let roles = "roles:\n  some: { allow: [ { functions: [target.power, target.label], targets: vm-1 } ] }\nrules: { names: { r: some } }\n";
    let roles = lang::roles::Roles::parse("roles.yaml", roles);
    bench.step(Input::Roles(Arc::new(roles.value.unwrap())));
    assert_eq!(calls(&go(&mut bench, json!({}))).len(), 1, "on this machine only");
}

#[test]
fn people_see_who_can_be_told_and_try_it() {
    let mut bench = lab(&rule("    - event: { tag: x }\n"));
    let Some(Reply::Notifiers(views)) = reply(&bench.ask(Request::Notifiers)).cloned() else { panic!() };
    let names: Vec<&str> = views.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["log", "never", "night", "phone", "slow", "plug", "relay", "desk"]);
    assert!(!serde_json::to_string(&views).unwrap().contains("canary"));
    let test = |name: &str| Request::TestNotifier { name: name.to_owned() };
    let effects = bench.ask(test("phone"));
    assert!(effects.iter().any(|it| matches!(it, Effect::TestCall { .. })));
    let effects = bench.ask(test("log"));
    assert!(
        effects.iter().any(|it| matches!(it, Effect::TestTell { topic, .. } if topic == "lab/notify/log"))
    );
    assert!(refusal(&bench.ask(test("nobody"))).is_some());
    let stranger = Caller::new("eve", "test", "viewer");
    for request in [test("phone"), Request::Notifiers, Request::Wake { target: "vm-1".to_owned(), via: None }]
    {
        assert!(refusal(&bench.ask_as(stranger.clone(), request)).is_some());
    }
}

mod order;
mod reach;
mod rights;
