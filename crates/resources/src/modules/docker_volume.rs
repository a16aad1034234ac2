//! `docker_volume`: volumes of Docker.

use super::docker::{docker, inspect, joined, object_name, pairs, text, text_map};
use crate::{
    Applied, Doc, Error, Examples, Function, Host, Module, Param, ParamType, ParamsError, Probe, Resource,
    args::Args, host::query::docker::Question,
};
use model::{Change, Plan};
use serde_json::{Map, Value};

pub(crate) const MODULE: Module = Module {
    name: "docker_volume",
    doc: Doc::new("Volumes of Docker."),
    functions: &[
        Function {
            name: "present",
            doc: Doc::new(
                "A volume exists, with this driver and these options. One that differs is left alone, and the step \
                  fails, unless `force` is set: a volume holds data.",
            ),
            params: PRESENT,
            examples: Examples::new(&[
                "nextcloud_data:\n  docker_volume.present: []\n",
                "media:\n  docker_volume.present:\n    - driver: local\n    - driver_opts:\n        type: nfs\n        o: \
                 addr=10.0.0.5,ro\n        device: ':/srv/media'\n",
            ]),
            parse: present,
        },
        Function {
            name: "absent",
            doc: Doc::new("A volume does not exist. Docker refuses to remove one that a container uses."),
            params: ABSENT,
            examples: Examples::new(&["old_data:\n  docker_volume.absent: []\n"]),
            parse: absent,
        },
    ],
};

const ABSENT: &[Param] = &[Param::name("The volume.")];
const PRESENT: &[Param] = &[
    ABSENT[0],
    Param::of("driver", ParamType::Text, "local", "The driver."),
    Param::of(
        "driver_opts",
        ParamType::Any,
        "none",
        "Options of the driver: a mapping, or a list of `KEY=VALUE`.",
    ),
    Param::of(
        "force",
        ParamType::Bool,
        "false",
        "Removes a volume that has another driver or other options, with the data in it, and makes it anew.",
    ),
];

#[derive(Debug)]
struct Present {
    name: String,
    driver: String,
    options: Vec<(String, String)>,
    force: bool,
}

fn present(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("docker_volume.present", PRESENT, params)?;
    let name = args.name();
    object_name("name", &name)?;
    let driver = args.text("driver").unwrap_or_else(|| "local".to_owned());
    super::docker::image_name("driver", &driver)?;
    let options = params.get("driver_opts").filter(|it| !it.is_null());
    let mut options = options.map_or(Ok(Vec::new()), |it| pairs("driver_opts", it))?;
    options.sort();
    Ok(Box::new(Present { name, driver, options, force: args.bool("force", false) }))
}

impl Resource for Present {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let Some(now) = inspect(host, Question::Volume(self.name.clone()))? else {
            plan.differ("volume", None, &self.name);
            return Ok(plan);
        };
        plan.differ("driver", Some(&text(&now, "/Driver").to_owned()), &self.driver);
        plan.differ("driver_opts", Some(&joined(&text_map(&now, "/Options"))), &joined(&self.options));
        if !plan.is_empty() && !self.force {
            let ways: Vec<String> = plan.changes.iter().map(|it| it.what.clone()).collect();
            return Err(Error::Refused(format!(
                "the volume `{}` exists with another {}; `force: true` removes it with its data and makes it anew",
                self.name,
                ways.join(" and other ")
            )));
        }
        Ok(plan)
    }

    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        if !plan.touches("volume") {
            docker(host, &["volume", "rm", "--", &self.name])?;
        }
        let mut words = vec!["volume".to_owned(), "create".to_owned(), format!("--driver={}", self.driver)];
        words.extend(self.options.iter().map(|(key, value)| format!("--opt={key}={value}")));
        words.extend(["--".to_owned(), self.name.clone()]);
        docker(host, &words)?;
        Ok(Applied::default())
    }
}

#[derive(Debug)]
struct Absent(String);

fn absent(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("docker_volume.absent", ABSENT, params)?;
    object_name("name", &args.name())?;
    Ok(Box::new(Absent(args.name())))
}

impl Resource for Absent {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        if inspect(host, Question::Volume(self.0.clone()))?.is_some() {
            let from = Some(self.0.clone());
            plan.push(Change { what: "volume".to_owned(), from, to: None, diff: None });
        }
        Ok(plan)
    }
    fn apply(&self, _plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        docker(host, &["volume", "rm", "--", &self.0])?;
        Ok(Applied::default())
    }
}
