//! What the core remembers over a restart, and the one place that alters it.

use super::{Entry, REMEMBER_MS, Resume, outbox::Outbox};
use bus::message::{Begun, JobResult, Offer};
use model::{ContentHash, JobId, Terminal, Timestamp, broken};
use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, VecDeque};

/// Schedules whose last slot is remembered.
const SLOTS_MAX: usize = 256;

/// Where a job stands here.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Held {
    Waiting(Box<Offer>),
    Running { offer: Box<Offer>, attempt: u32 },
    Ended(Box<JobResult>),
    Known { word: Terminal, at: Timestamp },
}

/// The machine is to boot anew.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rebooting {
    pub(super) step: u32,
    pub(super) boot: String,
    pub(super) at: Timestamp,
    pub(super) message: String,
}

/// A run with a way back is over.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Unconfirmed {
    pub(super) result: Box<JobResult>,
    pub(super) until: Timestamp,
    /// The attempt to put back what it altered.
    pub(super) undoing: Option<u32>,
}

/// How far the run at work has come.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Course {
    /// How often the machine booted anew for it.
    pub(super) reboots: u32,
    pub(super) resume: Option<Resume>,
    pub(super) rebooting: Option<Rebooting>,
    pub(super) unconfirmed: Option<Unconfirmed>,
}

impl Course {
    /// The clock was set forward: no time has passed by that.
    pub(super) fn set_forward(&mut self, ms: u64) {
        if let Some(it) = &mut self.rebooting {
            it.at = it.at.plus_ms(ms);
        }
        if let Some(it) = &mut self.unconfirmed {
            it.until = it.until.plus_ms(ms);
        }
    }

    /// Entries that say anew what [`Self::set_forward`] has moved.
    pub(super) fn moved(&self, job: JobId) -> Vec<Entry> {
        let waits = self.unconfirmed.iter().filter(|it| it.undoing.is_none());
        let over = waits.map(|it| Entry::Unconfirmed { result: it.result.clone(), until: it.until });
        self.rebooting(job).chain(over).collect()
    }

    fn rebooting(&self, job: JobId) -> impl Iterator<Item = Entry> {
        self.rebooting.iter().map(move |it| Entry::Rebooting {
            job,
            step: it.step,
            boot: it.boot.clone(),
            at: it.at,
            message: it.message.clone(),
        })
    }

    fn snapshot(&self, job: JobId, attempt: u32) -> Vec<Entry> {
        // One entry for each reboot, so that they are counted.
        let resumed = self.resume.iter().flat_map(|it| {
            let entry = Entry::Resumed { job, attempt, resume: it.clone() };
            std::iter::repeat_n(entry, self.reboots as usize)
        });
        let over = self.unconfirmed.iter().flat_map(|it| {
            let entry = Entry::Unconfirmed { result: it.result.clone(), until: it.until };
            let undoing = it.undoing.map(|attempt| Entry::Undoing { job, attempt });
            std::iter::once(entry).chain(undoing)
        });
        resumed.chain(self.rebooting(job)).chain(over).collect()
    }
}

#[derive(Debug, PartialEq)]
pub(super) struct Memory {
    pub(super) jobs: BTreeMap<JobId, Held>,
    pub(super) queue: VecDeque<JobId>,
    pub(super) running: Option<JobId>,
    pub(super) outbox: Outbox,
    pub(super) boot: Option<String>,
    pub(super) welcomed: Option<(String, ContentHash)>,
    pub(super) clock: Timestamp,
    pub(super) course: Course,
    /// Of each schedule what its slots go by, and until when they have had their turn.
    pub(super) slots: BTreeMap<String, (String, Timestamp)>,
}

impl Memory {
    /// With an outbox of at most so many bytes.
    pub(super) fn bounded(outbox_bytes: usize) -> Self {
        Self {
            jobs: BTreeMap::new(),
            queue: VecDeque::new(),
            running: None,
            outbox: Outbox::bounded(outbox_bytes),
            boot: None,
            welcomed: None,
            clock: Timestamp(0),
            course: Course::default(),
            slots: BTreeMap::new(),
        }
    }

