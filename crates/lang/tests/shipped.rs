//! The tree that is shipped: all of its rules load, and states that are made of the roster say who is in it.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use lang::{
    Compiler, Paint, Roster, RosterEntry, Subject, Tree, Wanted, render_diagnostics, roles::Roles,
    rules::Rules, with_roster,
};
use model::{Answers, Grains, Labels, Presence, Recipe};
use serde_json::{Map, json};
use std::{fs, path::PathBuf};

fn texts() -> Vec<(String, String)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut folders = ["states", "pillar", "reactors"].map(|it| root.join(it)).to_vec();
    let mut texts = Vec::new();
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()) {
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                folders.push(path);
            } else {
                texts.push((name, fs::read_to_string(path).unwrap()));
            }
        }
    }
    texts
}

fn tree() -> Tree {
    let texts = texts();
    Tree::of_texts(texts.iter().map(|it| (it.0.as_str(), it.1.as_str())))
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|it| (it.0.to_owned(), it.1.to_owned())).collect()
}

fn entry(id: &str, address: Option<&str>, pairs: &[(&str, &str)], presence: Presence) -> RosterEntry {
    let (id, address) = (id.parse().unwrap(), address.map(str::to_owned));
    RosterEntry { id, address, labels: labels(pairs), presence, maintenance: false, grains: Grains::new() }
}

fn roster() -> Roster {
    let monitored = &[("monitored", "yes")];
    let other = &[("monitored", "yes"), ("metrics_port", "9273"), ("role", "db")];
    Roster::All(
        [
            entry("db-1", Some("10.0.0.7"), other, Presence::Lost),
            entry("new-1", None, monitored, Presence::Down),
            entry("vm-1", Some("10.0.0.5"), monitored, Presence::Up),
            entry("vm-6", Some("fd00::6"), monitored, Presence::Up),
            entry("vm-9", Some("10.0.0.9"), &[], Presence::Up),
        ]
        .into(),
    )
}

fn compiled(tree: Tree, state: &str, pillar: &serde_json::Value, roster: Roster) -> Result<Recipe, String> {
    let compiler = Compiler::new(tree);
    let (id, grains) = ("mon".parse().unwrap(), Grains::new());
    let labels = labels(&[("role", "prometheus"), ("roster", "yes")]);
    let subject = Subject { id: &id, grains: &grains, labels: &labels, answers: Answers::none() };
    let pillar: Map<_, _> = pillar.as_object().cloned().unwrap_or_default();
    let made =
        with_roster(roster, || compiler.compile(subject, &Wanted::Named(vec![state.to_owned()]), &pillar));
    made.value.ok_or_else(|| render_diagnostics(&made.diagnostics, Paint::Plain))
}

/// The only file of a recipe.
fn content(recipe: &Recipe) -> String {
    let files: Vec<_> = recipe.files.values().filter_map(|it| it.inline.clone()).collect();
    assert_eq!(files.len(), 1, "{recipe:?}");
    String::from_utf8(URL_SAFE_NO_PAD.decode(&files[0]).unwrap()).unwrap()
}

#[test]
fn the_rules_that_are_shipped_load_and_those_that_could_do_harm_are_off() {
    let made = Rules::load(&tree());
    let told = render_diagnostics(&made.diagnostics, Paint::Plain);
    let rules = made.value.unwrap_or_else(|| panic!("{told}"));
    assert!(made.diagnostics.is_empty(), "{told}");
    let off: Vec<&str> = rules.iter().filter(|it| !it.clauses.enabled).map(|it| it.name.as_str()).collect();
    let wanted =
        ["idle-hypervisor-off", "reboot-in-the-window", "retire-ephemeral", "scale-out", "wake-hypervisor"];
    let mut sorted = off.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, wanted);
    let page = fs::read_to_string(
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/how-to/shipped-reactors.md"),
    );
    let page = page.unwrap();
    for rule in rules.iter() {
        assert!(page.contains(&format!("`{}`", rule.name)), "{} is not on the page", rule.name);
    }
}

