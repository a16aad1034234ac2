//! Who is connected, by id or by key: the newest connection of each, its queue, and how it is told to end.

use super::counters::lock;
use bus::message::{EnrollAnswer, ToMinion};
use model::{Fingerprint, MinionId, broken};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering},
    },
};
use tokio::sync::{Notify, mpsc};

/// Messages that may wait for one connection.
pub(crate) const QUEUE_MESSAGES: usize = 256;
/// Bytes that may wait for one connection.
pub(crate) const QUEUE_BYTES: usize = 8 * 1024 * 1024;
/// Connections of keys that nobody knows; the oldest gives way.
pub(crate) const STRANGERS_MAX: usize = 1024;

/// Whose connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Peer {
    /// A member, by the id that its key was accepted for.
    Member(MinionId),
    /// A key that is not known (yet).
    Stranger(Fingerprint),
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Member(id) => id.fmt(f),
            Self::Stranger(key) => key.fmt(f),
        }
    }
}

/// What is sent to a peer.
pub(crate) enum Outgoing {
    /// To a member.
    Message(ToMinion),
    /// To a stranger.
    Answer(EnrollAnswer),
}

/// Why a connection is told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Go on.
    None,
    /// Write what is queued, then end.
    Close,
    /// End: a newer connection of the same peer is there.
    Replaced,
    /// End: it takes its messages too slowly.
    Overflow,
    /// End: others need the place.
    GiveWay,
}

/// What a connection and the registry share.
pub(crate) struct Link {
    /// Grows over all connections and restarts.
    pub(crate) epoch: u64,
    /// Stirs when there is an order.
    pub(crate) wake: Notify,
    order: AtomicU8,
    queued: AtomicUsize,
}

impl Link {
    pub(crate) fn order(&self) -> Order {
        match self.order.load(Ordering::Acquire) {
            0 => Order::None,
            1 => Order::Close,
            2 => Order::Replaced,
            3 => Order::Overflow,
            _ => Order::GiveWay,
        }
    }
    fn give(&self, order: Order) {
        let number = match order {
            Order::None => 0,
            Order::Close => 1,
            Order::Replaced => 2,
            Order::Overflow => 3,
            Order::GiveWay => 4,
        };
        self.order.store(number, Ordering::Release);
        self.wake.notify_one();
    }
    /// A message left the queue.
    pub(crate) fn taken(&self, weight: usize) {
        self.queued.fetch_sub(weight, Ordering::AcqRel);
    }
}

/// A queued message and its rough size.
pub(crate) type Queued = (Box<Outgoing>, usize);

struct Slot {
    link: Arc<Link>,
    queue: mpsc::Sender<Queued>,
}

/// The connections of minions.
pub(crate) struct Registry {
    slots: Mutex<HashMap<Peer, Slot>>,
    epoch: AtomicU64,
}

impl Registry {
    /// Epochs begin at `first`: the clock, so that they grow over restarts.
    pub(crate) fn new(first: u64) -> Self {
        Self { slots: Mutex::new(HashMap::new()), epoch: AtomicU64::new(first) }
    }

    /// A new connection; an older one of the same peer is told to end.
    pub(crate) fn enter(&self, peer: &Peer) -> (Arc<Link>, mpsc::Receiver<Queued>) {
        let epoch = self.epoch.fetch_add(1, Ordering::AcqRel) + 1;
        let link = Arc::new(Link {
            epoch,
            wake: Notify::new(),
            order: AtomicU8::new(0),
            queued: AtomicUsize::new(0),
        });
        let (queue, receiver) = mpsc::channel(QUEUE_MESSAGES);
        let mut slots = lock(&self.slots);
        if let Some(old) = slots.insert(peer.clone(), Slot { link: Arc::clone(&link), queue })
            && !broken::leaves_out("newest-wins")
        {
            old.link.give(Order::Replaced);
        }
        if matches!(peer, Peer::Stranger(_)) {
            Self::bound_strangers(&mut slots);
        }
        (link, receiver)
    }

    fn bound_strangers(slots: &mut HashMap<Peer, Slot>) {
        let strangers = || slots.iter().filter(|(peer, _)| matches!(peer, Peer::Stranger(_)));
        if strangers().count() > STRANGERS_MAX {
            let oldest = strangers().min_by_key(|(_, slot)| slot.link.epoch).map(|(peer, _)| peer.clone());
            if let Some(slot) = oldest.and_then(|peer| slots.remove(&peer)) {
                slot.link.give(Order::GiveWay);
            }
        }
    }

    /// The connection ended.
    pub(crate) fn leave(&self, peer: &Peer, epoch: u64) {
        let mut slots = lock(&self.slots);
        if slots.get(peer).is_some_and(|slot| slot.link.epoch == epoch) {
            slots.remove(peer);
        }
    }

    /// Queues, if the peer is connected; ends the connection if there is no room.
    pub(crate) fn send(&self, peer: &Peer, message: Outgoing, weight: usize) {
        let mut slots = lock(&self.slots);
        let Some(slot) = slots.get(peer) else { return };
        let fits = slot.link.queued.fetch_add(weight, Ordering::AcqRel) + weight <= QUEUE_BYTES;
        if !fits || slot.queue.try_send((Box::new(message), weight)).is_err() {
            slot.link.give(Order::Overflow);
            slots.remove(peer);
        }
    }

    /// Tells a peer's connection to write what is queued and end.
    pub(crate) fn close(&self, peer: &Peer) {
        if let Some(slot) = lock(&self.slots).remove(peer) {
            slot.link.give(Order::Close);
        }
    }

    /// How many are connected: members, strangers.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let slots = lock(&self.slots);
        let members = slots.keys().filter(|peer| matches!(peer, Peer::Member(_))).count();
        (members, slots.len() - members)
    }
}
