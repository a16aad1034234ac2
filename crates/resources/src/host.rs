//! The machine, as the state modules may see and alter it.

mod account;
mod path;
pub mod query;

pub use account::{Age, Aging, Gecos, Group, GroupChange, User, UserChange, UserOption, UserRemoval};
pub use path::{FileKind, Links, Special, Stat};
pub use query::{GitFolder, Query};

use crate::{
    Collected,
    keep::Kept,
    packages::{Available, Lists, Manager, PackageAction, Reach, Upgrade},
};
use model::{ContentHash, JobId, Output};
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A file that is longer than this is never read into memory; it is compared by its hash.
pub const READ_BYTES_MAX: u64 = 64 << 20;
/// Entries of one folder that are looked at.
pub const LIST_ENTRIES_MAX: usize = 100_000;
/// What a command may print per stream and report; the rest is counted.
pub const OUTPUT_BYTES_MAX: usize = 64 << 10;

/// What to put into a file.
#[derive(Clone, Copy, Debug)]
pub enum Contents<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// The content with this hash, see [`Probe::blob`].
    Blob(ContentHash),
    /// Those of another file of the machine, links followed.
    File(&'a Path),
}

/// Permissions and owner; `None` keeps what is there, or takes the default of a new one (`0644`, folders `0755`, root).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
}

/// What the service manager says about a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unit {
    /// Whether there is a unit of this name.
    pub found: bool,
    /// `active`, `inactive`, `failed`, `activating`, ...; `None` if the service manager is not running.
    pub active: Option<String>,
    /// `enabled`, `disabled`, `static`, `masked`, ...; empty if it has no such state.
    pub enabled: String,
    /// Whether it can reload its configuration.
    pub can_reload: bool,
    /// Whether its unit file changed since it was loaded.
    pub stale: bool,
}

/// What a check may do: look. Answers are taken fresh unless it says otherwise.
pub trait Probe {
    /// What is at `path`; `None` if nothing is.
    fn stat(&self, path: &Path, links: Links) -> io::Result<Option<Stat>>;
    /// The contents of the file at `path`, links followed. At most [`READ_BYTES_MAX`].
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// SHA-256 of the contents of the file at `path`, links followed, whatever its length.
    fn hash(&self, path: &Path) -> io::Result<ContentHash>;
    /// Where the symbolic link at `path` points, as written.
    fn read_link(&self, path: &Path) -> io::Result<PathBuf>;
    /// Names in the folder at `path`, sorted. At most [`LIST_ENTRIES_MAX`].
    fn list(&self, path: &Path) -> io::Result<Vec<OsString>>;
    /// Seconds since 1970, for the age of files.
    fn now_s(&self) -> i64;
    /// A content that came with the recipe.
    fn blob(&self, hash: ContentHash) -> io::Result<Arc<[u8]>>;
    /// Its length.
    fn blob_size(&self, hash: ContentHash) -> io::Result<u64>;

    /// A user's number, by name (or number in decimal). May be remembered until an account is altered.
    fn uid(&self, name: &str) -> io::Result<Option<u32>>;
    /// A group's number, by name (or number in decimal). May be remembered until an account is altered.
    fn gid(&self, name: &str) -> io::Result<Option<u32>>;
    /// A user's name, or its number.
    fn user_name(&self, uid: u32) -> String;
    /// A group's name, or its number.
    fn group_name(&self, gid: u32) -> String;
    /// An account.
    fn user(&self, name: &str) -> io::Result<Option<User>>;
    /// A group.
    fn group(&self, name: &str) -> io::Result<Option<Group>>;

