//! Works out expressions.

use super::{
    ast::{Args, Comparison, Const, Expr, Filter, Kind},
    call::Called,
    compare,
    failure::{Failure, Outcome},
    object::Object,
    run::{Place, Run},
    value::{Key, Value},
};
use crate::say::did_you_mean;
use std::{rc::Rc, sync::Arc};

impl Run<'_> {
    /// The value of an expression, or what is wrong and where.
    pub(super) fn value(&self, expr: &Expr, place: &Place) -> Outcome<Value> {
        self.heap.spend(1)?;
        self.heap
            .deeper(|| self.value_of(expr, place))
            .map_err(|it| it.at(expr.at).within(&place.template.text))
    }

    fn value_of(&self, expr: &Expr, place: &Place) -> Outcome<Value> {
        match &expr.kind {
            Kind::Const(it) => Ok(constant(it)),
            Kind::Name(name) => Ok(self.name(name, place)),
            Kind::List(items) => Ok(self.heap.list(self.values(items, place)?)),
            Kind::Tuple(items) => Ok(self.heap.tuple(self.values(items, place)?)),
            Kind::Dict(pairs) => self.dict_of(pairs, place),
            Kind::Attribute(base, name) => {
                let base = self.value(base, place)?;
                self.attribute(&base, name, || words(expr, place))
            }
            Kind::Item(base, key) => {
                let (base, key) = (self.value(base, place)?, self.value(key, place)?);
                self.item(&base, &key, || words(expr, place))
            }
            Kind::Slice(base, parts) => self.slice_of(base, parts, place),
            Kind::Call(callee, args) => self.call_of(callee, args, place),
            Kind::Filter(value, filter) => {
                let value = self.value(value, place)?;
                self.filter_of(&value, filter, place)
            }
            Kind::Test { value, name, args, negated } => self.test_of(value, name, args, *negated, place),
            Kind::Not(inner) => Ok(Value::Bool(!self.value(inner, place)?.truthy()?)),
            Kind::And(parts) => self.first_with(parts, false, place),
            Kind::Or(parts) => self.first_with(parts, true, place),
            Kind::Concat(parts) => {
                let parts = self.values(parts, place)?;
                self.heap.concat(&parts)
            }
            Kind::Chain(first, rest) => self.chain_of(first, rest, place),
            Kind::Compare(first, rest) => self.comparison(first, rest, place),
            Kind::Sign(minus, inner) => {
                let inner = self.value(inner, place)?;
                self.heap.sign(*minus, &inner)
            }
            Kind::IfElse(both, otherwise) => {
                let [condition, value] = &**both;
                if self.value(condition, place)?.truthy()? {
                    self.value(value, place)
                } else if let Some(otherwise) = otherwise {
                    self.value(otherwise, place)
                } else {
                    Ok(Value::nothing())
                }
            }
        }
    }

    pub(super) fn values(&self, items: &[Expr], place: &Place) -> Outcome<Vec<Value>> {
        items.iter().map(|it| self.value(it, place)).collect()
    }

    /// The value of a name; one that nothing has set is missing.
    fn name(&self, name: &Arc<str>, place: &Place) -> Value {
        if let Some(value) = place.frame.get(name) {
            return value;
        }
        if let Some(value) = super::globals::value(name, self) {
            return value;
        }
        if self.lenient && place.template.assigned.contains(name) {
            return Value::Unknown;
        }
        let names = place.frame.visible();
        let known = names.iter().map(|it| &**it).chain(super::globals::names());
        let help = did_you_mean(name, known);
        let remedy = format!("where it may be absent, write {{{{ {name} | default('…') }}}}");
        let help = help.map_or(remedy.clone(), |it| format!("{it} (or: {remedy})"));
        Value::missing(format!("variable `{name}` is not set (strict mode)"), Some(help))
    }

    fn dict_of(&self, pairs: &[(Expr, Expr)], place: &Place) -> Outcome<Value> {
        let mut dict = super::value::Dict::with_capacity(pairs.len());
        for (key, value) in pairs {
            let key = self.value(key, place)?;
            dict.insert(Key::of(key.present()?, self.heap)?, self.value(value, place)?);
        }
        Ok(self.heap.dict(dict))
    }

    fn slice_of(&self, base: &Expr, parts: &[Option<Box<Expr>>; 3], place: &Place) -> Outcome<Value> {
        let base = self.value(base, place)?;
        let mut numbers = [None; 3];
        for (number, part) in numbers.iter_mut().zip(parts) {
            let Some(part) = part else { continue };
            let value = self.value(part, place)?;
            match value.present()? {
                Value::Unknown => return Ok(Value::Unknown),
                it if it.is_none() => {}
                it => {
                    let message =
                        || Failure::value(format!("a position is a whole number, not {}", it.kind()));
                    *number = Some(it.as_int().ok_or_else(message)?);
                }
            }
        }
        let result = compare::slice(&base, numbers, self.heap)?;
        Ok(if matches!(base, Value::Asked(_)) { Value::Asked(Rc::new(result)) } else { result })
    }

    /// The last value of `and`, the first of `or` that counts as wanted.
    fn first_with(&self, parts: &[Expr], wanted: bool, place: &Place) -> Outcome<Value> {
        let mut value = Value::None;
        for part in parts {
            value = self.value(part, place)?;
            if value.truthy()? == wanted {
                break;
            }
        }
        Ok(value)
    }

    fn chain_of(&self, first: &Expr, rest: &[(&'static str, Expr)], place: &Place) -> Outcome<Value> {
        let mut value = self.value(first, place)?;
        for (op, part) in rest {
            let part = self.value(part, place)?;
            value = self.heap.calculate(op, &value, &part)?;
        }
        Ok(value)
    }

    fn comparison(&self, first: &Expr, rest: &[(Comparison, Expr)], place: &Place) -> Outcome<Value> {
        let mut left = self.value(first, place)?;
        for (comparison, part) in rest {
            let right = self.value(part, place)?;
            if !self.holds(*comparison, &left, &right)? {
                return Ok(Value::Bool(false));
            }
            left = right;
        }
        Ok(Value::Bool(true))
    }

    pub(super) fn holds(&self, comparison: Comparison, left: &Value, right: &Value) -> Outcome<bool> {
        let heap = self.heap;
        let ordered = |wanted: fn(std::cmp::Ordering) -> bool| {
            let open = left.present()?.is_open() || right.present()?.is_open();
            match heap.order(left, right) {
                Ok(order) => Ok(wanted(order)),
                Err(failure) if open && !failure.is_fatal() => Ok(false),
                Err(failure) => Err(failure),
            }
        };
        match comparison {
            Comparison::Equal => heap.equal(left, right),
            Comparison::NotEqual => Ok(!heap.equal(left, right)?),
            Comparison::Less => ordered(std::cmp::Ordering::is_lt),
            Comparison::LessEqual => ordered(std::cmp::Ordering::is_le),
            Comparison::Greater => ordered(std::cmp::Ordering::is_gt),
            Comparison::GreaterEqual => ordered(std::cmp::Ordering::is_ge),
            Comparison::In => self.is_in(left, right),
            Comparison::NotIn => Ok(!self.is_in(left, right)?),
        }
    }

    fn is_in(&self, part: &Value, whole: &Value) -> Outcome<bool> {
        match self.heap.contains(whole, part) {
            Err(failure) if whole.is_open() && !failure.is_fatal() => Ok(false),
            other => other,
        }
    }

    /// `base.name`: a method before a key.
    pub(super) fn attribute(
        &self,
        base: &Value,
        name: &Arc<str>,
        words: impl Fn() -> String,
    ) -> Outcome<Value> {
        match base.present()? {
            Value::Unknown => return Ok(Value::Unknown),
            Value::Asked(it) => {
                let found = self.attribute(it, name, words)?;
                return Ok(asked(found));
            }
            Value::Object(object) => return self.member(object, name, &words),
            _ => {}
        }
        if super::methods::is_method(base, name) {
            return Ok(self.heap.object(Object::Method(base.clone().into(), name.clone())));
        }
        if let Value::Dict(dict) = base
            && let Some(value) = dict.borrow().get(&Key::Str(name.clone()))
        {
            return Ok(value.clone());
        }
        Ok(Self::lacks(base, name, &words()))
    }

    /// `base[key]`: a key before a method.
    pub(super) fn item(&self, base: &Value, key: &Value, words: impl Fn() -> String) -> Outcome<Value> {
        key.present()?;
        match base.present()? {
            Value::Unknown => return Ok(Value::Unknown),
            Value::Asked(it) => {
                let found = self.item(it, key, words).unwrap_or_else(|_| Value::str(""));
                return Ok(asked(found));
            }
            Value::Dict(dict) => {
                if let Some(value) = dict.borrow().get(&Key::of(key, self.heap)?) {
                    return Ok(value.clone());
                }
            }
            Value::List(list) => {
                if let Some(index) = key.as_int() {
                    let items = list.items.borrow();
                    let found = compare::position(index, items.len()).and_then(|it| items.get(it).cloned());
                    let message =
                        || format!("`{}` is not set: the list has {} elements", words(), items.len());
                    return Ok(found.unwrap_or_else(|| Value::missing(message(), None)));
                }
            }
            Value::Str(text) => {
                if let Some(index) = key.as_int() {
                    let found =
                        compare::position(index, text.chars().count()).and_then(|it| text.chars().nth(it));
                    let message = || format!("`{}` is not set: the text is shorter", words());
                    return Ok(found.map_or_else(
                        || Value::missing(message(), None),
                        |it| Value::str(it.encode_utf8(&mut [0; 4])),
                    ));
                }
            }
            Value::Object(object) => {
                return match key.as_str() {
                    Some(name) => self.member(object, &name.into(), &words),
                    None => Ok(Value::missing(format!("`{}` is not set", words()), None)),
                };
            }
            _ => {}
        }
        match key.plain() {
            Value::Str(name) => {
                if super::methods::is_method(base, name) {
                    return Ok(self.heap.object(Object::Method(base.clone().into(), name.clone())));
                }
                Ok(Self::lacks(base, name, &words()))
            }
            Value::Unknown => Ok(Value::Unknown),
            _ => Ok(Value::missing(format!("`{}` is not set", words()), None)),
        }
    }

    fn lacks(base: &Value, name: &str, words: &str) -> Value {
        let message = match base {
            Value::Dict(_) => format!("variable `{words}` is not set (strict mode)"),
            other => format!("variable `{words}` is not set (strict mode): {} has no `{name}`", other.kind()),
        };
        let remedy = if words.starts_with("pillar") {
            "set it in pillar/, or write pillar.get('…', default)".to_owned()
        } else {
            format!("where it may be absent, write {{{{ {words} | default('…') }}}}")
        };
        let near = match base {
            Value::Dict(dict) => {
                let dict = dict.borrow();
                let keys = dict.keys().filter_map(|it| match it {
                    Key::Str(it) => Some(&**it),
                    _ => None,
                });
                did_you_mean(name, keys)
            }
            other => did_you_mean(name, super::methods::names(other)),
        };
        Value::missing(message, Some(near.map_or(remedy.clone(), |it| format!("{it} (or: {remedy})"))))
    }

    pub(super) fn args(&self, args: &Args, place: &Place) -> Outcome<Called> {
        let mut called = Called { plain: self.values(&args.plain, place)?, named: Vec::new() };
        for (name, value) in &args.named {
            called.named.push((name.clone(), self.value(value, place)?));
        }
        if let Some(star) = &args.star {
            called.plain.extend(self.value(star, place)?.items(self.heap)?);
        }
        if let Some(stars) = &args.stars {
            let value = self.value(stars, place)?;
            match value.present()?.plain() {
                Value::Dict(dict) => {
                    for (key, value) in dict.borrow().iter() {
                        called.named.push((key.text(self.heap).into(), value.clone()));
                    }
                }
                Value::Unknown => {}
                other => return Err(Failure::value(format!("`**` takes a mapping, not {}", other.kind()))),
            }
        }
        Ok(called)
    }

    fn call_of(&self, callee: &Expr, args: &Args, place: &Place) -> Outcome<Value> {
        if let Kind::Attribute(base, name) = &callee.kind {
            let base = self.value(base, place)?;
            if !matches!(base.present()?, Value::Object(_)) && super::methods::is_method(base.plain(), name) {
                let args = self.args(args, place)?;
                return self.method(&base, name, &args);
            }
            if let Value::Unknown = base {
                return Ok(unknown_call(name, &self.args(args, place)?));
            }
            let callee = self.attribute(&base, name, || words(callee, place))?;
            let args = self.args(args, place)?;
            return self.call(&callee, &args, place);
        }
        let callee = self.value(callee, place)?;
        let args = self.args(args, place)?;
        self.call(&callee, &args, place)
    }

    pub(super) fn filter_of(&self, value: &Value, filter: &Filter, place: &Place) -> Outcome<Value> {
        let args = self.args(&filter.args, place)?;
        let result = self.filter(&filter.name, value, &args, place);
        result.map_err(|it| it.at(filter.at).within(&place.template.text))
    }

    fn test_of(&self, value: &Expr, name: &str, args: &Args, negated: bool, place: &Place) -> Outcome<Value> {
        let value = self.value(value, place)?;
        let args = self.args(args, place)?;
        Ok(Value::Bool(self.test(name, &value, &args)? != negated))
    }
}

/// What calling a method of something unknown gives: a default, if one is named.
pub(super) fn unknown_call(name: &str, args: &Called) -> Value {
    match (name, &args.plain[..]) {
        ("get", [_, default]) => default.clone(),
        ("get", [_]) if !args.named.is_empty() => args.named[0].1.clone(),
        _ => Value::Unknown,
    }
}

fn asked(value: Value) -> Value {
    match value {
        Value::Missing(_) => Value::Asked(Rc::new(Value::str(""))),
        other => Value::Asked(Rc::new(other)),
    }
}

fn constant(it: &Const) -> Value {
    match it {
        Const::None => Value::None,
        Const::Bool(it) => Value::Bool(*it),
        Const::Int(it) => Value::Int(*it),
        Const::Float(it) => Value::Float(*it),
        Const::Text(it) => Value::Str(it.clone()),
    }
}

/// What stands in the file.
fn words(expr: &Expr, place: &Place) -> String {
    let start = expr.at.byte as usize;
    let text = place.template.source().get(start..start + expr.at.length as usize).unwrap_or("");
    crate::say::shortened(text.trim_end())
}
