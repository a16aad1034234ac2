//! What beacons cost a machine on which nothing happens, and how soon a change is an event at the master.

use crate::figure::{Bench, Figure, lab, median};
use crate::pace::{cpu_ms, ms, pss_kib, settle};
use model::{Reply, Request, api::EventFilter};
use std::{
    fs,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tests::{
    api::ask,
    lab::{LIMIT, Lab},
    wait,
};

/// How long a minion is looked at while nothing happens.
const IDLE: Duration = Duration::from_secs(30);
/// Between two changes of a file.
const PAUSE: Duration = Duration::from_millis(200);

/// Prints the figures.
pub(crate) fn measure(bench: &Bench) {
    if bench.wants("beacons_idle_cpu_percent") || bench.wants("beacons_idle_kib") {
        idle(bench);
    }
    if bench.wants("file_beacon_ms") {
        latency(bench);
    }
}

/// Every beacon of this release, as its own documentation sets it.
fn all() -> String {
    let mut pillar = String::from("beacons:\n");
    for kind in resources::beacons::kinds() {
        let example = kind.example.text();
        pillar.push_str(example.strip_prefix("beacons:\n").expect("an example is pillar"));
        pillar.push('\n');
    }
    pillar
}

fn with(pillar: &str) -> Lab {
    let mut lab = lab();
    lab.tree("pillar/top.sls", "base:\n  '*':\n    - watch\n");
    lab.tree("pillar/watch.sls", pillar);
    lab.start_master();
    lab.minions(&["m-0"]);
    lab
}

/// Percent of a core, and KiB.
fn cost(lab: &mut Lab) -> (f64, f64) {
    let pid = lab.agent(0).pid();
    settle(&[pid]);
    let (start, before) = (Instant::now(), cpu_ms(pid));
    std::thread::park_timeout(IDLE);
    let percent = (cpu_ms(pid) - before) / ms(start.elapsed()) * 100.0;
    (percent, pss_kib(pid))
}

fn idle(bench: &Bench) {
    let (plain_cpu, plain_kib) = cost(&mut with("nothing: here\n"));
    let mut lab = with(&all());
    let listed = wait::until("the beacons to be there", LIMIT, || {
        let said = lab.labctl(&["beacon", "list", "m-0", "-o", "name"]).stdout;
        (!said.trim().is_empty()).then_some(said)
    });
    let (cpu, kib) = cost(&mut lab);
    let with =
        |figure: Figure| figure.with("beacons", listed.lines().count()).with("seconds", IDLE.as_secs());
    let figure = Figure::new("beacons_idle_cpu_percent", cpu - plain_cpu, "%");
    bench.print(with(figure).with("of", "one core").with("whole_minion", cpu));
    bench.print(with(Figure::new("beacons_idle_kib", kib - plain_kib, "KiB")).with("whole_minion", kib));
}

fn now_ms() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1000.0
}

fn latency(bench: &Bench) {
    let changes = bench.of(50, 20);
    let lab = with("beacons:\n  file: { path: /watched }\n");
    let folder = lab.on_minion("m-0", "/watched");
    fs::create_dir_all(&folder).expect("the folder is the lab's");
    wait::until("the beacon to be there", LIMIT, || {
        lab.labctl(&["beacon", "list", "m-0"]).stdout.contains("file").then_some(())
    });
    let mut times = Vec::new();
    for number in 0..=changes {
        let path = folder.join(number.to_string());
        let start = now_ms();
        fs::write(&path, "changed").expect("the folder is the lab's");
        let at = wait::until("the change to be an event", LIMIT, || event_at(&lab, number));
        if number > 0 {
            times.push(at - start);
        }
        std::thread::park_timeout(PAUSE);
    }
    let worst = times.iter().copied().fold(0.0, f64::max);
    bench.print(
        Figure::new("file_beacon_ms", median(&mut times), "ms")
            .with("changes", changes)
            .with("max_ms", worst)
            .with("settle_ms", 50),
    );
}

/// When the master took the event in.
#[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 have 41 bits")]
fn event_at(lab: &Lab, number: usize) -> Option<f64> {
    let filter = EventFilter { tag: Some("minion/m-0/beacon/file".to_owned()), ..EventFilter::default() };
    let Reply::Events(events) = ask(&lab.socket(), &Request::Events { filter }).ok()? else { return None };
    let path = format!("/watched/{number}");
    events.iter().find(|it| it.data["path"] == path.as_str()).map(|it| it.at.0 as f64)
}
