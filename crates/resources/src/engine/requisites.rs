//! Decides from what became of earlier steps whether a step runs, and what it has to know of others.

use model::{Link, Recipe, Requisite, Step};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;

/// What became of a step, as far as others care.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Fate {
    /// It is as it should be; `changed` if it was (or would be) made so.
    Good { changed: bool },
    /// It failed.
    Failed,
    /// It was not tried because of a failure.
    Blocked,
    /// It was not tried because there was no need.
    NotNeeded,
}

/// Whether a step runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It does; then, if something that it watches changed, it is refreshed because of this step.
    Go { refresh: Option<usize> },
    /// It does not, and that is fine.
    NotNeeded(String),
    /// It cannot.
    Blocked(String),
}

/// The verdict on step `index`, with the fates of all steps so far. `prereq` is left to the caller.
pub(super) fn verdict(recipe: &Recipe, index: usize, fates: &[Option<Fate>]) -> Verdict {
    let links = &recipe.steps[index].links;
    let of = |when: Requisite| links.iter().filter(move |it| it.when == when);
    let fate = |link: &Link| fates.get(link.step).copied().flatten();
    let bad = |link: &Link| matches!(fate(link), None | Some(Fate::Failed | Fate::Blocked));
    let changed = |link: &Link| fate(link) == Some(Fate::Good { changed: true });

    if let Some(earlier) = failed_prerequisite(recipe, index, fates) {
        return Verdict::Blocked(format!("its prerequisite {} failed", title(recipe, earlier)));
    }
    for when in [Requisite::Require, Requisite::Watch] {
        if let Some(link) = of(when).find(|it| !it.any && bad(it)) {
            return Verdict::Blocked(blocked_text(recipe, link, fate(link)));
        }
        if of(when).any(|it| it.any)
            && of(when).filter(|it| it.any).all(bad)
            && let Some(link) = of(when).find(|it| it.any)
        {
            return Verdict::Blocked(blocked_text(recipe, link, fate(link)));
        }
    }
    if of(Requisite::Onfail).next().is_some()
        && !of(Requisite::Onfail).any(|it| fate(it) == Some(Fate::Failed))
    {
        return Verdict::NotNeeded("nothing failed that it waits for (onfail)".to_owned());
    }
    if let Some(link) = of(Requisite::OnfailAll).find(|it| fate(it) != Some(Fate::Failed)) {
        let title = title(recipe, link.step);
        return Verdict::NotNeeded(format!("{title} did not fail (onfail_all)"));
    }
    if of(Requisite::Onchanges).next().is_some() && !of(Requisite::Onchanges).any(changed) {
        return Verdict::NotNeeded("nothing changed that it waits for (onchanges)".to_owned());
    }
    Verdict::Go { refresh: of(Requisite::Watch).find(|it| changed(it)).map(|it| it.step) }
}

/// A step that had to run before this one, and failed.
fn failed_prerequisite(recipe: &Recipe, index: usize, fates: &[Option<Fate>]) -> Option<usize> {
    let waits = |links: &[Link]| links.iter().any(|it| it.when == Requisite::Prereq && it.step == index);
    let failed = |at: &usize| matches!(fates[*at], Some(Fate::Failed | Fate::Blocked));
    (0..index).filter(failed).find(|at| waits(&recipe.steps[*at].links))
}

/// `site_conf (file.managed)`.
pub(super) fn title(recipe: &Recipe, index: usize) -> String {
    match recipe.steps.get(index) {
        Some(step) => format!("{} ({})", step.id, step.kind()),
        None => format!("step {index}, which does not exist"),
    }
}

fn blocked_text(recipe: &Recipe, link: &Link, fate: Option<Fate>) -> String {
    let title = title(recipe, link.step);
    match fate {
        Some(Fate::Blocked) => format!("requires {title}, which was not tried"),
        None => format!("requires {title}, which has not run yet"),
        Some(_) => format!("requires {title}, which failed"),
    }
}

/// The step; if it has `clean`, with the paths that other steps manage: these are kept.
pub(super) fn with_keep(recipe: &Recipe, index: usize) -> Cow<'_, Step> {
    let step = &recipe.steps[index];
    if step.state == "file" && step.fun == "blockreplace" {
        return with_accumulated(recipe, index);
    }
    if step.state != "file" || !step.params.contains_key("clean") {
        return Cow::Borrowed(step);
    }
    let others = recipe.steps.iter().enumerate().filter(|(at, it)| *at != index && it.state == "file");
    let keep = others.filter_map(|(_, it)| it.params.get("name").cloned()).collect();
    let mut step = step.clone();
    step.params.insert("keep".to_owned(), Value::Array(keep));
    Cow::Owned(step)
}

/// The block, with the lines that earlier steps give to it.
fn with_accumulated(recipe: &Recipe, index: usize) -> Cow<'_, Step> {
    let step = &recipe.steps[index];
    let earlier = recipe.steps[..index].iter().filter(|it| it.state == "file" && it.fun == "accumulated");
    let ours = earlier.filter(|it| it.params.get("filename") == step.params.get("name"));
    let lines: Vec<Value> = ours
        .filter_map(|it| it.params.get("text"))
        .flat_map(|it| it.as_array().cloned().unwrap_or_else(|| vec![it.clone()]))
        .collect();
    if lines.is_empty() {
        return Cow::Borrowed(step);
    }
    let mut step = step.clone();
    step.params.insert("accumulated".to_owned(), Value::Array(lines));
    Cow::Owned(step)
}

/// Whether a failure of the other one does not keep a step from running.
pub(super) fn is_soft(when: Requisite) -> bool {
    matches!(when, Requisite::Onfail | Requisite::OnfailAll | Requisite::Onchanges)
}
