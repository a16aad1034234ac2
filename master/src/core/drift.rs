//! What is not as it should be: found by plans, mended by applies, kept for each minion, told when it changes.

use super::{Master, Part, publish::PAYLOAD_BYTES_MAX, roster::cut};
use model::{
    Change, Drift, DriftItem, JobId, MinionId, Mode, Outcome, Reply, RunReport, StepReport,
    api::{DriftView, ErrorView},
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Steps of one minion that are kept.
const ITEMS_MAX: usize = 200;
/// Bytes of what changes that are kept of one minion; of the rest only the names.
const CHANGES_BYTES_MAX: usize = 16 << 10;
/// Names that an event carries.
const NAMED_MAX: usize = 50;
/// Characters of each name of a step.
const NAME_CHARS_MAX: usize = 256;

/// How many steps are not as they should be.
fn size(drift: &Drift) -> u32 {
    u32::try_from(drift.items.len()).unwrap_or(u32::MAX).saturating_add(drift.more)
}

/// What a step is known by from one run to the next.
fn key(sls: &str, id: &str, kind: &str) -> String {
    format!("{}\0{}\0{}", short(sls), short(id), short(kind))
}

/// A name of a step as it is kept: the minion says it, and may say anything.
fn short(text: &str) -> String {
    cut(text, NAME_CHARS_MAX)
}

/// What is known after a run: a full look tells all, any other run tells of its own steps only.
fn after(before: &Drift, job: JobId, full: bool, report: &RunReport, now: model::Timestamp) -> Drift {
    let looked = report.mode == Mode::Check;
    let seen: BTreeSet<String> = report.steps.iter().map(|it| key(&it.sls, &it.id, &it.kind)).collect();
    let mended = |it: &StepReport| matches!(it.outcome, Outcome::Ok | Outcome::Changed);
    let healed: BTreeSet<String> =
        report.steps.iter().filter(|it| mended(it)).map(|it| key(&it.sls, &it.id, &it.kind)).collect();
    let mut drift = Drift { at: if looked { now } else { before.at }, job, items: Vec::new(), more: 0 };
    for item in &before.items {
        let key = key(&item.sls, &item.id, &item.kind);
        let found_anew = looked && seen.contains(&key);
        let gone = looked && full && !report.cancelled;
        if !healed.contains(&key) && !found_anew && !gone {
            drift.items.push(item.clone());
        }
    }
    let whole = full && !report.cancelled;
    // Which ones they are that there was no room for is not known: a part of the steps tells nothing of them.
    let before_more = match (whole, looked) {
        (true, true) => 0,
        (true, false) => {
            let kept: BTreeSet<String> =
                before.items.iter().map(|it| key(&it.sls, &it.id, &it.kind)).collect();
            let left = seen.difference(&healed).filter(|it| !kept.contains(*it)).count();
            before.more.min(u32::try_from(left).unwrap_or(u32::MAX))
        }
        (false, _) => before.more,
    };
    let mut room = CHANGES_BYTES_MAX;
    for step in report.steps.iter().filter(|it| looked && it.outcome == Outcome::WouldChange) {
        if drift.items.len() >= ITEMS_MAX {
            drift.more = drift.more.saturating_add(1);
            continue;
        }
        let of = key(&step.sls, &step.id, &step.kind);
        let known = before.items.iter().find(|it| key(&it.sls, &it.id, &it.kind) == of);
        drift.items.push(DriftItem {
            id: short(&step.id),
            sls: short(&step.sls),
            kind: short(&step.kind),
            name: short(&step.name),
            since: known.map_or(now, |it| it.since),
            changes: kept_changes(&step.plan.changes, &mut room),
        });
    }
    drift.more = drift.more.max(before_more);
    drift
}

/// As much of what changes as there is room for.
fn kept_changes(changes: &[Change], room: &mut usize) -> Vec<Change> {
    let mut kept = Vec::new();
    for change in changes {
        let bytes = |it: &Option<String>| it.as_ref().map_or(0, String::len);
        let small = change.what.len() + bytes(&change.from) + bytes(&change.to);
        let whole = small + bytes(&change.diff);
        let it = match *room {
            left if whole <= left => change.clone(),
            left if small <= left => Change { diff: None, ..change.clone() },
            _ => continue,
        };
        *room -= it.what.len() + bytes(&it.from) + bytes(&it.to) + bytes(&it.diff);
        kept.push(it);
    }
    kept
}

impl Master {
    /// What the last looks at a minion found; none if nobody has looked.
    pub(crate) fn drift_of(&self, id: &MinionId) -> Option<Drift> {
        let kept = self.book.kept.get(&(Part::Drift, id.as_str().to_owned()))?;
        serde_json::from_value(kept.clone()).ok()
    }

    /// Minions that are not as they should be.
    pub(crate) fn drifted(&self) -> impl Iterator<Item = &MinionId> {
        self.live.iter().filter(|it| it.1.drift.is_some_and(|it| it > 0)).map(|it| it.0)
    }

    pub(crate) fn drifted_count(&self) -> u32 {
        u32::try_from(self.drifted().count()).unwrap_or(u32::MAX)
    }

    /// After a start.
    pub(crate) fn recall_drift(&mut self) {
        let kept: Vec<MinionId> =
            self.book.kept_of(Part::Drift).filter_map(|(id, _)| id.parse().ok()).collect();
        for id in kept {
            self.recall_drift_of(&id);
        }
    }

    /// How much it is, so that nobody has to look it up.
    pub(crate) fn recall_drift_of(&mut self, id: &MinionId) {
        let many = self.drift_of(id).map(|it| size(&it));
        if let Some(live) = self.live.get_mut(id) {
            live.drift = many;
        }
    }

    /// The minion is no member any more.
    pub(crate) fn forget_drift(&mut self, id: &MinionId) {
        if let Some(live) = self.live.get_mut(id) {
            live.drift = None;
        }
        if self.drift_of(id).is_some() {
            self.keep(Part::Drift, id.as_str(), None);
        }
    }

    /// A run ended: a plan finds drift, an apply mends it. The event comes only when something about it changed.
    pub(crate) fn note_drift(&mut self, id: &MinionId, job: JobId, full: bool, report: &RunReport) {
        let before = self.drift_of(id);
        if before.is_none() && report.mode == Mode::Apply {
            return;
        }
        let before = before.unwrap_or(Drift { at: self.now, job, items: Vec::new(), more: 0 });
        let drift = after(&before, job, full, report, self.now);
        if let Some(live) = self.live.get_mut(id) {
            live.drift = Some(size(&drift));
        }
        let names = |it: &Drift| -> BTreeSet<String> {
            it.items.iter().map(|it| key(&it.sls, &it.id, &it.kind)).collect()
        };
        let same = names(&before) == names(&drift) && before.more == drift.more;
        if !(same && report.mode == Mode::Apply) {
            self.keep(Part::Drift, id.as_str(), serde_json::to_value(&drift).ok());
        }
        if !same {
            self.tell_drift(id, &drift);
        }
    }

    fn tell_drift(&mut self, id: &MinionId, drift: &Drift) {
        let states: BTreeSet<&str> = drift.items.iter().map(|it| it.sls.as_str()).collect();
        let named: Vec<Value> = drift
            .items
            .iter()
            .take(NAMED_MAX)
            .map(|it| json!({"id": it.id, "sls": it.sls, "kind": it.kind, "name": it.name}))
            .collect();
        let states: Vec<&str> = states.into_iter().take(NAMED_MAX).collect();
        let count = size(drift);
        let mut data =
            json!({"minion": id, "steps": count, "states": states, "items": named, "job": drift.job});
        for part in ["items", "states"] {
            if super::requests::check_event(&data).is_err() {
                data[part] = json!([]);
            }
        }
        self.emit_master(format!("minion/{id}/drift"), data);
        let items: Vec<String> = drift.items.iter().map(|it| format!("{} {}", it.id, it.kind)).collect();
        let mut payload = json!({"drift": count, "items": items, "time": self.now}).to_string();
        if payload.len() > PAYLOAD_BYTES_MAX {
            payload = json!({"drift": count, "items": [], "time": self.now}).to_string();
        }
        self.publish_minion(id, "drift", payload);
    }

    pub(crate) fn drift_views(&self, target: Option<&str>) -> Result<Reply, ErrorView> {
        let minions = match target {
            Some(text) => self.expand(text)?,
            None => self.book.minions.keys().cloned().collect(),
        };
        let view = |minion: MinionId| DriftView { drift: self.drift_of(&minion), minion };
        Ok(Reply::Drift(minions.into_iter().map(view).collect()))
    }
}

#[cfg(test)]
mod tests;
