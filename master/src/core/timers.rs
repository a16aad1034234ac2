//! What the master does when time passes: one ordered set of deadlines, no scans.

use super::{Effect, Entry, Master};
use model::{JobId, MinionId, Timestamp};

/// Between two stored times, and two clean-ups.
pub(crate) const CLOCK_MS: u64 = 600_000;
/// Between two retained states of the master.
pub(crate) const MASTER_STATE_MS: u64 = 30_000;
/// Between two regular deletions of what is too old.
const GC_MS: u64 = 6 * 3_600_000;
/// Deadlines that are dealt with in one step.
const TIMERS_PER_STEP_MAX: usize = 10_000;

/// Something to do at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// Look whether a minion has fallen silent.
    Presence(MinionId),
    /// Offers of a job are no longer good.
    Expire(JobId),
    /// A machine that its run rebooted should be back.
    Reboot(JobId, MinionId),
    /// A probe's limit.
    Probe(u64),
    /// The limit of a round of questions.
    Questions(u64),
    /// Look whether an ephemeral machine has been away for too long.
    Retire(MinionId),
    /// A boot that is still to be configured by a rule.
    Due(MinionId, String),
    /// Look how far a run in waves has come.
    Roll(JobId),
    /// A machine has been left alone for as long as it was to be; before what rules held back until then.
    Maintenance(MinionId),
    /// A deadline of a rule, or events that wait for their reaction.
    Rules,
    /// The limit of a reaction's wait.
    Reaction(String),
    /// A call may go out.
    Outgoing,
    /// Store the time.
    Clock,
    /// Delete what is too old.
    Gc,
    /// Publish the master's state.
    MasterState,
}

impl Master {
    /// Sets a deadline.
    pub(crate) fn wake_at(&mut self, at: Timestamp, timer: Timer) {
        self.timers.insert((at, timer));
    }

    /// Does everything that is due.
    pub(crate) fn run_timers(&mut self) {
        for _ in 0..TIMERS_PER_STEP_MAX {
            match self.timers.first() {
                Some((at, _)) if *at <= self.now => {}
                _ => return,
            }
            let Some((_, timer)) = self.timers.pop_first() else { return };
            self.run_timer(timer);
        }
    }

    fn run_timer(&mut self, timer: Timer) {
        match timer {
            Timer::Presence(minion) => self.check_presence(&minion),
            Timer::Expire(job) => self.expire(job),
            Timer::Reboot(job, minion) => {
                self.show_target(job, &minion);
                self.rolls.look_at(job);
            }
            Timer::Roll(job) => self.rolls.look_at(job),
            Timer::Probe(probe) => self.end_probe(probe),
            Timer::Questions(round) => self.end_round(round),
            Timer::Retire(minion) => self.check_absence(&minion),
            Timer::Due(minion, rule) => self.due_again(&minion, &rule),
            Timer::Rules => self.wake_rules(),
            Timer::Maintenance(minion) => self.check_maintenance(&minion),
            Timer::Reaction(id) => self.reaction_timer(&id),
            Timer::Outgoing => self.look_at_outbox(),
            Timer::Clock => {
                self.later(Entry::Clock(self.now));
                let before = Timestamp(self.now.0.saturating_sub(self.settings.keep_ms));
                self.book.forget_before(before);
                self.wake_at(self.now.plus_ms(CLOCK_MS), Timer::Clock);
            }
            Timer::Gc => {
                self.out.push(Effect::Gc { ticket: None, keep_ms: None });
                self.wake_at(self.now.plus_ms(GC_MS), Timer::Gc);
            }
            Timer::MasterState => {
                self.publish_master();
                self.wake_at(self.now.plus_ms(MASTER_STATE_MS), Timer::MasterState);
            }
        }
    }
}
