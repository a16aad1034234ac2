//! `pip.installed`.

use super::{BIN_ENV, Bin, CWD, Package, USE_VT, USER, version::Requirement};
use crate::{
    Applied, Doc, Error, Examples, Function, Host, Param, ParamsError, Probe, Resource,
    args::{Args, invalid, plain_path},
    text_file::read_text,
};
use model::{Change, Plan};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// Requirement files that name each other.
const FILES_MAX: usize = 16;

pub(super) const FUNCTION: Function = Function {
    name: "installed",
    doc: Doc::new(
        "Python packages are installed, in a version that is asked for. What does not say what it holds (an address without \
          `#egg=`), and what is forced, is installed each time.",
    ),
    params: PARAMS,
    examples: Examples::new(&[
        "requests:\n  pip.installed:\n    - name: requests >= 2.31\n    - bin_env: /opt/tool/venv\n",
        "tools:\n  pip.installed:\n    - pkgs:\n      - docker\n      - jinja2==3.1.4\n    - extra_args:\n      - \
         --break-system-packages\n",
        "app:\n  pip.installed:\n    - requirements: /opt/app/requirements.txt\n    - bin_env: /opt/app/venv\n    - user: app\n",
    ]),
    parse,
};

const PARAMS: &[Param] = &[
    Param::text(
        "name",
        "",
        "The package, with a version if it matters: `x==1.2`, `x>=1,<2`, `git+https://...#egg=x`.",
    ),
    Param::list("pkgs", "none", "Several, instead of the name."),
    Param::text("requirements", "none", "A file on the minion that lists them, instead of the name."),
    BIN_ENV,
    Param::text("pip_bin", "", "The same as `bin_env`."),
    USER,
    CWD,
    Param::flag("upgrade", "false", "Takes the newest version that fits."),
    Param::flag("force_reinstall", "false", "Installs again, each time."),
    Param::flag("ignore_installed", "false", "Installs over what is there, each time."),
    Param::list("editable", "none", "Folders or addresses that are installed as they lie there."),
    Param::text(
        "index_url",
        "pip's own",
        "The index. It may hold a password: pip reads it from its environment.",
    ),
    Param::text("extra_index_url", "none", "One more index."),
    Param::text("find_links", "none", "A page or a folder with packages."),
    Param::flag("no_index", "false", "Asks no index."),
    Param::flag("no_deps", "false", "Without what they need."),
    Param::flag("pre_releases", "false", "Versions before a release count as well."),
    Param::text("proxy", "none", "A proxy: `user:password@server:port`."),
    Param::number("timeout", "pip's own", "Seconds that pip waits for a server."),
    Param::text("trusted_host", "none", "A server whose certificate is not checked."),
    Param::path("cert", "the system's", "Certificates that servers are checked against."),
    Param::flag("no_cache_dir", "false", "Without pip's cache."),
    Param::path("cache_dir", "pip's own", "Where pip's cache is."),
    Param::list("no_binary", "none", "Packages that are built here, or `:all:`."),
    Param::text("exists_action", "none", "What pip does where something exists: `s`, `i`, `w`, `b` or `a`."),
    Param::path("log", "none", "A file for pip's log."),
    Param::map("env_vars", "none", "Variables of its environment."),
    Param::list("extra_args", "none", "More options, as pip takes them."),
    Param::flag("use_wheel", "false", "Accepted from Salt trees and without effect: pip prefers wheels."),
    Param::flag("no_use_wheel", "false", "Accepted from Salt trees and without effect."),
    USE_VT,
];

/// What is to be installed, and how.
#[derive(Debug)]
pub(in crate::modules) struct Installed {
    bin: Bin,
    wanted: Vec<Requirement>,
    requirements: Option<PathBuf>,
    editable: Vec<String>,
    options: Vec<String>,
    upgrade: bool,
    always: bool,
}

fn parse(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("pip.installed", PARAMS, params)?;
    let mut bin = Bin::parse(&args)?;
    bin.env = bin.env.or_else(|| args.text("pip_bin"));
    bin.variables = variables(&args)?;
    let requirements = requirements(&args, "requirements")?;
    let editable = args.list("editable").unwrap_or_default();
    let named = match args.list("pkgs") {
        Some(names) => names,
        None if requirements.is_some() || !editable.is_empty() => Vec::new(),
        None => vec![args.name()],
    };
    Ok(Box::new(Installed {
        bin,
        wanted: words("pkgs", named)?.iter().map(|it| Requirement::parse(it)).collect(),
        requirements,
        editable: words("editable", editable)?,
        options: options(&args)?,
        upgrade: args.bool("upgrade", false),
        always: args.bool("force_reinstall", false) || args.bool("ignore_installed", false),
    }))
}

