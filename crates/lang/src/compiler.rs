//! Compiles what a minion should be: top, pillar, states, requisites -> recipe.

use crate::Tree;
use model::{Compiled, Diagnostic, Grains, Labels, MinionId, Recipe};
use serde_json::{Map, Value};

/// Whom to compile for.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Matched by top files, seen by templates as `id`.
    pub id: &'a MinionId,
    /// Seen by templates as `grains`.
    pub grains: &'a Grains,
    /// Matched as `label:key=value`; seen by templates as `labels`.
    pub labels: &'a Labels,
}

/// Which states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// What top.sls assigns.
    Assigned,
    /// By name, dotted.
    Named(Vec<String>),
}

/// The template engine of files without a renderer line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Renderer {
    /// `handlebars|yaml`
    #[default]
    Handlebars,
    /// `yaml`
    Plain,
}

/// How a tree is read.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// For files without a renderer line.
    pub renderer: Renderer,
}

/// One generation of the trees, with everything that can be kept between compiles (parsed templates, parsed YAML).
/// Shared by threads.
pub struct Compiler {
    tree: Tree,
}

impl Compiler {
    /// For a tree.
    pub fn new(tree: Tree, _options: Options) -> Self {
        Self { tree }
    }
    /// Its tree.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }
    /// The recipe. `pillar` wins over the tree's.
    pub fn compile(
        &self,
        _subject: Subject<'_>,
        _wanted: &Wanted,
        _pillar: &Map<String, Value>,
    ) -> Compiled<Recipe> {
        todo!()
    }
    /// Names of the states that top.sls assigns, in order.
    pub fn assigned(&self, _subject: Subject<'_>) -> Compiled<Vec<String>> {
        todo!()
    }
    /// The pillar. Its secrets are masked.
    pub fn pillar(&self, _subject: Subject<'_>) -> Compiled<Value> {
        todo!()
    }
    /// Everything that can be said about the tree without a minion (and with each of `subjects`): syntax of every
    /// file, unknown functions and parameters, requisites, top.sls, rules.
    pub fn check(&self, _subjects: &[Subject<'_>]) -> Vec<Diagnostic> {
        todo!()
    }
    /// Names of all states in the tree, dotted, in order.
    pub fn states(&self) -> Vec<String> {
        todo!()
    }
    /// A recipe's steps in Salt's field names (`state fun name __id__ __sls__`, arguments, requisites), in run order,
    /// with secrets masked.
    pub fn show(_recipe: &Recipe) -> Vec<Value> {
        todo!()
    }
}
