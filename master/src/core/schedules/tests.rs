//! Schedules by a clock that jumps, over restarts, and with everything that may be missed.

use super::*;
use crate::core::{test_kit::*, *};
use model::{JobId, Request};
use serde_json::Value;

const HOUR: u64 = 3_600_000;

fn rules(schedule: &str) -> String {
    format!("nightly:\n  schedule: {schedule}\n  do:\n    - run: {{ target: vm-1, command: [\"true\"] }}\n")
}

/// What came by the clock: slot, lateness, missed.
fn slots(effects: &[Effect]) -> Vec<(u64, u64, u64)> {
    let of = |it: &Effect| match it {
        Effect::Event(event) if event.tag == "schedule/nightly" => {
            let number = |name: &str| event.data[name].as_u64().unwrap();
            Some((number("slot_ms"), number("late_ms"), number("missed")))
        }
        _ => None,
    };
    effects.iter().filter_map(of).collect()
}

fn jobs(effects: &[Effect]) -> Vec<JobId> {
    let of = |it: &&Entry| match it {
        Entry::Job(job) if job.ended.is_none() => Some(job.id),
        _ => None,
    };
    records(effects).iter().filter_map(of).collect()
}

fn bench(schedule: &str) -> Bench {
    let mut bench = Bench::with(&["vm-1"]);
    bench.rules(&rules(schedule));
    bench
}

/// Time passes as the daemon lets it: it wakes up when it is told to.
fn live(bench: &mut Bench, ms: u64) -> Vec<Effect> {
    let end = bench.now.plus_ms(ms);
    let mut effects = Vec::new();
    for _ in 0..10_000 {
        let wake = bench.master.next_wake().unwrap_or(end).min(end);
        let passed = wake.since_ms(bench.now);
        effects.extend(bench.pass(passed));
        if bench.now >= end {
            return effects;
        }
    }
    panic!("the master wakes up without end")
}

/// The process ends and begins anew, with these rules.
fn restart(bench: &mut Bench, schedule: &str) -> Vec<Effect> {
    bench.master = Master::restore(settings(), bench.now, bench.disk.clone());
    let tree = lang::Tree::of_texts([("reactors/test.yaml", rules(schedule).as_str())]);
    let rules = lang::rules::Rules::load(&tree).value.unwrap();
    bench.step(Input::Sources { revision: revision(), rules })
}

fn at(offset_ms: u64) -> u64 {
    // The first whole hour after the bench's beginning is cron's first slot.
    NOW.0.next_multiple_of(HOUR) + offset_ms
}

#[test]
fn each_slot_runs_once_at_its_time_and_is_on_record_with_its_event() {
    let mut bench = bench("{ cron: '0 * * * *', zone: UTC }");
    let effects = live(&mut bench, 3 * HOUR);
    assert_eq!(slots(&effects), [(at(0), 0, 0), (at(HOUR), 0, 0), (at(2 * HOUR), 0, 0)]);
    let started = jobs(&effects);
    assert_eq!(started.len(), 3, "each slot is a job of its own");
    let effects = bench.pass(HOUR);
    let kept = records(&effects).iter().any(|it| {
        matches!(it, Entry::Kept { part: Part::Schedule, data: Some(data), .. } if data["slot"] == at(3 * HOUR))
    });
    assert!(kept, "the slot is on record in the transaction of its event: {effects:?}");
}

#[test]
fn a_restart_repeats_nothing_and_a_slot_that_is_lost_from_the_record_is_the_same_job() {
    let schedule = "{ every: 1h, jitter: 20m }";
    let mut bench = bench(schedule);
    let first = live(&mut bench, 2 * HOUR);
    assert_eq!(slots(&first).len(), 2);
    assert!(slots(&restart(&mut bench, schedule)).is_empty());
    let (slot, ..) = slots(&first)[1];
    // As if the record of the last slot had been lost, but not its job.
    for entry in &mut bench.disk {
        if let Entry::Kept { part: Part::Schedule, data: Some(data), .. } = entry {
            data["slot"] = Value::from(slot - 1);
        }
    }
    let effects = restart(&mut bench, schedule);
    assert_eq!(slots(&effects)[0].0, slot, "it comes again");
    assert!(jobs(&effects).is_empty(), "and starts nothing: {effects:?}");
}

