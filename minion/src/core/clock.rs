//! What the master's clock says, as far as a minion can know: a message may have been on its way for any time.

use model::{Timestamp, broken};

/// Two clocks may go apart by one part in so many.
const DRIFT: u64 = 1000;
/// The answer to a hello is this late at most before its time counts for more than when the hello was said.
const UNSURE_MAX_MS: u64 = 5_000;

/// The master's clock as this minion believes it.
#[derive(Debug, Default)]
pub(super) struct MasterClock {
    /// The master's clock minus ours, in milliseconds; none until it was heard.
    offset_ms: Option<i64>,
    /// When it was heard last, by our clock.
    heard_at: Timestamp,
    /// When the hello of this connection was said, by our clock.
    asked_at: Timestamp,
}

impl MasterClock {
    pub(super) fn offset_ms(&self) -> Option<i64> {
        self.offset_ms
    }

    pub(super) fn now(&self, now: Timestamp) -> Option<Timestamp> {
        self.offset_ms.map(|offset| Timestamp(now.0.saturating_add_signed(offset)))
    }

    /// A hello is said.
    pub(super) fn ask(&mut self, now: Timestamp) {
        self.asked_at = now;
    }

    /// The answer to the hello: the master's clock said `sent` between then and now.
    pub(super) fn answered(&mut self, now: Timestamp, sent: Timestamp) {
        let took = now.since_ms(self.asked_at).min(UNSURE_MAX_MS);
        self.offset_ms = Some(difference(sent, now).saturating_add_unsigned(took));
        self.heard_at = now;
    }

    /// A message that was signed at `sent`: the master's clock says that or more. It is set back only as far as the two
    /// may have gone apart: else what came late would look as if it came in time.
    pub(super) fn heard(&mut self, now: Timestamp, sent: Timestamp) {
        let least = difference(sent, now);
        let drift = now.since_ms(self.heard_at) / DRIFT;
        let known = self.offset_ms.filter(|_| !broken::leaves_out("late-messages"));
        let known = known.map_or(least, |known| known.saturating_sub_unsigned(drift));
        self.offset_ms = Some(least.max(known));
        self.heard_at = now;
    }

    /// Our own clock was set forward by so much.
    pub(super) fn jumped(&mut self, ms: u64) {
        if let Some(offset) = &mut self.offset_ms {
            *offset = offset.saturating_sub_unsigned(ms);
        }
        self.heard_at = self.heard_at.plus_ms(ms);
        self.asked_at = self.asked_at.plus_ms(ms);
    }
}

fn difference(theirs: Timestamp, ours: Timestamp) -> i64 {
    i64::try_from(i128::from(theirs.0) - i128::from(ours.0)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    #[test]
    fn a_message_that_was_long_on_its_way_sets_the_clock_not_back() {
        let mut clock = MasterClock::default();
        clock.ask(Timestamp(1_000));
        clock.answered(Timestamp(1_010), Timestamp(HOUR));
        assert_eq!(clock.now(Timestamp(1_010)), Some(Timestamp(HOUR + 10)));
        let late = |clock: &mut MasterClock| clock.heard(Timestamp(61_010), Timestamp(HOUR + 1_000));
        let mut believing = MasterClock { offset_ms: clock.offset_ms, ..MasterClock::default() };
        broken::without(Some("late-messages"), || late(&mut believing));
        assert_eq!(believing.now(Timestamp(61_010)), Some(Timestamp(HOUR + 1_000)), "it would be in time");
        late(&mut clock);
        assert_eq!(
            clock.now(Timestamp(61_010)),
            Some(Timestamp(HOUR + 60_010 - 60)),
            "it was an hour and a minute"
        );
        clock.heard(Timestamp(62_010), Timestamp(3 * HOUR));
        assert_eq!(clock.now(Timestamp(62_010)), Some(Timestamp(3 * HOUR)), "the master's was set forward");
        clock.jumped(5 * HOUR);
        assert_eq!(
            clock.now(Timestamp(62_010 + 5 * HOUR)),
            Some(Timestamp(3 * HOUR)),
            "ours was set forward"
        );
        clock.heard(Timestamp(62_010 + 5 * HOUR), Timestamp(2 * HOUR));
        assert_eq!(clock.now(Timestamp(62_010 + 5 * HOUR)), Some(Timestamp(3 * HOUR)));
    }

    #[test]
    fn clocks_that_go_apart_are_followed() {
        let mut clock = MasterClock::default();
        clock.answered(Timestamp(0), Timestamp(0));
        // Ours gains half a second in an hour.
        for hour in 1..=100 {
            clock.heard(Timestamp(hour * HOUR), Timestamp(hour * HOUR - hour * 500));
        }
        assert_eq!(clock.offset_ms(), Some(-50_000));
    }

    #[test]
    fn an_answer_that_took_long_is_taken_for_later_by_seconds_only() {
        let mut clock = MasterClock::default();
        clock.ask(Timestamp(0));
        clock.answered(Timestamp(HOUR), Timestamp(9 * HOUR));
        assert_eq!(clock.now(Timestamp(HOUR)), Some(Timestamp(9 * HOUR + UNSURE_MAX_MS)));
    }
}
