//! Files and folders that change, as the kernel tells it (inotify). The folder that a file lies in is watched, so that a
//! file that is replaced, or made later, is watched too; a folder that is not there yet is waited for above it.

mod changes;
mod wanted;

use super::{Beacon, Signal, Source};
use crate::senses::Senses;
use changes::{Change, Changes};
use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask};
use resources::beacons::{Settings, matches};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use wanted::{Interest, Wanted, is_folder, mounts};

/// Bytes of the kernel's events that are read at once, and how often in one go.
const BUFFER: usize = 16 << 10;
const READS_MAX: usize = 64;
/// Folders that are watched at most, unless it is set.
const WATCHES: u64 = 4096;
/// Files that are looked at after the kernel lost track.
const SCAN_MAX: usize = 65_536;
/// Changes of one path within this time are one event, in milliseconds, unless it is set.
const SETTLE_MS: u64 = 50;
/// Said when there are more.
const FULL: &str = "more folders than `watches` allows";
/// What is told unless it is set.
const MASK: [&str; 4] = ["create", "modify", "delete", "move"];
/// What editors and package managers leave for a moment.
const LITTER: [&str; 7] = ["*.swp", "*.swpx", "*.swx", "*~", ".#*", "4913", "*.dpkg-new"];

/// A folder that is watched.
struct Watched {
    watch: WatchDescriptor,
    folder: PathBuf,
    interest: Interest,
}

/// A folder that was not watched so before, what is wanted of it, and what was.
type Fresh = (PathBuf, Interest, Option<Interest>);

/// What follows from what the kernel told.
#[derive(Default)]
struct Heard {
    /// It lost track.
    lost_track: bool,
    /// Other folders than before may have to be watched.
    plan_anew: bool,
    /// Folders that are new below one that is watched with those below it: as it is, and as people name it.
    grown: Vec<(PathBuf, String)>,
    /// Such folders that went elsewhere.
    left: Vec<PathBuf>,
}

struct Files {
    inotify: Inotify,
    root: PathBuf,
    paths: Vec<String>,
    mask: Vec<String>,
    only: Vec<String>,
    ignore: Vec<String>,
    recursive: bool,
    watches_max: usize,
    changes: Changes,
    /// By the kernel's number of the watch.
    watched: BTreeMap<i32, Watched>,
    /// It was said that there are more folders than may be watched.
    limit_told: bool,
    /// When all that the kernel had to tell was last read, by the clock of files.
    read_at: SystemTime,
}

pub(super) fn make(settings: &Settings<'_>, senses: &dyn Senses) -> Result<Box<dyn Beacon>, String> {
    let inotify = Inotify::init().map_err(|error| format!("the kernel watches no more files: {error}"))?;
    let or = |said: Vec<String>, standard: &[&str]| {
        if said.is_empty() { standard.iter().map(|it| (*it).to_owned()).collect() } else { said }
    };
    let settle = Duration::from_millis(settings.time_ms("settle").unwrap_or(SETTLE_MS));
    let paths = settings.texts("path").iter().map(|it| plain(it)).collect();
    Ok(Box::new(Files {
        inotify,
        root: senses.root().to_owned(),
        paths,
        mask: or(settings.texts("mask"), &MASK),
        only: settings.texts("match"),
        ignore: or(settings.texts("ignore"), &LITTER),
        recursive: settings.flag("recursive", false),
        watches_max: usize::try_from(settings.count("watches").unwrap_or(WATCHES)).unwrap_or(usize::MAX),
        changes: Changes::new(settle),
        watched: BTreeMap::new(),
        limit_told: false,
        read_at: SystemTime::now(),
    }))
}

/// Without doubled and final slashes.
fn plain(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|it| !it.is_empty() && *it != ".").collect();
    format!("/{}", parts.join("/"))
}

fn below(shown: &str, name: &OsStr) -> String {
    format!("{}/{}", shown.trim_end_matches('/'), name.to_string_lossy())
}

impl Beacon for Files {
    fn look(&mut self, now: Duration, senses: &dyn Senses) -> Result<Vec<Signal>, String> {
        self.changes.muted = false;
        let mut signals = self.hear(now, senses)?;
        let due = self.changes.due(now);
        for told in due.into_iter().filter(|it| it.change.is_in(&self.mask)) {
            let mut signal = Signal::new().with("path", told.path).with("change", told.change.word());
            if let Change::Move(Some(from)) = told.change {
                signal = signal.with("from", from);
            }
            signals.push(if told.folder { signal.with("folder", true) } else { signal });
        }
        Ok(signals)
    }

