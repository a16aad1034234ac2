//! `file.directory`: a folder, its permissions and owner, and what may be in it.

use super::owner::{DIR_MODE, GROUP, MAKEDIRS, Owner, USER, kind_change, make_parents, stat};
use crate::{
    Applied, Error, Function, Host, Param, ParamType, ParamsError, Probe, Resource,
    args::{Args, invalid, plain_path},
    host::{Attributes, FileKind, Links, Stat},
};
use model::{Change, Plan};
use serde_json::{Map, Value};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// Entries beneath one folder that are looked at.
const WALK_ENTRIES_MAX: usize = 200_000;
/// Changes that one plan lists; more are counted.
const CHANGES_MAX: usize = 1000;

pub(super) const FUNCTION: Function = Function {
    name: "directory",
    doc: "A folder exists, with these permissions and owner. `recurse` brings everything in it under the same owner \
          or permissions; `clean` removes what no other step of the run manages.",
    params: PARAMS,
    examples: &[
        "/srv/www:\n  file.directory:\n    - user: www-data\n    - group: www-data\n    - mode: '0755'\n    - makedirs: \
         true\n    - recurse:\n      - user\n      - group\n",
        "/etc/nginx/sites-enabled:\n  file.directory:\n    - clean: true\n",
    ],
    parse,
};

const PARAMS: &[Param] = &[
    Param { name: "name", kind: ParamType::Path, required: false, default: "", doc: "The folder's path." },
    Param {
        name: "mode",
        kind: ParamType::Mode,
        required: false,
        default: "as it is; 0755 for a new one",
        doc: "Permissions.",
    },
    DIR_MODE,
    Param {
        name: "file_mode",
        kind: ParamType::Mode,
        required: false,
        default: "as they are",
        doc: "Permissions of files in it, with `recurse: [mode]`.",
    },
    USER,
    GROUP,
    MAKEDIRS,
    Param {
        name: "recurse",
        kind: ParamType::TextList,
        required: false,
        default: "none",
        doc: "What counts for everything in it: any of `user`, `group`, `mode`, without `ignore_files` or `ignore_dirs`.",
    },
    Param {
        name: "clean",
        kind: ParamType::Bool,
        required: false,
        default: "false",
        doc: "Removes what no other step of the run manages.",
    },
    Param {
        name: "follow_symlinks",
        kind: ParamType::Bool,
        required: false,
        default: "false",
        doc: "If the path is a symbolic link to a folder, that folder is meant.",
    },
    Param {
        name: "force",
        kind: ParamType::Bool,
        required: false,
        default: "false",
        doc: "Removes a file or link that is in the way.",
    },
];

#[derive(Clone, Debug, Default)]
struct Recurse {
    files: Option<Owner>,
    folders: Option<Owner>,
}

#[derive(Debug)]
pub(super) struct Directory {
    pub(super) path: PathBuf,
    pub(super) owner: Owner,
    pub(super) makedirs: bool,
    dir_mode: Option<u32>,
    recurse: Recurse,
    clean: Option<BTreeSet<PathBuf>>,
    links: Links,
    force: bool,
    /// Whether there is a parameter for that.
    forcible: bool,
}

fn parse(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("file.directory", PARAMS, params)?;
    let mode = args.mode("mode").or_else(|| args.mode("dir_mode"));
    let owner = Owner::parse(&args, mode)?;
    Ok(Box::new(Directory {
        path: args.path("name").unwrap_or_default(),
        recurse: recurse(&args, &owner)?,
        owner,
        makedirs: args.bool("makedirs", false),
        dir_mode: args.mode("dir_mode").or(mode),
        clean: args.bool("clean", false).then(|| kept(&args)),
        links: if args.bool("follow_symlinks", false) { Links::Follow } else { Links::Keep },
        force: args.bool("force", false),
        forcible: true,
    }))
}

fn recurse(args: &Args<'_>, owner: &Owner) -> Result<Recurse, ParamsError> {
    const WORDS: [&str; 5] = ["user", "group", "mode", "ignore_files", "ignore_dirs"];
    let words = args.list("recurse").unwrap_or_default();
    if let Some(bad) = words.iter().find(|it| !WORDS.contains(&it.as_str())) {
        return Err(invalid("recurse", format!("`{bad}` is none of {}", WORDS.join(", "))));
    }
    let has = |word: &str| words.iter().any(|it| it == word);
    let of = |mode: Option<u32>| Owner {
        mode: mode.filter(|_| has("mode")),
        user: owner.user.clone().filter(|_| has("user")),
        group: owner.group.clone().filter(|_| has("group")),
    };
    let any = has("user") || has("group") || has("mode");
    Ok(Recurse {
        files: (any && !has("ignore_files")).then(|| of(args.mode("file_mode"))),
        folders: (any && !has("ignore_dirs")).then(|| of(owner.mode)),
    })
}

/// Paths that other steps manage: the engine names them.
pub(super) fn kept(args: &Args<'_>) -> BTreeSet<PathBuf> {
    args.list("keep").unwrap_or_default().iter().map(|it| plain_path(it)).collect()
}

impl Directory {
    pub(super) fn plain(path: PathBuf, owner: Owner) -> Self {
        let dir_mode = owner.mode;
        Self {
            path,
            owner,
            makedirs: true,
            dir_mode,
            recurse: Recurse::default(),
            clean: None,
            links: Links::Follow,
            force: false,
            forcible: false,
        }
    }

