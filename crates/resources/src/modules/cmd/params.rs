//! The parameters of `cmd`'s functions.

use crate::{Param, ParamType};

const CWD: Param = Param {
    name: "cwd",
    kind: ParamType::Path,
    required: false,
    default: "the user's home",
    doc: "Where to run it.",
};
const ROOT: Param = Param {
    name: "root",
    kind: ParamType::Path,
    required: false,
    default: "none",
    doc: "Runs it with this folder as its root (`chroot`).",
};
const RUNAS: Param = Param {
    name: "runas",
    kind: ParamType::Text,
    required: false,
    default: "root",
    doc: "The user to run it as.",
};
const GROUP: Param = Param {
    name: "group",
    kind: ParamType::Text,
    required: false,
    default: "the user's",
    doc: "The group to run it as.",
};
const ENV: Param = Param {
    name: "env",
    kind: ParamType::TextMap,
    required: false,
    default: "",
    doc: "Variables of its environment, on top of a small fixed one.",
};
const PREPEND_PATH: Param = Param {
    name: "prepend_path",
    kind: ParamType::TextList,
    required: false,
    default: "none",
    doc: "Folders in front of its `PATH`.",
};
const UMASK: Param = Param {
    name: "umask",
    kind: ParamType::Mode,
    required: false,
    default: "0022",
    doc: "Permissions that files it makes do not get.",
};
const SHELL: Param = Param {
    name: "shell",
    kind: ParamType::Path,
    required: false,
    default: "/bin/sh",
    doc: "The shell that reads it.",
};
const STDIN: Param =
    Param { name: "stdin", kind: ParamType::Text, required: false, default: "", doc: "What it reads." };
const TIMEOUT: Param = Param {
    name: "timeout",
    kind: ParamType::Duration,
    required: false,
    default: "1h",
    doc: "It is killed with its children after that long.",
};
const IGNORE_TIMEOUT: Param = Param {
    name: "ignore_timeout",
    kind: ParamType::Bool,
    required: false,
    default: "false",
    doc: "That it was killed so is no failure.",
};
const BG: Param = Param {
    name: "bg",
    kind: ParamType::Bool,
    required: false,
    default: "false",
    doc: "Starts it and does not wait for its end.",
};
const STATEFUL: Param = Param {
    name: "stateful",
    kind: ParamType::Any,
    required: false,
    default: "false",
    doc: "Its last line says whether it changed something: `changed=yes comment='...'`; or its whole output is JSON with \
          the same keys.",
};
const HIDE_OUTPUT: Param = Param {
    name: "hide_output",
    kind: ParamType::Bool,
    required: false,
    default: "false",
    doc: "Its output is neither shown nor reported.",
};
const SUCCESS_RETCODES: Param = Param {
    name: "success_retcodes",
    kind: ParamType::TextList,
    required: false,
    default: "0",
    doc: "Exit codes that are a success, besides 0.",
};
const SUCCESS_STDOUT: Param = Param {
    name: "success_stdout",
    kind: ParamType::TextList,
    required: false,
    default: "none",
    doc: "Whole outputs that are a success whatever the exit code.",
};
const SUCCESS_STDERR: Param = Param {
    name: "success_stderr",
    kind: ParamType::TextList,
    required: false,
    default: "none",
    doc: "Whole error outputs that are a success whatever the exit code.",
};
const OUTPUT_LOGLEVEL: Param = Param {
    name: "output_loglevel",
    kind: ParamType::Text,
    required: false,
    default: "",
    doc: "Accepted from Salt trees and without effect: commands are not logged.",
};
const USE_VT: Param = Param {
    name: "use_vt",
    kind: ParamType::Bool,
    required: false,
    default: "false",
    doc: "Accepted from Salt trees and without effect: output is always told as it comes.",
};

pub(super) const RUN_PARAMS: &[Param] = &[
    Param {
        name: "name",
        kind: ParamType::Text,
        required: false,
        default: "",
        doc: "The command, read by a shell.",
    },
    Param {
        name: "argv",
        kind: ParamType::TextList,
        required: false,
        default: "",
        doc: "Program and arguments, instead of a line for a shell; the name is then only a name.",
    },
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
    Param {
        name: "name",
        kind: ParamType::Text,
        required: false,
        default: "",
        doc: "A name, or the script's source with its arguments.",
    },
    Param {
        name: "source",
        kind: ParamType::Source,
        required: false,
        default: "the name",
        doc: "The script: a file in the tree, or one that the minion fetches or has.",
    },
    Param {
        name: "source_hash",
        kind: ParamType::Text,
        required: false,
        default: "",
        doc: "The digest of a source that is fetched, as with `file.managed`.",
    },
    Param {
        name: "source_hash_name",
        kind: ParamType::Text,
        required: false,
        default: "",
        doc: "The name that a list of digests has it under.",
    },
    Param {
        name: "verify_ssl",
        kind: ParamType::Bool,
        required: false,
        default: "true",
        doc: "With false a server's certificate may be any; this needs `source_hash`.",
    },
    Param {
        name: "args",
        kind: ParamType::Any,
        required: false,
        default: "",
        doc: "Its arguments: text that the shell reads, or a list of words.",
    },
    Param {
        name: "template",
        kind: ParamType::Text,
        required: false,
        default: "none",
        doc: "The engine that renders it: `jinja` or `handlebars`.",
    },
    Param {
        name: "context",
        kind: ParamType::Any,
        required: false,
        default: "",
        doc: "Values for the template.",
    },
    Param {
        name: "defaults",
        kind: ParamType::Any,
        required: false,
        default: "",
        doc: "Values for the template where `context` has none.",
    },
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
