//! Where the trees lie, and how each folder of them is read: the keys `trees`, `states`, `pillar`, `reactors` and
//! `environments`.

use crate::{
    Options,
    config::ConfigReader,
    environment,
    salt::{Reaction, master},
    say::did_you_mean,
    tree::{Dialect, Renderer, Source},
    yaml::{Node, Yaml},
};
use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

/// Where the reactor map of a configuration stands in a tree.
const REACTOR_FILE: &str = "reactors/reactor of master.yaml";

/// What an entry that is a mapping may say.
const FIELDS: [&str; 3] = ["path", "renderer", "salt"];

/// A folder and how its files are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// Where it lies.
    pub path: PathBuf,
    /// How its files are read.
    pub dialect: Dialect,
}

impl Folder {
    /// Read as our own trees are.
    pub fn native(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), dialect: Dialect::default() }
    }
    /// Read as Salt's trees are.
    pub fn salt(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), dialect: Dialect { renderer: Renderer::Jinja, salt: true } }
    }
    fn below(&self, name: &str) -> Self {
        Self { path: self.path.join(name), dialect: self.dialect }
    }
}

/// Whether a file or folder of this name is no part of a tree: what version control and editors leave there. Other hidden
/// ones are part of it: `lab://files/.bashrc`.
pub fn is_left_out(name: &str) -> bool {
    const NAMES: [&str; 7] = [".git", ".svn", ".hg", ".bzr", ".jj", ".DS_Store", "__pycache__"];
    NAMES.contains(&name)
        || name.ends_with('~')
        || name.starts_with('#')
        || name.starts_with(".#")
        || name.starts_with('.') && [".swp", ".swx"].iter().any(|it| name.ends_with(it))
}

/// Where the trees lie. In each list, a file of an earlier folder hides the one of the same path in a later folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Folders that hold state files.
    pub states: Vec<Folder>,
    /// Folders that hold pillar files.
    pub pillar: Vec<Folder>,
    /// Folders that hold rules.
    pub reactors: Vec<Folder>,
    /// Other environments than `base`.
    pub environments: Vec<Environment>,
    /// How they are compiled.
    pub options: Options,
    /// Salt's reactor map: tags and reaction files.
    pub reactor: Vec<Reaction>,
}

/// A named set of trees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// As top.sls and `--env` call it.
    pub name: String,
    /// Folders that hold state files; those of `base` if the configuration names none.
    pub states: Vec<Folder>,
    /// Folders that hold pillar files; those of `base` if the configuration names none.
    pub pillar: Vec<Folder>,
}

impl Layout {
    /// The keys that say it.
    pub const KEYS: [&str; 10] = [
        "reactor",
        "trees",
        "states",
        "pillar",
        "reactors",
        "environments",
        "nodegroups",
        "pillar_source_merging_strategy",
        "pillar_merge_lists",
        "failhard",
    ];

    /// Folders that have `states/`, `pillar/` and `reactors/` in them.
    pub fn of_trees(trees: &[Folder]) -> Self {
        let below = |kind: &str| trees.iter().map(|it| it.below(kind)).collect();
        Self {
            states: below("states"),
            pillar: below("pillar"),
            reactors: below("reactors"),
            ..Self::default()
        }
    }
    /// With another tree in front of all others.
    #[must_use]
    pub fn with_first(mut self, tree: &Folder) -> Self {
        let Self { states, pillar, reactors, .. } = Self::of_trees(std::slice::from_ref(tree));
        for (own, first) in
            [(&mut self.states, states), (&mut self.pillar, pillar), (&mut self.reactors, reactors)]
        {
            own.splice(0..0, first);
        }
        self
    }
    /// What a configuration says; `path` reads a path, `defaults` are the trees where it names none.
    pub fn read(
        reader: &mut ConfigReader,
        path: impl Fn(&str) -> Result<PathBuf, String>,
        defaults: Vec<Folder>,
    ) -> Self {
        let trees = reader.folders("trees", &path).unwrap_or(defaults);
        let below = Self::of_trees(&trees);
        let states = reader.folders("states", &path).unwrap_or(below.states);
        let pillar = reader.folders("pillar", &path).unwrap_or(below.pillar);
        Self {
            reactors: reader.folders("reactors", &path).unwrap_or(below.reactors),
            environments: reader.environments(&states, &pillar, &path),
            options: Options::read(reader),
            reactor: reader.reactor(),
            states,
            pillar,
        }
    }
    /// What is at the top of a tree in memory, with its folders: `states`, `pillar@dev`, ...
    pub fn kinds(&self) -> Vec<(String, &[Folder])> {
        let mut kinds: Vec<(String, &[Folder])> = vec![
            ("states".to_owned(), &self.states),
            ("pillar".to_owned(), &self.pillar),
            ("reactors".to_owned(), &self.reactors),
        ];
        for of in &self.environments {
            kinds.push((environment::root("states", &of.name), &of.states));
            kinds.push((environment::root("pillar", &of.name), &of.pillar));
        }
        kinds
    }
    /// The reactor map as a file of the tree, if there is one.
    pub fn reactor_file(&self) -> Option<(String, Source)> {
        let quoted = |it: &str| format!("'{}'", it.replace('\'', "''"));
        let mut text = "reactor:\n".to_owned();
        for Reaction { tag, files } in &self.reactor {
            let files: Vec<String> = files.iter().map(|it| quoted(it)).collect();
            let _ = writeln!(text, "  - {}: [{}]", quoted(tag), files.join(", "));
        }
        let source = Source::of_text(&text, Dialect { renderer: Renderer::Plain, salt: true });
        (!self.reactor.is_empty()).then(|| (REACTOR_FILE.to_owned(), source))
    }
    /// All folders.
    pub fn folders(&self) -> impl Iterator<Item = &Path> {
        self.kinds().into_iter().flat_map(|(_, folders)| folders.iter().map(|it| it.path.as_path()))
    }
}

