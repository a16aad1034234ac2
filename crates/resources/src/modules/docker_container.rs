//! `docker_container`: containers of Docker.

mod options;
mod running;
mod words;

use super::docker::{docker, inspect, object_name};
use crate::{
    Applied, Doc, Error, Examples, Function, Host, Module, Param, ParamType, ParamsError, Probe, Resource,
    args::{Args, invalid},
    host::query::docker::Question,
};
use model::{Change, Plan};
use serde_json::{Map, Value};

pub(crate) const MODULE: Module = Module {
    name: "docker_container",
    doc: Doc::new("Containers of Docker."),
    functions: &[
        Function {
            name: "running",
            doc: Doc::new(
                "A container exists with exactly this configuration, and runs. A label of the container \
                  (`labctl.config`) holds the hash of the configuration that it was made with: when that differs, when \
                  there is no such label, or when the image's tag stands for another image by now, the new container \
                  is made first and takes the old one's place. A missing image is pulled. Values of `environment` \
                  never become arguments of a program; those of `command` and `labels` do, so that secrets belong into \
                  `environment` or a file.",
            ),
            params: &options::PARAMS,
            examples: Examples::new(&[
                "nextcloud:\n  docker_container.running:\n    - image: nextcloud:29\n    - port_bindings: 8080:80\n    \
                 - binds:\n      - /srv/nextcloud:/var/www/html\n    - environment:\n      - TZ: Europe/Berlin\n    - \
                 restart_policy: unless-stopped\n",
                "web:\n  docker_container.running:\n    - image: nginx:1.27\n    - networks:\n      - proxy:\n        - \
                 ipv4_address: 10.20.0.5\n      - backend\n    - labels:\n        traefik.enable: 'true'\n",
            ]),
            parse: running::parse,
        },
        Function {
            name: "stopped",
            doc: Doc::new("Containers do not run."),
            params: STOPPED,
            examples: Examples::new(&[
                "nextcloud:\n  docker_container.stopped:\n    - shutdown_timeout: 30\n",
            ]),
            parse: stopped,
        },
        Function {
            name: "absent",
            doc: Doc::new("A container does not exist. Its named volumes stay."),
            params: ABSENT,
            examples: Examples::new(&["old_app:\n  docker_container.absent:\n    - force: true\n"]),
            parse: absent,
        },
    ],
};

const NAME: Param = Param::name("The container.");
const STOPPED: &[Param] = &[
    NAME,
    Param::of("containers", ParamType::TextList, "the name", "Several containers."),
    Param::of("shutdown_timeout", ParamType::Integer, "10", "Seconds until it is killed."),
    Param::of("error_on_absent", ParamType::Bool, "true", "Fails if there is no such container."),
    Param::of(
        "unpause",
        ParamType::Bool,
        "false",
        "Lets a paused container go on first, so that it can stop.",
    ),
];
const ABSENT: &[Param] =
    &[NAME, Param::of("force", ParamType::Bool, "false", "Removes it also while it runs; it is killed.")];

/// Longest that a container may take to stop.
const SHUTDOWN_S_MAX: i64 = 1500;

fn shutdown_timeout(args: &Args<'_>) -> Result<i64, ParamsError> {
    let seconds = args.number("shutdown_timeout").unwrap_or(10);
    if (0..=SHUTDOWN_S_MAX).contains(&seconds) {
        return Ok(seconds);
    }
    Err(invalid("shutdown_timeout", format!("`shutdown_timeout` must be 0 to {SHUTDOWN_S_MAX} seconds")))
}

/// `State.Status`, such as `running` or `exited`.
fn status(container: &Value) -> &str {
    super::docker::text(container, "/State/Status")
}

#[derive(Debug)]
struct Stopped {
    names: Vec<String>,
    shutdown_timeout: i64,
    error_on_absent: bool,
    unpause: bool,
}

fn stopped(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("docker_container.stopped", STOPPED, params)?;
    let names = args.list("containers").unwrap_or_else(|| vec![args.name()]);
    names.iter().try_for_each(|it| object_name("name", it))?;
    Ok(Box::new(Stopped {
        names,
        shutdown_timeout: shutdown_timeout(&args)?,
        error_on_absent: args.bool("error_on_absent", true),
        unpause: args.bool("unpause", false),
    }))
}

impl Resource for Stopped {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        for name in &self.names {
            let Some(now) = inspect(host, Question::Container(name.clone()))? else {
                if self.error_on_absent {
                    let text = "; `error_on_absent: false` takes that as stopped";
                    return Err(Error::Refused(format!("there is no container `{name}`{text}")));
                }
                continue;
            };
            let is = status(&now).to_owned();
            if matches!(is.as_str(), "running" | "restarting" | "paused") {
                let to = Some("stopped".to_owned());
                plan.push(Change { what: name.clone(), from: Some(is), to, diff: None });
            }
        }
        Ok(plan)
    }
    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        for change in &plan.changes {
            if self.unpause && change.from.as_deref() == Some("paused") {
                docker(host, &["unpause", &change.what])?;
            }
            docker(host, &["stop", &format!("--time={}", self.shutdown_timeout), &change.what])?;
        }
        Ok(Applied::default())
    }
}

#[derive(Debug)]
struct Absent {
    name: String,
    force: bool,
}

fn absent(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("docker_container.absent", ABSENT, params)?;
    object_name("name", &args.name())?;
    Ok(Box::new(Absent { name: args.name(), force: args.bool("force", false) }))
}

impl Resource for Absent {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        if let Some(now) = inspect(host, Question::Container(self.name.clone()))? {
            let is = status(&now).to_owned();
            if is == "running" && !self.force {
                let text =
                    format!("the container `{}` runs; `force: true` removes it nevertheless", self.name);
                return Err(Error::Refused(text));
            }
            plan.push(Change { what: "container".to_owned(), from: Some(is), to: None, diff: None });
        }
        Ok(plan)
    }
    fn apply(&self, _plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let force = if self.force { "--force=true" } else { "--force=false" };
        docker(host, &["rm", force, &self.name])?;
        Ok(Applied::default())
    }
}
