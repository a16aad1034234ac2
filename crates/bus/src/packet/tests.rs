//! Round trips of every packet in both versions, and the holes that are closed.

use super::*;
use bytes::BytesMut;
use proptest::prelude::*;

fn text() -> impl Strategy<Value = String> {
    "[a-zäß€0-9 _-]{0,24}"
}
fn topic() -> impl Strategy<Value = String> {
    "[a-zäß€0-9$]{1,8}(/[a-z0-9]{0,8}){0,4}"
}
fn filter() -> impl Strategy<Value = String> {
    "([a-z0-9]{1,8}|\\+)(/([a-z0-9]{0,8}|\\+)){0,3}(/#)?"
}
fn payload() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from)
}
fn qos() -> impl Strategy<Value = Qos> {
    prop_oneof![Just(Qos::AtMostOnce), Just(Qos::AtLeastOnce), Just(Qos::ExactlyOnce)]
}
fn properties(version: Version) -> impl Strategy<Value = Properties> {
    let one = prop_oneof![
        any::<u32>().prop_map(|it| Property { id: 0x11, value: PropertyValue::Four(it) }),
        any::<u16>().prop_map(|it| Property { id: 0x21, value: PropertyValue::Two(it) }),
        any::<u8>().prop_map(|it| Property { id: 0x24, value: PropertyValue::Byte(it) }),
        (0..268_435_455_u32).prop_map(|it| Property { id: 0x0B, value: PropertyValue::Variable(it) }),
        text().prop_map(|it| Property { id: 0x1F, value: PropertyValue::Text(it) }),
        payload().prop_map(|it| Property { id: 0x16, value: PropertyValue::Binary(it) }),
        (text(), text()).prop_map(|(a, b)| Property { id: 0x26, value: PropertyValue::Pair(a, b) }),
    ];
    prop::collection::vec(one, 0..5).prop_map(move |mut list| {
        list.sort_by_key(|it| it.id);
        list.dedup_by_key(|it| it.id);
        Properties(if version == Version::V4 { Vec::new() } else { list })
    })
}

fn connect(version: Version) -> impl Strategy<Value = Packet> {
    let will = (topic(), payload(), qos(), any::<bool>(), properties(version)).prop_map(
        |(topic, payload, qos, retain, properties)| Will { topic, payload, qos, retain, properties },
    );
    let login = prop::option::of((text(), prop::option::of(payload())));
    let about = (text(), any::<bool>(), any::<u16>(), properties(version));
    (about, prop::option::of(will), login).prop_map(
        move |((client_id, clean, keep_alive_s, properties), will, login)| {
            let (user, password) = login.map_or((None, None), |(user, password)| (Some(user), password));
            let connect =
                Connect { version, client_id, clean, keep_alive_s, will, user, password, properties };
            Packet::Connect(Box::new(connect))
        },
    )
}

fn publish(version: Version) -> impl Strategy<Value = Packet> {
    (topic(), payload(), qos(), any::<bool>(), any::<bool>(), 1..=u16::MAX, properties(version)).prop_map(
        |(topic, payload, qos, retain, duplicate, id, properties)| {
            let some = qos != Qos::AtMostOnce;
            let id = if some { id } else { 0 };
            let duplicate = duplicate && some;
            Packet::Publish(Publish { topic, payload, qos, retain, duplicate, id, properties })
        },
    )
}

fn subscribe(version: Version) -> impl Strategy<Value = Packet> {
    let v5 = version == Version::V5;
    let one = (filter(), qos(), any::<bool>(), any::<bool>(), 0..3_u8).prop_map(
        move |(filter, qos, no_local, keep, handling)| Subscription {
            filter,
            qos,
            no_local: v5 && no_local,
            retain_as_published: v5 && keep,
            retain_handling: if v5 { handling } else { 0 },
        },
    );
    (1..=u16::MAX, prop::collection::vec(one, 1..5), properties(version))
        .prop_map(|(id, filters, properties)| Packet::Subscribe { id, filters, properties })
}

