//! All of the minion's memory and judgement: `step(now, input) -> effects`. Does no I/O, reads no clock, has no
//! randomness of its own.

mod clock;
mod confirm;
mod effect;
mod entry;
mod input;
mod jobs;
mod memory;
mod outbox;
mod progress;
mod reboot;
mod release;
mod schedules;

pub use confirm::CONFIRM_MS;
pub use effect::Effect;
pub use entry::{Entry, Resume, RunEnd, RunLine};
pub use input::Input;
pub use outbox::{OUTBOX_BYTES_MAX, OUTBOX_BYTES_MIN};
pub use reboot::{REBOOT_LIMIT_MS, REBOOTS_MAX};
pub use release::compatible;
pub use schedules::{NEVER, Scheduled, what};

use bus::message::{CAN_CONDUCT, CAN_CONFIRM, CAN_REBOOT, CAN_WAKE, FromMinion, Hello, Speaker, ToMinion};
use clock::MasterClock;
use memory::Memory;
use model::{Ask, ContentHash, Grains, JobId, Timestamp};
use progress::Pending;
use serde_json::{Value, json};

/// Jobs that may wait beside the one at work.
pub const WAITING_MAX: usize = 64;
/// How often a state run is begun before it is given up.
pub const ATTEMPTS_MAX: u32 = 3;
/// A worker that was told to stop is killed after this.
pub const CANCEL_MS: u64 = 60_000;
/// Acknowledged jobs are remembered so long.
pub const REMEMBER_MS: u64 = 30 * 24 * 60 * 60 * 1000;
/// Between two attempts to put something on a full disk.
pub const DISK_RETRY_MS: u64 = 10_000;
/// Unacknowledged jobs that a hello lists; their results are all said.
const HELLO_JOBS_MAX: usize = 1000;
/// Between two looks at what is old enough to be forgotten.
const PRUNE_EVERY_MS: u64 = 60 * 60 * 1000;
/// A hello that has no answer by then was lost, or its answer.
const WELCOME_LIMIT_MS: u64 = 30_000;
/// Until the master says otherwise.
const HEARTBEAT_MS: u64 = 30_000;

/// What a minion is told once.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Release, `major.minor.patch`.
    pub version: String,
    /// Kernel's boot id.
    pub boot: String,
    /// Whether the machine is a sandbox.
    pub sandbox: bool,
    /// Version of its `masters.json`.
    pub masters: u64,
    /// Which of the lists with that version it is.
    pub masters_hash: Option<ContentHash>,
    /// What it is, at the start.
    pub grains: Grains,
    /// Hash of the grains ([`crate::grains::hash`]).
    pub grains_hash: ContentHash,
    /// Bytes of events and results that wait for the master, at most; [`OUTBOX_BYTES_MAX`] unless people say otherwise.
    pub outbox_bytes: usize,
    /// Hash of what it does by itself; none if that is nothing.
    pub conduct: Option<ContentHash>,
}

/// The connection as the core sees it.
#[derive(Debug, Default)]
struct Link {
    connected: bool,
    welcomed: bool,
    said_at: Timestamp,
    heartbeat_ms: u64,
    /// The connection was made after the last step of the run that is to be confirmed.
    after_run: bool,
    clock: MasterClock,
    /// When the hello was said, or that it has no answer.
    hello_at: Timestamp,
    unsaid: Option<outbox::Unsaid>,
}

/// A minion.
#[derive(Debug)]
pub struct Minion {
    settings: Settings,
    memory: Memory,
    link: Link,
    pending: Pending,
    stopping: bool,
    /// Since when the running job is told to stop, if it is.
    cancelling: Option<Timestamp>,
    disk_fault: Option<String>,
    disk_retry: Timestamp,
    /// Ends that are not on disk because it is full.
    unwritten: Vec<Entry>,
    pruned_at: Timestamp,
    /// How far the clock was set forward since that was put on disk.
    set_forward_ms: u64,
    schedules: Vec<schedules::Own>,
}

