//! `file.directory`: a folder, its permissions and owner, and what may be in it.

use super::owner::{DIR_MODE, GROUP, MAKEDIRS, Owner, USER, kind_change, make_parents, stat};
use crate::{
    Applied, Doc, Error, Examples, Function, Host, Param, ParamType, ParamsError, Probe, Resource, Selection,
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
pub(super) const CHANGES_MAX: usize = 1000;

pub(super) const FUNCTION: Function = Function {
    name: "directory",
    doc: Doc::new(
        "A folder exists, with these permissions and owner. `recurse` brings everything in it under the same owner \
          or permissions; `clean` removes what no other step of the run manages.",
    ),
    params: PARAMS,
    examples: Examples::new(&[
        "/srv/www:\n  file.directory:\n    - user: www-data\n    - group: www-data\n    - mode: '0755'\n    - makedirs: \
         true\n    - recurse:\n      - user\n      - group\n",
        "/etc/nginx/sites-enabled:\n  file.directory:\n    - clean: true\n",
    ]),
    parse,
};

const PARAMS: &[Param] = &[
    Param::of("name", ParamType::Path, "", "The folder's path."),
    Param::of("mode", ParamType::Mode, "as it is; 0755 for a new one", "Permissions."),
    DIR_MODE,
    Param::of(
        "file_mode",
        ParamType::Mode,
        "those of folders",
        "Permissions of files in it, with `recurse: [mode]`.",
    ),
    USER,
    GROUP,
    MAKEDIRS,
    Param::of(
        "recurse",
        ParamType::TextList,
        "none",
        "What counts for everything in it: any of `user`, `group`, `mode`, without `ignore_files` or `ignore_dirs`.",
    ),
    Param::of(
        "max_depth",
        ParamType::Integer,
        "everything",
        "How deep `recurse` goes: 1 is what is right in the folder.",
    ),
    Param::of(
        "children_only",
        ParamType::Bool,
        "false",
        "Only what is in it gets permissions and owner, not the folder itself.",
    ),
    Param::of("clean", ParamType::Bool, "false", "Removes what no other step of the run manages."),
    Param::of(
        "exclude_pat",
        ParamType::TextList,
        "nothing",
        "What `clean` leaves alone: globs over the path inside the folder, or patterns behind `E@`.",
    ),
    Param::of(
        "allow_symlink",
        ParamType::Bool,
        "true",
        "A symbolic link to a folder is taken for the folder.",
    ),
    Param::of("backupname", ParamType::Path, "", "Where a file or link that is in the way is moved to."),
    Param::of(
        "follow_symlinks",
        ParamType::Bool,
        "false",
        "Permissions and owner are set where a symbolic link points; else only the link gets the owner.",
    ),
    Param::of("force", ParamType::Bool, "false", "Removes a file or link that is in the way."),
];

#[derive(Clone, Debug, Default)]
struct Recurse {
    files: Option<Owner>,
    folders: Option<Owner>,
}

#[expect(clippy::struct_excessive_bools, reason = "these are the parameters that people write")]
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) path: PathBuf,
    pub(super) owner: Owner,
    pub(super) makedirs: bool,
    dir_mode: Option<u32>,
    recurse: Recurse,
    clean: Option<Clean>,
    links: Links,
    allow_symlink: bool,
    backup: Option<PathBuf>,
    children_only: bool,
    max_depth: usize,
    force: bool,
    /// Whether there is a parameter for that.
    forcible: bool,
}

fn parse(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("file.directory", PARAMS, params)?;
    let mode = args.mode("mode").or_else(|| args.mode("dir_mode"));
    let owner = Owner::parse(&args, mode)?;
    let clean = args.bool("clean", false).then(|| Clean::parse(&args)).transpose()?;
    if clean.is_some() && args.has("max_depth") {
        return Err(invalid("max_depth", "give `clean` or `max_depth`, not both"));
    }
    Ok(Box::new(Directory {
        path: args.path("name").unwrap_or_default(),
        recurse: recurse(&args, &owner)?,
        owner,
        makedirs: args.bool("makedirs", false),
        dir_mode: args.mode("dir_mode").or(mode),
        clean,
        allow_symlink: args.bool("allow_symlink", true),
        backup: args.path("backupname"),
        children_only: args.bool("children_only", false),
        max_depth: usize::try_from(args.number("max_depth").unwrap_or(i64::MAX)).unwrap_or(0),
        links: if args.bool("follow_symlinks", false) { Links::Follow } else { Links::Keep },
        force: args.bool("force", false),
        forcible: true,
    }))
}

fn recurse(args: &Args<'_>, owner: &Owner) -> Result<Recurse, ParamsError> {
    const WORDS: [&str; 6] = ["user", "group", "mode", "ignore_files", "ignore_dirs", "silent"];
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
        files: (any && !has("ignore_files")).then(|| of(args.mode("file_mode").or(owner.mode))),
        folders: (any && !has("ignore_dirs")).then(|| of(owner.mode)),
    })
}

/// What `clean` leaves alone.
#[derive(Debug)]
pub(super) struct Clean {
    pub(super) keep: BTreeSet<PathBuf>,
    selection: Selection,
}

