//! `systemd`: unit files of one's own.

use crate::{
    Applied, Doc, Error, Examples, Function, Host, Module, Param, ParamType, ParamsError, Probe, Resource,
    args::{Args, invalid, plain_word},
    host::{Action, UnitAction},
    wanted_file::{WantedFile, compare_absent},
};
use model::Plan;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

pub(crate) const MODULE: Module = Module {
    name: "systemd",
    doc: Doc::new("Unit files of systemd."),
    functions: &[
        Function {
            name: "unit",
            doc: Doc::new(
                "A unit file is in place, or a drop-in for a unit that a package brings, and systemd has read it. \
                  Whether the unit runs is left to `service.running`, which can watch this step.",
            ),
            params: UNIT,
            examples: Examples::new(&[
                "backup.service:\n  systemd.unit:\n    - unit:\n        Unit:\n          Description: nightly backup\n          \
                 After: [network-online.target, nss-lookup.target]\n        Service:\n          Type: oneshot\n          \
                 ExecStart: /usr/local/bin/backup\n",
                "nginx.service:\n  systemd.unit:\n    - drop_in: limits\n    - contents: |\n        [Service]\n        \
                 LimitNOFILE=65536\n",
            ]),
            parse: unit,
        },
        Function {
            name: "unit_absent",
            doc: Doc::new(
                "A unit file, or a drop-in, is not there, and systemd has forgotten it. A unit that runs goes on: stop \
                  it with `service.dead` before.",
            ),
            params: ABSENT,
            examples: Examples::new(&["backup.service:\n  systemd.unit_absent: []\n"]),
            parse: absent,
        },
    ],
};

const FOLDER: &str = "/etc/systemd/system";
const NAME: Param = Param::name("The unit, with its suffix (`.service`, `.timer`, `.mount`, ...).");
const DROP_IN: Param = Param::of(
    "drop_in",
    ParamType::Text,
    "none",
    "The name of a drop-in: the file is `NAME.d/DROP_IN.conf`, and the unit itself comes from elsewhere.",
);
const PATH: Param = Param::of("path", ParamType::Path, FOLDER, "The folder of unit files.");
const ABSENT: &[Param] = &[NAME, DROP_IN, PATH];
const UNIT: &[Param] = &[
    NAME,
    Param::of("contents", ParamType::Text, "none", "The whole file."),
    Param::of(
        "unit",
        ParamType::Any,
        "none",
        "Instead of `contents`: a mapping of sections to mappings of settings. A list becomes a line for each value; \
         the order is kept, but `Unit` comes first and `Install` last.",
    ),
    DROP_IN,
    PATH,
    Param::of("mode", ParamType::Mode, "0644", "The file's mode."),
    Param::of(
        "daemon_reload",
        ParamType::Bool,
        "true",
        "Lets systemd read its unit files again after a change.",
    ),
];

/// The file of a unit or a drop-in.
fn place(args: &Args<'_>) -> Result<PathBuf, ParamsError> {
    let name = args.name();
    plain_word("name", &name)?;
    let suffixes = [
        "service",
        "socket",
        "timer",
        "path",
        "mount",
        "automount",
        "target",
        "slice",
        "swap",
        "network",
        "netdev",
        "link",
        "nspawn",
        "container",
        "volume",
        "kube",
        "pod",
        "image",
        "build",
    ];
    let suffix = name.rsplit_once('.').map(|it| it.1);
    if name.contains('/') || suffix.is_none_or(|it| !suffixes.contains(&it)) {
        let text = format!("`{name}` is no unit: it must end in a type, such as `{name}.service`");
        return Err(invalid("name", text));
    }
    let folder = args.path("path").unwrap_or_else(|| PathBuf::from(FOLDER));
    let Some(drop_in) = args.text("drop_in") else { return Ok(folder.join(name)) };
    plain_word("drop_in", &drop_in)?;
    if drop_in.contains('/') {
        return Err(invalid("drop_in", format!("`{drop_in}` is a path, not the name of a drop-in")));
    }
    let file = if Path::new(&drop_in).extension().is_some_and(|it| it == "conf") {
        drop_in
    } else {
        format!("{drop_in}.conf")
    };
    Ok(folder.join(format!("{name}.d")).join(file))
}

