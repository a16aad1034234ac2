//! Enrolments by token: many in a row, and thirty at once.

use crate::figure::{Bench, Figure, lab, median};
use crate::pace::{cpu_ms, ms};
use crate::swarm::{AT_ONCE, Size, Swarm};

const THIRTY: usize = 30;

/// Prints the figures.
pub(crate) fn measure(bench: &Bench) {
    let mut lab = lab();
    lab.start_master();
    let (minions, runs) = (bench.of(600, 200), bench.of(3, 1));
    let mut rates = Vec::new();
    let before = cpu_ms(lab.master_pid());
    for run in 0..runs {
        let size = Size { minions, at_once: AT_ONCE, addresses: 1 };
        let swarm = Swarm::start(&lab, &format!("s{run}x"), size);
        let enrolled = swarm.complete();
        rates.push(f64::from(u32::try_from(minions).expect("not that many")) / enrolled.as_secs_f64());
    }
    let all = f64::from(u32::try_from(minions * runs).expect("not that many"));
    let cpu = (cpu_ms(lab.master_pid()) - before) / all;
    bench.print(
        Figure::new("enroll_per_s", median(&mut rates), "1/s")
            .with("minions", minions)
            .with("at_once", AT_ONCE)
            .with("master_cpu_ms_each", (cpu * 100.0).round() / 100.0)
            .with("runs", runs)
            .with("swarm", true),
    );
    let runs = bench.of(7, 3);
    let size = Size { minions: THIRTY, at_once: THIRTY, addresses: 1 };
    let mut times: Vec<f64> =
        (0..runs).map(|run| ms(Swarm::start(&lab, &format!("t{run}x"), size).complete())).collect();
    bench.print(
        Figure::new("enroll_at_once_ms", median(&mut times), "ms")
            .with("minions", THIRTY)
            .with("runs", runs)
            .with("swarm", true),
    );
}
