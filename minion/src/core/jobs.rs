//! Offers, the queue, and how runs end.

use super::{
    ATTEMPTS_MAX, CANCEL_MS, DISK_RETRY_MS, Effect, Entry, Minion, RunEnd, WAITING_MAX, memory::Held,
    outbox::fit, schedules::is_own,
};
use bus::message::{FromMinion, JobResult, Offer};
use model::{JobId, Outcome, RunReport, Terminal, Timestamp, broken};

impl Minion {
    pub(super) fn on_offer(&mut self, now: Timestamp, mut offer: Offer, effects: &mut Vec<Effect>) {
        let job = offer.job;
        offer.begun = None;
        match self.memory.jobs.get(&job) {
            Some(Held::Waiting(_) | Held::Running { .. }) => {
                return self.say(now, FromMinion::Received { job }, effects);
            }
            Some(Held::Ended(_) | Held::Known { .. }) if broken::leaves_out("job-memory") => {}
            Some(Held::Ended(_) | Held::Known { .. }) => return self.say_result(now, job, effects),
            None => {}
        }
        if let Some(reason) = self.refusal() {
            return self.say(now, FromMinion::Refused { job, reason }, effects);
        }
        if self.is_expired(now, &offer) {
            return self.end(now, job, Terminal::Expired, "it came after its expiry", None, effects);
        }
        let older = self.superseded_by(&offer);
        self.promise("receive-on-disk", Entry::Received(Box::new(offer)), effects);
        for old in older {
            let reason = format!("a newer full run came: {}", job.short());
            self.end(now, old, Terminal::Superseded, &reason, None, effects);
        }
        // What is received and begun at once is one write, and the word of it goes out before the run begins.
        let begin = self.begin_intent(now, effects);
        self.say(now, FromMinion::Received { job }, effects);
        effects.extend(begin);
    }

    /// Records something that others are told, or that is done, right behind it.
    fn promise(&mut self, part: &'static str, entry: Entry, effects: &mut Vec<Effect>) {
        if broken::leaves_out(part) {
            return self.later(entry, effects);
        }
        self.record(entry, effects);
    }

    pub(super) fn refusal(&self) -> Option<String> {
        if self.stopping {
            return Some("the minion is stopping".to_owned());
        }
        if let Some(reason) = &self.disk_fault {
            return Some(format!("the minion cannot keep a result: {reason}"));
        }
        if let Some(reason) = self.outbox_is_full() {
            return Some(format!("the minion cannot keep a result: {reason}"));
        }
        (self.memory.queue.len() >= WAITING_MAX).then(|| format!("{WAITING_MAX} jobs are waiting already"))
    }

    fn superseded_by(&self, newer: &Offer) -> Vec<JobId> {
        let older = |job: &JobId| {
            let offer = self.memory.waiting_offer(*job)?;
            (newer.full && offer.full && newer.mode == offer.mode).then_some(*job)
        };
        self.memory.queue.iter().filter_map(older).collect()
    }

    fn is_expired(&self, now: Timestamp, offer: &Offer) -> bool {
        let late = self.master_now(now).is_some_and(|master| master > offer.expires);
        late && !broken::leaves_out("offer-expiry")
    }

    pub(super) fn next_expiry(&self) -> Option<Timestamp> {
        let offset = self.link.clock.offset_ms()?;
        let expiry = |job: &JobId| self.memory.waiting_offer(*job).map(|offer| offer.expires);
        let first = self.memory.queue.iter().filter_map(expiry).min()?;
        Some(Timestamp(first.0.saturating_add_signed(-offset)).plus_ms(1))
    }

    /// Ends what waited too long.
    pub(super) fn expire(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let late = |job: &JobId| {
            let offer = self.memory.waiting_offer(*job)?;
            self.is_expired(now, offer).then_some(*job)
        };
        let late: Vec<JobId> = self.memory.queue.iter().filter_map(late).collect();
        for job in late {
            self.end(now, job, Terminal::Expired, "it waited until its expiry", None, effects);
        }
    }

    pub(super) fn on_cancel(&mut self, now: Timestamp, job: JobId, effects: &mut Vec<Effect>) {
        match self.memory.jobs.get(&job) {
            Some(Held::Waiting(_)) => {
                self.end(now, job, Terminal::Cancelled, "before it began", None, effects);
            }
            // What was put back in part would be neither the one nor the other.
            Some(Held::Running { .. }) if self.memory.course.unconfirmed.is_some() => {}
            Some(Held::Running { .. }) => {
                self.cancelling.get_or_insert(now);
                effects.push(Effect::Cancel { job });
            }
            Some(Held::Ended(_) | Held::Known { .. }) => self.say_result(now, job, effects),
            None => {}
        }
    }

