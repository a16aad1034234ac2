//! What a minion, or somebody with its keys or only a socket, cannot do: other topics, other files, denial.

use crate::intruder::Intruder;
use bus::client::ClientEvent;
use bus::envelope::{self, Sequence};
use bus::message::{FromMinion, Hello, ToMinion};
use bus::{PublicKey, Topic};
use model::{ContentHash, Timestamp};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::TcpStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tests::{
    lab::{LIMIT, Lab, find},
    wait,
};

/// Refusals that the master counted, all reasons together.
fn refusals(lab: &Lab) -> u64 {
    let said = lab.labctl(&["status", "-o", "json"]).expect(0).json();
    let counts = find(&said, "refused").and_then(Value::as_object).expect("refusals are counted");
    counts.values().filter_map(Value::as_u64).sum()
}

/// A healthy minion is asked, and answers within a second.
fn answers_soon(lab: &Lab, id: &str) {
    let said = lab.labctl(&["target", id, "ping", "-o", "json"]).expect(0).json();
    let round_trip = find(&said, "round_trip_us").and_then(Value::as_u64).expect("it answered");
    assert!(round_trip < 1_000_000, "{said}");
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp(u64::try_from(since.as_millis()).unwrap())
}

#[test]
fn three_hundred_idle_connections_do_not_keep_a_minion_out() {
    let mut lab = Lab::start();
    let idle: Vec<TcpStream> =
        (0..300).filter_map(|_| TcpStream::connect(("127.0.0.1", lab.mqtt())).ok()).collect();
    assert!(idle.len() > 250, "{}", idle.len());
    let seed = lab.seed("*", &[]);
    lab.launch("vm-1", &seed);
    let up = wait::try_until(wait::seconds(15), || (lab.presence("vm-1")? == "up").then_some(()));
    assert!(up.is_some(), "{}", lab.logs());
    drop(idle);
}

#[test]
fn a_minion_reads_and_writes_no_topics_of_others() {
    let mut lab = Lab::start();
    lab.minions(&["vm-1", "vm-2"]);
    lab.agent(0).signal("KILL");
    let intruder = Intruder::with_keys_of(&mut lab, 0);
    let mut counted = refusals(&lab);
    for filter in [
        "ctl/vm-2/in",
        "ctl/vm-2/out",
        "ctl/vm-1/out",
        "ctl/+/in",
        "ctl/#",
        "lab/#",
        "enroll/#",
        "$SYS/#",
        "#",
    ] {
        let reason = intruder.refused_subscription(filter);
        assert!(bus::client::refusal(&reason).is_some(), "{filter}: {reason}");
        let now = refusals(&lab);
        assert!(now > counted, "{filter} was not counted");
        counted = now;
    }
    for topic in [
        "ctl/vm-2/out",
        "ctl/vm-2/in",
        "ctl/vm-2/sample",
        "ctl/vm-1/in",
        "lab/minion/vm-2/state",
        "lab/command/vm-2",
    ] {
        intruder.refused_publish("ctl/vm-1/in", topic);
        let now = refusals(&lab);
        assert!(now > counted, "{topic} was not counted");
        counted = now;
    }
    answers_soon(&lab, "vm-2");
    assert!(!lab.agent(1).log().contains("not connected"), "{}", lab.agent(1).log());
}

#[test]
fn a_minion_fetches_no_content_and_no_recipe_of_another() {
    let mut lab = Lab::prepare();
    let content = vec![b'x'; 300_000];
    lab.tree("states/own/files/blob", std::str::from_utf8(&content).unwrap());
    let large = "y".repeat(200_000);
    lab.tree(
        "states/own/init.sls",
        &format!(
            "blob:\n  file.managed:\n    name: /blob\n    source: lab://own/files/blob\nlarge:\n  file.managed:\n    name: /large\n    contents: {large}\n"
        ),
    );
    lab.start_master();
    lab.minions(&["vm-1", "vm-2"]);
    // It has the offer, and can do nothing about it: what it may fetch stays granted.
    lab.agent(1).signal("STOP");
    lab.labctl(&["target", "vm-2", "apply", "own", "--async"]).expect(0);
    let sealed = wait::until("the recipe to be stored", LIMIT, || recipe_of(&lab, "vm-2"));
    let (hash, size) = (bus::seed::sha256(&content), content.len() as u64);
    let owner = Intruder::with_keys_of(&mut lab, 1);
    let other = Intruder::with_keys_of(&mut lab, 0);
    let into = lab.folder().join("fetched");
    for (hash, size) in [(hash, size), (bus::seed::sha256(&sealed), sealed.len() as u64)] {
        owner.fetch(hash, size, &into).expect("its own are given to it");
        let refused = other.fetch(hash, size, &into).expect_err("those of others are not");
        assert!(refused.to_string().ends_with("answered 404"), "{refused}");
    }
    let unknown = owner.fetch(ContentHash([7; 32]), 10, &into).expect_err("there is no such thing");
    assert!(unknown.to_string().ends_with("answered 404"), "told the same: {unknown}");
    answers_soon(&lab, "vm-1");
}

/// The ciphertext that the master keeps for a minion.
fn recipe_of(lab: &Lab, minion: &str) -> Option<Vec<u8>> {
    let path = lab.root().join("var/lib/labctl/master/store.db");
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE;
    let db = rusqlite::Connection::open_with_flags(path, flags).ok()?;
    let query = "SELECT sealed FROM recipes WHERE minion = ?1 AND sealed IS NOT NULL";
    db.query_row(query, [minion], |row| row.get(0)).ok()
}