impl Minion {
    /// Wakes up with what is on disk, in the order in which it was put there.
    pub fn restore(settings: Settings, now: Timestamp, entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut memory = Memory::bounded(settings.outbox_bytes);
        for entry in entries {
            memory.remember(&entry);
        }
        let link = Link { heartbeat_ms: HEARTBEAT_MS, ..Link::default() };
        Self {
            settings,
            memory,
            link,
            pending: Pending::default(),
            stopping: false,
            cancelling: None,
            disk_fault: None,
            disk_retry: now,
            unwritten: Vec::new(),
            pruned_at: now,
            set_forward_ms: 0,
            schedules: Vec::new(),
        }
    }

    /// Takes in one thing that happened and says what to do about it.
    pub fn step(&mut self, now: Timestamp, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.keep_moved_times(&mut effects);
        match input {
            Input::Started => self.on_started(now, &mut effects),
            Input::Connected => self.on_connected(now, &mut effects),
            Input::Disconnected => self.on_disconnected(),
            Input::Message { message, sent } => self.on_message(now, *message, sent, &mut effects),
            Input::Progress { job, of, lines } => self.on_progress(now, job, of, lines, &mut effects),
            Input::RunEnded { job, end } => self.on_run_ended(now, job, end, &mut effects),
            Input::RebootFailed { job, reason } => self.on_reboot_failed(job, reason, &mut effects),
            Input::Event { tag, data } => self.add_event(now, tag, data, &mut effects),
            Input::Events(events) => self.add_events(now, events, &mut effects),
            Input::Answered { probe, answer } => {
                self.say(now, FromMinion::Answer { probe, answer }, &mut effects);
            }
            Input::Grains { probe, grains, hash } => self.on_grains(now, probe, grains, hash, &mut effects),
            Input::Conduct(hash) => self.settings.conduct = hash,
            Input::Schedules { id, list } => self.on_schedules(&id, list, &mut effects),
            Input::Scheduled(scheduled) => self.on_scheduled(now, *scheduled, &mut effects),
            Input::NotRecorded { entries, reason } => {
                self.on_not_recorded(now, entries, reason, &mut effects);
            }
            Input::DiskGood => {
                self.disk_fault = None;
                if !self.unwritten.is_empty() {
                    self.retry_disk(now, &mut effects);
                }
            }
            Input::Stop { reason } => {
                self.stopping = true;
                self.later(Entry::Clock(now), &mut effects);
                self.say(now, FromMinion::Goodbye { reason }, &mut effects);
            }
            Input::Tick => self.on_tick(now, &mut effects),
        }
        self.look_at_schedules(now, &mut effects);
        self.begin_next(now, &mut effects);
        effects
    }

    /// When the next [`Input::Tick`] is needed at the latest.
    pub fn next_wake(&self) -> Option<Timestamp> {
        let heartbeat = self.link.connected.then(|| self.link.said_at.plus_ms(self.link.heartbeat_ms));
        let disk = self.disk_fault.as_ref().map(|_| self.disk_retry);
        let prune = Some(self.pruned_at.plus_ms(PRUNE_EVERY_MS));
        let course = [self.kill_at(), self.reboot_until(), self.confirm_until(), self.unsaid_at()];
        let welcome = self.is_opening().then(|| self.link.hello_at.plus_ms(WELCOME_LIMIT_MS));
        let others =
            [heartbeat, disk, prune, self.pending.due(), self.next_expiry(), welcome, self.next_slot()];
        others.into_iter().chain(course).flatten().min()
    }

    /// The shortest list of entries that [`Self::restore`] makes the same memory from.
    pub fn snapshot(&self) -> Vec<Entry> {
        self.memory.snapshot()
    }

    /// The master's clock, once it was heard.
    pub fn master_now(&self, now: Timestamp) -> Option<Timestamp> {
        self.link.clock.now(now)
    }

    /// The clock of the inputs was set forward by so much, which the master's was not: what waits is not the older.
    pub fn clock_jumped(&mut self, ms: u64) {
        self.memory.course.set_forward(ms);
        self.set_forward_ms = self.set_forward_ms.saturating_add(ms);
        self.link.clock.jumped(ms);
    }

    /// The job at work.
    pub fn running(&self) -> Option<JobId> {
        self.memory.running
    }

