//! `acl`: access lists of files and folders (setfacl).

use crate::{
    Applied, Doc, Error, Examples, Function, Host, Module, Param, ParamsError, Probe, Resource,
    args::{Args, invalid},
    host::{FileKind, Links, Query, query::acl::Question},
    modules::group::account_name,
    tool::{answer, run_argv},
};
use model::{Change, Plan};
use serde_json::{Map, Value};
use std::path::PathBuf;

pub(crate) const MODULE: Module = Module {
    name: "acl",
    doc: Doc::new("Access lists of files and folders (setfacl; the package `acl` has it)."),
    functions: &[
        Function {
            name: "present",
            doc: Doc::new("A user or a group has these permissions on a file or folder."),
            params: PRESENT,
            examples: Examples::new(&[
                "/srv/media:\n  acl.present:\n    - acl_type: user\n    - acl_name: jellyfin\n    - perms: rx\n    - recurse: true\n",
            ]),
            parse: |params| parse("acl.present", PRESENT, params, true),
        },
        Function {
            name: "absent",
            doc: Doc::new("A file or folder has no entry for a user or a group."),
            params: ABSENT,
            examples: Examples::new(&[
                "/srv/media:\n  acl.absent:\n    - acl_type: user\n    - acl_name: jellyfin\n",
            ]),
            parse: |params| parse("acl.absent", ABSENT, params, false),
        },
        Function {
            name: "list_present",
            doc: Doc::new("Several users or groups have these permissions on a file or folder."),
            params: LIST_PRESENT,
            examples: Examples::new(&[
                "/srv/media:\n  acl.list_present:\n    - acl_type: default:group\n    - acl_names:\n      - media\n      - audio\n    - perms: rwx\n",
            ]),
            parse: |params| parse("acl.list_present", LIST_PRESENT, params, true),
        },
        Function {
            name: "list_absent",
            doc: Doc::new("A file or folder has no entry for any of several users or groups."),
            params: LIST_ABSENT,
            examples: Examples::new(&[
                "/srv/media:\n  acl.list_absent:\n    - acl_type: group\n    - acl_names:\n      - audio\n",
            ]),
            parse: |params| parse("acl.list_absent", LIST_ABSENT, params, false),
        },
    ],
};

const NAME: Param = Param::path("name", "", "The file or folder.");
const TYPE: Param = Param::text(
    "acl_type",
    "",
    "`user`, `group`, `mask` or `other`; with `default:` before it for what is made in a folder.",
)
.required();
const ACL_NAME: Param = Param::text("acl_name", "the owner", "The user or group.");
const ACL_NAMES: Param = Param::list("acl_names", "", "The users or groups.").required();
const PERMS: Param = Param::text("perms", "none", "The permissions: some of `r`, `w`, `x`.");
const RECURSE: Param = Param::flag("recurse", "false", "Everything below a folder as well.");
const FORCE: Param =
    Param::flag("force", "false", "Removes all other entries first, where something has to be altered.");

const PRESENT: &[Param] = &[NAME, TYPE, ACL_NAME, PERMS, RECURSE, FORCE];
const ABSENT: &[Param] = &[
    NAME,
    TYPE,
    ACL_NAME,
    Param::text("perms", "any", "Accepted from Salt trees and without effect."),
    RECURSE,
];
const LIST_PRESENT: &[Param] = &[NAME, TYPE, ACL_NAMES, PERMS, RECURSE, FORCE];
const LIST_ABSENT: &[Param] = &[NAME, TYPE, ACL_NAMES, RECURSE];

#[derive(Debug)]
struct Acl {
    path: PathBuf,
    /// `user:ada`, `default:group:media`, ...
    entries: Vec<String>,
    /// `r-x`; none if there is to be no entry.
    perms: Option<String>,
    recurse: bool,
    force: bool,
}

