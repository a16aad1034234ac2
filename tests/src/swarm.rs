//! A swarm: many light minions in one process. The core, the envelopes, the keys, the enrolment and the TLS connection
//! are the real ones, each minion has its own; only host and journal are in memory.

use anyhow::{Context, anyhow};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bus::{
    Identity, PublicKey, Topic,
    client::{Client, ClientConfig, ClientEvent},
    envelope,
    masters::Masters,
    message::{FromMinion, Offer, SealedRecipe},
    seal,
    seed::Seed,
    tls,
};
use minion::{
    core::{Effect, Input, Minion, RunEnd, Settings},
    enroll::{Candidate, Enrolled},
    grains,
    link::{Link, signers},
};
use model::{ContentHash, Grains, Labels, MinionId, Recipe, Timestamp};
use resources::{Progress, RunOptions, fake_host::FakeHost};
use serde_json::json;
use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::sync::{Semaphore, mpsc};

/// Longest wait of a connected minion between two looks at its core.
const WAKE_MAX: Duration = Duration::from_mins(1);
/// Ceiling of the back-off between connections, in milliseconds.
const BACKOFF_MS: u64 = 60_000;
/// Attempts to say the first message: `Connected` is told a moment before the client can be published with.
const FIRST_ATTEMPTS: u32 = 1000;
/// Heard while something was being said; beyond, reading waits.
const EARLY_MAX: usize = 1024;

/// What the swarm is.
#[derive(Clone, Debug)]
pub struct SwarmSettings {
    /// What each of them enrols with.
    pub seed: Seed,
    /// Ids are `<prefix>-0`, `<prefix>-1`, ...
    pub prefix: String,
    /// How many.
    pub minions: usize,
    /// How many may be on their way from the first packet to the welcome at once: a master takes few unknown
    /// connections from one address at a time.
    pub at_once: usize,
    /// A folder for what is too large for an envelope.
    pub folder: PathBuf,
}

/// What a minion of the swarm reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Milestone {
    /// The master took its key.
    Enrolled,
    /// The master answered its hello.
    Welcomed,
}

/// What all of them share.
#[derive(Debug)]
struct Common {
    masters: Masters,
    seed: Seed,
    doors: Semaphore,
    folder: PathBuf,
    told: mpsc::UnboundedSender<Milestone>,
}

/// Starts all minions on the current runtime; they live until the runtime ends. Each milestone is told once a minion.
pub fn start(settings: SwarmSettings) -> anyhow::Result<mpsc::UnboundedReceiver<Milestone>> {
    let SwarmSettings { seed, prefix, minions, at_once, folder } = settings;
    let org = PublicKey::from_text(&seed.org).ok_or_else(|| anyhow!("the seed's `org` is no public key"))?;
    let masters = Masters::open(&seed.masters, &org).context("the seed's list of masters")?;
    let (told, milestones) = mpsc::unbounded_channel();
    let common = Arc::new(Common { masters, seed, doors: Semaphore::new(at_once), folder, told });
    for number in 0..minions {
        let id: MinionId = format!("{prefix}-{number}")
            .parse()
            .map_err(|_| anyhow!("`{prefix}-{number}` is not a minion id"))?;
        tokio::spawn(live(id, common.clone()));
    }
    Ok(milestones)
}

/// A minion's whole life.
async fn live(id: MinionId, common: Arc<Common>) {
    let identity = Identity::generate();
    let door = common.doors.acquire().await.ok();
    let id = enroll(&id, &identity, &common).await;
    let _ = common.told.send(Milestone::Enrolled);
    let mut light = Light::connect(id, identity, common.clone());
    light.step(Input::Started).await;
    let mut door = door;
    while light.live_on().await {
        if light.welcomed && door.take().is_some() {
            let _ = common.told.send(Milestone::Welcomed);
        }
    }
    light.client.close().await;
}

async fn enroll(id: &MinionId, identity: &Identity, common: &Common) -> MinionId {
    let candidate = Candidate {
        identity,
        id: id.clone(),
        token: common.seed.token.as_ref(),
        claims: Labels::default(),
        version: model::VERSION.to_owned(),
        masters: signers(&common.masters),
        pins: common.masters.pins(),
        addresses: addresses(&common.masters),
    };
    match candidate.enroll(now).await {
        Enrolled::Accepted(id) => id,
        Enrolled::AlreadyMember | Enrolled::Banned => id.clone(),
    }
}

fn addresses(masters: &Masters) -> Vec<String> {
    masters.masters.iter().flat_map(|it| it.mqtt.clone()).collect()
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(0))
}

