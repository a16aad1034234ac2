//! Reads `roles.yaml`. One mistake gives no roles and all complaints, so that the last good ones stay in use.

use crate::{
    limits,
    roles::{COMMAND, FUNCTIONS, Line, NONE, Role, Roles},
    say::{At, Complaints, Rendered, Say, Text, did_you_mean, error},
    target::{Needs, Target},
    yaml::{self, Key, Node, Yaml},
};
use model::Compiled;
use std::{collections::BTreeMap, sync::Arc};

/// Roles in one file.
const ROLES_MAX: usize = 200;
/// Lines of one role.
const LINES_MAX: usize = 200;
/// Elements of one list of a line.
const ELEMENTS_MAX: usize = 1_000;
/// Longest name of a role.
const NAME_BYTES: usize = 32;

const KEYS: [&str; 3] = ["roles", "socket", "rules"];
const LINE_KEYS: [&str; 5] = ["functions", "targets", "states", "pillar", "commands"];

/// From the text of a file; an empty one is the built-in roles.
pub(crate) fn parse(file: &str, text: &str) -> Compiled<Roles> {
    let mut complaints = Complaints::default();
    if text.len() > limits::TEXT_BYTES {
        let message = format!("`{file}` is longer than {} bytes", limits::TEXT_BYTES);
        complaints.push(error("E0702", message));
        return Compiled { value: None, diagnostics: complaints.finish(), questions: Vec::new() };
    }
    let rendered = Rendered::plain(Arc::new(Text::new(file.to_owned(), text.to_owned())));
    let root = yaml::parse(&rendered, &mut complaints);
    let mut reader = Reader { file: rendered, complaints, roles: Roles::default(), named: Vec::new() };
    if let Some(root) = root {
        reader.root(&root);
    }
    reader.check_names();
    let Reader { complaints, roles, .. } = reader;
    let value = (!complaints.has_errors()).then_some(roles);
    Compiled { value, diagnostics: complaints.finish(), questions: Vec::new() }
}

struct Reader {
    file: Rendered,
    complaints: Complaints,
    roles: Roles,
    /// Names of roles that are referred to, and where.
    named: Vec<(String, At)>,
}

impl Reader {
    fn say(&mut self, at: At, message: impl Into<String>, help: Option<String>) {
        self.complaints.push(error("E0702", message).at(self.file.span(at, "")).maybe_help(help));
    }

    fn unknown(&mut self, key: &Key, known: &[&str]) {
        let help = did_you_mean(&key.text, known.iter().copied());
        let help = help.or_else(|| Some(format!("keys here are {}", known.join(", "))));
        let message = format!("unknown key `{}`", key.text);
        self.complaints.push(error("E0701", message).at(self.file.span(key.at, "")).maybe_help(help));
    }

