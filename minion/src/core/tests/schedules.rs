//! What a minion does by the clock by itself: with and without a master, over restarts, and with a clock of 1970.

use super::*;
use model::{MinionSchedule, Missed, Times};

/// A day in 2026, ten milliseconds after a slot.
const DAY: Timestamp = Timestamp(1_790_000_000_010);
const EVERY_MS: u64 = 60_000;

fn list(missed: Missed) -> Vec<MinionSchedule> {
    let times = Times::Every { every_ms: EVERY_MS, offset_ms: 1_790_000_000_000 % EVERY_MS };
    vec![MinionSchedule { name: "tidy".to_owned(), times, jitter_ms: 0, missed }]
}

fn told(missed: Missed) -> Input {
    Input::Schedules { id: "vm-1".parse().unwrap(), list: list(missed) }
}

/// Started at a time, never connected.
fn alone(now: Timestamp) -> Bench {
    let mut bench = Bench::new();
    bench.now = now;
    bench.minion = Minion::restore(bench.settings.clone(), now, []);
    bench.step(Input::Started);
    bench.step(told(Missed::Once));
    bench
}

/// Time passes; the shell has the recipe of what is due.
fn pass(bench: &mut Bench, ms: u64) -> Vec<Scheduled> {
    bench.now = bench.now.plus_ms(ms);
    let effects = bench.minion.step(bench.now, Input::Tick);
    keep(bench, &effects);
    let due = |effect: Effect| match effect {
        Effect::Due { job, name, slot, late_ms, missed } => {
            let own = Offer { job, expires: NEVER, what: what(&name), ..offer(0) };
            let states = vec!["tidy".to_owned()];
            Some(Scheduled { job, name, slot, late_ms, missed, states, offer: Ok(Box::new(own)) })
        }
        _ => None,
    };
    effects.into_iter().filter_map(due).collect()
}

fn keep(bench: &mut Bench, effects: &[Effect]) {
    for effect in effects {
        if let Effect::Record(entry) = effect {
            bench.disk.append(&mut bench.lazy);
            bench.disk.push((**entry).clone());
        }
    }
}

fn begin(bench: &mut Bench, due: &Scheduled) -> Vec<String> {
    bench.step(Input::Scheduled(Box::new(due.clone())))
}

#[test]
fn a_slot_begins_a_run_without_any_master_once_and_the_event_of_it_comes_first() {
    let mut bench = alone(DAY);
    assert!(pass(&mut bench, EVERY_MS - 20).is_empty());
    let due = pass(&mut bench, 20);
    assert_eq!((due.len(), due[0].late_ms, due[0].missed), (1, 10, 0));
    assert!(pass(&mut bench, 1).is_empty(), "it is asked for once");
    let said = begin(&mut bench, &due[0]);
    let of = |word: &str| {
        said.iter().position(|it| it.contains(word)).unwrap_or_else(|| panic!("{word}: {said:?}"))
    };
    assert!(of("event") < of("received") && of("received") < of("start"), "{said:?}");
    // Killed before the run has ended: the same job goes on, and the slot is not run again.
    bench.crash();
    bench.step(told(Missed::Once));
    assert!(pass(&mut bench, 1).is_empty());
    assert_eq!(bench.minion.running(), Some(due[0].job));
    let next = pass(&mut bench, EVERY_MS);
    assert!(begin(&mut bench, &next[0]).iter().all(|it| !it.contains("start")), "one run at a time");
    assert!(pass(&mut bench, 1).is_empty(), "its slot has passed");
    bench.ended(due[0].job.0, Outcome::Changed);
    assert_eq!(pass(&mut bench, EVERY_MS).len(), 1);
}

#[test]
fn a_slot_that_was_asked_for_and_not_begun_comes_again_after_a_crash_as_the_same_job() {
    let mut bench = alone(DAY);
    let due = pass(&mut bench, EVERY_MS);
    bench.crash();
    assert!(bench.step(told(Missed::Once)).contains(&"due tidy".to_owned()));
    let said = begin(&mut bench, &due[0]);
    assert!(said.contains(&format!("start {} 1", due[0].job.0)), "{said:?}");
}

#[test]
fn a_clock_of_1970_waits_for_the_masters_and_what_was_missed_is_made_up_for_once() {
    let mut bench = alone(Timestamp(5_000));
    assert!(pass(&mut bench, 10 * EVERY_MS).is_empty(), "nobody knows the time");
    let mut bench = alone(DAY);
    bench.now = DAY.plus_ms(10 * EVERY_MS);
    let due = pass(&mut bench, 30_000);
    assert_eq!((due.len(), due[0].missed), (1, 9));
    let mut bench = alone(DAY);
    bench.step(told(Missed::Skip));
    let due = pass(&mut bench, 10 * EVERY_MS + 30_000);
    assert_eq!(due.len(), 1, "half a minute late is not missed");
}

#[test]
fn another_schedule_of_the_same_name_counts_from_now() {
    let mut bench = alone(DAY);
    let mut other = list(Missed::Once);
    other[0].times = Times::Every { every_ms: 1_000, offset_ms: 0 };
    bench.now = DAY.plus_ms(EVERY_MS - 5_000);
    bench.step(Input::Schedules { id: "vm-1".parse().unwrap(), list: other });
    assert!(pass(&mut bench, 500).is_empty());
    assert_eq!(pass(&mut bench, 1_000).len(), 1);
    bench.step(Input::Schedules { id: "vm-1".parse().unwrap(), list: Vec::new() });
    assert!(pass(&mut bench, 10 * EVERY_MS).is_empty(), "it is gone");
}

#[test]
fn what_has_no_recipe_is_told_and_runs_nothing() {
    let mut bench = alone(DAY);
    let mut due = pass(&mut bench, EVERY_MS);
    due[0].offer = Err("it is too large".to_owned());
    let said = begin(&mut bench, &due[0]);
    assert!(said.iter().any(|it| it.contains("event")), "{said:?}");
    assert!(bench.minion.running().is_none());
    assert!(pass(&mut bench, 1).is_empty());
}

#[test]
fn a_minion_that_cannot_keep_a_result_tries_again_later() {
    let mut bench = alone(DAY);
    let due = pass(&mut bench, EVERY_MS);
    bench.minion.disk_fault = Some("no space left".to_owned());
    bench.minion.disk_retry = Timestamp(u64::MAX);
    begin(&mut bench, &due[0]);
    assert!(bench.minion.running().is_none());
    assert!(pass(&mut bench, 1_000).is_empty(), "not at once");
    bench.minion.disk_fault = None;
    let again = pass(&mut bench, EVERY_MS);
    assert_eq!(again.len(), 1);
}
