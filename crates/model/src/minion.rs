//! What the master knows of a minion.

use crate::{ContentHash, Fingerprint, JobId, MinionId, Revision, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Facts about a minion, as it reported them. Keys are flat or nested objects; at most 64 KiB as JSON.
pub type Grains = serde_json::Map<String, serde_json::Value>;

/// `key=value` pairs that the master keeps about a minion: given by its token or by an operator.
pub type Labels = BTreeMap<String, String>;

/// Whether a minion can be reached: the gate's knowledge of sockets plus heartbeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// Connected and heard of within 45 s.
    Up,
    /// Nothing heard for 45 s, or the master has just started.
    Quiet,
    /// Socket closed without goodbye, or nothing heard for 90 s.
    Lost,
    /// Said goodbye.
    Down,
    /// A word of a newer release.
    #[serde(other)]
    Unknown,
}

/// An accepted minion as the master keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Minion {
    /// Its name.
    pub id: MinionId,
    /// Its key.
    pub fingerprint: Fingerprint,
    /// Master-side labels.
    pub labels: Labels,
    /// What it last said of itself.
    pub grains: Grains,
    /// Hash of those, so that they travel only when they changed.
    pub grains_hash: Option<ContentHash>,
    /// Its release.
    pub version: String,
    /// When its key was accepted.
    pub accepted_at: Timestamp,
    /// When it was last heard of; kept lazily.
    pub seen_at: Timestamp,
    /// Kernel's boot id that it last said hello with.
    pub boot: Option<String>,
    /// The boot for which a start rule has done its work, by rule name. A boot that is not here is due.
    pub configured_boots: BTreeMap<String, String>,
    /// Last full or partial apply that ended: job, word, time and revision.
    pub last_apply: Option<LastApply>,
    /// Address it last connected from, without port.
    pub address: Option<String>,
    /// Whether it said that it is a sandbox.
    pub sandbox: bool,
    /// It is forgotten when it stays away for longer than this, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retire_after_ms: Option<u64>,
}

/// A machine that is left alone for a while.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Maintenance {
    /// Since when.
    pub since: Timestamp,
    /// Until when, unless somebody ends it.
    #[serde(default)]
    pub until: Option<Timestamp>,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// Who said so.
    pub by: String,
}

/// What the last looks found that is not as it should be on a machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// When it was looked at last.
    pub at: Timestamp,
    /// By which job.
    pub job: JobId,
    /// Steps that would change; none if all is as it should be.
    pub items: Vec<DriftItem>,
    /// More than these, that were not kept.
    #[serde(default)]
    pub more: u32,
}

/// One step that would change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DriftItem {
    /// The block's name.
    pub id: String,
    /// State file, dotted.
    pub sls: String,
    /// `module.function`.
    pub kind: String,
    /// What it is about.
    pub name: String,
    /// When it was found first.
    pub since: Timestamp,
    /// What would change; secrets masked, long texts left out.
    pub changes: Vec<crate::Change>,
}

/// How the last apply on a minion ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LastApply {
    /// The job.
    pub job: JobId,
    /// Its terminal word for this minion.
    pub word: crate::Terminal,
    /// When the result was stored.
    pub at: Timestamp,
    /// What it was compiled from.
    pub revision: Option<Revision>,
}
