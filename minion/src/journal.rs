//! The journal: an append-only file of JSON lines with length and checksum, synced before anything is promised.
//! A torn tail is cut off, a damaged line is skipped and the file kept aside, a full disk is reported and survived.

mod folder;

pub use folder::Folder;
pub(crate) use folder::sync_dir;

use crate::core::Entry;
use model::broken;
use sha2::{Digest, Sha256};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// First line of the file: format and version.
const HEADER: &str = "labminion-journal 1\n";
/// Longest line: a result of 16 MiB, with room.
const LINE_MAX: u64 = 24 << 20;
/// A smaller file is never written anew.
const COMPACT_FROM: u64 = 1 << 20;
/// Written anew when it has this many times the bytes it had after the last time.
const COMPACT_FACTOR: u64 = 4;
/// Kept free for results that were promised, given up when the disk is full.
const BALLAST: u64 = 256 << 10;

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The system refused.
    #[error("cannot {action} `{path}`")]
    Io {
        /// An infinitive.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// The system's word.
        #[source]
        source: io::Error,
    },
    /// Written by a later release.
    #[error(
        "`{path}` was written by another release (it begins with `{found}`): upgrade labminion, or move the file away to forget its jobs"
    )]
    Version {
        /// Which file.
        path: PathBuf,
        /// Its first line.
        found: String,
    },
}

impl JournalError {
    /// Whether the disk is full, as opposed to failing.
    pub fn is_full(&self) -> bool {
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::FileTooLarge];
        matches!(self, Self::Io { source, action, .. } if *action != "sync" && full.contains(&source.kind()))
    }
}

/// What a journal lies on: a folder, or a disk that a simulator makes up.
pub trait Medium {
    /// For complaints.
    fn path(&self) -> PathBuf;
    /// All that is in it, from the beginning.
    fn read(&mut self) -> io::Result<Box<dyn Read + '_>>;
    /// Adds bytes at the end; after an error a part of them may be there.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Takes off what is behind so many bytes.
    fn cut(&mut self, length: u64) -> io::Result<()>;
    /// What was appended outlives a loss of power.
    fn sync(&mut self) -> io::Result<()>;
    /// Puts these bytes in the place of all others, whole and lastingly. After an error that says that the disk is full
    /// the old ones are as they were.
    fn replace(&mut self, bytes: &[u8]) -> Result<(), JournalError>;
    /// Keeps a copy as it is now, for people; where.
    fn keep_damaged(&mut self) -> io::Result<PathBuf>;
    /// Sets so many bytes aside, if there is room.
    fn keep_ballast(&mut self, bytes: u64);
    /// Makes room by what was set aside; whether there was any.
    fn give_up_ballast(&mut self) -> bool;
}

/// What reading a journal gave.
#[derive(Debug)]
pub struct Opened<M = Folder> {
    /// Ready to be appended to.
    pub journal: Journal<M>,
    /// What it holds, in order.
    pub entries: Vec<Entry>,
    /// What was wrong with it, for people.
    pub complaints: Vec<String>,
}

/// An open journal.
#[derive(Debug)]
pub struct Journal<M = Folder> {
    medium: M,
    length: u64,
    compacted: u64,
    /// Not written anew before it has this many bytes: the last attempt failed.
    compact_at: u64,
    /// Entries that go with the next synced ones.
    lazy: Vec<u8>,
}

impl Journal {
    /// Opens or makes `<dir>/journal.jsonl`; `dir` exists.
    pub fn open(dir: &Path) -> Result<Opened, JournalError> {
        Self::on(Folder::open(dir)?)
    }
}

