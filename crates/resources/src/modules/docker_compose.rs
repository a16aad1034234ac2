//! `docker_compose`: projects of Docker Compose.

mod services;

use super::docker::{image_name, object_name};
use crate::{
    Applied, Doc, Error, Examples, Function, Host, Module, Param, ParamType, ParamsError, Probe, Resource,
    args::{Args, invalid},
    host::{
        Command,
        query::docker::{ComposeProject, Question},
    },
    tool,
};
use model::{Change, Plan};
use serde_json::{Map, Value};
use std::path::PathBuf;

pub(crate) const MODULE: Module = Module {
    name: "docker_compose",
    doc: Doc::new("Projects of Docker Compose (the plugin `docker compose`, version 2)."),
    functions: &[
        Function {
            name: "running",
            doc: Doc::new(
                "All services of a Compose project run, with the configuration that its files describe and the images \
                  that their tags stand for on this machine. Compose's own hashes of configurations are compared; only \
                  services that differ are made anew. A service that has done its work and ended with 0 counts as \
                  running if it is not to be restarted. The files are put in place by other states, such as \
                  `file.managed`; the Docker daemon must run.",
            ),
            params: RUNNING,
            examples: Examples::new(&[
                "/srv/media:\n  docker_compose.running: []\n",
                "monitoring:\n  docker_compose.running:\n    - directory: /srv/monitoring\n    - files: \
                 [compose.yaml, compose.override.yaml]\n    - env_file: /srv/monitoring/.env\n    - remove_orphans: true\n    \
                 - watch:\n      - file: /srv/monitoring/prometheus.yml\n/srv/monitoring/prometheus.yml:\n  \
                 file.managed:\n    - contents: 'scrape_configs: []'\n",
            ]),
            parse: running,
        },
        Function {
            name: "absent",
            doc: Doc::new(
                "A Compose project has no containers; its networks go as well (`docker compose down`).",
            ),
            params: ABSENT,
            examples: Examples::new(&["old_stack:\n  docker_compose.absent:\n    - volumes: true\n"]),
            parse: absent,
        },
    ],
};

const NAME: Param = Param::name("The project's folder, or its name if `directory` is given.");
const PROJECT: Param =
    Param::of("project", ParamType::Text, "the name, or the folder's name", "The project's name.");
const ABSENT: &[Param] = &[
    NAME,
    PROJECT,
    Param::of(
        "volumes",
        ParamType::Bool,
        "false",
        "Removes its named volumes as well, with the data in them.",
    ),
    Param::of(
        "images",
        ParamType::Text,
        "none",
        "Removes images as well: `local` (those without a tag of their own) or `all`.",
    ),
    Param::of("timeout", ParamType::Integer, "10", "Seconds until a container that does not stop is killed."),
];
const RUNNING: &[Param] = &[
    NAME,
    Param::of(
        "directory",
        ParamType::Path,
        "the name",
        "The folder that paths in the files are relative to.",
    ),
    PROJECT,
    Param::of(
        "files",
        ParamType::TextList,
        "what Compose finds in the folder",
        "The files, in order; relative to the folder.",
    ),
    Param::of("env_file", ParamType::TextList, ".env in the folder", "Files with variables for the files."),
    Param::of("profiles", ParamType::TextList, "none", "Profiles that are switched on."),
    Param::of(
        "pull",
        ParamType::Text,
        "as the files say",
        "When images are pulled before services are made: `always`, `missing` or `never`. Nothing is pulled while all \
         is as it should be; a `docker_image.present` with `force: true` before this step brings a moving tag up to date.",
    ),
    Param::of("build", ParamType::Bool, "false", "Builds images before services are made."),
    Param::of(
        "remove_orphans",
        ParamType::Bool,
        "false",
        "Removes containers of services that the files no longer have.",
    ),
    Param::of("wait", ParamType::Bool, "false", "Waits until all services run and are healthy."),
    Param::of("timeout", ParamType::Integer, "10", "Seconds until a container that does not stop is killed."),
    Param::of(
        "watch_action",
        ParamType::Text,
        "restart",
        "When something that it watches has changed: `restart` restarts its containers, `recreate` makes them anew.",
    ),
];

/// Longest that containers may take to stop.
const TIMEOUT_S_MAX: i64 = 1500;

/// As Compose makes a project's name of a folder's.
fn project_name(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let good = lower.chars().filter(|it| it.is_ascii_alphanumeric() || matches!(it, '-' | '_'));
    good.collect::<String>().trim_start_matches(['-', '_']).to_owned()
}

fn project(args: &Args<'_>) -> Result<ComposeProject, ParamsError> {
    let name = args.name();
    let folder = name.starts_with('/').then(|| crate::args::plain_path(&name));
    let last = folder.as_ref().and_then(|it| it.file_name()).map(|it| it.to_string_lossy().into_owned());
    let project =
        args.text("project").unwrap_or_else(|| last.map_or_else(|| name.clone(), |it| project_name(&it)));
    object_name("project", &project)?;
    if project != project_name(&project) {
        let text = format!("`{project}` is no name of a project: lower case letters, digits, `-` and `_`");
        return Err(invalid("project", text));
    }
    Ok(ComposeProject { name: project, directory: folder, ..ComposeProject::default() })
}

