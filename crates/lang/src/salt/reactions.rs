//! Salt's reaction files: rendered with `data` and `tag` when an event comes, then understood as actions of ours.
//!
//! What a template prints is marked, so that what came from an event is told from what stands in the file. It is taken
//! out before the file is read as YAML and put back into the texts that it stands in, so it cannot alter the shape of
//! the file; a target with anything printed in it gives ids and is never an expression, and only plain words get into
//! a command.

use super::words::plain_words;
use crate::{
    jinja::MARKS,
    rules::{Action, KeyAction, KeyPolicy, ResolvedTarget},
    say::{Complaints, Rendered, Text},
    scalars,
    target::{Target, literal_ids},
    yaml::{self, Key, Node, Yaml},
};
use model::MinionId;
use serde_json::{Map, Value};
use std::{fmt::Write, sync::Arc};

/// Actions of one file.
const ACTIONS_MAX: usize = 32;
/// Values in all lists and mappings that a file prints.
const PRINTED_NODES_MAX: usize = 20_000;
/// Functions of Salt for which there is nothing to do here.
const NEEDLESS: [&str; 8] = [
    "local.saltutil.",
    "local.mine.update",
    "runner.saltutil.",
    "runner.fileserver.update",
    "runner.git_pillar.update",
    "runner.cache.",
    "runner.mine.update",
    "runner.pillar.",
];

/// What stands in a rendered reaction file; an error says what cannot be understood.
pub(super) fn understand(rendered: &str, path: &str) -> Result<Vec<Action>, String> {
    let (body, mut prints) = Prints::taken_out(rendered);
    let text = Rendered::plain(Arc::new(Text::new(path.to_owned(), body)));
    let mut complaints = Complaints::default();
    let root = yaml::parse(&text, &mut complaints);
    let complaints = complaints.finish();
    if let Some(first) = complaints.first() {
        return Err(clean(&prints.put_back(&first.message)));
    }
    let root = prints.fill(root.ok_or("it is no YAML")?)?;
    let Yaml::Map(ids) = &root.value else {
        return if root.is_null() {
            Ok(Vec::new())
        } else {
            Err("a reaction file is a mapping of ids".to_owned())
        };
    };
    let mut actions = Vec::new();
    for (id, node) in ids {
        let Yaml::Map(functions) = &node.value else {
            return Err(format!("`{}` is no mapping of functions", id.text));
        };
        for (function, node) in functions {
            let place = format!("{} ({})", clean(&id.text), clean(&function.text));
            actions.extend(action(&function.text, node).map_err(|cause| format!("{place}: {cause}"))?);
        }
    }
    if actions.len() > ACTIONS_MAX {
        return Err(format!("more than {ACTIONS_MAX} actions"));
    }
    Ok(actions)
}

/// What tags printed, by the numbers that stand for it while the file is read as YAML.
struct Prints {
    texts: Vec<String>,
    /// Values that lists and mappings among them have.
    nodes: usize,
}

impl Prints {
    /// The file with a number between marks for everything that was printed.
    fn taken_out(rendered: &str) -> (String, Self) {
        let [open, close] = MARKS;
        let mut made = String::with_capacity(rendered.len());
        let mut texts = Vec::new();
        let mut pieces = rendered.split(open);
        made += pieces.next().unwrap_or_default();
        for piece in pieces {
            let (printed, rest) = piece.split_once(close).unwrap_or((piece, ""));
            let _ = write!(made, "{open}{}{close}{rest}", texts.len());
            texts.push(clean(printed));
        }
        (made, Self { texts, nodes: 0 })
    }

    /// A text with what was printed into it, between marks.
    fn put_back(&self, text: &str) -> String {
        let [open, close] = MARKS;
        let mut pieces = text.split(open);
        let mut made = clean(pieces.next().unwrap_or_default());
        for piece in pieces {
            let (number, rest) = piece.split_once(close).unwrap_or((piece, ""));
            let printed = number.parse().ok().and_then(|it: usize| self.texts.get(it));
            let printed = printed.map_or("", String::as_str);
            let _ = write!(made, "{open}{printed}{close}{}", clean(rest));
        }
        made
    }

