//! Runs in waves: when each wave begins, what stops a run, and what then becomes of it. The judgement is [`next`]; how
//! far a run has gone is on disk before a machine gets anything, so that it goes on after a restart where it was.

mod gate;

use super::{
    Effect, Entry, Master,
    entry::Part,
    jobs::End,
    memory::OpenJob,
    permit::{deed_of, deeds_of_waves},
    submit::Wish,
    target::refuse,
    timers::Timer,
};
use gate::LiveGate;
use model::{
    Caller, JobId, JobKind, JobTarget, MinionId, Mode, OnStop, Phase, Roll, Rolling, TargetState, Terminal,
    Timestamp,
    api::{self, ErrorKind, ErrorView},
    broken,
};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// A machine that is at its part counts as failed when contact has been lost for so long.
const LOST_MS: u64 = 60_000;
/// Looks at runs in one step.
const LOOKS_MAX: usize = 4_096;
/// Machines that a sentence names.
const NAMED_MAX: usize = 3;
/// Machines that the target of a job of ours names; of more it says what they are.
const TARGET_NAMES_MAX: usize = 20;

/// What is known of runs in waves until the next restart.
#[derive(Debug, Default)]
pub(crate) struct Rolls {
    /// Those to look at before this step is over.
    due: BTreeSet<JobId>,
    live: BTreeMap<JobId, LiveRoll>,
    /// Checks of gates, and the runs whose they are.
    checks: BTreeMap<JobId, JobId>,
}

#[derive(Debug, Default)]
struct LiveRoll {
    /// Who is at its part and cannot be reached, and since when that is noticed.
    away: BTreeMap<MinionId, Timestamp>,
    /// Machines of begun waves that have their turn when they are back.
    absent: usize,
    gate: Option<LiveGate>,
    /// The next look that is planned.
    look_at: Option<Timestamp>,
}

impl Rolls {
    /// Something about it has changed.
    pub(crate) fn look_at(&mut self, job: JobId) {
        self.due.insert(job);
    }
    pub(crate) fn forget(&mut self, job: JobId) {
        self.due.remove(&job);
        self.live.remove(&job);
        self.checks.retain(|_, of| *of != job);
    }
}

/// How what has begun of a run stands.
#[derive(Debug, Default)]
struct Standing {
    /// Waves that have begun, of so many.
    begun: usize,
    of: usize,
    /// Machines of begun waves that are still to end.
    left: usize,
    /// Those that failed, and of how many machines in all.
    bad: Vec<MinionId>,
    machines: usize,
    canary_bad: bool,
    cancelled: bool,
}

/// What is to be done about a run.
#[derive(Debug, PartialEq)]
enum Next {
    /// Nothing until something happens.
    Nothing,
    /// The next wave begins.
    Begin,
    /// No more waves: why.
    Stop(String),
    /// The newest wave is done, and is looked at now.
    Gate,
    /// The next wave begins then.
    Wait(Timestamp),
    /// It has stopped, and what it changed is put back.
    PutBack,
    /// It is over.
    Over,
}

/// The whole judgement of a run in waves, but for its gate.
fn next(rolling: &Rolling, roll: &Roll, it: &Standing, now: Timestamp) -> Next {
    if roll.phase == Phase::Over {
        return Next::Nothing;
    }
    if roll.stopped.is_some() {
        let undo = rolling.on_stop == OnStop::Undo && roll.undo.is_none() && !it.cancelled;
        return match it.left {
            0 if undo => Next::PutBack,
            0 => Next::Over,
            _ => Next::Nothing,
        };
    }
    let names = || {
        let named: Vec<&str> = it.bad.iter().take(NAMED_MAX).map(MinionId::as_str).collect();
        let more = if it.bad.len() > named.len() { " and others" } else { "" };
        format!("{}{more}", named.join(", "))
    };
    if it.canary_bad {
        return Next::Stop(format!("the first wave failed on {}", names()));
    }
    if it.begun > 0
        && !broken::leaves_out("stop-at-max-fail")
        && it.bad.len() >= rolling.max_fail.of(it.machines)
    {
        let count =
            if it.bad.len() == 1 { "1 machine".to_owned() } else { format!("{} machines", it.bad.len()) };
        return Next::Stop(format!("{count} failed ({}), and --max-fail is {}", names(), rolling.max_fail));
    }
    match roll.phase {
        Phase::Running if it.left > 0 && !broken::leaves_out("one-wave-at-a-time") => Next::Nothing,
        Phase::Running if it.begun == 0 => Next::Begin,
        Phase::Running if rolling.gate.is_some() => Next::Gate,
        Phase::Running => behind_gate(rolling, it, now),
        // Who was taken for lost may be back, and at its part again.
        Phase::Waiting { until } if until <= now && it.left == 0 => Next::Begin,
        Phase::Waiting { .. } | Phase::Gate { .. } | Phase::Over => Next::Nothing,
    }
}

