//! Schedules for people: the list, one in full, and what comes next.

use super::{
    List, Style, Tone, json,
    table::{Cell, Column, Table},
    time,
};
use model::{
    Timestamp,
    api::{ScheduleView, SlotView},
};
use std::fmt::Write;

/// `in 3h`.
fn ahead(at: Timestamp, style: &Style) -> String {
    format!("in {}", time::rough(at.since_ms(style.now)))
}

fn state(view: &ScheduleView, style: &Style) -> Cell {
    match (&view.paused, &view.waits, view.next) {
        (Some(pause), ..) => {
            let until = pause
                .until
                .map_or_else(String::new, |it| format!(" {}", ahead(it, style).replace("in", "for")));
            Cell::of(Tone::Changed, format!("paused{until}"))
        }
        (None, Some(_), _) => Cell::of(Tone::Bad, "waits"),
        (None, None, None) => Cell::of(Tone::Dim, "over"),
        (None, None, Some(next)) => Cell::of(Tone::Good, ahead(next, style)),
    }
}

/// The list.
pub(crate) fn list(views: &[ScheduleView], style: &Style) -> List {
    let mut table = Table::new([
        Column::new("SCHEDULE"),
        Column::new("NEXT"),
        Column::new("AT"),
        Column::new("LAST RUN"),
        Column::new("WHEN").free(),
        Column::new("DOES").free(),
        Column::new("PLACE").wide(),
    ]);
    for view in views {
        table.row([
            Cell::of(Tone::Strong, view.name.as_str()),
            state(view, style),
            view.next_local.as_deref().unwrap_or("-").into(),
            view.last_run
                .map_or_else(|| "never".to_owned(), |it| time::ago(it, style.now, style.time))
                .into(),
            view.when.as_str().into(),
            view.does.join("; ").into(),
            view.place.as_str().into(),
        ]);
    }
    List {
        kind: "ScheduleList",
        table,
        items: views.iter().map(json::of).collect(),
        names: views.iter().map(|it| it.name.clone()).collect(),
        footer: views.iter().find_map(|it| it.waits.as_ref()).map(|it| format!("schedules wait: {it}")),
    }
}

/// What comes next.
pub(crate) fn slots(slots: &[SlotView], style: &Style) -> List {
    let mut table = Table::new(["AT", "NEXT", "SCHEDULE"].map(Column::new));
    for slot in slots {
        table.row([
            slot.local.as_str().into(),
            ahead(slot.at, style).into(),
            Cell::of(Tone::Strong, slot.schedule.as_str()),
        ]);
    }
    List {
        kind: "SlotList",
        table,
        items: slots.iter().map(json::of).collect(),
        names: slots.iter().map(|it| it.schedule.clone()).collect(),
        footer: None,
    }
}

/// One in full.
pub(crate) fn show(view: &ScheduleView, slots: &[SlotView], style: &Style) -> String {
    let time_of =
        |at: Option<Timestamp>| at.map_or_else(|| "never".to_owned(), |it| time::absolute(it, style.time));
    let paused = view.paused.as_ref().map(|it| {
        let until = it.until.map_or_else(|| "it is resumed".to_owned(), |it| time::absolute(it, style.time));
        format!("since {} until {until}, by {}", time::absolute(it.since, style.time), it.by)
    });
    let lines = [
        ("Schedule", style.paint(Tone::Strong, &view.name)),
        ("Place", view.place.clone()),
        ("When", view.when.clone()),
        ("Does", view.does.join("; ")),
        ("Last slot", time_of(view.last_slot)),
        ("Last run", time_of(view.last_run)),
        ("Paused", paused.unwrap_or_else(|| "no".to_owned())),
    ];
    let mut text = String::new();
    for (name, value) in lines {
        let _ = writeln!(text, "{name:<11}{value}");
    }
    if let Some(waits) = &view.waits {
        let _ = writeln!(text, "{:<11}{}", "Waits", style.paint(Tone::Bad, waits));
    }
    for (index, slot) in slots.iter().enumerate() {
        let name = if index == 0 { "Next" } else { "" };
        let _ = writeln!(text, "{name:<11}{}  {}", slot.local, ahead(slot.at, style));
    }
    text
}
