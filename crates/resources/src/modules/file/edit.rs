//! What functions that alter parts of a file have in common: the file is read, a rule says what its text has to be, and
//! it is replaced by that in one step.

use super::owner::{Owner, make_parents, stat};
use crate::{
    Applied, Error, Host, Param, ParamType, Probe, Resource,
    args::{Args, not_compiled},
    diff::contents_change,
    host::{Attributes, Contents, FileKind, Links, Stat},
    text::{decode, encode, is_text, python_texts},
};
use model::{ContentHash, Plan};
use std::{fmt, path::PathBuf};

pub(super) const NAME: Param = Param::of("name", ParamType::Path, "", "The file's path.");
pub(super) const BACKUP: Param = Param::of(
    "backup",
    ParamType::Text,
    ".bak",
    "The version before is kept beside the file under its name with this suffix; `false` keeps none.",
);
pub(super) const SHOW_CHANGES: Param =
    Param::of("show_changes", ParamType::Bool, "true", "Shows a diff of the contents.");
pub(super) const SOURCE: Param =
    Param::of("source", ParamType::Source, "", "A file in the tree that gives the text.");
pub(super) const SOURCES: Param = Param::of(
    "sources",
    ParamType::TextList,
    "",
    "Several files in the tree that give the text, one after the other.",
);
pub(super) const SOURCE_HASH: Param = Param::of(
    "source_hash",
    ParamType::Text,
    "",
    "Accepted from Salt trees and without effect: files of the tree are always verified.",
);
pub(super) const SOURCE_HASHES: Param =
    Param { name: "source_hashes", kind: ParamType::TextList, ..SOURCE_HASH };
pub(super) const TEMPLATE: Param = Param::of(
    "template",
    ParamType::Text,
    "none; `jinja` in a tree from Salt",
    "The engine that renders the source: `jinja` or `handlebars`.",
);
pub(super) const CONTEXT: Param = Param::of("context", ParamType::Any, "", "Values for the template.");
pub(super) const DEFAULTS: Param =
    Param::of("defaults", ParamType::Any, "", "Values for the template where `context` has none.");

/// What a file's text has to be.
pub(super) trait Rule: fmt::Debug {
    /// From what it is; `texts` are those of the sources.
    fn edit(&self, text: &str, texts: &[String]) -> Result<String, String>;
    /// Whether the rule leaves alone what it has made.
    fn settles(&self) -> bool {
        true
    }
}

/// What to do where there is no file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Missing {
    /// It is a failure.
    Fail,
    /// It is fine.
    Ignore,
    /// An empty one is taken.
    Create { makedirs: bool },
}

/// A part of a file.
#[derive(Debug)]
pub(super) struct Editing {
    pub(super) path: PathBuf,
    pub(super) rule: Box<dyn Rule>,
    pub(super) missing: Missing,
    pub(super) backup: Option<String>,
    pub(super) show: bool,
    pub(super) owner: Owner,
    pub(super) sources: Sources,
}

impl Editing {
    pub(super) fn new(args: &Args<'_>, rule: impl Rule + 'static) -> Self {
        Self {
            path: args.path("name").unwrap_or_default(),
            rule: Box::new(rule),
            missing: Missing::Fail,
            backup: None,
            show: args.bool("show_changes", true),
            owner: Owner::default(),
            sources: Sources::None,
        }
    }

    /// The text now; `None` if there is no file.
    fn read(&self, host: &dyn Probe) -> Result<Option<(Stat, Vec<u8>)>, Error> {
        let path = self.path.display().to_string();
        match stat(host, &self.path, Links::Follow)? {
            None => Ok(None),
            Some(it) if it.kind == FileKind::File => {
                let bytes = host.read(&self.path).map_err(Error::host("read", &path))?;
                if !is_text(&bytes) {
                    return Err(Error::Refused(format!("`{path}` is no text file")));
                }
                Ok(Some((it, bytes)))
            }
            Some(it) => Err(Error::Refused(format!("`{path}` is {}, not a file", it.kind.describe()))),
        }
    }

    /// What it is and what it has to be; `None` if nothing is to be done.
    fn wanted(&self, host: &dyn Probe) -> Result<Option<Edit>, Error> {
        let found = self.read(host)?;
        if found.is_none() {
            let path = self.path.display();
            match self.missing {
                Missing::Fail => return Err(Error::Refused(format!("there is no file `{path}`"))),
                Missing::Ignore => return Ok(None),
                Missing::Create { .. } => (),
            }
        }
        let texts = self.sources.texts(host)?;
        let before = found.as_ref().map(|it| decode(&it.1)).unwrap_or_default();
        let after = self.rule.edit(&before, &texts);
        let after = after.map_err(|why| Error::Refused(format!("`{}`: {why}", self.path.display())))?;
        let (stat, bytes) = found.unzip();
        Ok(Some(Edit { stat, before: bytes, after: encode(&after) }))
    }