/// A wave is done, and its gate is open.
fn behind_gate(rolling: &Rolling, it: &Standing, now: Timestamp) -> Next {
    match rolling.batch_wait_ms {
        _ if it.begun >= it.of => Next::Over,
        0 => Next::Begin,
        ms => Next::Wait(now.plus_ms(ms)),
    }
}

/// Whether an end counts as a failure. Who was away when its turn came had none.
fn is_failure(word: Terminal, waits: bool) -> bool {
    match word {
        Terminal::Failed | Terminal::Interrupted | Terminal::Refused | Terminal::Unknown => true,
        Terminal::Expired => !waits,
        Terminal::Ok
        | Terminal::Changed
        | Terminal::Unreachable
        | Terminal::Cancelled
        | Terminal::Superseded => false,
    }
}

/// Of a job that belongs to a run: the same one after a restart.
fn part_of(job: JobId, what: &str, wave: usize, attempt: u32) -> JobId {
    let hash = Sha256::digest(format!("lab1-roll\0{job}\0{what}\0{wave}\0{attempt}").as_bytes());
    let mut first = [0; 16];
    first.copy_from_slice(&hash[..16]);
    JobId(u128::from_be_bytes(first))
}

/// ` in waves of 25% behind a first one of 1`, for the audit log.
pub(crate) fn describe(rolling: &Rolling) -> String {
    let canary = rolling.canary.map(|it| format!(" behind a first one of {it}")).unwrap_or_default();
    let gate = if rolling.gate.is_some() { " with a gate" } else { "" };
    let undo = if rolling.on_stop == OnStop::Undo { ", undone if it stops" } else { "" };
    format!(" in waves of {}{canary}{gate}{undo}", rolling.batch)
}

/// Whether a job of this kind can go in these waves.
pub(crate) fn check_rolling(rolling: &Rolling, kind: &JobKind, machines: usize) -> Result<(), ErrorView> {
    if kind.is_check() {
        let message = "a look changes nothing, and needs no waves".to_owned();
        return Err(refuse(ErrorKind::Usage, message, None));
    }
    if rolling.on_stop == OnStop::Undo && !matches!(kind, JobKind::Apply { mode: Mode::Apply, .. }) {
        let message = "only what an apply changed can be undone when it stops".to_owned();
        return Err(refuse(ErrorKind::Usage, message, None));
    }
    lang::rolling::check(rolling, machines).map_err(|(message, complaint)| {
        let mut error = refuse(ErrorKind::Usage, message, None);
        error.diagnostics.extend(complaint.map(|it| *it));
        error
    })
}

fn rolling_of(open: &OpenJob) -> Option<(&Rolling, &Roll)> {
    Some((open.job.rolling.as_deref()?, open.roll.as_ref()?))
}

impl Master {
    /// Lets a rule's job through, with what it may do beside: each must be allowed on each machine.
    pub(crate) fn permit_job(
        &self,
        caller: &Caller,
        kind: &JobKind,
        rolling: Option<&Rolling>,
        minions: &[MinionId],
    ) -> Result<(), ErrorView> {
        let more = rolling.map(deeds_of_waves).unwrap_or_default();
        let mut deeds = std::iter::once(deed_of(kind)).chain(more);
        deeds.try_for_each(|deed| self.permit_rule(caller, &deed, Some(minions)))
    }

    /// Goes on with every run about which something has changed.
    pub(crate) fn roll_all(&mut self) {
        for _ in 0..LOOKS_MAX {
            let Some(job) = self.rolls.due.pop_first() else { return };
            self.roll_on(job);
        }
    }

    /// What rules began in this step, and what was too much for it, goes on in the next one.
    pub(crate) fn roll_later(&mut self) {
        for job in std::mem::take(&mut self.rolls.due) {
            self.wake_at(self.now, Timer::Roll(job));
        }
    }

    /// After something that concerns them all.
    pub(crate) fn look_at_rolls(&mut self) {
        let runs = self.book.open.values().filter(|it| it.roll.is_some());
        self.rolls.due.extend(runs.map(|it| it.job.id));
    }

    /// A machine's part has ended: most often nothing follows while others are at it.
    pub(crate) fn rolled_by_end(&mut self, job: JobId, word: Terminal) {
        let Some(open) = self.book.open.get(&job).filter(|it| it.roll.is_some()) else { return };
        let gone = self.rolls.live.get(&job).map_or(0, |it| it.away.len() + it.absent);
        if is_failure(word, open.job.wait) || open.left <= open.held() + gone {
            self.rolls.look_at(job);
        }
    }

