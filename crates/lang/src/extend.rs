//! `extend:` and `exclude:`: what files say about blocks of other files.

use crate::{
    arguments::REQUISITES,
    blocks::{Argument, Block, Extend, Loaded, arguments},
    glob,
    say::{At, Say, did_you_mean, error, warning},
    session::{Parsed, Session},
    yaml::{Key, Node, Yaml},
};
use std::{collections::HashMap, sync::Arc};

/// All blocks, to be found by id.
pub(crate) struct High {
    pub(crate) blocks: Vec<Block>,
    by_id: HashMap<String, Vec<usize>>,
}

/// What is to be added to a block of some state.
#[derive(Debug)]
pub(crate) struct Addition {
    pub(crate) state: String,
    pub(crate) fun: Option<String>,
    pub(crate) at: At,
    pub(crate) arguments: Vec<Argument>,
}

impl High {
    pub(crate) fn new(blocks: Vec<Block>) -> Self {
        let mut high = Self { blocks, by_id: HashMap::new() };
        high.index();
        high
    }
    fn index(&mut self) {
        self.by_id.clear();
        for (position, block) in self.blocks.iter().enumerate() {
            self.by_id.entry(block.id.clone()).or_default().push(position);
        }
    }
    /// Blocks of an id.
    pub(crate) fn of_id(&self, id: &str) -> impl Iterator<Item = &Block> {
        self.by_id.get(id).into_iter().flatten().map(|it| &self.blocks[*it])
    }
    /// The block of an id and a state.
    pub(crate) fn find(&self, id: &str, state: &str) -> Option<&Block> {
        self.of_id(id).find(|it| it.state == state)
    }
    /// Ids with a block of this state one of whose arguments is this text: its name, as a rule.
    pub(crate) fn named(&self, name: &str, state: &str) -> Vec<String> {
        let is = |it: &Argument| it.node.text() == Some(name);
        let of_state = || self.blocks.iter().filter(|it| it.state == state);
        let by_name = |it: &&Block| it.arguments.iter().any(|it| it.key.text == "name" && is(it));
        let mut found: Vec<String> = of_state().filter(by_name).map(|it| it.id.clone()).collect();
        if found.is_empty() {
            found = of_state().filter(|it| it.arguments.iter().any(is)).map(|it| it.id.clone()).collect();
        }
        found
    }
    /// Adds to the block of an id, or makes it.
    pub(crate) fn add(&mut self, id: &str, addition: Addition, file: &Arc<Parsed>) {
        let places = self.by_id.get(id).cloned().unwrap_or_default();
        let place = places.iter().copied().find(|it| self.blocks[*it].state == addition.state);
        if let Some(place) = place {
            let block = &mut self.blocks[place];
            if let Some(fun) = addition.fun {
                block.fun = fun;
            }
            for argument in addition.arguments {
                add_argument(&mut block.arguments, argument);
            }
            return;
        }
        let (Some(last), Some(fun)) = (places.last(), addition.fun) else { return };
        let block = Block {
            state: addition.state,
            fun,
            at: addition.at,
            file: file.clone(),
            arguments: addition.arguments,
            turn: None,
            ..self.blocks[*last].clone()
        };
        self.blocks.insert(last + 1, block);
        self.index();
    }
}

/// Requisites are added, others replaced; `name` also replaces `names`.
fn add_argument(arguments: &mut Vec<Argument>, mut argument: Argument) {
    let key = argument.key.text.as_str();
    let spelling = REQUISITES.iter().find(|it| it.name == key);
    argument.joined = spelling.is_some_and(|it| !it.inverted || !argument.file.salt);
    if !argument.joined {
        arguments.retain(|it| it.key.text != key && !(key == "name" && it.key.text == "names"));
    }
    arguments.push(argument);
}

/// Carries out every `extend:`.
pub(crate) fn extend(session: &mut Session<'_>, loaded: &mut Loaded) -> High {
    let mut high = High::new(std::mem::take(&mut loaded.blocks));
    let excluded: Vec<String> = excludes(&loaded.excludes).filter(|it| !it.1).map(|it| it.0).collect();
    for extend in std::mem::take(&mut loaded.extends) {
        if let Some((id, additions)) = target(session, loaded, &high, &extend)
            && !excluded.contains(&extend.sls)
        {
            for addition in additions {
                high.add(&id, addition, &extend.file);
            }
        }
    }
    high
}

