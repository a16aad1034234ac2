//! What the master remembers over a restart: altered by [`Book::remember`] only, for a live step and for a restart alike.

use super::{Entry, Part, SealedRef, by_itself::is_own};
use model::{
    Fingerprint, Job, JobId, JobTarget, Key, KeyStatus, Minion, MinionId, Observer, Operator, Phase, Roll,
    TargetState, Terminal, Timestamp, Token, Turn, broken,
};
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Ended jobs whose ids are remembered, so that the same id again is the same job.
pub(crate) const ENDED_JOBS_MAX: usize = 100_000;
/// Ended jobs that are kept whole.
pub(crate) const RECENT_JOBS_MAX: usize = 64;
/// Callers whose last job is remembered.
const CALLERS_MAX: usize = 1_000;

/// Durable memory.
#[derive(Debug, Default)]
pub(crate) struct Book {
    pub(crate) keys: BTreeMap<Fingerprint, Key>,
    /// Keys that wait for a decision: pending and in conflict.
    pub(crate) waiting_keys: BTreeSet<Fingerprint>,
    /// Keys of members that two machines use, and whose they are.
    pub(crate) suspended: BTreeMap<Fingerprint, MinionId>,
    pub(crate) minions: BTreeMap<MinionId, Minion>,
    pub(crate) tokens: BTreeMap<String, Token>,
    pub(crate) observers: BTreeMap<String, Observer>,
    pub(crate) operators: BTreeMap<String, Operator>,
    pub(crate) open: BTreeMap<JobId, OpenJob>,
    /// How many of these minions began by themselves.
    pub(crate) own_open: usize,
    pub(crate) open_of: BTreeMap<MinionId, BTreeSet<JobId>>,
    pub(crate) ended: BTreeMap<JobId, EndedJob>,
    ended_by_time: BTreeSet<(Timestamp, JobId)>,
    pub(crate) recent: VecDeque<OpenJob>,
    pub(crate) last_of: BTreeMap<String, JobId>,
    pub(crate) events_taken: BTreeMap<MinionId, u64>,
    pub(crate) last_event: u64,
    pub(crate) clock: Timestamp,
    /// Records of decisions that reactions may still add to.
    pub(crate) decisions: BTreeMap<u64, model::Decision>,
    /// What parts of the core are at.
    pub(crate) kept: BTreeMap<(Part, String), Value>,
}

/// A job with targets that have not ended.
#[derive(Clone, Debug)]
pub(crate) struct OpenJob {
    pub(crate) job: Job,
    pub(crate) targets: BTreeMap<MinionId, OpenTarget>,
    /// Targets that have not ended.
    pub(crate) left: usize,
    /// How far it has gone in its waves, if it goes in waves.
    pub(crate) roll: Option<Roll>,
    /// How many machines each wave has.
    pub(crate) waves: Vec<usize>,
    /// Which wave a machine is in, from 0.
    pub(crate) turns: BTreeMap<MinionId, u32>,
}

