//! Says everything that can be said about a tree before any minion asks.

use crate::{
    Compiler, Subject,
    compiler::{recipe, recipe_and_files, set_pillar},
    pillar,
    rules::Rules,
    say::{At, Complaints, Say, Text, warning},
    session::Session,
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
    for subject in subjects {
        let mut session = Session::new(compiler, Some(*subject));
        set_pillar(&mut session, &Map::new());
        let pillar = session.scope.data().get("pillar").cloned();
        let entries = top::read(&mut session, "states").unwrap_or_default();
        let names = top::assigned(&session, &entries, pillar.as_ref());
        let names: Vec<_> = names.into_iter().map(|it| (it.0, Some(it.1))).collect();
        recipe(&mut session, &names);
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
    let entries = top::read(&mut session, "states").unwrap_or_default();
    let mut reached: HashSet<String> = HashSet::new();
    for (name, origin) in entries.iter().flat_map(|it| &it.names) {
        if session.find("states", name, Some(origin)).is_some() {
            reached.insert(name.clone());
        }
    }
    let top_is_broken = session.complaints.has_errors();
    all.extend(std::mem::take(&mut session.complaints).finish());
    let states = compiler.names("states");
    let elsewhere = words(compiler, &states);
    let templated = is_templated(compiler);
    let mut covered: HashSet<String> = HashSet::new();
    for name in &states {
        // What another file includes was checked together with that.
        if !covered.insert(name.clone()) {
            continue;
        }
        let mut session = Session::new(compiler, None);
        session.set_pillar(json!({}));
        session.elsewhere.clone_from(&elsewhere);
        let (_, files) = recipe_and_files(&mut session, &[(name.clone(), None)]);
        let is_certain = |it: &Diagnostic| !(templated && UNCERTAIN.contains(&it.code.as_str()));
        all.extend(session.complaints.finish().into_iter().filter(is_certain));
        reached.extend(files.iter().filter(|it| *it != name).cloned());
        covered.extend(files);
    }
    if !top_is_broken {
        unassigned(compiler, &states, &reached, &mut all);
    }
    all.finish()
}

/// Whether any state file has a template in it.
fn is_templated(compiler: &Compiler) -> bool {
    let has_tags = |bytes: &[u8]| bytes.windows(2).any(|it| it == b"{{");
    let is_state =
        |path: &str| path.strip_prefix("states/").is_some_and(|it| it.strip_suffix(".sls").is_some());
    let states = compiler.tree().iter().filter(|(path, _)| is_state(path));
    states.filter_map(|(_, source)| source.bytes.as_deref()).any(has_tags)
}

/// Names of all files and ids: what a requisite may mean.
fn words(compiler: &Compiler, states: &[String]) -> HashSet<String> {
    let mut words: HashSet<String> = states.iter().cloned().collect();
    for name in states {
        let mut session = Session::new(compiler, None);
        session.set_pillar(json!({}));
        let Some(path) = compiler.path_of("states", name) else { continue };
        if let Some(file) = session.read("states", name, &path)
            && let Yaml::Map(pairs) = &file.root.value
        {
            words.extend(pairs.iter().map(|(key, _)| key.text.clone()));
        }
    }
    words
}

fn unassigned(compiler: &Compiler, states: &[String], reached: &HashSet<String>, all: &mut Complaints) {
    if compiler.tree().get("states/top.sls").is_none() {
        return;
    }
    for name in states.iter().filter(|it| !reached.contains(*it)) {
        let Some(path) = compiler.path_of("states", name) else { continue };
        let bytes = compiler.tree().get(&path).and_then(|it| it.bytes.clone()).unwrap_or_default();
        let text = Text::new(path, String::from_utf8_lossy(&bytes).into_owned());
        let message = format!("`{name}` is in no top.sls and no file includes it");
        all.push(
            warning("W0005", message)
                .at(text.span(At { line: 1, column: 1, length: 1 }, ""))
                .help("assign it in states/top.sls, or apply it by name"),
        );
    }
}
