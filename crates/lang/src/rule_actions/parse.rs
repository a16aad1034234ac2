//! Reads the actions of a rule: every complaint with its place, templates compiled, targets parsed.

use super::{ACTIONS_MAX, ActionTemplate, CALL_MS_MAX, NotifyTemplate, PRIORITIES, Priority, TargetTemplate};
use crate::{
    duration, rolling,
    rule_files::{Draft, NAME_BYTES, Reader, is_level, moved},
    say::did_you_mean,
    scalars,
    target::Target,
    yaml::{Key, Node, Yaml},
};
use model::Rolling;
use serde_json::{Map, Value, json};

mod http;
mod key;
mod waits;

pub use waits::parse_mac;

/// Actions and the keys that they take.
const ACTIONS: [(&str, &[&str]); 12] = [
    ("apply", &["target", "states", "pillar"]),
    ("plan", &["target", "states", "pillar"]),
    ("run", &["target", "command", "timeout"]),
    ("reboot", &["target", "message"]),
    ("event", &["tag", "data"]),
    ("label", &["target", "set", "remove"]),
    ("key", &["accept", "reject", "delete", "ids", "cidr", "only_new"]),
    ("notify", &["to", "title", "message", "priority", "tags", "data", "resolve"]),
    ("http", &["to", "url", "method", "headers", "json", "body", "expect", "timeout"]),
    ("wait_for", &["event", "when", "minion", "presence", "job", "timeout"]),
    ("wake", &["target", "mac", "via"]),
    ("power", &["target", "set", "by", "wait"]),
];
/// Longest that a command of a rule may take.
const RUN_MS_MAX: u64 = 7 * 86_400_000;
/// Names in one list: notifiers, labels, tags, addresses.
const NAMES_MAX: usize = 64;

/// The keys of one action, and where it stands.
struct Given<'a> {
    action: &'a Key,
    pairs: &'a [(Key, Node)],
}

impl<'a> Given<'a> {
    fn get(&self, name: &str) -> Option<&'a Node> {
        self.pairs.iter().find(|it| it.0.text == name).map(|it| &it.1)
    }
}

impl Reader {
    /// The list of actions below a key of a rule, which must not be empty.
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
        if items.len() > ACTIONS_MAX {
            let message = format!("more than {ACTIONS_MAX} actions in one list");
            self.say(&file, items[ACTIONS_MAX].at, "E0104", message, None);
        }
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

    /// `on_failure`: it sees `failure`, and does not wait.
    pub(crate) fn on_failure(&mut self, draft: &mut Draft, name: &Key, node: &Node) -> Vec<ActionTemplate> {
        draft.failing = true;
        let actions = self.actions(draft, name, Some(node));
        draft.failing = false;
        let waits = |it: &&ActionTemplate| {
            matches!(it, ActionTemplate::Wait { .. } | ActionTemplate::Power { wait_ms: Some(_), .. })
        };
        if let Some(waiting) = actions.iter().find(waits) {
            let message = format!("`{}` cannot wait in `on_failure`", waiting.name());
            let file = draft.file.clone();
            self.say(&file, node.at, "E0501", message, Some("put what waits into `do`".to_owned()));
        }
        actions
    }

    /// `concurrency: 1 per minion`.
    pub(crate) fn concurrency(&mut self, draft: &Draft, node: &Node) -> Option<super::Concurrency> {
        let made = node.text().and_then(super::Concurrency::parse);
        if made.is_none() {
            let help = Some("write `1 per minion`, `2 per rule` or `2`; at most 1000".to_owned());
            self.say(&draft.file, node.at, "E0503", "`concurrency` says how many at once", help);
        }
        made
    }

