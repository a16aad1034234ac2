//! `pkg`: packages of the system's package manager.

use crate::{
    Applied, Error, Function, Host, Module, Param, ParamType, ParamsError, Probe, Resource,
    args::{Args, invalid, plain_word},
    host::Action,
};
use model::{Change, Plan};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

pub(crate) const MODULE: Module = Module {
    name: "pkg",
    doc: "Packages (apt).",
    functions: &[
        Function {
            name: "installed",
            doc: "Packages are installed, in any version or in the given one. The lists of the repositories are \
                  fetched first if `refresh` is set, and once more if a package cannot be found. Configuration files \
                  that were altered by hand stay.",
            params: INSTALLED,
            examples: &[
                "nginx:\n  pkg.installed: []\n",
                "tools:\n  pkg.installed:\n    - pkgs:\n      - curl\n      - htop: 3.2.2-2\n    - refresh: true\n",
            ],
            parse: parse_installed,
        },
        Function {
            name: "removed",
            doc: "Packages are not installed. Their configuration files stay.",
            params: REMOVED,
            examples: &["telnetd:\n  pkg.removed: []\n"],
            parse: parse_removed,
        },
    ],
};

const INSTALLED: &[Param] = &[
    Param {
        name: "name",
        kind: ParamType::Text,
        required: false,
        default: "",
        doc: "The package, if `pkgs` is not given.",
    },
    Param {
        name: "pkgs",
        kind: ParamType::Any,
        required: false,
        default: "",
        doc: "Several packages, each a name or a mapping of name to version.",
    },
    Param {
        name: "version",
        kind: ParamType::Text,
        required: false,
        default: "any",
        doc: "The version of `name`, or a pattern that ends with `*`.",
    },
    Param {
        name: "refresh",
        kind: ParamType::Bool,
        required: false,
        default: "false",
        doc: "Fetches the lists of the repositories before something is installed.",
    },
];

const REMOVED: &[Param] = &[
    Param {
        name: "name",
        kind: ParamType::Text,
        required: false,
        default: "",
        doc: "The package, if `pkgs` is not given.",
    },
    Param { name: "pkgs", kind: ParamType::Any, required: false, default: "", doc: "Several packages." },
];

type Wish = (String, Option<String>);

#[derive(Debug)]
struct Installed {
    wishes: Vec<Wish>,
    refresh: bool,
}

#[derive(Debug)]
struct Removed {
    names: Vec<String>,
}

fn parse_installed(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("pkg.installed", INSTALLED, params)?;
    let mut wishes = wishes(&args, params)?;
    if let Some(version) = args.text("version") {
        if args.has("pkgs") {
            return Err(invalid("version", "with `pkgs`, write the version behind each name"));
        }
        wishes[0].1 = Some(version);
    }
    for version in wishes.iter().filter_map(|it| it.1.as_ref()) {
        check_version(version)?;
    }
    Ok(Box::new(Installed { wishes, refresh: args.bool("refresh", false) }))
}

fn parse_removed(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("pkg.removed", REMOVED, params)?;
    let names = wishes(&args, params)?.into_iter().map(|(name, _)| name).collect();
    Ok(Box::new(Removed { names }))
}

fn wishes(args: &Args<'_>, params: &Map<String, Value>) -> Result<Vec<Wish>, ParamsError> {
    let wrong = || ParamsError::WrongType {
        param: "pkgs".to_owned(),
        wanted: "a list of names, or of mappings of name to version".to_owned(),
    };
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let mut wishes = Vec::new();
    match params.get("pkgs").filter(|it| !it.is_null()) {
        None => wishes.push((args.name(), None)),
        Some(Value::Array(items)) => {
            for item in items {
                match item {
                    Value::Object(map) => {
                        for (name, version) in map {
                            let version = match version {
                                Value::Null => None,
                                it => Some(text(it).ok_or_else(wrong)?),
                            };
                            wishes.push((name.clone(), version));
                        }
                    }
                    it => wishes.push((text(it).ok_or_else(wrong)?, None)),
                }
            }
        }
        Some(it) => wishes.push((text(it).ok_or_else(wrong)?, None)),
    }
    let param = if args.has("pkgs") { "pkgs" } else { "name" };
    wishes.iter().try_for_each(|(name, _)| check_name(param, name))?;
    Ok(wishes)
}

