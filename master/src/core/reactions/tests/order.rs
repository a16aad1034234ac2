//! What goes on when: not before there are rules, not more than a step does, and with everything that ended meanwhile.

use super::*;
use crate::core::WORK_PER_STEP_MAX;
use bus::message::Hello;
use model::{ContentHash, Revision};

/// The process dies; the next one has not read the trees yet.
fn die(bench: &mut Bench) {
    bench.lazy.clear();
    bench.master = Master::restore(settings(), bench.now, bench.disk.clone());
    bench.master.use_notifiers(notifiers());
    bench.step(Input::Tick);
}

fn read_trees(bench: &mut Bench, rules: &str) -> Vec<Effect> {
    bench.step(Input::Sources { revision: revision(), rules: parsed(rules) })
}

fn jobs(bench: &Bench) -> usize {
    let job = |it: &Entry| if let Entry::Job(it) = it { Some(it.id) } else { None };
    bench.disk.iter().filter_map(job).collect::<BTreeSet<JobId>>().len()
}

fn events(bench: &Bench, tag: &str) -> usize {
    bench.disk.iter().filter(|it| matches!(it, Entry::Event(it) if it.tag == tag)).count()
}

const FAILING: &str = "  on_failure:\n    - event: { tag: bad }\n";

#[test]
fn a_wait_whose_time_came_while_the_master_was_down_fails_as_the_rule_says() {
    let rules = format!("{}{FAILING}", rule("    - wait_for: { event: user/+/never, timeout: 5m }\n"));
    let mut bench = lab(&rules);
    go(&mut bench, json!({}));
    bench.now = bench.now.plus_ms(600_000);
    crash(&mut bench, &rules);
    bench.pass(1);
    assert_eq!(events(&bench, "rule/r/bad"), 1);
    assert!(!end(&bench, 0).ok);
    crash(&mut bench, &rules);
    bench.pass(600_000);
    assert_eq!(events(&bench, "rule/r/bad"), 1, "once");
}

#[test]
fn who_waits_for_a_turn_does_not_get_it_because_nobody_knows_the_rules_yet() {
    let rules = "r:\n  on: user/+/go\n  group_by: event.n\n  concurrency: 1 per rule\n  do:\n    - run: { target: vm-1, command: [x] }\n";
    let mut bench = lab(rules);
    for n in 0..4 {
        go(&mut bench, json!({"n": n}));
    }
    assert_eq!(jobs(&bench), 1);
    die(&mut bench);
    bench.back("vm-1", Hello { first_of_boot: false, ..hello() });
    let job = *bench.master.book.open.keys().next().unwrap();
    end_job(&mut bench, job, "vm-1", Terminal::Ok);
    assert_eq!(jobs(&bench), 1, "nothing is done before there are rules");
    read_trees(&mut bench, rules);
    assert_eq!(jobs(&bench), 2, "one after the other");
}

#[test]
fn what_ends_a_wait_before_the_trees_are_read_does_not_have_what_follows_refused() {
    let rules = rule(
        "    - wait_for: { minion: vm-1, presence: down, timeout: 5m }\n    - apply: { target: vm-2, states: [] }\n",
    );
    let mut bench = lab(&rules);
    go(&mut bench, json!({}));
    die(&mut bench);
    for name in ["vm-1", "vm-2"] {
        bench.back(name, Hello { first_of_boot: false, ..hello() });
    }
    bench.say("vm-1", FromMinion::Goodbye { reason: "shutdown".to_owned() });
    read_trees(&mut bench, &rules);
    let done = done(&bench);
    assert_eq!((jobs(&bench), done[1].result.as_str()), (1, "accepted"), "{done:?}");
}

#[test]
fn what_a_reaction_ends_by_its_own_actions_has_ended_for_it() {
    let begin = "    - run: { target: vm-2, command: [x] }\n";
    let wait = "    - wait_for: { event: user/+/now, timeout: 5m }\n";
    let forget = "    - key: { delete: vm-2 }\n";
    let wait_job = "    - wait_for: { job: last, timeout: 5m }\n";
    let cases = [
        format!("{begin}{forget}"),
        format!("{begin}{wait}{forget}"),
        format!("{begin}{forget}{wait_job}"),
        format!("{wait}{begin}{forget}"),
    ];
    for actions in cases {
        let mut bench = lab(&format!("{}{FAILING}", rule(&actions)));
        go(&mut bench, json!({}));
        bench.ask(Request::SendEvent { tag: "now".to_owned(), data: Map::new() });
        assert!(bench.master.reactions.open.is_empty(), "{actions}: {:?}", bench.master.reactions.open);
        assert_eq!(events(&bench, "rule/r/bad"), 1, "{actions}");
        let run = done(&bench).into_iter().find(|it| it.job.is_some()).unwrap();
        assert_eq!(run.end.unwrap().words, [("interrupted".to_owned(), 1)].into(), "{actions}");
    }
}

