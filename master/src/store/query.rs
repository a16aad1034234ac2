//! Answers from the store for people: jobs, reports, events, decisions, the audit log.

use super::{Reader, audit, entries};
use crate::core::Query;
use model::api::{ErrorKind, ErrorView, EventFilter, JobFilter, JobView};
use model::{Decision, Event, Job, JobId, JobTarget, MinionId, Reply};
use rusqlite::types::Value as Sql;
use rusqlite::{Connection, Row, params_from_iter};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

/// Jobs in one answer.
const JOBS_MAX: u32 = 1000;
/// Events or decisions in one answer.
const EVENTS_MAX: u32 = 10_000;
/// Rows looked at for one answer.
const SCAN_MAX: usize = 200_000;
/// Words that `--failed` means.
const FAILED: &str = "('failed','interrupted','refused','expired')";

impl Reader {
    /// Answers a query; what cannot be read is an error for the asker.
    pub fn answer(&self, query: &Query) -> Reply {
        let reply = self.with(|db| match query {
            Query::Jobs(filter, minions) => jobs(db, filter, minions.as_deref()).map(Reply::Jobs),
            Query::Job(name, caller) => job(db, name, caller),
            Query::Report(job, minion) => entries::report(db, *job, minion).map(Reply::Report),
            Query::Events(filter) => events(db, filter).map(Reply::Events),
            Query::Decisions { rule, event, after, limit } => {
                decisions(db, rule.as_deref(), (*event, *after), *limit).map(Reply::Decisions)
            }
            Query::Audit(filter) => audit::lines(db, filter).map(Reply::Audit),
            Query::VerifyAudit => audit::verify(db).map(Reply::AuditChecked),
        });
        reply.unwrap_or_else(|error| {
            let message = format!("the store cannot be read: {error}");
            let hint = Some("see the log of labmaster".to_owned());
            refusal(ErrorKind::Unavailable, message, hint)
        })
    }
    /// The ciphertext of a recipe, if that target is still open.
    pub fn sealed(&self, job: JobId, minion: &MinionId) -> Option<Vec<u8>> {
        self.with(|db| entries::sealed(db, job, minion)).ok().flatten()
    }
}

fn jobs(db: &Connection, filter: &JobFilter, minions: Option<&[MinionId]>) -> rusqlite::Result<Vec<JobView>> {
    let mut sql = String::from("SELECT n, data FROM jobs WHERE 1");
    let mut values: Vec<Sql> = Vec::new();
    if let Some(since) = filter.since {
        sql.push_str(" AND at > ?");
        values.push(entries::time(since).into());
    }
    if let Some(caller) = &filter.caller {
        sql.push_str(" AND caller = ?");
        values.push(caller.clone().into());
    }
    if filter.failed {
        sql.push_str(" AND EXISTS (SELECT 1 FROM targets WHERE job = n AND word IN ");
        sql.push_str(FAILED);
        sql.push(')');
    }
    if let Some(minions) = minions {
        sql.push_str(
            " AND EXISTS (SELECT 1 FROM targets WHERE job = n AND minion IN (SELECT value FROM json_each(?)))",
        );
        values.push(serde_json::to_string(minions).unwrap_or_default().into());
    }
    sql.push_str(" ORDER BY n DESC LIMIT ?");
    values.push(i64::from(limit(filter.limit, 50, JOBS_MAX)).into());
    let rows: Vec<(i64, Job)> = collect(db, &sql, values, |row| Ok((row.get(0)?, parse(row, 1)?)))?;
    rows.into_iter().map(|(n, job)| Ok(JobView { job, targets: Vec::new(), words: words(db, n)? })).collect()
}

fn job(db: &Connection, name: &str, caller: &str) -> rusqlite::Result<Reply> {
    let (sql, values) = if name == "@last" {
        let sql = "SELECT n, data FROM jobs WHERE caller = ? ORDER BY n DESC LIMIT 1";
        (sql, vec![Sql::from(caller.to_owned())])
    } else {
        let Some((low, high)) = range(name) else { return Ok(unknown(name)) };
        let sql = "SELECT n, data FROM jobs WHERE id BETWEEN ? AND ? ORDER BY id LIMIT 3";
        (sql, vec![Sql::Blob(entries::id(low).into()), Sql::Blob(entries::id(high).into())])
    };
    let found: Vec<(i64, Job)> = collect(db, sql, values, |row| Ok((row.get(0)?, parse(row, 1)?)))?;
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (Some((n, job)), None) => {
            let sql = "SELECT data FROM targets WHERE job = ? ORDER BY minion";
            let targets: Vec<JobTarget> = collect(db, sql, vec![n.into()], |row| parse(row, 0))?;
            Ok(Reply::Job(Box::new(JobView { job, targets, words: words(db, n)? })))
        }
        (Some((_, one)), Some((_, other))) => {
            let message = format!("`{name}` begins more than one job: {}, {}", one.id, other.id);
            Ok(refusal(ErrorKind::Usage, message, Some("give more characters of the id".into())))
        }
        (None, _) => Ok(unknown(name)),
    }
}

