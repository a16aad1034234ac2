//! A configuration file whose contents follow from a step's parameters: how it differs, and writing it.

use crate::{
    Error, Host, Probe,
    diff::contents_change,
    host::{Attributes, Contents, FileKind, Links},
};
use model::{Change, Plan, SECRET_MASK};
use std::path::{Path, PathBuf};

/// Folders that are made above a file at most.
const FOLDERS_MAX: usize = 32;

/// A file of root's.
#[derive(Clone)]
pub(crate) struct WantedFile {
    pub(crate) path: PathBuf,
    pub(crate) contents: String,
    pub(crate) mode: u32,
    /// Lines that begin with one of these (without case) have a value after `=` that is never shown.
    pub(crate) secret_keys: &'static [&'static str],
}

impl std::fmt::Debug for WantedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({:04o}): {}", self.path.display(), self.mode, self.shown(&self.contents))
    }
}

impl WantedFile {
    /// Readable for all, nothing in it is secret.
    pub(crate) fn public(path: impl Into<PathBuf>, contents: String) -> Self {
        Self { path: path.into(), contents, mode: 0o644, secret_keys: &[] }
    }

    /// What is there now; `None` if nothing is.
    pub(crate) fn now(path: &Path, host: &dyn Probe) -> Result<Option<String>, Error> {
        let found = host.stat(path, Links::Follow).map_err(Error::host("look at", path.display()))?;
        match found {
            None => Ok(None),
            Some(it) if it.kind != FileKind::File => {
                Err(Error::Refused(format!("`{}` is {}, not a file", path.display(), it.kind.describe())))
            }
            Some(_) => {
                let bytes = host.read(path).map_err(Error::host("read", path.display()))?;
                Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
            }
        }
    }

    /// Notes as `what` how the file differs, and as `what mode` how its mode does.
    pub(crate) fn compare(&self, what: &str, host: &dyn Probe, plan: &mut Plan) -> Result<(), Error> {
        let now = Self::now(&self.path, host)?;
        if now.as_ref() != Some(&self.contents) {
            let old = now.as_deref().map(|it| self.shown(it));
            let new = self.shown(&self.contents);
            plan.push(if old.as_ref() == Some(&new) {
                let text = || Some(SECRET_MASK.to_owned());
                Change { what: what.to_owned(), from: text(), to: text(), diff: None }
            } else {
                contents_change(what, old.as_deref().map(str::as_bytes), new.as_bytes())
            });
        }
        if now.is_some() {
            let stat = host.stat(&self.path, Links::Follow);
            let mode = stat.map_err(Error::host("look at", self.path.display()))?.map(|it| it.mode);
            let octal = |it: u32| format!("{it:04o}");
            plan.differ(&format!("{what} mode"), mode.map(octal).as_ref(), &octal(self.mode));
        }
        Ok(())
    }

    /// Writes it, with the folders above it.
    pub(crate) fn write(&self, host: &mut dyn Host) -> Result<(), Error> {
        let mut missing = Vec::new();
        for folder in self.path.ancestors().skip(1).take(FOLDERS_MAX) {
            let found = host.stat(folder, Links::Follow);
            if found.map_err(Error::host("look at", folder.display()))?.is_some() {
                break;
            }
            missing.push(folder);
        }
        for folder in missing.into_iter().rev() {
            let made = host.make_directory(folder, Attributes::default());
            made.map_err(Error::host("make folder", folder.display()))?;
        }
        let how = Attributes { mode: Some(self.mode), ..Attributes::default() };
        let contents = Contents::Bytes(self.contents.as_bytes());
        host.write(&self.path, contents, how, Links::Follow)
            .map_err(Error::host("write", self.path.display()))
    }

    fn shown(&self, text: &str) -> String {
        if self.secret_keys.is_empty() {
            return text.to_owned();
        }
        text.lines().fold(String::new(), |all, line| {
            let key = line.split('=').next().unwrap_or_default().trim();
            let secret = self.secret_keys.iter().any(|it| key.eq_ignore_ascii_case(it));
            all + &(if secret { format!("{key} = {SECRET_MASK}") } else { line.to_owned() }) + "\n"
        })
    }
}

/// Notes that the file at `path` goes away, if it is there.
pub(crate) fn compare_absent(
    what: &str,
    path: &Path,
    host: &dyn Probe,
    plan: &mut Plan,
) -> Result<(), Error> {
    let found = host.stat(path, Links::Keep).map_err(Error::host("look at", path.display()))?;
    if let Some(stat) = found {
        let from = Some(stat.kind.describe().to_owned());
        plan.push(Change { what: what.to_owned(), from, to: None, diff: None });
    }
    Ok(())
}
