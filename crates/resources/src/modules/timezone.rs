//! `timezone`: the machine's time zone and what its hardware clock keeps.

use crate::{
    Applied, Doc, Error, Examples, Function, Host, Module, Param, ParamsError, Probe, Resource,
    args::{Args, invalid, plain_word},
    host::{FileKind, Links},
    text_file::{exists, read_text, write_text},
};
use model::Plan;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

const LOCALTIME: &str = "/etc/localtime";
const TIMEZONE: &str = "/etc/timezone";
const ADJTIME: &str = "/etc/adjtime";
const ZONES: &str = "/usr/share/zoneinfo";
/// Exists on Debian and its kin, where /etc/timezone has the zone's name as well.
const DEBIAN: &str = "/etc/debian_version";

pub(crate) const MODULE: Module = Module {
    name: "timezone",
    doc: Doc::new("The machine's time zone."),
    functions: &[Function {
        name: "system",
        doc: Doc::new(
            "The machine has this time zone: /etc/localtime points to it, and on Debian /etc/timezone names it. The hardware \
              clock keeps UTC or local time (/etc/adjtime).",
        ),
        params: PARAMS,
        examples: Examples::new(&["Europe/Berlin:\n  timezone.system:\n    - utc: true\n"]),
        parse,
    }],
};

const PARAMS: &[Param] = &[
    Param::text("name", "", "The zone, such as `Europe/Berlin`."),
    Param::flag("utc", "true", "Whether the hardware clock keeps UTC."),
];

#[derive(Debug)]
struct Zone {
    name: String,
    utc: bool,
}

fn parse(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("timezone.system", PARAMS, params)?;
    let name = args.name();
    plain_word("name", &name)?;
    if name.split('/').any(|it| it.is_empty() || it.starts_with('.')) {
        return Err(invalid("name", format!("`{name}` is no time zone")));
    }
    Ok(Box::new(Zone { name, utc: args.bool("utc", true) }))
}

impl Zone {
    fn file(&self) -> PathBuf {
        Path::new(ZONES).join(&self.name)
    }

    /// The zone that the link names.
    fn now(host: &dyn Probe) -> Result<Option<String>, Error> {
        let path = Path::new(LOCALTIME);
        let found = host.stat(path, Links::Keep).map_err(Error::host("look at", LOCALTIME))?;
        match found.map(|it| it.kind) {
            None => Ok(None),
            Some(FileKind::Symlink) => {
                let target = host.read_link(path).map_err(Error::host("read link", LOCALTIME))?;
                let target = target.display().to_string();
                Ok(target.split_once("zoneinfo/").map(|it| it.1.to_owned()).or(Some(target)))
            }
            Some(_) => Ok(Some("a copy".to_owned())),
        }
    }

    /// The file with its third line saying what the hardware clock keeps.
    fn adjtime(&self, now: Option<&str>) -> Option<String> {
        let mut lines: Vec<&str> = now.unwrap_or("0.0 0 0.0\n0\nUTC\n").lines().collect();
        lines.resize(3, "");
        let is_utc = lines[2].trim() != "LOCAL";
        if is_utc == self.utc {
            return None;
        }
        lines[2] = if self.utc { "UTC" } else { "LOCAL" };
        Some(lines.join("\n") + "\n")
    }
}

impl Resource for Zone {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let now = Self::now(host)?;
        if now.as_ref() != Some(&self.name) && !host.is_sandbox() && !exists(host, self.file())? {
            let text = format!("there is no time zone `{}` below {ZONES}; is tzdata installed?", self.name);
            return Err(Error::Refused(text));
        }
        plan.differ("zone", now.as_ref(), &self.name);
        let named = read_text(host, Path::new(TIMEZONE))?.map(|it| it.trim().to_owned());
        if named.is_some() || (plan.touches("zone") && exists(host, DEBIAN)?) {
            plan.differ(TIMEZONE, named.as_ref(), &self.name);
        }
        let clock = read_text(host, Path::new(ADJTIME))?;
        if self.adjtime(clock.as_deref()).is_some() {
            let (from, to) = if self.utc { ("local time", "UTC") } else { ("UTC", "local time") };
            plan.differ("hardware clock", Some(&from.to_owned()), &to.to_owned());
        }
        Ok(plan)
    }

    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        if plan.touches("zone") {
            host.make_symlink(Path::new(LOCALTIME), &self.file())
                .map_err(Error::host("make link", LOCALTIME))?;
        }
        if plan.touches(TIMEZONE) {
            write_text(host, Path::new(TIMEZONE), &format!("{}\n", self.name))?;
        }
        if plan.touches("hardware clock") {
            let now = read_text(host, Path::new(ADJTIME))?;
            if let Some(text) = self.adjtime(now.as_deref()) {
                write_text(host, Path::new(ADJTIME), &text)?;
            }
        }
        Ok(Applied::default())
    }
}
