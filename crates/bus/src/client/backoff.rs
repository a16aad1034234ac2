//! When to try again: full jitter, under a ceiling that doubles with every round through the addresses.

use std::time::Duration;
use tokio::time::Instant;

/// First ceiling.
const FIRST_MS: u64 = 1000;
/// A connection that lasted this long was a success: the back-off starts over.
const STABLE: Duration = Duration::from_secs(10);
/// Failures that count after a connection that was short: the next attempt comes within 4 s.
const SHORT_LIVED_MAX: usize = 3;
/// A server that was lost so lately is most likely being restarted: who asks often is soon back.
const RETURN: Duration = Duration::from_mins(1);
/// Ceiling in that time, unless the server told to spread wider. What is refused by a closed port costs it nothing.
const RETURN_CEILING_MS: u64 = 5_000;

/// When one client tries again.
#[derive(Debug)]
pub struct Backoff {
    addresses: usize,
    max_ms: u64,
    failures: usize,
    /// End of the last connection, and how wide the server told to spread after it.
    lost: Option<(Instant, u64)>,
}

impl Backoff {
    /// For so many addresses, and a ceiling that is never passed.
    pub fn new(addresses: usize, max_ms: u64) -> Self {
        Self { addresses, max_ms, failures: 0, lost: None }
    }

    /// Milliseconds until the next attempt, after a connection that lived so long, or none. `spread_ms` is how wide the
    /// server told this connection to spread after its end; 0 if it did not.
    pub fn next_ms(&mut self, lived: Option<Duration>, spread_ms: u64) -> u64 {
        random_up_to(self.ceiling_ms(Instant::now(), lived, spread_ms))
    }

    fn ceiling_ms(&mut self, now: Instant, lived: Option<Duration>, spread_ms: u64) -> u64 {
        self.failures = failures_after(self.failures, lived);
        if lived.is_some() {
            self.lost = Some((now, spread_ms));
        }
        if lived.is_some() && spread_ms > 0 {
            return spread_ms;
        }
        let ceiling = ceiling_ms(self.failures, self.addresses).min(self.max_ms);
        match self.lost {
            Some((at, spread_ms)) if now - at < RETURN => ceiling.min(spread_ms.max(RETURN_CEILING_MS)),
            _ => ceiling,
        }
    }
}

/// Failures in a row, after a connection that lived so long, or none: a server that takes connections and drops them
/// is tried less often than a good one, but not as rarely as one that is away.
fn failures_after(failures: usize, lived: Option<Duration>) -> usize {
    match lived {
        Some(lived) if lived >= STABLE => 0,
        Some(_) => (failures + 1).min(SHORT_LIVED_MAX),
        None => failures + 1,
    }
}

fn ceiling_ms(failures: usize, addresses: usize) -> u64 {
    let rounds = failures.saturating_sub(1) / addresses.max(1);
    FIRST_MS << rounds.min(20)
}

fn random_up_to(ms: u64) -> u64 {
    let mut random = [0; 8];
    getrandom::fill(&mut random).expect("the system has randomness");
    u64::from_le_bytes(random) % ms.saturating_add(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_back_off_begins_at_a_second_and_doubles_with_every_round() {
        let ceilings = |addresses| (0..7).map(|failures| ceiling_ms(failures, addresses)).collect::<Vec<_>>();
        assert_eq!(ceilings(1), [1000, 1000, 2000, 4000, 8000, 16_000, 32_000]);
        assert_eq!(ceilings(3), [1000, 1000, 1000, 1000, 2000, 2000, 2000]);
        assert!(ceiling_ms(usize::MAX, 1) > 1_000_000);
    }

    #[test]
    fn short_connections_do_not_lead_to_the_longest_waits() {
        let short = Some(Duration::from_secs(1));
        let after = |lives: &[Option<Duration>]| lives.iter().fold(0, |sum, it| failures_after(sum, *it));
        assert_eq!(after(&[None; 9]), 9);
        assert_eq!(ceiling_ms(after(&[short; 9]), 1), 4000);
        assert_eq!(after(&[None, None, None, None, None, None, None, short]), SHORT_LIVED_MAX);
        assert_eq!(after(&[None, short, Some(STABLE)]), 0);
    }

    #[test]
    fn who_lost_its_server_asks_often_for_a_minute_and_never_more_often_than_it_was_told() {
        let long = Some(Duration::from_hours(1));
        for (spread_ms, first, then) in
            [(0, 1000, RETURN_CEILING_MS), (1000, 1000, RETURN_CEILING_MS), (13_000, 13_000, 13_000)]
        {
            let now = Instant::now();
            let mut backoff = Backoff::new(1, 60_000);
            assert_eq!(backoff.ceiling_ms(now, long, spread_ms), first, "{spread_ms}");
            let soon = now + Duration::from_secs(30);
            let ceilings: Vec<u64> = (0..8).map(|_| backoff.ceiling_ms(soon, None, 0)).collect();
            assert_eq!(ceilings[..3], [1000, 2000, 4000], "{spread_ms}");
            assert_eq!(ceilings[5..], [then; 3], "{spread_ms}");
            assert_eq!(backoff.ceiling_ms(now + RETURN, None, 0), 60_000, "{spread_ms}");
        }
        let mut never_there = Backoff::new(1, 60_000);
        let ceilings: Vec<u64> = (0..8).map(|_| never_there.ceiling_ms(Instant::now(), None, 0)).collect();
        assert_eq!(ceilings, [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
    }

    #[test]
    fn jitter_is_full_and_stays_under_its_ceiling() {
        let drawn: Vec<u64> = (0..2000).map(|_| random_up_to(10)).collect();
        assert!((0..=10).all(|wanted| drawn.contains(&wanted)) && drawn.iter().all(|it| *it <= 10));
        assert_eq!(random_up_to(0), 0);
        let _ = random_up_to(u64::MAX);
    }
}
