//! Values that are no data: macros, methods, `loop`, namespaces, what was imported, `salt`.

use super::{
    ast::{For, Macro, Template},
    value::Value,
};
use indexmap::IndexMap;
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

/// Names in force; those it lacks are the parent's.
#[derive(Debug, Default)]
pub(super) struct Frame {
    pub(super) names: RefCell<IndexMap<Arc<str>, Value>>,
    parent: RefCell<Option<Rc<Frame>>>,
}

impl Frame {
    pub(super) fn below(parent: &Rc<Self>) -> Rc<Self> {
        Rc::new(Self { names: RefCell::default(), parent: RefCell::new(Some(parent.clone())) })
    }
    pub(super) fn get(&self, name: &str) -> Option<Value> {
        if let Some(value) = self.names.borrow().get(name) {
            return Some(value.clone());
        }
        let mut frame = self.parent.borrow().clone();
        while let Some(it) = frame {
            if let Some(value) = it.names.borrow().get(name) {
                return Some(value.clone());
            }
            let parent = it.parent.borrow().clone();
            frame = parent;
        }
        None
    }
    pub(super) fn set(&self, name: Arc<str>, value: Value) {
        self.names.borrow_mut().insert(name, value);
    }
    /// All names that can be seen.
    pub(super) fn visible(&self) -> Vec<Arc<str>> {
        let mut names: Vec<Arc<str>> = self.names.borrow().keys().cloned().collect();
        let mut frame = self.parent.borrow().clone();
        while let Some(it) = frame {
            names.extend(it.names.borrow().keys().cloned());
            let parent = it.parent.borrow().clone();
            frame = parent;
        }
        names
    }
    pub(super) fn clear(&self) {
        drop(self.parent.take());
        drop(self.names.try_borrow_mut().map(|mut it| std::mem::take(&mut *it)));
    }
}

/// A thing that is no data.
#[derive(Debug)]
pub(super) enum Object {
    /// `namespace()`
    Namespace(RefCell<IndexMap<Arc<str>, Value>>),
    /// What a template gave when it was imported.
    Module {
        names: Rc<Frame>,
        text: Arc<str>,
        path: String,
    },
    Macro(MacroValue),
    /// `'a'.upper`
    Method(RefCell<Value>, Arc<str>),
    /// One of the functions that every template has.
    Global(&'static super::globals::Global),
    Loop(Rc<Loop>),
    /// `salt`
    Salt,
    /// `salt.module`
    SaltModule(Arc<str>),
    /// `salt['module.function']`
    SaltFunction(Arc<str>),
    Cycler {
        items: RefCell<Vec<Value>>,
        next: Cell<usize>,
    },
    Joiner {
        by: Arc<str>,
        used: Cell<bool>,
    },
    /// `self`: the blocks of the template.
    Blocks,
    /// `self.name`, or `super` from some level of inheritance on.
    BlockCall {
        name: Arc<str>,
        level: usize,
    },
}

/// A macro with what it sees.
#[derive(Debug)]
pub(super) struct MacroValue {
    pub(super) made: Arc<Macro>,
    pub(super) template: Arc<Template>,
    pub(super) frame: Rc<Frame>,
}

/// `loop` in the body of `for`.
#[derive(Debug, Default)]
pub(super) struct Loop {
    pub(super) index: Cell<usize>,
    pub(super) items: RefCell<Vec<Value>>,
    pub(super) depth: usize,
    pub(super) changed: RefCell<Option<Vec<Value>>>,
    /// For `loop(children)`: where the loop stands.
    pub(super) recursion: Option<Recursion>,
}

/// A loop that can be called.
#[derive(Clone, Debug)]
pub(super) struct Recursion {
    pub(super) template: Arc<Template>,
    pub(super) made: Arc<For>,
    pub(super) frame: Rc<Frame>,
}

impl Object {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Namespace(_) => "a namespace",
            Self::Module { .. } => "an imported template",
            Self::Macro(_) => "a macro",
            Self::Method(..) => "a method",
            Self::Global(_) | Self::SaltFunction(_) => "a function",
            Self::Loop(_) => "`loop`",
            Self::Salt => "`salt`",
            Self::SaltModule(_) => "a module of `salt`",
            Self::Cycler { .. } => "a cycler",
            Self::Joiner { .. } => "a joiner",
            Self::Blocks => "`self`",
            Self::BlockCall { .. } => "a block",
        }
    }
    /// Lets go of the values that it holds.
    pub(super) fn clear(&self) {
        match self {
            Self::Namespace(names) => {
                drop(names.try_borrow_mut().map(|mut it| std::mem::take(&mut *it)));
            }
            Self::Method(value, _) => drop(value.replace(Value::None)),
            Self::Cycler { items, .. } => drop(items.replace(Vec::new())),
            Self::Loop(it) => {
                drop(it.items.try_borrow_mut().map(|mut it| std::mem::take(&mut *it)));
                drop(it.changed.take());
            }
            _ => {}
        }
    }
}
