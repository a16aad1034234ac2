//! Boots that a rule has not configured yet: they stay due until it has, with longer and longer waits between attempts.

use super::{
    Effect, Entry, Master,
    memory::Book,
    reactor::{Queued, boot_identity, level, reaction_id},
    timers::Timer,
};
use lang::rules::{ActionTemplate, Rule};
use model::{Event, Job, JobId, MinionId, Source, Timestamp};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Waits between attempts to configure a boot; the last one is repeated.
pub(crate) const RETRY_MS: &[u64] = &[60_000, 300_000, 900_000, 3_600_000];
/// Attempts to configure a boot until the trees change.
pub(crate) const ATTEMPTS_MAX: u32 = 12;
/// Attempts in all for one boot.
const ATTEMPTS_EVER_MAX: u32 = 64;

/// A boot that a rule is configuring.
#[derive(Debug)]
pub(crate) struct Due {
    pub(crate) boot: String,
    pub(crate) attempt: u32,
    /// Attempts since the trees changed.
    pub(crate) tries: u32,
    pub(crate) waiting: BTreeSet<JobId>,
    pub(crate) failed: bool,
    pub(crate) starting: bool,
    pub(crate) next_at: Option<Timestamp>,
}

/// Whether a rule may configure this boot now, and if not, why.
pub(crate) fn may_begin(
    book: &Book,
    dues: &BTreeMap<(MinionId, String), Due>,
    now: Timestamp,
    (rule, id, this): (&str, &MinionId, &str),
) -> Result<(), String> {
    let done = book.minions.get(id).and_then(|it| it.configured_boots.get(rule));
    if done.is_some_and(|it| it == this) {
        return Err("this boot is configured already".to_owned());
    }
    let Some(due) = dues.get(&(id.clone(), rule.to_owned())).filter(|it| it.boot == this) else {
        return Ok(());
    };
    if let Some(job) = due.waiting.first() {
        return Err(format!("job {} is configuring this boot", job.short()));
    }
    if due.starting {
        return Err(format!("attempt {} to configure this boot is under way", due.attempt));
    }
    if due.tries >= ATTEMPTS_MAX || due.attempt >= ATTEMPTS_EVER_MAX {
        return Err(format!("given up after {} attempts, until the trees change", due.tries));
    }
    if due.next_at.is_some_and(|it| it > now) {
        return Err(format!("attempt {} failed; the next one waits", due.attempt));
    }
    Ok(())
}

impl Master {
    /// A minion has booted.
    pub(crate) fn emit_start(&mut self, id: &MinionId) {
        let data = self.start_data(id);
        self.emit_master(format!("minion/{id}/start"), data);
    }

    /// Payload of `minion/<id>/start`: that it booted, and what rules like to look at.
    pub(crate) fn start_data(&self, id: &MinionId) -> Value {
        let minion = self.book.minions.get(id);
        json!({
            "minion": id,
            "boot": true,
            "boot_id": minion.and_then(|it| it.boot.clone()),
            "version": minion.map(|it| it.version.clone()),
            "sandbox": minion.is_some_and(|it| it.sandbox),
            "address": minion.and_then(|it| it.address.clone()),
            "away_s": self.away_s(id),
        })
    }

    /// For how many seconds nothing was heard of it before it came back.
    pub(crate) fn away_s(&self, id: &MinionId) -> u64 {
        self.live.get(id).map_or(0, |it| it.away_ms / 1_000)
    }

    /// Whether a rule may configure this boot now; if so, which attempt it is.
    pub(crate) fn begin_due(&mut self, rule: &str, id: &MinionId, boot: &str) -> Result<u32, String> {
        self.recall_due(rule, id, boot);
        may_begin(&self.book, &self.reactor.dues, self.now, (rule, id, boot))?;
        let key = (id.clone(), rule.to_owned());
        let due = self.reactor.dues.entry(key).or_insert_with(|| Due {
            boot: boot.to_owned(),
            attempt: 0,
            tries: 0,
            waiting: BTreeSet::new(),
            failed: false,
            starting: false,
            next_at: None,
        });
        (due.starting, due.failed, due.next_at) = (true, false, None);
        let attempt = due.attempt;
        due.attempt += 1;
        due.tries += 1;
        Ok(attempt)
    }

