//! Reads state files into blocks: one for each function under an id, with its arguments and their places.

use crate::{
    arguments::{GLOBALS, REQUISITES},
    limits,
    pillar::names_in,
    say::{At, Say, did_you_mean, error},
    session::{Origin, Parsed, Session, absolute},
    yaml::{Key, Node, Yaml},
};
use std::{collections::HashMap, sync::Arc};

/// An argument of a function.
#[derive(Clone, Debug)]
pub(crate) struct Argument {
    pub(crate) key: Key,
    pub(crate) node: Node,
    pub(crate) file: Arc<Parsed>,
}

/// A function under an id.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) id: String,
    pub(crate) sls: String,
    pub(crate) file: Arc<Parsed>,
    pub(crate) state: String,
    pub(crate) fun: String,
    /// Where the function is written.
    pub(crate) at: At,
    pub(crate) arguments: Vec<Argument>,
}

/// All state files that were asked for, in order.
#[derive(Default)]
pub(crate) struct Loaded {
    pub(crate) blocks: Vec<Block>,
    /// Names of all files that were read.
    pub(crate) files: Vec<String>,
    ids: HashMap<String, Origin>,
    extends: Vec<(Key, Node, Arc<Parsed>)>,
    excludes: Vec<(Node, Arc<Parsed>)>,
}

struct Open {
    name: String,
    file: Arc<Parsed>,
    includes: std::vec::IntoIter<(String, At)>,
}

/// Reads state files and what they include; included ones come first.
pub(crate) fn load(session: &mut Session<'_>, names: &[(String, Option<Origin>)]) -> Loaded {
    let mut loaded = Loaded::default();
    for (name, origin) in names {
        let mut stack = Vec::new();
        open(session, &mut loaded, &mut stack, name, origin.as_ref());
        while let Some(top) = stack.last_mut() {
            if let Some((included, at)) = top.includes.next() {
                let name = absolute(&included, &top.name, &top.file.rendered.source.path);
                let origin = Origin { file: top.file.clone(), at };
                open(session, &mut loaded, &mut stack, &name, Some(&origin));
            } else if let Some(done) = stack.pop() {
                read_blocks(session, &mut loaded, &done.name, &done.file);
            }
        }
    }
    extend(session, &mut loaded);
    exclude(session, &mut loaded);
    loaded
}

fn open(
    session: &mut Session<'_>,
    loaded: &mut Loaded,
    stack: &mut Vec<Open>,
    name: &str,
    origin: Option<&Origin>,
) {
    if loaded.files.iter().any(|it| it == name) {
        return;
    }
    loaded.files.push(name.to_owned());
    let Some(path) = session.find("states", name, origin) else { return };
    let Some(file) = session.read("states", name, &path) else { return };
    let includes = match &file.root.value {
        Yaml::Map(pairs) => pairs.iter().find(|(key, _)| key.text == "include").map(|it| it.1.clone()),
        _ => None,
    };
    let includes = includes.map(|node| names_in(session, &file, &node)).unwrap_or_default();
    stack.push(Open { name: name.to_owned(), file, includes: includes.into_iter() });
}

fn read_blocks(session: &mut Session<'_>, loaded: &mut Loaded, sls: &str, file: &Arc<Parsed>) {
    let Yaml::Map(pairs) = &file.root.value else {
        if !file.root.is_null() {
            let message = format!("a state file is a mapping of ids, but this is {}", file.root.kind());
            let help = "write\n  some-id:\n    pkg.installed: []";
            session
                .complaints
                .push(error("E0105", message).at(file.rendered.span(file.root.at, "")).help(help));
        }
        return;
    };
    for (key, node) in pairs {
        match key.text.as_str() {
            "include" => {}
            "extend" => match &node.value {
                Yaml::Map(pairs) => {
                    let entries = pairs.iter().map(|(key, node)| (key.clone(), node.clone(), file.clone()));
                    loaded.extends.extend(entries);
                }
                _ => session.complaints.push(
                    error("E0112", format!("`extend` takes a mapping of ids, but this is {}", node.kind()))
                        .at(file.rendered.span(node.at, "")),
                ),
            },
            "exclude" => loaded.excludes.push((node.clone(), file.clone())),
            id => {
                let origin = Origin { file: file.clone(), at: key.at };
                if let Some(first) = loaded.ids.get(id) {
                    session.complaints.push(
                        error("E0110", format!("id `{id}` is used in two files"))
                            .at(origin.span("again"))
                            .at(first.span("first"))
                            .help("ids are unique among all files of a minion: rename one, or use `extend`"),
                    );
                    continue;
                }
                loaded.ids.insert(id.to_owned(), origin);
                let blocks = block(session, sls, file, key, node);
                loaded.blocks.extend(blocks);
            }
        }
        if loaded.blocks.len() > limits::STEPS {
            let message = format!("more than {} states for one minion", limits::STEPS);
            session.complaints.push(error("E0104", message).at(file.rendered.span(key.at, "")));
            return;
        }
    }
}

