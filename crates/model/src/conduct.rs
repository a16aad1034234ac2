//! What a minion does by itself, without being told each time: its beacons and its schedules, from its pillar.

use crate::{Masked, MinionSchedule, Mode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Largest conduct as JSON: sealed and in base64 it must fit into one message.
pub const CONDUCT_BYTES_MAX: usize = 120 << 10;
/// Beacons of one minion.
pub const BEACONS_MAX: usize = 64;

/// What a minion does by itself. It works while the master is away.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Conduct {
    /// What it watches.
    pub beacons: Vec<BeaconOrder>,
    /// What it does at its times.
    pub schedule: Vec<ScheduleOrder>,
}

impl Conduct {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.beacons.is_empty() && self.schedule.is_empty()
    }
}

/// States that a minion brings about at its times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScheduleOrder {
    /// When.
    pub schedule: MinionSchedule,
    /// Names of the states; empty is what top.sls assigns.
    #[serde(default)]
    pub states: Vec<String>,
    /// Look only, or change.
    pub mode: Mode,
    /// The recipe of these states, whole.
    #[serde(default)]
    pub recipe: Option<Masked<Value>>,
    /// Why there is none.
    #[serde(default)]
    pub why: String,
}

/// One beacon as it is wanted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BeaconOrder {
    /// Its name: its events are `beacon/<name>`. Several may have one name.
    pub name: String,
    /// Which kind, such as `disk`.
    pub kind: String,
    /// Its settings, checked against the kind's table. What pillar says may be secret.
    pub settings: Masked<Map<String, Value>>,
}
