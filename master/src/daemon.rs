//! The loop: inputs in, step, effects out; the only code that decides order.

mod clock;
mod compile;
mod drain;
mod edits;
mod effects;
mod handle;
mod held;
mod hooks;
mod login;
mod outgoing;
mod register;
mod start;
mod tickets;
mod trees;
mod watch;

use crate::core::{Called, Delivery, Effect, Entry, Input, Master, Refused, Ticket};
use crate::gate::FromGate;
use crate::hooks::{Files, Keyring};
use crate::sources::{Commit, Generation, Reading};
use crate::store::{Health, Keep, Row, Store};
use bus::message::{EnrollAnswer, ToMinion};
use bus::pulse::Beat;
use compile::{Done, Pool};
use lang::{notifiers::Notifiers, roles::Roles};
use model::{
    Caller, Diagnostic, Event, Fingerprint, JobId, JobKind, MinionId, Reply, Request, Timestamp, api,
};
use register::Register;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tickets::{Tickets, Waiter, unavailable};
use tokio::sync::{Semaphore, broadcast, mpsc};
use tracing::{info, warn};

pub use clock::Clock;
pub use handle::Handle;
pub use held::Held;
pub use login::{Credential, Local, LocalRight, LoginFault};
pub(crate) use register::known_name;
pub(crate) use start::lock;
#[cfg(test)]
pub(crate) use start::whole;
pub use start::{StartError, run};

/// Inputs that may wait for the loop.
const INPUTS_MAX: usize = 1024;
/// Transactions that may be on their way to the disk before inputs have to wait.
const IN_FLIGHT_MAX: u64 = 512;
/// Events that a slow reader may be behind.
const EVENTS_MAX: usize = 1024;
/// How long a request may take.
const REQUEST_MAX: Duration = Duration::from_mins(2);
/// The loop looks at the time at least this often, whatever the core wants.
const WAKE_MAX: Duration = Duration::from_secs(10);
/// How often retained topics that changed go to the store: each time costs the pages of all minions' topics, on a card
/// that wears out, and the next sample comes in seconds.
pub const RETAINED_EVERY: Duration = Duration::from_hours(1);
/// Sealed recipes kept in memory for their first offer.
const SEALED_MAX: usize = 64;
/// Requests that wait for the first reading of the trees.
const EARLY_MAX: usize = 64;

/// What comes to the loop beside the gate's messages.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// Somebody asks.
    Ask {
        /// Who.
        caller: Caller,
        /// What.
        request: Box<Request>,
        /// Fresh.
        random: [u8; 16],
        /// Gets the answer.
        waiter: Waiter,
    },
    /// A compile ended.
    Compiled(Done),
    /// It was not even begun.
    NotCompiled(Done),
    /// The trees were read.
    Trees(Reading),
    /// What comes next of the trees came by this commit.
    Pushed(Box<Commit>),
    /// A commit cannot be used.
    BadPush(Vec<Diagnostic>),
    /// A list of masters is on disk, or cannot be.
    MastersKept(Ticket, String, Option<String>),
    /// The roles were read.
    Roles(edits::Reading<Roles>),
    /// The hooks were read.
    Hooks(edits::Reading<Keyring>),
    /// A sender of a hook sent something.
    Hook(Box<Delivery>, Waiter),
    /// `notify.yaml` was read.
    Notifiers(edits::Reading<Notifiers>),
    /// A call to another service is over.
    Called(String, Called),
    /// Somebody was not let in.
    Refused(Box<Refused>),
    /// Something that was looked up beside the loop.
    Answer(Ticket, Box<Reply>),
}

