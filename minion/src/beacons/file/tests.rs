use super::*;
use crate::linux::ready;
use crate::senses::{Mount, fake::Fake};
use serde_json::{Value, json};
use std::fs;
use std::time::Instant;

/// A beacon that watches a folder on disk as the root of a machine.
struct Bench {
    dir: tempfile::TempDir,
    beacon: Box<dyn Beacon>,
    senses: Fake,
    start: Instant,
}

impl Bench {
    fn new(settings: &Value, prepare: impl Fn(&Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        prepare(dir.path());
        let senses = Fake { root: dir.path().to_owned(), ..Fake::default() };
        let kind = resources::beacons::kind("file").unwrap();
        let mut beacon =
            make(&Settings::read(kind, settings.as_object().unwrap()).unwrap(), &senses).unwrap();
        assert_eq!(beacon.look(Duration::ZERO, &senses).unwrap(), [], "what is there is no news");
        Self { dir, beacon, senses, start: Instant::now() }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.path(path), text).unwrap();
    }

    /// What is told until nothing is left to tell.
    fn told(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        loop {
            let now = self.start.elapsed();
            let signals = self.beacon.look(now, &self.senses).unwrap();
            said.extend(signals.iter().map(|it| shown(&it.0)));
            let limit = self.beacon.wake().map_or(Duration::ZERO, |at| at.saturating_sub(now));
            let sources: Vec<_> = self.beacon.sources().iter().map(|it| (it.fd, it.urgent)).collect();
            let woken = ready::wait(&sources, limit).unwrap();
            if woken.is_empty() && self.beacon.wake().is_none() {
                return said;
            }
        }
    }
}

fn shown(fields: &serde_json::Map<String, Value>) -> String {
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let from = if fields.contains_key("from") { format!(" from {}", text("from")) } else { String::new() };
    let folder = if fields.contains_key("folder") { "/" } else { "" };
    format!("{} {}{folder}{from}", text("change"), text("path"))
}

fn etc(root: &Path) {
    fs::create_dir(root.join("etc")).unwrap();
    fs::write(root.join("etc/app.conf"), "1").unwrap();
    fs::write(root.join("etc/other"), "1").unwrap();
}

#[test]
fn a_file_is_watched_however_it_is_written() {
    let mut bench = Bench::new(
        &json!({"path": "/etc/app.conf", "mask": ["create", "modify", "delete", "move", "attributes"]}),
        etc,
    );
    bench.write("etc/app.conf", "2");
    bench.write("etc/other", "2");
    assert_eq!(bench.told(), ["modify /etc/app.conf"]);
    bench.write("etc/app.conf.new", "3");
    fs::rename(bench.path("etc/app.conf.new"), bench.path("etc/app.conf")).unwrap();
    assert_eq!(bench.told(), ["modify /etc/app.conf"], "as programs replace files");
    fs::rename(bench.path("etc/app.conf"), bench.path("etc/app.conf~")).unwrap();
    bench.write("etc/app.conf", "4");
    assert_eq!(bench.told(), ["modify /etc/app.conf"], "as editors keep the old one");
    fs::remove_file(bench.path("etc/app.conf")).unwrap();
    assert_eq!(bench.told(), ["delete /etc/app.conf"]);
    bench.write("etc/app.conf", "5");
    assert_eq!(bench.told(), ["create /etc/app.conf"], "made anew");
    fs::rename(bench.path("etc/app.conf"), bench.path("away")).unwrap();
    assert_eq!(bench.told(), ["move /etc/app.conf"]);
    fs::rename(bench.path("away"), bench.path("etc/app.conf")).unwrap();
    assert_eq!(bench.told(), ["modify /etc/app.conf"]);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(bench.path("etc/app.conf"), mode).unwrap();
    assert_eq!(bench.told(), ["attributes /etc/app.conf"]);
}

#[test]
fn a_file_in_folders_that_are_not_there_yet_is_waited_for() {
    let mut bench = Bench::new(&json!({"path": "/srv/a/b/file"}), |_| {});
    fs::create_dir(bench.path("srv")).unwrap();
    assert_eq!(bench.told(), [] as [&str; 0]);
    fs::create_dir_all(bench.path("srv/a/b")).unwrap();
    bench.write("srv/a/b/file", "1");
    assert_eq!(bench.told(), ["create /srv/a/b/file"]);
    fs::remove_dir_all(bench.path("srv/a")).unwrap();
    assert_eq!(bench.told(), ["delete /srv/a/b/file"]);
    fs::create_dir_all(bench.path("srv/a/b")).unwrap();
    bench.told();
    bench.write("srv/a/b/file", "2");
    assert_eq!(bench.told(), ["create /srv/a/b/file"]);
}