    fn action(&mut self, draft: &mut Draft, key: &Key, node: &Node) -> Option<ActionTemplate> {
        let file = draft.file.clone();
        let names = ACTIONS.map(|it| it.0);
        let Some((_, known)) = ACTIONS.iter().find(|it| it.0 == key.text) else {
            self.unknown(&file, key, &names);
            return None;
        };
        let Yaml::Map(pairs) = &node.value else {
            let message = format!("`{}` takes a mapping, not {}", key.text, node.kind());
            self.say(&file, node.at, "E0501", message, Some(format!("with {}", known.join(", "))));
            return None;
        };
        let waves: &[&str] =
            if matches!(key.text.as_str(), "apply" | "run" | "reboot") { &rolling::KEYS } else { &[] };
        let known: Vec<&str> = known.iter().chain(waves).copied().collect();
        for (key, _) in pairs.iter().filter(|it| !known.contains(&it.0.text.as_str())) {
            self.unknown(&file, key, &known);
        }
        let given = Given { action: key, pairs };
        match key.text.as_str() {
            "apply" | "plan" => self.apply(draft, &given),
            "run" => self.run(draft, &given),
            "reboot" => self.reboot(draft, &given),
            "event" => self.event(draft, key, given.get("tag"), given.get("data")),
            "label" => self.label(draft, &given),
            "key" => self.key(draft, &given),
            "notify" => self.notify(draft, &given),
            "http" => self.http(draft, &given),
            "wait_for" => self.wait_for(draft, &given),
            "wake" => self.wake(draft, &given),
            _ => self.power(draft, &given),
        }
    }

    fn apply(&mut self, draft: &mut Draft, given: &Given<'_>) -> Option<ActionTemplate> {
        let target = self.target(draft, given.action, given.get("target"));
        let states = given.get("states").map(|it| self.states(draft, it)).unwrap_or_default();
        let pillar = self.mapping(draft, given, "pillar");
        let rolling = self.waves(draft, given);
        Some(ActionTemplate::Apply {
            target: target?,
            states,
            pillar: pillar?,
            check: given.action.text == "plan",
            rolling,
        })
    }

    fn run(&mut self, draft: &mut Draft, given: &Given<'_>) -> Option<ActionTemplate> {
        let target = self.target(draft, given.action, given.get("target"));
        let command = self.command(draft, given.action, given.get("command"));
        let timeout_ms = given.get("timeout").and_then(|it| self.span(draft, "timeout", it, RUN_MS_MAX));
        let rolling = self.waves(draft, given);
        Some(ActionTemplate::Run { target: target?, command: command?, timeout_ms, rolling })
    }

    fn reboot(&mut self, draft: &mut Draft, given: &Given<'_>) -> Option<ActionTemplate> {
        let target = self.target(draft, given.action, given.get("target"));
        let message = given.get("message").and_then(|it| self.text(draft, it)).unwrap_or_default();
        let rolling = self.waves(draft, given);
        Some(ActionTemplate::Reboot { target: target?, message, rolling })
    }

    /// How it goes over its machines, if not everywhere at once.
    fn waves(&mut self, draft: &Draft, given: &Given<'_>) -> Option<Box<Rolling>> {
        if given.action.text != "apply"
            && let Some(node) = given.get("on_stop").filter(|it| it.text() == Some("undo"))
        {
            let message = "only what was applied can be undone: `on_stop: undo` goes with `apply`";
            self.say(&draft.file, node.at, "E0503", message, None);
        }
        if given.action.text == "plan" {
            return None;
        }
        rolling::read(given.pairs, &draft.file, &mut self.complaints).map(Box::new)
    }

    /// Compiles a text that may be a template.
    pub(super) fn text(&mut self, draft: &mut Draft, node: &Node) -> Option<String> {
        let Some(text) = node.text() else {
            let file = draft.file.clone();
            self.say(&file, node.at, "E0501", format!("expected text, not {}", node.kind()), None);
            return None;
        };
        let unknown = || Value::from(crate::scan::UNKNOWN.to_string());
        let failure = [("failure", json!({"reason": unknown(), "job": unknown()}))];
        let more: &[(&str, Value)] = if draft.failing { &failure } else { &[] };
        if let Err(complaints) = draft.texts.add(text, &draft.file.source.path, more) {
            for complaint in complaints {
                self.complaints.push(moved(complaint, &draft.file, node, text));
            }
        }
        Some(text.to_owned())
    }

