//! The broker's face: minions' MQTT endpoint, observers' door, limits and counters. Knows who someone is and what they
//! may say; never what it means.

use bus::PublicKey;
use bus::message::{EnrollAnswer, EnrollRequest, FromMinion, ToMinion};
use model::{Fingerprint, MinionId, ObserverRole, Timestamp, TokenTerms};
use serde_json::{Map, Value};
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};
use tokio::sync::mpsc;

use crate::core::TokenFault;

/// What the gate looks up on every connection: kept by the daemon, read by every session.
pub trait Directory: Send + Sync + 'static {
    /// The accepted minion of a key.
    fn minion(&self, key: &PublicKey) -> Option<MinionId>;
    /// Whether a key was revoked or rejected: refused at once.
    fn banned(&self, key: &PublicKey) -> bool;
    /// An observer, if name and secret are right and it has not expired at `now`.
    fn observer(&self, name: &str, secret: &str, now: Timestamp) -> Option<ObserverRole>;
    /// All retained messages that an MQTT filter matches, in order of topic.
    fn retained(&self, filter: &str) -> Vec<(String, String)>;
}

/// What the gate tells the daemon. Bounded: when the daemon is slow, sockets are not read.
#[derive(Debug)]
pub enum FromGate {
    /// See [`crate::core::Input::Connected`].
    Connected {
        /// Who.
        minion: MinionId,
        /// Which connection.
        epoch: u64,
        /// Address without port.
        address: String,
    },
    /// See [`crate::core::Input::Disconnected`].
    Disconnected {
        /// Who.
        minion: MinionId,
        /// Which connection.
        epoch: u64,
    },
    /// Signature, topic, session, sequence and expiry are good.
    Message {
        /// Who.
        minion: MinionId,
        /// Which connection.
        epoch: u64,
        /// What.
        message: Box<FromMinion>,
    },
    /// Telemetry.
    Sample {
        /// Who.
        minion: MinionId,
        /// Flat numbers.
        sample: Map<String, Value>,
    },
    /// Signature is good.
    Enroll {
        /// Who.
        fingerprint: Fingerprint,
        /// Its connection.
        epoch: u64,
        /// What.
        request: Box<EnrollRequest>,
        /// Its token.
        terms: Result<Box<TokenTerms>, TokenFault>,
        /// Address without port.
        address: String,
    },
    /// An integration wrote below `lab/in/<user>/`.
    Integration {
        /// Who.
        user: String,
        /// Below that.
        tag: String,
        /// What.
        data: Map<String, Value>,
    },
}

/// How the gate is set up.
#[derive(Clone)]
pub struct GateConfig {
    /// Where MQTT over TLS listens; several, IPv6 too. Port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// Plain MQTT for observers, loopback addresses only.
    pub plain: Option<SocketAddr>,
    /// For the listeners.
    pub tls: Arc<rustls::ServerConfig>,
    /// Signs what goes to minions.
    pub signer: Arc<bus::Identity>,
    /// Checks tokens (the enrolment issuer's key).
    pub issuer: PublicKey,
    /// `host:port`, user and password of the fan-out on loopback; none while it is down.
    pub fanout: tokio::sync::watch::Receiver<Option<FanoutLink>>,
    /// Now, by the master's clock.
    pub clock: fn() -> Timestamp,
}

/// Where the fan-out listens, with this start's credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FanoutLink {
    /// Loopback.
    pub address: SocketAddr,
    /// This start's user.
    pub user: String,
    /// This start's password.
    pub password: String,
}

/// A running gate. Dropping it closes everything.
#[derive(Clone)]
pub struct Gate {
    _private: (),
}

/// Why the gate cannot start.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// An address is taken or not ours.
    #[error("cannot listen on {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// The system's word.
        #[source]
        source: std::io::Error,
    },
}

impl Gate {
    /// Binds, then accepts until dropped.
    pub async fn start(
        _config: GateConfig,
        _directory: Arc<dyn Directory>,
    ) -> Result<(Self, mpsc::Receiver<FromGate>), GateError> {
        todo!()
    }
    /// Addresses really bound.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        todo!()
    }
    /// Signs and queues for a minion; a full queue closes its connection (it comes back and says hello).
    pub fn send(&self, _minion: &MinionId, _message: &ToMinion) {
        todo!()
    }
    /// Answers an enrolment on the connection it came from.
    pub fn enroll_answer(&self, _fingerprint: &Fingerprint, _answer: &EnrollAnswer) {
        todo!()
    }
    /// Ends a minion's (or key's) connections now.
    pub fn close(&self, _minion: &MinionId) {
        todo!()
    }
    /// Takes over an MQTT-over-websocket stream of an observer that the web server upgraded.
    pub fn adopt_observer(&self, _stream: Box<dyn ObserverStream>, _address: SocketAddr) {
        todo!()
    }
    /// Refusals since the start, by reason; and messages taken in.
    pub fn counters(&self) -> (BTreeMap<String, u64>, u64) {
        todo!()
    }
}

/// A byte stream that carries MQTT.
pub trait ObserverStream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static> ObserverStream for T {}
