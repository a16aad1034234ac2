//! How a member begins: the connection is made while the journal is read and grains are collected.

use super::{Agent, COLLECT_EVERY, conduct};
use crate::core::{Minion, Settings};
use crate::daemon::beacons::Beacons;
use crate::daemon::clock::Clock;
use crate::daemon::larder::Larder;
use crate::daemon::refusals::Refusals;
use crate::daemon::watch::Watchdog;
use crate::daemon::{DaemonError, Setup, Trust, sources};
use crate::grains;
use crate::home::{Home, Membership, make_private_dir};
use crate::journal::{Journal, Opened};
use crate::looks::Looks;
use crate::worker::{HANG_LIMIT, Workers};
use bus::client::ClientConfig;
use bus::message::Speaker;
use bus::{Identity, Topic, tls};
use model::{ContentHash, MinionId};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::warn;

/// Largest packet: an envelope of 256 KiB and its topic.
const PACKET_MAX: usize = (256 << 10) + (1 << 10);
/// Ceiling of the back-off between connections, in milliseconds.
const BACKOFF_MS: u64 = 60_000;
/// Words of workers that wait.
const TOLD_MAX: usize = 64;

impl<'a> Agent<'a> {
    #[expect(clippy::too_many_arguments, reason = "each is of the daemon that outlives this membership")]
    pub(in crate::daemon) fn start(
        setup: &'a Setup,
        home: &'a Home,
        member: Membership,
        trust: Trust,
        speaker: &'a Speaker,
        clock: &'a mut Clock,
        watchdog: &'a Watchdog,
        beacons: &'a mut Beacons,
    ) -> Result<Self, DaemonError> {
        warn_of_another_name(setup, &member.id);
        let identity = Arc::new(home.identity()?);
        let link = connection(&member.id, &trust, &identity);
        let (client, events) = watchdog.connect(link);
        let opened = Journal::open(&home.journal_dir())?;
        make_private_dir(&setup.config.cache_dir)?;
        let (tell, told) = mpsc::channel(TOLD_MAX);
        let workers = Workers {
            dir: home.work_dir(),
            blobs: setup.config.cache_dir.clone(),
            keep: home.kept_dir(),
            sandbox: setup.config.sandbox.clone(),
            program: setup.program.clone(),
            hang_limit: HANG_LIMIT,
            told: tell,
        };
        let larder = larder(setup, &member, &trust, &identity);
        let boot = home.boot_id(&setup.boot, setup.config.sandbox.is_some())?;
        let (wanted, orders, conduct_hash) = conduct::parts(conduct::kept(home, &member.id, &identity));
        let (core, journal) = remember(setup, &member, &trust, boot, opened, clock, conduct_hash);
        beacons.want(wanted);
        beacons.run(core.running().is_some());
        workers.clear(core.running());
        let now = Instant::now();
        let (tell_answer, answered) = mpsc::channel(1);
        let looks = looks(setup, tell_answer);
        Ok(Self {
            setup,
            home,
            speaker,
            clock,
            id: member.id,
            trust,
            identity,
            core,
            journal: Some(journal),
            disk_full: false,
            client,
            events,
            early: VecDeque::new(),
            link: None,
            fresh: false,
            refusals: Refusals::default(),
            workers,
            larder,
            told,
            run: None,
            sampler: None,
            sample_every: None,
            sample_at: now,
            collected: mpsc::channel(1),
            answered,
            looks,
            rebooted: mpsc::channel(1),
            probes: Vec::new(),
            collecting: false,
            collect_at: now + COLLECT_EVERY,
            watchdog,
            beacons,
            orders,
            end: None,
        })
    }
}

fn larder(setup: &Setup, member: &Membership, trust: &Trust, identity: &Arc<Identity>) -> Larder {
    Larder {
        id: member.id.clone(),
        identity: Arc::clone(identity),
        tls: tls::client_config(&trust.masters.pins(), Some(identity)),
        https: trust.https(),
        dir: setup.config.cache_dir.clone(),
        bytes_max: setup.config.cache_bytes,
    }
}

fn warn_of_another_name(setup: &Setup, id: &MinionId) {
    if let Some(wanted) = setup.config.id.as_ref().filter(|wanted| **wanted != id.as_str()) {
        warn!(minion = %id, wanted, "this minion has a name already: `labminion uninstall` first to give it another");
    }
}

fn remember(
    setup: &Setup,
    member: &Membership,
    trust: &Trust,
    boot: String,
    opened: Opened,
    clock: &mut Clock,
    conduct: Option<ContentHash>,
) -> (Minion, Journal) {
    let (grains, complaints) = grains::collect(&sources(setup, &member.id));
    for complaint in opened.complaints.iter().chain(&complaints) {
        warn!("{complaint}");
    }
    let settings = Settings {
        version: model::VERSION.to_owned(),
        boot,
        sandbox: setup.config.sandbox.is_some(),
        masters: trust.masters.version,
        masters_hash: trust.hash,
        outbox_bytes: setup.config.outbox_bytes,
        grains_hash: grains::hash(&grains),
        grains,
        conduct,
    };
    let core = Minion::restore(settings, clock.now(), opened.entries);
    clock.not_before(core.clock());
    // How far it was set before is nothing to this core: its times are of the journal.
    clock.take_jump();
    (core, opened.journal)
}

/// How to connect to a master.
pub(super) fn connection(id: &MinionId, trust: &Trust, identity: &Identity) -> ClientConfig {
    ClientConfig {
        addresses: trust.addresses(),
        tls: Some(tls::client_config(&trust.masters.pins(), Some(identity))),
        client_id: id.to_string(),
        login: None,
        subscribe: vec![Topic::In(id.clone()).to_string()],
        packet_max: PACKET_MAX,
        keep_alive_s: 30,
        backoff_max_ms: BACKOFF_MS,
    }
}

/// Looks for templates; each answer with the number of its probe.
fn looks(setup: &Setup, tell: mpsc::Sender<(u64, serde_json::Value)>) -> Looks {
    let sandbox = setup.config.sandbox.clone();
    Looks::new(
        Arc::new(move |look| look.answer(sandbox.as_deref())),
        // The daemon is gone when this fails.
        Arc::new(move |probe, answer| drop(tell.blocking_send((probe, answer)))),
    )
}
