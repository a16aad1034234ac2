//! `roles.yaml` as a file: who may do what. None is the built-in roles.

use crate::written::Written;
use lang::roles::Roles;
use model::Diagnostic;
use std::path::Path;

/// Permission bits that let everybody write it.
const WRITABLE_BY_ALL: u32 = 0o002;

impl Written for Roles {
    const NAME: &'static str = "roles.yaml";
    const WITHOUT: &'static str = "without the file, the built-in roles are in use";
    const NAMES_OTHERS: bool = false;

    fn guard(mode: u32) -> Result<(), &'static str> {
        let fault = "everybody may write it: chmod 0644 it, and look who has";
        if mode & WRITABLE_BY_ALL == 0 { Ok(()) } else { Err(fault) }
    }

    fn parse(path: &Path, text: Option<&str>) -> Result<Self, Vec<Diagnostic>> {
        let parsed = Self::parse(&path.display().to_string(), text.unwrap_or_default());
        parsed.value.ok_or(parsed.diagnostics)
    }
}

/// Reads the file.
pub fn read(path: &Path) -> Result<Roles, Vec<Diagnostic>> {
    crate::written::read(path)
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
