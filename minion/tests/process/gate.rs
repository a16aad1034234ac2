//! A scripted gate: says and hears what a test wants, over real TLS.

use bus::envelope::{self, Sequence};
use bus::masters::{MasterEntry, Masters};
use bus::message::{FromMinion, Hello, JobResult, Offer, SealedRecipe, ToMinion};
use bus::packet::{Packet, Properties, Publish, Qos, Version, decode, encode, frame_length};
use bus::seed::{Seed, SeedToken, new_image_key, sign_terms};
use bus::tls::{MasterCertificate, peer_key};
use bus::{Identity, PublicKey, SealKey, Topic, seal};
use bytes::BytesMut;
use model::{JobId, Mode, Recipe, Replace, Timestamp, TokenTerms};
use serde::{Serialize, de::DeserializeOwned};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

/// Nothing here takes that long.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// A master's door, without a master.
pub(crate) struct Gate {
    pub(crate) dir: tempfile::TempDir,
    listener: TcpListener,
    certificate: MasterCertificate,
    pub(crate) signer: Identity,
    org: Identity,
}

impl Gate {
    pub(crate) async fn open() -> Self {
        bus::tls::install_provider();
        let dir = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let certificate = MasterCertificate::load_or_create(dir.path(), &["localhost".to_owned()]).unwrap();
        let gate =
            Self { dir, listener, certificate, signer: Identity::generate(), org: Identity::generate() };
        std::fs::create_dir(gate.sandbox()).unwrap();
        gate
    }

    pub(crate) fn sandbox(&self) -> PathBuf {
        self.dir.path().join("machine")
    }

    pub(crate) fn masters(&self, version: u64) -> String {
        let address = self.listener.local_addr().unwrap().to_string();
        let entry = MasterEntry {
            name: "test".to_owned(),
            sign: self.signer.public().to_text(),
            tls: self.certificate.pin(),
            mqtt: vec![address.clone()],
            https: vec![address],
        };
        Masters { version, masters: vec![entry] }.sign(&self.org)
    }

    /// A seed with a token, and its terms.
    pub(crate) fn seed(&self) -> (Seed, TokenTerms) {
        let (image_secret, image_key) = new_image_key();
        let terms = TokenTerms {
            name: "test".to_owned(),
            image_key,
            ids: "*".to_owned(),
            labels: model::Labels::new(),
            cidr: Vec::new(),
            not_before: Timestamp(0),
            expires: now().plus_ms(1_000_000),
            uses: 1,
            replace: Replace::Never,
            retire_after_ms: None,
        };
        let token = SeedToken { statement: sign_terms(&terms, &self.signer), image_secret };
        let seed = Seed {
            v: 1,
            org: self.org.public().to_text(),
            masters: self.masters(1),
            id: Some("vm-1".parse().unwrap()),
            token: Some(token),
        };
        (seed, terms)
    }

    /// A minion process in the sandbox, with a seed that an operator gave.
    pub(crate) fn minion(&self) -> Minion {
        self.spawn(Command::new(env!("CARGO_BIN_EXE_labminion")))
    }

    /// One whose files cannot grow beyond so many blocks of 512 bytes, until `prlimit` says otherwise.
    pub(crate) fn minion_with_little_room(&self, blocks: u32) -> Minion {
        let mut shell = Command::new("sh");
        let script = format!("trap '' XFSZ; ulimit -S -f {blocks}; exec \"$0\" \"$@\"");
        shell.arg("-c").arg(script).arg(env!("CARGO_BIN_EXE_labminion"));
        self.spawn(shell)
    }

    pub(crate) fn spawn(&self, mut command: Command) -> Minion {
        let path = self.dir.path().join("seed.json");
        if !path.exists() {
            std::fs::write(&path, serde_json::to_string(&self.seed().0).unwrap()).unwrap();
        }
        command.args(["run", "--log-level", "debug", "--seed"]).arg(&path);
        command.arg("--sandbox").arg(self.sandbox()).env("LABMINION_BOOT_ID", "boot-1");
        Minion(command.stdin(Stdio::null()).spawn().unwrap())
    }

