//! The one thread that writes: group commit, lazy rows, a full disk.

use super::audit::{self, Chain};
use super::ballast::Ballast;
use super::entries;
use super::gc::{Gc, GcReport, Keep};
use super::{Health, Row, StoreConfig};
use crate::core::{Audit, Entry};
use bus::pulse::Beat;
use model::Timestamp;
use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};
use tracing::{error, info, warn};

/// Rows in one commit.
const GROUP_MAX: usize = 256;
/// How long rows are gathered for one commit.
const GROUP_TIME: Duration = Duration::from_millis(25);
/// How long lazy rows wait.
pub const LAZY: Duration = Duration::from_mins(10);
/// How often a full disk is tried again.
const PROBE: Duration = Duration::from_secs(2);

/// What the writer is told.
#[derive(Debug)]
pub(super) enum Command {
    /// One transaction.
    Batch {
        /// Its number.
        number: u64,
        /// What.
        rows: Vec<Row>,
    },
    /// For the next lazy write; held by each that waits, so that they can be counted.
    Later(Vec<Row>, Arc<()>),
    /// Delete what is old.
    Gc {
        /// Limits.
        keep: Keep,
        /// By the master's clock.
        now: Timestamp,
        /// Told when it is done.
        done: oneshot::Sender<GcReport>,
    },
}

/// Owns the connection that writes.
pub(super) struct Writer {
    db: Connection,
    chain: Chain,
    /// What the log says about its own end before anything else.
    notice: Option<Audit>,
    ballast: Ballast,
    lazy: BTreeMap<String, Row>,
    lazy_due: Instant,
    gc: Vec<Gc>,
    full: bool,
    stopping: Arc<AtomicBool>,
    beat: Beat,
    committed: watch::Sender<u64>,
    health: watch::Sender<Health>,
}

struct Fatal;

