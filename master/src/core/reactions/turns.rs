//! Whose turn it is: reactions of one key in order, as many of a rule at once as it says, and not too many that wait.

use super::reaction::{Await, QUEUED_MAX, Reaction, Scope};
use crate::core::Master;
use model::MinionId;

impl Master {
    /// Whether it is its turn.
    pub(super) fn may_begin(&self, rule: &str, key: &str, minion: Option<&MinionId>, number: u64) -> bool {
        let reactions = &self.reactions;
        let first = reactions.holding.of(&(rule.to_owned(), key.to_owned())).next();
        if first.is_some_and(|it| it.0 < number) {
            return false;
        }
        let Some(limit) = self.reactor.rule(rule).and_then(|it| it.concurrency) else { return true };
        let scope = if limit.per_minion {
            Scope::Minion(rule.to_owned(), minion.cloned())
        } else {
            Scope::Rule(rule.to_owned())
        };
        reactions.working.count(&scope) < limit.limit as usize
    }

    /// Keeps it in mind under all its names.
    pub(super) fn put(&mut self, id: &str, reaction: Reaction) {
        let reactions = &mut self.reactions;
        let place = reaction.place(id);
        let key = (reaction.rule.clone(), reaction.key.clone());
        reactions.holding.set(&place, reaction.holds_others().then_some(key));
        let (rule, minion) = (reaction.rule.clone(), reaction.minion.clone());
        let scopes = [Scope::Rule(rule.clone()), Scope::Minion(rule, minion)];
        reactions.working.set(&place, scopes.into_iter().filter(|_| !reaction.queued));
        let (filter, watched) = match reaction.waits.as_ref().map(|it| &it.what) {
            Some(Await::Event(filter, _)) => (Some(filter.clone()), Vec::new()),
            Some(Await::Presence { minions, .. }) => (None, minions.clone()),
            _ => (None, Vec::new()),
        };
        let next = reaction.next_event().map(|it| it.0.to_owned());
        reactions.listening.set(&place, filter.into_iter().chain(next));
        reactions.watching.set(&place, watched);
        reactions.in_decision.set(&place, [reaction.decision]);
        for (job, _) in &reaction.jobs {
            reactions.of_job.insert(*job, id.to_owned());
        }
        reactions.dirty.insert(id.to_owned());
        reactions.open.insert(id.to_owned(), reaction);
    }

    pub(super) fn forget_reaction(&mut self, id: &str, reaction: &Reaction) {
        let reactions = &mut self.reactions;
        let place = reaction.place(id);
        reactions.holding.remove(&place);
        reactions.working.remove(&place);
        reactions.listening.remove(&place);
        reactions.watching.remove(&place);
        reactions.in_decision.remove(&place);
        reactions.decided.push(reaction.decision);
        reactions.open.remove(id);
        reactions.dirty.insert(id.to_owned());
    }

    /// Those of a rule whose turn it is now.
    pub(super) fn let_next_begin(&mut self, rule: &str) {
        let Some(queue) = self.reactions.queued.get(rule) else { return };
        for (number, id) in queue.clone() {
            let Some(it) = self.reactions.open.get(&id) else { continue };
            if !self.may_begin(rule, &it.key, it.minion.as_ref(), number) {
                continue;
            }
            if let Some(queue) = self.reactions.queued.get_mut(rule) {
                queue.remove(&number);
                if queue.is_empty() {
                    self.reactions.queued.remove(rule);
                }
            }
            if let Some(mut it) = self.reactions.open.remove(&id) {
                it.queued = false;
                self.put(&id, it);
            }
            self.reactions.ready.push_back(id);
        }
    }

    /// Too many of its rule wait: the oldest goes, in sight of everybody.
    pub(super) fn drop_reaction(&mut self, id: &str) {
        let Some(mut reaction) = self.reactions.open.get(id).cloned() else { return };
        let reason = format!("dropped: more than {QUEUED_MAX} reactions of this rule wait for their turn");
        reaction.give_up(&reason);
        if let Some(minion) = reaction.due.take() {
            self.finish_start(&reaction.rule, &minion, &reaction.identity, true);
        }
        self.write_record(&mut reaction);
        self.forget_reaction(id, &reaction);
        self.rule_dropped(&reaction.rule, &reaction.event, &reason);
    }
}
