//! What Salt makes of a tree, ours makes of it too: each case below `parity/` was given to Salt 3008.3 by `record.py`,
//! and so was the tree in the folder that `LABCTL_SALT_FIXTURE` names.

use lang::{
    Compiler, Dialect, Options, Paint, Renderer, Source, Subject, Tree, View, Wanted, render_diagnostics,
};
use model::{Answers, ContentHash, Grains, Labels};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Names that Salt's steps have and the comparison leaves out.
const LEFT_OUT: [&str; 2] = ["order", "__sls_included_from__"];

fn source(bytes: &[u8], renderer: Renderer) -> Source {
    Source {
        bytes: Some(bytes.into()),
        hash: ContentHash(Sha256::digest(bytes).into()),
        size: bytes.len() as u64,
        mode: 0o644,
        dialect: Dialect { renderer, salt: true },
    }
}

/// The parts of a case: `-- PATH`, then the file.
fn parts(text: &str) -> BTreeMap<String, String> {
    let mut parts = BTreeMap::new();
    let mut name = String::new();
    for line in text.split_inclusive('\n') {
        if let Some(path) = line.strip_prefix("-- ") {
            path.trim().clone_into(&mut name);
        } else {
            parts.entry(name.clone()).or_insert_with(String::new).push_str(line);
        }
    }
    parts
}

/// Where a file of a case lies in a tree: `dev/states/a.sls` belongs to the environment `dev`.
fn path_of(name: &str) -> String {
    match name.split_once('/') {
        Some((environment, rest)) if rest.starts_with("states/") || rest.starts_with("pillar/") => {
            let (kind, rest) = rest.split_once('/').unwrap();
            format!("{kind}@{environment}/{rest}")
        }
        _ => name.to_owned(),
    }
}

fn shown(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

fn without_what_is_left_out(mut step: Value) -> Value {
    if let Value::Object(map) = &mut step {
        map.retain(|key, _| !LEFT_OUT.contains(&key.as_str()));
        map.sort_keys();
    }
    step
}

/// Steps one by one, so that a difference is easy to see.
fn compare(name: &str, ours: &[Value], theirs: &[Value], wrong: &mut Vec<String>) {
    let id = |it: &Value| format!("{} {}.{}", it["__id__"], it["state"], it["fun"]);
    let order = |list: &[Value]| list.iter().map(id).collect::<Vec<_>>();
    if order(ours) != order(theirs) {
        wrong.push(format!("--- {name}: ours\n{:#?}\n--- Salt's\n{:#?}", order(ours), order(theirs)));
        return;
    }
    for (ours, theirs) in ours.iter().zip(theirs) {
        let ours = without_what_is_left_out(ours.clone());
        let theirs = without_what_is_left_out(theirs.clone());
        if ours != theirs {
            wrong.push(format!("--- {name}: ours\n{}\n--- Salt's\n{}", shown(&ours), shown(&theirs)));
        }
    }
}

fn options(minion: &Value) -> Options {
    let text = |key: &str| minion.get(key).and_then(Value::as_str);
    let words = |it: &Value| match it {
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
        it => it.as_str().unwrap_or_default().to_owned(),
    };
    let nodegroups = minion.get("nodegroups").and_then(Value::as_object);
    Options {
        nodegroups: nodegroups.into_iter().flatten().map(|(name, it)| (name.clone(), words(it))).collect(),
        environment: text("saltenv").map(str::to_owned),
        pillar_strategy: text("pillar_source_merging_strategy")
            .map_or_else(Default::default, |it| it.parse().unwrap()),
        pillar_merge_lists: minion.get("pillar_merge_lists") == Some(&Value::Bool(true)),
        ..Options::default()
    }
}

fn case(path: &Path, wrong: &mut Vec<String>) {
    let name = path.file_stem().unwrap().to_str().unwrap();
    let parts = parts(&fs::read_to_string(path).unwrap());
    let yaml = |name: &str| {
        let text = parts.get(name).map_or("{}", String::as_str);
        lang::value_of_yaml(name, text).value.unwrap()
    };
    let files = parts.iter().map(|(name, text)| (path_of(name), source(text.as_bytes(), Renderer::Plain)));
    let has_top = parts.keys().any(|it| it.ends_with("states/top.sls"));
    let wanted = if has_top { Wanted::Assigned } else { Wanted::Named(vec!["a".to_owned()]) };
    let compiler = Compiler::with_options(Tree::new(files), options(&yaml("minion.yaml")));
    let (grains, labels) = (yaml("grains.json").as_object().cloned().unwrap(), Labels::new());
    let id = "vm-1".parse().unwrap();
    let subject = Subject { id: &id, grains: &grains, labels: &labels, answers: Answers::none() };
    let golden: Value =
        serde_json::from_str(&fs::read_to_string(path.with_extension("json")).unwrap()).unwrap();
    let made = compiler.show(subject, &wanted, &Map::new(), View::Applied);
    let complaints = render_diagnostics(&made.diagnostics, Paint::Plain);
    match (golden.get("steps").and_then(Value::as_array), &made.value) {
        (Some(theirs), Some(ours)) => compare(name, ours, theirs, wrong),
        (None, None) => {}
        (Some(_), None) => wrong.push(format!("--- {name}: ours refuses\n{complaints}")),
        (None, Some(ours)) => wrong
            .push(format!("--- {name}: Salt refuses, ours gives\n{}", shown(&Value::Array(ours.clone())))),
    }
    if golden.get("refused").is_none() {
        let theirs = golden.get("pillar").cloned().unwrap_or_else(|| Value::Object(Map::new()));
        let pillar = compiler.pillar(subject);
        if pillar.value.as_ref() != Some(&theirs) {
            let ours = pillar.value.unwrap_or_default();
            let complaints = render_diagnostics(&pillar.diagnostics, Paint::Plain);
            wrong.push(format!(
                "--- {name}: our pillar\n{}\n{complaints}\n--- Salt's\n{}",
                shown(&ours),
                shown(&theirs)
            ));
        }
    }
}

#[test]
fn what_salt_makes_of_a_tree_ours_makes_of_it() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/parity");
    let mut cases: Vec<PathBuf> = fs::read_dir(&root).unwrap().map(|it| it.unwrap().path()).collect();
    cases.retain(|it| it.extension().is_some_and(|it| it == "case"));
    cases.sort();
    assert!(cases.len() >= 60);
    let mut wrong = Vec::new();
    for it in &cases {
        case(it, &mut wrong);
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

fn folder(root: &Path, folder: &Path, name: &str, found: &mut Vec<(String, Source)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            self::folder(root, &path, name, found);
        } else {
            let relative = path.strip_prefix(root).unwrap().to_str().unwrap();
            found.push((format!("{name}/{relative}"), source(&fs::read(&path).unwrap(), Renderer::Jinja)));
        }
    }
}

