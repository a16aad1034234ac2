//! What actions do to a fake machine.

use super::machine::{FakeGroup, FakeUser, Machine, Reply};
use crate::{
    host::{Action, Command, GroupChange, UnitAction, UserChange, UserRemoval},
    packages::{Install, InstallOption, PackageAction},
};
use std::{collections::BTreeMap, path::Path};

fn failure(code: i32, stderr: &str) -> Reply {
    Reply { code, stderr: stderr.to_owned(), ..Reply::default() }
}

/// As `commands` has it: a shell's script, or the arguments joined by spaces.
pub(super) fn line(command: &Command) -> String {
    match &command.argv[..] {
        [_, option, script] if option == "-c" => script.clone(),
        argv => argv.join(" "),
    }
}

/// Recorded output of it. What it reads from standard input may be told apart: `argv <<< input`.
pub(super) fn recorded(commands: &BTreeMap<String, Reply>, command: &Command) -> Option<Reply> {
    let line = line(command);
    let exact = command.stdin.as_ref().and_then(|it| commands.get(&format!("{line} <<< {it}")));
    exact.or_else(|| commands.get(&line)).cloned()
}

impl Machine {
    pub(super) fn act(&mut self, action: &Action) -> Reply {
        match action {
            Action::Run(command) => self.run(command),
            Action::Packages(action) => self.act_on_packages(action),
            Action::Unit(name, action) => self.unit(name, *action),
            Action::User(name, change) => self.change_user(name, change),
            Action::RemoveUser(name, how) => self.remove_user(name, *how),
            Action::Group(name, change) => self.change_group(name, change),
            Action::RemoveGroup(name) => {
                let gid = self.groups.get(name).map(|it| it.gid);
                if self.users.values().any(|it| Some(it.gid) == gid) {
                    return failure(8, "groupdel: cannot remove the primary group of a user\n");
                }
                self.groups.remove(name);
                Reply::default()
            }
            Action::Crontab { user, text } => {
                self.crontabs.insert(user.clone(), text.clone());
                Reply::default()
            }
            Action::Sysctl { name, value } => {
                self.sysctls.insert(name.clone(), value.clone());
                Reply::default()
            }
        }
    }

    fn run(&mut self, command: &Command) -> Reply {
        if command.user.as_ref().is_some_and(|it| !self.users.contains_key(it)) {
            return failure(1, "there is no such user");
        }
        let Some(reply) = recorded(&self.commands, command) else {
            let stdin = command.stdin.as_ref().map_or_else(String::new, |it| format!(" <<< {it}"));
            return failure(127, &format!("not recorded: {}{stdin}", line(command)));
        };
        self.files.retain(|it, _| !reply.removed.iter().any(|gone| Path::new(it).starts_with(gone)));
        self.files.extend(reply.files.clone());
        self.working_copies.extend(reply.working_copies.clone());
        self.commands.extend(reply.commands.clone());
        reply
    }

    fn act_on_packages(&mut self, action: &PackageAction) -> Reply {
        match action {
            PackageAction::Refresh => self.available.extend(self.unlisted.clone()),
            PackageAction::Install(install) => return self.install(install),
            PackageAction::Remove(names) => {
                let gone = |it: &&String| self.packages.contains_key(*it);
                self.left_over.extend(names.iter().filter(gone).cloned());
                self.packages.retain(|it, _| !names.contains(it));
            }
            PackageAction::Purge(names) => {
                self.packages.retain(|it, _| !names.contains(it));
                self.left_over.retain(|it| !names.contains(it));
            }
            PackageAction::Upgrade(_) => {
                for (name, version) in &mut self.packages {
                    let newest =
                        self.available.get(name).and_then(|it| super::machine::offered(it).candidate);
                    if let Some(newest) = newest.filter(|_| !self.held.contains(name)) {
                        *version = newest;
                    }
                }
            }
            PackageAction::Hold(names) => self.held.extend(names.iter().cloned()),
            PackageAction::Unhold(names) => self.held.retain(|it| !names.contains(it)),
        }
        Reply::default()
    }

    /// A file is a package of the same name in the version `file`.
    fn install(&mut self, install: &Install) -> Reply {
        let mut found = BTreeMap::new();
        for (name, version) in &install.wishes {
            let offered = self.available.get(name).map(|it| super::machine::offered(it)).unwrap_or_default();
            let taken = version.clone().or(offered.candidate).filter(|it| offered.versions.contains(it));
            let Some(taken) = taken else {
                return failure(
                    100,
                    "E: Unable to locate package
",
                );
            };
            found.insert(name.clone(), taken);
        }
        if found.keys().any(|it| self.held.contains(it)) {
            return failure(
                100,
                "E: Held packages were changed
",
            );
        }
        for file in &install.files {
            let Some(node) = self.node(file) else {
                return failure(
                    100,
                    "E: Unsupported file
",
                );
            };
            let name = node.contents.clone().unwrap_or_default();
            found.insert(name.trim().to_owned(), "file".to_owned());
        }
        if !install.options.contains(&InstallOption::DownloadOnly) {
            self.left_over.retain(|it| !found.contains_key(it));
            self.packages.extend(found);
        }
        Reply::default()
    }

