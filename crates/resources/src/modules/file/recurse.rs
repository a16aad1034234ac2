//! `file.recurse`: a folder of the tree, with everything in it.

use super::{
    directory::{Clean, Directory, cut, removal, unmanaged},
    managed::{Backup, Managed, Wanted},
    owner::{DIR_MODE, GROUP, MAKEDIRS, Owner, USER, make_parents, stat},
};
use crate::{
    Applied, Doc, Error, Examples, Function, Host, Param, ParamType, ParamsError, Probe, Resource,
    args::{Args, invalid, not_compiled, plain_path},
    host::{Attributes, FileKind, Links},
};
use model::Plan;
use serde_json::{Map, Value};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

pub(super) const FUNCTION: Function = Function {
    name: "recurse",
    doc: Doc::new(
        "A folder holds the same files as a folder of the tree. Files that are only here stay, unless `clean` is set.",
    ),
    params: PARAMS,
    examples: Examples::new(&[
        "/srv/www:\n  file.recurse:\n    - source: lab://web/files/www\n    - user: www-data\n    - file_mode: '0644'\n    \
         - dir_mode: '0755'\n    - clean: true\n",
    ]),
    parse,
};

const PARAMS: &[Param] = &[
    Param::of("name", ParamType::Path, "", "The folder's path."),
    Param::of("source", ParamType::Source, "", "A folder in the tree."),
    Param::of("template", ParamType::Text, "none", "The engine that renders each file: `handlebars`."),
    Param::of("context", ParamType::Any, "", "Values for the templates."),
    Param::of("defaults", ParamType::Any, "", "Values for the templates where `context` has none."),
    Param::of(
        "file_mode",
        ParamType::Mode,
        "as they are; 0644 for new ones",
        "Permissions of the files, or `keep` for those of the sources.",
    ),
    DIR_MODE,
    USER,
    GROUP,
    MAKEDIRS,
    Param::of(
        "clean",
        ParamType::Bool,
        "false",
        "Removes what is neither in the source nor managed by another step of the run.",
    ),
    Param::of(
        "include_pat",
        ParamType::TextList,
        "everything",
        "Only these are copied: globs over the path inside the folder, or patterns behind `E@`.",
    ),
    Param::of("exclude_pat", ParamType::TextList, "nothing", "These are neither copied nor cleaned away."),
    Param::of(
        "maxdepth",
        ParamType::Integer,
        "everything",
        "How deep it goes: 0 is what is right in the folder.",
    ),
    Param::of("replace", ParamType::Bool, "true", "Replaces the contents of files that exist."),
    Param::of(
        "backup",
        ParamType::Text,
        "none",
        "Keeps the versions before under /var/backups/labctl: `minion`.",
    ),
    Param::of(
        "merge",
        ParamType::Bool,
        "false",
        "With several sources: all of them, the first has precedence; else only the first that exists.",
    ),
    Param::of(
        "include_empty",
        ParamType::Bool,
        "true",
        "Accepted from Salt trees: folders of the source are always made.",
    ),
];

#[derive(Debug)]
struct Recurse {
    path: PathBuf,
    compiled: bool,
    folders: Vec<Directory>,
    files: Vec<Managed>,
    clean: Option<Clean>,
    makedirs: bool,
    owner: Owner,
}

fn parse(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("file.recurse", PARAMS, params)?;
    let path = args.path("name").unwrap_or_default();
    let owner = Owner::parse(&args, args.mode("dir_mode"))?;
    let rows = args.rows("entries")?;
    if rows.is_none() && !args.has("source") {
        return Err(ParamsError::Missing { kind: "file.recurse".to_owned(), param: "source".to_owned() });
    }
    let mut folders: BTreeSet<PathBuf> = BTreeSet::from([path.clone()]);
    for folder in args.list("dirs").unwrap_or_default() {
        add_parents(&mut folders, &path, &inside(&path, &folder, "dirs")?);
    }
    let mut files = Vec::new();
    for row in rows.as_deref().unwrap_or_default() {
        let file = entry(&args, row, &path, &owner)?;
        if let Some(parent) = file.path.parent() {
            add_parents(&mut folders, &path, parent);
        }
        files.push(file);
    }
    let mut clean = args.bool("clean", false).then(|| Clean::parse(&args)).transpose()?;
    if let Some(clean) = &mut clean {
        clean.keep.extend(files.iter().map(|it: &Managed| it.path.clone()));
    }
    let folders = folders.into_iter().map(|it| Directory::plain(it, owner.clone())).collect();
    let makedirs = args.bool("makedirs", false);
    Ok(Box::new(Recurse { path, compiled: rows.is_some(), folders, files, clean, makedirs, owner }))
}

