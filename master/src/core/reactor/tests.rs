//! Rules against events, and boots that stay due.

use crate::core::{test_kit::*, *};
use bus::message::{FromMinion, Hello};
use model::{Decision, Diagnostic, JobId, MaintenanceAct, Request, Terminal};
use serde_json::{Map, json};

const CONFIGURE: &str = "configure:\n  on: minion/+/start\n  once_per: boot\n  do:\n    - apply: { target: \"{{minion}}\", states: [] }\n";

fn rules(text: &str) -> lang::rules::Rules {
    let tree = lang::Tree::of_texts([("reactors/rules.yaml", text)]);
    let loaded = lang::rules::Rules::load(&tree);
    loaded.value.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics))
}

fn sources(bench: &mut Bench, text: &str) -> Vec<Effect> {
    bench.step(Input::Sources { revision: revision(), rules: rules(text) })
}

fn decisions(effects: &[Effect]) -> Vec<&Decision> {
    let all = records(effects).into_iter().filter_map(|it| match it {
        Entry::Decision(decision) => Some(decision),
        _ => None,
    });
    all.collect()
}

/// A member that has not said hello, with the rule in use.
fn configured(text: &str) -> Bench {
    let mut bench = Bench::new();
    sources(&mut bench, text);
    bench.enroll(1, "vm-1", Ok(terms()));
    bench
}

fn job_of(effects: &[Effect]) -> JobId {
    decisions(effects)
        .iter()
        .flat_map(|it| &it.verdicts)
        .flat_map(|it| &it.actions)
        .find_map(|it| it.job)
        .unwrap()
}

fn run(bench: &mut Bench, job: JobId, word: Terminal) -> Vec<Effect> {
    bench.compiled(job.0, "vm-1");
    bench.say("vm-1", result(job, word))
}

#[test]
fn a_new_machine_is_configured_once_per_boot() {
    let mut bench = configured(CONFIGURE);
    let effects = bench.back("vm-1", hello());
    assert_eq!(compiles(&effects), [id("vm-1")]);
    let decision = decisions(&effects)[0];
    assert!(decision.tag == "minion/vm-1/start" && decision.verdicts[0].fired, "{decision:?}");
    let job = job_of(&effects);
    assert_eq!(bench.job(job.0).caller.name, "rule:configure");
    // A reconnect meanwhile starts nothing more.
    bench.disconnect("vm-1");
    let effects = bench.back("vm-1", hello());
    assert!(decisions(&effects).is_empty());
    let effects = run(&mut bench, job, Terminal::Changed);
    let minion = records(&effects).into_iter().any(|it| {
        matches!(it, Entry::Minion(minion) if minion.configured_boots.get("configure").is_some_and(|it| it == "boot-1"))
    });
    assert!(minion, "in the same transaction as the end of the job");
    bench.crash();
    sources(&mut bench, CONFIGURE);
    assert!(decisions(&bench.back("vm-1", hello())).is_empty());
    let effects = bench.back("vm-1", Hello { boot: "boot-2".to_owned(), ..hello() });
    assert_ne!(job_of(&effects), job);
}

#[test]
fn a_boot_that_could_not_be_configured_stays_due() {
    let mut bench = configured(CONFIGURE);
    let job = job_of(&bench.back("vm-1", hello()));
    run(&mut bench, job, Terminal::Failed);
    assert!(decisions(&bench.pass(crate::core::due::RETRY_MS[0] - 1)).is_empty());
    bench.say("vm-1", FromMinion::Heartbeat { running: None });
    let effects = bench.pass(1);
    let second = job_of(&effects);
    assert!(second != job && decisions(&effects)[0].verdicts[0].reason.starts_with("due again"));
    // A restart in the middle of the second attempt goes on with it, and then with the third.
    bench.crash();
    sources(&mut bench, CONFIGURE);
    assert!(decisions(&bench.back("vm-1", hello())).is_empty(), "one is under way");
    run(&mut bench, second, Terminal::Failed);
    bench.disconnect("vm-1");
    bench.pass(crate::core::due::RETRY_MS[1]);
    let effects = bench.back("vm-1", hello());
    let third = job_of(&effects);
    assert!(third != second && third != job);
    run(&mut bench, third, Terminal::Ok);
    assert!(bench.master.minion(&id("vm-1")).unwrap().configured_boots.contains_key("configure"));
}

