//! Walks the folders of the trees: relative paths only, nothing outside of them, everything bounded.

use super::{Layout, complaint};
use bus::beneath;
use lang::{Dialect, Source, is_left_out};
use model::{ContentHash, Diagnostic, Severity, broken};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files up to this size are kept in memory.
pub(super) const KEPT_BYTES_MAX: usize = 1024 * 1024;
/// Bytes kept in memory in all; beyond that, files are known by hash only.
const KEPT_ALL_MAX: usize = 64 * 1024 * 1024;
/// Files in all trees.
const FILES_MAX: usize = 20_000;
/// Folders in one another.
const DEPTH_MAX: usize = 24;
/// Bytes of a file that may be hashed and served.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024 * 1024;
/// Complaints of one reading.
const PROBLEMS_MAX: usize = 50;

/// What a reading found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) sources: BTreeMap<String, Source>,
    pub(super) files: BTreeMap<ContentHash, PathBuf>,
    pub(super) problems: Vec<Diagnostic>,
    /// Something of `reactors/` could not be read.
    pub(super) lacks_rules: bool,
    kept: usize,
}

/// Files as they were at the last reading, so that only what changed is read again.
#[derive(Debug, Default)]
pub(super) struct Seen {
    files: HashMap<PathBuf, (Stamp, Source)>,
}

type Stamp = (u64, u64, u64, i64, i64, i64, i64);

fn stamp(meta: &Metadata) -> Stamp {
    let (changed, changed_ns) = (meta.ctime(), meta.ctime_nsec());
    (meta.dev(), meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec(), changed, changed_ns)
}

/// Reads everything.
pub(super) fn scan(layout: &Layout, seen: &mut Seen) -> Found {
    let mut found = Found::default();
    let mut next = Seen::default();
    for (kind, folders) in layout.kinds() {
        for folder in folders {
            let Ok(root) = folder.path.canonicalize() else { continue };
            let (folder, dialect) = (&folder.path, folder.dialect);
            let mut walk =
                Walk { kind: &kind, folder, dialect, root: &root, seen, next: &mut next, found: &mut found };
            walk.folder(folder, &kind, 0);
        }
    }
    *seen = next;
    found.problems.truncate(PROBLEMS_MAX);
    found
}

struct Walk<'a> {
    kind: &'a str,
    folder: &'a Path,
    dialect: Dialect,
    root: &'a Path,
    seen: &'a Seen,
    next: &'a mut Seen,
    found: &'a mut Found,
}

