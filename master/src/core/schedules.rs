//! Schedules: rules whose events come by the clock. The last slot is kept with the event that it made, so that each slot
//! is run once whatever breaks, and what passed while nobody was there is made up for as the schedule says.

use super::{Entry, Master, Part, requests::not_found, roster::cut, target::refuse};
use lang::{
    rules::{ActionTemplate, Rules},
    schedule::Schedule,
};
use model::{
    Caller, Missed, Reply, ScheduleAct, Source, Timestamp,
    api::{ErrorKind, ErrorView, Pause, ScheduleView, SlotView},
    broken,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{collections::BTreeMap, sync::Arc};

/// A slot that is later than this was missed.
pub(crate) const LATE_MS: u64 = 60_000;
/// Slots that `missed: all` makes up for.
pub(crate) const MADE_UP_MAX: usize = 100;
/// Slots that are counted one by one; then it is looked for the newest.
const COUNTED_MAX: u32 = 1_000;
/// Slots of one answer.
const SLOTS_MAX: usize = 1_000;
/// Shortest and longest pause that ends by itself, in milliseconds.
const PAUSE_MS: std::ops::RangeInclusive<u64> = 1_000..=366 * 86_400_000;

/// When each schedule of the rules in use has to be looked at.
#[derive(Debug, Default)]
pub(crate) struct Schedules {
    next: BTreeMap<String, Timestamp>,
    /// There are other rules than before.
    renewed: bool,
}

impl Schedules {
    /// There are other rules.
    pub(crate) fn renew(&mut self) {
        self.renewed = true;
    }

    fn set(&mut self, name: &str, at: Option<Timestamp>) {
        match at {
            Some(at) => self.next.insert(name.to_owned(), at),
            None => self.next.remove(name),
        };
    }
}

/// What is kept of one schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Kept {
    /// What its slots go by: of another one the slots before now do not count.
    definition: String,
    /// All slots until then have had their turn.
    slot: Timestamp,
    #[serde(default)]
    last_slot: Option<Timestamp>,
    #[serde(default)]
    last_run: Option<Timestamp>,
    #[serde(default)]
    paused: Option<Pause>,
}

/// What is due of a schedule.
#[derive(Debug, Default, PartialEq)]
struct Turn {
    /// Slots to run, oldest first, and how many before the first of them nobody runs.
    slots: Vec<Timestamp>,
    missed: u32,
    /// The newest slot that passed.
    passed: Option<Timestamp>,
}

/// The slots after one that have begun, and which of them are run.
fn turn(schedule: &Schedule, after: Timestamp, now: Timestamp) -> Turn {
    let mut passed: std::collections::VecDeque<Timestamp> = std::collections::VecDeque::new();
    let (mut count, mut at) = (0_u32, after);
    while let Some(slot) = schedule.next(at).filter(|it| schedule.begins(*it) <= now) {
        at = slot;
        count = count.saturating_add(1);
        passed.push_back(slot);
        if passed.len() > MADE_UP_MAX {
            passed.pop_front();
        }
        if count == COUNTED_MAX {
            let sure = Timestamp(now.0.saturating_sub(schedule.jitter_ms()));
            if let Some(newest) = schedule.latest(at, sure) {
                at = newest;
                passed.pop_front();
                passed.push_back(newest);
            }
        } else if count > 2 * COUNTED_MAX {
            break;
        }
    }
    let Some(newest) = passed.back().copied() else { return Turn::default() };
    let late = now.since_ms(schedule.begins(newest)) > LATE_MS;
    let slots: Vec<Timestamp> = match schedule.missed() {
        Missed::Skip if late => Vec::new(),
        Missed::Skip | Missed::Once => vec![newest],
        Missed::All => passed.into_iter().collect(),
    };
    let missed = count.saturating_sub(u32::try_from(slots.len()).unwrap_or(u32::MAX));
    Turn { slots, missed, passed: Some(newest) }
}

impl Master {
    /// Why schedules wait, if they do.
    fn schedules_wait(&self) -> Option<String> {
        if !self.is_clock_set() {
            return Some("the master's clock is not known to be set".to_owned());
        }
        self.degraded.as_ref().map(|reason| format!("nothing new is stored: {reason}"))
    }

    /// When schedules are to be looked at next.
    pub(crate) fn schedules_wake(&self) -> Option<Timestamp> {
        let wait = !self.is_clock_set() || self.degraded.is_some();
        if wait { None } else { self.schedules.next.values().min().copied() }
    }

    /// Makes the events of all slots that have come.
    pub(crate) fn run_schedules(&mut self) {
        if !self.is_clock_set() || self.degraded.is_some() {
            return;
        }
        let rules = Arc::clone(&self.reactor.rules);
        if std::mem::take(&mut self.schedules.renewed) {
            self.renew_schedules(&rules);
        }
        let now = self.now;
        let due = self.schedules.next.iter().filter(|it| *it.1 <= now).map(|it| it.0.clone());
        for name in due.collect::<Vec<String>>() {
            if let Some(schedule) = schedule_of(&rules, &name) {
                self.run_schedule(schedule);
            }
        }
    }

