//! `pkg.group_installed`.

use super::{act, check_name, installed_now};
use crate::{
    Applied, Error, Host, Param, ParamType, ParamsError, Probe, Resource,
    args::{Args, invalid},
    host::{Query, query::package::Question},
    packages::{Install, Manager, PackageAction},
};
use model::{Change, Plan};
use serde_json::{Map, Value};

pub(super) const PARAMS: &[Param] = &[
    Param::of("name", ParamType::Text, "", "The group, as dnf calls it."),
    Param::of(
        "skip",
        ParamType::TextList,
        "none",
        "Default packages of it that are not wanted. A mandatory one cannot be left out.",
    ),
    Param::of("include", ParamType::TextList, "none", "Optional packages of it that are wanted."),
];

#[derive(Debug)]
struct Group {
    name: String,
    skip: Vec<String>,
    include: Vec<String>,
}

pub(super) fn parse(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("pkg.group_installed", PARAMS, params)?;
    let name = args.name();
    if name.is_empty() || name.starts_with('-') || name.chars().any(char::is_control) {
        return Err(invalid("name", format!("`{name}` is no name of a group")));
    }
    let list = |param: &str| {
        let list = args.list(param).unwrap_or_default();
        list.iter().try_for_each(|it| check_name(param, it)).map(|()| list)
    };
    Ok(Box::new(Group { name, skip: list("skip")?, include: list("include")? }))
}

impl Group {
    fn missing(&self, host: &dyn Probe) -> Result<Vec<String>, Error> {
        let manager = host.package_manager().map_err(Error::host("find", "package manager"))?;
        if !matches!(manager, Manager::Dnf | Manager::Yum) {
            let text = format!("only dnf and yum have groups, and here is {}", manager.name());
            return Err(Error::Refused(text));
        }
        let question = Question::Group { program: manager.name(), name: self.name.clone() };
        let said =
            host.query(&Query::Package(question)).map_err(Error::host("ask about group", &self.name))?;
        let packages = packages(&said.stdout);
        if packages.is_empty() {
            return Err(Error::Refused(format!("there is no group `{}`: {}", self.name, said.stderr.trim())));
        }
        let wanted = packages.iter().filter(|(kind, it)| {
            *kind == "Mandatory"
                || (*kind == "Default" && !self.skip.contains(it))
                || self.include.contains(it)
        });
        let mut wanted: Vec<String> = wanted.map(|(_, it)| it.clone()).collect();
        wanted.extend(self.include.iter().cloned());
        wanted.sort();
        wanted.dedup();
        let now = installed_now(host, &wanted)?;
        wanted.retain(|it| !now.contains_key(it));
        Ok(wanted)
    }
}

/// Lines below `Mandatory Packages:` and the like; dnf 5 writes `Mandatory packages   : name` and then `: name`.
fn packages(text: &str) -> Vec<(&'static str, String)> {
    let mut kind = "";
    let mut found = Vec::new();
    for line in text.lines() {
        let (head, rest) = line.split_once(':').unwrap_or(("", line));
        if !head.trim().is_empty() {
            kind = ["Mandatory", "Default", "Optional", "Conditional"]
                .into_iter()
                .find(|it| {
                    head.trim().to_ascii_lowercase() == format!("{} packages", it.to_ascii_lowercase())
                })
                .unwrap_or_default();
        }
        let name = rest.trim().trim_start_matches(['+', '-', '=']);
        if !kind.is_empty() && !name.is_empty() {
            found.push((kind, name.to_owned()));
        }
    }
    found
}

impl Resource for Group {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let change = |what| Change { what, from: None, to: Some("installed".to_owned()), diff: None };
        Ok(Plan { changes: self.missing(host)?.into_iter().map(change).collect() })
    }
    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let wishes = plan.changes.iter().map(|it| (it.what.clone(), None)).collect();
        let done = act(host, PackageAction::Install(Install { wishes, ..Install::default() }))?;
        done.success(&format!("install group {}", self.name)).map(Applied::with)
    }
}
