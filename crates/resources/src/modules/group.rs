//! `group`: groups of users.

use crate::{
    Applied, Doc, Error, Examples, Function, Host, Module, Param, ParamType, ParamsError, Probe, Resource,
    args::{Args, invalid, plain_word},
    host::{Action, Group, GroupChange},
};
use model::{Change, Plan};
use serde_json::{Map, Value};

pub(crate) const MODULE: Module = Module {
    name: "group",
    doc: Doc::new("Groups of users."),
    functions: &[
        Function {
            name: "present",
            doc: Doc::new("A group exists, with this number and these members."),
            params: PARAMS,
            examples: Examples::new(&[
                "media:\n  group.present:\n    - gid: 1500\n    - members:\n      - root\n",
                "sudo:\n  group.present:\n    - addusers:\n      - ada\n    - delusers:\n      - pi\n",
            ]),
            parse,
        },
        Function {
            name: "absent",
            doc: Doc::new("A group does not exist. One that is some account's primary group is not removed."),
            params: ABSENT,
            examples: Examples::new(&["games:\n  group.absent: []\n"]),
            parse: parse_absent,
        },
    ],
};

const ABSENT: &[Param] = &[Param::name("The group.")];
const PARAMS: &[Param] = &[
    Param::name("The group."),
    Param::of("gid", ParamType::Integer, "the next free one", "Its number. Files keep theirs."),
    Param::of("system", ParamType::Bool, "false", "A new one gets a number of the system's range."),
    Param::of("non_unique", ParamType::Bool, "false", "Another group may have its number."),
    Param::of(
        "members",
        ParamType::TextList,
        "as they are",
        "All users that have it as a supplementary group.",
    ),
    Param::of(
        "addusers",
        ParamType::TextList,
        "none",
        "Users that have it besides those who have it already.",
    ),
    Param::of("delusers", ParamType::TextList, "none", "Users that do not have it."),
];

#[derive(Debug)]
struct Present {
    name: String,
    gid: Option<u32>,
    system: bool,
    shared_id: bool,
    members: Option<Vec<String>>,
    add: Vec<String>,
    take: Vec<String>,
}

#[derive(Debug)]
struct Absent {
    name: String,
}

fn parse(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("group.present", PARAMS, params)?;
    let name = args.name();
    account_name("name", &name)?;
    let list = |param: &str| {
        let mut list = args.list(param);
        list.iter().flatten().try_for_each(|it| account_name(param, it))?;
        if let Some(list) = &mut list {
            list.sort();
            list.dedup();
        }
        Ok(list)
    };
    let members = list("members")?;
    let (add, take) = (list("addusers")?.unwrap_or_default(), list("delusers")?.unwrap_or_default());
    if members.is_some() && !(add.is_empty() && take.is_empty()) {
        return Err(invalid(
            "members",
            "`members` is all of them; it does not go with `addusers` and `delusers`",
        ));
    }
    if let Some(both) = add.iter().find(|it| take.contains(it)) {
        return Err(invalid("delusers", format!("`{both}` is in `addusers` and in `delusers`")));
    }
    Ok(Box::new(Present {
        name,
        gid: args.id("gid")?,
        system: args.bool("system", false),
        shared_id: args.bool("non_unique", false),
        members,
        add,
        take,
    }))
}

fn parse_absent(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("group.absent", ABSENT, params)?;
    let name = args.name();
    account_name("name", &name)?;
    Ok(Box::new(Absent { name }))
}

/// One word without what the account files use as separators.
pub(super) fn account_name(param: &str, name: &str) -> Result<(), ParamsError> {
    plain_word(param, name)?;
    if name.contains([':', ',', '/']) {
        return Err(invalid(param, format!("`{name}` is no name for a user or group")));
    }
    Ok(())
}

impl Present {
    /// All members that it should have; none if that does not matter.
    fn wanted(&self, now: Option<&Group>) -> Option<Vec<String>> {
        if self.members.is_some() || (self.add.is_empty() && self.take.is_empty()) {
            return self.members.clone();
        }
        let mut wanted = now.map(|it| it.members.clone()).unwrap_or_default();
        wanted.extend(self.add.iter().cloned());
        wanted.retain(|it| !self.take.contains(it));
        wanted.sort();
        wanted.dedup();
        Some(wanted)
    }
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
        if let Some(members) = self.wanted(now.as_ref()) {
            let from = now.as_ref().map(|it| it.members.join(","));
            let to = members.join(",");
            if from.as_deref().unwrap_or_default() != to {
                plan.differ("members", from.as_ref(), &to);
            }
        }
        Ok(plan)
    }

    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let now = host.group(&self.name).map_err(Error::host("look up group", &self.name))?;
        let change = GroupChange {
            create: plan.touches("group"),
            gid: self.gid.filter(|_| plan.touches("gid")),
            system: self.system,
            shared_id: self.shared_id,
            members: self.wanted(now.as_ref()).filter(|_| plan.touches("members")),
        };
        let done = host
            .perform(&Action::Group(self.name.clone(), change))
            .map_err(Error::host("alter group", &self.name))?;
        done.success(&format!("alter group {}", self.name)).map(|_| Applied::default())
    }
}

impl Resource for Absent {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        if host.group(&self.name).map_err(Error::host("look up group", &self.name))?.is_some() {
            let from = Some(self.name.clone());
            plan.push(Change { what: "group".to_owned(), from, to: None, diff: None });
        }
        Ok(plan)
    }
    fn apply(&self, _: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let done = host
            .perform(&Action::RemoveGroup(self.name.clone()))
            .map_err(Error::host("remove group", &self.name))?;
        done.success(&format!("remove group {}", self.name)).map(|_| Applied::default())
    }
}
