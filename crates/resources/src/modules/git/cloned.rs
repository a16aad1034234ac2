//! `git.cloned`: a working copy that is made once and then left alone.

use super::{
    ENCODING, Found, HTTPS_PASS, HTTPS_USER, IDENTITY, NAME, PASSWORD, TARGET, USER, access, ask, folder,
    found, git, in_the_way, place, rev, url,
};
use crate::{
    Applied, Doc, Error, Examples, Function, Host, Param, ParamsError, Probe, Resource,
    args::Args,
    host::{Command, Query, query::git::GitAccess},
};
use model::{Change, Plan};
use serde_json::{Map, Value};
use std::path::PathBuf;

pub(super) const FUNCTION: Function = Function {
    name: "cloned",
    doc: Doc::new(
        "A folder is a working copy of a repository, on this branch if one is given. Later commits are not fetched: \
          `git.latest` does that.",
    ),
    params: PARAMS,
    examples: Examples::new(&[
        "https://github.com/example/site.git:\n  git.cloned:\n    - target: /srv/site\n    - branch: main\n",
    ]),
    parse,
};

const PARAMS: &[Param] = &[
    NAME,
    TARGET,
    Param::text("branch", "the remote's first", "The branch."),
    USER,
    IDENTITY,
    HTTPS_USER,
    HTTPS_PASS,
    PASSWORD,
    ENCODING,
];

#[derive(Debug)]
struct Cloned {
    url: String,
    target: PathBuf,
    branch: Option<String>,
    access: GitAccess,
}

fn parse(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("git.cloned", PARAMS, params)?;
    let url = url(&args)?;
    let branch = args.text("branch").map(|it| rev("branch", it)).transpose()?;
    let target = args.path("target").unwrap_or_default();
    Ok(Box::new(Cloned { access: access(&args, &url)?, url, target, branch }))
}

impl Resource for Cloned {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        match found(host, &self.target, false)? {
            Found::InTheWay(kind) => return Err(in_the_way(&self.target, kind, "")),
            Found::Nothing => {
                let to = Some(self.url.clone());
                plan.push(Change { what: "clone".to_owned(), from: None, to, diff: None });
                return Ok(plan);
            }
            Found::Repository => (),
        }
        let folder = folder(&self.target, &self.access);
        let origin = ask(host, &Query::GitOrigin(folder.clone())).unwrap_or_default();
        if origin != self.url {
            let target = self.target.display();
            return Err(Error::Refused(format!(
                "`{target}` is a working copy of `{origin}`, not of `{}`",
                self.url
            )));
        }
        if let Some(branch) = &self.branch {
            plan.differ("branch", Some(&ask(host, &Query::GitBranch(folder))?), branch);
        }
        Ok(plan)
    }

    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        if plan.touches("clone") {
            let target = place(host, &self.target);
            let mut args = vec!["clone", "-q"];
            if let Some(branch) = &self.branch {
                args.extend(["--branch", branch]);
            }
            args.extend(["--", &self.url, &target]);
            git(self.access.apply(Command::git(&args)), host)?;
        } else if let Some(branch) = &self.branch {
            git(folder(&self.target, &self.access).git(&["checkout", "-q", branch, "--"]), host)?;
        }
        Ok(Applied::default())
    }
}