    fn pass(&mut self, now: Duration, senses: &dyn Senses) -> Result<(), String> {
        self.changes.muted = true;
        self.hear(now, senses).map(drop)
    }

    fn sleeps(&self) -> bool {
        false
    }

    fn wake(&self) -> Option<Duration> {
        self.changes.next().filter(|_| !self.changes.muted)
    }

    fn sources(&self) -> Vec<Source<'_>> {
        vec![Source { fd: self.inotify.as_fd(), urgent: false }]
    }
}

impl Files {
    /// Takes in what happened, and watches what is to be watched now. What is to be said beside changes.
    fn hear(&mut self, now: Duration, senses: &dyn Senses) -> Result<Vec<Signal>, String> {
        let mut signals = Vec::new();
        let heard = self.read(now, senses, &mut signals);
        if let (Err(_), Ok(inotify)) = (&heard, Inotify::init()) {
            // Nothing is watched until it can be planned again.
            self.inotify = inotify;
            self.watched.clear();
        }
        heard.map(|()| signals)
    }

    /// Reads what the kernel has to tell, and acts on it.
    fn read(&mut self, now: Duration, senses: &dyn Senses, signals: &mut Vec<Signal>) -> Result<(), String> {
        if self.watched.is_empty() {
            self.plan(now, false, senses, signals)?;
        }
        let mut buffer = [0; BUFFER];
        let mut heard = Heard::default();
        let began = SystemTime::now();
        for _ in 0..READS_MAX {
            let events = match self.inotify.read_events(&mut buffer) {
                Ok(events) => events,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(format!("the kernel tells no more of files: {error}")),
            };
            let events: Vec<_> = events
                .map(|it| (it.wd.get_watch_descriptor_id(), it.mask, it.cookie, it.name.map(OsStr::to_owned)))
                .collect();
            for (watch, mask, cookie, name) in events {
                heard.lost_track |= mask.contains(EventMask::Q_OVERFLOW);
                let gone = EventMask::IGNORED | EventMask::DELETE_SELF | EventMask::MOVE_SELF;
                if mask.intersects(gone) {
                    // What is below a folder that is watched as a whole is told of by that one.
                    let is_own = |it: &Interest| it.is_way() || self.paths.contains(&it.shown);
                    heard.plan_anew |= self.watched.get(&watch).is_some_and(|it| is_own(&it.interest));
                }
                if mask.contains(EventMask::IGNORED) {
                    self.watched.remove(&watch);
                }
                if let Some(name) = name {
                    self.note(now, watch, mask, cookie, &name, &mut heard);
                }
            }
        }
        if heard.lost_track || std::mem::take(&mut self.changes.overflow) {
            return self.rescan(now, senses, signals);
        }
        if heard.plan_anew {
            self.plan(now, true, senses, signals)?;
        } else {
            self.grow(now, heard, senses, signals)?;
        }
        self.read_at = began;
        Ok(())
    }

    /// Takes in one thing that happened in a folder.
    fn note(
        &mut self,
        now: Duration,
        watch: i32,
        mask: EventMask,
        cookie: u32,
        name: &OsStr,
        heard: &mut Heard,
    ) {
        let Some(Watched { interest, folder: place, .. }) = self.watched.get(&watch) else { return };
        let folder = mask.contains(EventMask::ISDIR);
        let named = interest.names.contains(name);
        let counts = interest.whole && self.counts(name, folder);
        let path = below(&interest.shown, name);
        let comes = mask.intersects(EventMask::CREATE | EventMask::MOVED_TO);
        if comes || mask.intersects(EventMask::DELETE | EventMask::MOVED_FROM) {
            let below = folder && counts && self.recursive;
            heard.plan_anew |= interest.steps.contains(name) || folder && named || below && self.limit_told;
            if below && comes {
                heard.grown.push((place.join(name), path.clone()));
            } else if below {
                heard.left.push(place.join(name));
            }
        }
        if !named && !counts {
            return;
        }
        if mask.contains(EventMask::CREATE) {
            self.changes.add(now, &path, Change::Create, folder);
        } else if mask.contains(EventMask::MOVED_TO) {
            self.changes.came(now, &path, folder, cookie, named);
        } else if mask.contains(EventMask::MOVED_FROM) {
            self.changes.left(now, &path, folder, cookie);
        } else if mask.contains(EventMask::DELETE) {
            self.changes.add(now, &path, Change::Delete, folder);
        } else if mask.contains(EventMask::CLOSE_WRITE) {
            self.changes.closed(now, &path);
        } else if mask.contains(EventMask::MODIFY) {
            self.changes.written(now, &path);
        } else if mask.contains(EventMask::ATTRIB) {
            self.changes.add(now, &path, Change::Attributes, folder);
        }
    }

