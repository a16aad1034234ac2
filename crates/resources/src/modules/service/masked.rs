//! `service.masked` and `service.unmasked`.

use super::{act, is_masked, look, unit_name};
use crate::{
    Applied, Error, Host, Param, ParamType, ParamsError, Probe, Resource, args::Args, host::UnitAction,
};
use model::{Change, Plan};
use serde_json::{Map, Value};

pub(super) const PARAMS: &[Param] = &[
    Param::name("The unit; without a suffix a service is meant."),
    Param::of("runtime", ParamType::Bool, "false", "Until the next boot only."),
];

#[derive(Debug)]
struct Mask {
    name: String,
    masked: bool,
    runtime: bool,
}

pub(super) fn parse(kind: &str, params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new(kind, PARAMS, params)?;
    let name = args.name();
    unit_name(&name)?;
    Ok(Box::new(Mask { name, masked: kind == "service.masked", runtime: args.bool("runtime", false) }))
}

impl Mask {
    fn word(&self) -> &'static str {
        if self.runtime { "masked-runtime" } else { "masked" }
    }
}

impl Resource for Mask {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let unit = look(&self.name, host)?;
        let mut plan = Plan::default();
        // What is masked for good is masked for this boot, too.
        let good = match self.masked {
            true if self.runtime => is_masked(&unit),
            true => unit.enabled == "masked",
            false => unit.enabled != self.word(),
        };
        if !good {
            let from = Some(unit.enabled).filter(|it| !it.is_empty());
            let to = Some(if self.masked { self.word() } else { "unmasked" }.to_owned());
            plan.push(Change { what: "mask".to_owned(), from, to, diff: None });
        }
        Ok(plan)
    }
    fn apply(&self, _: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let action = match (self.masked, self.runtime) {
            (true, false) => UnitAction::Mask,
            (true, true) => UnitAction::MaskRuntime,
            (false, false) => UnitAction::Unmask,
            (false, true) => UnitAction::UnmaskRuntime,
        };
        act(&self.name, action, host).map(|()| Applied::default())
    }
}
