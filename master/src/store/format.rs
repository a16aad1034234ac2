//! The tables, and the way from those of an older release to ours: a copy first, then one transaction.

use super::{StoreError, copy, sql, tune};
use rusqlite::Connection;
use std::path::{Path, PathBuf};

/// Marks the file as ours ("labm").
const APPLICATION: i32 = 0x6c61_626d;
/// From format N, counted from 1, to the next one. A new store goes the same way as an old one.
const STEPS: [&str; 2] = [
    // `@last` of somebody who has no job yet looked at all of them.
    "CREATE INDEX jobs_caller ON jobs(caller, n);",
    // What parts of the core are at: firings of rules, calls to other services, schedules, long runs.
    "CREATE TABLE kept(part TEXT NOT NULL, key TEXT NOT NULL, data TEXT NOT NULL, PRIMARY KEY(part, key)) WITHOUT ROWID;",
];
/// Version of the tables. An older store is upgraded, a newer one refused.
pub const SCHEMA: i32 = 3;
const _: () = assert!(STEPS.len() + 1 == 3, "the last step leads to our format");

/// Format 1.
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

/// Makes the tables of an empty file, upgrades older ones, refuses what is not ours.
pub(super) fn prepare(db: &Connection, path: &Path) -> Result<(), StoreError> {
    let schema = check(db, path)?;
    if schema == 0 {
        return create(db).map_err(sql("make the tables", path));
    }
    if schema < SCHEMA {
        let copy = before(path);
        copy::copy(db, &copy)?;
        tracing::info!(from = schema, to = SCHEMA, copy = %copy.display(), "the store of an older release is upgraded");
        upgrade(db, schema).map_err(sql("upgrade the tables", path))?;
    }
    tune(db).map_err(sql("set the write-ahead log", path))
}

/// The format of a store that can be used; 0 of an empty file.
pub(super) fn check(db: &Connection, path: &Path) -> Result<i32, StoreError> {
    let pragma = |name: &str| db.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let schema = pragma("user_version").map_err(sql("read the format", path))?;
    let application = pragma("application_id").map_err(sql("read the format", path))?;
    let tables = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i32>(0));
    if schema == 0 && application == 0 && tables.map_err(sql("read the format", path))? == 0 {
        return Ok(0);
    }
    if application != APPLICATION {
        return Err(StoreError::Foreign { path: path.to_owned() });
    }
    if !(1..=SCHEMA).contains(&schema) {
        return Err(StoreError::Schema { path: path.to_owned(), found: schema });
    }
    Ok(schema)
}

/// Where the store lies as it was before it was upgraded to our format.
fn before(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".before-{SCHEMA}"));
    name.into()
}

fn create(db: &Connection) -> rusqlite::Result<()> {
    db.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    tune(db)?;
    db.execute_batch(&format!(
        "BEGIN IMMEDIATE; {TABLES} {} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {SCHEMA}; COMMIT;",
        STEPS.concat()
    ))
}

/// All or nothing: a master that dies on the way finds the old format again.
fn upgrade(db: &Connection, from: i32) -> rusqlite::Result<()> {
    let done = usize::try_from(from - 1).unwrap_or(0);
    let steps = STEPS.get(done..).unwrap_or_default().concat();
    let all = db.execute_batch(&format!("BEGIN IMMEDIATE; {steps} PRAGMA user_version = {SCHEMA}; COMMIT;"));
    if all.is_err() {
        // What failed is told, not that there may be nothing to take back.
        let _ = db.execute_batch("ROLLBACK");
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Entry;
    use crate::store::{Store, StoreConfig};
    use rusqlite::OpenFlags;

    /// A store that release 0.1.0 wrote in format 1: one minion, one job that ended, one that is open.
    const RECORDED: &str = include_str!("format-1.sql");

    fn recorded(folder: &Path) -> PathBuf {
        let path = folder.join("store.db");
        let db = Connection::open(&path).unwrap();
        db.execute_batch(RECORDED).unwrap();
        path
    }

    fn open(path: &Path) -> Result<Store, StoreError> {
        Store::open(&StoreConfig { path: path.to_owned(), ballast_bytes: 4096 })
    }

    fn shape(path: &Path) -> Vec<(String, String)> {
        let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let mut rows = db
            .prepare("SELECT name, coalesce(sql, '') FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY name")
            .unwrap();
        let shape = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        shape.map(Result::unwrap).collect()
    }

    fn version(path: &Path) -> i32 {
        let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        db.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_store_of_format_1_is_copied_upgraded_and_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = recorded(folder.path());
        let store = open(&path).unwrap();
        let entries = store.load().unwrap();
        let count = |wanted: fn(&Entry) -> bool| entries.iter().filter(|it| wanted(it)).count();
        assert_eq!(count(|it| matches!(it, Entry::Minion(_))), 1, "{entries:?}");
        assert_eq!(count(|it| matches!(it, Entry::Key(_))), 1);
        assert_eq!(count(|it| matches!(it, Entry::Job(it) if it.ended.is_some())), 1);
        assert_eq!(count(|it| matches!(it, Entry::Job(it) if it.ended.is_none())), 1);
        drop(store);
        assert_eq!(version(&path), SCHEMA);
        let copy = before(&path);
        assert_eq!(version(&copy), 1, "as it was");
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&copy).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        let new = tempfile::tempdir().unwrap();
        drop(open(&new.path().join("store.db")).unwrap());
        assert_eq!(shape(&path), shape(&new.path().join("store.db")), "old and new stores are the same");
        std::fs::remove_file(&copy).unwrap();
        drop(open(&path).unwrap());
        assert!(!copy.exists(), "the second time nothing is to be done");
    }

    #[test]
    fn an_upgrade_that_fails_leaves_the_old_format() {
        let folder = tempfile::tempdir().unwrap();
        let path = recorded(folder.path());
        let db = Connection::open(&path).unwrap();
        db.execute_batch("CREATE INDEX jobs_caller ON jobs(at)").unwrap();
        drop(db);
        let told = open(&path).unwrap_err();
        assert!(matches!(told, StoreError::Sql { action: "upgrade the tables", .. }), "{told}");
        assert_eq!(version(&path), 1);
    }

    #[test]
    fn a_store_of_a_later_release_is_refused_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        drop(open(&path).unwrap());
        let db = Connection::open(&path).unwrap();
        db.pragma_update(None, "user_version", SCHEMA + 1).unwrap();
        drop(db);
        let told = open(&path).unwrap_err().to_string();
        let file = format!("store.db.before-{}", SCHEMA + 1);
        assert!(told.contains("run the release that wrote it") && told.contains(&file), "{told}");
    }
}
