//! Observers, API tokens and operators' keys: who has a name here, with which role, and until when.

use super::{Entry, Master, roster::cut, target::refuse};
use model::{
    Caller, Fingerprint, Observer, ObserverRole, Operator, Secret, Timestamp,
    api::{ErrorKind, ErrorView, ObserverView},
};
use sha2::{Digest, Sha256};

/// Observers and API tokens.
const OBSERVERS_MAX: usize = 1_000;
/// Operators with a key.
const OPERATORS_MAX: usize = 1_000;
/// How long what lets into the API is good, unless it is said.
const API_MS: u64 = 90 * 86_400_000;
/// The longest that it may be said.
const API_MS_MAX: u64 = 366 * 86_400_000;

/// What an operator's key is registered with.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    pub(crate) role: Option<String>,
    pub(crate) for_ms: Option<u64>,
}

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
        self.check_role(role.name())?;
        if self.book.observers.contains_key(&name) {
            let message = format!("an observer has the name {name} already");
            return Err(refuse(ErrorKind::Usage, message, Some("remove it first, or choose another name")));
        }
        if self.book.observers.len() >= OBSERVERS_MAX {
            let message = format!("{OBSERVERS_MAX} observers are known already");
            return Err(refuse(ErrorKind::Unavailable, message, None));
        }
        let expires = if role.is_of_observers() {
            for_ms.map(|it| self.now.plus_ms(it))
        } else {
            Some(self.api_end(for_ms)?)
        };
        // 128 bits from the shell, in letters that survive any shell and any form.
        let secret = Secret::new(model::JobId(u128::from_be_bytes(random)).to_string().to_lowercase());
        let observer = Observer {
            name: name.clone(),
            role: role.clone(),
            secret_hash: secret_hash(secret.reveal()),
            expires,
            at: self.now,
        };
        self.audit(caller, format!("create observer {name} as {}", role.name()), "accepted".to_owned());
        self.record(Entry::Observer(observer));
        Ok(ObserverView { name, role, secret: Some(secret), expires, at: self.now })
    }

    /// When something that lets into the API ends: always some day.
    fn api_end(&self, for_ms: Option<u64>) -> Result<Timestamp, ErrorView> {
        let for_ms = for_ms.unwrap_or(API_MS);
        if !(1..=API_MS_MAX).contains(&for_ms) {
            let message = "what lets into the API is good for 366 d at most".to_owned();
            return Err(refuse(ErrorKind::Usage, message, Some("make a new one before it ends")));
        }
        Ok(self.now.plus_ms(for_ms))
    }

    fn check_role(&self, role: &str) -> Result<(), ErrorView> {
        if self.roles.get(role).is_some() {
            return Ok(());
        }
        let names: Vec<&str> = self.roles.names().collect();
        let hint = format!("roles are {}; roles.yaml on the master makes more", names.join(", "));
        Err(refuse(ErrorKind::Usage, format!("there is no role `{}`", cut(role, 64)), Some(&hint)))
    }

    pub(crate) fn observer_views(&self) -> Vec<ObserverView> {
        let view = |it: &Observer| ObserverView {
            name: it.name.clone(),
            role: it.role.clone(),
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
        let mut told = vec![format!("the token of {name} opens nothing any more")];
        if self.book.operators.contains_key(name) {
            told.push(format!(
                "an operator's key has the same name and is still good: labctl token revoke {name} --key ends it"
            ));
        }
        Ok(told)
    }

    pub(crate) fn add_operator(
        &mut self,
        caller: Caller,
        name: String,
        fingerprint: Fingerprint,
        terms: Terms,
    ) -> Result<Vec<String>, ErrorView> {
        check_name(&name)?;
        let role = terms.role.unwrap_or_else(|| "operator".to_owned());
        self.check_role(&role)?;
        if self.book.operators.len() >= OPERATORS_MAX && !self.book.operators.contains_key(&name) {
            let message = format!("{OPERATORS_MAX} operators are known already");
            return Err(refuse(ErrorKind::Unavailable, message, None));
        }
        let taken = self.book.operators.values().find(|it| it.fingerprint == fingerprint && it.name != name);
        if let Some(other) = taken {
            let message = format!("the key {fingerprint} is {}'s already", other.name);
            return Err(refuse(ErrorKind::Usage, message, Some("each operator has a key of their own")));
        }
        let expires = Some(self.api_end(terms.for_ms)?);
        self.audit(
            caller,
            format!("add operator {name} with key {fingerprint} as {role}"),
            "accepted".to_owned(),
        );
        let done = vec![format!("{name} has the role {role}, by key {fingerprint}")];
        self.record(Entry::Operator(Operator { name, fingerprint, at: self.now, role, expires }));
        Ok(done)
    }

    pub(crate) fn remove_operator(&mut self, caller: Caller, name: &str) -> Result<Vec<String>, ErrorView> {
        if !self.book.operators.contains_key(name) {
            let message = format!("no operator is called `{}`", cut(name, 64));
            return Err(refuse(ErrorKind::NotFound, message, Some("`labctl token list` shows all")));
        }
        self.audit(caller, format!("remove operator {name}"), "accepted".to_owned());
        self.record(Entry::OperatorGone(name.to_owned()));
        let mut told = vec![format!("{name}'s key opens nothing any more")];
        if self.book.observers.contains_key(name) {
            told.push(format!(
                "a token has the same name and is still good: labctl token revoke {name} --token ends it"
            ));
        }
        Ok(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{Effect, Ticket, test_kit::*};
    use model::{Masked, Reply, Request};
    use serde_json::json;

    const DAY: u64 = 86_400_000;

    fn create(name: &str, role: ObserverRole, for_ms: Option<u64>) -> Request {
        Request::CreateObserver { name: name.to_owned(), role, for_ms }
    }

    #[test]
    fn what_lets_into_the_api_always_ends() {
        let mut bench = Bench::new();
        let named = |name: &str| ObserverRole::of_name(name);
        for (name, role, for_ms, end) in [
            ("a", named("operator"), None, Some(90 * DAY)),
            ("b", named("admin"), Some(DAY), Some(DAY)),
            ("c", named("viewer"), None, None),
            ("d", named("integration"), Some(5), Some(5)),
        ] {
            bench.ask(create(name, role, for_ms));
            assert_eq!(bench.master.book.observers[name].expires, end.map(|it| NOW.plus_ms(it)), "{name}");
        }
        for (role, for_ms) in
            [("operator", Some(367 * DAY)), ("admin", Some(0)), ("nobody", None), ("Admin", None)]
        {
            let effects = bench.ask(create("x", named(role), for_ms));
            assert_eq!(refusal(&effects).unwrap().0, ErrorKind::Usage, "{role} {for_ms:?}");
        }
        let add = |name: &str, key, role: Option<&str>, for_ms| Request::AddOperator {
            name: name.to_owned(),
            fingerprint: fingerprint(key),
            role: role.map(str::to_owned),
            for_ms,
        };
        bench.ask(add("ann", 1, None, None));
        let ann = bench.master.book.operators["ann"].clone();
        assert_eq!((ann.role.as_str(), ann.expires), ("operator", Some(NOW.plus_ms(90 * DAY))));
        for request in [
            add("bob", 1, None, None),
            add("bob", 2, Some("nobody"), None),
            add("bob", 2, None, Some(400 * DAY)),
            add("Bob", 2, None, None),
        ] {
            assert_eq!(refusal(&bench.ask(request.clone())).unwrap().0, ErrorKind::Usage, "{request:?}");
        }
        bench.ask(Request::RemoveOperator { name: "ann".to_owned() });
        assert!(bench.master.book.operators.is_empty());
    }

    #[test]
    fn what_has_the_name_of_something_that_was_ended_is_told() {
        for (first, second) in [(true, false), (false, true)] {
            let mut bench = Bench::new();
            bench.ask(create("ann", ObserverRole::Viewer, None));
            bench.ask(Request::AddOperator {
                name: "ann".to_owned(),
                fingerprint: fingerprint(1),
                role: None,
                for_ms: None,
            });
            let mut end = |token: bool| {
                let name = "ann".to_owned();
                let wish =
                    if token { Request::RemoveObserver { name } } else { Request::RemoveOperator { name } };
                let Some(Reply::Done(told)) = reply(&bench.ask(wish)).cloned() else { panic!() };
                told
            };
            let told = end(first);
            let flag = if first { "--key" } else { "--token" };
            assert!(told.len() == 2 && told[1].contains("still good") && told[1].contains(flag), "{told:?}");
            assert_eq!(end(second).len(), 1, "nothing is left");
        }
    }

    #[test]
    fn what_releases_without_roles_and_ends_kept_is_read() {
        let operator = json!({"name": "ann", "fingerprint": fingerprint(1), "at": 5});
        let operator: Operator = serde_json::from_value(operator).unwrap();
        assert_eq!((operator.role.as_str(), operator.expires), ("operator", None));
        let token = json!({"name": "ci", "role": "operator", "secret_hash": "", "expires": null, "at": 5});
        let token: Observer = serde_json::from_value(token).unwrap();
        assert_eq!((token.role.name(), token.expires), ("operator", None));
        let caller: Caller = serde_json::from_value(json!({"name": "admin", "via": "socket"})).unwrap();
        assert_eq!(caller.role, "", "and that may nothing");
        for role in ["viewer", "integration", "operator", "admin", "deployer"] {
            let role = ObserverRole::of_name(role);
            let text = serde_json::to_string(&role).unwrap();
            assert_eq!(serde_json::from_str::<ObserverRole>(&text).unwrap(), role);
        }
    }

    /// All types that hold a secret, each with a canary in it.
    #[test]
    fn no_type_that_carries_a_secret_prints_it() {
        const CANARY: &str = "canary-4711";
        let secret = || model::Secret::new(CANARY);
        let view = ObserverView {
            name: "ci".to_owned(),
            role: ObserverRole::Viewer,
            secret: Some(secret()),
            expires: None,
            at: NOW,
        };
        let token = bus::seed::SeedToken { statement: "s".to_owned(), image_secret: secret() };
        let seed = bus::seed::Seed {
            v: 1,
            org: String::new(),
            masters: String::new(),
            id: None,
            token: Some(token.clone()),
        };
        let seed_text = serde_json::to_value(&seed).unwrap();
        assert!(seed_text.to_string().contains(CANARY), "it travels");
        let reply = |reply| Effect::Reply { ticket: Ticket(1), reply: Box::new(reply) };
        let link = crate::gate::FanoutLink {
            address: ([127, 0, 0, 1], 1).into(),
            user: "gate".to_owned(),
            password: secret(),
        };
        let connect = bus::packet::Connect {
            version: bus::packet::Version::V4,
            client_id: String::new(),
            clean: true,
            keep_alive_s: 0,
            will: None,
            user: None,
            password: Some(CANARY.as_bytes().to_vec().into()),
            properties: bus::packet::Properties::default(),
        };
        let bytes = *b"canary-4711-canary-4711-canary-4";
        let identity = bus::Identity::from_secrets(bytes, bytes);
        let recipe = model::Recipe { secrets: vec![CANARY.to_owned()].into(), ..model::Recipe::default() };
        let credential = crate::daemon::Credential::Token(model::Secret::new(format!("ci:{CANARY}")));
        let shown = [
            format!("{:?}", secret()),
            format!("{view:?} {:?}", reply(Reply::Observer(view.clone()))),
            format!("{token:?} {seed:?}"),
            format!("{:?}", reply(Reply::Seed(Masked(seed_text)))),
            format!("{link:?} {connect:?} {identity:?}"),
            format!("{credential:?} {recipe:?}"),
        ];
        for text in shown {
            assert!(!text.contains("canary") && !text.contains("99, 97, 110, 97"), "{text}");
            assert!(!text.is_empty());
        }
    }
}
