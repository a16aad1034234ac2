//! Runs that halt at a step which boots the machine anew, and go on behind it.

use super::{
    Fate, Listener, Run, RunOptions, go,
    step::{Attempt, resource_of},
};
use crate::{Host, resource::Reboot};
use model::{Outcome, Recipe, RunReport, StepReport};
use serde::{Deserialize, Serialize};

/// Said of a step that booted the machine anew.
const BOOTED: &str = "the machine was booted anew";

/// Said where nobody could go on after the boot.
const NOBODY: &str = "only a run that a master asked for can boot the machine anew: labctl target ID apply";

/// What to do with a step that boots the machine anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reboots {
    /// It fails.
    Fail,
    /// The run halts there.
    Halt,
}

/// What was done before the machine was booted anew.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Before {
    pub(super) steps: usize,
    pub(super) duration_ms: u64,
}

/// How a run ended.
#[derive(Debug)]
pub enum Ended {
    /// With its last step.
    Report(Box<RunReport>),
    /// At a step that boots the machine anew.
    Reboot(Box<Halt>),
}

/// Where a run stands that waits for the machine to boot anew, with all that the rest of it has to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Halt {
    /// Position of the step.
    pub step: usize,
    /// What people who are logged in are told.
    pub message: String,
    /// Steps in the recipe: of another one this is not the halt.
    steps: usize,
    reports: Vec<StepReport>,
    fates: Vec<Option<Fate>>,
    duration_ms: u64,
}

/// A halt that is over.
#[derive(Clone, Debug)]
pub struct Past {
    /// Where the run stood.
    pub halt: Halt,
    /// Why the machine was not booted anew, if it was not.
    pub failed: Option<String>,
}

/// Runs every step, those behind a reboot if one is past, and halts at a step that boots the machine anew.
pub fn run_past(
    past: Option<Past>,
    recipe: &Recipe,
    options: &RunOptions<'_>,
    host: &mut dyn Host,
    progress: &mut Listener<'_>,
) -> Ended {
    go(recipe, options, host, progress, Reboots::Halt, past)
}

impl Run<'_, '_> {
    /// A step wants a reboot: the run halts, unless nobody is there who could do it.
    pub(super) fn wants_reboot(&mut self, index: usize, reboot: Reboot, attempt: &mut Attempt) {
        if self.reboots == Reboots::Fail {
            attempt.outcome = Outcome::Failed;
            NOBODY.clone_into(&mut attempt.comment);
            return;
        }
        self.shared.pause(reboot.wait_ms);
        if self.shared.cancelled() {
            attempt.outcome = Outcome::Failed;
            "cancelled before the machine was booted anew".clone_into(&mut attempt.comment);
            return;
        }
        BOOTED.clone_into(&mut attempt.comment);
        self.halted = Some((index, reboot));
    }

    pub(super) fn halt(&self, step: usize, reboot: Reboot, duration_ms: u64) -> Halt {
        Halt {
            step,
            message: reboot.message,
            steps: self.recipe.steps.len(),
            reports: self.reports.iter().flatten().cloned().collect(),
            fates: self.fates.clone(),
            duration_ms,
        }
    }

    /// Everything is as it was when the run halted, but that the machine was booted anew, or was not.
    pub(super) fn take_up(&mut self, past: Past) -> Before {
        let Past { halt, failed } = past;
        if halt.steps != self.recipe.steps.len() || halt.fates.len() != halt.steps || halt.step >= halt.steps
        {
            return Before::default();
        }
        self.fates = halt.fates;
        for report in halt.reports {
            if let Some(slot) = self.reports.get_mut(report.index) {
                *slot = Some(report);
            }
        }
        if let Some(reason) = failed {
            self.fates[halt.step] = Some(Fate::Failed);
            if let Some(report) = &mut self.reports[halt.step] {
                report.outcome = Outcome::Failed;
                report.comment = reason;
            }
            if self.recipe.steps[halt.step].global.failhard {
                self.given_up = Some(halt.step);
            }
        }
        self.set_variables_again(halt.step);
        Before { steps: halt.step + 1, duration_ms: halt.duration_ms }
    }

    /// What steps have set for the commands of those that follow.
    fn set_variables_again(&self, until: usize) {
        let good = |index: &usize| matches!(self.fates[*index], Some(Fate::Good { .. }));
        for index in (0..until).filter(good) {
            let resource = resource_of(&self.recipe.steps[index]).ok();
            if let Some((variables, forget)) = resource.and_then(|it| it.environment()) {
                self.shared.variables.set(variables, forget);
            }
        }
    }
}