/// Each is one argument: one line, not an option.
fn words(param: &str, words: Vec<String>) -> Result<Vec<String>, ParamsError> {
    match words.iter().find(|it| it.is_empty() || it.starts_with('-') || it.chars().any(char::is_control)) {
        Some(bad) => Err(invalid(param, format!("`{bad}` is no package"))),
        None => Ok(words),
    }
}

fn requirements(args: &Args<'_>, param: &str) -> Result<Option<PathBuf>, ParamsError> {
    let Some(text) = args.text(param).filter(|it| !it.is_empty()) else { return Ok(None) };
    if !text.starts_with('/') || text.split('/').any(|it| it == "..") || text.contains('\0') {
        let text = format!("`{text}` is no path on the minion; put the file there with `file.managed`");
        return Err(invalid(param, text));
    }
    Ok(Some(plain_path(&text)))
}

/// What may hold a password goes by the environment.
fn variables(args: &Args<'_>) -> Result<Vec<(String, String)>, ParamsError> {
    let mut variables = args.map("env_vars").unwrap_or_default();
    for (param, name) in [
        ("index_url", "PIP_INDEX_URL"),
        ("extra_index_url", "PIP_EXTRA_INDEX_URL"),
        ("find_links", "PIP_FIND_LINKS"),
        ("proxy", "PIP_PROXY"),
        ("trusted_host", "PIP_TRUSTED_HOST"),
    ] {
        variables.extend(args.text(param).map(|it| (name.to_owned(), it)));
    }
    if args.bool("no_index", false) {
        variables.push(("PIP_NO_INDEX".to_owned(), "1".to_owned()));
    }
    match variables.iter().find(|it| it.0.is_empty() || it.0.contains(['=', '\0']) || it.1.contains('\0')) {
        Some((bad, _)) => Err(invalid("env_vars", format!("`{bad}` cannot be the name of a variable"))),
        None => Ok(variables),
    }
}

fn options(args: &Args<'_>) -> Result<Vec<String>, ParamsError> {
    let mut options = Vec::new();
    for (param, option) in [
        ("upgrade", "--upgrade"),
        ("force_reinstall", "--force-reinstall"),
        ("ignore_installed", "--ignore-installed"),
        ("no_deps", "--no-deps"),
        ("pre_releases", "--pre"),
        ("no_cache_dir", "--no-cache-dir"),
    ] {
        if args.bool(param, false) {
            options.push(option.to_owned());
        }
    }
    for (param, option) in [
        ("timeout", "--timeout"),
        ("cert", "--cert"),
        ("cache_dir", "--cache-dir"),
        ("exists_action", "--exists-action"),
        ("log", "--log"),
    ] {
        options.extend(args.text(param).map(|it| format!("{option}={it}")));
    }
    let no_binary = args.list("no_binary").unwrap_or_default();
    if !no_binary.is_empty() {
        options.push(format!("--no-binary={}", no_binary.join(",")));
    }
    let more = args.list("extra_args").unwrap_or_default();
    if let Some(bad) = more.iter().find(|it| it.is_empty() || it.chars().any(char::is_control)) {
        return Err(invalid("extra_args", format!("`{bad}` is no option")));
    }
    options.extend(more);
    Ok(options)
}

/// The requirements of a file, and of files that it names. What cannot be judged has no name.
fn listed(host: &dyn Probe, file: &Path, left: &mut usize) -> Result<Vec<Requirement>, Error> {
    *left = left.checked_sub(1).ok_or_else(|| {
        Error::Refused(format!("`{}`: more than {FILES_MAX} files of requirements", file.display()))
    })?;
    let text = read_text(host, file)?;
    let text = text.ok_or_else(|| Error::Refused(format!("there is no file `{}`", file.display())))?;
    let mut found = Vec::new();
    for line in text.replace("\\\n", " ").lines() {
        let line = line.trim();
        let line = line.split(" #").next().unwrap_or(line).split(" --").next().unwrap_or(line).trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let value = |options: &[&str]| {
            options
                .iter()
                .find_map(|it| line.strip_prefix(it))
                .map(|it| it.trim_start_matches(['=', ' ']).to_owned())
        };
        if let Some(other) = value(&["-r ", "--requirement"]) {
            let other = file.parent().unwrap_or(Path::new("/")).join(other);
            found.extend(listed(host, &other, left)?);
        } else if let Some(place) = value(&["-e ", "--editable"]) {
            found.push(Requirement::parse(&place));
        } else if !line.starts_with('-') {
            found.push(Requirement::parse(line));
        }
    }
    Ok(found)
}

