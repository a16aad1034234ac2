//! Jobs that minions begin by themselves, by the clock: the master hears of each by an event, puts it on record as if it
//! had been asked for, and takes its result as any other. The result says what it was, too: who lost the event, or was
//! at too much already, has the job on record with its end.

use super::{Effect, Entry, Master, launch::Submission, roster::cut};
use bus::message::{Begun, JobResult, scheduled_job};
use model::{Caller, Job, JobId, JobKind, JobTarget, MinionId, Mode, TargetState, Timestamp, api, broken};
use serde::Deserialize;
use serde_json::{Map, Value};

/// How long its end may take to be told, in milliseconds: the minion may be cut off for long. Slots before that are of
/// no minion that is in order.
const EXPIRES_MS: u64 = 366 * 86_400_000;
/// A slot may be later than now by so much: a minion goes by its own clock until it has heard the master's.
const AHEAD_MS: u64 = 86_400_000;
/// Jobs of one minion's own that are open at the master. Of what is more, it hears with the result.
pub(crate) const OWN_JOBS_MAX: usize = 8;
/// States that one of them names, and characters of each.
const STATES_MAX: usize = 64;
const STATE_CHARS_MAX: usize = 128;
/// By what way they come.
const VIA: &str = "minion";

/// What the event says; its tag says of which schedule.
#[derive(Deserialize)]
struct Told {
    job: JobId,
    slot_ms: Timestamp,
    mode: Mode,
    #[serde(default)]
    states: Vec<String>,
}

/// Whether a minion began it by itself.
pub(crate) fn is_own(job: &Job) -> bool {
    job.caller.via == VIA && job.caller.name.starts_with("schedule:")
}

impl Master {
    /// A minion has begun something by itself. Its id must be the one that this minion, schedule and slot have.
    pub(crate) fn begun_by_minion(&mut self, minion: &MinionId, tag: &str, data: &Value) {
        let Some(name) = tag.strip_prefix("schedule/") else { return };
        if data.get("job").is_none() {
            return;
        }
        let Ok(Told { job, slot_ms, mode, states }) = Told::deserialize(data) else {
            return self.count("schedule of a minion that cannot be read");
        };
        let begun = Begun { schedule: name.to_owned(), slot_ms, mode, states };
        if !self.is_believed(minion, job, &begun) || self.book.knows_job(job) {
            return;
        }
        let own = |it: &JobId| self.book.open.get(it).is_some_and(|it| is_own(&it.job));
        if self.book.jobs_of(minion).iter().filter(|it| own(it)).count() >= OWN_JOBS_MAX {
            return self.count("schedule of a minion while too many of its jobs are open");
        }
        self.put_on_record(minion, job, &begun);
    }

    /// A result of a job that is not known: of one that the minion began by itself, it says what that was. Whether the job
    /// is on record now.
    pub(crate) fn told_by_result(&mut self, minion: &MinionId, result: &JobResult) -> bool {
        let Some(begun) = &result.begun else { return false };
        if !super::reactor::is_tag(&format!("schedule/{}", begun.schedule))
            || !self.is_believed(minion, result.job, begun)
        {
            return false;
        }
        self.put_on_record(minion, result.job, begun);
        true
    }

    fn is_believed(&mut self, minion: &MinionId, job: JobId, begun: &Begun) -> bool {
        let own = job == scheduled_job(minion, &begun.schedule, begun.slot_ms);
        if !own && !broken::leaves_out("schedule-own-job") {
            self.count("schedule of a minion with a job that is not its own");
            return false;
        }
        let ahead = self.is_clock_set() && begun.slot_ms > self.now.plus_ms(AHEAD_MS);
        if ahead || self.now.since_ms(begun.slot_ms) > EXPIRES_MS {
            self.count("schedule of a minion with a slot of another time");
            return false;
        }
        true
    }

    fn put_on_record(&mut self, minion: &MinionId, job: JobId, begun: &Begun) {
        let states: Vec<String> =
            begun.states.iter().take(STATES_MAX).map(|it| cut(it, STATE_CHARS_MAX)).collect();
        let kind =
            JobKind::Apply { states, mode: begun.mode, pillar: Map::new(), env: None, confirm_ms: None };
        let job = self.accept(Submission {
            id: job,
            target: minion.to_string(),
            minions: vec![minion.clone()],
            kind,
            expires_ms: EXPIRES_MS,
            wait: true,
            caller: Caller::new(format!("schedule:{minion}/{}", begun.schedule), VIA, ""),
            hops: 0,
            retry_of: None,
            rolling: None,
        });
        let state = TargetState::Received { at: self.now };
        let (job, minion) = (job.id, minion.clone());
        let target =
            JobTarget { job, minion: minion.clone(), state, diagnostics: Vec::new(), lost: None, turn: None };
        self.record(Entry::Target(target));
        self.show_target(job, &minion);
        if let Some(view) = self.job_view(job) {
            let line = api::JobLine::Snapshot(Box::new(view));
            self.out.push(Effect::JobLine { job, line: Box::new(line) });
        }
    }
}

#[cfg(test)]
mod tests;
