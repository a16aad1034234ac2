//! Repositories of apt: lines of `.list` files, and stanzas of `.sources` files.

use super::{Files, enabled, files_in, read, stanza};
use crate::{Error, Probe, args::Args};
use std::path::{Path, PathBuf};

const MAIN: &str = "/etc/apt/sources.list";
const FOLDER: &str = "/etc/apt/sources.list.d";

/// `deb [options] address release components # comment`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Line {
    pub(super) disabled: bool,
    pub(super) kind: String,
    pub(super) options: Vec<(String, String)>,
    pub(super) address: String,
    pub(super) release: String,
    pub(super) components: Vec<String>,
    pub(super) comment: String,
}

impl Line {
    /// None if it is no such line.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (disabled, text) = match text.trim().strip_prefix('#') {
            Some(rest) => (true, rest.trim_start_matches('#').trim()),
            None => (false, text.trim()),
        };
        let (text, comment) = text.split_once('#').unwrap_or((text, ""));
        let (kind, rest) = text.split_once([' ', '\t'])?;
        if !matches!(kind, "deb" | "deb-src") {
            return None;
        }
        let rest = rest.trim_start();
        let (options, rest) = match rest.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?,
            None => ("", rest),
        };
        let options = options.split_whitespace().map(|it| it.split_once('='));
        let options = options.map(|it| it.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let mut words = rest.split_whitespace().map(str::to_owned);
        Some(Self {
            disabled,
            kind: kind.to_owned(),
            options: options.collect::<Option<_>>()?,
            address: words.next()?,
            release: words.next()?,
            components: words.collect(),
            comment: comment.trim().to_owned(),
        })
    }

    fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|it| it.0 == name).map(|it| &it.1[..])
    }
    fn set(&mut self, name: &str, value: String) {
        match self.options.iter_mut().find(|it| it.0 == name) {
            Some(option) => option.1 = value,
            None => self.options.push((name.to_owned(), value)),
        }
    }
    /// The file of its key.
    pub(super) fn signed_by(&self) -> Option<String> {
        self.option("signed-by").map(str::to_owned)
    }

    fn print(&self) -> String {
        let options: Vec<String> =
            self.options.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut words = Vec::new();
        words.extend(self.disabled.then(|| "#".to_owned()));
        words.push(self.kind.clone());
        words.extend((!options.is_empty()).then(|| format!("[{}]", options.join(" "))));
        words.extend([self.address.clone(), self.release.clone()]);
        words.extend(self.components.iter().cloned());
        words.extend((!self.comment.is_empty()).then(|| format!("#{}", self.comment)));
        words.join(" ")
    }

    /// The newer form of the same.
    pub(super) fn stanza(&self) -> String {
        let mut text = String::new();
        let mut put = |key: &str, value: &str| text = format!("{text}{key}: {value}\n");
        if !self.comment.is_empty() {
            put("X-Comment", &self.comment);
        }
        if self.disabled {
            put("Enabled", "no");
        }
        put("Types", &self.kind);
        put("URIs", &self.address);
        put("Suites", &self.release);
        if !self.components.is_empty() {
            put("Components", &self.components.join(" "));
        }
        for (name, value) in &self.options {
            let key = match name.as_str() {
                "arch" => "Architectures".to_owned(),
                "lang" => "Languages".to_owned(),
                // `signed-by` is `Signed-By`.
                other => other.split('-').map(capital).collect::<Vec<_>>().join("-"),
            };
            put(&key, &value.replace(',', " "));
        }
        text
    }

    fn same_place(&self, other: &Self) -> bool {
        let plain = |it: &str| it.trim_end_matches('/').to_owned();
        self.kind == other.kind
            && plain(&self.address) == plain(&other.address)
            && self.release == other.release
    }

    /// Whether both are one repository: the same place, and a component in common.
    pub(super) fn is(&self, other: &Self) -> bool {
        let common = self.components.iter().any(|it| other.components.contains(it));
        self.same_place(other) && (common || self.components.is_empty() || other.components.is_empty())
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |it| it.to_ascii_uppercase().to_string() + letters.as_str())
}

fn is_deb822(path: &Path) -> bool {
    path.extension().is_some_and(|it| it == "sources")
}

/// All files with what is in them.
fn all_files(host: &dyn Probe) -> Result<Vec<(PathBuf, String)>, Error> {
    let mut paths = vec![PathBuf::from(MAIN)];
    paths.extend(files_in(host, FOLDER, &["list", "sources"])?);
    let mut files = Vec::new();
    for path in paths {
        if let Some(text) = read(host, &path)? {
            files.push((path, text));
        }
    }
    Ok(files)
}

fn parsed(name: &str) -> Result<Line, Error> {
    Line::parse(name).ok_or_else(|| {
        Error::Refused(format!(
            "`{name}` is no line of a sources list: `deb https://address release component`"
        ))
    })
}