impl Walk<'_> {
    fn folder(&mut self, folder: &Path, name: &str, depth: usize) {
        if depth > DEPTH_MAX {
            let message = format!("more than {DEPTH_MAX} folders in one another");
            return self.complain(name, message, "is a link pointing at a folder above it?");
        }
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => {
                let message = format!("cannot read the folder `{}`: {error}", folder.display());
                return self.complain(name, message, "labmaster must be able to read it");
            }
        };
        let mut names: Vec<_> = entries.filter_map(|it| it.ok().map(|it| it.file_name())).collect();
        names.sort();
        for entry in names {
            let Some(entry) = entry.to_str() else {
                self.complain(
                    name,
                    format!("a file name here is not UTF-8: {}", entry.display()),
                    "rename it",
                );
                continue;
            };
            if !is_left_out(entry) {
                self.entry(&folder.join(entry), &format!("{name}/{entry}"), depth);
            }
        }
    }
    fn entry(&mut self, path: &Path, name: &str, depth: usize) {
        let meta = match std::fs::symlink_metadata(path) {
            Ok(meta) if meta.is_symlink() => match self.follow(path, name) {
                Some(meta) => meta,
                None => return,
            },
            Ok(meta) => meta,
            // It has just gone away: the next event of the watch tells.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => {
                return self.complain(name, format!("cannot look at it: {error}"), "check its folder");
            }
        };
        if meta.is_dir() {
            self.folder(path, name, depth + 1);
        } else if meta.is_file() && !self.found.sources.contains_key(name) {
            self.file(path, name, &meta);
        }
    }
    /// What a link points at, if that lies in the same folder of the tree and does not lead in a circle.
    fn follow(&mut self, path: &Path, name: &str) -> Option<Metadata> {
        let Ok(real) = path.canonicalize() else {
            self.complain(name, "this link points at nothing".into(), "remove it, or make what it points at");
            return None;
        };
        if !real.starts_with(self.root) && !broken::leaves_out("open-beneath") {
            let message = format!("this link points out of `{}`", self.folder.display());
            self.complain(name, message, "copy the file, or add its folder to `trees:` in master.yaml");
            return None;
        }
        if path.parent().and_then(|it| it.canonicalize().ok()).is_some_and(|it| it.starts_with(&real)) {
            self.complain(name, "this link points at a folder above it".into(), "remove it");
            return None;
        }
        std::fs::metadata(&real).ok()
    }
    fn file(&mut self, path: &Path, name: &str, meta: &Metadata) {
        if self.found.sources.len() >= FILES_MAX {
            return self.complain(
                name,
                format!("more than {FILES_MAX} files"),
                "move what is not needed away",
            );
        }
        let stamp = stamp(meta);
        let known = self.seen.files.get(path).filter(|(before, _)| *before == stamp);
        // A file that was written a moment ago may be written again without a change of its time stamp.
        let keep = known.is_some() || is_settled(meta);
        let source = match known {
            Some((_, source)) => Ok(source.clone()),
            None => read(self.root, path),
        };
        let mut source = match source {
            Ok(source) => source,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => {
                let help = "labmaster must be able to read it";
                return self.complain(name, format!("cannot read it: {error}"), help);
            }
        };
        if keep {
            self.next.files.insert(path.to_owned(), (stamp, source.clone()));
        }
        self.found.kept += source.bytes.as_ref().map_or(0, |it| it.len());
        if self.found.kept > KEPT_ALL_MAX {
            source.bytes = None;
        }
        source.dialect = self.dialect;
        if self.kind == "states" || self.kind.starts_with("states@") {
            self.found.files.entry(source.hash).or_insert_with(|| path.to_owned());
        }
        self.found.sources.insert(name.to_owned(), source);
    }
    fn complain(&mut self, name: &str, message: String, help: &str) {
        self.found.lacks_rules |= self.kind == "reactors" && !self.dialect.salt;
        if self.found.problems.len() < PROBLEMS_MAX {
            // Salt leaves out what it cannot read: one dead link must not hold back a tree that ran there.
            let severity = if self.dialect.salt { Severity::Warning } else { Severity::Error };
            self.found.problems.push(complaint(severity, name, message, help));
        }
    }
}

/// Whether a later change is bound to change the time stamp.
fn is_settled(meta: &Metadata) -> bool {
    meta.modified().ok().and_then(|it| it.elapsed().ok()).is_some_and(|it| it.as_millis() > 100)
}

/// What lies there is what was opened, whatever is put in its place meanwhile.
fn read(root: &Path, path: &Path) -> io::Result<Source> {
    let mut file = beneath::open(root, path)?;
    let meta = file.metadata()?;
    let mode = meta.mode() & 0o7777;
    if meta.len() <= KEPT_BYTES_MAX as u64 {
        let mut bytes = Vec::new();
        (&file).take(KEPT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() <= KEPT_BYTES_MAX {
            let hash = ContentHash(Sha256::digest(&bytes).into());
            return Ok(Source {
                size: bytes.len() as u64,
                bytes: Some(bytes.into()),
                hash,
                mode,
                dialect: Dialect::default(),
            });
        }
        file.rewind()?;
    }
    let (hash, size) = digest(&mut file.take(FILE_BYTES_MAX))?;
    Ok(Source { bytes: None::<Arc<[u8]>>, hash, size, mode, dialect: Dialect::default() })
}

/// Hash and length of what is read.
pub(super) fn digest(from: &mut impl Read) -> io::Result<(ContentHash, u64)> {
    let mut sum = Sha256::new();
    let mut chunk = vec![0; 64 * 1024];
    let mut size = 0;
    loop {
        let read = from.read(&mut chunk)?;
        if read == 0 {
            return Ok((ContentHash(sum.finalize().into()), size));
        }
        sum.update(&chunk[..read]);
        size += read as u64;
    }
}

/// A file at its beginning, if it still has the content it is to be served as: what was looked through is served.
pub(crate) fn open_content(path: &Path, hash: ContentHash) -> Option<File> {
    let mut file = File::open(path).ok().filter(|it| it.metadata().is_ok_and(|it| it.is_file()))?;
    let (found, _) = digest(&mut (&file).take(FILE_BYTES_MAX)).ok()?;
    file.rewind().ok().filter(|()| found == hash)?;
    Some(file)
}
