//! The audit log in the store: lines that hang on each other, a record of where they end, and the walk over all.

use super::entries::{number, time};
use bus::chain::{self, Walk};
use model::{Audit, AuditCheck, AuditFilter, AuditLine as Shown, ContentHash, Timestamp, broken};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

/// Lines of one answer.
const LINES_MAX: u32 = 10_000;
/// Lines looked at for one answer.
const SCAN_MAX: usize = 200_000;
/// Lines read at once by a walk; between two pieces the store goes on.
const PIECE: u32 = 2_000;
/// How often a walk begins anew because old lines were removed under it.
const AGAIN_MAX: u32 = 5;
/// Old lines removed in one step.
const REMOVED_STEP: u32 = 1_000;

const COLUMNS: &str = "n, at, data, before, hash";

/// The end of the log: number and hash of its newest line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    line: u64,
    hash: ContentHash,
}

/// A line of the audit log as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditLine {
    /// The [`Audit`] as JSON.
    pub text: String,
    /// Hash of the line before it; zeros for the first.
    pub before: [u8; 32],
    /// Its own.
    pub hash: [u8; 32],
}

impl AuditLine {
    /// The line that follows the one with hash `chain`, which becomes the hash of this one.
    pub fn append(it: &Audit, chain: &mut [u8; 32]) -> Self {
        let text = serde_json::to_string(it).expect("texts and numbers are JSON");
        let before = *chain;
        let hash = chain::link(&ContentHash(before), &text).0;
        if !broken::leaves_out("chain-the-audit-log") {
            *chain = hash;
        }
        Self { text, before, hash }
    }

    /// Whether it follows the line with hash `before`, and is what was written.
    pub fn follows(&self, before: &[u8; 32]) -> bool {
        self.before == *before && self.hash == chain::link(&ContentHash(*before), &self.text).0
    }
}

/// Appends a line.
pub(super) fn append(db: &Transaction<'_>, audit: &Audit, chain: &mut Chain) -> rusqlite::Result<()> {
    let AuditLine { text, before, hash } = AuditLine::append(audit, &mut chain.hash.0);
    chain.line += 1;
    let sql = "INSERT INTO audit(n, at, data, before, hash) VALUES(?1, ?2, ?3, ?4, ?5)";
    let values = params![number(chain.line), time(audit.at), text, &before[..], &hash[..]];
    db.prepare_cached(sql)?.execute(values).map(drop)
}

/// Puts on record, beside the log, where it ends: a line that is taken away at the end is missed.
pub(super) fn record_end(db: &Transaction<'_>, chain: &Chain) -> rusqlite::Result<()> {
    let mut put = db.prepare_cached("INSERT OR REPLACE INTO meta VALUES(?1, ?2)")?;
    put.execute(params!["audit line", number(chain.line)])?;
    put.execute(params!["audit hash", chain::brief(&chain.hash)]).map(drop)
}