    /// The next connection, subscribed.
    pub(crate) async fn accept(&self) -> Talk {
        let (tcp, _) = timeout(LIMIT, self.listener.accept()).await.expect("a connection").unwrap();
        tcp.set_nodelay(true).unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(self.certificate.server_config(&[]));
        let stream = timeout(LIMIT, acceptor.accept(tcp)).await.expect("a handshake").unwrap();
        let key = peer_key(stream.get_ref().1).expect("a minion proves its key");
        let mut wire = Wire { stream, buffer: BytesMut::new() };
        assert!(matches!(wire.packet().await, Some(Packet::Connect(_))));
        wire.send(&Packet::ConnAck { session_present: false, code: 0, properties: Properties::default() })
            .await;
        let Some(Packet::Subscribe { id, filters, .. }) = wire.packet().await else { panic!("no SUBSCRIBE") };
        wire.send(&Packet::SubAck { id, codes: vec![0] }).await;
        let inbox = Topic::parse(&filters[0].filter).unwrap();
        let outbox = match inbox.clone() {
            Topic::In(id) => Topic::Out(id),
            Topic::EnrollIn(key) => Topic::EnrollOut(key),
            other => panic!("subscribed to {other}"),
        };
        let (incoming, outgoing) = (Sequence::default(), None);
        Talk { wire, key, inbox, outbox, incoming, outgoing }
    }

    /// The next connection of a member, after its hello.
    pub(crate) async fn member(&self) -> (Talk, Hello) {
        let mut talk = self.accept().await;
        assert!(matches!(talk.inbox, Topic::In(_)), "{}", talk.inbox);
        let FromMinion::Hello(hello) = talk.hear().await else { panic!("no hello") };
        (talk, *hello)
    }

    /// Enrols the process and gives its first connection as a member, welcomed.
    pub(crate) async fn enrolled(&self) -> (Talk, SealKey) {
        let mut talk = self.accept().await;
        let request: bus::message::EnrollRequest = talk.hear().await;
        let minion = request.minion.clone();
        talk.say(&bus::message::EnrollAnswer::Accepted { minion }, &self.signer).await;
        let (mut talk, _) = self.member().await;
        talk.welcome(&self.signer).await;
        (talk, SealKey::from_text(&request.seal).unwrap())
    }
}

pub(crate) fn now() -> Timestamp {
    Timestamp(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap())
}

/// A process that is ended with the test.
pub(crate) struct Minion(pub(crate) Child);

