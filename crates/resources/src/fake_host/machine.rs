//! What is on a fake machine: plain data that a case file can spell out.

use crate::{
    host::{Aging, Attributes, FileKind, Query, Special, Stat, User},
    packages::{Available, Manager},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
};

/// Links in a row that are followed.
const LINKS_MAX: usize = 20;
/// The time on every fake machine.
pub(super) const NOW_S: i64 = 1_700_000_000;

/// Everything on a machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Machine {
    /// By absolute path. `/`, `/etc`, `/tmp` and `/root` are folders on a fresh one.
    pub files: BTreeMap<String, Node>,
    /// By name.
    pub users: BTreeMap<String, FakeUser>,
    /// By name.
    pub groups: BTreeMap<String, FakeGroup>,
    /// Installed: name and version.
    pub packages: BTreeMap<String, String>,
    /// Which program they are installed with.
    #[serde(skip_serializing_if = "is_default")]
    pub package_manager: Manager,
    /// Kept as they are.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub held: BTreeSet<String>,
    /// Removed, with their configuration left.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub left_over: BTreeSet<String>,
    /// Can be installed: name, and versions with spaces between, of which the first is what an install brings.
    pub available: BTreeMap<String, String>,
    /// Can be installed once the lists are fetched.
    pub unlisted: BTreeMap<String, String>,
    /// By name, as the states write it.
    pub units: BTreeMap<String, FakeUnit>,
    /// Systemd is not the first process.
    pub without_systemd: bool,
    /// By user.
    pub crontabs: BTreeMap<String, String>,
    /// By dotted name.
    pub sysctls: BTreeMap<String, String>,
    /// By command line: a shell's script, or the arguments joined by spaces; then ` <<< ` and its standard input where
    /// that matters.
    pub commands: BTreeMap<String, Reply>,
    /// Remotes by address.
    pub repositories: BTreeMap<String, Repository>,
    /// By folder.
    pub working_copies: BTreeMap<String, WorkingCopy>,
}

/// What is at a path: a file with `contents`, a folder with `directory`, a link with `link`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Node {
    /// Of a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contents: Option<String>,
    /// A folder.
    pub directory: bool,
    /// Where a symbolic link points.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// In octal; empty for the default.
    pub mode: String,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last read; 0 if it does not matter.
    #[serde(skip_serializing_if = "is_zero")]
    pub atime: i64,
    /// Last written; 0 if it does not matter.
    #[serde(skip_serializing_if = "is_zero")]
    pub mtime: i64,
    /// Names with the same number, other than 0, are names of one file.
    #[serde(skip_serializing_if = "is_zero")]
    pub inode: i64,
    /// `p`, or `b` or `c` with major and minor number: `b 8 1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub special: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// As [`Node`] has it.
pub(super) fn special_text(special: Special) -> String {
    match special {
        Special::Pipe => "p".to_owned(),
        Special::Block(major, minor) => format!("b {major} {minor}"),
        Special::Character(major, minor) => format!("c {major} {minor}"),
    }
}

fn special(text: &str) -> Option<Special> {
    let mut words = text.split(' ');
    let kind = words.next()?;
    let mut number = || words.next().and_then(|it| it.parse().ok()).unwrap_or_default();
    match kind {
        "p" => Some(Special::Pipe),
        "b" => Some(Special::Block(number(), number())),
        "c" => Some(Special::Character(number(), number())),
        _ => None,
    }
}

/// An account.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FakeUser {
    /// Number.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// The person.
    pub fullname: String,
    /// Room, phones, other.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub office: Vec<String>,
    /// Home folder.
    pub home: String,
    /// Login shell.
    pub shell: String,
    /// Hash.
    pub password: String,
    /// Days in the shadow file.
    #[serde(skip_serializing_if = "Aging::is_empty")]
    pub aging: Aging,
}

/// A group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FakeGroup {
    /// Number.
    pub gid: u32,
    /// Sorted.
    pub members: Vec<String>,
}

/// A unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FakeUnit {
    /// `active`, ...
    pub active: String,
    /// `enabled`, ...
    pub enabled: String,
    /// Whether it can.
    pub can_reload: bool,
    /// It does not start.
    pub broken: bool,
    /// How often it was started or restarted.
    pub starts: u32,
    /// How often it was reloaded.
    pub reloads: u32,
}

impl Default for FakeUnit {
    fn default() -> Self {
        Self {
            active: "inactive".to_owned(),
            enabled: "disabled".to_owned(),
            can_reload: false,
            broken: false,
            starts: 0,
            reloads: 0,
        }
    }
}

