//! What is done by the clock, and what looks found, for people.

use crate::{Drift, MinionId, Timestamp};
use serde::{Deserialize, Serialize};

/// A schedule for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScheduleView {
    /// Name, that of its rule.
    pub name: String,
    /// Where it is written, `reactors/x.yaml:3`.
    pub place: String,
    /// All that it says of times, for people.
    pub when: String,
    /// Time zone.
    pub zone: String,
    /// When its work begins next; none if it is paused for good, waits, or has no more slots.
    pub next: Option<Timestamp>,
    /// The same by the clock of its zone.
    pub next_local: Option<String>,
    /// The newest slot that has passed since it is known.
    pub last_slot: Option<Timestamp>,
    /// When it was run last.
    pub last_run: Option<Timestamp>,
    /// Its slots pass without it.
    pub paused: Option<Pause>,
    /// Why it waits although it is not paused.
    pub waits: Option<String>,
    /// What its rule does, for people.
    pub does: Vec<String>,
}

/// Who paused something, and until when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pause {
    /// Since when.
    pub since: Timestamp,
    /// Until when, unless somebody resumes it.
    #[serde(default)]
    pub until: Option<Timestamp>,
    /// Who.
    pub by: String,
}

/// A slot that comes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlotView {
    /// Which schedule's.
    pub schedule: String,
    /// The moment it is for.
    pub slot: Timestamp,
    /// When its work begins.
    pub at: Timestamp,
    /// The same by the clock of its zone.
    pub local: String,
}

/// What is not as it should be on a machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DriftView {
    /// Which.
    pub minion: MinionId,
    /// What the last looks found; none if nobody has looked.
    pub drift: Option<Drift>,
}
