//! One compile: the minion it is for, what its templates see, what was complained about so far; and reading files.

use crate::{
    Compiler, Dialect, Renderer, Subject,
    environment::BASE,
    jinja::{Job, Workshop},
    limits, salt_scalars,
    say::{At, Complaints, Rendered, Say, Text, did_you_mean, error},
    scalars,
    target::Candidate,
    templates::Scope,
    yaml::{self, Node},
};
use model::{ContentHash, Grains, Labels, MinionId, Presence, Question};
use serde_json::{Map, Value, json};
use std::{collections::HashSet, net::IpAddr, sync::Arc};

/// A file as YAML, with the text it was read from.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) rendered: Rendered,
    pub(crate) root: Node,
    /// It is read as Salt reads it.
    pub(crate) salt: bool,
}

impl Parsed {
    /// A node of it as a value.
    pub(crate) fn value(&self, node: &Node) -> Value {
        if self.salt { salt_scalars::value(node) } else { scalars::value(node) }
    }
}

/// One compile.
pub(crate) struct Session<'a> {
    pub(crate) compiler: &'a Compiler,
    pub(crate) subject: Option<Subject<'a>>,
    pub(crate) scope: Scope,
    pub(crate) complaints: Complaints,
    pub(crate) secrets: Vec<String>,
    /// The only environment that counts in this compile.
    pub(crate) environment: Option<String>,
    /// Files and ids that a requisite may mean although they are not here: without a minion nobody knows which states
    /// come together.
    pub(crate) elsewhere: HashSet<String>,
    /// What templates asked and `subject.answers` does not have.
    pub(crate) questions: Vec<Question>,
    /// Files of pillar that say what a minion does by itself.
    pub(crate) by_itself: Vec<Arc<Parsed>>,
    workshop: Workshop,
    files: usize,
}

/// A file that is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) name: String,
    pub(crate) environment: String,
    /// Where it is wanted, if a file says so.
    pub(crate) origin: Option<Origin>,
}

/// Where a name is written that leads to another file.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) file: Arc<Parsed>,
    pub(crate) at: At,
}

impl Origin {
    pub(crate) fn span(&self, label: &str) -> model::Span {
        self.file.rendered.span(self.at, label)
    }
}

/// The label that names a minion's environment.
const ENVIRONMENT_LABEL: &str = "environment";

impl<'a> Session<'a> {
    pub(crate) fn new(compiler: &'a Compiler, subject: Option<Subject<'a>>) -> Self {
        let mut data = Map::new();
        data.insert("env".to_owned(), json!(BASE));
        if let Some(subject) = subject {
            data.insert("id".to_owned(), json!(subject.id));
            data.insert("grains".to_owned(), Value::Object(subject.grains.clone()));
            data.insert("labels".to_owned(), json!(subject.labels));
        } else {
            data.insert("id".to_owned(), json!("some-minion"));
            data.insert("grains".to_owned(), json!({}));
            data.insert("labels".to_owned(), json!({}));
        }
        Self {
            compiler,
            subject,
            scope: Scope::new(data, subject.is_none()),
            complaints: Complaints::default(),
            secrets: Vec::new(),
            environment: None,
            elsewhere: HashSet::new(),
            questions: Vec::new(),
            by_itself: Vec::new(),
            workshop: Workshop::default(),
            files: 0,
        }
    }

    /// The only environment that counts, if one was named, or the minion's label `environment` names one.
    pub(crate) fn pinned(&self) -> Option<String> {
        let named = self.environment.as_ref().or(self.compiler.options().environment.as_ref());
        let label = || self.subject?.labels.get(ENVIRONMENT_LABEL);
        named.or_else(label).cloned()
    }
    /// Environments whose top files count.
    pub(crate) fn environments(&self) -> Vec<String> {
        match self.pinned() {
            Some(pinned) => vec![pinned],
            None => self.compiler.environments().to_vec(),
        }
    }
    pub(crate) fn set_pillar(&mut self, pillar: Value) {
        self.scope.set(Map::from_iter([("pillar".to_owned(), pillar)]));
        self.workshop.forget("pillar");
    }

