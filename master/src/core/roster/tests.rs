//! Presence, hellos and what minions say of themselves, as scripts.

use crate::core::{roster::GRAINS_BYTES_MAX, test_kit::*, *};
use bus::message::{FromMinion, Hello, ToMinion};
use model::{ContentHash, Presence};
use serde_json::{Map, Value, json};

fn presence(bench: &Bench) -> Presence {
    bench.master.presence(&id("vm-1"))
}

#[test]
fn presence_follows_sockets_and_heartbeats() {
    let mut bench = Bench::with(&["vm-1"]);
    assert_eq!(presence(&bench), Presence::Up);
    bench.pass(44_000);
    assert_eq!(presence(&bench), Presence::Up);
    bench.pass(1_000);
    assert_eq!(presence(&bench), Presence::Quiet);
    bench.say("vm-1", FromMinion::Heartbeat { running: None });
    assert_eq!(presence(&bench), Presence::Up);
    bench.pass(45_000);
    let effects = bench.pass(45_000);
    assert_eq!(presence(&bench), Presence::Lost, "stopped, its socket open");
    assert_eq!(tags(&effects), ["minion/vm-1/lost"]);
    assert_eq!(published(&effects, "lab/minion/vm-1/availability"), Some("offline"));
    let effects = bench.say("vm-1", FromMinion::Heartbeat { running: None });
    assert_eq!(tags(&effects), ["minion/vm-1/online"]);
    assert_eq!(published(&effects, "lab/minion/vm-1/availability"), Some("online"));
    let effects = bench.disconnect("vm-1");
    assert_eq!((presence(&bench), tags(&effects)), (Presence::Lost, vec!["minion/vm-1/lost"]));
    bench.back("vm-1", hello());
    bench.say("vm-1", FromMinion::Goodbye { reason: "stop".to_owned() });
    let effects = bench.disconnect("vm-1");
    assert_eq!((presence(&bench), tags(&effects)), (Presence::Down, vec![]));
}

#[test]
fn with_shorter_heartbeats_silence_is_noticed_sooner() {
    let mut bench = Bench::with(&["vm-1"]);
    bench.master.settings.heartbeat_s = 2;
    bench.disconnect("vm-1");
    bench.pass(45_000);
    bench.back("vm-1", hello());
    for (wait, wanted) in
        [(2_999, Presence::Up), (1, Presence::Quiet), (2_999, Presence::Quiet), (1, Presence::Lost)]
    {
        bench.pass(wait);
        assert_eq!(presence(&bench), wanted);
    }
}

#[test]
fn after_a_start_everybody_is_quiet_until_the_spread_is_over() {
    let mut bench = Bench::with(&["vm-1"]);
    bench.crash();
    assert_eq!(presence(&bench), Presence::Quiet);
    bench.pass(89_000);
    assert_eq!(presence(&bench), Presence::Quiet);
    bench.pass(1_000);
    assert_eq!(presence(&bench), Presence::Lost);
    // A crash and a reconnect: known, so neither start nor new grains.
    let effects = bench.back("vm-1", hello());
    assert_eq!(tags(&effects), ["minion/vm-1/online"]);
}

#[test]
fn a_late_end_of_an_old_connection_changes_nothing() {
    let mut bench = Bench::with(&["vm-1"]);
    let old = bench.master.live[&id("vm-1")].epoch.unwrap();
    bench.back("vm-1", hello());
    bench.step(Input::Disconnected { minion: id("vm-1"), epoch: old });
    assert_eq!(presence(&bench), Presence::Up);
    let effects = bench.say_on("vm-1", old, FromMinion::Goodbye { reason: "stop".to_owned() });
    assert_eq!((effects, presence(&bench)), (Vec::new(), Presence::Up));
    bench.step(Input::Connected { minion: id("vm-1"), epoch: old, address: "10.9.9.9".to_owned() });
    assert!(bench.master.is_ready(&id("vm-1")));
}

#[test]
fn a_second_connection_from_another_address_is_nothing_to_tell() {
    let mut bench = Bench::with(&["vm-1"]);
    for (epoch, address) in [(50, "10.0.0.1"), (51, "10.0.0.2"), (52, "10.0.0.1"), (53, "10.0.0.2")] {
        let connected = Input::Connected { minion: id("vm-1"), epoch, address: address.to_owned() };
        assert_eq!(tags(&bench.step(connected)), Vec::<&str>::new());
    }
    assert_eq!(bench.master.minion(&id("vm-1")).unwrap().address.as_deref(), Some("10.0.0.2"));
}

