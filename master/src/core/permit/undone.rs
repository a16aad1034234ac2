//! What an undo undoes, as far as rights go.

use crate::core::Master;
use model::{JobKind, Mode, Request};
use serde_json::Map;

/// Undoings of undoings that are looked through.
const UNDONE_MAX: usize = 20;

impl Master {
    /// What an undo puts back: who undoes a job must be allowed to do it. One that is not remembered counts as a run of
    /// all states.
    pub(super) fn undone_by(&self, request: &Request) -> Option<JobKind> {
        let Request::Submit { kind, .. } = request else { return None };
        let mut kind = Some(kind).filter(|it| matches!(it, JobKind::Undo { .. }))?;
        for _ in 0..UNDONE_MAX {
            let JobKind::Undo { of, .. } = kind else { return Some(kind.clone()) };
            match self.book.whole_job(*of) {
                Some(whole) => kind = &whole.job.kind,
                None => break,
            }
        }
        Some(JobKind::Apply {
            states: Vec::new(),
            mode: Mode::Apply,
            pillar: Map::new(),
            env: None,
            confirm_ms: None,
        })
    }
}
