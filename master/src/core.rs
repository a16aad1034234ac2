//! All of the master's memory and judgement: `step(now, input) -> effects`. Does no I/O, reads no clock, has no
//! randomness of its own.

mod access;
mod by_itself;
mod clones;
mod conduct;
mod delivery;
mod drift;
mod due;
mod effect;
mod enroll;
mod entry;
mod hooks;
mod input;
mod jobs;
mod keys;
mod launch;
mod maintenance;
mod masters;
mod memory;
mod permit;
mod probe;
mod publish;
mod questions;
mod reactions;
mod reactor;
mod refusals;
mod requests;
mod retire;
mod rolling;
mod roster;
mod schedules;
mod submit;
mod switches;
mod target;
#[cfg(test)]
mod test_kit;
mod timers;
mod trees;
mod view;

pub(crate) use access::is_user_name;
pub use access::secret_hash;
pub use effect::{Effect, Query, Ticket};
pub use entry::{Entry, Part, SealedRef};
pub use hooks::Delivery;
pub use input::{Conducted, Input, TokenFault};
pub use masters::Listing;
pub use model::Audit;
pub use questions::{Asked, Asker, ROUNDS_MAX};
pub use reactions::Called;
pub use refusals::Refused;
#[cfg(test)]
pub(crate) use requests::check_event;
pub(crate) use roster::set_id;

use lang::roles::Roles;
use memory::{Book, rank};
use model::{
    Diagnostic, Fingerprint, Key, Minion, MinionId, Observer, Operator, Recipe, Revision, Timestamp, api,
    broken,
};
use probe::Probe;
use reactor::Reactor;
use roster::{Live, RETURN_MS};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use timers::{CLOCK_MS, MASTER_STATE_MS, Timer};

/// Steps in one recipe.
pub const RECIPE_STEPS_MAX: usize = 10_000;
/// A machine's clock that is further behind than this is not set.
const AHEAD_MS_MAX: u64 = 60_000;
/// Bytes of one recipe as JSON.
pub const RECIPE_BYTES_MAX: usize = 16 << 20;

/// Events that are reacted to, and reactions and rounds of calls that go on, in one step; the rest is for the next one,
/// which comes at once.
const WORK_PER_STEP_MAX: usize = 1_000;

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
    /// Templates may ask minions for the output of commands.
    pub probe_commands: bool,
    /// About this master.
    pub info: api::MasterInfo,
}

/// The master.
#[derive(Debug)]
pub struct Master {
    settings: Settings,
    started_at: Timestamp,
    now: Timestamp,
    /// Of a clock that only goes forward, for round trips; by default as good as `now`.
    now_us: Option<u64>,
    book: Book,
    live: BTreeMap<MinionId, Live>,
    timers: BTreeSet<(Timestamp, Timer)>,
    probes: BTreeMap<u64, Probe>,
    rounds: BTreeMap<u64, questions::Round>,
    next_probe: u64,
    reactor: Reactor,
    rolls: rolling::Rolls,
    schedules: schedules::Schedules,
    reactions: reactions::Reactions,
    outbox: reactions::Outbox,
    roles: Arc<Roles>,
    role_errors: Vec<Diagnostic>,
    hooks: hooks::HookBook,
    refusals: refusals::Refusals,
    /// When waiting keys changed what they say, lately.
    key_changes: BTreeMap<Fingerprint, Timestamp>,
    masters: Option<masters::Listed>,
    revision: Option<Revision>,
    tree_errors: Vec<Diagnostic>,
    /// By what the next word about the trees comes.
    pushed: Option<Box<crate::sources::Commit>>,
    degraded: Option<String>,
    /// What the shell says about the machine's clock.
    clock_set: bool,
    /// What the machine's clock said last, and how far we are ahead of it.
    last_raw: Timestamp,
    ahead_ms: u64,
    /// Odd things that were ignored, by reason.
    counters: BTreeMap<&'static str, u64>,
    /// Bytes of results that are being put together.
    parts_bytes: usize,
    greeted: bool,
    records: Vec<Entry>,
    laters: Vec<Entry>,
    out: Vec<Effect>,
}

