//! Copies of a store while it is written, and a copy that becomes the store again.

use super::{Reader, StoreError, audit, connect, entries, format, sql};
use crate::core::{Audit, Entry};
use model::{Caller, Event, Source, Timestamp};
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What happened after a backup is not in it, but minions remember: the number of an event names the jobs that rules
/// made for it, so the restored master goes on behind any number that was given out.
const NUMBERS_LEFT_OUT: u64 = 1 << 32;

/// What a store that was restored holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Members.
    pub minions: u64,
    /// Jobs.
    pub jobs: u64,
    /// Of these, jobs that have not ended.
    pub open: u64,
}

impl Reader {
    /// Writes a copy of the store as it is at one moment; commits go on meanwhile. Mode 0600, synced.
    pub fn copy_to(&self, to: &Path) -> Result<(), StoreError> {
        let db = connect(&self.path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        copy(&db, to)
    }
}

/// The same of an open store.
pub(super) fn copy(db: &Connection, to: &Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::Open { path: to.to_owned(), source };
    let mut draft = to.as_os_str().to_owned();
    draft.push(".new");
    let draft = Path::new(&draft);
    let made = make_private(draft).map_err(failed).and_then(|()| {
        let name = draft.to_str().ok_or_else(|| failed(io::ErrorKind::InvalidFilename.into()))?;
        db.execute("VACUUM INTO ?1", [name]).map_err(sql("copy", to))?;
        File::open(draft).and_then(|it| it.sync_all()).map_err(failed)?;
        std::fs::rename(draft, to).map_err(failed)?;
        sync_folder(to).map_err(failed)
    });
    if made.is_err() {
        let _ = std::fs::remove_file(draft);
    }
    made
}

/// An empty file: `SQLite` would make one that others may read.
fn make_private(path: &Path) -> io::Result<()> {
    let _ = std::fs::remove_file(path);
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map(drop)
}

/// A rename is on disk when its folder is.
fn sync_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Looks a copy through, upgrades it, and notes in it that it was restored: in the audit log, and as an event behind
/// all numbers that may have been given out since.
pub fn adopt(path: &Path, now: Timestamp, taken: Timestamp) -> Result<Restored, StoreError> {
    let mut db = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let says: String = db
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .map_err(sql("look through what is", path))?;
    if says != "ok" {
        return Err(StoreError::Broken { path: path.to_owned(), says });
    }
    if format::check(&db, path)? == 0 {
        return Err(StoreError::Broken { path: path.to_owned(), says: "it is empty".into() });
    }
    format::prepare(&db, path)?;
    let restored = note(&mut db, now, taken).map_err(sql("note the restore", path))?;
    // All in one file again: the log beside it stays behind when it is moved.
    db.pragma_update(None, "journal_mode", "DELETE").map_err(sql("close", path))?;
    Ok(restored)
}

fn note(db: &mut Connection, now: Timestamp, taken: Timestamp) -> rusqlite::Result<Restored> {
    let (mut chain, notice) = audit::open(db)?;
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let last: i64 =
        transaction.query_row("SELECT coalesce(max(number), 0) FROM events", [], |row| row.get(0))?;
    let count = |query: &str| {
        let count = transaction.query_row(query, [], |row| row.get::<_, i64>(0))?;
        Ok::<_, rusqlite::Error>(u64::try_from(count).unwrap_or(0))
    };
    let restored = Restored {
        minions: count("SELECT count(*) FROM minions")?,
        jobs: count("SELECT count(*) FROM jobs")?,
        open: count("SELECT count(*) FROM jobs WHERE ended IS NULL")?,
    };
    let event = Event {
        number: u64::try_from(last).unwrap_or(0) + NUMBERS_LEFT_OUT,
        tag: "master/restored".into(),
        source: Source::Master,
        at: now,
        data: serde_json::json!({ "taken_ms": taken.0 }),
        hops: 0,
        cause: Vec::new(),
    };
    let line = Audit {
        at: now,
        caller: Caller::new("labmaster", "restore", ""),
        what: format!("restore the backup that was taken at {} ms", taken.0),
        result: "accepted".into(),
    };
    let notice = notice.map(Entry::Audit);
    for entry in notice.into_iter().chain([Entry::Event(event), Entry::Audit(line)]) {
        entries::write(&transaction, &super::Row::Entry(Box::new(entry)), &mut chain)?;
    }
    audit::record_end(&transaction, &chain)?;
    transaction.commit()?;
    Ok(restored)
}