#[test]
fn folders_are_watched_with_those_below_them_but_not_behind_links() {
    let settings = json!({"path": "/etc", "recursive": true, "match": "*.conf"});
    let outside = tempfile::tempdir().unwrap();
    let behind = outside.path().to_owned();
    let mut bench = Bench::new(&settings, |root| {
        etc(root);
        std::os::unix::fs::symlink(&behind, root.join("etc/link")).unwrap();
    });
    fs::write(outside.path().join("x.conf"), "1").unwrap();
    bench.write("etc/other", "2");
    bench.write("etc/.app.conf.swp", "2");
    assert_eq!(bench.told(), [] as [&str; 0]);
    fs::create_dir_all(bench.path("etc/d/deep")).unwrap();
    bench.write("etc/d/deep/a.conf", "1");
    let told = bench.told();
    assert!(told.contains(&"create /etc/d/".to_owned()), "{told:?}");
    assert!(told.contains(&"create /etc/d/deep/a.conf".to_owned()), "{told:?}");
    bench.write("etc/d/deep/a.conf", "2");
    assert_eq!(bench.told(), ["modify /etc/d/deep/a.conf"]);
    fs::rename(bench.path("etc/d/deep/a.conf"), bench.path("etc/b.conf")).unwrap();
    assert_eq!(bench.told(), ["move /etc/b.conf from /etc/d/deep/a.conf"]);
    fs::rename(bench.path("etc"), bench.path("etc2")).unwrap();
    assert_eq!(bench.told(), ["move /etc/"]);
    fs::create_dir(bench.path("etc")).unwrap();
    bench.told();
    bench.write("etc/new.conf", "1");
    assert_eq!(bench.told(), ["create /etc/new.conf"]);
}

#[test]
fn more_folders_than_may_be_watched_are_said_once() {
    let mut bench = Bench::new(&json!({"path": "/etc", "recursive": true, "watches": 3}), etc);
    for number in 0..5 {
        fs::create_dir(bench.path(&format!("etc/{number}"))).unwrap();
    }
    let told = bench.told();
    assert_eq!(told.iter().filter(|it| it.starts_with("limit")).count(), 1, "{told:?}");
    fs::create_dir(bench.path("etc/x")).unwrap();
    assert_eq!(bench.told(), ["create /etc/x/"]);
}

#[test]
fn when_the_kernel_loses_track_it_is_looked_at_again() {
    let dir = tempfile::tempdir().unwrap();
    etc(dir.path());
    let senses = Fake { root: dir.path().to_owned(), ..Fake::default() };
    let kind = resources::beacons::kind("file").unwrap();
    let settings = json!({"path": "/etc"});
    let settings = Settings::read(kind, settings.as_object().unwrap()).unwrap();
    let mut beacon = make(&settings, &senses).unwrap();
    beacon.look(Duration::ZERO, &senses).unwrap();
    let most: usize =
        fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
    // More than the kernel keeps: of two paths in turn, so that none is the same as the one before.
    for number in 0..=most / 2 {
        fs::write(dir.path().join(format!("etc/{}", number % 2)), "x").unwrap();
    }
    fs::write(dir.path().join("etc/last"), "x").unwrap();
    let mut signals = beacon.look(Duration::from_secs(1), &senses).unwrap();
    signals.extend(beacon.look(Duration::from_secs(9), &senses).unwrap());
    let said: Vec<String> = signals.iter().map(|it| shown(&it.0)).collect();
    assert!(said.contains(&"rescan /etc".to_owned()), "{said:?}");
    assert!(said.iter().any(|it| it.ends_with("/etc/last")), "{said:?}");
}

