//! What may not be done before everything that was recorded ahead of it is on disk.

use model::broken;
use std::collections::VecDeque;

/// A transaction that is never on disk: it was lost.
const LOST: u64 = u64::MAX;

/// A queue of things to do, each behind a transaction.
#[derive(Debug)]
pub struct Held<T> {
    waiting: VecDeque<(u64, T)>,
    barrier: u64,
}

impl<T> Default for Held<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), barrier: 0 }
    }
}

impl<T> Held<T> {
    /// What is added from now on waits for this transaction; `None` if it could not even be queued.
    pub fn behind(&mut self, transaction: Option<u64>) {
        self.barrier = self.barrier.max(transaction.unwrap_or(LOST));
    }

    /// Adds things to do.
    pub fn extend(&mut self, things: impl IntoIterator<Item = T>) {
        let barrier = self.barrier;
        self.waiting.extend(things.into_iter().map(|it| (barrier, it)));
    }

    /// The next thing to do, if all before it is on disk: `committed` is the last transaction that is.
    pub fn next(&mut self, committed: u64) -> Option<T> {
        let free = |barrier: u64| barrier <= committed || broken::leaves_out("wait-for-the-store");
        let (barrier, _) = self.waiting.front()?;
        if free(*barrier) { self.waiting.pop_front().map(|it| it.1) } else { None }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether what waits will wait for ever.
    pub fn is_lost(&self) -> bool {
        self.barrier == LOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_overtakes_and_nothing_leaves_before_its_transaction() {
        let mut held = Held::default();
        held.extend(["free"]);
        held.behind(Some(2));
        held.extend(["second"]);
        held.behind(Some(1));
        held.extend(["third"]);
        assert_eq!((held.next(0), held.next(1)), (Some("free"), None));
        assert_eq!((held.next(2), held.next(2), held.next(2)), (Some("second"), Some("third"), None));
        held.behind(None);
        held.extend(["never"]);
        assert!(held.is_lost());
        assert_eq!(held.next(1_000), None);
    }
}
