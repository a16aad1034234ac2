//! A minion's process: steps, its journal, the worker beside it, and its death between any two effects and in the middle
//! of a write.

use crate::{
    check::Start,
    nodes::{Worker, report},
    plan::more::{Feature, own_schedules},
    world::{Happening, Outcome, World},
};
use minion::{core as nc, daemon::give_up, journal::JournalError};
use model::JobId;
use std::collections::VecDeque;

/// After a removal, before it asks to be a member again.
const AFTER_REMOVAL_MS: u64 = 10_000;
/// After a message that was not believed.
const AFTER_TROUBLE_MS: u64 = 500;

/// Whether a write went well.
enum Written {
    Well,
    /// There was no room; what follows is in the effects.
    Full,
    /// The process died in the middle.
    Dead,
}

impl World {
    pub(crate) fn minion_start(&mut self, index: usize) -> Outcome {
        let node = &mut self.minions[index];
        if node.dead || node.core.is_some() {
            return Ok(());
        }
        if !node.member {
            return self.enroll(index);
        }
        match node.start(self.now) {
            Ok(entries) => {
                let (id, life) = (node.id.clone(), node.life);
                self.check.read_again(&id, life, &entries);
            }
            Err(failure) if failure.is_full() => {
                // The service manager starts it again.
                self.at(3_000, Happening::MinionStart(index));
                return Ok(());
            }
            Err(failure) => return Err(format!("minion {index}: {failure}")),
        }
        let wait = self.dice.below(2_000);
        self.at(wait, Happening::Connect(index));
        self.minion_step(index, nc::Input::Started)?;
        if !self.has(Feature::Schedules) {
            return Ok(());
        }
        let (id, list) = (self.minions[index].id.clone(), own_schedules());
        self.minion_step(index, nc::Input::Schedules { id, list })
    }

    pub(crate) fn minion_step(&mut self, index: usize, input: nc::Input) -> Outcome {
        let time = self.minions[index].time(self.now);
        let Some(core) = &mut self.minions[index].core else { return Ok(()) };
        self.check.note(|| format!("minion {index} hears {input:?}"));
        let mut effects = VecDeque::from(core.step(time, input));
        while let Some(effect) = effects.pop_front() {
            if self.dies() {
                self.crash_minion(index);
                return Ok(());
            }
            if let nc::Effect::Record(entry) = effect {
                let mut entries = vec![*entry];
                while let Some(nc::Effect::Record(_)) = effects.front() {
                    if let Some(nc::Effect::Record(entry)) = effects.pop_front() {
                        entries.push(*entry);
                    }
                }
                if let Written::Dead = self.write_journal(index, entries, &mut effects)? {
                    self.crash_minion(index);
                    return Ok(());
                }
            } else {
                self.minion_effect(index, effect)?;
                if self.minions[index].core.is_none() {
                    return Ok(());
                }
            }
        }
        if self.trouble() && self.dice.one_in(60) && !self.compact(index)? {
            self.crash_minion(index);
            return Ok(());
        }
        self.plan_minion_tick(index);
        Ok(())
    }

    fn plan_minion_tick(&mut self, index: usize) {
        let now = self.now;
        let node = &mut self.minions[index];
        let time = node.time(now);
        let wake = node.core.as_ref().and_then(nc::Minion::next_wake).map(|it| it.since_ms(time).max(1));
        if let Some(wake) = wake
            && node.tick_at.is_none_or(|it| now + wake < it)
        {
            node.tick_at = Some(now + wake);
            let generation = node.generation;
            self.at(wake, Happening::MinionTick(index, generation));
        }
    }