    /// Whether a name in a folder counts.
    fn counts(&self, name: &OsStr, folder: bool) -> bool {
        let name = name.to_string_lossy();
        let one_of = |patterns: &[String]| patterns.iter().any(|it| matches(it, &name));
        !one_of(&self.ignore) && (folder || self.only.is_empty() || one_of(&self.only))
    }

    /// Works out which folders are to be watched, and watches them. What is in folders that were not watched before was
    /// made a moment ago, if `tell` says so.
    fn plan(
        &mut self,
        now: Duration,
        tell: bool,
        senses: &dyn Senses,
        signals: &mut Vec<Signal>,
    ) -> Result<(), String> {
        let mounts = mounts(senses)?;
        let (wanted, full) = self.wanted(&mounts)?;
        let mut limited = full.then(|| FULL.to_owned());
        let (kept, fresh) = self.watch(wanted, &mut limited);
        let old = std::mem::replace(&mut self.watched, kept);
        let gone: Vec<Watched> =
            old.into_iter().filter(|it| !self.watched.contains_key(&it.0)).map(|it| it.1).collect();
        if tell {
            for (folder, interest, before) in fresh {
                let same = |it: &&Watched| it.interest.shown == interest.shown && !interest.is_idle();
                let old = gone.iter().find(same).filter(|it| !self.is_remote(&mounts, &it.folder));
                if let Some(old) = old {
                    self.replaced(now, old, &folder);
                }
                self.appeared(now, &folder, &interest, before.as_ref(), old.map(|it| it.folder.as_path()));
            }
        }
        for gone in gone {
            // The kernel may have ended it already.
            let _ = self.inotify.watches().remove(gone.watch);
        }
        self.say_limit(limited, signals);
        if self.watched.is_empty() {
            return Err("none of its folders can be watched".to_owned());
        }
        Ok(())
    }

    /// Watches what is new below a folder that is watched with those below it, and no more what went elsewhere.
    fn grow(
        &mut self,
        now: Duration,
        heard: Heard,
        senses: &dyn Senses,
        signals: &mut Vec<Signal>,
    ) -> Result<(), String> {
        if heard.grown.is_empty() && heard.left.is_empty() {
            return Ok(());
        }
        let mounts = mounts(senses)?;
        let (mut wanted, mut limited) = (Wanted::new(), None);
        let room = self.watches_max.saturating_sub(self.watched.len());
        for (folder, shown) in heard.grown {
            if !self.is_remote(&mounts, &folder)
                && is_folder(&folder)
                && self.take_folder(&mounts, &mut wanted, folder, &shown, room)
            {
                limited = Some(FULL.to_owned());
            }
        }
        let (kept, fresh) = self.watch(wanted, &mut limited);
        let is_left = |number: &i32, it: &Watched| {
            !kept.contains_key(number) && heard.left.iter().any(|left| it.folder.starts_with(left))
        };
        let left: Vec<i32> =
            self.watched.iter().filter(|(number, it)| is_left(number, it)).map(|it| *it.0).collect();
        for number in left {
            if let Some(gone) = self.watched.remove(&number) {
                let _ = self.inotify.watches().remove(gone.watch);
            }
        }
        self.watched.extend(kept);
        for (folder, interest, before) in fresh {
            self.appeared(now, &folder, &interest, before.as_ref(), None);
        }
        if limited.is_some() {
            self.say_limit(limited, signals);
        }
        Ok(())
    }

