//! Puts accepted jobs on record, and sends each machine its part when its turn has come.

use super::{
    Entry, Master,
    by_itself::is_own,
    entry::Part,
    jobs::{End, JOBS_PER_MINION_MAX},
    publish::gist,
    timers::Timer,
};
use model::{
    Caller, Job, JobId, JobKind, JobTarget, MinionId, Presence, Rolling, TargetState, Terminal, Timestamp,
};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// A job that was checked and expanded.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) id: JobId,
    pub(crate) target: String,
    pub(crate) minions: Vec<MinionId>,
    pub(crate) kind: JobKind,
    pub(crate) expires_ms: u64,
    pub(crate) wait: bool,
    pub(crate) caller: Caller,
    pub(crate) hops: u32,
    pub(crate) retry_of: Option<JobId>,
    pub(crate) rolling: Option<Box<Rolling>>,
}

fn new_target(job: &Job, minion: &MinionId) -> JobTarget {
    let state = TargetState::Accepted;
    JobTarget { job: job.id, minion: minion.clone(), state, diagnostics: Vec::new(), lost: None, turn: None }
}

impl Master {
    /// Puts a job on record. Nothing is sent yet: [`Master::launch`] follows, after the reply.
    pub(crate) fn accept(&mut self, it: Submission) -> Job {
        let minions = match &it.rolling {
            Some(rolling) => self.in_order(rolling, it.id, it.minions),
            None => it.minions,
        };
        let job = Job {
            id: it.id,
            revision: if matches!(it.kind, JobKind::Apply { .. }) { self.revision } else { None },
            kind: it.kind,
            target: it.target,
            minions,
            caller: it.caller,
            at: self.now,
            expires: self.now.plus_ms(it.expires_ms),
            wait: it.wait,
            retry_of: it.retry_of,
            ended: None,
            cancelled: None,
            hops: it.hops,
            rolling: it.rolling,
            roll: None,
        };
        self.record(Entry::Job(job.clone()));
        for minion in &job.minions {
            let target = new_target(&job, minion);
            self.record(Entry::Target(target));
        }
        if job.rolling.is_some() {
            self.rolls.look_at(job.id);
        } else if !is_own(&job) {
            self.wake_at(job.expires, Timer::Expire(job.id));
        }
        job
    }

    /// Machines in the order of their turns.
    fn in_order(&self, rolling: &Rolling, job: JobId, minions: Vec<MinionId>) -> Vec<MinionId> {
        let last = |id: &MinionId| -> Option<Timestamp> {
            self.book.minions.get(id)?.last_apply.as_ref().map(|it| it.at)
        };
        let known = minions.into_iter().map(|id| (id.clone(), last(&id))).collect();
        lang::rolling::in_order(rolling, job.0, known)
    }

    /// Sends an accepted job on its way; one in waves goes on by itself from here.
    pub(crate) fn launch(&mut self, job: &Job) {
        self.publish_job(job, "accepted", &BTreeMap::new());
        let data = json!({
            "job": job.id, "what": gist(&job.kind), "caller": job.caller.name, "minions": job.minions.len(),
            "target": super::roster::cut(&job.target, 256),
        });
        self.emit_of_job("job/accepted", data, job);
        if job.rolling.is_none() {
            for minion in &job.minions {
                self.send_off(job, minion);
            }
        }
    }

    /// One machine's turn: ends what cannot be, compiles for it otherwise.
    pub(crate) fn send_off(&mut self, job: &Job, minion: &MinionId) {
        let open = self.book.open_of.get(minion).map_or(0, BTreeSet::len);
        if !self.is_reachable(minion) && !job.wait {
            let reason = match self.live.get(minion) {
                Some(live) if live.presence == Presence::Down => "it said goodbye",
                _ => "contact was lost before the job came",
            };
            self.end_target(job.id, minion, End::of(Terminal::Unreachable, reason));
        } else if open > JOBS_PER_MINION_MAX {
            let reason = format!("{JOBS_PER_MINION_MAX} jobs for it have not ended");
            self.end_target(job.id, minion, End::of(Terminal::Refused, reason));
        } else {
            self.forward(job.id, minion);
        }
    }

    /// Forgets how far a run in waves has gone: it stands in its end.
    pub(crate) fn forget_roll(&mut self, job: JobId) {
        self.keep(Part::Rolling, &job.to_string(), None);
        self.rolls.forget(job);
    }
}
