//! Reads rule files. One bad rule gives no rules and all complaints, so that the last good ones stay in use.

use crate::{
    Source, Tree,
    condition::Condition,
    limits,
    rule_clauses::FILTERS_MAX,
    rule_texts::Texts,
    rules::{Rule, Rules},
    salt_rules,
    say::{At, Complaints, Rendered, Say, Text, did_you_mean, error},
    schedule::Schedule,
    top,
    yaml::{self, Key, Node, Yaml},
};
use model::{Compiled, Diagnostic};
use sha2::{Digest, Sha256};
use std::{collections::HashMap, sync::Arc};

/// Keys of a rule, in the order in which they are asked.
pub(crate) const KEYS: [&str; 20] = [
    "on",
    "any",
    "all",
    "schedule",
    "enabled",
    "max_hops",
    "group_by",
    "when",
    "absent",
    "for",
    "count",
    "debounce",
    "maintenance",
    "throttle",
    "once_per",
    "priority",
    "concurrency",
    "do",
    "else_after",
    "on_failure",
];
/// Those that decide whether a rule acts.
const ASKED: [&str; 15] = [
    "on",
    "any",
    "all",
    "schedule",
    "enabled",
    "max_hops",
    "when",
    "absent",
    "for",
    "count",
    "debounce",
    "maintenance",
    "throttle",
    "once_per",
    "concurrency",
];
/// Longest filter, name and tag.
pub(crate) const NAME_BYTES: usize = 128;

/// All rules of a tree.
pub(crate) fn load(tree: &Tree) -> Compiled<Rules> {
    let mut reader = Reader {
        states: top::names(tree, "states"),
        complaints: Complaints::default(),
        names: HashMap::new(),
        rules: Vec::new(),
    };
    let mut reacting = salt_rules::load(tree, &mut reader.complaints);
    let is_rules = |path: &str, source: &Source| {
        is_rule_file(path) && !source.dialect.salt && !reacting.files.contains(path)
    };
    for (path, source) in tree.iter().filter(|(path, source)| is_rules(path, source)) {
        let body = source.bytes.as_ref().filter(|it| it.len() <= limits::TEXT_BYTES);
        let body = body.and_then(|it| String::from_utf8(it.to_vec()).ok());
        match body {
            Some(body) => reader.file(path, body),
            None => reader.complaints.push(error(
                "E0104",
                format!("`{path}` is not UTF-8 text of at most {} bytes", limits::TEXT_BYTES),
            )),
        }
    }
    reacting.give_way(|name| reader.names.contains_key(name));
    reader.rules.extend(reacting.rules);
    let value = (!reader.complaints.has_errors()).then_some(Rules { rules: reader.rules });
    Compiled { value, diagnostics: reader.complaints.finish(), questions: Vec::new() }
}

fn is_rule_file(path: &str) -> bool {
    let kind = path.rsplit_once('.').map(|it| it.1);
    path.starts_with("reactors/") && matches!(kind, Some("sls" | "yaml" | "yml"))
}

pub(crate) struct Reader {
    pub(crate) states: Vec<String>,
    pub(crate) complaints: Complaints,
    names: HashMap<String, (Arc<Rendered>, At)>,
    rules: Vec<Rule>,
}

/// The rule that is being read.
pub(crate) struct Draft {
    pub(crate) file: Arc<Rendered>,
    pub(crate) texts: Texts,
    /// Its `on_failure` is being read.
    pub(crate) failing: bool,
}

impl Reader {
    fn file(&mut self, path: &str, body: String) {
        let file = Arc::new(Rendered::plain(Arc::new(Text::new(path.to_owned(), body))));
        let Some(root) = yaml::parse(&file, &mut self.complaints) else { return };
        match &root.value {
            Yaml::Map(pairs) => {
                // A list there is Salt's map.
                let is_map =
                    |it: &&(Key, Node)| it.0.text == "reactor" && matches!(it.1.value, Yaml::List(_));
                for (key, node) in pairs.iter().filter(|it| !is_map(it)) {
                    self.rule(&file, key, node);
                }
            }
            _ if root.is_null() => {}
            _ => self.say(&file, root.at, "E0501", "a rule file is a mapping of names to rules", None),
        }
    }

    pub(crate) fn say(
        &mut self,
        file: &Rendered,
        at: At,
        code: &str,
        message: impl Into<String>,
        help: Option<String>,
    ) {
        self.complaints.push(error(code, message).at(file.span(at, "")).maybe_help(help));
    }

