//! Answers read-only questions about the machine: for `unless` and `onlyif` with `fun:`, and for what templates ask.

use crate::{
    Probe,
    args::plain_path,
    host::{FileKind, Links, Special, Stat, Unit},
    modules::mount_points,
    pattern::glob,
};
use model::Question;
use serde_json::{Map, Value, json};
use std::{
    io,
    path::{Path, PathBuf},
};

/// Longest file that is looked into.
const SEARCHED_BYTES_MAX: u64 = 8 << 20;

/// Where programs are looked for, in order.
const PROGRAMS: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Most paths that a pattern is followed through.
const GLOB_PATHS_MAX: usize = 10_000;

/// A function that can be asked: its name, and its parameters as Salt calls them, in order.
type Asked = (&'static str, &'static [&'static str]);

/// All of them, in order.
const FUNCTIONS: [Asked; 33] = [
    ("cmd.has_exec", &["cmd"]),
    ("cmd.which", &["cmd"]),
    ("file.access", &["path", "mode"]),
    ("file.contains", &["path", "text"]),
    ("file.directory_exists", &["path"]),
    ("file.file_exists", &["path"]),
    ("file.get_gid", &["path", "follow_symlinks"]),
    ("file.get_group", &["path", "follow_symlinks"]),
    ("file.get_mode", &["path", "follow_symlinks"]),
    ("file.get_uid", &["path", "follow_symlinks"]),
    ("file.get_user", &["path", "follow_symlinks"]),
    ("file.is_blkdev", &["name"]),
    ("file.is_link", &["path"]),
    ("file.path_exists_glob", &["path"]),
    ("file.readdir", &["path"]),
    ("file.readlink", &["path", "canonicalize"]),
    ("file.size", &["path"]),
    ("group.info", &["name"]),
    ("mount.is_mounted", &["name"]),
    ("pkg.version", &["name"]),
    ("service.available", &["name"]),
    ("service.disabled", &["name"]),
    ("service.enabled", &["name"]),
    ("service.masked", &["name"]),
    ("service.missing", &["name"]),
    ("service.status", &["name"]),
    ("sysctl.get", &["name"]),
    ("test.echo", &["text"]),
    ("test.false_", &[]),
    ("test.ping", &[]),
    ("test.true_", &[]),
    ("user.info", &["name"]),
    ("user.list_groups", &["name"]),
];

/// Names of all functions that can be asked, in order.
pub fn askable() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|it| it.0)
}

/// What is wrong with a question, before it is asked; nothing if it is a good one.
pub fn refuses(question: &Question) -> Option<String> {
    let Some((name, params)) = FUNCTIONS.iter().find(|it| it.0 == question.fun) else {
        return Some(format!("`{}` is not among the functions that can be asked", question.fun));
    };
    if question.args.len() > params.len() {
        return Some(format!("`{name}` takes {} arguments at most", params.len()));
    }
    let unknown = question.kwargs.keys().find(|it| !params.contains(&it.as_str()));
    if let Some(unknown) = unknown {
        return Some(format!("`{name}` has no parameter `{unknown}`: it has {}", params.join(", ")));
    }
    let first = params.first()?;
    Asking { question, params }.text(first).is_none().then(|| format!("`{name}` needs `{first}`"))
}

/// The answer; an error is a sentence.
pub fn answer(question: &Question, host: &dyn Probe) -> Result<Value, String> {
    if let Some(why) = refuses(question) {
        return Err(why);
    }
    let params = FUNCTIONS.iter().find(|it| it.0 == question.fun).map_or(&[][..], |it| it.1);
    let asking = Asking { question, params };
    asking.answer(host).map_err(|error| format!("cannot answer {question}: {error}"))
}

struct Asking<'a> {
    question: &'a Question,
    params: &'a [&'a str],
}