    /// The text of a key that must be there.
    fn needed(&mut self, draft: &mut Draft, given: &Given<'_>, name: &str, help: &str) -> Option<String> {
        if let Some(node) = given.get(name).filter(|it| !it.is_null()) {
            return self.text(draft, node);
        }
        let message = format!("`{}` needs `{name}`", given.action.text);
        let file = draft.file.clone();
        self.say(&file, given.action.at, "E0501", message, Some(help.to_owned()));
        None
    }

    /// The text of a key that is no template; a complaint if something else stands there.
    fn word(&mut self, draft: &Draft, given: &Given<'_>, name: &str) -> Option<String> {
        let node = given.get(name).filter(|it| !it.is_null())?;
        let text = node.text().map(str::to_owned);
        if text.is_none() {
            let message = format!("`{name}` takes text, not {}", node.kind());
            self.say(&draft.file, node.at, "E0501", message, None);
        }
        text
    }

    /// A list of texts, or one text.
    fn texts(&mut self, draft: &mut Draft, what: &str, node: &Node) -> Vec<String> {
        let items = match &node.value {
            Yaml::List(items) => items.as_slice(),
            _ if node.is_null() => &[],
            _ => std::slice::from_ref(node),
        };
        if items.len() > NAMES_MAX {
            let file = draft.file.clone();
            self.say(&file, node.at, "E0104", format!("more than {NAMES_MAX} elements in `{what}`"), None);
        }
        items.iter().take(NAMES_MAX).filter_map(|it| self.text(draft, it)).collect()
    }

    /// A mapping whose texts may be templates; nothing is an empty one.
    fn mapping(&mut self, draft: &mut Draft, given: &Given<'_>, name: &str) -> Option<Map<String, Value>> {
        let Some(node) = given.get(name).filter(|it| !it.is_null()) else { return Some(Map::new()) };
        self.check_texts(draft, node);
        let Value::Object(map) = scalars::value(node) else {
            let file = draft.file.clone();
            let message = format!("`{name}` is a mapping, not {}", node.kind());
            self.say(&file, node.at, "E0501", message, None);
            return None;
        };
        Some(map)
    }

    /// A span of time that is not too long.
    fn span(&mut self, draft: &Draft, name: &str, node: &Node, most: u64) -> Option<u64> {
        let read = match node.text().map(duration::parse) {
            Some(Ok(ms)) if (1..=most).contains(&ms) => return Some(ms),
            Some(Ok(_)) => format!("`{name}` is more than nothing and at most {}", duration::show(most)),
            Some(Err(cause)) => cause,
            None => format!("`{name}` takes a span of time, not {}", node.kind()),
        };
        self.say(&draft.file, node.at, "E0503", read, Some("write 30s, 5m or 2h".to_owned()));
        None
    }

    fn flag(&mut self, draft: &Draft, given: &Given<'_>, name: &str) -> bool {
        let Some(node) = given.get(name) else { return false };
        if let Some(Value::Bool(it)) = node.text().map(scalars::plain) {
            it
        } else {
            self.say(&draft.file, node.at, "E0503", format!("`{name}` is true or false"), None);
            false
        }
    }