/// What a command does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reply {
    /// Exit code.
    pub code: i32,
    /// What it says.
    pub stdout: String,
    /// What it says.
    pub stderr: String,
    /// Files that exist afterwards.
    pub files: BTreeMap<String, Node>,
    /// Working copies that are so afterwards.
    pub working_copies: BTreeMap<String, WorkingCopy>,
    /// What commands say afterwards: a list after something was created.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub commands: BTreeMap<String, Reply>,
    /// Files and folders that are gone afterwards.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
}

/// A remote.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Repository {
    /// Full name and commit.
    pub refs: BTreeMap<String, String>,
}

/// A clone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorkingCopy {
    /// Its remote.
    pub origin: String,
    /// Its commit.
    pub head: String,
    /// Its branch, or `HEAD`.
    pub branch: String,
    /// Altered files.
    pub altered: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_default(manager: &Manager) -> bool {
    *manager == Manager::default()
}

/// Versions with spaces between.
pub(super) fn offered(text: &str) -> Available {
    let versions: Vec<String> = text.split(' ').map(str::to_owned).collect();
    Available { candidate: versions.first().cloned(), versions }
}

impl Node {
    pub(super) fn kind(&self) -> FileKind {
        match self {
            Self { directory: true, .. } => FileKind::Directory,
            Self { link: Some(_), .. } => FileKind::Symlink,
            Self { special: Some(_), .. } => FileKind::Other,
            _ => FileKind::File,
        }
    }
    pub(super) fn stat(&self) -> Stat {
        let default = if self.directory { 0o755 } else { 0o644 };
        Stat {
            kind: self.kind(),
            mode: u32::from_str_radix(&self.mode, 8).unwrap_or(default),
            uid: self.uid,
            gid: self.gid,
            size: self.contents.as_ref().map_or(0, |it| it.len() as u64),
            accessed_s: self.atime,
            modified_s: self.mtime,
            identity: (0, self.inode.unsigned_abs()),
            special: self.special.as_deref().and_then(special),
        }
    }
    pub(super) fn take(&mut self, how: Attributes) {
        if let Some(mode) = how.mode.filter(|it| *it != self.stat().mode) {
            self.mode = format!("{mode:04o}");
        }
        self.uid = how.uid.unwrap_or(self.uid);
        self.gid = how.gid.unwrap_or(self.gid);
    }
}

impl Default for Machine {
    fn default() -> Self {
        let folder = |path: &str| (path.to_owned(), Node { directory: true, ..Node::default() });
        let root =
            FakeUser { home: "/root".to_owned(), shell: "/bin/bash".to_owned(), ..FakeUser::default() };
        Self {
            files: ["/", "/etc", "/tmp", "/root"].map(folder).into(),
            users: [("root".to_owned(), root)].into(),
            groups: [("root".to_owned(), FakeGroup::default())].into(),
            packages: BTreeMap::new(),
            package_manager: Manager::default(),
            held: BTreeSet::new(),
            left_over: BTreeSet::new(),
            available: BTreeMap::new(),
            unlisted: BTreeMap::new(),
            units: BTreeMap::new(),
            without_systemd: false,
            crontabs: BTreeMap::new(),
            sysctls: BTreeMap::new(),
            commands: BTreeMap::new(),
            repositories: BTreeMap::new(),
            working_copies: BTreeMap::new(),
        }
    }
}

impl Machine {
    /// This, and on top of it everything that `other` has. What it has in the same place wins.
    #[must_use]
    pub fn with(mut self, other: &Self) -> Self {
        let other = other.clone();
        self.files.extend(other.files);
        self.users.extend(other.users);
        self.groups.extend(other.groups);
        self.packages.extend(other.packages);
        self.package_manager = other.package_manager;
        self.held.extend(other.held);
        self.left_over.extend(other.left_over);
        self.available.extend(other.available);
        self.unlisted.extend(other.unlisted);
        self.units.extend(other.units);
        self.without_systemd |= other.without_systemd;
        self.crontabs.extend(other.crontabs);
        self.sysctls.extend(other.sysctls);
        self.commands.extend(other.commands);
        self.repositories.extend(other.repositories);
        self.working_copies.extend(other.working_copies);
        self
    }

