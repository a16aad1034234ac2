//! Transport and denial of service: what comes before anybody is known, broken packets, floods.

use crate::{
    arena::{Arena, HERE, Joined},
    attack::{Attack, Defence::Built, Defence::Without, Group, Verdict, row, succeeded},
    mqtt::{self, Connect, DISCONNECT, Line, PING, SOON},
};
use model::{ObserverRole, Reply};
use std::{
    io::Write,
    net::TcpStream,
    time::{Duration, Instant},
};

pub(crate) const GROUP: Group = Group {
    letter: 'T',
    name: "Transport and denial of service",
    test: "transport_and_denial_of_service",
    attacks: ATTACKS,
    arena: Arena::bare,
};

const ENDS: &str = "the connection ends, and is counted";
const WAITS: &str = "the socket is not read beyond the limit, nobody else notices";

const ATTACKS: &[Attack] = &[
    row(
        "T01",
        Without("tls-on-the-wire"),
        "speaks plain MQTT to 8883, with a good login",
        ENDS,
        "no control traffic without TLS",
        plain_mqtt,
    ),
    row(
        "T02",
        Built("rustls is built without TLS 1.2: there is nothing to leave out"),
        "offers TLS 1.2 only",
        "no handshake",
        "TLS 1.3",
        tls_1_2,
    ),
    row(
        "T03",
        Without("accept-apart"),
        "opens one TCP connection and says nothing",
        "others connect meanwhile",
        "rumqttd 3: one idle connection blocks every other accept",
        |it| delays_others(it, 1, &[]),
    ),
    row(
        "T04",
        Without("accept-apart"),
        "begins one TLS handshake and stops in the middle",
        "others connect meanwhile",
        "it never awaits a handshake in the accept loop",
        |it| delays_others(it, 1, HALF_HELLO),
    ),
    row(
        "T05",
        Without("silent-give-way"),
        "opens 300 TCP connections and says nothing",
        "the silent give way after a second",
        "budgets overall (256); who sent nothing for 1 s gives way",
        |it| delays_others(it, 300, &[]),
    ),
    row(
        "T06",
        Without("silent-give-way"),
        "begins 300 handshakes and stops in the middle",
        "the silent give way after a second",
        "budgets per address (20) and overall (256)",
        |it| delays_others(it, 300, HALF_HELLO),
    ),
    row(
        "T07",
        Without("handshake-limit"),
        "drips a handshake, a byte in a while",
        "ends after 5 s",
        "5 s for TLS",
        dripped_handshake,
    ),
    row(
        "T08",
        Without("connect-limit"),
        "shakes hands and says nothing",
        "ends after 5 s",
        "5 s for CONNECT",
        |it| dripped_connect(it, false),
    ),
    row(
        "T09",
        Without("connect-limit"),
        "drips a CONNECT, a byte in a while",
        "ends after 5 s",
        "5 s for CONNECT",
        |it| dripped_connect(it, true),
    ),
    row(
        "T10",
        Without("packet-limit"),
        "announces a CONNECT of 200 MiB",
        "ends before it comes",
        "before authentication 4 KiB",
        |it| announced(it, Who::Nobody, 0x10),
    ),
    row(
        "T11",
        Without("packet-limit"),
        "as a stranger, announces a PUBLISH of 200 MiB",
        "ends before it comes",
        "before authentication 4 KiB",
        |it| announced(it, Who::Stranger, 0x30),
    ),
    row(
        "T12",
        Without("packet-limit"),
        "as a member, announces a PUBLISH of 200 MiB",
        "ends before it comes",
        "control packet 256 KiB",
        |it| announced(it, Who::Member, 0x30),
    ),
    row(
        "T13",
        Without("packet-limit"),
        "as an observer, announces a PUBLISH of 200 MiB",
        "ends before it comes",
        "limits",
        |it| announced(it, Who::Observer, 0x30),
    ),
    row(
        "T14",
        Without("mqtt-remaining-length"),
        "sends a length of five bytes",
        ENDS,
        "the gate closes the codecs' holes",
        |it| bad(it, Who::Member, |_| vec![0x30, 0x80, 0x80, 0x80, 0x80, 0x01]),
    ),
    row(
        "T15",
        Without("mqtt-topic"),
        "publishes to a topic with wildcards",
        ENDS,
        "wildcards in a publish",
        |it| bad(it, Who::Integration, |it| put(it, b"lab/in/NAME/+/x")),
    ),
    row(
        "T16",
        Without("mqtt-topic"),
        "publishes to an empty topic",
        ENDS,
        "a non-ASCII or empty topic",
        |it| bad(it, Who::Integration, |it| put(it, b"")),
    ),
    row(
        "T17",
        Without("mqtt-topic"),
        "publishes to a topic of 2,000 bytes",
        ENDS,
        "topics, filters and client ids are never freed (rumqttd 8)",
        |it| bad(it, Who::Integration, |it| put(it, &[b"lab/in/NAME/".as_slice(), &[b'x'; 2000]].concat())),
    ),
    row(
        "T18",
        Without("mqtt-text"),
        "connects with a NUL in its client id",
        ENDS,
        "the gate closes the codecs' holes",
        nul_in_id,
    ),
    row(
        "T19",
        Without("mqtt-text"),
        "publishes to a topic that is not UTF-8",
        ENDS,
        "the gate closes the codecs' holes",
        |it| bad(it, Who::Integration, |it| put(it, b"lab/in/NAME/\xff\xfe")),
    ),
    row(
        "T20",
        Without("observer-publish"),
        "publishes to a topic whose first character is not ASCII",
        "refused with a reason",
        "rumqttd 2: the router panics",
        foreign_letter,
    ),
    row(
        "T21",
        Without("observer-filter"),
        "subscribes to a filter whose first character is not ASCII",
        "refused",
        "rumqttd 2: the router panics",
        |it| granted(it, "\u{e4}/#"),
    ),
    row("T22", Without("mqtt-packet-id"), "publishes at QoS 1 with packet id 0", ENDS, "packet id 0", |it| {
        bad(it, Who::Observer, |it| mqtt::publish(it.v5, 0x02, 0, b"lab/x", b"1"))
    }),
    row("T23", Without("mqtt-packet-id"), "subscribes with packet id 0", ENDS, "packet id 0", |it| {
        bad(it, Who::Observer, |it| mqtt::subscribe(it.v5, 0, &[b"lab/#"]))
    }),
    row(
        "T24",
        Without("mqtt-whole-frame"),
        "hides bytes behind a PINGREQ",
        ENDS,
        "the gate closes the codecs' holes",
        |it| bad(it, Who::Member, |_| vec![0xc0, 3, 1, 2, 3]),
    ),
    row(
        "T25",
        Without("mqtt-flags"),
        "sets reserved bits of a SUBSCRIBE",
        ENDS,
        "the gate closes the codecs' holes",
        |it| bad(it, Who::Observer, |it| flagged(it.v5)),
    ),
    row(
        "T26",
        Without("mqtt-filters-max"),
        "subscribes to 300 filters in one packet",
        ENDS,
        "each new topic is matched against every filter ever seen (rumqttd 8)",
        |it| bad(it, Who::Observer, |it| mqtt::subscribe(it.v5, 9, &[b"lab/a".as_slice(); 300])),
    ),
    row(
        "T27",
        Without("mqtt-filter"),
        "subscribes to `lab/#/x`",
        ENDS,
        "the gate closes the codecs' holes",
        |it| bad(it, Who::Observer, |it| mqtt::subscribe(it.v5, 9, &[b"lab/#/x"])),
    ),
    row("T28", Without("mqtt-properties"), "sends 100 properties in one packet", ENDS, "limits", |it| {
        bad(it, Who::Observer5, |_| many_properties())
    }),
    row(
        "T29",
        Without("mqtt-properties"),
        "sends one property twice",
        ENDS,
        "rumqttd 2: a publish with a property panics a 3.1.1 client",
        |it| bad(it, Who::Observer5, |_| property_twice()),
    ),
    row(
        "T30",
        Without("unexpected-packet"),
        "as a member, sends what only a server sends",
        ENDS,
        "the gate closes the codecs' holes",
        |it| bad(it, Who::Member, |_| vec![0xd0, 0]),
    ),
    row(
        "T31",
        Without("unexpected-packet"),
        "as a member, sends a second CONNECT",
        ENDS,
        "the gate closes the codecs' holes",
        |it| bad(it, Who::Member, |_| Connect { id: "x", ..Connect::default() }.bytes()),
    ),
    row(
        "T32",
        Without("unexpected-packet"),
        "as a member, acknowledges with PUBREC what was never sent",
        ENDS,
        "unordered acks",
        |it| bad(it, Who::Member, |_| vec![0x50, 2, 0, 9]),
    ),
    row(
        "T33",
        Without("mqtt-protocol"),
        "speaks MQTT 3.1",
        "refused with its code",
        "no negotiation downwards",
        old_protocol,
    ),
    row(
        "T34",
        Without("observer-filter"),
        "takes a shared subscription",
        "refused",
        "`$share/g/t` with a persistent session panics (rumqttd 2)",
        |it| granted(it, "$share/g/lab/#"),
    ),
    row(
        "T35",
        Without("observer-subscriptions"),
        "takes 80 subscriptions",
        "refused beyond 64",
        "each new topic is matched against every filter ever seen (rumqttd 8)",
        many_subscriptions,
    ),
    row(
        "T36",
        Without("unreleased-limit"),
        "leaves 80 messages of QoS 2 unreleased",
        ENDS,
        "limits",
        unreleased,
    ),
    row(
        "T37",
        Without("minion-rate"),
        "as a member, sends 600 samples at once",
        WAITS,
        "50 messages/s per minion with bursts of 200",
        |it| flood(it, Who::Member, 600, 300),
    ),
    row(
        "T38",
        Without("integration-rate"),
        "as an integration, sends 400 messages at once",
        WAITS,
        "limits",
        |it| flood(it, Who::Integration, 400, 160),
    ),
    row(
        "T39",
        Without("observer-rate"),
        "as an observer, sends 3,000 packets at once",
        WAITS,
        "limits",
        |it| flood(it, Who::Observer, 3_000, 1_500),
    ),
    row(
        "T40",
        Without("stranger-rate"),
        "as a stranger, asks twenty times at once",
        WAITS,
        "one in 10 s",
        stranger_flood,
    ),
    row(
        "T41",
        Without("keep-alive"),
        "as a member, falls silent",
        "ends after one and a half of its keep-alive",
        "keepalive counts received bytes only",
        silent_member,
    ),
    row(
        "T42",
        Without("integration-size"),
        "as an integration, sends 20 KiB in one message",
        "refused with a reason",
        "limits",
        big_event,
    ),
    row(
        "T43",
        Without("event-depth"),
        "as an integration, sends JSON of 126 levels",
        "dropped and counted; events can still be read",
        "depth over 16 is refused",
        deep_event,
    ),
    row(
        "T44",
        Built("rumqttd is not there to leave the gate out of"),
        "connects twice with the client id `a/b`",
        "others are served",
        "rumqttd 1: kills the listener for everybody",
        path_like_id,
    ),
    row(
        "T45",
        Built("rumqttd is not there to leave the gate out of"),
        "resets 60 connections between CONNECT and CONNACK",
        "others are served",
        "rumqttd 1: TCP reset between CONNECT and CONNACK",
        resets,
    ),
    row(
        "T46",
        Built("rumqttd is not there to leave the gate out of"),
        "as an observer of 3.1.1, hears what an integration of MQTT 5 published with properties",
        "it hears the event",
        "rumqttd 2: a publish with any property panics that connection",
        properties_to_old,
    ),
];

