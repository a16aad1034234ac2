//! The live view of a job: what is known from its lines, and the few lines that show it.

use super::{Style, job, time, waves};
use model::{
    JobTarget, MinionId, Roll, TargetState,
    api::{JobLine, JobView},
};
use std::{collections::BTreeMap, time::Duration};

/// Widths of a bar.
const BAR: usize = 20;
/// Live lines at most, whatever the terminal's height.
const LINES_MAX: usize = 20;

/// What is known of a job while it runs.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    pub(crate) view: Option<JobView>,
    pub(crate) reports: job::Reports,
    steps: BTreeMap<MinionId, Step>,
    /// Lines that were lost on the way.
    pub(crate) gaps: u64,
    pub(crate) ended: bool,
    /// What Ctrl-C does, where it is not to stop watching.
    pub(crate) interrupt: Option<&'static str>,
}

#[derive(Clone, Debug)]
struct Step {
    number: u32,
    of: u32,
    what: String,
}

/// What a line meant for the one who watches.
#[derive(Debug, PartialEq)]
pub(crate) enum News {
    /// Nothing to print.
    Nothing,
    /// A minion has ended.
    Ended(MinionId),
    /// A command said something.
    Output { minion: MinionId, stderr: bool, text: String },
    /// A run in waves has gone on.
    Rolled(String),
    /// All have ended.
    Over,
}

impl Watched {
    /// Takes a line in. A minion's end is told once its report is there too, or when all is over.
    pub(crate) fn take(&mut self, line: JobLine) -> News {
        match line {
            JobLine::Snapshot(view) => self.view = Some(*view),
            JobLine::Target(target) => return self.moved(*target),
            JobLine::Step { minion, step } => {
                self.stepped(&minion, u32::try_from(step.index).unwrap_or(0) + 1);
            }
            JobLine::Started { minion, step, of, what } => {
                self.steps.insert(minion, Step { number: step, of, what });
            }
            JobLine::Output { minion, stderr, text } => return News::Output { minion, stderr, text },
            JobLine::Report { minion, report } => {
                self.reports.insert(minion, *report);
            }
            JobLine::Ended(view) => {
                self.view = Some(*view);
                self.ended = true;
                return News::Over;
            }
            JobLine::Rolling(roll) => return self.rolled(*roll),
            JobLine::Gap(lines) => self.gaps += lines,
        }
        News::Nothing
    }

    fn moved(&mut self, target: JobTarget) -> News {
        let Some(view) = &mut self.view else { return News::Nothing };
        let minion = target.minion.clone();
        let ended = matches!(target.state, TargetState::Ended { .. });
        if let TargetState::Running { step, of, .. } = target.state {
            let what = self.steps.get(&minion).map(|it| it.what.clone()).unwrap_or_default();
            self.steps.insert(minion.clone(), Step { number: step, of, what });
        }
        match view.targets.iter_mut().find(|it| it.minion == minion) {
            Some(known) => *known = target,
            None => view.targets.push(target),
        }
        if ended { News::Ended(minion) } else { News::Nothing }
    }

    /// A run in waves has gone on: who waited for a wave that has begun waits no longer.
    fn rolled(&mut self, roll: Roll) -> News {
        let Some(view) = &mut self.view else { return News::Nothing };
        for turn in view.targets.iter_mut().filter_map(|it| it.turn.as_mut()) {
            turn.waits = turn.wave as usize > roll.begun.len();
        }
        let before = waves::mark(view);
        view.job.roll = Some(Box::new(roll));
        match waves::mark(view) {
            Some(mark) if before.as_ref() != Some(&mark) => News::Rolled(mark),
            _ => News::Nothing,
        }
    }

    fn stepped(&mut self, minion: &MinionId, done: u32) {
        if let Some(step) = self.steps.get_mut(minion) {
            step.number = step.number.max(done);
        }
    }

    /// Where a minion stands.
    pub(crate) fn target(&self, minion: &MinionId) -> Option<&JobTarget> {
        self.view.as_ref()?.targets.iter().find(|it| it.minion == *minion)
    }

