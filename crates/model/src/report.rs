//! What a run did.

use crate::Place;
use serde::{Deserialize, Serialize};

/// Whether to look only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Report what would change.
    Check,
    /// Change it.
    Apply,
}

/// The difference between what is and what should be; empty when they agree.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// In the order in which they will be made.
    pub changes: Vec<Change>,
}

impl Plan {
    /// Whether nothing has to be done.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
    /// Notes that `what` goes from `from` to `to`, unless they are equal.
    pub fn differ<T: PartialEq + ToString>(&mut self, what: &str, from: Option<&T>, to: &T) {
        if from != Some(to) {
            let from = from.map(ToString::to_string);
            self.push(Change { what: what.to_owned(), from, to: Some(to.to_string()), diff: None });
        }
    }
    /// Notes a change.
    pub fn push(&mut self, change: Change) {
        self.changes.push(change);
    }
    /// Whether `what` is among the changes.
    pub fn touches(&self, what: &str) -> bool {
        self.changes.iter().any(|change| change.what == what)
    }
}

/// One property that changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The property, such as `mode`.
    pub what: String,
    /// Its value now; `None` where there is none yet.
    pub from: Option<String>,
    /// Its value afterwards; `None` where it goes away.
    pub to: Option<String>,
    /// Unified diff of text contents, without file headers; at most 64 KiB.
    pub diff: Option<String>,
}

/// How one step ended. The same words everywhere: command line, API, events, metrics, dashboards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It already was as it should be (or unless/onlyif/creates said that there is nothing to do).
    Ok,
    /// It is now, proven by a second check.
    Changed,
    /// It would be: the run was a dry one.
    WouldChange,
    /// It is not.
    Failed,
    /// It was not tried, because of a requisite.
    Skipped,
    /// A word of a newer release.
    #[serde(other)]
    Unknown,
}

/// What a command said. Both streams are cut at their limit with a notice at the end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Output {
    /// Lossy UTF-8.
    pub stdout: String,
    /// Lossy UTF-8.
    pub stderr: String,
    /// Exit code; `None` when it was ended by a signal or never started.
    pub code: Option<i32>,
    /// Bytes that were dropped at the limit.
    pub dropped: u64,
}

/// One step's result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// Position in the recipe.
    pub index: usize,
    /// The block's name.
    pub id: String,
    /// State file, dotted.
    pub sls: String,
    /// `module.function`.
    pub kind: String,
    /// What it acted on.
    pub name: String,
    /// The word.
    pub outcome: Outcome,
    /// One sentence for people: why it failed (the whole chain of causes joined by `: `), why it was skipped,
    /// `reloaded (watched site_conf)`.
    pub comment: String,
    /// What changed or would.
    pub plan: Plan,
    /// What a command said, if it was one.
    pub output: Option<Output>,
    /// Wall time.
    pub duration_ms: u64,
    /// Where it is written.
    pub at: Option<Place>,
}

/// Modules of which an undo puts back everything that they alter.
const PUT_BACK: [&str; 5] = ["file", "iptables", "nftables", "service", "undo"];

/// Whether an undo puts back all that a function (`module.function`) alters; of others only the files that they write.
pub fn is_put_back(kind: &str) -> bool {
    kind.split_once('.').is_some_and(|(module, _)| PUT_BACK.contains(&module))
}

/// What a run did: one report for each step, in the recipe's order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// Whether it was a dry run.
    pub mode: Mode,
    /// In the recipe's order; shorter than the recipe if the run was cancelled.
    pub steps: Vec<StepReport>,
    /// Wall time of the whole.
    pub duration_ms: u64,
    /// Whether it ended early because someone asked for it.
    pub cancelled: bool,
    /// Whether it ran in a sandbox.
    pub sandbox: bool,
}

/// How many steps ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// As they should be.
    pub ok: u32,
    /// Made so.
    pub changed: u32,
    /// In a check.
    pub would_change: u32,
    /// Not as they should be.
    pub failed: u32,
    /// Not tried.
    pub skipped: u32,
}

impl RunReport {
    /// Counts the outcomes.
    pub fn tally(&self) -> Tally {
        let count = |outcome| self.steps.iter().fold(0, |sum, it| sum + u32::from(it.outcome == outcome));
        Tally {
            ok: count(Outcome::Ok),
            changed: count(Outcome::Changed),
            would_change: count(Outcome::WouldChange),
            failed: count(Outcome::Failed),
            skipped: count(Outcome::Skipped),
        }
    }
}