fn parse(
    kind: &str,
    schema: &[Param],
    params: &Map<String, Value>,
    present: bool,
) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new(kind, schema, params)?;
    let names = args.list("acl_names").unwrap_or_else(|| vec![args.text("acl_name").unwrap_or_default()]);
    for name in names.iter().filter(|it| !it.is_empty()) {
        account_name("acl_name", name)?;
    }
    let given = args.text("acl_type").unwrap_or_default().to_lowercase();
    let (default, sort) = match given.split_once(':') {
        Some(("default" | "d", rest)) => ("default:", rest),
        _ => ("", given.as_str()),
    };
    let sort = match sort {
        "user" | "u" => "user",
        "group" | "g" => "group",
        "mask" | "m" => "mask",
        "other" | "o" => "other",
        _ => return Err(invalid("acl_type", format!("`{given}` is none of user, group, mask, other"))),
    };
    let perms = args.text("perms").unwrap_or_default();
    if perms.chars().any(|it| !"rwxX-".contains(it)) && present {
        return Err(invalid("perms", format!("`{perms}` is not made of `r`, `w`, `x`")));
    }
    let has = |it: char| if perms.to_lowercase().contains(it) { it } else { '-' };
    let perms = present.then(|| ['r', 'w', 'x'].map(has).iter().collect());
    Ok(Box::new(Acl {
        path: args.path("name").unwrap_or_default(),
        entries: names.iter().map(|it| format!("{default}{sort}:{it}")).collect(),
        perms,
        recurse: args.bool("recurse", false),
        force: args.bool("force", false),
    }))
}

/// The permissions of an entry in one list.
fn find<'a>(list: &'a str, entry: &str) -> Option<&'a str> {
    list.lines().find_map(|line| {
        let line = line.split(['\t', '#']).next().unwrap_or(line).trim();
        line.strip_prefix(entry)?.strip_prefix(':')
    })
}

impl Acl {
    /// The lists of the path, or of everything below it: one each.
    fn lists(&self, host: &dyn Probe) -> Result<Vec<String>, Error> {
        let question = Question { path: self.path.clone(), recurse: self.recurse };
        let text = answer(host, &Query::Acl(question))?;
        let lists = text.split("\n\n").filter(|it| !it.trim().is_empty());
        Ok(lists.map(str::to_owned).collect())
    }
}

impl Resource for Acl {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let path = self.path.display().to_string();
        let found = host.stat(&self.path, Links::Follow).map_err(Error::host("look at", &path))?;
        let Some(found) = found else {
            return Err(Error::Refused(format!("`{path}` does not exist")));
        };
        let mut plan = Plan::default();
        let lists = self.lists(host)?;
        for entry in &self.entries {
            // What is for new files stands on folders only.
            let folders_only = entry.starts_with("default:");
            let some = folders_only && self.recurse && found.kind == FileKind::Directory;
            let meant: Vec<&String> = lists.iter().filter(|it| !some || it.contains("default:")).collect();
            let wanted = self.perms.as_deref();
            let off = meant.iter().map(|it| find(it, entry)).find(|it| *it != wanted);
            let off = off.or((meant.is_empty() && wanted.is_some()).then_some(None));
            if let Some(now) = off {
                let to = wanted.map(str::to_owned);
                plan.push(Change { what: entry.clone(), from: now.map(str::to_owned), to, diff: None });
            }
        }
        Ok(plan)
    }

    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let path = self.path.display().to_string();
        let recurse = if self.recurse { &["--recursive", "--physical"][..] } else { &[] };
        if self.force {
            run_argv(host, &[&["setfacl", "--remove-all"], recurse, &["--", &path]].concat())?;
        }
        let entries = self.entries.iter().filter(|it| self.force || plan.touches(it));
        let (option, list): (_, Vec<String>) = match &self.perms {
            Some(perms) => ("--modify", entries.map(|it| format!("{it}:{perms}")).collect()),
            None => ("--remove", entries.cloned().collect()),
        };
        run_argv(host, &[&["setfacl"], recurse, &[option, &list.join(","), "--", &path]].concat())?;
        Ok(Applied::default())
    }
}