    /// The latest time that is on disk: the clock never goes back behind it.
    pub fn clock(&self) -> Timestamp {
        self.memory.clock
    }

    fn on_started(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.memory.boot.as_deref() != Some(self.settings.boot.as_str()) {
            self.record(Entry::Boot(self.settings.boot.clone()), effects);
            let data = json!({
                "boot": true,
                "boot_id": self.settings.boot,
                "version": self.settings.version,
                "sandbox": self.settings.sandbox,
            });
            self.add_event(now, "start".to_owned(), data, effects);
        }
        if let Some(job) = self.memory.running {
            self.take_up(now, job, effects);
        }
    }

    /// What was at work when the process ended: a machine that reboots, a run that is to be confirmed, or a worker.
    fn take_up(&mut self, now: Timestamp, job: JobId, effects: &mut Vec<Effect>) {
        if self.memory.course.rebooting.is_some() {
            self.take_up_reboot(now, job, effects);
        } else if self.memory.course.unconfirmed.as_ref().is_some_and(|it| it.undoing.is_none()) {
            self.look_at_confirmation(now, effects);
        } else {
            self.recover(now, job, effects);
        }
    }

    fn on_connected(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        self.link.connected = true;
        self.link.welcomed = false;
        self.link.after_run = self.memory.course.unconfirmed.is_some();
        self.link.hello_at = now;
        self.link.clock.ask(now);
        let hash = self.settings.grains_hash;
        let welcomed = self.memory.welcomed.as_ref();
        let hello = Hello {
            version: self.settings.version.clone(),
            boot: self.settings.boot.clone(),
            first_of_boot: welcomed.is_none_or(|(boot, _)| *boot != self.settings.boot),
            sandbox: self.settings.sandbox,
            grains_hash: hash,
            grains: welcomed.is_none_or(|(_, known)| *known != hash).then(|| self.settings.grains.clone()),
            running: self.memory.running,
            waiting: self.memory.waiting(),
            unacknowledged: self.memory.unacknowledged().into_iter().take(HELLO_JOBS_MAX).collect(),
            next_event: self.memory.next_event(),
            masters: self.settings.masters,
            masters_hash: self.settings.masters_hash,
            speaker: Speaker::default(),
            can: [CAN_CONFIRM, CAN_REBOOT, CAN_CONDUCT, CAN_WAKE].map(str::to_owned).to_vec(),
            conduct: self.settings.conduct,
        };
        self.say(now, FromMinion::Hello(Box::new(hello)), effects);
    }

    fn on_disconnected(&mut self) {
        (self.link.connected, self.link.welcomed) = (false, false);
        self.forget_unheard();
    }

    fn on_message(&mut self, now: Timestamp, message: ToMinion, sent: Timestamp, effects: &mut Vec<Effect>) {
        self.link.clock.heard(now, sent);
        match message {
            ToMinion::Welcome { version, now: master_now, want_grains, heartbeat_s, sample_s, spread_s } => {
                if !compatible(&self.settings.version, &version) {
                    let message = format!(
                        "master has release {version}, this minion {}: they must be at most one minor version apart; upgrade the older one",
                        self.settings.version
                    );
                    effects.push(Effect::Incompatible { message });
                    return;
                }
                // An answer that waited for the master's disk was signed later than it was given.
                self.link.clock.answered(now, master_now.max(sent));
                self.link.heartbeat_ms = u64::from(heartbeat_s.clamp(1, 3600)) * 1000;
                effects.push(Effect::Pace { sample_s, spread_s });
                self.on_welcome(now, want_grains, effects);
            }
            ToMinion::Incompatible { version, message } => {
                effects.push(Effect::Incompatible {
                    message: format!("master has release {version}: {message}"),
                });
            }
            ToMinion::Offer(offer) => self.on_offer(now, *offer, effects),
            ToMinion::Cancel { job } => self.on_cancel(now, job, effects),
            ToMinion::Ack { jobs, events } => self.on_ack(now, &jobs, events, effects),
            ToMinion::Probe { probe, ask } => self.on_probe(now, probe, &ask, effects),
            ToMinion::Questions { probe, mut questions, commands } => {
                questions.truncate(resources::questions::QUESTIONS_MAX);
                effects.push(Effect::AnswerQuestions { probe, questions, commands });
            }
            ToMinion::Masters { text } => effects.push(Effect::Masters(text)),
            ToMinion::Conduct { hash, sealed } => effects.push(Effect::Conduct { hash, sealed }),
            ToMinion::Removed { reason } => effects.push(Effect::Forget { reason }),
        }
    }

