//! The store under kill, group commit, a full disk and retention.

use super::*;
use crate::core::{Audit, Part, Query, SealedRef};
use model::api::{EventFilter, JobFilter};
use model::{
    Caller, ContentHash, Event, Job, JobKind, JobTarget, Mode, Outcome, Output, Plan, Reply, RunReport,
    Source, StepReport, Tally, TargetState, Terminal,
};
use std::time::{Duration, Instant};

const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn open(folder: &Path) -> Store {
    let config = StoreConfig { path: folder.join("store.db"), ballast_bytes: 64 * 1024 };
    Store::open(&config).unwrap()
}

fn wait(store: &Store, number: u64) {
    let end = Instant::now() + Duration::from_secs(20);
    while *store.committed().borrow() < number {
        assert!(Instant::now() < end, "not committed in time: {:?}", *store.health().borrow());
        std::thread::yield_now();
    }
}

fn minion(id: &str) -> MinionId {
    id.parse().unwrap()
}

fn job(number: u128, at: Timestamp, ended: Option<Timestamp>) -> Job {
    Job {
        id: JobId(number),
        kind: JobKind::Apply {
            states: vec!["web".into()],
            mode: Mode::Apply,
            pillar: serde_json::Map::new(),
            env: None,
            confirm_ms: None,
        },
        target: "*".into(),
        minions: vec![minion("a"), minion("b")],
        caller: Caller::new("admin", "socket uid=0", "admin"),
        at,
        expires: at.plus_ms(60_000),
        wait: false,
        revision: None,
        retry_of: None,
        ended,
        cancelled: None,
        hops: 0,
        rolling: None,
        roll: None,
    }
}

fn target(job: u128, id: &str, word: Option<Terminal>) -> JobTarget {
    let ended = |word| TargetState::Ended {
        word,
        at: NOW,
        duration_ms: Some(3),
        tally: Tally::default(),
        reason: String::new(),
        code: None,
    };
    let state = word.map_or(TargetState::Accepted, ended);
    JobTarget { job: JobId(job), minion: minion(id), state, diagnostics: Vec::new(), lost: None, turn: None }
}

fn event(number: u64, tag: &str) -> Entry {
    let data = serde_json::json!({"n": number});
    Entry::Event(Event {
        number,
        tag: tag.into(),
        source: Source::Master,
        at: NOW,
        data,
        hops: 0,
        cause: Vec::new(),
    })
}

fn rows(entries: impl IntoIterator<Item = Entry>) -> Vec<Row> {
    entries.into_iter().map(|it| Row::Entry(Box::new(it))).collect()
}

fn report(outcome: Outcome, comment: &str) -> RunReport {
    let step = StepReport {
        index: 0,
        id: "x".into(),
        sls: "web".into(),
        kind: "file.managed".into(),
        name: "/x".into(),
        outcome,
        comment: comment.into(),
        plan: Plan::default(),
        output: None,
        duration_ms: 1,
        at: None,
    };
    RunReport { mode: Mode::Apply, steps: vec![step], duration_ms: 1, cancelled: false, sandbox: false }
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill_at_any_moment() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    for number in 1..=20_u64 {
        let seq =
            store.commit(rows([event(number, "a"), Entry::Job(job(number.into(), NOW, None))])).unwrap();
        wait(&store, seq);
        // What a kill leaves: the files as they are, without a close.
        let dead = tempfile::tempdir().unwrap();
        for suffix in ["store.db", "store.db-wal"] {
            std::fs::copy(folder.path().join(suffix), dead.path().join(suffix)).unwrap();
        }
        let entries = open(dead.path()).load().unwrap();
        let jobs = entries.iter().filter(|it| matches!(it, Entry::Job(_))).count() as u64;
        assert_eq!(jobs, number);
        assert!(entries.contains(&event(number, "a")), "the cursor is the highest event");
    }
}

