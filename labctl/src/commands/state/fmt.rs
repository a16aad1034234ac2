//! `labctl state fmt`: files in house style, where that alters nothing that they say.

use crate::{
    Ended, Outcome,
    commands::Desk,
    failure::{Exit, Failure},
    show::Tone,
    tree::Folders,
};
use lang::{LeftAlone, format_yaml};
use std::path::{Path, PathBuf};

/// Longest file that is looked at.
const FILE_MAX: u64 = 1024 * 1024;
/// Files and folders in all.
const FILES_MAX: usize = 100_000;
/// Folders within folders.
const DEPTH_MAX: usize = 64;

/// How many files are how.
#[derive(Default)]
struct Count {
    fine: usize,
    changed: Vec<String>,
    left: Vec<(String, String)>,
}

pub(super) fn run(desk: &mut Desk<'_>, paths: &[PathBuf], check: bool) -> Ended {
    let mut files = Vec::new();
    if paths.is_empty() {
        for folder in Folders::find(None)?.into_layout().folders().filter(|it| it.is_dir()) {
            gather(folder, 0, &mut files)?;
        }
    }
    for path in paths {
        if path.is_dir() { gather(path, 0, &mut files)? } else { files.push(path.clone()) }
    }
    let mut count = Count::default();
    for file in &files {
        one(file, check, &mut count)?;
    }
    show(desk, &count, check)?;
    Ok(if check && !count.changed.is_empty() { Exit::Failed } else { Exit::Done })
}

fn gather(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Outcome<()> {
    let failed = |error: std::io::Error| Failure::file("read", folder, &error);
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)
        .map_err(failed)?
        .map(|it| it.map(|it| it.path()))
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with('.') || path.is_symlink() || files.len() > FILES_MAX {
            continue;
        }
        if path.is_dir() && depth < DEPTH_MAX {
            gather(&path, depth + 1, files)?;
        } else if path.extension().is_some_and(|it| it == "sls") {
            files.push(path);
        }
    }
    Ok(())
}

fn one(file: &Path, check: bool, count: &mut Count) -> Outcome<()> {
    let name = file.display().to_string();
    let size = std::fs::metadata(file).map_err(|it| Failure::file("read", file, &it))?.len();
    if size > FILE_MAX {
        count.left.push((name, format!("is larger than {FILE_MAX} bytes")));
        return Ok(());
    }
    let bytes = std::fs::read(file).map_err(|it| Failure::file("read", file, &it))?;
    let Ok(text) = String::from_utf8(bytes) else {
        count.left.push((name, "is not UTF-8 text".to_owned()));
        return Ok(());
    };
    match format_yaml(&text) {
        Ok(made) if made == text => count.fine += 1,
        Ok(made) => {
            if !check {
                replace(file, &made)?;
            }
            count.changed.push(name);
        }
        Err(why) => count.left.push((name, why.to_string())),
    }
    Ok(())
}

/// Whole or not at all, with the permissions that it has.
fn replace(file: &Path, text: &str) -> Outcome<()> {
    let failed = |error: std::io::Error| Failure::file("write", file, &error);
    let beside = file.with_extension(format!("labctl-{}", std::process::id()));
    std::fs::write(&beside, text).map_err(failed)?;
    let kept = std::fs::metadata(file).and_then(|it| std::fs::set_permissions(&beside, it.permissions()));
    kept.and_then(|()| std::fs::rename(&beside, file)).map_err(|error| {
        let _ = std::fs::remove_file(&beside);
        failed(error)
    })
}

fn show(desk: &mut Desk<'_>, count: &Count, check: bool) -> Outcome<()> {
    let left = |it: &(String, String)| serde_json::json!({ "file": it.0, "why": it.1 });
    if desk.screen.format.is_machine() {
        let items: Vec<_> = count.left.iter().map(left).collect();
        let value = serde_json::json!({ "changed": count.changed, "left": items, "fine": count.fine });
        return desk.screen.thing("Formatted", value, "", "");
    }
    let word = if check { "would change" } else { "changed" };
    for file in &count.changed {
        let line = desk.screen.style.paint(Tone::Changed, &format!("{word} {file}"));
        desk.screen.line(&line)?;
    }
    let template = LeftAlone::Template.to_string();
    for (file, why) in &count.left {
        if desk.screen.style.verbosity > 0 || *why != template {
            desk.screen.note(&format!("left {file}: it {why}"))?;
        }
    }
    let (changed, left, fine) = (count.changed.len(), count.left.len(), count.fine);
    desk.screen.line(&format!("{changed} {word}, {fine} fine, {left} left as they are"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_written_once_and_templates_are_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("a.sls"), "a:\n    b: 1   \n").unwrap();
        std::fs::write(path("b.sls"), "a:\n    b: {{ c }}\n").unwrap();
        std::fs::write(path("c.txt"), "a:\n    b: 1\n").unwrap();
        let mut files = Vec::new();
        gather(dir.path(), 0, &mut files).unwrap();
        let look = |check| {
            let mut count = Count::default();
            files.iter().try_for_each(|it| one(it, check, &mut count)).unwrap();
            (count.changed.len(), count.fine, count.left.len())
        };
        assert_eq!(look(true), (1, 0, 1));
        assert_eq!(look(false), (1, 0, 1));
        assert_eq!(look(false), (0, 1, 1));
        assert_eq!(std::fs::read_to_string(path("a.sls")).unwrap(), "a:\n  b: 1\n");
        assert_eq!(std::fs::read_to_string(path("b.sls")).unwrap(), "a:\n    b: {{ c }}\n");
        assert_eq!(std::fs::read_to_string(path("c.txt")).unwrap(), "a:\n    b: 1\n");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3);
    }
}
