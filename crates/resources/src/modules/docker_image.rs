//! `docker_image`: images of Docker.

use super::docker::{docker, image_name, inspect, text, with_tag};
use crate::{
    Applied, Doc, Error, Examples, Function, Host, Module, Param, ParamType, ParamsError, Probe, Resource,
    args::{Args, invalid},
    host::query::docker::Question,
};
use model::{Change, Plan};
use serde_json::{Map, Value};

pub(crate) const MODULE: Module = Module {
    name: "docker_image",
    doc: Doc::new("Images of Docker."),
    functions: &[
        Function {
            name: "present",
            doc: Doc::new(
                "An image is here. A missing one is pulled, or built, or loaded from a file. Docker's own \
                  credentials of root are used for registries that want some.",
            ),
            params: PRESENT,
            examples: Examples::new(&[
                "nginx:1.27:\n  docker_image.present: []\n",
                "myapp:\n  docker_image.present:\n    - tag: '3'\n    - build: /srv/myapp\n    - dockerfile: Dockerfile\n",
            ]),
            parse: present,
        },
        Function {
            name: "absent",
            doc: Doc::new("Images are not here. Docker refuses to remove one that a container uses."),
            params: ABSENT,
            examples: Examples::new(&["nginx:1.25:\n  docker_image.absent: []\n"]),
            parse: absent,
        },
    ],
};

const ABSENT: &[Param] = &[
    Param::name("The image, with tag or digest."),
    Param::of("images", ParamType::TextList, "the name", "Several images."),
    Param::of(
        "force",
        ParamType::Bool,
        "false",
        "Removes an image that has more tags or a stopped container.",
    ),
];
const PRESENT: &[Param] = &[
    ABSENT[0],
    Param::of("tag", ParamType::Text, "latest", "The tag, if the name has none."),
    Param::of("build", ParamType::Path, "none", "Builds it from this folder instead of pulling it."),
    Param::of("dockerfile", ParamType::Text, "Dockerfile", "The file in that folder."),
    Param::of("load", ParamType::Path, "none", "Loads it from this file, which `docker save` made."),
    Param::of(
        "force",
        ParamType::Bool,
        "false",
        "Pulls, builds or loads it also if it is here: a moving tag is brought up to date.",
    ),
];

#[derive(Debug)]
struct Present {
    image: String,
    build: Option<String>,
    dockerfile: Option<String>,
    load: Option<String>,
    force: bool,
}

fn present(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("docker_image.present", PRESENT, params)?;
    let name = args.name();
    image_name("name", &name)?;
    let image = match args.text("tag") {
        Some(tag) if tag.starts_with("sha256:") => format!("{name}@{tag}"),
        Some(tag) if with_tag(&name) == name => {
            return Err(invalid("tag", format!("`{name}` has a tag already; `tag: {tag}` is one too many")));
        }
        Some(tag) => format!("{name}:{tag}"),
        None => with_tag(&name),
    };
    image_name("tag", &image)?;
    let path = |param: &str| args.path(param).map(|it| it.display().to_string());
    let (build, load) = (path("build"), path("load"));
    if build.is_some() && load.is_some() {
        return Err(invalid("load", "`build` and `load` exclude each other"));
    }
    let dockerfile = args.text("dockerfile");
    if dockerfile.as_ref().is_some_and(|it| it.is_empty() || it.contains(['\0', '\n'])) {
        return Err(invalid("dockerfile", "`dockerfile` must be the name of a file"));
    }
    Ok(Box::new(Present { image, build, dockerfile, load, force: args.bool("force", false) }))
}

impl Present {
    fn id(&self, host: &dyn Probe) -> Result<Option<String>, Error> {
        let now = inspect(host, Question::Image(self.image.clone()))?;
        Ok(now.map(|it| text(&it, "/Id").to_owned()))
    }
}

impl Resource for Present {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let id = self.id(host)?;
        if id.is_none() || self.force {
            let to = match (&self.build, &self.load) {
                (Some(_), _) => "built",
                (_, Some(_)) => "loaded",
                _ => "pulled",
            };
            plan.push(Change { what: self.image.clone(), from: id, to: Some(to.to_owned()), diff: None });
        }
        Ok(plan)
    }

    fn apply(&self, _plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let before = self.id(host)?;
        match (&self.build, &self.load) {
            (Some(folder), _) => {
                let mut words = vec!["build".to_owned(), format!("--tag={}", self.image)];
                words.extend(self.dockerfile.as_ref().map(|it| format!("--file={folder}/{it}")));
                words.extend(["--".to_owned(), folder.clone()]);
                docker(host, &words)?;
            }
            (_, Some(file)) => drop(docker(host, &["load", "--quiet", "--input", file])?),
            _ => drop(docker(host, &["pull", "--quiet", "--", &self.image])?),
        }
        let after = self.id(host)?;
        if after.is_none() {
            return Err(Error::Refused(format!("there is still no image `{}`", self.image)));
        }
        let unchanged = before == after;
        let comment = if unchanged { "it is up to date" } else { "" };
        Ok(Applied { unchanged, ..Applied::saying(comment) })
    }

    fn converges(&self) -> bool {
        !self.force
    }
}

#[derive(Debug)]
struct Absent {
    images: Vec<String>,
    force: bool,
}

fn absent(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("docker_image.absent", ABSENT, params)?;
    let images = args.list("images").unwrap_or_else(|| vec![args.name()]);
    images.iter().try_for_each(|it| image_name("images", it))?;
    Ok(Box::new(Absent { images, force: args.bool("force", false) }))
}

impl Resource for Absent {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        for image in &self.images {
            if let Some(now) = inspect(host, Question::Image(image.clone()))? {
                let from = Some(text(&now, "/Id").to_owned());
                plan.push(Change { what: image.clone(), from, to: None, diff: None });
            }
        }
        Ok(plan)
    }
    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        for image in self.images.iter().filter(|it| plan.touches(it)) {
            let force = if self.force { "--force=true" } else { "--force=false" };
            docker(host, &["image", "rm", force, "--", image])?;
        }
        Ok(Applied::default())
    }
}
