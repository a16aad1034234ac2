//! A gate with a directory of the test's making, and a bare MQTT client to talk to it.

use bus::{
    FromMinion, Identity, PublicKey, ToMinion, Topic,
    envelope::{self, Sequence},
    message::{EnrollRequest, Hello},
    packet::{
        Connect, Packet, Properties, Publish, Qos, Subscription, Version, decode, encode, frame_length,
        matches,
    },
    tls::MasterCertificate,
};
use bytes::{Bytes, BytesMut};
use master::gate::{Directory, FanoutLink, FromGate, Gate, GateConfig};
use model::{MinionId, ObserverRole, Timestamp};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_rustls::TlsConnector;

/// Nothing in these tests takes longer, unless it hangs.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(LIMIT, future).await.unwrap_or_else(|_| panic!("{what} did not happen"))
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Timestamp(u64::try_from(since.as_millis()).unwrap())
}

#[derive(Default)]
pub(crate) struct Book {
    pub(crate) minions: Mutex<HashMap<PublicKey, MinionId>>,
    pub(crate) banned: Mutex<HashSet<PublicKey>>,
    pub(crate) observers: Mutex<HashMap<(String, String), ObserverRole>>,
    pub(crate) retained: Mutex<BTreeMap<String, String>>,
}

impl Directory for Book {
    fn minion(&self, key: &PublicKey) -> Option<MinionId> {
        self.minions.lock().unwrap().get(key).cloned()
    }
    fn banned(&self, key: &PublicKey) -> bool {
        self.banned.lock().unwrap().contains(key)
    }
    fn observer(&self, name: &str, secret: &str, _now: Timestamp) -> Option<ObserverRole> {
        self.observers.lock().unwrap().get(&(name.to_owned(), secret.to_owned())).cloned()
    }
    fn retained(&self, filter: &str) -> Vec<(String, String)> {
        let all = self.retained.lock().unwrap();
        let of = all.iter().filter(|(topic, _)| matches(filter, topic));
        of.map(|(topic, payload)| (topic.clone(), payload.clone())).collect()
    }
}

pub(crate) struct Bench {
    pub(crate) gate: Gate,
    pub(crate) events: mpsc::Receiver<FromGate>,
    pub(crate) book: Arc<Book>,
    pub(crate) certificate: MasterCertificate,
    pub(crate) signer: Arc<Identity>,
    pub(crate) issuer: Arc<Identity>,
    pub(crate) fanout: watch::Sender<Option<FanoutLink>>,
    _directory: TempDir,
}

impl Bench {
    pub(crate) async fn start() -> Self {
        bus::tls::install_provider();
        let directory = TempDir::new().unwrap();
        let names = ["localhost".to_owned()];
        let certificate = MasterCertificate::load_or_create(directory.path(), &names).unwrap();
        let (signer, issuer) = (Arc::new(Identity::generate()), Arc::new(Identity::generate()));
        let (fanout, link) = watch::channel(None);
        let loopback: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let config = GateConfig {
            listen: vec![loopback],
            plain: Some(loopback),
            tls: certificate.server_config(&[]),
            signer: Arc::clone(&signer),
            issuer: issuer.public(),
            fanout: link,
            clock: now,
        };
        let book = Arc::new(Book::default());
        let (gate, events) = Gate::start(config, Arc::clone(&book) as Arc<dyn Directory>).await.unwrap();
        Self { gate, events, book, certificate, signer, issuer, fanout, _directory: directory }
    }

