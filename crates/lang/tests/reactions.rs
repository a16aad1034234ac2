//! Salt's reactor map and reaction files: read, heard under Salt's tags, filled in without widening.

use lang::{
    Dialect, Layout, Renderer, Source, Tree,
    rules::{Action, Context, KeyAction, ResolvedTarget, Rules},
};
use model::{Event, MinionId, Source as From, Timestamp};
use serde_json::{Value, json};

const MAP: &str = "reactor:
  - 'salt/minion/*/start':
      - /srv/reactor/start.sls
  - 'salt/auth': [auth.sls]
  - 'deploy/*': [salt://reactions/deploy.sls]
  - 'salt/cloud/*/created': [start.sls]
  - 'own': [gone.sls]
";

const START: &str = "highstate_run:
    local.state.apply:
        - tgt: {{ data['id'] }}
";

const AUTH: &str = "{% if data.act == 'pend' and data['id'].startswith('web') %}
accept:
  wheel.key.accept:
    - match: {{ data['id'] }}
{% endif %}
";

const DEPLOY: &str = "{%- set where = data['data'].get('where', 'vm-1') %}
deploy:
  local.state.sls:
    - tgt: {{ where }}
    - arg: [web]
    - kwarg:
        pillar: {{ data['data'] | json }}
restart:
  local.cmd.run:
    - tgt: 'G@role:web'
    - tgt_type: compound
    - arg:
      - echo {{ data['data'].word }}
";

fn rules(files: &[(&str, &str)]) -> lang::rules::Rules {
    let salt = Dialect { renderer: Renderer::Jinja, salt: true };
    let tree = files.iter().map(|(path, text)| ((*path).to_owned(), Source::of_text(text, salt)));
    Rules::load(&Tree::new(tree)).value.unwrap()
}

fn all() -> Rules {
    rules(&[
        ("reactors/map.yaml", MAP),
        ("reactors/start.sls", START),
        ("reactors/auth.sls", AUTH),
        ("states/reactions/deploy.sls", DEPLOY),
    ])
}

fn event(tag: &str, data: Value) -> Event {
    Event {
        number: 1,
        tag: tag.to_owned(),
        source: From::Master,
        at: Timestamp(0),
        data,
        hops: 0,
        cause: Vec::new(),
    }
}

fn whom(target: &ResolvedTarget) -> String {
    match target {
        ResolvedTarget::Ids(ids) => ids.iter().map(MinionId::as_str).collect::<Vec<_>>().join(","),
        ResolvedTarget::Expression(text, _) => format!("matching {text}"),
    }
}

/// What each rule that hears an event does.
fn done(rules: &Rules, tag: &str, data: Value) -> Vec<String> {
    let event = event(tag, data);
    let context = Context::of_event(&event);
    let mut said = Vec::new();
    for rule in rules.matching(tag).filter(|it| it.holds(context).0) {
        match rule.actions(context) {
            Err(error) => said.push(format!("{}: {error}", rule.name)),
            Ok(actions) => said.extend(actions.iter().map(|it| match it {
                Action::Apply { target, states, pillar, .. } => {
                    format!("apply {states:?} {} on {}", Value::Object(pillar.clone()), whom(target))
                }
                Action::Run { target, command, .. } => format!("run {command:?} on {}", whom(target)),
                Action::Event { tag, .. } => format!("event {tag}"),
                Action::Key { act: KeyAction::Accept, minion, .. } => format!("accept {minion}"),
                other => panic!("no reaction of Salt does {other:?}"),
            })),
        }
    }
    said
}

#[test]
fn a_salt_map_reacts_to_our_events() {
    let rules = all();
    let names: Vec<&str> = rules.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["salt-start", "salt-auth", "salt-deploy", "salt-start-2"]);
    assert_eq!(done(&rules, "minion/vm-1/start", json!({})), ["apply [] {} on vm-1"]);
    assert_eq!(done(&rules, "minion/vm-1/online", json!({})), [""; 0]);
    assert_eq!(done(&rules, "key/web-1/pending", json!({})), ["accept web-1"]);
    assert_eq!(done(&rules, "key/db-1/pending", json!({})), [""; 0]);
    assert_eq!(
        done(&rules, "minion/vm-1/event/deploy/now", json!({"where": "vm-2", "word": "hello"})),
        [
            "apply [\"web\"] {\"where\":\"vm-2\",\"word\":\"hello\"} on vm-2",
            "run [\"/bin/sh\", \"-c\", \"echo hello\"] on matching G@role:web"
        ]
    );
}