    pub(super) fn target(
        &mut self,
        draft: &mut Draft,
        action: &Key,
        node: Option<&Node>,
    ) -> Option<TargetTemplate> {
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
            None => Value::Object(Map::new()),
            Some(node) => {
                self.check_texts(draft, node);
                scalars::value(node)
            }
        };
        match data {
            Value::Object(data) => Some(ActionTemplate::Event { tag: text.to_owned(), data }),
            Value::Null => Some(ActionTemplate::Event { tag: text.to_owned(), data: Map::new() }),
            _ => {
                self.say(&file, action.at, "E0501", "`data` of an event is a mapping", None);
                None
            }
        }
    }

    pub(super) fn check_texts(&mut self, draft: &mut Draft, node: &Node) {
        match &node.value {
            Yaml::Scalar { .. } => drop(self.text(draft, node)),
            Yaml::List(nodes) => nodes.iter().for_each(|it| self.check_texts(draft, it)),
            Yaml::Map(pairs) => pairs.iter().for_each(|it| self.check_texts(draft, &it.1)),
        }
    }

    /// Names of labels are fixed, as operators' are; values may be templates.
    fn label(&mut self, draft: &mut Draft, given: &Given<'_>) -> Option<ActionTemplate> {
        let target = self.target(draft, given.action, given.get("target"));
        let mut set = Vec::new();
        match given.get("set").map(|it| &it.value) {
            Some(Yaml::Map(pairs)) => {
                for (key, node) in pairs {
                    self.label_name(draft, &key.text, key.at);
                    set.extend(self.text(draft, node).map(|it| (key.text.clone(), it)));
                }
            }
            None => {}
            Some(_) => {
                let file = draft.file.clone();
                self.say(&file, given.action.at, "E0501", "`set` of `label` is a mapping", None);
            }
        }
        let remove = given.get("remove").map(|it| (it, self.texts(draft, "remove", it)));
        let (node, remove) = remove.map_or((None, Vec::new()), |(node, it)| (Some(node), it));
        for name in &remove {
            self.label_name(draft, name, node.map_or(given.action.at, |it| it.at));
        }
        if set.is_empty() && remove.is_empty() {
            let help = Some("write `set: { name: value }` or `remove: [name]`".to_owned());
            let file = draft.file.clone();
            self.say(&file, given.action.at, "E0501", "`label` sets or removes something", help);
        }
        Some(ActionTemplate::Label { target: target?, set, remove })
    }

    fn label_name(&mut self, draft: &Draft, name: &str, at: crate::say::At) {
        let good = |it: u8| it.is_ascii_alphanumeric() || b"-_./".contains(&it);
        if name.is_empty() || name.len() > 256 || !name.bytes().all(good) {
            let message = format!("`{name}` is no name of a label: use letters, digits and -_./");
            self.say(&draft.file, at, "E0501", message, None);
        }
    }

    fn notify(&mut self, draft: &mut Draft, given: &Given<'_>) -> Option<ActionTemplate> {
        let to = given.get("to").map(|it| self.texts(draft, "to", it)).unwrap_or_default();
        if to.is_empty() || !to.iter().all(|it| is_level(it)) {
            let at = given.get("to").map_or(given.action.at, |it| it.at);
            let help = Some("names that stand in notify.yaml: `to: phone` or `to: [phone, log]`".to_owned());
            self.say(&draft.file.clone(), at, "E0501", "`notify` needs `to`", help);
        }
        let message = self.needed(draft, given, "message", "`message: \"{{minion}} is ready\"`");
        let priority = given.get("priority").and_then(|it| self.text(draft, it));
        if let Some(word) = priority.as_ref().filter(|it| !it.contains("{{") && Priority::parse(it).is_none())
        {
            let help = Some(format!("one of {}", PRIORITIES.map(|it| it.0).join(", ")));
            let at = given.get("priority").map_or(given.action.at, |it| it.at);
            self.say(&draft.file.clone(), at, "E0503", format!("`{word}` is no priority"), help);
        }
        let data = self.mapping(draft, given, "data");
        Some(ActionTemplate::Notify(NotifyTemplate {
            to,
            title: given.get("title").and_then(|it| self.text(draft, it)),
            message: message?,
            priority,
            tags: given.get("tags").map(|it| self.texts(draft, "tags", it)).unwrap_or_default(),
            data: data?,
            resolve: self.flag(draft, given, "resolve"),
        }))
    }
}