/// The first bytes of a TLS handshake.
const HALF_HELLO: &[u8] = &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc];

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Who {
    Nobody,
    Stranger,
    Member,
    Observer,
    Observer5,
    Integration,
}

/// A connection of somebody, and the name.
pub(crate) fn line_of(arena: &mut Arena, who: Who) -> (Line, String) {
    match who {
        Who::Nobody => (arena.line(None), String::new()),
        Who::Stranger => {
            let identity = std::sync::Arc::new(bus::Identity::generate());
            (arena.stranger(HERE, &identity).unwrap().line, String::new())
        }
        Who::Member => {
            let member = arena.member("member");
            let Joined { line, id, .. } = arena.join(&member);
            (line, id)
        }
        Who::Observer => arena.observe(ObserverRole::Viewer, false),
        Who::Observer5 => arena.observe(ObserverRole::Viewer, true),
        Who::Integration => arena.observe(ObserverRole::Integration, true),
    }
}

fn plain_mqtt(arena: &mut Arena) -> Verdict {
    let (name, secret) = arena.observer(ObserverRole::Viewer, None);
    let mut line = Line::over(mqtt::tcp(HERE, arena.lab.mqtt()).unwrap());
    let code = line.connect(&Connect { id: "x", login: Some((&name, &secret)), ..Connect::default() });
    succeeded(code == Some(0), code)
}

