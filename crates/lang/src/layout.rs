//! Where the trees lie, and how each folder of them is read: the keys `trees`, `states`, `pillar` and `reactors`.

use crate::{
    config::ConfigReader,
    say::did_you_mean,
    tree::{Dialect, Renderer},
    yaml::{Node, Yaml},
};
use std::path::{Path, PathBuf};

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

/// Where the trees lie. In each list, a file of an earlier folder hides the one of the same path in a later folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Folders that hold state files.
    pub states: Vec<Folder>,
    /// Folders that hold pillar files.
    pub pillar: Vec<Folder>,
    /// Folders that hold rules.
    pub reactors: Vec<Folder>,
}

impl Layout {
    /// The keys that say it.
    pub const KEYS: [&str; 4] = ["trees", "states", "pillar", "reactors"];

    /// Folders that have `states/`, `pillar/` and `reactors/` in them.
    pub fn of_trees(trees: &[Folder]) -> Self {
        let below = |kind: &str| trees.iter().map(|it| it.below(kind)).collect();
        Self { states: below("states"), pillar: below("pillar"), reactors: below("reactors") }
    }
    /// What a configuration says; `path` reads a path, `defaults` are the trees where it names none.
    pub fn read(
        reader: &mut ConfigReader,
        path: impl Fn(&str) -> Result<PathBuf, String>,
        defaults: Vec<Folder>,
    ) -> Self {
        let trees = reader.folders("trees", &path).unwrap_or(defaults);
        let below = Self::of_trees(&trees);
        Self {
            states: reader.folders("states", &path).unwrap_or(below.states),
            pillar: reader.folders("pillar", &path).unwrap_or(below.pillar),
            reactors: reader.folders("reactors", &path).unwrap_or(below.reactors),
        }
    }
    /// The three kinds with their folders.
    pub fn kinds(&self) -> [(&'static str, &[Folder]); 3] {
        [("states", &self.states), ("pillar", &self.pillar), ("reactors", &self.reactors)]
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
        Some(folders)
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
