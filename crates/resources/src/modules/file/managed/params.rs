//! The parameters of `file.managed`.

use super::super::owner::{DIR_MODE, GROUP, MAKEDIRS, USER};
use crate::{Param, ParamType};

pub(super) const PARAMS: &[Param] = &[
    Param::of("name", ParamType::Path, "", "The file's path."),
    Param::of(
        "source",
        ParamType::Source,
        "",
        "A file in the tree that gives the contents; or one that the minion fetches (`https://`, `http://`, `ftp://`) \
              or has (`/path`, `file:///path`). Of a list the first that exists counts.",
    ),
    Param::of(
        "source_hash",
        ParamType::Text,
        "",
        "The digest of a source that is fetched: `sha256=...` (or md5, sha1, sha224, sha384, sha512), the digits \
              alone, or the address or path of a list of digests. Without it only `https://` is fetched. Files of the \
              tree are always verified.",
    ),
    Param::of(
        "source_hash_name",
        ParamType::Text,
        "the source's file name",
        "The name that a list of digests has it under.",
    ),
    Param::of(
        "skip_verify",
        ParamType::Bool,
        "false",
        "Accepted from Salt trees: a source over https needs no digest here.",
    ),
    Param::of(
        "verify_ssl",
        ParamType::Bool,
        "true",
        "With false a server's certificate may be any; this needs `source_hash`.",
    ),
    Param::of(
        "keep_source",
        ParamType::Bool,
        "true",
        "Accepted from Salt trees: no copy of what was fetched is kept.",
    ),
    Param::of("contents", ParamType::Any, "", "The contents as text, or as a list of lines."),
    Param::of(
        "contents_pillar",
        ParamType::TextList,
        "",
        "The pillar key that has the contents, or a list of keys that have a line each.",
    ),
    Param::of(
        "contents_grains",
        ParamType::TextList,
        "",
        "The grain that has the contents, or a list of them.",
    ),
    Param::of("contents_delimiter", ParamType::Text, ":", "What separates the levels of those keys."),
    Param::of("allow_empty", ParamType::Bool, "true", "With false, contents that are empty are a mistake."),
    Param::of(
        "encoding",
        ParamType::Text,
        "utf-8",
        "How contents become bytes: `utf-8`, `ascii`, `latin-1` or `utf-16`.",
    ),
    Param::of(
        "encoding_errors",
        ParamType::Text,
        "strict",
        "What to do with characters that the encoding does not have: `strict`, `ignore` or `replace`.",
    ),
    Param::of(
        "contents_newline",
        ParamType::Bool,
        "true",
        "Ends `contents` with a newline if they have none.",
    ),
    Param::of(
        "template",
        ParamType::Text,
        "none",
        "The engine that renders the source or the contents: `jinja` or `handlebars`.",
    ),
    Param::of("context", ParamType::Any, "", "Values for the template."),
    Param::of("defaults", ParamType::Any, "", "Values for the template where `context` has none."),
    Param::of(
        "mode",
        ParamType::Mode,
        "as it is; 0644 for a new one",
        "Permissions, or `keep` for those of the source.",
    ),
    USER,
    GROUP,
    MAKEDIRS,
    DIR_MODE,
    Param::of(
        "replace",
        ParamType::Bool,
        "true",
        "Replaces the contents of a file that exists; with false only permissions and owner are kept.",
    ),
    Param::of("create", ParamType::Bool, "true", "Makes the file if it does not exist."),
    Param::of(
        "backup",
        ParamType::Text,
        "none",
        "Keeps the version before: `minion` (or `true`) under /var/backups/labctl, or a suffix such as `.bak` beside \
              the file.",
    ),
    Param::of(
        "follow_symlinks",
        ParamType::Bool,
        "true",
        "If the path is a symbolic link, its target is meant; with false the link is replaced by a file.",
    ),
    Param::of("show_changes", ParamType::Bool, "true", "Shows a diff of the contents."),
    Param::of(
        "attrs",
        ParamType::Text,
        "as they are",
        "Attributes of the file system as `chattr` has them, such as `i`: all of `aAcCdDijPsStTu` that it has to have.",
    ),
    Param::of(
        "tmp_dir",
        ParamType::Path,
        "the file's folder",
        "Where `check_cmd` gets to see the new contents.",
    ),
    Param::of(
        "tmp_ext",
        ParamType::Text,
        "none",
        "The end of the name under which it does, such as `.conf`.",
    ),
];