fn tls_1_2(arena: &mut Arena) -> Verdict {
    // A ClientHello that knows TLS 1.2 only: no supported_versions, one cipher suite of ECDHE and AES-GCM.
    let mut hello = vec![0x03, 0x03];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0xc0, 0x2b, 1, 0]);
    let extensions = [0, 10, 0, 4, 0, 2, 0, 23, 0, 13, 0, 4, 0, 2, 4, 3];
    hello.extend([0, u8::try_from(extensions.len()).unwrap()]);
    hello.extend(extensions);
    let length = u8::try_from(hello.len()).unwrap();
    let record = [vec![0x16, 3, 1, 0, length + 4, 1, 0, 0, length], hello].concat();
    let mut line = Line::over(mqtt::tcp(HERE, arena.lab.mqtt()).unwrap());
    line.send(&record);
    let ended = line.ends_within(SOON);
    // An alert is answered, but no ServerHello.
    succeeded(!ended || line.received().first() == Some(&0x16), line.received())
}

fn delays_others(arena: &mut Arena, count: usize, first: &[u8]) -> Verdict {
    let member = arena.member("member");
    let _held: Vec<TcpStream> = (0..count)
        .filter_map(|_| {
            let mut stream = TcpStream::connect((HERE, arena.lab.mqtt())).ok()?;
            stream.write_all(first).ok()?;
            Some(stream)
        })
        .collect();
    // The silent give way after a second.
    let late = Duration::from_millis(if arena.defence.is_some() { 2_000 } else { 4_000 });
    let begin = Instant::now();
    let line = mqtt::tcp(HERE, arena.lab.mqtt())
        .and_then(|it| mqtt::tls(it, arena.tls(Some(&member.identity)), late));
    let code = line.and_then(|it| Line::over(it).connect(&Connect { id: "x", ..Connect::default() }));
    succeeded(code != Some(0) || begin.elapsed() > late, (code, begin.elapsed()))
}

