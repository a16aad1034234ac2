//! dnf, and yum before it: Fedora and its kin.

use super::{
    Available, Install, InstallOption, Installed, PackageAction, Provider, Reach, Upgrade, alter, look,
    look_at, rpm, version,
};
use crate::host::Command;
use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

/// With the program's name.
pub(super) struct Dnf(pub(super) &'static str);

impl Dnf {
    fn install(&self, install: &Install) -> Command {
        let mut args = vec![self.0, "-y"];
        let only = install.from.as_ref().map(|it| format!("--repo={it}"));
        let enable = install.enable.as_ref().map(|it| format!("--enablerepo={it}"));
        let disable = install.disable.as_ref().map(|it| format!("--disablerepo={it}"));
        args.extend([&only, &disable, &enable].into_iter().filter_map(|it| it.as_deref()));
        match install.recommends {
            Some(true) => args.push("--setopt=install_weak_deps=True"),
            Some(false) => args.push("--setopt=install_weak_deps=False"),
            None => (),
        }
        if install.options.contains(&InstallOption::SkipVerify)
            || install.options.contains(&InstallOption::LocalFiles)
        {
            args.push("--nogpgcheck");
        }
        if install.options.contains(&InstallOption::DownloadOnly) {
            args.push("--downloadonly");
        }
        let has = |option| install.options.contains(&option);
        args.push(match () {
            () if has(InstallOption::Reinstall) => "reinstall",
            () if has(InstallOption::OnlyUpgrade) => "upgrade",
            () if has(InstallOption::Downgrade) && self.0 == "yum" => "downgrade",
            () => "install",
        });
        alter(&args, &super::words(install, "-"))
    }
}

impl Provider for Dnf {
    fn list(&self) -> Command {
        rpm::list()
    }
    fn parse_list(&self, text: &str) -> Installed {
        rpm::parse_list(text)
    }

    fn available(&self, names: &[String], from: Option<&str>) -> Command {
        let from = from.map(|it| format!("--repo={it}"));
        let mut args = vec![self.0, "-q", "-C"];
        args.extend(from.as_deref());
        args.extend(["list", "--showduplicates"]);
        look_at(&args, names)
    }

    /// `name.architecture  version  repository`, in columns that yum breaks where they are too long.
    fn parse_available(&self, text: &str) -> BTreeMap<String, Available> {
        let mut all: BTreeMap<String, Available> = BTreeMap::new();
        for (name, version) in rows(text) {
            all.entry(name).or_default().versions.push(version);
        }
        for entry in all.values_mut() {
            entry.versions.sort_by(|one, other| self.compare(other, one));
            entry.versions.dedup();
            entry.candidate = entry.versions.first().cloned();
        }
        all
    }

    fn upgrades(&self, _: Reach) -> Command {
        look(&[self.0, "-q", "check-update"])
    }
    fn parse_upgrades(&self, text: &str) -> BTreeMap<String, Upgrade> {
        let text = text.split("Obsoleting").next().unwrap_or_default();
        rows(text).map(|(name, to)| (name, Upgrade { from: None, to })).collect()
    }

    fn holds(&self) -> Option<Command> {
        Some(look(&[self.0, "-q", "versionlock", "list"]))
    }
    /// `name-0:1.2-3.*` each, or (since dnf 5) `Package name: name`.
    fn parse_holds(&self, text: &str) -> BTreeSet<String> {
        let line = |line: &str| {
            if let Some(name) = line.strip_prefix("Package name: ") {
                return Some(name.trim().to_owned());
            }
            let line = line.trim();
            let (rest, _release) = line.rsplit_once('-')?;
            let (name, _version) = rest.rsplit_once('-')?;
            Some(name.to_owned()).filter(|it| !it.contains([' ', '#', '!']) && line.contains(':'))
        };
        text.lines().filter_map(line).collect()
    }

    fn commands(&self, action: &PackageAction) -> Option<Vec<Command>> {
        let program = self.0;
        Some(vec![match action {
            PackageAction::Refresh if program == "yum" => alter(&[program, "-y", "makecache"], &[]),
            PackageAction::Refresh => alter(&[program, "-y", "makecache", "--refresh"], &[]),
            PackageAction::Install(it) => self.install(it),
            PackageAction::Remove(names) | PackageAction::Purge(names) => {
                alter(&[program, "-y", "remove"], names)
            }
            PackageAction::Upgrade(_) => alter(&[program, "-y", "upgrade"], &[]),
            PackageAction::Hold(names) => alter(&[program, "-y", "versionlock", "add"], names),
            PackageAction::Unhold(names) => alter(&[program, "-y", "versionlock", "delete"], names),
        }])
    }

    fn compare(&self, one: &str, other: &str) -> Ordering {
        version::rpm(one, other)
    }
    fn lists(&self) -> &'static str {
        if self.0 == "yum" { "/var/cache/yum" } else { "/var/cache/dnf" }
    }
    /// 100: there are updates.
    fn is_good(&self, code: i32) -> bool {
        matches!(code, 0 | 100)
    }
    fn not_found(&self) -> &'static [&'static str] {
        &["Unable to find a match", "No match for argument", "No package ", "Status code: 404"]
    }
}

/// Names and versions out of a table. A row that is broken over two lines goes on with spaces.
fn rows(text: &str) -> impl Iterator<Item = (String, String)> {
    let mut rows: Vec<Vec<&str>> = Vec::new();
    for line in text.lines() {
        let words = line.split_whitespace();
        match rows.last_mut().filter(|it| line.starts_with(' ') && it.len() < 3) {
            Some(row) => row.extend(words),
            None => rows.push(words.collect()),
        }
    }
    rows.into_iter().filter_map(|row| {
        let [name, version, _repository] = row[..] else { return None };
        let (name, _architecture) = name.rsplit_once('.')?;
        let is_version = version.contains('-') && version.contains(|it: char| it.is_ascii_digit());
        is_version.then(|| (name.to_owned(), rpm::plain(version)))
    })
}
