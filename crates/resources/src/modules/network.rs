//! `network`: what Salt's `network.system` says of the machine's name.

use super::hostname::{Hostname, good_name};
use crate::{Doc, Examples, Function, Module, Param, ParamsError, Resource, args::Args};
use serde_json::{Map, Value};

pub(crate) const MODULE: Module = Module {
    name: "network",
    doc: Doc::new(
        "The machine's name, as Salt's trees set it. Addresses of interfaces are files of the system's own network tool: \
          manage them with `file.managed` and a service that watches it.",
    ),
    functions: &[Function {
        name: "system",
        doc: Doc::new(
            "The machine has this name after a reboot (/etc/hostname), and with `apply_hostname` now as well. \
              `hostname.present` does both.",
        ),
        params: PARAMS,
        examples: Examples::new(&[
            "system:\n  network.system:\n    - hostname: web1.lan\n    - apply_hostname: true\n",
        ]),
        parse,
    }],
};

const PARAMS: &[Param] = &[
    Param::text("name", "", "Anything."),
    Param::text("hostname", "", "The name.").required(),
    Param::flag("apply_hostname", "false", "Sets it now."),
    Param::flag("enabled", "true", "Accepted from Salt trees and without effect: it is for other systems."),
    Param::flag(
        "retain_settings",
        "false",
        "Accepted from Salt trees and without effect: only the name is altered.",
    ),
    Param::flag("require_reboot", "false", "Accepted from Salt trees and without effect."),
];

fn parse(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("network.system", PARAMS, params)?;
    let name = good_name("hostname", args.text("hostname").unwrap_or_default())?;
    Ok(Box::new(Hostname { name, now: args.bool("apply_hostname", false) }))
}
