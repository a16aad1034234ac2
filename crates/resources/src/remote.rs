//! Contents that are not in the tree: fetched by the minion over the network, or files that it has already.

use crate::{
    Error, Host, ParamsError, Probe,
    args::{Args, invalid},
    diff::hash_of,
    host::{
        Action, Attributes, Command, Contents, Done, Exit, FileKind, Links, Query,
        query::{
            digest::{Algorithm, Digest, beneath_root},
            fetch::{Fetch, curl_url},
        },
    },
};
use std::{
    cell::{Cell, OnceCell},
    path::{Path, PathBuf},
};

/// Where contents are fetched to, and where the digests of those that came without one are remembered.
const FETCH_FOLDER: &str = "/var/cache/labctl/fetched";
const RECORD_FOLDER: &str = "/var/lib/labctl/fetched";
/// Longest content, as `curl` takes it, and in the blocks of `ulimit -f`.
const BYTES_MAX: &str = "8589934592";
const BLOCKS_MAX: &str = "16777216";
/// apt's own program, for machines with neither curl nor wget.
const APT_HELPER: &str = "/usr/lib/apt/apt-helper";
/// Longest that fetching may take.
const TIMEOUT_MS: u64 = 3_600_000;
/// Longest address, and longest list of digests that is a file of the minion.
const URL_BYTES_MAX: usize = 8 << 10;
const LIST_BYTES_MAX: u64 = 1 << 20;

/// A content, by where it is.
#[derive(Debug)]
pub(crate) struct Remote {
    places: Vec<Place>,
    expected: Expected,
    /// The digest of the list, once it was read.
    listed: OnceCell<(Algorithm, String)>,
    /// Names that a list of digests may have it under.
    names: Vec<String>,
    /// Whose contents it is to be: steps beside this one may fetch the same address.
    owner: String,
    insecure: bool,
    fetched: Cell<bool>,
}

#[derive(Clone, Debug, PartialEq)]
enum Place {
    File(PathBuf),
    Url(String),
}

#[derive(Clone, Debug, PartialEq)]
enum Expected {
    Unknown,
    Digest(Algorithm, String),
    List(Place),
}

impl Remote {
    /// What the compiler left in `remote`; with it count `source_hash`, `source_hash_name` and `verify_ssl`.
    pub(crate) fn parse(args: &Args<'_>, target: &Path) -> Result<Option<Self>, ParamsError> {
        let Some(sources) = args.list("remote") else { return Ok(None) };
        let places = sources.iter().map(|it| place("source", it)).collect::<Result<Vec<_>, _>>()?;
        let expected = match args.text("source_hash").filter(|it| !it.is_empty()) {
            None => Expected::Unknown,
            Some(text) => expected(&text)?,
        };
        let insecure = !args.bool("verify_ssl", true);
        for it in &places {
            let Place::Url(url) = it else { continue };
            let safe = url.starts_with("https://") && !insecure;
            if expected == Expected::Unknown && !safe {
                return Err(invalid(
                    "source",
                    format!("`{}` needs `source_hash`: nothing else says that it is right", shown(url)),
                ));
            }
        }
        let base = |text: &str| {
            text.rsplit('/').next().unwrap_or_default().split(['?', '#']).next().map(str::to_owned)
        };
        let mut names: Vec<String> = args.text("source_hash_name").into_iter().collect();
        if names.is_empty() {
            names.extend(sources.iter().filter_map(|it| base(it)));
            names.extend(target.file_name().map(|it| it.to_string_lossy().into_owned()));
        }
        names.retain(|it| !it.is_empty());
        let owner = format!("{}\n{}", args.name(), target.display());
        let (listed, fetched) = (OnceCell::new(), Cell::new(false));
        let remote = Self { places, expected, listed, names, owner, insecure, fetched };
        Ok(Some(remote))
    }

    /// For people.
    pub(crate) fn describe(&self) -> String {
        match self.places.first() {
            Some(Place::Url(url)) => shown(url),
            Some(Place::File(path)) => path.display().to_string(),
            None => "nowhere".to_owned(),
        }
    }

