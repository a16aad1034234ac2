//! apt: Debian and its kin. dpkg-query and apt-cache tell, apt-get and apt-mark alter.

use super::{
    Available, Install, InstallOption, Installed, LOCK_WAIT_S, PackageAction, Provider, Reach, Upgrade,
    alter, look, look_at, version, words,
};
use crate::host::Command;
use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

pub(super) struct Apt;

/// Configuration files that were altered by hand stay, as in Salt.
fn apt_get(options: &[&str], words: &[String]) -> Command {
    let lock = format!("DPkg::Lock::Timeout={LOCK_WAIT_S}");
    let fixed = [
        "apt-get",
        "-y",
        "-q",
        "-o",
        &lock,
        "-o",
        "Dpkg::Use-Pty=0",
        "-o",
        "Dpkg::Options::=--force-confdef",
        "-o",
        "Dpkg::Options::=--force-confold",
    ];
    let argv: Vec<&str> = fixed.iter().chain(options).copied().collect();
    let env = [
        ("DEBIAN_FRONTEND", "noninteractive"),
        ("APT_LISTCHANGES_FRONTEND", "none"),
        ("NEEDRESTART_SUSPEND", "1"),
        ("UCF_FORCE_CONFFOLD", "1"),
    ];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    Command { env, ..alter(&argv, words) }
}

fn install(install: &Install) -> Command {
    let mut args = Vec::new();
    match install.recommends {
        Some(true) => args.push("--install-recommends"),
        Some(false) => args.push("--no-install-recommends"),
        None => (),
    }
    for option in &install.options {
        match option {
            InstallOption::SkipVerify => args.push("--allow-unauthenticated"),
            InstallOption::OnlyUpgrade => args.push("--only-upgrade"),
            InstallOption::Reinstall => args.push("--reinstall"),
            InstallOption::Downgrade => args.push("--allow-downgrades"),
            InstallOption::DownloadOnly => args.push("--download-only"),
            InstallOption::LocalFiles => (),
        }
    }
    if let Some(from) = &install.from {
        args.extend(["-t", from]);
    }
    args.extend(["install", "--"]);
    apt_get(&args, &words(install, "="))
}

impl Provider for Apt {
    fn list(&self) -> Command {
        let format = r"-f=${db:Status-Abbrev}\t${Package}\t${Architecture}\t${Version}\t${Provides}\n";
        look(&["dpkg-query", "-W", format])
    }

    fn parse_list(&self, text: &str) -> Installed {
        let mut found = Installed::default();
        let mut provided = Vec::new();
        for line in text.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            let [status, name, architecture, version, also] = fields[..] else { continue };
            // The second letter is what is: `i` for installed, `c` for left-over configuration, and so on.
            match status.as_bytes().get(1) {
                Some(b'i') => (),
                Some(b'c') => {
                    found.left_over.insert(name.to_owned());
                    continue;
                }
                _ => continue,
            }
            found.versions.insert(name.to_owned(), version.to_owned());
            found.versions.insert(format!("{name}:{architecture}"), version.to_owned());
            let names = also.split(',').filter_map(|it| it.split_whitespace().next());
            provided.extend(names.map(str::to_owned));
        }
        for name in provided {
            found.versions.entry(name).or_default();
        }
        found.left_over.retain(|it| !found.versions.contains_key(it));
        found
    }

    fn available(&self, names: &[String], from: Option<&str>) -> Command {
        match from {
            Some(from) => look_at(&["apt-cache", "-q", "-t", from, "policy", "--"], names),
            None => look_at(&["apt-cache", "-q", "policy", "--"], names),
        }
    }

    /// A name, then its candidate, then a table of versions, each with its priority and below it where it is.
    fn parse_available(&self, text: &str) -> BTreeMap<String, Available> {
        let mut all: BTreeMap<String, Available> = BTreeMap::new();
        let mut name = String::new();
        for line in text.lines() {
            if !line.starts_with(' ') {
                line.trim_end_matches(':').clone_into(&mut name);
                continue;
            }
            let entry = all.entry(name.clone()).or_default();
            if let Some(candidate) = line.strip_prefix("  Candidate: ") {
                entry.candidate = Some(candidate.trim().to_owned()).filter(|it| it != "(none)");
            } else if let Some(row) = line.strip_prefix("     ").or_else(|| line.strip_prefix(" *** ")) {
                let version = row.split(' ').next().unwrap_or_default();
                if !version.is_empty() {
                    entry.versions.push(version.to_owned());
                }
            }
        }
        all.retain(|_, it| !it.versions.is_empty());
        all
    }

    fn upgrades(&self, reach: Reach) -> Command {
        let verb = if reach == Reach::Full { "dist-upgrade" } else { "upgrade" };
        look(&["apt-get", "-q", "--just-print", verb])
    }

    /// `Inst name [old] (new where [architecture])`.
    fn parse_upgrades(&self, text: &str) -> BTreeMap<String, Upgrade> {
        let line = |line: &str| {
            let mut rest = line.strip_prefix("Inst ")?.split_whitespace();
            let name = rest.next()?.to_owned();
            let second = rest.next()?;
            let from = second.strip_prefix('[').map(|it| it.trim_end_matches(']').to_owned());
            let to = if from.is_some() { rest.next()? } else { second };
            Some((name, Upgrade { from, to: to.strip_prefix('(')?.to_owned() }))
        };
        text.lines().filter_map(line).collect()
    }

    fn holds(&self) -> Option<Command> {
        Some(look(&["apt-mark", "showhold"]))
    }
    fn parse_holds(&self, text: &str) -> BTreeSet<String> {
        text.lines().map(str::trim).filter(|it| !it.is_empty()).map(str::to_owned).collect()
    }

    fn commands(&self, action: &PackageAction) -> Option<Vec<Command>> {
        Some(vec![match action {
            PackageAction::Refresh => apt_get(&["update"], &[]),
            PackageAction::Install(it) => install(it),
            PackageAction::Remove(names) => apt_get(&["remove", "--"], names),
            PackageAction::Purge(names) => apt_get(&["purge", "--"], names),
            PackageAction::Upgrade(Reach::Full) => apt_get(&["dist-upgrade"], &[]),
            PackageAction::Upgrade(Reach::Careful) => apt_get(&["upgrade"], &[]),
            PackageAction::Hold(names) => alter(&["apt-mark", "hold", "--"], names),
            PackageAction::Unhold(names) => alter(&["apt-mark", "unhold", "--"], names),
        }])
    }

    fn compare(&self, one: &str, other: &str) -> Ordering {
        version::debian(one, other)
    }
    fn lists(&self) -> &'static str {
        "/var/lib/apt/lists"
    }
    fn not_found(&self) -> &'static [&'static str] {
        &["Unable to locate package", "has no installation candidate", "404", "was not found"]
    }
}
