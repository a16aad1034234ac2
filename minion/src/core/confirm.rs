//! Runs with a way back: unless the master is reached anew in time after the last step, what they altered is put back.

use super::{ATTEMPTS_MAX, Effect, Entry, Minion, RunEnd, memory::Held};
use bus::message::JobResult;
use model::{JobId, Mode, Outcome, RunReport, StepReport, Terminal, Timestamp, broken, is_put_back};

/// Shortest and longest time to reach the master anew, in milliseconds.
pub const CONFIRM_MS: std::ops::RangeInclusive<u64> = 1_000..=86_400_000;

/// Things that a sentence names.
const NAMED_MAX: usize = 10;

/// What the clock was set forward by in all before it is put on disk: it is adjusted by a little all the time.
const SET_FORWARD_MIN_MS: u64 = 1_000;

impl Minion {
    /// The clock was set forward: the times of the run at work, which were moved with it, are to outlive a restart.
    pub(super) fn keep_moved_times(&mut self, effects: &mut Vec<Effect>) {
        if self.set_forward_ms < SET_FORWARD_MIN_MS {
            return;
        }
        self.set_forward_ms = 0;
        let Some(job) = self.memory.running else { return };
        for entry in self.memory.course.moved(job) {
            self.record(entry, effects);
        }
    }

    /// The run at work is over. Without a way back, or if it altered nothing, it ends with that. What an attempt altered
    /// that was lost stands in no report.
    pub(super) fn run_over(&mut self, now: Timestamp, mut result: Box<JobResult>, effects: &mut Vec<Effect>) {
        let may_have_altered = has_altered(&result) || self.is_begun_again(result.job);
        let Some(ms) = self.way_back(result.job).filter(|_| may_have_altered) else {
            return self.end_with(now, result, effects);
        };
        self.fit_result(&mut result);
        self.record(Entry::Unconfirmed { result, until: now.plus_ms(ms) }, effects);
        self.cancelling = None;
        // What goes through an old connection says nothing: packet filters let it be.
        self.link.after_run = broken::leaves_out("confirm-by-new-connection");
        effects.push(Effect::Reconnect);
    }

    /// Whether an attempt of this run was lost before the one at work; reboots do not count.
    fn is_begun_again(&self, job: JobId) -> bool {
        let Some(Held::Running { attempt, .. }) = self.memory.jobs.get(&job) else { return false };
        attempt.saturating_sub(self.memory.course.reboots) > 1
    }

    fn way_back(&self, job: JobId) -> Option<u64> {
        let Some(Held::Running { offer, .. }) = self.memory.jobs.get(&job) else { return None };
        let ms = offer.confirm_ms.filter(|_| offer.mode == Mode::Apply)?;
        Some(ms.clamp(*CONFIRM_MS.start(), *CONFIRM_MS.end()))
    }

    /// A welcome came, signed by the master for this very session.
    pub(super) fn confirmed(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let waits = self.memory.course.unconfirmed.as_ref().filter(|it| it.undoing.is_none());
        let Some(result) = waits.map(|it| it.result.clone()) else { return };
        if self.link.after_run {
            self.end_with(now, result, effects);
        }
    }

    pub(super) fn confirm_until(&self) -> Option<Timestamp> {
        let waits = self.memory.course.unconfirmed.as_ref().filter(|it| it.undoing.is_none());
        waits.map(|it| it.until)
    }

    /// Everything about the run at work that only time brings.
    pub(super) fn look_at_course(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        self.kill_the_deaf(now, effects);
        self.look_at_reboot(now, effects);
        self.look_at_confirmation(now, effects);
    }

    /// Goes the way back once the time is over.
    pub(super) fn look_at_confirmation(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if let (Some(until), Some(job)) = (self.confirm_until(), self.memory.running)
            && now >= until
        {
            self.put_back(job, 1, effects);
        }
    }

    fn put_back(&mut self, job: JobId, attempt: u32, effects: &mut Vec<Effect>) {
        self.record(Entry::Undoing { job, attempt }, effects);
        effects.push(Effect::PutBack { job });
    }

