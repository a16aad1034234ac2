//! The world around the cores: time, a network that delays and breaks, processes that die between two effects.

use crate::{
    check::Checker,
    link::{Ends, GateEnd, Link},
    nodes::{MasterNode, MinionNode},
};
use bus::{Identity, message};
use master::core as mc;
use minion::core as nc;
use model::{Caller, ContentHash, JobId, KeyStatus, Reply, Request, Revision, Timestamp, TokenTerms};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

const BEGIN: u64 = 1_000_000_000;
/// Faults happen so long.
pub(crate) const TROUBLE_MS: u64 = 300_000;
/// Then all is well so long.
const CALM_MS: u64 = 420_000;
/// Happenings of one world.
const HAPPENINGS_MAX: u64 = 200_000;

/// Draws that one seed fixes (`SplitMix64`).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut it = self.0;
        it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        it ^ (it >> 31)
    }
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }
    /// Which of so many.
    pub(crate) fn index(&mut self, of: usize) -> usize {
        usize::try_from(self.below(of as u64)).expect("it is below a usize")
    }
    pub(crate) fn one_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }
}

/// Something that will happen.
pub(crate) enum Happening {
    MasterStart,
    MasterTick,
    MinionStart(usize),
    MinionTick(usize),
    Enroll(usize),
    Connect(usize),
    ToMaster(u64, Vec<u8>),
    ToMinion(u64, Vec<u8>),
    MasterHearsEnd(u64),
    MinionHearsEnd(u64),
    Compiled { generation: u64, job: JobId, minion: usize, good: bool },
    RunDone { minion: usize, generation: u64, job: JobId },
    Ask(Box<Request>),
    MakeEvent(usize),
    Cut,
    Die(usize),
    Replay,
}

/// What came of a seed.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(crate) jobs: u64,
    pub(crate) starts: u64,
    pub(crate) cuts: u64,
    pub(crate) master_crashes: u64,
    pub(crate) minion_crashes: u64,
    pub(crate) replays_refused: u64,
    pub(crate) words: BTreeMap<String, u64>,
    pub(crate) history: u64,
}

impl Summary {
    pub(crate) fn add(&mut self, other: &Self) {
        self.jobs += other.jobs;
        self.starts += other.starts;
        self.cuts += other.cuts;
        self.master_crashes += other.master_crashes;
        self.minion_crashes += other.minion_crashes;
        self.replays_refused += other.replays_refused;
        for (word, count) in &other.words {
            *self.words.entry(word.clone()).or_default() += count;
        }
        self.history ^= other.history;
    }
}

/// One master, some minions, one seed.
pub(crate) struct World {
    pub(crate) dice: Dice,
    pub(crate) now: u64,
    pub(crate) number: u64,
    pub(crate) queue: BTreeMap<(u64, u64), Happening>,
    pub(crate) identity: Identity,
    pub(crate) master: MasterNode,
    pub(crate) minions: Vec<MinionNode>,
    pub(crate) links: BTreeMap<u64, Link>,
    pub(crate) epochs: u64,
    pub(crate) heard: Vec<Vec<u8>>,
    pub(crate) check: Checker,
    pub(crate) removed: BTreeSet<model::MinionId>,
    pub(crate) summary: Summary,
}

