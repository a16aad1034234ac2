//! Absences of ephemeral machines as scripts.

use crate::core::{test_kit::*, *};
use model::{KeyDecision, Request, Terminal, TokenTerms, broken};

const GRACE_MS: u64 = 600_000;

fn ephemeral() -> TokenTerms {
    TokenTerms { retire_after_ms: Some(GRACE_MS), ..terms() }
}

/// `ci-…` are ephemeral, others are not; all are there.
fn bench() -> Bench {
    let mut bench = Bench::with(&["vm-1"]);
    bench.enroll(1, "vm-2", Ok(TokenTerms { name: "short".to_owned(), ..ephemeral() }));
    bench.back("vm-2", hello());
    bench
}

fn is_there(bench: &Bench, name: &str) -> bool {
    bench.master.minion(&id(name)).is_some()
}

/// Time in small steps, as the shell gives it.
fn pass(bench: &mut Bench, ms: u64) -> Vec<Effect> {
    (0..10).flat_map(|_| bench.pass(ms / 10)).collect()
}

#[test]
fn who_stays_away_is_forgotten_with_all_that_was_known() {
    let mut bench = bench();
    bench.received(1, &["vm-2"], command());
    bench.disconnect("vm-2");
    bench.disconnect("vm-1");
    let effects = pass(&mut bench, GRACE_MS - 10_000);
    assert!(is_there(&bench, "vm-2") && !tags(&effects).contains(&"minion/vm-2/retired"));
    let effects = pass(&mut bench, 20_000);
    assert!(!is_there(&bench, "vm-2") && is_there(&bench, "vm-1"), "the other one is no ephemeral");
    assert!(tags(&effects).contains(&"minion/vm-2/retired"), "{:?}", tags(&effects));
    assert_eq!(published(&effects, "lab/minion/vm-2/state"), Some(""));
    assert_eq!(bench.word(1, "vm-2"), Some(Terminal::Interrupted));
    assert_eq!(bench.master.key(&fingerprint(1)), None);
    let audit = records(&effects).into_iter().find_map(|it| match it {
        Entry::Audit(line) if line.what.starts_with("retire minion vm-2") => Some(line.caller.name.clone()),
        _ => None,
    });
    assert_eq!(audit.as_deref(), Some("labmaster"));
    bench.crash();
    assert!(!is_there(&bench, "vm-2"));
    let effects = bench.enroll(1, "vm-2", Ok(TokenTerms { name: "short".to_owned(), ..ephemeral() }));
    assert!(matches!(enroll_answer(&effects), Some(bus::message::EnrollAnswer::Accepted { .. })));
}

#[test]
fn who_comes_back_in_time_stays_and_the_time_begins_anew() {
    let mut bench = bench();
    for _ in 0..3 {
        bench.disconnect("vm-2");
        pass(&mut bench, GRACE_MS - 10_000);
        bench.back("vm-2", hello());
        pass(&mut bench, 20_000);
    }
    assert!(is_there(&bench, "vm-2"));
}

#[test]
fn who_never_comes_after_it_was_accepted_is_forgotten_too() {
    let mut bench = Bench::new();
    bench.enroll(1, "vm-2", Ok(ephemeral()));
    pass(&mut bench, GRACE_MS + 10_000);
    assert!(!is_there(&bench, "vm-2"));
}

#[test]
fn a_master_that_has_just_started_gives_everybody_the_whole_time() {
    let mut bench = bench();
    bench.disconnect("vm-2");
    pass(&mut bench, GRACE_MS - 10_000);
    bench.now = bench.now.plus_ms(10 * GRACE_MS);
    bench.crash();
    pass(&mut bench, GRACE_MS);
    assert!(is_there(&bench, "vm-2"), "nobody could hear it while the master was away");
    pass(&mut bench, 200_000);
    assert!(!is_there(&bench, "vm-2"));
}

#[test]
fn a_clock_that_is_set_forward_retires_nobody() {
    let mut bench = bench();
    let mut micros = 1_000_000;
    bench.master.set_micros(micros);
    bench.disconnect("vm-2");
    bench.pass(50 * 365 * 86_400_000);
    micros += 1_000_000;
    bench.master.set_micros(micros);
    bench.pass(1_000);
    assert!(is_there(&bench, "vm-2"));
    micros += GRACE_MS * 1_000;
    bench.master.set_micros(micros);
    pass(&mut bench, GRACE_MS);
    assert!(!is_there(&bench, "vm-2"));
}

#[test]
fn a_full_store_and_a_suspended_key_retire_nobody() {
    let mut bench = bench();
    bench.step(Input::StoreHealth(Some("full".to_owned())));
    bench.disconnect("vm-2");
    pass(&mut bench, 2 * GRACE_MS);
    assert!(is_there(&bench, "vm-2"));
    bench.step(Input::StoreHealth(None));
    pass(&mut bench, 120_000);
    assert!(!is_there(&bench, "vm-2"));
    let mut bench = self::bench();
    for name in ["x", "y", "x", "y"] {
        let speaker = bus::message::Speaker { instance: name.to_owned(), ..Default::default() };
        bench.back("vm-2", bus::message::Hello { speaker, ..hello() });
    }
    assert_eq!(bench.master.suspended(), [id("vm-2")]);
    pass(&mut bench, 2 * GRACE_MS);
    assert!(is_there(&bench, "vm-2"), "an operator has to look at it first");
    let decision = KeyDecision::Accept;
    bench.ask(Request::DecideKey { key: "vm-2".to_owned(), fingerprint: None, decision });
    pass(&mut bench, GRACE_MS + 10_000);
    assert!(!is_there(&bench, "vm-2"));
}

#[test]
fn without_the_grace_a_short_absence_is_the_end() {
    for (part, stays) in [(None, true), (Some("grace-before-retirement"), false)] {
        let mut bench = bench();
        broken::without(part, || {
            bench.disconnect("vm-2");
            pass(&mut bench, 5_000);
        });
        assert_eq!(is_there(&bench, "vm-2"), stays, "{part:?}");
    }
}
