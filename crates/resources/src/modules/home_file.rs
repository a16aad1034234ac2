//! A file in somebody's home folder that ssh reads: where it is, what is in it, and writing it as that user's.

use crate::{
    Error, Host, ParamsError, Probe,
    args::invalid,
    host::{Attributes, Contents, FileKind, Links},
};
use std::path::{Path, PathBuf};

/// Longest path that a parameter may make.
const PATH_BYTES_MAX: usize = 1024;
/// Longest file that is read: such a list is some kilobytes.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// The file and its owner.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct HomeFile {
    pub(super) path: PathBuf,
    uid: u32,
    gid: u32,
    /// The mode of a new one.
    mode: u32,
}

/// Whether `config` can be a path: absolute, or below the home folder, perhaps with `%h`, `%u` or `~`.
pub(super) fn check_path(param: &str, config: &str) -> Result<(), ParamsError> {
    let bad = config.is_empty()
        || config.len() > PATH_BYTES_MAX
        || config.chars().any(char::is_control)
        || config.split('/').any(|it| it == "..");
    if bad { Err(invalid(param, format!("`{config}` is no path of a file"))) } else { Ok(()) }
}

impl HomeFile {
    /// A file of root's that all may read.
    pub(super) fn of_system(path: &Path) -> Self {
        Self { path: path.to_owned(), uid: 0, gid: 0, mode: 0o644 }
    }

    /// `config` for this user.
    pub(super) fn of_user(host: &dyn Probe, name: &str, config: &str) -> Result<Self, Error> {
        let Some(user) = host.user(name).map_err(Error::host("look up user", name))? else {
            return Err(Error::Refused(format!("there is no user `{name}`, whose `{config}` this is")));
        };
        let home = user.home.trim_end_matches('/');
        let config = match config.strip_prefix("~/") {
            Some(rest) => rest.to_owned(),
            None => config.replace("%h", home).replace("%u", name).replace("%%", "%"),
        };
        let path = if config.starts_with('/') { config } else { format!("{home}/{config}") };
        Ok(Self { path: crate::args::plain_path(&path), uid: user.uid, gid: user.gid, mode: 0o600 })
    }

    /// What is in it; empty if there is none. A link that is not root's is not followed: whoever made it could lead root
    /// to a file that he may not read.
    pub(super) fn read(&self, host: &dyn Probe) -> Result<String, Error> {
        for path in [self.path.parent().unwrap_or(Path::new("/")), &self.path] {
            let found = host.stat(path, Links::Keep).map_err(Error::host("look at", path.display()))?;
            if found.is_some_and(|it| it.kind == FileKind::Symlink && it.uid != 0) {
                let text =
                    format!("`{}` is a symbolic link that is not root's; it is not followed", path.display());
                return Err(Error::Refused(text));
            }
        }
        let found =
            host.stat(&self.path, Links::Follow).map_err(Error::host("look at", self.path.display()))?;
        match found {
            None => return Ok(String::new()),
            Some(it) if it.kind != FileKind::File || it.size > FILE_BYTES_MAX => {
                return Err(Error::Refused(format!("`{}` is no list of keys", self.path.display())));
            }
            Some(_) => (),
        }
        let bytes = host.read(&self.path).map_err(Error::host("read", self.path.display()))?;
        String::from_utf8(bytes).map_err(|_| Error::Refused(format!("`{}` is not text", self.path.display())))
    }

    /// Puts `text` into it, and makes its folder if there is none.
    pub(super) fn write(&self, host: &mut dyn Host, text: &str) -> Result<(), Error> {
        let own = Attributes { mode: None, uid: Some(self.uid), gid: Some(self.gid) };
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        let found = host.stat(folder, Links::Follow).map_err(Error::host("look at", folder.display()))?;
        if found.is_none() {
            let mode = if self.mode == 0o600 { 0o700 } else { 0o755 };
            host.make_directory(folder, Attributes { mode: Some(mode), ..own })
                .map_err(Error::host("make folder", folder.display()))?;
        }
        let found =
            host.stat(&self.path, Links::Follow).map_err(Error::host("look at", self.path.display()))?;
        let how = match found {
            Some(it) => Attributes { mode: Some(it.mode), uid: Some(it.uid), gid: Some(it.gid) },
            None => Attributes { mode: Some(self.mode), ..own },
        };
        host.write(&self.path, Contents::Bytes(text.as_bytes()), how, Links::Follow)
            .map_err(Error::host("write", self.path.display()))
    }
}