    /// What was altered is put back, or cannot be.
    pub(super) fn on_undo_ended(
        &mut self,
        now: Timestamp,
        job: JobId,
        end: RunEnd,
        effects: &mut Vec<Effect>,
    ) {
        let Some(unconfirmed) = self.memory.course.unconfirmed.clone() else { return };
        // The word of a worker of the run itself, said twice.
        let Some(attempt) = unconfirmed.undoing else { return };
        let undone = match end {
            RunEnd::Report { report, .. } => Ok(*report),
            RunEnd::Lost { .. } | RunEnd::NotBegun { .. } | RunEnd::Fault { .. }
                if attempt < ATTEMPTS_MAX =>
            {
                return self.put_back(job, attempt + 1, effects);
            }
            RunEnd::Lost { reason } | RunEnd::NotBegun { reason } | RunEnd::Fault { reason } => Err(reason),
            RunEnd::Reboot { .. } => Err("it wanted to reboot".to_owned()),
        };
        let within = self.way_back(job).map(in_words).unwrap_or_default();
        let result = sum_up(*unconfirmed.result, &within, undone, now);
        self.end_with(now, Box::new(result), effects);
    }
}

/// Whether there may be something to put back: if nothing is known of the run, there may.
fn has_altered(result: &JobResult) -> bool {
    let touched = |it: &StepReport| matches!(it.outcome, Outcome::Changed | Outcome::Failed);
    result.report.as_ref().is_none_or(|it| it.steps.iter().any(touched))
}

/// `90s`, `2m`, `1h`.
fn in_words(ms: u64) -> String {
    match ms / 1000 {
        seconds if seconds >= 3600 && seconds % 3600 == 0 => format!("{}h", seconds / 3600),
        seconds if seconds >= 60 && seconds % 60 == 0 => format!("{}m", seconds / 60),
        seconds => format!("{seconds}s"),
    }
}

/// The run's own result, and what became of it: the putting back is one more step of its report.
fn sum_up(
    mut result: JobResult,
    within: &str,
    undone: Result<RunReport, String>,
    now: Timestamp,
) -> JobResult {
    let before = std::mem::take(&mut result.reason);
    let stays = stays(result.report.as_ref());
    result.word = Terminal::Failed;
    result.at = now;
    let told = match undone {
        Err(reason) => format!("and what it altered could not be put back: {reason}"),
        Ok(report) => {
            let step = report.steps.into_iter().next();
            let told = step.as_ref().map_or_else(String::new, gist);
            let whole = result.report.get_or_insert_with(|| RunReport {
                mode: Mode::Apply,
                steps: Vec::new(),
                duration_ms: 0,
                cancelled: false,
                sandbox: report.sandbox,
            });
            whole.duration_ms += report.duration_ms;
            let index = whole.steps.len();
            whole.steps.extend(step.map(|it| StepReport { index, id: "way back".to_owned(), ..it }));
            told
        }
    };
    result.reason = format!("not confirmed within {within}: {told}{stays}");
    if !before.is_empty() {
        result.reason = format!("{}; the run itself: {before}", result.reason);
    }
    result
}

/// Steps that altered something which no undo puts back.
fn stays(report: Option<&RunReport>) -> String {
    let steps = report.map(|it| it.steps.as_slice()).unwrap_or_default();
    let stays = steps.iter().filter(|it| it.outcome == Outcome::Changed && !is_put_back(&it.kind));
    let mut names: Vec<String> =
        stays.map(|it| format!("{} {}", it.kind, it.name.lines().next().unwrap_or_default())).collect();
    let more = names.len().saturating_sub(NAMED_MAX);
    names.truncate(NAMED_MAX);
    match (names.is_empty(), more) {
        (true, _) => String::new(),
        (_, 0) => format!("; not undone, but for files that they wrote: {}", names.join(", ")),
        _ => format!("; not undone, but for files that they wrote: {} and {more} more", names.join(", ")),
    }
}

/// What was put back and what was not, in one sentence.
fn gist(step: &StepReport) -> String {
    let mut names: Vec<&str> = step.plan.changes.iter().map(|it| it.what.as_str()).collect();
    let more = names.len().saturating_sub(NAMED_MAX);
    names.truncate(NAMED_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let comment = if step.comment.is_empty() { String::new() } else { format!("; {}", step.comment) };
    match step.outcome {
        Outcome::Failed => format!("it could not be undone{comment}"),
        _ if names.is_empty() => format!("nothing was to be put back{comment}"),
        _ => format!("undone: {}{more}{comment}", names.join(", ")),
    }
}