fn unknown(name: &str) -> Reply {
    let name: String = name.chars().take(40).collect();
    let message = match name.as_str() {
        "@last" => "you have no job yet".to_owned(),
        _ => format!("there is no job `{name}`"),
    };
    refusal(ErrorKind::NotFound, message, Some("labctl job list".into()))
}

/// First and last id that begin with `prefix`.
fn range(prefix: &str) -> Option<(JobId, JobId)> {
    if prefix.is_empty() || prefix.len() > 26 || !prefix.is_ascii() {
        return None;
    }
    let padded = |pad: &str| format!("{prefix}{}", pad.repeat(26 - prefix.len())).parse::<JobId>().ok();
    Some((padded("0")?, padded("Z")?))
}

fn words(db: &Connection, job: i64) -> rusqlite::Result<BTreeMap<String, u32>> {
    db.prepare_cached("SELECT word, count(*) FROM targets WHERE job = ?1 GROUP BY word")?
        .query_map([job], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

fn events(db: &Connection, filter: &EventFilter) -> rusqlite::Result<Vec<Event>> {
    let since = filter.since.map_or(-1, entries::time);
    let wanted = limit(filter.limit, 100, EVENTS_MAX) as usize;
    let sql = "SELECT tag, data FROM events WHERE number BETWEEN ?1 AND ?2 AND at > ?3 ORDER BY number DESC";
    let mut statement = db.prepare_cached(sql)?;
    let [first, last] = numbers(filter.number);
    let mut rows = statement.query([first, last, since])?;
    let mut found = Vec::new();
    let mut looked = 0;
    while let Some(row) = rows.next()? {
        looked += 1;
        let tag: String = row.get(0)?;
        if filter.tag.as_ref().is_none_or(|it| lang::rules::filter_matches(it, &tag)) {
            found.push(parse(row, 1)?);
        }
        if found.len() >= wanted || looked >= SCAN_MAX {
            break;
        }
    }
    found.reverse();
    Ok(found)
}

fn decisions(
    db: &Connection,
    rule: Option<&str>,
    (event, after): (Option<u64>, Option<u64>),
    most: u32,
) -> rusqlite::Result<Vec<Decision>> {
    let wanted = limit(most, 100, EVENTS_MAX) as usize;
    let newest = "SELECT data FROM decisions WHERE event BETWEEN ?1 AND ?2 ORDER BY event DESC";
    let oldest = "SELECT data FROM decisions WHERE event BETWEEN ?1 AND ?2 ORDER BY event";
    let mut statement = db.prepare_cached(if after.is_some() { oldest } else { newest })?;
    let [from, to] = numbers(event);
    let first = after.map_or(0, |it| i64::try_from(it).unwrap_or(i64::MAX).saturating_add(1));
    let mut rows = statement.query([from.max(first), to])?;
    let mut found: Vec<Decision> = Vec::new();
    let mut looked = 0;
    while let Some(row) = rows.next()? {
        looked += 1;
        let decision: Decision = parse(row, 0)?;
        if rule.is_none_or(|rule| decision.verdicts.iter().any(|it| it.rule == rule)) {
            found.push(decision);
        }
        if found.len() >= wanted || looked >= SCAN_MAX {
            break;
        }
    }
    if after.is_none() {
        found.reverse();
    }
    Ok(found)
}

/// From this number to that one.
fn numbers(one: Option<u64>) -> [i64; 2] {
    one.map_or([0, i64::MAX], |it| [i64::try_from(it).unwrap_or(i64::MAX); 2])
}

fn limit(asked: u32, usual: u32, most: u32) -> u32 {
    if asked == 0 { usual } else { asked.min(most) }
}

fn collect<T>(
    db: &Connection,
    sql: &str,
    values: Vec<Sql>,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    db.prepare_cached(sql)?.query_map(params_from_iter(values), read)?.collect()
}

fn parse<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
    })
}

fn refusal(kind: ErrorKind, message: String, hint: Option<String>) -> Reply {
    Reply::Error(ErrorView { kind, message, hint, diagnostics: Vec::new() })
}
