//! From an event that a minion says to the offer of the job that a rule makes of it: gate, reactor, records on disk,
//! compiled, sealed and sent.

use crate::figure::{Bench, Figure, lab, median};
use crate::pace::{cpu_ms, ms};
use crate::swarm::Fleet;
use std::{fs::File, io::Write, path::Path, time::Duration, time::Instant};
use tests::lab::Around;

/// Events of all minions in a second.
const PER_S: usize = 500;
/// How long anything may take.
const LIMIT: Duration = Duration::from_mins(1);
/// Syncs of the machine's own that are measured.
const SYNCS: usize = 100;
/// Reactions of Salt 3008.3 in a second, with a master and a minion on a machine like this.
const SALT_PER_S: u32 = 43;
/// One job of its own for each event.
const RULE: &str = "answer:
  on: minion/+/event/react
  when: event.load > 0.9
  do:
    - run: { target: \"{{minion}}\", command: [\"true\"] }
";

/// What strace does to the master: each sync takes five milliseconds longer; no other call is looked at.
const SLOW: &[&str] = &[
    "strace",
    "-D",
    "-f",
    "--seccomp-bpf",
    "-qq",
    "-o",
    "/dev/null",
    "-e",
    "trace=fdatasync,fsync",
    "-e",
    "inject=fdatasync,fsync:delay_exit=5000",
];

/// Prints the figures.
pub(crate) fn measure(bench: &Bench) {
    react(bench, ["event_to_offer_ms", "event_to_offer_p99_ms"], false);
    let strace = std::process::Command::new("strace").arg("--version").output();
    if strace.is_ok_and(|it| it.status.success()) {
        react(bench, ["event_to_offer_slow_disk_ms", "event_to_offer_slow_disk_p99_ms"], true);
    } else {
        eprintln!("    no strace here: a disk whose syncs take 5 ms is not pretended");
    }
}

fn react(bench: &Bench, names: [&'static str; 2], slow: bool) {
    let minions = bench.of(500, 250);
    let (warm, time) = if bench.quick { (2, 5) } else { (3, 20) };
    let mut lab = lab();
    lab.tree("reactors/answer.yaml", RULE);
    if slow {
        *lab.around_master() = Around::behind(SLOW);
    }
    lab.start_master();
    let mut fleet = Fleet::start(&lab, 1, minions);
    let sync = sync_ms(&lab.folder().join("sync")) + if slow { 5.0 } else { 0.0 };
    fleet.tell(&format!("react {}", minions * 1000 / PER_S));
    std::thread::park_timeout(Duration::from_secs(warm));
    let _ = reacted(&mut fleet);
    let (cpu, start) = (cpu_ms(lab.master_pid()), Instant::now());
    std::thread::park_timeout(Duration::from_secs(time));
    let (overdue, mut times) = reacted(&mut fleet);
    let (cpu, took) = (cpu_ms(lab.master_pid()) - cpu, start.elapsed().as_secs_f64());
    fleet.tell("react 0");
    assert!(!times.is_empty(), "no event was answered by a job: {}", lab.logs());
    let count = f64::from(u32::try_from(times.len()).expect("not that many"));
    let middle = median(&mut times);
    let p99 = times[times.len() * 99 / 100];
    let with = |figure: Figure| {
        figure
            .with("minions", minions)
            .with("swarm", true)
            .with("per_s", (count / took).round())
            .with("overdue", overdue)
            .with("sync_ms", (sync * 100.0).round() / 100.0)
            .with("master_cpu_us_each", (cpu * 1000.0 / count).round())
            .with("salt_per_s", SALT_PER_S)
    };
    bench.print(with(Figure::new(names[0], middle, "ms")));
    bench.print(with(Figure::new(names[1], p99, "ms")));
}

/// How many were overdue, and milliseconds of the others.
#[expect(clippy::cast_precision_loss, reason = "microseconds of a minute have 26 bits")]
fn reacted(fleet: &mut Fleet) -> (u64, Vec<f64>) {
    fleet.tell("reacted");
    let answers = fleet.answers(LIMIT);
    let overdue = answers.iter().filter_map(|it| it.first()).sum();
    (overdue, answers.iter().flat_map(|it| it.iter().skip(1)).map(|us| *us as f64 / 1000.0).collect())
}

/// What the disk takes for 4 KiB and a sync.
fn sync_ms(path: &Path) -> f64 {
    let mut file = File::create(path).expect("the folder is ours");
    let mut times: Vec<f64> = (0..SYNCS)
        .map(|_| {
            let start = Instant::now();
            file.write_all(&[b'x'; 4096]).and_then(|()| file.sync_data()).expect("the disk has room");
            ms(start.elapsed())
        })
        .collect();
    median(&mut times)
}