#[test]
fn a_batch_that_was_not_acknowledged_is_there_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    for number in 1..=200_u64 {
        store.commit(rows([
            Entry::Job(job(number.into(), NOW, None)),
            Entry::Target(target(number.into(), "a", None)),
        ]));
    }
    let dead = tempfile::tempdir().unwrap();
    for suffix in ["store.db", "store.db-wal"] {
        std::fs::copy(folder.path().join(suffix), dead.path().join(suffix)).unwrap();
    }
    let entries = open(dead.path()).load().unwrap();
    let count = |wanted: fn(&Entry) -> bool| entries.iter().filter(|it| wanted(it)).count();
    assert_eq!(count(|it| matches!(it, Entry::Job(_))), count(|it| matches!(it, Entry::Target(_))));
}

#[test]
fn many_batches_share_few_commits() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let mut committed = store.committed();
    let mut last = 0;
    for number in 1..=2000 {
        last = store.commit(rows([event(number, "a")])).unwrap();
    }
    let mut commits = 0;
    let end = Instant::now() + Duration::from_secs(20);
    while *committed.borrow_and_update() < last {
        while !committed.has_changed().unwrap() {
            assert!(Instant::now() < end);
        }
        commits += 1;
    }
    assert!(commits <= 400, "{commits} commits for 2000 batches");
}

#[test]
fn the_file_is_for_its_owner_only_and_of_a_known_format() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    let path = folder.path().join("store.db");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let db = Connection::open(&path).unwrap();
    db.pragma_update(None, "user_version", 9).unwrap();
    drop(db);
    let config = StoreConfig { path: path.clone(), ballast_bytes: 1 };
    let error = Store::open(&config).unwrap_err().to_string();
    assert!(error.contains("format 9") && error.contains("run the release that wrote it"), "{error}");
    std::fs::remove_file(&path).unwrap();
    let db = Connection::open(&path).unwrap();
    db.execute_batch("CREATE TABLE other(x)").unwrap();
    drop(db);
    assert!(matches!(Store::open(&config), Err(StoreError::Foreign { .. })));
}

#[test]
fn jobs_are_found_by_beginning_by_caller_and_by_minion() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let (one, two) = (0x0192_0000_u128 << 96, 0x0193_0000_u128 << 96);
    let seq = store.commit(rows([
        Entry::Job(job(one, NOW, Some(NOW))),
        Entry::Target(target(one, "a", Some(Terminal::Failed))),
        Entry::Job(job(two, NOW, None)),
        Entry::Target(target(two, "b", None)),
    ]));
    wait(&store, seq.unwrap());
    let ask = |name: &str| store.reader().answer(&Query::Job(name.into(), "admin".into()));
    let id = |reply: Reply| match reply {
        Reply::Job(view) => view.job.id,
        other => panic!("{other:?}"),
    };
    assert_eq!(id(ask(&JobId(one).to_string().to_lowercase())), JobId(one));
    assert_eq!(id(ask(&JobId(two).to_string()[..8])), JobId(two));
    assert_eq!(id(ask("@last")), JobId(two));
    for bad in ["0", "", "no such", "ü", "8ZZZ", &"0".repeat(40), "%"] {
        assert!(matches!(ask(bad), Reply::Error(_)), "{bad}");
    }
    let list = |filter: JobFilter, minions: Option<Vec<MinionId>>| match store
        .reader()
        .answer(&Query::Jobs(filter, minions))
    {
        Reply::Jobs(jobs) => jobs.iter().map(|it| it.job.id.0).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(list(JobFilter::default(), None), [two, one], "newest first");
    assert_eq!(list(JobFilter { failed: true, ..Default::default() }, None), [one]);
    assert_eq!(list(JobFilter::default(), Some(vec![minion("b")])), [two]);
    assert_eq!(list(JobFilter { caller: Some("x".into()), ..Default::default() }, None), [] as [u128; 0]);
    assert_eq!(list(JobFilter { limit: 1, ..Default::default() }, None), [two]);
}

