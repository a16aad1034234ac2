//! `require_in` and its like as requisites of the other block, and `use` as arguments of it.

use crate::{
    blocks::{Argument, Block},
    extend::{Addition, High},
    say::{At, Say, did_you_mean, error, warning},
    session::{Parsed, Session},
    yaml::{Key, Node, Yaml},
};
use indexmap::IndexMap;
use std::sync::Arc;

/// Those that are turned around before the order is made. `listen_in` is left: it does not take part in the order.
const INVERTED: [&str; 5] = ["require_in", "watch_in", "onfail_in", "onchanges_in", "prereq_in"];
/// What `use` never copies, besides what the other has itself.
const NEVER_USED: [&str; 16] = [
    "name",
    "names",
    "order",
    "require",
    "watch",
    "prereq",
    "onfail",
    "onfail_stop",
    "onchanges",
    "require_in",
    "watch_in",
    "onfail_in",
    "onchanges_in",
    "prereq_in",
    "use",
    "use_in",
];

/// Where an entry is written.
#[derive(Clone)]
struct Written {
    file: Arc<Parsed>,
    at: At,
    key: Key,
}

/// What is to be added: id or name of the other, then its states.
type Additions = IndexMap<String, IndexMap<String, (Vec<Argument>, Written)>>;

/// Turns around what stands at the wrong end.
pub(crate) fn invert(session: &mut Session<'_>, high: &mut High) {
    let mut additions = Additions::new();
    for block in &high.blocks {
        for argument in &block.arguments {
            let key = argument.key.text.as_str();
            if INVERTED.contains(&key) || matches!(key, "use" | "use_in") {
                collect(session, high, block, argument, &mut additions);
            }
        }
    }
    for (name, states) in additions {
        let Some(first) = states.keys().next() else { continue };
        let ids = match high.find(&name, first) {
            Some(_) => vec![name.clone()],
            None => high.named(&name, first),
        };
        let written = &states[first].1;
        let [id] = &ids[..] else {
            unresolved(session, high, &name, first, written, ids.len());
            continue;
        };
        for (state, (arguments, written)) in states {
            if high.find(id, &state).is_none() && !written.file.salt {
                unresolved(session, high, &name, &state, &written, 0);
                continue;
            }
            let addition = Addition { state, fun: None, at: written.at, arguments };
            high.add(id, addition, &written.file);
        }
    }
}

/// Every entry of one `…_in`, `use` or `use_in`.
fn collect(
    session: &mut Session<'_>,
    high: &High,
    block: &Block,
    argument: &Argument,
    additions: &mut Additions,
) {
    let items = match &argument.node.value {
        Yaml::List(items) => items.as_slice(),
        _ => std::slice::from_ref(&argument.node),
    };
    let mut found: Vec<(String, String)> = Vec::new();
    for item in items {
        let written = Written { file: argument.file.clone(), at: item.at, key: argument.key.clone() };
        let before = found.len();
        entries(session, high, item, &written, &mut found);
        // Salt goes through all entries so far for each one: what it prints has them as often.
        let from = if argument.file.salt { 0 } else { before };
        for (name, state) in found[from..].iter().map(|it| (it.0.as_str(), it.1.as_str())) {
            match argument.key.text.as_str() {
                key @ ("use" | "use_in") => {
                    let own = (block.id.as_str(), block.state.as_str());
                    let (from, to) = if key == "use" { ((name, state), own) } else { (own, (name, state)) };
                    if used(high, from, to, &written, additions).is_none() {
                        unresolved(session, high, name, state, &written, 0);
                    }
                }
                key => {
                    let kind = key.trim_end_matches("_in");
                    push(additions, (name, state), requirement(kind, block, &written), &written);
                }
            }
        }
    }
}

