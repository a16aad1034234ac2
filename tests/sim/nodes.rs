//! A master and minions as machines: clocks that jump, disks that outlive processes, a worker beside the agent.

use crate::{check::Contact, disk::Disk, links::GateEnd, tables::Tables};
use bus::Identity;
use master::{core as mc, daemon as md};
use minion::{
    core as nc, daemon as nd,
    journal::{Journal, JournalError},
};
use model::{JobId, MinionId, Mode, Outcome, Plan, RunReport, StepReport, Timestamp, api::MasterInfo};
use std::{collections::BTreeMap, time::Duration};

pub(crate) fn master_settings() -> mc::Settings {
    let info = MasterInfo {
        name: "sim".to_owned(),
        version: "0.1.0".to_owned(),
        certificate: String::new(),
        tls_pin: String::new(),
        addresses: Vec::new(),
        mqtt_port: 8883,
        https_port: 8443,
    };
    mc::Settings {
        name: "sim".to_owned(),
        version: "0.1.0".to_owned(),
        heartbeat_s: 30,
        sample_s: 0,
        offer_ms: 60_000,
        keep_ms: 30 * 86_400_000,
        probe_commands: false,
        info,
    }
}

/// What a machine takes for the time.
#[derive(Clone, Copy)]
pub(crate) struct MachineClock {
    /// Its clock minus the true one.
    pub(crate) off: i64,
    pub(crate) booted_at: u64,
}

impl MachineClock {
    fn raw(self, now: u64) -> u64 {
        now.saturating_add_signed(self.off)
    }

    fn up(self, now: u64) -> Duration {
        Duration::from_millis(now - self.booted_at)
    }

    /// A boot without a clock of its own: 1970.
    pub(crate) fn forget(&mut self, now: u64) {
        self.off = -i64::try_from(now).expect("a time");
    }
}

/// Who is out of reach for so long counts as gone.
const CONTACT_MS: u64 = 60_000;

/// Whether the master's disk takes anything.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    Plenty,
    /// Full: so many transactions fit into what was set aside.
    Full(u32),
}

/// Rows of one step.
pub(crate) struct Transaction {
    pub(crate) number: u64,
    pub(crate) rows: Vec<mc::Entry>,
    /// Whom the master could reach then.
    pub(crate) contact: Contact,
}

/// The master, its disk, its gate.
pub(crate) struct MasterNode {
    pub(crate) core: Option<mc::Master>,
    pub(crate) tables: Tables,
    pub(crate) room: Room,
    /// The core knows that the disk is full.
    pub(crate) told_full: bool,
    /// Transactions that wait for the disk.
    pub(crate) queue: Vec<Transaction>,
    pub(crate) submitted: u64,
    pub(crate) committed: u64,
    pub(crate) writing: bool,
    pub(crate) held: md::Held<mc::Effect>,
    pub(crate) lazy: BTreeMap<String, mc::Entry>,
    /// Grows with every start: answers to an earlier process are lost.
    pub(crate) generation: u64,
    pub(crate) links: BTreeMap<usize, GateEnd>,
    pub(crate) tick_at: Option<u64>,
    pub(crate) machine: MachineClock,
    /// When the master heard of each minion last, by its time.
    pub(crate) heard: BTreeMap<usize, Timestamp>,
    /// Processes that said hello, by minion, and when.
    pub(crate) talkers: BTreeMap<usize, Vec<(String, u64)>>,
    clock: md::Clock,
    started_at: u64,
    believed: bool,
}

impl MasterNode {
    pub(crate) fn new(now: u64) -> Self {
        Self {
            core: None,
            tables: Tables::default(),
            room: Room::Plenty,
            told_full: false,
            queue: Vec::new(),
            submitted: 0,
            committed: 0,
            writing: false,
            held: md::Held::default(),
            lazy: BTreeMap::new(),
            generation: 0,
            links: BTreeMap::new(),
            tick_at: None,
            machine: MachineClock { off: 0, booted_at: now },
            heard: BTreeMap::new(),
            talkers: BTreeMap::new(),
            clock: md::Clock::new(Timestamp(0)),
            started_at: now,
            believed: true,
        }
    }

