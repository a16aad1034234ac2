//! All of the master's memory and judgement: `step(now, input) -> effects`. Does no I/O, reads no clock, has no
//! randomness of its own.

use bus::message::{EnrollAnswer, EnrollRequest, FromMinion, ToMinion};
use lang::rules::Rules;
use model::{
    Caller, ContentHash, Decision, Diagnostic, Event, Fingerprint, Job, JobId, JobTarget, Key, Minion,
    MinionId, Mode, Observer, Operator, Recipe, Reply, Request, Revision, RunReport, Timestamp, Token,
    TokenTerms, api,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Names who waits for a [`Reply`]; made by the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Everything that can happen to a master.
#[derive(Debug)]
pub enum Input {
    /// An accepted minion's connection is up; its hello follows. A higher `epoch` is a later connection.
    Connected {
        /// Who, by key.
        minion: MinionId,
        /// Of this connection; grows over all connections and restarts of the gate.
        epoch: u64,
        /// Address without port.
        address: String,
    },
    /// A connection ended.
    Disconnected {
        /// Who.
        minion: MinionId,
        /// Which.
        epoch: u64,
    },
    /// A verified message of an accepted minion. `epoch` is that of its connection.
    Message {
        /// Who, by key.
        minion: MinionId,
        /// Which connection.
        epoch: u64,
        /// What.
        message: Box<FromMinion>,
    },
    /// A telemetry sample (flat object of numbers; checked by the gate).
    Sample {
        /// Who.
        minion: MinionId,
        /// What.
        sample: Map<String, Value>,
    },
    /// A verified enrolment request. `terms` if it came with a token that the issuer key signed and whose image key
    /// signed the request.
    Enroll {
        /// Of the key that signed it.
        fingerprint: Fingerprint,
        /// What it says.
        request: Box<EnrollRequest>,
        /// Good token, or why it is none.
        terms: Result<Box<TokenTerms>, TokenFault>,
        /// Address without port.
        address: String,
    },
    /// An operator, a dashboard or the API asks.
    Request {
        /// For the answer.
        ticket: Ticket,
        /// Who.
        caller: Caller,
        /// What.
        request: Box<Request>,
        /// Fresh random bytes for ids that the core must make.
        random: [u8; 16],
    },
    /// An integration published on `lab/in/<user>/<tag>`.
    Integration {
        /// Its user name.
        user: String,
        /// Below `lab/in/<user>/`.
        tag: String,
        /// Payload: an object, or `{"value": ...}`.
        data: Map<String, Value>,
    },
    /// New trees are in use.
    Sources {
        /// Which.
        revision: Revision,
        /// Their rules.
        rules: Rules,
    },
    /// An edit of the trees does not load; the last good one stays in use.
    BrokenSources(Vec<Diagnostic>),
    /// To [`Effect::Compile`].
    Compiled {
        /// Which job.
        job: JobId,
        /// For whom.
        minion: MinionId,
        /// From which trees.
        revision: Revision,
        /// The recipe was sealed and stored under the job and minion (hash and bytes of the ciphertext), or why not.
        result: Result<SealedRef, Vec<Diagnostic>>,
    },
    /// To [`Effect::CompileView`] and the like: passes through to the asker.
    Answered {
        /// For whom.
        ticket: Ticket,
        /// What.
        reply: Box<Reply>,
    },
    /// What top.sls assigns, for views and `state:` targets.
    Assigned {
        /// For whom.
        minion: MinionId,
        /// Names, or none if it does not compile.
        states: Option<Vec<String>>,
    },
    /// The store is full or failing (`Some(reason)`), or well again (`None`).
    StoreHealth(Option<String>),
    /// Time passed.
    Tick,
}

/// Why a token is not good; whether it is expired, used up or for another name is for the core to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenFault {
    /// There was none.
    Absent,
    /// Not signed by this organization, or the request not signed by its image key.
    Forged,
}

/// Where a sealed recipe lies in the store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SealedRef {
    /// SHA-256 of the ciphertext.
    pub hash: ContentHash,
    /// Bytes of ciphertext.
    pub size: u64,
    /// Steps in the recipe.
    pub steps: u32,
    /// Content hashes that the minion may fetch for it.
    pub grants: Vec<ContentHash>,
}