#[test]
fn shipped_rules_may_do_what_they_say_with_the_one_line_that_the_page_names() {
    let all: Vec<(String, String)> = texts()
        .into_iter()
        .map(|(path, text)| (path, text.replace("enabled: false", "enabled: true")))
        .collect();
    let tree = Tree::of_texts(all.iter().map(|it| (it.0.as_str(), it.1.as_str())));
    let rules = Rules::load(&tree).value.unwrap();
    let page = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/how-to/shipped-reactors.md");
    let page = fs::read_to_string(page).unwrap();
    let line = "rules: { names: { reboot-in-the-window: rebooter } }";
    assert!(page.contains(&format!("`{line}`")), "the page says so");
    let lacks = |text: &str| {
        let who = Roles::parse("roles.yaml", text).value.unwrap();
        let told = rules.missing_rights(&who, &tree);
        told.iter().map(|it| it.message.clone()).collect::<Vec<_>>()
    };
    assert_eq!(lacks(line), Vec::<String>::new());
    let told = lacks("");
    assert!(told.len() == 1 && told[0].contains("reboot-in-the-window"), "{told:?}");
}

#[test]
fn scrape_targets_are_those_of_the_roster() {
    let recipe = compiled(tree(), "prometheus.targets", &json!({}), roster()).unwrap();
    let targets: serde_json::Value = serde_json::from_str(&content(&recipe)).unwrap();
    let wanted = json!([
        {"targets": []},
        {"targets": ["10.0.0.7:9273"], "labels": {"minion": "db-1", "role": "db"}},
        {"targets": ["10.0.0.5:9100"], "labels": {"minion": "vm-1", "role": ""}},
        {"targets": ["[fd00::6]:9100"], "labels": {"minion": "vm-6", "role": ""}},
    ]);
    assert_eq!(targets, wanted);
}

#[test]
fn the_zone_has_the_names_of_the_roster() {
    let recipe = compiled(tree(), "dns.zone", &json!({"dns": {"domain": "home"}}), roster()).unwrap();
    let wanted = "# Written by labctl for mon: machines by name.\n10.0.0.7 db-1.home db-1\n10.0.0.5 vm-1.home vm-1\nfd00::6 vm-6.home vm-6\n10.0.0.9 vm-9.home vm-9\n";
    assert_eq!(content(&recipe), wanted);
}

#[test]
fn all_that_shipped_reactors_apply_compiles() {
    let scale = json!({"scale": {"template": "web-template", "prefix": "web", "most": 5}});
    for (state, pillar) in [("prometheus", json!({})), ("dns", json!({})), ("scale.clone", scale)] {
        let recipe =
            compiled(tree(), state, &pillar, roster()).unwrap_or_else(|told| panic!("{state}: {told}"));
        assert!(recipe.steps.len() >= 2, "{state}");
    }
}

#[test]
fn a_machine_that_may_not_see_the_others_is_told_how_it_may() {
    let refused = Roster::Refused("is for machines with the label roster=yes".to_owned());
    let told = compiled(tree(), "dns.zone", &json!({}), refused).unwrap_err();
    assert!(told.contains("label roster=yes") && told.contains("hosts"), "{told}");
    let source = "a:\n  test.nop:\n    - name: {{len (roster \"os=debian\")}}\n";
    let told = compiled(Tree::of_texts([("states/a.sls", source)]), "a", &json!({}), roster()).unwrap_err();
    assert!(told.contains("no grains"), "what machines say of themselves is not shared: {told}");
    let source = "a:\n  test.nop:\n    - name: n{{len (roster \"online\")}}\n";
    let count = |roster| compiled(Tree::of_texts([("states/a.sls", source)]), "a", &json!({}), roster);
    let told = |roster| json!(count(roster).unwrap()).to_string();
    assert!(told(roster()).contains("\"n3\""));
    assert!(told(Roster::None).contains("\"n0\""), "the next compile sees nothing of it");
    // In Jinja it is the same, with the same condition.
    let jinja = |body: &str, roster| {
        let source = format!("#!jinja|yaml\na:\n  test.nop:\n    - name: {body}\n");
        compiled(Tree::of_texts([("states/a.sls", source.as_str())]), "a", &json!({}), roster)
    };
    let names =
        "n{% for it in roster('label:monitored=yes and online') %}-{{ it.id }}={{ it.address }}{% endfor %}";
    let told = json!(jinja(names, roster()).unwrap()).to_string();
    assert!(told.contains("n-vm-1=10.0.0.5-vm-6=fd00::6"), "{told}");
    let refused = Roster::Refused("is for machines with the label roster=yes".to_owned());
    assert!(jinja(names, refused).unwrap_err().contains("label roster=yes"));
    assert!(jinja("{{ roster('os=debian') | length }}", roster()).unwrap_err().contains("no grains"));
}
