//! Which loops of a daemon still turn: each stamps its beat, and the watchdog is told only if all have since it was told
//! last.

use model::broken;
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::sleep;

/// A loop that waits turns at least this often, whoever asks how rarely.
const TURN_MAX: Duration = Duration::from_secs(10);
/// Shortest pause between two turns of a loop that waits.
const TURN_MIN: Duration = Duration::from_millis(20);

/// The beats of one process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Pulse {
    turn_every: Duration,
    loops: Arc<Mutex<Vec<Loop>>>,
}

#[derive(Debug)]
struct Loop {
    name: &'static str,
    turns: Arc<AtomicU64>,
    seen: u64,
}

impl Default for Pulse {
    /// For a process that nobody watches.
    fn default() -> Self {
        Self::new(TURN_MAX * 2)
    }
}

impl Pulse {
    /// For somebody who asks this often.
    pub fn new(asked_every: Duration) -> Self {
        let turn_every = (asked_every / 2).clamp(TURN_MIN, TURN_MAX);
        Self { turn_every, loops: Arc::default() }
    }

    /// The beat of a loop that begins. The name begins with `turn-`, and is one of [`model::broken::PARTS`]: a test can
    /// stop that loop.
    pub fn beat(&self, name: &'static str) -> Beat {
        let turns = Arc::new(AtomicU64::new(1));
        self.lock().push(Loop { name, turns: Arc::clone(&turns), seen: 0 });
        Beat { name, turns, every: self.turn_every }
    }

    /// The loops of this name are over, as they should be: nobody waits for them any more.
    pub fn forget(&self, name: &'static str) {
        self.lock().retain(|it| it.name != name);
    }

    /// The loops that have not turned since this was asked last.
    pub fn standing_still(&self) -> Vec<&'static str> {
        let mut still = Vec::new();
        for it in self.lock().iter_mut() {
            let turns = it.turns.load(Ordering::Relaxed);
            if turns == it.seen && !broken::leaves_out("ask-every-loop") {
                still.push(it.name.trim_start_matches("turn-"));
            }
            it.seen = turns;
        }
        still
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Loop>> {
        self.loops.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one loop stamps.
#[derive(Clone, Debug)]
pub struct Beat {
    name: &'static str,
    turns: Arc<AtomicU64>,
    every: Duration,
}

impl Beat {
    /// Once around.
    pub fn turn(&self) {
        if !broken::leaves_out(self.name) {
            self.turns.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A loop that waits is to turn this often.
    pub fn every(&self) -> Duration {
        self.every
    }

    /// Turns while it waits for what may not come for long. Only for waits that have no end of their own: a wait that
    /// should be over soon is better noticed when it is not.
    pub async fn idle<T>(&self, waited_for: impl Future<Output = T>) -> T {
        if broken::leaves_out(self.name) {
            return std::future::pending().await;
        }
        let mut waited_for = std::pin::pin!(waited_for);
        loop {
            self.turn();
            tokio::select! {
                done = &mut waited_for => return done,
                () = sleep(self.every) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_does_not_turn_is_named() {
        let pulse = Pulse::new(Duration::from_secs(1));
        let (gate, web) = (pulse.beat("turn-gate"), pulse.beat("turn-web"));
        assert_eq!(pulse.standing_still(), [] as [&str; 0], "both have just begun");
        gate.turn();
        assert_eq!(pulse.standing_still(), ["web"]);
        web.turn();
        assert_eq!(pulse.standing_still(), ["gate"]);
        assert_eq!(pulse.standing_still(), ["gate", "web"]);
        broken::without(Some("ask-every-loop"), || {
            assert_eq!(
                pulse.standing_still(),
                [] as [&str; 0],
                "what a watchdog of one loop alone would see"
            );
        });
        drop(gate);
        assert_eq!(pulse.standing_still(), ["gate", "web"], "a loop that ended turns no more");
        pulse.forget("turn-gate");
        assert_eq!(pulse.standing_still(), ["web"]);
    }

    #[tokio::test]
    async fn a_loop_that_waits_turns_and_one_that_hangs_does_not() {
        let pulse = Pulse::new(Duration::from_millis(100));
        let (idle, hangs) = (pulse.beat("turn-gate"), pulse.beat("turn-web"));
        let watchdog = async {
            // Timers of one thread go off in order: the waiting loop had its turn before each question.
            let mut asked = Vec::new();
            for _ in 0..3 {
                sleep(Duration::from_millis(100)).await;
                asked.push(pulse.standing_still());
            }
            asked
        };
        let asked = idle.idle(watchdog).await;
        drop(hangs);
        assert_eq!(asked, [vec![], vec!["web"], vec!["web"]]);
    }
}
