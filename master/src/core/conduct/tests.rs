use super::super::test_kit::*;
use super::super::{Conducted, Effect, Input};
use bus::message::{CAN_CONDUCT, Hello, ToMinion};
use lang::rules::Rules;
use model::{Ask, ContentHash, Diagnostic, Reply, Request, Severity};

const OURS: ContentHash = ContentHash([3; 32]);

fn able(has: Option<ContentHash>) -> Hello {
    Hello { can: vec![CAN_CONDUCT.to_owned()], conduct: has, ..hello() }
}

fn worked_out(effects: &[Effect]) -> usize {
    effects.iter().filter(|it| matches!(it, Effect::Conduct { .. })).count()
}

fn message() -> ToMinion {
    ToMinion::Conduct { hash: OURS, sealed: "x".to_owned() }
}

fn told(effects: &[Effect]) -> usize {
    sent(effects).iter().filter(|it| matches!(it, ToMinion::Conduct { .. })).count()
}

/// A bench with trees, on which `vm-1` says hello and what top.sls assigns to it is known.
fn bench(hello: Hello) -> (Bench, Vec<Effect>) {
    let mut bench = Bench::with(&["vm-1"]);
    bench.step(Input::Sources { revision: revision(), rules: Rules::default() });
    let mut effects = bench.back("vm-1", hello);
    effects.extend(bench.step(Input::Assigned { minion: id("vm-1"), states: Some(Vec::new()) }));
    (bench, effects)
}

#[test]
fn who_has_something_else_is_told_and_who_has_it_is_not() {
    let (mut bench, effects) = bench(able(None));
    assert_eq!(worked_out(&effects), 1);
    let result = Ok(Conducted { hash: Some(OURS), message: Some(Box::new(message())) });
    assert_eq!(told(&bench.step(Input::Conducted { minion: id("vm-1"), result })), 1);
    assert_eq!(bench.master.conduct_of(&id("vm-1")), Some(OURS));
    assert_eq!(worked_out(&bench.back("vm-1", able(Some(OURS)))), 0, "it has what it should have");
    assert_eq!(worked_out(&bench.back("vm-1", able(None))), 1, "it has lost it");
}

#[test]
fn a_release_that_does_nothing_by_itself_is_told_nothing() {
    let (mut bench, effects) = bench(hello());
    assert_eq!(worked_out(&effects), 0);
    let result = Ok(Conducted { hash: Some(OURS), message: Some(Box::new(message())) });
    assert_eq!(told(&bench.step(Input::Conducted { minion: id("vm-1"), result })), 0);
    let ask = Ask::Beacons { name: None };
    let effects = bench.ask(Request::Probe { target: "*".to_owned(), ask, timeout_ms: 2_000 });
    assert!(sent(&effects).is_empty(), "it would not understand the question");
    let Some(Reply::Probed(folded)) = reply(&effects) else { panic!("{effects:?}") };
    assert!(folded.answers[0].answer["error"].as_str().unwrap().contains("release"), "{folded:?}");
}

#[test]
fn a_broken_pillar_changes_nothing_and_is_said_once() {
    let (mut bench, _) = bench(able(Some(OURS)));
    let broken = || Diagnostic {
        severity: Severity::Error,
        code: "E0406".to_owned(),
        message: "there is no beacon `disc`".to_owned(),
        spans: Vec::new(),
        notes: Vec::new(),
        help: None,
    };
    let mut input = || bench.step(Input::Conducted { minion: id("vm-1"), result: Err(vec![broken()]) });
    let effects = input();
    assert_eq!((tags(&effects), told(&effects)), (vec!["minion/vm-1/conduct"], 0));
    assert!(tags(&input()).is_empty());
    assert_eq!(bench.master.conduct_of(&id("vm-1")), Some(OURS));
}

#[test]
fn what_is_worked_out_counts_only_if_nothing_has_changed_since_it_began() {
    const OTHER: ContentHash = ContentHash([4; 32]);
    let (mut bench, effects) = bench(able(None));
    assert_eq!(worked_out(&effects), 1);
    let done = |bench: &mut Bench, hash: ContentHash, message: bool| {
        let message = message.then(|| Box::new(ToMinion::Conduct { hash, sealed: "x".to_owned() }));
        bench.step(Input::Conducted {
            minion: id("vm-1"),
            result: Ok(Conducted { hash: Some(hash), message }),
        })
    };
    let maintain = |bench: &mut Bench, act| bench.ask(Request::Maintain { target: "vm-1".to_owned(), act });
    let on = model::MaintenanceAct::On { for_ms: None, reason: String::new() };
    done(&mut bench, OURS, true);
    // On and off again while it is worked out for the first of them.
    assert_eq!(worked_out(&maintain(&mut bench, on)), 1);
    assert_eq!(worked_out(&maintain(&mut bench, model::MaintenanceAct::Off)), 0, "one at a time");
    let effects = done(&mut bench, OTHER, true);
    assert_eq!((told(&effects), worked_out(&effects)), (0, 1), "it was for what is over");
    let effects = done(&mut bench, OURS, false);
    assert_eq!((told(&effects), worked_out(&effects)), (0, 0));
    assert_eq!(bench.master.conduct_of(&id("vm-1")), Some(OURS));
    // It was compared with something else than the minion has: once more, not for ever.
    assert_eq!(worked_out(&done(&mut bench, OTHER, false)), 1);
    assert_eq!(
        (told(&done(&mut bench, OTHER, true)), bench.master.conduct_of(&id("vm-1"))),
        (1, Some(OTHER))
    );
    assert_eq!(worked_out(&done(&mut bench, OTHER, false)), 0);
}
