//! The promise holds in many worlds, and each part that it needs is missed in some.

use super::*;
use std::collections::BTreeSet;

/// Seeds that failed once; their complaints are mended.
const REGRESSIONS: &str = include_str!("regressions.txt");

/// Parts that the promise needs, and how many seeds may pass before one shows that it is left out.
const PARTS: &[&str] = &[
    "ask-before-expired",
    "audit-with-the-job",
    "chain-the-audit-log",
    "command-at-most-once",
    "compare-at-hello",
    "presence-epoch",
    "sequence",
    "intend-on-disk",
    "keep-events-over-a-reconnect",
    "keep-results-until-acknowledged",
    "look-for-the-worker",
    "lost-contact-is-no-end",
    "one-run-at-a-time",
    "one-terminal-record",
    "react-with-the-event",
    "receive-on-disk",
    "offer-expiry",
    "remember-cancels",
    "remember-ended-jobs",
    "result-on-disk",
    "same-id-same-job",
    "say-results-again",
    "wait-for-the-store",
    "sync-journal",
    "one-wave-at-a-time",
    "stop-at-max-fail",
    "waves-on-disk",
    "slots-on-disk",
    "slot-with-its-job",
    "rule-memory-on-disk",
    "calls-on-disk",
    "delivered-on-disk",
    "reboot-on-record",
    "suspend-clones",
];

fn regressions() -> Vec<Seed> {
    let seed = |line: &str| {
        let mut words = line.split_whitespace().map(|it| it.parse().unwrap());
        Seed { number: words.next().unwrap(), plan: words.next().unwrap() }
    };
    let lines = REGRESSIONS.lines().filter(|it| !it.starts_with('#'));
    lines.map(|it| seed(it.split_once(" -").unwrap().0)).collect()
}

fn complaints(runs: &Runs) -> String {
    let line = |it: &runs::Failure| {
        format!("{}: {}\n  again: ./dev sim --seed {}\n", it.seed, it.complaint, it.seed)
    };
    runs.failures.iter().map(line).collect()
}

#[test]
fn every_accepted_job_ends_once_whatever_breaks() {
    let seeds: Vec<Seed> = (0..SEEDS).map(Seed::new).collect();
    let runs = runs::all(&seeds, None, Until::TheEnd);
    assert!(runs.failures.is_empty(), "{}", complaints(&runs));
    println!("{} passed: {:?}", runs.passed, runs.summary);
    // A simulation in which nothing went wrong proves nothing.
    let it = runs.summary;
    let often =
        [it.jobs, it.starts, it.cuts, it.partitions, it.refused, it.master_crashes, it.minion_crashes];
    assert!(often.iter().all(|it| *it > SEEDS), "{it:?}");
    assert!(it.tampered > SEEDS / 10 && it.full > SEEDS / 10 && it.restores > SEEDS / 50, "{it:?}");
    let beside = [it.waves, it.slots, it.own_slots, it.remembered, it.calls, it.reboots];
    assert!(beside.iter().all(|it| *it > SEEDS / 4), "{it:?}");
    assert!(it.calls_again > SEEDS / 20 && it.suspended > SEEDS / 20, "{it:?}");
    assert_eq!(it.words.len(), 9, "each end happens: {it:?}");
}

#[test]
fn seeds_that_once_failed_pass() {
    let runs = runs::all(&regressions(), None, Until::TheEnd);
    assert!(runs.failures.is_empty(), "{}", complaints(&runs));
}

#[test]
fn one_seed_gives_one_history() {
    let history = |seed| {
        let mut world = World::with_history(seed);
        world.run().unwrap();
        world.check.history.unwrap()
    };
    for seed in [3, 17].map(Seed::new) {
        assert!(history(seed) == history(seed), "seed {seed}");
    }
}

#[cfg(debug_assertions)]
#[test]
fn each_part_that_is_left_out_is_missed_within_a_thousand_seeds() {
    let seeds: Vec<Seed> = (0..1_000).map(Seed::new).collect();
    let mut unnoticed = BTreeSet::new();
    println!("| left out | seed | complaint |\n|---|---|---|");
    for part in PARTS {
        let runs = runs::all(&seeds, Some(part), Until::TheFirstFailure);
        match runs.failures.first() {
            Some(it) => println!("| `{part}` | {} | {} |", it.seed, it.complaint),
            None => drop(unnoticed.insert(part)),
        }
    }
    assert!(unnoticed.is_empty(), "nobody notices that these are left out: {unnoticed:?}");
}

#[test]
fn an_order_is_read() {
    let read = |text: &str| order(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    assert_eq!(read(""), Ok(Order::Many { from: 0, seeds: SEEDS }));
    assert_eq!(read("--from 7 --seeds 3"), Ok(Order::Many { from: 7, seeds: 3 }));
    assert_eq!(read("--seed 12"), Ok(Order::One(Seed::new(12))));
    for bad in ["--seed", "--seed x", "12", "--form 7"] {
        assert!(read(bad).unwrap_err().contains("usage"), "{bad}");
    }
}
