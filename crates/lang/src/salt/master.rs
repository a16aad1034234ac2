//! Reads the configuration of a Salt master: where its trees are, which groups and reactions it has, and what of it has
//! no place here.

use crate::{
    say::{Complaints, Rendered, Say, Text, error, warning},
    scalars,
    yaml::{self, Key, Node, Yaml},
};
use model::Diagnostic;
use serde_json::Value;
use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

/// Settings that alter what states do, and what to do about each.
const NOT_TAKEN: [(&str, &str); 21] = [
    ("ext_pillar", "write its data into pillar/"),
    ("master_tops", "write it into top.sls"),
    ("gitfs_remotes", "clone the repositories and list their folders under `states:`"),
    ("git_pillar", "clone the repository and list its folder under `pillar:`"),
    ("fileserver_backend", "only folders are served: clone what comes from elsewhere"),
    ("s3.buckets", "copy the files into a folder of the tree"),
    ("external_auth", "give people and programs tokens: labctl token create"),
    ("publisher_acl", "give people and programs tokens: labctl token create"),
    ("client_acl", "give people and programs tokens: labctl token create"),
    ("peer", "minions do not talk to each other here"),
    ("peer_run", "minions do not talk to each other here"),
    ("schedule", "call labctl from cron or from a systemd timer"),
    ("engines", "make it a program that publishes events as an integration"),
    ("beacons", "send events from the machine: `fire_event` in a state"),
    ("jinja_trim_blocks", "write `{%- -%}` where it matters"),
    ("jinja_lstrip_blocks", "write `{%- -%}` where it matters"),
    ("jinja_env", "write `{%- -%}` where it matters"),
    ("jinja_sls_env", "write `{%- -%}` where it matters"),
    ("decrypt_pillar", "mark values with `!secret`"),
    ("syndic_master", "a master here has no master"),
    ("winrepo_dir", "there is no package provider for Windows"),
];

/// Settings that have the same name and meaning here.
const SAME: [&str; 3] = ["pillar_source_merging_strategy", "pillar_merge_lists", "failhard"];

/// A reaction: the glob over event tags, and its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reaction {
    /// As Salt has it: `salt/minion/*/start`.
    pub tag: String,
    /// Paths, as written.
    pub files: Vec<String>,
}

/// What a configuration says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Master {
    /// Folders of states of `base`.
    pub file_roots: Vec<PathBuf>,
    /// Folders of pillar files of `base`.
    pub pillar_roots: Vec<PathBuf>,
    /// Names and compound targets.
    pub nodegroups: Vec<(String, String)>,
    /// Other environments: folders of states and of pillar files.
    pub environments: BTreeMap<String, [Vec<PathBuf>; 2]>,
    /// Settings that are the same here, as they are written there.
    pub same: Vec<(String, String)>,
    /// In order.
    pub reactor: Vec<Reaction>,
    /// What has no place here, and what cannot be read.
    pub findings: Vec<Diagnostic>,
}

impl Master {
    /// Adds a file: what it says wins over what was read before.
    pub fn add(&mut self, file: &str, text: &str) {
        let rendered = Rendered::plain(Arc::new(Text::new(file.to_owned(), text.to_owned())));
        let mut complaints = Complaints::default();
        let root = yaml::parse(&rendered, &mut complaints);
        self.findings.extend(complaints.finish());
        let Some(Node { value: Yaml::Map(pairs), .. }) = root else { return };
        for (key, node) in &pairs {
            match key.text.as_str() {
                "file_roots" => self.file_roots = self.roots(&rendered, key, node, 0),
                "pillar_roots" => self.pillar_roots = self.roots(&rendered, key, node, 1),
                name if SAME.contains(&name) => {
                    self.same.retain(|it| it.0 != name);
                    self.same.extend(node.text().map(|it| (name.to_owned(), it.to_owned())));
                }
                "nodegroups" => self.nodegroups = groups(node),
                "reactor" => self.reactor = self.reactor(&rendered, node),
                name => {
                    if let Some((_, help)) = NOT_TAKEN.iter().find(|it| it.0 == name) {
                        self.say(&rendered, key, &format!("`{name}` is not taken over"), help);
                    }
                }
            }
        }
    }

    fn say(&mut self, file: &Rendered, key: &Key, message: &str, help: &str) {
        self.findings.push(error("E0803", message).at(file.span(key.at, "")).help(help));
    }