#[test]
fn reports_come_back_as_they_were_and_silent_ones_are_no_row() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let long = report(Outcome::Changed, &"long ".repeat(2000));
    let short = report(Outcome::Failed, "short");
    let mut said = report(Outcome::Ok, "");
    said.steps[0].output = Some(Output { stdout: "hello".into(), ..Default::default() });
    let seq = store.commit(rows([
        Entry::Job(job(1, NOW, None)),
        Entry::Report(JobId(1), minion("a"), Box::new(long.clone())),
        Entry::Report(JobId(1), minion("b"), Box::new(short.clone())),
        Entry::Report(JobId(1), minion("c"), Box::new(report(Outcome::Ok, ""))),
        Entry::Report(JobId(1), minion("d"), Box::new(said.clone())),
    ]));
    wait(&store, seq.unwrap());
    let ask = |id: &str| store.reader().answer(&Query::Report(JobId(1), minion(id)));
    assert_eq!(ask("a"), Reply::Report(Some(Box::new(long))));
    assert_eq!(ask("b"), Reply::Report(Some(Box::new(short))));
    assert_eq!(ask("c"), Reply::Report(None));
    assert_eq!(ask("d"), Reply::Report(Some(Box::new(said))));
}

#[test]
fn a_recipe_is_kept_only_while_its_target_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let place = SealedRef { hash: ContentHash([1; 32]), size: 3, steps: 1, grants: Vec::new() };
    let mut batch = rows([
        Entry::Job(job(1, NOW, None)),
        Entry::Target(target(1, "a", None)),
        Entry::Recipe(JobId(1), minion("a"), place.clone()),
    ]);
    batch.push(Row::Sealed { job: JobId(1), minion: minion("a"), bytes: [7_u8, 8, 9].into() });
    let seq = store.commit(batch);
    wait(&store, seq.unwrap());
    assert_eq!(store.reader().sealed(JobId(1), &minion("a")), Some(vec![7, 8, 9]));
    assert_eq!(store.reader().sealed(JobId(1), &minion("b")), None);
    assert!(store.load().unwrap().contains(&Entry::Recipe(JobId(1), minion("a"), place)));
    let seq = store.commit(rows([Entry::Target(target(1, "a", Some(Terminal::Ok)))]));
    wait(&store, seq.unwrap());
    assert_eq!(store.reader().sealed(JobId(1), &minion("a")), None);
}

#[test]
fn what_parts_keep_comes_back_until_it_is_forgotten_and_parts_do_not_mix() {
    let folder = tempfile::tempdir().unwrap();
    let kept = |part, key: &str, data: Option<u32>| Entry::Kept {
        part,
        key: key.to_owned(),
        data: data.map(|it| serde_json::json!({ "n": it })),
    };
    let mut store = open(folder.path());
    store.commit(rows([
        kept(Part::RuleMemory, "disk full", Some(1)),
        kept(Part::Outgoing, "disk full", Some(2)),
        kept(Part::Outgoing, "gone", Some(3)),
    ]));
    store.commit(rows([kept(Part::RuleMemory, "disk full", Some(4)), kept(Part::Outgoing, "gone", None)]));
    assert!(store.later(rows([kept(Part::Schedule, "lazy", Some(5))])));
    drop(store);
    let entries = open(folder.path()).load().unwrap();
    let found: Vec<Entry> = entries.into_iter().filter(|it| matches!(it, Entry::Kept { .. })).collect();
    let wanted = [
        kept(Part::Outgoing, "disk full", Some(2)),
        kept(Part::RuleMemory, "disk full", Some(4)),
        kept(Part::Schedule, "lazy", Some(5)),
    ];
    assert_eq!(found, wanted);
}

