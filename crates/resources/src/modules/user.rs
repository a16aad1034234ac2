//! `user`: accounts.

use super::group::account_name;
use crate::{
    Applied, Error, Function, Host, Module, Param, ParamType, ParamsError, Probe, Resource,
    args::{Args, invalid},
    host::{Action, User, UserChange},
};
use model::{Change, Plan, SECRET_MASK};
use serde_json::{Map, Value};

pub(crate) const MODULE: Module = Module {
    name: "user",
    doc: "Accounts.",
    functions: &[Function {
        name: "present",
        doc: "An account exists, with these properties. What is not given stays as it is. The password is a hash, as \
              `mkpasswd -m sha512crypt` prints it; it belongs into a secret pillar, and it is never shown.",
        params: PARAMS,
        examples: &[
            "ada:\n  user.present:\n    - fullname: Ada Lovelace\n    - shell: /bin/bash\n    - groups:\n      - sudo\n      \
             - adm\n    - optional_groups:\n      - docker\n",
        ],
        parse,
    }],
};

const PARAMS: &[Param] = &[
    Param { name: "name", kind: ParamType::Text, required: false, default: "", doc: "The account." },
    Param {
        name: "uid",
        kind: ParamType::Integer,
        required: false,
        default: "the next free one",
        doc: "Its number.",
    },
    Param {
        name: "gid",
        kind: ParamType::Text,
        required: false,
        default: "a group of its own name",
        doc: "Its primary group, by name or number.",
    },
    Param {
        name: "fullname",
        kind: ParamType::Text,
        required: false,
        default: "as it is",
        doc: "The person's name.",
    },
    Param {
        name: "home",
        kind: ParamType::Path,
        required: false,
        default: "/home/NAME",
        doc: "Its home folder.",
    },
    Param {
        name: "createhome",
        kind: ParamType::Bool,
        required: false,
        default: "true",
        doc: "A new one gets its home folder.",
    },
    Param {
        name: "shell",
        kind: ParamType::Path,
        required: false,
        default: "the system's",
        doc: "Its login shell.",
    },
    Param {
        name: "groups",
        kind: ParamType::TextList,
        required: false,
        default: "as they are",
        doc: "Supplementary groups, which must exist.",
    },
    Param {
        name: "optional_groups",
        kind: ParamType::TextList,
        required: false,
        default: "none",
        doc: "More of these, left out where they do not exist.",
    },
    Param {
        name: "remove_groups",
        kind: ParamType::Bool,
        required: false,
        default: "true",
        doc: "Takes it out of all groups that are not listed, if any are.",
    },
    Param {
        name: "system",
        kind: ParamType::Bool,
        required: false,
        default: "false",
        doc: "A new one gets a number of the system's range.",
    },
    Param {
        name: "password",
        kind: ParamType::Text,
        required: false,
        default: "as it is",
        doc: "The hash of its password.",
    },
    Param {
        name: "enforce_password",
        kind: ParamType::Bool,
        required: false,
        default: "true",
        doc: "Sets the hash also if there is another one already.",
    },
];

#[expect(clippy::struct_excessive_bools, reason = "these are the parameters that people write")]
#[derive(Debug)]
struct Present {
    name: String,
    uid: Option<u32>,
    gid: Option<String>,
    fullname: Option<String>,
    home: Option<String>,
    createhome: bool,
    shell: Option<String>,
    groups: Option<Vec<String>>,
    optional_groups: Vec<String>,
    remove_groups: bool,
    system: bool,
    password: Option<Hash>,
    enforce_password: bool,
}

/// Does not print itself.
#[derive(Clone, PartialEq)]
struct Hash(String);

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(SECRET_MASK)
    }
}

fn parse(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("user.present", PARAMS, params)?;
    let name = args.name();
    account_name("name", &name)?;
    let gid = args.text("gid");
    gid.iter().try_for_each(|it| account_name("gid", it))?;
    for list in ["groups", "optional_groups"] {
        args.list(list).iter().flatten().try_for_each(|it| account_name(list, it))?;
    }
    for field in ["fullname", "password", "home", "shell"] {
        if args.text(field).is_some_and(|it| it.contains([':', '\n', '\0'])) {
            return Err(invalid(field, format!("`{field}` must be one line without a colon")));
        }
    }
    if args.text("fullname").is_some_and(|it| it.contains(',') || it.starts_with('-')) {
        return Err(invalid("fullname", "`fullname` must not have a comma or begin with `-`"));
    }
    let path = |name: &str| args.path(name).map(|it| it.display().to_string());
    Ok(Box::new(Present {
        name,
        uid: args.id("uid")?,
        gid,
        fullname: args.text("fullname"),
        home: path("home"),
        createhome: args.bool("createhome", true),
        shell: path("shell"),
        groups: args.list("groups"),
        optional_groups: args.list("optional_groups").unwrap_or_default(),
        remove_groups: args.bool("remove_groups", true),
        system: args.bool("system", false),
        password: args.text("password").map(Hash),
        enforce_password: args.bool("enforce_password", true),
    }))
}

