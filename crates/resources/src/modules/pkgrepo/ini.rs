//! Repositories of dnf, yum, zypper and pacman: a section each.

use super::{Files, enabled, files_in, read, truth};
use crate::{Error, Probe, args::Args, packages::Manager};
use std::path::{Path, PathBuf};

const PACMAN: &str = "/etc/pacman.conf";

/// Parameters that are keys of a section as they are.
const KEYS: [&str; 22] = [
    "baseurl",
    "mirrorlist",
    "metalink",
    "gpgcheck",
    "repo_gpgcheck",
    "gpgkey",
    "priority",
    "cost",
    "exclude",
    "excludepkgs",
    "includepkgs",
    "skip_if_unavailable",
    "metadata_expire",
    "module_hotfixes",
    "autorefresh",
    "keeppackages",
    "sslverify",
    "sslcacert",
    "sslclientcert",
    "sslclientkey",
    "proxy",
    "type",
];
const WHERE: [&str; 3] = ["baseurl", "mirrorlist", "metalink"];

fn folder(manager: Manager) -> &'static str {
    if manager == Manager::Zypper { "/etc/zypp/repos.d" } else { "/etc/yum.repos.d" }
}

/// The file that has the section already.
fn place(name: &str, manager: Manager, host: &dyn Probe) -> Result<Option<(PathBuf, String)>, Error> {
    let files = match manager {
        Manager::Pacman => vec![PathBuf::from(PACMAN)],
        _ => files_in(host, folder(manager), &["repo"])?,
    };
    for path in files {
        if let Some(text) = read(host, &path)?
            && sections(&text).iter().any(|it| it.name == name)
        {
            return Ok(Some((path, text)));
        }
    }
    Ok(None)
}

/// A part of a file, from its head to the next one. What is in front of the first head has no name.
struct Section<'a> {
    name: &'a str,
    lines: Vec<&'a str>,
}

fn sections(text: &str) -> Vec<Section<'_>> {
    let mut all = vec![Section { name: "", lines: Vec::new() }];
    for line in text.lines() {
        match line.trim().strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
            Some(name) => all.push(Section { name, lines: vec![line] }),
            None => {
                if let Some(last) = all.last_mut() {
                    last.lines.push(line);
                }
            }
        }
    }
    all
}

/// The keys with their values, in the order they are written in.
fn settings(name: &str, args: &Args<'_>, manager: Manager) -> Vec<(String, String)> {
    let word = |key: &str| {
        // `True` of YAML is `1` here; a title that is a word such as `on` is none of these keys.
        args.text(key).map(|it| match truth(&it) {
            Some(on) if key != "type" => if on { "1" } else { "0" }.to_owned(),
            _ => it,
        })
    };
    if manager == Manager::Pacman {
        let keys = [("SigLevel", "SigLevel"), ("Server", "baseurl"), ("Include", "mirrorlist")];
        return keys.into_iter().filter_map(|(key, it)| Some((key.to_owned(), args.text(it)?))).collect();
    }
    let title = args.text("humanname").unwrap_or_else(|| name.to_owned());
    let mut all = vec![("name".to_owned(), title)];
    all.extend(KEYS.iter().filter_map(|key| Some(((*key).to_owned(), word(key)?))));
    all.push(("enabled".to_owned(), if enabled(args) { "1" } else { "0" }.to_owned()));
    all
}

/// The section with these settings: lines that say the same stay, others that are not told of, too.
fn edited(now: &[&str], name: &str, wanted: &[(String, String)], comments: &[String]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut written: Vec<&str> = Vec::new();
    let replaces_where = wanted.iter().any(|it| WHERE.contains(&&it.0[..]));
    for line in now {
        let key = line.split_once('=').map_or("", |it| it.0.trim());
        match wanted.iter().find(|it| it.0 == key) {
            Some((key, _)) if written.contains(&&key[..]) => (),
            Some((key, value)) => {
                let same = line.split_once('=').is_some_and(|it| it.1.trim() == value);
                lines.push(if same { (*line).to_owned() } else { format!("{key}={value}") });
                written.push(key);
            }
            // Only one of them can tell where it is.
            None if replaces_where && WHERE.contains(&key) => (),
            None => lines.push((*line).to_owned()),
        }
    }
    if lines.is_empty() {
        lines.push(format!("[{name}]"));
    }
    // Empty lines are between sections, not in them.
    let end = lines.iter().rposition(|it| !it.trim().is_empty()).map_or(0, |it| it + 1);
    let rest = lines.split_off(end);
    let new = wanted.iter().filter(|it| !written.contains(&&it.0[..]));
    lines.extend(new.map(|(key, value)| format!("{key}={value}")));
    let comments = comments.iter().map(|it| format!("#{}", it.trim_start_matches('#')));
    let missing: Vec<String> = comments.filter(|it| !lines.contains(it)).collect();
    lines.extend(missing);
    lines.extend(rest);
    lines
}

pub(super) fn managed(
    name: &str,
    args: &Args<'_>,
    manager: Manager,
    host: &dyn Probe,
) -> Result<Files, Error> {
    if name.contains(['[', ']', '/']) || name.starts_with('.') {
        return Err(Error::Refused(format!("`{name}` is no name of a repository here: a word without `/`")));
    }
    let found = place(name, manager, host)?;
    if found.is_none() && WHERE.iter().all(|it| !args.has(it)) {
        let text = format!("`{name}` is not there yet and says not where it is: `baseurl` or `mirrorlist`");
        return Err(Error::Refused(text));
    }
    let (path, text) = match found {
        Some(found) => found,
        None if manager == Manager::Pacman => {
            (PathBuf::from(PACMAN), read(host, Path::new(PACMAN))?.unwrap_or_default())
        }
        None => (Path::new(folder(manager)).join(format!("{name}.repo")), String::new()),
    };
    let wanted = settings(name, args, manager);
    let comments = args.list("comments").unwrap_or_default();
    let all = sections(&text);
    let exists = all.iter().any(|it| it.name == name);
    // A disabled section of pacman is none.
    if manager == Manager::Pacman && !enabled(args) {
        return Ok(if exists { without(name, &path, &text, manager) } else { Files::new() });
    }
    let mut lines: Vec<String> = Vec::new();
    for section in &all {
        if section.name == name {
            lines.extend(edited(&section.lines, name, &wanted, &comments));
        } else {
            lines.extend(section.lines.iter().map(|it| (*it).to_owned()));
        }
    }
    if !exists {
        if lines.last().is_some_and(|it| !it.is_empty()) {
            lines.push(String::new());
        }
        lines.extend(edited(&[], name, &wanted, &comments));
    }
    let text = lines.iter().fold(String::new(), |all, it| all + it + "\n");
    Ok([(path, Some(text))].into())
}

pub(super) fn absent(name: &str, manager: Manager, host: &dyn Probe) -> Result<Files, Error> {
    let found = place(name, manager, host)?;
    Ok(found.map(|(path, text)| without(name, &path, &text, manager)).unwrap_or_default())
}

fn without(name: &str, path: &Path, text: &str, manager: Manager) -> Files {
    let all = sections(text);
    let rest = all.iter().filter(|it| it.name != name);
    let lines: Vec<&str> = rest.flat_map(|it| it.lines.iter().copied()).collect();
    let empty = lines.iter().all(|it| it.trim().is_empty() || it.trim().starts_with('#'));
    let text = lines.iter().fold(String::new(), |all, it| all + it + "\n");
    [(path.to_owned(), Some(text).filter(|_| !empty || manager == Manager::Pacman))].into()
}
