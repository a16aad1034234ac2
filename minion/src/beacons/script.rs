//! The beacon `script`: what a program of the operator's writes, a JSON object a line.

use super::Beacon;
use crate::follow::{Ask, Asker, Follow, Follower};
use crate::program::{End, Order};
use crate::senses::{Senses, resolve};
use resources::beacons::Settings;
use serde_json::{Map, Value};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tracing::warn;

/// It has time.
const IN_PEACE: &[&str] = &["nice", "-n", "10"];
/// Arguments of one program.
const ARGUMENTS_MAX: usize = 64;
/// Deepest nesting of what it writes: what an event may have, less what it is wrapped in.
const DEPTH_MAX: usize = 12;
/// A run by interval that takes longer is ended.
const TIMEOUT_MS: u64 = 60_000;

pub(super) fn make(settings: &Settings<'_>, senses: &dyn Senses) -> Result<Box<dyn Beacon>, String> {
    let script = Script::new(settings)?;
    let (interval, limit) = (script.interval, script.timeout);
    let run = Run { script, own: own_uid(), told_off: false };
    run.script.program(senses, run.own)?;
    Ok(match interval {
        None => Follower::boxed(run),
        Some(every) => Box::new(Asker::new(run, every, limit.unwrap_or(every), Duration::ZERO)),
    })
}

/// Who works here.
fn own_uid() -> u32 {
    std::fs::metadata("/proc/self").map_or(0, |it| it.uid())
}

/// A program, and what was said of its mistakes.
struct Run {
    script: Script,
    own: u32,
    told_off: bool,
}

impl Run {
    fn order(&self, senses: &dyn Senses) -> Result<Order, String> {
        let argv = self.script.program(senses, self.own)?;
        Ok(Order { env: self.script.env.clone(), through: IN_PEACE, ..Order::new(argv) })
    }

    fn take(&mut self, text: &str) -> Option<Map<String, Value>> {
        match line(text) {
            Ok(data) => data,
            Err(reason) => {
                if !std::mem::replace(&mut self.told_off, true) {
                    warn!(program = %self.script.path.display(), reason, "a line of a beacon's program is left out");
                }
                None
            }
        }
    }
}

impl Follow for Run {
    fn program(&mut self, senses: &dyn Senses) -> Result<Order, String> {
        self.order(senses)
    }
    fn line(&mut self, _: Duration, line: &str) -> Option<Vec<Map<String, Value>>> {
        Some(self.take(line).into_iter().collect())
    }
    fn limit(&self) -> Option<Duration> {
        self.script.timeout
    }
}

impl Ask for Run {
    fn program(&mut self, senses: &dyn Senses) -> Result<Order, String> {
        self.order(senses)
    }
    fn answer(&mut self, _: Duration, text: &str, end: &End) -> Result<Vec<Map<String, Value>>, String> {
        let told: Vec<Map<String, Value>> = text.lines().filter_map(|line| self.take(line)).collect();
        if end.code == Some(0) { Ok(told) } else { Err(end.reason.clone()) }
    }
}

/// A program of the operator's.
#[derive(Clone, Debug)]
struct Script {
    path: PathBuf,
    arguments: Vec<String>,
    /// Beside what every program has.
    env: Vec<(String, String)>,
    /// Between the beginnings of two runs; none if it runs on and on.
    interval: Option<Duration>,
    /// A run that takes longer is ended.
    timeout: Option<Duration>,
}

impl Script {
    /// By its settings.
    fn new(settings: &Settings<'_>) -> Result<Self, String> {
        let arguments = settings.texts("arguments");
        if arguments.len() > ARGUMENTS_MAX {
            return Err(format!("`arguments` has more than {ARGUMENTS_MAX} entries"));
        }
        let path = PathBuf::from(settings.text("path").unwrap_or_default());
        let interval = settings.time_ms("interval").filter(|it| *it > 0).map(Duration::from_millis);
        let timeout = settings.time_ms("timeout").or(interval.map(|_| TIMEOUT_MS)).map(Duration::from_millis);
        let env = settings.value("env").and_then(Value::as_object).into_iter().flatten();
        let env = env.map(|(name, value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            (name.clone(), text)
        });
        let env: Vec<(String, String)> = env.collect();
        let good = |it: &str| {
            let plain = |it: u8| it.is_ascii_alphanumeric() || it == b'_';
            !it.is_empty() && it.bytes().all(plain) && !it.starts_with("LD_")
        };
        if let Some((name, _)) = env.iter().find(|(name, text)| !good(name) || text.contains('\0')) {
            return Err(format!("`env`: `{name}` cannot be set"));
        }
        Ok(Self { path, arguments, env, interval, timeout })
    }

