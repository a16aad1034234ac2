//! `module`: Salt's execution functions, those of them that have a meaning here.

mod call;

use crate::{
    Applied, Doc, Error, Examples, Function, Host, Module, Param, ParamType, ParamsError, Probe, Resource,
    args::invalid,
};
use call::{Call, Given};
use model::{Change, Output, Plan};
use serde_json::{Map, Value};

/// Calls in one step.
const CALLS_MAX: usize = 100;

pub(crate) const MODULE: Module = Module {
    name: "module",
    doc: Doc::new(
        "Salt's execution functions, those of them that have a meaning here. Where there is a state for it, the state is \
          better: it knows whether there is something to do.",
    ),
    functions: &[
        Function {
            name: "run",
            doc: Doc::new(
                "Calls functions, each time; requisites such as `onchanges` say when. Known are `service.start`, `stop`, \
                  `restart`, `reload`, `force_reload`, `enable`, `disable`, `systemctl_reload`, `daemon_reload`; \
                  `cmd.run`, `run_all`, `run_stdout`, `run_stderr`, `shell`, `retcode`; `file.touch`, `mkdir`, `makedirs`, \
                  `makedirs_perms`, `remove`, `set_mode`, `chown`, `symlink`; `pkg.refresh_db`; `sysctl.assign`; \
                  `kmod.load`, `remove`; `group.adduser`, `deluser`; `event.send`, `fire_master`; `system.reboot`, \
                  `poweroff`, `shutdown`, `halt` (in a minute, so that the report leaves before); `test.ping`, `true`, \
                  `false`, `sleep`, `echo`, `nop`; and those that have nothing to do here, because data is fresh in each \
                  run: `saltutil.sync_*`, `saltutil.refresh_*`, `saltutil.clear_cache`, `mine.update`, `mine.send`, \
                  `config.option`, `sys.reload_modules`.",
            ),
            params: PARAMS,
            examples: Examples::new(&[
                "reload units:\n  module.run:\n    - service.systemctl_reload: []\n    - onchanges:\n      - file: \
                 /etc/systemd/system/x.service\n/etc/systemd/system/x.service:\n  file.managed:\n    - contents: \"[Service]\\n\"\n",
                "restart:\n  module.run:\n    - name: service.restart\n    - m_name: nginx\n",
                "two:\n  module.run:\n    - file.touch:\n      - name: /run/stamp\n    - cmd.run:\n      - cmd: systemctl daemon-reload\n",
            ]),
            parse: |params| parse(params, false),
        },
        Function {
            name: "wait",
            doc: Doc::new("The same, only when something that it watches has changed."),
            params: PARAMS,
            examples: Examples::new(&[
                "service.systemctl_reload:\n  module.wait:\n    - watch:\n      - file: /etc/motd\n/etc/motd:\n  file.managed:\n    - contents: hi\n",
            ]),
            parse: |params| parse(params, true),
        },
    ],
};

const PARAMS: &[Param] = &[
    Param::text("name", "", "The function, if no argument of the step is one."),
    Param::text(
        "m_name",
        "",
        "Its argument `name`; in the same way `m_` goes before others that mean something to the step.",
    ),
    Param::text("func", "", "The function, instead of the name."),
    Param::list("args", "", "Its arguments in order."),
    Param::any("kwargs", "", "Its arguments by name."),
    Param::of(
        "*",
        ParamType::Any,
        "",
        "A function with a dot in it and a list of its arguments, several of these if need be; else an argument by name.",
    ),
];

#[derive(Debug)]
struct Run {
    calls: Vec<(String, Call)>,
    waits: bool,
}

fn parse(params: &Map<String, Value>, waits: bool) -> Result<Box<dyn Resource>, ParamsError> {
    let own = ["name", "m_name", "func", "args", "kwargs"];
    let mut calls = Vec::new();
    let named = params.iter().filter(|(key, _)| key.contains('.') && !own.contains(&key.as_str()));
    for (function, arguments) in named {
        calls.push((function.clone(), Call::parse(function, Given::list(arguments))?));
    }
    if calls.is_empty() {
        let text = |name: &str| params.get(name).and_then(Value::as_str).map(str::to_owned);
        let function = text("func").or_else(|| text("name")).unwrap_or_default();
        calls.push((function.clone(), Call::parse(&function, Given::old(params))?));
    }
    if calls.len() > CALLS_MAX {
        return Err(invalid("name", format!("more than {CALLS_MAX} calls in one step")));
    }
    Ok(Box::new(Run { calls, waits }))
}

impl Run {
    fn run(&self, host: &mut dyn Host) -> Result<Applied, Error> {
        let mut said: Option<Output> = None;
        for (_, call) in &self.calls {
            let Some(output) = call.perform(host)? else { continue };
            match &mut said {
                None => said = Some(output),
                Some(before) => {
                    before.stdout.push_str(&output.stdout);
                    before.stderr.push_str(&output.stderr);
                    before.dropped += output.dropped;
                }
            }
        }
        Ok(Applied { output: said, ..Applied::default() })
    }
}

impl Resource for Run {
    fn check(&self, _: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        for (function, call) in self.calls.iter().filter(|it| !self.waits && it.1.is_something()) {
            let to = Some(call.describe());
            plan.push(Change { what: function.clone(), from: None, to, diff: None });
        }
        Ok(plan)
    }
    fn apply(&self, _: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        self.run(host)
    }
    fn refresh(&self, host: &mut dyn Host) -> Result<Option<Applied>, Error> {
        self.run(host).map(Some)
    }
    fn refreshes(&self) -> Option<&'static str> {
        self.calls.iter().any(|it| it.1.is_something()).then_some("call")
    }
    fn converges(&self) -> bool {
        self.waits
    }
    fn remark(&self) -> String {
        let idle = self.calls.iter().filter_map(|(function, call)| match call {
            Call::Nothing(why) => Some(format!("`{function}` has nothing to do: {why}")),
            _ => None,
        });
        idle.collect::<Vec<_>>().join("; ")
    }
    fn events(&self) -> Vec<(String, Value)> {
        let event = |call: &Call| match call {
            Call::Event { tag, data } => Some((tag.clone(), data.clone())),
            _ => None,
        };
        self.calls.iter().filter_map(|it| event(&it.1)).collect()
    }
}
