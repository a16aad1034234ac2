//! Maps absolute paths beneath a folder; neither `..` nor symbolic links lead out of it.

use model::broken;
use resources::host::Links;
use std::{
    collections::VecDeque,
    ffi::OsString,
    fs, io,
    path::{Component, Path, PathBuf},
};

/// Symbolic links on one path that are followed.
const LINKS_MAX: usize = 40;

/// The folder that is the root of the pretended machine.
#[derive(Debug)]
pub(super) struct Root {
    path: PathBuf,
}

impl Root {
    pub(super) fn new(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self { path: folder.canonicalize()? })
    }
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The path as the pretended machine sees it.
    pub(super) fn inner(&self, place: &Path) -> String {
        let rest = place.strip_prefix(&self.path).unwrap_or(place);
        Path::new("/").join(rest).display().to_string()
    }

    /// The real path. Every link on the way is followed as if the folder were the root; the last one on wish.
    pub(super) fn resolve(&self, path: &Path, links: Links) -> io::Result<PathBuf> {
        let mut place = self.path.clone();
        let mut pending: VecDeque<OsString> = parts(path);
        let mut followed = 0;
        while let Some(part) = pending.pop_front() {
            if part == ".." {
                if place != self.path {
                    place.pop();
                }
                continue;
            }
            let next = place.join(&part);
            let is_link = fs::symlink_metadata(&next).is_ok_and(|it| it.is_symlink());
            if !is_link || (pending.is_empty() && links == Links::Keep) {
                place = next;
                continue;
            }
            followed += 1;
            if followed > LINKS_MAX {
                return Err(io::Error::other("too many symbolic links"));
            }
            let target = fs::read_link(&next)?;
            if broken::leaves_out("sandbox-links") {
                place = next;
                continue;
            }
            if target.is_absolute() {
                place.clone_from(&self.path);
            }
            for part in parts(&target).into_iter().rev() {
                pending.push_front(part);
            }
        }
        Ok(place)
    }
}

fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|it| match it {
            Component::Normal(part) => Some(part.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn nothing_leads_out() {
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let root = Root::new(&folder.path().join("root")).unwrap();
        fs::create_dir_all(root.path().join("etc")).unwrap();
        symlink(outside.path(), root.path().join("etc/out")).unwrap();
        symlink("../../../..", root.path().join("etc/up")).unwrap();
        symlink("/etc", root.path().join("conf")).unwrap();
        symlink("round", root.path().join("round")).unwrap();
        for (path, links, wanted) in [
            ("/etc/motd", Links::Follow, "etc/motd"),
            ("/../../etc", Links::Follow, "etc"),
            ("/conf/motd", Links::Keep, "etc/motd"),
            ("/conf", Links::Keep, "conf"),
            ("/etc/up/x", Links::Keep, "x"),
        ] {
            let wanted = root.path().join(wanted);
            assert_eq!(root.resolve(Path::new(path), links).unwrap(), wanted, "{path}");
        }
        let out = root.resolve(Path::new("/etc/out/secret"), Links::Follow).unwrap();
        assert!(out.starts_with(root.path()), "{}", out.display());
        assert!(root.resolve(Path::new("/round/x"), Links::Keep).is_err());
    }
}
