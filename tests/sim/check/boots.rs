//! Boots: those that runs want, and those that a rule configures: one attempt at a time, none after one that went well, at least one for each.

use super::Checker;
use minion::core as nc;
use model::{Job, JobId, MinionId, TargetState, Terminal};
use std::collections::{BTreeMap, BTreeSet};

/// Boots as the master's disk has them.
#[derive(Clone, Default)]
pub(crate) struct Boots {
    now: BTreeMap<MinionId, String>,
    jobs: BTreeMap<(MinionId, String), Vec<JobId>>,
    seen: BTreeSet<JobId>,
}

impl Boots {
    pub(crate) fn took(&mut self, minion: &model::Minion) {
        if let Some(boot) = &minion.boot {
            self.now.insert(minion.id.clone(), boot.clone());
        }
    }

    /// It is nobody any more; whoever has its name next begins anew.
    pub(crate) fn gone(&mut self, id: &MinionId) {
        self.now.remove(id);
        self.jobs.retain(|key, _| key.0 != *id);
    }
}

impl Checker {
    /// A rule configures a boot.
    pub(super) fn configures(&mut self, job: &Job) -> Result<(), String> {
        if job.caller.name != "rule:configure" {
            return Ok(());
        }
        let Some(id) = job.minions.first() else { return Ok(()) };
        if !self.view.boots.seen.insert(job.id) {
            return Ok(());
        }
        let Some(boot) = self.view.boots.now.get(id).cloned() else {
            return Err(format!("job {} configures {id}, which has not booted", job.id));
        };
        let key = (id.clone(), boot);
        let before = self.view.boots.jobs.entry(key.clone()).or_default();
        let earlier = before.clone();
        before.push(job.id);
        for it in earlier {
            let end = self.view.ended.get(&(it, id.clone())).map(|it| &it.state);
            let bad = matches!(end, Some(TargetState::Ended { word, .. })
                if !matches!(word, Terminal::Ok | Terminal::Changed));
            if !bad && !self.restored && !self.copied.contains(id) {
                return Err(format!(
                    "{} of {id} is configured by job {} again, after job {it}",
                    key.1, job.id
                ));
            }
        }
        Ok(())
    }

    /// A machine is to boot anew.
    pub(crate) fn reboots(&self, job: JobId, minion: &MinionId) -> Result<(), String> {
        if self.to_boot.get(minion) != Some(&job) {
            return Err(format!("{minion} boots anew for job {job}, and why is not on its disk"));
        }
        match self.boots_of.get(&(job, minion.clone())) {
            Some(times) if *times >= nc::REBOOTS_MAX => {
                Err(format!("{minion} boots anew too often for job {job}"))
            }
            _ => Ok(()),
        }
    }

    /// It did.
    pub(crate) fn booted(&mut self, minion: &MinionId) {
        if let Some(job) = self.to_boot.get(minion) {
            *self.boots_of.entry((*job, minion.clone())).or_default() += 1;
        }
    }

    /// The process begins with what is on its disk: more than was seen to get there, if it died in the middle of a write.
    pub(crate) fn read_again(&mut self, minion: &MinionId, life: u32, entries: &[nc::Entry]) {
        self.to_boot.remove(minion);
        self.resumed.retain(|it, _| it.1 != *minion);
        for entry in entries {
            self.saw_on_disk(minion, entry);
        }
        self.own.read_again(minion, life, entries);
    }

    /// How far a run with steps that boot the machine is.
    pub(super) fn saw_on_disk(&mut self, minion: &MinionId, entry: &nc::Entry) {
        match entry {
            nc::Entry::Rebooting { job, .. } => drop(self.to_boot.insert(minion.clone(), *job)),
            nc::Entry::Resumed { job, resume, .. } => {
                self.to_boot.remove(minion);
                self.resumed.insert((*job, minion.clone()), resume.step);
            }
            _ => {}
        }
    }
}