    /// What has to be done beneath, each with its path.
    fn beneath(&self, host: &dyn Probe) -> Result<Vec<(PathBuf, Work)>, Error> {
        let mut work = Vec::new();
        if let Some(keep) = &self.clean {
            work.extend(unmanaged(host, &self.path, keep)?.into_iter().map(|path| (path, Work::Remove)));
        }
        if self.recurse.files.is_none() && self.recurse.folders.is_none() {
            return Ok(work);
        }
        let going = |path: &Path| work.iter().any(|(gone, _)| path.starts_with(gone));
        let mut owners = Vec::new();
        walk(host, &self.path, &mut |path, stat| {
            let owner = match stat.kind {
                FileKind::Directory => &self.recurse.folders,
                FileKind::File => &self.recurse.files,
                FileKind::Symlink | FileKind::Other => &None,
            };
            if let Some(owner) = owner.as_ref().filter(|_| !going(path)) {
                let mut plan = Plan::default();
                owner.compare(host, Some(stat), &format!("{}: ", path.display()), &mut plan)?;
                if !plan.is_empty() {
                    owners.push((path.to_owned(), Work::Alter(owner.clone(), plan)));
                }
            }
            Ok(Descend::Yes)
        })?;
        work.append(&mut owners);
        Ok(work)
    }
}

enum Work {
    Remove,
    Alter(Owner, Plan),
}

impl Resource for Directory {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let found = stat(host, &self.path, self.links)?;
        let folder = found.filter(|it| it.kind == FileKind::Directory);
        if folder.is_none() {
            if let Some(found) = found.filter(|_| !self.force) {
                let kind = found.kind.describe();
                let path = self.path.display();
                let text = if self.forcible {
                    format!("`{path}` is {kind}; `force: true` would replace it")
                } else {
                    format!("`{path}` is {kind}, where a folder has to be")
                };
                return Err(Error::Refused(text));
            }
            plan.push(kind_change("directory", found.map(|it| it.kind), FileKind::Directory));
        }
        self.owner.compare(host, folder.as_ref(), "", &mut plan)?;
        if folder.is_some() {
            for (path, work) in self.beneath(host)? {
                match work {
                    Work::Remove => plan.push(removal(&path)),
                    Work::Alter(_, changes) => plan.changes.extend(changes.changes),
                }
            }
            cut(&mut plan);
        }
        Ok(plan)
    }

    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let how = self.owner.resolve(host)?;
        if plan.touches("directory") {
            if stat(host, &self.path, Links::Keep)?.is_some() {
                host.remove(&self.path).map_err(Error::host("remove", self.path.display()))?;
            }
            let folders = Attributes { mode: self.dir_mode, ..how };
            make_parents(host, &self.path, self.makedirs, folders)?;
            host.make_directory(&self.path, how).map_err(Error::host("make folder", self.path.display()))?;
        } else {
            host.set(&self.path, how, self.links).map_err(Error::host("alter", self.path.display()))?;
        }
        for (path, work) in self.beneath(host)? {
            match work {
                Work::Remove => host.remove(&path).map_err(Error::host("remove", path.display()))?,
                Work::Alter(owner, _) => {
                    let how = owner.resolve(host)?;
                    host.set(&path, how, Links::Keep).map_err(Error::host("alter", path.display()))?;
                }
            }
        }
        Ok(Applied::default())
    }
}

/// `/path: a file -> gone`.
pub(super) fn removal(path: &Path) -> Change {
    let what = path.display().to_string();
    Change { what, from: Some("unmanaged".to_owned()), to: None, diff: None }
}

/// A plan of bearable length.
pub(super) fn cut(plan: &mut Plan) {
    if plan.changes.len() > CHANGES_MAX {
        let more = plan.changes.len() - CHANGES_MAX;
        plan.changes.truncate(CHANGES_MAX);
        let to = Some(format!("{more} more changes"));
        plan.push(Change { what: "and".to_owned(), from: None, to, diff: None });
    }
}

/// What is beneath `folder` and neither kept, nor above or beneath something kept. Only the topmost of each.
pub(super) fn unmanaged(
    host: &dyn Probe,
    folder: &Path,
    keep: &BTreeSet<PathBuf>,
) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    walk(host, folder, &mut |path, _| {
        if keep.contains(path) {
            return Ok(Descend::No);
        }
        let above = keep.range(path.to_owned()..).next().is_some_and(|it| it.starts_with(path));
        if above {
            return Ok(Descend::Yes);
        }
        found.push(path.to_owned());
        Ok(Descend::No)
    })?;
    Ok(found)
}

/// Whether to look into a folder.
pub(super) enum Descend {
    Yes,
    No,
}

type Visit<'a> = dyn FnMut(&Path, &Stat) -> Result<Descend, Error> + 'a;

/// Everything beneath `folder`, parents first. Links are not followed.
pub(super) fn walk(host: &dyn Probe, folder: &Path, visit: &mut Visit<'_>) -> Result<(), Error> {
    let mut pending = vec![folder.to_owned()];
    let mut seen = 0;
    while let Some(folder) = pending.pop() {
        for name in host.list(&folder).map_err(Error::host("list", folder.display()))? {
            seen += 1;
            if seen > WALK_ENTRIES_MAX {
                let text =
                    format!("there are more than {WALK_ENTRIES_MAX} files beneath `{}`", folder.display());
                return Err(Error::Refused(text));
            }
            let path = folder.join(name);
            let Some(found) = stat(host, &path, Links::Keep)? else { continue };
            let descend = visit(&path, &found)?;
            if matches!(descend, Descend::Yes) && found.kind == FileKind::Directory {
                pending.push(path);
            }
        }
    }
    Ok(())
}
