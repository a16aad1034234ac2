//! `SQLite`: journal, jobs, results, roster, audit, retained topics; one writer, group commit.

mod audit;
mod ballast;
mod copy;
mod entries;
mod format;
mod gc;
mod query;
mod writer;

use crate::core::Entry;
use bus::pulse::{Beat, Pulse};
use model::{JobId, MinionId, Timestamp, broken};
use rusqlite::{Connection, OpenFlags};
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::{oneshot, watch};

pub use audit::AuditLine;
pub use copy::{Restored, adopt};
pub use format::SCHEMA;
pub use gc::{GcReport, Keep};
pub use writer::LAZY;

/// Batches that may wait for the writer.
const QUEUE_MAX: usize = 8192;
/// Of these, lazy writes: while the disk is full they must not take the place of what is promised.
const LATERS_MAX: usize = 1024;
/// Connections that read at the same time and are kept open.
const READERS_MAX: usize = 4;
/// Pages of 4 KiB that each connection may cache, as a negative number of KiB.
const CACHE_KIB: i32 = -512;

/// What goes into one transaction.
#[derive(Clone, Debug)]
pub enum Row {
    /// A record of the core.
    Entry(Box<Entry>),
    /// Ciphertext of a recipe; its [`Entry::Recipe`] is in the same batch.
    Sealed {
        /// Which job.
        job: JobId,
        /// For whom.
        minion: MinionId,
        /// Sealed to that minion.
        bytes: Arc<[u8]>,
    },
    /// A retained topic; no payload removes it.
    Retained {
        /// Whole topic.
        topic: String,
        /// Its payload.
        payload: Option<String>,
    },
}

/// How the store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Everything goes in.
    Well,
    /// The disk is full: what was promised still gets in, new jobs should be refused.
    Full(String),
    /// What is on disk cannot be believed any more: the process must end.
    Failed(String),
}

/// Limits of a store.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// The database file.
    pub path: PathBuf,
    /// Bytes set aside on disk for results that were promised before it was full.
    pub ballast_bytes: u64,
}

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be made or opened.
    #[error("cannot open the store `{path}`")]
    Open {
        /// Which.
        path: PathBuf,
        /// The system's word.
        #[source]
        source: std::io::Error,
    },
    /// A statement failed.
    #[error("cannot {action} in the store `{path}`")]
    Sql {
        /// An infinitive.
        action: &'static str,
        /// Which.
        path: PathBuf,
        /// `SQLite`'s word.
        #[source]
        source: rusqlite::Error,
    },
    /// Another program's database.
    #[error("`{path}` is an SQLite database, but not a store of labmaster: move it away")]
    Foreign {
        /// Which.
        path: PathBuf,
    },
    /// Written by a release with other tables.
    #[error(
        "the store `{path}` has format {found}, and this labmaster knows formats up to {SCHEMA}: run the release that \
         wrote it, or put back the copy that it made before its upgrade (`store.db.before-{found}`)"
    )]
    Schema {
        /// Which.
        path: PathBuf,
        /// Its version.
        found: i32,
    },
    /// `SQLite` finds it broken.
    #[error("the store `{path}` is damaged ({says}): take another backup")]
    Broken {
        /// Which.
        path: PathBuf,
        /// `SQLite`'s word.
        says: String,
    },
    /// A row is no longer what we wrote.
    #[error(
        "the store `{path}` has a damaged row in {table}: restore a backup, or move the file away to start anew"
    )]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Where.
        table: &'static str,
        /// What serde said.
        #[source]
        source: serde_json::Error,
    },
}

/// The store: batches go in, answers come out. Dropping it writes what is still lazy, then ends the writer.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    queue: Option<SyncSender<writer::Command>>,
    committed: watch::Receiver<u64>,
    health: watch::Receiver<Health>,
    stopping: Arc<std::sync::atomic::AtomicBool>,
    writer: Option<JoinHandle<()>>,
    /// Shared with each lazy write that waits in the queue.
    laters: Arc<()>,
    submitted: u64,
    reader: Reader,
}

