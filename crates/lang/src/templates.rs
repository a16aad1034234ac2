//! Compiles and renders Handlebars: everything that could hang or crash is refused before it runs, what is missing is
//! told with its place, and compiled templates are shared between minions.

use crate::{
    Tree,
    helpers::{self, PRINT, TURN},
    limits,
    remarks::explain,
    rendering::{self, PLACE},
    say::{At, Complaints, Rendered, Say, Text, error, small},
    scan::{self, MARK_CHARS, Scan, scan},
};
use handlebars::{
    Context, Handlebars, Output, RenderContext, Renderable, Template,
    template::{HelperTemplate, Parameter, TemplateElement},
};
use model::{ContentHash, Diagnostic};
use serde_json::{Map, Value, json};
use std::{
    collections::HashMap,
    io,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

/// Helpers and nothing else; templates with partials get a copy with those.
static REGISTRY: LazyLock<Handlebars<'static>> = LazyLock::new(helpers::registry);

/// A template that can run.
pub(crate) struct Ready {
    /// The template itself, then its partials.
    pub(crate) files: Vec<SourceFile>,
    template: Template,
    partials: Option<Handlebars<'static>>,
    marked: bool,
}

/// A text that a template is made from.
pub(crate) struct SourceFile {
    pub(crate) text: Arc<Text>,
    /// For each line, the column of its mark or 0.
    pub(crate) marks: Vec<u32>,
}

impl SourceFile {
    /// The position in the file for one in the marked text.
    pub(crate) fn unmarked(&self, line: usize, column: usize) -> At {
        let mark = self.marks.get(line.saturating_sub(1)).copied().unwrap_or(0) as usize;
        let column =
            if mark > 0 && column > mark { column.saturating_sub(MARK_CHARS).max(mark) } else { column };
        At { line: small(line), column: small(column), length: 1 }
    }
}

type Made = Result<Arc<Ready>, Vec<Diagnostic>>;

/// The templates of one generation of the trees, compiled when first needed.
#[derive(Default)]
pub(crate) struct Templates {
    made: Mutex<HashMap<(String, ContentHash, bool), Made>>,
}

/// What a template sees. Kept through a compile, so that grains and pillar are copied once.
pub(crate) struct Scope {
    context: Context,
    /// No minion to ask: what grains, labels and pillar lack is unknown rather than wrong.
    pub(crate) lenient: bool,
    /// Bytes that may still be rendered.
    pub(crate) budget: usize,
}

impl Scope {
    pub(crate) fn new(data: Map<String, Value>, lenient: bool) -> Self {
        let mut context = Context::null();
        *context.data_mut() = Value::Object(data);
        Self { context, lenient, budget: limits::RENDERED_BYTES_IN_ALL }
    }
    /// Sets variables; what they were before.
    pub(crate) fn set(&mut self, more: Map<String, Value>) -> Vec<(String, Option<Value>)> {
        let Value::Object(data) = self.context.data_mut() else { return Vec::new() };
        more.into_iter()
            .map(|(key, value)| {
                let old = data.insert(key.clone(), value);
                (key, old)
            })
            .collect()
    }
    /// Undoes [`Scope::set`].
    pub(crate) fn unset(&mut self, old: Vec<(String, Option<Value>)>) {
        let Value::Object(data) = self.context.data_mut() else { return };
        for (key, value) in old {
            match value {
                Some(value) => data.insert(key, value),
                None => data.shift_remove(&key),
            };
        }
    }
    pub(crate) fn data(&self) -> &Value {
        self.context.data()
    }
}

impl Templates {
    /// The template at a path; with marks if it will be YAML.
    pub(crate) fn get(&self, tree: &Tree, text: &Arc<Text>, hash: ContentHash, marked: bool) -> Made {
        let key = (text.path.clone(), hash, marked);
        let made = |it: &Self| it.made.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(made) = made(self) {
            return made;
        }
        let made = compile(tree, text, marked).map(Arc::new);
        self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(key, made.clone());
        made
    }
}

/// Compiles a template with all partials that it needs.
pub(crate) fn compile(tree: &Tree, text: &Arc<Text>, marked: bool) -> Result<Ready, Vec<Diagnostic>> {
    let first = scan_bounded(text, marked)?;
    let mut names = Vec::new();
    let depth = crate::partials::closure(tree, text, &first, &mut names)?;
    if depth > limits::TEMPLATE_DEPTH {
        let message = format!("blocks and partials go more than {} deep", limits::TEMPLATE_DEPTH);
        return Err(vec![error("E0207", message).at(text.span(At { line: 1, column: 1, length: 1 }, ""))]);
    }
    let mut files = vec![SourceFile { text: text.clone(), marks: first.marks.clone() }];
    let mut template = parse(&first.marked, &files[0])?;
    instrument(&mut template, 0, tree, &text.path);
    let partials = if names.is_empty() {
        None
    } else {
        let mut registry = REGISTRY.clone();
        for partial in names {
            let file = SourceFile { text: partial.text, marks: Vec::new() };
            let mut template = parse(&file.text.body, &file)?;
            instrument(&mut template, files.len(), tree, &file.text.path);
            template.elements.insert(0, turn_element());
            if let Some(first) = template.mapping.first().cloned() {
                template.mapping.insert(0, first);
            }
            registry.register_template(&file.text.path, template);
            files.push(file);
        }
        Some(registry)
    };
    Ok(Ready { files, template, partials, marked })
}

/// Scans a text unless it is too large.
pub(crate) fn scan_bounded(text: &Text, marked: bool) -> Result<Scan, Vec<Diagnostic>> {
    if text.body.len() > limits::TEXT_BYTES {
        let message = format!("a template may have {} bytes at most", limits::TEXT_BYTES);
        return Err(vec![error("E0104", message).at(text.span(At { line: 1, column: 1, length: 1 }, ""))]);
    }
    scan(text, marked)
}

fn parse(marked: &str, file: &SourceFile) -> Result<Template, Vec<Diagnostic>> {
    if marked.is_empty() {
        return Ok(Template::new());
    }
    Template::compile_with_name(marked, file.text.path.clone()).map_err(|cause| {
        let (line, column) = cause.pos().unwrap_or((1, 1));
        let reason = cause.reason().to_string();
        let reason = reason.lines().next().unwrap_or("").replace("invalid handlebars syntax: ", "");
        vec![
            error("E0202", format!("this template is not Handlebars: {reason}"))
                .at(file.text.span(file.unmarked(line, column), ""))
                .help("every {{#block}} needs its {{/block}}; {{ as text is written \\{{"),
        ]
    })
}

fn turn_element() -> TemplateElement {
    let tag = format!("{{{{{}}}}}", "t");
    let mut template = Template::compile(&tag).unwrap_or_default();
    if let Some(TemplateElement::Expression(call)) = template.elements.first_mut() {
        call.name = Parameter::Name(TURN.to_owned());
        call.hash.insert(PLACE.to_owned(), Parameter::Literal(Value::Null));
    }
    template.elements.pop().unwrap_or(TemplateElement::RawString(String::new()))
}

/// Tells every helper where it stands, puts [`PRINT`] where variables are printed, and whole paths where partials are
/// named.
fn instrument(template: &mut Template, file: usize, tree: &Tree, path: &str) {
    let places: Vec<Value> = template.mapping.iter().map(|it| json!([file, it.0, it.1])).collect();
    for (index, element) in template.elements.iter_mut().enumerate() {
        let place = places.get(index).cloned().unwrap_or_else(|| json!([file, 0, 0]));
        match element {
            TemplateElement::Expression(call) | TemplateElement::HtmlExpression(call) => {
                let name_only = call.params.is_empty() && call.hash.is_empty();
                let is_helper = call.name.as_name().is_some_and(|it| REGISTRY.has_helper_named(it));
                if name_only && !is_helper {
                    let variable = std::mem::replace(&mut call.name, Parameter::Name(PRINT.to_owned()));
                    call.params.push(variable);
                }
                instrument_call(call, &place);
            }
            TemplateElement::HelperBlock(call) => {
                instrument_call(call, &place);
                for branch in [&mut call.template, &mut call.inverse].into_iter().flatten() {
                    instrument(branch, file, tree, path);
                }
            }
            TemplateElement::PartialExpression(partial) => {
                let found = partial.name.as_name().and_then(|it| crate::partials::resolve(tree, path, it));
                if let Some(found) = found {
                    partial.name = Parameter::Name(found);
                }
            }
            _ => {}
        }
    }
}

fn instrument_call(call: &mut HelperTemplate, place: &Value) {
    for parameter in call.params.iter_mut().chain(call.hash.values_mut()) {
        if let Parameter::Subexpression(inner) = parameter
            && let TemplateElement::Expression(inner) = inner.element.as_mut()
        {
            instrument_call(inner, place);
        }
    }
    call.hash.insert(PLACE.to_owned(), Parameter::Literal(place.clone()));
}

/// Whether a registry knows a helper.
trait HasHelper {
    fn has_helper_named(&self, name: &str) -> bool;
}

impl HasHelper for Handlebars<'static> {
    fn has_helper_named(&self, name: &str) -> bool {
        helpers::names().any(|it| it == name)
    }
}

