//! Operators: they ask again when they hear nothing, cancel twice, retry, send machines away and let them in again.

use crate::{
    master_shell::ask,
    world::{Asking, Happening, Outcome, World},
};
use model::{KeyDecision, KeyStatus, Reply, Request};

/// How often a question is asked again.
const TRIES_MAX: u32 = 4;
/// Between two looks at keys that wait.
const LOOK_MS: u64 = 15_000;

impl World {
    /// Somebody hears an answer, or not.
    pub(crate) fn replied(&mut self, ticket: master::core::Ticket, reply: &Reply) -> Outcome {
        let Some(asking) = self.asked.remove(&ticket.0) else { return Ok(()) };
        match (&*asking.request, reply) {
            (_, Reply::Submitted(job)) => self.check.replied(job)?,
            (Request::Submit { job, .. }, Reply::Error(error)) if self.check.is_accepted(*job) => {
                return Err(format!("job {job} is accepted, and asking again was refused: {error:?}"));
            }
            (Request::Cancel { job }, Reply::Done(_)) => self.check.cancelled(job, self.now),
            _ => {}
        }
        let again = self.trouble() && self.dice.one_in(8) && asking.tries < TRIES_MAX;
        if again {
            let wait = 500 + self.dice.below(10_000);
            self.at(wait, Happening::Ask(Asking { tries: asking.tries + 1, ..asking }));
        }
        Ok(())
    }

    /// An operator decides about keys that wait.
    pub(crate) fn look_at_keys(&mut self) -> Outcome {
        self.at(LOOK_MS, Happening::LookAtKeys);
        let Some(core) = &self.master.core else { return Ok(()) };
        let waits = |it: &&model::Key| {
            matches!(it.status, KeyStatus::Pending | KeyStatus::Conflict | KeyStatus::Suspended)
        };
        let waiting: Vec<_> = core.keys().filter(waits).map(|it| it.fingerprint.clone()).collect();
        for fingerprint in waiting {
            if self.trouble() && self.dice.one_in(2) {
                continue;
            }
            let key = fingerprint.as_str().to_owned();
            let decision = KeyDecision::Accept;
            let request = Request::DecideKey { key, fingerprint: Some(fingerprint), decision };
            self.ask(Asking::of(request))?;
        }
        Ok(())
    }

    /// Whether a target that has no end shows lost contact.
    pub(crate) fn shows_lost_contact(
        &mut self,
        job: model::JobId,
        minion: &model::MinionId,
    ) -> Result<bool, String> {
        let time = self.master.time(self.now);
        let core = self.master.core.as_mut().ok_or("the master did not come back")?;
        let effects = core.step(time, ask(0, Request::Job { job: job.to_string() }));
        Ok(effects.iter().any(|it| {
            matches!(it, master::core::Effect::Reply { reply, .. } if matches!(&**reply, Reply::Job(view)
                if view.targets.iter().any(|it| it.minion == *minion && it.lost.is_some())))
        }))
    }
}
