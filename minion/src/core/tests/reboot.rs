//! Steps that boot the machine anew, and workers that do not stop.

use super::*;
use model::broken;

fn wants_reboot(step: u32) -> Input {
    Input::RunEnded { job: JobId(1), end: RunEnd::Reboot { step, message: "kernel".to_owned() } }
}

/// The machine comes back with another boot id.
fn boot(bench: &mut Bench) -> Vec<String> {
    bench.settings.boot.push('+');
    bench.crash()
}

#[test]
fn a_reboot_is_on_record_before_it_happens_and_the_run_goes_on_behind_it() {
    let mut bench = Bench::member();
    bench.offer(offer(1));
    let said = bench.step(wants_reboot(3));
    assert_eq!(said, ["record rebooting 1 3", "send goodbye reboot", "reboot 1"]);
    let said = boot(&mut bench);
    assert_eq!(said[said.len() - 2..], ["record resumed 1 2 3", "start 1 2 behind 3 good"], "{said:?}");
    assert_eq!(bench.ended(1, Outcome::Changed)[0], "record ended 1 changed");
}

/// Whether the machine could go down before anybody knows why.
fn reboots_unrecorded() -> bool {
    let mut bench = Bench::member();
    bench.offer(offer(1));
    bench.step(wants_reboot(0))[0] == "reboot 1"
}

#[test]
fn without_the_record_the_reboot_would_come_first() {
    assert!(!reboots_unrecorded());
    assert!(broken::without(Some("reboot-on-record"), reboots_unrecorded));
}

#[test]
fn a_process_that_ends_before_the_machine_does_asks_for_the_reboot_again() {
    let mut bench = Bench::member();
    bench.offer(offer(1));
    bench.step(wants_reboot(3));
    assert_eq!(bench.crash(), ["reboot 1"]);
    assert_eq!(bench.crash(), ["reboot 1"]);
}

#[test]
fn a_machine_that_does_not_boot_anew_fails_the_step_and_the_run_goes_on() {
    let mut bench = Bench::member();
    bench.offer(offer(1));
    bench.step(wants_reboot(3));
    bench.step(Input::Disconnected);
    bench.now = bench.minion.next_wake().unwrap();
    assert_eq!(bench.now, NOW.plus_ms(REBOOT_LIMIT_MS));
    assert_eq!(bench.step(Input::Tick), ["reconnect", "record resumed 1 2 3", "start 1 2 behind 3 failed"]);

    let mut bench = Bench::member();
    bench.offer(offer(1));
    bench.step(wants_reboot(3));
    let input = Input::RebootFailed { job: JobId(1), reason: "no such program".to_owned() };
    assert_eq!(bench.step(input.clone()), ["reconnect", "record resumed 1 2 3", "start 1 2 behind 3 failed"]);
    assert_eq!(bench.step(input), NOTHING, "it is said once");
}

#[test]
fn a_machine_is_booted_anew_three_times_for_one_job() {
    let mut bench = Bench::member();
    bench.offer(offer(1));
    for round in 0..REBOOTS_MAX {
        assert!(bench.step(wants_reboot(round)).contains(&"reboot 1".to_owned()));
        boot(&mut bench);
    }
    assert_eq!(bench.step(wants_reboot(9)), ["record resumed 1 5 9", "start 1 5 behind 9 failed"]);
}

#[test]
fn a_run_that_is_lost_behind_a_reboot_begins_again_behind_it() {
    let mut bench = Bench::member();
    bench.offer(offer(1));
    bench.step(wants_reboot(3));
    boot(&mut bench);
    assert_eq!(bench.lost(1), ["record intent 1 3", "start 1 3 behind 3 good"]);
    assert!(boot(&mut bench).contains(&"recover 1".to_owned()));
    assert_eq!(bench.lost(1), ["record intent 1 4", "start 1 4 behind 3 good"]);
    assert_eq!(bench.lost(1)[0], "record ended 1 interrupted", "at most three times, reboots not counted");
}

#[test]
fn the_word_of_before_a_reboot_boots_the_machine_no_second_time() {
    let mut bench = Bench::member();
    bench.offer(offer(1));
    bench.step(wants_reboot(3));
    boot(&mut bench);
    // The process ends before a worker begins: what the one before said is still there.
    assert!(bench.crash().contains(&"recover 1".to_owned()));
    assert_eq!(bench.step(wants_reboot(3)), ["record intent 1 3", "start 1 3 behind 3 good"]);
    let said = bench.step(wants_reboot(4));
    assert!(said.contains(&"reboot 1".to_owned()), "a later step's is one: {said:?}");
}

