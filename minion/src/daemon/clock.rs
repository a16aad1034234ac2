//! A clock that never goes back: not when the system's does, and not behind the last stored time (a Pi has none of its own).

use crate::linux::system::since_boot;
use model::Timestamp;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A clock of a daemon, told what the system's says and how long the machine has been up.
#[derive(Debug)]
pub struct Clock {
    base: Timestamp,
    /// Time since boot at `base`, sleep included.
    at: Duration,
    /// See [`Self::take_jump`].
    jumped_ms: u64,
}

impl Clock {
    pub(super) fn of_machine() -> Self {
        Self::new(since_boot().unwrap_or_default())
    }

    /// One that begins so long after the boot.
    pub fn new(since_boot: Duration) -> Self {
        Self { base: Timestamp(0), at: since_boot, jumped_ms: 0 }
    }

    /// It was at least this late already.
    pub fn not_before(&mut self, stored: Timestamp) {
        self.base = self.base.max(stored);
    }

    pub(super) fn now(&mut self) -> Timestamp {
        let system = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.at_system_time(whole_ms(system), since_boot().unwrap_or(self.at))
    }

    /// Milliseconds it went forward since this was last asked without so much time passing: the system's clock was set.
    pub fn take_jump(&mut self) -> u64 {
        std::mem::take(&mut self.jumped_ms)
    }

    /// The time, when the system's clock says this and the machine has been up so long, sleep included.
    pub fn at_system_time(&mut self, system_ms: u64, since_boot: Duration) -> Timestamp {
        let passed = whole_ms(since_boot.saturating_sub(self.at));
        let steady = self.base.plus_ms(passed);
        self.jumped_ms = self.jumped_ms.saturating_add(system_ms.saturating_sub(steady.0));
        self.base = steady.max(Timestamp(system_ms));
        // What is less than a millisecond is not lost, or many calls would make it slow.
        self.at += Duration::from_millis(passed);
        self.base
    }
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_while_the_system_clock_is_behind_and_jumps_only_forward() {
        let mut clock = Clock::of_machine();
        let start = clock.at;
        let at = |ms| start + Duration::from_millis(ms);
        clock.not_before(Timestamp(1_000_000));
        assert_eq!(clock.at_system_time(5, at(0)), Timestamp(1_000_000));
        assert_eq!(clock.at_system_time(15, at(10)), Timestamp(1_000_010));
        assert_eq!(clock.at_system_time(2_000_000, at(20)), Timestamp(2_000_000));
        assert_eq!(clock.at_system_time(7, at(50)), Timestamp(2_000_030));
    }

    #[test]
    fn a_jump_is_what_the_system_clock_went_forward_beyond_the_time_that_passed() {
        let mut clock = Clock::of_machine();
        let start = clock.at;
        let at = |ms| start + Duration::from_millis(ms);
        clock.at_system_time(1_000_000, at(0));
        assert_eq!(clock.take_jump(), 1_000_000, "the first look");
        clock.at_system_time(1_005_000, at(5000));
        assert_eq!(clock.take_jump(), 0, "time passed, asleep or not");
        clock.at_system_time(4_606_000, at(6000));
        assert_eq!(clock.take_jump(), 3_600_000);
        clock.at_system_time(7, at(7000));
        assert_eq!(clock.take_jump(), 0, "back is no jump: it goes on");
    }

    #[test]
    fn many_looks_within_a_millisecond_do_not_make_it_slow() {
        let mut clock = Clock::of_machine();
        let start = clock.at;
        clock.at_system_time(1_000_000, start);
        clock.take_jump();
        for look in 1..=10_000_u64 {
            let micros = look * 700;
            clock.at_system_time(1_000_000 + micros / 1000, start + Duration::from_micros(micros));
        }
        assert_eq!(clock.take_jump(), 0);
    }
}