    /// The state or pillar file of a dotted name below a root.
    pub(crate) fn read(&mut self, root: &str, name: &str, path: &str) -> Option<Arc<Parsed>> {
        self.read_with(root, name, path, &Map::new())
    }

    /// As [`Session::read`], with more variables for its template.
    pub(crate) fn read_with(
        &mut self,
        root: &str,
        name: &str,
        path: &str,
        more: &Map<String, Value>,
    ) -> Option<Arc<Parsed>> {
        self.files += 1;
        if self.files > limits::FILES {
            let message = format!("more than {} files for one minion", limits::FILES);
            self.complaints.push(error("E0104", message).note(format!("the last one was {path}")));
            return None;
        }
        let (text, hash, dialect) = self.text(path)?;
        let renderer = self.renderer(&text, dialect)?;
        let body = &text.body;
        let tags: &[&str] = match renderer {
            Renderer::Plain => &[],
            Renderer::Handlebars => &["{{", "{%"],
            Renderer::Jinja => &["{{", "{%", "{#", "#jinja2:"],
        };
        if !tags.iter().any(|it| body.contains(it)) {
            return self.read_plain(text, hash, dialect.salt);
        }
        let relative = path.strip_prefix(root).unwrap_or(path).trim_start_matches('/').to_owned();
        let folder = relative.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
        let environment = root.split_once('@').map_or(BASE, |it| it.1);
        let mut variables = more.clone();
        variables.extend([
            ("env".to_owned(), json!(environment)),
            ("sls".to_owned(), json!(name)),
            ("tplfile".to_owned(), json!(relative)),
            ("tpldir".to_owned(), json!(folder)),
        ]);
        let text = if renderer == Renderer::Jinja {
            variables.extend(salt_names(path, &folder));
            variables.insert("saltenv".to_owned(), json!(environment));
            self.render_jinja(&text, hash, root, variables, true)?
        } else {
            self.render(&text, hash, variables, true)?
        };
        let root = yaml::parse(&text, &mut self.complaints)?;
        Some(Arc::new(Parsed { rendered: text, root, salt: dialect.salt }))
    }

    fn read_plain(&mut self, text: Arc<Text>, hash: ContentHash, salt: bool) -> Option<Arc<Parsed>> {
        if let Some(found) = self.compiler.kept(&text.path, hash) {
            return Some(found);
        }
        let path = text.path.clone();
        let rendered = Rendered::plain(text);
        let root = yaml::parse(&rendered, &mut self.complaints)?;
        let parsed = Arc::new(Parsed { rendered, root, salt });
        self.compiler.keep(path, hash, &parsed);
        Some(parsed)
    }

    /// A file of the tree as text.
    pub(crate) fn text(&mut self, path: &str) -> Option<(Arc<Text>, ContentHash, Dialect)> {
        let source = self.compiler.tree().get(path)?;
        let body = match &source.bytes {
            Some(bytes) if bytes.len() <= limits::TEXT_BYTES => String::from_utf8(bytes.to_vec()).ok(),
            _ => {
                let message = format!("`{path}` is larger than {} bytes", limits::TEXT_BYTES);
                self.complaints.push(error("E0104", message).help("split it, or do not render it"));
                return None;
            }
        };
        let Some(body) = body else {
            self.complaints.push(error("E0101", format!("`{path}` is not UTF-8 text")));
            return None;
        };
        let body = body.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(body);
        Some((Arc::new(Text::new(path.to_owned(), body)), source.hash, source.dialect))
    }

