//! The pure reactor alone, on one core: 50 rules of which ten let each event through, with conditions over grains.

use crate::figure::{Bench, Figure};
use lang::{
    Tree,
    reactor::{Reactor, Replayed, StillWorld},
    rules::Rules,
};
use model::{Event, MinionId, Presence, Source, Timestamp};
use serde_json::{Value, json};
use std::{
    fmt::Write,
    time::{Duration, Instant},
};

/// Minions that the events are about.
const MINIONS: u64 = 100;
/// Rules, and how many of them let each event through.
const RULES: usize = 50;
const HEARING: usize = 10;

/// Prints the figure.
pub(crate) fn measure(bench: &Bench) {
    let made = Rules::load(&Tree::of_texts([("reactors/bench.yaml", rules().as_str())]));
    let rules = made.value.unwrap_or_else(|| panic!("{:?}", made.diagnostics));
    assert_eq!(rules.iter().count(), RULES);
    let (world, events) = (world(), events());
    let mut reactor = Reactor::new(rules);
    let limit = Duration::from_secs(if bench.quick { 2 } else { 10 });
    let (began, mut number, mut judged, mut acted, mut kept) = (Instant::now(), 0_u64, 0_u64, 0_u64, 0_u64);
    while began.elapsed() < limit {
        for event in &events {
            number += 1;
            let now = Timestamp(1_000_000 + number * 50);
            let verdicts = reactor.react(now, event, "event:1", &world);
            judged += verdicts.len() as u64;
            acted += verdicts.iter().filter(|it| it.fired).count() as u64;
            kept += reactor.take_changes().len() as u64;
        }
        let now = Timestamp(1_000_000 + number * 50);
        while reactor.next_wake().is_some_and(|it| it <= now) {
            reactor.wake(now, &world);
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    assert_eq!(judged, number * HEARING as u64, "ten rules hear each event");
    bench.print(
        Figure::new("reactor_events_per_s", float(number) / seconds, "1/s")
            .with("rules", RULES)
            .with("hearing", HEARING)
            .with("minions", MINIONS)
            .with("acted_each", (float(acted) / float(number) * 100.0).round() / 100.0)
            .with("remembered_each", (float(kept) / float(number) * 100.0).round() / 100.0),
    );
}

#[expect(clippy::cast_precision_loss, reason = "less than 52 bits")]
fn float(number: u64) -> f64 {
    number as f64
}

/// Ten rules that hear the events, with all kinds of clauses, and forty about other things.
fn rules() -> String {
    let clauses = [
        "when: grains.os = \"Debian\" and grains.cpu.cores >= 4 and event.percent > 90",
        "when: grains.role in [db, web] and event.mount = \"/\" and event.percent > 95\n  for: 5m",
        "when: labels.site = \"home\" and grains.memory.total > 8GiB and event.percent > 99",
        "when: event.percent > 80\n  throttle: 1 per minion per 15m",
        "when: grains.kernel ~ \"^6\\\\.\" and event.percent < 1",
        "when: event.percent > 97\n  count: 3 within 10m",
        "when: not grains.virtual and event.percent > 50",
        "when: grains.os_version >= 13.1 or event.mount ~ \"^/srv\"",
        "when: presence = lost and event.percent > 10",
        "when: event.used * 100 / event.total > 98 and minion != \"vm-1\"\n  throttle: 2 per key per 1h",
    ];
    let mut text = String::new();
    let action =
        "  do: [ { event: { tag: seen, data: { who: \"{{minion}}\", percent: \"{{event.percent}}\" } } } ]\n";
    for (number, clause) in clauses.iter().enumerate() {
        let on = if number % 2 == 0 { "minion/+/beacon/disk" } else { "minion/+/beacon/+" };
        let _ = write!(text, "hearing-{number}:\n  on: {on}\n  {clause}\n{action}");
    }
    for number in clauses.len()..RULES {
        let _ = write!(
            text,
            "deaf-{number}:\n  on: minion/+/event/thing-{number}\n  when: grains.os = \"x\"\n{action}"
        );
    }
    text
}

fn world() -> StillWorld {
    let mut world = StillWorld::default();
    for number in 0..MINIONS {
        let mut grains = json!({
            "os": "Debian", "os_version": "12.11", "kernel": "6.12.41", "role": "db", "virtual": true,
            "cpu": {"cores": 8, "model": "a processor"}, "memory": {"total": 34_359_738_368_u64},
        });
        for more in 0..60 {
            grains[format!("grain_{more}")] = json!([more, "a text of some length", {"deep": more}]);
        }
        let Value::Object(grains) = grains else { unreachable!("it is an object") };
        let labels = [("site".to_owned(), "home".to_owned())].into();
        let member =
            Replayed { grains, labels, presence: Presence::Up, boot: Some("b".to_owned()), address: None };
        world.members.insert(minion(number), member);
    }
    world
}

fn minion(number: u64) -> MinionId {
    format!("vm-{number}").parse().expect("it is a name")
}

/// Percentages go up and down, so that conditions begin and cease to hold.
fn events() -> Vec<Event> {
    let event = |number: u64| {
        let percent = number * 7 % 101;
        Event {
            number,
            tag: format!("minion/{}/beacon/disk", minion(number % MINIONS)),
            source: Source::Minion(minion(number % MINIONS)),
            at: Timestamp(0),
            data: json!({
                "mount": "/", "percent": percent, "used": percent * 1_000_000, "total": 101_000_000,
                "free": (101 - percent) * 1_000_000, "device": "/dev/vda1", "type": "ext4",
            }),
            hops: 0,
            cause: Vec::new(),
        }
    };
    (0..10_100).map(event).collect()
}
