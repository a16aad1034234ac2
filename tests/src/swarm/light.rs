//! One minion of a swarm: the core that real ones have, and what it needs around it.

use super::{
    Common, Luck, Milestone, Orders, addresses, now, now_us,
    wire::{Happening, Wire, WireConfig},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bus::{
    Identity, Topic, envelope,
    message::{FromMinion, Offer, SealedRecipe, ToMinion},
    seal, tls,
};
use minion::{
    core::{Effect, Input, Minion, RunEnd, Settings},
    grains,
    link::{Link, signers},
};
use model::{ContentHash, Grains, MinionId, Recipe};
use resources::{Progress, RunOptions, fake_host::FakeHost};
use serde_json::json;
use std::{
    collections::VecDeque,
    net::Ipv4Addr,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, watch};

/// Longest wait of a connected minion between two looks at its core.
const WAKE_MAX: Duration = Duration::from_mins(1);
/// Heard while something was being said; beyond, reading waits.
const EARLY_MAX: usize = 1024;

/// A member: the core and its connection.
pub(super) struct Light {
    id: MinionId,
    number: usize,
    identity: Identity,
    common: Arc<Common>,
    core: Minion,
    grains: Grains,
    host: FakeHost,
    wire: Wire,
    happenings: mpsc::Receiver<Happening>,
    early: VecDeque<Happening>,
    link: Option<Link>,
    connection: u64,
    pub(super) welcomed: bool,
    /// Was welcomed, and is not connected.
    away: bool,
    over: bool,
    sample_every: Option<Duration>,
    sample_at: tokio::time::Instant,
    orders: watch::Receiver<Orders>,
    luck: Luck,
    /// Begun, and not to end yet.
    held: Vec<Offer>,
    let_go_at: Option<tokio::time::Instant>,
    /// Number up to which the master has its events.
    events_taken: u64,
    events_wanted: u32,
    react_at: Option<tokio::time::Instant>,
    /// When it said an event whose reaction was not offered yet.
    reacting_us: Option<u64>,
}

impl Light {
    pub(super) fn connect(
        (id, number): (MinionId, usize),
        identity: Identity,
        source: Ipv4Addr,
        common: Arc<Common>,
        (orders, luck): (watch::Receiver<Orders>, Luck),
    ) -> Self {
        let (wire, happenings) = Wire::start(WireConfig {
            master: addresses(&common.masters).into_iter().next().unwrap_or_default(),
            source,
            tls: tls::client_config(&common.masters.pins(), Some(&identity)),
            client_id: id.to_string(),
            inbox: Topic::In(id.clone()).to_string(),
        });
        let grains = grains::imagined(&id);
        let settings = Settings {
            version: model::VERSION.to_owned(),
            boot: id.to_string(),
            sandbox: true,
            masters: common.masters.version,
            masters_hash: None,
            outbox_bytes: minion::core::OUTBOX_BYTES_MAX,
            conduct: None,
            grains_hash: grains::hash(&grains),
            grains: grains.clone(),
        };
        Self {
            core: Minion::restore(settings, now(), []),
            id,
            number,
            identity,
            common,
            grains,
            host: FakeHost::default(),
            wire,
            happenings,
            early: VecDeque::new(),
            link: None,
            connection: 0,
            welcomed: false,
            away: false,
            over: false,
            sample_every: None,
            sample_at: tokio::time::Instant::now(),
            orders,
            luck,
            held: Vec::new(),
            let_go_at: None,
            events_taken: 0,
            events_wanted: 0,
            react_at: None,
            reacting_us: None,
        }
    }

    /// Waits for one thing to happen and deals with it; false is the end.
    pub(super) async fn live_on(&mut self) -> bool {
        if let Some(happening) = self.early.pop_front() {
            self.on_bus(happening).await;
            return !self.over;
        }
        let wait = self.core.next_wake().map_or(WAKE_MAX, |at| Duration::from_millis(at.since_ms(now())));
        let let_go_at = self.let_go_at.unwrap_or(self.sample_at);
        let react_at = self.react_at.unwrap_or(self.sample_at);
        tokio::select! {
            happening = self.happenings.recv() => match happening {
                Some(happening) => self.on_bus(happening).await,
                None => self.over = true,
            },
            Ok(()) = self.orders.changed() => self.on_orders().await,
            () = tokio::time::sleep_until(let_go_at), if self.let_go_at.is_some() => self.let_go().await,
            () = tokio::time::sleep_until(react_at), if self.react_at.is_some() => self.say_reacted().await,
            () = tokio::time::sleep(wait.min(WAKE_MAX)) => self.step(Input::Tick).await,
            () = tokio::time::sleep_until(self.sample_at), if self.sample_every.is_some() => self.say_sample().await,
        }
        !self.over
    }

    async fn on_bus(&mut self, happening: Happening) {
        match happening {
            Happening::Connected(connection) => {
                let session = envelope::random_session();
                self.connection = connection;
                self.link = Some(Link::new(&self.id, signers(&self.common.masters), &session));
                self.step(Input::Connected).await;
            }
            Happening::Message { topic, payload } => {
                let master_now = self.core.master_now(now());
                let Some(link) = &mut self.link else { return };
                match link.open(&topic, &payload, master_now) {
                    Ok((message, sent)) => {
                        self.notice(&message);
                        self.step(Input::Message { message: Box::new(message), sent }).await;
                        self.say_events().await;
                    }
                    Err(rejected) => {
                        eprintln!("{}: a message was not believed: {rejected}", self.id);
                        self.over = true;
                    }
                }
            }
            Happening::Lost => {
                if self.welcomed && !std::mem::replace(&mut self.away, true) {
                    self.common.tell(Milestone::Lost);
                }
                self.link = None;
                self.step(Input::Disconnected).await;
            }
        }
    }

    /// Tells what a message of the master means for those who measure.
    fn notice(&mut self, message: &ToMinion) {
        match message {
            ToMinion::Welcome { .. } => {
                self.welcomed = true;
                if std::mem::take(&mut self.away) {
                    self.common.tell(Milestone::Back);
                }
            }
            ToMinion::Offer(_) => {
                if let Some(at) = self.reacting_us.take() {
                    self.common.tell(Milestone::Offered(now_us().saturating_sub(at)));
                }
            }
            ToMinion::Ack { jobs, events } => {
                if !jobs.is_empty() {
                    let count = u32::try_from(jobs.len()).unwrap_or(u32::MAX);
                    self.common.tell(Milestone::Taken(count, now_us()));
                }
                let events = events.unwrap_or(0);
                if events > self.events_taken {
                    let more = events - std::mem::replace(&mut self.events_taken, events);
                    self.events_wanted += u32::try_from(more).unwrap_or(0);
                    self.common.tell(Milestone::Events(more));
                }
            }
            _ => {}
        }
    }

    async fn on_orders(&mut self) {
        let orders = *self.orders.borrow_and_update();
        self.over |= self.number < orders.vanish;
        self.let_go_at = (!orders.hold && !self.held.is_empty()).then(|| {
            let wait = random_up_to(orders.within_ms);
            tokio::time::Instant::now() + Duration::from_millis(wait)
        });
        self.events_wanted = orders.events;
        self.react_at = (orders.react_ms > 0).then(|| {
            let wait = random_up_to(orders.react_ms.into());
            tokio::time::Instant::now() + Duration::from_millis(wait)
        });
        self.say_events().await;
    }

    /// Says an event that a rule answers with a job, if the last one was answered.
    async fn say_reacted(&mut self) {
        let pause = Duration::from_millis(self.orders.borrow().react_ms.into());
        self.react_at = self.react_at.map(|at| at + pause);
        if self.reacting_us.is_some() {
            self.common.tell(Milestone::Overdue);
            return;
        }
        self.reacting_us = Some(now_us());
        self.step(Input::Event { tag: "event/react".to_owned(), data: json!({ "load": 0.95 }) }).await;
    }

    async fn say_events(&mut self) {
        let wanted = std::mem::take(&mut self.events_wanted);
        if self.orders.borrow().events == 0 {
            return;
        }
        for _ in 0..wanted {
            let data = json!({ "load": 0.25, "note": "nothing to be done about it" });
            self.step(Input::Event { tag: "event/bench".to_owned(), data }).await;
        }
    }

    async fn let_go(&mut self) {
        self.let_go_at = None;
        for offer in std::mem::take(&mut self.held) {
            let end = self.end_of(&offer).await;
            self.step(Input::RunEnded { job: offer.job, end }).await;
        }
    }

    async fn end_of(&mut self, offer: &Offer) -> RunEnd {
        match self.recipe(offer).await {
            Ok(recipe) => {
                let end = run(&recipe, offer, &mut self.host);
                if let Some(machines) = &self.common.machines {
                    machines.note_run(&self.id, offer.job, &recipe, &self.host.machine);
                }
                end
            }
            Err(reason) => RunEnd::NotBegun { reason },
        }
    }

    /// A step and all that follows from it; what a run leads to is a step too.
    pub(super) async fn step(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for effect in self.core.step(now(), input) {
                match effect {
                    // The journal is in memory: the core has it.
                    Effect::Record(_)
                    | Effect::Later(_)
                    | Effect::Cancel { .. }
                    | Effect::Clean { .. }
                    | Effect::Masters(_)
                    | Effect::Kill { .. }
                    | Effect::Due { .. }
                    | Effect::Reconnect => {}
                    Effect::Send(message) => self.say(&message).await,
                    Effect::Start { offer, .. } if self.orders.borrow().hold => {
                        self.held.push(*offer);
                        self.common.tell(Milestone::Began);
                    }
                    Effect::Start { offer, .. } => {
                        let end = self.end_of(&offer).await;
                        inputs.push_back(Input::RunEnded { job: offer.job, end });
                    }
                    Effect::Recover { job, .. } => {
                        let end = RunEnd::Lost { reason: "it has no workers".to_owned() };
                        inputs.push_back(Input::RunEnded { job, end });
                    }
                    Effect::CollectGrains { probe } => inputs.push_back(Input::Grains {
                        probe: Some(probe),
                        grains: self.grains.clone(),
                        hash: grains::hash(&self.grains),
                    }),
                    Effect::Wake { probe, .. } => {
                        self.say(&FromMinion::Answer { probe, answer: serde_json::Value::Null }).await;
                    }
                    Effect::AnswerQuestions { probe, questions, commands } => {
                        let answer =
                            resources::questions::answer_all(&questions, commands, &mut self.host, &|| {
                                resources::questions::ALL_MS_MAX
                            });
                        inputs.push_back(Input::Answered { probe, answer });
                    }
                    Effect::ShowBeacons { probe, .. } => {
                        let answer = serde_json::json!({ "beacons": [], "complaints": [] });
                        inputs.push_back(Input::Answered { probe, answer });
                    }
                    Effect::Conduct { hash, .. } => inputs.push_back(Input::Conduct(Some(hash))),
                    Effect::Pace { sample_s, spread_s } => {
                        self.wire.spread_next(u64::from(spread_s) * 1000);
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
                    Effect::Forget { .. } | Effect::Incompatible { .. } => self.over = true,
                }
            }
        }
    }

    async fn say(&mut self, message: &FromMinion) {
        if matches!(message, FromMinion::Hello(_)) && self.common.is_lost(&mut self.luck) {
            return self.wire.hang_up(self.connection).await;
        }
        let Some(link) = &mut self.link else { return };
        let (topic, payload) = link.seal(now(), message, &self.identity);
        self.common.words[self.number].note();
        if matches!(message, FromMinion::Result(_)) {
            self.common.tell(Milestone::Said(now_us()));
        }
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
        let mut publish = pin!(self.wire.publish(self.connection, topic, payload));
        loop {
            tokio::select! {
                biased;
                // What is not sent now is said again after the next hello.
                () = &mut publish => return,
                Some(happening) = self.happenings.recv(), if self.early.len() < EARLY_MAX => {
                    self.early.push_back(happening);
                }
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

fn random_up_to(ms: u64) -> u64 {
    let mut random = [0; 8];
    getrandom::fill(&mut random).expect("the system has randomness");
    u64::from_le_bytes(random) % (ms + 1)
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
