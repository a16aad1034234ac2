//! zypper: openSUSE.

use super::{
    Available, Install, InstallOption, Installed, LOCK_WAIT_S, PackageAction, Provider, Reach, Upgrade,
    alter, look, look_at, rpm, version, words,
};
use crate::host::Command;
use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

pub(super) struct Zypper;

fn zypper(options: &[&str], words: &[String]) -> Command {
    let argv: Vec<&str> = ["zypper", "--non-interactive"].iter().chain(options).copied().collect();
    let mut command = alter(&argv, words);
    command.env.push(("ZYPP_LOCK_TIMEOUT".to_owned(), LOCK_WAIT_S.to_owned()));
    command
}

fn install(install: &Install) -> Command {
    let mut args = Vec::new();
    if install.options.contains(&InstallOption::SkipVerify)
        || install.options.contains(&InstallOption::LocalFiles)
    {
        args.push("--no-gpg-checks");
    }
    args.extend([if install.options.contains(&InstallOption::OnlyUpgrade) { "update" } else { "install" }]);
    args.push("--auto-agree-with-licenses");
    match install.recommends {
        Some(true) => args.push("--recommends"),
        Some(false) => args.push("--no-recommends"),
        None => (),
    }
    for option in &install.options {
        match option {
            InstallOption::Reinstall => args.push("--force"),
            InstallOption::Downgrade => args.push("--oldpackage"),
            InstallOption::DownloadOnly => args.push("--download-only"),
            InstallOption::SkipVerify | InstallOption::OnlyUpgrade | InstallOption::LocalFiles => (),
        }
    }
    if let Some(from) = &install.from {
        args.extend(["--from", from]);
    }
    args.push("--");
    zypper(&args, &words(install, "="))
}

/// The cells of a table with `|` between the columns, by the names in its first row.
fn table(text: &str) -> impl Iterator<Item = BTreeMap<&str, &str>> {
    let mut heads: Vec<&str> = Vec::new();
    text.lines().filter_map(move |line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if cells.len() < 3 {
            return None;
        }
        if cells.contains(&"Name") && (cells.contains(&"Type") || cells.contains(&"Arch")) {
            heads = cells;
            return None;
        }
        Some(heads.iter().copied().zip(cells).collect())
    })
}

impl Provider for Zypper {
    fn list(&self) -> Command {
        rpm::list()
    }
    fn parse_list(&self, text: &str) -> Installed {
        rpm::parse_list(text)
    }

    fn available(&self, names: &[String], from: Option<&str>) -> Command {
        let fixed = ["zypper", "--non-interactive", "--quiet", "--no-refresh", "search", "--details"];
        let mut args = fixed.to_vec();
        args.extend(["--match-exact", "--type", "package"]);
        args.extend(from.into_iter().flat_map(|it| ["--repo", it]));
        args.push("--");
        look_at(&args, names)
    }
    fn parse_available(&self, text: &str) -> BTreeMap<String, Available> {
        let mut all: BTreeMap<String, Available> = BTreeMap::new();
        for row in table(text).filter(|it| it.get("Type").is_none_or(|it| *it == "package")) {
            if let (Some(name), Some(version)) = (row.get("Name"), row.get("Version")) {
                all.entry((*name).to_owned()).or_default().versions.push((*version).to_owned());
            }
        }
        for entry in all.values_mut() {
            entry.versions.sort_by(|one, other| self.compare(other, one));
            entry.versions.dedup();
            entry.candidate = entry.versions.first().cloned();
        }
        all
    }

    fn upgrades(&self, _: Reach) -> Command {
        look(&["zypper", "--non-interactive", "--quiet", "--no-refresh", "list-updates"])
    }
    fn parse_upgrades(&self, text: &str) -> BTreeMap<String, Upgrade> {
        let row = |row: BTreeMap<&str, &str>| {
            let from = row.get("Current Version").map(|it| (*it).to_owned());
            let to = (*row.get("Available Version")?).to_owned();
            Some(((*row.get("Name")?).to_owned(), Upgrade { from, to }))
        };
        table(text).filter_map(row).collect()
    }

    fn holds(&self) -> Option<Command> {
        Some(look(&["zypper", "--non-interactive", "--quiet", "locks"]))
    }
    fn parse_holds(&self, text: &str) -> BTreeSet<String> {
        table(text).filter_map(|it| it.get("Name").map(|it| (*it).to_owned())).collect()
    }

    fn commands(&self, action: &PackageAction) -> Option<Vec<Command>> {
        Some(vec![match action {
            PackageAction::Refresh => zypper(&["refresh"], &[]),
            PackageAction::Install(it) => install(it),
            PackageAction::Remove(names) | PackageAction::Purge(names) => zypper(&["remove", "--"], names),
            PackageAction::Upgrade(Reach::Full) => {
                zypper(&["dist-upgrade", "--auto-agree-with-licenses"], &[])
            }
            PackageAction::Upgrade(Reach::Careful) => zypper(&["update", "--auto-agree-with-licenses"], &[]),
            PackageAction::Hold(names) => zypper(&["addlock", "--"], names),
            PackageAction::Unhold(names) => zypper(&["removelock", "--"], names),
        }])
    }

    fn compare(&self, one: &str, other: &str) -> Ordering {
        version::rpm(one, other)
    }
    fn lists(&self) -> &'static str {
        "/var/cache/zypp/solv"
    }
    /// From 100 on it tells of something beside the work: updates, a restart that is due; 104 is a name not found.
    fn is_good(&self, code: i32) -> bool {
        matches!(code, 0 | 100..=103 | 106)
    }
    fn not_found(&self) -> &'static [&'static str] {
        &["No provider of", "not found in package names"]
    }
}
