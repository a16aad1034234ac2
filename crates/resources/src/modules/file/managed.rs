//! `file.managed`: a file with given contents, permissions and owner.

use super::owner::{DIR_MODE, GROUP, MAKEDIRS, Owner, USER, kind_change, make_parents, stat};
use crate::{
    Applied, Error, Function, Host, Param, ParamType, ParamsError, Probe, Resource,
    args::{Args, invalid, not_compiled},
    diff::{DIFF_INPUT_BYTES_MAX, contents_change, large_change, short_contents},
    host::{Attributes, Contents, FileKind, Links, Stat},
};
use model::{ContentHash, Plan};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// Where old versions of files go with `backup: true`, one for each path.
const BACKUP_FOLDER: &str = "/var/backups/labctl";

pub(super) const FUNCTION: Function = Function {
    name: "managed",
    doc: "A file exists, with these contents, permissions and owner. What is not given stays as it is. \
          With `check_cmd` the new contents are judged first: the command gets the path of a draft as its last \
          argument, and the file is left alone if it fails.",
    params: PARAMS,
    examples: &[
        "/etc/motd:\n  file.managed:\n    - contents: |\n        Welcome.\n    - mode: '0644'\n",
        "/etc/nginx/conf.d/site.conf:\n  file.managed:\n    - source: lab://web/files/site.conf.hbs\n    - template: \
         handlebars\n    - user: root\n    - group: root\n    - mode: '0644'\n    - makedirs: true\n    - backup: true\n",
    ],
    parse,
};

const PARAMS: &[Param] = &[
    Param { name: "name", kind: ParamType::Path, required: false, default: "", doc: "The file's path." },
    Param {
        name: "source",
        kind: ParamType::Source,
        required: false,
        default: "",
        doc: "A file in the tree that gives the contents, or a list of which the first that exists counts.",
    },
    Param {
        name: "source_hash",
        kind: ParamType::Text,
        required: false,
        default: "",
        doc: "Accepted from Salt trees and without effect: sources are files of the tree, which are always verified.",
    },
    Param {
        name: "contents",
        kind: ParamType::Any,
        required: false,
        default: "",
        doc: "The contents as text, or as a list of lines.",
    },
    Param {
        name: "contents_pillar",
        kind: ParamType::Text,
        required: false,
        default: "",
        doc: "The pillar key that has the contents.",
    },
    Param {
        name: "contents_newline",
        kind: ParamType::Bool,
        required: false,
        default: "true",
        doc: "Ends `contents` with a newline if they have none.",
    },
    Param {
        name: "template",
        kind: ParamType::Text,
        required: false,
        default: "none",
        doc: "The engine that renders the source or the contents: `handlebars`.",
    },
    Param {
        name: "context",
        kind: ParamType::Any,
        required: false,
        default: "",
        doc: "Values for the template.",
    },
    Param {
        name: "defaults",
        kind: ParamType::Any,
        required: false,
        default: "",
        doc: "Values for the template where `context` has none.",
    },
    Param {
        name: "mode",
        kind: ParamType::Mode,
        required: false,
        default: "as it is; 0644 for a new one",
        doc: "Permissions, or `keep` for those of the source.",
    },
    USER,
    GROUP,
    MAKEDIRS,
    DIR_MODE,
    Param {
        name: "replace",
        kind: ParamType::Bool,
        required: false,
        default: "true",
        doc: "Replaces the contents of a file that exists; with false only permissions and owner are kept.",
    },
    Param {
        name: "create",
        kind: ParamType::Bool,
        required: false,
        default: "true",
        doc: "Makes the file if it does not exist.",
    },
    Param {
        name: "backup",
        kind: ParamType::Text,
        required: false,
        default: "none",
        doc: "Keeps the version before: `true` under /var/backups/labctl, or a suffix such as `.bak` beside the file.",
    },
    Param {
        name: "follow_symlinks",
        kind: ParamType::Bool,
        required: false,
        default: "true",
        doc: "If the path is a symbolic link, its target is meant; with false the link is replaced by a file.",
    },
    Param {
        name: "show_changes",
        kind: ParamType::Bool,
        required: false,
        default: "true",
        doc: "Shows a diff of the contents.",
    },
];

#[derive(Debug)]
pub(super) enum Wanted {
    /// Whatever it is.
    Anything,
    Bytes(Vec<u8>),
    Blob(ContentHash),
    /// A source that the compiler has not replaced.
    Source,
}

#[derive(Debug)]
pub(super) enum Backup {
    None,
    Folder,
    Suffix(String),
}

