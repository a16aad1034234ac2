//! What `getfacl` is asked.

use crate::host::Command;
use std::path::PathBuf;

/// A question about the access list of a file or folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Where.
    pub path: PathBuf,
    /// Of everything below it as well.
    pub recurse: bool,
}

impl Question {
    pub(super) fn command(&self) -> Command {
        let path = self.path.display().to_string();
        let mut argv = vec!["getfacl", "--absolute-names", "--omit-header", "--no-effective"];
        if self.recurse {
            argv.extend(["--recursive", "--physical"]);
        }
        argv.extend(["--", &path]);
        super::plain(&argv)
    }
}