    /// What was printed, if it is all of a text.
    fn whole(&self, text: &str) -> Option<&str> {
        let [open, close] = MARKS;
        let number = text.strip_prefix(open)?.strip_suffix(close)?;
        self.texts.get(number.parse::<usize>().ok()?).map(String::as_str)
    }

    /// A node with what was printed: a value of its own where it stands alone and without quotes, else a part of a text.
    fn fill(&mut self, node: Node) -> Result<Node, String> {
        let value = match node.value {
            Yaml::Scalar { text, plain } => match self.whole(&text).filter(|_| plain).map(read_printed) {
                Some(value) => {
                    self.nodes += nodes_in(&value);
                    if self.nodes > PRINTED_NODES_MAX {
                        return Err(format!("more than {PRINTED_NODES_MAX} values are printed"));
                    }
                    value
                }
                None => Yaml::Scalar { text: self.put_back(&text), plain },
            },
            Yaml::List(nodes) => {
                Yaml::List(nodes.into_iter().map(|it| self.fill(it)).collect::<Result<_, _>>()?)
            }
            Yaml::Map(pairs) => {
                let mut filled = Vec::with_capacity(pairs.len());
                for (key, node) in pairs {
                    filled.push((Key { text: self.put_back(&key.text), ..key }, self.fill(node)?));
                }
                Yaml::Map(filled)
            }
        };
        Ok(Node { value, ..node })
    }
}

/// What was printed as YAML has it: a list, a mapping, a quoted text, a number; all texts in it are marked.
fn read_printed(printed: &str) -> Yaml {
    let printed = printed.trim();
    if printed.starts_with(['{', '[', '"', '\'']) {
        let text = Rendered::plain(Arc::new(Text::new(String::new(), printed.to_owned())));
        let mut complaints = Complaints::default();
        if let Some(node) = yaml::parse(&text, &mut complaints).filter(|_| !complaints.has_errors()) {
            return mark(node.value);
        }
    }
    if scalars::plain(printed).is_string() {
        return mark(Yaml::Scalar { text: printed.to_owned(), plain: false });
    }
    Yaml::Scalar { text: printed.to_owned(), plain: true }
}

fn mark(value: Yaml) -> Yaml {
    let [open, close] = MARKS;
    match value {
        Yaml::Scalar { text, plain } if plain && !scalars::plain(&text).is_string() => {
            Yaml::Scalar { text, plain }
        }
        Yaml::Scalar { text, .. } => {
            Yaml::Scalar { text: format!("{open}{}{close}", clean(&text)), plain: false }
        }
        Yaml::List(nodes) => {
            Yaml::List(nodes.into_iter().map(|it| Node { value: mark(it.value), ..it }).collect())
        }
        Yaml::Map(pairs) => {
            let marked = |(key, node): (Key, Node)| {
                (Key { text: clean(&key.text), ..key }, Node { value: mark(node.value), ..node })
            };
            Yaml::Map(pairs.into_iter().map(marked).collect())
        }
    }
}

fn nodes_in(value: &Yaml) -> usize {
    match value {
        Yaml::Scalar { .. } => 1,
        Yaml::List(nodes) => 1 + nodes.iter().map(|it| nodes_in(&it.value)).sum::<usize>(),
        Yaml::Map(pairs) => 1 + pairs.iter().map(|it| nodes_in(&it.1.value)).sum::<usize>(),
    }
}

fn is_printed(text: &str) -> bool {
    text.contains(MARKS)
}

/// Without marks.
pub(super) fn clean(text: &str) -> String {
    text.replace(MARKS, "")
}

fn clean_value(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(clean(&text)),
        Value::Array(items) => items.into_iter().map(clean_value).collect(),
        Value::Object(pairs) => pairs.into_iter().map(|(key, it)| (clean(&key), clean_value(it))).collect(),
        other => other,
    }
}

/// Arguments of a reaction by name; texts are still marked.
struct Given(Map<String, Value>);

