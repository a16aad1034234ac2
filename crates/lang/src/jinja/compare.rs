//! How values compare and calculate, as Python has it.

use super::{
    failure::{Failure, Outcome},
    heap::Heap,
    object::Object,
    text,
    value::{self, Key, Value},
};
use std::{cmp::Ordering, rc::Rc};

impl Heap {
    /// `==`
    pub(super) fn equal(&self, left: &Value, right: &Value) -> Outcome<bool> {
        self.spend(1)?;
        Ok(match (left.present()?.plain(), right.present()?.plain()) {
            (Value::None, Value::None) => true,
            (Value::Str(a), Value::Str(b)) => a == b,
            (Value::List(a), Value::List(b)) => {
                if Rc::ptr_eq(a, b) {
                    return Ok(true);
                }
                let (a, b, same_kind) = (a.items.borrow(), b.items.borrow(), a.tuple == b.tuple);
                if !same_kind || a.len() != b.len() {
                    return Ok(false);
                }
                self.deeper(|| {
                    for (a, b) in a.iter().zip(b.iter()) {
                        if !self.equal(a, b)? {
                            return Ok(false);
                        }
                    }
                    Ok(true)
                })?
            }
            (Value::Dict(a), Value::Dict(b)) => {
                if Rc::ptr_eq(a, b) {
                    return Ok(true);
                }
                let (a, b) = (a.borrow(), b.borrow());
                if a.len() != b.len() {
                    return Ok(false);
                }
                self.deeper(|| {
                    for (key, value) in a.iter() {
                        let Some(other) = b.get(key) else { return Ok(false) };
                        if !self.equal(value, other)? {
                            return Ok(false);
                        }
                    }
                    Ok(true)
                })?
            }
            (Value::Object(a), Value::Object(b)) => Rc::ptr_eq(a, b),
            (a, b) => match (a.as_int(), b.as_int()) {
                (Some(a), Some(b)) => a == b,
                _ => {
                    matches!((a.as_float(), b.as_float()), (Some(a), Some(b)) if a.partial_cmp(&b) == Some(Ordering::Equal))
                }
            },
        })
    }

    /// `<`; only numbers with numbers, text with text, lists with lists.
    pub(super) fn order(&self, left: &Value, right: &Value) -> Outcome<Ordering> {
        self.spend(1)?;
        let (left, right) = (left.present()?.plain(), right.present()?.plain());
        match (left, right) {
            (Value::Str(a), Value::Str(b)) => return Ok(a.cmp(b)),
            (Value::List(a), Value::List(b)) if a.tuple == b.tuple => {
                let (a, b) = (a.items.borrow(), b.items.borrow());
                return self.deeper(|| {
                    for (a, b) in a.iter().zip(b.iter()) {
                        if !self.equal(a, b)? {
                            return self.order(a, b);
                        }
                    }
                    Ok(a.len().cmp(&b.len()))
                });
            }
            _ => {}
        }
        if let (Some(a), Some(b)) = (left.as_int(), right.as_int()) {
            return Ok(a.cmp(&b));
        }
        if let (Some(a), Some(b)) = (left.as_float(), right.as_float()) {
            return Ok(a.partial_cmp(&b).unwrap_or(Ordering::Equal));
        }
        let message = format!("{} and {} cannot be compared by size", left.kind(), right.kind());
        Err(Failure::value(message).help("make both numbers with `| int`, or both text with `| string`"))
    }

