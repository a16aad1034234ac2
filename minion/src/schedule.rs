//! The moments of a schedule that the master compiled to numbers. No cron, no time zones: sets of bits and a list of
//! offsets. The same moments as the master's own schedules have; a test holds them side by side.

use model::{CronTimes, MinionSchedule, Missed, Times, Timestamp};
use sha2::{Digest, Sha256};

/// Days that are looked at for one moment: February 29 comes after eight years at the latest.
const DAYS_MAX: i64 = 9 * 366;
/// Times of the wall clock that are looked at for one moment.
const WALL_TIMES_MAX: usize = 3_000;
/// All hours: every hour that passes is meant, not times of the wall clock.
const EVERY_HOUR: u32 = 0xff_ffff;
/// A moment that is later than this was missed.
const LATE_MS: u64 = 60_000;
/// Moments that are counted.
const COUNTED_MAX: u32 = 1_000;
/// How far it is looked back for the newest moment, one after the other, in milliseconds.
const LOOK_BACK_MS: [u64; 4] = [3_600_000, 86_400_000, 31 * 86_400_000, 366 * 86_400_000];
const DAY_S: i64 = 86_400;

/// What a schedule wants after all that passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// The moment to act for, if it is to act.
    pub slot: Option<Timestamp>,
    /// Moments that nobody acts for.
    pub missed: u32,
    /// The newest moment that passed.
    pub passed: Option<Timestamp>,
}

/// What a schedule wants now, when its moments until `after` have had their turn.
pub fn turn(schedule: &MinionSchedule, after: Timestamp, now: Timestamp) -> Turn {
    let (mut at, mut count) = (after, 0);
    while let Some(slot) = next(&schedule.times, at).filter(|it| begins(schedule, *it) <= now) {
        (at, count) = (slot, count + 1);
        if count == COUNTED_MAX {
            at = newest(schedule, at, now);
            break;
        }
    }
    if count == 0 {
        return Turn::default();
    }
    let late = now.since_ms(begins(schedule, at)) > LATE_MS;
    let slot = (!(late && schedule.missed == Missed::Skip)).then_some(at);
    Turn { slot, missed: count - u32::from(slot.is_some()), passed: Some(at) }
}

/// The newest moment whose work has surely begun.
fn newest(schedule: &MinionSchedule, after: Timestamp, now: Timestamp) -> Timestamp {
    let until = Timestamp(now.0.saturating_sub(schedule.jitter_ms));
    for back in LOOK_BACK_MS {
        let from = after.max(Timestamp(until.0.saturating_sub(back)));
        let slots = std::iter::successors(next(&schedule.times, from), |it| next(&schedule.times, *it));
        if let Some(slot) = slots.take(WALL_TIMES_MAX).take_while(|it| *it <= until).last() {
            return slot;
        }
    }
    after
}

/// When the work of a moment begins: some of the jitter later, always the same for the same moment.
pub fn begins(schedule: &MinionSchedule, slot: Timestamp) -> Timestamp {
    if schedule.jitter_ms == 0 {
        return slot;
    }
    let hash = Sha256::digest(format!("{}@{}", schedule.name, slot.0).as_bytes());
    let number = hash.iter().take(8).fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    slot.plus_ms(number % schedule.jitter_ms)
}

/// The first moment after another, if there is one.
pub fn next(times: &Times, after: Timestamp) -> Option<Timestamp> {
    match times {
        Times::Every { every_ms, offset_ms } => {
            let turns = match after.0.checked_sub(*offset_ms) {
                Some(since) => since.checked_div(*every_ms)? + 1,
                None => 0,
            };
            Some(Timestamp(turns.checked_mul(*every_ms)?.checked_add(*offset_ms)?))
        }
        Times::Cron(cron) => {
            let after = i64::try_from(after.0 / 1000).ok()?;
            let slot =
                if cron.hours == EVERY_HOUR { next_passing(cron, after) } else { next_named(cron, after) };
            Some(Timestamp(u64::try_from(slot?).ok()?.checked_mul(1000)?))
        }
    }
}

/// The next time of the wall clock whose moment is later: the first, if it comes twice; right after the gap, if it never
/// does.
fn next_named(cron: &CronTimes, after: i64) -> Option<i64> {
    let mut wall = after + offset(cron, after);
    for _ in 0..WALL_TIMES_MAX {
        wall = next_wall(cron, wall + 1)?;
        let moment = moment_of(cron, wall)?;
        if moment > after {
            return Some(moment);
        }
    }
    None
}

/// The next moment at which the wall clock shows such a time.
fn next_passing(cron: &CronTimes, after: i64) -> Option<i64> {
    let mut from = after + 1;
    for _ in 0..=cron.offsets.len() {
        let offset = offset(cron, from);
        let moment = next_wall(cron, from + offset)? - offset;
        match change_after(cron, from) {
            Some(change) if change <= moment => from = change,
            _ => return Some(moment),
        }
    }
    None
}

