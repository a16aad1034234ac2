//! Identity and topics: who somebody is, and what that lets them say and hear.

use crate::{
    arena::{Arena, HERE, Member, hello},
    attack::{Attack, Defence::Built, Defence::Without, Group, Verdict, row, succeeded},
    mqtt::{self, Connect, Line, SOON},
    transport::{Who, granted, line_of},
};
use bus::Identity;
use model::{KeyStatus, ObserverRole, Presence, Request, request::KeyDecision};
use rustls::{
    ClientConfig, SignatureAlgorithm, SignatureScheme,
    client::ResolvesClientCert,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::{CertifiedKey, Signer, SigningKey},
};
use std::{sync::Arc, time::Duration};
use tests::wait;

pub(crate) const GROUP: Group = Group {
    letter: 'I',
    name: "Identity and topics",
    test: "identity_and_topics",
    attacks: ATTACKS,
    arena: Arena::bare,
};

const ENDS: &str = "the connection ends, and is counted";
const REFUSED: &str = "SUBACK 0x80, the connection ends, and is counted";
const TOPICS: &str = "everything else is refused";

const ATTACKS: &[Attack] = &[
    row(
        "I01",
        Without("minion-publish"),
        "as a member, writes `ctl/<other>/out`",
        ENDS,
        "`ctl/<id>/out`: that minion",
        |it| writes(it, "ctl/other/out"),
    ),
    row(
        "I02",
        Without("minion-publish"),
        "as a member, writes `ctl/<other>/sample`",
        ENDS,
        "`ctl/<id>/sample`: that minion",
        |it| writes(it, "ctl/other/sample"),
    ),
    row(
        "I03",
        Without("minion-publish"),
        "as a member, writes its own inbox as if it were the master",
        ENDS,
        "`ctl/<id>/in`: master",
        |it| writes(it, "ctl/OWN/in"),
    ),
    row(
        "I04",
        Without("minion-publish"),
        "as a member, writes `ctl/<own>0/out`",
        ENDS,
        "topics are compared level by level",
        |it| writes(it, "ctl/OWN0/out"),
    ),
    row(
        "I05",
        Without("minion-publish"),
        "as a member, writes below its outbox",
        ENDS,
        "topics are compared level by level",
        |it| writes(it, "ctl/OWN/out/x"),
    ),
    row(
        "I06",
        Without("minion-publish"),
        "as a member, writes the public state of another",
        ENDS,
        "`lab/...`: master only",
        |it| writes(it, "lab/minion/other/state"),
    ),
    row(
        "I07",
        Without("minion-publish"),
        "as a member, gives an order to another",
        ENDS,
        "`lab/command/<id>`: a user with the right",
        |it| writes(it, "lab/command/other"),
    ),
    row(
        "I08",
        Without("minion-publish"),
        "as a member, writes for Home Assistant",
        ENDS,
        "`homeassistant/...`: master only",
        |it| writes(it, "homeassistant/switch/x/config"),
    ),
    row("I09", Without("minion-publish"), "as a member, writes `$SYS`", ENDS, TOPICS, |it| {
        writes(it, "$SYS/x")
    }),
    row(
        "I10",
        Without("minion-publish"),
        "as a member, asks to be enrolled for another key",
        ENDS,
        "`enroll/<fingerprint>/out`: an unknown key",
        |it| writes(it, "enroll/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/out"),
    ),
    row(
        "I11",
        Without("minion-publish"),
        "as a member, uses a path for an id: `ctl/../out`",
        ENDS,
        "ids are a type, never a path",
        |it| writes(it, "ctl/../out"),
    ),
    row(
        "I12",
        Without("minion-publish"),
        "as a stranger, writes `ctl/<id>/out`",
        ENDS,
        "`ctl/<id>/out`: that minion",
        |it| stranger_writes(it, "ctl/other/out"),
    ),
    row(
        "I13",
        Without("minion-publish"),
        "as a stranger, writes the enrolment topic of another key",
        ENDS,
        "`enroll/<fingerprint>/out`: an unknown key",
        |it| stranger_writes(it, "enroll/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/out"),
    ),
    row(
        "I14",
        Without("minion-subscribe"),
        "as a member, subscribes to `ctl/<other>/in`",
        REFUSED,
        "`ctl/<id>/in`: read by that minion",
        |it| reads(it, "ctl/other/in"),
    ),
    row(
        "I15",
        Without("minion-subscribe"),
        "as a member, subscribes to `ctl/+/in`",
        REFUSED,
        "no wildcard",
        |it| reads(it, "ctl/+/in"),
    ),
    row(
        "I16",
        Without("minion-subscribe"),
        "as a member, subscribes to `#`",
        REFUSED,
        "rumqttd 4: `#` sees everything",
        |it| reads(it, "#"),
    ),
    row(
        "I17",
        Without("minion-subscribe"),
        "as a member, subscribes to its own outbox",
        REFUSED,
        "one inbox each",
        |it| reads(it, "ctl/OWN/out"),
    ),
    row(
        "I18",
        Without("minion-subscribe"),
        "as a member, subscribes to `lab/#`",
        REFUSED,
        "observers by role",
        |it| reads(it, "lab/#"),
    ),
    row("I19", Without("minion-subscribe"), "as a member, subscribes to `enroll/#`", REFUSED, TOPICS, |it| {
        reads(it, "enroll/#")
    }),
    row("I20", Without("minion-subscribe"), "as a member, subscribes to `$SYS/#`", REFUSED, TOPICS, |it| {
        reads(it, "$SYS/#")
    }),
    row(
        "I21",
        Without("minion-subscribe"),
        "as a member, shares a subscription of its inbox",
        REFUSED,
        "no shared subscription",
        |it| reads(it, "$share/g/ctl/OWN/in"),
    ),
    row(
        "I22",
        Without("minion-subscribe"),
        "as a stranger, subscribes to `ctl/<id>/in`",
        REFUSED,
        "`ctl/<id>/in`: read by that minion",
        |it| stranger_reads(it, "ctl/other/in"),
    ),
    row(
        "I23",
        Without("minion-retain"),
        "as a member, leaves a retained message",
        ENDS,
        "no retained",
        |it| flagged(it, 0x03),
    ),
    row(
        "I24",
        Without("minion-qos-2"),
        "as a member, publishes at QoS 2",
        ENDS,
        "no queue but the job store",
        |it| flagged(it, 0x04),
    ),
    row(
        "I25",
        Without("minion-will"),
        "as a member, leaves a will",
        "the CONNECT is refused",
        "no will; rumqttd 4 and 7",
        minion_will,
    ),
    row(
        "I26",
        Without("enhanced-authentication"),
        "as a member, asks for enhanced authentication",
        "the CONNECT is refused",
        "rumqttd 10",
        member_auth,
    ),
    row(
        "I27",
        Without("enhanced-authentication"),
        "as an observer, asks for enhanced authentication",
        "the CONNECT is refused",
        "rumqttd 10",
        observer_auth,
    ),
    row(
        "I28",
        Without("identity-by-key"),
        "takes the client id of a minion, with a key of its own",
        "it is a stranger; the minion stays",
        "a minion is its key; rumqttd 4: the client id of the in-process link",
        take_client_id,
    ),
    row(
        "I29",
        Without("prove-possession"),
        "shows the certificate of a minion without its key",
        "no handshake",
        "TLS itself proves possession",
        stolen_certificate,
    ),
    row(
        "I30",
        Without("ed25519-only"),
        "shows a certificate with a key of another kind",
        "no handshake",
        "a self-signed certificate of that (ed25519) key",
        other_kind_of_key,
    ),
    row(
        "I31",
        Without("newest-wins"),
        "connects a second time with the key of a minion",
        "the older connection ends",
        "two connections of one key",
        two_connections,
    ),
    row(
        "I32",
        Without("presence-epoch"),
        "ends an old connection after a new one is there",
        "the minion stays up",
        "presence carries a connection epoch; rumqttd 7",
        late_end,
    ),
    row(
        "I33",
        Without("minion-banned"),
        "connects with a revoked key",
        "the CONNECT is refused",
        "revoking is for good",
        revoked_connects,
    ),
    row(
        "I34",
        Without("close-revoked"),
        "stays connected after its key was revoked",
        "closed within a second",
        "revoking closes the connection within a second",
        revoked_stays,
    ),
    row(
        "I35",
        Without("observer-login"),
        "observes without a name",
        "the CONNECT is refused",
        "a user name and a token, by role",
        |it| login(it, None),
    ),
    row(
        "I36",
        Without("observer-login"),
        "observes with a wrong secret",
        "the CONNECT is refused",
        "a user name and a token, by role",
        wrong_secret,
    ),
    row(
        "I37",
        Without("observer-login"),
        "observes with the secret of another user",
        "the CONNECT is refused",
        "a user name and a token, by role",
        secret_of_another,
    ),
    row(
        "I38",
        Without("operator-over-mqtt"),
        "observes with an operator's token",
        "the CONNECT is refused",
        "roles",
        operator_over_mqtt,
    ),
    row(
        "I39",
        Without("token-end"),
        "observes with a token whose end has come",
        "the CONNECT is refused",
        "a token with rights and an end",
        ended_token,
    ),
    row(
        "I40",
        Without("observer-review"),
        "goes on listening after its token was revoked",
        "closed within two seconds",
        "a token with rights and an end",
        revoked_observer,
    ),
    row(
        "I41",
        Without("observer-filter"),
        "as an observer, subscribes to `ctl/#`",
        "SUBACK 0x80",
        "the gate checks each SUBSCRIBE",
        |it| granted(it, "ctl/#"),
    ),
    row(
        "I42",
        Without("observer-filter"),
        "as an observer, subscribes to `enroll/#`",
        "SUBACK 0x80",
        "the gate checks each SUBSCRIBE",
        |it| granted(it, "enroll/#"),
    ),
    row(
        "I43",
        Without("observer-filter"),
        "as an observer, subscribes to `labs/#`",
        "SUBACK 0x80",
        "topics are compared level by level",
        |it| granted(it, "labs/#"),
    ),
    row(
        "I44",
        Without("observer-publish"),
        "as a viewer, publishes an event",
        "refused with a reason, counted",
        "`lab/in/<user>/...`: that integration",
        |it| observer_writes(it, Who::Observer5, "lab/in/NAME/x"),
    ),
    row(
        "I45",
        Without("observer-publish"),
        "as an integration, publishes under the name of another",
        "refused with a reason, counted",
        "`lab/in/<user>/...`: that integration",
        |it| observer_writes(it, Who::Integration, "lab/in/other/x"),
    ),
    row(
        "I46",
        Without("observer-publish"),
        "as an integration, writes the state of a minion",
        "refused with a reason, counted",
        "`lab/...`: master only",
        |it| observer_writes(it, Who::Integration, "lab/minion/vm-1/state"),
    ),
    row(
        "I47",
        Without("observer-publish"),
        "as an integration, gives an order",
        "refused with a reason, counted",
        "`lab/command/<id>`: a user with the right",
        |it| observer_writes(it, Who::Integration, "lab/command/vm-1"),
    ),
    row(
        "I48",
        Without("observer-publish"),
        "as an integration, writes control topics",
        "refused with a reason, counted",
        "`ctl/<id>/in`: master",
        |it| observer_writes(it, Who::Integration, "ctl/vm-1/in"),
    ),
    row(
        "I49",
        Without("event-tags"),
        "as an integration, puts blanks and signs into a tag",
        "dropped and counted",
        "topics",
        strange_tag,
    ),
    row(
        "I50",
        Built("no code would publish a will: it is never kept"),
        "as an observer, leaves a will for the state of a minion",
        "nobody hears it",
        "strips wills; rumqttd 4",
        observer_will,
    ),
];

