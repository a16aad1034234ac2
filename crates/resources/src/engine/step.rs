//! One attempt at one step.

use super::watched::Watched;
use crate::{
    Applied, Error, Host, Probe, Resource, answer,
    args::plain_path,
    diff::hash_of,
    host::{Action, Attributes, Command, Exit, Links},
    instantiate,
    remote::private_folder,
    resource::Reboot,
};
use model::{Change, GuardCall, Mode, Outcome, Output, Plan, Step};
use std::{
    error::Error as _,
    path::{Path, PathBuf},
};

/// Longest that a command of `unless`, `onlyif` or `check_cmd` may take.
const GUARD_TIMEOUT_MS: u64 = 600_000;

/// Where the new contents of files are judged whose own folders are missing or belong to others.
const DRAFT_FOLDER: &str = "/var/cache/labctl/drafts";

/// The resource that a step describes.
pub(super) fn resource_of(step: &Step) -> Result<Box<dyn Resource>, String> {
    instantiate(&step.kind(), &step.params).map_err(|error| error.to_string())
}

/// What a step has to know of the others.
pub(super) struct Circumstances {
    pub(super) mode: Mode,
    /// Something watched changed: this.
    pub(super) refresh: Option<String>,
    /// In a dry run: this would have changed before, so that a check may stumble.
    pub(super) unsettled: Option<String>,
}

/// How an attempt ended.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) outcome: Outcome,
    pub(super) comment: String,
    pub(super) plan: Plan,
    pub(super) output: Option<Output>,
    /// It is done by booting the machine anew.
    pub(super) reboot: Option<Reboot>,
}

impl Attempt {
    pub(super) fn ended(outcome: Outcome, comment: String) -> Self {
        Self { outcome, comment, plan: Plan::default(), output: None, reboot: None }
    }
    pub(super) fn say(&mut self, sentence: &str) {
        if !sentence.is_empty() {
            let comma = if self.comment.is_empty() { "" } else { "; " };
            self.comment = format!("{}{comma}{sentence}", self.comment);
        }
    }
    /// What is not on the disk has not happened.
    pub(super) fn unsettled(&mut self, error: &std::io::Error) {
        if self.outcome == Outcome::Changed {
            self.outcome = Outcome::Failed;
            self.comment = format!("changed, but cannot be made durable: {error}");
        }
    }
    fn fail(&mut self, error: Error) {
        self.outcome = Outcome::Failed;
        self.comment = chain(&error);
        if let Error::Command { output, .. } = error {
            self.output = Some(*output);
        }
    }
    fn take(&mut self, applied: Applied) {
        self.say(&applied.comment);
        self.output = applied.output.or(self.output.take());
    }
}

/// Guards, check, apply, check again, refresh.
pub(super) fn attempt(step: &Step, circumstances: &Circumstances, host: &mut Watched<'_, '_>) -> Attempt {
    let resource = match resource_of(step) {
        Ok(resource) => resource,
        Err(why) => return Attempt::ended(Outcome::Failed, why),
    };
    match guards(step, host) {
        Ok(None) => (),
        Ok(Some(why)) => return Attempt::ended(Outcome::Ok, why),
        Err(error) => return Attempt::ended(Outcome::Failed, chain(&error)),
    }
    let mut attempt = Attempt::ended(Outcome::Ok, String::new());
    let plan = match (resource.check(host), &circumstances.unsettled) {
        (Ok(plan), _) => plan,
        (Err(error), Some(earlier)) => {
            attempt.outcome = Outcome::WouldChange;
            attempt.comment = format!("cannot be judged before {earlier} has changed: {}", chain(&error));
            return attempt;
        }
        (Err(error), None) => {
            attempt.fail(error);
            return attempt;
        }
    };
    attempt.say(&resource.remark());
    if let Some((variables, forget)) = resource.environment() {
        host.shared.variables.set(variables, forget);
    }
    if !plan.is_empty() {
        attempt.plan = plan.clone();
        attempt.outcome = Outcome::WouldChange;
        if circumstances.mode == Mode::Apply {
            attempt.outcome = Outcome::Changed;
            attempt.reboot = resource.reboot();
            if attempt.reboot.is_some() {
                return attempt;
            }
            if let Err(error) = change(step, &*resource, &plan, host, &mut attempt) {
                // What went wrong first is what counts.
                let _ = resource.abandon(host);
                attempt.fail(error);
                return attempt;
            }
        }
    }
    if !resource.is_fresh_after(&plan) {
        refreshed(&*resource, circumstances, host, &mut attempt);
    }
    attempt
}