impl Writer {
    /// Reads the head of the audit chain and sets ballast aside.
    pub(super) fn new(
        db: Connection,
        config: &StoreConfig,
        committed: watch::Sender<u64>,
        health: watch::Sender<Health>,
        (stopping, beat): (Arc<AtomicBool>, Beat),
    ) -> rusqlite::Result<Self> {
        let (chain, notice) = audit::open(&db)?;
        let ballast = Ballast::beside(&config.path, config.ballast_bytes);
        let mut writer = Self {
            db,
            chain,
            notice,
            ballast,
            lazy: BTreeMap::new(),
            lazy_due: Instant::now() + LAZY,
            gc: Vec::new(),
            full: false,
            stopping,
            beat,
            committed,
            health,
        };
        if let Err(error) = writer.ballast.restore() {
            writer.went_full(&error.to_string());
        }
        Ok(writer)
    }
    /// Until all senders are gone or the disk cannot be believed.
    pub(super) fn run(mut self, queue: &Receiver<Command>) {
        loop {
            self.beat.turn();
            let wait = self.patience().min(self.beat.every());
            let worked = match queue.recv_timeout(wait) {
                Ok(first) => self.take(first, queue),
                Err(RecvTimeoutError::Timeout) => self.idle(),
                Err(RecvTimeoutError::Disconnected) => break,
            };
            if worked.and_then(|()| self.write_lazy()).is_err() {
                return;
            }
        }
        let rows: Vec<Row> = std::mem::take(&mut self.lazy).into_values().collect();
        let _ = self.commit(&rows);
    }
    fn patience(&self) -> Duration {
        let now = Instant::now();
        let lazy = self.lazy_due.saturating_duration_since(now).max(Duration::from_millis(1));
        match (self.gc.is_empty(), self.full) {
            (false, _) => Duration::ZERO,
            (true, true) => PROBE.min(lazy),
            (true, false) => lazy,
        }
    }
    fn take(&mut self, first: Command, queue: &Receiver<Command>) -> Result<(), Fatal> {
        let began = Instant::now();
        let mut rows = Vec::new();
        let mut last = self.sort(first, &mut rows);
        while rows.len() < GROUP_MAX && began.elapsed() < GROUP_TIME {
            let Ok(next) = queue.try_recv() else { break };
            last = self.sort(next, &mut rows).or(last);
        }
        let Some(last) = last else { return Ok(()) };
        self.commit(&rows)?;
        self.committed.send_replace(last);
        Ok(())
    }
    fn sort(&mut self, command: Command, group: &mut Vec<Row>) -> Option<u64> {
        match command {
            Command::Batch { number, rows } => {
                if !self.lazy.is_empty() {
                    for row in rows.iter().filter(|it| may_wait(it)) {
                        self.lazy.remove(&lazy_key(row));
                    }
                }
                group.extend(rows);
                Some(number)
            }
            Command::Later(rows, _waits) => {
                self.lazy.extend(rows.into_iter().map(|row| (lazy_key(&row), row)));
                None
            }
            Command::Gc { keep, now, done } => {
                self.gc.push(Gc::new(keep, now, done));
                None
            }
        }
    }
    /// Lazy rows when their time has come, also while there is much else to write.
    fn write_lazy(&mut self) -> Result<(), Fatal> {
        if Instant::now() < self.lazy_due {
            return Ok(());
        }
        self.lazy_due = Instant::now() + LAZY;
        let rows: Vec<Row> = std::mem::take(&mut self.lazy).into_values().collect();
        self.commit(&rows)
    }
    fn idle(&mut self) -> Result<(), Fatal> {
        if self.full {
            self.probe();
        }
        if let Some(mut gc) = self.gc.pop() {
            // What the log says about its end is in it before old lines go.
            self.commit(&[])?;
            match gc.step(&mut self.db, &mut self.chain) {
                Ok(true) => gc.finish(),
                Ok(false) => self.gc.push(gc),
                Err(error) if is_full(&error) => gc.finish(),
                Err(error) => return Err(self.failed(&error)),
            }
        }
        Ok(())
    }
    fn commit(&mut self, rows: &[Row]) -> Result<(), Fatal> {
        if rows.is_empty() && self.notice.is_none() {
            return Ok(());
        }
        loop {
            self.beat.turn();
            match self.try_commit(rows) {
                Ok(()) => return Ok(()),
                Err(error) if is_full(&error) && !self.full => self.went_full("the disk is full"),
                Err(error) if is_full(&error) && !self.stopping.load(Ordering::Relaxed) => {
                    std::thread::sleep(PROBE);
                }
                Err(error) => return Err(self.failed(&error)),
            }
        }
    }
    fn try_commit(&mut self, rows: &[Row]) -> rusqlite::Result<()> {
        let mut chain = self.chain;
        let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if let Some(notice) = &self.notice {
            audit::append(&transaction, notice, &mut chain)?;
        }
        for row in rows {
            entries::write(&transaction, row, &mut chain)?;
        }
        if chain != self.chain {
            audit::record_end(&transaction, &chain)?;
        }
        transaction.commit()?;
        (self.chain, self.notice) = (chain, None);
        Ok(())
    }
    fn went_full(&mut self, reason: &str) {
        self.full = true;
        self.ballast.free();
        warn!(reason, "the disk of the store is full: new jobs are refused until there is room");
        self.health.send_replace(Health::Full(format!("the disk of the store is full ({reason})")));
    }
    fn probe(&mut self) {
        if self.ballast.restore().is_ok() {
            self.full = false;
            info!("the disk of the store has room again");
            self.health.send_replace(Health::Well);
        }
    }
    fn failed(&self, error: &rusqlite::Error) -> Fatal {
        error!(%error, "the store cannot be written");
        self.health.send_replace(Health::Failed(format!("the store cannot be written: {error}")));
        Fatal
    }
}

fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

/// Whether rows of this kind are ever written lazily.
fn may_wait(row: &Row) -> bool {
    let Row::Entry(entry) = row else { return true };
    !matches!(**entry, Entry::Event(_) | Entry::Decision(_) | Entry::Audit(_) | Entry::Report(..))
}

/// What a later row of the same key replaces.
fn lazy_key(row: &Row) -> String {
    match row {
        Row::Retained { topic, .. } => format!("retained {topic}"),
        Row::Sealed { job, minion, .. } => format!("sealed {job} {minion}"),
        Row::Entry(entry) => match &**entry {
            Entry::Minion(it) => format!("minion {}", it.id),
            Entry::MinionGone(it) => format!("minion {it}"),
            Entry::Key(it) => format!("key {}", it.fingerprint),
            Entry::KeyGone(it) => format!("key {it}"),
            Entry::Target(it) => format!("target {} {}", it.job, it.minion),
            Entry::Kept { part, key, .. } => format!("kept {} {key}", entries::part_word(*part)),
            Entry::Clock(_) => "clock".into(),
            Entry::EventsTaken(it, _) => format!("taken {it}"),
            other => format!("{other:?}"),
        },
    }
}
