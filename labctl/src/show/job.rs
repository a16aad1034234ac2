//! Jobs for people: blocks for each host, a table, a line for the whole; logfmt in a pipe; and the exit code.

use super::{
    Style, Tone,
    fold::fold_names,
    style::{prefixed, tone_of},
    table::{Cell, Column, Shape, Table},
    time,
};
use crate::{Outcome, failure::Exit};
use model::{
    Change, Diagnostic, JobKind, JobTarget, MinionId, Mode, RunReport, Severity, StepReport, Tally,
    TargetState, Terminal, api::JobView,
};
use std::{collections::BTreeMap, fmt::Write};
use unicode_width::UnicodeWidthStr;

/// Lines of a diff before it is cut.
const DIFF_LINES_MAX: usize = 40;

/// Reports of the minions of a job, as far as they came.
pub(crate) type Reports = BTreeMap<MinionId, RunReport>;

/// How much of a report is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Detail {
    /// Diffs and properties.
    pub(crate) diff: bool,
    /// Diffs whole.
    pub(crate) whole: bool,
    /// Steps that were as they should be, too.
    pub(crate) all: bool,
}

/// `apply web`, `plan (top)`, `run uptime`.
pub(crate) fn what(kind: &JobKind) -> String {
    match kind {
        JobKind::Apply { states, mode, .. } => {
            let verb = if *mode == Mode::Check { "plan" } else { "apply" };
            let states = if states.is_empty() { "(top)".to_owned() } else { states.join(" ") };
            format!("{verb} {states}")
        }
        JobKind::Run { command, .. } => format!("run {}", command.join(" ")),
        JobKind::Undo { of, .. } => {
            format!("{}undo {}", if kind.is_check() { "plan " } else { "" }, of.short())
        }
        JobKind::Reboot { .. } => "reboot".to_owned(),
    }
}

/// The word of where a minion stands.
pub(crate) fn word(kind: &JobKind, target: &JobTarget) -> &'static str {
    match &target.state {
        TargetState::Ended { word: Terminal::Changed, .. } if kind.is_check() => "would change",
        // A command that ran is no change of state: what it did nobody knows.
        TargetState::Ended { word: Terminal::Changed, .. } if kind.is_command() => "ok",
        TargetState::Ended { word, .. } => word.word(),
        _ if target.lost.is_some() => "lost contact",
        _ if super::waves::waits(target) => "waiting",
        TargetState::Accepted => "accepted",
        TargetState::Offered { .. } => "offered",
        TargetState::Received { .. } => "received",
        TargetState::Running { rebooting: Some(_), .. } => "rebooting",
        TargetState::Running { .. } => "running",
    }
}

/// A terminal word as people are told it: what a check found has not changed anything.
pub(crate) fn word_of(kind: &JobKind, word: &'static str) -> &'static str {
    if word == "changed" && kind.is_check() { "would change" } else { word }
}

/// Worst last, as the count line and the exit code see it.
fn badness(word: &str) -> u8 {
    match word {
        "ok" => 0,
        "changed" | "would change" => 1,
        "waiting" | "accepted" | "offered" | "received" | "running" | "rebooting" => 2,
        "unreachable" | "expired" | "lost contact" => 3,
        _ => 4,
    }
}

/// How the program ends after a job.
pub(crate) fn exit(view: &JobView, detailed: bool) -> Exit {
    let uncompiled = |it: &JobTarget| {
        matches!(it.state, TargetState::Ended { word: Terminal::Failed, .. }) && has_errors(&it.diagnostics)
    };
    if !view.targets.is_empty() && view.targets.iter().all(uncompiled) {
        return Exit::Compile;
    }
    let words: Vec<&str> = view.targets.iter().map(|it| word(&view.job.kind, it)).collect();
    match words.iter().map(|it| badness(it)).max().unwrap_or(0) {
        4 => Exit::Failed,
        0 | 1 if super::waves::has_stopped(view) => Exit::Failed,
        2 | 3 => Exit::Unanswered,
        1 if detailed => Exit::Changed,
        _ => Exit::Done,
    }
}

fn has_errors(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(|it| it.severity == Severity::Error)
}

struct End<'a> {
    duration_ms: Option<u64>,
    tally: Tally,
    reason: &'a str,
    code: Option<i32>,
}