impl Asking<'_> {
    fn value(&self, name: &str) -> Option<&Value> {
        let place = self.params.iter().position(|it| *it == name)?;
        self.question.kwargs.get(name).or_else(|| self.question.args.get(place))
    }
    fn text(&self, name: &str) -> Option<String> {
        match self.value(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(flag) => Some(flag.to_string()),
            _ => None,
        }
    }
    fn flag(&self, name: &str, default: bool) -> bool {
        self.value(name).map_or(default, |it| *it == json!(true) || *it == json!("true"))
    }
    fn name(&self) -> String {
        self.text(self.params[0]).unwrap_or_default()
    }
    fn path(&self) -> PathBuf {
        plain_path(&self.name())
    }

    fn answer(&self, host: &dyn Probe) -> io::Result<Value> {
        let (module, fun) = self.question.fun.split_once('.').unwrap_or_default();
        match module {
            "cmd" => {
                let found = program(&self.name(), host)?;
                Ok(if fun == "which" { json!(found) } else { json!(found.is_some()) })
            }
            "mount" => Ok(json!(is_mounted(&self.path(), host)?)),
            "file" => self.file(fun, host),
            "service" => Ok(unit(fun, &host.unit(&self.name())?)),
            "pkg" => {
                let name = self.name();
                let found = host.packages(std::slice::from_ref(&name))?;
                Ok(json!(found.get(&name).cloned().unwrap_or_default()))
            }
            "sysctl" => Ok(json!(host.sysctl(&self.name())?.unwrap_or_default())),
            "group" => Ok(host.group(&self.name())?.map_or(
                json!({}),
                |it| json!({ "name": self.name(), "gid": it.gid, "members": it.members }),
            )),
            "user" => self.user(fun, host),
            _ => Ok(match fun {
                "echo" => json!(self.name()),
                _ => json!(fun != "false_"),
            }),
        }
    }

    fn user(&self, fun: &str, host: &dyn Probe) -> io::Result<Value> {
        let user = host.user(&self.name())?;
        if fun == "list_groups" {
            return Ok(json!(user.map(|it| it.groups).unwrap_or_default()));
        }
        Ok(user.map_or(json!({}), |it| {
            json!({
                "name": self.name(), "uid": it.uid, "gid": it.gid, "fullname": it.gecos[0], "home": it.home,
                "shell": it.shell, "groups": it.groups,
            })
        }))
    }

    fn file(&self, fun: &str, host: &dyn Probe) -> io::Result<Value> {
        let path = self.path();
        let stat = |links| host.stat(&path, links);
        let kind = |links| stat(links).map(|it| it.map(|it| it.kind));
        match fun {
            "file_exists" => Ok(json!(kind(Links::Follow)? == Some(FileKind::File))),
            "directory_exists" => Ok(json!(kind(Links::Follow)? == Some(FileKind::Directory))),
            "path_exists_glob" => Ok(json!(matches_any(&path, host)?)),
            "is_link" => Ok(json!(kind(Links::Keep)? == Some(FileKind::Symlink))),
            "is_blkdev" => {
                let special = stat(Links::Follow)?.and_then(|it| it.special);
                Ok(json!(matches!(special, Some(Special::Block(..)))))
            }
            "contains" => match stat(Links::Follow)? {
                Some(it) if it.kind == FileKind::File && it.size <= SEARCHED_BYTES_MAX => {
                    let text = self.text("text").unwrap_or_default();
                    Ok(json!(String::from_utf8_lossy(&host.read(&path)?).contains(&text)))
                }
                _ => Ok(json!(false)),
            },
            "access" => {
                let found = stat(Links::Follow)?;
                let runs = |it: &Stat| it.kind == FileKind::Directory || it.mode & 0o111 != 0;
                // Root may read and write whatever is there.
                match self.text("mode").as_deref() {
                    Some("f" | "r" | "w") => Ok(json!(found.is_some())),
                    Some("x") => Ok(json!(found.is_some_and(|it| runs(&it)))),
                    _ => Err(io::Error::other("its mode must be `f`, `r`, `w` or `x`")),
                }
            }
            "readdir" => match kind(Links::Follow)? {
                Some(FileKind::Directory) => {
                    let names = host.list(&path)?.into_iter().map(|it| it.to_string_lossy().into_owned());
                    Ok([".".to_owned(), "..".to_owned()].into_iter().chain(names).collect())
                }
                _ => Ok(json!([])),
            },
            "readlink" => match kind(Links::Keep)? {
                Some(FileKind::Symlink) => Ok(json!(host.read_link(&path)?.to_string_lossy())),
                _ => Ok(json!("")),
            },
            _ => {
                let links = if self.flag("follow_symlinks", true) { Links::Follow } else { Links::Keep };
                Ok(stat(links)?.map_or(json!(""), |it| part(fun, &it, host)))
            }
        }
    }
}

