//! Conditions of rules: a small language in which every expression has an answer, and which can say why.

mod grammar;
mod moment;

pub use moment::Moment;

use crate::{
    compare::{self, text_of, truthy},
    expression::{Operand, Operator, Parsed},
    rules::Context,
    say::shortened,
    target::Target,
};
use model::{Clause, Presence};
use moment::Window;
use serde_json::Value;
use std::{borrow::Cow, sync::Arc};

/// A parsed condition.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    text: Arc<str>,
    root: Part,
}

/// A part of a condition and the bytes it is written in.
#[derive(Clone, Debug)]
struct Part {
    what: What,
    byte: usize,
    length: usize,
}

#[derive(Clone, Debug)]
enum What {
    All(Vec<Part>),
    Any(Vec<Part>),
    Not(Box<Part>),
    Test(Test),
}

#[derive(Clone, Debug)]
enum Test {
    /// Whether something is there and not false, zero or empty.
    Is(Term),
    /// Whether it is there at all, or is not.
    There(Term, bool),
    Compare(Term, Operator, Right),
    /// The time of day.
    Within(Vec<Window>),
}

/// What stands on one side of a comparison.
#[derive(Clone, Debug)]
pub(crate) enum Term {
    Literal(Value),
    Path(Path),
    Sum(Box<Term>, Sign, Box<Term>),
    /// How many members match.
    Count(Box<Target>),
}

