//! A thousand light minions in a process of their own: `bench swarm SEED PREFIX COUNT AT_ONCE`.

use crate::figure::{Bench, Figure, lab};
use crate::pace::{cpu_ms, pss_kib, raise_descriptors, settle};
use crate::ping::ping;
use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, ChildStdout, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};
use tests::{
    lab::Lab,
    swarm::{Milestone, SwarmSettings, read_seed, start},
};

/// As many strangers as a master lets in from one address at a time, less a few for others.
pub(crate) const AT_ONCE: usize = 16;

/// The swarm's process, ended when dropped.
pub(crate) struct Swarm {
    child: Child,
    said: BufReader<ChildStdout>,
}

/// When all minions of a swarm had reached something, since the first began.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reached {
    /// Were members.
    pub(crate) enrolled: Duration,
    /// Had their hello answered.
    pub(crate) welcomed: Duration,
}

impl Swarm {
    /// Starts one; it enrols by itself.
    pub(crate) fn start(lab: &Lab, prefix: &str, minions: usize, at_once: usize) -> Self {
        let uses = minions.to_string();
        let seed = lab.seed(&format!("{prefix}-*"), &["--uses", &uses]);
        let mut child = Command::new(std::env::current_exe().expect("a bench knows its own path"))
            .arg("swarm")
            .arg(seed)
            .arg(prefix)
            .args([minions.to_string(), at_once.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the bench can be started again");
        let said = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, said }
    }
    /// Waits until all are members and were welcomed.
    pub(crate) fn complete(&mut self) -> Reached {
        let mut line = String::new();
        self.said.read_line(&mut line).expect("the swarm can be read");
        let mut numbers = line.split_whitespace().map(|it| it.parse::<u64>().map(Duration::from_micros));
        let mut next = || numbers.next().and_then(Result::ok).expect("the swarm says two numbers");
        Reached { enrolled: next(), welcomed: next() }
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The process of a swarm: says when all are there, and lives until its standard input ends.
pub(crate) fn child(arguments: &[String]) -> ExitCode {
    raise_descriptors();
    bus::tls::install_provider();
    match live(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn live(arguments: &[String]) -> anyhow::Result<()> {
    let [seed, prefix, minions, at_once] = arguments else {
        anyhow::bail!("usage: bench swarm SEED PREFIX COUNT AT_ONCE");
    };
    let settings = SwarmSettings {
        seed: read_seed(Path::new(seed))?,
        prefix: prefix.clone(),
        minions: minions.parse()?,
        at_once: at_once.parse()?,
        folder: Path::new(seed).parent().unwrap_or(Path::new(".")).to_owned(),
    };
    let minions = settings.minions;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let begin = Instant::now();
        let mut milestones = start(settings)?;
        let (mut enrolled, mut welcomed) = (0, 0);
        let mut reached = Reached::default();
        while welcomed < minions {
            match milestones.recv().await {
                Some(Milestone::Enrolled) => {
                    enrolled += 1;
                    reached.enrolled = begin.elapsed();
                }
                Some(Milestone::Welcomed) => welcomed += 1,
                None => anyhow::bail!("a swarm of {enrolled} ended"),
            }
        }
        reached.welcomed = begin.elapsed();
        println!("{} {}", reached.enrolled.as_micros(), reached.welcomed.as_micros());
        let end = tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0]));
        let _ = end.await;
        Ok(())
    })
}

/// Prints the figures.
pub(crate) fn measure(bench: &Bench) {
    let minions = bench.of(1000, 300);
    let mut lab = lab();
    lab.start_master();
    ping_nobody(&lab);
    settle(&[lab.master_pid()]);
    let empty = pss_kib(lab.master_pid());
    let mut swarm = Swarm::start(&lab, "s", minions, AT_ONCE);
    swarm.complete();
    settle(&[lab.master_pid()]);
    let full = pss_kib(lab.master_pid());
    let count = f64::from(u32::try_from(minions).expect("not that many"));
    bench.print(
        Figure::new("per_minion_kib", (full - empty) / count, "KiB")
            .with("minions", minions)
            .with("swarm", true),
    );
    let runs = bench.of(15, 5);
    let before = cpu_ms(lab.master_pid());
    let value = ping(&lab, runs, 0);
    let each = f64::from(u32::try_from(runs + 1).expect("few runs"));
    bench.print(
        Figure::new("ping_ms", value, "ms")
            .with("minions", minions)
            .with("runs", runs)
            .with("swarm", true)
            .with("master_cpu_ms", ((cpu_ms(lab.master_pid()) - before) / each).round()),
    );
}

/// A first request opens what the master opens once.
fn ping_nobody(lab: &Lab) {
    let _ = lab.labctl(&["target", "*", "ping"]);
}
