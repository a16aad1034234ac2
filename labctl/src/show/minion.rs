//! Minions for people: the list, and one in full.

use super::{
    List, Style, Tone, json,
    style::tone_of,
    table::{Cell, Column, Table},
    time,
};
use model::{Labels, Maintenance, Presence, api::MinionView};
use serde_json::{Map, Value};
use std::fmt::Write;

/// The word of a presence.
pub(crate) fn presence(presence: Presence) -> &'static str {
    match presence {
        Presence::Up => "up",
        Presence::Quiet => "quiet",
        Presence::Lost => "lost",
        Presence::Down => "down",
        Presence::Unknown => "unknown",
    }
}

/// `role=web prod`.
pub(crate) fn labels(labels: &Labels) -> String {
    let one = |(key, value): (&String, &String)| {
        if value.is_empty() { key.clone() } else { format!("{key}={value}") }
    };
    or_dash(labels.iter().map(one).collect::<Vec<_>>().join(" "))
}

fn or_dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

/// A grain as one word.
fn grain(grains: &Map<String, Value>, path: &[&str]) -> String {
    let mut value = grains.get(path[0]);
    for key in &path[1..] {
        value = value.and_then(|it| it.get(key));
    }
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}

/// `debian-13`.
fn os(view: &MinionView) -> String {
    let version = [&["os", "version"][..], &["osrelease"], &["os_version"], &["osmajorrelease"]];
    let version =
        version.iter().map(|it| grain(&view.grains, it)).find(|it| !it.is_empty()).unwrap_or_default();
    let names = [&["os"][..], &["os", "name"], &["os_name"]];
    let name = names.iter().map(|it| grain(&view.grains, it)).find(|it| !it.is_empty()).unwrap_or_default();
    match (name.is_empty(), version.is_empty()) {
        (true, _) => "-".to_owned(),
        (false, true) => name.to_lowercase(),
        (false, false) => format!("{}-{version}", name.to_lowercase()),
    }
}

fn sampled(view: &MinionView, key: &str) -> Option<f64> {
    view.sample.as_ref()?.get(key)?.as_f64()
}

fn uptime_ms(view: &MinionView) -> Option<u64> {
    let seconds = sampled(view, "uptime_s").or_else(|| sampled(view, "uptime"))?;
    u64::try_from(std::time::Duration::try_from_secs_f64(seconds).ok()?.as_millis()).ok()
}

/// `until 2026-… (new disk), by ann`, or nothing much.
pub(crate) fn maintenance(it: Option<&Maintenance>, style: &Style) -> String {
    let Some(it) = it else { return "no".to_owned() };
    let until = it.until.map_or_else(|| "it is ended".to_owned(), |it| time::absolute(it, style.time));
    let reason = if it.reason.is_empty() { String::new() } else { format!(" ({})", it.reason) };
    format!("until {until}{reason}, by {}", it.by)
}

fn last_apply(view: &MinionView, style: &Style) -> Cell {
    match &view.last_apply {
        None => Cell::of(Tone::Dim, "never"),
        Some(last) => {
            let word = last.word.word();
            let ago = time::ago(last.at, style.now, style.time);
            match view.drift {
                Some(1..) if tone_of(word) != Tone::Bad => {
                    Cell::of(Tone::Changed, format!("{ago} {word} ~drift"))
                }
                _ => Cell::of(tone_of(word), format!("{ago} {word}")),
            }
        }
    }
}