impl<M: Medium> Journal<M> {
    /// Reads what is there and gets it ready.
    pub fn on(mut medium: M) -> Result<Opened<M>, JournalError> {
        let path = medium.path();
        let scan = scan(&mut medium, &path)?;
        let mut complaints = Vec::new();
        if scan.damaged > 0 {
            let aside = medium.keep_damaged().map_err(io_error("copy", &path))?;
            complaints.push(format!(
                "{} damaged lines in `{}` were skipped; a copy is in `{}`",
                scan.damaged,
                path.display(),
                aside.display()
            ));
        }
        if scan.torn > 0 {
            complaints.push(format!("an unfinished record of {} bytes at the end was cut off", scan.torn));
            medium.cut(scan.good).map_err(io_error("cut", &path))?;
        }
        let mut journal =
            Self { medium, length: scan.good, compacted: scan.good, compact_at: 0, lazy: Vec::new() };
        if scan.good == 0 {
            journal.write(HEADER.as_bytes())?;
        }
        // What a process wrote that died before its sync is believed from now on.
        journal.sync()?;
        journal.medium.keep_ballast(BALLAST);
        Ok(Opened { journal, entries: scan.entries, complaints })
    }

    /// Puts entries (and the lazy ones before them) on disk, synced. After an error nothing of it is in the file.
    pub fn append(&mut self, entries: &[Entry]) -> Result<(), JournalError> {
        let before = self.length;
        let mut bytes = self.lazy.clone();
        for entry in entries {
            line(entry, &mut bytes);
        }
        let written = self.write(&bytes).or_else(|error| {
            self.take_back(before)?;
            if !self.give_up_ballast(&error, entries) {
                return Err(error);
            }
            self.write(&bytes).inspect_err(|_| {
                let _ = self.take_back(before);
            })
        });
        written?;
        self.lazy.clear();
        self.sync()
    }

    /// Notes an entry that goes to disk with the next synced ones.
    pub fn later(&mut self, entry: &Entry) {
        line(entry, &mut self.lazy);
    }

    /// Whether it is time to write the file anew.
    pub fn wants_compaction(&self) -> bool {
        self.length > COMPACT_FROM.max(self.compact_at)
            && self.length > self.compacted.saturating_mul(COMPACT_FACTOR)
    }

    /// Replaces the file by one that holds just these. After an error the old one is as it was.
    pub fn compact(&mut self, entries: &[Entry]) -> Result<(), JournalError> {
        let mut bytes = HEADER.as_bytes().to_vec();
        for entry in entries {
            line(entry, &mut bytes);
        }
        self.medium.replace(&bytes).inspect_err(|_| self.compact_at = self.length + COMPACT_FROM)?;
        self.length = bytes.len() as u64;
        self.compacted = self.length;
        self.compact_at = 0;
        self.lazy.clear();
        self.medium.keep_ballast(BALLAST);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), JournalError> {
        self.medium.append(bytes).map_err(io_error("write", &self.medium.path()))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn take_back(&mut self, length: u64) -> Result<(), JournalError> {
        self.medium.cut(length).map_err(io_error("cut", &self.medium.path()))?;
        self.length = length;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), JournalError> {
        if broken::leaves_out("sync-journal") {
            return Ok(());
        }
        self.medium.sync().map_err(io_error("sync", &self.medium.path()))
    }

    /// Makes room for `entries`, if they may have it.
    fn give_up_ballast(&mut self, error: &JournalError, entries: &[Entry]) -> bool {
        let deserved = error.is_full() && entries.iter().all(is_promised);
        deserved && self.medium.give_up_ballast()
    }

    /// Sets the ballast aside again once the disk has room.
    pub fn recovered(&mut self) {
        self.medium.keep_ballast(BALLAST);
    }
}

/// Whether the ballast may be given up for it.
fn is_promised(entry: &Entry) -> bool {
    !matches!(entry, Entry::Received(_) | Entry::Intent { .. })
}

fn io_error<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> JournalError + 'a {
    move |source| JournalError::Io { action, path: path.to_owned(), source }
}

fn checksum(text: &[u8]) -> String {
    Sha256::digest(text)[..6].iter().fold(String::new(), |sum, byte| sum + &format!("{byte:02x}"))
}

