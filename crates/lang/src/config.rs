//! Configuration files in the one YAML dialect: read key by key, every mistake with its place, all at once.

use crate::{
    say::{At, Complaints, Rendered, Say, Text, did_you_mean, error},
    yaml::{self, Node, Yaml},
};
use model::{Diagnostic, Span};
use std::{collections::BTreeMap, sync::Arc};

/// Files whose keys are being read. Keys inside a mapping are written with a dot: `keep.age`.
#[derive(Debug)]
pub struct ConfigReader {
    files: Vec<Rendered>,
    /// The file a key stands in, and its value.
    nodes: BTreeMap<String, (usize, Node)>,
    overrides: BTreeMap<String, (String, String)>,
    known: Vec<String>,
    /// Whether other keys are for somebody else to read.
    partial: bool,
    complaints: Complaints,
}

impl ConfigReader {
    /// Parses `text`; keys that are not `known` are errors with a suggestion.
    pub fn new(file: &str, text: &str, known: &[&str]) -> Self {
        let known = known.iter().map(|it| (*it).to_owned()).collect();
        let (nodes, overrides) = (BTreeMap::new(), BTreeMap::new());
        let (files, complaints) = (Vec::new(), Complaints::default());
        let mut reader = Self { files, nodes, overrides, known, partial: false, complaints };
        reader.add(file, text);
        reader
    }
    /// Reads only these keys of files that hold others, too.
    pub fn of_keys(known: &[&str]) -> Self {
        Self { partial: true, ..Self::new("", "", known) }
    }
    /// Another file after those before: a key in it wins over the same key there.
    pub fn add(&mut self, file: &str, text: &str) {
        let rendered = Rendered::plain(Arc::new(Text::new(file.to_owned(), text.to_owned())));
        let root = yaml::parse(&rendered, &mut self.complaints);
        self.files.push(rendered);
        let file = self.files.len() - 1;
        match root {
            Some(Node { value: Yaml::Map(pairs), .. }) => self.collect(file, pairs, ""),
            Some(node) if !node.is_null() => {
                self.complain(file, node.at, "this file must be a mapping", None);
            }
            _ => {}
        }
    }
    /// Variables that override keys: `prefix` and the key in capitals, `__` for the dot, `,` between list elements.
    pub fn override_by(&mut self, prefix: &str, variables: impl IntoIterator<Item = (String, String)>) {
        for (name, value) in variables {
            let Some(rest) = name.strip_prefix(prefix) else { continue };
            let key = rest.to_lowercase().replace("__", ".");
            if self.known.contains(&key) {
                self.overrides.insert(key, (name, value));
            } else {
                let help = did_you_mean(&key, self.known.iter().map(String::as_str));
                let message = format!("the variable {name} overrides no key");
                self.complaints.push(error("E0701", message).at(span_of(&name, &value)).maybe_help(help));
            }
        }
    }
    /// The value of a key that takes one value; `None` if it is absent or wrong.
    pub fn one<T>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        if let Some((name, value)) = self.overrides.get(key).cloned() {
            return self.taken(parse(&value), span_of(&name, &value));
        }
        let (file, node) = self.nodes.get(key).filter(|it| !it.1.is_null()).cloned()?;
        if let Some(text) = node.text() {
            return self.checked(file, &node, parse(text));
        }
        self.complain(file, node.at, &format!("`{key}` takes one value, not {}", node.kind()), None);
        None
    }
    /// The values of a key that takes a list, or one value; `None` if it is absent. Wrong elements are left out.
    pub fn list<T>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<Vec<T>> {
        if let Some((name, value)) = self.overrides.get(key).cloned() {
            let parts = value.split(',').map(str::trim).filter(|it| !it.is_empty());
            let parsed = parts.filter_map(|it| self.taken(parse(it), span_of(&name, &value)));
            return Some(parsed.collect());
        }
        let (file, nodes) = self.elements(key)?;
        let mut found = Vec::with_capacity(nodes.len());
        for node in nodes {
            if let Some(text) = node.text() {
                found.extend(self.checked(file, &node, parse(text)));
            } else {
                let message = format!("an element of `{key}` must be text, not {}", node.kind());
                self.complain(file, node.at, &message, None);
            }
        }
        Some(found)
    }
    /// All complaints, in order of place.
    pub fn finish(self) -> Vec<Diagnostic> {
        self.complaints.finish()
    }
    /// Whether a variable says it.
    pub(crate) fn is_overridden(&self, key: &str) -> bool {
        self.overrides.contains_key(key)
    }
    /// The elements of a list, or the one value as a list of one, and the file they stand in.
    pub(crate) fn elements(&self, key: &str) -> Option<(usize, Vec<Node>)> {
        let (file, node) = self.nodes.get(key).filter(|it| !it.1.is_null()).cloned()?;
        match node.value {
            Yaml::List(nodes) => Some((file, nodes)),
            _ => Some((file, vec![node])),
        }
    }
    /// What a node was read as; what is wrong with it is told at its place.
    pub(crate) fn checked<T>(&mut self, file: usize, node: &Node, parsed: Result<T, String>) -> Option<T> {
        let span = self.files[file].span(node.at, "");
        self.taken(parsed, span)
    }
    fn taken<T>(&mut self, parsed: Result<T, String>, span: Span) -> Option<T> {
        parsed.map_err(|message| self.complaints.push(error("E0702", message).at(span))).ok()
    }
    fn collect(&mut self, file: usize, pairs: Vec<(yaml::Key, Node)>, above: &str) {
        for (key, node) in pairs {
            let path = format!("{above}{}", key.text);
            let below = format!("{path}.");
            if self.known.contains(&path) {
                self.nodes.insert(path, (file, node));
            } else if self.known.iter().any(|it| it.starts_with(&below)) {
                match node.value {
                    Yaml::Map(pairs) => self.collect(file, pairs, &below),
                    _ if node.is_null() => {}
                    _ => {
                        let message = format!("`{path}` takes a mapping, not {}", node.kind());
                        self.complain(file, node.at, &message, None);
                    }
                }
            } else if !self.partial {
                let names: Vec<&str> = self.known.iter().filter_map(|it| next_word(it, above)).collect();
                let help = did_you_mean(&key.text, names.iter().copied())
                    .or_else(|| Some(format!("keys here are {}", listed(&names))));
                self.complain(file, key.at, &format!("unknown key `{}`", key.text), help);
            }
        }
    }
    /// Complains about a place.
    pub(crate) fn complain(&mut self, file: usize, at: At, message: &str, help: Option<String>) {
        let span = self.files[file].span(at, "");
        self.complaints.push(error("E0701", message).at(span).maybe_help(help));
    }
}

