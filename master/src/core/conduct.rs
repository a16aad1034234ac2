//! What minions do by themselves: worked out from pillar when something changed, and told to who has something else.

use super::{Asked, Conducted, Effect, Master, roster::cut};
use bus::message::CAN_CONDUCT;
use model::{ContentHash, Diagnostic, MinionId};
use serde_json::json;

/// What is known of one minion's conduct until the next restart.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    /// What it said it has, or was told since.
    pub(crate) has: Option<ContentHash>,
    /// What it should have, once that was worked out.
    #[expect(clippy::option_option, reason = "nothing is wanted, and nobody knows yet, are two things")]
    wanted: Option<Option<ContentHash>>,
    /// Why it could not be worked out, so that it is told once.
    broken: Option<String>,
    /// It is being worked out.
    under_way: bool,
    /// Since that began something has changed: what comes of it counts for nothing.
    stale: bool,
}

impl Master {
    /// Whether a minion does things by itself at all.
    pub(crate) fn can_conduct(&self, id: &MinionId) -> bool {
        self.live.get(id).is_some_and(|it| it.ready && it.can.iter().any(|can| can == CAN_CONDUCT))
    }

    /// What it does by itself may be something else now. Who is away gets it when it is back.
    pub(crate) fn work_out_conduct(&mut self, id: &MinionId) {
        let able = self.revision.is_some() && self.can_conduct(id);
        let Some(live) = self.live.get_mut(id) else { return };
        live.conduct.wanted = None;
        // One at a time: two could end in another order than they began.
        live.conduct.stale = live.conduct.under_way;
        if able && !live.conduct.under_way {
            live.conduct.under_way = true;
            self.out.push(Effect::Conduct { minion: id.clone(), asked: Asked::default() });
        }
    }

    /// It is back: it may have something else than it should.
    pub(crate) fn compare_conduct(&mut self, id: &MinionId) {
        let Some(live) = self.live.get(id) else { return };
        if live.conduct.wanted != Some(live.conduct.has) {
            self.work_out_conduct(id);
        }
    }

    /// What a minion has; the shell seals nothing that is there already.
    pub fn conduct_of(&self, id: &MinionId) -> Option<ContentHash> {
        self.live.get(id)?.conduct.has
    }

    /// What it does stays as it was while pillar is broken, and that is said once.
    pub(crate) fn conducted(&mut self, id: &MinionId, result: Result<Conducted, Vec<Diagnostic>>) {
        let able = self.can_conduct(id);
        let Some(live) = self.live.get_mut(id) else { return };
        live.conduct.under_way = false;
        if live.conduct.stale {
            return self.work_out_conduct(id);
        }
        match result {
            Ok(conducted) => {
                live.conduct.wanted = Some(conducted.hash);
                live.conduct.broken = None;
                if let Some(message) = conducted.message.filter(|_| able) {
                    live.conduct.has = conducted.hash;
                    self.send(id, *message);
                } else if able && live.conduct.has != conducted.hash {
                    // It was compared with what the minion had when that began.
                    self.work_out_conduct(id);
                }
            }
            Err(diagnostics) => {
                let first = diagnostics.first();
                let message = first.map(|it| cut(&it.message, 1024)).unwrap_or_default();
                if live.conduct.broken.as_ref() == Some(&message) {
                    return;
                }
                live.conduct.broken = Some(message.clone());
                let place =
                    first.and_then(|it| it.spans.first()).map(|it| format!("{}:{}", it.file, it.line));
                let data =
                    json!({ "minion": id, "errors": diagnostics.len(), "first": message, "place": place });
                self.emit_master(format!("minion/{id}/conduct"), data);
            }
        }
    }
}

#[cfg(test)]
mod tests;