#[expect(clippy::struct_excessive_bools, reason = "these are the parameters that people write")]
#[derive(Debug)]
pub(super) struct Managed {
    pub(super) path: PathBuf,
    pub(super) wanted: Wanted,
    pub(super) owner: Owner,
    pub(super) makedirs: bool,
    pub(super) dir_mode: Option<u32>,
    pub(super) replace: bool,
    pub(super) create: bool,
    pub(super) backup: Backup,
    pub(super) links: Links,
    pub(super) show: bool,
}

fn parse(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("file.managed", PARAMS, params)?;
    let mode = match args.mode("mode") {
        None if args.text("mode").is_some() => args.mode("source_mode"),
        mode => mode,
    };
    let backup = match args.text("backup").as_deref() {
        None | Some("" | "false" | "no" | "none") => Backup::None,
        Some("true" | "yes" | "minion" | "both") => Backup::Folder,
        Some(suffix) if suffix.starts_with('.') && suffix.len() > 1 && !suffix.contains('/') => {
            Backup::Suffix(suffix.to_owned())
        }
        Some(_) => return Err(invalid("backup", "`backup` must be true, false, or a suffix such as `.bak`")),
    };
    Ok(Box::new(Managed {
        path: args.path("name").unwrap_or_default(),
        wanted: wanted(&args, params)?,
        owner: Owner::parse(&args, mode)?,
        makedirs: args.bool("makedirs", false),
        dir_mode: args.mode("dir_mode"),
        replace: args.bool("replace", true),
        create: args.bool("create", true),
        backup,
        links: if args.bool("follow_symlinks", true) { Links::Follow } else { Links::Keep },
        show: args.bool("show_changes", true),
    }))
}

fn wanted(args: &Args<'_>, params: &Map<String, Value>) -> Result<Wanted, ParamsError> {
    let given = ["source", "contents", "contents_pillar", "content_hash"];
    let given: Vec<&str> = given.into_iter().filter(|it| args.has(it)).collect();
    if let [first, second, ..] = given[..] {
        return Err(invalid(second, format!("give `{first}` or `{second}`, not both")));
    }
    if let Some(hash) = args.hash("content_hash")? {
        return Ok(Wanted::Blob(hash));
    }
    if args.has("source") || args.has("contents_pillar") || (args.has("contents") && args.has("template")) {
        return Ok(Wanted::Source);
    }
    let Some(contents) = params.get("contents").filter(|it| !it.is_null()) else {
        return Ok(Wanted::Anything);
    };
    let mut text = match contents {
        Value::Array(_) => args.list("contents").map(|lines| lines.join("\n")),
        _ => args.text("contents"),
    }
    .ok_or_else(|| ParamsError::WrongType {
        param: "contents".to_owned(),
        wanted: "text or a list of lines".to_owned(),
    })?;
    if args.bool("contents_newline", true) && !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(Wanted::Bytes(text.into_bytes()))
}

impl Managed {
    fn what(&self, host: &dyn Probe) -> Result<Option<Stat>, Error> {
        let found = stat(host, &self.path, self.links)?;
        match found {
            Some(it) if matches!(it.kind, FileKind::Directory | FileKind::Other) => {
                let text = format!("`{}` is {}, not a file", self.path.display(), it.kind.describe());
                Err(Error::Refused(text))
            }
            _ => Ok(found),
        }
    }

