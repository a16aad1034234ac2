//! Which folders are to be watched: where paths lead, all that is on the way, and the folders below those that are wanted
//! as a whole.

use super::{Files, below};
use crate::senses::{Mount, Senses, mount_of, resolve};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// What is wanted of a folder.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Interest {
    /// As people name it.
    pub(super) shown: String,
    /// Everything in it.
    pub(super) whole: bool,
    /// These names in it, which people named.
    pub(super) names: BTreeSet<OsString>,
    /// When something of these names appears, there is more to watch.
    pub(super) steps: BTreeSet<OsString>,
}

/// Folders, and what is wanted of each.
pub(super) type Wanted = BTreeMap<PathBuf, Interest>;

impl Interest {
    /// Whether something there leads on to what is watched.
    pub(super) fn is_way(&self) -> bool {
        !self.names.is_empty() || !self.steps.is_empty()
    }

    /// Whether nothing in it is told.
    pub(super) fn is_idle(&self) -> bool {
        !self.whole && self.names.is_empty()
    }
}

pub(super) fn is_folder(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|it| it.is_dir())
}

pub(super) fn mounts(senses: &dyn Senses) -> Result<Vec<Mount>, String> {
    senses.mounts().map_err(|error| format!("cannot read what is mounted: {error}"))
}

impl Files {
    /// Where a path of the machine is.
    pub(super) fn place(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Whether a place could wait for another machine: it is not even looked at.
    pub(super) fn is_remote(&self, mounts: &[Mount], place: &Path) -> bool {
        let path = Path::new("/").join(place.strip_prefix(&self.root).unwrap_or(place));
        mount_of(mounts, &path.to_string_lossy()).is_some_and(Mount::is_remote)
    }

    /// Folders, and what is wanted of each; whether there are more than may be.
    pub(super) fn wanted(&self, mounts: &[Mount]) -> Result<(Wanted, bool), String> {
        let (mut wanted, mut full) = (Wanted::new(), false);
        for shown in &self.paths {
            let (above, name) = shown.rsplit_once('/').unwrap_or_default();
            // Each folder on the way is watched: another one may take the place of the next, or a link lead elsewhere.
            let lead = resolve(mounts, &self.root, above, &mut |folder, part| {
                wanted.entry(self.place(folder)).or_default().steps.insert(part.into());
            });
            let folder = match lead {
                Ok(folder) => self.place(&folder),
                Err(error) if error.kind() == io::ErrorKind::Other => return Err(error.to_string()),
                Err(_) => continue,
            };
            let real = folder.join(name);
            if self.is_remote(mounts, &real) {
                return Err(format!("`{shown}` is on the network, which is never asked"));
            }
            if !name.is_empty() {
                let interest = wanted.entry(folder).or_default();
                above.clone_into(&mut interest.shown);
                interest.names.insert(name.into());
            }
            if is_folder(&real) {
                full |= self.take_folder(mounts, &mut wanted, real, shown, self.watches_max);
            }
        }
        Ok((wanted, full))
    }

    /// A folder with all that is in it, and those below it. Links to folders are not followed, and what is on the
    /// network is left out. True if there are more than there is room for.
    pub(super) fn take_folder(
        &self,
        mounts: &[Mount],
        wanted: &mut Wanted,
        real: PathBuf,
        shown: &str,
        room: usize,
    ) -> bool {
        let mut left = vec![(real, shown.to_owned())];
        while let Some((folder, shown)) = left.pop() {
            if wanted.len() >= room {
                return true;
            }
            if self.recursive {
                let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
                let ours = entries
                    .filter(|it| self.counts(&it.file_name(), true) && !self.is_remote(mounts, &it.path()));
                let folders = ours.filter(|it| it.file_type().is_ok_and(|it| it.is_dir()));
                let mut folders: Vec<OsString> = folders.map(|it| it.file_name()).collect();
                folders.sort();
                left.extend(folders.into_iter().rev().map(|it| (folder.join(&it), below(&shown, &it))));
            }
            let interest = wanted.entry(folder).or_default();
            (interest.shown, interest.whole) = (shown, true);
        }
        false
    }
}
