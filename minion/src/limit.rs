//! Limits with hysteresis, once for all beacons: an event when a number crosses one, an event when it is well again,
//! and nothing in between.

use resources::beacons::{Amount, Settings};
use std::time::Duration;

/// How far inside the limit a number must be to count as well again, as a part of the limit, unless it is set.
const CLEAR_PART: f64 = 0.05;

/// When a number is not well, and when it is well again.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    above: Option<f64>,
    below: Option<f64>,
    clear: Option<f64>,
    hold: Duration,
    remind: Option<Duration>,
    /// Whether it is about a part of a hundred.
    pub percent: bool,
}

/// Something to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crossing {
    /// It is beyond the limit, for long enough.
    On,
    /// It still is.
    Still,
    /// It is well again.
    Off,
}

impl Crossing {
    /// As it stands in events.
    pub fn state(self) -> &'static str {
        match self {
            Self::On | Self::Still => "on",
            Self::Off => "off",
        }
    }
}

impl Limit {
    /// As the settings say.
    pub fn of(settings: &Settings<'_>) -> Self {
        let (above, below) = (settings.above(), settings.amount("below"));
        let number = |it: Amount| it.number;
        Self {
            above: above.map(number),
            below: below.map(number),
            clear: settings.amount("clear").map(number),
            hold: Duration::from_millis(settings.time_ms("for").unwrap_or(0)),
            remind: settings.time_ms("remind").map(Duration::from_millis),
            percent: above.or(below).is_some_and(|it| it.percent),
        }
    }

    /// The same, with this limit instead of those that were set.
    pub fn below(number: f64, other: &Self) -> Self {
        Self { above: None, below: Some(number), clear: None, percent: false, ..other.clone() }
    }

    fn is_beyond(&self, number: f64) -> bool {
        self.above.is_some_and(|it| number >= it) || self.below.is_some_and(|it| number <= it)
    }

    fn is_clear(&self, number: f64) -> bool {
        let from_above = |limit: f64| number <= self.clear.unwrap_or(limit - limit.abs() * CLEAR_PART);
        let from_below = |limit: f64| number >= self.clear.unwrap_or(limit + limit.abs() * CLEAR_PART);
        !self.is_beyond(number) && self.above.is_none_or(from_above) && self.below.is_none_or(from_below)
    }
}

/// Where one number stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gauge {
    /// Since when it is beyond the limit without a break.
    beyond_since: Option<Duration>,
    /// It was told, and when.
    told_at: Option<Duration>,
}

impl Gauge {
    /// One of which it was told already.
    pub fn on_since(now: Duration) -> Self {
        Self { beyond_since: None, told_at: Some(now) }
    }

    /// Takes a reading in. A number that is none tells nothing.
    pub fn judge(&mut self, limit: &Limit, now: Duration, number: f64) -> Option<Crossing> {
        if !number.is_finite() {
            return None;
        }
        if let Some(told_at) = self.told_at {
            if limit.is_clear(number) {
                *self = Self::default();
                return Some(Crossing::Off);
            }
            let again = limit.remind.is_some_and(|every| now.saturating_sub(told_at) >= every);
            if again {
                self.told_at = Some(now);
            }
            return again.then_some(Crossing::Still);
        }
        if !limit.is_beyond(number) {
            self.beyond_since = None;
            return None;
        }
        let since = *self.beyond_since.get_or_insert(now);
        if now.saturating_sub(since) < limit.hold {
            return None;
        }
        self.told_at = Some(now);
        Some(Crossing::On)
    }

    /// Whether it was told that it is beyond the limit.
    pub fn is_on(&self) -> bool {
        self.told_at.is_some()
    }

