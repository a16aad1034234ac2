//! What was refused, by reason, and a line in the log now and then.

use std::{
    collections::BTreeMap,
    fmt::Display,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// At most one line in the log for each reason in this time.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Locks; a panic elsewhere does not make what is inside wrong.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Default)]
pub(crate) struct Counters {
    refused: Mutex<BTreeMap<&'static str, Refused>>,
    taken: AtomicU64,
}

#[derive(Default)]
struct Refused {
    count: u64,
    logged: Option<Instant>,
    quiet: u64,
}

impl Counters {
    /// Counts something that was refused. Reasons are a closed set of words in the source, never from the network.
    pub(crate) fn refuse(&self, reason: &'static str, who: &dyn Display) {
        let quiet = {
            let mut refused = lock(&self.refused);
            let entry = refused.entry(reason).or_default();
            entry.count += 1;
            entry.quiet += 1;
            let now = Instant::now();
            if entry.logged.is_some_and(|at| now.duration_since(at) < LOG_EVERY) {
                return;
            }
            entry.logged = Some(now);
            std::mem::take(&mut entry.quiet)
        };
        tracing::warn!(reason, who = %who, since_last = quiet, "refused");
    }

    /// Counts a message that was taken in.
    pub(crate) fn taken(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> (BTreeMap<String, u64>, u64) {
        let refused =
            lock(&self.refused).iter().map(|(reason, it)| ((*reason).to_owned(), it.count)).collect();
        (refused, self.taken.load(Ordering::Relaxed))
    }
}
