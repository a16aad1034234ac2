//! What must hold for any topic, message and bytes.

use bus::{
    Identity, Topic,
    envelope::{self, Header, Rejected},
    message::{EnrollAnswer, FromMinion, Hello, JobResult, Offer, OutputPart, SealedRecipe, ToMinion},
    seal,
};
use model::{ContentHash, Fingerprint, Grains, JobId, MinionId, Mode, Terminal, Timestamp};
use proptest::prelude::*;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::fmt::Debug;

fn id() -> impl Strategy<Value = MinionId> {
    "[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?(\\.[a-z0-9]{1,5}){0,2}".prop_map(|text| text.parse().unwrap())
}

fn topic() -> impl Strategy<Value = Topic> {
    let key =
        any::<[u8; 32]>().prop_map(|secret| Identity::from_secrets(secret, secret).public().fingerprint());
    (id(), key, 0..5).prop_map(|(id, key, kind)| match kind {
        0 => Topic::In(id),
        1 => Topic::Out(id),
        2 => Topic::Sample(id),
        3 => Topic::EnrollIn(key),
        _ => Topic::EnrollOut(key),
    })
}

/// Any JSON that is not deeper than an event may carry.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(8, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..25)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn header(session: String, seq: u64, exp: Option<u64>) -> Header {
    Header { session, seq, iat: Timestamp(1), exp: exp.map(Timestamp) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_topic_prints_and_parses_to_the_same(topic in topic()) {
        prop_assert_eq!(Topic::parse(&topic.to_string()), Some(topic));
    }

    #[test]
    fn what_parses_as_a_topic_prints_as_it_was(text in "(ctl|enroll)/[a-z0-9+#/.-]{0,50}/(in|out|sample)") {
        if let Some(topic) = Topic::parse(&text) {
            prop_assert_eq!(topic.to_string(), text);
        }
    }

    #[test]
    fn an_envelope_opens_to_what_was_sealed(
        topic in topic(),
        session in "[ -~]{1,64}",
        seq in any::<u64>(),
        exp in any::<Option<u64>>(),
        tag in any::<String>(),
        data in value(),
    ) {
        let key = Identity::from_secrets([1; 32], [2; 32]);
        let message = FromMinion::Event { number: seq, tag, data, gap: 0 };
        let header = header(session, seq, exp);
        let bytes = envelope::seal(&topic, &header, &message, &key);
        match envelope::open::<FromMinion>(&topic, &bytes, &key.public()) {
            Ok(opened) => {
                prop_assert_eq!(opened.header(), &header);
                prop_assert_eq!(opened.into_message(), message);
            }
            Err(refused) => {
                prop_assert_eq!(refused, Rejected::TooLarge);
                prop_assert!(bytes.len() > envelope::size_max(&topic));
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), text in ".{0,300}") {
        let key = Identity::from_secrets([1; 32], [2; 32]);
        let topic = Topic::Out("m1".parse().unwrap());
        for bytes in [bytes.as_slice(), text.as_bytes()] {
            prop_assert!(envelope::open::<FromMinion>(&topic, bytes, &key.public()).is_err());
            prop_assert_eq!(seal::open(bytes, &key, b""), None);
        }
    }

    #[test]
    fn a_box_opens_to_what_was_sealed(plain in prop::collection::vec(any::<u8>(), 0..3000), context in any::<[u8; 9]>()) {
        let key = Identity::from_secrets([1; 32], [2; 32]);
        let sealed = seal::seal(&plain, &key.seal_key(), &context);
        prop_assert_eq!(seal::open(&sealed, &key, &context), Some(plain));
    }
}

fn round_trip<T: Serialize + DeserializeOwned + PartialEq + Debug>(
    topic: &Topic,
    messages: Vec<T>,
    names: &[&str],
) {
    assert_eq!(messages.len(), names.len());
    let key = Identity::from_secrets([1; 32], [2; 32]);
    for (message, name) in messages.into_iter().zip(names) {
        let bytes = envelope::seal(topic, &header("s".to_owned(), 1, None), &message, &key);
        let json: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(json["type"], *name);
        assert!(json["body"].is_object(), "{json}");
        let opened = envelope::open::<T>(topic, &bytes, &key.public()).unwrap();
        assert_eq!(opened.into_message(), message);
    }
}

fn hello() -> Hello {
    Hello {
        version: "0.1.0".to_owned(),
        boot: "b".to_owned(),
        first_of_boot: true,
        sandbox: false,
        grains_hash: ContentHash([1; 32]),
        grains: Some(Grains::default()),
        running: None,
        waiting: vec![JobId(2)],
        unacknowledged: vec![JobId(3)],
        next_event: 4,
        masters: 5,
        masters_hash: Some(ContentHash([6; 32])),
        speaker: bus::message::Speaker::default(),
        can: vec!["confirm".to_owned()],
        conduct: None,
    }
}

#[test]
fn every_message_of_a_minion_survives_the_wire() {
    let job = JobId(1);
    let result = JobResult {
        job,
        word: Terminal::Ok,
        reason: String::new(),
        report: None,
        at: Timestamp(1),
        begun: None,
    };
    let output = vec![OutputPart { stderr: true, text: "\u{1b}[1m\"\n".to_owned() }];
    let hash = ContentHash([1; 32]);
    let messages = vec![
        FromMinion::Hello(Box::new(hello())),
        FromMinion::Heartbeat { running: Some(job) },
        FromMinion::Received { job },
        FromMinion::Refused { job, reason: "full".to_owned() },
        FromMinion::Progress { job, step: 1, of: 2, what: "x".to_owned(), ended: Vec::new(), output },
        FromMinion::Result(Box::new(result)),
        FromMinion::ResultPart { job, part: 0, parts: 1, text: "{}".to_owned() },
        FromMinion::Event { number: 1, tag: "start".to_owned(), data: json!({"a": [1, null]}), gap: 2 },
        FromMinion::Grains { grains: Grains::default(), hash },
        FromMinion::Answer { probe: 1, answer: json!("pong") },
        FromMinion::Goodbye { reason: "stop".to_owned() },
    ];
    let names = [
        "hello",
        "heartbeat",
        "received",
        "refused",
        "progress",
        "result",
        "result_part",
        "event",
        "grains",
        "answer",
        "goodbye",
    ];
    round_trip(&Topic::Out("m1".parse().unwrap()), messages, &names);
}

#[test]
fn every_message_of_the_master_survives_the_wire() {
    let job = JobId(1);
    let offer = |recipe| Offer {
        job,
        mode: Mode::Apply,
        command: false,
        full: true,
        expires: Timestamp(9),
        what: "apply".to_owned(),
        recipe,
        confirm_ms: Some(120_000),
        begun: None,
    };
    let here = SealedRecipe::Here { sealed: "AAAA".to_owned() };
    let fetch = SealedRecipe::Fetch { hash: ContentHash([1; 32]), size: 7 };
    let messages = vec![
        ToMinion::Welcome {
            version: "0.1.0".to_owned(),
            now: Timestamp(1),
            want_grains: true,
            heartbeat_s: 30,
            sample_s: 10,
            spread_s: 5,
        },
        ToMinion::Incompatible { version: "9.0.0".to_owned(), message: "update".to_owned() },
        ToMinion::Offer(Box::new(offer(here))),
        ToMinion::Offer(Box::new(offer(fetch))),
        ToMinion::Cancel { job },
        ToMinion::Ack { jobs: vec![job], events: Some(3) },
        ToMinion::Probe { probe: 1, ask: model::request::Ask::Ping },
        ToMinion::Masters { text: "{}".to_owned() },
        ToMinion::Removed { reason: "revoked".to_owned() },
    ];
    let names = ["welcome", "incompatible", "offer", "offer", "cancel", "ack", "probe", "masters", "removed"];
    round_trip(&Topic::In("m1".parse().unwrap()), messages, &names);
}

#[test]
fn every_answer_to_an_enrolment_survives_the_wire() {
    let fingerprint: Fingerprint = Identity::from_secrets([1; 32], [2; 32]).public().fingerprint();
    let messages = vec![
        EnrollAnswer::Accepted { minion: "m1".parse().unwrap() },
        EnrollAnswer::Pending { reason: "no token".to_owned() },
        EnrollAnswer::Rejected { reason: "wrong address".to_owned() },
    ];
    round_trip(&Topic::EnrollIn(fingerprint), messages, &["accepted", "pending", "rejected"]);
}

#[test]
fn the_largest_recipe_that_travels_in_an_offer_fits_a_packet() {
    let key = Identity::from_secrets([1; 32], [2; 32]);
    let minion: MinionId = format!("{0}.{0}", "a".repeat(63)).parse().unwrap();
    let sealed = "A".repeat((bus::message::RECIPE_HERE_MAX * 4).div_ceil(3));
    let offer = Offer {
        job: JobId(u128::MAX),
        mode: Mode::Apply,
        command: false,
        full: true,
        expires: Timestamp(u64::MAX),
        what: "\u{1}".repeat(1000),
        recipe: SealedRecipe::Here { sealed },
        confirm_ms: Some(u64::MAX),
        begun: None,
    };
    let topic = Topic::In(minion);
    let header = header("s".repeat(64), u64::MAX, Some(u64::MAX));
    let bytes = envelope::seal(&topic, &header, &ToMinion::Offer(Box::new(offer)), &key);
    assert!(bytes.len() <= envelope::CONTROL_MAX);
    assert!(bytes.len() + topic.to_string().len() + 7 <= bus::client::PACKET_MAX);
    assert!(envelope::open::<ToMinion>(&topic, &bytes, &key.public()).is_ok());
}
