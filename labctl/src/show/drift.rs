//! What is not as it should be, for people: the fleet as a table, one machine in full.

use super::{
    List, Style, Tone, job, json,
    table::{Cell, Column, Table},
    time,
};
use model::{Drift, api::DriftView};
use std::fmt::Write;

/// Steps that a row of the list names.
const NAMED_MAX: usize = 8;

fn size(drift: &Drift) -> usize {
    drift.items.len() + drift.more as usize
}

/// The list.
pub(crate) fn list(views: &[DriftView], all: bool, style: &Style) -> List {
    let mut table = Table::new([
        Column::new("MINION"),
        Column::new("DRIFT").right(),
        Column::new("SINCE"),
        Column::new("LOOKED"),
        Column::new("STEPS").free(),
    ]);
    let drifted = |it: &&DriftView| it.drift.as_ref().is_some_and(|it| size(it) > 0);
    let shown: Vec<&DriftView> = views.iter().filter(|it| all || drifted(it)).collect();
    for view in &shown {
        let name = Cell::of(Tone::Strong, view.minion.as_str());
        match &view.drift {
            None => table.row([name, "-".into(), "-".into(), Cell::of(Tone::Dim, "never"), "-".into()]),
            Some(drift) => {
                let since = drift.items.iter().map(|it| it.since).min();
                let mut steps: Vec<String> =
                    drift.items.iter().take(NAMED_MAX).map(|it| format!("{}:{}", it.sls, it.id)).collect();
                if size(drift) > steps.len() {
                    steps.push(format!("and {} more", size(drift) - steps.len()));
                }
                let tone = if size(drift) > 0 { Tone::Changed } else { Tone::Good };
                let steps = if steps.is_empty() { "-".to_owned() } else { steps.join(" ") };
                table.row([
                    name,
                    Cell::of(tone, size(drift).to_string()),
                    since.map_or_else(|| "-".to_owned(), |it| time::ago(it, style.now, style.time)).into(),
                    time::ago(drift.at, style.now, style.time).into(),
                    steps.into(),
                ]);
            }
        }
    }
    let unseen = views.iter().filter(|it| it.drift.is_none()).count();
    let unseen = if unseen > 0 { format!(", {unseen} never looked at") } else { String::new() };
    let footer =
        format!("{} of {} minions drifted{unseen}", views.iter().filter(drifted).count(), views.len());
    List {
        kind: "DriftList",
        table,
        items: shown.iter().map(json::of).collect(),
        names: shown.iter().map(|it| it.minion.to_string()).collect(),
        footer: Some(footer),
    }
}

/// One machine in full.
pub(crate) fn show(view: &DriftView, style: &Style) -> String {
    let name = style.paint(Tone::Strong, view.minion.as_str());
    let Some(drift) = &view.drift else {
        return format!("{name}  nobody has looked yet: labctl target {} plan\n", view.minion);
    };
    let looked = time::ago(drift.at, style.now, style.time);
    let count = size(drift);
    if count == 0 {
        return format!("{name}  all is as it should be (looked {looked}, job {})\n", drift.job.short());
    }
    let are = if count == 1 { "step is" } else { "steps are" };
    let mut text =
        format!("{name}  {count} {are} not as it should be (looked {looked}, job {})\n", drift.job.short());
    for item in &drift.items {
        let mark = style.paint(Tone::Changed, style.icon("changed"));
        let since = time::absolute(item.since, style.time);
        let _ = writeln!(
            text,
            "\n{mark} {}  {}  {}   in {} since {since}",
            item.id, item.kind, item.name, item.sls
        );
        item.changes.iter().for_each(|it| job::change_in_full(&mut text, it, style));
    }
    if drift.more > 0 {
        let _ = writeln!(text, "\nand {} more", drift.more);
    }
    text
}
