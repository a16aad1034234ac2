//! Reactor rules: compiled and type-checked at load, evaluated against events.

use crate::Tree;
use model::{Compiled, Event, Grains, Labels, MinionId};
use serde_json::{Map, Value};

/// All rules of a tree, in order of file and place.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    rules: Vec<Rule>,
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// `reactors/x.yaml:3`.
    pub place: String,
    /// MQTT filter over event tags.
    pub on: String,
    /// Condition as written.
    pub when: Option<String>,
    /// Act at most once for each boot of the minion; due again after the next boot, and until the act has been done.
    pub once_per_boot: bool,
    /// What to do, in order.
    pub actions: Vec<ActionTemplate>,
}

/// What a rule does, with templates not filled in.
#[derive(Clone, Debug)]
pub enum ActionTemplate {
    /// `apply: { target, states }`
    Apply {
        /// Whom.
        target: TargetTemplate,
        /// Names; empty is what top.sls assigns.
        states: Vec<String>,
    },
    /// `run: { target, command: [..] }`; elements may be templates, each stays one argument.
    Run {
        /// Whom.
        target: TargetTemplate,
        /// Program and arguments.
        command: Vec<String>,
    },
    /// `event: { tag, data }`: becomes `rule/<name>/<tag>`.
    Event {
        /// Below `rule/<name>/`.
        tag: String,
        /// Payload; texts may be templates.
        data: Map<String, Value>,
    },
}

/// A `target:`; text with `{{` gives ids, other text is an expression that was parsed at load.
#[derive(Clone, Debug)]
pub enum TargetTemplate {
    /// A template whose result is ids.
    Ids(String),
    /// An expression.
    Expression(String, crate::target::Target),
}

/// What conditions and templates can see.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// `event.<key>` is its data; also `tag`, `source`.
    pub event: &'a Event,
    /// `minion`: the id in `minion/<id>/...`, if any.
    pub minion: Option<&'a MinionId>,
    /// `grains.<path>` of that minion.
    pub grains: Option<&'a Grains>,
    /// `labels.<key>` of that minion.
    pub labels: Option<&'a Labels>,
}

/// An action with its templates filled in.
#[derive(Clone, Debug)]
pub enum Action {
    /// Submit an apply job.
    Apply {
        /// Whom.
        target: ResolvedTarget,
        /// Names; empty is what top.sls assigns.
        states: Vec<String>,
    },
    /// Submit a command job.
    Run {
        /// Whom.
        target: ResolvedTarget,
        /// Program and arguments.
        command: Vec<String>,
    },
    /// Put an event on the bus.
    Event {
        /// Whole tag, `rule/<name>/...`.
        tag: String,
        /// Payload.
        data: Map<String, Value>,
    },
}

/// Whom an action means.
#[derive(Clone, Debug)]
pub enum ResolvedTarget {
    /// These.
    Ids(Vec<MinionId>),
    /// Whoever matches: as written, and parsed.
    Expression(String, crate::target::Target),
}

impl Rules {
    /// Reads `reactors/**/*.{sls,yaml,yml}`. One bad rule: no value, all complaints.
    pub fn load(_tree: &Tree) -> Compiled<Self> {
        todo!()
    }
    /// All.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter()
    }
    /// Those whose `on` lets the tag through.
    pub fn matching<'a>(&'a self, _tag: &'a str) -> impl Iterator<Item = &'a Rule> {
        self.rules.iter()
    }
}

impl Rule {
    /// Whether `when` holds, with a sentence that names the clause and its values either way.
    pub fn holds(&self, _context: Context<'_>) -> (bool, String) {
        todo!()
    }
    /// The actions with templates filled in; an error names the action and the variable.
    pub fn actions(&self, _context: Context<'_>) -> Result<Vec<Action>, String> {
        todo!()
    }
}

/// Whether an MQTT filter (`+`, `#`) matches a tag or topic, level by level.
pub fn filter_matches(_filter: &str, _tag: &str) -> bool {
    todo!()
}
