//! 100 templated files that use grains and pillar, and 10 commands, on one minion that works on the real file system.

use crate::figure::{Bench, Figure, lab, median};
use crate::pace::{cpu_ms, labctl, ms};
use std::{fmt::Write as _, fs, path::Path, process::Command, time::Instant};
use tests::lab::Lab;

const FILES: usize = 100;
const COMMANDS: usize = 10;
const ID: &str = "m-0";

/// Prints the figures.
pub(crate) fn measure(bench: &Bench) {
    let mut lab = lab();
    let out = lab.folder().join("out");
    trees(&lab, &out);
    lab.start_master();
    let seed = lab.seed("*", &[]);
    lab.launch_on_this_machine(ID, &seed);
    lab.wait_up(ID);
    let apply = ["target", ID, "apply", "bench"];
    labctl(&lab, &apply, 0);
    let runs = bench.of(15, 6);
    let mut first = Vec::new();
    let cpu = cpu(&mut lab);
    for _ in 0..runs {
        fs::remove_dir_all(&out).expect("the states made it");
        first.push(labctl(&lab, &apply, 0));
        assert_eq!(fs::read_dir(&out).map_or(0, Iterator::count), FILES + COMMANDS, "{}", lab.logs());
    }
    print(bench, "first", &mut first, cpu, &mut lab);
    let mut noop = Vec::new();
    let cpu = self::cpu(&mut lab);
    for _ in 0..runs {
        noop.push(labctl(&lab, &apply, 0));
    }
    print(bench, "noop", &mut noop, cpu, &mut lab);
}

fn print(bench: &Bench, run: &str, times: &mut [f64], before: [f64; 2], lab: &mut Lab) {
    let runs = times.len();
    let name = if run == "first" { "apply_first_ms" } else { "apply_noop_ms" };
    let commands = if run == "first" { commands_ms() } else { 0.0 };
    let with = |figure: Figure| {
        figure.with("files", FILES).with("commands", COMMANDS).with("minions", 1).with("runs", runs)
    };
    let figure = with(Figure::new(name, median(times), "ms"));
    bench.print(figure.with("commands_own_ms", (commands * 10.0).round() / 10.0));
    let count = f64::from(u32::try_from(runs).expect("few runs"));
    for ((side, before), after) in ["master", "minion"].into_iter().zip(before).zip(cpu(lab)) {
        let figure = Figure::new("apply_cpu_ms", (after - before) / count, "ms");
        bench.print(with(figure).with("side", side).with("run", run));
    }
}

fn cpu(lab: &mut Lab) -> [f64; 2] {
    [cpu_ms(lab.master_pid()), cpu_ms(lab.agent(0).pid())]
}

/// What the commands alone take.
fn commands_ms() -> f64 {
    let start = Instant::now();
    for _ in 0..COMMANDS {
        let status = Command::new("/bin/sh").args(["-c", "touch /dev/null"]).status();
        assert!(status.is_ok_and(|it| it.success()), "a shell runs");
    }
    ms(start.elapsed())
}

fn trees(lab: &Lab, out: &Path) {
    let out = out.display();
    let mut states = format!("out:\n  file.directory:\n    name: {out}\n    makedirs: true\n");
    for number in 0..FILES {
        let _ = write!(
            states,
            "f{number}:\n  file.managed:\n    name: {out}/f{number}\n    source: lab://bench/files/t{number}.conf\n    \
             template: handlebars\n    mode: '0644'\n"
        );
        let mut text = format!("# {{{{grains.id}}}} file number {number}\nlisten = {{{{pillar.port}}}}\n");
        for line in 0..10 {
            let _ = writeln!(text, "key{line} = {number}-{line}-{{{{grains.os}}}}");
        }
        lab.tree(&format!("states/bench/files/t{number}.conf"), &text);
    }
    for number in 0..COMMANDS {
        let _ = write!(
            states,
            "c{number}:\n  cmd.run:\n    name: touch {out}/c{number}\n    creates: {out}/c{number}\n"
        );
    }
    lab.tree("states/bench/init.sls", &states);
    lab.tree("pillar/top.sls", "base:\n  '*':\n    - p\n");
    lab.tree("pillar/p.sls", "port: 8080\n");
}
