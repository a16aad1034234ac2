//! Everything a master can ask its shell for.

use super::{Asked, Entry, SealedRef};
use bus::message::{EnrollAnswer, ToMinion};
use lang::notifiers::Call;
use model::{Event, Fingerprint, JobId, MinionId, Mode, Reply, Timestamp, TokenTerms, api};

/// Names who waits for a [`Reply`]; made by the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Everything a master can ask for. Performed in order; what follows a [`Effect::Record`] waits until it is synced.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Put on disk, synced. All records of one step are one transaction.
    Record(Box<Entry>),
    /// Put on disk within ten minutes and at a clean stop. The newest one of a key wins, and
    /// a [`Effect::Record`] of the same key takes the place of one that waits; reads see what waits.
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
        /// A way back, see [`bus::message::Offer`].
        confirm_ms: Option<u64>,
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
        /// What the minion has answered.
        asked: Asked,
    },
    /// Compile for people and answer with [`Input::Answered`].
    CompileView {
        /// For whom.
        ticket: Ticket,
        /// Whose.
        minions: Vec<MinionId>,
        /// Which states; empty is what top.sls assigns.
        states: Vec<String>,
        /// What the minions have answered.
        asked: Asked,
    },
    /// Pillar for people, the same way.
    PillarView {
        /// For whom.
        ticket: Ticket,
        /// Whose.
        minions: Vec<MinionId>,
        /// What the minions have answered.
        asked: Asked,
    },
    /// Work out what top.sls assigns; answer with [`Input::Assigned`].
    Assign {
        /// Whose.
        minion: MinionId,
    },
    /// Work out what a minion does by itself, and seal it if that is something else than it has; answer with
    /// [`Input::Conducted`].
    Conduct {
        /// Whose.
        minion: MinionId,
        /// What it has answered.
        asked: Asked,
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
    /// Make a seed: sign `terms` (its `image_key` is still empty), record the token as [`Entry::Token`] (on disk, and in
    /// memory by [`crate::core::Master::remember`]), then answer the ticket with [`Reply::Seed`].
    MakeSeed {
        /// For whom.
        ticket: Ticket,
        /// Terms.
        terms: Box<TokenTerms>,
        /// Who asked.
        made_by: String,
    },
    /// Put a list of masters on disk in place of the one that is there; answer with [`Input::MastersKept`].
    KeepMasters {
        /// For whom.
        ticket: Ticket,
        /// The signed list.
        text: String,
    },
    /// Put the secret of a hook on disk, and answer the ticket with it.
    KeepHookSecret {
        /// For whom.
        ticket: Ticket,
        /// Which hook.
        hook: String,
        /// Its recipe, for who pastes it.
        recipe: String,
        /// The secret.
        secret: model::Secret,
        /// The one before ends at once.
        alone: bool,
    },
    /// Call another service; answer with [`super::Input::Called`].
    Call {
        /// Which.
        id: String,
        /// All of it; prints without secrets.
        call: Box<Call>,
    },
    /// Publish once to observers that are there now; answer with [`super::Input::Called`].
    Tell {
        /// Which call.
        id: String,
        /// Below the root `lab/`, whole.
        topic: String,
        /// JSON or text.
        payload: String,
    },
    /// Publish once and answer the ticket with whether somebody was there.
    TestTell {
        /// For whom.
        ticket: Ticket,
        /// Whole.
        topic: String,
        /// JSON or text.
        payload: String,
    },
    /// Call it once and answer the ticket with what it said.
    TestCall {
        /// For whom.
        ticket: Ticket,
        /// All of it.
        call: Box<Call>,
    },
    /// Send packets that wake machines to the networks of this one.
    Wake {
        /// Addresses of network cards.
        macs: Vec<String>,
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
    Decisions {
        /// Only of this rule.
        rule: Option<String>,
        /// Only about the event of this number.
        event: Option<u64>,
        /// Only after that of this number, the oldest of them.
        after: Option<u64>,
        /// At most.
        limit: u32,
    },
    /// -> [`Reply::Audit`]
    Audit(model::AuditFilter),
    /// -> [`Reply::AuditChecked`]
    VerifyAudit,
}
