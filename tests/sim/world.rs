//! The world around the cores: time, and what happens in it, in order.

use crate::{
    check::{Checker, View},
    dice::Dice,
    links::{Link, Parcel},
    nodes::{MasterNode, MinionNode, Room},
    plan::more::{Feature, features},
    tables::Tables,
};
use bus::{Identity, message::EnrollAnswer};
use minion::core as nc;
use model::{JobId, Request, TargetState};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// A time that machines can have.
const BEGIN: u64 = 1_800_000_000_000;
/// Two minutes before clocks in Berlin go forward, and back.
const SPRING: u64 = 1_806_195_600_000 - 120_000;
const AUTUMN: u64 = 1_824_944_400_000 - 120_000;
/// What worlds are made of now; those of plan 1 have jobs, enrolment and a few rules only.
pub(crate) const PLAN: u64 = 2;
/// Faults happen so long.
pub(crate) const TROUBLE_MS: u64 = 300_000;
/// Then all is well so long, at most.
const CALM_MS: u64 = 600_000;
/// Between two looks whether all has come to an end.
const LOOK_MS: u64 = 10_000;
/// By then a master takes who is not back for lost.
const RETURN_MS: u64 = 150_000;
/// Happenings of one world.
const HAPPENINGS_MAX: u64 = 200_000;

/// Something that will happen.
pub(crate) enum Happening {
    MasterStart,
    MasterTick(u64),
    Commit(u64),
    MinionStart(usize),
    MinionTick(usize, u64),
    Enroll(usize),
    Answer { index: usize, life: u32, answer: EnrollAnswer },
    Connect(usize),
    ToMaster(Parcel),
    ToMinion(Parcel),
    CutLink(u64),
    MasterHearsEnd(u64),
    MinionHearsEnd(u64),
    Compiled { generation: u64, job: JobId, minion: usize, good: bool },
    Progress { minion: usize, generation: u64, job: JobId },
    RunDone { minion: usize, generation: u64, job: JobId },
    RunFails { minion: usize, generation: u64, job: JobId, end: Box<nc::RunEnd> },
    Ask(Asking),
    LookAtKeys,
    MakeEvent(usize),
    Cut,
    Dark(usize, u64),
    Die(usize),
    KillWorker(usize),
    CrashMaster,
    CrashMinion(usize),
    FillMaster(Room),
    FillMinion(usize, Option<usize>),
    SetMasterClock(i64),
    SetMinionClock(usize, i64),
    Backup,
    Restore,
    Replay,
    Look,
    Scheduled { minion: usize, generation: u64, scheduled: Box<nc::Scheduled> },
    Reboot { minion: usize, generation: u64 },
    Called { generation: u64, id: String, called: master::core::Called },
    Ghost(usize),
}

/// Which history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seed {
    pub(crate) number: u64,
    pub(crate) plan: u64,
}

impl Seed {
    pub(crate) fn new(number: u64) -> Self {
        Self { number, plan: PLAN }
    }
}

/// As one writes it behind `--seed`.
impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.plan {
            PLAN => write!(f, "{}", self.number),
            plan => write!(f, "{} --plan {plan}", self.number),
        }
    }
}

/// Somebody asks, and asks again if nothing is heard.
#[derive(Clone)]
pub(crate) struct Asking {
    pub(crate) request: Box<Request>,
    pub(crate) tries: u32,
}

impl Asking {
    pub(crate) fn of(request: Request) -> Self {
        Self { request: Box::new(request), tries: 0 }
    }
}

/// What came of a seed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Summary {
    pub(crate) jobs: u64,
    pub(crate) starts: u64,
    pub(crate) cuts: u64,
    pub(crate) partitions: u64,
    pub(crate) tampered: u64,
    pub(crate) refused: u64,
    pub(crate) master_crashes: u64,
    pub(crate) minion_crashes: u64,
    pub(crate) full: u64,
    pub(crate) restores: u64,
    pub(crate) waves: u64,
    pub(crate) slots: u64,
    pub(crate) own_slots: u64,
    pub(crate) remembered: u64,
    pub(crate) calls: u64,
    pub(crate) calls_again: u64,
    pub(crate) reboots: u64,
    pub(crate) ghosts: u64,
    pub(crate) suspended: u64,
    pub(crate) words: BTreeMap<String, u64>,
}

impl Summary {
    pub(crate) fn add(&mut self, other: &Self) {
        self.jobs += other.jobs;
        self.starts += other.starts;
        self.cuts += other.cuts;
        self.partitions += other.partitions;
        self.tampered += other.tampered;
        self.refused += other.refused;
        self.master_crashes += other.master_crashes;
        self.minion_crashes += other.minion_crashes;
        self.full += other.full;
        self.restores += other.restores;
        self.waves += other.waves;
        self.slots += other.slots;
        self.own_slots += other.own_slots;
        self.remembered += other.remembered;
        self.calls += other.calls;
        self.calls_again += other.calls_again;
        self.reboots += other.reboots;
        self.ghosts += other.ghosts;
        self.suspended += other.suspended;
        for (word, count) in &other.words {
            *self.words.entry(word.clone()).or_default() += count;
        }
    }
}

