//! Reactions on disk: with the records of the step that altered them, and back after a start; and their part of the
//! records of decisions.

use super::reaction::{Reaction, TEXT_MAX};
use crate::core::{Entry, Master, Part, reactor::chain, roster::cut, timers::Timer};
use model::{DecisionAction, Event, MinionId};
use serde_json::{Value, json};

/// Keeping them.
impl Master {
    /// Writes what has become of a reaction into the record of its decision.
    pub(super) fn write_record(&mut self, reaction: &mut Reaction) {
        if reaction.done == reaction.recorded || reaction.queued {
            return;
        }
        let Some(mut decision) = self.book.decisions.get(&reaction.decision).cloned() else { return };
        let queued = |it: &[DecisionAction]| it.len() == 1 && it[0].what == "react";
        let before = std::mem::replace(&mut reaction.recorded, reaction.done.clone());
        let ours = |it: &&mut model::Verdict| {
            it.rule == reaction.rule && (it.actions == before || (before.is_empty() && queued(&it.actions)))
        };
        if let Some(verdict) = decision.verdicts.iter_mut().find(ours) {
            verdict.actions.clone_from(&reaction.done);
            self.record(Entry::Decision(bounded(decision)));
        }
    }

    /// Puts on record what changed in this step, and forgets records of decisions that nothing will be added to.
    pub(crate) fn keep_reactions(&mut self) {
        for id in std::mem::take(&mut self.reactions.dirty) {
            let kept = self.book.kept.contains_key(&(Part::Reaction, id.clone()));
            match self.reactions.open.get(&id) {
                Some(reaction) => {
                    let data = serde_json::to_value(reaction).unwrap_or(Value::Null);
                    self.keep(Part::Reaction, &id, Some(data));
                }
                None if kept => self.keep(Part::Reaction, &id, None),
                None => {}
            }
        }
        let written = self.records.iter().filter_map(|it| match it {
            Entry::Decision(it) => Some(it.event),
            _ => None,
        });
        let looked: Vec<u64> = written.chain(std::mem::take(&mut self.reactions.decided)).collect();
        for number in looked {
            if self.reactions.in_decision.count(&number) == 0 {
                self.book.decisions.remove(&number);
            }
        }
    }

    /// After a start: what is kept, with its deadlines.
    pub(crate) fn recall_reactions(&mut self) {
        let kept: Vec<(String, Value)> =
            self.book.kept_of(Part::Reaction).map(|(id, it)| (id.to_owned(), it.clone())).collect();
        for (id, data) in kept {
            let Ok(reaction) = serde_json::from_value::<Reaction>(data) else {
                self.count("reactions that cannot be read any more");
                self.reactions.dirty.insert(id);
                continue;
            };
            self.reactions.next_number = self.reactions.next_number.max(reaction.number);
            if reaction.queued {
                let queue = self.reactions.queued.entry(reaction.rule.clone()).or_default();
                queue.insert(reaction.number, id.clone());
            }
            for (job, _) in &reaction.jobs {
                self.reactor.causes.insert(*job, chain(&reaction.event));
            }
            if let Some(wait) = &reaction.waits {
                let until = wait.until;
                self.wake_at(until, Timer::Reaction(id.clone()));
            }
            self.put(&id, reaction);
        }
        let Self { book, reactions, .. } = self;
        book.decisions.retain(|number, _| reactions.in_decision.count(number) > 0);
    }

    /// Rules are there: what ended while nobody looked has ended now, and whose turn it is goes on.
    pub(crate) fn resume_reactions(&mut self) {
        let ids: Vec<String> = self.reactions.open.keys().cloned().collect();
        for id in ids {
            let Some(mut reaction) = self.reactions.open.get(&id).cloned() else { continue };
            let boot = |it: &MinionId| self.book.minions.get(it)?.boot.clone();
            if let Some(minion) = &reaction.due
                && let Some(boot) = boot(minion)
            {
                self.recall_due(&reaction.rule, minion, &boot);
            }
            let changed = self.catch_up(&mut reaction);
            // Its time may have come before there were rules: what happened before that is heard first.
            if reaction.waits.as_ref().is_some_and(|it| it.until <= self.now) {
                self.wake_at(self.now.plus_ms(1), Timer::Reaction(id.clone()));
            }
            let ready = reaction.can_go_on();
            if changed {
                self.put(&id, reaction);
            }
            if ready {
                self.reactions.ready.push_back(id);
            }
        }
        let rules: Vec<String> = self.reactions.queued.keys().cloned().collect();
        for rule in &rules {
            self.let_next_begin(rule);
        }
    }

    /// Something of a rule was left out because too much waits.
    pub(crate) fn rule_dropped(&mut self, rule: &str, event: &Event, reason: &str) {
        self.reactor.counts.entry(rule.to_owned()).or_default().dropped += 1;
        self.publish_rule(rule);
        self.count("left out by rules: too much waits");
        let data = json!({"event": event.number, "tag": event.tag, "reason": cut(reason, TEXT_MAX)});
        self.emit_of_rule(rule, event, "dropped", data);
    }
}

/// A record stays readable and of a size.
fn bounded(mut decision: model::Decision) -> model::Decision {
    let size = |it: &model::Decision| serde_json::to_vec(it).map_or(0, |it| it.len());
    if size(&decision) > DECISION_BYTES_MAX {
        for action in decision.verdicts.iter_mut().flat_map(|it| &mut it.actions) {
            action.result = cut(&action.result, 64);
            if let Some(end) = &mut action.end {
                end.answer = cut(&end.answer, 64);
            }
        }
    }
    decision
}

/// Bytes of a decision's record, beyond which its texts are cut.
const DECISION_BYTES_MAX: usize = 128 << 10;