/// Whether an attempt would change something.
pub(super) fn would_change(step: &Step, host: &mut Watched<'_, '_>) -> Result<bool, String> {
    let resource = resource_of(step)?;
    if guards(step, host).map_err(|error| chain(&error))?.is_some() {
        return Ok(false);
    }
    resource.check(host).map(|plan| !plan.is_empty()).map_err(|error| chain(&error))
}

/// Only the refresh, at the end of a run; `None` if this kind has none.
pub(super) fn refresh(
    step: &Step,
    circumstances: &Circumstances,
    host: &mut Watched<'_, '_>,
) -> Option<Attempt> {
    let resource = match resource_of(step) {
        Ok(resource) => resource,
        Err(why) => return Some(Attempt::ended(Outcome::Failed, why)),
    };
    resource.refreshes()?;
    let mut attempt = Attempt::ended(Outcome::Ok, String::new());
    refreshed(&*resource, circumstances, host, &mut attempt);
    Some(attempt)
}

fn refreshed(
    resource: &dyn Resource,
    circumstances: &Circumstances,
    host: &mut Watched<'_, '_>,
    attempt: &mut Attempt,
) {
    let (Some(because), Some(verb)) = (&circumstances.refresh, resource.refreshes()) else { return };
    let to = Some(format!("because of {because}"));
    let change = Change { what: verb.to_owned(), from: None, to, diff: None };
    if circumstances.mode == Mode::Check {
        attempt.outcome = Outcome::WouldChange;
        attempt.plan.push(change);
        return;
    }
    match resource.refresh(host) {
        Ok(None) => (),
        Ok(Some(applied)) => {
            attempt.outcome = Outcome::Changed;
            attempt.plan.push(change);
            attempt.take(applied);
        }
        Err(error) => attempt.fail(error),
    }
}

/// Apply and the proof of it.
fn change(
    step: &Step,
    resource: &dyn Resource,
    plan: &Plan,
    host: &mut Watched<'_, '_>,
    attempt: &mut Attempt,
) -> Result<(), Error> {
    resource.prepare(plan, host)?;
    let judged = judge(step, resource, plan, host)?;
    let applied = resource.apply(plan, host)?;
    if applied.unchanged {
        attempt.outcome = Outcome::Ok;
        attempt.plan = Plan::default();
    }
    attempt.take(applied);
    if resource.converges() {
        let left = resource.check(host)?;
        if let Some(change) = left.changes.first() {
            let is = change.from.as_deref().unwrap_or("absent");
            let wanted = change.to.as_deref().unwrap_or("absent");
            let text = format!("applied, but did not converge: {} is {is} instead of {wanted}", change.what);
            return Err(Error::Refused(text));
        }
    }
    if !judged {
        for line in &step.global.check_cmd {
            guard(step, line, host)?.1.success(&format!("check_cmd `{line}`"))?;
        }
    }
    Ok(())
}