    /// `part in whole`
    pub(super) fn contains(&self, whole: &Value, part: &Value) -> Outcome<bool> {
        part.present()?;
        match whole.present()?.plain() {
            Value::Str(text) => match part.plain() {
                Value::Str(part) => {
                    self.spend(text.len() / 64)?;
                    Ok(text.contains(&**part))
                }
                Value::Unknown => Ok(false),
                other => Err(Failure::value(format!("{} cannot be in a text", other.kind()))),
            },
            Value::List(list) => {
                for item in list.items.borrow().iter() {
                    if self.equal(item, part)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Value::Dict(dict) => Ok(dict.borrow().contains_key(&Key::of(part, self)?)),
            Value::Unknown => Ok(false),
            Value::Object(object) => match &**object {
                Object::Namespace(names) => {
                    Ok(part.as_str().is_some_and(|it| names.borrow().contains_key(it)))
                }
                Object::Salt => Ok(part.as_str().is_some_and(super::salt::is_known)),
                _ => Err(Failure::value(format!("nothing can be in {}", whole.kind()))),
            },
            other => Err(Failure::value(format!("nothing can be in {}", other.kind()))
                .help("say `| default([])` where it may be absent")),
        }
    }

    /// A copy of a list or mapping and of all that it holds.
    pub(super) fn deep_copy(&self, value: &Value) -> Outcome<Value> {
        self.deeper(|| {
            self.spend(1)?;
            Ok(match value {
                Value::List(list) => {
                    let items =
                        list.items.borrow().iter().map(|it| self.deep_copy(it)).collect::<Outcome<_>>()?;
                    self.sequence(items, list.tuple)
                }
                Value::Dict(dict) => {
                    let mut pairs = super::value::Dict::new();
                    for (key, it) in dict.borrow().iter() {
                        pairs.insert(key.clone(), self.deep_copy(it)?);
                    }
                    self.dict(pairs)
                }
                other => other.clone(),
            })
        })
    }

    /// `left op right` of a sum or product.
    pub(super) fn calculate(&self, op: &str, left: &Value, right: &Value) -> Outcome<Value> {
        self.spend(1)?;
        let (left, right) = (left.present()?, right.present()?);
        let asked = matches!(left, Value::Asked(_)) || matches!(right, Value::Asked(_));
        if matches!(left, Value::Unknown) || matches!(right, Value::Unknown) {
            return Ok(Value::Unknown);
        }
        let result = self.calculate_plain(op, left.plain(), right.plain());
        match result {
            Err(failure) if asked && !failure.is_fatal() => Ok(Value::Asked(Rc::new(Value::str("")))),
            Ok(value) if asked => Ok(Value::Asked(Rc::new(value))),
            other => other,
        }
    }

    fn calculate_plain(&self, op: &str, left: &Value, right: &Value) -> Outcome<Value> {
        match (op, left, right) {
            ("+", Value::Str(a), Value::Str(b)) => {
                self.room(a.len() + b.len())?;
                return Ok(Value::Str(format!("{a}{b}").into()));
            }
            ("+", Value::List(a), Value::List(b)) if a.tuple == b.tuple => {
                let items: Vec<Value> =
                    a.items.borrow().iter().chain(b.items.borrow().iter()).cloned().collect();
                self.spend(items.len())?;
                return Ok(self.sequence(items, a.tuple));
            }
            ("%", Value::Str(format), args) => {
                let text = super::format::percent(format, args, self)?;
                return self.text(text);
            }
            ("*", Value::Str(_) | Value::List(_), count) => return self.repeat(left, count),
            ("*", count, Value::Str(_) | Value::List(_)) => return self.repeat(right, count),
            _ => {}
        }
        if let (Some(a), Some(b)) = (left.as_int(), right.as_int())
            && let Some(result) = whole(op, a, b)?
        {
            return Ok(Value::Int(result));
        }
        let (Some(a), Some(b)) = (left.as_float(), right.as_float()) else {
            let message = format!("`{op}` does not go between {} and {}", left.kind(), right.kind());
            let text = matches!(left, Value::Str(_)) || matches!(right, Value::Str(_));
            let help = (op == "+" && text).then(|| "`~` joins values of any kind as text".to_owned());
            return Err(Failure::value(message).maybe_help(help));
        };
        floating(op, a, b).map(Value::Float)
    }

    fn repeat(&self, what: &Value, count: &Value) -> Outcome<Value> {
        let Some(count) = count.as_int() else {
            return Err(Failure::value(format!("`*` takes a whole number here, not {}", count.kind())));
        };
        let count = usize::try_from(count.max(0)).unwrap_or(usize::MAX);
        match what {
            Value::List(list) => {
                let items = list.items.borrow();
                self.spend(items.len().saturating_mul(count))?;
                Ok(self
                    .sequence(items.iter().cloned().cycle().take(items.len() * count).collect(), list.tuple))
            }
            other => {
                let text = other.as_str().unwrap_or("");
                self.room(text.len().saturating_mul(count))?;
                Ok(Value::Str(text.repeat(count).into()))
            }
        }
    }

    /// `a ~ b ~ c`
    pub(super) fn concat(&self, parts: &[Value]) -> Outcome<Value> {
        let mut out = String::new();
        for part in parts {
            text::write_str(part.present()?, self, &mut out)?;
        }
        self.text(out)
    }

    /// `-a`, `+a`
    pub(super) fn sign(&self, minus: bool, value: &Value) -> Outcome<Value> {
        self.spend(1)?;
        match value.present()? {
            Value::Unknown => Ok(Value::Unknown),
            other => match other.plain() {
                Value::Float(it) => Ok(Value::Float(if minus { -it } else { *it })),
                plain => {
                    let Some(it) = plain.as_int() else {
                        return Err(Failure::value(format!("{} has no sign", plain.kind())));
                    };
                    let it = if minus { it.checked_neg() } else { Some(it) };
                    it.map(Value::Int).ok_or_else(too_large)
                }
            },
        }
    }
}

fn too_large() -> Failure {
    Failure::value("this number is too large")
}

fn by_zero() -> Failure {
    Failure::value("this divides by zero")
}

/// Whole numbers; none where the result is no whole one.
fn whole(op: &str, a: i64, b: i64) -> Outcome<Option<i64>> {
    let result = match op {
        "+" => a.checked_add(b),
        "-" => a.checked_sub(b),
        "*" => a.checked_mul(b),
        "//" | "%" if b == 0 => return Err(by_zero()),
        "//" => a.checked_div_euclid(b).map(|it| if b < 0 && a.rem_euclid(b) != 0 { it - 1 } else { it }),
        "%" => {
            let rest = a.checked_rem_euclid(b);
            rest.map(|it| if b < 0 && it != 0 { it + b } else { it })
        }
        "**" if b >= 0 => u32::try_from(b).ok().and_then(|b| a.checked_pow(b)),
        _ => return Ok(None),
    };
    result.map(Some).ok_or_else(too_large)
}

fn floating(op: &str, a: f64, b: f64) -> Outcome<f64> {
    if matches!(op, "/" | "//" | "%") && b == 0.0 {
        return Err(by_zero());
    }
    let result = match op {
        "+" => a + b,
        "-" => a - b,
        "*" => a * b,
        "/" => a / b,
        "//" => (a / b).floor(),
        "%" => a - b * (a / b).floor(),
        "**" => a.powf(b),
        _ => return Err(Failure::value(format!("`{op}` is no calculation"))),
    };
    if result.is_finite() { Ok(result) } else { Err(too_large()) }
}

/// The part of a text or list between two positions, in steps.
pub(super) fn slice(value: &Value, parts: [Option<i64>; 3], heap: &Heap) -> Outcome<Value> {
    let step = parts[2].unwrap_or(1);
    if step == 0 {
        return Err(Failure::value("a slice needs a step"));
    }
    let pick = |length: usize| -> Vec<usize> {
        let length = i64::try_from(length).unwrap_or(i64::MAX);
        let (low, high) = if step > 0 { (0, length) } else { (-1, length - 1) };
        let bound = |it: Option<i64>, default: i64| {
            it.map_or(default, |it| if it < 0 { it.saturating_add(length).max(low) } else { it.min(high) })
        };
        let (mut at, end) = if step > 0 {
            (bound(parts[0], low), bound(parts[1], high))
        } else {
            (bound(parts[0], high), bound(parts[1], low))
        };
        let mut picked = Vec::new();
        while if step > 0 { at < end } else { at > end } {
            picked.extend(usize::try_from(at));
            let Some(next) = at.checked_add(step) else { break };
            at = next;
        }
        picked
    };
    match value.present()?.plain() {
        Value::Str(text) => {
            let chars: Vec<char> = text.chars().collect();
            heap.spend(chars.len() / 64)?;
            let picked = pick(chars.len()).into_iter().filter_map(|it| chars.get(it));
            heap.text(picked.collect())
        }
        Value::List(list) => {
            let items = list.items.borrow();
            heap.spend(items.len())?;
            let picked = pick(items.len()).into_iter().filter_map(|it| items.get(it).cloned());
            Ok(heap.sequence(picked.collect(), list.tuple))
        }
        Value::Unknown => Ok(Value::Unknown),
        other => Err(Failure::value(format!("{} has no parts", other.kind()))),
    }
}

/// The number of a position that may count from the end.
pub(super) fn position(index: i64, length: usize) -> Option<usize> {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let index = if index < 0 { index.checked_add(length)? } else { index };
    usize::try_from(index).ok().filter(|_| index < length)
}

/// Whether a text may stand for a whole number: `float('1.0')` and such stay floats.
pub(super) fn number(text: &str) -> Option<Value> {
    let text = text.trim().replace('_', "");
    if let Ok(it) = text.parse::<i64>() {
        return Some(Value::Int(it));
    }
    let is_number = text.bytes().all(|it| it.is_ascii_digit() || b"+-.eE".contains(&it));
    let parsed = text.parse::<f64>().ok().filter(|it| is_number && it.is_finite());
    parsed.map(|it| {
        value::whole(it).filter(|_| !text.contains(['.', 'e', 'E'])).map_or(Value::Float(it), Value::Int)
    })
}
