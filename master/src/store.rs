//! `SQLite`: journal, jobs, results, roster, audit, retained topics; one writer, group commit.

mod ballast;
mod entries;
mod gc;
mod query;
mod writer;

use crate::core::Entry;
use model::{JobId, MinionId, Timestamp};
use rusqlite::{Connection, OpenFlags};
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::{oneshot, watch};

pub use gc::{GcReport, Keep};

/// Version of the tables; a store of another one is refused.
const SCHEMA: i32 = 1;
/// Marks the file as ours ("labm").
const APPLICATION: i32 = 0x6c61_626d;
/// Batches that may wait for the writer.
const QUEUE_MAX: usize = 8192;
/// Of these, lazy writes: while the disk is full they must not take the place of what is promised.
const LATERS_MAX: usize = 1024;
/// Connections that read at the same time and are kept open.
const READERS_MAX: usize = 4;
/// Pages of 4 KiB that each connection may cache, as a negative number of KiB.
const CACHE_KIB: i32 = -512;

const TABLES: &str = "
CREATE TABLE keys(fingerprint TEXT PRIMARY KEY, data TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE minions(id TEXT PRIMARY KEY, data TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE tokens(name TEXT PRIMARY KEY, data TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE observers(name TEXT PRIMARY KEY, data TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE operators(name TEXT PRIMARY KEY, data TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE jobs(n INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, at INTEGER NOT NULL, ended INTEGER,
  caller TEXT NOT NULL, data TEXT NOT NULL);
CREATE INDEX jobs_open ON jobs(ended) WHERE ended IS NULL;
CREATE INDEX jobs_at ON jobs(at);
CREATE TABLE targets(job INTEGER NOT NULL, minion TEXT NOT NULL, word TEXT NOT NULL, data TEXT NOT NULL,
  PRIMARY KEY(job, minion)) WITHOUT ROWID;
CREATE INDEX targets_minion ON targets(minion, job);
CREATE TABLE reports(job INTEGER NOT NULL, minion TEXT NOT NULL, packed INTEGER NOT NULL, data BLOB NOT NULL,
  PRIMARY KEY(job, minion));
CREATE TABLE recipes(job INTEGER NOT NULL, minion TEXT NOT NULL, place TEXT, sealed BLOB,
  PRIMARY KEY(job, minion));
CREATE TABLE events(number INTEGER PRIMARY KEY, tag TEXT NOT NULL, at INTEGER NOT NULL, data TEXT NOT NULL);
CREATE INDEX events_at ON events(at);
CREATE TABLE decisions(event INTEGER PRIMARY KEY, at INTEGER NOT NULL, data TEXT NOT NULL);
CREATE TABLE events_taken(minion TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE audit(n INTEGER PRIMARY KEY, at INTEGER NOT NULL, data TEXT NOT NULL, before BLOB NOT NULL,
  hash BLOB NOT NULL);
CREATE TABLE retained(topic TEXT PRIMARY KEY, payload TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
";

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
        "the store `{path}` has format {found}, this labmaster knows format {SCHEMA}: run the release that wrote it"
    )]
    Schema {
        /// Which.
        path: PathBuf,
        /// Its version.
        found: i32,
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
        let path = config.path.clone();
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        file.map_err(|source| StoreError::Open { path: path.clone(), source })?;
        let db = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        prepare(&db, &path)?;
        let (queue, receiver) = sync_channel(QUEUE_MAX);
        let (committed_in, committed) = watch::channel(0);
        let (health_in, health) = watch::channel(Health::Well);
        let stopping = Arc::default();
        let writer = writer::Writer::new(db, config, committed_in, health_in, Arc::clone(&stopping))
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

fn prepare(db: &Connection, path: &Path) -> Result<(), StoreError> {
    let pragma = |name: &str| db.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let schema = pragma("user_version").map_err(sql("read the format", path))?;
    let application = pragma("application_id").map_err(sql("read the format", path))?;
    let tables = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i32>(0));
    if schema == 0 && application == 0 && tables.map_err(sql("read the format", path))? == 0 {
        return create(db).map_err(sql("make the tables", path));
    }
    if application != APPLICATION {
        return Err(StoreError::Foreign { path: path.to_owned() });
    }
    if schema != SCHEMA {
        return Err(StoreError::Schema { path: path.to_owned(), found: schema });
    }
    tune(db).map_err(sql("set the write-ahead log", path))
}

fn create(db: &Connection) -> rusqlite::Result<()> {
    db.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    tune(db)?;
    db.execute_batch(&format!(
        "BEGIN IMMEDIATE; {TABLES} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {SCHEMA}; COMMIT;"
    ))
}

fn tune(db: &Connection) -> rusqlite::Result<()> {
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
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
