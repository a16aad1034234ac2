//! `virtualenv`: environments of Python with packages of their own.

use super::{group::account_name, pip::Installed};
use crate::{
    Applied, Doc, Error, Examples, Function, Host, Module, Param, ParamsError, Probe, Resource,
    args::{Args, plain_word},
    host::Command,
    text_file::exists,
    tool::{LONG_MS, run},
};
use model::Plan;
use serde_json::{Map, Value};
use std::path::PathBuf;

pub(crate) const MODULE: Module = Module {
    name: "virtualenv",
    doc: Doc::new("Environments of Python with packages of their own."),
    functions: &[Function {
        name: "managed",
        doc: Doc::new(
            "A folder is a virtual environment and has these packages. It is made with `python3 -m venv`, or with a program of \
              virtualenv.",
        ),
        params: PARAMS,
        examples: Examples::new(&[
            "/opt/tool/venv:\n  virtualenv.managed:\n    - pip_pkgs:\n      - httpie\n",
            "/opt/app/venv:\n  virtualenv.managed:\n    - python: /usr/bin/python3\n    - requirements: \
             /opt/app/requirements.txt\n    - user: app\n",
        ]),
        parse,
    }],
};

const PARAMS: &[Param] = &[
    Param::path("name", "", "The folder."),
    Param::text("venv_bin", "python3 -m venv", "A program of virtualenv, such as `virtualenv`."),
    Param::text("python", "python3", "The Python that it uses."),
    Param::text("requirements", "none", "A file on the minion that lists packages."),
    Param::list("pip_pkgs", "none", "Packages, instead of that."),
    Param::flag(
        "system_site_packages",
        "false",
        "The system's packages can be used in it; counts when it is made.",
    ),
    Param::flag("clear", "false", "Empties the folder when the environment is made."),
    Param::text("prompt", "the folder's name", "What shells show while it is used; counts when it is made."),
    Param::text("user", "root", "Who makes it and owns it."),
    Param::path("cwd", "/", "Where pip runs."),
    Param::flag("pip_upgrade", "false", "Takes the newest versions that fit."),
    Param::flag("pip_ignore_installed", "false", "Installs over what is there, each time."),
    Param::flag("no_deps", "false", "Without what the packages need."),
    Param::flag("pre_releases", "false", "Versions before a release count as well."),
    Param::text(
        "index_url",
        "pip's own",
        "The index. It may hold a password: pip reads it from its environment.",
    ),
    Param::text("extra_index_url", "none", "One more index."),
    Param::text("proxy", "none", "A proxy: `user:password@server:port`."),
    Param::list("no_binary", "none", "Packages that are built here, or `:all:`."),
    Param::map("env_vars", "none", "Variables of the environment of the programs."),
    Param::flag("distribute", "false", "Accepted from Salt trees and without effect."),
    Param::flag("use_wheel", "false", "Accepted from Salt trees and without effect: pip prefers wheels."),
    Param::flag("no_use_wheel", "false", "Accepted from Salt trees and without effect."),
    Param::flag("use_vt", "false", "Accepted from Salt trees and without effect."),
];

#[derive(Debug)]
struct Managed {
    path: PathBuf,
    argv: Vec<String>,
    user: Option<String>,
    env: Vec<(String, String)>,
    packages: Installed,
}

fn parse(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("virtualenv.managed", PARAMS, params)?;
    let path = args.path("name").unwrap_or_default();
    let python = args.text("python");
    python.iter().try_for_each(|it| plain_word("python", it))?;
    let tool = args.text("venv_bin").filter(|it| !matches!(it.as_str(), "" | "venv" | "pyvenv"));
    let mut words = match &tool {
        Some(tool) => {
            plain_word("venv_bin", tool)?;
            vec![tool.clone()]
        }
        None => {
            vec![python.clone().unwrap_or_else(|| "python3".to_owned()), "-m".to_owned(), "venv".to_owned()]
        }
    };
    for (param, option) in [("system_site_packages", "--system-site-packages"), ("clear", "--clear")] {
        if args.bool(param, false) {
            words.push(option.to_owned());
        }
    }
    words.extend(args.text("prompt").map(|it| format!("--prompt={it}")));
    if let (Some(_), Some(python)) = (&tool, &python) {
        words.push(format!("--python={python}"));
    }
    let user = args.text("user");
    user.iter().try_for_each(|it| account_name("user", it))?;
    let packages = Installed::within(&args, &path, args.list("pip_pkgs").unwrap_or_default())?;
    Ok(Box::new(Managed { path, argv: words, user, env: args.map("env_vars").unwrap_or_default(), packages }))
}

impl Managed {
    fn is_made(&self, host: &dyn Probe) -> Result<bool, Error> {
        exists(host, self.path.join("bin/python"))
    }
}

impl Resource for Managed {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        if !self.is_made(host)? {
            plan.differ("environment", None, &self.path.display().to_string());
        } else if !self.packages.is_empty() {
            plan = self.packages.check(host)?;
        }
        Ok(plan)
    }
    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        if !plan.touches("environment") {
            return self.packages.apply(plan, host);
        }
        let path = self.path.display().to_string();
        let path = if host.is_sandbox() { path.trim_start_matches('/').to_owned() } else { path };
        let mut argv = self.argv.clone();
        argv.push(path);
        let what = argv.join(" ");
        let (user, env) = (self.user.clone(), self.env.clone());
        run(host, Command { argv, user, env, timeout_ms: LONG_MS, ..Command::default() }, &what)?;
        if self.packages.is_empty() {
            return Ok(Applied::default());
        }
        let left = self.packages.check(host)?;
        if left.is_empty() { Ok(Applied::default()) } else { self.packages.apply(&left, host) }
    }
    fn converges(&self) -> bool {
        self.packages.converges()
    }
}
