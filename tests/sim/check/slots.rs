//! Slots of schedules: each is run once at most, and once unless it may be missed. The master's are judged by what is on
//! its disk, a minion's by what is on the minion's.

use lang::{rules::Rules, schedule::Schedule};
use minion::core as nc;
use model::{JobId, MinionId, Missed, Timestamp};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// How late a slot may begin that is not to be made up for.
const LATE_MS: u64 = 60_000;
/// A slot that did not begin by then waits for something.
const SLACK_MS: u64 = 2_000;

/// Schedules of the master.
#[derive(Clone, Default)]
pub(crate) struct Slots(BTreeMap<String, Log>);

#[derive(Clone, Default)]
struct Log {
    from: u64,
    upto: u64,
    run: BTreeSet<u64>,
    /// Slots that events say nobody acts for.
    missed: u64,
}

impl Slots {
    /// All slots of a schedule until then have had their turn.
    pub(crate) fn moved(&mut self, name: &str, data: Option<&Value>) -> Result<(), String> {
        let Some(slot) = data.and_then(|it| it["slot"].as_u64()) else {
            self.0.remove(name);
            return Ok(());
        };
        let log = self.0.entry(name.to_owned()).or_insert_with(|| Log { from: slot, ..Log::default() });
        if slot < log.upto {
            return Err(format!("schedule {name} went back from slot {} to {slot}", log.upto));
        }
        log.upto = slot;
        Ok(())
    }

    /// A slot's event is on disk.
    pub(crate) fn ran(&mut self, name: &str, data: &Value) -> Result<(), String> {
        let slot = data["slot_ms"].as_u64().ok_or("a slot without its time")?;
        let log = self.0.get_mut(name).ok_or_else(|| format!("schedule {name} runs and is not on disk"))?;
        if !log.run.insert(slot) {
            return Err(format!("slot {slot} of schedule {name} ran twice"));
        }
        if slot > log.upto {
            return Err(format!("slot {slot} of schedule {name} is on disk without its turn"));
        }
        log.missed += data["missed"].as_u64().unwrap_or_default();
        Ok(())
    }

    /// How many were run.
    pub(crate) fn count(&self) -> u64 {
        self.0.values().map(|it| it.run.len() as u64).sum()
    }

    /// At the end.
    pub(crate) fn finish(&self, rules: &Rules, idle: &Idle, now: u64) -> Result<(), String> {
        for schedule in rules.iter().filter_map(|it| it.schedule.as_ref()) {
            let log = self.0.get(schedule.name()).cloned().unwrap_or_default();
            log.finish(schedule, idle, now).map_err(|it| format!("schedule {}: {it}", schedule.name()))?;
        }
        Ok(())
    }
}

impl Log {
    fn finish(&self, schedule: &Schedule, idle: &Idle, now: u64) -> Result<(), String> {
        let next = |it: &Timestamp| schedule.next(*it);
        let slots: Vec<Timestamp> = std::iter::successors(schedule.next(Timestamp(self.from)), next)
            .take_while(|it| it.0 <= self.upto)
            .collect();
        if let Some(odd) = self.run.iter().find(|it| !slots.contains(&Timestamp(**it))) {
            return Err(format!("{odd} is none of its slots, and was run"));
        }
        let (ran, all) = (self.run.len() as u64 + self.missed, slots.len() as u64);
        let made_up = match schedule.missed() {
            Missed::All => self.missed == 0 && ran == all,
            Missed::Once => ran == all,
            Missed::Skip => ran <= all,
        };
        if !made_up {
            return Err(format!("{} slots ran and {} were missed, of {all}", self.run.len(), self.missed));
        }
        if idle.odd_clock {
            return Ok(());
        }
        let waits = schedule.next(Timestamp(self.upto)).map(|it| schedule.begins(it).0);
        if waits.is_some_and(|it| it + LATE_MS + SLACK_MS < now) {
            return Err(format!("it stands still at slot {}", self.upto));
        }
        let skipped =
            slots.iter().filter(|it| !self.run.contains(&it.0) && schedule.missed() == Missed::Skip);
        for slot in skipped {
            let begin = schedule.begins(*slot).0;
            let next = schedule.next(*slot).map_or(u64::MAX, |it| schedule.begins(it).0);
            let (from, to) = (begin + SLACK_MS, next.min(begin + LATE_MS).saturating_sub(SLACK_MS));
            if from < to && !idle.covers(from, to) {
                return Err(format!("slot {slot:?} was passed over, and the master was there"));
            }
        }
        Ok(())
    }
}