/// Where effects go that leave the process.
pub(crate) trait Outside: Send {
    /// To a minion, if it is connected.
    fn send(&self, minion: &MinionId, message: &ToMinion);
    /// Ends a minion's connection.
    fn close(&self, minion: &MinionId);
    /// Ends the connection of a key that is not welcome any more.
    fn close_key(&self, fingerprint: &Fingerprint);
    /// To a key that wants to enrol.
    fn enroll_answer(&self, fingerprint: &Fingerprint, answer: &EnrollAnswer);
    /// To observers, live.
    fn publish(&self, topic: &str, payload: &str);
    /// Whether there are any.
    fn is_observed(&self) -> bool;
    /// To observers, live; why not, if nobody could hear it.
    fn tell(&self, topic: &str, payload: &str) -> Result<(), &'static str> {
        if !self.is_observed() {
            return Err("nobody is connected who could hear it");
        }
        self.publish(topic, payload);
        Ok(())
    }
    /// Fills in what only the shell knows.
    fn fill(&self, status: &mut api::MasterStatus);
    /// Makes a seed.
    fn seed(&self, terms: &mut model::TokenTerms) -> Result<serde_json::Value, String>;
    /// Ends all connections in good order, and lets nobody in any more.
    fn say_goodbye(&self) {}
    /// How many have not ended yet.
    fn still_connected(&self) -> usize {
        0
    }
}

/// What the loop owns.
pub(crate) struct Daemon<O> {
    pub(crate) master: Master,
    pub(crate) store: Store,
    pub(crate) outside: O,
    pub(crate) register: Arc<Register>,
    pub(crate) events: broadcast::Sender<Arc<Event>>,
    pub(crate) loopback: mpsc::Sender<Incoming>,
    pub(crate) keep: Keep,
    pub(crate) contents: Arc<PathBuf>,
    pub(crate) masters_path: PathBuf,
    pub(crate) hook_files: Files,
    pub(crate) pool: Pool,
    tickets: Tickets,
    generation: Option<Arc<Generation>>,
    /// Asked before the trees were read for the first time.
    early: Vec<Incoming>,
    held: Held<Act>,
    sealed: VecDeque<(JobId, MinionId, Arc<[u8]>)>,
    retained_due: Instant,
    clock_set: bool,
    test_calls: Arc<Semaphore>,
    beat: Beat,
}

/// Something to be done once what was recorded before it is on disk.
#[derive(Debug)]
enum Act {
    Learn(Box<Entry>),
    Do(Box<Effect>),
    Answer(Ticket, Box<Reply>),
}

/// Parts that a daemon is made of.
pub(crate) struct Parts<O> {
    pub(crate) master: Master,
    pub(crate) store: Store,
    pub(crate) outside: O,
    pub(crate) register: Arc<Register>,
    pub(crate) events: broadcast::Sender<Arc<Event>>,
    pub(crate) loopback: mpsc::Sender<Incoming>,
    pub(crate) keep: Keep,
    pub(crate) contents: Arc<PathBuf>,
    pub(crate) masters_path: PathBuf,
    pub(crate) hook_files: Files,
    pub(crate) threads: usize,
    pub(crate) beat: Beat,
}

