//! Steps with `parallel`: each on a thread of its own, until another needs its result or the run ends.

use super::{
    Shared,
    step::{Attempt, Circumstances},
};
use crate::Host;
use model::Step;
use std::{
    borrow::Cow,
    sync::mpsc::{Receiver, Sender, channel},
    thread::Scope,
};

/// Steps that run at the same time, beside the one that is in turn.
const BESIDE_MAX: usize = 16;

/// A step that is to run.
pub(super) struct Work<'a> {
    pub(super) index: usize,
    pub(super) step: Cow<'a, Step>,
    pub(super) circumstances: Circumstances,
    pub(super) started: u64,
}

/// A step that ran.
pub(super) struct Done {
    pub(super) index: usize,
    pub(super) attempt: Attempt,
    pub(super) started: u64,
}

/// The steps that run beside.
pub(super) struct Beside<'scope, 'a, 's> {
    scope: &'scope Scope<'scope, 'a>,
    shared: &'a Shared<'s>,
    running: Vec<usize>,
    done: (Sender<Done>, Receiver<Done>),
}

impl<'scope, 'a: 'scope, 's> Beside<'scope, 'a, 's> {
    pub(super) fn new(scope: &'scope Scope<'scope, 'a>, shared: &'a Shared<'s>) -> Self {
        Self { scope, shared, running: Vec::new(), done: channel() }
    }

    pub(super) fn is_full(&self) -> bool {
        self.running.len() >= BESIDE_MAX
    }

    /// Whether one that is meant still runs.
    pub(super) fn any(&self, meant: impl Fn(usize) -> bool) -> bool {
        self.running.iter().any(|it| meant(*it))
    }

    /// Starts a step.
    pub(super) fn begin(&mut self, work: Work<'a>, mut host: Box<dyn Host + Send>) {
        let (shared, done) = (self.shared, self.done.0.clone());
        self.running.push(work.index);
        self.scope.spawn(move || {
            let Work { index, step, circumstances, started } = work;
            let mut attempt = shared.attempts(&mut *host, index, &step, &circumstances);
            if let Err(error) = host.settle() {
                attempt.unsettled(&error);
            }
            // The run waits for every step that it began.
            let _ = done.send(Done { index, attempt, started });
        });
    }

    /// The next that ends; none if none runs.
    pub(super) fn next(&mut self) -> Option<Done> {
        if self.running.is_empty() {
            return None;
        }
        let done = self.done.1.recv().ok()?;
        self.running.retain(|it| *it != done.index);
        Some(done)
    }
}