impl Installed {
    /// For a virtual environment: its own packages.
    pub(in crate::modules) fn within(
        args: &Args<'_>,
        folder: &Path,
        pkgs: Vec<String>,
    ) -> Result<Self, ParamsError> {
        let mut bin = Bin::parse(args)?;
        bin.env = Some(folder.display().to_string());
        bin.variables = variables(args)?;
        Ok(Self {
            bin,
            wanted: words("pip_pkgs", pkgs)?.iter().map(|it| Requirement::parse(it)).collect(),
            requirements: requirements(args, "requirements")?,
            editable: Vec::new(),
            options: options(args)?,
            upgrade: args.bool("pip_upgrade", false),
            always: args.bool("pip_ignore_installed", false),
        })
    }

    pub(in crate::modules) fn is_empty(&self) -> bool {
        self.wanted.is_empty() && self.requirements.is_none() && self.editable.is_empty()
    }

    fn compare(&self, wanted: &Requirement, now: &[Package], newer: &[Package], plan: &mut Plan) {
        let change = |from: Option<&String>, to: &str| {
            let what = wanted.name.clone().unwrap_or_else(|| wanted.text.clone());
            Change { what, from: from.cloned(), to: Some(to.to_owned()), diff: None }
        };
        let Some(name) = &wanted.name else { return plan.push(change(None, "installed")) };
        let found = now.iter().find(|it| it.name == *name);
        match found {
            Some(it) if self.always => plan.push(change(Some(&it.version), "installed again")),
            Some(it) if !wanted.accepts(&it.version) => plan.push(change(Some(&it.version), &wanted.text)),
            Some(it) => {
                let newest =
                    newer.iter().find(|newer| newer.name == *name && wanted.accepts(&newer.latest_version));
                if let Some(newest) = newest {
                    plan.push(change(Some(&it.version), &newest.latest_version));
                }
            }
            None => plan.push(change(None, &wanted.text)),
        }
    }

    fn names(&self, host: &dyn Probe) -> Result<Vec<Requirement>, Error> {
        match &self.requirements {
            Some(file) => listed(host, file, &mut FILES_MAX.clone()),
            None => Ok(Vec::new()),
        }
    }
}

impl Resource for Installed {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let listed = self.names(host)?;
        let now = self.bin.list(host, false)?;
        let newer = if self.upgrade { self.bin.list(host, true)? } else { Vec::new() };
        for wanted in listed.iter().chain(&self.wanted) {
            self.compare(wanted, &now, &newer, &mut plan);
        }
        for place in &self.editable {
            let wanted = Requirement::parse(place);
            let is_there = now.iter().any(|it| {
                it.editable_project_location.as_ref().is_some_and(|it| it == place || wanted.name.is_some())
                    && wanted.name.as_ref().is_none_or(|name| *name == it.name)
            });
            if !is_there {
                plan.push(Change {
                    what: place.clone(),
                    from: None,
                    to: Some("editable".to_owned()),
                    diff: None,
                });
            }
        }
        Ok(plan)
    }

    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let mut args = vec!["install"];
        args.extend(self.options.iter().map(String::as_str));
        let file = self.requirements.as_ref().map(|it| it.display().to_string());
        if let Some(file) = &file {
            args.extend(["-r", file]);
        }
        for wanted in &self.wanted {
            if plan.touches(wanted.name.as_deref().unwrap_or(&wanted.text)) {
                args.push(&wanted.text);
            }
        }
        for place in self.editable.iter().filter(|it| plan.touches(it)) {
            args.extend(["-e", place]);
        }
        self.bin.run(host, &args)?;
        Ok(Applied::default())
    }

    fn converges(&self) -> bool {
        let nameless = |it: &Requirement| it.name.is_none();
        let addresses = self.editable.iter().any(|it| !it.starts_with('/') && !it.contains("#egg="));
        !self.always && !self.wanted.iter().any(nameless) && self.requirements.is_none() && !addresses
    }
}
