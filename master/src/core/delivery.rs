//! What minions say about jobs: received, progress, results whole or in parts, and what a hello says about all of them.

use super::{Effect, Master, jobs::End, roster::cut, timers::Timer};
use bus::message::{Hello, JobResult, OutputPart, ToMinion};
use model::{JobId, MinionId, StepReport, TargetState, Terminal, api, broken};

/// Bytes of one result in parts.
pub(crate) const RESULT_BYTES_MAX: usize = 16 << 20;
/// Bytes of one part of a result.
pub(crate) const PART_BYTES_MAX: usize = 128 << 10;
/// Parts of one result.
pub(crate) const PARTS_MAX: u32 = 512;
/// Bytes of all results that are being put together, over all minions.
pub(crate) const PARTS_BYTES_MAX: usize = 64 << 20;
/// Jobs in one hello that are looked at.
const HELLO_JOBS_MAX: usize = 256;

/// A machine that its run reboots is not taken for lost before this.
pub(crate) const REBOOT_MS: u64 = 900_000;

/// A result that is being put together.
#[derive(Debug)]
pub(crate) struct Parts {
    job: JobId,
    of: u32,
    next: u32,
    text: String,
}

/// What the minion says it has of an open job.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Has {
    Running,
    Waiting,
    Result,
    Nothing,
}

impl Master {
    pub(crate) fn received(&mut self, minion: &MinionId, job: JobId) {
        let at = self.now;
        if let Some((_, target)) = self.book.open_target(job, minion) {
            if matches!(target.target.state, TargetState::Accepted | TargetState::Offered { .. }) {
                self.move_target(job, minion, TargetState::Received { at });
            }
        } else {
            self.count("received of no open job");
        }
    }

    pub(crate) fn refused(&mut self, minion: &MinionId, job: JobId, reason: String) {
        if self.book.open_target(job, minion).is_some() {
            self.end_target(job, minion, End::of(Terminal::Refused, reason));
        } else {
            self.count("refusal of no open job");
        }
    }

    pub(crate) fn progress(
        &mut self,
        minion: &MinionId,
        job: JobId,
        (step, of): (u32, u32),
        what: &str,
        ended: Vec<StepReport>,
        output: Vec<OutputPart>,
    ) {
        let Some((_, target)) = self.book.open_target(job, minion) else {
            return self.count("progress of no open job");
        };
        let (before, first) = match target.target.state {
            TargetState::Running { step, .. } => (step, false),
            _ => (0, true),
        };
        let at = self.now;
        self.move_target(job, minion, TargetState::Running { step, of, at, rebooting: None });
        if let Some(live) = self.live.get_mut(minion) {
            live.running = Some((job, step, of));
        }
        if first {
            self.publish_jobevent(minion, "started", job, "");
        } else if self.may_show(minion)
            && let Some((_, target)) = self.book.open_target(job, minion)
        {
            let target = target.target.clone();
            self.publish_target(&target);
        }
        let mut line = |line| self.out.push(Effect::JobLine { job, line: Box::new(line) });
        for step in ended {
            line(api::JobLine::Step { minion: minion.clone(), step: Box::new(step) });
        }
        if first || step != before {
            line(api::JobLine::Started { minion: minion.clone(), step, of, what: cut(what, 256) });
        }
        for OutputPart { stderr, text } in output {
            line(api::JobLine::Output { minion: minion.clone(), stderr, text });
        }
    }

    /// A minion says goodbye because its run reboots the machine: nobody takes that for a loss within a limit.
    pub(crate) fn rebooting(&mut self, minion: &MinionId) {
        let at = self.now;
        let running = self.live.get(minion).and_then(|it| it.running);
        let Some((job, step, of)) = running else { return };
        if self.book.open_target(job, minion).is_some() {
            self.move_target(job, minion, TargetState::Running { step, of, at, rebooting: Some(at) });
            self.wake_at(at.plus_ms(REBOOT_MS), Timer::Reboot(job, minion.clone()));
        }
    }

    /// The end of a job on a minion: recorded once, acknowledged whenever it comes.
    pub(crate) fn result(&mut self, minion: &MinionId, result: JobResult) {
        let job = result.job;
        if !self.book.knows_job(job) {
            // Perhaps one that it began by itself: who told of that was not heard, either.
            if self.degraded.is_some() || self.live.get(minion).is_some_and(|it| it.held_events) {
                return self.count("result of an unknown job while the store is full");
            }
            if !self.told_by_result(minion, &result) {
                self.count("result of an unknown job");
            }
        }
        if self.book.open_target(job, minion).is_some() {
            let word = match result.word {
                // That is for the master to say; and a word that only a newer release knows is no success here.
                Terminal::Unreachable | Terminal::Unknown => Terminal::Failed,
                word => word,
            };
            let report = result.report.map(Box::new);
            self.end_target(
                job,
                minion,
                End { word, reason: result.reason, report, diagnostics: Vec::new() },
            );
        } else if self.book.knows_job(job) {
            self.count("result that was known");
        }
        self.send(minion, ToMinion::Ack { jobs: vec![job], events: None });
    }

    pub(crate) fn drop_parts(&mut self, minion: &MinionId) {
        if let Some(parts) = self.live.get_mut(minion).and_then(|it| it.parts.take()) {
            self.parts_bytes = self.parts_bytes.saturating_sub(parts.text.len());
        }
    }

