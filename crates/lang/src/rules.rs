//! Reactor rules: compiled and type-checked at load, evaluated against events.

use crate::{
    Tree,
    condition::Condition,
    rule_texts::{self, Texts},
    salt::rule::SaltRule,
    target::literal_ids,
};
use model::{Compiled, Event, Grains, Labels, MinionId, broken};
use serde_json::{Map, Value, json};

/// All rules of a tree, in order of file and place.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    pub(crate) rules: Vec<Rule>,
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
    pub(crate) condition: Option<Condition>,
    pub(crate) texts: Texts,
    /// It is a reaction of Salt's.
    pub(crate) salt: Option<SaltRule>,
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
        /// Wins over the pillar.
        pillar: Map<String, Value>,
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
    /// Decide about a key.
    Key {
        /// What.
        act: KeyAction,
        /// Whose.
        minion: MinionId,
    },
}

/// What a reaction of Salt does with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyAction {
    /// Makes a waiting one a member; never in place of another.
    Accept,
    /// Refuses a waiting one.
    Reject,
    /// Forgets the minion.
    Delete,
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
    pub fn load(tree: &Tree) -> Compiled<Self> {
        crate::rule_files::load(tree)
    }
    /// All.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter()
    }
    /// Those whose `on` lets the tag through.
    pub fn matching<'a>(&'a self, tag: &'a str) -> impl Iterator<Item = &'a Rule> {
        self.rules.iter().filter(move |it| match &it.salt {
            Some(salt) => salt.may_hear(tag),
            None => filter_matches(&it.on, tag),
        })
    }
}

impl Context<'_> {
    /// What conditions and templates see.
    fn scope(&self) -> Map<String, Value> {
        let source = match &self.event.source {
            model::Source::Master => "master".to_owned(),
            model::Source::Minion(id) => format!("minion/{id}"),
            model::Source::User(name) => format!("user/{name}"),
            model::Source::Integration(name) => format!("integration/{name}"),
            model::Source::Rule(name) => format!("rule/{name}"),
        };
        let mut scope = Map::new();
        scope.insert("event".to_owned(), self.event.data.clone());
        scope.insert("tag".to_owned(), json!(self.event.tag));
        scope.insert("source".to_owned(), json!(source));
        let mut add = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                scope.insert(name.to_owned(), value);
            }
        };
        add("minion", self.minion.map(|it| json!(it)));
        add("grains", self.grains.map(|it| Value::Object(it.clone())));
        add("labels", self.labels.map(|it| json!(it)));
        scope
    }
}

impl Rule {
    /// The reaction file of Salt's that it is, if it is one.
    pub fn reaction(&self) -> Option<&str> {
        self.salt.as_ref().map(SaltRule::path)
    }
    /// Events of a rule begin with its name.
    fn own(&self, action: Action) -> Action {
        match action {
            Action::Event { tag, data } => Action::Event { tag: format!("rule/{}/{tag}", self.name), data },
            other => other,
        }
    }
    /// Whether `when` holds, with a sentence that names the clause and its values either way.
    pub fn holds(&self, context: Context<'_>) -> (bool, String) {
        if let Some(salt) = &self.salt {
            return salt.holds(context.event);
        }
        match &self.condition {
            None => (true, "no `when`".to_owned()),
            Some(condition) => {
                let (holds, why) = condition.holds(&Value::Object(context.scope()));
                (holds, format!("when: {why}"))
            }
        }
    }
    /// The actions with templates filled in; an error names the action and the variable.
    pub fn actions(&self, context: Context<'_>) -> Result<Vec<Action>, String> {
        if let Some(salt) = &self.salt {
            return Ok(salt.actions(context.event)?.into_iter().map(|it| self.own(it)).collect());
        }
        let mut filler = self.texts.filler(context.scope());
        let named =
            |index: usize, name: &str, cause: String| format!("action {} ({name}): {cause}", index + 1);
        let mut actions = Vec::with_capacity(self.actions.len());
        for (index, action) in self.actions.iter().enumerate() {
            let (name, made) = match action {
                ActionTemplate::Apply { target, states } => {
                    let states: Result<_, String> = states.iter().map(|it| filler.fill(it)).collect();
                    let target = resolve(target, &mut filler);
                    (
                        "apply",
                        target.and_then(|target| {
                            Ok(Action::Apply { target, states: states?, pillar: Map::new() })
                        }),
                    )
                }
                ActionTemplate::Run { target, command } => {
                    let command: Result<_, String> = command.iter().map(|it| filler.fill(it)).collect();
                    let target = resolve(target, &mut filler);
                    ("run", target.and_then(|target| Ok(Action::Run { target, command: command? })))
                }
                ActionTemplate::Event { tag, data } => {
                    let data = filler.fill_map(data);
                    let tag = format!("rule/{}/{tag}", self.name);
                    ("event", data.map(|data| Action::Event { tag, data }))
                }
            };
            actions.push(made.map_err(|cause| named(index, name, cause))?);
        }
        Ok(actions)
    }
}

fn resolve(target: &TargetTemplate, filler: &mut rule_texts::Filler<'_>) -> Result<ResolvedTarget, String> {
    match target {
        TargetTemplate::Ids(template) => {
            let text = filler.fill(template)?;
            if broken::leaves_out("event-target") {
                let target = crate::target::Target::parse(&text).map_err(|it| it.message)?;
                return Ok(ResolvedTarget::Expression(text, target));
            }
            literal_ids(&text).map(ResolvedTarget::Ids).map_err(|cause| format!("target: {cause}"))
        }
        TargetTemplate::Expression(text, target) => {
            Ok(ResolvedTarget::Expression(text.clone(), target.clone()))
        }
    }
}

/// Whether an MQTT filter (`+`, `#`) matches a tag or topic, level by level.
pub fn filter_matches(filter: &str, tag: &str) -> bool {
    let (mut wanted, mut levels) = (filter.split('/'), tag.split('/'));
    loop {
        match (wanted.next(), levels.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some(a), Some(b)) if a == "+" || a == b => {}
            _ => return false,
        }
    }
}
