//! Reads state files into blocks: one for each function under an id, with its arguments and their places.

use crate::{
    arguments::{self, REQUISITES},
    environment, limits,
    pillar::{Include, includes_in},
    say::{At, Say, did_you_mean, error, warning},
    session::{Origin, Parsed, Session, Wish, absolute},
    yaml::{Key, Node, Yaml},
};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// An argument of a function.
#[derive(Clone, Debug)]
pub(crate) struct Argument {
    pub(crate) key: Key,
    pub(crate) node: Node,
    pub(crate) file: Arc<Parsed>,
    /// Adds to those of the same name before it, rather than replacing them.
    pub(crate) joined: bool,
}

/// A function under an id.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) id: String,
    pub(crate) sls: String,
    pub(crate) environment: Arc<str>,
    /// Files that include the one it stands in, directly or not.
    pub(crate) included_from: Arc<Vec<String>>,
    pub(crate) file: Arc<Parsed>,
    pub(crate) state: String,
    pub(crate) fun: String,
    /// Where the function is written.
    pub(crate) at: At,
    pub(crate) arguments: Vec<Argument>,
    /// Its place among blocks without `order:`; none if `extend` made it.
    pub(crate) turn: Option<u32>,
}

/// What `extend:` says of one id.
#[derive(Debug)]
pub(crate) struct Extend {
    pub(crate) id: Key,
    pub(crate) node: Node,
    pub(crate) sls: String,
    pub(crate) file: Arc<Parsed>,
}

/// All state files that were asked for: blocks of a file, then those of what it includes.
#[derive(Default)]
pub(crate) struct Loaded {
    pub(crate) blocks: Vec<Block>,
    /// Names of all files that were read.
    pub(crate) files: Vec<String>,
    pub(crate) ids: HashMap<String, Origin>,
    pub(crate) extends: Vec<Extend>,
    pub(crate) excludes: Vec<(Node, Arc<Parsed>)>,
}

/// Where states without `order:` begin, as in Salt.
pub(crate) const FIRST_TURN: u32 = 10_000;

struct Open {
    name: String,
    environment: Arc<str>,
    file: Arc<Parsed>,
    /// Position in [`Loading::read`].
    place: usize,
    above: Arc<Vec<String>>,
    includes: std::vec::IntoIter<(String, Arc<str>, At)>,
}

/// What one file holds.
#[derive(Default)]
struct Read {
    blocks: Vec<Block>,
    extends: Vec<Extend>,
    excludes: Vec<(Node, Arc<Parsed>)>,
}

struct Loading {
    loaded: Loaded,
    /// Environments and names of files that were opened.
    seen: HashSet<(Arc<str>, String)>,
    /// In the order in which files were opened.
    read: Vec<Read>,
    stack: Vec<Open>,
    turn: u32,
    blocks: usize,
}

/// Reads state files and what they include; included ones run first.
pub(crate) fn load(session: &mut Session<'_>, wishes: &[Wish]) -> Loaded {
    let mut loading = Loading {
        loaded: Loaded::default(),
        seen: HashSet::new(),
        read: Vec::new(),
        stack: Vec::new(),
        turn: FIRST_TURN,
        blocks: 0,
    };
    for wish in wishes {
        let environment: Arc<str> = wish.environment.as_str().into();
        for name in session.compiler.matching(&environment::root("states", &environment), &wish.name) {
            loading.open(session, &name, &environment, wish.origin.as_ref());
            while let Some(top) = loading.stack.last_mut() {
                if let Some((name, environment, at)) = top.includes.next() {
                    let origin = Origin { file: top.file.clone(), at };
                    loading.open(session, &name, &environment, Some(&origin));
                } else if let Some(done) = loading.stack.pop() {
                    loading.blocks_of(session, &done);
                }
            }
        }
    }
    let mut loaded = loading.loaded;
    for read in loading.read {
        loaded.blocks.extend(read.blocks);
        loaded.extends.extend(read.extends);
        loaded.excludes.extend(read.excludes);
    }
    loaded
}

impl Loading {
    fn open(
        &mut self,
        session: &mut Session<'_>,
        name: &str,
        environment: &Arc<str>,
        origin: Option<&Origin>,
    ) {
        if !self.seen.insert((environment.clone(), name.to_owned())) {
            return;
        }
        self.loaded.files.push(name.to_owned());
        let root = environment::root("states", environment);
        let Some(path) = session.find(&root, name, origin) else { return };
        let Some(file) = session.read(&root, name, &path) else { return };
        let includes = match &file.root.value {
            Yaml::Map(pairs) => pairs.iter().find(|(key, _)| key.text == "include").map(|it| it.1.clone()),
            _ => None,
        };
        let includes = includes.map(|node| includes_in(session, &file, &node)).unwrap_or_default();
        let mut wanted = Vec::new();
        for include in includes {
            let origin = Origin { file: file.clone(), at: include.at };
            let Some((other, of)) = include_of(session, &include, name, environment, &origin) else {
                continue;
            };
            let names = session.compiler.matching(&environment::root("states", &of), &other);
            wanted.extend(names.into_iter().map(|it| (it, of.clone(), include.at)));
        }
        let above = match self.stack.last() {
            Some(top) => {
                let mut above = vec![top.name.clone()];
                above.extend(top.above.iter().cloned());
                Arc::new(above)
            }
            None => Arc::default(),
        };
        let place = self.read.len();
        self.read.push(Read::default());
        let (name, environment) = (name.to_owned(), environment.clone());
        self.stack.push(Open { name, environment, file, place, above, includes: wanted.into_iter() });
    }

