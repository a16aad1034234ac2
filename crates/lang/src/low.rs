//! One step as it is written: a block under one of its names, before its parameters are looked at.

use crate::{
    arguments::{self, Order, Requirement},
    blocks::{Argument, Block, arguments as arguments_of},
    limits,
    say::{At, Say, error, warning},
    session::{Parsed, Session},
    yaml::Yaml,
};
use indexmap::IndexMap;
use std::sync::Arc;

/// A step that is not in its place yet.
pub(crate) struct Low {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) sls: String,
    pub(crate) environment: Arc<str>,
    pub(crate) included_from: Arc<Vec<String>>,
    pub(crate) file: Arc<Parsed>,
    pub(crate) state: String,
    pub(crate) fun: String,
    pub(crate) at: At,
    /// All that is written, requisites and `name` included. Of one name there are several where `extend` or a requisite
    /// from elsewhere added to a list.
    pub(crate) arguments: IndexMap<String, Vec<Argument>>,
    pub(crate) requirements: Vec<Requirement>,
    pub(crate) order: Order,
    /// Among the steps of one block, from 1; 0 if there is one only.
    pub(crate) turn_of_name: u32,
}

impl Low {
    /// `module.function`.
    pub(crate) fn kind(&self) -> String {
        format!("{}.{}", self.state, self.fun)
    }
    /// The argument that counts.
    pub(crate) fn argument(&self, name: &str) -> Option<&Argument> {
        self.arguments.get(name)?.last()
    }
}

/// A name of a block, and arguments that it has for itself.
struct Named {
    name: Option<String>,
    own: Vec<Argument>,
}

/// All steps, in order of definition.
pub(crate) fn lows(session: &mut Session<'_>, blocks: &[Block]) -> Vec<Low> {
    let mut lows = Vec::new();
    for block in blocks {
        let names = names(session, block);
        let many = names.first().is_some_and(|it| it.name.is_some());
        for (index, named) in names.into_iter().enumerate() {
            let mut low = low(session, block, named);
            low.turn_of_name = if many { crate::say::small(index + 1) } else { 0 };
            lows.push(low);
            if lows.len() > limits::STEPS {
                let message = format!("more than {} steps for one minion", limits::STEPS);
                session.complaints.push(error("E0104", message).at(block.file.rendered.span(block.at, "")));
                return lows;
            }
        }
    }
    lows
}

/// `names:` makes one step for each.
fn names(session: &mut Session<'_>, block: &Block) -> Vec<Named> {
    let once = || vec![Named { name: None, own: Vec::new() }];
    let Some(names) = block.arguments.iter().rfind(|it| it.key.text == "names") else { return once() };
    let items = match &names.node.value {
        Yaml::List(items) => items.as_slice(),
        _ => std::slice::from_ref(&names.node),
    };
    if items.is_empty() && block.file.salt {
        let message = format!("`names` is empty, so Salt takes the id: `{}`", block.id);
        session.complaints.push(warning("W0103", message).at(names.file.rendered.span(names.node.at, "")));
        return once();
    }
    let mut found: Vec<Named> = Vec::new();
    for item in items {
        let (name, own) = match &item.value {
            Yaml::Scalar { text, .. } if !item.is_null() => (text, Vec::new()),
            Yaml::Map(pairs) if pairs.len() == 1 => {
                let (key, node) = &pairs[0];
                (&key.text, arguments_of(session, &names.file, node, &mut Vec::new()))
            }
            _ => {
                let message = format!("`names` takes a list of names, not {}", item.kind());
                session.complaints.push(error("E0107", message).at(names.file.rendered.span(item.at, "")));
                continue;
            }
        };
        if own.is_empty() && found.iter().any(|it| it.name.as_ref() == Some(name) && it.own.is_empty()) {
            continue;
        }
        found.push(Named { name: Some(name.clone()), own });
    }
    found
}

fn low(session: &mut Session<'_>, block: &Block, named: Named) -> Low {
    let mut arguments: IndexMap<String, Vec<Argument>> = IndexMap::new();
    for argument in &block.arguments {
        let key = argument.key.text.as_str();
        if key == "names" || (key == "name" && named.name.is_some()) {
            continue;
        }
        let parts = arguments.entry(key.to_owned()).or_default();
        let repeats = !argument.file.salt && arguments::is_requisite(key);
        if !(argument.joined || repeats) {
            parts.clear();
        }
        parts.push(argument.clone());
    }
    for argument in named.own {
        arguments.insert(argument.key.text.clone(), vec![argument]);
    }
    let name = match (named.name, arguments.get("name").and_then(|it| it.last())) {
        (Some(name), _) => name,
        (None, Some(argument)) => own_name(session, block, argument),
        (None, None) => block.id.clone(),
    };
    let mut low = Low {
        id: block.id.clone(),
        name,
        sls: block.sls.clone(),
        environment: block.environment.clone(),
        included_from: block.included_from.clone(),
        file: block.file.clone(),
        state: block.state.clone(),
        fun: block.fun.clone(),
        at: block.at,
        arguments,
        requirements: Vec::new(),
        order: block.turn.map_or(Order::None, |it| Order::Number(it.into())),
        turn_of_name: 0,
    };
    if let Some(argument) = low.argument("order").cloned() {
        low.order = arguments::order(session, &argument);
    }
    for parts in low.arguments.values() {
        for argument in parts {
            arguments::requirements(session, argument, &mut low.requirements);
        }
    }
    low
}

/// The text of `name:`. Salt falls back to the id where it is none.
fn own_name(session: &mut Session<'_>, block: &Block, argument: &Argument) -> String {
    let node = &argument.node;
    let value = argument.file.value(node);
    match (node.text(), value.is_string() || !argument.file.salt) {
        (Some(text), true) if !node.is_null() => text.to_owned(),
        _ => {
            if argument.file.salt && !node.is_null() {
                let message = format!("this name is no text, so Salt takes the id: `{}`", block.id);
                let span = argument.file.rendered.span(node.at, "");
                session.complaints.push(warning("W0103", message).at(span).help("put it in quotes"));
            }
            block.id.clone()
        }
    }
}
