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
fn no_beacon_floods_and_nothing_is_left_out_that_can_wait() {
    let mut lookout = Lookout::default();
    let settings = json!({"above": "90%", "rate": 2, "interval": "100ms"});
    lookout.want(at(0), vec![order("disk", settings)], Vec::new());
    let mut told = Vec::new();
    for tenth in 0..30 {
        let used = if tenth % 2 == 0 { 95 } else { 10 };
        told.extend(lookout.look(Duration::from_millis(tenth * 100), &[], &machine(used)));
    }
    assert!(told.len() <= 8, "{}", told.len());
    // What waits comes with time, in order, at the pace that is allowed.
    for half in 7..60 {
        told.extend(lookout.look(Duration::from_millis(half * 500), &[], &machine(10)));
    }
    let states: Vec<&str> = told.iter().map(|it| it.data["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["on", "off"].repeat(15));
    assert_eq!(lookout.show(at(30), None)["beacons"][0]["dropped"], 0);
    // What cannot wait is counted, and the count is told also when nothing else is.
    let post = &mut lookout.posts[0];
    for number in 0..WAITING_MAX + 5 {
        post.add(at(30), Signal::new().with("number", number));
    }
    let mut told = Vec::new();
    for second in 30..400 {
        told.extend(lookout.look(at(second), &[], &machine(10)));
    }
    assert_eq!((told.len(), &told[0].data["dropped"]), (WAITING_MAX, &json!(5)));
    lookout.lost(at(400), 0);
    assert!(lookout.look(at(400), &[], &machine(10)).is_empty());
    assert!(lookout.next().unwrap() <= at(405));
    let told = lookout.look(at(405), &[], &machine(10));
    assert_eq!(texts(&told), [r#"beacon/disk {"beacon":"disk","dropped":1}"#]);
    assert_eq!(lookout.show(at(405), None)["beacons"][0]["dropped"], 6);
}

#[test]
fn other_settings_and_a_failure_do_not_forget_what_was_told() {
    let mut lookout = Lookout::default();
    let disk = |above: &str| order("disk", json!({"above": above, "interval": 10}));
    lookout.want(at(0), vec![disk("90%")], Vec::new());
    assert_eq!(lookout.look(at(0), &[], &machine(95)).len(), 1);
    lookout.want(at(1), vec![disk("80%")], Vec::new());
    assert!(lookout.look(at(1), &[], &machine(95)).is_empty(), "it was told");
    let mut broken = machine(95);
    broken.mounts[0].kind = "nfs4".to_owned();
    lookout.want(
        at(2),
        vec![order("disk", json!({"path": "/", "above": "80%", "interval": 10}))],
        Vec::new(),
    );
    assert!(lookout.look(at(2), &[], &broken)[0].data["error"].is_string());
    assert!(lookout.look(at(3), &[], &broken).is_empty(), "it was told");
    let told = lookout.look(at(5), &[], &machine(10));
    assert_eq!((&told[0].data["recovered"], &told[1].data["state"]), (&json!(true), &json!("off")));
    // It goes over a restart, and comes back with a beacon that was away for a moment.
    assert_eq!(lookout.look(at(20), &[], &machine(95)).len(), 1);
    lookout.want(at(21), Vec::new(), Vec::new());
    let mut next = Lookout::default();
    next.resume(at(0), lookout.told());
    next.want(at(0), Vec::new(), Vec::new());
    next.want(at(1), vec![disk("90%")], Vec::new());
    assert_eq!(next.look(at(1), &[], &machine(10))[0].data["state"], "off");
    assert_eq!(next.told(), json!([]));
    next.resume(at(2), lookout.told());
    next.look(at(2) + REMEMBERED_FOR, &[], &machine(10));
    assert_eq!(next.told(), json!([]), "it is not kept for ever");
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
    assert!(lookout.look(Duration::from_millis(2500), &[], &machine(5)).is_empty(), "a moment after the run");
    assert_eq!(lookout.next(), Some(at(3)));
    assert!(lookout.look(at(3), &[], &machine(5)).is_empty(), "it came and went while it was quiet");
    assert_eq!(lookout.look(at(4), &[], &machine(95)).len(), 1);
    lookout.run(at(5), true);
    assert!(lookout.look(at(6), &[], &machine(5)).is_empty());
    lookout.run(at(7), false);
    assert_eq!(lookout.look(at(8), &[], &machine(5))[0].data["state"], "off", "what is still so is told");
}

#[test]
fn what_files_do_during_a_run_is_never_told_however_long_they_settle() {
    let dir = tempfile::tempdir().unwrap();
    let senses = Fake { root: dir.path().to_owned(), ..Fake::default() };
    let mut lookout = Lookout::default();
    let settings = json!({"path": "/conf", "settle": "30s", "during_runs": false});
    lookout.want(at(0), vec![order("file", settings)], Vec::new());
    let write = |text: &str| std::fs::write(dir.path().join("conf"), text).unwrap();
    assert!(lookout.look(at(0), &[], &senses).is_empty());
    lookout.run(at(1), true);
    write("1");
    assert!(lookout.look(at(2), &[0], &senses).is_empty());
    assert!(lookout.next().unwrap() > at(3), "nothing is waited for meanwhile");
    lookout.run(at(3), false);
    for second in [3, 4, 40] {
        assert!(lookout.look(at(second), &[0], &senses).is_empty(), "{second}");
    }
    write("2");
    assert!(lookout.look(at(50), &[0], &senses).is_empty());
    assert_eq!(lookout.look(at(80), &[], &senses)[0].data["path"], "/conf");
}

#[test]
fn a_program_that_fails_is_told_once_and_not_run_more_often_than_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let runs = dir.path().join("runs");
    crate::program::tests::put(dir.path(), "probe", &format!("echo >> {}; exit 3", runs.display()));
    let machine = crate::senses::Machine::new(dir.path());
    for (settings, most, least) in [
        (json!({"path": "/usr/bin/probe", "interval": "1h"}), 2, 2),
        (json!({"path": "/usr/bin/probe"}), 100, 3),
    ] {
        let _ = std::fs::remove_file(&runs);
        let mut lookout = Lookout::default();
        lookout.want(at(0), vec![order("script", settings.clone())], Vec::new());
        let (mut now, mut told) = (at(0), Vec::new());
        while now < at(4000) {
            let woken: Vec<usize> = {
                let sources = lookout.sources();
                let polled: Vec<_> = sources.iter().map(|(_, it)| (it.fd, it.urgent)).collect();
                let wait = if polled.is_empty() { Duration::ZERO } else { Duration::from_millis(50) };
                let ready = crate::linux::ready::wait(&polled, wait).unwrap();
                if ready.is_empty() && polled.is_empty() {
                    now = lookout.next().unwrap().max(now);
                }
                ready.into_iter().map(|it| sources[it].0).collect()
            };
            // A program at work gets a moment of the real clock, and hardly any of the pretended one.
            std::thread::sleep(Duration::from_millis(1));
            now += Duration::from_millis(1);
            told.extend(lookout.look(now, &woken, &machine));
        }
        let told = texts(&told);
        assert_eq!(told.len(), 1, "{settings}: {told:?}");
        let count = std::fs::read_to_string(&runs).unwrap().lines().count();
        assert!((least..=most).contains(&count), "{settings}: it ran {count} times");
    }
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