/// A path with the member's own id in the place of `OWN`.
fn own(path: &str, member: &Member) -> String {
    path.replace("OWN", &member.id)
}

fn other(arena: &mut Arena) {
    if arena.key("other").is_empty() {
        arena.member_called("other");
    }
}

fn writes(arena: &mut Arena, path: &str) -> Verdict {
    other(arena);
    let member = arena.member("member");
    let mut joined = arena.join(&member);
    let payload = b"{\"a\":1}";
    let answer = joined.put(&own(path, &member), payload);
    succeeded(answer == Some(0), answer)
}

fn stranger_writes(arena: &mut Arena, path: &str) -> Verdict {
    other(arena);
    let identity = Arc::new(Identity::generate());
    let mut stranger = arena.stranger(HERE, &identity).unwrap();
    let answer = stranger.put(path, b"{\"a\":1}");
    succeeded(answer == Some(0), answer)
}

fn reads(arena: &mut Arena, filter: &str) -> Verdict {
    other(arena);
    let member = arena.member("member");
    let mut joined = arena.join(&member);
    let code = joined.line.subscribe(&own(filter, &member));
    let goes_on = joined.line.is_answered();
    succeeded(code == Some(0) || goes_on, code)
}

fn stranger_reads(arena: &mut Arena, filter: &str) -> Verdict {
    other(arena);
    let identity = Arc::new(Identity::generate());
    let mut stranger = arena.stranger(HERE, &identity).unwrap();
    let code = stranger.line.subscribe(filter);
    let goes_on = stranger.line.is_answered();
    succeeded(code == Some(0) || goes_on, code)
}

