//! Reads conditions: `and`, `or`, `not`, comparisons and tests, with the type of what is compared.

use super::{
    Part, Path, Right, Root, Sign, Term, Test, What,
    moment::{WEEK, Window},
};
use crate::{
    duration,
    expression::{Cursor, Operand, Operator, Parsed},
    say::{Say, did_you_mean, shortened},
    target::Target,
};
use model::Diagnostic;
use serde_json::Value;

/// What paths begin with.
const ROOTS: [(&str, Root); 12] = [
    ("event", Root::Event),
    ("grains", Root::Grains),
    ("labels", Root::Labels),
    ("telemetry", Root::Telemetry),
    ("minion", Root::Minion),
    ("tag", Root::Tag),
    ("source", Root::Source),
    ("presence", Root::Presence),
    ("online", Root::Online),
    ("maintenance", Root::Maintenance),
    ("time", Root::Time),
    ("weekday", Root::Weekday),
];
/// What conditions of rules know.
pub(super) const EVENT_ROOTS: [&str; 11] = [
    "event",
    "grains",
    "labels",
    "minion",
    "tag",
    "source",
    "presence",
    "online",
    "maintenance",
    "time",
    "weekday",
];
const PRESENCES: [&str; 4] = ["up", "quiet", "lost", "down"];

pub(super) fn parse(text: &str, file: &str, roots: &[&str]) -> Parsed<Part> {
    let mut cursor = Cursor { roots, ..Cursor::new(text, file, "E0505")? };
    let root = any(&mut cursor)?;
    if cursor.at_end() {
        return Ok(root);
    }
    let mut complaint = *cursor.unexpected("`and`, `or` or a comparison");
    if cursor.rest().starts_with("&&") || cursor.rest().starts_with("||") {
        complaint = complaint.help("write `and` and `or`");
    }
    Err(Box::new(complaint))
}

/// A path alone.
pub(super) fn path(text: &str, file: &str) -> Parsed<Path> {
    let mut cursor = Cursor { roots: &EVENT_ROOTS, ..Cursor::new(text, file, "E0505")? };
    let start = cursor.byte;
    let found = atom(&mut cursor)?;
    if !cursor.at_end() {
        return Err(cursor.unexpected("the end of a path such as `event.mount`"));
    }
    if let Term::Path(path) = found {
        return Ok(path);
    }
    let message = format!("`{}` is no path such as `event.mount`", shortened(text));
    Err(Box::new(cursor.complain(start, text.len(), message)))
}

fn any(cursor: &mut Cursor<'_>) -> Parsed<Part> {
    let start = begin(cursor);
    let mut parts = vec![all(cursor)?];
    while cursor.eat_word("or") {
        parts.push(all(cursor)?);
    }
    Ok(if parts.len() == 1 { parts.remove(0) } else { part(cursor, start, What::Any(parts)) })
}

fn all(cursor: &mut Cursor<'_>) -> Parsed<Part> {
    let start = begin(cursor);
    let mut parts = vec![one(cursor)?];
    while cursor.eat_word("and") {
        parts.push(one(cursor)?);
    }
    Ok(if parts.len() == 1 { parts.remove(0) } else { part(cursor, start, What::All(parts)) })
}

fn begin(cursor: &mut Cursor<'_>) -> usize {
    cursor.skip_space();
    cursor.byte
}

fn part(cursor: &Cursor<'_>, start: usize, what: What) -> Part {
    Part { what, byte: start, length: cursor.byte - start }
}

fn one(cursor: &mut Cursor<'_>) -> Parsed<Part> {
    let start = begin(cursor);
    if cursor.eat_word("not") {
        cursor.descend()?;
        let inner = one(cursor)?;
        cursor.depth -= 1;
        return Ok(part(cursor, start, What::Not(Box::new(inner))));
    }
    if cursor.eat("(") {
        cursor.descend()?;
        let inner = any(cursor)?;
        cursor.depth -= 1;
        return if cursor.eat(")") { Ok(inner) } else { Err(cursor.unexpected("`)`")) };
    }
    if cursor.eat_word("has") {
        let left = atom(cursor)?;
        let left = only_path(cursor, start, left)?;
        return Ok(part(cursor, start, What::Test(Test::There(left, true))));
    }
    let left = term(cursor)?;
    let before = cursor.byte;
    let test = test(cursor, start, left)?;
    if matches!(test, Test::Is(_)) {
        cursor.byte = before;
    }
    Ok(part(cursor, start, What::Test(test)))
}

