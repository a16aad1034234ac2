//! `labctl job`: what was done and is being done.

use super::{
    Desk, confirm,
    follow::{self, Follow},
    target, unexpected,
};
use crate::{
    Ended, Outcome, complete,
    failure::{Exit, Failure},
    show::{self, Tone, job, time},
};
use clap::{Args, Subcommand};
use clap_complete::ArgValueCompleter;
use model::{
    JobId, JobTarget, MinionId, Mode, Reply, Request, TargetState, Timestamp,
    api::{JobFilter, JobView},
};
use std::{fmt::Write, time::Duration};

/// How long an offer of a retry stays good.
const OFFER_MS: u64 = 60_000;

#[derive(Debug, Args)]
#[command(
    after_help = "A job is named by its id, by an unambiguous beginning of it, or by @last (my last one)."
)]
pub(crate) struct JobCommand {
    #[command(subcommand)]
    verb: Option<JobVerb>,
}

#[derive(Debug, Subcommand)]
enum JobVerb {
    /// The latest first
    #[command(alias = "ls")]
    List(List),
    /// One job with what it did on each machine
    #[command(aliases = ["get", "describe"])]
    Show {
        /// Which
        #[arg(value_name = "JOB", add = ArgValueCompleter::new(complete::jobs))]
        job: String,
        /// Only this machine
        #[arg(long, value_name = "ID")]
        host: Option<MinionId>,
        /// Diffs, whole
        #[arg(long)]
        diff: bool,
        /// Machines and steps with nothing to do, too
        #[arg(long)]
        all: bool,
    },
    /// Watch one that runs; the exit code is the job's
    #[command(visible_alias = "wait")]
    Watch {
        /// Which
        #[arg(value_name = "JOB", default_value = "@last", add = ArgValueCompleter::new(complete::jobs))]
        job: String,
        /// How long
        #[arg(long, value_name = "D", value_parser = time::parse_duration)]
        timeout: Option<u64>,
    },
    /// End what has not ended
    Cancel {
        /// Which
        #[arg(value_name = "JOB", add = ArgValueCompleter::new(complete::jobs))]
        job: String,
    },
    /// Do it again, on the same machines
    Retry {
        /// Which
        #[arg(value_name = "JOB", default_value = "@last", add = ArgValueCompleter::new(complete::jobs))]
        job: String,
        /// Only where it did not end well
        #[arg(long)]
        failed: bool,
        /// Print the new job's id and come back at once
        #[arg(long = "async")]
        detached: bool,
        /// How long to watch; the job goes on
        #[arg(long, value_name = "D", value_parser = time::parse_duration)]
        timeout: Option<u64>,
    },
    /// Put back what it altered: files, units, packet filters; says first what cannot be put back
    #[command(after_help = UNDO_HELP)]
    Undo(Undo),
}

const UNDO_HELP: &str = "\
Each machine keeps what its last 20 jobs altered: contents of up to 8 MiB, mode, owner and links of files and folders,
whether units were enabled and running, and the rules of packet filters.
What else a job did (commands, packages, accounts) is not put back, and is listed first.
A file that was altered since the job is left, and then nothing is put back there, unless --force is given.

Examples:
  labctl job undo @last --check      what would be put back
  labctl job undo @last              put it back; this is a job, too, and can be undone
  labctl job undo 01JD4Z --host vm-3";

#[derive(Debug, Args)]
struct Undo {
    /// Which
    #[arg(value_name = "JOB", default_value = "@last", add = ArgValueCompleter::new(complete::jobs))]
    job: String,
    /// Only on this machine
    #[arg(long, value_name = "ID")]
    host: Option<MinionId>,
    /// Look only, change nothing
    #[arg(long)]
    check: bool,
    /// Put back what was altered since, too
    #[arg(long)]
    force: bool,
    /// Print the new job's id and come back at once
    #[arg(long = "async")]
    detached: bool,
    /// How long to watch; the job goes on
    #[arg(long, value_name = "D", value_parser = time::parse_duration)]
    timeout: Option<u64>,
}

#[derive(Debug, Default, Args)]
struct List {
    /// Only jobs with one of these machines
    #[arg(value_name = "EXPR")]
    target: Option<String>,
    /// Only those with a failure
    #[arg(long)]
    failed: bool,
    /// Only after: 2h (before now), or 2026-11-20T12:00:00Z
    #[arg(long, value_name = "WHEN", value_parser = time::parse_since)]
    since: Option<Timestamp>,
    /// Only by this user or rule
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u32,
}

