//! The files of a commit, written from git's objects: plain files first, links last, nothing else, everything bounded.

use super::{GitError, io_error, run::Git};
use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, BufRead, Read},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink},
    path::{Component, Path, PathBuf},
};

/// Files and links of one commit.
const FILES_MAX: usize = 20_000;
/// Bytes of all of them.
const BYTES_MAX: u64 = 512 << 20;
/// Bytes of the list of them.
const LIST_BYTES_MAX: usize = 8 << 20;
/// Bytes of what a link says.
const LINK_BYTES_MAX: u64 = 4 << 10;

/// Files that are synced at the same time: a file system writes what many wait for in one go.
const SYNCS_MAX: usize = 8;

/// What an object is in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    File { runs: bool },
    Link,
}

#[derive(Debug)]
struct Entry {
    kind: Kind,
    object: String,
    size: u64,
    path: PathBuf,
}

/// Writes all files of a commit into a new folder.
pub(super) fn write(git: &Git, id: &str, folder: &Path) -> Result<(), GitError> {
    let list = git.output(&["ls-tree", "-r", "-z", "-l", "--full-tree", id], LIST_BYTES_MAX)?;
    let mut entries = Vec::new();
    let mut bytes = 0_u64;
    for line in list.split(|it| *it == 0).filter(|it| !it.is_empty()) {
        let entry = entry(line)?;
        bytes = bytes.saturating_add(entry.size);
        entries.push(entry);
        if entries.len() > FILES_MAX || bytes > BYTES_MAX {
            let (files, mib) = (FILES_MAX, BYTES_MAX >> 20);
            return Err(GitError::Content(format!("it has more than {files} files or {mib} MiB")));
        }
    }
    make_folder(folder)?;
    // Nothing is ever written through a link: there are none yet.
    entries.sort_by_key(|it| it.kind == Kind::Link);
    let wanted = entries.iter().flat_map(|it| [it.object.as_str(), "\n"]).collect::<String>();
    let mut running = git.start(&["cat-file", "--batch"], wanted.into_bytes())?;
    for entry in &entries {
        let size = next_object(&mut running.out, entry)?;
        let path = folder.join(&entry.path);
        if let Some(above) = path.parent() {
            make_folder(above)?;
        }
        match entry.kind {
            Kind::File { runs } => write_file(&mut running.out, size, &path, runs)?,
            Kind::Link => write_link(&mut running.out, size, &path, &entry.path)?,
        }
        let mut end = [0; 1];
        running.out.read_exact(&mut end).map_err(broken_off)?;
    }
    running.end()
}

/// Puts all files of a folder on disk, and their names; links are followed nowhere.
pub(super) fn sync(folder: &Path) -> io::Result<()> {
    let (mut folders, mut files) = (vec![folder.to_owned()], Vec::new());
    let mut next = 0;
    while let Some(folder) = folders.get(next).cloned() {
        next += 1;
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            match entry.file_type()? {
                kind if kind.is_dir() => folders.push(entry.path()),
                kind if kind.is_file() => files.push(entry.path()),
                _ => {}
            }
        }
    }
    sync_all(&files)?;
    sync_all(&folders)
}

