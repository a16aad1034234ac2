//! The fleet at a glance, and keys, rules, events and decisions as lists.

use super::{
    List, Style, Tone, job, json,
    style::tone_of,
    table::{Cell, Column, Table},
    time,
};
use model::{
    Diagnostic, Event, JobKind, Key, KeyStatus, Operator, Timestamp, Token,
    api::{JobView, MasterStatus, ObserverView},
};
use std::fmt::Write;

/// D1 of the design.
pub(crate) fn status(status: &MasterStatus, place: &str, style: &Style) -> String {
    let dot = style.either("·", "-");
    let arrow = style.either("→", "->");
    let mut text = format!(
        "{}  {place}  labctl {} {dot} master {} {dot} up {}\n\n",
        style.paint(Tone::Strong, &status.name),
        model::VERSION,
        status.version,
        time::rough(status.now.since_ms(status.started_at))
    );
    let total = status.up + status.quiet + status.lost + status.down;
    let mut parts = vec![style.paint(Tone::Good, &format!("{} up", status.up))];
    for (count, word) in [(status.quiet, "quiet"), (status.lost, "lost"), (status.down, "down")] {
        if count > 0 {
            parts.push(style.paint(tone_of(word), &format!("{count} {word}")));
        }
    }
    if !status.away.is_empty() {
        let names: Vec<&str> = status.away.iter().map(model::MinionId::as_str).collect();
        parts.push(format!("({})", names.join(" ")));
    }
    if status.pending_keys > 0 {
        let keys = format!("{} pending keys", status.pending_keys);
        parts.push(format!("{}  {arrow} labctl key list --pending", style.paint(Tone::Changed, &keys)));
    }
    if status.maintenance > 0 {
        parts.push(format!("{} in maintenance", status.maintenance));
    }
    let _ = writeln!(text, "  MINIONS  {total:>4}   {}", parts.join("   "));
    if status.drifted > 0 {
        let names: Vec<&str> = status.drifted_names.iter().map(model::MinionId::as_str).collect();
        let names = style.paint(Tone::Changed, &names.join(" "));
        let _ = writeln!(text, "  DRIFT    {:>4}   {names}  {arrow} labctl minion drift", status.drifted);
    }
    let well = status.jobs_day.saturating_sub(status.jobs_failed_day + status.jobs_open);
    let mut jobs = vec![format!("24h  {well} ok")];
    if status.jobs_failed_day > 0 {
        jobs.push(style.paint(Tone::Bad, &format!("{} failed", status.jobs_failed_day)));
    }
    if status.jobs_open > 0 {
        jobs.push(format!("{} open", status.jobs_open));
    }
    if let Some(last) = &status.last_job {
        jobs.push(format!("last: {}", last_job(last, style)));
    }
    let _ = writeln!(text, "  JOBS     {:>4}   {}", status.jobs_day, jobs.join("   "));
    let asleep = if status.rules_asleep { style.paint(Tone::Bad, "   asleep") } else { String::new() };
    let _ = writeln!(text, "  RULES    {:>4}{asleep}", status.rules);
    let revision = status.revision.map_or_else(|| "none".to_owned(), |it| it.to_string());
    let refused: u64 = status.refused.values().sum();
    let _ = writeln!(
        text,
        "  MASTER          states {revision}   {} messages in, {refused} refused   store {}",
        status.messages_in,
        bytes(status.store_bytes)
    );
    text + &troubles(status, style)
}

/// A command that ran is ok, a plan would change: the words of every other screen.
fn said<'a>(kind: &JobKind, word: &'a str) -> &'a str {
    match (kind, word) {
        (kind, "changed") if kind.is_command() => "ok",
        (kind, "changed") if kind.is_check() => "would change",
        _ => word,
    }
}

fn last_job(view: &JobView, style: &Style) -> String {
    let words: Vec<String> =
        view.words.iter().map(|(word, count)| format!("{count} {}", said(&view.job.kind, word))).collect();
    let ago = time::ago(view.job.at, style.now, style.time);
    format!(
        "{} {} on {} {ago} {}",
        view.job.id.short(),
        job::what(&view.job.kind),
        view.job.target,
        words.join(" ")
    )
}

/// What to mend first: rules that are asleep before all else.
fn first_error(status: &MasterStatus) -> Option<&Diagnostic> {
    let of_rules = |it: &&Diagnostic| it.spans.first().is_some_and(|it| it.file.starts_with("reactors/"));
    let of_rules = status.tree_errors.iter().find(|it| status.rules_asleep && of_rules(it));
    of_rules.or_else(|| status.tree_errors.first())
}

