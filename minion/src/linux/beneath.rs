//! Opens what lies in one of the minion's own folders, by name: no link leads out of it, or to another file in it.

use model::broken;
use nix::{
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, open, openat, openat2},
    sys::stat::Mode,
};
use std::{fs::File, io, path::Path};

/// Opens a regular file in a folder for reading.
pub(crate) fn open_in(folder: &Path, name: &str) -> io::Result<File> {
    if broken::leaves_out("no-links-in-own-folders") {
        return File::open(folder.join(name));
    }
    if name.is_empty() || name.contains('/') || name == ".." {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let held = open(folder, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
    let file = match openat2(&held, name, OpenHow::new().flags(flags).resolve(resolve)) {
        // An old kernel, or a container that does not know the call: one name without links is beneath by itself.
        Err(Errno::ENOSYS | Errno::EPERM) => openat(&held, name, flags, Mode::empty())?,
        opened => opened?,
    };
    let file = File::from(file);
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

/// Opens a regular file for reading. Whatever else lies there does not keep whoever opens it waiting.
pub(crate) fn open_plain(path: &Path) -> io::Result<File> {
    let file = File::from(open(path, OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC, Mode::empty())?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn no_link_of_any_kind_is_followed() {
        let ground = tempfile::tempdir().unwrap();
        let folder = ground.path().join("kept");
        fs::create_dir_all(folder.join("below")).unwrap();
        fs::write(folder.join("file"), "own").unwrap();
        fs::write(ground.path().join("secret"), "other").unwrap();
        let secret = ground.path().join("secret");
        symlink(&secret, folder.join("absolute")).unwrap();
        symlink("../secret", folder.join("relative")).unwrap();
        symlink("absolute", folder.join("twice")).unwrap();
        symlink(format!("/proc/self/root{}", secret.display()), folder.join("magic")).unwrap();
        let read = |name: &str| open_in(&folder, name).and_then(io::read_to_string);
        assert_eq!(read("file").unwrap(), "own");
        for name in ["absolute", "relative", "twice", "magic", "../secret"] {
            assert!(read(name).is_err(), "{name}");
            broken::without(Some("no-links-in-own-folders"), || {
                assert_eq!(read(name).unwrap(), "other", "{name} is an attack");
            });
        }
        for name in ["", "..", ".", "below", "nothing", "/etc/hostname"] {
            assert!(read(name).is_err(), "{name}");
        }
    }
}
