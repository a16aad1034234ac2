//! Compiles what a minion should be: top, pillar, states, requisites -> recipe.

use crate::{
    Tree, blocks, check, extend, inverted, links,
    links::Edge,
    low::{self, Low},
    order::{self, Turn},
    pillar,
    say::{Say, error},
    scalars,
    session::{ENVIRONMENT, Origin, Parsed, Session},
    show, steps,
    templates::Templates,
    top,
};
use model::{
    Answers, Compiled, ContentHash, Diagnostic, Grains, Labels, Link, MinionId, Recipe, Severity, Step,
};
use serde_json::{Map, Value};
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

/// Whom to compile for.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Matched by top files, seen by templates as `id`.
    pub id: &'a MinionId,
    /// Seen by templates as `grains`.
    pub grains: &'a Grains,
    /// Matched as `label:key=value`; seen by templates as `labels`.
    pub labels: &'a Labels,
    /// To what templates asked this minion.
    pub answers: &'a Answers,
}

/// Which states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// What top.sls assigns.
    Assigned,
    /// By name, dotted.
    Named(Vec<String>),
}

/// One generation of the trees, with everything that can be kept between compiles (parsed templates, parsed YAML).
/// Shared by threads.
pub struct Compiler {
    tree: Tree,
    templates: Templates,
    plain: Mutex<HashMap<(String, ContentHash), Arc<Parsed>>>,
}