    /// What `path` has to become, if it is not that already: for people.
    pub(crate) fn compare(&self, host: &dyn Probe, path: Option<&Path>) -> Result<Option<String>, Error> {
        if let (Place::File(source), Expected::Unknown) = (self.place(host)?, &self.expected) {
            return compare_files(host, &source, path);
        }
        let (algorithm, wanted) = match self.digest(host)? {
            Some(known) => known,
            None => match self.recorded(host)? {
                Some(hash) => (Algorithm::Sha256, hash),
                None => return Ok(Some(format!("what is at {}", self.describe()))),
            },
        };
        let now = path.map(|it| digest_of(host, it, algorithm)).transpose()?;
        let short = &wanted[..12];
        Ok((now.as_ref() != Some(&wanted))
            .then(|| format!("{} {short} of {}", algorithm.name(), self.describe())))
    }

    /// Where it is, as a verified file on the minion. Call [`done`](Self::done) afterwards.
    pub(crate) fn obtain(&self, host: &mut dyn Host) -> Result<PathBuf, Error> {
        // A list that cannot be had costs no fetching.
        self.digest(host)?;
        let file = match self.place(host)? {
            Place::File(path) => path,
            Place::Url(url) => {
                let draft = self.draft(&url);
                if !self.fetched.replace(true) {
                    fetch(host, &url, &draft, self.insecure, self.expected == Expected::Unknown)?;
                }
                draft
            }
        };
        if let Err(error) = self.verify(host, &file) {
            self.done(host)?;
            return Err(error);
        }
        Ok(file)
    }

    /// Complains if a file is not what the digest says, if there is one. To be asked again of a copy before it is used:
    /// a file of the minion may have been altered meanwhile.
    pub(crate) fn verify(&self, host: &dyn Probe, file: &Path) -> Result<(), Error> {
        let Some((algorithm, wanted)) = self.digest(host)? else { return Ok(()) };
        let found = digest_of(host, file, algorithm)?;
        if found == wanted {
            return Ok(());
        }
        let name = algorithm.name();
        Err(Error::Refused(format!("{} has the {name} {found}, not {wanted}", self.describe())))
    }

    fn draft(&self, url: &str) -> PathBuf {
        let name = hash_of(format!("{}\n{url}", self.owner).as_bytes());
        Path::new(FETCH_FOLDER).join(name.to_string())
    }

    /// Forgets what was fetched; with no digest to go by, `placed` is remembered as what came from there.
    pub(crate) fn settle(&self, host: &mut dyn Host, placed: &Path) -> Result<(), Error> {
        if let (Place::Url(url), Expected::Unknown) = (self.place(host)?, &self.expected) {
            let record = record(&url);
            private_folder(host, RECORD_FOLDER)?;
            let hash = host.hash(placed).map_err(Error::host("read", placed.display()))?;
            let how = Attributes { mode: Some(0o600), ..Attributes::default() };
            host.write(&record, Contents::Bytes(format!("{hash}\n").as_bytes()), how, Links::Keep)
                .map_err(Error::host("write", record.display()))?;
        }
        self.done(host)
    }

    /// Forgets what was fetched.
    pub(crate) fn done(&self, host: &mut dyn Host) -> Result<(), Error> {
        if let (Place::Url(url), true) = (self.place(host)?, self.fetched.replace(false)) {
            let draft = self.draft(&url);
            host.remove(&draft).map_err(Error::host("remove", draft.display()))?;
        }
        Ok(())
    }

    /// The first file that exists, else the first address.
    fn place(&self, host: &dyn Probe) -> Result<Place, Error> {
        for it in &self.places {
            match it {
                Place::Url(_) => return Ok(it.clone()),
                Place::File(path) => {
                    let found =
                        host.stat(path, Links::Follow).map_err(Error::host("look at", path.display()))?;
                    if found.is_some_and(|it| it.kind == FileKind::File) {
                        return Ok(it.clone());
                    }
                }
            }
        }
        Err(Error::Refused(format!("the source `{}` is no file", self.describe())))
    }