#[test]
fn lazy_rows_are_there_after_a_clean_stop_and_never_older_than_what_was_synced() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    store.later(rows([Entry::EventsTaken(minion("a"), 5), Entry::EventsTaken(minion("b"), 6)]));
    store.later(vec![
        Row::Retained { topic: "lab/x".into(), payload: Some("1".into()) },
        Row::Retained { topic: "lab/x".into(), payload: Some("2".into()) },
        Row::Retained { topic: "lab/y".into(), payload: Some("3".into()) },
        Row::Retained { topic: "lab/y".into(), payload: None },
    ]);
    let seq = store.commit(rows([Entry::EventsTaken(minion("a"), 9)]));
    wait(&store, seq.unwrap());
    store.close();
    let store = open(folder.path());
    let entries = store.load().unwrap();
    assert!(entries.contains(&Entry::EventsTaken(minion("a"), 9)), "{entries:?}");
    assert!(entries.contains(&Entry::EventsTaken(minion("b"), 6)));
    assert_eq!(store.retained().unwrap(), [("lab/x".to_owned(), "2".to_owned())]);
}

#[test]
fn the_audit_log_is_a_chain_over_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let caller = Caller::new("admin", "socket", "admin");
    for round in 0..3 {
        let mut store = open(folder.path());
        for number in 0..3 {
            let what = format!("{round} {number}");
            let audit = Audit { at: NOW, caller: caller.clone(), what, result: "accepted".into() };
            store.commit(rows([Entry::Audit(audit)]));
        }
        store.close();
    }
    let db = Connection::open(folder.path().join("store.db")).unwrap();
    let count: u32 = db.query_row("SELECT count(*) FROM audit", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 9);
    let store = open(folder.path());
    let check = checked(&store);
    assert_eq!((check.lines, check.broken), (9, None));
    assert_eq!(check.first.zip(check.last), Some(((1, NOW), (9, NOW))));
}

fn checked(store: &Store) -> model::AuditCheck {
    match store.reader().answer(&Query::VerifyAudit) {
        Reply::AuditChecked(check) => check,
        other => panic!("{other:?}"),
    }
}

fn audit(at: Timestamp, what: &str) -> Entry {
    let caller = Caller::new("admin", "socket", "admin");
    Entry::Audit(Audit { at, caller, what: what.into(), result: "accepted".into() })
}

/// A store with an audit log of `lines` lines, closed.
fn with_log(folder: &Path, lines: u64) {
    let mut store = open(folder);
    for number in 0..lines {
        store.commit(rows([audit(NOW.plus_ms(number), &format!("gc {number}"))]));
    }
    store.close();
}

#[test]
fn tampering_with_the_file_is_found_at_its_line_in_every_column() {
    let cases = [
        ("UPDATE audit SET data = replace(data, 'gc 2', 'gc 9') WHERE n = 3", 3),
        ("UPDATE audit SET data = replace(data, 'admin', 'mallo') WHERE n = 3", 3),
        ("UPDATE audit SET data = 7 WHERE n = 3", 3),
        ("UPDATE audit SET at = at + 1 WHERE n = 3", 3),
        ("UPDATE audit SET before = zeroblob(32) WHERE n = 3", 3),
        ("UPDATE audit SET hash = zeroblob(32) WHERE n = 3", 3),
        ("UPDATE audit SET hash = 'x' WHERE n = 3", 3),
        ("UPDATE audit SET n = 30 WHERE n = 3", 4),
        ("UPDATE audit SET n = -n WHERE n = 3", 1),
        (
            "UPDATE audit SET n = CASE n WHEN 3 THEN -4 WHEN 4 THEN -3 END WHERE n IN (3, 4);
          UPDATE audit SET n = -n WHERE n < 0",
            3,
        ),
        ("DELETE FROM audit WHERE n = 3", 4),
        ("DELETE FROM audit WHERE n <= 3", 4),
        ("DELETE FROM audit WHERE n >= 5", 5),
        ("DELETE FROM audit", 1),
        ("INSERT INTO audit SELECT 7, at, data, before, hash FROM audit WHERE n = 6", 7),
        ("DELETE FROM meta WHERE name LIKE 'audit%'", 6),
        ("UPDATE meta SET value = value + 1 WHERE name = 'audit hash'", 6),
    ];
    for (sql, line) in cases {
        let folder = tempfile::tempdir().unwrap();
        with_log(folder.path(), 6);
        let mut store = open(folder.path());
        assert_eq!(checked(&store).broken, None);
        Connection::open(folder.path().join("store.db")).unwrap().execute_batch(sql).unwrap();
        assert_eq!(checked(&store).broken.map(|it| it.number), Some(line), "{sql}");
        store.close();
        // Whoever does it while the master is away is found as well, and for good.
        let mut store = open(folder.path());
        let number = store.commit(rows([audit(NOW.plus_ms(9), "more")]));
        wait(&store, number.unwrap());
        let forgotten = sql.contains("DELETE FROM meta");
        assert_eq!(checked(&store).broken.is_none(), forgotten, "{sql}");
    }
}

