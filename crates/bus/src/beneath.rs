//! Opens files that are named by a tree, an archive or a hash: only if they lie beneath a folder, whatever links say.

use model::broken;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// `O_NONBLOCK`, the same on all machines that we are built for: a pipe in the place of a file holds nobody up.
const NONBLOCK: i32 = 0o4000;

/// Opens a regular file for reading. Links within `root`, which is canonical, are followed; where they have led is
/// judged by what was opened, so nobody can put another link in place between the look and the opening.
pub fn open(root: &Path, path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    let place = place_of(&file, path)?;
    if !place.starts_with(root) && !broken::leaves_out("open-beneath") {
        let message = format!("it leads out of `{}`", root.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    Ok(file)
}

/// A folder that is held: what is made in it by [`Folder::at`] is made there, whatever becomes of its path.
#[derive(Debug)]
pub struct Folder {
    held: File,
}

impl Folder {
    /// Holds a folder beneath `root`, which is canonical.
    pub fn hold(root: &Path, path: &Path) -> io::Result<Self> {
        let held = OpenOptions::new().read(true).custom_flags(NONBLOCK).open(path)?;
        if !held.metadata()?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let place = place_of(&held, path)?;
        if !place.starts_with(root) && !broken::leaves_out("open-beneath") {
            let message = format!("it leads out of `{}`", root.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
        }
        Ok(Self { held })
    }

    /// A path to something in it that no link on the way can bend.
    pub fn at(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.held.as_raw_fd())).join(name)
    }
}

/// Where an open file lies. Without /proc: where its path leads, if that is the same file still.
fn place_of(file: &File, path: &Path) -> io::Result<PathBuf> {
    if let Ok(place) = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())) {
        return Ok(place);
    }
    let place = path.canonicalize()?;
    let (here, there) = (file.metadata()?, std::fs::metadata(&place)?);
    if (here.dev(), here.ino()) == (there.dev(), there.ino()) {
        Ok(place)
    } else {
        Err(io::Error::new(io::ErrorKind::ResourceBusy, "it is being replaced"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    struct Ground {
        folder: tempfile::TempDir,
        root: PathBuf,
    }

    impl Ground {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let root = folder.path().canonicalize().unwrap().join("root");
            std::fs::create_dir_all(root.join("in")).unwrap();
            std::fs::create_dir_all(folder.path().join("root-2")).unwrap();
            std::fs::write(root.join("in/file"), "inside").unwrap();
            std::fs::write(folder.path().join("secret"), "outside").unwrap();
            std::fs::write(folder.path().join("root-2/secret"), "outside").unwrap();
            Self { folder, root }
        }
        fn outside(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }
        /// One of each kind: its name, and the path that is asked for.
        fn escapes(&self) -> Vec<&'static str> {
            let root = &self.root;
            symlink(self.outside("secret"), root.join("absolute")).unwrap();
            symlink("../secret", root.join("relative")).unwrap();
            symlink("absolute", root.join("link-to-link")).unwrap();
            symlink(self.folder.path(), root.join("folder")).unwrap();
            symlink("..", root.join("up")).unwrap();
            symlink(format!("/proc/self/root{}", self.outside("secret").display()), root.join("magic"))
                .unwrap();
            symlink("in/../../secret", root.join("through")).unwrap();
            symlink("../root-2/secret", root.join("sibling")).unwrap();
            vec![
                "absolute",
                "relative",
                "link-to-link",
                "folder/secret",
                "up/secret",
                "magic",
                "through",
                "sibling",
                "../secret",
                "in/../../secret",
            ]
        }
    }

    #[test]
    fn links_of_no_kind_lead_out_and_those_within_are_followed() {
        let ground = Ground::new();
        let read = |path: &str| open(&ground.root, &ground.root.join(path)).and_then(io::read_to_string);
        for path in ground.escapes() {
            let refused = read(path).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied, "{path}: {refused}");
            let told = broken::without(Some("open-beneath"), || read(path));
            assert_eq!(told.unwrap(), "outside", "{path} is an attack");
        }
        symlink(ground.root.join("in/file"), ground.root.join("good")).unwrap();
        symlink("in", ground.root.join("also")).unwrap();
        for path in ["in/file", "good", "also/file", "also/../in/file"] {
            assert_eq!(read(path).unwrap(), "inside", "{path}");
        }
        symlink("round", ground.root.join("round")).unwrap();
        assert!(read("round").is_err() && read("in").is_err() && read("nothing").is_err());
    }

    #[test]
    fn a_file_that_another_is_put_in_place_of_is_read_as_it_was_opened() {
        let ground = Ground::new();
        let path = ground.root.join("in/file");
        let opened = open(&ground.root, &path).unwrap();
        std::fs::remove_file(&path).unwrap();
        symlink(ground.outside("secret"), &path).unwrap();
        assert_eq!(io::read_to_string(opened).unwrap(), "inside");
        assert!(open(&ground.root, &path).is_err());
    }

    #[test]
    fn what_is_made_in_a_folder_that_is_held_is_made_there() {
        let ground = Ground::new();
        let held = Folder::hold(&ground.root, &ground.root.join("in")).unwrap();
        std::fs::rename(ground.root.join("in"), ground.root.join("moved")).unwrap();
        symlink(ground.folder.path(), ground.root.join("in")).unwrap();
        std::fs::write(held.at("made"), "x").unwrap();
        assert!(ground.root.join("moved/made").is_file() && !ground.outside("made").exists());
        assert!(Folder::hold(&ground.root, &ground.root.join("in")).is_err());
        broken::without(Some("open-beneath"), || {
            assert!(Folder::hold(&ground.root, &ground.root.join("in")).is_ok());
        });
    }
}
