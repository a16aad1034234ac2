//! What a compiler is told besides the trees: names of groups of minions, how pillar files are merged, which environment.

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
