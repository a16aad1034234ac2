//! The loop of the running minion: inputs in, step, effects out, in order; what follows a record waits until it is
//! synced.

mod beacons;
mod clock;
mod copies;
mod larder;
mod member;
mod refusals;
mod seek;
mod watch;

pub use clock::Clock;
pub use member::give_up;

use crate::config::Config;
use crate::enroll::{Candidate, Enrolled};
use crate::grains;
use crate::home::{Home, HomeError, Membership};
use crate::identity::{self, FoundSeed, IdentityError};
use crate::link::signers;
use crate::surroundings;
use crate::telemetry::Space;
use beacons::Beacons;
use bus::masters::Masters;
use bus::message::Speaker;
use bus::{PublicKey, envelope};
use member::{Agent, End};
use model::ContentHash;
use std::path::PathBuf;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;
use tracing::{error, info, warn};
use watch::Watchdog;

/// After the master removed this minion, before it asks to be a member again.
const AFTER_REMOVAL: Duration = Duration::from_secs(10);
/// How long a member of one master waits in the quarantine of another before it looks whether the first one is back.
const AS_STRANGER: Duration = Duration::from_secs(30);
/// After the master refused a key that was never a member's.
const AFTER_NO: Duration = Duration::from_secs(30);
/// Before a connection is made anew because something on the last one was not believed, or the masters changed.
const AFTER_TROUBLE: Duration = Duration::from_millis(500);
/// Between two tries at a master of a release that does not fit.
const AFTER_INCOMPATIBLE: Duration = Duration::from_mins(1);

/// From being told to stop to the end of the process.
const STOP_MAX: Duration = Duration::from_secs(15);
/// Exit code of a process that was ended by SIGTERM.
const EXIT_TERMINATED: i32 = 143;

