//! Tells that something below the trees changed; what it was is for a new reading to find out.

use super::Layout;
use inotify::{EventMask, Inotify, WatchMask};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// Folders that are watched.
const FOLDERS_MAX: usize = 8192;
/// Bytes of events read at once.
const BUFFER: usize = 16 * 1024;
/// Reads in one go.
const READS_MAX: usize = 1024;

/// Watches all folders of a layout, those that are made later included.
pub struct Watcher {
    inotify: Inotify,
    roots: Vec<PathBuf>,
}

impl Watcher {
    /// Starts watching.
    pub fn new(layout: &Layout) -> io::Result<Self> {
        Self::with(layout, [])
    }
    /// The same, and other folders. A file among them is noticed when another is put in its place.
    pub(crate) fn with(layout: &Layout, others: impl IntoIterator<Item = PathBuf>) -> io::Result<Self> {
        let inotify = Inotify::init()?;
        let roots = layout.folders().map(Path::to_owned).chain(others).collect();
        let watcher = Self { inotify, roots };
        watcher.watch_all();
        Ok(watcher)
    }
    /// Takes all events there are; true if there was one that matters.
    pub fn drain(&mut self) -> bool {
        let mut buffer = [0; BUFFER];
        let mut woken = false;
        let mut folders = false;
        for _ in 0..READS_MAX {
            let Ok(events) = self.inotify.read_events(&mut buffer) else { break };
            for event in events {
                folders |= event.mask.intersects(
                    EventMask::ISDIR | EventMask::Q_OVERFLOW | EventMask::DELETE_SELF | EventMask::MOVE_SELF,
                );
                woken |= !event.mask.contains(EventMask::IGNORED);
            }
        }
        if folders {
            self.watch_all();
        }
        woken
    }
    fn watch_all(&self) {
        let mut left = FOLDERS_MAX;
        for root in &self.roots {
            // A root that does not exist yet is noticed through its parent.
            if let Some(parent) = root.parent() {
                let mask = WatchMask::CREATE | WatchMask::MOVED_TO | WatchMask::ONLYDIR;
                let _ = self.inotify.watches().add(parent, mask);
            }
            self.watch(root, &mut left);
        }
    }
    fn watch(&self, folder: &Path, left: &mut usize) {
        let mask = WatchMask::CREATE
            | WatchMask::CLOSE_WRITE
            | WatchMask::DELETE
            | WatchMask::MOVE
            | WatchMask::ATTRIB
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF
            | WatchMask::ONLYDIR;
        if *left == 0 || self.inotify.watches().add(folder, mask).is_err() {
            return;
        }
        *left -= 1;
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        for entry in entries.flatten() {
            let left_out = entry.file_name().to_str().is_none_or(lang::is_left_out);
            if !left_out && entry.file_type().is_ok_and(|it| it.is_dir()) {
                self.watch(&entry.path(), left);
            }
        }
    }
}

impl AsFd for Watcher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

impl std::os::fd::AsRawFd for Watcher {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.inotify.as_raw_fd()
    }
}