#[test]
fn a_log_of_a_release_that_kept_no_record_of_its_end_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    with_log(folder.path(), 3);
    let db = Connection::open(folder.path().join("store.db")).unwrap();
    db.execute_batch("DELETE FROM meta WHERE name LIKE 'audit%'").unwrap();
    drop(db);
    with_log(folder.path(), 1);
    let check = checked(&open(folder.path()));
    assert_eq!((check.lines, check.broken), (5, None), "and one line says so");
}

#[test]
fn what_an_older_release_removed_by_age_is_told_from_what_somebody_cut_off() {
    let day = 86_400_000;
    for (gone, broken_at) in [(34, None), (200, Some(201))] {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path());
        for number in 0..400 {
            store.commit(rows([audit(NOW.plus_ms(number * day), "gc")]));
        }
        store.close();
        // As a release left it that said nothing of what it removed, and kept no record of the end.
        let db = Connection::open(folder.path().join("store.db")).unwrap();
        let sql = format!("DELETE FROM audit WHERE n <= {gone}; DELETE FROM meta WHERE name LIKE 'audit%'");
        db.execute_batch(&sql).unwrap();
        drop(db);
        let mut store = open(folder.path());
        let number = store.commit(rows([audit(NOW.plus_ms(400 * day), "more")])).unwrap();
        wait(&store, number);
        let check = checked(&store);
        assert_eq!(check.broken.map(|it| it.number), broken_at, "{gone} lines");
        assert_eq!(check.removed, broken_at.is_none().then_some(gone));
        store.close();
        let db = Connection::open(folder.path().join("store.db")).unwrap();
        db.execute_batch("DELETE FROM audit WHERE n <= 250").unwrap();
        drop(db);
        let broken = checked(&open(folder.path())).broken.map(|it| it.number);
        assert_eq!(broken, Some(251), "what is cut later is found");
    }
}

#[test]
fn lines_that_gc_removed_are_no_tampering() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let (year, day) = (365 * 86_400_000, 86_400_000);
    for number in 0..5 {
        store.commit(rows([audit(NOW.plus_ms(number * day), "gc")]));
    }
    let now = NOW.plus_ms(year + 2 * day + 1);
    for (now, removed) in [(now, 3), (now, 0), (now.plus_ms(day), 1), (now.plus_ms(year + 1), 2)] {
        let done = store.gc(Keep { age_ms: day, bytes: u64::MAX }, now);
        assert_eq!(done.blocking_recv().unwrap().audit, removed);
        assert_eq!(checked(&store).broken, None);
    }
    let check = checked(&store);
    assert_eq!((check.lines, check.removed, check.first.map(|it| it.0)), (2, Some(6), Some(7)));
    store.close();
    let mut store = open(folder.path());
    let number = store.commit(rows([audit(now.plus_ms(year + 2), "more")])).unwrap();
    wait(&store, number);
    assert_eq!(checked(&store).broken, None);
    Connection::open(folder.path().join("store.db"))
        .unwrap()
        .execute("DELETE FROM audit WHERE n = 7", [])
        .unwrap();
    assert_eq!(checked(&store).broken.map(|it| it.number), Some(8));
}

