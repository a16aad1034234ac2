//! Which rights the actions of a rule need, and which of them its role can never give: told when rules or roles are
//! loaded, not when the rule wants to act.

use crate::{
    Tree,
    roles::{self, Command, Deed, Roles, Whom},
    rules::{ActionTemplate, KeyAction, Rule, Rules},
    say::{Say, warning},
};
use model::{Diagnostic, OnStop, Rolling, Span};

/// What is about no machine: only a line for all machines allows it.
const ABOUT_NOBODY: [&str; 3] = ["event.send", "http.call", "notify.send"];

impl Rule {
    /// What its role does not allow on any machine, one sentence each; nothing if the rule is not in use.
    pub fn lacks(&self, roles: &Roles) -> Vec<String> {
        if !self.clauses.enabled {
            return Vec::new();
        }
        let name = roles.of_rule(&self.name);
        let later = self.clauses.else_after.iter().map(|it| ("else_after", &it.1));
        let lists = std::iter::once(("do", &self.actions)).chain(later);
        let lists = lists.chain(std::iter::once(("on_failure", &self.on_failure)));
        let mut lacks = Vec::new();
        for (list, actions) in lists {
            for (place, action) in actions.iter().enumerate() {
                for deed in deeds(action).iter().filter(|it| !allows(roles, name, it)) {
                    let (function, action) = (deed.function, action.name());
                    lacks.push(format!(
                        "its role `{name}` may not {function}: `{list}` needs it for action {} ({action})",
                        place + 1
                    ));
                }
            }
        }
        lacks
    }
}

impl Rules {
    /// A warning for each right that a rule in use needs and cannot have, with its place in the tree.
    pub fn missing_rights(&self, roles: &Roles, tree: &Tree) -> Vec<Diagnostic> {
        let mut told = Vec::new();
        for rule in self.iter() {
            let span = span_of(rule, tree);
            let remedy = format!(
                "give it a role that may in the master's roles.yaml: `rules: {{ names: {{ {}: ROLE }} }}`",
                rule.name
            );
            told.extend(rule.lacks(roles).into_iter().map(|it| {
                warning("W0510", format!("rule `{}`: {it}", rule.name)).at(span.clone()).help(remedy.clone())
            }));
        }
        told
    }
}

fn span_of(rule: &Rule, tree: &Tree) -> Span {
    let (file, line) = rule.place.rsplit_once(':').unwrap_or((rule.place.as_str(), "1"));
    let line: u32 = line.parse().unwrap_or(1);
    let body = tree.iter().find(|it| it.0 == file).and_then(|it| it.1.bytes.clone());
    let text = body.and_then(|it| {
        let whole = String::from_utf8(it.to_vec()).ok()?;
        whole.lines().nth(line as usize - 1).map(str::to_owned)
    });
    let length = u32::try_from(rule.name.chars().count()).unwrap_or(1).max(1);
    let (text, label) = (text.unwrap_or_default(), String::new());
    Span { file: file.to_owned(), line, column: 1, length, text, label }
}

/// Whether a role allows it somewhere; a role that there is not, allows nothing.
fn allows(roles: &Roles, name: &str, deed: &Deed<'_>) -> bool {
    roles.get(name).is_some_and(|role| {
        if ABOUT_NOBODY.contains(&deed.function) {
            role.judge(deed, Whom::Nobody).is_allowed()
        } else {
            role.allows_somewhere(deed)
        }
    })
}

/// What an action is, as roles see it; what an event fills in is left open.
fn deeds(action: &ActionTemplate) -> Vec<Deed<'_>> {
    let plain = |function| vec![Deed { function, ..Deed::default() }];
    let fixed = |texts: &[String]| texts.iter().all(|it| !it.contains("{{"));
    match action {
        ActionTemplate::Apply { states, pillar, check, rolling, .. } => {
            let deed = Deed {
                function: if *check { "state.plan" } else { "state.apply" },
                states: fixed(states).then_some(states.as_slice()),
                pillar: pillar.keys().map(String::as_str).collect(),
                ..Deed::default()
            };
            with_waves(deed, rolling.as_deref())
        }
        ActionTemplate::Run { command: words, rolling, .. } => {
            let command = fixed(words).then_some(Command { words, special: false });
            with_waves(Deed { function: roles::COMMAND, command, ..Deed::default() }, rolling.as_deref())
        }
        ActionTemplate::Reboot { rolling, .. } => {
            with_waves(Deed { function: "target.reboot", ..Deed::default() }, rolling.as_deref())
        }
        ActionTemplate::Event { .. } => plain("event.send"),
        ActionTemplate::Label { .. } => plain("target.label"),
        ActionTemplate::Key { act, .. } => plain(match act {
            KeyAction::Accept => "key.accept",
            KeyAction::Reject => "key.reject",
            KeyAction::Delete => "minion.remove",
        }),
        ActionTemplate::Notify(_) => plain("notify.send"),
        ActionTemplate::Http(_) => plain("http.call"),
        ActionTemplate::Wait { .. } => Vec::new(),
        ActionTemplate::Wake { .. } => plain("target.wake"),
        ActionTemplate::Power { .. } => plain("target.power"),
    }
}