impl JobCommand {
    pub(crate) fn run(self, desk: &mut Desk<'_>) -> Ended {
        match self.verb {
            None => List { limit: 50, ..List::default() }.run(desk),
            Some(JobVerb::List(list)) => list.run(desk),
            Some(JobVerb::Show { job, host, diff, all }) => show_one(desk, job, host.as_ref(), diff, all),
            Some(JobVerb::Watch { job, timeout }) => {
                let view = one(desk, job)?;
                follow::job(desk, view.job.id, &Follow::plainly(timeout.map(Duration::from_millis)))
            }
            Some(JobVerb::Cancel { job }) => desk.order(&Request::Cancel { job }),
            Some(JobVerb::Retry { job, failed, detached, timeout }) => {
                let follow = Follow::plainly(timeout.map(Duration::from_millis));
                retry(desk, job, failed, (!detached).then_some(&follow))
            }
            Some(JobVerb::Undo(wish)) => wish.run(desk),
        }
    }
}

impl List {
    fn run(self, desk: &mut Desk<'_>) -> Ended {
        let List { target, failed, since, user, limit } = self;
        let filter = JobFilter { target, failed, since, caller: user, limit };
        let reply = desk.ask(&Request::Jobs { filter })?;
        let Reply::Jobs(jobs) = reply else { return Err(unexpected(&reply)) };
        let list = show::status::jobs(&jobs, &desk.screen.style);
        desk.screen.list(list)?;
        Ok(Exit::Done)
    }
}

fn one(desk: &mut Desk<'_>, job: String) -> Outcome<JobView> {
    match desk.ask(&Request::Job { job })? {
        Reply::Job(view) => Ok(*view),
        other => Err(unexpected(&other)),
    }
}

fn retry(desk: &mut Desk<'_>, job: String, failed: bool, follow: Option<&Follow>) -> Ended {
    let JobView { job, .. } = one(desk, job)?;
    let ids: Vec<&str> = job.minions.iter().map(MinionId::as_str).collect();
    let target = ids.join(",");
    let request = Request::Submit {
        job: target::new_job_id()?,
        target: target.clone(),
        kind: job.kind,
        expires_ms: OFFER_MS,
        wait: false,
        retry_of: failed.then_some(job.id),
        rolling: job.rolling,
    };
    target::submit(desk, &request, &target, follow)
}

impl Undo {
    fn run(self, desk: &mut Desk<'_>) -> Ended {
        let view = one(desk, self.job)?;
        let (id, kind) = (view.job.id, &view.job.kind);
        if kind.is_once() || kind.is_check() {
            let what = job::what(kind);
            return Err(Failure::usage(format!(
                "job {} is `{what}`: it altered nothing that is kept",
                id.short()
            )));
        }
        let mut targets: Vec<&JobTarget> = view.targets.iter().collect();
        targets.retain(|it| self.host.as_ref().is_none_or(|host| it.minion == *host));
        if targets.is_empty() {
            let host = self.host.map(|it| it.to_string()).unwrap_or_default();
            return Err(Failure::not_found(format!("`{host}` was no target of job {}", id.short())));
        }
        tell_what_stays(desk, id, &targets)?;
        let names: Vec<String> = targets.iter().map(|it| it.minion.to_string()).collect();
        if !self.check {
            confirm::destructive(desk, &format!("undo job {} on", id.short()), &names, false)?;
        }
        let target = names.join(",");
        let mode = if self.check { Mode::Check } else { Mode::Apply };
        let request = Request::Submit {
            job: target::new_job_id()?,
            target: target.clone(),
            kind: model::JobKind::Undo { of: id, mode, force: self.force },
            expires_ms: OFFER_MS,
            wait: false,
            retry_of: None,
            rolling: None,
        };
        let mut follow = Follow::plainly(self.timeout.map(Duration::from_millis));
        follow.diff = self.check;
        target::submit(desk, &request, &target, (!self.detached).then_some(&follow))
    }
}

/// Steps that are named for each machine.
const NAMED_MAX: usize = 20;

