//! What git is asked beyond a working copy's head, branch and remote.

use super::GitFolder;
use crate::host::Command;
use std::path::PathBuf;

/// How git reaches a remote: as whom, with which keys, with which password.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct GitAccess {
    /// Who runs git; root if `None`.
    pub user: Option<String>,
    /// Private keys for SSH, instead of the user's own.
    pub keys: Vec<PathBuf>,
    /// Name and password, and the address that they are for: `https://host`.
    pub login: Option<GitLogin>,
}

/// A name and a password for one server.
#[derive(Clone, PartialEq, Eq)]
pub struct GitLogin {
    /// `https://host`: nobody else is told.
    pub server: String,
    /// Name.
    pub name: String,
    /// Password.
    pub password: String,
}

impl std::fmt::Debug for GitAccess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GitAccess of {:?}", self.user)
    }
}

/// Tells git the name and password that are in the environment of the command; nothing of them is in the line.
const HELPER: &str = "!f() { test \"$1\" = get && echo \"username=$LABCTL_GIT_USER\" && echo \"password=$LABCTL_GIT_PASSWORD\"; }; f";

impl GitAccess {
    /// A git command that reaches the remote in this way.
    pub fn apply(&self, mut command: Command) -> Command {
        command.user.clone_from(&self.user);
        if !self.keys.is_empty() {
            // Paths of keys have been checked: no spaces, no quotes.
            let keys = self.keys.iter().map(|it| it.display().to_string()).collect::<Vec<_>>().join(" -i ");
            let line = format!("ssh -o BatchMode=yes -o IdentitiesOnly=yes -i {keys}");
            command.env.retain(|it| it.0 != "GIT_SSH_COMMAND");
            command.env.push(("GIT_SSH_COMMAND".to_owned(), line));
        }
        if let Some(login) = &self.login {
            let key = format!("credential.{}.helper", login.server);
            for (name, value) in [
                ("GIT_CONFIG_COUNT", "1"),
                ("GIT_CONFIG_KEY_0", key.as_str()),
                ("GIT_CONFIG_VALUE_0", HELPER),
                ("LABCTL_GIT_USER", &login.name),
                ("LABCTL_GIT_PASSWORD", &login.password),
            ] {
                command.env.push((name.to_owned(), value.to_owned()));
            }
        }
        command
    }
}

/// Where a setting of git is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GitSettings {
    /// In a repository.
    Of(GitFolder),
    /// In a user's home folder; root's if `None`.
    Global(Option<String>),
}

impl GitSettings {
    /// A `git config` command.
    pub fn git(&self, args: &[&str]) -> Command {
        match self {
            Self::Of(folder) => folder.git(&[&["config", "--local"], args].concat()),
            Self::Global(user) => {
                Command { user: user.clone(), ..Command::git(&[&["config", "--global"], args].concat()) }
            }
        }
    }
}

/// A question about a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// The commit that a name stands for here.
    Commit(GitFolder, String),
    /// The address of a remote.
    RemoteUrl(GitFolder, String),
    /// How the submodules stand: `+` or `-` before what is not as it should be.
    Submodules(GitFolder),
    /// All values of a setting: a line each.
    Values(GitSettings, String),
    /// Names and values of settings whose names match a pattern: a line each.
    Matching(GitSettings, String),
}

impl Question {
    pub(super) fn command(&self) -> Command {
        match self {
            Self::Commit(folder, name) => {
                folder.git(&["rev-parse", "--verify", "--quiet", &format!("{name}^{{commit}}")])
            }
            Self::RemoteUrl(folder, remote) => {
                folder.git(&["config", "--get", &format!("remote.{remote}.url")])
            }
            Self::Submodules(folder) => folder.git(&["submodule", "status", "--recursive"]),
            Self::Values(settings, name) => settings.git(&["--get-all", name]),
            Self::Matching(settings, pattern) => settings.git(&["--get-regexp", pattern]),
        }
    }
}
