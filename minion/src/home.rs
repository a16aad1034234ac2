//! The minion's folder: who it is, whom it trusts, where its journal and its workers' files lie.

use crate::journal::{JournalError, sync_dir};
use bus::masters::{Masters, MastersError};
use bus::{Identity, PublicKey};
use model::{ContentHash, MinionId, Surroundings};
use serde::{Deserialize, Serialize};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Format of `member.json`.
const VERSION: u32 = 1;
/// An agent that was killed may have been starting a program, which holds the folder until it is that program: so long it
/// is waited for, and looked at so often.
const LOCK_LIMIT: Duration = Duration::from_secs(1);
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// A file that is there from a removal until somebody lets the machine in again.
const SENT_AWAY: &str = "sent-away";
/// What was seen around the machine when its key was accepted.
const SURROUNDINGS: &str = "surroundings.json";
/// What the minion does by itself, sealed as it came.
const CONDUCT: &str = "conduct";
/// Why an identity was dropped, until the next one is accepted.
const COPIED: &str = "copied";
/// Dropped identities that are kept aside; the oldest go first.
const ASIDE_MAX: usize = 4;

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// The system refused.
    #[error("cannot {action} `{path}`")]
    Io {
        /// An infinitive.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// The system's word.
        #[source]
        source: io::Error,
    },
    /// Two processes at once.
    #[error("another labminion uses `{0}`: stop it, or give this one a --state-dir of its own")]
    InUse(PathBuf),
    /// Its own file is broken.
    #[error("`{path}` is malformed: {message}; restore it, or remove it to enrol again")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// The list of masters is not to be trusted.
    #[error("`{path}` is refused")]
    Masters {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: MastersError,
    },
    /// The key.
    #[error(transparent)]
    Key(#[from] bus::keys::KeyError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// That the master accepted this key under this name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Membership {
    v: u32,
    /// Name.
    pub id: MinionId,
    /// Org public key, unpadded base64url.
    pub org: String,
}

/// The folder, held by this process alone.
#[derive(Debug)]
pub struct Home {
    dir: PathBuf,
    _lock: File,
}