fn small(version: Version) -> impl Strategy<Value = Packet> {
    let reason = move |it: u8| if version == Version::V5 { it } else { 0 };
    let kind = prop_oneof![
        Just(AckKind::Ack),
        Just(AckKind::Received),
        Just(AckKind::Released),
        Just(AckKind::Complete)
    ];
    let codes = || prop::collection::vec(any::<u8>(), 1..5);
    prop_oneof![
        (kind, 1..=u16::MAX, any::<u8>()).prop_map(move |(kind, id, it)| Packet::Ack {
            kind,
            id,
            reason: reason(it)
        }),
        (any::<bool>(), any::<u8>(), properties(version)).prop_map(|(session_present, code, properties)| {
            Packet::ConnAck { session_present, code, properties }
        }),
        (1..=u16::MAX, codes()).prop_map(|(id, codes)| Packet::SubAck { id, codes }),
        (1..=u16::MAX, codes()).prop_map(move |(id, codes)| Packet::UnsubAck {
            id,
            codes: if version == Version::V5 { codes } else { Vec::new() }
        }),
        (1..=u16::MAX, prop::collection::vec(filter(), 1..5))
            .prop_map(|(id, filters)| Packet::Unsubscribe { id, filters }),
        Just(Packet::PingRequest),
        Just(Packet::PingResponse),
        any::<u8>().prop_map(move |it| Packet::Disconnect { reason: reason(it) }),
    ]
}

fn packet(version: Version) -> impl Strategy<Value = (Version, Packet)> {
    prop_oneof![connect(version), publish(version), subscribe(version), small(version)]
        .prop_map(move |it| (version, it))
}

fn bytes_of(version: Version, packet: &Packet) -> Bytes {
    let mut out = BytesMut::new();
    encode(version, packet, &mut out);
    out.freeze()
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        (version, packet) in prop_oneof![packet(Version::V4), packet(Version::V5)],
    ) {
        let bytes = bytes_of(version, &packet);
        prop_assert_eq!(frame_length(&bytes, 1 << 20), Ok(Some(bytes.len())));
        prop_assert_eq!(decode(version, bytes), Ok(packet));
    }

    #[test]
    fn no_bytes_whatsoever_make_it_panic(
        first in any::<u8>(), rest in prop::collection::vec(any::<u8>(), 0..120), v5 in any::<bool>(),
    ) {
        let mut bytes = vec![first, u8::try_from(rest.len()).unwrap()];
        bytes.extend(rest);
        let version = if v5 { Version::V5 } else { Version::V4 };
        if let Ok(packet) = decode(version, Bytes::from(bytes)) {
            let again = bytes_of(version, &packet);
            prop_assert!(decode(version, again).is_ok(), "{:?}", packet);
        }
    }

    #[test]
    fn a_packet_with_one_byte_altered_is_refused_or_still_well_formed(
        (version, packet) in prop_oneof![packet(Version::V4), packet(Version::V5)], at in any::<u16>(), to in any::<u8>(),
    ) {
        let mut bytes = bytes_of(version, &packet).to_vec();
        let at = usize::from(at) % bytes.len();
        bytes[at] = to;
        if let Ok(Packet::Publish(it)) = decode(version, Bytes::from(bytes)) {
            prop_assert!(is_topic(&it.topic));
            prop_assert_eq!(it.id == 0, it.qos == Qos::AtMostOnce);
        }
    }
}

#[test]
fn a_length_over_the_limit_is_refused_before_its_bytes_come() {
    assert_eq!(frame_length(&[0x30, 0xff, 0xff, 0xff, 0x7f], 4096), Err(PacketError::TooLarge));
    assert_eq!(frame_length(&[0x30, 0xff, 0x7f], 4096), Err(PacketError::TooLarge));
    assert_eq!(
        frame_length(&[0x30, 0x80, 0x80, 0x80, 0x80], 4096),
        Err(PacketError::Malformed("remaining length"))
    );
    assert_eq!(frame_length(&[0x30, 0x80], 4096), Ok(None));
    assert_eq!(frame_length(&[0x30], 4096), Ok(None));
    assert_eq!(frame_length(&[0x30, 0x80, 0x20], 4096), Ok(Some(4096 + 3)));
}