/// The list.
pub(crate) fn list(views: &[MinionView], footer: Option<String>, style: &Style) -> List {
    let mut table = Table::new([
        Column::new("ID"),
        Column::new("STATUS"),
        Column::new("OS"),
        Column::new("IP"),
        Column::new("LABELS").free(),
        Column::new("STATES").free(),
        Column::new("LAST APPLY"),
        Column::new("UPTIME"),
        Column::new("LOAD"),
        Column::new("SEEN").wide(),
        Column::new("KERNEL").wide(),
        Column::new("ARCH").wide(),
        Column::new("VERSION").wide(),
        Column::new("CPUS").wide(),
    ]);
    for view in views {
        let word = presence(view.presence);
        let up = uptime_ms(view);
        let load =
            sampled(view, "load1").or_else(|| sampled(view, "load_1")).or_else(|| sampled(view, "load"));
        let name = if view.sandbox { format!("{} (sandbox)", view.id) } else { view.id.to_string() };
        table.row([
            Cell::of(Tone::Strong, name),
            match view.maintenance {
                Some(_) => Cell::of(Tone::Changed, format!("{word} (maintenance)")),
                None => Cell::of(tone_of(word), word),
            },
            os(view).into(),
            or_dash(view.address.clone().unwrap_or_default()).into(),
            labels(&view.labels).into(),
            or_dash(view.assigned.as_ref().map(|it| it.join(" ")).unwrap_or_default()).into(),
            last_apply(view, style),
            up.map_or_else(|| "-".to_owned(), time::rough).into(),
            load.map_or_else(|| "-".to_owned(), |it| format!("{it:.2}")).into(),
            time::ago(view.seen_at, style.now, style.time).into(),
            or_dash(grain(&view.grains, &["kernelrelease"]) + &grain(&view.grains, &["kernel", "release"]))
                .into(),
            or_dash(grain(&view.grains, &["arch"]) + &grain(&view.grains, &["cpuarch"])).into(),
            or_dash(view.version.clone()).into(),
            or_dash(grain(&view.grains, &["num_cpus"]) + &grain(&view.grains, &["cpus"])).into(),
        ]);
    }
    List {
        kind: "MinionList",
        table,
        items: views.iter().map(json::of).collect(),
        names: views.iter().map(|it| it.id.to_string()).collect(),
        footer,
    }
}

/// `3 of 42 minions match 'vm-*' · 2 up, 1 down`.
pub(crate) fn footer(views: &[MinionView], of: Option<(u32, &str)>, style: &Style) -> String {
    let words = ["up", "quiet", "lost", "down"];
    let count = |word: &str| views.iter().filter(|it| presence(it.presence) == word).count();
    let counts: Vec<String> = words
        .iter()
        .filter_map(|word| Some((count(word), word)).filter(|it| it.0 > 0))
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    let head = match of {
        Some((of, target)) => format!("{} of {of} minions match '{target}'", views.len()),
        None => format!("{} minions", views.len()),
    };
    if counts.is_empty() { head } else { format!("{head} {} {}", style.either("·", "-"), counts.join(", ")) }
}

fn drift(view: &MinionView) -> String {
    match view.drift {
        None => "nobody has looked".to_owned(),
        Some(0) => "none".to_owned(),
        Some(many) => format!("{many} steps (labctl minion drift {})", view.id),
    }
}

/// One in full.
pub(crate) fn show(view: &MinionView, style: &Style) -> String {
    let word = presence(view.presence);
    let seen = time::absolute(view.seen_at, style.time);
    let sandbox = if view.sandbox { "  (sandbox: no real machine)" } else { "" };
    let running = view
        .running
        .as_ref()
        .map_or_else(|| "-".to_owned(), |(job, step, of)| format!("job {} step {step} of {of}", job.short()));
    let last = view.last_apply.as_ref().map_or_else(
        || "never".to_owned(),
        |it| {
            let revision = it.revision.map(|it| format!(", states {it}")).unwrap_or_default();
            let word = style.paint(tone_of(it.word.word()), it.word.word());
            format!("{} {word} (job {}{revision})", time::absolute(it.at, style.time), it.job.short())
        },
    );
    let lines = [
        ("Minion", format!("{}{sandbox}", style.paint(Tone::Strong, view.id.as_str()))),
        ("Status", format!("{} (heard of {seen})", style.paint(tone_of(word), word))),
        ("Address", or_dash(view.address.clone().unwrap_or_default())),
        ("System", os(view)),
        ("Labels", labels(&view.labels)),
        ("States", view.assigned.as_ref().map_or("does not compile".to_owned(), |it| or_dash(it.join(" ")))),
        ("Last apply", last),
        ("Drift", drift(view)),
        ("Maintained", maintenance(view.maintenance.as_ref(), style)),
        ("Running", running),
        ("Key", view.fingerprint.to_string()),
        ("Version", or_dash(view.version.clone())),
    ];
    let mut text = String::new();
    for (name, value) in lines {
        let _ = writeln!(text, "{name:<11}{value}");
    }
    if style.verbosity > 0 {
        text += "Grains\n";
        let grains = super::yaml::of(&Value::Object(view.grains.clone()));
        text += &super::style::prefixed(&grains, "  ");
    }
    text
}
