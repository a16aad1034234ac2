//! One call of an execution function: its arguments as Salt takes them, and what it does here.

use crate::{
    Error, Host, ParamsError,
    args::{invalid, plain_path, plain_word},
    host::{Action, Attributes, Command, Contents, Links, UnitAction},
    modules::{event::good_tag, group::account_name},
    packages::PackageAction,
    text_file::exists,
    tool::{LONG_MS, command, run_argv},
};
use model::Output;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// Functions that are known, for the message about one that is not.
const KNOWN: &str = "service.*, cmd.run, cmd.shell, file.touch, file.mkdir, file.makedirs, file.remove, file.set_mode, \
     file.chown, file.symlink, pkg.refresh_db, sysctl.assign, kmod.load, kmod.remove, group.adduser, group.deluser, event.send, \
     system.reboot, system.shutdown, test.*, saltutil.*, mine.*";

/// Longest that a command may take if nothing else is said.
const COMMAND_MS: u64 = 3_600_000;
/// Parents of a folder that are made.
const FOLDERS_MAX: usize = 64;

/// What is to be done.
#[derive(Debug)]
pub(super) enum Call {
    Unit(String, UnitAction),
    Run(Command),
    /// A program whose exit code does not matter.
    RunAnyhow(Command),
    Program(Vec<String>),
    Touch(PathBuf),
    Folder(PathBuf),
    Remove(PathBuf),
    Mode(PathBuf, u32),
    Owner(PathBuf, String, String),
    Link(PathBuf, PathBuf),
    Refresh,
    Sysctl(String, String),
    Event {
        tag: String,
        data: Value,
    },
    Fail,
    Nothing(&'static str),
}

/// Arguments: in order, and by name.
#[derive(Debug, Default)]
pub(super) struct Given {
    positional: Vec<Value>,
    named: Map<String, Value>,
}

impl Given {
    /// Behind a function's name: a list of values and of mappings, a mapping, or one value.
    pub(super) fn list(value: &Value) -> Self {
        let mut given = Self::default();
        match value {
            Value::Null => (),
            Value::Object(named) => given.named.clone_from(named),
            Value::Array(items) => {
                for item in items {
                    match item {
                        Value::Object(named) => given.named.extend(named.clone()),
                        value => given.positional.push(value.clone()),
                    }
                }
            }
            value => given.positional.push(value.clone()),
        }
        given.without_prefixes()
    }

    /// The old way: arguments of the function stand beside its name.
    pub(super) fn old(params: &Map<String, Value>) -> Self {
        let mut given = Self::default();
        for (key, value) in params {
            match (key.as_str(), value) {
                ("name" | "func", _) | (_, Value::Null) => (),
                ("args", Value::Array(items)) => given.positional.extend(items.iter().cloned()),
                ("args", one) => given.positional.push(one.clone()),
                ("kwargs", Value::Object(named)) => given.named.extend(named.clone()),
                ("kwargs", Value::Array(rows)) => {
                    given.named.extend(rows.iter().filter_map(Value::as_object).flat_map(Clone::clone));
                }
                _ => drop(given.named.insert(key.clone(), value.clone())),
            }
        }
        given.without_prefixes()
    }

    fn without_prefixes(mut self) -> Self {
        self.named = std::mem::take(&mut self.named)
            .into_iter()
            .map(|(key, value)| (key.strip_prefix("m_").map_or(key.clone(), str::to_owned), value))
            .collect();
        self
    }

    /// An argument by one of its names, or the next one in order.
    fn text(&mut self, names: &[&str]) -> Result<Option<String>, ParamsError> {
        let by_name = names.iter().find_map(|it| self.named.shift_remove(*it));
        let value = match by_name {
            Some(value) => value,
            None if self.positional.is_empty() => return Ok(None),
            None => self.positional.remove(0),
        };
        match value {
            Value::String(text) => Ok(Some(text)),
            Value::Number(_) | Value::Bool(_) => Ok(Some(value.to_string())),
            _ => Err(invalid("name", format!("`{}` must be text", names[0]))),
        }
    }
    fn needed(&mut self, function: &str, names: &[&str]) -> Result<String, ParamsError> {
        let text = self.text(names)?.filter(|it| !it.is_empty());
        text.ok_or_else(|| invalid("name", format!("`{function}` needs `{}`", names[0])))
    }
    fn path(&mut self, function: &str, names: &[&str]) -> Result<PathBuf, ParamsError> {
        let text = self.needed(function, names)?;
        if !text.starts_with('/') || text.contains('\0') || text.split('/').any(|it| it == "..") {
            return Err(invalid("name", format!("`{text}` is no absolute path")));
        }
        Ok(plain_path(&text))
    }
    fn word(&mut self, function: &str, names: &[&str]) -> Result<String, ParamsError> {
        let word = self.needed(function, names)?;
        plain_word(names[0], &word)?;
        Ok(word)
    }
    /// Arguments that mean nothing here.
    fn ignore(&mut self, names: &[&str]) {
        for name in names {
            self.named.shift_remove(*name);
        }
    }
    fn end(&self, function: &str) -> Result<(), ParamsError> {
        match (self.named.keys().next(), self.positional.first()) {
            (Some(name), _) => Err(invalid("name", format!("`{function}` has no argument `{name}` here"))),
            (None, Some(value)) => {
                Err(invalid("name", format!("`{function}` takes no further argument {value}")))
            }
            (None, None) => Ok(()),
        }
    }
}

impl Call {
    pub(super) fn parse(function: &str, mut given: Given) -> Result<Self, ParamsError> {
        let (module, name) = function.split_once('.').unwrap_or((function, ""));
        let call = match module {
            "service" | "systemd" => Self::service(function, name, &mut given)?,
            "cmd" => Self::command(function, name, &mut given)?,
            "file" => Self::file(function, name, &mut given)?,
            "saltutil" | "mine" | "sys" | "config" => {
                return Self::idle(module, name).ok_or_else(|| unknown(function));
            }
            "test" => return Self::test(function, name, given),
            _ => Self::other(function, &mut given)?,
        };
        given.end(function)?;
        Ok(call)
    }