impl Given {
    fn read(node: &Node) -> Result<Self, String> {
        let mut given = Map::new();
        match scalars::value(node) {
            Value::Object(pairs) => given = pairs,
            Value::Array(items) => {
                for item in items {
                    match item {
                        Value::Object(pairs) => given.extend(pairs),
                        other => return Err(format!("`{}` has no name", clean(&other.to_string()))),
                    }
                }
            }
            Value::Null => {}
            _ => return Err("arguments are a list of names and values".to_owned()),
        }
        // The newer spelling puts everything below `args`.
        match given.remove("args") {
            Some(Value::Object(pairs)) => given.extend(pairs),
            Some(Value::Array(items)) if items.iter().all(Value::is_object) => {
                given.extend(items.into_iter().filter_map(|it| it.as_object().cloned()).flatten());
            }
            Some(other) => {
                given.insert("arg".to_owned(), other);
            }
            None => {}
        }
        if let Some(Value::Object(pairs)) = given.remove("kwarg") {
            given.extend(pairs);
        }
        Ok(Self(given))
    }
    /// The first argument without a name, or the one of this name.
    fn first(&mut self, name: &str) -> Option<Value> {
        let named = self.0.remove(name);
        match self.0.remove("arg") {
            Some(Value::Array(items)) => items.into_iter().next().or(named),
            Some(other) => Some(other),
            None => named,
        }
    }
    fn texts(value: Option<Value>) -> Vec<String> {
        match value {
            Some(Value::Array(items)) => items.into_iter().filter_map(|it| Self::text(&it)).collect(),
            Some(other) => Self::text(&other).into_iter().collect(),
            None => Vec::new(),
        }
    }
    fn text(value: &Value) -> Option<String> {
        match value {
            Value::String(text) => Some(text.clone()),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
            other => Some(other.to_string()),
        }
    }
    /// What is left has no meaning here.
    fn refuse_rest(self, harmless: &[&str]) -> Result<(), String> {
        let known = ["ret", "timeout", "saltenv", "pillarenv", "queue", "concurrent"];
        match self.0.keys().find(|it| !known.contains(&it.as_str()) && !harmless.contains(&it.as_str())) {
            Some(name) => Err(format!("`{}` has no meaning here", clean(name))),
            None => Ok(()),
        }
    }
    fn target(&mut self) -> Result<ResolvedTarget, String> {
        let tgt = self.0.remove("tgt").ok_or("it has no `tgt`")?;
        let kind = self.0.remove("tgt_type").or_else(|| self.0.remove("expr_form"));
        let kind = Self::texts(kind).into_iter().next().unwrap_or_else(|| "glob".to_owned());
        let texts = Self::texts(Some(tgt));
        if texts.is_empty() {
            return Err("tgt: it names nobody".to_owned());
        }
        if texts.iter().any(|it| is_printed(it)) {
            let ids = clean(&texts.join(","));
            return literal_ids(&ids).map(ResolvedTarget::Ids).map_err(|cause| {
                format!("tgt: {cause}; what a template prints there is ids, never a pattern")
            });
        }
        let whole = texts.join(",");
        let quoted = |letter: &str| format!("{letter}@'{}'", whole.replace('\\', r"\\").replace('\'', r"\'"));
        let expression = match kind.as_str() {
            "glob" | "compound" => whole.clone(),
            "list" => return literal_ids(&whole).map(ResolvedTarget::Ids).map_err(|it| format!("tgt: {it}")),
            "pcre" => quoted("E"),
            "grain" => quoted("G"),
            "grain_pcre" => quoted("P"),
            "pillar" => quoted("I"),
            "ipcidr" => quoted("S"),
            "nodegroup" => format!("N@{whole}"),
            other => return Err(format!("`tgt_type: {}` is not available", clean(other))),
        };
        let target = Target::parse(&expression).map_err(|it| format!("tgt: {}", it.message))?;
        Ok(ResolvedTarget::Expression(expression, target))
    }
}

