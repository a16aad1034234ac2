//! `user.present`.

use super::{super::group::account_name, crypt, params::PRESENT};
use crate::{
    Applied, Error, Host, ParamsError, Probe, Resource,
    args::{Args, invalid},
    host::{Action, Age, Aging, Attributes, FileKind, Gecos, Links, User, UserChange, UserOption},
};
use model::{Change, Plan, SECRET_MASK};
use serde_json::{Map, Value};
use std::{collections::BTreeSet, path::Path};

/// Folders that are made above a home at most.
const FOLDERS_MAX: usize = 16;
/// The home of accounts that have none.
const NO_HOMES: [&str; 2] = ["/nonexistent", "/dev/null"];
/// Fields of the comment, as the parameters call them.
const GECOS: [&str; 5] = ["fullname", "roomnumber", "workphone", "homephone", "other"];

#[expect(clippy::struct_excessive_bools, reason = "these are the parameters that people write")]
#[derive(Debug)]
struct Present {
    name: String,
    uid: Option<u32>,
    gid: Option<String>,
    own_group: Option<bool>,
    allow_uid_change: bool,
    allow_gid_change: bool,
    gecos: [Option<String>; 5],
    home: Option<String>,
    createhome: bool,
    shell: Option<String>,
    groups: Option<Vec<String>>,
    optional_groups: Vec<String>,
    remove_groups: bool,
    system: bool,
    options: BTreeSet<UserOption>,
    password: Password,
    enforce_password: bool,
    lock: Option<bool>,
    aging: Aging,
}

/// The fields of the shadow file, as the parameters call them, in the order of [`Age::ALL`].
const AGING: [&str; 6] = ["date", "mindays", "maxdays", "warndays", "inactdays", "expire"];

/// Names of supplementary groups.
struct Memberships {
    wanted: Vec<String>,
    is: Vec<String>,
}

/// What is wanted of the password. Does not print itself.
#[derive(Clone, PartialEq)]
enum Password {
    AsItIs,
    Empty,
    Hash(String),
    Plain(String),
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::AsItIs => "as it is",
            Self::Empty => "empty",
            Self::Hash(_) | Self::Plain(_) => SECRET_MASK,
        })
    }
}

pub(super) fn parse(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("user.present", PRESENT, params)?;
    let name = args.name();
    account_name("name", &name)?;
    let mut gid = args.text("gid").filter(|it| !it.is_empty());
    if args.bool("gid_from_name", false) {
        gid = gid.or_else(|| Some(name.clone()));
    }
    gid.iter().try_for_each(|it| account_name("gid", it))?;
    for list in ["groups", "optional_groups"] {
        args.list(list).iter().flatten().try_for_each(|it| account_name(list, it))?;
    }
    for field in GECOS.into_iter().chain(["home", "shell"]) {
        if args.text(field).is_some_and(|it| it.contains([':', '\n', '\0'])) {
            return Err(invalid(field, format!("`{field}` must be one line without a colon")));
        }
        let is_comment = GECOS.contains(&field);
        if is_comment && args.text(field).is_some_and(|it| it.contains(',') || it.starts_with('-')) {
            return Err(invalid(field, format!("`{field}` must not have a comma or begin with `-`")));
        }
    }
    let path = |name: &str| args.path(name).map(|it| it.display().to_string());
    let flags = [
        (!args.bool("unique", true), UserOption::SharedId),
        (args.bool("persist_home", false), UserOption::MoveHome),
        (args.bool("nologinit", false), UserOption::NoLogInit),
    ];
    Ok(Box::new(Present {
        uid: args.id("uid")?,
        gid,
        own_group: args.has("usergroup").then(|| args.bool("usergroup", true)),
        allow_uid_change: args.bool("allow_uid_change", false),
        allow_gid_change: args.bool("allow_gid_change", false),
        gecos: GECOS.map(|it| args.text(it)),
        home: path("home"),
        createhome: args.bool("createhome", true),
        shell: path("shell"),
        groups: args.list("groups"),
        optional_groups: args.list("optional_groups").unwrap_or_default(),
        remove_groups: args.bool("remove_groups", true),
        system: args.bool("system", false),
        options: flags.into_iter().filter(|(on, _)| *on).map(|(_, it)| it).collect(),
        password: password(&args)?,
        enforce_password: args.bool("enforce_password", true),
        lock: args.has("password_lock").then(|| args.bool("password_lock", false)),
        aging: aging(&args)?,
        name,
    }))
}