    fn rule(&mut self, file: &Arc<Rendered>, name: &Key, node: &Node) {
        if self.rules.len() >= limits::RULES {
            let message = format!("more than {} rules", limits::RULES);
            return self.say(file, name.at, "E0104", message, None);
        }
        if !is_level(&name.text) {
            let help = Some("use letters, digits, `-` and `_`: the name is part of event tags".to_owned());
            self.say(file, name.at, "E0501", format!("`{}` cannot name a rule", name.text), help);
        }
        if let Some((first, at)) = self.names.insert(name.text.clone(), (file.clone(), name.at)) {
            self.complaints.push(
                error("E0507", format!("two rules are named `{}`", name.text))
                    .at(file.span(name.at, "again"))
                    .at(first.span(at, "first")),
            );
        }
        let Yaml::Map(pairs) = &node.value else {
            let help = Some("a rule has `on`, `do`, and possibly `when` and `once_per`".to_owned());
            return self.say(
                file,
                node.at,
                "E0501",
                format!("a rule is a mapping, not {}", node.kind()),
                help,
            );
        };
        let mut draft = Draft { file: file.clone(), texts: Texts::default(), failing: false };
        for (key, _) in pairs.iter().filter(|it| !KEYS.contains(&it.0.text.as_str())) {
            self.unknown(file, key, &KEYS);
        }
        let get = |name: &str| pairs.iter().find(|it| it.0.text == name).map(|it| &it.1);
        let mut clauses = self.clauses(&mut draft, pairs);
        let schedule =
            get("schedule").and_then(|it| Schedule::read(&name.text, it, file, &mut self.complaints));
        let (filters, within) = self.filters(&draft, name, pairs);
        clauses.all_within_ms = within;
        let (when, condition) = get("when").map(|it| self.condition(file, it)).unwrap_or_default();
        let actions = self.actions(&mut draft, name, get("do"));
        let on_failure =
            get("on_failure").map(|it| self.on_failure(&mut draft, name, it)).unwrap_or_default();
        let concurrency = get("concurrency").and_then(|it| self.concurrency(&draft, it));
        let asked = ASKED.iter().filter_map(|key| Some(((*key), written(get(key)?))));
        let rule = Rule {
            filters,
            schedule,
            when,
            clauses,
            actions,
            on_failure,
            concurrency,
            condition,
            texts: draft.texts,
            words: asked.collect(),
            fingerprint: fingerprint(&name.text, node),
            ..Rule::plain(name.text.clone(), format!("{}:{}", file.source.path, name.at.line))
        };
        self.rules.push(Rule { on: rule.filters.join(", "), ..rule });
    }

    pub(crate) fn unknown(&mut self, file: &Rendered, key: &Key, known: &[&str]) {
        let help = did_you_mean(&key.text, known.iter().copied());
        let help = help.or_else(|| Some(format!("known are {}", known.join(", "))));
        self.say(file, key.at, "E0502", format!("unknown key `{}`", key.text), help);
    }

    /// The filters of `on`, `any` or `all`, and for `all` within which time.
    fn filters(&mut self, draft: &Draft, name: &Key, pairs: &[(Key, Node)]) -> (Vec<String>, Option<u64>) {
        let get = |name: &str| pairs.iter().find(|it| it.0.text == name);
        let file = draft.file.clone();
        if get("schedule").is_some() {
            for (key, _) in pairs.iter().filter(|it| ["on", "any", "all"].contains(&it.0.text.as_str())) {
                let message = format!("a rule has `{}` or `schedule`, not both", key.text);
                self.say(&file, key.at, "E0501", message, None);
            }
            return (vec![format!("schedule/{}", name.text)], None);
        }
        let Some((key, node)) = get("on").or_else(|| get("any")).or_else(|| get("all")) else {
            let help = Some(
                "say which events it is for: `on: minion/+/start`, or when: `schedule: { every: 1h }`"
                    .to_owned(),
            );
            self.say(&file, name.at, "E0501", format!("`{}` has no `on`", name.text), help);
            return (Vec::new(), None);
        };
        if key.text != "all" {
            return (self.filter_list(&file, node), None);
        }
        let help = || Some("write `all: { within: 10m, of: [ FILTER, FILTER ] }`".to_owned());
        let Yaml::Map(inner) = &node.value else {
            self.say(&file, node.at, "E0508", "`all` needs `within` and `of`", help());
            return (Vec::new(), None);
        };
        for (key, _) in inner.iter().filter(|it| !["within", "of"].contains(&it.0.text.as_str())) {
            self.unknown(&file, key, &["within", "of"]);
        }
        let get = |name: &str| inner.iter().find(|it| it.0.text == name);
        let (Some((within, span)), Some((_, of))) = (get("within"), get("of")) else {
            self.say(&file, node.at, "E0508", "`all` needs `within` and `of`", help());
            return (Vec::new(), None);
        };
        let filters = self.filter_list(&file, of);
        if filters.len() == 1 {
            self.say(&file, of.at, "E0508", "`all` is about several filters", help());
        }
        (filters, self.span_of(draft, within, span))
    }

