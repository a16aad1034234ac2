//! Questions that are no jobs: asked of many at once, answered within seconds, kept by nobody.

use super::{Effect, Master, Ticket, target::refuse, timers::Timer};
use bus::message::ToMinion;
use model::{
    MinionId, Reply,
    api::{ErrorKind, ErrorView, FoldedProbe, ProbeAnswer, ProbeLine},
    request::Ask,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Probes under way.
pub(crate) const PROBES_MAX: usize = 256;
/// Longest wait.
const TIMEOUT_MS_MAX: u64 = 5_000;

/// A probe under way.
#[derive(Debug)]
pub(crate) struct Probe {
    ticket: Ticket,
    waiting: BTreeSet<MinionId>,
    sent_us: u64,
    folded: FoldedProbe,
}

impl Master {
    /// Who is away is named at once and costs no time.
    pub(crate) fn start_probe(
        &mut self,
        ticket: Ticket,
        minions: Vec<MinionId>,
        ask: &Ask,
        timeout_ms: u64,
    ) -> Result<(), ErrorView> {
        if self.probes.len() >= PROBES_MAX {
            let message = format!("{PROBES_MAX} probes are under way");
            return Err(refuse(ErrorKind::Unavailable, message, Some("try again in a few seconds")));
        }
        if !(1..=TIMEOUT_MS_MAX).contains(&timeout_ms) {
            let message = "a probe waits 1 ms to 5 s".to_owned();
            return Err(refuse(ErrorKind::Usage, message, None));
        }
        self.next_probe += 1;
        let number = self.next_probe;
        let (here, away): (Vec<MinionId>, Vec<MinionId>) =
            minions.into_iter().partition(|id| self.is_ready(id) && self.is_reachable(id));
        // A release that does not know the question could not even say so.
        let known = |id: &MinionId| !matches!(ask, Ask::Beacons { .. }) || self.can_conduct(id);
        let (asked, older): (Vec<MinionId>, Vec<MinionId>) = here.into_iter().partition(known);
        let seen = |id: MinionId| {
            let at = self.book.minions.get(&id).map(|it| it.seen_at).unwrap_or_default();
            (id, at)
        };
        let unreachable: Vec<_> = away.iter().cloned().map(seen).collect();
        let line = ProbeLine::Targets { asked: asked.clone(), unreachable };
        self.out.push(Effect::ProbeLine { ticket, line });
        for id in &asked {
            self.send(id, ToMinion::Probe { probe: number, ask: ask.clone() });
        }
        let no = |minion: MinionId| {
            let answer = json!({ "error": "its release is too old for this question: upgrade labminion" });
            ProbeAnswer { minion, round_trip_us: 0, answer }
        };
        let answers: Vec<ProbeAnswer> = older.into_iter().map(no).collect();
        for answer in &answers {
            self.out.push(Effect::ProbeLine { ticket, line: ProbeLine::Answer(answer.clone()) });
        }
        let folded = FoldedProbe { unreachable: away, answers, ..FoldedProbe::default() };
        let waiting: BTreeSet<MinionId> = asked.into_iter().collect();
        let nobody = waiting.is_empty();
        self.probes.insert(number, Probe { ticket, waiting, sent_us: self.micros(), folded });
        if nobody {
            self.end_probe(number);
        } else {
            self.wake_at(self.now.plus_ms(timeout_ms), Timer::Probe(number));
        }
        Ok(())
    }

    /// Only who was asked can answer, and once.
    pub(crate) fn answer(&mut self, minion: &MinionId, number: u64, answer: Value) {
        if self.rounds.contains_key(&number) {
            return self.answer_round(minion, number, answer);
        }
        let now_us = self.micros();
        let Some(probe) = self.probes.get_mut(&number) else {
            if !self.confirmed(minion, number) {
                self.count("answer to no probe");
            }
            return;
        };
        if !probe.waiting.remove(minion) {
            return self.count("answer of a minion that was not asked");
        }
        let round_trip_us = now_us.saturating_sub(probe.sent_us);
        let answer = ProbeAnswer { minion: minion.clone(), round_trip_us, answer };
        probe.folded.answers.push(answer.clone());
        let (ticket, done) = (probe.ticket, probe.waiting.is_empty());
        self.out.push(Effect::ProbeLine { ticket, line: ProbeLine::Answer(answer) });
        if done {
            self.end_probe(number);
        }
    }

    /// All have answered, or the time is up.
    pub(crate) fn end_probe(&mut self, number: u64) {
        let Some(mut probe) = self.probes.remove(&number) else { return };
        probe.folded.silent.extend(probe.waiting);
        let line = ProbeLine::Silent(probe.folded.silent.clone());
        self.out.push(Effect::ProbeLine { ticket: probe.ticket, line });
        self.reply(probe.ticket, Reply::Probed(probe.folded));
    }

    /// A removed minion does not keep a probe waiting: it is silent.
    pub(crate) fn forget_probes_of(&mut self, minion: &MinionId) {
        let mut over = Vec::new();
        for (number, probe) in &mut self.probes {
            if probe.waiting.remove(minion) {
                probe.folded.silent.push(minion.clone());
                if probe.waiting.is_empty() {
                    over.push(*number);
                }
            }
        }
        for number in over {
            self.end_probe(number);
        }
    }
}

#[cfg(test)]
mod tests;
