//! The parameters of `cmd`'s functions.

use crate::{Param, ParamType};

const CWD: Param = Param::of("cwd", ParamType::Path, "the user's home", "Where to run it.");
const ROOT: Param =
    Param::of("root", ParamType::Path, "none", "Runs it with this folder as its root (`chroot`).");
const RUNAS: Param = Param::of("runas", ParamType::Text, "root", "The user to run it as.");
const GROUP: Param = Param::of("group", ParamType::Text, "the user's", "The group to run it as.");
const ENV: Param =
    Param::of("env", ParamType::TextMap, "", "Variables of its environment, on top of a small fixed one.");
const PREPEND_PATH: Param =
    Param::of("prepend_path", ParamType::TextList, "none", "Folders in front of its `PATH`.");
const UMASK: Param =
    Param::of("umask", ParamType::Mode, "0022", "Permissions that files it makes do not get.");
const SHELL: Param = Param::of("shell", ParamType::Path, "/bin/sh", "The shell that reads it.");
const STDIN: Param = Param::of("stdin", ParamType::Text, "", "What it reads.");
const TIMEOUT: Param =
    Param::of("timeout", ParamType::Duration, "1h", "It is killed with its children after that long.");
const IGNORE_TIMEOUT: Param =
    Param::of("ignore_timeout", ParamType::Bool, "false", "That it was killed so is no failure.");
const BG: Param = Param::of("bg", ParamType::Bool, "false", "Starts it and does not wait for its end.");
const STATEFUL: Param = Param::of(
    "stateful",
    ParamType::Any,
    "false",
    "Its last line says whether it changed something: `changed=yes comment='...'`; or its whole output is JSON with \
          the same keys.",
);
const HIDE_OUTPUT: Param =
    Param::of("hide_output", ParamType::Bool, "false", "Its output is neither shown nor reported.");
const SUCCESS_RETCODES: Param =
    Param::of("success_retcodes", ParamType::TextList, "0", "Exit codes that are a success, besides 0.");
const SUCCESS_STDOUT: Param = Param::of(
    "success_stdout",
    ParamType::TextList,
    "none",
    "Whole outputs that are a success whatever the exit code.",
);
const SUCCESS_STDERR: Param = Param::of(
    "success_stderr",
    ParamType::TextList,
    "none",
    "Whole error outputs that are a success whatever the exit code.",
);
const OUTPUT_LOGLEVEL: Param = Param::of(
    "output_loglevel",
    ParamType::Text,
    "",
    "Accepted from Salt trees and without effect: commands are not logged.",
);
const USE_VT: Param = Param::of(
    "use_vt",
    ParamType::Bool,
    "false",
    "Accepted from Salt trees and without effect: output is always told as it comes.",
);

pub(super) const RUN_PARAMS: &[Param] = &[
    Param::of("name", ParamType::Text, "", "The command, read by a shell."),
    Param::of(
        "argv",
        ParamType::TextList,
        "",
        "Program and arguments, instead of a line for a shell; the name is then only a name.",
    ),
    CWD,
    ROOT,
    RUNAS,
    GROUP,
    ENV,
    PREPEND_PATH,
    UMASK,
    SHELL,
    STDIN,
    TIMEOUT,
    IGNORE_TIMEOUT,
    BG,
    STATEFUL,
    HIDE_OUTPUT,
    SUCCESS_RETCODES,
    SUCCESS_STDOUT,
    SUCCESS_STDERR,
    OUTPUT_LOGLEVEL,
    USE_VT,
];

pub(super) const SCRIPT_PARAMS: &[Param] = &[
    Param::of("name", ParamType::Text, "", "A name, or the script's source with its arguments."),
    Param::of(
        "source",
        ParamType::Source,
        "the name",
        "The script: a file in the tree, or one that the minion fetches or has.",
    ),
    Param::of(
        "source_hash",
        ParamType::Text,
        "",
        "The digest of a source that is fetched, as with `file.managed`.",
    ),
    Param::of("source_hash_name", ParamType::Text, "", "The name that a list of digests has it under."),
    Param::of(
        "verify_ssl",
        ParamType::Bool,
        "true",
        "With false a server's certificate may be any; this needs `source_hash`.",
    ),
    Param::of("args", ParamType::Any, "", "Its arguments: text that the shell reads, or a list of words."),
    Param::of("template", ParamType::Text, "none", "The engine that renders it: `jinja` or `handlebars`."),
    Param::of("context", ParamType::Any, "", "Values for the template."),
    Param::of("defaults", ParamType::Any, "", "Values for the template where `context` has none."),
    CWD,
    ROOT,
    RUNAS,
    GROUP,
    ENV,
    PREPEND_PATH,
    UMASK,
    SHELL,
    STDIN,
    TIMEOUT,
    IGNORE_TIMEOUT,
    BG,
    STATEFUL,
    HIDE_OUTPUT,
    SUCCESS_RETCODES,
    SUCCESS_STDOUT,
    SUCCESS_STDERR,
    OUTPUT_LOGLEVEL,
    USE_VT,
];
