//! Says everything that can be said about a tree before any minion asks.

use crate::{
    Compiler, Subject,
    compiler::{recipe, recipe_and_files, set_pillar},
    conduct, environment, extensions, pillar,
    rules::Rules,
    say::{At, Complaints, Say, Text, warning},
    session::{Session, Wish},
    top,
    yaml::Yaml,
};
use model::Diagnostic;
use serde_json::{Map, json};
use std::collections::HashSet;

/// Complaints that hang on values: without a minion, a template may have left out what it takes from pillar or grains.
const UNCERTAIN: &[&str] =
    &["E0107", "E0108", "E0109", "E0110", "E0111", "E0112", "E0113", "E0114", "E0115", "E0116"];

/// All complaints, in order of place.
pub(crate) fn check(compiler: &Compiler, subjects: &[Subject<'_>]) -> Vec<Diagnostic> {
    let mut all = Complaints::default();
    all.extend(alone(compiler));
    all.extend(extensions::check(compiler.tree(), compiler.environments()));
    for subject in subjects {
        let mut session = Session::new(compiler, Some(*subject));
        set_pillar(&mut session, &Map::new());
        conduct::compile(&mut session);
        let pillar = session.scope.data().get("pillar").cloned();
        let entries = top::read(&mut session, "states");
        let wishes = top::assigned(&session, &entries, pillar.as_ref());
        let wishes: Vec<Wish> = wishes.into_iter().map(|it| it.0).collect();
        recipe(&mut session, &wishes);
        all.extend(session.complaints.finish());
    }
    all.extend(Rules::load(compiler.tree()).diagnostics);
    all.finish()
}

/// Without a minion: each state by itself, with what nobody can know left open.
fn alone(compiler: &Compiler) -> Vec<Diagnostic> {
    let mut all = Complaints::default();
    let mut session = Session::new(compiler, None);
    session.set_pillar(json!({}));
    pillar::check_all(&mut session);
    let entries = top::read(&mut session, "states");
    let mut reached: HashSet<(String, String)> = HashSet::new();
    for wish in entries.iter().flat_map(|it| &it.names) {
        let root = environment::root("states", &wish.environment);
        for name in compiler.matching(&root, &wish.name) {
            if session.find(&root, &name, wish.origin.as_ref()).is_some() {
                reached.insert((wish.environment.clone(), name));
            }
        }
    }
    let top_is_broken = session.complaints.has_errors();
    let has_top = top::exists(&session, "states");
    all.extend(std::mem::take(&mut session.complaints).finish());
    let wishes = everything(compiler);
    let elsewhere = words(compiler, &wishes);
    let templated = is_templated(compiler);
    let mut covered: HashSet<(String, String)> = HashSet::new();
    for wish in &wishes {
        let of = |name: &String| (wish.environment.clone(), name.clone());
        // What another file includes was checked together with that.
        if !covered.insert(of(&wish.name)) {
            continue;
        }
        let mut session = Session::new(compiler, None);
        session.set_pillar(json!({}));
        session.elsewhere.clone_from(&elsewhere);
        let (_, files) = recipe_and_files(&mut session, std::slice::from_ref(wish));
        let is_certain = |it: &Diagnostic| !(templated && UNCERTAIN.contains(&it.code.as_str()));
        all.extend(session.complaints.finish().into_iter().filter(is_certain));
        reached.extend(files.iter().filter(|it| **it != wish.name).map(of));
        covered.extend(files.iter().map(of));
    }
    if has_top && !top_is_broken {
        unassigned(compiler, &wishes, &reached, &mut all);
    }
    all.finish()
}

/// Every state file of every environment.
fn everything(compiler: &Compiler) -> Vec<Wish> {
    let mut wishes = Vec::new();
    for environment in compiler.environments() {
        let names = compiler.names(&environment::root("states", environment));
        let wish = |name| Wish { name, environment: environment.clone(), origin: None };
        wishes.extend(names.into_iter().map(wish));
    }
    wishes
}

/// Whether any state file has a template in it.
fn is_templated(compiler: &Compiler) -> bool {
    let has_tags = |bytes: &[u8]| bytes.windows(2).any(|it| it == b"{{");
    let is_state = |path: &str| path.starts_with("states") && path.strip_suffix(".sls").is_some();
    let states = compiler.tree().iter().filter(|(path, _)| is_state(path));
    states.filter_map(|(_, source)| source.bytes.as_deref()).any(has_tags)
}

/// Names of all files and ids: what a requisite may mean.
fn words(compiler: &Compiler, wishes: &[Wish]) -> HashSet<String> {
    let mut words: HashSet<String> = wishes.iter().map(|it| it.name.clone()).collect();
    for wish in wishes {
        let mut session = Session::new(compiler, None);
        session.set_pillar(json!({}));
        let root = environment::root("states", &wish.environment);
        let Some(path) = compiler.path_of(&root, &wish.name) else { continue };
        if let Some(file) = session.read(&root, &wish.name, &path)
            && let Yaml::Map(pairs) = &file.root.value
        {
            words.extend(pairs.iter().map(|(key, _)| key.text.clone()));
        }
    }
    words
}

fn unassigned(
    compiler: &Compiler,
    wishes: &[Wish],
    reached: &HashSet<(String, String)>,
    all: &mut Complaints,
) {
    for wish in wishes.iter().filter(|it| !reached.contains(&(it.environment.clone(), it.name.clone()))) {
        let name = &wish.name;
        let root = environment::root("states", &wish.environment);
        let Some(path) = compiler.path_of(&root, name) else { continue };
        let bytes = compiler.tree().get(&path).and_then(|it| it.bytes.clone()).unwrap_or_default();
        let text = Text::new(path, String::from_utf8_lossy(&bytes).into_owned());
        let message = format!("`{name}` is in no top.sls and no file includes it");
        all.push(
            warning("W0005", message)
                .at(text.span(At { line: 1, column: 1, length: 1 }, ""))
                .help(format!("assign it in {root}/top.sls, or apply it by name")),
        );
    }
}
