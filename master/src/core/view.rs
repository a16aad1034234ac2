//! What people are shown of the master's memory.

use super::Master;
use model::{
    MinionId, Presence,
    api::{MasterStatus, MinionView, ReactorStatus, RuleView},
};

/// Minions that a status names as away, and as suspended.
pub(crate) const NAMED_MAX: usize = 10;

impl Master {
    /// Fleet at a glance. Bytes of the store, the gate's counters and the fan-out are for the shell to fill in.
    pub(crate) fn status(&self) -> MasterStatus {
        let [up, quiet, lost, down] = self.presence_counts();
        let away = self.live.iter().filter(|it| it.1.presence != Presence::Up);
        let since = self.day_ago();
        let (ended, failed) = self.book.ended_since(since);
        let open: Vec<_> = self.book.open.values().filter(|it| it.job.at >= since).collect();
        let last_job = self.book.newest().and_then(|id| self.job_view(id)).map(|mut view| {
            view.targets.clear();
            view
        });
        MasterStatus {
            name: self.settings.name.clone(),
            version: self.settings.version.clone(),
            started_at: self.started_at,
            now: self.now,
            clock_set: self.is_clock_set(),
            up,
            quiet,
            lost,
            down,
            away: away.take(NAMED_MAX).map(|it| it.0.clone()).collect(),
            pending_keys: count(self.book.waiting_keys.len()),
            suspended: self.suspended(),
            suspended_keys: self.suspended_keys(),
            jobs_day: ended + count(open.len()),
            jobs_failed_day: failed,
            jobs_open: count(self.book.open.len()),
            last_job,
            drifted: self.drifted_count(),
            drifted_names: self.drifted().take(NAMED_MAX).cloned().collect(),
            maintenance: self.maintained_count(),
            rules: count(self.reactor.rules.iter().count()),
            rules_asleep: self.revision.is_some() && !self.reactor.awake,
            revision: self.revision,
            tree_errors: self.complaints().cloned().collect(),
            refused: self.counters.iter().map(|(reason, it)| ((*reason).to_owned(), *it)).collect(),
            messages_in: 0,
            store_bytes: 0,
            degraded: self.degraded.clone(),
            fanout: false,
            reactor: self.reactor_status(),
        }
    }

    fn reactor_status(&self) -> ReactorStatus {
        let (keys, forgotten) = self.reactor.engine.keys();
        let waiting = count(self.reactor.queue.len());
        ReactorStatus { waiting, dropped: self.reactor.dropped, keys: count(keys), forgotten }
    }

    pub(crate) fn minion_view(&self, id: &MinionId, why: Option<String>) -> Option<MinionView> {
        let minion = self.book.minions.get(id)?;
        let live = self.live.get(id);
        Some(MinionView {
            id: id.clone(),
            presence: self.presence(id),
            seen_at: minion.seen_at,
            labels: minion.labels.clone(),
            grains: minion.grains.clone(),
            version: minion.version.clone(),
            fingerprint: minion.fingerprint.clone(),
            address: minion.address.clone(),
            assigned: live.and_then(|it| it.assigned.clone()),
            last_apply: minion.last_apply.clone(),
            running: live.and_then(|it| it.running),
            sandbox: minion.sandbox,
            sample: live.and_then(|it| serde_json::from_str(it.sample.as_ref()?).ok()),
            why,
            drift: live.and_then(|it| it.drift),
            maintenance: self.maintenance(id),
        })
    }

    pub(crate) fn rule_views(&self) -> Vec<RuleView> {
        let keys = self.reactor.engine.keys_of_rules();
        let view = |rule: &lang::rules::Rule| {
            let counts = self.reactor.counts.get(&rule.name).copied().unwrap_or_default();
            RuleView {
                name: rule.name.clone(),
                place: rule.place.clone(),
                on: rule.on.clone(),
                when: rule.when.clone(),
                does: match rule.reaction() {
                    Some(file) => vec![format!("react as {file} says")],
                    None => rule.actions.iter().map(lang::rules::ActionTemplate::describe).collect(),
                },
                fired: counts.fired,
                held: counts.held,
                refused: counts.refused,
                dropped: counts.dropped,
                filters: rule.filters.clone(),
                clauses: rule.words().map(|(name, text)| (name.to_owned(), text.to_owned())).collect(),
                on_failure: rule.on_failure.iter().map(lang::rules::ActionTemplate::describe).collect(),
                enabled: rule.clauses.enabled && !self.reactor.off.contains_key(&rule.name),
                off: self.reactor.off.get(&rule.name).cloned(),
                keys: keys.get(&rule.name).map_or(0, |it| *it as u64),
                role: self.roles.of_rule(&rule.name).to_owned(),
                lacks: rule.lacks(&self.roles),
            }
        };
        self.reactor.rules.iter().map(view).collect()
    }
}

fn count(many: usize) -> u32 {
    u32::try_from(many).unwrap_or(u32::MAX)
}