fn timeout(args: &Args<'_>) -> Result<Option<i64>, ParamsError> {
    let seconds = args.number("timeout");
    if seconds.is_some_and(|it| !(0..=TIMEOUT_S_MAX).contains(&it)) {
        return Err(invalid("timeout", format!("`timeout` must be 0 to {TIMEOUT_S_MAX} seconds")));
    }
    Ok(seconds)
}

fn choice(args: &Args<'_>, param: &str, all: &[&str]) -> Result<Option<String>, ParamsError> {
    let text = args.text(param);
    if text.as_ref().is_some_and(|it| !all.contains(&it.as_str())) {
        return Err(invalid(param, format!("`{param}` must be one of {}", all.join(", "))));
    }
    Ok(text)
}

#[derive(Debug)]
struct Running {
    project: ComposeProject,
    /// Options of `up`.
    up: Vec<String>,
    remove_orphans: bool,
    recreate: bool,
}

fn running(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("docker_compose.running", RUNNING, params)?;
    let mut project = project(&args)?;
    project.directory = args.path("directory").or(project.directory);
    let Some(folder) = project.directory.clone() else {
        let text = "`directory` is missing: `docker_compose.running` needs the project's folder, as `name` or `directory`";
        return Err(invalid("directory", text));
    };
    let files = |param: &str| -> Result<Vec<String>, ParamsError> {
        let all = args.list(param).unwrap_or_default();
        if all.iter().any(|it| it.is_empty() || it.contains(['\0', '\n'])) {
            return Err(invalid(param, format!("`{param}` must be names of files")));
        }
        Ok(all.into_iter().map(|it| folder.join(it).display().to_string()).collect())
    };
    project.files = files("files")?;
    project.env_files = files("env_file")?;
    project.profiles = args.list("profiles").unwrap_or_default();
    project.profiles.iter().try_for_each(|it| image_name("profiles", it))?;
    let mut up: Vec<String> = ["up", "--detach", "--quiet-pull"].map(str::to_owned).into();
    up.extend(choice(&args, "pull", &["always", "missing", "never"])?.map(|it| format!("--pull={it}")));
    for (param, option) in [("build", "--build"), ("remove_orphans", "--remove-orphans"), ("wait", "--wait")]
    {
        up.extend(args.bool(param, false).then(|| option.to_owned()));
    }
    up.extend(timeout(&args)?.map(|it| format!("--timeout={it}")));
    let action = choice(&args, "watch_action", &["restart", "recreate"])?;
    Ok(Box::new(Running {
        project,
        up,
        remove_orphans: args.bool("remove_orphans", false),
        recreate: action.as_deref() == Some("recreate"),
    }))
}

/// Runs `docker compose` for a project.
fn compose(project: &ComposeProject, words: &[&str], host: &mut dyn Host) -> Result<(), Error> {
    let what = format!("docker compose {} of {}", words.first().unwrap_or(&""), project.name);
    let command = Command { timeout_ms: tool::LONG_MS, ..project.command(words) };
    tool::run(host, command, &what).map(drop)
}

impl Running {
    fn up(&self, more: &[&str], host: &mut dyn Host) -> Result<(), Error> {
        let words: Vec<&str> = self.up.iter().map(String::as_str).chain(more.iter().copied()).collect();
        compose(&self.project, &words, host)
    }
}

impl Resource for Running {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        services::compare(&self.project, self.remove_orphans, host)
    }

    fn apply(&self, _plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        self.up(&[], host)?;
        Ok(Applied::default())
    }

    fn refresh(&self, host: &mut dyn Host) -> Result<Option<Applied>, Error> {
        if self.recreate {
            self.up(&["--force-recreate"], host)?;
            return Ok(Some(Applied::saying("made anew")));
        }
        compose(&self.project, &["restart"], host)?;
        Ok(Some(Applied::saying("restarted")))
    }

    fn refreshes(&self) -> Option<&'static str> {
        Some(if self.recreate { "make anew" } else { "restart" })
    }
}

#[derive(Debug)]
struct Absent {
    project: ComposeProject,
    /// Options of `down`.
    down: Vec<String>,
}

fn absent(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("docker_compose.absent", ABSENT, params)?;
    // Its files may be gone: Docker knows by the project's name what belongs to it.
    let project = ComposeProject { directory: None, ..project(&args)? };
    let mut down: Vec<String> = ["down", "--remove-orphans"].map(str::to_owned).into();
    down.extend(args.bool("volumes", false).then(|| "--volumes".to_owned()));
    down.extend(choice(&args, "images", &["local", "all"])?.map(|it| format!("--rmi={it}")));
    down.extend(timeout(&args)?.map(|it| format!("--timeout={it}")));
    Ok(Box::new(Absent { project, down }))
}

impl Resource for Absent {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        for it in services::containers(&self.project.name, host)? {
            plan.push(Change { what: it.name, from: Some(it.state), to: None, diff: None });
        }
        Ok(plan)
    }
    fn apply(&self, _plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let words: Vec<&str> = self.down.iter().map(String::as_str).collect();
        // Compose looks for files in its folder, and above it: there are none in this one.
        let project = ComposeProject { directory: Some(PathBuf::from("/proc")), ..self.project.clone() };
        compose(&project, &words, host)?;
        Ok(Applied::default())
    }
}

impl Question {
    /// The same project with all profiles: services that are switched off are no orphans.
    fn all_services(project: &ComposeProject) -> Self {
        Self::ComposeHashes(ComposeProject { profiles: vec!["*".to_owned()], ..project.clone() })
    }
}
