//! `git.present`: a repository exists.

use super::{ENCODING, Found, PASSWORD, USER, clear, found, git, in_the_way, place, user};
use crate::{
    Applied, Doc, Error, Examples, Function, Host, Param, ParamsError, Probe, Resource,
    args::{Args, invalid, plain_word},
    host::Command,
};
use model::{Change, Plan};
use serde_json::{Map, Value};
use std::path::PathBuf;

pub(super) const FUNCTION: Function = Function {
    name: "present",
    doc: Doc::new("A folder is a repository: a new one is made if it is none."),
    params: PARAMS,
    examples: Examples::new(&["/srv/git/site.git:\n  git.present:\n    - user: git\n    - shared: group\n"]),
    parse,
};

const PARAMS: &[Param] = &[
    Param::path("name", "", "The folder."),
    Param::flag("force", "false", "Removes what is in the folder, if it is no repository."),
    Param::flag("bare", "true", "Without a working copy."),
    Param::path("template", "git's own", "A folder whose files a new one gets."),
    Param::path("separate_git_dir", "none", "Keeps the repository there, with a link in the working copy."),
    Param::text(
        "shared",
        "umask",
        "Who may write: `umask`, `group`, `all`, `world`, or a mode such as 0660.",
    ),
    USER,
    PASSWORD,
    ENCODING,
];

#[derive(Debug)]
struct Present {
    target: PathBuf,
    force: bool,
    bare: bool,
    options: Vec<String>,
    user: Option<String>,
}

fn parse(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("git.present", PARAMS, params)?;
    let bare = args.bool("bare", true);
    let mut options = Vec::new();
    if let Some(shared) = args.text("shared") {
        plain_word("shared", &shared)?;
        options.push(format!("--shared={shared}"));
    }
    for (param, option) in [("template", "--template"), ("separate_git_dir", "--separate-git-dir")] {
        if let Some(path) = args.path(param) {
            options.push(format!("{option}={}", path.display()));
        }
    }
    if bare && args.has("separate_git_dir") {
        return Err(invalid(
            "separate_git_dir",
            "`separate_git_dir` is for a working copy: say `bare: false`",
        ));
    }
    let target = args.path("name").unwrap_or_default();
    Ok(Box::new(Present { target, force: args.bool("force", false), bare, options, user: user(&args)? }))
}

impl Resource for Present {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let from = match found(host, &self.target, self.bare)? {
            Found::Repository => return Ok(plan),
            Found::Nothing => None,
            Found::InTheWay(kind) if !self.force => return Err(in_the_way(&self.target, kind, "force")),
            Found::InTheWay(_) => Some("other files".to_owned()),
        };
        let to = Some(if self.bare { "a repository" } else { "a working copy" }.to_owned());
        plan.push(Change { what: "repository".to_owned(), from, to, diff: None });
        Ok(plan)
    }

    fn apply(&self, _: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        if matches!(found(host, &self.target, self.bare)?, Found::InTheWay(_)) {
            clear(host, &self.target)?;
        }
        let target = place(host, &self.target);
        let mut args = vec!["init", "-q"];
        if self.bare {
            args.push("--bare");
        }
        args.extend(self.options.iter().map(String::as_str));
        args.extend(["--", &target]);
        git(Command { user: self.user.clone(), ..Command::git(&args) }, host)?;
        Ok(Applied::default())
    }
}
