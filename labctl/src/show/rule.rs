//! Rules, what they decided and why, for people.

use super::{
    List, Style, Tone, json,
    style::clip,
    table::{Cell, Column, Table},
    time,
};
use model::{
    Clause, Decision, DecisionAction, Event, Verdict,
    api::{Explained, RuleOff, RuleView},
};
use serde::Serialize;
use std::fmt::Write;

/// Columns of a clause's name and of its text.
const NAME: usize = 12;
const TEXT: usize = 44;

/// The reactor's rules.
pub(crate) fn list(rules: &[RuleView], style: &Style) -> List {
    let mut table = Table::new([
        Column::new("RULE"),
        Column::new("ON"),
        Column::new("WHEN").free(),
        Column::new("DOES").free(),
        Column::new("FIRED").right(),
        Column::new("HELD").right(),
        Column::new("REFUSED").right(),
        Column::new("DROPPED").right().wide(),
        Column::new("PLACE").wide(),
    ]);
    for rule in rules {
        let name = if rule.enabled {
            Cell::of(Tone::Strong, rule.name.as_str())
        } else {
            Cell::of(Tone::Away, format!("{} (off)", rule.name))
        };
        table.row([
            name,
            rule.on.as_str().into(),
            rule.when.as_deref().unwrap_or("-").into(),
            rule.does.join("; ").into(),
            rule.fired.to_string().into(),
            rule.held.to_string().into(),
            rule.refused.to_string().into(),
            rule.dropped.to_string().into(),
            rule.place.as_str().into(),
        ]);
    }
    let off: Vec<String> = rules
        .iter()
        .filter_map(|it| Some((it, it.off.as_ref()?)))
        .map(|(rule, off)| {
            format!("{} is {}: labctl rule enable {}", rule.name, switched(off, style), rule.name)
        })
        .collect();
    let lacking = rules.iter().filter(|it| !it.lacks.is_empty());
    let lacking = lacking.map(|it| {
        format!("{} cannot do what it says: {} (labctl rule show {})", it.name, it.lacks[0], it.name)
    });
    let told: Vec<String> = off.into_iter().chain(lacking).collect();
    List {
        kind: "RuleList",
        table,
        items: rules.iter().map(json::of).collect(),
        names: rules.iter().map(|it| it.name.clone()).collect(),
        footer: (!told.is_empty()).then(|| told.join("\n")),
    }
}

fn switched(off: &RuleOff, style: &Style) -> String {
    let until = match off.until {
        Some(until) => format!(" until {}", time::absolute(until, style.time)),
        None => String::new(),
    };
    format!("switched off by {} {}{until}", off.by, time::ago(off.at, style.now, style.time))
}

/// All of one rule.
pub(crate) fn whole(rule: &RuleView, style: &Style) -> String {
    let mut text = format!("rule {}  ({})\n", style.paint(Tone::Strong, &rule.name), rule.place);
    match &rule.off {
        Some(off) => {
            let _ = writeln!(text, "  {}", style.paint(Tone::Away, &switched(off, style)));
        }
        None if !rule.enabled => {
            let _ = writeln!(text, "  {}", style.paint(Tone::Away, "its file says `enabled: false`"));
        }
        None => {}
    }
    if !rule.clauses.iter().any(|it| it.0 == "on") {
        let _ = writeln!(text, "  {:<NAME$} {}", "on", rule.on);
    }
    for (name, words) in &rule.clauses {
        let _ = writeln!(text, "  {name:<NAME$} {words}");
    }
    numbered(&mut text, "does", &rule.does);
    numbered(&mut text, "on_failure", &rule.on_failure);
    if !rule.role.is_empty() {
        let _ = writeln!(text, "  {:<NAME$} {}", "role", rule.role);
    }
    for lack in &rule.lacks {
        let _ = writeln!(text, "  {}", style.paint(Tone::Bad, lack));
    }
    if !rule.lacks.is_empty() {
        let line = format!("rules: {{ names: {{ {}: ROLE }} }}", rule.name);
        let _ = writeln!(text, "    roles.yaml on the master gives it another one: {line}");
    }
    let _ = writeln!(
        text,
        "  since the master started: fired {}, held {}, refused {}; remembers {} keys",
        rule.fired, rule.held, rule.refused, rule.keys
    );
    let _ = writeln!(text, "  labctl rule history {} shows what it decided", rule.name);
    text
}

