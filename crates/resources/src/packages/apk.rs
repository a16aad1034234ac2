//! apk: Alpine.

use super::{
    Available, Install, InstallOption, Installed, LOCK_WAIT_S, PackageAction, Provider, Reach, Upgrade,
    alter, look, look_at, version, words,
};
use crate::host::Command;
use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

pub(super) struct Apk;

fn apk(options: &[&str], words: &[String]) -> Command {
    let argv: Vec<&str> =
        ["apk", "--no-progress", "--wait", LOCK_WAIT_S].iter().chain(options).copied().collect();
    alter(&argv, words)
}

fn install(install: &Install) -> Command {
    let mut args = Vec::new();
    if install.options.contains(&InstallOption::SkipVerify)
        || install.options.contains(&InstallOption::LocalFiles)
    {
        args.push("--allow-untrusted");
    }
    let from = install.from.as_ref().map(|it| format!("--repository={it}"));
    args.extend(from.as_deref());
    if install.options.contains(&InstallOption::Reinstall) {
        args.extend(["fix", "--reinstall"]);
    } else {
        args.push("add");
    }
    args.push("--");
    apk(&args, &words(install, "="))
}

/// `name-1.2-r3`: neither version nor release has a dash.
fn split(word: &str) -> Option<(&str, &str)> {
    let release = word.rfind("-r")?;
    let start = word[..release].rfind('-')?;
    Some((&word[..start], &word[start + 1..]))
}

impl Provider for Apk {
    fn list(&self) -> Command {
        look(&["apk", "info", "-v"])
    }
    fn parse_list(&self, text: &str) -> Installed {
        let line =
            |line: &str| split(line.trim()).map(|(name, version)| (name.to_owned(), version.to_owned()));
        Installed { versions: text.lines().filter_map(line).collect(), ..Installed::default() }
    }

    fn available(&self, names: &[String], _: Option<&str>) -> Command {
        look_at(&["apk", "policy", "--"], names)
    }
    /// `name policy:`, below it versions, and below each where it is: a repository, or only the machine itself.
    fn parse_available(&self, text: &str) -> BTreeMap<String, Available> {
        let mut all: BTreeMap<String, Available> = BTreeMap::new();
        let (mut name, mut version) = ("", "");
        for line in text.lines() {
            if let Some(head) = line.strip_suffix(" policy:") {
                name = head;
            } else if line.starts_with("    ") {
                let entry = all.entry(name.to_owned()).or_default();
                let is_here = line.trim() == "lib/apk/db/installed";
                if !is_here && !entry.versions.iter().any(|it| it == version) {
                    entry.versions.push(version.to_owned());
                }
            } else {
                version = line.trim().trim_end_matches(':');
            }
        }
        for entry in all.values_mut() {
            entry.versions.sort_by(|one, other| self.compare(other, one));
            entry.candidate = entry.versions.first().cloned();
        }
        all
    }

    fn upgrades(&self, _: Reach) -> Command {
        look(&["apk", "--no-progress", "--simulate", "upgrade"])
    }
    /// `(1/3) Upgrading name (old -> new)`.
    fn parse_upgrades(&self, text: &str) -> BTreeMap<String, Upgrade> {
        let line = |line: &str| {
            let (_, rest) = line.split_once(") ")?;
            let (verb, rest) = rest.split_once(' ')?;
            let (name, versions) = rest.split_once(" (")?;
            let versions = versions.trim_end_matches(')');
            let upgrade = match (verb, versions.split_once(" -> ")) {
                ("Upgrading", Some((from, to))) => Upgrade { from: Some(from.to_owned()), to: to.to_owned() },
                ("Installing", None) => Upgrade { from: None, to: versions.to_owned() },
                _ => return None,
            };
            Some((name.to_owned(), upgrade))
        };
        text.lines().filter_map(line).collect()
    }

    fn holds(&self) -> Option<Command> {
        None
    }
    fn parse_holds(&self, _: &str) -> BTreeSet<String> {
        BTreeSet::new()
    }

    fn commands(&self, action: &PackageAction) -> Option<Vec<Command>> {
        Some(vec![match action {
            PackageAction::Refresh => apk(&["update"], &[]),
            PackageAction::Install(it) => install(it),
            PackageAction::Remove(names) => apk(&["del", "--"], names),
            PackageAction::Purge(names) => apk(&["del", "--purge", "--"], names),
            PackageAction::Upgrade(_) => apk(&["upgrade"], &[]),
            PackageAction::Hold(_) | PackageAction::Unhold(_) => return None,
        }])
    }

    fn compare(&self, one: &str, other: &str) -> Ordering {
        version::apk(one, other)
    }
    fn lists(&self) -> &'static str {
        "/var/cache/apk"
    }
    fn not_found(&self) -> &'static [&'static str] {
        &["no such package", "unable to select packages", "breaks: world"]
    }
}