impl OpenJob {
    fn new(job: &Job, roll: Option<Roll>) -> Self {
        let waves = job.rolling.as_ref().map(|it| it.waves(job.minions.len())).unwrap_or_default();
        let waves_of = (0..).zip(&waves).flat_map(|(wave, size)| std::iter::repeat_n(wave, *size));
        let turns = job.minions.iter().cloned().zip(waves_of).collect();
        let roll = job.rolling.is_some().then(|| roll.unwrap_or_default());
        Self { job: job.clone(), targets: BTreeMap::new(), left: 0, roll, waves, turns }
    }
    fn begun(&self) -> &[Timestamp] {
        self.roll.as_ref().map_or(&[], |it| &it.begun)
    }
    /// Whether a machine's wave has not begun.
    pub(crate) fn is_held(&self, minion: &MinionId) -> bool {
        self.turns.get(minion).is_some_and(|wave| *wave as usize >= self.begun().len())
    }
    /// Machines whose wave has not begun.
    pub(crate) fn held(&self) -> usize {
        self.waves.iter().skip(self.begun().len()).sum()
    }
    /// Whether nothing is to begin any more.
    pub(crate) fn is_rolled(&self) -> bool {
        self.roll.as_ref().is_none_or(|it| it.phase == Phase::Over)
    }
    /// Offers to a machine expire then: in waves so long after its wave began.
    pub(crate) fn expires(&self, minion: &MinionId) -> Timestamp {
        let Some(wave) = self.turns.get(minion) else { return self.job.expires };
        let began = self.begun().get(*wave as usize);
        began.map_or(Timestamp(u64::MAX), |at| at.plus_ms(self.job.expires.since_ms(self.job.at)))
    }
    /// When offers of it expire, as far as that is known.
    pub(crate) fn expiries(&self) -> Vec<Timestamp> {
        if self.roll.is_none() {
            return vec![self.job.expires];
        }
        let good_ms = self.job.expires.since_ms(self.job.at);
        self.begun().iter().map(|at| at.plus_ms(good_ms)).collect()
    }
    /// Whose turn it is, for people.
    pub(crate) fn turn(&self, target: &JobTarget) -> Option<Turn> {
        let wave = *self.turns.get(&target.minion)?;
        let waits = target.state == TargetState::Accepted && self.is_held(&target.minion);
        Some(Turn { wave: wave + 1, of: u32::try_from(self.waves.len()).unwrap_or(u32::MAX), waits })
    }
}

/// One minion's part of an open job.
#[derive(Clone, Debug)]
pub(crate) struct OpenTarget {
    pub(crate) target: JobTarget,
    pub(crate) recipe: Option<SealedRef>,
    /// A compile is under way.
    pub(crate) compiling: bool,
    /// Answer to this probe says whether the minion got the offer in time.
    pub(crate) confirm: Option<u64>,
}

/// What is left of a job that ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct EndedJob {
    pub(crate) accepted_at: Timestamp,
    /// Minions that ended neither ok nor changed.
    pub(crate) bad: Vec<MinionId>,
}

/// Whether a word is a good end.
pub(crate) fn is_good(word: Terminal) -> bool {
    matches!(word, Terminal::Ok | Terminal::Changed)
}

/// Whether a target has ended.
pub(crate) fn has_ended(target: &JobTarget) -> bool {
    matches!(target.state, TargetState::Ended { .. })
}

fn ended_badly(target: &JobTarget) -> bool {
    matches!(target.state, TargetState::Ended { word, .. } if !is_good(word))
}

/// Order in which entries of a restart are taken: what others refer to comes first.
pub(crate) fn rank(entry: &Entry) -> u8 {
    match entry {
        Entry::Target(_) => 2,
        Entry::Recipe(..) => 3,
        Entry::Job(_) => 1,
        _ => 0,
    }
}

impl Book {
    /// Takes one entry in. Entries that only the store keeps (reports, audit) change nothing here.
    pub(crate) fn remember(&mut self, entry: &Entry) {
        match entry {
            Entry::Key(key) => self.remember_key(key),
            Entry::KeyGone(fingerprint) => {
                self.keys.remove(fingerprint);
                self.waiting_keys.remove(fingerprint);
                self.suspended.remove(fingerprint);
            }
            Entry::Minion(minion) => {
                let mut minion = minion.clone();
                if minion.grains.contains_key("id") {
                    super::roster::set_id(&mut minion.grains, &minion.id);
                }
                self.minions.insert(minion.id.clone(), minion);
            }
            Entry::MinionGone(id) => {
                self.minions.remove(id);
                self.events_taken.remove(id);
            }
            Entry::Token(token) => {
                self.tokens.insert(token.terms.name.clone(), token.clone());
            }
            Entry::Observer(observer) => {
                self.observers.insert(observer.name.clone(), observer.clone());
            }
            Entry::ObserverGone(name) => {
                self.observers.remove(name);
            }
            Entry::Operator(operator) => {
                self.operators.insert(operator.name.clone(), operator.clone());
            }
            Entry::OperatorGone(name) => {
                self.operators.remove(name);
            }
            Entry::Job(job) => self.remember_job(job),
            Entry::Target(target) => self.remember_target(target),
            Entry::Recipe(job, minion, recipe) => {
                if let Some(target) = self.target_mut(*job, minion)
                    && !has_ended(&target.target)
                {
                    target.recipe = Some(recipe.clone());
                }
            }
            Entry::Event(event) => self.last_event = self.last_event.max(event.number),
            Entry::EventsTaken(minion, number) => {
                self.events_taken.insert(minion.clone(), *number);
            }
            Entry::Clock(at) => self.clock = self.clock.max(*at),
            Entry::Kept { part, key, data: Some(data) } => {
                if *part == Part::Rolling {
                    self.remember_roll(key, data);
                }
                self.kept.insert((*part, key.clone()), data.clone());
            }
            Entry::Kept { part, key, data: None } => {
                self.kept.remove(&(*part, key.clone()));
            }
            Entry::Decision(decision) => {
                self.decisions.insert(decision.event, decision.clone());
            }
            Entry::Report(..) | Entry::Audit(_) => {}
        }
    }

