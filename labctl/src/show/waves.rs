//! Runs in waves for people: where one is, what its waves did, who will be in which.

use super::{
    List, Style,
    fold::fold_names,
    job,
    table::{Cell, Column, Table},
    time,
};
use model::{JobTarget, MinionId, Phase, Roll, Rolling, TargetState, api::JobView};
use serde_json::json;
use std::collections::BTreeMap;

/// Waves of one run that are shown; of more, the last.
const SHOWN_MAX: usize = 20;
/// Names of one wave that are shown.
const NAMES_MAX: usize = 12;

fn parts(view: &JobView) -> Option<(&Rolling, &Roll)> {
    Some((view.job.rolling.as_deref()?, view.job.roll.as_deref()?))
}

/// Where a machine stands, with the wave that it waits for.
pub(crate) fn standing(view: &JobView, target: &JobTarget) -> String {
    let word = job::word(&view.job.kind, target);
    match target.turn {
        Some(turn) if word == "waiting" => format!("waiting (wave {} of {})", turn.wave, turn.of),
        _ => word.to_owned(),
    }
}

/// One sentence on where a run is; none if it does not go in waves.
pub(crate) fn sentence(view: &JobView) -> Option<String> {
    let (rolling, roll) = parts(view)?;
    let of = rolling.waves(view.job.minions.len()).len();
    let wave = roll.begun.len();
    if let Some(reason) = &roll.stopped {
        return Some(format!("stopped in wave {wave} of {of}: {reason}"));
    }
    Some(match &roll.phase {
        Phase::Running => format!("wave {wave} of {of}"),
        Phase::Gate { said, .. } if said.is_empty() => format!("gate behind wave {wave} of {of}"),
        Phase::Gate { said, .. } => format!("gate behind wave {wave} of {of}: {said}"),
        Phase::Waiting { until } => {
            let left = time::took(until.since_ms(time::now()));
            format!("wave {} of {of} begins in {left}", wave + 1)
        }
        Phase::Over => format!("all {of} waves"),
    })
}

/// The same without what changes from second to second, for lines in a pipe.
pub(crate) fn mark(view: &JobView) -> Option<String> {
    let (rolling, roll) = parts(view)?;
    let of = rolling.waves(view.job.minions.len()).len();
    let wave = roll.begun.len();
    Some(match (&roll.stopped, &roll.phase) {
        (Some(reason), _) => format!("stopped in wave {wave} of {of}: {reason}"),
        (None, Phase::Running) => {
            let names = waves_of(view).into_iter().nth(wave.saturating_sub(1)).unwrap_or_default();
            format!("wave {wave} of {of}: {}", short_names(&names))
        }
        (None, Phase::Gate { .. }) => format!("gate behind wave {wave} of {of}"),
        (None, Phase::Waiting { .. }) if rolling.batch_wait_ms == 0 => return None,
        (None, Phase::Waiting { .. }) => {
            format!("wave {} of {of} begins in {}", wave + 1, time::took(rolling.batch_wait_ms))
        }
        (None, Phase::Over) => return None,
    })
}

/// What is to be said below the result.
pub(crate) fn closing(view: &JobView) -> Vec<String> {
    let Some((_, roll)) = parts(view) else { return Vec::new() };
    let mut lines = Vec::new();
    if let Some(reason) = &roll.stopped {
        lines.push(format!("the run stopped: {reason}"));
    }
    if let Some(undo) = roll.undo {
        lines.push(format!("what it changed is put back by job {0}; labctl job watch {0}", undo.short()));
    }
    lines
}

/// Whether it stopped before its end.
pub(crate) fn has_stopped(view: &JobView) -> bool {
    parts(view).is_some_and(|it| it.1.stopped.is_some())
}

fn waves_of(view: &JobView) -> Vec<Vec<&MinionId>> {
    let Some(rolling) = &view.job.rolling else { return Vec::new() };
    let mut machines = view.job.minions.iter();
    let take = |size| machines.by_ref().take(size).collect();
    rolling.waves(view.job.minions.len()).into_iter().map(take).collect()
}

fn short_names(names: &[&MinionId]) -> String {
    if names.len() > NAMES_MAX {
        let first: Vec<&str> = names.iter().take(NAMES_MAX).map(|it| it.as_str()).collect();
        return format!("{} and {} more", first.join(","), names.len() - NAMES_MAX);
    }
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    fold_names(&names)
}

/// For `job show`: a line for the whole, and one for each wave.
pub(crate) fn lines(view: &JobView, style: &Style) -> Vec<(&'static str, String)> {
    let Some((_, roll)) = parts(view) else { return Vec::new() };
    let waves = waves_of(view);
    let words: BTreeMap<&MinionId, String> =
        view.targets.iter().map(|it| (&it.minion, standing(view, it))).collect();
    let mut lines = vec![("Waves", sentence(view).unwrap_or_default())];
    let skipped = waves.len().saturating_sub(SHOWN_MAX);
    if skipped > 0 {
        lines.push(("", format!("({skipped} before)")));
    }
    for (number, names) in waves.iter().enumerate().skip(skipped) {
        let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
        for word in names.iter().filter_map(|it| words.get(it)) {
            *counts.entry(word.split(" (").next().unwrap_or(word)).or_default() += 1;
        }
        let counts: Vec<String> = counts.into_iter().map(|(word, count)| format!("{count} {word}")).collect();
        let began = roll.begun.get(number).map_or("-".to_owned(), |at| time::absolute(*at, style.time));
        lines
            .push(("", format!("{:>3}  {began}  {}: {}", number + 1, short_names(names), counts.join(", "))));
    }
    if let Some(undo) = roll.undo {
        lines.push(("Undone by", undo.short()));
    }
    lines
}

/// Who would be in which wave.
pub(crate) fn planned(rolling: &Rolling, turns: &[MinionId]) -> List {
    let mut table =
        Table::new([Column::new("WAVE").right(), Column::new("MACHINES").right(), Column::new("WHO").free()]);
    let (mut items, mut names, mut from) = (Vec::new(), Vec::new(), 0);
    for (number, size) in rolling.waves(turns.len()).into_iter().enumerate() {
        let machines: Vec<&MinionId> = turns[from..from + size].iter().collect();
        from += size;
        let row: [Cell; 3] =
            [(number + 1).to_string().into(), size.to_string().into(), short_names(&machines).into()];
        table.row(row);
        items.push(json!({ "wave": number + 1, "machines": machines }));
        names.push((number + 1).to_string());
    }
    List { kind: "WaveList", table, items, names, footer: None }
}

/// Whether a machine's turn has not come.
pub(crate) fn waits(target: &JobTarget) -> bool {
    target.turn.is_some_and(|it| it.waits) && target.state == TargetState::Accepted
}
