//! A lab with everything that an attacker may have got hold of: member keys, tokens, observers' secrets, other
//! addresses of loopback. Also what it must not have: the master's own keys, to make what only the master makes.

use crate::{
    harm,
    mqtt::{self, Connect, Line, SOON},
};
use bus::{
    FromMinion, Identity, PublicKey, ToMinion, Topic,
    envelope::{self, Sequence},
    message::{EnrollAnswer, EnrollRequest, Hello},
    seed::{SeedToken, new_image_key, sign_request, sign_terms},
};
use model::{ContentHash, Labels, Replace, Reply, Request, Timestamp, TokenTerms};
use rustls::ClientConfig;
use serde::de::DeserializeOwned;
use std::{
    net::IpAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tests::{api, lab::Lab};

/// Loopback, where nobody else comes from.
pub(crate) const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

pub(crate) struct Arena {
    pub(crate) lab: Lab,
    pub(crate) defence: Option<&'static str>,
    pub(crate) pin: ContentHash,
    pub(crate) signer: PublicKey,
    pub(crate) issuer: Identity,
    /// Secrets that were given out, and must not be found anywhere.
    pub(crate) secrets: Vec<String>,
    /// A service that rules call, where there is one.
    pub(crate) service: Option<crate::service::Service>,
    count: u32,
}

/// A key that was accepted, held by the attacker.
pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) identity: Arc<Identity>,
}

/// A member's open connection, welcomed.
pub(crate) struct Joined {
    pub(crate) line: Line,
    pub(crate) id: String,
    pub(crate) identity: Arc<Identity>,
    pub(crate) sequence: Sequence,
    packet: u16,
}

pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp(u64::try_from(since.as_millis()).unwrap())
}

pub(crate) fn topic(text: &str) -> Topic {
    Topic::parse(text).unwrap()
}

impl Arena {
    /// A master, perhaps without one of its defences, with these files in its trees.
    pub(crate) fn start(defence: Option<&'static str>, trees: &[(&str, &str)]) -> Self {
        Self::start_with(defence, trees, &[])
    }
    /// The same with these files beside its settings.
    pub(crate) fn start_with(
        defence: Option<&'static str>,
        trees: &[(&str, &str)],
        settings: &[(&str, &str)],
    ) -> Self {
        bus::tls::install_provider();
        let mut lab = Lab::prepare();
        for (name, text) in settings {
            let path = lab.root().join("etc/labctl").join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        }
        let pillar = [("pillar/top.sls", "base:\n")];
        let top = trees.iter().copied().filter(|it| it.0 == "pillar/top.sls").chain(pillar).next().unwrap();
        let top = (top.0, format!("{}{}", top.1, harm::TOP));
        lab.tree(top.0, &top.1);
        let others = trees.iter().filter(|it| it.0 != "pillar/top.sls");
        for (path, text) in harm::TREES.iter().chain(others) {
            match text.strip_prefix("-> ") {
                Some(target) => {
                    std::os::unix::fs::symlink(target, lab.root().join("srv/labctl").join(path)).unwrap();
                }
                None => lab.tree(path, text),
            }
        }
        let environment: Vec<_> = defence.map(|it| (model::broken::VARIABLE, it)).into_iter().collect();
        lab.start_master_with(&environment);
        let keys = lab.root().join("var/lib/labctl/master/keys");
        let names = ["127.0.0.1".to_owned()];
        let pin = bus::tls::MasterCertificate::load_or_create(&keys, &names).unwrap().pin();
        let signer = Identity::load(&keys, "master").unwrap().public();
        let issuer = Identity::load(&keys, "issuer").unwrap();
        Self { lab, defence, pin, signer, issuer, secrets: Vec::new(), service: None, count: 0 }
    }
    /// How long an end is waited for that a defence brings about: at once, and else there is no sense in waiting.
    pub(crate) fn end_limit(&self) -> Duration {
        if self.defence.is_some() { Duration::from_millis(500) } else { SOON }
    }
    /// How long is waited for what a defence prevents.
    pub(crate) fn success_limit(&self) -> Duration {
        if self.defence.is_some() { SOON } else { Duration::from_millis(800) }
    }
    pub(crate) fn bare(defence: Option<&'static str>) -> Self {
        Self::start(defence, &[])
    }
    /// A new name.
    pub(crate) fn name(&mut self, begin: &str) -> String {
        self.count += 1;
        format!("{begin}-{}", self.count)
    }
    pub(crate) fn keys(&self) -> PathBuf {
        self.lab.root().join("var/lib/labctl/master/keys")
    }