/// What is asked about a term that has been read.
fn test(cursor: &mut Cursor<'_>, start: usize, left: Term) -> Parsed<Test> {
    let before = cursor.byte;
    if cursor.eat_word("is") {
        let wanted = !cursor.eat_word("absent");
        if wanted && !cursor.eat_word("present") {
            return Err(cursor.unexpected("`absent` or `present`"));
        }
        return Ok(Test::There(only_path(cursor, start, left)?, wanted));
    }
    let operator = if cursor.eat_word("matches") { Some(Operator::Matches) } else { cursor.operator() };
    let wrong =
        |cursor: &Cursor<'_>, message: String| Box::new(cursor.complain(start, before - start, message));
    let Some(operator) = operator else {
        return match &left {
            Term::Literal(Value::String(text)) => {
                Err(wrong(cursor, format!("the text `{}` is no condition", shortened(text))))
            }
            Term::Path(Path { root: Root::Time | Root::Weekday, .. }) => {
                let help = "write `time in \"22:00-06:00\"` and `weekday in [sat, sun]`";
                let complaint = wrong(cursor, "time alone is no condition".to_owned());
                Err(Box::new((*complaint).help(help)))
            }
            _ => Ok(Test::Is(left)),
        };
    };
    match &left {
        Term::Path(Path { root: Root::Time, .. }) => windows(cursor, operator),
        Term::Path(Path { root: Root::Weekday, .. }) => words(cursor, left, operator, &WEEK, "weekday"),
        Term::Path(Path { root: Root::Presence, .. }) => {
            words(cursor, left, operator, &PRESENCES, "presence")
        }
        _ => {
            let right = right(cursor, operator, &left)?;
            Ok(Test::Compare(left, operator, right))
        }
    }
}

fn only_path(cursor: &Cursor<'_>, start: usize, term: Term) -> Parsed<Term> {
    if matches!(term, Term::Path(_)) {
        return Ok(term);
    }
    let message = "only what has a name, such as `event.x`, can be absent";
    Err(Box::new(cursor.complain(start, cursor.byte - start, message)))
}

/// `"22:00-06:00"`, or a list of such.
fn windows(cursor: &mut Cursor<'_>, operator: Operator) -> Parsed<Test> {
    let start = begin(cursor);
    let texts = match cursor.quoted()? {
        Some(text) => vec![text],
        None if cursor.rest().starts_with(['[', '(']) => cursor.list()?,
        None => return Err(cursor.unexpected("a window such as `\"22:00-06:00\"`")),
    };
    let windows: Option<Vec<Window>> = texts.iter().map(|it| Window::parse(it)).collect();
    match windows {
        Some(windows) if operator == Operator::In => Ok(Test::Within(windows)),
        _ => {
            let message = "the time of day is asked with `time in \"22:00-06:00\"`";
            Err(Box::new(cursor.complain(start, cursor.byte - start, message)))
        }
    }
}

/// One of the words of a root that has only those, or several.
fn words(
    cursor: &mut Cursor<'_>,
    left: Term,
    operator: Operator,
    known: &[&str],
    name: &str,
) -> Parsed<Test> {
    let start = begin(cursor);
    let wanted = match operator {
        Operator::In => cursor.list()?,
        Operator::Equal | Operator::NotEqual => vec![cursor.value()?],
        _ => {
            let message = format!("`{name}` is one of {}: ask it with `=`, `!=` or `in`", known.join(", "));
            return Err(Box::new(cursor.complain(start, 1, message)));
        }
    };
    if let Some(wrong) = wanted.iter().find(|it| !known.contains(&it.as_str())) {
        let message = format!("`{}` is no {name}: {}", shortened(wrong), known.join(", "));
        let complaint = cursor.complain(start, cursor.byte - start, message);
        return Err(Box::new(complaint.maybe_help(did_you_mean(wrong, known.iter().copied()))));
    }
    let right = match (&wanted[..], operator) {
        ([one], Operator::Equal | Operator::NotEqual) => {
            Right::Term(Term::Literal(Value::from(one.as_str())))
        }
        (several, _) => {
            let list = several.iter().map(|it| Value::from(it.as_str())).collect();
            Right::Fixed(Operand::List(list), format!("[{}]", several.join(", ")))
        }
    };
    Ok(Test::Compare(left, operator, right))
}