#[test]
fn lines_are_listed_by_time_by_user_and_in_pages() {
    let folder = tempfile::tempdir().unwrap();
    with_log(folder.path(), 6);
    let store = open(folder.path());
    let numbers = |filter: model::AuditFilter| match store.reader().answer(&Query::Audit(filter)) {
        Reply::Audit(lines) => lines.into_iter().map(|it| it.number).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let all = model::AuditFilter::default;
    assert_eq!(numbers(model::AuditFilter { limit: 2, ..all() }), [5, 6]);
    assert_eq!(numbers(model::AuditFilter { after: Some(1), limit: 2, ..all() }), [2, 3]);
    assert_eq!(numbers(model::AuditFilter { since: Some(NOW.plus_ms(4)), ..all() }), [5, 6]);
    assert_eq!(numbers(model::AuditFilter { user: Some("ann".into()), ..all() }), [] as [u64; 0]);
}

#[test]
fn gc_deletes_by_age_and_by_size_but_never_what_is_open_nor_the_newest_event() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let old = Timestamp(NOW.0 - 40 * 86_400_000);
    let mut batch = Vec::new();
    for number in 1..=300_u128 {
        batch.extend([
            Entry::Job(job(number, old, Some(old))),
            Entry::Target(target(number, "a", Some(Terminal::Ok))),
            Entry::Report(JobId(number), minion("a"), Box::new(report(Outcome::Changed, "x"))),
        ]);
    }
    batch.push(Entry::Job(job(1000, old, None)));
    batch.push(Entry::Job(job(1001, NOW, Some(NOW))));
    let Entry::Event(mut first) = event(1, "a") else { unreachable!() };
    first.at = old;
    let newest = Event { number: 2, ..first.clone() };
    batch.extend([Entry::Event(first), Entry::Event(newest)]);
    let seq = store.commit(rows(batch));
    wait(&store, seq.unwrap());
    let keep = Keep { age_ms: 30 * 86_400_000, bytes: u64::MAX };
    let done = store.gc(keep, NOW).blocking_recv().unwrap();
    assert_eq!((done.jobs, done.events), (300, 1));
    let jobs = |store: &Store| match store.reader().answer(&Query::Jobs(JobFilter::default(), None)) {
        Reply::Jobs(jobs) => jobs.iter().map(|it| it.job.id.0).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(jobs(&store), [1001, 1000]);
    let done = store.gc(Keep { bytes: 1, ..keep }, NOW).blocking_recv().unwrap();
    assert_eq!(done.jobs, 1);
    assert_eq!(jobs(&store), [1000], "an open job stays");
    let Reply::Events(events) = store.reader().answer(&Query::Events(EventFilter::default())) else {
        panic!()
    };
    assert_eq!(events.len(), 1);
}

#[test]
fn what_was_stored_before_the_clock_was_set_is_as_old_as_what_came_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let unset = Timestamp(60_000);
    let mut batch = vec![Entry::Job(job(1, unset, Some(unset))), Entry::Job(job(2, NOW, Some(NOW)))];
    for (number, at) in [(1, unset), (2, NOW), (3, NOW)] {
        let Entry::Event(it) = event(number, "a") else { unreachable!() };
        batch.push(Entry::Event(Event { at, ..it }));
    }
    let seq = store.commit(rows(batch));
    wait(&store, seq.unwrap());
    let keep = Keep { age_ms: 30 * 86_400_000, bytes: u64::MAX };
    let done = store.gc(keep, NOW.plus_ms(86_400_000)).blocking_recv().unwrap();
    assert_eq!((done.jobs, done.events), (0, 0), "it is of yesterday");
    let done = store.gc(keep, NOW.plus_ms(40 * 86_400_000)).blocking_recv().unwrap();
    assert_eq!((done.jobs, done.events), (2, 2));
}