#[test]
fn malformed_packets_are_refused() {
    let cases: &[(&str, Version, &[u8])] = &[
        ("a wildcard in a publish", Version::V4, b"\x30\x05\x00\x03a/#"),
        ("a plus in a publish", Version::V4, b"\x30\x05\x00\x03a/+"),
        ("an empty topic", Version::V4, b"\x30\x02\x00\x00"),
        ("an empty topic with an alias", Version::V5, b"\x30\x06\x00\x00\x03\x23\x00\x01"),
        ("packet id 0", Version::V4, b"\x32\x05\x00\x01a\x00\x00"),
        ("QoS 3", Version::V4, b"\x36\x05\x00\x01a\x00\x01"),
        ("a duplicate at QoS 0", Version::V4, b"\x38\x03\x00\x01a"),
        ("a topic that is not UTF-8", Version::V4, b"\x30\x03\x00\x01\xff"),
        ("NUL in a topic", Version::V4, b"\x30\x03\x00\x01\x00"),
        ("a topic longer than the packet", Version::V4, b"\x30\x03\x00\x09a"),
        ("properties longer than the packet", Version::V5, b"\x30\x05\x00\x01a\xff\x7f"),
        ("an unknown property", Version::V5, b"\x30\x06\x00\x01a\x02\x7e\x00"),
        ("a property twice", Version::V5, b"\x30\x0a\x00\x01a\x06\x23\x00\x01\x23\x00\x01"),
        ("a subscribe without filters", Version::V4, b"\x82\x02\x00\x01"),
        ("a subscribe with packet id 0", Version::V4, b"\x82\x06\x00\x00\x00\x01a\x00"),
        ("a filter with # inside", Version::V4, b"\x82\x08\x00\x01\x00\x03#/a\x00"),
        ("a filter with half a level of #", Version::V4, b"\x82\x07\x00\x01\x00\x02a#\x00"),
        ("reserved bits in subscribe options", Version::V4, b"\x82\x06\x00\x01\x00\x01a\x04"),
        ("retain handling 3", Version::V5, b"\x82\x07\x00\x01\x00\x00\x01a\x30"),
        ("wrong flags of a subscribe", Version::V4, b"\x80\x06\x00\x01\x00\x01a\x00"),
        ("a puback with packet id 0", Version::V4, b"\x40\x02\x00\x00"),
        ("a ping with bytes left over", Version::V4, b"\xc0\x01\x00"),
        ("AUTH in 3.1.1", Version::V4, b"\xf0\x00"),
        ("packet type 0", Version::V4, b"\x00\x00"),
        ("a foreign protocol", Version::V4, b"\x10\x0c\x00\x04HTTP\x04\x02\x00\x3c\x00\x00"),
        ("the reserved connect flag", Version::V4, b"\x10\x0c\x00\x04MQTT\x04\x03\x00\x3c\x00\x00"),
        ("will flags without a will", Version::V4, b"\x10\x0c\x00\x04MQTT\x04\x0a\x00\x3c\x00\x00"),
        ("a password without a user", Version::V4, b"\x10\x0e\x00\x04MQTT\x04\x42\x00\x3c\x00\x00\x00\x00"),
        ("an empty frame", Version::V4, b""),
        ("half a frame", Version::V4, b"\x30\x05\x00"),
        ("two frames", Version::V4, b"\xc0\x00\xc0\x00"),
    ];
    for (what, version, bytes) in cases {
        assert!(decode(*version, Bytes::from_static(bytes)).is_err(), "{what}");
    }
    let old = Bytes::from_static(b"\x10\x0c\x00\x04MQTT\x03\x02\x00\x3c\x00\x00");
    assert_eq!(decode(Version::V4, old), Err(PacketError::UnsupportedVersion));
}

#[test]
fn filters_match_level_by_level() {
    for (filter, topic, wanted) in [
        ("ctl/m1/in", "ctl/m1/in", true),
        ("ctl/m1/in", "ctl/m10/in", false),
        ("ctl/m1", "ctl/m1/in", false),
        ("#", "a/b", true),
        ("#", "$SYS/x", false),
        ("+/x", "$SYS/x", false),
        ("$SYS/#", "$SYS/x", true),
        ("a/#", "a", true),
        ("a/#", "ab", false),
        ("a/+/c", "a/b/c", true),
        ("a/+/c", "a//c", true),
        ("a/+", "a/b/c", false),
        ("a/+", "a", false),
        ("+", "/a", false),
        ("/+", "/a", true),
    ] {
        assert_eq!(matches(filter, topic), wanted, "{filter} {topic}");
    }
}

#[test]
fn a_connect_never_prints_its_password() {
    let connect = Connect {
        version: Version::V5,
        client_id: String::new(),
        clean: true,
        keep_alive_s: 60,
        will: None,
        user: Some("ann".into()),
        password: Some(Bytes::from_static(b"hush")),
        properties: Properties::default(),
    };
    assert!(!format!("{connect:?}").contains("hush"));
}
