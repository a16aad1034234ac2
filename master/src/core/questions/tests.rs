//! Rounds of questions as scripts.

use crate::core::{test_kit::*, *};
use bus::message::{FromMinion, ToMinion};
use model::{Answers, JobId, Question};
use serde_json::{Map, Value, json};

fn question(fun: &str, arg: &str) -> Question {
    Question { fun: fun.to_owned(), args: vec![json!(arg)], kwargs: Map::new() }
}

fn submitted(bench: &mut Bench) -> JobId {
    bench.submit(1, "vm-1", apply());
    bench.job(1).id
}

/// A job for vm-1 whose templates ask this; the number of the round, if the minion was asked.
fn asked(bench: &mut Bench, questions: &[Question], rounds: u8) -> (Option<u64>, Vec<Effect>) {
    let job = submitted(bench);
    let input = Input::Questions {
        asker: Asker::Job(job, apply()),
        questions: BTreeMap::from([(id("vm-1"), questions.to_vec())]),
        asked: Asked { rounds, ..Asked::default() },
    };
    let effects = bench.step(input);
    let number = sent(&effects).iter().find_map(|it| match it {
        ToMinion::Questions { probe, .. } => Some(*probe),
        _ => None,
    });
    (number, effects)
}

fn answer(probe: u64, answer: Value) -> FromMinion {
    FromMinion::Answer { probe, answer }
}

fn compiles(effects: &[Effect]) -> Option<&Asked> {
    effects.iter().find_map(|it| match it {
        Effect::Compile { asked, .. } => Some(asked),
        _ => None,
    })
}

#[test]
fn answers_of_the_minion_lead_to_another_compile() {
    let mut bench = Bench::with(&["vm-1", "vm-2"]);
    let exists = question("file.file_exists", "/a");
    let (number, _) = asked(&mut bench, std::slice::from_ref(&exists), 1);
    let effects = bench.say("vm-1", answer(number.unwrap(), json!([{ "ok": true }])));
    let mut answers = Answers::default();
    answers.insert(&exists, json!(true));
    let wanted = Asked { rounds: 2, answers: BTreeMap::from([(id("vm-1"), answers)]) };
    assert_eq!(compiles(&effects), Some(&wanted));
}

#[test]
fn only_who_was_asked_answers_and_once() {
    let mut bench = Bench::with(&["vm-1", "vm-2"]);
    let (number, _) = asked(&mut bench, &[question("file.file_exists", "/a")], 0);
    let number = number.unwrap();
    assert_eq!(bench.say("vm-2", answer(number, json!([{ "ok": true }]))), []);
    assert_eq!(bench.counted("answer of a minion that was not asked"), 1);
    assert!(compiles(&bench.say("vm-1", answer(number, json!([{ "ok": false }])))).is_some());
    assert_eq!(bench.say("vm-1", answer(number, json!([{ "ok": true }]))), []);
}

#[test]
fn strange_short_and_oversized_answers_are_refused() {
    let large = "x".repeat(70_000);
    for odd in
        [json!(true), json!([]), json!([{ "what": 1 }]), json!([{ "ok": large }]), json!([{ "error": "no" }])]
    {
        let mut bench = Bench::with(&["vm-1"]);
        let (number, _) = asked(&mut bench, &[question("file.file_exists", "/a")], 0);
        let effects = bench.say("vm-1", answer(number.unwrap(), odd.clone()));
        assert!(compiles(&effects).is_none(), "{odd}");
        assert_eq!(bench.word(1, "vm-1"), Some(model::Terminal::Failed), "{odd}");
    }
}

#[test]
fn silence_ends_the_round_and_commands_need_leave() {
    let mut bench = Bench::with(&["vm-1"]);
    let (number, _) = asked(&mut bench, &[question("file.file_exists", "/a")], 0);
    assert!(number.is_some());
    let effects = bench.pass(10_000);
    assert!(compiles(&effects).is_none());
    assert!(format!("{effects:?}").contains("did not answer"), "{effects:?}");
    let mut bench = Bench::with(&["vm-1"]);
    let (number, effects) = asked(&mut bench, &[question("cmd.run", "id")], 0);
    assert_eq!(number, None);
    assert!(format!("{effects:?}").contains("probe_commands"), "{effects:?}");
}

#[test]
fn a_job_whose_minion_went_away_waits_for_it() {
    let mut bench = Bench::with(&["vm-1"]);
    let job = submitted(&mut bench);
    bench.disconnect("vm-1");
    bench.pass(120_000);
    let effects = bench.step(Input::Questions {
        asker: Asker::Job(job, apply()),
        questions: BTreeMap::from([(id("vm-1"), vec![question("file.file_exists", "/a")])]),
        asked: Asked::default(),
    });
    assert!(sent(&effects).is_empty() && compiles(&effects).is_none(), "{effects:?}");
    assert!(!format!("{effects:?}").contains("E0603"), "{effects:?}");
}