fn end(target: &JobTarget) -> End<'_> {
    match &target.state {
        TargetState::Ended { duration_ms, tally, reason, code, .. } => {
            End { duration_ms: *duration_ms, tally: *tally, reason, code: *code }
        }
        _ => End { duration_ms: None, tally: Tally::default(), reason: "", code: None },
    }
}

/// One line of logfmt for a minion, one for each step that is worth a word, and its diff where diffs are wanted.
pub(crate) fn logfmt(
    kind: &JobKind,
    target: &JobTarget,
    report: Option<&RunReport>,
    detail: Detail,
    style: &Style,
) -> String {
    let (word, end) = (word(kind, target), end(target));
    let mut line = format!("{} {}", target.minion, word.replace(' ', "_"));
    if let Some(code) = end.code {
        let _ = write!(line, " code={code}");
    } else if end.duration_ms.is_some() {
        let changed = end.tally.changed + end.tally.would_change;
        let Tally { ok, failed, skipped, .. } = end.tally;
        let _ = write!(line, " ok={ok} changed={changed} failed={failed} skipped={skipped}");
    }
    if let Some(ms) = end.duration_ms {
        let _ = write!(line, " ms={ms}");
    }
    if !end.reason.is_empty() {
        let _ = write!(line, " reason={:?}", end.reason);
    }
    for diagnostic in &target.diagnostics {
        let place =
            diagnostic.spans.first().map(|it| format!(" {}:{}", it.file, it.line)).unwrap_or_default();
        let _ = write!(line, "\n  {}{place} {}", diagnostic.code, diagnostic.message);
    }
    for step in report.into_iter().flat_map(|it| &it.steps) {
        let word = outcome_word(step);
        if kind.is_command() || word == "ok" || word == "skipped" {
            continue;
        }
        let _ = write!(line, "\n  {} {} {} {}", word.replace(' ', "_"), step.id, step.kind, step.name);
        if word == "failed" {
            let _ = write!(line, ": {}", step.comment.lines().next().unwrap_or_default());
        }
        if detail.diff {
            let mut changes = String::new();
            step.plan.changes.iter().for_each(|it| change_lines(&mut changes, it, detail, style));
            let _ = write!(line, "\n{}", changes.trim_end());
        }
    }
    line
}

/// The last line of logfmt.
pub(crate) fn logfmt_result(view: &JobView, took_ms: u64) -> String {
    let mut line = format!("result={} hosts={}", overall(view).replace(' ', "_"), view.targets.len());
    for (word, count) in counts(view) {
        let _ = write!(line, " {}={count}", word.replace(' ', "_"));
    }
    let _ = write!(line, " ms={took_ms}");
    if let Some(roll) = &view.job.roll {
        let _ = write!(line, " waves={}", roll.begun.len());
        if let Some(reason) = &roll.stopped {
            let _ = write!(line, " stopped={reason:?}");
        }
        if let Some(undo) = roll.undo {
            let _ = write!(line, " undo={undo}");
        }
    }
    line
}

/// A word for the whole: the worst.
pub(crate) fn overall(view: &JobView) -> &'static str {
    let words = view.targets.iter().map(|it| word(&view.job.kind, it));
    let worst = words.max_by_key(|it| badness(it)).unwrap_or("ok");
    if badness(worst) < 2 && super::waves::has_stopped(view) { "failed" } else { worst }
}

/// How many hosts stand where: best first, a host counts once.
fn counts(view: &JobView) -> Vec<(String, u32)> {
    let mut counts: BTreeMap<(u8, &str), u32> = BTreeMap::new();
    for target in &view.targets {
        let word = word(&view.job.kind, target);
        *counts.entry((badness(word), word)).or_default() += 1;
    }
    counts.into_iter().map(|((_, word), count)| (word.to_owned(), count)).collect()
}

