//! What rules remember, by rule and key: bounded, with its deadlines in order, and with a list of what changed.

use crate::{
    duration,
    rules::{Clauses, Rules},
};
use model::{Event, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Keys that one rule remembers something of; the one that was altered longest ago gives way to a new one.
pub const KEYS_MAX: usize = 4_096;
/// Keys that all rules remember something of; beyond it, the rule that wants one more forgets its own oldest.
pub const KEYS_IN_ALL_MAX: usize = 50_000;

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
    pub(crate) kept: Kept,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Later {
    pub(crate) since: Timestamp,
    /// When, and which list.
    pub(crate) due: Vec<(Timestamp, usize)>,
    pub(crate) kept: Kept,
}

/// What a deadline is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    Hold,
    Settle,
    Expect,
    Later(usize),
}

impl Slot {
    fn deadlines(&self) -> impl Iterator<Item = (Timestamp, What)> + '_ {
        let holding = self.holding.as_ref().and_then(|it| Some((it.at?, What::Hold)));
        let settling = self.settling.as_ref().map(|it| (it.at, What::Settle));
        let expecting = self.expecting.as_ref().map(|it| (it.at, What::Expect));
        let later = self.later.iter().flat_map(|it| it.due.iter().map(|due| (due.0, What::Later(due.1))));
        holding.into_iter().chain(settling).chain(expecting).chain(later)
    }
    fn is_empty(&self) -> bool {
        *self == Self { altered: self.altered, ..Self::default() }
    }
}

#[derive(Clone, Debug, Default)]
struct Slots {
    by_key: BTreeMap<String, Slot>,
    oldest: BTreeSet<(Timestamp, String)>,
}

type Deadline = (Timestamp, usize, String, What);

#[derive(Debug, Default)]
pub(crate) struct Memory {
    rules: Vec<Slots>,
    deadlines: BTreeSet<Deadline>,
    /// Rule and key.
    changed: BTreeSet<(usize, String)>,
    /// Changes from before the rules were replaced, and rows of rules that are gone.
    before: Vec<(String, Option<Value>)>,
    /// What was restored and has no rules yet.
    asleep: Vec<(String, Value)>,
    keys: usize,
    forgotten: u64,
}

/// The key of a row: a rule's name has no `/`.
fn row(rule: &str, key: &str) -> String {
    format!("{rule}/{key}")
}

impl Memory {
    pub(crate) fn get(&self, rule: usize, key: &str) -> Option<&Slot> {
        self.rules.get(rule)?.by_key.get(key)
    }

    /// Alters what is remembered of a key; the closure says whether it did, and if not, has altered nothing.
    pub(crate) fn alter(
        &mut self,
        now: Timestamp,
        rule: usize,
        key: &str,
        alter: impl FnOnce(&mut Slot) -> bool,
    ) {
        let Some(slots) = self.rules.get_mut(rule) else { return };
        let old = slots.by_key.remove(key);
        let was_there = old.is_some();
        let mut new = old.unwrap_or_default();
        let (altered, deadlines) = (new.altered, new.deadlines().collect::<Vec<_>>());
        if !alter(&mut new) {
            if was_there {
                slots.by_key.insert(key.to_owned(), new);
            }
            return;
        }
        if was_there {
            slots.oldest.remove(&(altered, key.to_owned()));
            for (at, what) in deadlines {
                self.deadlines.remove(&(at, rule, key.to_owned(), what));
            }
        }
        self.keys -= usize::from(was_there);
        self.changed.insert((rule, key.to_owned()));
        if !new.is_empty() {
            new.altered = now;
            self.insert(rule, key, new);
            self.make_room(rule, key);
        }
    }

    fn insert(&mut self, rule: usize, key: &str, slot: Slot) {
        let Some(slots) = self.rules.get_mut(rule) else { return };
        self.deadlines.extend(slot.deadlines().map(|(at, what)| (at, rule, key.to_owned(), what)));
        slots.oldest.insert((slot.altered, key.to_owned()));
        slots.by_key.insert(key.to_owned(), slot);
        self.keys += 1;
    }

    /// The oldest give way, but never the one that was just altered.
    fn make_room(&mut self, rule: usize, altered: &str) {
        while self.rules[rule].by_key.len() > KEYS_MAX || self.keys > KEYS_IN_ALL_MAX {
            let oldest = self.rules[rule].oldest.iter().find(|it| it.1 != altered).map(|it| it.1.clone());
            let Some(key) = oldest else { return };
            self.forgotten += 1;
            self.remove(rule, &key);
        }
    }

