//! A member at work: one connection after the other, the core, the journal, the workers.

use super::clock::Clock;
use super::larder::{Larder, chain};
use super::{DaemonError, Setup, Stop, Trust, notify, sources};
use crate::core::{Effect, Entry, Input, Minion, RunEnd, Settings};
use crate::enroll::{is_refused_key, is_refused_subscription};
use crate::grains;
use crate::home::{Home, Membership, make_private_dir};
use crate::journal::Journal;
use crate::link::{Link, signers};
use crate::telemetry::Sampler;
use crate::worker::{Told, Workers};
use bus::client::{Client, ClientConfig, ClientEvent};
use bus::message::{FromMinion, Offer};
use bus::{Identity, Topic, envelope, tls};
use model::{ContentHash, Grains, JobId, MinionId};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, error, info, warn};

/// Largest packet: an envelope of 256 KiB and its topic.
const PACKET_MAX: usize = (256 << 10) + (1 << 10);
/// Ceiling of the back-off between connections, in milliseconds.
const BACKOFF_MS: u64 = 60_000;
/// What was heard while something was being said; beyond, reading waits.
const EARLY_MAX: usize = 1024;
/// A message that cannot be written for so long is given up; the connection is over then.
const SAY_LIMIT: Duration = Duration::from_secs(30);
/// Attempts to say the first message of a connection.
const FIRST_ATTEMPTS: u32 = 1000;
/// Words of workers that wait.
const TOLD_MAX: usize = 64;
/// Between two collections of grains.
const COLLECT_EVERY: Duration = Duration::from_secs(60 * 60);
/// Probes that wait for one collection.
const PROBES_MAX: usize = 64;
/// Refusals in a row before they are believed.
const REFUSED_MAX: u32 = 3;

/// Why a member stopped.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum End {
    /// A signal.
    Stopped,
    /// There is a newer list of masters, or a session went wrong.
    Again,
    /// The release of the master does not fit.
    Incompatible,
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
    Sample,
    Collect,
    Watchdog,
    Stop,
    Tick,
}

/// A member at work.
pub(super) struct Agent<'a> {
    setup: &'a Setup,
    home: &'a Home,
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
    refused: (u32, u32),
    workers: Workers,
    larder: Larder,
    told: mpsc::Receiver<Told>,
    run: Option<JoinHandle<()>>,
    sampler: Option<Sampler>,
    sample_every: Option<Duration>,
    sample_at: Instant,
    collected: (mpsc::Sender<Grains>, mpsc::Receiver<Grains>),
    probes: Vec<u64>,
    collecting: bool,
    collect_at: Instant,
    watchdog: Option<Duration>,
    watchdog_at: Instant,
    end: Option<End>,
}

impl<'a> Agent<'a> {
    pub(super) fn start(
        setup: &'a Setup,
        home: &'a Home,
        member: Membership,
        trust: Trust,
        clock: &'a mut Clock,
    ) -> Result<Self, DaemonError> {
        let identity = Arc::new(home.identity()?);
        let tls = tls::client_config(&trust.masters.pins(), Some(&identity));
        // The connection is made while the rest is read.
        let (client, events) = Client::start(ClientConfig {
            addresses: trust.addresses(),
            tls: Some(tls.clone()),
            client_id: member.id.to_string(),
            login: None,
            subscribe: vec![Topic::In(member.id.clone()).to_string()],
            packet_max: PACKET_MAX,
            keep_alive_s: 30,
            backoff_max_ms: BACKOFF_MS,
        });
        let opened = Journal::open(&home.journal_dir())?;
        for complaint in &opened.complaints {
            warn!("{complaint}");
        }
        let (grains, complaints) = grains::collect(&sources(setup, &member.id));
        for complaint in complaints {
            warn!("{complaint}");
        }
        let settings = Settings {
            version: model::VERSION.to_owned(),
            boot: setup.boot.clone(),
            sandbox: setup.config.sandbox.is_some(),
            masters: trust.masters.version,
            grains_hash: grains::hash(&grains),
            grains,
        };
        let core = Minion::restore(settings, clock.now(), opened.entries);
        clock.not_before(core.clock());
        make_private_dir(&setup.config.cache_dir)?;
        let (tell, told) = mpsc::channel(TOLD_MAX);
        let workers = Workers {
            dir: home.work_dir(),
            blobs: setup.config.cache_dir.clone(),
            sandbox: setup.config.sandbox.clone(),
            program: setup.program.clone(),
            told: tell,
        };
        let larder = Larder {
            id: member.id.clone(),
            identity: identity.clone(),
            tls,
            https: trust.https(),
            dir: setup.config.cache_dir.clone(),
            bytes_max: setup.config.cache_bytes,
        };
        let now = Instant::now();
        let watchdog = sd_notify::watchdog_enabled().map(|limit| limit / 2);
        Ok(Self {
            setup,
            home,
            clock,
            id: member.id,
            trust,
            identity,
            core,
            journal: Some(opened.journal),
            disk_full: false,
            client,
            events,
            early: VecDeque::new(),
            link: None,
            fresh: false,
            refused: (0, 0),
            workers,
            larder,
            told,
            run: None,
            sampler: None,
            sample_every: None,
            sample_at: now,
            collected: mpsc::channel(1),
            probes: Vec::new(),
            collecting: false,
            collect_at: now + COLLECT_EVERY,
            watchdog,
            watchdog_at: now,
            end: None,
        })
    }

