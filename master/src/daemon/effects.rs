//! One step and what follows from it: records first, the rest when they are on disk, in order.

use super::compile::{self, Task};
use super::hooks::{NewSecret, keep_secret};
use super::{Act, Daemon, Incoming, Outside, SEALED_MAX, clock};
use crate::core::{Effect, Entry, Input, Query, SealedRef, Ticket};
use crate::store::{GcReport, Keep, Row};
use bus::message::{Offer, RECIPE_HERE_MAX, SealedRecipe, ToMinion};
use model::api::{ErrorKind, ErrorView};
use model::{Event, JobId, KeyStatus, Masked, MinionId, Reply, Token, TokenTerms};
use std::sync::Arc;
use tracing::{error, warn};

impl<O: Outside> Daemon<O> {
    /// Takes one input in. `sealed` is ciphertext that is stored if the core records where it lies.
    pub(super) fn step(&mut self, input: Input, sealed: Option<(JobId, MinionId, Arc<[u8]>)>) {
        self.master.set_micros(clock::micros());
        let effects = self.master.step(clock::now(), input);
        let mut rows = Vec::new();
        let mut later = Vec::new();
        let mut acts = Vec::new();
        for effect in effects {
            match effect {
                Effect::Record(entry) => {
                    if concerns_register(&entry) {
                        acts.push(Act::Learn(entry.clone()));
                    }
                    rows.push(Row::Entry(entry));
                }
                Effect::Later(entry) => later.push(Row::Entry(entry)),
                Effect::Compile { job, minion, kind, asked } => {
                    self.compile(Task::Recipe { job, minion, kind, asked });
                }
                Effect::CompileView { ticket, minions, states, asked } => {
                    self.compile(Task::View(ticket, minions, states, asked));
                }
                Effect::PillarView { ticket, minions, asked } => {
                    self.compile(Task::Pillar(ticket, minions, asked));
                }
                Effect::Assign { minion } => self.compile(Task::Assigned(minion)),
                Effect::Conduct { minion, asked } => self.compile(Task::Conduct(minion, asked)),
                Effect::MakeSeed { ticket, terms, made_by } => {
                    let reply = self.make_seed(*terms, made_by, &mut rows);
                    acts.push(Act::Answer(ticket, Box::new(reply)));
                }
                other => acts.push(Act::Do(Box::new(other))),
            }
        }
        if let Some((job, minion, bytes)) = sealed {
            self.keep_sealed(job, minion, bytes, &mut rows);
        }
        self.write(rows, later);
        self.held.extend(acts);
        self.begin_compiles();
        self.release();
    }
    fn write(&mut self, rows: Vec<Row>, later: Vec<Row>) {
        if !rows.is_empty() {
            // If it was not taken, what follows never leaves, and the process ends.
            self.held.behind(self.store.commit(rows));
        }
        if !later.is_empty() && !self.store.later(later) {
            warn!("the store takes no more lazy rows");
        }
    }
    /// Does what waited for the disk, in order.
    pub(super) fn release(&mut self) {
        let done = *self.store.committed().borrow();
        while let Some(act) = self.held.next(done) {
            match act {
                Act::Learn(entry) => self.learn(&entry),
                Act::Do(effect) => self.perform(*effect),
                Act::Answer(ticket, reply) => self.tickets.reply(ticket, *reply),
            }
        }
    }
    /// One more compile; what is too much is answered as one that failed.
    fn compile(&mut self, task: Task) {
        let Some(task) = self.pool.push(task) else { return };
        let revision = self.generation.as_ref().map(|it| it.revision);
        let message = format!("more than {} compiles wait: try again later", compile::QUEUE_MAX);
        error!(message);
        let (done, loopback) = (task.failed(revision, message), self.loopback.clone());
        tokio::spawn(async move {
            let _ = loopback.send(Incoming::NotCompiled(done)).await;
        });
    }
    /// Begins compiles while there are threads for them.
    pub(super) fn begin_compiles(&mut self) {
        while let Some(task) = self.pool.begin() {
            let prepared = compile::prepare(task, &self.master, self.generation.as_ref());
            let loopback = self.loopback.clone();
            let fallback = prepared.fallback();
            tokio::spawn(async move {
                let done = tokio::task::spawn_blocking(move || prepared.run()).await.unwrap_or_else(|bug| {
                    error!(%bug, "a compile ended in a bug");
                    fallback
                });
                let _ = loopback.send(Incoming::Compiled(done)).await;
            });
        }
    }
    fn learn(&self, entry: &Entry) {
        self.register.learn(entry);
        if let Entry::Key(key) = entry
            && matches!(key.status, KeyStatus::Rejected | KeyStatus::Revoked)
        {
            self.outside.close_key(&key.fingerprint);
        }
    }
    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Send { minion, message } => self.outside.send(&minion, &message),
            Effect::Offer { .. } => self.offer(effect),
            Effect::Close { minion } => self.outside.close(&minion),
            Effect::Read { ticket, query } => self.read(ticket, query),
            Effect::Reply { ticket, reply } => self.reply(ticket, *reply),
            Effect::ProbeLine { ticket, line } => self.tickets.probe_line(ticket, line),
            Effect::JobLine { job, line } => self.tickets.job_line(job, &line),
            Effect::Event(event) => self.event(*event),
            Effect::Publish { topic, payload, retain } => {
                // First: who subscribes in between gets it twice rather than never.
                if retain {
                    self.register.retain(&topic, &payload);
                }
                self.outside.publish(&topic, &payload);
            }
            Effect::EnrollAnswer { fingerprint, answer } => self.outside.enroll_answer(&fingerprint, &answer),
            Effect::Call { id, call } => self.call(id, *call),
            Effect::Tell { id, topic, payload } => self.tell(id, &topic, &payload),
            Effect::TestTell { ticket, topic, payload } => self.test_tell(ticket, &topic, &payload),
            Effect::TestCall { ticket, call } => self.test_call(ticket, *call),
            Effect::Wake { macs } => Self::wake(&macs),
            Effect::Gc { ticket, keep_ms } => self.gc(ticket, keep_ms),
            Effect::KeepMasters { ticket, text } => self.keep_masters(ticket, text),
            Effect::KeepHookSecret { ticket, hook, recipe, secret, alone } => {
                let new = NewSecret { hook, recipe, secret, alone };
                keep_secret(&self.hook_files, &self.register, self.loopback.clone(), ticket, new);
            }
            // Taken apart in `step`.
            Effect::Record(_)
            | Effect::Later(_)
            | Effect::Compile { .. }
            | Effect::CompileView { .. }
            | Effect::PillarView { .. }
            | Effect::Assign { .. }
            | Effect::Conduct { .. }
            | Effect::MakeSeed { .. } => {}
        }
    }
    fn reply(&mut self, ticket: Ticket, mut reply: Reply) {
        if let Reply::Status(status) = &mut reply {
            status.store_bytes = self.store.reader().bytes();
            self.outside.fill(status);
        }
        self.tickets.reply(ticket, reply);
    }
    fn read(&self, ticket: Ticket, query: Query) {
        let (reader, loopback) = (self.store.reader(), self.loopback.clone());
        tokio::spawn(async move {
            if let Ok(reply) = tokio::task::spawn_blocking(move || reader.answer(&query)).await {
                let _ = loopback.send(Incoming::Answer(ticket, Box::new(reply))).await;
            }
        });
    }
    fn event(&self, event: Event) {
        if self.outside.is_observed() {
            let payload = serde_json::to_string(&event).expect("an event has text keys only");
            self.outside.publish(&format!("lab/event/{}", event.tag), &payload);
        }
        // Nobody listens: fine.
        let _ = self.events.send(Arc::new(event));
    }
    fn gc(&self, ticket: Option<Ticket>, keep_ms: Option<u64>) {
        let keep = Keep { age_ms: keep_ms.unwrap_or(self.keep.age_ms), bytes: self.keep.bytes };
        let done = self.store.gc(keep, clock::now());
        let Some(ticket) = ticket else { return };
        let loopback = self.loopback.clone();
        tokio::spawn(async move {
            let reply = match done.await {
                Ok(report) => Reply::Done(told(&report)),
                Err(_) => super::unavailable("the store is stopping".into()),
            };
            let _ = loopback.send(Incoming::Answer(ticket, Box::new(reply))).await;
        });
    }
    fn keep_masters(&self, ticket: Ticket, text: String) {
        let (path, loopback) = (self.masters_path.clone(), self.loopback.clone());
        tokio::spawn(async move {
            let kept = text.clone();
            let write = move || crate::init::write_whole(&path, kept.as_bytes());
            let failure = match tokio::task::spawn_blocking(write).await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(format!("the list of masters cannot be kept: {error}")),
                Err(bug) => Some(format!("the list of masters cannot be kept: {bug}")),
            };
            let _ = loopback.send(Incoming::MastersKept(ticket, text, failure)).await;
        });
    }
    fn offer(&mut self, effect: Effect) {
        let Effect::Offer { minion, job, mode, command, full, expires, what, recipe, confirm_ms } = effect
        else {
            return;
        };
        let Some(recipe) = self.sealed_recipe(job, &minion, &recipe) else {
            warn!(%job, %minion, "the recipe of an offer is not in the store any more");
            return;
        };
        let offer = Offer { job, mode, command, full, expires, what, recipe, confirm_ms, begun: None };
        self.outside.send(&minion, &ToMinion::Offer(Box::new(offer)));
    }
    fn sealed_recipe(&mut self, job: JobId, minion: &MinionId, place: &SealedRef) -> Option<SealedRecipe> {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
        let SealedRef { hash, size, .. } = *place;
        let at = self.sealed.iter().position(|(it, whose, _)| *it == job && whose == minion);
        let cached = at.and_then(|at| self.sealed.remove(at));
        if size > RECIPE_HERE_MAX as u64 {
            return Some(SealedRecipe::Fetch { hash, size });
        }
        let sealed = match cached {
            Some((_, _, bytes)) => URL_SAFE_NO_PAD.encode(&bytes),
            None => URL_SAFE_NO_PAD.encode(self.store.reader().sealed(job, minion)?),
        };
        Some(SealedRecipe::Here { sealed })
    }
    fn keep_sealed(&mut self, job: JobId, minion: MinionId, bytes: Arc<[u8]>, rows: &mut Vec<Row>) {
        let wanted = |row: &Row| {
            let Row::Entry(entry) = row else { return false };
            matches!(&**entry, Entry::Recipe(it, whose, _) if *it == job && *whose == minion)
        };
        let Some(at) = rows.iter().position(wanted) else { return };
        rows.insert(at, Row::Sealed { job, minion: minion.clone(), bytes: Arc::clone(&bytes) });
        self.sealed.push_back((job, minion, bytes));
        if self.sealed.len() > SEALED_MAX {
            self.sealed.pop_front();
        }
    }
    fn make_seed(&mut self, mut terms: TokenTerms, made_by: String, rows: &mut Vec<Row>) -> Reply {
        match self.outside.seed(&mut terms) {
            Ok(seed) => {
                let entry = Entry::Token(Token { terms, used_by: Vec::new(), revoked: false, made_by });
                self.master.remember(&entry);
                rows.push(Row::Entry(Box::new(entry)));
                Reply::Seed(Masked(seed))
            }
            Err(message) => {
                let hint = Some("labmaster init".into());
                let kind = ErrorKind::Unavailable;
                Reply::Error(ErrorView { kind, message, hint, diagnostics: Vec::new() })
            }
        }
    }
}

fn concerns_register(entry: &Entry) -> bool {
    matches!(
        entry,
        Entry::Key(_)
            | Entry::KeyGone(_)
            | Entry::Observer(_)
            | Entry::ObserverGone(_)
            | Entry::Operator(_)
            | Entry::OperatorGone(_)
            | Entry::Job(_)
            | Entry::Recipe(..)
            | Entry::Target(_)
    )
}

fn told(report: &GcReport) -> Vec<String> {
    let GcReport { jobs, events, audit, bytes } = report;
    let mib = bytes / (1024 * 1024);
    let kib = bytes / 1024;
    let size = if mib > 0 { format!("{mib} MiB") } else { format!("{kib} KiB") };
    vec![format!(
        "deleted {jobs} jobs, {events} events and decisions, {audit} audit lines; the store holds {size}"
    )]
}