    /// Looks how a run stands, and goes on with it as far as it can go now.
    fn roll_on(&mut self, id: JobId) {
        let Some(open) = self.book.open.get(&id) else { return };
        let Some((rolling, roll)) = rolling_of(open) else { return };
        let (rolling, mut roll) = (rolling.clone(), roll.clone());
        let standing = self.standing(id);
        match next(&rolling, &roll, &standing, self.now) {
            Next::Nothing if matches!(roll.phase, Phase::Gate { .. }) => self.look_at_gate(id),
            Next::Nothing => {
                if let Phase::Waiting { until } = roll.phase
                    && until > self.now
                {
                    self.look_again(id, until);
                }
            }
            // Nothing new is stored: it goes on when there is room.
            Next::Begin | Next::PutBack if self.degraded.is_some() => {}
            Next::Begin => self.begin_wave(id),
            Next::Stop(reason) => drop(self.stop_rolling(id, &reason)),
            Next::Gate => {
                roll.phase = Phase::Gate { since: self.now, holds_since: None, said: String::new() };
                self.save_roll(id, &roll);
                self.rolls.look_at(id);
            }
            Next::Wait(until) => {
                roll.phase = Phase::Waiting { until };
                self.save_roll(id, &roll);
                self.look_again(id, until);
            }
            Next::PutBack => self.put_back(id, roll),
            Next::Over => {
                roll.phase = Phase::Over;
                self.save_roll(id, &roll);
            }
        }
        if self.book.open.get(&id).is_some_and(|it| it.is_rolled() && it.left == 0) {
            self.end_job(id);
        }
    }

    /// A wave is done and its gate has opened.
    fn pass_gate(&mut self, id: JobId) {
        let Some(open) = self.book.open.get(&id) else { return };
        let Some((rolling, roll)) = rolling_of(open) else { return };
        let (rolling, mut roll) = (rolling.clone(), roll.clone());
        if let Some(live) = self.rolls.live.get_mut(&id) {
            live.gate = None;
        }
        match behind_gate(&rolling, &self.standing(id), self.now) {
            Next::Over => roll.phase = Phase::Over,
            Next::Wait(until) => roll.phase = Phase::Waiting { until },
            // The wait is none.
            _ => roll.phase = Phase::Waiting { until: self.now },
        }
        self.save_roll(id, &roll);
        self.rolls.look_at(id);
    }

    /// How what has begun stands.
    fn standing(&mut self, id: JobId) -> Standing {
        let now = self.now;
        let Some(open) = self.book.open.get(&id) else { return Standing::default() };
        let Some((rolling, roll)) = rolling_of(open) else { return Standing::default() };
        let mut standing = Standing {
            begun: roll.begun.len(),
            of: open.waves.len(),
            machines: open.job.minions.len(),
            cancelled: open.job.cancelled.is_some(),
            ..Standing::default()
        };
        let first = if rolling.canary.is_some() { open.waves.first().copied().unwrap_or(0) } else { 0 };
        let (mut away, mut absent) = (BTreeMap::new(), 0);
        let before = self.rolls.live.get(&id).map(|it| &it.away);
        let begun = open.job.minions.len().saturating_sub(open.held());
        for (place, minion) in open.job.minions.iter().enumerate().take(begun) {
            let Some(target) = open.targets.get(minion) else { continue };
            let failed = match &target.target.state {
                TargetState::Ended { word, .. } => is_failure(*word, open.job.wait),
                // It has its turn when it comes.
                TargetState::Accepted if open.job.wait && !self.is_reachable(minion) => {
                    absent += 1;
                    continue;
                }
                // Contact was lost while its part was put together for it.
                TargetState::Accepted if self.is_reachable(minion) => {
                    standing.left += 1;
                    false
                }
                state if *state == TargetState::Accepted || self.target_view(open, target).lost.is_some() => {
                    let since = before.and_then(|it| it.get(minion)).copied().unwrap_or(now);
                    away.insert(minion.clone(), since);
                    let gone = now.since_ms(since) >= LOST_MS;
                    standing.left += usize::from(!gone);
                    gone
                }
                _ => {
                    standing.left += 1;
                    false
                }
            };
            if failed {
                standing.canary_bad |= place < first;
                standing.bad.push(minion.clone());
            }
        }
        let soonest = away.values().map(|it| it.plus_ms(LOST_MS)).filter(|it| *it > now).min();
        let live = self.rolls.live.entry(id).or_default();
        (live.away, live.absent) = (away, absent);
        if let Some(at) = soonest {
            self.look_again(id, at);
        }
        standing
    }

    /// Plans a look; one is planned at a time, the soonest.
    fn look_again(&mut self, id: JobId, at: Timestamp) {
        let now = self.now;
        let live = self.rolls.live.entry(id).or_default();
        if live.look_at.is_none_or(|planned| planned <= now || at < planned) {
            live.look_at = Some(at);
            self.wake_at(at, Timer::Roll(id));
        }
    }

