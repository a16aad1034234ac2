//! What an attack may have left behind: a minion that does not answer, a panic, memory, descriptors, a broken chain of
//! audit lines, a secret where none may be.

use crate::{arena::Arena, capture::Capture, mqtt::SOON};
use bus::{Identity, masters::Masters, seed::Seed};
use model::{JobId, JobKind, Reply, Request, request::Ask};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tests::{lab::LIMIT, wait};

/// The minion that must not notice anything.
const HEALTHY: &str = "healthy";
/// What its pillar holds and one of its files: nowhere else, ever.
pub(crate) const CANARY: &str = "kanarienvogel-4711-im-bergwerk";
/// The trees that give it to it.
pub(crate) const TREES: &[(&str, &str)] = &[
    (
        "states/canary.sls",
        "/etc/canary:\n  file.managed:\n    contents: '{{ pillar.canary.secret }}'\n    makedirs: true\n",
    ),
    ("pillar/canary.sls", "canary:\n  secret: !secret kanarienvogel-4711-im-bergwerk\n"),
];
/// Line of the pillar's top file.
pub(crate) const TOP: &str = "  'healthy':\n    - canary\n";

/// An answer may take so long.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// Memory and descriptors may be so much above what they were.
const PSS_KIB: u64 = 40 * 1024;
const DESCRIPTORS: usize = 12;
/// Secrets of observers and tokens that are looked for.
const SECRETS_MAX: usize = 12;
const SECRETS_FIRST: usize = 2;

pub(crate) struct Watch {
    pid: u32,
    pss_kib: u64,
    descriptors: usize,
    read: BTreeMap<PathBuf, usize>,
    capture: Capture,
    token: String,
}

impl Watch {
    /// Starts a healthy minion behind a recorder, gives it its secret, and notes how things are.
    pub(crate) fn begin(arena: &mut Arena) -> Self {
        let capture = Capture::start(&[arena.lab.mqtt(), arena.lab.https()]);
        let (seed, token) = seed(arena, &capture);
        arena.lab.launch(HEALTHY, &seed);
        arena.lab.wait_up(HEALTHY);
        let job = JobId::v7(crate::arena::now(), [1; 10]);
        let kind = JobKind::Apply {
            states: vec!["canary".to_owned()],
            mode: model::Mode::Apply,
            pillar: serde_json::Map::new(),
            env: None,
            confirm_ms: None,
        };
        let target = HEALTHY.to_owned();
        arena.ask(&Request::Submit {
            job,
            target,
            kind,
            expires_ms: 60_000,
            wait: false,
            retry_of: None,
            rolling: None,
        });
        let file = arena.lab.on_minion(HEALTHY, "/etc/canary");
        let written = || fs::read_to_string(&file).ok().filter(|it| it.contains(CANARY));
        let logs = || arena.lab.logs();
        assert!(wait::try_until(LIMIT, written).is_some(), "the secret does not arrive\n{}", logs());
        let pid = arena.lab.master_pid();
        let (pss_kib, descriptors) = (pss_kib(pid), descriptors(pid));
        Self { pid, pss_kib, descriptors, read: BTreeMap::new(), capture, token }
    }

    /// What is wrong now.
    pub(crate) fn harm(&mut self, arena: &mut Arena) -> Vec<String> {
        let mut wrong = Vec::new();
        if arena.lab.master_pid() != self.pid {
            arena.lab.wait_up(HEALTHY);
            self.pid = arena.lab.master_pid();
            (self.pss_kib, self.descriptors) = (pss_kib(self.pid), descriptors(self.pid));
        }
        if arena.lab.master_ended() {
            return vec!["the master has ended".to_owned()];
        }
        let mut last = Duration::ZERO;
        let answered = (0..3).any(|_| {
            let begin = Instant::now();
            let good = answers(arena);
            last = begin.elapsed();
            good && last < ANSWER_MAX
        });
        if !answered {
            wrong.push(format!("the healthy minion does not answer within a second ({last:?})"));
        }
        wrong.extend(self.new_lines(arena));
        let most = (self.pss_kib + PSS_KIB, self.descriptors + DESCRIPTORS);
        let back = || {
            let now = (pss_kib(self.pid), descriptors(self.pid));
            (now.0 <= most.0 && now.1 <= most.1).then_some(())
        };
        if wait::try_until(SOON * 2, back).is_none() {
            let now = (pss_kib(self.pid), descriptors(self.pid));
            wrong.push(format!("memory (KiB) and descriptors are {now:?}, more than {most:?}"));
        }
        wrong
    }

