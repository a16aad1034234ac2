//! `system`: the machine as a whole is booted anew.

use crate::{
    Applied, Doc, Error, Examples, Function, Host, Module, Param, ParamType, ParamsError, Probe, Reboot,
    Resource,
    args::{Args, invalid},
    host::Links,
};
use model::{Change, Plan};
use serde_json::{Map, Value};
use std::path::Path;

pub(crate) const MODULE: Module = Module {
    name: "system",
    doc: Doc::new("The machine as a whole."),
    functions: &[Function {
        name: "reboot",
        doc: Doc::new(
            "The machine is booted anew, and the run goes on behind this step. It is on record before it happens; at most \
              three times in one job. If the machine is not back with a new boot within ten minutes, the step has \
              failed. Unless `only_on_pending_reboot` is false it happens only when packages ask for it \
              (`/run/reboot-required`); otherwise it happens in each run, so let it wait for a change with `onchanges`.",
        ),
        params: PARAMS,
        examples: Examples::new(&[
            "linux-image-amd64:\n  pkg.latest: []\nnew kernel:\n  system.reboot:\n    - only_on_pending_reboot: false\n    - \
             onchanges:\n      - pkg: linux-image-amd64\n",
            "after upgrades:\n  system.reboot:\n    - message: the kernel was upgraded\n    - timeout: 30\n    - in_seconds: \
             true\n",
        ]),
        parse,
    }],
};

const PARAMS: &[Param] = &[
    Param::name("Any name for the step."),
    Param::of("message", ParamType::Text, "none", "What people who are logged in are told: one line."),
    Param::of("timeout", ParamType::Integer, "0", "Minutes before it happens, at most 60."),
    Param::of("in_seconds", ParamType::Bool, "false", "Whether `timeout` is in seconds."),
    Param::of(
        "only_on_pending_reboot",
        ParamType::Bool,
        "true",
        "Only when something that was installed asks for it.",
    ),
];

/// Packages of Debian, Ubuntu and their kin make one of these.
const ASKED_FOR: [&str; 2] = ["/run/reboot-required", "/var/run/reboot-required"];
/// Longest time before it happens.
const WAIT_MS_MAX: u64 = 3_600_000;
/// Longest message.
const MESSAGE_MAX: usize = 256;

#[derive(Debug)]
struct Wish {
    reboot: Reboot,
    only_when_asked_for: bool,
}

fn parse(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("system.reboot", PARAMS, params)?;
    let message = args.text("message").unwrap_or_default();
    if message.len() > MESSAGE_MAX || message.contains(char::is_control) {
        return Err(invalid("message", format!("`message` is one line of at most {MESSAGE_MAX} bytes")));
    }
    let unit_ms = if args.bool("in_seconds", false) { 1_000 } else { 60_000 };
    let wait_ms =
        u64::try_from(args.number("timeout").unwrap_or(0)).ok().and_then(|it| it.checked_mul(unit_ms));
    let Some(wait_ms) = wait_ms.filter(|it| *it <= WAIT_MS_MAX) else {
        return Err(invalid("timeout", "`timeout` is at most 60 minutes"));
    };
    let only_when_asked_for = args.bool("only_on_pending_reboot", true);
    Ok(Box::new(Wish { reboot: Reboot { message, wait_ms }, only_when_asked_for }))
}

fn asked_for_by(host: &dyn Probe) -> Result<Option<&'static str>, Error> {
    for path in ASKED_FOR {
        let found = host.stat(Path::new(path), Links::Follow).map_err(Error::host("look for", path))?;
        if found.is_some() {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

impl Resource for Wish {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let asked = if self.only_when_asked_for { asked_for_by(host)? } else { None };
        let mut plan = Plan::default();
        if asked.is_some() || !self.only_when_asked_for {
            let to = asked.map_or_else(|| "again".to_owned(), |it| format!("again, as {it} asks for"));
            plan.push(Change { what: "boot".to_owned(), from: None, to: Some(to), diff: None });
        }
        Ok(plan)
    }

    fn apply(&self, _: &Plan, _: &mut dyn Host) -> Result<Applied, Error> {
        Err(Error::Refused("a reboot is done by the minion, not by a step".to_owned()))
    }

    fn reboot(&self) -> Option<Reboot> {
        Some(self.reboot.clone())
    }

    fn converges(&self) -> bool {
        false
    }
}