/// A member: the core and its connection.
struct Light {
    id: MinionId,
    identity: Identity,
    common: Arc<Common>,
    core: Minion,
    grains: Grains,
    host: FakeHost,
    client: Client,
    events: mpsc::Receiver<ClientEvent>,
    early: VecDeque<ClientEvent>,
    link: Option<Link>,
    fresh: bool,
    welcomed: bool,
    over: bool,
    sample_every: Option<Duration>,
    sample_at: tokio::time::Instant,
}

impl Light {
    fn connect(id: MinionId, identity: Identity, common: Arc<Common>) -> Self {
        let (client, events) = Client::start(ClientConfig {
            addresses: addresses(&common.masters),
            tls: Some(tls::client_config(&common.masters.pins(), Some(&identity))),
            client_id: id.to_string(),
            login: None,
            subscribe: vec![Topic::In(id.clone()).to_string()],
            packet_max: bus::client::PACKET_MAX,
            keep_alive_s: 30,
            backoff_max_ms: BACKOFF_MS,
        });
        let grains = grains::imagined(&id);
        let settings = Settings {
            version: model::VERSION.to_owned(),
            boot: id.to_string(),
            sandbox: true,
            masters: common.masters.version,
            outbox_bytes: minion::core::OUTBOX_BYTES_MAX,
            grains_hash: grains::hash(&grains),
            grains: grains.clone(),
        };
        Self {
            core: Minion::restore(settings, now(), []),
            id,
            identity,
            common,
            grains,
            host: FakeHost::default(),
            client,
            events,
            early: VecDeque::new(),
            link: None,
            fresh: false,
            welcomed: false,
            over: false,
            sample_every: None,
            sample_at: tokio::time::Instant::now(),
        }
    }

    /// Waits for one thing to happen and deals with it; false is the end.
    async fn live_on(&mut self) -> bool {
        if let Some(event) = self.early.pop_front() {
            self.on_bus(event).await;
            return !self.over;
        }
        let wait = self.core.next_wake().map_or(WAKE_MAX, |at| Duration::from_millis(at.since_ms(now())));
        tokio::select! {
            event = self.events.recv() => match event {
                Some(event) => self.on_bus(event).await,
                None => self.over = true,
            },
            () = tokio::time::sleep(wait.min(WAKE_MAX)) => self.step(Input::Tick).await,
            () = tokio::time::sleep_until(self.sample_at), if self.sample_every.is_some() => self.say_sample().await,
        }
        !self.over
    }