    pub(crate) fn tls_address(&self) -> SocketAddr {
        self.gate.addresses()[0]
    }
    pub(crate) fn plain_address(&self) -> SocketAddr {
        self.gate.addresses()[1]
    }
    pub(crate) fn accept(&self, id: &str) -> Identity {
        let identity = Identity::generate();
        self.book.minions.lock().unwrap().insert(identity.public(), id.parse().unwrap());
        identity
    }
    pub(crate) fn observer(&self, name: &str, role: ObserverRole) {
        self.book.observers.lock().unwrap().insert((name.to_owned(), "secret".to_owned()), role);
    }
    pub(crate) async fn tls(&self, identity: Option<&Identity>) -> Mqtt {
        let tcp = TcpStream::connect(self.tls_address()).await.unwrap();
        self.tls_over(tcp, identity).await.unwrap()
    }
    pub(crate) async fn tls_over(
        &self,
        tcp: TcpStream,
        identity: Option<&Identity>,
    ) -> std::io::Result<Mqtt> {
        let config = bus::tls::client_config(&[self.certificate.pin()], identity);
        let name = "localhost".try_into().unwrap();
        let stream = TlsConnector::from(config).connect(name, tcp).await?;
        Ok(Mqtt::over(stream))
    }
    pub(crate) async fn plain(&self) -> Mqtt {
        Mqtt::over(TcpStream::connect(self.plain_address()).await.unwrap())
    }

    /// A member that is connected, subscribed and has said hello.
    pub(crate) async fn member(&mut self, id: &str) -> (Member, u64) {
        let identity = self.accept(id);
        self.member_with(id, identity, Version::V4).await
    }
    pub(crate) async fn member_with(
        &mut self,
        id: &str,
        identity: Identity,
        version: Version,
    ) -> (Member, u64) {
        let mut mqtt = self.tls(Some(&identity)).await;
        let code = mqtt.connect(connect(version)).await;
        assert_eq!(code, Some(0), "{:?}", self.gate.counters());
        let FromGate::Connected { minion, epoch, .. } = self.event().await else { panic!("not connected") };
        assert_eq!(minion.as_str(), id);
        assert_eq!(mqtt.subscribe(&[(&format!("ctl/{id}/in"), Qos::AtLeastOnce)]).await, [0]);
        let session = envelope::random_session();
        let mut member = Member { mqtt, identity, id: minion, sequence: Sequence::of(session) };
        member.say(&hello()).await;
        let FromGate::Message { message, .. } = self.event().await else { panic!("no hello") };
        assert!(matches!(*message, FromMinion::Hello(_)));
        (member, epoch)
    }

    pub(crate) async fn event(&mut self) -> FromGate {
        soon("an event", self.events.recv()).await.unwrap()
    }
    pub(crate) fn refused(&self, reason: &str) -> u64 {
        self.gate.counters().0.get(reason).copied().unwrap_or(0)
    }
    pub(crate) async fn until_refused(&self, reason: &str, count: u64) {
        let done = timeout(LIMIT, until(|| self.refused(reason) >= count)).await;
        assert!(done.is_ok(), "{reason} was not counted: {:?}", self.gate.counters());
    }
}

/// Looks again and again until it is so; the caller sets the limit.
pub(crate) async fn until(mut is_so: impl FnMut() -> bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    while !is_so() {
        looks.tick().await;
    }
}

pub(crate) fn hello() -> FromMinion {
    FromMinion::Hello(Box::new(Hello {
        version: "0.1.0".to_owned(),
        boot: "b".to_owned(),
        first_of_boot: true,
        sandbox: false,
        grains_hash: bus::seed::sha256(b""),
        grains: None,
        running: None,
        waiting: Vec::new(),
        unacknowledged: Vec::new(),
        next_event: 0,
        masters: 1,
        masters_hash: None,
        speaker: bus::message::Speaker::default(),
        can: Vec::new(),
        conduct: None,
    }))
}

pub(crate) fn connect(version: Version) -> Connect {
    Connect {
        version,
        client_id: "c".to_owned(),
        clean: true,
        keep_alive_s: 60,
        will: None,
        user: None,
        password: None,
        properties: Properties::default(),
    }
}

pub(crate) fn login(version: Version, name: &str) -> Connect {
    Connect { user: Some(name.to_owned()), password: Some(Bytes::from_static(b"secret")), ..connect(version) }
}

pub(crate) fn publish(topic: &str, payload: impl Into<Bytes>, qos: Qos) -> Publish {
    let id = if qos == Qos::AtMostOnce { 0 } else { 7 };
    let properties = Properties::default();
    Publish {
        topic: topic.into(),
        payload: payload.into(),
        qos,
        retain: false,
        duplicate: false,
        id,
        properties,
    }
}

