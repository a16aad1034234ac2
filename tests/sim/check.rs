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

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Caller, Tally, Timestamp};

    const JOB: JobId = JobId(1);

    fn minion() -> MinionId {
        "vm-1".parse().unwrap()
    }

    fn end(word: Terminal) -> Entry {
        let at = Timestamp(2);
        let (tally, reason) = (Tally::default(), String::new());
        let state = TargetState::Ended { word, at, duration_ms: None, tally, reason, code: None };
        Entry::Target(JobTarget { job: JOB, minion: minion(), state, diagnostics: Vec::new(), lost: None })
    }

    /// A checker that saw a command for one minion, accepted.
    fn checker() -> Checker {
        let kind = JobKind::Run {
            command: vec!["true".to_owned()],
            shell: false,
            cwd: None,
            user: None,
            environment: BTreeMap::new(),
            timeout_ms: 1_000,
        };
        let job = Job {
            id: JOB,
            kind,
            target: "vm-1".to_owned(),
            minions: vec![minion()],
            caller: Caller { name: "admin".to_owned(), via: "sim".to_owned() },
            at: Timestamp(1),
            expires: Timestamp(60_000),
            wait: false,
            revision: None,
            retry_of: None,
            ended: None,
            cancelled: None,
            hops: 0,
        };
        let state = TargetState::Accepted;
        let target = JobTarget { job: JOB, minion: minion(), state, diagnostics: Vec::new(), lost: None };
        let mut checker = Checker::default();
        assert!(checker.replied(&job).is_err(), "shown before it was on disk");
        checker.synced(&Entry::Job(job.clone())).unwrap();
        checker.synced(&Entry::Target(target)).unwrap();
        checker.replied(&job).unwrap();
        checker
    }

    fn start(at: u64, attempt: u32, boot: u64) -> Start {
        Start { at, attempt, boot }
    }

    fn finish(checker: &Checker) -> Result<(), String> {
        checker.finish(&BTreeSet::new(), &BTreeSet::new())
    }

    #[test]
    fn a_good_history_is_good() {
        let mut checker = checker();
        checker.started(JOB, &minion(), start(2, 1, 1)).unwrap();
        checker.synced(&end(Terminal::Ok)).unwrap();
        checker.synced(&end(Terminal::Ok)).unwrap();
        checker.acknowledged(JOB, &minion()).unwrap();
        finish(&checker).unwrap();
    }

    #[test]
    fn a_second_terminal_record_is_found() {
        let mut checker = checker();
        checker.synced(&end(Terminal::Failed)).unwrap();
        let complaint = checker.synced(&end(Terminal::Expired)).unwrap_err();
        assert!(complaint.starts_with("a terminal record changed"), "{complaint}");
    }

    #[test]
    fn a_job_without_an_end_and_one_that_was_lost_are_found() {
        let open = checker();
        assert!(finish(&open).unwrap_err().contains("has no end"));
        let mut lost = checker();
        lost.synced(&end(Terminal::Failed)).unwrap();
        lost.submitted.insert(JobId(9));
        assert!(finish(&lost).unwrap_err().contains("was lost"));
    }

    #[test]
    fn an_acknowledgement_before_the_end_is_on_disk_is_found() {
        assert!(checker().acknowledged(JOB, &minion()).is_err());
    }

    #[test]
    fn runs_that_may_not_be_are_found() {
        for (starts, wanted) in [
            (vec![start(2, 1, 1), start(3, 2, 2)], "a command ran twice"),
            (vec![start(60_000 + LAG_MS + 1, 1, 1)], "began after its expiry"),
        ] {
            let mut checker = checker();
            let complaint = starts.into_iter().find_map(|it| checker.started(JOB, &minion(), it).err());
            assert!(complaint.as_ref().is_some_and(|it| it.contains(wanted)), "{complaint:?}");
        }
        assert!(
            checker().started(JobId(9), &minion(), start(2, 1, 1)).unwrap_err().contains("not on the master")
        );
    }

    #[test]
    fn words_that_are_not_true_are_found() {
        let mut never = checker();
        never.synced(&end(Terminal::Changed)).unwrap();
        assert!(finish(&never).unwrap_err().contains("never ran"));
        let mut ran = checker();
        ran.started(JOB, &minion(), start(2, 1, 1)).unwrap();
        ran.synced(&end(Terminal::Unreachable)).unwrap();
        assert!(finish(&ran).unwrap_err().contains("ran and ended"));
    }
}
