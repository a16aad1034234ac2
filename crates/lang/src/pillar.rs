//! The pillar of one minion: the files that the top files of `pillar` assign, merged in order.

use crate::{
    conduct, environment, limits, merging,
    say::{At, Say, error},
    scalars,
    session::{Origin, Parsed, Session, absolute},
    target::Needs,
    top,
    yaml::{Node, Yaml},
};
use model::broken;
use serde_json::{Map, Value};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// The pillar with its secrets wrapped, see [`scalars`].
pub(crate) fn compile(session: &mut Session<'_>) -> Value {
    let mut pillar = Value::Object(Map::new());
    let entries = top::read(session, "pillar");
    let mut kept = HashMap::new();
    for (wish, index) in top::assigned(session, &entries, None) {
        let entry = &entries[index];
        let asserted = entry.target.needs(Needs::Asserted).then_some(&entry.origin);
        let root = environment::root("pillar", &wish.environment);
        for name in session.compiler.matching(&root, &wish.name) {
            if entry.ignore_missing && session.compiler.path_of(&root, &name).is_none() {
                continue;
            }
            let mut loading = Loading { session, root: &root, asserted, kept: &mut kept };
            if let Some(state) = loading.load(&name, wish.origin.as_ref()) {
                pillar = merging::merge(pillar, state, session.compiler.options());
            }
        }
    }
    pillar
}

/// Merges all files of the tree's pillar, for a check without a minion.
pub(crate) fn check_all(session: &mut Session<'_>) {
    let entries = top::read(session, "pillar");
    let mut assigned: HashSet<(String, String)> = HashSet::new();
    for entry in &entries {
        let asserted = entry.target.needs(Needs::Asserted).then_some(&entry.origin);
        for wish in &entry.names {
            let root = environment::root("pillar", &wish.environment);
            for name in session.compiler.matching(&root, &wish.name) {
                assigned.insert((root.clone(), name.clone()));
                if entry.ignore_missing && session.compiler.path_of(&root, &name).is_none() {
                    continue;
                }
                let mut loading = Loading { session, root: &root, asserted, kept: &mut HashMap::new() };
                loading.load(&name, wish.origin.as_ref());
            }
        }
    }
    for of in session.environments() {
        let root = environment::root("pillar", &of);
        for name in session.compiler.names(&root) {
            if !assigned.contains(&(root.clone(), name.clone()))
                && let Some(path) = session.compiler.path_of(&root, &name)
            {
                session.read(&root, &name, &path);
            }
        }
    }
    for file in session.by_itself.clone() {
        conduct::check_file(session, &file);
    }
}

/// Files under way, of one environment.
struct Loading<'a, 'b> {
    session: &'a mut Session<'b>,
    root: &'a str,
    /// The target that a minion can claim to be.
    asserted: Option<&'a Origin>,
    /// What files hold themselves, without what they include.
    kept: &'a mut HashMap<(String, String), Value>,
}

/// A file whose includes are being read.
struct Open {
    name: String,
    file: Arc<Parsed>,
    own: Value,
    defaults: Map<String, Value>,
    includes: std::vec::IntoIter<Include>,
    included: Option<Value>,
    /// Where its values belong in the one that includes it.
    key: Option<String>,
}

/// An entry of `include:`.
#[derive(Clone, Debug)]
pub(crate) struct Include {
    pub(crate) name: String,
    pub(crate) at: At,
    /// What stands below the name, if it is a mapping; else the environment.
    pub(crate) node: Option<Node>,
    /// The environment to look in, for states.
    pub(crate) environment: Option<String>,
}

impl Loading<'_, '_> {
    /// A file with what it includes; the file itself wins.
    fn load(&mut self, name: &str, origin: Option<&Origin>) -> Option<Value> {
        let mut stack: Vec<Open> = Vec::new();
        let mut done = self.open(name, origin, Map::new(), None)?;
        loop {
            // Go down as long as there is something to include.
            while let Some(include) = done.includes.next() {
                match self.include(&done, &include) {
                    Step::Down(inner) => stack.push(std::mem::replace(&mut done, *inner)),
                    Step::Value(value) => self.add(&mut done, value),
                    Step::Nothing => {}
                }
                if stack.len() > limits::FILES {
                    return None;
                }
            }
            let value = match done.included.take() {
                Some(included) => merging::merge(included, done.own, self.session.compiler.options()),
                None => done.own,
            };
            let value = below(done.key.as_deref(), value);
            let Some(outer) = stack.pop() else { return Some(value) };
            done = outer;
            self.add(&mut done, value);
        }
    }

    fn add(&self, open: &mut Open, value: Value) {
        if value.as_object().is_some_and(|it| !it.is_empty()) {
            open.included = Some(match open.included.take() {
                Some(before) => merging::merge(before, value, self.session.compiler.options()),
                None => value,
            });
        }
    }