    /// Those that have not ended.
    pub(crate) fn open(&self) -> Vec<&JobTarget> {
        let targets = self.view.iter().flat_map(|it| &it.targets);
        targets.filter(|it| !matches!(it.state, TargetState::Ended { .. })).collect()
    }

    /// The live lines.
    pub(crate) fn lines(&self, elapsed: Duration, rows: usize, style: &Style) -> Vec<String> {
        let Some(view) = &self.view else { return Vec::new() };
        let hosts = view.targets.len();
        let arrow = style.either("→", "->");
        let plural = if hosts == 1 { "minion" } else { "minions" };
        let what = job::what(&view.job.kind);
        let head = match self.interrupt {
            Some(interrupt) => format!("{what}      ({interrupt})"),
            None => format!(
                "job {}  {what}  {arrow}  {hosts} {plural}      (Ctrl-C stops watching, not the job)",
                view.job.id.short()
            ),
        };
        let mut lines = vec![head];
        lines.extend(waves::sentence(view).map(|it| format!("  {it}")));
        lines.push(String::new());
        let room = rows.saturating_sub(lines.len() + 2).clamp(1, LINES_MAX);
        let name_width = view.targets.iter().map(|it| it.minion.as_str().len()).max().unwrap_or(0);
        let mut order: Vec<&JobTarget> = view.targets.iter().collect();
        order.sort_by_key(|it| rank(it));
        let shown = order.len().min(room);
        lines.extend(order[..shown].iter().map(|it| self.host_line(view, it, name_width, style)));
        lines.push(rest_line(&order[shown..], elapsed, style));
        lines.iter().map(|line| style.clip(line)).collect()
    }

    fn host_line(&self, view: &JobView, target: &JobTarget, name_width: usize, style: &Style) -> String {
        let name = &target.minion;
        let step = self.steps.get(name);
        let (number, of) = step.map_or((0, 0), |it| (it.number.min(it.of), it.of));
        let said = match &target.state {
            TargetState::Running { rebooting: None, .. } => {
                step.map(|it| it.what.clone()).unwrap_or_default()
            }
            _ => waves::standing(view, target),
        };
        // The step at work is not done yet.
        let (number, of, done) = match &target.state {
            TargetState::Ended { .. } => (of, of, of),
            _ => (number, of, number.saturating_sub(1)),
        };
        let fraction = if of > 0 { format!("{number:>3}/{of}") } else { "      ".to_owned() };
        format!("  {name:name_width$}  {}  {fraction}  {said}", bar(done, of, style))
    }
}

/// Who is shown first where there is no room for all.
fn rank(target: &JobTarget) -> u8 {
    match target.state {
        _ if waves::waits(target) => 4,
        TargetState::Running { .. } => 0,
        TargetState::Received { .. } => 1,
        TargetState::Offered { .. } | TargetState::Accepted => 2,
        TargetState::Ended { .. } => 3,
    }
}

fn bar(done: u32, of: u32, style: &Style) -> String {
    let full = if of == 0 { 0 } else { (done as usize * BAR) / of as usize };
    style.either("█", "#").repeat(full) + &style.either("░", ".").repeat(BAR - full)
}

fn rest_line(rest: &[&JobTarget], elapsed: Duration, style: &Style) -> String {
    let seconds = elapsed.as_secs();
    let clock = format!("{} {:02}:{:02}", style.either("⏱", "time"), seconds / 60, seconds % 60);
    if rest.is_empty() {
        return format!("  {clock}");
    }
    let count = |ranks: &[u8]| rest.iter().filter(|it| ranks.contains(&rank(it))).count();
    let (done, running, waiting) = (count(&[3]), count(&[0]), count(&[1, 2, 4]));
    format!("  + {} more: {done} done, {running} running, {waiting} waiting    {clock}", rest.len())
}

/// A line for those who wait without a terminal.
pub(crate) fn heartbeat(watched: &Watched, elapsed: Duration) -> String {
    let took = time::took(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
    let open = watched.open();
    let names: Vec<&str> = open.iter().take(3).map(|it| it.minion.as_str()).collect();
    let more = if open.len() > names.len() { " ..." } else { "" };
    format!("waiting for {} minions after {took}: {}{more}", open.len(), names.join(" "))
}

#[cfg(test)]
mod tests;