    /// A job was at work when the process ended: its worker may live.
    pub(super) fn recover(&mut self, now: Timestamp, job: JobId, effects: &mut Vec<Effect>) {
        if broken::leaves_out("look-for-the-worker") {
            return self.on_run_ended(now, job, RunEnd::Lost { reason: String::new() }, effects);
        }
        let undoing = self.memory.course.unconfirmed.is_some();
        effects.push(Effect::Recover { job, undoing });
    }

    /// Begins the next job if nothing is at work. Waiting jobs are begun only once the master's clock is known: nothing
    /// runs after its expiry; and not between a hello and its answer: nothing runs that was cancelled meanwhile.
    pub(super) fn begin_next(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let start = self.begin_intent(now, effects);
        effects.extend(start);
    }

    /// Whether the master was told what is here, and has not said yet what is to be withdrawn of it.
    pub(super) fn is_opening(&self) -> bool {
        self.link.connected && !self.link.welcomed
    }

    /// Records the intent; gives the effect that must follow it.
    fn begin_intent(&mut self, now: Timestamp, effects: &mut Vec<Effect>) -> Option<Effect> {
        let busy = self.memory.running.is_some() && !broken::leaves_out("one-run-at-a-time");
        if busy || self.stopping || self.disk_fault.is_some() || self.is_opening() {
            return None;
        }
        // What it does by itself has no expiry, and waits for nobody's clock.
        if self.link.clock.offset_ms().is_none() {
            let job = self.first_own()?;
            return self.start_effect(job, 1, effects);
        }
        self.expire(now, effects);
        let job = *self.memory.queue.front()?;
        self.start_effect(job, 1, effects)
    }

    fn start_effect(&mut self, job: JobId, attempt: u32, effects: &mut Vec<Effect>) -> Option<Effect> {
        self.promise("intend-on-disk", Entry::Intent { job, attempt }, effects);
        self.cancelling = None;
        self.begin_effect(job)
    }

    /// The run that is on record, from its beginning or behind the step from which it goes on.
    pub(super) fn begin_effect(&self, job: JobId) -> Option<Effect> {
        let Some(Held::Running { offer, attempt }) = self.memory.jobs.get(&job) else { return None };
        let resume = self.memory.course.resume.clone();
        Some(Effect::Start { offer: offer.clone(), attempt: *attempt, resume })
    }

    pub(super) fn on_run_ended(
        &mut self,
        now: Timestamp,
        job: JobId,
        end: RunEnd,
        effects: &mut Vec<Effect>,
    ) {
        let Some(Held::Running { offer, attempt }) = self.memory.jobs.get(&job) else { return };
        let (command, begun) = (offer.command, attempt.saturating_sub(self.memory.course.reboots));
        let attempt = *attempt;
        if self.memory.course.unconfirmed.is_some() {
            return self.on_undo_ended(now, job, end, effects);
        }
        let cancelling = self.cancelling.is_some();
        let end = self.unless_past(end);
        let (word, reason, report) = match end {
            RunEnd::Report { report, events } => {
                for (tag, data) in events {
                    self.add_event(now, format!("event/{tag}"), data, effects);
                }
                let (word, reason) = verdict(&report);
                (word, reason, Some(report))
            }
            RunEnd::Reboot { step, message } => return self.on_reboot(now, job, step, message, effects),
            RunEnd::NotBegun { reason } if attempt > 1 => {
                let word = if cancelling { Terminal::Cancelled } else { Terminal::Interrupted };
                (word, format!("{reason}; it was begun before"), None)
            }
            RunEnd::NotBegun { reason } => {
                let word = if cancelling { Terminal::Cancelled } else { Terminal::Refused };
                return self.end(now, job, word, &reason, None, effects);
            }
            RunEnd::Fault { reason } => (Terminal::Failed, reason, None),
            RunEnd::Lost { reason } if cancelling => (Terminal::Cancelled, reason, None),
            RunEnd::Lost { reason } if command && !broken::leaves_out("command-at-most-once") => {
                (Terminal::Interrupted, format!("{reason}; a command is not run twice"), None)
            }
            RunEnd::Lost { reason } if begun >= ATTEMPTS_MAX => {
                (Terminal::Interrupted, format!("{reason}; begun {ATTEMPTS_MAX} times"), None)
            }
            RunEnd::Lost { .. } => {
                let start = self.start_effect(job, attempt + 1, effects);
                return effects.extend(start);
            }
        };
        let result = Self::result_of(now, job, word, &reason, report);
        self.run_over(now, Box::new(result), effects);
    }

    /// Kills a worker that was told to stop long ago.
    pub(super) fn kill_at(&self) -> Option<Timestamp> {
        self.memory.running?;
        self.cancelling.map(|at| at.plus_ms(CANCEL_MS))
    }