    fn kept_schedule(&self, name: &str) -> Option<Kept> {
        let kept = self.book.kept.get(&(Part::Schedule, name.to_owned()))?;
        serde_json::from_value(kept.clone()).ok()
    }

    fn keep_schedule(&mut self, name: &str, kept: &Kept) {
        let data = serde_json::to_value(kept).ok();
        if broken::leaves_out("slots-on-disk") {
            return self.later(Entry::Kept { part: Part::Schedule, key: name.to_owned(), data });
        }
        self.keep(Part::Schedule, name, data);
    }

    /// A schedule that is new, or says something else, counts from now on. What is no longer there is forgotten.
    fn renew_schedules(&mut self, rules: &Rules) {
        self.schedules.next.clear();
        let schedules = || rules.iter().filter_map(|it| it.schedule.as_ref());
        let gone: Vec<String> = self
            .book
            .kept_of(Part::Schedule)
            .map(|it| it.0)
            .filter(|name| !schedules().any(|it| it.name() == *name))
            .map(str::to_owned)
            .collect();
        for name in gone {
            // A pause outlives an edit that takes the rule away for a while.
            let paused = self.kept_schedule(&name).filter(|it| it.paused.is_some());
            let left =
                paused.map(|it| Kept { definition: String::new(), last_slot: None, last_run: None, ..it });
            self.keep(Part::Schedule, &name, left.and_then(|it| serde_json::to_value(it).ok()));
        }
        for schedule in schedules() {
            let definition = schedule.definition();
            let kept = self.kept_schedule(schedule.name());
            if kept.as_ref().is_none_or(|it| it.definition != definition) {
                let paused = kept.and_then(|it| it.paused);
                let fresh = Kept { definition, slot: self.now, last_slot: None, last_run: None, paused };
                self.keep_schedule(schedule.name(), &fresh);
            }
            self.run_schedule(schedule);
        }
    }

    /// Runs what has come of one schedule and sets its alarm.
    fn run_schedule(&mut self, schedule: &Schedule) {
        let (name, now) = (schedule.name(), self.now);
        let Some(mut kept) = self.kept_schedule(name) else { return };
        let before = kept.clone();
        if let Some(paused) = &kept.paused {
            match paused.until {
                Some(until) if until <= now => (kept.slot, kept.paused) = (kept.slot.max(until), None),
                until => return self.schedules.set(name, until),
            }
        }
        let turn = turn(schedule, kept.slot, now);
        if let Some(passed) = turn.passed {
            (kept.slot, kept.last_slot) = (passed, Some(passed));
        }
        if !turn.slots.is_empty() {
            kept.last_run = Some(now);
        }
        if kept != before {
            self.keep_schedule(name, &kept);
        }
        for (index, slot) in turn.slots.iter().enumerate() {
            let missed = if index == 0 { turn.missed } else { 0 };
            let late_ms = now.since_ms(schedule.begins(*slot));
            let data =
                json!({"slot": schedule.wall(*slot), "slot_ms": slot, "late_ms": late_ms, "missed": missed});
            let identity = Some(schedule.identity(*slot));
            self.emit_as(format!("schedule/{name}"), Source::Master, data, 0, identity);
        }
        self.schedules.set(name, schedule.next(kept.slot).map(|it| schedule.begins(it)));
    }

