//! `service`: units of the service manager.

mod masked;

use crate::{
    Applied, Doc, Error, Examples, Function, Host, Module, Param, ParamType, ParamsError, Probe, Resource,
    args::{Args, invalid, plain_word},
    host::{Action, Query, Unit, UnitAction, query::service::Question},
    tool,
};
use model::{Change, Plan};
use serde_json::{Map, Value};

pub(crate) const MODULE: Module = Module {
    name: "service",
    doc: Doc::new("Services: units of systemd of any kind, or services of OpenRC."),
    functions: &[
        Function {
            name: "running",
            doc: Doc::new(
                "A service runs. When something it watches has changed it is restarted, or reloaded with \
                  `reload: true`.",
            ),
            params: RUNNING,
            examples: Examples::new(&[
                "nginx:\n  service.running:\n    - enable: true\n    - reload: true\n    - watch:\n      - file: \
                 /etc/nginx/nginx.conf\n/etc/nginx/nginx.conf:\n  file.managed:\n    - contents: \"events {}\\n\"\n",
            ]),
            parse: |params| parse("service.running", RUNNING, params, Some(true)),
        },
        Function {
            name: "dead",
            doc: Doc::new("A service does not run. One that does not exist does not run either."),
            params: DEAD,
            examples: Examples::new(&["telnet.socket:\n  service.dead:\n    - enable: false\n"]),
            parse: |params| parse("service.dead", DEAD, params, Some(false)),
        },
        Function {
            name: "enabled",
            doc: Doc::new("A service is started at boot; whether it runs now does not matter."),
            params: NAME,
            examples: Examples::new(&["fstrim.timer:\n  service.enabled: []\n"]),
            parse: |params| parse("service.enabled", NAME, params, None),
        },
        Function {
            name: "disabled",
            doc: Doc::new("A service is not started at boot; whether it runs now does not matter."),
            params: NAME,
            examples: Examples::new(&["apache2:\n  service.disabled: []\n"]),
            parse: |params| parse("service.disabled", NAME, params, None),
        },
        Function {
            name: "masked",
            doc: Doc::new("A unit cannot be started by anything (systemd). One that runs goes on running."),
            params: masked::PARAMS,
            examples: Examples::new(&["systemd-networkd-wait-online:\n  service.masked: []\n"]),
            parse: |params| masked::parse("service.masked", params),
        },
        Function {
            name: "unmasked",
            doc: Doc::new("A unit can be started again (systemd). That does not start it."),
            params: masked::PARAMS,
            examples: Examples::new(&["nginx:\n  service.unmasked: []\n"]),
            parse: |params| masked::parse("service.unmasked", params),
        },
    ],
};

const fn flag(name: &'static str, default: &'static str, doc: &'static str) -> Param {
    Param::of(name, ParamType::Bool, default, doc)
}

const UNIT: Param =
    Param::name("The unit; without a suffix a service is meant. `name@instance` is an instance.");
const ENABLE: Param = flag("enable", "as it is", "Whether it is started at boot.");
const SIG: Param = Param::of(
    "sig",
    ParamType::Text,
    "",
    "A regular expression for the command line of its process (`pgrep -f`): whether there is one tells whether it runs, \
     instead of the service manager.",
);
const INIT_DELAY: Param =
    Param::of("init_delay", ParamType::Duration, "0", "Waits so long after a start, a stop or a restart.");
const NO_BLOCK: Param = flag("no_block", "false", "Does not wait until it has started or stopped (systemd).");
const UNMASK: Param = flag("unmask", "false", "Unmasks it first, if it is masked (systemd).");
const UNMASK_RUNTIME: Param = flag(
    "unmask_runtime",
    "false",
    "With `unmask`: also if it is masked for this boot only. It is unmasked then in any case.",
);
const TIMEOUT: Param = Param::of(
    "timeout",
    ParamType::Duration,
    "5m",
    "Accepted as in Salt, which has it for Windows; the limit here is five minutes.",
);
const NAME: &[Param] = &[UNIT, UNMASK, UNMASK_RUNTIME];
const DEAD: &[Param] = &[UNIT, ENABLE, SIG, INIT_DELAY, NO_BLOCK, TIMEOUT];
const RUNNING: &[Param] = &[
    UNIT,
    ENABLE,
    SIG,
    INIT_DELAY,
    flag(
        "reload",
        "false",
        "When something watched has changed: reload, if the unit can, instead of restart.",
    ),
    flag(
        "full_restart",
        "false",
        "When something watched has changed: stop, then start, instead of restart.",
    ),
    flag("force", "false", "Accepted as in Salt: a restart that was asked for is never left out here."),
    NO_BLOCK,
    UNMASK,
    UNMASK_RUNTIME,
    TIMEOUT,
];