    fn write_journal(
        &mut self,
        index: usize,
        mut entries: Vec<nc::Entry>,
        effects: &mut VecDeque<nc::Effect>,
    ) -> Result<Written, String> {
        if self.dies() {
            let operations = self.dice.below(4);
            self.minions[index].disk.platter().fuse = Some(u32::try_from(operations).expect("small"));
        }
        self.check.note(|| format!("minion {index} writes {entries:?}"));
        let (time, now) = (self.minions[index].time(self.now), self.now);
        let node = &mut self.minions[index];
        let Some(journal) = &mut node.journal else { return Ok(Written::Dead) };
        match journal.append(&entries) {
            Ok(()) => {
                self.check.journalled(&node.id, node.life, &entries)?;
                if node.disk.platter().fuse.take().is_some_and(|left| left == 0) {
                    return Ok(Written::Dead);
                }
                if std::mem::take(&mut node.disk_full) {
                    journal.recovered();
                    let core = node.core.as_mut().ok_or("a process that writes has a core")?;
                    effects.extend(core.step(time, nc::Input::DiskGood));
                }
                Ok(Written::Well)
            }
            Err(failure) if failure.is_full() => {
                node.disk_full = true;
                self.check.own.had_no_room(&node.id);
                self.summary.full += 1;
                give_up(effects, &mut entries);
                let reason = failure.to_string();
                let core = node.core.as_mut().ok_or("a process that writes has a core")?;
                effects.extend(core.step(time, nc::Input::NotRecorded { entries, reason }));
                Ok(Written::Full)
            }
            Err(failure) => {
                self.check.note(|| format!("{now}: {failure}"));
                Ok(Written::Dead)
            }
        }
    }

    /// The journal is written anew, as it is once it has grown. Whether the process lives.
    fn compact(&mut self, index: usize) -> Result<bool, String> {
        let node = &mut self.minions[index];
        let (Some(core), Some(journal)) = (&node.core, &mut node.journal) else { return Ok(true) };
        if self.dice.one_in(8) {
            node.disk.platter().fuse = Some(u32::try_from(self.dice.below(2)).expect("small"));
        }
        match journal.compact(&core.snapshot()) {
            Err(failure) if failure.is_full() => Ok(true),
            Err(JournalError::Version { .. }) => Err("its own journal is another release's".to_owned()),
            written => {
                node.disk.platter().fuse = None;
                Ok(written.is_ok())
            }
        }
    }

    /// The process dies; in one of three cases the machine with it.
    pub(crate) fn crash_minion(&mut self, index: usize) {
        self.check.note(|| format!("minion {index} dies"));
        self.summary.minion_crashes += 1;
        let power = self.dice.one_in(3);
        self.end_process(index, power);
    }

    /// The machine boots anew, as a run wants it.
    pub(crate) fn boot_anew(&mut self, index: usize) {
        self.check.note(|| format!("minion {index} boots anew"));
        self.check.booted(&self.minions[index].id.clone());
        self.end_process(index, true);
    }

    fn end_process(&mut self, index: usize, power: bool) {
        let (no_clock, trouble) = (self.dice.one_in(3), self.trouble());
        let node = &mut self.minions[index];
        node.die();
        if power || node.dead {
            node.boot += 1;
            node.machine.booted_at = self.now;
            if no_clock && trouble {
                node.machine.forget(self.now);
            }
            let ended = node.worker.as_ref().is_some_and(|it| it.ends_at <= self.now);
            if !(ended && self.dice.one_in(2)) {
                node.lose_worker();
            }
            node.disk.platter().lose_power(&mut self.dice);
        }
        if let Some(epoch) = node.link.take() {
            self.cut(epoch);
        }
        let wait = 100 + self.dice.below(15_000);
        self.at(wait, Happening::MinionStart(index));
    }

    /// The agent begins anew in the same process: something was not believed.
    pub(crate) fn begin_again(&mut self, index: usize) {
        let node = &mut self.minions[index];
        node.die();
        if let Some(epoch) = node.link.take() {
            self.cut(epoch);
        }
        self.at(AFTER_TROUBLE_MS, Happening::MinionStart(index));
    }