    /// On disk with this step, and shown to who watches.
    fn save_roll(&mut self, id: JobId, roll: &Roll) {
        let entry = Entry::Kept { part: Part::Rolling, key: id.to_string(), data: Some(json!(roll)) };
        if broken::leaves_out("waves-on-disk") {
            self.later(entry);
        } else {
            self.record(entry);
        }
        self.show_roll(id);
    }

    fn show_roll(&mut self, id: JobId) {
        let Some(roll) = self.book.open.get(&id).and_then(|it| it.roll.clone()) else { return };
        let line = api::JobLine::Rolling(Box::new(roll));
        self.out.push(Effect::JobLine { job: id, line: Box::new(line) });
    }

    fn begin_wave(&mut self, id: JobId) {
        let Some(open) = self.book.open.get(&id) else { return };
        let Some((_, roll)) = rolling_of(open) else { return };
        let wave = roll.begun.len();
        let first: usize = open.waves[..wave].iter().sum();
        let size = open.waves.get(wave).copied().unwrap_or(0);
        let job = open.job.clone();
        let mut roll = roll.clone();
        roll.begun.push(self.now);
        roll.phase = Phase::Running;
        self.save_roll(id, &roll);
        self.wake_at(self.now.plus_ms(job.expires.since_ms(job.at)), Timer::Expire(id));
        for minion in job.minions.iter().skip(first).take(size) {
            if self.book.open_target(id, minion).is_none() {
                continue;
            }
            if self.is_left_to(&job.caller, minion) {
                self.send_off(&job, minion);
            } else {
                // Since the run began.
                self.end_target(id, minion, End::of(Terminal::Cancelled, "in maintenance"));
            }
        }
        self.rolls.look_at(id);
    }

    /// No wave begins any more. What has begun goes on to its end; how many had not.
    pub(crate) fn stop_rolling(&mut self, id: JobId, reason: &str) -> usize {
        let Some(open) = self.book.open.get(&id) else { return 0 };
        let Some((_, roll)) = rolling_of(open) else { return 0 };
        if roll.stopped.is_some() || roll.phase == Phase::Over {
            return 0;
        }
        let is_held = |it: &&MinionId| open.is_held(it) && self.book.open_target(id, it).is_some();
        let held: Vec<MinionId> = open.targets.keys().filter(is_held).cloned().collect();
        let mut roll = roll.clone();
        (roll.stopped, roll.phase) = (Some(super::roster::cut(reason, 1024)), Phase::Running);
        self.save_roll(id, &roll);
        let check = self.rolls.live.get_mut(&id).and_then(|it| it.gate.take()).and_then(|it| it.check);
        if let Some(check) = check {
            self.rolls.checks.remove(&check);
            self.cancel(check);
        }
        for minion in &held {
            self.end_target(id, minion, End::of(Terminal::Cancelled, format!("the run stopped: {reason}")));
        }
        self.rolls.look_at(id);
        held.len()
    }

    /// A job of its own puts back what the run has changed.
    fn put_back(&mut self, id: JobId, mut roll: Roll) {
        let Some(open) = self.book.open.get(&id) else { return };
        let job = open.job.clone();
        let changed = |it: &&MinionId| open.targets.get(*it).is_some_and(|it| has_changed(&it.target));
        let minions: Vec<MinionId> = job.minions.iter().filter(changed).cloned().collect();
        roll.phase = Phase::Over;
        if minions.is_empty() {
            return self.save_roll(id, &roll);
        }
        let undo = part_of(id, "undo", 0, 0);
        let wish = Wish {
            id: undo,
            target: target_text(&minions, || format!("what job {} changed", id.short())),
            kind: JobKind::Undo { of: id, mode: Mode::Apply, force: false },
            expires_ms: self.settings.offer_ms,
            wait: false,
            retry_of: None,
            rolling: None,
            caller: job.caller,
            hops: job.hops,
        };
        match self.submit(wish, Ok(minions)) {
            Ok(job) => {
                roll.undo = Some(undo);
                self.save_roll(id, &roll);
                self.launch(&job);
            }
            Err(error) => {
                let stopped = roll.stopped.unwrap_or_default();
                roll.stopped = Some(format!("{stopped}; it is not undone: {}", error.message));
                self.save_roll(id, &roll);
            }
        }
    }
}

fn target_text(minions: &[MinionId], otherwise: impl FnOnce() -> String) -> String {
    if minions.len() > TARGET_NAMES_MAX {
        return otherwise();
    }
    minions.iter().map(MinionId::as_str).collect::<Vec<_>>().join(",")
}

/// Whether there is something to put back: also where a step failed behind one that changed something.
fn has_changed(target: &JobTarget) -> bool {
    match &target.state {
        TargetState::Ended { tally, word, .. } => tally.changed > 0 || *word == Terminal::Changed,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
