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
    alone_with(now, OUTBOX_BYTES_MAX)
}

fn alone_with(now: Timestamp, outbox_bytes: usize) -> Bench {
    let mut bench = Bench::new();
    bench.settings.outbox_bytes = outbox_bytes;
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
fn a_slot_begins_a_run_without_any_master_once_and_nobody_hears_of_it_before_it_is_on_disk() {
    let mut bench = alone(DAY);
    assert!(pass(&mut bench, EVERY_MS - 20).is_empty());
    let due = pass(&mut bench, 20);
    assert_eq!((due.len(), due[0].late_ms, due[0].missed), (1, 10, 0));
    assert!(pass(&mut bench, 1).is_empty(), "it is asked for once");
    let said = begin(&mut bench, &due[0]);
    let of = |word: &str| {
        said.iter().position(|it| it.contains(word)).unwrap_or_else(|| panic!("{word}: {said:?}"))
    };
    assert!(of("received") < of("event") && of("event") < of("start"), "{said:?}");
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
fn a_run_that_finds_no_room_waits_for_it() {
    let mut bench = alone(DAY);
    let due = pass(&mut bench, EVERY_MS);
    let effects = bench.minion.step(bench.now, Input::Scheduled(Box::new(due[0].clone())));
    let input = Input::NotRecorded { entries: entries(&effects), reason: "no space".to_owned() };
    let said: Vec<String> = bench.minion.step(bench.now, input).iter().map(gist).collect();
    assert!(said.iter().all(|it| !it.contains("refused")), "{said:?}");
    bench.now = bench.now.plus_ms(DISK_RETRY_MS);
    let again = bench.minion.step(bench.now, Input::Tick);
    assert!(entries(&again).iter().any(|it| matches!(it, Entry::Received(it) if it.job == due[0].job)));
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

/// The master's clock is this far from the minion's.
fn heard(bench: &mut Bench, ahead_ms: i64) {
    bench.step(Input::Connected);
    let now = Timestamp(bench.now.0.saturating_add_signed(ahead_ms));
    let (version, want_grains) = ("0.1.0".to_owned(), false);
    let message = ToMinion::Welcome { version, now, want_grains, heartbeat_s: 30, sample_s: 0, spread_s: 0 };
    bench.step(Input::Message { message: Box::new(message), sent: now });
}

#[test]
fn a_clock_that_was_ahead_stops_no_schedule_until_then() {
    const YEAR: u64 = 366 * 86_400_000;
    let mut bench = alone(DAY.plus_ms(YEAR));
    let due = pass(&mut bench, EVERY_MS);
    begin(&mut bench, &due[0]);
    bench.ended(due[0].job.0, Outcome::Changed);
    heard(&mut bench, -YEAR.cast_signed());
    assert!(pass(&mut bench, 1_000).is_empty(), "nothing is made up for");
    assert_eq!(pass(&mut bench, EVERY_MS).len(), 1, "the next slot by the master's clock");
    // What the master's clock is heard a little late by begins nothing anew.
    let mut bench = alone(DAY);
    let due = pass(&mut bench, EVERY_MS);
    begin(&mut bench, &due[0]);
    heard(&mut bench, -500);
    let before = bench.minion.snapshot();
    assert!(pass(&mut bench, 1).is_empty());
    let slots =
        |all: Vec<Entry>| all.into_iter().filter(|it| matches!(it, Entry::Slot { .. })).collect::<Vec<_>>();
    assert_eq!(slots(bench.minion.snapshot()), slots(before));
}

#[test]
fn a_schedule_that_rested_counts_from_when_it_is_back_also_over_a_restart() {
    let mut bench = alone(DAY);
    let none = || Input::Schedules { id: "vm-1".parse().unwrap(), list: Vec::new() };
    let effects = bench.minion.step(bench.now, none());
    keep(&mut bench, &effects);
    assert!(effects.iter().any(|it| matches!(it, Effect::Record(_))), "it is on record that it is gone");
    bench.crash();
    bench.step(none());
    assert!(pass(&mut bench, 10 * EVERY_MS).is_empty());
    bench.step(told(Missed::Once));
    assert!(pass(&mut bench, 1_000).is_empty(), "what passed meanwhile is nobody's");
    assert_eq!(pass(&mut bench, EVERY_MS).len(), 1);
}

#[test]
fn a_result_says_what_the_minion_began_by_itself_and_nobody_elses_does() {
    let mut bench = alone_with(DAY, OUTBOX_BYTES_MIN);
    let due = pass(&mut bench, EVERY_MS);
    begin(&mut bench, &due[0]);
    // Its event is dropped from a full outbox.
    let events =
        (0..100).map(|it| ("beacon/x".to_owned(), json!({ "text": "x".repeat(14_000), "number": it })));
    let effects = bench.minion.step(bench.now, Input::Events(events.collect()));
    keep(&mut bench, &effects);
    let tags = bench.minion.snapshot().into_iter().filter_map(|it| match it {
        Entry::Event { tag, .. } => Some(tag),
        _ => None,
    });
    assert!(tags.into_iter().all(|it| it == "beacon/x"), "it is gone");
    let said = |bench: &mut Bench, job: u128| {
        let report = Box::new(report(Outcome::Changed));
        let end = RunEnd::Report { report, events: Vec::new() };
        let effects = bench.minion.step(bench.now, Input::RunEnded { job: JobId(job), end });
        keep(bench, &effects);
        effects.into_iter().find_map(|it| match it {
            Effect::Record(entry) => match *entry {
                Entry::Ended(result) => Some(result),
                _ => None,
            },
            _ => None,
        })
    };
    let begun = said(&mut bench, due[0].job.0).unwrap().begun.unwrap();
    assert_eq!((begun.schedule.as_str(), begun.slot_ms), ("tidy", due[0].slot));
    assert_eq!((begun.mode, begun.states.as_slice()), (Mode::Apply, ["tidy".to_owned()].as_slice()));
    assert_eq!(
        bus::message::scheduled_job(&"vm-1".parse().unwrap(), &begun.schedule, begun.slot_ms),
        due[0].job
    );
    // Over a restart it is the same.
    let ended = bench.minion.snapshot().into_iter().find_map(|it| match it {
        Entry::Ended(result) => result.begun,
        _ => None,
    });
    assert_eq!(ended, Some(begun));
    heard(&mut bench, 0);
    let offered = bench.offer(Offer { begun: ended, expires: Timestamp(u64::MAX - 1), ..offer(7) });
    assert!(offered.iter().any(|it| it.contains("start")), "{offered:?}");
    assert!(said(&mut bench, 7).unwrap().begun.is_none(), "a master's job is none of its own");
}
