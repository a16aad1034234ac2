//! `service`: units of the service manager.

use crate::{
    Applied, Error, Function, Host, Module, Param, ParamType, ParamsError, Probe, Resource,
    args::{Args, invalid, plain_word},
    host::{Action, Unit, UnitAction},
};
use model::{Change, Plan};
use serde_json::{Map, Value};

pub(crate) const MODULE: Module = Module {
    name: "service",
    doc: "Services (systemd).",
    functions: &[
        Function {
            name: "running",
            doc: "A service runs. When something it watches has changed it is restarted, or reloaded with \
                  `reload: true`.",
            params: RUNNING,
            examples: &[
                "nginx:\n  service.running:\n    - enable: true\n    - reload: true\n    - watch:\n      - file: \
                 /etc/nginx/nginx.conf\n/etc/nginx/nginx.conf:\n  file.managed:\n    - contents: \"events {}\\n\"\n",
            ],
            parse: |params| parse("service.running", RUNNING, params, Some(true)),
        },
        Function {
            name: "dead",
            doc: "A service does not run. One that does not exist does not run either.",
            params: DEAD,
            examples: &["telnet.socket:\n  service.dead:\n    - enable: false\n"],
            parse: |params| parse("service.dead", DEAD, params, Some(false)),
        },
        Function {
            name: "enabled",
            doc: "A service is started at boot; whether it runs now does not matter.",
            params: NAME,
            examples: &["fstrim.timer:\n  service.enabled: []\n"],
            parse: |params| parse("service.enabled", NAME, params, None),
        },
        Function {
            name: "disabled",
            doc: "A service is not started at boot; whether it runs now does not matter.",
            params: NAME,
            examples: &["apache2:\n  service.disabled: []\n"],
            parse: |params| parse("service.disabled", NAME, params, None),
        },
    ],
};

const UNIT: Param = Param {
    name: "name",
    kind: ParamType::Text,
    required: false,
    default: "",
    doc: "The unit; without a suffix a service is meant.",
};
const ENABLE: Param = Param {
    name: "enable",
    kind: ParamType::Bool,
    required: false,
    default: "as it is",
    doc: "Whether it is started at boot.",
};
const NAME: &[Param] = &[UNIT];
const DEAD: &[Param] = &[UNIT, ENABLE];
const RUNNING: &[Param] = &[
    UNIT,
    ENABLE,
    Param {
        name: "reload",
        kind: ParamType::Bool,
        required: false,
        default: "false",
        doc: "When something watched has changed: reload, if the unit can, instead of restart.",
    },
];

#[derive(Debug)]
struct Service {
    name: String,
    /// Whether it runs.
    active: Option<bool>,
    /// Whether it is started at boot.
    enabled: Option<bool>,
    reload: bool,
}

fn parse(
    kind: &str,
    schema: &[Param],
    params: &Map<String, Value>,
    active: Option<bool>,
) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new(kind, schema, params)?;
    let name = args.name();
    plain_word("name", &name)?;
    if name.contains('/') {
        return Err(invalid("name", format!("`{name}` is a path, not the name of a unit")));
    }
    let enabled = match kind {
        "service.enabled" => Some(true),
        "service.disabled" => Some(false),
        _ => args.has("enable").then(|| args.bool("enable", false)),
    };
    Ok(Box::new(Service { name, active, enabled, reload: args.bool("reload", false) }))
}

fn runs(unit: &Unit) -> bool {
    matches!(unit.active.as_deref(), Some("active" | "activating" | "reloading"))
}

/// Whether it is started at boot. What has no installation section (`static`, ...) is as it must be.
fn is_enabled(unit: &Unit, wanted: bool) -> bool {
    match unit.enabled.as_str() {
        "enabled" | "enabled-runtime" | "linked" | "linked-runtime" => true,
        "static" | "indirect" | "generated" | "alias" | "transient" => wanted,
        _ => false,
    }
}