#[test]
fn attempts_are_bounded_until_the_trees_change() {
    let mut bench = configured(CONFIGURE);
    let mut next = Some(job_of(&bench.back("vm-1", hello())));
    let mut attempts = 0;
    while let Some(job) = next {
        attempts += 1;
        run(&mut bench, job, Terminal::Failed);
        bench.disconnect("vm-1");
        bench.pass(3_600_000);
        let effects = bench.back("vm-1", hello());
        next = decisions(&effects).first().and_then(|it| it.verdicts[0].actions.first()?.job);
        assert!(attempts < 100);
    }
    assert_eq!(attempts, crate::core::due::ATTEMPTS_MAX);
    assert!(!decisions(&sources(&mut bench, CONFIGURE)).is_empty());
}

#[test]
fn a_rule_that_comes_later_finds_the_boots_that_are_due() {
    let mut bench = Bench::with(&["vm-1"]);
    let effects = sources(&mut bench, CONFIGURE);
    assert_eq!(compiles(&effects), [id("vm-1")]);
}

#[test]
fn a_boot_while_the_store_was_full_is_due_when_there_is_room() {
    let mut bench = configured(CONFIGURE);
    bench.step(Input::StoreHealth(Some("no space left".to_owned())));
    assert!(decisions(&bench.back("vm-1", hello())).is_empty());
    let effects = bench.step(Input::StoreHealth(None));
    assert_eq!(compiles(&effects), [id("vm-1")]);
    assert!(decisions(&effects)[0].verdicts[0].fired);
}

#[test]
fn the_same_event_after_a_crash_starts_no_second_job() {
    let text = "go:\n  on: minion/+/event/deployed\n  do:\n    - run: { target: \"{{minion}}\", command: [\"true\"] }\n";
    let mut bench = configured(text);
    bench.back("vm-1", hello());
    let event = || FromMinion::Event { number: 1, tag: "event/deployed".to_owned(), data: json!({}), gap: 0 };
    let effects = bench.say("vm-1", event());
    let job = job_of(&effects);
    // As if the cursor had been lost: the job's id tells.
    bench.disk.retain(|it| !matches!(it, Entry::EventsTaken(..)));
    bench.crash();
    sources(&mut bench, text);
    bench.back("vm-1", hello());
    let effects = bench.say("vm-1", event());
    assert_eq!(job_of(&effects), job);
    assert!(!records(&effects).iter().any(|it| matches!(it, Entry::Job(_))), "{effects:?}");
}

#[test]
fn event_data_cannot_widen_a_target() {
    let text = "go:\n  on: user/+/go\n  do:\n    - run: { target: \"{{event.who}}\", command: [\"true\"] }\n";
    let mut bench = configured(text);
    bench.enroll(2, "vm-2", Ok(terms()));
    bench.back("vm-1", hello());
    bench.back("vm-2", hello());
    for (who, count) in [("vm-1", 1), ("vm-*", 0), ("*", 0), ("vm-1 or vm-2", 0), ("nobody", 0)] {
        let mut data = Map::new();
        data.insert("who".to_owned(), json!(who));
        let effects = bench.ask(Request::SendEvent { tag: "go".to_owned(), data });
        let widened = compiles(&effects).len();
        assert!(widened <= 2 && (widened == count || who == "vm-1 or vm-2"), "{who}: {effects:?}");
        if count == 0 && who != "vm-1 or vm-2" {
            assert!(tags(&effects).contains(&"rule/go/failed"), "{who}: {:?}", tags(&effects));
        }
    }
}

#[test]
fn a_loop_of_events_is_cut() {
    let text = "a:\n  on: rule/b/+\n  do:\n    - event: { tag: x, data: {} }\nb:\n  on: rule/a/+\n  do:\n    - event: { tag: x, data: {} }\nstart:\n  on: user/+/go\n  do:\n    - event: { tag: x, data: {} }\nc:\n  on: rule/start/x\n  do:\n    - event: { tag: x, data: {} }\nd:\n  on: rule/c/x\n  do:\n    - event: { tag: x, data: {} }\ne:\n  on: rule/d/x\n  do:\n    - event: { tag: x, data: {} }\n";
    let text = text.replace("rule/b/+", "rule/+/x");
    let mut bench = configured(&text);
    let effects = bench.ask(Request::SendEvent { tag: "go".to_owned(), data: Map::new() });
    let cut = decisions(&effects).iter().flat_map(|it| &it.verdicts).any(|it| it.reason.contains("loop"));
    assert!(cut && effects.len() < 20_000, "{}", effects.len());
}