    fn contents(&self) -> Result<Option<Contents<'_>>, Error> {
        match &self.wanted {
            Wanted::Anything => Ok(None),
            Wanted::Bytes(bytes) => Ok(Some(Contents::Bytes(bytes))),
            Wanted::Blob(hash) => Ok(Some(Contents::Blob(*hash))),
            Wanted::Source => Err(not_compiled("source")),
        }
    }

    /// Notes whether the contents differ. A symbolic link that is to be replaced counts as nothing.
    fn compare(&self, host: &dyn Probe, old: Option<&Stat>, plan: &mut Plan) -> Result<(), Error> {
        let old = old.filter(|it| it.kind == FileKind::File);
        if old.is_some() && !self.replace {
            return Ok(());
        }
        match self.contents()? {
            Some(Contents::Bytes(bytes)) => self.compare_bytes(host, old, bytes, plan),
            Some(Contents::Blob(hash)) => self.compare_blob(host, old, hash, plan),
            Some(Contents::File(_)) | None => {
                if old.is_none() {
                    plan.push(kind_change("file", None, FileKind::File));
                }
                Ok(())
            }
        }
    }

    fn compare_bytes(
        &self,
        host: &dyn Probe,
        old: Option<&Stat>,
        bytes: &[u8],
        plan: &mut Plan,
    ) -> Result<(), Error> {
        let same_size = old.is_some_and(|it| it.size == bytes.len() as u64);
        let before = match old {
            Some(it) if same_size || it.size <= DIFF_INPUT_BYTES_MAX => Some(self.read(host)?),
            _ => None,
        };
        if before.as_deref() != Some(bytes) {
            self.note(old, before.as_deref(), bytes, plan);
        }
        Ok(())
    }

    fn compare_blob(
        &self,
        host: &dyn Probe,
        old: Option<&Stat>,
        hash: ContentHash,
        plan: &mut Plan,
    ) -> Result<(), Error> {
        let size = host.blob_size(hash).map_err(Error::host("find content", hash))?;
        if let Some(old) = old.filter(|it| it.size == size) {
            let now = host.hash(&self.path).map_err(Error::host("read", self.path.display()))?;
            if now == hash && old.size == size {
                return Ok(());
            }
        }
        let before = short_contents(host, &self.path).map_err(Error::host("read", self.path.display()))?;
        if size > DIFF_INPUT_BYTES_MAX || (old.is_some() && before.is_none()) {
            plan.push(large_change("contents", old.map(|it| it.size), size, hash));
            return Ok(());
        }
        let after = host.blob(hash).map_err(Error::host("read content", hash))?;
        self.note(old, before.as_deref().filter(|_| old.is_some()), &after, plan);
        Ok(())
    }

    fn note(&self, old: Option<&Stat>, before: Option<&[u8]>, after: &[u8], plan: &mut Plan) {
        let mut change = contents_change("contents", before, after);
        if change.from.is_none() {
            change.from = old.map(|it| format!("{} bytes", it.size));
        }
        if !self.show {
            change.diff = None;
        }
        plan.push(change);
    }

    fn read(&self, host: &dyn Probe) -> Result<Vec<u8>, Error> {
        host.read(&self.path).map_err(Error::host("read", self.path.display()))
    }

    fn keep_backup(&self, host: &mut dyn Host) -> Result<Option<PathBuf>, Error> {
        let place = match &self.backup {
            Backup::None => return Ok(None),
            Backup::Suffix(suffix) => PathBuf::from(format!("{}{suffix}", self.path.display())),
            Backup::Folder => {
                Path::new(BACKUP_FOLDER).join(self.path.strip_prefix("/").unwrap_or(&self.path))
            }
        };
        let Some(old) = self.what(host)?.filter(|it| it.kind == FileKind::File) else { return Ok(None) };
        let bytes = self.read(host)?;
        let how = Attributes { mode: Some(0o700), ..Attributes::default() };
        make_parents(host, &place, true, how)?;
        let how = Attributes { mode: Some(old.mode), uid: Some(old.uid), gid: Some(old.gid) };
        host.write(&place, Contents::Bytes(&bytes), how, Links::Keep)
            .map_err(Error::host("write", place.display()))?;
        Ok(Some(place))
    }
}

impl Resource for Managed {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let found = self.what(host)?;
        if found.is_none() && !self.create {
            return Ok(plan);
        }
        let kept = found.filter(|it| it.kind == FileKind::File);
        if let (Some(link), None) = (found, kept) {
            plan.push(kind_change("file", Some(link.kind), FileKind::File));
        }
        self.compare(host, kept.as_ref(), &mut plan)?;
        self.owner.compare(host, kept.as_ref(), "", &mut plan)?;
        Ok(plan)
    }

    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let how = self.owner.resolve(host)?;
        let mut applied = Applied::default();
        if plan.touches("contents") || plan.touches("file") {
            let folders = Attributes { mode: self.dir_mode, ..how };
            make_parents(host, &self.path, self.makedirs, folders)?;
            if let Some(place) = self.keep_backup(host)? {
                applied.comment = format!("the version before is {}", place.display());
            }
            let contents = self.contents()?.unwrap_or(Contents::Bytes(b""));
            host.write(&self.path, contents, how, self.links)
                .map_err(Error::host("write", self.path.display()))?;
        } else {
            host.set(&self.path, how, self.links).map_err(Error::host("alter", self.path.display()))?;
        }
        Ok(applied)
    }

    fn candidate(&self, plan: &Plan) -> Option<(&Path, Contents<'_>)> {
        let contents = self.contents().ok().flatten().filter(|_| plan.touches("contents"))?;
        Some((&self.path, contents))
    }
}
