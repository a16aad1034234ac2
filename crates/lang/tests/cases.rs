//! Trees in, recipes or complaints out: each folder below `cases/` is one. `UPDATE=1` writes what came out.

use lang::{
    Compiler, Dialect, Options, Paint, Renderer, Source, Subject, Tree, View, Wanted, render_diagnostics,
};
use model::{Answers, ContentHash, Grains, Labels};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::{
    fs,
    path::{Path, PathBuf},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    id: String,
    #[serde(default)]
    grains: Grains,
    #[serde(default)]
    labels: Labels,
    /// Names; none: what top.sls assigns.
    wanted: Option<Vec<String>>,
    #[serde(default)]
    pillar: Map<String, Value>,
    /// `check` complains without compiling.
    #[serde(default)]
    check: bool,
    /// The tree is one of Salt, without templates.
    #[serde(default)]
    salt: bool,
    /// Only this environment.
    environment: Option<String>,
}

fn files(root: &Path, folder: &Path, dialect: Dialect, found: &mut Vec<(String, Source)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(root, &path, dialect, found);
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let hash = ContentHash(Sha256::digest(&bytes).into());
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        let size = bytes.len() as u64;
        found.push((name, Source { bytes: Some(bytes.into()), hash, size, mode: 0o644, dialect }));
    }
}

fn outcome(folder: &Path) -> (&'static str, String) {
    let case: Case = serde_json::from_slice(&fs::read(folder.join("subject.json")).unwrap()).unwrap();
    let mut found = Vec::new();
    let plain = Dialect { renderer: Renderer::Plain, salt: true };
    let dialect = if case.salt { plain } else { Dialect::default() };
    files(&folder.join("tree"), &folder.join("tree"), dialect, &mut found);
    let options = Options { environment: case.environment.clone(), ..Options::default() };
    let compiler = Compiler::with_options(Tree::new(found), options);
    let id = case.id.parse().unwrap();
    let subject = Subject { id: &id, grains: &case.grains, labels: &case.labels, answers: Answers::none() };
    if case.check {
        let text = render_diagnostics(&compiler.check(&[]), Paint::Plain);
        return ("diagnostics.txt", format!("{text}\n"));
    }
    let wanted = case.wanted.map_or(Wanted::Assigned, Wanted::Named);
    let made = compiler.compile(subject, &wanted, &case.pillar);
    match made.value {
        Some(recipe) => {
            let shown = json!({
                "recipe": recipe,
                "show": compiler.show(subject, &wanted, &case.pillar, View::Applied).value,
                "warnings": render_diagnostics(&made.diagnostics, Paint::Plain).lines().collect::<Vec<_>>(),
            });
            ("recipe.json", format!("{shown:#}\n"))
        }
        None => ("diagnostics.txt", format!("{}\n", render_diagnostics(&made.diagnostics, Paint::Plain))),
    }
}

#[test]
fn every_case_gives_what_is_written_beside_it() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut folders: Vec<PathBuf> = fs::read_dir(&root).unwrap().map(|it| it.unwrap().path()).collect();
    folders.sort();
    assert!(!folders.is_empty());
    let mut wrong = Vec::new();
    for folder in folders {
        let (name, text) = outcome(&folder);
        let golden = folder.join(name);
        if std::env::var_os("UPDATE").is_some() {
            for old in ["recipe.json", "diagnostics.txt"] {
                let _ = fs::remove_file(folder.join(old));
            }
            fs::write(&golden, &text).unwrap();
        } else if fs::read_to_string(&golden).unwrap_or_default() != text {
            wrong.push(format!("--- {}\n{text}", golden.display()));
        }
    }
    assert!(wrong.is_empty(), "these came out differently:\n{}", wrong.join("\n"));
}
