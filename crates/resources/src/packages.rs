//! Package managers behind one interface: what they are asked, with which command, and what their answers mean. All of
//! it is pure, so that it is tested on recorded output; a host runs the commands.

mod apk;
mod apt;
mod dnf;
mod pacman;
mod rpm;
pub mod version;
mod zypper;

use crate::host::Command;
use serde::{Deserialize, Serialize};
use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

/// Longest that an alteration may take, and a look.
const ALTER_TIMEOUT_MS: u64 = 3_600_000;
const LOOK_TIMEOUT_MS: u64 = 300_000;
/// Seconds that another package manager's lock is waited for, where the program can wait.
pub(crate) const LOCK_WAIT_S: &str = "120";

/// A package manager.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Manager {
    /// Debian and its kin.
    #[default]
    Apt,
    /// Fedora and its kin.
    Dnf,
    /// The older ones of these.
    Yum,
    /// openSUSE.
    Zypper,
    /// Arch.
    Pacman,
    /// Alpine.
    Apk,
}

impl Manager {
    /// All, with the program that shows which it is, in the order they are looked for.
    pub const PROGRAMS: [(Self, &'static str); 6] = [
        (Self::Apt, "/usr/bin/apt-get"),
        (Self::Dnf, "/usr/bin/dnf"),
        (Self::Zypper, "/usr/bin/zypper"),
        (Self::Yum, "/usr/bin/yum"),
        (Self::Pacman, "/usr/bin/pacman"),
        (Self::Apk, "/sbin/apk"),
    ];

    /// Its commands and the meaning of what they say.
    pub fn provider(self) -> &'static dyn Provider {
        match self {
            Self::Apt => &apt::Apt,
            Self::Dnf => &dnf::Dnf("dnf"),
            Self::Yum => &dnf::Dnf("yum"),
            Self::Zypper => &zypper::Zypper,
            Self::Pacman => &pacman::Pacman,
            Self::Apk => &apk::Apk,
        }
    }
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Apt => "apt",
            Self::Dnf => "dnf",
            Self::Yum => "yum",
            Self::Zypper => "zypper",
            Self::Pacman => "pacman",
            Self::Apk => "apk",
        }
    }
}

/// How old the lists of what can be installed may be. Fetching them alters what is known of the repositories, not what
/// is on the machine, so that a check may ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lists {
    /// As they are.
    Known,
    /// Fetched once in this run; if they cannot be fetched, as they are.
    Recent,
    /// Fetched since something was altered last, also where lists are not fetched by themselves.
    Fresh,
    /// Not older than this many seconds.
    Within(u64),
}

/// What is installed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installed {
    /// Name, also with its architecture, and version; what something else provides has an empty version.
    pub versions: BTreeMap<String, String>,
    /// Removed, but their configuration is still there.
    pub left_over: BTreeSet<String>,
}

/// What can be installed under one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Available {
    /// What an install without a version brings.
    pub candidate: Option<String>,
    /// All, newest first.
    pub versions: Vec<String>,
}

/// What an upgrade would do to a package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upgrade {
    /// Its version; none if it would be new.
    pub from: Option<String>,
    /// Afterwards.
    pub to: String,
}

/// What to install.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Install {
    /// Names, each with the version if it matters.
    pub wishes: Vec<(String, Option<String>)>,
    /// Files of packages, instead.
    pub files: Vec<PathBuf>,
    /// Only out of this repository or release.
    pub from: Option<String>,
    /// Whether what they recommend is installed, too; as the machine has it if none.
    pub recommends: Option<bool>,
    /// Repositories that are used although they are disabled, and the other way round (dnf and yum).
    pub enable: Option<String>,
    /// See `enable`.
    pub disable: Option<String>,
    /// How unusual it is.
    pub options: BTreeSet<InstallOption>,
}

/// What an install does that it would not do by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum InstallOption {
    /// Signatures of repositories and packages do not matter.
    SkipVerify,
    /// Nothing new.
    OnlyUpgrade,
    /// Also what has this version already.
    Reinstall,
    /// An older version than there is.
    Downgrade,
    /// Files of packages out of the tree, which have no signature of a repository.
    LocalFiles,
    /// Fetches only; nothing is altered.
    DownloadOnly,
}

