//! Jobs from acceptance to their one terminal record for each minion.

use super::{
    Asked, Effect, Entry, Master, SealedRef,
    memory::{OpenJob, OpenTarget, has_ended, is_good},
    publish::{describe, gist, state_word},
};
use bus::message::{CAN_CONFIRM, CAN_REBOOT, ToMinion};
use model::{
    Diagnostic, Job, JobId, JobKind, JobTarget, LastApply, MinionId, Mode, Revision, RunReport, Tally,
    TargetState, Terminal, Timestamp, Turn, api, broken, request::Ask,
};
use serde_json::json;
use std::collections::BTreeMap;

/// Jobs that have not ended, without those that minions began by themselves.
pub(crate) const OPEN_JOBS_MAX: usize = 4_096;
/// Minions of one job.
pub(crate) const TARGETS_MAX: usize = 20_000;
/// Jobs of one minion that have not ended.
pub(crate) const JOBS_PER_MINION_MAX: usize = 64;
/// Complaints that are kept with one target.
const DIAGNOSTICS_MAX: usize = 100;

/// How a target ends.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) word: Terminal,
    pub(crate) reason: String,
    pub(crate) report: Option<Box<RunReport>>,
    pub(crate) diagnostics: Vec<Diagnostic>,
}

impl End {
    pub(crate) fn of(word: Terminal, reason: impl Into<String>) -> Self {
        Self { word, reason: reason.into(), report: None, diagnostics: Vec::new() }
    }
}

/// The time within which it must be confirmed, or it is undone.
fn way_back(kind: &JobKind) -> Option<u64> {
    match kind {
        JobKind::Apply { mode: Mode::Apply, confirm_ms, .. } => *confirm_ms,
        _ => None,
    }
}

/// What a minion must be able to do for it, beyond what every release can; and the sentence for those that cannot.
fn needs(kind: &JobKind) -> Option<(&'static str, &'static str)> {
    let confirm =
        "its release cannot undo a job by itself: upgrade labminion there, or apply without --confirm-within";
    let reboot =
        "its release cannot go on after a reboot: upgrade labminion there, or run `systemctl reboot`";
    match kind {
        JobKind::Reboot { .. } => Some((CAN_REBOOT, reboot)),
        kind => way_back(kind).map(|_| (CAN_CONFIRM, confirm)),
    }
}

/// Whether it brings about all that is assigned.
fn is_full(kind: &JobKind) -> bool {
    matches!(kind, JobKind::Apply { states, mode: Mode::Apply, .. } if states.is_empty())
}

impl Master {
    /// A full run that is sent replaces older full runs that were not.
    fn supersede_older(&mut self, job: JobId, minion: &MinionId) {
        let Some((newer, _)) = self.book.open_target(job, minion) else { return };
        if !is_full(&newer.kind) {
            return;
        }
        let age = (newer.at, newer.id);
        for older in self.book.jobs_of(minion) {
            let waits = |(it, target): (&Job, &OpenTarget)| {
                (it.at, it.id) < age && is_full(&it.kind) && target.target.state == TargetState::Accepted
            };
            if self.book.open_target(older, minion).is_some_and(waits) {
                let reason = format!("job {} is newer", job.short());
                self.end_target(older, minion, End::of(Terminal::Superseded, reason));
            }
        }
    }

    /// Moves one target on as far as it can go now: compile, or offer.
    pub(crate) fn forward(&mut self, job: JobId, minion: &MinionId) {
        let Some((it, target)) = self.book.open_target(job, minion) else { return };
        let sent = !matches!(target.target.state, TargetState::Accepted);
        if sent || self.book.open.get(&job).is_some_and(|it| it.is_held(minion)) {
            return;
        }
        if self.now >= self.book.expiry(job, minion) {
            return self.end_target(job, minion, End::of(Terminal::Expired, "not sent in time"));
        }
        if it.cancelled.is_some() {
            return self.end_target(job, minion, End::of(Terminal::Cancelled, ""));
        }
        if target.recipe.is_some() {
            if self.is_ready(minion) {
                self.supersede_older(job, minion);
                self.offer(job, minion);
            }
            return;
        }
        let has_trees = it.kind.is_once() || self.revision.is_some();
        if target.compiling || !has_trees || !self.is_reachable(minion) {
            return;
        }
        let kind = it.kind.clone();
        if let Some(target) = self.book.target_mut(job, minion) {
            target.compiling = true;
        }
        self.out.push(Effect::Compile { job, minion: minion.clone(), kind, asked: Asked::default() });
    }

