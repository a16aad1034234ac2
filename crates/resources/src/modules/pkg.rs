//! `pkg`: packages of the system's package manager.

mod group;
mod held;
mod installed;
mod latest;
mod params;
mod removed;
mod upgraded;

use crate::{
    Doc, Error, Examples, Function, Host, Module, Param, ParamType, ParamsError, Probe,
    args::{Args, invalid, plain_word},
    host::{Action, Done},
    packages::{Lists, PackageAction},
};
use params::{HELD, INSTALLED, LATEST, REMOVED, UNHELD, UPTODATE};
use serde_json::{Map, Value};

pub(crate) const MODULE: Module = Module {
    name: "pkg",
    doc: Doc::new("Packages: apt, dnf, yum, zypper, pacman or apk, whichever is on the machine."),
    functions: &[
        Function {
            name: "installed",
            doc: Doc::new(
                "Packages are installed, in any version or in the given one. Before something is installed the lists of \
                  the repositories are fetched, once in a run. Configuration files that were altered by hand stay. A \
                  package that is held is altered only where apt does it or `update_holds` says so, and held again.",
            ),
            params: INSTALLED,
            examples: Examples::new(&[
                "nginx:\n  pkg.installed: []\n",
                "tools:\n  pkg.installed:\n    - pkgs:\n      - curl\n      - htop: 3.2.2-2\n      - git: '>=1:2.30'\n    - \
                 refresh: true\n",
                "agent:\n  pkg.installed:\n    - sources:\n      - agent: https://example.org/agent_1.2_amd64.deb\n",
            ]),
            parse: installed::parse,
        },
        Function {
            name: "downloaded",
            doc: Doc::new(
                "Packages lie in the package manager's cache, so that installing them later needs no network. What is \
                  installed already in the wanted version is not fetched.",
            ),
            params: LATEST,
            examples: Examples::new(&["linux-image-amd64:\n  pkg.downloaded: []\n"]),
            parse: latest::parse_downloaded,
        },
        Function {
            name: "latest",
            doc: Doc::new(
                "Packages are installed in the newest version that the repositories have. Their lists are fetched \
                  first, once in a run, also in a check.",
            ),
            params: LATEST,
            examples: Examples::new(&["tools:\n  pkg.latest:\n    - pkgs:\n      - curl\n      - git\n"]),
            parse: latest::parse,
        },
        Function {
            name: "removed",
            doc: Doc::new("Packages are not installed. Their configuration files stay."),
            params: REMOVED,
            examples: Examples::new(&["telnetd:\n  pkg.removed: []\n"]),
            parse: removed::parse_removed,
        },
        Function {
            name: "purged",
            doc: Doc::new(
                "Packages are not installed, and their configuration files are gone, also those of packages that were \
                  removed before.",
            ),
            params: REMOVED,
            examples: Examples::new(&[
                "exim:\n  pkg.purged:\n    - pkgs:\n      - exim4-base\n      - exim4-config\n",
            ]),
            parse: removed::parse_purged,
        },
        Function {
            name: "uptodate",
            doc: Doc::new(
                "Everything that is installed has the newest version that the repositories have, or with `pkgs` these \
                  have it. Held packages stay as they are.",
            ),
            params: UPTODATE,
            examples: Examples::new(&["everything:\n  pkg.uptodate:\n    - refresh: true\n"]),
            parse: upgraded::parse,
        },
        Function {
            name: "held",
            doc: Doc::new(
                "Packages are kept in the version that they have: upgrades leave them alone (`apt-mark hold`, dnf's \
                  versionlock, zypper's locks). pacman and apk have nothing of the kind that could be set for a package \
                  from outside its configuration, so that it is refused there.",
            ),
            params: HELD,
            examples: Examples::new(&["kernel:\n  pkg.held:\n    - pkgs:\n      - linux-image-amd64\n"]),
            parse: held::parse_held,
        },
        Function {
            name: "unheld",
            doc: Doc::new("Packages are upgraded again like all others."),
            params: UNHELD,
            examples: Examples::new(&["linux-image-amd64:\n  pkg.unheld: []\n"]),
            parse: held::parse_unheld,
        },
        Function {
            name: "group_installed",
            doc: Doc::new(
                "The packages of a group of dnf or yum are installed: the mandatory and the default ones, those in \
                  `include`, without those in `skip`.",
            ),
            params: group::PARAMS,
            examples: Examples::new(&[
                "Development Tools:\n  pkg.group_installed:\n    - skip:\n      - gdb\n",
            ]),
            parse: group::parse,
        },
    ],
};

