//! Runs a recipe on a host: check, apply, check again, one step after the other; requisites, retries, dry run, masking.

mod masking;
mod requisites;
mod step;
mod watched;

use crate::{Host, instantiate, keep::Keeper};
use masking::Masker;
use model::{Mode, Outcome, Recipe, Requisite, RunReport, Step, StepReport};
use requisites::{Fate, Verdict, title, verdict};
use serde_json::Value;
use std::{
    borrow::Cow,
    panic::{AssertUnwindSafe, catch_unwind},
};
use step::{Attempt, Circumstances};
use watched::Watched;

/// Attempts of one step, and milliseconds between two of them, that a recipe can ask for.
const ATTEMPTS_MAX: u32 = 1000;
const INTERVAL_MS_MAX: u64 = 3_600_000;
/// A pause is cut into pieces of this length, so that a cancellation is heard.
const PAUSE_PIECE_MS: u64 = 100;

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
    /// A step ended. It comes a second time for a step that was refreshed at the end of the run (`listen`).
    Ended(Box<StepReport>),
    /// A step that changed something has `fire_event`: this tag is to be sent.
    Event {
        /// Position in the recipe.
        index: usize,
        /// Suffix of the event's tag.
        tag: String,
        /// Block's name.
        id: String,
        /// What the step manages.
        name: String,
    },
}

/// Runs every step and tells `progress` what happens as it is known.
pub fn run(
    recipe: &Recipe,
    options: &RunOptions<'_>,
    host: &mut dyn Host,
    progress: &mut dyn FnMut(Progress),
) -> RunReport {
    let started = (options.clock_ms)();
    let masker = Masker::new(&recipe.secrets);
    let mut run = Run {
        recipe,
        options,
        host,
        progress,
        masker: &masker,
        keeper: Keeper::default(),
        fates: vec![None; recipe.steps.len()],
        reports: Vec::with_capacity(recipe.steps.len()),
        cancelled: false,
    };
    run.steps();
    if !run.cancelled {
        run.listeners();
    }
    run.settle();
    RunReport {
        mode: options.mode,
        sandbox: run.host.is_sandbox(),
        cancelled: run.cancelled,
        steps: run.reports,
        duration_ms: (options.clock_ms)().saturating_sub(started),
    }
}

struct Run<'a> {
    recipe: &'a Recipe,
    options: &'a RunOptions<'a>,
    host: &'a mut dyn Host,
    progress: &'a mut dyn FnMut(Progress),
    masker: &'a Masker,
    keeper: Keeper,
    fates: Vec<Option<Fate>>,
    reports: Vec<StepReport>,
    cancelled: bool,
}

