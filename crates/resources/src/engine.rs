//! Runs a recipe on a host: check, apply, check again, one step after the other; requisites, retries, dry run, masking.

mod masking;
mod parallel;
mod requisites;
mod resume;
mod step;
mod variables;
mod watched;

use crate::{Host, keep::Keeper, resource::Reboot};
use masking::Masker;
use model::{Mode, Outcome, Recipe, Requisite, RunReport, Step, StepReport};
use parallel::{Beside, Done, Work};
use requisites::{Fate, Verdict, is_soft, title, verdict, with_keep};
use serde_json::Value;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, MutexGuard, PoisonError},
    thread::Scope,
};
use step::{Attempt, Circumstances, resource_of};
use variables::Variables;
use watched::Watched;

use resume::{Before, Reboots};
pub use resume::{Ended, Halt, Past, run_past};

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
    pub cancelled: &'a (dyn Fn() -> bool + Sync),
    /// Milliseconds of a clock that only goes forward, for durations.
    pub clock_ms: &'a (dyn Fn() -> u64 + Sync),
    /// Waits between attempts; given so that tests do not.
    pub pause_ms: &'a (dyn Fn(u64) + Sync),
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
        /// What else it says; null if nothing.
        data: Value,
    },
}

/// Hears what happens; from several threads, one at a time.
pub type Listener<'a> = dyn FnMut(Progress) + Send + 'a;

/// Runs every step and tells `progress` what happens as it is known. There is nobody who could boot the machine anew: a
/// step that wants it fails.
pub fn run(
    recipe: &Recipe,
    options: &RunOptions<'_>,
    host: &mut dyn Host,
    progress: &mut Listener<'_>,
) -> RunReport {
    match go(recipe, options, host, progress, Reboots::Fail, None) {
        Ended::Report(report) => *report,
        Ended::Reboot(halt) => unreachable!("a step that wants a reboot has failed: {halt:?}"),
    }
}

fn go(
    recipe: &Recipe,
    options: &RunOptions<'_>,
    host: &mut dyn Host,
    progress: &mut Listener<'_>,
    reboots: Reboots,
    past: Option<Past>,
) -> Ended {
    let masker = Masker::new(&recipe.secrets);
    let shared = Shared {
        options,
        progress: Mutex::new(progress),
        masker: &masker,
        keeper: Mutex::default(),
        variables: Variables::default(),
    };
    let started = shared.now();
    let mut run = Run {
        recipe,
        shared: &shared,
        host,
        fates: vec![None; recipe.steps.len()],
        reports: vec![None; recipe.steps.len()],
        given_up: None,
        cancelled: false,
        reboots,
        halted: None,
    };
    let before = past.map_or(Before::default(), |past| run.take_up(past));
    std::thread::scope(|scope| run.steps(scope, before.steps));
    if !run.cancelled && run.halted.is_none() {
        run.listeners();
    }
    run.settle();
    let duration_ms = before.duration_ms + shared.now().saturating_sub(started);
    match run.halted.take() {
        Some((step, reboot)) => Ended::Reboot(Box::new(run.halt(step, reboot, duration_ms))),
        None => Ended::Report(Box::new(RunReport {
            mode: options.mode,
            sandbox: run.host.is_sandbox(),
            cancelled: run.cancelled,
            steps: run.reports.into_iter().flatten().collect(),
            duration_ms,
        })),
    }
}

/// What steps have in common, also those that run at the same time.
struct Shared<'a> {
    options: &'a RunOptions<'a>,
    progress: Mutex<&'a mut Listener<'a>>,
    masker: &'a Masker,
    keeper: Mutex<Keeper>,
    /// What steps have set for the commands of those that follow.
    variables: Variables,
}

