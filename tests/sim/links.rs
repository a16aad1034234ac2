//! Connections between minions and the gate: signed envelopes on a network that delays, cuts, loses, repeats and swaps.

use crate::{
    nodes::MinionNode,
    world::{Happening, Outcome, World},
};
use bus::{
    FromMinion, Identity, ToMinion, Topic,
    envelope::{self, Sequence},
    message::{CAN_CONDUCT, CAN_CONFIRM, CAN_REBOOT, CAN_WAKE, Hello, Speaker},
};
use master::core as mc;
use minion::core as nc;
use model::{KeyStatus, MinionId, Surroundings, Timestamp};

/// Without a word for so long, an end takes a connection for dead.
const SILENCE_MS: u64 = 45_000;

/// Both ends of a connection.
pub(crate) struct Link {
    pub(crate) epoch: u64,
    pub(crate) minion: usize,
    /// Nothing arrives any more.
    pub(crate) cut: bool,
    /// Somebody between the ends lost, repeated or swapped messages.
    tampered: bool,
    /// When the hello was taken in.
    pub(crate) hello_at: Option<u64>,
    to_master: Way,
    to_minion: Way,
    minion_end: minion::link::Link,
    master_in: Sequence,
}

/// One direction.
#[derive(Default)]
pub(crate) struct Way {
    /// When the last message arrives: they do not overtake each other.
    arrives: u64,
    sent: u64,
    taken: u64,
}

/// An envelope on its way.
#[derive(Clone)]
pub(crate) struct Parcel {
    pub(crate) epoch: u64,
    /// Which one of its connection and direction; nobody sees it but the simulator.
    serial: u64,
    pub(crate) bytes: Vec<u8>,
}

/// The master's end: its numbers are lost with it, as the connection is.
pub(crate) struct GateEnd {
    pub(crate) epoch: u64,
    /// The hello was taken in.
    pub(crate) welcomed: bool,
    out: Sequence,
}

impl Way {
    /// Whether a message that was believed is the next one.
    fn take(&mut self, serial: u64) -> Outcome {
        if serial != self.taken + 1 {
            return Err(format!("envelope {serial} was believed after envelope {}", self.taken));
        }
        self.taken = serial;
        Ok(())
    }
}

impl World {
    /// When something that is sent now arrives, behind what was sent before.
    fn arrival(&mut self, index: usize, before: u64) -> u64 {
        let longest = if self.trouble() { self.dice.pick(&[20, 200, 2_000]) } else { 50 };
        let delay = 1 + self.dice.below(longest);
        before.max(self.now + delay).max(self.minions[index].dark_until)
    }

    /// How many of a message arrive, and how much later than it should.
    fn fate(&mut self) -> (usize, u64) {
        if !self.trouble() || !self.dice.one_in(250) {
            return (1, 0);
        }
        self.summary.tampered += 1;
        self.dice.pick(&[(0, 0), (2, 0), (1, 3_000)])
    }

    fn post(&mut self, epoch: u64, bytes: Vec<u8>, to_master: bool) {
        let Some(link) = self.links.get(&epoch).filter(|it| !it.cut) else { return };
        let index = link.minion;
        let before = if to_master { link.to_master.arrives } else { link.to_minion.arrives };
        let (arrives, (times, late)) = (self.arrival(index, before), self.fate());
        let Some(link) = self.links.get_mut(&epoch) else { return };
        let way = if to_master { &mut link.to_master } else { &mut link.to_minion };
        way.sent += 1;
        way.arrives = arrives;
        link.tampered |= (times, late) != (1, 0);
        let parcel = Parcel { epoch, serial: way.sent, bytes };
        for _ in 0..times {
            let parcel = parcel.clone();
            let wait = arrives + late - self.now;
            self.at(wait, if to_master { Happening::ToMaster(parcel) } else { Happening::ToMinion(parcel) });
        }
    }

    pub(crate) fn send_to_minion(&mut self, id: &MinionId, message: &ToMinion) {
        let (index, now) = (self.index(id), self.now);
        let time = self.master.time(now);
        let Some(end) = self.master.links.get_mut(&index) else { return };
        let header = end.out.next(time, None);
        let bytes = envelope::seal(&Topic::In(id.clone()), &header, message, &self.identity);
        let epoch = end.epoch;
        self.post(epoch, bytes, false);
    }

