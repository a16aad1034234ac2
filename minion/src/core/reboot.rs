//! Steps that boot the machine anew: on record before it happens, and the run goes on behind them.

use super::{Effect, Entry, Minion, Resume, RunEnd, memory::Held};
use bus::message::FromMinion;
use model::{JobId, Timestamp, broken};

/// How often the machine is booted anew for one job.
pub const REBOOTS_MAX: u32 = 3;
/// A machine that has not booted anew by then will not.
pub const REBOOT_LIMIT_MS: u64 = 600_000;

impl Minion {
    /// A run has come to a step that boots the machine anew.
    pub(super) fn on_reboot(
        &mut self,
        now: Timestamp,
        job: JobId,
        step: u32,
        message: String,
        effects: &mut Vec<Effect>,
    ) {
        if self.cancelling.is_some() {
            return self.go_on(job, step, Some("the job was cancelled".to_owned()), effects);
        }
        if self.memory.course.reboots >= REBOOTS_MAX {
            let reason = format!("the machine was booted anew {REBOOTS_MAX} times for this job already");
            return self.go_on(job, step, Some(reason), effects);
        }
        let boot = self.settings.boot.clone();
        let entry = Entry::Rebooting { job, step, boot, at: now, message: message.clone() };
        if broken::leaves_out("reboot-on-record") {
            effects.push(Effect::Reboot { job, message: message.clone() });
        }
        self.record(entry, effects);
        self.say(now, FromMinion::Goodbye { reason: "reboot".to_owned() }, effects);
        effects.push(Effect::Reboot { job, message });
    }

    /// A step that is past wants no reboot: that is the word of the worker before it, and none was begun behind it.
    pub(super) fn unless_past(&self, end: RunEnd) -> RunEnd {
        match (&end, &self.memory.course.resume) {
            (RunEnd::Reboot { step, .. }, Some(past)) if *step == past.step => {
                RunEnd::Lost { reason: "the minion was ended before the run went on".to_owned() }
            }
            _ => end,
        }
    }

    /// The process begins, and a reboot is on record: it has happened, it is still to happen, or it never will.
    pub(super) fn take_up_reboot(&mut self, now: Timestamp, job: JobId, effects: &mut Vec<Effect>) {
        let Some(it) = self.memory.course.rebooting.clone() else { return };
        if it.boot != self.settings.boot {
            return self.go_on(job, it.step, None, effects);
        }
        if now.since_ms(it.at) < REBOOT_LIMIT_MS {
            return effects.push(Effect::Reboot { job, message: it.message });
        }
        self.look_at_reboot(now, effects);
    }

    pub(super) fn reboot_until(&self) -> Option<Timestamp> {
        self.memory.course.rebooting.as_ref().map(|it| it.at.plus_ms(REBOOT_LIMIT_MS))
    }

    /// Gives up a reboot that does not come.
    pub(super) fn look_at_reboot(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if let (Some(until), Some(job)) = (self.reboot_until(), self.memory.running)
            && now >= until
        {
            let minutes = REBOOT_LIMIT_MS / 60_000;
            let reason = format!(
                "the machine did not boot anew within {minutes} minutes; is something holding it up?"
            );
            self.on_reboot_failed(job, reason, effects);
        }
    }

    pub(super) fn on_reboot_failed(&mut self, job: JobId, reason: String, effects: &mut Vec<Effect>) {
        if let Some(it) = self.memory.course.rebooting.clone().filter(|_| self.memory.running == Some(job)) {
            // The master was told goodbye.
            effects.push(Effect::Reconnect);
            self.go_on(job, it.step, Some(reason), effects);
        }
    }

    /// The run goes on behind the step.
    fn go_on(&mut self, job: JobId, step: u32, failed: Option<String>, effects: &mut Vec<Effect>) {
        let Some(Held::Running { attempt, .. }) = self.memory.jobs.get(&job) else { return };
        let (attempt, resume) = (attempt + 1, Resume { step, failed });
        self.record(Entry::Resumed { job, attempt, resume }, effects);
        effects.extend(self.begin_effect(job));
    }
}