/// One master, some minions, one seed.
pub(crate) struct World {
    pub(crate) dice: Dice,
    pub(crate) features: BTreeSet<Feature>,
    begin: u64,
    pub(crate) now: u64,
    pub(crate) number: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    pub(crate) identity: Identity,
    pub(crate) rules: lang::rules::Rules,
    pub(crate) master: MasterNode,
    pub(crate) minions: Vec<MinionNode>,
    pub(crate) links: BTreeMap<u64, Link>,
    pub(crate) epochs: u64,
    pub(crate) heard: Vec<Vec<u8>>,
    /// Questions without an answer, by ticket.
    pub(crate) asked: BTreeMap<u64, Asking>,
    pub(crate) backup: Option<(Tables, View)>,
    pub(crate) check: Checker,
    pub(crate) summary: Summary,
}

pub(crate) type Outcome = Result<(), String>;

impl World {
    pub(crate) fn new(seed: Seed) -> Self {
        let (mut dice, mut more) = (Dice::new(seed.number), Dice::new(seed.number ^ 0x5bd1_e995));
        let features = if seed.plan == 1 { BTreeSet::new() } else { features(&mut more) };
        let others = if features.contains(&Feature::Waves) { more.below(3) } else { 0 };
        let begins = [BEGIN, SPRING, AUTUMN];
        let begin = if features.contains(&Feature::Schedules) { more.pick(&begins) } else { BEGIN };
        let count = 1 + usize::try_from(dice.below(4) + others).expect("small");
        let off = |dice: &mut Dice| i64::try_from(dice.below(7_200_000)).expect("small") - 3_600_000;
        let minions = (0..count).map(|index| MinionNode::new(index, off(&mut dice), begin)).collect();
        let mut world = Self {
            dice,
            features,
            begin,
            now: begin,
            number: 0,
            queue: BTreeMap::new(),
            identity: Identity::from_secrets([200; 32], [201; 32]),
            rules: lang::rules::Rules::default(),
            master: MasterNode::new(begin),
            minions,
            links: BTreeMap::new(),
            epochs: 0,
            heard: Vec::new(),
            asked: BTreeMap::new(),
            backup: None,
            check: Checker::default(),
            summary: Summary::default(),
        };
        world.plan(&mut more);
        world
    }

    /// One that writes down what happens.
    pub(crate) fn with_history(seed: Seed) -> Self {
        let mut world = Self::new(seed);
        world.check.history = Some(Vec::new());
        world
    }

    pub(crate) fn at(&mut self, wait: u64, it: Happening) {
        self.number += 1;
        self.queue.insert((self.now + wait, self.number), it);
    }

    pub(crate) fn trouble(&self) -> bool {
        self.now < self.begin + TROUBLE_MS
    }

    pub(crate) fn has(&self, feature: Feature) -> bool {
        self.features.contains(&feature)
    }

    /// Whether a process dies right here.
    pub(crate) fn dies(&mut self) -> bool {
        self.trouble() && self.dice.one_in(200)
    }

    /// Lives through it all, then judges.
    pub(crate) fn run(&mut self) -> Result<Summary, String> {
        while let Some(((at, number), it)) = self.queue.pop_first() {
            if at > self.begin + TROUBLE_MS + CALM_MS {
                break;
            }
            if number > HAPPENINGS_MAX {
                return Err("it never comes to rest".to_owned());
            }
            let over = matches!(it, Happening::Look) && self.has_settled();
            self.now = at;
            let passed = at - self.begin;
            self.check.note(|| format!("--- {passed} ms"));
            self.happen(it).map_err(|it| format!("at {passed} ms: {it}"))?;
            if over {
                break;
            }
        }
        self.judge()?;
        self.summary.jobs = self.check.submitted.len() as u64;
        self.summary.starts = self.check.starts.values().map(|it| it.len() as u64).sum();
        for end in self.check.view.ended.values() {
            if let TargetState::Ended { word, .. } = end.state {
                *self.summary.words.entry(word.word().to_owned()).or_default() += 1;
            }
        }
        self.summary.waves = self.check.waves;
        self.summary.slots = self.check.view.slots.count();
        self.summary.own_slots = self.check.own.jobs.len() as u64;
        self.summary.remembered = self.check.view.memory.decisions;
        (self.summary.calls, self.summary.calls_again) =
            (self.check.services.made, self.check.services.again);
        Ok(self.summary.clone())
    }

    fn dead(&self) -> BTreeSet<model::MinionId> {
        self.minions.iter().filter(|it| it.dead).map(|it| it.id.clone()).collect()
    }

