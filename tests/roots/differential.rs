//! Same effect as Salt: one tree, applied by `salt-call --local` and by us to two copies of one Debian root, and then
//! whatever differs. `salt/GROUP/` are the trees, `salt/differences.yaml` what may differ, and why.

mod compare;
mod ours;
mod theirs;

use crate::machine::fingerprint;
use compare::{Allowed, Findings, Look};
use model::{Grains, Outcome};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};
use tests::{hosts::Host, program, project, roots_missing, salt, skip, trees, wait};

/// Where both hosts see the tree.
const TREE: &str = "/opt/tree";

/// Where both hosts see our programs.
const PROGRAMS: &str = "/opt/labctl";

/// `group.yaml` of a tree.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Group {
    /// Script that is run on both hosts before.
    prepare: String,
    /// Script that says more about a host afterwards.
    observe: String,
    /// Script that succeeds once nothing that the states left running is still at work. Tried again until it does.
    settled: String,
    /// Grains that the machine itself does not say.
    grains: Grains,
    /// Which states; none are what top.sls assigns.
    states: Vec<String>,
}

/// A tree in a folder: as its users have it on the master.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    /// What its folder of states is called.
    states: &'static str,
}

/// What each step came to, by kind, id and name.
type Words = BTreeMap<String, &'static str>;

/// The steps of a run in order, and their words.
#[derive(Debug, Default)]
struct Told {
    order: Vec<String>,
    words: Words,
}

impl Told {
    fn push(&mut self, step: &str, word: &'static str) {
        let mut name = step.to_owned();
        let mut count = 1;
        while self.words.contains_key(&name) {
            count += 1;
            name = format!("{step} ({count})");
        }
        self.order.push(name.clone());
        self.words.insert(name, word);
    }
    /// A step, known by the start and the end of its name, did something more at the end of the run.
    fn refreshed(&mut self, start: &str, end: &str) {
        let step = self.words.iter_mut().find(|(step, _)| step.starts_with(start) && step.ends_with(end));
        *step.expect("it ran before").1 = "changed";
    }
    /// In order, what the other one has as well.
    fn common(&self, other: &Self) -> Vec<&String> {
        self.order.iter().filter(|it| other.words.contains_key(*it)).collect()
    }
    fn changed(&self) -> BTreeSet<&String> {
        self.words.iter().filter(|(_, word)| **word == "changed").map(|(step, _)| step).collect()
    }
}

/// One side's first apply.
#[derive(Debug)]
struct Ran {
    told: Told,
    /// What it said, for people who look for the reason of a difference.
    comments: String,
    /// What the host is like afterwards.
    look: Look,
}

fn folder() -> PathBuf {
    project().join("tests/roots/salt")
}