impl Home {
    /// Makes it if need be and holds it.
    pub fn open(dir: &Path) -> Result<Self, HomeError> {
        make_private_dir(dir)?;
        let path = dir.join("lock");
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(io_error("open", &path))?;
        let until = Instant::now() + LOCK_LIMIT;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < until => std::thread::sleep(LOCK_PAUSE),
                Err(TryLockError::WouldBlock) => return Err(HomeError::InUse(dir.to_owned())),
                Err(TryLockError::Error(source)) => return Err(io_error("lock", &path)(source)),
            }
        }
        for folder in ["journal", "work"] {
            make_private_dir(&dir.join(folder))?;
        }
        Ok(Self { dir: dir.to_owned(), _lock: lock })
    }

    /// Where the journal lies.
    pub fn journal_dir(&self) -> PathBuf {
        self.dir.join("journal")
    }

    /// Where what jobs altered is kept.
    pub fn kept_dir(&self) -> PathBuf {
        self.dir.join("kept")
    }

    /// Which boot this is. A pretended machine has never been booted: it counts how often it would have been.
    pub fn boot_id(&self, kernels: &str, pretended: bool) -> Result<String, HomeError> {
        if !pretended {
            return Ok(kernels.to_owned());
        }
        let boots = read(&self.boots())?.unwrap_or_default();
        Ok(format!("{kernels}{}", boots.trim()))
    }

    /// A pretended machine boots anew.
    pub fn boot_again(&self) -> Result<(), HomeError> {
        let boots = read(&self.boots())?.unwrap_or_default();
        let boots: u64 = boots.trim().trim_start_matches('+').parse().unwrap_or(0);
        write_private(&self.boots(), format!("+{}", boots + 1).as_bytes())
    }

    fn boots(&self) -> PathBuf {
        self.dir.join("boots")
    }

    /// Where workers leave what they say.
    pub fn work_dir(&self) -> PathBuf {
        self.dir.join("work")
    }

    /// This machine's key, made at the first call.
    pub fn identity(&self) -> Result<Identity, HomeError> {
        Ok(Identity::load_or_create(&self.dir, "key")?)
    }

    /// Its membership, if it has one.
    pub fn membership(&self) -> Result<Option<Membership>, HomeError> {
        let path = self.dir.join("member.json");
        let Some(text) = read(&path)? else { return Ok(None) };
        let member: Membership = serde_json::from_str(&text)
            .map_err(|error| HomeError::Malformed { path: path.clone(), message: error.to_string() })?;
        if member.v != VERSION {
            let message = format!("it has version {}, this release reads version {VERSION}", member.v);
            return Err(HomeError::Malformed { path, message });
        }
        Ok(Some(member))
    }

    /// Notes that it is a member now.
    pub fn join(&self, id: &MinionId, org: &str) -> Result<Membership, HomeError> {
        let member = Membership { v: VERSION, id: id.clone(), org: org.to_owned() };
        let text = serde_json::to_string(&member).expect("a membership is plain data");
        write_private(&self.dir.join("member.json"), text.as_bytes())?;
        for mark in [SENT_AWAY, COPIED] {
            let path = self.dir.join(mark);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(io_error("remove", &path)(error));
                }
                _ => {}
            }
        }
        Ok(member)
    }

    /// What was seen around the machine when its key was accepted, or when that was last looked at.
    pub fn surroundings(&self) -> Result<Option<Surroundings>, HomeError> {
        let path = self.dir.join(SURROUNDINGS);
        let Some(text) = read(&path)? else { return Ok(None) };
        let malformed = |error: serde_json::Error| HomeError::Malformed { path, message: error.to_string() };
        serde_json::from_str(&text).map(Some).map_err(malformed)
    }

    /// Keeps what is seen now.
    pub fn keep_surroundings(&self, seen: &Surroundings) -> Result<(), HomeError> {
        let text = serde_json::to_string(seen).expect("surroundings are plain data");
        write_private(&self.dir.join(SURROUNDINGS), text.as_bytes())
    }

    /// Why it asks to be a member although its disk holds a key: it is a copy of another machine.
    pub fn copied_from(&self) -> Result<Option<String>, HomeError> {
        read(&self.dir.join(COPIED))
    }

    /// The list of masters in use here, if there is one.
    pub fn masters(&self, org: &PublicKey) -> Result<Option<Masters>, HomeError> {
        let path = self.dir.join("masters.json");
        let Some(text) = read(&path)? else { return Ok(None) };
        let masters = Masters::open(&text, org).map_err(|source| HomeError::Masters { path, source })?;
        Ok(Some(masters))
    }

    /// Which list that is: two may have one version.
    pub fn masters_hash(&self) -> Result<Option<ContentHash>, HomeError> {
        Ok(read(&self.dir.join("masters.json"))?.and_then(|text| Masters::hash(&text)))
    }

    /// Keeps a list that was checked.
    pub fn keep_masters(&self, text: &str) -> Result<(), HomeError> {
        write_private(&self.dir.join("masters.json"), text.as_bytes())
    }

    /// What it does by itself, sealed to its key.
    pub fn conduct(&self) -> Result<Option<String>, HomeError> {
        read(&self.dir.join(CONDUCT))
    }

    /// Keeps what it does by itself; none is nothing.
    pub fn keep_conduct(&self, sealed: Option<&str>) -> Result<(), HomeError> {
        let path = self.dir.join(CONDUCT);
        if let Some(sealed) = sealed {
            return write_private(&path, sealed.as_bytes());
        }
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", &path)(error)),
            _ => Ok(()),
        }
    }

    /// Whether an operator sent this machine away, and nobody has let it in again.
    pub fn is_sent_away(&self) -> bool {
        self.dir.join(SENT_AWAY).exists()
    }

    /// Moves key, membership and journal aside: the next start makes a new key, and asks without a token. `stamp`
    /// names the folder.
    pub fn drop_identity(&self, stamp: u64) -> Result<PathBuf, HomeError> {
        write_private(&self.dir.join(SENT_AWAY), b"")?;
        self.move_aside(
            stamp,
            ["member.json", SURROUNDINGS, "key.pem", "key-seal.pem", "journal", "work", CONDUCT],
        )
    }

    /// The same for a copy of another machine, which did nothing wrong: it may use a token if it has one. `why` is said
    /// to the master.
    pub fn drop_copied_identity(&self, stamp: u64, why: &str) -> Result<PathBuf, HomeError> {
        write_private(&self.dir.join(COPIED), why.as_bytes())?;
        // By the last two it is judged again if it is ended in between.
        self.move_aside(
            stamp,
            ["key.pem", "key-seal.pem", "journal", "work", CONDUCT, "member.json", SURROUNDINGS],
        )
    }

    fn move_aside(&self, stamp: u64, names: [&str; 7]) -> Result<PathBuf, HomeError> {
        let aside = self.dir.join(format!("dropped-{stamp}"));
        make_private_dir(&aside)?;
        for name in names {
            let (from, to) = (self.dir.join(name), aside.join(name));
            match std::fs::rename(&from, &to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(io_error("move aside", &from)(error));
                }
                _ => {}
            }
        }
        sync_dir(&self.dir)?;
        for folder in ["journal", "work"] {
            make_private_dir(&self.dir.join(folder))?;
        }
        self.forget_aside();
        Ok(aside)
    }

    fn forget_aside(&self) {
        let entries = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let mut aside: Vec<PathBuf> = entries
            .filter(|it| it.file_name().to_string_lossy().starts_with("dropped-"))
            .map(|it| it.path())
            .collect();
        aside.sort();
        let surplus = aside.len().saturating_sub(ASIDE_MAX);
        for old in aside.into_iter().take(surplus) {
            let _ = std::fs::remove_dir_all(old);
        }
    }
}

