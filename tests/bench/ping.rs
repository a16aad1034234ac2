//! `labctl target '*' ping`, the whole command, with minions that are processes of their own.

use crate::figure::{Bench, Figure, lab, median};
use crate::pace::labctl;
use std::time::Duration;
use tests::{lab::Lab, wait};

/// Exit code: somebody did not answer.
const UNANSWERED: i32 = 4;
/// A stopped minion is taken for lost after 90 s.
const STOPPED_LIMIT: Duration = Duration::from_secs(150);
/// Minions of which one is down.
const WITH_ONE_DOWN: usize = 10;

/// Prints the figures.
pub(crate) fn measure_real(bench: &Bench) {
    let runs = bench.of(30, 10);
    if bench.wants("ping_ms") {
        for minions in [1, 30] {
            let lab = with_minions(minions);
            let value = ping(&lab, runs, 0);
            bench.print(
                Figure::new("ping_ms", value, "ms")
                    .with("minions", minions)
                    .with("runs", runs)
                    .with("swarm", false),
            );
        }
    }
    if bench.wants("ping_one_down_ms") {
        one_down(bench, "killed", runs);
        if !bench.quick {
            one_down(bench, "stopped", runs);
        }
    }
}

fn one_down(bench: &Bench, how: &str, runs: usize) {
    let mut lab = with_minions(WITH_ONE_DOWN);
    let all_up = ping(&lab, runs, 0);
    lab.agent(0).signal(if how == "killed" { "KILL" } else { "STOP" });
    let gone = || (lab.presence("m-0")? == "lost").then_some(());
    wait::until("the master to notice", STOPPED_LIMIT, gone);
    let value = ping(&lab, runs, UNANSWERED);
    bench.print(
        Figure::new("ping_one_down_ms", value, "ms")
            .with("how", how)
            .with("minions", WITH_ONE_DOWN)
            .with("runs", runs)
            .with("all_up_ms", (all_up * 100.0).round() / 100.0),
    );
}

/// A lab with `m-0`, `m-1`, ... up and idle.
pub(crate) fn with_minions(count: usize) -> Lab {
    let mut lab = lab();
    lab.start_master();
    let ids: Vec<String> = (0..count).map(|number| format!("m-{number}")).collect();
    lab.minions(&ids.iter().map(String::as_str).collect::<Vec<_>>());
    lab
}

/// Median of the whole command; one run before does not count.
pub(crate) fn ping(lab: &Lab, runs: usize, code: i32) -> f64 {
    let mut times: Vec<f64> = (0..=runs).map(|_| labctl(lab, &["target", "*", "ping"], code)).collect();
    median(&mut times[1..])
}