    /// After a restart: jobs and reactions of this boot tell which attempt is next, and whether one is under way.
    pub(crate) fn recall_due(&mut self, rule: &str, id: &MinionId, boot: &str) {
        let key = (id.clone(), rule.to_owned());
        if self.reactor.dues.get(&key).is_some_and(|it| it.boot == boot) {
            return;
        }
        self.reactor.dues.remove(&key);
        let rules = Arc::clone(&self.reactor.rules);
        let Some(found) = rules.iter().find(|it| it.name == rule) else { return };
        let ids = |attempt: u32| {
            let identity = boot_identity(id, boot, attempt);
            (0..found.actions.len()).map(move |index| reaction_id(rule, &identity, index))
        };
        let under_way = |attempt: u32| self.attempt_under_way(rule, &boot_identity(id, boot, attempt));
        let known =
            |attempt: &u32| under_way(*attempt).is_some() || ids(*attempt).any(|it| self.book.knows_job(it));
        let attempt = (0..ATTEMPTS_EVER_MAX).take_while(known).count();
        let attempt = u32::try_from(attempt).unwrap_or(ATTEMPTS_EVER_MAX);
        let Some(last) = attempt.checked_sub(1) else { return };
        let waiting: BTreeSet<JobId> = ids(last).filter(|it| self.book.open.contains_key(it)).collect();
        let (starting, failed) = under_way(last).unwrap_or_default();
        let failed = failed || ids(last).any(|it| self.book.bad_of(it).is_some_and(|bad| !bad.is_empty()));
        // Of an attempt that was cut short, some jobs were never made.
        let makes_job = |it: &ActionTemplate| {
            use ActionTemplate::{Apply, Reboot, Run};
            matches!(it, Apply { .. } | Run { .. } | Reboot { .. })
        };
        let mut made = found.actions.iter().zip(ids(last)).filter(|it| makes_job(it.0));
        let over = !starting && !failed && waiting.is_empty() && made.all(|it| self.book.knows_job(it.1));
        for job in &waiting {
            self.reactor.due_jobs.insert(*job, key.clone());
        }
        let boot = boot.to_owned();
        let due = Due { boot, attempt, tries: attempt, waiting, failed, starting, next_at: None };
        self.reactor.dues.insert(key.clone(), due);
        if over {
            // It ended before anybody looked.
            self.settle_due(key);
        }
    }

    /// The attempt that configures a boot of a machine now, if this is it.
    fn due_of(&mut self, rule: &str, id: &MinionId, identity: &str) -> Option<&mut Due> {
        let due = self.reactor.dues.get_mut(&(id.clone(), rule.to_owned()))?;
        // An attempt at an earlier boot may still be under way.
        (boot_identity(id, &due.boot, due.attempt.saturating_sub(1)) == identity).then_some(due)
    }

    pub(crate) fn expect_job(&mut self, rule: &str, id: &MinionId, identity: &str, job: JobId) {
        if let Some(due) = self.due_of(rule, id, identity) {
            due.waiting.insert(job);
            self.reactor.due_jobs.insert(job, (id.clone(), rule.to_owned()));
        }
    }

    pub(crate) fn finish_start(&mut self, rule: &str, id: &MinionId, identity: &str, failed: bool) {
        let Some(due) = self.due_of(rule, id, identity) else { return };
        due.starting = false;
        due.failed |= failed;
        let mut waiting = std::mem::take(&mut due.waiting);
        waiting.retain(|job| self.book.open.contains_key(job));
        let key = (id.clone(), rule.to_owned());
        let none = waiting.is_empty();
        if let Some(due) = self.reactor.dues.get_mut(&key) {
            due.waiting = waiting;
        }
        if none {
            self.settle_due(key);
        }
    }

    /// A job ended, perhaps one that configures a boot.
    pub(crate) fn rule_job_ended(&mut self, job: &Job, good: bool) {
        let Some(key) = self.reactor.due_jobs.remove(&job.id) else { return };
        let Some(due) = self.reactor.dues.get_mut(&key) else { return };
        if due.waiting.remove(&job.id) {
            due.failed |= !good;
            if due.waiting.is_empty() && !due.starting {
                self.settle_due(key);
            }
        }
    }

