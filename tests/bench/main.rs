//! `./dev bench [--quick] [--only NAME]`: speed and memory, one JSON line a figure on standard output.
//!
//! Every figure is measured at real programs in a release build, on loopback, with the store on disk. A figure is the
//! median of its runs. `bench swarm` is the process of many light minions that some figures start.

mod apply;
mod beacons;
mod compile;
mod enrolment;
mod events;
mod figure;
mod files;
mod fleet;
mod homelab;
mod idle;
mod many_files;
mod memory;
mod pace;
mod ping;
mod programs;
mod reaction;
mod reactor;
mod salt;
mod start;
mod swarm;
mod written;

use figure::Bench;
use std::process::ExitCode;

const USAGE: &str = "usage: ./dev bench [--quick] [--only NAME]...
  --quick       under five minutes: fewer runs, smaller swarms, nobody is stopped for 90 s
  --only NAME   only figures whose name begins like this; may be repeated";

/// Names of figures, and what prints them.
type Part = (&'static [&'static str], fn(&Bench));

/// The parts, and the figures that each prints.
const PARTS: &[Part] = &[
    (&["minion_binary_bytes", "labctl_start_ms"], programs::measure),
    (&["start_to_hello_ms", "start_to_reacted_ms"], start::measure),
    (&["apply_first_ms", "apply_noop_ms", "apply_cpu_ms"], apply::measure),
    (&["compile_one_ms", "compile_many_s", "compile_peak_mib"], compile::measure),
    (&["many_files_noop_ms"], many_files::measure),
    (&["ping_ms", "ping_one_down_ms"], ping::measure_real),
    (&["enroll_per_s", "enroll_at_once_ms"], enrolment::measure),
    (&["ping_ms", "per_minion_kib"], swarm::measure),
    (&["idle_minion_pss_kib", "idle_master_pss_kib"], memory::measure),
    (&["file_mb_per_s"], files::measure),
    (&["events_per_s"], events::measure),
    (&["reactor_events_per_s"], reactor::measure),
    (
        &[
            "event_to_offer_ms",
            "event_to_offer_p99_ms",
            "event_to_offer_slow_disk_ms",
            "event_to_offer_slow_disk_p99_ms",
        ],
        reaction::measure,
    ),
    (&["results_5000_s", "swarm_back_s", "master_peak_mib"], fleet::measure),
    (&["beacons_idle_cpu_percent", "beacons_idle_kib", "file_beacon_ms"], beacons::measure),
    (&["written_mb_per_day"], written::measure),
    (&["idle_10000_kb_per_minion", "idle_10000_heartbeat_p99_ms", "idle_10000_cpu_percent"], idle::measure),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|it| it == "swarm") {
        return swarm::child(&arguments[1..]);
    }
    if arguments.first().is_some_and(|it| it == "compile") {
        return compile::child(&arguments[1..]);
    }
    let names: Vec<&str> = PARTS.iter().flat_map(|(names, _)| names.iter().copied()).collect();
    let bench = match Bench::parse(&arguments, &names) {
        Ok(bench) => bench,
        Err(mistake) => {
            eprintln!("error: {mistake}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    pace::raise_descriptors();
    for (names, measure) in PARTS {
        if names.iter().any(|name| bench.wants(name)) {
            eprintln!("==> {}", names.join(", "));
            measure(&bench);
        }
    }
    ExitCode::SUCCESS
}