fn recorded_end(db: &Connection) -> rusqlite::Result<Option<(u64, i64)>> {
    let mut get = db.prepare_cached("SELECT value FROM meta WHERE name = ?1")?;
    let line: Option<i64> = get.query_row(["audit line"], |row| row.get(0)).optional()?;
    let hash: Option<i64> = get.query_row(["audit hash"], |row| row.get(0)).optional()?;
    Ok(line.map(unsigned).zip(hash))
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// Where the log ends, and what is to be said about that in the log itself before anything else.
pub(super) fn open(db: &Connection) -> rusqlite::Result<(Chain, Option<Audit>)> {
    let sql = "SELECT n, at, hash FROM audit ORDER BY n DESC LIMIT 1";
    let newest = db.query_row(sql, [], |row| {
        let (line, at): (i64, i64) = (row.get(0)?, row.get(1)?);
        Ok((unsigned(line), Timestamp(unsigned(at)), hash_of(row, 2)))
    });
    let (line, at, hash) = newest.optional()?.unwrap_or((0, Timestamp(0), ContentHash([0; 32])));
    let notice = match recorded_end(db)? {
        None if line == 0 => None,
        None => Some(chain::beginning(at, first(db)?)),
        Some((known, brief)) if known == line && brief == chain::brief(&hash) => None,
        Some((0, _)) if line == 0 => None,
        Some((known, _)) => Some(chain::tear(at, known, line)),
    };
    Ok((Chain { line, hash }, notice))
}

/// Number and time of the oldest line, and the hash before it.
fn first(db: &Connection) -> rusqlite::Result<Option<(u64, Timestamp, ContentHash)>> {
    let sql = "SELECT n, at, before FROM audit ORDER BY n LIMIT 1";
    let oldest = db.query_row(sql, [], |row| {
        let (line, at): (i64, i64) = (row.get(0)?, row.get(1)?);
        Ok((unsigned(line), Timestamp(unsigned(at)), hash_of(row, 2)))
    });
    oldest.optional()
}

/// Removes lines from before a time, a step of them, and says so in the log: how many went. A time before `set` is of a
/// clock that was not set: such a line is as old as the one after it.
pub(super) fn remove_old(
    db: &Transaction<'_>,
    (before, set): (Timestamp, Timestamp),
    now: Timestamp,
    chain: &mut Chain,
) -> rusqlite::Result<u64> {
    let mut oldest = db.prepare_cached("SELECT n, at, hash FROM audit ORDER BY n LIMIT ?1")?;
    let mut rows = oldest.query([REMOVED_STEP])?;
    let mut last: Option<(u64, ContentHash)> = None;
    while let Some(row) = rows.next()? {
        let at: i64 = row.get(1)?;
        if at >= time(before) {
            break;
        }
        if at < time(set) {
            continue;
        }
        last = Some((unsigned(row.get(0)?), hash_of(row, 2)));
    }
    drop(rows);
    let Some((upto, hash)) = last else { return Ok(0) };
    let gone = db.prepare_cached("DELETE FROM audit WHERE n <= ?1")?.execute([number(upto)])?;
    append(db, &chain::removal(now, upto, &hash), chain)?;
    record_end(db, chain)?;
    Ok(gone as u64)
}

/// Lines for people: the newest, or those after a number; oldest first.
pub(super) fn lines(db: &Connection, filter: &AuditFilter) -> rusqlite::Result<Vec<Shown>> {
    let wanted = if filter.limit == 0 { 100 } else { filter.limit.min(LINES_MAX) } as usize;
    let order = if filter.after.is_some() { "ASC" } else { "DESC" };
    let sql = format!("SELECT {COLUMNS} FROM audit WHERE n > ?1 AND at >= ?2 ORDER BY n {order}");
    let mut statement = db.prepare_cached(&sql)?;
    let after = filter.after.map_or(i64::MIN, number);
    let mut rows = statement.query(params![after, filter.since.map_or(i64::MIN, time)])?;
    let mut found = Vec::new();
    let mut looked = 0;
    while let Some(row) = rows.next()? {
        looked += 1;
        let line = line_of(row)?;
        let caller =
            || serde_json::from_str::<Audit>(&line.text).map(|it| it.caller.name).unwrap_or_default();
        if filter.user.as_ref().is_none_or(|it| *it == caller()) {
            found.push(line);
        }
        if found.len() >= wanted || looked >= SCAN_MAX {
            break;
        }
    }
    if filter.after.is_none() {
        found.reverse();
    }
    Ok(found)
}

/// Walks over the whole log, a piece at a time.
pub(super) fn verify(db: &Connection) -> rusqlite::Result<AuditCheck> {
    let mut tries = 0;
    loop {
        let check = walk(db)?;
        tries += 1;
        let begins = db.query_row("SELECT min(n) FROM audit", [], |row| row.get::<_, Option<i64>>(0))?;
        let moved = check.first.map(|it| it.0) != begins.map(unsigned);
        if check.broken.is_none() || !moved || tries >= AGAIN_MAX {
            return Ok(check);
        }
    }
}

fn walk(db: &Connection) -> rusqlite::Result<AuditCheck> {
    let mut walk = Walk::default();
    let mut after = i64::MIN;
    loop {
        // The last piece and the record of the end are of one moment.
        let moment = db.unchecked_transaction()?;
        let sql = format!("SELECT {COLUMNS} FROM audit WHERE n > ?1 ORDER BY n LIMIT {PIECE}");
        let mut statement = moment.prepare_cached(&sql)?;
        let mut rows = statement.query([after])?;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            (count, after) = (count + 1, row.get(0)?);
            let good = match line_of(row) {
                Ok(line) => walk.step(&line),
                Err(_) => walk.step(&unreadable(after)),
            };
            if !good {
                return Ok(walk.finish(None));
            }
        }
        drop(rows);
        if count < PIECE {
            let end = recorded_end(&moment)?;
            return Ok(walk.finish(end));
        }
    }
}

/// Stands for a row whose columns hold what we never write.
fn unreadable(line: i64) -> Shown {
    let (before, hash) = (ContentHash([0; 32]), ContentHash([0; 32]));
    Shown { number: unsigned(line), at: Timestamp(0), before, hash, text: String::new() }
}

fn line_of(row: &Row<'_>) -> rusqlite::Result<Shown> {
    Ok(Shown {
        number: unsigned(row.get(0)?),
        at: Timestamp(unsigned(row.get(1)?)),
        text: row.get(2)?,
        before: hash_of(row, 3),
        hash: hash_of(row, 4),
    })
}

/// What is no hash any more is one that nothing has.
fn hash_of(row: &Row<'_>, column: usize) -> ContentHash {
    ContentHash(row.get::<_, [u8; 32]>(column).unwrap_or([0xff; 32]))
}
