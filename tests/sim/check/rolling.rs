//! Runs in waves as they get to the disk: who may be at it when a wave begins, what stops a run, what is put back.

use super::Checker;
use model::{
    Gate, Job, JobId, JobKind, MinionId, OnStop, Phase, Roll, Rolling, TargetState, Terminal, Timestamp,
};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeSet;

/// Whom the master had heard of when it decided something.
#[derive(Clone, Debug, Default)]
pub(crate) struct Contact {
    /// Within the last minute.
    pub(crate) lately: BTreeSet<MinionId>,
    /// They are connected and were welcomed.
    pub(crate) here: BTreeSet<MinionId>,
}

/// Whether an end counts as a failure: as `docs/how-to/roll-out.md` says.
fn is_failure(word: Terminal, waits: bool) -> bool {
    match word {
        Terminal::Failed | Terminal::Interrupted | Terminal::Refused => true,
        Terminal::Expired => !waits,
        _ => false,
    }
}

/// Machines of a wave.
fn of_wave<'a>(job: &'a Job, rolling: &Rolling, wave: usize) -> &'a [MinionId] {
    let sizes = rolling.waves(job.minions.len());
    let first: usize = sizes[..wave].iter().sum();
    &job.minions[first..first + sizes.get(wave).copied().unwrap_or(0)]
}

impl Checker {
    /// How far a run has gone is on disk, or that nobody needs to know any more.
    pub(super) fn took_roll(
        &mut self,
        key: &str,
        data: Option<&Value>,
        contact: &Contact,
    ) -> Result<(), String> {
        let id: JobId = key.parse().map_err(|_| format!("a run in waves of no job: {key}"))?;
        let Some(data) = data else {
            self.view.rolls.remove(&id);
            return Ok(());
        };
        let roll = Roll::deserialize(data).map_err(|it| it.to_string())?;
        let before = self.view.rolls.insert(id, roll.clone()).unwrap_or_default();
        self.waves += roll.begun.len().saturating_sub(before.begun.len()) as u64;
        let job =
            self.view.jobs.get(&id).ok_or_else(|| format!("job {id} goes in waves and is not on disk"))?;
        let rolling = job.rolling.as_deref().ok_or_else(|| format!("job {id} was not to go in waves"))?;
        match roll.begun.len().checked_sub(before.begun.len()) {
            Some(0) => {}
            Some(1) => self
                .may_begin(job, rolling, &before, contact)
                .map_err(|it| format!("wave {} of job {id} began {it}", roll.begun.len()))?,
            _ => return Err(format!("job {id} went from wave {before:?} to {roll:?}")),
        }
        match roll.undo {
            Some(undo) if before.undo.is_none() => self.may_undo(job, undo, contact),
            None if roll.phase == Phase::Over && before.phase != Phase::Over => {
                self.may_leave(job, rolling, &roll)
            }
            _ => Ok(()),
        }
    }

    /// Whether the next wave may begin now; if not, what is wrong about it.
    fn may_begin(
        &self,
        job: &Job,
        rolling: &Rolling,
        before: &Roll,
        contact: &Contact,
    ) -> Result<(), String> {
        let wave = before.begun.len();
        if let Some(reason) = &before.stopped {
            return Err(format!("although the run had stopped: {reason}"));
        }
        let (mut bad, mut canary_bad) = (0, false);
        for (number, minion) in
            (0..wave).flat_map(|it| of_wave(job, rolling, it).iter().map(move |id| (it, id)))
        {
            let failed = match self.view.ended.get(&(job.id, minion.clone())).map(|it| &it.state) {
                Some(TargetState::Ended { word, .. }) => is_failure(*word, job.wait),
                _ if job.wait && !contact.here.contains(minion) => false,
                _ if contact.lately.contains(minion) => {
                    return Err(format!("while {minion} was at its part"));
                }
                _ => true,
            };
            bad += usize::from(failed);
            canary_bad |= failed && number == 0 && rolling.canary.is_some();
        }
        if wave > 0 && (canary_bad || bad >= rolling.max_fail.of(job.minions.len())) {
            return Err(format!("although {bad} machines had failed, and the limit is {}", rolling.max_fail));
        }
        let waited = matches!(before.phase, Phase::Waiting { .. });
        if wave > 0 && (rolling.gate.is_some() || rolling.batch_wait_ms > 0) && !waited {
            return Err(format!("at once, and it was to wait: {:?}", before.phase));
        }
        match &rolling.gate {
            Some(gate) if wave > 0 => self.was_checked(job, rolling, gate, before),
            _ => Ok(()),
        }
    }

