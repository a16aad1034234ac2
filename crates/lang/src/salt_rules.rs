//! Reads Salt's reactor maps: `reactor:` with a list of tags and reaction files, in `reactors/` or in `master.yaml`. What
//! cannot be used is a warning and left out: the rest of the map, and our own rules, go on.

use crate::{
    Tree, limits,
    rule_files::is_level,
    rules::Rule,
    salt::{events, master, rule::SaltRule},
    say::{At, Complaints, Rendered, Say, Text, warning},
    yaml::{self, Key, Node, Yaml},
};
use std::{collections::BTreeSet, sync::Arc};

/// What the maps of a tree say.
#[derive(Default)]
pub(crate) struct Reacting {
    pub(crate) rules: Vec<Rule>,
    /// Reaction files, which are no files of rules.
    pub(crate) files: BTreeSet<String>,
}

/// Reads all maps.
pub(crate) fn load(tree: &Tree, complaints: &mut Complaints) -> Reacting {
    let mut found = Reacting::default();
    for (path, source) in tree.iter().filter(|it| it.0.starts_with("reactors/")) {
        let body = source.bytes.as_ref().filter(|it| it.len() <= limits::TEXT_BYTES);
        let Some(body) = body.and_then(|it| std::str::from_utf8(it).ok()) else { continue };
        if !body.lines().any(|it| it.starts_with("reactor:")) {
            continue;
        }
        let file = Rendered::plain(Arc::new(Text::new(path.clone(), body.to_owned())));
        // What is wrong with it is told where rules are read.
        let mut quiet = Complaints::default();
        let Some(Node { value: Yaml::Map(pairs), .. }) = yaml::parse(&file, &mut quiet) else { continue };
        let is_map = |it: &&(Key, Node)| it.0.text == "reactor" && matches!(it.1.value, Yaml::List(_));
        for (_, node) in pairs.iter().filter(is_map) {
            found.map(tree, &file, node, complaints);
        }
    }
    found
}

impl Reacting {
    fn map(&mut self, tree: &Tree, file: &Rendered, node: &Node, complaints: &mut Complaints) {
        let mut say = |at: At, message: String, help: &str| {
            complaints.push(warning("E0804", message).at(file.span(at, "")).help(help));
        };
        let (reactions, wrong) = master::reactions(node);
        for at in wrong {
            let help = "write `- 'salt/minion/*/start': [start.sls]`";
            say(at, "an entry of `reactor` maps a tag to a list of files".to_owned(), help);
        }
        for (reaction, at) in reactions {
            if !events::may_be_heard(&reaction.tag) {
                let message = format!("nothing here has a tag that `{}` matches", reaction.tag);
                say(at, message, "docs/how-to/from-salt.md lists Salt's tags that there are");
            }
            for name in &reaction.files {
                if self.rules.len() >= limits::RULES {
                    return say(at, format!("more than {} reactions", limits::RULES), "write fewer");
                }
                if let Some((path, body)) = resolve(tree, name) {
                    self.rule(tree, file, at, (&reaction.tag, &path, &body));
                } else {
                    let message = format!("there is no reaction file `{name}`");
                    say(at, message, "it is looked for in reactors/, or in states/ with `salt://`");
                }
            }
        }
    }

    /// Reactions whose name a rule has get another one.
    pub(crate) fn give_way(&mut self, taken: impl Fn(&str) -> bool) {
        for place in 0..self.rules.len() {
            let name = self.rules[place].name.clone();
            if taken(&name) {
                let is_free = |it: &String| !taken(it) && self.rules.iter().all(|rule| rule.name != *it);
                let other = (2..=2 * limits::RULES + 2).map(|it| format!("{name}-{it}")).find(is_free);
                self.rules[place].name = other.unwrap_or(name);
            }
        }
    }

    fn rule(&mut self, tree: &Tree, file: &Rendered, at: At, (tag, path, body): (&str, &str, &str)) {
        let stem = path.rsplit('/').next().unwrap_or(path).trim_end_matches(".sls");
        let stem = if is_level(stem) { stem } else { "reaction" };
        let names =
            || std::iter::once(format!("salt-{stem}")).chain((2..).map(|it| format!("salt-{stem}-{it}")));
        let free = |name: &String| self.rules.iter().all(|it| it.name != *name);
        let name = names().find(free).unwrap_or_default();
        self.files.insert(path.to_owned());
        self.rules.push(Rule {
            on: tag.to_owned(),
            fingerprint: format!("{tag} {path}"),
            salt: Some(SaltRule::new(tree, tag.to_owned(), path, body)),
            ..Rule::plain(name, format!("{}:{}", file.source.path, at.line))
        });
    }
}

/// A reaction file by its name: below `states/` with `salt://`, else in `reactors/`. An absolute path is one of the old
/// master's; what it ends with is looked for.
fn resolve(tree: &Tree, name: &str) -> Option<(String, String)> {
    let text = |path: String| {
        let bytes = tree.get(&path)?.bytes.as_ref().filter(|it| it.len() <= limits::TEXT_BYTES)?;
        let body = std::str::from_utf8(bytes).ok()?.to_owned();
        Some((path, body))
    };
    if let Some(rest) = name.strip_prefix("salt://").or_else(|| name.strip_prefix("lab://")) {
        return text(format!("states/{rest}"));
    }
    let parts: Vec<&str> = name.split('/').filter(|it| !it.is_empty()).collect();
    (0..parts.len()).find_map(|from| text(format!("reactors/{}", parts[from..].join("/"))))
}
