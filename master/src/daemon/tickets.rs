//! Who waits for what: replies, lines of probes, lines of jobs.

use crate::core::Ticket;
use model::{
    JobId, Reply,
    api::{ErrorKind, ErrorView, JobLine, JobView, ProbeLine},
};
use std::collections::BTreeMap;
use tokio::sync::{mpsc, oneshot};

/// Answers of one probe that may wait for their reader.
const PROBE_LINES_MAX: usize = 32 * 1024;
/// Lines of one job that may wait for their reader; beyond, it gets a gap.
const JOB_LINES_MAX: usize = 4 * 1024;
/// After so many requests, those whose asker has gone are forgotten.
const GONE_EVERY: u64 = 1024;
/// Readers of jobs in all.
const WATCHERS_MAX: usize = 1024;

/// What is done with the answer of a request.
#[derive(Debug)]
pub(crate) enum Waiter {
    /// It is all that is wanted.
    Reply(oneshot::Sender<Reply>),
    /// Lines come first, the answer closes them.
    Probe(Started<ProbeLine>, Option<mpsc::Sender<ProbeLine>>),
    /// It is a job, whose lines follow.
    Watch(Started<JobLine>),
}

impl Waiter {
    /// Whether nobody waits any more.
    fn is_gone(&self) -> bool {
        match self {
            Self::Reply(to) => to.is_closed(),
            Self::Probe(Some(started), _) => started.is_closed(),
            Self::Probe(None, lines) => lines.as_ref().is_none_or(mpsc::Sender::is_closed),
            Self::Watch(started) => started.as_ref().is_none_or(oneshot::Sender::is_closed),
        }
    }
}

/// Gets a stream, or the refusal.
pub(crate) type Started<T> = Option<oneshot::Sender<Result<mpsc::Receiver<T>, Reply>>>;

/// All who wait. Owned by the loop.
#[derive(Debug, Default)]
pub(crate) struct Tickets {
    last: u64,
    waiting: BTreeMap<Ticket, Waiter>,
    watchers: BTreeMap<JobId, Vec<Watcher>>,
}

#[derive(Debug)]
struct Watcher {
    lines: mpsc::Sender<JobLine>,
    missed: u64,
}

impl Tickets {
    /// A number for someone who waits.
    pub(crate) fn issue(&mut self, waiter: Waiter) -> Ticket {
        self.last += 1;
        if self.last.is_multiple_of(GONE_EVERY) {
            self.waiting.retain(|_, waiter| !waiter.is_gone());
        }
        self.waiting.insert(Ticket(self.last), waiter);
        Ticket(self.last)
    }
    /// The answer is there.
    pub(crate) fn reply(&mut self, ticket: Ticket, reply: Reply) {
        match self.waiting.remove(&ticket) {
            Some(Waiter::Reply(to)) => drop(to.send(reply)),
            Some(Waiter::Probe(Some(started), _)) => match reply {
                Reply::Probed(_) => drop(started.send(Ok(mpsc::channel(1).1))),
                other => drop(started.send(Err(other))),
            },
            Some(Waiter::Watch(Some(started))) => match reply {
                Reply::Job(view) => self.watch(started, *view),
                other => drop(started.send(Err(other))),
            },
            Some(Waiter::Probe(None, _) | Waiter::Watch(None)) | None => {}
        }
    }
    /// One answer of a probe.
    pub(crate) fn probe_line(&mut self, ticket: Ticket, line: ProbeLine) {
        let Some(Waiter::Probe(started, lines)) = self.waiting.get_mut(&ticket) else { return };
        if let Some(started) = started.take() {
            let (sender, receiver) = mpsc::channel(PROBE_LINES_MAX);
            *lines = Some(sender);
            let _ = started.send(Ok(receiver));
        }
        if let Some(lines) = lines {
            let _ = lines.try_send(line);
        }
    }
    /// A line for everyone who watches a job; the last one ends their streams.
    pub(crate) fn job_line(&mut self, job: JobId, line: &JobLine) {
        let Some(watchers) = self.watchers.get_mut(&job) else { return };
        watchers.retain_mut(|it| it.send(line));
        if watchers.is_empty() || matches!(line, JobLine::Ended(_)) {
            self.watchers.remove(&job);
        }
    }
    fn watch(&mut self, started: oneshot::Sender<Result<mpsc::Receiver<JobLine>, Reply>>, view: JobView) {
        self.watchers.retain(|_, all| {
            all.retain(|it| !it.lines.is_closed());
            !all.is_empty()
        });
        if self.watchers.values().map(Vec::len).sum::<usize>() >= WATCHERS_MAX {
            let _ = started.send(Err(unavailable(format!("more than {WATCHERS_MAX} readers watch jobs"))));
            return;
        }
        let (lines, receiver) = mpsc::channel(JOB_LINES_MAX);
        let (job, over) = (view.job.id, view.job.ended.is_some());
        let view = Box::new(view);
        let _ = lines.try_send(JobLine::Snapshot(view.clone()));
        if over {
            let _ = lines.try_send(JobLine::Ended(view));
        } else {
            self.watchers.entry(job).or_default().push(Watcher { lines, missed: 0 });
        }
        let _ = started.send(Ok(receiver));
    }
    /// Whether nobody waits.
    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl Watcher {
    /// Whether the reader is still there.
    fn send(&mut self, line: &JobLine) -> bool {
        if self.missed > 0 && self.lines.try_send(JobLine::Gap(self.missed)).is_ok() {
            self.missed = 0;
        }
        match self.lines.try_send(line.clone()) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.missed += 1;
                true
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }
}

/// A refusal because something cannot be done now.
pub(crate) fn unavailable(message: String) -> Reply {
    let hint = Some("try again in a moment; `labctl status` says how the master is".into());
    Reply::Error(ErrorView { kind: ErrorKind::Unavailable, message, hint, diagnostics: Vec::new() })
}
