//! Beacons with programs that only look like the real ones, on pretended machines.

use crate::beacons::{Beacon, maker};
use crate::linux::ready;
use crate::program::tests::put;
use crate::senses::Machine;
use resources::beacons::{Settings, kind};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

/// Longest that a test waits for an event.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// A beacon that is looked after as the lookout does it.
pub(crate) struct Watched {
    machine: Machine,
    beacon: Box<dyn Beacon>,
    start: Instant,
    waiting: Vec<String>,
}

impl Watched {
    pub(crate) fn new(name: &str, settings: &Value, root: &Path) -> Result<Self, String> {
        let machine = Machine::new(root);
        let settings = Settings::read(kind(name).unwrap(), settings.as_object().unwrap()).unwrap();
        let beacon = maker(name).unwrap()(&settings, &machine)?;
        Ok(Self { machine, beacon, start: Instant::now(), waiting: Vec::new() })
    }

    /// One turn; an error is a line too.
    fn turn(&mut self) {
        let sources: Vec<_> = self.beacon.sources().iter().map(|it| (it.fd, it.urgent)).collect();
        let wake = self.beacon.wake().map_or(WAIT_MAX, |at| at.saturating_sub(self.start.elapsed()));
        ready::wait(&sources, wake.min(Duration::from_millis(200))).unwrap();
        match self.beacon.look(self.start.elapsed(), &self.machine) {
            Ok(signals) => self.waiting.extend(signals.into_iter().map(|it| Value::from(it.0).to_string())),
            Err(error) => self.waiting.push(error),
        }
    }

    /// The next event.
    pub(crate) fn next(&mut self) -> String {
        let start = Instant::now();
        while self.waiting.is_empty() {
            assert!(start.elapsed() < WAIT_MAX, "nothing comes");
            self.turn();
        }
        self.waiting.remove(0)
    }

    /// Goes on until something else has come about; nothing may be told.
    pub(crate) fn until(&mut self, what: &str, done: impl Fn() -> bool) {
        let start = Instant::now();
        while !done() {
            assert!(start.elapsed() < WAIT_MAX, "{what}");
            self.turn();
        }
        assert_eq!(self.waiting, [] as [&str; 0], "before {what}");
    }
}

