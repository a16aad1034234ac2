//! Folders of a tree that hold Python for Salt: nothing runs them here, and there is another way for each.

use crate::{
    Tree, environment,
    say::{At, Say, Text, warning},
};
use model::Diagnostic;
use std::collections::BTreeSet;

/// What Salt loads from the root of a tree, and what does it here.
const FOLDERS: [(&str, &str); 9] = [
    (
        "_states",
        "write the state as a script that tells whether it changed something: `cmd.run` or `cmd.script` with \
         `stateful: true`",
    ),
    (
        "_modules",
        "call a script instead: `cmd.script` in states, `unless` and `onlyif` with a command; values for templates \
         belong in the pillar, facts of a machine in its grains",
    ),
    (
        "_grains",
        "put an executable file that prints grains as JSON or YAML into /etc/labctl/grains.d/ on the machine (a \
         `file.managed` step can)",
    ),
    ("_pillar", "write the values into pillar files"),
    ("_renderers", "write the files as `jinja|yaml`, `handlebars|yaml` or `yaml`"),
    ("_beacons", "let a timer on the machine run a step with `fire_event`"),
    ("_matchers", "target by grains, labels or `nodegroups` in master.yaml"),
    ("_tops", "assign states in top.sls, by labels that the master keeps"),
    ("_runners", "let a rule in reactors/ start what is to be done"),
];
/// Salt's others.
const OTHERS: [&str; 18] = [
    "_auth",
    "_cache",
    "_clouds",
    "_engines",
    "_executors",
    "_fileserver",
    "_log_handlers",
    "_netapi",
    "_output",
    "_proxy",
    "_returners",
    "_roster",
    "_sdb",
    "_serializers",
    "_thorium",
    "_tokens",
    "_utils",
    "_wheel",
];

/// One warning for each such folder.
pub(crate) fn check(tree: &Tree, environments: &[String]) -> Vec<Diagnostic> {
    let mut told = Vec::new();
    let mut seen = BTreeSet::new();
    let roots: Vec<String> = environments.iter().map(|it| environment::root("states", it)).collect();
    for (path, _) in tree.iter() {
        let mut parts = path.splitn(3, '/');
        let (Some(root), Some(folder), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let is_python = rest.rsplit_once('.').is_some_and(|it| it.1 == "py");
        let Some(help) = way_out(folder) else { continue };
        if !is_python || !roots.iter().any(|it| it == root) || !seen.insert(format!("{root}/{folder}")) {
            continue;
        }
        let files = tree.iter().filter(|it| it.0.starts_with(&format!("{root}/{folder}/"))).count();
        let message =
            format!("`{root}/{folder}` holds Python for Salt, which does not run here ({files} files)");
        let span = Text::new(path.clone(), String::new()).span(At { line: 1, column: 1, length: 1 }, "");
        told.push(warning("W0006", message).at(span).help(help));
    }
    told
}

fn way_out(folder: &str) -> Option<&'static str> {
    let known = FOLDERS.iter().find(|it| it.0 == folder).map(|it| it.1);
    known.or_else(|| OTHERS.contains(&folder).then_some("remove it, or put what it does into a script"))
}

/// What to do about a function that such a file would provide.
pub(crate) fn of_state(tree: &Tree, module: &str) -> Option<String> {
    let path = format!("states/_states/{module}.py");
    tree.get(&path)?;
    Some(format!("`{path}` is Python for Salt: {}", FOLDERS[0].1))
}