    /// All that is not on the disk is gone.
    pub(crate) fn die(&mut self) {
        self.core = None;
        self.links.clear();
        self.queue.clear();
        self.lazy.clear();
        self.held = md::Held::default();
        self.generation += 1;
        (self.submitted, self.committed, self.writing, self.tick_at) = (0, 0, false, None);
        self.talkers.clear();
        (self.told_full, self.believed) = (false, true);
    }

    pub(crate) fn start(&mut self, now: u64) {
        let entries = self.tables.load();
        let stored = entries.iter().filter_map(mc::Entry::time).max().unwrap_or_default();
        (self.clock, self.started_at) = (md::Clock::new(stored), now);
        let time = self.time(now);
        self.heard.values_mut().for_each(|it| *it = time);
        self.core = Some(mc::Master::restore(master_settings(), time, entries));
    }

    /// Whom it could reach at this time.
    pub(crate) fn contact(&self, time: Timestamp, of: &[MinionNode]) -> Contact {
        let lately = |it: &&(usize, Timestamp)| time.since_ms(it.1) < CONTACT_MS;
        let heard: Vec<(usize, Timestamp)> = self.heard.iter().map(|it| (*it.0, *it.1)).collect();
        Contact {
            lately: heard.iter().filter(lately).map(|it| of[it.0].id.clone()).collect(),
            here: self.links.iter().filter(|it| it.1.welcomed).map(|it| of[*it.0].id.clone()).collect(),
        }
    }

    /// Its time.
    pub(crate) fn time(&mut self, now: u64) -> Timestamp {
        let running = Duration::from_millis(now - self.started_at);
        self.clock.at(Timestamp(self.machine.raw(now)), running)
    }

    /// Whether its machine's clock is believed, if that is news.
    pub(crate) fn news_of_clock(&mut self, now: u64) -> Option<bool> {
        let set = self.clock.believes(Timestamp(self.machine.raw(now)));
        (std::mem::replace(&mut self.believed, set) != set).then_some(set)
    }
}

/// A run beside the minion's process, which outlives it.
pub(crate) struct Worker {
    pub(crate) job: JobId,
    pub(crate) ends_at: u64,
    pub(crate) cancelled: bool,
    pub(crate) mode: Mode,
    /// It puts back what another one altered.
    pub(crate) undoes: bool,
    /// The step at which it wants the machine to boot anew, if it comes to one.
    pub(crate) boots_at: Option<u32>,
}

/// A minion, its disk and its worker.
#[expect(clippy::struct_excessive_bools, reason = "each is a thing that happened to it or not")]
pub(crate) struct MinionNode {
    pub(crate) id: MinionId,
    pub(crate) identity: Identity,
    /// Of the identity; another one begins with each removal.
    pub(crate) life: u32,
    pub(crate) member: bool,
    /// It was removed: it asks without its token.
    pub(crate) sent_away: bool,
    pub(crate) core: Option<nc::Minion>,
    pub(crate) journal: Option<Journal<Disk>>,
    /// Bytes of what waits for the master, at most.
    pub(crate) outbox_bytes: usize,
    pub(crate) disk: Disk,
    pub(crate) disk_full: bool,
    pub(crate) generation: u64,
    pub(crate) boot: u64,
    pub(crate) machine: MachineClock,
    clock: nd::Clock,
    pub(crate) link: Option<u64>,
    /// Nothing goes in or out until then.
    pub(crate) dark_until: u64,
    pub(crate) worker: Option<Worker>,
    /// Of workers: a run that was killed may be begun again.
    pub(crate) worker_lives: u64,
    pub(crate) tick_at: Option<u64>,
    pub(crate) events_made: u64,
    /// Switched off for good.
    pub(crate) dead: bool,
    /// Master's time in the last message, and when it came.
    pub(crate) heard: Option<(u64, u64)>,
    /// When the hello was taken in that the last welcome answered.
    pub(crate) welcomed_at: u64,
}

