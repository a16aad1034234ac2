//! Somebody who has the keys of a real minion, and tries more than that minion may.

use bus::client::{Client, ClientConfig, ClientEvent};
use bus::masters::Masters;
use bus::seed::Seed;
use bus::{Identity, PublicKey};
use model::ContentHash;
use std::fs;
use std::path::Path;
use std::time::Duration;
use tests::lab::{LIMIT, Lab};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

/// Keys that were copied from a minion's disk, and where its master is.
pub(crate) struct Intruder {
    pub(crate) identity: Identity,
    pub(crate) masters: Masters,
    runtime: Runtime,
}

/// An open connection.
pub(crate) struct Break {
    pub(crate) client: Client,
    pub(crate) events: Receiver<ClientEvent>,
}

impl Intruder {
    /// With the key files of a minion that was accepted.
    pub(crate) fn with_keys_of(lab: &mut Lab, index: usize) -> Self {
        bus::tls::install_provider();
        let identity = Identity::load(&lab.agent(index).folder.join("state"), "key").unwrap();
        let seed = fs::read_to_string(lab.seed("nobody", &[])).unwrap();
        let seed = Seed::parse(&seed).unwrap();
        let masters = Masters::open(&seed.masters, &PublicKey::from_text(&seed.org).unwrap()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { identity, masters, runtime }
    }

    pub(crate) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(async { timeout(LIMIT, future).await.expect("it ends in time") })
    }

    /// Connects, and hears how that went.
    async fn open(&self, subscribe: &[&str]) -> (Break, ClientEvent) {
        let entry = &self.masters.masters[0];
        let (client, mut events) = Client::start(ClientConfig {
            addresses: entry.mqtt.clone(),
            tls: Some(bus::tls::client_config(&self.masters.pins(), Some(&self.identity))),
            client_id: "intruder".to_owned(),
            login: None,
            subscribe: subscribe.iter().map(|it| (*it).to_owned()).collect(),
            packet_max: bus::client::PACKET_MAX,
            keep_alive_s: 30,
            backoff_max_ms: 60_000,
        });
        let first = events.recv().await.expect("it goes on until it is dropped");
        (Break { client, events }, first)
    }

    /// A connection that the gate took, with these subscriptions.
    pub(crate) fn join(&self, subscribe: &[&str]) -> Break {
        let (it, first) = self.wait(self.open(subscribe));
        assert!(matches!(first, ClientEvent::Connected { .. }), "{subscribe:?}: {first:?}");
        it
    }

    /// The same, or why it was refused.
    pub(crate) fn try_join(&self, subscribe: &[&str]) -> Result<Break, String> {
        match self.wait(self.open(subscribe)) {
            (it, ClientEvent::Connected { .. }) => Ok(it),
            (_, ClientEvent::Disconnected { reason, .. }) => Err(reason),
            (_, other) => panic!("{subscribe:?}: {other:?}"),
        }
    }

    /// Why a connection with a subscription was refused.
    pub(crate) fn refused_subscription(&self, filter: &str) -> String {
        match self.wait(self.open(&[filter])) {
            (_, ClientEvent::Disconnected { reason, .. }) => reason,
            (_, other) => panic!("{filter} was not refused: {other:?}"),
        }
    }

    /// Publishes as a member that joined well; the connection must end.
    pub(crate) fn refused_publish(&self, own: &str, topic: &str) {
        let mut it = self.join(&[own]);
        self.wait(async {
            it.client.publish(topic.to_owned(), b"{\"v\":1}".to_vec(), false).await.unwrap();
            loop {
                match it.events.recv().await.expect("it goes on until it is dropped") {
                    ClientEvent::Disconnected { .. } => return,
                    ClientEvent::Message { topic, .. } => assert!(topic == own, "heard {topic}"),
                    ClientEvent::Connected { .. } => {}
                }
            }
        });
    }

    /// Fetches a content by its hash.
    pub(crate) fn fetch(
        &self,
        hash: ContentHash,
        size: u64,
        into: &Path,
    ) -> Result<(), bus::http::HttpError> {
        let tls = bus::tls::client_config(&self.masters.pins(), Some(&self.identity));
        self.wait(bus::http::fetch(&self.masters.masters[0].https, tls, hash, size, into))
    }

    /// The next message that comes, if one comes soon.
    pub(crate) fn hear(&self, it: &mut Break, limit: Duration) -> Option<ClientEvent> {
        self.wait(async { timeout(limit, it.events.recv()).await.ok().flatten() })
    }
}