#[test]
fn releases_one_minor_version_apart_work_together() {
    for (version, fits) in
        [("0.1.9", true), ("0.2.0", true), ("0.3.0", false), ("1.1.0", false), ("x", false)]
    {
        let mut bench = Bench::with(&["vm-1"]);
        let effects = bench.back("vm-1", Hello { version: version.to_owned(), ..hello() });
        let closed = effects.contains(&Effect::Close { minion: id("vm-1") });
        let welcomed = sent(&effects).iter().any(|it| matches!(it, ToMinion::Welcome { .. }));
        assert_eq!((closed, welcomed), (!fits, fits), "{version}");
    }
}

#[test]
fn a_boot_is_a_start_once_and_grains_travel_when_they_changed() {
    let mut bench = Bench::with(&["vm-1"]);
    let wants = |effects: &[Effect]| {
        sent(effects).iter().any(|it| matches!(it, ToMinion::Welcome { want_grains: true, .. }))
    };
    let effects = bench.back("vm-1", Hello { grains: None, ..hello() });
    assert!(!wants(&effects) && tags(&effects).iter().all(|it| !it.ends_with("/start")));
    let hash = ContentHash([3; 32]);
    let booted = Hello { boot: "boot-2".to_owned(), grains: None, grains_hash: hash, ..hello() };
    let effects = bench.back("vm-1", booted);
    assert!(wants(&effects) && tags(&effects).contains(&"minion/vm-1/start"), "{effects:?}");
    let mut grains = Map::new();
    grains.insert("os".to_owned(), json!("Debian"));
    let effects = bench.say("vm-1", FromMinion::Grains { grains: grains.clone(), hash });
    assert_eq!(published(&effects, "lab/minion/vm-1/grains").map(|it| it.contains("Debian")), Some(true));
    bench.crash();
    let mut kept = grains.clone();
    kept.insert("id".to_owned(), json!("vm-1"));
    assert_eq!(bench.master.minion(&id("vm-1")).unwrap().grains, kept);
    grains.insert("big".to_owned(), Value::from("x".repeat(GRAINS_BYTES_MAX)));
    bench.back("vm-1", hello());
    bench.say("vm-1", FromMinion::Grains { grains, hash: ContentHash([4; 32]) });
    assert_eq!(bench.counted("grains too large"), 1);
}

