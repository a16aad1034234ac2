//! What the minion does by the clock by itself, also while the master is away. A run of it is a job like any other: on
//! record before it begins, once, and its result waits for the master. That the job exists is told by an event before.

use super::{Effect, Entry, Minion, memory::Held};
use crate::schedule;
use bus::message::{Begun, Offer, scheduled_job};
use model::{JobId, MinionId, MinionSchedule, Mode, Times, Timestamp, broken};
use serde_json::{Value, json};

/// A clock before this (2026-01-01) was never set; the master's counts as soon as it was heard.
const PLAUSIBLE: Timestamp = Timestamp(1_767_225_600_000);
/// Expiry of what a minion does by itself.
pub const NEVER: Timestamp = Timestamp(u64::MAX);
/// Between two attempts to begin what cannot be taken now.
const AGAIN_MS: u64 = 60_000;
/// The master's clock may seem to be set back by so much, for it is heard late.
const AHEAD_MS: u64 = 60_000;
/// Schedules of one minion.
const SCHEDULES_MAX: usize = 64;
/// States that the result of a run names, and characters of each.
const STATES_MAX: usize = 64;
const STATE_CHARS_MAX: usize = 128;

/// A schedule, and where it is.
#[derive(Debug)]
pub(super) struct Own {
    id: MinionId,
    schedule: MinionSchedule,
    /// What its slots go by: of another one the slots before do not count.
    of: String,
    /// The shell is getting the recipe of this slot.
    asked: Option<Timestamp>,
    /// Not before.
    again: Timestamp,
}

impl Own {
    fn new(id: &MinionId, schedule: MinionSchedule) -> Self {
        let mut times = schedule.times.clone();
        if let Times::Cron(cron) = &mut times {
            // Governments change them: that makes no other schedule of it.
            cron.offsets.clear();
        }
        let of = serde_json::to_string(&times).unwrap_or_default();
        Self { id: id.clone(), schedule, of, asked: None, again: Timestamp(0) }
    }
}

/// Whether a job is one of the minion's own.
pub(super) fn is_own(offer: &Offer) -> bool {
    offer.expires == NEVER
}

impl Minion {
    /// These are its schedules from now on. What is no longer there is forgotten: when it comes back, because it was left
    /// out for a while or the machine was in maintenance, it counts from then on.
    pub(super) fn on_schedules(
        &mut self,
        id: &MinionId,
        list: Vec<MinionSchedule>,
        effects: &mut Vec<Effect>,
    ) {
        self.schedules = list.into_iter().take(SCHEDULES_MAX).map(|it| Own::new(id, it)).collect();
        let here = |name: &&String| self.schedules.iter().any(|it| it.schedule.name == **name);
        let gone: Vec<String> = self.memory.slots.keys().filter(|it| !here(it)).cloned().collect();
        for name in gone {
            self.record(Entry::Slot { name, of: String::new(), at: Timestamp(0) }, effects);
        }
    }

    /// The time that schedules go by: the master's once it was heard, else its own if that can be.
    fn wall(&self, now: Timestamp) -> Option<Timestamp> {
        self.master_now(now).or_else(|| (now >= PLAUSIBLE).then_some(now))
    }

    /// When schedules have to be looked at, by the clock of the inputs.
    pub(super) fn next_slot(&self) -> Option<Timestamp> {
        let ahead = self.link.clock.offset_ms().unwrap_or(0);
        let due = |own: &Own| {
            let (_, last) = self.memory.slots.get(&own.schedule.name)?;
            if own.asked.is_some() {
                return None;
            }
            let slot = schedule::next(&own.schedule.times, *last)?;
            Some(schedule::begins(&own.schedule, slot).max(own.again))
        };
        let first = self.schedules.iter().filter_map(due).min()?;
        Some(Timestamp(first.0.saturating_add_signed(-ahead)))
    }

    /// Asks for the recipe of each slot that has come.
    pub(super) fn look_at_schedules(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let Some(wall) = self.wall(now).filter(|_| !self.schedules.is_empty() && !self.stopping) else {
            return;
        };
        let sure = self.master_now(now).is_some();
        let mut fresh = Vec::new();
        let mut passed = Vec::new();
        for own in &mut self.schedules {
            let name = own.schedule.name.clone();
            // A clock that was ahead, of this machine alone, said that slots of the future had their turn.
            let of_now = |last: Timestamp| !sure || last.since_ms(wall) <= AHEAD_MS;
            let known = self.memory.slots.get(&name).filter(|it| it.0 == own.of && of_now(it.1));
            let Some((of, last)) = known else {
                fresh.push(Entry::Slot { name, of: own.of.clone(), at: wall });
                continue;
            };
            if own.asked.is_some() || own.again > wall {
                continue;
            }
            let turn = schedule::turn(&own.schedule, *last, wall);
            let Some(newest) = turn.passed else { continue };
            let job = turn.slot.map(|slot| scheduled_job(&own.id, &name, slot));
            match turn.slot.zip(job) {
                Some((slot, job)) => {
                    own.asked = Some(slot);
                    if broken::leaves_out("slot-with-its-job") {
                        passed.push(Entry::Slot { name: name.clone(), of: of.clone(), at: slot });
                    }
                    let late_ms = wall.since_ms(schedule::begins(&own.schedule, slot));
                    effects.push(Effect::Due { job, name, slot, late_ms, missed: turn.missed });
                }
                None => passed.push(Entry::Slot { name, of: of.clone(), at: newest }),
            }
        }
        for entry in fresh.into_iter().chain(passed) {
            self.record(entry, effects);
        }
    }