    pub(crate) fn send_to_master(&mut self, index: usize, message: &FromMinion) {
        let now = self.now;
        let node = &mut self.minions[index];
        let time = node.time(now);
        let Some(link) = node.link.and_then(|it| self.links.get_mut(&it)) else { return };
        let told = match message {
            // The shell knows which machine this is.
            FromMinion::Hello(hello) => {
                let instance = format!("{} {} {}", node.id, node.life, node.generation);
                let speaker = speaker(&instance, node.id.as_str());
                &FromMinion::Hello(Box::new(Hello { speaker, ..(**hello).clone() }))
            }
            other => other,
        };
        let (_, bytes) = link.minion_end.seal(time, told, &node.identity);
        let epoch = link.epoch;
        self.post(epoch, bytes, true);
    }

    /// The same from another process that has the key.
    pub(crate) fn send_on(&mut self, index: usize, epoch: u64, message: &FromMinion) {
        let (now, node) = (self.now, &self.minions[index]);
        let Some(link) = self.links.get_mut(&epoch) else { return };
        let (_, bytes) = link.minion_end.seal(Timestamp(now), message, &node.identity);
        self.post(epoch, bytes, true);
    }

    pub(crate) fn reach_master(&mut self, parcel: &Parcel) -> Outcome {
        let now = self.now;
        let Some(link) = self.links.get_mut(&parcel.epoch).filter(|it| !it.cut) else { return Ok(()) };
        let node = &self.minions[link.minion];
        let (minion, epoch) = (node.id.clone(), link.epoch);
        let opened = open_at_master(link, node, &parcel.bytes);
        let Ok(message) = opened else {
            if link.tampered {
                self.summary.refused += 1;
                self.cut(epoch);
                return Ok(());
            }
            return Err("the gate refused an honest message".to_owned());
        };
        link.to_master.take(parcel.serial)?;
        let index = link.minion;
        let hello = if let FromMinion::Hello(it) = &message {
            link.hello_at = Some(now);
            Some(it.speaker.instance.clone())
        } else {
            None
        };
        self.overhear(&parcel.bytes);
        let time = self.master.time(now);
        if self.master.core.is_some() {
            self.master.heard.insert(index, time);
        }
        let end = self.master.links.get_mut(&index).filter(|it| it.epoch == epoch);
        let first = match (end, &hello) {
            (Some(end), Some(_)) => !std::mem::replace(&mut end.welcomed, true),
            _ => false,
        };
        if matches!(message, FromMinion::Goodbye { .. })
            && let Some(end) = self.master.links.get_mut(&index)
        {
            end.welcomed = false;
        }
        let served = self.master.core.is_some() && !self.is_suspended(&minion);
        let two = hello.is_some_and(|it| first && served && self.proves_two(index, &it));
        self.master_step(mc::Input::Message { minion: minion.clone(), epoch, message: Box::new(message) })?;
        if two && self.master.core.is_some() {
            self.summary.suspended += 1;
            self.master.talkers.remove(&index);
            if !self.is_suspended(&minion) {
                return Err(format!("two machines have the key of {minion}, and both are served"));
            }
        }
        Ok(())
    }

    pub(crate) fn reach_minion(&mut self, parcel: &Parcel) -> Outcome {
        let now = self.now;
        let Some(link) = self.links.get_mut(&parcel.epoch).filter(|it| !it.cut) else { return Ok(()) };
        let index = link.minion;
        if self.minions[index].link != Some(parcel.epoch) {
            return Ok(());
        }
        let time = self.minions[index].time(now);
        let node = &mut self.minions[index];
        let master_now = node.core.as_ref().and_then(|it| it.master_now(time));
        let inbox = Topic::In(node.id.clone()).to_string();
        let Ok((message, sent)) = link.minion_end.open(&inbox, &parcel.bytes, master_now) else {
            if link.tampered {
                self.summary.refused += 1;
                self.begin_again(index);
                return Ok(());
            }
            return Err("a minion refused an honest message".to_owned());
        };
        link.to_minion.take(parcel.serial)?;
        node.heard = Some((sent.0, now));
        if matches!(message, ToMinion::Welcome { .. }) {
            node.welcomed_at = link.hello_at.unwrap_or(now);
        }
        if let ToMinion::Ack { jobs, .. } = &message {
            self.check.heard_ack(jobs, &node.id, node.life);
        }
        self.overhear(&parcel.bytes);
        self.minion_step(index, nc::Input::Message { message: Box::new(message), sent })
    }