fn action(function: &str, node: &Node) -> Result<Option<Action>, String> {
    let function = match function.strip_prefix("cmd.") {
        Some(rest) => format!("local.{rest}"),
        None => function.to_owned(),
    };
    if NEEDLESS.iter().any(|it| function.starts_with(it)) {
        return Ok(None);
    }
    let mut given = Given::read(node)?;
    let made = match function.as_str() {
        "local.state.apply" | "local.state.sls" | "local.state.highstate" => {
            let target = given.target()?;
            let states = Given::texts(given.first("mods")).join(",");
            let states = clean(&states)
                .split(',')
                .map(|it| it.trim().to_owned())
                .filter(|it| !it.is_empty())
                .collect();
            let pillar = match given.0.remove("pillar").map(clean_value) {
                Some(Value::Object(pillar)) => pillar,
                None | Some(Value::Null) => Map::new(),
                Some(_) => return Err("`pillar` is a mapping".to_owned()),
            };
            Action::Apply { target, states, pillar, check: false, rolling: None }
        }
        "local.cmd.run" | "local.cmd.shell" => {
            let target = given.target()?;
            let line = given.first("cmd").as_ref().and_then(Given::text).ok_or("it has no command")?;
            given.0.remove("python_shell");
            Action::Run {
                target,
                command: vec!["/bin/sh".to_owned(), "-c".to_owned(), plain_words(&line)?],
                timeout_ms: None,
                rolling: None,
            }
        }
        "local.service.restart" | "local.service.start" | "local.service.stop" | "local.service.reload" => {
            let target = given.target()?;
            let name = given.first("name").as_ref().and_then(Given::text).ok_or("it names no service")?;
            let verb = function.rsplit('.').next().unwrap_or_default();
            let command = ["systemctl", verb, "--", &plain_words(&name)?].map(str::to_owned).to_vec();
            Action::Run { target, command, timeout_ms: None, rolling: None }
        }
        "runner.event.send" => event(&mut given)?,
        "wheel.key.accept" => key(&mut given, KeyAction::Accept)?,
        "wheel.key.reject" => key(&mut given, KeyAction::Reject)?,
        "wheel.key.delete" => key(&mut given, KeyAction::Delete)?,
        other => return Err(refusal(other)),
    };
    given.refuse_rest(&[])?;
    Ok(Some(made))
}

fn refusal(function: &str) -> String {
    let remedy = match function.split('.').next().unwrap_or_default() {
        "local" => "states can do it: `local.state.apply` with `arg: [NAME]`",
        "runner" => "write a rule with several actions, or call labctl from a program that reads events",
        "wheel" => "labctl key does it",
        "caller" => "a reaction on the minion itself: use `local.` with `tgt: {{ data['id'] }}`",
        _ => "reactions begin with `local.`, `runner.` or `wheel.`",
    };
    format!("there is no `{}`: {remedy}", clean(function))
}

fn key(given: &mut Given, act: KeyAction) -> Result<Action, String> {
    let name = given.first("match").as_ref().and_then(Given::text).ok_or("it has no `match`")?;
    let name = clean(&name);
    let minion: MinionId = name.parse().map_err(|_| {
        format!("`{name}` names no single key; for machines that may join by themselves: labctl key enroll")
    })?;
    Ok(Action::Key { act, minion, policy: KeyPolicy::default() })
}

