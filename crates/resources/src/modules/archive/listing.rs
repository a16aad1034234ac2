//! What `tar` and `unzip` say is in an archive, and whether all of it stays where it is unpacked.

use crate::{
    Error,
    host::{Exit, Watch},
};
use std::collections::{BTreeMap, BTreeSet};

/// Longest list of an archive, and longest complaint about one.
const LIST_BYTES_MAX: usize = 32 << 20;
const STDERR_BYTES_MAX: usize = 4 << 10;
/// Links of a zip file whose targets are looked at; one with more is refused.
pub(super) const ZIP_LINKS_MAX: usize = 100;

/// One thing in an archive.
#[derive(Debug, PartialEq)]
pub(super) struct Entry {
    /// Without a slash at its end.
    pub(super) path: String,
    pub(super) kind: Kind,
    folder: bool,
}

impl Entry {
    pub(super) fn is_file_at_top(&self) -> bool {
        !self.folder && !self.path.trim_start_matches("./").contains('/')
    }
}

#[derive(Debug, PartialEq)]
pub(super) enum Kind {
    Other,
    /// Where it points, seen from its folder.
    Link(String),
    /// What it is another name of, seen from the top.
    HardLink(String),
}

/// Keeps what a program says.
#[derive(Default)]
pub(super) struct Lines {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    over: bool,
}

impl Watch for Lines {
    fn output(&mut self, stderr: bool, bytes: &[u8]) {
        let (stream, most) =
            if stderr { (&mut self.stderr, STDERR_BYTES_MAX) } else { (&mut self.stdout, LIST_BYTES_MAX) };
        let room = most.saturating_sub(stream.len()).min(bytes.len());
        stream.extend_from_slice(&bytes[..room]);
        self.over |= !stderr && room < bytes.len();
    }
    fn cancelled(&self) -> bool {
        self.over
    }
}

impl Lines {
    pub(super) fn finish(self, program: &str, exit: Exit) -> Result<String, Error> {
        if self.over {
            return Err(Error::Refused(
                "the archive holds too much: its list is longer than 32 MiB".to_owned(),
            ));
        }
        if exit != Exit::Code(0) {
            let said = String::from_utf8_lossy(&self.stderr).trim().to_owned();
            let said = if said.is_empty() { exit.describe() } else { said };
            return Err(Error::Refused(format!("{program} cannot read the archive: {said}")));
        }
        Ok(String::from_utf8_lossy(&self.stdout).into_owned())
    }
}

/// `drwxr-xr-x 0/0 0 2026-01-02 03:04 dir/`, with `-> target` or `link to target` behind the name.
pub(super) fn read_tar(text: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    for line in text.lines() {
        let mut rest = line;
        for _ in 0..5 {
            rest = rest.trim_start();
            rest = &rest[rest.find(' ').unwrap_or(rest.len())..];
        }
        let name = rest.strip_prefix(' ').unwrap_or(rest);
        let (name, kind) = match line.chars().next() {
            Some('l') => name
                .split_once(" -> ")
                .map_or((name, Kind::Link(String::new())), |(name, to)| (name, Kind::Link(unescaped(to)))),
            Some('h') => {
                name.split_once(" link to ").map_or((name, Kind::HardLink(String::new())), |(name, to)| {
                    (name, Kind::HardLink(unescaped(to)))
                })
            }
            _ => (name, Kind::Other),
        };
        push(&mut entries, &unescaped(name), kind, line.starts_with('d'));
    }
    entries
}

/// Lines of `unzip -Z`: permissions, version, system, size, type, method, date, time, name.
pub(super) fn read_zip(text: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    for line in text.lines() {
        let is_entry =
            line.len() > 10 && line.starts_with(['-', 'd', 'l', '?']) && line[..10].contains(['-', 'r']);
        if !is_entry {
            continue;
        }
        let mut rest = line;
        for _ in 0..8 {
            rest = rest.trim_start();
            rest = &rest[rest.find(' ').unwrap_or(rest.len())..];
        }
        let name = rest.strip_prefix(' ').unwrap_or(rest);
        let kind = if line.starts_with('l') { Kind::Link(String::new()) } else { Kind::Other };
        push(&mut entries, name, kind, name.ends_with('/'));
    }
    entries
}