fn flagged(arena: &mut Arena, flags: u8) -> Verdict {
    let member = arena.member("member");
    let mut joined = arena.join(&member);
    let topic = format!("ctl/{}/sample", member.id);
    joined.line.send(&mqtt::publish(false, flags, 7, topic.as_bytes(), b"{\"a\":1}"));
    let answer = joined.line.acknowledged(4);
    succeeded(answer.is_some(), answer)
}

fn minion_will(arena: &mut Arena) -> Verdict {
    let member = arena.member("member");
    let will = Some(("lab/minion/other/state", "lost"));
    let code = arena.line(Some(&member.identity)).connect(&Connect { id: "x", will, ..Connect::default() });
    succeeded(code == Some(0), code)
}

/// The property `authentication method`.
fn method() -> Vec<u8> {
    [&[0x15][..], &mqtt::text(b"none")].concat()
}

fn member_auth(arena: &mut Arena) -> Verdict {
    let member = arena.member("member");
    let properties = method();
    let connect = Connect { id: "x", v5: true, properties: &properties, ..Connect::default() };
    let code = arena.line(Some(&member.identity)).connect(&connect);
    succeeded(code == Some(0), code)
}

fn observer_auth(arena: &mut Arena) -> Verdict {
    let (name, secret) = arena.observer(ObserverRole::Viewer, None);
    let properties = method();
    let login = Some((name.as_str(), secret.as_str()));
    let connect = Connect { id: "x", v5: true, login, properties: &properties, ..Connect::default() };
    let code = arena.line(None).connect(&connect);
    succeeded(code == Some(0), code)
}

