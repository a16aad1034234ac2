//! `git`: working copies of repositories.

use super::group::account_name;
use crate::{
    Applied, Error, Function, Host, Module, Param, ParamType, ParamsError, Probe, Resource,
    args::{Args, invalid, plain_word},
    host::{Action, Command, FileKind, GitFolder, Links, Query},
};
use model::{Change, Plan};
use serde_json::{Map, Value};
use std::path::PathBuf;

/// Longest that a clone, a fetch or a checkout may take.
const TIMEOUT_MS: u64 = 1_800_000;

pub(crate) const MODULE: Module = Module {
    name: "git",
    doc: "Working copies of git repositories.",
    functions: &[Function {
        name: "latest",
        doc: "A folder is a working copy of a repository and stands at the newest commit of a branch, at a tag or at \
              a commit. Local commits and altered files are never lost unless `force_reset` is set. Git asks nobody \
              for a password; give the user a key, or use a public address.",
        params: PARAMS,
        examples: &[
            "https://github.com/example/site.git:\n  git.latest:\n    - target: /srv/site\n    - rev: main\n    - user: \
             www-data\n",
        ],
        parse,
    }],
};

const PARAMS: &[Param] = &[
    Param {
        name: "name",
        kind: ParamType::Text,
        required: false,
        default: "",
        doc: "The repository's address.",
    },
    Param { name: "target", kind: ParamType::Path, required: true, default: "", doc: "The folder." },
    Param {
        name: "rev",
        kind: ParamType::Text,
        required: false,
        default: "HEAD",
        doc: "A branch, a tag or a whole commit hash.",
    },
    Param {
        name: "user",
        kind: ParamType::Text,
        required: false,
        default: "root",
        doc: "The user that runs git and owns the folder.",
    },
    Param {
        name: "force_reset",
        kind: ParamType::Bool,
        required: false,
        default: "false",
        doc: "Throws local commits and altered files away.",
    },
    Param {
        name: "depth",
        kind: ParamType::Integer,
        required: false,
        default: "all",
        doc: "Clones only so many commits.",
    },
];

#[derive(Debug)]
struct Latest {
    url: String,
    target: PathBuf,
    rev: String,
    user: Option<String>,
    force_reset: bool,
    depth: Option<i64>,
}

/// What `rev` stands for at the remote.
#[derive(Clone, Debug, PartialEq)]
enum Rev {
    /// The newest commit of a branch.
    Branch(String),
    /// A fixed commit: a tag, or a hash.
    Fixed(String),
    /// The newest commit of the branch that the remote shows first.
    Head(String),
}

impl Rev {
    fn commit(&self) -> &str {
        match self {
            Self::Branch(commit) | Self::Fixed(commit) | Self::Head(commit) => commit,
        }
    }
}

fn parse(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("git.latest", PARAMS, params)?;
    let url = args.name();
    plain_word("name", &url)?;
    if url.contains("::") {
        return Err(invalid("name", format!("`{url}` names a transport program, which is not allowed")));
    }
    let rev = args.text("rev").unwrap_or_else(|| "HEAD".to_owned());
    plain_word("rev", &rev)?;
    if rev.contains("..") || rev.contains(['~', '^', ':', '?', '*', '[', '\\']) {
        return Err(invalid("rev", format!("`{rev}` is no branch, tag or commit hash")));
    }
    let user = args.text("user");
    user.iter().try_for_each(|it| account_name("user", it))?;
    let depth = args.number("depth");
    if depth.is_some_and(|it| it < 1) {
        return Err(invalid("depth", "`depth` must be at least 1"));
    }
    let target = args.path("target").unwrap_or_default();
    Ok(Box::new(Latest { url, target, rev, user, force_reset: args.bool("force_reset", false), depth }))
}

fn is_hash(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|it| it.is_ascii_hexdigit())
}

impl Latest {
    fn folder(&self) -> GitFolder {
        GitFolder { path: self.target.clone(), user: self.user.clone() }
    }

    fn ask(host: &dyn Probe, query: &Query) -> Result<String, Error> {
        let output = host.query(query).map_err(Error::host("run", "git"))?;
        if output.code == Some(0) {
            return Ok(output.stdout.trim().to_owned());
        }
        let what = described(&query.command());
        let message = output.stderr.trim().lines().last().unwrap_or("failed").to_owned();
        Err(Error::Command { what, message, output: Box::new(output) })
    }

    fn remote(&self, host: &dyn Probe) -> Result<Rev, Error> {
        if is_hash(&self.rev) {
            return Ok(Rev::Fixed(self.rev.to_ascii_lowercase()));
        }
        let query =
            Query::GitRemote { url: self.url.clone(), rev: self.rev.clone(), user: self.user.clone() };
        let lines = Self::ask(host, &query)?;
        find_rev(&lines, &self.rev).ok_or_else(|| {
            Error::Refused(format!("`{}` has neither a branch nor a tag `{}`", self.url, self.rev))
        })
    }

    /// Whether the folder is a working copy; what else is there must be empty.
    fn is_cloned(&self, host: &dyn Probe) -> Result<bool, Error> {
        let look =
            |path: &PathBuf| host.stat(path, Links::Follow).map_err(Error::host("look at", path.display()));
        let in_the_way = |kind: &str| {
            Err(Error::Refused(format!("`{}` is {kind} and no working copy", self.target.display())))
        };
        match look(&self.target)? {
            None => Ok(false),
            Some(it) if it.kind != FileKind::Directory => in_the_way(it.kind.describe()),
            Some(_) if look(&self.target.join(".git"))?.is_some() => Ok(true),
            Some(_) => {
                let names = host.list(&self.target).map_err(Error::host("list", self.target.display()))?;
                if names.is_empty() { Ok(false) } else { in_the_way("a folder with files in it") }
            }
        }
    }