    fn include(&mut self, open: &Open, include: &Include) -> Step {
        let (mut key, mut defaults) = (None, open.defaults.clone());
        if let Some(Node { value: Yaml::Map(pairs), .. }) = &include.node {
            defaults = Map::new();
            for (name, node) in pairs {
                match (name.text.as_str(), open.file.value(node)) {
                    ("key", Value::String(text)) => key = Some(text),
                    ("defaults", Value::Object(map)) => defaults = map,
                    _ => {
                        let message =
                            format!("an include of pillar takes `key` and `defaults`, not `{}`", name.text);
                        let span = open.file.rendered.span(name.at, "");
                        self.session.complaints.push(error("E0111", message).at(span));
                    }
                }
            }
        }
        let name = absolute(&include.name.replace('/', "."), &open.name, &open.file.rendered.source.path);
        let origin = Origin { file: open.file.clone(), at: include.at };
        let names = self.session.compiler.matching(self.root, &name);
        let mut together = None;
        for name in &names {
            if let Some(kept) = self.kept.get(&(self.root.to_owned(), name.clone())) {
                together = Some(below(key.as_deref(), kept.clone()));
            } else if names.len() == 1 {
                let inner = self.open(name, Some(&origin), defaults, key);
                return inner.map_or(Step::Nothing, |it| Step::Down(Box::new(it)));
            } else if let Some(value) = self.load(name, Some(&origin)) {
                let value = below(key.as_deref(), value);
                together = Some(match together {
                    Some(before) => merging::merge(before, value, self.session.compiler.options()),
                    None => value,
                });
            }
        }
        together.map_or(Step::Nothing, Step::Value)
    }

    fn open(
        &mut self,
        name: &str,
        origin: Option<&Origin>,
        defaults: Map<String, Value>,
        key: Option<String>,
    ) -> Option<Open> {
        let path = self.session.find(self.root, name, origin)?;
        let file = self.session.read_with(self.root, name, &path, &defaults)?;
        let own = self.own(&file)?;
        self.kept.insert((self.root.to_owned(), name.to_owned()), own.clone());
        let includes = match &file.root.value {
            Yaml::Map(pairs) => pairs.iter().find(|(key, _)| key.text == "include").map(|it| it.1.clone()),
            _ => None,
        };
        let includes = includes.map(|node| includes_in(self.session, &file, &node)).unwrap_or_default();
        let includes = includes.into_iter();
        Some(Open { name: name.to_owned(), file, own, defaults, includes, included: None, key })
    }

    /// What the file itself says.
    fn own(&mut self, file: &Arc<Parsed>) -> Option<Value> {
        let Yaml::Map(pairs) = &file.root.value else {
            if !file.root.is_null() {
                let message = format!("a pillar file is a mapping, but this is {}", file.root.kind());
                let span = file.rendered.span(file.root.at, "");
                self.session.complaints.push(error("E0403", message).at(span));
                return None;
            }
            return Some(Value::Object(Map::new()));
        };
        if let (Some(target), Some(secret)) = (self.asserted, secret_in(&file.root))
            && !broken::leaves_out("pillar-by-grain")
        {
            self.session.complaints.push(
                error("E0405", "a secret is given to whoever claims some grain or address")
                    .at(target.span("a minion says this of itself"))
                    .at(file.rendered.span(secret.at, "the secret"))
                    .help("target it by id or by a label (`label:role=db`): the master keeps those"),
            );
        }
        if pairs.iter().any(|(key, _)| conduct::KEYS.contains(&key.text.as_str())) {
            self.session.by_itself.push(file.clone());
        }
        let own = pairs.iter().filter(|(key, _)| key.text != "include").cloned().collect();
        let own = Node { value: Yaml::Map(own), ..file.root.clone() };
        Some(scalars::with_secrets(&own, file.salt))
    }
}

/// What an entry of `include:` comes to.
enum Step {
    Down(Box<Open>),
    Value(Value),
    Nothing,
}

/// A value below `a:b`.
fn below(key: Option<&str>, value: Value) -> Value {
    let Some(key) = key else { return value };
    key.rsplit(':').fold(value, |value, name| Value::Object(Map::from_iter([(name.to_owned(), value)])))
}

/// Entries of `include:` of states and pillar.
pub(crate) fn includes_in(session: &mut Session<'_>, file: &Arc<Parsed>, node: &Node) -> Vec<Include> {
    let mut includes = Vec::new();
    let items = match &node.value {
        Yaml::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    for item in items {
        match &item.value {
            Yaml::Scalar { text, .. } if !text.is_empty() && !item.is_null() => {
                includes.push(Include { name: text.clone(), at: item.at, node: None, environment: None });
            }
            Yaml::Map(pairs) if pairs.len() == 1 => {
                let (key, below) = &pairs[0];
                let include = match below.text().filter(|_| !below.is_null()) {
                    Some(name) => Include {
                        name: name.to_owned(),
                        at: below.at,
                        node: None,
                        environment: Some(key.text.clone()),
                    },
                    None => Include {
                        name: key.text.clone(),
                        at: key.at,
                        node: Some(below.clone()),
                        environment: None,
                    },
                };
                includes.push(include);
            }
            _ => session.complaints.push(
                error("E0111", format!("`include` takes a list of names, but this is {}", item.kind()))
                    .at(file.rendered.span(item.at, "")),
            ),
        }
    }
    includes
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
