//! What the gate and the web server look up without asking the loop: who is who, what is retained, who may fetch what.

use super::{Credential, Incoming, Local, LocalRight, LoginFault, clock};
use crate::core::{Entry, Refused, SealedRef};
use crate::gate::Directory;
use crate::hooks::Keyring;
use bus::{PublicKey, packet};
use lang::roles::Roles;
use model::{
    Caller, ContentHash, Fingerprint, JobId, KeyStatus, MinionId, Observer, ObserverRole, Operator,
    TargetState, Timestamp, broken, same_text,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::{Notify, mpsc};

/// Retained topics in all.
const TOPICS_MAX: usize = 200_000;

/// Shared by the loop (which writes), the gate and the web server.
#[derive(Debug, Default)]
pub(crate) struct Register {
    tables: RwLock<Tables>,
    /// Somebody wants the hooks to be read anew.
    pub(crate) look_at_hooks: Arc<Notify>,
    /// To the loop, for the audit log.
    audit: OnceLock<mpsc::Sender<Incoming>>,
}

#[derive(Debug, Default)]
struct Tables {
    keys: BTreeMap<Fingerprint, (MinionId, KeyStatus)>,
    observers: BTreeMap<String, Observer>,
    operators: BTreeMap<Fingerprint, Operator>,
    roles: Arc<Roles>,
    roles_edition: u64,
    hooks: Arc<Keyring>,
    open: BTreeSet<JobId>,
    recipes: BTreeMap<MinionId, BTreeMap<JobId, SealedRef>>,
    retained: BTreeMap<String, String>,
    dirty: BTreeSet<String>,
    files: Arc<BTreeMap<ContentHash, PathBuf>>,
    masters: String,
}

impl Register {
    fn read(&self) -> RwLockReadGuard<'_, Tables> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner)
    }
    fn write(&self) -> RwLockWriteGuard<'_, Tables> {
        self.tables.write().unwrap_or_else(PoisonError::into_inner)
    }
    /// Takes in an entry that is on disk.
    pub(crate) fn learn(&self, entry: &Entry) {
        let mut tables = self.write();
        match entry {
            Entry::Key(key) => {
                tables.keys.insert(key.fingerprint.clone(), (key.minion.clone(), key.status));
            }
            Entry::KeyGone(fingerprint) => {
                tables.keys.remove(fingerprint);
            }
            Entry::Observer(observer) => {
                tables.observers.insert(observer.name.clone(), observer.clone());
            }
            Entry::ObserverGone(name) => {
                tables.observers.remove(name);
            }
            Entry::Operator(operator) => {
                tables.operators.retain(|_, it| it.name != operator.name);
                tables.operators.insert(operator.fingerprint.clone(), operator.clone());
            }
            Entry::OperatorGone(name) => tables.operators.retain(|_, it| it.name != *name),
            Entry::Job(job) => {
                if job.ended.is_none() {
                    tables.open.insert(job.id);
                } else {
                    tables.open.remove(&job.id);
                }
            }
            Entry::Recipe(job, minion, place) => {
                tables.recipes.entry(minion.clone()).or_default().insert(*job, place.clone());
            }
            Entry::Target(target) if matches!(target.state, TargetState::Ended { .. }) => {
                if let Some(recipes) = tables.recipes.get_mut(&target.minion) {
                    recipes.remove(&target.job);
                }
            }
            _ => {}
        }
    }
    /// Whether a job has targets that have not ended.
    pub(crate) fn is_open(&self, job: JobId) -> bool {
        self.read().open.contains(&job)
    }
    /// The job whose sealed recipe for this minion has this hash, and that minion.
    pub(crate) fn recipe(&self, minion: &MinionId, hash: ContentHash) -> Option<(JobId, MinionId)> {
        let tables = self.read();
        let of = |owner: &MinionId| {
            let (job, _) = tables.recipes.get(owner)?.iter().find(|(_, it)| it.hash == hash)?;
            Some((*job, owner.clone()))
        };
        if broken::leaves_out("recipe-owner") {
            return tables.recipes.keys().find_map(of);
        }
        of(minion)
    }
    /// Whether an open recipe of this minion lets it fetch a content.
    pub(crate) fn is_granted(&self, minion: &MinionId, hash: ContentHash) -> bool {
        if broken::leaves_out("file-grants") {
            return true;
        }
        let tables = self.read();
        tables.recipes.get(minion).is_some_and(|it| it.values().any(|it| it.grants.contains(&hash)))
    }
    /// All contents that open recipes grant.
    pub(crate) fn grants(&self) -> BTreeSet<ContentHash> {
        let tables = self.read();
        tables.recipes.values().flat_map(BTreeMap::values).flat_map(|it| it.grants.iter().copied()).collect()
    }
    /// Where a content of the trees in use lies.
    pub(crate) fn file(&self, hash: ContentHash) -> Option<PathBuf> {
        self.read().files.get(&hash).cloned()
    }
    /// New trees are in use.
    pub(crate) fn set_files(&self, files: Arc<BTreeMap<ContentHash, PathBuf>>) {
        self.write().files = files;
    }
    /// A list of masters is in use.
    pub(crate) fn set_masters(&self, text: &str) {
        text.clone_into(&mut self.write().masters);
    }
    /// The list of masters in use.
    pub(crate) fn masters(&self) -> String {
        self.read().masters.clone()
    }
    /// What was retained before the start.
    pub(crate) fn restore(&self, retained: Vec<(String, String)>) {
        self.write().retained = retained.into_iter().take(TOPICS_MAX).collect();
    }
    /// Keeps or, if the payload is empty, forgets a retained topic.
    pub(crate) fn retain(&self, topic: &str, payload: &str) {
        let mut tables = self.write();
        if payload.is_empty() {
            tables.retained.remove(topic);
        } else if let Some(kept) = tables.retained.get_mut(topic) {
            if kept == payload {
                return;
            }
            payload.clone_into(kept);
        } else if tables.retained.len() < TOPICS_MAX {
            tables.retained.insert(topic.to_owned(), payload.to_owned());
        }
        tables.dirty.insert(topic.to_owned());
    }
    /// Retained topics that changed since the last time, with what they hold now.
    pub(crate) fn take_dirty(&self) -> Vec<(String, Option<String>)> {
        let mut tables = self.write();
        let dirty = std::mem::take(&mut tables.dirty);
        dirty.into_iter().map(|topic| (topic.clone(), tables.retained.get(&topic).cloned())).collect()
    }
    /// New roles are in use.
    pub(crate) fn set_roles(&self, roles: Arc<Roles>) {
        let mut tables = self.write();
        tables.roles = roles;
        tables.roles_edition += 1;
    }
    /// Grows with each edit of the roles.
    pub(crate) fn roles_edition(&self) -> u64 {
        self.read().roles_edition
    }
    /// New hooks are in use.
    pub(crate) fn set_hooks(&self, hooks: Arc<Keyring>) {
        self.write().hooks = hooks;
    }
    /// The hooks in use.
    pub(crate) fn hooks(&self) -> Arc<Keyring> {
        Arc::clone(&self.read().hooks)
    }
    /// Where refused logins are put on record.
    pub(crate) fn audit_by(&self, inputs: mpsc::Sender<Incoming>) {
        let _ = self.audit.set(inputs);
    }
    /// Puts a refused login on record; when the loop is busy it is left out.
    pub(crate) fn refused(&self, refused: Refused) {
        if let Some(inputs) = self.audit.get() {
            let _ = inputs.try_send(Incoming::Refused(Box::new(refused)));
        }
    }
    /// Who this is, for the API, and with which role.
    pub(crate) fn operator(&self, credential: &Credential) -> Result<Caller, LoginFault> {
        match credential {
            Credential::Token(token) => {
                let (name, secret) = token.reveal().split_once(':').ok_or(LoginFault::Unknown)?;
                let role = self.login(name, secret, clock::now())?;
                let role = if broken::leaves_out("api-role") { "admin" } else { role.name() };
                Ok(Caller::new(name, format!("token={name}"), role))
            }
            Credential::Key(key) => {
                let tables = self.read();
                let known = tables.operators.get(&key.fingerprint()).ok_or(LoginFault::Unknown)?;
                check_end(&known.name, known.expires, clock::now())?;
                Ok(Caller::new(&known.name, "key", &known.role))
            }
            Credential::Local(Local { name, uid, by }) => {
                let tables = self.read();
                let socket = tables.roles.socket();
                let role = match by {
                    LocalRight::Root => &socket.root,
                    LocalRight::Lab => socket.users.get(name).unwrap_or(&socket.lab),
                };
                Ok(Caller::new(name, format!("socket uid={uid}"), role))
            }
        }
    }
    /// The role of an observer or token, if name and secret are right and its end has not come.
    fn login(&self, name: &str, secret: &str, now: Timestamp) -> Result<ObserverRole, LoginFault> {
        let tables = self.read();
        let found = tables.observers.get(name);
        let given = bus::seed::sha256(secret.as_bytes()).to_string();
        let kept = found.map_or("", |it| it.secret_hash.as_str());
        let same = same_text(&given, kept);
        let found = found.filter(|_| same).ok_or(LoginFault::Unknown)?;
        check_end(name, found.expires, now)?;
        Ok(found.role.clone())
    }
}