impl Clean {
    pub(super) fn parse(args: &Args<'_>) -> Result<Self, ParamsError> {
        let excluded = args.list("exclude_pat").unwrap_or_default();
        if args.path("name").is_some_and(|it| it.parent().is_none()) {
            return Err(invalid("clean", "`/` cannot be cleaned: nearly everything would go"));
        }
        let selection = Selection::new(&[], &excluded).map_err(|why| invalid("exclude_pat", why))?;
        Ok(Self { keep: kept(args), selection })
    }
}

/// Paths that other steps manage: the engine names them.
fn kept(args: &Args<'_>) -> BTreeSet<PathBuf> {
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
            allow_symlink: true,
            backup: None,
            children_only: false,
            max_depth: usize::MAX,
            force: false,
            forcible: false,
        }
    }

    /// What is there; a link to a folder is one, where that is allowed.
    fn found(&self, host: &dyn Probe) -> Result<Option<Stat>, Error> {
        let found = stat(host, &self.path, Links::Keep)?;
        let is_link = found.is_some_and(|it| it.kind == FileKind::Symlink);
        if !is_link || self.force || !self.allow_symlink {
            return Ok(found);
        }
        let behind = stat(host, &self.path, Links::Follow)?;
        Ok(behind.filter(|it| it.kind == FileKind::Directory).or(found))
    }

    /// Whose permissions and owner count: a link that is not followed has no permissions.
    fn own(&self, host: &dyn Probe, folder: Option<Stat>) -> Result<(Owner, Option<Stat>), Error> {
        let itself = match folder {
            Some(_) => stat(host, &self.path, self.links)?,
            None => None,
        };
        match itself.filter(|it| it.kind == FileKind::Symlink) {
            Some(link) => Ok((Owner { mode: None, ..self.owner.clone() }, Some(link))),
            None => Ok((self.owner.clone(), folder)),
        }
    }

    fn make_way(&self, host: &mut dyn Host) -> Result<(), Error> {
        let Some(backup) = &self.backup else {
            return host.remove(&self.path).map_err(Error::host("remove", self.path.display()));
        };
        if stat(host, backup, Links::Keep)?.is_some() {
            if !self.force {
                let text = format!("`{}` is there already; `force: true` would replace it", backup.display());
                return Err(Error::Refused(text));
            }
            host.remove(backup).map_err(Error::host("remove", backup.display()))?;
        }
        host.rename(&self.path, backup).map_err(Error::host("rename", self.path.display()))
    }

    /// What has to be done beneath, each with its path.
    fn beneath(&self, host: &dyn Probe) -> Result<Vec<(PathBuf, Work)>, Error> {
        let mut work = Vec::new();
        if let Some(clean) = &self.clean {
            work.extend(unmanaged(host, &self.path, clean)?.into_iter().map(|path| (path, Work::Remove)));
        }
        if self.recurse.files.is_none() && self.recurse.folders.is_none() {
            return Ok(work);
        }
        let going = |path: &Path| work.iter().any(|(gone, _)| path.starts_with(gone));
        let mut owners = Vec::new();
        walk(host, &self.path, &mut |path, stat| {
            let depth = path.strip_prefix(&self.path).map_or(0, |it| it.components().count());
            let link_owner;
            let owner = match stat.kind {
                FileKind::Directory => &self.recurse.folders,
                FileKind::File => &self.recurse.files,
                FileKind::Symlink => {
                    link_owner = self.recurse.files.clone().map(|it| Owner { mode: None, ..it });
                    &link_owner
                }
                FileKind::Other => &None,
            };
            if let Some(owner) = owner.as_ref().filter(|_| depth <= self.max_depth && !going(path)) {
                let mut plan = Plan::default();
                owner.compare(host, Some(stat), &format!("{}: ", path.display()), &mut plan)?;
                if !plan.is_empty() {
                    owners.push((path.to_owned(), Work::Alter(owner.clone(), plan)));
                }
            }
            Ok(if depth < self.max_depth { Descend::Yes } else { Descend::No })
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
        let found = self.found(host)?;
        let folder = found.filter(|it| it.kind == FileKind::Directory);
        if folder.is_none() {
            if let Some(found) = found.filter(|_| !self.force && self.backup.is_none()) {
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
        if !(self.children_only && folder.is_some()) {
            let (owner, stat) = self.own(host, folder)?;
            owner.compare(host, stat.as_ref(), "", &mut plan)?;
        }
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
                self.make_way(host)?;
            }
            let folders = Attributes { mode: self.dir_mode, ..how };
            make_parents(host, &self.path, self.makedirs, folders)?;
            host.make_directory(&self.path, how).map_err(Error::host("make folder", self.path.display()))?;
        } else if !self.children_only {
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
pub(super) fn unmanaged(host: &dyn Probe, folder: &Path, clean: &Clean) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    let keep = &clean.keep;
    walk(host, folder, &mut |path, _| {
        let relative = path.strip_prefix(folder).unwrap_or(path).to_string_lossy();
        if keep.contains(path) {
            return Ok(Descend::No);
        }
        let above = keep.range(path.to_owned()..).next().is_some_and(|it| it.starts_with(path));
        if above || !clean.selection.selects(&relative) {
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
