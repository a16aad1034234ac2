//! `file.copy` and `file.rename`: what is at one path of the minion, at another.

use super::owner::{DIR_MODE, GROUP, MAKEDIRS, Owner, USER, folder_mode, kind_change, make_parents, stat};
use crate::{
    Applied, Doc, Error, Examples, Function, Host, Param, ParamType, ParamsError, Probe, Resource,
    args::{Args, invalid},
    host::{Attributes, Contents, FileKind, Links, Stat},
};
use model::{Change, Plan};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// Things in a folder that is copied.
const ENTRIES_MAX: usize = 100_000;

pub(super) const COPY: Function = Function {
    name: "copy",
    doc: Doc::new(
        "A file or folder of the minion is copied to another path. What is there already stays, unless `force` is set: \
          then it is replaced when it is different.",
    ),
    params: COPY_PARAMS,
    examples: Examples::new(&[
        "/etc/app.conf:\n  file.copy:\n    - source: /usr/share/app/app.conf.example\n    - user: app\n    - mode: '0640'\n",
    ]),
    parse: copy,
};

pub(super) const RENAME: Function = Function {
    name: "rename",
    doc: Doc::new(
        "What is at `source` moves to this path. If nothing is there it has moved already, which is fine.",
    ),
    params: RENAME_PARAMS,
    examples: Examples::new(&[
        "/etc/app/app.conf:\n  file.rename:\n    - source: /etc/app.conf\n    - makedirs: true\n",
    ]),
    parse: rename,
};

const NAME: Param = Param::of("name", ParamType::Path, "", "The new path.");
const SOURCE: Param = Param::of("source", ParamType::Path, "", "The path on the minion.").required();
const FORCE: Param = Param::of("force", ParamType::Bool, "false", "Replaces what is at the new path.");

const COPY_PARAMS: &[Param] = &[
    NAME,
    SOURCE,
    FORCE,
    MAKEDIRS,
    Param::of("preserve", ParamType::Bool, "false", "Takes owner and permissions of the source."),
    USER,
    GROUP,
    Param::of("mode", ParamType::Mode, "the source's", "Permissions."),
    DIR_MODE,
    Param::of(
        "subdir",
        ParamType::Bool,
        "false",
        "If the path is a folder, the copy is made in it under the source's name.",
    ),
];
const RENAME_PARAMS: &[Param] = &[NAME, SOURCE, FORCE, MAKEDIRS];

#[expect(clippy::struct_excessive_bools, reason = "these are the parameters that people write")]
#[derive(Debug)]
struct Copy {
    path: PathBuf,
    source: PathBuf,
    force: bool,
    makedirs: bool,
    preserve: bool,
    owner: Owner,
    dir_mode: Option<u32>,
    subdir: bool,
}

fn paths(args: &Args<'_>) -> Result<(PathBuf, PathBuf), ParamsError> {
    let (path, source) = (args.path("name").unwrap_or_default(), args.path("source").unwrap_or_default());
    if path.starts_with(&source) {
        return Err(invalid("source", "a path cannot become something beneath itself"));
    }
    Ok((path, source))
}

fn copy(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("file.copy", COPY_PARAMS, params)?;
    let (path, source) = paths(&args)?;
    Ok(Box::new(Copy {
        path,
        source,
        force: args.bool("force", false),
        makedirs: args.bool("makedirs", false),
        preserve: args.bool("preserve", false),
        owner: Owner::parse(&args, args.mode("mode"))?,
        dir_mode: args.mode("dir_mode"),
        subdir: args.bool("subdir", false),
    }))
}

/// One thing that is copied: where it is, where it goes, what it is.
struct Entry {
    from: PathBuf,
    to: PathBuf,
    stat: Stat,
}

impl Copy {
    fn target(&self, host: &dyn Probe) -> Result<PathBuf, Error> {
        let found = stat(host, &self.path, Links::Follow)?;
        let inside = self.subdir && found.is_some_and(|it| it.kind == FileKind::Directory);
        Ok(match self.source.file_name().filter(|_| inside) {
            Some(name) => self.path.join(name),
            None => self.path.clone(),
        })
    }

    /// Everything that is copied, folders first.
    fn entries(&self, host: &dyn Probe, to: &Path) -> Result<Vec<Entry>, Error> {
        let missing = || Error::Refused(format!("there is no `{}`", self.source.display()));
        let top = stat(host, &self.source, Links::Follow)?.ok_or_else(missing)?;
        let mut entries = vec![Entry { from: self.source.clone(), to: to.to_owned(), stat: top }];
        let mut at = 0;
        while let Some(entry) = entries.get(at) {
            at += 1;
            if entry.stat.kind == FileKind::Other {
                let text = format!("`{}` is {}", entry.from.display(), entry.stat.kind.describe());
                return Err(Error::Refused(text));
            }
            if entry.stat.kind != FileKind::Directory {
                continue;
            }
            let (from, to) = (entry.from.clone(), entry.to.clone());
            for name in host.list(&from).map_err(Error::host("list", from.display()))? {
                let from = from.join(&name);
                if let Some(stat) = stat(host, &from, Links::Keep)? {
                    entries.push(Entry { from, to: to.join(name), stat });
                }
            }
            if entries.len() > ENTRIES_MAX {
                return Err(Error::Refused(format!(
                    "there are more than {ENTRIES_MAX} files in `{}`",
                    self.source.display()
                )));
            }
        }
        Ok(entries)
    }

