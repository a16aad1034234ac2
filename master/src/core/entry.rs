//! What a master keeps on disk.

use model::{
    Audit, ContentHash, Decision, Event, Fingerprint, Job, JobId, JobTarget, Key, Minion, MinionId, Observer,
    Operator, RunReport, Timestamp, Token,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What is kept on disk. Every entry replaces the one of the same key; [`Master::remember`] is the one place that
/// alters memory, for a live step and for a restart alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "entry", content = "data")]
pub enum Entry {
    /// Key: fingerprint.
    Key(Key),
    /// That key is forgotten.
    KeyGone(Fingerprint),
    /// Key: id.
    Minion(Minion),
    /// That minion is forgotten.
    MinionGone(MinionId),
    /// Key: name.
    Token(Token),
    /// Key: name.
    Observer(Observer),
    /// That observer is forgotten.
    ObserverGone(String),
    /// Key: name.
    Operator(Operator),
    /// That operator's key is forgotten.
    OperatorGone(String),
    /// Key: id.
    Job(Job),
    /// Key: job and minion.
    Target(JobTarget),
    /// Key: job and minion. Reports of runs that changed nothing are kept as their tally only.
    Report(JobId, MinionId, Box<RunReport>),
    /// Key: job and minion: where the sealed recipe lies; gone with the target's end.
    Recipe(JobId, MinionId, SealedRef),
    /// Key: number. The reactor's cursor is the highest.
    Event(Event),
    /// Key: event number.
    Decision(Decision),
    /// Key: minion. Number up to which its events were taken.
    EventsTaken(MinionId, u64),
    /// Appended, hash-chained by the store.
    Audit(Audit),
    /// Latest time seen, so that the clock never goes back over a restart.
    Clock(Timestamp),
    /// Key: part and key. What a part of the core is at; its owner bounds how many there are.
    Kept {
        /// Whose.
        part: Part,
        /// Which one of that part.
        key: String,
        /// As its owner has it; `None` forgets it.
        data: Option<Value>,
    },
}

/// Who keeps something as [`Entry::Kept`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// What rules remember of events.
    RuleMemory,
    /// Firings of rules that are not done.
    Reaction,
    /// Calls to other services that have not gone through.
    Outgoing,
    /// Which slots of schedules were run.
    Schedule,
    /// Machines and rules that are left alone for a while.
    Maintenance,
    /// Runs that go from machine to machine.
    Rolling,
    /// Where events come from.
    Source,
    /// What is not as it should be on minions.
    Drift,
}

impl Entry {
    /// A time that has been, as far as this entry tells: after a restart it is at least so late.
    pub fn time(&self) -> Option<Timestamp> {
        match self {
            Self::Clock(at) => Some(*at),
            Self::Job(it) => Some(it.ended.unwrap_or(it.at)),
            Self::Event(it) => Some(it.at),
            _ => None,
        }
    }
}

/// Where a sealed recipe lies in the store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SealedRef {
    /// SHA-256 of the ciphertext.
    pub hash: ContentHash,
    /// Bytes of ciphertext.
    pub size: u64,
    /// Steps in the recipe.
    pub steps: u32,
    /// Content hashes that the minion may fetch for it.
    pub grants: Vec<ContentHash>,
}