impl Service {
    fn look(&self, host: &dyn Probe) -> Result<Unit, Error> {
        host.unit(&self.name).map_err(Error::host("look at unit", &self.name))
    }

    fn act(&self, action: UnitAction, host: &mut dyn Host) -> Result<(), Error> {
        let what = format!("{} {}", action.verb(), self.name);
        let done = host
            .perform(&Action::Unit(self.name.clone(), action))
            .map_err(Error::host("run", "systemctl"))?;
        done.success(&what).map(drop)
    }

    /// A unit file that was written a moment ago counts.
    fn reread(&self, host: &mut dyn Host) -> Result<Unit, Error> {
        let unit = self.look(host)?;
        if unit.active.is_some() && (unit.stale || !unit.found) {
            self.act(UnitAction::DaemonReload, host)?;
            return self.look(host);
        }
        Ok(unit)
    }

    fn not_found(&self) -> Error {
        Error::Refused(format!("there is no unit `{}`; is its package installed?", self.name))
    }
}

impl Resource for Service {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let unit = self.look(host)?;
        let mut plan = Plan::default();
        let gone = !unit.found && self.active != Some(true) && self.enabled != Some(true);
        if gone {
            return Ok(plan);
        }
        if let Some(wanted) = self.active {
            let Some(now) = &unit.active else {
                let text = "systemd is not running here, so that services cannot be looked at; \
                            `service.enabled` works without it";
                return Err(Error::Refused(text.to_owned()));
            };
            if runs(&unit) != wanted {
                let from = if unit.found { now.clone() } else { "no such unit".to_owned() };
                let to = if wanted { "active" } else { "inactive" }.to_owned();
                plan.push(Change { what: "active".to_owned(), from: Some(from), to: Some(to), diff: None });
            }
        }
        if let Some(wanted) = self.enabled.filter(|wanted| is_enabled(&unit, *wanted) != *wanted) {
            let from = Some(unit.enabled.clone()).filter(|it| !it.is_empty());
            let to = if wanted { "enabled" } else { "disabled" }.to_owned();
            plan.push(Change { what: "enabled".to_owned(), from, to: Some(to), diff: None });
        }
        Ok(plan)
    }

    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let unit = self.reread(host)?;
        if !unit.found {
            return Err(self.not_found());
        }
        if unit.enabled == "masked" && (self.active == Some(true) || self.enabled == Some(true)) {
            let text = format!("the unit `{0}` is masked; `systemctl unmask {0}` would free it", self.name);
            return Err(Error::Refused(text));
        }
        match self.enabled.filter(|_| plan.touches("enabled")) {
            Some(true) => self.act(UnitAction::Enable, host)?,
            Some(false) => self.act(UnitAction::Disable, host)?,
            None => (),
        }
        match self.active.filter(|_| plan.touches("active")) {
            Some(true) => self.act(UnitAction::Start, host)?,
            Some(false) => self.act(UnitAction::Stop, host)?,
            None => (),
        }
        Ok(Applied::default())
    }

    fn refresh(&self, host: &mut dyn Host) -> Result<Option<Applied>, Error> {
        if self.active != Some(true) {
            return Ok(None);
        }
        let unit = self.reread(host)?;
        if !unit.found {
            return Err(self.not_found());
        }
        let reload = self.reload && unit.can_reload && runs(&unit);
        self.act(if reload { UnitAction::Reload } else { UnitAction::Restart }, host)?;
        if !runs(&self.look(host)?) {
            return Err(Error::Refused(format!("`{}` does not run after its restart", self.name)));
        }
        Ok(Some(Applied::saying(if reload { "reloaded" } else { "restarted" })))
    }

    fn refreshes(&self) -> Option<&'static str> {
        match (self.active, self.reload) {
            (Some(true), true) => Some("reload"),
            (Some(true), false) => Some("restart"),
            _ => None,
        }
    }

    fn is_fresh_after(&self, plan: &Plan) -> bool {
        plan.touches("active")
    }
}
