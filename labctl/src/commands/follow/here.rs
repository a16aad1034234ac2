//! Follows a run on this machine: what its worker says becomes the lines that a master would send.

use super::{Follow, Following};
use crate::{
    Ended, Outcome,
    commands::Desk,
    failure::Exit,
    session::Heard,
    worker::{self, Event, RunEnd, RunLine, Said},
};
use model::{
    Caller, Job, JobId, JobKind, JobTarget, MinionId, Mode, RunReport, Tally, TargetState, Terminal,
    Timestamp,
    api::{JobLine, JobView},
};
use std::collections::BTreeMap;

/// Above the live lines.
const INTERRUPT: &str = "Ctrl-C ends it";

/// Runs a recipe here to its end, with the lines, the summary and the exit code of a job of one machine.
pub(crate) fn run(
    desk: &mut Desk<'_>,
    follow: &Follow,
    job: &JobView,
    order: &worker::Order,
    recipe: Vec<u8>,
) -> Ended {
    let mut following = Following::new(job.job.id, follow);
    following.watched.interrupt = Some(INTERRUPT);
    let id = job.job.minions[0].clone();
    let mut here = Here { id, of: 0, view: job.clone(), interrupted: false };
    following.line(desk, JobLine::Snapshot(Box::new(job.clone())))?;
    let ended = worker::run(order, recipe, &mut |event| here.take(desk, &mut following, event))?;
    here.end(desk, &mut following, ended)?;
    desk.screen.erase()?;
    let exit = following.finish(desk)?;
    Ok(if here.interrupted { Exit::Interrupted } else { exit })
}

/// A job of one machine that nobody but this program knows.
pub(crate) fn view(id: JobId, minion: &MinionId, kind: JobKind, at: Timestamp) -> JobView {
    let job = Job {
        id,
        kind,
        target: minion.to_string(),
        minions: vec![minion.clone()],
        caller: Caller::new("local", "labctl local", "admin"),
        at,
        expires: at,
        wait: false,
        revision: None,
        retry_of: None,
        ended: None,
        cancelled: None,
        hops: 0,
        rolling: None,
        roll: None,
    };
    let target = JobTarget {
        job: id,
        minion: minion.clone(),
        state: TargetState::Running { step: 0, of: 0, at, rebooting: None },
        diagnostics: Vec::new(),
        lost: None,
        turn: None,
    };
    JobView { job, targets: vec![target], words: BTreeMap::new() }
}

struct Here {
    id: MinionId,
    of: u32,
    view: JobView,
    interrupted: bool,
}

impl Here {
    fn take(&mut self, desk: &mut Desk<'_>, following: &mut Following<'_>, event: Event) -> Outcome<()> {
        let minion = self.id.clone();
        let line = match event {
            Event::Tick => return following.heard(desk, Heard::Tick).map(|_| ()),
            Event::Interrupted { again: false } => {
                self.interrupted = true;
                return desk.screen.note("ending what is at work; Ctrl-C again ends it at once");
            }
            Event::Interrupted { again: true } => {
                return desk.screen.note("ended in the middle of a step");
            }
            Event::Said(Said::Steps(of)) => {
                self.of = of;
                return Ok(());
            }
            Event::Said(Said::Line(RunLine::Started { index, what })) => {
                JobLine::Started { minion, step: index + 1, of: self.of, what }
            }
            Event::Said(Said::Line(RunLine::Output { stderr, text })) => {
                JobLine::Output { minion, stderr, text }
            }
            Event::Said(Said::Line(RunLine::Ended(step))) => JobLine::Step { minion, step },
            Event::Said(Said::End(_)) => return Ok(()),
        };
        following.line(desk, line)
    }

    fn end(&mut self, desk: &mut Desk<'_>, following: &mut Following<'_>, end: RunEnd) -> Outcome<()> {
        let at = crate::show::time::now();
        let state = match end {
            RunEnd::Report { report, events } => {
                if !events.is_empty() && desk.screen.style.verbosity > 0 {
                    desk.screen
                        .note(&format!("{} events went to nobody: there is no master", events.len()))?;
                }
                let state = state_of(&report, at);
                following.line(desk, JobLine::Report { minion: self.id.clone(), report })?;
                state
            }
            RunEnd::NotBegun { reason } | RunEnd::Fault { reason } => ended(Terminal::Failed, at, reason),
            RunEnd::Lost { reason } => ended(Terminal::Interrupted, at, reason),
        };
        self.view.targets[0].state = state;
        self.view.job.ended = Some(at);
        let word = crate::show::job::word(&self.view.job.kind, &self.view.targets[0]);
        self.view.words = BTreeMap::from([(word.to_owned(), 1)]);
        following.line(desk, JobLine::Ended(Box::new(self.view.clone())))
    }
}

fn state_of(report: &RunReport, at: Timestamp) -> TargetState {
    let tally = report.tally();
    let word = match tally {
        Tally { failed, .. } if failed > 0 => Terminal::Failed,
        _ if report.cancelled => Terminal::Cancelled,
        Tally { changed, would_change, .. } if changed + would_change > 0 => Terminal::Changed,
        _ => Terminal::Ok,
    };
    let duration_ms = Some(report.duration_ms);
    TargetState::Ended { word, at, duration_ms, tally, reason: String::new(), code: None }
}

fn ended(word: Terminal, at: Timestamp, reason: String) -> TargetState {
    TargetState::Ended { word, at, duration_ms: None, tally: Tally::default(), reason, code: None }
}

impl Following<'_> {
    fn line(&mut self, desk: &mut Desk<'_>, line: JobLine) -> Outcome<()> {
        self.heard(desk, Heard::Line(line)).map(|_| ())
    }
}

/// What to type after a look.
pub(super) fn next_step(desk: &mut Desk<'_>, view: &JobView) -> Outcome<()> {
    let JobKind::Apply { states, mode: Mode::Check, .. } = &view.job.kind else { return Ok(()) };
    let states = if states.is_empty() { String::new() } else { format!(" {}", states.join(" ")) };
    desk.screen.note(&format!("nothing was changed; to apply: labctl local apply{states}"))
}
