//! Puts a master together from its configuration, and takes it apart again.

use super::{
    Daemon, EVENTS_MAX, Handle, INPUTS_MAX, Incoming, Outside, Parts, clock,
    drain::STOP_MAX,
    edits::{Edited, OneFile, keep_looking},
    register::Register,
    trees,
    watch::Watchdog,
};
use crate::backup::Maker;
use crate::config::{Address, Config};
use crate::core::{Entry, Listing, Master, Settings};
use crate::fanout::Fanout;
use crate::gate::{FromGate, Gate, GateConfig, GateError};
use crate::hooks::{Files, Keyring};
use crate::init::{KeyRing, SetUpError};
use crate::sources::{Trees, git::Follower};
use crate::store::{Keep, Store, StoreConfig, StoreError};
use crate::web::{Web, WebConfig};
use crate::written::Text;
use bus::message::{EnrollAnswer, ToMinion};
use bus::pulse::Pulse;
use bus::seed::{Seed, SeedToken};
use lang::{notifiers::Notifiers, roles::Roles};
use model::{Fingerprint, MinionId, TokenTerms, api};
use sd_notify::NotifyState;
use std::fs::{File, OpenOptions, TryLockError};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, broadcast, mpsc};
use tokio::task::JoinSet;
use tracing::{error, info, warn};

/// How long an offer stays good unless the request says otherwise, in milliseconds.
const OFFER_MS: u64 = 60_000;

/// Exit code of a process that was ended by SIGTERM.
const EXIT_TERMINATED: i32 = 143;

