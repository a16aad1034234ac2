//! Processes of a world: their steps, what they ask for, and their deaths between two effects.

use crate::{
    check::Start,
    link::Ends,
    nodes::{Worker, report},
    world::{Happening, Outcome, World},
};
use bus::{ToMinion, message};
use master::core as mc;
use minion::core as nc;
use model::{JobId, Reply, Timestamp};

impl World {
    pub(crate) fn dies(&mut self) -> bool {
        self.trouble() && self.dice.one_in(300)
    }

    pub(crate) fn master_step(&mut self, input: mc::Input) -> Outcome {
        let Some(core) = &mut self.master.core else { return Ok(()) };
        let effects = core.step(Timestamp(self.now), input);
        self.check.note(&format!("{} {effects:?}", self.now));
        let is_record = |it: &mc::Effect| matches!(it, mc::Effect::Record(_));
        let records = effects.iter().take_while(|it| is_record(it)).count();
        if effects.iter().skip(records).any(is_record) {
            return Err("a record comes behind something that must wait for it".to_owned());
        }
        for (index, effect) in effects.into_iter().enumerate() {
            // All records of one step are one transaction.
            if (index == 0 || index >= records) && self.dies() {
                self.crash_master();
                return Ok(());
            }
            self.master_effect(effect)?;
        }
        let wake = self.master.core.as_ref().and_then(mc::Master::next_wake).map(|it| it.0.max(self.now + 1));
        if let Some(wake) = wake
            && self.master.tick_at.is_none_or(|it| wake < it)
        {
            self.master.tick_at = Some(wake);
            self.at(wake - self.now, Happening::MasterTick);
        }
        Ok(())
    }

    pub(crate) fn crash_master(&mut self) {
        self.summary.master_crashes += 1;
        self.master.core = None;
        self.master.links.clear();
        let open: Vec<u64> = self.links.values().filter(|it| !it.cut).map(|it| it.epoch).collect();
        for it in open {
            self.cut(it);
        }
        let wait = 100 + self.dice.below(20_000);
        self.at(wait, Happening::MasterStart);
    }