    fn filter_list(&mut self, file: &Rendered, node: &Node) -> Vec<String> {
        let Yaml::List(items) = &node.value else { return vec![self.one_filter(file, node)] };
        if items.is_empty() || items.len() > FILTERS_MAX {
            let message = format!("a rule has from one to {FILTERS_MAX} filters");
            self.say(file, node.at, "E0504", message, None);
        }
        items.iter().take(FILTERS_MAX).map(|it| self.one_filter(file, it)).collect()
    }

    pub(crate) fn one_filter(&mut self, file: &Rendered, node: &Node) -> String {
        let text = node.text().unwrap_or("");
        let levels: Vec<&str> = text.split('/').collect();
        let good = |(index, level): (usize, &&str)| match *level {
            "#" => index + 1 == levels.len(),
            "+" => true,
            other => !other.is_empty() && !other.contains(['+', '#', '\0']),
        };
        if text.is_empty() || text.len() > NAME_BYTES || !levels.iter().enumerate().all(good) {
            let help =
                "levels between `/`; `+` stands for one level, `#` at the end for all that follow".to_owned();
            self.say(file, node.at, "E0504", format!("`{text}` is not a filter over event tags"), Some(help));
        } else if text.starts_with("lab/") {
            let help = Some("leave out `lab/event/`".to_owned());
            self.say(file, node.at, "E0504", "filters are over event tags, not over topics", help);
        }
        text.to_owned()
    }

    fn condition(&mut self, file: &Rendered, node: &Node) -> (Option<String>, Option<Condition>) {
        let Some(text) = node.text().filter(|_| !node.is_null()) else {
            self.say(
                file,
                node.at,
                "E0505",
                format!("`when` takes an expression, not {}", node.kind()),
                None,
            );
            return (None, None);
        };
        match Condition::parse(text, &file.source.path) {
            Ok(condition) => (Some(text.to_owned()), Some(condition)),
            Err(complaint) => {
                self.complaints.push(moved(*complaint, file, node, text));
                (None, None)
            }
        }
    }
}

/// What stands at a key, on one line.
fn written(node: &Node) -> String {
    let text = match &node.value {
        Yaml::Scalar { text, .. } => text.clone(),
        Yaml::List(items) => format!("[{}]", items.iter().map(written).collect::<Vec<_>>().join(", ")),
        Yaml::Map(pairs) => {
            let pairs = pairs.iter().map(|(key, node)| format!("{}: {}", key.text, written(node)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
    };
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Tells a rule that was altered from one that was not.
fn fingerprint(name: &str, node: &Node) -> String {
    fn add(hash: &mut Sha256, node: &Node) {
        match &node.value {
            Yaml::Scalar { text, plain } => {
                hash.update([1, u8::from(*plain)]);
                hash.update(text.len().to_le_bytes());
                hash.update(text);
            }
            Yaml::List(items) => {
                hash.update([2]);
                for item in items {
                    add(hash, item);
                }
                hash.update([3]);
            }
            Yaml::Map(pairs) => {
                hash.update([4]);
                for (key, node) in pairs {
                    hash.update(key.text.len().to_le_bytes());
                    hash.update(&key.text);
                    add(hash, node);
                }
                hash.update([5]);
            }
        }
    }
    let mut hash = Sha256::new();
    hash.update(name);
    add(&mut hash, node);
    let hash = hash.finalize()[..8].iter().fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
    format!("{hash:016x}")
}

pub(crate) fn is_level(text: &str) -> bool {
    let good = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_' | b'.');
    !text.is_empty() && text.len() <= NAME_BYTES && text.bytes().all(good)
}

/// A complaint about a text inside a file, moved to where the text stands.
pub(crate) fn moved(mut complaint: Diagnostic, file: &Rendered, node: &Node, text: &str) -> Diagnostic {
    let line = file.source.line(node.at.line);
    let inside = complaint.spans.drain(..).next();
    let at = match (inside, line.find(text)) {
        (Some(inside), Some(byte)) if !text.is_empty() && inside.line == 1 => {
            let start = crate::say::small(line[..byte].chars().count());
            At { line: node.at.line, column: start + inside.column, length: inside.length }
        }
        _ => node.at,
    };
    complaint.spans.push(file.span(at, ""));
    complaint
}
