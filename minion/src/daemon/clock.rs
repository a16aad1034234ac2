//! A clock that never goes back: not when the system's does, and not behind the last stored time (a Pi has none of its own).

use model::Timestamp;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

#[derive(Debug)]
pub(super) struct Clock {
    base: Timestamp,
    at: Instant,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { base: Timestamp(0), at: Instant::now() }
    }

    /// It was at least this late already.
    pub(super) fn not_before(&mut self, stored: Timestamp) {
        self.base = self.base.max(stored);
    }

    pub(super) fn now(&mut self) -> Timestamp {
        let system = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.at_system_time(u64::try_from(system.as_millis()).unwrap_or(0), Instant::now())
    }

    fn at_system_time(&mut self, system_ms: u64, instant: Instant) -> Timestamp {
        let passed = u64::try_from(instant.saturating_duration_since(self.at).as_millis()).unwrap_or(0);
        let steady = self.base.plus_ms(passed);
        if system_ms > steady.0 || passed > 0 {
            self.base = steady.max(Timestamp(system_ms));
            self.at = instant;
        }
        self.base
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn time_goes_on_while_the_system_clock_is_behind_and_jumps_only_forward() {
        let mut clock = Clock::new();
        let start = clock.at;
        let at = |ms| start + Duration::from_millis(ms);
        clock.not_before(Timestamp(1_000_000));
        assert_eq!(clock.at_system_time(5, at(0)), Timestamp(1_000_000));
        assert_eq!(clock.at_system_time(15, at(10)), Timestamp(1_000_010));
        assert_eq!(clock.at_system_time(2_000_000, at(20)), Timestamp(2_000_000));
        assert_eq!(clock.at_system_time(7, at(50)), Timestamp(2_000_030));
    }
}