#[test]
fn a_folder_above_that_is_replaced_and_a_link_that_is_switched_are_followed() {
    use std::os::unix::fs::symlink;
    let settings = json!({"path": ["/srv/current/app.conf", "/opt/app/etc/conf"]});
    let mut bench = Bench::new(&settings, |root| {
        for folder in ["srv/rel1", "srv/rel2", "opt/app/etc"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        for file in ["srv/rel1/app.conf", "srv/rel2/app.conf", "opt/app/etc/conf"] {
            fs::write(root.join(file), "1").unwrap();
        }
        symlink("rel1", root.join("srv/current")).unwrap();
    });
    let switch = |bench: &Bench, to: &str| {
        symlink(to, bench.path("srv/fresh")).unwrap();
        fs::rename(bench.path("srv/fresh"), bench.path("srv/current")).unwrap();
    };
    bench.write("srv/rel2/app.conf", "2");
    assert_eq!(bench.told(), [] as [&str; 0], "nobody uses it yet");
    switch(&bench, "rel2");
    assert_eq!(bench.told(), ["modify /srv/current/app.conf"], "as ln -sfn does it");
    bench.write("srv/rel2/app.conf", "3");
    assert_eq!(bench.told(), ["modify /srv/current/app.conf"]);
    bench.write("srv/rel1/app.conf", "3");
    assert_eq!(bench.told(), [] as [&str; 0], "nobody uses it any more");
    fs::create_dir(bench.path("srv/rel3")).unwrap();
    switch(&bench, "rel3");
    assert_eq!(bench.told(), ["delete /srv/current/app.conf"]);
    bench.write("srv/rel3/app.conf", "1");
    assert_eq!(bench.told(), ["create /srv/current/app.conf"]);
    fs::create_dir_all(bench.path("opt/new/etc")).unwrap();
    bench.write("opt/new/etc/conf", "2");
    fs::rename(bench.path("opt/app"), bench.path("opt/old")).unwrap();
    fs::rename(bench.path("opt/new"), bench.path("opt/app")).unwrap();
    assert_eq!(bench.told().len(), 1);
    bench.write("opt/app/etc/conf", "3");
    assert_eq!(bench.told(), ["modify /opt/app/etc/conf"]);
    bench.write("opt/old/etc/conf", "3");
    assert_eq!(bench.told(), [] as [&str; 0]);
}

#[test]
fn folders_that_come_move_and_go_are_watched_as_long_as_they_are_there() {
    let settings = json!({"path": "/etc", "recursive": true, "ignore": ["cache"]});
    let mut bench = Bench::new(&settings, etc);
    fs::create_dir_all(bench.path("outside/a/b")).unwrap();
    bench.write("outside/a/b/file", "1");
    fs::rename(bench.path("outside/a"), bench.path("etc/a")).unwrap();
    assert_eq!(bench.told(), ["move /etc/a/", "create /etc/a/b/", "create /etc/a/b/file"]);
    fs::rename(bench.path("etc/a"), bench.path("etc/c")).unwrap();
    assert_eq!(bench.told(), ["move /etc/c/ from /etc/a"]);
    bench.write("etc/c/b/file", "2");
    assert_eq!(bench.told(), ["modify /etc/c/b/file"], "by its new name");
    fs::create_dir(bench.path("etc/a")).unwrap();
    fs::rename(bench.path("etc/c/b"), bench.path("outside/b")).unwrap();
    bench.told();
    bench.write("outside/b/file", "3");
    bench.write("etc/a/new", "1");
    assert_eq!(bench.told(), ["create /etc/a/new"], "and not what went away");
    fs::remove_dir_all(bench.path("etc/a")).unwrap();
    bench.told();
    fs::create_dir_all(bench.path("etc/cache/deep")).unwrap();
    bench.write("etc/cache/deep/file", "1");
    assert_eq!(bench.told(), [] as [&str; 0], "an ignored folder with all that is in it");
}

#[test]
fn what_is_on_the_network_is_never_looked_at() {
    let nas = Mount { device: "nas:/x".to_owned(), path: "/etc/nas".to_owned(), kind: "nfs4".to_owned() };
    let settings = json!({"path": "/etc", "recursive": true});
    let mut bench = Bench::new(&settings, etc);
    bench.senses.mounts.push(nas.clone());
    fs::create_dir_all(bench.path("etc/nas/deep")).unwrap();
    assert_eq!(bench.told(), ["create /etc/nas/"]);
    bench.write("etc/nas/deep/file", "1");
    assert_eq!(bench.told(), [] as [&str; 0]);
    std::os::unix::fs::symlink("etc/nas", bench.path("data")).unwrap();
    for path in ["/etc/nas/deep/file", "/etc/nas", "/data/deep/file"] {
        let kind = resources::beacons::kind("file").unwrap();
        let settings = json!({"path": path});
        let settings = Settings::read(kind, settings.as_object().unwrap()).unwrap();
        let mut beacon = make(&settings, &bench.senses).unwrap();
        for _ in 0..2 {
            let reason = beacon.look(Duration::ZERO, &bench.senses).unwrap_err();
            assert!(reason.contains("on the network"), "{path}: {reason}");
        }
        let none = Fake { mounts: Vec::new(), ..bench.senses.clone() };
        assert_eq!(beacon.look(Duration::ZERO, &none).unwrap(), [], "it is watched when it can be");
    }
}
