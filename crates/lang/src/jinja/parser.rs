//! Reads expressions of Jinja: what binds how tightly, as Jinja has it.

use super::{
    ast::{Args, Comparison, Const, Expr, Filter, Kind},
    failure::{Failure, Outcome},
    lexer::{Kind as Piece, Spot, Token},
};
use crate::limits;
use std::{collections::HashSet, sync::Arc};

/// Reads tokens; statements are in `statements.rs`.
pub(super) struct Parser {
    pub(super) tokens: Vec<Token>,
    pub(super) next: usize,
    pub(super) depth: usize,
    pub(super) assigned: HashSet<Arc<str>>,
    pub(super) blocks: Vec<(Arc<str>, Arc<Vec<super::ast::Node>>)>,
    /// Names that the macro which is being read mentions: `varargs`, `kwargs`, `caller`.
    pub(super) mentioned: HashSet<Arc<str>>,
}

/// Words that end an argument of a test that is written without parentheses.
const AFTER_TEST: [&str; 8] = ["else", "or", "and", "if", "is", "not", "in", "recursive"];

impl Parser {
    pub(super) fn piece(&self) -> &Piece {
        &self.tokens[self.next.min(self.tokens.len() - 1)].kind
    }
    pub(super) fn spot(&self) -> Spot {
        self.tokens[self.next.min(self.tokens.len() - 1)].at
    }
    pub(super) fn is_op(&self, op: &str) -> bool {
        matches!(self.piece(), Piece::Op(it) if *it == op)
    }
    pub(super) fn is_word(&self, word: &str) -> bool {
        matches!(self.piece(), Piece::Name(it) if &**it == word)
    }
    /// The word after the next piece.
    pub(super) fn word_after(&self) -> Option<&str> {
        match &self.tokens.get(self.next + 1)?.kind {
            Piece::Name(it) => Some(it),
            _ => None,
        }
    }
    pub(super) fn take_op(&mut self, op: &str) -> bool {
        let found = self.is_op(op);
        self.next += usize::from(found);
        found
    }
    pub(super) fn take_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        self.next += usize::from(found);
        found
    }
    pub(super) fn expect_op(&mut self, op: &str) -> Outcome<()> {
        if self.take_op(op) { Ok(()) } else { Err(self.unexpected(&format!("`{op}`"))) }
    }
    pub(super) fn expect_word(&mut self, word: &str) -> Outcome<()> {
        if self.take_word(word) { Ok(()) } else { Err(self.unexpected(&format!("`{word}`"))) }
    }
    pub(super) fn name(&mut self) -> Outcome<Arc<str>> {
        if let Piece::Name(name) = self.piece() {
            let name = name.clone();
            self.next += 1;
            return Ok(name);
        }
        Err(self.unexpected("a name"))
    }
    pub(super) fn unexpected(&self, wanted: &str) -> Failure {
        let found = match self.piece() {
            Piece::Name(it) => format!("`{it}`"),
            Piece::Text(_) => "a text".to_owned(),
            Piece::Int(it) => it.to_string(),
            Piece::Float(it) => it.to_string(),
            Piece::Op(it) => format!("`{it}`"),
            Piece::BlockEnd | Piece::PrintEnd => "the end of the tag".to_owned(),
            Piece::Data(_) | Piece::BlockBegin | Piece::PrintBegin => "text".to_owned(),
            Piece::End => "the end of the file".to_owned(),
        };
        Failure::syntax(format!("expected {wanted}, found {found}")).at(self.spot())
    }
    /// Goes one deeper: what is nested too deep is refused before it is run.
    pub(super) fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Outcome<T>) -> Outcome<T> {
        self.depth += 1;
        if self.depth > limits::TEMPLATE_DEPTH {
            let message =
                format!("more than {} blocks or brackets inside one another", limits::TEMPLATE_DEPTH);
            let help = "move a part of it to a macro or another file";
            return Err(Failure::new("E0207", message).at(self.spot()).help(help));
        }
        let result = read(self);
        self.depth -= 1;
        result
    }

    /// From the spot to the last token that was taken.
    fn since(&self, from: Spot) -> Spot {
        let last = self.tokens[self.next.saturating_sub(1)].at;
        Spot { length: (last.byte + last.length).saturating_sub(from.byte).max(1), ..from }
    }
    fn make(&self, from: Spot, kind: Kind) -> Expr {
        Expr { at: self.since(from), kind }
    }

    /// `a, b` is a tuple, `a` is itself.
    pub(super) fn tuple(&mut self) -> Outcome<Expr> {
        let from = self.spot();
        let first = self.expression()?;
        if !self.is_op(",") {
            return Ok(first);
        }
        let mut items = vec![first];
        while self.take_op(",") {
            if matches!(self.piece(), Piece::BlockEnd | Piece::PrintEnd) || self.is_op(")") || self.is_op("=")
            {
                break;
            }
            items.push(self.expression()?);
        }
        Ok(self.make(from, Kind::Tuple(items)))
    }

    /// `a if b else c`.
    pub(super) fn expression(&mut self) -> Outcome<Expr> {
        self.deeper(|it| {
            let from = it.spot();
            let mut value = it.or()?;
            while it.take_word("if") {
                let condition = it.or()?;
                let otherwise = if it.take_word("else") { Some(Box::new(it.expression()?)) } else { None };
                value = it.make(from, Kind::IfElse(Box::new([condition, value]), otherwise));
            }
            Ok(value)
        })
    }

    pub(super) fn or(&mut self) -> Outcome<Expr> {
        self.list_of("or", Self::and, Kind::Or)
    }
    fn and(&mut self) -> Outcome<Expr> {
        self.list_of("and", Self::not, Kind::And)
    }
    fn list_of(
        &mut self,
        word: &str,
        part: fn(&mut Self) -> Outcome<Expr>,
        kind: fn(Vec<Expr>) -> Kind,
    ) -> Outcome<Expr> {
        let from = self.spot();
        let mut parts = vec![part(self)?];
        while self.take_word(word) {
            parts.push(part(self)?);
        }
        if parts.len() == 1
            && let Some(only) = parts.pop()
        {
            return Ok(only);
        }
        Ok(self.make(from, kind(parts)))
    }

    fn not(&mut self) -> Outcome<Expr> {
        let from = self.spot();
        if self.is_word("not") && self.word_after() != Some("in") {
            self.next += 1;
            let inner = self.deeper(Self::not)?;
            return Ok(self.make(from, Kind::Not(Box::new(inner))));
        }
        self.compare()
    }

    fn compare(&mut self) -> Outcome<Expr> {
        let from = self.spot();
        let first = self.sum()?;
        let mut rest = Vec::new();
        while let Some(comparison) = self.comparison() {
            rest.push((comparison, self.sum()?));
        }
        if rest.is_empty() { Ok(first) } else { Ok(self.make(from, Kind::Compare(Box::new(first), rest))) }
    }

    fn comparison(&mut self) -> Option<Comparison> {
        let found = match self.piece() {
            Piece::Op("==") => Comparison::Equal,
            Piece::Op("!=") => Comparison::NotEqual,
            Piece::Op("<") => Comparison::Less,
            Piece::Op("<=") => Comparison::LessEqual,
            Piece::Op(">") => Comparison::Greater,
            Piece::Op(">=") => Comparison::GreaterEqual,
            Piece::Name(it) if &**it == "in" => Comparison::In,
            Piece::Name(it) if &**it == "not" && self.word_after() == Some("in") => {
                self.next += 1;
                Comparison::NotIn
            }
            _ => return None,
        };
        self.next += 1;
        Some(found)
    }

    fn chain(&mut self, ops: &[&'static str], part: fn(&mut Self) -> Outcome<Expr>) -> Outcome<Expr> {
        let from = self.spot();
        let first = part(self)?;
        let mut rest = Vec::new();
        while let Some(op) = ops.iter().find(|it| self.is_op(it)) {
            self.next += 1;
            rest.push((*op, part(self)?));
        }
        if rest.is_empty() { Ok(first) } else { Ok(self.make(from, Kind::Chain(Box::new(first), rest))) }
    }
    fn sum(&mut self) -> Outcome<Expr> {
        self.chain(&["+", "-"], Self::concat)
    }
    fn concat(&mut self) -> Outcome<Expr> {
        let from = self.spot();
        let first = self.product()?;
        if !self.is_op("~") {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.take_op("~") {
            parts.push(self.product()?);
        }
        Ok(self.make(from, Kind::Concat(parts)))
    }
    fn product(&mut self) -> Outcome<Expr> {
        self.chain(&["*", "/", "//", "%"], Self::power)
    }
    fn power(&mut self) -> Outcome<Expr> {
        self.chain(&["**"], |it| it.unary(true))
    }

    fn unary(&mut self, with_filters: bool) -> Outcome<Expr> {
        let from = self.spot();
        let node = if self.is_op("-") || self.is_op("+") {
            let minus = self.is_op("-");
            self.next += 1;
            let inner = self.deeper(|it| it.unary(false))?;
            self.make(from, Kind::Sign(minus, Box::new(inner)))
        } else {
            self.primary()?
        };
        let node = self.postfix(node)?;
        if with_filters { self.filtered(node) } else { Ok(node) }
    }

    fn primary(&mut self) -> Outcome<Expr> {
        let from = self.spot();
        let kind = match self.piece().clone() {
            Piece::Name(name) => {
                self.next += 1;
                match &*name {
                    "true" | "True" => Kind::Const(Const::Bool(true)),
                    "false" | "False" => Kind::Const(Const::Bool(false)),
                    "none" | "None" => Kind::Const(Const::None),
                    _ => {
                        self.mentioned.insert(name.clone());
                        Kind::Name(name)
                    }
                }
            }
            Piece::Text(text) => {
                self.next += 1;
                let mut text = text;
                while let Piece::Text(more) = self.piece() {
                    text = format!("{text}{more}").into();
                    self.next += 1;
                }
                Kind::Const(Const::Text(text))
            }
            Piece::Int(it) => {
                self.next += 1;
                Kind::Const(Const::Int(it))
            }
            Piece::Float(it) => {
                self.next += 1;
                Kind::Const(Const::Float(it))
            }
            Piece::Op("(") => {
                self.next += 1;
                return self.parenthesized(from);
            }
            Piece::Op("[") => {
                self.next += 1;
                Kind::List(self.items("]")?)
            }
            Piece::Op("{") => {
                self.next += 1;
                self.dict()?
            }
            _ => return Err(self.unexpected("a value")),
        };
        Ok(self.make(from, kind))
    }

    fn parenthesized(&mut self, from: Spot) -> Outcome<Expr> {
        if self.take_op(")") {
            return Ok(self.make(from, Kind::Tuple(Vec::new())));
        }
        let inner = self.deeper(Self::tuple)?;
        self.expect_op(")")?;
        Ok(inner)
    }

    fn items(&mut self, close: &str) -> Outcome<Vec<Expr>> {
        let mut items = Vec::new();
        while !self.take_op(close) {
            if !items.is_empty() {
                self.expect_op(",")?;
                if self.take_op(close) {
                    break;
                }
            }
            items.push(self.expression()?);
        }
        Ok(items)
    }

    fn dict(&mut self) -> Outcome<Kind> {
        let mut pairs = Vec::new();
        while !self.take_op("}") {
            if !pairs.is_empty() {
                self.expect_op(",")?;
                if self.take_op("}") {
                    break;
                }
            }
            let key = self.expression()?;
            self.expect_op(":")?;
            pairs.push((key, self.expression()?));
        }
        Ok(Kind::Dict(pairs))
    }

    pub(super) fn postfix(&mut self, mut node: Expr) -> Outcome<Expr> {
        let mut links = 0;
        loop {
            let from = node.at;
            let kind = if self.take_op(".") {
                match self.piece().clone() {
                    Piece::Int(index) => {
                        self.next += 1;
                        let at = self.spot();
                        let key = Expr { at, kind: Kind::Const(Const::Int(index)) };
                        Kind::Item(Box::new(node), Box::new(key))
                    }
                    _ => Kind::Attribute(Box::new(node), self.name()?),
                }
            } else if self.take_op("[") {
                self.subscript(node)?
            } else if self.is_op("(") {
                Kind::Call(Box::new(node), Box::new(self.args()?))
            } else {
                return Ok(node);
            };
            links += 1;
            self.check_links(links)?;
            node = self.make(from, kind);
        }
    }

    fn check_links(&self, links: usize) -> Outcome<()> {
        if links <= limits::TEMPLATE_DEPTH {
            return Ok(());
        }
        let message = format!("more than {} filters, attributes and calls in a row", limits::TEMPLATE_DEPTH);
        Err(Failure::new("E0207", message).at(self.spot()).help("use `set` for a part of it"))
    }

    fn subscript(&mut self, node: Expr) -> Outcome<Kind> {
        if self.is_op("]") {
            return Err(self.unexpected("a key"));
        }
        let first = if self.is_op(":") { None } else { Some(Box::new(self.tuple()?)) };
        if !self.is_op(":") {
            self.expect_op("]")?;
            return match first {
                Some(key) => Ok(Kind::Item(Box::new(node), key)),
                None => Err(self.unexpected("a key")),
            };
        }
        let mut parts = [first, None, None];
        for part in &mut parts[1..] {
            if self.take_op(":") && !self.is_op(":") && !self.is_op("]") {
                *part = Some(Box::new(self.expression()?));
            }
        }
        self.expect_op("]")?;
        Ok(Kind::Slice(Box::new(node), parts))
    }

    /// `(a, b=c, *d, **e)`.
    pub(super) fn args(&mut self) -> Outcome<Args> {
        self.expect_op("(")?;
        let mut args = Args::default();
        let mut first = true;
        while !self.take_op(")") {
            if !first {
                self.expect_op(",")?;
                if self.take_op(")") {
                    break;
                }
            }
            first = false;
            if self.take_op("**") {
                args.stars = Some(Box::new(self.expression()?));
            } else if self.take_op("*") {
                args.star = Some(Box::new(self.expression()?));
            } else if let (Piece::Name(name), Some(Piece::Op("="))) =
                (self.piece().clone(), self.tokens.get(self.next + 1).map(|it| &it.kind))
            {
                self.next += 2;
                args.named.push((name, self.expression()?));
            } else {
                args.plain.push(self.expression()?);
            }
        }
        Ok(args)
    }

    fn filtered(&mut self, mut node: Expr) -> Outcome<Expr> {
        let mut links = 0;
        loop {
            let from = node.at;
            let kind = if self.take_op("|") {
                Kind::Filter(Box::new(node), Box::new(self.filter()?))
            } else if self.take_word("is") {
                self.test(node)?
            } else if self.is_op("(") {
                Kind::Call(Box::new(node), Box::new(self.args()?))
            } else {
                return Ok(node);
            };
            links += 1;
            self.check_links(links)?;
            node = self.make(from, kind);
        }
    }

    /// What follows `|`.
    pub(super) fn filter(&mut self) -> Outcome<Filter> {
        let from = self.spot();
        let name = self.dotted()?;
        let at = self.since(from);
        let args = if self.is_op("(") { self.args()? } else { Args::default() };
        Ok(Filter { name, args, at })
    }

    fn dotted(&mut self) -> Outcome<Arc<str>> {
        let mut name = self.name()?;
        while self.take_op(".") {
            name = format!("{name}.{}", self.name()?).into();
        }
        Ok(name)
    }

    fn test(&mut self, value: Expr) -> Outcome<Kind> {
        let negated = self.take_word("not");
        let name = self.dotted()?;
        let bare = match self.piece() {
            Piece::Name(word) => !AFTER_TEST.contains(&&**word),
            Piece::Text(_) | Piece::Int(_) | Piece::Float(_) | Piece::Op("[" | "{") => true,
            _ => false,
        };
        let args = if self.is_op("(") {
            self.args()?
        } else if bare {
            let primary = self.primary()?;
            Args { plain: vec![self.postfix(primary)?], ..Args::default() }
        } else {
            Args::default()
        };
        Ok(Kind::Test { value: Box::new(value), name, args: Box::new(args), negated })
    }
}
