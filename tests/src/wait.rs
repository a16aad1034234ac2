//! Waiting for conditions with a limit: the only place of the tests that knows time.

use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(10);

/// Waits until `ready` gives something, for at most `limit`; says what it waited for otherwise.
pub fn until<T>(what: &str, limit: Duration, mut ready: impl FnMut() -> Option<T>) -> T {
    match try_until(limit, &mut ready) {
        Some(value) => value,
        None => panic!("waited {limit:?} for: {what}"),
    }
}

/// The same, without a panic.
pub fn try_until<T>(limit: Duration, mut ready: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = ready() {
            return Some(value);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::park_timeout(POLL);
    }
}

/// Seconds, for short calls.
pub fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}