    fn keep_backup(&self, host: &mut dyn Host, edit: &Edit) -> Result<(), Error> {
        let (Some(suffix), Some(stat), Some(before)) = (&self.backup, edit.stat, &edit.before) else {
            return Ok(());
        };
        let place = PathBuf::from(format!("{}{suffix}", self.path.display()));
        let how = Attributes { mode: Some(stat.mode), uid: Some(stat.uid), gid: Some(stat.gid) };
        host.write(&place, Contents::Bytes(before), how, Links::Keep)
            .map_err(Error::host("write", place.display()))
    }
}

struct Edit {
    stat: Option<Stat>,
    before: Option<Vec<u8>>,
    after: Vec<u8>,
}

impl Edit {
    fn changes(&self) -> bool {
        self.before.as_ref() != Some(&self.after)
    }
}

impl Resource for Editing {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let Some(edit) = self.wanted(host)? else { return Ok(plan) };
        if edit.changes() {
            let mut change = contents_change("contents", edit.before.as_deref(), &edit.after);
            if !self.show {
                change.diff = None;
            }
            plan.push(change);
        }
        self.owner.compare(host, edit.stat.as_ref(), "", &mut plan)?;
        Ok(plan)
    }

    fn apply(&self, _: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let how = self.owner.resolve(host)?;
        let Some(edit) = self.wanted(host)? else { return Ok(Applied::default()) };
        if edit.changes() {
            if let Missing::Create { makedirs } = self.missing {
                make_parents(host, &self.path, makedirs, Attributes { mode: None, ..how })?;
            }
            self.keep_backup(host, &edit)?;
            host.write(&self.path, Contents::Bytes(&edit.after), how, Links::Follow)
                .map_err(Error::host("write", self.path.display()))?;
            let now = host.read(&self.path).map_err(Error::host("read", self.path.display()))?;
            if now != edit.after {
                let text = format!("`{}` is not what was written to it", self.path.display());
                return Err(Error::Refused(text));
            }
        } else if how != Attributes::default() {
            host.set(&self.path, how, Links::Follow).map_err(Error::host("alter", self.path.display()))?;
        }
        Ok(Applied::default())
    }

    fn converges(&self) -> bool {
        self.rule.settles()
    }
}

/// Files of the tree that give text.
#[derive(Debug)]
pub(super) enum Sources {
    None,
    Blobs(Vec<ContentHash>),
    /// The compiler has not replaced them.
    Open,
}

impl Sources {
    pub(super) fn parse(args: &Args<'_>) -> Result<Self, crate::ParamsError> {
        if let Some(hash) = args.hash("content_hash")? {
            return Ok(Self::Blobs(vec![hash]));
        }
        if let Some(texts) = args.list("content_hashes") {
            let hash = |it: &String| {
                it.parse()
                    .map_err(|error: model::InvalidId| crate::args::invalid("sources", error.to_string()))
            };
            return Ok(Self::Blobs(texts.iter().map(hash).collect::<Result<_, _>>()?));
        }
        Ok(if args.has("source") || args.has("sources") { Self::Open } else { Self::None })
    }
    pub(super) fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
    fn texts(&self, host: &dyn Probe) -> Result<Vec<String>, Error> {
        match self {
            Self::None => Ok(Vec::new()),
            Self::Open => Err(not_compiled("source")),
            Self::Blobs(hashes) => hashes
                .iter()
                .map(|it| Ok(decode(&host.blob(*it).map_err(Error::host("read content", it))?)))
                .collect(),
        }
    }
}

/// `backup` of a function whose default is `.bak`.
pub(super) fn suffix(args: &Args<'_>) -> Result<Option<String>, crate::ParamsError> {
    match args.text("backup").as_deref() {
        None | Some("true" | "True") => Ok(Some(".bak".to_owned())),
        Some("" | "false" | "False" | "no" | "none") => Ok(None),
        Some(suffix) if !suffix.contains(['/', '\0']) => Ok(Some(suffix.to_owned())),
        Some(_) => Err(crate::args::invalid("backup", "`backup` must be false or a suffix such as `.bak`")),
    }
}

/// Text as Python prints it, or a list of it.
pub(super) fn texts(args: &Args<'_>, name: &str) -> Result<Option<Vec<String>>, crate::ParamsError> {
    let Some(value) = args.value(name) else { return Ok(None) };
    let wrong = || crate::ParamsError::WrongType {
        param: name.to_owned(),
        wanted: "text or a list of text".to_owned(),
    };
    python_texts(value).map(Some).ok_or_else(wrong)
}