    pub(crate) fn result_part(
        &mut self,
        minion: &MinionId,
        job: JobId,
        (part, parts): (u32, u32),
        text: &str,
    ) {
        if part == 0 {
            self.drop_parts(minion);
        }
        let Some(live) = self.live.get_mut(minion) else { return };
        let so_far = live
            .parts
            .get_or_insert_with(|| Box::new(Parts { job, of: parts, next: 0, text: String::new() }));
        let fits = so_far.job == job && so_far.of == parts && so_far.next == part && part < parts;
        let small = parts <= PARTS_MAX
            && text.len() <= PART_BYTES_MAX
            && so_far.text.len() + text.len() <= RESULT_BYTES_MAX
            && self.parts_bytes + text.len() <= PARTS_BYTES_MAX;
        if !fits || !small {
            self.drop_parts(minion);
            self.count(if fits { "result too large" } else { "result parts out of order" });
            // It comes back later, and sends the result again.
            return self.out.push(Effect::Close { minion: minion.clone() });
        }
        so_far.text.push_str(text);
        so_far.next += 1;
        self.parts_bytes += text.len();
        if so_far.next < parts {
            return;
        }
        let whole = std::mem::take(&mut so_far.text);
        self.parts_bytes = self.parts_bytes.saturating_sub(whole.len());
        live.parts = None;
        match serde_json::from_str::<JobResult>(&whole) {
            Ok(result) if result.job == job => self.result(minion, result),
            _ => {
                self.count("result that cannot be read");
                let end = End::of(Terminal::Interrupted, "its result could not be read");
                self.end_target(job, minion, end);
                self.send(minion, ToMinion::Ack { jobs: vec![job], events: None });
            }
        }
    }

    /// Compares what a minion has with what we believe, for every open job of it.
    pub(crate) fn reconcile(&mut self, minion: &MinionId, hello: &Hello) {
        if broken::leaves_out("compare-at-hello") {
            return;
        }
        for job in self.book.jobs_of(minion) {
            let has = if hello.unacknowledged.contains(&job) {
                Has::Result
            } else if hello.running == Some(job) {
                Has::Running
            } else if hello.waiting.contains(&job) {
                Has::Waiting
            } else {
                Has::Nothing
            };
            if let Some(target) = self.book.target_mut(job, minion) {
                target.confirm = None;
            }
            if has == Has::Nothing {
                self.reconcile_absent(job, minion);
            } else {
                self.reconcile_present(job, minion, has);
            }
        }
    }

    /// What a minion is at or is about to begin, and shall not: said before the welcome, which lets it begin.
    pub(crate) fn withdraw(&mut self, minion: &MinionId, hello: &Hello) {
        let over = |job: &JobId| match self.book.open_target(*job, minion) {
            Some((it, _)) => it.cancelled.is_some(),
            None => self.book.knows_job(*job),
        };
        let held = hello.waiting.iter().chain(&hello.running).take(HELLO_JOBS_MAX);
        let over: Vec<JobId> = held.copied().filter(over).collect();
        for job in over {
            self.send(minion, ToMinion::Cancel { job });
        }
    }

    fn reconcile_present(&mut self, job: JobId, minion: &MinionId, has: Has) {
        let Some((_, target)) = self.book.open_target(job, minion) else { return };
        let at = self.now;
        let state = match (&target.target.state, has) {
            (TargetState::Running { step, of, rebooting: Some(_), .. }, _) => {
                Some(TargetState::Running { step: *step, of: *of, at, rebooting: None })
            }
            (TargetState::Running { .. }, _) => None,
            (_, Has::Running) => Some(TargetState::Running { step: 0, of: 0, at, rebooting: None }),
            (TargetState::Received { .. }, _) => None,
            _ => Some(TargetState::Received { at }),
        };
        if let Some(state) = state {
            self.move_target(job, minion, state);
        }
    }

    fn reconcile_absent(&mut self, job: JobId, minion: &MinionId) {
        let Some((it, target)) = self.book.open_target(job, minion) else { return };
        // What it began by itself has no recipe here, and is not sent anew either.
        let once = it.kind.is_once() || target.recipe.is_none();
        let began = matches!(target.target.state, TargetState::Received { .. } | TargetState::Running { .. });
        let (over, cancelled) = (self.now >= self.book.expiry(job, minion), it.cancelled.is_some());
        if target.target.state == TargetState::Accepted {
            return self.forward(job, minion);
        }
        let lost = "the minion does not know it any more";
        let end = match (began, cancelled, over) {
            (true, ..) if once => End::of(Terminal::Interrupted, lost),
            (true, _, true) | (true, true, _) => End::of(Terminal::Interrupted, lost),
            (false, true, _) => End::of(Terminal::Cancelled, ""),
            // A minion that took it and was told that its end is on disk does not list it: the end is not on a disk that
            // was put back from a backup since. It says so again before it answers.
            (false, false, true) => {
                self.send(minion, ToMinion::Cancel { job });
                return self.confirm(job, minion);
            }
            (_, false, false) => return self.offer(job, minion),
        };
        self.end_target(job, minion, end);
    }
}
