//! The promise about jobs, held against what a master says, what its store holds, and what a ledger saw that lies
//! outside of every fault: every step that is executed appends a line to it.

use crate::{
    api,
    lab::{LIMIT, Lab},
    wait,
};
use model::{
    ContentHash, Event, Job, JobId, JobKind, JobTarget, MinionId, Mode, Reply, Request, TargetState,
    Terminal, Timestamp,
    api::{EventFilter, JobFilter, JobView},
};
use serde_json::{Map, json};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Until everything that was accepted has ended, on a loaded machine.
const END_MAX: Duration = Duration::from_mins(1);
/// Between a begin that was in time and its line in the ledger.
const LAG_MS: u64 = 4_000;
/// How often a state run may begin.
const ATTEMPTS_MAX: usize = 3;
/// Steps of the state `promise`.
const STEPS: usize = 4;
/// How long an offer is good, unless a test says otherwise.
pub const EXPIRES: Duration = Duration::from_mins(5);

/// What was asked of a master.
#[derive(Clone, Debug)]
struct Asked {
    target: String,
    kind: JobKind,
    expires: Duration,
    /// By the clock of the tests, which no fault touches.
    at: u64,
    /// The master said that it is accepted.
    accepted: bool,
    /// Whether its steps note themselves in the ledger.
    noted: bool,
}

impl Asked {
    fn new(target: &str, kind: JobKind, expires: Duration) -> Self {
        let target = target.to_owned();
        Self { target, kind, expires, at: now_ms(), accepted: false, noted: true }
    }
}

/// A line of the ledger.
#[derive(Clone, Debug)]
struct Line {
    job: JobId,
    minion: String,
    step: String,
    at: u64,
}

/// The checker.
#[derive(Debug)]
pub struct Promise {
    ledger: PathBuf,
    /// Where it lies for those who write to it.
    seen_at: PathBuf,
    asked: BTreeMap<JobId, Asked>,
    /// Whether events may be lost, as they may while the master's disk is full.
    no_room: bool,
    /// Ends that were seen: they never change.
    ended: BTreeMap<(JobId, MinionId), TargetState>,
}

