//! Files and folders that change, as the kernel tells it (inotify). The folder that a file lies in is watched, so that a
//! file that is replaced, or made later, is watched too; a folder that is not there yet is waited for above it.

mod changes;

use super::{Beacon, Signal, Source};
use crate::senses::Senses;
use changes::{Change, Changes};
use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask};
use resources::beacons::{Settings, matches};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Bytes of the kernel's events that are read at once, and how often in one go.
const BUFFER: usize = 16 << 10;
const READS_MAX: usize = 64;
/// Folders that are watched at most, unless it is set.
const WATCHES: u64 = 4096;
/// Files that are looked at after the kernel lost track.
const SCAN_MAX: usize = 65_536;
/// Changes of one path within this time are one event, in milliseconds, unless it is set.
const SETTLE_MS: u64 = 50;
/// What is told unless it is set.
const MASK: [&str; 4] = ["create", "modify", "delete", "move"];
/// What editors and package managers leave for a moment.
const LITTER: [&str; 7] = ["*.swp", "*.swpx", "*.swx", "*~", ".#*", "4913", "*.dpkg-new"];

/// What is wanted of a folder.
#[derive(Clone, Debug, Default, PartialEq)]
struct Interest {
    /// As people name it.
    shown: String,
    /// Everything in it.
    whole: bool,
    /// These names in it, which people named.
    names: BTreeSet<OsString>,
    /// When something of these names appears, there is more to watch.
    steps: BTreeSet<OsString>,
}

/// A folder that is watched.
struct Watched {
    watch: WatchDescriptor,
    folder: PathBuf,
    interest: Interest,
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
    fresh: bool,
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
        fresh: true,
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
    fn look(&mut self, now: Duration, _: &dyn Senses) -> Result<Vec<Signal>, String> {
        let mut signals = Vec::new();
        if std::mem::take(&mut self.fresh) {
            self.plan(now, false, &mut signals)?;
        }
        let lost_track = self.read(now, &mut signals)?;
        if lost_track || std::mem::take(&mut self.changes.overflow) {
            self.rescan(now, &mut signals)?;
        }
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

    fn wake(&self) -> Option<Duration> {
        self.changes.next()
    }

    fn sources(&self) -> Vec<Source<'_>> {
        vec![Source { fd: self.inotify.as_fd(), urgent: false }]
    }
}