fn take_client_id(arena: &mut Arena) -> Verdict {
    let member = arena.member("victim");
    let mut victim = arena.join(&member);
    let thief = Member { id: member.id.clone(), identity: Arc::new(Identity::generate()) };
    let mut line = arena.line(Some(&thief.identity));
    let connect = Connect { id: &thief.id, keep_alive_s: 60, ..Connect::default() };
    line.connect(&connect);
    let inbox = line.subscribe(&format!("ctl/{}/in", member.id));
    let put_out = !victim.line.is_answered();
    succeeded(inbox == Some(0) || put_out, (inbox, put_out))
}

/// A client that shows a certificate and signs with a key that need not be its own.
#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
    fn has_certs(&self) -> bool {
        true
    }
}

/// A key that signs whatever the other end says it takes.
#[derive(Debug)]
struct Stubborn(Arc<dyn SigningKey>);

impl SigningKey for Stubborn {
    fn choose_scheme(&self, _: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        self.0.choose_scheme(&[SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ED25519])
    }
    fn algorithm(&self) -> SignatureAlgorithm {
        self.0.algorithm()
    }
}

/// The TLS configuration of somebody who shows these.
fn shows(
    arena: &Arena,
    certificate: CertificateDer<'static>,
    key: &PrivateKeyDer<'static>,
) -> Arc<ClientConfig> {
    let mut config = (*arena.tls(None)).clone();
    let signing = Arc::new(Stubborn(rustls::crypto::ring::sign::any_supported_type(key).unwrap()));
    config.client_auth_cert_resolver =
        Arc::new(Shown(Arc::new(CertifiedKey::new(vec![certificate], signing))));
    Arc::new(config)
}