#[test]
fn one_step_does_so_much_of_events_and_reactions_together_and_the_next_one_the_rest() {
    let many = "    - event: { tag: x }\n".repeat(31);
    let rules = format!(
        "w:\n  on: user/+/go\n  group_by: event.n\n  do:\n    - wait_for: {{ event: user/+/now, timeout: 5m }}\n{many}c:\n  on: rule/w/x\n  group_by: tag\n  count: 1 within 1h\n  do:\n    - event: {{ tag: y }}\n"
    );
    let mut bench = lab(&rules);
    for n in 0..90 {
        go(&mut bench, json!({ "n": n }));
    }
    let decided = |effects: &[Effect]| {
        let of = |it: &&&Entry| matches!(it, Entry::Decision(it) if it.tag == "rule/w/x");
        records(effects).iter().filter(of).count()
    };
    let mut effects = bench.ask(Request::SendEvent { tag: "now".to_owned(), data: Map::new() });
    let mut all = 0;
    for _ in 0..20 {
        let step = decided(&effects);
        assert!(step <= WORK_PER_STEP_MAX, "{step} in one step");
        all += step;
        let more = bench.master.status().reactor.waiting > 0 || !bench.master.reactions.ready.is_empty();
        assert!(!more || bench.master.next_wake().is_some_and(|it| it <= bench.now));
        effects = bench.pass(0);
    }
    assert_eq!(all, 90 * 31);
    assert!(bench.master.reactions.open.is_empty());
}

#[test]
fn a_call_goes_out_when_the_store_has_room_again() {
    let mut bench = lab(&rule("    - notify: { to: phone, message: a }\n"));
    let (call, _) = calls(&go(&mut bench, json!({}))).remove(0);
    answer(&mut bench, &call, false, true);
    bench.step(Input::StoreHealth(Some("no space left".to_owned())));
    assert!(calls(&bench.pass(5_000)).is_empty(), "what comes of it could not be kept");
    assert_eq!(calls(&bench.step(Input::StoreHealth(None))).len(), 1);
}

#[test]
fn what_nobody_could_hear_on_our_own_bus_is_said_again() {
    let rules = rule("    - notify: { to: log, message: a }\n");
    let mut bench = lab(&rules);
    let (tell, ..) = told(&go(&mut bench, json!({}))).remove(0);
    let answer_none = "nobody is there".to_owned();
    let called = Called { good: false, again: true, answer: answer_none, retry_after_ms: None };
    let effects = bench.step(Input::Called { id: tell.clone(), called });
    assert!(told(&effects).is_empty() && done(&bench)[0].end.is_none());
    let again = told(&bench.pass(1_300));
    assert_eq!(again[0].0, tell);
    answer(&mut bench, &tell, true, false);
    assert!(end(&bench, 0).ok);
    // A process that dies before it knows says it again.
    let (tell, ..) = told(&go(&mut bench, json!({}))).remove(0);
    assert_eq!(told(&crash(&mut bench, &rules))[0].0, tell);
}

#[test]
fn nothing_grows_with_what_has_been() {
    let mut bench = lab(&rule("    - http: { to: desk, url: /a }\n"));
    for _ in 0..20 {
        let (call, _) = calls(&go(&mut bench, json!({}))).remove(0);
        assert_eq!(bench.master.book.decisions.len(), 1, "only what something may be added to");
        answer(&mut bench, &call, true, false);
        assert!(bench.master.book.decisions.is_empty());
    }
    assert_eq!(bench.master.outbox.times_remembered(), 0, "only rates ask when it was");
}

