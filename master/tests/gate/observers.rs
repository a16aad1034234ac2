//! Observers: they see the public tree, whole and paced; they say nothing but what is theirs to say.

use crate::bench::{Bench, Mqtt, connect, login, publish, soon, until};
use bus::packet::{AckKind, Packet, Properties, PropertyValue, Publish, Qos, Version, Will, property};
use bytes::Bytes;
use master::{fanout::Fanout, gate::FromGate};
use model::ObserverRole;
use std::{collections::BTreeMap, path::PathBuf, process::Stdio, time::Duration};

const BOTH: [Version; 2] = [Version::V4, Version::V5];

fn fanout() -> Fanout {
    Fanout::start_from(PathBuf::from(env!("CARGO_BIN_EXE_labmaster")))
}

/// A bench whose gate relays from a real fan-out.
async fn live_bench() -> (Bench, Fanout) {
    let (bench, fanout) = (Bench::start().await, fanout());
    let mut link = fanout.link();
    let now = soon("the fan-out", link.wait_for(Option::is_some)).await.unwrap().clone();
    bench.fanout.send_replace(now);
    bench.observer("eye", ObserverRole::Viewer);
    bench.observer("hass", ObserverRole::Integration);
    (bench, fanout)
}

fn fill(bench: &Bench, count: usize) {
    let mut retained = bench.book.retained.lock().unwrap();
    for number in 0..count {
        retained.insert(format!("lab/minion/m{number}/state"), format!(r#"{{"cpu":{number}}}"#));
    }
}

async fn take(mqtt: &mut Mqtt) -> Publish {
    loop {
        match mqtt.next().await {
            Some(Packet::Publish(it)) => {
                if it.id != 0 {
                    mqtt.send(&Packet::Ack { kind: AckKind::Ack, id: it.id, reason: 0 }).await;
                }
                return it;
            }
            Some(Packet::PingResponse) => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn observe(bench: &Bench, version: Version, name: &str) -> Mqtt {
    let mut mqtt = bench.tls(None).await;
    assert_eq!(mqtt.connect(login(version, name)).await, Some(0));
    mqtt
}

#[tokio::test]
async fn a_thousand_retained_topics_arrive_whole_at_either_qos_and_again() {
    let bench = Bench::start().await;
    bench.observer("eye", ObserverRole::Viewer);
    fill(&bench, 1000);
    bench.book.retained.lock().unwrap().insert("ctl/m1/in".into(), "secret".into());
    let wanted: BTreeMap<_, _> = {
        let retained = bench.book.retained.lock().unwrap();
        let public = retained.iter().filter(|(topic, _)| topic.starts_with("lab/"));
        public.map(|(topic, payload)| (topic.clone(), Bytes::from(payload.clone()))).collect()
    };
    for version in BOTH {
        for (qos, filter) in
            [(Qos::AtMostOnce, "lab/#"), (Qos::AtLeastOnce, "lab/minion/+/state"), (Qos::ExactlyOnce, "#")]
        {
            let mut mqtt = observe(&bench, version, "eye").await;
            for round in 0..2 {
                assert_eq!(mqtt.subscribe(&[(filter, qos)]).await, [qos.number().min(1)]);
                let mut got = BTreeMap::new();
                for _ in 0..1000 {
                    let it = take(&mut mqtt).await;
                    assert!(it.retain && it.qos == qos.min(Qos::AtLeastOnce));
                    got.insert(it.topic, it.payload);
                }
                assert!(got == wanted, "{version:?} {qos:?} round {round}: {} of 1000", got.len());
                mqtt.ping().await;
            }
        }
    }
}

#[tokio::test]
async fn nobody_gets_in_without_a_good_token_or_as_an_operator() {
    let bench = Bench::start().await;
    bench.observer("eye", ObserverRole::Viewer);
    bench.observer("op", ObserverRole::Operator);
    for (version, unknown, operator) in [(Version::V4, 4, 5), (Version::V5, 0x86, 0x87)] {
        let mut wrong = login(version, "eye");
        wrong.password = Some(Bytes::from_static(b"guess"));
        for (connect, code) in [
            (connect(version), unknown),
            (login(version, "nobody"), unknown),
            (wrong, unknown),
            (login(version, "op"), operator),
        ] {
            let mut mqtt = bench.plain().await;
            assert_eq!(mqtt.connect(connect).await, Some(code));
            mqtt.until_closed().await;
        }
        assert_eq!(bench.plain().await.connect(login(version, "eye")).await, Some(0));
    }
    assert_eq!((bench.refused("observer-login"), bench.refused("operator-over-mqtt")), (6, 2));
}

#[tokio::test]
async fn a_viewer_cannot_see_control_topics_and_cannot_publish() {
    let (mut bench, _fanout) = live_bench().await;
    for (version, no, share) in [(Version::V4, 0x80, 0x80), (Version::V5, 0x87, 0x9e)] {
        let mut mqtt = observe(&bench, version, "eye").await;
        let filters = ["ctl/#", "ctl/m1/in", "enroll/#", "$share/g/lab/#", "labs/#", "lab/#", "$SYS/#"];
        let codes = mqtt.subscribe(&filters.map(|filter| (filter, Qos::AtMostOnce))).await;
        assert_eq!(codes, [no, no, no, share, no, 0, 0]);
        let shown = if version == Version::V4 { 0 } else { 0x87 };
        for topic in ["lab/minion/m1/state", "ctl/m1/in", "lab/in/eye/x", "homeassistant/x", "lab/command/m1"]
        {
            mqtt.send(&Packet::Publish(publish(topic, "{}", Qos::AtMostOnce))).await;
            mqtt.send(&Packet::Publish(publish(topic, "{}", Qos::AtLeastOnce))).await;
            let ack = Packet::Ack { kind: AckKind::Ack, id: 7, reason: shown };
            assert_eq!(mqtt.next().await, Some(ack), "{topic}");
            mqtt.send(&Packet::Publish(publish(topic, "{}", Qos::ExactlyOnce))).await;
            let received = Packet::Ack { kind: AckKind::Received, id: 7, reason: shown };
            assert_eq!(mqtt.next().await, Some(received), "{topic}");
            if version == Version::V4 {
                mqtt.send(&Packet::Ack { kind: AckKind::Released, id: 7, reason: 0 }).await;
                let complete = Packet::Ack { kind: AckKind::Complete, id: 7, reason: 0 };
                assert_eq!(mqtt.next().await, Some(complete));
            }
        }
        mqtt.ping().await;
    }
    assert_eq!(bench.refused("observer-publish"), 30);
    assert!(bench.events.try_recv().is_err(), "nothing reached the daemon");
}

#[tokio::test]
async fn an_integration_is_heard_below_its_own_name_only() {
    let mut bench = Bench::start().await;
    bench.observer("hass", ObserverRole::Integration);
    for version in BOTH {
        let mut mqtt = observe(&bench, version, "hass").await;
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            mqtt.send(&Packet::Publish(publish("lab/in/hass/door", r#"{"open":true}"#, qos))).await;
            let FromGate::Integration { user, tag, data } = bench.event().await else { panic!() };
            assert_eq!((user.as_str(), tag.as_str(), &data["open"]), ("hass", "door", &true.into()));
            match qos {
                Qos::AtMostOnce => {}
                Qos::AtLeastOnce => {
                    assert_eq!(mqtt.next().await, Some(Packet::Ack { kind: AckKind::Ack, id: 7, reason: 0 }));
                }
                Qos::ExactlyOnce => {
                    let received = Some(Packet::Ack { kind: AckKind::Received, id: 7, reason: 0 });
                    assert_eq!(mqtt.next().await, received);
                    let mut again = publish("lab/in/hass/door", r#"{"open":true}"#, qos);
                    again.duplicate = true;
                    mqtt.send(&Packet::Publish(again)).await;
                    assert_eq!(mqtt.next().await, received);
                    mqtt.send(&Packet::Ack { kind: AckKind::Released, id: 7, reason: 0 }).await;
                    let complete = Some(Packet::Ack { kind: AckKind::Complete, id: 7, reason: 0 });
                    assert_eq!(mqtt.next().await, complete);
                }
            }
        }
        for topic in ["lab/in/other/door", "lab/in/hassle/door", "lab/minion/m1/state", "ctl/m1/in"] {
            mqtt.send(&Packet::Publish(publish(topic, "{}", Qos::AtMostOnce))).await;
        }
        mqtt.ping().await;
    }
    assert_eq!(bench.refused("observer-publish"), 8);
    assert!(bench.events.try_recv().is_err(), "told twice, or what was refused");
}

#[tokio::test]
async fn what_devices_say_arrives_with_its_types_whatever_their_programs_call_it() {
    use serde_json::json;
    let mut bench = Bench::start().await;
    bench.observer("bridge", ObserverRole::Integration);
    let cases = [
        // Tasmota, as a bridge passes it on.
        ("stat/lamp/POWER", "ON", json!({"value": "ON"})),
        ("tele/lamp/LWT", "Online", json!({"value": "Online"})),
        (
            "tele/lamp/STATE",
            r#"{"Time":"2026-02-06T13:08:45","Uptime":"1T02:03:04","UptimeSec":93784,"POWER":"ON","Wifi":{"RSSI":64,"Signal":-68}}"#,
            json!({"Time": "2026-02-06T13:08:45", "Uptime": "1T02:03:04", "UptimeSec": 93784, "POWER": "ON", "Wifi": {"RSSI": 64, "Signal": -68}}),
        ),
        (
            "tele/plug/SENSOR",
            r#"{"Time":"2026-02-06T13:08:45","ENERGY":{"Total":3.185,"Power":12,"Factor":0.5}}"#,
            json!({"Time": "2026-02-06T13:08:45", "ENERGY": {"Total": 3.185, "Power": 12, "Factor": 0.5}}),
        ),
        // Zigbee2MQTT.
        (
            "zigbee2mqtt/door",
            r#"{"battery":91,"contact":false,"linkquality":120,"voltage":3005,"last_seen":null}"#,
            json!({"battery": 91, "contact": false, "linkquality": 120, "voltage": 3005, "last_seen": null}),
        ),
        ("zigbee2mqtt/0x00158d0001a2b3c4/availability", r#"{"state":"online"}"#, json!({"state": "online"})),
        // Node-RED, whatever stands in msg.payload.
        ("temperature", "21.5", json!({"value": 21.5})),
        ("counter", "42", json!({"value": 42})),
        ("flag", "true", json!({"value": true})),
        ("list", "[1,\"a\"]", json!({"value": [1, "a"]})),
        ("text", "door opened", json!({"value": "door opened"})),
        ("empty", "", json!({"value": ""})),
        ("half", "{\"a\":", json!({"value": "{\"a\":"})),
    ];
    let mut mqtt = observe(&bench, Version::V4, "bridge").await;
    for (topic, payload, wanted) in cases {
        let topic = format!("lab/in/bridge/{topic}");
        mqtt.send(&Packet::Publish(publish(&topic, payload, Qos::AtLeastOnce))).await;
        let FromGate::Integration { user, tag, data } = bench.event().await else { panic!("{topic}") };
        assert_eq!((user.as_str(), format!("lab/in/bridge/{tag}")), ("bridge", topic.clone()));
        assert_eq!(serde_json::Value::Object(data), wanted, "{topic}");
        assert_eq!(mqtt.next().await, Some(Packet::Ack { kind: AckKind::Ack, id: 7, reason: 0 }));
    }
    for topic in ["lab/in/other/stat/lamp/POWER", "stat/lamp/POWER", "lab/in/bridge"] {
        mqtt.send(&Packet::Publish(publish(topic, "ON", Qos::AtMostOnce))).await;
    }
    mqtt.send(&Packet::Publish(publish("lab/in/bridge/x", vec![b'x'; 16 * 1024 + 1], Qos::AtMostOnce))).await;
    mqtt.ping().await;
    assert_eq!((bench.refused("observer-publish"), bench.refused("integration-payload")), (3, 1));
    assert!(bench.events.try_recv().is_err(), "what was refused reached the daemon");
}

#[tokio::test]
async fn wills_are_taken_off_and_bad_packets_end_the_connection() {
    let bench = Bench::start().await;
    bench.observer("eye", ObserverRole::Viewer);
    let mut with_will = login(Version::V4, "eye");
    with_will.will = Some(Will {
        topic: "lab/minion/m1/availability".into(),
        payload: Bytes::from_static(b"offline"),
        qos: Qos::AtMostOnce,
        retain: true,
        properties: Properties::default(),
    });
    let mut mqtt = bench.plain().await;
    assert_eq!(mqtt.connect(with_will).await, Some(0));
    assert_eq!(bench.refused("observer-will"), 1);
    mqtt.raw(b"\x30\x03\x00\x01#").await;
    mqtt.until_closed().await;
    bench.until_refused("malformed-packet", 1).await;
    let mut alias = publish("lab/x", "", Qos::AtMostOnce);
    alias.properties = Properties::default().with(property::TOPIC_ALIAS, PropertyValue::Two(1));
    let mut mqtt = observe(&bench, Version::V5, "eye").await;
    mqtt.send(&Packet::Publish(alias)).await;
    mqtt.send(&Packet::Publish(publish("lab/x", vec![b'x'; 40_000], Qos::AtMostOnce))).await;
    assert!(matches!(mqtt.next().await, Some(Packet::Disconnect { reason: 0x94 | 0x81 })));
    mqtt.until_closed().await;
}

#[tokio::test]
async fn live_messages_come_in_the_clients_version_without_the_retain_flag() {
    let (bench, fanout) = live_bench().await;
    for version in BOTH {
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce] {
            let mut mqtt = observe(&bench, version, "eye").await;
            // Overlapping filters give one message, at the higher of their QoS.
            let filters = [("lab/#", qos), ("lab/minion/+/state", Qos::AtMostOnce)];
            mqtt.subscribe(&filters).await;
            let marker = format!("{version:?}{qos:?}");
            let it = live(&fanout, &mut mqtt, &marker).await;
            assert!(!it.retain && it.qos == qos, "{it:?}");
            fanout.publish("homeassistant/device/x/config", "not wanted");
            fanout.publish("lab/minion/m1/state", "once");
            fanout.publish("lab/end", "end");
            let mut count = 0;
            loop {
                let it = take(&mut mqtt).await;
                assert!(it.topic.starts_with("lab/"));
                count += usize::from(it.payload == "once");
                if it.payload == "end" {
                    break;
                }
            }
            assert_eq!(count, 1);
        }
    }
}

/// Publishes until it arrives: from then on the stream is there.
async fn live(fanout: &Fanout, mqtt: &mut Mqtt, marker: &str) -> Publish {
    let publish = async {
        let mut beats = tokio::time::interval(Duration::from_millis(50));
        loop {
            fanout.publish("lab/marker", marker);
            beats.tick().await;
        }
    };
    let arrive = async {
        loop {
            let it = take(mqtt).await;
            if it.payload == marker {
                return it;
            }
        }
    };
    tokio::select! {
        it = arrive => it,
        () = publish => unreachable!(),
    }
}

#[tokio::test]
async fn observers_stay_through_a_restart_of_the_fan_out_and_hear_what_changed() {
    let (bench, fanout) = live_bench().await;
    fill(&bench, 1);
    let mut mqtt = observe(&bench, Version::V5, "eye").await;
    mqtt.subscribe(&[("lab/#", Qos::AtMostOnce)]).await;
    live(&fanout, &mut mqtt, "before").await;
    drop(fanout);
    bench.fanout.send_replace(None);
    bench.book.retained.lock().unwrap().insert("lab/minion/m0/state".into(), "changed".into());
    mqtt.ping().await;
    let fanout = self::fanout();
    let now = soon("the fan-out", fanout.link().wait_for(Option::is_some)).await.unwrap().clone();
    bench.fanout.send_replace(now);
    let it = take(&mut mqtt).await;
    assert_eq!(
        (it.topic.as_str(), &it.payload[..], it.retain),
        ("lab/minion/m0/state", &b"changed"[..], true)
    );
    live(&fanout, &mut mqtt, "after").await;
}

#[tokio::test]
async fn a_slow_observer_is_given_up_and_harms_no_other() {
    let (bench, fanout) = live_bench().await;
    let mut slow = observe(&bench, Version::V4, "eye").await;
    slow.subscribe(&[("lab/#", Qos::AtMostOnce)]).await;
    live(&fanout, &mut slow, "slow").await;
    let mut good = observe(&bench, Version::V4, "eye").await;
    good.subscribe(&[("lab/marker", Qos::AtMostOnce)]).await;
    let payload = "x".repeat(16 * 1024);
    let flood = async {
        let mut beats = tokio::time::interval(Duration::from_micros(200));
        loop {
            fanout.publish("lab/flood", &payload);
            beats.tick().await;
        }
    };
    tokio::select! {
        () = bench.until_refused("observer-too-slow", 1) => {}
        () = flood => unreachable!(),
    }
    live(&fanout, &mut good, "good").await;
}

#[tokio::test]
async fn a_revoked_observer_is_sent_away() {
    let bench = Bench::start().await;
    bench.observer("eye", ObserverRole::Viewer);
    let mut mqtt = observe(&bench, Version::V5, "eye").await;
    bench.book.observers.lock().unwrap().clear();
    assert_eq!(mqtt.next().await, Some(Packet::Disconnect { reason: 0x87 }));
    mqtt.until_closed().await;
}

#[tokio::test]
async fn the_fan_out_is_started_again_and_its_child_never_outlives_its_parent() {
    let fanout = fanout();
    let mut up = fanout.link();
    let first = soon("the fan-out", up.wait_for(Option::is_some)).await.unwrap().clone().unwrap();
    let id = children().pop().expect("a child");
    assert!(std::process::Command::new("kill").args(["-9", &id]).status().unwrap().success());
    let another = soon("another", up.wait_for(|it| it.as_ref().is_some_and(|it| *it != first))).await;
    assert!(another.is_ok());
    assert_eq!(fanout.counters().0, 1);

    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_labmaster"))
        .arg("fanout")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, b"{\"user\":\"u\",\"password\":\"p\"}\n").unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line)
        .unwrap();
    assert!(line.starts_with("{\"port\":"), "{line}");
    drop(stdin);
    soon("the end of the child", until(|| child.try_wait().unwrap().is_some())).await;
}

/// Fan-out children of this thread: tests run one thread each.
fn children() -> Vec<String> {
    let task = std::fs::read_link("/proc/thread-self").unwrap();
    let of = std::path::Path::new("/proc").join(task).join("children");
    let text = std::fs::read_to_string(of).unwrap();
    text.split_whitespace().map(str::to_owned).collect()
}