impl Files {
    /// Reads what the kernel has to tell. True if it lost track.
    fn read(&mut self, now: Duration, signals: &mut Vec<Signal>) -> Result<bool, String> {
        let mut buffer = [0; BUFFER];
        let (mut lost_track, mut plan_anew) = (false, false);
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
                lost_track |= mask.contains(EventMask::Q_OVERFLOW);
                if mask.contains(EventMask::IGNORED) {
                    plan_anew |= self.watched.remove(&watch).is_some();
                }
                plan_anew |= mask.intersects(EventMask::DELETE_SELF | EventMask::MOVE_SELF);
                if let Some(name) = name {
                    plan_anew |= self.note(now, watch, mask, cookie, &name);
                }
            }
        }
        if plan_anew && !lost_track {
            self.plan(now, true, signals)?;
        }
        if !lost_track {
            self.read_at = began;
        }
        Ok(lost_track)
    }

    /// Takes in one thing that happened in a folder. True if there may be other folders to watch now.
    fn note(&mut self, now: Duration, watch: i32, mask: EventMask, cookie: u32, name: &OsStr) -> bool {
        let Some(Watched { interest, .. }) = self.watched.get(&watch) else { return false };
        let folder = mask.contains(EventMask::ISDIR);
        let named = interest.names.contains(name);
        let path = below(&interest.shown, name);
        let comes_or_goes =
            EventMask::CREATE | EventMask::DELETE | EventMask::MOVED_FROM | EventMask::MOVED_TO;
        let structure = mask.intersects(comes_or_goes)
            && (interest.steps.contains(name) || folder && (named || interest.whole && self.recursive));
        let ours = named || interest.whole && self.counts(name, folder);
        if !ours {
            return structure;
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
        structure
    }

    /// Whether a name in a folder counts.
    fn counts(&self, name: &OsStr, folder: bool) -> bool {
        let name = name.to_string_lossy();
        let one_of = |patterns: &[String]| patterns.iter().any(|it| matches(it, &name));
        !one_of(&self.ignore) && (folder || self.only.is_empty() || one_of(&self.only))
    }

    /// Works out which folders are to be watched, and watches them. What is in folders that were not watched before was
    /// made a moment ago, if `tell` says so.
    fn plan(&mut self, now: Duration, tell: bool, signals: &mut Vec<Signal>) -> Result<(), String> {
        let (wanted, full) = self.wanted();
        let mut limited = full.then(|| "more folders than `watches` allows".to_owned());
        let mut kept: BTreeMap<i32, Watched> = BTreeMap::new();
        let mut fresh = Vec::new();
        for (folder, interest) in wanted {
            match self.inotify.watches().add(&folder, self.kernel_mask()) {
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
                    limited = Some(format!("the kernel does not watch `{}`: {error}", interest.shown));
                }
            }
        }
        let old = std::mem::replace(&mut self.watched, kept);
        for (_, gone) in old.into_iter().filter(|it| !self.watched.contains_key(&it.0)) {
            // The kernel may have ended it already.
            let _ = self.inotify.watches().remove(gone.watch);
        }
        if tell {
            for (folder, interest, before) in fresh {
                self.appeared(now, &folder, &interest, before.as_ref());
            }
        }
        if let Some(reason) = limited {
            if !std::mem::replace(&mut self.limit_told, true) {
                let folders = self.watched.len();
                let signal = Signal::new().with("change", "limit").with("folders", folders);
                signals.push(signal.with("limit", reason));
            }
        } else {
            self.limit_told = false;
        }
        if self.watched.is_empty() {
            return Err("none of its folders can be watched".to_owned());
        }
        Ok(())
    }

    fn kernel_mask(&self) -> WatchMask {
        let mask = WatchMask::CREATE
            | WatchMask::CLOSE_WRITE
            | WatchMask::MODIFY
            | WatchMask::DELETE
            | WatchMask::MOVE
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF
            | WatchMask::ONLYDIR;
        if self.mask.iter().any(|it| it == "attributes") { mask | WatchMask::ATTRIB } else { mask }
    }

    /// Folders, and what is wanted of each; whether there are more than may be.
    fn wanted(&self) -> (BTreeMap<PathBuf, Interest>, bool) {
        let mut wanted: BTreeMap<PathBuf, Interest> = BTreeMap::new();
        let mut full = false;
        let is_folder = |path: &Path| std::fs::symlink_metadata(path).is_ok_and(|it| it.is_dir());
        for shown in &self.paths {
            let parts: Vec<&str> = shown.split('/').filter(|it| !it.is_empty()).collect();
            // The folder that is there, as far down as there is one.
            let (mut real, mut reached) = (self.root.clone(), String::new());
            for (depth, part) in parts.iter().enumerate() {
                let interest = wanted.entry(real.clone()).or_default();
                reached.clone_into(&mut interest.shown);
                if depth + 1 == parts.len() {
                    interest.names.insert(part.into());
                    break;
                }
                let next = real.join(part);
                if !next.is_dir() {
                    interest.steps.insert(part.into());
                    break;
                }
                // Only the last one is watched.
                if interest.names.is_empty() && interest.steps.is_empty() && !interest.whole {
                    wanted.remove(&real);
                }
                real = next;
                reached = below(&reached, OsStr::new(part));
            }
            let real = self.root.join(shown.trim_start_matches('/'));
            if is_folder(&real) {
                self.take_folder(&mut wanted, real, shown, &mut full);
            }
        }
        (wanted, full)
    }

    /// A folder with all that is in it, and those below it. Links to folders are not followed.
    fn take_folder(
        &self,
        wanted: &mut BTreeMap<PathBuf, Interest>,
        real: PathBuf,
        shown: &str,
        full: &mut bool,
    ) {
        let mut left = vec![(real, shown.to_owned())];
        while let Some((folder, shown)) = left.pop() {
            if wanted.len() >= self.watches_max {
                *full = true;
                return;
            }
            if self.recursive {
                let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
                let folders = entries.filter(|it| it.file_type().is_ok_and(|it| it.is_dir()));
                let mut folders: Vec<OsString> =
                    folders.map(|it| it.file_name()).filter(|it| self.counts(it, true)).collect();
                folders.sort();
                left.extend(folders.into_iter().rev().map(|it| (folder.join(&it), below(&shown, &it))));
            }
            let interest = wanted.entry(folder).or_default();
            (interest.shown, interest.whole) = (shown, true);
        }
    }

    /// What is in a folder that was not watched before, or not as a whole.
    fn appeared(&mut self, now: Duration, folder: &Path, interest: &Interest, before: Option<&Interest>) {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().take(SCAN_MAX);
        for entry in entries {
            let name = entry.file_name();
            let is_folder = entry.file_type().is_ok_and(|it| it.is_dir());
            let named = interest.names.contains(&name) && before.is_none_or(|it| !it.names.contains(&name));
            let whole = interest.whole && before.is_none_or(|it| !it.whole);
            if named || whole && self.counts(&name, is_folder) {
                self.changes.add(now, &below(&interest.shown, &name), Change::Create, is_folder);
            }
        }
    }

    /// The kernel lost track: what changed since it was last heard to the end is told, by the times of the files. What
    /// is gone cannot be seen so; that it may be is told as well.
    fn rescan(&mut self, now: Duration, signals: &mut Vec<Signal>) -> Result<(), String> {
        let since = self.read_at;
        self.read_at = SystemTime::now();
        self.plan(now, false, signals)?;
        let since = since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let watched: Vec<(PathBuf, Interest)> =
            self.watched.values().map(|it| (it.folder.clone(), it.interest.clone())).collect();
        let mut left = SCAN_MAX;
        for (folder, interest) in watched {
            for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
                left = left.saturating_sub(1);
                let Some(meta) = entry.metadata().ok().filter(|_| left > 0) else { continue };
                let (name, is_folder) = (entry.file_name(), meta.is_dir());
                let ours = interest.names.contains(&name) || interest.whole && self.counts(&name, is_folder);
                if ours && !is_folder && u64::try_from(meta.ctime()).unwrap_or(0) >= since {
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