    /// The pairs of a mapping; nothing is an empty one.
    fn map<'a>(&mut self, what: &str, node: &'a Node) -> &'a [(Key, Node)] {
        match &node.value {
            Yaml::Map(pairs) => pairs,
            _ if node.is_null() => &[],
            _ => {
                self.say(node.at, format!("{what} is a mapping, not {}", node.kind()), None);
                &[]
            }
        }
    }

    fn root(&mut self, root: &Node) {
        for (key, node) in self.map("this file", root) {
            match key.text.as_str() {
                "roles" => self.all_roles(node),
                "socket" => self.socket(node),
                "rules" => self.rules(node),
                _ => self.unknown(key, &KEYS),
            }
        }
    }

    fn all_roles(&mut self, node: &Node) {
        let pairs = self.map("`roles`", node);
        if pairs.len() > ROLES_MAX {
            return self.say(node.at, format!("there are more than {ROLES_MAX} roles"), None);
        }
        for (name, node) in pairs {
            let letter = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-';
            let text = name.text.as_str();
            if Roles::is_built_in(text) {
                let help = Some(
                    "choose another name: the built-in ones are what tokens made before rest on".to_owned(),
                );
                self.say(name.at, format!("the role `{text}` is built in"), help);
            } else if text.is_empty() || text.len() > NAME_BYTES || !text.bytes().all(letter) {
                let message =
                    format!("`{text}` cannot name a role: use a-z, 0-9 and `-`, at most {NAME_BYTES}");
                self.say(name.at, message, None);
            }
            let role = self.role(name, node);
            self.roles.named.insert(name.text.clone(), role);
        }
    }

    fn role(&mut self, name: &Key, node: &Node) -> Role {
        let mut role = Role { deny: Vec::new(), allow: Vec::new() };
        for (key, node) in self.map(&format!("the role `{}`", name.text), node) {
            match key.text.as_str() {
                "allow" => role.allow = self.lines(key, node),
                "deny" => role.deny = self.lines(key, node),
                _ => self.unknown(key, &["allow", "deny"]),
            }
        }
        role
    }

    fn lines(&mut self, key: &Key, node: &Node) -> Vec<Line> {
        let items = match &node.value {
            Yaml::List(items) if items.len() <= LINES_MAX => items.as_slice(),
            Yaml::List(_) => {
                self.say(node.at, format!("`{}` has more than {LINES_MAX} lines", key.text), None);
                &[]
            }
            _ if node.is_null() => &[],
            _ => {
                let help = Some("write `- functions: [state.apply]`".to_owned());
                self.say(node.at, format!("`{}` takes a list of lines, not {}", key.text, node.kind()), help);
                &[]
            }
        };
        items.iter().filter_map(|it| self.line(it)).collect()
    }

    fn line(&mut self, node: &Node) -> Option<Line> {
        let pairs = self.map("a line of a role", node);
        for (key, _) in pairs.iter().filter(|it| !LINE_KEYS.contains(&it.0.text.as_str())) {
            self.unknown(key, &LINE_KEYS);
        }
        let get = |name: &str| pairs.iter().find(|it| it.0.text == name).map(|it| &it.1);
        let Some(functions) = get("functions") else {
            let help = Some("`functions: '*'` is all but running commands".to_owned());
            self.say(node.at, "a line of a role says which `functions` it is about", help);
            return None;
        };
        let place = format!("{}:{}", self.file.source.path, node.at.line);
        let functions = self.functions(functions);
        Some(Line {
            place,
            functions,
            target: get("targets").and_then(|it| self.target(it)),
            states: get("states").map(|it| self.texts("states", it)),
            pillar: get("pillar").map(|it| self.texts("pillar", it)),
            commands: get("commands").map(|it| self.commands(it)),
        })
    }

    /// The texts of a list, or one text.
    fn texts(&mut self, what: &str, node: &Node) -> Vec<String> {
        let items = match &node.value {
            Yaml::List(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        if items.len() > ELEMENTS_MAX {
            self.say(node.at, format!("`{what}` has more than {ELEMENTS_MAX} elements"), None);
        }
        let mut texts = Vec::new();
        for item in items.iter().take(ELEMENTS_MAX) {
            match item.text().filter(|it| !it.is_empty()) {
                Some(text) => texts.push(text.to_owned()),
                None => self.say(item.at, format!("`{what}` takes texts, not {}", item.kind()), None),
            }
        }
        texts
    }

    fn functions(&mut self, node: &Node) -> Vec<String> {
        let names = self.texts("functions", node);
        for name in &names {
            let group = name.strip_suffix(".*");
            let known = |it: &(&str, &str)| {
                it.0 == name || group.is_some_and(|group| it.0.split('.').next() == Some(group))
            };
            if name != "*" && !FUNCTIONS.iter().any(known) {
                let help = did_you_mean(name, FUNCTIONS.iter().map(|it| it.0));
                let help = help.or_else(|| Some("labctl explain roles lists them".to_owned()));
                self.say(node.at, format!("there is no function `{name}`"), help);
            }
        }
        names
    }

    /// Ids and labels are what the master knows; grains are what a machine says of itself.
    fn target(&mut self, node: &Node) -> Option<Target> {
        let Some(text) = node.text().filter(|_| !node.is_null()) else {
            self.say(node.at, format!("`targets` takes a target expression, not {}", node.kind()), None);
            return None;
        };
        if matches!(text, "*" | "all") {
            return None;
        }
        let target = match Target::parse_in(text, &self.file.source.path) {
            Ok(target) => target,
            Err(complaint) => {
                self.say(node.at, complaint.message.clone(), complaint.help.clone());
                return None;
            }
        };
        let needs = [Needs::Asserted, Needs::Pillar, Needs::States, Needs::Now];
        if needs.into_iter().any(|it| target.needs(it)) {
            let help = Some("use ids and labels: what a machine says of itself may be a lie".to_owned());
            self.say(node.at, "targets of roles rest on ids and labels only", help);
        }
        Some(target)
    }

    fn commands(&mut self, node: &Node) -> Vec<Vec<String>> {
        let help =
            || Some(format!("each is a list of words: `- [systemctl, restart, 'web-*']`; see `{COMMAND}`"));
        let Yaml::List(items) = &node.value else {
            self.say(node.at, format!("`commands` takes a list of commands, not {}", node.kind()), help());
            return Vec::new();
        };
        let mut commands = Vec::new();
        for item in items.iter().take(ELEMENTS_MAX) {
            match &item.value {
                Yaml::List(words) if !words.is_empty() => commands.push(self.texts("commands", item)),
                _ => self.say(item.at, format!("a command is a list of words, not {}", item.kind()), help()),
            }
        }
        commands
    }

    /// The name of a role.
    fn named(&mut self, key: &Key, node: &Node) -> Option<String> {
        let Some(text) = node.text().filter(|_| !node.is_null()) else {
            self.say(node.at, format!("`{}` takes the name of a role, not {}", key.text, node.kind()), None);
            return None;
        };
        self.named.push((text.to_owned(), node.at));
        Some(text.to_owned())
    }

    fn socket(&mut self, node: &Node) {
        for (key, node) in self.map("`socket`", node) {
            match key.text.as_str() {
                "root" => self.roles.socket.root = self.named(key, node).unwrap_or_default(),
                "lab" => self.roles.socket.lab = self.named(key, node).unwrap_or_default(),
                "users" => self.roles.socket.users = self.names("`users`", node),
                _ => self.unknown(key, &["root", "lab", "users"]),
            }
        }
    }

    fn rules(&mut self, node: &Node) {
        for (key, node) in self.map("`rules`", node) {
            match key.text.as_str() {
                "default" => self.roles.rule = self.named(key, node).unwrap_or_default(),
                "names" => self.roles.rules = self.names("`names`", node),
                _ => self.unknown(key, &["default", "names"]),
            }
        }
    }

    fn names(&mut self, what: &str, node: &Node) -> BTreeMap<String, String> {
        let mut names = BTreeMap::new();
        for (key, node) in self.map(what, node) {
            if let Some(role) = self.named(key, node) {
                names.insert(key.text.clone(), role);
            }
        }
        names
    }

    fn check_names(&mut self) {
        for (name, at) in std::mem::take(&mut self.named) {
            if name != NONE && self.roles.get(&name).is_none() {
                let help = did_you_mean(&name, self.roles.names());
                self.say(at, format!("there is no role `{name}`"), help);
            }
        }
    }
}
