//! The gate behind a wave: what must be so on its machines, for how long, before the run goes on.

use super::{
    super::{Effect, Entry, Master, entry::Part, submit::Wish},
    LOST_MS, Rolls, part_of, rolling_of, target_text,
};
use lang::rolling::{GATE_TIMEOUT_MS, Health};
use model::{Gate, Job, JobId, JobKind, MinionId, Phase, Roll, TargetState, Terminal, Timestamp, api};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Between two looks at a gate.
const LOOK_MS: u64 = 1_000;
/// The same where a wave has more machines than this.
const LOOK_MANY_MS: u64 = 5_000;
const MANY: usize = 500;
/// Between a check that failed and the next one.
const CHECK_WAIT_MS: u64 = 5_000;
/// Longest that a check may take.
const CHECK_MS_MAX: u64 = 600_000;
/// Checks of one gate.
const CHECKS_MAX: u32 = 1_000;
/// Characters of why a gate is not open.
const SAID_MAX: usize = 512;

/// What is known of a gate until the next restart: then it is looked at from its beginning.
#[derive(Debug)]
pub(super) struct LiveGate {
    health: Health,
    members: BTreeSet<MinionId>,
    since: Timestamp,
    deadline: Timestamp,
    holds_since: Option<Timestamp>,
    away: BTreeMap<MinionId, Timestamp>,
    /// The last event that there must be none of.
    heard: Option<String>,
    /// A check under way.
    pub(super) check: Option<JobId>,
    attempt: u32,
    again_at: Timestamp,
    passed: bool,
    /// What came of the last check.
    said: Option<String>,
}

impl Rolls {
    /// An event has happened: perhaps one that a gate wants none of.
    pub(crate) fn hear(&mut self, tag: &str) {
        let Some((id, below)) = tag.strip_prefix("minion/").and_then(|it| it.split_once('/')) else { return };
        for gate in self.live.values_mut().filter_map(|it| it.gate.as_mut()) {
            let ours = gate.health.is_broken_by(below) && gate.members.iter().any(|it| it.as_str() == id);
            if ours {
                gate.heard = Some(tag.to_owned());
            }
        }
    }
}

/// How a gate stands.
enum Stands {
    Open,
    Closed(String),
    Failed(String),
}

impl Master {
    /// Looks at the gate behind the newest wave of a run.
    pub(super) fn look_at_gate(&mut self, id: JobId) {
        self.set_up_gate(id);
        let now = self.now;
        let stands = self.judge_gate(id);
        let Some(live) = self.rolls.live.get(&id).and_then(|it| it.gate.as_ref()) else { return };
        let (many, late, holds_since) = (live.members.len() > MANY, now >= live.deadline, live.holds_since);
        let wave = self.book.open.get(&id).and_then(|it| it.roll.as_ref()).map_or(0, |it| it.begun.len());
        let fail = |why: &str| format!("the gate after wave {wave} did not open: {why}");
        match stands {
            Stands::Open => self.pass_gate(id),
            Stands::Failed(why) => drop(self.stop_rolling(id, &fail(&why))),
            Stands::Closed(why) if late => drop(self.stop_rolling(id, &fail(&format!("in time: {why}")))),
            Stands::Closed(why) => {
                self.tell_gate(id, holds_since, &why);
                self.look_again(id, now.plus_ms(if many { LOOK_MANY_MS } else { LOOK_MS }));
            }
        }
    }

    /// What a gate waits for is in memory only, and for who watches.
    fn tell_gate(&mut self, id: JobId, holds_since: Option<Timestamp>, said: &str) {
        let Some(roll) = self.book.open.get(&id).and_then(|it| it.roll.as_ref()) else { return };
        let Phase::Gate { since, .. } = roll.phase else { return };
        let phase = Phase::Gate { since, holds_since, said: super::super::roster::cut(said, SAID_MAX) };
        if roll.phase == phase {
            return;
        }
        let roll = Roll { phase, ..roll.clone() };
        let data = Some(json!(roll));
        self.book.remember(&Entry::Kept { part: Part::Rolling, key: id.to_string(), data });
        let line = api::JobLine::Rolling(Box::new(roll));
        self.out.push(Effect::JobLine { job: id, line: Box::new(line) });
    }

