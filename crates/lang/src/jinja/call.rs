//! Calls: arguments and where they go, macros, and the objects that can be called.

use super::{
    ast::Macro,
    failure::{Failure, Outcome},
    object::{Frame, MacroValue, Object},
    run::{Out, Place, Run},
    value::{Key, Value},
};
use crate::say::did_you_mean;
use std::{rc::Rc, sync::Arc};

/// Arguments that were worked out.
#[derive(Clone, Debug, Default)]
pub(super) struct Called {
    pub(super) plain: Vec<Value>,
    pub(super) named: Vec<(Arc<str>, Value)>,
}

impl Called {
    pub(super) fn of(plain: Vec<Value>) -> Self {
        Self { plain, named: Vec::new() }
    }
    /// Puts arguments where a function of these parameters has them; `what` names it in complaints.
    pub(super) fn bind<const N: usize>(&self, what: &str, names: [&str; N]) -> Outcome<[Option<Value>; N]> {
        let mut bound = [const { None }; N];
        if self.plain.len() > N {
            let message = format!("`{what}` takes at most {N} arguments, not {}", self.plain.len());
            return Err(Failure::value(message));
        }
        for (place, value) in bound.iter_mut().zip(&self.plain) {
            *place = Some(value.present()?.clone());
        }
        for (name, value) in &self.named {
            let Some(index) = names.iter().position(|it| *it == &**name) else {
                let help = did_you_mean(name, names);
                return Err(Failure::value(format!("`{what}` has no argument `{name}`")).maybe_help(help));
            };
            bound[index] = Some(value.present()?.clone());
        }
        Ok(bound)
    }
    /// As [`Called::bind`], where the first so many must be given.
    pub(super) fn need<const N: usize>(
        &self,
        what: &str,
        needed: usize,
        names: [&str; N],
    ) -> Outcome<[Option<Value>; N]> {
        let bound = self.bind(what, names)?;
        if let Some(index) = bound.iter().take(needed).position(Option::is_none) {
            return Err(Failure::value(format!("`{what}` needs the argument `{}`", names[index])));
        }
        Ok(bound)
    }
    /// Every argument.
    pub(super) fn all(&self) -> impl Iterator<Item = &Value> {
        self.plain.iter().chain(self.named.iter().map(|it| &it.1))
    }
    /// The arguments with stand-ins for unanswered questions.
    fn without_questions(&self) -> Self {
        Self {
            plain: self.plain.iter().map(|it| it.plain().clone()).collect(),
            named: self.named.iter().map(|(name, it)| (name.clone(), it.plain().clone())).collect(),
        }
    }
}

/// A text argument, or what is wrong with it.
pub(super) fn text<'a>(what: &str, value: Option<&'a Value>) -> Outcome<&'a str> {
    let value = value.unwrap_or(&Value::None);
    value.as_str().ok_or_else(|| Failure::value(format!("`{what}` takes text, not {}", value.kind())))
}

/// A whole number argument, or a default.
pub(super) fn int(what: &str, value: Option<&Value>, default: i64) -> Outcome<i64> {
    match value {
        None => Ok(default),
        Some(it) if it.is_none() => Ok(default),
        Some(it) => it
            .as_int()
            .ok_or_else(|| Failure::value(format!("`{what}` takes a whole number, not {}", it.kind()))),
    }
}

/// A yes or no, or a default.
pub(super) fn flag(value: Option<&Value>, default: bool) -> Outcome<bool> {
    value.map_or(Ok(default), Value::truthy)
}

