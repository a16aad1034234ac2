//! Top files: which states or pillar files belong to whom.

use crate::{
    Tree, environment,
    environment::BASE,
    groups,
    say::{At, Say, did_you_mean, error, warning},
    session::{Matched, Origin, Parsed, Session, Wish},
    target::{Needs, Target},
    yaml::{Key, Node, Yaml},
};
use model::Diagnostic;
use std::sync::Arc;

/// One target of a top file.
pub(crate) struct Entry {
    pub(crate) environment: String,
    pub(crate) target: Target,
    pub(crate) origin: Origin,
    pub(crate) names: Vec<Wish>,
    /// Pillar of lower numbers comes first.
    order: i64,
    /// Files that do not exist are no mistake.
    pub(crate) ignore_missing: bool,
}

/// Whether there is a top file of a kind in any environment that counts.
pub(crate) fn exists(session: &Session<'_>, kind: &str) -> bool {
    let path = |it: &String| format!("{}/top.sls", environment::root(kind, it));
    session.environments().iter().any(|it| session.compiler.tree().get(&path(it)).is_some())
}

/// Reads the top files of `states` or `pillar`; what is wrong in them is left out. As in Salt, those of `base` say it for
/// all environments; others are heard about their own where base says nothing, and for pillar all are heard.
pub(crate) fn read(session: &mut Session<'_>, kind: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let pinned = session.pinned();
    for of in session.environments() {
        let root = environment::root(kind, &of);
        let path = format!("{root}/top.sls");
        if session.compiler.tree().get(&path).is_none() {
            continue;
        }
        let Some(file) = session.read(&root, "top", &path) else { continue };
        let told: Vec<String> = entries.iter().map(|it| it.environment.clone()).collect();
        for (section, node) in mapping(session, &file, &file.root.clone()) {
            let counts = match &pinned {
                Some(pinned) => section.text == *pinned,
                None => kind == "pillar" || of == BASE || (section.text == of && !told.contains(&of)),
            };
            if !is_environment(session, &file, &section, &node) || !counts {
                continue;
            }
            for (key, node) in mapping(session, &file, &node) {
                entries.extend(entry(session, kind, &section.text, &file, &key, &node));
            }
        }
    }
    if kind == "pillar" {
        let places = session.environments();
        let place = |it: &Entry| places.iter().position(|name| *name == it.environment);
        entries.sort_by_key(|it| (place(it), it.order));
    }
    entries
}

