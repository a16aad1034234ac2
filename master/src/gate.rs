//! The broker's face: minions' MQTT endpoint, observers' door, limits and counters. Knows who someone is and what they
//! may say; never what it means.

mod acl;
mod budget;
mod counters;
mod listener;
mod observers;
mod rate;
mod registry;
mod relay;
mod session;
mod wire;

use bus::PublicKey;
use bus::message::{EnrollAnswer, EnrollRequest, FromMinion, ToMinion};
use bus::pulse::Pulse;
use model::{Fingerprint, MinionId, ObserverRole, Secret, Timestamp, TokenTerms};
use serde_json::{Map, Value};
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::core::TokenFault;
use crate::limits::Limits;
use budget::Budget;
use counters::Counters;
use registry::{Outgoing, Peer, Registry};

/// Messages that may wait for the daemon; beyond, sockets are not read.
const EVENTS_MAX: usize = 1024;
/// Rough size of a queued message whose size does not matter.
const SMALL_MESSAGE: usize = 512;

/// What the gate looks up on every connection: kept by the daemon, read by every session.
pub trait Directory: Send + Sync + 'static {
    /// The accepted minion of a key.
    fn minion(&self, key: &PublicKey) -> Option<MinionId>;
    /// Whether a key was revoked or rejected: refused at once.
    fn banned(&self, key: &PublicKey) -> bool;
    /// An observer, if name and secret are right and it has not expired at `now`.
    fn observer(&self, name: &str, secret: &str, now: Timestamp) -> Option<ObserverRole>;
    /// Somebody was not let in as an observer, for the audit log.
    fn refused_login(&self, _name: &str, _secret: &str, _address: IpAddr) {}
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
    pub password: Secret,
}

/// A running gate. Dropping the last clone closes everything.
#[derive(Clone)]
pub struct Gate {
    shared: Arc<Shared>,
    addresses: Arc<[SocketAddr]>,
    _life: Arc<DropGuard>,
}

/// What every connection holds of the gate.
pub(crate) struct Shared {
    config: GateConfig,
    directory: Arc<dyn Directory>,
    events: mpsc::Sender<FromGate>,
    registry: Registry,
    counters: Counters,
    budget: Arc<Budget>,
    limits: Arc<Limits>,
    observers: std::sync::atomic::AtomicUsize,
    names: Arc<relay::Names>,
    stop: CancellationToken,
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
    /// Plain MQTT would leave the machine.
    #[error("plain MQTT on {address} would go over the network: use a loopback address, or TLS on 8883")]
    PlainNotLoopback {
        /// Which.
        address: SocketAddr,
    },
}

impl Gate {
    /// Binds, then accepts until dropped.
    pub async fn start(
        config: GateConfig,
        directory: Arc<dyn Directory>,
    ) -> Result<(Self, mpsc::Receiver<FromGate>), GateError> {
        Self::start_watched(config, directory, &Pulse::default()).await
    }
    /// The same; its accept loops stamp beats.
    pub async fn start_watched(
        config: GateConfig,
        directory: Arc<dyn Directory>,
        pulse: &Pulse,
    ) -> Result<(Self, mpsc::Receiver<FromGate>), GateError> {
        let bound = listener::bind(&config).await?;
        let addresses = bound.iter().map(listener::Bound::address).collect();
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            registry: Registry::new((config.clock)().0),
            config,
            directory,
            events,
            counters: Counters::default(),
            budget: Arc::default(),
            limits: Arc::default(),
            observers: std::sync::atomic::AtomicUsize::new(0),
            names: Arc::default(),
            stop: stop.clone(),
        });
        for one in bound {
            tokio::spawn(listener::accept(Arc::clone(&shared), one, pulse.beat("turn-gate")));
        }
        Ok((Self { shared, addresses, _life: Arc::new(stop.drop_guard()) }, receiver))
    }
    /// Addresses really bound: those of `listen`, then the plain one.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.to_vec()
    }
    /// Signs and queues for a minion; a full queue closes its connection (it comes back and says hello).
    pub fn send(&self, minion: &MinionId, message: &ToMinion) {
        let weight = match message {
            ToMinion::Offer(_) | ToMinion::Probe { .. } | ToMinion::Masters { .. } => json_length(message),
            _ => SMALL_MESSAGE,
        };
        let peer = Peer::Member(minion.clone());
        self.shared.registry.send(&peer, Outgoing::Message(message.clone()), weight);
    }
    /// Answers an enrolment on the connection it came from.
    pub fn enroll_answer(&self, fingerprint: &Fingerprint, answer: &EnrollAnswer) {
        let peer = Peer::Stranger(fingerprint.clone());
        self.shared.registry.send(&peer, Outgoing::Answer(answer.clone()), SMALL_MESSAGE);
    }
    /// Ends a minion's connection within a second: what is queued is written first.
    pub fn close(&self, minion: &MinionId) {
        self.shared.registry.close(&Peer::Member(minion.clone()));
    }
    /// Ends the connection of a key that is no member.
    pub fn close_key(&self, fingerprint: &Fingerprint) {
        self.shared.registry.close(&Peer::Stranger(fingerprint.clone()));
    }
    /// Takes over an MQTT-over-websocket stream of an observer that the web server upgraded.
    pub fn adopt_observer(&self, stream: Box<dyn ObserverStream>, address: SocketAddr) {
        tokio::spawn(listener::adopt(Arc::clone(&self.shared), stream, address));
    }
    /// Refusals since the start, by reason; and messages taken in.
    pub fn counters(&self) -> (BTreeMap<String, u64>, u64) {
        let (mut refused, taken) = self.shared.counters.read();
        refused.extend(self.shared.limits.counts());
        (refused, taken)
    }
    /// The limits that the web server shares.
    pub(crate) fn limits(&self) -> Arc<Limits> {
        Arc::clone(&self.shared.limits)
    }
    /// Lets nobody in any more, and ends all connections in good order: what is queued is written first.
    pub fn say_goodbye(&self) {
        self.shared.stop.cancel();
    }
    /// Whether anybody observes. An observer is counted before it is shown what is retained: what was published before
    /// that, it finds there.
    pub fn is_observed(&self) -> bool {
        self.shared.observers.load(std::sync::atomic::Ordering::Acquire) > 0
    }
    /// Connections now: minions, keys that are not known, observers.
    pub fn connected(&self) -> (usize, usize, usize) {
        let (members, strangers) = self.shared.registry.counts();
        (members, strangers, self.shared.observers.load(std::sync::atomic::Ordering::Relaxed))
    }
}

/// Bytes of a message as JSON, without keeping them.
fn json_length(message: &ToMinion) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // A message of ours is always JSON.
    let _ = serde_json::to_writer(&mut count, message);
    count.0
}

/// A byte stream that carries MQTT.
pub trait ObserverStream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static> ObserverStream for T {}
