//! Minions: known by key, one inbox, two outlets, and every message checked.

use crate::bench::{Bench, LIMIT, connect, hello, publish, request, soon};
use bus::{
    FromMinion, Identity, ToMinion, Topic,
    envelope::{self, Sequence},
    message::EnrollAnswer,
    packet::{AckKind, Packet, Properties, Qos, Version, Will},
};
use bytes::Bytes;
use master::{core::TokenFault, gate::FromGate};
use model::{Replace, Timestamp, TokenTerms};
use std::time::{Duration, Instant};

fn beat() -> FromMinion {
    FromMinion::Heartbeat { running: None }
}

fn cancel(number: u128) -> ToMinion {
    ToMinion::Cancel { job: model::JobId(number) }
}

#[tokio::test]
async fn a_member_says_hello_and_messages_go_both_ways_in_both_versions() {
    let mut bench = Bench::start().await;
    for version in [Version::V4, Version::V5] {
        let id = if version == Version::V4 { "m4" } else { "m5" };
        let identity = bench.accept(id);
        let (mut member, epoch) = bench.member_with(id, identity, version).await;
        bench.gate.send(&member.id, &cancel(1));
        bench.gate.send(&member.id, &cancel(2));
        assert_eq!(member.hear(&bench).await, cancel(1));
        assert_eq!(member.hear(&bench).await, cancel(2));
        let payload = member.seal(&beat());
        member
            .mqtt
            .send(&Packet::Publish(publish(&format!("ctl/{id}/out"), payload, Qos::AtLeastOnce)))
            .await;
        let FromGate::Message { minion, epoch: of, message } = bench.event().await else { panic!() };
        assert_eq!((minion.as_str(), of, *message), (id, epoch, beat()));
        assert_eq!(member.mqtt.next().await, Some(Packet::Ack { kind: AckKind::Ack, id: 7, reason: 0 }));
        member.send(&format!("ctl/{id}/sample"), br#"{"cpu":1.5}"#.to_vec()).await;
        let FromGate::Sample { sample, .. } = bench.event().await else { panic!() };
        assert_eq!(sample["cpu"], 1.5);
        member.mqtt.send(&Packet::Disconnect { reason: 0 }).await;
        let FromGate::Disconnected { epoch: of, .. } = bench.event().await else { panic!() };
        assert_eq!(of, epoch);
    }
    assert!(bench.gate.counters().0.is_empty(), "{:?}", bench.gate.counters());
}

#[tokio::test]
async fn what_is_not_in_the_table_ends_a_members_connection_and_is_counted() {
    let mut bench = Bench::start().await;
    let key = bench.accept("other").public().fingerprint();
    let enroll = Topic::EnrollOut(key).to_string();
    let publishes = [
        "ctl/m10/out",
        "ctl/m/out",
        "ctl/m1/in",
        "ctl/m1",
        "ctl/m1/out/x",
        "ctl/other/out",
        "ctl/other/sample",
        "lab/minion/m1/state",
        "lab/in/m1/x",
        "homeassistant/x",
        "$SYS/x",
        "ctl/M1/out",
        &enroll,
    ];
    for (count, topic) in (1..).zip(publishes) {
        let (mut member, _) = bench.member("m1").await;
        let payload = member.seal(&beat());
        member.send(topic, payload).await;
        member.mqtt.until_closed().await;
        assert!(matches!(bench.event().await, FromGate::Disconnected { .. }), "{topic}");
        bench.until_refused("minion-publish", count).await;
    }
    let filters = ["ctl/m10/in", "ctl/m1/out", "ctl/+/in", "ctl/#", "#", "lab/#", "$share/g/ctl/m1/in"];
    for (count, filter) in (1..).zip(filters) {
        let (mut member, _) = bench.member("m1").await;
        let codes = member.mqtt.subscribe(&[("ctl/m1/in", Qos::AtMostOnce), (filter, Qos::AtMostOnce)]).await;
        assert_eq!(codes, [0, 0x80], "{filter}");
        member.mqtt.until_closed().await;
        assert!(matches!(bench.event().await, FromGate::Disconnected { .. }), "{filter}");
        bench.until_refused("minion-subscribe", count).await;
    }
    let own = || publish("ctl/m1/sample", "{}", Qos::AtMostOnce);
    let mut retained = own();
    retained.retain = true;
    let twice = publish("ctl/m1/sample", "{}", Qos::ExactlyOnce);
    for (packet, reason) in [
        (Packet::Publish(retained), "minion-retain"),
        (Packet::Publish(twice), "minion-qos-2"),
        (Packet::PingResponse, "unexpected-packet"),
        (Packet::Connect(Box::new(connect(Version::V4))), "unexpected-packet"),
        (Packet::Publish(publish("ctl/m1/+", "{}", Qos::AtMostOnce)), "malformed-packet"),
        (Packet::Publish(publish("ctl/m1/out", vec![b'x'; 300 * 1024], Qos::AtMostOnce)), "malformed-packet"),
    ] {
        let before = bench.refused(reason);
        let (mut member, _) = bench.member("m1").await;
        member.mqtt.send(&packet).await;
        member.mqtt.until_closed().await;
        assert!(matches!(bench.event().await, FromGate::Disconnected { .. }), "{reason}");
        bench.until_refused(reason, before + 1).await;
    }
}

#[tokio::test]
async fn forged_replayed_altered_and_foreign_envelopes_are_not_believed() {
    let mut bench = Bench::start().await;
    for (case, reason) in [
        ("stranger", "envelope-bad-signature"),
        ("altered", "envelope-bad-signature"),
        ("topic", "envelope-bad-signature"),
        ("unsigned", "envelope-unsigned"),
        ("replayed", "envelope-out-of-order"),
        ("skipped", "envelope-out-of-order"),
        ("session", "envelope-out-of-order"),
        ("expired", "envelope-expired"),
        ("hello", "second-hello"),
    ] {
        let before = bench.refused(reason);
        let (mut member, _) = bench.member("m1").await;
        let own = Topic::Out(member.id.clone());
        let payload = match case {
            "stranger" => {
                let header = member.sequence.next(Timestamp(1), None);
                envelope::seal(&own, &header, &beat(), &Identity::generate())
            }
            "altered" => {
                let text = String::from_utf8(member.seal(&beat())).unwrap();
                text.replacen("heartbeat", "heartbeet", 1).into_bytes()
            }
            "topic" => {
                let header = member.sequence.next(Timestamp(1), None);
                let other = Topic::Out("m10".parse().unwrap());
                envelope::seal(&other, &header, &beat(), &member.identity)
            }
            "unsigned" => br#"{"type":"heartbeat","body":{"running":null}}"#.to_vec(),
            "replayed" => {
                let payload = member.seal(&beat());
                member.send("ctl/m1/out", payload.clone()).await;
                assert!(matches!(bench.event().await, FromGate::Message { .. }));
                payload
            }
            "skipped" => {
                member.seal(&beat());
                member.seal(&beat())
            }
            "session" => {
                let mut other = Sequence::of("other".to_owned());
                other.next(Timestamp(1), None);
                let header = other.next(Timestamp(1), None);
                envelope::seal(&own, &header, &beat(), &member.identity)
            }
            "expired" => {
                let header = member.sequence.next(Timestamp(1), Some(Timestamp(2)));
                envelope::seal(&own, &header, &beat(), &member.identity)
            }
            _ => member.seal(&hello()),
        };
        member.send("ctl/m1/out", payload).await;
        member.mqtt.until_closed().await;
        assert!(matches!(bench.event().await, FromGate::Disconnected { .. }), "{case}");
        bench.until_refused(reason, before + 1).await;
    }
}

#[tokio::test]
async fn a_message_before_hello_is_not_heard() {
    let bench = Bench::start().await;
    let identity = bench.accept("m1");
    let mut mqtt = bench.tls(Some(&identity)).await;
    mqtt.connect(connect(Version::V4)).await;
    let header = Sequence::of("s".to_owned()).next(Timestamp(1), None);
    let payload = envelope::seal(&Topic::Out("m1".parse().unwrap()), &header, &beat(), &identity);
    mqtt.send(&Packet::Publish(publish("ctl/m1/out", payload, Qos::AtMostOnce))).await;
    mqtt.until_closed().await;
    bench.until_refused("no-hello", 1).await;
}

#[tokio::test]
async fn a_stranger_may_only_ask_to_be_enrolled_and_is_a_member_when_it_comes_back() {
    let mut bench = Bench::start().await;
    let identity = Identity::generate();
    let fingerprint = identity.public().fingerprint();
    let (inbox, outlet) = (Topic::EnrollIn(fingerprint.clone()), Topic::EnrollOut(fingerprint.clone()));
    let mut mqtt = bench.tls(Some(&identity)).await;
    assert_eq!(mqtt.connect(connect(Version::V4)).await, Some(0));
    assert_eq!(mqtt.subscribe(&[(&inbox.to_string(), Qos::AtMostOnce)]).await, [0]);
    let (secret, image_key) = bus::seed::new_image_key();
    let terms = TokenTerms {
        name: "t".into(),
        image_key,
        ids: "vm-*".into(),
        labels: model::Labels::default(),
        cidr: Vec::new(),
        not_before: Timestamp(0),
        expires: Timestamp(u64::MAX),
        uses: 1,
        replace: Replace::Never,
        retire_after_ms: None,
    };
    let token = bus::seed::SeedToken {
        statement: bus::seed::sign_terms(&terms, &bench.issuer),
        image_secret: secret,
    };
    let good = {
        let mut it = request(&identity, "vm-1");
        it.token = Some(token.statement.clone());
        it.image_sig = bus::seed::sign_request(&token, &fingerprint, &it.minion);
        it
    };
    let other_name = {
        let mut it = good.clone();
        it.minion = "vm-2".parse().unwrap();
        it
    };
    let foreign = {
        let mut it = good.clone();
        it.token = Some(bus::seed::sign_terms(&terms, &Identity::generate()));
        it
    };
    let mut sequence = Sequence::of(envelope::random_session());
    for (request, wanted) in [
        (request(&identity, "vm-1"), Err(TokenFault::Absent)),
        (other_name, Err(TokenFault::Forged)),
        (foreign, Err(TokenFault::Forged)),
        (good, Ok(Box::new(terms))),
    ] {
        let payload = envelope::seal(&outlet, &sequence.next(Timestamp(1), None), &request, &identity);
        mqtt.send(&Packet::Publish(publish(&outlet.to_string(), payload, Qos::AtMostOnce))).await;
        let FromGate::Enroll { fingerprint: of, terms, .. } = bench.event().await else { panic!() };
        assert_eq!((of, terms), (fingerprint.clone(), wanted));
    }
    let answer = EnrollAnswer::Accepted { minion: "vm-1".parse().unwrap() };
    bench.gate.enroll_answer(&fingerprint, &answer);
    let Some(Packet::Publish(it)) = mqtt.next().await else { panic!() };
    let heard: EnrollAnswer =
        envelope::open(&inbox, &it.payload, &bench.signer.public()).unwrap().into_message();
    assert_eq!(heard, answer);
    bench.book.minions.lock().unwrap().insert(identity.public(), "vm-1".parse().unwrap());
    bench.member_with("vm-1", identity, Version::V4).await;
}

#[tokio::test]
async fn a_stranger_reaches_no_topic_of_others() {
    let bench = Bench::start().await;
    bench.accept("m1");
    let other = Topic::EnrollOut(Identity::generate().public().fingerprint()).to_string();
    for (count, topic) in (1..).zip(["ctl/m1/out", "ctl/m1/sample", "ctl/m1/in", "lab/x", &other]) {
        let mut mqtt = bench.tls(Some(&Identity::generate())).await;
        mqtt.connect(connect(Version::V5)).await;
        mqtt.send(&Packet::Publish(publish(topic, "{}", Qos::AtMostOnce))).await;
        mqtt.until_closed().await;
        bench.until_refused("minion-publish", count).await;
    }
    let mut mqtt = bench.tls(Some(&Identity::generate())).await;
    mqtt.connect(connect(Version::V5)).await;
    assert_eq!(mqtt.subscribe(&[("ctl/m1/in", Qos::AtMostOnce)]).await, [0x87]);
    mqtt.until_closed().await;
    let (key, other) = (Identity::generate(), Identity::generate());
    let mut mqtt = bench.tls(Some(&key)).await;
    mqtt.connect(connect(Version::V4)).await;
    let topic = Topic::EnrollOut(key.public().fingerprint());
    let header = Sequence::of("s".to_owned()).next(Timestamp(1), None);
    let payload = envelope::seal(&topic, &header, &request(&other, "vm-1"), &key);
    mqtt.send(&Packet::Publish(publish(&topic.to_string(), payload, Qos::AtMostOnce))).await;
    mqtt.until_closed().await;
    bench.until_refused("enroll-foreign-key", 1).await;
    let mut mqtt = bench.tls(Some(&key)).await;
    mqtt.connect(connect(Version::V4)).await;
    mqtt.send(&Packet::Publish(publish(&topic.to_string(), vec![b'x'; 5000], Qos::AtMostOnce))).await;
    mqtt.until_closed().await;
    bench.until_refused("malformed-packet", 1).await;
}

#[tokio::test]
async fn a_stranger_is_heard_once_in_ten_seconds_after_a_burst() {
    let mut bench = Bench::start().await;
    let key = Identity::generate();
    let mut mqtt = bench.tls(Some(&key)).await;
    mqtt.connect(connect(Version::V4)).await;
    let topic = Topic::EnrollOut(key.public().fingerprint());
    let mut sequence = Sequence::of("s".to_owned());
    for _ in 0..10 {
        let payload =
            envelope::seal(&topic, &sequence.next(Timestamp(1), None), &request(&key, "vm-1"), &key);
        mqtt.send(&Packet::Publish(publish(&topic.to_string(), payload, Qos::AtMostOnce))).await;
    }
    for _ in 0..6 {
        assert!(matches!(bench.event().await, FromGate::Enroll { .. }));
    }
    let more = tokio::time::timeout(Duration::from_secs(2), bench.events.recv()).await;
    assert!(more.is_err(), "heard too often");
}

#[tokio::test]
async fn who_is_banned_or_has_a_will_is_refused_at_once() {
    let bench = Bench::start().await;
    let banned = bench.accept("m1");
    bench.book.banned.lock().unwrap().insert(banned.public());
    for (version, code) in [(Version::V4, 5), (Version::V5, 0x8a)] {
        let mut mqtt = bench.tls(Some(&banned)).await;
        assert_eq!(mqtt.connect(connect(version)).await, Some(code));
        mqtt.until_closed().await;
    }
    let identity = bench.accept("m2");
    let will = Will {
        topic: "ctl/m2/out".into(),
        payload: Bytes::new(),
        qos: Qos::AtMostOnce,
        retain: false,
        properties: Properties::default(),
    };
    let mut with_will = connect(Version::V4);
    with_will.will = Some(will);
    assert_eq!(bench.tls(Some(&identity)).await.connect(with_will).await, Some(5));
    assert_eq!((bench.refused("minion-banned"), bench.refused("minion-will")), (2, 1));
}

#[tokio::test]
async fn of_two_connections_with_one_key_the_newest_wins() {
    let mut bench = Bench::start().await;
    let (mut first, old) = bench.member("m1").await;
    let again = bench.book.minions.lock().unwrap().keys().next().copied().unwrap();
    assert_eq!(again, first.identity.public());
    let mut second = bench.tls(Some(&first.identity)).await;
    assert_eq!(second.connect(connect(Version::V4)).await, Some(0));
    first.mqtt.until_closed().await;
    let mut seen = (0, 0);
    for _ in 0..2 {
        match bench.event().await {
            FromGate::Connected { epoch, .. } => seen.0 = epoch,
            FromGate::Disconnected { epoch, .. } => seen.1 = epoch,
            other => panic!("{other:?}"),
        }
    }
    assert!(seen.0 > old && seen.1 == old, "{seen:?}");
    second.ping().await;
    assert_eq!(bench.refused("replaced-by-newer-connection"), 1);
}

#[tokio::test]
async fn closing_writes_what_is_queued_and_takes_less_than_a_second() {
    let mut bench = Bench::start().await;
    let (mut member, _) = bench.member("m1").await;
    let removed = ToMinion::Removed { reason: "revoked".into() };
    let began = Instant::now();
    bench.gate.send(&member.id, &removed);
    bench.gate.close(&member.id);
    assert_eq!(member.hear(&bench).await, removed);
    member.mqtt.until_closed().await;
    assert!(matches!(bench.event().await, FromGate::Disconnected { .. }));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_full_queue_ends_the_connection() {
    let mut bench = Bench::start().await;
    let (mut member, _) = bench.member("m1").await;
    for number in 0..100_000 {
        bench.gate.send(&member.id, &cancel(number));
    }
    assert!(matches!(bench.event().await, FromGate::Disconnected { .. }));
    member.mqtt.until_closed().await;
    assert_eq!(bench.refused("queue-full"), 1);
}

#[tokio::test]
async fn beyond_the_rate_the_socket_is_not_read_and_nothing_is_lost() {
    let mut bench = Bench::start().await;
    let (mut member, _) = bench.member("m1").await;
    let began = Instant::now();
    for _ in 0..250 {
        member.send("ctl/m1/sample", b"{}".to_vec()).await;
    }
    for _ in 0..250 {
        assert!(matches!(bench.event().await, FromGate::Sample { .. }));
    }
    assert!(began.elapsed() > Duration::from_millis(700), "{:?}", began.elapsed());
    assert!(began.elapsed() < LIMIT);
}

#[tokio::test]
async fn keep_alive_counts_what_is_received() {
    let mut bench = Bench::start().await;
    let identity = bench.accept("m1");
    let mut quiet = bench.tls(Some(&identity)).await;
    let mut wish = connect(Version::V4);
    wish.keep_alive_s = 1;
    quiet.connect(wish).await;
    quiet.subscribe(&[("ctl/m1/in", Qos::AtMostOnce)]).await;
    let began = Instant::now();
    soon("the end", quiet.until_closed()).await;
    let took = began.elapsed();
    assert!((1..3).contains(&took.as_secs()), "{took:?}");
    assert_eq!(bench.refused("keep-alive-timeout"), 1);
    assert!(matches!(bench.event().await, FromGate::Connected { .. }));
}

#[tokio::test]
async fn telemetry_that_is_not_flat_is_dropped_and_counted_but_harms_nobody() {
    let mut bench = Bench::start().await;
    let (mut member, _) = bench.member("m1").await;
    for (count, bad) in (1..).zip(["[]", r#"{"a":{}}"#, "{", ""]) {
        member.send("ctl/m1/sample", bad.as_bytes().to_vec()).await;
        bench.until_refused("bad-sample", count).await;
    }
    member.mqtt.ping().await;
}
