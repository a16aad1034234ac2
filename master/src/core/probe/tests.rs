//! Probes as scripts.

use crate::core::{test_kit::*, *};
use bus::message::{FromMinion, ToMinion};
use model::{Reply, Request, request::Ask};

fn ping(bench: &mut Bench, target: &str) -> (u64, Vec<Effect>) {
    let effects = bench.ask(Request::Probe { target: target.to_owned(), ask: Ask::Ping, timeout_ms: 2_000 });
    let number = sent(&effects).iter().find_map(|it| match it {
        ToMinion::Probe { probe, .. } => Some(*probe),
        _ => None,
    });
    (number.unwrap_or(0), effects)
}

fn answer(probe: u64) -> FromMinion {
    FromMinion::Answer { probe, answer: true.into() }
}

#[test]
fn who_is_away_costs_no_time_and_who_answers_is_shown_at_once() {
    let mut bench = Bench::with(&["vm-1", "vm-2", "vm-3"]);
    bench.disconnect("vm-3");
    bench.master.set_micros(1_000);
    let (probe, effects) = ping(&mut bench, "*");
    let Some(Effect::ProbeLine { line: api::ProbeLine::Targets { asked, unreachable }, .. }) =
        effects.iter().find(|it| matches!(it, Effect::ProbeLine { .. }))
    else {
        panic!("{effects:?}")
    };
    assert_eq!((asked.len(), &unreachable[0].0), (2, &id("vm-3")));
    bench.master.set_micros(1_750);
    bench.say("vm-2", answer(probe));
    let effects = bench.say("vm-1", answer(probe));
    let Some(Reply::Probed(folded)) = reply(&effects) else { panic!("{effects:?}") };
    assert_eq!(folded.answers.iter().map(|it| it.round_trip_us).collect::<Vec<_>>(), [750, 750]);
    assert_eq!((&folded.unreachable[..], folded.silent.len()), (&[id("vm-3")][..], 0));
}

#[test]
fn silence_ends_with_the_limit() {
    let mut bench = Bench::with(&["vm-1", "vm-2"]);
    let (probe, _) = ping(&mut bench, "*");
    bench.say("vm-1", answer(probe));
    assert_eq!(bench.master.next_wake(), Some(NOW.plus_ms(2_000)));
    let effects = bench.pass(2_000);
    let Some(Reply::Probed(folded)) = reply(&effects) else { panic!("{effects:?}") };
    assert_eq!(folded.silent, [id("vm-2")]);
    assert_eq!(bench.say("vm-2", answer(probe)), []);
    assert_eq!(bench.counted("answer to no probe"), 1);
}

#[test]
fn only_who_was_asked_answers_and_once() {
    let mut bench = Bench::with(&["vm-1", "vm-2", "vm-3"]);
    let (probe, _) = ping(&mut bench, "vm-1,vm-2");
    bench.say("vm-1", answer(probe));
    for name in ["vm-1", "vm-3"] {
        assert_eq!(bench.say(name, answer(probe)), [], "{name}");
    }
    assert_eq!(bench.say_on("stranger", 1, answer(probe)), []);
    assert!(reply(&bench.say("vm-2", answer(probe))).is_some());
}

#[test]
fn limits_hold() {
    let mut bench = Bench::with(&["vm-1"]);
    for timeout_ms in [0, 5_001] {
        let request = Request::Probe { target: "*".to_owned(), ask: Ask::Ping, timeout_ms };
        assert_eq!(refusal(&bench.ask(request)).unwrap().0, api::ErrorKind::Usage);
    }
    for _ in 0..super::PROBES_MAX {
        ping(&mut bench, "*");
    }
    assert_eq!(refusal(&ping(&mut bench, "*").1).unwrap().0, api::ErrorKind::Unavailable);
    // A removed minion keeps nobody waiting.
    let effects = bench.ask(Request::RemoveMinion { minion: id("vm-1") });
    let ended = effects
        .iter()
        .filter(|it| matches!(it, Effect::Reply { reply, .. } if matches!(**reply, Reply::Probed(_))));
    assert_eq!(ended.count(), super::PROBES_MAX);
    assert!(bench.master.probes.is_empty());
}