impl Promise {
    /// With its ledger in the lab's folder, and the state `promise` in the lab's tree.
    pub fn of(lab: &Lab) -> Self {
        let ledger = lab.folder().join("ledger");
        let seen_at = ledger.clone();
        let it = Self { ledger, seen_at, asked: BTreeMap::new(), no_room: false, ended: BTreeMap::new() };
        let step = |number: usize| {
            let note = it.note("{{ pillar.job }}", &format!("step-{number}"));
            let done = format!("done-{{{{ pillar.job }}}}-{number}");
            format!(
                "step_{number}:\n  cmd.run:\n    name: |\n      {note} && touch {done} && sleep 0.02\n    creates: /{done}\n"
            )
        };
        lab.tree("states/promise.sls", &(0..STEPS).map(step).collect::<String>());
        it
    }
    /// A shell's words that append a line; a pretended machine's name is in its folder's.
    fn note(&self, job: &str, step: &str) -> String {
        let ledger = self.seen_at.display();
        format!(
            "m=${{PWD%/*}}; m=${{m##*/}}; echo \"{job} ${{m:-$(hostname)}} {step} $(date +%s%3N)\" >> {ledger}"
        )
    }
    /// For a machine that does not see the lab's folder: where the ledger lies there, and where that is here.
    pub fn move_ledger(&mut self, seen_at: &Path, ledger: &Path) {
        (self.seen_at, self.ledger) = (seen_at.to_owned(), ledger.to_owned());
    }
    /// The master's disk is full in between: events may be lost then, and nothing else.
    pub fn without_room(&mut self) {
        self.no_room = true;
    }
    /// A new job that runs a shell's words between two lines of the ledger; not asked for yet.
    fn command_of(&self, body: &str) -> (JobId, JobKind) {
        let job = new_job();
        let name = job.to_string();
        let script = format!(
            "{}; {body}\ncode=$?; {}; echo did {job}; exit $code",
            self.note(&name, "begun"),
            self.note(&name, "ended")
        );
        let kind = JobKind::Run {
            command: vec![script],
            shell: true,
            cwd: None,
            user: None,
            environment: BTreeMap::default(),
            timeout_ms: 120_000,
        };
        (job, kind)
    }
    /// Asks for a command (a shell's words) on some minions.
    pub fn command(&mut self, lab: &Lab, target: &str, body: &str) -> JobId {
        self.command_for(lab, target, body, EXPIRES)
    }
    /// The same, whose offer is good for so long.
    pub fn command_for(&mut self, lab: &Lab, target: &str, body: &str, expires: Duration) -> JobId {
        let (job, kind) = self.command_of(body);
        self.ask(lab, job, target, kind, expires)
    }
    /// Asks for the state `promise`, whose steps note themselves.
    pub fn apply(&mut self, lab: &Lab, target: &str) -> JobId {
        let job = new_job();
        let mut pillar = Map::new();
        pillar.insert("job".to_owned(), json!(job.to_string()));
        let kind = JobKind::Apply {
            states: vec!["promise".to_owned()],
            mode: Mode::Apply,
            pillar,
            env: None,
            confirm_ms: None,
        };
        self.ask(lab, job, target, kind, EXPIRES)
    }
    /// Asks for a state that leaves no line in the ledger, for minions that only imagine their machine.
    pub fn imagine(&mut self, lab: &Lab, target: &str, state: &str) -> JobId {
        let job = new_job();
        let states = vec![state.to_owned()];
        let kind =
            JobKind::Apply { states, mode: Mode::Apply, pillar: Map::new(), env: None, confirm_ms: None };
        let asked = Asked::new(target, kind, EXPIRES);
        self.asked.insert(job, Asked { noted: false, ..asked });
        self.submit(lab, job);
        job
    }
    fn ask(&mut self, lab: &Lab, job: JobId, target: &str, kind: JobKind, expires: Duration) -> JobId {
        self.asked.insert(job, Asked::new(target, kind, expires));
        self.submit(lab, job);
        job
    }
    /// Asks once more, by the same ids, for all that nobody answered.
    pub fn insist(&mut self, lab: &Lab) {
        for job in self.unanswered() {
            self.submit(lab, job);
        }
    }
    /// Jobs that the master has not accepted, as far as anybody was told.
    pub fn unanswered(&self) -> Vec<JobId> {
        self.asked.iter().filter(|(_, it)| !it.accepted).map(|(job, _)| *job).collect()
    }
    fn submit(&mut self, lab: &Lab, job: JobId) {
        let Some(asked) = self.asked.get_mut(&job) else { return };
        let request = Request::Submit {
            job,
            target: asked.target.clone(),
            kind: asked.kind.clone(),
            expires_ms: u64::try_from(asked.expires.as_millis()).unwrap_or(u64::MAX),
            wait: true,
            retry_of: None,
            rolling: None,
        };
        // Whoever gets no answer knows nothing.
        asked.accepted |= matches!(api::ask(&lab.socket(), &request), Ok(Reply::Submitted(_)));
    }
    /// Whether a job has begun on any minion.
    pub fn has_begun(&self, job: JobId) -> bool {
        self.lines().iter().any(|it| it.job == job)
    }
    /// Waits until a job has begun on some minion.
    pub fn wait_begun(&self, job: JobId) {
        wait::until(&format!("job {job} to begin"), END_MAX, || self.has_begun(job).then_some(()));
    }
    /// Waits for the end of a job on its only minion, or the first of many.
    pub fn word(&self, lab: &Lab, job: JobId) -> Terminal {
        self.end(lab, job).0
    }
    /// The same, with the reason.
    pub fn end(&self, lab: &Lab, job: JobId) -> (Terminal, String) {
        let ended = wait::try_until(END_MAX, || match view(lab, job)?.targets.first()?.state.clone() {
            TargetState::Ended { word, reason, .. } => Some((word, reason)),
            _ => None,
        });
        ended.unwrap_or_else(|| panic!("job {job} has no end: {:?}\n{}", view(lab, job), lab.logs()))
    }
    /// Panics if anything of the promise does not hold. Everything runs again by now.
    #[track_caller]
    pub fn hold(&mut self, lab: &Lab) {
        let complaints = self.complaints(lab);
        assert!(complaints.is_empty(), "{}\n{}", complaints.join("\n"), lab.logs());
    }
    /// What of the promise does not hold, once everything that was accepted has ended or a minute has passed.
    pub fn complaints(&mut self, lab: &Lab) -> Vec<String> {
        let (mut views, mut wrong) = (Vec::new(), Vec::new());
        for (job, asked) in &self.asked {
            let ended = wait::try_until(END_MAX, || match view(lab, *job) {
                Some(view) if view.job.ended.is_none() => None,
                other => Some(other),
            });
            match ended {
                Some(Some(view)) => views.push(view),
                Some(None) if asked.accepted => wrong.push(format!("job {job} was accepted and is lost")),
                Some(None) => {}
                None => wrong.push(format!("job {job} does not end: {:?}", view(lab, *job))),
            }
        }
        let lines = self.lines();
        for view in &views {
            for target in &view.targets {
                self.look_at(&view.job, target, &lines, &mut wrong);
                if let Some(word) = ran_well(target) {
                    look_at_report(lab, &view.job, target, word, &mut wrong);
                }
            }
        }
        look_at_others(lab, &mut wrong);
        look_at_ledger(lab, &lines, &mut wrong);
        look_at_events(lab, &views, self.no_room, &mut wrong);
        look_at_audit(lab, &views, &mut wrong);
        // Who was cut off a moment ago comes back within the ceiling of its back-off.
        let mut ping = String::new();
        let answers = wait::try_until(LIMIT, || {
            let said = lab.labctl(&["target", "*", "ping"]);
            ping = format!("{}{}", said.stdout, said.stderr);
            (said.code == 0).then_some(())
        });
        if answers.is_none() {
            wrong.push(format!("a minion does not answer afterwards: {ping}"));
        }
        wrong
    }
    /// One (job, minion): ended once, and as the ledger says.
    fn look_at(&mut self, job: &Job, target: &JobTarget, lines: &[Line], wrong: &mut Vec<String>) {
        let place = format!("job {} on {}", job.id, target.minion);
        let key = (job.id, target.minion.clone());
        let TargetState::Ended { word, .. } = target.state else {
            return wrong.push(format!("{place} has no end: {:?}", target.state));
        };
        if let Some(before) = self.ended.insert(key, target.state.clone())
            && before != target.state
        {
            wrong.push(format!("{place}: a terminal record changed: {before:?} -> {:?}", target.state));
        }
        let of: Vec<&Line> =
            lines.iter().filter(|it| it.job == job.id && it.minion == target.minion.as_str()).collect();
        let count = |step: &str| of.iter().filter(|it| it.step == step).count();
        let command = matches!(job.kind, JobKind::Run { .. });
        let steps: Vec<String> = match self.asked.get(&job.id).is_some_and(|it| it.noted) {
            true if command => vec!["begun".to_owned(), "ended".to_owned()],
            true => (0..STEPS).map(|it| format!("step-{it}")).collect(),
            false => Vec::new(),
        };
        for step in &steps {
            let (times, most) = (count(step), if command { 1 } else { ATTEMPTS_MAX });
            if times > most {
                wrong.push(format!("{place}: `{step}` ran {times} times"));
            }
            if [Terminal::Ok, Terminal::Changed].contains(&word) && times == 0 {
                wrong.push(format!("{place} ended {word:?}, and `{step}` never ran"));
            }
        }
        let never = [Terminal::Expired, Terminal::Refused, Terminal::Unreachable, Terminal::Superseded]
            .contains(&word);
        if never && !of.is_empty() {
            wrong.push(format!("{place} ended {word:?}, and it ran: {of:?}"));
        }
        if let (Some(asked), Some(first)) = (self.asked.get(&job.id), of.iter().map(|it| it.at).min()) {
            let over = asked.at + u64::try_from(asked.expires.as_millis()).unwrap_or(u64::MAX / 2);
            if first > over + LAG_MS {
                wrong.push(format!("{place} began {} ms after its expiry", first - over));
            }
        }
    }
    fn lines(&self) -> Vec<Line> {
        let text = fs::read_to_string(&self.ledger).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |it| it.0);
        whole.lines().map(|it| parse(it).unwrap_or_else(|| panic!("no line of a ledger: {it}"))).collect()
    }
}

