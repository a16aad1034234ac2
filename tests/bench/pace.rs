//! What the kernel knows of processes: time, processor time, memory, children; and stopwatches.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};
use tests::{
    lab::{Lab, Said, said},
    wait,
};

/// Processor time is counted in ticks of this length.
const TICK_MS: f64 = 10.0;

/// As many descriptors as this process and its children may have: a swarm needs one a minion, and so does its master.
pub(crate) fn raise_descriptors() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// Milliseconds.
pub(crate) fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// A whole command from its start to its end, and what it said.
pub(crate) fn timed(command: &mut Command) -> (f64, Said) {
    let start = Instant::now();
    let output = command.output().expect("the program runs");
    (ms(start.elapsed()), said(&output))
}

/// A whole `labctl` command that must end with this code, in milliseconds.
pub(crate) fn labctl(lab: &Lab, arguments: &[&str], code: i32) -> f64 {
    let (time, said) = timed(&mut lab.labctl_command(arguments));
    assert_eq!(said.code, code, "{arguments:?}\n{}\n{}\n{}", said.stdout, said.stderr, lab.logs());
    time
}

/// A process and all its descendants.
pub(crate) fn tree(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut at = 0;
    while let Some(pid) = found.get(at).copied() {
        at += 1;
        for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|it| it.parse::<u32>().ok()));
        }
    }
    found
}

/// Proportional set size of a process tree in KiB.
pub(crate) fn pss_kib(pid: u32) -> f64 {
    let of = |pid: &u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let line = text.lines().find_map(|it| it.strip_prefix("Pss:"));
        line.and_then(|it| it.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0)
    };
    tree(pid).iter().map(of).sum()
}

/// Most memory that each process of a tree ever had, in KiB, summed.
pub(crate) fn peak_kib(pid: u32) -> f64 {
    let of = |pid: &u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = text.lines().find_map(|it| it.strip_prefix("VmHWM:"));
        line.and_then(|it| it.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0)
    };
    tree(pid).iter().map(of).sum()
}

/// Bytes that a process (one that has just ended, too) gave to the disk so far: what was written and not taken back
/// before it got there.
pub(crate) fn written_bytes(pid: u32) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    let of = |name: &str| text.lines().find_map(|it| it.strip_prefix(name))?.trim().parse::<f64>().ok();
    Some(of("write_bytes:")? - of("cancelled_write_bytes:")?)
}

/// Processor time of a process tree so far, with children that ended, in milliseconds.
pub(crate) fn cpu_ms(pid: u32) -> f64 {
    let of = |pid: &u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields = text.rsplit(')').next().unwrap_or_default();
        // utime, stime, cutime, cstime are the fields 14 to 17; the first one behind the name is the third.
        let ticks = fields.split_whitespace().skip(11).take(4).filter_map(|it| it.parse::<f64>().ok());
        ticks.sum::<f64>() * TICK_MS
    };
    tree(pid).iter().map(of).sum()
}

/// Waits until a process tree uses no processor time: a machine that is busy starting is not idle.
pub(crate) fn settle(pids: &[u32]) {
    let mut last = -1.0;
    wait::try_until(Duration::from_secs(20), || {
        let now: f64 = pids.iter().map(|pid| cpu_ms(*pid)).sum();
        let same = (now - last).abs() < 1.0;
        last = now;
        std::thread::park_timeout(Duration::from_millis(500));
        same.then_some(())
    });
}