    /// Those of `names` that are installed (or are provided by something installed, then with an empty version), with
    /// their version. May be remembered until packages are altered.
    fn packages(&self, names: &[String]) -> io::Result<BTreeMap<String, String>>;
    /// The package manager that is here; apt if none is.
    fn package_manager(&self) -> io::Result<Manager>;
    /// What can be installed under `names`, out of `from` if it is given. A name that is in no list is left out.
    fn available(
        &self,
        names: &[String],
        from: Option<&str>,
        lists: Lists,
    ) -> io::Result<BTreeMap<String, Available>>;
    /// What an upgrade of everything would do.
    fn upgrades(&self, reach: Reach, lists: Lists) -> io::Result<BTreeMap<String, Upgrade>>;
    /// Packages that are kept as they are.
    fn held(&self) -> io::Result<BTreeSet<String>>;
    /// Those of `names` that were removed while their configuration is still there.
    fn left_over(&self, names: &[String]) -> io::Result<BTreeSet<String>>;
    /// A unit; a name without a suffix means `.service`.
    fn unit(&self, name: &str) -> io::Result<Unit>;
    /// A user's crontab; empty if there is none.
    fn crontab(&self, user: &str) -> io::Result<String>;
    /// A kernel parameter, dotted; `None` if the kernel does not know it.
    fn sysctl(&self, name: &str) -> io::Result<Option<String>>;
    /// Answers a question from the closed list.
    fn query(&self, query: &Query) -> io::Result<Output>;
    /// What a job kept here of the files that it altered, in the order in which it did; `None` if it kept nothing.
    fn kept(&self, _job: JobId) -> io::Result<Option<Vec<Kept>>> {
        Ok(None)
    }
    /// Contents that it kept.
    fn kept_contents(&self, _job: JobId, _hash: ContentHash) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }
    /// Whether the machine is a pretended one, see `labminion run --sandbox`.
    fn is_sandbox(&self) -> bool {
        false
    }
}

/// What an apply may do: look and alter.
pub trait Host: Probe {
    /// Makes or replaces a file in one step: readers see the old one or the new one.
    fn write(&mut self, path: &Path, contents: Contents<'_>, how: Attributes, links: Links)
    -> io::Result<()>;
    /// Makes a folder whose parent exists.
    fn make_directory(&mut self, path: &Path, how: Attributes) -> io::Result<()>;
    /// Makes a symbolic link, or replaces one in one step.
    fn make_symlink(&mut self, path: &Path, target: &Path) -> io::Result<()>;
    /// Makes another name for the file at `target`, or replaces a file by one in one step.
    fn hard_link(&mut self, path: &Path, target: &Path) -> io::Result<()>;
    /// Makes a pipe or a device where nothing is.
    fn make_special(&mut self, path: &Path, special: Special, how: Attributes) -> io::Result<()>;
    /// Gives what is at `from`, links not followed, the name `to`; a file or link there is replaced in one step.
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()>;
    /// Sets when it was last read and written, links followed; `None` is now.
    fn set_times(&mut self, path: &Path, accessed_s: Option<i64>, modified_s: Option<i64>) -> io::Result<()>;
    /// Sets permissions and owner of what is there.
    fn set(&mut self, path: &Path, how: Attributes, links: Links) -> io::Result<()>;
    /// Removes what is at `path`, folders with everything in them; links are not followed. Nothing there is fine.
    fn remove(&mut self, path: &Path) -> io::Result<()>;
    /// Carries out what needs a program. Every byte that it prints goes to `watch`.
    fn act(&mut self, action: &Action, watch: &mut dyn Watch) -> io::Result<Exit>;
    /// Makes durable what was written so far: called once, at the end of a run.
    fn settle(&mut self) -> io::Result<()>;
    /// Another hand on the same machine, for a step that runs beside others; `None` if there can be only one.
    fn fork(&self) -> Option<Box<dyn Host + Send>> {
        None
    }
    /// Whether what is altered is to be kept first: a job that can be undone.
    fn is_keeping(&self) -> bool {
        false
    }
    /// Whether the run is undone unless it is confirmed: what cannot be put back then must not be altered.
    fn has_way_back(&self) -> bool {
        false
    }
    /// Keeps what is at a path, with its contents if it is a file. The first line of a path counts.
    fn keep(&mut self, _kept: &Kept, _contents: Option<&[u8]>) -> io::Result<()> {
        Ok(())
    }
    /// With a way back: makes durable what was kept so far. Called before what it is of is altered.
    fn secure_kept(&mut self) -> io::Result<()> {
        Ok(())
    }
    /// [`act`](Host::act) with its output collected: what modules call. While the engine runs, the output is also
    /// told as it comes, and it is masked.
    fn perform(&mut self, action: &Action) -> io::Result<Done> {
        let mut collected = Collected::default();
        let exit = self.act(action, &mut collected)?;
        Ok(Done { output: collected.into_output(exit), exit })
    }
}

/// Hears what a command prints, and may end it.
pub trait Watch {
    /// A piece of output, as it comes.
    fn output(&mut self, stderr: bool, bytes: &[u8]);
    /// Asked at least ten times a second: kill it.
    fn cancelled(&self) -> bool;
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// Killed, after this many milliseconds.
    TimedOut(u64),
    /// Killed, because someone asked for it.
    Cancelled,
}

/// A command that ran.
#[derive(Clone, Debug, PartialEq)]
pub struct Done {
    /// What it said.
    pub output: Output,
    /// How it ended.
    pub exit: Exit,
}

/// Something that needs a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Runs a command.
    Run(Command),
    /// Does something with packages.
    Packages(PackageAction),
    /// Does something to a unit.
    Unit(String, UnitAction),
    /// Makes or alters an account.
    User(String, UserChange),
    /// Removes an account.
    RemoveUser(String, UserRemoval),
    /// Makes or alters a group.
    Group(String, GroupChange),
    /// Removes a group.
    RemoveGroup(String),
    /// Replaces a user's crontab.
    Crontab {
        /// Whose.
        user: String,
        /// The whole.
        text: String,
    },
    /// Sets a kernel parameter, now.
    Sysctl {
        /// Dotted.
        name: String,
        /// Its value.
        value: String,
    },
}