impl<O: Outside> Daemon<O> {
    /// Puts the parts together.
    pub(crate) fn new(parts: Parts<O>) -> Self {
        let Parts { master, store, outside, register, events, loopback, keep, contents, .. } = parts;
        let Parts { masters_path, hook_files, threads, beat, .. } = parts;
        Self {
            master,
            store,
            outside,
            register,
            events,
            loopback,
            keep,
            contents,
            masters_path,
            hook_files,
            pool: Pool::new(threads),
            tickets: Tickets::default(),
            generation: None,
            early: Vec::new(),
            held: Held::default(),
            sealed: VecDeque::new(),
            retained_due: Instant::now() + RETAINED_EVERY,
            clock_set: true,
            test_calls: outgoing::places(),
            beat,
        }
    }
    /// Runs until `stop` ends; an error is a reason to end the process.
    pub(crate) async fn run(
        mut self,
        mut inputs: mpsc::Receiver<Incoming>,
        mut gate: mpsc::Receiver<FromGate>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), String> {
        let mut committed = self.store.committed();
        let mut health = self.store.health();
        health.mark_changed();
        tokio::pin!(stop);
        self.tick();
        loop {
            let room = self.store.submitted().saturating_sub(*committed.borrow()) < IN_FLIGHT_MAX;
            tokio::select! {
                () = &mut stop => break,
                Ok(()) = committed.changed() => self.release(),
                Ok(()) = health.changed() => {
                    let now = health.borrow_and_update().clone();
                    self.health(now)?;
                }
                Some(incoming) = inputs.recv(), if room => self.take(incoming),
                Some(message) = gate.recv(), if room => self.take_message(message),
                () = tokio::time::sleep(self.patience()), if room => self.tick(),
                () = tokio::time::sleep(self.beat.every()) => {}
            }
            self.beat.turn();
            if committed.has_changed().is_err() {
                self.health(health.borrow().clone())?;
                return Err("the store's writer has ended".into());
            }
            if self.held.is_lost() {
                return Err("the store takes no more writes".into());
            }
        }
        info!("stopping");
        self.drain(inputs, gate, committed).await;
        self.stop().await
    }
    fn take(&mut self, incoming: Incoming) {
        if let Incoming::Ask { request, .. } = &incoming
            && self.is_early(request)
        {
            return self.early.push(incoming);
        }
        match incoming {
            Incoming::Ask { caller, request, random, waiter } => {
                let ticket = self.tickets.issue(waiter);
                self.step(Input::Request { ticket, caller, request, random }, None);
            }
            Incoming::Compiled(done) => {
                self.pool.ended();
                self.step(done.input, done.sealed);
                self.begin_compiles();
            }
            Incoming::NotCompiled(done) => self.step(done.input, None),
            Incoming::Trees(reading) => self.trees(reading),
            Incoming::Pushed(commit) => self.step(Input::Pushed(commit), None),
            Incoming::BadPush(errors) => self.broken_trees(errors),
            Incoming::MastersKept(ticket, text, failure) => {
                if failure.is_none() {
                    self.register.set_masters(&text);
                }
                self.step(Input::MastersKept { ticket, text, failure }, None);
            }
            Incoming::Roles(Ok(roles)) => {
                self.register.set_roles(Arc::clone(&roles));
                self.step(Input::Roles(roles), None);
            }
            Incoming::Roles(Err(errors)) => self.step(Input::BrokenRoles(errors), None),
            Incoming::Hooks(Ok(keyring)) => {
                self.register.set_hooks(Arc::clone(&keyring));
                self.step(Input::Hooks(keyring), None);
            }
            Incoming::Hooks(Err(errors)) => self.step(Input::BrokenHooks(errors), None),
            Incoming::Hook(delivery, waiter) => {
                let ticket = self.tickets.issue(waiter);
                self.step(Input::Hook { ticket, delivery }, None);
            }
            Incoming::Notifiers(Ok(notifiers)) => self.step(Input::Notifiers(notifiers), None),
            Incoming::Notifiers(Err(errors)) => self.step(Input::BrokenNotifiers(errors), None),
            Incoming::Called(id, called) => self.step(Input::Called { id, called }, None),
            Incoming::Refused(refused) => self.step(Input::Refused(refused), None),
            Incoming::Answer(ticket, reply) => self.tickets.reply(ticket, *reply),
        }
    }
    /// Whether it is about the trees, and these are still being read for the first time.
    fn is_early(&self, request: &Request) -> bool {
        let needs_trees = match request {
            Request::Submit { kind, .. } => matches!(kind, JobKind::Apply { .. }),
            Request::Compile { .. } | Request::Pillar { .. } | Request::Rules => true,
            _ => false,
        };
        self.generation.is_none() && needs_trees && self.early.len() < EARLY_MAX
    }
    fn take_message(&mut self, message: FromGate) {
        let input = match message {
            FromGate::Connected { minion, epoch, address } => Input::Connected { minion, epoch, address },
            FromGate::Disconnected { minion, epoch } => Input::Disconnected { minion, epoch },
            FromGate::Message { minion, epoch, message } => Input::Message { minion, epoch, message },
            FromGate::Sample { minion, sample } => Input::Sample { minion, sample },
            FromGate::Enroll { fingerprint, request, terms, address, .. } => {
                Input::Enroll { fingerprint, request, terms, address }
            }
            FromGate::Integration { user, tag, data } => Input::Integration { user, tag, data },
        };
        self.step(input, None);
    }
    fn tick(&mut self) {
        let set = clock::is_set();
        if set != self.clock_set {
            self.clock_set = set;
            self.step(Input::Clock { set }, None);
        }
        if Instant::now() >= self.retained_due {
            self.retained_due = Instant::now() + RETAINED_EVERY;
            self.save_retained();
        }
        self.step(Input::Tick, None);
    }
    fn save_retained(&self) {
        let rows = self.register.take_dirty().into_iter();
        self.store.later(rows.map(|(topic, payload)| Row::Retained { topic, payload }).collect());
    }
    fn patience(&self) -> Duration {
        let wake = self.master.next_wake().unwrap_or(Timestamp(u64::MAX));
        Duration::from_millis(wake.since_ms(clock::now()).max(1)).min(WAKE_MAX)
    }
    fn health(&mut self, health: Health) -> Result<(), String> {
        match health {
            Health::Failed(reason) => return Err(reason),
            Health::Full(reason) => self.step(Input::StoreHealth(Some(reason)), None),
            Health::Well => self.step(Input::StoreHealth(None), None),
        }
        Ok(())
    }
    fn trees(&mut self, reading: Reading) {
        let Reading { generation, errors } = reading;
        let asleep = self.generation.as_ref().is_none_or(|it| it.rules.is_none());
        if errors.is_empty() || self.generation.is_none() || (asleep && generation.rules.is_some()) {
            info!(revision = %generation.revision, files = generation.files.len(), "trees in use");
            self.adopt(&generation);
            let revision = generation.revision;
            if let Some(rules) = generation.rules.clone() {
                self.step(Input::Sources { revision, rules }, None);
            } else {
                warn!("no rule and no schedule acts until reactors/ is right: events wait for them");
                self.step(Input::SourcesWithoutRules { revision }, None);
            }
        }
        if !errors.is_empty() {
            self.broken_trees(errors);
        }
        for waiting in std::mem::take(&mut self.early) {
            self.take(waiting);
        }
    }
    fn broken_trees(&mut self, errors: Vec<Diagnostic>) {
        let first = errors.first();
        let place = first.and_then(|it| it.spans.first()).map(|it| format!("{}:{}", it.file, it.line));
        let (count, first) = (errors.len(), place.unwrap_or_default());
        let says = errors.first().map(|it| it.message.as_str()).unwrap_or_default();
        warn!(count, first, says, "the newest edit of the trees is broken, the last good one stays in use");
        self.step(Input::BrokenSources(errors), None);
    }
    fn adopt(&mut self, generation: &Arc<Generation>) {
        self.register.set_files(Arc::clone(&generation.files));
        let Some(old) = self.generation.replace(Arc::clone(generation)) else { return };
        let (contents, grants, new) =
            (Arc::clone(&self.contents), self.register.grants(), Arc::clone(generation));
        tokio::task::spawn_blocking(move || trees::spill(&contents, &grants, &old, &new));
    }
    async fn stop(self) -> Result<(), String> {
        self.save_retained();
        let Self { mut store, outside, .. } = self;
        drop(outside);
        let closing = tokio::task::spawn_blocking(move || {
            store.close();
            store.health().borrow().clone()
        });
        match closing.await {
            Ok(Health::Failed(reason)) => Err(reason),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