/// Everything a master can ask for. Performed in order; what follows a [`Effect::Record`] waits until it is synced.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Put on disk, synced. All records of one step are one transaction.
    Record(Box<Entry>),
    /// Put on disk within ten minutes and at a clean stop.
    Later(Box<Entry>),
    /// Send, if it is connected with this epoch (or a later one).
    Send {
        /// To whom.
        minion: MinionId,
        /// What.
        message: Box<ToMinion>,
    },
    /// Send the stored sealed recipe of (job, minion) as an offer; the shell puts the recipe in.
    Offer {
        /// To whom.
        minion: MinionId,
        /// Which.
        job: JobId,
        /// All but the recipe.
        mode: Mode,
        /// At most once.
        command: bool,
        /// All that is assigned.
        full: bool,
        /// By our clock.
        expires: Timestamp,
        /// For people.
        what: String,
        /// The stored recipe.
        recipe: SealedRef,
    },
    /// End the connection of a minion now.
    Close {
        /// Whose.
        minion: MinionId,
    },
    /// Compile (pure, on any thread), seal to `minion`'s key, store; answer with [`Input::Compiled`].
    Compile {
        /// Which job.
        job: JobId,
        /// For whom; grains and labels as the core knows them now.
        minion: MinionId,
        /// What.
        kind: model::JobKind,
    },
    /// Compile for people and answer with [`Input::Answered`].
    CompileView {
        /// For whom.
        ticket: Ticket,
        /// Whose.
        minions: Vec<MinionId>,
        /// Which states; empty is what top.sls assigns.
        states: Vec<String>,
    },
    /// Pillar for people, the same way.
    PillarView {
        /// For whom.
        ticket: Ticket,
        /// Whose.
        minions: Vec<MinionId>,
    },
    /// Work out what top.sls assigns; answer with [`Input::Assigned`].
    Assign {
        /// Whose.
        minion: MinionId,
    },
    /// Read from the store and answer the ticket with it, without another step.
    Read {
        /// For whom.
        ticket: Ticket,
        /// What.
        query: Query,
    },
    /// Answer a request.
    Reply {
        /// For whom.
        ticket: Ticket,
        /// What.
        reply: Box<Reply>,
    },
    /// One answer of a probe, to whoever streams it (`None` ends the stream; the folded reply comes as [`Effect::Reply`]).
    ProbeLine {
        /// For whom.
        ticket: Ticket,
        /// What.
        line: api::ProbeLine,
    },
    /// A line for everyone who watches this job.
    JobLine {
        /// Which.
        job: JobId,
        /// What.
        line: Box<api::JobLine>,
    },
    /// An event for everyone who watches events, and for the fan-out below `lab/event/`.
    Event(Box<Event>),
    /// Publish to observers; retained ones replace what was there, an empty payload removes it.
    Publish {
        /// Below the root `lab/` or `homeassistant/`, whole.
        topic: String,
        /// JSON or text.
        payload: String,
        /// Kept for those who come later.
        retain: bool,
    },
    /// Answer an enrolment.
    EnrollAnswer {
        /// To which key.
        fingerprint: Fingerprint,
        /// What.
        answer: EnrollAnswer,
    },
    /// Make a seed: sign `terms` (its `image_key` is still empty), record the token as [`Entry::Token`], then answer
    /// the ticket with [`Reply::Seed`].
    MakeSeed {
        /// For whom.
        ticket: Ticket,
        /// Terms.
        terms: Box<TokenTerms>,
        /// Who asked.
        made_by: String,
    },
    /// Delete what is older than the limits; answer the ticket.
    Gc {
        /// For whom; none for the regular one.
        ticket: Option<Ticket>,
        /// Keep this much, in milliseconds.
        keep_ms: Option<u64>,
    },
}

