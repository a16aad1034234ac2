//! What a compiler is told besides the trees: names of groups of minions, how pillar files are merged, which environment.

use crate::{
    compare::boolean,
    config::ConfigReader,
    yaml::{Node, Yaml},
};
use std::{collections::BTreeMap, str::FromStr};

/// How trees are compiled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Target expressions by name, for `match: nodegroup` and `N@name`.
    pub nodegroups: BTreeMap<String, String>,
    /// Only this environment; none: those that top.sls assigns.
    pub environment: Option<String>,
    /// How pillar files are put together.
    pub pillar_strategy: Strategy,
    /// Lists of pillar files are put together rather than replaced.
    pub pillar_merge_lists: bool,
    /// A failed step ends the run, as if every step said `failhard: true`.
    pub failhard: bool,
}

impl Options {
    /// What a configuration says.
    pub(crate) fn read(reader: &mut ConfigReader) -> Self {
        let flag = |text: &str| boolean(text).ok_or_else(|| format!("`{text}` is neither true nor false"));
        Self {
            nodegroups: nodegroups(reader),
            environment: None,
            pillar_strategy: reader
                .one("pillar_source_merging_strategy", str::parse::<Strategy>)
                .unwrap_or_default(),
            pillar_merge_lists: reader.one("pillar_merge_lists", flag).unwrap_or(false),
            failhard: reader.one("failhard", flag).unwrap_or(false),
        }
    }
}

/// Each group is an expression, or a list of its words.
fn nodegroups(reader: &mut ConfigReader) -> BTreeMap<String, String> {
    let mut groups = BTreeMap::new();
    let (file, nodes) = reader.elements("nodegroups").unwrap_or_default();
    for node in nodes {
        let Yaml::Map(pairs) = node.value else {
            let help = Some("write `nodegroups: {web: 'web-* or G@role:web'}`".to_owned());
            reader.complain(file, node.at, "`nodegroups` is a mapping of names to target expressions", help);
            continue;
        };
        for (name, node) in pairs {
            let words = match &node.value {
                Yaml::List(words) => words.iter().map(Node::text).collect::<Option<Vec<_>>>(),
                _ => node.text().map(|it| vec![it]),
            };
            match words {
                Some(words) => {
                    groups.insert(name.text, words.join(" "));
                }
                None => reader.complain(file, node.at, "a group is an expression or a list of words", None),
            }
        }
    }
    groups
}

/// How a pillar file is merged into what was there before it: Salt's `pillar_source_merging_strategy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Mapping by mapping; what comes later wins.
    #[default]
    Recurse,
    /// What comes later replaces the whole key. So does Salt's `aggregate`, as nothing marks what is to be aggregated.
    Overwrite,
    /// Only the environment `base`.
    None,
}

impl FromStr for Strategy {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "smart" | "recurse" => Ok(Self::Recurse),
            "overwrite" | "aggregate" => Ok(Self::Overwrite),
            "none" => Ok(Self::None),
            "list" => {
                Err("Salt's strategy `list` gives an empty pillar: write `smart` or `overwrite`".to_owned())
            }
            _ => Err(format!(
                "`{text}` is not a strategy: write `smart`, `recurse`, `overwrite`, `aggregate` or `none`"
            )),
        }
    }
}
