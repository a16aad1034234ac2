//! The docs are true: what the tutorials show is run, generated pages are fresh, links lead somewhere.

mod generated;
mod tutorial;

use std::{
    fs,
    path::{Path, PathBuf},
};
use tests::project;

/// All Markdown pages below a folder of the project.
fn pages(folder: &Path) -> Vec<PathBuf> {
    let mut pending = vec![folder.to_owned()];
    let mut found = Vec::new();
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            pending.extend(fs::read_dir(path).unwrap().map(|it| it.unwrap().path()));
        } else if path.extension().is_some_and(|it| it == "md") {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut wrong = Vec::new();
    for page in pages(&project().join("docs")).into_iter().chain([project().join("README.md")]) {
        let text = fs::read_to_string(&page).unwrap();
        // `salt['fn'](…)` is no link.
        for link in text.replace("'](", "").split("](").skip(1).filter_map(|it| it.split(')').next()) {
            let path = link.split('#').next().unwrap_or_default();
            let outside = path.is_empty() || path.contains("://");
            if !outside && !page.parent().unwrap().join(path).exists() {
                wrong.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
