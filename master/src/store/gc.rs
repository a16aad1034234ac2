//! Retention by age and size, in steps short enough to fit between commits.

use super::audit::{self, Chain};
use super::entries::time;
use model::Timestamp;
use rusqlite::{Connection, params};
use tokio::sync::oneshot;

/// Jobs deleted in one step.
const JOBS_STEP: u32 = 64;
/// Events and decisions deleted in one step.
const ROWS_STEP: u32 = 1000;
/// Free pages given back in one step.
const PAGES_STEP: u32 = 1000;
/// Steps of one run: enough for a store of some gigabytes.
const STEPS_MAX: u32 = 20_000;
/// The audit log is kept at least so long, in milliseconds.
const AUDIT_MS: u64 = bus::chain::KEPT_MS;

/// A time before this (2026-01-01) is of a clock that was not set, and says nothing about age: such rows are as old as
/// what was stored right after them.
const PLAUSIBLE: Timestamp = Timestamp(1_767_225_600_000);

/// Later than anything in the store, whenever it was stored.
const FOREVER: (Timestamp, Timestamp) = (Timestamp(i64::MAX as u64), Timestamp(0));

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Age at which ended jobs, events and decisions are deleted, in milliseconds.
    pub age_ms: u64,
    /// Bytes above which the oldest events and decisions, and then ended jobs, are deleted before their age.
    pub bytes: u64,
}

/// What was deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Jobs with their targets and reports.
    pub jobs: u64,
    /// Events and decisions.
    pub events: u64,
    /// Lines of the audit log.
    pub audit: u64,
    /// Bytes of the store afterwards.
    pub bytes: u64,
}

/// One run.
#[derive(Debug)]
pub(super) struct Gc {
    keep: Keep,
    now: Timestamp,
    report: GcReport,
    steps: u32,
    done: Option<oneshot::Sender<GcReport>>,
}

impl Gc {
    /// A run that has not begun.
    pub(super) fn new(keep: Keep, now: Timestamp, done: oneshot::Sender<GcReport>) -> Self {
        Self { keep, now, report: GcReport::default(), steps: 0, done: Some(done) }
    }
    /// Does a little; true when nothing is left to do.
    pub(super) fn step(&mut self, db: &mut Connection, chain: &mut Chain) -> rusqlite::Result<bool> {
        self.steps += 1;
        let before = Timestamp(self.now.0.saturating_sub(self.keep.age_ms));
        let year = Timestamp(self.now.0.saturating_sub(self.keep.age_ms.max(AUDIT_MS)));
        // What was stored while the clock was not set is judged by it only as long as it is not.
        let set = if self.now < PLAUSIBLE { Timestamp(0) } else { PLAUSIBLE };
        let transaction = db.transaction()?;
        let mut jobs = delete_jobs(&transaction, &older("jobs", "ended", "n"), (before, set))?;
        let mut events = delete_events(&transaction, (before, set))?;
        if jobs + events == 0 && used_bytes(&transaction)? > self.keep.bytes {
            (jobs, events) = delete_oldest(&transaction, self.keep.bytes)?;
        }
        let mut end = *chain;
        let lines = audit::remove_old(&transaction, (year, set), self.now, &mut end)?;
        transaction.commit()?;
        *chain = end;
        self.report.jobs += jobs;
        self.report.events += events;
        self.report.audit += lines;
        if jobs + events + lines > 0 && self.steps < STEPS_MAX {
            return Ok(false);
        }
        let free: u32 = db.pragma_query_value(None, "freelist_count", |row| row.get(0))?;
        if free > PAGES_STEP / 4 && self.steps < STEPS_MAX {
            db.execute_batch(&format!("PRAGMA incremental_vacuum({PAGES_STEP})"))?;
            return Ok(false);
        }
        self.report.bytes = used_bytes(db)?;
        Ok(true)
    }
    /// Tells who asked.
    pub(super) fn finish(mut self) {
        if let Some(done) = self.done.take() {
            let _ = done.send(self.report.clone());
        }
    }
}