    fn on_welcome(&mut self, now: Timestamp, want_grains: bool, effects: &mut Vec<Effect>) {
        self.link.welcomed = true;
        let hash = self.settings.grains_hash;
        let known = Some((self.settings.boot.clone(), hash));
        if self.memory.welcomed != known {
            self.later(Entry::Welcomed { boot: self.settings.boot.clone(), grains: hash }, effects);
        }
        if want_grains {
            self.say_grains(now, effects);
        }
        self.say_outbox(now, effects);
        self.confirmed(now, effects);
    }

    fn on_probe(&mut self, now: Timestamp, probe: u64, ask: &Ask, effects: &mut Vec<Effect>) {
        let answer = match ask {
            Ask::Ping => Value::Bool(true),
            Ask::Jobs => json!({
                "running": self.memory.running,
                "step": self.pending.step(),
                "waiting": self.memory.waiting(),
                "unacknowledged": self.memory.unacknowledged(),
            }),
            Ask::Grains => return effects.push(Effect::CollectGrains { probe }),
            Ask::Beacons { name } => {
                return effects.push(Effect::ShowBeacons { probe, name: name.clone() });
            }
            Ask::Wake { macs } => return effects.push(Effect::Wake { probe, macs: macs.clone() }),
        };
        self.say(now, FromMinion::Answer { probe, answer }, effects);
    }

    fn on_grains(
        &mut self,
        now: Timestamp,
        probe: Option<u64>,
        grains: Grains,
        hash: ContentHash,
        effects: &mut Vec<Effect>,
    ) {
        let changed = self.settings.grains_hash != hash;
        if let Some(probe) = probe {
            let answer = Value::Object(grains.clone());
            self.say(now, FromMinion::Answer { probe, answer }, effects);
        }
        if changed {
            self.settings.grains = grains;
            self.settings.grains_hash = hash;
            if self.link.welcomed {
                self.later(Entry::Welcomed { boot: self.settings.boot.clone(), grains: hash }, effects);
                self.say_grains(now, effects);
            }
        }
    }

    fn say_grains(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let grains = self.settings.grains.clone();
        self.say(now, FromMinion::Grains { grains, hash: self.settings.grains_hash }, effects);
    }

    fn on_tick(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        self.expire(now, effects);
        self.flush_progress(now, effects);
        self.look_at_course(now, effects);
        if self.is_opening() && now.since_ms(self.link.hello_at) >= WELCOME_LIMIT_MS {
            self.link.hello_at = now;
            effects.push(Effect::Reconnect);
        }
        if self.link.connected && now.since_ms(self.link.said_at) >= self.link.heartbeat_ms {
            self.say(now, FromMinion::Heartbeat { running: self.memory.running }, effects);
        }
        if self.disk_fault.is_some() && now >= self.disk_retry {
            self.retry_disk(now, effects);
        }
        if now.since_ms(self.pruned_at) >= PRUNE_EVERY_MS {
            self.pruned_at = now;
            if let Some(now) = self.master_now(now) {
                self.memory.prune(now);
            }
            self.later(Entry::Clock(now), effects);
        }
        self.say_more(now, effects);
    }

    fn say(&mut self, now: Timestamp, message: FromMinion, effects: &mut Vec<Effect>) {
        if self.link.connected {
            self.link.said_at = now;
            effects.push(Effect::Send(Box::new(message)));
        }
    }

    fn record(&mut self, entry: Entry, effects: &mut Vec<Effect>) {
        self.memory.remember(&entry);
        effects.push(Effect::Record(Box::new(entry)));
    }

    fn later(&mut self, entry: Entry, effects: &mut Vec<Effect>) {
        self.memory.remember(&entry);
        effects.push(Effect::Later(Box::new(entry)));
    }
}

#[cfg(test)]
mod tests;
