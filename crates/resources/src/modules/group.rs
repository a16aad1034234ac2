//! `group`: groups of users.

use crate::{
    Applied, Error, Function, Host, Module, Param, ParamType, ParamsError, Probe, Resource,
    args::{Args, plain_word},
    host::{Action, GroupChange},
};
use model::Plan;
use serde_json::{Map, Value};

pub(crate) const MODULE: Module = Module {
    name: "group",
    doc: "Groups of users.",
    functions: &[Function {
        name: "present",
        doc: "A group exists, with this number and these members.",
        params: PARAMS,
        examples: &["media:\n  group.present:\n    - gid: 1500\n    - members:\n      - root\n"],
        parse,
    }],
};

const PARAMS: &[Param] = &[
    Param { name: "name", kind: ParamType::Text, required: false, default: "", doc: "The group." },
    Param {
        name: "gid",
        kind: ParamType::Integer,
        required: false,
        default: "the next free one",
        doc: "Its number.",
    },
    Param {
        name: "system",
        kind: ParamType::Bool,
        required: false,
        default: "false",
        doc: "A new one gets a number of the system's range.",
    },
    Param {
        name: "members",
        kind: ParamType::TextList,
        required: false,
        default: "as they are",
        doc: "All users that have it as a supplementary group.",
    },
];

#[derive(Debug)]
struct Present {
    name: String,
    gid: Option<u32>,
    system: bool,
    members: Option<Vec<String>>,
}

fn parse(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("group.present", PARAMS, params)?;
    let name = args.name();
    account_name("name", &name)?;
    let mut members = args.list("members");
    for member in members.iter().flatten() {
        account_name("members", member)?;
    }
    if let Some(members) = &mut members {
        members.sort();
        members.dedup();
    }
    Ok(Box::new(Present { name, gid: args.id("gid")?, system: args.bool("system", false), members }))
}

/// One word without what the account files use as separators.
pub(super) fn account_name(param: &str, name: &str) -> Result<(), ParamsError> {
    plain_word(param, name)?;
    if name.contains([':', ',', '/']) {
        return Err(crate::args::invalid(param, format!("`{name}` is no name for a user or group")));
    }
    Ok(())
}

impl Resource for Present {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let now = host.group(&self.name).map_err(Error::host("look up group", &self.name))?;
        let mut plan = Plan::default();
        if now.is_none() {
            plan.differ("group", None, &self.name);
        }
        if let Some(gid) = self.gid {
            plan.differ("gid", now.as_ref().map(|it| it.gid).as_ref(), &gid);
        }
        if let Some(members) = &self.members {
            let from = now.as_ref().map(|it| it.members.join(","));
            let to = members.join(",");
            if from.as_deref().unwrap_or_default() != to {
                plan.differ("members", from.as_ref(), &to);
            }
        }
        Ok(plan)
    }

    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let change = GroupChange {
            create: plan.touches("group"),
            gid: self.gid.filter(|_| plan.touches("gid")),
            system: self.system,
            members: self.members.clone().filter(|_| plan.touches("members")),
        };
        let done = host
            .perform(&Action::Group(self.name.clone(), change))
            .map_err(Error::host("alter group", &self.name))?;
        done.success(&format!("alter group {}", self.name)).map(|_| Applied::default())
    }
}