    pub(super) fn node(&self, path: &Path) -> Option<&Node> {
        self.files.get(&path.display().to_string())
    }
    /// With an identity of its own if it has one name only.
    pub(super) fn stat(&self, path: &Path) -> Option<Stat> {
        let (at, node) = self
            .files
            .iter()
            .enumerate()
            .find(|(_, it)| Path::new(it.0) == path)
            .map(|(at, it)| (at, it.1))?;
        let mut stat = node.stat();
        if node.inode == 0 {
            stat.identity = (1, at as u64);
        }
        Some(stat)
    }
    pub(super) fn hard_link(&mut self, path: &Path, target: &Path) -> io::Result<()> {
        let next = self.files.values().map(|it| it.inode).max().unwrap_or_default() + 1;
        let name = target.display().to_string();
        let node = self.files.get_mut(&name).ok_or(io::ErrorKind::NotFound)?;
        if node.kind() == FileKind::Directory {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if node.inode == 0 {
            node.inode = next;
        }
        let node = node.clone();
        self.put(path, node);
        Ok(())
    }
    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.node(from).ok_or(io::ErrorKind::NotFound)?;
        if self.node(to).is_some_and(|it| it.kind() == FileKind::Directory) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let moved: Vec<String> =
            self.files.keys().filter(|it| Path::new(it).starts_with(from)).cloned().collect();
        for name in moved {
            let rest = Path::new(&name).strip_prefix(from).unwrap_or(Path::new(""));
            let new = if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) };
            if let Some(node) = self.files.remove(&name) {
                self.put(&new, node);
            }
        }
        Ok(())
    }
    pub(super) fn put(&mut self, path: &Path, node: Node) {
        self.files.insert(path.display().to_string(), node);
    }
    /// The path with links in the folders above followed.
    pub(super) fn follow_parents(&self, path: &Path) -> io::Result<PathBuf> {
        match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => Ok(self.follow(parent)?.join(name)),
            _ => Ok(path.to_owned()),
        }
    }
    /// The path with all links followed; what does not exist stays as it is.
    pub(super) fn follow(&self, path: &Path) -> io::Result<PathBuf> {
        let mut path = path.to_owned();
        for _ in 0..LINKS_MAX {
            path = self.follow_parents(&path)?;
            match self.node(&path).and_then(|it| it.link.as_ref()) {
                Some(link) => path = path.parent().unwrap_or(Path::new("/")).join(link),
                None => return Ok(path),
            }
        }
        Err(io::Error::other("too many links"))
    }

    pub(super) fn user(&self, name: &str) -> Option<User> {
        let it = self.users.get(name)?;
        let is_member = |team: &FakeGroup| team.members.iter().any(|it| it == name);
        let groups = self.groups.iter().filter(|(_, it)| is_member(it)).map(|(group, _)| group.clone());
        Some(User {
            uid: it.uid,
            gid: it.gid,
            gecos: std::array::from_fn(|at| match at {
                0 => it.fullname.clone(),
                at => it.office.get(at - 1).cloned().unwrap_or_default(),
            }),
            home: it.home.clone(),
            shell: it.shell.clone(),
            groups: groups.collect(),
            password: Some(it.password.clone()),
            aging: Some(it.aging.clone()),
        })
    }

    /// Recorded output if there is any; else what git would say of what is here.
    pub(super) fn answer(&self, query: &Query) -> Reply {
        let command = query.command();
        if let Some(reply) = super::acts::recorded(&self.commands, &command) {
            return reply;
        }
        let copy = |path: &Path| self.working_copies.get(&path.display().to_string());
        let said = match query {
            Query::GitHead(folder) => copy(&folder.path).map(|it| it.head.clone()),
            Query::GitAltered(folder) => copy(&folder.path).map(|it| it.altered.join("\n")),
            Query::GitOrigin(folder) => copy(&folder.path).map(|it| it.origin.clone()),
            Query::GitBranch(folder) => copy(&folder.path).map(|it| it.branch.clone()),
            Query::Package(_)
            | Query::Service(_)
            | Query::Ssh(_)
            | Query::Attributes(_)
            | Query::Digest(_)
            | Query::Fetch(_) => None,
            Query::GitRemote { url, .. } => self.repositories.get(url).map(|it| {
                let lines = it.refs.iter().map(|(name, commit)| format!("{commit}\t{name}"));
                lines.collect::<Vec<_>>().join("\n")
            }),
            _ => {
                let stderr = format!("not recorded: {}", super::acts::line(&command));
                return Reply { code: 127, stderr, ..Reply::default() };
            }
        };
        match said {
            Some(stdout) => Reply { stdout, ..Reply::default() },
            None => Reply { code: 128, stderr: "fatal: no such repository".to_owned(), ..Reply::default() },
        }
    }
}