/// `9 ok, 1 changed, 1 failed`.
pub(crate) fn count_text(view: &JobView, style: &Style) -> String {
    let part = |(word, count): (String, u32)| style.paint(tone_of(&word), &format!("{count} {word}"));
    counts(view).into_iter().map(part).collect::<Vec<_>>().join(", ")
}

/// `✗ web on 12 minions in 7.1s: 9 ok, 1 changed      job 01JD4Z3K8Q0V`.
pub(crate) fn result_line(view: &JobView, took_ms: u64, style: &Style) -> String {
    let hosts = view.targets.len();
    let plural = if hosts == 1 { "minion" } else { "minions" };
    format!(
        "{} {} on {hosts} {plural} in {}: {}      job {}",
        style.mark(overall(view)),
        what(&view.job.kind),
        time::took(took_ms),
        count_text(view, style),
        view.job.id.short()
    )
}

/// `✔ apply web on this machine in 0.2s: 1 changed`.
pub(crate) fn result_line_here(view: &JobView, took_ms: u64, style: &Style) -> String {
    let word = overall(view);
    format!(
        "{} {} on this machine in {}: {}",
        style.mark(word),
        what(&view.job.kind),
        time::took(took_ms),
        style.paint(tone_of(word), word),
    )
}

/// Blocks of hosts: those that say the same are one, under all their names.
pub(crate) fn host_blocks<'a>(
    kind: &JobKind,
    hosts: impl Iterator<Item = (&'a JobTarget, Option<&'a RunReport>)>,
    detail: Detail,
    style: &Style,
) -> String {
    let mut blocks: Vec<(Vec<String>, String)> = Vec::new();
    for (target, report) in hosts {
        let block = host_block(kind, target, report, detail, style);
        let name = target.minion.as_str();
        let said = block.strip_prefix(&style.paint(Tone::Strong, name)).unwrap_or(&block);
        match blocks.iter_mut().find(|it| it.1 == said) {
            Some(same) => same.0.push(name.to_owned()),
            None => blocks.push((vec![name.to_owned()], said.to_owned())),
        }
    }
    let block = |(names, said): &(Vec<String>, String)| {
        let hosts = if names.len() > 1 { format!("  ({} hosts)", names.len()) } else { String::new() };
        format!("{}{hosts}{said}\n", style.paint(Tone::Strong, &fold_names(names)))
    };
    blocks.iter().map(block).collect()
}

/// Block of one host: its name, then the steps that are worth a line.
pub(crate) fn host_block(
    kind: &JobKind,
    target: &JobTarget,
    report: Option<&RunReport>,
    detail: Detail,
    style: &Style,
) -> String {
    let mut text = String::new();
    let steps = report.map(|it| &it.steps[..]).unwrap_or_default();
    // What was skipped is worth a line where something failed; else it only waited for a change.
    let failed = steps.iter().any(|it| outcome_word(it) == "failed");
    let shown: Vec<&StepReport> = steps
        .iter()
        .filter(|it| is_shown(it, detail, style))
        .filter(|it| failed || detail.all || style.verbosity > 0 || outcome_word(it) != "skipped")
        .collect();
    let sandbox = if report.is_some_and(|it| it.sandbox) { "  (sandbox)" } else { "" };
    let head = if kind.is_check() && !steps.is_empty() {
        let would = steps.iter().filter(|it| outcome_word(it) == "would change").count();
        format!("  {would} of {} states would change", steps.len())
    } else {
        String::new()
    };
    let _ = writeln!(text, "{}{sandbox}{head}", style.paint(Tone::Strong, target.minion.as_str()));
    let width = |get: fn(&StepReport) -> usize| shown.iter().map(|it| get(it)).max().unwrap_or(0);
    let widths =
        [width(|it| it.id.width()), width(|it| it.kind.width()), width(|it| it.name.width().min(48))];
    for step in shown {
        step_lines(&mut text, step, widths, detail, style);
    }
    if !target.diagnostics.is_empty() {
        let drawn = lang::render_diagnostics(&target.diagnostics, style.diagnostics());
        text += &prefixed(drawn.trim_end(), "  ");
    }
    let reason = end(target).reason;
    if !reason.is_empty() && steps.iter().all(|it| outcome_word(it) != "failed") {
        let _ = writeln!(text, "  {} {reason}", style.mark(word(kind, target)));
    }
    text
}

