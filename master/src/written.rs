//! Files that people write for the master and that it reads again when they are edited: their text, who may touch them,
//! and what is wrong with them.

use model::{Diagnostic, Severity};
use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
};

/// Bytes of such a file.
pub(crate) const FILE_BYTES_MAX: u64 = 1 << 20;

/// What stands in a file of its own.
pub(crate) trait Written: Sized + Send + Sync + 'static {
    /// How the file is called, for people.
    const NAME: &'static str;
    /// What is so while it cannot be read, for people.
    const WITHOUT: &'static str;
    /// Other files that it names say something too: an edit of them does not alter its text.
    const NAMES_OTHERS: bool;

    /// What is wrong with permissions like these, if anything.
    fn guard(mode: u32) -> Result<(), &'static str>;

    /// What a text says; none is that there is no file.
    fn parse(path: &Path, text: Option<&str>) -> Result<Self, Vec<Diagnostic>>;
}

/// What a look at a file gave.
pub(crate) type Text = Result<Option<String>, Box<Diagnostic>>;

/// Looks at a file.
pub(crate) fn look<T: Written>(path: &Path) -> Text {
    let read = read_text(path, FILE_BYTES_MAX).and_then(|read| match read {
        Some((_, mode)) if let Err(fault) = T::guard(mode) => Err(io::Error::other(fault)),
        read => Ok(read.map(|it| it.0)),
    });
    read.map_err(|error| Box::new(complaint("read", path, &error, T::WITHOUT)))
}

/// What it says.
pub(crate) fn says<T: Written>(path: &Path, text: &Text) -> Result<T, Vec<Diagnostic>> {
    match text {
        Ok(text) => T::parse(path, text.as_deref()),
        Err(complaint) => Err(vec![(**complaint).clone()]),
    }
}

/// Reads a file.
pub(crate) fn read<T: Written>(path: &Path) -> Result<T, Vec<Diagnostic>> {
    says(path, &look::<T>(path))
}

/// A file and its permission bits; none if there is no file.
pub(crate) fn read_text(path: &Path, most: u64) -> io::Result<Option<(String, u32)>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut text = String::new();
    file.take(most + 1).read_to_string(&mut text)?;
    if text.len() as u64 > most {
        return Err(io::Error::other(format!("it is longer than {most} bytes")));
    }
    Ok(Some((text, meta.mode())))
}

/// The complaint about a file that cannot be read, or used.
pub(crate) fn complaint(verb: &str, path: &Path, error: &io::Error, help: &str) -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        code: "E0703".into(),
        message: format!("cannot {verb} `{}`: {error}", path.display()),
        spans: Vec::new(),
        notes: Vec::new(),
        help: Some(help.into()),
    }
}