    pub(crate) fn ask(&self, request: &Request) -> Reply {
        api::ask(&self.lab.socket(), request).unwrap()
    }
    pub(crate) fn refused(&self, reason: &str) -> u64 {
        let Reply::Status(status) = self.ask(&Request::Status) else { panic!("no status") };
        status.refused.get(reason).copied().unwrap_or(0)
    }
    /// A new observer or API token.
    pub(crate) fn observer(&mut self, role: model::ObserverRole, for_ms: Option<u64>) -> (String, String) {
        let name = self.name("user");
        let made = self.ask(&Request::CreateObserver { name: name.clone(), role, for_ms });
        let Reply::Observer(view) = made else { panic!("{made:?}") };
        let secret = view.secret.unwrap().reveal().to_owned();
        self.secrets.push(secret.clone());
        (name, secret)
    }

    /// How somebody connects who trusts this master, with a key or without.
    pub(crate) fn tls(&self, identity: Option<&Identity>) -> Arc<ClientConfig> {
        bus::tls::client_config(&[self.pin], identity)
    }
    pub(crate) fn line_from(&self, from: IpAddr, identity: Option<&Identity>) -> Option<Line> {
        let stream = mqtt::tcp(from, self.lab.mqtt())?;
        mqtt::tls(stream, self.tls(identity), SOON).map(Line::over)
    }
    pub(crate) fn line(&self, identity: Option<&Identity>) -> Line {
        self.line_from(HERE, identity).expect("the gate shakes hands")
    }
    /// An observer's connection.
    pub(crate) fn observe(&mut self, role: model::ObserverRole, v5: bool) -> (Line, String) {
        let (name, secret) = self.observer(role, None);
        let mut line = self.line(None);
        let connect = Connect {
            id: "watcher",
            v5,
            login: Some((&name, &secret)),
            keep_alive_s: 60,
            ..Connect::default()
        };
        assert_eq!(line.connect(&connect), Some(0), "a good observer is let in");
        (line, name)
    }