    fn overhear(&mut self, bytes: &[u8]) {
        if self.heard.len() < 64 && self.dice.one_in(4) {
            self.heard.push(bytes.to_vec());
        }
    }

    /// A minion tries; what it may is in the tables of the gate's directory.
    pub(crate) fn connect(&mut self, index: usize) -> Outcome {
        let node = &self.minions[index];
        if node.core.is_none() || node.link.is_some() {
            return Ok(());
        }
        if self.master.core.is_none() || node.dark_until > self.now {
            let wait = 1_000 + self.dice.below(5_000);
            self.at(wait, Happening::Connect(index));
            return Ok(());
        }
        let fingerprint = node.identity.public().fingerprint();
        match self.master.tables.keys.get(&fingerprint).map(|it| it.status) {
            Some(KeyStatus::Accepted) => {}
            Some(KeyStatus::Revoked | KeyStatus::Rejected) => {
                self.forget(index);
                return Ok(());
            }
            None
            | Some(KeyStatus::Pending | KeyStatus::Conflict | KeyStatus::Suspended | KeyStatus::Unknown) => {
                let node = &mut self.minions[index];
                node.die();
                node.member = false;
                self.at(1_000, Happening::Enroll(index));
                return Ok(());
            }
        }
        self.join(index)
    }

    fn join(&mut self, index: usize) -> Outcome {
        self.minions[index].link = Some(self.epochs + 1);
        let epoch = self.open_link(index)?;
        if self.minions[index].link == Some(epoch) {
            self.minion_step(index, nc::Input::Connected)?;
        }
        Ok(())
    }

    /// A connection with the key of a minion.
    pub(crate) fn open_link(&mut self, index: usize) -> Result<u64, String> {
        self.epochs += 1;
        let epoch = self.epochs;
        let session = format!("session-{epoch}");
        let node = &mut self.minions[index];
        let link = Link {
            epoch,
            minion: index,
            cut: false,
            tampered: false,
            hello_at: None,
            to_master: Way::default(),
            to_minion: Way::default(),
            minion_end: minion::link::Link::new(&node.id, vec![self.identity.public()], &session),
            master_in: Sequence::default(),
        };
        let minion = node.id.clone();
        self.links.insert(epoch, link);
        if let Some(old) =
            self.master.links.insert(index, GateEnd { epoch, welcomed: false, out: Sequence::of(session) })
        {
            self.cut(old.epoch);
        }
        let address = format!("10.0.0.{index}");
        let time = self.master.time(self.now);
        self.master.heard.insert(index, time);
        self.master_step(mc::Input::Connected { minion, epoch, address })?;
        Ok(epoch)
    }

    /// Nothing passes any more; each end hears of it at its own time.
    pub(crate) fn cut(&mut self, epoch: u64) {
        let Some(link) = self.links.get_mut(&epoch).filter(|it| !it.cut) else { return };
        link.cut = true;
        self.summary.cuts += 1;
        let slow = if self.trouble() { self.dice.pick(&[100, 5_000, 70_000]) } else { 100 };
        let (master, minion) = (self.dice.below(slow), self.dice.below(5_000));
        self.at(master, Happening::MasterHearsEnd(epoch));
        self.at(minion, Happening::MinionHearsEnd(epoch));
    }

    /// The gate ends a connection once what is queued was written.
    pub(crate) fn close(&mut self, epoch: u64) {
        if let Some(link) = self.links.get(&epoch) {
            let wait = link.to_minion.arrives.max(self.now) + 1 - self.now;
            self.at(wait, Happening::CutLink(epoch));
        }
    }

    /// A minion is out of reach; what is on its way waits, and a connection that waits for long is given up.
    pub(crate) fn darken(&mut self, index: usize, ms: u64) {
        self.summary.partitions += 1;
        self.minions[index].dark_until = self.now + ms;
        if ms > SILENCE_MS
            && let Some(epoch) = self.minions[index].link
        {
            self.at(SILENCE_MS, Happening::CutLink(epoch));
        }
    }