/// What can be done with packages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PackageAction {
    /// Fetches the lists of what can be installed.
    Refresh,
    /// Installs.
    Install(Install),
    /// Removes; configuration files stay.
    Remove(Vec<String>),
    /// Removes with the configuration files.
    Purge(Vec<String>),
    /// Upgrades everything.
    Upgrade(Reach),
    /// Keeps these as they are from now on.
    Hold(Vec<String>),
    /// Does not any more.
    Unhold(Vec<String>),
}

/// How far an upgrade goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Nothing is removed, and nothing new is installed.
    Careful,
    /// What the new versions need.
    Full,
}

/// A package manager's commands and the meaning of their answers.
pub trait Provider: Sync {
    /// Everything that is installed.
    fn list(&self) -> Command;
    /// The answer.
    fn parse_list(&self, text: &str) -> Installed;
    /// What can be installed under these names.
    fn available(&self, names: &[String], from: Option<&str>) -> Command;
    /// The answer.
    fn parse_available(&self, text: &str) -> BTreeMap<String, Available>;
    /// What an upgrade would do.
    fn upgrades(&self, reach: Reach) -> Command;
    /// The answer.
    fn parse_upgrades(&self, text: &str) -> BTreeMap<String, Upgrade>;
    /// What is held; none if this manager cannot hold.
    fn holds(&self) -> Option<Command>;
    /// The answer.
    fn parse_holds(&self, text: &str) -> BTreeSet<String>;
    /// The commands of an action, one after the other; none if this manager cannot do it.
    fn commands(&self, action: &PackageAction) -> Option<Vec<Command>>;
    /// Which of two versions is newer.
    fn compare(&self, one: &str, other: &str) -> Ordering;
    /// The file or folder whose age is that of the lists.
    fn lists(&self) -> &'static str;
    /// Whether the lists may be fetched without upgrading everything afterwards.
    fn may_refresh_alone(&self) -> bool {
        true
    }
    /// Whether a command that ended so has done its work, or a look found an answer.
    fn is_good(&self, code: i32) -> bool {
        code == 0
    }
    /// What the program says when a name or a version is in none of its lists.
    fn not_found(&self) -> &'static [&'static str];
}

fn look(argv: &[&str]) -> Command {
    Command {
        argv: argv.iter().map(|it| (*it).to_owned()).collect(),
        env: vec![("LC_ALL".to_owned(), "C".to_owned())],
        timeout_ms: LOOK_TIMEOUT_MS,
        ..Command::default()
    }
}

fn look_at(argv: &[&str], names: &[String]) -> Command {
    let mut command = look(argv);
    command.argv.extend_from_slice(names);
    command
}

fn alter(argv: &[&str], words: &[String]) -> Command {
    Command { timeout_ms: ALTER_TIMEOUT_MS, ..look_at(argv, words) }
}

