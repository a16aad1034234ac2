//! The checker finds what may not be.

use super::*;
use model::{Caller, Tally, Timestamp};

const JOB: JobId = JobId(1);

fn minion() -> MinionId {
    "vm-1".parse().unwrap()
}

fn target(state: TargetState) -> Entry {
    Entry::Target(JobTarget {
        job: JOB,
        minion: minion(),
        state,
        diagnostics: Vec::new(),
        lost: None,
        turn: None,
    })
}

fn end(word: Terminal) -> Entry {
    let at = Timestamp(2);
    let (tally, reason) = (Tally::default(), String::new());
    target(TargetState::Ended { word, at, duration_ms: None, tally, reason, code: None })
}

fn job() -> Job {
    let kind = JobKind::Run {
        command: vec!["true".to_owned()],
        shell: false,
        cwd: None,
        user: None,
        environment: BTreeMap::new(),
        timeout_ms: 1_000,
    };
    Job {
        id: JOB,
        kind,
        target: "vm-1".to_owned(),
        minions: vec![minion()],
        caller: caller(),
        at: Timestamp(1),
        expires: Timestamp(60_000),
        wait: false,
        revision: None,
        retry_of: None,
        ended: None,
        cancelled: None,
        hops: 0,
        rolling: None,
        roll: None,
    }
}

fn caller() -> Caller {
    Caller::new("admin", "sim", "admin")
}

fn audit() -> master::core::Audit {
    let result = format!("accepted as {JOB}");
    master::core::Audit { at: Timestamp(1), caller: caller(), what: "submit".to_owned(), result }
}

fn committed(checker: &mut Checker, entries: &[Entry]) -> Result<(), String> {
    checker.committed(&Batch { entries, audit: Vec::new() }, 1)
}

/// A checker that saw a command for one minion, accepted.
fn checker() -> Checker {
    let mut checker = Checker::default();
    assert!(checker.replied(&job()).is_err(), "shown before it was on disk");
    let entries = [Entry::Audit(audit()), Entry::Job(job()), target(TargetState::Accepted)];
    committed(&mut checker, &entries).unwrap();
    checker.replied(&job()).unwrap();
    checker
}

fn start(attempt: u32, worker_life: u64) -> Start {
    Start { at: 2, attempt, life: 0, worker_life, busy: None, master_time: Some(2), welcomed_at: 1 }
}

fn finish(checker: &Checker) -> Result<(), String> {
    checker.finish(&BTreeSet::new())
}

fn report() -> RunReport {
    RunReport {
        mode: model::Mode::Apply,
        steps: Vec::new(),
        duration_ms: 1,
        cancelled: false,
        sandbox: false,
    }
}

#[test]
fn a_good_history_is_good() {
    let mut checker = checker();
    checker.started(JOB, &minion(), start(1, 0)).unwrap();
    checker.ran(JOB, &minion(), &report());
    committed(&mut checker, &[end(Terminal::Ok), end(Terminal::Ok)]).unwrap();
    checker.acknowledged(JOB, &minion()).unwrap();
    finish(&checker).unwrap();
}

#[test]
fn records_that_may_not_be_are_found() {
    let mut second = checker();
    committed(&mut second, &[end(Terminal::Failed)]).unwrap();
    let stranger = "vm-2".parse().unwrap();
    let cases = [
        (committed(&mut second, &[end(Terminal::Expired)]), "a terminal record changed"),
        (committed(&mut Checker::default(), &[end(Terminal::Ok)]), "which nobody asked for"),
        (
            committed(&mut checker(), &[Entry::Report(JOB, stranger, Box::new(report()))]),
            "which nobody asked for",
        ),
        (committed(&mut Checker::default(), &[Entry::Job(job())]), "without its line in the audit log"),
    ];
    for (result, wanted) in cases {
        assert!(result.as_ref().is_err_and(|it| it.contains(wanted)), "{result:?}");
    }
}

#[test]
fn a_line_outside_the_chain_is_found() {
    let mut chain = [0; 32];
    let first = AuditLine::append(&audit(), &mut chain);
    let second = AuditLine::append(&audit(), &mut chain);
    let read = |lines: Vec<AuditLine>| Checker::default().committed(&Batch { entries: &[], audit: lines }, 1);
    assert_eq!(read(vec![first.clone(), second.clone()]), Ok(()));
    assert!(read(vec![second.clone()]).is_err() && read(vec![first.clone(), first.clone()]).is_err());
    let altered = AuditLine { text: second.text.replace("admin", "nobody"), ..second };
    assert!(read(vec![first, altered]).unwrap_err().contains("outside the chain"));
}

