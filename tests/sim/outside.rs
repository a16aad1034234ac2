//! What is outside of the lab: services that are called and do not always answer, and copies of machines.

use crate::{
    links::hello_of,
    world::{Happening, Outcome, World},
};
use lang::notifiers::Call;
use master::core as mc;
use model::{KeyStatus, MinionId};
use serde_json::Value;

impl World {
    /// The master calls a service, which hears of it or not, and is heard or not.
    pub(crate) fn call_service(&mut self, id: String, call: &Call) -> Outcome {
        let (calls, committed) = (&self.check.view.calls, self.master.committed);
        self.check.services.called(calls, &id, committed)?;
        let fate = if self.trouble() { self.dice.below(12) } else { 12 };
        if fate > 1 {
            let body = call.body.as_ref().and_then(|it| serde_json::from_str::<Value>(it.reveal()).ok());
            let event = body.and_then(|it| it["event"].as_u64()).ok_or("a call that is about no event")?;
            self.check.services.told(event);
        }
        let good = fate > 2;
        let answer = if good { "200" } else { "no answer" }.to_owned();
        let called = mc::Called { good, again: !good, answer, retry_after_ms: None };
        let (wait, generation) = (1 + self.dice.below(3_000), self.master.generation);
        self.at(wait, Happening::Called { generation, id, called });
        Ok(())
    }

    pub(crate) fn called(&mut self, id: &str, called: mc::Called) -> Outcome {
        let good = called.good;
        self.master_step(mc::Input::Called { id: id.to_owned(), called })?;
        let transaction = self.master.submitted;
        self.check.services.answered(id, good, transaction);
        Ok(())
    }

    /// A copy of a machine connects with its key.
    pub(crate) fn ghost(&mut self, index: usize) -> Outcome {
        let node = &self.minions[index];
        let fingerprint = node.identity.public().fingerprint();
        let accepted =
            self.master.tables.keys.get(&fingerprint).is_some_and(|it| it.status == KeyStatus::Accepted);
        if self.master.core.is_none() || node.dead || !accepted || !self.trouble() {
            return Ok(());
        }
        self.summary.ghosts += 1;
        self.check.copied.insert(node.id.clone());
        let epoch = self.open_link(index)?;
        let hello = hello_of("the copy", "machine-of-the-copy");
        self.send_on(index, epoch, &hello);
        Ok(())
    }

    /// A process says hello with a key: whether that proves that there are two machines.
    pub(crate) fn proves_two(&mut self, index: usize, instance: &str) -> bool {
        let now = self.now;
        let talkers = self.master.talkers.entry(index).or_default();
        let last = talkers.last().map(|it| it.0.clone());
        let known = talkers.iter().any(|it| it.0 == instance && now - it.1 < 500_000);
        talkers.retain(|it| it.0 != instance);
        talkers.push((instance.to_owned(), now));
        let copy = |it: &str| it == "the copy";
        last.is_some_and(|last| last != instance && known && (copy(&last) || copy(instance)))
    }

    /// Who is suspended is told nothing.
    pub(crate) fn is_suspended(&self, id: &MinionId) -> bool {
        let fingerprint = self.minions[self.index(id)].identity.public().fingerprint();
        let key = self.master.core.as_ref().and_then(|it| it.key(&fingerprint));
        key.is_some_and(|it| it.status == KeyStatus::Suspended)
    }
}