/// What can be done to a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitAction {
    /// Start it.
    Start,
    /// Stop it.
    Stop,
    /// Stop and start it.
    Restart,
    /// Let it read its configuration again.
    Reload,
    /// Start it at boot.
    Enable,
    /// Do not.
    Disable,
    /// Let nothing start it.
    Mask,
    /// The same until the next boot.
    MaskRuntime,
    /// Let it be started again.
    Unmask,
    /// The same, if it was for this boot only.
    UnmaskRuntime,
    /// Start, stop, restart and reload without waiting for the end of it.
    StartSoon,
    /// See `StartSoon`.
    StopSoon,
    /// See `StartSoon`.
    RestartSoon,
    /// See `StartSoon`.
    ReloadSoon,
    /// Let the service manager read all unit files again.
    DaemonReload,
}

impl UnitAction {
    /// As `systemctl` calls it.
    pub fn verb(self) -> &'static str {
        match self {
            Self::Start | Self::StartSoon => "start",
            Self::Stop | Self::StopSoon => "stop",
            Self::Restart | Self::RestartSoon => "restart",
            Self::Reload | Self::ReloadSoon => "reload",
            Self::Mask | Self::MaskRuntime => "mask",
            Self::Unmask | Self::UnmaskRuntime => "unmask",
            Self::Enable => "enable",
            Self::Disable => "disable",
            Self::DaemonReload => "daemon-reload",
        }
    }
    /// What it wants besides its verb.
    pub fn option(self) -> Option<&'static str> {
        match self {
            Self::MaskRuntime | Self::UnmaskRuntime => Some("--runtime"),
            Self::StartSoon | Self::StopSoon | Self::RestartSoon | Self::ReloadSoon => Some("--no-block"),
            _ => None,
        }
    }
}

/// A command to run, without a shell unless it is one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// Program and arguments; never empty.
    pub argv: Vec<String>,
    /// Where; `/` if `None` (or the user's home).
    pub cwd: Option<PathBuf>,
    /// As whom; as we are if `None`.
    pub user: Option<String>,
    /// On top of a small fixed environment.
    pub env: Vec<(String, String)>,
    /// What it reads; nothing if `None`.
    pub stdin: Option<String>,
    /// Killed with its children after that long.
    pub timeout_ms: u64,
}

impl Command {
    /// A git command that asks nobody anything and runs no program that an address names.
    pub fn git(args: &[&str]) -> Self {
        let fixed = ["git", "-c", "protocol.ext.allow=never"];
        let env = [("GIT_TERMINAL_PROMPT", "0"), ("GIT_SSH_COMMAND", "ssh -o BatchMode=yes")];
        Self {
            argv: fixed.iter().chain(args).map(|it| (*it).to_owned()).collect(),
            env: env.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            timeout_ms: query::TIMEOUT_MS,
            ..Self::default()
        }
    }
    /// A line for `/bin/sh`.
    pub fn shell(line: &str, timeout_ms: u64) -> Self {
        Self { argv: vec!["/bin/sh".into(), "-c".into(), line.into()], timeout_ms, ..Self::default() }
    }
}