#[test]
fn a_job_without_an_end_and_one_that_was_lost_are_found() {
    assert!(finish(&checker()).unwrap_err().contains("has no end"));
    let mut lost = checker();
    committed(&mut lost, &[end(Terminal::Failed)]).unwrap();
    lost.submitted.insert(JobId(9));
    assert!(finish(&lost).unwrap_err().contains("was lost"));
}

#[test]
fn an_acknowledgement_before_the_end_is_on_disk_is_found() {
    assert!(checker().acknowledged(JOB, &minion()).is_err());
}

#[test]
fn runs_that_may_not_be_are_found() {
    let late = Start { master_time: Some(60_000 + LAG_MS + 1), ..start(1, 0) };
    let busy = Start { busy: Some(JobId(3)), ..start(1, 0) };
    for (starts, wanted) in [
        (vec![start(1, 0), start(2, 1)], "a command ran twice"),
        (vec![late], "began after its expiry"),
        (vec![busy], "is still at work"),
    ] {
        let mut checker = checker();
        let complaint = starts.into_iter().find_map(|it| checker.started(JOB, &minion(), it).err());
        assert!(complaint.as_ref().is_some_and(|it| it.contains(wanted)), "{complaint:?}");
    }
    let unknown = checker().started(JobId(9), &minion(), start(1, 0)).unwrap_err();
    assert!(unknown.contains("not on the master's disk"), "{unknown}");
    let mut cancelled = checker();
    cancelled.cancelled(&JOB.to_string(), 5);
    let complaint = cancelled.started(JOB, &minion(), Start { welcomed_at: 6, ..start(1, 0) }).unwrap_err();
    assert!(complaint.contains("was cancelled"), "{complaint}");
}

#[test]
fn a_received_offer_that_is_forgotten_is_found() {
    let mut checker = checker();
    checker.said(&minion(), 0, &FromMinion::Received { job: JOB }).unwrap();
    let hello = |waiting| {
        FromMinion::Hello(Box::new(bus::message::Hello {
            version: String::new(),
            boot: String::new(),
            first_of_boot: false,
            sandbox: false,
            grains_hash: model::ContentHash([0; 32]),
            grains: None,
            running: None,
            waiting,
            unacknowledged: Vec::new(),
            next_event: 1,
            masters: 1,
            masters_hash: None,
            speaker: bus::message::Speaker::default(),
            can: Vec::new(),
            conduct: None,
        }))
    };
    checker.said(&minion(), 0, &hello(vec![JOB])).unwrap();
    assert!(checker.said(&minion(), 0, &hello(Vec::new())).unwrap_err().contains("does not know it"));
    checker.heard_ack(&[JOB], &minion(), 0);
    checker.said(&minion(), 0, &hello(Vec::new())).unwrap();
}

#[test]
fn events_that_are_lost_or_taken_twice_are_found() {
    let mut checker = checker();
    let data = serde_json::json!({"number": 1, "life": 0});
    let entry = nc::Entry::Event { number: 4, tag: "event/made".to_owned(), data: data.clone(), gap: 0 };
    checker.journalled(&minion(), 0, &[entry]);
    assert!(checker.missing_events(&BTreeSet::new()).unwrap().contains("were lost"));
    let source = model::Source::Minion(minion());
    let (tag, at) = ("minion/vm-1/event/made".to_owned(), Timestamp(3));
    let event = Entry::Event(Event { number: 9, tag, source, at, data, hops: 0, cause: Vec::new() });
    committed(&mut checker, std::slice::from_ref(&event)).unwrap();
    assert_eq!(checker.missing_events(&BTreeSet::new()), None);
    assert!(committed(&mut checker, &[event]).unwrap_err().contains("taken twice"));
}

#[test]
fn words_that_are_not_true_are_found() {
    let mut never = checker();
    committed(&mut never, &[end(Terminal::Changed)]).unwrap();
    assert!(finish(&never).unwrap_err().contains("its run says None"));
    let mut ran = checker();
    ran.started(JOB, &minion(), start(1, 0)).unwrap();
    committed(&mut ran, &[end(Terminal::Unreachable)]).unwrap();
    assert!(finish(&ran).unwrap_err().contains("and ran"));
}
