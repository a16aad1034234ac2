use super::*;
use crate::{
    say::{Complaints, Rendered, Text},
    yaml,
};
use serde_json::json;
use std::sync::Arc;

const HOUR: u64 = 3_600_000;

fn at(text: &str) -> Timestamp {
    let text = text.replace('Z', ":00Z");
    let moment: jiff::Timestamp = text.parse().unwrap();
    Timestamp(moment.as_millisecond().try_into().unwrap())
}

fn schedule(value: &serde_json::Value) -> Schedule {
    Schedule::of_value("night", value.as_object().unwrap(), &[]).unwrap()
}

/// Zone, expression, from, slots.
pub(crate) fn cases() -> Vec<(String, String, Timestamp, Vec<Timestamp>)> {
    let lines = include_str!("cases.txt").lines().filter(|it| !it.is_empty() && !it.starts_with('#'));
    let read = |line: &str| {
        let parts: Vec<&str> = line.split('|').map(str::trim).collect();
        let slots = parts[3].split(' ').map(at).collect();
        (parts[0].to_owned(), parts[1].to_owned(), at(parts[2]), slots)
    };
    lines.map(read).collect()
}

#[test]
fn slots_are_as_written_over_every_change_of_the_clock() {
    let cases = cases();
    assert!(cases.len() > 25);
    for (zone, cron, from, slots) in cases {
        let schedule = schedule(&json!({"zone": zone, "cron": cron}));
        let found = std::iter::successors(schedule.next(from), |it| schedule.next(*it));
        let found: Vec<Timestamp> = found.take(slots.len()).collect();
        let show = |slots: &[Timestamp]| slots.iter().map(|it| schedule.wall(*it)).collect::<Vec<_>>();
        assert_eq!(show(&found), show(&slots), "{zone} {cron} after {}", schedule.wall(from));
        let last = *slots.last().unwrap();
        assert_eq!(schedule.latest(from, last), Some(last), "{zone} {cron}");
        assert_eq!(schedule.latest(last, last.plus_ms(59_999)), None, "{zone} {cron}");
    }
}

#[test]
fn an_interval_keeps_its_beat_over_restarts_and_changes_of_the_clock() {
    let every = schedule(&json!({"every": "15m", "zone": "Europe/Berlin"}));
    let first = every.next(at("2026-03-29T00:00Z")).unwrap();
    let slots: Vec<_> =
        std::iter::successors(Some(first), |it| every.next(*it)).take(12).map(|it| it.0 - first.0).collect();
    assert_eq!(slots, (0..12).map(|it| it * HOUR / 4).collect::<Vec<_>>());
    let again = schedule(&json!({"every": "900"}));
    assert_eq!(again.next(first), every.next(first), "the same name and interval: the same beat");
    let year = first.plus_ms(8_760 * HOUR);
    let newest = every.latest(first, year).unwrap();
    assert!(newest <= year && year.since_ms(newest) < HOUR / 4);
    assert_eq!(every.next(Timestamp(0)).map(|it| it.0 < HOUR / 4), Some(true), "the epoch is no limit");
}

#[test]
fn a_date_comes_once() {
    let once = schedule(&json!({"at": "2026-12-24T20:00", "zone": "Europe/Berlin"}));
    let slot = at("2026-12-24T19:00Z");
    assert_eq!(once.next(at("2026-01-01T00:00Z")), Some(slot));
    assert_eq!(once.next(slot), None);
    assert_eq!(once.latest(at("2026-01-01T00:00Z"), at("2027-01-01T00:00Z")), Some(slot));
    let fixed = schedule(&json!({"at": "2026-12-24T20:00:00-05:00"}));
    assert_eq!(fixed.next(slot), Some(at("2026-12-25T01:00Z")));
    let gap = schedule(&json!({"at": "2026-03-29T02:30", "zone": "Europe/Berlin"}));
    assert_eq!(gap.next(Timestamp(0)), Some(at("2026-03-29T01:00Z")));
}

