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
    checker.committed(&Batch { entries, ..Batch::default() }, 1)
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
    Start {
        at: 2,
        attempt,
        life: 0,
        worker_life,
        busy: None,
        master_time: Some(2),
        welcomed_at: 1,
        behind: None,
        own: false,
    }
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
    let read =
        |lines: Vec<AuditLine>| Checker::default().committed(&Batch { audit: lines, ..Batch::default() }, 1);
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
    checker.journalled(&minion(), 0, &[entry]).unwrap();
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

#[test]
fn waves_that_may_not_begin_are_found() {
    let rolling = |text: &str| serde_json::from_str(text).map(Box::new).unwrap();
    let at_work = Contact { lately: [minion()].into(), here: [minion()].into() };
    let began = |many: usize, more: &str| {
        let begun = vec!["1"; many].join(",");
        let data =
            serde_json::from_str(&format!("{{\"begun\":[{begun}],\"phase\":{{\"at\":\"running\"}}{more}}}"));
        Entry::Kept { part: Part::Rolling, key: JOB.to_string(), data: Some(data.unwrap()) }
    };
    let run = |text: &str, contact: &Contact, entries: &[Entry]| {
        let mut checker = Checker::default();
        let minions = vec![minion(), "vm-2".parse().unwrap()];
        let job = Job { minions, rolling: Some(rolling(text)), ..job() };
        let first = [Entry::Audit(audit()), Entry::Job(job), target(TargetState::Accepted), began(1, "")];
        committed(&mut checker, &first).unwrap();
        let batch = |entries| Batch { entries, contact: contact.clone(), ..Batch::default() };
        entries.iter().try_for_each(|it| checker.committed(&batch(std::slice::from_ref(it)), 2))
    };
    let away = Contact::default();
    let one = r#"{"batch": 1, "max_fail": 2}"#;
    assert_eq!(run(one, &at_work, &[end(Terminal::Failed), began(2, "")]), Ok(()));
    assert_eq!(run(one, &away, &[began(2, "")]), Ok(()), "it counts as failed");
    let stop = r#","stopped":"two failed""#;
    let cases = [
        (one, &at_work, vec![began(2, "")], "while vm-1 was at its part"),
        (one, &at_work, vec![began(1, stop), began(2, stop)], "although the run had stopped"),
        (r#"{"batch": 1}"#, &at_work, vec![end(Terminal::Failed), began(2, "")], "machines had failed"),
        (
            r#"{"batch": 1, "batch_wait_ms": 9}"#,
            &at_work,
            vec![end(Terminal::Ok), began(2, "")],
            "was to wait",
        ),
        (one, &away, vec![began(0, "")], "went from wave"),
    ];
    for (text, contact, entries, wanted) in cases {
        let complaint = run(text, contact, &entries);
        assert!(complaint.as_ref().is_err_and(|it| it.contains(wanted)), "{wanted}: {complaint:?}");
    }
}

#[test]
fn slots_and_calls_that_may_not_be_are_found() {
    let data = |slot: u64| serde_json::json!({ "slot": slot, "slot_ms": slot, "missed": 0 });
    let mut slots = Slots::default();
    assert!(slots.ran("s", &data(5)).unwrap_err().contains("is not on disk"));
    slots.moved("s", Some(&data(1))).unwrap();
    assert!(slots.ran("s", &data(5)).unwrap_err().contains("without its turn"));
    slots.moved("s", Some(&data(5))).unwrap();
    assert!(slots.ran("s", &data(5)).unwrap_err().contains("ran twice"));
    assert!(slots.moved("s", Some(&data(4))).unwrap_err().contains("went back"));

    let (mut calls, mut services) = (Calls::default(), Services::default());
    assert!(services.called(&calls, "a", 0).unwrap_err().contains("is not on disk"));
    calls.kept("a", Some(&serde_json::json!({})));
    services.called(&calls, "a", 0).unwrap();
    assert!(services.finish(&calls).unwrap_err().contains("waits for ever"));
    services.answered("a", true, 7);
    services.called(&calls, "a", 6).unwrap();
    assert!(services.called(&calls, "a", 7).unwrap_err().contains("its answer is on disk"));
    calls.kept("a", Some(&serde_json::json!({"delivered": 1})));
    assert!(services.called(&calls, "a", 0).unwrap_err().contains("its answer is on disk"));
}

#[test]
fn a_rule_that_forgets_is_found() {
    let event = |number: u64, at: u64, tag: &str, data: serde_json::Value| Event {
        number,
        tag: tag.to_owned(),
        source: model::Source::Minion(minion()),
        at: Timestamp(at),
        data,
        hops: 0,
        cause: Vec::new(),
    };
    let made = |number, at| event(number, at, "minion/vm-1/event/made", serde_json::json!({}));
    let woke = |at| event(9, at, "rule/mem-settle/time", serde_json::json!({"key": "vm-1", "fired": true}));
    let mut memory = RuleMemory::default();
    memory.heard("vm-1", &made(1, 1_000));
    assert!(memory.check().unwrap_err().contains("without what"));
    assert!(memory.clone().woke("mem-settle", &woke(15_999)).is_err(), "too early");
    assert!(memory.overdue(76_001).unwrap().contains("mem-settle"));
    memory.woke("mem-settle", &woke(16_000)).unwrap();
    assert!(memory.woke("mem-settle", &woke(17_000)).is_err(), "twice");
}
