//! What rules do: actions as rule files have them, read with every complaint, and filled in when an event comes.

use crate::{
    rule_files::{Draft, NAME_BYTES, Reader, is_level, moved},
    rule_texts::Filler,
    say::did_you_mean,
    scalars,
    target::{Target, literal_ids},
    yaml::{Key, Node, Yaml},
};
use model::{MinionId, broken};
use serde_json::{Map, Value};

const ACTIONS: [&str; 3] = ["apply", "run", "event"];
const LATER_ACTIONS: [&str; 5] = ["notify", "webhook", "http", "wheel", "runner"];

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

/// Fills in the templates of a rule's actions; an error names the action and the variable.
pub(crate) fn fill(
    rule: &str,
    templates: &[ActionTemplate],
    filler: &mut Filler<'_>,
) -> Result<Vec<Action>, String> {
    let named = |index: usize, name: &str, cause: String| format!("action {} ({name}): {cause}", index + 1);
    let mut actions = Vec::with_capacity(templates.len());
    for (index, action) in templates.iter().enumerate() {
        let (name, made) = match action {
            ActionTemplate::Apply { target, states } => {
                let states: Result<_, String> = states.iter().map(|it| filler.fill(it)).collect();
                let target = resolve(target, filler);
                (
                    "apply",
                    target
                        .and_then(|target| Ok(Action::Apply { target, states: states?, pillar: Map::new() })),
                )
            }
            ActionTemplate::Run { target, command } => {
                let command: Result<_, String> = command.iter().map(|it| filler.fill(it)).collect();
                let target = resolve(target, filler);
                ("run", target.and_then(|target| Ok(Action::Run { target, command: command? })))
            }
            ActionTemplate::Event { tag, data } => {
                let data = filler.fill_map(data);
                let tag = format!("rule/{}/{tag}", rule);
                ("event", data.map(|data| Action::Event { tag, data }))
            }
        };
        actions.push(made.map_err(|cause| named(index, name, cause))?);
    }
    Ok(actions)
}