pub(crate) struct Member {
    pub(crate) mqtt: Mqtt,
    pub(crate) identity: Identity,
    pub(crate) id: MinionId,
    pub(crate) sequence: Sequence,
}

impl Member {
    pub(crate) fn seal(&mut self, message: &FromMinion) -> Vec<u8> {
        let header = self.sequence.next(now(), None);
        envelope::seal(&Topic::Out(self.id.clone()), &header, message, &self.identity)
    }
    pub(crate) async fn send(&mut self, topic: &str, payload: Vec<u8>) {
        self.mqtt.send(&Packet::Publish(publish(topic, payload, Qos::AtMostOnce))).await;
    }
    pub(crate) async fn say(&mut self, message: &FromMinion) {
        let payload = self.seal(message);
        self.send(&format!("ctl/{}/out", self.id), payload).await;
    }
    pub(crate) async fn hear(&mut self, bench: &Bench) -> ToMinion {
        let Some(Packet::Publish(it)) = self.mqtt.next().await else { panic!("nothing came") };
        let topic = Topic::In(self.id.clone());
        assert_eq!(it.topic, topic.to_string());
        envelope::open(&topic, &it.payload, &bench.signer.public()).unwrap().into_message()
    }
}

pub(crate) fn request(identity: &Identity, id: &str) -> EnrollRequest {
    EnrollRequest {
        minion: id.parse().unwrap(),
        sign: identity.public().to_text(),
        seal: identity.seal_key().to_text(),
        version: "0.1.0".to_owned(),
        claims: BTreeMap::default(),
        token: None,
        image_sig: None,
    }
}

pub(crate) trait Stream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Stream for T {}

pub(crate) struct Mqtt {
    stream: Box<dyn Stream>,
    input: BytesMut,
    version: Version,
}

impl Mqtt {
    pub(crate) fn over(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), input: BytesMut::new(), version: Version::V4 }
    }
    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        // A peer that has hung up is found by reading.
        let _ = self.stream.write_all(bytes).await;
        let _ = self.stream.flush().await;
    }
    pub(crate) async fn send(&mut self, packet: &Packet) {
        let mut bytes = BytesMut::new();
        encode(self.version, packet, &mut bytes);
        self.raw(&bytes).await;
    }
    /// The next packet; `None` when the gate has hung up.
    pub(crate) async fn next(&mut self) -> Option<Packet> {
        soon("a packet", async {
            loop {
                if let Some(length) = frame_length(&self.input, 1 << 20).unwrap()
                    && self.input.len() >= length
                {
                    return Some(decode(self.version, self.input.split_to(length).freeze()).unwrap());
                }
                if !matches!(self.stream.read_buf(&mut self.input).await, Ok(count) if count > 0) {
                    return None;
                }
            }
        })
        .await
    }
    pub(crate) async fn until_closed(&mut self) {
        while self.next().await.is_some() {}
    }
    /// The code of the answer; `None` if there was none.
    pub(crate) async fn connect(&mut self, connect: Connect) -> Option<u8> {
        self.version = connect.version;
        self.send(&Packet::Connect(Box::new(connect))).await;
        match self.next().await {
            Some(Packet::ConnAck { code, .. }) => Some(code),
            Some(other) => panic!("{other:?}"),
            None => None,
        }
    }
    pub(crate) async fn subscribe(&mut self, filters: &[(&str, Qos)]) -> Vec<u8> {
        let one = |(filter, qos): &(&str, Qos)| Subscription {
            filter: (*filter).to_owned(),
            qos: *qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: 0,
        };
        let filters = filters.iter().map(one).collect();
        self.send(&Packet::Subscribe { id: 3, filters, properties: Properties::default() }).await;
        match self.next().await {
            Some(Packet::SubAck { id: 3, codes }) => codes,
            other => panic!("{other:?}"),
        }
    }
    /// That it is there and answers.
    pub(crate) async fn ping(&mut self) {
        self.send(&Packet::PingRequest).await;
        assert_eq!(self.next().await, Some(Packet::PingResponse));
    }
}