    /// After a start, and when there are trees at last.
    pub(crate) fn forward_all(&mut self) {
        let open: Vec<(JobId, MinionId)> = self
            .book
            .open
            .values()
            .flat_map(|it| it.targets.values().map(|target| (it.job.id, target.target.minion.clone())))
            .collect();
        for (job, minion) in open {
            self.forward(job, &minion);
        }
        let ended: Vec<JobId> =
            self.book.open.values().filter(|it| it.left == 0).map(|it| it.job.id).collect();
        for job in ended {
            self.end_job_if_over(job);
        }
    }

    /// A compile is done.
    pub(crate) fn compiled(
        &mut self,
        job: JobId,
        minion: &MinionId,
        revision: Revision,
        result: Result<SealedRef, Vec<Diagnostic>>,
    ) {
        let Some(target) = self.book.target_mut(job, minion) else { return };
        target.compiling = false;
        if has_ended(&target.target) || target.recipe.is_some() {
            return;
        }
        match result {
            Ok(recipe) => {
                self.record(Entry::Recipe(job, minion.clone(), recipe));
                self.note_revision(job, revision);
                self.forward(job, minion);
            }
            Err(mut diagnostics) => {
                diagnostics.truncate(DIAGNOSTICS_MAX);
                let mut end = End::of(Terminal::Failed, "does not compile");
                end.diagnostics = diagnostics;
                self.end_target(job, minion, end);
            }
        }
    }

    /// A job accepted before there were trees gets its revision with the first recipe.
    fn note_revision(&mut self, job: JobId, revision: Revision) {
        let Some(open) = self.book.open.get(&job) else { return };
        if open.job.revision.is_none() && matches!(open.job.kind, JobKind::Apply { .. }) {
            let job = Job { revision: Some(revision), ..open.job.clone() };
            self.record(Entry::Job(job));
        }
    }

    /// Sends an offer; the first one is on record with its recipe before it leaves.
    pub(crate) fn offer(&mut self, job: JobId, minion: &MinionId) {
        let now = self.now;
        let missing = self.book.open_target(job, minion).and_then(|(it, _)| self.lacks(minion, &it.kind));
        if let Some(sentence) = missing {
            return self.end_target(job, minion, End::of(Terminal::Refused, sentence));
        }
        let Some(target) = self.book.target_mut(job, minion) else { return };
        let Some(recipe) = target.recipe.clone() else { return };
        let times = match target.target.state {
            TargetState::Offered { times, .. } => times.saturating_add(1),
            _ => 1,
        };
        let mut moved = target.target.clone();
        moved.state = TargetState::Offered { times, at: now };
        let entry = Entry::Target(moved);
        if times == 1 {
            self.record(entry);
        } else {
            self.later(entry);
        }
        let Some(open) = self.book.open.get(&job) else { return };
        let (kind, expires) = (&open.job.kind, open.expires(minion));
        let mode = if kind.is_check() { Mode::Check } else { Mode::Apply };
        self.out.push(Effect::Offer {
            minion: minion.clone(),
            job,
            mode,
            command: kind.is_once(),
            full: is_full(kind),
            expires,
            what: describe(kind),
            recipe,
            confirm_ms: way_back(kind),
        });
        self.show_target(job, minion);
    }