/// A policy, and the slots that are run: which, how late, and how many it stands for.
type Case = (&'static str, Vec<(u64, u64, u64)>);

#[test]
fn what_was_missed_is_made_up_for_as_the_schedule_says() {
    // Away for five hours and a half, back half an hour after the last slot.
    let newest = at(5 * HOUR);
    let cases: [Case; 4] = [
        ("", vec![(newest, HOUR / 2, 5)]),
        (", missed: once", vec![(newest, HOUR / 2, 5)]),
        (", missed: skip", vec![]),
        (", missed: all", (0..6).map(|it| (at(it * HOUR), HOUR / 2 + (5 - it) * HOUR, 0)).collect()),
    ];
    for (policy, expected) in cases {
        let schedule = format!("{{ cron: '0 * * * *', zone: UTC{policy} }}");
        let mut bench = bench(&schedule);
        bench.now = Timestamp(newest + HOUR / 2);
        let effects = restart(&mut bench, &schedule);
        assert_eq!(slots(&effects), expected, "{policy}");
        let next = slots(&live(&mut bench, HOUR));
        assert_eq!(next, [(newest + HOUR, 0, 0)], "{policy}: and it goes on");
    }
}

#[test]
fn what_was_missed_is_bounded_however_long_it_was() {
    for (policy, many) in [("once", 1), ("skip", 1), ("all", MADE_UP_MAX)] {
        let mut bench = bench(&format!("{{ every: 1s, missed: {policy} }}"));
        let effects = bench.pass(365 * 24 * HOUR);
        let slots = slots(&effects);
        assert_eq!(slots.len(), many, "{policy}");
        assert!(bench.now.0 - slots.last().unwrap().0 < 1_000, "{policy}: the newest is among them");
        assert!(self::slots(&bench.pass(1)).len() <= 1, "{policy}: and it is over");
    }
}

#[test]
fn nothing_runs_before_the_clock_is_set() {
    let mut bench = Bench::with(&["vm-1"]);
    bench.step(Input::Clock { set: false });
    bench.rules(&rules("{ every: 1h, missed: all }"));
    assert!(slots(&live(&mut bench, 5 * HOUR)).is_empty());
    let Some(Reply::Schedules(views)) = reply(&bench.ask(Request::Schedules)).cloned() else { panic!() };
    assert!(views[0].waits.as_ref().unwrap().contains("clock"), "{views:?}");
    // The clock is set, half a century later: the schedule begins now.
    bench.now = Timestamp(1_800_000_000_000);
    assert!(slots(&bench.step(Input::Clock { set: true })).is_empty());
    assert_eq!(slots(&live(&mut bench, HOUR)).len(), 1);
    // It is wrong for a while, and right again: what passed meanwhile was missed.
    bench.step(Input::Clock { set: false });
    assert!(slots(&live(&mut bench, 3 * HOUR)).is_empty());
    assert_eq!(slots(&bench.step(Input::Clock { set: true })).len(), 3);
}

#[test]
fn a_clock_that_is_set_back_runs_nothing_twice() {
    let mut bench = bench("{ cron: '0 * * * *', zone: UTC }");
    assert_eq!(slots(&live(&mut bench, 2 * HOUR)).len(), 2);
    bench.now = Timestamp(bench.now.0 - HOUR);
    assert!(slots(&bench.step(Input::Tick)).is_empty());
    // It is too far behind to be believed, until it is set right.
    assert!(slots(&live(&mut bench, HOUR / 2)).is_empty());
    let slots = slots(&bench.pass(2 * HOUR));
    assert_eq!(slots.iter().map(|it| it.0).collect::<Vec<_>>(), [at(3 * HOUR)]);
}

#[test]
fn a_full_store_makes_schedules_wait() {
    let mut bench = bench("{ every: 1h }");
    bench.step(Input::StoreHealth(Some("no space left".to_owned())));
    assert!(slots(&live(&mut bench, 4 * HOUR)).is_empty());
    let effects = bench.step(Input::StoreHealth(None));
    assert_eq!(slots(&effects).len(), 1, "made up for once");
    assert_eq!(jobs(&effects).len(), 1);
}

#[test]
fn a_pause_lets_slots_pass_over_restarts_and_ends_by_itself_or_by_hand() {
    let act = |act| Request::Schedule { name: "nightly".to_owned(), act };
    let mut bench = bench("{ every: 1h, missed: all }");
    bench.ask(act(ScheduleAct::Pause { for_ms: None }));
    assert!(slots(&live(&mut bench, 3 * HOUR)).is_empty());
    restart(&mut bench, "{ every: 1h, missed: all }");
    bench.rules("{}");
    bench.rules(&rules("{ every: 1h, missed: all }"));
    assert!(slots(&live(&mut bench, 3 * HOUR)).is_empty(), "paused still");
    let effects = bench.ask(act(ScheduleAct::Resume));
    assert!(slots(&effects).is_empty(), "what passed meanwhile is not made up for");
    assert_eq!(slots(&live(&mut bench, HOUR)).len(), 1);
    bench.ask(act(ScheduleAct::Pause { for_ms: Some(2 * HOUR) }));
    assert!(slots(&live(&mut bench, 2 * HOUR)).is_empty());
    assert_eq!(slots(&live(&mut bench, HOUR)).len(), 1, "it has ended by itself");
    let effects = bench.ask(act(ScheduleAct::Pause { for_ms: Some(1) }));
    assert_eq!(refusal(&effects).unwrap().0, ErrorKind::Usage);
}

#[test]
fn a_schedule_is_run_by_hand_beside_its_slots() {
    let mut bench = bench("{ every: 1h }");
    let before = bench.master.next_wake();
    let effects = bench.ask(Request::Schedule { name: "nightly".to_owned(), act: ScheduleAct::Run });
    assert_eq!((slots(&effects).len(), jobs(&effects).len()), (1, 1));
    assert_eq!(bench.job(jobs(&effects)[0].0).caller.name, "rule:nightly");
    assert_eq!(bench.master.next_wake(), before);
    let again = bench.ask(Request::Schedule { name: "nightly".to_owned(), act: ScheduleAct::Run });
    assert_ne!(jobs(&again), jobs(&effects), "each time is a job of its own");
    let effects = bench.ask(Request::Schedule { name: "daily".to_owned(), act: ScheduleAct::Run });
    assert_eq!(refusal(&effects).unwrap().0, ErrorKind::NotFound);
}

#[test]
fn a_schedule_that_says_something_else_counts_from_now_and_a_removed_one_is_forgotten() {
    let mut bench = bench("{ cron: '0 * * * *', zone: UTC }");
    live(&mut bench, HOUR);
    // 30 past was an hour ago, too: but not for this schedule.
    bench.now = Timestamp(at(HOUR) - 1);
    bench.rules(&rules("{ cron: '30 * * * *', zone: UTC }"));
    assert_eq!(slots(&live(&mut bench, 2 * HOUR))[0].0, at(HOUR + HOUR / 2));
    bench.rules("{}");
    assert!(slots(&live(&mut bench, 2 * HOUR)).is_empty());
    assert!(bench.master.book.kept_of(Part::Schedule).next().is_none());
}

#[test]
fn what_comes_next_is_told_soonest_first() {
    let text = rules("{ cron: '0 * * * *', zone: Europe/Berlin }")
        + "often:\n  schedule: { cron: '*/30 * * * *', zone: UTC }\n  do:\n    - event: { tag: x }\n";
    let mut bench = Bench::with(&["vm-1"]);
    bench.rules(&text);
    let ask = |bench: &mut Bench, name: Option<&str>, limit| {
        let name = name.map(str::to_owned);
        match reply(&bench.ask(Request::Slots { name, limit })) {
            Some(Reply::Slots(slots)) => {
                slots.iter().map(|it| (it.schedule.clone(), it.at.0)).collect::<Vec<_>>()
            }
            other => panic!("{other:?}"),
        }
    };
    let both = ask(&mut bench, None, 3);
    let half = HOUR / 2;
    let first = NOW.0.next_multiple_of(half);
    let mut expected: Vec<(String, u64)> = (0..3).map(|it| ("often".to_owned(), first + it * half)).collect();
    expected.extend((0..2).map(|it| ("nightly".to_owned(), at(it * HOUR))));
    expected.sort_by_key(|it| (it.1, it.0.clone()));
    expected.truncate(3);
    assert_eq!(both, expected);
    assert_eq!(ask(&mut bench, Some("nightly"), 1), [("nightly".to_owned(), at(0))]);
    assert_eq!(ask(&mut bench, None, u32::MAX).len(), SLOTS_MAX);
    bench.ask(Request::Schedule { name: "nightly".to_owned(), act: ScheduleAct::Pause { for_ms: None } });
    assert!(ask(&mut bench, Some("nightly"), 5).is_empty());
}
