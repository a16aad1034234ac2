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
const OWN: [&str; 5] = ["template", "context", "defaults", "contents_pillar", "source_hash"];

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
    let Some(param) = source_param(function) else { return };
    if !work.template(params) {
        return;
    }
    let pillar = params.get("contents_pillar").and_then(Value::as_str).map(str::to_owned);
    // A name that is a source stays, as a name.
    let source = match params.get(param.name) {
        Some(Value::String(one)) if param.name == "name" => Some(json!([one])),
        Some(named) if param.name == "name" => Some(named.clone()),
        _ => params.shift_remove(param.name),
    };
    for name in OWN {
        params.shift_remove(name);
    }
    if let Some(path) = pillar {
        work.contents_of_pillar(&path, params);
    }
    match source {
        None | Some(Value::Null) => work.contents(params),
        Some(Value::Array(sources)) if low.fun == "recurse" => work.recurse(param.name, &sources, params),
        Some(Value::Array(sources)) => work.single(param.name, &sources, params),
        Some(_) => {}
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

    /// Reads `template`, `context` and `defaults`.
    fn template(&mut self, params: &Map<String, Value>) -> bool {
        match params.get("template").and_then(Value::as_str) {
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

    fn contents_of_pillar(&mut self, path: &str, params: &mut Map<String, Value>) {
        let pillar = self.session.scope.data().get("pillar");
        let found = pillar.and_then(|it| lookup(it, path.split(':'))).cloned();
        match found {
            Some(value @ (Value::String(_) | Value::Number(_) | Value::Array(_))) => {
                params.insert("contents".to_owned(), value);
            }
            Some(_) => {
                self.complain("contents_pillar", "E0107", format!("pillar `{path}` is not text"), None);
            }
            None if self.session.scope.lenient => {}
            None => {
                let message = format!("there is no pillar `{path}`");
                self.complain("contents_pillar", "E0201", message, Some("set it in pillar/".to_owned()));
            }
        }
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
        let mut paths = Vec::new();
        for source in sources.iter().filter_map(Value::as_str) {
            if source.contains(UNKNOWN) {
                return;
            }
            match self.path_of(param, source) {
                Some(path) => paths.push(path),
                None => return,
            }
        }
        let tree = self.session.compiler.tree().clone();
        let Some((path, source)) = paths.iter().find_map(|it| Some((it, tree.get(it)?))) else {
            if let Some(path) = paths.first() {
                self.not_found(param, path);
            }
            return;
        };
        let Some(hash) = self.add(param, path, source) else { return };
        params.insert("content_hash".to_owned(), json!(hash));
        if ["mode", "file_mode"].iter().any(|it| params.get(*it).is_some_and(|it| it == "keep")) {
            params.insert("source_mode".to_owned(), json!(format!("{:04o}", source.mode & 0o7777)));
        }
    }

    /// Every file below a folder, or below several of which the first has precedence.
    fn recurse(&mut self, param: &str, sources: &[Value], params: &mut Map<String, Value>) {
        let tree = self.session.compiler.tree().clone();
        let mut rows: Map<String, Value> = Map::new();
        let mut dirs = std::collections::BTreeSet::new();
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
                if rows.contains_key(relative) {
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
            if !found {
                return self.not_found(param, &folder);
            }
        }
        params.insert("entries".to_owned(), rows.into_iter().map(|it| it.1).collect());
        params.insert("dirs".to_owned(), dirs.into_iter().map(Value::from).collect());
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
