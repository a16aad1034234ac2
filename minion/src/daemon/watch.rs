//! What systemd's watchdog is told: that all is well, as long as every loop turns.

use super::notify;
use bus::client::{Client, ClientConfig, ClientEvent};
use bus::pulse::{Beat, Pulse};
use sd_notify::NotifyState;
use tokio::sync::mpsc;
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

    /// The beat of a thread that lives as long as the program.
    pub(super) fn beat(&self, name: &'static str) -> Beat {
        self.pulse.beat(name)
    }

    /// Makes a connection, and asks for its loop from now on; no more for that of the one before.
    pub(super) fn connect(&self, config: ClientConfig) -> (Client, mpsc::Receiver<ClientEvent>) {
        self.disconnected();
        Client::start_watched(config, self.pulse.beat(CONNECTION))
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn nowhere() -> ClientConfig {
        ClientConfig {
            addresses: vec!["127.0.0.1:1".to_owned()],
            tls: None,
            client_id: "vm-1".to_owned(),
            login: None,
            subscribe: Vec::new(),
            packet_max: 1024,
            keep_alive_s: 30,
            backoff_max_ms: 60_000,
        }
    }

    #[tokio::test]
    async fn a_connection_made_anew_is_asked_for_and_the_one_before_is_not() {
        let asked_every = Duration::from_millis(100);
        let pulse = Pulse::new(asked_every);
        let watchdog = Watchdog { core: pulse.beat("turn-core"), pulse, asking: None };
        let (old, _events) = watchdog.connect(nowhere());
        let (anew, _events_anew) = watchdog.connect(nowhere());
        old.close().await;
        for _ in 0..3 {
            assert_eq!(watchdog.pulse.standing_still(), [] as [&str; 0]);
            watchdog.core.idle(sleep(asked_every)).await;
        }
        anew.close().await;
        for still in [vec![], vec!["connection"]] {
            watchdog.core.turn();
            assert_eq!(watchdog.pulse.standing_still(), still);
        }
        watchdog.disconnected();
        watchdog.core.turn();
        assert_eq!(watchdog.pulse.standing_still(), [] as [&str; 0]);
    }
}