fn yaml<T: serde::de::DeserializeOwned>(path: &Path) -> T {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let compiled = lang::value_of_yaml(path.to_str().unwrap(), &text);
    let value = compiled.value.unwrap_or_else(|| panic!("{:?}", compiled.diagnostics));
    serde_json::from_value(value).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Two hosts that are the same but for what is bound into them.
fn hosts(tree: &Folder, group: &Group) -> [Host; 2] {
    let programs = program("labctl").parent().unwrap().to_owned();
    let hosts = ["theirs", "ours"].map(|which| {
        let mut host = Host::prepare("vm-1");
        if which == "theirs" {
            salt::install(&mut host);
        } else {
            host.bind(&programs, PROGRAMS);
        }
        host.bind(&tree.path, TREE);
        host.boot(None);
        host
    });
    std::thread::scope(|scope| {
        for host in &hosts {
            scope.spawn(|| host.sh(&format!("apt-get update -qq\n{}", group.prepare)));
        }
    });
    hosts
}

impl Group {
    /// Waits until the host does no more by itself.
    fn settle(&self, host: &Host) {
        wait::until("the end of what the states left running", wait::seconds(60), || {
            host.run(&self.settled).status.success().then_some(())
        });
    }
}

/// The words of a report.
fn words(report: &model::RunReport) -> Told {
    let mut told = Told::default();
    for step in &report.steps {
        let word = match step.outcome {
            Outcome::Ok => "ok",
            Outcome::Changed | Outcome::WouldChange => "changed",
            Outcome::Failed => "failed",
            Outcome::Skipped | Outcome::Unknown => "not run",
        };
        told.push(&format!("{} {} {}", step.kind, step.id, step.name), word);
    }
    told
}

/// Notes each step whose word is another.
fn differ(findings: &mut Findings, key: &str, names: [&str; 2], one: &Words, other: &Words) {
    for step in one.keys().chain(other.keys()).collect::<BTreeSet<_>>() {
        let [left, right] = [one, other].map(|it| it.get(step).copied().unwrap_or("no such step"));
        if left != right {
            findings.note(format!("{key} {step}"), format!("{}: {left}, {}: {right}", names[0], names[1]));
        }
    }
}

/// Notes each step that an apply did something else to than was planned. That it would fail a plan need not know.
fn agree(findings: &mut Findings, key: &str, plan: &Told, apply: &Told) {
    let mut planned = plan.words.clone();
    for (step, word) in &mut planned {
        if *word == "changed" && apply.words.get(step) == Some(&"failed") {
            *word = "failed";
        }
    }
    differ(findings, key, ["plan", "apply"], &planned, &apply.words);
}

/// Runs ours four times: plan, apply, apply again, plan again; notes where they disagree.
fn run_ours(host: &Host, recipe: &[u8], group: &Group, always: &Told, findings: &mut Findings) -> Ran {
    let still = fingerprint(&host.root());
    let planned = ours::run(host, recipe, ours::Mode::Check);
    findings.same("a plan wrote", &still, &fingerprint(&host.root()));
    let applied = ours::run(host, recipe, ours::Mode::Apply);
    let comments = ours::comments(&applied);
    let (planned, applied) = (words(&planned), words(&applied));
    agree(findings, "plan", &planned, &applied);
    group.settle(host);
    let look = Look::at(host, &group.observe);

    let still = fingerprint(&host.root());
    let replanned = words(&ours::run(host, recipe, ours::Mode::Check));
    findings.same("a plan wrote", &still, &fingerprint(&host.root()));
    let again = words(&ours::run(host, recipe, ours::Mode::Apply));
    agree(findings, "plan again", &replanned, &again);
    for step in again.changed().difference(&always.changed()) {
        findings.note(format!("again {step}"), "a second run changes it, but not Salt's".to_owned());
    }
    // A step that failed is tried again.
    if again.words.values().all(|it| ["ok", "not run"].contains(it)) {
        findings.same("a second run wrote", &still, &fingerprint(&host.root()));
    }
    Ran { told: applied, comments, look }
}

fn try_group(name: &str, tree: &Folder, group: &Group) {
    let [theirs, ours] = hosts(tree, group);
    let mut findings = Findings::default();
    let (salt, always) = theirs::run(&theirs, tree, group);
    let labctl = run_ours(&ours, &ours::compile(&ours, tree, group), group, &always, &mut findings);
    differ(&mut findings, "step", ["Salt", "labctl"], &salt.told.words, &labctl.told.words);
    let orders = [salt.told.common(&labctl.told), labctl.told.common(&salt.told)];
    if orders[0] != orders[1] {
        findings.note("order".to_owned(), format!("Salt: {:#?}, labctl: {:#?}", orders[0], orders[1]));
    }
    salt.look.differ(&labctl.look, &mut findings);
    let left = Allowed::load(&folder().join("differences.yaml")).judge(name, &findings);
    let said = format!("== Salt\n{}\n== labctl\n{}", salt.comments, labctl.comments);
    assert!(left.is_empty(), "{name}: {}\n\n{said}", left.join("\n"));
}

fn try_ours(name: &str) {
    let test = format!("differential::{name}");
    if let Some(reason) = roots_missing().or_else(salt::missing) {
        return skip(&test, &reason);
    }
    let path = folder().join(name);
    let group = yaml(&path.join("group.yaml"));
    try_group(name, &Folder { path, states: "states" }, &group);
}

macro_rules! groups {
    ($($test:ident => $group:literal,)*) => {
        const GROUPS: &[&str] = &[$($group),*];
        $(#[test]
        fn $test() {
            try_ours($group);
        })*
    };
}

groups! {
    files_come_out_as_with_salt => "files",
    edits_come_out_as_with_salt => "edits",
    accounts_come_out_as_with_salt => "accounts",
    packages_come_out_as_with_salt => "packages",
    services_come_out_as_with_salt => "services",
    crontabs_come_out_as_with_salt => "cron",
    commands_come_out_as_with_salt => "commands",
    formulas_come_out_as_with_salt => "formulas",
    machines_come_out_as_with_salt => "machine",
    failures_are_failures_as_with_salt => "failures",
    requisites_come_out_as_with_salt => "requisites",
}

/// The tree of a real homelab, which is no part of the project; `fixture.yaml` makes up for the world that it expects.
#[test]
fn the_tree_of_a_real_homelab_comes_out_as_with_salt() {
    let missing = || roots_missing().or_else(salt::missing);
    let fixture = trees::fixture();
    if let Some(reason) = missing().or_else(|| fixture.clone().err()) {
        return skip("differential::fixture", &reason);
    }
    let tree = Folder { path: fixture.expect("it is there"), states: "salt" };
    try_group("fixture", &tree, &yaml(&folder().join("fixture.yaml")));
}

#[test]
fn machines_say_of_themselves_what_salt_says() {
    if let Some(reason) = roots_missing().or_else(salt::missing) {
        return skip("differential::grains", &reason);
    }
    let tree = Folder { path: folder().join("files"), states: "states" };
    let prepare = "printf '127.0.0.1 localhost\\n127.0.1.1 vm-1.lab vm-1\\n' > /etc/hosts".to_owned();
    let [theirs, ours] = hosts(&tree, &Group { prepare, ..Group::default() });
    let (theirs, ours) = (theirs::grains(&theirs), ours::grains(&ours));
    let mut findings = Findings::default();
    for name in theirs.keys().chain(ours.keys()).collect::<BTreeSet<_>>() {
        let [left, right] = [theirs.get(name), ours.get(name)];
        if left != right {
            findings.note(format!("grain {name}"), format!("Salt: {left:?}, labctl: {right:?}"));
        }
    }
    let left = Allowed::load(&folder().join("differences.yaml")).judge("grains", &findings);
    assert!(left.is_empty(), "{}", left.join("\n"));
}

#[test]
fn each_group_is_tried() {
    let mut folders: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .flatten()
        .filter(|it| it.path().is_dir())
        .map(|it| it.file_name().to_string_lossy().into_owned())
        .collect();
    folders.sort();
    let mut listed = GROUPS.to_vec();
    listed.sort_unstable();
    assert_eq!(folders, listed);
    Allowed::load(&folder().join("differences.yaml")).check(GROUPS);
}
