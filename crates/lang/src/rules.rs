//! Reactor rules: compiled and type-checked at load, evaluated against events.

use crate::{
    Tree,
    condition::{self, Condition, presence_word},
    rule_actions,
    rule_texts::Texts,
    salt::rule::SaltRule,
    schedule::Schedule,
};
use model::{Clause, Compiled, Event, Grains, Labels, MinionId, Presence};
use serde_json::{Map, Value, json};

pub use crate::condition::Moment;
pub use crate::rule_actions::{
    ACTIONS_MAX, Action, ActionTemplate, Body, CALL_MS, CALL_MS_MAX, Concurrency, HttpTemplate, HttpWish,
    KeyAction, KeyPolicy, Notice, NotifyTemplate, PRIORITIES, PowerSet, Priority, ResolvedTarget,
    TargetTemplate, WAIT_MS_MAX, Wait, WaitTemplate, parse_mac,
};
pub use crate::rule_clauses::{
    Absent, After, COUNT_MAX, Clauses, Count, DEBOUNCE_TIMES, Debounce, FILTERS_MAX, HOPS_MAX, OncePer, Per,
    Throttle,
};

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
    /// MQTT filter over event tags; several are separated by commas.
    pub on: String,
    /// The filters of `on`, `any` or `all`.
    pub filters: Vec<String>,
    /// When it is for moments rather than for what happens: `on` is then `schedule/<name>`.
    pub schedule: Option<Schedule>,
    /// Condition as written.
    pub when: Option<String>,
    /// What else it asks.
    pub clauses: Clauses,
    /// What to do, in order.
    pub actions: Vec<ActionTemplate>,
    /// What to do, once, when a job of it ends badly, an action is refused, a wait is not met or a call is given up.
    pub on_failure: Vec<ActionTemplate>,
    /// How many of its reactions may be under way; others wait in order.
    pub concurrency: Option<Concurrency>,
    /// Tells it from what it was before an edit.
    pub fingerprint: String,
    pub(crate) condition: Option<Condition>,
    pub(crate) texts: Texts,
    /// Its clauses as written, in the order in which they are asked.
    pub(crate) words: Vec<(&'static str, String)>,
    /// It is a reaction of Salt's.
    pub(crate) salt: Option<SaltRule>,
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
    /// `presence` of that minion.
    pub presence: Option<Presence>,
    /// Whether that minion is in maintenance.
    pub maintenance: bool,
    /// `telemetry.<path>` of that minion, where that is asked.
    pub telemetry: Option<&'a Value>,
    /// `time` and `weekday`.
    pub moment: Moment,
    /// `count("…")` and `roster "…"`, where members are known.
    pub others: Option<Others<'a>>,
}

/// Who else there is.
#[derive(Clone, Copy)]
pub struct Others<'a>(pub(crate) &'a dyn crate::reactor::World);

impl<'a> Others<'a> {
    /// All members that a world has.
    pub fn of(world: &'a dyn crate::reactor::World) -> Self {
        Self(world)
    }
}

impl std::fmt::Debug for Others<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("others")
    }
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
            None => it.filters.iter().any(|filter| filter_matches(filter, tag)),
        })
    }
}

impl<'a> Context<'a> {
    /// An event, and nothing known of any minion.
    pub fn of_event(event: &'a Event) -> Self {
        Self {
            event,
            minion: None,
            grains: None,
            labels: None,
            presence: None,
            maintenance: false,
            telemetry: None,
            moment: Moment { at: event.at, east_s: 0 },
            others: None,
        }
    }
    /// Whether a condition that was checked at load holds.
    pub fn meets(&self, condition: &str) -> bool {
        let parsed = Condition::parse(condition, "wait_for");
        parsed.is_ok_and(|it| it.judge(self).held == Some(true))
    }
    pub(crate) fn source(&self) -> String {
        match &self.event.source {
            model::Source::Master => "master".to_owned(),
            model::Source::Minion(id) => format!("minion/{id}"),
            model::Source::User(name) => format!("user/{name}"),
            model::Source::Integration(name) => format!("integration/{name}"),
            model::Source::Rule(name) => format!("rule/{name}"),
            model::Source::Unknown => "unknown".to_owned(),
        }
    }
    /// What templates see.
    fn scope(&self) -> Map<String, Value> {
        let mut scope = Map::new();
        scope.insert("event".to_owned(), self.event.data.clone());
        scope.insert("tag".to_owned(), json!(self.event.tag));
        scope.insert("source".to_owned(), json!(self.source()));
        let mut add = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                scope.insert(name.to_owned(), value);
            }
        };
        add("minion", self.minion.map(|it| json!(it)));
        add("grains", self.grains.map(|it| Value::Object(it.clone())));
        add("labels", self.labels.map(|it| json!(it)));
        add("presence", self.presence.map(|it| json!(presence_word(it))));
        scope
    }
}

