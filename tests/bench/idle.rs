//! 10,000 connected minions that do nothing but be there.

use crate::figure::{Bench, Figure, lab};
use crate::pace::{cpu_ms, pss_kib, settle};
use crate::swarm::{Fleet, ping_nobody};
use model::{Reply, Request};
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};
use tests::{api::ask, lab::Lab};

/// Processes of light minions: a process has at most 20,000 descriptors.
const SWARMS: usize = 2;
/// Between two looks at when the master last heard of each: its heartbeats come every 30 s.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How long anything may take.
const LIMIT: Duration = Duration::from_mins(1);

/// Prints the figures.
pub(crate) fn measure(bench: &Bench) {
    let minions = bench.of(10_000, 1_000);
    let looks = if bench.quick { 1 } else { 10 };
    let mut lab = lab();
    lab.start_master();
    ping_nobody(&lab);
    settle(&[lab.master_pid()]);
    let empty = pss_kib(lab.master_pid());
    let mut fleet = Fleet::start(&lab, SWARMS, minions);
    let (mut ways, mut cpu, mut time) = (Vec::new(), 0.0, 0.0);
    for _ in 0..looks {
        let (start, before) = (Instant::now(), cpu_ms(lab.master_pid()));
        std::thread::park_timeout(LOOK_EVERY);
        // Without the looks themselves.
        cpu += cpu_ms(lab.master_pid()) - before;
        time += start.elapsed().as_secs_f64() * 1000.0;
        ways.extend(look(&lab, &mut fleet));
    }
    let full = pss_kib(lab.master_pid());
    let count = f64::from(u32::try_from(fleet.minions).expect("not that many"));
    let with = |figure: Figure| {
        figure
            .with("minions", fleet.minions)
            .with("swarm", true)
            .with("seconds", (time / 1000.0).round())
            .with("heartbeat_s", 30)
            .with("sample_s", 10)
    };
    let memory = (full - empty) * 1.024 / count;
    bench.print(with(Figure::new("idle_10000_kb_per_minion", memory, "kB")));
    ways.sort_unstable();
    let p99 = ways.get(ways.len() * 99 / 100).copied().expect("heartbeats were heard");
    let worst = ways.last().copied().unwrap_or(0);
    bench.print(
        with(Figure::new("idle_10000_heartbeat_p99_ms", f64::from(p99), "ms"))
            .with("heartbeats", ways.len())
            .with("worst_ms", worst)
            .with("median_ms", ways[ways.len() / 2]),
    );
    bench.print(with(Figure::new("idle_10000_cpu_percent", cpu / time * 100.0, "%")).with("of", "one core"));
}

/// For each minion, milliseconds from saying its last heartbeat to the master's note of it.
fn look(lab: &Lab, fleet: &mut Fleet) -> Vec<u32> {
    let Ok(Reply::Minions(views)) = ask(&lab.socket(), &Request::Minions { target: None }) else {
        panic!("the master does not list its minions");
    };
    let heard: HashMap<&str, u64> = views.iter().map(|it| (it.id.as_str(), it.seen_at.0)).collect();
    let answers = fleet.words(&heard, LIMIT);
    answers.iter().flatten().map(|it| u32::try_from(*it).unwrap_or(u32::MAX)).collect()
}