    pub(crate) fn master_hears_end(&mut self, epoch: u64) -> Outcome {
        let Some(index) = self.links.get(&epoch).map(|it| it.minion) else { return Ok(()) };
        if self.master.links.get(&index).is_some_and(|it| it.epoch == epoch) {
            self.master.links.remove(&index);
        }
        let minion = self.minions[index].id.clone();
        self.master_step(mc::Input::Disconnected { minion, epoch })
    }

    pub(crate) fn minion_hears_end(&mut self, epoch: u64) -> Outcome {
        let Some(index) = self.links.get(&epoch).map(|it| it.minion) else { return Ok(()) };
        if self.minions[index].link != Some(epoch) {
            return Ok(());
        }
        self.minions[index].link = None;
        let wait = 500 + self.dice.below(8_000);
        self.at(wait, Happening::Connect(index));
        self.minion_step(index, nc::Input::Disconnected)
    }

    /// Somebody sends again what was heard before, whole or altered, to anybody.
    pub(crate) fn replay(&mut self) -> Outcome {
        let epochs: Vec<u64> = self.links.values().filter(|it| !it.cut).map(|it| it.epoch).collect();
        if epochs.is_empty() || self.heard.is_empty() {
            return Ok(());
        }
        let epoch = self.dice.pick(&epochs);
        let place = self.dice.index(self.heard.len());
        let mut bytes = self.heard[place].clone();
        if self.dice.one_in(3) {
            let place = self.dice.index(bytes.len());
            bytes[place] ^= 1;
        }
        // Before the hello only TLS tells who is at the other end.
        let Some(link) = self.links.get_mut(&epoch).filter(|it| it.hello_at.is_some()) else { return Ok(()) };
        let node = &self.minions[link.minion];
        let inbox = Topic::In(node.id.clone()).to_string();
        let heard = link.minion_end.open(&inbox, &bytes, Some(Timestamp(self.now))).is_ok();
        if heard || open_at_master(link, node, &bytes).is_ok() {
            return Err("a replayed envelope was believed".to_owned());
        }
        self.summary.refused += 1;
        Ok(())
    }
}

fn speaker(instance: &str, machine: &str) -> Speaker {
    let surroundings = Surroundings {
        machine_id: format!("id of {machine}"),
        hardware: format!("hardware of {machine}"),
        macs: Vec::new(),
        is_virtual: true,
    };
    Speaker { instance: instance.to_owned(), surroundings }
}

/// What a copy of a machine says first.
pub(crate) fn hello_of(instance: &str, machine: &str) -> FromMinion {
    let grains = model::Grains::new();
    FromMinion::Hello(Box::new(Hello {
        version: "0.1.0".to_owned(),
        boot: format!("boot of {machine}"),
        first_of_boot: true,
        sandbox: false,
        grains_hash: minion::grains::hash(&grains),
        grains: Some(grains),
        running: None,
        waiting: Vec::new(),
        unacknowledged: Vec::new(),
        next_event: 1,
        masters: 1,
        masters_hash: None,
        speaker: speaker(instance, machine),
        can: [CAN_CONFIRM, CAN_REBOOT, CAN_CONDUCT, CAN_WAKE].map(str::to_owned).to_vec(),
        conduct: None,
    }))
}

/// What the gate lets through.
fn open_at_master(link: &mut Link, node: &MinionNode, bytes: &[u8]) -> Result<FromMinion, bus::Rejected> {
    let topic = Topic::Out(node.id.clone());
    let verified = envelope::open::<FromMinion>(&topic, bytes, &node.identity.public())?;
    link.master_in.accept(verified.header())?;
    Ok(verified.into_message())
}

/// A request to become a member, as the gate believes it.
pub(crate) fn signed_request(
    identity: &Identity,
    request: &bus::message::EnrollRequest,
    now: Timestamp,
) -> Result<bus::message::EnrollRequest, bus::Rejected> {
    let topic = Topic::EnrollOut(identity.public().fingerprint());
    let header = Sequence::of("enroll".to_owned()).next(now, None);
    let bytes = envelope::seal(&topic, &header, request, identity);
    envelope::open(&topic, &bytes, &identity.public()).map(bus::Verified::into_message)
}