#[test]
fn a_boot_whose_job_ends_behind_a_restart_is_configured_once() {
    for full in [false, true] {
        let mut bench = configured(CONFIGURE);
        let job = job_of(&bench.back("vm-1", hello()));
        bench.compiled(job.0, "vm-1");
        bench.say("vm-1", FromMinion::Received { job });
        let here = Hello { unacknowledged: vec![job], first_of_boot: false, ..hello() };
        bench.crash();
        sources(&mut bench, CONFIGURE);
        if full {
            bench.step(Input::StoreHealth(Some("no space left".to_owned())));
        }
        let effects = bench.back("vm-1", here.clone());
        assert!(decisions(&effects).is_empty(), "{effects:?}");
        bench.say("vm-1", result(job, Terminal::Changed));
        bench.step(Input::StoreHealth(None));
        bench.say("vm-1", result(job, Terminal::Changed));
        for _ in 0..2 {
            bench.crash();
            sources(&mut bench, CONFIGURE);
            let effects = bench.back("vm-1", Hello { unacknowledged: Vec::new(), ..here.clone() });
            assert!(compiles(&effects).is_empty(), "full: {full}: {:?}", decisions(&effects));
        }
    }
}

#[test]
fn broken_trees_keep_the_old_rules_and_are_told() {
    let mut bench = configured(CONFIGURE);
    let complaint = Diagnostic {
        severity: model::Severity::Error,
        code: "E1".to_owned(),
        message: "broken".to_owned(),
        spans: Vec::new(),
        notes: Vec::new(),
        help: None,
    };
    let effects = bench.step(Input::BrokenSources(vec![complaint.clone()]));
    assert_eq!(tags(&effects), ["tree/broken"]);
    assert_eq!(tags(&bench.step(Input::BrokenSources(vec![complaint]))), Vec::<&str>::new());
    assert_eq!(compiles(&bench.back("vm-1", hello())), [id("vm-1")]);
}

const SALT: &str =
    "reactor:\n  - 'salt/auth': [auth.sls]\n  - 'salt/minion/*/start': [start.sls]\n  - 'drop': [drop.sls]\n";
const AUTH: &str = "{% if data['act'] == 'pend' and data['id'].startswith('web') %}\naccept:\n  wheel.key.accept:\n    - match: {{ data['id'] }}\n{% endif %}\n";
const START: &str = "go:\n  local.state.apply:\n    - tgt: {{ data['id'] }}\n";
const DROP: &str = "drop:\n  wheel.key.delete:\n    - match: {{ data['data']['who'] }}\n";

/// A bench with Salt's map.
fn salted() -> Bench {
    let mut bench = Bench::new();
    let salt = lang::Dialect { renderer: lang::Renderer::Jinja, salt: true };
    let files = [("map.yaml", SALT), ("auth.sls", AUTH), ("start.sls", START), ("drop.sls", DROP)];
    let tree = files.map(|(name, text)| (format!("reactors/{name}"), lang::Source::of_text(text, salt)));
    let rules = lang::rules::Rules::load(&lang::Tree::new(tree)).value.unwrap();
    bench.step(Input::Sources { revision: revision(), rules });
    bench
}

fn results(effects: &[Effect]) -> Vec<String> {
    let verdicts = decisions(effects).into_iter().flat_map(|it| &it.verdicts);
    verdicts.flat_map(|it| &it.actions).map(|it| format!("{}: {}", it.what, it.result)).collect()
}

#[test]
fn a_reaction_of_salt_accepts_a_waiting_name_and_never_one_that_has_a_holder() {
    let mut bench = salted();
    let effects = bench.enroll(1, "db-1", Err(TokenFault::Absent));
    assert_eq!(results(&effects), [""; 0], "the template wants web*");
    let effects = bench.enroll(2, "web-1", Err(TokenFault::Absent));
    assert_eq!(results(&effects), ["accept the key of web-1: accepted"]);
    assert!(tags(&effects).contains(&"key/web-1/accepted"), "{:?}", tags(&effects));
    let effects = bench.enroll(3, "web-1", Err(TokenFault::Absent));
    assert!(!tags(&effects).contains(&"key/web-1/accepted"), "{:?}", tags(&effects));
    let effects = bench.back("web-1", hello());
    assert_eq!(compiles(&effects), [id("web-1")], "its start brings about what top.sls says");
}

