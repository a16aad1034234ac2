//! Follows a job to its end: live lines, results as they come, the summary, the exit code.

pub(crate) mod here;
mod output;

use super::Desk;
use crate::{
    Ended, Outcome,
    cli::Format,
    failure::{Exit, Failure},
    session::{Call, Heard, StreamEnd},
    show::{
        fold::{self, Said},
        job::{self, Detail},
        json,
        progress::{News, Watched, heartbeat},
        style::prefixed,
        waves,
    },
};
use model::{
    JobId, JobKind, JobTarget, MinionId, Reply, Request, RunReport, TargetState,
    api::{JobLine, JobView},
};
use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    time::{Duration, Instant},
};

/// Between two pictures of the live lines.
const REDRAW: Duration = Duration::from_millis(100);
/// A word for those who wait without a terminal.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// How often a broken stream is begun again, with a second between.
const RETRIES_MAX: u32 = 60;

/// How to follow, and what to make of the end.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct Follow {
    /// For the wait, not for the job.
    pub(crate) timeout: Option<Duration>,
    pub(crate) diff: bool,
    pub(crate) all: bool,
    pub(crate) detailed_exitcode: bool,
    pub(crate) passthrough: bool,
    pub(crate) folding: bool,
    pub(crate) runs: Runs,
    pub(crate) until: Until,
}

/// How long a job is followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Until {
    /// To its end.
    #[default]
    End,
    /// Until each machine reboots, or has ended.
    Rebooting,
}

/// Where a job runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Runs {
    /// On minions of a master, which keeps what came of it.
    #[default]
    Afar,
    /// On this machine, as a child of this program; nobody keeps anything.
    Here,
}

impl Follow {
    /// As `job watch` does.
    pub(crate) fn plainly(timeout: Option<Duration>) -> Self {
        Self {
            timeout,
            diff: false,
            all: false,
            detailed_exitcode: false,
            passthrough: false,
            folding: true,
            runs: Runs::Afar,
            until: Until::End,
        }
    }
}

/// A job as it is followed.
struct Following<'a> {
    follow: &'a Follow,
    id: JobId,
    watched: Watched,
    began: Instant,
    drawn: Option<Instant>,
    said: Instant,
    /// What a single host's command has said so far.
    streamed: BTreeMap<MinionId, (String, String)>,
    printed: Vec<MinionId>,
    greeted: bool,
}

/// Until the end, the limit or Ctrl-C.
pub(crate) fn job(desk: &mut Desk<'_>, id: JobId, follow: &Follow) -> Ended {
    let mut following = Following::new(id, follow);
    let end = following.watch(desk)?;
    desk.screen.erase()?;
    match end {
        StreamEnd::Interrupted => {
            let short = id.short();
            desk.screen.note(&format!("job {short} goes on; labctl job watch {short}"))?;
            Ok(Exit::Interrupted)
        }
        StreamEnd::TimedOut => following.timed_out(desk),
        StreamEnd::Broken(why) => Err(Failure::new(Exit::NoMaster, format!("lost the master: {why}"))
            .hint(format!("job {0} goes on; labctl job watch {0}", id.short()))),
        StreamEnd::Stopped if following.all_reboot() => following.on_their_way(desk),
        StreamEnd::Finished | StreamEnd::Stopped => following.finish(desk),
    }
}

impl<'a> Following<'a> {
    fn new(id: JobId, follow: &'a Follow) -> Self {
        Following {
            follow,
            id,
            watched: Watched::default(),
            began: Instant::now(),
            drawn: None,
            said: Instant::now(),
            streamed: BTreeMap::new(),
            printed: Vec::new(),
            greeted: false,
        }
    }

    fn watch(&mut self, desk: &mut Desk<'_>) -> Outcome<StreamEnd> {
        let until = self.follow.timeout.map(|it| self.began + it);
        let path = format!("/api/v1/jobs/{}/watch", self.id);
        let mut tries = 0;
        loop {
            let tick = if desk.screen.live { REDRAW } else { Duration::from_secs(1) };
            let call = Call { path: &path, body: None, until, tick };
            let mut session = desk.take_session()?;
            let end = session.stream(&call, &mut |heard| self.heard(desk, heard));
            desk.put_session(session);
            let why = match end {
                Ok(StreamEnd::Finished) if self.watched.ended => return Ok(StreamEnd::Finished),
                Ok(StreamEnd::Finished) => "the master ended the stream".to_owned(),
                Ok(StreamEnd::Broken(why)) => why,
                Ok(end) => return Ok(end),
                Err(failure) if failure.exit == Exit::NoMaster && self.greeted => failure.message,
                Err(failure) => return Err(failure),
            };
            tries += 1;
            if tries > RETRIES_MAX {
                return Ok(StreamEnd::Broken(why));
            }
            if tries == 1 {
                desk.screen.note(&format!("lost the master ({why}); trying again, the job goes on"))?;
            }
            if until.is_some_and(|it| Instant::now() >= it) {
                return Ok(StreamEnd::TimedOut);
            }
            if desk.session()?.pause(Duration::from_secs(1)) == ControlFlow::Break(()) {
                return Ok(StreamEnd::Interrupted);
            }
        }
    }

