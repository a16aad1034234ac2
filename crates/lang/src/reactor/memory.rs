//! What rules remember, by rule and key: bounded, with its deadlines in order, and with a list of what changed.

use super::slot::{Slot, Spans, What};
use crate::{
    duration,
    rules::{Rule, Rules},
};
use model::{MinionId, Timestamp};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Keys that one rule remembers something of; the one that was altered longest ago gives way to a new one.
pub const KEYS_MAX: usize = 4_096;
/// Keys that all rules remember something of; beyond it, the rule that wants one more forgets its own oldest.
pub const KEYS_IN_ALL_MAX: usize = 50_000;
/// Bytes of events that all rules remember; beyond it, the rule with the most of them forgets its oldest.
pub const KEPT_BYTES_MAX: usize = 64 << 20;
/// How often slots are looked through for those in which nothing counts any more, at most.
const SWEEP_MS: u64 = 60_000;

#[derive(Clone, Debug, Default)]
struct Slots {
    by_key: BTreeMap<String, Slot>,
    /// In the order in which they give way: what is shared by keys, when it was altered, key.
    oldest: BTreeSet<(bool, Timestamp, String)>,
    /// Of the events in them.
    bytes: usize,
    spans: Spans,
}

impl Slots {
    /// The one that gives way first, but never the one that was just altered.
    fn first(&self, altered: &str, gives: impl Fn(&Slot) -> bool) -> Option<String> {
        let mut keys = self.oldest.iter().map(|it| &it.2).filter(|it| *it != altered);
        keys.find(|it| self.by_key.get(*it).is_some_and(&gives)).cloned()
    }
}

