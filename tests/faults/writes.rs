//! Writes and syncs that fail, at one point after the other: what cannot be believed any more ends, a full disk does not.

use crate::points::{Points, What, Whom, has_ended, strace_missing};
use model::Terminal;
use std::path::PathBuf;
use tests::{
    lab::{LIMIT, Lab},
    promise::Promise,
    strace::Fault,
    wait,
};

fn lab_of_one() -> (Lab, Promise) {
    let mut lab = Lab::prepare();
    let promise = Promise::of(&lab);
    lab.start_master();
    lab.minions(&["vm-1"]);
    (lab, promise)
}

fn store(lab: &Lab) -> [PathBuf; 2] {
    ["store.db", "store.db-wal"].map(|it| lab.root().join("var/lib/labctl/master").join(it))
}

fn journal(lab: &Lab) -> [PathBuf; 1] {
    [lab.minion_folder("vm-1").join("state/journal/journal.jsonl")]
}

#[test]
fn a_sync_of_the_store_that_fails_ends_the_master_and_loses_nothing() {
    if strace_missing("a_sync_of_the_store_that_fails_ends_the_master_and_loses_nothing") {
        return;
    }
    let (mut lab, mut promise) = lab_of_one();
    let fault = &|_: &Lab, n| Fault::at("fsync,fdatasync", "error=EIO", n);
    let mut points = Points { whom: Whom::Master, what: What::Command, every: 1, fault, disk: None };
    assert!(points.run(&mut lab, &mut promise) >= 2);
    promise.hold(&lab);
}

#[test]
fn a_write_of_the_store_that_fails_ends_the_master_and_loses_nothing() {
    if strace_missing("a_write_of_the_store_that_fails_ends_the_master_and_loses_nothing") {
        return;
    }
    let (mut lab, mut promise) = lab_of_one();
    let fault = &|lab: &Lab, n| Fault::at("pwrite64", "error=EIO", n).on(&store(lab));
    let mut points = Points { whom: Whom::Master, what: What::Apply, every: 9, fault, disk: None };
    assert!(points.run(&mut lab, &mut promise) >= 2);
    promise.hold(&lab);
}

#[test]
fn the_master_is_killed_at_writes_of_the_store() {
    if strace_missing("the_master_is_killed_at_writes_of_the_store") {
        return;
    }
    let (mut lab, mut promise) = lab_of_one();
    let fault = &|lab: &Lab, n| Fault::at("pwrite64", "signal=KILL", n).on(&store(lab));
    let mut points = Points { whom: Whom::Master, what: What::Command, every: 7, fault, disk: None };
    assert!(points.run(&mut lab, &mut promise) >= 2);
    promise.hold(&lab);
}

#[test]
fn a_journal_that_cannot_be_written_ends_the_minion_and_loses_nothing() {
    if strace_missing("a_journal_that_cannot_be_written_ends_the_minion_and_loses_nothing") {
        return;
    }
    let (mut lab, mut promise) = lab_of_one();
    for calls in ["write", "fdatasync", "fsync,fdatasync,write"] {
        let fault = &move |lab: &Lab, n| Fault::at(calls, "error=EIO", n).on(&journal(lab));
        let mut points = Points { whom: Whom::Minion, what: What::Command, every: 1, fault, disk: None };
        points.run(&mut lab, &mut promise);
    }
    promise.hold(&lab);
}

/// A disk that is full for one write, and one that is full until it is not.
#[test]
fn a_store_without_room_at_any_write_recovers_by_itself() {
    if strace_missing("a_store_without_room_at_any_write_recovers_by_itself") {
        return;
    }
    let (mut lab, mut promise) = lab_of_one();
    promise.without_room();
    let pid = lab.master_pid();
    for n in [1, 4, 9, 14, 19, 26] {
        for fault in
            [Fault::at("pwrite64", "error=ENOSPC", n), Fault::at("pwrite64", "error=ENOSPC", n).and_after()]
        {
            let strace = fault.on(&store(&lab)).attach(pid);
            // Who asks while nothing can be stored may have to wait until it can.
            let asked = std::thread::scope(|scope| {
                let asking = scope.spawn(|| promise.command(&lab, "vm-1", "true"));
                let _ = wait::try_until(wait::seconds(1), || asking.is_finished().then_some(()));
                drop(strace);
                asking.join().expect("asking does not panic")
            });
            wait::until("new jobs to be taken again", LIMIT, || {
                promise.insist(&lab);
                promise.unanswered().is_empty().then_some(())
            });
            assert!([Terminal::Changed, Terminal::Ok].contains(&promise.word(&lab, asked)), "point {n}");
        }
    }
    assert_eq!(lab.master_pid(), pid);
    assert!(!lab.master_ended(), "without a restart");
    promise.hold(&lab);
}

/// As the minion's own log says.
fn is_full(lab: &Lab) -> bool {
    let logs = lab.logs();
    logs.matches("the disk is full").count() > logs.matches("the disk takes records again").count()
}

#[test]
fn a_journal_without_room_at_any_write_recovers_by_itself() {
    if strace_missing("a_journal_without_room_at_any_write_recovers_by_itself") {
        return;
    }
    let (mut lab, mut promise) = lab_of_one();
    let pid = lab.agent(0).pid();
    for n in 1..=3 {
        let strace = Fault::at("write", "error=ENOSPC", n).on(&journal(&lab)).attach(pid);
        let job = promise.command(&lab, "vm-1", "true");
        promise.word(&lab, job);
        drop(strace);
        wait::until("new jobs to be taken again", LIMIT, || {
            // It would refuse them for ten seconds: so many jobs are more than one caller may ask for.
            if is_full(&lab) {
                return None;
            }
            let job = promise.command(&lab, "vm-1", "true");
            wait::until("it to end", LIMIT, || has_ended(&lab, job).then_some(()));
            (promise.word(&lab, job) == Terminal::Changed).then_some(())
        });
    }
    assert_eq!(lab.agent(0).pid(), pid);
    assert!(!lab.agent(0).ended(), "without a restart");
    promise.hold(&lab);
}
