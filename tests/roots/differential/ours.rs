//! Our side: the tree compiled as one that comes from Salt, run by the minion's worker on the host.

use super::{Folder, Group};
use lang::{Compiler, Subject, Wanted};
use minion::{core::RunEnd, worker::Said};
use model::{Answers, Grains, Labels, RunReport};
use serde_json::Map;
use std::fmt::Write;
use tests::{hosts::Host, trees};

pub(super) use model::Mode;

/// What the host says of itself.
pub(super) fn grains(host: &Host) -> Grains {
    serde_json::from_str(&host.sh(&format!("{}/labminion grains --id vm-1", super::PROGRAMS))).unwrap()
}

/// The recipe of a group's states for the host.
pub(super) fn compile(host: &Host, tree: &Folder, group: &Group) -> Vec<u8> {
    let mut grains = grains(host);
    grains.extend(group.grains.clone());
    let compiler = Compiler::new(trees::of_salt(&tree.path.join(tree.states), &tree.path.join("pillar")));
    let (id, labels) = ("vm-1".parse().unwrap(), Labels::default());
    let subject = Subject { id: &id, grains: &grains, labels: &labels, answers: Answers::none() };
    let wanted = match &group.states[..] {
        [] => Wanted::Assigned,
        names => Wanted::Named(names.to_vec()),
    };
    let made = compiler.compile(subject, &wanted, &Map::new());
    let recipe = made.value.unwrap_or_else(|| panic!("{:#?}", made.diagnostics));
    serde_json::to_vec(&recipe).unwrap()
}

/// Runs a recipe.
pub(super) fn run(host: &Host, recipe: &[u8], mode: Mode) -> RunReport {
    let flag = if mode == Mode::Check { " --check" } else { "" };
    let output = host.feed(&format!("{}/labminion run-recipe{flag}", super::PROGRAMS), recipe);
    let last = String::from_utf8_lossy(&output.stdout).lines().last().unwrap_or_default().to_owned();
    match serde_json::from_str(&last) {
        Ok(Said::End(RunEnd::Report { report, .. })) => *report,
        other => panic!("{other:?}\n{}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// What a run said, for people who look for the reason of a difference.
pub(super) fn comments(report: &RunReport) -> String {
    let mut text = String::new();
    for step in &report.steps {
        writeln!(text, "{:?} {} {}: {}", step.outcome, step.kind, step.id, step.comment.trim()).unwrap();
        for change in step.plan.changes.iter().filter(|it| it.diff.is_none()) {
            writeln!(text, "    {}: {:?} -> {:?}", change.what, change.from, change.to).unwrap();
        }
    }
    text
}