    /// Nothing is left that could still come to an end. Who is dead is missed only after a while.
    fn has_settled(&self) -> bool {
        let dead = self.dead();
        let over = |expires: u64| self.now > expires.max(self.begin + TROUBLE_MS) + RETURN_MS;
        let ended = self.check.open().all(|it| dead.contains(&it.1) && over(self.check.expires(it.0)));
        ended && self.check.missing_events(&dead).is_none() && self.check.has_settled(&dead)
    }

    fn judge(&mut self) -> Outcome {
        let time = self.master.time(self.now).0;
        self.check.finish(&self.dead())?;
        self.check.finish_more(&self.dead(), &self.rules, time)?;
        // What has no end because its minion is away shows that.
        let open: Vec<_> = self.check.open().cloned().collect();
        for (job, minion) in open {
            // Of a machine that was booting anew it is shown later than worlds last.
            if !self.has(Feature::Reboots) && !self.shows_lost_contact(job, &minion)? {
                return Err(format!("job {job} on {minion}: neither an end nor lost contact"));
            }
        }
        Ok(())
    }

    fn happen(&mut self, it: Happening) -> Outcome {
        match it {
            Happening::MasterStart => self.master_start(),
            Happening::MasterTick(generation) if generation == self.master.generation => self.master_tick(),
            Happening::Commit(generation) if generation == self.master.generation => self.commit(),
            Happening::MinionStart(index) => self.minion_start(index),
            Happening::MinionTick(index, generation) if generation == self.minions[index].generation => {
                self.minions[index].tick_at = None;
                self.minion_step(index, nc::Input::Tick)
            }
            Happening::Enroll(index) => self.enroll(index),
            Happening::Answer { index, life, answer } if life == self.minions[index].life => {
                self.answered(index, &answer);
                Ok(())
            }
            Happening::Connect(index) => self.connect(index),
            Happening::ToMaster(parcel) => self.reach_master(&parcel),
            Happening::ToMinion(parcel) => self.reach_minion(&parcel),
            Happening::MasterHearsEnd(epoch) => self.master_hears_end(epoch),
            Happening::MinionHearsEnd(epoch) => self.minion_hears_end(epoch),
            Happening::Compiled { generation, job, minion, good } if generation == self.master.generation => {
                self.compiled(job, minion, good)
            }
            Happening::Progress { minion, generation, job }
                if generation == self.minions[minion].generation =>
            {
                self.progress(minion, job)
            }
            Happening::RunDone { minion, generation, job } => self.run_done(minion, generation, job),
            Happening::RunFails { minion, generation, job, end }
                if generation == self.minions[minion].generation =>
            {
                self.minion_step(minion, nc::Input::RunEnded { job, end: *end })
            }
            Happening::Ask(asking) => self.ask(asking),
            Happening::LookAtKeys => self.look_at_keys(),
            Happening::MakeEvent(index) => self.make_event(index),
            Happening::FillMaster(room) => self.fill_master(room),
            Happening::Replay => self.replay(),
            Happening::Ghost(index) => self.ghost(index),
            Happening::Scheduled { minion, generation, scheduled }
                if generation == self.minions[minion].generation =>
            {
                self.minion_step(minion, nc::Input::Scheduled(scheduled))
            }
            Happening::Called { generation, id, called } if generation == self.master.generation => {
                self.called(&id, called)
            }
            fault => {
                self.befall(&fault);
                Ok(())
            }
        }
    }

    /// What needs no answer; and what comes too late for the process it was meant for.
    fn befall(&mut self, it: &Happening) {
        match *it {
            Happening::KillWorker(index) => self.kill_worker(index),
            Happening::CutLink(epoch) => self.cut(epoch),
            Happening::Cut => {
                let all: Vec<u64> = self.links.values().filter(|it| !it.cut).map(|it| it.epoch).collect();
                if !all.is_empty() {
                    let epoch = self.dice.pick(&all);
                    self.cut(epoch);
                }
            }
            Happening::Dark(index, ms) => self.darken(index, ms),
            Happening::Die(index) => {
                self.minions[index].dead = true;
                self.crash_minion(index);
            }
            Happening::CrashMaster => self.crash_master(),
            Happening::CrashMinion(index) if self.minions[index].core.is_some() => self.crash_minion(index),
            Happening::FillMinion(index, room) => {
                let mut platter = self.minions[index].disk.platter();
                match room {
                    Some(room) => platter.room = Some(room),
                    None => platter.free(),
                }
            }
            Happening::Reboot { minion, generation } if generation == self.minions[minion].generation => {
                self.summary.reboots += 1;
                self.boot_anew(minion);
            }
            Happening::SetMasterClock(off) => {
                self.check.idle.odd_clock |= off != self.master.machine.off;
                self.master.machine.off = off;
            }
            Happening::SetMinionClock(index, off) => self.minions[index].machine.off = off,
            Happening::Backup => self.backup = Some((self.master.tables.clone(), self.check.view.clone())),
            Happening::Restore => self.restore(),
            Happening::Look => self.at(LOOK_MS, Happening::Look),
            _ => {}
        }
    }
}