pub(crate) type Outcome = Result<(), String>;

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut dice = Dice(seed.wrapping_mul(0x5851_f42d_4c95_7f2d));
        let count = 1 + usize::try_from(dice.below(4)).expect("small");
        let clock = |dice: &mut Dice| i64::try_from(dice.below(7_200_000)).expect("small") - 3_600_000;
        let minions = (0..count).map(|index| MinionNode::new(index, clock(&mut dice))).collect();
        let mut world = Self {
            dice,
            now: BEGIN,
            number: 0,
            queue: BTreeMap::new(),
            identity: Identity::from_secrets([200; 32], [201; 32]),
            master: MasterNode::new(),
            minions,
            links: BTreeMap::new(),
            epochs: 0,
            heard: Vec::new(),
            check: Checker::default(),
            removed: BTreeSet::new(),
            summary: Summary::default(),
        };
        world.plan();
        world
    }

    pub(crate) fn at(&mut self, wait: u64, it: Happening) {
        self.number += 1;
        self.queue.insert((self.now + wait, self.number), it);
    }

    pub(crate) fn trouble(&self) -> bool {
        self.now < BEGIN + TROUBLE_MS
    }

    pub(crate) fn delay(&mut self) -> u64 {
        let longest = if self.trouble() { [20, 200, 2_000][self.dice.index(3)] } else { 50 };
        1 + self.dice.below(longest)
    }

    /// Lives through it all, then judges.
    pub(crate) fn run(mut self) -> Result<Summary, String> {
        while let Some(((at, number), it)) = self.queue.pop_first() {
            if at > BEGIN + TROUBLE_MS + CALM_MS {
                break;
            }
            if number > HAPPENINGS_MAX {
                return Err("it never comes to rest".to_owned());
            }
            self.now = at;
            self.happen(it).map_err(|it| format!("at {} ms: {it}", at - BEGIN))?;
        }
        self.judge()?;
        self.summary.jobs = self.check.submitted.len() as u64;
        self.summary.starts = self.check.starts.values().map(|it| it.len() as u64).sum();
        for end in self.check.ended.values() {
            if let model::TargetState::Ended { word, .. } = end.state {
                *self.summary.words.entry(word.word().to_owned()).or_default() += 1;
            }
        }
        self.summary.history = self.check.history;
        Ok(self.summary)
    }

    fn judge(&mut self) -> Outcome {
        let dead: BTreeSet<_> = self
            .minions
            .iter()
            .filter(|it| it.gone && !self.removed.contains(&it.id))
            .map(|it| it.id.clone())
            .collect();
        let gone = dead.iter().chain(&self.removed).cloned().collect();
        self.check.finish(&dead, &gone)?;
        // What has no end because its minion is away shows that.
        let open: Vec<_> =
            self.check.targets.iter().filter(|it| !self.check.ended.contains_key(*it)).cloned().collect();
        for (job, minion) in open {
            let view = self.master.core.as_mut().ok_or("the master did not come back")?;
            let effects = view.step(Timestamp(self.now), ask(0, Request::Job { job: job.to_string() }));
            let lost = effects.iter().any(|it| {
                matches!(it, mc::Effect::Reply { reply, .. } if matches!(&**reply, Reply::Job(view)
                    if view.targets.iter().any(|it| it.minion == minion && it.lost.is_some())))
            });
            if !lost {
                return Err(format!("job {job} on {minion}: neither an end nor lost contact: {effects:?}"));
            }
        }
        Ok(())
    }

    fn happen(&mut self, it: Happening) -> Outcome {
        match it {
            Happening::MasterStart => {
                self.master.start(self.now);
                let revision = Revision(ContentHash([7; 32]));
                self.master_step(mc::Input::Sources { revision, rules: lang::rules::Rules::default() })
            }
            Happening::MasterTick => {
                self.master.tick_at = None;
                self.master_step(mc::Input::Tick)
            }
            Happening::MinionStart(index) => {
                let node = &mut self.minions[index];
                if node.gone || node.core.is_some() {
                    return Ok(());
                }
                node.start(self.now);
                let wait = self.dice.below(2_000);
                self.at(wait, Happening::Connect(index));
                self.minion_step(index, nc::Input::Started)
            }
            Happening::MinionTick(index) => {
                self.minions[index].tick_at = None;
                self.minion_step(index, nc::Input::Tick)
            }
            Happening::Enroll(index) => self.enroll(index),
            Happening::Connect(index) => self.connect(index),
            Happening::ToMaster(epoch, bytes) => self.reach_master(epoch, &bytes),
            Happening::ToMinion(epoch, bytes) => self.reach_minion(epoch, &bytes),
            Happening::MasterHearsEnd(epoch) => self.master_hears_end(epoch),
            Happening::MinionHearsEnd(epoch) => self.minion_hears_end(epoch),
            Happening::Compiled { generation, .. } if generation != self.master.generation => Ok(()),
            Happening::Compiled { job, minion, good, .. } => self.compiled(job, minion, good),
            Happening::RunDone { minion, generation, job } => self.run_done(minion, generation, job),
            Happening::Ask(request) => self.ask(*request),
            Happening::MakeEvent(index) => {
                let node = &mut self.minions[index];
                if node.core.is_none() {
                    return Ok(());
                }
                node.events_made += 1;
                let data = json!({"number": node.events_made});
                self.minion_step(index, nc::Input::Event { tag: "event/made".to_owned(), data })
            }
            Happening::Cut => {
                let all: Vec<u64> = self.links.values().filter(|it| !it.cut).map(|it| it.epoch).collect();
                if !all.is_empty() {
                    let epoch = all[self.dice.index(all.len())];
                    self.cut(epoch);
                }
                Ok(())
            }
            Happening::Die(index) => {
                self.minions[index].gone = true;
                self.crash_minion(index);
                Ok(())
            }
            Happening::Replay => self.replay(),
        }
    }

    fn master_hears_end(&mut self, epoch: u64) -> Outcome {
        let Some(index) = self.links.get(&epoch).map(|it| it.minion) else { return Ok(()) };
        if self.master.links.get(&index).is_some_and(|it| it.epoch == epoch) {
            self.master.links.remove(&index);
        }
        let minion = self.minions[index].id.clone();
        self.master_step(mc::Input::Disconnected { minion, epoch })
    }

    fn minion_hears_end(&mut self, epoch: u64) -> Outcome {
        let Some(index) = self.links.get(&epoch).map(|it| it.minion) else { return Ok(()) };
        if self.minions[index].link != Some(epoch) {
            return Ok(());
        }
        self.minions[index].link = None;
        let wait = 500 + self.dice.below(8_000);
        self.at(wait, Happening::Connect(index));
        self.minion_step(index, nc::Input::Disconnected)
    }

    fn compiled(&mut self, job: JobId, minion: usize, good: bool) -> Outcome {
        let hash = ContentHash([1; 32]);
        let result = if good {
            Ok(mc::SealedRef { hash, size: 10, steps: 1, grants: Vec::new() })
        } else {
            Err(Vec::new())
        };
        let minion = self.minions[minion].id.clone();
        self.master_step(mc::Input::Compiled {
            job,
            minion,
            revision: Revision(ContentHash([7; 32])),
            result,
        })
    }

    fn ask(&mut self, request: Request) -> Outcome {
        if self.master.core.is_none() {
            // The same again, as `labctl` does.
            self.at(3_000, Happening::Ask(Box::new(request)));
            return Ok(());
        }
        self.number += 1;
        self.master_step(ask(self.number, request))
    }

    fn enroll(&mut self, index: usize) -> Outcome {
        let node = &self.minions[index];
        let member = self.master.core.as_ref().is_some_and(|it| it.minion(&node.id).is_some());
        let (id, key) = (node.id.clone(), node.identity.public());
        let seal = node.identity.seal_key().to_text();
        if member {
            self.at(1, Happening::MinionStart(index));
            return Ok(());
        }
        self.at(5_000, Happening::Enroll(index));
        let terms = TokenTerms {
            name: "sim".to_owned(),
            image_key: "image".to_owned(),
            ids: "m-*".to_owned(),
            labels: BTreeMap::new(),
            cidr: Vec::new(),
            not_before: Timestamp(0),
            expires: Timestamp(u64::MAX),
            uses: 4,
            replace: model::Replace::Never,
            retire_after_ms: None,
        };
        let request = message::EnrollRequest {
            minion: id,
            sign: key.to_text(),
            seal,
            version: "0.1.0".to_owned(),
            claims: BTreeMap::new(),
            token: None,
            image_sig: None,
        };
        self.master_step(mc::Input::Enroll {
            fingerprint: key.fingerprint(),
            request: Box::new(request),
            terms: Ok(Box::new(terms)),
            address: "10.0.0.1".to_owned(),
        })
    }

    fn connect(&mut self, index: usize) -> Outcome {
        let node = &self.minions[index];
        if node.core.is_none() || node.link.is_some() {
            return Ok(());
        }
        let Some(master) = &self.master.core else {
            let wait = 1_000 + self.dice.below(5_000);
            self.at(wait, Happening::Connect(index));
            return Ok(());
        };
        let known = master.key(&node.identity.public().fingerprint());
        if known.is_none_or(|it| it.status != KeyStatus::Accepted) {
            return Ok(());
        }
        self.epochs += 1;
        let epoch = self.epochs;
        let session = format!("session-{epoch}");
        self.links.insert(epoch, Link::new(epoch, index, &session));
        self.master.links.insert(index, GateEnd::new(epoch, &session));
        self.minions[index].link = Some(epoch);
        let minion = self.minions[index].id.clone();
        let address = format!("10.0.0.{index}");
        self.master_step(mc::Input::Connected { minion, epoch, address })?;
        if self.minions[index].link == Some(epoch) {
            self.minion_step(index, nc::Input::Connected)?;
        }
        Ok(())
    }

    /// Nothing passes any more; each end hears of it at its own time.
    pub(crate) fn cut(&mut self, epoch: u64) {
        let Some(link) = self.links.get_mut(&epoch).filter(|it| !it.cut) else { return };
        link.cut = true;
        self.summary.cuts += 1;
        let slow = if self.trouble() { [100, 5_000, 70_000][self.dice.index(3)] } else { 100 };
        let (master, minion) = (self.dice.below(slow), self.dice.below(5_000));
        self.at(master, Happening::MasterHearsEnd(epoch));
        self.at(minion, Happening::MinionHearsEnd(epoch));
    }

    fn reach_master(&mut self, epoch: u64, bytes: &[u8]) -> Outcome {
        let Some(link) = self.links.get_mut(&epoch).filter(|it| !it.cut) else { return Ok(()) };
        let node = &self.minions[link.minion];
        let ends = Ends { id: &node.id, minion: &node.identity, master: &self.identity };
        let message = link.open_at_master(&ends, bytes).ok_or("the gate refused an honest message")?;
        let minion = node.id.clone();
        self.overhear(bytes);
        self.master_step(mc::Input::Message { minion, epoch, message: Box::new(message) })
    }

    fn reach_minion(&mut self, epoch: u64, bytes: &[u8]) -> Outcome {
        let Some(link) = self.links.get_mut(&epoch).filter(|it| !it.cut) else { return Ok(()) };
        let index = link.minion;
        let node = &self.minions[index];
        if node.link != Some(epoch) {
            return Ok(());
        }
        let ends = Ends { id: &node.id, minion: &node.identity, master: &self.identity };
        let opened = link.open_at_minion(&ends, bytes).ok_or("a minion refused an honest message")?;
        self.overhear(bytes);
        self.minion_step(index, nc::Input::Message { message: Box::new(opened.0), sent: opened.1 })
    }

    /// Somebody sends again what was heard before, whole or altered, to anybody.
    fn replay(&mut self) -> Outcome {
        let epochs: Vec<u64> = self.links.values().filter(|it| !it.cut).map(|it| it.epoch).collect();
        if epochs.is_empty() || self.heard.is_empty() {
            return Ok(());
        }
        let epoch = epochs[self.dice.index(epochs.len())];
        let mut bytes = self.heard[self.dice.index(self.heard.len())].clone();
        if self.dice.one_in(3) {
            let place = self.dice.index(bytes.len());
            bytes[place] ^= 1;
        }
        // Before the hello only TLS tells who is at the other end.
        let Some(link) = self.links.get_mut(&epoch).filter(|it| it.has_begun()) else { return Ok(()) };
        let node = &self.minions[link.minion];
        let ends = Ends { id: &node.id, minion: &node.identity, master: &self.identity };
        if link.open_at_minion(&ends, &bytes).is_some() || link.open_at_master(&ends, &bytes).is_some() {
            return Err("a replayed envelope was believed".to_owned());
        }
        self.summary.replays_refused += 1;
        Ok(())
    }
}

fn ask(ticket: u64, request: Request) -> mc::Input {
    let caller = Caller { name: "admin".to_owned(), via: "sim".to_owned() };
    let request = Box::new(request);
    mc::Input::Request { ticket: mc::Ticket(ticket), caller, request, random: [9; 16] }
}
