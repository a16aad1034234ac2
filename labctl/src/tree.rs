//! Reads a folder with `states/`, `pillar/` and `reactors/` into memory, for checks without a master.

use crate::{Outcome, failure::Failure};
use lang::{Dialect, Source, Tree};
use model::{Diagnostic, Severity, Span};
use std::{
    fs::Metadata,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Files larger than this are known by hash only, as on the master.
const KEPT_MAX: u64 = 1024 * 1024;
/// Files in a tree.
const FILES_MAX: usize = 100_000;
/// Folders within folders.
const DEPTH_MAX: usize = 64;

/// The folders of a tree and where they lie, if not in one.
#[derive(Clone, Debug)]
pub(crate) struct Folders {
    states: PathBuf,
    pillar: PathBuf,
    reactors: PathBuf,
    dialect: Dialect,
}

/// A tree, and what of its folders cannot be used.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) tree: Tree,
    pub(crate) problems: Vec<Diagnostic>,
}

impl Folders {
    /// All below one folder: the one named, or the nearest above this one that has `states/`, or the master's. A named
    /// folder without `states/` that holds state files is one of Salt's: these files are its states.
    pub(crate) fn find(named: Option<&Path>) -> Outcome<Self> {
        let root = match named {
            Some(root) if root.join("states").is_dir() => root.to_owned(),
            Some(root) if has_states(root) => {
                return Ok(Self {
                    states: root.to_owned(),
                    pillar: root.join("no pillar"),
                    reactors: root.join("no reactors"),
                    dialect: Dialect::default(),
                });
            }
            Some(root) => {
                return Err(Failure::not_found(format!(
                    "there is no folder `states` and no state file in `{}`",
                    root.display()
                ))
                .hint(
                    "a tree has states/, pillar/ and reactors/; a tree of Salt is the folder of its top.sls",
                ));
            }
            None => nearest()?,
        };
        Ok(Self {
            states: root.join("states"),
            pillar: root.join("pillar"),
            reactors: root.join("reactors"),
            dialect: Dialect::default(),
        })
    }

    /// With the pillar from elsewhere: its root, or a folder with `pillar/`.
    pub(crate) fn with_pillar(mut self, pillar: Option<&Path>) -> Outcome<Self> {
        if let Some(pillar) = pillar {
            if !pillar.is_dir() {
                return Err(Failure::not_found(format!("there is no folder `{}`", pillar.display())));
            }
            let inside = pillar.join("pillar");
            self.pillar = if inside.is_dir() && !has_states(pillar) { inside } else { pillar.to_owned() };
        }
        Ok(self)
    }

    /// Read in another way.
    pub(crate) fn with_dialect(self, dialect: Option<Dialect>) -> Self {
        Self { dialect: dialect.unwrap_or(self.dialect), ..self }
    }

    /// Everything in it.
    pub(crate) fn read(&self) -> Outcome<Read> {
        let mut reading = Reading { files: Vec::new(), problems: Vec::new(), dialect: self.dialect };
        for (part, folder) in
            [("states", &self.states), ("pillar", &self.pillar), ("reactors", &self.reactors)]
        {
            if let Ok(root) = folder.canonicalize()
                && root.is_dir()
            {
                reading.folder(&root, folder, part, 0)?;
            }
        }
        Ok(Read { tree: Tree::new(reading.files), problems: reading.problems })
    }
}

/// Whether a folder itself holds a state file, or a folder with `init.sls`.
fn has_states(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    let mut paths = entries.filter_map(Result::ok).map(|it| it.path());
    paths.any(|it| it.extension().is_some_and(|it| it == "sls") || it.join("init.sls").is_file())
}