    async fn on_bus(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::Connected { .. } => {
                let session = envelope::random_session();
                self.link = Some(Link::new(&self.id, signers(&self.common.masters), &session));
                self.fresh = true;
                self.step(Input::Connected).await;
            }
            ClientEvent::Message { topic, payload } => {
                let master_now = self.core.master_now(now());
                let Some(link) = &mut self.link else { return };
                match link.open(&topic, &payload, master_now) {
                    Ok((message, sent)) => {
                        self.welcomed |= matches!(message, bus::ToMinion::Welcome { .. });
                        self.step(Input::Message { message: Box::new(message), sent }).await;
                    }
                    Err(rejected) => {
                        eprintln!("{}: a message was not believed: {rejected}", self.id);
                        self.over = true;
                    }
                }
            }
            ClientEvent::Disconnected { reason, retry_ms } => {
                eprintln!("{}: not connected: {reason}; again in {retry_ms} ms", self.id);
                self.link = None;
                self.step(Input::Disconnected).await;
            }
        }
    }

    /// A step and all that follows from it; what a run leads to is a step too.
    async fn step(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for effect in self.core.step(now(), input) {
                match effect {
                    // The journal is in memory: the core has it.
                    Effect::Record(_)
                    | Effect::Later(_)
                    | Effect::Cancel { .. }
                    | Effect::Clean { .. }
                    | Effect::Masters(_) => {}
                    Effect::Send(message) => self.say(&message).await,
                    Effect::Start { offer, .. } => {
                        let end = match self.recipe(&offer).await {
                            Ok(recipe) => run(&recipe, &offer, &mut self.host),
                            Err(reason) => RunEnd::NotBegun { reason },
                        };
                        inputs.push_back(Input::RunEnded { job: offer.job, end });
                    }
                    Effect::Recover { job } => {
                        let end = RunEnd::Lost { reason: "it has no workers".to_owned() };
                        inputs.push_back(Input::RunEnded { job, end });
                    }
                    Effect::CollectGrains { probe } => inputs.push_back(Input::Grains {
                        probe: Some(probe),
                        grains: self.grains.clone(),
                        hash: grains::hash(&self.grains),
                    }),
                    Effect::AnswerQuestions { probe, questions, commands } => {
                        let answer =
                            resources::questions::answer_all(&questions, commands, &mut self.host, &|| {
                                resources::questions::ALL_MS_MAX
                            });
                        inputs.push_back(Input::Answered { probe, answer });
                    }
                    Effect::Pace { sample_s, .. } => {
                        self.sample_every = (sample_s > 0).then(|| Duration::from_secs(sample_s.into()));
                        self.sample_at = tokio::time::Instant::now();
                    }
                    Effect::PutBack { job } => {
                        let end = RunEnd::NotBegun { reason: "it keeps nothing".to_owned() };
                        inputs.push_back(Input::RunEnded { job, end });
                    }
                    Effect::Reboot { job, .. } => {
                        let reason = "it has no machine".to_owned();
                        inputs.push_back(Input::RebootFailed { job, reason });
                    }
                    Effect::Kill { .. } | Effect::Reconnect => {}
                    Effect::Forget { .. } | Effect::Incompatible { .. } => self.over = true,
                }
            }
        }
    }

    async fn say(&mut self, message: &FromMinion) {
        let Some(link) = &mut self.link else { return };
        let (topic, payload) = link.seal(now(), message, &self.identity);
        self.publish(topic, payload).await;
    }

    async fn say_sample(&mut self) {
        self.sample_at = tokio::time::Instant::now() + self.sample_every.unwrap_or(WAKE_MAX);
        if self.link.is_some() {
            let sample = json!({ "cpu": 1.5, "mem": 40.0, "disk": 20.0, "load": 0.1, "uptime": 1000.0 });
            self.publish(Topic::Sample(self.id.clone()).to_string(), sample.to_string().into_bytes()).await;
        }
    }

    /// Says while hearing goes on: two full queues must not wait for each other.
    async fn publish(&mut self, topic: String, payload: Vec<u8>) {
        if std::mem::take(&mut self.fresh) {
            for _ in 0..FIRST_ATTEMPTS {
                if self.client.publish(topic.clone(), payload.clone(), false).await.is_ok() {
                    return;
                }
                tokio::task::yield_now().await;
            }
            return;
        }
        let mut publish = pin!(self.client.publish(topic, payload, false));
        loop {
            tokio::select! {
                biased;
                // What is not sent now is said again after the next hello.
                _ = &mut publish => return,
                Some(event) = self.events.recv(), if self.early.len() < EARLY_MAX => self.early.push_back(event),
            }
        }
    }

    /// The recipe of an offer, with its contents on the host.
    async fn recipe(&mut self, offer: &Offer) -> Result<Recipe, String> {
        let sealed = match &offer.recipe {
            SealedRecipe::Here { sealed } => decode(sealed)?,
            SealedRecipe::Fetch { hash, size } => self.fetch(*hash, *size).await?,
        };
        let text = seal::open(&sealed, &self.identity, &seal::recipe_context(&self.id, offer.job))
            .ok_or("the recipe was not sealed for this minion and job")?;
        let recipe: Recipe = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
        for (hash, file) in &recipe.files {
            let bytes = match &file.inline {
                Some(text) => decode(text)?,
                None => self.fetch(*hash, file.size).await?,
            };
            self.host.blobs.insert(*hash, Arc::from(bytes));
        }
        Ok(recipe)
    }

    // By `&mut`: a host in memory cannot be shared between threads.
    async fn fetch(&mut self, hash: ContentHash, size: u64) -> Result<Vec<u8>, String> {
        let https: Vec<String> = self.common.masters.masters.iter().flat_map(|it| it.https.clone()).collect();
        let tls = tls::client_config(&self.common.masters.pins(), Some(&self.identity));
        let part = self.common.folder.join(format!("{}-{hash}", self.id));
        bus::http::fetch(&https, tls, hash, size, &part).await.map_err(|error| error.to_string())?;
        let bytes = std::fs::read(&part).map_err(|error| error.to_string());
        let _ = std::fs::remove_file(&part);
        bytes
    }
}

fn decode(text: &str) -> Result<Vec<u8>, String> {
    BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| "no base64url".to_owned())
}

fn run(recipe: &Recipe, offer: &Offer, host: &mut FakeHost) -> RunEnd {
    let start = Instant::now();
    let options = RunOptions {
        mode: offer.mode,
        cancelled: &|| false,
        clock_ms: &|| u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
        pause_ms: &|_| {},
    };
    let mut events = Vec::new();
    let report = resources::run(recipe, &options, host, &mut |progress| {
        if let Progress::Event { tag, .. } = progress {
            events.push((tag, json!({})));
        }
    });
    host.blobs.clear();
    RunEnd::Report { report: Box::new(report), events }
}

/// Reads the seed of a swarm.
pub fn read_seed(path: &Path) -> anyhow::Result<Seed> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    Seed::parse(&text).map_err(|message| anyhow!("`{}`: {message}", path.display()))
}
