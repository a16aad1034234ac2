//! Jobs of minions' own schedules, from those who may tell of them and from others.

use crate::core::{test_kit::*, *};
use bus::message::{Begun, FromMinion, Hello, JobResult, scheduled_job};
use model::{JobId, Mode, TargetState, Terminal};
use serde_json::json;

const SLOT: Timestamp = Timestamp(900_000_000);

fn begun(number: u64, job: JobId) -> FromMinion {
    let data =
        json!({"job": job, "slot_ms": SLOT, "late_ms": 0, "missed": 0, "mode": "apply", "states": ["web"]});
    FromMinion::Event { number, tag: "schedule/tidy".to_owned(), data, gap: 0 }
}

fn open(bench: &Bench) -> usize {
    bench.master.book.open.len()
}

#[test]
fn a_job_of_a_minions_own_is_on_record_once_and_ends_once() {
    let mut bench = Bench::with(&["vm-1"]);
    let job = scheduled_job(&id("vm-1"), "tidy", SLOT);
    let effects = bench.say("vm-1", begun(1, job));
    assert!(tags(&effects).contains(&"minion/vm-1/schedule/tidy"), "rules see it: {effects:?}");
    let known = bench.job(job.0);
    assert_eq!((known.caller.name.as_str(), known.target.as_str()), ("schedule:vm-1/tidy", "vm-1"));
    assert!(matches!(bench.on_disk(job.0, "vm-1"), Some(TargetState::Received { .. })));
    assert!(compiles(&effects).is_empty() && offers(&effects).is_empty(), "nobody sends it anything");
    bench.crash();
    let hello = bus::message::Hello { unacknowledged: vec![job], ..hello() };
    let effects = bench.back("vm-1", hello);
    assert!(compiles(&effects).is_empty() && offers(&effects).is_empty());
    bench.say("vm-1", begun(1, job));
    bench.say("vm-1", result(job, Terminal::Changed));
    assert_eq!(bench.word(job.0, "vm-1"), Some(Terminal::Changed));
    let effects = bench.say("vm-1", result(job, Terminal::Failed));
    assert!(records(&effects).is_empty(), "its end is never altered");
    bench.say("vm-1", begun(2, job));
    assert_eq!(open(&bench), 0, "told again it is the same job");
}

#[test]
fn nobody_tells_of_jobs_of_others_or_under_ids_of_other_jobs() {
    let mut bench = Bench::with(&["vm-1", "vm-2"]);
    let of_the_other = scheduled_job(&id("vm-2"), "tidy", SLOT);
    bench.say("vm-1", begun(1, of_the_other));
    bench.say("vm-1", begun(2, JobId(7)));
    bench.say("vm-1", begun(3, scheduled_job(&id("vm-1"), "other", SLOT)));
    let data = json!({"job": 5, "slot_ms": "x"});
    bench.say("vm-1", FromMinion::Event { number: 4, tag: "schedule/tidy".to_owned(), data, gap: 0 });
    assert_eq!(open(&bench), 0);
    assert_eq!(bench.counted("schedule of a minion with a job that is not its own"), 3);
    assert_eq!(bench.counted("schedule of a minion that cannot be read"), 1);
}

#[test]
fn a_full_store_takes_neither_the_job_nor_its_result_until_there_is_room() {
    let mut bench = Bench::with(&["vm-1"]);
    let job = scheduled_job(&id("vm-1"), "tidy", SLOT);
    bench.step(Input::StoreHealth(Some("no space left".to_owned())));
    assert!(sent(&bench.say("vm-1", begun(1, job))).is_empty());
    assert!(sent(&bench.say("vm-1", result(job, Terminal::Ok))).is_empty(), "it is not acknowledged");
    bench.step(Input::StoreHealth(None));
    bench.back("vm-1", bus::message::Hello { unacknowledged: vec![job], ..hello() });
    bench.say("vm-1", begun(1, job));
    bench.say("vm-1", result(job, Terminal::Ok));
    assert_eq!(bench.word(job.0, "vm-1"), Some(Terminal::Ok));
}

/// The slot that is so many milliseconds away from [`SLOT`], as its event tells it.
fn slot(name: &str, of: &str, slot: Timestamp, number: u64) -> (JobId, FromMinion) {
    let job = scheduled_job(&id(name), of, slot);
    let data = json!({"job": job, "slot_ms": slot, "late_ms": 0, "missed": 0, "mode": "apply", "states": []});
    (job, FromMinion::Event { number, tag: format!("schedule/{of}"), data, gap: 0 })
}

fn told(job: JobId, schedule: &str, slot_ms: Timestamp) -> FromMinion {
    let states = vec!["x".repeat(1_000); 100];
    let begun = Some(Box::new(Begun { schedule: schedule.to_owned(), slot_ms, mode: Mode::Apply, states }));
    let FromMinion::Result(result) = result(job, Terminal::Changed) else { unreachable!() };
    FromMinion::Result(Box::new(JobResult { begun, ..*result }))
}