/// Ends are judged as those of tokens for machines are: by a clock that is never earlier than a time that has been.
fn check_end(name: &str, end: Option<Timestamp>, now: Timestamp) -> Result<(), LoginFault> {
    if end.is_some_and(|end| now >= end) && !broken::leaves_out("token-end") {
        return Err(LoginFault::Ended(name.to_owned()));
    }
    Ok(())
}

impl Directory for Register {
    fn minion(&self, key: &PublicKey) -> Option<MinionId> {
        let tables = self.read();
        let (minion, status) = tables.keys.get(&key.fingerprint())?;
        (*status == KeyStatus::Accepted).then(|| minion.clone())
    }
    fn banned(&self, key: &PublicKey) -> bool {
        let tables = self.read();
        let status = tables.keys.get(&key.fingerprint()).map(|it| it.1);
        matches!(status, Some(KeyStatus::Rejected | KeyStatus::Revoked))
    }
    fn observer(&self, name: &str, secret: &str, now: Timestamp) -> Option<ObserverRole> {
        self.login(name, secret, now).ok()
    }
    fn refused_login(&self, name: &str, secret: &str, address: IpAddr) {
        let (known, reason) = match self.login(name, secret, clock::now()) {
            Err(LoginFault::Ended(name)) => (name, "its end has come"),
            Ok(_) => (name.to_owned(), "this role is not for MQTT"),
            Err(LoginFault::Unknown) => (known_name(name), "no such user, or not its secret"),
        };
        let caller = Caller::new(known, format!("{address} mqtt"), "");
        self.refused(Refused { caller, what: "log in".to_owned(), reason: reason.to_owned() });
    }
    fn retained(&self, filter: &str) -> Vec<(String, String)> {
        let tables = self.read();
        let literal: &str = filter.split(['+', '#']).next().unwrap_or_default();
        let begin = literal.trim_end_matches('/');
        let from = (std::ops::Bound::Included(begin), std::ops::Bound::Unbounded);
        let near = tables.retained.range::<str, _>(from).take_while(|(topic, _)| topic.starts_with(begin));
        near.filter(|(topic, _)| packet::matches(filter, topic))
            .map(|(topic, payload)| (topic.clone(), payload.clone()))
            .collect()
    }
}

/// What a stranger says of its name, as far as that can be a name.
pub(crate) fn known_name(name: &str) -> String {
    if crate::core::is_user_name(name) { name.to_owned() } else { "?".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retained_topics_are_found_as_mqtt_says() {
        let register = Register::default();
        for topic in ["$SYS/x", "homeassistant/x", "lab", "lab/a", "lab/a/b", "lab/ab", "labs"] {
            register.retain(topic, "1");
        }
        for (filter, wanted) in [
            ("#", "homeassistant/x lab lab/a lab/a/b lab/ab labs"),
            ("lab/#", "lab lab/a lab/a/b lab/ab"),
            ("lab/a/#", "lab/a lab/a/b"),
            ("lab/+", "lab/a lab/ab"),
            ("+/x", "homeassistant/x"),
            ("+/a/+", "lab/a/b"),
            ("$SYS/#", "$SYS/x"),
            ("lab/a", "lab/a"),
            ("lab/A", ""),
        ] {
            let found: Vec<String> = register.retained(filter).into_iter().map(|it| it.0).collect();
            assert_eq!(found.join(" "), wanted, "{filter}");
        }
    }
}
