//! All of the master's memory and judgement: `step(now, input) -> effects`. Does no I/O, reads no clock, has no
//! randomness of its own.

mod effect;
mod entry;
mod input;

pub use effect::{Effect, Query, Ticket};
pub use entry::{Audit, Entry, SealedRef};
pub use input::{Input, TokenFault};

use model::{Fingerprint, Key, Minion, MinionId, Observer, Operator, Recipe, Timestamp, api};

/// What the core is told once.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Master's name, for topics.
    pub name: String,
    /// Release.
    pub version: String,
    /// Seconds between heartbeats of minions.
    pub heartbeat_s: u32,
    /// Seconds between telemetry samples.
    pub sample_s: u32,
    /// How long an offer stays good unless the request says otherwise, in milliseconds.
    pub offer_ms: u64,
    /// Age at which ended jobs, events and decisions are deleted, in milliseconds.
    pub keep_ms: u64,
    /// About this master.
    pub info: api::MasterInfo,
}

/// The master.
#[derive(Debug)]
pub struct Master {
    settings: Settings,
}

impl Master {
    /// Wakes up with what is on disk (in any order that has keys and minions before jobs).
    pub fn restore(settings: Settings, _now: Timestamp, _entries: impl IntoIterator<Item = Entry>) -> Self {
        Self { settings }
    }
    /// Takes in one thing that happened and says what to do about it.
    pub fn step(&mut self, _now: Timestamp, _input: Input) -> Vec<Effect> {
        let _ = &self.settings;
        todo!()
    }
    /// When the next [`Input::Tick`] is needed at the latest.
    pub fn next_wake(&self) -> Option<Timestamp> {
        todo!()
    }
    /// An accepted minion, for the gate's directory and the compiler.
    pub fn minion(&self, _id: &MinionId) -> Option<&Minion> {
        todo!()
    }
    /// A key by fingerprint.
    pub fn key(&self, _fingerprint: &Fingerprint) -> Option<&Key> {
        todo!()
    }
    /// Labels and grains of all, for compiles; and the observers, operators and tokens for the gate.
    pub fn observers(&self) -> impl Iterator<Item = &Observer> {
        std::iter::empty()
    }
    /// Operators.
    pub fn operators(&self) -> impl Iterator<Item = &Operator> {
        std::iter::empty()
    }
    /// Keys.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        std::iter::empty()
    }
    /// What a compile of a recipe for one minion gave, checked before it is sealed: size and step limits.
    pub fn recipe_limits(_recipe: &Recipe) -> Result<(), String> {
        Ok(())
    }
}
