//! Values as Python has them: lists and mappings are shared and can be altered. What nobody can know without a minion is
//! a value of its own.

use super::{
    failure::{Failure, Outcome},
    heap::Heap,
    object::Object,
};
use indexmap::IndexMap;
use serde_json::{Map, Number, Value as Json};
use std::{
    cell::RefCell,
    hash::{Hash, Hasher},
    rc::Rc,
    sync::Arc,
};

/// A value.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// A name that nothing has: every use but `is defined` and `default` is an error.
    Missing(Rc<Missing>),
    /// Not known, because there is no minion to ask or because what gave it was wrong and has been told.
    Unknown,
    /// Asked of the minion and not answered yet: counts as what it holds, and so does all that is made of it.
    Asked(Rc<Value>),
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(Arc<str>),
    List(Rc<List>),
    Dict(Rc<RefCell<Dict>>),
    Object(Rc<Object>),
}

/// Why something is missing.
#[derive(Debug)]
pub(super) struct Missing {
    pub(super) message: String,
    pub(super) help: Option<String>,
    /// It prints as nothing: what an `if` without `else` leaves.
    pub(super) silent: bool,
}

/// A list or a tuple.
#[derive(Debug)]
pub(super) struct List {
    pub(super) tuple: bool,
    pub(super) items: RefCell<Vec<Value>>,
}

/// A mapping, in the order in which its keys came.
pub(super) type Dict = IndexMap<Key, Value>;

/// What can be a key.
#[derive(Clone, Debug)]
pub(super) enum Key {
    None,
    Bool(bool),
    Int(i64),
    /// Bits of a number that is no whole one.
    Float(u64),
    Str(Arc<str>),
    Tuple(Arc<[Key]>),
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::None, Self::None) => true,
            (Self::Str(a), Self::Str(b)) => a == b,
            (Self::Float(a), Self::Float(b)) => a == b,
            (Self::Tuple(a), Self::Tuple(b)) => a == b,
            _ => self.whole().is_some() && self.whole() == other.whole(),
        }
    }
}
impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::None => state.write_u8(0),
            Self::Bool(_) | Self::Int(_) => self.whole().hash(state),
            Self::Float(it) => it.hash(state),
            Self::Str(it) => it.hash(state),
            Self::Tuple(it) => it.hash(state),
        }
    }
}

impl Key {
    /// `True` is `1`.
    fn whole(&self) -> Option<i64> {
        match self {
            Self::Bool(it) => Some(i64::from(*it)),
            Self::Int(it) => Some(*it),
            _ => None,
        }
    }
    pub(super) fn of_str(text: &str) -> Self {
        Self::Str(text.into())
    }
    /// The key that a value is; lists and mappings are none.
    pub(super) fn of(value: &Value, heap: &Heap) -> Outcome<Self> {
        heap.deeper(|| {
            Ok(match value {
                Value::None => Self::None,
                Value::Bool(it) => Self::Bool(*it),
                Value::Int(it) => Self::Int(*it),
                Value::Float(it) => match whole(*it) {
                    Some(whole) => Self::Int(whole),
                    None => Self::Float(it.to_bits()),
                },
                Value::Str(it) => Self::Str(it.clone()),
                Value::List(list) if list.tuple => {
                    heap.spend(list.items.borrow().len())?;
                    Self::Tuple(
                        list.items.borrow().iter().map(|it| Self::of(it, heap)).collect::<Outcome<_>>()?,
                    )
                }
                Value::Asked(it) => return Self::of(it, heap),
                Value::Unknown => Self::of_str(&crate::scan::UNKNOWN.to_string()),
                other => {
                    return Err(Failure::value(format!("{} cannot be a key of a mapping", other.kind())));
                }
            })
        })
    }
    pub(super) fn value(&self, heap: &Heap) -> Value {
        match self {
            Self::None => Value::None,
            Self::Bool(it) => Value::Bool(*it),
            Self::Int(it) => Value::Int(*it),
            Self::Float(it) => Value::Float(f64::from_bits(*it)),
            Self::Str(it) => Value::Str(it.clone()),
            Self::Tuple(it) => heap.tuple(it.iter().map(|it| it.value(heap)).collect()),
        }
    }
    /// As text, as JSON and Salt's `str()` have it.
    pub(super) fn text(&self, heap: &Heap) -> String {
        match self {
            Self::Str(it) => it.to_string(),
            other => super::text::str_of(&other.value(heap), heap).unwrap_or_default(),
        }
    }
}

/// The whole number that a float is, if it is one.
#[expect(clippy::cast_possible_truncation, reason = "it is checked that nothing is lost")]
pub(super) fn whole(number: f64) -> Option<i64> {
    let fits = number.fract() == 0.0 && number.abs() < 9.0e15;
    fits.then_some(number as i64)
}

/// A whole number as a float.
#[expect(clippy::cast_precision_loss, reason = "Python loses the same digits")]
pub(super) fn float(number: i64) -> f64 {
    number as f64
}

