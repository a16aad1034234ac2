//! What a booted host is like: files, accounts, packages and what a script says, as lines that can be compared.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};
use tests::hosts::Host;

/// Longest content that is shown; of longer ones their length is.
const SHOWN_MAX: u64 = 400;

/// What the system itself writes at any time.
const RESTLESS: &[&str] = &["var/log", "var/lib/systemd", "tmp", "run", "proc", "sys", "dev"];

/// Accounts (without the dates of passwords) and packages.
const ALWAYS: &str = "sed 's/^/passwd /' /etc/passwd; sed 's/^/group /' /etc/group; \
     awk -F: '{ print \"shadow\", $1, $2 }' /etc/shadow; \
     dpkg-query -W -f='package ${Package} ${db:Status-Status}\\n'";

/// Looks at a host.
pub(crate) struct Observer<'a> {
    pub(crate) host: &'a Host,
    /// Folders of it.
    pub(crate) watch: &'a [String],
    /// Said by it.
    pub(crate) script: &'a str,
}

impl Observer<'_> {
    /// Everything, a line each.
    pub(crate) fn look(&self) -> BTreeSet<String> {
        let mut lines = BTreeSet::new();
        let root = self.host.root();
        for folder in self.watch {
            walk(&root.join(folder.trim_start_matches('/')), &mut |path, meta| {
                lines.insert(describe(&root, path, meta));
                true
            });
        }
        let said = self.host.sh(&format!("{ALWAYS}\n{}", self.script));
        lines.extend(said.lines().map(ToOwned::to_owned));
        lines
    }
}

fn describe(root: &Path, path: &Path, meta: &fs::Metadata) -> String {
    let name = path.strip_prefix(root).unwrap().display();
    let owner = format!("{:04o} {}:{}", meta.permissions().mode() & 0o7777, meta.uid(), meta.gid());
    if meta.is_symlink() {
        return format!("link /{name} -> {}", fs::read_link(path).unwrap().display());
    }
    if meta.is_dir() {
        return format!("folder {owner} /{name}");
    }
    let content = match meta.len() {
        0..=SHOWN_MAX => format!("{:?}", String::from_utf8_lossy(&fs::read(path).unwrap())),
        more => format!("{more} bytes"),
    };
    format!("file {owner} /{name} {content}")
}

/// All files of a root with their attributes and times: equal only if nothing at all was written.
pub(crate) fn fingerprint(root: &Path) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    walk(root, &mut |path, meta| {
        let name = path.strip_prefix(root).unwrap();
        if RESTLESS.iter().any(|it| name == Path::new(it)) {
            return false;
        }
        let owner = (meta.mode(), meta.uid(), meta.gid());
        let times = (meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec());
        lines.insert(format!("{} {owner:?} {} {times:?}", name.display(), meta.len()));
        true
    });
    lines
}

/// The path itself and what is beneath it, as long as `visit` says so; what vanishes on the way is left out.
fn walk(path: &Path, visit: &mut dyn FnMut(&Path, &fs::Metadata) -> bool) {
    let Ok(meta) = fs::symlink_metadata(path) else { return };
    if !visit(path, &meta) || !meta.is_dir() {
        return;
    }
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        walk(&entry.path(), visit);
    }
}
