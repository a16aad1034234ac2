//! Environments: named sets of trees. The files of `base` lie below `states/` and `pillar/`, those of another one below
//! `states@NAME/` and `pillar@NAME/`.

use crate::Tree;

/// The environment that is always there.
pub(crate) const BASE: &str = "base";

/// Where files of a kind lie in an environment.
pub(crate) fn root(kind: &str, environment: &str) -> String {
    if environment == BASE { kind.to_owned() } else { format!("{kind}@{environment}") }
}

/// Names of all environments of a tree: `base`, then the others by name.
pub(crate) fn names(tree: &Tree) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (path, _) in tree.iter() {
        let of_kind = |kind: &str| path.strip_prefix(kind)?.strip_prefix('@')?.split('/').next();
        if let Some(name) = of_kind("states").or_else(|| of_kind("pillar"))
            && names.last().is_none_or(|it| it != name)
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    names.dedup();
    names.insert(0, BASE.to_owned());
    names
}