#[test]
fn a_reaction_gives_way_to_a_rule_of_its_name() {
    let native = "salt-start: { on: a, do: [ { event: { tag: b } } ] }\nsalt-start-3: { on: a, do: [ { event: { tag: b } } ] }\n";
    let salt = Dialect { renderer: Renderer::Jinja, salt: true };
    let ours = Source::of_text(native, Dialect { salt: false, ..salt });
    let files = [
        ("reactors/map.yaml", MAP),
        ("reactors/start.sls", START),
        ("reactors/auth.sls", AUTH),
        ("states/reactions/deploy.sls", DEPLOY),
    ];
    let tree = files.iter().map(|(path, text)| ((*path).to_owned(), Source::of_text(text, salt)));
    let rules = Rules::load(&Tree::new(tree.chain([("reactors/own.yaml".to_owned(), ours)]))).value.unwrap();
    let mut names: Vec<&str> = rules.iter().map(|it| it.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["salt-auth", "salt-deploy", "salt-start", "salt-start-2", "salt-start-3", "salt-start-4"]
    );
}

#[test]
fn event_data_cannot_widen_a_target_or_alter_a_command() {
    let rules = all();
    let bad = [
        "*",
        "vm-*",
        "G@os:Debian",
        "vm-1 or vm-2",
        "vm-1\n    - tgt: '*'",
        "vm-1\nx:\n  local.cmd.run:\n    - tgt: vm-1",
        "['*']",
        "{a: b}",
        "vm-1 # x",
        "\u{E001}*\u{E000}",
    ];
    for place in bad {
        let said = done(&rules, "user/anna/deploy/x", json!({"where": place, "word": "x"}));
        assert!(said.len() == 1 && said[0].starts_with("salt-deploy: "), "{place:?}: {said:?}");
    }
    for word in
        ["; reboot", "$(reboot)", "`reboot`", "x\n    - tgt: '*'", "a|b", "'", "\"", "x && y", "> /etc/x"]
    {
        let said = done(&rules, "user/anna/deploy/x", json!({"word": word}));
        assert!(said.len() == 1 && said[0].starts_with("salt-deploy: "), "{word:?}: {said:?}");
    }
}

/// Reaction files that print the same word in every place where a template can.
const PLACES: [(&str, &str); 7] = [
    ("reactors/plain.sls", "- echo {{ data['data'].word }}"),
    ("reactors/quoted.sls", "- \"echo {{ data['data'].word }}\""),
    ("reactors/single.sls", "- 'echo {{ data['data'].word }}'"),
    ("reactors/include.sls", "- {% include 'frag' %}"),
    ("reactors/filter.sls", "- echo {% filter trim %}{{ data['data'].word }}{% endfilter %}"),
    ("reactors/macro.sls", "- echo {% macro it() %}{{ data['data'].word }}{% endmacro %}{{ it() }}"),
    (
        "reactors/call.sls",
        "- echo {% macro it() %}{{ caller() }}{% endmacro %}{% call it() %}{{ data['data'].word }}{% endcall %}",
    ),
];