#[test]
fn whose_grains_they_are_is_not_for_a_minion_to_say() {
    let mut bench = Bench::with(&["vm-1", "vm-2"]);
    let claim = Map::from_iter([("id".to_owned(), json!("vm-2")), ("host".to_owned(), json!("vm-2"))]);
    let grain = |bench: &Bench| bench.master.minion(&id("vm-1")).unwrap().grains["id"].clone();
    let effects = bench.say("vm-1", FromMinion::Grains { grains: claim.clone(), hash: ContentHash([7; 32]) });
    assert_eq!(grain(&bench), "vm-1");
    assert_eq!(
        published(&effects, "lab/minion/vm-1/grains").map(|it| it.contains(r#""id":"vm-1""#)),
        Some(true)
    );
    let said = Hello { grains: Some(claim.clone()), grains_hash: ContentHash([8; 32]), ..hello() };
    bench.back("vm-1", said);
    assert_eq!(grain(&bench), "vm-1");
    // What an earlier release has stored.
    let mut stored = bench.master.minion(&id("vm-1")).unwrap().clone();
    stored.grains = claim;
    bench.disk.push(Entry::Minion(stored));
    bench.crash();
    assert_eq!(grain(&bench), "vm-1");
}

#[test]
fn an_event_is_taken_once_and_only_below_its_own_part() {
    let mut bench = Bench::with(&["vm-1", "vm-2"]);
    let event =
        |number, tag: &str| FromMinion::Event { number, tag: tag.to_owned(), data: json!({}), gap: 0 };
    let effects = bench.say("vm-1", event(1, "event/deployed"));
    assert_eq!(tags(&effects), ["minion/vm-1/event/deployed"]);
    assert_eq!(sent(&effects), [&ToMinion::Ack { jobs: Vec::new(), events: Some(1) }]);
    bench.crash();
    bench.back("vm-1", hello());
    assert_eq!(tags(&bench.say("vm-1", event(1, "event/deployed"))), Vec::<&str>::new());
    for (number, tag) in [(2, "start"), (3, "lost"), (4, "event/../x/#"), (5, "beacon/a b")] {
        let effects = bench.say("vm-1", event(number, tag));
        assert_eq!(tags(&effects), Vec::<&str>::new(), "{tag}");
    }
    // A stranger, and another connection.
    assert_eq!(bench.say_on("stranger", 1, event(9, "event/x")), []);
    assert_eq!(bench.say_on("vm-2", 999, event(9, "event/x")), []);
    // A gap is told.
    let gap = FromMinion::Event { number: 9, tag: "event/x".to_owned(), data: json!({}), gap: 3 };
    assert_eq!(tags(&bench.say("vm-1", gap)), ["minion/vm-1/gap", "minion/vm-1/event/x"]);
}

#[test]
fn an_event_that_came_while_the_store_was_full_is_not_acknowledged_by_a_later_one() {
    let mut bench = Bench::with(&["vm-1", "vm-2"]);
    let event = |number| FromMinion::Event { number, tag: "event/x".to_owned(), data: json!({}), gap: 0 };
    bench.step(Input::StoreHealth(Some("no space left".to_owned())));
    assert_eq!(sent(&bench.say("vm-1", event(1))), Vec::<&ToMinion>::new());
    let effects = bench.step(Input::StoreHealth(None));
    let closed: Vec<_> = effects.iter().filter(|it| matches!(it, Effect::Close { .. })).collect();
    assert_eq!(closed, [&Effect::Close { minion: id("vm-1") }]);
    // What was under way before the connection ends.
    let effects = bench.say("vm-1", event(2));
    assert!(sent(&effects).is_empty() && tags(&effects).is_empty(), "{effects:?}");
    assert!(bench.step(Input::StoreHealth(None)).is_empty(), "once is enough");
    bench.disconnect("vm-1");
    bench.back("vm-1", hello());
    for number in [1, 2] {
        let effects = bench.say("vm-1", event(number));
        assert_eq!(tags(&effects), ["minion/vm-1/event/x"]);
        assert_eq!(sent(&effects), [&ToMinion::Ack { jobs: Vec::new(), events: Some(number) }]);
    }
}

#[test]
fn a_sample_is_published_flat_with_the_last_word_and_time_last() {
    let mut bench = Bench::with(&["vm-1"]);
    let mut sample = Map::new();
    sample.insert("mem".to_owned(), json!(41));
    sample.insert("cpu".to_owned(), json!(3.5));
    sample.insert("deep".to_owned(), json!({"x": 1}));
    let effects = bench.step(Input::Sample { minion: id("vm-1"), sample: sample.clone() });
    let state = published(&effects, "lab/minion/vm-1/state").unwrap();
    assert_eq!(state, r#"{"cpu":3.5,"mem":41,"drift":0,"last":"never","time":1000000000}"#);
    assert_eq!(bench.step(Input::Sample { minion: id("stranger"), sample }), []);
}

#[test]
fn nothing_is_taken_before_the_hello() {
    let mut bench = Bench::with(&["vm-1"]);
    bench.connect("vm-1");
    assert_eq!(bench.say("vm-1", FromMinion::Heartbeat { running: None }), []);
    assert_eq!(bench.counted("message before hello"), 1);
}

#[test]
fn time_never_goes_back() {
    let mut bench = Bench::with(&["vm-1"]);
    bench.disk.push(Entry::Clock(NOW.plus_ms(3_600_000)));
    bench.crash();
    assert!(bench.master.now >= NOW.plus_ms(3_600_000) && !bench.master.is_clock_set());
    let before = bench.master.now;
    bench.pass(5_000);
    assert_eq!(bench.master.now, before.plus_ms(5_000), "it counts on");
    bench.pass(2 * 3_600_000);
    assert_eq!((bench.master.now, bench.master.is_clock_set()), (bench.now, true));
}

/// The data of an event with this tag.
fn data_of(effects: &[Effect], tag: &str) -> Value {
    let found = records(effects).into_iter().find_map(|it| match it {
        Entry::Event(event) if event.tag == tag => Some(event.data.clone()),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("no {tag} among {:?}", tags(effects)))
}

#[test]
fn events_say_for_how_long_a_minion_was_away_and_whether_it_booted() {
    let mut bench = Bench::with(&["vm-1"]);
    bench.disconnect("vm-1");
    bench.pass(5 * 3_600_000);
    let effects = bench.back("vm-1", hello());
    let data = data_of(&effects, "minion/vm-1/online");
    assert_eq!((&data["away_s"], &data["boot"]), (&json!(18_000), &json!(false)));
    bench.disconnect("vm-1");
    bench.pass(60_000);
    let effects = bench.back("vm-1", Hello { boot: "boot-2".to_owned(), ..hello() });
    let data = data_of(&effects, "minion/vm-1/online");
    assert_eq!((&data["away_s"], &data["boot"]), (&json!(60), &json!(true)));
    assert_eq!(data_of(&effects, "minion/vm-1/start")["away_s"], json!(60));
    // A stopped one says goodbye; what it is away for counts over a restart of the master too.
    bench.say("vm-1", FromMinion::Goodbye { reason: "stop".to_owned() });
    bench.disconnect("vm-1");
    bench.pass(7_200_000);
    bench.crash();
    let effects = bench.back("vm-1", Hello { boot: "boot-3".to_owned(), ..hello() });
    assert_eq!(data_of(&effects, "minion/vm-1/start")["away_s"], json!(7_200));
}
