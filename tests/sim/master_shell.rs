//! The master's process: steps, transactions in groups, what waits for them, and its death between any two effects.

use crate::{
    check::{Batch, Contact},
    links::signed_request,
    nodes::{Room, Transaction},
    plan::more::{Feature, notifiers},
    tables::lazy_key,
    world::{Asking, Happening, Outcome, World},
};
use bus::message::{self, EnrollAnswer, ToMinion};
use master::core as mc;
use model::{ContentHash, JobId, MinionId, Reply, Request, Revision, TokenTerms};
use std::collections::BTreeMap;

/// Between two tries of a disk that is full.
const FULL_MS: u64 = 2_000;

impl World {
    pub(crate) fn master_start(&mut self) -> Outcome {
        if self.master.core.is_some() {
            return Ok(());
        }
        self.master.start(self.now);
        self.check.idle.end("it was dead", self.now);
        if let Some(core) = self.master.core.as_mut().filter(|_| self.features.contains(&Feature::Calls)) {
            core.use_notifiers(notifiers());
        }
        let revision = Revision(ContentHash([7; 32]));
        let rules = self.rules.clone();
        self.master_step(mc::Input::Sources { revision, rules })
    }

    pub(crate) fn master_tick(&mut self) -> Outcome {
        self.master.tick_at = None;
        if let Some(set) = self.master.news_of_clock(self.now) {
            self.master_step(mc::Input::Clock { set })?;
        }
        self.master_step(mc::Input::Tick)
    }

    pub(crate) fn master_step(&mut self, input: mc::Input) -> Outcome {
        let time = self.master.time(self.now);
        let Some(core) = &mut self.master.core else { return Ok(()) };
        self.check.note(|| format!("master hears {input:?}"));
        let effects = core.step(time, input);
        let wake = core.next_wake().map(|it| it.since_ms(time).max(1));
        let (mut rows, mut acts) = (Vec::new(), Vec::new());
        for effect in effects {
            match effect {
                mc::Effect::Record(entry) => rows.push(*entry),
                mc::Effect::Later(entry) => drop(self.master.lazy.insert(lazy_key(&entry), *entry)),
                mc::Effect::Compile { job, minion, .. } => {
                    let (generation, minion) = (self.master.generation, self.index(&minion));
                    let (wait, good) = (1 + self.dice.below(300), !self.dice.one_in(12));
                    self.at(wait, Happening::Compiled { generation, job, minion, good });
                }
                other => acts.push(other),
            }
        }
        if !rows.is_empty() {
            for row in &rows {
                self.master.lazy.remove(&lazy_key(row));
            }
            self.master.submitted += 1;
            let number = self.master.submitted;
            let rolls = |it: &mc::Entry| matches!(it, mc::Entry::Kept { part: mc::Part::Rolling, .. });
            let contact = if rows.iter().any(rolls) {
                self.master.contact(time, &self.minions)
            } else {
                Contact::default()
            };
            self.master.queue.push(Transaction { number, rows, contact });
            self.master.held.behind(Some(number));
            self.plan_commit();
        }
        self.master.held.extend(acts);
        if let Some(wake) = wake
            && self.master.tick_at.is_none_or(|it| self.now + wake < it)
        {
            self.master.tick_at = Some(self.now + wake);
            let generation = self.master.generation;
            self.at(wake, Happening::MasterTick(generation));
        }
        self.release()
    }

    fn plan_commit(&mut self) {
        if !std::mem::replace(&mut self.master.writing, true) {
            let wait = if self.trouble() { 1 + self.dice.below(30) } else { 5 };
            let generation = self.master.generation;
            self.at(wait, Happening::Commit(generation));
        }
    }

