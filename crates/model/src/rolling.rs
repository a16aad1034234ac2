//! A run that goes over its machines in waves: how it is to go, and how far it is.

use crate::{JobId, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{fmt, str::FromStr};

/// So many, or a part of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// So many.
    Count(u32),
    /// A part of all, from 1 to 100; rounded up.
    Percent(u8),
}

impl Share {
    /// All of them.
    pub const ALL: Self = Self::Percent(100);

    /// How many that is of a total: at least one.
    pub fn of(self, total: usize) -> usize {
        let many = match self {
            Self::Count(count) => count as usize,
            Self::Percent(percent) => (total * usize::from(percent)).div_ceil(100),
        };
        many.max(1)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl FromStr for Share {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is neither a number from 1 nor a part such as 25%");
        if let Some(percent) = text.strip_suffix('%') {
            let percent = percent.trim_end().parse::<u8>().map_err(|_| wrong())?;
            return if (1..=100).contains(&percent) { Ok(Self::Percent(percent)) } else { Err(wrong()) };
        }
        match text.parse::<u32>() {
            Ok(count) if count > 0 => Ok(Self::Count(count)),
            _ => Err(wrong()),
        }
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => serializer.serialize_u32(*count),
            Self::Percent(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;
        impl de::Visitor<'_> for Written {
            type Value = Share;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number from 1, or a part such as \"25%\"")
            }
            fn visit_u64<E: de::Error>(self, count: u64) -> Result<Share, E> {
                self.visit_str(&count.to_string())
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Share, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Written)
    }
}

/// In which order machines have their turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// By id.
    #[default]
    Name,
    /// As dice fall, once for each run.
    Random,
    /// Those first whose last apply is the longest ago, or never was.
    Oldest,
}

/// What becomes of what was changed, where a run stops by itself before its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnStop {
    /// It stays.
    #[default]
    Stop,
    /// A job of its own puts it back.
    Undo,
}

/// What must be so after each wave before the run goes on, or is well at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// A condition over `telemetry.x`, `grains.x`, `labels.x` and `minion` that holds on every machine of the wave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// Events `minion/<id>/<this filter>` of these machines there are none of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet: Option<String>,
    /// Program and arguments that end with 0 on every machine of the wave.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub check: Vec<String>,
    /// For so long all but the check is so without a break, in milliseconds.
    #[serde(default)]
    pub hold_ms: u64,
    /// The gate fails when it has not opened after so long, in milliseconds; by default 5 minutes behind `hold_ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// How a run goes over its machines: a first wave to try it on, then one wave after the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rolling {
    /// Machines in a wave.
    #[serde(default = "all")]
    pub batch: Share,
    /// Between the end of a wave (and its gate) and the next one, in milliseconds.
    #[serde(default)]
    pub batch_wait_ms: u64,
    /// Failures with which the run stops; without it, the first one.
    #[serde(default = "one")]
    pub max_fail: Share,
    /// Who is first.
    #[serde(default)]
    pub order: Order,
    /// Machines in the first wave, where any failure stops the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Share>,
    /// What must be so after each wave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<Gate>,
    /// What becomes of what was changed, if it stops.
    #[serde(default)]
    pub on_stop: OnStop,
}

fn all() -> Share {
    Share::ALL
}

fn one() -> Share {
    Share::Count(1)
}

impl Default for Rolling {
    fn default() -> Self {
        Self {
            batch: all(),
            batch_wait_ms: 0,
            max_fail: one(),
            order: Order::Name,
            canary: None,
            gate: None,
            on_stop: OnStop::Stop,
        }
    }
}

impl Rolling {
    /// How many machines each wave has, of so many in all.
    pub fn waves(&self, total: usize) -> Vec<usize> {
        let mut waves = Vec::new();
        let mut left = total;
        if let Some(canary) = self.canary
            && left > 0
        {
            waves.push(canary.of(total).min(left));
            left -= waves[0];
        }
        let batch = self.batch.of(total);
        while left > 0 {
            waves.push(batch.min(left));
            left -= batch.min(left);
        }
        waves
    }
}

/// How far a run has gone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roll {
    /// When each wave began that has begun.
    pub begun: Vec<Timestamp>,
    /// What it is at.
    pub phase: Phase,
    /// Why it stopped before its end, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// The job that puts back what was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<JobId>,
}

/// What a run in waves is at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "at")]
pub enum Phase {
    /// The newest wave.
    #[default]
    Running,
    /// The gate behind the newest wave.
    Gate {
        /// Since when.
        since: Timestamp,
        /// Since when all but the check is as it must be.
        #[serde(default)]
        holds_since: Option<Timestamp>,
        /// Why it is not open, for people.
        #[serde(default)]
        said: String,
    },
    /// The wait before the next wave.
    Waiting {
        /// Until when.
        until: Timestamp,
    },
    /// Its end: no machine begins any more.
    Over,
}

/// Whose turn it is in a run in waves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Which wave, from 1.
    pub wave: u32,
    /// Of so many.
    pub of: u32,
    /// Whether that wave has not begun.
    pub waits: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_read_and_write_as_people_do() {
        for (text, of_seven) in [("1", 1), ("3", 3), ("100", 100), ("25%", 2), ("1%", 1), ("100%", 7)] {
            let share: Share = text.parse().unwrap();
            assert_eq!((share.to_string().as_str(), share.of(7)), (text, of_seven));
            let json = serde_json::to_string(&share).unwrap();
            assert_eq!(serde_json::from_str::<Share>(&json).unwrap(), share, "{json}");
        }
        for bad in ["", "0", "-1", "0%", "101%", "a%", "%", "1.5", "2 3"] {
            assert!(bad.parse::<Share>().is_err(), "{bad}");
        }
        assert!(serde_json::from_str::<Share>("0").is_err());
        assert_eq!(serde_json::from_str::<Share>("3").unwrap(), Share::Count(3));
    }

    #[test]
    fn waves_are_a_canary_and_batches_that_have_everybody_once() {
        type Case = (Option<Share>, Share, usize, &'static [usize]);
        let cases: &[Case] = &[
            (None, Share::ALL, 5, &[5]),
            (None, Share::Count(2), 5, &[2, 2, 1]),
            (None, Share::Percent(25), 8, &[2, 2, 2, 2]),
            (None, Share::Percent(25), 3, &[1, 1, 1]),
            (Some(Share::Count(1)), Share::ALL, 5, &[1, 4]),
            (Some(Share::Count(1)), Share::Percent(50), 8, &[1, 4, 3]),
            (Some(Share::Count(9)), Share::Count(1), 3, &[3]),
            (Some(Share::Percent(10)), Share::Count(2), 1, &[1]),
            (Some(Share::Count(1)), Share::Count(1), 0, &[]),
        ];
        for (canary, batch, total, expected) in cases {
            let rolling = Rolling { canary: *canary, batch: *batch, ..Rolling::default() };
            assert_eq!(rolling.waves(*total), *expected, "{rolling:?} {total}");
        }
    }
}
