//! Clocks that lie: at 1970, and jumping by hours to either side (libfaketime, for the daemons only).

use model::Terminal;
use std::{
    fs,
    path::{Path, PathBuf},
};
use tests::{
    lab::{Around, LIMIT, Lab},
    promise::Promise,
    skip, wait,
};

/// A machine's clock, as an offset in a file that its daemon looks at.
struct FakeClock(PathBuf);

impl FakeClock {
    fn at(folder: &Path, name: &str) -> Self {
        let it = Self(folder.join(name));
        it.set("+0");
        it
    }
    /// Put in place whole: it is read at any time.
    fn set(&self, offset: &str) {
        let fresh = self.0.with_extension("new");
        fs::write(&fresh, format!("{offset}\n")).unwrap();
        fs::rename(fresh, &self.0).unwrap();
    }
    fn environment(&self, library: &Path) -> Vec<(String, String)> {
        [
            ("LD_PRELOAD", library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.0.display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("NO_FAKE_STAT", "1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }
}

fn library() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?;
    folders.flatten().map(|it| it.path().join("faketime/libfaketimeMT.so.1")).find(|it| it.exists())
}

/// Seconds from now back to 1970, as an offset.
fn to_1970() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("-{}", now.as_secs() - 60)
}

struct Clocked {
    lab: Lab,
    promise: Promise,
    master: FakeClock,
    minion: FakeClock,
}

impl Clocked {
    fn start(library: &Path, master_at: &str, minion_at: &str) -> Self {
        let mut lab = Lab::prepare();
        let promise = Promise::of(&lab);
        let (master, minion) =
            (FakeClock::at(lab.folder(), "master.clock"), FakeClock::at(lab.folder(), "minion.clock"));
        master.set(master_at);
        minion.set(minion_at);
        lab.around_master().environment = master.environment(library);
        lab.spawn_master();
        assert!(lab.master_answers(), "{}", lab.logs());
        let seed = lab.seed("*", &[]);
        let around = Around { environment: minion.environment(library), ..Around::default() };
        lab.launch_in("vm-1", &seed, around);
        lab.wait_up("vm-1");
        Self { lab, promise, master, minion }
    }
    fn restart_master(&mut self, library: &Path) {
        self.lab.signal_master("KILL");
        self.lab.around_master().environment = self.master.environment(library);
        self.lab.spawn_master();
        assert!(self.lab.master_answers(), "{}", self.lab.logs());
    }
    fn works(&mut self, what: &str) {
        let jobs = [self.promise.command(&self.lab, "vm-1", "true"), self.promise.apply(&self.lab, "vm-1")];
        for job in jobs {
            assert_eq!(self.promise.end(&self.lab, job), (Terminal::Changed, String::new()), "{what}");
        }
    }
    /// The clock of the minion is that of its runs, too: what they see is no business of ours.
    fn while_at_work(&mut self, what: &str, set: impl Fn(&Self)) {
        let job = self.promise.command(&self.lab, "vm-1", "sleep 0.7");
        self.promise.wait_begun(job);
        set(self);
        assert_eq!(self.promise.end(&self.lab, job), (Terminal::Changed, String::new()), "{what}");
        self.works(what);
    }
}

fn needs_library(test: &str) -> Option<PathBuf> {
    let found = library();
    if found.is_none() {
        skip(test, "needs libfaketime");
    }
    found
}

#[test]
fn machines_that_begin_in_1970_enrol_and_work() {
    let Some(library) = needs_library("machines_that_begin_in_1970_enrol_and_work") else { return };
    let past = to_1970();
    for (master, minion) in [("+0", past.as_str()), (past.as_str(), "+0"), (past.as_str(), past.as_str())] {
        let what = format!("master {master}, minion {minion}");
        let mut it = Clocked::start(&library, master, minion);
        it.works(&what);
        // The time comes at last, to one after the other, in the middle of the work.
        it.while_at_work(&what, |it| it.minion.set("+0"));
        it.while_at_work(&what, |it| it.master.set("+0"));
        it.promise.hold(&it.lab);
    }
}

#[test]
fn clocks_that_jump_end_no_job_early_and_run_none_twice() {
    let Some(library) = needs_library("clocks_that_jump_end_no_job_early_and_run_none_twice") else { return };
    let mut it = Clocked::start(&library, "+0", "+0");
    for offset in ["+7200", "-7200", "+172800", "-3600", "+0"] {
        let what = format!("minion {offset}");
        it.while_at_work(&what, |it| it.minion.set(offset));
    }
    for offset in ["-7200", "+7200", "-86400", "+0"] {
        let what = format!("master {offset}");
        it.while_at_work(&what, |it| it.master.set(offset));
    }
    it.master.set("-7200");
    it.restart_master(&library);
    it.lab.wait_up("vm-1");
    it.works("a master that was started with an older clock");
    it.master.set("+0");
    // Away and set back: what waits for it is not taken for older than it is.
    it.lab.agent(0).signal("KILL");
    it.minion.set(&to_1970());
    let waits = it.promise.command(&it.lab, "vm-1", "true");
    it.lab.restart(0);
    assert_eq!(it.promise.word(&it.lab, waits), Terminal::Changed);
    wait::until("its end to be stored", LIMIT, || crate::points::has_ended(&it.lab, waits).then_some(()));
    it.promise.hold(&it.lab);
}