/// How far ahead of UTC the wall clock is.
fn offset(cron: &CronTimes, at: i64) -> i64 {
    let known = cron.offsets.iter().rev().find(|it| it.0 <= at).or(cron.offsets.first());
    known.map_or(0, |it| i64::from(it.1))
}

fn change_after(cron: &CronTimes, at: i64) -> Option<i64> {
    cron.offsets.iter().map(|it| it.0).skip(1).find(|it| *it > at)
}

fn moment_of(cron: &CronTimes, wall: i64) -> Option<i64> {
    let mut gap = None;
    for (index, (begin, offset)) in cron.offsets.iter().enumerate() {
        let moment = wall - i64::from(*offset);
        let end = cron.offsets.get(index + 1).map_or(i64::MAX, |it| it.0);
        if (index == 0 || moment >= *begin) && moment < end {
            return Some(moment);
        }
        // Too late for this stretch, too early for the next one: the clock jumps over it there.
        if moment >= end && cron.offsets.get(index + 1).is_some_and(|it| wall - i64::from(it.1) < it.0) {
            gap = gap.or(Some(end));
        }
    }
    if cron.offsets.is_empty() { Some(wall) } else { gap }
}

/// The first wall time that is not earlier and matches.
fn next_wall(cron: &CronTimes, from: i64) -> Option<i64> {
    let from = from + (60 - from.rem_euclid(60)) % 60;
    let first = from.div_euclid(DAY_S);
    for day in first..first + DAYS_MAX {
        if !is_day(cron, day) {
            continue;
        }
        let begin = if day == first { from.rem_euclid(DAY_S) / 60 } else { 0 };
        let minute = (begin..24 * 60)
            .find(|it| cron.hours >> (it / 60) & 1 == 1 && cron.minutes >> (it % 60) & 1 == 1);
        if let Some(minute) = minute {
            return Some(day * DAY_S + minute * 60);
        }
    }
    None
}

fn is_day(cron: &CronTimes, day: i64) -> bool {
    let (month, date) = month_and_date(day);
    // January 1, 1970 was a Thursday.
    let of_week = cron.weekdays >> (day + 4).rem_euclid(7) & 1 == 1;
    let of_month = cron.days >> date & 1 == 1;
    let fits = if cron.any_day { of_week || of_month } else { of_week && of_month };
    fits && cron.months >> month & 1 == 1
}

/// Month and day of the month of a day since 1970, in the Gregorian calendar: counted in eras of 400 years that begin in
/// March.
fn month_and_date(day: i64) -> (i64, i64) {
    let of_era = (day + 719_468).rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let date = of_year - (153 * from_march + 2) / 5 + 1;
    (if from_march < 10 { from_march + 3 } else { from_march - 9 }, date)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every(missed: Missed) -> MinionSchedule {
        let times = Times::Every { every_ms: 3_600_000, offset_ms: 5 };
        MinionSchedule { name: "nightly".to_owned(), times, jitter_ms: 0, missed }
    }

    #[test]
    fn only_the_newest_of_what_passed_is_made_up_for() {
        let at = |hours: u64, ms: u64| Timestamp(hours * 3_600_000 + ms);
        let cases = [
            (Missed::Once, at(1, 4), Turn::default()),
            (Missed::Once, at(1, 5), Turn { slot: Some(at(1, 5)), missed: 0, passed: Some(at(1, 5)) }),
            (
                Missed::Once,
                at(5, 2_000_000),
                Turn { slot: Some(at(5, 5)), missed: 4, passed: Some(at(5, 5)) },
            ),
            (Missed::Skip, at(5, 2_000_000), Turn { slot: None, missed: 5, passed: Some(at(5, 5)) }),
            (Missed::Skip, at(5, 2_000), Turn { slot: Some(at(5, 5)), missed: 4, passed: Some(at(5, 5)) }),
        ];
        for (missed, now, expected) in cases {
            assert_eq!(turn(&every(missed), at(0, 5), now), expected, "{missed:?} {now:?}");
        }
        let years = turn(&every(Missed::Once), at(0, 5), at(100_000, 2_000));
        assert_eq!(years.slot, Some(at(100_000, 5)));
    }

    #[test]
    fn days_have_their_months_and_dates() {
        for (day, expected) in
            [(0, (1, 1)), (58, (2, 28)), (59, (3, 1)), (789, (2, 29)), (11_016, (2, 29)), (20_776, (11, 19))]
        {
            assert_eq!(month_and_date(day), expected, "day {day}");
        }
    }
}
