//! Two machines with one key: what proves it, and what becomes of both until an operator decides.

use super::{Effect, Master, enroll::claim, roster::cut};
use bus::message::Hello;
use model::{
    Fingerprint, Key, KeyStatus, MinionId, Presence, Surroundings, Timestamp, broken,
    surroundings::{Comparison, Sameness},
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Processes that are remembered for one key.
const TALKERS_MAX: usize = 8;
/// So long is a process remembered after its last hello.
const TALKER_MS: u64 = 600_000;
/// Characters of what tells machines apart, for people.
const SHOWN_CHARS: usize = 40;

/// A process that said hello with a key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Talker {
    /// Random, of this process.
    instance: String,
    surroundings: Surroundings,
    address: String,
    at: Timestamp,
    /// It said hello again after another process had.
    came_back: bool,
}

/// Who said hello with one key lately; the newest is the last.
#[derive(Debug, Default)]
pub(crate) struct Talkers(Vec<Talker>);

impl Talkers {
    /// Takes in who says hello. The other machine, if this proves that there are two.
    ///
    /// A process that ended never comes back, so one that says hello again after another did lives beside that one.
    /// Where surroundings differ, that is proof. Where they do not, it could be a virtual machine that was set back to a
    /// snapshot of its memory: then both have to come back.
    fn hear(&mut self, talker: Talker) -> Option<Talker> {
        let now = talker.at;
        self.0.retain(|it| now.since_ms(it.at) < TALKER_MS);
        let Some(last) = self.0.last().cloned() else {
            self.0.push(talker);
            return None;
        };
        let known = self.0.iter().position(|it| it.instance == talker.instance);
        let before = known.map(|at| self.0.remove(at));
        let came_back = before.as_ref().is_some_and(|it| it.came_back || it.instance != last.instance);
        let returned = last.instance != talker.instance && before.is_some();
        self.0.push(Talker { came_back, ..talker.clone() });
        if self.0.len() > TALKERS_MAX {
            self.0.remove(0);
        }
        if !returned {
            return None;
        }
        if differ(&talker.surroundings, &last.surroundings) {
            return Some(last);
        }
        self.0.iter().rev().find(|it| it.came_back && it.instance != talker.instance).cloned()
    }
}

/// Whether these are two machines for sure. Network cards come and go, and prove nothing.
fn differ(one: &Surroundings, other: &Surroundings) -> bool {
    let Comparison { machine_id, hardware, .. } = one.compare(other);
    machine_id == Sameness::Changed || hardware == Sameness::Changed
}

impl Master {
    /// Whether a hello proves that two machines have this key. Both are sent away then.
    pub(crate) fn is_cloned(&mut self, id: &MinionId, hello: &Hello) -> bool {
        // A release that says nothing of itself is taken for one machine, as it always was.
        if hello.speaker.instance.is_empty() || broken::leaves_out("suspend-clones") {
            return false;
        }
        let address = self.book.minions.get(id).and_then(|it| it.address.clone()).unwrap_or_default();
        let talker = Talker {
            instance: cut(&hello.speaker.instance, 64),
            surroundings: bounded(&hello.speaker.surroundings),
            address,
            at: self.now,
            came_back: false,
        };
        let Some(live) = self.live.get_mut(id) else { return false };
        let Some(other) = live.talkers.hear(talker.clone()) else { return false };
        self.suspend(id, &talker, &other);
        true
    }

    /// Neither machine is served, nothing is forgotten, and the operator is told.
    fn suspend(&mut self, id: &MinionId, one: &Talker, other: &Talker) {
        let Some(fingerprint) = self.book.minions.get(id).map(|it| it.fingerprint.clone()) else { return };
        let Some(key) = self.book.keys.get(&fingerprint).cloned() else { return };
        let machines = [shown(one), shown(other)];
        let reason = format!("two machines use this key: {} and {}", machines[0], machines[1]);
        self.interrupt_all(id, "two machines use the key of this minion");
        self.forget_probes_of(id);
        self.drop_parts(id);
        if let Some(live) = self.live.get_mut(id) {
            (live.connected, live.ready, live.running) = (false, false, None);
        }
        self.set_presence(id, Presence::Lost, "suspended");
        self.out.push(Effect::Close { minion: id.clone() });
        self.put_key(Key { status: KeyStatus::Suspended, reason: reason.clone(), ..key }, "suspended");
        let remedy = format!(
            "end the copy, then: labctl key accept {fingerprint}; or, so that both ask with keys of their own: labctl key revoke {fingerprint}"
        );
        let machines: Vec<Value> = [one, other].into_iter().map(told).collect();
        let data = json!({
            "minion": id, "fingerprint": fingerprint, "reason": reason, "machines": machines, "remedy": remedy,
        });
        self.emit_master(format!("minion/{id}/cloned"), data);
    }

    /// An operator says that one machine is left: it goes on as what it was.
    pub(crate) fn reinstate(&mut self, key: Key, by: &str) {
        let (id, fingerprint) = (key.minion.clone(), key.fingerprint.clone());
        if let Some(live) = self.live.get_mut(&id) {
            live.talkers = Talkers::default();
        }
        self.watch_absence(&id);
        self.answer_enroll(&fingerprint, bus::message::EnrollAnswer::Accepted { minion: id });
        let reason = format!("accepted by {by}");
        self.put_key(Key { status: KeyStatus::Accepted, reason, ..key }, "accepted");
    }

    /// Whether a member is not served because two machines use its key.
    pub(crate) fn is_suspended(&self, id: &MinionId) -> bool {
        self.book.suspended.values().any(|it| it == id)
    }

    /// Members that are suspended, for views.
    pub(crate) fn suspended(&self) -> Vec<MinionId> {
        self.book.suspended.values().take(super::view::NAMED_MAX).cloned().collect()
    }

    /// The same with the key of each.
    pub(crate) fn suspended_keys(&self) -> BTreeMap<MinionId, Fingerprint> {
        let some = self.book.suspended.iter().take(super::view::NAMED_MAX);
        some.map(|(key, id)| (id.clone(), key.clone())).collect()
    }
}

/// What a minion says of itself is of any length.
fn bounded(said: &Surroundings) -> Surroundings {
    Surroundings {
        machine_id: claim(&said.machine_id),
        hardware: claim(&said.hardware),
        macs: said.macs.iter().take(16).map(|it| claim(it)).collect(),
        is_virtual: said.is_virtual,
    }
}

fn shown(talker: &Talker) -> String {
    let Surroundings { machine_id, hardware, .. } = &talker.surroundings;
    let mut parts = vec![talker.address.clone()];
    for (name, value) in [("machine-id", machine_id), ("hardware", hardware)] {
        if !value.is_empty() {
            parts.push(format!("{name} {}", cut(value, SHOWN_CHARS)));
        }
    }
    parts.join(" ")
}

fn told(talker: &Talker) -> Value {
    let Surroundings { machine_id, hardware, macs, .. } = &talker.surroundings;
    json!({"address": talker.address, "machine_id": machine_id, "hardware": hardware, "macs": macs, "heard_at": talker.at})
}

#[cfg(test)]
mod tests;
