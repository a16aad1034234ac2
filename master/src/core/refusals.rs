//! Refused requests in the audit log: written as long as they are few, then only counted, so that nobody fills the disk.

use super::Master;
use model::{Caller, Timestamp};
use std::collections::BTreeMap;

/// Lines of one caller in a minute.
const PER_CALLER_MAX: u32 = 10;
/// Lines of all strangers, and of all others, in a minute.
const PER_MINUTE_MAX: u32 = 60;
/// The same in a day: some megabytes.
const PER_DAY_MAX: u32 = 5_000;
/// Callers that are told apart in a minute.
const CALLERS_MAX: usize = 256;

const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 86_400_000;

/// A request that was refused for who asked it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Who; of a stranger what is known.
    pub caller: Caller,
    /// What they wanted.
    pub what: String,
    /// Why not.
    pub reason: String,
}

/// How many lines were written lately: strangers take nothing away from those who are known.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    strangers: Share,
    known: Share,
}

/// Lines of some callers.
#[derive(Debug, Default)]
struct Share {
    minute: u64,
    day: u64,
    in_minute: u32,
    in_day: u32,
    by_caller: BTreeMap<String, u32>,
    /// Not written since the last line.
    unsaid: u64,
}

impl Refusals {
    /// Whether this one is written, and how many of its like before it were not. Who is known counts by name, however
    /// often it comes from elsewhere; a stranger, who calls itself as it likes, by where it comes from.
    fn admit(&mut self, now: Timestamp, caller: &Caller) -> Option<u64> {
        if caller.role.is_empty() {
            self.strangers.admit(now, &caller.via)
        } else {
            self.known.admit(now, &caller.name)
        }
    }
}

impl Share {
    fn admit(&mut self, now: Timestamp, key: &str) -> Option<u64> {
        let (minute, day) = (now.0 / MINUTE_MS, now.0 / DAY_MS);
        if minute != self.minute {
            (self.minute, self.in_minute) = (minute, 0);
            self.by_caller.clear();
        }
        if day != self.day {
            (self.day, self.in_day) = (day, 0);
        }
        let full = self.in_minute >= PER_MINUTE_MAX || self.in_day >= PER_DAY_MAX;
        let own = self.by_caller.get(key).copied();
        let room = own.map_or(self.by_caller.len() < CALLERS_MAX, |it| it < PER_CALLER_MAX);
        if full || !room {
            self.unsaid += 1;
            return None;
        }
        self.by_caller.insert(key.to_owned(), own.unwrap_or(0) + 1);
        self.in_minute += 1;
        self.in_day += 1;
        Some(std::mem::take(&mut self.unsaid))
    }
}

impl Master {
    /// A line in the audit log for what was refused, unless there were too many lately.
    pub(crate) fn audit_refusal(&mut self, refused: Refused) {
        self.count("not allowed");
        if self.degraded.is_some() {
            return;
        }
        let Refused { caller, what, reason } = refused;
        let Some(unsaid) = self.refusals.admit(self.now, &caller) else { return };
        let result = match unsaid {
            0 => format!("refused: {reason}"),
            _ => format!("refused: {reason} ({unsaid} refusals before this one were only counted)"),
        };
        self.audit(caller, what, result);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_refusals_is_counted_and_not_written() {
        let mut refusals = Refusals::default();
        let caller = |number: u32| Caller::new(format!("c{number}"), "x", "viewer");
        let now = Timestamp(DAY_MS * 20_000);
        let written = (0..1_000).filter(|_| refusals.admit(now, &caller(1)).is_some()).count();
        assert_eq!(written, PER_CALLER_MAX as usize, "of one caller");
        let written = (2..1_000).filter(|it| refusals.admit(now, &caller(*it)).is_some()).count();
        assert_eq!(written, (PER_MINUTE_MAX - PER_CALLER_MAX) as usize, "of all, and another one has his");
        let next = now.plus_ms(MINUTE_MS);
        assert_eq!(refusals.admit(next, &caller(1)), Some(998 - 50), "what was not written is told");
        assert_eq!(refusals.admit(next, &caller(1)), Some(0));
        let mut day = 0;
        for minute in 0..24 * 60 {
            let at = Timestamp(DAY_MS * 20_001 + minute * MINUTE_MS);
            day += (0..100).filter(|it| refusals.admit(at, &caller(*it)).is_some()).count();
        }
        assert_eq!(day, PER_DAY_MAX as usize);
        assert!(refusals.known.by_caller.len() <= CALLERS_MAX);
    }

    #[test]
    fn strangers_hide_no_refusal_of_somebody_who_is_known_and_have_no_more_by_other_names() {
        let mut refusals = Refusals::default();
        let now = Timestamp(DAY_MS * 20_000);
        let named = |it: u32| Caller::new(format!("c{it}"), "192.0.2.1 mqtt", "");
        let written = (0..100).filter(|it| refusals.admit(now, &named(*it)).is_some()).count();
        assert_eq!(written, PER_CALLER_MAX as usize, "of one address");
        for minute in 0..24 * 60 {
            let at = now.plus_ms(minute * MINUTE_MS);
            for from in 0..200 {
                refusals.admit(at, &Caller::new("c", format!("192.0.2.{from} https"), ""));
            }
            let known = Caller::new("ci", format!("192.0.2.{minute} token=ci"), "viewer");
            if minute % 60 == 0 {
                assert_eq!(refusals.admit(at, &known), Some(0), "minute {minute}");
            }
        }
    }
}
