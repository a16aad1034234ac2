//! Trees that lie in folders as Salt's users have them: read into memory, as the compiler takes them.

use crate::project;
use lang::{Dialect, Renderer, Source, Tree};
use model::ContentHash;
use sha2::{Digest, Sha256};
use std::{fs, os::unix::fs::PermissionsExt, path::Path, path::PathBuf, sync::Arc};

/// A tree that comes from Salt: Jinja where nothing else is said, its slips are warnings.
pub fn of_salt(states: &Path, pillar: &Path) -> Tree {
    let mut files = Vec::new();
    read(states, "states", &mut files);
    read(pillar, "pillar", &mut files);
    Tree::new(files)
}

fn read(folder: &Path, name: &str, files: &mut Vec<(String, Source)>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), format!("{name}/{}", entry.file_name().to_string_lossy()));
        if path.is_dir() {
            read(&path, &name, files);
            continue;
        }
        let bytes: Arc<[u8]> = fs::read(&path).expect("a tree can be read").into();
        let mode = fs::metadata(&path).expect("it is there").permissions().mode() & 0o7777;
        let source = Source {
            hash: ContentHash(Sha256::digest(&bytes).into()),
            size: bytes.len() as u64,
            bytes: Some(bytes),
            mode,
            dialect: Dialect { renderer: Renderer::Jinja, salt: true },
        };
        files.push((name, source));
    }
}

/// The tree of a real homelab, where it is on this machine: it is no part of the project. Why not, where it is not.
pub fn fixture() -> Result<PathBuf, String> {
    let folder = std::env::var_os("LABCTL_SALT_FIXTURE")
        .map_or_else(|| project().join("../shared/fixtures/homelabmanager"), PathBuf::from);
    if folder.join("salt").is_dir() {
        return Ok(folder);
    }
    Err("the tree of a real homelab is not here (LABCTL_SALT_FIXTURE names its folder)".to_owned())
}
