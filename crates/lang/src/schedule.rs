//! Schedules: cron expressions, intervals and single dates in a time zone, and the moments that they mean. Pure: the time
//! is an argument.
//!
//! A slot is a moment that a schedule means. An expression that names hours means times of the wall clock: one that is
//! left out when the clock goes forward comes right after the gap, one that comes twice when it goes back counts the first
//! time only. An expression for every hour (`*`) goes by the hours that really pass.

mod compiled;
mod reading;

use croner::Cron;
use jiff::{
    civil::DateTime,
    tz::{AmbiguousOffset, Offset, TimeZone},
};
use model::{Missed, Timestamp};
use sha2::{Digest, Sha256};

/// Times of a wall clock that are looked at for one slot: all minutes of the longest hour that ever came twice.
const WALL_TIMES_MAX: usize = 3_000;
/// Changes of the clock that are passed in the search for one slot.
const CHANGES_MAX: usize = 1_000;
/// Slots that are looked at for the newest one.
const LOOK_BACK_MAX: usize = 10_000;
/// The shortest look back for the newest slot, in milliseconds; then four times as far, and again.
const LOOK_BACK_MS: u64 = 60_000;

/// When something happens again and again.
#[derive(Clone, Debug)]
pub struct Schedule {
    name: String,
    when: When,
    zone: TimeZone,
    jitter_ms: u64,
    missed: Missed,
}

#[derive(Clone, Debug)]
enum When {
    Cron { text: String, cron: Box<Cron> },
    Every { every_ms: u64, offset_ms: u64 },
    Once { at: Timestamp },
}

impl Schedule {
    /// The name of its rule, or its own in pillar.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What happens to slots that passed while nobody was there.
    pub fn missed(&self) -> Missed {
        self.missed
    }

    /// How much later than its slot it begins at most.
    pub fn jitter_ms(&self) -> u64 {
        self.jitter_ms
    }

    /// The name of its time zone.
    pub fn zone(&self) -> &str {
        self.zone.iana_name().unwrap_or("local time")
    }

    /// The first slot after a moment, if there is one.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match &self.when {
            When::Once { at } => (*at > after).then_some(*at),
            When::Every { every_ms, offset_ms } => next_multiple(*every_ms, *offset_ms, after),
            When::Cron { cron, .. } => {
                let from = jiff::Timestamp::from_second(i64::try_from(after.0 / 1000).ok()?).ok()?;
                let slot = if is_hourly(cron) {
                    next_passing(cron, &self.zone, from)
                } else {
                    next_named(cron, &self.zone, from)
                };
                u64::try_from(slot?.as_millisecond()).ok().map(Timestamp)
            }
        }
    }

    /// The newest slot that is later than `after` and not later than `until`.
    pub fn latest(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        if let When::Every { every_ms, offset_ms } = self.when {
            let turns = until.0.checked_sub(offset_ms)? / every_ms;
            let slot = Timestamp(offset_ms + turns * every_ms);
            return (slot > after).then_some(slot);
        }
        let mut back_ms = LOOK_BACK_MS;
        loop {
            let from = after.max(Timestamp(until.0.saturating_sub(back_ms)));
            let slots = std::iter::successors(self.next(from), |slot| self.next(*slot));
            if let Some(slot) = slots.take(LOOK_BACK_MAX).take_while(|it| *it <= until).last() {
                return Some(slot);
            }
            if from == after {
                return None;
            }
            back_ms = back_ms.saturating_mul(4);
        }
    }

    /// When a slot's work begins: some of the jitter later, always the same for the same slot.
    pub fn begins(&self, slot: Timestamp) -> Timestamp {
        if self.jitter_ms == 0 {
            return slot;
        }
        slot.plus_ms(number_of(&format!("{}@{}", self.name, slot.0)) % self.jitter_ms)
    }

    /// What tells a slot of this schedule from all others, in every life of the master.
    pub fn identity(&self, slot: Timestamp) -> String {
        format!("schedule:{}:{}", self.name, slot.0)
    }

    /// All that decides about its slots: another text is another schedule.
    pub fn definition(&self) -> String {
        let zone = self.zone();
        match &self.when {
            When::Cron { text, .. } => format!("cron {text} in {zone}"),
            When::Every { every_ms, .. } => format!("every {}", duration(*every_ms)),
            When::Once { at } => format!("at {}", self.wall(*at)),
        }
    }

    /// All of it in a few words.
    pub fn explain(&self) -> String {
        let jitter = match self.jitter_ms {
            0 => String::new(),
            ms => format!(", up to {} later", duration(ms)),
        };
        format!("{}{jitter}; missed: {}", self.definition(), self.missed.word())
    }

    /// A moment as the schedule's wall clock shows it, with its offset.
    pub fn wall(&self, at: Timestamp) -> String {
        let Some(moment) = i64::try_from(at.0).ok().and_then(|it| jiff::Timestamp::from_millisecond(it).ok())
        else {
            return format!("{} ms after 1970", at.0);
        };
        let offset = self.zone.to_offset(moment);
        moment.display_with_offset(offset).to_string()
    }
}

