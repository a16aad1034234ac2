//! `salt['module.function'](…)`: what the master knows is answered here, what only the minion knows becomes a question.

pub(super) mod functions;
pub(super) mod lookup;
mod machine;
mod mappings;
mod matching;
mod tree;

use super::{
    call::Called,
    failure::{Failure, Outcome},
    object::Object,
    run::Run,
    value::{Value, of_json, to_json},
};
use crate::say::did_you_mean;
use model::Question;
use resources::questions::{ASKABLE, Askable, askable};
use std::{rc::Rc, sync::Arc};

pub(super) use functions::FUNCTIONS;
pub(super) use matching::matches;

/// A function that is answered here.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) name: &'static str,
    #[cfg_attr(not(test), expect(dead_code, reason = "for the reference"))]
    pub(super) args: &'static str,
    #[cfg_attr(not(test), expect(dead_code, reason = "for the reference"))]
    pub(super) doc: &'static str,
    pub(super) call: fn(&Run<'_>, &Called) -> Outcome<Value>,
}

/// Modules of Salt that templates use and that are refused, with the reason.
pub(super) const REFUSED: &[(&str, &str)] = &[
    ("aws_sqs", "it asks the network"),
    ("boto_", "it asks the network"),
    ("consul", "it asks the network"),
    ("data", "it keeps state on the minion"),
    ("dig", "it asks the network"),
    ("dnsutil", "it asks the network"),
    ("event", "a template has no effect"),
    ("http", "it asks the network"),
    ("log", "a template has no effect"),
    ("publish", "it asks other minions; use `roster('label:role=web')`"),
    ("random", "it throws dice"),
    ("saltutil", "it alters the minion"),
    ("sdb", "there is no sdb; put secrets into the pillar with !secret"),
    ("shadow", "it reads the hashes of passwords"),
    ("state", "a template does not run states"),
    ("temp", "it makes files"),
    ("vault", "there is no vault; put secrets into the pillar with !secret"),
    ("x509", "it makes keys"),
];

/// Names of everything that can be called.
fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|it| it.name).chain(ASKABLE.iter().map(|it| it.name))
}

/// Whether there is a function of this name.
pub(super) fn is_known(name: &str) -> bool {
    names().any(|it| it == name)
}

/// `salt.name` and `salt['name']`.
pub(super) fn member(name: &Arc<str>, run: &Run<'_>) -> Outcome<Value> {
    if name.contains('.') {
        return function(name, run);
    }
    if &**name == "get" || names().any(|it| it.split_once('.').is_some_and(|it| it.0 == &**name)) {
        return Ok(Value::object(Object::SaltModule(name.clone())));
    }
    Err(unknown(name))
}

/// The function of a name, or what is wrong with that name.
pub(super) fn function(name: &str, _: &Run<'_>) -> Outcome<Value> {
    if is_known(name) { Ok(Value::object(Object::SaltFunction(name.into()))) } else { Err(unknown(name)) }
}

pub(super) fn unknown(name: &str) -> Failure {
    let module = name.split('.').next().unwrap_or(name);
    if let Some((_, reason)) =
        REFUSED.iter().find(|it| module == it.0 || (it.0.ends_with('_') && module.starts_with(it.0)))
    {
        return Failure::new("E0203", format!("`salt['{name}']` is refused in templates: {reason}"));
    }
    let help = did_you_mean(name, names()).unwrap_or_else(|| {
        "docs/reference/jinja.md lists what there is; `cmd.run` as a state runs anything".to_owned()
    });
    Failure::new("E0203", format!("there is no function `{name}` for templates")).help(help)
}

impl Run<'_> {
    /// Calls a function of Salt.
    pub(super) fn salt_call(&self, name: &Arc<str>, args: &Called) -> Outcome<Value> {
        if let Some(function) = FUNCTIONS.iter().find(|it| it.name == &**name) {
            return Self::openly(&Value::None, args, |_, args| (function.call)(self, args));
        }
        match askable(name) {
            Some(it) => self.question(it, args),
            None => Err(unknown(name)),
        }
    }

    /// Asks the minion: an answer that is there, or a stand-in.
    fn question(&self, askable: &Askable, args: &Called) -> Outcome<Value> {
        if self.lenient || args.all().any(|it| matches!(it, Value::Unknown)) {
            return Ok(Value::Unknown);
        }
        let stand_in = Value::Asked(Rc::new(of_json(&askable.stand_in.value(), self.heap)));
        // What depends on an answer that is missing will be asked when it is there.
        if args.all().any(|it| matches!(it, Value::Asked(_))) {
            return Ok(stand_in);
        }
        let mut question =
            Question { fun: askable.name.to_owned(), args: Vec::new(), kwargs: serde_json::Map::new() };
        for value in &args.plain {
            question.args.push(to_json(value, self.heap)?);
        }
        for (name, value) in &args.named {
            question.kwargs.insert(name.to_string(), to_json(value, self.heap)?);
        }
        let answer = self.world.subject.and_then(|it| it.answers.get(&question));
        if let Some(answer) = answer {
            return Ok(of_json(answer, self.heap));
        }
        self.world.ask(question)?;
        Ok(stand_in)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_in_order_and_each_has_one_answer() {
        assert!(FUNCTIONS.is_sorted_by(|a, b| a.name < b.name));
        for it in ASKABLE {
            assert!(FUNCTIONS.iter().all(|other| other.name != it.name), "{}", it.name);
        }
        for (module, _) in REFUSED {
            assert!(!names().any(|it| it.split('.').next() == Some(module)), "{module}");
        }
    }
}
