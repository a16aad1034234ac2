//! Entries to rows and back.

use super::audit::{self, Chain};
use super::{Reader, Row, StoreError, sql};
use crate::core::{Entry, Part, SealedRef};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use model::{JobId, JobTarget, MinionId, RunReport, TargetState, Timestamp};
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde::{Serialize, de::DeserializeOwned};
use std::io::{Read, Write};
use std::path::Path;

/// Reports longer than this are packed.
const PLAIN_MAX: usize = 2 * 1024;
/// Bytes of one report's JSON that are read back.
const REPORT_MAX: u64 = 64 * 1024 * 1024;
/// Jobs that memory is given after a start, beside all that are open.
const JOBS_MAX: u32 = 100_000;
/// Ended jobs whose targets memory is given whole; of others, those that did not end well.
const RECENT_MAX: u32 = 64;

/// Puts a row into the open transaction.
pub(super) fn write(db: &Transaction<'_>, row: &Row, chain: &mut Chain) -> rusqlite::Result<()> {
    match row {
        Row::Entry(entry) => write_entry(db, entry, chain),
        Row::Sealed { job, minion, bytes } => {
            let sql = "INSERT INTO recipes(job, minion, sealed) SELECT n, ?2, ?3 FROM jobs WHERE id = ?1
                ON CONFLICT DO UPDATE SET sealed = excluded.sealed";
            run(db, sql, params![id(*job), minion.as_str(), &bytes[..]])
        }
        Row::Retained { topic, payload: Some(payload) } => {
            run(db, "INSERT OR REPLACE INTO retained VALUES(?1, ?2)", params![topic, payload])
        }
        Row::Retained { topic, payload: None } => {
            run(db, "DELETE FROM retained WHERE topic = ?1", params![topic])
        }
    }
}

fn write_entry(db: &Transaction<'_>, entry: &Entry, chain: &mut Chain) -> rusqlite::Result<()> {
    match entry {
        Entry::Key(it) => put(db, "INSERT OR REPLACE INTO keys VALUES(?1, ?2)", it.fingerprint.as_str(), it),
        Entry::KeyGone(it) => run(db, "DELETE FROM keys WHERE fingerprint = ?1", params![it.as_str()]),
        Entry::Minion(it) => put(db, "INSERT OR REPLACE INTO minions VALUES(?1, ?2)", it.id.as_str(), it),
        Entry::MinionGone(it) => {
            run(db, "DELETE FROM events_taken WHERE minion = ?1", params![it.as_str()])?;
            run(db, "DELETE FROM minions WHERE id = ?1", params![it.as_str()])
        }
        Entry::Token(it) => put(db, "INSERT OR REPLACE INTO tokens VALUES(?1, ?2)", &it.terms.name, it),
        Entry::Observer(it) => put(db, "INSERT OR REPLACE INTO observers VALUES(?1, ?2)", &it.name, it),
        Entry::ObserverGone(it) => run(db, "DELETE FROM observers WHERE name = ?1", params![it]),
        Entry::Operator(it) => put(db, "INSERT OR REPLACE INTO operators VALUES(?1, ?2)", &it.name, it),
        Entry::OperatorGone(it) => run(db, "DELETE FROM operators WHERE name = ?1", params![it]),
        Entry::Job(it) => {
            let sql = "INSERT INTO jobs(id, at, ended, caller, data) VALUES(?1, ?2, ?3, ?4, ?5)
                ON CONFLICT(id) DO UPDATE SET ended = excluded.ended, data = excluded.data";
            let ended = it.ended.map(time);
            run(db, sql, params![id(it.id), time(it.at), ended, it.caller.name, json(it)])
        }
        Entry::Target(it) => write_target(db, it),
        Entry::Report(job, minion, report) => write_report(db, *job, minion, report),
        Entry::Recipe(job, minion, place) => {
            let sql = "INSERT INTO recipes(job, minion, place) SELECT n, ?2, ?3 FROM jobs WHERE id = ?1
                ON CONFLICT DO UPDATE SET place = excluded.place";
            run(db, sql, params![id(*job), minion.as_str(), json(place)])
        }
        Entry::Event(it) => {
            let sql = "INSERT OR REPLACE INTO events VALUES(?1, ?2, ?3, ?4)";
            run(db, sql, params![number(it.number), it.tag, time(it.at), json(it)])
        }
        Entry::Decision(it) => {
            let sql = "INSERT OR REPLACE INTO decisions VALUES(?1, ?2, ?3)";
            run(db, sql, params![number(it.event), time(it.at), json(it)])
        }
        Entry::EventsTaken(minion, upto) => {
            let sql = "INSERT OR REPLACE INTO events_taken VALUES(?1, ?2)";
            run(db, sql, params![minion.as_str(), number(*upto)])
        }
        Entry::Audit(it) => audit::append(db, it, chain),
        Entry::Kept { part, key, data: Some(data) } => {
            let sql = "INSERT OR REPLACE INTO kept VALUES(?1, ?2, ?3)";
            run(db, sql, params![part_word(*part), key, json(data)])
        }
        Entry::Kept { part, key, data: None } => {
            run(db, "DELETE FROM kept WHERE part = ?1 AND key = ?2", params![part_word(*part), key])
        }
        Entry::Clock(it) => run(db, "INSERT OR REPLACE INTO meta VALUES('clock', ?1)", params![time(*it)]),
    }
}

