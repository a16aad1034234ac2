//! A swarm: many light minions in one process. The core, the envelopes, the keys, the enrolment, the back-off and the
//! TLS connection are the real ones, each minion has its own; only host and journal are in memory.

mod light;
mod luck;
mod machines;
mod wire;

pub use machines::Machines;

use anyhow::{Context, anyhow};
use bus::{Identity, PublicKey, Topic, masters::Masters, seed::Seed, tls};
use light::Light;
use luck::Luck;
use minion::{
    core::Input,
    enroll::{Candidate, Enrolled},
    link::signers,
};
use model::{Labels, MinionId, Timestamp};
use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::sync::{Semaphore, mpsc, watch};
use wire::{Happening, Wire, WireConfig};

/// What the swarm is.
#[derive(Clone, Debug)]
pub struct SwarmSettings {
    /// What each of them enrols with.
    pub seed: Seed,
    /// Ids are `<prefix>-0`, `<prefix>-1`, ...
    pub prefix: String,
    /// How many.
    pub minions: usize,
    /// How many may be on their way from the first packet to the welcome at once: a master takes few unknown
    /// connections from one address at a time.
    pub at_once: usize,
    /// A folder for what is too large for an envelope.
    pub folder: PathBuf,
}

/// What a minion of the swarm reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Milestone {
    /// The master took its key. Told once a minion.
    Enrolled,
    /// The master answered its first hello. Told once a minion.
    Welcomed,
    /// The connection on which it was welcomed is over.
    Lost,
    /// The master answered its hello after that.
    Back,
    /// It works at a job, and holds it.
    Began,
    /// It said a result; in microseconds since 1970.
    Said(u64),
    /// The master has so many results on disk; in microseconds since 1970.
    Taken(u32, u64),
    /// The master has so many more of its events on disk.
    Events(u64),
    /// So many microseconds after it said an event that is reacted to, the job of the reaction was offered.
    Offered(u64),
    /// The job of its last such event was not offered before the next one was due.
    Overdue,
}

/// What a swarm is told while it lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    /// Jobs that are begun do not end before this is false.
    pub hold: bool,
    /// Held jobs end at random within so many milliseconds once they may.
    pub within_ms: u64,
    /// Events that each minion has on their way to the master: one that arrived is followed by the next.
    pub events: u32,
    /// Milliseconds from one event that is reacted to (`event/react`) to the next one; 0 is none.
    pub react_ms: u32,
    /// The first so many of them are gone from one moment to the next, without a word and for good.
    pub vanish: usize,
}

/// How a swarm is to live, beside its settings.
#[derive(Debug)]
pub struct Ways {
    /// Loopback addresses that it connects from. Enrolment always comes from 127.0.0.1.
    pub addresses: usize,
    /// What it is told.
    pub orders: watch::Receiver<Orders>,
    /// Loses 30 % of its announcements (requests to be a member, hellos), by this seed.
    pub lossy: Option<u64>,
    /// Where it notes what its machines ran and hold.
    pub machines: Option<Arc<Machines>>,
}

impl Default for Ways {
    fn default() -> Self {
        let orders = watch::channel(Orders::default()).1;
        Self { addresses: 1, orders, lossy: None, machines: None }
    }
}

/// When a minion last said something signed, and the time before, in microseconds since 1970.
#[derive(Debug, Default)]
pub struct LastWords {
    last: AtomicU64,
    before: AtomicU64,
}

impl LastWords {
    fn note(&self) {
        self.before.store(self.last.swap(now_us(), Ordering::Relaxed), Ordering::Relaxed);
    }
    /// The newest that was said at or before this millisecond.
    pub fn until_ms(&self, ms: u64) -> Option<u64> {
        let [last, before] = [&self.last, &self.before].map(|it| it.load(Ordering::Relaxed));
        [last, before].into_iter().find(|it| *it > 0 && it / 1000 <= ms)
    }
}

/// A swarm that lives.
#[derive(Debug)]
pub struct Life {
    /// What its minions reach.
    pub milestones: mpsc::UnboundedReceiver<Milestone>,
    /// By number of the minion.
    pub words: Arc<Vec<LastWords>>,
}

/// What all of them share.
#[derive(Debug)]
struct Common {
    masters: Masters,
    seed: Seed,
    doors: Semaphore,
    folder: PathBuf,
    told: mpsc::UnboundedSender<Milestone>,
    words: Arc<Vec<LastWords>>,
    lossy: Option<u64>,
    machines: Option<Arc<Machines>>,
}

impl Common {
    fn tell(&self, milestone: Milestone) {
        // Nobody looks any more: fine.
        let _ = self.told.send(milestone);
    }
    fn is_lost(&self, luck: &mut Luck) -> bool {
        let lost = luck.loses();
        if let Some(machines) = &self.machines {
            machines.note_announcement(lost);
        }
        lost
    }
}