#[test]
fn a_reaction_of_salt_that_fails_is_told_as_that_of_a_rule() {
    let mut bench = salted();
    let send = |who: &str| Request::SendEvent {
        tag: "drop".to_owned(),
        data: json!({"who": who}).as_object().unwrap().clone(),
    };
    for (who, why) in [
        ("web-1", "web-1 is no member"),
        ("*", "names no single key"),
        ("a\n    - match: b", "names no single key"),
    ] {
        let effects = bench.ask(send(who));
        assert!(results(&effects)[0].contains(why), "{who}: {:?}", results(&effects));
        assert!(tags(&effects).contains(&"rule/salt-drop/failed"), "{:?}", tags(&effects));
    }
}

/// The process dies and starts again with these rules.
fn crash(bench: &mut Bench, text: &str) -> Vec<Effect> {
    bench.restart(rules(text))
}

const DISK: &str = "disk:\n  on: minion/+/event/disk\n  when: event.percent > 90\n  for: 5m\n  do:\n    - run: { target: \"{{minion}}\", command: [\"true\"] }\n";

fn disk(number: u64, percent: u64) -> FromMinion {
    FromMinion::Event { number, tag: "event/disk".to_owned(), data: json!({"percent": percent}), gap: 0 }
}

fn memory(effects: &[Effect]) -> Vec<(&str, bool)> {
    let kept = records(effects).into_iter().filter_map(|it| match it {
        Entry::Kept { part: Part::RuleMemory, key, data } => Some((key.as_str(), data.is_some())),
        _ => None,
    });
    kept.collect()
}

#[test]
fn what_a_rule_remembers_is_on_disk_with_its_event_and_outlasts_a_crash() {
    let mut bench = configured(DISK);
    bench.back("vm-1", hello());
    let effects = bench.say("vm-1", disk(1, 95));
    assert_eq!(memory(&effects), [("disk/=vm-1", true)]);
    assert!(records(&effects).iter().any(|it| matches!(it, Entry::Event(it) if it.tag.ends_with("/disk"))));
    let decision = decisions(&effects)[0];
    let clauses: Vec<_> = decision.verdicts[0].clauses.iter().map(|it| (it.name.as_str(), it.held)).collect();
    assert_eq!(clauses, [("on", Some(true)), ("when", Some(true)), ("for", Some(false))]);
    bench.pass(60_000);
    crash(&mut bench, DISK);
    bench.back("vm-1", hello());
    assert!(decisions(&bench.pass(239_999)).is_empty());
    let effects = bench.pass(1);
    let decision = decisions(&effects)[0];
    assert_eq!(decision.tag, "rule/disk/time");
    assert!(
        decision.verdicts[0].fired && decision.verdicts[0].reason.contains("held for 5m"),
        "{decision:?}"
    );
    assert!(bench.job(job_of(&effects).0).caller.name == "rule:disk");
}

#[test]
fn what_a_rule_held_back_is_due_when_maintenance_ends() {
    for (for_ms, restart) in [(None, false), (None, true), (Some(86_400_000), true)] {
        let mut bench = configured(DISK);
        bench.back("vm-1", hello());
        bench.say("vm-1", disk(1, 95));
        let maintain = |act| Request::Maintain { target: "vm-1".to_owned(), act };
        bench.ask(maintain(MaintenanceAct::On { for_ms, reason: String::new() }));
        let effects = bench.pass(600_000);
        let verdict = &decisions(&effects)[0].verdicts[0];
        assert!(!verdict.fired && verdict.reason.contains("maintenance"), "{verdict:?}");
        assert!(decisions(&bench.pass(600_000)).is_empty());
        if restart {
            crash(&mut bench, DISK);
            bench.back("vm-1", hello());
        }
        bench.ask(maintain(MaintenanceAct::Off));
        let effects = bench.pass(10);
        let decision = decisions(&effects)[0];
        assert!(decision.tag == "rule/disk/time" && decision.verdicts[0].fired, "{decision:?}");
        let event = decision.event;
        let effects = bench.pass(172_800_000);
        let others: Vec<_> = decisions(&effects).into_iter().filter(|it| it.event != event).collect();
        assert!(others.iter().all(|it| it.tag != "rule/disk/time"), "once: {for_ms:?} {restart} {others:?}");
    }
}