fn write_target(db: &Transaction<'_>, it: &JobTarget) -> rusqlite::Result<()> {
    let sql = "INSERT INTO targets(job, minion, word, data) SELECT n, ?2, ?3, ?4 FROM jobs WHERE id = ?1
        ON CONFLICT DO UPDATE SET word = excluded.word, data = excluded.data";
    run(db, sql, params![id(it.job), it.minion.as_str(), word(&it.state), json(it)])?;
    if matches!(it.state, TargetState::Ended { .. }) {
        let sql = "DELETE FROM recipes WHERE job = (SELECT n FROM jobs WHERE id = ?1) AND minion = ?2";
        run(db, sql, params![id(it.job), it.minion.as_str()])?;
    }
    Ok(())
}

/// What changed nothing and said nothing is kept as the tally in its target only.
fn write_report(
    db: &Transaction<'_>,
    job: JobId,
    minion: &MinionId,
    report: &RunReport,
) -> rusqlite::Result<()> {
    let tally = report.tally();
    let silent = report.steps.iter().all(|step| step.output.is_none());
    if silent && !report.cancelled && tally.changed + tally.would_change + tally.failed + tally.skipped == 0 {
        return Ok(());
    }
    let text = json(report);
    let packed = text.len() > PLAIN_MAX;
    let data = if packed { pack(&text) } else { text.into_bytes() };
    let sql = "INSERT OR REPLACE INTO reports(job, minion, packed, data) SELECT n, ?2, ?3, ?4 FROM jobs WHERE id = ?1";
    run(db, sql, params![id(job), minion.as_str(), packed, data])
}

/// All retained topics.
pub(super) fn retained(db: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    db.prepare("SELECT topic, payload FROM retained")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

/// A stored report, as it was.
pub(super) fn report(
    db: &Connection,
    job: JobId,
    minion: &MinionId,
) -> rusqlite::Result<Option<Box<RunReport>>> {
    let sql =
        "SELECT packed, data FROM reports WHERE job = (SELECT n FROM jobs WHERE id = ?1) AND minion = ?2";
    let found = db.query_row(sql, params![id(job), minion.as_str()], |row| {
        Ok((row.get::<_, bool>(0)?, row.get::<_, Vec<u8>>(1)?))
    });
    let Some((packed, data)) = found.optional()? else { return Ok(None) };
    let data = if packed { unpack(&data) } else { data };
    Ok(serde_json::from_slice(&data).ok())
}

/// The ciphertext of a recipe, if that target is still open.
pub(super) fn sealed(db: &Connection, job: JobId, minion: &MinionId) -> rusqlite::Result<Option<Vec<u8>>> {
    let sql = "SELECT sealed FROM recipes WHERE job = (SELECT n FROM jobs WHERE id = ?1) AND minion = ?2";
    let found = db.query_row(sql, params![id(job), minion.as_str()], |row| row.get::<_, Option<Vec<u8>>>(0));
    Ok(found.optional()?.flatten())
}

impl Reader {
    /// See [`super::Store::load`].
    pub(super) fn load(&self) -> Result<Vec<Entry>, StoreError> {
        let rows = self.with(load_rows).map_err(sql("read what is kept", &self.path))?;
        rows.iter().map(|row| parse(row, &self.path)).collect()
    }
}

struct Stored {
    table: &'static str,
    job: Option<JobId>,
    name: String,
    number: i64,
    text: String,
}

const SIMPLE: &[(&str, &str)] = &[
    ("keys", "SELECT NULL, '', 0, data FROM keys"),
    ("minions", "SELECT NULL, '', 0, data FROM minions"),
    ("tokens", "SELECT NULL, '', 0, data FROM tokens"),
    ("observers", "SELECT NULL, '', 0, data FROM observers"),
    ("operators", "SELECT NULL, '', 0, data FROM operators"),
    ("events_taken", "SELECT NULL, minion, number, '' FROM events_taken"),
    ("events", "SELECT NULL, '', 0, data FROM events ORDER BY number DESC LIMIT 1"),
    ("jobs", "SELECT NULL, '', 0, data FROM jobs WHERE n IN wanted ORDER BY n"),
    (
        "targets",
        "SELECT NULL, '', 0, data FROM targets WHERE job IN whole
         OR (job IN wanted AND word NOT IN ('ok', 'changed')) ORDER BY job",
    ),
    (
        "recipes",
        "SELECT jobs.id, minion, 0, place FROM recipes JOIN jobs ON jobs.n = recipes.job
         WHERE job IN whole AND place IS NOT NULL AND sealed IS NOT NULL",
    ),
    ("kept", "SELECT NULL, part || ' ' || key, 0, data FROM kept"),
    (
        "decisions",
        "SELECT NULL, '', 0, data FROM decisions WHERE event IN
         (SELECT json_extract(data, '$.decision') FROM kept WHERE part = 'reaction')",
    ),
    ("clock", "SELECT NULL, '', value, '' FROM meta WHERE name = 'clock'"),
];

fn load_rows(db: &Connection) -> rusqlite::Result<Vec<Stored>> {
    let wanted = format!(
        "WITH wanted(n) AS (SELECT n FROM jobs WHERE ended IS NULL UNION
           SELECT n FROM (SELECT n FROM jobs ORDER BY n DESC LIMIT {JOBS_MAX})),
         whole(n) AS (SELECT n FROM jobs WHERE ended IS NULL UNION
           SELECT n FROM (SELECT n FROM jobs ORDER BY n DESC LIMIT {RECENT_MAX})) "
    );
    let mut rows = Vec::new();
    for (table, query) in SIMPLE {
        let mut statement = db.prepare(&format!("{wanted}{query}"))?;
        let mut found = statement.query([])?;
        while let Some(row) = found.next()? {
            let job = row.get::<_, Option<[u8; 16]>>(0)?.map(|it| JobId(u128::from_be_bytes(it)));
            let (name, number, text) = (row.get(1)?, row.get(2)?, row.get(3)?);
            rows.push(Stored { table, job, name, number, text });
        }
    }
    Ok(rows)
}