    /// When a gate begins, and again after a restart.
    fn set_up_gate(&mut self, id: JobId) {
        if self.rolls.live.get(&id).is_some_and(|it| it.gate.is_some()) {
            return;
        }
        let Some(open) = self.book.open.get(&id) else { return };
        let Some((rolling, roll)) = rolling_of(open) else { return };
        let Some(gate) = &rolling.gate else { return };
        let Ok(health) = Health::of(gate) else {
            self.stop_rolling(id, "the gate's condition cannot be read any more");
            return;
        };
        let wave = roll.begun.len();
        let first: usize = open.waves[..wave.saturating_sub(1)].iter().sum();
        let size = open.waves.get(wave.saturating_sub(1)).copied().unwrap_or(0);
        let well = |it: &&MinionId| {
            let state = open.targets.get(*it).map(|it| &it.target.state);
            matches!(state, Some(TargetState::Ended { word: Terminal::Ok | Terminal::Changed, .. }))
        };
        let members = open.job.minions.iter().skip(first).take(size).filter(well).cloned().collect();
        let timeout_ms = gate.timeout_ms.unwrap_or(gate.hold_ms + GATE_TIMEOUT_MS);
        let check_of = |attempt: &u32| part_of(id, "check", wave, *attempt);
        let attempt = (0..CHECKS_MAX).find(|it| !self.book.knows_job(check_of(it))).unwrap_or(CHECKS_MAX);
        let last = attempt.checked_sub(1).map(|it| check_of(&it));
        let check = last.filter(|it| self.book.open.contains_key(it));
        let live = LiveGate {
            health,
            members,
            since: self.now,
            deadline: self.now.plus_ms(timeout_ms),
            holds_since: None,
            away: BTreeMap::new(),
            heard: None,
            check,
            attempt,
            again_at: self.now,
            passed: false,
            said: None,
        };
        self.rolls.live.entry(id).or_default().gate = Some(live);
        if let Some(check) = check {
            self.rolls.checks.insert(check, id);
        }
    }

    fn judge_gate(&mut self, id: JobId) -> Stands {
        let now = self.now;
        let gate = self.book.open.get(&id).and_then(|it| rolling_of(it)?.0.gate.clone());
        let live = self.rolls.live.get_mut(&id).and_then(|it| it.gate.take());
        let (Some(gate), Some(mut live)) = (gate, live) else { return Stands::Closed(String::new()) };
        let stands = match self.first_ill(&mut live) {
            _ if live.members.is_empty() => Stands::Open,
            Err(gone) => Stands::Failed(gone),
            Ok(Some(why)) => {
                live.holds_since = None;
                Stands::Closed(why)
            }
            Ok(None) => {
                let since = *live.holds_since.get_or_insert(now);
                let left_ms = gate.hold_ms.saturating_sub(now.since_ms(since));
                match left_ms {
                    0 if gate.check.is_empty() || live.passed => Stands::Open,
                    0 => self.checked(id, &gate, &mut live),
                    ms => Stands::Closed(format!("it must hold for {} s more", ms.div_ceil(1000))),
                }
            }
        };
        self.rolls.live.entry(id).or_default().gate = Some(live);
        stands
    }