#[test]
fn a_deadline_that_passed_while_the_master_was_away_is_dealt_with_at_its_start() {
    let mut bench = configured(DISK);
    bench.back("vm-1", hello());
    bench.say("vm-1", disk(1, 95));
    bench.now = bench.now.plus_ms(3_600_000);
    let effects = crash(&mut bench, DISK);
    let effects = if decisions(&effects).is_empty() { bench.pass(1) } else { effects };
    let first = decisions(&effects)[0].event;
    assert!(decisions(&effects)[0].verdicts[0].fired);
    let later = bench.pass(3_600_000);
    let same = decisions(&later).iter().all(|it| it.event == first);
    assert!(same, "once; how its job ended comes into the same record");
}

#[test]
fn an_event_names_what_led_to_it() {
    let text = "a:\n  on: user/+/go\n  do:\n    - event: { tag: x }\nb:\n  on: rule/a/x\n  do:\n    - event: { tag: y }\n";
    let mut bench = configured(text);
    let effects = bench.ask(Request::SendEvent { tag: "go".to_owned(), data: Map::new() });
    let events: Vec<_> = effects
        .iter()
        .filter_map(|it| match it {
            Effect::Event(event) => Some((event.number, event.hops, event.cause.clone())),
            _ => None,
        })
        .collect();
    let first = events[0].0;
    assert_eq!(
        events,
        [(first, 0, vec![]), (first + 1, 1, vec![first]), (first + 2, 2, vec![first, first + 1])]
    );
}

/// One event that leads to so many.
fn burst(many: usize) -> String {
    let actions = "    - event: { tag: x }\n".repeat(many);
    let more = "    - event: { tag: y }\n".repeat(many);
    format!(
        "a:\n  on: user/+/go\n  do:\n{actions}b:\n  on: rule/a/x\n  do:\n{more}c:\n  on: rule/b/y\n  count: 100 within 1h\n  group_by: tag\n  do:\n    - event: {{ tag: z }}\n"
    )
}

#[test]
fn what_is_too_much_for_one_step_waits_on_disk_for_the_next_one() {
    let text = burst(32);
    let seen = |dies: bool| {
        let mut bench = configured(&text);
        let mut effects = bench.ask(Request::SendEvent { tag: "go".to_owned(), data: Map::new() });
        assert!(bench.master.status().reactor.waiting > 0);
        assert!(memory(&effects).iter().any(|it| it.0.starts_with("/queue/") && it.1));
        if dies {
            effects.extend(crash(&mut bench, &text));
        }
        for _ in 0..10 {
            assert!(
                bench.master.next_wake().is_some_and(|it| it <= bench.now)
                    || bench.master.status().reactor.waiting == 0
            );
            effects.extend(bench.pass(0));
        }
        assert_eq!(bench.master.status().reactor.waiting, 0);
        let left =
            bench.master.book.kept_of(Part::RuleMemory).filter(|it| it.0.starts_with("/queue/")).count();
        assert_eq!(left, 0);
        tags(&effects).iter().filter(|it| **it == "rule/c/z").count()
    };
    assert_eq!((seen(false), seen(true)), (10, 10), "1024 events, each hundredth of them");
}

#[test]
fn a_queue_has_a_bound_and_what_is_beyond_it_is_counted() {
    let mut bench = configured(DISK);
    for number in 0..(crate::core::reactor::QUEUE_MAX as u64 + 5) {
        let event = json!({"number": number, "tag": "x", "source": {"kind": "master"}, "at": 0, "data": {}, "hops": 0});
        let event = serde_json::from_value(event).unwrap();
        bench.master.enqueue(crate::core::reactor::Queued {
            event,
            identity: String::new(),
            due: None,
            kept: false,
        });
    }
    let status = bench.master.status().reactor;
    assert_eq!((status.waiting as usize, status.dropped), (crate::core::reactor::QUEUE_MAX, 5));
}

