//! The promise of `jobs.md` as code: what may never be seen, and what must have come of everything at the end.

pub(crate) mod boots;
pub(crate) mod calls;
mod ends;
pub(crate) mod memory;
pub(crate) mod rolling;
pub(crate) mod slots;

use boots::Boots;
use bus::FromMinion;
use calls::{Calls, Services};
use master::{
    core::{Entry, Part},
    store::AuditLine,
};
use memory::RuleMemory;
use minion::core as nc;
use model::{
    Event, Job, JobId, JobKind, JobTarget, MinionId, Outcome as StepOutcome, Phase, Roll, RunReport,
    TargetState, Terminal,
};
pub(crate) use rolling::Contact;
use serde_json::Value;
use slots::{Idle, OwnSlots, Slots};
use std::collections::{BTreeMap, BTreeSet};

/// A minion's idea of the master's clock is that of the last message.
pub(crate) const LAG_MS: u64 = 1_000;
/// How often a state run is begun at most.
const ATTEMPTS_MAX: u32 = 3;

/// One begin of a run on a minion, outside of what can be lost.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) at: u64,
    pub(crate) attempt: u32,
    /// Of the minion's identity.
    pub(crate) life: u32,
    /// Which of the lives of workers: it is another one only when a worker was lost.
    pub(crate) worker_life: u64,
    /// A run that is under way.
    pub(crate) busy: Option<JobId>,
    /// The master's time by its last message.
    pub(crate) master_time: Option<u64>,
    /// When the hello was taken in that led to the last welcome.
    pub(crate) welcomed_at: u64,
    /// The step that booted the machine anew, if it goes on behind one.
    pub(crate) behind: Option<u32>,
    /// The minion began it by itself.
    pub(crate) own: bool,
}

/// One transaction of the store, and the lines of the audit log in it.
#[derive(Default)]
pub(crate) struct Batch<'a> {
    pub(crate) entries: &'a [Entry],
    pub(crate) audit: Vec<AuditLine>,
    pub(crate) contact: Contact,
}

/// What is on the master's disk, as the checker saw it get there.
#[derive(Clone, Default)]
pub(crate) struct View {
    jobs: BTreeMap<JobId, Job>,
    pub(crate) ended: BTreeMap<(JobId, MinionId), JobTarget>,
    pub(crate) targets: BTreeSet<(JobId, MinionId)>,
    /// Minion, life, number.
    events: BTreeSet<(MinionId, u32, u64)>,
    /// Events that minions said they dropped.
    gaps: BTreeMap<MinionId, u64>,
    rolls: BTreeMap<JobId, Roll>,
    pub(crate) slots: Slots,
    pub(crate) memory: RuleMemory,
    pub(crate) calls: Calls,
    boots: Boots,
    chain: [u8; 32],
}

/// Everything that was seen.
#[derive(Default)]
pub(crate) struct Checker {
    pub(crate) view: View,
    /// Jobs that were ever on the disk.
    jobs: BTreeMap<JobId, Job>,
    pub(crate) submitted: BTreeSet<JobId>,
    pub(crate) starts: BTreeMap<(JobId, MinionId), Vec<Start>>,
    /// How runs ended, as their workers say.
    ledger: BTreeMap<(JobId, MinionId), Terminal>,
    /// Offers that minions said they received, until they hear that the end is stored.
    received: BTreeSet<(JobId, MinionId, u32)>,
    cancelled: BTreeMap<JobId, u64>,
    /// Events on the disk of a minion.
    made: BTreeSet<(MinionId, u32, u64)>,
    /// Identities that were dropped.
    pub(crate) gone: BTreeSet<(MinionId, u32)>,
    /// A backup was put back: what was known later is nobody's fault.
    restored: bool,
    /// There are rules: a deployment leads to a job.
    pub(crate) rules: bool,
    /// There are rules whose memory is counted after.
    pub(crate) memory: bool,
    /// Somebody else has their key, says other things and takes what was meant for them.
    pub(crate) copied: BTreeSet<MinionId>,
    /// Waves that began.
    pub(crate) waves: u64,
    pub(crate) idle: Idle,
    pub(crate) own: OwnSlots,
    pub(crate) services: Services,
    /// Steps that are to boot a machine anew, as its disk has it, and how often that was done.
    to_boot: BTreeMap<MinionId, JobId>,
    boots_of: BTreeMap<(JobId, MinionId), u32>,
    /// Runs that go on behind such a step.
    resumed: BTreeMap<(JobId, MinionId), u32>,
    pub(crate) history: Option<Vec<String>>,
}

