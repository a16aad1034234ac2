use super::*;
use crate::senses::{Mount, Space, fake::Fake};
use model::Masked;

fn order(kind: &str, settings: Value) -> (Origin, BeaconOrder) {
    let Value::Object(settings) = settings else { panic!("{settings}") };
    let order = BeaconOrder { name: kind.to_owned(), kind: kind.to_owned(), settings: Masked(settings) };
    (Origin::Pillar, order)
}

fn machine(used: u64) -> Fake {
    let root = Mount { device: "/dev/sda1".to_owned(), path: "/".to_owned(), kind: "ext4".to_owned() };
    let mut fake = Fake { mounts: vec![root], ..Fake::default() };
    let space = Space { total: 100, used, free: 100 - used, inodes: 10, inodes_free: 1 };
    fake.spaces.insert("/".to_owned(), space);
    fake
}

fn at(second: u64) -> Duration {
    Duration::from_secs(second)
}

fn texts(told: &[Told]) -> Vec<String> {
    told.iter().map(|it| format!("{} {}", it.tag, it.data)).collect()
}

#[test]
fn a_beacon_looks_at_its_time_and_tells_what_changed() {
    let mut lookout = Lookout::default();
    lookout.want(at(1), vec![order("disk", json!({"above": "90%", "interval": 10}))], Vec::new());
    assert_eq!(lookout.next(), Some(at(1)));
    assert!(lookout.look(at(1), &[], &machine(80)).is_empty());
    assert_eq!(lookout.next(), Some(at(10)), "at whole multiples of its interval");
    assert!(lookout.look(at(9), &[], &machine(95)).is_empty(), "it is not its time");
    let told = lookout.look(at(10), &[], &machine(95));
    assert_eq!(
        texts(&told),
        [
            r#"beacon/disk {"beacon":"disk","path":"/","percent":95.0,"used":95,"free":5,"total":100,"state":"on"}"#
        ]
    );
    assert!(lookout.look(at(20), &[], &machine(95)).is_empty());
    let told = lookout.look(at(30), &[], &machine(10));
    assert_eq!(told[0].data["state"], "off");
    let shown = lookout.show(at(31), Some("disk"));
    assert_eq!(shown["beacons"][0]["events"], 2);
    assert_eq!(shown["beacons"][0]["last_ms_ago"], 1000);
    assert_eq!(lookout.show(at(31), Some("x"))["beacons"], json!([]));
}

#[test]
fn a_beacon_that_fails_says_so_once_and_is_tried_again_ever_later() {
    let mut lookout = Lookout::default();
    lookout.want(at(0), vec![order("memory", json!({}))], Vec::new());
    let mut fake = Fake::default();
    let told = lookout.look(at(0), &[], &fake);
    assert!(told[0].data["error"].as_str().unwrap().contains("/proc/meminfo"), "{told:?}");
    for wait in [1, 3, 7, 15] {
        assert_eq!(lookout.next(), Some(at(wait)));
        assert!(lookout.look(at(wait), &[], &fake).is_empty(), "it was said");
    }
    for _ in 0..20 {
        let next = lookout.next().unwrap();
        lookout.look(next, &[], &fake);
    }
    let (last, next) = (lookout.next().unwrap(), RETRY_MOST);
    fake.put("/proc/meminfo", "MemTotal: 100 kB\nMemAvailable: 1 kB\n");
    let told = lookout.look(last, &[], &fake);
    assert_eq!(texts(&told).len(), 2, "{told:?}");
    assert_eq!((&told[0].data["recovered"], &told[1].data["state"]), (&json!(true), &json!("on")));
    assert!(lookout.next().unwrap() <= last + next);
    assert_eq!(lookout.show(last, None)["beacons"][0]["error"], Value::Null);
}

#[test]
fn no_beacon_floods_and_what_is_left_out_is_counted() {
    let mut lookout = Lookout::default();
    lookout.want(
        at(0),
        vec![order("disk", json!({"above": "90%", "rate": 2, "interval": "100ms"}))],
        Vec::new(),
    );
    let mut told = Vec::new();
    for tenth in 0..30 {
        let used = if tenth % 2 == 0 { 95 } else { 10 };
        told.extend(lookout.look(Duration::from_millis(tenth * 100), &[], &machine(used)));
    }
    assert!(told.len() <= 8, "{}", told.len());
    let left_out: u64 = told.iter().filter_map(|it| it.data["dropped"].as_u64()).sum();
    let in_all = lookout.show(at(3), None)["beacons"][0]["dropped"].as_u64().unwrap();
    assert!(left_out > 0 && in_all >= left_out, "{left_out} of {in_all}");
    let before = in_all;
    lookout.lost(0);
    assert_eq!(lookout.show(at(3), None)["beacons"][0]["dropped"], before + 1);
}

#[test]
fn what_stays_wanted_goes_on_as_it_was() {
    let mut lookout = Lookout::default();
    let disk = || order("disk", json!({"above": "90%", "interval": 10}));
    lookout.want(at(0), vec![disk()], Vec::new());
    assert_eq!(lookout.look(at(0), &[], &machine(95)).len(), 1);
    let wrong = order("disk", json!({"above": "very"}));
    lookout.want(
        at(5),
        vec![order("inodes", json!({})), disk(), wrong, order("nothing", json!({}))],
        Vec::new(),
    );
    let told = lookout.look(at(10), &[], &machine(95));
    assert_eq!(
        told.iter().map(|it| it.tag.as_str()).collect::<Vec<_>>(),
        ["beacon/inodes"],
        "disk was told before"
    );
    let shown = lookout.show(at(10), None);
    let complaints = shown["complaints"].as_array().unwrap();
    assert_eq!(complaints.len(), 2, "{complaints:?}");
    lookout.want(at(20), vec![order("disk", json!({"enabled": false}))], Vec::new());
    assert_eq!((lookout.next(), lookout.look(at(60), &[], &machine(95))), (None, Vec::new()));
}

#[test]
fn a_beacon_can_be_quiet_while_a_run_is_at_work_and_a_moment_after() {
    let mut lookout = Lookout::default();
    lookout.want(at(0), vec![order("disk", json!({"interval": 1, "during_runs": false}))], Vec::new());
    lookout.run(at(0), true);
    assert!(lookout.look(at(1), &[], &machine(95)).is_empty());
    lookout.run(at(2), false);
    assert!(
        lookout.look(Duration::from_millis(2500), &[], &machine(5)).is_empty(),
        "off, a moment after the run"
    );
    assert_eq!(lookout.look(at(4), &[], &machine(95)).len(), 1);
}

#[test]
fn a_name_of_its_own_is_in_the_tag() {
    let mut lookout = Lookout::default();
    let (origin, mut root) = order("disk", json!({"path": "/"}));
    root.name = "root-disk".to_owned();
    lookout.want(at(0), vec![(origin, root)], Vec::new());
    let told = lookout.look(at(0), &[], &machine(95));
    assert_eq!(told[0].tag, "beacon/root-disk");
    assert_eq!((&told[0].data["beacon"], &told[0].data["kind"]), (&json!("root-disk"), &json!("disk")));
}
