//! The master's clock as a minion believes it.

use super::*;

const HOUR: u64 = 3_600_000;

#[test]
fn a_message_that_was_long_on_its_way_sets_the_clock_not_back() {
    let mut clock = MasterClock::default();
    clock.ask(Timestamp(1_000));
    clock.answered(Timestamp(1_010), Timestamp(HOUR));
    assert_eq!(clock.now(Timestamp(1_010)), Some(Timestamp(HOUR + 10)));
    let late = |clock: &mut MasterClock| clock.heard(Timestamp(61_010), Timestamp(HOUR + 1_000));
    let mut believing = MasterClock { offset_ms: clock.offset_ms, ..MasterClock::default() };
    broken::without(Some("late-messages"), || late(&mut believing));
    assert_eq!(believing.now(Timestamp(61_010)), Some(Timestamp(HOUR + 1_000)), "it would be in time");
    late(&mut clock);
    assert_eq!(
        clock.now(Timestamp(61_010)),
        Some(Timestamp(HOUR + 60_010 - 60)),
        "it was an hour and a minute"
    );
    clock.heard(Timestamp(62_010), Timestamp(3 * HOUR));
    assert_eq!(clock.now(Timestamp(62_010)), Some(Timestamp(3 * HOUR)), "the master's was set forward");
    clock.jumped(5 * HOUR);
    assert_eq!(clock.now(Timestamp(62_010 + 5 * HOUR)), Some(Timestamp(3 * HOUR)), "ours was set forward");
    clock.heard(Timestamp(62_010 + 5 * HOUR), Timestamp(2 * HOUR));
    assert_eq!(clock.now(Timestamp(62_010 + 5 * HOUR)), Some(Timestamp(3 * HOUR)));
}

#[test]
fn clocks_that_go_apart_are_followed() {
    let mut clock = MasterClock::default();
    clock.answered(Timestamp(0), Timestamp(0));
    // Ours gains half a second in an hour.
    for hour in 1..=100 {
        clock.heard(Timestamp(hour * HOUR), Timestamp(hour * HOUR - hour * 500));
    }
    assert_eq!(clock.offset_ms(), Some(-50_000));
}

#[test]
fn an_answer_that_took_long_is_taken_for_later_by_seconds_only() {
    let mut clock = MasterClock::default();
    clock.ask(Timestamp(0));
    clock.answered(Timestamp(HOUR), Timestamp(9 * HOUR));
    assert_eq!(clock.now(Timestamp(HOUR)), Some(Timestamp(9 * HOUR + UNSURE_MAX_MS)));
}