/// The tree of a real lab, which is not part of this repository: its folder holds `salt/`, `pillar/` and
/// `expected/OS/NAME.json` with what Salt made of it for `expected/OS/grains.json`.
#[test]
fn a_real_tree_of_salt_compiles_to_what_salt_makes_of_it() {
    let default = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures/homelabmanager");
    let root = std::env::var_os("LABCTL_SALT_FIXTURE").map_or(default, PathBuf::from);
    if !root.is_dir() {
        eprintln!("skipped: there is no folder `{}` (LABCTL_SALT_FIXTURE names it)", root.display());
        return;
    }
    let mut files = Vec::new();
    folder(&root.join("salt"), &root.join("salt"), "states", &mut files);
    folder(&root.join("pillar"), &root.join("pillar"), "pillar", &mut files);
    let compiler = Compiler::new(Tree::new(files));
    let (mut wrong, mut compared) = (Vec::new(), BTreeSet::new());
    for system in fs::read_dir(root.join("expected")).unwrap() {
        let system = system.unwrap().path();
        let grains: Grains = serde_json::from_slice(&fs::read(system.join("grains.json")).unwrap()).unwrap();
        let (id, labels) = ("vm-01-on-hyp1".parse().unwrap(), Labels::new());
        let subject = Subject { id: &id, grains: &grains, labels: &labels, answers: Answers::none() };
        for entry in fs::read_dir(&system).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            if name == "grains" {
                continue;
            }
            let theirs: Vec<Value> = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            let made =
                compiler.show(subject, &Wanted::Named(vec![name.clone()]), &Map::new(), View::AsWritten);
            match made.value {
                Some(ours) => compare(&path.display().to_string(), &ours, &theirs, &mut wrong),
                None => wrong.push(format!(
                    "--- {}\n{}",
                    path.display(),
                    render_diagnostics(&made.diagnostics, Paint::Plain)
                )),
            }
            compared.insert(path);
        }
    }
    assert!(!compared.is_empty());
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), compared.len(), wrong.join("\n"));
}

/// Recorded from `state.show_low_sls a` of Salt 3008.3 (`order` and `__sls_included_from__` left out).
#[test]
fn one_state_is_shown_as_it_is_written_like_salt_does() {
    let a = "\
include: [b]
extend:
  y:
    test.nop:
      - require:
        - test: x
exclude:
  - id: z
last:
  test.nop:
    - require_in:
      - test: y
x:
  test.nop: []
w:
  test.nop:
    - watch_in:
      - y
    - use:
      - test: x
";
    let files = [("states/a.sls", a), ("states/b.sls", "y:\n  test.nop: []\nz:\n  test.nop: []\n")];
    let files = files.map(|(name, text)| (name.to_owned(), source(text.as_bytes(), Renderer::Plain)));
    let compiler = Compiler::new(Tree::new(files));
    let (id, grains, labels) = ("x".parse().unwrap(), Grains::new(), Labels::new());
    let subject = Subject { id: &id, grains: &grains, labels: &labels, answers: Answers::none() };
    let wanted = Wanted::Named(vec!["a".to_owned()]);
    let step = |id: &str, sls: &str, more: Value| {
        let mut step = serde_json::json!({
            "state": "test", "name": id, "__sls__": sls, "__env__": "base", "__id__": id, "fun": "nop"
        });
        step.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        step
    };
    let theirs = [
        step("y", "b", serde_json::json!({})),
        step("z", "b", serde_json::json!({})),
        step("last", "a", serde_json::json!({"require_in": [{"test": "y"}]})),
        step("x", "a", serde_json::json!({})),
        step("w", "a", serde_json::json!({"watch_in": ["y"], "use": [{"test": "x"}]})),
    ];
    let made = compiler.show(subject, &wanted, &Map::new(), View::AsWritten);
    let mut wrong = Vec::new();
    compare("show_low_sls", &made.value.unwrap(), &theirs, &mut wrong);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(made.diagnostics.iter().any(|it| it.code == "W0115"));
    let applied = compiler.show(subject, &wanted, &Map::new(), View::Applied).value.unwrap();
    let ids: Vec<&str> = applied.iter().map(|it| it["__id__"].as_str().unwrap()).collect();
    assert_eq!(ids, ["last", "x", "w", "y"]);
}