/// When the master could not act.
#[derive(Default)]
pub(crate) struct Idle {
    since: BTreeMap<&'static str, u64>,
    spans: BTreeSet<(u64, u64)>,
    /// Its clock was set meanwhile: when was what, nobody can say.
    pub(crate) odd_clock: bool,
}

impl Idle {
    pub(crate) fn begin(&mut self, why: &'static str, now: u64) {
        self.since.entry(why).or_insert(now);
    }
    pub(crate) fn end(&mut self, why: &'static str, now: u64) {
        if let Some(since) = self.since.remove(why) {
            self.spans.insert((since, now));
        }
    }
    fn covers(&self, from: u64, to: u64) -> bool {
        let mut upto = from;
        for (begin, end) in &self.spans {
            if *begin <= upto + SLACK_MS {
                upto = upto.max(*end);
            }
        }
        upto >= to
    }
}

/// Schedules of minions.
#[derive(Default)]
pub(crate) struct OwnSlots {
    /// What the slots of each go by, and until when they had their turn.
    upto: BTreeMap<(MinionId, u32, String), (String, u64)>,
    ran: BTreeSet<(MinionId, u32, String, u64)>,
    /// Runs that minions began by themselves, and whose they are.
    pub(crate) jobs: BTreeMap<JobId, (MinionId, u32, String)>,
    at_work: BTreeSet<JobId>,
    /// Whose disk was full: they are at work at what is not on it.
    full: BTreeSet<MinionId>,
}

impl OwnSlots {
    /// See [`super::Checker::read_again`].
    pub(super) fn read_again(&mut self, id: &MinionId, life: u32, entries: &[nc::Entry]) {
        let jobs = &self.jobs;
        self.at_work.retain(|it| jobs.get(it).is_none_or(|of| of.0 != *id));
        self.upto.retain(|it, _| it.0 != *id);
        self.full.remove(id);
        for entry in entries {
            match entry {
                nc::Entry::Known { job, .. } => drop(self.at_work.remove(job)),
                nc::Entry::Slot { name, of, at } => {
                    self.upto.insert((id.clone(), life, name.clone()), (of.clone(), at.0));
                }
                other => self.took(id, life, other),
            }
        }
    }

    fn took(&mut self, id: &MinionId, life: u32, entry: &nc::Entry) {
        match entry {
            nc::Entry::Received(offer) if offer.expires == nc::NEVER => {
                let name = offer.what.trim_start_matches("schedule ").to_owned();
                self.jobs.insert(offer.job, (id.clone(), life, name));
                self.at_work.insert(offer.job);
            }
            nc::Entry::Ended(result) => drop(self.at_work.remove(&result.job)),
            _ => {}
        }
    }

    pub(crate) fn had_no_room(&mut self, id: &MinionId) {
        self.full.insert(id.clone());
    }

    /// What a minion put on its disk at once.
    pub(crate) fn journalled(
        &mut self,
        id: &MinionId,
        life: u32,
        entries: &[nc::Entry],
    ) -> Result<(), String> {
        for entry in entries {
            match entry {
                nc::Entry::Event { tag, data, .. } => {
                    let Some(name) = tag.strip_prefix("schedule/") else { continue };
                    let slot = data["slot_ms"].as_u64().unwrap_or_default();
                    // The same again is no harm as long as it is not on disk that it was.
                    let over = self.upto.get(&(id.clone(), life, name.to_owned())).cloned();
                    let again = !self.ran.insert((id.clone(), life, name.to_owned(), slot));
                    if again && over.is_some_and(|it| it.1 >= slot) {
                        return Err(format!("slot {slot} of schedule {name} of {id} ran twice"));
                    }
                }
                nc::Entry::Slot { name, of, at } => self.passed((id, life, name), of, at.0)?,
                other => self.took(id, life, other),
            }
        }
        Ok(())
    }

    /// A slot has had its turn: it was run, or another run of its schedule was at work.
    fn passed(
        &mut self,
        (id, life, name): (&MinionId, u32, &String),
        of: &str,
        slot: u64,
    ) -> Result<(), String> {
        let key = (id.clone(), life, name.clone());
        let before = self.upto.insert(key.clone(), (of.to_owned(), slot));
        // Another schedule counts from then on, and so does one whose clock was far ahead.
        let first = before.is_none_or(|it| it.0 != of || it.1 > slot);
        let ran = self.ran.contains(&(id.clone(), life, name.clone(), slot));
        let busy = self.at_work.iter().any(|it| self.jobs.get(it) == Some(&key));
        if first || ran || busy || self.full.contains(id) {
            return Ok(());
        }
        Err(format!("slot {slot} of schedule {name} of {id} had its turn, and nothing ran"))
    }
}
