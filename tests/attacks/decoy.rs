//! A master's door without a master, and a real minion in front of it: what a minion believes.

use crate::{
    arena::now,
    mqtt::{self, Line, SOON},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bus::{
    FromMinion, Identity, PublicKey, SealKey, ToMinion, Topic,
    envelope::{self, Header, Sequence},
    masters::{MasterEntry, Masters},
    message::{EnrollAnswer, EnrollRequest, Offer, SealedRecipe},
    seal,
    seed::Seed,
    tls::{MasterCertificate, peer_key},
};
use model::{JobId, Mode, Recipe};
use rustls::{ServerConnection, StreamOwned};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tests::{program, wait};

pub(crate) const ID: &str = "vm-1";
/// A start, an enrolment and a second connection on a loaded machine.
const LIMIT: Duration = Duration::from_secs(20);

pub(crate) struct Decoy {
    pub(crate) folder: tempfile::TempDir,
    listener: TcpListener,
    certificate: MasterCertificate,
    pub(crate) signer: Identity,
    pub(crate) org: Identity,
    defence: Option<&'static str>,
    minion: Option<Child>,
}

/// A connection of the minion.
pub(crate) struct Talk {
    pub(crate) line: Line,
    key: PublicKey,
    pub(crate) inbox: Topic,
    outbox: Topic,
    outgoing: Option<Sequence>,
}

impl Decoy {
    pub(crate) fn open(defence: Option<&'static str>) -> Self {
        bus::tls::install_provider();
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let certificate =
            MasterCertificate::load_or_create(folder.path(), &["localhost".to_owned()]).unwrap();
        fs::create_dir(folder.path().join("machine")).unwrap();
        let (signer, org) = (Identity::generate(), Identity::generate());
        Self { folder, listener, certificate, signer, org, defence, minion: None }
    }
    pub(crate) fn entry(&self) -> MasterEntry {
        let address = self.listener.local_addr().unwrap().to_string();
        MasterEntry {
            name: "decoy".to_owned(),
            sign: self.signer.public().to_text(),
            tls: self.certificate.pin(),
            mqtt: vec![address.clone()],
            https: vec![address],
        }
    }
    /// A file that commands on the minion write.
    pub(crate) fn ledger(&self) -> String {
        fs::read_to_string(self.folder.path().join("machine/ledger")).unwrap_or_default()
    }
    /// Starts a minion whose list of masters is this.
    pub(crate) fn start(&mut self, masters: &Masters) {
        let seed = Seed {
            v: 1,
            org: self.org.public().to_text(),
            masters: masters.sign(&self.org),
            id: Some(ID.parse().unwrap()),
            token: None,
        };
        let path = self.folder.path().join("seed.json");
        fs::write(&path, serde_json::to_string(&seed).unwrap()).unwrap();
        self.start_again();
    }
    /// Starts the minion with what it has.
    pub(crate) fn start_again(&mut self) {
        let path = self.folder.path().join("seed.json");
        let log = fs::File::create(self.log()).unwrap();
        let mut command = Command::new(program("labminion"));
        command.args(["run", "--log-level", "debug", "--seed"]).arg(path);
        command.arg("--sandbox").arg(self.folder.path().join("machine"));
        command.env("LABMINION_BOOT_ID", "boot-1").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        if let Some(defence) = self.defence {
            command.env(model::broken::VARIABLE, defence);
        }
        self.minion = Some(command.spawn().unwrap());
    }
    /// Ends the minion.
    pub(crate) fn stop(&mut self) {
        if let Some(mut minion) = self.minion.take() {
            let _ = minion.kill();
            let _ = minion.wait();
        }
    }
    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }
    fn text(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }
    /// The next connection, if its handshake is good.
    pub(crate) fn shake(&self, limit: Duration) -> Option<(Line, PublicKey)> {
        let stream = wait::try_until(limit, || self.listener.accept().ok())?.0;
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let connection = ServerConnection::new(self.certificate.server_config(&[])).unwrap();
        let mut stream: StreamOwned<_, TcpStream> = StreamOwned::new(connection, stream);
        let end = Instant::now() + SOON;
        while stream.conn.is_handshaking() || stream.conn.wants_write() {
            match stream.conn.complete_io(&mut stream.sock) {
                Ok(_) => {}
                Err(error) if mqtt::waits(error.kind()) && Instant::now() < end => {}
                Err(_) => return None,
            }
        }
        let key = peer_key(&stream.conn)?;
        Some((Line::over(stream), key))
    }
    /// The next connection, with its CONNECT and SUBSCRIBE answered.
    pub(crate) fn accept(&self) -> Talk {
        let (mut line, key) = self.shake(LIMIT).unwrap_or_else(|| panic!("a connection\n{}", self.text()));
        line.hear_kind(1, SOON).expect("a CONNECT");
        line.send(&[0x20, 2, 0, 0]);
        let body = line.hear_kind(8, SOON).expect("a SUBSCRIBE");
        line.send(&mqtt::frame(0x90, &[body[0], body[1], 0]));
        let length = usize::from(u16::from_be_bytes([body[2], body[3]]));
        let inbox = Topic::parse(std::str::from_utf8(&body[4..4 + length]).unwrap()).unwrap();
        let outbox = match inbox.clone() {
            Topic::In(id) => Topic::Out(id),
            Topic::EnrollIn(key) => Topic::EnrollOut(key),
            other => panic!("subscribed to {other}"),
        };
        Talk { line, key, inbox, outbox, outgoing: None }
    }
    /// The next connection of the member, welcomed.
    pub(crate) fn welcomed(&self) -> Talk {
        let mut talk = self.accept();
        assert!(matches!(talk.hear::<FromMinion>(), Some(FromMinion::Hello(_))));
        let now = now();
        let version = model::VERSION.to_owned();
        let welcome =
            ToMinion::Welcome { version, now, want_grains: false, heartbeat_s: 30, sample_s: 0, spread_s: 0 };
        talk.say(&welcome, &self.signer);
        talk
    }
    /// Starts a minion, enrols it, and gives its connection as a member and the key that its recipes are sealed to.
    pub(crate) fn enrolled(&mut self) -> (Talk, SealKey) {
        let masters = Masters { version: 7, masters: vec![self.entry()] };
        self.start(&masters);
        let mut talk = self.accept();
        let request: EnrollRequest = talk.hear().expect("a request");
        talk.say(&EnrollAnswer::Accepted { minion: request.minion.clone() }, &self.signer);
        (self.welcomed(), SealKey::from_text(&request.seal).unwrap())
    }
    /// Whether a line comes into the ledger; a genuine command behind it shows that the minion still works.
    pub(crate) fn ran(&self, word: &str, limit: Duration) -> bool {
        wait::try_until(limit, || self.ledger().contains(word).then_some(())).is_some()
    }
}