    /// When it is to be looked at again, if that may be before its interval is over.
    pub fn wake(&self, limit: &Limit) -> Option<Duration> {
        if self.told_at.is_some() { None } else { Some(self.beyond_since? + limit.hold) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// What it is about, settings, readings at seconds, and what is told of them.
    type Case<'a> = (&'a str, Value, Vec<(u64, f64)>, &'a str);

    /// Readings at seconds, and what is told of them.
    fn told(settings: &Value, readings: &[(u64, f64)]) -> String {
        let kind = resources::beacons::kind("disk").unwrap();
        let map = settings.as_object().unwrap();
        let limit = Limit::of(&Settings::read(kind, map).unwrap());
        let mut gauge = Gauge::default();
        let mut said = Vec::new();
        for (second, number) in readings {
            if let Some(crossing) = gauge.judge(&limit, Duration::from_secs(*second), *number) {
                said.push(format!("{second}:{crossing:?}"));
            }
        }
        said.join(" ")
    }

    #[test]
    fn limits_are_crossed_once_and_cleared_once() {
        let minute = |numbers: &[f64]| -> Vec<(u64, f64)> {
            (0..).zip(numbers).map(|(index, it)| (index * 60, *it)).collect()
        };
        let cases: &[Case<'_>] = &[
            ("crossing", json!({"above": "90%"}), minute(&[80.0, 91.0, 95.0, 92.0]), "60:On"),
            ("at the limit", json!({"above": "90%"}), minute(&[90.0]), "0:On"),
            (
                "flapping around it",
                json!({"above": "90%"}),
                minute(&[91.0, 89.0, 91.0, 86.0, 91.0, 85.6]),
                "0:On",
            ),
            ("well again", json!({"above": "90%"}), minute(&[91.0, 89.0, 85.0, 91.0]), "0:On 120:Off 180:On"),
            (
                "a clear of its own",
                json!({"above": "90%", "clear": "70%"}),
                minute(&[91.0, 80.0, 71.0, 70.0]),
                "0:On 180:Off",
            ),
            (
                "clear is the limit",
                json!({"above": "90%", "clear": "90%"}),
                minute(&[91.0, 90.0, 89.9, 90.0]),
                "0:On 120:Off 180:On",
            ),
            (
                "for two minutes",
                json!({"above": "90%", "for": "2m"}),
                minute(&[91.0, 91.0, 89.0, 91.0, 91.0, 91.0, 91.0]),
                "300:On",
            ),
            (
                "off is told at once",
                json!({"above": "90%", "for": "2m"}),
                minute(&[91.0, 91.0, 91.0, 10.0]),
                "120:On 180:Off",
            ),
            (
                "remind",
                json!({"above": "90%", "remind": "2m"}),
                minute(&[91.0, 91.0, 91.0, 89.0, 89.0, 10.0, 10.0]),
                "0:On 120:Still 240:Still 300:Off",
            ),
            ("below", json!({"below": 100}), minute(&[101.0, 100.0, 104.0, 105.0]), "60:On 180:Off"),
            (
                "a band",
                json!({"above": 100, "below": 10}),
                minute(&[50.0, 5.0, 50.0, 150.0, 10.2, 50.0]),
                "60:On 120:Off 180:On 300:Off",
            ),
            ("below zero", json!({"below": "-10"}), minute(&[-11.0, -9.6, -9.5]), "0:On 120:Off"),
            ("no number", json!({"above": "90%"}), minute(&[f64::NAN, f64::INFINITY, 91.0]), "120:On"),
            ("the kind's own limit", json!({}), minute(&[89.0, 91.0]), "60:On"),
        ];
        for (what, settings, readings, wanted) in cases {
            assert_eq!(told(settings, readings), *wanted, "{what}");
        }
    }

    #[test]
    fn what_must_hold_for_a_time_is_looked_at_when_that_is_over() {
        let kind = resources::beacons::kind("disk").unwrap();
        let map = json!({"above": "90%", "for": "7s"});
        let limit = Limit::of(&Settings::read(kind, map.as_object().unwrap()).unwrap());
        let mut gauge = Gauge::default();
        assert_eq!(gauge.wake(&limit), None);
        gauge.judge(&limit, Duration::from_secs(30), 91.0);
        assert_eq!(gauge.wake(&limit), Some(Duration::from_secs(37)));
        assert_eq!(gauge.judge(&limit, Duration::from_secs(37), 91.0), Some(Crossing::On));
        assert_eq!((gauge.wake(&limit), gauge.is_on()), (None, true));
    }
}
