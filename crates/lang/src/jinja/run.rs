//! Runs the statements of a template.

use super::{
    ast::{Expr, For, Kind, Load, Node, Stmt, Target, Template},
    failure::{Failure, Outcome},
    heap::Heap,
    object::{Frame, Loop, MacroValue, Object, Recursion},
    value::Value,
    world::World,
};
use crate::limits;
use std::{cell::RefCell, rc::Rc, sync::Arc};

/// One rendering.
pub(super) struct Run<'a> {
    pub(super) heap: &'a Heap,
    pub(super) world: &'a World<'a>,
    /// No minion to ask: what nobody can know is unknown rather than wrong.
    pub(super) lenient: bool,
    /// What every template of this rendering sees.
    pub(super) base: Rc<Frame>,
    /// What went wrong so far; the rendering goes on behind it.
    pub(super) failures: RefCell<Vec<Failure>>,
    /// Templates that are being included or imported.
    pub(super) open: RefCell<Vec<String>>,
}

/// Where in which template it is.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) template: Arc<Template>,
    pub(super) frame: Rc<Frame>,
    pub(super) blocks: Rc<RefCell<Blocks>>,
}

/// A block: its name, its statements, and the template that has it.
type Block = (Arc<str>, Arc<Vec<Node>>, Arc<Template>);

/// Blocks by name, the most derived first; and the template that the one which runs extends.
#[derive(Default)]
pub(super) struct Blocks {
    table: Vec<Block>,
    parent: Option<Arc<Template>>,
}

impl Place {
    pub(super) fn of(template: &Arc<Template>, frame: &Rc<Frame>) -> Self {
        Self { template: template.clone(), frame: frame.clone(), blocks: Rc::default() }
    }
    fn inner(&self) -> Self {
        Self { frame: Frame::below(&self.frame), ..self.clone() }
    }
}

/// Whether to go on with the next statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    On,
    Break,
    Continue,
}

/// Rendered text, and the line of the template that each of its lines came from.
#[derive(Debug, Default)]
pub(super) struct Out {
    pub(super) text: String,
    /// Lines that ended.
    pub(super) lines: Vec<u32>,
    /// Source of the line that is being written.
    current: Option<u32>,
    tracked: bool,
    marked: bool,
}

impl Out {
    pub(super) fn captured() -> Self {
        Self::default()
    }
    pub(super) fn tracked() -> Self {
        Self { tracked: true, ..Self::default() }
    }
    /// What is printed into it stands between [`super::MARKS`], which nothing else in it can hold.
    pub(super) fn marked() -> Self {
        Self { marked: true, ..Self::default() }
    }
    /// For the text of a template that is included into this one.
    pub(super) fn included(&self) -> Self {
        Self { marked: self.marked, ..Self::default() }
    }
    /// Appends what a template itself says.
    fn literal(&mut self, text: &str, line: u32, heap: &Heap) -> Outcome<()> {
        if self.marked && text.contains(super::MARKS) {
            return self.write(&text.replace(super::MARKS, ""), line, 1, heap);
        }
        self.write(text, line, 1, heap)
    }
    /// Appends what a tag prints.
    fn printed(&mut self, text: &str, line: u32, heap: &Heap) -> Outcome<()> {
        if !self.marked {
            return self.write(text, line, 0, heap);
        }
        let [open, close] = super::MARKS;
        self.write(&format!("{open}{}{close}", text.replace(super::MARKS, "")), line, 0, heap)
    }
    /// Appends text from a line; `step` is 1 if each of its own lines is a further one.
    pub(super) fn write(&mut self, text: &str, line: u32, step: u32, heap: &Heap) -> Outcome<()> {
        if self.text.len() + text.len() > limits::RENDERED_BYTES {
            let message = "the rendered text is too large";
            return Err(Failure::limit(message).help("look for a loop over more than was meant"));
        }
        heap.room(text.len())?;
        self.text.push_str(text);
        if !self.tracked {
            return Ok(());
        }
        let mut line = line;
        for (index, piece) in text.split('\n').enumerate() {
            if index > 0 {
                self.lines.push(self.current.take().unwrap_or(line));
                line += step;
            }
            if self.current.is_none() && !piece.trim().is_empty() {
                self.current = Some(line);
            }
        }
        Ok(())
    }
    fn clear(&mut self) {
        self.text.clear();
        self.lines.clear();
        self.current = None;
    }
    /// The text and the source of each line.
    pub(super) fn finish(mut self, last: u32) -> (String, Vec<u32>) {
        self.lines.push(self.current.unwrap_or(last));
        (self.text, self.lines)
    }
}

