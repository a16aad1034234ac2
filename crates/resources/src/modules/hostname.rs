//! `hostname`: what the machine calls itself.

use crate::{
    Applied, Doc, Error, Examples, Function, Host, Module, Param, ParamsError, Probe, Resource,
    args::{Args, invalid},
    host::Action,
    text_file::{read_text, write_text},
};
use model::Plan;
use serde_json::{Map, Value};
use std::path::Path;

const FILE: &str = "/etc/hostname";
const KERNEL: &str = "kernel.hostname";
/// Longest name that the kernel takes.
const NAME_BYTES_MAX: usize = 64;

pub(crate) const MODULE: Module = Module {
    name: "hostname",
    doc: Doc::new("What the machine calls itself."),
    functions: &[Function {
        name: "present",
        doc: Doc::new(
            "The machine has this name, now and after a reboot (/etc/hostname). Names in /etc/hosts are `host.present`'s work.",
        ),
        params: PARAMS,
        examples: Examples::new(&["web1.lan:\n  hostname.present: []\n"]),
        parse,
    }],
};

const PARAMS: &[Param] = &[Param::text("name", "", "The name, with or without its domain.")];

/// A name; `now` as well as after a reboot.
#[derive(Debug)]
pub(super) struct Hostname {
    pub(super) name: String,
    pub(super) now: bool,
}

fn parse(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("hostname.present", PARAMS, params)?;
    Ok(Box::new(Hostname { name: good_name("name", args.name())?, now: true }))
}

pub(super) fn good_name(param: &str, name: String) -> Result<String, ParamsError> {
    let good = |part: &str| {
        let letters = part.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-' || it == b'_');
        !part.is_empty() && letters && !part.starts_with('-')
    };
    if name.len() > NAME_BYTES_MAX || !name.split('.').all(good) {
        return Err(invalid(
            param,
            format!("`{name}` is no name for a machine: letters, digits, `-`, at most 64"),
        ));
    }
    Ok(name)
}

impl Resource for Hostname {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        if self.now {
            let now = host.sysctl(KERNEL).map_err(Error::host("read kernel parameter", KERNEL))?;
            plan.differ("name", now.as_ref(), &self.name);
        }
        let kept = read_text(host, Path::new(FILE))?.map(|it| it.trim().to_owned());
        plan.differ(FILE, kept.as_ref(), &self.name);
        Ok(plan)
    }
    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        if plan.touches("name") {
            let action = Action::Sysctl { name: KERNEL.to_owned(), value: self.name.clone() };
            let done = host.perform(&action).map_err(Error::host("set kernel parameter", KERNEL))?;
            done.success("set the machine's name")?;
        }
        if plan.touches(FILE) {
            write_text(host, Path::new(FILE), &format!("{}\n", self.name))?;
        }
        Ok(Applied::default())
    }
}
