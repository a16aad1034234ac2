//! Reads `states/`, `pillar/` and `reactors/` into memory, for checks and runs without a master.

use crate::{
    Outcome,
    failure::{Exit, Failure},
};
use lang::{ConfigReader, Dialect, Folder, Layout, Options, Source, Tree};
use model::{ContentHash, Diagnostic, Severity, Span};
use std::{
    collections::BTreeMap,
    fs::Metadata,
    io::Read as _,
    os::unix::fs::PermissionsExt,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

/// Files larger than this are known by hash only, as on the master.
const KEPT_MAX: u64 = 1024 * 1024;
/// Files in a tree.
const FILES_MAX: usize = 100_000;
/// Folders within folders.
const DEPTH_MAX: usize = 64;
/// Where trees are if nobody says otherwise.
const MASTERS_TREE: &str = "/srv/labctl";

/// Where the files of a tree lie.
#[derive(Clone, Debug)]
pub(crate) struct Folders {
    layout: Layout,
}

/// A tree, and what of its folders cannot be used.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) tree: Tree,
    /// How it is compiled.
    pub(crate) options: Options,
    pub(crate) problems: Vec<Diagnostic>,
    /// Where each content of `states/` lies.
    pub(crate) places: BTreeMap<ContentHash, PathBuf>,
}

