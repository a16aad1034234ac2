//! Conditions of rules: a small language in which every expression has an answer, and which can say why.

use crate::{
    compare::{lookup, text_of, truthy},
    expression::{Cursor, Operand, Operator, Parsed},
    say::{Say, did_you_mean, shortened},
};
use model::Diagnostic;
use serde_json::Value;
use std::sync::Arc;

/// A parsed condition.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    text: Arc<str>,
    root: Clause,
}

#[derive(Clone, Debug)]
enum Clause {
    All(Vec<Clause>),
    Any(Vec<Clause>),
    Not(Box<Clause>),
    /// Whether something is there and not false, zero or empty.
    Is(Term, usize, usize),
    Compare(Term, Operator, Right, usize, usize),
}

#[derive(Clone, Debug)]
enum Term {
    Literal(Value),
    Path(String),
}

#[derive(Clone, Debug)]
enum Right {
    Term(Term),
    Fixed(Operand, String),
}

/// What paths begin with.
const ROOTS: [&str; 6] = ["event", "grains", "labels", "minion", "tag", "source"];

impl Condition {
    pub(crate) fn parse(text: &str, file: &str) -> Parsed<Self> {
        Self::parse_over(text, file, &ROOTS)
    }
    /// The same over other names.
    pub(crate) fn parse_over(text: &str, file: &str, roots: &[&str]) -> Parsed<Self> {
        let mut cursor = Cursor { roots, ..Cursor::new(text, file, "E0505")? };
        let root = any(&mut cursor)?;
        if !cursor.at_end() {
            let mut complaint = *cursor.unexpected("`and`, `or` or a comparison");
            if cursor.rest().starts_with("&&") || cursor.rest().starts_with("||") {
                complaint = complaint.help("write `and` and `or`");
            }
            return Err(Box::new(complaint));
        }
        Ok(Self { text: text.into(), root })
    }
    /// Whether it holds, and the clause that decides with its values.
    pub(crate) fn holds(&self, scope: &Value) -> (bool, String) {
        self.root.holds(scope, &self.text)
    }
}

impl Clause {
    fn holds(&self, scope: &Value, text: &str) -> (bool, String) {
        match self {
            Self::All(clauses) => several(clauses, scope, text, false),
            Self::Any(clauses) => several(clauses, scope, text, true),
            Self::Not(clause) => {
                let (holds, why) = clause.holds(scope, text);
                (!holds, format!("not ({why})"))
            }
            Self::Is(term, byte, length) => {
                let value = term.value(scope);
                let holds = value.is_some_and(truthy);
                let written = text[*byte..byte + length].trim();
                (holds, format!("{written}: {} is {holds}", shown(value)))
            }
            Self::Compare(left, operator, right, byte, length) => {
                let value = left.value(scope);
                let (holds, other) = match right {
                    Right::Fixed(operand, shown) => (operand.holds(*operator, value), shown.clone()),
                    Right::Term(term) => compare(*operator, value, term.value(scope)),
                };
                let written = text[*byte..byte + length].trim();
                (holds, format!("{written}: {} {} {other} is {holds}", shown(value), operator.sign()))
            }
        }
    }
}

/// All until one is false, or any until one is true.
fn several(clauses: &[Clause], scope: &Value, text: &str, wanted: bool) -> (bool, String) {
    let mut reasons = Vec::new();
    for clause in clauses {
        let (holds, why) = clause.holds(scope, text);
        if holds == wanted {
            return (wanted, why);
        }
        reasons.push(why);
    }
    (!wanted, reasons.join("; "))
}

fn compare(operator: Operator, left: Option<&Value>, right: Option<&Value>) -> (bool, String) {
    let text = shown(right);
    let holds = match (operator, right) {
        (Operator::NotEqual, None) => left.is_some_and(|it| !it.is_null()),
        (_, None) => false,
        (Operator::In, Some(Value::Array(list))) => Operand::List(list.clone()).holds(operator, left),
        (Operator::In, Some(Value::String(whole))) => {
            left.and_then(text_of).is_some_and(|it| whole.contains(it.as_str()))
        }
        (Operator::In, Some(Value::Object(map))) => {
            left.and_then(text_of).is_some_and(|it| map.contains_key(it.as_str()))
        }
        (operator, Some(right)) => Operand::Text(right.clone()).holds(operator, left),
    };
    (holds, text)
}

fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "absent".to_owned(), |it| shortened(&it.to_string()))
}

impl Term {
    fn value<'a>(&'a self, scope: &'a Value) -> Option<&'a Value> {
        match self {
            Self::Literal(value) => Some(value),
            Self::Path(path) => {
                if let Some((root, rest)) = path.split_once('.')
                    && let Some(value) = scope.get(root).and_then(|it| it.get(rest))
                {
                    return Some(value);
                }
                lookup(scope, path.split('.'))
            }
        }
    }
}

