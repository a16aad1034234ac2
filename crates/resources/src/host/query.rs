//! What a check may ask programs: a closed list. Each tool has a file in the folder with an enum of its own, which is a
//! variant of [`Query`]; on a fake machine its recorded output is looked up in `commands` by the command line.

pub mod acl;
pub mod at;
pub mod chattr;
pub mod digest;
pub mod disk;
pub mod docker;
pub mod fetch;
pub mod git;
pub mod iptables;
pub mod locale;
pub mod mysql;
pub mod nft;
pub mod npm;
pub mod package;
pub mod pip;
pub mod postgres;
pub mod quota;
pub mod service;
pub mod ssh;
pub mod wireguard;

use super::{Command, OUTPUT_BYTES_MAX};
use std::path::PathBuf;

/// A read-only question that is answered by a program. The list is closed: a check cannot run what it likes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// Attributes of a file in its file system.
    Attributes(chattr::Attributes),
    /// A digest of a file.
    Digest(digest::Digest),
    /// A short text from the network.
    Fetch(fetch::Fetch),
    /// The commit that is checked out in a folder.
    GitHead(GitFolder),
    /// Which tracked files were altered: a line each.
    GitAltered(GitFolder),
    /// The address of the remote `origin`.
    GitOrigin(GitFolder),
    /// The branch that is checked out; `HEAD` if it is none.
    GitBranch(GitFolder),
    /// What names stand for at a remote: hash, tab, name on each line.
    GitRemote {
        /// Where.
        url: String,
        /// Branch, tag or `HEAD`.
        rev: String,
        /// Who asks, and how.
        access: git::GitAccess,
    },
    /// More of git.
    Git(git::Question),
    /// What the Docker daemon has.
    Docker(docker::Question),
    /// About a file or a group of packages.
    Package(package::Question),
    /// About locales.
    Locale(locale::Question),
    /// About processes of services.
    Service(service::Question),
    /// What a `MySQL` or `MariaDB` server has.
    Mysql(mysql::Question),
    /// What a `PostgreSQL` server has.
    Postgres(postgres::Question),
    /// About an access list.
    Acl(acl::Question),
    /// About jobs that run once.
    At(at::Question),
    /// About packages of Node.js.
    Npm(npm::Question),
    /// About Python packages.
    Pip(pip::Question),
    /// About quotas.
    Quota(quota::Question),
    /// About keys of other hosts.
    Ssh(ssh::Question),
    /// What is on a disk.
    Disk(disk::Question),
    /// What the packet filter has, by `iptables`.
    Iptables(iptables::Question),
    /// What the packet filter has, by `nft`.
    Nft(nft::Question),
    /// Which tunnels are up.
    Wireguard(wireguard::Question),
}

/// A working copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitFolder {
    /// Where.
    pub path: PathBuf,
    /// Who looks; root if `None`.
    pub user: Option<String>,
}

/// Longest that a query may take; one that asks a remote may take longer.
pub(super) const TIMEOUT_MS: u64 = 30_000;
const REMOTE_TIMEOUT_MS: u64 = 120_000;
/// Longest list of all rules of a packet filter that is read: some thousands of rules, or sets of addresses.
const RULES_BYTES_MAX: usize = 4 << 20;

impl Query {
    /// How much of the answer is read, per stream.
    pub fn answer_bytes_max(&self) -> usize {
        match self {
            Self::Nft(nft::Question::Ruleset) | Self::Iptables(iptables::Question::Save(_)) => {
                RULES_BYTES_MAX
            }
            _ => OUTPUT_BYTES_MAX,
        }
    }

    /// The command that answers it: a program and arguments, never a shell.
    pub fn command(&self) -> Command {
        match self {
            Self::Attributes(attributes) => attributes.command(),
            Self::Digest(digest) => digest.command(),
            Self::Fetch(fetch) => fetch.command(),
            Self::GitHead(folder) => folder.git(&["rev-parse", "HEAD"]),
            // Without the lock it leaves the index as it is: this is a look.
            Self::GitAltered(folder) => {
                folder.git(&["--no-optional-locks", "status", "--porcelain", "--untracked-files=no"])
            }
            Self::GitOrigin(folder) => folder.git(&["config", "--get", "remote.origin.url"]),
            Self::GitBranch(folder) => folder.git(&["rev-parse", "--abbrev-ref", "HEAD"]),
            Self::Package(question) => question.command(),
            Self::Service(question) => question.command(),
            Self::Ssh(question) => question.command(),
            Self::GitRemote { url, rev, access } => {
                let peeled = format!("{rev}^{{}}");
                let command = access.apply(Command::git(&["ls-remote", "--", url, rev, &peeled]));
                Command { timeout_ms: REMOTE_TIMEOUT_MS, ..command }
            }
            Self::Git(question) => question.command(),
            Self::Docker(question) => question.command(),
            Self::Locale(question) => question.command(),
            Self::Mysql(question) => question.command(),
            Self::Postgres(question) => question.command(),
            Self::Acl(question) => question.command(),
            Self::At(question) => question.command(),
            Self::Npm(question) => question.command(),
            Self::Pip(question) => question.command(),
            Self::Quota(question) => question.command(),
            Self::Disk(question) => question.command(),
            Self::Iptables(question) => question.command(),
            Self::Nft(question) => question.command(),
            Self::Wireguard(question) => question.command(),
        }
    }
}

/// Program and arguments, with the usual limit.
pub(crate) fn plain(argv: &[&str]) -> Command {
    let argv = argv.iter().map(|it| (*it).to_owned()).collect();
    Command { argv, timeout_ms: TIMEOUT_MS, ..Command::default() }
}

impl GitFolder {
    /// A git command in it.
    pub fn git(&self, args: &[&str]) -> Command {
        let safe = format!("safe.directory={}", self.path.display());
        let args: Vec<&str> = ["-c", &safe].into_iter().chain(args.iter().copied()).collect();
        Command { user: self.user.clone(), cwd: Some(self.path.clone()), ..Command::git(&args) }
    }
}