fn parse(row: &Stored, path: &Path) -> Result<Entry, StoreError> {
    let table = row.table;
    let damaged = |source| StoreError::Damaged { path: path.to_owned(), table, source };
    let minion = |name: &str| name.parse::<MinionId>().map_err(serde::de::Error::custom).map_err(damaged);
    let positive = |number: i64| u64::try_from(number).unwrap_or(0);
    Ok(match table {
        "keys" => Entry::Key(from(&row.text).map_err(damaged)?),
        "minions" => Entry::Minion(from(&row.text).map_err(damaged)?),
        "tokens" => Entry::Token(from(&row.text).map_err(damaged)?),
        "observers" => Entry::Observer(from(&row.text).map_err(damaged)?),
        "operators" => Entry::Operator(from(&row.text).map_err(damaged)?),
        "events_taken" => Entry::EventsTaken(minion(&row.name)?, positive(row.number)),
        "events" => Entry::Event(from(&row.text).map_err(damaged)?),
        "jobs" => Entry::Job(from(&row.text).map_err(damaged)?),
        "targets" => Entry::Target(from(&row.text).map_err(damaged)?),
        "recipes" => {
            let place: SealedRef = from(&row.text).map_err(damaged)?;
            Entry::Recipe(row.job.unwrap_or(JobId(0)), minion(&row.name)?, place)
        }
        "decisions" => Entry::Decision(from(&row.text).map_err(damaged)?),
        "kept" => {
            let (part, key) = row.name.split_once(' ').unwrap_or_default();
            let part = serde_json::from_value(part.into()).map_err(damaged)?;
            Entry::Kept { part, key: key.to_owned(), data: Some(from(&row.text).map_err(damaged)?) }
        }
        _ => Entry::Clock(Timestamp(positive(row.number))),
    })
}

/// The word of a state, as in the column that lists count.
pub(super) fn word(state: &TargetState) -> &'static str {
    match state {
        TargetState::Accepted => "accepted",
        TargetState::Offered { .. } => "offered",
        TargetState::Received { .. } => "received",
        TargetState::Running { .. } => "running",
        TargetState::Ended { word, .. } => word.word(),
    }
}

/// The word of a part, as in its column.
pub(super) fn part_word(part: Part) -> String {
    json(&part).trim_matches('"').to_owned()
}

/// A job id as it is kept.
pub(super) fn id(job: JobId) -> [u8; 16] {
    job.0.to_be_bytes()
}

/// A time as it is kept.
pub(super) fn time(at: Timestamp) -> i64 {
    number(at.0)
}

/// A number as it is kept.
pub(super) fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn put(db: &Transaction<'_>, sql: &str, key: &str, value: &impl Serialize) -> rusqlite::Result<()> {
    run(db, sql, params![key, json(value)])
}

fn run(db: &Transaction<'_>, sql: &str, values: impl rusqlite::Params) -> rusqlite::Result<()> {
    db.prepare_cached(sql)?.execute(values).map(drop)
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("our own types have string keys and no failing parts")
}

fn from<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    serde_json::from_str(text)
}

fn pack(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let written = encoder.write_all(text.as_bytes());
    written.and_then(|()| encoder.finish()).expect("writing to memory")
}

fn unpack(data: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    match GzDecoder::new(data).take(REPORT_MAX).read_to_end(&mut text) {
        Ok(_) => text,
        Err(_) => Vec::new(),
    }
}