fn right(cursor: &mut Cursor<'_>, operator: Operator, left: &Term) -> Parsed<Right> {
    let start = begin(cursor);
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
            match ill_typed(operator, left, &right) {
                Some(message) => Err(Box::new(cursor.complain(start, cursor.byte - start, message))),
                None => Ok(Right::Term(right)),
            }
        }
    }
}

/// Why two sides can never be compared in this way.
fn ill_typed(operator: Operator, left: &Term, right: &Term) -> Option<String> {
    let ordered = !matches!(operator, Operator::Equal | Operator::NotEqual | Operator::In);
    let root = |it: &Term| match it {
        Term::Path(path) => Some(path.root),
        _ => None,
    };
    match (root(left), right) {
        (_, Term::Literal(Value::Bool(_))) if ordered => {
            Some(format!("`{}` does not go with true or false", operator.sign()))
        }
        (Some(Root::Maintenance | Root::Online), right)
            if ordered || !matches!(right, Term::Literal(Value::Bool(_))) =>
        {
            Some("it is true or false: write its name alone, or `not` before it".to_owned())
        }
        (Some(Root::Minion | Root::Tag | Root::Source), Term::Literal(Value::Number(_) | Value::Bool(_))) => {
            Some("a text is compared with a text in quotes".to_owned())
        }
        (_, Term::Literal(Value::String(_) | Value::Bool(_))) if matches!(left, Term::Count(_)) => {
            Some("a count is compared with a number".to_owned())
        }
        (_, Term::Literal(Value::String(_))) if matches!(left, Term::Sum(..)) => {
            Some("a sum is compared with a number".to_owned())
        }
        (_, Term::Literal(Value::Number(_) | Value::Bool(_))) if operator == Operator::In => {
            Some("`in` wants a list such as `[a, b]`, a text, or a path".to_owned())
        }
        _ => None,
    }
}

/// Numbers may be calculated with: `*` and `/` before `+` and `-`, each with a space behind it.
fn term(cursor: &mut Cursor<'_>) -> Parsed<Term> {
    let mut left = product(cursor)?;
    while let Some(sign) = sign(cursor, [("+", Sign::Plus), ("-", Sign::Minus)]) {
        let right = product(cursor)?;
        left = sum(cursor, left, sign, right)?;
    }
    Ok(left)
}

fn product(cursor: &mut Cursor<'_>) -> Parsed<Term> {
    let mut left = atom(cursor)?;
    while let Some(sign) = sign(cursor, [("*", Sign::Times), ("/", Sign::Over)]) {
        let right = atom(cursor)?;
        left = sum(cursor, left, sign, right)?;
    }
    Ok(left)
}

fn sign(cursor: &mut Cursor<'_>, signs: [(&str, Sign); 2]) -> Option<Sign> {
    let rest = cursor.rest().trim_start();
    let (text, sign) =
        signs.into_iter().find(|(text, _)| rest.strip_prefix(*text).is_some_and(starts_apart))?;
    cursor.eat(text).then_some(sign)
}

fn starts_apart(rest: &str) -> bool {
    rest.starts_with(char::is_whitespace)
}

fn sum(cursor: &mut Cursor<'_>, left: Term, sign: Sign, right: Term) -> Parsed<Term> {
    let counts = |it: &Term| match it {
        Term::Literal(value) => value.is_number(),
        Term::Path(path) => matches!(path.root, Root::Event | Root::Grains | Root::Telemetry),
        Term::Sum(..) | Term::Count(_) => true,
    };
    if !counts(&left) || !counts(&right) {
        let message = "only numbers and paths such as `event.x` can be calculated with";
        return Err(Box::new(cursor.complain(cursor.byte.saturating_sub(1), 1, message)));
    }
    // Each one is a level of the tree.
    cursor.descend()?;
    Ok(Term::Sum(Box::new(left), sign, Box::new(right)))
}

