//! What tells the events of a rule apart.

use super::View;
use crate::{
    compare::text_of,
    rules::{OncePer, Rule},
};
use model::MinionId;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// Longest key; of a longer one the rest is a hash.
const KEY_BYTES_MAX: usize = 160;

/// What tells a rule's events apart.
fn key_of(rule: &Rule, view: &View<'_>) -> String {
    let clauses = &rule.clauses;
    let key = if clauses.group_by.is_empty() {
        let job = || view.event.data.get("job").and_then(text_of);
        let job = if clauses.once_per == Some(OncePer::Job) { job() } else { None };
        let minion = || view.context.minion.map(|it| it.as_str().to_owned());
        job.or_else(minion).unwrap_or_else(|| view.event.tag.clone())
    } else {
        let value = |it: &crate::condition::Path| match it.value(&view.context) {
            None => "absent".to_owned(),
            Some(value) => text_of(&value).unwrap_or_else(|| value.to_string()),
        };
        clauses.group_by.iter().map(value).collect::<Vec<_>>().join("/")
    };
    bounded(key)
}

/// Where what a rule remembers of an event's key lies.
pub(super) fn slot_of(rule: &Rule, view: &View<'_>) -> String {
    format!("={}", key_of(rule, view))
}

/// Where what all keys of a rule share lies, and what all of a machine do.
pub(super) const OF_ALL: &str = "*";
pub(super) fn slot_of_machine(minion: &MinionId) -> String {
    format!("@{minion}")
}

/// All that a rule can ask of what it remembers for an event.
pub(super) fn slots(rule: &Rule, view: &View<'_>) -> BTreeSet<String> {
    let machine = view.context.minion.map(slot_of_machine);
    [slot_of(rule, view), OF_ALL.to_owned()].into_iter().chain(machine).collect()
}

fn bounded(key: String) -> String {
    if key.len() <= KEY_BYTES_MAX {
        return key;
    }
    let hash = Sha256::digest(key.as_bytes());
    let hash = hash[..8].iter().fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
    let end = (0..=KEY_BYTES_MAX - 20).rev().find(|it| key.is_char_boundary(*it)).unwrap_or_default();
    format!("{}~{hash:016x}", &key[..end])
}
