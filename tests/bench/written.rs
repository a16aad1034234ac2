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
/// Samples, and when minions were last heard of, go to the disk once an hour, and at a clean stop: so that a stop after a
/// while at rest shows what one of those times costs. When a minion was heard of waits for longer than a bench takes,
/// unless the minion is lost: so they are lost before the stop, and what that writes at once is not counted. The first
/// start is not counted either; then everything is new. Beside that the time is written every ten minutes: as much as
/// any smallest commit.
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
    let before = written();
    lab.labctl(&["event", "send", "bench"]).expect(0);
    settle(written);
    let commit = written() - before;
    let hourly = written_by_a_stop(&mut lab, pid);
    let times = |every: Duration| DAY_S / every.as_secs_f64();
    let day = at_rest * DAY_S / seconds
        + hourly * times(master::daemon::RETAINED_EVERY)
        + commit * times(master::store::LAZY);
    bench.print(
        Figure::new("written_mb_per_day", day / 1e6, "MB")
            .with("minions", MINIONS)
            .with("swarm", true)
            .with("watched_s", seconds.round())
            .with("at_rest_kb", (at_rest / 1e3).round())
            .with("hourly_kb", (hourly / 1e3).round())
            .with("every_ten_minutes_kb", (commit / 1e3).round()),
    );
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
