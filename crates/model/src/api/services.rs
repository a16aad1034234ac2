//! Other services that rules call, and the masters of a list, for people.

use crate::MinionId;
use serde::{Deserialize, Serialize};

/// Somebody to tell, a switch or an endpoint of `notify.yaml`, without secrets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NotifierView {
    /// Its name.
    pub name: String,
    /// `ntfy`, `webhook` and the like; `power` and `endpoint` of the others.
    pub kind: String,
    /// `notify.yaml:3`.
    pub place: String,
    /// When it is not told.
    pub quiet_hours: Option<String>,
    /// How often it is told at most.
    pub rate: Option<String>,
    /// Calls that have not gone through.
    pub waiting: u32,
    /// Since the start.
    pub sent: u64,
    /// Given up since the start.
    pub failed: u64,
}

/// The list of masters in use, for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MastersView {
    /// Grows with every edition.
    pub version: u64,
    /// Whom minions may trust.
    pub masters: Vec<ListedMaster>,
    /// Minions that said hello with this very list.
    pub known_by: u32,
    /// All others: they have another one, or were not heard of since the master started.
    pub behind: u32,
    /// Some of these, at most 100.
    pub behind_names: Vec<MinionId>,
    /// Those of them that have another list with this version or a later one: they take only a newer one still.
    #[serde(default)]
    pub other: u32,
    /// Some of these, at most 100.
    #[serde(default)]
    pub other_names: Vec<MinionId>,
    /// The highest version that any list is known to have: the next list needs a higher one.
    #[serde(default)]
    pub newest: u64,
}

/// One master of a list, for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListedMaster {
    /// Its name.
    pub name: String,
    /// Raw ed25519 key it signs with, unpadded base64url.
    pub sign: String,
    /// SHA-256 of its TLS key's SPKI, hexadecimal.
    pub tls: String,
    /// Where it listens for MQTT.
    pub mqtt: Vec<String>,
    /// Where it listens for HTTPS.
    pub https: Vec<String>,
    /// Whether it is the master that was asked, with the keys that it uses now.
    pub own: bool,
}
