//! `git`: working copies of git repositories, repositories, and settings of git.

mod cloned;
mod config;
mod latest;
mod present;

use super::group::account_name;
use crate::{
    Doc, Error, Host, Module, Param, ParamsError, Probe,
    args::{Args, invalid, plain_word},
    host::{
        Action, Command, FileKind, GitFolder, Links, Query,
        query::git::{GitAccess, GitLogin},
    },
};
use std::path::{Path, PathBuf};

/// Longest that a clone, a fetch or a checkout may take.
const TIMEOUT_MS: u64 = 1_800_000;

pub(crate) const MODULE: Module = Module {
    name: "git",
    doc: Doc::new("Working copies of git repositories, repositories, and settings of git."),
    functions: &[
        latest::LATEST,
        latest::DETACHED,
        cloned::FUNCTION,
        present::FUNCTION,
        config::SET,
        config::UNSET,
    ],
};

const NAME: Param = Param::text("name", "", "The repository's address.");
const TARGET: Param = Param::path("target", "", "The folder.").required();
const USER: Param = Param::text("user", "root", "The user that runs git and owns the folder.");
const IDENTITY: Param =
    Param::list("identity", "the user's own", "Paths of private keys on the minion, for addresses with SSH.");
const HTTPS_USER: Param = Param::text("https_user", "none", "Name for an https address.");
const HTTPS_PASS: Param = Param::text(
    "https_pass",
    "none",
    "Password or token for it: a secret. Git reads it from its environment, and it is kept nowhere.",
);
const PASSWORD: Param =
    Param::text("password", "none", "Accepted from Salt trees and without effect: it is for Windows.");
const ENCODING: Param =
    Param::text("output_encoding", "UTF-8", "Accepted from Salt trees and without effect.");
const REMOTE: Param = Param::text("remote", "origin", "What the remote is called in the working copy.");
const FORCE_CLONE: Param = Param::flag(
    "force_clone",
    "false",
    "Removes what is in the folder, if it is no working copy, and clones in its place.",
);

/// An address, checked.
fn url(args: &Args<'_>) -> Result<String, ParamsError> {
    let url = args.name();
    plain_word("name", &url)?;
    if url.contains("::") {
        return Err(invalid("name", format!("`{url}` names a transport program, which is not allowed")));
    }
    Ok(url)
}

/// A branch, a tag or a commit, checked.
fn rev(param: &str, text: String) -> Result<String, ParamsError> {
    plain_word(param, &text)?;
    if text.contains("..") || text.contains(['~', '^', ':', '?', '*', '[', '\\']) {
        return Err(invalid(param, format!("`{text}` is no branch, tag or commit hash")));
    }
    Ok(text)
}

fn user(args: &Args<'_>) -> Result<Option<String>, ParamsError> {
    let user = args.text("user");
    user.iter().try_for_each(|it| account_name("user", it))?;
    Ok(user)
}

fn access(args: &Args<'_>, url: &str) -> Result<GitAccess, ParamsError> {
    let keys = args.list("identity").unwrap_or_default();
    for key in &keys {
        let plain = |it: char| it.is_ascii_alphanumeric() || "/._-+@".contains(it);
        if !key.starts_with('/') || !key.chars().all(plain) || key.contains("..") {
            let text = format!("`{key}` is no path of a key on the minion; put it there with `file.managed`");
            return Err(invalid("identity", text));
        }
    }
    let login = match (args.text("https_user"), args.text("https_pass")) {
        (None, None) => None,
        (name, password) => {
            let rest = url.strip_prefix("https://");
            let Some(rest) = rest else {
                return Err(invalid("https_user", "`https_user` and `https_pass` are for https addresses"));
            };
            let server = rest.split('/').next().unwrap_or(rest);
            let server = format!("https://{}", server.rsplit('@').next().unwrap_or(server));
            let (name, password) = (name.unwrap_or_default(), password.unwrap_or_default());
            if [&name, &password].into_iter().any(|it| it.contains(['\n', '\r', '\0'])) {
                return Err(invalid("https_pass", "name and password must be one line"));
            }
            Some(GitLogin { server, name, password })
        }
    };
    Ok(GitAccess { user: user(args)?, keys: keys.into_iter().map(PathBuf::from).collect(), login })
}

