//! Simulation: both real cores with real signatures, a network and disks that misbehave by a seed, and the promise about
//! jobs as a checker. `SIM_SEED=n` runs one seed, `SIM_SEEDS=n` so many.

mod check;
mod link;
mod nodes;
mod plan;
mod processes;
mod world;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
};
use world::World;

/// Seeds in a normal run.
const SEEDS: u64 = 200;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs a seed to its end; a broken promise panics with the seed.
fn run(seed: u64) -> world::Summary {
    let world = World::new(seed);
    match world.run() {
        Ok(summary) => summary,
        Err(complaint) => {
            panic!("seed {seed}: {complaint}\nagain: SIM_SEED={seed} cargo test -p tests --test sim")
        }
    }
}

#[test]
fn every_accepted_job_ends_once_whatever_breaks() {
    if let Some(seed) = number("SIM_SEED") {
        println!("{:?}", run(seed));
        return;
    }
    let seeds = number("SIM_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let all = thread::scope(|scope| {
        let work = || {
            let mut sum = world::Summary::default();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= seeds {
                    return sum;
                }
                sum.add(&run(seed));
            }
        };
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        threads.into_iter().fold(world::Summary::default(), |mut sum, thread| {
            sum.add(&thread.join().expect("the complaint is printed above"));
            sum
        })
    });
    println!("{seeds} seeds: {all:?}");
    // A simulation in which nothing went wrong proves nothing.
    assert!(all.jobs > seeds && all.master_crashes > seeds / 4 && all.minion_crashes > seeds / 4, "{all:?}");
    assert!(all.cuts > seeds && all.starts > seeds && all.replays_refused > seeds / 4, "{all:?}");
}

#[test]
fn one_seed_gives_one_history() {
    for seed in [3, 17, 58] {
        assert_eq!(run(seed).history, run(seed).history, "seed {seed}");
    }
}
