//! Every function of the state modules on a real, booted Debian: `functions/*.yaml` say how it is before and what is
//! wanted, the `.txt` beside each what comes of it in a check, an apply and a second apply (`UPDATE=1` writes it).

use crate::machine::{Observer, fingerprint};
use lang::{Compiler, Subject, Tree, Wanted, value_of_yaml};
use minion::{core::RunEnd, worker::Said};
use model::{Answers, Outcome, Recipe, RunReport};
use serde::Deserialize;
use serde_json::Map;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::PathBuf,
};
use tests::{hosts::Host, program, project, roots_missing, skip};

/// What must be shown of each function.
const WAYS: [&str; 4] = ["created", "unchanged", "changed", "failed"];

/// What the project promises.
const FUNCTIONS: &[&str] = &[
    "cmd.run",
    "cron.present",
    "file.absent",
    "file.directory",
    "file.managed",
    "file.recurse",
    "file.symlink",
    "git.latest",
    "group.absent",
    "group.present",
    "pkg.held",
    "pkg.installed",
    "pkg.latest",
    "pkg.purged",
    "pkg.removed",
    "pkg.unheld",
    "pkgrepo.absent",
    "pkgrepo.managed",
    "service.dead",
    "service.disabled",
    "service.enabled",
    "service.masked",
    "service.running",
    "service.unmasked",
    "ssh_auth.absent",
    "ssh_auth.manage",
    "ssh_auth.present",
    "ssh_known_hosts.absent",
    "ssh_known_hosts.present",
    "sysctl.present",
    "user.absent",
    "user.present",
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Module {
    /// Script that is run once.
    #[serde(default)]
    prepare: String,
    /// Folders whose files are compared by content.
    #[serde(default)]
    watch: Vec<String>,
    /// Script that says more about the machine.
    #[serde(default)]
    observe: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// `way function`, for the list of what must be shown.
    shows: String,
    /// Script that brings the machine to where it is before.
    #[serde(default)]
    before: String,
    /// Files of the tree besides the states.
    #[serde(default)]
    tree: BTreeMap<String, String>,
    /// The state file.
    states: String,
    /// A function that only ever creates or removes has no such way, for the reason given here.
    #[serde(default)]
    instead_of: Vec<String>,
}

fn folder() -> PathBuf {
    project().join("tests/roots/functions")
}

fn load(module: &str) -> Module {
    let path = folder().join(format!("{module}.yaml"));
    let text = fs::read_to_string(&path).unwrap();
    let compiled = value_of_yaml(path.to_str().unwrap(), &text);
    let value = compiled.value.unwrap_or_else(|| panic!("{:?}", compiled.diagnostics));
    serde_json::from_value(value).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn compile(case: &Case) -> Recipe {
    let own = ("states/case.sls", case.states.as_str());
    let files = case.tree.iter().map(|(path, text)| (path.as_str(), text.as_str()));
    let compiler = Compiler::new(Tree::of_texts(files.chain([own])));
    let (id, grains, labels) = ("vm-1".parse().unwrap(), model::Grains::default(), model::Labels::default());
    let subject = Subject { id: &id, grains: &grains, labels: &labels, answers: Answers::none() };
    let recipe = compiler.compile(subject, &Wanted::Named(vec!["case".to_owned()]), &Map::new());
    recipe.value.unwrap_or_else(|| panic!("{}: {:?}", case.name, recipe.diagnostics))
}

fn run(host: &Host, recipe: &[u8], check: bool) -> RunReport {
    let flag = if check { " --check" } else { "" };
    let output = host.feed(&format!("/usr/local/bin/labminion run-recipe{flag}"), recipe);
    let last = String::from_utf8_lossy(&output.stdout).lines().last().unwrap_or_default().to_owned();
    match serde_json::from_str(&last) {
        Ok(Said::End(RunEnd::Report { report, .. })) => *report,
        other => panic!("{other:?}\n{}", String::from_utf8_lossy(&output.stderr)),
    }
}

fn tell(text: &mut String, title: &str, report: &RunReport) {
    for step in &report.steps {
        let word = serde_json::to_value(step.outcome).unwrap();
        let comment = without_process(step.comment.trim()).replace('\n', "\n    ");
        writeln!(text, "{title}: {} {} {}: {comment}", word.as_str().unwrap(), step.kind, step.name).unwrap();
    }
}

/// What the words of a way are in a check, an apply and a second apply.
fn words(case: &Case) -> [Outcome; 3] {
    match case.shows.split_once(' ').expect("`way function`") {
        ("unchanged", _) => [Outcome::Ok; 3],
        // Without a guard a command is run each time.
        ("created" | "changed", "cmd.run") if !case.states.contains("creates:") => {
            [Outcome::WouldChange, Outcome::Changed, Outcome::Changed]
        }
        ("created" | "changed", _) => [Outcome::WouldChange, Outcome::Changed, Outcome::Ok],
        ("failed", _) => [Outcome::Failed; 3],
        (other, _) => panic!("{other}"),
    }
}

fn same(before: &BTreeSet<String>, after: &BTreeSet<String>, case: &Case, what: &str) {
    let differing: Vec<&String> = before.symmetric_difference(after).collect();
    assert!(differing.is_empty(), "{}: {what}\n{differing:#?}", case.name);
}

/// A process has another number each time.
fn without_process(text: &str) -> String {
    const NUMBERED: &str = "by process ";
    let Some((before, after)) = text.split_once(NUMBERED) else { return text.to_owned() };
    format!("{before}{NUMBERED}N{}", after.trim_start_matches(|it: char| it.is_ascii_digit()))
}

fn try_case(host: &Host, observer: &Observer<'_>, case: &Case) -> String {
    let mut text = format!("== {} ({})\n", case.name, case.shows);
    if !case.before.is_empty() {
        host.sh(&case.before);
    }
    let recipe = serde_json::to_vec(&compile(case)).unwrap();
    let (before, tree) = (observer.look(), fingerprint(&host.root()));

    let checked = run(host, &recipe, true);
    tell(&mut text, "check", &checked);
    same(&tree, &fingerprint(&host.root()), case, "a check alters nothing");
    same(&before, &observer.look(), case, "a check alters nothing");

    let applied = run(host, &recipe, false);
    tell(&mut text, "apply", &applied);
    let (after, tree) = (observer.look(), fingerprint(&host.root()));
    for line in before.difference(&after) {
        writeln!(text, "- {line}").unwrap();
    }
    for line in after.difference(&before) {
        writeln!(text, "+ {line}").unwrap();
    }

    let again = run(host, &recipe, false);
    tell(&mut text, "again", &again);
    let words = words(case);
    if words[2] == Outcome::Ok {
        same(&tree, &fingerprint(&host.root()), case, "a second apply alters nothing");
    }
    let last = |report: &RunReport| report.steps.last().unwrap().outcome;
    let seen = [last(&checked), last(&applied), last(&again)];
    // What cannot be known before it is tried fails in the apply only.
    let failed_late =
        words == [Outcome::Failed; 3] && seen[1] == Outcome::Failed && seen[0] == Outcome::WouldChange;
    assert!(seen == words || failed_late, "{}: {seen:?}\n{text}", case.name);
    text
}

fn try_module(module: &str) {
    let name = format!("functions::{module}");
    if let Some(reason) = roots_missing() {
        return skip(&name, &reason);
    }
    let Module { prepare, watch, observe, cases } = load(module);
    let mut host = Host::prepare(module);
    fs::copy(program("labminion"), host.root().join("usr/local/bin/labminion")).unwrap();
    host.boot(None);
    host.sh("apt-get update -qq");
    if !prepare.is_empty() {
        host.sh(&prepare);
    }
    let observer = Observer { host: &host, watch: &watch, script: &observe };
    let text: Vec<String> = cases.iter().map(|case| try_case(&host, &observer, case)).collect();
    let text = text.join("\n");
    let golden = folder().join(format!("{module}.txt"));
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&golden, &text).unwrap();
    }
    let wanted = fs::read_to_string(&golden).unwrap_or_default();
    assert!(text == wanted, "{} is not what came of it (UPDATE=1 writes it):\n{text}", golden.display());
}

macro_rules! modules {
    ($($name:ident => $module:literal,)*) => {
        const MODULES: &[&str] = &[$($module),*];
        $(#[test]
        fn $name() {
            try_module($module);
        })*
    };
}

modules! {
    files_are_as_wanted => "file",
    commands_are_run => "cmd",
    packages_come_and_go => "pkg",
    services_are_as_wanted => "service",
    users_and_groups_are_as_wanted => "accounts",
    keys_of_users_and_hosts_are_as_wanted => "ssh",
    cron_jobs_are_present => "cron",
    kernel_parameters_are_set => "sysctl",
    repositories_are_cloned_and_followed => "git",
}

#[test]
fn each_function_is_shown_in_each_way() {
    let mut shown = BTreeSet::new();
    for module in MODULES {
        for case in load(module).cases {
            shown.extend(case.instead_of);
            shown.insert(case.shows);
        }
    }
    let wanted = FUNCTIONS.iter().flat_map(|function| WAYS.map(|way| format!("{way} {function}")));
    let missing: Vec<String> = wanted.filter(|it| !shown.contains(it)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