/// What a job did that is not put back.
fn tell_what_stays(desk: &mut Desk<'_>, id: JobId, targets: &[&JobTarget]) -> Outcome<()> {
    let mut reports = job::Reports::new();
    for target in targets {
        if matches!(target.state, TargetState::Ended { duration_ms: Some(_), .. }) {
            follow::fetch_report(desk, id, target, &mut reports)?;
        }
        let steps = reports.get(&target.minion).map(|it| it.steps.as_slice()).unwrap_or_default();
        let altered = |it: &&model::StepReport| {
            it.outcome == model::Outcome::Changed || it.outcome == model::Outcome::Failed
        };
        let stays: Vec<String> = steps
            .iter()
            .filter(altered)
            .filter(|it| !model::is_put_back(&it.kind))
            .map(|it| format!("{} {}", it.kind, it.name.lines().next().unwrap_or_default()))
            .collect();
        if stays.is_empty() {
            continue;
        }
        let more = stays.len().saturating_sub(NAMED_MAX);
        desk.screen
            .note(&format!("{}: not put back, but for files that these steps wrote:", target.minion))?;
        for step in stays.iter().take(NAMED_MAX) {
            desk.screen.note(&format!("  {step}"))?;
        }
        if more > 0 {
            desk.screen.note(&format!("  and {more} more steps"))?;
        }
    }
    Ok(())
}

fn show_one(desk: &mut Desk<'_>, wanted: String, host: Option<&MinionId>, diff: bool, all: bool) -> Ended {
    let mut view = one(desk, wanted)?;
    if let Some(host) = host {
        view.targets.retain(|it| it.minion == *host);
        if view.targets.is_empty() {
            return Err(Failure::not_found(format!("`{host}` was no target of job {}", view.job.id.short())));
        }
    }
    let mut reports = job::Reports::new();
    let wanted = |it: &&JobTarget| all || host.is_some() || job::is_notable(&view.job.kind, it);
    for target in view.targets.iter().filter(wanted) {
        if matches!(target.state, TargetState::Ended { duration_ms: Some(_), .. }) {
            follow::fetch_report(desk, view.job.id, target, &mut reports)?;
        }
    }
    if desk.screen.format.is_machine() {
        let id = view.job.id.to_string();
        desk.screen.thing("Job", follow::result_value(&view, &reports), &id, "")?;
        return Ok(Exit::Done);
    }
    desk.screen.raw(&head(&view, &desk.screen.style.clone()))?;
    let style = desk.screen.style.clone();
    let detail = job::Detail { diff: diff || style.verbosity > 0, whole: diff, all: all || host.is_some() };
    for target in view.targets.iter().filter(wanted) {
        let report = reports.get(&target.minion);
        let block = match view.job.kind {
            model::JobKind::Run { .. } => {
                let said = follow::said(&view.job.kind, target, report);
                show::fold::block(&[target.minion.to_string()], &said, 0, &style)
            }
            model::JobKind::Apply { .. } | model::JobKind::Undo { .. } | model::JobKind::Reboot { .. } => {
                let detail = job::Detail { diff: detail.diff || view.job.kind.is_check(), ..detail };
                job::host_block(&view.job.kind, target, report, detail, &style)
            }
        };
        desk.screen.raw("\n")?;
        desk.screen.raw(&block)?;
    }
    desk.screen.raw("\n")?;
    let table = job::host_table(&view, all || host.is_some(), &style)?;
    desk.screen.raw(&table)?;
    Ok(Exit::Done)
}

/// The upper part of `job show`.
fn head(view: &JobView, style: &show::Style) -> String {
    let job = &view.job;
    let revision = job.revision.map(|it| format!(" (states {it})")).unwrap_or_default();
    let took =
        job.ended.map(|it| format!("      took {}", time::took(it.since_ms(job.at)))).unwrap_or_default();
    let result = match job.ended {
        Some(_) => format!("{}: {}", job::overall(view), job::count_text(view, style)),
        None => format!("still running: {}", job::count_text(view, style)),
    };
    let arrow = style.either("→", "->");
    let mut lines = vec![
        ("Job", style.paint(Tone::Strong, &job.id.to_string())),
        ("What", format!("{}{revision}", job::what(&job.kind))),
        ("Target", format!("{}  {arrow} {} minions", job.target, job.minions.len())),
        (
            "Started",
            format!(
                "{} by {} from {}{took}",
                time::absolute(job.at, style.time),
                job.caller.name,
                job.caller.via
            ),
        ),
        ("Result", result),
    ];
    lines.extend(show::waves::lines(view, style));
    if let Some(before) = job.retry_of {
        lines.push(("Retry of", before.short()));
    }
    if let Some(at) = job.cancelled {
        lines.push(("Cancelled", time::absolute(at, style.time)));
    }
    let mut text = String::new();
    for (name, value) in lines {
        let _ = writeln!(text, "{name:<11}{value}");
    }
    text
}
