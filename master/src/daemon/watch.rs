//! What systemd's watchdog is told: that all is well, as long as every loop turns.

use super::start::tell_systemd;
use bus::pulse::Pulse;
use sd_notify::NotifyState;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tracing::warn;

/// Questions in the time that systemd waits: one that finds a loop slow is not the end yet.
const QUESTIONS: u32 = 3;

/// Asks the loops whether they turn, if systemd wants to be told. Dropping it ends the questions.
pub(super) struct Watchdog {
    /// What the loops stamp.
    pub(super) pulse: Pulse,
    asked_every: Option<Duration>,
    asking: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// For loops that begin from now on.
    pub(super) fn new() -> Self {
        let asked_every = sd_notify::watchdog_enabled().map(|limit| limit / QUESTIONS);
        let pulse = asked_every.map_or_else(Pulse::default, Pulse::new);
        Self { pulse, asked_every, asking: None }
    }

    /// All loops have begun: asks from now on.
    pub(super) fn start(&mut self) {
        let Some(every) = self.asked_every else { return };
        let pulse = self.pulse.clone();
        self.asking = Some(tokio::spawn(async move {
            loop {
                sleep(every).await;
                match pulse.standing_still().as_slice() {
                    [] => tell_systemd(&[NotifyState::Watchdog]),
                    still => {
                        warn!(
                            loops = still.join(" "),
                            "standing still: the watchdog is not told that all is well"
                        );
                    }
                }
            }
        }));
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        if let Some(asking) = &self.asking {
            asking.abort();
        }
    }
}
