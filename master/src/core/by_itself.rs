//! Jobs that minions begin by themselves, by the clock: the master hears of each by an event, puts it on record as if it
//! had been asked for, and takes its result as any other.

use super::{Effect, Entry, Master, jobs::OPEN_JOBS_MAX, launch::Submission, roster::cut};
use bus::message::scheduled_job;
use model::{Caller, JobId, JobKind, JobTarget, MinionId, Mode, TargetState, Timestamp, api, broken};
use serde::Deserialize;
use serde_json::{Map, Value};

/// How long its end may take to be told, in milliseconds: the minion may be cut off for long.
const EXPIRES_MS: u64 = 366 * 86_400_000;
/// States that one of them names, and characters of each.
const STATES_MAX: usize = 64;
const STATE_CHARS_MAX: usize = 128;

/// What the event says.
#[derive(Deserialize)]
struct Begun {
    job: JobId,
    slot_ms: Timestamp,
    mode: Mode,
    #[serde(default)]
    states: Vec<String>,
}

impl Master {
    /// A minion has begun something by itself. Its id must be the one that this minion, schedule and slot have.
    pub(crate) fn begun_by_minion(&mut self, minion: &MinionId, tag: &str, data: &Value) {
        let Some(name) = tag.strip_prefix("schedule/") else { return };
        if data.get("job").is_none() {
            return;
        }
        let Ok(begun) = Begun::deserialize(data) else {
            return self.count("schedule of a minion that cannot be read");
        };
        let own = begun.job == scheduled_job(minion, name, begun.slot_ms);
        if !own && !broken::leaves_out("schedule-own-job") {
            return self.count("schedule of a minion with a job that is not its own");
        }
        if self.book.knows_job(begun.job) {
            return;
        }
        if self.book.open.len() >= OPEN_JOBS_MAX {
            return self.count("schedule of a minion while too many jobs are open");
        }
        let states: Vec<String> =
            begun.states.iter().take(STATES_MAX).map(|it| cut(it, STATE_CHARS_MAX)).collect();
        let kind =
            JobKind::Apply { states, mode: begun.mode, pillar: Map::new(), env: None, confirm_ms: None };
        let job = self.accept(Submission {
            id: begun.job,
            target: minion.to_string(),
            minions: vec![minion.clone()],
            kind,
            expires_ms: EXPIRES_MS,
            wait: true,
            caller: Caller::new(format!("schedule:{minion}/{name}"), "minion", ""),
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
