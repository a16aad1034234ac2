//! What systemd's watchdog is told: that all is well, as long as every loop turns.

use super::notify;
use bus::pulse::{Beat, Pulse};
use sd_notify::NotifyState;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tracing::warn;

/// Questions in the time that systemd waits: one that finds a loop slow is not the end yet.
const QUESTIONS: u32 = 3;
/// The loop of a connection to a master.
const CONNECTION: &str = "turn-connection";

/// The beats of the minion's loops, and who asks for them. Dropping it ends the questions.
pub(super) struct Watchdog {
    pulse: Pulse,
    /// The minion's own loop.
    pub(super) core: Beat,
    asking: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Asks if systemd wants to be told.
    pub(super) fn start() -> Self {
        let asked_every = sd_notify::watchdog_enabled().map(|limit| limit / QUESTIONS);
        let pulse = asked_every.map_or_else(Pulse::default, Pulse::new);
        let core = pulse.beat("turn-core");
        let asked = pulse.clone();
        let asking = asked_every.map(|every| {
            tokio::spawn(async move {
                loop {
                    sleep(every).await;
                    match asked.standing_still().as_slice() {
                        [] => notify(&[NotifyState::Watchdog]),
                        still => warn!(
                            loops = still.join(" "),
                            "standing still: the watchdog is not told that all is well"
                        ),
                    }
                }
            })
        });
        Self { pulse, core, asking }
    }

    /// The beat of a connection that begins.
    pub(super) fn connection(&self) -> Beat {
        self.pulse.beat(CONNECTION)
    }

    /// The connection is over, as it should be.
    pub(super) fn disconnected(&self) {
        self.pulse.forget(CONNECTION);
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        if let Some(asking) = &self.asking {
            asking.abort();
        }
    }
}
