//! The pillar of one minion: the files that pillar/top.sls assigns, merged in order.

use crate::{
    limits,
    say::{Say, error},
    scalars,
    session::{Origin, Parsed, Session, absolute},
    target::Needs,
    top,
    yaml::{Node, Yaml},
};
use serde_json::{Map, Value};
use std::{collections::HashSet, sync::Arc};

/// The pillar with its secrets wrapped, see [`scalars`].
pub(crate) fn compile(session: &mut Session<'_>) -> Value {
    let mut pillar = Value::Object(Map::new());
    let Some(entries) = top::read(session, "pillar") else { return pillar };
    let mut seen = HashSet::new();
    for (name, origin, index) in top::assigned(session, &entries, None) {
        let entry = &entries[index];
        let asserted = entry.target.needs(Needs::Asserted).then_some(&entry.origin);
        load(session, name, &origin, asserted, &mut seen, &mut pillar);
    }
    pillar
}

/// Merges all files of the tree's pillar, for a check without a minion.
pub(crate) fn check_all(session: &mut Session<'_>) {
    let entries = top::read(session, "pillar").unwrap_or_default();
    for entry in &entries {
        let asserted = entry.target.needs(Needs::Asserted).then_some(&entry.origin);
        for (name, origin) in &entry.names {
            load(session, name.clone(), origin, asserted, &mut HashSet::new(), &mut Value::Null);
        }
    }
    let assigned: HashSet<String> =
        entries.iter().flat_map(|it| it.names.iter().map(|it| it.0.clone())).collect();
    for name in session.compiler.names("pillar") {
        if !assigned.contains(&name)
            && let Some(path) = session.compiler.path_of("pillar", &name)
        {
            session.read("pillar", &name, &path);
        }
    }
}

/// A file and what it includes; included ones come first, so that the file itself wins.
fn load(
    session: &mut Session<'_>,
    name: String,
    origin: &Origin,
    asserted: Option<&Origin>,
    seen: &mut HashSet<String>,
    pillar: &mut Value,
) {
    let mut stack = vec![(name, origin.clone(), None)];
    while let Some((name, origin, read)) = stack.pop() {
        let file: Arc<Parsed> = match read {
            Some(file) => {
                merge(session, &file, asserted, pillar);
                continue;
            }
            None if !seen.insert(name.clone()) => continue,
            None => {
                let Some(path) = session.find("pillar", &name, Some(&origin)) else { continue };
                let Some(file) = session.read("pillar", &name, &path) else { continue };
                file
            }
        };
        let path = file.rendered.source.path.clone();
        let includes = includes(session, &file);
        stack.push((name.clone(), origin, Some(file.clone())));
        for (included, at) in includes.into_iter().rev() {
            stack.push((absolute(&included, &name, &path), Origin { file: file.clone(), at }, None));
        }
        if stack.len() > limits::FILES {
            return;
        }
    }
}

fn includes(session: &mut Session<'_>, file: &Arc<Parsed>) -> Vec<(String, crate::say::At)> {
    let Yaml::Map(pairs) = &file.root.value else { return Vec::new() };
    let Some((_, node)) = pairs.iter().find(|(key, _)| key.text == "include") else { return Vec::new() };
    names_in(session, file, node)
}

/// A list of names; `include:` of states and pillar.
pub(crate) fn names_in(
    session: &mut Session<'_>,
    file: &Arc<Parsed>,
    node: &Node,
) -> Vec<(String, crate::say::At)> {
    let mut names = Vec::new();
    let items = match &node.value {
        Yaml::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    for item in items {
        match item.text().filter(|it| !it.is_empty()) {
            Some(text) => names.push((text.to_owned(), item.at)),
            None => session.complaints.push(
                error("E0111", format!("`include` takes a list of names, but this is {}", item.kind()))
                    .at(file.rendered.span(item.at, "")),
            ),
        }
    }
    names
}

fn merge(session: &mut Session<'_>, file: &Arc<Parsed>, asserted: Option<&Origin>, pillar: &mut Value) {
    let Yaml::Map(pairs) = &file.root.value else {
        if !file.root.is_null() {
            let message = format!("a pillar file is a mapping, but this is {}", file.root.kind());
            session.complaints.push(error("E0403", message).at(file.rendered.span(file.root.at, "")));
        }
        return;
    };
    if let (Some(target), Some(secret)) = (asserted, secret_in(&file.root)) {
        session.complaints.push(
            error("E0405", "a secret is given to whoever claims some grain or address")
                .at(target.span("a minion says this of itself"))
                .at(file.rendered.span(secret.at, "the secret"))
                .help("target it by id or by a label (`label:role=db`): the master keeps those"),
        );
    }
    let own = pairs.iter().filter(|(key, _)| key.text != "include").cloned().collect();
    let own = Node { value: Yaml::Map(own), ..file.root.clone() };
    scalars::merge(pillar, scalars::with_secrets(&own, file.salt));
}

fn secret_in(node: &Node) -> Option<&Node> {
    if node.tag.is_some() {
        return Some(node);
    }
    match &node.value {
        Yaml::Scalar { .. } => None,
        Yaml::List(nodes) => nodes.iter().find_map(secret_in),
        Yaml::Map(pairs) => pairs.iter().find_map(|(_, node)| secret_in(node)),
    }
}

/// Secrets in the order in which to mask them: longest first; the lines of those with several count as well.
pub(crate) fn maskable(secrets: Vec<String>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for secret in secrets {
        if secret.contains('\n') {
            let lines =
                secret.lines().map(str::trim).filter(|it| it.chars().count() >= 2 * limits::SECRET_CHARS);
            all.extend(lines.map(str::to_owned));
            all.push(secret.trim_end_matches('\n').to_owned());
        }
        all.push(secret);
    }
    all.retain(|it| it.chars().count() >= limits::SECRET_CHARS);
    all.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    all.dedup();
    all
}