impl Checker {
    /// A line of the history, if anybody wants it.
    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(history) = &mut self.history {
            history.push(line());
        }
    }

    /// A transaction is on the master's disk.
    pub(crate) fn committed(&mut self, batch: &Batch<'_>, now: u64) -> Result<(), String> {
        for line in &batch.audit {
            if !line.follows(&self.view.chain) {
                return Err(format!("a line of the audit log is outside the chain: {}", line.text));
            }
            self.view.chain = line.hash;
        }
        for entry in batch.entries {
            match entry {
                Entry::Job(job) => self.took_job(job, batch)?,
                Entry::Minion(it) => self.view.boots.took(it),
                Entry::MinionGone(it) => self.view.boots.gone(it),
                // Time passes for rules before they hear what happens.
                Entry::Event(it) if self.memory => {
                    let rule = it.tag.strip_prefix("rule/").and_then(|it| it.strip_suffix("/time"));
                    rule.map_or(Ok(()), |rule| self.view.memory.woke(rule, it))?;
                }
                _ => {}
            }
        }
        for entry in batch.entries {
            match entry {
                Entry::Kept { part, key, data } => {
                    self.took_kept(*part, key, data.as_ref(), &batch.contact)?;
                }
                Entry::Job(it) => self.configures(it)?,
                Entry::Decision(it) => {
                    self.view.calls.decided(it);
                    self.view.memory.decided(it)?;
                }
                Entry::Target(target) => self.took_target(target, now)?,
                Entry::Report(job, minion, _) if !self.view.targets.contains(&(*job, minion.clone())) => {
                    return Err(format!("a report of job {job} on {minion}, which nobody asked for"));
                }
                Entry::Event(event) => self.took_event(event, batch)?,
                _ => {}
            }
        }
        self.view.memory.check()
    }

    fn took_kept(
        &mut self,
        part: Part,
        key: &str,
        data: Option<&Value>,
        contact: &Contact,
    ) -> Result<(), String> {
        match part {
            Part::Rolling => self.took_roll(key, data, contact),
            Part::Schedule => self.view.slots.moved(key, data),
            Part::Outgoing => {
                self.view.calls.kept(key, data);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn took_job(&mut self, job: &Job, batch: &Batch<'_>) -> Result<(), String> {
        if self.view.jobs.insert(job.id, job.clone()).is_none() {
            let wanted = format!("accepted as {}", job.id);
            let line = |it: &Entry| matches!(it, Entry::Audit(audit) if audit.result == wanted);
            // What a minion does by itself was asked for in its pillar.
            let own = job.caller.name.starts_with("schedule:");
            if !own && !batch.entries.iter().any(line) {
                return Err(format!("job {} is on disk without its line in the audit log", job.id));
            }
        }
        self.jobs.insert(job.id, job.clone());
        let ended_early = job.roll.as_ref().is_some_and(|it| it.phase != Phase::Over);
        if job.ended.is_some() && ended_early {
            return Err(format!("job {} ended before its last wave", job.id));
        }
        Ok(())
    }

    fn took_target(&mut self, target: &JobTarget, now: u64) -> Result<(), String> {
        let key = (target.job, target.minion.clone());
        let asked = self.view.jobs.get(&target.job).is_some_and(|it| it.minions.contains(&target.minion));
        if !asked {
            return Err(format!("a result of job {} on {}, which nobody asked for", key.0, key.1));
        }
        self.view.targets.insert(key.clone());
        if let Some(before) = self.view.ended.get(&key) {
            if before != target {
                return Err(format!("at {now} a terminal record changed: {before:?} -> {target:?}"));
            }
        } else if matches!(target.state, TargetState::Ended { .. }) {
            self.view.ended.insert(key, target.clone());
        }
        Ok(())
    }

    fn took_event(&mut self, event: &Event, batch: &Batch<'_>) -> Result<(), String> {
        if let Some(name) = event.tag.strip_prefix("schedule/") {
            return self.view.slots.ran(name, &event.data);
        }
        let Some((id, what)) = event.tag.strip_prefix("minion/").and_then(|it| it.split_once('/')) else {
            return Ok(());
        };
        let id: MinionId = id.parse().map_err(|it| format!("{it}"))?;
        if what == "gap" {
            *self.view.gaps.entry(id).or_default() += event.data["dropped"].as_u64().unwrap_or_default();
            return Ok(());
        }
        let (Some(number), Some(life)) = (event.data["number"].as_u64(), event.data["life"].as_u64()) else {
            return Ok(());
        };
        let life = u32::try_from(life).map_err(|it| it.to_string())?;
        if !self.view.events.insert((id.clone(), life, number)) {
            return Err(format!("event {number} of {id} was taken twice"));
        }
        if what == "event/made" && self.memory {
            self.view.memory.heard(id.as_str(), event);
        }
        if what == "event/deploy" && self.has_rules(batch, event.number) == Some(false) {
            return Err(format!("event {number} of {id} is on disk without what it led to"));
        }
        Ok(())
    }

    /// Whether the decision about an event, and the jobs that it led to, are in the same transaction; none if there are
    /// no rules.
    fn has_rules(&self, batch: &Batch<'_>, number: u64) -> Option<bool> {
        let decision = batch.entries.iter().find_map(|it| match it {
            Entry::Decision(decision) if decision.event == number => Some(decision),
            _ => None,
        });
        let Some(decision) = decision else { return self.rules.then_some(false) };
        let jobs = decision.verdicts.iter().flat_map(|it| &it.actions).filter_map(|it| it.job);
        Some(jobs.into_iter().all(|it| self.view.jobs.contains_key(&it)))
    }

    /// Whether a job is on disk.
    pub(crate) fn is_accepted(&self, job: JobId) -> bool {
        self.view.jobs.contains_key(&job)
    }

    /// Somebody was told that a job is accepted.
    pub(crate) fn replied(&mut self, job: &Job) -> Result<(), String> {
        let on_disk = self.view.jobs.contains_key(&job.id)
            && job.minions.iter().all(|it| self.view.targets.contains(&(job.id, it.clone())));
        self.submitted.insert(job.id);
        if on_disk { Ok(()) } else { Err(format!("job {} was shown before it was on disk", job.id)) }
    }

    /// Somebody was told that a job is cancelled.
    pub(crate) fn cancelled(&mut self, job: &str, now: u64) {
        if let Ok(job) = job.parse() {
            self.cancelled.entry(job).or_insert(now);
        }
    }

    /// A minion is told to forget a result.
    pub(crate) fn acknowledged(&self, job: JobId, minion: &MinionId) -> Result<(), String> {
        let key = (job, minion.clone());
        if self.view.targets.contains(&key) && !self.view.ended.contains_key(&key) {
            return Err(format!("job {job} on {minion} was acknowledged before its end was on disk"));
        }
        Ok(())
    }

    /// A minion heard that results are stored.
    pub(crate) fn heard_ack(&mut self, jobs: &[JobId], minion: &MinionId, life: u32) {
        for job in jobs {
            self.received.remove(&(*job, minion.clone(), life));
        }
    }

    /// A minion says something.
    pub(crate) fn said(&mut self, minion: &MinionId, life: u32, message: &FromMinion) -> Result<(), String> {
        match message {
            FromMinion::Received { job } => drop(self.received.insert((*job, minion.clone(), life))),
            FromMinion::Hello(hello) => {
                let has = |job: &JobId| {
                    hello.running == Some(*job)
                        || hello.waiting.contains(job)
                        || hello.unacknowledged.contains(job)
                };
                let of = self.received.iter().filter(|it| it.1 == *minion && it.2 == life);
                if let Some((job, ..)) = of.into_iter().find(|it| !has(&it.0)) {
                    return Err(format!(
                        "{minion} said that it received job {job} and does not know it any more"
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Entries are on a minion's disk.
    pub(crate) fn journalled(
        &mut self,
        minion: &MinionId,
        life: u32,
        entries: &[nc::Entry],
    ) -> Result<(), String> {
        for entry in entries {
            self.saw_on_disk(minion, entry);
            if let nc::Entry::Event { tag, data, .. } = entry
                && tag.starts_with("event/")
            {
                let number = data["number"].as_u64().unwrap_or_default();
                self.made.insert((minion.clone(), life, number));
            }
        }
        self.own.journalled(minion, life, entries)
    }

    /// A worker is done.
    pub(crate) fn ran(&mut self, job: JobId, minion: &MinionId, report: &RunReport) {
        let has = |outcome| report.steps.iter().any(|it| it.outcome == outcome);
        let word = match report {
            _ if report.cancelled => Terminal::Cancelled,
            _ if has(StepOutcome::Failed) => Terminal::Failed,
            _ if has(StepOutcome::Changed) => Terminal::Changed,
            _ => Terminal::Ok,
        };
        self.ledger.insert((job, minion.clone()), word);
    }

    /// A run began.
    pub(crate) fn started(&mut self, job: JobId, minion: &MinionId, start: Start) -> Result<(), String> {
        let place = format!("job {job} on {minion} at {}", start.at);
        let own = start.own;
        let known = self.jobs.get(&job);
        if known.is_none() && !own {
            return Err(format!("{place} runs and is not on the master's disk"));
        }
        if let Some(other) = start.busy {
            return Err(format!("{place}: job {other} is still at work"));
        }
        let expires = known.filter(|_| !own).map_or(u64::MAX, |it| self.expiry(it, minion));
        let late = start.master_time.is_some_and(|it| it > expires.saturating_add(LAG_MS));
        if start.attempt == 1 && late {
            return Err(format!("{place} began after its expiry {expires}: {start:?}"));
        }
        if known.is_some_and(|it| !self.has_its_turn(it, minion)) {
            return Err(format!("{place} began before its wave was on disk"));
        }
        let step = self.resumed.get(&(job, minion.clone())).copied();
        if start.behind < step {
            return Err(format!("{place} began behind step {:?}, and was at {step:?}", start.behind));
        }
        let boots = step.map_or(0, |it| it + 1);
        let command = known.is_some_and(|it| matches!(it.kind, JobKind::Run { .. }));
        if self.cancelled.get(&job).is_some_and(|it| start.attempt == 1 && start.welcomed_at > *it) {
            return Err(format!("{place} began although the master knew that it was cancelled: {start:?}"));
        }
        let before = self.starts.entry((job, minion.clone())).or_default();
        if (self.restored || own) && before.last().is_some_and(|it| it.life != start.life) {
            // Neither the restored master nor the minion that was removed can know of it.
            before.clear();
        }
        if let Some(last) = before.last() {
            if command {
                return Err(format!("{place}: a command ran twice, before at {}", last.at));
            }
            if start.attempt <= last.attempt || start.attempt > ATTEMPTS_MAX + boots {
                return Err(format!("{place}: attempt {} again, before at {}", start.attempt, last.at));
            }
            if start.worker_life == last.worker_life && start.behind == last.behind {
                return Err(format!("{place}: ran twice, and its worker was not lost between"));
            }
        }
        before.push(start);
        Ok(())
    }

    /// A backup is in the place of the store.
    pub(crate) fn go_back_to(&mut self, view: View) {
        self.view = view;
        self.restored = true;
        self.idle.odd_clock = true;
        self.services.go_back();
        self.cancelled.clear();
        self.received.clear();
        self.submitted.retain(|it| self.view.jobs.contains_key(it));
    }

    /// What has no end yet.
    pub(crate) fn open(&self) -> impl Iterator<Item = &(JobId, MinionId)> {
        self.view.targets.iter().filter(|it| !self.view.ended.contains_key(*it))
    }

    /// When the offers of a job expire.
    pub(crate) fn expires(&self, job: JobId) -> u64 {
        self.view.jobs.get(&job).map_or(0, |it| it.expires.0)
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