    fn unit(&mut self, name: &str, action: UnitAction) -> Reply {
        if action == UnitAction::DaemonReload {
            return Reply::default();
        }
        if matches!(action, UnitAction::Mask | UnitAction::MaskRuntime) {
            self.units.entry(name.to_owned()).or_default();
        }
        let Some(unit) = self.units.get_mut(name) else { return failure(5, "Unit not found.\n") };
        match action {
            UnitAction::Start | UnitAction::Restart if unit.enabled.starts_with("masked") => {
                return failure(1, "Unit is masked.\n");
            }
            UnitAction::Start | UnitAction::Restart if unit.broken => {
                "failed".clone_into(&mut unit.active);
                return failure(1, "Job failed.\n");
            }
            UnitAction::Start | UnitAction::Restart | UnitAction::StartSoon | UnitAction::RestartSoon => {
                "active".clone_into(&mut unit.active);
                unit.starts += 1;
            }
            UnitAction::Stop | UnitAction::StopSoon => "inactive".clone_into(&mut unit.active),
            UnitAction::Mask => "masked".clone_into(&mut unit.enabled),
            UnitAction::MaskRuntime => "masked-runtime".clone_into(&mut unit.enabled),
            UnitAction::Reload | UnitAction::ReloadSoon => unit.reloads += 1,
            UnitAction::Enable => "enabled".clone_into(&mut unit.enabled),
            UnitAction::Disable | UnitAction::Unmask | UnitAction::UnmaskRuntime => {
                "disabled".clone_into(&mut unit.enabled);
            }
            UnitAction::DaemonReload => (),
        }
        Reply::default()
    }

    fn change_user(&mut self, name: &str, change: &UserChange) -> Reply {
        let group =
            change.gid.as_ref().map(|it| self.groups.get(it).map(|it| it.gid).or_else(|| it.parse().ok()));
        let lists = change.groups.iter().flatten();
        if group == Some(None) || lists.clone().any(|it| !self.groups.contains_key(it)) {
            return failure(6, "useradd: group does not exist\n");
        }
        let next = 1000 + u32::try_from(self.users.len()).unwrap_or_default();
        if change.create {
            let gid = group.flatten().unwrap_or(next);
            if group.is_none() && change.own_group != Some(false) {
                self.groups.insert(name.to_owned(), FakeGroup { gid, members: Vec::new() });
            }
            let home = format!("/home/{name}");
            let user = FakeUser {
                uid: next,
                gid,
                home,
                shell: "/bin/sh".to_owned(),
                password: "!".to_owned(),
                ..FakeUser::default()
            };
            self.users.insert(name.to_owned(), user);
        }
        let Some(user) = self.users.get_mut(name) else { return failure(6, "usermod: no such user\n") };
        user.uid = change.uid.unwrap_or(user.uid);
        user.gid = group.flatten().unwrap_or(user.gid);
        for (field, wanted) in [
            (&mut user.home, &change.home),
            (&mut user.shell, &change.shell),
            (&mut user.password, &change.password),
        ] {
            if let Some(wanted) = wanted {
                field.clone_from(wanted);
            }
        }
        if let Some([name, office @ ..]) = &change.gecos {
            user.fullname.clone_from(name);
            user.office = office.to_vec();
            while user.office.last().is_some_and(String::is_empty) {
                user.office.pop();
            }
        }
        match change.lock {
            Some(true) => user.password.insert(0, '!'),
            Some(false) => drop(user.password.remove(0)),
            None => (),
        }
        user.aging.extend(&change.aging);
        if let Some(wanted) = &change.groups {
            for (group, it) in &mut self.groups {
                it.members.retain(|it| it != name);
                if wanted.contains(group) {
                    it.members.push(name.to_owned());
                    it.members.sort();
                }
            }
        }
        Reply::default()
    }

    fn remove_user(&mut self, name: &str, how: UserRemoval) -> Reply {
        let Some(user) = self.users.remove(name) else { return failure(6, "userdel: no such user\n") };
        if how.home {
            self.files.retain(|it, _| !Path::new(it).starts_with(&user.home));
        }
        self.groups.values_mut().for_each(|it| it.members.retain(|it| it != name));
        self.groups.retain(|it, group| it != name || group.gid != user.gid);
        Reply::default()
    }

    fn change_group(&mut self, name: &str, change: &GroupChange) -> Reply {
        let next = 1000 + u32::try_from(self.groups.len()).unwrap_or_default();
        if change.create {
            self.groups.insert(name.to_owned(), FakeGroup { gid: next, members: Vec::new() });
        }
        let Some(group) = self.groups.get_mut(name) else { return failure(6, "groupmod: no such group\n") };
        group.gid = change.gid.unwrap_or(group.gid);
        if let Some(members) = &change.members {
            group.members.clone_from(members);
        }
        Reply::default()
    }
}
