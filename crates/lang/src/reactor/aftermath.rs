//! What became of a wait: which later decision came of an event with which a rule began to wait, or went on waiting.

use crate::duration;
use model::{Clause, Decision, Timestamp, Verdict};

/// Clauses that make a rule wait, in the order in which they are asked.
const WAITING: [&str; 5] = ["all", "absent", "for", "count", "debounce"];
/// What a clause says that will be asked again although the rule acted.
pub(crate) const LOOKS_AGAIN: &str = "looks again";
/// What `absent` says that expects the next event from this one on.
pub(crate) const EXPECTS_AGAIN: &str = "it came; acts if none comes for";
/// What a clause says whose wait has ended without anything.
pub(crate) const FELL_AWAY: &str = "fell away";

/// The clause for which a rule waits that decided so, if it waits.
pub fn waits_for(verdict: &Verdict) -> Option<&str> {
    if verdict.fired {
        return told(verdict, "else_after")
            .filter(|it| it.held.is_none() && it.seen.starts_with(LOOKS_AGAIN))
            .map(|it| it.name.as_str());
    }
    let said_no = verdict.clauses.iter().find(|it| it.held == Some(false))?;
    let name = said_no.name.as_str();
    let waits = WAITING.contains(&name) && (name != "absent" || said_no.seen.starts_with(EXPECTS_AGAIN));
    waits.then_some(name)
}

/// The decision that came of an event for a rule that waits, and what it says of that rule; `later` are decisions after
/// that of the event, the oldest first. Without a verdict the event only made the rule expect another one. Nothing: the
/// rule still waits.
pub fn aftermath<'a>(
    event: (u64, Timestamp),
    rule: &str,
    verdict: Option<&Verdict>,
    later: &'a [Decision],
) -> Option<(&'a Decision, &'a Verdict)> {
    let mut of_rule = later.iter().flat_map(move |decision| {
        decision.verdicts.iter().filter(move |it| it.rule == rule).map(move |it| (decision, it))
    });
    let Some(verdict) = verdict else {
        return of_rule.find(|it| remembers(it.1) == Some(event.0));
    };
    let waits = waits_for(verdict)?;
    let until = told(verdict, waits).and_then(window).map(|within| event.1.plus_ms(within));
    let mut held = None;
    for (decision, then) in of_rule.filter(|it| it.1.key == verdict.key) {
        if until.is_some_and(|it| decision.at > it) {
            break;
        }
        match what(waits, then) {
            Then::Waits => {}
            Then::Held => held = Some((decision, then)),
            Then::Ended => return Some((decision, then)),
        }
    }
    held
}

enum Then {
    Waits,
    /// It would have acted if the machine were not left alone: it may yet.
    Held,
    Ended,
}

fn what(waits: &str, then: &Verdict) -> Then {
    let clause = told(then, waits);
    let asked = clause.and_then(|it| it.held);
    let fell_away = clause.is_some_and(|it| it.held.is_none() && it.seen.starts_with(FELL_AWAY));
    let said_no = then.clauses.iter().find(|it| it.held == Some(false)).map(|it| it.name.as_str());
    if waits == "else_after" {
        let not_any_more = remembers(then).is_some() && said_no == Some("when");
        return if fell_away || not_any_more || asked == Some(true) { Then::Ended } else { Then::Waits };
    }
    // What is counted is asked about events only.
    let counted = matches!(waits, "count" | "all");
    match asked {
        Some(true) if said_no == Some("maintenance") => Then::Held,
        Some(true) => Then::Ended,
        // What was expected came.
        Some(false) if waits == "absent" => Then::Ended,
        None if !counted && (then.fired || fell_away || remembers(then).is_some()) => Then::Ended,
        Some(false) | None => Then::Waits,
    }
}

/// What the last clause of a name says: `all` is also the name of its filters.
fn told<'a>(verdict: &'a Verdict, name: &str) -> Option<&'a Clause> {
    verdict.clauses.iter().rev().find(|it| it.name == name)
}

/// In which time what is counted has to come together.
fn window(clause: &Clause) -> Option<u64> {
    let (_, span) = clause.text.split_once("within")?;
    let span = span.trim_start_matches([':', ' ']).split([',', '}', ' ']).next()?;
    matches!(clause.name.as_str(), "count" | "all").then(|| duration::parse(span).ok()).flatten()
}

/// The number of the event that it remembered, if time had passed.
fn remembers(verdict: &Verdict) -> Option<u64> {
    let seen = verdict.clauses.first()?.seen.strip_suffix("), remembered")?;
    seen.rsplit_once(" (event ")?.1.parse().ok()
}