/// A time zone, for those who only ask how far its clocks are ahead.
#[derive(Clone, Debug)]
pub struct Zone(TimeZone);

impl Default for Zone {
    fn default() -> Self {
        Self(TimeZone::UTC)
    }
}

impl Zone {
    /// That of this machine.
    pub fn system() -> Self {
        Self(TimeZone::system())
    }
    /// By its name, such as `Europe/Berlin`.
    pub fn named(name: &str) -> Option<Self> {
        TimeZone::get(name).ok().map(Self)
    }
    /// One whose clocks are always so many seconds ahead of UTC.
    pub fn fixed(east_s: i32) -> Option<Self> {
        Offset::from_seconds(east_s).ok().map(|it| Self(TimeZone::fixed(it)))
    }
    /// How far east of UTC, in seconds, its clock on the wall is.
    pub fn east_s(&self, at: Timestamp) -> i32 {
        let moment = i64::try_from(at.0).ok().and_then(|it| jiff::Timestamp::from_millisecond(it).ok());
        moment.map_or(0, |it| self.0.to_offset(it).seconds())
    }
}

/// How far east of UTC, in seconds, the clock on the wall of this machine is.
pub fn east_s(at: Timestamp) -> i32 {
    Zone::system().east_s(at)
}

/// `90s` as people say it: the largest unit that gives a whole number.
fn duration(ms: u64) -> String {
    let units = [("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
    let unit = units.into_iter().find(|(_, size)| ms > 0 && ms.is_multiple_of(*size));
    unit.map_or_else(|| format!("{ms}ms"), |(unit, size)| format!("{}{unit}", ms / size))
}

/// A number that a text always has.
fn number_of(text: &str) -> u64 {
    let hash = Sha256::digest(text.as_bytes());
    hash.iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

fn next_multiple(every_ms: u64, offset_ms: u64, after: Timestamp) -> Option<Timestamp> {
    let turns = match after.0.checked_sub(offset_ms) {
        Some(since) => since / every_ms + 1,
        None => 0,
    };
    Some(Timestamp(turns.checked_mul(every_ms)?.checked_add(offset_ms)?))
}

/// Whether an expression names no hour: it is then for every hour that passes.
fn is_hourly(cron: &Cron) -> bool {
    cron.pattern.hours.values().len() == 24
}

/// The next time of the wall clock whose moment is later. Moments never go back while wall times go on.
fn next_named(cron: &Cron, zone: &TimeZone, after: jiff::Timestamp) -> Option<jiff::Timestamp> {
    let mut wall = zone.to_datetime(after);
    for _ in 0..WALL_TIMES_MAX {
        wall = cron.find_next_occurrence(&wall, false).ok()?;
        let moment = moment_of(zone, wall)?;
        if moment > after {
            return Some(moment);
        }
    }
    None
}

/// When the wall clock shows a time: first, if it does so twice; right after the gap, if it never does.
fn moment_of(zone: &TimeZone, wall: DateTime) -> Option<jiff::Timestamp> {
    match zone.to_ambiguous_timestamp(wall).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(wall).ok(),
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(wall).ok(),
        AmbiguousOffset::Gap { after, .. } => {
            let before_the_change = after.to_timestamp(wall).ok()?;
            zone.following(before_the_change).next().map(|it| it.timestamp())
        }
    }
}

/// The next moment at which the wall clock shows such a time, hour by hour as they pass.
fn next_passing(cron: &Cron, zone: &TimeZone, after: jiff::Timestamp) -> Option<jiff::Timestamp> {
    let (mut from, mut inclusive) = (after, false);
    for _ in 0..CHANGES_MAX {
        let offset = zone.to_offset(from);
        let wall = cron.find_next_occurrence(&offset.to_datetime(from), inclusive).ok()?;
        let moment = offset.to_timestamp(wall).ok()?;
        match zone.following(from).next().map(|it| it.timestamp()) {
            Some(change) if change <= moment => (from, inclusive) = (change, true),
            _ => return Some(moment),
        }
    }
    None
}

#[cfg(test)]
mod tests;