fn is_shown(step: &StepReport, detail: Detail, style: &Style) -> bool {
    match outcome_word(step) {
        "ok" => detail.all || style.verbosity > 0,
        "failed" => true,
        _ => style.verbosity >= 0,
    }
}

/// The word of a step.
pub(crate) fn outcome_word(step: &StepReport) -> &'static str {
    use model::Outcome as O;
    match step.outcome {
        O::Ok => "ok",
        O::Changed => "changed",
        O::WouldChange => "would change",
        O::Failed => "failed",
        O::Skipped => "skipped",
        O::Unknown => "unknown",
    }
}

fn step_lines(text: &mut String, step: &StepReport, widths: [usize; 3], detail: Detail, style: &Style) {
    let word = outcome_word(step);
    let pad = |text: &str, width: usize| format!("{text}{}", " ".repeat(width.saturating_sub(text.width())));
    let mut said = match word {
        "skipped" => format!("skipped: {}", step.comment),
        "failed" => time::took(step.duration_ms),
        _ => change_text(step),
    };
    if style.verbosity > 1 && word != "failed" {
        let gap = if said.is_empty() { "" } else { "  " };
        said = format!("{said}{gap}{}", time::took(step.duration_ms));
    }
    let line = format!(
        "{} {}  {}  {}  {said}",
        style.mark(word),
        style.paint(Tone::Strong, &pad(&step.id, widths[0])),
        pad(&step.kind, widths[1]),
        pad(&step.name, widths[2]),
    );
    let _ = writeln!(text, "  {}", line.trim_end());
    if word == "failed" {
        failure_lines(text, step, style);
    }
    if detail.diff || word == "failed" {
        step.plan.changes.iter().for_each(|it| change_lines(text, it, detail, style));
    }
}

/// `12 lines changed, mode 0600 → 0644`, or the step's own sentence.
fn change_text(step: &StepReport) -> String {
    // The name of a command's step is the command.
    let says_more = |it: &&Change| it.diff.is_some() || it.to.as_deref() != Some(step.name.as_str());
    let mut parts: Vec<String> = step.plan.changes.iter().filter(says_more).map(change_gist).collect();
    if !step.comment.is_empty() {
        parts.push(step.comment.lines().next().unwrap_or_default().to_owned());
    }
    parts.join(", ")
}

fn change_gist(change: &Change) -> String {
    if let Some(diff) = &change.diff {
        let touched = diff.lines().filter(|it| it.starts_with(['+', '-'])).count();
        return format!("{touched} line{} changed", if touched == 1 { "" } else { "s" });
    }
    match (&change.from, &change.to) {
        (Some(from), Some(to)) => format!("{} {from} → {to}", change.what),
        (None, Some(to)) if to.is_empty() => change.what.clone(),
        (None, Some(to)) => format!("{}: {to}", change.what),
        (Some(from), None) => format!("{} {from} goes", change.what),
        (None, None) => change.what.clone(),
    }
}

fn failure_lines(text: &mut String, step: &StepReport, style: &Style) {
    for line in step.comment.lines() {
        let _ = writeln!(text, "      {}", style.paint(Tone::Bad, line));
    }
    if let Some(output) = &step.output {
        const TAIL: usize = 10;
        let said = if output.stderr.trim().is_empty() { &output.stdout } else { &output.stderr };
        let lines: Vec<&str> = said.trim_end().lines().collect();
        let fresh = |line: &&&str| !step.comment.contains(line.trim());
        for line in lines[lines.len().saturating_sub(TAIL)..].iter().filter(fresh) {
            let _ = writeln!(text, "      {line}");
        }
    }
    if let Some(at) = &step.at {
        let _ = writeln!(text, "      {}", style.paint(Tone::Dim, &format!("at {}:{}", at.file, at.line)));
    }
}

