//! Small configuration files that are edited as text: read, compared and written as a whole.

use crate::{
    Error, Host, Probe,
    diff::contents_change,
    host::{Attributes, Contents, FileKind, Links},
};
use model::Plan;
use std::path::Path;

/// Folders that are made above a new file.
const FOLDERS_MAX: usize = 8;

/// The file's text; `None` if there is no file.
pub(crate) fn read_text(host: &dyn Probe, path: &Path) -> Result<Option<String>, Error> {
    let found = host.stat(path, Links::Follow).map_err(Error::host("look at", path.display()))?;
    match found {
        None => return Ok(None),
        Some(it) if it.kind == FileKind::Directory => {
            return Err(Error::Refused(format!("`{}` is a folder, not a file", path.display())));
        }
        Some(_) => (),
    }
    let bytes = host.read(path).map_err(Error::host("read", path.display()))?;
    let text = String::from_utf8(bytes);
    text.map(Some).map_err(|_| Error::Refused(format!("`{}` is not text", path.display())))
}

/// Notes in `plan` how the file changes, if it does.
pub(crate) fn compare_text(plan: &mut Plan, what: &str, now: Option<&str>, wanted: &str) {
    if now != Some(wanted) {
        plan.push(contents_change(what, now.map(str::as_bytes), wanted.as_bytes()));
    }
}

/// Writes it; folders above it that do not exist are made.
pub(crate) fn write_text(host: &mut dyn Host, path: &Path, text: &str) -> Result<(), Error> {
    let mut missing = Vec::new();
    for folder in path.ancestors().skip(1).take(FOLDERS_MAX) {
        let found = host.stat(folder, Links::Follow).map_err(Error::host("look at", folder.display()))?;
        if found.is_some() {
            break;
        }
        missing.push(folder);
    }
    for folder in missing.into_iter().rev() {
        host.make_directory(folder, Attributes::default())
            .map_err(Error::host("make folder", folder.display()))?;
    }
    host.write(path, Contents::Bytes(text.as_bytes()), Attributes::default(), Links::Follow)
        .map_err(Error::host("write", path.display()))
}

/// Whether something is at the path, links followed.
pub(crate) fn exists(host: &dyn Probe, path: impl AsRef<Path>) -> Result<bool, Error> {
    let path = path.as_ref();
    let found = host.stat(path, Links::Follow).map_err(Error::host("look for", path.display()))?;
    Ok(found.is_some())
}

/// A text with its last line ended.
pub(crate) fn ended(mut text: String) -> String {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text
}