/// Where root's shell finds a program.
fn program(name: &str, host: &dyn Probe) -> io::Result<Option<String>> {
    let places: Vec<PathBuf> = match name {
        "" => Vec::new(),
        it if it.contains('/') => vec![plain_path(it)],
        it => PROGRAMS.iter().map(|folder| Path::new(folder).join(it)).collect(),
    };
    for place in places {
        let found = host.stat(&place, Links::Follow)?;
        if found.is_some_and(|it| it.kind == FileKind::File && it.mode & 0o111 != 0) {
            return Ok(Some(place.display().to_string()));
        }
    }
    Ok(None)
}

/// Whether something is mounted there.
fn is_mounted(point: &Path, host: &dyn Probe) -> io::Result<bool> {
    let table = Path::new("/proc/self/mountinfo");
    if host.stat(table, Links::Follow)?.is_none() {
        return Ok(false);
    }
    let text = String::from_utf8_lossy(&host.read(table)?).into_owned();
    Ok(mount_points(&text).any(|it| Path::new(&it) == point))
}

/// Whether a path of shell patterns names anything. A pattern does not match a name that begins with a dot, unless it
/// begins with one itself.
fn matches_any(path: &Path, host: &dyn Probe) -> io::Result<bool> {
    let parts = path.iter().map(|it| it.to_string_lossy());
    let mut found = vec![PathBuf::new()];
    for part in parts {
        let mut next = Vec::new();
        for folder in found {
            if !part.contains(['*', '?', '[']) {
                next.push(folder.join(&*part));
                continue;
            }
            let is_folder =
                host.stat(&folder, Links::Follow)?.is_some_and(|it| it.kind == FileKind::Directory);
            for name in if is_folder { host.list(&folder)? } else { Vec::new() } {
                let text = name.to_string_lossy();
                if (part.starts_with('.') || !text.starts_with('.')) && glob(&part, &text) {
                    next.push(folder.join(&name));
                }
            }
        }
        next.truncate(GLOB_PATHS_MAX);
        found = next;
    }
    for it in found {
        if host.stat(&it, Links::Keep)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn part(fun: &str, stat: &Stat, host: &dyn Probe) -> Value {
    match fun {
        "get_uid" => json!(stat.uid),
        "get_gid" => json!(stat.gid),
        "get_user" => json!(host.user_name(stat.uid)),
        "get_group" => json!(host.group_name(stat.gid)),
        "get_mode" => json!(format!("{:04o}", stat.mode & 0o7777)),
        _ => json!(stat.size),
    }
}

fn unit(fun: &str, unit: &Unit) -> Value {
    let enabled = matches!(unit.enabled.as_str(), "enabled" | "enabled-runtime" | "alias" | "static");
    json!(match fun {
        "available" => unit.found,
        "missing" => !unit.found,
        "enabled" => enabled,
        "disabled" => unit.found && !enabled,
        "masked" => unit.enabled.starts_with("masked"),
        _ => matches!(unit.active.as_deref(), Some("active" | "activating" | "reloading")),
    })
}

/// The part of an answer at `a:b`; nothing if it has no such part.
pub(crate) fn part_of<'a>(answer: &'a Value, path: &str) -> &'a Value {
    path.split(':').fold(answer, |value, name| match value {
        Value::Object(map) => map.get(name).unwrap_or(&Value::Null),
        Value::Array(list) => name.parse::<usize>().ok().and_then(|it| list.get(it)).unwrap_or(&Value::Null),
        _ => &Value::Null,
    })
}

/// What Python takes for true.
pub(crate) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !Map::is_empty(map),
    }
}
