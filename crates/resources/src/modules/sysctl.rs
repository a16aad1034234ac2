//! `sysctl`: kernel parameters, now and after a reboot.

use crate::{
    Applied, Error, Function, Host, Module, Param, ParamType, ParamsError, Probe, Resource,
    args::{Args, invalid, plain_word},
    diff::contents_change,
    host::{Action, Attributes, Contents, Links},
};
use model::Plan;
use serde_json::{Map, Value};
use std::path::PathBuf;

pub(crate) const MODULE: Module = Module {
    name: "sysctl",
    doc: "Kernel parameters.",
    functions: &[Function {
        name: "present",
        doc: "A kernel parameter has this value now, and a line in a configuration file sees to it after a reboot.",
        params: PARAMS,
        examples: &[
            "net.ipv4.ip_forward:\n  sysctl.present:\n    - value: 1\n",
            "vm.swappiness:\n  sysctl.present:\n    - value: 10\n    - config: /etc/sysctl.d/50-memory.conf\n",
        ],
        parse,
    }],
};

const CONFIG: &str = "/etc/sysctl.d/99-labctl.conf";

const PARAMS: &[Param] = &[
    Param {
        name: "name",
        kind: ParamType::Text,
        required: false,
        default: "",
        doc: "The parameter, such as `net.ipv4.ip_forward`.",
    },
    Param { name: "value", kind: ParamType::Text, required: true, default: "", doc: "Its value." },
    Param {
        name: "config",
        kind: ParamType::Path,
        required: false,
        default: CONFIG,
        doc: "The file that keeps it.",
    },
];

#[derive(Debug)]
struct Present {
    name: String,
    value: String,
    config: PathBuf,
}

fn parse(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("sysctl.present", PARAMS, params)?;
    let name = args.name();
    plain_word("name", &name)?;
    if name.split(['.', '/']).any(str::is_empty) || name.contains(['=', '#', ';']) {
        return Err(invalid("name", format!("`{name}` is no kernel parameter")));
    }
    // `value: true` in YAML means 1.
    let value = match args.text("value").unwrap_or_default().as_str() {
        "true" => "1".to_owned(),
        "false" => "0".to_owned(),
        other => words(other),
    };
    if value.is_empty() || value.contains(['\0', '#', ';']) {
        return Err(invalid("value", "`value` must be one line of words"));
    }
    let config = args.path("config").unwrap_or_else(|| PathBuf::from(CONFIG));
    Ok(Box::new(Present { name, value, config }))
}

/// With single spaces: the kernel prints tabs.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The dotted name of a line's parameter, and its value.
fn setting(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    if line.starts_with(['#', ';']) {
        return None;
    }
    let (name, value) = line.split_once('=')?;
    Some((dotted(name.trim().trim_start_matches('-')), words(value)))
}

fn dotted(name: &str) -> String {
    name.replace('/', ".")
}

impl Present {
    fn config_now(&self, host: &dyn Probe) -> Result<Option<String>, Error> {
        let found = host.stat(&self.config, Links::Follow);
        if found.map_err(Error::host("look at", self.config.display()))?.is_none() {
            return Ok(None);
        }
        let bytes = host.read(&self.config).map_err(Error::host("read", self.config.display()))?;
        String::from_utf8(bytes)
            .map(Some)
            .map_err(|_| Error::Refused(format!("`{}` is not text", self.config.display())))
    }

    /// The file with one line for this parameter; every other line stays as it is.
    fn config_wanted(&self, now: &str) -> String {
        let name = dotted(&self.name);
        let wanted = format!("{} = {}", self.name, self.value);
        let mut lines: Vec<String> = Vec::new();
        let mut written = false;
        for line in now.lines() {
            match setting(line) {
                Some((it, _)) if it == name && written => (),
                Some((it, value)) if it == name => {
                    lines.push(if value == self.value { line.to_owned() } else { wanted.clone() });
                    written = true;
                }
                _ => lines.push(line.to_owned()),
            }
        }
        if !written {
            lines.push(wanted);
        }
        lines.join("\n") + "\n"
    }
}

impl Resource for Present {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let now = host.sysctl(&self.name).map_err(Error::host("read kernel parameter", &self.name))?;
        let Some(now) = now.map(|it| words(&it)) else {
            let text = format!("the kernel has no parameter `{}`; is its module loaded?", self.name);
            return Err(Error::Refused(text));
        };
        plan.differ("value", Some(&now), &self.value);
        let file = self.config_now(host)?;
        let wanted = self.config_wanted(file.as_deref().unwrap_or_default());
        if file.as_ref() != Some(&wanted) {
            plan.push(contents_change("config", file.as_deref().map(str::as_bytes), wanted.as_bytes()));
        }
        Ok(plan)
    }

    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        if plan.touches("value") {
            let action = Action::Sysctl { name: self.name.clone(), value: self.value.clone() };
            let done = host.perform(&action).map_err(Error::host("set kernel parameter", &self.name))?;
            done.success(&format!("set {}", self.name))?;
        }
        if plan.touches("config") {
            let wanted = self.config_wanted(&self.config_now(host)?.unwrap_or_default());
            let folder = self.config.parent().filter(|it| matches!(host.stat(it, Links::Follow), Ok(None)));
            if let Some(folder) = folder {
                host.make_directory(folder, Attributes::default())
                    .map_err(Error::host("make folder", folder.display()))?;
            }
            host.write(
                &self.config,
                Contents::Bytes(wanted.as_bytes()),
                Attributes::default(),
                Links::Follow,
            )
            .map_err(Error::host("write", self.config.display()))?;
        }
        Ok(Applied::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_lines_stay() {
        let it = Present { name: "a.b".into(), value: "1 2".into(), config: PathBuf::new() };
        assert_eq!(it.config_wanted("# a.b = 3\nx.y=1\n"), "# a.b = 3\nx.y=1\na.b = 1 2\n");
        assert_eq!(it.config_wanted("a/b=7\nx.y=1\na.b=8\n"), "a.b = 1 2\nx.y=1\n");
        assert_eq!(it.config_wanted("a.b=1\t2\n"), "a.b=1\t2\n");
    }
}