fn resolve(target: &TargetTemplate, filler: &mut Filler<'_>) -> Result<ResolvedTarget, String> {
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

impl Reader {
    pub(crate) fn actions(
        &mut self,
        draft: &mut Draft,
        name: &Key,
        node: Option<&Node>,
    ) -> Vec<ActionTemplate> {
        let file = draft.file.clone();
        let items = match node.map(|it| &it.value) {
            Some(Yaml::List(items)) if !items.is_empty() => items,
            _ => {
                let at = node.map_or(name.at, |it| it.at);
                let help = Some("write `do: [ { apply: { target: \"{{minion}}\" } } ]`".to_owned());
                self.say(&file, at, "E0501", format!("`{}` has no list of actions in `do`", name.text), help);
                return Vec::new();
            }
        };
        let mut actions = Vec::new();
        for item in items {
            match &item.value {
                Yaml::Map(pairs) if pairs.len() == 1 => {
                    let (key, node) = &pairs[0];
                    actions.extend(self.action(draft, key, node));
                }
                _ => self.say(&file, item.at, "E0501", "an action is a mapping with one key", None),
            }
        }
        actions
    }

    fn action(&mut self, draft: &mut Draft, key: &Key, node: &Node) -> Option<ActionTemplate> {
        let file = draft.file.clone();
        let known: &[&str] = match key.text.as_str() {
            "apply" => &["target", "states"],
            "run" => &["target", "command"],
            "event" => &["tag", "data"],
            _ => {
                self.unknown(&file, key, &ACTIONS, &LATER_ACTIONS);
                return None;
            }
        };
        let Yaml::Map(pairs) = &node.value else {
            let message = format!("`{}` takes a mapping, not {}", key.text, node.kind());
            self.say(&file, node.at, "E0501", message, Some(format!("with {}", known.join(" and "))));
            return None;
        };
        for (key, _) in pairs.iter().filter(|it| !known.contains(&it.0.text.as_str())) {
            self.unknown(&file, key, known, &[]);
        }
        let get = |name: &str| pairs.iter().find(|it| it.0.text == name).map(|it| &it.1);
        match key.text.as_str() {
            "event" => self.event(draft, key, get("tag"), get("data")),
            kind => {
                let target = self.target(draft, key, get("target"));
                if kind == "apply" {
                    let states = get("states").map(|it| self.states(draft, it)).unwrap_or_default();
                    return Some(ActionTemplate::Apply { target: target?, states });
                }
                let command = self.command(draft, key, get("command"));
                Some(ActionTemplate::Run { target: target?, command: command? })
            }
        }
    }

    /// Compiles a text that may be a template.
    fn text(&mut self, draft: &mut Draft, node: &Node) -> Option<String> {
        let Some(text) = node.text() else {
            let file = draft.file.clone();
            self.say(&file, node.at, "E0501", format!("expected text, not {}", node.kind()), None);
            return None;
        };
        if let Err(complaints) = draft.texts.add(text, &draft.file.source.path) {
            for complaint in complaints {
                self.complaints.push(moved(complaint, &draft.file, node, text));
            }
        }
        Some(text.to_owned())
    }

    fn target(&mut self, draft: &mut Draft, action: &Key, node: Option<&Node>) -> Option<TargetTemplate> {
        let Some(node) = node else {
            let message = format!("`{}` needs a `target`", action.text);
            let help = Some("the minion the event is from is `target: \"{{minion}}\"`".to_owned());
            let file = draft.file.clone();
            self.say(&file, action.at, "E0501", message, help);
            return None;
        };
        let text = self.text(draft, node)?;
        if text.contains("{{") {
            return Some(TargetTemplate::Ids(text));
        }
        match Target::parse_in(&text, &draft.file.source.path) {
            Ok(target) => Some(TargetTemplate::Expression(text, target)),
            Err(complaint) => {
                self.complaints.push(moved(*complaint, &draft.file, node, &text));
                None
            }
        }
    }

    fn states(&mut self, draft: &mut Draft, node: &Node) -> Vec<String> {
        let items = match &node.value {
            Yaml::List(items) => items.as_slice(),
            _ if node.is_null() => &[],
            _ => std::slice::from_ref(node),
        };
        let mut names = Vec::new();
        for item in items {
            let Some(name) = self.text(draft, item) else { continue };
            if !name.contains("{{") && !self.states.contains(&name) {
                let help = did_you_mean(&name, self.states.iter().map(String::as_str));
                let file = draft.file.clone();
                self.say(&file, item.at, "E0118", format!("no state named `{name}`"), help);
            }
            names.push(name);
        }
        names
    }

    fn command(&mut self, draft: &mut Draft, action: &Key, node: Option<&Node>) -> Option<Vec<String>> {
        let Some(Node { value: Yaml::List(items), .. }) = node.filter(|it| it.kind() == "a list") else {
            let help =
                "write `command: [journalctl, --vacuum-size=200M]`; for a shell `[sh, -c, '…']`".to_owned();
            let (file, at) = (draft.file.clone(), node.map_or(action.at, |it| it.at));
            self.say(
                &file,
                at,
                "E0501",
                "`run` needs `command`: a list of program and arguments",
                Some(help),
            );
            return None;
        };
        let command: Vec<String> = items.iter().filter_map(|it| self.text(draft, it)).collect();
        if command.is_empty() {
            let file = draft.file.clone();
            self.say(&file, action.at, "E0501", "`command` is empty", None);
        }
        Some(command)
    }

    fn event(
        &mut self,
        draft: &mut Draft,
        action: &Key,
        tag: Option<&Node>,
        data: Option<&Node>,
    ) -> Option<ActionTemplate> {
        let file = draft.file.clone();
        let text = tag.and_then(Node::text).unwrap_or("");
        if text.is_empty() || text.len() > NAME_BYTES || !text.split('/').all(is_level) {
            let help = Some("a fixed tag such as `disk/full`; it becomes `rule/<name>/disk/full`".to_owned());
            let at = tag.map_or(action.at, |it| it.at);
            self.say(&file, at, "E0501", "`event` needs a `tag`", help);
            return None;
        }
        let data = match data {
            None => Value::Object(serde_json::Map::new()),
            Some(node) => {
                self.check_texts(draft, node);
                scalars::value(node)
            }
        };
        match data {
            Value::Object(data) => Some(ActionTemplate::Event { tag: text.to_owned(), data }),
            Value::Null => Some(ActionTemplate::Event { tag: text.to_owned(), data: serde_json::Map::new() }),
            _ => {
                self.say(&file, action.at, "E0501", "`data` of an event is a mapping", None);
                None
            }
        }
    }

    fn check_texts(&mut self, draft: &mut Draft, node: &Node) {
        match &node.value {
            Yaml::Scalar { .. } => drop(self.text(draft, node)),
            Yaml::List(nodes) => nodes.iter().for_each(|it| self.check_texts(draft, it)),
            Yaml::Map(pairs) => pairs.iter().for_each(|it| self.check_texts(draft, &it.1)),
        }
    }
}