/// Lets `check_cmd` look at the new contents of a file before they are put in place: its path is appended.
fn judge(
    step: &Step,
    resource: &dyn Resource,
    plan: &Plan,
    host: &mut Watched<'_, '_>,
) -> Result<bool, Error> {
    let Some((path, contents)) = resource.candidate(plan).filter(|_| !step.global.check_cmd.is_empty())
    else {
        return Ok(false);
    };
    let draft = draft_path(path, resource.draft_place(), host)?;
    let how = Attributes { mode: Some(0o600), ..Attributes::default() };
    host.write(&draft, contents, how, Links::Keep).map_err(Error::host("write", draft.display()))?;
    let verdict = step.global.check_cmd.iter().try_for_each(|line| {
        let whole = format!("{line} '{}'", draft.display().to_string().replace('\'', "'\\''"));
        guard(step, &whole, host)?
            .1
            .success(&format!("check_cmd `{line}` refuses the new contents"))
            .map(drop)
    });
    host.remove(&draft).map_err(Error::host("remove", draft.display()))?;
    verdict.map(|()| true)
}

/// Beside the file if its folder exists, so that relative names in it are found. Where others may write, a name that
/// they can foresee is not safe.
fn draft_path(path: &Path, place: (Option<&Path>, &str), host: &mut dyn Host) -> Result<PathBuf, Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let folder = place.0.or(path.parent()).unwrap_or(Path::new("/"));
    let found = host.stat(folder, Links::Follow).map_err(Error::host("look at", folder.display()))?;
    if found.is_some_and(|it| it.uid == 0 && it.mode & 0o022 == 0) {
        return Ok(folder.join(format!(".{name}.labctl-draft{}", place.1)));
    }
    private_folder(host, DRAFT_FOLDER)?;
    let of = hash_of(path.display().to_string().as_bytes()).to_string();
    Ok(Path::new(DRAFT_FOLDER).join(format!("{}-{name}{}", &of[..16], place.1)))
}

/// The reason to leave the step alone, if there is one.
fn guards(step: &Step, host: &mut Watched<'_, '_>) -> Result<Option<String>, Error> {
    let global = &step.global;
    if !global.creates.is_empty() {
        let exists = |path: &String| host.stat(&plain_path(path), Links::Follow).map(|it| it.is_some());
        let all = global.creates.iter().map(exists).collect::<Result<Vec<_>, _>>();
        if all.map_err(Error::host("look for", global.creates.join(", ")))?.iter().all(|it| *it) {
            return Ok(Some(format!("{} exists (creates)", global.creates.join(", "))));
        }
    }
    for line in &global.onlyif {
        if guard(step, line, host)?.0 != Exit::Code(0) {
            return Ok(Some(format!("`{line}` does not succeed (onlyif)")));
        }
    }
    for call in &global.onlyif_calls {
        if !is_so(call, host)? {
            return Ok(Some(format!("{} is not so (onlyif)", call.question)));
        }
    }
    for line in &global.unless {
        if guard(step, line, host)?.0 != Exit::Code(0) {
            return Ok(None);
        }
    }
    for call in &global.unless_calls {
        if !is_so(call, host)? {
            return Ok(None);
        }
    }
    let lines = global.unless.iter().map(|it| format!("`{it}`"));
    let unless: Vec<String> =
        lines.chain(global.unless_calls.iter().map(|it| it.question.to_string())).collect();
    Ok((!unless.is_empty()).then(|| format!("{} succeeds (unless)", unless.join(", "))))
}

/// What a function answers in the place of a command.
fn is_so(call: &GuardCall, host: &Watched<'_, '_>) -> Result<bool, Error> {
    let answer = answer::answer(&call.question, host).map_err(Error::Refused)?;
    let part = call.get_return.as_deref().map_or(&answer, |it| answer::part_of(&answer, it));
    Ok(answer::is_true(part))
}

fn guard(step: &Step, line: &str, host: &mut Watched<'_, '_>) -> Result<(Exit, crate::host::Done), Error> {
    let global = &step.global;
    let command = Command {
        user: global.runas.clone(),
        cwd: global.cwd.as_ref().map(PathBuf::from),
        env: global.env.clone().into_iter().collect(),
        ..Command::shell(line, GUARD_TIMEOUT_MS)
    };
    let before = std::mem::replace(&mut host.live, false);
    let done = host.perform(&Action::Run(command));
    host.live = before;
    done.map(|it| (it.exit, it)).map_err(Error::host("run", line))
}

/// An error with all its causes.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