/// Text that may not grow beyond a bound.
struct Bounded {
    text: String,
    most: usize,
}

/// What [`Bounded`] says; recognized again in [`explain`].
pub(crate) const TOO_LARGE: &str = "the rendered text is too large";

impl Output for Bounded {
    fn write(&mut self, piece: &str) -> Result<(), io::Error> {
        if self.text.len() + piece.len() > self.most {
            return Err(io::Error::other(TOO_LARGE));
        }
        self.text.push_str(piece);
        Ok(())
    }
}

impl Ready {
    /// Fills it in. Complaints end up in `complaints`; then there is no text.
    pub(crate) fn render(&self, scope: &mut Scope, complaints: &mut Complaints) -> Option<Rendered> {
        let registry = self.partials.as_ref().unwrap_or(&REGISTRY);
        let mut out = Bounded { text: String::new(), most: limits::RENDERED_BYTES.min(scope.budget) };
        rendering::begin(scope.lenient);
        let mut rc = RenderContext::new(None);
        let result = self.template.render(registry, &scope.context, &mut rc, &mut out);
        drop(rc);
        let remarks = rendering::end();
        let mut told = explain(self, scope.data(), &remarks, result.as_ref().err());
        if told.is_empty() {
            scope.budget -= out.text.len();
            let source = self.files[0].text.clone();
            let (text, lines) = if self.marked { scan::unmark(&out.text) } else { (out.text, Vec::new()) };
            let lines = (self.marked && text != source.body).then_some(lines);
            return Some(Rendered { source, text, lines });
        }
        let id = scope.data().get("id").and_then(Value::as_str);
        if let (Some(id), false) = (id, scope.lenient) {
            for span in told.iter_mut().filter_map(|it| it.spans.first_mut()) {
                span.label = format!("while rendering for {id}");
            }
        }
        complaints.extend(told);
        None
    }
}
