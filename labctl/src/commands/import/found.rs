//! Where the parts of a Salt tree lie, and the configuration that uses them there.

use crate::{Outcome, config::read_small, failure::Failure, tree::Folders};
use lang::{
    Environment, Folder, Layout,
    salt::{Master, Reaction},
};
use model::Diagnostic;
use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

/// Configuration of a Salt master on this machine.
const SALT_CONFIG: &str = "/etc/salt/master";
/// Files of `master.d/` of a Salt master that are read.
const PARTS_MAX: usize = 100;

/// What the user named.
pub(super) struct Wish<'a> {
    pub(super) dir: Option<&'a Path>,
    pub(super) pillar: Option<&'a Path>,
    pub(super) reactor: Option<&'a Path>,
    pub(super) config: Option<&'a Path>,
}

/// What there is.
pub(super) struct Found {
    pub(super) layout: Layout,
    pub(super) master: Master,
    pub(super) findings: Vec<Diagnostic>,
}

impl Found {
    /// Looks where things usually are.
    pub(super) fn look(wish: &Wish<'_>) -> Outcome<Self> {
        let mut master = Master::default();
        if let Some(config) = config_of(wish) {
            read_config(&mut master, &config)?;
        }
        let states = match wish.dir {
            Some(dir) => vec![file_root(dir)?],
            None if !master.file_roots.is_empty() => existing(&master.file_roots),
            None => vec![file_root(Path::new("/srv"))?],
        };
        let first = states.first().cloned().ok_or_else(no_tree)?;
        let beside = |names: &[&str]| {
            let above = first.parent().map(Path::to_owned).into_iter();
            let places = above.chain(wish.dir.map(Path::to_owned));
            places
                .flat_map(|it| names.iter().map(move |name| it.join(name)))
                .find(|it| it.is_dir() && *it != first)
        };
        let pillar = match wish.pillar {
            Some(pillar) => vec![absolute(pillar)?],
            None if wish.dir.is_none() && !master.pillar_roots.is_empty() => existing(&master.pillar_roots),
            None => beside(&["pillar", "pillars"]).into_iter().collect(),
        };
        let reactors = match wish.reactor {
            Some(reactor) => vec![absolute(reactor)?],
            None => beside(&["reactor", "reactors"]).or_else(|| reactor_of(&master)).into_iter().collect(),
        };
        let all = |paths: Vec<PathBuf>| paths.into_iter().map(Folder::salt).collect();
        let environments = master.environments.iter().map(|(name, [states, pillar])| Environment {
            name: name.clone(),
            states: all(existing(states)),
            pillar: all(existing(pillar)),
        });
        let environments = environments.collect();
        let (states, pillar, reactors) = (all(states), all(pillar), all(reactors));
        let layout = Layout { states, pillar, reactors, environments, ..Layout::default() };
        let findings = std::mem::take(&mut master.findings);
        Ok(Self { layout, master, findings })
    }

    /// `states/web.sls` as a path of this machine.
    pub(super) fn real_path(&self, path: &str) -> String {
        for (kind, folders) in self.layout.kinds() {
            let Some(rest) = path.strip_prefix(&kind).and_then(|it| it.strip_prefix('/')) else { continue };
            let places = || folders.iter().map(|it| it.path.join(rest));
            let place = places().find(|it| it.exists()).or_else(|| places().next());
            return place.map_or_else(|| path.to_owned(), |it| it.display().to_string());
        }
        path.to_owned()
    }

    /// A part of the master's configuration: this tree before those that are there.
    pub(super) fn config(&self, config: &Path) -> String {
        let defaults = || Layout::of_trees(&["/srv/labctl", "/usr/share/labctl"].map(Folder::native));
        let there = Folders::configured(config).map_or_else(|_| defaults(), Folders::into_layout);
        let from: Vec<String> = self.layout.states.iter().map(|it| it.path.display().to_string()).collect();
        let mut text = format!(
            "# Written by `labctl import salt`: the Salt tree {} is used where it lies.\n\
             # Files of an earlier folder hide those of the same path in a later one.\n",
            from.join(", ")
        );
        for (kind, ours, others) in [
            ("states", &self.layout.states, &there.states),
            ("pillar", &self.layout.pillar, &there.pillar),
            ("reactors", &self.layout.reactors, &there.reactors),
        ] {
            let _ = writeln!(text, "{kind}:");
            let fresh = others.iter().filter(|it| !ours.iter().any(|own| own.path == it.path));
            for folder in ours.iter().chain(fresh) {
                let _ = writeln!(text, "  - {}", entry(folder));
            }
        }
        for (name, value) in &self.master.same {
            let _ = writeln!(text, "{name}: {value}");
        }
        text + &self.environments() + &self.groups() + &self.reactor()
    }

    fn environments(&self) -> String {
        let mut text = String::new();
        for (index, of) in self.layout.environments.iter().enumerate() {
            let head = if index == 0 { "environments:\n" } else { "" };
            let _ = writeln!(text, "{head}  {}:", of.name);
            for (kind, folders) in [("states", &of.states), ("pillar", &of.pillar)] {
                let folders: Vec<String> = folders.iter().map(entry).collect();
                if !folders.is_empty() {
                    let _ = writeln!(text, "    {kind}: [{}]", folders.join(", "));
                }
            }
        }
        text
    }