impl Run<'_> {
    /// Does something with a value and arguments, where what is not known or not answered stays so.
    pub(super) fn openly(
        value: &Value,
        args: &Called,
        what: impl FnOnce(&Value, &Called) -> Outcome<Value>,
    ) -> Outcome<Value> {
        if matches!(value, Value::Unknown) || args.all().any(|it| matches!(it, Value::Unknown)) {
            return Ok(Value::Unknown);
        }
        let asked = |it: &Value| matches!(it, Value::Asked(_));
        if !(asked(value) || args.all().any(asked)) {
            return what(value, args);
        }
        match what(value.plain(), &args.without_questions()) {
            Ok(value) => Ok(Value::Asked(Rc::new(value))),
            Err(failure) if failure.is_fatal() => Err(failure),
            Err(_) => Ok(Value::Asked(Rc::new(Value::str("")))),
        }
    }

    /// Calls a value.
    pub(super) fn call(&self, callee: &Value, args: &Called, place: &Place) -> Outcome<Value> {
        self.heap.spend(1)?;
        let object = match callee.present()? {
            Value::Object(object) => object,
            Value::Unknown => return Ok(Value::Unknown),
            Value::Asked(_) => return Ok(callee.clone()),
            other => return Err(Failure::value(format!("{} cannot be called", other.kind()))),
        };
        match &**object {
            Object::Macro(it) => self.call_macro(it, args),
            Object::Method(value, name) => {
                let value = value.borrow().clone();
                self.method(&value, name, args)
            }
            Object::Global(it) => (it.call)(self, args, place),
            Object::SaltFunction(name) => self.salt_call(name, args),
            Object::SaltModule(name) if &**name == "get" => {
                let [function, default] = args.need("salt.get", 1, ["key", "default"])?;
                let found = super::salt::function(text("salt.get", function.as_ref())?, self);
                found.or_else(|failure| default.ok_or(failure))
            }
            Object::Loop(it) => self.call_loop(it, args),
            Object::BlockCall { name, level } => {
                let mut out = Out::captured();
                self.block(name, *level, place, &mut out)?;
                self.heap.text(out.text)
            }
            Object::Cycler { items, next } => {
                let items = items.borrow();
                let value = items.get(next.get()).cloned().unwrap_or(Value::None);
                next.set((next.get() + 1) % items.len().max(1));
                Ok(value)
            }
            Object::Joiner { by, used } => {
                Ok(if used.replace(true) { Value::Str(by.clone()) } else { Value::str("") })
            }
            other => Err(Failure::value(format!("{} cannot be called", other.kind()))),
        }
    }

    /// A member of an object.
    pub(super) fn member(
        &self,
        object: &Rc<Object>,
        name: &Arc<str>,
        words: &dyn Fn() -> String,
    ) -> Outcome<Value> {
        let lacking = |kind: &str, known: &[Arc<str>]| {
            let help = did_you_mean(name, known.iter().map(|it| &**it));
            Value::missing(
                format!("variable `{}` is not set (strict mode): {kind} has no `{name}`", words()),
                help,
            )
        };
        Ok(match &**object {
            Object::Namespace(names) => {
                let names = names.borrow();
                let known: Vec<Arc<str>> = names.keys().cloned().collect();
                names.get(name).cloned().unwrap_or_else(|| lacking("the namespace", &known))
            }
            Object::Module { names, path, .. } => {
                let names = names.names.borrow();
                let known: Vec<Arc<str>> = names.keys().cloned().collect();
                names.get(name).cloned().unwrap_or_else(|| lacking(path, &known))
            }
            Object::Salt => super::salt::member(name, self)?,
            Object::SaltModule(module) => super::salt::function(&format!("{module}.{name}"), self)?,
            Object::Loop(it) => self.loop_member(object, it, name)?,
            Object::Blocks => Value::object(Object::BlockCall { name: name.clone(), level: 0 }),
            Object::Cycler { items, next } => match &**name {
                "next" => object.clone().into(),
                "current" => items.borrow().get(next.get()).cloned().unwrap_or(Value::None),
                "reset" => {
                    next.set(0);
                    Value::None
                }
                _ => lacking("a cycler", &[]),
            },
            Object::Macro(it) if &**name == "name" => Value::Str(it.made.name.clone()),
            other => lacking(other.kind(), &[]),
        })
    }

    pub(super) fn call_macro(&self, it: &MacroValue, args: &Called) -> Outcome<Value> {
        let made = &it.made;
        let frame = Frame::below(&it.frame);
        let place = Place { frame: frame.clone(), ..Place::of(&it.template, &it.frame) };
        self.bind_macro(made, args, &frame, &place)?;
        let mut out = Out::captured();
        let called =
            format!("in the macro `{}` of line {} of {}", made.name, made.at.line, it.template.text.path);
        self.nodes(&made.body, &place, &mut out).map_err(|it| it.note(called))?;
        self.heap.text(out.text)
    }

    fn bind_macro(&self, made: &Macro, args: &Called, frame: &Frame, place: &Place) -> Outcome<()> {
        let mut named: Vec<(Arc<str>, Value)> = args.named.clone();
        let mut take = |name: &str| {
            let at = named.iter().position(|it| &*it.0 == name)?;
            Some(named.remove(at).1)
        };
        if let Some(caller) = take("caller") {
            frame.set("caller".into(), caller);
        }
        for (index, (name, default)) in made.params.iter().enumerate() {
            let value = match (args.plain.get(index).cloned().or_else(|| take(name)), default) {
                (Some(value), _) => value,
                (None, Some(default)) => self.value(default, place)?,
                (None, None) => {
                    Value::missing(format!("the macro `{}` was called without `{name}`", made.name), None)
                }
            };
            frame.set(name.clone(), value);
        }
        let rest: Vec<Value> = args.plain.iter().skip(made.params.len()).cloned().collect();
        if !rest.is_empty() && !made.uses_varargs {
            let message = format!(
                "the macro `{}` takes {} arguments, not {}",
                made.name,
                made.params.len(),
                args.plain.len()
            );
            return Err(Failure::value(message));
        }
        if let Some((name, _)) = named.first().filter(|_| !made.uses_kwargs) {
            let help = did_you_mean(name, made.params.iter().map(|it| &*it.0));
            return Err(Failure::value(format!("the macro `{}` has no argument `{name}`", made.name))
                .maybe_help(help));
        }
        if made.uses_varargs {
            frame.set("varargs".into(), self.heap.tuple(rest));
        }
        if made.uses_kwargs {
            let pairs = named.into_iter().map(|(name, value)| (Key::Str(name), value)).collect();
            frame.set("kwargs".into(), self.heap.dict(pairs));
        }
        Ok(())
    }
}

impl From<Rc<Object>> for Value {
    fn from(object: Rc<Object>) -> Self {
        Self::Object(object)
    }
}
