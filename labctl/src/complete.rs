//! Words that the shell completes from what the master knows; remembered for a minute, so that a key press costs nothing.

use crate::{cli::Global, config, session::Session, tree::Folders};
use clap_complete::CompletionCandidate;
use model::{Reply, Request, api::JobFilter};
use std::{ffi::OsStr, path::PathBuf, time::Duration};

/// How long remembered words are good.
const FRESH: Duration = Duration::from_mins(1);

/// Minion ids for a target expression.
pub(crate) fn targets(typed: &OsStr) -> Vec<CompletionCandidate> {
    words("minions", typed, &|session| match session.request(&Request::Minions { target: None }) {
        Ok(Reply::Minions(minions)) => minions.iter().map(|it| it.id.to_string()).collect(),
        _ => Vec::new(),
    })
}

/// Ids of the latest jobs.
pub(crate) fn jobs(typed: &OsStr) -> Vec<CompletionCandidate> {
    let filter = JobFilter::default();
    words("jobs", typed, &|session| match session.request(&Request::Jobs { filter: filter.clone() }) {
        Ok(Reply::Jobs(jobs)) => jobs.iter().map(|it| it.job.id.short()).collect(),
        _ => Vec::new(),
    })
}

/// Names of schedules.
pub(crate) fn schedules(typed: &OsStr) -> Vec<CompletionCandidate> {
    words("schedules", typed, &|session| match session.request(&Request::Schedules) {
        Ok(Reply::Schedules(schedules)) => schedules.iter().map(|it| it.name.clone()).collect(),
        _ => Vec::new(),
    })
}

/// Names of keys.
pub(crate) fn keys(typed: &OsStr) -> Vec<CompletionCandidate> {
    words("keys", typed, &|session| match session.request(&Request::Keys) {
        Ok(Reply::Keys(keys)) => keys.iter().map(|it| it.minion.to_string()).collect(),
        _ => Vec::new(),
    })
}

/// Names of rules.
pub(crate) fn rules(typed: &OsStr) -> Vec<CompletionCandidate> {
    words("rules", typed, &|session| match session.request(&Request::Rules) {
        Ok(Reply::Rules(rules)) => rules.into_iter().map(|it| it.name).collect(),
        _ => Vec::new(),
    })
}

/// Names of hooks.
pub(crate) fn hooks(typed: &OsStr) -> Vec<CompletionCandidate> {
    words("hooks", typed, &|session| match session.request(&Request::Hooks) {
        Ok(Reply::Hooks(hooks)) => hooks.into_iter().map(|it| it.name).collect(),
        _ => Vec::new(),
    })
}

/// Names of notifiers.
pub(crate) fn notifiers(typed: &OsStr) -> Vec<CompletionCandidate> {
    words("notifiers", typed, &|session| match session.request(&Request::Notifiers) {
        Ok(Reply::Notifiers(notifiers)) => notifiers.into_iter().map(|it| it.name).collect(),
        _ => Vec::new(),
    })
}

/// Kinds of beacons, which are the names of most.
pub(crate) fn beacons(typed: &OsStr) -> Vec<CompletionCandidate> {
    beginning(typed, lang::beacons::kinds().iter().map(|it| it.name))
}

/// Names of rules of the tree around this folder.
pub(crate) fn rules_of_tree(typed: &OsStr) -> Vec<CompletionCandidate> {
    let read = Folders::find(None).and_then(|it| it.read());
    let rules = read.ok().and_then(|it| lang::rules::Rules::load(&it.tree).value);
    beginning(typed, rules.iter().flat_map(lang::rules::Rules::iter).map(|it| it.name.as_str()))
}

fn beginning<'a>(typed: &OsStr, words: impl Iterator<Item = &'a str>) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    words.filter(|it| it.starts_with(&*typed)).map(CompletionCandidate::new).collect()
}

fn words(name: &str, typed: &OsStr, ask: &dyn Fn(&mut Session) -> Vec<String>) -> Vec<CompletionCandidate> {
    let global = Global { context: std::env::var("LABCTL_CONTEXT").ok(), ..Global::default() };
    let Ok(place) = config::place(&global) else { return Vec::new() };
    let remembered = remembered_at(name, &place.to_string());
    let known = remembered.as_ref().and_then(|path| {
        let age = std::fs::metadata(path).ok()?.modified().ok()?.elapsed().ok()?;
        (age < FRESH).then(|| std::fs::read_to_string(path).ok())?
    });
    let known = known.or_else(|| {
        let words = ask(&mut Session::new(place.clone()).ok()?).join("\n");
        if let Some(path) = &remembered {
            let _ = path.parent().map(std::fs::create_dir_all);
            let _ = std::fs::write(path, &words);
        }
        Some(words)
    });
    beginning(typed, known.unwrap_or_default().lines())
}

fn remembered_at(name: &str, place: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    let place: String = place.chars().map(|it| if it.is_ascii_alphanumeric() { it } else { '-' }).collect();
    Some(cache.join("labctl").join(format!("{name}{place}")))
}