    /// A token of this master's.
    pub(crate) fn token(&mut self, alter: impl FnOnce(&mut TokenTerms)) -> SeedToken {
        let issuer = std::mem::replace(&mut self.issuer, Identity::generate());
        let token = self.token_by(&issuer, alter);
        self.issuer = issuer;
        token
    }
    /// A token that somebody signed.
    pub(crate) fn token_by(&mut self, issuer: &Identity, alter: impl FnOnce(&mut TokenTerms)) -> SeedToken {
        let (image_secret, image_key) = new_image_key();
        let mut terms = TokenTerms {
            name: self.name("token"),
            image_key,
            ids: "*".to_owned(),
            labels: Labels::new(),
            cidr: Vec::new(),
            not_before: Timestamp(0),
            expires: now().plus_ms(3_600_000),
            uses: 100,
            replace: Replace::Never,
            retire_after_ms: None,
        };
        alter(&mut terms);
        self.secrets.push(image_secret.reveal().to_owned());
        SeedToken { statement: sign_terms(&terms, issuer), image_secret }
    }
    /// What a new machine would ask.
    pub(crate) fn wish(identity: &Identity, id: &str, token: Option<&SeedToken>) -> EnrollRequest {
        let minion: model::MinionId = id.parse().unwrap();
        let fingerprint = identity.public().fingerprint();
        EnrollRequest {
            image_sig: token.and_then(|it| sign_request(it, &fingerprint, &minion)),
            minion,
            sign: identity.public().to_text(),
            seal: identity.seal_key().to_text(),
            version: model::VERSION.to_owned(),
            claims: Labels::new(),
            token: token.map(|it| it.statement.clone()),
        }
    }
    /// Asks to be enrolled; the answer, if one comes.
    pub(crate) fn enroll(&self, identity: &Arc<Identity>, wish: &EnrollRequest) -> Option<EnrollAnswer> {
        self.enroll_from(HERE, identity, wish)
    }
    pub(crate) fn enroll_from(
        &self,
        from: IpAddr,
        identity: &Arc<Identity>,
        wish: &EnrollRequest,
    ) -> Option<EnrollAnswer> {
        let mut stranger = self.stranger(from, identity)?;
        stranger.ask(wish);
        stranger.answer(&self.signer)
    }
    /// A connection of a key that nobody knows, subscribed to its answers.
    pub(crate) fn stranger(&self, from: IpAddr, identity: &Arc<Identity>) -> Option<Stranger> {
        let mut line = self.line_from(from, Some(identity))?;
        // No id of a minion: an id must not matter.
        let connect = Connect { id: "Stranger", keep_alive_s: 60, ..Connect::default() };
        if line.connect(&connect) != Some(0) {
            return None;
        }
        let key = identity.public().fingerprint();
        let (inbox, outbox) = (Topic::EnrollIn(key.clone()), Topic::EnrollOut(key));
        if line.subscribe(&inbox.to_string()) != Some(0) {
            return None;
        }
        let sequence = Sequence::of(envelope::random_session());
        Some(Stranger { line, inbox, outbox, sequence, identity: Arc::clone(identity) })
    }
    /// Enrols a new member.
    pub(crate) fn member(&mut self, begin: &str) -> Member {
        let id = self.name(begin);
        self.member_called(&id)
    }
    pub(crate) fn member_called(&mut self, id: &str) -> Member {
        let token = self.token(|_| ());
        let identity = Arc::new(Identity::generate());
        let answer = self.enroll(&identity, &Self::wish(&identity, id, Some(&token)));
        assert!(matches!(answer, Some(EnrollAnswer::Accepted { .. })), "{id}: {answer:?}");
        Member { id: id.to_owned(), identity }
    }
    /// Connects as a member and says hello.
    pub(crate) fn join(&self, member: &Member) -> Joined {
        let mut joined = self.connect(member, false);
        let hello = hello(model::VERSION);
        assert_eq!(joined.say(&hello), Some(0), "a hello is taken");
        let welcome = joined.hear(&self.signer);
        assert!(matches!(welcome, Some(ToMinion::Welcome { .. })), "{welcome:?}");
        joined
    }
    /// Connects as a member and subscribes; says nothing yet.
    pub(crate) fn connect(&self, member: &Member, v5: bool) -> Joined {
        let mut line = self.line(Some(&member.identity));
        let connect = Connect { id: &member.id, v5, keep_alive_s: 60, ..Connect::default() };
        assert_eq!(line.connect(&connect), Some(0), "a member is let in");
        assert_eq!(line.subscribe(&format!("ctl/{}/in", member.id)), Some(0));
        Joined::on(line, member)
    }
    pub(crate) fn presence(&self, id: &str) -> Option<model::Presence> {
        let Reply::Minions(minions) = self.ask(&Request::Minions { target: None }) else { return None };
        minions.iter().find(|it| it.id.as_str() == id).map(|it| it.presence)
    }
    pub(crate) fn key(&self, id: &str) -> Vec<model::Key> {
        let Reply::Keys(keys) = self.ask(&Request::Keys) else { panic!("no keys") };
        keys.into_iter().filter(|it| it.minion.as_str() == id).collect()
    }
    pub(crate) fn events(&self, tag: &str) -> Reply {
        let filter = model::api::EventFilter {
            tag: Some(tag.to_owned()),
            limit: 1000,
            ..model::api::EventFilter::default()
        };
        self.ask(&Request::Events { filter })
    }
}