fn event(given: &mut Given) -> Result<Action, String> {
    let tag = given.first("tag").as_ref().and_then(Given::text).ok_or("it has no `tag`")?;
    let data = match given.0.remove("data").map(clean_value) {
        Some(Value::Object(data)) => data,
        _ => Map::new(),
    };
    Ok(Action::Event { tag: clean(&tag), data })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As if the template had been filled in.
    fn filled(template: &str, printed: &str) -> Result<String, String> {
        let [open, close] = MARKS;
        let made = template.replace("{{ data }}", &format!("{open}{}{close}", clean(printed)));
        understand(&made, "reactors/x.sls").map(|actions| {
            let one = |it: &Action| match it {
                Action::Apply { target, states, pillar, .. } => {
                    format!("apply {states:?} {pillar:?} {}", whom(target))
                }
                Action::Run { target, command, .. } => format!("run {command:?} {}", whom(target)),
                Action::Event { tag, data } => format!("event {tag} {data:?}"),
                Action::Key { act, minion, .. } => format!("{act:?} {minion}"),
                other => panic!("no reaction of Salt does {other:?}"),
            };
            actions.iter().map(one).collect::<Vec<_>>().join("; ")
        })
    }

    fn whom(target: &ResolvedTarget) -> String {
        match target {
            ResolvedTarget::Ids(ids) => {
                format!("ids {}", ids.iter().map(MinionId::as_str).collect::<Vec<_>>().join(","))
            }
            ResolvedTarget::Expression(text, _) => format!("matching {text}"),
        }
    }

    #[test]
    fn reactions_of_salt_are_understood() {
        for (text, want) in [
            ("a:\n  local.state.apply:\n    - tgt: {{ data }}\n", "apply [] {} ids vm-1"),
            (
                "a:\n  local.state.sls:\n    - tgt: 'web*'\n    - arg:\n      - web,ssh\n",
                "apply [\"web\", \"ssh\"] {} matching web*",
            ),
            (
                "a:\n  local.state.apply:\n    - tgt: 'os:Debian'\n    - expr_form: grain\n    - kwarg: {mods: web, pillar: {x: 1}}\n",
                "apply [\"web\"] {\"x\": Number(1)} matching G@'os:Debian'",
            ),
            (
                "a:\n  local.state.single:\n    - tgt: x\n",
                "ERR a (local.state.single): there is no `local.state.single`",
            ),
            (
                "a:\n  local.cmd.run:\n    - tgt: {{ data }}\n    - arg: [ 'echo {{ data }}' ]\n",
                "run [\"/bin/sh\", \"-c\", \"echo vm-1\"] ids vm-1",
            ),
            (
                "a:\n  local.service.restart:\n    - tgt: x\n    - args: {name: nginx}\n",
                "run [\"systemctl\", \"restart\", \"--\", \"nginx\"] matching x",
            ),
            (
                "a:\n  wheel.key.accept:\n    - match: {{ data }}\nb:\n  wheel.key.delete:\n    - args:\n      - match: x\n",
                "Accept vm-1; Delete x",
            ),
            (
                "a:\n  wheel.key.accept:\n    - match: '*'\n",
                "ERR a (wheel.key.accept): `*` names no single key",
            ),
            (
                "a:\n  runner.state.orchestrate:\n    - args: [{mods: x}]\n",
                "ERR a (runner.state.orchestrate): there is no",
            ),
            (
                "a:\n  runner.event.send:\n    - args: {tag: x/y, data: {b: '{{ data }}'}}\n",
                "event x/y {\"b\": String(\"vm-1\")}",
            ),
            ("a:\n  local.saltutil.sync_all:\n    - tgt: '*'\n", ""),
            (
                "a:\n  caller.state.apply:\n    - args: []\n",
                "ERR a (caller.state.apply): there is no `caller.state.apply`",
            ),
            ("", ""),
        ] {
            let said = filled(text, "vm-1").unwrap_or_else(|it| format!("ERR {it}"));
            assert!(said == want || (want.starts_with("ERR ") && said.starts_with(want)), "{text}{said}");
        }
    }

    #[test]
    fn event_data_widens_nothing() {
        let template = "a:\n  local.cmd.run:\n    - tgt: {{ data }}\n    - arg:\n      - echo hello\n";
        for printed in [
            "*",
            "web-*",
            "G@os:Debian",
            "vm-1 or *",
            "[\"*\"]",
            "x\n    - tgt: '*'",
            "x\nb:\n  local.cmd.run:\n    - tgt: y",
            "x: y",
            "x # y",
            "'",
            "{a: b}",
            "&x *x",
        ] {
            let said = filled(template, printed);
            assert!(said.is_err(), "{printed:?} became {said:?}");
        }
        assert_eq!(
            filled(template, "[vm-1, vm-2]").unwrap(),
            "run [\"/bin/sh\", \"-c\", \"echo hello\"] ids vm-1,vm-2"
        );
        let template = "a:\n  local.cmd.run:\n    - tgt: vm-1\n    - arg:\n      - echo {{ data }}\n";
        for printed in [
            "$(reboot)",
            "a; reboot",
            "a && reboot",
            "`x`",
            "a\n    - tgt: '*'",
            "\u{E001}*\u{E000}; x",
            "a' b",
        ] {
            let said = filled(template, printed);
            assert!(said.is_err(), "{printed:?} became {said:?}");
        }
    }
}
