//! The one clock of the master, for the core and everything around it: never earlier than what was stored, never going
//! back, and going on at its own pace while the machine's is behind.

use model::Timestamp;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A clock before this (2026-01-01) was never set.
const PLAUSIBLE: Timestamp = Timestamp(1_767_225_600_000);
/// A machine's clock that is further behind than this is not set.
const BEHIND_MS_MAX: u64 = 60_000;

static CLOCK: Mutex<Option<Clock>> = Mutex::new(None);

/// A clock of a daemon, told what the machine's says and how long the daemon runs.
#[derive(Debug)]
pub struct Clock {
    base: Timestamp,
    /// Time since the start at `base`.
    at: Duration,
}

impl Clock {
    /// One that begins at the latest time that was stored.
    pub fn new(stored: Timestamp) -> Self {
        Self { base: stored, at: Duration::ZERO }
    }

    /// The time, when the machine's clock says this and the daemon has been running so long.
    pub fn at(&mut self, machine: Timestamp, running: Duration) -> Timestamp {
        let passed = u64::try_from(running.saturating_sub(self.at).as_millis()).unwrap_or(u64::MAX);
        self.base = self.base.plus_ms(passed).max(machine);
        // What is less than a millisecond is not lost, or many calls would make it slow.
        self.at += Duration::from_millis(passed);
        self.base
    }

    /// Whether the machine's clock can have been set at all: a year that can be, and not long ago already.
    pub fn believes(&self, machine: Timestamp) -> bool {
        machine >= PLAUSIBLE && self.base.since_ms(machine) <= BEHIND_MS_MAX
    }
}

fn with<T>(read: impl FnOnce(&mut Clock) -> T) -> T {
    let mut clock = CLOCK.lock().unwrap_or_else(PoisonError::into_inner);
    read(clock.get_or_insert_with(|| Clock::new(Timestamp(0))))
}

/// Tells the last stored time.
pub(crate) fn set_floor(stored: Timestamp) {
    with(|clock| clock.base = clock.base.max(stored));
}

/// Now.
pub(crate) fn now() -> Timestamp {
    with(|clock| clock.at(machine(), started().elapsed()))
}

/// Whether the machine's clock can have been set at all.
pub(crate) fn is_set() -> bool {
    with(|clock| clock.believes(machine()))
}

/// Of a clock that only goes forward, in microseconds.
pub(crate) fn micros() -> u64 {
    u64::try_from(started().elapsed().as_micros()).unwrap_or(u64::MAX)
}

fn machine() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn started() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn it_goes_on_while_the_machines_clock_is_behind() {
        let mut clock = Clock::new(Timestamp(5_000));
        assert_eq!(clock.at(Timestamp(9_000), ms(0)), Timestamp(9_000));
        assert_eq!(clock.at(Timestamp(10_000), ms(1_000)), Timestamp(10_000));
        // Set back by an hour: a minute later it is a minute later.
        assert_eq!(clock.at(Timestamp(0), ms(61_000)), Timestamp(70_000));
    }

    #[test]
    fn a_machine_without_a_clock_is_set_in_steps_and_never_runs_ahead_of_it() {
        let stored = Timestamp(PLAUSIBLE.0 + 1_000_000);
        let mut clock = Clock::new(stored);
        assert_eq!(clock.at(Timestamp(0), ms(0)), stored);
        assert!(!clock.believes(Timestamp(0)));
        // First to the time of the last stop, which is before the stored one, then to the right one.
        let stop = Timestamp(PLAUSIBLE.0 + 900_000);
        assert_eq!(clock.at(stop, ms(1_000)), stored.plus_ms(1_000));
        assert!(!clock.believes(stop));
        let right = stored.plus_ms(3_600_000);
        assert_eq!(clock.at(right, ms(2_000)), right);
        assert!(clock.believes(right));
    }

    #[test]
    fn many_looks_within_a_millisecond_do_not_make_it_slow() {
        let mut clock = Clock::new(Timestamp(1_000));
        for look in 1..=10_000 {
            clock.at(Timestamp(0), Duration::from_micros(look * 700));
        }
        assert_eq!(clock.base, Timestamp(8_000));
    }
}