fn next_word<'a>(known: &'a str, above: &str) -> Option<&'a str> {
    known.strip_prefix(above)?.split('.').next()
}

fn listed(names: &[&str]) -> String {
    let mut names: Vec<String> = names.iter().map(|it| format!("`{it}`")).collect();
    names.dedup();
    names.join(", ")
}

fn span_of(variable: &str, value: &str) -> Span {
    let length = u32::try_from(value.chars().count().max(1)).unwrap_or(1);
    let (file, text) = (variable.to_owned(), value.to_owned());
    Span { file, line: 1, column: 1, length, text, label: String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["name", "listen.mqtt", "listen.https", "keep.age"];

    fn number(text: &str) -> Result<u32, String> {
        text.parse().map_err(|_| format!("`{text}` is not a number"))
    }

    #[test]
    fn values_lists_and_keys_below_keys_are_read() {
        let mut reader = ConfigReader::new("m.yaml", "name: 1\nlisten: {mqtt: [2, 3], https: 4}\n", KNOWN);
        assert_eq!(reader.one("name", number), Some(1));
        assert_eq!(reader.list("listen.mqtt", number), Some(vec![2, 3]));
        assert_eq!(reader.list("listen.https", number), Some(vec![4]));
        assert_eq!(reader.one("keep.age", number), None);
        assert_eq!(reader.finish(), []);
        assert_eq!(ConfigReader::new("m.yaml", "", KNOWN).finish(), [], "an empty file is a good one");
    }

    #[test]
    fn every_mistake_is_told_at_once_with_its_place() {
        let text = "nmae: 1\nlisten:\n  mqt: 2\n  https: [x, [y]]\nkeep: 3\nname: {a: b}\n";
        let mut reader = ConfigReader::new("m.yaml", text, KNOWN);
        assert_eq!(reader.list("listen.https", number), Some(vec![]));
        assert_eq!(reader.one("name", number), None);
        let told: Vec<(u32, String)> =
            reader.finish().into_iter().map(|it| (it.spans[0].line, it.message)).collect();
        let told: Vec<(u32, &str)> = told.iter().map(|(line, it)| (*line, it.as_str())).collect();
        assert_eq!(
            told,
            [
                (1, "unknown key `nmae`"),
                (3, "unknown key `mqt`"),
                (4, "`x` is not a number"),
                (4, "an element of `listen.https` must be text, not a list"),
                (5, "`keep` takes a mapping, not text"),
                (6, "`name` takes one value, not a mapping"),
            ]
        );
    }

    #[test]
    fn variables_win_over_the_file_and_unknown_ones_are_told() {
        let mut reader = ConfigReader::new("m.yaml", "name: 1\n", KNOWN);
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        reader.override_by(
            "X_",
            [
                variable("X_NAME", "7"),
                variable("X_LISTEN__MQTT", "1, 2"),
                variable("X_NMAE", ""),
                variable("PATH", ""),
            ],
        );
        assert_eq!(reader.one("name", number), Some(7));
        assert_eq!(reader.list("listen.mqtt", number), Some(vec![1, 2]));
        let told = reader.finish();
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].help.as_deref(), Some("did you mean `name`?"));
    }
}
