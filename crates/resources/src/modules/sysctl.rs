//! `sysctl`: kernel parameters, now and after a reboot.

use crate::{
    Applied, Doc, Error, Examples, Function, Host, Module, Param, ParamsError, Probe, Resource,
    args::{Args, invalid, plain_word},
    host::Action,
    text_file::{compare_text, exists, read_text, write_text},
};
use model::Plan;
use serde_json::{Map, Value};
use std::path::PathBuf;

pub(crate) const MODULE: Module = Module {
    name: "sysctl",
    doc: Doc::new("Kernel parameters."),
    functions: &[Function {
        name: "present",
        doc: Doc::new(
            "A kernel parameter has this value now, and a line in a configuration file sees to it after a reboot.",
        ),
        params: PARAMS,
        examples: Examples::new(&[
            "net.ipv4.ip_forward:\n  sysctl.present:\n    - value: 1\n",
            "vm.swappiness:\n  sysctl.present:\n    - value: 10\n    - config: /etc/sysctl.d/50-memory.conf\n",
        ]),
        parse,
    }],
};

/// As Salt has it: systemd does not read /etc/sysctl.conf. A tree that comes from Salt goes on in the same file.
const CONFIG: &str = "/etc/sysctl.conf";
const SYSTEMD_CONFIG: &str = "/etc/sysctl.d/99-salt.conf";
/// Exists while systemd is the first process.
const SYSTEMD: &str = "/run/systemd/system";
/// What a new file begins with.
const HEAD: &str = "#\n# Kernel sysctl configuration\n#\n";

const PARAMS: &[Param] = &[
    Param::text("name", "", "The parameter, such as `net.ipv4.ip_forward`."),
    Param::text("value", "", "Its value.").required(),
    Param::path(
        "config",
        "/etc/sysctl.d/99-salt.conf with systemd, else /etc/sysctl.conf",
        "The file that keeps it. The default is Salt's, so that a machine that comes from Salt has one line, not two.",
    ),
];

#[derive(Debug)]
struct Present {
    name: String,
    value: String,
    config: Option<PathBuf>,
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
    let config = args.path("config");
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
    fn config(&self, host: &dyn Probe) -> Result<PathBuf, Error> {
        if let Some(config) = &self.config {
            return Ok(config.clone());
        }
        let systemd = exists(host, SYSTEMD)?;
        Ok(PathBuf::from(if systemd { SYSTEMD_CONFIG } else { CONFIG }))
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
        let file = read_text(host, &self.config(host)?)?;
        let wanted = self.config_wanted(file.as_deref().unwrap_or(HEAD));
        compare_text(&mut plan, "config", file.as_deref(), &wanted);
        Ok(plan)
    }

    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        if plan.touches("value") {
            let action = Action::Sysctl { name: self.name.clone(), value: self.value.clone() };
            let done = host.perform(&action).map_err(Error::host("set kernel parameter", &self.name))?;
            done.success(&format!("set {}", self.name))?;
        }
        if plan.touches("config") {
            let config = self.config(host)?;
            let file = read_text(host, &config)?;
            write_text(host, &config, &self.config_wanted(file.as_deref().unwrap_or(HEAD)))?;
        }
        Ok(Applied::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_lines_stay() {
        let it = Present { name: "a.b".into(), value: "1 2".into(), config: None };
        assert_eq!(it.config_wanted("# a.b = 3\nx.y=1\n"), "# a.b = 3\nx.y=1\na.b = 1 2\n");
        assert_eq!(it.config_wanted("a/b=7\nx.y=1\na.b=8\n"), "a.b = 1 2\nx.y=1\n");
        assert_eq!(it.config_wanted("a.b=1\t2\n"), "a.b=1\t2\n");
    }
}
