//! The promise of `jobs.md` as code: what may never be seen, and what must have come of everything at the end.

use master::core::Entry;
use model::{Job, JobId, JobKind, JobTarget, MinionId, TargetState, Terminal};
use std::collections::{BTreeMap, BTreeSet};

/// A minion's idea of the master's clock lags by the way of a message.
pub(crate) const LAG_MS: u64 = 5_000;

/// One begin of a run on a minion, outside of what can be lost.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) at: u64,
    pub(crate) attempt: u32,
    pub(crate) boot: u64,
}

/// Everything that was seen.
#[derive(Default)]
pub(crate) struct Checker {
    pub(crate) jobs: BTreeMap<JobId, Job>,
    pub(crate) submitted: BTreeSet<JobId>,
    pub(crate) ended: BTreeMap<(JobId, MinionId), JobTarget>,
    pub(crate) targets: BTreeSet<(JobId, MinionId)>,
    pub(crate) starts: BTreeMap<(JobId, MinionId), Vec<Start>>,
    pub(crate) events: BTreeMap<(MinionId, u64), u32>,
    /// Events on the disk of a minion.
    pub(crate) made: BTreeSet<(MinionId, u64)>,
    pub(crate) history: u64,
}

impl Checker {
    /// Folds a line into the history, so that two runs can be compared.
    pub(crate) fn note(&mut self, line: &str) {
        if std::env::var_os("SIM_TRACE").is_some() {
            println!("{line}");
        }
        for byte in line.bytes() {
            self.history = (self.history ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// An entry of the master was synced.
    pub(crate) fn synced(&mut self, entry: &Entry) -> Result<(), String> {
        match entry {
            Entry::Job(job) => {
                self.jobs.insert(job.id, job.clone());
            }
            Entry::Target(target) => {
                let key = (target.job, target.minion.clone());
                self.targets.insert(key.clone());
                if let Some(before) = self.ended.get(&key) {
                    if before != target {
                        return Err(format!("a terminal record changed: {before:?} -> {target:?}"));
                    }
                } else if matches!(target.state, TargetState::Ended { .. }) {
                    self.ended.insert(key, target.clone());
                }
            }
            Entry::Event(event) => {
                if let (Some(id), Some(number)) = (
                    event.tag.strip_prefix("minion/").and_then(|it| it.strip_suffix("/event/made")),
                    event.data["number"].as_u64(),
                ) {
                    let id: MinionId = id.parse().map_err(|it| format!("{it}"))?;
                    let times = self.events.entry((id.clone(), number)).or_default();
                    *times += 1;
                    if *times > 1 {
                        return Err(format!("event {number} of {id} was taken twice"));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Somebody was told that a job is accepted.
    pub(crate) fn replied(&mut self, job: &Job) -> Result<(), String> {
        let on_disk = self.jobs.contains_key(&job.id)
            && job.minions.iter().all(|it| self.targets.contains(&(job.id, it.clone())));
        self.submitted.insert(job.id);
        if on_disk { Ok(()) } else { Err(format!("job {} was shown before it was on disk", job.id)) }
    }

    /// A minion was told to forget a result.
    pub(crate) fn acknowledged(&self, job: JobId, minion: &MinionId) -> Result<(), String> {
        if self.jobs.contains_key(&job) && !self.ended.contains_key(&(job, minion.clone())) {
            return Err(format!("job {job} on {minion} was acknowledged before its end was on disk"));
        }
        Ok(())
    }

    /// A run began.
    pub(crate) fn started(&mut self, job: JobId, minion: &MinionId, start: Start) -> Result<(), String> {
        let Some(known) = self.jobs.get(&job) else {
            return Err(format!("job {job} runs on {minion} and is not on the master's disk"));
        };
        let place = format!("job {job} on {minion} at {}", start.at);
        if start.attempt == 1 && start.at > known.expires.0 + LAG_MS {
            return Err(format!("{place} began after its expiry {}", known.expires.0));
        }
        let before = self.starts.entry((job, minion.clone())).or_default();
        if let Some(last) = before.last() {
            if matches!(known.kind, JobKind::Run { .. }) {
                return Err(format!("{place}: a command ran twice, before at {}", last.at));
            }
            if start.attempt <= last.attempt {
                return Err(format!("{place}: attempt {} again, before at {}", start.attempt, last.at));
            }
            if start.boot == last.boot {
                return Err(format!("{place}: ran twice without a reboot between"));
            }
        }
        before.push(start);
        Ok(())
    }

    /// At the end, when all is well again: everything has ended, and the words are true.
    /// `dead` never came back; `gone` are those and the ones that were removed.
    pub(crate) fn finish(&self, dead: &BTreeSet<MinionId>, gone: &BTreeSet<MinionId>) -> Result<(), String> {
        for job in &self.submitted {
            if !self.jobs.contains_key(job) {
                return Err(format!("job {job} was lost"));
            }
        }
        for (job, minion) in &self.targets {
            let Some(end) = self.ended.get(&(*job, minion.clone())) else {
                if dead.contains(minion) {
                    continue;
                }
                return Err(format!("job {job} on {minion} has no end: {:?}", self.jobs.get(job)));
            };
            let TargetState::Ended { word, reason, .. } = &end.state else { continue };
            let ran = self.starts.contains_key(&(*job, minion.clone()));
            let never = matches!(
                word,
                Terminal::Unreachable | Terminal::Expired | Terminal::Superseded | Terminal::Refused
            );
            if never && ran {
                return Err(format!("job {job} on {minion} ran and ended {word:?} ({reason})"));
            }
            let always = matches!(word, Terminal::Ok | Terminal::Changed);
            if always && !ran {
                return Err(format!("job {job} on {minion} ended {word:?} and never ran"));
            }
        }
        for (minion, number) in &self.made {
            if !gone.contains(minion) && !self.events.contains_key(&(minion.clone(), *number)) {
                return Err(format!("event {number} of {minion} was lost"));
            }
        }
        Ok(())
    }
}
