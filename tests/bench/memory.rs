//! Memory of an idle minion and of an idle master with one minion, by proportional set size over the process tree.

use crate::figure::{Bench, Figure, median};
use crate::pace::{pss_kib, settle};
use crate::ping::with_minions;

/// Prints the figures.
pub(crate) fn measure(bench: &Bench) {
    let runs = bench.of(5, 2);
    let (mut minion, mut master) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let mut lab = with_minions(1);
        let pids = [lab.master_pid(), lab.agent(0).pid()];
        settle(&pids);
        master.push(pss_kib(pids[0]));
        minion.push(pss_kib(pids[1]));
    }
    let with = |figure: Figure| figure.with("minions", 1).with("runs", runs);
    bench.print(with(Figure::new("idle_minion_pss_kib", median(&mut minion), "KiB")));
    let figure = with(Figure::new("idle_master_pss_kib", median(&mut master), "KiB"));
    bench.print(figure.with("with", "fan-out child"));
}
