//! Runs with a way back, by a clock of the test's own.

use super::*;
use model::{Change, broken};

const WITHIN_MS: u64 = 120_000;

fn with_way_back(number: u128) -> Offer {
    Offer { confirm_ms: Some(WITHIN_MS), ..offer(number) }
}

/// A member whose run with a way back has just changed something.
fn applied() -> Bench {
    let mut bench = Bench::member();
    bench.hear(ToMinion::Ack { jobs: vec![], events: Some(1) });
    bench.offer(with_way_back(1));
    assert_eq!(bench.ended(1, Outcome::Changed), ["record unconfirmed 1 changed", "reconnect"]);
    bench
}

fn undone() -> RunReport {
    let mut report = report(Outcome::Changed);
    report.steps[0].kind = "undo.job".to_owned();
    let change = |what: &str| Change { what: what.to_owned(), from: None, to: None, diff: None };
    report.steps[0].plan.changes = vec![change("/etc/nftables.conf"), change("packet filter (nft)")];
    report.steps[0].comment = "restarted or reloaded: nftables".to_owned();
    report
}

fn put_back(bench: &mut Bench) -> JobResult {
    let end = RunEnd::Report { report: Box::new(undone()), events: Vec::new() };
    let effects = bench.minion.step(bench.now, Input::RunEnded { job: JobId(1), end });
    for effect in &effects {
        if let Effect::Record(entry) = effect {
            bench.disk.push((**entry).clone());
        }
    }
    match effects.into_iter().next() {
        Some(Effect::Record(entry)) => match *entry {
            Entry::Ended(result) => *result,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_welcome_on_a_connection_made_after_the_run_confirms_it() {
    let mut bench = applied();
    assert_eq!(bench.step(Input::Disconnected), NOTHING);
    let said = bench.welcome();
    assert_eq!(said, ["pace 10", "record ended 1 changed", "clean 1", "send result 1 changed"]);
    bench.now = bench.now.plus_ms(WITHIN_MS * 2);
    assert!(!bench.step(Input::Tick).iter().any(|it| it.contains("undoing")));
}

#[test]
fn what_comes_on_the_connection_of_before_confirms_nothing() {
    let attack = || {
        let mut bench = applied();
        let welcome = ToMinion::Welcome {
            version: "0.1.0".to_owned(),
            now: bench.now,
            want_grains: false,
            heartbeat_s: 30,
            sample_s: 10,
            spread_s: 0,
        };
        let said = [welcome, ToMinion::Ack { jobs: vec![JobId(1)], events: None }].map(|it| bench.hear(it));
        said.concat().iter().any(|it| it == "record ended 1 changed")
    };
    assert!(!attack());
    assert!(broken::without(Some("confirm-by-new-connection"), attack));
}

#[test]
fn a_connection_without_a_welcome_confirms_nothing() {
    let mut bench = applied();
    for _ in 0..5 {
        bench.step(Input::Disconnected);
        assert_eq!(bench.step(Input::Connected), ["send hello"]);
        bench.hear(ToMinion::Ack { jobs: vec![JobId(1)], events: None });
    }
    bench.step(Input::Disconnected);
    bench.now = bench.minion.next_wake().unwrap();
    assert_eq!(bench.now, NOW.plus_ms(WITHIN_MS));
    assert_eq!(bench.step(Input::Tick), ["record undoing 1 1", "put back 1"]);
}

#[test]
fn what_is_not_confirmed_in_time_is_put_back_and_ends_failed_with_the_whole_story() {
    let mut bench = applied();
    bench.step(Input::Disconnected);
    bench.now = bench.now.plus_ms(WITHIN_MS);
    bench.step(Input::Tick);
    // It is too late now: what is put back by half would be neither the one nor the other.
    let late = bench.welcome();
    assert!(!late.iter().any(|it| it.contains("ended 1")), "{late:?}");
    bench.hear(ToMinion::Cancel { job: JobId(1) });
    let result = put_back(&mut bench);
    assert_eq!(result.word, Terminal::Failed);
    assert_eq!(
        result.reason,
        "not confirmed within 2m: undone: /etc/nftables.conf, packet filter (nft); restarted or reloaded: nftables"
    );
    let steps = result.report.unwrap().steps;
    assert_eq!((steps.len(), steps[1].index, steps[1].id.as_str()), (2, 1, "way back"));
    assert_eq!(steps[1].plan.changes.len(), 2, "what was put back stands in the report");
}

#[test]
fn what_no_undo_puts_back_is_named_in_the_end() {
    let mut bench = Bench::member();
    bench.offer(with_way_back(1));
    let mut whole = report(Outcome::Changed);
    whole.steps[0].kind = "pkg.installed".to_owned();
    whole.steps[0].name = "curl".to_owned();
    let end = RunEnd::Report { report: Box::new(whole), events: Vec::new() };
    bench.step(Input::RunEnded { job: JobId(1), end });
    bench.now = bench.now.plus_ms(WITHIN_MS);
    bench.step(Input::Tick);
    let reason = put_back(&mut bench).reason;
    assert!(reason.ends_with("not undone, but for files that they wrote: pkg.installed curl"), "{reason}");
}

#[test]
fn the_time_goes_on_over_a_crash_and_a_reboot() {
    for reboots in [false, true] {
        let mut bench = applied();
        bench.now = bench.now.plus_ms(WITHIN_MS / 2);
        if reboots {
            bench.settings.boot = "boot-2".to_owned();
        }
        assert!(!bench.crash().iter().any(|it| it.starts_with("recover") || it.starts_with("start")));
        assert_eq!(bench.minion.next_wake(), Some(NOW.plus_ms(WITHIN_MS)));
        bench.now = bench.now.plus_ms(WITHIN_MS / 2);
        // It dies at the very moment; what counts is looked at at the start.
        let said = bench.crash();
        assert!(said.contains(&"put back 1".to_owned()), "{said:?}");
        let said = bench.crash();
        assert!(said.contains(&"recover undo 1".to_owned()), "its worker may be alive: {said:?}");
        assert_eq!(put_back(&mut bench).word, Terminal::Failed);
    }
}

#[test]
fn a_machine_without_a_clock_of_its_own_waits_no_longer_after_a_reboot() {
    let mut bench = applied();
    bench.lazy.clear();
    let again = Minion::restore(bench.settings.clone(), Timestamp(0), bench.disk.clone());
    assert_eq!(again.clock(), NOW, "where its clock begins");
    assert_eq!(again.confirm_until(), Some(NOW.plus_ms(WITHIN_MS)));
}

#[test]
fn a_crash_before_the_time_is_over_can_still_be_confirmed() {
    let mut bench = applied();
    bench.now = bench.now.plus_ms(10_000);
    bench.crash();
    let said = bench.welcome();
    assert!(said.contains(&"record ended 1 changed".to_owned()), "{said:?}");
}

#[test]
fn a_clock_that_is_set_forward_takes_no_time_away() {
    let mut bench = applied();
    bench.minion.clock_jumped(86_400_000);
    bench.now = bench.now.plus_ms(86_400_000 + WITHIN_MS - 1);
    assert!(!bench.minion.step(bench.now, Input::Tick).iter().any(|it| matches!(it, Effect::PutBack { .. })));
    bench.now = bench.now.plus_ms(1);
    assert!(bench.minion.step(bench.now, Input::Tick).iter().any(|it| matches!(it, Effect::PutBack { .. })));
}

#[test]
fn a_clock_that_was_set_forward_takes_no_time_away_over_a_restart_either() {
    let day = 86_400_000;
    let mut bench = applied();
    bench.minion.clock_jumped(day);
    bench.now = bench.now.plus_ms(day + 1);
    assert!(bench.step(Input::Tick)[0].starts_with("record unconfirmed 1"));
    assert!(bench.step(Input::Tick).iter().all(|it| !it.starts_with("record")), "it is said once");
    bench.step(Input::Disconnected);
    let said = bench.crash();
    assert!(!said.contains(&"put back 1".to_owned()), "{said:?}");
    assert_eq!(bench.minion.confirm_until(), Some(bench.now.plus_ms(WITHIN_MS - 1)));

    let mut bench = Bench::member();
    bench.offer(offer(1));
    bench.step(Input::RunEnded { job: JobId(1), end: RunEnd::Reboot { step: 3, message: String::new() } });
    bench.minion.clock_jumped(day);
    bench.now = bench.now.plus_ms(day);
    bench.step(Input::Tick);
    assert_eq!(bench.crash(), ["reboot 1"], "it is not given up as one that did not come");
}

#[test]
fn nothing_else_begins_before_it_is_decided() {
    let mut bench = applied();
    assert_eq!(bench.offer(offer(2)), ["record received 2", "send received 2"]);
    bench.step(Input::Disconnected);
    let said = bench.welcome();
    assert_eq!(said[said.len() - 2..], ["record intent 2 1", "start 2 1"], "{said:?}");
}

#[test]
fn a_run_that_altered_nothing_or_only_looked_needs_no_confirmation() {
    let mut bench = Bench::member();
    bench.offer(with_way_back(1));
    assert_eq!(bench.ended(1, Outcome::Ok)[0], "record ended 1 ok");
    bench.offer(Offer { mode: Mode::Check, ..with_way_back(2) });
    assert_eq!(bench.ended(2, Outcome::WouldChange)[0], "record ended 2 changed");
}

#[test]
fn a_run_that_failed_or_was_lost_in_the_middle_is_put_back_too() {
    let mut bench = Bench::member();
    bench.offer(with_way_back(1));
    assert_eq!(bench.ended(1, Outcome::Failed)[0], "record unconfirmed 1 failed");
    bench.now = bench.now.plus_ms(WITHIN_MS);
    bench.step(Input::Tick);
    let reason = put_back(&mut bench).reason;
    assert!(reason.ends_with("; the run itself: site: because"), "{reason}");

    let mut bench = Bench::member();
    bench.offer(with_way_back(1));
    bench.lost(1);
    bench.lost(1);
    assert_eq!(bench.lost(1)[0], "record unconfirmed 1 interrupted");
}

#[test]
fn what_a_lost_attempt_may_have_altered_has_a_way_back_although_the_next_finds_nothing_to_do() {
    let mut bench = Bench::member();
    bench.offer(with_way_back(1));
    bench.lost(1);
    assert_eq!(bench.ended(1, Outcome::Ok), ["record unconfirmed 1 ok", "reconnect"]);

    let mut bench = Bench::member();
    bench.offer(with_way_back(1));
    bench.step(Input::RunEnded { job: JobId(1), end: RunEnd::Reboot { step: 0, message: String::new() } });
    bench.settings.boot = "boot-2".to_owned();
    bench.crash();
    assert_eq!(bench.ended(1, Outcome::Ok)[0], "record ended 1 ok", "a reboot is no lost attempt");
}

#[test]
fn a_run_that_is_cancelled_before_it_begins_again_has_its_way_back() {
    let mut bench = Bench::member();
    bench.offer(with_way_back(1));
    bench.lost(1);
    bench.hear(ToMinion::Cancel { job: JobId(1) });
    let end = RunEnd::NotBegun { reason: "cancelled before it began".to_owned() };
    let said = bench.step(Input::RunEnded { job: JobId(1), end });
    assert_eq!(said, ["record unconfirmed 1 cancelled", "reconnect"]);
}

#[test]
fn a_way_back_that_cannot_be_begun_is_tried_three_times() {
    let reason = || "no memory".to_owned();
    for end in [RunEnd::NotBegun { reason: reason() }, RunEnd::Fault { reason: reason() }] {
        let mut bench = applied();
        bench.now = bench.now.plus_ms(WITHIN_MS);
        bench.step(Input::Tick);
        let mut ended = || bench.step(Input::RunEnded { job: JobId(1), end: end.clone() });
        assert_eq!(ended(), ["record undoing 1 2", "put back 1"]);
        assert_eq!(ended(), ["record undoing 1 3", "put back 1"]);
        assert_eq!(ended()[0], "record ended 1 failed");
    }
}

#[test]
fn a_way_back_that_is_broken_off_is_gone_three_times_and_then_told_as_it_is() {
    let mut bench = applied();
    bench.now = bench.now.plus_ms(WITHIN_MS);
    bench.step(Input::Tick);
    for attempt in 2..=3 {
        assert_eq!(bench.lost(1), [format!("record undoing 1 {attempt}"), "put back 1".to_owned()]);
    }
    let end = RunEnd::Lost { reason: "gone".to_owned() };
    let effects = bench.minion.step(bench.now, Input::RunEnded { job: JobId(1), end });
    let Some(Effect::Record(entry)) = effects.first() else { panic!("{effects:?}") };
    let Entry::Ended(result) = &**entry else { panic!("{entry:?}") };
    assert_eq!(result.word, Terminal::Failed);
    assert_eq!(result.reason, "not confirmed within 2m: and what it altered could not be put back: gone");
}

#[test]
fn times_that_make_no_sense_are_brought_within_bounds() {
    let mut bench = Bench::member();
    bench.offer(Offer { confirm_ms: Some(u64::MAX), ..offer(1) });
    bench.ended(1, Outcome::Changed);
    assert_eq!(bench.minion.confirm_until(), Some(NOW.plus_ms(*CONFIRM_MS.end())));
}

#[test]
fn a_full_disk_puts_nothing_back_before_it_is_on_record() {
    let mut bench = applied();
    bench.step(Input::Disconnected);
    bench.now = bench.now.plus_ms(WITHIN_MS);
    let effects = bench.minion.step(bench.now, Input::Tick);
    let input = Input::NotRecorded { entries: entries(&effects), reason: "no space".to_owned() };
    assert_eq!(bench.minion.step(bench.now, input), []);
    bench.now = bench.now.plus_ms(DISK_RETRY_MS);
    let retried: Vec<_> = bench.minion.step(bench.now, Input::Tick).iter().map(gist).collect();
    assert_eq!(retried, ["record undoing 1 1", "record clock", "put back 1"]);
}
