//! Runs a recipe on a host: check, apply, check again, one step after the other; requisites, retries, dry run, masking.

use crate::Host;
use model::{Mode, Recipe, RunReport, StepReport};

/// How to run.
pub struct RunOptions<'a> {
    /// Look only, or change.
    pub mode: Mode,
    /// Asked before each step (and while a command runs): end early.
    pub cancelled: &'a dyn Fn() -> bool,
    /// Milliseconds of a clock that only goes forward, for durations.
    pub clock_ms: &'a dyn Fn() -> u64,
    /// Waits between attempts; given so that tests do not.
    pub pause_ms: &'a dyn Fn(u64),
}

/// What is told while it runs. Texts are masked already.
#[derive(Clone, Debug)]
pub enum Progress {
    /// A step begins.
    Started {
        /// Position in the recipe.
        index: usize,
        /// Block's name and function.
        what: String,
    },
    /// A command says something.
    Output {
        /// Position in the recipe.
        index: usize,
        /// Standard error rather than output.
        stderr: bool,
        /// Lossy UTF-8.
        text: String,
    },
    /// A step ended.
    Ended(Box<StepReport>),
}

/// Runs every step and tells `progress` what happens as it is known.
pub fn run(
    _recipe: &Recipe,
    _options: &RunOptions<'_>,
    _host: &mut dyn Host,
    _progress: &mut dyn FnMut(Progress),
) -> RunReport {
    todo!()
}
