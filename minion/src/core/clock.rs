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
mod tests;