/// Debian's rule for names, with an architecture if need be. A `+` or `-` at the end means something else to apt.
fn check_name(param: &str, name: &str) -> Result<(), ParamsError> {
    plain_word(param, name)?;
    let good = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || "+-.:".contains(it);
    if name.chars().all(good) && !name.ends_with('-') {
        Ok(())
    } else {
        Err(invalid(param, format!("`{name}` is no package name: a-z, 0-9, `+`, `-` and `.`")))
    }
}

fn check_version(version: &str) -> Result<(), ParamsError> {
    plain_word("version", version)?;
    if version.contains(['<', '>', '=', ',']) || version == "latest" {
        let text =
            format!("`{version}` is no version; comparisons and `latest` are not supported, `1.2*` is");
        return Err(invalid("version", text));
    }
    Ok(())
}

impl Installed {
    /// What is missing or has another version.
    fn missing(&self, host: &dyn Probe) -> Result<(Vec<Wish>, BTreeMap<String, String>), Error> {
        let names: Vec<String> = self.wishes.iter().map(|(name, _)| name.clone()).collect();
        let installed = host.packages(&names).map_err(Error::host("look up packages", names.join(", ")))?;
        let satisfied = |(name, version): &Wish| match (installed.get(name), version) {
            (Some(_), None) => true,
            (Some(now), Some(version)) => matches(now, version),
            (None, _) => false,
        };
        Ok((self.wishes.iter().filter(|it| !satisfied(it)).cloned().collect(), installed))
    }
}

fn matches(now: &str, wanted: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(start) => now.starts_with(start),
        // The epoch may be left out.
        None => now == wanted || now.split_once(':').is_some_and(|(_, rest)| rest == wanted),
    }
}

impl Resource for Installed {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let (missing, installed) = self.missing(host)?;
        let change = |(name, version): Wish| Change {
            from: installed.get(&name).cloned(),
            what: name,
            to: Some(version.unwrap_or_else(|| "installed".to_owned())),
            diff: None,
        };
        Ok(Plan { changes: missing.into_iter().map(change).collect() })
    }

    fn apply(&self, _: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let (missing, _) = self.missing(host)?;
        if self.refresh {
            refresh(host)?;
        }
        let what = format!("install {}", words(&missing));
        let install = Action::InstallPackages(missing);
        let done = host.perform(&install).map_err(Error::host("run", "apt-get"))?;
        // A machine that never fetched its lists, or whose lists are old.
        let unknown = ["Unable to locate package", "has no installation candidate", "404", "was not found"];
        if self.refresh || !unknown.iter().any(|it| done.output.stderr.contains(it)) {
            return done.success(&what).map(Applied::with);
        }
        refresh(host)?;
        let done = host.perform(&install).map_err(Error::host("run", "apt-get"))?;
        done.success(&what).map(Applied::with)
    }
}

fn refresh(host: &mut dyn Host) -> Result<(), Error> {
    let done = host.perform(&Action::RefreshPackages).map_err(Error::host("run", "apt-get"))?;
    done.success("fetch package lists").map(drop)
}

fn words(wishes: &[Wish]) -> String {
    wishes.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(" ")
}

impl Removed {
    fn present(&self, host: &dyn Probe) -> Result<BTreeMap<String, String>, Error> {
        let installed =
            host.packages(&self.names).map_err(Error::host("look up packages", self.names.join(", ")))?;
        // An empty version is something that another package provides.
        Ok(installed.into_iter().filter(|(_, version)| !version.is_empty()).collect())
    }
}

impl Resource for Removed {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let change = |(what, version)| Change { what, from: Some(version), to: None, diff: None };
        Ok(Plan { changes: self.present(host)?.into_iter().map(change).collect() })
    }
    fn apply(&self, _: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let names: Vec<String> = self.present(host)?.into_keys().collect();
        let what = format!("remove {}", names.join(" "));
        let done = host.perform(&Action::RemovePackages(names)).map_err(Error::host("run", "apt-get"))?;
        done.success(&what).map(Applied::with)
    }
}
