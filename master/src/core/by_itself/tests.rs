//! Jobs of minions' own schedules, from those who may tell of them and from others.

use crate::core::{test_kit::*, *};
use bus::message::{FromMinion, scheduled_job};
use model::{JobId, TargetState, Terminal};
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
