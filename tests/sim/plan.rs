//! What is to happen in a world, drawn from its seed before it begins: jobs, events, cuts, deaths.

use crate::world::{Happening, TROUBLE_MS, World};
use model::{JobId, JobKind, Mode, Request};
use serde_json::Map;
use std::collections::BTreeMap;

impl World {
    /// Everything that is known beforehand.
    pub(crate) fn plan(&mut self) {
        self.at(0, Happening::MasterStart);
        for index in 0..self.minions.len() {
            let wait = self.dice.below(20_000);
            self.at(wait, Happening::Enroll(index));
            for _ in 0..3 {
                let wait = self.dice.below(TROUBLE_MS);
                self.at(wait, Happening::MakeEvent(index));
            }
        }
        for _ in 0..3 + self.dice.below(8) {
            let wait = self.dice.below(TROUBLE_MS);
            self.plan_job(wait);
        }
        for _ in 0..6 {
            let wait = self.dice.below(TROUBLE_MS);
            self.at(wait, Happening::Cut);
            let wait = self.dice.below(TROUBLE_MS);
            self.at(wait, Happening::Replay);
        }
        let wait = TROUBLE_MS / 2 + self.dice.below(TROUBLE_MS / 2);
        let unlucky = self.dice.index(self.minions.len());
        match self.dice.below(6) {
            0 => self.at(wait, Happening::Die(unlucky)),
            1 => {
                let minion = self.minions[unlucky].id.clone();
                self.at(wait, Happening::Ask(Box::new(Request::RemoveMinion { minion })));
            }
            _ => {}
        }
    }

    fn plan_job(&mut self, wait: u64) {
        let job = JobId(u128::from(self.dice.roll()) << 64 | u128::from(self.dice.roll()));
        let command = JobKind::Run {
            command: vec!["true".to_owned()],
            shell: false,
            cwd: None,
            user: None,
            environment: BTreeMap::new(),
            timeout_ms: 60_000,
        };
        let states = if self.dice.one_in(2) { Vec::new() } else { vec!["web".to_owned()] };
        let apply =
            JobKind::Apply { states, mode: Mode::Apply, pillar: Map::new(), env: None, confirm_ms: None };
        let kind = if self.dice.one_in(2) { command } else { apply };
        let one = self.minions[self.dice.index(self.minions.len())].id.to_string();
        let target = if self.dice.one_in(2) { "*".to_owned() } else { one };
        let expires_ms = [1_000, 5_000, 60_000, 200_000][self.dice.index(4)];
        let submit =
            Request::Submit { job, target, kind, expires_ms, wait: self.dice.one_in(3), retry_of: None };
        if self.dice.one_in(4) {
            let again = wait + self.dice.below(20_000);
            self.at(again, Happening::Ask(Box::new(submit.clone())));
        }
        if self.dice.one_in(5) {
            let later = wait + self.dice.below(30_000);
            self.at(later, Happening::Ask(Box::new(Request::Cancel { job: job.to_string() })));
        }
        self.at(wait, Happening::Ask(Box::new(submit)));
    }
}
