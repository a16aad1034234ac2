//! What is to happen in a world, drawn from its seed before it begins: jobs, events, cuts, deaths, full disks, clocks.

pub(crate) mod more;

use crate::{
    dice::Dice,
    nodes::Room,
    world::{Asking, Happening, TROUBLE_MS, World},
};
use model::{JobId, JobKind, KeyDecision, MinionId, Mode, Request};
use serde_json::Map;
use std::collections::BTreeMap;

/// Reactions to what minions say, and to their boots.
const RULES: &str = r#"deploy:
  on: minion/+/event/deploy
  do:
    - apply: { target: "{{minion}}", states: [web] }
often:
  on: minion/+/event/deploy
  count: 2 within 10m
  throttle: 1 per minion per 1m
  do:
    - event: { tag: often }
silent:
  on: minion/+/event/+
  absent: { within: 30s, after: up }
  do:
    - run: { target: "{{minion}}", command: ["true"] }
away:
  on: minion/+/lost
  when: presence = lost
  for: 10s
  else_after: { 20s: [ { event: { tag: still } } ] }
  do:
    - event: { tag: away }
configure:
  on: minion/+/start
  once_per: boot
  do:
    - apply: { target: "{{minion}}", states: [] }
"#;

impl World {
    /// Everything that is known beforehand.
    pub(crate) fn plan(&mut self, dice: &mut Dice) {
        self.at(0, Happening::MasterStart);
        self.at(10_000, Happening::LookAtKeys);
        self.at(TROUBLE_MS + 20_000, Happening::Look);
        self.check.rules = self.dice.one_in(2);
        self.check.memory = self.has(more::Feature::Memory);
        self.rules = more::rules(self.check.rules, &self.features);
        for index in 0..self.minions.len() {
            let wait = self.dice.below(20_000);
            self.at(wait, Happening::Enroll(index));
            for _ in 0..8 {
                let wait = self.time();
                self.at(wait, Happening::MakeEvent(index));
            }
        }
        let mut jobs = Vec::new();
        for _ in 0..5 + self.dice.below(12) {
            let wait = self.time();
            self.plan_job(wait, &mut jobs);
        }
        for _ in 0..4 {
            let wait = self.time();
            self.at(wait, Happening::Cut);
            let wait = self.time();
            self.at(wait, Happening::Replay);
        }
        self.plan_faults();
        self.plan_clocks();
        self.plan_members();
        self.plan_more(dice);
    }

    fn time(&mut self) -> u64 {
        self.dice.below(TROUBLE_MS)
    }

    fn anybody(&mut self) -> usize {
        let count = self.minions.len();
        self.dice.index(count)
    }

    fn plan_faults(&mut self) {
        for _ in 0..2 {
            let (wait, index, ms) = (self.time(), self.anybody(), self.dice.pick(&[3_000, 30_000, 90_000]));
            self.at(wait, Happening::Dark(index, ms));
            let (wait, index) = (self.time(), self.anybody());
            self.at(wait, Happening::KillWorker(index));
            let (wait, index) = (self.time(), self.anybody());
            self.at(wait, Happening::CrashMinion(index));
        }
        let wait = self.time();
        self.at(wait, Happening::CrashMaster);
        if self.dice.one_in(4) {
            let (wait, ms) = (self.time(), self.dice.pick(&[5_000, 60_000]));
            let left = u32::try_from(self.dice.below(30)).expect("small");
            self.at(wait, Happening::FillMaster(Room::Full(left)));
            self.at((wait + ms).min(TROUBLE_MS), Happening::FillMaster(Room::Plenty));
        }
        if self.dice.one_in(3) {
            let (wait, index, ms) = (self.time(), self.anybody(), self.dice.pick(&[20_000, 100_000]));
            let room = self.dice.index(3_000);
            self.at(wait, Happening::FillMinion(index, Some(room)));
            self.at((wait + ms).min(TROUBLE_MS), Happening::FillMinion(index, None));
        }
        if self.dice.one_in(8) {
            let backup = self.time();
            self.at(backup, Happening::Backup);
            let wait = backup + self.dice.below(TROUBLE_MS - backup);
            self.at(wait, Happening::Restore);
        }
    }