/// The line with what the parameters say besides.
fn wanted_line(name: &str, args: &Args<'_>) -> Result<Line, Error> {
    let mut line = parsed(name)?;
    line.disabled = !enabled(args);
    if let Some(release) = args.text("dist") {
        line.release = release;
    }
    let more = args.list("comps").unwrap_or_default().join(",");
    for component in more.split(',').map(str::trim).filter(|it| !it.is_empty()) {
        if !line.components.iter().any(|it| it == component) {
            line.components.push(component.to_owned());
        }
    }
    if let Some(architectures) = args.text("architectures") {
        line.set("arch", architectures.replace(' ', ""));
    }
    if let Some(path) = args.text("signedby") {
        line.set("signed-by", path);
    }
    if args.bool("trusted", false) {
        line.set("trusted", "yes".to_owned());
    }
    let comments = args.list("comments").unwrap_or_default();
    if !comments.is_empty() {
        let comments = comments.iter().map(|it| it.trim_start_matches('#').trim());
        line.comment = comments.collect::<Vec<_>>().join(" #");
    }
    Ok(line)
}

pub(super) fn managed(name: &str, args: &Args<'_>, host: &dyn Probe) -> Result<Files, Error> {
    let line = wanted_line(name, args)?;
    let all = all_files(host)?;
    let holds = |text: &str, path: &Path| entries(text, path).iter().any(|it| it.is(&line));
    let there = all.iter().find(|(path, text)| holds(text, path)).map(|it| it.0.clone());
    let path = args.path("file").or(there).unwrap_or_else(|| PathBuf::from(MAIN));
    let mut files = Files::new();
    for (other, text) in all.iter().filter(|(it, text)| *it != path && holds(text, it)) {
        files.insert(other.clone(), shrunk(text, other, &line));
    }
    let now = all.iter().find(|it| it.0 == path).map(|it| it.1.clone()).unwrap_or_default();
    let now = if args.bool("clean_file", false) { kept(&now, &path, &line) } else { now };
    files.insert(path.clone(), Some(with(&now, &path, &line)));
    Ok(files)
}

pub(super) fn absent(name: &str, file: Option<&Path>, host: &dyn Probe) -> Result<Files, Error> {
    let line = parsed(name)?;
    let mut files = Files::new();
    for (path, text) in all_files(host)? {
        let meant = file.is_none_or(|it| it == path);
        if meant && entries(&text, &path).iter().any(|it| it.is(&line) && !it.disabled) {
            files.insert(path.clone(), shrunk(&text, &path, &line));
        }
    }
    Ok(files)
}

fn entries(text: &str, path: &Path) -> Vec<Line> {
    if is_deb822(path) {
        stanza::all(text).iter().flat_map(|it| stanza::lines(it)).collect()
    } else {
        text.lines().filter_map(Line::parse).collect()
    }
}

/// Only what is the repository already.
fn kept(text: &str, path: &Path, line: &Line) -> String {
    if is_deb822(path) {
        let mut mine = stanza::all(text);
        mine.retain(|it| stanza::lines(it).iter().any(|it| it.is(line)));
        return mine.join("\n");
    }
    let mine = text.lines().filter(|it| Line::parse(it).is_some_and(|it| it.is(line)));
    mine.fold(String::new(), |all, it| all + it + "\n")
}

/// With the repository in its place, or at the end.
fn with(text: &str, path: &Path, line: &Line) -> String {
    if is_deb822(path) {
        return stanza::with(text, line);
    }
    let mut lines: Vec<String> = Vec::new();
    let mut written = false;
    for it in text.lines() {
        match Line::parse(it).filter(|it| it.is(line)) {
            Some(_) if written => (),
            Some(now) => {
                // One that says the same in another way stays.
                let comment = if line.comment.is_empty() { &now.comment } else { &line.comment };
                let wanted = Line { comment: comment.clone(), ..line.clone() };
                lines.push(if now == wanted { it.to_owned() } else { wanted.print() });
                written = true;
            }
            None => lines.push(it.to_owned()),
        }
    }
    if !written {
        lines.push(line.print());
    }
    lines.iter().fold(String::new(), |all, it| all + it + "\n")
}

/// Without the repository, or without its components; none if nothing is left of the file.
fn shrunk(text: &str, path: &Path, line: &Line) -> Option<String> {
    let rest = if is_deb822(path) {
        let stanzas = stanza::all(text);
        stanzas.iter().flat_map(|it| stanza::without(it, line)).collect::<Vec<_>>().join("\n")
    } else {
        let mut rest = String::new();
        for it in text.lines() {
            let Some(mut now) = Line::parse(it).filter(|it| it.is(line)) else {
                rest = rest + it + "\n";
                continue;
            };
            now.components.retain(|it| !line.components.contains(it));
            if !now.components.is_empty() {
                rest = rest + &now.print() + "\n";
            }
        }
        rest
    };
    let empty = rest.lines().all(|it| it.trim().is_empty() || it.trim().starts_with('#'));
    Some(rest).filter(|_| !empty || path == Path::new(MAIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_printed_as_salt_prints_them() {
        for (text, wanted) in [
            (
                "deb [arch=amd64 signed-by=/x.gpg]   http://a/debian/ stable main contrib",
                "deb [arch=amd64 signed-by=/x.gpg] http://a/debian/ stable main contrib",
            ),
            ("deb http://a ./", "deb http://a ./"),
            (
                "#deb-src [ trusted=yes ] http://a stable main # hello",
                "# deb-src [trusted=yes] http://a stable main #hello",
            ),
        ] {
            assert_eq!(Line::parse(text).map(|it| it.print()).as_deref(), Some(wanted));
        }
        for other in ["", "# a comment", "deb", "deb http://a", "rpm http://a b c", "deb [arch] http://a b"] {
            assert_eq!(Line::parse(other), None, "{other}");
        }
    }
}