impl Rule {
    /// What `on_failure` says, filled in; it also sees `failure.reason` and `failure.job`.
    pub fn failure_actions(
        &self,
        context: Context<'_>,
        reason: &str,
        job: Option<model::JobId>,
    ) -> Result<Vec<Action>, String> {
        let mut scope = context.scope();
        let job = job.map(|it| it.to_string()).unwrap_or_default();
        scope.insert("failure".to_owned(), json!({"reason": reason, "job": job}));
        let world = context.others.map(|it| it.0);
        rule_actions::fill(&self.name, &self.on_failure, &mut self.texts.filler(scope, world))
    }
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
    /// A rule that has nothing but its name.
    pub(crate) fn plain(name: String, place: String) -> Self {
        Self {
            name,
            place,
            on: String::new(),
            filters: Vec::new(),
            schedule: None,
            when: None,
            clauses: Clauses::default(),
            actions: Vec::new(),
            on_failure: Vec::new(),
            concurrency: None,
            fingerprint: String::new(),
            condition: None,
            texts: Texts::default(),
            words: Vec::new(),
            salt: None,
        }
    }
    /// Its clauses as written, in the order in which they are asked: key and text.
    pub fn words(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.words.iter().map(|(name, text)| (*name, text.as_str()))
    }
    /// Whether it acts at most once for each boot of the minion; due again after the next boot, and until the act has
    /// been done.
    pub fn once_per_boot(&self) -> bool {
        self.clauses.once_per == Some(OncePer::Boot)
    }
    /// Whether `when` holds, with a sentence that names the clause and its values either way.
    pub fn holds(&self, context: Context<'_>) -> (bool, String) {
        match self.judge_when(&context) {
            None => (true, "no `when`".to_owned()),
            Some(clause) => (clause.held == Some(true), reason(&clause)),
        }
    }
    /// `when` with its parts and values; none if there is none.
    pub(crate) fn judge_when(&self, context: &Context<'_>) -> Option<Clause> {
        if let Some(salt) = &self.salt {
            let (held, seen) = salt.holds(context.event);
            let text = self.on.clone();
            return Some(Clause { name: "on".to_owned(), text, held: Some(held), seen, parts: Vec::new() });
        }
        let mut clause = self.condition.as_ref()?.judge(context);
        "when".clone_into(&mut clause.name);
        Some(clause)
    }
    /// The actions of `do` with templates filled in; an error names the action and the variable.
    pub fn actions(&self, context: Context<'_>) -> Result<Vec<Action>, String> {
        if let Some(salt) = &self.salt {
            return Ok(salt.actions(context.event)?.into_iter().map(|it| self.own(it)).collect());
        }
        self.fill(&self.actions, context)
    }
    /// One of the rule's lists of actions with templates filled in.
    pub fn fill(&self, list: &[ActionTemplate], context: Context<'_>) -> Result<Vec<Action>, String> {
        let world = context.others.map(|it| it.0);
        let mut filler = self.texts.filler(context.scope(), world);
        rule_actions::fill(&self.name, list, &mut filler)
    }
}

/// A clause in one line: its name, and the values that decided.
pub(crate) fn reason(clause: &Clause) -> String {
    match clause.name.as_str() {
        "when" => format!("when: {}", condition::why(clause)),
        "on" => clause.seen.clone(),
        name => format!("{name}: {}", clause.seen),
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