#[derive(Debug)]
struct Service {
    name: String,
    /// Whether it runs.
    active: Option<bool>,
    /// Whether it is started at boot.
    enabled: Option<bool>,
    sig: Option<String>,
    init_delay_ms: u64,
    unmask: bool,
    soon: bool,
    on_change: OnChange,
}

/// What is done when something watched has changed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum OnChange {
    Restart,
    FullRestart,
    Reload,
}

/// Longest that a start may be followed by a wait.
const INIT_DELAY_MS_MAX: u64 = 3_600_000;

/// What can be a unit's name.
fn unit_name(name: &str) -> Result<(), ParamsError> {
    plain_word("name", name)?;
    if name.contains('/') {
        return Err(invalid("name", format!("`{name}` is a path, not the name of a unit")));
    }
    Ok(())
}

fn parse(
    kind: &str,
    schema: &[Param],
    params: &Map<String, Value>,
    active: Option<bool>,
) -> Result<Box<dyn Resource>, ParamsError> {
    if params.contains_key("enabled") {
        return Err(invalid("enabled", "whether it is started at boot is called `enable`"));
    }
    let args = Args::new(kind, schema, params)?;
    let name = args.name();
    unit_name(&name)?;
    let sig = args.text("sig").filter(|it| !it.is_empty());
    if sig.as_ref().is_some_and(|it| it.chars().any(char::is_control)) {
        return Err(invalid("sig", "`sig` must be one line"));
    }
    let init_delay_ms = args.duration_ms("init_delay").unwrap_or_default();
    if init_delay_ms > INIT_DELAY_MS_MAX {
        return Err(invalid("init_delay", "`init_delay` is an hour at most"));
    }
    let enabled = match kind {
        "service.enabled" => Some(true),
        "service.disabled" => Some(false),
        _ => args.has("enable").then(|| args.bool("enable", false)),
    };
    let on_change = match (args.bool("reload", false), args.bool("full_restart", false)) {
        (_, true) => OnChange::FullRestart,
        (true, _) => OnChange::Reload,
        _ => OnChange::Restart,
    };
    Ok(Box::new(Service {
        name,
        active,
        enabled,
        sig,
        init_delay_ms,
        unmask: args.bool("unmask", false),
        soon: args.bool("no_block", false),
        on_change,
    }))
}

/// Whether it is started at boot. What has no installation section (`static`, ...) is as it must be.
fn is_enabled(unit: &Unit, wanted: bool) -> bool {
    match unit.enabled.as_str() {
        "enabled" | "enabled-runtime" | "linked" | "linked-runtime" => true,
        "static" | "indirect" | "generated" | "alias" | "transient" => wanted,
        _ => false,
    }
}

fn is_masked(unit: &Unit) -> bool {
    matches!(unit.enabled.as_str(), "masked" | "masked-runtime")
}

fn look(name: &str, host: &dyn Probe) -> Result<Unit, Error> {
    host.unit(name).map_err(Error::host("look at unit", name))
}

fn act(name: &str, action: UnitAction, host: &mut dyn Host) -> Result<(), Error> {
    let what = format!("{} {name}", action.verb());
    let done = host
        .perform(&Action::Unit(name.to_owned(), action))
        .map_err(Error::host("ask the service manager to", &what))?;
    done.success(&what).map(drop)
}

impl Service {
    /// Whether it runs; none if the service manager does not.
    fn runs(&self, unit: &Unit, host: &dyn Probe) -> Result<Option<bool>, Error> {
        if let Some(sig) = &self.sig {
            let query = Query::Service(Question::Processes(sig.clone()));
            let said = host.query(&query).map_err(Error::host("look for processes of", &self.name))?;
            return Ok(Some(said.code == Some(0)));
        }
        let active = unit.active.as_deref();
        Ok(active.map(|it| matches!(it, "active" | "activating" | "reloading")))
    }

    fn act(&self, action: UnitAction, host: &mut dyn Host) -> Result<(), Error> {
        let action = match action {
            UnitAction::Start if self.soon => UnitAction::StartSoon,
            UnitAction::Stop if self.soon => UnitAction::StopSoon,
            UnitAction::Restart if self.soon => UnitAction::RestartSoon,
            UnitAction::Reload if self.soon => UnitAction::ReloadSoon,
            other => other,
        };
        act(&self.name, action, host)
    }