    fn recorded(&self, host: &dyn Probe) -> Result<Option<String>, Error> {
        let Place::Url(url) = self.place(host)? else { return Ok(None) };
        let record = record(&url);
        let found = host.stat(&record, Links::Keep).map_err(Error::host("look at", record.display()))?;
        if found.is_none_or(|it| it.kind != FileKind::File || it.size > 100) {
            return Ok(None);
        }
        let bytes = host.read(&record).map_err(Error::host("read", record.display()))?;
        let text = String::from_utf8_lossy(&bytes).trim().to_owned();
        Ok((text.len() == Algorithm::Sha256.digits()).then_some(text))
    }

    /// What it must have, from `source_hash` or from the list that this names.
    pub(crate) fn digest(&self, host: &dyn Probe) -> Result<Option<(Algorithm, String)>, Error> {
        let list = match &self.expected {
            Expected::Unknown => return Ok(None),
            Expected::Digest(algorithm, digits) => return Ok(Some((*algorithm, digits.clone()))),
            Expected::List(list) => list,
        };
        if let Some(known) = self.listed.get() {
            return Ok(Some(known.clone()));
        }
        let (text, from) = match list {
            Place::Url(url) => {
                let query = Query::Fetch(Fetch { url: url.clone() });
                let output = host.query(&query).map_err(Error::host("fetch", shown(url)))?;
                if output.code != Some(0) {
                    let text = format!("cannot fetch `{}`: {}", shown(url), output.stderr.trim());
                    return Err(Error::Refused(text));
                }
                (output.stdout, shown(url))
            }
            Place::File(path) => {
                let found = host.stat(path, Links::Follow).map_err(Error::host("look at", path.display()))?;
                if found.is_none_or(|it| it.kind != FileKind::File || it.size > LIST_BYTES_MAX) {
                    return Err(Error::Refused(format!("`{}` is no list of digests", path.display())));
                }
                let bytes = host.read(path).map_err(Error::host("read", path.display()))?;
                (String::from_utf8_lossy(&bytes).into_owned(), path.display().to_string())
            }
        };
        let found = find_digest(&text, &self.names);
        let found = found.ok_or_else(|| {
            Error::Refused(format!("`{from}` has no digest for {}", self.names.join(" or ")))
        })?;
        Ok(Some(self.listed.get_or_init(|| found).clone()))
    }
}

/// Whether a `source` is one for the minion: an address, or a path of its own.
pub fn is_remote(source: &str) -> bool {
    ["https://", "http://", "ftp://", "file://", "/"].iter().any(|it| source.starts_with(it))
}

/// What an archive is, by the end of its name: `tar` or `zip`.
pub fn archive_format(name: &str) -> &'static str {
    let name = name.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    if [".zip", ".jar", ".war"].iter().any(|it| name.ends_with(it)) { "zip" } else { "tar" }
}

fn place(param: &str, text: &str) -> Result<Place, ParamsError> {
    let wrong = |why: &str| Err(invalid(param, format!("`{}` {why}", shown(text))));
    if text.len() > URL_BYTES_MAX || text.chars().any(|it| it.is_control() || it.is_whitespace()) {
        return wrong("is no address: it has spaces or is too long");
    }
    if let Some(path) = text.strip_prefix("file://").or_else(|| text.starts_with('/').then_some(text)) {
        let path = Path::new(path);
        let up = path.components().any(|it| it == std::path::Component::ParentDir);
        if !path.is_absolute() || up {
            return wrong("must be an absolute path without `..`");
        }
        return Ok(Place::File(path.components().collect()));
    }
    if ["https://", "http://", "ftp://"].iter().any(|it| text.starts_with(it)) {
        return Ok(Place::Url(text.to_owned()));
    }
    wrong("is no address: https://, http://, ftp:// or file://")
}

fn expected(text: &str) -> Result<Expected, ParamsError> {
    let digits = |text: &str| text.bytes().all(|it| it.is_ascii_hexdigit());
    if let Some((name, value)) = text.split_once(['=', ':']) {
        let name = name.trim().to_ascii_lowercase();
        let value = value.trim();
        if let Some(algorithm) = Algorithm::ALL.into_iter().find(|it| it.name() == name) {
            if value.len() != algorithm.digits() || !digits(value) {
                let text =
                    format!("`{value}` is no {name}: that has {} hexadecimal digits", algorithm.digits());
                return Err(invalid("source_hash", text));
            }
            return Ok(Expected::Digest(algorithm, value.to_ascii_lowercase()));
        }
    }
    if digits(text) {
        return match Algorithm::ALL.into_iter().find(|it| it.digits() == text.len()) {
            Some(algorithm) => Ok(Expected::Digest(algorithm, text.to_ascii_lowercase())),
            None => Err(invalid("source_hash", format!("`{text}` has the length of no digest"))),
        };
    }
    place("source_hash", text).map(Expected::List)
}

