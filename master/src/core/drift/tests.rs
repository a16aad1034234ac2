//! Drift from reports: found, told once, mended.

use super::size;
use crate::core::{test_kit::*, *};
use bus::message::{FromMinion, JobResult};
use model::{Change, JobId, JobKind, Mode, Outcome, Plan, Reply, Request, RunReport, StepReport, Terminal};
use serde_json::{Map, Value};

fn kind(states: &[&str], mode: Mode) -> JobKind {
    let states = states.iter().map(|it| (*it).to_owned()).collect();
    JobKind::Apply { states, mode, pillar: Map::new(), env: None, confirm_ms: None }
}

fn step((sls, id, outcome): (&str, &str, Outcome)) -> StepReport {
    let change = Change {
        what: "mode".to_owned(),
        from: Some("0600".to_owned()),
        to: Some("0644".to_owned()),
        diff: Some("-a\n+b\n".repeat(4_000)),
    };
    let changes = if outcome == Outcome::Ok { Vec::new() } else { vec![change] };
    let RunReport { steps, .. } = report(outcome);
    StepReport {
        sls: sls.to_owned(),
        id: id.to_owned(),
        plan: Plan { changes },
        ..steps.into_iter().next().unwrap()
    }
}

/// A run that ended like this; what the master did about it.
fn ran(
    bench: &mut Bench,
    job: u128,
    states: &[&str],
    mode: Mode,
    steps: &[(&str, &str, Outcome)],
) -> Vec<Effect> {
    bench.received(job, &["vm-1"], kind(states, mode));
    let steps = steps.iter().map(|it| step(*it)).collect();
    let report = RunReport { mode, steps, ..report(Outcome::Ok) };
    bench.say(
        "vm-1",
        FromMinion::Result(Box::new(JobResult {
            job: JobId(job),
            word: Terminal::Changed,
            reason: String::new(),
            report: Some(report),
            at: bench.now,
            begun: None,
        })),
    )
}

fn told(effects: &[Effect]) -> Option<(u64, Vec<String>)> {
    effects.iter().find_map(|it| match it {
        Effect::Event(event) if event.tag == "minion/vm-1/drift" => {
            let texts = |value: &Value| {
                value.as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect()
            };
            Some((event.data["steps"].as_u64().unwrap(), texts(&event.data["states"])))
        }
        _ => None,
    })
}