impl Run<'_> {
    /// Runs a whole template in a frame.
    pub(super) fn template(&self, template: &Arc<Template>, frame: &Rc<Frame>, out: &mut Out) -> Outcome<()> {
        let mut place = Place::of(template, frame);
        Self::add_blocks(&place, template);
        let mut body = template.clone();
        for _ in 0..=limits::TEMPLATE_DEPTH {
            let mut silent = Out::captured();
            let mut extended = false;
            for node in &body.body {
                let target = if extended { &mut silent } else { &mut *out };
                self.node(node, &place, target)?;
                extended = extended || place.blocks.borrow().parent.is_some();
            }
            let parent = place.blocks.borrow_mut().parent.take();
            let Some(parent) = parent else { return Ok(()) };
            out.clear();
            Self::add_blocks(&place, &parent);
            place = Place { template: parent.clone(), ..place };
            body = parent;
        }
        Err(Failure::limit("templates extend one another in a circle"))
    }

    fn add_blocks(place: &Place, template: &Arc<Template>) {
        let blocks =
            template.blocks.iter().map(|(name, body)| (name.clone(), body.clone(), template.clone()));
        place.blocks.borrow_mut().table.extend(blocks);
    }

    pub(super) fn nodes(&self, nodes: &[Node], place: &Place, out: &mut Out) -> Outcome<Flow> {
        for node in nodes {
            let flow = self.node(node, place, out)?;
            if flow != Flow::On {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    /// Runs one statement. What is wrong in it is remembered, and the next one runs; what is beyond a limit ends all.
    fn node(&self, node: &Node, place: &Place, out: &mut Out) -> Outcome<Flow> {
        self.heap.spend(1)?;
        if let Stmt::Data(text) = &node.kind {
            out.literal(text, node.at.line, self.heap)?;
            return Ok(Flow::On);
        }
        let result = self.heap.deeper(|| self.statement(node, place, out));
        match result {
            Err(failure) if !failure.is_fatal() => {
                self.failed(failure.at(node.at).within(&place.template.text));
                self.spoil(&node.kind, place);
                Ok(Flow::On)
            }
            Err(failure) => Err(failure.at(node.at).within(&place.template.text)),
            done => done,
        }
    }

    pub(super) fn failed(&self, failure: Failure) {
        let mut failures = self.failures.borrow_mut();
        if failures.len() < limits::DIAGNOSTICS {
            failures.push(failure);
        }
    }

    /// What a statement that went wrong would have set is not known from there on.
    fn spoil(&self, kind: &Stmt, place: &Place) {
        match kind {
            Stmt::Set(target, _) | Stmt::SetBlock(target, ..) => {
                let _ = self.assign(target, Value::Unknown, place);
            }
            Stmt::Import { name, .. } | Stmt::Load { name, .. } => {
                place.frame.set(name.clone(), Value::Unknown);
            }
            Stmt::From { names, .. } => {
                for (_, alias) in names {
                    place.frame.set(alias.clone(), Value::Unknown);
                }
            }
            _ => {}
        }
    }

    fn statement(&self, node: &Node, place: &Place, out: &mut Out) -> Outcome<Flow> {
        match &node.kind {
            Stmt::Data(_) => {}
            Stmt::Print(expr) => self.print(expr, node, place, out)?,
            Stmt::If(branches, otherwise) => return self.choose(branches, otherwise, place, out),
            Stmt::For(it) => return self.repeat(it, place, out),
            Stmt::Set(target, expr) => {
                let value = self.value(expr, place)?;
                self.assign(target, value, place)?;
            }
            Stmt::SetBlock(target, filters, body) => {
                let value = self.captured(body, &place.inner())?;
                let value = self.through(value, filters, place)?;
                self.assign(target, value, place)?;
            }
            Stmt::Do(expr) => {
                self.value(expr, place)?.present()?;
            }
            Stmt::With(sets, body) => {
                let inner = place.inner();
                for (target, expr) in sets {
                    let value = self.value(expr, place)?;
                    self.assign(target, value, &inner)?;
                }
                return self.nodes(body, &inner, out);
            }
            Stmt::Macro(made) => {
                let value = self.macro_value(made, place);
                place.frame.set(made.name.clone(), value);
            }
            Stmt::Call(made, callee) => self.call_block(made, callee, node, place, out)?,
            Stmt::FilterBlock(filters, body) => {
                let value = self.captured(body, &place.inner())?;
                let value = self.through(value, filters, place)?;
                self.write_value(&value, node, out)?;
            }
            Stmt::Include { path, ignore_missing, context } => {
                self.include(path, *ignore_missing, *context, node, place, out)?;
            }
            Stmt::Import { path, name, context, load } => {
                let value = self.import(path, *context, *load, place)?;
                place.frame.set(name.clone(), value);
            }
            Stmt::From { path, names, context } => self.from(path, names, *context, place)?,
            Stmt::Load { load, name, body } => {
                let text = self.captured(body, &place.inner())?;
                let value = self.loaded(&text, *load, node.at.line)?;
                place.frame.set(name.clone(), value);
            }
            Stmt::Block(name) => self.block(name, 0, place, out)?,
            Stmt::Extends(path) => {
                let parent = self.value(path, place)?;
                let parent = self.find(&parent, place)?;
                place.blocks.borrow_mut().parent = Some(parent);
            }
            Stmt::Scope(body) => return self.nodes(body, &place.inner(), out),
            Stmt::Break => return Ok(Flow::Break),
            Stmt::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    fn print(&self, expr: &Expr, node: &Node, place: &Place, out: &mut Out) -> Outcome<()> {
        let value = self.value(expr, place)?;
        let written = self.write_value(&value, node, out);
        written.map_err(|it| it.at(expr.at).within(&place.template.text))
    }

    fn write_value(&self, value: &Value, node: &Node, out: &mut Out) -> Outcome<()> {
        if let Value::Str(text) = value {
            return out.printed(text, node.at.line, self.heap);
        }
        let text = super::text::str_of(value, self.heap)?;
        out.printed(&text, node.at.line, self.heap)
    }

    /// The text that statements give.
    fn captured(&self, body: &[Node], place: &Place) -> Outcome<Value> {
        let mut out = Out::captured();
        self.nodes(body, place, &mut out)?;
        self.heap.text(out.text)
    }

    fn through(&self, value: Value, filters: &[super::ast::Filter], place: &Place) -> Outcome<Value> {
        filters.iter().try_fold(value, |value, filter| self.filter_of(&value, filter, place))
    }

    fn choose(
        &self,
        branches: &[(Expr, Vec<Node>)],
        otherwise: &[Node],
        place: &Place,
        out: &mut Out,
    ) -> Outcome<Flow> {
        for (condition, body) in branches {
            let value = self.value(condition, place)?;
            let yes = value.truthy().map_err(|it| it.at(condition.at).within(&place.template.text))?;
            if yes {
                return self.nodes(body, place, out);
            }
        }
        self.nodes(otherwise, place, out)
    }

    fn repeat(&self, it: &Arc<For>, place: &Place, out: &mut Out) -> Outcome<Flow> {
        let items = self.value(&it.items, place)?;
        let items =
            items.items(self.heap).map_err(|failure| failure.at(it.items.at).within(&place.template.text))?;
        self.turns(it, items, 0, place, out)
    }

    /// The turns of a loop.
    fn turns(
        &self,
        it: &Arc<For>,
        items: Vec<Value>,
        depth: usize,
        place: &Place,
        out: &mut Out,
    ) -> Outcome<Flow> {
        let mut chosen = Vec::with_capacity(items.len());
        for item in items {
            let Some(only) = &it.only else {
                chosen.push(item);
                continue;
            };
            let inner = place.inner();
            self.assign(&it.target, item.clone(), &inner)?;
            if self.value(only, &inner)?.truthy()? {
                chosen.push(item);
            }
        }
        if chosen.is_empty() {
            return self.nodes(&it.otherwise, &place.inner(), out);
        }
        let recursion = it.recursive.then(|| Recursion {
            template: place.template.clone(),
            made: it.clone(),
            frame: place.frame.clone(),
        });
        let count = chosen.len();
        let state = Rc::new(Loop { items: RefCell::new(chosen), depth, recursion, ..Loop::default() });
        let object = self.heap.object(Object::Loop(state.clone()));
        for index in 0..count {
            self.heap.spend(1)?;
            state.index.set(index);
            let item = state.items.borrow()[index].clone();
            let inner = place.inner();
            inner.frame.set("loop".into(), object.clone());
            self.assign(&it.target, item, &inner)?;
            if self.nodes(&it.body, &inner, out)? == Flow::Break {
                break;
            }
        }
        Ok(Flow::On)
    }

    /// `loop(children)`.
    pub(super) fn call_loop(&self, it: &Rc<Loop>, args: &super::call::Called) -> Outcome<Value> {
        let (Some(recursion), [items]) = (&it.recursion, &args.plain[..]) else {
            return Err(Failure::value("`loop` can be called with one list where the tag says `recursive`"));
        };
        let mut out = Out::captured();
        let place = Place::of(&recursion.template, &recursion.frame);
        self.turns(&recursion.made, items.items(self.heap)?, it.depth + 1, &place, &mut out)?;
        self.heap.text(out.text)
    }

    pub(super) fn assign(&self, target: &Target, value: Value, place: &Place) -> Outcome<()> {
        match target {
            Target::Name(name) => place.frame.set(name.clone(), value),
            Target::Attribute(name, attribute) => match place.frame.get(name) {
                Some(Value::Object(object)) => match &*object {
                    Object::Namespace(names) => {
                        names.borrow_mut().insert(attribute.clone(), value);
                    }
                    other => return Err(not_a_namespace(name, other.kind())),
                },
                Some(Value::Unknown) => {}
                Some(other) => return Err(not_a_namespace(name, other.kind())),
                None => {
                    return Err(Failure::new("E0201", format!("variable `{name}` is not set (strict mode)")));
                }
            },
            Target::Tuple(targets) => {
                if value.is_open() && !matches!(value.plain(), Value::List(_)) {
                    return targets.iter().try_for_each(|it| self.assign(it, Value::Unknown, place));
                }
                let items = value.items(self.heap)?;
                if items.len() != targets.len() {
                    let message = format!("{} values for {} names", items.len(), targets.len());
                    let help = "a mapping gives its keys: write `.items()` for keys and values";
                    let failure = Failure::value(message);
                    return Err(if matches!(value, Value::Dict(_) | Value::Str(_)) {
                        failure.help(help)
                    } else {
                        failure
                    });
                }
                for (target, item) in targets.iter().zip(items) {
                    self.assign(target, item, place)?;
                }
            }
        }
        Ok(())
    }

    fn macro_value(&self, made: &Arc<super::ast::Macro>, place: &Place) -> Value {
        self.heap.frame(&place.frame);
        let (template, frame) = (place.template.clone(), place.frame.clone());
        Value::object(Object::Macro(MacroValue { made: made.clone(), template, frame }))
    }

    fn call_block(
        &self,
        made: &Arc<super::ast::Macro>,
        callee: &Expr,
        node: &Node,
        place: &Place,
        out: &mut Out,
    ) -> Outcome<()> {
        let Kind::Call(function, args) = &callee.kind else {
            return Err(Failure::syntax("`call` takes a call: {% call name(…) %}").at(callee.at));
        };
        let function = self.value(function, place)?;
        let mut args = self.args(args, place)?;
        args.named.push(("caller".into(), self.macro_value(made, place)));
        let value = self.call(&function, &args, place)?;
        self.write_value(&value, node, out)
    }

    /// The block of a name, from some level of inheritance on.
    pub(super) fn block(&self, name: &Arc<str>, level: usize, place: &Place, out: &mut Out) -> Outcome<()> {
        let found = {
            let blocks = place.blocks.borrow();
            let mut named = blocks.table.iter().filter(|it| it.0 == *name);
            named.nth(level).map(|it| (it.1.clone(), it.2.clone()))
        };
        let Some((body, template)) = found else {
            return Err(Failure::value(format!("there is no block `{name}` to show here")));
        };
        let inner = Place { template, ..place.inner() };
        inner
            .frame
            .set("super".into(), Value::object(Object::BlockCall { name: name.clone(), level: level + 1 }));
        self.nodes(&body, &inner, out)?;
        Ok(())
    }

    pub(super) fn loaded(&self, text: &Value, load: Load, line: u32) -> Outcome<Value> {
        Self::openly(text, &super::call::Called::default(), |text, _| {
            let text = super::text::str_of(text, self.heap)?;
            match load {
                Load::Yaml => super::load::yaml(&text, line, self.heap),
                Load::Json => super::load::json(&text, self.heap),
                Load::Text => Ok(Value::Str(text.into())),
            }
        })
    }
}

fn not_a_namespace(name: &str, kind: &str) -> Failure {
    Failure::value(format!("`{name}` is {kind}; only a namespace can be set like this")).help(format!(
        "write {{% set {name} = namespace() %}} first, or {{% do {name}.update({{…}}) %}} for a mapping"
    ))
}