fn atom(cursor: &mut Cursor<'_>) -> Parsed<Term> {
    if let Some(text) = cursor.quoted()? {
        return Ok(Term::Literal(Value::from(text)));
    }
    let start = cursor.byte;
    let word = cursor
        .bare(|rest| rest.starts_with([')', '(', ',', '=', '<', '>', '~', ']']) || rest.starts_with("!="));
    if word.is_empty() {
        return Err(cursor.unexpected("a value"));
    }
    if word == "count" && cursor.roots.contains(&"event") && cursor.rest().starts_with('(') {
        return count(cursor);
    }
    if let value @ (Value::Bool(_) | Value::Number(_)) = crate::scalars::plain(word) {
        return Ok(Term::Literal(value));
    }
    if word.starts_with(|it: char| it.is_ascii_digit()) {
        return Ok(Term::Literal(literal(word)));
    }
    let (name, rest) = word.split_once('.').map_or((word, None), |(root, rest)| (root, Some(rest)));
    let root = ROOTS.iter().find(|it| it.0 == name && cursor.roots.contains(&name)).map(|it| it.1);
    let deep = is_deep(root);
    let root = root.filter(|it| deep == rest.is_some() || *it == Root::Event);
    match root {
        Some(root) if rest != Some("") => {
            let rest = rest.unwrap_or_default().to_owned();
            let keys = rest.split('.').filter(|_| !rest.is_empty()).map(str::to_owned).collect();
            Ok(Term::Path(Path { root, rest, keys }))
        }
        _ => Err(unknown(cursor, start, word, name)),
    }
}

/// `count("label:role=web and online")`: how many members match.
fn count(cursor: &mut Cursor<'_>) -> Parsed<Term> {
    cursor.eat("(");
    let inside = begin(cursor);
    let Some(text) = cursor.quoted()? else {
        return Err(cursor.unexpected("a target in quotes, such as `count(\"label:role=web\")`"));
    };
    let end = cursor.byte;
    let target = Target::parse_in(&text, cursor.file);
    let target = target.map_err(|it| Box::new(cursor.complain(inside, end - inside, it.message)))?;
    if target.needs_compiler() {
        let message = "members are not counted by pillar or states: label them".to_owned();
        return Err(Box::new(cursor.complain(inside, end - inside, message)));
    }
    if !cursor.eat(")") {
        return Err(cursor.unexpected("`)`"));
    }
    // Each one asks all members.
    cursor.descend()?;
    Ok(Term::Count(Box::new(target)))
}

/// Whether a root has names below it.
fn is_deep(root: Option<Root>) -> bool {
    matches!(root, Some(Root::Event | Root::Grains | Root::Labels | Root::Telemetry))
}

/// A word that begins with a digit: a percentage, a span of time in milliseconds, a size in bytes, else text.
fn literal(word: &str) -> Value {
    let percent = word.strip_suffix('%').map(crate::scalars::plain).filter(Value::is_number);
    let milliseconds = || duration::parse(word).ok().map(Value::from);
    let bytes = || duration::size(word).map(Value::from);
    percent.or_else(milliseconds).or_else(bytes).unwrap_or_else(|| Value::from(word))
}

#[expect(clippy::unnecessary_box_returns, reason = "goes into a `Parsed`, whose error is boxed")]
fn unknown(cursor: &Cursor<'_>, start: usize, word: &str, root: &str) -> Box<Diagnostic> {
    let complaint = cursor.complain_as("E0506", start, word.len(), format!("unknown name `{word}`"));
    let exact = cursor.roots.contains(&root);
    let near = did_you_mean(root, cursor.roots.iter().copied()).filter(|_| !exact);
    let help = near.unwrap_or_else(|| {
        let deep = |name: &str| is_deep(ROOTS.iter().find(|it| it.0 == name).map(|it| it.1));
        let shown = |name: &&str| if deep(name) { format!("{name}.x") } else { (*name).to_owned() };
        let known: Vec<String> = cursor.roots.iter().map(shown).collect();
        format!("a condition knows {}; texts stand in quotes", known.join(", "))
    });
    Box::new(complaint.help(help))
}
