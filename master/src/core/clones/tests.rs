//! Connections of one key as scripts: one machine, and two.

use super::*;
use crate::core::{test_kit::*, *};
use bus::message::{EnrollAnswer, FromMinion, Speaker, ToMinion};
use model::{KeyDecision, Reply, Request, Terminal, TokenTerms};

/// Machines by a letter: `a` and `b` are other hardware, `c` is `a` with another machine-id, `d` shows nothing.
fn surroundings(machine: char) -> Surroundings {
    let (machine_id, hardware) = match machine {
        'a' => ("id-1", "4c4c4544-0001"),
        'b' => ("id-1", "4c4c4544-0002"),
        'c' => ("id-2", "4c4c4544-0001"),
        _ => ("", ""),
    };
    Surroundings {
        machine_id: machine_id.to_owned(),
        hardware: hardware.to_owned(),
        ..Surroundings::default()
    }
}

/// `a1` is the first process on machine `a`.
fn process(name: &str) -> Hello {
    let machine = name.chars().next().unwrap();
    let instance = if machine == '-' { String::new() } else { name.to_owned() };
    Hello { speaker: Speaker { instance, surroundings: surroundings(machine) }, ..hello() }
}

fn status(bench: &Bench, key: u8) -> KeyStatus {
    bench.master.key(&fingerprint(key)).unwrap().status
}

/// Processes say hello one after the other, a second apart.
fn run(script: &str) -> (Bench, Vec<Effect>) {
    let mut bench = Bench::with(&["vm-1", "vm-2"]);
    let mut effects = Vec::new();
    for name in script.split(' ') {
        bench.pass(1_000);
        effects = bench.back("vm-1", process(name));
    }
    (bench, effects)
}

#[test]
fn only_what_one_machine_cannot_do_is_taken_for_two() {
    for (script, two) in [
        ("a1 a1 a1 a1", false),
        ("a1 a2 a3 a4", false),
        ("a1 a2 a2 a3", false),
        // Repaired, moved, made anew in place: the old process is gone.
        ("a1 b1 b1 b2", false),
        ("a1 c1 c1", false),
        // Set back to a snapshot of its memory.
        ("d1 d2 d1", false),
        ("a1 a2 a1 a1", false),
        // A release that says nothing of itself.
        ("-1 -1 -1 -1", false),
        ("a1 -1 a1 -1", false),
        ("a1 b1 a1", true),
        ("a1 c1 a1", true),
        ("a1 a2 b1 a2", true),
        ("d1 d2 d1 d2", true),
        ("a1 a2 a1 a2", true),
        ("a1 a2 a3 a1 a2", true),
    ] {
        let (bench, _) = run(script);
        let expected = if two { KeyStatus::Suspended } else { KeyStatus::Accepted };
        assert_eq!(status(&bench, 0), expected, "{script}");
        assert_eq!(bench.master.is_ready(&id("vm-1")), !two, "{script}");
        assert_eq!(status(&bench, 1), KeyStatus::Accepted, "nobody else is touched: {script}");
    }
}

#[test]
fn a_process_that_was_long_gone_proves_nothing() {
    let (mut bench, _) = run("a1 b1");
    bench.pass(TALKER_MS);
    bench.back("vm-1", process("a1"));
    assert_eq!(status(&bench, 0), KeyStatus::Accepted);
}

#[test]
fn what_another_minion_says_of_itself_suspends_only_itself() {
    let (mut bench, _) = run("a1 b1");
    for name in ["a1", "b1", "a1"] {
        bench.back("vm-2", process(name));
    }
    assert_eq!((status(&bench, 0), status(&bench, 1)), (KeyStatus::Accepted, KeyStatus::Suspended));
    assert!(bench.master.is_ready(&id("vm-1")));
}

