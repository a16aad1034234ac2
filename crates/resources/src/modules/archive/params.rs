//! The parameters of `archive.extracted`.

use crate::{Param, ParamType};

const fn param(name: &'static str, kind: ParamType, default: &'static str, doc: &'static str) -> Param {
    Param::of(name, kind, default, doc)
}

pub(super) const PARAMS: &[Param] = &[
    param("name", ParamType::Path, "", "The folder."),
    param(
        "source",
        ParamType::Source,
        "",
        "The archive: a file in the tree, or one that the minion fetches (`https://`, `http://`, `ftp://`) or has.",
    ),
    param(
        "source_hash",
        ParamType::Text,
        "",
        "The digest of a source that is fetched, as with `file.managed`.",
    ),
    param(
        "source_hash_name",
        ParamType::Text,
        "the source's file name",
        "The name that a list of digests has it under.",
    ),
    param("source_hash_update", ParamType::Bool, "false", "Unpacks again when the archive is another one."),
    param(
        "skip_verify",
        ParamType::Bool,
        "false",
        "Accepted from Salt trees: a source over https needs no digest here.",
    ),
    param(
        "verify_ssl",
        ParamType::Bool,
        "true",
        "With false a server's certificate may be any; this needs `source_hash`.",
    ),
    param(
        "keep_source",
        ParamType::Bool,
        "true",
        "Accepted from Salt trees: no copy of what was fetched is kept.",
    ),
    param("keep", ParamType::Bool, "true", "The older name of `keep_source`."),
    param("archive_format", ParamType::Text, "by the source's name", "`tar` or `zip`."),
    param("options", ParamType::Text, "none", "Further options of `tar` or `unzip`."),
    param("if_missing", ParamType::Path, "none", "Nothing is done if this path exists."),
    param(
        "overwrite",
        ParamType::Bool,
        "false",
        "Unpacks again when the archive is another one, and over what is there.",
    ),
    param(
        "clean",
        ParamType::Bool,
        "false",
        "What the archive has at its top is removed before it is unpacked.",
    ),
    param(
        "clean_parent",
        ParamType::Bool,
        "false",
        "Everything in the folder is removed before it is unpacked.",
    ),
    param(
        "enforce_toplevel",
        ParamType::Bool,
        "true",
        "Refuses archives that do not hold one single folder at their top.",
    ),
    param("user", ParamType::Text, "as in the archive", "Owner of everything in it."),
    param("group", ParamType::Text, "as in the archive", "Group of everything in it."),
    param(
        "trim_output",
        ParamType::Any,
        "",
        "Accepted from Salt trees and without effect: the list of files is not reported.",
    ),
    param(
        "use_cmd_unzip",
        ParamType::Bool,
        "true",
        "Accepted from Salt trees: zip files are always unpacked by `unzip`.",
    ),
    param(
        "extract_perms",
        ParamType::Bool,
        "true",
        "Accepted from Salt trees: permissions are those of the archive.",
    ),
];