impl MinionNode {
    pub(crate) fn new(index: usize, off: i64, now: u64) -> Self {
        Self {
            id: format!("m-{index}").parse().expect("a good id"),
            identity: identity(index, 0),
            life: 0,
            member: false,
            sent_away: false,
            core: None,
            journal: None,
            outbox_bytes: nc::OUTBOX_BYTES_MAX,
            disk: Disk::default(),
            disk_full: false,
            generation: 0,
            boot: 1,
            machine: MachineClock { off, booted_at: now },
            clock: nd::Clock::new(Duration::ZERO),
            link: None,
            dark_until: 0,
            worker: None,
            worker_lives: 0,
            tick_at: None,
            events_made: 0,
            dead: false,
            heard: None,
            welcomed_at: 0,
        }
    }

    /// Its time. The core hears first how far its clock was set.
    pub(crate) fn time(&mut self, now: u64) -> Timestamp {
        let time = self.clock.at_system_time(self.machine.raw(now), self.machine.up(now));
        let jump = self.clock.take_jump();
        if let Some(core) = &mut self.core {
            core.clock_jumped(jump);
        }
        time
    }

    /// The process begins with what is on the disk.
    pub(crate) fn start(&mut self, now: u64) -> Result<Vec<nc::Entry>, JournalError> {
        self.generation += 1;
        self.tick_at = None;
        self.disk_full = false;
        let opened = Journal::on(self.disk.clone())?;
        let grains = minion::grains::imagined(&self.id);
        let settings = nc::Settings {
            version: "0.1.0".to_owned(),
            boot: format!("boot-{}-{}", self.id, self.boot),
            sandbox: false,
            masters: 1,
            masters_hash: None,
            outbox_bytes: self.outbox_bytes,
            conduct: None,
            grains_hash: minion::grains::hash(&grains),
            grains,
        };
        self.clock = nd::Clock::new(self.machine.up(now));
        let time = self.time(now);
        let core = nc::Minion::restore(settings, time, opened.entries.iter().cloned());
        self.clock.not_before(core.clock());
        self.core = Some(core);
        self.journal = Some(opened.journal);
        Ok(opened.entries)
    }

    /// The process is gone.
    pub(crate) fn die(&mut self) {
        self.core = None;
        self.journal = None;
        self.disk.platter().fuse = None;
    }

    pub(crate) fn lose_worker(&mut self) {
        self.worker = None;
        self.worker_lives += 1;
    }

    /// Not a member any more: all that it was is forgotten.
    pub(crate) fn forget(&mut self, index: usize) {
        self.die();
        self.lose_worker();
        self.disk = Disk::default();
        self.life += 1;
        self.identity = identity(index, self.life);
        (self.member, self.sent_away, self.events_made) = (false, true, 0);
    }
}

fn identity(index: usize, life: u32) -> Identity {
    let number = u8::try_from(index * 16 + 1).expect("a few minions");
    let secret = number.wrapping_add(u8::try_from(life % 16).expect("below 16"));
    Identity::from_secrets([secret; 32], [secret.wrapping_add(100); 32])
}

/// What a run says at its end; `draw` decides how it went.
pub(crate) fn report(worker: &Worker, draw: u64) -> RunReport {
    let outcome = match draw % 4 {
        0 => Outcome::Ok,
        1 => Outcome::Failed,
        _ => Outcome::Changed,
    };
    let step = StepReport {
        index: 0,
        id: "step".to_owned(),
        sls: "web".to_owned(),
        kind: "test.nop".to_owned(),
        name: "step".to_owned(),
        outcome,
        // Now and then a result that must come in parts.
        comment: if draw % 32 == 7 { "long ".repeat(30_000) } else { String::new() },
        plan: Plan::default(),
        output: None,
        duration_ms: 5,
        at: None,
    };
    RunReport {
        mode: worker.mode,
        steps: vec![step],
        duration_ms: 5,
        cancelled: worker.cancelled,
        sandbox: false,
    }
}
