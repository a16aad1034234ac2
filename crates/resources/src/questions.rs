//! What templates may ask a minion: a closed list of functions that only look, and what each counts as until it is
//! answered.

use serde_json::{Value, json};

/// What a question counts as while it has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StandIn {
    /// `false`
    No,
    /// An empty text.
    Text,
    /// An empty list.
    List,
    /// An empty mapping.
    Map,
    /// Nothing.
    Null,
    /// `0`
    Zero,
}

impl StandIn {
    /// As a value.
    pub fn value(self) -> Value {
        match self {
            Self::No => json!(false),
            Self::Text => json!(""),
            Self::List => json!([]),
            Self::Map => json!({}),
            Self::Null => Value::Null,
            Self::Zero => json!(0),
        }
    }
}

/// A function that can be asked.
#[derive(Clone, Copy, Debug)]
pub struct Askable {
    /// `module.function`, as Salt calls it.
    pub name: &'static str,
    /// What it counts as until it is answered.
    pub stand_in: StandIn,
    /// It runs a command, so the operator must have allowed it.
    pub command: bool,
    /// What it says.
    pub doc: &'static str,
}

const fn ask(name: &'static str, stand_in: StandIn, doc: &'static str) -> Askable {
    Askable { name, stand_in, command: false, doc }
}

const fn command(name: &'static str, stand_in: StandIn, doc: &'static str) -> Askable {
    Askable { name, stand_in, command: true, doc }
}

/// All, in order.
pub const ASKABLE: &[Askable] = &[
    command("cmd.retcode", StandIn::Zero, "The exit code of a command."),
    command("cmd.run", StandIn::Text, "What a command prints."),
    command("cmd.run_all", StandIn::Map, "What a command prints and how it ends."),
    command("cmd.run_stdout", StandIn::Text, "What a command prints to stdout."),
    command("cmd.shell", StandIn::Text, "What a line for the shell prints."),
    ask(
        "file.access",
        StandIn::No,
        "Whether a path is there (`f`), or has a permission for root (`r`, `w`, `x`).",
    ),
    ask("file.contains", StandIn::No, "Whether a file has this text in a line."),
    ask("file.directory_exists", StandIn::No, "Whether there is a folder."),
    ask("file.file_exists", StandIn::No, "Whether there is a file."),
    ask("file.get_gid", StandIn::Null, "The number of the group of a path."),
    ask("file.get_group", StandIn::Text, "The group of a path."),
    ask("file.get_mode", StandIn::Text, "The mode of a path."),
    ask("file.get_uid", StandIn::Null, "The number of the owner of a path."),
    ask("file.get_user", StandIn::Text, "The owner of a path."),
    ask("file.is_link", StandIn::No, "Whether it is a symbolic link."),
    ask("file.readdir", StandIn::List, "The names in a folder, with `.` and `..`."),
    ask("file.readlink", StandIn::Text, "Where a symbolic link points."),
    ask("group.info", StandIn::Map, "A group's number and members."),
    ask("pkg.version", StandIn::Text, "The version of a package that is installed."),
    ask("service.available", StandIn::No, "Whether there is a service of this name."),
    ask("service.disabled", StandIn::No, "Whether a service does not start at boot."),
    ask("service.enabled", StandIn::No, "Whether a service starts at boot."),
    ask("service.missing", StandIn::No, "Whether there is no service of this name."),
    ask("service.status", StandIn::No, "Whether a service runs."),
    ask("sysctl.get", StandIn::Text, "A kernel parameter."),
    ask("user.info", StandIn::Map, "An account's number, home, shell and groups."),
    ask("file.is_blkdev", StandIn::No, "Whether it is a block device."),
    ask("file.path_exists_glob", StandIn::No, "Whether there is anything that fits a glob."),
    ask("file.size", StandIn::Zero, "The bytes of a file."),
    ask("service.masked", StandIn::No, "Whether a service is masked."),
    ask("user.list_groups", StandIn::List, "The groups of an account."),
];

/// The function of a name.
pub fn askable(name: &str) -> Option<&'static Askable> {
    ASKABLE.iter().find(|it| it.name == name)
}