#[test]
fn of_two_connections_with_one_key_the_newest_wins_and_presence_stays_right() {
    let mut lab = Lab::start();
    lab.minions(&["vm-1", "vm-2"]);
    let intruder = Intruder::with_keys_of(&mut lab, 0);
    let mut twin = intruder.join(&["ctl/vm-1/in"]);
    wait::until("the older connection to end", LIMIT, || {
        lab.agent(0).log().contains("not connected").then_some(())
    });
    // The minion comes back as the newest, and stays.
    intruder.wait(async {
        while let Some(event) = twin.events.recv().await {
            if matches!(event, ClientEvent::Disconnected { .. }) {
                break;
            }
        }
    });
    drop(twin);
    lab.wait_up("vm-1");
    answers_soon(&lab, "vm-1");
    assert_eq!(lab.presence("vm-1").as_deref(), Some("up"), "the late end of the twin changes nothing");
    let said = lab.labctl(&["target", "vm-1", "run", "--", "pwd"]).expect(0);
    assert!(said.stdout.contains("minions/vm-1/host"), "{}", said.stdout);
    answers_soon(&lab, "vm-2");
}

#[test]
fn one_minor_version_apart_works_and_two_are_refused_with_both_named() {
    let mut lab = Lab::start();
    lab.minions(&["vm-1"]);
    lab.agent(0).signal("KILL");
    let intruder = Intruder::with_keys_of(&mut lab, 0);
    let master = PublicKey::from_text(&intruder.masters.masters[0].sign).unwrap();
    let mut numbers = model::VERSION.split('.').map(|it| it.parse::<u32>().unwrap());
    let (major, minor) = (numbers.next().unwrap(), numbers.next().unwrap());
    let (inbox, outbox) = (Topic::In("vm-1".parse().unwrap()), Topic::Out("vm-1".parse().unwrap()));
    let mut answers = BTreeSet::new();
    for (apart, fits) in [(0, true), (1, true), (2, false)] {
        let version = format!("{major}.{}.0", minor + apart);
        let mut it = intruder.join(&[&inbox.to_string()]);
        let header = Sequence::of(envelope::random_session()).next(now(), None);
        let payload = envelope::seal(&outbox, &header, &hello(&version), &intruder.identity);
        let answer = intruder.wait(async {
            it.client.publish(outbox.to_string(), payload, false).await.unwrap();
            loop {
                match it.events.recv().await.expect("it goes on until it is dropped") {
                    ClientEvent::Message { payload, .. } => {
                        let opened = envelope::open::<ToMinion>(&inbox, &payload, &master).unwrap();
                        return opened.into_message();
                    }
                    ClientEvent::Disconnected { reason, .. } => panic!("{version}: {reason}"),
                    ClientEvent::Connected { .. } => {}
                }
            }
        });
        match answer {
            ToMinion::Welcome { version: ours, .. } if fits => assert_eq!(ours, model::VERSION),
            ToMinion::Incompatible { message, .. } if !fits => {
                assert!(message.contains(&version) && message.contains(model::VERSION), "{message}");
                let over = intruder.hear(&mut it, Duration::from_secs(10));
                assert!(matches!(over, Some(ClientEvent::Disconnected { .. })), "{over:?}");
            }
            other => panic!("{version}: {other:?}"),
        }
        answers.insert(version);
    }
    assert_eq!(answers.len(), 3);
}

fn hello(version: &str) -> FromMinion {
    FromMinion::Hello(Box::new(Hello {
        version: version.to_owned(),
        boot: "boot-1".to_owned(),
        first_of_boot: true,
        sandbox: true,
        grains_hash: ContentHash([1; 32]),
        grains: None,
        running: None,
        waiting: Vec::new(),
        unacknowledged: Vec::new(),
        next_event: 1,
        masters: 1,
        masters_hash: None,
        speaker: bus::message::Speaker::default(),
        can: Vec::new(),
        conduct: None,
    }))
}

#[test]
fn a_stopped_minion_keeps_nobody_waiting_and_is_lost_by_its_heartbeats() {
    let mut lab = Lab::prepare();
    lab.start_master_with(&[("LABMASTER_HEARTBEAT_S", "1")]);
    lab.minions(&["vm-1", "vm-2"]);
    lab.agent(0).signal("STOP");
    wait::until("silence to be noticed", LIMIT, || (lab.presence("vm-1")? == "lost").then_some(()));
    let begin = std::time::Instant::now();
    let said = lab.labctl(&["target", "*", "ping", "-o", "json"]).expect(4).json();
    assert!(
        begin.elapsed() < Duration::from_secs(4),
        "it does not wait for who is lost: {:?}",
        begin.elapsed()
    );
    assert_eq!(said["unreachable"][0]["minion"], "vm-1", "{said}");
    assert_eq!(said["answers"][0]["minion"], "vm-2", "{said}");
    let run = lab.labctl(&["target", "*", "run", "--", "pwd"]).expect(4);
    assert!(run.stdout.contains("vm-1") && run.stdout.contains("unreachable"), "{run:?}");
    lab.agent(0).signal("CONT");
    lab.wait_up("vm-1");
    lab.labctl(&["target", "*", "ping"]).expect(0);
}