    fn remember_roll(&mut self, key: &str, data: &Value) {
        let open = key.parse().ok().and_then(|it: JobId| self.open.get_mut(&it));
        if let (Some(open), Ok(roll)) = (open, Roll::deserialize(data)) {
            open.roll = Some(roll);
        }
    }

    fn remember_key(&mut self, key: &Key) {
        if matches!(key.status, KeyStatus::Pending | KeyStatus::Conflict) {
            self.waiting_keys.insert(key.fingerprint.clone());
        } else {
            self.waiting_keys.remove(&key.fingerprint);
        }
        if key.status == KeyStatus::Suspended {
            self.suspended.insert(key.fingerprint.clone(), key.minion.clone());
        } else {
            self.suspended.remove(&key.fingerprint);
        }
        self.keys.insert(key.fingerprint.clone(), key.clone());
    }

    fn remember_job(&mut self, job: &Job) {
        if self.last_of.len() < CALLERS_MAX || self.last_of.contains_key(&job.caller.name) {
            let last = self.last_of.get(&job.caller.name).and_then(|it| self.accepted_at(*it));
            let older = last.is_none_or(|at| at <= job.at);
            if older {
                self.last_of.insert(job.caller.name.clone(), job.id);
            }
        }
        if job.ended.is_some() {
            self.close_job(job);
        } else if let Some(open) = self.open.get_mut(&job.id) {
            open.job.clone_from(job);
        } else {
            let kept = self.kept.get(&(Part::Rolling, job.id.to_string()));
            let roll = kept.and_then(|it| Roll::deserialize(it).ok());
            self.own_open += usize::from(is_own(job));
            self.open.insert(job.id, OpenJob::new(job, roll));
        }
    }

    fn close_job(&mut self, job: &Job) {
        let mut memo = EndedJob { accepted_at: job.at, bad: Vec::new() };
        if let Some(mut open) = self.open.remove(&job.id) {
            self.own_open -= usize::from(is_own(&open.job));
            let bad = open.targets.values().filter(|it| ended_badly(&it.target));
            memo.bad = bad.map(|it| it.target.minion.clone()).collect();
            open.job.clone_from(job);
            self.recent.push_back(open);
            if self.recent.len() > RECENT_JOBS_MAX {
                self.recent.pop_front();
            }
        }
        self.ended_by_time.insert((job.at, job.id));
        self.ended.insert(job.id, memo);
        while self.ended.len() > ENDED_JOBS_MAX {
            let Some((_, oldest)) = self.ended_by_time.pop_first() else { break };
            self.ended.remove(&oldest);
        }
    }

    fn remember_target(&mut self, target: &JobTarget) {
        if let Some(memo) = self.ended.get_mut(&target.job) {
            if ended_badly(target) && !memo.bad.contains(&target.minion) {
                memo.bad.push(target.minion.clone());
            }
            return;
        }
        let Some(open) = self.open.get_mut(&target.job) else { return };
        let ended = has_ended(target);
        let before = open.targets.get(&target.minion).map(|it| has_ended(&it.target));
        match before {
            None if !ended => open.left += 1,
            Some(false) if ended => open.left -= 1,
            _ => {}
        }
        let entry = open.targets.entry(target.minion.clone()).or_insert_with(|| OpenTarget {
            target: target.clone(),
            recipe: None,
            compiling: false,
            confirm: None,
        });
        entry.target.clone_from(target);
        if ended {
            (entry.recipe, entry.compiling, entry.confirm) = (None, false, None);
            self.no_longer_open(&target.minion, target.job);
        } else {
            self.open_of.entry(target.minion.clone()).or_default().insert(target.job);
        }
    }