impl std::str::FromStr for Renderer {
    type Err = String;

    /// As a renderer line or a configuration has it.
    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('|').map(str::trim).collect();
        match parts[..] {
            ["handlebars"] | ["handlebars", "yaml"] => Ok(Self::Handlebars),
            ["jinja"] | ["jinja", "yaml"] => Ok(Self::Jinja),
            ["yaml"] => Ok(Self::Plain),
            _ => Err(format!("`{text}` is not a renderer: `handlebars|yaml`, `jinja|yaml` or `yaml`")),
        }
    }
}

impl ConfigReader {
    /// Folders: each entry is a path, or a mapping with `path`, `renderer` and `salt`. `None` if the key is absent.
    fn folders(&mut self, key: &str, path: &impl Fn(&str) -> Result<PathBuf, String>) -> Option<Vec<Folder>> {
        if self.is_overridden(key) {
            return Some(self.list(key, path)?.into_iter().map(Folder::native).collect());
        }
        let (file, nodes) = self.elements(key)?;
        Some(self.folders_in(file, key, nodes, path))
    }

    fn folders_in(
        &mut self,
        file: usize,
        key: &str,
        nodes: Vec<Node>,
        path: &impl Fn(&str) -> Result<PathBuf, String>,
    ) -> Vec<Folder> {
        let mut folders = Vec::with_capacity(nodes.len());
        for node in nodes {
            let found = match &node.value {
                Yaml::Map(pairs) => self.mapping(file, key, &node, pairs, path),
                Yaml::Scalar { text, .. } => self.checked(file, &node, path(text)).map(Folder::native),
                Yaml::List(_) => {
                    let help = format!(
                        "write `{key}: [/srv/labctl]`, or a list of `{{path: /srv/salt, salt: true}}`"
                    );
                    let message = format!("an element of `{key}` is a path or a mapping, not a list");
                    self.complain(file, node.at, &message, Some(help));
                    None
                }
            };
            folders.extend(found);
        }
        folders
    }

    /// `reactor: [{'salt/minion/*/start': [start.sls]}]`.
    fn reactor(&mut self) -> Vec<Reaction> {
        let (file, nodes) = self.elements("reactor").unwrap_or_default();
        let mut found = Vec::new();
        for node in nodes {
            let (reactions, wrong) = master::reactions(&node);
            for at in wrong {
                let help = Some("write `reactor: [{'salt/minion/*/start': [start.sls]}]`".to_owned());
                self.complain(file, at, "an entry of `reactor` maps a tag to a list of files", help);
            }
            found.extend(reactions.into_iter().map(|it| it.0));
        }
        found
    }

