//! `file.absent`: nothing is at a path.

use super::owner::stat;
use crate::{
    Applied, Doc, Error, Examples, Function, Host, Param, ParamType, ParamsError, Probe, Resource,
    args::{Args, invalid},
    host::Links,
};
use model::{Change, Plan};
use serde_json::{Map, Value};
use std::path::PathBuf;

pub(super) const FUNCTION: Function = Function {
    name: "absent",
    doc: Doc::new(
        "Nothing is at this path: a file, a link or a folder with everything in it is removed. \
          A symbolic link is removed itself, not what it points at.",
    ),
    params: PARAMS,
    examples: Examples::new(&["/etc/nginx/sites-enabled/default:\n  file.absent: []\n"]),
    parse,
};

const PARAMS: &[Param] = &[Param::of("name", ParamType::Path, "", "The path.")];

#[derive(Debug)]
struct Absent {
    path: PathBuf,
}

fn parse(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("file.absent", PARAMS, params)?;
    let path = args.path("name").unwrap_or_default();
    if path.parent().is_none() {
        return Err(invalid("name", "`/` cannot be removed"));
    }
    Ok(Box::new(Absent { path }))
}

impl Resource for Absent {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        if let Some(found) = stat(host, &self.path, Links::Keep)? {
            let from = Some(found.kind.describe().to_owned());
            plan.push(Change { what: "file".to_owned(), from, to: None, diff: None });
        }
        Ok(plan)
    }
    fn apply(&self, _: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        host.remove(&self.path).map_err(Error::host("remove", self.path.display()))?;
        Ok(Applied::default())
    }
}
