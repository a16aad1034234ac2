//! Our side: the tree compiled as one that comes from Salt, run by the minion's worker on the host.

use lang::{Compiler, Subject, Wanted};
use minion::{core::RunEnd, worker::Said};
use model::{Answers, Grains, Labels, RunReport};
use serde_json::Map;
use std::{fmt::Write, path::Path};
use tests::{hosts::Host, trees};

pub(super) use model::Mode;

/// The recipe that top.sls gives the host.
pub(super) fn compile(host: &Host, tree: &Path) -> Vec<u8> {
    let grains: Grains =
        serde_json::from_str(&host.sh(&format!("{}/labminion grains", super::PROGRAMS))).unwrap();
    let tree = trees::of_salt(&tree.join("states"), &tree.join("pillar"));
    let (id, labels) = ("vm-1".parse().unwrap(), Labels::default());
    let subject = Subject { id: &id, grains: &grains, labels: &labels, answers: Answers::none() };
    let compiled = Compiler::new(tree).compile(subject, &Wanted::Assigned, &Map::new());
    let recipe = compiled.value.unwrap_or_else(|| panic!("{:#?}", compiled.diagnostics));
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
    }
    text
}