/// Whether what is remembered there is of all keys of a rule, or of all of a machine: a flood of keys must not push out
/// what bounds it.
fn is_shared(key: &str) -> bool {
    !key.starts_with('=')
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
    /// Of the events in all slots.
    bytes: usize,
    forgotten: u64,
    swept: Option<Timestamp>,
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
        let (before, bytes) = (new.altered, new.bytes());
        let deadlines = new.deadlines().collect::<Vec<_>>();
        if !alter(&mut new) {
            if was_there {
                slots.by_key.insert(key.to_owned(), new);
            }
            return;
        }
        new.tidy();
        if was_there {
            self.taken(rule, key, (before, bytes), deadlines);
        }
        self.changed.insert((rule, key.to_owned()));
        if !new.is_empty() {
            new.altered = now;
            self.insert(rule, key, new);
            self.make_room(now, rule, key);
        }
    }

    fn insert(&mut self, rule: usize, key: &str, slot: Slot) {
        let Some(slots) = self.rules.get_mut(rule) else { return };
        self.deadlines.extend(slot.deadlines().map(|(at, what)| (at, rule, key.to_owned(), what)));
        slots.oldest.insert((is_shared(key), slot.altered, key.to_owned()));
        let bytes = slot.bytes();
        slots.bytes += bytes;
        self.bytes += bytes;
        slots.by_key.insert(key.to_owned(), slot);
        self.keys += 1;
    }

    /// A slot that was altered last then and had so many bytes of events was taken out.
    fn taken(
        &mut self,
        rule: usize,
        key: &str,
        (altered, bytes): (Timestamp, usize),
        deadlines: impl IntoIterator<Item = (Timestamp, What)>,
    ) {
        for (at, what) in deadlines {
            self.deadlines.remove(&(at, rule, key.to_owned(), what));
        }
        if let Some(slots) = self.rules.get_mut(rule) {
            slots.oldest.remove(&(is_shared(key), altered, key.to_owned()));
            slots.bytes -= bytes;
        }
        self.bytes -= bytes;
        self.keys -= 1;
    }

    /// What gives way to a slot that was just altered: those in which nothing counts any more, else the oldest.
    fn make_room(&mut self, now: Timestamp, rule: usize, altered: &str) {
        let many = |it: &Self| it.rules[rule].by_key.len() > KEYS_MAX || it.keys > KEYS_IN_ALL_MAX;
        if many(self) && self.swept.is_none_or(|it| now.since_ms(it) >= SWEEP_MS) {
            self.swept = Some(now);
            self.sweep(now, altered);
        }
        while many(self) {
            let Some(key) = self.rules[rule].first(altered, |_| true) else { break };
            self.forgotten += 1;
            self.remove(rule, &key);
        }
        while self.bytes > KEPT_BYTES_MAX {
            let most = (0..self.rules.len()).max_by_key(|it| self.rules[*it].bytes).unwrap_or(rule);
            let spared = if most == rule { altered } else { "" };
            let Some(key) = self.rules[most].first(spared, |it| it.bytes() > 0) else { break };
            self.forgotten += 1;
            self.remove(most, &key);
        }
    }

    fn sweep(&mut self, now: Timestamp, altered: &str) {
        let mut gone = Vec::new();
        for (rule, slots) in self.rules.iter().enumerate() {
            let out = slots.by_key.iter().filter(|it| it.0 != altered && it.1.has_run_out(now, slots.spans));
            gone.extend(out.map(|it| (rule, it.0.clone())));
        }
        for (rule, key) in gone {
            self.remove(rule, &key);
        }
    }

    fn remove(&mut self, rule: usize, key: &str) {
        let Some(slot) = self.rules.get_mut(rule).and_then(|it| it.by_key.remove(key)) else { return };
        self.taken(rule, key, (slot.altered, slot.bytes()), slot.deadlines());
        self.changed.insert((rule, key.to_owned()));
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

    /// The maintenance of a machine is over.
    pub(crate) fn release(&mut self, now: Timestamp, minion: &MinionId, rules: &Rules) {
        for (row, data) in self.asleep.iter_mut().filter(|it| it.1["slot"]["held"].is_array()) {
            let Ok(mut slot) = serde_json::from_value::<Slot>(data["slot"].clone()) else { continue };
            if slot.held.iter().any(|it| it.minion == *minion) {
                // What was expected gets its time when there are rules.
                slot.release(now, minion, 0);
                data["slot"] = serde_json::json!(slot);
                self.before.push((row.clone(), Some(data.clone())));
            }
        }
        for (rule, of) in rules.rules.iter().enumerate() {
            let held = |it: &(&String, &Slot)| it.1.held.iter().any(|it| it.minion == *minion);
            let slots = self.rules.get(rule).map(|it| it.by_key.iter().filter(held));
            let keys: Vec<String> = slots.into_iter().flatten().map(|it| it.0.clone()).collect();
            let within_ms = of.clauses.absent.as_ref().map_or(0, |it| it.within_ms);
            for key in keys {
                self.alter(now, rule, &key, |slot| {
                    slot.release(now, minion, within_ms);
                    true
                });
            }
        }
    }

    pub(crate) fn keys(&self) -> usize {
        self.keys
    }
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
    pub(crate) fn keys_of(&self, rule: usize) -> usize {
        self.rules.get(rule).map_or(0, |it| it.by_key.len())
    }
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// A copy of what one rule remembers of some keys, as that of the only rule there is.
    pub(crate) fn of_one(&self, rule: usize, keys: &BTreeSet<String>) -> Self {
        let mut memory = Self { rules: vec![Slots::default()], ..Self::default() };
        if let Some(slots) = self.rules.get(rule) {
            memory.rules[0].spans = slots.spans;
            for (key, slot) in keys.iter().filter_map(|it| slots.by_key.get_key_value(it)) {
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
        let empty = |it: &Rule| Slots { spans: Spans::of(&it.clauses), ..Slots::default() };
        memory.rules.extend(rules.rules.iter().map(empty));
        for (row, data) in std::mem::take(&mut self.asleep) {
            let Some((name, key)) = row.split_once('/') else { continue };
            let same = |it: &&usize| data["rule"] == rules.rules[**it].fingerprint.as_str();
            let known = places.get(name).filter(same);
            let slot = known.and_then(|_| serde_json::from_value::<Slot>(data["slot"].clone()).ok());
            if let (Some(&rule), Some(mut slot)) = (known, slot) {
                slot.wait_again(now, &rules.rules[rule].clauses);
                memory.insert(rule, key, slot);
                memory.make_room(now, rule, key);
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

/// `3m of 5m`.
pub(crate) fn of(part: u64, whole: u64) -> String {
    format!("{} of {}", duration::roughly(part), duration::show(whole))
}
