//! `archive`: archives, unpacked.

mod links;
mod listing;
mod options;
mod params;

use crate::{
    Applied, Doc, Error, Examples, Function, Host, Module, ParamsError, Probe, Resource,
    args::{Args, invalid, not_compiled, plain_word},
    diff::hash_of,
    host::{Action, Attributes, Command, Contents, FileKind, Links, Stat, query::digest::beneath_root},
    remote::{Remote, archive_format, private_folder},
};
use links::refuse_links_out;
use listing::{
    Entry, Kind, Lines, destination, read_tar, read_zip, refuse_escapes, refuse_names, tops, zip_pattern,
};
use model::{Change, ContentHash, Plan};
use options::options;
use params::PARAMS;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// Where archives of the tree are while they are unpacked, and what is remembered of those that were.
const DRAFT_FOLDER: &str = "/var/cache/labctl/archives";
const RECORD_FOLDER: &str = "/var/lib/labctl/archives";
/// Longest that listing and unpacking may take.
const TIMEOUT_MS: u64 = 3_600_000;
/// Longest record that is read.
const RECORD_BYTES_MAX: u64 = 32 << 20;

pub(crate) const MODULE: Module = Module {
    name: "archive",
    doc: Doc::new("Archives."),
    functions: &[Function {
        name: "extracted",
        doc: Doc::new(
            "An archive is unpacked into a folder: once, and again when something of it is missing. What was unpacked is \
              remembered under /var/lib/labctl/archives. Archives with paths or links that lead out of the folder are \
              refused. Needs `tar`, and for zip files `unzip`.",
        ),
        params: PARAMS,
        examples: Examples::new(&[
            "/opt/tool:\n  archive.extracted:\n    - source: https://example.com/tool-1.2.tar.gz\n    - source_hash: \
             https://example.com/SHA256SUMS\n    - options: --strip-components=1\n    - enforce_toplevel: false\n    - \
             user: tool\n",
        ]),
        parse,
    }],
};

#[derive(Debug)]
enum Origin {
    Blob(ContentHash),
    Remote(Remote),
    /// The compiler has not replaced it.
    Open,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Format {
    Tar,
    Zip,
}

#[expect(clippy::struct_excessive_bools, reason = "these are the parameters that people write")]
#[derive(Debug)]
struct Extracted {
    path: PathBuf,
    origin: Origin,
    format: Format,
    options: Vec<String>,
    strip: usize,
    if_missing: Option<PathBuf>,
    update: bool,
    overwrite: bool,
    clean: bool,
    clean_parent: bool,
    toplevel: bool,
    user: Option<String>,
    group: Option<String>,
}

fn parse(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("archive.extracted", PARAMS, params)?;
    let path = args.path("name").unwrap_or_default();
    if path.parent().is_none() {
        return Err(invalid("name", "an archive cannot be unpacked over `/`"));
    }
    let origin = match (args.hash("content_hash")?, Remote::parse(&args, &path)?) {
        (Some(hash), _) => Origin::Blob(hash),
        (None, Some(remote)) => Origin::Remote(remote),
        (None, None) if args.has("source") => Origin::Open,
        (None, None) => {
            return Err(ParamsError::Missing {
                kind: "archive.extracted".to_owned(),
                param: "source".to_owned(),
            });
        }
    };
    let format = format(&args)?;
    let options = options(&args, format)?;
    let strip =
        options.iter().find_map(|it| it.strip_prefix("--strip-components=").or(it.strip_prefix("--strip=")));
    let strip = strip
        .map_or(Ok(0), str::parse)
        .map_err(|_| invalid("options", "`--strip-components` needs a number"))?;
    let owner = |name: &str| {
        let text = args.text(name);
        text.iter().try_for_each(|it| plain_word(name, it))?;
        Ok(text)
    };
    Ok(Box::new(Extracted {
        format,
        path,
        origin,
        options,
        strip,
        if_missing: args.path("if_missing"),
        update: args.bool("source_hash_update", false),
        overwrite: args.bool("overwrite", false),
        clean: args.bool("clean", false),
        clean_parent: args.bool("clean_parent", false),
        toplevel: args.bool("enforce_toplevel", true),
        user: owner("user")?,
        group: owner("group")?,
    }))
}

fn format(args: &Args<'_>) -> Result<Format, ParamsError> {
    let sources = args.list("remote").or_else(|| args.list("source")).unwrap_or_default();
    let by_name = || sources.first().map(|it| archive_format(it).to_owned());
    let named = args.text("archive_format").or_else(by_name);
    match named.as_deref() {
        None | Some("tar") => Ok(Format::Tar),
        Some("zip") => Ok(Format::Zip),
        Some(other) => Err(invalid("archive_format", format!("`{other}` is not available: `tar` or `zip`"))),
    }
}

/// What is remembered of an archive that was unpacked.
struct Record {
    /// Which archive; empty if nothing says.
    hash: String,
    /// Everything that it has, as paths inside the folder.
    paths: Vec<String>,
}

impl Extracted {
    fn record_path(&self) -> PathBuf {
        Path::new(RECORD_FOLDER).join(hash_of(self.path.display().to_string().as_bytes()).to_string())
    }