    /// All jobs of an attempt have ended: the boot is configured, or due again later.
    fn settle_due(&mut self, key: (MinionId, String)) {
        let now = self.now;
        let Some(due) = self.reactor.dues.get_mut(&key) else { return };
        if due.failed {
            let step = (due.tries.max(1) as usize - 1).min(RETRY_MS.len() - 1);
            let next = now.plus_ms(RETRY_MS[step]);
            due.next_at = Some(next);
            return self.wake_at(next, Timer::Due(key.0, key.1));
        }
        let boot = due.boot.clone();
        self.reactor.dues.remove(&key);
        if let Some(minion) = self.book.minions.get(&key.0).cloned()
            && minion.boot.as_ref() == Some(&boot)
        {
            let mut minion = minion;
            minion.configured_boots.insert(key.1, boot);
            let rules = &self.reactor.rules;
            minion.configured_boots.retain(|name, _| rules.iter().any(|it| it.name == *name));
            self.record(Entry::Minion(minion));
        }
    }

    /// A wait between attempts is over.
    pub(crate) fn due_again(&mut self, id: &MinionId, rule: &str) {
        let rules = Arc::clone(&self.reactor.rules);
        if let Some(rule) = rules.iter().find(|it| it.name == rule) {
            self.due_boot(id, rule);
        }
    }

    /// Looks for rules that have not configured the boot of a minion that is here.
    pub(crate) fn due_boots(&mut self, id: &MinionId) {
        let tag = format!("minion/{id}/start");
        let rules = Arc::clone(&self.reactor.rules);
        for rule in rules.matching(&tag).filter(|it| it.once_per_boot()) {
            self.due_boot(id, rule);
        }
    }

    /// The same for everybody who is here.
    pub(crate) fn due_boots_of_all(&mut self) {
        let here: Vec<MinionId> = self.live.iter().filter(|it| it.1.ready).map(|it| it.0.clone()).collect();
        for id in &here {
            self.due_boots(id);
        }
    }

    fn due_boot(&mut self, id: &MinionId, rule: &Rule) {
        let Some(minion) = self.book.minions.get(id) else { return };
        let Some(boot) = minion.boot.clone() else { return };
        if !self.is_ready(id) {
            return;
        }
        // Also when nothing can begin now: what has begun may end meanwhile.
        self.recall_due(&rule.name, id, &boot);
        let configured = self.book.minions.get(id).and_then(|it| it.configured_boots.get(&rule.name));
        if configured == Some(&boot) || self.degraded.is_some() {
            return;
        }
        let key = (id.clone(), rule.name.clone());
        let (now, attempt) = (self.now, self.reactor.dues.get(&key).map_or(0, |it| it.attempt));
        let may = may_begin(&self.book, &self.reactor.dues, now, (&rule.name, id, &boot)).is_ok();
        let number = self.book.last_event + 1;
        let tag = format!("rule/{}/due", level(&rule.name));
        let data = json!({"minion": id, "boot_id": boot, "attempt": attempt + 1});
        let cause = Vec::new();
        let event = Event { number, tag, source: Source::Master, at: now, data, hops: 0, cause };
        if !may || !self.would_hold(id, rule, &event) {
            return;
        }
        self.record(Entry::Event(event.clone()));
        self.out.push(Effect::Event(Box::new(event.clone())));
        let identity = format!("event:{number}");
        self.enqueue(Queued { event, identity, due: Some(key), kept: false });
    }

    /// A boot is due only for rules whose condition it meets; the others say so once, at the start itself.
    fn would_hold(&self, id: &MinionId, rule: &Rule, event: &Event) -> bool {
        let start = Event { tag: format!("minion/{id}/start"), data: self.start_data(id), ..event.clone() };
        let clauses = self.explain_rule(&rule.name, &start).map(|it| it.clauses).unwrap_or_default();
        clauses.iter().all(|it| it.held != Some(false))
    }
}
