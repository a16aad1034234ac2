//! Embeds rumqttd as fan-out for observers, in a supervised child process (`labmaster fanout`); the only file that names it.

use crate::gate::FanoutLink;
use tokio::sync::watch;

/// A supervised fan-out. Dropping it ends the child.
pub struct Fanout {
    _private: (),
}

impl Fanout {
    /// Starts the child and keeps it running (back-off, counted restarts); publishes to it over one bus client.
    pub fn start() -> Self {
        todo!()
    }
    /// Where it listens now; `None` while it is down.
    pub fn link(&self) -> watch::Receiver<Option<FanoutLink>> {
        todo!()
    }
    /// Publishes the live stream; while the fan-out is down, what is not retained is lost (observers' data may be).
    pub fn publish(&self, _topic: &str, _payload: &str) {
        todo!()
    }
}

/// The child's `main`: runs rumqttd on a free loopback port with credentials from standard input, prints the port,
/// ends when standard input closes.
pub fn child_main() -> ! {
    todo!()
}
