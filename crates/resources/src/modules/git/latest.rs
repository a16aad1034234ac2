//! `git.latest`, `git.detached`: a working copy that follows a remote.

use super::{
    ENCODING, FORCE_CLONE, Found, HTTPS_PASS, HTTPS_USER, IDENTITY, NAME, PASSWORD, REMOTE, TARGET, USER,
    access, ask, ask_maybe, clear, folder, found, git, in_the_way, is_hash, place, rev, url,
};
use crate::{
    Applied, Doc, Error, Examples, Function, Host, Param, ParamsError, Probe, Resource,
    args::{Args, invalid, plain_word},
    host::{
        Command, GitFolder, Query,
        query::git::{GitAccess, Question},
    },
};
use model::{Change, Plan};
use serde_json::{Map, Value};
use std::path::PathBuf;

pub(super) const LATEST: Function = Function {
    name: "latest",
    doc: Doc::new(
        "A folder is a working copy of a repository and stands at the newest commit of a branch, at a tag or at a commit. \
          Local commits and altered files are never lost unless `force_reset` is set. Git asks nobody for a password: give \
          the user a key, name one with `identity`, or use `https_user` and `https_pass`.",
    ),
    params: PARAMS,
    examples: Examples::new(&[
        "https://github.com/example/site.git:\n  git.latest:\n    - target: /srv/site\n    - rev: main\n    - user: www-data\n",
        "git@git.lan:me/dotfiles.git:\n  git.latest:\n    - target: /home/ada/dotfiles\n    - user: ada\n    - identity: \
         /home/ada/.ssh/id_ed25519\n    - submodules: true\n    - force_reset: true\n",
        "https://github.com/example/mirror.git:\n  git.latest:\n    - target: /srv/mirror.git\n    - mirror: true\n",
    ]),
    parse: |params| parse("git.latest", PARAMS, params),
};

pub(super) const DETACHED: Function = Function {
    name: "detached",
    doc: Doc::new(
        "A folder is a working copy of a repository and stands at a commit, a tag or the newest commit of a branch, on no \
          branch of its own.",
    ),
    params: DETACHED_PARAMS,
    examples: Examples::new(&[
        "https://github.com/example/tool.git:\n  git.detached:\n    - target: /opt/tool\n    - rev: v1.4.2\n",
    ]),
    parse: |params| parse("git.detached", DETACHED_PARAMS, params),
};

const SUBMODULES: Param =
    Param::flag("submodules", "false", "Submodules are fetched and stand where they are to.");
const FORCE_CHECKOUT: Param =
    Param::flag("force_checkout", "false", "Throws altered files away where another branch is checked out.");

const PARAMS: &[Param] = &[
    NAME,
    TARGET,
    Param::text("rev", "HEAD", "A branch, a tag or a commit hash."),
    Param::text("branch", "named as at the remote", "What the branch is called in the working copy."),
    USER,
    Param::flag(
        "update_head",
        "true",
        "Whether the working copy follows; with false commits are only fetched.",
    ),
    FORCE_CHECKOUT,
    FORCE_CLONE,
    Param::flag(
        "force_fetch",
        "false",
        "Accepted from Salt trees: branches of the remote are always followed.",
    ),
    Param::text(
        "force_reset",
        "false",
        "Throws local commits and altered files away: `true`, or `remote-changes`, which means the same here.",
    ),
    SUBMODULES,
    Param::flag("bare", "false", "A repository without a working copy."),
    Param::flag("mirror", "false", "The same, with everything that the remote has."),
    REMOTE,
    Param::flag("fetch_tags", "true", "Fetches all tags."),
    Param::flag(
        "sync_tags",
        "true",
        "Accepted from Salt trees: tags that were moved at the remote are followed.",
    ),
    Param::number("depth", "all", "Clones only so many commits."),
    IDENTITY,
    HTTPS_USER,
    HTTPS_PASS,
    Param::text("refspec_branch", "*", "Which branches are fetched."),
    Param::text("refspec_tag", "*", "Accepted from Salt trees and without effect: `fetch_tags` decides."),
    PASSWORD,
    ENCODING,
];