#[test]
fn nothing_that_an_event_brings_leaves_its_marks() {
    let names = PLACES.map(|(path, _)| format!("    - /srv/{path}\n")).concat();
    let map = format!("reactor:\n  - 'own':\n{names}");
    let bodies = PLACES.map(|(path, line)| {
        (path, format!("x:\n  local.cmd.run:\n    - tgt: vm-1\n    - arg:\n      {line}\n"))
    });
    let mut files =
        vec![("reactors/map.yaml", map.as_str()), ("reactors/frag", "echo {{ data['data'].word }}")];
    files.extend(bodies.iter().map(|(path, body)| (*path, body.as_str())));
    let rules = rules(&files);
    let said = done(&rules, "user/anna/own", json!({"data": 1, "word": "hello"}));
    assert_eq!(said, vec!["run [\"/bin/sh\", \"-c\", \"echo hello\"] on matching vm-1"; PLACES.len()]);
    for word in [
        "\u{E001}; reboot \u{E000}x",
        "\\uE001; reboot \\uE000x",
        "\\U0000E001; reboot \\U0000E000x",
        "\u{E001}\n    - tgt: '*'\n    - arg:\n      - reboot \u{E000}",
        "x\ny:\n  local.cmd.run:\n    - tgt: '*'\n    - arg: [reboot]",
        "[{\"$(reboot)\": 1}]",
        "[\"; reboot\"]",
        "\"\\ue001; reboot \\ue000\"",
        "x /etc",
        "../x",
        "-x",
        "",
    ] {
        let said = done(&rules, "user/anna/own", json!({"data": 1, "word": word}));
        assert_eq!(said.len(), PLACES.len(), "{word:?}: {said:?}");
        assert!(said.iter().all(|it| it.starts_with("salt-")), "{word:?}: {said:?}");
    }
}

#[test]
fn what_a_map_asks_for_and_there_is_not_is_a_warning_with_its_place() {
    let salt = Dialect { renderer: Renderer::Jinja, salt: true };
    let files = [("reactors/map.yaml", MAP), ("reactors/start.sls", START)];
    let tree = Tree::new(files.map(|(path, text)| (path.to_owned(), Source::of_text(text, salt))));
    let told: Vec<String> = Rules::load(&tree)
        .diagnostics
        .iter()
        .map(|it| format!("{}:{} {} {}", it.spans[0].file, it.spans[0].line, it.code, it.message))
        .collect();
    assert_eq!(
        told,
        [
            "reactors/map.yaml:4 E0804 there is no reaction file `auth.sls`",
            "reactors/map.yaml:5 E0804 there is no reaction file `salt://reactions/deploy.sls`",
            "reactors/map.yaml:6 E0804 nothing here has a tag that `salt/cloud/*/created` matches",
            "reactors/map.yaml:7 E0804 there is no reaction file `gone.sls`",
        ]
    );
}

#[test]
fn a_reaction_that_cannot_be_filled_in_says_why() {
    let map = "reactor:\n  - 'salt/minion/*/start': [a.sls, b.sls, c.sls]\n";
    let rules = rules(&[
        ("reactors/map.yaml", map),
        ("reactors/a.sls", "a:\n  local.state.apply:\n    - tgt: {{ data.nothing }}\n"),
        ("reactors/b.sls", "a:\n  runner.state.orchestrate:\n    - args:\n      - mods: x\n"),
        ("reactors/c.sls", "{% for x in range(100000000) %}{% endfor %}\n"),
    ]);
    let said = done(&rules, "minion/vm-1/start", json!({}));
    assert_eq!(said.len(), 3);
    assert!(said[0].starts_with("salt-a: reactors/a.sls: "), "{said:?}");
    assert!(said[1].contains("there is no `runner.state.orchestrate`"), "{said:?}");
    assert!(said[2].starts_with("salt-c: reactors/c.sls: "), "{said:?}");
}

#[test]
fn the_map_of_a_configuration_is_one_of_the_tree() {
    let mut reader = lang::ConfigReader::new(
        "m.yaml",
        "reactor:\n  - 'salt/minion/*/start': [it's.sls]\n  - x\n",
        &Layout::KEYS,
    );
    let path = |it: &str| Ok(it.into());
    let layout = Layout::read(&mut reader, path, Vec::new());
    assert_eq!(reader.finish()[0].message, "an entry of `reactor` maps a tag to a list of files");
    let salt = Dialect { renderer: Renderer::Jinja, salt: true };
    let file = ("reactors/it's.sls".to_owned(), Source::of_text(START, salt));
    let rules = Rules::load(&Tree::new(layout.reactor_file().into_iter().chain([file]))).value.unwrap();
    assert_eq!(done(&rules, "minion/vm-1/start", json!({})), ["apply [] {} on vm-1"]);
}