    /// All that waits becomes one transaction of the store.
    pub(crate) fn commit(&mut self) -> Outcome {
        self.master.writing = false;
        if self.dies() {
            self.crash_master();
            return Ok(());
        }
        if let Room::Full(left) = self.master.room {
            if !std::mem::replace(&mut self.master.told_full, true) {
                self.check.idle.begin("its disk was full", self.now);
                self.master_step(mc::Input::StoreHealth(Some("no space".to_owned())))?;
            }
            if left == 0 {
                self.master.writing = true;
                let generation = self.master.generation;
                self.at(FULL_MS, Happening::Commit(generation));
                return Ok(());
            }
            self.master.room = Room::Full(left - 1);
        }
        for it in std::mem::take(&mut self.master.queue) {
            self.write(&it.rows, it.contact)?;
            self.master.committed = it.number;
        }
        if self.dice.one_in(20) {
            for row in std::mem::take(&mut self.master.lazy).into_values() {
                self.write(&[row], Contact::default())?;
            }
        }
        if self.dies() {
            self.crash_master();
            return Ok(());
        }
        self.release()
    }

    fn write(&mut self, rows: &[mc::Entry], contact: Contact) -> Outcome {
        let mut batch = Batch { contact, ..Batch::default() };
        for row in rows {
            self.check.note(|| format!("on disk {row:?}"));
            batch.audit.extend(self.master.tables.write(row));
        }
        batch.entries = rows;
        self.check.committed(&batch, self.now)
    }

    /// The master's disk has room again, or none.
    pub(crate) fn fill_master(&mut self, room: Room) -> Outcome {
        self.master.room = room;
        if room == Room::Plenty && std::mem::take(&mut self.master.told_full) {
            self.check.idle.end("its disk was full", self.now);
            self.master_step(mc::Input::StoreHealth(None))?;
        }
        Ok(())
    }

    /// Does what waited for the disk, in order.
    fn release(&mut self) -> Outcome {
        while let Some(act) = self.master.held.next(self.master.committed) {
            if self.dies() {
                self.crash_master();
                return Ok(());
            }
            self.master_effect(act)?;
        }
        Ok(())
    }

    pub(crate) fn crash_master(&mut self) {
        if self.master.core.is_none() {
            return;
        }
        self.check.note(|| "master dies".to_owned());
        self.summary.master_crashes += 1;
        self.check.idle.end("its disk was full", self.now);
        self.check.idle.begin("it was dead", self.now);
        self.check.services.master_died(self.master.committed);
        self.master.die();
        let open: Vec<u64> = self.links.values().filter(|it| !it.cut).map(|it| it.epoch).collect();
        for it in open {
            self.cut(it);
        }
        if self.trouble() && self.dice.one_in(6) {
            self.master.machine.booted_at = self.now;
            self.master.machine.forget(self.now);
            self.check.idle.odd_clock = true;
        }
        for (_, asking) in std::mem::take(&mut self.asked) {
            self.at(3_000, Happening::Ask(asking));
        }
        let wait = 100 + self.dice.below(20_000);
        self.at(wait, Happening::MasterStart);
    }

    /// The operator puts the backup in the place of the store.
    pub(crate) fn restore(&mut self) {
        let Some((tables, view)) = self.backup.take() else { return };
        self.crash_master();
        self.check.note(|| "the backup is put back".to_owned());
        self.summary.restores += 1;
        self.master.tables = tables;
        self.check.go_back_to(view);
    }

