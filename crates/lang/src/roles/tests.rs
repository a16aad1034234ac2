//! Roles as tables: the file, what is wanted, and what is said to it.

use super::*;
use model::{Grains, Labels, MinionId, Presence};
use std::net::IpAddr;

struct Machine(MinionId, Labels, Grains);

impl Candidate for Machine {
    fn id(&self) -> &MinionId {
        &self.0
    }
    fn grains(&self) -> &Grains {
        &self.2
    }
    fn labels(&self) -> &Labels {
        &self.1
    }
    fn addresses(&self) -> Vec<IpAddr> {
        Vec::new()
    }
    fn presence(&self) -> Presence {
        Presence::Up
    }
    fn failed(&self) -> bool {
        false
    }
    fn pillar(&self, _: &str) -> Option<serde_json::Value> {
        None
    }
    fn assigned(&self) -> Vec<String> {
        Vec::new()
    }
}

fn machine(id: &str) -> Machine {
    let labels = if id.starts_with("web") {
        Labels::from([("role".to_owned(), "web".to_owned())])
    } else {
        Labels::new()
    };
    Machine(id.parse().unwrap(), labels, Grains::new())
}

const FILE: &str = "
roles:
  deployer:
    deny:
      - functions: '*'
        targets: web-9
      - {functions: state.apply, states: [base.secrets]}
    allow:
      - functions: [state.*, target.ask]
        targets: 'label:role=web'
        states: [web, 'web.*', base.*]
        pillar: [version]
      - functions: [target.ask, '*']
        targets: vm-*
      - functions: cmd.run
        targets: web-*
        commands:
          - [systemctl, restart, 'nginx*']
          - [journalctl, ...]
      - {functions: [event.send]}
  all:
    allow: [{functions: '*'}]
    deny: [{functions: cmd.run, commands: [[rm, ...]]}]
  commands:
    allow: [{functions: cmd.*, targets: all}]
    deny: [{functions: cmd.run, commands: [[rm, ...]]}]
";

fn roles() -> Roles {
    let parsed = Roles::parse("roles.yaml", FILE);
    assert_eq!(parsed.diagnostics, []);
    parsed.value.unwrap()
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn said(roles: &Roles, role: &str, deed: &Deed<'_>, on: &str) -> String {
    let machine =
        machine(on.trim_start_matches(['-', '*']).get(..).filter(|it| !it.is_empty()).unwrap_or("x"));
    let whom = match on {
        "-" => Whom::Nobody,
        "*" => Whom::Everybody,
        _ => Whom::One(&machine),
    };
    match roles.get(role).unwrap().judge(deed, whom) {
        Verdict::Allowed(line) => format!("allowed {}", line.place),
        Verdict::Denied(line) => format!("denied {}", line.place),
        Verdict::NoLine => "no line".to_owned(),
    }
}

fn function(name: &str) -> &'static str {
    FUNCTIONS.iter().find(|it| it.0 == name).unwrap().0
}

#[test]
fn states_are_judged_one_by_one_and_a_denied_one_denies_all() {
    let roles = roles();
    for (function_name, states, on, wanted) in [
        ("state.apply", "web", "web-1", "allowed roles.yaml:9"),
        ("state.plan", "web.tls web base.x", "web-1", "allowed roles.yaml:9"),
        ("state.apply", "web other", "web-1", "no line"),
        ("state.apply", "", "web-1", "denied roles.yaml:7"),
        ("state.plan", "", "web-1", "no line"),
        ("state.apply", "web base.secrets", "web-1", "denied roles.yaml:7"),
        ("state.apply", "web", "web-9", "denied roles.yaml:5"),
        ("state.apply", "anything", "vm-1", "allowed roles.yaml:13"),
        ("state.apply", "web", "db-1", "no line"),
        ("state.apply", "web", "-", "no line"),
        ("state.apply", "web", "*", "denied roles.yaml:5"),
    ] {
        let states = words(states);
        let deed = Deed { function: function(function_name), states: Some(&states), ..Deed::default() };
        assert_eq!(said(&roles, "deployer", &deed, on), wanted, "{function_name} {states:?} {on}");
    }
}

#[test]
fn what_is_set_for_a_run_is_matched_too() {
    let roles = roles();
    let states = words("web");
    let deed = |pillar: Vec<&'static str>, environment| Deed {
        function: function("state.apply"),
        states: Some(&states),
        pillar,
        environment,
        command: None,
    };
    for (deed, on, allowed) in [
        (deed(vec!["version"], false), "web-1", true),
        (deed(vec!["version", "command"], false), "web-1", false),
        (deed(Vec::new(), true), "web-1", false),
        (deed(vec!["command"], true), "vm-1", true),
    ] {
        assert_eq!(said(&roles, "deployer", &deed, on).starts_with("allowed"), allowed, "{deed:?} {on}");
    }
}

#[test]
fn states_and_commands_limit_only_what_is_about_them() {
    let roles = roles();
    for (function_name, on, wanted) in [
        ("target.ask", "web-1", "allowed roles.yaml:9"),
        ("target.ask", "db-1", "no line"),
        ("job.undo", "web-1", "no line"),
    ] {
        let deed = Deed { function: function(function_name), ..Deed::default() };
        assert_eq!(said(&roles, "deployer", &deed, on), wanted, "{function_name} {on}");
    }
}