    fn git(command: Command, host: &mut dyn Host) -> Result<(), Error> {
        let what = described(&command);
        let command = Command { timeout_ms: TIMEOUT_MS, ..command };
        let done = host.perform(&Action::Run(command)).map_err(Error::host("run", "git"))?;
        done.success(&what).map(drop)
    }

    fn make_clone(&self, host: &mut dyn Host) -> Result<(), Error> {
        let target = self.target.display().to_string();
        let depth = self.depth.map(|it| it.to_string());
        let mut args = vec!["clone", "-q"];
        if let Some(depth) = &depth {
            args.extend(["--depth", depth]);
        }
        let is_named = self.rev != "HEAD" && !is_hash(&self.rev);
        if is_named {
            args.extend(["--branch", &self.rev]);
        }
        if host.is_sandbox() {
            // It runs in the folder that stands for `/`.
            args.extend(["--", &self.url, target.trim_start_matches('/')]);
        } else {
            args.extend(["--", &self.url, &target]);
        }
        Self::git(Command { user: self.user.clone(), ..Command::git(&args) }, host)?;
        if is_hash(&self.rev) {
            Self::git(self.folder().git(&["checkout", "-q", "--detach", &self.rev]), host)?;
        }
        Ok(())
    }

    fn update(&self, host: &mut dyn Host) -> Result<(), Error> {
        let rev = self.remote(host)?;
        let folder = self.folder();
        Self::git(folder.git(&["remote", "set-url", "origin", &self.url]), host)?;
        let fetch = ["fetch", "-q", "--tags", "--force", "origin", "+refs/heads/*:refs/remotes/origin/*"];
        Self::git(folder.git(&fetch), host)?;
        if self.force_reset {
            Self::git(folder.git(&["reset", "-q", "--hard"]), host)?;
        }
        match &rev {
            Rev::Fixed(commit) => {
                return Self::git(folder.git(&["checkout", "-q", "--detach", commit]), host);
            }
            Rev::Branch(_) => Self::git(folder.git(&["checkout", "-q", &self.rev, "--"]), host)?,
            Rev::Head(_) => (),
        }
        let last = if self.force_reset {
            ["reset", "-q", "--hard", rev.commit()]
        } else {
            ["merge", "-q", "--ff-only", rev.commit()]
        };
        Self::git(folder.git(&last), host)
    }
}

/// The command without its options for safety.
fn described(command: &Command) -> String {
    let words = command
        .argv
        .iter()
        .filter(|it| *it != "-c" && !it.contains(".allow=") && !it.starts_with("safe.directory="));
    words.map(String::as_str).collect::<Vec<_>>().join(" ")
}

/// Among lines of hash, tab and name; a tag's commit stands behind its peeled name.
fn find_rev(lines: &str, rev: &str) -> Option<Rev> {
    let commit = |name: &str| {
        let line = lines.lines().find_map(|it| it.split_once('\t').filter(|it| it.1 == name))?;
        Some(line.0.to_owned()).filter(|it| is_hash(it))
    };
    if rev == "HEAD" {
        return commit("HEAD").map(Rev::Head);
    }
    let branch = commit(&format!("refs/heads/{rev}")).map(Rev::Branch);
    let peeled = || commit(&format!("refs/tags/{rev}^{{}}")).map(Rev::Fixed);
    let tag = || commit(&format!("refs/tags/{rev}")).map(Rev::Fixed);
    branch.or_else(peeled).or_else(tag)
}

impl Resource for Latest {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        if !self.is_cloned(host)? {
            let to = Some(format!("{} of {}", self.rev, self.url));
            plan.push(Change { what: "clone".to_owned(), from: None, to, diff: None });
            return Ok(plan);
        }
        let folder = self.folder();
        let origin = Self::ask(host, &Query::GitOrigin(folder.clone())).unwrap_or_default();
        plan.differ("origin", Some(&origin), &self.url);
        let rev = self.remote(host)?;
        let head = Self::ask(host, &Query::GitHead(folder.clone()))?;
        plan.differ("revision", Some(&head), &rev.commit().to_owned());
        if matches!(rev, Rev::Branch(_)) {
            let branch = Self::ask(host, &Query::GitBranch(folder.clone()))?;
            plan.differ("branch", Some(&branch), &self.rev);
        }
        if self.force_reset {
            let altered = Self::ask(host, &Query::GitAltered(folder))?.lines().count();
            plan.differ("altered files", Some(&altered), &0);
        }
        Ok(plan)
    }

    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        if plan.touches("clone") {
            self.make_clone(host)?;
        } else {
            self.update(host)?;
        }
        Ok(Applied::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_means_its_commit_and_a_branch_wins() {
        let (one, two, three) = ("1".repeat(40), "2".repeat(40), "3".repeat(40));
        let lines = format!("{one}\trefs/heads/x/v1\n{two}\trefs/tags/v1\n{three}\trefs/tags/v1^{{}}\n");
        assert_eq!(find_rev(&lines, "v1"), Some(Rev::Fixed(three)));
        let lines = format!("{one}\trefs/heads/v1\n{two}\trefs/tags/v1\n");
        assert_eq!(find_rev(&lines, "v1"), Some(Rev::Branch(one.clone())));
        assert_eq!(find_rev(&format!("{one}\tHEAD\n"), "HEAD"), Some(Rev::Head(one)));
        assert_eq!(find_rev(&lines, "v2"), None);
    }
}
