//! The master's store as tables: what a transaction alters, and what a restart reads.

use master::{
    core::{Entry, Part},
    store::AuditLine,
};
use model::{
    Decision, Event, Fingerprint, Job, JobId, JobTarget, Key, Minion, MinionId, TargetState, Timestamp, Token,
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What is on the master's disk.
#[derive(Clone, Default)]
pub(crate) struct Tables {
    pub(crate) keys: BTreeMap<Fingerprint, Key>,
    pub(crate) minions: BTreeMap<MinionId, Minion>,
    tokens: BTreeMap<String, Token>,
    pub(crate) jobs: BTreeMap<JobId, Job>,
    pub(crate) targets: BTreeMap<(JobId, MinionId), JobTarget>,
    recipes: BTreeMap<(JobId, MinionId), Entry>,
    taken: BTreeMap<MinionId, u64>,
    last_event: Option<Event>,
    decisions: BTreeMap<u64, Decision>,
    kept: BTreeMap<(Part, String), Value>,
    clock: Timestamp,
    chain: [u8; 32],
}

impl Tables {
    /// One row of a transaction; a line of the audit log if it became one.
    pub(crate) fn write(&mut self, entry: &Entry) -> Option<AuditLine> {
        match entry {
            Entry::Key(it) => drop(self.keys.insert(it.fingerprint.clone(), it.clone())),
            Entry::KeyGone(it) => drop(self.keys.remove(it)),
            Entry::Minion(it) => drop(self.minions.insert(it.id.clone(), it.clone())),
            Entry::MinionGone(it) => {
                self.taken.remove(it);
                self.minions.remove(it);
            }
            Entry::Token(it) => drop(self.tokens.insert(it.terms.name.clone(), it.clone())),
            Entry::Job(it) => drop(self.jobs.insert(it.id, it.clone())),
            Entry::Target(it) if self.jobs.contains_key(&it.job) => {
                let key = (it.job, it.minion.clone());
                if matches!(it.state, TargetState::Ended { .. }) {
                    self.recipes.remove(&key);
                }
                self.targets.insert(key, it.clone());
            }
            Entry::Recipe(job, minion, _) if self.jobs.contains_key(job) => {
                self.recipes.insert((*job, minion.clone()), entry.clone());
            }
            Entry::Event(it) => self.last_event = Some(it.clone()),
            Entry::EventsTaken(minion, upto) => drop(self.taken.insert(minion.clone(), *upto)),
            Entry::Decision(it) => drop(self.decisions.insert(it.event, it.clone())),
            Entry::Kept { part, key, data: Some(data) } => {
                self.kept.insert((*part, key.clone()), data.clone());
            }
            Entry::Kept { part, key, data: None } => drop(self.kept.remove(&(*part, key.clone()))),
            Entry::Clock(it) => self.clock = *it,
            Entry::Audit(it) => return Some(AuditLine::append(it, &mut self.chain)),
            _ => {}
        }
        None
    }

    /// What the core wakes up with.
    pub(crate) fn load(&self) -> Vec<Entry> {
        let mut all = vec![Entry::Clock(self.clock)];
        all.extend(self.keys.values().cloned().map(Entry::Key));
        all.extend(self.minions.values().cloned().map(Entry::Minion));
        all.extend(self.tokens.values().cloned().map(Entry::Token));
        all.extend(self.jobs.values().cloned().map(Entry::Job));
        all.extend(self.targets.values().cloned().map(Entry::Target));
        all.extend(self.recipes.values().cloned());
        all.extend(self.taken.iter().map(|(id, upto)| Entry::EventsTaken(id.clone(), *upto)));
        let reactions = self.kept.iter().filter(|it| it.0.0 == Part::Reaction);
        let wanted: BTreeSet<u64> = reactions.filter_map(|it| it.1["decision"].as_u64()).collect();
        all.extend(wanted.iter().filter_map(|it| self.decisions.get(it)).cloned().map(Entry::Decision));
        let kept = |((part, key), data): (&(Part, String), &Value)| Entry::Kept {
            part: *part,
            key: key.clone(),
            data: Some(data.clone()),
        };
        all.extend(self.kept.iter().map(kept));
        all.extend(self.last_event.iter().cloned().map(Entry::Event));
        all
    }
}

/// What a later row of the same key replaces while it waits.
pub(crate) fn lazy_key(entry: &Entry) -> String {
    match entry {
        Entry::Minion(it) => format!("minion {}", it.id),
        Entry::MinionGone(it) => format!("minion {it}"),
        Entry::Key(it) => format!("key {}", it.fingerprint),
        Entry::Target(it) => format!("target {} {}", it.job, it.minion),
        Entry::Clock(_) => "clock".to_owned(),
        Entry::EventsTaken(it, _) => format!("taken {it}"),
        Entry::Kept { part, key, .. } => format!("{part:?} {key}"),
        other => format!("{other:?}"),
    }
}