    /// The shell has the recipe of a slot, or says why there is none.
    pub(super) fn on_scheduled(&mut self, now: Timestamp, scheduled: Scheduled, effects: &mut Vec<Effect>) {
        let Scheduled { job, name, slot, late_ms, missed, states, offer } = scheduled;
        let wall = self.wall(now).unwrap_or(now);
        let Some(own) = self.schedules.iter_mut().find(|it| it.schedule.name == name) else { return };
        if own.asked.take() != Some(slot) {
            return;
        }
        let done = Entry::Slot { name: name.clone(), of: own.of.clone(), at: slot };
        let mut data = json!({"slot_ms": slot, "late_ms": late_ms, "missed": missed});
        if let Some(Held::Known { .. }) = self.memory.jobs.get(&job) {
            return self.record(done, effects);
        }
        if self.memory.jobs.contains_key(&job) {
            // The process ended in the middle: the job was kept, the event about it perhaps not.
            tell(&mut data, job, offer.map_or(Mode::Apply, |it| it.mode), &states);
            self.add_event(now, format!("schedule/{name}"), data, effects);
            return self.record(done, effects);
        }
        if self.is_at_work(&name) {
            return self.record(done, effects);
        }
        match offer {
            Err(reason) => data["failed"] = reason.into(),
            Ok(_) if self.refusal().is_some() => {
                if let Some(own) = self.schedules.iter_mut().find(|it| it.schedule.name == name) {
                    own.again = wall.plus_ms(AGAIN_MS);
                }
                return;
            }
            Ok(mut offer) => {
                offer.begun = Some(Box::new(begun(&name, slot, offer.mode, &states)));
                tell(&mut data, job, offer.mode, &states);
                // Nobody hears of a job that is not on disk.
                self.record(Entry::Received(offer), effects);
                self.add_event(now, format!("schedule/{name}"), data, effects);
                return self.record(done, effects);
            }
        }
        self.add_event(now, format!("schedule/{name}"), data, effects);
        self.record(done, effects);
    }

    /// Whether a run of this schedule has not ended: there is one at a time.
    fn is_at_work(&self, name: &str) -> bool {
        let of = what(name);
        let mine = |offer: &Offer| is_own(offer) && offer.what == of;
        self.memory.jobs.values().any(|it| match it {
            Held::Waiting(offer) | Held::Running { offer, .. } => mine(offer),
            Held::Ended(_) | Held::Known { .. } => false,
        })
    }

    /// The first job that may be begun without knowing the master's clock.
    pub(super) fn first_own(&self) -> Option<JobId> {
        self.memory.queue.iter().copied().find(|job| self.memory.waiting_offer(*job).is_some_and(is_own))
    }
}

/// As its result says it: the event that tells of it may be dropped before it is heard.
fn begun(name: &str, slot: Timestamp, mode: Mode, states: &[String]) -> Begun {
    let cut = |it: &String| it.chars().take(STATE_CHARS_MAX).collect();
    let states = states.iter().take(STATES_MAX).map(cut).collect();
    Begun { schedule: name.to_owned(), slot_ms: slot, mode, states }
}

/// Says of an event that it is about this job.
fn tell(data: &mut Value, job: JobId, mode: Mode, states: &[String]) {
    data["job"] = json!(job);
    data["mode"] = json!(mode);
    data["states"] = json!(states);
}

/// What a run of a schedule is called.
pub fn what(name: &str) -> String {
    format!("schedule {name}")
}

/// A slot with the recipe that the shell got for it.
#[derive(Clone, Debug)]
pub struct Scheduled {
    /// The job it is to be.
    pub job: JobId,
    /// Of which schedule.
    pub name: String,
    /// Which slot.
    pub slot: Timestamp,
    /// As in [`Effect::Due`].
    pub late_ms: u64,
    /// As in [`Effect::Due`].
    pub missed: u32,
    /// Names of the states; empty is what is assigned.
    pub states: Vec<String>,
    /// The job, or why there is none.
    pub offer: Result<Box<Offer>, String>,
}
