//! The one time of the daemon, for the core, the gate and expiries: never earlier than what was stored, never going back,
//! and never standing still.

use model::Timestamp;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A clock before this (2026-01-01) was never set.
const PLAUSIBLE: Timestamp = Timestamp(1_767_225_600_000);
/// A machine's clock that is further behind than this is not set.
const BEHIND_MS_MAX: u64 = 60_000;

static CLOCK: Mutex<Option<Steady>> = Mutex::new(None);

/// Goes on by itself; a machine's clock that is later sets it forward.
#[derive(Clone, Copy, Debug)]
struct Steady {
    now: Timestamp,
    at: Instant,
}

impl Steady {
    fn tell(&mut self, machine: Timestamp, at: Instant) -> Timestamp {
        let passed = u64::try_from(at.saturating_duration_since(self.at).as_millis()).unwrap_or(u64::MAX);
        self.now = self.now.plus_ms(passed).max(machine);
        // What is less than a millisecond is not lost, or many looks would make it slow.
        self.at += Duration::from_millis(passed);
        self.now
    }
}

/// Tells the last stored time, once.
pub(crate) fn set_floor(stored: Timestamp) {
    let mut clock = CLOCK.lock().unwrap_or_else(PoisonError::into_inner);
    let steady = clock.get_or_insert(Steady { now: stored, at: Instant::now() });
    steady.now = steady.now.max(stored);
}

/// Now.
pub(crate) fn now() -> Timestamp {
    let mut clock = CLOCK.lock().unwrap_or_else(PoisonError::into_inner);
    let at = Instant::now();
    clock.get_or_insert(Steady { now: Timestamp(0), at }).tell(machine(), at)
}

fn machine() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Whether the machine's clock can have been set at all: a year that can be, and not before what was stored.
pub(crate) fn is_set() -> bool {
    let machine = machine();
    machine >= PLAUSIBLE && now().since_ms(machine) <= BEHIND_MS_MAX
}

/// Of a clock that only goes forward, in microseconds.
pub(crate) fn micros() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_is_set_back_goes_on_and_one_that_is_set_forward_is_followed() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut clock = Steady { now: Timestamp(1_000_000), at: start };
        assert_eq!(clock.tell(Timestamp(5), at(10)), Timestamp(1_000_010), "from the stored time on");
        assert_eq!(clock.tell(Timestamp(2_000_000), at(20)), Timestamp(2_000_000));
        assert_eq!(clock.tell(Timestamp(1_000), at(50)), Timestamp(2_000_030), "it does not stand still");
        for look in 1..=1000_u64 {
            clock.tell(Timestamp(0), at(50) + Duration::from_micros(look * 700));
        }
        assert_eq!(clock.now, Timestamp(2_000_030 + 700));
    }
}
