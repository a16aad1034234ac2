//! Bytes that the master writes to its disk with a hundred minions at rest.

use crate::figure::{Bench, Figure, lab};
use crate::pace::written_bytes;
use crate::swarm::Fleet;
use std::{
    fs,
    time::{Duration, Instant},
};
use tests::{lab::Lab, lab::kill, wait};

const MINIONS: usize = 100;
const DAY_S: f64 = 24.0 * 3600.0;
const LIMIT: Duration = Duration::from_mins(1);

/// Prints the figure.
///
/// What is written lazily goes to the disk once in a long time, and all of it at a clean stop: so that a stop after a
/// while at rest shows what one of those times costs. That minions were heard of waits for a disk only after a long time,
/// too, or when they are lost: so they are lost before the stop, and what that writes at once is not counted. The first
/// start is not counted either; then everything is new.
pub(crate) fn measure(bench: &Bench) {
    let time = Duration::from_secs(if bench.quick { 20 } else { 180 });
    let mut lab = lab();
    lab.start_master();
    let mut fleet = Fleet::start(&lab, 1, MINIONS);
    fleet.tell("watch");
    lab.signal_master("TERM");
    lab.start_master();
    fleet.answers(LIMIT);
    let pid = lab.master_pid();
    let written = || written_bytes(pid).expect("the master runs");
    settle(written);
    let (start, before) = (Instant::now(), written());
    std::thread::park_timeout(time);
    let (at_rest, seconds) = (written() - before, start.elapsed().as_secs_f64());
    drop(fleet);
    settle(written);
    let lazy = written_by_a_stop(&mut lab, pid);
    let lazy_s = master::store::LAZY.as_secs_f64();
    let mb = |bytes: f64| bytes / 1e6;
    let figure =
        Figure::new("written_mb_per_day", mb(at_rest / seconds * DAY_S + lazy / lazy_s * DAY_S), "MB")
            .with("minions", MINIONS)
            .with("swarm", true)
            .with("watched_s", seconds.round())
            .with("at_rest_kb", (at_rest / 1e3).round())
            .with("lazily_kb", (lazy / 1e3).round())
            .with("lazily_every_s", lazy_s);
    bench.print(figure);
}

/// Waits until nothing was written for some seconds.
fn settle(written: impl Fn() -> f64) {
    let mut last = (Instant::now(), written());
    wait::try_until(LIMIT, || {
        let now = written();
        if now > last.1 {
            last = (Instant::now(), now);
        }
        (last.0.elapsed() > Duration::from_secs(3)).then_some(())
    });
}

/// Stops the master in good order; what it wrote meanwhile can be read until it is waited for.
fn written_by_a_stop(lab: &mut Lab, pid: u32) -> f64 {
    let before = written_bytes(pid).expect("the master runs");
    kill(pid, "TERM");
    wait::until("the master to end", LIMIT, || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit(')').next()?.trim_start().starts_with('Z').then_some(())
    });
    let after = written_bytes(pid).expect("nobody has waited for it");
    lab.signal_master("TERM");
    after - before
}