    fn no_longer_open(&mut self, minion: &MinionId, job: JobId) {
        if let Some(jobs) = self.open_of.get_mut(minion) {
            jobs.remove(&job);
            if jobs.is_empty() {
                self.open_of.remove(minion);
            }
        }
    }

    /// What a part keeps, in order of key.
    pub(crate) fn kept_of(&self, part: Part) -> impl Iterator<Item = (&str, &Value)> {
        let from = (part, String::new());
        self.kept.range(from..).take_while(move |it| it.0.0 == part).map(|(key, data)| (key.1.as_str(), data))
    }

    /// A target that may still be open.
    pub(crate) fn target_mut(&mut self, job: JobId, minion: &MinionId) -> Option<&mut OpenTarget> {
        self.open.get_mut(&job)?.targets.get_mut(minion)
    }

    /// A target of an open job that has not ended.
    pub(crate) fn open_target(&self, job: JobId, minion: &MinionId) -> Option<(&Job, &OpenTarget)> {
        let open = self.open.get(&job)?;
        let target = open.targets.get(minion)?;
        let open_still = !has_ended(&target.target) || broken::leaves_out("one-terminal-record");
        open_still.then_some((&open.job, target))
    }

    /// When offers of an open job to a machine expire.
    pub(crate) fn expiry(&self, job: JobId, minion: &MinionId) -> Timestamp {
        self.open.get(&job).map_or(Timestamp(u64::MAX), |it| it.expires(minion))
    }

    /// Open jobs of a minion, oldest id first.
    pub(crate) fn jobs_of(&self, minion: &MinionId) -> Vec<JobId> {
        self.open_of.get(minion).map(|it| it.iter().copied().collect()).unwrap_or_default()
    }

    /// Whether a job was ever accepted, as far as is remembered.
    pub(crate) fn knows_job(&self, job: JobId) -> bool {
        self.open.contains_key(&job) || self.ended.contains_key(&job)
    }

    /// When it was accepted.
    pub(crate) fn accepted_at(&self, job: JobId) -> Option<Timestamp> {
        let open = self.open.get(&job).map(|it| it.job.at);
        open.or_else(|| self.ended.get(&job).map(|it| it.accepted_at))
    }

    /// An open or lately ended job, whole.
    pub(crate) fn whole_job(&self, job: JobId) -> Option<&OpenJob> {
        self.open.get(&job).or_else(|| self.recent.iter().find(|it| it.job.id == job))
    }

    /// Minions that ended a job neither ok nor changed; `None` if the job is not known.
    pub(crate) fn bad_of(&self, job: JobId) -> Option<Vec<MinionId>> {
        if let Some(open) = self.open.get(&job) {
            let bad = open.targets.values().filter(|it| ended_badly(&it.target));
            return Some(bad.map(|it| it.target.minion.clone()).collect());
        }
        self.ended.get(&job).map(|it| it.bad.clone())
    }

    /// Ended jobs accepted after a time: how many, and how many of them not well.
    pub(crate) fn ended_since(&self, since: Timestamp) -> (u32, u32) {
        let all = self.ended_by_time.range((since, JobId(0))..);
        all.filter_map(|(_, id)| self.ended.get(id))
            .fold((0, 0), |(jobs, failed), it| (jobs + 1, failed + u32::from(!it.bad.is_empty())))
    }

    /// Forgets ended jobs that were accepted before a time.
    pub(crate) fn forget_before(&mut self, before: Timestamp) {
        while let Some(&(at, id)) = self.ended_by_time.first()
            && at < before
        {
            self.ended_by_time.pop_first();
            self.ended.remove(&id);
        }
    }

    /// Id of the job that was accepted last and has ended.
    pub(crate) fn newest(&self) -> Option<JobId> {
        let ended = self.ended_by_time.last().copied();
        let open = self.open.values().map(|it| (it.job.at, it.job.id)).max();
        ended.max(open).map(|(_, id)| id)
    }
}