fn password(args: &Args<'_>) -> Result<Password, ParamsError> {
    let text = args.text("password").filter(|it| !it.is_empty());
    match text {
        _ if args.bool("empty_password", false) => Ok(Password::Empty),
        None => Ok(Password::AsItIs),
        Some(it) if args.bool("hash_password", false) => {
            if it.len() > crypt::PASSWORD_BYTES_MAX {
                return Err(invalid("password", "`password` is longer than 256 bytes"));
            }
            Ok(Password::Plain(it))
        }
        Some(it) if it.contains([':', '\n', '\0']) => {
            Err(invalid("password", "`password` must be one line without a colon"))
        }
        Some(it) => Ok(Password::Hash(it)),
    }
}

fn aging(args: &Args<'_>) -> Result<Aging, ParamsError> {
    let mut found = Aging::new();
    for (age, name) in Age::ALL.into_iter().zip(AGING) {
        let Some(text) = args.text(name).filter(|it| !it.is_empty()) else { continue };
        let number = text.trim().parse::<i64>().ok().or_else(|| days(text.trim()));
        let number = number.filter(|it| (-1..=10_000_000).contains(it)).ok_or_else(|| {
            invalid(name, format!("`{name}` must be a number of days, or a day such as 2027-12-31"))
        })?;
        found.insert(age, number);
    }
    Ok(found)
}

/// Days from 1970 to `2027-12-31`.
fn days(text: &str) -> Option<i64> {
    let parts: Vec<&str> = text.split(['-', '/']).collect();
    let [year, month, day] = parts[..] else { return None };
    let (year, month, day): (i64, i64, i64) = (year.parse().ok()?, month.parse().ok()?, day.parse().ok()?);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years begin in March, so that the day of leap years is the last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let before = year * 365 + year / 4 - year / 100 + year / 400;
    Some(before + (153 * month + 2) / 5 + day - 1 - 719_468)
}

impl Present {
    /// Its primary group; none if that does not matter.
    fn wanted_gid(&self, host: &dyn Probe) -> Result<Option<String>, Error> {
        if self.gid.is_none() && self.own_group == Some(true) {
            let own = host.group(&self.name).map_err(Error::host("look up group", &self.name))?;
            return Ok(own.map(|_| self.name.clone()));
        }
        Ok(self.gid.clone())
    }

    /// All supplementary groups that it should have, and those that it has; `None` if that does not matter.
    fn compared_groups(&self, host: &dyn Probe, now: Option<&User>) -> Result<Option<Memberships>, Error> {
        let mut wanted = self.groups.clone().unwrap_or_default();
        for name in &self.optional_groups {
            if host.group(name).map_err(Error::host("look up group", name))?.is_some() {
                wanted.push(name.clone());
            }
        }
        if self.groups.is_none() && wanted.is_empty() {
            return Ok(None);
        }
        let primary = match self.wanted_gid(host)? {
            Some(group) => host.gid(&group).map_err(Error::host("look up group", &group))?,
            None => now.map(|it| it.gid),
        };
        let primary = primary.map(|it| host.group_name(it));
        let mut is = now.map(|it| it.groups.clone()).unwrap_or_default();
        // The primary group needs no second membership, and one in the group of its own name is nobody's business.
        wanted.retain(|it| Some(it) != primary.as_ref());
        is.retain(|it| Some(it) != primary.as_ref() && (*it != self.name || wanted.contains(it)));
        if !self.remove_groups {
            wanted.extend(is.iter().cloned());
        }
        wanted.sort();
        wanted.dedup();
        Ok(Some(Memberships { wanted, is }))
    }

    fn compare_gid(&self, host: &dyn Probe, now: Option<&User>, plan: &mut Plan) -> Result<(), Error> {
        let Some(group) = self.wanted_gid(host)? else { return Ok(()) };
        let gid = host.gid(&group).map_err(Error::host("look up group", &group))?;
        if gid.is_none() || now.map(|it| it.gid) != gid {
            let from = now.map(|it| host.group_name(it.gid));
            plan.push(Change { what: "gid".to_owned(), from, to: Some(group), diff: None });
        }
        Ok(())
    }

    /// The hash that is wanted, without the mark of a locked one.
    fn hash(&self, host: &dyn Probe, now: Option<&User>) -> Result<Option<String>, Error> {
        let text = match &self.password {
            Password::AsItIs => return Ok(None),
            Password::Empty => return Ok(Some(String::new())),
            Password::Hash(hash) => return Ok(Some(hash.clone())),
            Password::Plain(text) => text,
        };
        if let Some(salt) = now.and_then(|it| it.password.as_deref()).and_then(crypt::salt_of) {
            return Ok(Some(crypt::hash(text, salt)));
        }
        let machine = Path::new("/etc/machine-id");
        let found = host.stat(machine, Links::Follow).map_err(Error::host("look at", machine.display()))?;
        let id = match found {
            Some(_) => host.read(machine).map_err(Error::host("read", machine.display()))?,
            None => Vec::new(),
        };
        let salt = crypt::salt_for(String::from_utf8_lossy(&id).trim(), &self.name);
        Ok(Some(crypt::hash(text, &salt)))
    }