fn numbered(text: &mut String, name: &str, lines: &[String]) {
    for (place, line) in lines.iter().enumerate() {
        let name = if place == 0 { name } else { "" };
        let _ = writeln!(text, "  {name:<NAME$} {}. {line}", place + 1);
    }
}

/// What the reactor decided.
pub(crate) fn history(decisions: &[Decision], style: &Style) -> String {
    let mut text = String::new();
    for decision in decisions {
        let at = time::clock(decision.at, style.time);
        for verdict in &decision.verdicts {
            let mark = style.mark(if verdict.fired { "ok" } else { "skipped" });
            let number = style.paint(Tone::Dim, &format!("#{}", decision.event));
            let _ = writeln!(
                text,
                "{at}  {mark} {}  {} {number}  {}",
                style.paint(Tone::Strong, &verdict.rule),
                decision.tag,
                verdict.reason
            );
            actions(&mut text, &verdict.actions, "            ");
        }
    }
    text
}

fn actions(text: &mut String, actions: &[DecisionAction], indent: &str) {
    for action in actions {
        let job = action.job.map(|it| format!("  job {}", it.short())).unwrap_or_default();
        let _ = writeln!(text, "{indent}{}: {}{job}{}", action.what, action.result, ended(action));
    }
}

/// How something that a rule did has ended, if it has.
fn ended(action: &DecisionAction) -> String {
    let Some(end) = &action.end else { return String::new() };
    let mut words: Vec<String> = end.words.iter().map(|(word, many)| format!("{many} {word}")).collect();
    if !end.answer.is_empty() {
        words.push(end.answer.clone());
    }
    if end.attempts > 1 {
        words.push(format!("{} attempts", end.attempts));
    }
    let mark = if end.ok { "ended" } else { "ended badly" };
    format!("  {mark} after {}: {}", time::took(end.duration_ms), words.join(", "))
}

/// What one rule would make of an event.
pub(crate) fn explained(explained: &Explained, event: &Event, style: &Style) -> String {
    let verdict = &explained.verdict;
    let mut text = format!("rule {}  ({})\n", style.paint(Tone::Strong, &verdict.rule), explained.place);
    let _ = writeln!(text, "  {:<NAME$} {}", "event", super::status::event(event, style));
    if !explained.key.is_empty() {
        let _ = writeln!(text, "  {:<NAME$} {}", "key", explained.key);
    }
    clauses(&mut text, &verdict.clauses, 0, style);
    outcome(&mut text, verdict, style);
    let _ = writeln!(text, "{}", style.paint(Tone::Dim, "nothing was done"));
    text
}

fn outcome(text: &mut String, verdict: &Verdict, style: &Style) {
    if !verdict.fired {
        let said = style.paint(Tone::Changed, "would not act");
        let _ = writeln!(text, "  {said}: {}", verdict.reason);
        return;
    }
    let _ = writeln!(text, "  {}", style.paint(Tone::Good, "would do:"));
    for (place, action) in verdict.actions.iter().enumerate() {
        let result =
            if action.result.starts_with("would") { String::new() } else { format!(": {}", action.result) };
        let _ = writeln!(text, "    {}. {}{result}", place + 1, action.what);
    }
}

fn clauses(text: &mut String, clauses: &[Clause], depth: usize, style: &Style) {
    for clause in clauses {
        let mark = match clause.held {
            Some(true) => style.mark("ok"),
            Some(false) => style.mark("failed"),
            None => style.paint(Tone::Dim, style.either("·", "-")),
        };
        let seen = match (clause.held, clause.seen.as_str()) {
            (None, "") => "not reached",
            (_, seen) => seen,
        };
        let indent = depth * 2;
        let width = TEXT.saturating_sub(indent);
        let words = format!("{:<width$}", clip(&clause.text, width, style.either("…", "...")));
        let _ = writeln!(text, "  {:<NAME$} {:indent$}{words} {mark} {seen}", clause.name, "");
        self::clauses(text, &clause.parts, depth + 1, style);
    }
}

/// What became of an event for a rule that waited then.
#[derive(Debug, Serialize)]
pub(crate) struct Later {
    pub(crate) rule: String,
    /// The clause that made it wait.
    pub(crate) waited_for: String,
    /// What came of it, with nothing of other rules; nothing if it still waits.
    pub(crate) decision: Option<Decision>,
}