    /// The first machine that is not as it must be, and why; an error if it is gone.
    fn first_ill(&self, live: &mut LiveGate) -> Result<Option<String>, String> {
        if let Some(tag) = live.heard.take() {
            return Ok(Some(format!("there was {tag}")));
        }
        let mut ill = None;
        for id in &live.members {
            let Some(minion) = self.book.minions.get(id) else { return Err(format!("{id} was removed")) };
            if !self.is_reachable(id) {
                let since = *live.away.entry(id.clone()).or_insert(self.now);
                if self.now.since_ms(since) >= LOST_MS {
                    return Err(format!("{id} was lost"));
                }
                ill.get_or_insert_with(|| format!("{id} is away"));
                continue;
            }
            live.away.remove(id);
            let known = self.live.get(id).filter(|it| it.ready);
            let Some(known) = known else {
                ill.get_or_insert_with(|| format!("{id} is not back yet"));
                continue;
            };
            if ill.is_some() || !live.health.has_condition() {
                continue;
            }
            let fresh = known.sample.as_ref().filter(|_| known.sampled_at > live.since);
            let Some(sample) = fresh else {
                ill = Some(format!("{id} has sent no sample yet"));
                continue;
            };
            let sample: Option<Value> = serde_json::from_str(sample).ok();
            let (holds, why) = live.health.holds(id, sample.as_ref(), &minion.grains, &minion.labels);
            if !holds {
                ill = Some(format!("{id}: {why}"));
            }
        }
        Ok(ill)
    }

    /// The gate's command is run on each machine, again and again until it ends well on all of them.
    fn checked(&mut self, id: JobId, gate: &Gate, live: &mut LiveGate) -> Stands {
        let waits = |live: &LiveGate| {
            let said = live.said.clone();
            Stands::Closed(said.unwrap_or_else(|| format!("`{}` is being run", gate.check.join(" "))))
        };
        if live.check.is_some() || self.now < live.again_at {
            return waits(live);
        }
        if live.attempt >= CHECKS_MAX {
            return Stands::Failed(format!("`{}` failed {CHECKS_MAX} times", gate.check.join(" ")));
        }
        let Some(open) = self.book.open.get(&id) else { return waits(live) };
        let wave = open.roll.as_ref().map_or(0, |it| it.begun.len());
        let (caller, hops) = (open.job.caller.clone(), open.job.hops);
        let check = part_of(id, "check", wave, live.attempt);
        live.attempt += 1;
        let minions: Vec<MinionId> = live.members.iter().cloned().collect();
        let left_ms = live.deadline.since_ms(self.now).clamp(1_000, CHECK_MS_MAX);
        let wish = Wish {
            id: check,
            target: target_text(&minions, || format!("wave {wave} of job {}", id.short())),
            kind: JobKind::Run {
                command: gate.check.clone(),
                shell: false,
                cwd: None,
                user: None,
                environment: BTreeMap::new(),
                timeout_ms: left_ms,
            },
            expires_ms: left_ms,
            wait: false,
            retry_of: None,
            rolling: None,
            caller,
            hops,
        };
        match self.submit(wish, Ok(minions)) {
            Ok(job) => {
                live.check = Some(check);
                self.rolls.checks.insert(check, id);
                self.launch(&job);
                if !self.book.open.contains_key(&check) {
                    // Nobody could be reached.
                    (live.check, live.again_at) = (None, self.now.plus_ms(CHECK_WAIT_MS));
                }
            }
            Err(error) => {
                live.again_at = self.now.plus_ms(CHECK_WAIT_MS);
                live.said = Some(error.message);
            }
        }
        waits(live)
    }

    /// A job ended, perhaps a gate's check.
    pub(crate) fn gate_job_ended(&mut self, job: &Job, good: bool) {
        let Some(id) = self.rolls.checks.remove(&job.id) else { return };
        let now = self.now;
        let bad = self.book.bad_of(job.id).unwrap_or_default();
        let first = bad.first().map(|it| {
            let whole = self.book.whole_job(job.id).and_then(|whole| whole.targets.get(it));
            match whole.map(|it| &it.target.state) {
                Some(TargetState::Ended { code: Some(code), .. }) => format!("{it} (exit {code})"),
                Some(TargetState::Ended { word, .. }) => format!("{it} ({})", word.word()),
                _ => it.to_string(),
            }
        });
        let Some(gate) = self.rolls.live.get_mut(&id).and_then(|it| it.gate.as_mut()) else { return };
        (gate.check, gate.passed) = (None, good);
        if !good {
            gate.again_at = now.plus_ms(CHECK_WAIT_MS);
            gate.said =
                Some(format!("the check of job {} failed on {}", job.id.short(), first.unwrap_or_default()));
        }
        self.rolls.look_at(id);
    }
}