/// The digest of one of `names` in a list of them, or the only one there is.
fn find_digest(text: &str, names: &[String]) -> Option<(Algorithm, String)> {
    let on_line = |line: &str| {
        let words = line.split(|it: char| !it.is_ascii_alphanumeric());
        words.filter(|it| it.bytes().all(|it| it.is_ascii_hexdigit())).find_map(|word| {
            let algorithm = Algorithm::ALL.into_iter().find(|it| it.digits() == word.len())?;
            Some((algorithm, word.to_ascii_lowercase()))
        })
    };
    let names_it = |line: &str, name: &str| {
        line.split(|it: char| it.is_whitespace() || matches!(it, '*' | '=' | '/' | '(' | ')' | ':'))
            .any(|it| it == name)
    };
    let found: Vec<(&str, (Algorithm, String))> =
        text.lines().filter_map(|line| Some((line, on_line(line)?))).collect();
    let hit = names
        .iter()
        .find_map(|name| found.iter().filter(|it| names_it(it.0, name)).max_by_key(|it| it.1.0.digits()));
    match (hit, &found[..]) {
        (Some((_, digest)), _) | (None, [(_, digest)]) => Some(digest.clone()),
        _ => None,
    }
}

/// Without name and password.
fn shown(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let end = rest.find('/').unwrap_or(rest.len());
            let host = rest[..end].rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}{}", rest[end..].split('?').next().unwrap_or_default())
        }
        None => url.to_owned(),
    }
}

fn record(url: &str) -> PathBuf {
    Path::new(RECORD_FOLDER).join(hash_of(url.as_bytes()).to_string())
}

/// A folder that only root reads.
pub(crate) fn private_folder(host: &mut dyn Host, folder: &str) -> Result<(), Error> {
    let mut missing = Vec::new();
    for it in Path::new(folder).ancestors() {
        if host.stat(it, Links::Follow).map_err(Error::host("look at", it.display()))?.is_some() {
            break;
        }
        missing.push(it);
    }
    for (left, it) in missing.iter().enumerate().rev() {
        let mode = if left == 0 { 0o700 } else { 0o755 };
        host.make_directory(it, Attributes { mode: Some(mode), ..Attributes::default() })
            .map_err(Error::host("make folder", it.display()))?;
    }
    Ok(())
}

fn digest_of(host: &dyn Probe, path: &Path, algorithm: Algorithm) -> Result<String, Error> {
    if algorithm == Algorithm::Sha256 {
        let hash = host.hash(path).map_err(Error::host("read", path.display()))?;
        return Ok(hash.to_string());
    }
    let query = Query::Digest(Digest { algorithm, path: path.to_owned() });
    let output = host.query(&query).map_err(Error::host("read", path.display()))?;
    let digits = output.stdout.split_whitespace().next().unwrap_or_default().trim_start_matches('\\');
    if output.code != Some(0) || digits.len() != algorithm.digits() {
        let text = format!(
            "cannot read `{}`: {}sum said nothing of use: {}",
            path.display(),
            algorithm.name(),
            output.stderr.trim()
        );
        return Err(Error::Refused(text));
    }
    Ok(digits.to_ascii_lowercase())
}

fn compare_files(host: &dyn Probe, source: &Path, path: Option<&Path>) -> Result<Option<String>, Error> {
    let differs = Ok(Some(format!("what is in {}", source.display())));
    let size = |it: &Path| {
        let found = host.stat(it, Links::Follow).map_err(Error::host("look at", it.display()))?;
        Ok(found.map(|it| it.size))
    };
    let Some(path) = path else { return differs };
    if size(source)? != size(path)? {
        return differs;
    }
    let hash = |it: &Path| host.hash(it).map_err(Error::host("read", it.display()));
    if hash(source)? == hash(path)? { Ok(None) } else { differs }
}