impl Value {
    pub(super) fn str(text: &str) -> Self {
        Self::Str(text.into())
    }
    pub(super) fn int(number: usize) -> Self {
        Self::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }
    pub(super) fn object(object: Object) -> Self {
        Self::Object(Rc::new(object))
    }
    pub(super) fn missing(message: impl Into<String>, help: Option<String>) -> Self {
        Self::Missing(Rc::new(Missing { message: message.into(), help, silent: false }))
    }
    /// Nothing, which prints as nothing.
    pub(super) fn nothing() -> Self {
        Self::Missing(Rc::new(Missing { message: String::new(), help: None, silent: true }))
    }
    /// An error if it is missing.
    pub(super) fn present(&self) -> Outcome<&Self> {
        match self {
            Self::Missing(why) if !why.silent => {
                Err(Failure::new("E0201", why.message.clone()).maybe_help(why.help.clone()))
            }
            other => Ok(other),
        }
    }
    /// What it counts as: unanswered questions count as their stand-in.
    pub(super) fn plain(&self) -> &Self {
        match self {
            Self::Asked(it) => it.plain(),
            other => other,
        }
    }
    /// Whether it, or what it is made of, is not known.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Unknown | Self::Asked(_))
    }
    /// For messages: `a list`.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Missing(_) => "a variable that is not set",
            Self::Unknown => "an unknown value",
            Self::Asked(it) => it.kind(),
            Self::None => "None",
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "a whole number",
            Self::Float(_) => "a number",
            Self::Str(_) => "text",
            Self::List(list) if list.tuple => "a tuple",
            Self::List(_) => "a list",
            Self::Dict(_) => "a mapping",
            Self::Object(object) => object.kind(),
        }
    }
    /// What counts as yes.
    pub(super) fn truthy(&self) -> Outcome<bool> {
        Ok(match self.present()? {
            Self::Missing(_) | Self::Unknown | Self::None => false,
            Self::Asked(it) => it.truthy()?,
            Self::Bool(it) => *it,
            Self::Int(it) => *it != 0,
            Self::Float(it) => *it != 0.0,
            Self::Str(it) => !it.is_empty(),
            Self::List(it) => !it.items.borrow().is_empty(),
            Self::Dict(it) => !it.borrow().is_empty(),
            Self::Object(_) => true,
        })
    }
    /// Its text, if it is one.
    pub(super) fn as_str(&self) -> Option<&str> {
        match self.plain() {
            Self::Str(it) => Some(it),
            _ => None,
        }
    }
    /// Its whole number; `True` is 1.
    pub(super) fn as_int(&self) -> Option<i64> {
        match self.plain() {
            Self::Int(it) => Some(*it),
            Self::Bool(it) => Some(i64::from(*it)),
            _ => None,
        }
    }
    pub(super) fn as_float(&self) -> Option<f64> {
        match self.plain() {
            Self::Float(it) => Some(*it),
            other => other.as_int().map(float),
        }
    }
    pub(super) fn is_none(&self) -> bool {
        matches!(self.plain(), Self::None)
    }
    /// The elements of a list, the keys of a mapping, the characters of a text.
    pub(super) fn items(&self, heap: &Heap) -> Outcome<Vec<Self>> {
        let items: Vec<Self> = match self.present()? {
            Self::Unknown => Vec::new(),
            Self::Asked(it) => {
                let items = it.items(heap).unwrap_or_default();
                items.into_iter().map(|it| Self::Asked(Rc::new(it))).collect()
            }
            Self::List(list) => list.items.borrow().clone(),
            Self::Dict(dict) => dict.borrow().keys().map(|it| it.value(heap)).collect(),
            Self::Str(text) => text.chars().map(|it| Self::str(it.encode_utf8(&mut [0; 4]))).collect(),
            Self::Object(object) => match &**object {
                Object::Namespace(names) => names.borrow().keys().map(|it| Self::Str(it.clone())).collect(),
                _ => return Err(Failure::value(format!("{} cannot be gone through", self.kind()))),
            },
            other => return Err(Failure::value(format!("{} cannot be gone through", other.kind()))),
        };
        heap.spend(items.len())?;
        Ok(items)
    }
}

/// A value of JSON.
pub(super) fn of_json(json: &Json, heap: &Heap) -> Value {
    match json {
        Json::Null => Value::None,
        Json::Bool(it) => Value::Bool(*it),
        Json::Number(it) => match it.as_i64() {
            Some(it) => Value::Int(it),
            None => Value::Float(it.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(it) => Value::str(it),
        Json::Array(list) => heap.list(list.iter().map(|it| of_json(it, heap)).collect()),
        Json::Object(map) => {
            heap.dict(map.iter().map(|(key, it)| (Key::of_str(key), of_json(it, heap))).collect())
        }
    }
}

/// As JSON: for questions, contexts and the pillar. Objects have none.
pub(super) fn to_json(value: &Value, heap: &Heap) -> Outcome<Json> {
    heap.deeper(|| {
        heap.spend(1)?;
        Ok(match value.present()? {
            Value::Missing(_) | Value::None => Json::Null,
            Value::Unknown => Json::String(crate::scan::UNKNOWN.to_string()),
            Value::Asked(it) => to_json(it, heap)?,
            Value::Bool(it) => Json::Bool(*it),
            Value::Int(it) => Json::from(*it),
            Value::Float(it) => Number::from_f64(*it).map_or(Json::Null, Json::Number),
            Value::Str(it) => Json::String(it.to_string()),
            Value::List(list) => {
                Json::Array(list.items.borrow().iter().map(|it| to_json(it, heap)).collect::<Outcome<_>>()?)
            }
            Value::Dict(dict) => {
                let mut map = Map::new();
                for (key, value) in dict.borrow().iter() {
                    map.insert(key.text(heap), to_json(value, heap)?);
                }
                Json::Object(map)
            }
            Value::Object(object) => {
                return Err(Failure::value(format!("{} cannot be written as data", object.kind())));
            }
        })
    })
}
