//! Finds the partials of a template, and refuses circles among them before anything runs.

use crate::{
    Tree, limits,
    say::{Say, Text, did_you_mean, error},
    scan::Scan,
    templates::scan_bounded,
};
use model::Diagnostic;
use std::{collections::HashMap, sync::Arc};

/// A partial that some template uses.
pub(crate) struct Partial {
    pub(crate) text: Arc<Text>,
}

/// Path in the tree for a partial's name: below the root of the tree of the file that uses it, or beside that file.
pub(crate) fn resolve(tree: &Tree, from: &str, name: &str) -> Option<String> {
    if name.split('/').any(|it| matches!(it, "" | "..")) {
        return None;
    }
    let root = from.split('/').next().unwrap_or("");
    let beside = from.rsplit_once('/').map_or("", |(dir, _)| dir);
    let name = name.trim_start_matches("./");
    [root, beside]
        .iter()
        .flat_map(|dir| [format!("{dir}/{name}"), format!("{dir}/{name}.hbs")])
        .find(|it| tree.get(it).is_some())
}

/// All partials below a template, each once; how deep blocks and partials go together.
pub(crate) fn closure(
    tree: &Tree,
    text: &Arc<Text>,
    first: &Scan,
    found: &mut Vec<Partial>,
) -> Result<usize, Vec<Diagnostic>> {
    let mut walk = Walk { tree, path: Vec::new(), depths: HashMap::new(), found };
    walk.visit(text, first)
}

struct Walk<'a> {
    tree: &'a Tree,
    /// From the template to here.
    path: Vec<String>,
    depths: HashMap<String, usize>,
    found: &'a mut Vec<Partial>,
}

impl Walk<'_> {
    /// Recursion ends at a circle or at the bound on depth, whichever comes first.
    fn visit(&mut self, text: &Arc<Text>, scan: &Scan) -> Result<usize, Vec<Diagnostic>> {
        self.path.push(text.path.clone());
        let mut deepest = 0;
        for (name, at) in &scan.partials {
            let Some(path) = resolve(self.tree, &text.path, name) else {
                let near =
                    self.tree.iter().filter_map(|(path, _)| path.split_once('/')).map(|(_, rest)| rest);
                return Err(vec![
                    error("E0205", format!("there is no partial `{name}`"))
                        .at(text.span(*at, ""))
                        .maybe_help(did_you_mean(name, near)),
                ]);
            };
            if let Some(start) = self.path.iter().position(|it| *it == path) {
                let circle = self.path[start..].iter().chain([&path]).map(String::as_str);
                let circle = circle.collect::<Vec<_>>().join(" → ");
                return Err(vec![
                    error("E0206", format!("these partials include each other without end: {circle}"))
                        .at(text.span(*at, "closes the circle")),
                ]);
            }
            if self.path.len() > limits::TEMPLATE_DEPTH {
                let message = format!("more than {} partials inside one another", limits::TEMPLATE_DEPTH);
                return Err(vec![error("E0207", message).at(text.span(*at, ""))]);
            }
            deepest = deepest.max(self.partial(&path, text, *at)?);
        }
        self.path.pop();
        Ok(scan.depth + deepest)
    }

    fn partial(&mut self, path: &str, user: &Text, at: crate::say::At) -> Result<usize, Vec<Diagnostic>> {
        if let Some(depth) = self.depths.get(path) {
            return Ok(*depth);
        }
        let bytes = self.tree.get(path).and_then(|it| it.bytes.clone());
        let body = bytes.and_then(|it| String::from_utf8(it.to_vec()).ok());
        let Some(body) = body else {
            let message = format!("`{path}` is not a text of a size that can be a partial");
            return Err(vec![error("E0205", message).at(user.span(at, ""))]);
        };
        let text = Arc::new(Text::new(path.to_owned(), body));
        let scan = scan_bounded(&text, false)?;
        let depth = 1 + self.visit(&text, &scan)?;
        self.depths.insert(path.to_owned(), depth);
        self.found.push(Partial { text });
        Ok(depth)
    }
}
