//! What changes in a file's contents, for people.

use crate::host::{FileKind, Links, Probe};
use model::{Change, ContentHash};
use sha2::{Digest, Sha256};
use similar::{
    DiffOp,
    algorithms::{Capture, Compact, Replace, myers},
    group_diff_ops,
};
use std::{fmt::Write, ops::Range, path::Path};

/// Contents longer than this are not compared line by line.
pub(crate) const DIFF_INPUT_BYTES_MAX: u64 = 1 << 20;
/// Longest diff that is reported.
const DIFF_BYTES_MAX: usize = 64 << 10;
/// Unchanged lines around a change.
const CONTEXT_LINES: usize = 3;

/// The change of `what` from `old` to `new`. Text becomes a diff, anything else sizes and hashes.
pub(crate) fn contents_change(what: &str, old: Option<&[u8]>, new: &[u8]) -> Change {
    let texts = (text(old.unwrap_or_default()), text(new));
    let (Some(before), Some(after)) = texts else {
        return Change {
            what: what.to_owned(),
            from: old.map(describe),
            to: Some(describe(new)),
            diff: None,
        };
    };
    let diff = unified(before, after);
    Change { what: what.to_owned(), from: old.map(size), to: Some(size(new)), diff: Some(diff) }
}

/// The change from the file at `path`, if there is one, to a content that is too long to be shown.
pub(crate) fn large_change(what: &str, old: Option<u64>, size: u64, hash: ContentHash) -> Change {
    let to = format!("{size} bytes, sha256 {}", &hash.to_string()[..12]);
    Change { what: what.to_owned(), from: old.map(|it| format!("{it} bytes")), to: Some(to), diff: None }
}

/// The file's contents, if it is a file and short enough to be compared.
pub(crate) fn short_contents(host: &dyn Probe, path: &Path) -> std::io::Result<Option<Vec<u8>>> {
    match host.stat(path, Links::Follow)? {
        Some(stat) if stat.kind == FileKind::File && stat.size <= DIFF_INPUT_BYTES_MAX => {
            host.read(path).map(Some)
        }
        _ => Ok(None),
    }
}

/// SHA-256.
pub(crate) fn hash_of(bytes: &[u8]) -> ContentHash {
    ContentHash(Sha256::digest(bytes).into())
}

fn text(bytes: &[u8]) -> Option<&str> {
    let short = bytes.len() as u64 <= DIFF_INPUT_BYTES_MAX && !bytes.contains(&0);
    std::str::from_utf8(bytes).ok().filter(|_| short)
}

fn size(bytes: &[u8]) -> String {
    format!("{} bytes", bytes.len())
}

fn describe(bytes: &[u8]) -> String {
    format!("{}, sha256 {}", size(bytes), &hash_of(bytes).to_string()[..12])
}

/// As `diff -U3` prints it, without names of files.
fn unified(before: &str, after: &str) -> String {
    let [old, new] = [before, after].map(|it| it.split_inclusive('\n').collect::<Vec<_>>());
    let mut text = String::new();
    for hunk in group_diff_ops(operations(&old, &new), CONTEXT_LINES) {
        let (Some(first), Some(last)) = (hunk.first(), hunk.last()) else { continue };
        let touched =
            [first.old_range().start..last.old_range().end, first.new_range().start..last.new_range().end]
                .map(place);
        let _ = writeln!(text, "@@ -{} +{} @@", touched[0], touched[1]);
        for operation in &hunk {
            let both = matches!(operation, DiffOp::Equal { .. });
            let gone = if both { 0..0 } else { operation.old_range() };
            let sign = if both { ' ' } else { '+' };
            old[gone].iter().for_each(|it| put_line(&mut text, '-', it));
            new[operation.new_range()].iter().for_each(|it| put_line(&mut text, sign, it));
        }
    }
    if text.len() > DIFF_BYTES_MAX {
        let end = text[..DIFF_BYTES_MAX].rfind('\n').map_or(0, |it| it + 1);
        text.truncate(end);
        text.push_str("[diff cut at 64 KiB]\n");
    }
    text
}

/// One algorithm by its name: what chooses among all of them makes a minion 100 kB larger.
fn operations(old: &[&str], new: &[&str]) -> Vec<DiffOp> {
    let mut hook = Compact::new(Replace::new(Capture::new()), old, new);
    let Ok(()) = myers::diff(&mut hook, old, 0..old.len(), new, 0..new.len());
    hook.into_inner().into_inner().into_ops()
}

/// Lines of a hunk: the first, from 1, and how many unless there is one. None begin at the line before.
fn place(lines: Range<usize>) -> String {
    match lines.len() {
        0 => format!("{},0", lines.start),
        1 => format!("{}", lines.start + 1),
        count => format!("{},{count}", lines.start + 1),
    }
}

fn put_line(text: &mut String, sign: char, line: &str) {
    text.push(sign);
    text.push_str(line);
    if !line.ends_with('\n') {
        text.push_str("\n\\ No newline at end of file\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_a_diff_and_bytes_become_sizes() {
        let change = contents_change("contents", Some(b"a\nb\n"), b"a\nc\n");
        assert_eq!(change.diff.as_deref(), Some("@@ -1,2 +1,2 @@\n a\n-b\n+c\n"));
        let change = contents_change("contents", Some(b"\0"), b"a");
        assert_eq!(change.diff, None);
        assert!(change.to.unwrap().starts_with("1 bytes, sha256 "));
    }

    #[test]
    fn a_diff_is_cut_at_a_line() {
        let change = contents_change("contents", None, "é\n".repeat(100_000).as_bytes());
        let diff = change.diff.unwrap();
        assert!(diff.len() < DIFF_BYTES_MAX + 100);
        assert!(diff.ends_with("\n[diff cut at 64 KiB]\n"));
    }
}
