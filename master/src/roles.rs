//! `roles.yaml` as a file: who may do what. None is the built-in roles.

use lang::roles::Roles;
use model::{Diagnostic, Severity};
use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
};

/// Bytes of the file.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Permission bits that let everybody write it.
const WRITABLE_BY_ALL: u32 = 0o002;

/// The text of the file; none if there is no file.
pub fn read_text(path: &Path) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if file.metadata()?.mode() & WRITABLE_BY_ALL != 0 {
        return Err(io::Error::other("everybody may write it: chmod 0644 it, and look who has"));
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    Ok(Some(text))
}

/// The roles of a text that was read.
pub fn parse(path: &Path, text: Option<&str>) -> Result<Roles, Vec<Diagnostic>> {
    let parsed = Roles::parse(&path.display().to_string(), text.unwrap_or_default());
    parsed.value.ok_or(parsed.diagnostics)
}

/// Reads the file.
pub fn read(path: &Path) -> Result<Roles, Vec<Diagnostic>> {
    match read_text(path) {
        Ok(text) => parse(path, text.as_deref()),
        Err(error) => Err(vec![unreadable(path, &error)]),
    }
}

/// The complaint about a file that cannot be read.
pub fn unreadable(path: &Path, error: &io::Error) -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        code: "E0703".into(),
        message: format!("cannot read `{}`: {error}", path.display()),
        spans: Vec::new(),
        notes: Vec::new(),
        help: Some("without the file, the built-in roles are in use".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn no_file_is_the_built_in_roles_and_one_that_all_may_write_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("roles.yaml");
        assert!(read(&path).unwrap().get("viewer").is_some());
        std::fs::write(&path, "roles: {deployer: {allow: [{functions: state.apply}]}}\n").unwrap();
        assert!(read(&path).unwrap().get("deployer").is_some());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        assert!(read(&path).unwrap_err()[0].message.contains("everybody may write it"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        std::fs::write(&path, "roles: 7\n").unwrap();
        assert!(read(&path).unwrap_err()[0].spans[0].file.ends_with("roles.yaml"));
    }
}