impl Shared<'_> {
    fn tell(&self, progress: Progress) {
        let mut listener = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        (*listener)(progress);
    }

    fn keeper(&self) -> MutexGuard<'_, Keeper> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cancelled(&self) -> bool {
        (self.options.cancelled)()
    }

    fn now(&self) -> u64 {
        (self.options.clock_ms)()
    }

    /// Less than `most`, another one each time: so that many machines do not try at once.
    fn splay(&self, index: usize, most: u64) -> u64 {
        let seed = self.now().wrapping_add(index as u64);
        seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(32).checked_rem(most).unwrap_or(0)
    }

    fn pause(&self, ms: u64) {
        let mut left = ms;
        while left > 0 && !self.cancelled() {
            let piece = left.min(PAUSE_PIECE_MS);
            (self.options.pause_ms)(piece);
            left -= piece;
        }
    }

    fn attempts(
        &self,
        host: &mut dyn Host,
        index: usize,
        step: &Step,
        circumstances: &Circumstances,
    ) -> Attempt {
        let attempts = match self.options.mode {
            Mode::Apply => step.global.attempts.clamp(1, ATTEMPTS_MAX),
            Mode::Check => 1,
        };
        let mut number = 1;
        loop {
            let result = self.guarded(host, index, |host| step::attempt(step, circumstances, host));
            let mut attempt = result.unwrap_or_else(|panic| Attempt::ended(Outcome::Failed, panic));
            let failed = attempt.outcome == Outcome::Failed;
            let again = failed != step.global.until_failed && number < attempts;
            if !again || self.cancelled() {
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

    /// Calls `work` with the host of step `index`. A panic in a module becomes a sentence.
    fn guarded<T>(
        &self,
        host: &mut dyn Host,
        index: usize,
        work: impl FnOnce(&mut Watched<'_, '_>) -> T,
    ) -> Result<T, String> {
        let mut watched = Watched { host, shared: self, index, live: true, told: 0 };
        catch_unwind(AssertUnwindSafe(|| work(&mut watched))).map_err(|panic| {
            let said = panic.downcast_ref::<&str>().copied();
            let said = said.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            format!("a mistake in labctl itself, please report it: {}", said.unwrap_or("panic"))
        })
    }
}

struct Run<'a, 's> {
    recipe: &'a Recipe,
    shared: &'a Shared<'s>,
    host: &'a mut dyn Host,
    fates: Vec<Option<Fate>>,
    reports: Vec<Option<StepReport>>,
    /// The step with `failhard` that failed.
    given_up: Option<usize>,
    cancelled: bool,
    reboots: Reboots,
    /// The step at which the run waits for a reboot.
    halted: Option<(usize, Reboot)>,
}

impl<'a, 's> Run<'a, 's> {
    fn steps<'scope>(&mut self, scope: &'scope Scope<'scope, 'a>, first: usize)
    where
        'a: 'scope,
    {
        let mut beside = Beside::new(scope, self.shared);
        for (index, step) in self.recipe.steps.iter().enumerate().skip(first) {
            self.join(&mut beside, |it| step.links.iter().any(|link| link.step == it));
            if self.shared.cancelled() || self.given_up.is_some() {
                break;
            }
            let what = self.shared.masker.text(&format!("{} {}", step.id, step.kind()));
            self.shared.tell(Progress::Started { index, what });
            let started = self.shared.now();
            let circumstances = match self.circumstances(index, step) {
                Ok(circumstances) => circumstances,
                Err(ended) => {
                    let (attempt, fate) = *ended;
                    self.ended(index, attempt, fate, started);
                    continue;
                }
            };
            let work = Work { index, step: with_keep(self.recipe, index), circumstances, started };
            if let Some(host) = self.fork(step) {
                while beside.is_full() {
                    self.join_one(&mut beside);
                }
                beside.begin(work, host);
                continue;
            }
            let mut attempt = self.shared.attempts(self.host, index, &work.step, &work.circumstances);
            let reboot = attempt.reboot.take();
            if let Some(reboot) = reboot {
                // What runs beside must not be cut off.
                self.join(&mut beside, |_| true);
                self.wants_reboot(index, reboot, &mut attempt);
            }
            let fate = fate_of(&attempt);
            self.ended(index, attempt, fate, started);
            if self.halted.is_some() {
                break;
            }
        }
        self.join(&mut beside, |_| true);
        // A command that was killed is its step's failure and the run's end.
        self.cancelled = self.shared.cancelled();
        if let Some(failed) = self.given_up.filter(|_| !self.cancelled) {
            self.give_up(failed);
        }
    }

    /// A host of its own for a step that others need not wait for.
    fn fork(&self, step: &Step) -> Option<Box<dyn Host + Send>> {
        let alone = resource_of(step).is_ok_and(|it| it.reboot().is_some());
        let beside = step.global.parallel && !alone && self.shared.options.mode == Mode::Apply;
        beside.then(|| self.host.fork()).flatten()
    }

    /// Waits for the steps beside that are meant.
    fn join(&mut self, beside: &mut Beside<'_, 'a, 's>, meant: impl Fn(usize) -> bool) {
        while beside.any(&meant) {
            self.join_one(beside);
        }
    }

    fn join_one(&mut self, beside: &mut Beside<'_, 'a, 's>) {
        if let Some(Done { index, attempt, started }) = beside.next() {
            let fate = fate_of(&attempt);
            self.ended(index, attempt, fate, started);
        }
    }

    /// What a step has to know, or how it ended because of others.
    fn circumstances(&mut self, index: usize, step: &Step) -> Result<Circumstances, Box<(Attempt, Fate)>> {
        let skip = |comment, fate| Err(Box::new((Attempt::ended(Outcome::Skipped, comment), fate)));
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
            Err(why) => return Err(Box::new((Attempt::ended(Outcome::Failed, why), Fate::Failed))),
        }
        Ok(Circumstances { mode: self.shared.options.mode, refresh, unsettled: self.unsettled(step) })
    }

    /// Notes how a step ended.
    fn ended(&mut self, index: usize, attempt: Attempt, fate: Fate, started: u64) {
        self.fates[index] = Some(fate);
        if fate == Fate::Failed && self.recipe.steps[index].global.failhard {
            self.given_up.get_or_insert(index);
        }
        self.finish(index, attempt, started);
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
            let changes = self.shared.guarded(self.host, index, |host| step::would_change(target, host));
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
        self.recipe.steps[later].links.iter().any(|it| !it.any && !is_soft(it.when) && failed(it.step))
    }

    /// In a dry run: an earlier step that this one builds upon and that would change something.
    fn unsettled(&self, step: &Step) -> Option<String> {
        let would = |it: &usize| self.fates.get(*it) == Some(&Some(Fate::Good { changed: true }));
        let earlier = step.links.iter().map(|it| it.step).find(would);
        let earlier = earlier.or_else(|| (0..self.fates.len()).find(would))?;
        (self.shared.options.mode == Mode::Check).then(|| title(self.recipe, earlier))
    }

    fn finish(&mut self, index: usize, attempt: Attempt, started: u64) {
        let step = &self.recipe.steps[index];
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
            duration_ms: self.shared.now().saturating_sub(started),
            at: step.at.clone(),
        };
        let report = self.shared.masker.report(report);
        self.shared.tell(Progress::Ended(Box::new(report.clone())));
        if let (Outcome::Changed, Some(tag)) = (report.outcome, &step.global.fire_event) {
            let (tag, id, name) = (self.shared.masker.text(tag), report.id.clone(), report.name.clone());
            self.shared.tell(Progress::Event { index, tag, id, name, data: Value::Null });
        }
        if report.outcome == Outcome::Changed {
            self.events(index, &report);
        }
        self.reports[index] = Some(report);
    }

    /// Tells the events that a step itself is about.
    fn events(&self, index: usize, report: &StepReport) {
        let events = resource_of(&self.recipe.steps[index]).map(|it| it.events()).unwrap_or_default();
        for (tag, data) in events {
            let masked = self.shared.masker.text(&data.to_string());
            let data = serde_json::from_str(&masked).unwrap_or(Value::Null);
            let (tag, id, name) = (self.shared.masker.text(&tag), report.id.clone(), report.name.clone());
            self.shared.tell(Progress::Event { index, tag, id, name, data });
        }
    }

    /// After a failure with `failhard`: the rest is not tried.
    fn give_up(&mut self, failed: usize) {
        let why = format!("not tried: {} failed (failhard)", title(self.recipe, failed));
        let now = self.shared.now();
        for index in 0..self.recipe.steps.len() {
            if self.reports[index].is_none() {
                self.fates[index] = Some(Fate::Blocked);
                self.finish(index, Attempt::ended(Outcome::Skipped, why.clone()), now);
            }
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
            let started = self.shared.now();
            let circumstances =
                Circumstances { mode: self.shared.options.mode, refresh: Some(because), unsettled: None };
            let refreshed =
                self.shared.guarded(self.host, index, |host| step::refresh(step, &circumstances, host));
            let attempt = refreshed.unwrap_or_else(|panic| Some(Attempt::ended(Outcome::Failed, panic)));
            if let Some(attempt) = attempt {
                self.amend(index, attempt, started);
            }
        }
    }

    /// Adds what happened at the end of the run to a step's report.
    fn amend(&mut self, index: usize, attempt: Attempt, started: u64) {
        let Some(mut report) = self.reports[index].clone() else { return };
        report.outcome = attempt.outcome;
        report.plan.changes.extend(attempt.plan.changes);
        report.output = attempt.output.or(report.output);
        report.duration_ms += self.shared.now().saturating_sub(started);
        report.comment = [report.comment, attempt.comment]
            .into_iter()
            .filter(|it| !it.is_empty())
            .collect::<Vec<_>>()
            .join("; ");
        let report = self.shared.masker.report(report);
        self.shared.tell(Progress::Ended(Box::new(report.clone())));
        self.reports[index] = Some(report);
    }

    /// What is not on the disk has not happened.
    fn settle(&mut self) {
        if self.shared.options.mode == Mode::Check {
            return;
        }
        let kept = self.shared.keeper().after(self.host);
        let Err(error) = kept.and_then(|()| self.host.settle()) else { return };
        let changed = |it: &&mut StepReport| it.outcome == Outcome::Changed;
        for report in self.reports.iter_mut().flatten().filter(changed) {
            report.outcome = Outcome::Failed;
            report.comment = format!("changed, but cannot be made durable: {error}");
        }
    }
}

/// What a step's end means for others.
fn fate_of(attempt: &Attempt) -> Fate {
    match attempt.outcome {
        Outcome::Failed => Fate::Failed,
        Outcome::Skipped | Outcome::Unknown => Fate::Blocked,
        Outcome::Ok => Fate::Good { changed: false },
        Outcome::Changed | Outcome::WouldChange => Fate::Good { changed: true },
    }
}