    /// Lets it come up, if that was asked for.
    fn wait(&self, host: &mut dyn Host) -> Result<(), Error> {
        if self.init_delay_ms == 0 {
            return Ok(());
        }
        let seconds = format!("{}.{:03}", self.init_delay_ms / 1000, self.init_delay_ms % 1000);
        let command = tool::command(&["sleep", &seconds], self.init_delay_ms + tool::SHORT_MS);
        tool::run(host, command, "wait").map(drop)
    }

    /// A unit file that was written a moment ago counts.
    fn reread(&self, host: &mut dyn Host) -> Result<Unit, Error> {
        let unit = look(&self.name, host)?;
        if unit.active.is_some() && (unit.stale || !unit.found) {
            self.act(UnitAction::DaemonReload, host)?;
            return look(&self.name, host);
        }
        Ok(unit)
    }

    fn not_found(&self) -> Error {
        Error::Refused(format!("there is no unit `{}`; is its package installed?", self.name))
    }

    /// Frees it if that was asked for.
    fn free(&self, unit: Unit, host: &mut dyn Host) -> Result<Unit, Error> {
        let wanted = self.active == Some(true) || self.enabled == Some(true);
        if !is_masked(&unit) || !wanted {
            return Ok(unit);
        }
        if !self.unmask {
            let text = format!(
                "the unit `{0}` is masked; `unmask: true` or `systemctl unmask {0}` would free it",
                self.name
            );
            return Err(Error::Refused(text));
        }
        let runtime = unit.enabled == "masked-runtime";
        self.act(if runtime { UnitAction::UnmaskRuntime } else { UnitAction::Unmask }, host)?;
        look(&self.name, host)
    }
}

impl Resource for Service {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let unit = look(&self.name, host)?;
        let mut plan = Plan::default();
        let gone = !unit.found && self.active != Some(true) && self.enabled != Some(true);
        if gone {
            return Ok(plan);
        }
        if self.unmask && is_masked(&unit) {
            plan.differ("mask", Some(&unit.enabled), &"unmasked".to_owned());
        }
        if let Some(wanted) = self.active {
            let Some(runs) = self.runs(&unit, host)? else {
                let text = "systemd is not running here, so that services cannot be looked at; \
                            `service.enabled` works without it";
                return Err(Error::Refused(text.to_owned()));
            };
            if runs != wanted {
                let now = if runs { "active" } else { "inactive" }.to_owned();
                let now = if self.sig.is_some() { now } else { unit.active.clone().unwrap_or(now) };
                let from = if unit.found { now } else { "no such unit".to_owned() };
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
        self.free(unit, host)?;
        match self.enabled.filter(|_| plan.touches("enabled")) {
            Some(true) => self.act(UnitAction::Enable, host)?,
            Some(false) => self.act(UnitAction::Disable, host)?,
            None => (),
        }
        match self.active.filter(|_| plan.touches("active")) {
            Some(true) => self.act(UnitAction::Start, host)?,
            Some(false) => self.act(UnitAction::Stop, host)?,
            None => return Ok(Applied::default()),
        }
        self.wait(host)?;
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
        let runs = self.runs(&unit, host)?.unwrap_or(false);
        let reload = self.on_change == OnChange::Reload && unit.can_reload && runs;
        match self.on_change {
            OnChange::FullRestart => {
                act(&self.name, UnitAction::Stop, host)?;
                self.act(UnitAction::Start, host)?;
            }
            _ if reload => self.act(UnitAction::Reload, host)?,
            _ => self.act(UnitAction::Restart, host)?,
        }
        self.wait(host)?;
        let unit = look(&self.name, host)?;
        if !self.soon && self.runs(&unit, host)? != Some(true) {
            return Err(Error::Refused(format!("`{}` does not run after its restart", self.name)));
        }
        Ok(Some(Applied::saying(if reload { "reloaded" } else { "restarted" })))
    }

    fn refreshes(&self) -> Option<&'static str> {
        match (self.active, self.on_change) {
            (Some(true), OnChange::Reload) => Some("reload"),
            (Some(true), _) => Some("restart"),
            _ => None,
        }
    }

    fn is_fresh_after(&self, plan: &Plan) -> bool {
        plan.touches("active")
    }

    /// Without waiting for its end nothing can be said about it.
    fn converges(&self) -> bool {
        !self.soon
    }
}
