//! `notify.yaml` as a file: who can be told, and other services that rules call. It holds secrets, so it is for the master
//! alone, and files that it names are read beside it.

use crate::written::{Written, read_text};
use lang::notifiers::Notifiers;
use model::Diagnostic;
use std::{
    io,
    path::{Path, PathBuf},
};

/// Bytes of a file that a secret stands in.
const SECRET_BYTES_MAX: u64 = 64 * 1024;
/// Permission bits that a file with secrets does not have: 0600 and 0640 are good.
const TOO_OPEN: u32 = 0o037;

impl Written for Notifiers {
    const NAME: &'static str = "notify.yaml";
    const WITHOUT: &'static str = "without the file nobody is told anything";
    const NAMES_OTHERS: bool = true;

    fn guard(mode: u32) -> Result<(), &'static str> {
        let fault = "others may read it, and it holds secrets: chmod 0600 or 0640 it";
        if mode & TOO_OPEN == 0 { Ok(()) } else { Err(fault) }
    }

    fn parse(path: &Path, text: Option<&str>) -> Result<Self, Vec<Diagnostic>> {
        let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
        let read = |name: &str| -> Result<String, String> {
            let whole: PathBuf = folder.join(name);
            let certificates = whole.extension().is_some_and(|it| it == "pem" || it == "crt");
            let read = if certificates { std::fs::read_to_string(&whole) } else { read_secret(&whole) };
            read.map_err(|error| format!("cannot read `{}`: {error}", whole.display()))
        };
        let parsed = Self::parse(&path.display().to_string(), text.unwrap_or_default(), &read);
        parsed.value.ok_or(parsed.diagnostics)
    }
}

fn read_secret(path: &Path) -> io::Result<String> {
    let (text, mode) = read_text(path, SECRET_BYTES_MAX)?.ok_or(io::ErrorKind::NotFound)?;
    Notifiers::guard(mode).map_err(io::Error::other)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::written;
    use std::os::unix::fs::PermissionsExt;

    fn read(path: &Path) -> Result<Notifiers, Vec<Diagnostic>> {
        written::read(path)
    }

    #[test]
    fn a_file_that_others_may_read_is_not_read_and_mistakes_show_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify.yaml");
        assert_eq!(read(&path).unwrap().iter().count(), 0, "no file is nobody to tell");
        let text = "notifiers:\n  phone: {type: ntfy, url: https://ntfy.sh, topic: lab, token_file: token}\n";
        let write = |path: &Path, text: &str, mode: u32| {
            std::fs::write(path, text).unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        write(&path, text, 0o644);
        assert!(read(&path).unwrap_err()[0].message.contains("chmod 0600"));
        write(&path, text, 0o640);
        assert!(read(&path).unwrap_err()[0].message.contains("cannot read"), "the token is not there yet");
        write(&folder.path().join("token"), "tk_canary\n", 0o644);
        assert!(read(&path).unwrap_err()[0].message.contains("chmod 0600"));
        write(&folder.path().join("token"), "tk_canary\n", 0o600);
        let notifiers = read(&path).unwrap();
        assert!(!format!("{notifiers:?}").contains("tk_canary"));
        write(
            &path,
            "notifiers:\n  phone: {type: ntfy, token: tk_canary, url: 'https://canary@ntfy.sh'}\n  x: 'canary\n",
            0o600,
        );
        let told = format!("{:?}", read(&path).unwrap_err());
        assert!(!told.contains("canary"), "{told}");
    }
}
