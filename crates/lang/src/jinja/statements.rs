//! Reads the tags of Jinja, and those that Salt adds.

use super::{
    ast::{Expr, For, Load, Macro, Node, Stmt, Target, Template},
    failure::{Failure, Outcome},
    lexer::{self, Kind as Piece, Spot, Trim},
    parser::Parser,
};
use crate::say::{Text, did_you_mean};
use std::{collections::HashSet, ops::Range, sync::Arc};

/// The tags that a template can have.
pub(super) const TAGS: &[&str] = &[
    "block",
    "break",
    "call",
    "continue",
    "do",
    "extends",
    "filter",
    "for",
    "from",
    "if",
    "import",
    "import_json",
    "import_text",
    "import_yaml",
    "include",
    "load_json",
    "load_text",
    "load_yaml",
    "macro",
    "profile",
    "raw",
    "set",
    "with",
    "autoescape",
];

/// Words that only continue or end another tag.
const ENDS: &[&str] = &["elif", "else", "pluralize"];

/// Reads a whole template, whose line ends are `\n`; the last one is not a part of it.
pub(super) fn parse(text: &Arc<Text>, trim: Trim, header: Range<usize>) -> Outcome<Template> {
    let body = text.body.strip_suffix('\n').unwrap_or(&text.body);
    let header = header.start.min(body.len())..header.end.min(body.len());
    let tokens = lexer::tokens(body, trim, header)?;
    let mut parser = Parser {
        tokens,
        next: 0,
        depth: 0,
        assigned: HashSet::new(),
        blocks: Vec::new(),
        mentioned: HashSet::new(),
    };
    let body = parser.nodes(&[], None)?;
    let Parser { assigned, blocks, .. } = parser;
    Ok(Template { text: text.clone(), body, blocks, assigned })
}

impl Parser {
    /// Statements up to one of the ends, whose word is not taken; `opened` is the tag that they are in.
    fn nodes(&mut self, ends: &[&str], opened: Option<(&str, Spot)>) -> Outcome<Vec<Node>> {
        let mut nodes = Vec::new();
        loop {
            let at = self.spot();
            match self.piece().clone() {
                Piece::Data(text) => {
                    self.next += 1;
                    nodes.push(Node { at, kind: Stmt::Data(text) });
                }
                Piece::PrintBegin => {
                    self.next += 1;
                    let value = self.tuple()?;
                    if !matches!(self.piece(), Piece::PrintEnd) {
                        return Err(self.unexpected("`}}`"));
                    }
                    self.next += 1;
                    nodes.push(Node { at, kind: Stmt::Print(value) });
                }
                Piece::BlockBegin => {
                    self.next += 1;
                    if ends.iter().any(|it| self.is_word(it)) {
                        return Ok(nodes);
                    }
                    let kind = self.deeper(|it| it.statement(opened))?;
                    self.end_of_tag()?;
                    nodes.push(Node { at, kind });
                }
                Piece::End => {
                    let Some((tag, at)) = opened else { return Ok(nodes) };
                    let wanted = ends.last().copied().unwrap_or_default();
                    let message = format!("`{tag}` is never closed");
                    return Err(Failure::syntax(message)
                        .at(at)
                        .help(format!("close it with {{% {wanted} %}}")));
                }
                _ => return Err(self.unexpected("text or a tag")),
            }
        }
    }

    fn end_of_tag(&mut self) -> Outcome<()> {
        if matches!(self.piece(), Piece::BlockEnd) {
            self.next += 1;
            return Ok(());
        }
        Err(self.unexpected("`%}`"))
    }

    /// The body of a tag and its end tag, but for the `%}`.
    fn body(&mut self, tag: &str, at: Spot, end: &str) -> Outcome<Vec<Node>> {
        self.end_of_tag()?;
        let nodes = self.nodes(&[end], Some((tag, at)))?;
        self.next += 1;
        Ok(nodes)
    }

    fn statement(&mut self, opened: Option<(&str, Spot)>) -> Outcome<Stmt> {
        let at = self.spot();
        let tag = self.name()?;
        match &*tag {
            "if" => self.choice(at),
            "for" => self.repeat(at),
            "set" => self.set(at),
            "do" => Ok(Stmt::Do(self.tuple()?)),
            "with" => self.with(at),
            "macro" => self.macro_tag(at),
            "call" => self.call(at),
            "filter" => self.filter_block(at),
            "include" => self.include(),
            "import" => self.import(None),
            "import_yaml" => self.import(Some(Load::Yaml)),
            "import_json" => self.import(Some(Load::Json)),
            "import_text" => self.import(Some(Load::Text)),
            "from" => self.from(),
            "load_yaml" => self.load(at, Load::Yaml, "load_yaml"),
            "load_json" => self.load(at, Load::Json, "load_json"),
            "load_text" => self.load(at, Load::Text, "load_text"),
            "block" => self.block(at),
            "extends" => Ok(Stmt::Extends(self.expression()?)),
            "break" => Ok(Stmt::Break),
            "continue" => Ok(Stmt::Continue),
            "autoescape" => {
                self.expression()?;
                Ok(Stmt::Scope(self.body("autoescape", at, "endautoescape")?))
            }
            "profile" => {
                self.expect_word("as")?;
                self.expression()?;
                Ok(Stmt::Scope(self.body("profile", at, "endprofile")?))
            }
            other => Err(unknown_tag(other, at, opened)),
        }
    }