/// What the store is asked for on behalf of a ticket.
#[derive(Clone, Debug, PartialEq)]
pub enum Query {
    /// -> [`Reply::Jobs`]
    Jobs(api::JobFilter, Option<Vec<MinionId>>),
    /// -> [`Reply::Job`]; id, beginning, or `@last` (of that caller).
    Job(String, String),
    /// -> [`Reply::Report`]
    Report(JobId, MinionId),
    /// -> [`Reply::Events`]
    Events(api::EventFilter),
    /// -> [`Reply::Decisions`]
    Decisions(Option<String>, u32),
}

/// What is kept on disk. Every entry replaces the one of the same key; [`Master::remember`] is the one place that
/// alters memory, for a live step and for a restart alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "entry", content = "data")]
pub enum Entry {
    /// Key: fingerprint.
    Key(Key),
    /// That key is forgotten.
    KeyGone(Fingerprint),
    /// Key: id.
    Minion(Minion),
    /// That minion is forgotten.
    MinionGone(MinionId),
    /// Key: name.
    Token(Token),
    /// Key: name.
    Observer(Observer),
    /// That observer is forgotten.
    ObserverGone(String),
    /// Key: name.
    Operator(Operator),
    /// Key: id.
    Job(Job),
    /// Key: job and minion.
    Target(JobTarget),
    /// Key: job and minion. Reports of runs that changed nothing are kept as their tally only.
    Report(JobId, MinionId, Box<RunReport>),
    /// Key: job and minion: where the sealed recipe lies; gone with the target's end.
    Recipe(JobId, MinionId, SealedRef),
    /// Key: number. The reactor's cursor is the highest.
    Event(Event),
    /// Key: event number.
    Decision(Decision),
    /// Key: minion. Number up to which its events were taken.
    EventsTaken(MinionId, u64),
    /// Appended, hash-chained by the store.
    Audit(Audit),
    /// Latest time seen, so that the clock never goes back over a restart.
    Clock(Timestamp),
}

/// One request, for the audit log. Committed with the records of what it caused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Audit {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub caller: Caller,
    /// The request's name and gist, without secrets.
    pub what: String,
    /// `accepted`, or why it was refused.
    pub result: String,
}

/// What the core is told once.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Master's name, for topics.
    pub name: String,
    /// Release.
    pub version: String,
    /// Seconds between heartbeats of minions.
    pub heartbeat_s: u32,
    /// Seconds between telemetry samples.
    pub sample_s: u32,
    /// How long an offer stays good unless the request says otherwise, in milliseconds.
    pub offer_ms: u64,
    /// Age at which ended jobs, events and decisions are deleted, in milliseconds.
    pub keep_ms: u64,
    /// About this master.
    pub info: api::MasterInfo,
}

/// The master.
#[derive(Debug)]
pub struct Master {
    settings: Settings,
}

impl Master {
    /// Wakes up with what is on disk (in any order that has keys and minions before jobs).
    pub fn restore(settings: Settings, _now: Timestamp, _entries: impl IntoIterator<Item = Entry>) -> Self {
        Self { settings }
    }
    /// Takes in one thing that happened and says what to do about it.
    pub fn step(&mut self, _now: Timestamp, _input: Input) -> Vec<Effect> {
        let _ = &self.settings;
        todo!()
    }
    /// When the next [`Input::Tick`] is needed at the latest.
    pub fn next_wake(&self) -> Option<Timestamp> {
        todo!()
    }
    /// An accepted minion, for the gate's directory and the compiler.
    pub fn minion(&self, _id: &MinionId) -> Option<&Minion> {
        todo!()
    }
    /// A key by fingerprint.
    pub fn key(&self, _fingerprint: &Fingerprint) -> Option<&Key> {
        todo!()
    }
    /// Labels and grains of all, for compiles; and the observers, operators and tokens for the gate.
    pub fn observers(&self) -> impl Iterator<Item = &Observer> {
        std::iter::empty()
    }
    /// Operators.
    pub fn operators(&self) -> impl Iterator<Item = &Operator> {
        std::iter::empty()
    }
    /// Keys.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        std::iter::empty()
    }
    /// What a compile of a recipe for one minion gave, checked before it is sealed: size and step limits.
    pub fn recipe_limits(_recipe: &Recipe) -> Result<(), String> {
        Ok(())
    }
}