/// The id that an `extend:` means, and what it adds to it.
fn target(
    session: &mut Session<'_>,
    loaded: &Loaded,
    high: &High,
    extend: &Extend,
) -> Option<(String, Vec<Addition>)> {
    let Extend { id, node, file, .. } = extend;
    let Yaml::Map(pairs) = &node.value else {
        let message = format!("`extend` takes functions under an id, but this is {}", node.kind());
        session.complaints.push(error("E0112", message).at(file.rendered.span(node.at, "")));
        return None;
    };
    let additions: Vec<(&Key, Addition)> =
        pairs.iter().map(|(key, node)| (key, addition(session, file, key, node))).collect();
    let known = if loaded.ids.contains_key(&id.text) {
        vec![id.text.clone()]
    } else {
        additions.first().map(|it| high.named(&id.text, &it.1.state)).unwrap_or_default()
    };
    let [known] = &known[..] else {
        let suggestion = did_you_mean(&id.text, loaded.ids.keys().map(String::as_str));
        session.complaints.push(
            error("E0112", format!("`extend` finds no id `{}`", id.text))
                .at(file.rendered.span(id.at, ""))
                .help("include the file that has it")
                .maybe_help(suggestion),
        );
        return None;
    };
    let mut good = Vec::new();
    for (key, addition) in additions {
        let there = high.find(known, &addition.state);
        let fits = there.is_some_and(|it| addition.fun.as_ref().is_none_or(|fun| *fun == it.fun));
        // Salt puts another function in the place of the one that is there, and adds what is missing.
        if fits || (file.salt && (there.is_some() || addition.fun.is_some())) {
            good.push(addition);
        } else {
            let message = format!("`{known}` has no `{}` to extend", key.text);
            session.complaints.push(error("E0112", message).at(file.rendered.span(key.at, "")));
        }
    }
    Some((known.clone(), good))
}

fn addition(session: &mut Session<'_>, file: &Arc<Parsed>, key: &Key, node: &Node) -> Addition {
    let mut plain = Vec::new();
    let arguments = arguments(session, file, node, &mut plain);
    let (state, fun) = match key.text.split_once('.') {
        Some((state, fun)) => (state, Some(fun.to_owned())),
        None => (key.text.as_str(), plain.into_iter().next().map(|it| it.0)),
    };
    Addition { state: state.to_owned(), fun, at: key.at, arguments }
}

/// What `exclude:` names, and whether that is an id rather than a file.
fn excludes(nodes: &[(Node, Arc<Parsed>)]) -> impl Iterator<Item = (String, bool)> {
    nodes.iter().flat_map(|(node, _)| items(node)).filter_map(|item| match &item.value {
        Yaml::Scalar { text, .. } => Some((text.clone(), false)),
        Yaml::Map(pairs) => match &pairs[..] {
            [(key, node)] if key.text == "sls" || key.text == "id" => {
                Some((node.text()?.to_owned(), key.text == "id"))
            }
            _ => None,
        },
        Yaml::List(_) => None,
    })
}

fn items(node: &Node) -> &[Node] {
    match &node.value {
        Yaml::List(items) => items,
        _ => std::slice::from_ref(node),
    }
}

/// `exclude: [ { sls: x }, { id: y }, z ]`.
pub(crate) fn exclude(session: &mut Session<'_>, loaded: &Loaded, high: &mut High) {
    for (node, file) in &loaded.excludes {
        for item in items(node) {
            let one = [(item.clone(), file.clone())];
            let span = file.rendered.span(item.at, "");
            match excludes(&one).next() {
                Some((name, true)) if !high.by_id.contains_key(&name) && session.elsewhere.is_empty() => {
                    let message = format!("`exclude` finds no id `{name}`");
                    session.complaints.push(warning("W0121", message).at(span));
                }
                Some(_) => {}
                None => {
                    let message = "`exclude` takes `- sls: name` and `- id: name`";
                    session.complaints.push(error("E0121", message).at(span));
                }
            }
        }
    }
    for (name, is_id) in excludes(&loaded.excludes) {
        high.blocks.retain(|it| if is_id { it.id != name } else { !glob::matches(&name, &it.sls) });
    }
    high.index();
}