#[test]
fn commands_need_a_line_of_their_own_and_are_matched_word_by_word() {
    let roles = roles();
    for (role, command, is_special, on, wanted) in [
        ("deployer", "systemctl restart nginx-1", false, "web-1", "allowed roles.yaml:15"),
        ("deployer", "systemctl restart nginx ; reboot", false, "web-1", "no line"),
        ("deployer", "systemctl restart", false, "web-1", "no line"),
        ("deployer", "systemctl restart nginx", true, "web-1", "no line"),
        ("deployer", "journalctl", false, "web-1", "allowed roles.yaml:15"),
        ("deployer", "journalctl -u x -f", false, "web-1", "allowed roles.yaml:15"),
        ("deployer", "uptime", false, "vm-1", "no line"),
        ("all", "uptime", false, "vm-1", "no line"),
        ("commands", "uptime", true, "vm-1", "denied roles.yaml:26"),
        ("commands", "uptime", false, "vm-1", "allowed roles.yaml:25"),
        ("commands", "rm -rf /", false, "vm-1", "denied roles.yaml:26"),
        ("admin", "rm -rf /", true, "vm-1", "allowed built in"),
        ("operator", "uptime", true, "vm-1", "allowed built in"),
        ("viewer", "uptime", false, "vm-1", "no line"),
    ] {
        let words = words(command);
        let command = Some(Command { words: &words, special: is_special });
        let deed = Deed { function: COMMAND, command, ..Deed::default() };
        assert_eq!(said(&roles, role, &deed, on), wanted, "{role} {words:?} {on}");
    }
    let one = vec!["systemctl restart nginx".to_owned()];
    let command = Some(Command { words: &one, special: false });
    let deed = Deed { function: COMMAND, command, ..Deed::default() };
    assert_eq!(said(&roles, "deployer", &deed, "web-1"), "no line", "words are not put together");
}

#[test]
fn what_is_about_no_machine_or_all_needs_a_line_for_all() {
    let roles = roles();
    for (function_name, on, wanted) in [
        ("event.send", "-", "allowed roles.yaml:20"),
        ("master.gc", "-", "no line"),
        ("job.list", "*", "denied roles.yaml:5"),
        ("job.list", "vm-1", "allowed roles.yaml:13"),
    ] {
        let deed = Deed { function: function(function_name), ..Deed::default() };
        assert_eq!(said(&roles, "deployer", &deed, on), wanted, "{function_name} {on}");
    }
    let ask = Deed { function: function("target.ask"), ..Deed::default() };
    assert!(!roles.get("deployer").unwrap().allows_all(&ask));
    assert!(roles.get("operator").unwrap().allows_all(&ask));
    assert!(roles.get("operator").unwrap().is_same_for_all(&ask));
    assert!(!roles.get("deployer").unwrap().is_same_for_all(&ask));
}

#[test]
fn every_mistake_of_a_file_is_told_with_its_place_and_nothing_of_it_is_used() {
    let file = "
roles:
  admin: {allow: []}
  Bad: {allow: []}
  one:
    alow: []
    allow:
      - {targets: vm-1}
      - {functions: state.aply, targets: 'os=debian', stats: [x]}
      - {functions: cmd.run, commands: [uptime]}
      - {functions: state.apply, targets: 'vm-1 and'}
  two: [x]
socket: {root: nobody, wheel: admin}
rules: {names: {a: one}, default: none}
more: 1
";
    let parsed = Roles::parse("roles.yaml", file);
    assert!(parsed.value.is_none());
    let told: Vec<String> =
        parsed.diagnostics.iter().map(|it| format!("{} {}", it.spans[0].line, it.message)).collect();
    let wanted = [
        "3 the role `admin` is built in",
        "4 `Bad` cannot name a role: use a-z, 0-9 and `-`, at most 32",
        "6 unknown key `alow`",
        "8 a line of a role says which `functions` it is about",
        "9 there is no function `state.aply`",
        "9 targets of roles rest on ids and labels only",
        "9 unknown key `stats`",
        "10 a command is a list of words, not text",
    ];
    for line in wanted {
        assert!(told.iter().any(|it| it == line), "{line}: {told:#?}");
    }
    assert!(told.iter().any(|it| it.starts_with("11 ")), "{told:#?}");
    for line in [
        "12 the role `two` is a mapping, not a list",
        "13 there is no role `nobody`",
        "13 unknown key `wheel`",
        "15 unknown key `more`",
    ] {
        assert!(told.iter().any(|it| it == line), "{line}: {told:#?}");
    }
    assert_eq!(told.len(), wanted.len() + 5, "{told:#?}");
}

#[test]
fn who_has_which_role_is_said_for_local_users_and_rules() {
    let empty = Roles::parse("roles.yaml", "").value.unwrap();
    assert_eq!((empty.socket().root.as_str(), empty.of_rule("x")), ("admin", "rule"));
    let file =
        "socket: {lab: operator, users: {ann: viewer}}\nrules: {default: none, names: {greet: operator}}\n";
    let roles = Roles::parse("roles.yaml", file).value.unwrap();
    assert_eq!((roles.socket().root.as_str(), roles.socket().lab.as_str()), ("admin", "operator"));
    assert_eq!(roles.socket().users["ann"], "viewer");
    assert_eq!((roles.of_rule("greet"), roles.of_rule("other")), ("operator", "none"));
}

#[test]
fn tests_of_roles_notice_what_is_left_out() {
    let roles = roles();
    let states = words("base.secrets");
    let secrets = Deed { function: function("state.apply"), states: Some(&states), ..Deed::default() };
    let line = words("systemctl restart nginx --now");
    let command = Deed {
        function: COMMAND,
        command: Some(Command { words: &line, special: false }),
        ..Deed::default()
    };
    for (part, deed) in [("deny-before-allow", &secrets), ("words-of-a-command-one-by-one", &command)] {
        let allowed = || said(&roles, "deployer", deed, "web-1").starts_with("allowed");
        assert!(!allowed(), "{part}");
        assert!(model::broken::without(Some(part), allowed), "{part}");
    }
}