impl Compiler {
    /// For a tree.
    pub fn new(tree: Tree) -> Self {
        Self { tree, templates: Templates::default(), plain: Mutex::default() }
    }
    /// Its tree.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }
    pub(crate) fn templates(&self) -> &Templates {
        &self.templates
    }
    /// A file without templates that was parsed before.
    pub(crate) fn kept(&self, path: &str, hash: ContentHash) -> Option<Arc<Parsed>> {
        let kept = self.plain.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(&(path.to_owned(), hash)).cloned()
    }
    pub(crate) fn keep(&self, path: String, hash: ContentHash, parsed: &Arc<Parsed>) {
        let mut kept = self.plain.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert((path, hash), parsed.clone());
    }
    /// `a.b` is `a/b.sls` or `a/b/init.sls`.
    pub(crate) fn path_of(&self, root: &str, name: &str) -> Option<String> {
        if name.split('.').any(|it| it.is_empty() || it.contains('/')) {
            return None;
        }
        let base = format!("{root}/{}", name.replace('.', "/"));
        [format!("{base}.sls"), format!("{base}/init.sls")].into_iter().find(|it| self.tree.get(it).is_some())
    }
    pub(crate) fn names(&self, root: &str) -> Vec<String> {
        top::names(&self.tree, root)
    }
    /// The recipe. `pillar` wins over the tree's.
    pub fn compile(
        &self,
        subject: Subject<'_>,
        wanted: &Wanted,
        pillar: &Map<String, Value>,
    ) -> Compiled<Recipe> {
        let mut session = Session::new(self, Some(subject));
        let names = self.wanted(&mut session, wanted, pillar);
        let recipe = recipe(&mut session, &names);
        finish(session, recipe)
    }
    /// The steps in run order in Salt's field names (`state fun name __id__ __sls__`), arguments and requisites as they
    /// are written, with secrets masked: what Salt calls low chunks. A step that is somebody's `prereq` comes twice, as
    /// it is looked at first. In a tree of Salt, what keeps a single step from running is only a warning here.
    pub fn show(
        &self,
        subject: Subject<'_>,
        wanted: &Wanted,
        pillar: &Map<String, Value>,
    ) -> Compiled<Vec<Value>> {
        let mut session = Session::new(self, Some(subject));
        let names = self.wanted(&mut session, wanted, pillar);
        let written = Written::read(&mut session, &names);
        let turns = written.order(&mut session).map(|it| it.0).unwrap_or_default();
        let before = std::mem::take(&mut session.complaints);
        written.steps(&mut session);
        let later = std::mem::replace(&mut session.complaints, before);
        let of_salt = written.lows.iter().all(|it| it.file.salt);
        session.complaints.extend(later.finish().into_iter().map(|mut it| {
            if of_salt && it.severity == Severity::Error {
                it.severity = Severity::Warning;
                it.notes.push("this keeps it from running".to_owned());
            }
            it
        }));
        let shown = show::show(&written.lows, &turns, ENVIRONMENT);
        let secrets = pillar::maskable(std::mem::take(&mut session.secrets));
        let shown = shown.iter().map(|it| scalars::mask_texts(it, &secrets)).collect();
        finish(session, shown)
    }
    /// The names of what is wanted, with where they stand; sets the session's pillar.
    fn wanted(
        &self,
        session: &mut Session<'_>,
        wanted: &Wanted,
        pillar: &Map<String, Value>,
    ) -> Vec<(String, Option<Origin>)> {
        set_pillar(session, pillar);
        match wanted {
            Wanted::Assigned => {
                let pillar = session.scope.data().get("pillar").cloned();
                let entries = self.top(session);
                let names = top::assigned(session, &entries, pillar.as_ref());
                names.into_iter().map(|it| (it.0, Some(it.1))).collect()
            }
            Wanted::Named(names) => names.iter().map(|it| (it.clone(), None)).collect(),
        }
    }
    /// The top file of the states; a tree without one assigns nothing, which is said.
    fn top(&self, session: &mut Session<'_>) -> Vec<top::Entry> {
        if self.tree.get("states/top.sls").is_none() {
            let help = "say there which states belong to whom, or name the states";
            session.complaints.push(error("E0401", "there is no states/top.sls").help(help));
        }
        top::read(session, "states").unwrap_or_default()
    }
    /// Names of the states that top.sls assigns, in order.
    pub fn assigned(&self, subject: Subject<'_>) -> Compiled<Vec<String>> {
        let mut session = Session::new(self, Some(subject));
        if self.tree.get("states/top.sls").is_none() {
            return finish(session, Vec::new());
        }
        let entries = self.top(&mut session);
        let wants_pillar = entries.iter().any(|it| it.target.needs(crate::target::Needs::Pillar));
        if wants_pillar {
            set_pillar(&mut session, &Map::new());
        }
        let names = top::assigned(&session, &entries, session.scope.data().get("pillar"));
        finish(session, names.into_iter().map(|it| it.0).collect())
    }
    /// The pillar. Its secrets are masked.
    pub fn pillar(&self, subject: Subject<'_>) -> Compiled<Value> {
        let mut session = Session::new(self, Some(subject));
        let pillar = pillar::compile(&mut session);
        let mut secrets = Vec::new();
        scalars::reveal(&pillar, &mut secrets);
        let masked = scalars::mask_texts(&scalars::masked(&pillar), &pillar::maskable(secrets));
        finish(session, masked)
    }
    /// Everything that can be said about the tree without a minion (and with each of `subjects`): syntax of every
    /// file, unknown functions and parameters, requisites, top.sls, rules.
    pub fn check(&self, subjects: &[Subject<'_>]) -> Vec<Diagnostic> {
        check::check(self, subjects)
    }
    /// Names of all states in the tree, dotted, in order.
    pub fn states(&self) -> Vec<String> {
        self.names("states")
    }
}

/// Compiles the pillar for a session, with what wins over it.
pub(crate) fn set_pillar(session: &mut Session<'_>, over: &Map<String, Value>) {
    let mut wrapped = pillar::compile(session);
    scalars::merge(&mut wrapped, Value::Object(over.clone()));
    let mut secrets = Vec::new();
    let pillar = scalars::reveal(&wrapped, &mut secrets);
    session.secrets.extend(secrets);
    session.set_pillar(pillar);
}

/// The recipe of some states.
pub(crate) fn recipe(session: &mut Session<'_>, names: &[(String, Option<Origin>)]) -> Recipe {
    recipe_and_files(session, names).0
}

/// The recipe of some states, and the names of all files that it was made from.
pub(crate) fn recipe_and_files(
    session: &mut Session<'_>,
    names: &[(String, Option<Origin>)],
) -> (Recipe, Vec<String>) {
    let written = Written::read(session, names);
    let (mut recipe, mut steps) = written.steps(session);
    if let Some((turns, edges)) = written.order(session) {
        let order: Vec<usize> = turns.iter().filter(|it| !it.trial).map(|it| it.step).collect();
        let mut position = vec![0; steps.len()];
        for (place, step) in order.iter().enumerate() {
            position[*step] = place;
        }
        for edge in edges {
            let link = Link { step: position[edge.to], when: edge.when, any: edge.any };
            if let Some(step) = steps[edge.from].as_mut().filter(|it| !it.links.contains(&link)) {
                step.links.push(link);
            }
        }
        recipe.steps = order.into_iter().filter_map(|it| steps[it].take()).collect();
    }
    recipe.secrets = pillar::maskable(std::mem::take(&mut session.secrets));
    (recipe, written.files)
}

/// What state files say, before it is looked at whether it makes sense.
struct Written {
    lows: Vec<Low>,
    files: Vec<String>,
    ids: HashSet<String>,
    /// A file cannot be read.
    broken: bool,
}

impl Written {
    fn read(session: &mut Session<'_>, names: &[(String, Option<Origin>)]) -> Self {
        let mut loaded = blocks::load(session, names);
        let broken = session.complaints.has_errors();
        let mut high = extend::extend(session, &mut loaded);
        if !broken {
            inverted::invert(session, &mut high);
        }
        extend::exclude(session, &loaded, &mut high);
        let lows = low::lows(session, &high.blocks);
        let ids = high.blocks.into_iter().map(|it| it.id).collect();
        Self { lows, files: loaded.files, ids, broken }
    }
    fn steps(&self, session: &mut Session<'_>) -> (Recipe, Vec<Option<Step>>) {
        let mut recipe = Recipe::default();
        let steps = steps::steps(session, &self.lows, &mut recipe);
        (recipe, steps)
    }
    /// What a broken file leaves out would be missed by requisites: one mistake, one complaint.
    fn order(&self, session: &mut Session<'_>) -> Option<(Vec<Turn>, Vec<Edge>)> {
        if self.broken {
            return None;
        }
        let edges = links::edges(session, &self.lows, &self.files, &self.ids)?;
        let turns = order::sequence(session, &self.lows, &edges)?;
        Some((turns, edges))
    }
}

fn finish<T>(session: Session<'_>, value: T) -> Compiled<T> {
    let value = (!session.complaints.has_errors()).then_some(value);
    Compiled { value, questions: session.questions, diagnostics: session.complaints.finish() }
}