    /// Panics and secrets in what the logs have got since the last look.
    fn new_lines(&mut self, arena: &Arena) -> Vec<String> {
        let folder = arena.lab.folder();
        let logs = [folder.join("master.log"), folder.join("minions").join(HEALTHY).join("log")];
        let mut wrong = Vec::new();
        for path in logs {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let from = self.read.insert(path.clone(), text.len()).unwrap_or(0);
            let new = text.get(from..).unwrap_or_default();
            if let Some(line) = new.lines().find(|it| it.contains("panicked at")) {
                wrong.push(format!("{}: {line}", path.display()));
            }
            let told = self.canaries(arena).into_iter().find(|it| new.contains(it.as_str()));
            wrong.extend(told.map(|it| format!("{} holds the secret {it}", path.display())));
        }
        wrong
    }

    fn canaries(&self, arena: &Arena) -> Vec<String> {
        // Those of the beginning, and the newest of each kind: what leaks one leaks all.
        let newest = arena.secrets.iter().skip(SECRETS_FIRST).rev().take(SECRETS_MAX);
        let some = arena.secrets.iter().take(SECRETS_FIRST).chain(newest).cloned();
        [CANARY.to_owned(), self.token.clone()].into_iter().chain(some).collect()
    }

    /// What is wrong after all attacks of a group.
    pub(crate) fn leaks(&mut self, arena: &mut Arena) -> Vec<String> {
        let canaries = self.canaries(arena);
        let mut wrong = Vec::new();
        let state = arena.lab.root().join("var");
        let minion = arena.lab.folder().join("minions").join(HEALTHY);
        let managed = arena.lab.on_minion(HEALTHY, "/etc/canary");
        for file in files(&state).into_iter().chain(files(&minion)).filter(|it| *it != managed) {
            wrong.extend(holds(&file, &canaries));
        }
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            for name in ["cmdline", "environ"] {
                wrong.extend(holds(&entry.path().join(name), &canaries));
            }
        }
        let temporary =
            fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten().map(|it| it.path());
        for file in temporary.filter(|it| it.is_file()) {
            wrong.extend(holds(&file, &canaries));
        }
        let captured = self.capture.bytes();
        assert!(captured.len() > 1_000, "the traffic of the minion was recorded");
        let captured = String::from_utf8_lossy(&captured);
        let on_wire = canaries.iter().find(|it| captured.contains(it.as_str()));
        wrong.extend(on_wire.map(|it| format!("the traffic holds the secret {it}")));
        wrong.extend(chain(&state.join("lib/labctl/master/store.db")));
        wrong
    }
}

fn answers(arena: &Arena) -> bool {
    let wish = Request::Probe { target: HEALTHY.to_owned(), ask: Ask::Ping, timeout_ms: 2_000 };
    matches!(arena.ask(&wish), Reply::Probed(probe) if probe.answers.len() == 1)
}

/// A seed whose list of masters leads through the recorder, and the secret in it.
fn seed(arena: &mut Arena, capture: &Capture) -> (PathBuf, String) {
    let path = arena.lab.seed("*", &[]);
    let mut seed = Seed::parse(&fs::read_to_string(&path).unwrap()).unwrap();
    let org = Identity::load(&arena.keys(), "org").unwrap();
    let mut masters = Masters::open(&seed.masters, &org.public()).unwrap();
    masters.masters[0].mqtt = vec![format!("127.0.0.1:{}", capture.port(0))];
    masters.masters[0].https = vec![format!("127.0.0.1:{}", capture.port(1))];
    seed.masters = masters.sign(&org);
    fs::write(&path, serde_json::to_string(&seed).unwrap()).unwrap();
    (path, seed.token.unwrap().image_secret.reveal().to_owned())
}

fn pss_kib(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find(|it| it.starts_with("Pss:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|it| it.parse().ok()).unwrap_or(0)
}

fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

fn holds(file: &Path, canaries: &[String]) -> Option<String> {
    let size = fs::metadata(file).ok()?.len();
    // The ballast of the store is nothing but zeros.
    if size > 64 << 20 || file.extension().is_some_and(|it| it == "ballast") {
        return None;
    }
    let bytes = fs::read(file).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let found = canaries.iter().find(|it| text.contains(it.as_str()))?;
    Some(format!("{} holds the secret {found}", file.display()))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|it| it.path());
    let below = |path: PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
    entries.filter(|it| !it.is_symlink()).flat_map(below).collect()
}

/// Each line of the audit log follows the one before.
fn chain(store: &Path) -> Option<String> {
    let db = rusqlite::Connection::open(store).unwrap();
    let mut statement = db.prepare("SELECT data, before, hash FROM audit ORDER BY n").unwrap();
    let lines = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    let mut last: Option<Vec<u8>> = None;
    let mut count = 0;
    for line in lines {
        let (data, before, hash): (String, Vec<u8>, Vec<u8>) = line.unwrap();
        let whole = bus::seed::sha256(&[&before[..], data.as_bytes()].concat());
        if last.is_some_and(|it| it != before) || whole.0[..] != hash[..] {
            return Some(format!("the audit log is broken at line {count}: {data}"));
        }
        (last, count) = (Some(hash), count + 1);
    }
    (count == 0).then(|| "the audit log is empty".to_owned())
}