#[test]
fn an_edit_keeps_the_memory_of_rules_that_it_did_not_touch_and_names_the_others() {
    let both = format!("{DISK}{}", DISK.replace("disk:", "other:"));
    let mut bench = configured(&both);
    bench.back("vm-1", hello());
    bench.say("vm-1", disk(1, 95));
    let edited = format!("{DISK}{}", DISK.replace("disk:", "other:").replace("5m", "6m"));
    let effects = bench.step(Input::Sources {
        revision: model::Revision(model::ContentHash([9; 32])),
        rules: rules(&edited),
    });
    let told = effects.iter().find_map(|it| match it {
        Effect::Event(event) if event.tag == "tree/changed" => {
            Some(event.data["rules_that_begin_anew"].clone())
        }
        _ => None,
    });
    assert_eq!(told, Some(json!(["other"])));
    assert!(memory(&effects).contains(&("other/=vm-1", false)), "{:?}", memory(&effects));
    let fired = decisions(&bench.pass(600_000)).iter().filter(|it| it.verdicts[0].fired).count();
    assert_eq!(fired, 1);
}

#[test]
fn a_mistake_in_rules_at_a_start_leaves_all_about_them_asleep_until_they_are_right() {
    const TEXT: &str = "told:\n  on: minion/+/event/disk\n  throttle: 1 per minion per 1d\n  do:\n    - run: { target: \"{{minion}}\", command: [\"true\"] }\n\
                        nightly:\n  schedule: { every: 1h, missed: all }\n  do:\n    - run: { target: vm-1, command: [\"true\"] }\n\
                        later:\n  on: minion/+/event/disk\n  do:\n    - run: { target: vm-1, command: [\"true\"] }\n    - wait_for: { job: last, timeout: 1d }\n    - event: { tag: done }\n";
    let kept = |bench: &Bench| {
        let of = |part| bench.master.book.kept_of(part).map(|it| it.0.to_owned()).collect::<Vec<_>>();
        let rows = of(Part::RuleMemory).into_iter().filter(|it| !it.starts_with("/queue/"));
        (rows.collect::<Vec<_>>(), of(Part::Schedule), of(Part::Reaction))
    };
    let mut bench = configured(TEXT);
    bench.back("vm-1", hello());
    let before = bench.say("vm-1", disk(1, 95));
    assert_eq!(decisions(&before)[0].verdicts.iter().filter(|it| it.fired).count(), 2);
    let rows = kept(&bench);
    assert!(rows.0.len() == 1 && rows.1 == ["nightly"] && rows.2.len() == 2, "{rows:?}");
    let job = records(&before).into_iter().find_map(|it| match it {
        Entry::Job(job) if job.caller.name == "rule:later" => Some(job.id),
        _ => None,
    });
    let job = job.unwrap();

    // Started anew with a mistake in the rules: jobs go on, all that is about rules rests.
    bench.lazy.clear();
    bench.master = Master::restore(settings(), bench.now, bench.disk.clone());
    bench.step(Input::SourcesWithoutRules { revision: revision() });
    bench.back("vm-1", hello());
    bench.compiled(job.0, "vm-1");
    bench.say("vm-1", result(job, Terminal::Ok));
    let mut seen = bench.say("vm-1", disk(2, 96));
    for _ in 0..8 {
        seen.extend(bench.pass(15 * 60_000));
    }
    assert!(decisions(&seen).is_empty() && !tags(&seen).contains(&"schedule/nightly"), "{seen:?}");
    assert_eq!(kept(&bench), rows, "nothing is forgotten");
    assert!(bench.master.status().rules_asleep);
    bench.back("vm-1", hello());
    assert_eq!(compiles(&bench.submit(77, "vm-1", apply())), [id("vm-1")], "jobs need no rules");
    // Also over one more restart.
    bench.lazy.clear();
    bench.master = Master::restore(settings(), bench.now, bench.disk.clone());
    bench.step(Input::SourcesWithoutRules { revision: revision() });
    assert_eq!(kept(&bench), rows);

    // What waited is decided with what was remembered, and what was missed is made up for.
    let mut effects = sources(&mut bench, TEXT);
    effects.extend(bench.pass(60_000));
    assert!(!bench.master.status().rules_asleep);
    let of_disk = decisions(&effects).into_iter().find(|it| it.tag == "minion/vm-1/event/disk").unwrap();
    let verdict = |rule: &str| of_disk.verdicts.iter().find(|it| it.rule == rule).unwrap();
    assert!(!verdict("told").fired, "it was told within a day: {:?}", verdict("told"));
    assert!(verdict("later").fired);
    assert_eq!(tags(&effects).iter().filter(|it| **it == "schedule/nightly").count(), 2);
    assert!(
        tags(&effects).contains(&"rule/later/done"),
        "the reaction goes on whose job has ended meanwhile"
    );
}