fn dripped_handshake(arena: &mut Arena) -> Verdict {
    let mut line = Line::over(mqtt::tcp(HERE, arena.lab.mqtt()).unwrap());
    line.send(HALF_HELLO);
    drips(&mut line, &[0])
}

fn dripped_connect(arena: &mut Arena, says: bool) -> Verdict {
    let mut line = arena.line(None);
    line.send(if says { &[0x10, 0x7f] } else { &[] });
    drips(&mut line, if says { &[0x41] } else { &[] })
}

/// Sends a little now and then; the attack is good if it is still there after all limits.
fn drips(line: &mut Line, drop: &[u8]) -> Verdict {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(5_800) {
        if line.ends_within(Duration::from_millis(300)) || !line.send(drop) {
            return succeeded(false, begin.elapsed());
        }
    }
    succeeded(true, "open after 5.8 s")
}

fn announced(arena: &mut Arena, who: Who, first: u8) -> Verdict {
    let (mut line, _) = line_of(arena, who);
    line.send(&[&[first], &mqtt::number(200 << 20)[..], b"abc"].concat());
    let ended = line.ends_within(arena.end_limit());
    succeeded(!ended, "not ended")
}

/// Sends bytes that are no good packet; the attack is good if the connection goes on.
fn bad(arena: &mut Arena, who: Who, make: fn(&Line) -> Vec<u8>) -> Verdict {
    let (mut line, name) = line_of(arena, who);
    assert!(line.is_answered(), "it is open before");
    let bytes = named(make(&line), &name);
    line.send(&bytes);
    let ended = line.ends_within(arena.end_limit());
    succeeded(!ended, "still open")
}

/// The user's own name in the place of `NAME`.
fn named(bytes: Vec<u8>, name: &str) -> Vec<u8> {
    let Some(place) = bytes.windows(4).position(|it| it == b"NAME") else { return bytes };
    let header = 2 + usize::from(bytes[1] & 0x80 != 0);
    let topic = usize::from(u16::from_be_bytes([bytes[header], bytes[header + 1]]));
    let (begin, end) = (header + 2, header + 2 + topic);
    let whole = [&bytes[begin..place], name.as_bytes(), &bytes[place + 4..end]].concat();
    mqtt::frame(bytes[0], &[mqtt::text(&whole), bytes[end..].to_vec()].concat())
}

