//! Packages of Debian and its kin: dpkg-query tells, apt-get alters.

use super::command::run;
use resources::host::{Command, Exit, Watch};
use std::{collections::BTreeMap, io};

/// Longest that a package run may take, and a look at the list.
const ALTER_TIMEOUT_MS: u64 = 3_600_000;
const LIST_TIMEOUT_MS: u64 = 60_000;

/// Everything that is installed, once it was asked for.
#[derive(Debug, Default)]
pub(crate) struct Packages {
    installed: Option<BTreeMap<String, String>>,
}

impl Packages {
    pub(crate) fn find(&mut self, names: &[String]) -> io::Result<BTreeMap<String, String>> {
        let installed = match &mut self.installed {
            Some(installed) => installed,
            none => none.insert(list()?),
        };
        let found = |name: &String| installed.get(name).map(|version| (name.clone(), version.clone()));
        Ok(names.iter().filter_map(found).collect())
    }
}

fn list() -> io::Result<BTreeMap<String, String>> {
    let format = r"-f=${db:Status-Abbrev}\t${Package}\t${Architecture}\t${Version}\t${Provides}\n";
    let argv = ["dpkg-query", "-W", format].map(str::to_owned).to_vec();
    let mut text = Text::default();
    match run(&Command { argv, timeout_ms: LIST_TIMEOUT_MS, ..Command::default() }, &mut text)? {
        // 1: there is no package at all.
        Exit::Code(0 | 1) => Ok(parse(&String::from_utf8_lossy(&text.0))),
        exit => Err(io::Error::other(format!("dpkg-query {}", exit.describe()))),
    }
}

/// Most that dpkg-query may say: ten thousands of packages.
const LIST_BYTES_MAX: usize = 64 << 20;

/// The whole standard output, which is longer than a report may be.
#[derive(Default)]
struct Text(Vec<u8>);

impl Watch for Text {
    fn output(&mut self, stderr: bool, bytes: &[u8]) {
        if !stderr && self.0.len() + bytes.len() <= LIST_BYTES_MAX {
            self.0.extend_from_slice(bytes);
        }
    }
    fn cancelled(&self) -> bool {
        false
    }
}

/// Names (also with `:architecture`) and versions of what is installed; what it provides has an empty version.
fn parse(text: &str) -> BTreeMap<String, String> {
    let mut installed = BTreeMap::new();
    let mut provided = Vec::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [status, name, architecture, version, also] = fields[..] else { continue };
        // The second letter is what is: `i` for installed, `c` for left-over configuration, and so on.
        if status.as_bytes().get(1) != Some(&b'i') {
            continue;
        }
        installed.insert(name.to_owned(), version.to_owned());
        installed.insert(format!("{name}:{architecture}"), version.to_owned());
        let names = also.split(',').filter_map(|it| it.split_whitespace().next());
        provided.extend(names.map(str::to_owned));
    }
    for name in provided {
        installed.entry(name).or_default();
    }
    installed
}

fn apt(args: &[&str]) -> Command {
    let fixed = [
        "apt-get",
        "-y",
        "-q",
        "-o",
        "DPkg::Lock::Timeout=120",
        "-o",
        "Dpkg::Use-Pty=0",
        "-o",
        "Dpkg::Options::=--force-confdef",
        "-o",
        "Dpkg::Options::=--force-confold",
    ];
    let env = [
        ("DEBIAN_FRONTEND", "noninteractive"),
        ("APT_LISTCHANGES_FRONTEND", "none"),
        ("NEEDRESTART_SUSPEND", "1"),
        ("UCF_FORCE_CONFFOLD", "1"),
    ];
    Command {
        argv: fixed.iter().chain(args).map(|it| (*it).to_owned()).collect(),
        env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        timeout_ms: ALTER_TIMEOUT_MS,
        ..Command::default()
    }
}

pub(crate) fn refresh(watch: &mut dyn Watch) -> io::Result<Exit> {
    run(&apt(&["update"]), watch)
}

pub(crate) fn install(wishes: &[(String, Option<String>)], watch: &mut dyn Watch) -> io::Result<Exit> {
    let mut args = vec!["install"];
    if wishes.iter().any(|(_, version)| version.is_some()) {
        args.push("--allow-downgrades");
    }
    args.push("--");
    let words: Vec<String> = wishes
        .iter()
        .map(|(name, version)| version.as_ref().map_or_else(|| name.clone(), |it| format!("{name}={it}")))
        .collect();
    args.extend(words.iter().map(String::as_str));
    run(&apt(&args), watch)
}

pub(crate) fn remove(names: &[String], watch: &mut dyn Watch) -> io::Result<Exit> {
    let args: Vec<&str> = ["remove", "--"].into_iter().chain(names.iter().map(String::as_str)).collect();
    run(&apt(&args), watch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_installed_counts() {
        let text = include_str!("recorded/dpkg-query.txt");
        let installed = parse(text);
        let version = |name: &str| installed.get(name).map(String::as_str);
        assert_eq!(version("bash"), Some("5.2.15-2+b7"));
        assert_eq!(version("libc6:amd64"), Some("2.36-9+deb12u7"));
        assert_eq!(version("mawk"), Some("1.3.4.20200120-3.1"), "on hold, and installed");
        assert_eq!(version("awk"), Some(""), "provided by mawk");
        assert_eq!(version("nginx"), None, "removed, its configuration is left");
        assert_eq!(version("half"), None, "unpacked, not configured");
    }
}
