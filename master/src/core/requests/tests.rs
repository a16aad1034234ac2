//! Requests as scripts.

use crate::core::{test_kit::*, *};
use model::{EnrollTerms, Labels, ObserverRole, Reply, Request, TargetState};
use serde_json::{Map, json};

fn audits(effects: &[Effect]) -> Vec<&str> {
    let all = records(effects).into_iter().filter_map(|it| match it {
        Entry::Audit(audit) => Some(audit.what.as_str()),
        _ => None,
    });
    all.collect()
}

fn enroll_terms() -> EnrollTerms {
    EnrollTerms {
        name: None,
        ids: "vm-*".to_owned(),
        uses: 20,
        for_ms: 86_400_000,
        labels: Labels::new(),
        cidr: Vec::new(),
        replace: model::Replace::Never,
        retire_after_ms: None,
    }
}

#[test]
fn whatever_alters_something_has_an_audit_line() {
    let mut data = Map::new();
    data.insert("x".to_owned(), json!(1));
    let label = Labels::from([("role".to_owned(), "db".to_owned())]);
    let requests = vec![
        submit(1, "*", command(), false),
        Request::Cancel { job: model::JobId(1).to_string() },
        Request::Label { target: "vm-1".to_owned(), set: label, remove: Vec::new() },
        Request::SendEvent { tag: "go".to_owned(), data },
        Request::CreateObserver { name: "grafana".to_owned(), role: ObserverRole::Viewer, for_ms: None },
        Request::RemoveObserver { name: "grafana".to_owned() },
        Request::AddOperator {
            name: "ann".to_owned(),
            fingerprint: fingerprint(7),
            role: None,
            for_ms: None,
        },
        Request::RemoveOperator { name: "ann".to_owned() },
        Request::Enroll { terms: enroll_terms() },
        Request::Gc { keep_ms: None },
        Request::Backup { with_keys: true },
        Request::DecideKey {
            key: "vm-2".to_owned(),
            fingerprint: None,
            decision: model::KeyDecision::Revoke,
        },
        Request::Maintain {
            target: "vm-1".to_owned(),
            act: model::MaintenanceAct::On { for_ms: None, reason: String::new() },
        },
        Request::Maintain { target: "vm-1".to_owned(), act: model::MaintenanceAct::Off },
        Request::Schedule { name: "nightly".to_owned(), act: model::ScheduleAct::Run },
        Request::Schedule { name: "nightly".to_owned(), act: model::ScheduleAct::Pause { for_ms: None } },
        Request::Schedule { name: "nightly".to_owned(), act: model::ScheduleAct::Resume },
        Request::RemoveMinion { minion: id("vm-1") },
    ];
    let mut bench = Bench::with(&["vm-1", "vm-2"]);
    bench.rules("nightly:\n  schedule: { every: 1h }\n  do:\n    - event: { tag: x }\n");
    for request in requests {
        let name = format!("{request:?}");
        let effects = bench.ask(request);
        assert_eq!(audits(&effects).len(), 1, "{name}: {effects:?}");
        assert!(refusal(&effects).is_none(), "{name}: {effects:?}");
    }
}

#[test]
fn what_cannot_be_is_refused_with_its_kind() {
    use api::ErrorKind as Kind;
    let empty = || Labels::new();
    let cases = vec![
        (submit(1, "nobody", command(), false), Kind::NoMatch),
        (submit(1, "vm-1 and", command(), false), Kind::Usage),
        (submit(1, "grain:no-such=1", command(), false), Kind::Usage),
        (Request::Cancel { job: "!".to_owned() }, Kind::Usage),
        (Request::Cancel { job: "7ZZ".to_owned() }, Kind::NotFound),
        (Request::RemoveMinion { minion: id("nobody") }, Kind::NotFound),
        (
            Request::Label {
                target: "vm-1".to_owned(),
                set: Labels::from([("a b".to_owned(), String::new())]),
                remove: Vec::new(),
            },
            Kind::Usage,
        ),
        (Request::Label { target: "x-*".to_owned(), set: empty(), remove: Vec::new() }, Kind::NoMatch),
        (Request::SendEvent { tag: "a/#".to_owned(), data: Map::new() }, Kind::Usage),
        (
            Request::CreateObserver { name: "No".to_owned(), role: ObserverRole::Viewer, for_ms: None },
            Kind::Usage,
        ),
        (Request::RemoveObserver { name: "nobody".to_owned() }, Kind::NotFound),
        (Request::Enroll { terms: EnrollTerms { for_ms: 91 * 86_400_000, ..enroll_terms() } }, Kind::Usage),
        (Request::Enroll { terms: EnrollTerms { ids: "[".to_owned(), ..enroll_terms() } }, Kind::Usage),
        (
            Request::Enroll { terms: EnrollTerms { cidr: vec!["x".to_owned()], ..enroll_terms() } },
            Kind::Usage,
        ),
    ];
    let mut bench = Bench::with(&["vm-1"]);
    for (request, kind) in cases {
        let name = format!("{request:?}");
        let effects = bench.ask(request);
        assert_eq!(refusal(&effects).map(|it| it.0), Some(kind), "{name}: {effects:?}");
    }
}