    /// Clocks that are set, forward and back; each is right in the end.
    fn plan_clocks(&mut self) {
        let hour = 3_600_000;
        if self.dice.one_in(4) {
            let (wait, off) = (self.time(), self.dice.pick(&[-hour, -60_000, 60_000]));
            self.at(wait, Happening::SetMasterClock(off));
        }
        self.at(TROUBLE_MS, Happening::SetMasterClock(0));
        for index in 0..self.minions.len() {
            if self.dice.one_in(3) {
                let (wait, off) = (self.time(), self.dice.pick(&[-24 * hour, -hour, hour, 24 * hour]));
                self.at(wait, Happening::SetMinionClock(index, off));
            }
            let wait = TROUBLE_MS / 2 + self.dice.below(TROUBLE_MS / 2);
            self.at(wait, Happening::SetMinionClock(index, 0));
        }
    }

    /// Who dies for good, and who is sent away and let in again.
    fn plan_members(&mut self) {
        let wait = TROUBLE_MS / 3 + self.dice.below(TROUBLE_MS / 2);
        let unlucky = self.anybody();
        let minion = self.minions[unlucky].id.clone();
        let key = minion.to_string();
        match self.dice.below(6) {
            0 => self.at(wait, Happening::Die(unlucky)),
            1 => self.at(wait, Happening::Ask(Asking::of(Request::RemoveMinion { minion }))),
            2 => {
                let decision = KeyDecision::Revoke;
                let request = Request::DecideKey { key, fingerprint: None, decision };
                self.at(wait, Happening::Ask(Asking::of(request)));
            }
            _ => {}
        }
    }

    fn plan_job(&mut self, wait: u64, earlier: &mut Vec<(JobId, String)>) {
        let job = JobId(u128::from(self.dice.roll()) << 64 | u128::from(self.dice.roll()));
        let command = JobKind::Run {
            command: vec!["true".to_owned()],
            shell: false,
            cwd: None,
            user: None,
            environment: BTreeMap::new(),
            timeout_ms: 60_000,
        };
        let confirm_ms = if self.dice.one_in(6) { Some(self.dice.pick(&[20_000, 120_000])) } else { None };
        let states = if self.dice.one_in(2) { Vec::new() } else { vec!["web".to_owned()] };
        let apply = JobKind::Apply { states, mode: Mode::Apply, pillar: Map::new(), env: None, confirm_ms };
        let kind = if self.dice.one_in(2) { command } else { apply };
        let index = self.anybody();
        let one: MinionId = self.minions[index].id.clone();
        let mut target = if self.dice.one_in(2) { "*".to_owned() } else { one.to_string() };
        let mut retry_of = None;
        if self.dice.one_in(4) && !earlier.is_empty() {
            let at = self.dice.index(earlier.len());
            retry_of = Some(earlier[at].0);
            target.clone_from(&earlier[at].1);
        }
        earlier.push((job, target.clone()));
        let expires_ms = self.dice.pick(&[1_000, 5_000, 60_000, 200_000]);
        let submit = Request::Submit {
            job,
            target,
            kind,
            expires_ms,
            wait: self.dice.one_in(3),
            retry_of,
            rolling: None,
        };
        let again = i32::from(self.dice.one_in(4));
        for _ in 0..again {
            let later = wait + self.dice.below(20_000);
            self.at(later, Happening::Ask(Asking::of(submit.clone())));
        }
        let cancels = if self.dice.one_in(4) { 1 + self.dice.below(2) } else { 0 };
        for _ in 0..cancels {
            let later = wait + self.dice.below(30_000);
            let cancel = Request::Cancel { job: job.to_string() };
            self.at(later, Happening::Ask(Asking::of(cancel)));
        }
        self.at(wait, Happening::Ask(Asking::of(submit)));
    }
}