fn nul_in_id(arena: &mut Arena) -> Verdict {
    let (name, secret) = arena.observer(ObserverRole::Viewer, None);
    let login = Some((name.as_str(), secret.as_str()));
    let code = arena.line(None).connect(&Connect { id: "a\0b", login, ..Connect::default() });
    succeeded(code == Some(0), code)
}

fn put(line: &Line, topic: &[u8]) -> Vec<u8> {
    mqtt::publish(line.v5, 0, 0, topic, b"1")
}

fn flagged(v5: bool) -> Vec<u8> {
    let mut bytes = mqtt::subscribe(v5, 9, &[b"lab/#"]);
    bytes[0] = 0x8f;
    bytes
}

fn subscribe_with(properties: &[u8]) -> Vec<u8> {
    let body =
        [&[0, 9][..], &mqtt::number(properties.len()), properties, &mqtt::text(b"lab/#"), &[0]].concat();
    mqtt::frame(0x82, &body)
}

fn many_properties() -> Vec<u8> {
    let one = [&[0x26][..], &mqtt::text(b"a"), &mqtt::text(b"b")].concat();
    subscribe_with(&one.repeat(100))
}

fn property_twice() -> Vec<u8> {
    // Payload format, twice, in a publish.
    let body = [&mqtt::text(b"lab/x")[..], &[4, 0x01, 0, 0x01, 0], b"1"].concat();
    mqtt::frame(0x30, &body)
}

fn foreign_letter(arena: &mut Arena) -> Verdict {
    let (mut line, _) = line_of(arena, Who::Integration);
    line.send(&mqtt::publish(true, 0x02, 7, "\u{e4}lab/x".as_bytes(), b"1"));
    let reason = line.acknowledged(4);
    succeeded(reason == Some(0), reason)
}

pub(crate) fn granted(arena: &mut Arena, filter: &str) -> Verdict {
    let (mut line, _) = line_of(arena, Who::Observer);
    let code = line.subscribe(filter);
    succeeded(code.is_some_and(|it| it < 0x80), code)
}

fn old_protocol(arena: &mut Arena) -> Verdict {
    let (name, secret) = arena.observer(ObserverRole::Viewer, None);
    let login = Some((name.as_str(), secret.as_str()));
    let code =
        arena.line(None).connect(&Connect { protocol: Some(("MQIsdp", 3)), login, ..Connect::default() });
    succeeded(code == Some(0), code)
}

fn many_subscriptions(arena: &mut Arena) -> Verdict {
    let (mut line, _) = line_of(arena, Who::Observer);
    let granted =
        (0..80).filter(|it| line.subscribe(&format!("lab/{it}")).is_some_and(|it| it < 0x80)).count();
    succeeded(granted > 64, granted)
}

fn unreleased(arena: &mut Arena) -> Verdict {
    let (mut line, name) = line_of(arena, Who::Integration);
    for id in 1..=80 {
        line.send(&mqtt::publish(true, 0x04, id, format!("lab/in/{name}/x").as_bytes(), b"1"));
    }
    let received = line.count(5, Duration::from_secs(1));
    succeeded(received > 70, received)
}

/// Sends many packets at once; the attack is good if more than a limit is taken within a moment.
fn flood(arena: &mut Arena, who: Who, count: u16, most: usize) -> Verdict {
    let (mut line, name) = line_of(arena, who);
    let mut bytes = Vec::new();
    for id in 1..=count {
        bytes.extend(match who {
            Who::Member => {
                mqtt::publish(false, 0x02, id, format!("ctl/{name}/sample").as_bytes(), b"{\"a\":1}")
            }
            Who::Integration => mqtt::publish(true, 0x02, id, format!("lab/in/{name}/x").as_bytes(), b"1"),
            _ => PING.to_vec(),
        });
    }
    line.send(&bytes);
    let kind = if who == Who::Observer { 13 } else { 4 };
    let taken = line.count(kind, Duration::from_secs(1));
    succeeded(taken > most, taken)
}

fn stranger_flood(arena: &mut Arena) -> Verdict {
    let identity = std::sync::Arc::new(bus::Identity::generate());
    let mut stranger = arena.stranger(HERE, &identity).unwrap();
    let wish = Arena::wish(&identity, &arena.name("flood"), None);
    let mut bytes = Vec::new();
    for id in 1..=20 {
        let header = stranger.sequence.next(crate::arena::now(), None);
        let payload = bus::envelope::seal(&stranger.outbox, &header, &wish, &identity);
        bytes.extend(mqtt::publish(false, 0x02, id, stranger.outbox.to_string().as_bytes(), &payload));
    }
    stranger.line.send(&bytes);
    let taken = stranger.line.count(4, Duration::from_secs(1));
    forget(arena, &wish);
    succeeded(taken > 8, taken)
}

