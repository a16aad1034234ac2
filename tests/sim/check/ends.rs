//! Whether all has come to its end, and whether the words of the ends are true.

use super::Checker;
use lang::rules::Rules;
use model::{Job, JobId, JobTarget, MinionId, TargetState, Terminal};
use std::collections::{BTreeMap, BTreeSet};

impl Checker {
    /// When the offer of a job to a minion expires.
    pub(super) fn expiry(&self, job: &Job, minion: &MinionId) -> u64 {
        let good_ms = job.expires.since_ms(job.at);
        self.wave_began(job, minion).map_or(job.expires, |it| it.plus_ms(good_ms)).0
    }

    /// Runs that minions began by themselves and that have no end on the master's disk.
    fn own_open(&self, dead: &BTreeSet<MinionId>) -> Option<&JobId> {
        // A master that was in 1970 believes no slot of then.
        let jobs = self.own.jobs.iter().filter(|_| !self.restored && !self.idle.odd_clock);
        let mut ours =
            jobs.filter(|(_, (id, life, _))| !dead.contains(id) && !self.gone.contains(&(id.clone(), *life)));
        ours.find(|(job, (id, ..))| !self.view.ended.contains_key(&(**job, id.clone()))).map(|it| it.0)
    }

    /// Nothing is left that could still come to an end.
    pub(crate) fn has_settled(&self, dead: &BTreeSet<MinionId>) -> bool {
        self.unfinished_roll().is_none()
            && !self.view.calls.waits()
            && !self.view.memory.waits()
            && self.own_open(dead).is_none()
    }

    /// At the end, when all is well again. `now` is the master's time.
    pub(crate) fn finish_more(
        &self,
        dead: &BTreeSet<MinionId>,
        rules: &Rules,
        now: u64,
    ) -> Result<(), String> {
        if let Some(job) = self.own_open(dead) {
            return Err(format!("job {job}, which a minion began by itself, has no end"));
        }
        if let Some(it) = self.unfinished_roll().or_else(|| self.view.memory.overdue(now)) {
            return Err(it);
        }
        self.services.finish(&self.view.calls)?;
        self.view.slots.finish(rules, &self.idle, now)
    }

    /// Events that did not arrive, beyond what minions said they dropped; none are expected after a restore.
    pub(crate) fn missing_events(&self, dead: &BTreeSet<MinionId>) -> Option<String> {
        let mut missing: BTreeMap<&MinionId, Vec<u64>> = BTreeMap::new();
        for event in &self.made {
            let excused = dead.contains(&event.0) || self.gone.contains(&(event.0.clone(), event.1));
            if !excused && !self.restored && !self.view.events.contains(event) {
                missing.entry(&event.0).or_default().push(event.2);
            }
        }
        let said = |id: &MinionId| self.view.gaps.get(id).copied().unwrap_or_default();
        let lost = missing.iter().find(|(id, numbers)| numbers.len() as u64 > said(id));
        lost.map(|(id, numbers)| format!("events {numbers:?} of {id} were lost"))
    }

    /// At the end, when all is well again: everything has ended, and the words are true. `dead` never came back.
    pub(crate) fn finish(&self, dead: &BTreeSet<MinionId>) -> Result<(), String> {
        for job in &self.submitted {
            if !self.view.jobs.contains_key(job) {
                return Err(format!("job {job} was lost"));
            }
        }
        for key in &self.view.targets {
            match self.view.ended.get(key) {
                Some(end) => self.judge(key, end)?,
                None if dead.contains(&key.1) => {}
                None => {
                    return Err(format!(
                        "job {} on {} has no end: {:?}",
                        key.0,
                        key.1,
                        self.view.jobs.get(&key.0)
                    ));
                }
            }
        }
        self.missing_events(dead).map_or(Ok(()), Err)
    }

    /// Whether the word of an end is what happened.
    fn judge(&self, key: &(JobId, MinionId), end: &JobTarget) -> Result<(), String> {
        let TargetState::Ended { word, reason, .. } = &end.state else { return Ok(()) };
        let place = format!("job {} on {} ended {word:?} ({reason})", key.0, key.1);
        if self.restored || self.copied.contains(&key.1) {
            return Ok(());
        }
        let renewed = self.gone.iter().any(|it| it.0 == key.1);
        if renewed && self.own.jobs.contains_key(&key.0) {
            // Whoever has the name now may have done it once more.
            return Ok(());
        }
        let ran = self.starts.contains_key(key);
        let never = matches!(
            word,
            Terminal::Unreachable | Terminal::Expired | Terminal::Superseded | Terminal::Refused
        );
        if never && ran {
            return Err(format!("{place} and ran"));
        }
        let told = matches!(word, Terminal::Ok | Terminal::Changed);
        if told && self.ledger.get(key) != Some(word) {
            return Err(format!("{place}, and its run says {:?}", self.ledger.get(key)));
        }
        if *word == Terminal::Interrupted && reason.contains("does not know it any more") {
            return Err(format!("{place}: the minion forgot it"));
        }
        if *word == Terminal::Interrupted && reason.contains("connection") {
            return Err(format!("{place}: lost contact is no end"));
        }
        Ok(())
    }
}