const DETACHED_PARAMS: &[Param] = &[
    NAME,
    TARGET,
    Param::text("rev", "", "A branch, a tag or a commit hash.").required(),
    REMOTE,
    USER,
    FORCE_CLONE,
    FORCE_CHECKOUT,
    Param::flag(
        "fetch_remote",
        "true",
        "Accepted from Salt trees and without effect: a new commit is fetched.",
    ),
    Param::flag("hard_reset", "false", "Throws altered files away."),
    SUBMODULES,
    IDENTITY,
    HTTPS_USER,
    HTTPS_PASS,
    PASSWORD,
    ENCODING,
];

/// What the folder is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    WorkingCopy,
    Bare,
    Mirror,
}

#[expect(clippy::struct_excessive_bools, reason = "these are the parameters that people write")]
#[derive(Debug)]
struct Latest {
    url: String,
    target: PathBuf,
    rev: String,
    branch: Option<String>,
    access: GitAccess,
    kind: Kind,
    remote: String,
    detach: bool,
    update_head: bool,
    force_checkout: bool,
    force_clone: bool,
    force_reset: bool,
    submodules: bool,
    fetch_tags: bool,
    depth: Option<i64>,
    branches: String,
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

fn parse(
    kind: &str,
    schema: &[Param],
    params: &Map<String, Value>,
) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new(kind, schema, params)?;
    let url = url(&args)?;
    let branch = args.text("branch").map(|it| rev("branch", it)).transpose()?;
    let depth = args.number("depth");
    if depth.is_some_and(|it| it < 1) {
        return Err(invalid("depth", "`depth` must be at least 1"));
    }
    let remote = args.text("remote").unwrap_or_else(|| "origin".to_owned());
    rev("remote", remote.clone())?;
    let force_reset = match args.text("force_reset").unwrap_or_default().to_lowercase().as_str() {
        "" | "false" | "no" | "off" => args.bool("hard_reset", false),
        "true" | "yes" | "on" | "remote-changes" => true,
        _ => return Err(invalid("force_reset", "`force_reset` must be true, false or `remote-changes`")),
    };
    let kind_of_folder = match (args.bool("mirror", false), args.bool("bare", false)) {
        (true, _) => Kind::Mirror,
        (false, true) => Kind::Bare,
        (false, false) => Kind::WorkingCopy,
    };
    let branches = args.text("refspec_branch").unwrap_or_else(|| "*".to_owned());
    plain_word("refspec_branch", &branches)?;
    if branches.contains(':') {
        return Err(invalid(
            "refspec_branch",
            "`refspec_branch` is a branch, or a pattern such as `release/*`",
        ));
    }
    Ok(Box::new(Latest {
        access: access(&args, &url)?,
        url,
        target: args.path("target").unwrap_or_default(),
        rev: rev("rev", args.text("rev").unwrap_or_else(|| "HEAD".to_owned()))?,
        branch,
        kind: kind_of_folder,
        remote,
        detach: kind == "git.detached",
        update_head: args.bool("update_head", true),
        force_checkout: args.bool("force_checkout", false),
        force_clone: args.bool("force_clone", false),
        force_reset,
        submodules: args.bool("submodules", false),
        fetch_tags: args.bool("fetch_tags", true),
        depth,
        branches,
    }))
}

/// A hash, or the beginning of one.
fn is_short_hash(text: &str) -> bool {
    (7..40).contains(&text.len()) && text.bytes().all(|it| it.is_ascii_hexdigit())
}

impl Latest {
    fn folder(&self) -> GitFolder {
        folder(&self.target, &self.access)
    }

    fn remote(&self, host: &dyn Probe) -> Result<Rev, Error> {
        if is_hash(&self.rev) {
            return Ok(Rev::Fixed(self.rev.to_ascii_lowercase()));
        }
        let query =
            Query::GitRemote { url: self.url.clone(), rev: self.rev.clone(), access: self.access.clone() };
        let lines = ask(host, &query)?;
        match find_rev(&lines, &self.rev) {
            Some(rev) => Ok(rev),
            // Nothing at the remote is called so: the beginning of a hash, which only the clone can complete.
            None if is_short_hash(&self.rev) => Ok(Rev::Fixed(self.rev.to_ascii_lowercase())),
            None => {
                let text = format!("`{}` has neither a branch nor a tag `{}`", self.url, self.rev);
                Err(Error::Refused(text))
            }
        }
    }

