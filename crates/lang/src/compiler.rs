//! Compiles what a minion should be: top, pillar, states, requisites -> recipe.

use crate::{
    Tree, blocks, check, order, pillar,
    say::{Say, error},
    scalars,
    session::{Origin, Parsed, Session},
    show, steps,
    templates::Templates,
    top,
};
use model::{Answers, Compiled, ContentHash, Diagnostic, Grains, Labels, MinionId, Recipe};
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
        set_pillar(&mut session, pillar);
        let names = match wanted {
            Wanted::Assigned => {
                let pillar = session.scope.data().get("pillar").cloned();
                let entries = self.top(&mut session);
                let names = top::assigned(&session, &entries, pillar.as_ref());
                names.into_iter().map(|it| (it.0, Some(it.1))).collect()
            }
            Wanted::Named(names) => names.iter().map(|it| (it.clone(), None)).collect::<Vec<_>>(),
        };
        let recipe = recipe(&mut session, &names);
        finish(session, recipe)
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
    /// A recipe's steps in Salt's field names (`state fun name __id__ __sls__`, arguments, requisites), in run order,
    /// with secrets masked.
    pub fn show(recipe: &Recipe) -> Vec<Value> {
        show::show(recipe)
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
    let mut recipe = Recipe::default();
    let loaded = blocks::load(session, names);
    let broken = session.complaints.has_errors();
    let ids: HashSet<String> = loaded.blocks.iter().map(|it| it.id.clone()).collect();
    let drafts = steps::drafts(session, loaded.blocks, &mut recipe);
    // What a broken file leaves out would be missed by requisites: one mistake, one complaint.
    if !broken {
        recipe.steps = order::sequence(session, drafts, &loaded.files, &ids);
    }
    recipe.secrets = pillar::maskable(std::mem::take(&mut session.secrets));
    (recipe, loaded.files)
}

fn finish<T>(session: Session<'_>, value: T) -> Compiled<T> {
    let value = (!session.complaints.has_errors()).then_some(value);
    Compiled { value, questions: session.questions, diagnostics: session.complaints.finish() }
}