/// `<length> <checksum> <json>\n`
fn line(entry: &Entry, into: &mut Vec<u8>) {
    let text = serde_json::to_vec(entry).expect("entries are plain data");
    into.extend_from_slice(format!("{} {} ", text.len(), checksum(&text)).as_bytes());
    into.extend_from_slice(&text);
    into.push(b'\n');
}

fn parse(line: &[u8]) -> Option<Entry> {
    let text = line.strip_suffix(b"\n")?;
    let mut parts = text.splitn(3, |byte| *byte == b' ');
    let (length, sum, json) = (parts.next()?, parts.next()?, parts.next()?);
    let length: usize = std::str::from_utf8(length).ok()?.parse().ok()?;
    (json.len() == length && checksum(json).as_bytes() == sum).then_some(())?;
    serde_json::from_slice(json).ok()
}

struct Scan {
    entries: Vec<Entry>,
    /// Bytes up to the end of the last good line.
    good: u64,
    /// Bytes after it.
    torn: u64,
    /// Bad lines with good ones after them.
    damaged: u32,
}

fn scan(medium: &mut impl Medium, path: &Path) -> Result<Scan, JournalError> {
    let mut reader = BufReader::new(medium.read().map_err(io_error("read", path))?);
    let mut scan = Scan { entries: Vec::new(), good: 0, torn: 0, damaged: 0 };
    let (mut at, mut bad) = (0, 0);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut reader).take(LINE_MAX).read_until(b'\n', &mut line);
        let read = read.map_err(io_error("read", path))? as u64;
        if read == 0 {
            break;
        }
        if at == 0 {
            if !HEADER.as_bytes().starts_with(&line) {
                let found = String::from_utf8_lossy(&line).trim().chars().take(60).collect();
                return Err(JournalError::Version { path: path.to_owned(), found });
            }
            scan.good = if line == HEADER.as_bytes() { read } else { 0 };
        } else if let Some(entry) = parse(&line) {
            scan.entries.push(entry);
            scan.good = at + read;
            scan.damaged += std::mem::take(&mut bad);
        } else {
            bad += 1;
        }
        at += read;
    }
    scan.torn = at - scan.good;
    Ok(scan)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Timestamp;

    fn clock(at: u64) -> Entry {
        Entry::Clock(Timestamp(at))
    }

    fn written(entries: &[Entry]) -> (tempfile::TempDir, Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path()).unwrap().journal;
        for entry in entries {
            journal.append(std::slice::from_ref(entry)).unwrap();
        }
        let bytes = std::fs::read(dir.path().join("journal.jsonl")).unwrap();
        (dir, bytes)
    }

    fn reopened(dir: &tempfile::TempDir, bytes: &[u8]) -> Opened {
        std::fs::write(dir.path().join("journal.jsonl"), bytes).unwrap();
        Journal::open(dir.path()).unwrap()
    }

    #[test]
    fn what_was_appended_is_read_again_in_order() {
        let entries = [clock(1), Entry::Boot("b".to_owned()), Entry::EventsTaken(7)];
        let (dir, bytes) = written(&entries);
        let opened = reopened(&dir, &bytes);
        assert_eq!(opened.entries, entries);
        assert!(opened.complaints.is_empty());
    }

    #[test]
    fn a_tail_torn_at_any_byte_loses_only_the_torn_record() {
        let entries = [clock(1), clock(2), clock(3)];
        let (dir, bytes) = written(&entries);
        let (_, two) = written(&entries[..2]);
        for cut in two.len()..bytes.len() {
            let mut opened = reopened(&dir, &bytes[..cut]);
            assert_eq!(opened.entries, entries[..2], "cut at {cut}");
            opened.journal.append(&[clock(4)]).unwrap();
            let again = Journal::open(dir.path()).unwrap();
            assert_eq!(again.entries, [clock(1), clock(2), clock(4)], "appended after a cut at {cut}");
        }
    }

    #[test]
    fn a_header_torn_at_any_byte_is_an_empty_journal() {
        let (dir, bytes) = written(&[]);
        for cut in 0..bytes.len() {
            let opened = reopened(&dir, &bytes[..cut]);
            assert!(opened.entries.is_empty());
            assert_eq!(std::fs::read(dir.path().join("journal.jsonl")).unwrap(), bytes, "cut at {cut}");
        }
    }

    #[test]
    fn a_damaged_line_is_skipped_and_the_file_is_kept_aside() {
        let (dir, mut bytes) = written(&[clock(1), clock(22_222), clock(3)]);
        let at = bytes.windows(5).position(|it| it == b"22222").unwrap();
        bytes[at] = b'9';
        let opened = reopened(&dir, &bytes);
        assert_eq!(opened.entries, [clock(1), clock(3)]);
        assert_eq!(opened.complaints.len(), 1, "{:?}", opened.complaints);
        assert_eq!(std::fs::read(dir.path().join("journal.damaged")).unwrap(), bytes);
    }

    #[test]
    fn a_later_format_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("journal.jsonl"), "labminion-journal 2\n").unwrap();
        let error = Journal::open(dir.path()).unwrap_err();
        assert!(error.to_string().contains("another release"), "{error}");
    }

    #[test]
    fn lazy_entries_go_with_the_next_synced_ones_and_before_them() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path()).unwrap().journal;
        journal.later(&clock(1));
        assert!(Journal::open(dir.path()).unwrap().entries.is_empty());
        journal.append(&[clock(2)]).unwrap();
        assert_eq!(Journal::open(dir.path()).unwrap().entries, [clock(1), clock(2)]);
    }

    #[test]
    fn a_compacted_journal_holds_the_snapshot_and_what_follows() {
        let (dir, _) = written(&[clock(1), clock(2)]);
        let mut journal = Journal::open(dir.path()).unwrap().journal;
        journal.compact(&[clock(2)]).unwrap();
        journal.append(&[clock(3)]).unwrap();
        assert_eq!(Journal::open(dir.path()).unwrap().entries, [clock(2), clock(3)]);
    }

    #[test]
    fn only_what_was_promised_gets_the_ballast() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path()).unwrap().journal;
        let ballast = dir.path().join("ballast");
        let full = io_error("write", &ballast)(io::ErrorKind::StorageFull.into());
        let intent = Entry::Intent { job: model::JobId(1), attempt: 1 };
        assert!(!journal.give_up_ballast(&full, &[clock(1), intent]));
        assert!(ballast.exists());
        assert!(journal.give_up_ballast(&full, &[clock(1)]));
        assert!(!ballast.exists());
    }

    #[test]
    fn a_compaction_that_finds_the_disk_full_leaves_nothing_and_waits_until_the_file_has_grown() {
        let (dir, _) = written(&[clock(1)]);
        let mut journal = Journal::open(dir.path()).unwrap().journal;
        let grow = |journal: &mut Journal| {
            journal.append(&[Entry::Boot("x".repeat(2 << 20)), clock(2)]).unwrap();
        };
        grow(&mut journal);
        assert!(journal.wants_compaction());
        let fresh = dir.path().join("journal.new");
        std::os::unix::fs::symlink("/dev/full", &fresh).unwrap();
        assert!(journal.compact(&[clock(2)]).unwrap_err().is_full());
        assert!(!fresh.is_symlink() && !fresh.exists());
        assert!(!journal.wants_compaction());
        grow(&mut journal);
        assert!(journal.wants_compaction());
        journal.compact(&[clock(2)]).unwrap();
        assert_eq!(Journal::open(dir.path()).unwrap().entries, [clock(2)]);
    }

    #[test]
    fn the_file_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let (dir, _) = written(&[clock(1)]);
        let mode = std::fs::metadata(dir.path().join("journal.jsonl")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