    /// Permissions and owner of the copy.
    fn how(&self, host: &dyn Probe, source: &Stat) -> Result<Attributes, Error> {
        if self.preserve {
            return Ok(Attributes { mode: Some(source.mode), uid: Some(source.uid), gid: Some(source.gid) });
        }
        let how = self.owner.resolve(host)?;
        Ok(Attributes {
            mode: Some(how.mode.unwrap_or(source.mode)),
            uid: Some(how.uid.unwrap_or(0)),
            gid: Some(how.gid.unwrap_or(0)),
        })
    }
}

/// Whether the copy is what it would become.
fn is_same(host: &dyn Probe, entries: &[Entry]) -> Result<bool, Error> {
    for entry in entries {
        let Some(now) = stat(host, &entry.to, Links::Keep)? else { return Ok(false) };
        let shown = |path: &Path| path.display().to_string();
        let same = now.kind == entry.stat.kind
            && match now.kind {
                FileKind::File => {
                    let hash = |it: &Path| host.hash(it).map_err(Error::host("read", shown(it)));
                    now.size == entry.stat.size && hash(&entry.to)? == hash(&entry.from)?
                }
                FileKind::Symlink => {
                    let link = |it: &Path| host.read_link(it).map_err(Error::host("read link", shown(it)));
                    link(&entry.to)? == link(&entry.from)?
                }
                FileKind::Directory => {
                    let list = |it: &Path| host.list(it).map_err(Error::host("list", shown(it)));
                    list(&entry.to)? == list(&entry.from)?
                }
                FileKind::Other => false,
            };
        if !same {
            return Ok(false);
        }
    }
    Ok(true)
}

fn place(host: &mut dyn Host, entry: &Entry, how: Attributes) -> Result<(), Error> {
    let shown = entry.to.display().to_string();
    match entry.stat.kind {
        FileKind::Directory => host.make_directory(&entry.to, how).map_err(Error::host("make folder", shown)),
        FileKind::Symlink => {
            let target =
                host.read_link(&entry.from).map_err(Error::host("read link", entry.from.display()))?;
            host.make_symlink(&entry.to, &target).map_err(Error::host("make link", shown))
        }
        FileKind::File | FileKind::Other => host
            .write(&entry.to, Contents::File(&entry.from), how, Links::Keep)
            .map_err(Error::host("write", shown)),
    }
}

impl Resource for Copy {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let to = self.target(host)?;
        let entries = self.entries(host, &to)?;
        let found = stat(host, &to, Links::Keep)?;
        if found.is_some() && (!self.force || is_same(host, &entries)?) {
            return Ok(plan);
        }
        let from = found.map(|it| it.kind.describe().to_owned());
        let to = Some(format!("a copy of {}", self.source.display()));
        plan.push(Change { what: "file".to_owned(), from, to, diff: None });
        Ok(plan)
    }

    fn apply(&self, _: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let to = self.target(host)?;
        let entries = self.entries(host, &to)?;
        let Some(top) = entries.first() else { return Ok(Applied::default()) };
        let how = self.how(host, &top.stat)?;
        let folders = Attributes { mode: folder_mode(self.dir_mode, self.owner.mode), ..how };
        make_parents(host, &to, self.makedirs, folders)?;
        let found = stat(host, &to, Links::Keep)?;
        if found.is_some_and(|it| it.kind != FileKind::File || top.stat.kind != FileKind::File) {
            host.remove(&to).map_err(Error::host("remove", to.display()))?;
        }
        for (at, entry) in entries.iter().enumerate() {
            let how = if at == 0 || self.preserve {
                self.how(host, &entry.stat)?
            } else {
                Attributes { mode: Some(entry.stat.mode), ..how }
            };
            place(host, entry, how)?;
        }
        Ok(Applied::default())
    }
}

#[derive(Debug)]
struct Rename {
    path: PathBuf,
    source: PathBuf,
    force: bool,
    makedirs: bool,
}

fn rename(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("file.rename", RENAME_PARAMS, params)?;
    let (path, source) = paths(&args)?;
    let (force, makedirs) = (args.bool("force", false), args.bool("makedirs", false));
    Ok(Box::new(Rename { path, source, force, makedirs }))
}

impl Resource for Rename {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let Some(source) = stat(host, &self.source, Links::Keep)? else { return Ok(plan) };
        let found = stat(host, &self.path, Links::Keep)?;
        if found.is_none() || self.force {
            plan.push(kind_change("file", found.map(|it| it.kind), source.kind));
        }
        Ok(plan)
    }
    fn apply(&self, _: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        make_parents(host, &self.path, self.makedirs, Attributes::default())?;
        let is_folder = |it: Option<Stat>| it.is_some_and(|it| it.kind == FileKind::Directory);
        if is_folder(stat(host, &self.path, Links::Keep)?)
            || is_folder(stat(host, &self.source, Links::Keep)?)
        {
            host.remove(&self.path).map_err(Error::host("remove", self.path.display()))?;
        }
        host.rename(&self.source, &self.path).map_err(Error::host("rename", self.source.display()))?;
        Ok(Applied::default())
    }
}