fn push(entries: &mut Vec<Entry>, name: &str, kind: Kind, folder: bool) {
    let path = name.trim_end_matches('/');
    if !path.is_empty() && path != "." {
        entries.push(Entry { path: path.to_owned(), kind, folder });
    } else if name.starts_with('/') {
        entries.push(Entry { path: name.to_owned(), kind, folder });
    }
}

/// What `--quoting-style=escape` did: `\n`, `\\`, octal digits.
fn unescaped(text: &str) -> String {
    if !text.contains('\\') {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let octal = bytes.get(at + 1..at + 4).filter(|it| it.iter().all(|it| (b'0'..=b'7').contains(it)));
        match (bytes[at], octal, bytes.get(at + 1)) {
            (b'\\', Some(digits), _) => {
                let code = digits.iter().fold(0_u32, |all, it| all * 8 + u32::from(it - b'0'));
                out.push(code.to_le_bytes()[0]);
                at += 4;
            }
            (b'\\', None, Some(sign)) => {
                out.push(match sign {
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'r' => b'\r',
                    other => *other,
                });
                at += 2;
            }
            (byte, ..) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Complains about the first thing that would land outside of the folder, or lets something else do.
pub(super) fn refuse_escapes(entries: &[Entry]) -> Result<(), String> {
    let up = |path: &str| path.split('/').any(|it| it == "..");
    let zip_links = entries.iter().filter(|it| it.kind == Kind::Link(String::new())).count();
    if zip_links > 0 {
        return Err("has links whose targets cannot be seen".to_owned());
    }
    let links: BTreeSet<&str> =
        entries.iter().filter(|it| matches!(it.kind, Kind::Link(_))).map(|it| it.path.as_str()).collect();
    for entry in entries {
        let path = &entry.path;
        let mut folders = path.match_indices('/').map(|it| &path[..it.0]);
        if let Some(link) = folders.find(|it| links.contains(it)) {
            return Err(format!("is refused: `{path}` lies behind the link `{link}`"));
        }
        if path.starts_with('/') || up(path) || path.contains(['\n', '\0']) {
            return Err(format!("is refused: `{}` leads out of the folder", path.escape_debug()));
        }
        let out = match &entry.kind {
            Kind::Other => false,
            Kind::HardLink(target) => target.starts_with('/') || up(target),
            Kind::Link(target) => target.starts_with('/') || !stays_inside(path, target),
        };
        if out {
            return Err(format!("is refused: the link `{path}` leads out of the folder"));
        }
    }
    Ok(())
}

/// Complains about names of a zip file that `unzip` cannot be asked for: those that begin as options do, and those that
/// are there twice, once for a link.
pub(super) fn refuse_names(entries: &[Entry]) -> Result<(), String> {
    let mut seen = BTreeMap::new();
    for entry in entries {
        let is_link = matches!(entry.kind, Kind::Link(_));
        if entry.path.starts_with('-') {
            return Err(format!("is refused: `{}` looks like an option", entry.path.escape_debug()));
        }
        if let Some(before) = seen.insert(&entry.path, is_link)
            && (before || is_link)
        {
            return Err(format!("is refused: it has `{}` twice, and as a link", entry.path.escape_debug()));
        }
    }
    Ok(())
}

/// A name as `unzip` takes it for itself and no pattern.
pub(super) fn zip_pattern(name: &str) -> String {
    let mut pattern = String::with_capacity(name.len());
    for sign in name.chars() {
        if matches!(sign, '[' | ']' | '*' | '?' | '\\') {
            pattern.push('\\');
        }
        pattern.push(sign);
    }
    pattern
}

/// Whether a link at `path` points at something beneath the top. Up and down again may pass other links, so up comes first.
fn stays_inside(path: &str, target: &str) -> bool {
    let parts = |text: &str| {
        text.split('/').filter(|it| !matches!(*it, "" | ".")).map(str::to_owned).collect::<Vec<_>>()
    };
    let mut depth = parts(path).len() - 1;
    let mut down = false;
    for part in parts(target) {
        if part != ".." {
            down = true;
        } else if depth == 0 || down {
            return false;
        } else {
            depth -= 1;
        }
    }
    true
}

/// Where a path comes to be when its first components are stripped; nowhere if it has no more.
pub(super) fn destination(path: &str, strip: usize) -> Option<String> {
    let parts: Vec<&str> = path.split('/').filter(|it| !matches!(*it, "" | ".")).collect();
    (parts.len() > strip).then(|| parts[strip..].join("/"))
}

/// The first components of paths.
pub(super) fn tops(paths: &[String]) -> BTreeSet<String> {
    paths
        .iter()
        .filter_map(|it| it.split('/').find(|it| !matches!(*it, "" | ".")))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `tar` 1.35 and `unzip` 6.00 print them.
    #[test]
    fn lists_are_read() {
        let text = "drwxr-xr-x 0/0               0 2026-01-02 03:04 app/\n\
                    -rw-r--r-- 1000/1000      1234 2026-01-02 03:04 app/a\\040b\\nc\n\
                    lrwxrwxrwx 0/0               0 2026-01-02 03:04 app/l -> a\n\
                    hrw-r--r-- 0/0               0 2026-01-02 03:04 app/h link to app/l\n\
                    drwxr-xr-x 0/0               0 2026-01-02 03:04 ./\n";
        let entries = read_tar(text);
        let paths: Vec<&str> = entries.iter().map(|it| it.path.as_str()).collect();
        assert_eq!(paths, ["app", "app/a b\nc", "app/l", "app/h"]);
        assert_eq!(entries[2].kind, Kind::Link("a".to_owned()));
        assert_eq!(entries[3].kind, Kind::HardLink("app/l".to_owned()));
        let text = "Archive:  x.zip\nZip file size: 482 bytes, number of entries: 3\n\
                    drwxr-xr-x  3.0 unx        0 bx stor 26-Jan-02 03:04 app/\n\
                    -rw-r--r--  3.0 unx        2 tx stor 26-Jan-02 03:04 app/a b\n\
                    lrwxrwxrwx  3.0 unx        1 bx stor 26-Jan-02 03:04 app/l\n\
                    3 files, 3 bytes uncompressed, 3 bytes compressed:  0.0%\n";
        let entries = read_zip(text);
        let paths: Vec<&str> = entries.iter().map(|it| it.path.as_str()).collect();
        assert_eq!(paths, ["app", "app/a b", "app/l"]);
    }

    #[test]
    fn what_leads_out_is_refused() {
        let link = |path: &str, to: &str| Entry {
            path: path.to_owned(),
            kind: Kind::Link(to.to_owned()),
            folder: false,
        };
        let file = |path: &str| Entry { path: path.to_owned(), kind: Kind::Other, folder: false };
        let hard =
            |to: &str| Entry { path: "a".to_owned(), kind: Kind::HardLink(to.to_owned()), folder: false };
        for good in [file("a/b"), file("./a"), file("a..b"), link("a/l", "../b"), link("l", "a/b"), hard("b")]
        {
            assert!(refuse_escapes(&[good]).is_ok());
        }
        for bad in [
            file("/etc/passwd"),
            file("../x"),
            file("a/../../x"),
            file("a\nb"),
            link("l", "/etc"),
            link("a/l", "../../x"),
            link("l", "a/../../x"),
            link("l", "a/l1/.."),
            hard("/etc/shadow"),
            hard("../x"),
            link("l", ""),
        ] {
            assert!(refuse_escapes(std::slice::from_ref(&bad)).is_err(), "{bad:?}");
        }
        assert!(refuse_escapes(&[link("a", "b"), file("a/x")]).is_err());
        assert!(refuse_names(&[link("a", "b"), file("a")]).is_err());
        assert!(refuse_names(&[file("-x")]).is_err());
        assert!(refuse_names(&[file("a"), file("a"), link("b", "a")]).is_ok());
        assert_eq!(zip_pattern(r"a[1]*?\b"), r"a\[1\]\*\?\\b");
        assert_eq!(destination("./a/b/c", 1).as_deref(), Some("b/c"));
        assert_eq!(destination("a", 1), None);
        assert_eq!(tops(&["a/b".to_owned(), "./a".to_owned(), "c".to_owned()]).len(), 2);
    }
}
