//! pacman: Arch.

use super::{
    Available, Install, InstallOption, Installed, PackageAction, Provider, Reach, Upgrade, alter, look,
    look_at, version, words,
};
use crate::host::Command;
use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

pub(super) struct Pacman;

const ALTER: [&str; 2] = ["--noconfirm", "--noprogressbar"];

fn pacman(options: &[&str], words: &[String]) -> Command {
    let argv: Vec<&str> = ["pacman"].iter().chain(options).chain(&ALTER).chain(&["--"]).copied().collect();
    alter(&argv, words)
}

fn install(install: &Install) -> Command {
    let mut args = vec![if install.files.is_empty() { "-S" } else { "-U" }];
    if install.options.contains(&InstallOption::DownloadOnly) {
        args.push("--downloadonly");
    }
    if !install.options.contains(&InstallOption::Reinstall) {
        args.push("--needed");
    }
    let mut install = install.clone();
    if let Some(from) = install.from.take() {
        install.wishes.iter_mut().for_each(|it| it.0 = format!("{from}/{}", it.0));
    }
    pacman(&args, &words(&install, "="))
}

impl Provider for Pacman {
    fn list(&self) -> Command {
        look(&["pacman", "-Q"])
    }
    fn parse_list(&self, text: &str) -> Installed {
        let line = |line: &str| {
            line.split_once(' ').map(|(name, version)| (name.to_owned(), version.trim().to_owned()))
        };
        Installed { versions: text.lines().filter_map(line).collect(), ..Installed::default() }
    }

    fn available(&self, names: &[String], from: Option<&str>) -> Command {
        let names: Vec<String> =
            names.iter().map(|it| from.map_or_else(|| it.clone(), |from| format!("{from}/{it}"))).collect();
        look_at(&["pacman", "-Si", "--"], &names)
    }
    /// Blocks of `Key  : value`; of several repositories the first one counts.
    fn parse_available(&self, text: &str) -> BTreeMap<String, Available> {
        let mut all: BTreeMap<String, Available> = BTreeMap::new();
        let mut name = "";
        for line in text.lines() {
            let Some((key, value)) = line.split_once(" : ") else { continue };
            match key.trim() {
                "Name" => name = value.trim(),
                "Version" => {
                    let entry = all.entry(name.to_owned()).or_default();
                    entry.candidate.get_or_insert_with(|| value.trim().to_owned());
                    entry.versions.push(value.trim().to_owned());
                }
                _ => (),
            }
        }
        all
    }

    fn upgrades(&self, _: Reach) -> Command {
        look(&["pacman", "-Qu"])
    }
    /// `name old -> new`, with `[ignored]` behind what the configuration holds.
    fn parse_upgrades(&self, text: &str) -> BTreeMap<String, Upgrade> {
        let line = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [name, from, "->", to] = words[..] else { return None };
            Some((name.to_owned(), Upgrade { from: Some(from.to_owned()), to: to.to_owned() }))
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
            PackageAction::Refresh => pacman(&["-Sy"], &[]),
            PackageAction::Install(it) => install(it),
            PackageAction::Remove(names) => pacman(&["-R"], names),
            PackageAction::Purge(names) => pacman(&["-Rns"], names),
            PackageAction::Upgrade(_) => pacman(&["-Su"], &[]),
            PackageAction::Hold(_) | PackageAction::Unhold(_) => return None,
        }])
    }

    fn compare(&self, one: &str, other: &str) -> Ordering {
        version::rpm(one, other)
    }
    fn lists(&self) -> &'static str {
        "/var/lib/pacman/sync"
    }
    /// Newer lists than packages break a system that is upgraded as a whole only.
    fn may_refresh_alone(&self) -> bool {
        false
    }
    fn not_found(&self) -> &'static [&'static str] {
        &["target not found", "404"]
    }
}