    /// `base: [folders]`, and those of other environments.
    fn roots(&mut self, file: &Rendered, key: &Key, node: &Node, kind: usize) -> Vec<PathBuf> {
        let Yaml::Map(pairs) = &node.value else {
            let message = format!("`{}` takes a mapping of environments", key.text);
            self.say(file, key, &message, "it is left out");
            return Vec::new();
        };
        let mut folders = Vec::new();
        for (environment, node) in pairs {
            let found: Vec<PathBuf> = texts(node).into_iter().map(PathBuf::from).collect();
            if environment.text == "base" {
                folders = found;
            } else if environment.text.chars().all(|it| it.is_ascii_alphanumeric() || it == '-' || it == '_')
            {
                self.environments.entry(environment.text.clone()).or_default()[kind] = found;
            } else {
                let message = format!("the environment `{}` is not taken over", environment.text);
                self.say(
                    file,
                    environment,
                    &message,
                    "name it in `environments:`, in letters, digits, `-` and `_`",
                );
            }
        }
        folders
    }

    fn reactor(&mut self, file: &Rendered, node: &Node) -> Vec<Reaction> {
        let (found, wrong) = reactions(node);
        let told = wrong.into_iter().map(|at| {
            warning("E0804", "an entry of `reactor` maps a tag to a list of files").at(file.span(at, ""))
        });
        self.findings.extend(told);
        found.into_iter().map(|it| it.0).collect()
    }
}

/// The entries of a reactor map with their places, and the places of what is none.
pub(crate) fn reactions(node: &Node) -> (Vec<(Reaction, crate::say::At)>, Vec<crate::say::At>) {
    let (mut found, mut wrong) = (Vec::new(), Vec::new());
    let items = match &node.value {
        Yaml::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    for item in items {
        match &item.value {
            Yaml::Map(pairs) => {
                let entry = |(key, node): &(Key, Node)| {
                    (Reaction { tag: key.text.clone(), files: texts(node) }, key.at)
                };
                found.extend(pairs.iter().map(entry));
            }
            _ => wrong.push(item.at),
        }
    }
    (found, wrong)
}

fn groups(node: &Node) -> Vec<(String, String)> {
    let Value::Object(groups) = scalars::value(node) else { return Vec::new() };
    let text = |it: &Value| match it {
        Value::String(text) => text.clone(),
        Value::Array(words) => words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    };
    groups.iter().map(|(name, it)| (name.clone(), text(it))).collect()
}

fn texts(node: &Node) -> Vec<String> {
    match &node.value {
        Yaml::List(items) => items.iter().filter_map(Node::text).map(str::to_owned).collect(),
        _ => node.text().map(str::to_owned).into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_groups_and_reactions_are_read_and_the_rest_is_told() {
        let mut master = Master::default();
        master.add(
            "master",
            "interface: 0.0.0.0\nfile_roots:\n  base: [/srv/salt, /srv/formulas]\n  dev: [/srv/dev]\n  '__env__': [/x]\nfailhard: true\npillar_roots:\n  base:\n    - /srv/pillar\n\
             nodegroups:\n  web: 'L@a,b'\n  all: [web, or, db]\nreactor:\n  - 'salt/minion/*/start': [/srv/reactor/a.sls]\n  - 'x/*':\n    - salt://b.sls\n  - c\n",
        );
        master.add("master.d/x.conf", "ext_pillar:\n  - git: x\n");
        assert_eq!(master.file_roots, ["/srv/salt", "/srv/formulas"].map(PathBuf::from));
        assert_eq!(master.pillar_roots, [PathBuf::from("/srv/pillar")]);
        assert_eq!(master.nodegroups[1], ("all".to_owned(), "web or db".to_owned()));
        assert_eq!(master.environments["dev"], [vec![PathBuf::from("/srv/dev")], vec![]]);
        assert_eq!(master.same, [("failhard".to_owned(), "true".to_owned())]);
        assert_eq!(master.reactor[0].files, ["/srv/reactor/a.sls"]);
        let told: Vec<String> = master
            .findings
            .iter()
            .map(|it| format!("{}:{} {}", it.spans[0].file, it.spans[0].line, it.message))
            .collect();
        assert_eq!(
            told,
            [
                "master:17 an entry of `reactor` maps a tag to a list of files",
                "master.d/x.conf:1 `ext_pillar` is not taken over",
            ]
        );
    }
}