#[test]
fn jitter_is_always_the_same_for_a_slot_and_spreads_slots_and_names() {
    let of = |name: &str| {
        let value = json!({"every": "1h", "jitter": "10m"});
        Schedule::of_value(name, value.as_object().unwrap(), &[]).unwrap()
    };
    let (night, day) = (of("night"), of("day"));
    let slots: Vec<Timestamp> = (0..100).map(|it| Timestamp(it * HOUR)).collect();
    let late =
        |it: &Schedule| -> Vec<u64> { slots.iter().map(|slot| it.begins(*slot).since_ms(*slot)).collect() };
    assert_eq!(late(&night), late(&of("night")));
    assert_ne!(late(&night), late(&day));
    let different: std::collections::BTreeSet<u64> = late(&night).into_iter().collect();
    assert!(different.len() > 90 && different.iter().all(|it| *it < 600_000), "{different:?}");
    assert_ne!(night.identity(slots[1]), day.identity(slots[1]));
}

#[test]
fn what_is_wrong_with_a_schedule_is_said_at_its_place_and_all_at_once() {
    let text = "{ cron: \"61 3 * * *\", zone: Europe/Berlni, jitter: soon, missed: never, ever: 1 }";
    let file = Rendered::plain(Arc::new(Text::new("reactors/a.yaml".to_owned(), text.to_owned())));
    let mut complaints = Complaints::default();
    let node = yaml::parse(&file, &mut complaints).unwrap();
    assert!(Schedule::read("night", &node, &file, &mut complaints).is_none());
    let told: Vec<String> =
        complaints.finish().iter().map(|it| format!("{} {}", it.spans[0].column, it.message)).collect();
    let begins =
        ["9 no cron expression", "29 no time zone is called", "52 `jitter` takes", "66 `missed` takes"];
    assert_eq!(told.len(), 5, "{told:?}");
    for (told, wanted) in told.iter().zip(begins) {
        assert!(told.starts_with(wanted), "{told} is not {wanted}");
    }
    assert_eq!(told[4], "73 a schedule has no `ever`");
}

#[test]
fn words_that_give_no_schedule_are_refused() {
    let cases = [
        (json!({}), "exactly one of"),
        (json!({"cron": "@daily", "every": "1h"}), "exactly one of"),
        (json!({"cron": "* * * * * *"}), "no cron expression"),
        (json!({"cron": "@reboot"}), "no cron expression"),
        (json!({"cron": "0 0 30 2 *"}), "no day is ever like that"),
        (json!({"every": "0s"}), "`every` takes"),
        (json!({"every": "500ms"}), "`every` takes"),
        (json!({"every": "18446744073709551615w"}), "`every` takes"),
        (json!({"every": "15m", "jitter": "16m"}), "too long"),
        (json!({"at": "tomorrow"}), "no date and time"),
        (json!({"every": ["1h"]}), "takes a short text"),
        (json!({"cron": "é".repeat(3000)}), "takes a short text"),
    ];
    for (value, wanted) in cases {
        let told = Schedule::of_value("night", value.as_object().unwrap(), &[]).unwrap_err();
        assert!(told.iter().any(|it| it.contains(wanted)), "{value}: {told:?}");
    }
}

#[test]
fn a_schedule_explains_itself() {
    let cron =
        schedule(&json!({"cron": "30 3 * * *", "zone": "Europe/Berlin", "jitter": "10m", "missed": "skip"}));
    assert_eq!(cron.explain(), "cron 30 3 * * * in Europe/Berlin, up to 10m later; missed: skip");
    assert_eq!(cron.wall(at("2026-07-01T00:00Z")), "2026-07-01T02:00:00+02:00");
    assert_eq!(schedule(&json!({"every": 90})).explain(), "every 90s; missed: once");
}

#[test]
fn a_minion_gets_numbers_for_twenty_years() {
    let cron = schedule(&json!({"cron": "*/15 8-17 * * MON-FRI", "zone": "Europe/Berlin"}));
    let compiled = cron.for_minion().unwrap();
    let model::Times::Cron(times) = compiled.times else { panic!("cron") };
    assert_eq!(times.minutes, 1 | 1 << 15 | 1 << 30 | 1 << 45);
    assert_eq!(times.weekdays, 0b11_1110);
    assert!(!times.any_day);
    assert!(times.offsets.contains(&(1_774_746_000, 7_200)), "{:?}", times.offsets);
    assert!((40..50).contains(&times.offsets.len()), "{}", times.offsets.len());
    let last = schedule(&json!({"cron": "0 0 L * *"}));
    assert!(last.for_minion().is_err());
}
