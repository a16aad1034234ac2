//! `pip`: Python packages.

mod installed;
mod removed;
mod version;

pub(super) use installed::Installed;

use super::group::account_name;
use crate::{
    Doc, Error, Host, Module, Param, ParamsError, Probe,
    args::{Args, invalid, plain_word},
    host::{
        FileKind, Links, Query,
        query::pip::{Pip, Question},
    },
    tool::{LONG_MS, answer, run},
};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use version::normal;

pub(crate) const MODULE: Module = Module {
    name: "pip",
    doc: Doc::new("Python packages, of the system or of a virtual environment."),
    functions: &[installed::FUNCTION, removed::REMOVED, removed::UPTODATE],
};

const BIN_ENV: Param = Param::text(
    "bin_env",
    "python3 -m pip",
    "A virtual environment's folder, or a pip program such as `/usr/bin/pip3`.",
);
const USER: Param = Param::text("user", "root", "Who runs pip.");
const CWD: Param = Param::path("cwd", "/", "Where it runs.");
const USE_VT: Param = Param::flag("use_vt", "false", "Accepted from Salt trees and without effect.");

/// Where packages go.
#[derive(Clone, Debug)]
struct Bin {
    env: Option<String>,
    user: Option<String>,
    cwd: Option<PathBuf>,
    variables: Vec<(String, String)>,
}

/// A package as `pip list` knows it.
#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    version: String,
    #[serde(default)]
    latest_version: String,
    #[serde(default)]
    editable_project_location: Option<String>,
}

impl Bin {
    fn parse(args: &Args<'_>) -> Result<Self, ParamsError> {
        let env = args.text("bin_env").filter(|it| !it.is_empty());
        if let Some(env) = &env {
            plain_word("bin_env", env)?;
            if env.split('/').any(|it| it == "..") {
                return Err(invalid("bin_env", format!("`{env}` is no folder and no program")));
            }
        }
        let user = args.text("user");
        user.iter().try_for_each(|it| account_name("user", it))?;
        Ok(Self { env, user, cwd: args.path("cwd"), variables: Vec::new() })
    }

    /// The program: a folder means the environment in it.
    fn pip(&self, host: &dyn Probe) -> Result<Pip, Error> {
        let python = |python: String| vec![python, "-m".to_owned(), "pip".to_owned()];
        let argv = match &self.env {
            None => python("python3".to_owned()),
            Some(env) if env.starts_with('/') => {
                let found = host.stat(Path::new(env), Links::Follow).map_err(Error::host("look at", env))?;
                if found.is_some_and(|it| it.kind == FileKind::Directory) {
                    python(format!("{}/bin/python", env.trim_end_matches('/')))
                } else {
                    vec![env.clone()]
                }
            }
            Some(env) => vec![env.clone()],
        };
        let (user, cwd, env) = (self.user.clone(), self.cwd.clone(), self.variables.clone());
        Ok(Pip { argv, user, cwd, env })
    }

    fn list(&self, host: &dyn Probe, outdated: bool) -> Result<Vec<Package>, Error> {
        let pip = self.pip(host)?;
        let question = if outdated { Question::Outdated(pip) } else { Question::Installed(pip) };
        let text = answer(host, &Query::Pip(question))?;
        let wrong = |error| Error::Refused(format!("`pip list` does not answer with JSON: {error}"));
        let mut packages: Vec<Package> = serde_json::from_str(text.trim()).map_err(wrong)?;
        for package in &mut packages {
            package.name = normal(&package.name);
        }
        Ok(packages)
    }

    fn run(&self, host: &mut dyn Host, args: &[&str]) -> Result<(), Error> {
        let pip = self.pip(host)?;
        let what = format!("pip {}", args.join(" "));
        run(host, pip.command(args, LONG_MS), &what).map(drop)
    }
}
