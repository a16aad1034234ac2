//! Calls to other services: on disk before they go out, made at least once, and not again once their answer is on disk.

use model::Decision;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Calls to one service at once.
const AT_ONCE_MAX: usize = 2;

/// Calls as they are on the master's disk.
#[derive(Clone, Default)]
pub(crate) struct Calls {
    waiting: BTreeSet<String>,
    delivered: BTreeSet<String>,
    /// Events that somebody is to be told of.
    wanted: BTreeSet<u64>,
}

/// Calls as services saw them.
#[derive(Default)]
pub(crate) struct Services {
    /// Events that somebody was told of, and how often.
    told: BTreeMap<u64, u64>,
    /// Under way in this process of the master.
    flying: BTreeSet<String>,
    /// Answered, and in which transaction that was.
    answered: BTreeMap<String, u64>,
    pub(crate) made: u64,
    pub(crate) again: u64,
}

impl Calls {
    pub(crate) fn kept(&mut self, id: &str, data: Option<&Value>) {
        let over = data.is_some_and(|it| it.get("delivered").is_some());
        self.waiting.remove(id);
        self.delivered.remove(id);
        if let Some(set) = data.map(|_| if over { &mut self.delivered } else { &mut self.waiting }) {
            set.insert(id.to_owned());
        }
    }

    pub(crate) fn decided(&mut self, decision: &Decision) {
        if decision.verdicts.iter().any(|it| it.rule == "tell" && it.fired) {
            self.wanted.insert(decision.event);
        }
    }

    /// Whether some still wait.
    pub(crate) fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }
}

impl Services {
    /// A call goes out.
    pub(crate) fn called(&mut self, calls: &Calls, id: &str, committed: u64) -> Result<(), String> {
        if self.answered.get(id).is_some_and(|it| *it <= committed) || calls.delivered.contains(id) {
            return Err(format!("call {id} is made again, and its answer is on disk"));
        }
        if !calls.waiting.contains(id) {
            return Err(format!("call {id} goes out and is not on disk"));
        }
        if !self.flying.insert(id.to_owned()) || self.flying.len() > AT_ONCE_MAX {
            return Err(format!("call {id} goes out while these do: {:?}", self.flying));
        }
        self.made += 1;
        Ok(())
    }

    /// A service heard of an event.
    pub(crate) fn told(&mut self, event: u64) {
        let times = self.told.entry(event).or_default();
        self.again += u64::from(*times > 0);
        *times += 1;
    }

    /// The master heard the answer, in this transaction.
    pub(crate) fn answered(&mut self, id: &str, good: bool, transaction: u64) {
        self.flying.remove(id);
        if good {
            self.answered.insert(id.to_owned(), transaction);
        }
    }

    /// The master's process is gone, and its numbers with it: what was answered and is on disk stays answered.
    pub(crate) fn master_died(&mut self, committed: u64) {
        self.flying.clear();
        self.answered.retain(|_, it| *it <= committed);
        self.answered.values_mut().for_each(|it| *it = 0);
    }

    /// A backup is in the place of the store.
    pub(crate) fn go_back(&mut self) {
        self.answered.clear();
    }

    pub(crate) fn finish(&self, calls: &Calls) -> Result<(), String> {
        if let Some(id) = calls.waiting.first() {
            return Err(format!("call {id} waits for ever"));
        }
        match calls.wanted.iter().find(|it| !self.told.contains_key(it)) {
            Some(event) => Err(format!("nobody was told of event {event}")),
            None => Ok(()),
        }
    }
}
