//! `file.symlink`: a symbolic link.

use super::owner::{DIR_MODE, GROUP, MAKEDIRS, Owner, USER, kind_change, make_parents, stat};
use crate::{
    Applied, Error, Function, Host, Param, ParamType, ParamsError, Probe, Resource,
    args::{Args, invalid},
    host::{Attributes, FileKind, Links},
};
use model::Plan;
use serde_json::{Map, Value};
use std::path::PathBuf;

pub(super) const FUNCTION: Function = Function {
    name: "symlink",
    doc: "A symbolic link exists and points at this target. The target need not exist.",
    params: PARAMS,
    examples: &[
        "/etc/nginx/sites-enabled/site:\n  file.symlink:\n    - target: /etc/nginx/sites-available/site\n    - \
         makedirs: true\n",
    ],
    parse,
};

const PARAMS: &[Param] = &[
    Param { name: "name", kind: ParamType::Path, required: false, default: "", doc: "The link's path." },
    Param {
        name: "target",
        kind: ParamType::Text,
        required: true,
        default: "",
        doc: "Where it points, absolute or relative to its folder.",
    },
    Param {
        name: "force",
        kind: ParamType::Bool,
        required: false,
        default: "false",
        doc: "Removes a file or folder that is in the way.",
    },
    MAKEDIRS,
    DIR_MODE,
    USER,
    GROUP,
];

#[derive(Debug)]
struct Symlink {
    path: PathBuf,
    target: PathBuf,
    force: bool,
    makedirs: bool,
    dir_mode: Option<u32>,
    owner: Owner,
}

fn parse(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("file.symlink", PARAMS, params)?;
    let target = args.text("target").unwrap_or_default();
    if target.is_empty() || target.contains('\0') {
        return Err(invalid("target", "`target` is empty"));
    }
    Ok(Box::new(Symlink {
        path: args.path("name").unwrap_or_default(),
        target: PathBuf::from(target),
        force: args.bool("force", false),
        makedirs: args.bool("makedirs", false),
        dir_mode: args.mode("dir_mode"),
        owner: Owner::parse(&args, None)?,
    }))
}

impl Resource for Symlink {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let found = stat(host, &self.path, Links::Keep)?;
        let link = found.filter(|it| it.kind == FileKind::Symlink);
        if let (Some(found), None) = (found, link) {
            let kind = found.kind.describe();
            if !self.force {
                let text = format!("`{}` is {kind}; `force: true` would replace it", self.path.display());
                return Err(Error::Refused(text));
            }
            plan.push(kind_change("file", Some(found.kind), FileKind::Symlink));
        }
        let now = link.map(|_| host.read_link(&self.path)).transpose();
        let now = now.map_err(Error::host("read link", self.path.display()))?;
        let text = |path: &PathBuf| path.display().to_string();
        plan.differ("target", now.as_ref().map(text).as_ref(), &text(&self.target));
        self.owner.compare(host, link.as_ref(), "", &mut plan)?;
        Ok(plan)
    }

    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let how = self.owner.resolve(host)?;
        if plan.touches("file") {
            host.remove(&self.path).map_err(Error::host("remove", self.path.display()))?;
        }
        if plan.touches("target") {
            let folders = Attributes { mode: self.dir_mode, ..how };
            make_parents(host, &self.path, self.makedirs, folders)?;
            host.make_symlink(&self.path, &self.target)
                .map_err(Error::host("make link", self.path.display()))?;
        }
        if how != Attributes::default() {
            host.set(&self.path, how, Links::Keep).map_err(Error::host("alter", self.path.display()))?;
        }
        Ok(Applied::default())
    }
}
