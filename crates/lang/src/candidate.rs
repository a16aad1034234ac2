//! A machine as expressions see it.

use model::{Grains, Labels, MinionId, Presence};
use std::net::IpAddr;

/// What an expression can look at.
pub trait Candidate {
    /// Name.
    fn id(&self) -> &MinionId;
    /// Grains.
    fn grains(&self) -> &Grains;
    /// Labels.
    fn labels(&self) -> &Labels;
    /// Addresses.
    fn addresses(&self) -> Vec<IpAddr>;
    /// Reachable? `online` is `up` or `quiet`, `offline` the others.
    fn presence(&self) -> Presence;
    /// Whether the last apply failed.
    fn failed(&self) -> bool;
    /// Whether the last look found that it is not as it should be.
    fn drifted(&self) -> bool {
        false
    }
    /// Whether it is left alone for a while.
    fn in_maintenance(&self) -> bool {
        false
    }
    /// Pillar value at a path (`a:b`), for `pillar:`; none if absent.
    fn pillar(&self, path: &str) -> Option<serde_json::Value>;
    /// Assigned states, for `state:`.
    fn assigned(&self) -> Vec<String>;
}
