//! Cases as data: a machine and steps in `cases/*.toml`, what comes of them in the `.txt` beside it (`UPDATE=1` writes
//! it). Then each case again with every call to the machine failing in turn.

use model::{ContentHash, Global, Link, Mode, Outcome, Recipe, RunReport, Step};
use resources::{
    Progress, RunOptions,
    fake_host::{FakeHost, Machine},
    run,
};
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use similar::TextDiff;
use std::{
    fmt::Write,
    fs,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    check: bool,
    #[serde(default)]
    secrets: Vec<String>,
    /// Contents; `@0` in parameters is the first one's hash.
    #[serde(default)]
    blobs: Vec<String>,
    #[serde(default)]
    before: Machine,
    steps: Vec<CaseStep>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseStep {
    kind: String,
    params: Map<String, Value>,
    #[serde(default)]
    links: Vec<Link>,
    #[serde(default)]
    global: Global,
}

impl Case {
    fn host(&self) -> FakeHost {
        let machine = Machine::default().with(&self.before);
        self.blobs.iter().fold(FakeHost::new(machine), |host, blob| host.with_blob(blob.as_bytes()))
    }

    fn recipe(&self) -> Recipe {
        let hash = |blob: &String| ContentHash(Sha256::digest(blob).into()).to_string();
        let hashes: Vec<String> = self.blobs.iter().map(hash).collect();
        let steps = self.steps.iter().map(|it| {
            let mut text = serde_json::to_string(&it.params).unwrap();
            for (index, hash) in hashes.iter().enumerate() {
                text = text
                    .replace(&format!("\"@{index}\""), &format!("\"{hash}\""))
                    .replace(&format!("@@{index}"), hash);
            }
            let (state, fun) = it.kind.split_once('.').unwrap();
            let name = it.params["name"].as_str().unwrap().to_owned();
            Step {
                id: name.clone(),
                sls: "case".to_owned(),
                state: state.to_owned(),
                fun: fun.to_owned(),
                name,
                params: serde_json::from_str(&text).unwrap(),
                links: it.links.clone(),
                global: it.global.clone(),
                at: None,
            }
        });
        Recipe { steps: steps.collect(), secrets: self.secrets.clone().into(), ..Recipe::default() }
    }

    fn run(&self, host: &mut FakeHost) -> (RunReport, String) {
        let clock = AtomicU64::new(0);
        let options = RunOptions {
            mode: if self.check { Mode::Check } else { Mode::Apply },
            cancelled: &|| false,
            clock_ms: &|| clock.fetch_add(1, Ordering::Relaxed),
            pause_ms: &|_| (),
        };
        let mut live = String::new();
        let report = run(&self.recipe(), &options, host, &mut |progress| match progress {
            Progress::Output { text, .. } => live.push_str(&text),
            Progress::Event { tag, id, name, data, .. } if data.is_null() => {
                writeln!(live, "event {tag} of {id} {name}").unwrap();
            }
            Progress::Event { tag, id, name, data, .. } => {
                writeln!(live, "event {tag} of {id} {name}: {data}").unwrap();
            }
            Progress::Started { .. } | Progress::Ended(_) => (),
        });
        (report, live)
    }
}

fn json(machine: &Machine) -> String {
    serde_json::to_string_pretty(machine).unwrap() + "\n"
}

fn tell(case: &Case) -> String {
    let mut host = case.host();
    let before = host.machine.clone();
    let (report, live) = case.run(&mut host);
    let mut text = format!("== {}\n", case.name);
    for step in &report.steps {
        let word = serde_json::to_value(step.outcome).unwrap();
        writeln!(text, "{} {} {}: {}", step.index, word.as_str().unwrap(), step.kind, step.comment).unwrap();
        for change in &step.plan.changes {
            let or_none = |it: &Option<String>| it.clone().unwrap_or_else(|| "-".to_owned());
            writeln!(text, "  {}: {} -> {}", change.what, or_none(&change.from), or_none(&change.to))
                .unwrap();
            for line in change.diff.iter().flat_map(|it| it.lines()) {
                writeln!(text, "    {line}").unwrap();
            }
        }
    }
    for line in live.lines() {
        writeln!(text, "live: {line}").unwrap();
    }
    for line in TextDiff::from_lines(json(&before), json(&host.machine))
        .unified_diff()
        .context_radius(1)
        .to_string()
        .lines()
    {
        writeln!(text, "machine: {line}").unwrap();
    }
    text + "\n"
}

/// Every call fails in turn: the run ends with a failure, or the machine is as without one; never a panic.
fn survives_every_failure(case: &Case) -> usize {
    let mut whole = case.host();
    case.run(&mut whole);
    for at in 1..=whole.calls() {
        let mut host = case.host();
        host.fail_at = Some(at);
        let (report, _) = case.run(&mut host);
        let failed: Vec<_> = report.steps.iter().filter(|it| it.outcome == Outcome::Failed).collect();
        for step in &failed {
            assert!(!step.comment.contains("a mistake in labctl itself"), "{} at {at}: {step:?}", case.name);
            assert!(!step.comment.is_empty(), "{} at {at}: {step:?}", case.name);
        }
        if failed.is_empty() && !case.check {
            assert_eq!(json(&host.machine), json(&whole.machine), "{}: call {at} failed unseen", case.name);
        }
    }
    whole.calls()
}

/// What has converged is left alone by a second run, unless it holds commands or deliberate failures.
fn is_idempotent(case: &Case) {
    let mut host = case.host();
    let (first, _) = case.run(&mut host);
    let settled = |it: &model::StepReport| {
        matches!(it.outcome, Outcome::Ok | Outcome::Changed)
            && !it.kind.starts_with("cmd.")
            && !it.kind.starts_with("test.")
            && !it.kind.starts_with("module.")
            && !it.kind.starts_with("event.")
            && !it.kind.starts_with("mysql_query.")
    };
    if case.check || !first.steps.iter().all(settled) {
        return;
    }
    let machine = host.machine.clone();
    let (second, _) = case.run(&mut host);
    assert!(second.steps.iter().all(|it| it.outcome == Outcome::Ok), "{}: {second:#?}", case.name);
    assert_eq!(machine, host.machine, "{}", case.name);
}

#[test]
fn every_case_does_what_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|it| it.unwrap().path()).collect();
    files.retain(|it| it.extension().is_some_and(|it| it == "toml"));
    files.sort();
    let (mut wrong, mut calls) = (Vec::new(), 0);
    for file in files {
        let parsed: CaseFile = toml::from_str(&fs::read_to_string(&file).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let told: String = parsed.case.iter().map(tell).collect();
        let golden = file.with_extension("txt");
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&golden, &told).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        if told != expected {
            let diff = TextDiff::from_lines(&expected, &told).unified_diff().to_string();
            wrong.push(format!("{}\n{diff}", golden.display()));
        }
        calls += parsed.case.iter().map(survives_every_failure).sum::<usize>();
        parsed.case.iter().for_each(is_idempotent);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(calls > 400, "only {calls} calls failed in turn: are the cases there?");
}

#[test]
fn every_function_has_a_case_docs_and_an_example() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let read = |it: std::io::Result<fs::DirEntry>| fs::read_to_string(it.unwrap().path()).unwrap();
    let cases: String = fs::read_dir(folder).unwrap().map(read).collect();
    for module in resources::modules() {
        assert!(!module.doc.text().is_empty(), "tests run with the feature `docs`: cargo test --workspace");
        for function in module.functions {
            let kind = format!("{}.{}", module.name, function.name);
            assert!(cases.contains(&format!("\"{kind}\"")), "{kind} has no case");
            assert!(!function.doc.text().is_empty() && !function.examples.texts().is_empty(), "{kind}");
            assert!(function.examples.texts().iter().all(|it| it.contains(&kind)), "{kind}");
            assert_eq!(function.params[0].name, "name", "{kind}");
            assert!(function.params.iter().all(|it| !it.doc.text().is_empty()), "{kind}");
        }
    }
}
