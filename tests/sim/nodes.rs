//! A master and minions as processes with disks: what is synced survives, what is not is lost.

use bus::Identity;
use master::core as mc;
use minion::core as nc;
use model::{JobId, MinionId, Outcome, Plan, RunReport, StepReport, Timestamp, api::MasterInfo};
use std::collections::BTreeMap;

use crate::link::GateEnd;

pub fn master_settings() -> mc::Settings {
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
        info,
    }
}

/// The master, its disk, and its gate.
pub struct MasterNode {
    pub core: Option<mc::Master>,
    /// Synced, in order.
    pub disk: Vec<mc::Entry>,
    /// Waits to be written.
    pub lazy: Vec<mc::Entry>,
    /// Grows with every start: answers to an earlier process are lost.
    pub generation: u64,
    pub links: BTreeMap<usize, GateEnd>,
    pub tick_at: Option<u64>,
}

impl MasterNode {
    pub fn new() -> Self {
        Self {
            core: None,
            disk: Vec::new(),
            lazy: Vec::new(),
            generation: 0,
            links: BTreeMap::new(),
            tick_at: None,
        }
    }

    pub fn start(&mut self, now: u64) {
        self.generation += 1;
        self.tick_at = None;
        self.links.clear();
        self.lazy.clear();
        self.core = Some(mc::Master::restore(master_settings(), Timestamp(now), self.disk.clone()));
    }
}

/// A run beside the minion's process, which outlives it.
pub struct Worker {
    pub job: JobId,
    pub ends_at: u64,
    pub cancelled: bool,
    pub check: model::Mode,
}

/// A minion, its disk and its worker.
pub struct MinionNode {
    pub id: MinionId,
    pub identity: Identity,
    pub core: Option<nc::Minion>,
    pub disk: Vec<nc::Entry>,
    pub lazy: Vec<nc::Entry>,
    pub generation: u64,
    pub boot: u64,
    /// Its clock minus the true one.
    pub clock_off: i64,
    pub link: Option<u64>,
    pub worker: Option<Worker>,
    pub tick_at: Option<u64>,
    pub events_made: u64,
    /// Not a member any more, or switched off for good.
    pub gone: bool,
}

impl MinionNode {
    pub fn new(index: usize, clock_off: i64) -> Self {
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
    pub fn clock(&self, now: u64) -> Timestamp {
        Timestamp(now.saturating_add_signed(self.clock_off))
    }

    pub fn start(&mut self, now: u64) {
        self.generation += 1;
        self.tick_at = None;
        self.lazy.clear();
        let grains = minion::grains::imagined(&self.id);
        let settings = nc::Settings {
            version: "0.1.0".to_owned(),
            boot: format!("boot-{}", self.boot),
            sandbox: false,
            masters: 1,
            grains_hash: minion::grains::hash(&grains),
            grains,
        };
        self.core = Some(nc::Minion::restore(settings, self.clock(now), self.disk.clone()));
    }
}

/// What a run says at its end; `draw` decides how it went.
pub fn report(worker: &Worker, draw: u64) -> RunReport {
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