    pub(super) fn remember(&mut self, entry: &Entry) {
        match entry {
            Entry::Received(offer) => {
                if broken::leaves_out("job-memory") {
                    self.jobs.remove(&offer.job);
                }
                if let Slot::Vacant(slot) = self.jobs.entry(offer.job) {
                    slot.insert(Held::Waiting(offer.clone()));
                    self.queue.push_back(offer.job);
                }
            }
            Entry::Intent { job, attempt } => self.remember_intent(*job, *attempt),
            Entry::Rebooting { job, step, boot, at, message } if self.running == Some(*job) => {
                // A machine without a clock of its own begins with the latest time on record: the limit counts from here.
                self.clock = self.clock.max(*at);
                let (step, boot, at, message) = (*step, boot.clone(), *at, message.clone());
                self.course.rebooting = Some(Rebooting { step, boot, at, message });
            }
            Entry::Resumed { job, attempt, resume } if self.running == Some(*job) => {
                self.course.rebooting = None;
                self.course.resume = Some(resume.clone());
                self.course.reboots += 1;
                self.remember_intent(*job, *attempt);
            }
            Entry::Unconfirmed { result, until } if self.running == Some(result.job) => {
                self.clock = self.clock.max(result.at);
                let unconfirmed = Unconfirmed { result: result.clone(), until: *until, undoing: None };
                self.course.unconfirmed = Some(unconfirmed);
            }
            Entry::Undoing { job, attempt } if self.running == Some(*job) => {
                if let Some(it) = &mut self.course.unconfirmed {
                    it.undoing = Some(*attempt);
                }
            }
            Entry::Rebooting { .. }
            | Entry::Resumed { .. }
            | Entry::Unconfirmed { .. }
            | Entry::Undoing { .. } => {}
            Entry::Gap(events) => self.outbox.add_gap(*events),
            Entry::Ended(result) => {
                self.leave(result.job);
                self.outbox.keep_result(result);
                self.jobs.insert(result.job, Held::Ended(result.clone()));
            }
            Entry::Known { job, word, at } => {
                self.leave(*job);
                self.outbox.drop_result(*job);
                self.jobs.insert(*job, Held::Known { word: *word, at: *at });
                if broken::leaves_out("remember-ended-jobs") {
                    self.jobs.remove(job);
                }
            }
            Entry::Event { number, tag, data, gap } => self.outbox.push(*number, tag, data, *gap),
            Entry::EventsTaken(number) => self.outbox.take(*number),
            Entry::Slot { name, of, at } => self.remember_slot(name, of, *at),
            Entry::Boot(boot) => self.boot = Some(boot.clone()),
            Entry::Welcomed { boot, grains } => self.welcomed = Some((boot.clone(), *grains)),
            Entry::Clock(at) => self.clock = self.clock.max(*at),
        }
    }

    fn remember_slot(&mut self, name: &str, of: &str, at: Timestamp) {
        if of.is_empty() {
            // Of no schedule: it is forgotten.
            self.slots.remove(name);
            return;
        }
        self.clock = self.clock.max(at);
        self.slots.insert(name.to_owned(), (of.to_owned(), at));
        let oldest = self.slots.iter().min_by_key(|it| it.1.1).map(|it| it.0.clone());
        if let Some(oldest) = oldest.filter(|_| self.slots.len() > SLOTS_MAX) {
            self.slots.remove(&oldest);
        }
    }

    fn remember_intent(&mut self, job: JobId, attempt: u32) {
        if let Some(Held::Waiting(offer) | Held::Running { offer, .. }) = self.jobs.get(&job) {
            let offer = offer.clone();
            self.queue.retain(|it| *it != job);
            self.jobs.insert(job, Held::Running { offer, attempt });
            if self.running != Some(job) {
                self.course = Course::default();
            }
            self.running = Some(job);
        }
    }

    /// Takes a job out of the queue and from work.
    pub(super) fn leave(&mut self, job: JobId) {
        self.queue.retain(|it| *it != job);
        if self.running == Some(job) {
            self.running = None;
            self.course = Course::default();
        }
    }

    /// Jobs that were taken and have not ended.
    pub(super) fn unfinished(&self) -> usize {
        self.queue.len() + usize::from(self.running.is_some())
    }

    /// Undoes an intent that could not be put on disk.
    pub(super) fn put_back(&mut self, job: JobId) {
        if let Some(Held::Running { offer, .. }) = self.jobs.get(&job) {
            let offer = offer.clone();
            self.jobs.insert(job, Held::Waiting(offer));
            self.running = None;
            self.course = Course::default();
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

    /// What a job is that the minion began by itself.
    pub(super) fn begun(&self, job: JobId) -> Option<Box<Begun>> {
        match self.jobs.get(&job)? {
            Held::Waiting(offer) | Held::Running { offer, .. } => offer.begun.clone(),
            Held::Ended(result) => result.begun.clone(),
            Held::Known { .. } => None,
        }
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
        let slot = |(name, (of, at)): (&String, &(String, Timestamp))| Entry::Slot {
            name: name.clone(),
            of: of.clone(),
            at: *at,
        };
        entries.extend(self.slots.iter().map(slot));
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
                    entries.extend(self.course.snapshot(*job, *attempt));
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