    /// Serves until there is a reason to stop.
    pub(super) async fn serve(mut self, stop: &mut Stop) -> Result<End, DaemonError> {
        self.step(Input::Started).await?;
        loop {
            if let Some(end) = self.end.take() {
                return self.finish(end).await;
            }
            let heard = self.hear(stop).await;
            self.take(heard).await?;
        }
    }

    async fn hear(&mut self, stop: &mut Stop) -> Heard {
        if let Some(event) = self.early.pop_front() {
            return Heard::Bus(Some(event));
        }
        let now = self.clock.now();
        let wait = self.core.next_wake().map_or(COLLECT_EVERY, |at| Duration::from_millis(at.since_ms(now)));
        tokio::select! {
            event = self.events.recv() => Heard::Bus(event),
            Some(told) = self.told.recv() => Heard::Told(told),
            Some(grains) = self.collected.1.recv() => Heard::Collected(grains),
            () = stop.wait() => Heard::Stop,
            () = tokio::time::sleep(wait) => Heard::Tick,
            () = sleep_until(self.sample_at), if self.sample_every.is_some() => Heard::Sample,
            () = sleep_until(self.collect_at) => Heard::Collect,
            () = sleep_until(self.watchdog_at), if self.watchdog.is_some() => Heard::Watchdog,
        }
    }

    async fn take(&mut self, heard: Heard) -> Result<(), DaemonError> {
        match heard {
            Heard::Bus(event) => self.on_bus(event).await?,
            Heard::Told(Told::Progress { job, of, lines }) => {
                self.step(Input::Progress { job, of, lines }).await?;
            }
            Heard::Told(Told::Ended { job, end }) => {
                self.step(Input::RunEnded { job, end }).await?;
                self.larder.clean();
            }
            Heard::Collected(grains) => self.on_collected(grains).await?,
            Heard::Sample => self.say_sample().await,
            Heard::Collect => {
                self.collect_at = Instant::now() + COLLECT_EVERY;
                self.collect();
            }
            Heard::Watchdog => {
                self.watchdog_at = Instant::now() + self.watchdog.unwrap_or(COLLECT_EVERY);
                notify(&[sd_notify::NotifyState::Watchdog]);
            }
            Heard::Stop => {
                self.step(Input::Stop { reason: "stop".to_owned() }).await?;
                self.end = Some(End::Stopped);
            }
            Heard::Tick => self.step(Input::Tick).await?,
        }
        Ok(())
    }

