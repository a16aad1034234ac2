//! Our side: the tree compiled as one that comes from Salt, run by the minion's worker on the host.

use lang::{Compiler, Dialect, Renderer, Source, Subject, Tree, Wanted};
use minion::{core::RunEnd, worker::Said};
use model::{ContentHash, Grains, Labels, RunReport};
use serde_json::Map;
use sha2::{Digest, Sha256};
use std::{fmt::Write, fs, os::unix::fs::PermissionsExt, path::Path, sync::Arc};
use tests::hosts::Host;

pub(super) use model::Mode;

/// The recipe that top.sls gives the host.
pub(super) fn compile(host: &Host, tree: &Path) -> Vec<u8> {
    let grains: Grains =
        serde_json::from_str(&host.sh(&format!("{}/labminion grains", super::PROGRAMS))).unwrap();
    let mut files = Vec::new();
    for part in ["states", "pillar"] {
        read(&tree.join(part), part, &mut files);
    }
    let (id, labels) = ("vm-1".parse().unwrap(), Labels::default());
    let subject = Subject { id: &id, grains: &grains, labels: &labels };
    let compiled = Compiler::new(Tree::new(files)).compile(subject, &Wanted::Assigned, &Map::new());
    let recipe = compiled.value.unwrap_or_else(|| panic!("{:#?}", compiled.diagnostics));
    serde_json::to_vec(&recipe).unwrap()
}

fn read(folder: &Path, name: &str, files: &mut Vec<(String, Source)>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), format!("{name}/{}", entry.file_name().to_string_lossy()));
        if path.is_dir() {
            read(&path, &name, files);
            continue;
        }
        let bytes: Arc<[u8]> = fs::read(&path).unwrap().into();
        let source = Source {
            hash: ContentHash(Sha256::digest(&bytes).into()),
            size: bytes.len() as u64,
            bytes: Some(bytes),
            mode: entry.metadata().unwrap().permissions().mode() & 0o7777,
            dialect: Dialect { renderer: Renderer::Jinja, salt: true },
        };
        files.push((name, source));
    }
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
