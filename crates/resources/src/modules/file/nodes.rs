//! `file.hardlink` and `file.mknod`: further names of files, pipes and devices.

use super::owner::{DIR_MODE, GROUP, MAKEDIRS, Owner, USER, kind_change, make_parents, stat};
use crate::{
    Applied, Doc, Error, Examples, Function, Host, Param, ParamType, ParamsError, Probe, Resource,
    args::{Args, invalid},
    host::{Attributes, FileKind, Links, Special},
};
use model::{Change, Plan};
use serde_json::{Map, Value};
use std::path::PathBuf;

pub(super) const HARDLINK: Function = Function {
    name: "hardlink",
    doc: Doc::new("This path is another name of the file at `target`."),
    params: LINK_PARAMS,
    examples: Examples::new(&["/usr/local/bin/app:\n  file.hardlink:\n    - target: /opt/app/bin/app\n"]),
    parse: hardlink,
};

pub(super) const MKNOD: Function = Function {
    name: "mknod",
    doc: Doc::new("At this path is a pipe or a device. Anything else that is there is a failure."),
    params: NODE_PARAMS,
    examples: Examples::new(&[
        "/run/app/queue:\n  file.mknod:\n    - ntype: p\n    - user: app\n    - mode: '0600'\n",
    ]),
    parse: mknod,
};

const NAME: Param = Param::of("name", ParamType::Path, "", "The path.");
const LINK_PARAMS: &[Param] = &[
    NAME,
    Param::of("target", ParamType::Path, "", "The file.").required(),
    Param::of("force", ParamType::Bool, "false", "Replaces another file that is there."),
    MAKEDIRS,
    DIR_MODE,
    USER,
    GROUP,
];
const NODE_PARAMS: &[Param] = &[
    NAME,
    Param::of(
        "ntype",
        ParamType::Text,
        "",
        "`p` for a pipe, `c` for a character device, `b` for a block device.",
    )
    .required(),
    Param::of("major", ParamType::Integer, "0", "A device's major number."),
    Param::of("minor", ParamType::Integer, "0", "A device's minor number."),
    USER,
    GROUP,
    Param::of("mode", ParamType::Mode, "0600", "Permissions."),
];

#[derive(Debug)]
struct HardLink {
    path: PathBuf,
    target: PathBuf,
    force: bool,
    makedirs: bool,
    folders: Owner,
}

fn hardlink(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("file.hardlink", LINK_PARAMS, params)?;
    Ok(Box::new(HardLink {
        path: args.path("name").unwrap_or_default(),
        target: args.path("target").unwrap_or_default(),
        force: args.bool("force", false),
        makedirs: args.bool("makedirs", false),
        folders: Owner::parse(&args, args.mode("dir_mode"))?,
    }))
}

impl Resource for HardLink {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let refuse = |path: &PathBuf, why: String| Err(Error::Refused(format!("`{}` {why}", path.display())));
        let Some(target) = stat(host, &self.target, Links::Keep)? else {
            return refuse(&self.target, "does not exist".to_owned());
        };
        if target.kind == FileKind::Directory {
            return refuse(&self.target, "is a folder, which has one name only".to_owned());
        }
        match stat(host, &self.path, Links::Keep)? {
            Some(it) if it.kind == FileKind::Directory => {
                return refuse(&self.path, "is a folder, not a file".to_owned());
            }
            Some(it) if it.identity == target.identity => return Ok(plan),
            Some(it) if !self.force => {
                return refuse(
                    &self.path,
                    format!("is {}; `force: true` would replace it", it.kind.describe()),
                );
            }
            found => {
                let from = found.map(|it| it.kind.describe().to_owned());
                let to = Some(self.target.display().to_string());
                plan.push(Change { what: "link".to_owned(), from, to, diff: None });
            }
        }
        Ok(plan)
    }
    fn apply(&self, _: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let how = self.folders.resolve(host)?;
        make_parents(host, &self.path, self.makedirs, how)?;
        host.hard_link(&self.path, &self.target).map_err(Error::host("make link", self.path.display()))?;
        Ok(Applied::default())
    }
}

#[derive(Debug)]
struct Node {
    path: PathBuf,
    special: Special,
    owner: Owner,
}

fn mknod(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("file.mknod", NODE_PARAMS, params)?;
    let number = |name: &str| {
        u32::try_from(args.number(name).unwrap_or_default())
            .map_err(|_| invalid(name, format!("`{name}` is no number of a device")))
    };
    let special = match args.text("ntype").unwrap_or_default().as_str() {
        "p" => Special::Pipe,
        "b" => Special::Block(number("major")?, number("minor")?),
        "c" => Special::Character(number("major")?, number("minor")?),
        other => return Err(invalid("ntype", format!("`{other}` is none of `p`, `c`, `b`"))),
    };
    let owner = Owner::parse(&args, Some(args.mode("mode").unwrap_or(0o600)))?;
    Ok(Box::new(Node { path: args.path("name").unwrap_or_default(), special, owner }))
}

impl Resource for Node {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let found = stat(host, &self.path, Links::Keep)?;
        match found {
            None => plan.push(kind_change("file", None, FileKind::Other)),
            Some(it) if it.special == Some(self.special) => (),
            Some(it) => {
                let text =
                    format!("`{}` is {} of another kind or number", self.path.display(), it.kind.describe());
                return Err(Error::Refused(text));
            }
        }
        self.owner.compare(host, found.as_ref(), "", &mut plan)?;
        Ok(plan)
    }
    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let how = self.owner.resolve(host)?;
        let shown = self.path.display().to_string();
        if plan.touches("file") {
            make_parents(host, &self.path, false, Attributes::default())?;
            host.make_special(&self.path, self.special, how).map_err(Error::host("make", shown))?;
        } else {
            host.set(&self.path, how, Links::Keep).map_err(Error::host("alter", shown))?;
        }
        Ok(Applied::default())
    }
}
