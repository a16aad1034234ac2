//! Reads a folder with `states/`, `pillar/` and `reactors/` into memory, for checks without a master.

use crate::{Outcome, failure::Failure};
use lang::{Dialect, Source, Tree};
use std::{
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
    root: PathBuf,
    pillar: Option<PathBuf>,
}

impl Folders {
    /// All below one folder: the one named, or the nearest above this one that has `states/`, or the master's.
    pub(crate) fn find(named: Option<&Path>) -> Outcome<Self> {
        let root = match named {
            Some(root) if root.join("states").is_dir() => root.to_owned(),
            Some(root) => {
                return Err(Failure::not_found(format!(
                    "there is no folder `states` in `{}`",
                    root.display()
                ))
                .hint("a tree has states/, pillar/ and reactors/"));
            }
            None => nearest()?,
        };
        Ok(Self { root, pillar: None })
    }

    /// With the pillar from elsewhere.
    pub(crate) fn with_pillar(self, pillar: Option<&Path>) -> Self {
        Self { pillar: pillar.map(Path::to_owned), ..self }
    }

    /// Everything in it.
    pub(crate) fn read(&self) -> Outcome<Tree> {
        let mut files = Vec::new();
        for part in ["states", "pillar", "reactors"] {
            let folder = match (part, &self.pillar) {
                ("pillar", Some(pillar)) => pillar.clone(),
                _ => self.root.join(part),
            };
            if folder.is_dir() {
                read_folder(&folder, part, 0, &mut files)?;
            }
        }
        Ok(Tree::new(files))
    }
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

fn read_folder(folder: &Path, name: &str, depth: usize, files: &mut Vec<(String, Source)>) -> Outcome<()> {
    if depth > DEPTH_MAX {
        return Err(Failure::usage(format!("`{}` is more than {DEPTH_MAX} folders deep", folder.display())));
    }
    let failed = |error: &std::io::Error| Failure::file("read", folder, error);
    let mut entries = std::fs::read_dir(folder)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|it| failed(&it))?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let file_name = entry.file_name();
        let Some(file_name) = file_name.to_str() else { continue };
        if file_name.starts_with('.') {
            continue;
        }
        let (path, name) = (entry.path(), format!("{name}/{file_name}"));
        let metadata = std::fs::metadata(&path).map_err(|error| Failure::file("read", &path, &error))?;
        if metadata.is_dir() {
            read_folder(&path, &name, depth + 1, files)?;
        } else if metadata.is_file() {
            files.push((name, read_file(&path, &metadata)?));
        }
        if files.len() > FILES_MAX {
            return Err(Failure::usage(format!("there are more than {FILES_MAX} files in the tree")));
        }
    }
    Ok(())
}

fn read_file(path: &Path, metadata: &std::fs::Metadata) -> Outcome<Source> {
    let bytes = std::fs::read(path).map_err(|error| Failure::file("read", path, &error))?;
    let hash = bus::seed::sha256(&bytes);
    let size = bytes.len() as u64;
    let bytes: Option<Arc<[u8]>> = (size <= KEPT_MAX).then(|| bytes.into());
    Ok(Source {
        bytes,
        hash,
        size,
        mode: metadata.permissions().mode() & 0o7777,
        dialect: Dialect::default(),
    })
}
