//! Things that happened, and what the reactor decided about them.

use crate::{JobId, MinionId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Who an event is from. Set by the gate from the connection, never by the payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "name", try_from = "WrittenSource")]
pub enum Source {
    /// The master itself.
    Master,
    /// A minion.
    Minion(MinionId),
    /// An operator, by name.
    User(String),
    /// An integration that may write below `lab/in/`.
    Integration(String),
    /// A rule, by name.
    Rule(String),
    /// A word of a newer release.
    Unknown,
}

#[derive(Deserialize)]
struct WrittenSource {
    kind: String,
    #[serde(default)]
    name: Value,
}

impl TryFrom<WrittenSource> for Source {
    type Error = String;
    fn try_from(it: WrittenSource) -> Result<Self, String> {
        let name = || match it.name {
            Value::String(name) => Ok(name),
            _ => Err(format!("a source of kind `{}` has a name", it.kind)),
        };
        Ok(match it.kind.as_str() {
            "master" => Self::Master,
            "minion" => Self::Minion(name()?.parse().map_err(|error: crate::InvalidId| error.to_string())?),
            "user" => Self::User(name()?),
            "integration" => Self::Integration(name()?),
            "rule" => Self::Rule(name()?),
            _ => Self::Unknown,
        })
    }
}

/// Something worth reacting to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Grows by one an event on this master; the reactor's cursor.
    pub number: u64,
    /// Slash-separated, such as `minion/web1/start`: its topic below `lab/event/`.
    pub tag: String,
    /// Who saw it.
    pub source: Source,
    /// When the master took it in.
    pub at: Timestamp,
    /// Anything the rules may look at; an object, at most 16 KiB as JSON.
    pub data: Value,
    /// How many rule-made events led to this one.
    pub hops: u32,
    /// Numbers of the events that led to it, the first one first; as many as there may be hops.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cause: Vec<u64>,
}

/// What the reactor decided about one event that some rule's `on` let through.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The event's number.
    pub event: u64,
    /// Its tag.
    pub tag: String,
    /// When.
    pub at: Timestamp,
    /// One entry a rule whose `on` matched.
    pub verdicts: Vec<Verdict>,
}

/// What one rule made of an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The rule's name.
    pub rule: String,
    /// What told its events apart.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub key: String,
    /// Whether it acted.
    pub fired: bool,
    /// Which clause said no, with its values: `when: event.percent > 90: 80 > 90 is false`; or why it fired.
    pub reason: String,
    /// What was done.
    pub actions: Vec<DecisionAction>,
    /// Every clause of the rule, in the order in which they are asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clauses: Vec<Clause>,
}

/// A clause of a rule as it was judged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Clause {
    /// Its key in the rule: `on`, `when`, `for`; empty for a part of a condition.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// As it is written.
    pub text: String,
    /// Whether it let the event pass; none if an earlier one had decided already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<bool>,
    /// With which values.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub seen: String,
    /// The sides of `and`, `or` and `not`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Clause>,
}

/// One thing a rule did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DecisionAction {
    /// For people: `apply (top) on vm-1`.
    pub what: String,
    /// The job it became, if it did.
    pub job: Option<JobId>,
    /// What came of it at once: `accepted`, or why it was refused.
    pub result: String,
    /// What came of it in the end; none while it is under way, and where there is nothing to wait for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<ActionEnd>,
}

/// How something that a rule did has ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ActionEnd {
    /// Whether as it should.
    pub ok: bool,
    /// Of a job: on how many minions how.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub words: BTreeMap<String, u32>,
    /// Of a call and of a wait: what was answered, or why it was given up. Without secrets.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub answer: String,
    /// Of a call: how often it was tried.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempts: u32,
    /// From the decision on, in milliseconds.
    pub duration_ms: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl DecisionAction {
    /// What came of it at once.
    pub fn new(what: String, job: Option<JobId>, result: impl Into<String>) -> Self {
        Self { what, job, result: result.into(), end: None }
    }
}
