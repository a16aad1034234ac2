//! Top files: which states or pillar files belong to whom.

use crate::{
    Tree,
    say::{At, Say, did_you_mean, error, warning},
    session::{ENVIRONMENT, Matched, Origin, Parsed, Session},
    target::{Needs, Target},
    yaml::{Key, Node, Yaml},
};
use model::Diagnostic;
use std::sync::Arc;

/// One target of a top file.
pub(crate) struct Entry {
    pub(crate) target: Target,
    pub(crate) origin: Origin,
    pub(crate) names: Vec<(String, Origin)>,
}

/// Reads `states/top.sls` or `pillar/top.sls`; what is wrong in it is left out.
pub(crate) fn read(session: &mut Session<'_>, root: &str) -> Option<Vec<Entry>> {
    let path = format!("{root}/top.sls");
    session.compiler.tree().get(&path)?;
    let file = session.read(root, "top", &path)?;
    let mut entries = Vec::new();
    for (environment, node) in mapping(session, &file, &file.root.clone()) {
        if environment.text != ENVIRONMENT {
            let message =
                format!("environment `{}` is not available; only `{ENVIRONMENT}` is", environment.text);
            let span = file.rendered.span(environment.at, "");
            let complaint = match node.value {
                Yaml::Map(_) => warning("W0401", message).at(span),
                _ => error("E0401", format!("`{}` must stand below `{ENVIRONMENT}:`", environment.text))
                    .at(span),
            };
            session.complaints.push(complaint);
            continue;
        }
        for (key, node) in mapping(session, &file, &node) {
            entries.extend(entry(session, root, &file, &key, &node));
        }
    }
    Some(entries)
}

fn mapping(session: &mut Session<'_>, file: &Arc<Parsed>, node: &Node) -> Vec<(Key, Node)> {
    match &node.value {
        Yaml::Map(pairs) => pairs.clone(),
        _ if node.is_null() => Vec::new(),
        _ => {
            let message = format!("a top file is environment → target → list, but this is {}", node.kind());
            session.complaints.push(
                error("E0401", message)
                    .at(file.rendered.span(node.at, ""))
                    .help("write\n  base:\n    'web-*':\n      - web"),
            );
            Vec::new()
        }
    }
}

fn entry(session: &mut Session<'_>, root: &str, file: &Arc<Parsed>, key: &Key, node: &Node) -> Option<Entry> {
    let items = match &node.value {
        Yaml::List(items) => items.clone(),
        Yaml::Scalar { .. } if !node.is_null() => vec![node.clone()],
        _ => {
            let message = format!("a target needs a list of names, but this is {}", node.kind());
            session.complaints.push(error("E0401", message).at(file.rendered.span(node.at, "")));
            return None;
        }
    };
    let (mut names, mut kind) = (Vec::new(), None);
    for item in &items {
        match &item.value {
            Yaml::Scalar { text, .. } => {
                names.push((text.clone(), Origin { file: file.clone(), at: item.at }));
            }
            Yaml::Map(pairs) if pairs.len() == 1 && pairs[0].0.text == "match" => kind = Some(&pairs[0].1),
            _ => {
                let message = format!("expected a name or `match: …`, but this is {}", item.kind());
                session.complaints.push(error("E0401", message).at(file.rendered.span(item.at, "")));
            }
        }
    }
    let target = match target_of(file, key, kind) {
        Ok(target) => target,
        Err(complaint) => {
            session.complaints.push(*complaint);
            return None;
        }
    };
    let forbidden = [(Needs::Now, "presence"), (Needs::States, "assigned states")].into_iter();
    let forbidden = forbidden.chain((root == "pillar").then_some((Needs::Pillar, "the pillar")));
    for (needs, what) in forbidden {
        if target.needs(needs) {
            let message = format!("{root}/top.sls cannot depend on {what}");
            let help = "use ids, labels or grains";
            session.complaints.push(error("E0306", message).at(file.rendered.span(key.at, "")).help(help));
        }
    }
    Some(Entry { target, origin: Origin { file: file.clone(), at: key.at }, names })
}

/// Salt's kinds of matches, and how they are written here.
const KINDS: [(&str, &str); 9] = [
    ("glob", ""),
    ("compound", ""),
    ("list", "L"),
    ("pcre", "E"),
    ("grain", "G"),
    ("grain_pcre", "P"),
    ("pillar", "I"),
    ("ipcidr", "S"),
    ("pillar_exact", "I"),
];

fn target_of(file: &Parsed, key: &Key, kind: Option<&Node>) -> Result<Target, Box<Diagnostic>> {
    let text = match kind {
        None => key.text.clone(),
        Some(node) => {
            let name = node.text().unwrap_or("");
            match KINDS.iter().find(|it| it.0 == name) {
                Some((_, "")) => key.text.clone(),
                Some((_, letter)) => {
                    format!("{letter}@'{}'", key.text.replace('\\', r"\\").replace('\'', r"\'"))
                }
                None => {
                    let message = format!("`match: {name}` is not available");
                    return Err(Box::new(
                        error("E0402", message)
                            .at(file.rendered.span(node.at, ""))
                            .maybe_help(did_you_mean(name, KINDS.iter().map(|it| it.0))),
                    ));
                }
            }
        }
    };
    let quoted = usize::try_from(key.at.length).unwrap_or(0) > key.text.chars().count();
    Target::parse_in(&text, &file.rendered.source.path).map_err(|mut complaint| {
        let inside = complaint.spans.pop();
        let at = match inside {
            Some(span) if kind.is_none() => At {
                column: key.at.column + span.column - 1 + u32::from(quoted),
                length: span.length,
                ..key.at
            },
            _ => key.at,
        };
        complaint.spans.push(file.rendered.span(at, ""));
        complaint
    })
}

/// What a top file assigns to the session's minion, in order, each name once.
pub(crate) fn assigned(
    session: &Session<'_>,
    entries: &[Entry],
    pillar: Option<&serde_json::Value>,
) -> Vec<(String, Origin, usize)> {
    let mut found: Vec<(String, Origin, usize)> = Vec::new();
    let Some(subject) = session.subject else { return found };
    let matched = Matched { subject, pillar };
    for (index, entry) in entries.iter().enumerate().filter(|it| it.1.target.matches(&matched)) {
        for (name, origin) in &entry.names {
            if !found.iter().any(|it| it.0 == *name) {
                found.push((name.clone(), origin.clone(), index));
            }
        }
    }
    found
}

/// Names of the files below a root, dotted, in order; `top` is none of them.
pub(crate) fn names(tree: &Tree, root: &str) -> Vec<String> {
    let mut names: Vec<String> = tree
        .iter()
        .filter_map(|(path, _)| {
            let name = path.strip_prefix(root)?.strip_prefix('/')?.strip_suffix(".sls")?;
            let name = name.strip_suffix("/init").unwrap_or(name);
            (!name.contains('.') && name != "top").then(|| name.replace('/', "."))
        })
        .collect();
    names.sort();
    names.dedup();
    names
}
