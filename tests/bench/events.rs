//! Events of many minions, each its own signed message, through gate, store and reactor; no rule wants them.

use crate::figure::{Bench, Figure, lab};
use crate::pace::cpu_ms;
use crate::swarm::Fleet;
use std::time::Duration;

/// Events that each minion has on their way.
const WINDOW: usize = 8;
/// How long anything may take.
const LIMIT: Duration = Duration::from_mins(1);
/// A rule that looks at events, though not at these.
const RULE: &str = "other:\n  on: minion/+/event/other\n  do:\n    - event: { tag: seen }\n";

/// Prints the figure.
pub(crate) fn measure(bench: &Bench) {
    let minions = bench.of(500, 200);
    let (warm, time) = if bench.quick { (2, 5) } else { (3, 20) };
    let mut lab = lab();
    lab.tree("reactors/other.yaml", RULE);
    lab.start_master();
    let mut fleet = Fleet::start(&lab, 1, minions);
    fleet.tell(&format!("events {WINDOW}"));
    std::thread::park_timeout(Duration::from_secs(warm));
    let cpu = [cpu_ms(lab.master_pid()), fleet.cpu_ms()];
    let before = count(&mut fleet);
    std::thread::park_timeout(Duration::from_secs(time));
    let after = count(&mut fleet);
    let cpu = [cpu_ms(lab.master_pid()) - cpu[0], fleet.cpu_ms() - cpu[1]];
    fleet.tell("events 0");
    let events = after.0 - before.0;
    let each = |ms: f64| (ms * 1000.0 / events).round();
    bench.print(
        Figure::new("events_per_s", events / (after.1 - before.1), "1/s")
            .with("minions", minions)
            .with("on_their_way", WINDOW)
            .with("swarm", true)
            .with("master_cpu_us_each", each(cpu[0]))
            .with("swarm_cpu_us_each", each(cpu[1])),
    );
}

/// Events on the master's disk, and seconds since 1970.
#[expect(clippy::cast_precision_loss, reason = "both have less than 52 bits")]
fn count(fleet: &mut Fleet) -> (f64, f64) {
    fleet.tell("count");
    let answers = fleet.answers(LIMIT);
    let sum = |index: usize| answers.iter().filter_map(|it| it.get(index)).sum::<u64>() as f64;
    (sum(0), sum(1) / 1e6)
}