impl Folders {
    /// All below one folder: the one named, or the nearest above this one that has `states/`, or the master's. A named
    /// folder without `states/` that holds state files is one of Salt's: these files are its states.
    pub(crate) fn find(named: Option<&Path>) -> Outcome<Self> {
        let root = match named {
            Some(root) if root.join("states").is_dir() => root.to_owned(),
            Some(root) if has_states(root) => {
                return Ok(Self::of(Layout { states: vec![Folder::native(root)], ..Layout::default() }));
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
        Ok(Self::of(Layout::of_trees(&[Folder::native(root)])))
    }

    /// Whether there is a tree in this folder or above.
    pub(crate) fn is_near() -> bool {
        std::env::current_dir().is_ok_and(|here| here.ancestors().any(|it| it.join("states").is_dir()))
    }

    /// As a layout says.
    pub(crate) fn of(layout: Layout) -> Self {
        Self { layout }
    }

    /// What `trees:`, `states:` and so on say in `master.yaml` and the parts beside it.
    pub(crate) fn configured(file: &Path) -> Outcome<Self> {
        let mut parts: Vec<PathBuf> = std::fs::read_dir(file.with_extension("d"))
            .map(|entries| entries.filter_map(|it| Some(it.ok()?.path())).collect())
            .unwrap_or_default();
        parts.retain(|it| it.extension().is_some_and(|it| it == "yaml"));
        parts.sort();
        let mut reader = ConfigReader::of_keys(&Layout::KEYS);
        for part in std::iter::once(file).chain(parts.iter().map(PathBuf::as_path)) {
            reader.add(&part.display().to_string(), &crate::config::read_small(part)?);
        }
        let layout = Layout::read(&mut reader, absolute, vec![Folder::native(MASTERS_TREE)]);
        let diagnostics = reader.finish();
        if diagnostics.is_empty() {
            return Ok(Self { layout });
        }
        let message = format!("`{}` does not say where the trees are", file.display());
        Err(Failure { diagnostics, ..Failure::new(Exit::Compile, message) })
    }

    /// Where everything lies.
    pub(crate) fn into_layout(self) -> Layout {
        self.layout
    }

    /// With the pillar from elsewhere: its root, or a folder with `pillar/`.
    pub(crate) fn with_pillar(mut self, pillar: Option<&Path>) -> Outcome<Self> {
        if let Some(pillar) = pillar {
            if !pillar.is_dir() {
                return Err(Failure::not_found(format!("there is no folder `{}`", pillar.display())));
            }
            let inside = pillar.join("pillar");
            let path = if inside.is_dir() && !has_states(pillar) { inside } else { pillar.to_owned() };
            let dialect = self.layout.states.first().map(|it| it.dialect).unwrap_or_default();
            self.layout.pillar = vec![Folder { path, dialect }];
        }
        Ok(self)
    }

    /// Read in another way.
    pub(crate) fn with_dialect(mut self, dialect: Option<Dialect>) -> Self {
        let Layout { states, pillar, reactors, environments, .. } = &mut self.layout;
        let others = environments.iter_mut().flat_map(|it| it.states.iter_mut().chain(&mut it.pillar));
        for folder in states.iter_mut().chain(pillar).chain(reactors).chain(others) {
            folder.dialect = dialect.unwrap_or(folder.dialect);
        }
        self
    }

    /// With one environment only.
    pub(crate) fn with_environment(mut self, environment: Option<&str>) -> Self {
        if let Some(environment) = environment {
            self.layout.options.environment = Some(environment.to_owned());
        }
        self
    }

    /// Everything in it. A file of an earlier folder hides the one of the same path in a later folder.
    pub(crate) fn read(&self) -> Outcome<Read> {
        let mut reading = Reading::default();
        for (part, folders) in self.layout.kinds() {
            for folder in folders {
                if let Ok(root) = folder.path.canonicalize()
                    && root.is_dir()
                {
                    reading.dialect = folder.dialect;
                    reading.folder(&root, &folder.path, &part, 0)?;
                }
            }
        }
        let Reading { files, problems, places, .. } = reading;
        Ok(Read {
            tree: Tree::new(files.into_iter().chain(self.layout.reactor_file())),
            options: self.layout.options.clone(),
            problems,
            places,
        })
    }
}

fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let plain = path.components().all(|it| matches!(it, Component::RootDir | Component::Normal(_)));
    if path.is_absolute() && plain {
        Ok(path)
    } else {
        Err(format!("`{text}` is not an absolute path without `..`"))
    }
}

/// Whether a folder itself holds a state file, or a folder with `init.sls`.
fn has_states(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    let mut paths = entries.filter_map(Result::ok).map(|it| it.path());
    paths.any(|it| it.extension().is_some_and(|it| it == "sls") || it.join("init.sls").is_file())
}

fn nearest() -> Outcome<PathBuf> {
    let here = std::env::current_dir().map_err(|error| Failure::file("look at", Path::new("."), &error))?;
    let above = here.ancestors().find(|it| it.join("states").is_dir()).map(Path::to_owned);
    above.or_else(|| Some(PathBuf::from(MASTERS_TREE)).filter(|it| it.join("states").is_dir())).ok_or_else(
        || {
            Failure::not_found(format!("there is no folder `states` here, above, or in {MASTERS_TREE}"))
                .hint("name the tree: --tree DIR")
        },
    )
}

#[derive(Default)]
struct Reading {
    files: BTreeMap<String, Source>,
    places: BTreeMap<ContentHash, PathBuf>,
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
            if lang::is_left_out(file_name) {
                continue;
            }
            let (path, name) = (entry.path(), format!("{name}/{file_name}"));
            let Some(metadata) = self.look(root, &path, &name) else { continue };
            if metadata.is_dir() {
                self.folder(root, &path, &name, depth + 1)?;
            } else if metadata.is_file() && !self.files.contains_key(&name) {
                self.file(root, name, &path, &metadata)?;
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

    fn file(&mut self, root: &Path, name: String, path: &Path, metadata: &Metadata) -> Outcome<()> {
        let mut bytes = Vec::new();
        bus::beneath::open(root, path)
            .and_then(|mut file| file.read_to_end(&mut bytes))
            .map_err(|error| Failure::file("read", path, &error))?;
        let hash = bus::seed::sha256(&bytes);
        let size = bytes.len() as u64;
        let bytes: Option<Arc<[u8]>> = (size <= KEPT_MAX).then(|| bytes.into());
        let mode = metadata.permissions().mode() & 0o7777;
        if name.starts_with("states/") {
            self.places.entry(hash).or_insert_with(|| path.to_owned());
        }
        self.files.insert(name, Source { bytes, hash, size, mode, dialect: self.dialect });
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
            // As on the master: Salt leaves out what it cannot read.
            severity: if self.dialect.salt { Severity::Warning } else { Severity::Error },
            code: "E0601".to_owned(),
            message,
            spans: vec![span],
            notes: Vec::new(),
            help: Some(help.to_owned()),
        });
    }
}