    /// Fills in a template with some more variables.
    pub(crate) fn render(
        &mut self,
        text: &Arc<Text>,
        hash: ContentHash,
        variables: Map<String, Value>,
        marked: bool,
    ) -> Option<Rendered> {
        let ready = match self.compiler.templates().get(self.compiler.tree(), text, hash, marked) {
            Ok(ready) => ready,
            Err(diagnostics) => {
                self.complaints.extend(diagnostics);
                return None;
            }
        };
        let old = self.scope.set(variables);
        let rendered = ready.render(&mut self.scope, &mut self.complaints);
        self.scope.unset(old);
        rendered
    }

    /// Fills in a Jinja template with some more variables.
    pub(crate) fn render_jinja(
        &mut self,
        text: &Arc<Text>,
        hash: ContentHash,
        root: &str,
        variables: Map<String, Value>,
        tracked: bool,
    ) -> Option<Rendered> {
        let job = Job {
            tree: self.compiler.tree(),
            templates: self.compiler.jinja(),
            subject: self.subject,
            text,
            hash,
            root,
            variables,
            tracked,
            marked: false,
            lenient: self.scope.lenient,
        };
        let (rendered, questions) = self.workshop.render(&job, self.scope.data(), &mut self.complaints);
        for question in questions {
            if self.questions.contains(&question) {
                continue;
            }
            // The rest is asked when these are answered, if it is still wanted then.
            if self.questions.len() < limits::QUESTIONS {
                self.questions.push(question);
            }
        }
        let rendered = rendered?;
        let Some(left) = self.scope.budget.checked_sub(rendered.text.len()) else {
            let message = "all templates of this minion together are too large";
            self.complaints.push(error("E0208", message).note(format!("the last one was {}", text.path)));
            return None;
        };
        self.scope.budget = left;
        Some(rendered)
    }

    /// What the first line asks for.
    fn renderer(&mut self, text: &Text, dialect: Dialect) -> Option<Renderer> {
        let first = text.line(1);
        let Some(line) = first.strip_prefix("#!").filter(|it| !it.starts_with('/')) else {
            return Some(dialect.renderer);
        };
        let wanted: Vec<&str> = line.split('|').map(str::trim).collect();
        match wanted[..] {
            ["handlebars", "yaml"] => return Some(Renderer::Handlebars),
            ["jinja", "yaml" | "json"] => return Some(Renderer::Jinja),
            ["yaml" | "json"] => return Some(Renderer::Plain),
            _ => {}
        }
        let (message, help) = no_renderer(&wanted, line.trim());
        let at = At { line: 1, column: 1, length: crate::say::small(first.chars().count()) };
        self.complaints.push(error("E0119", message).at(text.span(at, "")).help(help));
        None
    }

    /// The path of a state or pillar file; complains if there is none.
    pub(crate) fn find(&mut self, root: &str, name: &str, origin: Option<&Origin>) -> Option<String> {
        if let Some(path) = self.compiler.path_of(root, name) {
            return Some(path);
        }
        let what = if root.starts_with("pillar") { "pillar file" } else { "state" };
        let mut complaint = error("E0118", format!("no {what} named `{name}`"));
        if let Some(origin) = origin {
            complaint = complaint.at(origin.span(""));
        }
        let known = self.compiler.names(root);
        let suggestion = did_you_mean(name, known.iter().map(String::as_str));
        let place = format!("it would be {root}/{0}.sls or {root}/{0}/init.sls", name.replace('.', "/"));
        self.complaints.push(complaint.note(place).maybe_help(suggestion));
        None
    }
}

