//! Includes and imports: finds the other template, runs it, and gives what it made.

use super::{
    ast::{Expr, Load, Node, Template},
    failure::{Failure, Outcome},
    object::{Frame, Object},
    run::{Out, Place, Run},
    value::Value,
};
use crate::{limits, say::did_you_mean};
use std::{rc::Rc, sync::Arc};

impl Run<'_> {
    /// The template that a path, or the first of several, names.
    pub(super) fn find(&self, path: &Value, place: &Place) -> Outcome<Arc<Template>> {
        let paths: Vec<Value> = match path.present()?.plain() {
            Value::List(list) => list.items.borrow().clone(),
            one => vec![one.clone()],
        };
        let mut wanted = Vec::new();
        for path in &paths {
            let Some(text) = path.as_str() else {
                return Err(Failure::value(format!("a template is named by text, not by {}", path.kind())));
            };
            let full = self.full_path(text, place)?;
            if self.world.tree.get(&full).is_some() {
                return self.world.template(&full);
            }
            wanted.push(full);
        }
        let missing = wanted.first().cloned().unwrap_or_default();
        let root = format!("{}/", self.world.root);
        let known = self.world.tree.iter().filter_map(|(path, _)| path.strip_prefix(&root));
        let short = missing.strip_prefix(&root).unwrap_or(&missing);
        let help = did_you_mean(short, known)
            .unwrap_or_else(|| format!("paths begin at {root}, or with ./ at the folder of this file"));
        Err(Failure::new("E0205", format!("there is no template `{missing}`")).help(help))
    }

    /// From the root of the trees on; `./` and `../` begin at the folder of the template that says so.
    fn full_path(&self, path: &str, place: &Place) -> Outcome<String> {
        let path = path.strip_prefix("salt://").or_else(|| path.strip_prefix("lab://")).unwrap_or(path);
        let mut parts: Vec<&str> = Vec::new();
        if path.starts_with("./") || path.starts_with("../") {
            let own = place.template.text.path.split('/');
            parts.extend(own.skip(1));
            parts.pop();
        }
        for part in path.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    if parts.pop().is_none() {
                        return Err(Failure::new("E0117", format!("`{path}` leads out of the tree")));
                    }
                }
                other => parts.push(other),
            }
        }
        Ok(format!("{}/{}", self.world.root, parts.join("/")))
    }

    /// Runs another template; where templates include one another in a circle, it ends.
    fn other(&self, template: &Arc<Template>, frame: &Rc<Frame>, out: &mut Out) -> Outcome<()> {
        let path = &template.text.path;
        {
            let mut open = self.open.borrow_mut();
            if open.iter().filter(|it| *it == path).count() >= limits::JINJA_SAME_TEMPLATE {
                let from = open.iter().rposition(|it| it == path).unwrap_or(0);
                let circle: Vec<&str> = open[from..].iter().chain([path]).map(String::as_str).collect();
                let message =
                    format!("these templates include each other without end: {}", circle.join(" → "));
                let mut failure = Failure::limit(message);
                failure.code("E0206");
                return Err(failure);
            }
            open.push(path.clone());
        }
        let result = self.heap.deeper(|| self.template(template, frame, out));
        self.open.borrow_mut().pop();
        result
    }

    /// What another template sees: what is in force here, or what every template has.
    fn frame_for(&self, template: &Template, context: bool, place: &Place) -> Rc<Frame> {
        if context {
            return Frame::below(&place.frame);
        }
        let frame = Frame::below(&self.base);
        let relative = template.text.path.split_once('/').map_or("", |it| it.1);
        let folder = relative.rsplit_once('/').map_or("", |it| it.0);
        frame.set("tplfile".into(), Value::str(relative));
        frame.set("tpldir".into(), Value::str(if folder.is_empty() { "." } else { folder }));
        frame.set("tpldot".into(), Value::str(&folder.replace('/', ".")));
        frame
    }

    pub(super) fn include(
        &self,
        path: &Expr,
        ignore_missing: bool,
        context: bool,
        node: &Node,
        place: &Place,
        out: &mut Out,
    ) -> Outcome<()> {
        let value = self.value(path, place)?;
        if value.is_open() {
            return Ok(());
        }
        let template = match self.find(&value, place) {
            Err(failure) if ignore_missing && failure.is("E0205") => return Ok(()),
            found => found.map_err(|it| it.at(path.at))?,
        };
        let frame = self.frame_for(&template, context, place);
        let mut inner = out.included();
        self.other(&template, &frame, &mut inner)?;
        out.write(&inner.text, node.at.line, 0, self.heap)
    }

    fn module(&self, path: &Expr, context: bool, place: &Place) -> Outcome<Option<Value>> {
        let value = self.value(path, place)?;
        if value.is_open() {
            return Ok(None);
        }
        let template = self.find(&value, place).map_err(|it| it.at(path.at))?;
        let outer = self.frame_for(&template, context, place);
        let names = Frame::below(&outer);
        self.heap.frame(&names);
        let mut out = Out::captured();
        self.other(&template, &names, &mut out)?;
        let path = template.text.path.clone();
        Ok(Some(self.heap.object(Object::Module { names, text: out.text.into(), path })))
    }

    pub(super) fn import(
        &self,
        path: &Expr,
        context: bool,
        load: Option<Load>,
        place: &Place,
    ) -> Outcome<Value> {
        let Some(module) = self.module(path, context, place)? else { return Ok(Value::Unknown) };
        match (load, &module) {
            (Some(load), Value::Object(object)) => match &**object {
                Object::Module { text, path, .. } => {
                    let text = Value::Str(text.clone());
                    self.loaded(&text, load, 1).map_err(|it| it.note(format!("read from {path}")))
                }
                _ => Ok(module),
            },
            _ => Ok(module),
        }
    }

    pub(super) fn from(
        &self,
        path: &Expr,
        names: &[(Arc<str>, Arc<str>)],
        context: bool,
        place: &Place,
    ) -> Outcome<()> {
        let Some(module) = self.module(path, context, place)? else {
            for (_, alias) in names {
                place.frame.set(alias.clone(), Value::Unknown);
            }
            return Ok(());
        };
        let Value::Object(object) = module else { return Ok(()) };
        let Object::Module { names: inside, path, .. } = &*object else { return Ok(()) };
        for (name, alias) in names {
            let found = inside.names.borrow().get(name).cloned();
            let value = found.unwrap_or_else(|| {
                let inside = inside.names.borrow();
                let help = did_you_mean(name, inside.keys().map(|it| &**it));
                Value::missing(format!("{path} has no `{name}` to import"), help)
            });
            place.frame.set(alias.clone(), value);
        }
        Ok(())
    }
}