/// A value by its name.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    root: Root,
    /// All after the root, as written: a key may have dots.
    rest: String,
    keys: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Root {
    Event,
    Grains,
    Labels,
    Telemetry,
    Minion,
    Tag,
    Source,
    Presence,
    Online,
    Maintenance,
    Time,
    Weekday,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Sign {
    Plus,
    Minus,
    Times,
    Over,
}

#[derive(Clone, Debug)]
enum Right {
    Term(Term),
    Fixed(Operand, String),
}

impl Condition {
    pub(crate) fn parse(text: &str, file: &str) -> Parsed<Self> {
        Self::parse_over(text, file, &grammar::EVENT_ROOTS)
    }
    /// The same over other names.
    pub(crate) fn parse_over(text: &str, file: &str, roots: &[&str]) -> Parsed<Self> {
        Ok(Self { text: text.into(), root: grammar::parse(text, file, roots)? })
    }
    /// Whether it holds, with the parts that decide and their values.
    pub(crate) fn judge(&self, context: &Context<'_>) -> Clause {
        self.root.judge(context, &self.text)
    }
    /// Whether it looks at the event: its data, tag or source.
    pub(crate) fn is_about_the_event(&self) -> bool {
        self.root.is_about_the_event()
    }
}

/// What decided, in one line.
pub(crate) fn why(clause: &Clause) -> String {
    let told = |it: &&Clause| it.held.is_some();
    match &clause.parts[..] {
        [] => format!("{}: {} is {}", clause.text, clause.seen, clause.held.unwrap_or_default()),
        [one] => format!("not ({})", why(one)),
        several => {
            let is_all = clause.seen == ALL;
            let decided = several.iter().filter(told).find(|it| it.held != Some(is_all));
            match decided {
                Some(one) => why(one),
                None => several.iter().filter(told).map(why).collect::<Vec<_>>().join("; "),
            }
        }
    }
}

/// What a part says that holds when all of its sides do, and when one does.
const ALL: &str = "all of these";
const ANY: &str = "one of these";

impl Part {
    fn judge(&self, context: &Context<'_>, text: &str) -> Clause {
        let mut clause = self.unasked(text);
        let held = match &self.what {
            What::All(parts) => several(parts, context, text, &mut clause, false),
            What::Any(parts) => several(parts, context, text, &mut clause, true),
            What::Not(part) => {
                let inner = part.judge(context, text);
                let held = inner.held != Some(true);
                clause.parts.push(inner);
                held
            }
            What::Test(asked) => {
                let (held, seen) = asked.judge(context);
                clause.seen = seen;
                held
            }
        };
        clause.held = Some(held);
        clause
    }
    fn unasked(&self, text: &str) -> Clause {
        let text = text[self.byte..self.byte + self.length].trim().to_owned();
        Clause { text, ..Clause::default() }
    }
    fn is_about_the_event(&self) -> bool {
        match &self.what {
            What::All(parts) | What::Any(parts) => parts.iter().any(Self::is_about_the_event),
            What::Not(part) => part.is_about_the_event(),
            What::Test(Test::Is(term) | Test::There(term, _)) => term.is_about_the_event(),
            What::Test(Test::Compare(left, _, right)) => {
                let right = matches!(right, Right::Term(term) if term.is_about_the_event());
                right || left.is_about_the_event()
            }
            What::Test(Test::Within(_)) => false,
        }
    }
}

/// All until one is false, or any until one is true.
fn several(parts: &[Part], context: &Context<'_>, text: &str, clause: &mut Clause, wanted: bool) -> bool {
    if wanted { ANY } else { ALL }.clone_into(&mut clause.seen);
    let mut decided = false;
    for part in parts {
        let inner = if decided { part.unasked(text) } else { part.judge(context, text) };
        decided |= inner.held == Some(wanted);
        clause.parts.push(inner);
    }
    decided == wanted
}

impl Test {
    fn judge(&self, context: &Context<'_>) -> (bool, String) {
        match self {
            Self::Is(term) => {
                let value = term.value(context);
                (value.as_deref().is_some_and(truthy), shown(value.as_deref()))
            }
            Self::There(term, wanted) => {
                let value = term.value(context);
                let there = value.as_deref().is_some_and(|it| !it.is_null());
                (there == *wanted, shown(value.as_deref()))
            }
            Self::Compare(left, operator, right) => {
                let value = left.value(context);
                let value = value.as_deref();
                let (holds, other) = match right {
                    Right::Fixed(operand, shown) => (operand.holds(*operator, value), shown.clone()),
                    Right::Term(term) => {
                        let right = term.value(context);
                        (compare(*operator, (left, value), (term, right.as_deref())), shown(right.as_deref()))
                    }
                };
                (holds, format!("{} {} {other}", shown(value), operator.sign()))
            }
            Self::Within(windows) => {
                let minute = context.moment.minute_of_day();
                let holds = windows.iter().any(|it| it.contains(minute));
                (holds, format!("{:02}:{:02}", minute / 60, minute % 60))
            }
        }
    }
}

type Side<'a> = (&'a Term, Option<&'a Value>);

fn compare(operator: Operator, (left_term, left): Side<'_>, (right_term, right): Side<'_>) -> bool {
    match (operator, right) {
        (Operator::NotEqual, None) => left.is_some_and(|it| !it.is_null()),
        (_, None) => false,
        (Operator::In, Some(Value::Array(list))) => {
            let one = |value: &Value| list.iter().any(|it| compare::same(value, it));
            match left {
                None | Some(Value::Null) => false,
                Some(Value::Array(several)) => several.iter().any(one),
                Some(value) => one(value),
            }
        }
        (Operator::In, Some(Value::String(whole))) => {
            left.and_then(text_of).is_some_and(|it| whole.contains(it.as_str()))
        }
        (Operator::In, Some(Value::Object(map))) => {
            left.and_then(text_of).is_some_and(|it| map.contains_key(it.as_str()))
        }
        (Operator::NotEqual, Some(right)) => !any_of(left, |it| compare::same(it, right)),
        (_, Some(right)) => {
            // What was seen decides how a written number compares: with a version it is one.
            let written = matches!(left_term, Term::Literal(_)) && !matches!(right_term, Term::Literal(_));
            match operator.mirrored() {
                Some(mirrored) if written => left.is_some_and(|left| mirrored.holds(right, left)),
                _ => any_of(left, |it| operator.holds(it, right)),
            }
        }
    }
}

fn any_of(value: Option<&Value>, test: impl Fn(&Value) -> bool) -> bool {
    match value {
        None | Some(Value::Null) => false,
        Some(Value::Array(list)) => list.iter().any(test),
        Some(value) => test(value),
    }
}

fn shown(value: Option<&Value>) -> String {
    match value {
        None => "absent".to_owned(),
        Some(Value::String(text)) if text.len() <= 40 && !text.contains(['"', '\\', '\n']) => {
            format!("\"{text}\"")
        }
        Some(value) => shortened(&value.to_string()),
    }
}

impl Term {
    fn value<'a>(&'a self, context: &Context<'a>) -> Option<Cow<'a, Value>> {
        match self {
            Self::Literal(value) => Some(Cow::Borrowed(value)),
            Self::Path(path) => path.value(context),
            Self::Sum(left, sign, right) => {
                let number = |it: &Self| it.value(context)?.as_f64();
                let (left, right) = (number(left)?, number(right)?);
                let sum = match sign {
                    Sign::Plus => left + right,
                    Sign::Minus => left - right,
                    Sign::Times => left * right,
                    Sign::Over => left / right,
                };
                Some(Cow::Owned(number_of(sum)?))
            }
            Self::Count(target) => {
                Some(Cow::Owned(Value::from(u64::try_from(context.others?.0.count(target)?).ok()?)))
            }
        }
    }
    fn is_about_the_event(&self) -> bool {
        match self {
            Self::Literal(_) | Self::Count(_) => false,
            Self::Path(path) => matches!(path.root, Root::Event | Root::Tag | Root::Source),
            Self::Sum(left, _, right) => left.is_about_the_event() || right.is_about_the_event(),
        }
    }
}

/// A number without a point if it has nothing behind it.
fn number_of(sum: f64) -> Option<Value> {
    let exact = sum.fract() == 0.0 && sum.abs() < 9e15;
    if exact && let Ok(whole) = format!("{sum:.0}").parse::<i64>() {
        return Some(Value::from(whole));
    }
    serde_json::Number::from_f64(sum).map(Value::Number)
}

impl Path {
    /// A path such as `event.mount`, alone.
    pub(crate) fn parse(text: &str, file: &str) -> Parsed<Self> {
        grammar::path(text, file)
    }
    pub(crate) fn value<'a>(&'a self, context: &Context<'a>) -> Option<Cow<'a, Value>> {
        let text = |it: &str| Some(Cow::Owned(Value::from(it)));
        match self.root {
            Root::Event => self.within(&context.event.data),
            Root::Grains => {
                let grains = context.grains?;
                if let Some(value) = grains.get(&self.rest) {
                    return Some(Cow::Borrowed(value));
                }
                let (first, rest) = self.keys.split_first()?;
                let keys = rest.iter().map(String::as_str);
                compare::lookup(grains.get(first)?, keys).map(Cow::Borrowed)
            }
            Root::Telemetry => self.within(context.telemetry?),
            Root::Labels => text(context.labels?.get(&self.rest)?),
            Root::Minion => text(context.minion?.as_str()),
            Root::Tag => text(&context.event.tag),
            Root::Source => text(&context.source()),
            Root::Presence => text(presence_word(context.presence?)),
            Root::Online => {
                let online = matches!(context.presence?, Presence::Up | Presence::Quiet);
                Some(Cow::Owned(Value::Bool(online)))
            }
            Root::Maintenance => Some(Cow::Owned(Value::Bool(context.maintenance))),
            Root::Time => {
                let minute = context.moment.minute_of_day();
                text(&format!("{:02}:{:02}", minute / 60, minute % 60))
            }
            Root::Weekday => text(context.moment.weekday()),
        }
    }
    fn within<'a>(&'a self, data: &'a Value) -> Option<Cow<'a, Value>> {
        if self.rest.is_empty() {
            return Some(Cow::Borrowed(data));
        }
        if let Some(value) = data.get(&self.rest) {
            return Some(Cow::Borrowed(value));
        }
        compare::lookup(data, self.keys.iter().map(String::as_str)).map(Cow::Borrowed)
    }
}

/// Presence as conditions say it.
pub(crate) fn presence_word(presence: Presence) -> &'static str {
    match presence {
        Presence::Up => "up",
        Presence::Quiet => "quiet",
        Presence::Lost => "lost",
        Presence::Down => "down",
        Presence::Unknown => "unknown",
    }
}
