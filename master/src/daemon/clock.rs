//! The time for everything outside of the core: never earlier than what was stored, never going back.

use model::Timestamp;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A clock before this (2026-01-01) was never set.
const PLAUSIBLE: Timestamp = Timestamp(1_767_225_600_000);

static FLOOR: OnceLock<(Timestamp, Instant)> = OnceLock::new();
static LAST: AtomicU64 = AtomicU64::new(0);

/// Tells the last stored time, once.
pub(crate) fn set_floor(stored: Timestamp) {
    let _ = FLOOR.set((stored, Instant::now()));
}

/// What the machine's clock says; the core corrects it by itself.
pub(crate) fn machine() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Now, for the gate and for expiries: a clock that is behind counts on from the last stored time.
pub(crate) fn now() -> Timestamp {
    let machine = machine();
    let floor = FLOOR.get().map_or(Timestamp(0), |(stored, at)| {
        stored.plus_ms(u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX))
    });
    let now = if machine >= FLOOR.get().map_or(Timestamp(0), |it| it.0) { machine } else { floor };
    Timestamp(LAST.fetch_max(now.0, Ordering::Relaxed).max(now.0))
}

/// Whether the machine's clock can have been set at all: a year that can be, and not before what was stored.
pub(crate) fn is_set(machine: Timestamp) -> bool {
    machine >= PLAUSIBLE && machine >= FLOOR.get().map_or(Timestamp(0), |it| it.0)
}

/// Of a clock that only goes forward, in microseconds.
pub(crate) fn micros() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_micros()).unwrap_or(u64::MAX)
}