    pub(super) fn kill_the_deaf(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if let (Some(at), Some(job)) = (self.kill_at(), self.memory.running)
            && now >= at
        {
            // Its end comes as that of any worker that is gone; until then it is tried again.
            self.cancelling = Some(now);
            effects.push(Effect::Kill { job });
        }
    }

    fn end(
        &mut self,
        now: Timestamp,
        job: JobId,
        word: Terminal,
        reason: &str,
        report: Option<Box<RunReport>>,
        effects: &mut Vec<Effect>,
    ) {
        let result = Self::result_of(now, job, word, reason, report);
        self.end_with(now, Box::new(result), effects);
    }

    fn result_of(
        now: Timestamp,
        job: JobId,
        word: Terminal,
        reason: &str,
        report: Option<Box<RunReport>>,
    ) -> JobResult {
        let report = report.map(|report| *report);
        JobResult { job, word, reason: reason.to_owned(), report, at: now, begun: None }
    }

    pub(super) fn end_with(&mut self, now: Timestamp, mut result: Box<JobResult>, effects: &mut Vec<Effect>) {
        let job = result.job;
        let was_running = self.memory.running == Some(job);
        result.begun = self.memory.begun(job);
        self.fit_result(&mut result);
        self.promise("result-on-disk", Entry::Ended(result), effects);
        if was_running {
            self.cancelling = None;
            self.pending.end();
            effects.push(Effect::Clean { job });
        }
        self.say_result(now, job, effects);
    }

    /// Cuts a result to what there is room for; the others that were taken must have some too.
    pub(super) fn fit_result(&self, result: &mut JobResult) {
        let others = self.memory.unfinished().saturating_sub(1);
        fit(result, self.memory.outbox.result_max(others));
    }

    /// Takes back what was promised to nobody, keeps what must not be lost, and refuses new jobs meanwhile.
    pub(super) fn on_not_recorded(
        &mut self,
        now: Timestamp,
        entries: Vec<Entry>,
        reason: String,
        effects: &mut Vec<Effect>,
    ) {
        self.disk_retry = now.plus_ms(DISK_RETRY_MS);
        for entry in entries {
            match entry {
                // Nobody can be told to ask again for what it does by itself: it waits for room.
                Entry::Received(offer) if is_own(&offer) => self.unwritten.push(Entry::Received(offer)),
                Entry::Received(offer) => {
                    self.memory.leave(offer.job);
                    self.memory.jobs.remove(&offer.job);
                    let reason = format!("the minion cannot keep a result: {reason}");
                    self.say(now, FromMinion::Refused { job: offer.job, reason }, effects);
                }
                // Of a run that was begun before, nobody may say that it never was: it waits at work.
                Entry::Intent { job, attempt: 1 } => self.memory.put_back(job),
                // There is a later one with each attempt.
                Entry::Clock(_) => {}
                other => self.unwritten.push(other),
            }
        }
        self.disk_fault = Some(reason);
    }

    /// Tries again to write what must not be lost.
    pub(super) fn retry_disk(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        self.disk_retry = now.plus_ms(DISK_RETRY_MS);
        let entries = std::mem::take(&mut self.unwritten);
        effects.extend(entries.iter().cloned().map(|entry| Effect::Record(Box::new(entry))));
        effects.push(Effect::Record(Box::new(Entry::Clock(now))));
        for entry in entries {
            match entry {
                Entry::Event { number, .. } => self.say_event(now, number, effects),
                Entry::Ended(result) => {
                    effects.push(Effect::Clean { job: result.job });
                    self.say_result(now, result.job, effects);
                }
                // Unless it was given up meanwhile.
                Entry::Rebooting { job, message, .. } if self.memory.course.rebooting.is_some() => {
                    effects.push(Effect::Reboot { job, message });
                }
                Entry::Intent { job, .. } if self.cancelling.is_some() => {
                    let reason = "the disk was full, and it was not begun again".to_owned();
                    self.on_run_ended(now, job, RunEnd::Lost { reason }, effects);
                }
                Entry::Intent { job, .. } | Entry::Resumed { job, .. } => {
                    effects.extend(self.begin_effect(job));
                }
                Entry::Undoing { job, .. } => effects.push(Effect::PutBack { job }),
                _ => {}
            }
        }
    }
}

fn verdict(report: &RunReport) -> (Terminal, String) {
    let failed = report.steps.iter().find(|step| step.outcome == Outcome::Failed);
    let tally = report.tally();
    if report.cancelled {
        return (Terminal::Cancelled, "stopped at a step".to_owned());
    }
    match failed {
        Some(step) => (Terminal::Failed, format!("{}: {}", step.id, step.comment)),
        None if tally.changed + tally.would_change > 0 => (Terminal::Changed, String::new()),
        None => (Terminal::Ok, String::new()),
    }
}