/// `name` and, if it is given, the version behind `mark`; and the files.
fn words(install: &Install, mark: &str) -> Vec<String> {
    let wish = |(name, version): &(String, Option<String>)| match version {
        Some(version) => format!("{name}{mark}{version}"),
        None => name.clone(),
    };
    let files = install.files.iter().map(|it| it.display().to_string());
    install.wishes.iter().map(wish).chain(files).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(action: &PackageAction, manager: Manager) -> String {
        let commands = manager.provider().commands(action).unwrap();
        commands.iter().map(|it| it.argv.join(" ")).collect::<Vec<_>>().join("; ")
    }

    fn versions(found: &BTreeMap<String, Available>, name: &str) -> String {
        found.get(name).map_or_else(|| "none".to_owned(), |it| it.versions.join(" "))
    }

    // From dpkg 1.21 on Debian 12.
    #[test]
    fn dpkg_tells_what_is_installed_and_what_is_left() {
        let found = Manager::Apt.provider().parse_list(include_str!("packages/recorded/dpkg-query.txt"));
        let version = |name: &str| found.versions.get(name).map(String::as_str);
        assert_eq!(version("bash"), Some("5.2.15-2+b7"));
        assert_eq!(version("libc6:amd64"), Some("2.36-9+deb12u7"));
        assert_eq!(version("mawk"), Some("1.3.4.20200120-3.1"), "on hold, and installed");
        assert_eq!(version("awk"), Some(""), "provided by mawk");
        assert_eq!(version("nginx"), None, "removed, its configuration is left");
        assert!(found.left_over.contains("nginx"));
        assert_eq!(version("half"), None, "unpacked, not configured");
    }

    // From apt 2.6 on Debian 12.
    #[test]
    fn apt_tells_what_is_on_offer_and_what_an_upgrade_would_do() {
        let apt = Manager::Apt.provider();
        let found = apt.parse_available(include_str!("packages/recorded/apt-policy.txt"));
        assert_eq!(versions(&found, "bash"), "5.2.15-2+b13 5.2.15-2+b8");
        assert_eq!(versions(&found, "nginx"), "1.22.1-9+deb12u10 1.22.1-9+deb12u9");
        assert_eq!(found["nginx"].candidate.as_deref(), Some("1.22.1-9+deb12u10"));
        assert_eq!(versions(&found, "awk"), "none", "only provided by others");
        let found = apt.parse_upgrades(include_str!("packages/recorded/apt-upgrade.txt"));
        assert_eq!(found["bash"], Upgrade { from: Some("5.2.15-2+b8".into()), to: "5.2.15-2+b13".into() });
        assert_eq!(found["hello"], Upgrade { from: None, to: "2.10-3".into() });
        assert_eq!(apt.parse_holds("bash\nlibc6\n").len(), 2);
    }

    // From dnf 4.14.0 and rpm 4.18.
    #[test]
    fn dnf_tells_what_is_on_offer_and_what_an_upgrade_would_do() {
        let dnf = Manager::Dnf.provider();
        let found = dnf.parse_list(include_str!("packages/recorded/rpm-qa.txt"));
        assert_eq!(found.versions["labepoch"], "2:0.9-3");
        assert_eq!(found.versions["labtool.noarch"], "1.2-1");
        let found = dnf.parse_available(include_str!("packages/recorded/dnf-list.txt"));
        assert_eq!(versions(&found, "labtool"), "2.0~rc1-1 1.10-1 1.2-1");
        assert_eq!(versions(&found, "labepoch"), "2:0.9-3");
        let long = "lab-a-very-long-package-name-that-breaks-columns";
        assert_eq!(versions(&found, long), "1.0.0.20240101git0123456789abcdef-1");
        let found = dnf.parse_upgrades(include_str!("packages/recorded/dnf-check-update.txt"));
        assert_eq!(found.len(), 1);
        assert_eq!(found["labtool"].to, "2.0~rc1-1");
        assert!(dnf.is_good(100));
    }

    // As the manuals of yum 3 and of the versionlock plugins of dnf 4 and dnf 5 show them.
    #[test]
    fn yum_breaks_long_rows_and_locks_have_two_forms() {
        let text = "Available Packages\nkernel.x86_64            3.10.0-1160.el7          base\n\
                    a-name-that-is-really-too-long-for-a-column.noarch\n                         1.0-1                    base\n";
        let found = Manager::Yum.provider().parse_available(text);
        assert_eq!(versions(&found, "kernel"), "3.10.0-1160.el7");
        assert_eq!(versions(&found, "a-name-that-is-really-too-long-for-a-column"), "1.0-1");
        let locks =
            Manager::Dnf.provider().parse_holds("Last metadata expiration check\nlab-tool-0:1.2-3.fc39.*\n");
        assert_eq!(locks, BTreeSet::from(["lab-tool".to_owned()]));
        let locks = Manager::Dnf.provider().parse_holds("Package name: lab-tool\nevr = 1.2-3.fc41\n");
        assert_eq!(locks, BTreeSet::from(["lab-tool".to_owned()]));
    }

    // From zypper 1.14.42.
    #[test]
    fn zypper_tells_in_tables() {
        let zypper = Manager::Zypper.provider();
        let found = zypper.parse_available(include_str!("packages/recorded/zypper-search.txt"));
        assert_eq!(versions(&found, "labtool"), "2.0~rc1-1 1.10-1 1.2-1");
        assert_eq!(versions(&found, "labepoch"), "2:0.9-3");
        let found = zypper.parse_upgrades(include_str!("packages/recorded/zypper-list-updates.txt"));
        assert_eq!(found["labtool"], Upgrade { from: Some("1.2-1".into()), to: "2.0~rc1-1".into() });
        let found = zypper.parse_holds(include_str!("packages/recorded/zypper-locks.txt"));
        assert_eq!(found, BTreeSet::from(["labtool".to_owned()]));
        assert!(zypper.is_good(102) && !zypper.is_good(104));
    }

    // From pacman 6.0.2.
    #[test]
    fn pacman_tells_in_blocks() {
        let pacman = Manager::Pacman.provider();
        let found = pacman.parse_list(include_str!("packages/recorded/pacman-q.txt"));
        assert_eq!(found.versions["labepoch"], "2:0.9-3");
        let found = pacman.parse_available(include_str!("packages/recorded/pacman-si.txt"));
        assert_eq!(versions(&found, "labtool"), "1.2-1");
        assert_eq!(found.len(), 2);
        let found = pacman.parse_upgrades(include_str!("packages/recorded/pacman-qu.txt"));
        assert_eq!(found["labtool"], Upgrade { from: Some("1.2-1".into()), to: "1.10-1".into() });
        let ignored = pacman.parse_upgrades("linux 6.1-1 -> 6.2-1 [ignored]\n");
        assert!(ignored.is_empty(), "an upgrade leaves it as it is");
    }

    // As the documentation of apk-tools 2.14 shows it.
    #[test]
    fn apk_tells_names_and_versions_in_one_word() {
        let apk = Manager::Apk.provider();
        let found = apk.parse_list(include_str!("packages/recorded/apk-info.txt"));
        assert_eq!(found.versions["ca-certificates-bundle"], "20230506-r0");
        assert_eq!(found.versions["py3-six"], "1.16.0_p1-r6");
        let found = apk.parse_available(include_str!("packages/recorded/apk-policy.txt"));
        assert_eq!(versions(&found, "busybox"), "1.36.1-r7", "what is only installed is not on offer");
        assert_eq!(versions(&found, "nginx"), "1.24.0-r7 1.24.0-r6");
        let found = apk.parse_upgrades(include_str!("packages/recorded/apk-upgrade.txt"));
        assert_eq!(found["busybox"], Upgrade { from: Some("1.36.1-r5".into()), to: "1.36.1-r7".into() });
        assert_eq!(found["ssl_client"].from, None);
    }

    #[test]
    fn each_manager_gets_its_own_words() {
        let install = PackageAction::Install(Install {
            wishes: vec![("a".into(), Some("1.2-1".into())), ("b".into(), None)],
            from: Some("lab".into()),
            recommends: Some(false),
            options: [InstallOption::Downgrade].into(),
            ..Install::default()
        });
        for (manager, wanted) in [
            (
                Manager::Apt,
                "apt-get -y -q -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confdef -o \
                 Dpkg::Options::=--force-confold --no-install-recommends --allow-downgrades -t lab install -- a=1.2-1 b",
            ),
            (Manager::Dnf, "dnf -y --repo=lab --setopt=install_weak_deps=False install a-1.2-1 b"),
            (Manager::Yum, "yum -y --repo=lab --setopt=install_weak_deps=False downgrade a-1.2-1 b"),
            (
                Manager::Zypper,
                "zypper --non-interactive install --auto-agree-with-licenses --no-recommends --oldpackage --from lab -- \
                 a=1.2-1 b",
            ),
            (Manager::Pacman, "pacman -S --needed --noconfirm --noprogressbar -- lab/a=1.2-1 lab/b"),
            (Manager::Apk, "apk --no-progress --wait 120 --repository=lab add -- a=1.2-1 b"),
        ] {
            assert_eq!(said(&install, manager), wanted);
        }
        let purge = PackageAction::Purge(vec!["a".into()]);
        assert!(said(&purge, Manager::Apt).ends_with(" purge -- a"));
        assert_eq!(said(&purge, Manager::Pacman), "pacman -Rns --noconfirm --noprogressbar -- a");
        for (manager, _) in Manager::PROGRAMS {
            let hold = PackageAction::Hold(vec!["a".into()]);
            let can = manager.provider().commands(&hold).is_some();
            assert_eq!(can, manager.provider().holds().is_some(), "{}", manager.name());
        }
    }
}