/// What an operator must know, one line each.
fn troubles(status: &MasterStatus, style: &Style) -> String {
    let mut text = String::new();
    let mut say = |what: String| {
        let _ = write!(text, "\n  {} {what}", style.mark("failed"));
    };
    if let Some(reason) = &status.degraded {
        say(format!("new jobs are refused: {reason}"));
    }
    if !status.suspended.is_empty() {
        let names: Vec<&str> = status.suspended.iter().map(model::MinionId::as_str).collect();
        say(format!("two machines use the key of {}: labctl key list --pending", names.join(", ")));
    }
    if let Some(first) = first_error(status) {
        let count = status.tree_errors.len();
        let place = first.spans.first().map(|it| format!("{}:{}: ", it.file, it.line)).unwrap_or_default();
        let more = if count > 1 { format!(" (and {} more)", count - 1) } else { String::new() };
        let what = if status.rules_asleep {
            "no rule and no schedule acts until reactors/ is right: events wait for them"
        } else {
            "the newest edit is broken, what was there before is in use"
        };
        say(format!("{what}\n      {place}{}{more}", first.message));
    }
    let reactor = &status.reactor;
    if reactor.dropped > 0 {
        say(format!("{} events had no reaction: too many waited for the rules", reactor.dropped));
    } else if reactor.waiting > 0 {
        say(format!("{} events wait for the rules", reactor.waiting));
    }
    if reactor.forgotten > 0 {
        let many = reactor.forgotten;
        say(format!("rules forgot {many} keys for newer ones: see `group_by` of those with the most"));
    }
    if !status.fanout {
        say("the fan-out for observers is down: it is being started again".to_owned());
    }
    if !status.clock_set {
        say("the master's clock is not set: a token's expiry is judged by the last stored time until it is"
            .to_owned());
    }
    if text.is_empty() { text } else { text + "\n" }
}

/// `84 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    match count {
        0..1024 => format!("{count} B"),
        1024..1_048_576 => format!("{} KiB", count / 1024),
        1_048_576..1_073_741_824 => format!("{} MiB", count / 1_048_576),
        _ => format!("{}.{} GiB", count >> 30, ((count & 0x3fff_ffff) * 10) >> 30),
    }
}

/// The word of a key's status.
pub(crate) fn key_status(status: KeyStatus) -> &'static str {
    match status {
        KeyStatus::Pending => "pending",
        KeyStatus::Accepted => "accepted",
        KeyStatus::Rejected => "rejected",
        KeyStatus::Revoked => "revoked",
        KeyStatus::Conflict => "conflict",
        KeyStatus::Suspended => "suspended",
        KeyStatus::Unknown => "unknown",
    }
}

/// D2 of the design.
pub(crate) fn keys(keys: &[Key], style: &Style) -> List {
    let mut table = Table::new([
        Column::new("ID"),
        Column::new("STATUS"),
        Column::new("FINGERPRINT"),
        Column::new("FROM"),
        Column::new("SEEN"),
        Column::new("WHY").free(),
        Column::new("CLAIMS").free(),
    ]);
    for key in keys {
        let word = key_status(key.status);
        let claims: Vec<String> = key.claims.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let tone = match key.status {
            KeyStatus::Accepted => Tone::Good,
            _ => tone_of(word),
        };
        table.row([
            Cell::of(Tone::Strong, key.minion.to_string()),
            Cell::of(tone, word),
            key.fingerprint.as_str().into(),
            key.address.as_str().into(),
            time::ago(key.at, style.now, style.time).into(),
            key.reason.as_str().into(),
            claims.join(" ").into(),
        ]);
    }
    List {
        kind: "KeyList",
        table,
        items: keys.iter().map(json::of).collect(),
        names: keys.iter().map(|it| it.minion.to_string()).collect(),
        footer: None,
    }
}

/// D9 of the design.
pub(crate) fn jobs(jobs: &[JobView], style: &Style) -> List {
    let mut table = Table::new([
        Column::new("JOB"),
        Column::new("WHEN"),
        Column::new("BY"),
        Column::new("WHAT").free(),
        Column::new("TARGET").free(),
        Column::new("HOSTS").right(),
        Column::new("RESULT"),
        Column::new("TIME").right(),
        Column::new("STATES").wide(),
        Column::new("ID").wide(),
    ]);
    for view in jobs {
        let job = &view.job;
        let took = job.ended.map_or_else(|| "-".to_owned(), |it| time::took(it.since_ms(job.at)));
        table.row([
            Cell::of(Tone::Strong, job.id.short()),
            time::ago(job.at, style.now, style.time).into(),
            job.caller.name.as_str().into(),
            job::what(&job.kind).into(),
            job.target.as_str().into(),
            job.minions.len().to_string().into(),
            result_cell(view, style),
            took.into(),
            job.revision.map_or_else(|| "-".to_owned(), |it| it.to_string()).into(),
            job.id.to_string().into(),
        ]);
    }
    List {
        kind: "JobList",
        table,
        items: jobs.iter().map(json::of).collect(),
        names: jobs.iter().map(|it| it.job.id.to_string()).collect(),
        footer: None,
    }
}