    fn groups(&self) -> String {
        let mut text = String::new();
        for (index, (name, target)) in self.master.nodegroups.iter().enumerate() {
            let head = if index == 0 { "nodegroups:\n" } else { "" };
            let _ = writeln!(text, "{head}  {}: {}", quoted(name), quoted(target));
        }
        text
    }

    fn reactor(&self) -> String {
        let mut text = String::new();
        for Reaction { tag, files } in &self.master.reactor {
            if text.is_empty() {
                text.push_str("reactor:\n");
            }
            let _ = writeln!(text, "  - {}:", quoted(tag));
            for file in files {
                let _ = writeln!(text, "      - {}", quoted(&self.in_reactors(file)));
            }
        }
        text
    }

    /// A path of a reaction file below its folder.
    fn in_reactors(&self, file: &str) -> String {
        let below =
            |it: &Folder| Path::new(file).strip_prefix(&it.path).ok().map(|it| it.display().to_string());
        let named = || Path::new(file).file_name().and_then(|it| it.to_str()).map(str::to_owned);
        if file.contains("://") {
            return file.to_owned();
        }
        let folders = &self.layout.reactors;
        folders.iter().find_map(below).or_else(named).unwrap_or_else(|| file.to_owned())
    }
}

fn entry(folder: &Folder) -> String {
    let path = quoted(&folder.path.display().to_string());
    match (folder.dialect.salt, folder.dialect.renderer) {
        (true, _) => format!("{{ path: {path}, salt: true }}"),
        (false, lang::Renderer::Handlebars) => path,
        (false, lang::Renderer::Jinja) => format!("{{ path: {path}, renderer: jinja }}"),
        (false, lang::Renderer::Plain) => format!("{{ path: {path}, renderer: yaml }}"),
    }
}

/// As YAML: plain where nothing in it means something there.
fn quoted(text: &str) -> String {
    let plain = |it: char| it.is_ascii_alphanumeric() || matches!(it, '/' | '.' | '_' | '-');
    if text.starts_with(['/', '.']) && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}

fn no_tree() -> Failure {
    Failure::not_found("there is no tree of Salt")
        .hint("name the folder of its top.sls: labctl import salt DIR")
}

fn absolute(path: &Path) -> Outcome<PathBuf> {
    path.canonicalize().map_err(|error| Failure::file("look at", path, &error))
}

fn existing(roots: &[PathBuf]) -> Vec<PathBuf> {
    roots.iter().filter_map(|it| it.canonicalize().ok()).filter(|it| it.is_dir()).collect()
}

/// The folder of the state files: DIR itself, or a folder in it that usually holds them.
fn file_root(dir: &Path) -> Outcome<PathBuf> {
    let inside = ["salt", "states", "srv/salt", "base", "salt/base", "saltstack/salt", "file_roots"];
    let with_top = |it: &PathBuf| it.join("top.sls").is_file();
    let dir = absolute(dir)?;
    let candidates = || std::iter::once(dir.clone()).chain(inside.iter().map(|it| dir.join(it)));
    candidates().find(with_top).or_else(|| candidates().find(|it| has_states(it))).ok_or_else(|| {
        Failure::not_found(format!("there is no state file in `{}`", dir.display()))
            .hint("DIR is the folder of top.sls, or one with salt/ and pillar/ in it")
    })
}

fn has_states(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    let mut paths = entries.filter_map(Result::ok).map(|it| it.path());
    paths.any(|it| it.extension().is_some_and(|it| it == "sls") || it.join("init.sls").is_file())
}

/// The folder that most absolute paths of reaction files share.
fn reactor_of(master: &Master) -> Option<PathBuf> {
    let files = master.reactor.iter().flat_map(|it| &it.files);
    files
        .map(Path::new)
        .filter(|it| it.is_absolute())
        .find_map(|it| it.parent())
        .filter(|it| it.is_dir())
        .map(Path::to_owned)
}

fn config_of(wish: &Wish<'_>) -> Option<PathBuf> {
    if let Some(config) = wish.config {
        return Some(config.to_owned());
    }
    let of_dir = |dir: &Path| {
        let places = [dir.join("etc/salt/master"), dir.join("master"), dir.join("../etc/salt/master")];
        places.into_iter().find(|it| it.is_file())
    };
    match wish.dir {
        Some(dir) => of_dir(dir).or_else(|| {
            Some(PathBuf::from(SALT_CONFIG)).filter(|it| it.is_file() && dir.starts_with("/srv"))
        }),
        None => Some(PathBuf::from(SALT_CONFIG)).filter(|it| it.is_file()),
    }
}

fn read_config(master: &mut Master, config: &Path) -> Outcome<()> {
    let mut parts: Vec<PathBuf> = std::fs::read_dir(config.with_file_name("master.d"))
        .map(|entries| entries.filter_map(|it| Some(it.ok()?.path())).collect())
        .unwrap_or_default();
    parts.retain(|it| it.extension().is_some_and(|it| it == "conf"));
    parts.sort();
    for part in std::iter::once(config.to_owned()).chain(parts.into_iter().take(PARTS_MAX)) {
        master.add(&part.display().to_string(), &read_small(&part)?);
    }
    Ok(())
}
