//! Target expressions: whom a command, a rule or a top file means. The grammar is in `docs/reference/targeting.md`.

use model::{Diagnostic, Grains, Labels, MinionId, Presence};
use std::net::IpAddr;

/// A parsed expression.
#[derive(Clone, Debug)]
pub struct Target {
    _private: (),
}

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
    /// Pillar value at a path (`a:b`), for `pillar:`; none if absent.
    fn pillar(&self, path: &str) -> Option<serde_json::Value>;
    /// Assigned states, for `state:`.
    fn assigned(&self) -> Vec<String>;
}

impl Target {
    /// Parses; the diagnostic's span points into the expression (its file is `target`).
    pub fn parse(_text: &str) -> Result<Self, Diagnostic> {
        todo!()
    }
    /// Whether it matches.
    pub fn matches(&self, _candidate: &dyn Candidate) -> bool {
        todo!()
    }
    /// The clause that matched, for people (`vm-*`, `label:role=web`); `None` if it does not match.
    pub fn explain(&self, _candidate: &dyn Candidate) -> Option<String> {
        todo!()
    }
    /// Names of grains and labels that no candidate has: a typing error rather than an empty match.
    /// Diagnostics come with "did you mean".
    pub fn unknown_names(&self, _candidates: &[&dyn Candidate]) -> Vec<Diagnostic> {
        todo!()
    }
    /// Whether it needs pillar or assigned states, which are expensive.
    pub fn needs_compiler(&self) -> bool {
        todo!()
    }
}

/// Ids that a templated `target:` of a rule gives: one id, or several separated by commas or white space. Never parsed
/// as an expression, so that event data cannot widen it.
pub fn literal_ids(_text: &str) -> Result<Vec<MinionId>, String> {
    todo!()
}