fn parse(line: &str) -> Option<Line> {
    let mut words = line.split(' ');
    let job = words.next()?.parse().ok()?;
    let (minion, step) = (words.next()?.to_owned(), words.next()?.to_owned());
    Some(Line { job, minion, step, at: words.next()?.parse().ok()? })
}

fn ran_well(target: &JobTarget) -> Option<Terminal> {
    match target.state {
        TargetState::Ended { word, .. } => [Terminal::Ok, Terminal::Changed].contains(&word).then_some(word),
        _ => None,
    }
}

/// A result that is shown is on disk, and is that command's.
fn look_at_report(lab: &Lab, job: &Job, target: &JobTarget, word: Terminal, wrong: &mut Vec<String>) {
    if !matches!(job.kind, JobKind::Run { .. }) {
        return;
    }
    let request = Request::Report { job: job.id, minion: target.minion.clone() };
    let said = match api::ask(&lab.socket(), &request) {
        Ok(Reply::Report(Some(report))) => {
            report.steps.first().and_then(|it| it.output.clone()).unwrap_or_default().stdout
        }
        other => format!("{other:?}"),
    };
    if !said.contains(&format!("did {}", job.id)) && !said.contains("[cut") {
        let end: String = said.chars().rev().take(300).collect::<Vec<char>>().into_iter().rev().collect();
        wrong.push(format!("job {} on {} ended {word:?} without its report: {end}", job.id, target.minion));
    }
}

