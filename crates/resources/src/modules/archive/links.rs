//! Whether links on the disk lead out of a folder what is unpacked into it.

use super::stat;
use crate::{Error, Probe, host::FileKind};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// Links that one path may go through.
const LINKS_MAX: usize = 40;

/// Links that are there already could lead what is unpacked elsewhere.
pub(super) fn refuse_links_out(host: &dyn Probe, top: &Path, paths: &[String]) -> Result<(), Error> {
    let folders: BTreeSet<&str> =
        paths.iter().flat_map(|it| it.match_indices('/').map(|at| &it[..at.0])).collect();
    folders.into_iter().try_for_each(|it| stays_inside(host, top, it))
}

/// Follows a path below the folder as the kernel would.
fn stays_inside(host: &dyn Probe, top: &Path, path: &str) -> Result<(), Error> {
    let parts = |path: &Path| -> Vec<PathBuf> {
        path.components().rev().map(|it| PathBuf::from(it.as_os_str())).collect()
    };
    let refuse = || {
        let path = top.join(path);
        Err(Error::Refused(format!("`{}` leads out of the folder by a link", path.display())))
    };
    let (mut rest, mut at, mut links) = (parts(Path::new(path)), top.to_owned(), 0);
    while let Some(part) = rest.pop() {
        if part == Path::new("..") {
            if at == top {
                return refuse();
            }
            at.pop();
            continue;
        }
        let next = at.join(&part);
        if stat(host, &next)?.is_none_or(|it| it.kind != FileKind::Symlink) {
            at = next;
            continue;
        }
        links += 1;
        let target = host.read_link(&next).map_err(Error::host("read link", next.display()))?;
        let inner = if target.is_absolute() {
            top.clone_into(&mut at);
            target.strip_prefix(top).ok()
        } else {
            Some(target.as_path())
        };
        match inner {
            Some(inner) if links <= LINKS_MAX => rest.extend(parts(inner)),
            _ => return refuse(),
        }
    }
    Ok(())
}