fn is_environment(session: &mut Session<'_>, file: &Arc<Parsed>, section: &Key, node: &Node) -> bool {
    let known = session.compiler.environments();
    if known.contains(&section.text) {
        return true;
    }
    let span = file.rendered.span(section.at, "");
    let complaint = match node.value {
        Yaml::Map(_) => {
            let message = format!("there is no environment `{}`", section.text);
            let near = did_you_mean(&section.text, known.iter().map(String::as_str));
            warning("W0401", message).at(span).help("environments are set in master.yaml").maybe_help(near)
        }
        _ => error("E0401", format!("`{}` must stand below `{BASE}:`", section.text)).at(span),
    };
    session.complaints.push(complaint);
    false
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

fn entry(
    session: &mut Session<'_>,
    kind: &str,
    environment: &str,
    file: &Arc<Parsed>,
    key: &Key,
    node: &Node,
) -> Option<Entry> {
    let items = match &node.value {
        Yaml::List(items) => items.clone(),
        Yaml::Scalar { .. } if !node.is_null() => vec![node.clone()],
        _ => {
            let message = format!("a target needs a list of names, but this is {}", node.kind());
            session.complaints.push(error("E0401", message).at(file.rendered.span(node.at, "")));
            return None;
        }
    };
    let mut items_read = Items::default();
    for item in &items {
        items_read.read(session, environment, file, item);
    }
    let Items { names, kind: match_kind, order, ignore_missing } = items_read;
    let target = match target_of(session, file, key, match_kind.as_ref()) {
        Ok(target) => target?,
        Err(complaint) => {
            session.complaints.push(*complaint);
            return None;
        }
    };
    let forbidden = [(Needs::Now, "presence"), (Needs::States, "assigned states")].into_iter();
    let forbidden = forbidden.chain((kind == "pillar").then_some((Needs::Pillar, "the pillar")));
    for (needs, what) in forbidden {
        if target.needs(needs) {
            let message = format!("{kind}/top.sls cannot depend on {what}");
            let help = "use ids, labels or grains";
            session.complaints.push(error("E0306", message).at(file.rendered.span(key.at, "")).help(help));
        }
    }
    let origin = Origin { file: file.clone(), at: key.at };
    Some(Entry { environment: environment.to_owned(), target, origin, names, order, ignore_missing })
}

/// What stands below a target.
#[derive(Default)]
struct Items {
    names: Vec<Wish>,
    kind: Option<Node>,
    order: i64,
    ignore_missing: bool,
}

impl Items {
    fn read(&mut self, session: &mut Session<'_>, environment: &str, file: &Arc<Parsed>, item: &Node) {
        let wish = |name: &str, environment: &str, at: At| Wish {
            name: name.to_owned(),
            environment: environment.to_owned(),
            origin: Some(Origin { file: file.clone(), at }),
        };
        match &item.value {
            Yaml::Scalar { text, .. } if !item.is_null() => {
                return self.names.push(wish(text, environment, item.at));
            }
            Yaml::Map(pairs) if pairs.len() == 1 => {
                let (key, node) = &pairs[0];
                let text = node.text().unwrap_or_default();
                match key.text.as_str() {
                    "match" => return self.kind = Some(node.clone()),
                    "order" => return self.order = text.parse().unwrap_or(0),
                    "ignore_missing" => {
                        return self.ignore_missing = crate::compare::boolean(text) == Some(true);
                    }
                    other if session.compiler.environments().iter().any(|it| it == other) => {
                        return self.names.push(wish(text, other, node.at));
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        let message = format!("expected a name or `match: …`, but this is {}", item.kind());
        session.complaints.push(error("E0401", message).at(file.rendered.span(item.at, "")));
    }
}

/// Salt's kinds of matches, and how they are written here.
const KINDS: [(&str, &str); 12] = [
    ("glob", ""),
    ("compound", ""),
    ("nodegroup", "N"),
    ("list", "L"),
    ("pcre", "E"),
    ("grain", "G"),
    ("grain_pcre", "P"),
    ("pillar", "I"),
    ("pillar_pcre", "J"),
    ("pillar_exact", "X"),
    ("ipcidr", "S"),
    ("data", ""),
];

/// The target; none if it can never match.
fn target_of(
    session: &mut Session<'_>,
    file: &Parsed,
    key: &Key,
    kind: Option<&Node>,
) -> Result<Option<Target>, Box<Diagnostic>> {
    let name = kind.map_or("compound", |it| it.text().unwrap_or(""));
    let text = match KINDS.iter().find(|it| it.0 == name) {
        Some(("data", _)) => {
            let at = kind.map_or(key.at, |it| it.at);
            let message = "`match: data` never matches: minions keep no data of their own here";
            let help = "give the minion a label: `label:role=web`";
            session.complaints.push(warning("W0402", message).at(file.rendered.span(at, "")).help(help));
            return Ok(None);
        }
        Some((_, "")) => key.text.clone(),
        Some((_, "N")) => format!("N@{}", key.text),
        Some((_, letter)) => format!("{letter}@'{}'", key.text.replace('\\', r"\\").replace('\'', r"\'")),
        None => {
            let message = format!("`match: {name}` is not available");
            let at = kind.map_or(key.at, |it| it.at);
            return Err(Box::new(
                error("E0402", message)
                    .at(file.rendered.span(at, ""))
                    .maybe_help(did_you_mean(name, KINDS.iter().map(|it| it.0))),
            ));
        }
    };
    let text = groups::expand(&text, &session.compiler.options().nodegroups)
        .map_err(|message| Box::new(error("E0303", message).at(file.rendered.span(key.at, ""))))?;
    let quoted = usize::try_from(key.at.length).unwrap_or(0) > key.text.chars().count();
    let as_written = kind.is_none() && text == key.text;
    let target = Target::parse_in(&text, &file.rendered.source.path).map_err(|mut complaint| {
        let inside = complaint.spans.pop();
        let at = match inside {
            Some(span) if as_written => At {
                column: key.at.column + span.column - 1 + u32::from(quoted),
                length: span.length,
                ..key.at
            },
            _ => key.at,
        };
        complaint.spans.push(file.rendered.span(at, ""));
        complaint
    })?;
    Ok(Some(target))
}

/// What top files assign to the session's minion, in order, each name once, with the entries that do.
pub(crate) fn assigned(
    session: &Session<'_>,
    entries: &[Entry],
    pillar: Option<&serde_json::Value>,
) -> Vec<(Wish, usize)> {
    let mut found: Vec<(Wish, usize)> = Vec::new();
    let Some(subject) = session.subject else { return found };
    let matched = Matched { subject, pillar };
    for (index, entry) in entries.iter().enumerate().filter(|it| it.1.target.matches(&matched)) {
        for wish in &entry.names {
            if !found.iter().any(|it| it.0.name == wish.name && it.0.environment == wish.environment) {
                found.push((wish.clone(), index));
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
