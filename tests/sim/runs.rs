//! Many seeds on two threads, and what is said about them.

use crate::world::{Seed, Summary, World};
use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

/// Threads that run seeds.
const THREADS: usize = 2;

/// A seed in which the promise did not hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Failure {
    pub(crate) seed: Seed,
    pub(crate) complaint: String,
}

/// What came of some seeds.
#[derive(Default)]
pub(crate) struct Runs {
    pub(crate) passed: u64,
    pub(crate) failures: Vec<Failure>,
    pub(crate) summary: Summary,
}

/// Whether to go on behind a failure.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    TheEnd,
    #[cfg(test)]
    TheFirstFailure,
}

/// Runs one seed to its end.
pub(crate) fn one(seed: Seed) -> Result<Summary, Failure> {
    World::new(seed).run().map_err(|complaint| Failure { seed, complaint })
}

/// Runs these seeds. `leave_out` is the part that is left out in them.
pub(crate) fn all(seeds: &[Seed], leave_out: Option<&'static str>, until: Until) -> Runs {
    let next = AtomicU64::new(0);
    let over = AtomicBool::new(false);
    let runs = Mutex::new(Runs::default());
    let work = || {
        while !over.load(Ordering::Relaxed) {
            let place = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap_or(usize::MAX);
            let Some(seed) = seeds.get(place) else { return };
            let result = without(leave_out, || one(*seed));
            let mut runs = runs.lock().unwrap_or_else(PoisonError::into_inner);
            match result {
                Ok(summary) => {
                    runs.passed += 1;
                    runs.summary.add(&summary);
                }
                Err(failure) => {
                    over.store(until != Until::TheEnd, Ordering::Relaxed);
                    runs.failures.push(failure);
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(work);
        }
    });
    let mut runs = runs.into_inner().unwrap_or_else(PoisonError::into_inner);
    runs.failures.sort();
    runs
}

#[cfg(debug_assertions)]
fn without<T>(part: Option<&'static str>, run: impl FnOnce() -> T) -> T {
    match part {
        Some(_) => model::broken::without(part, run),
        None => run(),
    }
}

#[cfg(not(debug_assertions))]
fn without<T>(_: Option<&'static str>, run: impl FnOnce() -> T) -> T {
    run()
}
