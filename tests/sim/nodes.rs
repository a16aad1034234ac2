//! A master and minions as processes with disks: what is synced survives, what is not is lost.

use bus::Identity;
use master::core as mc;
use minion::core as nc;
use model::{JobId, MinionId, Outcome, Plan, RunReport, StepReport, Timestamp, api::MasterInfo};
use std::collections::BTreeMap;

use crate::link::GateEnd;

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

/// The master, its disk, and its gate.
pub(crate) struct MasterNode {
    pub(crate) core: Option<mc::Master>,
    /// Synced, in order.
    pub(crate) disk: Vec<mc::Entry>,
    /// Waits to be written.
    pub(crate) lazy: Vec<mc::Entry>,
    /// Grows with every start: answers to an earlier process are lost.
    pub(crate) generation: u64,
    pub(crate) links: BTreeMap<usize, GateEnd>,
    pub(crate) tick_at: Option<u64>,
}

impl MasterNode {
    pub(crate) fn new() -> Self {
        Self {
            core: None,
            disk: Vec::new(),
            lazy: Vec::new(),
            generation: 0,
            links: BTreeMap::new(),
            tick_at: None,
        }
    }

    pub(crate) fn start(&mut self, now: u64) {
        self.generation += 1;
        self.tick_at = None;
        self.links.clear();
        self.lazy.clear();
        self.core = Some(mc::Master::restore(master_settings(), Timestamp(now), self.disk.clone()));
    }
}

/// A run beside the minion's process, which outlives it.
pub(crate) struct Worker {
    pub(crate) job: JobId,
    pub(crate) ends_at: u64,
    pub(crate) cancelled: bool,
    pub(crate) check: model::Mode,
}

/// A minion, its disk and its worker.
pub(crate) struct MinionNode {
    pub(crate) id: MinionId,
    pub(crate) identity: Identity,
    pub(crate) core: Option<nc::Minion>,
    pub(crate) disk: Vec<nc::Entry>,
    pub(crate) lazy: Vec<nc::Entry>,
    pub(crate) generation: u64,
    pub(crate) boot: u64,
    /// Its clock minus the true one.
    pub(crate) clock_off: i64,
    pub(crate) link: Option<u64>,
    pub(crate) worker: Option<Worker>,
    pub(crate) tick_at: Option<u64>,
    pub(crate) events_made: u64,
    /// Not a member any more, or switched off for good.
    pub(crate) gone: bool,
}

impl MinionNode {
    pub(crate) fn new(index: usize, clock_off: i64) -> Self {
        let secret = u8::try_from(index + 1).expect("a few minions");
        Self {
            id: format!("m-{index}").parse().expect("a good id"),
            identity: Identity::from_secrets([secret; 32], [secret.wrapping_add(100); 32]),
            core: None,
            disk: Vec::new(),
            lazy: Vec::new(),
            generation: 0,
            boot: 1,
            clock_off,
            link: None,
            worker: None,
            tick_at: None,
            events_made: 0,
            gone: false,
        }
    }

    /// Its clock.
    pub(crate) fn clock(&self, now: u64) -> Timestamp {
        Timestamp(now.saturating_add_signed(self.clock_off))
    }

    pub(crate) fn start(&mut self, now: u64) {
        self.generation += 1;
        self.tick_at = None;
        self.lazy.clear();
        let grains = minion::grains::imagined(&self.id);
        let settings = nc::Settings {
            version: "0.1.0".to_owned(),
            boot: format!("boot-{}", self.boot),
            sandbox: false,
            masters: 1,
            outbox_bytes: nc::OUTBOX_BYTES_MAX,
            grains_hash: minion::grains::hash(&grains),
            grains,
        };
        self.core = Some(nc::Minion::restore(settings, self.clock(now), self.disk.clone()));
    }
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
        mode: worker.check,
        steps: vec![step],
        duration_ms: 5,
        cancelled: worker.cancelled,
        sandbox: false,
    }
}