    fn compare_password(&self, host: &dyn Probe, now: Option<&User>, plan: &mut Plan) -> Result<(), Error> {
        let is = now.and_then(|it| it.password.as_deref()).unwrap_or_default();
        if let Some(wanted) = self.hash(host, now)? {
            let is_set = !matches!(is, "" | "*" | "!" | "!!" | "!*");
            // A locked one has its hash behind the mark.
            let bare = if self.lock.is_some() { is.trim_start_matches('!') } else { is };
            let given = wanted.trim_start_matches('!');
            let same = bare == wanted || (self.lock.is_some() && bare == given);
            let due = self.enforce_password || !is_set || wanted.is_empty();
            if !same && due && now.is_none_or(|it| it.password.is_some()) {
                let from = is_set.then(|| SECRET_MASK.to_owned());
                let to = if wanted.is_empty() { "empty".to_owned() } else { SECRET_MASK.to_owned() };
                plan.push(Change { what: "password".to_owned(), from, to: Some(to), diff: None });
            }
        }
        if let Some(wanted) = self.lock {
            let locked = is.starts_with('!') || now.is_none();
            let stays = !plan.touches("password");
            if locked != wanted || (wanted && !stays) {
                let word = |it: bool| if it { "locked" } else { "unlocked" }.to_owned();
                plan.differ("password lock", now.map(|_| word(locked && stays)).as_ref(), &word(wanted));
            }
        }
        Ok(())
    }

    /// The days that differ.
    fn aging_due(&self, now: Option<&User>) -> Aging {
        let none = Aging::new();
        let is = now.and_then(|it| it.aging.as_ref()).unwrap_or(&none);
        let differs = |age: &Age, wanted: i64| is.get(age).copied().unwrap_or(-1) != wanted;
        self.aging.iter().filter(|(age, it)| differs(age, **it)).map(|(age, it)| (*age, *it)).collect()
    }

    fn compare_aging(&self, now: Option<&User>, plan: &mut Plan) {
        let none = Aging::new();
        let is = now.and_then(|it| it.aging.as_ref()).unwrap_or(&none);
        let due = self.aging_due(now);
        for (age, name) in Age::ALL.into_iter().zip(AGING) {
            if let Some(wanted) = due.get(&age) {
                plan.differ(name, is.get(&age), wanted);
            }
        }
    }

    /// The home folder that must be made, if there is none.
    fn missing_home(&self, host: &dyn Probe, now: Option<&User>) -> Result<Option<String>, Error> {
        let home = self.home.clone().or_else(|| now.map(|it| it.home.clone()));
        let Some(home) =
            home.filter(|it| self.createhome && it.starts_with('/') && !NO_HOMES.contains(&&it[..]))
        else {
            return Ok(None);
        };
        let found = host.stat(Path::new(&home), Links::Follow).map_err(Error::host("look at", &home))?;
        Ok(found.is_none_or(|it| it.kind != FileKind::Directory).then_some(home))
    }

    /// Where useradd has not made it.
    fn make_home(&self, host: &mut dyn Host) -> Result<(), Error> {
        let now = host.user(&self.name).map_err(Error::host("look up user", &self.name))?;
        let (Some(home), Some(user)) = (self.missing_home(host, now.as_ref())?, now) else { return Ok(()) };
        let mut missing = Vec::new();
        for folder in Path::new(&home).ancestors().take(FOLDERS_MAX) {
            if host.stat(folder, Links::Follow).map_err(Error::host("look at", folder.display()))?.is_some() {
                break;
            }
            missing.push(folder);
        }
        while let Some(folder) = missing.pop() {
            let own = Attributes { mode: Some(0o755), uid: Some(user.uid), gid: Some(user.gid) };
            let how = if missing.is_empty() { own } else { Attributes::default() };
            host.make_directory(folder, how).map_err(Error::host("make folder", folder.display()))?;
        }
        Ok(())
    }

