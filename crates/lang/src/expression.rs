//! What targets and conditions of rules have in common: reading words, quotes and operators with their places, and
//! comparing.

use crate::{
    compare::{order, same, text_of},
    limits,
    say::{Say, Text, error},
};
use model::Diagnostic;
use regex::Regex;
use serde_json::Value;

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Matches,
    In,
}

impl Operator {
    pub(crate) fn sign(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Matches => "~",
            Self::In => "in",
        }
    }
    /// The same comparison with its sides exchanged, if it has a direction.
    pub(crate) fn mirrored(self) -> Option<Self> {
        match self {
            Self::Less => Some(Self::Greater),
            Self::LessOrEqual => Some(Self::GreaterOrEqual),
            Self::Greater => Some(Self::Less),
            Self::GreaterOrEqual => Some(Self::LessOrEqual),
            Self::Equal | Self::NotEqual | Self::Matches | Self::In => None,
        }
    }
    /// Whether a comparison holds; `Matches` and `In` are not for here. Nothing compares as unequal to everything.
    pub(crate) fn holds(self, left: &Value, right: &Value) -> bool {
        let ordered = order(left, right);
        match self {
            Self::Equal => same(left, right),
            Self::NotEqual => !same(left, right),
            Self::Less => ordered.is_some_and(std::cmp::Ordering::is_lt),
            Self::LessOrEqual => ordered.is_some_and(std::cmp::Ordering::is_le),
            Self::Greater => ordered.is_some_and(std::cmp::Ordering::is_gt),
            Self::GreaterOrEqual => ordered.is_some_and(std::cmp::Ordering::is_ge),
            Self::Matches | Self::In => false,
        }
    }
}

const OPERATORS: [(&str, Operator); 8] = [
    ("!=", Operator::NotEqual),
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("==", Operator::Equal),
    ("=", Operator::Equal),
    ("<", Operator::Less),
    (">", Operator::Greater),
    ("~", Operator::Matches),
];

/// A result with one complaint.
pub(crate) type Parsed<T> = Result<T, Box<Diagnostic>>;