impl Run<'_> {
    fn steps(&mut self) {
        for (index, step) in self.recipe.steps.iter().enumerate() {
            if (self.options.cancelled)() {
                self.cancelled = true;
                return;
            }
            let what = self.masker.text(&format!("{} {}", step.id, step.kind()));
            (self.progress)(Progress::Started { index, what });
            let started = (self.options.clock_ms)();
            let (attempt, fate) = self.step(index, step);
            self.fates[index] = Some(fate);
            self.finish(index, step, attempt, started);
            // A command that was killed is this step's failure and the run's end.
            self.cancelled = (self.options.cancelled)();
            if self.cancelled {
                return;
            }
            if step.global.failhard && fate == Fate::Failed {
                return self.give_up(index);
            }
        }
    }

    fn step(&mut self, index: usize, step: &Step) -> (Attempt, Fate) {
        let skip = |comment, fate| (Attempt::ended(Outcome::Skipped, comment), fate);
        let refresh = match verdict(self.recipe, index, &self.fates) {
            Verdict::Blocked(why) => return skip(why, Fate::Blocked),
            Verdict::NotNeeded(why) => return skip(why, Fate::NotNeeded),
            Verdict::Go { refresh } => refresh.map(|it| title(self.recipe, it)),
        };
        match self.prerequisite(index, step) {
            Ok(true) => (),
            Ok(false) => {
                let why = "nothing is going to change that it prepares (prereq)".to_owned();
                return skip(why, Fate::NotNeeded);
            }
            Err(why) => return (Attempt::ended(Outcome::Failed, why), Fate::Failed),
        }
        let circumstances =
            Circumstances { mode: self.options.mode, refresh, unsettled: self.unsettled(step) };
        let attempt = self.attempts(index, &with_keep(self.recipe, index), &circumstances);
        let fate = match attempt.outcome {
            Outcome::Failed => Fate::Failed,
            Outcome::Skipped => Fate::Blocked,
            Outcome::Ok => Fate::Good { changed: false },
            Outcome::Changed | Outcome::WouldChange => Fate::Good { changed: true },
        };
        (attempt, fate)
    }

    /// Whether one of the steps that this one prepares is going to change something; true if it prepares none.
    fn prerequisite(&mut self, index: usize, step: &Step) -> Result<bool, String> {
        let mut targets = step.links.iter().filter(|it| it.when == Requisite::Prereq).peekable();
        if targets.peek().is_none() {
            return Ok(true);
        }
        for link in targets {
            let Some(target) = self.recipe.steps.get(link.step) else {
                return Err(format!("its prereq is {}", title(self.recipe, link.step)));
            };
            if self.blocked_already(link.step) {
                continue;
            }
            let changes = self.guarded(index, |host| step::would_change(target, host));
            match changes.unwrap_or_else(Err) {
                Ok(false) => (),
                Ok(true) => return Ok(true),
                Err(why) => return Err(format!("cannot check {}: {why}", title(self.recipe, link.step))),
            }
        }
        Ok(false)
    }

    /// Whether what is known so far keeps a later step from running.
    fn blocked_already(&self, later: usize) -> bool {
        let failed = |it: usize| matches!(self.fates.get(it), Some(Some(Fate::Failed | Fate::Blocked)));
        self.recipe.steps[later].links.iter().any(|it| !it.any && !is_onfail(it.when) && failed(it.step))
    }

    /// In a dry run: an earlier step that this one builds upon and that would change something.
    fn unsettled(&self, step: &Step) -> Option<String> {
        let would = |it: &usize| self.fates.get(*it) == Some(&Some(Fate::Good { changed: true }));
        let earlier = step.links.iter().map(|it| it.step).find(would);
        let earlier = earlier.or_else(|| (0..self.fates.len()).find(would))?;
        (self.options.mode == Mode::Check).then(|| title(self.recipe, earlier))
    }

    fn attempts(&mut self, index: usize, step: &Step, circumstances: &Circumstances) -> Attempt {
        let attempts = match self.options.mode {
            Mode::Apply => step.global.attempts.clamp(1, ATTEMPTS_MAX),
            Mode::Check => 1,
        };
        let mut number = 1;
        loop {
            let result = self.guarded(index, |host| step::attempt(step, circumstances, host));
            let mut attempt = result.unwrap_or_else(|panic| Attempt::ended(Outcome::Failed, panic));
            let failed = attempt.outcome == Outcome::Failed;
            let again = failed != step.global.until_failed && number < attempts;
            if !again || (self.options.cancelled)() {
                if number > 1 {
                    attempt.say(&format!("attempt {number} of {attempts}"));
                }
                return attempt;
            }
            number += 1;
            let splay = self.splay(index, step.global.splay_ms.min(INTERVAL_MS_MAX));
            self.pause(step.global.interval_ms.min(INTERVAL_MS_MAX) + splay);
        }
    }

    /// Less than `most`, another one each time: so that many machines do not try at once.
    fn splay(&self, index: usize, most: u64) -> u64 {
        let seed = (self.options.clock_ms)().wrapping_add(index as u64);
        seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(32).checked_rem(most).unwrap_or(0)
    }

    fn pause(&self, ms: u64) {
        let mut left = ms;
        while left > 0 && !(self.options.cancelled)() {
            let piece = left.min(PAUSE_PIECE_MS);
            (self.options.pause_ms)(piece);
            left -= piece;
        }
    }

    /// Calls `work` with the host of step `index`. A panic in a module becomes a sentence.
    fn guarded<T>(&mut self, index: usize, work: impl FnOnce(&mut Watched<'_>) -> T) -> Result<T, String> {
        let mut watched = Watched {
            host: self.host,
            progress: self.progress,
            cancelled: self.options.cancelled,
            masker: self.masker,
            keeper: &mut self.keeper,
            index,
            live: true,
            told: 0,
        };
        catch_unwind(AssertUnwindSafe(|| work(&mut watched))).map_err(|panic| {
            let said = panic.downcast_ref::<&str>().copied();
            let said = said.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            format!("a mistake in labctl itself, please report it: {}", said.unwrap_or("panic"))
        })
    }

    fn finish(&mut self, index: usize, step: &Step, attempt: Attempt, started: u64) {
        let report = StepReport {
            index,
            id: step.id.clone(),
            sls: step.sls.clone(),
            kind: step.kind(),
            name: step.name.clone(),
            outcome: attempt.outcome,
            comment: attempt.comment,
            plan: attempt.plan,
            output: attempt.output,
            duration_ms: (self.options.clock_ms)().saturating_sub(started),
            at: step.at.clone(),
        };
        let report = self.masker.report(report);
        (self.progress)(Progress::Ended(Box::new(report.clone())));
        if let (Outcome::Changed, Some(tag)) = (report.outcome, &step.global.fire_event) {
            let (tag, id, name) = (self.masker.text(tag), report.id.clone(), report.name.clone());
            (self.progress)(Progress::Event { index, tag, id, name });
        }
        self.reports.push(report);
    }

    /// After a failure with `failhard`: the rest is not tried.
    fn give_up(&mut self, failed: usize) {
        let why = format!("not tried: {} failed (failhard)", title(self.recipe, failed));
        let now = (self.options.clock_ms)();
        for (index, step) in self.recipe.steps.iter().enumerate().skip(failed + 1) {
            self.fates[index] = Some(Fate::Blocked);
            self.finish(index, step, Attempt::ended(Outcome::Skipped, why.clone()), now);
        }
    }

    /// Refreshes what listens to a step that changed something.
    fn listeners(&mut self) {
        let changed = Some(Fate::Good { changed: true });
        for (index, step) in self.recipe.steps.iter().enumerate() {
            let heard = step
                .links
                .iter()
                .find(|it| it.when == Requisite::Listen && self.fates.get(it.step) == Some(&changed));
            let able = !matches!(self.fates[index], None | Some(Fate::Failed | Fate::Blocked));
            let (Some(link), true) = (heard, able) else { continue };
            let because = title(self.recipe, link.step);
            let started = (self.options.clock_ms)();
            let circumstances =
                Circumstances { mode: self.options.mode, refresh: Some(because), unsettled: None };
            let refreshed = self.guarded(index, |host| step::refresh(step, &circumstances, host));
            let attempt = refreshed.unwrap_or_else(|panic| Some(Attempt::ended(Outcome::Failed, panic)));
            if let Some(attempt) = attempt {
                self.amend(index, attempt, started);
            }
        }
    }

    /// Adds what happened at the end of the run to a step's report.
    fn amend(&mut self, index: usize, attempt: Attempt, started: u64) {
        let mut report = self.reports[index].clone();
        report.outcome = attempt.outcome;
        report.plan.changes.extend(attempt.plan.changes);
        report.output = attempt.output.or(report.output);
        report.duration_ms += (self.options.clock_ms)().saturating_sub(started);
        report.comment = [report.comment, attempt.comment]
            .into_iter()
            .filter(|it| !it.is_empty())
            .collect::<Vec<_>>()
            .join("; ");
        let report = self.masker.report(report);
        (self.progress)(Progress::Ended(Box::new(report.clone())));
        self.reports[index] = report;
    }

    /// What is not on the disk has not happened.
    fn settle(&mut self) {
        if self.options.mode == Mode::Check {
            return;
        }
        let kept = self.keeper.after(self.host);
        let Err(error) = kept.and_then(|()| self.host.settle()) else { return };
        let changed = |it: &&mut StepReport| it.outcome == Outcome::Changed;
        for report in self.reports.iter_mut().filter(changed) {
            report.outcome = Outcome::Failed;
            report.comment = format!("changed, but cannot be made durable: {error}");
        }
    }
}

/// The step; if it has `clean`, with the paths that other steps manage: these are kept.
fn with_keep(recipe: &Recipe, index: usize) -> Cow<'_, Step> {
    let step = &recipe.steps[index];
    if step.state != "file" || !step.params.contains_key("clean") {
        return Cow::Borrowed(step);
    }
    let others = recipe.steps.iter().enumerate().filter(|(at, it)| *at != index && it.state == "file");
    let keep = others.filter_map(|(_, it)| it.params.get("name").cloned()).collect();
    let mut step = step.clone();
    step.params.insert("keep".to_owned(), Value::Array(keep));
    Cow::Owned(step)
}

fn is_onfail(when: Requisite) -> bool {
    matches!(when, Requisite::Onfail | Requisite::OnfailAll)
}

/// The resource that a step describes.
fn resource_of(step: &Step) -> Result<Box<dyn crate::Resource>, String> {
    instantiate(&step.kind(), &step.params).map_err(|error| error.to_string())
}