    /// An operator runs, pauses or resumes a schedule.
    pub(crate) fn act_on_schedule(
        &mut self,
        caller: &Caller,
        name: &str,
        act: ScheduleAct,
    ) -> Result<Vec<String>, ErrorView> {
        let rules = Arc::clone(&self.reactor.rules);
        let Some(schedule) = schedule_of(&rules, name) else {
            let known: Vec<&str> =
                rules.iter().filter_map(|it| it.schedule.as_ref()).map(Schedule::name).collect();
            let mut error = not_found(format!("no schedule is called `{}`", cut(name, 64)));
            error.hint = Some(match &known[..] {
                [] => "no rule in reactors/ has `schedule:`".to_owned(),
                known => cut(&format!("schedules are {}", known.join(", ")), 512),
            });
            return Err(error);
        };
        if act == ScheduleAct::Run {
            self.audit(caller.clone(), format!("run schedule {name}"), "accepted".to_owned());
            let data = json!({
                "slot": schedule.wall(self.now), "slot_ms": self.now, "late_ms": 0, "missed": 0, "by": caller.name,
            });
            let event = self.emit_as(format!("schedule/{name}"), Source::Master, data, 0, None);
            return Ok(vec![format!(
                "event {} {}: `labctl rule history {name}` shows what it led to",
                event.number, event.tag
            )]);
        }
        let now = self.now;
        let fresh = || Kept {
            definition: schedule.definition(),
            slot: now,
            last_slot: None,
            last_run: None,
            paused: None,
        };
        let mut kept = self.kept_schedule(name).unwrap_or_else(fresh);
        let said = match act {
            ScheduleAct::Pause { for_ms: Some(ms) } if !PAUSE_MS.contains(&ms) => {
                return Err(refuse(ErrorKind::Usage, "a pause lasts 1 s to 366 d".to_owned(), None));
            }
            ScheduleAct::Pause { for_ms } => {
                let until = for_ms.map(|ms| now.plus_ms(ms));
                kept.paused = Some(Pause { since: now, until, by: caller.name.clone() });
                self.audit(caller.clone(), format!("pause schedule {name}"), "accepted".to_owned());
                let until = until.map_or_else(|| "it is resumed".to_owned(), |it| schedule.wall(it));
                format!("{name} is paused until {until}")
            }
            _ if kept.paused.is_none() => return Ok(vec![format!("{name} is not paused")]),
            _ => {
                (kept.paused, kept.slot) = (None, now);
                self.audit(caller.clone(), format!("resume schedule {name}"), "accepted".to_owned());
                let next = schedule.next(now).map(|it| schedule.wall(schedule.begins(it)));
                format!(
                    "{name} goes on; next {}",
                    next.unwrap_or_else(|| "never: it has no more slots".to_owned())
                )
            }
        };
        self.keep_schedule(name, &kept);
        self.run_schedule(schedule);
        Ok(vec![said])
    }

    pub(crate) fn schedule_views(&self) -> Vec<ScheduleView> {
        let waits = self.schedules_wait();
        let view = |rule: &lang::rules::Rule| {
            let schedule = rule.schedule.as_ref()?;
            let kept = self.kept_schedule(schedule.name());
            let next = self.upcoming(schedule, kept.as_ref()).next().map(|it| schedule.begins(it));
            Some(ScheduleView {
                name: rule.name.clone(),
                place: rule.place.clone(),
                when: schedule.explain(),
                zone: schedule.zone().to_owned(),
                next,
                next_local: next.map(|it| schedule.wall(it)),
                last_slot: kept.as_ref().and_then(|it| it.last_slot),
                last_run: kept.as_ref().and_then(|it| it.last_run),
                paused: kept.and_then(|it| it.paused),
                waits: waits.clone(),
                does: rule.actions.iter().map(ActionTemplate::describe).collect(),
            })
        };
        self.reactor.rules.iter().filter_map(view).collect()
    }

    /// Slots that come, as far as is known now.
    fn upcoming<'a>(
        &self,
        schedule: &'a Schedule,
        kept: Option<&Kept>,
    ) -> impl Iterator<Item = Timestamp> + use<'a> {
        let from = match kept.and_then(|it| it.paused.as_ref()) {
            Some(Pause { until: None, .. }) => None,
            Some(Pause { until: Some(until), .. }) => Some((*until).max(self.now)),
            None => Some(kept.map_or(self.now, |it| {
                it.slot.max(Timestamp(self.now.0.saturating_sub(schedule.jitter_ms())))
            })),
        };
        std::iter::successors(from.and_then(|it| schedule.next(it)), |it| schedule.next(*it))
    }

    pub(crate) fn slots(&self, name: Option<&str>, limit: u32) -> Result<Reply, ErrorView> {
        let limit = match limit {
            0 => 10,
            limit => usize::try_from(limit).unwrap_or(SLOTS_MAX).min(SLOTS_MAX),
        };
        let rules = &self.reactor.rules;
        if let Some(name) = name
            && schedule_of(rules, name).is_none()
        {
            return Err(not_found(format!("no schedule is called `{}`", cut(name, 64))));
        }
        let wanted = |it: &&Schedule| name.is_none_or(|name| it.name() == name);
        let mut slots: Vec<SlotView> = Vec::new();
        for schedule in rules.iter().filter_map(|it| it.schedule.as_ref()).filter(wanted) {
            let kept = self.kept_schedule(schedule.name());
            for slot in self.upcoming(schedule, kept.as_ref()).take(limit) {
                let at = schedule.begins(slot);
                let local = schedule.wall(at);
                slots.push(SlotView { schedule: schedule.name().to_owned(), slot, at, local });
            }
            slots.sort_by(|a, b| (a.at, &a.schedule).cmp(&(b.at, &b.schedule)));
            slots.truncate(limit);
        }
        Ok(Reply::Slots(slots))
    }
}

fn schedule_of<'a>(rules: &'a Rules, name: &str) -> Option<&'a Schedule> {
    rules.iter().find(|it| it.name == name).and_then(|it| it.schedule.as_ref())
}

#[cfg(test)]
mod tests;