    fn remove(&mut self, rule: usize, key: &str) {
        let Some(slots) = self.rules.get_mut(rule) else { return };
        let Some(slot) = slots.by_key.remove(key) else { return };
        slots.oldest.remove(&(slot.altered, key.to_owned()));
        for (at, what) in slot.deadlines() {
            self.deadlines.remove(&(at, rule, key.to_owned(), what));
        }
        self.changed.insert((rule, key.to_owned()));
        self.keys -= 1;
    }

    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|it| it.0)
    }

    /// Takes the first deadline that has passed. Its owner moves it on.
    pub(crate) fn pop(&mut self, now: Timestamp) -> Option<(usize, String, What)> {
        if self.deadlines.first()?.0 > now {
            return None;
        }
        self.deadlines.pop_first().map(|(_, rule, key, what)| (rule, key, what))
    }

    pub(crate) fn keys(&self) -> usize {
        self.keys
    }
    pub(crate) fn keys_of(&self, rule: usize) -> usize {
        self.rules.get(rule).map_or(0, |it| it.by_key.len())
    }
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// A copy of what one rule remembers, as that of the only rule there is.
    pub(crate) fn of_one(&self, rule: usize) -> Self {
        let mut memory = Self { rules: vec![Slots::default()], ..Self::default() };
        if let Some(slots) = self.rules.get(rule) {
            for (key, slot) in &slots.by_key {
                memory.insert(0, key, slot.clone());
            }
        }
        memory
    }

    pub(crate) fn restore(&mut self, rows: impl IntoIterator<Item = (String, Value)>) {
        self.asleep.extend(rows);
    }

    /// Gives what is remembered to other rules: to those whose text is the same. Names of those that lost something.
    pub(crate) fn adopt(&mut self, now: Timestamp, old: &Rules, rules: &Rules) -> Vec<String> {
        let rows = self.rows(old);
        self.asleep.extend(rows);
        let places: BTreeMap<&str, usize> =
            rules.rules.iter().enumerate().map(|(place, rule)| (rule.name.as_str(), place)).collect();
        let mut lost = BTreeSet::new();
        let before = self.take_changes(old);
        let mut memory = Self { forgotten: self.forgotten, before, ..Self::default() };
        memory.rules.resize_with(rules.rules.len(), Slots::default);
        for (row, data) in std::mem::take(&mut self.asleep) {
            let Some((name, key)) = row.split_once('/') else { continue };
            let same = |it: &&usize| data["rule"] == rules.rules[**it].fingerprint.as_str();
            let known = places.get(name).filter(same);
            let slot = known.and_then(|_| serde_json::from_value::<Slot>(data["slot"].clone()).ok());
            if let (Some(&rule), Some(mut slot)) = (known, slot) {
                slot.wait_again(now, &rules.rules[rule].clauses);
                memory.insert(rule, key, slot);
                memory.make_room(rule, key);
            } else {
                lost.insert(name.to_owned());
                memory.before.push((row, None));
            }
        }
        *self = memory;
        lost.into_iter().collect()
    }

    /// Everything, as it would be restored.
    fn rows(&self, rules: &Rules) -> Vec<(String, Value)> {
        let mut rows = Vec::new();
        for (rule, slots) in rules.rules.iter().zip(&self.rules) {
            rows.extend(
                slots.by_key.iter().map(|(key, slot)| (row(&rule.name, key), data(&rule.fingerprint, slot))),
            );
        }
        rows
    }

    pub(crate) fn take_changes(&mut self, rules: &Rules) -> Vec<(String, Option<Value>)> {
        let mut changes = std::mem::take(&mut self.before);
        for (rule, key) in std::mem::take(&mut self.changed) {
            let Some(of) = rules.rules.get(rule) else { continue };
            let slot = self.get(rule, &key).map(|slot| data(&of.fingerprint, slot));
            changes.push((row(&of.name, &key), slot));
        }
        changes
    }
}

fn data(fingerprint: &str, slot: &Slot) -> Value {
    serde_json::json!({ "rule": fingerprint, "slot": slot })
}

impl Slot {
    /// After a time in which nobody listened: an event that was expected then may have come and not been heard.
    fn wait_again(&mut self, now: Timestamp, clauses: &Clauses) {
        if let (Some(waiting), Some(absent)) = (&mut self.expecting, &clauses.absent)
            && waiting.at < now
        {
            waiting.at = now.plus_ms(absent.within_ms);
        }
    }
}

/// `3m of 5m`.
pub(crate) fn of(part: u64, whole: u64) -> String {
    format!("{} of {}", duration::roughly(part), duration::show(whole))
}