#[test]
fn the_journal_is_followed_over_a_break_without_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    // The first one tells one line and ends; the next one must be asked for what is behind it.
    put(
        dir.path(),
        "journalctl",
        "case \"$*\" in\n*--after-cursor=c1*) echo '{\"MESSAGE\":\"error two\",\"__CURSOR\":\"c2\"}'; exec sleep 1000;;\n\
         *--since=now*) echo '{\"MESSAGE\":\"error one\",\"__CURSOR\":\"c1\",\"PRIORITY\":\"3\"}'; exit 1;;\nesac; exit 9",
    );
    let settings = json!({"pattern": "error {which}", "every": 0});
    let mut it = Watched::new("log", &settings, dir.path()).unwrap();
    assert_eq!(it.next(), r#"{"which":"one","priority":3}"#);
    assert_eq!(it.next(), r#"{"which":"two"}"#);
}

#[test]
fn a_file_is_followed_when_it_is_rotated_and_truncated() {
    let dir = tempfile::tempdir().unwrap();
    let Some(tail) = crate::program::find("tail", Path::new("/")) else { panic!("every machine has `tail`") };
    put(
        dir.path(),
        "tail",
        &format!("touch {}; exec {} -s 0.05 \"$@\"", dir.path().join("on").display(), tail.display()),
    );
    let log = dir.path().join("var/app.log");
    std::fs::create_dir_all(log.parent().unwrap()).unwrap();
    std::fs::write(&log, "old bad 0\n").unwrap();
    let settings = json!({"file": "/var/app.log", "pattern": "bad {number}", "every": 0});
    let mut it = Watched::new("log", &settings, dir.path()).unwrap();
    it.until("the program is there", || dir.path().join("on").exists());
    let write = |text: &str| {
        use std::io::Write;
        let file = std::fs::OpenOptions::new().append(true).create(true).open(&log);
        file.unwrap().write_all(text.as_bytes()).unwrap();
    };
    // The program may begin to read only after a line was written: it is written again until it is seen.
    let begun = Instant::now();
    while it.waiting.is_empty() {
        assert!(begun.elapsed() < WAIT_MAX);
        write("good\nbad 1\n");
        it.turn();
    }
    assert!(it.next().starts_with(r#"{"number":"1","#));
    std::fs::rename(&log, dir.path().join("var/app.log.1")).unwrap();
    // Longer than what follows: nobody sees that a file was cut which is as long again.
    write("a line that is good\nbad 2\n");
    while !it.next().starts_with(r#"{"number":"2","#) {}
    std::fs::write(&log, "").unwrap();
    write("bad 3\n");
    assert_eq!(it.next(), r#"{"number":"3","file":"/var/app.log"}"#);
}

#[test]
fn containers_are_followed_and_what_was_missed_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let event = r#"{"Type":"container","Action":"die","Actor":{"ID":"aaaa","Attributes":{"exitCode":"1","image":"i","name":"a"}}}"#;
    put(
        dir.path(),
        "docker",
        &format!(
            "if [ $1 = ps ]; then\n  touch {0}.asked\n  test -e {0} || echo '{{\"ID\":\"aaaa\",\"Names\":\"a\",\"Image\":\"i\",\"State\":\"running\"}}'\n\
             \x20 echo '{{\"ID\":\"bbbb\",\"Names\":\"b\",\"Image\":\"i\",\"State\":\"'$(test -e {0} && echo exited || echo running)'\"}}'\n\
             else\n  test -e {0} && exec sleep 1000\n\
             \x20 while ! test -e {0}.asked; do sleep 0.01; done\n  sleep 0.1\n  echo '{event}'\n  touch {0}\nfi",
            state.display()
        ),
    );
    let mut it = Watched::new("docker", &json!({}), dir.path()).unwrap();
    assert_eq!(it.next(), r#"{"container":"a","id":"aaaa","image":"i","event":"die","exit_code":1}"#);
    assert_eq!(it.next(), r#"{"container":"b","id":"bbbb","image":"i","event":"die","missed":true}"#);
    let none = tempfile::tempdir().unwrap();
    assert!(Watched::new("docker", &json!({}), none.path()).is_err());
}

#[test]
fn virtual_machines_are_followed() {
    let dir = tempfile::tempdir().unwrap();
    let line = "event 'lifecycle' for domain 'vm-1': Stopped Destroyed";
    put(
        dir.path(),
        "virsh",
        &format!("case \"$*\" in *' list '*) echo vm-1;; *) echo \"{line}\"; exec sleep 1000;; esac"),
    );
    let mut it = Watched::new("libvirt", &json!({}), dir.path()).unwrap();
    assert_eq!(it.next(), r#"{"domain":"vm-1","event":"destroyed","detail":"Destroyed"}"#);
}

#[test]
fn a_program_that_ends_at_once_again_and_again_is_told_as_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "journalctl", "echo 'No journal files were found.' >&2; exit 1");
    let mut it = Watched::new("log", &json!({}), dir.path()).unwrap();
    assert_eq!(it.next(), "`journalctl` ended with 1: No journal files were found.");
}

#[test]
fn a_script_tells_objects_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    put(
        dir.path(),
        "ups",
        "echo \"{\\\"battery\\\":$1,\\\"of\\\":\\\"$NAME\\\"}\"; echo hello; echo '{\"more\":true}'; exec sleep 1000",
    );
    let settings = json!({"path": "/usr/bin/ups", "arguments": ["80"], "env": {"NAME": "rack"}});
    let mut it = Watched::new("script", &settings, dir.path()).unwrap();
    assert_eq!(it.next(), r#"{"battery":80,"of":"rack"}"#);
    assert_eq!(it.next(), r#"{"more":true}"#);
    put(dir.path(), "now", "echo '{\"n\":1}'; test -e /nowhere || exit 4");
    let settings = json!({"path": "/usr/bin/now", "interval": "100ms"});
    let mut it = Watched::new("script", &settings, dir.path()).unwrap();
    assert_eq!(
        it.next(),
        "`/usr/bin/now` ended with 4"
            .replace("/usr/bin", &dir.path().canonicalize().unwrap().join("usr/bin").display().to_string())
    );
    put(dir.path(), "slow", "exec sleep 1000");
    let settings = json!({"path": "/usr/bin/slow", "interval": "100ms", "timeout": "200ms"});
    let mut it = Watched::new("script", &settings, dir.path()).unwrap();
    assert!(it.next().contains("takes too long"));
}

#[test]
fn updates_are_asked_of_the_package_manager() {
    let dir = tempfile::tempdir().unwrap();
    put(
        dir.path(),
        "apt-get",
        "test \"$*\" = '-q --just-print dist-upgrade' && echo 'Inst apt [2.6.1] (2.6.2 Debian-Security:12/oldstable-security [amd64])'",
    );
    // The machine's id says when it begins.
    std::fs::create_dir_all(dir.path().join("etc")).unwrap();
    std::fs::write(dir.path().join("etc/machine-id"), "").unwrap();
    let mut it = Watched::new("updates", &json!({}), dir.path()).unwrap();
    assert_eq!(it.next(), r#"{"count":1,"security":1,"packages":["apt"],"manager":"apt"}"#);
    let often = Watched::new("updates", &json!({"interval": "10m"}), dir.path());
    assert!(often.err().unwrap().contains("an hour at least"));
}
