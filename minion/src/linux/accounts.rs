//! Users and groups: read through the name service, altered by the shadow programs.

use super::command::run;
use nix::unistd::{Gid, Group as NssGroup, Uid, User as NssUser, getgrouplist};
use resources::host::{
    Age, Aging, Command, Exit, Gecos, Group, GroupChange, User, UserChange, UserOption, UserRemoval, Watch,
};
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
    let shadow = fs::read_to_string("/etc/shadow").ok();
    let mut gecos = found.gecos.to_str().unwrap_or_default().splitn(5, ',').map(str::to_owned);
    Ok(Some(User {
        uid: found.uid.as_raw(),
        gid: found.gid.as_raw(),
        gecos: std::array::from_fn(|_| gecos.next().unwrap_or_default()),
        home: found.dir.display().to_string(),
        shell: found.shell.display().to_string(),
        groups,
        password: shadow.as_deref().and_then(|it| field_in(it, name, 1)),
        aging: shadow.as_deref().and_then(|it| aging_in(it, name)),
    }))
}

fn field_in(shadow: &str, name: &str, at: usize) -> Option<String> {
    let line = shadow.lines().find(|it| it.split(':').next() == Some(name))?;
    line.split(':').nth(at).map(str::to_owned)
}

/// Name, hash, then days; an empty field is -1.
fn aging_in(shadow: &str, name: &str) -> Option<Aging> {
    let day = |(at, age): (usize, Age)| Some((age, field_in(shadow, name, at + 2)?.parse().unwrap_or(-1)));
    Age::ALL.into_iter().enumerate().map(day).collect()
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

fn comment(gecos: &Gecos) -> String {
    gecos.join(",").trim_end_matches(',').to_owned()
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
    give("-c", &change.gecos.as_ref().map(comment));
    give("-d", &change.home);
    give("-s", &change.shell);
    give("-G", &change.groups.as_ref().map(|it| it.join(",")));
    let has = |option| change.options.contains(&option);
    if change.uid.is_some() && has(UserOption::SharedId) {
        options.push(("-o", None));
    }
    if change.create {
        options.push((if change.make_home { "-m" } else { "-M" }, None));
        let own = change.own_group.map(|it| if it { "-U" } else { "-N" });
        let system = change.system.then_some("-r");
        let silent = has(UserOption::NoLogInit).then_some("-l");
        options.extend([own, system, silent].into_iter().flatten().map(|it| (it, None)));
    } else {
        if change.home.is_some() && has(UserOption::MoveHome) {
            options.push(("-m", None));
        }
        match change.lock {
            // It would undo what is set after it.
            Some(true) if change.password.is_none() => options.push(("-L", None)),
            Some(false) => options.push(("-U", None)),
            _ => (),
        }
    }
    match change.create {
        true => Some(argv("useradd", options, name)),
        false if options.is_empty() => None,
        false => Some(argv("usermod", options, name)),
    }
}

/// What sets the password: an empty one by name only, a hash on standard input.
fn password_commands(name: &str, change: &UserChange) -> Vec<Command> {
    let Some(hash) = &change.password else { return Vec::new() };
    let mut commands = vec![if hash.is_empty() {
        argv("passwd", vec![("-q", None), ("-d", None)], name)
    } else {
        Command {
            argv: vec!["chpasswd".to_owned(), "-e".to_owned()],
            stdin: Some(format!("{name}:{hash}\n")),
            timeout_ms: TIMEOUT_MS,
            ..Command::default()
        }
    }];
    if change.lock == Some(true) {
        commands.push(argv("usermod", vec![("-L", None)], name));
    }
    commands
}

fn aging_command(name: &str, aging: &Aging) -> Option<Command> {
    let option = |(age, days): (&Age, &i64)| {
        let option = match age {
            Age::Date => "-d",
            Age::Min => "-m",
            Age::Max => "-M",
            Age::Warn => "-W",
            Age::Inactive => "-I",
            Age::Expire => "-E",
        };
        (option, Some(days.to_string()))
    };
    (!aging.is_empty()).then(|| argv("chage", aging.iter().map(option).collect(), name))
}

/// One after the other, up to one that fails.
fn run_all(commands: impl IntoIterator<Item = Command>, watch: &mut dyn Watch) -> io::Result<Exit> {
    for command in commands {
        match run(&command, watch)? {
            Exit::Code(0) => (),
            exit => return Ok(exit),
        }
    }
    Ok(Exit::Code(0))
}

pub(crate) fn change_user(name: &str, change: &UserChange, watch: &mut dyn Watch) -> io::Result<Exit> {
    let mut commands: Vec<Command> = user_command(name, change).into_iter().collect();
    commands.extend(password_commands(name, change));
    commands.extend(aging_command(name, &change.aging));
    run_all(commands, watch)
}

pub(crate) fn remove_user(name: &str, how: UserRemoval, watch: &mut dyn Watch) -> io::Result<Exit> {
    let options = [(how.home, "-r"), (how.force, "-f")];
    let options = options.into_iter().filter(|(on, _)| *on).map(|(_, it)| (it, None)).collect();
    run(&argv("userdel", options, name), watch)
}

pub(crate) fn remove_group(name: &str, watch: &mut dyn Watch) -> io::Result<Exit> {
    run(&argv("groupdel", Vec::new(), name), watch)
}

pub(crate) fn change_group(name: &str, change: &GroupChange, watch: &mut dyn Watch) -> io::Result<Exit> {
    let number = change.gid.map(|it| ("-g", Some(it.to_string())));
    let shared = (change.gid.is_some() && change.shared_id).then_some(("-o", None));
    let system = (change.create && change.system).then_some(("-r", None));
    let options: Vec<_> = number.into_iter().chain(shared).chain(system).collect();
    let mut commands = Vec::new();
    if change.create || !options.is_empty() {
        commands.push(argv(if change.create { "groupadd" } else { "groupmod" }, options, name));
    }
    if let Some(members) = &change.members {
        commands.push(argv("gpasswd", vec![("-M", Some(members.join(",")))], name));
    }
    run_all(commands, watch)
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
    fn the_hash_and_the_days_are_found_in_the_shadow_file() {
        let shadow = "root:*:1:0\nada:$6$x:19000:0:99999:7::\nadam:!:1\n";
        assert_eq!(field_in(shadow, "ada", 1).as_deref(), Some("$6$x"));
        assert_eq!(field_in(shadow, "eve", 1), None);
        let days: Vec<i64> = aging_in(shadow, "ada").unwrap().into_values().collect();
        assert_eq!(days, [19000, 0, 99999, 7, -1, -1]);
    }

    #[test]
    fn no_password_is_an_argument() {
        let change = UserChange {
            password: Some("$6$x".into()),
            lock: Some(true),
            aging: [(Age::Max, 90), (Age::Expire, -1)].into(),
            ..UserChange::default()
        };
        assert_eq!(user_command("ada", &change), None);
        let said: Vec<String> = password_commands("ada", &change)
            .iter()
            .chain(&aging_command("ada", &change.aging))
            .map(|it| it.argv.join(" "))
            .collect();
        assert_eq!(said, ["chpasswd -e", "usermod -L -- ada", "chage -M 90 -E -1 -- ada"]);
        let gecos = ["Ada".to_owned(), String::new(), "12".to_owned(), String::new(), String::new()];
        let change = UserChange { gecos: Some(gecos), lock: Some(false), ..UserChange::default() };
        assert_eq!(user_command("ada", &change).unwrap().argv.join(" "), "usermod -c Ada,,12 -U -- ada");
    }
}