    /// Whether the gate's command ended well on all machines of the newest wave that had.
    fn was_checked(&self, job: &Job, rolling: &Rolling, gate: &Gate, before: &Roll) -> Result<(), String> {
        let since = before.begun.last().copied().unwrap_or(Timestamp(0));
        let well = |id: &MinionId, of: JobId| {
            let end = self.view.ended.get(&(of, id.clone())).map(|it| &it.state);
            matches!(end, Some(TargetState::Ended { word: Terminal::Ok | Terminal::Changed, .. }))
        };
        let wave = of_wave(job, rolling, before.begun.len() - 1);
        let members: BTreeSet<&MinionId> = wave.iter().filter(|it| well(it, job.id)).collect();
        // Who was away and has its part later is not looked at.
        if gate.check.is_empty() || members.is_empty() || job.wait {
            return Ok(());
        }
        let is_check = |it: &&Job| {
            let command = matches!(&it.kind, JobKind::Run { command, .. } if *command == gate.check);
            command && it.at >= since && members.iter().all(|id| it.minions.contains(id) && well(id, it.id))
        };
        match self.view.jobs.values().find(is_check) {
            Some(_) => Ok(()),
            None => Err(format!("without the check of its gate on {members:?}")),
        }
    }

    /// What a run that stopped has changed is put back, on those machines and when nobody is at it.
    fn may_undo(&self, job: &Job, undo: JobId, contact: &Contact) -> Result<(), String> {
        let place = format!("job {undo} puts back what job {} changed", job.id);
        let undo = self.view.jobs.get(&undo).ok_or_else(|| format!("{place}, and is not on disk"))?;
        let changed: BTreeSet<&MinionId> = self.changed_by(job).collect();
        if undo.minions.iter().collect::<BTreeSet<_>>() != changed {
            return Err(format!("{place} on {:?}, and it changed {changed:?}", undo.minions));
        }
        let at_it = |id: &&MinionId| {
            !self.view.ended.contains_key(&(job.id, (*id).clone()))
                && contact.lately.contains(*id)
                && !job.wait
        };
        match job.minions.iter().find(at_it) {
            Some(id) => Err(format!("{place} while {id} was at it")),
            None => Ok(()),
        }
    }

    /// A run is over, and nothing was put back.
    fn may_leave(&self, job: &Job, rolling: &Rolling, roll: &Roll) -> Result<(), String> {
        let told = roll.stopped.as_ref().is_none_or(|it| it.contains("it is not undone"));
        if rolling.on_stop == OnStop::Stop || told || job.cancelled.is_some() {
            return Ok(());
        }
        match self.changed_by(job).next() {
            Some(id) => Err(format!("job {} stopped, and what it changed on {id} stays", job.id)),
            None => Ok(()),
        }
    }

    fn changed_by<'a>(&'a self, job: &'a Job) -> impl Iterator<Item = &'a MinionId> {
        job.minions.iter().filter(|id| {
            let end = self.view.ended.get(&(job.id, (*id).clone())).map(|it| &it.state);
            matches!(end, Some(TargetState::Ended { word, tally, .. })
                if tally.changed > 0 || *word == Terminal::Changed)
        })
    }

    /// When the wave of a machine began, if it goes in waves and that is known.
    pub(super) fn wave_began(&self, job: &Job, minion: &MinionId) -> Option<Timestamp> {
        let rolling = job.rolling.as_deref()?;
        let roll = self.view.rolls.get(&job.id).or(job.roll.as_deref());
        let waves = rolling.waves(job.minions.len()).len();
        let wave = (0..waves).find(|it| of_wave(job, rolling, *it).contains(minion))?;
        Some(roll.and_then(|it| it.begun.get(wave)).copied().unwrap_or(Timestamp(u64::MAX / 2)))
    }

    /// A machine begins its part only when it is its turn.
    pub(super) fn has_its_turn(&self, job: &Job, minion: &MinionId) -> bool {
        let Some(rolling) = &job.rolling else { return true };
        let Some(roll) = self.view.rolls.get(&job.id) else { return self.restored || job.ended.is_some() };
        self.restored || (0..roll.begun.len()).any(|it| of_wave(job, rolling, it).contains(minion))
    }

    /// A run that has not come to its end.
    pub(crate) fn unfinished_roll(&self) -> Option<String> {
        let rolled = self.view.jobs.values().filter(|it| it.rolling.is_some());
        let mut open = rolled.filter(|it| it.ended.is_none());
        let unfinished = |it: &Job| self.view.rolls.get(&it.id).is_none_or(|it| it.phase != Phase::Over);
        let job = open.find(|it| unfinished(it))?;
        Some(format!("job {} goes on for ever: {:?}", job.id, self.view.rolls.get(&job.id)))
    }
}