    /// `environments: {dev: {states: […], pillar: […]}}`.
    fn environments(
        &mut self,
        states: &[Folder],
        pillar: &[Folder],
        path: &impl Fn(&str) -> Result<PathBuf, String>,
    ) -> Vec<Environment> {
        let mut found = Vec::new();
        let (file, nodes) = self.elements("environments").unwrap_or_default();
        for node in nodes {
            let Yaml::Map(pairs) = node.value else {
                let help = Some("write `environments: {dev: {pillar: [/srv/dev/pillar]}}`".to_owned());
                self.complain(file, node.at, "`environments` is a mapping of names", help);
                continue;
            };
            for (name, node) in pairs {
                let good = |it: char| it.is_ascii_alphanumeric() || it == '-' || it == '_';
                if name.text.is_empty() || name.text == environment::BASE || !name.text.chars().all(good) {
                    let help = "1 or more of a-z, 0-9, `-` and `_`; `base` is what `states` and `pillar` say";
                    let message = format!("`{}` is no name of an environment", name.text);
                    self.complain(file, name.at, &message, Some(help.to_owned()));
                    continue;
                }
                let (states, pillar) = (states.to_vec(), pillar.to_vec());
                let mut of = Environment { name: name.text.clone(), states, pillar };
                self.environment(file, &mut of, node, path);
                found.push(of);
            }
        }
        found
    }

    fn environment(
        &mut self,
        file: usize,
        of: &mut Environment,
        node: Node,
        path: &impl Fn(&str) -> Result<PathBuf, String>,
    ) {
        let Yaml::Map(pairs) = node.value else {
            let help = Some("write `{states: [/srv/dev/states], pillar: [/srv/dev/pillar]}`".to_owned());
            self.complain(file, node.at, "an environment is a mapping of `states` and `pillar`", help);
            return;
        };
        for (key, node) in pairs {
            let nodes = match node.value {
                Yaml::List(nodes) => nodes,
                _ => vec![node],
            };
            match key.text.as_str() {
                "states" => of.states = self.folders_in(file, "states", nodes, path),
                "pillar" => of.pillar = self.folders_in(file, "pillar", nodes, path),
                other => {
                    let help = did_you_mean(other, ["states", "pillar"]);
                    self.complain(file, key.at, &format!("unknown key `{other}`"), help);
                }
            }
        }
    }