/// A package and, if it matters, its version as people write it.
type Wish = (String, Option<String>);

/// `name`, or what `pkgs` lists.
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
    let mut wishes: Vec<Wish> = Vec::new();
    let add = |map: &Map<String, Value>, wishes: &mut Vec<Wish>| {
        for (name, version) in map {
            let version = match version {
                Value::Null => None,
                it => Some(text(it).ok_or_else(wrong)?).filter(|it| !it.is_empty()),
            };
            wishes.push((name.clone(), version));
        }
        Ok(())
    };
    match params.get("pkgs").filter(|it| !it.is_null()) {
        None => wishes.push((args.name(), None)),
        Some(Value::Array(items)) => {
            for item in items {
                match item {
                    Value::Object(map) => add(map, &mut wishes)?,
                    it => wishes.push((text(it).ok_or_else(wrong)?, None)),
                }
            }
        }
        Some(Value::Object(map)) => add(map, &mut wishes)?,
        Some(it) => wishes.push((text(it).ok_or_else(wrong)?, None)),
    }
    let param = if args.has("pkgs") { "pkgs" } else { "name" };
    wishes.iter().try_for_each(|(name, _)| check_name(param, name))?;
    Ok(wishes)
}

fn names(args: &Args<'_>, params: &Map<String, Value>) -> Result<Vec<String>, ParamsError> {
    Ok(wishes(args, params)?.into_iter().map(|(name, _)| name).collect())
}

/// What all package managers take for a name. A `-` at the end means something else to apt.
fn check_name(param: &str, name: &str) -> Result<(), ParamsError> {
    plain_word(param, name)?;
    let good = |it: char| it.is_ascii_alphanumeric() || "+-.:_@".contains(it);
    if name.chars().all(good) && !name.ends_with('-') {
        Ok(())
    } else {
        Err(invalid(
            param,
            format!("`{name}` is no package name: letters, digits, `+`, `-`, `.`, `_` and `:`"),
        ))
    }
}

/// How fresh the lists must be by the parameters `refresh` and `cache_valid_time`.
fn lists(args: &Args<'_>) -> Lists {
    match (args.has("refresh").then(|| args.bool("refresh", true)), args.duration_ms("cache_valid_time")) {
        (Some(false), _) => Lists::Known,
        (_, Some(ms)) if ms > 0 => Lists::Within(ms / 1000),
        (Some(true), _) => Lists::Fresh,
        _ => Lists::Recent,
    }
}

fn act(host: &mut dyn Host, action: PackageAction) -> Result<Done, Error> {
    let program = host.package_manager().map_err(Error::host("find", "package manager"))?.name();
    host.perform(&Action::Packages(action)).map_err(Error::host("run", program))
}

fn installed_now(
    host: &dyn Probe,
    names: &[String],
) -> Result<std::collections::BTreeMap<String, String>, Error> {
    host.packages(names).map_err(Error::host("look up packages", names.join(", ")))
}

fn held_now(host: &dyn Probe) -> Result<std::collections::BTreeSet<String>, Error> {
    host.held().map_err(Error::host("look up", "held packages"))
}

const fn text(name: &'static str, default: &'static str, doc: &'static str) -> Param {
    Param::of(name, ParamType::Text, default, doc)
}
const fn flag(name: &'static str, default: &'static str, doc: &'static str) -> Param {
    Param::of(name, ParamType::Bool, default, doc)
}
const fn any(name: &'static str, default: &'static str, doc: &'static str) -> Param {
    Param::of(name, ParamType::Any, default, doc)
}