impl Store {
    /// Opens, or makes the file (mode 0600) and its tables, and starts the writer.
    pub fn open(config: &StoreConfig) -> Result<Self, StoreError> {
        Self::open_watched(config, Pulse::default().beat("turn-store"))
    }
    /// The same; the writer's loop stamps a beat.
    pub fn open_watched(config: &StoreConfig, beat: Beat) -> Result<Self, StoreError> {
        let path = config.path.clone();
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        file.map_err(|source| StoreError::Open { path: path.clone(), source })?;
        let db = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        format::prepare(&db, &path)?;
        let (queue, receiver) = sync_channel(QUEUE_MAX);
        let (committed_in, committed) = watch::channel(0);
        let (health_in, health) = watch::channel(Health::Well);
        let stopping = Arc::default();
        let writer = writer::Writer::new(db, config, committed_in, health_in, (Arc::clone(&stopping), beat))
            .map_err(sql("read the audit chain", &path))?;
        let thread = std::thread::Builder::new().name("store".into()).stack_size(512 * 1024);
        let writer = thread
            .spawn(move || writer.run(&receiver))
            .map_err(|source| StoreError::Open { path: path.clone(), source })?;
        let reader = Reader { path: path.clone(), idle: Arc::default() };
        let queue = Some(queue);
        let (writer, laters, submitted) = (Some(writer), Arc::default(), 0);
        Ok(Self { path, queue, committed, health, stopping, writer, laters, submitted, reader })
    }
    /// Everything that the core wakes up with: keys and minions first, then jobs.
    pub fn load(&self) -> Result<Vec<Entry>, StoreError> {
        self.reader.load()
    }
    /// All retained topics.
    pub fn retained(&self) -> Result<Vec<(String, String)>, StoreError> {
        self.reader.with(entries::retained).map_err(sql("read retained topics", &self.path))
    }
    /// Queues one transaction and gives its number: it is on disk when [`Store::committed`] reaches that.
    /// Returns `None` if the writer has ended or far too much waits.
    pub fn commit(&mut self, rows: Vec<Row>) -> Option<u64> {
        self.submitted += 1;
        self.send(writer::Command::Batch { number: self.submitted, rows }).then_some(self.submitted)
    }
    /// Keeps rows for the next lazy write; the newest of a key wins. False if too many wait, or the writer has ended.
    pub fn later(&self, rows: Vec<Row>) -> bool {
        Arc::strong_count(&self.laters) <= LATERS_MAX
            && self.send(writer::Command::Later(rows, Arc::clone(&self.laters)))
    }
    /// Deletes what is older than the limits, in small steps between commits.
    pub fn gc(&self, keep: Keep, now: Timestamp) -> oneshot::Receiver<GcReport> {
        let (done, receiver) = oneshot::channel();
        self.send(writer::Command::Gc { keep, now, done });
        receiver
    }
    /// Number of the last transaction on disk.
    pub fn committed(&self) -> watch::Receiver<u64> {
        self.committed.clone()
    }
    /// Number of the last transaction that was queued.
    pub fn submitted(&self) -> u64 {
        self.submitted
    }
    /// How it is.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.clone()
    }
    /// For reading, from any thread.
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }
    /// Writes what is lazy and ends the writer; blocks until that is done.
    pub fn close(&mut self) {
        self.stopping.store(true, std::sync::atomic::Ordering::Relaxed);
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
    fn send(&self, command: writer::Command) -> bool {
        let Some(queue) = &self.queue else { return false };
        match queue.try_send(command) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

/// Reads from the store beside the writer. Cheap to clone; blocks the calling thread.
#[derive(Clone, Debug)]
pub struct Reader {
    path: PathBuf,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Reader {
    /// Bytes of the database and its write-ahead log.
    pub fn bytes(&self) -> u64 {
        let size = |suffix: &str| {
            let mut name = self.path.clone().into_os_string();
            name.push(suffix);
            std::fs::metadata(name).map_or(0, |it| it.len())
        };
        size("") + size("-wal")
    }
    fn with<R>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<R>) -> rusqlite::Result<R> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let db = match idle {
            Some(db) => db,
            None => open_reader(&self.path)?,
        };
        let result = read(&db);
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < READERS_MAX {
            idle.push(db);
        }
        result
    }
}

fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.pragma_update(None, "query_only", true)?;
    db.pragma_update(None, "cache_size", CACHE_KIB)?;
    db.busy_timeout(std::time::Duration::from_secs(5))?;
    Ok(db)
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    let db = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX);
    let db = db.map_err(sql("open", path))?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(db)
}

fn tune(db: &Connection) -> rusqlite::Result<()> {
    db.pragma_update(None, "journal_mode", "WAL")?;
    let synchronous = if broken::leaves_out("sync-store") { "OFF" } else { "FULL" };
    db.pragma_update(None, "synchronous", synchronous)?;
    db.pragma_update(None, "cache_size", 2 * CACHE_KIB)?;
    db.pragma_update(None, "wal_autocheckpoint", 1000)?;
    db.pragma_update(None, "journal_size_limit", 8 * 1024 * 1024)?;
    db.busy_timeout(std::time::Duration::from_secs(10))
}

fn sql(action: &'static str, path: &Path) -> impl FnOnce(rusqlite::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Sql { action, path, source }
}

#[cfg(test)]
mod tests;
