//! `file.managed`: a file with given contents, permissions and owner.

mod params;

use super::owner::{Owner, folder_mode, kind_change, make_parents, stat};
use crate::{
    Applied, Doc, Error, Examples, Function, Host, ParamsError, Probe, Resource,
    args::{Args, invalid, not_compiled, plain_path},
    diff::{DIFF_INPUT_BYTES_MAX, contents_change, large_change, short_contents},
    host::{
        Action, Attributes, Command, Contents, FileKind, Links, Query, Stat,
        query::{chattr, digest::beneath_root},
    },
    remote::Remote,
    text::{contents_of, python_texts},
};
use model::{Change, ContentHash, Plan};
use params::PARAMS;
use serde_json::{Map, Value};
use std::{
    cell::OnceCell,
    path::{Path, PathBuf},
};

/// Where old versions of files go with `backup: true`, one for each path.
const BACKUP_FOLDER: &str = "/var/backups/labctl";

pub(super) const FUNCTION: Function = Function {
    name: "managed",
    doc: Doc::new(
        "A file exists, with these contents, permissions and owner. What is not given stays as it is. \
          With `check_cmd` the new contents are judged first: the command gets the path of a draft as its last \
          argument, and the file is left alone if it fails.",
    ),
    params: PARAMS,
    examples: Examples::new(&[
        "/etc/motd:\n  file.managed:\n    - contents: |\n        Welcome.\n    - mode: '0644'\n",
        "/etc/nginx/conf.d/site.conf:\n  file.managed:\n    - source: lab://web/files/site.conf.hbs\n    - template: \
         handlebars\n    - user: root\n    - group: root\n    - mode: '0644'\n    - makedirs: true\n    - backup: true\n",
    ]),
    parse,
};

#[derive(Debug)]
pub(super) enum Wanted {
    /// Whatever it is.
    Anything,
    Bytes(Vec<u8>),
    Blob(ContentHash),
    /// Fetched by the minion, or a file that it has; the file, once it is there.
    Remote(Remote, OnceCell<PathBuf>),
    /// A source that the compiler has not replaced.
    Source,
}

#[derive(Clone, Debug)]
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
    pub(super) attrs: Option<String>,
    pub(super) draft: (Option<PathBuf>, String),
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
        wanted: wanted(&args)?,
        owner: Owner::parse(&args, mode)?,
        makedirs: args.bool("makedirs", false),
        dir_mode: args.mode("dir_mode"),
        replace: args.bool("replace", true),
        create: args.bool("create", true),
        backup,
        links: if args.bool("follow_symlinks", true) { Links::Follow } else { Links::Keep },
        show: args.bool("show_changes", true),
        attrs: attrs(&args)?,
        draft: draft(&args)?,
    }))
}

fn wanted(args: &Args<'_>) -> Result<Wanted, ParamsError> {
    let given = ["source", "contents", "contents_pillar", "contents_grains", "content_hash", "remote"];
    let given: Vec<&str> = given.into_iter().filter(|it| args.has(it)).collect();
    if let [first, second, ..] = given[..] {
        return Err(invalid(second, format!("give `{first}` or `{second}`, not both")));
    }
    if let Some(hash) = args.hash("content_hash")? {
        return Ok(Wanted::Blob(hash));
    }
    if let Some(remote) = Remote::parse(args, &args.path("name").unwrap_or_default())? {
        return Ok(Wanted::Remote(remote, OnceCell::new()));
    }
    let open = ["source", "contents_pillar", "contents_grains"];
    if open.iter().any(|it| args.has(it)) || (args.has("contents") && args.has("template")) {
        return Ok(Wanted::Source);
    }
    let Some(contents) = args.value("contents") else { return Ok(Wanted::Anything) };
    let parts = python_texts(contents).ok_or_else(|| ParamsError::WrongType {
        param: "contents".to_owned(),
        wanted: "text or a list of lines".to_owned(),
    })?;
    if !args.bool("allow_empty", true) && parts.iter().all(String::is_empty) {
        return Err(invalid("contents", "the contents are empty, and `allow_empty` is false"));
    }
    let text = contents_of(&parts, args.bool("contents_newline", true));
    let encoding = args.text("encoding").unwrap_or_default();
    encode(&text, &encoding, &args.text("encoding_errors").unwrap_or_default()).map(Wanted::Bytes)
}

/// Text as bytes of another encoding.
fn encode(text: &str, encoding: &str, errors: &str) -> Result<Vec<u8>, ParamsError> {
    let limit = match encoding.to_ascii_lowercase().replace('_', "-").as_str() {
        "" | "utf-8" | "utf8" => return Ok(text.as_bytes().to_vec()),
        "utf-16" | "utf16" => {
            let units = std::iter::once(0xfeff).chain(text.encode_utf16());
            return Ok(units.flat_map(u16::to_le_bytes).collect());
        }
        "ascii" | "us-ascii" => 0x7f,
        "latin-1" | "latin1" | "iso-8859-1" | "iso8859-1" => 0xff,
        _ => {
            let text = format!("`{encoding}` is not available: `utf-8`, `ascii`, `latin-1` or `utf-16`");
            return Err(invalid("encoding", text));
        }
    };
    let mut bytes = Vec::with_capacity(text.len());
    for sign in text.chars() {
        match (u8::try_from(sign as u32).ok().filter(|it| *it <= limit), errors) {
            (Some(byte), _) => bytes.push(byte),
            (None, "ignore") => (),
            (None, "replace") => bytes.push(b'?'),
            (None, _) => return Err(invalid("encoding", format!("`{encoding}` has no `{sign}`"))),
        }
    }
    Ok(bytes)
}