/// Why a master cannot run, or ended.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is nothing to run yet, or keys cannot be read.
    #[error("this machine is not set up as a master")]
    SetUp(#[from] SetUpError),
    /// The store.
    #[error("cannot use the store")]
    Store(#[from] StoreError),
    /// The minions' door.
    #[error("cannot open the gate")]
    Gate(#[from] GateError),
    /// The API.
    #[error("cannot serve the API")]
    Web(#[source] std::io::Error),
    /// The system gives no signals.
    #[error("cannot listen for signals")]
    Signals(#[source] std::io::Error),
    /// Two processes at once.
    #[error("another labmaster works in `{0}`: stop it first")]
    InUse(std::path::PathBuf),
    /// What is there is a part of the old and a part of the new.
    #[error(
        "a restore into `{state}` was cut off in the middle: run `labmaster restore FILE` again. What was there before it \
         is in {aside} there"
    )]
    HalfRestored {
        /// Which folder.
        state: std::path::PathBuf,
        /// Where the old files are.
        aside: String,
    },
    /// Its lock.
    #[error("cannot lock `{path}`")]
    Lock {
        /// Which file.
        path: std::path::PathBuf,
        /// The system's word.
        #[source]
        source: std::io::Error,
    },
    /// It ran, and could not go on.
    #[error("{0}")]
    Ended(String),
}

/// Runs a master until a signal ends it.
pub async fn run(config: Config) -> Result<(), StartError> {
    whole(&config.state_dir)?;
    let ring = KeyRing::load(&config)?;
    let _lock = lock(&config.state_dir)?;
    let mut watchdog = Watchdog::new();
    let path = config.state_dir.join("store.db");
    let store_config = StoreConfig { path, ballast_bytes: config.ballast_bytes };
    let store = Store::open_watched(&store_config, watchdog.pulse.beat("turn-store"))?;
    let entries = store.load()?;
    clock::set_floor(entries.iter().filter_map(Entry::time).max().unwrap_or_default());
    let register = Arc::new(Register::default());
    for entry in &entries {
        register.learn(entry);
    }
    register.restore(store.retained()?);
    let role_file = OneFile::new(config.roles.clone());
    let (known_roles, roles) = read_roles(&role_file)?;
    register.set_roles(Arc::clone(&roles));
    let doors = Doors::open(&config, &ring, &register, &store, &watchdog.pulse).await?;

    let (mqtt, https) = (doors.gate.addresses(), doors.web.addresses());
    let ports = Ports { mqtt: first_port(&mqtt), https: first_port(&https) };
    let masters = ring.masters(&config, ports.mqtt, ports.https)?;
    register.set_masters(&masters);
    let mut master = Master::restore(settings(&config, &ring, ports), clock::now(), entries);
    let (sign, tls) = (ring.signer.public().to_text(), ring.certificate.pin());
    master.use_masters(Listing { org: ring.org, sign, tls, text: masters });
    master.set_roles(roles);
    let hook_files = Files { file: config.hooks.clone(), kept: config.state_dir.join("hooks") };
    let hooks_again = Arc::clone(&register.look_at_hooks);
    let notify_file: OneFile<Notifiers> = OneFile::new(config.notify.clone());
    let known_notifiers = use_notifiers(&mut master, &notify_file);
    let Doors { gate, from_gate, web, fanout, handle, inputs } = doors;
    let daemon = Daemon::new(Parts {
        master,
        store,
        outside: Wires { gate, fanout, ring, register: Arc::clone(&register) },
        register,
        events: handle.events,
        loopback: handle.inputs.clone(),
        keep: Keep { age_ms: config.keep_ms, bytes: config.keep_bytes },
        contents: handle.contents,
        masters_path: config.masters_path(),
        hook_files: hook_files.clone(),
        threads: std::thread::available_parallelism().map_or(2, usize::from),
        beat: watchdog.pulse.beat("turn-core"),
    });
    let again = Again::default();
    let stop = signals(again.clone()).map_err(StartError::Signals)?;
    announce(&config, &mqtt, &https);
    let follower = config.tree.clone().map(|it| Follower::new(it, &config.checkouts()));
    let mut lookers = JoinSet::new();
    let told = || handle.inputs.clone();
    lookers.spawn(keep_looking(role_file, known_roles, again.roles, told(), Incoming::Roles));
    lookers.spawn(keep_looking(notify_file, known_notifiers, again.notify, told(), Incoming::Notifiers));
    lookers.spawn(keep_looking(hook_files, Ok(Keyring::default()), hooks_again, told(), Incoming::Hooks));
    lookers.spawn(trees::keep_reading(Trees::new(config.layout, follower), again.trees, handle.inputs));
    watchdog.start();
    tell_systemd(&[NotifyState::Ready]);
    let stopping = async move {
        stop.await;
        tell_systemd(&[NotifyState::Stopping]);
        tokio::spawn(last_resort());
    };
    let ended = Box::pin(daemon.run(inputs, from_gate, stopping)).await;
    // Until here whoever asked was told that the master is stopping.
    drop(web);
    drop(lookers);
    ended.map_err(StartError::Ended)
}

/// Refuses a folder in which a restore was cut off: it might begin with an empty store.
pub(crate) fn whole(state_dir: &Path) -> Result<(), StartError> {
    match crate::backup::cut_off(state_dir) {
        None => Ok(()),
        Some(aside) => Err(StartError::HalfRestored { state: state_dir.to_owned(), aside }),
    }
}

/// Holds the state folder for this process alone, as long as the file lives.
pub(crate) fn lock(state_dir: &Path) -> Result<File, StartError> {
    let path = state_dir.join("lock");
    let failed = |source| StartError::Lock { path: path.clone(), source };
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StartError::InUse(state_dir.to_owned())),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// All that listens.
struct Doors {
    gate: Gate,
    from_gate: mpsc::Receiver<FromGate>,
    web: Web,
    fanout: Fanout,
    handle: Handle,
    inputs: mpsc::Receiver<Incoming>,
}

impl Doors {
    async fn open(
        config: &Config,
        ring: &KeyRing,
        register: &Arc<Register>,
        store: &Store,
        pulse: &Pulse,
    ) -> Result<Self, StartError> {
        let fanout = Fanout::start(pulse);
        let gate = GateConfig {
            listen: config.mqtt.clone(),
            plain: config.plain,
            tls: ring.certificate.server_config(&[]),
            signer: Arc::clone(&ring.signer),
            issuer: ring.issuer.public(),
            fanout: fanout.link(),
            clock: clock::now,
        };
        let (gate, from_gate) = Gate::start_watched(gate, Arc::<Register>::clone(register), pulse).await?;
        let (loopback, inputs) = mpsc::channel(INPUTS_MAX);
        register.audit_by(loopback.clone());
        let handle = Handle {
            inputs: loopback,
            register: Arc::clone(register),
            events: broadcast::channel(EVENTS_MAX).0,
            reader: store.reader(),
            contents: Arc::new(config.state_dir.join("content")),
            backups: Arc::new(Maker::new(&config.state_dir, &config.name, &ring.signer.public())),
        };
        let tls = ring.certificate.server_config(&["http/1.1"]);
        let web = WebConfig { listen: config.https.clone(), tls, socket: config.socket.clone() };
        let web = Web::start(web, handle.clone(), gate.clone(), pulse).await.map_err(StartError::Web)?;
        Ok(Self { gate, from_gate, web, fanout, handle, inputs })
    }
}

#[derive(Clone, Copy)]
struct Ports {
    mqtt: u16,
    https: u16,
}

fn first_port(all: &[SocketAddr]) -> u16 {
    all.first().map_or(0, SocketAddr::port)
}

fn settings(config: &Config, ring: &KeyRing, ports: Ports) -> Settings {
    let addresses: Vec<Address> = crate::init::advertised(config);
    Settings {
        name: config.name.clone(),
        version: model::VERSION.to_owned(),
        heartbeat_s: config.heartbeat_s,
        sample_s: config.sample_s,
        offer_ms: OFFER_MS,
        keep_ms: config.keep_ms,
        probe_commands: config.probe_commands,
        info: api::MasterInfo {
            name: config.name.clone(),
            version: model::VERSION.to_owned(),
            certificate: ring.certificate.certificate_pem(),
            tls_pin: ring.certificate.pin().to_string(),
            addresses: addresses.into_iter().map(|it| it.host).collect(),
            mqtt_port: ports.mqtt,
            https_port: ports.https,
        },
    }
}

fn announce(config: &Config, mqtt: &[SocketAddr], https: &[SocketAddr]) {
    for address in mqtt {
        info!(%address, "MQTT");
    }
    for address in https {
        info!(%address, "HTTPS");
    }
    info!(socket = %config.socket.display(), version = model::VERSION, "labmaster is up");
}

/// What is read again on demand.
#[derive(Clone, Default)]
struct Again {
    trees: Arc<Notify>,
    roles: Arc<Notify>,
    notify: Arc<Notify>,
}

/// What `roles.yaml` says, as it is found and as roles.
fn read_roles(file: &OneFile<Roles>) -> Result<(Text, Arc<Roles>), StartError> {
    let found = file.find();
    let roles = file.read(&found).map_err(|it| StartError::SetUp(SetUpError::Config(it)))?;
    Ok((found, roles))
}

/// What `notify.yaml` says; one that is broken is told, and keeps no master from starting.
fn use_notifiers(master: &mut Master, file: &OneFile<Notifiers>) -> Text {
    let found = file.find();
    match file.read(&found) {
        Ok(notifiers) => master.use_notifiers(notifiers),
        Err(errors) => {
            let first = errors.first().map(|it| it.message.as_str()).unwrap_or_default();
            warn!(path = %file.path.display(), first, "notify.yaml is broken: nobody is told anything");
            master.set_notifier_errors(errors);
        }
    }
    found
}

/// Ends when the process is asked to; `SIGHUP` reads the trees and the roles again.
fn signals(again: Again) -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => return,
                _ = interrupt.recv() => return,
                _ = hangup.recv() => {
                    again.trees.notify_one();
                    again.roles.notify_one();
                    again.notify.notify_one();
                }
            }
        }
    })
}

