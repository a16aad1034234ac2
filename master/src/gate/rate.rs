//! How often something may happen: so many in a burst, then one in an interval.

use std::time::Duration;
use tokio::time::Instant;

/// A leaky bucket; who is charged beyond the burst waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    interval: Duration,
    burst: u32,
    full_at: Option<Instant>,
}

impl Rate {
    pub(crate) const fn new(interval: Duration, burst: u32) -> Self {
        Self { interval, burst, full_at: None }
    }

    /// One more happened at `now`.
    pub(crate) fn charge(&mut self, now: Instant) {
        self.full_at = Some(self.full_at.map_or(now, |it| it.max(now)) + self.interval);
    }

    /// Until when nothing more may happen, if so.
    pub(crate) fn wait_until(&self, now: Instant) -> Option<Instant> {
        let until = self.full_at?.checked_sub(self.interval * self.burst)?;
        (until > now).then_some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_one_in_an_interval() {
        let mut now = Instant::now() + Duration::from_hours(1);
        let second = Duration::from_secs(1);
        let mut rate = Rate::new(second, 3);
        for _ in 0..3 {
            assert_eq!(rate.wait_until(now), None);
            rate.charge(now);
        }
        assert_eq!(rate.wait_until(now), None, "exactly the burst");
        rate.charge(now);
        assert_eq!(rate.wait_until(now), Some(now + second));
        now += second;
        assert_eq!(rate.wait_until(now), None);
        rate.charge(now);
        assert_eq!(rate.wait_until(now), Some(now + second));
    }
}