fn drifted(bench: &mut Bench) -> bool {
    match reply(&bench.ask(Request::Expand { target: "drifted".to_owned() })) {
        Some(Reply::Targets(list)) => !list.minions.is_empty(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn drift_is_told_when_it_changes_and_mended_by_what_mends_it() {
    use Mode::{Apply, Check};
    use Outcome::{Changed, Failed, Ok, WouldChange};
    let mut bench = Bench::with(&["vm-1"]);
    let both = [("web", "conf", WouldChange), ("base", "motd", WouldChange), ("base", "ok", Ok)];
    let words = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect::<Vec<String>>();

    let effects = ran(&mut bench, 1, &[], Apply, &[("web", "conf", Changed)]);
    assert_eq!(told(&effects), None, "an apply finds no drift");
    assert!(!drifted(&mut bench));
    let effects = ran(&mut bench, 2, &[], Check, &both);
    assert_eq!(told(&effects), Some((2, words(&["base", "web"]))), "{effects:?}");
    assert_eq!(published(&effects, "lab/minion/vm-1/drift").map(|it| it.contains("\"drift\":2")), Some(true));
    assert!(drifted(&mut bench));
    let since = bench.master.drift_of(&id("vm-1")).unwrap().items[0].since;
    bench.pass(1_000);
    assert_eq!(told(&ran(&mut bench, 3, &[], Check, &both)), None, "the same as before");
    let drift = bench.master.drift_of(&id("vm-1")).unwrap();
    assert_eq!((drift.items[0].since, drift.at), (since, bench.now), "looked again, and since then");

    // A look at some states tells nothing about the others.
    assert_eq!(told(&ran(&mut bench, 4, &["web"], Check, &both[..1])), None);
    assert_eq!(told(&ran(&mut bench, 5, &["web"], Apply, &[("web", "conf", Failed)])), None, "not mended");
    let effects = ran(&mut bench, 6, &["web"], Apply, &[("web", "conf", Changed)]);
    assert_eq!(told(&effects), Some((1, words(&["base"]))));
    bench.crash();
    assert!(drifted(&mut bench), "it is kept");
    bench.back("vm-1", hello());
    let effects = ran(&mut bench, 7, &[], Check, &[("base", "motd", Ok)]);
    assert_eq!(told(&effects), Some((0, Vec::new())), "also to none");
    assert!(!drifted(&mut bench));
    assert_eq!(told(&ran(&mut bench, 8, &[], Check, &[("base", "motd", Ok)])), None);
    let Some(Reply::Drift(views)) = reply(&bench.ask(Request::Drift { target: None })).cloned() else {
        panic!()
    };
    assert_eq!(views[0].drift.as_ref().map(|it| it.items.len()), Some(0));
}

#[test]
fn a_state_that_is_gone_from_the_tree_is_no_drift_any_more() {
    let mut bench = Bench::with(&["vm-1"]);
    ran(&mut bench, 1, &[], Mode::Check, &[("web", "conf", Outcome::WouldChange)]);
    let effects = ran(&mut bench, 2, &[], Mode::Check, &[("base", "motd", Outcome::Ok)]);
    assert_eq!(told(&effects).map(|it| it.0), Some(0));
}

#[test]
fn what_is_kept_is_bounded_and_the_rest_counted() {
    let mut bench = Bench::with(&["vm-1"]);
    let names: Vec<String> = (0..300).map(|it| format!("step-{it}")).collect();
    let steps: Vec<_> = names.iter().map(|it| ("web", it.as_str(), Outcome::WouldChange)).collect();
    let effects = ran(&mut bench, 1, &[], Mode::Check, &steps);
    assert_eq!(told(&effects).unwrap().0, 300);
    let drift = bench.master.drift_of(&id("vm-1")).unwrap();
    assert_eq!((drift.items.len(), drift.more), (super::ITEMS_MAX, 100));
    let bytes = serde_json::to_vec(&drift).unwrap().len();
    assert!(bytes < 96 << 10, "{bytes}");
    assert!(
        drift.items[0].changes[0].diff.is_none(),
        "a diff that is too long is left out, its change is not"
    );
    bench.ask(Request::RemoveMinion { minion: id("vm-1") });
    assert!(bench.master.book.kept_of(Part::Drift).next().is_none());
}

#[test]
fn a_look_at_a_part_keeps_what_there_was_no_room_for() {
    let mut bench = Bench::with(&["vm-1"]);
    let names: Vec<String> = (0..300).map(|it| format!("step-{it}")).collect();
    let steps = |outcome| names.iter().map(move |it| ("web", it.as_str(), outcome)).collect::<Vec<_>>();
    let drift = |bench: &Bench| size(&bench.master.drift_of(&id("vm-1")).unwrap());
    ran(&mut bench, 1, &[], Mode::Check, &steps(Outcome::WouldChange));
    assert_eq!(drift(&bench), 300);
    // One of those that there was no room for, again and again.
    for job in 2..5 {
        ran(&mut bench, job, &["web"], Mode::Check, &[("web", "step-299", Outcome::WouldChange)]);
        assert_eq!(drift(&bench), 300);
    }
    ran(&mut bench, 5, &["web"], Mode::Apply, &[("web", "step-0", Outcome::Changed)]);
    assert_eq!(drift(&bench), 299);
    let mut most = steps(Outcome::Changed);
    most[298].2 = Outcome::Failed;
    ran(&mut bench, 6, &[], Mode::Apply, &most);
    assert_eq!(drift(&bench), 1, "of a full run all is known");
    let effects = ran(&mut bench, 7, &[], Mode::Apply, &steps(Outcome::Changed));
    assert_eq!(told(&effects).map(|it| it.0), Some(0));
    assert_eq!(bench.master.minion_view(&id("vm-1"), None).unwrap().drift, Some(0));
}

#[test]
fn names_of_steps_are_cut_and_an_event_about_them_has_a_bound() {
    let mut bench = Bench::with(&["vm-1"]);
    let long: Vec<String> = (0..200).map(|it| format!("{it:03}{}", "\u{1}".repeat(100_000))).collect();
    let steps: Vec<_> = long.iter().map(|it| (it.as_str(), it.as_str(), Outcome::WouldChange)).collect();
    let effects = ran(&mut bench, 1, &[], Mode::Check, &steps);
    let (many, states) = told(&effects).unwrap();
    assert_eq!((many, states.len()), (200, 0), "how many, without names");
    for effect in &effects {
        if let Effect::Event(event) = effect {
            assert!(event.data.to_string().len() <= crate::core::requests::EVENT_BYTES_MAX, "{}", event.tag);
        }
    }
    let drift = bench.master.drift_of(&id("vm-1")).unwrap();
    assert!(drift.items.iter().all(|it| it.id.chars().count() <= 256 && it.sls.chars().count() <= 256));
    let effects = ran(&mut bench, 2, &[], Mode::Check, &steps);
    assert!(told(&effects).is_none(), "known by what is left of their names");
}

#[test]
fn somebody_who_may_read_no_jobs_reads_no_drift() {
    let mut bench = Bench::with(&["vm-1"]);
    let viewer = model::Caller::new("eve", "test", "viewer");
    for target in [None, Some("vm-1".to_owned())] {
        let effects = bench.ask_as(viewer.clone(), Request::Drift { target });
        assert_eq!(refusal(&effects).unwrap().0, api::ErrorKind::Forbidden);
    }
}