    /// Why a minion cannot be given a job of this kind, if it cannot: what it does not know it would leave out.
    fn lacks(&self, minion: &MinionId, kind: &JobKind) -> Option<&'static str> {
        let (what, sentence) = needs(kind)?;
        let can = self.live.get(minion).is_some_and(|it| it.can.iter().any(|it| it == what));
        (!can).then_some(sentence)
    }

    /// Changes where an open target stands, lazily on disk: the minion's hello tells it again.
    pub(crate) fn move_target(&mut self, job: JobId, minion: &MinionId, state: TargetState) {
        let Some((_, target)) = self.book.open_target(job, minion) else { return };
        let mut moved = target.target.clone();
        let same_word = state_word(&moved.state) == state_word(&state);
        moved.state = state;
        if same_word {
            self.book.remember(&Entry::Target(moved));
        } else {
            self.later(Entry::Target(moved));
            self.show_target(job, minion);
        }
    }

    /// Tells watchers where a target stands.
    pub(crate) fn show_target(&mut self, job: JobId, minion: &MinionId) {
        let Some(open) = self.book.open.get(&job) else { return };
        let Some(target) = open.targets.get(minion) else { return };
        let view = self.target_view(open, target);
        self.publish_target(&view);
        self.out.push(Effect::JobLine { job, line: Box::new(api::JobLine::Target(Box::new(view))) });
    }

    /// Contact was lost or came back: watchers see it.
    pub(crate) fn show_targets_of(&mut self, minion: &MinionId) {
        for job in self.book.jobs_of(minion) {
            let Some(open) = self.book.open.get(&job) else { continue };
            let Some(target) = open.targets.get(minion) else { continue };
            let view = self.target_view(open, target);
            if open.job.rolling.is_some() {
                self.rolls.look_at(job);
            }
            self.out.push(Effect::JobLine { job, line: Box::new(api::JobLine::Target(Box::new(view))) });
        }
    }

    /// The one place where a (job, minion) ends.
    pub(crate) fn end_target(&mut self, job: JobId, minion: &MinionId, end: End) {
        let Some((it, target)) = self.book.open_target(job, minion) else { return };
        let (command, revision, kind) = (it.kind.is_command(), it.revision, it.kind.clone());
        let applied = matches!(it.kind, JobKind::Apply { mode: Mode::Apply, .. });
        let tally = end.report.as_ref().map(|it| it.tally()).unwrap_or_default();
        let output = end.report.as_ref().and_then(|it| it.steps.first()?.output.as_ref());
        let mut ended = target.target.clone();
        ended.state = TargetState::Ended {
            word: end.word,
            at: self.now,
            duration_ms: end.report.as_ref().map(|it| it.duration_ms),
            tally,
            reason: super::roster::cut(&end.reason, 4096),
            code: output.filter(|_| command).and_then(|it| it.code),
        };
        ended.diagnostics = end.diagnostics;
        self.record(Entry::Target(ended));
        if let Some(report) = &end.report
            && (command || tells_more(tally))
        {
            self.record(Entry::Report(job, minion.clone(), report.clone()));
        }
        if applied && end.report.is_some() {
            let last = LastApply { job, word: end.word, at: self.now, revision };
            self.note_apply(minion, last);
        }
        if let Some(live) = self.live.get_mut(minion)
            && live.running.is_some_and(|it| it.0 == job)
        {
            live.running = None;
        }
        if let (Some(report), JobKind::Apply { states, .. }) = (&end.report, &kind) {
            self.note_drift(minion, job, states.is_empty(), report);
        }
        self.show_target(job, minion);
        if let Some(report) = end.report {
            let line = api::JobLine::Report { minion: minion.clone(), report };
            self.out.push(Effect::JobLine { job, line: Box::new(line) });
        }
        self.rolled_by_end(job, end.word);
        if self.book.open.get(&job).is_some_and(|it| it.left == 0) {
            self.end_job_if_over(job);
        }
    }

    fn note_apply(&mut self, minion: &MinionId, last: LastApply) {
        if let Some(it) = self.book.minions.get_mut(minion) {
            it.last_apply = Some(last);
            self.laters.push(Entry::Minion(it.clone()));
        }
    }

    /// A run in waves ends when all have ended and its last gate is behind it, too.
    fn end_job_if_over(&mut self, id: JobId) {
        if self.book.open.get(&id).is_some_and(OpenJob::is_rolled) {
            self.end_job(id);
        } else {
            self.rolls.look_at(id);
        }
    }

    pub(crate) fn end_job(&mut self, id: JobId) {
        let Some(open) = self.book.open.get(&id) else { return };
        let mut job = open.job.clone();
        (job.ended, job.roll) = (Some(self.now), open.roll.clone().map(Box::new));
        let words = self.words(open);
        let stopped = job.roll.as_ref().is_some_and(|it| it.stopped.is_some());
        let ended = open.targets.values().map(|it| &it.target.state);
        let all_good = |it: &TargetState| matches!(it, TargetState::Ended { word, .. } if is_good(*word));
        let good = !stopped && ended.into_iter().all(all_good);
        self.record(Entry::Job(job.clone()));
        if job.rolling.is_some() {
            self.forget_roll(id);
        }
        self.publish_job(&job, "ended", &words);
        if let Some(view) = self.job_view(id) {
            let line = api::JobLine::Ended(Box::new(view));
            self.out.push(Effect::JobLine { job: id, line: Box::new(line) });
        }
        let data = json!({
            "job": id, "what": gist(&job.kind), "caller": job.caller.name, "ok": good, "words": words,
            "minion": if job.minions.len() == 1 { job.minions.first() } else { None },
            "stopped": job.roll.as_ref().and_then(|it| it.stopped.as_ref()),
            "undo": job.roll.as_ref().and_then(|it| it.undo),
        });
        self.emit_of_job("job/ended", data, &job);
        self.reactor.causes.remove(&job.id);
        self.rule_job_ended(&job, good);
        self.gate_job_ended(&job, good);
        self.reaction_job_ended(&job, &words);
    }

    /// Offers of a job are no longer good. What was sent may have been received: the minion's next word tells.
    pub(crate) fn expire(&mut self, job: JobId) {
        let Some(open) = self.book.open.get(&job) else { return };
        let minions: Vec<MinionId> = open.targets.keys().cloned().collect();
        for minion in minions {
            let Some((_, target)) = self.book.open_target(job, &minion) else { continue };
            if self.now < self.book.expiry(job, &minion) {
                continue;
            }
            match target.target.state {
                TargetState::Accepted => {
                    self.end_target(job, &minion, End::of(Terminal::Expired, "not sent in time"));
                }
                TargetState::Offered { .. } if broken::leaves_out("ask-before-expired") => {
                    self.end_target(job, &minion, End::of(Terminal::Expired, "not received in time"));
                }
                TargetState::Offered { .. } if self.is_ready(&minion) => self.confirm(job, &minion),
                TargetState::Offered { .. } => self.show_target(job, &minion),
                TargetState::Received { .. } | TargetState::Running { .. } | TargetState::Ended { .. } => {}
            }
        }
    }

    /// Asks a minion anything: its answer comes behind a `received` that is on its way, so without one it did not
    /// get the offer in time.
    pub(crate) fn confirm(&mut self, job: JobId, minion: &MinionId) {
        self.next_probe += 1;
        let probe = self.next_probe;
        if let Some(target) = self.book.target_mut(job, minion) {
            target.confirm = Some(probe);
            self.send(minion, ToMinion::Probe { probe, ask: Ask::Ping });
        }
    }

    /// An answer to [`Self::confirm`], perhaps.
    pub(crate) fn confirmed(&mut self, minion: &MinionId, probe: u64) -> bool {
        for job in self.book.jobs_of(minion) {
            let Some((_, target)) = self.book.open_target(job, minion) else { continue };
            if target.confirm != Some(probe) {
                continue;
            }
            if matches!(target.target.state, TargetState::Offered { .. }) {
                self.end_target(job, minion, End::of(Terminal::Expired, "not received in time"));
            }
            return true;
        }
        false
    }

    /// Ends what was not sent, asks the others to stop. How many of each.
    pub(crate) fn cancel(&mut self, id: JobId) -> (usize, usize) {
        let Some(open) = self.book.open.get(&id) else { return (0, 0) };
        let minions: Vec<MinionId> = open.targets.keys().cloned().collect();
        if !broken::leaves_out("remember-cancels") {
            let job = Job { cancelled: Some(self.now), ..open.job.clone() };
            self.record(Entry::Job(job));
        }
        let (mut ended, mut asked) = (self.stop_rolling(id, "it was cancelled"), 0);
        for minion in minions {
            let Some((_, target)) = self.book.open_target(id, &minion) else { continue };
            if target.target.state == TargetState::Accepted {
                ended += 1;
                self.end_target(id, &minion, End::of(Terminal::Cancelled, ""));
            } else {
                asked += 1;
                if self.is_ready(&minion) {
                    self.send(&minion, ToMinion::Cancel { job: id });
                }
            }
        }
        (ended, asked)
    }

    /// A minion is no member any more.
    pub(crate) fn interrupt_all(&mut self, minion: &MinionId, reason: &str) {
        for job in self.book.jobs_of(minion) {
            self.end_target(job, minion, End::of(Terminal::Interrupted, reason));
        }
    }

    /// How many minions of a job stand where.
    pub(crate) fn words(&self, open: &OpenJob) -> BTreeMap<String, u32> {
        let mut words = BTreeMap::new();
        for target in open.targets.values() {
            let view = self.target_view(open, target);
            let word = match &view {
                JobTarget { lost: Some(_), .. } => "lost contact",
                JobTarget { turn: Some(Turn { waits: true, .. }), .. } => "waiting",
                _ => state_word(&view.state),
            };
            *words.entry(word.to_owned()).or_default() += 1;
        }
        words
    }

    /// An open or lately ended job for people.
    pub(crate) fn job_view(&self, id: JobId) -> Option<api::JobView> {
        let whole = self.book.whole_job(id)?;
        let targets = whole.targets.values().map(|it| self.target_view(whole, it)).collect();
        let mut job = whole.job.clone();
        job.roll = job.roll.or_else(|| whole.roll.clone().map(Box::new));
        Some(api::JobView { job, targets, words: self.words(whole) })
    }

    /// When a job is done for, for tests and views.
    pub(crate) fn day_ago(&self) -> Timestamp {
        Timestamp(self.now.0.saturating_sub(86_400_000))
    }
}

/// Whether a report says more than its tally.
fn tells_more(tally: Tally) -> bool {
    tally.changed + tally.would_change + tally.failed > 0
}

#[cfg(test)]
mod tests;
