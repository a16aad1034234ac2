//! Functions that alter text, beside what Salt 3008.3 made of the same files with the same parameters: inputs of our own,
//! recorded outcomes in `salt/text.json`.

use model::{Global, Mode, Outcome, Recipe, Step};
use resources::{
    RunOptions,
    fake_host::{FakeHost, Machine, Node},
    run,
};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::{fmt::Write, fs, path::Path};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recorded {
    kind: String,
    before: Option<String>,
    params: Map<String, Value>,
    ok: bool,
    after: Option<String>,
    backup: Option<String>,
    /// Why ours is different.
    differs: Option<String>,
}

const FILE: &str = "/etc/file";

impl Recorded {
    fn step(&self) -> Step {
        let (state, fun) = self.kind.split_once('.').unwrap();
        let mut params = self.params.clone();
        params.insert("name".to_owned(), FILE.into());
        Step {
            id: "it".to_owned(),
            sls: "case".to_owned(),
            state: state.to_owned(),
            fun: fun.to_owned(),
            name: FILE.to_owned(),
            params,
            links: Vec::new(),
            global: Global::default(),
            at: None,
        }
    }

    /// What is different from Salt.
    fn complaint(&self) -> Option<String> {
        let mut machine = Machine::default();
        if let Some(text) = &self.before {
            machine.files.insert(FILE.to_owned(), Node { contents: Some(text.clone()), ..Node::default() });
        }
        let mut host = FakeHost::new(machine);
        let recipe = Recipe { steps: vec![self.step()], ..Recipe::default() };
        let options =
            RunOptions { mode: Mode::Apply, cancelled: &|| false, clock_ms: &|| 0, pause_ms: &|_| () };
        let report = run(&recipe, &options, &mut host, &mut |_| ());
        let step = &report.steps[0];
        let contents = |path: &str| host.machine.files.get(path).and_then(|it| it.contents.clone());
        let ok = step.outcome != Outcome::Failed;
        let mut text = String::new();
        if ok != self.ok {
            writeln!(text, "  ok is {ok}: {}", step.comment).unwrap();
        }
        if contents(FILE) != self.after {
            writeln!(text, "  contents {:?}, not {:?}", contents(FILE), self.after).unwrap();
        }
        if let Some(suffix) = &self.backup
            && contents(&format!("{FILE}{suffix}")) != self.before
        {
            writeln!(text, "  no backup {suffix}").unwrap();
        }
        if self.backup.is_none() && contents("/etc/file.bak").is_some() {
            writeln!(text, "  a backup").unwrap();
        }
        (!text.is_empty()).then_some(text)
    }
}

#[test]
fn text_becomes_what_salt_makes_of_it() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/salt/text.json");
    let recorded: Vec<Recorded> = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    assert!(recorded.len() > 500, "{}", recorded.len());
    let mut wrong = String::new();
    for (index, it) in recorded.iter().enumerate() {
        let complaint = it.complaint();
        match (&it.differs, complaint) {
            (None, Some(complaint)) => {
                let params = serde_json::to_string(&it.params).unwrap();
                writeln!(wrong, "{index} {} {params} of {:?}\n{complaint}", it.kind, it.before).unwrap();
            }
            (Some(why), None) => writeln!(wrong, "{index} differs no more: {why}").unwrap(),
            _ => (),
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
