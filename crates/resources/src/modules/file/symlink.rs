//! `file.symlink`: a symbolic link.

use super::owner::{DIR_MODE, GROUP, MAKEDIRS, Owner, USER, kind_change, make_parents, stat};
use crate::{
    Applied, Doc, Error, Examples, Function, Host, Param, ParamType, ParamsError, Probe, Resource,
    args::{Args, invalid, plain_path},
    host::{Attributes, FileKind, Links},
};
use model::Plan;
use serde_json::{Map, Value};
use std::path::PathBuf;

pub(super) const FUNCTION: Function = Function {
    name: "symlink",
    doc: Doc::new("A symbolic link exists and points at this target. The target need not exist."),
    params: PARAMS,
    examples: Examples::new(&[
        "/etc/nginx/sites-enabled/site:\n  file.symlink:\n    - target: /etc/nginx/sites-available/site\n    - \
         makedirs: true\n",
    ]),
    parse,
};

const PARAMS: &[Param] = &[
    Param::of("name", ParamType::Path, "", "The link's path."),
    Param::of("target", ParamType::Text, "", "Where it points, absolute or relative to its folder.")
        .required(),
    Param::of("force", ParamType::Bool, "false", "Removes a file or folder that is in the way."),
    Param::of(
        "backupname",
        ParamType::Text,
        "",
        "Where a file or folder that is in the way is moved to: a path, or a name in the same folder.",
    ),
    Param::of("atomic", ParamType::Bool, "false", "Replaces a file that is in the way, in one step."),
    Param::of("mode", ParamType::Mode, "0755", "Permissions of folders that are made; links have none."),
    Param::of(
        "follow_symlinks",
        ParamType::Bool,
        "true",
        "Accepted from Salt trees: a link that is in the way is always replaced.",
    ),
    Param::of(
        "disallow_copy_and_unlink",
        ParamType::Bool,
        "false",
        "Accepted from Salt trees: what is in the way is renamed.",
    ),
    Param::of(
        "inherit_user_and_group",
        ParamType::Bool,
        "false",
        "Accepted from Salt trees: a link that exists keeps its owner unless one is given.",
    ),
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
    atomic: bool,
    backup: Option<PathBuf>,
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
    let path = args.path("name").unwrap_or_default();
    let backup = match args.text("backupname").filter(|it| !it.is_empty()) {
        None => None,
        Some(text) if text.starts_with('/') && !text.contains("..") => Some(plain_path(&text)),
        Some(text) if !text.contains('/') && !matches!(text.as_str(), "." | "..") => {
            Some(path.with_file_name(text))
        }
        Some(_) => return Err(invalid("backupname", "`backupname` must be an absolute path or a file name")),
    };
    Ok(Box::new(Symlink {
        path,
        backup,
        target: PathBuf::from(target),
        force: args.bool("force", false),
        atomic: args.bool("atomic", false),
        makedirs: args.bool("makedirs", false),
        dir_mode: args.mode("dir_mode").or(args.mode("mode")),
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
            // A link can take the place of a file in one step, but not that of a folder.
            let replaced = self.atomic && found.kind != FileKind::Directory;
            if !self.force && !replaced && self.backup.is_none() {
                let text = format!("`{}` is {kind}; `force: true` would replace it", self.path.display());
                return Err(Error::Refused(text));
            }
            plan.push(kind_change("file", Some(found.kind), FileKind::Symlink));
        }
        let now = link.map(|_| host.read_link(&self.path)).transpose();
        let now = now.map_err(Error::host("read link", self.path.display()))?;
        let text = |path: &PathBuf| path.display().to_string();
        // `a//b/.` points where `a/b` does.
        if now.as_ref().map(|it| it.components().collect())
            != Some(self.target.components().collect::<PathBuf>())
        {
            plan.differ("target", now.as_ref().map(text).as_ref(), &text(&self.target));
        }
        self.owner.compare(host, link.as_ref(), "", &mut plan)?;
        Ok(plan)
    }

    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let how = self.owner.resolve(host)?;
        if plan.touches("file") {
            match &self.backup {
                Some(backup) => {
                    if stat(host, backup, Links::Keep)?.is_some() && !self.force {
                        let text = format!(
                            "`{}` is there already; `force: true` would replace it",
                            backup.display()
                        );
                        return Err(Error::Refused(text));
                    }
                    host.remove(backup).map_err(Error::host("remove", backup.display()))?;
                    host.rename(&self.path, backup).map_err(Error::host("rename", self.path.display()))?;
                }
                None if self.force => {
                    host.remove(&self.path).map_err(Error::host("remove", self.path.display()))?;
                }
                None => (),
            }
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