/// Rejects what waits, so that the quarantine has room for the next.
pub(crate) fn forget(arena: &Arena, wish: &bus::message::EnrollRequest) {
    let key = wish.minion.to_string();
    let decision = model::request::KeyDecision::Reject;
    arena.ask(&model::Request::DecideKey { key, fingerprint: None, decision });
}

fn silent_member(arena: &mut Arena) -> Verdict {
    let member = arena.member("silent");
    let mut line = arena.line(Some(&member.identity));
    line.connect(&Connect { id: "x", keep_alive_s: 1, ..Connect::default() });
    let ended = line.ends_within(Duration::from_millis(2_500));
    succeeded(!ended, "still open after 2.5 s")
}

fn big_event(arena: &mut Arena) -> Verdict {
    let (mut line, name) = line_of(arena, Who::Integration);
    let payload = format!("\"{}\"", "x".repeat(20 * 1024));
    line.send(&mqtt::publish(true, 0x02, 7, format!("lab/in/{name}/big").as_bytes(), payload.as_bytes()));
    let reason = line.acknowledged(4);
    succeeded(reason == Some(0), reason)
}

fn deep_event(arena: &mut Arena) -> Verdict {
    let (mut line, name) = line_of(arena, Who::Integration);
    let payload = format!("{{\"a\":{}1{}}}", "[".repeat(125), "]".repeat(125));
    line.send(&mqtt::publish(true, 0x02, 7, format!("lab/in/{name}/deep").as_bytes(), payload.as_bytes()));
    assert!(line.acknowledged(4).is_some());
    line.send(&mqtt::publish(true, 0x02, 8, format!("lab/in/{name}/after").as_bytes(), b"1"));
    assert_eq!(line.acknowledged(4), Some(0));
    // What a person sees who asks for events.
    let after = || arena.lab.labctl(&["event", "list", "-o", "json"]).stdout.contains("/after").then_some(());
    succeeded(tests::wait::try_until(SOON, after).is_none(), "events cannot be read any more")
}

fn others_are_served(arena: &mut Arena) -> Verdict {
    let member = arena.member("after");
    let answered = arena.join(&member).line.is_answered();
    succeeded(!answered, "nobody is served any more")
}

fn path_like_id(arena: &mut Arena) -> Verdict {
    for id in ["a/b", "../../etc/passwd", "a\u{1f4a9}/#"] {
        for _ in 0..2 {
            let (name, secret) = arena.observer(ObserverRole::Viewer, None);
            let mut line = arena.line(None);
            line.connect(&Connect { id, login: Some((&name, &secret)), ..Connect::default() });
            line.send(&DISCONNECT);
        }
    }
    others_are_served(arena)
}

fn resets(arena: &mut Arena) -> Verdict {
    for _ in 0..60 {
        let stream = mqtt::tcp(HERE, arena.lab.mqtt()).unwrap();
        let socket = stream.try_clone().unwrap();
        let Some(tls) = mqtt::tls(stream, arena.tls(None), SOON) else { continue };
        let mut line = Line::over(tls);
        line.send(&Connect { id: "x", ..Connect::default() }.bytes());
        // A close with lingering zero is a reset.
        let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
        nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::Linger, &linger).unwrap();
    }
    others_are_served(arena)
}

fn properties_to_old(arena: &mut Arena) -> Verdict {
    let (mut old, _) = line_of(arena, Who::Observer);
    assert_eq!(old.subscribe("lab/#"), Some(0));
    let (mut line, name) = line_of(arena, Who::Integration);
    let topic = mqtt::text(format!("lab/in/{name}/x").as_bytes());
    let property = [&[0x26][..], &mqtt::text(b"a"), &mqtt::text(b"b")].concat();
    let body = [&topic[..], &[0, 7], &mqtt::number(property.len()), &property, b"1"].concat();
    line.send(&mqtt::frame(0x32, &body));
    assert_eq!(line.acknowledged(4), Some(0));
    let told = || matches!(arena.events("integration/#"), Reply::Events(it) if !it.is_empty()).then_some(());
    let told = tests::wait::try_until(SOON, told).is_some();
    succeeded(!told || !old.is_answered(), told)
}