    /// The first line is the archive's digest, the others are paths.
    fn record(&self, host: &dyn Probe) -> Result<Option<Record>, Error> {
        let place = self.record_path();
        let found = stat(host, &place)?;
        if found.is_none_or(|it| it.kind != FileKind::File || it.size > RECORD_BYTES_MAX) {
            return Ok(None);
        }
        let bytes = host.read(&place).map_err(Error::host("read", place.display()))?;
        let text = String::from_utf8_lossy(&bytes);
        let mut lines = text.lines();
        let hash = lines.next().unwrap_or_default().to_owned();
        let safe = |it: &&str| !it.is_empty() && !it.starts_with('/') && !it.split('/').any(|it| it == "..");
        Ok(Some(Record { hash, paths: lines.filter(safe).map(str::to_owned).collect() }))
    }

    /// Which archive it has to be, if that is known without fetching it.
    fn wanted_hash(&self, host: &dyn Probe) -> Result<Option<String>, Error> {
        match &self.origin {
            Origin::Blob(hash) => Ok(Some(hash.to_string())),
            Origin::Remote(remote) => Ok(remote.digest(host)?.map(|it| it.1)),
            Origin::Open => Err(not_compiled("source")),
        }
    }

    /// Whose everything has to be.
    fn owner(&self, host: &dyn Probe) -> Result<Attributes, Error> {
        let find = |name: &Option<String>,
                    what: &'static str,
                    found: &dyn Fn(&str) -> std::io::Result<Option<u32>>| {
            let Some(name) = name else { return Ok(None) };
            let number = found(name).map_err(Error::host("look up", name))?;
            number.map(Some).ok_or_else(|| Error::Refused(format!("there is no {what} `{name}`")))
        };
        let uid = find(&self.user, "user", &|it| host.uid(it))?;
        let gid = find(&self.group, "group", &|it| host.gid(it))?;
        Ok(Attributes { mode: None, uid, gid })
    }

    /// What of it belongs to somebody else.
    fn strangers(
        &self,
        host: &dyn Probe,
        paths: &[String],
        owner: Attributes,
    ) -> Result<Vec<PathBuf>, Error> {
        if owner == Attributes::default() {
            return Ok(Vec::new());
        }
        let mut strangers = Vec::new();
        for path in std::iter::once(self.path.clone()).chain(paths.iter().map(|it| self.path.join(it))) {
            let Some(now) = stat(host, &path)? else { continue };
            if owner.uid.is_some_and(|it| it != now.uid) || owner.gid.is_some_and(|it| it != now.gid) {
                strangers.push(path);
            }
        }
        Ok(strangers)
    }