/// The functions under an id.
fn block(session: &mut Session<'_>, sls: &str, file: &Arc<Parsed>, key: &Key, node: &Node) -> Vec<Block> {
    let make = |state: &str, fun: &str, at: At, arguments| Block {
        id: key.text.clone(),
        sls: sls.to_owned(),
        file: file.clone(),
        state: state.to_owned(),
        fun: fun.to_owned(),
        at,
        arguments,
    };
    match &node.value {
        Yaml::Scalar { text, .. } => {
            if let Some((state, fun)) = text.split_once('.') {
                vec![make(state, fun, node.at, Vec::new())]
            } else {
                let message = format!("`{}` says nothing about what to do", key.text);
                let help = format!("write\n  {}:\n    pkg.installed: []", key.text);
                session
                    .complaints
                    .push(error("E0105", message).at(file.rendered.span(key.at, "")).help(help));
                Vec::new()
            }
        }
        Yaml::List(_) => {
            let message = format!("`{}` holds a list; it takes functions such as `file.managed:`", key.text);
            session.complaints.push(error("E0105", message).at(file.rendered.span(node.at, "")));
            Vec::new()
        }
        Yaml::Map(pairs) => {
            let mut blocks = Vec::new();
            for (function, node) in pairs {
                if let Some((state, fun, arguments)) = self::function(session, file, key, function, node) {
                    blocks.push(make(&state, &fun, function.at, arguments));
                }
            }
            blocks
        }
    }
}

/// `file.managed: [..]`, or `file: [managed, ..]`.
fn function(
    session: &mut Session<'_>,
    file: &Arc<Parsed>,
    id: &Key,
    key: &Key,
    node: &Node,
) -> Option<(String, String, Vec<Argument>)> {
    if REQUISITES.iter().any(|it| it.name == key.text) || GLOBALS.contains(&key.text.as_str()) {
        let message =
            format!("`{}` has no effect here: it belongs to a function, not to `{}`", key.text, id.text);
        let help = format!("move it below the function: `- {}: …` under `file.managed:`, say", key.text);
        session.complaints.push(error("E0113", message).at(file.rendered.span(key.at, "")).help(help));
        return None;
    }
    let mut plain = Vec::new();
    let arguments = arguments(session, file, node, &mut plain);
    if let Some((state, fun)) = key.text.split_once('.') {
        for word in plain {
            let message = "an argument needs a name and a value";
            session.complaints.push(error("E0105", message).at(file.rendered.span(word.1, "")));
        }
        return Some((state.to_owned(), fun.to_owned(), arguments));
    }
    let [(fun, _)] = &plain[..] else {
        let known = resources::modules().iter().any(|it| it.name == key.text);
        let message = if known {
            format!("`{}` needs one function", key.text)
        } else {
            format!("`{}` is not a function", key.text)
        };
        let names: Vec<String> = resources::modules()
            .iter()
            .flat_map(|module| module.functions.iter().map(|it| format!("{}.{}", module.name, it.name)))
            .collect();
        let help = did_you_mean(&key.text, names.iter().map(String::as_str))
            .unwrap_or_else(|| "functions have two parts, such as `pkg.installed`".to_owned());
        session.complaints.push(error("E0105", message).at(file.rendered.span(key.at, "")).help(help));
        return None;
    };
    Some((key.text.clone(), fun.clone(), arguments))
}