/// Starts all minions on the current runtime; they live until the runtime ends.
pub fn start(settings: SwarmSettings) -> anyhow::Result<mpsc::UnboundedReceiver<Milestone>> {
    Ok(start_as(settings, &Ways::default())?.milestones)
}

/// The same in these ways.
pub fn start_as(settings: SwarmSettings, ways: &Ways) -> anyhow::Result<Life> {
    let SwarmSettings { seed, prefix, minions, at_once, folder } = settings;
    let org = PublicKey::from_text(&seed.org).ok_or_else(|| anyhow!("the seed's `org` is no public key"))?;
    let masters = Masters::open(&seed.masters, &org).context("the seed's list of masters")?;
    let (told, milestones) = mpsc::unbounded_channel();
    let words: Arc<Vec<LastWords>> = Arc::new((0..minions).map(|_| LastWords::default()).collect());
    let doors = Semaphore::new(at_once);
    let (lossy, machines) = (ways.lossy, ways.machines.clone());
    let words_too = Arc::clone(&words);
    let common = Arc::new(Common { masters, seed, doors, folder, told, words: words_too, lossy, machines });
    for number in 0..minions {
        let id: MinionId = format!("{prefix}-{number}")
            .parse()
            .map_err(|_| anyhow!("`{prefix}-{number}` is not a minion id"))?;
        let source = source(number % ways.addresses.max(1));
        tokio::spawn(live(id, number, source, common.clone(), ways.orders.clone()));
    }
    Ok(Life { milestones, words })
}

/// A loopback address by number, none of them 127.0.0.1: a port of there may be that of a master which is away.
pub fn source(number: usize) -> Ipv4Addr {
    let [.., high, low] = number.to_be_bytes();
    Ipv4Addr::new(127, 1 + high, low, 1)
}

/// A minion's whole life.
async fn live(
    id: MinionId,
    number: usize,
    source: Ipv4Addr,
    common: Arc<Common>,
    orders: watch::Receiver<Orders>,
) {
    let identity = Identity::generate();
    let door = common.doors.acquire().await.ok();
    let mut luck = Luck::of(common.lossy, number);
    lose_requests(&identity, &common, &mut luck).await;
    let id = enroll(&id, &identity, &common).await;
    common.tell(Milestone::Enrolled);
    let mut light = Light::connect((id, number), identity, source, common.clone(), (orders, luck));
    light.step(Input::Started).await;
    let mut door = door;
    while light.live_on().await {
        if light.welcomed && door.take().is_some() {
            common.tell(Milestone::Welcomed);
        }
    }
}

/// Connects as one who asks to be a member, and hangs up in place of asking, as often as luck will have it.
async fn lose_requests(identity: &Identity, common: &Common, luck: &mut Luck) {
    let mut lost = common.is_lost(luck);
    if !lost {
        return;
    }
    let (wire, mut happenings) = Wire::start(WireConfig {
        master: addresses(&common.masters).into_iter().next().unwrap_or_default(),
        source: Ipv4Addr::LOCALHOST,
        tls: tls::client_config(&common.masters.pins(), Some(identity)),
        client_id: "labminion".to_owned(),
        inbox: Topic::EnrollIn(identity.public().fingerprint()).to_string(),
    });
    while lost {
        while let Some(happening) = happenings.recv().await {
            match happening {
                Happening::Connected(connection) => wire.hang_up(connection).await,
                Happening::Lost => break,
                Happening::Message { .. } => {}
            }
        }
        lost = common.is_lost(luck);
    }
}

async fn enroll(id: &MinionId, identity: &Identity, common: &Common) -> MinionId {
    let candidate = Candidate {
        identity,
        id: id.clone(),
        token: common.seed.token.as_ref(),
        claims: Labels::default(),
        version: model::VERSION.to_owned(),
        masters: signers(&common.masters),
        pins: common.masters.pins(),
        addresses: addresses(&common.masters),
    };
    match candidate.enroll(now).await {
        Enrolled::Accepted(id) => id,
        Enrolled::AlreadyMember | Enrolled::Banned | Enrolled::Untrusted => id.clone(),
    }
}

fn addresses(masters: &Masters) -> Vec<String> {
    masters.masters.iter().flat_map(|it| it.mqtt.clone()).collect()
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(0))
}

fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(0)
}

/// Reads the seed of a swarm.
pub fn read_seed(path: &Path) -> anyhow::Result<Seed> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    Seed::parse(&text).map_err(|message| anyhow!("`{}`: {message}", path.display()))
}