#[test]
fn gc_by_size_takes_the_oldest_events_before_any_job() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let mut batch = vec![Entry::Job(job(1, NOW, Some(NOW)))];
    for number in 1..=3000 {
        let Entry::Event(mut it) = event(number, "a") else { unreachable!() };
        (it.at, it.data) = (Timestamp(NOW.0 + number), serde_json::json!("x".repeat(1000)));
        batch.push(Entry::Event(it));
    }
    let seq = store.commit(rows(batch));
    wait(&store, seq.unwrap());
    let keep = Keep { age_ms: 30 * 86_400_000, bytes: 2_500_000 };
    let done = store.gc(keep, NOW).blocking_recv().unwrap();
    assert_eq!((done.jobs, done.events % 1000), (0, 0), "{done:?}");
    assert!(done.events > 0 && done.events < 3000 && done.bytes <= keep.bytes, "{done:?}");
    let filter = EventFilter { limit: 5000, ..EventFilter::default() };
    let Reply::Events(events) = store.reader().answer(&Query::Events(filter)) else { panic!() };
    assert!(events.last().is_some_and(|it| it.number == 3000), "the oldest go");
}

#[test]
fn lazy_writes_beyond_the_limit_are_dropped_and_commits_still_go_in() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let blocker = Connection::open(folder.path().join("store.db")).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    store.commit(rows([event(1, "a")])).unwrap();
    let row = || vec![Row::Retained { topic: "lab/x".to_owned(), payload: None }];
    let refused = (0..1_000_000).any(|_| !store.later(row()));
    assert!(refused, "there is a limit");
    let seq = store.commit(rows([event(2, "b")])).unwrap();
    blocker.execute_batch("ROLLBACK").unwrap();
    wait(&store, seq);
}

#[test]
fn a_full_disk_refuses_new_jobs_keeps_promises_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=12m", "labstore"])
        .arg(folder.path())
        .stderr(std::process::Stdio::null())
        .status();
    if !mounted.is_ok_and(|it| it.success()) {
        return skip("a_full_disk_refuses_new_jobs_keeps_promises_and_recovers: cannot mount a tmpfs");
    }
    let unmount = Unmount(folder.path().to_owned());
    let path = folder.path().join("store.db");
    let mut store = Store::open(&StoreConfig { path, ballast_bytes: 4 * 1024 * 1024 }).unwrap();
    let filler = folder.path().join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    while std::io::Write::write_all(&mut file, &[1; 4096]).is_ok() {}
    let mut promised = 0;
    for number in 1..=40 {
        let Entry::Event(mut it) = event(number, "a") else { unreachable!() };
        it.data = serde_json::json!("x".repeat(16 * 1024));
        promised = store.commit(rows([Entry::Event(it)])).unwrap();
    }
    wait(&store, promised);
    assert!(matches!(&*store.health().borrow(), Health::Full(_)));
    drop(file);
    std::fs::remove_file(&filler).unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    while *store.health().borrow() != Health::Well {
        assert!(Instant::now() < end, "did not recover");
        std::thread::yield_now();
    }
    store.close();
    drop(unmount);
}

/// Told to `./dev test`, which counts what could not run.
fn skip(line: &str) {
    eprintln!("skipped {line}");
    if let Some(path) = std::env::var_os("LABCTL_SKIPS") {
        let file = OpenOptions::new().create(true).append(true).open(path);
        file.and_then(|mut it| std::io::Write::write_all(&mut it, format!("{line}\n").as_bytes())).unwrap();
    }
}

struct Unmount(PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.0).status();
    }
}