    /// The program as it may be run now: it and all folders on the way belong to root (or `own`), and nobody else may
    /// write them.
    fn program(&self, senses: &dyn Senses, own: u32) -> Result<Vec<String>, String> {
        let wrong = |error| format!("`{}`: {error}", self.path.display());
        let mounts = senses.mounts().map_err(wrong)?;
        let path = resolve(&mounts, senses.root(), &self.path.to_string_lossy(), &mut |_, _| {});
        // Of a pretended machine the folders above its root are those of whoever pretends.
        let root = senses.root().canonicalize().unwrap_or_default();
        let path = root.join(path.map_err(wrong)?.trim_start_matches('/'));
        for place in path.ancestors().take_while(|it| it.starts_with(&root)) {
            check(place, own)?;
        }
        let meta = path.metadata().map_err(|error| format!("`{}`: {error}", path.display()))?;
        if !meta.is_file() || meta.mode() & 0o111 == 0 {
            return Err(format!("`{}` is no program: chmod 0755", path.display()));
        }
        let path = path.to_str().ok_or("its path is not UTF-8")?.to_owned();
        Ok(std::iter::once(path).chain(self.arguments.iter().cloned()).collect())
    }
}

fn check(path: &Path, own: u32) -> Result<(), String> {
    let shown = path.display();
    let meta = path.metadata().map_err(|error| format!("`{shown}`: {error}"))?;
    if meta.uid() != 0 && meta.uid() != own {
        return Err(format!("`{shown}` does not belong to root: it is not run"));
    }
    // In a folder with the sticky bit nobody can put another in its place.
    let sticky = meta.is_dir() && meta.mode() & 0o1000 != 0;
    if meta.mode() & 0o022 != 0 && !sticky {
        return Err(format!("others may write `{shown}`: it is not run"));
    }
    Ok(())
}

/// The data of an event. Empty lines are nothing; what is no object, or nested too deep, is a mistake.
fn line(text: &str) -> Result<Option<Map<String, Value>>, &'static str> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let data: Map<String, Value> = serde_json::from_str(text).map_err(|_| "it is no JSON object")?;
    if data.values().any(|it| depth(it) > DEPTH_MAX) {
        return Err("it is nested too deep");
    }
    Ok(Some(data))
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::senses::Machine;
    use resources::beacons::kind;
    use serde_json::json;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[expect(clippy::needless_pass_by_value, reason = "cases are written in place")]
    fn script(settings: Value) -> Result<Script, String> {
        let map = settings.as_object().unwrap().clone();
        Script::new(&Settings::read(kind("script").unwrap(), &map).unwrap())
    }

    #[test]
    fn only_what_nobody_else_may_write_is_run() {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().metadata().unwrap().uid();
        let machine = Machine::new(Path::new("/"));
        let folder = dir.path().join("bin");
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("watch");
        std::fs::write(&path, "#!/bin/sh\n").unwrap();
        let set =
            |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        let run =
            || script(json!({"path": path, "arguments": ["-a", "b c"]})).unwrap().program(&machine, own);
        set(&folder, 0o755);
        for (mode, wanted) in
            [(0o755, ""), (0o644, "is no program"), (0o775, "others may write"), (0o757, "others may write")]
        {
            set(&path, mode);
            assert!(run().err().unwrap_or_default().contains(wanted), "{mode:o}: {:?}", run());
        }
        set(&path, 0o700);
        assert_eq!(run().unwrap()[1..], ["-a", "b c"]);
        set(&folder, 0o777);
        assert!(run().unwrap_err().contains("others may write"), "another can be put in its place");
        set(&folder, 0o755);
        let link = dir.path().join("link");
        symlink(&path, &link).unwrap();
        let linked = script(json!({"path": link})).unwrap().program(&machine, own).unwrap();
        assert_eq!(linked, [path.canonicalize().unwrap().to_str().unwrap()], "what was looked at is run");
        assert!(script(json!({"path": "/nowhere/at/all"})).unwrap().program(&machine, own).is_err());
    }

    #[test]
    fn a_line_is_an_object_or_nothing() {
        assert_eq!(line("  "), Ok(None));
        assert_eq!(line(r#"{"a":1}"#).unwrap().unwrap(), json!({"a": 1}).as_object().unwrap().clone());
        for wrong in ["hello", "[1]", "1", r#"{"a":"#] {
            assert!(line(wrong).is_err(), "{wrong}");
        }
        assert!(line(&format!("{{\"a\":{}{}}}", "[".repeat(20), "]".repeat(20))).is_err());
        assert!(line(&"[".repeat(10_000)).is_err());
    }

    #[test]
    fn the_loader_of_programs_is_not_told_anything() {
        assert!(script(json!({"path": "/a", "env": {"LD_PRELOAD": "/x"}})).is_err());
        assert!(script(json!({"path": "/a", "env": {"A B": "x"}})).is_err());
        let it = script(json!({"path": "/a", "env": {"N": 5}, "interval": "10s"})).unwrap();
        assert_eq!(it.env, [("N".to_owned(), "5".to_owned())]);
        assert_eq!(it.timeout, Some(Duration::from_mins(1)));
    }
}