/// Letters of `chattr`, in order.
fn attrs(args: &Args<'_>) -> Result<Option<String>, ParamsError> {
    let Some(text) = args.text("attrs") else { return Ok(None) };
    if text.is_empty() || !text.chars().all(|it| chattr::LETTERS.contains(it)) {
        return Err(invalid("attrs", format!("`{text}` has letters that are none of {}", chattr::LETTERS)));
    }
    Ok(Some(text))
}

fn draft(args: &Args<'_>) -> Result<(Option<PathBuf>, String), ParamsError> {
    let end = args.text("tmp_ext").unwrap_or_default();
    if end.contains(['/', '\0', '\'']) {
        return Err(invalid("tmp_ext", "`tmp_ext` is the end of a file name, such as `.conf`"));
    }
    Ok((args.text("tmp_dir").filter(|it| !it.is_empty()).map(|it| plain_path(&it)), end))
}

impl Managed {
    /// The same file with other contents.
    pub(super) fn with(&self, wanted: Wanted) -> Self {
        Self {
            path: self.path.clone(),
            wanted,
            owner: self.owner.clone(),
            backup: self.backup.clone(),
            attrs: self.attrs.clone(),
            draft: self.draft.clone(),
            ..*self
        }
    }

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
            Wanted::Remote(_, file) => Ok(file.get().map(|it| Contents::File(it))),
            Wanted::Source => Err(not_compiled("source")),
        }
    }

    /// Notes whether the contents differ. A symbolic link that is to be replaced counts as nothing.
    fn compare(&self, host: &dyn Probe, old: Option<&Stat>, plan: &mut Plan) -> Result<(), Error> {
        let old = old.filter(|it| it.kind == FileKind::File);
        if old.is_some() && !self.replace {
            return Ok(());
        }
        if let Wanted::Remote(remote, _) = &self.wanted {
            if let Some(to) = remote.compare(host, old.map(|_| self.path.as_path()))? {
                let from = old.map(|it| format!("{} bytes", it.size));
                plan.push(Change { what: "contents".to_owned(), from, to: Some(to), diff: None });
            }
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

    /// What of `attrs` is missing.
    fn compare_attrs(&self, host: &dyn Probe, old: Option<&Stat>, plan: &mut Plan) -> Result<(), Error> {
        let Some(attrs) = &self.attrs else { return Ok(()) };
        let mut now = None;
        if old.is_some() {
            let query = Query::Attributes(chattr::Attributes { path: self.path.clone() });
            now = Some(chattr::letters(&crate::tool::answer(host, &query)?));
        }
        if !attrs.chars().all(|it| now.as_ref().is_some_and(|now| now.contains(it))) {
            plan.push(Change { what: "attrs".to_owned(), from: now, to: Some(attrs.clone()), diff: None });
        }
        Ok(())
    }

    fn set_attrs(&self, host: &mut dyn Host) -> Result<(), Error> {
        let Some(attrs) = &self.attrs else { return Ok(()) };
        let argv = vec!["chattr".to_owned(), format!("+{attrs}"), beneath_root(&self.path)];
        let command = Command { argv, timeout_ms: crate::tool::SHORT_MS, ..Command::default() };
        let done = host.perform(&Action::Run(command)).map_err(Error::host("run", "chattr"))?;
        done.success("chattr").map(drop)
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
        self.compare_attrs(host, kept.as_ref(), &mut plan)?;
        Ok(plan)
    }

    fn prepare(&self, plan: &Plan, host: &mut dyn Host) -> Result<(), Error> {
        if let (Wanted::Remote(remote, file), true) = (&self.wanted, plan.touches("contents")) {
            let obtained = remote.obtain(host)?;
            file.get_or_init(|| obtained);
        }
        Ok(())
    }

    fn abandon(&self, host: &mut dyn Host) -> Result<(), Error> {
        match &self.wanted {
            Wanted::Remote(remote, _) => remote.done(host),
            _ => Ok(()),
        }
    }

    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let how = self.owner.resolve(host)?;
        let mut applied = Applied::default();
        if plan.touches("contents") || plan.touches("file") {
            let folders = Attributes { mode: folder_mode(self.dir_mode, self.owner.mode), ..how };
            make_parents(host, &self.path, self.makedirs, folders)?;
            if let Some(place) = self.keep_backup(host)? {
                applied.comment = format!("the version before is {}", place.display());
            }
            let contents = self.contents()?.unwrap_or(Contents::Bytes(b""));
            host.write(&self.path, contents, how, self.links)
                .map_err(Error::host("write", self.path.display()))?;
            if let Wanted::Remote(remote, _) = &self.wanted {
                remote.settle(host, &self.path)?;
            }
        } else {
            host.set(&self.path, how, self.links).map_err(Error::host("alter", self.path.display()))?;
        }
        if plan.touches("attrs") {
            self.set_attrs(host)?;
        }
        Ok(applied)
    }

    fn draft_place(&self) -> (Option<&Path>, &str) {
        (self.draft.0.as_deref(), &self.draft.1)
    }

    fn candidate(&self, plan: &Plan) -> Option<(&Path, Contents<'_>)> {
        let contents = self.contents().ok().flatten().filter(|_| plan.touches("contents"))?;
        Some((&self.path, contents))
    }
}