#[test]
fn both_are_sent_away_and_the_operator_is_told() {
    let mut bench = Bench::with(&["vm-1"]);
    bench.back("vm-1", process("a1"));
    bench.received(1, &["vm-1"], command());
    bench.back("vm-1", process("b1"));
    let effects = bench.back("vm-1", process("a1"));
    assert!(effects.contains(&Effect::Close { minion: id("vm-1") }));
    assert!(!sent(&effects).iter().any(|it| matches!(it, ToMinion::Welcome { .. })));
    assert_eq!(bench.word(1, "vm-1"), Some(Terminal::Interrupted));
    assert_eq!(tags(&effects), ["minion/vm-1/lost", "key/vm-1/suspended", "minion/vm-1/cloned"]);
    let reason = bench.master.key(&fingerprint(0)).unwrap().reason.clone();
    for part in ["4c4c4544-0001", "4c4c4544-0002", "10.0.0.1"] {
        assert!(reason.contains(part), "{reason}");
    }
    let Some(Reply::Status(status)) = reply(&bench.ask(Request::Status)).cloned() else { panic!() };
    assert_eq!(status.suspended, [id("vm-1")]);
    assert_eq!(status.suspended_keys[&id("vm-1")], fingerprint(0));
}

#[test]
fn nobody_is_served_with_a_suspended_key_not_after_a_restart_and_not_by_a_token() {
    let (mut bench, _) = run("a1 b1 a1");
    for _ in 0..2 {
        let effects = bench.step(Input::Connected {
            minion: id("vm-1"),
            epoch: 1_000_000,
            address: "10.0.0.1".to_owned(),
        });
        assert!(effects.contains(&Effect::Close { minion: id("vm-1") }), "{effects:?}");
        let effects = bench.say_on("vm-1", 1_000_000, FromMinion::Hello(Box::new(process("a1"))));
        assert!(sent(&effects).is_empty(), "{effects:?}");
        let effects = bench.enroll(0, "vm-1", Ok(terms()));
        let Some(EnrollAnswer::Pending { reason }) = enroll_answer(&effects) else { panic!("{effects:?}") };
        assert!(reason.contains("two machines use this key"), "{reason}");
        let open = TokenTerms { replace: model::Replace::Offline, ..terms() };
        bench.enroll(7, "vm-1", Ok(open));
        assert_eq!(status(&bench, 7), KeyStatus::Conflict, "its name is not for a token to give");
        assert!(bench.submit(5, "vm-2", command()).iter().all(|it| !matches!(it, Effect::Offer { .. })));
        assert!(!bench.master.is_reachable(&id("vm-1")));
        bench.crash();
    }
}

fn decide(bench: &mut Bench, key: &str, fingerprint: Option<u8>, decision: KeyDecision) -> Vec<Effect> {
    let fingerprint = fingerprint.map(crate::core::test_kit::fingerprint);
    bench.ask(Request::DecideKey { key: key.to_owned(), fingerprint, decision })
}

#[test]
fn who_is_accepted_again_is_who_it_was_and_two_are_seen_again() {
    let (mut bench, _) = run("a1 b1 a1");
    bench.enroll(7, "vm-1", Ok(terms()));
    let several = decide(&mut bench, "vm-1", None, KeyDecision::Accept);
    assert!(refusal(&several).unwrap().1.contains("several keys"), "{several:?}");
    let before = bench.master.minion(&id("vm-1")).unwrap().accepted_at;
    let effects = decide(&mut bench, "vm-1", Some(0), KeyDecision::Accept);
    assert!(matches!(enroll_answer(&effects), Some(EnrollAnswer::Accepted { .. })), "{effects:?}");
    assert_eq!(bench.master.minion(&id("vm-1")).unwrap().accepted_at, before);
    bench.back("vm-1", process("a1"));
    assert!(bench.master.is_ready(&id("vm-1")));
    bench.back("vm-1", process("b1"));
    bench.back("vm-1", process("a1"));
    assert_eq!(status(&bench, 0), KeyStatus::Suspended);
    decide(&mut bench, "vm-1", Some(0), KeyDecision::Revoke);
    assert_eq!(status(&bench, 0), KeyStatus::Revoked);
    assert!(bench.master.minion(&id("vm-1")).is_none() && bench.master.suspended().is_empty());
}

#[test]
fn without_the_defence_two_machines_take_turns() {
    broken::without(Some("suspend-clones"), || {
        let (bench, effects) = run("a1 b1 a1 b1 a1");
        assert_eq!(status(&bench, 0), KeyStatus::Accepted);
        assert!(sent(&effects).iter().any(|it| matches!(it, ToMinion::Welcome { .. })));
    });
}