/// A run in waves may also ask its gate's command, and undo what it did.
fn with_waves<'a>(deed: Deed<'a>, rolling: Option<&'a Rolling>) -> Vec<Deed<'a>> {
    let mut all = vec![deed];
    let check = rolling.and_then(|it| it.gate.as_ref()).map(|it| it.check.as_slice());
    all.extend(check.filter(|it| !it.is_empty()).map(|words| Deed {
        function: roles::COMMAND,
        command: Some(Command { words, special: false }),
        ..Deed::default()
    }));
    let undo = rolling.is_some_and(|it| it.on_stop == OnStop::Undo);
    all.extend(undo.then(|| Deed { function: "job.undo", ..Deed::default() }));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = r#"
night: { on: x, do: [ { reboot: { target: "@web" } } ], on_failure: [ { notify: { to: admins, message: m } } ] }
asleep: { on: x, enabled: false, do: [ { reboot: { target: "@web" } } ] }
web: { on: x, do: [ { apply: { target: "@web", states: [web] } }, { apply: { target: "@web", states: ["{{event.state}}"] } } ] }
all: { on: x, do: [ { apply: { target: "@web" } } ] }
restart: { on: x, do: [ { run: { target: "@web", command: [systemctl, restart, nginx] } }, { run: { target: "@web", command: [reboot] } }, { run: { target: "@web", command: [systemctl, restart, "{{event.unit}}"] } } ] }
forget: { on: x, do: [ { key: { delete: web-1 } }, { event: { tag: gone } } ] }
"#;

    fn lacks(text: &str) -> Vec<String> {
        let tree = Tree::of_texts([("states/web.sls", ""), ("reactors/r.yaml", RULES)]);
        let rules = Rules::load(&tree);
        let rules = rules.value.unwrap_or_else(|| panic!("{:?}", rules.diagnostics));
        let parsed = Roles::parse("roles.yaml", text);
        let who = parsed.value.unwrap_or_else(|| panic!("{:?}", parsed.diagnostics));
        let told = rules.missing_rights(&who, &tree);
        let line = |it: &Diagnostic| {
            assert!(it.spans[0].text.starts_with(it.message.split('`').nth(1).unwrap()), "{it:?}");
            let message = it.message.strip_prefix("rule ").unwrap().replace('`', "");
            format!("{} {message}", it.spans[0].line)
        };
        told.iter().map(line).collect()
    }

    #[test]
    fn what_a_role_never_allows_is_told_when_rules_are_loaded() {
        assert_eq!(
            lacks(""),
            ["2 night: its role rule may not target.reboot: do needs it for action 1 (reboot)"]
        );
        assert_eq!(lacks("rules: {names: {night: rebooter}}"), Vec::<String>::new());
        // A role of less: states and commands are known at load unless an event fills them in.
        let few = "roles: {few: {allow: [
            {functions: state.apply, targets: 'web-*', states: [web]},
            {functions: cmd.run, targets: 'web-*', commands: [[systemctl, restart, '*']]},
            {functions: event.send, targets: 'web-*'},
            {functions: [target.reboot, notify.send, minion.remove]}],
            deny: [{functions: minion.remove}]}}
rules: {default: few}";
        assert_eq!(
            lacks(few),
            [
                "5 all: its role few may not state.apply: do needs it for action 1 (apply)",
                "6 restart: its role few may not cmd.run: do needs it for action 2 (run)",
                "7 forget: its role few may not minion.remove: do needs it for action 1 (key)",
                "7 forget: its role few may not event.send: do needs it for action 2 (event)",
            ]
        );
        assert_eq!(lacks("rules: {default: none}").len(), 10);
    }
}