impl Master {
    /// Wakes up with what is on disk, in any order: keys, minions, tokens, observers, operators, all jobs (of ended ones
    /// the ids are what matters), the targets and recipes of open jobs, of ended jobs the targets that did not end well,
    /// the highest event, how far events were taken, the clock. Other entries may come and are passed over.
    pub fn restore(settings: Settings, now: Timestamp, entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut sorted: Vec<Entry> = entries.into_iter().collect();
        sorted.sort_by_key(rank);
        let mut book = Book::default();
        for entry in &sorted {
            book.remember(entry);
        }
        let (last_raw, now) = (now, now.max(book.clock));
        let mut master = Self {
            settings,
            started_at: now,
            now,
            now_us: None,
            live: BTreeMap::new(),
            timers: BTreeSet::new(),
            probes: BTreeMap::new(),
            rounds: BTreeMap::new(),
            next_probe: now.0.saturating_mul(1000),
            reactor: Reactor::default(),
            rolls: rolling::Rolls::default(),
            schedules: schedules::Schedules::default(),
            reactions: reactions::Reactions::default(),
            outbox: reactions::Outbox::default(),
            roles: Arc::default(),
            role_errors: Vec::new(),
            hooks: hooks::HookBook::default(),
            refusals: refusals::Refusals::default(),
            key_changes: BTreeMap::new(),
            masters: None,
            revision: None,
            tree_errors: Vec::new(),
            pushed: None,
            degraded: None,
            clock_set: true,
            last_raw,
            ahead_ms: now.since_ms(last_raw),
            counters: BTreeMap::new(),
            parts_bytes: 0,
            greeted: false,
            records: Vec::new(),
            laters: Vec::new(),
            out: Vec::new(),
            book,
        };
        master.wake();
        master
    }

    /// Timers of what was restored. Everybody is quiet until the spread after a start is over.
    fn wake(&mut self) {
        for id in self.book.minions.keys() {
            if self.book.suspended.values().any(|it| it == id) {
                self.live.insert(id.clone(), Live::suspended(self.now));
                continue;
            }
            self.live.insert(id.clone(), Live::at_start(self.now));
            self.timers.insert((self.now.plus_ms(RETURN_MS), Timer::Presence(id.clone())));
        }
        self.wake_maintenance();
        self.recall_drift();
        for (id, open) in &self.book.open {
            self.timers.extend(open.expiries().into_iter().map(|at| (at, Timer::Expire(*id))));
            if open.roll.is_some() {
                self.rolls.look_at(*id);
            }
        }
        self.recall_reactions();
        self.recall_outgoing();
        self.timers.insert((self.now.plus_ms(CLOCK_MS), Timer::Clock));
        self.timers.insert((self.now.plus_ms(MASTER_STATE_MS), Timer::MasterState));
        self.restore_reactor();
    }

    /// Takes in one thing that happened and says what to do about it. Records come first.
    pub fn step(&mut self, now: Timestamp, input: Input) -> Vec<Effect> {
        self.tell_time(now);
        if !self.greeted {
            self.greeted = true;
            self.greet();
        }
        let mut left = WORK_PER_STEP_MAX;
        if broken::leaves_out("react-with-the-event") {
            self.react_to_all(&mut left);
            self.take(input);
            self.run_timers();
            return self.flush();
        }
        self.take(input);
        self.run_timers();
        self.roll_all();
        self.run_schedules();
        self.react_to_all(&mut left);
        while left > 0 && (self.run_ready() || self.run_outbox()) {
            left -= 1;
            // What goes on may make events, which rules hear.
            self.react_to_all(&mut left);
        }
        if left == 0 {
            self.wake_at(self.now, Timer::Rules);
        }
        self.roll_later();
        self.keep_reactions();
        self.flush()
    }

