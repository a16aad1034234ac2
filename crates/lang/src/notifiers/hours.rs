//! When somebody may be told: quiet hours and rates.

use jiff::{Timestamp as Moment, civil::Time, tz::TimeZone};
use model::Timestamp;

/// Hours in which only what is urgent gets out.
#[derive(Clone, Debug)]
pub struct Quiet {
    pub(crate) from: Time,
    pub(crate) to: Time,
    pub(crate) zone: TimeZone,
    /// What becomes of the rest.
    pub held: Held,
    /// As written, for people.
    pub text: String,
}

/// What becomes of what comes in quiet hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// It is delivered when they are over.
    Later,
    /// It is dropped.
    Drop,
}

impl Quiet {
    /// The end of the quiet hours that a time is in, if it is.
    pub fn until(&self, now: Timestamp) -> Option<Timestamp> {
        let here = instant(now)?.to_zoned(self.zone.clone());
        let time = here.time();
        let over_night = self.from > self.to;
        let inside = if over_night {
            time >= self.from || time < self.to
        } else {
            time >= self.from && time < self.to
        };
        if !inside {
            return None;
        }
        let date = if over_night && time >= self.from { here.date().tomorrow().ok()? } else { here.date() };
        let end = date.to_datetime(self.to).to_zoned(self.zone.clone()).ok()?;
        let end = u64::try_from(end.timestamp().as_millisecond()).ok()?;
        // Where clocks are set back the same hour comes twice: never before now.
        Some(Timestamp(end.max(now.0 + 1)))
    }
}

/// So many in a span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// So many.
    pub count: u32,
    /// In so many milliseconds.
    pub per_ms: u64,
}

fn instant(at: Timestamp) -> Option<Moment> {
    Moment::from_millisecond(i64::try_from(at.0).ok()?).ok()
}

/// `2026-11-20T20:22:00.5Z`.
pub(crate) fn rfc3339(at: Timestamp) -> String {
    instant(at).map(|it| it.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_hours_end_when_the_clock_on_the_wall_says_so() {
        let quiet = |from: &str, to: &str| Quiet {
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            zone: TimeZone::get("Europe/Berlin").unwrap_or(TimeZone::fixed(jiff::tz::offset(1))),
            held: Held::Later,
            text: String::new(),
        };
        let at = |text: &str| {
            let instant: Moment = text.parse().unwrap();
            Timestamp(instant.as_millisecond().try_into().unwrap())
        };
        let cases = [
            ("22:00", "07:00", "2026-11-20T20:59:00Z", None),
            ("22:00", "07:00", "2026-11-20T21:00:00Z", Some("2026-11-21T06:00:00Z")),
            ("22:00", "07:00", "2026-11-21T05:59:59Z", Some("2026-11-21T06:00:00Z")),
            ("22:00", "07:00", "2026-11-21T06:00:00Z", None),
            ("12:00", "13:30", "2026-11-21T11:30:00Z", Some("2026-11-21T12:30:00Z")),
            ("12:00", "13:30", "2026-11-21T10:59:59Z", None),
        ];
        for (from, to, now, end) in cases {
            assert_eq!(quiet(from, to).until(at(now)), end.map(at), "{from}-{to} at {now}");
        }
        assert_eq!(rfc3339(Timestamp(1_800_000_000_000)), "2027-01-15T08:00:00Z");
    }
}
