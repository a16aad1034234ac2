//! Puts contents where sources are named: a recipe has everything that its minion needs, rendered.

use crate::{
    blocks::Argument,
    compare::lookup,
    limits,
    low::Low,
    say::{At, Say, Text, did_you_mean, error},
    scan::UNKNOWN,
    session::Session,
    steps::source_param,
    tree::Source,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use model::{ContentHash, FileRef, Recipe};
use resources::{Function, ParamType};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::{collections::HashMap, sync::Arc};

/// Parameters that the compiler takes for itself.
const OWN: [&str; 9] = [
    "template",
    "context",
    "defaults",
    "contents_pillar",
    "contents_grains",
    "contents_delimiter",
    "source_hash",
    "sources",
    "source_hashes",
];

/// What fills a template in.
#[derive(Clone, Copy)]
enum Engine {
    Handlebars,
    Jinja,
}

/// One step whose contents are looked for.
struct Work<'a, 'b> {
    session: &'a mut Session<'b>,
    low: &'a Low,
    own: &'a HashMap<String, Argument>,
    recipe: &'a mut Recipe,
    /// Variables for templates; none: not a template.
    variables: Option<Map<String, Value>>,
    engine: Engine,
}

/// Replaces `source`, `template`, `context`, `defaults` and `contents_pillar` by `content_hash`, `source_mode`, `entries`
/// and `dirs`, or by `contents`.
pub(crate) fn resolve(
    session: &mut Session<'_>,
    low: &Low,
    function: &Function,
    own: &HashMap<String, Argument>,
    params: &mut Map<String, Value>,
    recipe: &mut Recipe,
) {
    let mut work = Work { session, low, own, recipe, variables: None, engine: Engine::Handlebars };
    for param in function.params.iter().filter(|it| it.kind == ParamType::Places) {
        if let Some(value) = params.get_mut(param.name) {
            work.places(param.name, value);
        }
    }
    if function.params.iter().any(|it| it.name == "dataset_pillar") {
        return work.given("dataset_pillar", "dataset", params);
    }
    let Some(param) = source_param(function) else {
        if function.params.iter().any(|it| it.name == "contents_pillar") {
            work.given("contents_pillar", "encoded_data", params);
        }
        return;
    };
    if !work.template(params) {
        return;
    }
    work.given("contents_pillar", "contents", params);
    work.given("contents_grains", "contents", params);
    let source_hash = params.get("source_hash").cloned();
    let sources = params.get("sources").cloned();
    // A name that is a source stays, as a name.
    let source = match params.get(param.name) {
        Some(Value::String(one)) if param.name == "name" => Some(json!([one])),
        Some(named) if param.name == "name" => Some(named.clone()),
        _ => params.shift_remove(param.name),
    };
    for name in OWN {
        params.shift_remove(name);
    }
    // A script without a source is named by it; arguments may follow.
    let source = source.filter(|it| !it.is_null()).or_else(|| {
        let name = params.get("name").and_then(Value::as_str).filter(|_| low.fun.ends_with("script"))?;
        Some(json!([name.split(' ').next().unwrap_or(name)]))
    });
    match source {
        None | Some(Value::Null) => work.contents(params),
        Some(Value::Array(sources)) if low.fun == "recurse" => work.recurse(param.name, &sources, params),
        Some(Value::Array(sources)) => work.single(param.name, &sources, params),
        Some(_) => {}
    }
    if let Some(Value::Array(sources)) = sources {
        work.several(&sources, params);
    }
    if let (true, Some(hash)) = (params.contains_key("remote"), source_hash) {
        params.insert("source_hash".to_owned(), hash);
    }
}

impl Work<'_, '_> {
    fn complain(&mut self, param: &str, code: &str, message: impl Into<String>, help: Option<String>) {
        let (file, at) = match self.own.get(param) {
            Some(argument) => (&argument.file, argument.node.at),
            None => (&self.low.file, self.low.at),
        };
        self.complain_at(code, message, help, &file.clone(), at);
    }

    fn complain_at(
        &mut self,
        code: &str,
        message: impl Into<String>,
        help: Option<String>,
        file: &Arc<crate::session::Parsed>,
        at: At,
    ) {
        let mut complaint = error(code, message).at(file.rendered.span(at, "")).maybe_help(help);
        complaint.notes.extend(file.rendered.note(at));
        self.session.complaints.push(complaint);
    }

    fn is_rendered_by_salt(&self, params: &Map<String, Value>) -> bool {
        let named = ["source", "sources"].iter().any(|it| params.contains_key(*it));
        self.low.state == "file"
            && matches!(self.low.fun.as_str(), "append" | "prepend" | "blockreplace")
            && named
    }

    /// Reads `template`, `context` and `defaults`.
    fn template(&mut self, params: &Map<String, Value>) -> bool {
        match params.get("template").and_then(Value::as_str) {
            // Salt renders the sources of these unless it is told otherwise.
            None if self.low.file.salt && self.is_rendered_by_salt(params) => self.engine = Engine::Jinja,
            None | Some("" | "none") => return true,
            Some("handlebars") => {}
            Some("jinja") => self.engine = Engine::Jinja,
            Some(other) => {
                let help = did_you_mean(other, ["handlebars", "jinja"]);
                self.complain("template", "E0119", format!("unknown template engine `{other}`"), help);
                return false;
            }
        }
        let mut variables = Map::new();
        for name in ["defaults", "context"] {
            match params.get(name) {
                None | Some(Value::Null) => {}
                Some(Value::Object(more)) => variables.extend(more.clone()),
                Some(Value::Array(rows)) => {
                    variables.extend(rows.iter().filter_map(Value::as_object).flat_map(Clone::clone));
                }
                Some(_) => {
                    self.complain(name, "E0107", format!("`{name}` must be a mapping"), None);
                    return false;
                }
            }
        }
        if let Engine::Jinja = self.engine {
            // What Salt's templates of files see of the step.
            for name in ["name", "source", "user", "group", "mode"] {
                let value = params.get(name).cloned().unwrap_or(Value::Null);
                variables.entry(name.to_owned()).or_insert(value);
            }
        }
        variables.entry("sls".to_owned()).or_insert_with(|| json!(self.low.sls));
        self.variables = Some(variables);
        true
    }

    /// Puts what pillar or grains have for `from` into `to`; a list of keys gives a line for each.
    fn given(&mut self, from: &str, to: &str, params: &mut Map<String, Value>) {
        let delimiter = params.get("contents_delimiter").and_then(Value::as_str).unwrap_or(":").to_owned();
        let keys = match params.shift_remove(from) {
            Some(Value::String(key)) => vec![key],
            Some(Value::Array(keys)) => keys.iter().filter_map(crate::compare::text_of).collect(),
            _ => return,
        };
        let kind = if from == "contents_grains" { "grains" } else { "pillar" };
        let mut found = Vec::new();
        for key in &keys {
            let data = self.session.scope.data().get(kind);
            match data.and_then(|it| lookup(it, key.split(delimiter.as_str()))).cloned() {
                Some(Value::Object(_)) if to != "dataset" => {
                    let message = format!("{kind} `{key}` is a mapping, not text");
                    self.complain(from, "E0107", message, None);
                }
                Some(value) => found.push(value),
                None if self.session.scope.lenient => {}
                None => {
                    let help = (kind == "pillar").then(|| "set it in pillar/".to_owned());
                    self.complain(from, "E0201", format!("there is no {kind} `{key}`"), help);
                }
            }
        }
        let value = match found.len() {
            0 => return,
            1 => found.swap_remove(0),
            _ => Value::Array(found),
        };
        params.insert(to.to_owned(), value);
    }

    /// Texts one after the other, each from a file in the tree.
    fn several(&mut self, sources: &[Value], params: &mut Map<String, Value>) {
        let tree = self.session.compiler.tree().clone();
        let mut hashes = Vec::new();
        for source in sources.iter().filter_map(Value::as_str) {
            if source.contains(UNKNOWN) {
                return;
            }
            let Some(path) = self.path_of("sources", source) else { return };
            let Some(found) = tree.get(&path) else { return self.not_found("sources", &path) };
            let Some(hash) = self.add("sources", &path, found) else { return };
            hashes.push(json!(hash));
        }
        params.insert("content_hashes".to_owned(), Value::Array(hashes));
    }

    /// `contents` that are a template.
    fn contents(&mut self, params: &mut Map<String, Value>) {
        let Some(variables) = self.variables.clone() else { return };
        let Some(Value::String(body)) = params.get("contents") else { return };
        let path = self.low.file.rendered.source.path.clone();
        let text = Arc::new(Text::new(path, body.clone()));
        let hash = ContentHash(Sha256::digest(body.as_bytes()).into());
        if let Some(rendered) = self.render(&text, hash, variables, "contents") {
            params.insert("contents".to_owned(), Value::String(rendered));
        }
    }

    fn render(
        &mut self,
        text: &Arc<Text>,
        hash: ContentHash,
        mut variables: Map<String, Value>,
        param: &str,
    ) -> Option<String> {
        let relative = text.path.split_once('/').map_or("", |it| it.1);
        let folder = relative.rsplit_once('/').map_or("", |it| it.0);
        variables.insert("tplfile".to_owned(), json!(relative));
        variables.insert("tpldir".to_owned(), json!(folder));
        let mut outer = std::mem::take(&mut self.session.complaints);
        let rendered = match self.engine {
            Engine::Handlebars => self.session.render(text, hash, variables, false),
            Engine::Jinja => {
                let shown = if folder.is_empty() { "." } else { folder };
                variables.insert("tpldir".to_owned(), json!(shown));
                // Of several sources it sees the one that was found.
                if variables.get("source").is_some_and(Value::is_array) {
                    variables.insert("source".to_owned(), json!(format!("salt://{relative}")));
                }
                for (name, by) in
                    [("tpldot", "."), ("slsdotpath", "."), ("slscolonpath", ":"), ("sls_path", "_")]
                {
                    variables.insert(name.to_owned(), json!(folder.replace('/', by)));
                }
                variables.insert("slspath".to_owned(), json!(folder));
                variables.insert("tplpath".to_owned(), json!(text.path));
                let root = text.path.split_once('/').map_or("states", |it| it.0);
                let environment = root.split_once('@').map_or(crate::environment::BASE, |it| it.1);
                variables.insert("saltenv".to_owned(), json!(environment));
                self.session.render_jinja(text, hash, root, variables, false)
            }
        };
        let inner = std::mem::replace(&mut self.session.complaints, std::mem::take(&mut outer));
        let line = self.own.get(param).map_or(self.low.at.line, |it| it.node.at.line);
        let file = &self.low.file.rendered;
        let note = format!("included from {}:{} (`{param}:`)", file.source.path, file.source_line(line));
        self.session.complaints.extend(inner.finish().into_iter().map(|it| it.note(note.clone())));
        rendered.map(|it| it.text)
    }

    /// A path below `states/`; complains about what is none.
    fn path_of(&mut self, param: &str, source: &str) -> Option<String> {
        let rest = source.strip_prefix("lab://").or_else(|| source.strip_prefix("salt://"));
        let Some(rest) = rest else {
            let help = "write `lab://path`: a path below states/".to_owned();
            let message = match source.split_once("://") {
                Some((scheme, _)) => format!("sources from `{scheme}://` are not available"),
                None => format!("`{}` is not a source", crate::say::shortened(source)),
            };
            self.complain(param, "E0117", message, Some(help));
            return None;
        };
        let (rest, asked) = rest.split_once('?').unwrap_or((rest, ""));
        let of = asked.strip_prefix("saltenv=").unwrap_or(&self.low.environment);
        let (rest, root) = (rest.trim_matches('/'), crate::environment::root("states", of));
        if rest.is_empty() || rest.split('/').any(|it| matches!(it, "" | "." | "..")) {
            self.complain(param, "E0117", format!("`{source}` leads out of the tree"), None);
            return None;
        }
        Some(format!("{root}/{rest}"))
    }

    fn not_found(&mut self, param: &str, wanted: &str) {
        let tree = self.session.compiler.tree().clone();
        let known = tree.iter().filter_map(|(path, _)| path.strip_prefix("states/"));
        let known: Vec<String> = known.map(|it| format!("lab://{it}")).collect();
        let file = wanted.rsplit('/').next();
        let help = if let Some(moved) = known.iter().find(|it| it.rsplit('/').next() == file) {
            Some(format!("did you mean `{moved}`?"))
        } else {
            let name = format!("lab://{}", wanted.strip_prefix("states/").unwrap_or(wanted));
            did_you_mean(&name, known.iter().map(String::as_str))
        };
        self.complain(param, "E0117", format!("there is no file `{wanted}`"), help);
    }

    /// Replaces each `lab://path` by `content:HASH`; other texts stay.
    fn places(&mut self, param: &str, value: &mut Value) {
        match value {
            Value::String(text) if text.starts_with("lab://") || text.starts_with("salt://") => {
                if text.contains(UNKNOWN) {
                    return;
                }
                let Some(path) = self.path_of(param, text) else { return };
                let tree = self.session.compiler.tree().clone();
                let Some(source) = tree.get(&path) else { return self.not_found(param, &path) };
                if let Some(hash) = self.add(param, &path, source) {
                    *text = format!("content:{hash}");
                }
            }
            Value::Array(list) => list.iter_mut().for_each(|it| self.places(param, it)),
            Value::Object(map) => map.values_mut().for_each(|it| self.places(param, it)),
            _ => {}
        }
    }

    /// The first of the sources that exists.
    fn single(&mut self, param: &str, sources: &[Value], params: &mut Map<String, Value>) {
        let tree = self.session.compiler.tree().clone();
        let mut paths: Vec<String> = Vec::new();
        for source in sources.iter().filter_map(Value::as_str) {
            if source.contains(UNKNOWN) {
                return;
            }
            if resources::is_remote(source) {
                if !paths.iter().any(|it| tree.get(it).is_some()) {
                    return self.elsewhere(param, sources, params);
                }
                continue;
            }
            match self.path_of(param, source) {
                Some(path) => paths.push(path),
                None => return,
            }
        }
        let Some((path, source)) = paths.iter().find_map(|it| Some((it, tree.get(it)?))) else {
            if let Some(path) = paths.first() {
                self.not_found(param, path);
            }
            return;
        };
        let Some(hash) = self.add(param, path, source) else { return };
        params.insert("content_hash".to_owned(), json!(hash));
        // The name is gone afterwards.
        if self.low.state == "archive" && params.get("archive_format").is_none_or(Value::is_null) {
            params.insert("archive_format".to_owned(), json!(resources::archive_format(path)));
        }
        if ["mode", "file_mode"].iter().any(|it| params.get(*it).is_some_and(|it| it == "keep")) {
            params.insert("source_mode".to_owned(), json!(format!("{:04o}", source.mode & 0o7777)));
        }
    }

    /// Sources that only the minion can reach.
    fn elsewhere(&mut self, param: &str, sources: &[Value], params: &mut Map<String, Value>) {
        if self.variables.is_some() {
            let help = "put the file into the tree and name it `salt://path`".to_owned();
            let message = "a template must be a file of the tree: nothing else is rendered";
            return self.complain(param, "E0117", message, Some(help));
        }
        let remote = sources.iter().filter(|it| it.as_str().is_some_and(resources::is_remote)).cloned();
        params.insert("remote".to_owned(), remote.collect());
    }

    /// Every file below a folder, or below several of which the first has precedence.
    fn recurse(&mut self, param: &str, sources: &[Value], params: &mut Map<String, Value>) {
        let tree = self.session.compiler.tree().clone();
        let mut rows: Map<String, Value> = Map::new();
        let mut dirs = std::collections::BTreeSet::new();
        let Some((selection, depth)) = self.selection(params) else { return };
        let merge = params.get("merge").is_some_and(|it| it == true);
        let (mut any, mut missing) = (false, None);
        for source in sources.iter().filter_map(Value::as_str) {
            if source.contains(UNKNOWN) {
                return;
            }
            let Some(folder) = self.path_of(param, source) else { return };
            let prefix = format!("{folder}/");
            let mut found = false;
            for (path, source) in tree.iter().filter(|it| it.0.starts_with(&prefix)) {
                found = true;
                let relative = &path[prefix.len()..];
                let depth_of = relative.matches('/').count();
                if rows.contains_key(relative) || depth_of > depth || !selection.selects(relative) {
                    continue;
                }
                let Some(hash) = self.add(param, path, source) else { return };
                let mode = format!("{:04o}", source.mode & 0o7777);
                rows.insert(
                    relative.to_owned(),
                    json!({"path": relative, "content_hash": hash, "mode": mode}),
                );
                let mut parent = relative;
                while let Some((dir, _)) = parent.rsplit_once('/') {
                    dirs.insert(dir.to_owned());
                    parent = dir;
                }
                if rows.len() > limits::RECURSE_FILES {
                    let message = format!("more than {} files below `{folder}`", limits::RECURSE_FILES);
                    return self.complain(param, "E0104", message, None);
                }
            }
            missing = missing.or_else(|| (!found).then_some(folder));
            any |= found;
            if found && !merge {
                break;
            }
        }
        if let (false, Some(folder)) = (any, missing) {
            return self.not_found(param, &folder);
        }
        params.insert("entries".to_owned(), rows.into_iter().map(|it| it.1).collect());
        params.insert("dirs".to_owned(), dirs.into_iter().map(Value::from).collect());
    }

    /// `include_pat`, `exclude_pat` and `maxdepth` of a `file.recurse`.
    fn selection(&mut self, params: &Map<String, Value>) -> Option<(resources::Selection, usize)> {
        let texts = |name: &str| match params.get(name) {
            Some(Value::Array(items)) => items.iter().filter_map(crate::compare::text_of).collect(),
            Some(one) => crate::compare::text_of(one).into_iter().collect(),
            None => Vec::new(),
        };
        let depth = params.get("maxdepth").and_then(Value::as_i64);
        let depth = depth.map_or(usize::MAX, |it| usize::try_from(it).unwrap_or(0));
        match resources::Selection::new(&texts("include_pat"), &texts("exclude_pat")) {
            Ok(selection) => Some((selection, depth)),
            Err(why) => {
                let param = if params.contains_key("include_pat") { "include_pat" } else { "exclude_pat" };
                self.complain(param, "E0109", why, None);
                None
            }
        }
    }

    /// Puts a file into the recipe, rendered if it is a template.
    fn add(&mut self, param: &str, path: &str, source: &Source) -> Option<ContentHash> {
        let Some(variables) = self.variables.clone() else {
            let inline = source.bytes.as_ref().filter(|_| source.size <= limits::INLINE_BYTES);
            let inline = inline.map(|it| URL_SAFE_NO_PAD.encode(it));
            self.recipe.files.entry(source.hash).or_insert(FileRef { size: source.size, inline });
            return Some(source.hash);
        };
        let (text, hash, _) = self.session.text(path)?;
        let rendered = self.render(&text, hash, variables, param)?;
        let hash = ContentHash(Sha256::digest(rendered.as_bytes()).into());
        let inline = Some(URL_SAFE_NO_PAD.encode(&rendered));
        // What was rendered may hold a secret, so it always travels inside the sealed recipe.
        self.recipe.files.insert(hash, FileRef { size: rendered.len() as u64, inline });
        Some(hash)
    }
}
