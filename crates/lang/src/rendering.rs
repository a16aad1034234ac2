//! What one rendering knows about itself: how much it may still do, and what it has to complain about. Helpers are
//! shared between threads, so this lives beside the thread's stack while a template runs.

use crate::limits;
use handlebars::{Helper, PathAndJson, RenderErrorReason};
use serde_json::Value;
use std::cell::RefCell;

/// The hidden argument that tells a helper where it stands: file, line, column.
pub(crate) const PLACE: &str = "\u{1}";

/// A complaint with a place in a template.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Remark {
    pub(crate) place: Place,
    pub(crate) kind: RemarkKind,
}

/// What it is about.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum RemarkKind {
    /// A variable that is not there.
    Missing(String),
    /// A mapping or list where text is wanted.
    NotText(String, &'static str),
    /// A helper says no.
    Helper(String, String),
}

/// File (position in the template's list), line and column (in the marked text).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Place {
    pub(crate) file: usize,
    pub(crate) line: usize,
    pub(crate) column: usize,
}

#[derive(Debug, Default)]
struct State {
    remarks: Vec<Remark>,
    turns: u32,
    lenient: bool,
}

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

/// Begins a rendering. Lenient: what grains, labels and pillar lack counts as unknown, not as wrong.
pub(crate) fn begin(lenient: bool) {
    STATE.with_borrow_mut(|state| *state = State { lenient, ..State::default() });
}

/// Ends it; what it complained about.
pub(crate) fn end() -> Vec<Remark> {
    STATE.with_borrow_mut(|state| std::mem::take(&mut state.remarks))
}

/// Complains.
pub(crate) fn remark(place: Place, kind: RemarkKind) {
    STATE.with_borrow_mut(|state| {
        let remark = Remark { place, kind };
        if state.remarks.len() < limits::DIAGNOSTICS && !state.remarks.contains(&remark) {
            state.remarks.push(remark);
        }
    });
}

/// Counts a loop turn or a partial; an error when there were too many.
pub(crate) fn turn() -> Result<(), RenderErrorReason> {
    STATE.with_borrow_mut(|state| {
        state.turns += 1;
        if state.turns > limits::TEMPLATE_TURNS {
            let message = format!("more than {} loop turns and partials", limits::TEMPLATE_TURNS);
            return Err(RenderErrorReason::Other(message));
        }
        Ok(())
    })
}

/// Whether a variable may be missing because there is no minion to ask.
pub(crate) fn may_be_unknown(path: &str) -> bool {
    let root = path.trim_start_matches("@root.").trim_start_matches("../");
    let root = root.split(['.', '/']).next().unwrap_or("");
    matches!(root, "grains" | "pillar" | "labels" | "event" | "data")
        && STATE.with_borrow(|state| state.lenient)
}

/// Where a helper stands.
pub(crate) fn place_of(helper: &Helper<'_>) -> Place {
    let Some(Value::Array(place)) = helper.hash_get(PLACE).map(PathAndJson::value) else {
        return Place::default();
    };
    let number = |index: usize| {
        place.get(index).and_then(Value::as_u64).and_then(|it| usize::try_from(it).ok()).unwrap_or(0)
    };
    Place { file: number(0), line: number(1), column: number(2) }
}
