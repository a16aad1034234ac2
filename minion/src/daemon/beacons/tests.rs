use super::*;
use serde_json::json;

fn folder(path: &Path) -> Folder {
    Folder { path: path.to_owned(), pretended: true, seen: Vec::new(), read_at: None }
}

#[test]
fn the_folder_holds_a_beacon_a_file_and_says_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    put("disk.json", r#"{"above": "80%"}"#);
    put("root.json", r#"{"beacon": "disk", "path": "/"}"#);
    put("broken.json", "{");
    put("odd.json", r#"{"beacon": 3}"#);
    put(".hidden.json", "{}");
    put("readme.txt", "no beacon");
    let mut folder = folder(dir.path());
    assert!(folder.is_altered());
    let (orders, complaints) = folder.read(Duration::ZERO);
    let names: Vec<(&str, &str)> = orders.iter().map(|it| (it.name.as_str(), it.kind.as_str())).collect();
    assert_eq!(names, [("disk", "disk"), ("root", "disk")]);
    assert_eq!(orders[1].settings.0, json!({"path": "/"}).as_object().unwrap().clone());
    assert_eq!(complaints.len(), 3, "{complaints:?}");
    assert!(!folder.is_altered());
    put("disk.json", r#"{"above": "81.5%"}"#);
    assert!(folder.is_altered());
    assert_eq!(folder.next(), FOLDER_EVERY);
}

#[test]
fn what_others_may_write_is_not_read() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.json");
    std::fs::write(&path, "{}").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    let mut folder = Folder { pretended: false, ..folder(dir.path()) };
    let (orders, complaints) = folder.read(Duration::ZERO);
    assert!(orders.is_empty() && complaints[0].contains("others than root"), "{complaints:?}");
    assert!(!folder.is_altered());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert!(folder.is_altered(), "rights that were put right are seen");
}

#[test]
fn all_beacons_together_tell_so_much_in_a_second() {
    let mut flow = Flow::default();
    let mut taken = |ms| (0..2_000).filter(|_| flow.take(Duration::from_millis(ms))).count() as u64;
    assert_eq!((taken(100), taken(900), taken(1_000)), (RATE_IN_ALL, 0, RATE_IN_ALL));
}

fn beacons(root: &Path) -> Beacons {
    let overrides = crate::config::Overrides { sandbox: Some(root.to_owned()), ..Default::default() };
    let config = Config::load(&overrides).unwrap();
    std::fs::create_dir_all(&config.state_dir).unwrap();
    Beacons::start(&config, bus::pulse::Pulse::default().beat("turn-beacons")).unwrap()
}

fn order(kind: &str, settings: &Value) -> BeaconOrder {
    let settings = Masked(settings.as_object().unwrap().clone());
    BeaconOrder { name: kind.to_owned(), kind: kind.to_owned(), settings }
}

fn next(beacons: &mut Beacons) -> Heard {
    let wait = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let heard =
        wait.block_on(async { tokio::time::timeout(Duration::from_secs(20), beacons.heard.recv()).await });
    heard.expect("something is heard in time").expect("the thread is there")
}

#[test]
fn the_thread_tells_what_it_sees_and_how_it_does() {
    let dir = tempfile::tempdir().unwrap();
    let mut beacons = beacons(dir.path());
    beacons.want(vec![order("load", &json!({"above": "0%"}))]);
    let Heard::Event(told) = next(&mut beacons) else { panic!("an event comes first") };
    assert_eq!((told.tag.as_str(), &told.data["state"]), ("beacon/load", &json!("on")));
    beacons.show(7, None);
    let Heard::Shown(7, shown) = next(&mut beacons) else { panic!("then the answer") };
    assert_eq!(
        (&shown["beacons"][0]["name"], &shown["beacons"][0]["from"]),
        (&json!("load"), &json!("pillar"))
    );
    let folder = dir.path().join("etc/labctl/beacons.d");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("mine.json"), r#"{"beacon": "load", "above": "0%"}"#).unwrap();
    std::fs::write(folder.join("load.json"), "{}").unwrap();
    beacons.run(true);
    beacons.run(false);
    let Heard::Event(told) = next(&mut beacons) else { panic!("a run may have put one there") };
    assert_eq!(told.tag, "beacon/mine");
    beacons.show(8, Some("load".to_owned()));
    let Heard::Shown(8, shown) = next(&mut beacons) else { panic!("the answer") };
    assert_eq!(shown["beacons"].as_array().unwrap().len(), 1);
    assert!(shown["complaints"][0].as_str().unwrap().contains("pillar has one of this name"), "{shown}");
}

#[test]
fn what_was_told_is_taken_back_by_the_agent_that_comes_after() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("proc")).unwrap();
    let load = |load: &str| std::fs::write(dir.path().join("proc/loadavg"), load).unwrap();
    let wanted = || vec![order("load", &json!({"above": 5, "interval": "100ms"}))];
    let kept = || {
        let path = Config::load(&crate::config::Overrides {
            sandbox: Some(dir.path().to_owned()),
            ..Default::default()
        });
        std::fs::read_to_string(path.unwrap().state_dir.join("beacons.json")).unwrap_or_default()
    };
    load("9 9 9 1/2 3\n");
    let mut first = beacons(dir.path());
    first.want(wanted());
    let Heard::Event(told) = next(&mut first) else { panic!("an event comes first") };
    assert_eq!(told.data["state"], "on");
    let start = Instant::now();
    while !kept().contains("load") {
        assert!(start.elapsed() < 4 * KEEP_AFTER, "it is kept in time");
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(first);
    load("0 0 0 1/2 3\n");
    let mut second = beacons(dir.path());
    second.want(wanted());
    let Heard::Event(told) = next(&mut second) else { panic!("an event comes first") };
    assert_eq!(told.data["state"], "off");
}