fn nearest() -> Outcome<PathBuf> {
    const MASTERS_TREE: &str = "/srv/labctl";
    let here = std::env::current_dir().map_err(|error| Failure::file("look at", Path::new("."), &error))?;
    let above = here.ancestors().find(|it| it.join("states").is_dir()).map(Path::to_owned);
    above.or_else(|| Some(PathBuf::from(MASTERS_TREE)).filter(|it| it.join("states").is_dir())).ok_or_else(
        || {
            Failure::not_found(format!("there is no folder `states` here, above, or in {MASTERS_TREE}"))
                .hint("name the tree: --tree DIR")
        },
    )
}

struct Reading {
    files: Vec<(String, Source)>,
    problems: Vec<Diagnostic>,
    dialect: Dialect,
}

impl Reading {
    fn folder(&mut self, root: &Path, folder: &Path, name: &str, depth: usize) -> Outcome<()> {
        if depth > DEPTH_MAX {
            let message = format!("more than {DEPTH_MAX} folders in one another");
            self.problem(name, message, "is a link pointing at a folder above it?");
            return Ok(());
        }
        let failed = |error: &std::io::Error| Failure::file("read", folder, error);
        let mut entries = std::fs::read_dir(folder)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|it| failed(&it))?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let file_name = entry.file_name();
            let Some(file_name) = file_name.to_str() else {
                let message = format!("a file name here is not UTF-8: {}", file_name.display());
                self.problem(name, message, "rename it");
                continue;
            };
            if file_name.starts_with('.') {
                continue;
            }
            let (path, name) = (entry.path(), format!("{name}/{file_name}"));
            let Some(metadata) = self.look(root, &path, &name) else { continue };
            if metadata.is_dir() {
                self.folder(root, &path, &name, depth + 1)?;
            } else if metadata.is_file() {
                self.file(name, &path, &metadata)?;
            }
            if self.files.len() > FILES_MAX {
                return Err(Failure::usage(format!("there are more than {FILES_MAX} files in the tree")));
            }
        }
        Ok(())
    }

    /// What is there; a link must stay in its folder of the tree, as on the master.
    fn look(&mut self, root: &Path, path: &Path, name: &str) -> Option<Metadata> {
        let real = match path.canonicalize() {
            Ok(real) => real,
            Err(_) if path.is_symlink() => {
                let message = "this link points at nothing".to_owned();
                self.problem(name, message, "remove it, or make what it points at");
                return None;
            }
            Err(error) => {
                self.problem(name, format!("cannot look at it: {error}"), "check its folder");
                return None;
            }
        };
        if !real.starts_with(root) {
            let message = format!("this link points out of `{}`", root.display());
            self.problem(name, message, "copy the file: a tree cannot reach what lies outside of it");
            return None;
        }
        if path.is_symlink()
            && path.parent().and_then(|it| it.canonicalize().ok()).is_some_and(|it| it.starts_with(&real))
        {
            self.problem(name, "this link points at a folder above it".to_owned(), "remove it");
            return None;
        }
        std::fs::metadata(&real).ok()
    }

    fn file(&mut self, name: String, path: &Path, metadata: &Metadata) -> Outcome<()> {
        let bytes = std::fs::read(path).map_err(|error| Failure::file("read", path, &error))?;
        let hash = bus::seed::sha256(&bytes);
        let size = bytes.len() as u64;
        let bytes: Option<Arc<[u8]>> = (size <= KEPT_MAX).then(|| bytes.into());
        let mode = metadata.permissions().mode() & 0o7777;
        self.files.push((name, Source { bytes, hash, size, mode, dialect: self.dialect }));
        Ok(())
    }

    fn problem(&mut self, name: &str, message: String, help: &str) {
        let span = Span {
            file: name.to_owned(),
            line: 1,
            column: 1,
            length: 1,
            text: String::new(),
            label: String::new(),
        };
        self.problems.push(Diagnostic {
            severity: Severity::Error,
            code: "E0601".to_owned(),
            message,
            spans: vec![span],
            notes: Vec::new(),
            help: Some(help.to_owned()),
        });
    }
}