/// A place in an expression.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    pub(crate) text: &'a str,
    pub(crate) byte: usize,
    /// What complaints name as their file.
    pub(crate) file: &'a str,
    /// Code of complaints about syntax.
    pub(crate) code: &'a str,
    pub(crate) depth: usize,
    /// What paths may begin with.
    pub(crate) roots: &'a [&'a str],
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a str, file: &'a str, code: &'a str) -> Parsed<Self> {
        let cursor = Self { text, byte: 0, file, code, depth: 0, roots: &[] };
        if text.len() > limits::EXPRESSION_BYTES {
            let message = format!("an expression may have {} bytes at most", limits::EXPRESSION_BYTES);
            return Err(Box::new(cursor.complain(0, 1, message)));
        }
        Ok(cursor)
    }
    pub(crate) fn rest(&self) -> &'a str {
        &self.text[self.byte..]
    }
    pub(crate) fn skip_space(&mut self) {
        let rest = self.rest();
        self.byte += rest.len() - rest.trim_start().len();
    }
    pub(crate) fn at_end(&mut self) -> bool {
        self.skip_space();
        self.rest().is_empty()
    }
    /// A complaint about some bytes.
    pub(crate) fn complain(&self, byte: usize, bytes: usize, message: impl Into<String>) -> Diagnostic {
        self.complain_as(self.code, byte, bytes, message)
    }
    pub(crate) fn complain_as(
        &self,
        code: &str,
        byte: usize,
        bytes: usize,
        message: impl Into<String>,
    ) -> Diagnostic {
        let text = Text::new(self.file.to_owned(), self.text.to_owned());
        let end = (byte + bytes).min(self.text.len());
        let length = self.text.get(byte..end).map_or(1, |it| it.chars().count());
        error(code, message).at(text.span(text.at_byte(byte, length.max(1)), ""))
    }
    /// A complaint about what stands here.
    #[expect(clippy::unnecessary_box_returns, reason = "goes into a `Parsed`, whose error is boxed")]
    pub(crate) fn unexpected(&self, wanted: &str) -> Box<Diagnostic> {
        let rest = self.rest();
        let word = rest.split_whitespace().next().unwrap_or("");
        if word.is_empty() {
            return Box::new(self.complain(self.byte, 1, format!("{wanted} is missing at the end")));
        }
        let word: String = word.chars().take(40).collect();
        Box::new(self.complain(self.byte, word.len(), format!("`{word}` where {wanted} should be")))
    }
    /// Takes a sign if it stands here.
    pub(crate) fn eat(&mut self, sign: &str) -> bool {
        self.skip_space();
        let found = self.rest().starts_with(sign);
        self.byte += if found { sign.len() } else { 0 };
        found
    }
    /// Takes a word of the language if it stands here as a whole.
    pub(crate) fn eat_word(&mut self, word: &str) -> bool {
        self.skip_space();
        let Some(after) = self.rest().strip_prefix(word) else { return false };
        let whole = after.chars().next().is_none_or(|it| it.is_whitespace() || "(),[]".contains(it));
        self.byte += if whole { word.len() } else { 0 };
        whole
    }
    pub(crate) fn operator(&mut self) -> Option<Operator> {
        self.skip_space();
        if self.eat_word("in") {
            return Some(Operator::In);
        }
        let (sign, operator) = OPERATORS.into_iter().find(|(sign, _)| self.rest().starts_with(sign))?;
        self.byte += sign.len();
        Some(operator)
    }
    /// A quoted text, if one stands here. A backslash keeps the next character.
    pub(crate) fn quoted(&mut self) -> Parsed<Option<String>> {
        self.skip_space();
        let start = self.byte;
        let mut chars = self.rest().char_indices();
        let Some((_, quote @ ('"' | '\''))) = chars.next() else { return Ok(None) };
        let mut text = String::new();
        while let Some((index, char)) = chars.next() {
            match char {
                // `\d` stays as it is: texts are mostly regular expressions.
                '\\' => match chars.next() {
                    Some((_, next)) if next == quote || next == '\\' => text.push(next),
                    Some((_, next)) => text.extend(['\\', next]),
                    None => break,
                },
                _ if char == quote => {
                    self.byte = start + index + 1;
                    return Ok(Some(text));
                }
                _ => text.push(char),
            }
        }
        Err(Box::new(self.complain(start, 1, "this quote is never closed")))
    }
    /// Characters until white space or one that ends a word; brackets that open inside also close inside.
    pub(crate) fn bare(&mut self, ends: fn(&str) -> bool) -> &'a str {
        self.skip_space();
        let rest = self.rest();
        let mut open: Vec<char> = Vec::new();
        let mut escaped = false;
        let mut end = rest.len();
        for (index, char) in rest.char_indices() {
            if escaped {
                escaped = false;
                continue;
            }
            if char.is_whitespace() || (open.is_empty() && ends(&rest[index..])) {
                end = index;
                break;
            }
            match char {
                '\\' => escaped = true,
                '[' => open.push(']'),
                '{' => open.push('}'),
                '(' => open.push(')'),
                _ if open.last() == Some(&char) => {
                    open.pop();
                }
                _ => {}
            }
        }
        self.byte += end;
        &rest[..end]
    }
    /// Text in quotes, or up to white space, `)`, `]` or `,`.
    pub(crate) fn value(&mut self) -> Parsed<String> {
        if let Some(text) = self.quoted()? {
            return Ok(text);
        }
        let word = self.bare(|rest| rest.starts_with([')', ']', ',']));
        if word.is_empty() { Err(self.unexpected("a value")) } else { Ok(word.to_owned()) }
    }
    /// `(a, b)` or `[a, b]`.
    pub(crate) fn list(&mut self) -> Parsed<Vec<String>> {
        let close = if self.eat("(") {
            ")"
        } else if self.eat("[") {
            "]"
        } else {
            return Err(self.unexpected("a list such as `[a, b]`"));
        };
        let mut values = Vec::new();
        loop {
            values.push(self.value()?);
            if self.eat(close) {
                return Ok(values);
            }
            if !self.eat(",") {
                return Err(self.unexpected(&format!("`,` or `{close}`")));
            }
        }
    }
    /// One level deeper.
    pub(crate) fn descend(&mut self) -> Parsed<()> {
        self.depth += 1;
        if self.depth > limits::EXPRESSION_DEPTH {
            let message = format!("more than {} levels inside one another", limits::EXPRESSION_DEPTH);
            return Err(Box::new(self.complain(self.byte, 1, message)));
        }
        Ok(())
    }
    /// A regular expression of bounded size.
    pub(crate) fn regex(&self, pattern: &str, byte: usize) -> Parsed<Regex> {
        regex::RegexBuilder::new(pattern).size_limit(limits::REGEX_BYTES).build().map_err(|cause| {
            let reason = cause.to_string();
            let reason = reason.lines().last().unwrap_or("").trim_start_matches("error: ").to_owned();
            Box::new(self.complain_as(
                "E0303",
                byte,
                self.byte - byte,
                format!("not a regular expression: {reason}"),
            ))
        })
    }
}

/// Whether a text stands for several: has `*`, `?`, `[` or `{`.
pub(crate) fn is_glob(text: &str) -> bool {
    text.contains(['*', '?', '[', '{'])
}

/// What a value is compared with.
#[derive(Clone, Debug)]
pub(crate) enum Operand {
    Text(Value),
    Glob(globset::GlobMatcher),
    Regex(Regex),
    List(Vec<Value>),
}

impl Operand {
    /// Whether the comparison holds for a value; for a list: for one of its elements.
    pub(crate) fn holds(&self, operator: Operator, value: Option<&Value>) -> bool {
        if operator == Operator::NotEqual {
            return !self.holds(Operator::Equal, value);
        }
        match value {
            None | Some(Value::Null) => false,
            Some(Value::Array(list)) => list.iter().any(|it| self.one(operator, it)),
            Some(value) => self.one(operator, value),
        }
    }
    fn one(&self, operator: Operator, value: &Value) -> bool {
        match self {
            Self::Text(wanted) => operator.holds(value, wanted),
            Self::Glob(glob) => text_of(value).is_some_and(|it| glob.is_match(it)),
            Self::Regex(regex) => text_of(value).is_some_and(|it| regex.is_match(&it)),
            Self::List(list) => list.iter().any(|it| same(value, it)),
        }
    }
}