    fn blocks_of(&mut self, session: &mut Session<'_>, open: &Open) {
        let file = &open.file;
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
                "extend" => self.extends_of(session, open, node),
                "exclude" => self.read[open.place].excludes.push((node.clone(), file.clone())),
                _ => self.id(session, open, key, node),
            }
            if self.blocks > limits::STEPS {
                let message = format!("more than {} states for one minion", limits::STEPS);
                session.complaints.push(error("E0104", message).at(file.rendered.span(key.at, "")));
                return;
            }
        }
    }

    fn extends_of(&mut self, session: &mut Session<'_>, open: &Open, node: &Node) {
        let Yaml::Map(pairs) = &node.value else {
            let message = format!("`extend` takes a mapping of ids, but this is {}", node.kind());
            session.complaints.push(error("E0112", message).at(open.file.rendered.span(node.at, "")));
            return;
        };
        let extends = pairs.iter().map(|(id, node)| Extend {
            id: id.clone(),
            node: node.clone(),
            sls: open.name.clone(),
            file: open.file.clone(),
        });
        self.read[open.place].extends.extend(extends);
    }

    fn id(&mut self, session: &mut Session<'_>, open: &Open, key: &Key, node: &Node) {
        let origin = Origin { file: open.file.clone(), at: key.at };
        if let Some(first) = self.loaded.ids.get(&key.text) {
            session.complaints.push(
                error("E0110", format!("id `{}` is used in two files", key.text))
                    .at(origin.span("again"))
                    .at(first.span("first"))
                    .help("ids are unique among all files of a minion: rename one, or use `extend`"),
            );
            return;
        }
        self.loaded.ids.insert(key.text.clone(), origin);
        let mut blocks = block(session, open, key, node);
        for block in &mut blocks {
            if !block.arguments.iter().any(|it| it.key.text == "order") {
                block.turn = Some(self.turn);
                self.turn += 1;
            }
        }
        self.blocks += blocks.len();
        self.read[open.place].blocks.extend(blocks);
    }
}

/// The name and the environment that an include means.
fn include_of(
    session: &mut Session<'_>,
    include: &Include,
    from: &str,
    environment: &Arc<str>,
    origin: &Origin,
) -> Option<(String, Arc<str>)> {
    let name = absolute(&include.name, from, &origin.file.rendered.source.path);
    let known = session.compiler.environments();
    let has = |it: &&String| session.compiler.path_of(&environment::root("states", it), &name).is_some();
    let complaint = match &include.environment {
        _ if include.node.is_some() => "`include` takes a list of names".to_owned(),
        None => return Some((name, environment.clone())),
        // Salt's word for wherever it is found.
        Some(word) if word == "_xenv" => {
            let found = known.iter().find(has).map_or_else(|| environment.clone(), |it| it.as_str().into());
            return Some((name, found));
        }
        Some(other) if known.contains(other) => return Some((name, other.as_str().into())),
        Some(other) => format!("there is no environment `{other}`"),
    };
    session.complaints.push(error("E0111", complaint).at(origin.span("")));
    None
}

/// The functions under an id.
fn block(session: &mut Session<'_>, open: &Open, key: &Key, node: &Node) -> Vec<Block> {
    let file = &open.file;
    let make = |state: &str, fun: &str, at: At, arguments| Block {
        id: key.text.clone(),
        sls: open.name.clone(),
        environment: open.environment.clone(),
        included_from: open.above.clone(),
        file: file.clone(),
        state: state.to_owned(),
        fun: fun.to_owned(),
        at,
        arguments,
        turn: None,
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
            // Salt puts dotted functions behind the others.
            let (dotted, plain): (Vec<_>, Vec<_>) = pairs.iter().partition(|it| it.0.text.contains('.'));
            for (function, node) in plain.into_iter().chain(dotted) {
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
    if arguments::is_known(&key.text) {
        let message =
            format!("`{}` has no effect here: it belongs to a function, not to `{}`", key.text, id.text);
        let help = format!("move it below the function: `- {}: …` under `file.managed:`, say", key.text);
        // Salt ignored it up to 3007 and refuses it since.
        let complaint = if file.salt { warning("W0113", message) } else { error("E0113", message) };
        session.complaints.push(complaint.at(file.rendered.span(key.at, "")).help(help));
        return None;
    }
    let mut plain = Vec::new();
    let arguments = self::arguments(session, file, node, &mut plain);
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
    let argument = |(key, node): &(Key, Node)| Argument {
        key: key.clone(),
        node: node.clone(),
        file: file.clone(),
        joined: false,
    };
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

/// A key that stands twice in the list of arguments. Salt takes the last one silently.
fn check_twice(session: &mut Session<'_>, file: &Arc<Parsed>, arguments: &[Argument], key: &Key) {
    let Some(first) = arguments.iter().find(|it| it.key.text == key.text) else { return };
    let repeats = REQUISITES.iter().any(|it| it.name == key.text);
    let complaint = match (file.salt, repeats) {
        (true, _) => warning("W0103", format!("`{}` stands here twice: the last one counts", key.text)),
        (false, true) => return,
        (false, false) => error("E0103", format!("`{}` stands here twice", key.text)),
    };
    session.complaints.push(
        complaint.at(file.rendered.span(key.at, "again")).at(file.rendered.span(first.key.at, "first")),
    );
}
