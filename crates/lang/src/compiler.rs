//! Compiles what a minion should be: top, pillar, states, requisites -> recipe.

use crate::{
    Options, Tree, arguments, blocks, check, conduct, environment,
    environment::BASE,
    extend, glob, inverted, links,
    links::Edge,
    low::{self, Low},
    order::{self, Turn},
    pillar,
    say::{Say, error, warning},
    scalars,
    session::{Parsed, Session, Wish},
    show, steps,
    templates::Templates,
    top,
};
use model::{
    Answers, Compiled, Conduct, ContentHash, Diagnostic, Grains, Labels, Link, MinionId, Recipe, Severity,
    Step,
};
use serde_json::{Map, Value};
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, OnceLock, PoisonError},
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
    options: Options,
    environments: Vec<String>,
    templates: Templates,
    jinja: crate::jinja::Templates,
    plain: Mutex<HashMap<(String, ContentHash), Arc<Parsed>>>,
    by_itself: OnceLock<bool>,
}

impl Compiler {
    /// For a tree.
    pub fn new(tree: Tree) -> Self {
        Self::with_options(tree, Options::default())
    }
    /// For a tree that is compiled in another way.
    pub fn with_options(tree: Tree, options: Options) -> Self {
        let environments = environment::names(&tree);
        Self {
            tree,
            options,
            environments,
            templates: Templates::default(),
            jinja: crate::jinja::Templates::default(),
            plain: Mutex::default(),
            by_itself: OnceLock::new(),
        }
    }
    /// Its tree.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }
    pub(crate) fn options(&self) -> &Options {
        &self.options
    }
    /// Names of all environments, `base` first.
    pub fn environments(&self) -> &[String] {
        &self.environments
    }
    pub(crate) fn templates(&self) -> &Templates {
        &self.templates
    }
    pub(crate) fn jinja(&self) -> &crate::jinja::Templates {
        &self.jinja
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
    /// `web.*` means all files below a root whose names match, if any does; else it is a name.
    pub(crate) fn matching(&self, root: &str, name: &str) -> Vec<String> {
        if !glob::is_pattern(name) {
            return vec![name.to_owned()];
        }
        let mut names = self.names(root);
        names.retain(|it| glob::matches(name, it));
        if names.is_empty() { vec![name.to_owned()] } else { names }
    }
    /// The recipe. `pillar` wins over the tree's.
    pub fn compile(
        &self,
        subject: Subject<'_>,
        wanted: &Wanted,
        pillar: &Map<String, Value>,
    ) -> Compiled<Recipe> {
        self.compile_in(None, subject, wanted, pillar)
    }
    /// As [`Compiler::compile`], in one environment only if one is named.
    pub fn compile_in(
        &self,
        environment: Option<&str>,
        subject: Subject<'_>,
        wanted: &Wanted,
        pillar: &Map<String, Value>,
    ) -> Compiled<Recipe> {
        let mut session = Session::new(self, Some(subject));
        session.environment = environment.map(str::to_owned);
        let wishes = self.wanted(&mut session, wanted, pillar);
        let mut recipe = recipe(&mut session, &wishes);
        if self.options.failhard {
            recipe.steps.iter_mut().for_each(|it| it.global.failhard = true);
        }
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
        view: View,
    ) -> Compiled<Vec<Value>> {
        let mut session = Session::new(self, Some(subject));
        let names = self.wanted(&mut session, wanted, pillar);
        let written = Written::read(&mut session, &names, view);
        let kept = (view == View::AsWritten).then(|| std::mem::take(&mut session.complaints));
        let turns = written.order(&mut session).map(|it| it.0).unwrap_or_default();
        // What another file adds to this one may be what a requisite lacks here.
        let as_written = || (0..written.lows.len()).map(|step| Turn { step, trial: false }).collect();
        let turns = if turns.is_empty() && kept.is_some() && !written.broken { as_written() } else { turns };
        let before = kept.unwrap_or_else(|| std::mem::take(&mut session.complaints));
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
        let shown = show::show(&written.lows, &turns);
        let secrets = pillar::maskable(std::mem::take(&mut session.secrets));
        let shown = shown.iter().map(|it| scalars::mask_texts(it, &secrets)).collect();
        finish(session, shown)
    }
    /// The files that are wanted; sets the session's pillar.
    fn wanted(&self, session: &mut Session<'_>, wanted: &Wanted, pillar: &Map<String, Value>) -> Vec<Wish> {
        if let Some(pinned) = session.pinned().filter(|it| !self.environments.contains(it)) {
            let message = format!("there is no environment `{pinned}`");
            let help =
                format!("there is {}; environments are set in master.yaml", self.environments.join(", "));
            session.complaints.push(error("E0404", message).help(help));
            return Vec::new();
        }
        set_pillar(session, pillar);
        match wanted {
            Wanted::Assigned => {
                let pillar = session.scope.data().get("pillar").cloned();
                let entries = Self::top(session);
                top::assigned(session, &entries, pillar.as_ref()).into_iter().map(|it| it.0).collect()
            }
            Wanted::Named(names) => {
                let environment = session.pinned().unwrap_or_else(|| BASE.to_owned());
                let wish = |name: &String| Wish {
                    name: name.clone(),
                    environment: environment.clone(),
                    origin: None,
                };
                names.iter().map(wish).collect()
            }
        }
    }
    /// The top files of the states; a tree without one assigns nothing, which is said.
    fn top(session: &mut Session<'_>) -> Vec<top::Entry> {
        if !top::exists(session, "states") {
            let help = "say there which states belong to whom, or name the states";
            session.complaints.push(error("E0401", "there is no states/top.sls").help(help));
        }
        top::read(session, "states")
    }
    /// Names of the states that top.sls assigns, in order.
    pub fn assigned(&self, subject: Subject<'_>) -> Compiled<Vec<String>> {
        let mut session = Session::new(self, Some(subject));
        if !top::exists(&session, "states") {
            return finish(session, Vec::new());
        }
        let entries = Self::top(&mut session);
        let wants_pillar = entries.iter().any(|it| it.target.needs(crate::target::Needs::Pillar));
        if wants_pillar {
            set_pillar(&mut session, &Map::new());
        }
        let names = top::assigned(&session, &entries, session.scope.data().get("pillar"));
        finish(session, names.into_iter().map(|it| it.0.name).collect())
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
    /// Whether pillar may tell any minion to do something by itself.
    pub fn has_conduct(&self) -> bool {
        let is_about = |(path, source): (&String, &crate::Source)| {
            path.starts_with("pillar") && source.bytes.as_deref().is_some_and(conduct::is_about)
        };
        *self.by_itself.get_or_init(|| self.tree.iter().any(is_about))
    }
    /// What a minion does by itself.
    pub fn conduct(&self, subject: Subject<'_>) -> Compiled<Conduct> {
        let mut session = Session::new(self, Some(subject));
        if !self.has_conduct() {
            return finish(session, Conduct::default());
        }
        set_pillar(&mut session, &Map::new());
        let conduct = conduct::compile(&mut session);
        finish(session, conduct)
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
pub(crate) fn recipe(session: &mut Session<'_>, wishes: &[Wish]) -> Recipe {
    recipe_and_files(session, wishes).0
}

/// The recipe of some states, and the names of all files that it was made from.
pub(crate) fn recipe_and_files(session: &mut Session<'_>, wishes: &[Wish]) -> (Recipe, Vec<String>) {
    let written = Written::read(session, wishes, View::Applied);
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
    recipe.secrets = pillar::maskable(std::mem::take(&mut session.secrets)).into();
    (recipe, written.files)
}

/// How steps are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// As they run: what Salt calls `state.show_lowstate`.
    Applied,
    /// As one file says it, before `extend`, `exclude`, `use` and the `_in` forms: what Salt calls `state.show_low_sls`.
    AsWritten,
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
    fn read(session: &mut Session<'_>, wishes: &[Wish], view: View) -> Self {
        let mut loaded = blocks::load(session, wishes);
        let broken = session.complaints.has_errors();
        if view == View::AsWritten {
            return Self::as_written(session, loaded, broken);
        }
        let mut high = extend::extend(session, &mut loaded);
        if !broken {
            inverted::invert(session, &mut high);
        }
        extend::exclude(session, &loaded, &mut high);
        let lows = low::lows(session, &high.blocks);
        let ids = high.blocks.into_iter().map(|it| it.id).collect();
        Self { lows, files: loaded.files, ids, broken }
    }
    /// Without what states say of each other; that there is such is told.
    fn as_written(session: &mut Session<'_>, loaded: blocks::Loaded, broken: bool) -> Self {
        let speaks = |it: &blocks::Argument| {
            let name = it.key.text.as_str();
            name == "use" || name.ends_with("_in") && arguments::is_requisite(name)
        };
        let inverts = loaded.blocks.iter().any(|it| it.arguments.iter().any(speaks));
        if inverts || !loaded.extends.is_empty() || !loaded.excludes.is_empty() {
            let message = "`extend`, `exclude`, `use` and the `_in` forms are shown where they are written";
            let help = "`--applied` shows what they bring about, in the order in which it runs";
            session.complaints.push(warning("W0115", message).help(help));
        }
        let lows = low::lows(session, &loaded.blocks);
        let ids = loaded.blocks.into_iter().map(|it| it.id).collect();
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