/// Ends the process when it is told to stop once more, or hangs on its way out: what was acknowledged is on disk.
async fn last_resort() {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = tokio::time::sleep(STOP_MAX) => {
            error!("stopping takes too long: ending at once");
            std::process::exit(1);
        }
    }
    warn!("told twice to stop: ending at once");
    std::process::exit(EXIT_TERMINATED);
}

/// Tells systemd, if it is there.
pub(super) fn tell_systemd(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "cannot tell systemd");
    }
}

/// The real outside.
struct Wires {
    gate: Gate,
    fanout: Fanout,
    ring: KeyRing,
    register: Arc<Register>,
}

impl Outside for Wires {
    fn send(&self, minion: &MinionId, message: &ToMinion) {
        self.gate.send(minion, message);
    }
    fn close(&self, minion: &MinionId) {
        self.gate.close(minion);
    }
    fn close_key(&self, fingerprint: &Fingerprint) {
        self.gate.close_key(fingerprint);
    }
    fn enroll_answer(&self, fingerprint: &Fingerprint, answer: &EnrollAnswer) {
        self.gate.enroll_answer(fingerprint, answer);
    }
    fn publish(&self, topic: &str, payload: &str) {
        if self.gate.is_observed() {
            self.fanout.publish(topic, payload);
        }
    }
    fn is_observed(&self) -> bool {
        self.gate.is_observed()
    }
    fn tell(&self, topic: &str, payload: &str) -> Result<(), &'static str> {
        if !self.gate.is_observed() {
            return Err("nobody is connected who could hear it");
        }
        if self.fanout.link().borrow().is_none() {
            return Err("the fan-out to those who listen is being started again");
        }
        self.fanout.publish(topic, payload);
        Ok(())
    }
    fn fill(&self, status: &mut api::MasterStatus) {
        let (refused, messages) = self.gate.counters();
        for (reason, count) in refused {
            *status.refused.entry(reason).or_default() += count;
        }
        status.messages_in = messages;
        status.fanout = self.fanout.link().borrow().is_some();
    }
    fn seed(&self, terms: &mut TokenTerms) -> Result<serde_json::Value, String> {
        let (image_secret, image_key) = bus::seed::new_image_key();
        terms.image_key = image_key;
        let statement = bus::seed::sign_terms(terms, &self.ring.issuer);
        let seed = Seed {
            v: 1,
            org: self.ring.org.to_text(),
            masters: self.register.masters(),
            id: terms.ids.parse().ok(),
            token: Some(SeedToken { statement, image_secret }),
        };
        serde_json::to_value(&seed).map_err(|error| error.to_string())
    }
    fn say_goodbye(&self) {
        self.gate.say_goodbye();
    }
    fn still_connected(&self) -> usize {
        let (members, strangers, observers) = self.gate.connected();
        members + strangers + observers
    }
}