/// Name and state of what an entry means.
fn entries(
    session: &mut Session<'_>,
    high: &High,
    item: &Node,
    written: &Written,
    found: &mut Vec<(String, String)>,
) {
    match &item.value {
        Yaml::Scalar { text, .. } if !item.is_null() => {
            let of_id = high.of_id(text).next().map(|it| (text.clone(), it.state.clone()));
            let named = || {
                let is = |it: &Argument| it.key.text == "name" && it.node.text() == Some(text);
                let block = high.blocks.iter().rfind(|it| it.arguments.iter().any(is))?;
                Some((block.id.clone(), block.state.clone()))
            };
            match of_id.or_else(named) {
                Some(one) => found.push(one),
                None => unresolved(session, high, text, "", written, 0),
            }
        }
        Yaml::Map(pairs) if !pairs.is_empty() => {
            let pairs = if written.file.salt { &pairs[..1] } else { &pairs[..] };
            for (key, node) in pairs {
                let Some(text) = node.text().filter(|_| !node.is_null()) else {
                    malformed(session, item, written);
                    continue;
                };
                let state = key.text.split_once('.').map_or(key.text.as_str(), |it| it.0);
                match state {
                    "sls" => {
                        if written.file.salt {
                            found.clear();
                        }
                        let of = high.blocks.iter().filter(|it| it.sls == text);
                        found.extend(of.map(|it| (it.id.clone(), it.state.clone())));
                    }
                    "id" => {
                        found.extend(high.of_id(text).map(|it| (it.id.clone(), it.state.clone())));
                    }
                    _ => found.push((text.to_owned(), state.to_owned())),
                }
            }
        }
        _ => malformed(session, item, written),
    }
}

fn malformed(session: &mut Session<'_>, item: &Node, written: &Written) {
    let message = format!("`{}` takes entries such as `- file: some-id`", written.key.text);
    session.complaints.push(error("E0116", message).at(written.file.rendered.span(item.at, "")));
}

fn unresolved(
    session: &mut Session<'_>,
    high: &High,
    name: &str,
    state: &str,
    written: &Written,
    found: usize,
) {
    if session.elsewhere.contains(name) {
        return;
    }
    let wanted = if state.is_empty() { format!("`{name}`") } else { format!("`{state}: {name}`") };
    let message = match found {
        0 => format!("nothing here is {wanted}"),
        _ => format!("{found} blocks here are {wanted}"),
    };
    let near = high.blocks.iter().filter(|it| state.is_empty() || it.state == state);
    let near = did_you_mean(name, near.map(|it| it.id.as_str()));
    let help = match (found, high.of_id(name).next()) {
        (0, Some(other)) => format!("`{name}` is there as `{}: {name}`", other.state),
        (0, None) => near.unwrap_or_else(|| "include the file that has it".to_owned()),
        _ => "name one of them by its id".to_owned(),
    };
    // Salt drops an entry that is a mere word, and one of `use`, without telling.
    let dropped = state.is_empty() || written.key.text.starts_with("use");
    let complaint =
        if dropped && written.file.salt { warning("W0114", message) } else { error("E0114", message) };
    let mut complaint = complaint.at(written.file.rendered.span(written.at, "required here")).help(help);
    complaint.notes.extend(written.file.rendered.note(written.at));
    session.complaints.push(complaint);
}

/// `- require: [ { state: id } ]`, as if it were written there.
fn requirement(kind: &str, block: &Block, written: &Written) -> Argument {
    let node = |value| Node { at: written.at, tag: None, value };
    let id = node(Yaml::Scalar { text: block.id.clone(), plain: false });
    let key = Key { text: block.state.clone(), at: written.at, plain: false };
    let entry = node(Yaml::Map(vec![(key, id)]));
    Argument {
        key: Key { text: kind.to_owned(), at: written.key.at, plain: true },
        node: node(Yaml::List(vec![entry])),
        file: written.file.clone(),
        joined: true,
    }
}

fn push(additions: &mut Additions, to: (&str, &str), argument: Argument, written: &Written) {
    let states = additions.entry(to.0.to_owned()).or_default();
    let entry = states.entry(to.1.to_owned()).or_insert_with(|| (Vec::new(), written.clone()));
    entry.0.push(argument);
}

/// What one block has and another one lacks; none if there is no such block.
fn used(
    high: &High,
    from: (&str, &str),
    to: (&str, &str),
    written: &Written,
    additions: &mut Additions,
) -> Option<()> {
    let resolve = |(name, state): (&str, &str)| {
        let id = match high.find(name, state) {
            Some(_) => name.to_owned(),
            None => high.named(name, state).into_iter().next()?,
        };
        high.find(&id, state)
    };
    let (source, target) = (resolve(from)?, resolve(to)?);
    let states = additions.entry(to.0.to_owned()).or_default();
    let entry = states.entry(to.1.to_owned()).or_insert_with(|| (Vec::new(), written.clone()));
    let lacks = |it: &&Argument| {
        let key = it.key.text.as_str();
        !NEVER_USED.contains(&key) && !target.arguments.iter().any(|own| own.key.text == key)
    };
    entry.0.extend(source.arguments.iter().filter(lacks).cloned());
    Some(())
}