    fn local(&self, host: &dyn Probe, name: &str) -> Result<Option<String>, Error> {
        ask_maybe(host, &Query::Git(Question::Commit(self.folder(), name.to_owned())))
    }

    fn compare_head(&self, host: &dyn Probe, rev: &Rev, plan: &mut Plan) -> Result<(), Error> {
        let folder = self.folder();
        let head = ask(host, &Query::GitHead(folder.clone()))?;
        if !head.starts_with(rev.commit()) {
            plan.differ("revision", Some(&head), &rev.commit().to_owned());
        }
        let branch = match rev {
            _ if self.detach => Some("HEAD"),
            Rev::Branch(_) => Some(self.branch.as_deref().unwrap_or(&self.rev)),
            Rev::Fixed(_) | Rev::Head(_) => self.branch.as_deref(),
        };
        if let Some(wanted) = branch {
            let now = ask(host, &Query::GitBranch(folder.clone()))?;
            plan.differ("branch", Some(&now), &wanted.to_owned());
        }
        if self.force_reset {
            let altered = ask(host, &Query::GitAltered(folder))?.lines().count();
            plan.differ("altered files", Some(&altered), &0);
        }
        Ok(())
    }

    /// For repositories without a working copy, and where the working copy is not to follow: is the commit there?
    fn compare_fetched(&self, host: &dyn Probe, rev: &Rev, plan: &mut Plan) -> Result<(), Error> {
        let name = match (rev, self.kind) {
            (Rev::Branch(_), Kind::WorkingCopy) => format!("refs/remotes/{}/{}", self.remote, self.rev),
            (Rev::Branch(_), _) => format!("refs/heads/{}", self.rev),
            (Rev::Fixed(commit) | Rev::Head(commit), _) => commit.clone(),
        };
        let now = self.local(host, &name)?;
        if !now.as_ref().is_some_and(|it| it.starts_with(rev.commit())) {
            plan.differ("fetched", now.as_ref(), &rev.commit().to_owned());
        }
        Ok(())
    }

    fn run(&self, args: &[&str], host: &mut dyn Host) -> Result<(), Error> {
        git(self.access.apply(self.folder().git(args)), host)
    }

    fn make_clone(&self, host: &mut dyn Host) -> Result<(), Error> {
        if matches!(found(host, &self.target, self.kind != Kind::WorkingCopy)?, Found::InTheWay(_)) {
            clear(host, &self.target)?;
        }
        let depth = self.depth.map(|it| it.to_string());
        let mut args = vec!["clone", "-q"];
        match self.kind {
            Kind::WorkingCopy => (),
            Kind::Bare => args.push("--bare"),
            Kind::Mirror => args.push("--mirror"),
        }
        if let Some(depth) = &depth {
            args.extend(["--depth", depth]);
        }
        if self.remote != "origin" {
            args.extend(["--origin", &self.remote]);
        }
        if !self.fetch_tags {
            args.push("--no-tags");
        }
        let hash = is_hash(&self.rev) || is_short_hash(&self.rev);
        if self.rev != "HEAD" && !hash && self.kind != Kind::Mirror {
            args.extend(["--branch", &self.rev]);
        }
        let target = place(host, &self.target);
        args.extend(["--", &self.url, &target]);
        git(self.access.apply(Command::git(&args)), host)?;
        if self.kind != Kind::WorkingCopy {
            return Ok(());
        }
        let at = if hash { self.rev.as_str() } else { "HEAD" };
        match &self.branch {
            _ if self.detach => self.run(&["checkout", "-q", "--detach", at], host)?,
            Some(branch) => self.run(&["checkout", "-q", "-B", branch, at], host)?,
            None if hash => self.run(&["checkout", "-q", "--detach", at], host)?,
            None => (),
        }
        self.update_submodules(host)
    }

    fn update_submodules(&self, host: &mut dyn Host) -> Result<(), Error> {
        if !self.submodules {
            return Ok(());
        }
        self.run(&["submodule", "sync", "-q", "--recursive"], host)?;
        self.run(&["submodule", "update", "-q", "--init", "--recursive"], host)
    }