impl Drop for Minion {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Wire {
    stream: TlsStream<TcpStream>,
    buffer: BytesMut,
}

impl Wire {
    async fn packet(&mut self) -> Option<Packet> {
        loop {
            let length = frame_length(&self.buffer, 1 << 20).unwrap();
            if let Some(length) = length.filter(|it| *it <= self.buffer.len()) {
                let packet = decode(Version::V4, self.buffer.split_to(length).freeze()).unwrap();
                if packet == Packet::PingRequest {
                    self.send(&Packet::PingResponse).await;
                    continue;
                }
                return Some(packet);
            }
            let read =
                timeout(LIMIT, self.stream.read_buf(&mut self.buffer)).await.expect("a packet in time");
            if read.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    async fn send(&mut self, packet: &Packet) {
        let mut bytes = BytesMut::new();
        encode(Version::V4, packet, &mut bytes);
        self.stream.write_all(&bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }
}

/// One connection.
pub(crate) struct Talk {
    wire: Wire,
    pub(crate) key: PublicKey,
    pub(crate) inbox: Topic,
    outbox: Topic,
    incoming: Sequence,
    outgoing: Option<Sequence>,
}

impl Talk {
    /// The next signed message; `None` when the connection is over.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> Option<T> {
        loop {
            let Packet::Publish(publish) = self.wire.packet().await? else { continue };
            if publish.topic == self.outbox.to_string() {
                let verified = envelope::open::<T>(&self.outbox, &publish.payload, &self.key).unwrap();
                self.incoming.accept(verified.header()).unwrap();
                let session = verified.header().session.clone();
                self.outgoing.get_or_insert_with(|| Sequence::of(session));
                return Some(verified.into_message());
            }
            assert!(publish.topic.ends_with("/sample"), "{}", publish.topic);
        }
    }

    pub(crate) async fn hear<T: DeserializeOwned>(&mut self) -> T {
        self.next().await.expect("a message before the end")
    }

    /// Hears until something is what is wanted; heartbeats, progress and the like are passed over.
    pub(crate) async fn until<T>(&mut self, mut wanted: impl FnMut(FromMinion) -> Option<T>) -> T {
        loop {
            if let Some(found) = wanted(self.hear().await) {
                return found;
            }
        }
    }

    /// The next result, whole or from its parts.
    pub(crate) async fn result(&mut self) -> JobResult {
        let mut whole = String::new();
        self.until(|message| match message {
            FromMinion::Result(result) => Some(*result),
            FromMinion::ResultPart { part, parts, text, .. } => {
                whole.push_str(&text);
                (part + 1 == parts).then(|| serde_json::from_str(&whole).unwrap())
            }
            _ => None,
        })
        .await
    }

    pub(crate) async fn say<T: Serialize>(&mut self, message: &T, signer: &Identity) {
        let payload = self.sealed(message, signer);
        self.send_raw(payload).await;
    }

    /// The next envelope of this session.
    pub(crate) fn sealed<T: Serialize>(&mut self, message: &T, signer: &Identity) -> Vec<u8> {
        let header = self.outgoing.as_mut().expect("the minion speaks first").next(now(), None);
        envelope::seal(&self.inbox, &header, message, signer)
    }

    pub(crate) async fn send_raw(&mut self, payload: Vec<u8>) {
        let publish = Publish {
            topic: self.inbox.to_string(),
            payload: payload.into(),
            qos: Qos::AtMostOnce,
            retain: false,
            duplicate: false,
            id: 0,
            properties: Properties::default(),
        };
        self.wire.send(&Packet::Publish(publish)).await;
    }

    pub(crate) async fn welcome(&mut self, signer: &Identity) {
        let welcome = ToMinion::Welcome {
            version: model::VERSION.to_owned(),
            now: now(),
            want_grains: false,
            heartbeat_s: 30,
            sample_s: 1,
            spread_s: 0,
        };
        self.say(&welcome, signer).await;
    }
}

/// An offer of one command, sealed to `key`.
pub(crate) fn command(job: u128, line: &str, key: &SealKey, at_most_once: bool) -> ToMinion {
    let step = serde_json::json!({
        "steps": [{
            "id": "it", "sls": "test", "state": "cmd", "fun": "run", "name": line,
            "params": { "name": line }, "links": [], "global": { "attempts": 1 }, "at": null,
        }],
        "files": {}, "secrets": [], "command": at_most_once,
    });
    let recipe: Recipe = serde_json::from_value(step).unwrap();
    offer(job, &recipe, key, at_most_once)
}

pub(crate) fn offer(job: u128, recipe: &Recipe, key: &SealKey, at_most_once: bool) -> ToMinion {
    use base64::Engine;
    let context = seal::recipe_context(&"vm-1".parse().unwrap(), JobId(job));
    let sealed = seal::seal(&serde_json::to_vec(recipe).unwrap(), key, &context);
    ToMinion::Offer(Box::new(Offer {
        job: JobId(job),
        mode: Mode::Apply,
        command: at_most_once,
        full: false,
        expires: now().plus_ms(60_000),
        what: "test".to_owned(),
        recipe: SealedRecipe::Here { sealed: base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(sealed) },
        confirm_ms: None,
        begun: None,
    }))
}

/// Waits for a condition with a limit.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let waited = async {
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        while !condition() {
            tick.tick().await;
        }
    };
    timeout(LIMIT, waited).await.unwrap_or_else(|_| panic!("never: {what}"));
}

pub(crate) fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path).unwrap_or_default().lines().count()
}