#[test]
fn one_minion_takes_few_places_and_none_of_others_and_no_result_is_lost() {
    let mut bench = Bench::with(&["vm-1", "vm-2"]);
    let most = crate::core::jobs::OPEN_JOBS_MAX as u64;
    for number in 1..=most + 10 {
        let (_, event) = slot("vm-1", "tidy", SLOT.plus_ms(number), number);
        bench.say("vm-1", event);
    }
    assert_eq!(open(&bench), super::OWN_JOBS_MAX);
    assert_eq!(compiles(&bench.submit(1, "vm-2", apply())), [id("vm-2")], "others go on");
    // Jobs of the minions' own take no places of those that people want, however many minions there are.
    assert_eq!(bench.master.book.own_open, super::OWN_JOBS_MAX);
    // The end of one that was not on record is.
    let at = SLOT.plus_ms(most);
    let job = scheduled_job(&id("vm-1"), "tidy", at);
    bench.say("vm-1", told(job, "tidy", at));
    assert_eq!(bench.word(job.0, "vm-1"), Some(Terminal::Changed));
    assert_eq!(open(&bench), super::OWN_JOBS_MAX + 1);
    let (first, _) = slot("vm-1", "tidy", SLOT.plus_ms(1), 1);
    bench.say("vm-1", result(first, Terminal::Ok));
    assert_eq!(bench.master.book.own_open, super::OWN_JOBS_MAX - 1);
}

#[test]
fn a_result_tells_of_a_job_whose_event_was_dropped_and_only_of_the_minions_own() {
    let mut bench = Bench::with(&["vm-1", "vm-2"]);
    let job = scheduled_job(&id("vm-1"), "tidy", SLOT);
    for (name, schedule, slot) in
        [("vm-2", "tidy", SLOT), ("vm-1", "other", SLOT), ("vm-1", "tidy", SLOT.plus_ms(1))]
    {
        let effects = bench.say(name, told(job, schedule, slot));
        assert!(!bench.master.book.knows_job(job) && sent(&effects).len() == 1, "acknowledged and forgotten");
    }
    let effects = bench.say("vm-1", told(job, "tidy", SLOT));
    assert_eq!(sent(&effects), [&bus::message::ToMinion::Ack { jobs: vec![job], events: None }]);
    assert_eq!(bench.word(job.0, "vm-1"), Some(Terminal::Changed));
    let model::JobKind::Apply { states, .. } = bench.job(job.0).kind else { panic!() };
    assert_eq!((states.len(), states[0].len()), (64, 128), "what it says is cut");
    assert_eq!(bench.job(job.0).caller.name, "schedule:vm-1/tidy");
    bench.say("vm-1", begun(1, job));
    let effects = bench.say("vm-1", told(job, "tidy", SLOT));
    assert!(records(&effects).is_empty() && open(&bench) == 0, "once");
    // No name that is none of an event.
    let odd = scheduled_job(&id("vm-1"), "a b/../c", SLOT);
    bench.say("vm-1", told(odd, "a b/../c", SLOT));
    assert!(!bench.master.book.knows_job(odd));
}

#[test]
fn slots_of_the_future_and_of_long_ago_are_not_believed() {
    let mut bench = Bench::with(&["vm-1"]);
    let year = 366 * 86_400_000;
    bench.now = Timestamp(SLOT.0 + 2 * year);
    bench.step(Input::Tick);
    for (number, at) in [(1, bench.now.plus_ms(2 * 86_400_000)), (2, SLOT)] {
        let (job, event) = slot("vm-1", "tidy", at, number);
        bench.say("vm-1", event);
        bench.say("vm-1", told(job, "tidy", at));
        assert!(!bench.master.book.knows_job(job));
    }
    let (job, event) = slot("vm-1", "tidy", bench.now.plus_ms(3_600_000), 3);
    bench.say("vm-1", event);
    assert!(bench.master.book.knows_job(job), "its clock may be an hour ahead");
}

#[test]
fn a_result_waits_with_the_minion_while_events_of_its_connection_do() {
    let mut bench = Bench::with(&["vm-1"]);
    let job = scheduled_job(&id("vm-1"), "tidy", SLOT);
    bench.step(Input::StoreHealth(Some("no space left".to_owned())));
    bench.say("vm-1", begun(1, job));
    // Room again, and the result comes before the connection is over on which its event was held.
    bench.step(Input::StoreHealth(None));
    for result in [result(job, Terminal::Ok), told(job, "tidy", SLOT)] {
        assert!(sent(&bench.say("vm-1", result)).is_empty(), "it is not acknowledged");
    }
    bench.back("vm-1", Hello { unacknowledged: vec![job], ..hello() });
    bench.say("vm-1", begun(1, job));
    bench.say("vm-1", result(job, Terminal::Ok));
    assert_eq!(bench.word(job.0, "vm-1"), Some(Terminal::Ok));
}

#[test]
fn a_machine_that_was_put_back_in_the_middle_of_its_own_run_was_interrupted() {
    let mut bench = Bench::with(&["vm-1"]);
    let job = scheduled_job(&id("vm-1"), "tidy", SLOT);
    bench.say("vm-1", begun(1, job));
    bench.back("vm-1", Hello { running: Some(job), ..hello() });
    assert_eq!(bench.word(job.0, "vm-1"), None);
    bench.back("vm-1", hello());
    assert_eq!(bench.word(job.0, "vm-1"), Some(Terminal::Interrupted));
    assert_eq!(open(&bench), 0);
}
