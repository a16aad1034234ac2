//! `undo.job`: puts back what a job altered: files, units, packet filters. Made by the master for `labctl job undo`, and
//! by the minion for a job with a way back; states cannot use it.

mod system;

use crate::{
    Applied, Doc, Error, Examples, Function, Host, Module, Param, ParamType, ParamsError, Probe, Resource,
    args::{Args, invalid},
    host::{Attributes, Contents, Links},
    keep::{self, Kept, State},
};
use model::{Change, JobId, Plan};
use serde_json::{Map, Value};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

pub(crate) const MODULE: Module = Module {
    name: "undo",
    doc: Doc::new("What jobs did, put back."),
    functions: &[Function {
        name: "job",
        doc: Doc::new(
            "Every file, link and folder, every unit and the rules of packet filters are as they were before a job \
              altered them.",
        ),
        params: PARAMS,
        examples: Examples::new(&["01JD4Z3K8Q0V7YJ6R2T4M9XH5B:\n  undo.job: []\n"]),
        parse,
    }],
};

const PARAMS: &[Param] = &[
    Param::of("name", ParamType::Text, "", "The job."),
    Param::of(
        "force",
        ParamType::Bool,
        "false",
        "Whether what was altered since the job is put back as well.",
    ),
    Param::of(
        "way_back",
        ParamType::Bool,
        "false",
        "Whether as much as can be is put back, whatever of it fails.",
    ),
];

/// Paths that a message names.
const NAMED_MAX: usize = 10;
/// Folders within folders that are looked into.
const DEPTH_MAX: usize = 100;

#[derive(Debug)]
struct Undo {
    job: JobId,
    force: bool,
    way_back: bool,
}

fn parse(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("undo.job", PARAMS, params)?;
    let job = args.name().parse().map_err(|error: model::InvalidId| invalid("name", error.to_string()))?;
    let (force, way_back) = (args.bool("force", false), args.bool("way_back", false));
    Ok(Box::new(Undo { job, force, way_back }))
}

/// What is to be put back at a path.
#[derive(Debug)]
struct Item {
    path: PathBuf,
    wanted: State,
    now: State,
}

/// What can be put back, in the order in which the job altered it, and what cannot.
#[derive(Debug, Default)]
struct Work {
    items: Vec<Item>,
    left: Vec<PathBuf>,
    altered: Vec<PathBuf>,
    system: system::Work,
}

impl Work {
    fn is_empty(&self) -> bool {
        self.items.is_empty() && self.system.is_empty()
    }
}

/// What could not be put back, where the rest is put back all the same.
#[derive(Debug, Default)]
struct Tries {
    go_on: bool,
    failed: Vec<String>,
}

impl Tries {
    fn note(&mut self, tried: Result<(), Error>) -> Result<(), Error> {
        match tried {
            Err(error) if self.go_on => {
                let cause = std::error::Error::source(&error).map(|it| format!(": {it}")).unwrap_or_default();
                self.failed.push(format!("{error}{cause}"));
                Ok(())
            }
            tried => tried,
        }
    }
}

fn named(paths: &[PathBuf]) -> String {
    let mut text: Vec<String> = paths.iter().take(NAMED_MAX).map(|it| it.display().to_string()).collect();
    if paths.len() > NAMED_MAX {
        text.push(format!("and {} more", paths.len() - NAMED_MAX));
    }
    text.join(", ")
}

impl Undo {
    fn lines(&self, host: &dyn Probe) -> Result<Vec<Kept>, Error> {
        let found = host.kept(self.job).map_err(Error::host("read what was kept of job", self.job))?;
        if self.way_back {
            return Ok(found.unwrap_or_default());
        }
        found.ok_or_else(|| {
            let text =
                "this machine keeps nothing of that job: it altered nothing here that is kept, or it is too long ago";
            Error::Refused(text.to_owned())
        })
    }

    fn work(&self, host: &dyn Probe) -> Result<Work, Error> {
        let (ends, lines): (Vec<Kept>, Vec<Kept>) = self.lines(host)?.into_iter().partition(|it| it.after);
        let ends: BTreeMap<PathBuf, State> = ends.into_iter().map(|it| (it.path, it.state)).collect();
        let ours: BTreeSet<PathBuf> = lines.iter().map(|it| it.path.clone()).collect();
        let mut work = Work::default();
        for Kept { path, state: wanted, .. } in lines {
            if !path.is_absolute() {
                let altered = work.system.add(host, &path, wanted, ends.get(&path))?;
                match altered {
                    system::Since::Altered if !self.force => work.altered.push(path),
                    system::Since::Unknown => work.left.push(path),
                    _ => {}
                }
                continue;
            }
            let now = keep::state(host, &path, false).map_err(Error::host("look at", path.display()))?.0;
            if now == wanted {
                continue;
            }
            // What is in a folder that goes and that the job did not put there stays, and the folder with it.
            let goes = matches!(now, State::Folder { .. }) && !matches!(wanted, State::Folder { .. });
            let is_in_use = goes && is_in_use(host, &path, &now, &ours)?;
            // A run that was broken off says nothing of how it left a path: that counts as altered.
            let is_altered = ends.get(&path) != Some(&now);
            match wanted {
                State::Other => work.left.push(path),
                _ if is_in_use || is_altered && !self.force => work.altered.push(path),
                _ => work.items.push(Item { path, wanted, now }),
            }
        }
        Ok(work)
    }