/// Arguments as a list of one-key mappings or as one mapping; words without a value go to `plain`.
pub(crate) fn arguments(
    session: &mut Session<'_>,
    file: &Arc<Parsed>,
    node: &Node,
    plain: &mut Vec<(String, At)>,
) -> Vec<Argument> {
    let argument =
        |(key, node): &(Key, Node)| Argument { key: key.clone(), node: node.clone(), file: file.clone() };
    match &node.value {
        _ if node.is_null() => Vec::new(),
        Yaml::Map(pairs) => pairs.iter().map(argument).collect(),
        Yaml::Scalar { text, .. } => {
            plain.push((text.clone(), node.at));
            Vec::new()
        }
        Yaml::List(items) => {
            let mut arguments: Vec<Argument> = Vec::new();
            for item in items {
                match &item.value {
                    Yaml::Map(pairs) => {
                        for pair in pairs {
                            check_twice(session, file, &arguments, &pair.0);
                            arguments.push(argument(pair));
                        }
                    }
                    Yaml::Scalar { text, .. } => plain.push((text.clone(), item.at)),
                    Yaml::List(_) => {
                        let message = "an argument needs a name and a value";
                        session.complaints.push(error("E0105", message).at(file.rendered.span(item.at, "")));
                    }
                }
            }
            arguments
        }
    }
}

fn check_twice(session: &mut Session<'_>, file: &Arc<Parsed>, arguments: &[Argument], key: &Key) {
    let repeats = REQUISITES.iter().any(|it| it.name == key.text);
    if let Some(first) = arguments.iter().find(|it| it.key.text == key.text && !repeats) {
        session.complaints.push(
            error("E0103", format!("`{}` stands here twice", key.text))
                .at(file.rendered.span(key.at, "again"))
                .at(file.rendered.span(first.key.at, "first")),
        );
    }
}

/// `extend:` adds requisites and replaces other arguments of blocks in other files.
fn extend(session: &mut Session<'_>, loaded: &mut Loaded) {
    for (id, node, file) in std::mem::take(&mut loaded.extends) {
        if !loaded.ids.contains_key(&id.text) {
            let suggestion = did_you_mean(&id.text, loaded.ids.keys().map(String::as_str));
            session.complaints.push(
                error("E0112", format!("`extend` finds no id `{}`", id.text))
                    .at(file.rendered.span(id.at, ""))
                    .help("include the file that has it")
                    .maybe_help(suggestion),
            );
            continue;
        }
        let Yaml::Map(pairs) = &node.value else {
            let message = format!("`extend` takes functions under an id, but this is {}", node.kind());
            session.complaints.push(error("E0112", message).at(file.rendered.span(node.at, "")));
            continue;
        };
        for (key, node) in pairs {
            let mut plain = Vec::new();
            let more = arguments(session, &file, node, &mut plain);
            let (state, fun) =
                key.text.split_once('.').map_or((key.text.as_str(), None), |(a, b)| (a, Some(b)));
            let known = |it: &&mut Block| {
                it.id == id.text && it.state == state && fun.is_none_or(|fun| it.fun == fun)
            };
            let Some(block) = loaded.blocks.iter_mut().find(known) else {
                let message = format!("`{}` has no `{}` to extend", id.text, key.text);
                session.complaints.push(error("E0112", message).at(file.rendered.span(key.at, "")));
                continue;
            };
            for argument in more {
                if !REQUISITES.iter().any(|it| it.name == argument.key.text) {
                    block.arguments.retain(|it| it.key.text != argument.key.text);
                }
                block.arguments.push(argument);
            }
        }
    }
}

/// `exclude: [ { sls: x }, { id: y }, z ]`.
fn exclude(session: &mut Session<'_>, loaded: &mut Loaded) {
    for (node, file) in std::mem::take(&mut loaded.excludes) {
        let items = match node.value {
            Yaml::List(items) => items,
            _ => vec![node],
        };
        for item in items {
            let one = match &item.value {
                Yaml::Scalar { text, .. } => Some(("sls", text.as_str())),
                Yaml::Map(pairs) => match &pairs[..] {
                    [(key, node)] => node.text().map(|it| (key.text.as_str(), it)),
                    _ => None,
                },
                Yaml::List(_) => None,
            };
            match one {
                Some(("sls", name)) => loaded.blocks.retain(|it| it.sls != name),
                Some(("id", name)) => loaded.blocks.retain(|it| it.id != name),
                _ => session.complaints.push(
                    error("E0121", "`exclude` takes `- sls: name` and `- id: name`")
                        .at(file.rendered.span(item.at, "")),
                ),
            }
        }
    }
}
