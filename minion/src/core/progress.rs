//! Live progress of the run at work: gathered, thinned, said at most ten times a second, dropped while nobody hears.

use super::{Effect, Minion, RunLine, outbox::cut_step};
use bus::message::{FromMinion, OutputPart};
use model::{JobId, StepReport, Timestamp};

/// Between two progress messages.
const EVERY_MS: u64 = 100;
/// Characters of a step's title.
const WHAT_MAX: usize = 200;
/// Bytes of live output in one message, as JSON; what is more is in the report.
const OUTPUT_MAX: usize = 64 << 10;
/// Bytes of texts of one step in a message; what is more is in the report.
const STEP_MAX: usize = 8 << 10;
/// Steps that are told in one message; more wait for the next.
const STEPS_MAX: usize = 64;
/// Steps that wait to be told; more are only in the report.
const STEPS_WAITING_MAX: usize = 1024;
/// Bytes of all steps in one message.
const MESSAGE_MAX: usize = 96 << 10;

#[derive(Debug, Default)]
pub(super) struct Pending {
    job: Option<JobId>,
    step: u32,
    of: u32,
    what: String,
    ended: Vec<StepReport>,
    output: Vec<OutputPart>,
    output_bytes: usize,
    news: bool,
    said_at: Timestamp,
}

impl Pending {
    /// When something waits to be said.
    pub(super) fn due(&self) -> Option<Timestamp> {
        self.news.then(|| self.said_at.plus_ms(EVERY_MS))
    }
    /// Step at work and steps in all, for people who ask.
    pub(super) fn step(&self) -> Option<(u32, u32)> {
        self.job.map(|_| (self.step, self.of))
    }
    /// Forgets what nobody can hear.
    pub(super) fn clear(&mut self) {
        self.ended.clear();
        self.output.clear();
        self.output_bytes = 0;
        self.news = false;
    }
    /// The run is over.
    pub(super) fn end(&mut self) {
        *self = Self { said_at: self.said_at, ..Self::default() };
    }

    fn take_line(&mut self, line: RunLine) {
        match line {
            RunLine::Started { index, what } => {
                self.step = index + 1;
                self.what = what.chars().take(WHAT_MAX).collect();
            }
            RunLine::Output { stderr, text } => {
                let bytes = json_bytes(&text);
                if self.output_bytes + bytes <= OUTPUT_MAX {
                    self.output_bytes += bytes;
                    self.output.push(OutputPart { stderr, text });
                }
            }
            RunLine::Ended(mut step) => {
                cut_step(&mut step, STEP_MAX, "");
                if self.ended.len() < STEPS_WAITING_MAX && json_bytes(&step) <= MESSAGE_MAX {
                    self.ended.push(*step);
                }
            }
        }
    }

    /// As many ended steps as fit into one message.
    fn take_ended(&mut self) -> Vec<StepReport> {
        let mut bytes = 0;
        let fits = self.ended.iter().take(STEPS_MAX).take_while(|step| {
            bytes += json_bytes(step);
            bytes <= MESSAGE_MAX
        });
        let count = fits.count();
        self.ended.drain(..count).collect()
    }
}

fn json_bytes<T: serde::Serialize + ?Sized>(value: &T) -> usize {
    serde_json::to_string(value).map_or(usize::MAX, |text| text.len())
}

impl Minion {
    pub(super) fn on_progress(
        &mut self,
        now: Timestamp,
        job: JobId,
        of: u32,
        lines: Vec<RunLine>,
        effects: &mut Vec<Effect>,
    ) {
        if self.memory.running != Some(job) {
            return;
        }
        self.pending.job = Some(job);
        self.pending.of = of;
        for line in lines {
            self.pending.take_line(line);
        }
        if self.link.welcomed {
            self.pending.news = true;
            self.flush_progress(now, effects);
        } else {
            self.pending.clear();
        }
    }

    /// Says what is pending if it is time.
    pub(super) fn flush_progress(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let due = self.pending.due().is_some_and(|at| now >= at);
        let Some(job) = self.pending.job.filter(|_| due) else { return };
        let ended = self.pending.take_ended();
        self.pending.output_bytes = 0;
        self.pending.news = !self.pending.ended.is_empty();
        self.pending.said_at = now;
        let message = FromMinion::Progress {
            job,
            step: self.pending.step,
            of: self.pending.of,
            what: self.pending.what.clone(),
            ended,
            output: std::mem::take(&mut self.pending.output),
        };
        self.say(now, message, effects);
    }
}
