//! `notify.yaml` as a file: who can be told, and other services that rules call. It holds secrets, so it is for the master
//! alone, and files that it names are read beside it.

use lang::notifiers::Notifiers;
use model::{Diagnostic, Severity};
use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Bytes of the file, and of one that a secret stands in.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
const SECRET_BYTES_MAX: u64 = 64 * 1024;
/// Permission bits that a file with secrets does not have: 0600 and 0640 are good.
const TOO_OPEN: u32 = 0o037;

/// The text of the file; none if there is no file.
pub fn read_text(path: &Path) -> io::Result<Option<String>> {
    match read_private(path, FILE_BYTES_MAX) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn read_private(path: &Path, most: u64) -> io::Result<String> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    if metadata.mode() & TOO_OPEN != 0 {
        return Err(io::Error::other("others may read it, and it holds secrets: chmod 0600 or 0640 it"));
    }
    let mut text = String::new();
    file.take(most + 1).read_to_string(&mut text)?;
    if text.len() as u64 > most {
        return Err(io::Error::other(format!("it has more than {most} bytes")));
    }
    Ok(text)
}

/// What a text that was read says.
pub fn parse(path: &Path, text: Option<&str>) -> Result<Notifiers, Vec<Diagnostic>> {
    let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
    let read = |name: &str| -> Result<String, String> {
        let whole: PathBuf = folder.join(name);
        let certificates = whole.extension().is_some_and(|it| it == "pem" || it == "crt");
        let read = if certificates {
            std::fs::read_to_string(&whole)
        } else {
            read_private(&whole, SECRET_BYTES_MAX)
        };
        read.map_err(|error| format!("cannot read `{}`: {error}", whole.display()))
    };
    let parsed = Notifiers::parse(&path.display().to_string(), text.unwrap_or_default(), &read);
    parsed.value.ok_or(parsed.diagnostics)
}

/// Reads the file.
pub fn read(path: &Path) -> Result<Notifiers, Vec<Diagnostic>> {
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
        help: Some("without the file nobody is told anything".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

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
