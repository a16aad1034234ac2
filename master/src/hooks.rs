//! `hooks.yaml` and the secrets of its hooks as files; signatures of senders; what their payloads mean.

mod payload;
pub(crate) mod recipes;
pub(crate) mod signature;

pub use signature::Mark;

use crate::written::{self, FILE_BYTES_MAX, read_text};
use lang::hooks::{Hooks, Place};
use model::{Diagnostic, Secret};
use std::{
    collections::BTreeMap,
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Bytes of a file with secrets: one a line.
const SECRET_BYTES_MAX: u64 = 4 << 10;
/// Secrets of one hook that the master keeps: the newest, and the one before.
const KEPT_MAX: usize = 2;
/// Characters of a secret, at least.
const SECRET_MIN: usize = 16;
/// Permission bits that let everybody read or write a file.
const READABLE_BY_ALL: u32 = 0o004;
const WRITABLE_BY_ALL: u32 = 0o002;

/// Hooks with their secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keyring {
    /// What the file says.
    pub(crate) hooks: Hooks,
    secrets: BTreeMap<String, Vec<Secret>>,
}

impl Keyring {
    /// The secrets of a hook; none, and nobody gets in.
    pub(crate) fn secrets(&self, hook: &str) -> &[Secret] {
        self.secrets.get(hook).map(Vec::as_slice).unwrap_or_default()
    }

    /// For tests: of a text that holds its secrets.
    #[cfg(test)]
    pub(crate) fn of_text(text: &str) -> Self {
        let hooks = Hooks::parse("hooks.yaml", text).value.expect("a test writes good hooks");
        let here = |it: &lang::hooks::Hook| match &it.secret {
            Place::Here(secrets) => secrets.clone(),
            _ => Vec::new(),
        };
        let secrets = hooks.named.iter().map(|(name, it)| (name.clone(), here(it))).collect();
        Self { hooks, secrets }
    }
}

/// Where hooks and the secrets that the master keeps of them are.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// `hooks.yaml`.
    pub(crate) file: PathBuf,
    /// One file a hook, in the master's own folder.
    pub(crate) kept: PathBuf,
}

impl Files {
    /// Reads everything anew; no file is no hooks.
    pub(crate) fn read(&self) -> Result<Keyring, Vec<Diagnostic>> {
        let text = read_text(&self.file, FILE_BYTES_MAX).map_err(|it| vec![complaint(&self.file, &it)])?;
        let Some((text, mode)) = text else { return Ok(Keyring::default()) };
        if mode & WRITABLE_BY_ALL != 0 {
            let error = io::Error::other("everybody may write it: chmod 0640 it, and look who has");
            return Err(vec![complaint(&self.file, &error)]);
        }
        let parsed = Hooks::parse(&self.file.display().to_string(), &text);
        let hooks = parsed.value.ok_or(parsed.diagnostics)?;
        let (mut secrets, mut complaints) = (BTreeMap::new(), Vec::new());
        for (name, hook) in &hooks.named {
            let found = match &hook.secret {
                Place::Here(_) if mode & READABLE_BY_ALL != 0 => {
                    let error =
                        io::Error::other("it holds secrets, and everybody may read it: chmod 0640 it");
                    Err(complaint(&self.file, &error))
                }
                Place::Here(secrets) => Ok(secrets.clone()),
                Place::File(path) => secrets_in(path, true).map_err(|it| complaint(path, &it)),
                Place::Kept => {
                    let path = self.kept.join(name);
                    secrets_in(&path, false).map_err(|it| complaint(&path, &it))
                }
            };
            match found {
                Ok(found) => drop(secrets.insert(name.clone(), found)),
                Err(complaint) if complaints.contains(&complaint) => {}
                Err(complaint) => complaints.push(complaint),
            }
        }
        if complaints.is_empty() { Ok(Keyring { hooks, secrets }) } else { Err(complaints) }
    }

    /// Keeps a new secret of a hook in front of the one before, or alone. The name was checked.
    pub(crate) fn keep(&self, name: &str, secret: &Secret, alone: bool) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.kept)?;
        let path = self.kept.join(name);
        let before = if alone { Vec::new() } else { secrets_in(&path, false).unwrap_or_default() };
        let lines = std::iter::once(secret).chain(&before).take(KEPT_MAX);
        let new = self.kept.join(format!(".{name}.new"));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        for line in lines {
            file.write_all(line.reveal().as_bytes())?;
            file.write_all(b"\n")?;
        }
        file.sync_all()?;
        std::fs::rename(&new, &path)?;
        File::open(&self.kept)?.sync_all()
    }
}

