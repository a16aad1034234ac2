//! Lists of masters and keys as files: what is in use, what comes next, signing where the org key is, changing over.

use crate::config::Config;
use crate::init::{KeyRing, SetUpError, advertised, io_error, make_folder};
use bus::keys::KeyError;
use bus::masters::{MasterEntry, Masters, MastersError};
use bus::tls::MasterCertificate;
use bus::{Identity, PublicKey};
use std::path::{Path, PathBuf};

/// Files of a master's own keys, the certificate last: it is made again when it is missing.
const KEY_FILES: [&str; 4] = ["master.pem", "master-seal.pem", "tls.pem", "tls.crt"];
/// Folder below the keys for those that come next.
const NEXT: &str = "next";
/// Folder below the keys for those that were in use before.
const PREVIOUS: &str = "previous";

/// Why a list or a key cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// Files.
    #[error(transparent)]
    SetUp(#[from] SetUpError),
    /// A key.
    #[error("a key cannot be used")]
    Key(#[from] KeyError),
    /// A list that somebody wrote.
    #[error("the list is wrong: {0}")]
    Wrong(String),
    /// A list that is not signed as it should be.
    #[error("the list of masters cannot be used")]
    Masters(#[from] MastersError),
    /// There are no keys to change over to.
    #[error("there are no next keys in `{0}`: make them with `labmaster masters next`")]
    NoNext(PathBuf),
    /// Minions would refuse them.
    #[error(
        "the list of masters in use does not name the next keys: sign what `labmaster masters next` prints, and install it"
    )]
    NotListed,
}

/// The signed list in use, opened.
pub fn in_use(config: &Config) -> Result<(KeyRing, Masters), RotationError> {
    let ring = KeyRing::load(config)?;
    let path = config.masters_path();
    let text = std::fs::read_to_string(&path).map_err(io_error("read", &path))?;
    let list = Masters::open(&text, &ring.org)?;
    Ok((ring, list))
}

fn is_of(entry: &MasterEntry, ring: &KeyRing) -> bool {
    entry.sign == ring.signer.public().to_text() && entry.tls == ring.certificate.pin()
}

/// Makes the next keys, if they are not there, and the list that names them beside those in use.
pub fn next(config: &Config) -> Result<Masters, RotationError> {
    let (ring, mut list) = in_use(config)?;
    let folder = config.keys().join(NEXT);
    make_folder(Some(&folder), 0o700)?;
    let own = list.masters.iter().find(|it| is_of(it, &ring)).cloned();
    let own =
        own.ok_or_else(|| RotationError::Wrong("it does not name this master with its keys".to_owned()))?;
    let entry = next_entry(config, &folder, own)?;
    if !list.masters.iter().any(|it| it.sign == entry.sign && it.tls == entry.tls) {
        list.masters.push(entry);
        list.version += 1;
    }
    Ok(list)
}

fn next_entry(config: &Config, folder: &Path, own: MasterEntry) -> Result<MasterEntry, RotationError> {
    let signer = Identity::load_or_create(folder, "master")?;
    let names: Vec<String> = advertised(config).into_iter().map(|it| it.host).collect();
    let certificate = MasterCertificate::load_or_create(folder, &names)?;
    Ok(MasterEntry { sign: signer.public().to_text(), tls: certificate.pin(), ..own })
}

/// The list in use with the entries of another one of this organization; an entry of the same key is replaced.
pub fn merge(config: &Config, other: &str) -> Result<Masters, RotationError> {
    let (ring, mut list) = in_use(config)?;
    let other = read_list(other, &ring.org)?;
    for entry in other.masters.into_iter().filter(|it| !is_of(it, &ring)) {
        list.masters.retain(|it| it.sign != entry.sign);
        list.masters.push(entry);
    }
    list.version = list.version.max(other.version) + 1;
    checked(list)
}

/// A signed list, or one that somebody wrote.
fn read_list(text: &str, org: &PublicKey) -> Result<Masters, RotationError> {
    match Masters::open(text, org) {
        Err(MastersError::Malformed(_)) => parse(text),
        opened => Ok(opened?),
    }
}

fn parse(text: &str) -> Result<Masters, RotationError> {
    serde_json::from_str(text).map_err(|error| RotationError::Wrong(error.to_string()))
}

fn checked(list: Masters) -> Result<Masters, RotationError> {
    let complaints = list.complaints();
    if complaints.is_empty() { Ok(list) } else { Err(RotationError::Wrong(complaints.join("; "))) }
}

/// The list in use without keys of this master that it does not use any more.
pub fn without_previous(config: &Config) -> Result<Masters, RotationError> {
    let (ring, mut list) = in_use(config)?;
    let next = Identity::load(&config.keys().join(NEXT), "master").ok().map(|it| it.public().to_text());
    let before = list.masters.len();
    list.masters.retain(|it| it.name != config.name || is_of(it, &ring) || next.as_ref() == Some(&it.sign));
    if list.masters.len() < before {
        list.version += 1;
    }
    Ok(list)
}

/// Signs a list that somebody wrote; where the org key is, nothing else of labctl need be.
pub fn sign(org_key: &Path, text: &str) -> Result<String, RotationError> {
    let org = Identity::load_to_sign(org_key)?;
    Ok(checked(parse(text)?)?.sign(&org))
}

/// Puts the next keys in the place of those in use, which are kept aside. Goes on where it was cut off. A running master
/// uses them from its next start on.
pub fn switch(config: &Config) -> Result<Masters, RotationError> {
    let (_, list) = in_use(config)?;
    let (keys, next) = (config.keys(), config.keys().join(NEXT));
    if !KEY_FILES.iter().any(|name| next.join(name).exists()) {
        return Err(RotationError::NoNext(next));
    }
    if !names_next(config, &list)? {
        return Err(RotationError::NotListed);
    }
    let previous = keys.join(PREVIOUS);
    make_folder(Some(&previous), 0o700)?;
    for name in KEY_FILES {
        let (from, to) = (next.join(name), keys.join(name));
        if !from.exists() {
            continue;
        }
        if to.exists() {
            let kept = previous.join(name);
            let _ = std::fs::remove_file(&kept);
            std::fs::hard_link(&to, &kept).map_err(io_error("keep", &to))?;
        }
        std::fs::rename(&from, &to).map_err(io_error("put in place", &from))?;
    }
    for folder in [&previous, &next, &keys] {
        std::fs::File::open(folder).and_then(|it| it.sync_all()).map_err(io_error("sync", folder))?;
    }
    let _ = std::fs::remove_dir(&next);
    Ok(list)
}

/// Whether minions will believe each of the next keys that are still to be put in place.
fn names_next(config: &Config, list: &Masters) -> Result<bool, RotationError> {
    let next = config.keys().join(NEXT);
    let signs = |key: String| list.masters.iter().any(|it| it.sign == key);
    if next.join("master.pem").exists()
        && !signs(Identity::load_to_sign(&next.join("master.pem"))?.public().to_text())
    {
        return Ok(false);
    }
    if next.join("tls.pem").exists() {
        let names: Vec<String> = advertised(config).into_iter().map(|it| it.host).collect();
        let pin = MasterCertificate::load_or_create(&next, &names)?.pin();
        return Ok(list.masters.iter().any(|it| it.tls == pin));
    }
    Ok(true)
}

#[cfg(test)]
mod tests;
