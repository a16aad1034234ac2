//! What is fuzzed, each with the signature of libFuzzer's entry: bytes in, nothing out, and no panic whatever they are.
//! Whoever has cargo-fuzz writes `fuzz_target!(|data: &[u8]| targets::yaml(data));` around one of them.

use lang::{
    ConfigReader, Dialect, Layout, Renderer, Source, Subject, Tree, Wanted, rules::Rules, target::Target,
};
use model::{Answers, Grains, Labels, MinionId};
use serde_json::{Map, json};

/// A target.
pub(crate) type Entry = fn(&[u8]);

/// All, by name.
pub(crate) const TARGETS: &[(&str, Entry)] = &[
    ("yaml", yaml),
    ("handlebars", handlebars),
    ("jinja", jinja),
    ("target", target),
    ("rules", rules),
    ("reactions", reactions),
    ("top", top),
    ("import", import),
];

const SALT: Dialect = Dialect { renderer: Renderer::Jinja, salt: true };

fn text(data: &[u8]) -> String {
    String::from_utf8_lossy(data).into_owned()
}

fn compile(files: &[(&str, &str)], dialect: Dialect, wanted: &Wanted) {
    let files = files.iter().map(|(path, text)| ((*path).to_owned(), Source::of_text(text, dialect)));
    let compiler = lang::Compiler::new(Tree::new(files));
    let id: MinionId = "vm-1".parse().expect("it is a name");
    let grains: Grains =
        json!({"os": "Debian", "ips": ["10.0.0.1"], "n": {"a": 1}}).as_object().cloned().unwrap_or_default();
    let (labels, answers) = (Labels::new(), Answers::default());
    let subject = Subject { id: &id, grains: &grains, labels: &labels, answers: &answers };
    let made = compiler.compile(subject, wanted, &Map::new());
    lang::render_diagnostics(&made.diagnostics, lang::Paint::Plain);
}

fn state(body: &[u8], dialect: Dialect) {
    let files = [("states/a.sls", &*text(body)), ("states/b.sls", "b:\n  test.nop: []\n")];
    compile(&files, dialect, &Wanted::Named(vec!["a".to_owned()]));
}

/// YAML: values, configuration, formatting, a state file without templates.
pub(crate) fn yaml(data: &[u8]) {
    let body = text(data);
    let _ = lang::value_of_yaml("x.yaml", &body);
    if let Ok(made) = lang::format_yaml(&body) {
        assert_eq!(lang::format_yaml(&made).as_ref(), Ok(&made), "formatted twice is formatted once");
    }
    let mut reader = ConfigReader::new("m.yaml", &body, &Layout::KEYS);
    Layout::read(&mut reader, |it| Ok(it.into()), Vec::new());
    reader.finish();
    state(data, Dialect { renderer: Renderer::Plain, salt: false });
}

/// A state file in Handlebars.
pub(crate) fn handlebars(data: &[u8]) {
    state(data, Dialect::default());
}

/// A state file in Jinja.
pub(crate) fn jinja(data: &[u8]) {
    state(data, SALT);
}

/// A target expression.
pub(crate) fn target(data: &[u8]) {
    let _ = Target::parse(&text(data));
}

/// A file of rules, with its conditions.
pub(crate) fn rules(data: &[u8]) {
    let body = text(data);
    Rules::load(&Tree::of_texts([("reactors/r.yaml", body.as_str()), ("states/web.sls", "")]));
    let line = body.lines().next().unwrap_or_default().replace('\'', "''");
    let rule = format!("r:\n  on: minion/+/start\n  when: '{line}'\n  do: [{{apply: {{target: x}}}}]\n");
    Rules::load(&Tree::of_texts([("reactors/r.yaml", rule.as_str())]));
}

/// A reaction file of Salt's.
pub(crate) fn reactions(data: &[u8]) {
    let body = text(data);
    let files = [("reactors/map.yaml", "reactor:\n  - 'x': [r.sls]\n"), ("reactors/r.sls", body.as_str())];
    let tree = files.map(|(path, text)| (path.to_owned(), Source::of_text(text, SALT)));
    let Some(rules) = Rules::load(&Tree::new(tree)).value else { return };
    let event = model::Event {
        number: 1,
        tag: "user/a/x".to_owned(),
        source: model::Source::Master,
        at: model::Timestamp(0),
        data: json!({"id": "*", "word": body.lines().next_back()}),
        hops: 0,
        cause: Vec::new(),
    };
    let context = lang::rules::Context::of_event(&event);
    for rule in rules.matching("user/a/x") {
        let _ = rule.actions(context);
    }
}

/// A top file.
pub(crate) fn top(data: &[u8]) {
    for dialect in [Dialect::default(), SALT] {
        let files = [
            ("states/top.sls", &*text(data)),
            ("states/a.sls", "a:\n  test.nop: []\n"),
            ("pillar/top.sls", &*text(data)),
        ];
        compile(&files, dialect, &Wanted::Assigned);
    }
}

/// A tree and a configuration of Salt that are looked through.
pub(crate) fn import(data: &[u8]) {
    let body = text(data);
    let tree = [("states/a.sls", &body), ("states/b/init.sls", &body), ("pillar/a.sls", &body)];
    let tree = tree.map(|(path, text)| (path.to_owned(), Source::of_text(text, SALT)));
    lang::salt::survey(&Tree::new(tree));
    lang::salt::Master::default().add("master", &body);
}
