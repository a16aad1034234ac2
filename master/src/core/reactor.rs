//! Events and what rules make of them. A boot that a rule has not configured yet stays due until it has.

use super::{Effect, Entry, Master, due::Due, reactions::ACCEPTED, roster::cut};
use lang::rules::{Context, Rule, Rules};
use model::{
    Decision, DecisionAction, Diagnostic, Event, JobId, MinionId, Revision, Source, Verdict, broken,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// Rule-made events that may lead to each other.
pub(crate) const HOPS_MAX: u32 = 8;
/// Events that are reacted to in one step; more are kept on record only.
const REACTIONS_PER_STEP_MAX: usize = 1_000;

/// How often a rule did what since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) fired: u64,
    pub(crate) held: u64,
    pub(crate) refused: u64,
}

/// Rules in use and what they are at.
#[derive(Debug, Default)]
pub(crate) struct Reactor {
    pub(crate) rules: Arc<Rules>,
    pub(crate) counts: BTreeMap<String, Counts>,
    pub(crate) queue: VecDeque<Queued>,
    pub(crate) dues: BTreeMap<(MinionId, String), Due>,
    pub(crate) due_jobs: BTreeMap<JobId, (MinionId, String)>,
}

/// An event to react to.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) event: Event,
    pub(crate) identity: String,
    /// It only says that this boot is due again for this rule.
    pub(crate) due: Option<(MinionId, String)>,
}

impl Reactor {
    /// A minion is no member any more.
    pub(crate) fn forget(&mut self, id: &MinionId) {
        self.dues.retain(|key, _| key.0 != *id);
        self.due_jobs.retain(|_, key| key.0 != *id);
    }
}

/// Whether a text can be an event's tag.
pub(crate) fn is_tag(tag: &str) -> bool {
    let level = |it: &str| {
        !it.is_empty() && it.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_.:@".contains(&it))
    };
    if broken::leaves_out("event-tags") {
        return true;
    }
    tag.len() <= 256 && tag.split('/').count() <= 16 && tag.split('/').all(level)
}

/// Id of a reaction's job: the same rule, event and action are the same job.
pub(crate) fn reaction_id(rule: &str, identity: &str, action: usize) -> JobId {
    let hash = Sha256::digest(format!("lab1-rule\0{rule}\0{identity}\0{action}").as_bytes());
    let mut first = [0; 16];
    first.copy_from_slice(&hash[..16]);
    JobId(u128::from_be_bytes(first))
}

pub(crate) fn boot_identity(minion: &MinionId, boot: &str, attempt: u32) -> String {
    format!("boot:{minion}:{boot}:{attempt}")
}

pub(crate) fn level(name: &str) -> String {
    let plain = |it: char| if it.is_ascii_alphanumeric() || "-_.".contains(it) { it } else { '-' };
    cut(&name.chars().map(plain).collect::<String>(), 64)
}

impl Master {
    pub(crate) fn emit_master(&mut self, tag: String, data: Value) {
        self.emit_as(tag, Source::Master, data, 0, None);
    }

    /// Puts an event on record and lets the rules see it. `identity` tells it apart from all others, also when it comes
    /// again after a crash; by default its number.
    pub(crate) fn emit_as(
        &mut self,
        tag: String,
        source: Source,
        data: Value,
        hops: u32,
        identity: Option<String>,
    ) -> Event {
        let number = self.book.last_event + 1;
        let event = Event { number, tag, source, at: self.now, data, hops };
        self.book.last_event = number;
        self.rolls.hear(&event.tag);
        self.out.push(Effect::Event(Box::new(event.clone())));
        if self.degraded.is_none() {
            self.record(Entry::Event(event.clone()));
            let identity = identity.unwrap_or_else(|| format!("event:{number}"));
            self.reactor.queue.push_back(Queued { event: event.clone(), identity, due: None });
        }
        event
    }

    /// Lets the rules see everything that happened in this step.
    pub(crate) fn react_to_all(&mut self) {
        for _ in 0..REACTIONS_PER_STEP_MAX {
            let Some(queued) = self.reactor.queue.pop_front() else { return };
            self.react(&queued);
        }
        let dropped = self.reactor.queue.len();
        self.reactor.queue.clear();
        if dropped > 0 {
            self.count("events without reaction: too many in one step");
        }
    }