#[test]
fn a_boot_is_configured_once_however_long_it_takes_to_begin() {
    let waits = "r:\n  on: minion/+/start\n  once_per: boot\n  do:\n    - wait_for: { event: user/+/now, timeout: 1h }\n    - apply: { target: '{{minion}}', states: [] }\n";
    let queues = "r:\n  on: minion/+/start\n  once_per: boot\n  concurrency: 1 per rule\n  do:\n    - apply: { target: '{{minion}}', states: [] }\n";
    let of = |bench: &Bench, name: &str| {
        let job = |it: &Entry| match it {
            Entry::Job(it) if it.minions == [id(name)] => Some(it.id),
            _ => None,
        };
        bench.disk.iter().filter_map(job).collect::<BTreeSet<JobId>>()
    };
    for (rules, dies) in [(waits, false), (waits, true), (queues, false), (queues, true)] {
        let mut bench = Bench::with(&["vm-1", "vm-2"]);
        bench.rules(rules);
        let again = || Hello { first_of_boot: false, ..hello() };
        // An edit, connections that end, a restart.
        for number in 0..3 {
            let revision = Revision(ContentHash([number; 32]));
            bench.step(Input::Sources { revision, rules: parsed(rules) });
            bench.back("vm-2", again());
            bench.pass(1_000);
            bench.say("vm-1", FromMinion::Heartbeat { running: None });
            if dies {
                crash(&mut bench, rules);
                bench.back("vm-1", again());
                bench.back("vm-2", again());
            }
        }
        bench.ask(Request::SendEvent { tag: "now".to_owned(), data: Map::new() });
        for name in ["vm-1", "vm-2"] {
            let jobs = of(&bench, name);
            assert_eq!(jobs.len(), 1, "{dies} {rules} {name}");
            end_job(&mut bench, *jobs.first().unwrap(), name, Terminal::Ok);
        }
        for name in ["vm-1", "vm-2"] {
            assert_eq!(of(&bench, name).len(), 1, "{dies} {rules} {name}");
            let boots = &bench.master.minion(&id(name)).unwrap().configured_boots;
            assert_eq!(boots.get("r").map(String::as_str), Some("boot-1"), "{dies} {rules} {name}");
        }
        assert!(bench.master.reactions.open.is_empty());
    }
}

#[test]
fn a_boot_whose_job_ended_before_the_trees_were_read_is_configured() {
    let rules = "r:\n  on: minion/+/start\n  once_per: boot\n  do:\n    - apply: { target: '{{minion}}', states: [] }\n";
    for word in [Terminal::Ok, Terminal::Failed] {
        let mut bench = Bench::with(&["vm-1"]);
        bench.rules(rules);
        let job = *bench.master.book.open.keys().next().unwrap();
        bench.compiled(job.0, "vm-1");
        bench.say("vm-1", FromMinion::Received { job });
        die(&mut bench);
        bench.back("vm-1", Hello { first_of_boot: false, unacknowledged: vec![job], ..hello() });
        bench.say("vm-1", result(job, word));
        read_trees(&mut bench, rules);
        assert_eq!(jobs(&bench), if word == Terminal::Ok { 1 } else { 2 }, "{word:?}");
        let boots = &bench.master.minion(&id("vm-1")).unwrap().configured_boots;
        assert_eq!(boots.contains_key("r"), word == Terminal::Ok);
    }
}

#[test]
fn an_attempt_at_an_earlier_boot_does_not_configure_this_one() {
    let rules = "r:\n  on: minion/+/start\n  once_per: boot\n  do:\n    - wait_for: { event: user/+/now, when: event.n = 1, timeout: 1m }\n    - apply: { target: '{{minion}}', states: [] }\n";
    let mut bench = Bench::with(&["vm-1"]);
    bench.rules(rules);
    bench.back("vm-1", Hello { boot: "boot-2".to_owned(), ..hello() });
    assert_eq!(bench.master.reactions.open.len(), 2, "the second boot waits for its turn");
    // The first one's wait is not met; the second one's is.
    bench.pass(61_000);
    let boots = |bench: &Bench| bench.master.minion(&id("vm-1")).unwrap().configured_boots.clone();
    assert!(boots(&bench).is_empty() && jobs(&bench) == 0);
    bench.say("vm-1", FromMinion::Heartbeat { running: None });
    let data = json!({"n": 1}).as_object().unwrap().clone();
    bench.ask(Request::SendEvent { tag: "now".to_owned(), data });
    let job = *bench.master.book.open.keys().next().unwrap();
    end_job(&mut bench, job, "vm-1", Terminal::Ok);
    assert_eq!(boots(&bench).get("r").map(String::as_str), Some("boot-2"));
}

#[test]
fn what_happens_costs_the_same_however_many_reactions_wait_for_something_else() {
    let rules = "r:\n  on: user/+/go\n  group_by: event.n\n  do:\n    - wait_for: { event: 'minion/m-{{event.n}}/start', timeout: 5m }\n    - wait_for: { event: minion/+/start, timeout: 5m }\n";
    let cost = |waiting: usize| {
        let mut bench = lab(rules);
        for n in 0..waiting {
            go(&mut bench, json!({ "n": n }));
        }
        assert_eq!(bench.master.reactions.open.len(), waiting);
        let mut round = || {
            let began = std::time::Instant::now();
            for number in 0..50 {
                let data = json!({ "number": number });
                bench.master.emit_as("minion/vm-1/event/x".to_owned(), model::Source::Master, data, 0, None);
                bench.step(Input::Tick);
            }
            began.elapsed()
        };
        (0..5).map(|_| round()).min().unwrap()
    };
    let (few, many) = (cost(10), cost(3_000));
    assert!(many < few * 6, "{many:?} is much more than {few:?}");
}
