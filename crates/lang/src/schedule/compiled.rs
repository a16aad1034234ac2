//! Schedules as numbers, for minions: they know neither cron expressions nor time zones.

use super::{Schedule, When, is_hourly};
use jiff::tz::TimeZone;
use model::{CronTimes, MinionSchedule, Times, Timestamp};

/// How far ahead a minion knows the changes of its clock: it is told anew long before.
const AHEAD_S: i64 = 2 * 366 * 86_400;
/// Changes of the clock that a minion is told.
const OFFSETS_MAX: usize = 64;

impl Schedule {
    /// As numbers that hold for two years from now on; or why that cannot be.
    pub fn for_minion(&self, now: Timestamp) -> Result<MinionSchedule, String> {
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
                    offsets: offsets(&self.zone, now),
                })
            }
        };
        Ok(MinionSchedule { name: self.name.clone(), times, jitter_ms: self.jitter_ms, missed: self.missed })
    }
}

/// The offsets of a zone's clock from a while ago to two years ahead. From the day's begin on, so that the numbers of two
/// compiles of one day are the same.
fn offsets(zone: &TimeZone, now: Timestamp) -> Vec<(i64, i32)> {
    let day = i64::try_from(now.0 / 86_400_000).unwrap_or(0) * 86_400;
    let from =
        jiff::Timestamp::from_second((day - 400 * 86_400).max(0)).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let first = (0, zone.to_offset(from).seconds());
    let changes = zone
        .following(from)
        .map(|it| (it.timestamp().as_second(), it.offset().seconds()))
        .take_while(|(at, _)| *at < day + AHEAD_S);
    let mut offsets = vec![first];
    for (at, offset) in changes.take(OFFSETS_MAX) {
        if offsets.last().is_some_and(|it| it.1 != offset) {
            offsets.push((at, offset));
        }
    }
    offsets
}