/// One change with its diff, as a plan shows it.
pub(crate) fn change_in_full(text: &mut String, change: &Change, style: &Style) {
    change_lines(text, change, Detail { diff: true, whole: true, all: true }, style);
}

fn change_lines(text: &mut String, change: &Change, detail: Detail, style: &Style) {
    let arrow = style.either("→", "->");
    if let Some(diff) = &change.diff {
        let lines: Vec<&str> = diff.lines().collect();
        let shown = if detail.whole { lines.len() } else { lines.len().min(DIFF_LINES_MAX) };
        for line in &lines[..shown] {
            let tone = match line.as_bytes().first() {
                Some(b'+') => Tone::Good,
                Some(b'-') => Tone::Bad,
                Some(b'@') => Tone::Dim,
                _ => Tone::Plain,
            };
            let _ = writeln!(text, "      {}", style.paint(tone, line));
        }
        if shown < lines.len() {
            let more = lines.len() - shown;
            let _ = writeln!(
                text,
                "      {} {more} more lines (labctl job show ID --diff)",
                style.either("…", "...")
            );
        }
        return;
    }
    let of = |it: &Option<String>| it.clone().unwrap_or_else(|| "(none)".to_owned());
    let _ = writeln!(text, "      {}  {} {arrow} {}", change.what, of(&change.from), of(&change.to));
}

/// Whether a host has something to show beyond "nothing to do".
pub(crate) fn is_notable(kind: &JobKind, target: &JobTarget) -> bool {
    word(kind, target) != "ok"
}

/// The table of hosts: those that are worth a line, and how many are not.
pub(crate) fn host_table(view: &JobView, all: bool, style: &Style) -> Outcome<String> {
    let mut table = Table::new([
        Column::new("HOST"),
        Column::new("OK").right(),
        Column::new("CHANGED").right(),
        Column::new("FAILED").right(),
        Column::new("SKIPPED").right(),
        Column::new("TIME").right(),
        Column::new(""),
    ]);
    let all = all || style.verbosity > 0 || view.targets.len() == 1;
    let (shown, quiet): (Vec<_>, Vec<_>) =
        view.targets.iter().partition(|it| all || is_notable(&view.job.kind, it));
    for target in &shown {
        table.row(host_row(view, target));
    }
    let mut text = if shown.is_empty() { String::new() } else { table.render(&Shape::default(), style)? };
    if !quiet.is_empty() {
        let hosts = if quiet.len() == 1 { "host" } else { "hosts" };
        let more = format!("+ {} {hosts} with nothing to do", quiet.len());
        let _ = writeln!(text, "{more} (labctl job show {} --all)", view.job.id.short());
    }
    Ok(text)
}

fn host_row(view: &JobView, target: &JobTarget) -> [Cell; 7] {
    let (word, end) = (word(&view.job.kind, target), end(target));
    let ran = end.duration_ms.is_some();
    let count =
        |it: u32, tone| if it == 0 || !ran { Cell::from("-") } else { Cell::of(tone, it.to_string()) };
    let said = match word {
        "ok" | "changed" | "would change" | "failed" if ran => String::new(),
        _ if end.reason.is_empty() => word.to_owned(),
        _ => format!("{word}: {}", end.reason),
    };
    [
        Cell::of(Tone::Strong, target.minion.to_string()),
        count(end.tally.ok, Tone::Plain),
        count(end.tally.changed + end.tally.would_change, Tone::Changed),
        count(end.tally.failed, Tone::Bad),
        count(end.tally.skipped, Tone::Dim),
        end.duration_ms.map_or_else(|| "-".to_owned(), time::took).into(),
        Cell::of(tone_of(word), said),
    ]
}

/// Complaints of the compiler, each once, however many hosts they are about.
pub(crate) fn diagnostics(view: &JobView) -> Vec<Diagnostic> {
    let mut all: Vec<Diagnostic> = Vec::new();
    for diagnostic in view.targets.iter().flat_map(|it| &it.diagnostics) {
        if !all.contains(diagnostic) {
            all.push(diagnostic.clone());
        }
    }
    all
}

#[cfg(test)]
pub(crate) mod tests;