    pub(crate) fn master_effect(&mut self, effect: mc::Effect) -> Outcome {
        match effect {
            mc::Effect::Record(entry) => {
                self.check.synced(&entry)?;
                if let mc::Entry::MinionGone(id) = &*entry {
                    self.removed.insert(id.clone());
                }
                self.master.disk.push(*entry);
            }
            mc::Effect::Later(entry) => self.master.lazy.push(*entry),
            mc::Effect::Send { minion, message } => {
                if let ToMinion::Ack { jobs, .. } = &*message {
                    for job in jobs {
                        self.check.acknowledged(*job, &minion)?;
                    }
                }
                self.send_to_minion(&minion, &message);
            }
            mc::Effect::Offer { minion, job, mode, command, full, expires, what, confirm_ms, .. } => {
                let recipe = message::SealedRecipe::Here { sealed: String::new() };
                let offer = message::Offer { job, mode, command, full, expires, what, recipe, confirm_ms };
                self.send_to_minion(&minion, &ToMinion::Offer(Box::new(offer)));
            }
            mc::Effect::Close { minion } => {
                let index = self.index(&minion);
                if let Some(epoch) = self.master.links.get(&index).map(|it| it.epoch) {
                    self.cut(epoch);
                }
            }
            mc::Effect::Compile { job, minion, .. } => {
                let (generation, minion) = (self.master.generation, self.index(&minion));
                let (wait, good) = (1 + self.dice.below(300), !self.dice.one_in(12));
                self.at(wait, Happening::Compiled { generation, job, minion, good });
            }
            mc::Effect::Reply { reply, .. } => {
                if let Reply::Submitted(job) = *reply {
                    self.check.replied(&job)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    pub(crate) fn index(&self, id: &model::MinionId) -> usize {
        self.minions.iter().position(|it| it.id == *id).expect("the core knows only these")
    }

    pub(crate) fn send_to_minion(&mut self, id: &model::MinionId, message: &ToMinion) {
        let (index, delay) = (self.index(id), self.delay());
        let Some(end) = self.master.links.get_mut(&index) else { return };
        let node = &self.minions[index];
        let ends = Ends { id: &node.id, minion: &node.identity, master: &self.identity };
        let bytes = end.seal(&ends, Timestamp(self.now), message);
        let Some(link) = self.links.get_mut(&end.epoch).filter(|it| !it.cut) else { return };
        link.arrives_at_minion = link.arrives_at_minion.max(self.now + delay);
        let (wait, epoch) = (link.arrives_at_minion - self.now, link.epoch);
        self.at(wait, Happening::ToMinion(epoch, bytes));
    }

    pub(crate) fn overhear(&mut self, bytes: &[u8]) {
        if self.heard.len() < 64 && self.dice.one_in(4) {
            self.heard.push(bytes.to_vec());
        }
    }

    pub(crate) fn minion_step(&mut self, index: usize, input: nc::Input) -> Outcome {
        let clock = self.minions[index].clock(self.now);
        let Some(core) = &mut self.minions[index].core else { return Ok(()) };
        let effects = core.step(clock, input);
        self.check.note(&format!("{} {index} {effects:?}", self.now));
        for effect in effects {
            if self.dies() {
                self.crash_minion(index);
                return Ok(());
            }
            self.minion_effect(index, effect)?;
        }
        let node = &self.minions[index];
        let wake = node.core.as_ref().and_then(nc::Minion::next_wake);
        let wake = wake.map(|it| it.0.saturating_add_signed(-node.clock_off).max(self.now + 1));
        if let Some(wake) = wake
            && node.tick_at.is_none_or(|it| wake < it)
        {
            self.minions[index].tick_at = Some(wake);
            self.at(wake - self.now, Happening::MinionTick(index));
        }
        Ok(())
    }

    /// The process dies; in one of three cases the machine with it.
    pub(crate) fn crash_minion(&mut self, index: usize) {
        self.summary.minion_crashes += 1;
        let reboot = self.dice.one_in(3);
        let node = &mut self.minions[index];
        node.core = None;
        if reboot || node.gone {
            node.boot += 1;
            node.worker = None;
        }
        if let Some(epoch) = node.link.take() {
            self.cut(epoch);
        }
        let wait = 100 + self.dice.below(15_000);
        self.at(wait, Happening::MinionStart(index));
    }

    pub(crate) fn minion_effect(&mut self, index: usize, effect: nc::Effect) -> Outcome {
        let now = self.now;
        let node = &mut self.minions[index];
        match effect {
            nc::Effect::Record(entry) => {
                let lazy = std::mem::take(&mut node.lazy);
                node.disk.extend(lazy);
                if let nc::Entry::Event { tag, data, .. } = &*entry
                    && tag == "event/made"
                {
                    let number = data["number"].as_u64().unwrap_or_default();
                    self.check.made.insert((node.id.clone(), number));
                }
                node.disk.push(*entry);
            }
            nc::Effect::Later(entry) => node.lazy.push(*entry),
            nc::Effect::Send(message) => {
                let delay = self.delay();
                let node = &self.minions[index];
                let Some(link) = node.link.and_then(|it| self.links.get_mut(&it)) else { return Ok(()) };
                let ends = Ends { id: &node.id, minion: &node.identity, master: &self.identity };
                let bytes = link.seal_from_minion(&ends, node.clock(now).0, &message);
                link.arrives_at_master = link.arrives_at_master.max(now + delay);
                let (wait, epoch) = (link.arrives_at_master - now, link.epoch);
                self.at(wait, Happening::ToMaster(epoch, bytes));
            }
            nc::Effect::Start { offer, attempt, .. } => {
                let start = Start { at: now, attempt, boot: node.boot };
                let (id, generation, job) = (node.id.clone(), node.generation, offer.job);
                let lasts = [20, 500, 30_000][self.dice.index(3)];
                let ends_at = now + 1 + self.dice.below(lasts);
                let worker = Worker { job, ends_at, cancelled: false, check: offer.mode };
                self.minions[index].worker = Some(worker);
                self.check.started(job, &id, start)?;
                self.at(ends_at - now, Happening::RunDone { minion: index, generation, job });
            }
            nc::Effect::Recover { job } => {
                let ends_at = node.worker.as_ref().filter(|it| it.job == job).map_or(now, |it| it.ends_at);
                let generation = node.generation;
                let wait = ends_at.max(now + 1) - now;
                self.at(wait, Happening::RunDone { minion: index, generation, job });
            }
            nc::Effect::Cancel { job } => {
                let generation = node.generation;
                if let Some(worker) = node.worker.as_mut().filter(|it| it.job == job && it.ends_at > now) {
                    worker.cancelled = true;
                    worker.ends_at = now + 50;
                    self.at(50, Happening::RunDone { minion: index, generation, job });
                }
            }
            nc::Effect::Clean { job } => {
                node.worker.take_if(|it| it.job == job);
            }
            nc::Effect::Forget { .. } => {
                node.gone = true;
                self.crash_minion(index);
            }
            _ => {}
        }
        Ok(())
    }

    pub(crate) fn run_done(&mut self, index: usize, generation: u64, job: JobId) -> Outcome {
        let node = &self.minions[index];
        if node.generation != generation || node.core.is_none() {
            return Ok(());
        }
        let end = match &node.worker {
            Some(worker) if worker.job == job && worker.ends_at > self.now => return Ok(()),
            Some(worker) if worker.job == job => {
                let draw = u64::try_from(job.0 & 0xffff).expect("small") + index as u64;
                nc::RunEnd::Report { report: Box::new(report(worker, draw)), events: Vec::new() }
            }
            _ => nc::RunEnd::Lost { reason: "the worker is gone".to_owned() },
        };
        self.minion_step(index, nc::Input::RunEnded { job, end })
    }
}