    fn choice(&mut self, at: Spot) -> Outcome<Stmt> {
        let mut branches = Vec::new();
        let ends = ["elif", "else", "endif"];
        loop {
            let condition = self.tuple()?;
            self.end_of_tag()?;
            branches.push((condition, self.nodes(&ends, Some(("if", at)))?));
            let word = self.name()?;
            match &*word {
                "elif" => {}
                "else" => {
                    let otherwise = self.body("if", at, "endif")?;
                    return Ok(Stmt::If(branches, otherwise));
                }
                _ => return Ok(Stmt::If(branches, Vec::new())),
            }
        }
    }

    fn repeat(&mut self, at: Spot) -> Outcome<Stmt> {
        let target = self.target()?;
        self.expect_word("in")?;
        // Not a whole expression: an `if` here filters.
        let from = self.spot();
        let first = self.or()?;
        let items = if self.is_op(",") {
            let mut items = vec![first];
            while self.take_op(",") {
                items.push(self.or()?);
            }
            Expr { at: from, kind: super::ast::Kind::Tuple(items) }
        } else {
            first
        };
        let only = if self.take_word("if") { Some(self.expression()?) } else { None };
        let recursive = self.take_word("recursive");
        self.end_of_tag()?;
        let body = self.nodes(&["else", "endfor"], Some(("for", at)))?;
        let otherwise = if self.take_word("else") {
            self.body("for", at, "endfor")?
        } else {
            self.next += 1;
            Vec::new()
        };
        Ok(Stmt::For(Arc::new(For { target, items, only, recursive, body, otherwise })))
    }

    /// `a`, `a.b`, `a, b`, `(a, b)`.
    fn target(&mut self) -> Outcome<Target> {
        let first = self.one_target()?;
        if !self.is_op(",") {
            return Ok(first);
        }
        let mut all = vec![first];
        while self.take_op(",") {
            if self.is_op("=") || self.is_word("in") || self.is_op(")") {
                break;
            }
            all.push(self.one_target()?);
        }
        Ok(Target::Tuple(all))
    }

    fn one_target(&mut self) -> Outcome<Target> {
        if self.take_op("(") {
            let inner = self.deeper(Self::target)?;
            self.expect_op(")")?;
            return Ok(match inner {
                Target::Tuple(_) => inner,
                one => Target::Tuple(vec![one]),
            });
        }
        let name = self.name()?;
        if self.take_op(".") {
            return Ok(Target::Attribute(name, self.name()?));
        }
        self.assigned.insert(name.clone());
        Ok(Target::Name(name))
    }

    fn set(&mut self, at: Spot) -> Outcome<Stmt> {
        let target = self.target()?;
        if self.take_op("=") {
            return Ok(Stmt::Set(target, self.tuple()?));
        }
        let filters = self.filters()?;
        let body = self.body("set", at, "endset")?;
        Ok(Stmt::SetBlock(target, filters, body))
    }

    fn filters(&mut self) -> Outcome<Vec<super::ast::Filter>> {
        let mut filters = Vec::new();
        while self.take_op("|") {
            filters.push(self.filter()?);
        }
        Ok(filters)
    }

    fn with(&mut self, at: Spot) -> Outcome<Stmt> {
        let mut sets = Vec::new();
        while !matches!(self.piece(), Piece::BlockEnd) {
            if !sets.is_empty() {
                self.expect_op(",")?;
            }
            let target = self.one_target()?;
            self.expect_op("=")?;
            sets.push((target, self.expression()?));
        }
        Ok(Stmt::With(sets, self.body("with", at, "endwith")?))
    }

    fn params(&mut self) -> Outcome<Vec<(Arc<str>, Option<Expr>)>> {
        let mut params: Vec<(Arc<str>, Option<Expr>)> = Vec::new();
        self.expect_op("(")?;
        while !self.take_op(")") {
            if !params.is_empty() {
                self.expect_op(",")?;
                if self.take_op(")") {
                    break;
                }
            }
            let name = self.name()?;
            let default = if self.take_op("=") { Some(self.expression()?) } else { None };
            params.push((name, default));
        }
        Ok(params)
    }

