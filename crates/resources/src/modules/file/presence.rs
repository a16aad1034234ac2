//! `file.exists`, `file.missing` and `file.touch`: whether something is at a path, and when it was used last.

use super::owner::{MAKEDIRS, make_parents, stat};
use crate::{
    Applied, Doc, Error, Examples, Function, Host, Param, ParamType, ParamsError, Probe, Resource,
    args::Args,
    host::{Attributes, Contents, FileKind, Links},
};
use model::{Change, Plan};
use serde_json::{Map, Value};
use std::path::PathBuf;

pub(super) const EXISTS: Function = Function {
    name: "exists",
    doc: Doc::new(
        "Something is at this path, links followed; that nothing is there is a failure. Alters nothing.",
    ),
    params: PATH,
    examples: Examples::new(&["/etc/machine-id:\n  file.exists: []\n"]),
    parse: |params| look("file.exists", params, true),
};

pub(super) const MISSING: Function = Function {
    name: "missing",
    doc: Doc::new(
        "Nothing is at this path; that something is there is a failure. Alters nothing: `file.absent` removes.",
    ),
    params: PATH,
    examples: Examples::new(&["/run/nologin:\n  file.missing: []\n"]),
    parse: |params| look("file.missing", params, false),
};

pub(super) const TOUCH: Function = Function {
    name: "touch",
    doc: Doc::new(
        "A file is made if it does not exist. When it was last read and written is set: to the times that are given, \
          else to now, in each run.",
    ),
    params: TOUCH_PARAMS,
    examples: Examples::new(&["/var/lib/app/ready:\n  file.touch:\n    - makedirs: true\n"]),
    parse: touch,
};

const NAME: Param = Param::of("name", ParamType::Path, "", "The path.");
const PATH: &[Param] = &[NAME];
const TOUCH_PARAMS: &[Param] = &[
    NAME,
    Param::of("atime", ParamType::Integer, "now", "When it was last read, in seconds since 1970."),
    Param::of("mtime", ParamType::Integer, "now", "When it was last written, in seconds since 1970."),
    MAKEDIRS,
];

#[derive(Debug)]
struct Look {
    path: PathBuf,
    there: bool,
}

fn look(kind: &str, params: &Map<String, Value>, there: bool) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new(kind, PATH, params)?;
    Ok(Box::new(Look { path: args.path("name").unwrap_or_default(), there }))
}

impl Resource for Look {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let found = stat(host, &self.path, Links::Follow)?;
        let path = self.path.display();
        match (found, self.there) {
            (Some(_), true) | (None, false) => Ok(Plan::default()),
            (None, true) => Err(Error::Refused(format!("nothing is at `{path}`"))),
            (Some(it), false) => Err(Error::Refused(format!("`{path}` is {}", it.kind.describe()))),
        }
    }
    fn apply(&self, _: &Plan, _: &mut dyn Host) -> Result<Applied, Error> {
        Ok(Applied::default())
    }
}

#[derive(Debug)]
struct Touch {
    path: PathBuf,
    accessed: Option<i64>,
    modified: Option<i64>,
    makedirs: bool,
}

fn touch(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("file.touch", TOUCH_PARAMS, params)?;
    Ok(Box::new(Touch {
        path: args.path("name").unwrap_or_default(),
        accessed: args.number("atime"),
        modified: args.number("mtime"),
        makedirs: args.bool("makedirs", false),
    }))
}

impl Resource for Touch {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let found = stat(host, &self.path, Links::Follow)?;
        if let Some(it) = found.filter(|it| it.kind == FileKind::Other) {
            return Err(Error::Refused(format!("`{}` is {}", self.path.display(), it.kind.describe())));
        }
        if found.is_none() {
            plan.push(super::owner::kind_change("file", None, FileKind::File));
        }
        for (what, now, wanted) in [
            ("atime", found.map(|it| it.accessed_s), self.accessed),
            ("mtime", found.map(|it| it.modified_s), self.modified),
        ] {
            if wanted.is_none() || now != wanted {
                let to = Some(wanted.map_or_else(|| "now".to_owned(), |it| it.to_string()));
                plan.push(Change {
                    what: what.to_owned(),
                    from: now.map(|it| it.to_string()),
                    to,
                    diff: None,
                });
            }
        }
        Ok(plan)
    }
    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let path = self.path.display().to_string();
        if plan.touches("file") {
            make_parents(host, &self.path, self.makedirs, Attributes::default())?;
            host.write(&self.path, Contents::Bytes(b""), Attributes::default(), Links::Follow)
                .map_err(Error::host("write", &path))?;
        }
        host.set_times(&self.path, self.accessed, self.modified).map_err(Error::host("alter", &path))?;
        Ok(Applied::default())
    }
    fn converges(&self) -> bool {
        self.accessed.is_some() && self.modified.is_some()
    }
}