impl Present {
    /// All supplementary groups that it should have, sorted; `None` if that does not matter.
    fn wanted_groups(&self, host: &dyn Probe, now: Option<&User>) -> Result<Option<Vec<String>>, Error> {
        if self.groups.is_none() && self.optional_groups.is_empty() {
            return Ok(None);
        }
        let mut wanted = self.groups.clone().unwrap_or_default();
        for name in &self.optional_groups {
            if host.group(name).map_err(Error::host("look up group", name))?.is_some() {
                wanted.push(name.clone());
            }
        }
        // The primary group needs no second membership.
        let primary = now.map(|it| host.group_name(it.gid));
        wanted.retain(|it| Some(it) != primary.as_ref());
        if let Some(now) = now.filter(|_| !self.remove_groups || self.groups.is_none()) {
            wanted.extend(now.groups.iter().cloned());
        }
        wanted.sort();
        wanted.dedup();
        Ok(Some(wanted))
    }

    fn compare_gid(&self, host: &dyn Probe, now: Option<&User>, plan: &mut Plan) -> Result<(), Error> {
        let Some(group) = &self.gid else { return Ok(()) };
        let gid = host.gid(group).map_err(Error::host("look up group", group))?;
        if gid.is_none() || now.map(|it| it.gid) != gid {
            let from = now.map(|it| host.group_name(it.gid));
            plan.push(Change { what: "gid".to_owned(), from, to: Some(group.clone()), diff: None });
        }
        Ok(())
    }

    fn compare_password(&self, now: Option<&User>, plan: &mut Plan) {
        let Some(Hash(wanted)) = &self.password else { return };
        let hash = now.and_then(|it| it.password.as_deref()).unwrap_or_default();
        let is_set = !matches!(hash, "" | "*" | "!" | "!!" | "!*");
        if hash != wanted && (self.enforce_password || !is_set) {
            let from = is_set.then(|| SECRET_MASK.to_owned());
            let to = Some(SECRET_MASK.to_owned());
            plan.push(Change { what: "password".to_owned(), from, to, diff: None });
        }
    }
}

impl Resource for Present {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let now = host.user(&self.name).map_err(Error::host("look up user", &self.name))?;
        let now = now.as_ref();
        let mut plan = Plan::default();
        if now.is_none() {
            plan.differ("user", None, &self.name);
        }
        if let Some(uid) = self.uid {
            plan.differ("uid", now.map(|it| it.uid).as_ref(), &uid);
        }
        self.compare_gid(host, now, &mut plan)?;
        for (what, wanted, is) in [
            ("fullname", &self.fullname, now.map(|it| &it.fullname)),
            ("home", &self.home, now.map(|it| &it.home)),
            ("shell", &self.shell, now.map(|it| &it.shell)),
        ] {
            if let Some(wanted) = wanted {
                plan.differ(what, is, wanted);
            }
        }
        if let Some(wanted) = self.wanted_groups(host, now)? {
            let is = now.map(|it| it.groups.join(",")).unwrap_or_default();
            let wanted = wanted.join(",");
            if is != wanted {
                plan.differ("groups", Some(&is).filter(|_| now.is_some()), &wanted);
            }
        }
        self.compare_password(now, &mut plan);
        Ok(plan)
    }

    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let now = host.user(&self.name).map_err(Error::host("look up user", &self.name))?;
        let create = now.is_none();
        let mut gid = self.gid.clone().filter(|_| plan.touches("gid"));
        if create
            && gid.is_none()
            && host.group(&self.name).map_err(Error::host("look up group", &self.name))?.is_some()
        {
            gid = Some(self.name.clone());
        }
        let only = |what: &str, value: &Option<String>| value.clone().filter(|_| plan.touches(what));
        let groups = self.wanted_groups(host, now.as_ref())?.filter(|_| plan.touches("groups"));
        let change = UserChange {
            create,
            uid: self.uid.filter(|_| plan.touches("uid")),
            gid,
            fullname: only("fullname", &self.fullname),
            home: only("home", &self.home),
            make_home: self.createhome,
            shell: only("shell", &self.shell),
            groups,
            system: self.system,
            password: self.password.clone().map(|it| it.0).filter(|_| plan.touches("password")),
        };
        let done = host
            .perform(&Action::User(self.name.clone(), change))
            .map_err(Error::host("alter user", &self.name))?;
        done.success(&format!("alter user {}", self.name)).map(|_| Applied::default())
    }
}
