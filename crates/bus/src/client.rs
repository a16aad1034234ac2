//! The MQTT client of minions and of the master's link to the fan-out: stock rumqttc with our own back-off and limits.
//! The only file beside `packet.rs` that names rumqttc.

use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::mpsc;

/// How to connect.
#[derive(Clone)]
pub struct ClientConfig {
    /// `host:port` in order of preference; the next one is tried after a failure.
    pub addresses: Vec<String>,
    /// None is plain TCP: only for the loopback link to the fan-out.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// MQTT client id.
    pub client_id: String,
    /// User name and password.
    pub login: Option<(String, String)>,
    /// Topics to subscribe to on every connection before `Connected` is reported.
    pub subscribe: Vec<String>,
    /// Largest packet either way, in bytes.
    pub packet_max: usize,
    /// Seconds of MQTT keep-alive.
    pub keep_alive_s: u16,
    /// Ceiling of the back-off between attempts, in milliseconds (full jitter from 1 s, doubled).
    pub backoff_max_ms: u64,
}

/// What a connection tells.
#[derive(Clone, Debug)]
pub enum ClientEvent {
    /// Subscribed, ready to publish. A new one begins a new session.
    Connected {
        /// Which address.
        address: String,
    },
    /// A message came.
    Message {
        /// Where.
        topic: String,
        /// What.
        payload: Bytes,
    },
    /// Over; it tries again by itself.
    Disconnected {
        /// Why, for people.
        reason: String,
        /// Until the next attempt, in milliseconds.
        retry_ms: u64,
    },
}

/// A handle to publish with. Dropping all handles ends the connection in good order.
#[derive(Clone)]
pub struct Client {
    _private: (),
}

/// The connection is gone or its queue is full: what was to be sent is the caller's to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not connected, or the queue is full")]
pub struct NotSent;

impl Client {
    /// Starts the connection's task on the current runtime.
    pub fn start(_config: ClientConfig) -> (Self, mpsc::Receiver<ClientEvent>) {
        todo!()
    }
    /// Publishes at QoS 0, waiting for room in the queue; fails while not connected.
    pub async fn publish(&self, _topic: String, _payload: Vec<u8>, _retain: bool) -> Result<(), NotSent> {
        todo!()
    }
    /// Waits (at most 2 s) until what was published has been written, then disconnects in good order and stays so.
    pub async fn close(self) {
        todo!()
    }
    /// Before the next attempt after a loss, wait a random time up to this many milliseconds instead of the usual first step.
    pub fn spread_next(&self, _ms: u64) {
        todo!()
    }
}
