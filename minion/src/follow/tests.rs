//! Beacons with programs that only look like the real ones, on pretended machines.

use crate::beacons::{Beacon, maker};
use crate::linux::ready;
use crate::lookout::{Lookout, Origin};
use crate::program::tests::put;
use crate::senses::Machine;
use model::{BeaconOrder, Masked};
use resources::beacons::{Settings, kind};
use serde_json::{Map, Value, json};
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
        let machine = Machine::new(root).keeping(root.join("kept"));
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

    /// The agent ends.
    fn end(mut self) {
        self.beacon.rest(self.start.elapsed());
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

/// A beacon that the lookout keeps, in a time that runs faster.
struct Kept {
    lookout: Lookout,
    machine: Machine,
    start: Instant,
    /// By so much.
    faster: u32,
    told: Vec<Value>,
}

impl Kept {
    fn new(name: &str, root: &Path, faster: u32) -> Self {
        let order =
            BeaconOrder { name: name.to_owned(), kind: name.to_owned(), settings: Masked(Map::new()) };
        let mut lookout = Lookout::default();
        lookout.want(Duration::ZERO, vec![(Origin::Pillar, order)], Vec::new());
        Self { lookout, machine: Machine::new(root), start: Instant::now(), faster, told: Vec::new() }
    }

    fn now(&self) -> Duration {
        self.start.elapsed() * self.faster
    }

    fn shown(&self, what: &str) -> Value {
        self.lookout.show(self.now(), None)["beacons"][0][what].clone()
    }

    /// Goes on until this is so.
    fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !done(self) {
            assert!(start.elapsed() < WAIT_MAX, "{what}: {:?}", self.told);
            let (sources, limit) = (self.lookout.sources(), Duration::from_millis(20));
            let due = self.lookout.next().map_or(limit, |at| at.saturating_sub(self.now()) / self.faster);
            let descriptors: Vec<_> = sources.iter().map(|(_, it)| (it.fd, it.urgent)).collect();
            let ready = ready::wait(&descriptors, due.min(limit)).unwrap();
            let woken: Vec<usize> = ready.into_iter().map(|it| sources[it].0).collect();
            let told = self.lookout.look(self.now(), &woken, &self.machine);
            self.told.extend(told.into_iter().map(|it| it.data));
        }
    }

    fn has(&self, text: &str) -> bool {
        self.told.iter().any(|it| it.to_string().contains(text))
    }
}

#[test]
fn a_program_that_never_works_is_told_once_and_one_that_works_again_too() {
    let dir = tempfile::tempdir().unwrap();
    let runs = dir.path().join("runs");
    put(dir.path(), "journalctl", &format!("echo >> {}; echo 'no journal' >&2; exit 1", runs.display()));
    let count = || std::fs::read_to_string(&runs).unwrap_or_default().len();
    let mut it = Kept::new("log", dir.path(), 20);
    it.until("it fails again and again", |_| count() >= 12);
    assert_eq!(it.told.len(), 1, "{:?}", it.told);
    assert!(it.has("`journalctl` ended with 1: no journal"));
    assert!(it.shown("error").as_str().unwrap().contains("no journal"));
    put(dir.path(), "journalctl", "exec sleep 1000");
    it.until("it is well", |it| it.has("recovered"));
    assert_eq!((it.told.len(), it.shown("error")), (2, Value::Null));
}

#[test]
fn what_a_program_says_that_is_too_long_is_left_out_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let event =
        r#"{"Type":"container","Action":"die","Actor":{"ID":"a","Attributes":{"image":"i","name":"a"}}}"#;
    let script = format!(
        "test $1 = ps && exit 0\nhead -c 10000000 /dev/zero | tr '\\0' x; echo; echo '{event}'; exec sleep 1000"
    );
    put(dir.path(), "docker", &script);
    let mut it = Kept::new("docker", dir.path(), 5);
    it.until("what comes after it", |it| !it.told.is_empty());
    assert_eq!((&it.told[0]["event"], &it.told[0]["dropped"]), (&json!("die"), &json!(1)));
    assert_eq!((it.shown("dropped"), it.shown("error")), (json!(1), Value::Null));
}