fn any(cursor: &mut Cursor<'_>) -> Parsed<Clause> {
    let mut clauses = vec![all(cursor)?];
    while cursor.eat_word("or") {
        clauses.push(all(cursor)?);
    }
    Ok(if clauses.len() == 1 { clauses.remove(0) } else { Clause::Any(clauses) })
}

fn all(cursor: &mut Cursor<'_>) -> Parsed<Clause> {
    let mut clauses = vec![one(cursor)?];
    while cursor.eat_word("and") {
        clauses.push(one(cursor)?);
    }
    Ok(if clauses.len() == 1 { clauses.remove(0) } else { Clause::All(clauses) })
}

fn one(cursor: &mut Cursor<'_>) -> Parsed<Clause> {
    if cursor.eat_word("not") {
        cursor.descend()?;
        let inner = one(cursor)?;
        cursor.depth -= 1;
        return Ok(Clause::Not(Box::new(inner)));
    }
    if cursor.eat("(") {
        cursor.descend()?;
        let inner = any(cursor)?;
        cursor.depth -= 1;
        return if cursor.eat(")") { Ok(inner) } else { Err(cursor.unexpected("`)`")) };
    }
    cursor.skip_space();
    let start = cursor.byte;
    let left = term(cursor)?;
    let before = cursor.byte;
    let Some(operator) = cursor.operator() else {
        if let Term::Literal(Value::String(text)) = &left {
            let message = format!("the text `{}` is no condition", shortened(text));
            return Err(Box::new(cursor.complain(start, before - start, message)));
        }
        cursor.byte = before;
        return Ok(Clause::Is(left, start, before - start));
    };
    let right = right(cursor, operator)?;
    Ok(Clause::Compare(left, operator, right, start, cursor.byte - start))
}

fn right(cursor: &mut Cursor<'_>, operator: Operator) -> Parsed<Right> {
    cursor.skip_space();
    let start = cursor.byte;
    match operator {
        Operator::Matches => match cursor.quoted()? {
            Some(pattern) => {
                let regex = cursor.regex(&pattern, start)?;
                Ok(Right::Fixed(Operand::Regex(regex), format!("\"{}\"", shortened(&pattern))))
            }
            None => Err(cursor.unexpected("a regular expression in quotes")),
        },
        Operator::In if cursor.rest().starts_with(['[', '(']) => {
            let list = cursor.list()?;
            let shown = format!("[{}]", shortened(&list.join(", ")));
            Ok(Right::Fixed(Operand::List(list.into_iter().map(Value::from).collect()), shown))
        }
        _ => {
            let right = term(cursor)?;
            let ordered = !matches!(operator, Operator::Equal | Operator::NotEqual | Operator::In);
            if let (true, Term::Literal(Value::Bool(_))) = (ordered, &right) {
                let message = format!("`{}` does not go with true or false", operator.sign());
                return Err(Box::new(cursor.complain(start, cursor.byte - start, message)));
            }
            Ok(Right::Term(right))
        }
    }
}

fn term(cursor: &mut Cursor<'_>) -> Parsed<Term> {
    if let Some(text) = cursor.quoted()? {
        return Ok(Term::Literal(Value::from(text)));
    }
    let start = cursor.byte;
    let word = cursor
        .bare(|rest| rest.starts_with([')', '(', ',', '=', '<', '>', '~', ']']) || rest.starts_with("!="));
    if word.is_empty() {
        return Err(cursor.unexpected("a value"));
    }
    if let value @ (Value::Bool(_) | Value::Number(_)) = crate::scalars::plain(word) {
        return Ok(Term::Literal(value));
    }
    if word.starts_with(|it: char| it.is_ascii_digit()) {
        return Ok(Term::Literal(Value::from(word)));
    }
    let (root, rest) = word.split_once('.').map_or((word, None), |(root, rest)| (root, Some(rest)));
    let deep = matches!(root, "event" | "grains" | "labels" | "telemetry");
    if !cursor.roots.contains(&root) || (deep != rest.is_some() && root != "event") {
        return Err(unknown(cursor, start, word, root));
    }
    Ok(Term::Path(word.to_owned()))
}

#[expect(clippy::unnecessary_box_returns, reason = "goes into a `Parsed`, whose error is boxed")]
fn unknown(cursor: &Cursor<'_>, start: usize, word: &str, root: &str) -> Box<Diagnostic> {
    let complaint = cursor.complain_as("E0506", start, word.len(), format!("unknown name `{word}`"));
    let help = did_you_mean(root, cursor.roots.iter().copied()).unwrap_or_else(|| {
        let known: Vec<String> = cursor
            .roots
            .iter()
            .map(|it| {
                if matches!(*it, "minion" | "tag" | "source") { (*it).to_owned() } else { format!("{it}.x") }
            })
            .collect();
        format!("a condition knows {}; texts stand in quotes", known.join(", "))
    });
    Box::new(complaint.help(help))
}