    fn mapping(
        &mut self,
        file: usize,
        key: &str,
        node: &Node,
        pairs: &[(crate::yaml::Key, Node)],
        path: &impl Fn(&str) -> Result<PathBuf, String>,
    ) -> Option<Folder> {
        for (field, _) in pairs.iter().filter(|it| !FIELDS.contains(&it.0.text.as_str())) {
            let help = did_you_mean(&field.text, FIELDS)
                .or_else(|| Some("a folder takes `path`, `renderer` and `salt`".to_owned()));
            self.complain(file, field.at, &format!("unknown key `{}`", field.text), help);
        }
        let get = |name: &str| pairs.iter().find(|it| it.0.text == name).map(|it| &it.1);
        let salt = match get("salt") {
            None => Some(false),
            Some(it) => match it.text() {
                Some("true" | "yes" | "on") => Some(true),
                Some("false" | "no" | "off") => Some(false),
                _ => {
                    let help = Some("`true` if the tree was written for Salt".to_owned());
                    self.complain(file, it.at, "`salt` is `true` or `false`", help);
                    None
                }
            },
        };
        let renderer = match get("renderer") {
            None if salt == Some(true) => Some(Renderer::Jinja),
            None => Some(Renderer::default()),
            Some(it) => {
                let read = it.text().unwrap_or_default().parse::<Renderer>();
                self.checked(file, it, read)
            }
        };
        let Some(place) = get("path") else {
            let help = Some(format!("write `{key}: [{{path: /srv/salt, salt: true}}]`"));
            self.complain(file, node.at, &format!("an entry of `{key}` has no `path`"), help);
            return None;
        };
        let path = self.checked(file, place, path(place.text().unwrap_or_default()));
        Some(Folder { path: path?, dialect: Dialect { renderer: renderer?, salt: salt? } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(texts: &[&str]) -> Result<Layout, Vec<String>> {
        let mut reader = ConfigReader::new("a.yaml", texts[0], &Layout::KEYS);
        texts[1..].iter().for_each(|it| reader.add("b.yaml", it));
        let path = |text: &str| {
            text.starts_with('/').then(|| PathBuf::from(text)).ok_or_else(|| format!("`{text}` is relative"))
        };
        let layout = Layout::read(&mut reader, path, vec![Folder::native("/srv/labctl")]);
        let told = reader.finish();
        let line = |it: &model::Diagnostic| {
            let at = &it.spans[0];
            format!("{}:{}:{} {}", at.file, at.line, at.column, it.message)
        };
        if told.is_empty() { Ok(layout) } else { Err(told.iter().map(line).collect()) }
    }

    #[test]
    fn folders_say_how_they_are_read() {
        let jinja = Dialect { renderer: Renderer::Jinja, salt: false };
        let text = "trees:\n  - /srv/labctl\n  - {path: /a, renderer: jinja}\n  - path: /b\n    salt: true\n";
        let layout = read(&[text]).unwrap();
        let wanted = [
            Folder::native("/srv/labctl/states"),
            Folder { path: "/a/states".into(), dialect: jinja },
            Folder::salt("/b/states"),
        ];
        assert_eq!(layout.states, wanted);
        let layout = read(&["states: {path: /s, renderer: yaml, salt: yes}\n"]).unwrap();
        assert_eq!(layout.states[0].dialect, Dialect { renderer: Renderer::Plain, salt: true });
        assert_eq!(layout.pillar, [Folder::native("/srv/labctl/pillar")]);
    }

    #[test]
    fn a_later_file_wins_key_by_key() {
        let layout = read(&["trees: [/a]\npillar: [/p]\n", "pillar: [/q]\n"]).unwrap();
        assert_eq!(layout.states, [Folder::native("/a/states")]);
        assert_eq!(layout.pillar, [Folder::native("/q")]);
    }

    #[test]
    fn hidden_files_belong_to_a_tree_and_what_editors_leave_does_not() {
        for name in [".bashrc", ".irssi", ".gitignore", "web.sls", "a#b", ".well-known"] {
            assert!(!is_left_out(name), "{name}");
        }
        for name in [".git", "web.sls~", "#web.sls#", ".web.sls.swp", ".#web.sls", "__pycache__"] {
            assert!(is_left_out(name), "{name}");
        }
    }

    #[test]
    fn environments_and_options_are_read() {
        let text = "trees: [/a]\nenvironments:\n  dev: {pillar: [/d]}\n  new: {states: [{path: /n, salt: true}]}\n\
                    nodegroups:\n  web: G@role:web\n  all: [N@web, or, 'db-*']\npillar_merge_lists: true\n\
                    pillar_source_merging_strategy: overwrite\nfailhard: yes\n";
        let layout = read(&[text]).unwrap();
        let kinds: Vec<String> = layout.kinds().into_iter().map(|it| it.0).collect();
        assert_eq!(kinds[3..], ["states@dev", "pillar@dev", "states@new", "pillar@new"]);
        assert_eq!(layout.environments[0].states, [Folder::native("/a/states")]);
        assert_eq!(layout.environments[0].pillar, [Folder::native("/d")]);
        assert_eq!(layout.environments[1].states, [Folder::salt("/n")]);
        assert_eq!(layout.options.nodegroups["all"], "N@web or db-*");
        assert!(layout.options.failhard && layout.options.pillar_merge_lists);
        assert_eq!(layout.options.pillar_strategy, crate::Strategy::Overwrite);
        let told =
            read(&["environments: {base: {}, dev: {pilar: [x]}, d: 1}\nnodegroups: [x]\nfailhard: maybe\n"]);
        assert_eq!(
            told.unwrap_err(),
            [
                "a.yaml:1:16 `base` is no name of an environment",
                "a.yaml:1:32 unknown key `pilar`",
                "a.yaml:1:48 an environment is a mapping of `states` and `pillar`",
                "a.yaml:2:14 `nodegroups` is a mapping of names to target expressions",
                "a.yaml:3:11 `maybe` is neither true nor false",
            ]
        );
    }

    #[test]
    fn mistakes_have_their_place_in_their_file() {
        let text = "trees:\n  - {path: a, renderer: mako, slat: true}\n  - {salt: maybe}\n  - [x]\n";
        assert_eq!(
            read(&[text, "states: [b]\n"]).unwrap_err(),
            [
                "a.yaml:2:12 `a` is relative",
                "a.yaml:2:25 `mako` is not a renderer: `handlebars|yaml`, `jinja|yaml` or `yaml`",
                "a.yaml:2:31 unknown key `slat`",
                "a.yaml:3:5 an entry of `trees` has no `path`",
                "a.yaml:3:12 `salt` is `true` or `false`",
                "a.yaml:4:5 an element of `trees` is a path or a mapping, not a list",
                "b.yaml:1:10 `b` is relative",
            ]
        );
    }
}