    fn files(&self, host: &mut dyn Host, work: &Work, tries: &mut Tries) -> Result<(), Error> {
        let (gone, mut back): (Vec<&Item>, Vec<&Item>) =
            work.items.iter().partition(|it| it.wanted == State::Absent);
        // What the job made last goes first, so that folders are empty when they go.
        for item in gone.into_iter().rev() {
            tries.note(host.remove(&item.path).map_err(Error::host("remove", item.path.display())))?;
        }
        // Folders come before what is in them.
        back.sort_by_key(|it| it.path.components().count());
        for item in back {
            tries.note(self.put_back(host, item))?;
        }
        Ok(())
    }

    fn put_back(&self, host: &mut dyn Host, item: &Item) -> Result<(), Error> {
        let path = &item.path;
        let failed = |action| Error::host(action, path.display());
        let same_kind = std::mem::discriminant(&item.now) == std::mem::discriminant(&item.wanted);
        if !same_kind && item.now != State::Absent && !matches!(item.wanted, State::Link { .. }) {
            host.remove(path).map_err(failed("remove"))?;
        }
        let how = |mode: &u32, uid: &u32, gid: &u32| Attributes {
            mode: Some(*mode),
            uid: Some(*uid),
            gid: Some(*gid),
        };
        match &item.wanted {
            State::Absent | State::Other | State::Unit(_) | State::Again { .. } | State::Rules { .. } => {
                Ok(())
            }
            State::Link { target } => {
                if matches!(item.now, State::Folder { .. }) {
                    host.remove(path).map_err(failed("remove"))?;
                }
                host.make_symlink(path, target).map_err(failed("make link"))
            }
            State::Folder { mode, uid, gid } if same_kind => {
                host.set(path, how(mode, uid, gid), Links::Keep).map_err(failed("set"))
            }
            State::Folder { mode, uid, gid } => {
                host.make_directory(path, how(mode, uid, gid)).map_err(failed("make folder"))
            }
            State::File { mode, uid, gid, hash } => {
                let bytes = host
                    .kept_contents(self.job, *hash)
                    .map_err(Error::host("read what was kept of", path.display()))?;
                host.write(path, Contents::Bytes(&bytes), how(mode, uid, gid), Links::Keep)
                    .map_err(failed("write"))
            }
        }
    }
}

/// Whether a folder that is to go holds something that the job did not make.
fn is_in_use(host: &dyn Probe, path: &Path, now: &State, ours: &BTreeSet<PathBuf>) -> Result<bool, Error> {
    if !matches!(now, State::Folder { .. }) {
        return Ok(false);
    }
    for name in host.list(path).map_err(Error::host("list", path.display()))? {
        let path = path.join(name);
        let is_ours = ours.contains(&path) && path.components().count() < DEPTH_MAX;
        let now = keep::state(host, &path, false).map_err(Error::host("look at", path.display()))?.0;
        if !is_ours || is_in_use(host, &path, &now, ours)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Contents are not shown: what is a secret in them is not known here.
fn word(state: &State, other: &State) -> String {
    let alike = std::mem::discriminant(state) == std::mem::discriminant(other);
    match (state, other) {
        (State::File { hash, .. }, State::File { hash: other, .. }) if hash != other => {
            format!("sha256 {}", &hash.to_string()[..12])
        }
        (State::File { mode, uid, gid, .. } | State::Folder { mode, uid, gid }, _) if alike => {
            format!("mode {mode:04o}, owner {uid}:{gid}")
        }
        (State::Link { target }, _) => format!("a link to {}", target.display()),
        _ => state.describe().to_owned(),
    }
}

impl Resource for Undo {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let work = self.work(host)?;
        if !work.altered.is_empty() && !self.force {
            let text = format!(
                "altered since the job: {}; nothing is put back. With --force these are put back as well (a folder \
                 that holds other files stays)",
                named(&work.altered)
            );
            return Err(Error::Refused(text));
        }
        let mut plan = Plan::default();
        for item in &work.items {
            plan.push(Change {
                what: item.path.display().to_string(),
                from: Some(word(&item.now, &item.wanted)),
                to: Some(word(&item.wanted, &item.now)),
                diff: None,
            });
        }
        work.system.plan(&mut plan);
        Ok(plan)
    }

    fn converges(&self) -> bool {
        !self.way_back
    }

    fn apply(&self, _: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let work = self.work(host)?;
        let mut tries = Tries { go_on: self.way_back, failed: Vec::new() };
        if work.is_empty() {
            return Ok(Applied::default());
        }
        // What the job started does not run while its files go.
        work.system.quiet(host, &mut tries)?;
        self.files(host, &work, &mut tries)?;
        system::reload_units(host, &work.items, &mut tries)?;
        let again = work.system.start(host, &work.items, &mut tries)?;
        // Last: units of the packet filter load and flush rules when they start and stop.
        work.system.rules(host, self.job, &mut tries)?;
        let left: Vec<PathBuf> = work.left.into_iter().chain(work.altered).collect();
        let mut said = Vec::new();
        if !again.is_empty() {
            said.push(format!("restarted or reloaded: {}", again.join(", ")));
        }
        if !left.is_empty() {
            said.push(format!("not put back: {}", named(&left)));
        }
        said.extend(tries.failed.into_iter().map(|it| format!("not put back: {it}")));
        Ok(Applied::saying(said.join("; ")))
    }
}