    fn macro_body(&mut self, name: Arc<str>, tag: &str, at: Spot, end: &str) -> Outcome<Macro> {
        let params = if tag == "macro" || self.is_op("(") { self.params()? } else { Vec::new() };
        self.macro_of(name, params, tag, at, end)
    }

    fn macro_of(
        &mut self,
        name: Arc<str>,
        params: Vec<(Arc<str>, Option<Expr>)>,
        tag: &str,
        at: Spot,
        end: &str,
    ) -> Outcome<Macro> {
        let outer = std::mem::take(&mut self.mentioned);
        let body = self.body(tag, at, end)?;
        let inner = std::mem::replace(&mut self.mentioned, outer);
        let (uses_varargs, uses_kwargs) = (inner.contains("varargs"), inner.contains("kwargs"));
        self.mentioned.extend(inner.iter().cloned());
        Ok(Macro { name, params, body, uses_varargs, uses_kwargs, at })
    }

    fn macro_tag(&mut self, at: Spot) -> Outcome<Stmt> {
        let name = self.name()?;
        self.assigned.insert(name.clone());
        let made = self.macro_body(name, "macro", at, "endmacro")?;
        // `{% endmacro name %}` is understood as well.
        Ok(Stmt::Macro(Arc::new(made)))
    }

    fn call(&mut self, at: Spot) -> Outcome<Stmt> {
        let params = if self.is_op("(") { self.params()? } else { Vec::new() };
        let callee = self.expression()?;
        let made = self.macro_of("caller".into(), params, "call", at, "endcall")?;
        Ok(Stmt::Call(Arc::new(made), callee))
    }

    fn filter_block(&mut self, at: Spot) -> Outcome<Stmt> {
        let mut filters = vec![self.filter()?];
        filters.extend(self.filters()?);
        Ok(Stmt::FilterBlock(filters, self.body("filter", at, "endfilter")?))
    }

    /// `with context`, `without context`.
    fn context(&mut self, default: bool) -> bool {
        for (word, value) in [("with", true), ("without", false)] {
            if self.is_word(word) && self.word_after() == Some("context") {
                self.next += 2;
                return value;
            }
        }
        default
    }

    fn include(&mut self) -> Outcome<Stmt> {
        let path = self.expression()?;
        let ignore_missing = self.is_word("ignore") && self.word_after() == Some("missing");
        self.next += if ignore_missing { 2 } else { 0 };
        let context = self.context(true);
        Ok(Stmt::Include { path, ignore_missing, context })
    }

    fn import(&mut self, load: Option<Load>) -> Outcome<Stmt> {
        let path = self.expression()?;
        self.expect_word("as")?;
        let name = self.name()?;
        self.assigned.insert(name.clone());
        let context = self.context(false);
        Ok(Stmt::Import { path, name, context, load })
    }

    fn from(&mut self) -> Outcome<Stmt> {
        let path = self.expression()?;
        self.expect_word("import")?;
        let mut names = Vec::new();
        let mut context = None;
        loop {
            if (self.is_word("with") || self.is_word("without")) && self.word_after() == Some("context") {
                context = Some(self.context(false));
                break;
            }
            let name = self.name()?;
            let alias = if self.take_word("as") { self.name()? } else { name.clone() };
            self.assigned.insert(alias.clone());
            names.push((name, alias));
            if !self.take_op(",") {
                break;
            }
        }
        let context = context.unwrap_or_else(|| self.context(false));
        Ok(Stmt::From { path, names, context })
    }

    fn load(&mut self, at: Spot, load: Load, tag: &str) -> Outcome<Stmt> {
        self.expect_word("as")?;
        let name = self.name()?;
        self.assigned.insert(name.clone());
        let body = self.body(tag, at, "endload")?;
        Ok(Stmt::Load { load, name, body })
    }

    fn block(&mut self, at: Spot) -> Outcome<Stmt> {
        let name = self.name()?;
        let _ = self.take_word("scoped") || self.take_word("required");
        let body = self.body("block", at, "endblock")?;
        if !matches!(self.piece(), Piece::BlockEnd) {
            self.name()?;
        }
        self.blocks.push((name.clone(), Arc::new(body)));
        Ok(Stmt::Block(name))
    }
}

fn unknown_tag(tag: &str, at: Spot, opened: Option<(&str, Spot)>) -> Failure {
    if tag.starts_with("end") || ENDS.contains(&tag) {
        let failure = Failure::syntax(format!("`{tag}` closes nothing here")).at(at);
        return match opened {
            Some((open, open_at)) => failure.help(format!("`{open}` of line {} is still open", open_at.line)),
            None => failure,
        };
    }
    let help = did_you_mean(tag, TAGS.iter().copied());
    Failure::syntax(format!("there is no tag `{tag}`")).at(at).maybe_help(help)
}