    async fn on_bus(&mut self, event: Option<ClientEvent>) -> Result<(), DaemonError> {
        match event {
            Some(ClientEvent::Connected { address }) => {
                info!(address, minion = %self.id, "connected");
                self.refused = (0, 0);
                let session = envelope::random_session();
                self.link = Some(Link::new(&self.id, signers(&self.trust.masters), &session));
                self.fresh = true;
                self.step(Input::Connected).await?;
            }
            Some(ClientEvent::Message { topic, payload }) => {
                let now = self.clock.now();
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
            Some(ClientEvent::Disconnected { reason, retry_ms }) => {
                warn!(reason, retry_ms, "not connected");
                self.link = None;
                self.step(Input::Disconnected).await?;
                self.count_refusal(&reason);
            }
            None => self.end = Some(End::Again),
        }
        Ok(())
    }

    fn count_refusal(&mut self, reason: &str) {
        let (strange, banned) = self.refused;
        self.refused = (
            if is_refused_subscription(reason) { strange + 1 } else { 0 },
            if is_refused_key(reason) { banned + 1 } else { 0 },
        );
        if self.refused.0 >= REFUSED_MAX {
            self.end = Some(End::Unknown);
        } else if self.refused.1 >= REFUSED_MAX {
            self.end = Some(End::Removed("the master refuses this key".to_owned()));
        }
    }

    async fn step(&mut self, input: Input) -> Result<(), DaemonError> {
        let now = self.clock.now();
        let mut effects = VecDeque::from(self.core.step(now, input));
        while let Some(effect) = effects.pop_front() {
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
        entries: Vec<Entry>,
        effects: &mut VecDeque<Effect>,
    ) -> Result<(), DaemonError> {
        let Some(mut journal) = self.journal.take() else { return Ok(()) };
        let write = move || {
            let written = journal.append(&entries);
            (journal, entries, written)
        };
        let (journal, entries, written) =
            tokio::task::spawn_blocking(write).await.expect("an append does not panic");
        self.journal = Some(journal);
        match written {
            Ok(()) if self.disk_full => {
                self.disk_full = false;
                info!("the disk takes records again");
                if let Some(journal) = &self.journal {
                    journal.recovered();
                }
                effects.extend(self.core.step(self.clock.now(), Input::DiskGood));
                Ok(())
            }
            Ok(()) => Ok(()),
            Err(failure) if failure.is_full() => {
                self.disk_full = true;
                let reason = chain(&failure);
                error!(reason, "the disk is full: new jobs are refused until it is not");
                effects.clear();
                effects.extend(self.core.step(self.clock.now(), Input::NotRecorded { entries, reason }));
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
            Effect::Send(message) => self.say(&message).await,
            Effect::Start { offer, attempt } => self.begin(offer, attempt),
            Effect::Recover { job } => {
                info!(job = %job, "looking for the worker of a job that was at work");
                let workers = self.workers.clone();
                self.run = Some(tokio::spawn(async move { workers.recover(job).await }));
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
        let now = self.clock.now();
        let Some(link) = &mut self.link else { return };
        let (topic, payload) = link.seal(now, message, &self.identity);
        if !self.publish(topic, payload).await {
            debug!("a message was not sent: the connection is over");
        }
    }

    async fn publish(&mut self, topic: String, payload: Vec<u8>) -> bool {
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

    fn begin(&mut self, offer: Box<Offer>, attempt: u32) {
        info!(job = %offer.job, what = offer.what, attempt, "job started");
        let (workers, larder) = (self.workers.clone(), self.larder.clone());
        let prepared = workers.prepare(offer.job);
        self.run = Some(tokio::spawn(async move {
            let job = offer.job;
            let recipe = match prepared {
                Ok(()) => larder.recipe(&offer).await,
                Err(failure) => Err(format!("cannot make a folder for the run: {failure}")),
            };
            let reason = match recipe {
                Ok(_) if workers.is_cancelled(job) => "cancelled before it began".to_owned(),
                Ok(recipe) => return workers.run(job, offer.mode, recipe).await,
                Err(reason) => reason,
            };
            // The daemon is gone when this fails.
            let _ = workers.told.send(Told::Ended { job, end: RunEnd::NotBegun { reason } }).await;
        }));
    }

    fn cancel(&self, job: JobId) {
        info!(job = %job, "cancelling");
        if let Err(failure) = self.workers.cancel(job) {
            warn!(job = %job, err = %failure, "the worker cannot be told to stop");
        }
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
        self.client.close().await;
        if let Some(journal) = &mut self.journal {
            match journal.append(&[Entry::Clock(self.clock.now())]) {
                Err(failure) if !failure.is_full() => return Err(failure.into()),
                _ => {}
            }
        }
        Ok(end)
    }
}
