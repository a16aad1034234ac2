//! One file a command; here is what they share.

pub(crate) mod audit;
pub(crate) mod beacon;
pub(crate) mod can;
pub(crate) mod completion;
pub(crate) mod confirm;
pub(crate) mod context;
pub(crate) mod doctor;
pub(crate) mod event;
pub(crate) mod explain;
pub(crate) mod follow;
pub(crate) mod hook;
pub(crate) mod image;
pub(crate) mod import;
pub(crate) mod job;
pub(crate) mod key;
pub(crate) mod local;
pub(crate) mod maintenance;
pub(crate) mod man;
pub(crate) mod masters;
pub(crate) mod minion;
pub(crate) mod notify;
pub(crate) mod pillar;
pub(crate) mod ping;
pub(crate) mod reboot;
pub(crate) mod rule;
pub(crate) mod schedule;
pub(crate) mod server;
pub(crate) mod state;
pub(crate) mod status;
pub(crate) mod target;
pub(crate) mod token;
mod wake;
pub(crate) mod waves;

use crate::{
    Ended, Outcome,
    cli::{Cli, Command, Global},
    config,
    failure::{Exit, Failure},
    session::Session,
    show::Screen,
};
use model::{Reply, Request};
use serde_json::{Map, Value};

/// What every command works with.
pub(crate) struct Desk<'a> {
    pub(crate) global: Global,
    pub(crate) screen: &'a mut Screen,
    session: Option<Session>,
}

impl Desk<'_> {
    /// The conversation with the master.
    pub(crate) fn session(&mut self) -> Outcome<&mut Session> {
        if self.session.is_none() {
            bus::tls::install_provider();
            self.session = Some(Session::new(config::place(&self.global)?)?);
        }
        Ok(self.session.as_mut().expect("it was just put there"))
    }
    /// The session for itself, while the desk is used by what reads from it.
    pub(crate) fn take_session(&mut self) -> Outcome<Session> {
        self.session()?;
        Ok(self.session.take().expect("it was just made"))
    }
    /// Back after [`Desk::take_session`].
    pub(crate) fn put_session(&mut self, session: Session) {
        self.session = Some(session);
    }
    /// Asks the master.
    pub(crate) fn ask(&mut self, request: &Request) -> Outcome<Reply> {
        let session = self.session()?;
        let reply = session.request(request);
        if let Some(left_out) = session.left_out() {
            self.screen.note(&left_out)?;
        }
        reply
    }
    /// Asks for something to be done, and prints the master's sentences about it.
    pub(crate) fn order(&mut self, request: &Request) -> Ended {
        match self.ask(request)? {
            Reply::Done(sentences) => {
                if self.screen.format.is_machine() {
                    self.screen.thing("Done", serde_json::json!({ "done": sentences }), "", "")?;
                } else {
                    sentences.iter().try_for_each(|it| self.screen.line(it))?;
                }
                Ok(Exit::Done)
            }
            other => Err(unexpected(&other)),
        }
    }
}

/// A reply of another kind than the request's.
pub(crate) fn unexpected(reply: &Reply) -> Failure {
    let text = serde_json::to_value(reply).unwrap_or_default();
    let word = text["reply"].as_str().unwrap_or("?").to_owned();
    Failure::new(Exit::NoMaster, format!("the master answered something else (`{word}`)"))
        .hint("labctl and labmaster may be one minor version apart, no more; labctl doctor says")
}

/// Does what the line says.
pub(crate) fn run(cli: Cli, screen: &mut Screen) -> Ended {
    let desk = &mut Desk { global: cli.global, screen, session: None };
    match cli.command {
        None => status::run_without_command(desk),
        Some(Command::Status) => status::run(desk),
        Some(Command::Target(command)) => command.run(desk),
        Some(Command::Minion(command)) => command.run(desk),
        Some(Command::Key(command)) => command.run(desk),
        Some(Command::State(command)) => command.run(desk),
        Some(Command::Local(command)) => command.run(desk),
        Some(Command::Import(command)) => command.run(desk),
        Some(Command::Pillar(command)) => command.run(desk),
        Some(Command::Beacon(command)) => command.run(desk),
        Some(Command::Job(command)) => command.run(desk),
        Some(Command::Event(command)) => command.run(desk),
        Some(Command::Rule(command)) => command.run(desk),
        Some(Command::Notify(command)) => command.run(desk),
        Some(Command::Hook(command)) => command.run(desk),
        Some(Command::Schedule(command)) => command.run(desk),
        Some(Command::Image(command)) => command.run(desk),
        Some(Command::Master(command)) => command.run(desk),
        Some(Command::Token(command)) => command.run(desk),
        Some(Command::Audit(command)) => command.run(desk),
        Some(Command::Can(command)) => command.run(desk),
        Some(Command::Context(command)) => command.run(desk),
        Some(Command::Doctor) => doctor::run(desk),
        Some(Command::Explain(command)) => command.run(desk),
        Some(Command::Completion(command)) => command.run(desk),
        Some(Command::Man(command)) => command.run(desk),
        Some(Command::Help(command)) => command.help(desk),
    }
}

/// `K=V` as people type it: the value is JSON if it can be read as such, else text.
pub(crate) fn key_value(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is no K=V"))?;
    if key.is_empty() {
        return Err(format!("`{text}` has no key before the `=`"));
    }
    Ok((key.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| value.into())))
}

/// Pairs as an object; `a:b=1` and `a.b=1` are `{a: {b: 1}}`.
pub(crate) fn nested(pairs: &[(String, Value)]) -> Outcome<Map<String, Value>> {
    let mut whole = Map::new();
    for (path, value) in pairs {
        let keys: Vec<&str> = path.split([':', '.']).collect();
        let (last, above) = keys.split_last().expect("a split gives at least one part");
        let mut at = &mut whole;
        for key in above {
            let below = at.entry((*key).to_owned()).or_insert_with(|| Value::Object(Map::new()));
            at = below.as_object_mut().ok_or_else(|| {
                Failure::usage(format!("`{path}`: `{key}` is given a value and members at once"))
            })?;
        }
        at.insert((*last).to_owned(), value.clone());
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_become_a_nested_object() {
        let pairs = ["web:port=81", "web.name=x", "on=true", "text=a=b"].map(|it| key_value(it).unwrap());
        let expected = serde_json::json!({ "web": { "port": 81, "name": "x" }, "on": true, "text": "a=b" });
        assert_eq!(Value::Object(nested(&pairs).unwrap()), expected);
        assert!(nested(&["a=1", "a:b=2"].map(|it| key_value(it).unwrap())).is_err());
        assert!(key_value("no-equals-sign").is_err());
        assert!(key_value("=1").is_err());
    }
}