    fn missing(&self, host: &dyn Probe, paths: &[String]) -> Result<Option<PathBuf>, Error> {
        for path in paths.iter().map(|it| self.path.join(it)) {
            if stat(host, &path)?.is_none() {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    /// Why it has to be unpacked, if it has to be.
    fn reason(&self, host: &dyn Probe, record: Option<&Record>) -> Result<Option<String>, Error> {
        let Some(record) = record else { return Ok(Some("unpacked".to_owned())) };
        if self.update || self.overwrite {
            let wanted = self.wanted_hash(host)?;
            if wanted.is_some_and(|it| it != record.hash) {
                return Ok(Some("unpacked from another archive".to_owned()));
            }
        }
        let missing = self.missing(host, &record.paths)?;
        Ok(missing.map(|it| format!("unpacked again: `{}` is missing", it.display())))
    }

    /// The archive as a file.
    fn archive(&self, host: &mut dyn Host) -> Result<PathBuf, Error> {
        match &self.origin {
            Origin::Open => Err(not_compiled("source")),
            Origin::Remote(remote) => remote.obtain(host),
            Origin::Blob(hash) => {
                private_folder(host, DRAFT_FOLDER)?;
                // Steps beside this one may unpack the same archive.
                let target = hash_of(self.path.display().to_string().as_bytes()).to_string();
                let draft = Path::new(DRAFT_FOLDER).join(format!("{hash}-{}", &target[..16]));
                let how = Attributes { mode: Some(0o600), ..Attributes::default() };
                host.write(&draft, Contents::Blob(*hash), how, Links::Keep)
                    .map_err(Error::host("write", draft.display()))?;
                Ok(draft)
            }
        }
    }

    fn list(&self, host: &mut dyn Host, archive: &Path) -> Result<Vec<Entry>, Error> {
        let file = beneath_root(archive);
        let entries = match self.format {
            Format::Tar => {
                let tar = [
                    "tar",
                    "--list",
                    "--verbose",
                    "--numeric-owner",
                    "--quoting-style=escape",
                    "--file",
                    &file,
                ];
                read_tar(&lines(host, &tar)?)
            }
            Format::Zip => {
                // It would look for other archives whose names fit.
                if file.contains(['*', '?', '[', '\\']) {
                    let text = format!("`{file}` has signs in its name that `unzip` takes for a pattern");
                    return Err(Error::Refused(text));
                }
                let mut entries = read_zip(&lines(host, &["unzip", "-Z", &file])?);
                refuse_names(&entries).map_err(|why| Error::Refused(format!("the archive {why}")))?;
                let links = entries.iter_mut().filter_map(|it| match &mut it.kind {
                    Kind::Link(target) => Some((&it.path, target)),
                    Kind::Other | Kind::HardLink(_) => None,
                });
                for (path, target) in links.take(listing::ZIP_LINKS_MAX) {
                    target.clone_from(&lines(host, &["unzip", "-p", &file, &zip_pattern(path)])?);
                }
                entries
            }
        };
        refuse_escapes(&entries).map_err(|why| Error::Refused(format!("the archive {why}")))?;
        Ok(entries)
    }

    fn unpack(&self, host: &mut dyn Host, archive: &Path) -> Result<(), Error> {
        let (file, folder) = (beneath_root(archive), beneath_root(&self.path));
        let mut argv: Vec<&str> = match self.format {
            Format::Tar => vec!["tar", "--extract", "--file", &file, "--directory", &folder],
            Format::Zip => vec!["unzip", "-o", "-q"],
        };
        argv.extend(self.options.iter().map(String::as_str));
        if self.format == Format::Zip {
            argv.extend([file.as_str(), "-d", &folder]);
        }
        let program = argv[0].to_owned();
        let argv = argv.into_iter().map(str::to_owned).collect();
        let command = Command { argv, timeout_ms: TIMEOUT_MS, ..Command::default() };
        let done = host.perform(&Action::Run(command)).map_err(Error::host("run", &program))?;
        done.success(&program).map(drop)
    }

    fn make_folder(&self, host: &mut dyn Host, owner: Attributes) -> Result<(), Error> {
        let mut missing: Vec<&Path> = Vec::new();
        for folder in self.path.ancestors() {
            let found = host.stat(folder, Links::Follow).map_err(Error::host("look at", folder.display()))?;
            match found {
                None => missing.push(folder),
                Some(it) if it.kind == FileKind::Directory => break,
                Some(it) => {
                    let text = format!("`{}` is {}, not a folder", folder.display(), it.kind.describe());
                    return Err(Error::Refused(text));
                }
            }
        }
        for folder in missing.into_iter().rev() {
            host.make_directory(folder, owner).map_err(Error::host("make folder", folder.display()))?;
        }
        Ok(())
    }

    fn make_room(&self, host: &mut dyn Host, paths: &[String]) -> Result<(), Error> {
        let gone: Vec<PathBuf> = if self.clean_parent {
            let names = host.list(&self.path).map_err(Error::host("list", self.path.display()))?;
            names.into_iter().map(|it| self.path.join(it)).collect()
        } else if self.clean {
            tops(paths).into_iter().map(|it| self.path.join(it)).collect()
        } else {
            Vec::new()
        };
        gone.iter().try_for_each(|it| host.remove(it).map_err(Error::host("remove", it.display())))
    }

    fn remember(&self, host: &mut dyn Host, archive: &Path, paths: &[String]) -> Result<(), Error> {
        let hash = match self.wanted_hash(host)? {
            Some(hash) => hash,
            None => host.hash(archive).map_err(Error::host("read", archive.display()))?.to_string(),
        };
        let text = std::iter::once(hash)
            .chain(paths.iter().cloned())
            .fold(String::new(), |all, it| all + &it + "\n");
        private_folder(host, RECORD_FOLDER)?;
        let place = self.record_path();
        let how = Attributes { mode: Some(0o600), ..Attributes::default() };
        host.write(&place, Contents::Bytes(text.as_bytes()), how, Links::Keep)
            .map_err(Error::host("write", place.display()))
    }

    /// Whether something was unpacked, and what there is now.
    fn extract(
        &self,
        host: &mut dyn Host,
        owner: Attributes,
        record: Option<&Record>,
    ) -> Result<(bool, Vec<String>), Error> {
        let archive = self.archive(host)?;
        let result = self.extract_from(host, &archive, owner, record);
        match &self.origin {
            Origin::Remote(remote) => remote.done(host)?,
            Origin::Blob(_) => host.remove(&archive).map_err(Error::host("remove", archive.display()))?,
            Origin::Open => (),
        }
        result
    }

    fn extract_from(
        &self,
        host: &mut dyn Host,
        archive: &Path,
        owner: Attributes,
        record: Option<&Record>,
    ) -> Result<(bool, Vec<String>), Error> {
        let entries = self.list(host, archive)?;
        let all: Vec<String> = entries.iter().map(|it| it.path.clone()).collect();
        if self.toplevel && (tops(&all).len() != 1 || entries.iter().any(Entry::is_file_at_top)) {
            let text = "the archive has more than one folder at its top; `enforce_toplevel: false` unpacks it nevertheless";
            return Err(Error::Refused(text.to_owned()));
        }
        let paths: Vec<String> = all.iter().filter_map(|it| destination(it, self.strip)).collect();
        // Somebody else may have unpacked it before.
        let needed = record.is_some() || self.overwrite || self.missing(host, &paths)?.is_some();
        if needed {
            self.make_folder(host, owner)?;
            self.make_room(host, &paths)?;
            refuse_links_out(host, &self.path, &paths)?;
            self.unpack(host, archive)?;
        }
        self.remember(host, archive, &paths)?;
        Ok((needed, paths))
    }
}

fn stat(host: &dyn Probe, path: &Path) -> Result<Option<Stat>, Error> {
    host.stat(path, Links::Keep).map_err(Error::host("look at", path.display()))
}

/// All that a program says, up to a limit that is larger than that of reports.
fn lines(host: &mut dyn Host, argv: &[&str]) -> Result<String, Error> {
    let program = argv[0];
    let argv = argv.iter().map(|it| (*it).to_owned()).collect();
    let command = Command { argv, timeout_ms: TIMEOUT_MS, ..Command::default() };
    let mut lines = Lines::default();
    let exit = host.act(&Action::Run(command), &mut lines).map_err(Error::host("run", program))?;
    lines.finish(program, exit)
}

impl Resource for Extracted {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        if let Origin::Open = self.origin {
            return Err(not_compiled("source"));
        }
        if let Some(path) = &self.if_missing
            && stat(host, path)?.is_some()
        {
            return Ok(plan);
        }
        let record = self.record(host)?;
        if let Some(to) = self.reason(host, record.as_ref())? {
            plan.push(Change { what: "archive".to_owned(), from: None, to: Some(to), diff: None });
            return Ok(plan);
        }
        let paths = record.map(|it| it.paths).unwrap_or_default();
        let strangers = self.strangers(host, &paths, self.owner(host)?)?;
        if let Some(first) = strangers.first() {
            let from = Some(format!("{} of others, such as {}", strangers.len(), first.display()));
            let names: Vec<&str> =
                [&self.user, &self.group].into_iter().flatten().map(String::as_str).collect();
            let to = Some(names.join(":"));
            plan.push(Change { what: "owner".to_owned(), from, to, diff: None });
        }
        Ok(plan)
    }

    fn abandon(&self, host: &mut dyn Host) -> Result<(), Error> {
        match &self.origin {
            Origin::Remote(remote) => remote.done(host),
            Origin::Blob(_) | Origin::Open => Ok(()),
        }
    }

    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let owner = self.owner(host)?;
        let record = self.record(host)?;
        let (mut changed, paths) = if plan.touches("archive") {
            self.extract(host, owner, record.as_ref())?
        } else {
            (false, record.map(|it| it.paths).unwrap_or_default())
        };
        for path in self.strangers(host, &paths, owner)? {
            changed = true;
            host.set(&path, owner, Links::Keep).map_err(Error::host("alter", path.display()))?;
        }
        let comment =
            if changed { format!("{} paths", paths.len()) } else { "it was unpacked already".to_owned() };
        Ok(Applied { comment, unchanged: !changed, output: None })
    }
}
