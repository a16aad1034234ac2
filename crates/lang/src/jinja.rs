//! The second template engine: Jinja as Salt has it, with Python's values and methods, bounded in time and memory.

mod ast;
mod call;
mod checks;
mod compare;
mod evaluate;
mod failure;
mod filters;
mod format;
mod globals;
mod heap;
mod include;
mod json_text;
mod lexer;
mod load;
mod methods;
mod object;
mod parser;
#[cfg(test)]
mod reference;
mod run;
mod salt;
mod statements;
mod text;
mod value;
mod world;
mod yaml_text;

use crate::{
    Subject, Tree,
    say::{Complaints, Rendered, Text, small},
};
use model::{ContentHash, Question};
use object::Frame;
use run::{Out, Run};
use serde_json::{Map, Value as Json};
use std::{cell::RefCell, rc::Rc, sync::Arc};
use value::{Value, of_json};
use world::World;

pub(crate) use world::Templates;

/// What one compile keeps between renderings: the values that every template sees, made once.
#[derive(Debug, Default)]
pub(crate) struct Workshop {
    /// Before the heap, which empties them.
    seen: Vec<(String, Value)>,
    heap: heap::Heap,
}

/// One text to fill in.
pub(crate) struct Job<'a> {
    pub(crate) tree: &'a Tree,
    pub(crate) templates: &'a Templates,
    pub(crate) subject: Option<Subject<'a>>,
    pub(crate) text: &'a Arc<Text>,
    pub(crate) hash: ContentHash,
    /// `states` or `pillar`.
    pub(crate) root: &'a str,
    /// What this template alone sees.
    pub(crate) variables: Map<String, Json>,
    /// Whether the place of each rendered line matters.
    pub(crate) tracked: bool,
    /// Whether what is printed stands between [`MARKS`], in included templates too.
    pub(crate) marked: bool,
    /// No minion to ask: what nobody can know is unknown rather than wrong.
    pub(crate) lenient: bool,
}

/// Around what a template prints, if that is to be told from what stands in it. Nothing that is printed can hold them.
pub(crate) const MARKS: [char; 2] = ['\u{E000}', '\u{E001}'];

/// Whether templates may call a function of Salt.
pub(crate) fn is_function(name: &str) -> bool {
    salt::is_known(name)
}

/// What `salt['name']` is told when there is no such function.
pub(crate) fn no_function(name: &str) -> (String, Option<String>) {
    let complaint = salt::unknown(name).explain(&Arc::new(Text::new(String::new(), String::new())), "");
    (complaint.message, complaint.help)
}

/// Why a text is no template, if it is none.
pub(crate) fn syntax_error(text: &Arc<Text>) -> Option<model::Diagnostic> {
    world::read(text).err().map(|it| it.explain(text, ""))
}

/// What all templates of a compile see.
const SHARED: [&str; 4] = ["grains", "pillar", "labels", "id"];

impl Workshop {
    /// What was kept of a variable is made anew: it was set.
    pub(crate) fn forget(&mut self, name: &str) {
        self.seen.retain(|it| it.0 != name);
    }

    fn shared(&mut self, name: &str, data: &Json, lenient: bool) -> Value {
        if lenient && name != "id" {
            return Value::Unknown;
        }
        if let Some((_, value)) = self.seen.iter().find(|it| it.0 == name) {
            return value.clone();
        }
        let value =
            data.get(name).map_or_else(|| self.heap.dict(value::Dict::new()), |it| of_json(it, &self.heap));
        self.seen.push((name.to_owned(), value.clone()));
        value
    }

    /// What Salt's templates see of the configuration.
    fn opts(&self, job: &Job<'_>) -> Value {
        let heap = &self.heap;
        let id = job.subject.map_or("some-minion", |it| it.id.as_str());
        let base = |it: &str| heap.pairs(vec![("base", heap.list(vec![Value::str(it)]))]);
        heap.pairs(vec![
            ("id", Value::str(id)),
            ("saltenv", Value::str(ENVIRONMENT)),
            ("pillarenv", Value::str(ENVIRONMENT)),
            ("environment", Value::str(ENVIRONMENT)),
            ("file_roots", base("/srv/salt")),
            ("pillar_roots", base("/srv/pillar")),
            ("test", Value::Bool(false)),
            ("master", Value::str("salt")),
            ("file_client", Value::str("remote")),
            ("nodegroups", heap.dict(value::Dict::new())),
            ("root_dir", Value::str("/")),
            ("__role", Value::str("minion")),
        ])
    }

    /// Fills in a template. Complaints end up in `complaints`; then there is no text. The questions are those that
    /// the template asked the minion and nobody has answered.
    pub(crate) fn render(
        &mut self,
        job: &Job<'_>,
        data: &Json,
        complaints: &mut Complaints,
    ) -> (Option<Rendered>, Vec<Question>) {
        let label = match job.subject {
            Some(subject) if !job.lenient => format!("while rendering for {}", subject.id),
            _ => String::new(),
        };
        let template = match job.templates.get(job.text, job.hash) {
            Ok(template) => template,
            Err(failure) => {
                complaints.push(failure.explain(job.text, ""));
                return (None, Vec::new());
            }
        };
        self.heap.begin();
        let base = Rc::new(Frame::default());
        for name in SHARED {
            let value = self.shared(name, data, job.lenient);
            base.set(name.into(), value);
        }
        let opts = self.opts(job);
        base.set("opts".into(), opts.clone());
        for name in ["saltenv", "env"] {
            base.set(name.into(), Value::str(ENVIRONMENT));
        }
        for (name, json) in &job.variables {
            base.set(name.as_str().into(), of_json(json, &self.heap));
        }
        let world = World {
            tree: job.tree,
            templates: job.templates,
            subject: job.subject,
            root: job.root,
            pillar: base.get("pillar").unwrap_or(Value::None),
            grains: base.get("grains").unwrap_or(Value::None),
            opts,
            questions: RefCell::default(),
        };
        let run = Run {
            heap: &self.heap,
            world: &world,
            lenient: job.lenient,
            base: base.clone(),
            failures: RefCell::default(),
            open: RefCell::new(vec![job.text.path.clone()]),
        };
        let mut out = match (job.tracked, job.marked) {
            (_, true) => Out::marked(),
            (true, false) => Out::tracked(),
            (false, false) => Out::captured(),
        };
        let frame = Frame::below(&base);
        if let Err(failure) = run.template(&template, &frame, &mut out) {
            run.failed(failure);
        }
        let failures = run.failures.take();
        let questions = world.questions.take();
        frame.clear();
        if !failures.is_empty() {
            complaints.extend(failures.into_iter().map(|it| it.explain(job.text, &label)));
            return (None, questions);
        }
        (Some(rendered(job.text, &template, out, job.tracked)), questions)
    }
}

/// Where nothing says otherwise.
const ENVIRONMENT: &str = crate::environment::BASE;

/// Salt gives back the line end that Jinja takes away.
fn rendered(text: &Arc<Text>, template: &ast::Template, out: Out, tracked: bool) -> Rendered {
    let last = small(template.source().matches('\n').count()).max(1);
    let (mut made, mut lines) = out.finish(last);
    if template.source().ends_with('\n') {
        made.push('\n');
        lines.push(last);
    }
    let same = made == text.body;
    Rendered { source: text.clone(), text: made, lines: (tracked && !same).then_some(lines) }
}

#[cfg(test)]
mod tests;