fn read(path: &Path) -> Result<Option<String>, HomeError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("read", path)(error)),
    }
}

/// Writes a file of mode 0600 that is there whole or not at all, synced.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), HomeError> {
    let fresh = path.with_extension("new");
    let write = || -> io::Result<()> {
        let _ = std::fs::remove_file(&fresh);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&fresh, path)
    };
    write().map_err(io_error("write", path))?;
    if let Some(dir) = path.parent() {
        sync_dir(dir)?;
    }
    Ok(())
}

/// Makes a folder that only its owner may enter.
pub(crate) fn make_private_dir(dir: &Path) -> Result<(), HomeError> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io_error("make", dir))
}

fn io_error<'a>(action: &'static str, path: &'a Path) -> impl Fn(io::Error) -> HomeError + 'a {
    move |source| HomeError::Io { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_membership_lasts_until_the_identity_is_dropped_and_the_next_key_is_another() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let key = home.identity().unwrap().public();
        assert_eq!(home.membership().unwrap(), None);
        let joined = home.join(&"vm-1".parse().unwrap(), "org").unwrap();
        assert_eq!(home.membership().unwrap(), Some(joined));
        assert_eq!(home.identity().unwrap().public(), key);
        assert!(!home.is_sent_away());
        let aside = home.drop_identity(7).unwrap();
        assert!(home.is_sent_away());
        assert!(aside.join("key.pem").exists());
        assert_eq!(home.membership().unwrap(), None);
        assert_ne!(home.identity().unwrap().public(), key);
        home.join(&"vm-1".parse().unwrap(), "org").unwrap();
        assert!(!home.is_sent_away(), "somebody let it in again");
    }

    #[test]
    fn only_one_process_holds_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        let _home = Home::open(dir.path()).unwrap();
        assert!(matches!(Home::open(dir.path()), Err(HomeError::InUse(_))));
    }

    #[test]
    fn a_folder_that_another_one_is_just_leaving_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let first = Home::open(dir.path()).unwrap();
        let (say, said) = std::sync::mpsc::channel();
        let path = dir.path().to_owned();
        let second = std::thread::spawn(move || {
            say.send(()).unwrap();
            Home::open(&path).is_ok()
        });
        said.recv().unwrap();
        drop(first);
        assert!(second.join().unwrap());
    }

    #[test]
    fn a_list_of_masters_of_another_organization_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let (org, other) = (Identity::generate(), Identity::generate());
        let list = Masters { version: 3, masters: Vec::new() };
        home.keep_masters(&list.sign(&org)).unwrap();
        assert_eq!(home.masters(&org.public()).unwrap(), Some(list));
        assert!(matches!(home.masters(&other.public()), Err(HomeError::Masters { .. })));
    }

    #[test]
    fn a_membership_of_a_later_format_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        std::fs::write(dir.path().join("member.json"), r#"{"v":2,"id":"vm-1","org":"x"}"#).unwrap();
        assert!(matches!(home.membership(), Err(HomeError::Malformed { .. })));
    }
}