    fn react(&mut self, queued: &Queued) {
        let rules = Arc::clone(&self.reactor.rules);
        let mut verdicts = Vec::new();
        for rule in rules.matching(&queued.event.tag) {
            verdicts.push(self.judge(rule, &queued.event, &queued.identity));
        }
        if let Some((minion, name)) = &queued.due
            && let Some(rule) = rules.iter().find(|it| it.name == *name)
        {
            let tag = format!("minion/{minion}/start");
            let start = Event { tag, data: self.start_data(minion), ..queued.event.clone() };
            let mut verdict = self.judge(rule, &start, &queued.identity);
            verdict.reason = format!("due again: {}", verdict.reason);
            verdicts.push(verdict);
        }
        if verdicts.is_empty() {
            return;
        }
        for verdict in &verdicts {
            let counts = self.reactor.counts.entry(verdict.rule.clone()).or_default();
            if verdict.fired {
                counts.fired += 1;
            } else {
                counts.held += 1;
            }
            self.publish_rule(&verdict.rule);
        }
        let event = &queued.event;
        let decision = Decision { event: event.number, tag: event.tag.clone(), at: self.now, verdicts };
        self.record(Entry::Decision(decision));
    }

    /// What one rule makes of one event.
    fn judge(&mut self, rule: &Rule, event: &Event, identity: &str) -> Verdict {
        let held =
            |reason: String| Verdict { rule: rule.name.clone(), fired: false, reason, actions: Vec::new() };
        if event.hops >= HOPS_MAX && !broken::leaves_out("event-hops") {
            return held(format!("{HOPS_MAX} rule-made events led to it: a loop is cut here"));
        }
        let minion: Option<MinionId> =
            event.tag.strip_prefix("minion/").and_then(|it| it.split('/').next()?.parse().ok());
        let member = minion.as_ref().and_then(|id| self.book.minions.get(id));
        let context = Context {
            event,
            minion: minion.as_ref(),
            grains: member.map(|it| &it.grains),
            labels: member.map(|it| &it.labels),
        };
        let (holds, reason) = rule.holds(context);
        if !holds {
            return held(reason);
        }
        let actions = rule.actions(context);
        let boot = member.and_then(|it| it.boot.clone());
        let mut identity = identity.to_owned();
        let mut due = None;
        if rule.once_per_boot {
            let (Some(id), Some(boot)) = (minion, boot) else {
                return held("once_per: boot, and this event is of no minion that has booted".to_owned());
            };
            match self.begin_due(&rule.name, &id, &boot) {
                Ok(attempt) => identity = boot_identity(&id, &boot, attempt),
                Err(reason) => return held(reason),
            }
            due = Some(id);
        }
        let done = match actions {
            Ok(actions) => self.perform(rule, event, &identity, due.as_ref(), actions),
            Err(reason) => {
                self.rule_failed(rule, event, &reason);
                vec![DecisionAction { what: "fill in its templates".to_owned(), job: None, result: reason }]
            }
        };
        if let Some(id) = due {
            let failed = done.iter().any(|it| it.result != ACCEPTED);
            self.finish_start(&rule.name, &id, failed);
        }
        Verdict { rule: rule.name.clone(), fired: true, reason, actions: done }
    }
}

/// Trees.
impl Master {
    pub(crate) fn sources(&mut self, revision: Revision, rules: Rules) {
        let first = self.revision.is_none();
        let changed = self.revision.replace(revision) != Some(revision);
        self.tree_errors.clear();
        self.reactor.rules = Arc::new(rules);
        if changed && !first {
            self.emit_master("tree/changed".to_owned(), json!({"revision": revision.to_string()}));
        }
        if changed {
            let minions: Vec<MinionId> = self.book.minions.keys().cloned().collect();
            self.out.extend(minions.into_iter().map(|minion| Effect::Assign { minion }));
        }
        self.forward_all();
        for due in self.reactor.dues.values_mut() {
            (due.tries, due.next_at) = (0, None);
        }
        let here: Vec<MinionId> = self.live.iter().filter(|it| it.1.ready).map(|it| it.0.clone()).collect();
        for id in &here {
            self.due_boots(id);
        }
    }

    pub(crate) fn broken_sources(&mut self, diagnostics: Vec<Diagnostic>) {
        if self.tree_errors == diagnostics {
            return;
        }
        let first = diagnostics.first();
        let place = first.and_then(|it| it.spans.first()).map(|it| format!("{}:{}", it.file, it.line));
        let data = json!({
            "errors": diagnostics.len(), "first": first.map(|it| cut(&it.message, 1024)), "place": place,
        });
        self.tree_errors = diagnostics;
        self.emit_master("tree/broken".to_owned(), data);
    }
}

#[cfg(test)]
mod tests;
