//! Schedules as numbers, for minions: they know neither cron expressions nor time zones.

use super::{Schedule, When, is_hourly};
use jiff::tz::TimeZone;
use model::{CronTimes, MinionSchedule, Times};

/// The changes of its clock that a minion is told: from 2025 to 2046.
const FROM_S: i64 = 1_735_689_600;
const UNTIL_S: i64 = FROM_S + 21 * 366 * 86_400;
/// At most so many.
const OFFSETS_MAX: usize = 128;

impl Schedule {
    /// As numbers that hold for twenty years; or why that cannot be.
    pub fn for_minion(&self) -> Result<MinionSchedule, String> {
        let times = match &self.when {
            When::Every { every_ms, offset_ms } => {
                Times::Every { every_ms: *every_ms, offset_ms: *offset_ms }
            }
            When::Once { .. } => return Err("`at` is for rules of the master".to_owned()),
            When::Cron { cron, .. } => {
                let pattern = &cron.pattern;
                if pattern.days.has_modifiers() || pattern.days_of_week.has_modifiers() {
                    return Err("L, W and # are for rules of the master".to_owned());
                }
                let bits = |values: Vec<u16>| values.into_iter().fold(0_u64, |bits, it| bits | (1 << it));
                let narrow = |values: Vec<u16>| u32::try_from(bits(values)).unwrap_or(u32::MAX);
                let both =
                    pattern.matches_dom_and_dow() || pattern.is_dom_wildcard() || pattern.is_dow_wildcard();
                Times::Cron(CronTimes {
                    minutes: bits(pattern.minutes.values()),
                    hours: if is_hourly(cron) { 0xff_ffff } else { narrow(pattern.hours.values()) },
                    days: narrow(pattern.days.values()),
                    months: u16::try_from(bits(pattern.months.values())).unwrap_or(u16::MAX),
                    weekdays: u8::try_from(bits(pattern.days_of_week.values())).unwrap_or(u8::MAX),
                    any_day: !both,
                    offsets: offsets(&self.zone),
                })
            }
        };
        Ok(MinionSchedule { name: self.name.clone(), times, jitter_ms: self.jitter_ms, missed: self.missed })
    }
}

/// The offsets of a zone's clock.
fn offsets(zone: &TimeZone) -> Vec<(i64, i32)> {
    let from = jiff::Timestamp::from_second(FROM_S).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let first = (0, zone.to_offset(from).seconds());
    let changes = zone
        .following(from)
        .map(|it| (it.timestamp().as_second(), it.offset().seconds()))
        .take_while(|(at, _)| *at < UNTIL_S);
    let mut offsets = vec![first];
    for (at, offset) in changes.take(OFFSETS_MAX) {
        if offsets.last().is_some_and(|it| it.1 != offset) {
            offsets.push((at, offset));
        }
    }
    offsets
}
