//! Which options of `tar` and `unzip` a step may give.

use super::Format;
use crate::{
    ParamsError,
    args::{Args, invalid},
};

/// Options of `tar` that run no program, leave neither the folder nor the names of the list, and ask for nothing else.
/// Those that end with `=` need a value. Abbreviations are not known here, as `tar` would take them for more than these.
const TAR_OPTIONS: &[&str] = &[
    "--acls",
    "--anchored",
    "--auto-compress",
    "--bzip2",
    "--compress",
    "--delay-directory-restore",
    "--exclude=",
    "--gunzip",
    "--gzip",
    "--ignore-case",
    "--ignore-zeros",
    "--keep-newer-files",
    "--keep-old-files",
    "--lzip",
    "--lzma",
    "--lzop",
    "--no-acls",
    "--no-anchored",
    "--no-overwrite-dir",
    "--no-same-owner",
    "--no-same-permissions",
    "--no-selinux",
    "--no-wildcards",
    "--no-xattrs",
    "--numeric-owner",
    "--overwrite",
    "--overwrite-dir",
    "--preserve-permissions",
    "--same-owner",
    "--same-permissions",
    "--selinux",
    "--skip-old-files",
    "--sparse",
    "--strip-components=",
    "--strip=",
    "--touch",
    "--uncompress",
    "--ungzip",
    "--unlink-first",
    "--verbose",
    "--warning=",
    "--wildcards",
    "--xattrs",
    "--xz",
    "--zstd",
];
/// The same as letters, and those of `unzip`.
const TAR_LETTERS: &str = "zjJZavpmkUSiop";
const UNZIP_LETTERS: &str = "oqnuabXD";

/// Words; letters without a dash, as Salt took them once, get one.
pub(super) fn options(args: &Args<'_>, format: Format) -> Result<Vec<String>, ParamsError> {
    let text = args.text("options").unwrap_or_default();
    let letters = match format {
        Format::Tar => TAR_LETTERS,
        Format::Zip => UNZIP_LETTERS,
    };
    let mut words = Vec::new();
    for word in text.split_whitespace() {
        let good = if word.starts_with("--") {
            words.push(word.to_owned());
            let fits = |it: &&str| word == *it || (it.ends_with('=') && word.starts_with(*it));
            format == Format::Tar && TAR_OPTIONS.iter().any(|it| fits(it) && !word.ends_with('='))
        } else {
            let short = word.trim_start_matches('-').replace(['x', 'f'], "");
            words.extend((!short.is_empty()).then(|| format!("-{short}")));
            short.chars().all(|it| letters.contains(it))
        };
        if !good {
            let text =
                format!("`{word}` is not available: only what runs no program and stays in the folder is");
            return Err(invalid("options", text));
        }
    }
    Ok(words)
}