fn sync_all(paths: &[PathBuf]) -> io::Result<()> {
    let one = |path: &PathBuf| File::open(path)?.sync_all();
    std::thread::scope(|scope| {
        let parts = paths.chunks(paths.len().div_ceil(SYNCS_MAX).max(1));
        let threads: Vec<_> = parts.map(|part| scope.spawn(move || part.iter().try_for_each(one))).collect();
        let bug = |_| Err(io::Error::other("a sync ended in a bug"));
        threads.into_iter().try_for_each(|it| it.join().unwrap_or_else(bug))
    })
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn broken_off(error: std::io::Error) -> GitError {
    GitError::Git(format!("cat-file ended in the middle: {error}"))
}

fn make_folder(path: &Path) -> Result<(), GitError> {
    DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(io_error("make", path))
}

/// One line of `ls-tree -l`: `100644 blob ID    SIZE<tab>PATH`.
fn entry(line: &[u8]) -> Result<Entry, GitError> {
    let strange =
        || GitError::Content(format!("git lists something strange: {}", String::from_utf8_lossy(line)));
    let tab = line.iter().position(|it| *it == b'\t').ok_or_else(strange)?;
    let (head, path) = (std::str::from_utf8(&line[..tab]).map_err(|_| strange())?, &line[tab + 1..]);
    let Ok(path) = std::str::from_utf8(path) else {
        return Err(GitError::Content(format!("a name is not UTF-8: {}", String::from_utf8_lossy(path))));
    };
    let mut fields = head.split_ascii_whitespace();
    let (mode, _, object, size) = (fields.next(), fields.next(), fields.next(), fields.next());
    let kind = match mode {
        Some("100644" | "100664") => Kind::File { runs: false },
        Some("100755") => Kind::File { runs: true },
        Some("120000") => Kind::Link,
        Some("160000") => {
            return Err(GitError::Content(format!(
                "`{path}` is a submodule: its files are in no commit of this repository"
            )));
        }
        _ => return Err(strange()),
    };
    let object = object.filter(|it| super::is_id(it)).ok_or_else(strange)?.to_owned();
    let size = size.and_then(|it| it.parse().ok()).ok_or_else(strange)?;
    Ok(Entry { kind, object, size, path: inside(path)? })
}

/// A path that stays in its folder, and in no `.git`.
fn inside(text: &str) -> Result<PathBuf, GitError> {
    let path = Path::new(text);
    let plain =
        |it: Component<'_>| matches!(it, Component::Normal(name) if !name.eq_ignore_ascii_case(".git"));
    let whole: PathBuf = path.components().collect();
    if path.components().all(plain) && !text.is_empty() && whole.as_os_str() == path.as_os_str() {
        return Ok(whole);
    }
    Err(GitError::Content(format!("`{text}` is no path in a tree")))
}

/// The head of the next object: `ID blob SIZE`.
fn next_object(out: &mut impl BufRead, entry: &Entry) -> Result<u64, GitError> {
    let mut head = Vec::new();
    out.take(256).read_until(b'\n', &mut head).map_err(broken_off)?;
    let head = String::from_utf8_lossy(&head);
    let found =
        head.trim_end().strip_prefix(&format!("{} blob ", entry.object)).and_then(|it| it.parse().ok());
    let size = found.filter(|it| *it == entry.size);
    size.ok_or_else(|| {
        GitError::Content(format!("`{}` is not what its tree says it is", entry.path.display()))
    })
}

fn write_file(out: &mut impl Read, size: u64, path: &Path, runs: bool) -> Result<(), GitError> {
    let mode = if runs { 0o755 } else { 0o644 };
    let open = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut file = open.map_err(io_error("make", path))?;
    let copied = std::io::copy(&mut out.take(size), &mut file).map_err(io_error("write", path))?;
    if copied == size { Ok(()) } else { Err(GitError::Git("cat-file ended in the middle".to_owned())) }
}

/// Where it leads is judged by who reads the tree.
fn write_link(out: &mut impl Read, size: u64, path: &Path, name: &Path) -> Result<(), GitError> {
    let mut text = String::new();
    let long = size > LINK_BYTES_MAX;
    let read = out.take(size.min(LINK_BYTES_MAX)).read_to_string(&mut text);
    if long || read.is_err() || text.contains('\0') || text.is_empty() {
        return Err(GitError::Content(format!("the link `{}` leads nowhere", name.display())));
    }
    symlink(&text, path).map_err(io_error("make the link", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_tree_lists_stays_inside_and_is_a_file_or_a_link() {
        let id = "bffeb74224043ba2feb48d137756c8a9331c449a";
        let read = |mode: &str, path: &str| entry(format!("{mode} blob {id}       7\t{path}").as_bytes());
        let good = read("100755", "states/web/init.sls").unwrap();
        assert_eq!(
            (good.kind, good.size, good.path),
            (Kind::File { runs: true }, 7, "states/web/init.sls".into())
        );
        assert_eq!(read("120000", "states/link").unwrap().kind, Kind::Link);
        assert!(read("160000", "sub").unwrap_err().to_string().contains("`sub` is a submodule"));
        for path in [
            "../x",
            "/etc/passwd",
            "a/../b",
            "a/./b",
            "",
            ".",
            "..",
            ".git/hooks/post-checkout",
            "a/.GIT/config",
            "a//b",
            "a/",
        ] {
            assert!(read("100644", path).is_err(), "{path}");
        }
        for bad in [
            "",
            "100644 blob x 7\ta",
            "100644 blob\ta",
            "040000 tree bffeb74224043ba2feb48d137756c8a9331c449a -\ta",
        ] {
            assert!(entry(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(entry(b"100644 blob bffeb74224043ba2feb48d137756c8a9331c449a 7\ta\xff").is_err());
    }
}
