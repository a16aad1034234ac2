//! `beacon`: what the machine watches by itself, put there by states.

use crate::{
    Applied, Doc, Error, Examples, Function, Host, Module, Param, ParamsError, Probe, Resource,
    args::{Args, invalid},
    beacons::{self, BeaconKind},
    host::Links,
    wanted_file::{WantedFile, compare_absent},
};
use model::Plan;
use serde_json::{Map, Value};
use std::path::PathBuf;

/// Where the agent looks for them.
const FOLDER: &str = "/etc/labctl/beacons.d";

pub(crate) const MODULE: Module = Module {
    name: "beacon",
    doc: Doc::new(
        "What the machine watches by itself: a file in /etc/labctl/beacons.d, which the agent reads. What pillar sets under `beacons:` comes on top, and counts where both have one of a name.",
    ),
    functions: &[
        Function {
            name: "present",
            doc: Doc::new(
                "The machine has this beacon. What can be watched, and how it is set, stands in docs/reference/beacons.md.",
            ),
            params: PRESENT,
            examples: Examples::new(&[
                "root-disk:\n  beacon.present:\n    - beacon: disk\n    - settings: { path: /, above: 90% }\n",
                "memory:\n  beacon.present: []\n",
            ]),
            parse: present,
        },
        Function {
            name: "absent",
            doc: Doc::new("The machine does not have this beacon from a state."),
            params: ABSENT,
            examples: Examples::new(&["root-disk:\n  beacon.absent: []\n"]),
            parse: absent,
        },
    ],
};

const PRESENT: &[Param] = &[
    Param::text("name", "", "Its name: its events are `beacon/NAME`."),
    Param::text("beacon", "the name", "Which kind it is."),
    Param::any("settings", "none", "A mapping of its settings."),
];
const ABSENT: &[Param] = &[Param::text("name", "", "Its name.")];

#[derive(Debug)]
enum Wanted {
    There(WantedFile),
    Gone(PathBuf),
}

fn place(name: &str) -> Result<PathBuf, ParamsError> {
    if !beacons::is_name(name) {
        let message =
            format!("`{name}` is no name for a beacon: letters, digits, `-`, `_` and `.`, at most 64");
        return Err(invalid("name", message));
    }
    Ok(PathBuf::from(format!("{FOLDER}/{name}.json")))
}

fn present(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("beacon.present", PRESENT, params)?;
    let name = args.name();
    let path = place(&name)?;
    let kind = args.text("beacon").unwrap_or(name);
    let Some(known) = beacons::kind(&kind) else {
        let names: Vec<&str> = beacons::kinds().iter().map(|it| it.name).collect();
        return Err(invalid("beacon", format!("there is no beacon `{kind}`; there is {}", names.join(", "))));
    };
    let settings = match args.value("settings") {
        None => Map::new(),
        Some(Value::Object(settings)) => settings.clone(),
        Some(_) => return Err(invalid("settings", "`settings` must be a mapping")),
    };
    complain(known, &settings)?;
    let mut all = Map::from_iter([("beacon".to_owned(), Value::from(kind))]);
    all.extend(settings);
    let text = serde_json::to_string_pretty(&all).unwrap_or_default();
    // A beacon may have a password among its settings, and the agent is its only reader.
    let file = WantedFile { mode: 0o600, ..WantedFile::public(path, format!("{text}\n")) };
    Ok(Box::new(Wanted::There(file)))
}

fn complain(kind: &BeaconKind, settings: &Map<String, Value>) -> Result<(), ParamsError> {
    let wrong: Vec<String> = kind.check(settings, true).into_iter().map(|it| it.message).collect();
    if wrong.is_empty() { Ok(()) } else { Err(invalid("settings", wrong.join("; "))) }
}

fn absent(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("beacon.absent", ABSENT, params)?;
    Ok(Box::new(Wanted::Gone(place(&args.name())?)))
}

impl Resource for Wanted {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        match self {
            Self::There(file) => file.compare("beacon", host, &mut plan)?,
            Self::Gone(path) => compare_absent("beacon", path, host, &mut plan)?,
        }
        Ok(plan)
    }
    fn apply(&self, _: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        match self {
            Self::There(file) => file.write(host)?,
            Self::Gone(path) => {
                let there = host.stat(path, Links::Keep).map_err(Error::host("look at", path.display()))?;
                if there.is_some() {
                    host.remove(path).map_err(Error::host("remove", path.display()))?;
                }
            }
        }
        Ok(Applied::default())
    }
}
