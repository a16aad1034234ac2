//! Counts what a rendering makes and does, so that no template can take more than its share; and takes apart what it
//! made, whatever holds what in a circle.

use super::{
    failure::{Failure, Outcome},
    object::{Frame, Object},
    value::{Dict, Key, List, Value},
};
use crate::limits;
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

/// All that one compile makes.
#[derive(Debug, Default)]
pub(crate) struct Heap {
    lists: RefCell<Vec<Rc<List>>>,
    dicts: RefCell<Vec<Rc<RefCell<Dict>>>>,
    objects: RefCell<Vec<Rc<Object>>>,
    frames: RefCell<Vec<Rc<Frame>>>,
    work: Cell<usize>,
    work_in_all: Cell<usize>,
    bytes: Cell<usize>,
    depth: Cell<usize>,
}

/// What one step is worth in bytes of text.
const BYTES_A_STEP: usize = 64;

impl Heap {
    /// A rendering begins: it may do as much as any other, but all of a compile have a bound as well.
    pub(super) fn begin(&self) {
        self.work.set(0);
        self.bytes.set(0);
        self.depth.set(0);
    }
    /// Counts work.
    pub(super) fn spend(&self, steps: usize) -> Outcome<()> {
        let (work, all) =
            (self.work.get().saturating_add(steps), self.work_in_all.get().saturating_add(steps));
        self.work.set(work);
        self.work_in_all.set(all);
        if work > limits::JINJA_STEPS {
            return Err(Failure::limit(format!(
                "this template takes more than {} steps",
                limits::JINJA_STEPS
            ))
            .help("look for a loop over more than was meant"));
        }
        if all > limits::JINJA_STEPS_IN_ALL {
            let most = limits::JINJA_STEPS_IN_ALL;
            return Err(Failure::limit(format!("the templates of one minion take more than {most} steps")));
        }
        Ok(())
    }
    /// Counts text that is about to be made, of `bytes` in one piece.
    pub(super) fn room(&self, bytes: usize) -> Outcome<()> {
        if bytes > limits::RENDERED_BYTES {
            let message = format!("a text of more than {} bytes", limits::RENDERED_BYTES);
            return Err(Failure::limit(message).help("look for a repetition or a width that is too large"));
        }
        let all = self.bytes.get().saturating_add(bytes);
        self.bytes.set(all);
        if all > limits::RENDERED_BYTES_IN_ALL {
            let most = limits::RENDERED_BYTES_IN_ALL;
            return Err(Failure::limit(format!("this template makes more than {most} bytes of text")));
        }
        self.spend(bytes / BYTES_A_STEP)
    }
    /// A text that was made.
    pub(super) fn text(&self, text: String) -> Outcome<Value> {
        self.room(text.len())?;
        Ok(Value::Str(text.into()))
    }
    pub(super) fn list(&self, items: Vec<Value>) -> Value {
        self.sequence(items, false)
    }
    pub(super) fn tuple(&self, items: Vec<Value>) -> Value {
        self.sequence(items, true)
    }
    pub(super) fn sequence(&self, items: Vec<Value>, tuple: bool) -> Value {
        let list = Rc::new(List { tuple, items: RefCell::new(items) });
        self.lists.borrow_mut().push(list.clone());
        Value::List(list)
    }
    pub(super) fn dict(&self, dict: Dict) -> Value {
        let dict = Rc::new(RefCell::new(dict));
        self.dicts.borrow_mut().push(dict.clone());
        Value::Dict(dict)
    }
    pub(super) fn pairs(&self, pairs: Vec<(&str, Value)>) -> Value {
        self.dict(pairs.into_iter().map(|(key, value)| (Key::of_str(key), value)).collect())
    }
    /// An object that holds values.
    pub(super) fn object(&self, object: Object) -> Value {
        let object = Rc::new(object);
        self.objects.borrow_mut().push(object.clone());
        Value::Object(object)
    }
    /// Remembers a frame that something may hold on to.
    pub(super) fn frame(&self, frame: &Rc<Frame>) {
        self.frames.borrow_mut().push(frame.clone());
    }
    /// One level further into a template or a value.
    pub(super) fn deeper<T>(&self, what: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
        let depth = self.depth.get();
        if depth >= limits::JINJA_DEPTH {
            let message = format!("calls or values go more than {} deep", limits::JINJA_DEPTH);
            return Err(Failure::limit(message)
                .help("look for a macro that calls itself, or a list that holds itself"));
        }
        self.depth.set(depth + 1);
        let result = what();
        self.depth.set(depth);
        result
    }
}

impl Drop for Heap {
    /// Empties everything before anything is let go: nothing is dropped through more than one level.
    fn drop(&mut self) {
        for list in self.lists.borrow().iter() {
            drop(list.items.try_borrow_mut().map(|mut it| std::mem::take(&mut *it)));
        }
        for dict in self.dicts.borrow().iter() {
            drop(dict.try_borrow_mut().map(|mut it| std::mem::take(&mut *it)));
        }
        for frame in self.frames.borrow().iter() {
            frame.clear();
        }
        for object in self.objects.borrow().iter() {
            object.clear();
        }
    }
}