/// By curl, or by wget where that is missing. The address goes by standard input: it may hold a password.
/// With `trusted` nothing but https says that it is right, so it must not lead elsewhere.
fn fetch(host: &mut dyn Host, url: &str, draft: &Path, insecure: bool, trusted: bool) -> Result<(), Error> {
    private_folder(host, FETCH_FOLDER)?;
    host.remove(draft).map_err(Error::host("remove", draft.display()))?;
    let output = beneath_root(draft);
    let command = |words: &[&str], stdin: String| Command {
        argv: words.iter().map(|it| (*it).to_owned()).collect(),
        stdin: Some(stdin),
        timeout_ms: TIMEOUT_MS,
        ..Command::default()
    };
    let mut curl = vec!["curl", "--silent", "--show-error", "--fail", "--location", "--proto"];
    curl.extend([if url.starts_with("https:") { "=https" } else { "=https,http,ftp" }, "--max-redirs", "5"]);
    curl.extend(["--connect-timeout", "30", "--max-filesize", BYTES_MAX, "--output", &output]);
    curl.extend(insecure.then_some("--insecure"));
    curl.extend(["--config", "-"]);
    let missing = |done: &std::io::Result<Done>| match done {
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        Ok(done) => done.exit == Exit::Code(127),
    };
    let mut done = host.perform(&Action::Run(command(&curl, curl_url(url))));
    if missing(&done) {
        let script = format!("ulimit -f {BLOCKS_MAX} && exec wget \"$@\"");
        let mut wget = vec!["/bin/sh", "-c", &script, "wget", "--quiet", "--timeout=30", "--tries=2"];
        wget.extend(insecure.then_some("--no-check-certificate"));
        // It cannot be told to stay with https otherwise.
        wget.extend(trusted.then_some(["--https-only", "--max-redirect=0"]).into_iter().flatten());
        let document = format!("--output-document={output}");
        wget.extend([document.as_str(), "--input-file=-"]);
        done = host.perform(&Action::Run(command(&wget, format!("{url}\n"))));
    }
    if missing(&done) && !insecure && shown(url) == url {
        // It takes the address as an argument, so there must be nothing secret in it.
        done = host.perform(&Action::Run(command(
            &[APT_HELPER, "-q", "download-file", url, &output],
            String::new(),
        )));
    }
    if missing(&done) {
        let text = format!("nothing here can fetch `{}`: install `curl` first", shown(url));
        return Err(Error::Refused(text));
    }
    let done = done.map_err(Error::host("fetch", shown(url)))?;
    match done.exit {
        Exit::Code(0) => Ok(()),
        _ => Err(done.failure(&format!("cannot fetch `{}`", shown(url)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_found_in_lists_as_projects_publish_them() {
        let sha = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let names = vec!["tool.tar.gz".to_owned()];
        let other = sha.replace('e', "f");
        for list in [
            format!("{other}  other.tar.gz\n{sha}  tool.tar.gz\n"),
            format!("{other} *dist/other\n{sha} *dist/tool.tar.gz\n"),
            format!("SHA256 (x) = {other}\nSHA256 (tool.tar.gz) = {sha}\n"),
            format!("{sha}\n"),
        ] {
            assert_eq!(find_digest(&list, &names), Some((Algorithm::Sha256, sha.to_owned())), "{list}");
        }
        assert_eq!(find_digest(&format!("{other}  a\n{sha}  b\n"), &names), None);
        assert_eq!(
            expected(&format!("sha256={sha}")).unwrap(),
            Expected::Digest(Algorithm::Sha256, sha.to_owned())
        );
        assert_eq!(expected(sha).unwrap(), Expected::Digest(Algorithm::Sha256, sha.to_owned()));
        assert!(expected("sha256=abc").is_err() && expected("abcdef").is_err());
        assert!(matches!(expected("https://x/y").unwrap(), Expected::List(Place::Url(_))));
        assert_eq!(shown("https://u:p@h/x?token=1"), "https://h/x");
    }
}
