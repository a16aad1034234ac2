//! What a rule remembers of one key: what it waits for, what it counted, and what maintenance keeps it from.

use crate::rules::Clauses;
use model::{Event, MinionId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// What a rule remembers of one key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Slot {
    /// When it was altered last.
    pub(crate) altered: Timestamp,
    /// `for`: the condition has been holding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) holding: Option<Holding>,
    /// `debounce`: it acts then if nothing more comes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) settling: Option<Waiting>,
    /// `absent`: it acts then if the event does not come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expecting: Option<Waiting>,
    /// `else_after`: it looks again then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) later: Option<Later>,
    /// `count`: when events came.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) came: Vec<Timestamp>,
    /// `throttle`: when it acted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) acted: Vec<Timestamp>,
    /// `all`: when an event of each filter came.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) seen: BTreeMap<usize, Timestamp>,
    /// Maintenance keeps what is due from being done.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) held: Vec<Held>,
    /// `once_per`: of which day, job or boot it was last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) done: Option<String>,
}

/// An event and what tells it apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) event: Event,
    pub(crate) identity: String,
}

impl Kept {
    pub(super) fn bytes(&self) -> usize {
        self.event.tag.len() + self.identity.len() + bytes_of(&self.event.data)
    }
}

/// About as much as a value takes; as deep as JSON that was read.
fn bytes_of(value: &Value) -> usize {
    let inside = match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(bytes_of).sum(),
        Value::Object(map) => map.iter().map(|(key, it)| key.len() + bytes_of(it)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    };
    size_of::<Value>() + inside
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Holding {
    pub(crate) since: Timestamp,
    /// When to look; nothing if it has been told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<Timestamp>,
    pub(crate) kept: Kept,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Waiting {
    pub(crate) at: Timestamp,
    /// `debounce`: when the first event came that it waits with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<Timestamp>,
    pub(crate) kept: Kept,
}

impl Waiting {
    pub(crate) fn new(at: Timestamp, kept: Kept) -> Self {
        Self { at, since: None, kept }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Later {
    pub(crate) since: Timestamp,
    /// When, and which list.
    pub(crate) due: Vec<(Timestamp, usize)>,
    pub(crate) kept: Kept,
}

/// What would have been done if a machine were not in maintenance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Held {
    pub(crate) what: What,
    /// Whose maintenance it is.
    pub(crate) minion: MinionId,
    /// When to look again unless the maintenance ends before; never if that has no end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<Timestamp>,
}

/// What a deadline is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum What {
    Hold,
    Settle,
    Expect,
    Later(usize),
}

impl Slot {
    pub(super) fn deadlines(&self) -> impl Iterator<Item = (Timestamp, What)> + '_ {
        let holding = self.holding.as_ref().and_then(|it| Some((it.at?, What::Hold)));
        let settling = self.settling.as_ref().map(|it| (it.at, What::Settle));
        let expecting = self.expecting.as_ref().map(|it| (it.at, What::Expect));
        let later = self.later.iter().flat_map(|it| it.due.iter().map(|due| (due.0, What::Later(due.1))));
        let own = holding.into_iter().chain(settling).chain(expecting).chain(later);
        let held = self.held.iter().filter_map(|it| Some((it.at?, it.what)));
        own.filter(|own| self.held.iter().all(|it| it.what != own.1)).chain(held)
    }
    /// Maintenance of a machine keeps it from being done.
    pub(crate) fn hold(&mut self, what: What, minion: &MinionId, at: Option<Timestamp>) {
        self.let_go(what);
        self.held.push(Held { what, minion: minion.clone(), at });
    }
    /// It is not held any more: it was done, or begins anew.
    pub(crate) fn let_go(&mut self, what: What) {
        self.held.retain(|it| it.what != what);
    }
    /// Nothing is held that is not there any more.
    pub(super) fn tidy(&mut self) {
        let Self { held, holding, settling, expecting, later, .. } = self;
        held.retain(|it| match it.what {
            What::Hold => holding.is_some(),
            What::Settle => settling.is_some(),
            What::Expect => expecting.is_some(),
            What::Later(place) => later.iter().flat_map(|it| &it.due).any(|it| it.1 == place),
        });
    }
    /// The maintenance of a machine is over: what that held is due now, and an event that was expected gets its time
    /// again.
    pub(super) fn release(&mut self, now: Timestamp, minion: &MinionId, expected_within_ms: u64) {
        for what in self.held.extract_if(.., |it| it.minion == *minion).map(|it| it.what) {
            match what {
                What::Hold => self.holding.iter_mut().for_each(|it| it.at = Some(now)),
                What::Settle => self.settling.iter_mut().for_each(|it| it.at = now),
                What::Expect => {
                    self.expecting.iter_mut().for_each(|it| it.at = now.plus_ms(expected_within_ms));
                }
                What::Later(place) => {
                    let due = self.later.iter_mut().flat_map(|it| &mut it.due);
                    due.filter(|it| it.1 == place).for_each(|it| it.0 = now);
                }
            }
        }
    }
    /// Of the events in it.
    pub(super) fn bytes(&self) -> usize {
        let kept = [
            self.holding.as_ref().map(|it| &it.kept),
            self.settling.as_ref().map(|it| &it.kept),
            self.expecting.as_ref().map(|it| &it.kept),
            self.later.as_ref().map(|it| &it.kept),
        ];
        kept.into_iter().flatten().map(Kept::bytes).sum()
    }
    /// Nothing in it counts any more.
    pub(super) fn has_run_out(&self, now: Timestamp, spans: Spans) -> bool {
        let old = |at: &Timestamp, span: u64| now.since_ms(*at) >= span;
        self.deadlines().next().is_none()
            && self.held.is_empty()
            && (&self.holding, &self.later, &self.done) == (&None, &None, &None)
            && self.acted.iter().all(|it| old(it, spans.acted))
            && self.came.iter().all(|it| old(it, spans.came))
            && self.seen.values().all(|it| old(it, spans.seen))
    }
    pub(super) fn is_empty(&self) -> bool {
        *self == Self { altered: self.altered, ..Self::default() }
    }
}

/// How long the stamps of a rule count, in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spans {
    acted: u64,
    came: u64,
    seen: u64,
}

impl Spans {
    pub(super) fn of(clauses: &Clauses) -> Self {
        Self {
            acted: clauses.throttle.map_or(0, |it| it.within_ms),
            came: clauses.count.map_or(0, |it| it.within_ms),
            seen: clauses.all_within_ms.unwrap_or(0),
        }
    }
}

impl Slot {
    /// After a time in which nobody listened: an event that was expected then may have come and not been heard.
    pub(super) fn wait_again(&mut self, now: Timestamp, clauses: &Clauses) {
        if let (Some(waiting), Some(absent)) = (&mut self.expecting, &clauses.absent)
            && waiting.at < now
        {
            waiting.at = now.plus_ms(absent.within_ms);
        }
    }
}
