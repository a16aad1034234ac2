//! What the core remembers over a restart, and the one place that alters it.

use super::{Entry, REMEMBER_MS, outbox::Outbox};
use bus::message::{JobResult, Offer};
use model::{ContentHash, JobId, Terminal, Timestamp};
use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, VecDeque};

/// Where a job stands here.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Held {
    Waiting(Box<Offer>),
    Running { offer: Box<Offer>, attempt: u32 },
    Ended(Box<JobResult>),
    Known { word: Terminal, at: Timestamp },
}

#[derive(Debug, Default, PartialEq)]
pub(super) struct Memory {
    pub(super) jobs: BTreeMap<JobId, Held>,
    pub(super) queue: VecDeque<JobId>,
    pub(super) running: Option<JobId>,
    pub(super) outbox: Outbox,
    pub(super) boot: Option<String>,
    pub(super) welcomed: Option<(String, ContentHash)>,
    pub(super) clock: Timestamp,
}

impl Memory {
    pub(super) fn remember(&mut self, entry: &Entry) {
        match entry {
            Entry::Received(offer) => {
                if let Slot::Vacant(slot) = self.jobs.entry(offer.job) {
                    slot.insert(Held::Waiting(offer.clone()));
                    self.queue.push_back(offer.job);
                }
            }
            Entry::Intent { job, attempt } => self.remember_intent(*job, *attempt),
            Entry::Ended(result) => {
                self.leave(result.job);
                self.jobs.insert(result.job, Held::Ended(result.clone()));
            }
            Entry::Known { job, word, at } => {
                self.leave(*job);
                self.jobs.insert(*job, Held::Known { word: *word, at: *at });
            }
            Entry::Event { number, tag, data, gap } => self.outbox.push(*number, tag, data, *gap),
            Entry::EventsTaken(number) => self.outbox.take(*number),
            Entry::Boot(boot) => self.boot = Some(boot.clone()),
            Entry::Welcomed { boot, grains } => self.welcomed = Some((boot.clone(), *grains)),
            Entry::Clock(at) => self.clock = self.clock.max(*at),
        }
    }

    fn remember_intent(&mut self, job: JobId, attempt: u32) {
        if let Some(Held::Waiting(offer) | Held::Running { offer, .. }) = self.jobs.get(&job) {
            let offer = offer.clone();
            self.queue.retain(|it| *it != job);
            self.jobs.insert(job, Held::Running { offer, attempt });
            self.running = Some(job);
        }
    }

    /// Takes a job out of the queue and from work.
    pub(super) fn leave(&mut self, job: JobId) {
        self.queue.retain(|it| *it != job);
        if self.running == Some(job) {
            self.running = None;
        }
    }

    /// Undoes an intent that could not be put on disk.
    pub(super) fn put_back(&mut self, job: JobId) {
        if let Some(Held::Running { offer, .. }) = self.jobs.get(&job) {
            let offer = offer.clone();
            self.jobs.insert(job, Held::Waiting(offer));
            self.running = None;
            self.queue.push_front(job);
        }
    }

    pub(super) fn waiting(&self) -> Vec<JobId> {
        self.queue.iter().copied().collect()
    }

    pub(super) fn unacknowledged(&self) -> Vec<JobId> {
        let ended = |(job, held): (&JobId, &Held)| matches!(held, Held::Ended(_)).then_some(*job);
        self.jobs.iter().filter_map(ended).collect()
    }

    pub(super) fn next_event(&self) -> u64 {
        self.outbox.next
    }

    pub(super) fn waiting_offer(&self, job: JobId) -> Option<&Offer> {
        match self.jobs.get(&job) {
            Some(Held::Waiting(offer)) => Some(offer),
            _ => None,
        }
    }

    /// Forgets what was acknowledged long ago.
    pub(super) fn prune(&mut self, now: Timestamp) {
        self.jobs.retain(|_, held| match held {
            Held::Known { at, .. } => now.since_ms(*at) < REMEMBER_MS,
            _ => true,
        });
    }

    /// Entries that make the same memory. Offers in order of the queue.
    pub(super) fn snapshot(&self) -> Vec<Entry> {
        let mut entries = vec![Entry::Clock(self.clock)];
        entries.extend(self.boot.clone().map(Entry::Boot));
        let welcomed = self.welcomed.clone();
        entries.extend(welcomed.map(|(boot, grains)| Entry::Welcomed { boot, grains }));
        for (job, held) in &self.jobs {
            match held {
                Held::Known { word, at } => {
                    entries.push(Entry::Known { job: *job, word: *word, at: *at });
                }
                Held::Ended(result) => entries.push(Entry::Ended(result.clone())),
                Held::Running { offer, attempt } => {
                    entries.push(Entry::Received(offer.clone()));
                    entries.push(Entry::Intent { job: *job, attempt: *attempt });
                }
                Held::Waiting(_) => {}
            }
        }
        for job in &self.queue {
            if let Some(Held::Waiting(offer)) = self.jobs.get(job) {
                entries.push(Entry::Received(offer.clone()));
            }
        }
        entries.extend(self.outbox.snapshot());
        entries
    }
}
