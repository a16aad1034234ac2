//! `quota`: whether quotas of a file system are on.

use crate::{
    Applied, Doc, Error, Examples, Function, Host, Module, Param, ParamsError, Probe, Resource,
    args::{Args, invalid},
    host::{Query, query::quota::Question},
    tool::{ask, refusal, run_argv},
};
use model::Plan;
use serde_json::{Map, Value};

pub(crate) const MODULE: Module = Module {
    name: "quota",
    doc: Doc::new("Quotas of file systems (the package `quota` has the programs)."),
    functions: &[Function {
        name: "mode",
        doc: Doc::new("Quotas of users or groups are on, or off, at a mount point."),
        params: PARAMS,
        examples: Examples::new(&["/home:\n  quota.mode:\n    - mode: 'on'\n    - quotatype: user\n"]),
        parse,
    }],
};

const PARAMS: &[Param] = &[
    Param::path("name", "", "The mount point."),
    Param::flag("mode", "", "`on` or `off`.").required(),
    Param::text("quotatype", "", "`user` or `group`.").required(),
];

#[derive(Debug)]
struct Mode {
    point: String,
    on: bool,
    sort: String,
}

fn parse(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("quota.mode", PARAMS, params)?;
    let sort = args.text("quotatype").unwrap_or_default();
    if !["user", "group"].contains(&sort.as_str()) {
        return Err(invalid("quotatype", "`quotatype` must be `user` or `group`"));
    }
    let point = args.path("name").unwrap_or_default().display().to_string();
    Ok(Box::new(Mode { point, on: args.bool("mode", true), sort }))
}

impl Resource for Mode {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let query = Query::Quota(Question::State(self.point.clone()));
        // Its exit code says whether some are on.
        let output = ask(host, &query)?;
        let line = output.stdout.lines().find(|it| it.starts_with(&format!("{} quota on ", self.sort)));
        let Some(line) = line.map(str::to_owned) else { return Err(refusal(&query, output)) };
        let word = |on: bool| if on { "on" } else { "off" }.to_owned();
        let is_on = line.split(" is ").last().is_some_and(|it| it.starts_with("on"));
        let mut plan = Plan::default();
        plan.differ(&format!("{} quota", self.sort), Some(&word(is_on)), &word(self.on));
        Ok(plan)
    }
    fn apply(&self, _: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let tool = if self.on { "quotaon" } else { "quotaoff" };
        let option = if self.sort == "user" { "-u" } else { "-g" };
        run_argv(host, &[tool, option, "--", &self.point])?;
        Ok(Applied::default())
    }
}