    fn refuse_changes_of_numbers(&self, now: Option<&User>, plan: &Plan) -> Result<(), Error> {
        for (what, allowed) in [("uid", self.allow_uid_change), ("gid", self.allow_gid_change)] {
            if let Some(change) = plan.changes.iter().find(|it| it.what == what && now.is_some() && !allowed)
            {
                let (from, to) = (change.from.as_deref().unwrap_or("-"), change.to.as_deref().unwrap_or("-"));
                return Err(Error::Refused(format!(
                    "the {what} of `{}` would change from {from} to {to}; `allow_{what}_change: true` would do it, and \
                     files would keep their owner",
                    self.name
                )));
            }
        }
        Ok(())
    }

    fn gecos_wanted(&self, now: Option<&User>) -> Gecos {
        let is = now.map(|it| it.gecos.clone()).unwrap_or_default();
        std::array::from_fn(|at| self.gecos[at].clone().unwrap_or_else(|| is[at].clone()))
    }

    fn change(&self, plan: &Plan, host: &dyn Probe) -> Result<UserChange, Error> {
        let now = host.user(&self.name).map_err(Error::host("look up user", &self.name))?;
        let now = now.as_ref();
        let create = now.is_none();
        let mut gid = self.wanted_gid(host)?.filter(|_| plan.touches("gid"));
        let mut own_group = self.own_group.filter(|_| create && gid.is_none());
        if create && gid.is_none() && own_group != Some(false) {
            let own = host.group(&self.name).map_err(Error::host("look up group", &self.name))?;
            if own.is_some() {
                (gid, own_group) = (Some(self.name.clone()), None);
            }
        }
        let only = |what: &str, value: &Option<String>| value.clone().filter(|_| plan.touches(what));
        let groups = self.compared_groups(host, now)?.map(|it| it.wanted).filter(|_| plan.touches("groups"));
        let lock = self.lock.filter(|_| plan.touches("password lock"));
        let sets = plan.touches("password");
        let talks = GECOS.iter().any(|it| plan.touches(it));
        Ok(UserChange {
            create,
            uid: self.uid.filter(|_| plan.touches("uid")),
            gid,
            gecos: talks.then(|| self.gecos_wanted(now)),
            home: only("home", &self.home),
            make_home: self.createhome,
            own_group,
            options: self.options.clone(),
            shell: only("shell", &self.shell),
            groups,
            system: self.system,
            password: if sets { self.hash(host, now)? } else { None },
            // A new account is locked by itself until it has a password, and whatever gets one is not locked.
            lock: lock.filter(|it| if *it { !create || sets } else { !sets }),
            aging: self.aging_due(now),
        })
    }
}

impl Resource for Present {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let now = host.user(&self.name).map_err(Error::host("look up user", &self.name))?;
        let now = now.as_ref();
        let mut plan = Plan::default();
        if now.is_none() {
            plan.differ("user", None, &self.name);
        }
        if let Some(uid) = self.uid {
            plan.differ("uid", now.map(|it| it.uid).as_ref(), &uid);
        }
        self.compare_gid(host, now, &mut plan)?;
        for (at, wanted) in self.gecos.iter().enumerate() {
            if let Some(wanted) = wanted.as_ref().filter(|it| now.is_some() || !it.is_empty()) {
                plan.differ(GECOS[at], now.map(|it| &it.gecos[at]), wanted);
            }
        }
        for (what, wanted, is) in
            [("home", &self.home, now.map(|it| &it.home)), ("shell", &self.shell, now.map(|it| &it.shell))]
        {
            if let Some(wanted) = wanted {
                plan.differ(what, is, wanted);
            }
        }
        if let Some(home) = self.missing_home(host, now)?.filter(|_| now.is_some()) {
            plan.push(Change { what: "home folder".to_owned(), from: None, to: Some(home), diff: None });
        }
        if let Some(Memberships { wanted, is }) = self.compared_groups(host, now)? {
            let (wanted, is) = (wanted.join(","), is.join(","));
            if is != wanted {
                plan.differ("groups", Some(&is).filter(|_| now.is_some()), &wanted);
            }
        }
        self.compare_password(host, now, &mut plan)?;
        self.compare_aging(now, &mut plan);
        self.refuse_changes_of_numbers(now, &plan)?;
        Ok(plan)
    }

    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let change = self.change(plan, host)?;
        let done = host
            .perform(&Action::User(self.name.clone(), change))
            .map_err(Error::host("alter user", &self.name))?;
        done.success(&format!("alter user {}", self.name))?;
        self.make_home(host)?;
        Ok(Applied::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_from_1970() {
        for (text, wanted) in [
            ("1970-01-01", Some(0)),
            ("2000-02-29", Some(11_016)),
            ("2027-12-31", Some(21_183)),
            ("2027/12/31", Some(21_183)),
            ("soon", None),
            ("2027-13-01", None),
        ] {
            assert_eq!(days(text), wanted, "{text}");
        }
    }
}
