//! `pip.removed`, `pip.uptodate`.

use super::{BIN_ENV, Bin, CWD, USE_VT, USER, version::normal};
use crate::{
    Applied, Doc, Error, Examples, Function, Host, Param, ParamsError, Probe, Resource,
    args::{Args, plain_word},
};
use model::{Change, Plan};
use serde_json::{Map, Value};

pub(super) const REMOVED: Function = Function {
    name: "removed",
    doc: Doc::new("A Python package is not installed."),
    params: REMOVED_PARAMS,
    examples: Examples::new(&["ansible:\n  pip.removed:\n    - bin_env: /opt/tool/venv\n"]),
    parse: parse_removed,
};

pub(super) const UPTODATE: Function = Function {
    name: "uptodate",
    doc: Doc::new("For no installed Python package there is a newer version."),
    params: UPTODATE_PARAMS,
    examples: Examples::new(&["all packages:\n  pip.uptodate:\n    - bin_env: /opt/tool/venv\n"]),
    parse: parse_uptodate,
};

const REMOVED_PARAMS: &[Param] = &[Param::text("name", "", "The package."), BIN_ENV, USER, CWD, USE_VT];
const UPTODATE_PARAMS: &[Param] = &[Param::text("name", "", "Anything."), BIN_ENV, USER, CWD, USE_VT];

#[derive(Debug)]
struct Removed {
    bin: Bin,
    name: String,
}

#[derive(Debug)]
struct UpToDate {
    bin: Bin,
}

fn parse_removed(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("pip.removed", REMOVED_PARAMS, params)?;
    let name = args.name();
    plain_word("name", &name)?;
    Ok(Box::new(Removed { bin: Bin::parse(&args)?, name: normal(&name) }))
}

fn parse_uptodate(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("pip.uptodate", UPTODATE_PARAMS, params)?;
    Ok(Box::new(UpToDate { bin: Bin::parse(&args)? }))
}

impl Resource for Removed {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let now = self.bin.list(host, false)?;
        if let Some(found) = now.into_iter().find(|it| it.name == self.name) {
            plan.push(Change { what: self.name.clone(), from: Some(found.version), to: None, diff: None });
        }
        Ok(plan)
    }
    fn apply(&self, _: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        self.bin.run(host, &["uninstall", "-y", &self.name])?;
        Ok(Applied::default())
    }
}

impl Resource for UpToDate {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        for package in self.bin.list(host, true)? {
            plan.differ(&package.name, Some(&package.version), &package.latest_version);
        }
        Ok(plan)
    }
    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let mut args = vec!["install", "--upgrade"];
        args.extend(plan.changes.iter().map(|it| it.what.as_str()));
        self.bin.run(host, &args)?;
        Ok(Applied::default())
    }
    fn converges(&self) -> bool {
        // What one package needs may hold another one back.
        false
    }
}
