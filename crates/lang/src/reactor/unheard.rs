//! What is said of a rule that does not hear an event.

use super::{Judged, List, minion_of, trail::Trail};
use crate::rules::Rule;
use model::{Clause, Event};

/// A rule whose `on` does not let an event through.
pub(super) fn unheard(rule: &Rule, event: &Event, identity: &str) -> Judged {
    let mut trail = Trail::new(rule);
    let name = rule.words.first().map_or("on", |it| it.0);
    let filters = rule.filters.iter().map(|it| mismatch(it, &event.tag)).collect::<Vec<_>>().join("; ");
    let seen =
        if rule.salt.is_some() { format!("no tag of `{}` for Salt matches", event.tag) } else { filters };
    trail.add(Clause {
        name: name.to_owned(),
        text: rule.on.clone(),
        held: Some(false),
        seen,
        parts: Vec::new(),
    });
    let (clauses, reason) = trail.finish();
    let minion = minion_of(&event.tag);
    Judged {
        rule: rule.name.clone(),
        key: String::new(),
        minion,
        kept: None,
        identity: identity.to_owned(),
        fired: false,
        list: List::Do,
        clauses,
        reason: format!("on: {reason}"),
        actions: Ok(Vec::new()),
    }
}

/// Where a tag and a filter part.
fn mismatch(filter: &str, tag: &str) -> String {
    let (mut wanted, mut levels) = (filter.split('/'), tag.split('/'));
    let mut number = 1;
    loop {
        match (wanted.next(), levels.next()) {
            (Some(a), Some(b)) if a == "+" || a == b => number += 1,
            (Some(a), Some(b)) => {
                return format!("`{tag}` has `{b}` at level {number}, `{filter}` wants `{a}`");
            }
            (Some(_), None) => return format!("`{tag}` has fewer levels than `{filter}`"),
            (None, _) => return format!("`{tag}` has more levels than `{filter}`"),
        }
    }
}
