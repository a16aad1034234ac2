//! A parsed template.

use super::lexer::Spot;
use crate::say::Text;
use std::{collections::HashSet, sync::Arc};

/// A template that can run, shared by threads.
#[derive(Debug)]
pub(crate) struct Template {
    pub(super) text: Arc<Text>,
    pub(super) body: Vec<Node>,
    pub(super) blocks: Vec<(Arc<str>, Arc<Vec<Node>>)>,
    /// Every name that some tag sets: it may be missing only because of a value that is not known.
    pub(super) assigned: HashSet<Arc<str>>,
}

impl Template {
    /// What it was read from.
    pub(super) fn source(&self) -> &str {
        &self.text.body
    }
}

/// A statement.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) at: Spot,
    pub(super) kind: Stmt,
}

#[derive(Debug)]
pub(super) enum Stmt {
    Data(Arc<str>),
    Print(Expr),
    If(Vec<(Expr, Vec<Node>)>, Vec<Node>),
    For(Arc<For>),
    Set(Target, Expr),
    SetBlock(Target, Vec<Filter>, Vec<Node>),
    Do(Expr),
    With(Vec<(Target, Expr)>, Vec<Node>),
    Macro(Arc<Macro>),
    Call(Arc<Macro>, Expr),
    FilterBlock(Vec<Filter>, Vec<Node>),
    Include { path: Expr, ignore_missing: bool, context: bool },
    Import { path: Expr, name: Arc<str>, context: bool, load: Option<Load> },
    From { path: Expr, names: Vec<(Arc<str>, Arc<str>)>, context: bool },
    Load { load: Load, name: Arc<str>, body: Vec<Node> },
    Block(Arc<str>),
    Extends(Expr),
    Scope(Vec<Node>),
    Break,
    Continue,
}

/// How the text of a file or a block becomes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    Yaml,
    Json,
    Text,
}

#[derive(Debug)]
pub(super) struct For {
    pub(super) target: Target,
    pub(super) items: Expr,
    pub(super) only: Option<Expr>,
    pub(super) recursive: bool,
    pub(super) body: Vec<Node>,
    pub(super) otherwise: Vec<Node>,
}

#[derive(Debug)]
pub(super) struct Macro {
    pub(super) name: Arc<str>,
    pub(super) params: Vec<(Arc<str>, Option<Expr>)>,
    pub(super) body: Vec<Node>,
    pub(super) uses_varargs: bool,
    pub(super) uses_kwargs: bool,
    pub(super) at: Spot,
}

/// What can be assigned to.
#[derive(Clone, Debug)]
pub(super) enum Target {
    Name(Arc<str>),
    /// `ns.name`
    Attribute(Arc<str>, Arc<str>),
    Tuple(Vec<Target>),
}

/// A filter behind a bar.
#[derive(Debug)]
pub(super) struct Filter {
    pub(super) name: Arc<str>,
    pub(super) args: Args,
    pub(super) at: Spot,
}

/// Arguments of a call.
#[derive(Debug, Default)]
pub(super) struct Args {
    pub(super) plain: Vec<Expr>,
    pub(super) named: Vec<(Arc<str>, Expr)>,
    pub(super) star: Option<Box<Expr>>,
    pub(super) stars: Option<Box<Expr>>,
}

/// An expression.
#[derive(Debug)]
pub(super) struct Expr {
    pub(super) at: Spot,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Const(Const),
    Name(Arc<str>),
    List(Vec<Expr>),
    Tuple(Vec<Expr>),
    Dict(Vec<(Expr, Expr)>),
    /// `a.name`
    Attribute(Box<Expr>, Arc<str>),
    /// `a[key]`
    Item(Box<Expr>, Box<Expr>),
    Slice(Box<Expr>, [Option<Box<Expr>>; 3]),
    Call(Box<Expr>, Box<Args>),
    Filter(Box<Expr>, Box<Filter>),
    Test {
        value: Box<Expr>,
        name: Arc<str>,
        args: Box<Args>,
        negated: bool,
    },
    Not(Box<Expr>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Concat(Vec<Expr>),
    /// `a + b - c`: from left to right.
    Chain(Box<Expr>, Vec<(&'static str, Expr)>),
    Compare(Box<Expr>, Vec<(Comparison, Expr)>),
    Sign(bool, Box<Expr>),
    IfElse(Box<[Expr; 2]>, Option<Box<Expr>>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
    NotIn,
}

/// A literal.
#[derive(Clone, Debug)]
pub(super) enum Const {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Arc<str>),
}