/// All that is known of an event and rules.
pub(crate) struct Asked<'a> {
    pub(crate) event: &'a Event,
    pub(crate) decided: Option<&'a Decision>,
    pub(crate) later: &'a [Later],
    pub(crate) now: &'a [Explained],
}

/// Why rules did something about an event, or did not.
pub(crate) fn why(asked: &Asked<'_>, one: bool, style: &Style) -> String {
    let Asked { event, decided, later, now } = *asked;
    let number = style.paint(Tone::Dim, &format!("#{}", event.number));
    let mut text = format!("event {number}  {}\n", super::status::event(event, style));
    if !event.cause.is_empty() {
        let cause: Vec<String> = event.cause.iter().map(|it| format!("#{it}")).collect();
        let _ = writeln!(text, "  led to by {}", cause.join(", "));
    }
    let verdicts = decided.map(|it| it.verdicts.as_slice()).unwrap_or_default();
    let mut deaf = Vec::new();
    for explained in now {
        let name = &explained.verdict.rule;
        let then: Vec<&Verdict> = verdicts.iter().filter(|it| it.rule == *name).collect();
        for verdict in &then {
            rule(&mut text, explained, verdict, "then", style);
        }
        let later: Vec<&Later> = later.iter().filter(|it| it.rule == *name).collect();
        if then.is_empty() && !later.is_empty() {
            let mark = style.mark("skipped");
            let _ = writeln!(text, "{mark} {name}  ({})  began to expect its own event", explained.place);
        }
        for later in &later {
            came(&mut text, later, style);
        }
        if then.is_empty() && !later.is_empty() {
            continue;
        }
        if then.is_empty() && (explained.heard || one) {
            rule(&mut text, explained, &explained.verdict, "now", style);
            let _ = writeln!(
                text,
                "    there is no record of it: the rule was not in use then, or the record is too old"
            );
        } else if then.is_empty() {
            deaf.push(name.as_str());
        }
    }
    let gone = verdicts.iter().filter(|it| !now.iter().any(|now| now.verdict.rule == it.rule));
    for verdict in gone.filter(|_| !one) {
        let mark = style.mark(if verdict.fired { "ok" } else { "skipped" });
        let _ = writeln!(text, "{mark} {} (not in use any more)  {}", verdict.rule, verdict.reason);
        actions(&mut text, &verdict.actions, "    ");
    }
    if !deaf.is_empty() {
        let _ = writeln!(text, "not for {}: their `on` lets other tags through", deaf.join(", "));
    }
    if verdicts.is_empty() && now.iter().all(|it| !it.heard) {
        let _ = writeln!(text, "no rule is for `{}`", event.tag);
    }
    text
}

/// What came of a wait, and when.
fn came(text: &mut String, later: &Later, style: &Style) {
    let waited = &later.waited_for;
    let found = later.decision.as_ref().and_then(|it| Some((it, it.verdicts.first()?)));
    let Some((decision, verdict)) = found else {
        let _ = writeln!(text, "  later: nothing has come of `{waited}` yet");
        return;
    };
    let mark = style.mark(if verdict.fired { "ok" } else { "skipped" });
    let number = style.paint(Tone::Dim, &format!("#{}", decision.event));
    let acted = if verdict.fired { "acted" } else { "did not act" };
    let (at, tag, reason) = (time::absolute(decision.at, style.time), &decision.tag, &verdict.reason);
    let _ = writeln!(text, "  later, of `{waited}`: {mark} {number} {tag} at {at}  {acted}: {reason}");
    actions(text, &verdict.actions, "    ");
}

fn rule(text: &mut String, explained: &Explained, verdict: &Verdict, when: &str, style: &Style) {
    let mark = style.mark(if verdict.fired { "ok" } else { "skipped" });
    let acted = match (when, verdict.fired) {
        ("then", true) => "acted",
        ("then", false) => "did not act",
        (_, true) => "would act now",
        (_, false) => "would not act now",
    };
    let name = style.paint(Tone::Strong, &verdict.rule);
    let _ = writeln!(text, "{mark} {name}  ({})  {acted}: {}", explained.place, verdict.reason);
    clauses(text, &verdict.clauses, 0, style);
    if when == "then" {
        actions(text, &verdict.actions, "    ");
    }
}