    fn heard(&mut self, desk: &mut Desk<'_>, heard: Heard<JobLine>) -> Outcome<ControlFlow<()>> {
        match heard {
            Heard::Tick => self.tick(desk)?,
            Heard::Line(line) => {
                if desk.screen.format == Format::Jsonl {
                    desk.screen.line(&json::dated(json::of(&line)).to_string())?;
                    desk.screen.flush()?;
                }
                match self.watched.take(line) {
                    News::Nothing => self.greet(desk)?,
                    News::Rolled(mark) => Self::rolled(desk, &mark)?,
                    News::Ended(minion) => self.ended_on(desk, &minion)?,
                    News::Output { minion, stderr, text } => self.output(desk, &minion, stderr, &text)?,
                    News::Over => return Ok(ControlFlow::Break(())),
                }
                if self.follow.until == Until::Rebooting && self.all_reboot() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Whether those that have not ended reboot, and there are such.
    fn all_reboot(&self) -> bool {
        let open = self.watched.open();
        let reboots = |it: &&JobTarget| matches!(it.state, TargetState::Running { rebooting: Some(_), .. });
        !open.is_empty() && open.iter().all(reboots)
    }

    /// The rest is for the machines.
    fn on_their_way(&mut self, desk: &mut Desk<'_>) -> Ended {
        let names: Vec<String> = self.watched.open().iter().map(|it| it.minion.to_string()).collect();
        let exit = if self.waiting().next().is_some() { self.finish(desk)? } else { Exit::Done };
        let (short, names) = (self.id.short(), fold::fold_names(&names));
        desk.screen.note(&format!("rebooting: {names}; to see them come back: labctl job watch {short}"))?;
        Ok(if exit == Exit::Failed { exit } else { Exit::Done })
    }

    fn is_run(&self) -> bool {
        self.watched.view.as_ref().is_some_and(|it| it.job.kind.is_command())
    }

    fn is_plain(desk: &Desk<'_>) -> bool {
        !desk.screen.human && !desk.screen.format.is_machine()
    }

    /// The first line of logfmt.
    fn greet(&mut self, desk: &mut Desk<'_>) -> Outcome<()> {
        let Some(view) = self.watched.view.as_ref().filter(|_| !self.greeted) else { return Ok(()) };
        self.greeted = true;
        if let Some(mark) = waves::mark(view) {
            Self::rolled(desk, &mark)?;
        }
        if !Self::is_plain(desk) || view.job.kind.is_command() {
            return Ok(());
        }
        let what = match &view.job.kind {
            JobKind::Apply { states, .. } if states.is_empty() => "states=(top)".to_owned(),
            JobKind::Apply { states, .. } => format!("states={}", states.join(",")),
            JobKind::Run { .. } => String::new(),
            JobKind::Undo { of, .. } => format!("undo={}", of.short()),
            JobKind::Reboot { .. } => "reboot".to_owned(),
        };
        let line = match self.follow.runs {
            Runs::Afar => format!("job={} {what} minions={}", self.id.short(), view.targets.len()),
            Runs::Here => what,
        };
        desk.screen.line(&line)?;
        desk.screen.flush()
    }

    fn tick(&mut self, desk: &mut Desk<'_>) -> Outcome<()> {
        let elapsed = self.began.elapsed();
        if desk.screen.live && !self.is_streaming() {
            let soon = elapsed < REDRAW;
            if soon || self.drawn.is_some_and(|it| it.elapsed() < REDRAW / 2) {
                return Ok(());
            }
            self.drawn = Some(Instant::now());
            let rows = terminal_size::terminal_size().map_or(24, |(_, height)| usize::from(height.0));
            let lines = self.watched.lines(elapsed, rows, &desk.screen.err_style);
            return desk.screen.draw(&lines);
        }
        if desk.screen.progress && !desk.screen.live && self.said.elapsed() >= HEARTBEAT {
            self.said = Instant::now();
            desk.screen.note(&heartbeat(&self.watched, elapsed))?;
        }
        Ok(())
    }

    /// Whether a command's words go straight through: one host, or nothing is to be folded.
    fn is_streaming(&self) -> bool {
        let hosts = self.watched.view.as_ref().map_or(0, |it| it.targets.len());
        self.is_run() && (hosts == 1 || !self.follow.folding)
    }

    fn output(&mut self, desk: &mut Desk<'_>, minion: &MinionId, stderr: bool, text: &str) -> Outcome<()> {
        if !self.is_streaming() || desk.screen.format.is_machine() {
            return Ok(());
        }
        let so_far = self.streamed.entry(minion.clone()).or_default();
        if stderr {
            so_far.1.push_str(text);
        } else {
            so_far.0.push_str(text);
        }
        let hosts = self.watched.view.as_ref().map_or(0, |it| it.targets.len());
        let text = match hosts {
            1 => text.to_owned(),
            _ => prefixed(text, &format!("{minion}: ")),
        };
        if stderr {
            return desk.screen.raw_err(&text);
        }
        desk.screen.raw(&text)?;
        desk.screen.flush()
    }

    /// One line a host where nobody watches.
    fn ended_on(&mut self, desk: &mut Desk<'_>, minion: &MinionId) -> Outcome<()> {
        self.said = Instant::now();
        if Self::is_plain(desk) && !self.is_run() {
            // The report follows its end: lines come with the next one, or at the end of all.
            let waiting: Vec<MinionId> = self.waiting().filter(|it| *it != minion).cloned().collect();
            for minion in waiting {
                self.print_logfmt(desk, &minion)?;
            }
        }
        Ok(())
    }

    fn waiting(&self) -> impl Iterator<Item = &MinionId> {
        let targets = self.watched.view.iter().flat_map(|it| &it.targets);
        let ended = targets.filter(|it| matches!(it.state, TargetState::Ended { .. })).map(|it| &it.minion);
        ended.filter(|it| !self.printed.contains(it))
    }

    fn print_logfmt(&mut self, desk: &mut Desk<'_>, minion: &MinionId) -> Outcome<()> {
        let Some(view) = &self.watched.view else { return Ok(()) };
        let Some(target) = self.watched.target(minion) else { return Ok(()) };
        let style = desk.screen.style.clone();
        let detail = Detail {
            diff: self.follow.diff || style.verbosity > 0,
            whole: self.follow.runs == Runs::Here,
            all: false,
        };
        let line = job::logfmt(&view.job.kind, target, self.watched.reports.get(minion), detail, &style);
        desk.screen.line(&line)?;
        desk.screen.flush()?;
        self.printed.push(minion.clone());
        Ok(())
    }

    fn timed_out(&mut self, desk: &mut Desk<'_>) -> Ended {
        let open: Vec<String> = self.watched.open().iter().map(|it| it.minion.to_string()).collect();
        let exit = self.finish(desk)?;
        let short = self.id.short();
        desk.screen.note(&format!(
            "timeout: {} still at it: {}; job {short} goes on; labctl job watch {short}",
            open.len(),
            fold::fold_names(&open)
        ))?;
        Ok(if exit == Exit::Failed || exit == Exit::Compile { exit } else { Exit::Unanswered })
    }

    fn finish(&mut self, desk: &mut Desk<'_>) -> Ended {
        let Some(view) = self.watched.view.clone() else {
            return Err(Failure::new(Exit::NoMaster, "the master said nothing about the job"));
        };
        self.fetch_reports(desk, &view)?;
        let exit = job::exit(&view, self.follow.detailed_exitcode);
        let took = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        match desk.screen.format {
            Format::Jsonl => {}
            Format::Name | Format::Json | Format::Yaml => {
                let id = view.job.id.to_string();
                desk.screen.thing("JobResult", result_value(&view, &self.watched.reports), &id, "")?;
            }
            _ if self.is_run() => self.show_run(desk, &view, took)?,
            _ if desk.screen.human => show_whole(desk, &view, &self.watched.reports, self.follow, took)?,
            _ => {
                let waiting: Vec<MinionId> = self.waiting().cloned().collect();
                for minion in waiting {
                    self.print_logfmt(desk, &minion)?;
                }
                desk.screen.line(&job::logfmt_result(&view, took))?;
                if exit == Exit::Compile {
                    let paint = desk.screen.err_style.diagnostics();
                    let drawn = lang::render_diagnostics(&job::diagnostics(&view), paint);
                    desk.screen.note(drawn.trim_end())?;
                }
            }
        }
        for line in waves::closing(&view) {
            desk.screen.note(&line)?;
        }
        Ok(self.passed_through(&view).unwrap_or(exit))
    }

    fn passed_through(&self, view: &JobView) -> Option<Exit> {
        let [target] = &view.targets[..] else { return None };
        match target.state {
            TargetState::Ended { code: Some(code), .. } if self.follow.passthrough => {
                Some(Exit::Command(u8::try_from(code).unwrap_or(255)))
            }
            _ => None,
        }
    }

    /// Reports that did not come with the stream.
    fn fetch_reports(&mut self, desk: &mut Desk<'_>, view: &JobView) -> Outcome<()> {
        for target in &view.targets {
            let wanted = job::is_notable(&view.job.kind, target) || self.is_run() || self.follow.all;
            let ran = matches!(target.state, TargetState::Ended { duration_ms: Some(_), .. });
            if wanted && ran && !self.watched.reports.contains_key(&target.minion) {
                fetch_report(desk, view.job.id, target, &mut self.watched.reports)?;
            }
        }
        Ok(())
    }
}

/// What a command said on a host.
pub(crate) fn said(kind: &JobKind, target: &JobTarget, report: Option<&RunReport>) -> Said {
    let (code, reason) = match &target.state {
        TargetState::Ended { code, reason, .. } => (*code, reason.clone()),
        _ => (None, String::new()),
    };
    let word = match job::word(kind, target) {
        "changed" => "ok",
        word => word,
    };
    let step = report.and_then(|it| it.steps.first());
    let output = step.and_then(|it| it.output.clone()).unwrap_or_default();
    let comment = step.filter(|it| it.output.is_none() && word == "failed").map(|it| it.comment.clone());
    Said {
        word,
        code,
        stdout: output.stdout,
        stderr: output.stderr,
        reason: if reason.is_empty() { comment.unwrap_or_default() } else { reason },
    }
}

/// One report from the master.
pub(crate) fn fetch_report(
    desk: &mut Desk<'_>,
    job: JobId,
    target: &JobTarget,
    reports: &mut job::Reports,
) -> Outcome<()> {
    let request = Request::Report { job, minion: target.minion.clone() };
    if let Reply::Report(Some(report)) = desk.ask(&request)? {
        reports.insert(target.minion.clone(), *report);
    }
    Ok(())
}

/// A job with its reports, for machines.
pub(crate) fn result_value(view: &JobView, reports: &job::Reports) -> serde_json::Value {
    let mut value = json::of(view);
    value["result"] = job::overall(view).into();
    value["reports"] =
        reports.iter().map(|(minion, report)| (minion.to_string(), json::of(report))).collect();
    value
}

/// Blocks of the hosts that are worth one, the table, the line for the whole.
pub(crate) fn show_whole(
    desk: &mut Desk<'_>,
    view: &JobView,
    reports: &job::Reports,
    follow: &Follow,
    took: u64,
) -> Outcome<()> {
    let style = desk.screen.style.clone();
    let detail = Detail {
        diff: follow.diff || style.verbosity > 0,
        whole: follow.runs == Runs::Here,
        all: follow.all,
    };
    let exit = job::exit(view, false);
    if exit == Exit::Compile {
        let drawn = lang::render_diagnostics(&job::diagnostics(view), style.diagnostics());
        desk.screen.note(&format!("{}\n", drawn.trim_end()))?;
    }
    let notable = |it: &&JobTarget| follow.all || style.verbosity > 0 || job::is_notable(&view.job.kind, it);
    let hosts = view.targets.iter().filter(notable).map(|it| (it, reports.get(&it.minion)));
    let told = hosts.filter(|(target, report)| {
        report.is_some() || !(target.diagnostics.is_empty() || exit == Exit::Compile)
    });
    desk.screen.raw(&job::host_blocks(&view.job.kind, told, detail, &style))?;
    desk.screen.raw(&job::host_table(view, follow.all, &style)?)?;
    desk.screen.line("")?;
    match follow.runs {
        Runs::Afar => {
            desk.screen.line(&job::result_line(view, took, &style))?;
            next_steps(desk, view, exit)
        }
        Runs::Here => {
            desk.screen.line(&job::result_line_here(view, took, &style))?;
            here::next_step(desk, view)
        }
    }
}

fn next_steps(desk: &mut Desk<'_>, view: &JobView, exit: Exit) -> Outcome<()> {
    let short = view.job.id.short();
    let dot = desk.screen.style.either("·", "-");
    let first_bad =
        view.targets.iter().find(|it| job::word(&view.job.kind, it) == "failed" && exit == Exit::Failed);
    if let Some(bad) = first_bad {
        let minion = &bad.minion;
        desk.screen.note(&format!(
            "next: labctl job show {short} --host {minion}   {dot}   labctl job retry {short} --failed"
        ))?;
    }
    if let JobKind::Apply { states, mode: model::Mode::Check, .. } = &view.job.kind {
        let states = if states.is_empty() { String::new() } else { format!(" {}", states.join(" ")) };
        desk.screen
            .note(&format!("nothing was changed; to apply: labctl t '{}' apply{states}", view.job.target))?;
    }
    Ok(())
}