    fn master_effect(&mut self, effect: mc::Effect) -> Outcome {
        self.check.note(|| format!("master does {effect:?}"));
        match effect {
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
                let offer = message::Offer {
                    job,
                    mode,
                    command,
                    full,
                    expires,
                    what,
                    recipe,
                    confirm_ms,
                    begun: None,
                };
                self.send_to_minion(&minion, &ToMinion::Offer(Box::new(offer)));
            }
            mc::Effect::Close { minion } => {
                let index = self.index(&minion);
                if let Some(epoch) = self.master.links.get(&index).map(|it| it.epoch) {
                    self.close(epoch);
                }
            }
            mc::Effect::Call { id, call } => self.call_service(id, &call)?,
            mc::Effect::Reply { ticket, reply } => self.replied(ticket, &reply)?,
            mc::Effect::Read { ticket, query } => {
                if let mc::Query::Job(text, _) = query
                    && let Ok(job) = text.parse::<JobId>()
                {
                    let job = self.master.tables.jobs.get(&job).cloned();
                    let job = job.ok_or_else(|| format!("the store has no job {text}"))?;
                    self.replied(ticket, &Reply::Submitted(Box::new(job)))?;
                }
            }
            mc::Effect::EnrollAnswer { fingerprint, answer } => {
                let of = |it: &crate::nodes::MinionNode| it.identity.public().fingerprint() == fingerprint;
                if let Some(index) = self.minions.iter().position(of)
                    && !(self.trouble() && self.dice.one_in(8))
                {
                    let (wait, life) = (1 + self.dice.below(200), self.minions[index].life);
                    self.at(wait, Happening::Answer { index, life, answer });
                }
            }
            _ => {}
        }
        Ok(())
    }

    pub(crate) fn index(&self, id: &MinionId) -> usize {
        self.minions.iter().position(|it| it.id == *id).expect("the core knows only these")
    }

    pub(crate) fn compiled(&mut self, job: JobId, minion: usize, good: bool) -> Outcome {
        let hash = ContentHash([1; 32]);
        let result = if good {
            Ok(mc::SealedRef { hash, size: 10, steps: 1, grants: Vec::new() })
        } else {
            Err(Vec::new())
        };
        let minion = self.minions[minion].id.clone();
        let revision = Revision(ContentHash([7; 32]));
        self.master_step(mc::Input::Compiled { job, minion, revision, result })
    }

    /// A machine asks to be a member, and asks again until it is.
    pub(crate) fn enroll(&mut self, index: usize) -> Outcome {
        let now = self.now;
        let node = &mut self.minions[index];
        if node.member || node.dead {
            return Ok(());
        }
        let request = message::EnrollRequest {
            minion: node.id.clone(),
            sign: node.identity.public().to_text(),
            seal: node.identity.seal_key().to_text(),
            version: "0.1.0".to_owned(),
            claims: BTreeMap::new(),
            token: None,
            image_sig: None,
        };
        let (fingerprint, sent_away) = (node.identity.public().fingerprint(), node.sent_away);
        let away = node.dark_until > now;
        let time = self.master.time(now);
        let request = signed_request(&self.minions[index].identity, &request, time);
        self.at(6_000, Happening::Enroll(index));
        if self.master.core.is_none() || away {
            return Ok(());
        }
        let request = Box::new(request.map_err(|it| format!("an honest request was refused: {it}"))?);
        let terms = if sent_away { Err(mc::TokenFault::Absent) } else { Ok(Box::new(terms())) };
        let address = format!("10.0.0.{index}");
        self.master_step(mc::Input::Enroll { fingerprint, request, terms, address })
    }

    pub(crate) fn answered(&mut self, index: usize, answer: &EnrollAnswer) {
        match answer {
            EnrollAnswer::Accepted { .. } => {
                let node = &mut self.minions[index];
                if !node.member && !node.dead {
                    (node.member, node.sent_away) = (true, false);
                    self.at(1, Happening::MinionStart(index));
                }
            }
            EnrollAnswer::Rejected { .. } if !self.minions[index].member => self.forget(index),
            EnrollAnswer::Rejected { .. } | EnrollAnswer::Pending { .. } => {}
        }
    }

    pub(crate) fn ask(&mut self, asking: Asking) -> Outcome {
        if self.master.core.is_none() {
            // The same again, as `labctl` does.
            self.at(3_000, Happening::Ask(asking));
            return Ok(());
        }
        self.number += 1;
        let ticket = self.number;
        let request = asking.request.clone();
        self.asked.insert(ticket, asking);
        self.master_step(ask(ticket, *request))
    }
}

fn terms() -> TokenTerms {
    TokenTerms {
        name: "sim".to_owned(),
        image_key: "image".to_owned(),
        ids: "m-*".to_owned(),
        labels: BTreeMap::new(),
        cidr: Vec::new(),
        not_before: model::Timestamp(0),
        expires: model::Timestamp(u64::MAX),
        uses: 64,
        replace: model::Replace::Never,
        retire_after_ms: None,
    }
}

pub(crate) fn ask(ticket: u64, request: Request) -> mc::Input {
    let caller = model::Caller::new("admin", "sim", "admin");
    let request = Box::new(request);
    mc::Input::Request { ticket: mc::Ticket(ticket), caller, request, random: [9; 16] }
}