    /// Watches folders: those by the kernel's number, and those that were not watched so before.
    fn watch(
        &mut self,
        wanted: Wanted,
        limited: &mut Option<String>,
    ) -> (BTreeMap<i32, Watched>, Vec<Fresh>) {
        let (mut kept, mut fresh) = (BTreeMap::new(), Vec::new());
        for (folder, interest) in wanted {
            match self.inotify.watches().add(&folder, self.kernel_mask(&interest)) {
                Ok(watch) => {
                    let number = watch.get_watch_descriptor_id();
                    let before = self.watched.get(&number).map(|it| &it.interest);
                    if before.is_none_or(|it| !it.whole && interest.whole || it.names != interest.names) {
                        fresh.push((folder.clone(), interest.clone(), before.cloned()));
                    }
                    kept.insert(number, Watched { watch, folder, interest });
                }
                // It went in between.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                Err(error) => {
                    *limited = Some(format!("the kernel does not watch `{}`: {error}", folder.display()));
                }
            }
        }
        (kept, fresh)
    }

    /// Says once that there is more than can be watched.
    fn say_limit(&mut self, limited: Option<String>, signals: &mut Vec<Signal>) {
        let told = std::mem::replace(&mut self.limit_told, limited.is_some());
        if let Some(reason) = limited.filter(|_| !told) {
            let signal = Signal::new().with("change", "limit").with("folders", self.watched.len());
            signals.push(signal.with("limit", reason));
        }
    }

    fn kernel_mask(&self, interest: &Interest) -> WatchMask {
        let way = WatchMask::CREATE
            | WatchMask::DELETE
            | WatchMask::MOVE
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF
            | WatchMask::ONLYDIR;
        if interest.is_idle() {
            return way;
        }
        let mask = way | WatchMask::CLOSE_WRITE | WatchMask::MODIFY;
        if self.mask.iter().any(|it| it == "attributes") { mask | WatchMask::ATTRIB } else { mask }
    }

    /// Another folder is in the place of one: what is only in the old one is gone.
    fn replaced(&mut self, now: Duration, old: &Watched, by: &Path) {
        for entry in std::fs::read_dir(&old.folder).into_iter().flatten().flatten().take(SCAN_MAX) {
            let name = entry.file_name();
            let is_folder = entry.file_type().is_ok_and(|it| it.is_dir());
            if self.is_ours(&old.interest, &name, is_folder) && by.join(&name).symlink_metadata().is_err() {
                self.changes.add(now, &below(&old.interest.shown, &name), Change::Delete, is_folder);
            }
        }
    }

    fn is_ours(&self, interest: &Interest, name: &OsStr, folder: bool) -> bool {
        interest.names.contains(name) || interest.whole && self.counts(name, folder)
    }

    /// What is in a folder that was not watched before, or not as a whole. What was in the folder whose place it took is
    /// not new.
    fn appeared(
        &mut self,
        now: Duration,
        folder: &Path,
        interest: &Interest,
        before: Option<&Interest>,
        old: Option<&Path>,
    ) {
        if interest.is_idle() {
            return;
        }
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().take(SCAN_MAX);
        for entry in entries {
            let name = entry.file_name();
            let is_folder = entry.file_type().is_ok_and(|it| it.is_dir());
            let named = interest.names.contains(&name) && before.is_none_or(|it| !it.names.contains(&name));
            let whole = interest.whole && before.is_none_or(|it| !it.whole);
            if named || whole && self.counts(&name, is_folder) {
                let was = old.is_some_and(|it| it.join(&name).symlink_metadata().is_ok());
                let change = if was { Change::Modify } else { Change::Create };
                self.changes.add(now, &below(&interest.shown, &name), change, is_folder);
            }
        }
    }

    /// The kernel lost track: what changed since it was last heard to the end is told, by the times of the files. What
    /// is gone cannot be seen so; that it may be is told as well.
    fn rescan(
        &mut self,
        now: Duration,
        senses: &dyn Senses,
        signals: &mut Vec<Signal>,
    ) -> Result<(), String> {
        let since = self.read_at;
        self.read_at = SystemTime::now();
        self.plan(now, false, senses, signals)?;
        let mounts = mounts(senses)?;
        let since = since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let watched: Vec<(PathBuf, Interest)> =
            self.watched.values().map(|it| (it.folder.clone(), it.interest.clone())).collect();
        let mut left = SCAN_MAX;
        for (folder, interest) in watched {
            for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
                left = left.saturating_sub(1);
                let name = entry.file_name();
                let ours = self.is_ours(&interest, &name, false) && !self.is_remote(&mounts, &entry.path());
                let Some(meta) = entry.metadata().ok().filter(|_| ours && left > 0) else { continue };
                if !meta.is_dir() && u64::try_from(meta.ctime()).unwrap_or(0) >= since {
                    self.changes.add(now, &below(&interest.shown, &name), Change::Modify, false);
                }
            }
        }
        for path in &self.paths {
            signals.push(Signal::new().with("path", path.clone()).with("change", "rescan"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