/// What others asked for has ended as well.
fn look_at_others(lab: &Lab, wrong: &mut Vec<String>) {
    let filter = JobFilter { limit: 1000, ..JobFilter::default() };
    let open = wait::try_until(END_MAX, || {
        let Ok(Reply::Jobs(jobs)) = api::ask(&lab.socket(), &Request::Jobs { filter: filter.clone() }) else {
            return None;
        };
        jobs.iter().all(|it| it.job.ended.is_some()).then_some(())
    });
    if open.is_none() {
        wrong.push("a job that somebody asked for does not end".to_owned());
    }
}

/// Nothing runs that the master does not know.
fn look_at_ledger(lab: &Lab, lines: &[Line], wrong: &mut Vec<String>) {
    let jobs: BTreeSet<JobId> = lines.iter().map(|it| it.job).collect();
    for job in jobs {
        if view(lab, job).is_none() {
            wrong.push(format!("job {job} ran and the master does not know it"));
        }
    }
}

/// The end of each job was told once.
fn look_at_events(lab: &Lab, views: &[JobView], no_room: bool, wrong: &mut Vec<String>) {
    let filter = EventFilter { tag: Some("job/ended".to_owned()), limit: 10_000, ..EventFilter::default() };
    let events: Vec<Event> = match api::ask(&lab.socket(), &Request::Events { filter }) {
        Ok(Reply::Events(events)) => events,
        other => return wrong.push(format!("no events: {other:?}")),
    };
    for view in views {
        let id = view.job.id.to_string();
        let told = events.iter().filter(|it| it.data["job"] == id.as_str()).count();
        if told != 1 && !(told == 0 && no_room) {
            wrong.push(format!("the end of job {id} was told {told} times"));
        }
    }
}

/// A line of the audit log: what it says, the hash of the line before it, its own.
type Audited = (String, [u8; 32], [u8; 32]);

/// The audit log is whole: each line is chained to the one before it, and each job has a line.
fn look_at_audit(lab: &Lab, views: &[JobView], wrong: &mut Vec<String>) {
    let path = lab.root().join("var/lib/labctl/master/store.db");
    let read = || -> rusqlite::Result<Vec<Audited>> {
        let db = rusqlite::Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        db.busy_timeout(Duration::from_secs(10))?;
        let mut statement = db.prepare("SELECT data, before, hash FROM audit ORDER BY n")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        rows.collect()
    };
    let lines = match read() {
        Ok(lines) => lines,
        Err(error) => return wrong.push(format!("the audit log cannot be read: {error}")),
    };
    // What is older than is kept is gone.
    let mut last = lines.first().map_or([0; 32], |it| it.1);
    for (number, (data, before, hash)) in lines.iter().enumerate() {
        let wanted: [u8; 32] = Sha256::new().chain_update(before).chain_update(data).finalize().into();
        if *before != last || *hash != wanted {
            let hash = ContentHash(*hash);
            wrong.push(format!("line {number} of the audit log is not chained: {hash}"));
        }
        last = *hash;
    }
    for view in views {
        let id = view.job.id.to_string();
        if !lines.iter().any(|(data, ..)| data.contains(&id)) {
            wrong.push(format!("job {id} has no line in the audit log"));
        }
    }
}

/// A job with where it stands on each minion.
pub fn view(lab: &Lab, job: JobId) -> Option<JobView> {
    let request = Request::Job { job: job.to_string() };
    // A master that is being started answers soon.
    let reply = wait::try_until(wait::seconds(10), || api::ask(&lab.socket(), &request).ok());
    match reply {
        Some(Reply::Job(view)) => Some(*view),
        _ => None,
    }
}

fn new_job() -> JobId {
    let mut random = [0; 10];
    getrandom::fill(&mut random).expect("the system has randomness");
    JobId::v7(Timestamp(now_ms()), random)
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