/// Makes the store smaller: events and decisions have at most half of it, and the rest is for jobs.
fn delete_oldest(db: &Connection, bytes: u64) -> rusqlite::Result<(u64, u64)> {
    let talk = estimated_bytes(db, "events", "number")? + estimated_bytes(db, "decisions", "event")?;
    if talk >= bytes / 2 {
        let events = delete_events(db, FOREVER)?;
        let jobs = if events == 0 { delete_jobs(db, "?1 >= ?2", FOREVER)? } else { 0 };
        return Ok((jobs, events));
    }
    let jobs = delete_jobs(db, "?1 >= ?2", FOREVER)?;
    let events = if jobs == 0 { delete_events(db, FOREVER)? } else { 0 };
    Ok((jobs, events))
}

/// From the oldest rows and how far the numbers go: to read all would hold up the commits.
fn estimated_bytes(db: &Connection, table: &str, number: &str) -> rusqlite::Result<u64> {
    let sql = format!(
        "SELECT CAST(coalesce(sum(length(data)) * ((SELECT max({number}) FROM {table}) - min({number}) + 1)
           / (max({number}) - min({number}) + 1), 0) AS INTEGER)
         FROM (SELECT {number}, data FROM {table} ORDER BY {number} LIMIT {ROWS_STEP})"
    );
    let bytes: i64 = db.query_row(&sql, [], |row| row.get(0))?;
    Ok(u64::try_from(bytes).unwrap_or(0))
}

fn delete_jobs(db: &Connection, which: &str, (before, set): (Timestamp, Timestamp)) -> rusqlite::Result<u64> {
    let list = format!("SELECT n FROM jobs WHERE {which} AND ended IS NOT NULL ORDER BY n LIMIT {JOBS_STEP}");
    let jobs: Vec<i64> = db
        .prepare(&list)?
        .query_map([time(before), time(set)], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for job in &jobs {
        for sql in [
            "DELETE FROM reports WHERE job = ?1",
            "DELETE FROM recipes WHERE job = ?1",
            "DELETE FROM targets WHERE job = ?1",
            "DELETE FROM jobs WHERE n = ?1",
        ] {
            db.prepare_cached(sql)?.execute([job])?;
        }
    }
    Ok(jobs.len() as u64)
}

/// Rows of a time before `?1`. Those of a time before `?2` only if an old one was stored after them.
fn older(table: &str, at: &str, number: &str) -> String {
    format!(
        "({at} < ?1 AND ({at} >= ?2 OR {number} < (SELECT {number} FROM {table} WHERE {at} >= ?2 AND {at} < ?1
           ORDER BY {number} DESC LIMIT 1)))"
    )
}

/// The newest event stays: its number is the reactor's cursor.
fn delete_events(db: &Connection, (before, set): (Timestamp, Timestamp)) -> rusqlite::Result<u64> {
    let times = params![time(before), time(set)];
    let which = older("events", "at", "number");
    let events = db.execute(
        &format!(
            "DELETE FROM events WHERE number IN (SELECT number FROM events WHERE {which}
               AND number < (SELECT max(number) FROM events) ORDER BY at LIMIT {ROWS_STEP})"
        ),
        times,
    )?;
    let which = older("decisions", "at", "event");
    let decisions = db.execute(
        &format!(
            "DELETE FROM decisions WHERE event IN (SELECT event FROM decisions WHERE {which} ORDER BY event LIMIT {ROWS_STEP})"
        ),
        times,
    )?;
    Ok((events + decisions) as u64)
}

fn used_bytes(db: &Connection) -> rusqlite::Result<u64> {
    let pragma = |name: &str| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let bytes = (pragma("page_count")? - pragma("freelist_count")?) * pragma("page_size")?;
    Ok(u64::try_from(bytes).unwrap_or(0))
}