#[test]
fn a_job_that_is_a_reboot_is_done_once() {
    let mut bench = Bench::member();
    bench.offer(Offer { command: true, ..offer(1) });
    bench.step(wants_reboot(0));
    let said = boot(&mut bench);
    assert_eq!(said[said.len() - 1], "start 1 2 behind 0 good");
    assert_eq!(bench.lost(1)[0], "record ended 1 interrupted");
}

#[test]
fn a_job_that_was_cancelled_reboots_nothing() {
    let mut bench = Bench::member();
    bench.offer(offer(1));
    bench.hear(ToMinion::Cancel { job: JobId(1) });
    assert_eq!(bench.step(wants_reboot(3)), ["record resumed 1 2 3", "start 1 2 behind 3 failed"]);
}

#[test]
fn a_full_disk_reboots_nothing_before_it_is_on_record() {
    let mut bench = Bench::member();
    bench.offer(offer(1));
    let effects = bench.minion.step(NOW, wants_reboot(3));
    let input = Input::NotRecorded { entries: entries(&effects), reason: "no space".to_owned() };
    assert_eq!(bench.minion.step(NOW, input), []);
    bench.now = NOW.plus_ms(DISK_RETRY_MS);
    let retried: Vec<_> = bench.minion.step(bench.now, Input::Tick).iter().map(gist).collect();
    assert_eq!(retried, ["record rebooting 1 3", "record clock", "reboot 1"]);
}

#[test]
fn a_reboot_that_was_given_up_does_not_happen_once_the_disk_has_room() {
    let mut bench = Bench::member();
    bench.offer(offer(1));
    let full = |bench: &mut Bench, effects: &[Effect]| {
        let input = Input::NotRecorded { entries: entries(effects), reason: "no space".to_owned() };
        bench.minion.step(bench.now, input);
    };
    let effects = bench.minion.step(NOW, wants_reboot(3));
    full(&mut bench, &effects);
    // Each try fails until the reboot is given up.
    for ms in [REBOOT_LIMIT_MS - 1, REBOOT_LIMIT_MS] {
        bench.now = NOW.plus_ms(ms);
        let effects = bench.minion.step(bench.now, Input::Tick);
        full(&mut bench, &effects);
    }
    bench.now = bench.now.plus_ms(DISK_RETRY_MS);
    let retried: Vec<_> = bench.minion.step(bench.now, Input::Tick).iter().map(gist).collect();
    assert!(retried.contains(&"start 1 2 behind 3 failed".to_owned()), "{retried:?}");
    assert!(!retried.contains(&"reboot 1".to_owned()), "{retried:?}");
}

#[test]
fn a_run_that_cannot_be_begun_again_on_a_full_disk_was_begun_all_the_same() {
    for cancelled in [false, true] {
        let mut bench = Bench::member();
        bench.offer(offer(1));
        let lost = RunEnd::Lost { reason: "gone".to_owned() };
        let effects = bench.minion.step(NOW, Input::RunEnded { job: JobId(1), end: lost });
        assert_eq!(gist(&effects[0]), "record intent 1 2");
        let input = Input::NotRecorded { entries: entries(&effects), reason: "no space".to_owned() };
        assert_eq!(bench.minion.step(NOW, input), []);
        assert_eq!(bench.minion.running(), Some(JobId(1)), "it is at work, not one that never began");
        assert!(bench.minion.memory.waiting().is_empty());
        if cancelled {
            let message = Box::new(ToMinion::Cancel { job: JobId(1) });
            bench.minion.step(NOW, Input::Message { message, sent: NOW.plus_ms(AHEAD_MS) });
        }
        bench.now = NOW.plus_ms(DISK_RETRY_MS);
        let retried: Vec<_> = bench.minion.step(bench.now, Input::Tick).iter().map(gist).collect();
        if cancelled {
            assert_eq!(retried[..3], ["record intent 1 2", "record clock", "record ended 1 cancelled"]);
        } else {
            assert_eq!(retried, ["record intent 1 2", "record clock", "start 1 2"]);
        }
    }
}

#[test]
fn a_worker_that_was_told_to_stop_and_does_not_is_killed() {
    let mut bench = Bench::member();
    bench.offer(offer(1));
    assert_eq!(bench.hear(ToMinion::Cancel { job: JobId(1) }), ["cancel 1"]);
    bench.step(Input::Disconnected);
    bench.now = bench.minion.next_wake().unwrap();
    assert_eq!(bench.now, NOW.plus_ms(CANCEL_MS));
    assert_eq!(bench.step(Input::Tick), ["kill 1"]);
    assert_eq!(bench.lost(1)[0], "record ended 1 cancelled");
}