fn is_hash(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|it| it.is_ascii_hexdigit())
}

/// What git says, without the end of its last line.
fn ask(host: &dyn Probe, query: &Query) -> Result<String, Error> {
    let output = host.query(query).map_err(Error::host("run", "git"))?;
    if output.code == Some(0) {
        return Ok(output.stdout.trim_end().to_owned());
    }
    let what = described(&query.command());
    let message = output.stderr.trim().lines().last().unwrap_or("failed").to_owned();
    Err(Error::Command { what, message, output: Box::new(output) })
}

/// The same, where a refusal means that there is none.
fn ask_maybe(host: &dyn Probe, query: &Query) -> Result<Option<String>, Error> {
    let output = host.query(query).map_err(Error::host("run", "git"))?;
    Ok((output.code == Some(0)).then(|| output.stdout.trim_end().to_owned()))
}

fn git(command: Command, host: &mut dyn Host) -> Result<(), Error> {
    let what = described(&command);
    let command = Command { timeout_ms: TIMEOUT_MS, ..command };
    let done = host.perform(&Action::Run(command)).map_err(Error::host("run", "git"))?;
    done.success(&what).map(drop)
}

/// The command without its options for safety.
fn described(command: &Command) -> String {
    let words = command
        .argv
        .iter()
        .filter(|it| *it != "-c" && !it.contains(".allow=") && !it.starts_with("safe.directory="));
    words.map(String::as_str).collect::<Vec<_>>().join(" ")
}

/// What is in a folder that is to be a repository.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Found {
    Nothing,
    Repository,
    /// Files of someone else: a folder with files in it, or no folder.
    InTheWay(&'static str),
}

/// Looks for a repository: in `.git`, or without a working copy right in the folder.
fn found(host: &dyn Probe, target: &Path, bare: bool) -> Result<Found, Error> {
    let look = |path: &Path| host.stat(path, Links::Follow).map_err(Error::host("look at", path.display()));
    let sign = if bare { "HEAD" } else { ".git" };
    match look(target)? {
        None => Ok(Found::Nothing),
        Some(it) if it.kind != FileKind::Directory => Ok(Found::InTheWay(it.kind.describe())),
        Some(_) if look(&target.join(sign))?.is_some() => Ok(Found::Repository),
        Some(_) => {
            let names = host.list(target).map_err(Error::host("list", target.display()))?;
            Ok(if names.is_empty() { Found::Nothing } else { Found::InTheWay("a folder with files in it") })
        }
    }
}

fn in_the_way(target: &Path, kind: &str, force: &str) -> Error {
    let target = target.display();
    let way_out = if force.is_empty() { "" } else { &format!("; `{force}: true` would replace it") };
    Error::Refused(format!("`{target}` is {kind} and no working copy{way_out}"))
}

/// Removes what is in the way; the folder itself stays.
fn clear(host: &mut dyn Host, target: &Path) -> Result<(), Error> {
    let found = host.stat(target, Links::Keep).map_err(Error::host("look at", target.display()))?;
    if found.is_none_or(|it| it.kind != FileKind::Directory) {
        return host.remove(target).map_err(Error::host("remove", target.display()));
    }
    for name in host.list(target).map_err(Error::host("list", target.display()))? {
        let path = target.join(name);
        host.remove(&path).map_err(Error::host("remove", path.display()))?;
    }
    Ok(())
}

/// The target as an argument: in a sandbox commands run in the folder that stands for `/`.
fn place(host: &dyn Probe, target: &Path) -> String {
    let text = target.display().to_string();
    if host.is_sandbox() { text.trim_start_matches('/').to_owned() } else { text }
}

fn folder(target: &Path, access: &GitAccess) -> GitFolder {
    GitFolder { path: target.to_owned(), user: access.user.clone() }
}
