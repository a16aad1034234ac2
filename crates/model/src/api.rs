//! What the HTTP API shows. JSON as served and as `labctl -o json` prints it: `snake_case` keys, times in RFC 3339
//! are made by the programs that print; here they are [`Timestamp`]s.
//!
//! Streams (`application/jsonl`, one object a line): `POST /api/v1/probe` gives [`ProbeLine`]s,
//! `GET /api/v1/jobs/{id}/watch` gives [`JobLine`]s, `GET /api/v1/events/watch?tag=FILTER` gives [`Event`]s.

mod clock;

pub use clock::{DriftView, Pause, ScheduleView, SlotView};

mod hooks;

pub use hooks::{Delivered, HookSecret, HookTrial, HookView};

mod services;

pub use services::{ListedMaster, MastersView, NotifierView};

use crate::{
    Diagnostic, Event, Fingerprint, Grains, Job, JobId, JobTarget, Key, Labels, Maintenance, MinionId,
    ObserverRole, Presence, Revision, Roll, StepReport, Timestamp, minion::LastApply,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Why a request was refused. `code` decides the exit code of `labctl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorView {
    /// What kind of no.
    pub kind: ErrorKind,
    /// What happened, lower case.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
    /// Complaints with places, if it is about files or expressions.
    #[serde(default)]
    pub diagnostics: Vec<Diagnostic>,
}

/// Kinds of no; each has an exit code (`cli.md`) and an HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// Malformed: exit 2, HTTP 400.
    Usage,
    /// Does not compile for any target: exit 3, HTTP 422.
    Compile,
    /// The target matched no minion: exit 5, HTTP 404.
    NoMatch,
    /// Not allowed: exit 7, HTTP 403.
    Forbidden,
    /// Not found: exit 8, HTTP 404.
    NotFound,
    /// Cannot now (disk full, queue full): exit 1, HTTP 503.
    Unavailable,
    /// A word of a newer release.
    #[serde(other)]
    Unknown,
}

/// Fleet at a glance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MasterStatus {
    /// Master's name.
    pub name: String,
    /// Its release.
    pub version: String,
    /// When it started.
    pub started_at: Timestamp,
    /// Now, by its clock.
    pub now: Timestamp,
    /// Whether that clock is known to be set (later than the last stored time).
    pub clock_set: bool,
    /// Accepted minions by presence.
    pub up: u32,
    /// Not heard of lately.
    pub quiet: u32,
    /// Gone without a word.
    pub lost: u32,
    /// Said goodbye.
    pub down: u32,
    /// Some of those that are not up, at most 10.
    pub away: Vec<MinionId>,
    /// Keys waiting for a decision.
    pub pending_keys: u32,
    /// Members that are not served because two machines use their key, at most 10.
    #[serde(default)]
    pub suspended: Vec<MinionId>,
    /// The key of each of these.
    #[serde(default)]
    pub suspended_keys: std::collections::BTreeMap<MinionId, Fingerprint>,
    /// Jobs in the last 24 h.
    pub jobs_day: u32,
    /// Of these, with a failure.
    pub jobs_failed_day: u32,
    /// Jobs that have not ended.
    pub jobs_open: u32,
    /// The newest job.
    pub last_job: Option<JobView>,
    /// Minions that the last looks found not as they should be.
    #[serde(default)]
    pub drifted: u32,
    /// Some of these, at most 10.
    #[serde(default)]
    pub drifted_names: Vec<MinionId>,
    /// Minions that are left alone for a while.
    #[serde(default)]
    pub maintenance: u32,
    /// Rules in use.
    pub rules: u32,
    /// `reactors/` could not be read when the master started: no rule and no schedule acts until it can.
    #[serde(default)]
    pub rules_asleep: bool,
    /// Trees in use.
    pub revision: Option<Revision>,
    /// Complaints about the newest edit of the trees, if it is broken and an older one is in use.
    pub tree_errors: Vec<Diagnostic>,
    /// Messages refused since the start, by reason.
    pub refused: std::collections::BTreeMap<String, u64>,
    /// Messages in, since the start.
    pub messages_in: u64,
    /// Bytes of the store.
    pub store_bytes: u64,
    /// Why new jobs are refused, if they are.
    pub degraded: Option<String>,
    /// Whether the observers' fan-out runs.
    pub fanout: bool,
    /// What rules have before them.
    #[serde(default)]
    pub reactor: ReactorStatus,
}

/// What rules have before them, and what was too much.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReactorStatus {
    /// Events that wait for a reaction.
    pub waiting: u32,
    /// Events since the start that nothing reacted to, because too many waited.
    pub dropped: u64,
    /// Keys that rules remember something of.
    pub keys: u32,
    /// Keys since the start that gave way to newer ones.
    pub forgotten: u64,
}

/// Whom a target matches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetList {
    /// In order of id.
    pub minions: Vec<MinionView>,
    /// Of so many.
    pub of: u32,
}

/// A minion for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MinionView {
    /// Name.
    pub id: MinionId,
    /// Reachable?
    pub presence: Presence,
    /// When it was last heard of.
    pub seen_at: Timestamp,
    /// Labels.
    pub labels: Labels,
    /// Grains.
    pub grains: Grains,
    /// Release.
    pub version: String,
    /// Key.
    pub fingerprint: crate::Fingerprint,
    /// Address it came from.
    pub address: Option<String>,
    /// States that top.sls assigns; none if that does not compile.
    pub assigned: Option<Vec<String>>,
    /// Last apply.
    pub last_apply: Option<LastApply>,
    /// Job it is at, with step and steps.
    pub running: Option<(JobId, u32, u32)>,
    /// Sandbox?
    pub sandbox: bool,
    /// Newest telemetry sample: flat numbers.
    pub sample: Option<Value>,
    /// Which clause of the target matched, for `target list -v`.
    pub why: Option<String>,
    /// Steps that the last looks found not as they should be; none if nobody has looked.
    #[serde(default)]
    pub drift: Option<u32>,
    /// It is left alone for a while.
    #[serde(default)]
    pub maintenance: Option<Maintenance>,
}

/// A key for people.
pub type KeyView = Key;

/// Which jobs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobFilter {
    /// Only with a minion that this expression matches.
    pub target: Option<String>,
    /// Only with a failure.
    pub failed: bool,
    /// Only after.
    pub since: Option<Timestamp>,
    /// Only by this caller.
    pub caller: Option<String>,
    /// At most; 0 is 50.
    pub limit: u32,
}

/// A job for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobView {
    /// What was asked.
    pub job: Job,
    /// Where each minion stands; in lists, empty.
    pub targets: Vec<JobTarget>,
    /// How many minions stand where, by word (`ok`, `changed`, ..., `waiting` for its wave, `accepted`, `offered`,
    /// `received`, `running`, `lost contact`).
    pub words: std::collections::BTreeMap<String, u32>,
}

/// Which stored events.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventFilter {
    /// MQTT filter over tags.
    pub tag: Option<String>,
    /// Only after.
    pub since: Option<Timestamp>,
    /// At most; 0 is 100.
    pub limit: u32,
    /// Only the one of this number.
    pub number: Option<u64>,
}

/// Answers to a probe.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FoldedProbe {
    /// Who answered, in order of arrival.
    pub answers: Vec<ProbeAnswer>,
    /// Who is away, and was not asked.
    pub unreachable: Vec<MinionId>,
    /// Who was asked and did not answer in time.
    pub silent: Vec<MinionId>,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeAnswer {
    /// Who.
    pub minion: MinionId,
    /// From sending to receiving, in microseconds.
    pub round_trip_us: u64,
    /// What.
    pub answer: Value,
}

/// A line of the stream of `POST /api/v1/probe`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "line", content = "data")]
pub enum ProbeLine {
    /// Whom it came to; first.
    Targets {
        /// Asked.
        asked: Vec<MinionId>,
        /// Away: last seen.
        unreachable: Vec<(MinionId, Timestamp)>,
    },
    /// One answer.
    Answer(ProbeAnswer),
    /// Not in time; last.
    Silent(Vec<MinionId>),
}

/// A line of the stream of `GET /api/v1/jobs/{id}/watch`: first a snapshot, then what happens, until all have ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "line", content = "data")]
pub enum JobLine {
    /// How it stands; first.
    Snapshot(Box<JobView>),
    /// One minion moved on.
    Target(Box<JobTarget>),
    /// A step ended on a minion (may be lost; the report has them all).
    Step {
        /// Who.
        minion: MinionId,
        /// What.
        step: Box<StepReport>,
    },
    /// A step began on a minion (may be lost).
    Started {
        /// Who.
        minion: MinionId,
        /// Which, of how many.
        step: u32,
        /// How many.
        of: u32,
        /// Block's name and function, for people.
        what: String,
    },
    /// A command's output as it comes (may be lost; the report has it).
    Output {
        /// Who.
        minion: MinionId,
        /// Standard error rather than output.
        stderr: bool,
        /// Lossy UTF-8.
        text: String,
    },
    /// One minion's whole report, after it ended.
    Report {
        /// Who.
        minion: MinionId,
        /// What.
        report: Box<crate::RunReport>,
    },
    /// A run in waves has gone on.
    Rolling(Box<Roll>),
    /// All have ended; last.
    Ended(Box<JobView>),
    /// Lines were dropped because the reader was slow: ask for a snapshot.
    Gap(u64),
}

/// A compiled recipe for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CompiledView {
    /// For whom.
    pub minion: MinionId,
    /// Steps in run order in Salt's field names; none if there are errors.
    pub steps: Option<Vec<Value>>,
    /// Complaints.
    pub diagnostics: Vec<Diagnostic>,
}

/// A pillar for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PillarView {
    /// Whose.
    pub minion: MinionId,
    /// Secrets masked; none if there are errors.
    pub pillar: Option<Value>,
    /// Complaints.
    pub diagnostics: Vec<Diagnostic>,
}

/// A rule for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleView {
    /// Name.
    pub name: String,
    /// Where it is written, `reactors/x.yaml:3`.
    pub place: String,
    /// MQTT filter.
    pub on: String,
    /// Condition, as written.
    pub when: Option<String>,
    /// What it does, for people.
    pub does: Vec<String>,
    /// How often it fired since the start.
    pub fired: u64,
    /// How often it matched and did not.
    pub held: u64,
    /// How often an action was refused.
    pub refused: u64,
    /// How often a reaction or a call was left out because too many waited.
    #[serde(default)]
    pub dropped: u64,
    /// The filters of `on`, one by one.
    #[serde(default)]
    pub filters: Vec<String>,
    /// Its clauses as written, in the order in which they are asked: key and text.
    #[serde(default)]
    pub clauses: Vec<(String, String)>,
    /// What it does when that fails, for people.
    #[serde(default)]
    pub on_failure: Vec<String>,
    /// Whether it acts: its file says so, and nobody switched it off.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Who switched it off, if somebody did.
    #[serde(default)]
    pub off: Option<RuleOff>,
    /// So many keys it remembers something of.
    #[serde(default)]
    pub keys: u64,
    /// The role that it acts with.
    #[serde(default)]
    pub role: String,
    /// What its actions need and its role does not allow on any machine, one sentence each.
    #[serde(default)]
    pub lacks: Vec<String>,
}

fn yes() -> bool {
    true
}

/// A rule that an operator switched off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleOff {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Until when; none is until somebody switches it on.
    pub until: Option<Timestamp>,
}

/// What a rule would make of an event now. Nothing was done, and nothing is remembered of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explained {
    /// Where the rule is written, `reactors/x.yaml:3`.
    pub place: String,
    /// Whether its `on` lets the event through.
    pub heard: bool,
    /// What tells its events apart, of this one.
    pub key: String,
    /// Every clause; `fired` is whether it would act, `actions` what it would do.
    pub verdict: crate::Verdict,
}

/// An observer for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObserverView {
    /// User name.
    pub name: String,
    /// What it may do.
    pub role: ObserverRole,
    /// The secret; only in the answer that makes it.
    pub secret: Option<crate::Secret>,
    /// Not good after.
    pub expires: Option<Timestamp>,
    /// When it was made.
    pub at: Timestamp,
}

/// What a role says to something.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CanView {
    /// Who was asked about.
    pub who: String,
    /// The role that they have.
    pub role: String,
    /// Whether all of it may be done.
    pub allowed: bool,
    /// `allowed`, `denied`, `no line` or `no such role`, of what is about no single machine.
    pub verdict: String,
    /// The line that says so, `roles.yaml:12`; none if no line does.
    pub line: Option<String>,
    /// What is said of each machine of the target.
    pub minions: Vec<CanMinion>,
}

/// What a role says to something on one machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CanMinion {
    /// Which.
    pub minion: MinionId,
    /// `allowed`, `denied` or `no line`.
    pub verdict: String,
    /// The line that says so.
    pub line: Option<String>,
}

/// About the master, for people who connect to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MasterInfo {
    /// Name.
    pub name: String,
    /// Release.
    pub version: String,
    /// PEM of its TLS certificate.
    pub certificate: String,
    /// SHA-256 of the certificate's public key (SPKI), hexadecimal: what labctl pins.
    pub tls_pin: String,
    /// Host names and addresses it goes by.
    pub addresses: Vec<String>,
    /// Port of MQTT over TLS.
    pub mqtt_port: u16,
    /// Port of HTTPS.
    pub https_port: u16,
}

/// A stored event for people.
pub type EventView = Event;
