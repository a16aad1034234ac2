//! What the core asks for, done in order.

use super::start::connection;
use super::{Agent, End};
use crate::core::{Effect, Entry, Input, Resume, RunEnd, Scheduled};
use crate::daemon::DaemonError;
use crate::daemon::larder::chain;
use crate::linux::system;
use crate::looks::Look;
use crate::worker::{Told, Work};
use bus::client::ClientEvent;
use bus::message::{FromMinion, Offer};
use model::JobId;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, error, info, warn};

/// What was heard while something was being said; beyond, reading waits.
const EARLY_MAX: usize = 1024;
/// A message that cannot be written for so long is given up; the connection is over then.
const SAY_LIMIT: Duration = Duration::from_secs(30);
/// Attempts to say the first message of a connection.
const FIRST_ATTEMPTS: u32 = 1000;
/// Probes that wait for one collection.
const PROBES_MAX: usize = 64;
/// Machines that one message wakes.
const WAKES_MAX: usize = 256;

impl Agent<'_> {
    pub(super) async fn step(&mut self, input: Input) -> Result<(), DaemonError> {
        let now = self.now();
        let mut effects = VecDeque::from(self.core.step(now, input));
        while let Some(effect) = effects.pop_front() {
            // There may be many, and each may take a while on a slow line.
            self.watchdog.core.turn();
            match effect {
                Effect::Record(entry) => {
                    let mut entries = vec![*entry];
                    while let Some(Effect::Record(_)) = effects.front() {
                        if let Some(Effect::Record(entry)) = effects.pop_front() {
                            entries.push(*entry);
                        }
                    }
                    self.record(entries, &mut effects).await?;
                }
                other => self.perform(other).await?,
            }
        }
        self.compact()
    }

    /// Puts entries on disk. If it is full, what was to follow is replaced by what the core says to that.
    async fn record(
        &mut self,
        mut entries: Vec<Entry>,
        effects: &mut VecDeque<Effect>,
    ) -> Result<(), DaemonError> {
        let Some(mut journal) = self.journal.take() else { return Ok(()) };
        let write = move || {
            let written = journal.append(&entries);
            (journal, entries, written)
        };
        let (journal, written);
        (journal, entries, written) =
            tokio::task::spawn_blocking(write).await.expect("an append does not panic");
        self.journal = Some(journal);
        match written {
            Ok(()) if self.disk_full => {
                self.disk_full = false;
                info!("the disk takes records again");
                if let Some(journal) = &mut self.journal {
                    journal.recovered();
                }
                let now = self.now();
                effects.extend(self.core.step(now, Input::DiskGood));
                Ok(())
            }
            Ok(()) => Ok(()),
            Err(failure) if failure.is_full() => {
                self.disk_full = true;
                let reason = chain(&failure);
                error!(reason, "the disk is full: new jobs are refused until it is not");
                give_up(effects, &mut entries);
                let now = self.now();
                effects.extend(self.core.step(now, Input::NotRecorded { entries, reason }));
                Ok(())
            }
            Err(failure) => Err(failure.into()),
        }
    }

    fn compact(&mut self) -> Result<(), DaemonError> {
        let Some(journal) = self.journal.as_mut().filter(|it| it.wants_compaction()) else { return Ok(()) };
        match journal.compact(&self.core.snapshot()) {
            Err(failure) if !failure.is_full() => Err(failure.into()),
            _ => Ok(()),
        }
    }

    async fn perform(&mut self, effect: Effect) -> Result<(), DaemonError> {
        match effect {
            Effect::Record(_) => unreachable!("records are taken together by `step`"),
            Effect::Later(entry) => {
                if let Some(journal) = &mut self.journal {
                    journal.later(&entry);
                }
            }
            Effect::Send(mut message) => {
                if let FromMinion::Hello(hello) = &mut *message {
                    hello.speaker = self.speaker.clone();
                }
                self.say(&message).await;
            }
            Effect::Start { offer, attempt, resume } => self.begin(offer, attempt, resume),
            Effect::PutBack { job } => self.put_back(job),
            Effect::Reboot { job, message } => self.reboot(job, message)?,
            Effect::Reconnect => self.reconnect().await,
            Effect::Kill { job } => self.kill(job),
            Effect::Recover { job, undoing } => {
                info!(job = %job, "looking for the worker of a job that was at work");
                let workers = self.workers.clone();
                self.run = Some(tokio::spawn(async move { workers.recover(job, undoing).await }));
            }
            Effect::Cancel { job } => self.cancel(job),
            Effect::Clean { job } => {
                info!(job = %job, "job ended");
                self.workers.clean(job);
            }
            Effect::CollectGrains { probe } => {
                if self.probes.len() < PROBES_MAX {
                    self.probes.push(probe);
                }
                self.collect();
            }
            Effect::Wake { probe, mut macs } => {
                macs.truncate(WAKES_MAX);
                let answer = match bus::wake::send(&macs) {
                    Ok(cards) => serde_json::json!(format!("packets for {cards} network cards were sent")),
                    Err(error) => serde_json::json!(format!("no packet was sent: {error}")),
                };
                self.say(&FromMinion::Answer { probe, answer }).await;
            }
            Effect::AnswerQuestions { probe, questions, commands } => {
                self.looks.add(Look::new(probe, questions, commands));
            }
            Effect::ShowBeacons { probe, name } => self.beacons.show(probe, name),
            Effect::Conduct { hash, sealed } => self.on_conduct(hash, &sealed).await?,
            Effect::Due { job, name, slot, late_ms, missed } => {
                let offer = Err("it is not wanted any more".to_owned());
                let due = Scheduled { job, name, slot, late_ms, missed, states: Vec::new(), offer };
                self.on_due(due).await?;
            }
            Effect::Pace { sample_s, spread_s } => self.pace(sample_s, spread_s),
            Effect::Masters(text) => self.on_masters(&text)?,
            Effect::Forget { reason } => self.end = Some(End::Removed(reason)),
            Effect::Incompatible { message } => {
                error!("{message}");
                self.end = Some(End::Incompatible);
            }
        }
        Ok(())
    }

    /// Says a message while hearing goes on: two full queues must not wait for each other.
    async fn say(&mut self, message: &FromMinion) {
        let now = self.now();
        let Some(link) = &mut self.link else { return };
        let (topic, payload) = link.seal(now, message, &self.identity);
        if !self.publish(topic, payload).await {
            debug!("a message was not sent: the connection is over");
        }
    }

    pub(super) async fn publish(&mut self, topic: String, payload: Vec<u8>) -> bool {
        if std::mem::take(&mut self.fresh) {
            return self.publish_first(&topic, &payload).await;
        }
        let mut publish = std::pin::pin!(self.client.publish(topic, payload, false));
        let limit = Instant::now() + SAY_LIMIT;
        loop {
            tokio::select! {
                biased;
                sent = &mut publish => return sent.is_ok(),
                Some(event) = self.events.recv(), if self.early.len() < EARLY_MAX => self.early.push_back(event),
                () = sleep_until(limit) => {
                    self.end = Some(End::Again);
                    // Nothing more is tried on it: each try would take as long.
                    self.link = None;
                    return false;
                }
            }
        }
    }

    /// `Connected` is told a moment before the client can be published with.
    async fn publish_first(&self, topic: &str, payload: &[u8]) -> bool {
        for _ in 0..FIRST_ATTEMPTS {
            if self.client.publish(topic.to_owned(), payload.to_vec(), false).await.is_ok() {
                return true;
            }
            tokio::task::yield_now().await;
        }
        false
    }

    fn begin(&mut self, offer: Box<Offer>, attempt: u32, resume: Option<Resume>) {
        info!(job = %offer.job, what = offer.what, attempt, resumed = resume.is_some(), "job started");
        let (workers, larder) = (self.workers.clone(), self.larder.clone());
        self.beacons.run(true);
        let prepared = workers.prepare(offer.job, resume.is_some());
        self.run = Some(tokio::spawn(async move {
            let job = offer.job;
            let recipe = match prepared {
                Ok(()) => larder.recipe(&offer).await,
                Err(failure) => Err(format!("cannot make a folder for the run: {failure}")),
            };
            let reason = match recipe {
                Ok(_) if resume.is_none() && workers.is_cancelled(job) => {
                    "cancelled before it began".to_owned()
                }
                Ok(recipe) => {
                    let way_back = offer.confirm_ms.is_some();
                    let work = Work::Run { mode: offer.mode, way_back, resume };
                    return workers.run(job, &work, recipe).await;
                }
                Err(reason) => reason,
            };
            // The daemon is gone when this fails.
            let _ = workers.told.send(Told::Ended { job, end: RunEnd::NotBegun { reason } }).await;
        }));
    }

    fn put_back(&mut self, job: JobId) {
        warn!(job = %job, "the master was not reached in time: what the job altered is put back");
        let workers = self.workers.clone();
        let prepared = workers.prepare(job, false);
        self.run = Some(tokio::spawn(async move {
            match prepared {
                Ok(()) => workers.put_back(job).await,
                Err(failure) => {
                    let reason = format!("cannot make a folder for it: {failure}");
                    let _ = workers.told.send(Told::Ended { job, end: RunEnd::NotBegun { reason } }).await;
                }
            }
        }));
    }

    /// The old connection is ended and a new one made; hearing goes on with what comes of that.
    async fn reconnect(&mut self) {
        let config = connection(&self.id, &self.trust, &self.identity);
        let (client, events) = self.watchdog.connect(config);
        let old = std::mem::replace(&mut self.client, client);
        old.close().await;
        self.events = events;
        self.link = None;
        self.early.clear();
        let reason = "connecting anew, to see whether the master can be reached".to_owned();
        self.early.push_back(ClientEvent::Disconnected { address: String::new(), reason, retry_ms: 0 });
    }

    fn reboot(&mut self, job: JobId, message: String) -> Result<(), DaemonError> {
        info!(job = %job, message, "the machine is booted anew, as the job wants it");
        if let Some(folder) = &self.setup.config.sandbox {
            // What is there for one boot only is gone with it.
            let _ = std::fs::remove_dir_all(folder.join("run"));
            self.home.boot_again()?;
            self.end = Some(End::Again);
            return Ok(());
        }
        let tell = self.rebooted.0.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(failure) = system::reboot(&message) {
                // The daemon is gone when this fails.
                let _ = tell.blocking_send((job, failure.to_string()));
            }
        });
        Ok(())
    }

    fn kill(&self, job: JobId) {
        warn!(job = %job, "the worker was told to stop and does not: it is killed");
        if let Err(failure) = self.workers.kill(job) {
            error!(job = %job, err = %failure, "the worker cannot be killed: end its process by hand");
        }
    }

    pub(super) fn cancel(&self, job: JobId) {
        info!(job = %job, "cancelling");
        if let Err(failure) = self.workers.cancel(job) {
            warn!(job = %job, err = %failure, "the worker cannot be told to stop");
        }
    }
}

/// Takes out what must not happen once a write failed. The core knows the later entries already: they go to `entries`,
/// for it to take them back or keep them.
pub fn give_up(effects: &mut VecDeque<Effect>, entries: &mut Vec<Entry>) {
    for effect in std::mem::take(effects) {
        match effect {
            Effect::Record(entry) => entries.push(*entry),
            Effect::Send(_)
            | Effect::Start { .. }
            | Effect::Clean { .. }
            | Effect::Reboot { .. }
            | Effect::PutBack { .. } => {}
            other => effects.push_back(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Timestamp;

    #[test]
    fn after_a_failed_write_later_entries_are_told_and_only_what_needs_no_disk_is_done() {
        let job = JobId(7);
        let clean = || Effect::Clean { job };
        let recover = || Effect::Recover { job, undoing: false };
        let intent = || Entry::Intent { job, attempt: 1 };
        let mut entries = vec![Entry::Clock(Timestamp(1))];
        let mut effects = VecDeque::from([clean(), recover(), Effect::Record(Box::new(intent()))]);
        give_up(&mut effects, &mut entries);
        assert_eq!(effects, [recover()]);
        assert_eq!(entries, [Entry::Clock(Timestamp(1)), intent()]);
    }
}
