//! Observers, API tokens and operators.

use super::{Entry, Master, roster::cut, target::refuse};
use model::{
    Caller, Fingerprint, Observer, ObserverRole, Operator,
    api::{ErrorKind, ErrorView, ObserverView},
};
use sha2::{Digest, Sha256};

/// Observers and API tokens.
const OBSERVERS_MAX: usize = 1_000;
/// Operators with a key.
const OPERATORS_MAX: usize = 1_000;

/// `^[a-z0-9][a-z0-9-]{0,31}$`
pub(crate) fn is_user_name(name: &str) -> bool {
    let first = name.bytes().next().is_some_and(|it| it.is_ascii_lowercase() || it.is_ascii_digit());
    first
        && name.len() <= 32
        && name.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-')
}

/// SHA-256 of a secret's text, hexadecimal.
pub fn secret_hash(secret: &str) -> String {
    model::ContentHash(Sha256::digest(secret.as_bytes()).into()).to_string()
}

fn check_name(name: &str) -> Result<(), ErrorView> {
    if is_user_name(name) {
        return Ok(());
    }
    let message = format!("`{}` is no user name: use a-z, 0-9 and `-`, at most 32", cut(name, 64));
    Err(refuse(ErrorKind::Usage, message, None))
}

impl Master {
    pub(crate) fn create_observer(
        &mut self,
        caller: Caller,
        name: String,
        role: ObserverRole,
        for_ms: Option<u64>,
        random: [u8; 16],
    ) -> Result<ObserverView, ErrorView> {
        check_name(&name)?;
        if self.book.observers.contains_key(&name) {
            let message = format!("an observer has the name {name} already");
            return Err(refuse(ErrorKind::Usage, message, Some("remove it first, or choose another name")));
        }
        if self.book.observers.len() >= OBSERVERS_MAX {
            let message = format!("{OBSERVERS_MAX} observers are known already");
            return Err(refuse(ErrorKind::Unavailable, message, None));
        }
        // 128 bits from the shell, in letters that survive any shell and any form.
        let secret = model::JobId(u128::from_be_bytes(random)).to_string().to_lowercase();
        let expires = for_ms.map(|it| self.now.plus_ms(it));
        let observer =
            Observer { name: name.clone(), role, secret_hash: secret_hash(&secret), expires, at: self.now };
        self.audit(
            caller,
            format!("create observer {name} as {role:?}").to_lowercase(),
            "accepted".to_owned(),
        );
        self.record(Entry::Observer(observer));
        Ok(ObserverView { name, role, secret: Some(secret), expires, at: self.now })
    }

    pub(crate) fn observer_views(&self) -> Vec<ObserverView> {
        let view = |it: &Observer| ObserverView {
            name: it.name.clone(),
            role: it.role,
            secret: None,
            expires: it.expires,
            at: it.at,
        };
        self.book.observers.values().map(view).collect()
    }

    pub(crate) fn remove_observer(&mut self, caller: Caller, name: &str) -> Result<Vec<String>, ErrorView> {
        if !self.book.observers.contains_key(name) {
            let message = format!("no observer is called `{}`", cut(name, 64));
            return Err(refuse(ErrorKind::NotFound, message, None));
        }
        self.audit(caller, format!("remove observer {name}"), "accepted".to_owned());
        self.record(Entry::ObserverGone(name.to_owned()));
        Ok(vec![format!("{name} is no observer any more")])
    }

    pub(crate) fn add_operator(
        &mut self,
        caller: Caller,
        name: String,
        fingerprint: Fingerprint,
    ) -> Result<Vec<String>, ErrorView> {
        check_name(&name)?;
        if self.book.operators.len() >= OPERATORS_MAX && !self.book.operators.contains_key(&name) {
            let message = format!("{OPERATORS_MAX} operators are known already");
            return Err(refuse(ErrorKind::Unavailable, message, None));
        }
        self.audit(caller, format!("add operator {name} with key {fingerprint}"), "accepted".to_owned());
        let done = vec![format!("{name} is an operator, by key {fingerprint}")];
        self.record(Entry::Operator(Operator { name, fingerprint, at: self.now }));
        Ok(done)
    }
}