#[test]
fn answers_that_are_cut_strange_or_never_come_are_failures_and_nothing_is_made_of_them() {
    let line = r#"{"ID":"a","Names":"a","Image":"i","State":"running"}"#;
    let long = "printf '{\"ID\":\"b\",\"Names\":\"'; head -c 70000 /dev/zero | tr '\\0' x; echo '\",\"State\":\"running\"}'";
    let cases = [
        ("a line that is too long", long, "its answer is not whole"),
        (
            "a list in another form",
            "echo CONTAINER ID IMAGE",
            "`docker` says what is not understood: CONTAINER",
        ),
        ("a record without what is needed", "echo '{\"Id\":1}'", "not understood"),
        ("more than is taken", "head -c 6000000 /dev/zero | tr '\\0' x | fold -w 60000", "more than 4 MiB"),
        ("no answer", "exec sleep 1000", "takes too long"),
    ];
    for (what, script, wanted) in cases {
        let dir = tempfile::tempdir().unwrap();
        let asked = dir.path().join("asked");
        // At first it is as it should be; then the program that tells what happens ends, and is asked again.
        let script = format!(
            "if [ $1 != ps ]; then\n  while ! test -e {0}; do sleep 0.01; done\n  test -e {0}.twice && exec sleep 1000\n  touch {0}.twice; exit 1\nfi\n\
             if test -e {0}; then {script}\nelse echo '{line}'; touch {0}; fi",
            asked.display()
        );
        put(dir.path(), "docker", &script);
        let mut it = Kept::new("docker", dir.path(), 5);
        it.until(what, |it| !it.told.is_empty());
        let error = it.told[0]["error"].as_str().unwrap_or_else(|| panic!("{what}: {:?}", it.told));
        assert!(error.contains(wanted) && error.len() < 250, "{what}: {error}");
        assert!(!it.has("missed"), "{what}: {:?}", it.told);
    }
}

#[test]
fn lines_in_another_form_are_a_failure_when_there_are_many_in_a_row() {
    for (name, list) in [("docker", "ps"), ("virsh", "list"), ("journalctl", "-")] {
        let dir = tempfile::tempdir().unwrap();
        let kind = [("virsh", "libvirt"), ("journalctl", "log")]
            .iter()
            .find(|it| it.0 == name)
            .map_or(name, |it| it.1);
        put(
            dir.path(),
            name,
            &format!(
                "case \" $* \" in *' {list} '*) exit 0;; esac\nwhile :; do echo what is new; sleep 0.01; done"
            ),
        );
        let mut it = Kept::new(kind, dir.path(), 5);
        it.until(name, |it| !it.told.is_empty());
        let wanted = format!("`{name}` says what is not understood: what is new");
        assert_eq!(it.told[0]["error"], wanted, "{:?}", it.told);
    }
}

#[test]
fn what_is_written_to_the_journal_while_the_agent_restarts_is_seen_once() {
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("journal");
    // Line N has the cursor cN; what is behind a time is all that there is.
    let script = format!(
        "case \"$*\" in\n*--after-cursor=c*) n=${{*#*--after-cursor=c}}; n=${{n%% *}};;\n*--since=@*) n=0;;\n\
         *--since=now*) n=$(wc -l < {0});;\nesac\ntouch {0}.on; exec tail -n +$((n+1)) -s 0.02 -f {0}",
        journal.display()
    );
    put(dir.path(), "journalctl", &script);
    let on = dir.path().join("journal.on");
    let mut lines = 0;
    let mut write = |text: &str| {
        use std::io::Write;
        lines += 1;
        let file = std::fs::OpenOptions::new().append(true).create(true).open(&journal);
        writeln!(file.unwrap(), "{{\"MESSAGE\":\"error {text}\",\"__CURSOR\":\"c{lines}\"}}").unwrap();
    };
    let agent = || Watched::new("log", &json!({"pattern": "error {which}", "every": 0}), dir.path()).unwrap();
    let said = |which: &str| json!({ "which": which }).to_string();
    std::fs::write(&journal, "").unwrap();

    let mut first = agent();
    first.until("the program is there", || on.exists());
    first.end();
    write("zero");
    let mut second = agent();
    assert_eq!(second.next(), said("zero"), "also before any line was seen");
    write("one");
    assert_eq!(second.next(), said("one"));
    second.end();
    write("two");
    write("three");
    let mut third = agent();
    assert_eq!((third.next(), third.next()), (said("two"), said("three")));
    write("four");
    assert_eq!(third.next(), said("four"));
    // Killed: what was not kept yet is seen again, and nothing is lost.
    drop(third);
    write("five");
    let mut fourth = agent();
    let mut seen = vec![fourth.next()];
    while seen.last() != Some(&said("five")) {
        seen.push(fourth.next());
    }
    let all = ["two", "three", "four", "five"].map(said);
    assert!(all.ends_with(&seen) && !seen.is_empty(), "{seen:?}");
    let other = Watched::new("log", &json!({"pattern": "error {what}", "every": 0}), dir.path());
    std::fs::remove_file(&on).unwrap();
    other.unwrap().until("another beacon begins with what comes", || on.exists());
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