/// Why the minion cannot run.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Its folder.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// Its seed or name.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Its journal failed: what is in memory can no longer be believed.
    #[error(transparent)]
    Journal(#[from] crate::journal::JournalError),
    /// No signals.
    #[error("cannot wait for signals")]
    Signals(#[source] std::io::Error),
    /// No thread for beacons.
    #[error("cannot start the beacons")]
    Beacons(#[source] std::io::Error),
    /// The key in the seed or in `member.json`.
    #[error("`{0}` holds no public key of an organization: write the seed anew with `labctl key enroll`")]
    Org(PathBuf),
}

/// What the program gives to the daemon.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Settings.
    pub config: Config,
    /// This program, for workers.
    pub program: PathBuf,
    /// Kernel's boot id, or what stands for it in a container.
    pub boot: String,
    /// Host name.
    pub host_name: String,
    /// Bytes in all and free at a path.
    pub space: Space,
}

/// SIGTERM and SIGINT.
struct Stop {
    term: Signal,
    int: Signal,
}

impl Stop {
    fn new() -> Result<Self, DaemonError> {
        let listen = |kind| signal(kind).map_err(DaemonError::Signals);
        Ok(Self { term: listen(SignalKind::terminate())?, int: listen(SignalKind::interrupt())? })
    }

    /// Waits for one. From then on another one, or [`STOP_MAX`], ends the process at once: what is to outlive it is on
    /// disk, or a process of its own.
    async fn wait(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
        if let Ok(mut second) = Self::new() {
            tokio::spawn(async move {
                let again = tokio::select! {
                    _ = second.term.recv() => true,
                    _ = second.int.recv() => true,
                    () = tokio::time::sleep(STOP_MAX) => false,
                };
                if again {
                    warn!("told twice to stop: ending at once");
                    std::process::exit(EXIT_TERMINATED);
                }
                error!("stopping takes too long: ending at once");
                std::process::exit(1);
            });
        }
    }
}

/// Runs until a signal: enrols if need be, then is a member.
pub async fn run(setup: &Setup) -> Result<(), DaemonError> {
    let home = Home::open(&setup.config.state_dir)?;
    let mut stop = Stop::new()?;
    let watchdog = Watchdog::start();
    let mut beacons =
        Beacons::start(&setup.config, watchdog.beat("turn-beacons")).map_err(DaemonError::Beacons)?;
    let mut clock = Clock::of_machine();
    notify(&[sd_notify::NotifyState::Ready]);
    let mut known = true;
    let speaker = Speaker {
        instance: envelope::random_session(),
        surroundings: surroundings::look(&setup.config.machine_root, setup.config.sandbox.is_some()),
    };
    copies::look_around(&home, &speaker.surroundings, clock.now())?;
    loop {
        let member = home.membership()?.filter(|_| known);
        let Some(member) = member else {
            // Who is a member of one master asks another for a while only: the first one may be back.
            let limit = if known { Duration::MAX } else { AS_STRANGER };
            tokio::select! {
                joined = watchdog.core.idle(timeout(limit, enroll(setup, &home, &speaker, &mut clock))) => {
                    joined.unwrap_or(Ok(()))?;
                }
                () = stop.wait() => break,
            };
            known = true;
            continue;
        };
        let trust = Trust::of_member(setup, &home, &member)?;
        let agent = Agent::start(setup, &home, member, trust, &speaker, &mut clock, &watchdog, &mut beacons)?;
        let end = agent.serve(&mut stop).await?;
        watchdog.disconnected();
        let pause = match end {
            End::Stopped => break,
            End::Again => AFTER_TROUBLE,
            End::Incompatible => AFTER_INCOMPATIBLE,
            End::Untrusted => {
                let trust = Trust::of_known(&home)?;
                tokio::select! {
                    found = watchdog.core.idle(seek::newer_masters(&home, trust)) => {
                        if found? { AFTER_TROUBLE } else { seek::AGAIN }
                    }
                    () = stop.wait() => break,
                }
            }
            End::Unknown => {
                warn!("the master does not know this minion: enrolling again with the same key");
                known = false;
                Duration::ZERO
            }
            End::Removed(reason) => {
                beacons.want(Vec::new());
                let aside = home.drop_identity(clock.now().0)?;
                let kept = aside.display();
                warn!(reason, %kept, "the master removed this minion: the identity was dropped");
                AFTER_REMOVAL
            }
        };
        tokio::select! {
            () = watchdog.core.idle(tokio::time::sleep(pause)) => {}
            () = stop.wait() => break,
        }
    }
    notify(&[sd_notify::NotifyState::Stopping]);
    info!("stopped");
    Ok(())
}

/// Tells systemd, if it is there.
fn notify(states: &[sd_notify::NotifyState<'_>]) {
    let _ = sd_notify::notify(states);
}

/// Whom to trust and where they are.
struct Trust {
    org: PublicKey,
    masters: Masters,
    /// Which of the lists with that version it is.
    hash: Option<ContentHash>,
}

impl Trust {
    /// The newer one of the list in the folder and the seed's, which was checked by the seed's own key.
    fn newest(home: &Home, org: PublicKey, seed: Option<&FoundSeed>) -> Result<Self, DaemonError> {
        let known = home.masters(&org)?;
        let seeds = seed.and_then(|found| {
            let masters = Masters::open(&found.seed.masters, &org).ok()?;
            Some((masters, &found.seed.masters))
        });
        let masters = match (known, seeds) {
            (Some(known), Some((seeds, _))) if known.version >= seeds.version => known,
            (_, Some((seeds, text))) => {
                home.keep_masters(text)?;
                seeds
            }
            (Some(known), None) => known,
            (None, None) => Masters { version: 0, masters: Vec::new() },
        };
        if masters.masters.is_empty() {
            warn!("the list of masters is empty: there is nobody to connect to");
        }
        Ok(Self { org, masters, hash: home.masters_hash()? })
    }

    fn of_member(setup: &Setup, home: &Home, member: &Membership) -> Result<Self, DaemonError> {
        let broken = || DaemonError::Org(setup.config.state_dir.join("member.json"));
        let org = PublicKey::from_text(&member.org).ok_or_else(broken)?;
        // A member needs no seed: one that cannot be read does not stop it.
        let seed = identity::find_seed(&setup.config).ok().filter(|found| found.seed.org == member.org);
        Self::newest(home, org, seed.as_ref())
    }

    /// What a member has on its disk.
    fn of_known(home: &Home) -> Result<Option<Self>, DaemonError> {
        let Some(member) = home.membership()? else { return Ok(None) };
        let Some(org) = PublicKey::from_text(&member.org) else { return Ok(None) };
        let hash = home.masters_hash()?;
        Ok(home.masters(&org)?.map(|masters| Self { org, masters, hash }))
    }

    fn addresses(&self) -> Vec<String> {
        self.masters.mqtt()
    }

    fn https(&self) -> Vec<String> {
        self.masters.https()
    }
}

async fn enroll(setup: &Setup, home: &Home, speaker: &Speaker, clock: &mut Clock) -> Result<(), DaemonError> {
    let found = identity::find_seed(&setup.config)?;
    let org = PublicKey::from_text(&found.seed.org)
        .ok_or_else(|| DaemonError::Org(setup.config.installed_seed.clone()))?;
    let chosen = identity::choose_id(&setup.config, Some(&found.seed), &setup.host_name)?;
    if let Some(reason) = &chosen.quarantine {
        warn!(id = %chosen.id, reason, "this says not which machine it is: it waits in quarantine without using a token; give it a name with --id");
    }
    let sent_away = home.is_sent_away();
    if sent_away {
        warn!(id = %chosen.id, "it was removed: it asks again without its token, and waits for `labctl key accept`");
    }
    let trust = Trust::newest(home, org, Some(&found))?;
    // Of several masters one may know less than the others: only as a member it can be told that all refuse it.
    let is_only_master = trust.masters.masters.len() == 1;
    let identity = home.identity()?;
    let (grains, _) = grains::collect(&sources(setup, &chosen.id));
    let candidate = Candidate {
        identity: &identity,
        id: chosen.id.clone(),
        token: found.seed.token.as_ref().filter(|_| chosen.quarantine.is_none() && !sent_away),
        claims: copies::claims(home, &grains, setup)?,
        version: model::VERSION.to_owned(),
        masters: signers(&trust.masters),
        pins: trust.masters.pins(),
        addresses: trust.addresses(),
    };
    let clock = std::cell::RefCell::new(clock);
    match candidate.enroll(|| clock.borrow_mut().now()).await {
        Enrolled::Accepted(id) => {
            home.keep_surroundings(&speaker.surroundings)?;
            home.join(&id, &found.seed.org)?;
            info!(id = %id, key = %identity.public().fingerprint(), "accepted");
        }
        // The answer was lost, or the folder is from a backup: the name is the one that was asked for.
        Enrolled::AlreadyMember => {
            home.keep_surroundings(&speaker.surroundings)?;
            home.join(&chosen.id, &found.seed.org)?;
        }
        Enrolled::Untrusted => {
            if !seek::newer_masters(home, Some(trust)).await? {
                tokio::time::sleep(seek::AGAIN).await;
            }
            return Ok(());
        }
        Enrolled::Banned if is_only_master && home.membership()?.is_some() => {
            let kept = home.drop_identity(clock.borrow_mut().now().0)?;
            let kept = kept.display();
            warn!(%kept, "the master let this key in no more: the identity was dropped");
            return Ok(());
        }
        Enrolled::Banned => {
            warn!(id = %chosen.id, "the master refuses this key: an operator said no; asking again in 30 s");
            tokio::time::sleep(AFTER_NO).await;
            return Ok(());
        }
    }
    if let Some(path) = &found.token_in {
        match identity::delete_token(path) {
            Ok(()) => info!(path = %path.display(), "the token was deleted from the installed seed"),
            Err(reason) => {
                error!(path = %path.display(), reason, "the token cannot be deleted: remove it by hand");
            }
        }
    }
    Ok(())
}

fn sources(setup: &Setup, id: &model::MinionId) -> grains::Sources {
    grains::Sources {
        id: id.clone(),
        root: setup.config.machine_root.clone(),
        file: setup.config.grains_file.clone(),
        programs: setup.config.grains_dir.clone(),
        sandbox: setup.config.sandbox.is_some(),
    }
}
