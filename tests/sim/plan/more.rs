//! What only some worlds have: runs in waves, schedules, rules that remember, services that are called, steps that boot
//! a machine anew, copies of machines.

use super::RULES;
use crate::{
    check::memory,
    dice::Dice,
    world::{Asking, Happening, TROUBLE_MS, World},
};
use lang::{notifiers::Notifiers, rules::Rules};
use model::{
    Gate, JobId, JobKind, MinionSchedule, Missed, Mode, OnStop, Order, Request, Rolling, Share, Times,
};
use serde_json::Map;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, OnceLock},
};

/// What a world may have beside jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Feature {
    Waves,
    Schedules,
    Memory,
    Calls,
    Reboots,
    Clones,
}

const FEATURES: [Feature; 6] =
    [Feature::Waves, Feature::Schedules, Feature::Memory, Feature::Calls, Feature::Reboots, Feature::Clones];

/// Those of one world: each is in every fifth one.
pub(crate) fn features(dice: &mut Dice) -> BTreeSet<Feature> {
    FEATURES.into_iter().filter(|_| dice.one_in(5)).collect()
}

const SCHEDULES: &str = r#"tick:
  schedule: { every: 1m, missed: all }
  do:
    - run: { target: "m-0", command: ["true"] }
minute:
  schedule: { cron: "* * * * *", zone: Europe/Berlin }
  do:
    - event: { tag: minute }
seldom:
  schedule: { every: 25s, missed: skip, jitter: 5s }
  do:
    - event: { tag: seldom }
named:
  schedule: { cron: "*/2 2 * * *", zone: Europe/Berlin, missed: all }
  do:
    - event: { tag: named }
gap:
  schedule: { cron: "30 2 * * *", zone: Europe/Berlin }
  do:
    - event: { tag: gap }
"#;

const CALLS: &str = r#"tell:
  on: minion/+/event/deploy
  do:
    - notify: { to: [desk], title: "{{tag}}", message: "{{minion}}" }
"#;

const NOTIFIERS: &str = r#"notifiers:
  desk: { type: webhook, url: "https://desk.home/hook" }
"#;

/// Rules of a world, read once for each combination.
pub(crate) fn rules(base: bool, features: &BTreeSet<Feature>) -> Rules {
    static READ: [OnceLock<Rules>; 16] = [const { OnceLock::new() }; 16];
    let parts = [
        (base, "reactors/rules.yaml", RULES),
        (features.contains(&Feature::Memory), "reactors/memory.yaml", memory::RULES),
        (features.contains(&Feature::Schedules), "reactors/schedules.yaml", SCHEDULES),
        (features.contains(&Feature::Calls), "reactors/calls.yaml", CALLS),
    ];
    let place = parts.iter().fold(0, |place, it| place * 2 + usize::from(it.0));
    let read = || {
        let files = parts.iter().filter(|it| it.0).map(|it| (it.1, it.2));
        let tree = lang::Tree::of_texts(files.chain([("states/web.sls", "web:\n  test.nop: []\n")]));
        let rules = Rules::load(&tree);
        rules.value.unwrap_or_else(|| panic!("{:?}", rules.diagnostics))
    };
    READ[place].get_or_init(read).clone()
}

/// Who can be told.
pub(crate) fn notifiers() -> Arc<Notifiers> {
    static READ: OnceLock<Arc<Notifiers>> = OnceLock::new();
    let read = || {
        let parsed = Notifiers::parse("notify.yaml", NOTIFIERS, &|_| Err("there are no files".to_owned()));
        Arc::new(parsed.value.unwrap_or_else(|| panic!("{:?}", parsed.diagnostics)))
    };
    Arc::clone(READ.get_or_init(read))
}

/// What minions do by the clock by themselves.
pub(crate) fn own_schedules() -> Vec<MinionSchedule> {
    let every = |name: &str, every_ms, jitter_ms| MinionSchedule {
        name: name.to_owned(),
        times: Times::Every { every_ms, offset_ms: 0 },
        jitter_ms,
        missed: Missed::Once,
    };
    vec![every("tidy", 45_000, 0), every("look", 70_000, 10_000)]
}

impl World {
    /// Beside all the rest.
    pub(super) fn plan_more(&mut self, dice: &mut Dice) {
        if self.has(Feature::Waves) {
            for _ in 0..2 {
                self.plan_waves(dice);
            }
        }
        if self.has(Feature::Memory) || self.has(Feature::Calls) {
            for index in 0..self.minions.len() {
                for _ in 0..6 {
                    self.at(dice.below(TROUBLE_MS), Happening::MakeEvent(index));
                }
            }
        }
        if self.has(Feature::Clones) {
            let wait = 60_000 + dice.below(TROUBLE_MS / 2);
            let index = dice.index(self.minions.len());
            for times in 0..3 {
                self.at(wait + times * 20_000, Happening::Ghost(index));
            }
        }
        // The master dies more often: what goes on for long must go on behind it.
        if !self.features.is_empty() {
            self.at(dice.below(TROUBLE_MS), Happening::CrashMaster);
        }
    }

    fn plan_waves(&mut self, dice: &mut Dice) {
        let job = JobId(u128::from(dice.roll()) << 64 | u128::from(dice.roll()));
        let undo = dice.one_in(2);
        let command = JobKind::Run {
            command: vec!["true".to_owned()],
            shell: false,
            cwd: None,
            user: None,
            environment: BTreeMap::new(),
            timeout_ms: 60_000,
        };
        let states = vec!["web".to_owned()];
        let apply =
            JobKind::Apply { states, mode: Mode::Apply, pillar: Map::new(), env: None, confirm_ms: None };
        let kind = if undo || dice.one_in(2) { apply } else { command };
        let gate = Gate {
            when: None,
            quiet: dice.one_in(2).then(|| "event/deploy".to_owned()),
            check: if dice.one_in(2) { vec!["check".to_owned(), job.to_string()] } else { Vec::new() },
            hold_ms: dice.pick(&[0, 3_000]),
            timeout_ms: Some(60_000),
        };
        let gated = gate.quiet.is_some() || !gate.check.is_empty();
        let rolling = Rolling {
            batch: dice.pick(&[Share::Count(1), Share::Count(2), Share::Percent(50)]),
            batch_wait_ms: dice.pick(&[0, 0, 4_000]),
            max_fail: dice.pick(&[Share::Count(1), Share::Count(2), Share::ALL]),
            order: dice.pick(&[Order::Name, Order::Random, Order::Oldest]),
            canary: dice.one_in(2).then_some(Share::Count(1)),
            gate: Some(gate).filter(|_| gated && dice.one_in(2)),
            on_stop: if undo { OnStop::Undo } else { OnStop::Stop },
        };
        let submit = Request::Submit {
            job,
            target: "*".to_owned(),
            kind,
            expires_ms: dice.pick(&[10_000, 60_000]),
            wait: dice.one_in(4),
            retry_of: None,
            rolling: Some(Box::new(rolling)),
        };
        let wait = 20_000 + dice.below(TROUBLE_MS - 20_000);
        if dice.one_in(8) {
            let cancel = Request::Cancel { job: job.to_string() };
            self.at(wait + dice.below(60_000), Happening::Ask(Asking::of(cancel)));
        }
        self.at(wait, Happening::Ask(Asking::of(submit)));
    }
}