impl Drop for Decoy {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Talk {
    /// The next envelope of the minion; telemetry is passed over.
    pub(crate) fn hear<T: DeserializeOwned>(&mut self) -> Option<T> {
        loop {
            let body = self.line.hear_kind(3, SOON)?;
            let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
            if &body[2..2 + length] != self.outbox.to_string().as_bytes() {
                continue;
            }
            let verified = envelope::open::<T>(&self.outbox, &body[2 + length..], &self.key).unwrap();
            let session = verified.header().session.clone();
            self.outgoing.get_or_insert_with(|| Sequence::of(session));
            return Some(verified.into_message());
        }
    }
    /// The header of the next envelope.
    pub(crate) fn header(&mut self) -> Header {
        self.outgoing.as_mut().expect("the minion speaks first").next(now(), None)
    }
    pub(crate) fn sealed<T: Serialize>(&mut self, message: &T, signer: &Identity) -> Vec<u8> {
        let header = self.header();
        envelope::seal(&self.inbox, &header, message, signer)
    }
    pub(crate) fn say<T: Serialize>(&mut self, message: &T, signer: &Identity) {
        let payload = self.sealed(message, signer);
        self.send(&payload);
    }
    pub(crate) fn send(&mut self, payload: &[u8]) {
        self.line.send(&mqtt::publish(false, 0, 0, self.inbox.to_string().as_bytes(), payload));
    }
    /// The result of a job, if one comes.
    pub(crate) fn result(&mut self, job: u128) -> Option<model::Terminal> {
        loop {
            if let FromMinion::Result(result) = self.hear()?
                && result.job == JobId(job)
            {
                return Some(result.word);
            }
        }
    }
}

/// An offer of a command that writes a word into the ledger, sealed to `key` for `id`.
pub(crate) fn offer_for(id: &str, job: u128, word: &str, key: &SealKey) -> Offer {
    let line = format!("echo {word} >> ledger");
    let recipe: Recipe = serde_json::from_value(serde_json::json!({
        "steps": [{
            "id": "it", "sls": "test", "state": "cmd", "fun": "run", "name": line,
            "params": { "name": line }, "links": [], "global": { "attempts": 1 }, "at": null,
        }],
        "files": {}, "secrets": [], "command": true,
    }))
    .unwrap();
    let context = seal::recipe_context(&id.parse().unwrap(), JobId(job));
    let sealed = seal::seal(&serde_json::to_vec(&recipe).unwrap(), key, &context);
    Offer {
        job: JobId(job),
        mode: Mode::Apply,
        command: true,
        full: false,
        expires: now().plus_ms(60_000),
        confirm_ms: None,
        begun: None,
        what: "test".to_owned(),
        recipe: SealedRecipe::Here { sealed: BASE64_URL_SAFE_NO_PAD.encode(sealed) },
    }
}

pub(crate) fn offer(job: u128, word: &str, key: &SealKey) -> ToMinion {
    ToMinion::Offer(Box::new(offer_for(ID, job, word, key)))
}
