//! Users and groups: read through the name service, altered by the shadow programs.

use super::command::run;
use nix::unistd::{Gid, Group as NssGroup, Uid, User as NssUser, getgrouplist};
use resources::host::{Command, Exit, Group, GroupChange, User, UserChange, Watch};
use std::{collections::BTreeMap, ffi::CString, fs, io};

const TIMEOUT_MS: u64 = 60_000;

/// Numbers that were looked up already.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    uids: BTreeMap<String, Option<u32>>,
    gids: BTreeMap<String, Option<u32>>,
}

impl Accounts {
    pub(crate) fn uid(&mut self, name: &str) -> io::Result<Option<u32>> {
        if let Some(uid) = self.uids.get(name) {
            return Ok(*uid);
        }
        let uid = NssUser::from_name(name)?.map(|it| it.uid.as_raw()).or_else(|| name.parse().ok());
        self.uids.insert(name.to_owned(), uid);
        Ok(uid)
    }
    pub(crate) fn gid(&mut self, name: &str) -> io::Result<Option<u32>> {
        if let Some(gid) = self.gids.get(name) {
            return Ok(*gid);
        }
        let gid = NssGroup::from_name(name)?.map(|it| it.gid.as_raw()).or_else(|| name.parse().ok());
        self.gids.insert(name.to_owned(), gid);
        Ok(gid)
    }
}

pub(crate) fn user_name(uid: u32) -> String {
    NssUser::from_uid(Uid::from_raw(uid)).ok().flatten().map_or_else(|| uid.to_string(), |it| it.name)
}

pub(crate) fn group_name(gid: u32) -> String {
    NssGroup::from_gid(Gid::from_raw(gid)).ok().flatten().map_or_else(|| gid.to_string(), |it| it.name)
}

pub(crate) fn user(name: &str) -> io::Result<Option<User>> {
    let Some(found) = NssUser::from_name(name)? else { return Ok(None) };
    let name_c = CString::new(name)?;
    let all = getgrouplist(&name_c, found.gid)?;
    let mut groups: Vec<String> =
        all.into_iter().filter(|it| *it != found.gid).map(|it| group_name(it.as_raw())).collect();
    groups.sort();
    groups.dedup();
    let gecos = found.gecos.to_string_lossy().into_owned();
    Ok(Some(User {
        uid: found.uid.as_raw(),
        gid: found.gid.as_raw(),
        fullname: gecos.split(',').next().unwrap_or_default().to_owned(),
        home: found.dir.display().to_string(),
        shell: found.shell.display().to_string(),
        groups,
        password: fs::read_to_string("/etc/shadow").ok().and_then(|it| password_in(&it, name)),
    }))
}

fn password_in(shadow: &str, name: &str) -> Option<String> {
    let line = shadow.lines().find(|it| it.split(':').next() == Some(name))?;
    line.split(':').nth(1).map(str::to_owned)
}

pub(crate) fn group(name: &str) -> io::Result<Option<Group>> {
    Ok(NssGroup::from_name(name)?.map(|found| {
        let mut members = found.mem;
        members.sort();
        members.dedup();
        Group { gid: found.gid.as_raw(), members }
    }))
}

/// Program, its options with their values, then the account's name.
fn argv(program: &str, options: Vec<(&str, Option<String>)>, name: &str) -> Command {
    let mut argv = vec![program.to_owned()];
    for (option, value) in options {
        argv.push(option.to_owned());
        argv.extend(value);
    }
    argv.extend(["--".to_owned(), name.to_owned()]);
    Command { argv, timeout_ms: TIMEOUT_MS, ..Command::default() }
}

fn user_command(name: &str, change: &UserChange) -> Option<Command> {
    let mut options: Vec<(&str, Option<String>)> = Vec::new();
    let mut give = |option, value: &Option<String>| {
        if let Some(value) = value {
            options.push((option, Some(value.clone())));
        }
    };
    give("-u", &change.uid.map(|it| it.to_string()));
    give("-g", &change.gid);
    give("-c", &change.fullname);
    give("-d", &change.home);
    give("-s", &change.shell);
    give("-G", &change.groups.as_ref().map(|it| it.join(",")));
    if change.create {
        options.push((if change.make_home { "-m" } else { "-M" }, None));
        if change.system {
            options.push(("-r", None));
        }
    }
    match change.create {
        true => Some(argv("useradd", options, name)),
        false if options.is_empty() => None,
        false => Some(argv("usermod", options, name)),
    }
}

pub(crate) fn change_user(name: &str, change: &UserChange, watch: &mut dyn Watch) -> io::Result<Exit> {
    if let Some(command) = user_command(name, change) {
        match run(&command, watch)? {
            Exit::Code(0) => (),
            exit => return Ok(exit),
        }
    }
    let Some(hash) = &change.password else { return Ok(Exit::Code(0)) };
    let command = Command {
        argv: vec!["chpasswd".to_owned(), "-e".to_owned()],
        stdin: Some(format!("{name}:{hash}\n")),
        timeout_ms: TIMEOUT_MS,
        ..Command::default()
    };
    run(&command, watch)
}

pub(crate) fn change_group(name: &str, change: &GroupChange, watch: &mut dyn Watch) -> io::Result<Exit> {
    let number = change.gid.map(|it| ("-g", Some(it.to_string())));
    let system = (change.create && change.system).then_some(("-r", None));
    let options: Vec<_> = number.into_iter().chain(system).collect();
    if change.create || !options.is_empty() {
        let program = if change.create { "groupadd" } else { "groupmod" };
        match run(&argv(program, options, name), watch)? {
            Exit::Code(0) => (),
            exit => return Ok(exit),
        }
    }
    match &change.members {
        Some(members) => run(&argv("gpasswd", vec![("-M", Some(members.join(",")))], name), watch),
        None => Ok(Exit::Code(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_user_gets_what_is_wanted_and_an_old_one_only_that() {
        let change = UserChange {
            create: true,
            uid: Some(1500),
            groups: Some(vec!["adm".into(), "sudo".into()]),
            make_home: true,
            password: Some("$6$x".into()),
            ..UserChange::default()
        };
        let argv = user_command("ada", &change).unwrap().argv;
        assert_eq!(argv.join(" "), "useradd -u 1500 -G adm,sudo -m -- ada");
        let change = UserChange { password: Some("$6$x".into()), ..UserChange::default() };
        assert_eq!(user_command("ada", &change), None);
        let change = UserChange { shell: Some("/bin/sh".into()), ..UserChange::default() };
        assert_eq!(user_command("ada", &change).unwrap().argv.join(" "), "usermod -s /bin/sh -- ada");
    }

    #[test]
    fn the_hash_is_found_in_the_shadow_file() {
        let shadow = "root:*:1:0\nada:$6$x:1:0\nadam:!:1\n";
        assert_eq!(password_in(shadow, "ada").as_deref(), Some("$6$x"));
        assert_eq!(password_in(shadow, "eve"), None);
    }
}