/// One secret a line.
fn secrets_in(path: &Path, must_be: bool) -> io::Result<Vec<Secret>> {
    let Some((text, mode)) = read_text(path, SECRET_BYTES_MAX)? else {
        return if must_be { Err(io::ErrorKind::NotFound.into()) } else { Ok(Vec::new()) };
    };
    if mode & (READABLE_BY_ALL | WRITABLE_BY_ALL) != 0 {
        return Err(io::Error::other("it holds a secret, and everybody may read or write it: chmod 0640 it"));
    }
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|it| !it.is_empty()).collect();
    if lines.is_empty() || lines.iter().any(|it| it.len() < SECRET_MIN) {
        return Err(io::Error::other(format!(
            "it holds one secret a line, of {SECRET_MIN} characters and more"
        )));
    }
    Ok(lines.into_iter().map(Secret::new).collect())
}

fn complaint(path: &Path, error: &io::Error) -> Diagnostic {
    written::complaint("use", path, error, "until then the hooks stay as they were")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    struct Ground {
        _folder: tempfile::TempDir,
        files: Files,
    }

    impl Ground {
        fn new(text: &str, mode: u32) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let files = Files { file: folder.path().join("hooks.yaml"), kept: folder.path().join("kept") };
            let ground = Self { _folder: folder, files };
            Self::write(&ground.files.file, text, mode);
            ground
        }
        fn write(path: &Path, text: &str, mode: u32) {
            std::fs::write(path, text).unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        fn told(&self) -> String {
            format!("{:?}", self.files.read().unwrap_err())
        }
    }

    #[test]
    fn secrets_are_taken_from_where_the_file_says_and_from_nowhere_that_all_may_read() {
        let ground = Ground::new("a: {recipe: github, secret: 0123456789abcdef}\n", 0o640);
        assert_eq!(ground.files.read().unwrap().secrets("a").len(), 1);
        assert!(ground.files.read().unwrap().secrets("b").is_empty());
        Ground::write(&ground.files.file, "a: {recipe: github, secret: 0123456789abcdef}\n", 0o644);
        assert!(ground.told().contains("everybody may read it"), "{}", ground.told());
        assert!(!ground.told().contains("0123456789abcdef"));
        Ground::write(&ground.files.file, "a: {recipe: github}\n", 0o666);
        assert!(ground.told().contains("everybody may write it"));
        let path = ground.files.file.with_file_name("secret");
        Ground::write(
            &ground.files.file,
            &format!("a: {{recipe: github, secret_file: {}}}\n", path.display()),
            0o644,
        );
        assert!(ground.told().contains("secret"), "it must be there");
        for (text, mode, good) in [
            ("0123456789abcdef\n", 0o600, true),
            ("0123456789abcdef\n", 0o644, false),
            ("short\n", 0o600, false),
            ("\n", 0o600, false),
        ] {
            Ground::write(&path, text, mode);
            assert_eq!(ground.files.read().is_ok(), good, "{text:?} {mode:o}");
        }
    }

    #[test]
    fn a_secret_that_was_made_is_kept_with_the_one_before_it() {
        let ground = Ground::new("a: {recipe: gitea}\n", 0o644);
        assert!(ground.files.read().unwrap().secrets("a").is_empty(), "nobody gets in");
        let secrets = || {
            ground
                .files
                .read()
                .unwrap()
                .secrets("a")
                .iter()
                .map(|it| it.reveal().to_owned())
                .collect::<Vec<_>>()
        };
        for number in 1..4 {
            ground.files.keep("a", &Secret::new(format!("secret-number-{number}-")), false).unwrap();
        }
        assert_eq!(secrets(), ["secret-number-3-", "secret-number-2-"]);
        ground.files.keep("a", &Secret::new("secret-number-4-"), true).unwrap();
        assert_eq!(secrets(), ["secret-number-4-"]);
        let meta = std::fs::metadata(ground.files.kept.join("a")).unwrap();
        assert_eq!(meta.mode() & 0o777, 0o600);
    }

    #[test]
    fn no_file_is_no_hooks() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files { file: folder.path().join("hooks.yaml"), kept: folder.path().join("kept") };
        assert_eq!(files.read(), Ok(Keyring::default()));
    }
}