/// What is wrong with a renderer line, and the way out.
fn no_renderer(wanted: &[&str], line: &str) -> (String, &'static str) {
    let has = |name: &str| wanted.iter().any(|it| it.split(' ').next() == Some(name));
    if wanted == ["jinja"] {
        return ("`#!jinja` alone gives text, not data".to_owned(), "write `#!jinja|yaml`");
    }
    if wanted == ["yaml", "jinja"] {
        let message = "`#!yaml|jinja` would read YAML first and fill in templates afterwards".to_owned();
        return (message, "write `#!jinja|yaml`");
    }
    let help = if has("gpg") || has("nacl") {
        "encrypted values are not read; write secrets as `key: !secret value` in a pillar that only the master can read"
    } else if has("py") || has("pyobjects") || has("pydsl") {
        "Python does not run here; write the file as `#!jinja|yaml`, with macros and loops for what it computes"
    } else if has("yamlex") || has("stateconf") {
        "write the file as `#!jinja|yaml`; mappings are merged by the pillar or with salt['slsutil.merge']"
    } else if has("mako") || has("wempy") || has("genshi") || has("cheetah") {
        "write the file as `#!jinja|yaml` or `#!handlebars|yaml`"
    } else {
        "begin the file with `#!handlebars|yaml`, `#!jinja|yaml`, or with `#!yaml` if it is no template"
    };
    (format!("the renderer `{line}` is not available"), help)
}

/// The further names that Salt gives to templates of states and pillar.
fn salt_names(path: &str, folder: &str) -> [(String, Value); 7] {
    let with = |by: &str| json!(folder.replace('/', by));
    [
        ("tplpath".to_owned(), json!(path)),
        ("tpldir".to_owned(), json!(if folder.is_empty() { "." } else { folder })),
        ("tpldot".to_owned(), with(".")),
        ("slspath".to_owned(), json!(folder)),
        ("slsdotpath".to_owned(), with(".")),
        ("slscolonpath".to_owned(), with(":")),
        ("sls_path".to_owned(), with("_")),
    ]
}

/// `.b` and `..c` relative to the file that says so; in `web/init.sls`, `.b` is `web.b`.
pub(crate) fn absolute(name: &str, from: &str, from_path: &str) -> String {
    let dots = name.len() - name.trim_start_matches('.').len();
    if dots == 0 {
        return name.to_owned();
    }
    let mut steps: Vec<&str> = from.split('.').collect();
    if !from_path.ends_with("/init.sls") {
        steps.pop();
    }
    for _ in 1..dots {
        steps.pop();
    }
    steps.push(&name[dots..]);
    steps.join(".")
}

/// A minion as targets in top files see it.
pub(crate) struct Matched<'a> {
    pub(crate) subject: Subject<'a>,
    pub(crate) pillar: Option<&'a Value>,
}

/// Grains that hold a minion's addresses.
const ADDRESS_GRAINS: [&str; 6] = ["ip", "ips", "addresses", "ipv4", "ipv6", "ip4"];

impl Candidate for Matched<'_> {
    fn id(&self) -> &MinionId {
        self.subject.id
    }
    fn grains(&self) -> &Grains {
        self.subject.grains
    }
    fn labels(&self) -> &Labels {
        self.subject.labels
    }
    fn addresses(&self) -> Vec<IpAddr> {
        let grains = ADDRESS_GRAINS.iter().filter_map(|it| self.subject.grains.get(*it));
        grains
            .flat_map(|it| match it {
                Value::Array(list) => list.iter().collect(),
                other => vec![other],
            })
            .filter_map(|it| it.as_str()?.parse().ok())
            .collect()
    }
    fn presence(&self) -> Presence {
        Presence::Up
    }
    fn failed(&self) -> bool {
        false
    }
    fn pillar(&self, path: &str) -> Option<Value> {
        crate::compare::lookup(self.pillar?, path.split(':')).cloned()
    }
    fn assigned(&self) -> Vec<String> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::absolute;

    #[test]
    fn relative_names_start_at_the_folder_of_the_file() {
        assert_eq!(absolute(".b", "web", "states/web/init.sls"), "web.b");
        assert_eq!(absolute(".b", "web.a", "states/web/a.sls"), "web.b");
        assert_eq!(absolute("..b", "web.x.a", "states/web/x/a.sls"), "web.b");
        assert_eq!(absolute("b", "web.a", "states/web/a.sls"), "b");
    }
}