#[test]
fn quarantine_is_in_no_target() {
    let mut bench = Bench::with(&["vm-1"]);
    bench.enroll(9, "vm-9", Err(TokenFault::Absent));
    let effects = bench.ask(Request::Expand { target: "*".to_owned() });
    let Some(Reply::Targets(list)) = reply(&effects) else { panic!("{effects:?}") };
    assert_eq!(list.minions.iter().map(|it| it.id.clone()).collect::<Vec<_>>(), [id("vm-1")]);
    assert_eq!(bench.ask(Request::Keys).len(), 1);
}

#[test]
fn a_secret_is_shown_once_and_kept_as_a_hash() {
    let mut bench = Bench::new();
    let request =
        Request::CreateObserver { name: "ha".to_owned(), role: ObserverRole::Viewer, for_ms: Some(5) };
    let effects = bench.ask(request);
    let Some(Reply::Observer(view)) = reply(&effects) else { panic!("{effects:?}") };
    let secret = view.secret.clone().unwrap();
    assert!(!format!("{:?}", records(&effects)).contains(secret.reveal()));
    assert_eq!(bench.master.observers().next().unwrap().secret_hash, secret_hash(secret.reveal()));
    let Some(Reply::Observers(views)) = reply(&bench.ask(Request::Observers)).cloned() else { panic!() };
    assert!(views[0].secret.is_none() && views[0].expires == Some(NOW.plus_ms(5)));
}

#[test]
fn jobs_are_found_by_beginning_and_as_the_last_one() {
    let mut bench = Bench::with(&["vm-1"]);
    let job = 1_u128 << 120;
    bench.submit(job, "vm-1", command());
    bench.submit(job + 1, "vm-1", command());
    let mut ask = |text: &str| bench.ask(Request::Job { job: text.to_owned() });
    let effects = ask("@last");
    assert!(matches!(reply(&effects), Some(Reply::Job(view)) if view.job.id.0 == job + 1), "{effects:?}");
    assert!(refusal(&ask(&model::JobId(job).short())).unwrap().1.contains("several jobs"));
    let effects = ask(&model::JobId(job).to_string().to_lowercase());
    let Some(Reply::Job(view)) = reply(&effects) else { panic!("{effects:?}") };
    assert_eq!(view.targets[0].state, TargetState::Accepted);
    assert!(matches!(ask("7ZZZ").last(), Some(Effect::Read { .. })));
}

#[test]
fn the_status_counts() {
    let mut bench = Bench::with(&["vm-1", "vm-2"]);
    bench.disconnect("vm-2");
    bench.enroll(9, "vm-9", Err(TokenFault::Absent));
    bench.submit(1, "*", command());
    let Some(Reply::Status(status)) = reply(&bench.ask(Request::Status)).cloned() else { panic!() };
    assert_eq!((status.up, status.lost, status.pending_keys, status.jobs_open), (1, 1, 1, 1));
    assert_eq!((status.away, status.jobs_day), (vec![id("vm-2")], 1));
}

#[test]
fn an_event_carries_what_can_be_read_back_and_no_more() {
    let nested = |levels: usize| {
        let inner = (1..levels).fold(serde_json::json!(1), |inner, _| serde_json::json!([inner]));
        serde_json::Map::from_iter([("a".to_owned(), inner)])
    };
    let mut bench = Bench::with(&[]);
    let mut send = |levels| bench.ask(Request::SendEvent { tag: "x".to_owned(), data: nested(levels) });
    assert!(matches!(reply(&send(16)), Some(Reply::Event(_))));
    assert!(refusal(&send(17)).unwrap().1.contains("16 levels"));
    assert!(refusal(&send(120)).unwrap().1.contains("16 levels"));
}
