//! A point in time as clocks on the wall show it.

use model::Timestamp;

/// Days of the week, the first of January 1970 first.
const WEEKDAYS: [&str; 7] = ["thu", "fri", "sat", "sun", "mon", "tue", "wed"];
/// Their names in the order of the week.
pub(crate) const WEEK: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// A time, and how far the clocks on the wall are ahead of UTC then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// UTC.
    pub at: Timestamp,
    /// Seconds east of Greenwich.
    pub east_s: i32,
}

impl Moment {
    /// Seconds since 1970 on the wall.
    fn wall_s(self) -> u64 {
        let seconds = self.at.0 / 1000;
        if self.east_s < 0 {
            seconds.saturating_sub(u64::from(self.east_s.unsigned_abs()))
        } else {
            seconds.saturating_add(u64::from(self.east_s.unsigned_abs()))
        }
    }
    pub(crate) fn minute_of_day(self) -> u64 {
        self.wall_s() / 60 % (24 * 60)
    }
    pub(crate) fn weekday(self) -> &'static str {
        WEEKDAYS[usize::try_from(self.wall_s() / 86_400 % 7).unwrap_or_default()]
    }
    /// `2026-11-20`.
    pub(crate) fn date(self) -> String {
        // Years begin in March here, so that the leap day is their last.
        let days = self.wall_s() / 86_400 + 719_468;
        let (era, of_era) = (days / 146_097, days % 146_097);
        let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let from_march = (5 * of_year + 2) / 153;
        let day = of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        let year = era * 400 + year + u64::from(month <= 2);
        format!("{year:04}-{month:02}-{day:02}")
    }
    /// Time of day and date, for people.
    pub(crate) fn show(self) -> String {
        let minute = self.minute_of_day();
        format!("{} {:02}:{:02}:{:02}", self.date(), minute / 60, minute % 60, self.wall_s() % 60)
    }
}

/// From one time of day to another, perhaps over midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    from: u64,
    to: u64,
}

impl Window {
    /// `22:00-06:00`; the end does not belong to it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (from, to) = text.split_once('-')?;
        let minute = |it: &str| {
            let (hours, minutes) = it.trim().split_once(':')?;
            let (hours, minutes): (u64, u64) = (hours.parse().ok()?, minutes.parse().ok()?);
            let good = minutes < 60 && (hours < 24 || (hours == 24 && minutes == 0));
            good.then_some(hours * 60 + minutes)
        };
        let window = Self { from: minute(from)?, to: minute(to)? };
        (window.from != window.to).then_some(window)
    }
    pub(crate) fn contains(self, minute: u64) -> bool {
        if self.from < self.to {
            (self.from..self.to).contains(&minute)
        } else {
            minute >= self.from || minute < self.to
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        let day = |days: u64| Moment { at: Timestamp(days * 86_400_000), east_s: 0 };
        assert_eq!((day(0).date().as_str(), day(0).weekday()), ("1970-01-01", "thu"));
        assert_eq!(day(11_016).date(), "2000-02-29");
        assert_eq!((day(20_777).date().as_str(), day(20_777).weekday()), ("2026-11-20", "fri"));
        let late = Moment { at: Timestamp(86_399_000), east_s: 3_600 };
        assert_eq!(late.show(), "1970-01-02 00:59:59");
    }

    #[test]
    fn windows_go_over_midnight() {
        let night = Window::parse("22:00-06:00").unwrap();
        assert!(night.contains(23 * 60) && night.contains(0) && !night.contains(360) && !night.contains(720));
        for wrong in ["", "22:00", "22-06", "25:00-06:00", "22:60-06:00", "10:00-10:00", "a:b-c:d"] {
            assert!(Window::parse(wrong).is_none(), "{wrong}");
        }
    }
}
