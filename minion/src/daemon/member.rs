//! A member at work: one connection after the other, the core, the journal, the workers.

mod conduct;
mod effects;
mod start;

pub use effects::give_up;

use super::beacons::{Beacons, Heard as Seen};
use super::clock::Clock;
use super::larder::{Larder, chain};
use super::refusals::Refusals;
use super::watch::Watchdog;
use super::{DaemonError, Setup, Stop, Trust, sources};
use crate::core::{Entry, Input, Minion, RunEnd};
use crate::grains;
use crate::home::Home;
use crate::journal::Journal;
use crate::link::{Link, signers};
use crate::looks::Looks;
use crate::telemetry::Sampler;
use crate::worker::{Told, Workers};
use bus::client::{Client, ClientEvent};
use bus::message::Speaker;
use bus::{Identity, Topic, envelope};
use model::{ContentHash, Grains, JobId, MinionId, Outcome, ScheduleOrder, Timestamp};
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tracing::{error, info, warn};

/// Between two collections of grains.
const COLLECT_EVERY: Duration = Duration::from_hours(1);
/// A run that is to end because the minion was removed is killed after this; both together are below the watchdog's.
const CANCEL_LIMIT: Duration = Duration::from_secs(30);
/// Events of beacons that are taken at once.
const SEEN_MAX: usize = 256;
/// Until a killed worker must be gone.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// Why a member stopped.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum End {
    /// A signal.
    Stopped,
    /// There is a newer list of masters, or a session went wrong.
    Again,
    /// The release of the master does not fit.
    Incompatible,
    /// Who answers is no master that the list names.
    Untrusted,
    /// The master takes this key for a stranger's.
    Unknown,
    /// The master does not want this key any more.
    Removed(String),
}

/// What came.
enum Heard {
    Bus(Option<ClientEvent>),
    Told(Told),
    Collected(Grains),
    Answered(u64, Value),
    /// There was no look.
    Unanswered(u64, Value),
    /// Of beacons.
    Seen(Seen),
    /// The machine cannot be booted anew.
    NotRebooted(JobId, String),
    Sample,
    Collect,
    Stop,
    Tick,
    /// Nothing: the loop turns.
    Turn,
}

/// Both ends of a channel.
type Both<T> = (mpsc::Sender<T>, mpsc::Receiver<T>);

/// A member at work.
pub(super) struct Agent<'a> {
    setup: &'a Setup,
    home: &'a Home,
    speaker: &'a Speaker,
    clock: &'a mut Clock,
    id: MinionId,
    trust: Trust,
    identity: Arc<Identity>,
    core: Minion,
    journal: Option<Journal>,
    disk_full: bool,
    client: Client,
    events: mpsc::Receiver<ClientEvent>,
    early: VecDeque<ClientEvent>,
    link: Option<Link>,
    /// Nothing was said on this connection yet.
    fresh: bool,
    refusals: Refusals,
    workers: Workers,
    larder: Larder,
    told: mpsc::Receiver<Told>,
    run: Option<JoinHandle<()>>,
    sampler: Option<Sampler>,
    sample_every: Option<Duration>,
    sample_at: Instant,
    collected: (mpsc::Sender<Grains>, mpsc::Receiver<Grains>),
    /// Answers to questions of templates, by the number of the probe.
    answered: mpsc::Receiver<(u64, Value)>,
    looks: Looks,
    /// Reboots that cannot be done: for which job, and why.
    rebooted: Both<(JobId, String)>,
    probes: Vec<u64>,
    collecting: bool,
    collect_at: Instant,
    watchdog: &'a Watchdog,
    beacons: &'a mut Beacons,
    /// What it does by the clock, unless that is not known.
    orders: Option<Vec<ScheduleOrder>>,
    end: Option<End>,
}