    fn service(function: &str, name: &str, given: &mut Given) -> Result<Self, ParamsError> {
        let action = match name {
            "start" => UnitAction::Start,
            "stop" => UnitAction::Stop,
            "restart" => UnitAction::Restart,
            "reload" | "force_reload" => UnitAction::Reload,
            "enable" => UnitAction::Enable,
            "disable" => UnitAction::Disable,
            "systemctl_reload" | "daemon_reload" => {
                return Ok(Self::Unit(String::new(), UnitAction::DaemonReload));
            }
            _ => return Err(unknown(function)),
        };
        given.ignore(&["no_block", "unmask", "unmask_runtime"]);
        Ok(Self::Unit(given.word(function, &["name"])?, action))
    }

    fn command(function: &str, name: &str, given: &mut Given) -> Result<Self, ParamsError> {
        let anyhow = name == "retcode";
        if !["run", "run_all", "run_stdout", "run_stderr", "shell", "retcode"].contains(&name) {
            return Err(unknown(function));
        }
        let env = match given.named.shift_remove("env") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Object(map)) => variables(&map),
            Some(Value::Array(rows)) => {
                rows.iter().filter_map(Value::as_object).flat_map(variables).collect()
            }
            Some(_) => return Err(invalid("name", "`env` must be a mapping")),
        };
        if env.iter().any(|it| it.0.is_empty() || it.0.contains(['=', '\0']) || it.1.contains('\0')) {
            return Err(invalid("name", "`env` has a name that no variable can have"));
        }
        given.ignore(&[
            "python_shell",
            "use_vt",
            "output_loglevel",
            "ignore_retcode",
            "clean_env",
            "saltenv",
            "umask",
        ]);
        let timeout =
            given.named.shift_remove("timeout").and_then(|it| it.as_u64().or(it.as_str()?.parse().ok()));
        let user = given.named.shift_remove("runas").and_then(|it| it.as_str().map(str::to_owned));
        user.iter().try_for_each(|it| account_name("runas", it))?;
        let cwd = if given.named.contains_key("cwd") { Some(given.path(function, &["cwd"])?) } else { None };
        let stdin = given.named.shift_remove("stdin").and_then(|it| it.as_str().map(str::to_owned));
        let shell = if given.named.contains_key("shell") {
            given.path(function, &["shell"])?
        } else {
            "/bin/sh".into()
        };
        let line = given.needed(function, &["cmd", "name"])?;
        let argv = vec![shell.display().to_string(), "-c".to_owned(), line];
        let timeout_ms = timeout.map_or(COMMAND_MS, |it| it.saturating_mul(1000).clamp(1, COMMAND_MS));
        let command = Command { argv, cwd, user, env, stdin, timeout_ms };
        Ok(if anyhow { Self::RunAnyhow(command) } else { Self::Run(command) })
    }

    fn file(function: &str, name: &str, given: &mut Given) -> Result<Self, ParamsError> {
        Ok(match name {
            "touch" => {
                given.ignore(&["atime", "mtime"]);
                Self::Touch(given.path(function, &["name"])?)
            }
            "mkdir" => {
                given.ignore(&["user", "group", "mode"]);
                Self::Folder(given.path(function, &["dir_path", "name"])?)
            }
            "makedirs" | "makedirs_perms" => {
                given.ignore(&["user", "group", "mode"]);
                let path = given.path(function, &["path", "name"])?;
                // Salt's `makedirs` makes what is above the last slash.
                let above = || path.parent().map(Path::to_owned);
                Self::Folder(if name == "makedirs" { above().unwrap_or_else(|| path.clone()) } else { path })
            }
            "remove" => {
                let path = given.path(function, &["path", "name"])?;
                if path.parent().is_none() {
                    return Err(invalid("name", "`/` cannot be removed"));
                }
                Self::Remove(path)
            }
            "set_mode" => {
                let path = given.path(function, &["path", "name"])?;
                let mode = given.needed(function, &["mode"])?;
                let mode =
                    u32::from_str_radix(mode.trim_start_matches("0o"), 8).ok().filter(|it| *it <= 0o7777);
                Self::Mode(path, mode.ok_or_else(|| invalid("name", "`mode` must be octal, such as 0644"))?)
            }
            "chown" => {
                let path = given.path(function, &["path", "name"])?;
                Self::Owner(path, given.word(function, &["user"])?, given.word(function, &["group"])?)
            }
            "symlink" => {
                given.ignore(&["force"]);
                let target = given.path(function, &["src"])?;
                Self::Link(given.path(function, &["path", "link"])?, target)
            }
            _ => return Err(unknown(function)),
        })
    }

    fn idle(module: &str, name: &str) -> Option<Self> {
        let why = match (module, name) {
            ("saltutil", _) if name.starts_with("sync_") => "there is no copy of the master's files to renew",
            ("saltutil", _) if name.starts_with("refresh_") => "the master compiles each run from fresh data",
            ("saltutil", "clear_cache" | "clear_job_cache" | "sync_all") => {
                "there is no cache that a state could need renewed"
            }
            ("mine", "update" | "send" | "flush" | "delete") => "the master knows grains, and has no mine",
            ("sys", "reload_modules") => "modules are part of the program",
            ("config", "option" | "get") => "it only tells something",
            _ => return None,
        };
        Some(Self::Nothing(why))
    }

    fn test(function: &str, name: &str, mut given: Given) -> Result<Self, ParamsError> {
        match name {
            "ping" | "true" | "true_" | "echo" | "nop" | "version" | "arg" | "kwarg" | "args" => {
                Ok(Self::Nothing("it only answers"))
            }
            "false" | "false_" => Ok(Self::Fail),
            "sleep" => {
                let seconds = given.needed(function, &["length"])?;
                let good = seconds.parse::<f64>().is_ok_and(|it| (0.0..=3600.0).contains(&it));
                if !good {
                    return Err(invalid("name", "`length` must be seconds, at most 3600"));
                }
                Ok(Self::Program(vec!["sleep".to_owned(), seconds]))
            }
            _ => Err(unknown(function)),
        }
    }

    fn other(function: &str, given: &mut Given) -> Result<Self, ParamsError> {
        let words = |words: &[&str]| words.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        Ok(match function {
            "pkg.refresh_db" => {
                given.ignore(&["cache_valid_time", "failhard", "force"]);
                Self::Refresh
            }
            "sysctl.assign" => {
                let name = given.word(function, &["name"])?;
                Self::Sysctl(name, given.needed(function, &["value"])?)
            }
            "kmod.load" | "kmod.remove" => {
                given.ignore(&["persist", "comment"]);
                let module = given.word(function, &["mod", "name"])?;
                Self::Program(words(&[if function == "kmod.load" { "modprobe" } else { "rmmod" }, &module]))
            }
            "group.adduser" | "group.deluser" => {
                let group = given.needed(function, &["name"])?;
                let user = given.needed(function, &["username"])?;
                account_name("name", &group)?;
                account_name("username", &user)?;
                let option = if function == "group.adduser" { "-a" } else { "-d" };
                Self::Program(words(&["gpasswd", option, &user, &group]))
            }
            "event.send" | "event.fire" | "event.fire_master" => {
                let (first, second) =
                    if function == "event.send" { ("tag", "data") } else { ("data", "tag") };
                let data = if first == "data" { Self::data(given) } else { Value::Null };
                let tag = good_tag("name", &given.needed(function, &["tag"])?)?;
                let data = if second == "data" { Self::data(given) } else { data };
                given.ignore(&["preload", "with_env", "with_grains", "with_pillar"]);
                Self::Event { tag, data }
            }
            "system.reboot" | "system.shutdown" | "system.poweroff" | "system.halt" => {
                given.ignore(&["at_time", "in_seconds", "timeout", "only_on_pending_reboot"]);
                given.positional.clear();
                let option = match function {
                    "system.reboot" => "-r",
                    "system.halt" => "-H",
                    _ => "-P",
                };
                Self::Program(words(&["shutdown", option, "+1"]))
            }
            _ => return Err(unknown(function)),
        })
    }

    fn data(given: &mut Given) -> Value {
        let positional = |given: &mut Given| {
            if given.positional.is_empty() { Value::Null } else { given.positional.remove(0) }
        };
        given.named.shift_remove("data").unwrap_or_else(|| positional(given))
    }

    /// Whether it alters something.
    pub(super) fn is_something(&self) -> bool {
        !matches!(self, Self::Nothing(_))
    }

    /// For people.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Unit(name, action) => format!("{} {name}", action.verb()).trim_end().to_owned(),
            Self::Run(command) | Self::RunAnyhow(command) => command.argv.last().cloned().unwrap_or_default(),
            Self::Program(argv) => argv.join(" "),
            Self::Touch(path) | Self::Folder(path) | Self::Remove(path) => path.display().to_string(),
            Self::Mode(path, mode) => format!("{} {mode:04o}", path.display()),
            Self::Owner(path, user, group) => format!("{} {user}:{group}", path.display()),
            Self::Link(path, target) => format!("{} to {}", path.display(), target.display()),
            Self::Refresh => "lists of packages".to_owned(),
            Self::Sysctl(name, value) => format!("{name} = {value}"),
            Self::Event { tag, .. } => tag.clone(),
            Self::Fail => "a failure".to_owned(),
            Self::Nothing(_) => String::new(),
        }
    }

    pub(super) fn perform(&self, host: &mut dyn Host) -> Result<Option<Output>, Error> {
        let links = Links::Follow;
        match self {
            Self::Unit(name, action) => {
                return act(host, &Action::Unit(name.clone(), *action), &self.describe());
            }
            Self::Run(command) => {
                return act(host, &Action::Run(command.clone()), &format!("`{}`", self.describe()));
            }
            Self::RunAnyhow(command) => {
                let done = host
                    .perform(&Action::Run(command.clone()))
                    .map_err(Error::host("run", self.describe()))?;
                return Ok(Some(done.output));
            }
            Self::Program(argv) => return run_argv(host, argv).map(Some),
            Self::Refresh => {
                return act(host, &Action::Packages(PackageAction::Refresh), "refresh the lists of packages");
            }
            Self::Sysctl(name, value) => {
                let action = Action::Sysctl { name: name.clone(), value: value.clone() };
                return act(host, &action, &self.describe());
            }
            Self::Touch(path) if exists(host, path)? => {
                let text = path.display().to_string();
                let text = if host.is_sandbox() { text.trim_start_matches('/').to_owned() } else { text };
                return crate::tool::run(host, command(&["touch", "--", &text], LONG_MS), "touch").map(Some);
            }
            Self::Touch(path) => host
                .write(path, Contents::Bytes(b""), Attributes::default(), links)
                .map_err(Error::host("write", path.display()))?,
            Self::Folder(path) => make_folders(host, path)?,
            Self::Remove(path) => host.remove(path).map_err(Error::host("remove", path.display()))?,
            Self::Mode(path, mode) => {
                let how = Attributes { mode: Some(*mode), ..Attributes::default() };
                host.set(path, how, links).map_err(Error::host("alter", path.display()))?;
            }
            Self::Owner(path, user, group) => {
                let uid = host.uid(user).map_err(Error::host("look up user", user))?;
                let gid = host.gid(group).map_err(Error::host("look up group", group))?;
                if uid.is_none() || gid.is_none() {
                    return Err(Error::Refused(format!("there is no user `{user}` or no group `{group}`")));
                }
                let how = Attributes { uid, gid, ..Attributes::default() };
                host.set(path, how, links).map_err(Error::host("alter", path.display()))?;
            }
            Self::Link(path, target) => {
                host.make_symlink(path, target).map_err(Error::host("make link", path.display()))?;
            }
            Self::Fail => return Err(Error::Refused("`test.false` is false".to_owned())),
            Self::Event { .. } | Self::Nothing(_) => (),
        }
        Ok(None)
    }
}

fn act(host: &mut dyn Host, action: &Action, what: &str) -> Result<Option<Output>, Error> {
    let done = host.perform(action).map_err(Error::host("run", what))?;
    done.success(what).map(Some)
}

fn make_folders(host: &mut dyn Host, path: &Path) -> Result<(), Error> {
    let mut missing = Vec::new();
    for folder in path.ancestors().take(FOLDERS_MAX) {
        if exists(host, folder)? {
            break;
        }
        missing.push(folder);
    }
    for folder in missing.into_iter().rev() {
        host.make_directory(folder, Attributes::default())
            .map_err(Error::host("make folder", folder.display()))?;
    }
    Ok(())
}

fn variables(map: &Map<String, Value>) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    map.iter().map(|(name, value)| (name.clone(), text(value))).collect()
}

fn unknown(function: &str) -> ParamsError {
    let way_out = "use a state instead, or `cmd.run` with the command that does it";
    invalid("name", format!("`{function}` cannot be called: there are {KNOWN}; {way_out}"))
}