pub(crate) fn hello(version: &str) -> FromMinion {
    FromMinion::Hello(Box::new(Hello {
        version: version.to_owned(),
        boot: "boot-1".to_owned(),
        first_of_boot: true,
        sandbox: true,
        grains_hash: ContentHash([1; 32]),
        grains: Some(model::Grains::from_iter([("role".to_owned(), "db".into())])),
        running: None,
        waiting: Vec::new(),
        unacknowledged: Vec::new(),
        next_event: 1,
        masters: 1,
        masters_hash: None,
        can: Vec::new(),
        conduct: None,
        speaker: bus::message::Speaker::default(),
    }))
}

/// A message that harms nobody.
pub(crate) fn beat() -> FromMinion {
    FromMinion::Heartbeat { running: None }
}

impl Joined {
    fn on(line: Line, member: &Member) -> Self {
        let sequence = Sequence::of(envelope::random_session());
        Self { line, id: member.id.clone(), identity: Arc::clone(&member.identity), sequence, packet: 1 }
    }
    pub(crate) fn outbox(&self) -> Topic {
        topic(&format!("ctl/{}/out", self.id))
    }
    /// The next envelope of this session.
    pub(crate) fn seal(&mut self, message: &FromMinion) -> Vec<u8> {
        let header = self.sequence.next(now(), None);
        envelope::seal(&self.outbox(), &header, message, &self.identity)
    }
    /// Says something as it should be said; 0 if it was taken.
    pub(crate) fn say(&mut self, message: &FromMinion) -> Option<u8> {
        let payload = self.seal(message);
        self.put(&self.outbox().to_string(), &payload)
    }
    /// Publishes at QoS 1; 0 if it was taken.
    pub(crate) fn put(&mut self, topic: &str, payload: &[u8]) -> Option<u8> {
        self.packet += 1;
        self.line.send(&mqtt::publish(self.line.v5, 0x02, self.packet, topic.as_bytes(), payload));
        self.line.acknowledged(4)
    }
    /// The next message of the master.
    pub(crate) fn hear(&mut self, signer: &PublicKey) -> Option<ToMinion> {
        let inbox = topic(&format!("ctl/{}/in", self.id));
        hear(&mut self.line, &inbox, signer)
    }
}

/// A connection of a key that is no member's.
pub(crate) struct Stranger {
    pub(crate) line: Line,
    pub(crate) identity: Arc<Identity>,
    pub(crate) sequence: Sequence,
    inbox: Topic,
    pub(crate) outbox: Topic,
}

impl Stranger {
    /// Asks; 0 if the question was taken.
    pub(crate) fn ask(&mut self, wish: &EnrollRequest) -> Option<u8> {
        let header = self.sequence.next(now(), None);
        let payload = envelope::seal(&self.outbox, &header, wish, &self.identity);
        self.put(&self.outbox.to_string(), &payload)
    }
    pub(crate) fn put(&mut self, topic: &str, payload: &[u8]) -> Option<u8> {
        self.line.send(&mqtt::publish(self.line.v5, 0x02, 7, topic.as_bytes(), payload));
        self.line.acknowledged(4)
    }
    pub(crate) fn answer(&mut self, signer: &PublicKey) -> Option<EnrollAnswer> {
        hear(&mut self.line, &self.inbox, signer)
    }
}

/// The next envelope on a topic; others are passed over.
fn hear<T: DeserializeOwned>(line: &mut Line, inbox: &Topic, signer: &PublicKey) -> Option<T> {
    loop {
        let body = line.hear_kind(3, SOON)?;
        let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
        let payload = &body[2 + length + usize::from(line.v5)..];
        if &body[2..2 + length] == inbox.to_string().as_bytes() {
            return envelope::open::<T>(inbox, payload, signer).ok().map(envelope::Verified::into_message);
        }
    }
}
