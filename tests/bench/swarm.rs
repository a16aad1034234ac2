//! Light minions in processes of their own, and what they are told: `bench swarm ADDRESSES AT_ONCE COUNT (SEED PREFIX)...`.

mod child;

pub(crate) use child::run as child;

use crate::figure::{Bench, Figure, lab};
use crate::pace::{cpu_ms, pss_kib, settle};
use crate::ping::ping;
use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::{Duration, Instant},
};
use tests::lab::Lab;

/// As many strangers as a master lets in from one address at a time, less a few for others.
pub(crate) const AT_ONCE: usize = 16;
/// How long a swarm may take to enrol, and then for anything else that is waited for.
const COMPLETE_LIMIT: Duration = Duration::from_mins(5);
/// Minions of one seed: whoever uses a token is kept with it, and the whole list is written each time.
const SEED_MINIONS: usize = 500;

/// A swarm's process, ended when dropped.
pub(crate) struct Swarm {
    child: Child,
    said: Receiver<Vec<u64>>,
    minions: usize,
    /// In the order of the process.
    ids: Vec<String>,
}

/// How a swarm is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// How many minions.
    pub(crate) minions: usize,
    /// How many enrol at once.
    pub(crate) at_once: usize,
    /// Loopback addresses that they connect from.
    pub(crate) addresses: usize,
}

impl Swarm {
    /// Starts one; it enrols by itself.
    pub(crate) fn start(lab: &Lab, prefix: &str, size: Size) -> Self {
        let Size { minions, at_once, addresses } = size;
        let groups = minions.div_ceil(SEED_MINIONS);
        let seed = |group: usize| -> (PathBuf, String) {
            let prefix = format!("{prefix}{group}");
            (lab.seed(&format!("{prefix}-*"), &["--uses", &SEED_MINIONS.to_string()]), prefix)
        };
        let mut command = Command::new(std::env::current_exe().expect("a bench knows its own path"));
        command.arg("swarm").args([addresses, at_once, minions].map(|it| it.to_string()));
        let mut ids = Vec::new();
        for (group, (seed, prefix)) in (0..groups).map(seed).enumerate() {
            ids.extend((0..child::share(minions, groups, group)).map(|number| format!("{prefix}-{number}")));
            command.arg(seed).arg(prefix);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the bench can be started again");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let (say, said) = channel();
        // Ends with the process.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let numbers = line.split_whitespace().filter_map(|it| it.parse().ok()).collect();
                if say.send(numbers).is_err() {
                    return;
                }
            }
        });
        Self { child, said, minions, ids }
    }
    /// Waits until all are members and were welcomed; how long it took until they were members.
    pub(crate) fn complete(&self) -> Duration {
        let numbers = self.answer(COMPLETE_LIMIT);
        numbers.first().copied().map(Duration::from_micros).unwrap_or_default()
    }
    /// How many it has.
    pub(crate) fn minions(&self) -> usize {
        self.minions
    }
    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
    /// Tells it something: see [`child`].
    pub(crate) fn tell(&mut self, words: &str) {
        let stdin = self.child.stdin.as_mut().expect("it is piped");
        writeln!(stdin, "{words}").expect("the swarm lives");
    }
    /// The numbers of its next line.
    pub(crate) fn answer(&self, limit: Duration) -> Vec<u64> {
        match self.said.recv_timeout(limit) {
            Ok(numbers) => numbers,
            Err(RecvTimeoutError::Timeout) => panic!("a swarm of {} said nothing in {limit:?}", self.minions),
            Err(RecvTimeoutError::Disconnected) => panic!("a swarm of {} has ended", self.minions),
        }
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Several swarms at one master: none has more descriptors than a process may.
pub(crate) struct Fleet {
    swarms: Vec<Swarm>,
    /// All of them.
    pub(crate) minions: usize,
    /// Loopback addresses that they come from.
    pub(crate) addresses: usize,
}

impl Fleet {
    /// Starts `count` swarms, which share minions and addresses, and waits until all minions were welcomed.
    pub(crate) fn start(lab: &Lab, count: usize, minions: usize) -> Self {
        // The budget per address is for strangers; here it is not what is measured.
        let addresses = minions.div_ceil(10).clamp(1, 250);
        let size = Size { minions: minions / count, at_once: AT_ONCE / count, addresses };
        let start = Instant::now();
        let swarms: Vec<Swarm> =
            (0..count).map(|number| Swarm::start(lab, &format!("s{number}x"), size)).collect();
        for swarm in &swarms {
            swarm.complete();
        }
        let minions = swarms.iter().map(Swarm::minions).sum();
        eprintln!("    {minions} minions are there after {:.1} s", start.elapsed().as_secs_f64());
        Self { swarms, minions, addresses }
    }
    /// Tells all of them.
    pub(crate) fn tell(&mut self, words: &str) {
        for swarm in &mut self.swarms {
            swarm.tell(words);
        }
    }
    /// The next line of each.
    pub(crate) fn answers(&self, limit: Duration) -> Vec<Vec<u64>> {
        let end = Instant::now() + limit;
        let left = || end.saturating_duration_since(Instant::now());
        self.swarms.iter().map(|swarm| swarm.answer(left())).collect()
    }
    /// See `words` of [`child`].
    pub(crate) fn words(&mut self, heard: &HashMap<&str, u64>, limit: Duration) -> Vec<Vec<u64>> {
        for swarm in &mut self.swarms {
            let times = swarm.ids.iter().map(|id| heard.get(id.as_str()).copied().unwrap_or(0).to_string());
            let words = times.collect::<Vec<_>>().join(" ");
            swarm.tell(&format!("words {words}"));
        }
        self.answers(limit)
    }
    /// Processor time of all, in milliseconds.
    pub(crate) fn cpu_ms(&self) -> f64 {
        self.swarms.iter().map(|it| cpu_ms(it.pid())).sum()
    }
}

/// Prints the figures.
pub(crate) fn measure(bench: &Bench) {
    let minions = bench.of(1000, 300);
    let mut lab = lab();
    lab.start_master();
    ping_nobody(&lab);
    settle(&[lab.master_pid()]);
    let empty = pss_kib(lab.master_pid());
    let swarm = Swarm::start(&lab, "s", Size { minions, at_once: AT_ONCE, addresses: 1 });
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
pub(crate) fn ping_nobody(lab: &Lab) {
    let _ = lab.labctl(&["target", "*", "ping"]);
}
