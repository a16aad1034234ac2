//! What a sandbox pretends: packages, services, accounts, crontabs, kernel parameters and owners of files, as JSON.

use resources::{
    host::{
        Action, Aging, Attributes, Exit, Gecos, Group, GroupChange, Unit, UnitAction, User, UserChange,
        UserRemoval, Watch,
    },
    packages::{Available, PackageAction},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Write},
    path::Path,
};

/// The version of every package that is installed without one.
const VERSION: &str = "1.0-sandbox";
/// First numbers of new accounts, as in Debian.
const FIRST_ID: u32 = 1000;
const FIRST_SYSTEM_ID: u32 = 100;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Service {
    active: bool,
    enabled: bool,
    /// Whether nothing can start it.
    #[serde(default)]
    masked: bool,
    /// How often it was started or restarted, and reloaded: for looking at.
    starts: u32,
    reloads: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Account {
    uid: u32,
    gid: u32,
    fullname: String,
    /// The other fields of the comment.
    #[serde(default)]
    office: [String; 4],
    home: String,
    shell: String,
    password: String,
    #[serde(default)]
    aging: Aging,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Team {
    gid: u32,
    members: Vec<String>,
}

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Pretended {
    packages: BTreeMap<String, String>,
    #[serde(default)]
    held: BTreeSet<String>,
    services: BTreeMap<String, Service>,
    users: BTreeMap<String, Account>,
    groups: BTreeMap<String, Team>,
    crontabs: BTreeMap<String, String>,
    sysctls: BTreeMap<String, String>,
    /// Of paths that are not root's.
    owners: BTreeMap<String, (u32, u32)>,
    /// Whether it differs from the file.
    #[serde(skip)]
    altered: bool,
}

impl Pretended {
    /// From the file, or a fresh machine if there is none.
    pub(super) fn load(path: &Path) -> io::Result<Self> {
        match fs::read(path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::fresh()),
            Err(error) => Err(error),
        }
    }

    /// Into the file, in one step.
    pub(super) fn save(&mut self, path: &Path) -> io::Result<()> {
        if !self.altered {
            return Ok(());
        }
        let folder = path.parent().unwrap_or(Path::new("/"));
        let mut draft = tempfile::NamedTempFile::new_in(folder)?;
        draft.write_all(&serde_json::to_vec_pretty(self)?)?;
        draft.persist(path).map_err(|error| error.error)?;
        self.altered = false;
        Ok(())
    }

    /// What every Debian has.
    fn fresh() -> Self {
        const ACCOUNTS: [(&str, u32); 9] = [
            ("root", 0),
            ("daemon", 1),
            ("bin", 2),
            ("sys", 3),
            ("man", 6),
            ("mail", 8),
            ("www-data", 33),
            ("backup", 34),
            ("nobody", 65534),
        ];
        const GROUPS: [(&str, u32); 10] = [
            ("adm", 4),
            ("tty", 5),
            ("disk", 6),
            ("dialout", 20),
            ("sudo", 27),
            ("audio", 29),
            ("video", 44),
            ("staff", 50),
            ("users", 100),
            ("nogroup", 65534),
        ];
        let account = |(name, id): (&str, u32)| {
            let home = if id == 0 { "/root".to_owned() } else { "/nonexistent".to_owned() };
            let shell = if id == 0 { "/bin/bash" } else { "/usr/sbin/nologin" }.to_owned();
            let account =
                Account { uid: id, gid: id, home, shell, password: "*".to_owned(), ..Account::default() };
            (name.to_owned(), account)
        };
        let team = |(name, gid): (&str, u32)| (name.to_owned(), Team { gid, members: Vec::new() });
        let own = ACCOUNTS.into_iter().filter(|it| it.0 != "nobody");
        Self {
            users: ACCOUNTS.into_iter().map(account).collect(),
            groups: own.chain(GROUPS).map(team).collect(),
            ..Self::default()
        }
    }

    pub(super) fn owner(&self, path: &str) -> (u32, u32) {
        self.owners.get(path).copied().unwrap_or_default()
    }
    pub(super) fn set_owner(&mut self, path: &str, how: Attributes) {
        let before = self.owner(path);
        let after = (how.uid.unwrap_or(before.0), how.gid.unwrap_or(before.1));
        if before != after {
            self.altered = true;
            match after {
                (0, 0) => self.owners.remove(path),
                _ => self.owners.insert(path.to_owned(), after),
            };
        }
    }
    /// What was at `from`, and beneath it, is at `to` now.
    pub(super) fn rename(&mut self, from: &str, to: &str) {
        let beneath = format!("{from}/");
        let moved: Vec<String> =
            self.owners.keys().filter(|it| *it == from || it.starts_with(&beneath)).cloned().collect();
        for path in moved {
            if let Some(owner) = self.owners.remove(&path) {
                self.owners.insert(format!("{to}{}", &path[from.len()..]), owner);
                self.altered = true;
            }
        }
    }
    /// Forgets the owners of a path and of what is beneath.
    pub(super) fn disown(&mut self, path: &str) {
        let beneath = format!("{path}/");
        let before = self.owners.len();
        self.owners.retain(|it, _| it != path && !it.starts_with(&beneath));
        self.altered |= self.owners.len() != before;
    }

    pub(super) fn uid(&self, name: &str) -> Option<u32> {
        self.users.get(name).map(|it| it.uid).or_else(|| name.parse().ok())
    }
    pub(super) fn gid(&self, name: &str) -> Option<u32> {
        self.groups.get(name).map(|it| it.gid).or_else(|| name.parse().ok())
    }
    pub(super) fn user_name(&self, uid: u32) -> String {
        let found = self.users.iter().find(|(_, it)| it.uid == uid);
        found.map_or_else(|| uid.to_string(), |(name, _)| name.clone())
    }
    pub(super) fn group_name(&self, gid: u32) -> String {
        let found = self.groups.iter().find(|(_, it)| it.gid == gid);
        found.map_or_else(|| gid.to_string(), |(name, _)| name.clone())
    }
    pub(super) fn user(&self, name: &str) -> Option<User> {
        let it = self.users.get(name)?;
        let member = |(_, team): &(&String, &Team)| team.members.iter().any(|it| it == name);
        Some(User {
            uid: it.uid,
            gid: it.gid,
            gecos: gecos(it),
            home: it.home.clone(),
            shell: it.shell.clone(),
            groups: self.groups.iter().filter(member).map(|(name, _)| name.clone()).collect(),
            password: Some(it.password.clone()),
            aging: Some(it.aging.clone()),
        })
    }
    pub(super) fn group(&self, name: &str) -> Option<Group> {
        self.groups.get(name).map(|it| Group { gid: it.gid, members: it.members.clone() })
    }
    pub(super) fn packages(&self, names: &[String]) -> BTreeMap<String, String> {
        let found = |name: &String| Some((name.clone(), self.packages.get(name)?.clone()));
        names.iter().filter_map(found).collect()
    }
    /// Every package can be installed, in one version; what is installed is the newest.
    pub(super) fn available(&self, names: &[String]) -> BTreeMap<String, Available> {
        let one = |name: &String| {
            let version = self.packages.get(name).cloned().unwrap_or_else(|| VERSION.to_owned());
            (name.clone(), Available { candidate: Some(version.clone()), versions: vec![version] })
        };
        names.iter().map(one).collect()
    }
    pub(super) fn held(&self) -> &BTreeSet<String> {
        &self.held
    }
    /// Every service exists.
    pub(super) fn unit(&self, name: &str) -> Unit {
        let service = self.services.get(name).cloned().unwrap_or_default();
        Unit {
            found: true,
            active: Some(if service.active { "active" } else { "inactive" }.to_owned()),
            enabled: match service {
                Service { masked: true, .. } => "masked",
                Service { enabled: true, .. } => "enabled",
                _ => "disabled",
            }
            .to_owned(),
            can_reload: true,
            stale: false,
        }
    }
    pub(super) fn crontab(&self, user: &str) -> io::Result<String> {
        if self.users.contains_key(user) {
            Ok(self.crontabs.get(user).cloned().unwrap_or_default())
        } else {
            Err(io::Error::new(io::ErrorKind::NotFound, format!("there is no user `{user}`")))
        }
    }
    /// Every parameter exists.
    pub(super) fn sysctl(&self, name: &str) -> String {
        self.sysctls.get(name).cloned().unwrap_or_default()
    }

    /// Alters the pretended machine, and tells what it did.
    pub(super) fn act(&mut self, action: &Action, watch: &mut dyn Watch) -> Exit {
        self.altered = true;
        let done = match action {
            Action::Run(_) => Err("commands are not pretended".to_owned()),
            Action::Packages(action) => Ok(self.act_on_packages(action)),
            Action::Unit(name, action) => Ok(self.act_unit(name, *action)),
            Action::User(name, change) => self.change_user(name, change),
            Action::RemoveUser(name, how) => Ok(self.remove_user(name, *how)),
            Action::Group(name, change) => self.change_group(name, change),
            Action::RemoveGroup(name) => {
                self.groups.remove(name);
                Ok(format!("group {name} removed"))
            }
            Action::Crontab { user, text } => {
                self.crontabs.insert(user.clone(), text.clone());
                Ok(format!("crontab of {user} written"))
            }
            Action::Sysctl { name, value } => {
                self.sysctls.insert(name.clone(), value.clone());
                Ok(format!("{name} = {value}"))
            }
        };
        match done {
            Ok(text) => {
                watch.output(false, format!("sandbox: {text}\n").as_bytes());
                Exit::Code(0)
            }
            Err(text) => {
                watch.output(true, format!("sandbox: {text}\n").as_bytes());
                Exit::Code(1)
            }
        }
    }

    fn act_on_packages(&mut self, action: &PackageAction) -> String {
        match action {
            PackageAction::Refresh => "package lists fetched".to_owned(),
            PackageAction::Install(install) => {
                for (name, version) in &install.wishes {
                    let version = version.clone().unwrap_or_else(|| VERSION.to_owned()).replace('*', "0");
                    self.packages.insert(name.clone(), version);
                }
                for file in &install.files {
                    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                    self.packages.insert(name, VERSION.to_owned());
                }
                format!("{} packages installed", install.wishes.len() + install.files.len())
            }
            PackageAction::Remove(names) | PackageAction::Purge(names) => {
                self.packages.retain(|it, _| !names.contains(it));
                format!("{} packages removed", names.len())
            }
            PackageAction::Upgrade(_) => "everything upgraded".to_owned(),
            PackageAction::Hold(names) => {
                self.held.extend(names.iter().cloned());
                format!("{} packages held", names.len())
            }
            PackageAction::Unhold(names) => {
                self.held.retain(|it| !names.contains(it));
                format!("{} packages no longer held", names.len())
            }
        }
    }

    fn act_unit(&mut self, name: &str, action: UnitAction) -> String {
        let service = self.services.entry(name.to_owned()).or_default();
        match action {
            UnitAction::Start | UnitAction::StartSoon | UnitAction::Restart | UnitAction::RestartSoon => {
                service.active = true;
                service.starts += 1;
            }
            UnitAction::Stop | UnitAction::StopSoon => service.active = false,
            UnitAction::Mask | UnitAction::MaskRuntime => service.masked = true,
            UnitAction::Unmask | UnitAction::UnmaskRuntime => service.masked = false,
            UnitAction::Reload | UnitAction::ReloadSoon => service.reloads += 1,
            UnitAction::Enable => service.enabled = true,
            UnitAction::Disable => service.enabled = false,
            UnitAction::DaemonReload => (),
        }
        format!("{} {name}", action.verb())
    }

    fn change_user(&mut self, name: &str, change: &UserChange) -> Result<String, String> {
        if change.create && !self.users.contains_key(name) {
            let gid = match &change.gid {
                Some(group) => self.gid(group).ok_or_else(|| format!("there is no group {group}"))?,
                None => self.add_group(name, None, change.system),
            };
            let taken = |id| self.users.values().any(|it| it.uid == id);
            let uid = change.uid.unwrap_or_else(|| free_id(change.system, taken));
            let (home, shell) = (format!("/home/{name}"), "/bin/sh".to_owned());
            let account = Account { uid, gid, home, shell, password: "!".to_owned(), ..Account::default() };
            self.users.insert(name.to_owned(), account);
        }
        let gid =
            change.gid.as_ref().map(|group| self.gid(group).ok_or(format!("there is no group {group}")));
        let gid = gid.transpose()?;
        for group in change.groups.iter().flatten() {
            if !self.groups.contains_key(group) {
                return Err(format!("there is no group {group}"));
            }
        }
        if let Some(groups) = &change.groups {
            for (group, team) in &mut self.groups {
                team.members.retain(|it| it != name);
                if groups.contains(group) {
                    team.members.push(name.to_owned());
                    team.members.sort();
                }
            }
        }
        let account = self.users.get_mut(name).ok_or_else(|| format!("there is no user {name}"))?;
        account.uid = change.uid.unwrap_or(account.uid);
        account.gid = gid.unwrap_or(account.gid);
        let take = |field: &mut String, wanted: &Option<String>| {
            if let Some(wanted) = wanted {
                field.clone_from(wanted);
            }
        };
        if let Some([name, office @ ..]) = &change.gecos {
            account.fullname.clone_from(name);
            account.office.clone_from(office);
        }
        account.aging.extend(&change.aging);
        take(&mut account.home, &change.home);
        take(&mut account.shell, &change.shell);
        take(&mut account.password, &change.password);
        let bare = account.password.trim_start_matches('!').to_owned();
        match change.lock {
            Some(true) => account.password = format!("!{bare}"),
            Some(false) => account.password = bare,
            None => (),
        }
        Ok(format!("user {name}"))
    }

    /// The home folder is a real one, and stays.
    fn remove_user(&mut self, name: &str, _: UserRemoval) -> String {
        self.users.remove(name);
        self.groups.values_mut().for_each(|it| it.members.retain(|it| it != name));
        self.crontabs.remove(name);
        format!("user {name} removed")
    }

    fn change_group(&mut self, name: &str, change: &GroupChange) -> Result<String, String> {
        if change.create && !self.groups.contains_key(name) {
            self.add_group(name, change.gid, change.system);
        }
        let team = self.groups.get_mut(name).ok_or_else(|| format!("there is no group {name}"))?;
        team.gid = change.gid.unwrap_or(team.gid);
        if let Some(members) = &change.members {
            team.members.clone_from(members);
            team.members.sort();
        }
        Ok(format!("group {name}"))
    }

    fn add_group(&mut self, name: &str, gid: Option<u32>, system: bool) -> u32 {
        let taken = |id| self.groups.values().any(|it| it.gid == id);
        let gid = gid.unwrap_or_else(|| free_id(system, taken));
        self.groups.entry(name.to_owned()).or_insert(Team { gid, members: Vec::new() }).gid
    }
}

fn gecos(account: &Account) -> Gecos {
    let [room, work, home, other] = account.office.clone();
    [account.fullname.clone(), room, work, home, other]
}

fn free_id(system: bool, taken: impl Fn(u32) -> bool) -> u32 {
    let first = if system { FIRST_SYSTEM_ID } else { FIRST_ID };
    (first..u32::MAX).find(|it| !taken(*it)).unwrap_or(first)
}
