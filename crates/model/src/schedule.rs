//! Times that come again: what a schedule says, as data that a minion can go by without knowing cron or time zones.

use serde::{Deserialize, Serialize};

/// What happens to times that passed while nobody was there to act, or while the clock was not set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// Nothing.
    Skip,
    /// The newest is made up for.
    #[default]
    Once,
    /// Each is made up for, up to a limit.
    All,
}

impl Missed {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Once => "once",
            Self::All => "all",
        }
    }
}

/// When something is to happen again and again, in numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "timing")]
pub enum Times {
    /// Every so many milliseconds since the epoch, and so many later.
    Every {
        /// Between two.
        every_ms: u64,
        /// Of the first after the epoch.
        offset_ms: u64,
    },
    /// Times of a wall clock.
    Cron(CronTimes),
}

/// A cron expression as sets of bits, and the wall clock's offsets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CronTimes {
    /// Bit n: minute n.
    pub minutes: u64,
    /// Bit n: hour n. With all of them the expression means every hour that passes, else times of the wall clock.
    pub hours: u32,
    /// Bit n: day n of the month.
    pub days: u32,
    /// Bit n: month n.
    pub months: u16,
    /// Bit n: day n of the week, from Sunday.
    pub weekdays: u8,
    /// A day of the month or of the week suffices; else both are meant.
    pub any_day: bool,
    /// From when on (seconds since the epoch) the wall clock is how many seconds ahead of UTC, in order; the first one
    /// holds before its time, too.
    pub offsets: Vec<(i64, i32)>,
}

/// A schedule that a minion keeps by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MinionSchedule {
    /// Its name in pillar.
    pub name: String,
    /// When.
    pub times: Times,
    /// Begins up to so many milliseconds later, by a hash of name and time.
    #[serde(default)]
    pub jitter_ms: u64,
    /// What happens to times that passed.
    #[serde(default)]
    pub missed: Missed,
}