/// A key and a certificate of it, made by openssl.
fn made(kind: &[&str]) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let folder = tempfile::tempdir().unwrap();
    let (key, certificate) = (folder.path().join("key"), folder.path().join("crt"));
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-subj", "/CN=x", "-newkey"])
        .args(kind)
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (CertificateDer::from_pem_file(certificate).unwrap(), PrivateKeyDer::from_pem_file(key).unwrap())
}

fn stolen_certificate(arena: &mut Arena) -> Verdict {
    let member = arena.member("victim");
    let (certificate, key) = made(&["ed25519"]);
    // The victim's public key in the place of our own: what its certificate says, for all who look.
    let mut der = certificate.to_vec();
    let prefix = [0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    let place = der.windows(7).position(|it| it == prefix).unwrap() + 7;
    der[place..place + 32].copy_from_slice(&member.identity.public().0);
    let config = shows(arena, der.into(), &key);
    let line = mqtt::tcp(HERE, arena.lab.mqtt()).and_then(|it| mqtt::tls(it, config, SOON));
    let Some(mut line) = line.map(Line::over) else { return succeeded(false, "no handshake") };
    let code = line.connect(&Connect { id: "x", ..Connect::default() });
    let inbox = line.subscribe(&format!("ctl/{}/in", member.id));
    succeeded(inbox == Some(0), (code, inbox))
}

fn other_kind_of_key(arena: &mut Arena) -> Verdict {
    let (certificate, key) = made(&["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    let config = shows(arena, certificate, &key);
    let (name, secret) = arena.observer(ObserverRole::Viewer, None);
    let line = mqtt::tcp(HERE, arena.lab.mqtt()).and_then(|it| mqtt::tls(it, config, SOON));
    let login = Some((name.as_str(), secret.as_str()));
    let code = line.and_then(|it| Line::over(it).connect(&Connect { id: "x", login, ..Connect::default() }));
    succeeded(code == Some(0), code)
}

fn two_connections(arena: &mut Arena) -> Verdict {
    let member = arena.member("victim");
    let mut first = arena.join(&member);
    let mut second = arena.join(&member);
    let both = !first.line.ends_within(arena.end_limit());
    succeeded(both || !second.line.is_answered(), both)
}

fn late_end(arena: &mut Arena) -> Verdict {
    let member = arena.member("victim");
    let first = arena.join(&member);
    let mut second = arena.connect(&member, false);
    second.say(&hello(model::VERSION));
    let welcome = second.hear(&arena.signer);
    drop(first);
    let lost = || (arena.presence(&member.id)? != Presence::Up).then_some(());
    let lost = wait::try_until(arena.success_limit(), lost).is_some();
    succeeded(lost || welcome.is_none(), arena.presence(&member.id))
}

fn revoke(arena: &Arena, member: &Member) {
    let decision = KeyDecision::Revoke;
    arena.ask(&Request::DecideKey { key: member.id.clone(), fingerprint: None, decision });
    assert!(arena.key(&member.id).iter().any(|it| it.status == KeyStatus::Revoked));
}

fn revoked_connects(arena: &mut Arena) -> Verdict {
    let member = arena.member("revoked");
    revoke(arena, &member);
    let code = arena.line(Some(&member.identity)).connect(&Connect { id: "x", ..Connect::default() });
    succeeded(code == Some(0), code)
}

fn revoked_stays(arena: &mut Arena) -> Verdict {
    let member = arena.member("revoked");
    let mut joined = arena.join(&member);
    revoke(arena, &member);
    let ended = joined.line.ends_within(Duration::from_secs(1));
    succeeded(!ended, "still open after a second")
}

fn login(arena: &mut Arena, login: Option<(&str, &str)>) -> Verdict {
    let code = arena.line(None).connect(&Connect { id: "x", login, ..Connect::default() });
    succeeded(code == Some(0), code)
}

fn wrong_secret(arena: &mut Arena) -> Verdict {
    let (name, _) = arena.observer(ObserverRole::Viewer, None);
    login(arena, Some((&name, "wrong")))
}

fn secret_of_another(arena: &mut Arena) -> Verdict {
    let (name, _) = arena.observer(ObserverRole::Viewer, None);
    let (_, secret) = arena.observer(ObserverRole::Viewer, None);
    login(arena, Some((&name, &secret)))
}

fn operator_over_mqtt(arena: &mut Arena) -> Verdict {
    let (name, secret) = arena.observer(ObserverRole::Operator, None);
    login(arena, Some((&name, &secret)))
}

/// A token whose end has come.
pub(crate) fn ended(arena: &mut Arena, role: ObserverRole) -> (String, String) {
    let (name, secret) = arena.observer(role, Some(1));
    let begin = std::time::Instant::now();
    wait::until("its end", SOON, || (begin.elapsed() > Duration::from_millis(20)).then_some(()));
    (name, secret)
}

fn ended_token(arena: &mut Arena) -> Verdict {
    let (name, secret) = ended(arena, ObserverRole::Viewer);
    login(arena, Some((&name, &secret)))
}

fn revoked_observer(arena: &mut Arena) -> Verdict {
    let (mut line, name) = line_of(arena, Who::Observer);
    arena.ask(&Request::RemoveObserver { name });
    let ended = line.ends_within(Duration::from_millis(2_500));
    succeeded(!ended, "still open after 2.5 s")
}

fn observer_writes(arena: &mut Arena, who: Who, path: &str) -> Verdict {
    let (mut line, name) = line_of(arena, who);
    let topic = path.replace("NAME", &name);
    line.send(&mqtt::publish(true, 0x02, 7, topic.as_bytes(), b"1"));
    let reason = line.acknowledged(4);
    succeeded(reason == Some(0), reason)
}

fn strange_tag(arena: &mut Arena) -> Verdict {
    let (mut line, name) = line_of(arena, Who::Integration);
    let topic = format!("lab/in/{name}/a b;'$(id)'");
    line.send(&mqtt::publish(true, 0x02, 7, topic.as_bytes(), b"1"));
    assert!(line.acknowledged(4).is_some());
    let kept = || match arena.events("integration/#") {
        model::Reply::Events(events) => events.iter().any(|it| it.tag.contains("$(id)")).then_some(()),
        _ => None,
    };
    succeeded(wait::try_until(arena.success_limit(), kept).is_some(), "kept")
}

fn observer_will(arena: &mut Arena) -> Verdict {
    let (mut listener, _) = line_of(arena, Who::Observer);
    assert_eq!(listener.subscribe("lab/#"), Some(0));
    let (name, secret) = arena.observer(ObserverRole::Integration, None);
    let login = Some((name.as_str(), secret.as_str()));
    let will = Some(("lab/minion/forged/state", "forged by a will"));
    let mut line = arena.line(None);
    assert_eq!(line.connect(&Connect { id: "x", login, will, ..Connect::default() }), Some(0));
    drop(line);
    listener.ends_within(arena.success_limit());
    let heard = listener.received().windows(16).any(|it| it == b"forged by a will");
    succeeded(heard, heard)
}