/// A mapping of sections as the file's text.
fn rendered(unit: &Value) -> Result<String, ParamsError> {
    let wrong = |text: &str| invalid("unit", format!("`unit`: {text}"));
    let sections = merged(unit).ok_or_else(|| wrong("a mapping of sections is wanted"))?;
    let mut blocks = Vec::new();
    for (section, settings) in sorted(&sections) {
        if section.is_empty() || section.contains(['[', ']', '\n']) {
            return Err(wrong(&format!("`{section}` is no name of a section")));
        }
        let settings = merged(settings).ok_or_else(|| wrong(&format!("`{section}` must be a mapping")))?;
        let mut block = format!("[{section}]\n");
        for (key, value) in &settings {
            if key.is_empty() || key.contains(['=', '\n', '[', '#', ';']) {
                return Err(wrong(&format!("`{key}` is no name of a setting")));
            }
            let values = match value {
                Value::Array(items) => items.clone(),
                one => vec![one.clone()],
            };
            for value in values {
                let text = match value {
                    Value::String(text) => text,
                    Value::Bool(flag) => if flag { "yes" } else { "no" }.to_owned(),
                    Value::Number(number) => number.to_string(),
                    Value::Null => String::new(),
                    Value::Array(_) | Value::Object(_) => {
                        return Err(wrong(&format!("`{key}` must be text, or a list of text")));
                    }
                };
                // A line may go on with a backslash, as systemd reads it.
                if text.trim_end().lines().rev().skip(1).any(|it| !it.ends_with('\\')) {
                    return Err(wrong(&format!("`{key}` must be one line")));
                }
                block.extend([key.as_str(), "=", text.trim_end(), "\n"]);
            }
        }
        blocks.push(block);
    }
    Ok(blocks.join("\n"))
}

/// A mapping, or a list of mappings taken as one.
fn merged(value: &Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(map) => Some(map.clone()),
        Value::Array(items) => {
            items.iter().map(Value::as_object).collect::<Option<Vec<_>>>().map(|all| {
                all.into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect()
            })
        }
        _ => None,
    }
}

/// As people write unit files: `Unit`, what the unit is about, `Install`.
fn sorted(sections: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let rank = |name: &str| match name {
        "Unit" => 0,
        "Install" => 2,
        _ => 1,
    };
    let mut all: Vec<_> = sections.iter().collect();
    all.sort_by_key(|(name, _)| rank(name));
    all
}

#[derive(Debug)]
struct Unit {
    file: WantedFile,
    daemon_reload: bool,
}

fn unit(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("systemd.unit", UNIT, params)?;
    let path = place(&args)?;
    let contents = match (args.text("contents"), params.get("unit").filter(|it| !it.is_null())) {
        (Some(text), None) if text.ends_with('\n') || text.is_empty() => text,
        (Some(text), None) => text + "\n",
        (None, Some(unit)) => rendered(unit)?,
        _ => return Err(invalid("contents", "`systemd.unit` needs either `contents` or `unit`")),
    };
    let mode = args.mode("mode").unwrap_or(0o644);
    let file = WantedFile { mode, ..WantedFile::public(path, contents) };
    Ok(Box::new(Unit { file, daemon_reload: args.bool("daemon_reload", true) }))
}

/// Where systemd does not run it reads the files when it starts.
fn daemon_reload(host: &mut dyn Host) -> Result<(), Error> {
    let unit = host.unit("basic.target").map_err(Error::host("look at unit", "basic.target"))?;
    if unit.active.is_none() {
        return Ok(());
    }
    let action = Action::Unit("systemd".to_owned(), UnitAction::DaemonReload);
    let done = host.perform(&action).map_err(Error::host("run", "systemctl"))?;
    done.success("systemctl daemon-reload").map(drop)
}

impl Resource for Unit {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        self.file.compare("unit file", host, &mut plan)?;
        Ok(plan)
    }
    fn apply(&self, _plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        self.file.write(host)?;
        if self.daemon_reload {
            daemon_reload(host)?;
        }
        Ok(Applied::default())
    }
}

#[derive(Debug)]
struct Absent(PathBuf);

fn absent(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("systemd.unit_absent", ABSENT, params)?;
    Ok(Box::new(Absent(place(&args)?)))
}

impl Resource for Absent {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        compare_absent("unit file", &self.0, host, &mut plan)?;
        Ok(plan)
    }
    fn apply(&self, _plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        host.remove(&self.0).map_err(Error::host("remove", self.0.display()))?;
        daemon_reload(host)?;
        Ok(Applied::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sections_become_a_file_that_systemd_reads() {
        let unit = json!({
            "Install": { "WantedBy": "multi-user.target" },
            "Service": { "ExecStart": ["", "/bin/x --a=b"], "PrivateTmp": true },
            "Unit": [{ "Description": "x" }, { "After": "a.target" }],
        });
        let text = "[Unit]\nDescription=x\nAfter=a.target\n\n[Service]\nExecStart=\nExecStart=/bin/x \
                    --a=b\nPrivateTmp=yes\n\n[Install]\nWantedBy=multi-user.target\n";
        assert_eq!(rendered(&unit).unwrap(), text);
    }

    #[test]
    fn a_value_cannot_smuggle_a_line_in() {
        for bad in [
            json!({ "Service": { "User": "x\nExecStartPre=/bin/evil" } }),
            json!({ "Service": { "User=x\nA": "y" } }),
            json!({ "Service]\n[Unit": { "A": "y" } }),
            json!("text"),
        ] {
            assert!(rendered(&bad).is_err(), "{bad}");
        }
    }
}