/// One row of `entries`: `path` relative to the folder, `content_hash`, `mode` of the source.
fn entry(
    args: &Args<'_>,
    row: &Map<String, Value>,
    folder: &Path,
    owner: &Owner,
) -> Result<Managed, ParamsError> {
    const ROW: &[Param] =
        &[Param::of("path", ParamType::Text, "", "").required(), Param::of("mode", ParamType::Mode, "", "")];
    let row = Args::new("file.recurse entries", ROW, row)?;
    let hash = row.hash("content_hash")?.ok_or_else(|| ParamsError::Missing {
        kind: "file.recurse entries".to_owned(),
        param: "content_hash".to_owned(),
    })?;
    let keep = args.text("file_mode").as_deref() == Some("keep");
    let mode = if keep { row.mode("mode") } else { args.mode("file_mode") };
    Ok(Managed {
        path: inside(folder, &row.text("path").unwrap_or_default(), "entries")?,
        wanted: Wanted::Blob(hash),
        owner: Owner { mode, ..owner.clone() },
        makedirs: true,
        dir_mode: owner.mode,
        replace: args.bool("replace", true),
        create: true,
        backup: match args.text("backup").as_deref() {
            None | Some("" | "false" | "no" | "none") => Backup::None,
            Some(_) => Backup::Folder,
        },
        links: Links::Keep,
        show: true,
        attrs: None,
        draft: (None, String::new()),
    })
}

/// A relative path that stays inside.
fn inside(folder: &Path, path: &str, param: &str) -> Result<PathBuf, ParamsError> {
    let good = !path.is_empty()
        && !path.contains('\0')
        && Path::new(path).components().all(|it| matches!(it, std::path::Component::Normal(_)));
    if good {
        Ok(plain_path(&folder.join(path).to_string_lossy()))
    } else {
        Err(invalid(param, format!("`{path}` is no path inside the folder")))
    }
}

fn add_parents(folders: &mut BTreeSet<PathBuf>, top: &Path, folder: &Path) {
    folders.extend(folder.ancestors().take_while(|it| it.starts_with(top)).map(Path::to_owned));
}

impl Recurse {
    fn extra(&self, host: &dyn Probe) -> Result<Vec<PathBuf>, Error> {
        let Some(clean) = &self.clean else { return Ok(Vec::new()) };
        let found = stat(host, &self.path, Links::Follow)?;
        if found.is_none_or(|it| it.kind != FileKind::Directory) {
            return Ok(Vec::new());
        }
        let ours: BTreeSet<&PathBuf> = self.folders.iter().map(|it| &it.path).collect();
        Ok(unmanaged(host, &self.path, clean)?.into_iter().filter(|it| !ours.contains(it)).collect())
    }

    fn parts(&self) -> impl Iterator<Item = (&Path, &dyn Resource)> {
        let folders = self.folders.iter().map(|it| (it.path.as_path(), it as &dyn Resource));
        folders.chain(self.files.iter().map(|it| (it.path.as_path(), it as &dyn Resource)))
    }
}

impl Resource for Recurse {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        if !self.compiled {
            return Err(not_compiled("source"));
        }
        let mut plan = Plan::default();
        for (path, part) in self.parts() {
            for mut change in part.check(host)?.changes {
                change.what = format!("{}: {}", path.display(), change.what);
                plan.push(change);
            }
        }
        for path in self.extra(host)? {
            plan.push(removal(&path));
        }
        cut(&mut plan);
        Ok(plan)
    }

    fn apply(&self, _: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let how = Attributes { mode: self.owner.mode, ..self.owner.resolve(host)? };
        make_parents(host, &self.path, self.makedirs, how)?;
        for (_, part) in self.parts() {
            let plan = part.check(host)?;
            if !plan.is_empty() {
                part.apply(&plan, host)?;
            }
        }
        for path in self.extra(host)? {
            host.remove(&path).map_err(Error::host("remove", path.display()))?;
        }
        Ok(Applied::default())
    }
}