    fn fetch(&self, host: &mut dyn Host) -> Result<(), Error> {
        self.run(&["remote", "set-url", &self.remote, &self.url], host)?;
        let tags = if self.fetch_tags { "--tags" } else { "--no-tags" };
        let all = format!("+refs/heads/{0}:refs/remotes/{1}/{0}", self.branches, self.remote);
        match self.kind {
            Kind::Mirror => self.run(&["fetch", "-q", "--prune", "--force", &self.remote], host),
            Kind::Bare => {
                let all = format!("+refs/heads/{0}:refs/heads/{0}", self.branches);
                self.run(&["fetch", "-q", tags, "--force", &self.remote, &all], host)
            }
            Kind::WorkingCopy => self.run(&["fetch", "-q", tags, "--force", &self.remote, &all], host),
        }
    }

    fn update(&self, host: &mut dyn Host) -> Result<(), Error> {
        let rev = self.remote(host)?;
        self.fetch(host)?;
        if self.kind != Kind::WorkingCopy || !self.update_head {
            return Ok(());
        }
        if self.force_reset {
            self.run(&["reset", "-q", "--hard"], host)?;
        }
        self.stand_at(&rev, host)?;
        self.update_submodules(host)
    }

    fn stand_at(&self, rev: &Rev, host: &mut dyn Host) -> Result<(), Error> {
        let mut checkout = vec!["checkout", "-q"];
        if self.force_checkout {
            checkout.push("--force");
        }
        let with = |more: &[&'_ str]| -> Vec<String> {
            checkout.iter().chain(more).map(|it| (*it).to_owned()).collect()
        };
        let words = match (rev, &self.branch) {
            _ if self.detach => return self.run_words(&with(&["--detach", rev.commit()]), host),
            (Rev::Fixed(commit), None) => return self.run_words(&with(&["--detach", commit]), host),
            (_, Some(branch)) => match self.local(host, &format!("refs/heads/{branch}"))? {
                Some(_) => Some(with(&[branch, "--"])),
                None => return self.run_words(&with(&["-b", branch, rev.commit()]), host),
            },
            (Rev::Branch(_), None) => Some(with(&[&self.rev, "--"])),
            (Rev::Head(_), None) => None,
        };
        if let Some(words) = words {
            self.run_words(&words, host)?;
        }
        if self.force_reset {
            self.run(&["reset", "-q", "--hard", rev.commit()], host)
        } else {
            self.run(&["merge", "-q", "--ff-only", rev.commit()], host)
        }
    }

    fn run_words(&self, words: &[String], host: &mut dyn Host) -> Result<(), Error> {
        self.run(&words.iter().map(String::as_str).collect::<Vec<_>>(), host)
    }
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
        match found(host, &self.target, self.kind != Kind::WorkingCopy)? {
            Found::Repository => (),
            Found::InTheWay(kind) if !self.force_clone => {
                return Err(in_the_way(&self.target, kind, "force_clone"));
            }
            other => {
                let from = matches!(other, Found::InTheWay(_)).then(|| "other files".to_owned());
                let to = Some(format!("{} of {}", self.rev, self.url));
                plan.push(Change { what: "clone".to_owned(), from, to, diff: None });
                return Ok(plan);
            }
        }
        let folder = self.folder();
        let origin = match self.remote.as_str() {
            "origin" => Query::GitOrigin(folder.clone()),
            remote => Query::Git(Question::RemoteUrl(folder.clone(), remote.to_owned())),
        };
        let origin = ask(host, &origin).unwrap_or_default();
        plan.differ("origin", Some(&origin), &self.url);
        let rev = self.remote(host)?;
        if self.kind == Kind::WorkingCopy && self.update_head {
            self.compare_head(host, &rev, &mut plan)?;
        } else {
            self.compare_fetched(host, &rev, &mut plan)?;
        }
        if self.submodules && self.kind == Kind::WorkingCopy {
            let status = ask(host, &Query::Git(Question::Submodules(folder)))?;
            let off = status.lines().filter(|it| it.starts_with(['+', '-', 'U'])).count();
            plan.differ("submodules that stand elsewhere", Some(&off), &0);
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