    /// Not a member any more: the identity is dropped.
    pub(crate) fn forget(&mut self, index: usize) {
        self.check.note(|| format!("minion {index} forgets who it was"));
        let node = &mut self.minions[index];
        self.check.gone.insert((node.id.clone(), node.life));
        self.master.talkers.remove(&index);
        node.forget(index);
        if let Some(epoch) = node.link.take() {
            self.cut(epoch);
        }
        self.at(AFTER_REMOVAL_MS, Happening::Enroll(index));
    }

    fn minion_effect(&mut self, index: usize, effect: nc::Effect) -> Outcome {
        self.check.note(|| format!("minion {index} does {effect:?}"));
        let now = self.now;
        let node = &mut self.minions[index];
        match effect {
            nc::Effect::Later(entry) => {
                if let Some(journal) = &mut node.journal {
                    journal.later(&entry);
                }
            }
            nc::Effect::Send(message) => {
                if node.link.is_some() {
                    self.check.said(&node.id, node.life, &message)?;
                }
                self.send_to_master(index, &message);
            }
            nc::Effect::Start { offer, attempt, resume } => {
                self.begin(index, &offer, attempt, resume.as_ref().map(|it| it.step))?;
            }
            nc::Effect::Reboot { job, .. } => {
                self.check.reboots(job, &node.id)?;
                let generation = node.generation;
                let wait = 500 + self.dice.below(3_000);
                self.at(wait, Happening::Reboot { minion: index, generation });
            }
            nc::Effect::Due { job, name, slot, late_ms, missed } => {
                self.due(
                    index,
                    nc::Scheduled {
                        job,
                        name,
                        slot,
                        late_ms,
                        missed,
                        states: vec!["web".to_owned()],
                        offer: Err("its states do not compile".to_owned()),
                    },
                );
            }
            nc::Effect::Recover { job, .. } => {
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
            nc::Effect::Clean { job } => drop(node.worker.take_if(|it| it.job == job)),
            nc::Effect::Forget { .. } => self.forget(index),
            nc::Effect::Reconnect => {
                if let Some(epoch) = node.link {
                    self.cut(epoch);
                    self.at(0, Happening::MinionHearsEnd(epoch));
                }
            }
            nc::Effect::PutBack { job } => self.put_back(index, job),
            nc::Effect::Kill { job } if node.worker.as_ref().is_some_and(|it| it.job == job) => {
                self.kill_worker(index);
            }
            _ => {}
        }
        Ok(())
    }

    /// The shell gets the recipe of a slot, or says why there is none.
    fn due(&mut self, index: usize, mut due: nc::Scheduled) {
        // In the end it must come to rest.
        if !self.dice.one_in(15) && self.trouble() {
            due.offer = Ok(Box::new(bus::message::Offer {
                job: due.job,
                mode: model::Mode::Apply,
                command: false,
                full: false,
                expires: nc::NEVER,
                what: nc::what(&due.name),
                recipe: bus::message::SealedRecipe::Here { sealed: String::new() },
                confirm_ms: None,
                begun: None,
            }));
        }
        let (wait, generation) = (1 + self.dice.below(500), self.minions[index].generation);
        self.at(wait, Happening::Scheduled { minion: index, generation, scheduled: Box::new(due) });
    }

    fn begin(
        &mut self,
        index: usize,
        offer: &bus::message::Offer,
        attempt: u32,
        resume: Option<u32>,
    ) -> Outcome {
        let (now, job) = (self.now, offer.job);
        let (wait, lasts) = (1 + self.dice.below(100), self.dice.pick(&[20, 500, 30_000]));
        let lasts = 1 + self.dice.below(lasts);
        let (begins, talks) = (!self.dice.one_in(20), self.dice.one_in(2));
        let may_boot = self.has(Feature::Reboots) && !offer.command && offer.mode == model::Mode::Apply;
        let boots_at = (may_boot && self.dice.one_in(if resume.is_some() { 3 } else { 4 }))
            .then(|| resume.map_or(0, |it| it + 1));
        let node = &mut self.minions[index];
        let generation = node.generation;
        if !begins {
            let reason = "the recipe cannot be had".to_owned();
            let end = Box::new(nc::RunEnd::NotBegun { reason });
            self.at(wait, Happening::RunFails { minion: index, generation, job, end });
            return Ok(());
        }
        let busy = node.worker.as_ref().filter(|it| it.ends_at > now).map(|it| it.job);
        let start = Start {
            at: now,
            attempt,
            life: node.life,
            worker_life: node.worker_lives,
            busy,
            master_time: node.heard.map(|(time, at)| time + (now - at)),
            welcomed_at: node.welcomed_at,
            behind: resume,
            own: offer.expires == nc::NEVER,
        };
        let ends_at = now + lasts;
        node.worker =
            Some(Worker { job, ends_at, cancelled: false, mode: offer.mode, undoes: false, boots_at });
        let id = node.id.clone();
        self.check.started(job, &id, start)?;
        if talks {
            self.at(lasts / 2, Happening::Progress { minion: index, generation, job });
        }
        self.at(lasts, Happening::RunDone { minion: index, generation, job });
        Ok(())
    }

    pub(crate) fn progress(&mut self, index: usize, job: JobId) -> Outcome {
        let line = nc::RunLine::Started { index: 0, what: "step: test.nop".to_owned() };
        self.minion_step(index, nc::Input::Progress { job, of: 1, lines: vec![line] })
    }

    pub(crate) fn run_done(&mut self, index: usize, generation: u64, job: JobId) -> Outcome {
        let node = &self.minions[index];
        if node.generation != generation || node.core.is_none() {
            return Ok(());
        }
        let end = match &node.worker {
            Some(worker) if worker.job == job && worker.ends_at > self.now => return Ok(()),
            Some(Worker { boots_at: Some(step), cancelled: false, job: of, .. }) if *of == job => {
                nc::RunEnd::Reboot { step: *step, message: String::new() }
            }
            Some(worker) if worker.job == job => {
                let draw = u64::try_from(job.0 & 0xffff).expect("small") + index as u64;
                let report = Box::new(report(worker, draw));
                if !worker.undoes {
                    self.check.ran(job, &node.id, &report);
                }
                nc::RunEnd::Report { report, events: Vec::new() }
            }
            _ => nc::RunEnd::Lost { reason: "the worker is gone".to_owned() },
        };
        self.minion_step(index, nc::Input::RunEnded { job, end })
    }

    /// A worker puts back what a run altered.
    fn put_back(&mut self, index: usize, job: JobId) {
        let lasts = 1 + self.dice.below(500);
        let node = &mut self.minions[index];
        let (generation, ends_at) = (node.generation, self.now + lasts);
        let (mode, cancelled, undoes) = (model::Mode::Apply, false, true);
        node.worker = Some(Worker { job, ends_at, cancelled, mode, undoes, boots_at: None });
        self.at(lasts, Happening::RunDone { minion: index, generation, job });
    }

    /// The worker is killed, by the kernel or by hand.
    pub(crate) fn kill_worker(&mut self, index: usize) {
        let node = &mut self.minions[index];
        let Some(job) = node.worker.as_ref().filter(|it| it.ends_at > self.now).map(|it| it.job) else {
            return;
        };
        node.lose_worker();
        let generation = node.generation;
        self.at(1, Happening::RunDone { minion: index, generation, job });
    }

    /// What the minion saw on its machine.
    pub(crate) fn make_event(&mut self, index: usize) -> Outcome {
        let node = &mut self.minions[index];
        if node.core.is_none() {
            return Ok(());
        }
        node.events_made += 1;
        let mut data = serde_json::json!({"number": node.events_made, "life": node.life});
        if self.check.memory {
            data["on"] = (!self.dice.one_in(3)).into();
        }
        let tag = if self.dice.one_in(3) { "event/deploy" } else { "event/made" }.to_owned();
        self.minion_step(index, nc::Input::Event { tag, data })
    }
}
