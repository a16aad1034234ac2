//! Ephemeral machines: forgotten by themselves when they stay away.

use super::{Entry, Master, enroll::Dismissal, timers::Timer};
use model::{Caller, MinionId, Presence, broken};
use serde_json::json;

/// A store that is full is asked again after this.
const AGAIN_MS: u64 = 60_000;

impl Master {
    /// Begins to count how long an ephemeral machine stays away. After a start of the master that is when it is lost:
    /// while nobody was there to hear it, it was not away.
    pub(crate) fn watch_absence(&mut self, id: &MinionId) {
        let Some(grace_ms) = self.grace_ms(id) else { return };
        let since_us = self.micros();
        if let Some(live) = self.live.get_mut(id) {
            live.away_since_us = Some(since_us);
            self.wake_at(self.now.plus_ms(grace_ms), Timer::Retire(id.clone()));
        }
    }

    fn grace_ms(&self, id: &MinionId) -> Option<u64> {
        let grace_ms = self.book.minions.get(id)?.retire_after_ms?;
        Some(if broken::leaves_out("grace-before-retirement") { 0 } else { grace_ms })
    }

    /// Retires it if it was away for all of the time, by a clock that nobody sets.
    pub(crate) fn check_absence(&mut self, id: &MinionId) {
        let Some(grace_ms) = self.grace_ms(id) else { return };
        let Some(live) = self.live.get(id) else { return };
        let away = matches!(live.presence, Presence::Lost | Presence::Down);
        let Some(since_us) = live.away_since_us.filter(|_| away && !self.is_suspended(id)) else { return };
        let away_ms = self.micros().saturating_sub(since_us) / 1000;
        let left_ms = match grace_ms.saturating_sub(away_ms) {
            0 if self.degraded.is_some() => AGAIN_MS,
            left_ms => left_ms,
        };
        if left_ms > 0 {
            return self.wake_at(self.now.plus_ms(left_ms), Timer::Retire(id.clone()));
        }
        self.retire(id, away_ms, grace_ms);
    }

    fn retire(&mut self, id: &MinionId, away_ms: u64, grace_ms: u64) {
        let Some(minion) = self.book.minions.get(id) else { return };
        let (fingerprint, seen_at) = (minion.fingerprint.clone(), minion.seen_at);
        let caller = Caller::new("labmaster", "retire", "");
        let what = format!("retire minion {id}: away for {} s", away_ms / 1000);
        self.audit(caller, what, "accepted".to_owned());
        let data = json!({
            "minion": id, "fingerprint": fingerprint, "away_ms": away_ms, "retire_after_ms": grace_ms,
            "seen_at": seen_at,
        });
        self.dismiss(id, "retired", Dismissal::Retired);
        // There may be thousands of them: a key that comes back is a stranger's.
        self.record(Entry::KeyGone(fingerprint));
        self.emit_master(format!("minion/{id}/retired"), data);
    }
}

#[cfg(test)]
mod tests;