/// The worst word with its count; nothing but the icon where all are ok.
fn result_cell(view: &JobView, style: &Style) -> Cell {
    const ORDER: &[&str] = &[
        "failed",
        "interrupted",
        "refused",
        "cancelled",
        "superseded",
        "unreachable",
        "expired",
        "lost contact",
        "running",
        "received",
        "offered",
        "accepted",
        "waiting",
        "changed",
    ];
    let worst = ORDER.iter().find_map(|word| Some((*word, *view.words.get(*word).filter(|it| **it > 0)?)));
    match worst {
        Some((word, count)) => {
            let said = super::job::word_of(&view.job.kind, word);
            Cell::of(tone_of(word), format!("{} {count} {said}", style.icon(word)))
        }
        None => Cell::of(Tone::Good, style.icon("ok")),
    }
}

/// Observers, API tokens and operators' keys.
pub(crate) fn observers(observers: &[ObserverView], keys: &[Operator], style: &Style) -> List {
    let mut table = Table::new([
        Column::new("NAME"),
        Column::new("ROLE"),
        Column::new("MADE"),
        Column::new("EXPIRES"),
        Column::new("BY").wide(),
    ]);
    let ends = |end: Option<Timestamp>| match end {
        None => Cell::of(Tone::Plain, "never"),
        Some(end) if end <= style.now => {
            Cell::of(Tone::Bad, format!("ended {}", time::ago(end, style.now, style.time)))
        }
        Some(end) => Cell::of(Tone::Plain, time::absolute(end, style.time)),
    };
    for view in observers {
        table.row([
            Cell::of(Tone::Strong, view.name.as_str()),
            view.role.name().into(),
            time::ago(view.at, style.now, style.time).into(),
            ends(view.expires),
            "secret".into(),
        ]);
    }
    for key in keys {
        table.row([
            Cell::of(Tone::Strong, key.name.as_str()),
            key.role.as_str().into(),
            time::ago(key.at, style.now, style.time).into(),
            ends(key.expires),
            key.fingerprint.as_str().into(),
        ]);
    }
    let names = observers.iter().map(|it| it.name.clone()).chain(keys.iter().map(|it| it.name.clone()));
    List {
        kind: "TokenList",
        table,
        items: observers.iter().map(json::of).chain(keys.iter().map(json::of)).collect(),
        names: names.collect(),
        footer: None,
    }
}

/// Tokens that let machines join.
pub(crate) fn tokens(tokens: &[Token], style: &Style) -> List {
    let mut table = Table::new([
        Column::new("NAME"),
        Column::new("IDS"),
        Column::new("USED"),
        Column::new("EXPIRES"),
        Column::new("BY"),
        Column::new("STATE"),
    ]);
    for token in tokens {
        let (word, tone) = match token {
            _ if token.revoked => ("revoked", Tone::Bad),
            _ if token.terms.expires <= style.now => ("expired", Tone::Dim),
            _ if token.used_by.len() >= token.terms.uses as usize => ("used up", Tone::Dim),
            _ => ("good", Tone::Good),
        };
        table.row([
            Cell::of(Tone::Strong, token.terms.name.as_str()),
            token.terms.ids.clone().into(),
            format!("{}/{}", token.used_by.len(), token.terms.uses).into(),
            time::absolute(token.terms.expires, style.time).into(),
            token.made_by.clone().into(),
            Cell::of(tone, word),
        ]);
    }
    List {
        kind: "EnrollTokenList",
        table,
        items: tokens.iter().map(json::of).collect(),
        names: tokens.iter().map(|it| it.terms.name.clone()).collect(),
        footer: None,
    }
}

/// D10 of the design: one event, one line.
pub(crate) fn event(event: &Event, style: &Style) -> String {
    let gist = event_gist(&event.data);
    let line =
        format!("{}  {}  {gist}", time::clock(event.at, style.time), style.paint(Tone::Strong, &event.tag));
    line.trim_end().to_owned()
}

fn event_gist(data: &serde_json::Value) -> String {
    let Some(members) = data.as_object() else { return data.to_string() };
    let word = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    members.iter().map(|(key, value)| format!("{key}={}", word(value))).collect::<Vec<_>>().join(" ")
}
