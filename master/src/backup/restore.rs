//! A backup becomes the state of a master again: looked through and unpacked beside its place, then renamed into it.

use super::{Backup, BackupError, Header, STORE, io_error, make_private_dir, open};
use crate::config::Config;
use crate::daemon::{StartError, lock};
use crate::store::adopt;
use bus::Identity;
use model::Timestamp;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

/// Where it is unpacked.
const DRAFT: &str = "restore.draft";
/// There while files are moved; says where the old ones are.
const PENDING: &str = "restore.pending";
/// What belongs to the store that is replaced.
const BESIDE: &[&str] = &["store.db-wal", "store.db-shm", "store.ballast"];

/// Puts a backup in place of what is in the state folder; what was there is moved aside, and nothing is altered before
/// all of the backup was found good. What was done, for people.
pub fn restore(file: &Path, config: &Config, now: Timestamp) -> Result<Vec<String>, BackupError> {
    let state = &config.state_dir;
    make_private_dir(state).map_err(io_error("make", state))?;
    let _lock = lock(state).map_err(|error| match error {
        StartError::Lock { path, source } => BackupError::Io { action: "lock", path, source },
        _ => BackupError::Running(state.clone()),
    })?;
    let backup = Backup::open(file)?;
    check_keys(&backup.header, state)?;
    let draft = state.join(DRAFT);
    remove(&draft)?;
    make_private_dir(&draft).map_err(io_error("make", &draft))?;
    let header = backup.unpack(&draft)?;
    let restored = adopt(&draft.join(STORE), now, header.at)?;
    let aside = state.join(format!("before-restore-{}", now.0 / 1000));
    let mut done = vec![format!(
        "the backup is of {} (release {}), taken {}: {} minions, {} jobs, {} of them open",
        header.name,
        header.version,
        ago(header.at, now),
        restored.minions,
        restored.jobs,
        restored.open,
    )];
    if replace(&header, state, &aside)? {
        done.push(format!("what was there is in {}", aside.display()));
    }
    remove(&draft)?;
    done.push(format!("restored into {}", state.display()));
    done.push(
        "what was decided after the backup is forgotten: look at labctl key list, key tokens and token list, and revoke \
         again what was revoked since"
            .to_owned(),
    );
    Ok(done)
}

/// Minions believe one key only: it is in the backup, or it is here already.
fn check_keys(header: &Header, state: &Path) -> Result<(), BackupError> {
    let keys = state.join("keys");
    if header.keys {
        return Ok(());
    }
    if !keys.join("master.pem").exists() {
        return Err(BackupError::NoKeys(keys));
    }
    let here = Identity::load(&keys, "master").map_err(crate::init::SetUpError::from)?;
    if here.public().to_text() == header.sign { Ok(()) } else { Err(BackupError::OtherKeys(keys)) }
}

/// Moves the old files aside and the new ones in, each with the owner of the folder. Whether there were any old ones.
fn replace(header: &Header, state: &Path, aside: &Path) -> Result<bool, BackupError> {
    let owner = std::fs::metadata(state).map_err(io_error("look at", state))?;
    let draft = state.join(DRAFT);
    begin(state, aside)?;
    let names: Vec<&str> =
        header.files.iter().map(|it| it.path.as_str()).chain(BESIDE.iter().copied()).collect();
    let mut replaced = false;
    for name in &names {
        let (old, kept) = (state.join(name), aside.join(name));
        if !old.exists() {
            continue;
        }
        replaced = true;
        if let Some(folder) = kept.parent() {
            make_private_dir(folder).map_err(io_error("make", folder))?;
        }
        std::fs::rename(&old, &kept).map_err(io_error("move aside", &old))?;
    }
    for part in &header.files {
        let place = state.join(&part.path);
        if let Some(folder) = place.parent() {
            make_private_dir(folder).map_err(io_error("make", folder))?;
            own(folder, &owner)?;
        }
        let from = draft.join(&part.path);
        own(&from, &owner)?;
        std::fs::rename(&from, &place).map_err(io_error("put in place", &place))?;
    }
    for folder in [state.join("keys"), state.to_owned()] {
        open(&folder)?.sync_all().map_err(io_error("sync", &folder))?;
    }
    if replaced {
        own(aside, &owner)?;
    }
    own(&state.join("lock"), &owner)?;
    let pending = state.join(PENDING);
    std::fs::remove_file(&pending).map_err(io_error("remove", &pending))?;
    open(state)?.sync_all().map_err(io_error("sync", state))?;
    Ok(replaced)
}

/// From now on until all files are in place, what is in the folder is neither the old master nor the new one.
fn begin(state: &Path, aside: &Path) -> Result<(), BackupError> {
    let pending = state.join(PENDING);
    let name = aside.file_name().unwrap_or_default().to_string_lossy();
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().create(true).append(true).open(&pending)?;
        file.write_all(format!("{name}\n").as_bytes())?;
        file.sync_all()
    };
    write().map_err(io_error("write", &pending))?;
    open(state)?.sync_all().map_err(io_error("sync", state))
}

/// Whether a restore was cut off in the middle: where it moved what was there before, the oldest first.
pub(crate) fn cut_off(state: &Path) -> Option<String> {
    let text = std::fs::read_to_string(state.join(PENDING)).ok()?;
    Some(text.lines().collect::<Vec<_>>().join(", "))
}

/// As the folder's owner, who runs the master; root restores for it.
fn own(path: &Path, owner: &std::fs::Metadata) -> Result<(), BackupError> {
    let now = std::fs::metadata(path).map_err(io_error("look at", path))?;
    if (now.uid(), now.gid()) == (owner.uid(), owner.gid()) {
        return Ok(());
    }
    chown(path, Some(owner.uid()), Some(owner.gid())).map_err(io_error("give away", path))
}

fn remove(folder: &Path) -> Result<(), BackupError> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", folder)(error)),
        _ => Ok(()),
    }
}

fn ago(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.since_ms(then) / 1000;
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7200 => format!("{} min ago", seconds / 60),
        7200..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}