    /// Time never goes back: a machine's clock that does, or that is before the last stored time after a restart, counts
    /// on from there until it has caught up.
    fn tell_time(&mut self, raw: Timestamp) {
        self.ahead_ms += self.last_raw.since_ms(raw);
        self.last_raw = raw;
        if raw >= self.now {
            self.ahead_ms = 0;
        }
        self.now = self.now.max(raw.plus_ms(self.ahead_ms));
    }

    /// Whether times can be judged by the machine's clock.
    fn is_clock_set(&self) -> bool {
        self.clock_set && self.ahead_ms <= AHEAD_MS_MAX
    }

    /// Tells the time of a clock that only goes forward, in microseconds, for the round trips of probes.
    pub fn set_micros(&mut self, now_us: u64) {
        self.now_us = Some(now_us);
    }

    fn micros(&self) -> u64 {
        self.now_us.unwrap_or_else(|| self.now.0.saturating_mul(1000))
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Connected { minion, epoch, address } => self.connected(&minion, epoch, &address),
            Input::Disconnected { minion, epoch } => self.disconnected(&minion, epoch),
            Input::Message { minion, epoch, message } => self.message(&minion, epoch, *message),
            Input::Sample { minion, sample } => self.sample(&minion, sample),
            Input::Enroll { fingerprint, request, terms, address } => {
                self.enroll(&fingerprint, &request, terms, address);
            }
            Input::Request { ticket, caller, request, random } => {
                self.request(ticket, caller, *request, random);
            }
            Input::Integration { user, tag, data } => self.integration(&user, &tag, data),
            Input::Sources { revision, rules } => self.sources(revision, Some(rules)),
            Input::SourcesWithoutRules { revision } => self.sources(revision, None),
            Input::Pushed(commit) => self.pushed = Some(commit),
            Input::BrokenSources(diagnostics) => self.broken_sources(diagnostics),
            Input::Compiled { job, minion, revision, result } => {
                self.compiled(job, &minion, revision, result);
            }
            Input::Questions { asker, questions, asked } => self.ask_minions(asker, questions, asked),
            Input::Answered { ticket, reply } => self.out.push(Effect::Reply { ticket, reply }),
            Input::Assigned { minion, states } => {
                if let Some(live) = self.live.get_mut(&minion) {
                    live.assigned = states;
                }
                self.work_out_conduct(&minion);
            }
            Input::Conducted { minion, result } => self.conducted(&minion, result),
            Input::MastersKept { ticket, text, failure } => self.masters_kept(ticket, &text, failure),
            Input::Roles(roles) => self.new_roles(roles),
            Input::Notifiers(notifiers) => self.use_notifiers(notifiers),
            Input::BrokenNotifiers(diagnostics) => self.broken_notifiers(diagnostics),
            Input::Called { id, called } => self.called(&id, &called),
            Input::BrokenRoles(diagnostics) => self.broken_roles(diagnostics),
            Input::Hooks(keyring) => self.new_hooks(keyring),
            Input::BrokenHooks(diagnostics) => self.broken_hooks(diagnostics),
            Input::Hook { ticket, delivery } => self.deliver(ticket, *delivery),
            Input::Refused(refused) => self.audit_refusal(*refused),
            Input::StoreHealth(reason) => self.store_health(reason),
            Input::Clock { set } => self.clock_set = set,
            Input::Tick => {}
        }
    }

    /// When the next [`Input::Tick`] is needed at the latest.
    pub fn next_wake(&self) -> Option<Timestamp> {
        let first = self.timers.first().map(|(at, _)| *at).into_iter().chain(self.schedules_wake()).min();
        first.map(|at| Timestamp(at.0.saturating_sub(self.ahead_ms)))
    }

    /// Takes in an entry that the shell put on disk on behalf of an effect ([`Effect::MakeSeed`]).
    pub fn remember(&mut self, entry: &Entry) {
        self.book.remember(entry);
    }

    /// Alters memory now, and the disk before anything else of this step is done.
    fn record(&mut self, entry: Entry) {
        self.book.remember(&entry);
        self.records.push(entry);
    }

    /// Alters memory now, and the disk some time.
    fn later(&mut self, entry: Entry) {
        self.book.remember(&entry);
        self.laters.push(entry);
    }

    /// Keeps what a part is at, or forgets it, with the records of this step. The part bounds how many there are.
    fn keep(&mut self, part: Part, key: &str, data: Option<serde_json::Value>) {
        self.record(Entry::Kept { part, key: key.to_owned(), data });
    }

    fn count(&mut self, reason: &'static str) {
        *self.counters.entry(reason).or_default() += 1;
    }

    fn flush(&mut self) -> Vec<Effect> {
        let records = std::mem::take(&mut self.records);
        let mut laters = std::mem::take(&mut self.laters);
        laters.retain(|later| !records.iter().any(|it| same_key(it, later)));
        let records = records.into_iter().map(|it| Effect::Record(Box::new(it)));
        let laters = laters.into_iter().map(|it| Effect::Later(Box::new(it)));
        records.chain(laters).chain(std::mem::take(&mut self.out)).collect()
    }

    /// An accepted minion, for the gate's directory and the compiler.
    pub fn minion(&self, id: &MinionId) -> Option<&Minion> {
        self.book.minions.get(id)
    }
    /// All accepted minions.
    pub fn minions(&self) -> impl Iterator<Item = &Minion> {
        self.book.minions.values()
    }
    /// A key by fingerprint.
    pub fn key(&self, fingerprint: &Fingerprint) -> Option<&Key> {
        self.book.keys.get(fingerprint)
    }
    /// Observers and API tokens.
    pub fn observers(&self) -> impl Iterator<Item = &Observer> {
        self.book.observers.values()
    }
    /// Operators.
    pub fn operators(&self) -> impl Iterator<Item = &Operator> {
        self.book.operators.values()
    }
    /// Keys.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.book.keys.values()
    }
    /// Where the sealed recipe of an open (job, minion) lies, and what it grants.
    pub fn recipes_of(&self, minion: &MinionId) -> Vec<&SealedRef> {
        let jobs = self.book.open_of.get(minion).into_iter().flatten();
        jobs.filter_map(|job| self.book.open_target(*job, minion)?.1.recipe.as_ref()).collect()
    }
    /// Whether a job has targets that have not ended.
    pub fn is_open(&self, job: model::JobId) -> bool {
        self.book.open.contains_key(&job)
    }
    /// What a compile of a recipe for one minion gave, checked before it is sealed: size and step limits.
    pub fn recipe_limits(recipe: &Recipe) -> Result<(), String> {
        if recipe.steps.len() > RECIPE_STEPS_MAX {
            return Err(format!("{} steps are more than {RECIPE_STEPS_MAX}", recipe.steps.len()));
        }
        let bytes = serde_json::to_vec(recipe).map_or(0, |it| it.len());
        if bytes > RECIPE_BYTES_MAX {
            return Err(format!(
                "{bytes} bytes are more than {RECIPE_BYTES_MAX}: fetch large contents with `source`"
            ));
        }
        Ok(())
    }
}

/// Whether an entry that may wait would overwrite a newer one of the same step.
fn same_key(a: &Entry, b: &Entry) -> bool {
    match (a, b) {
        (Entry::Minion(a), Entry::Minion(b)) => a.id == b.id,
        (Entry::MinionGone(a), Entry::Minion(b)) => *a == b.id,
        (Entry::Kept { part: a, key: x, .. }, Entry::Kept { part: b, key: y, .. }) => a == b && x == y,
        (Entry::Target(a), Entry::Target(b)) => a.job == b.job && a.minion == b.minion,
        _ => false,
    }
}