impl Agent<'_> {
    /// Serves until there is a reason to stop.
    pub(super) async fn serve(mut self, stop: &mut Stop) -> Result<End, DaemonError> {
        self.step(Input::Started).await?;
        self.tell_schedules().await?;
        loop {
            if let Some(end) = self.end.take() {
                return self.finish(end).await;
            }
            self.watchdog.core.turn();
            let heard = self.hear(stop).await;
            self.take(heard).await?;
        }
    }

    /// The time. The core hears first how far the clock was set since the last look.
    fn now(&mut self) -> Timestamp {
        let now = self.clock.now();
        self.core.clock_jumped(self.clock.take_jump());
        now
    }

    async fn hear(&mut self, stop: &mut Stop) -> Heard {
        if let Some((probe, answer)) = self.looks.refused() {
            return Heard::Unanswered(probe, answer);
        }
        if let Some(event) = self.early.pop_front() {
            return Heard::Bus(Some(event));
        }
        let now = self.now();
        let wait = self.core.next_wake().map_or(COLLECT_EVERY, |at| Duration::from_millis(at.since_ms(now)));
        tokio::select! {
            event = self.events.recv() => Heard::Bus(event),
            Some(told) = self.told.recv() => Heard::Told(told),
            Some(grains) = self.collected.1.recv() => Heard::Collected(grains),
            Some((probe, answer)) = self.answered.recv() => Heard::Answered(probe, answer),
            Some(seen) = self.beacons.heard.recv() => Heard::Seen(seen),
            Some((job, reason)) = self.rebooted.1.recv() => Heard::NotRebooted(job, reason),
            () = stop.wait() => Heard::Stop,
            () = tokio::time::sleep(wait) => Heard::Tick,
            () = sleep_until(self.sample_at), if self.sample_every.is_some() => Heard::Sample,
            () = sleep_until(self.collect_at) => Heard::Collect,
            () = tokio::time::sleep(self.watchdog.core.every()) => Heard::Turn,
        }
    }

    async fn take(&mut self, heard: Heard) -> Result<(), DaemonError> {
        match heard {
            Heard::Bus(event) => self.on_bus(event).await?,
            Heard::Told(Told::Progress { job, of, lines }) => {
                self.step(Input::Progress { job, of, lines }).await?;
            }
            Heard::Told(Told::Ended { job, end }) => {
                let grains = has_set_grains(&end);
                self.step(Input::RunEnded { job, end }).await?;
                self.beacons.run(self.core.running().is_some());
                self.larder.clean();
                if grains {
                    self.collect();
                }
            }
            Heard::Collected(grains) => self.on_collected(grains).await?,
            Heard::Answered(probe, answer) => {
                self.looks.ended();
                self.step(Input::Answered { probe, answer }).await?;
            }
            Heard::Seen(seen) => self.on_seen(seen).await?,
            Heard::Unanswered(probe, answer) => self.step(Input::Answered { probe, answer }).await?,
            Heard::NotRebooted(job, reason) => self.step(Input::RebootFailed { job, reason }).await?,
            Heard::Sample => self.say_sample().await,
            Heard::Collect => {
                self.collect_at = Instant::now() + COLLECT_EVERY;
                self.collect();
            }
            Heard::Stop => {
                self.step(Input::Stop { reason: "stop".to_owned() }).await?;
                self.end = Some(End::Stopped);
            }
            Heard::Tick => self.step(Input::Tick).await?,
            Heard::Turn => {}
        }
        Ok(())
    }

    /// All that beacons have told by now: one write for many events, for each may take the disk a while.
    async fn on_seen(&mut self, first: Seen) -> Result<(), DaemonError> {
        let (mut events, mut answers) = (Vec::new(), Vec::new());
        let mut next = Some(first);
        while let Some(seen) = next {
            match seen {
                Seen::Event(told) => events.push((told.tag, told.data)),
                Seen::Shown(probe, answer) => answers.push((probe, answer)),
            }
            let room = events.len() + answers.len() < SEEN_MAX;
            next = if room { self.beacons.heard.try_recv().ok() } else { None };
        }
        if !events.is_empty() {
            self.step(Input::Events(events)).await?;
        }
        for (probe, answer) in answers {
            self.step(Input::Answered { probe, answer }).await?;
        }
        Ok(())
    }

    async fn on_bus(&mut self, event: Option<ClientEvent>) -> Result<(), DaemonError> {
        match event {
            Some(ClientEvent::Connected { address }) => {
                info!(address, minion = %self.id, "connected");
                self.refusals = Refusals::default();
                let session = envelope::random_session();
                self.link = Some(Link::new(&self.id, signers(&self.trust.masters), &session));
                self.fresh = true;
                self.step(Input::Connected).await?;
            }
            Some(ClientEvent::Message { topic, payload }) => {
                let now = self.now();
                let master_now = self.core.master_now(now);
                let Some(link) = &mut self.link else { return Ok(()) };
                match link.open(&topic, &payload, master_now) {
                    Ok((message, sent)) => {
                        self.step(Input::Message { message: Box::new(message), sent }).await?;
                    }
                    Err(rejected) => {
                        warn!(topic, reason = %rejected, "a message was not believed: connecting anew");
                        self.end = Some(End::Again);
                    }
                }
            }
            Some(ClientEvent::Disconnected { address, reason, retry_ms }) => {
                warn!(reason, retry_ms, "not connected");
                self.link = None;
                self.step(Input::Disconnected).await?;
                let masters = &self.trust.masters.masters;
                if let Some(end) = self.refusals.heard(Instant::now(), &address, &reason, masters) {
                    self.end = Some(end);
                }
            }
            None => self.end = Some(End::Again),
        }
        Ok(())
    }

    fn pace(&mut self, sample_s: u32, spread_s: u32) {
        self.client.spread_next(u64::from(spread_s) * 1000);
        self.sample_every = (sample_s > 0).then(|| Duration::from_secs(sample_s.into()));
        self.sample_at = Instant::now();
    }

    async fn say_sample(&mut self) {
        self.sample_at = Instant::now() + self.sample_every.unwrap_or(COLLECT_EVERY);
        if self.link.is_none() {
            return;
        }
        let space = self.setup.space;
        let sample = self.sampler.get_or_insert_with(|| Sampler::new(space)).sample();
        let payload = serde_json::to_vec(&sample).unwrap_or_default();
        let topic = Topic::Sample(self.id.clone()).to_string();
        self.publish(topic, payload).await;
    }

    fn collect(&mut self) {
        if std::mem::replace(&mut self.collecting, true) {
            return;
        }
        let (sources, found) = (sources(self.setup, &self.id), self.collected.0.clone());
        tokio::task::spawn_blocking(move || {
            let (grains, complaints) = grains::collect(&sources);
            for complaint in complaints {
                warn!("{complaint}");
            }
            // The daemon is gone when this fails.
            let _ = found.blocking_send(grains);
        });
    }

    async fn on_collected(&mut self, grains: Grains) -> Result<(), DaemonError> {
        self.collecting = false;
        let hash: ContentHash = grains::hash(&grains);
        let mut probes: Vec<Option<u64>> = self.probes.drain(..).map(Some).collect();
        if probes.is_empty() {
            probes.push(None);
        }
        for probe in probes {
            self.step(Input::Grains { probe, grains: grains.clone(), hash }).await?;
        }
        Ok(())
    }

    fn on_masters(&mut self, text: &str) -> Result<(), DaemonError> {
        match self.trust.masters.newer(text, &self.trust.org) {
            Ok(Some(newer)) => {
                self.home.keep_masters(text)?;
                info!(version = newer.version, "a newer list of masters is in use");
                self.end = Some(End::Again);
            }
            Ok(None) => {}
            Err(failure) => warn!(reason = chain(&failure), "a list of masters was refused"),
        }
        Ok(())
    }

    async fn finish(mut self, end: End) -> Result<End, DaemonError> {
        if let Some(run) = self.run.take() {
            // The worker lives on, and is found again.
            run.abort();
            let _ = run.await;
        }
        if let (End::Removed(_), Some(job)) = (&end, self.core.running()) {
            self.put_out(job).await;
        }
        self.client.close().await;
        if let Some(journal) = &mut self.journal {
            match journal.append(&[Entry::Clock(self.clock.now())]) {
                Err(failure) if !failure.is_full() => return Err(failure.into()),
                _ => {}
            }
        }
        Ok(end)
    }

    /// Ends the run of a minion that is not a member any more: it may do nothing, and the next member's run must not
    /// meet it.
    async fn put_out(&self, job: JobId) {
        self.cancel(job);
        if self.workers.wait_for_end(job, CANCEL_LIMIT).await {
            return;
        }
        warn!(job = %job, "the worker does not stop: it is killed");
        let killed = self.workers.kill(job);
        if killed.is_err() || !self.workers.wait_for_end(job, KILL_LIMIT).await {
            let reason = killed.err().map(|failure| failure.to_string());
            error!(job = %job, reason, "the worker cannot be killed: end its process by hand");
        }
    }
}

/// Whether states of a run have set grains: the next compile is to see them.
fn has_set_grains(end: &RunEnd) -> bool {
    match end {
        RunEnd::Report { report, .. } => {
            report.steps.iter().any(|it| it.outcome == Outcome::Changed && it.kind.starts_with("grains."))
        }
        _ => false,
    }
}
