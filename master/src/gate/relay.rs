//! One observer's connection to the fan-out on loopback: live messages of the branches it wants, again after a restart.

use super::{
    acl::Branch,
    counters::lock,
    wire::{Reading, Wire},
};
use crate::gate::FanoutLink;
use bus::packet::{Connect, Packet, Properties, Publish, Qos, Subscription, Version};
use bytes::Bytes;
use std::{
    collections::{BTreeSet, VecDeque},
    io,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
    time::{Instant, timeout},
};

/// Messages between a relay and its observer; beyond, the observer is too slow.
pub(crate) const RELAY_MESSAGES: usize = 1024;
/// Largest packet of the fan-out.
const PACKET_MAX: usize = 256 * 1024;
/// From connecting to CONNACK.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Between pings.
const PING_EVERY: Duration = Duration::from_secs(20);
/// Keep-alive that the fan-out is told.
const KEEP_ALIVE_S: u16 = 60;
/// Between attempts: first and longest.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Client ids that relays use: more than there are observers. The fan-out keeps something for every id it ever saw, so
/// they come round; the one that rested longest is next.
const NAMES: u16 = 1024;

/// The client ids that are free.
pub(crate) struct Names(Mutex<VecDeque<u16>>);

impl Default for Names {
    fn default() -> Self {
        Self(Mutex::new((0..NAMES).collect()))
    }
}

/// A client id for one relay, given back when dropped.
struct Name {
    names: Arc<Names>,
    number: u16,
}

impl Name {
    fn take(names: Arc<Names>) -> Option<Self> {
        let number = lock(&names.0).pop_front()?;
        Some(Self { names, number })
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        lock(&self.names.0).push_back(self.number);
    }
}

/// What a relay tells its observer.
#[derive(Debug)]
pub(crate) enum Relayed {
    /// These branches come live from here on.
    Subscribed(BTreeSet<Branch>),
    /// Nothing comes until the next `Subscribed`.
    Lost,
    /// A live message.
    Message(String, Bytes),
}

/// Runs until the observer drops its end of `out`.
pub(crate) async fn run(
    names: Arc<Names>,
    mut fanout: watch::Receiver<Option<FanoutLink>>,
    mut want: watch::Receiver<BTreeSet<Branch>>,
    out: mpsc::Sender<Relayed>,
) {
    let Some(name) = Name::take(names) else { return };
    let mut pause = BACK_OFF.0;
    loop {
        let link = tokio::select! {
            link = ready(&mut fanout, &mut want) => link,
            () = out.closed() => return,
        };
        let Some(link) = link else { return };
        // Never cut off between CONNECT and CONNACK: that can end the fan-out's listener.
        if let Ok(Ok(wire)) = timeout(CONNECT_LIMIT, connect(&link, &name)).await {
            let mut changed = fanout.clone();
            changed.mark_unchanged();
            let another = async {
                // An error means that the fan-out is gone for good.
                let _ = changed.wait_for(|now| now.as_ref() != Some(&link)).await;
            };
            let ended = tokio::select! {
                ended = relay(wire, &mut want, &out) => ended,
                () = another => Ended::Lost,
                () = out.closed() => return,
            };
            if ended == Ended::Done || out.send(Relayed::Lost).await.is_err() {
                return;
            }
            pause = BACK_OFF.0;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(BACK_OFF.1),
            () = out.closed() => return,
        }
    }
}

/// The fan-out, once it is there and something is wanted of it.
async fn ready(
    fanout: &mut watch::Receiver<Option<FanoutLink>>,
    want: &mut watch::Receiver<BTreeSet<Branch>>,
) -> Option<FanoutLink> {
    want.wait_for(|it| !it.is_empty()).await.ok()?;
    let link = fanout.wait_for(Option::is_some).await.ok()?;
    link.clone()
}

async fn connect(link: &FanoutLink, name: &Name) -> io::Result<Wire<TcpStream>> {
    let stream = TcpStream::connect(link.address).await?;
    stream.set_nodelay(true)?;
    let mut wire = Wire::new(stream, PACKET_MAX);
    wire.push(&Packet::Connect(Box::new(Connect {
        version: Version::V4,
        client_id: format!("observer{}", name.number),
        clean: true,
        keep_alive_s: KEEP_ALIVE_S,
        will: None,
        user: Some(link.user.clone()),
        password: Some(link.password.reveal().to_owned().into()),
        properties: Properties::default(),
    })));
    loop {
        match wire.take().map_err(io::Error::other)? {
            Some(Packet::ConnAck { code: 0, .. }) => return Ok(wire),
            Some(_) => return Err(io::ErrorKind::PermissionDenied.into()),
            None => wire.turn(Reading::On).await?,
        }
    }
}

#[derive(PartialEq, Eq)]
enum Ended {
    /// The observer is gone, or too slow.
    Done,
    /// The fan-out is gone.
    Lost,
}

async fn relay(
    mut wire: Wire<TcpStream>,
    want: &mut watch::Receiver<BTreeSet<Branch>>,
    out: &mpsc::Sender<Relayed>,
) -> Ended {
    let mut asked: BTreeSet<Branch> = BTreeSet::new();
    let mut id = 0_u16;
    let mut ping_at = Instant::now() + PING_EVERY;
    want.mark_changed();
    loop {
        loop {
            let told = match wire.take() {
                Ok(Some(Packet::Publish(Publish { topic, payload, .. }))) => Relayed::Message(topic, payload),
                Ok(Some(Packet::SubAck { id: of, .. })) if of == id => Relayed::Subscribed(asked.clone()),
                Ok(Some(_)) => continue,
                Ok(None) => break,
                Err(_) => return Ended::Lost,
            };
            // The fan-out is always read: a slow reader is a danger to it. The observer pays.
            if out.try_send(told).is_err() {
                return Ended::Done;
            }
        }
        if wire.write_deadline().is_some_and(|it| it <= Instant::now()) {
            return Ended::Lost;
        }
        tokio::select! {
            turned = wire.turn(Reading::On) => if turned.is_err() {
                return Ended::Lost;
            },
            changed = want.changed() => {
                if changed.is_err() {
                    return Ended::Done;
                }
                let wanted = want.borrow_and_update().clone();
                let new: Vec<_> = wanted.difference(&asked).copied().collect();
                if !new.is_empty() {
                    id += 1;
                    wire.push(&Packet::Subscribe {
                        id,
                        filters: new.iter().map(|it| subscription(*it)).collect(),
                        properties: Properties::default(),
                    });
                    asked.extend(new);
                }
            }
            () = tokio::time::sleep_until(ping_at) => {
                wire.push(&Packet::PingRequest);
                ping_at += PING_EVERY;
            }
        }
    }
}

fn subscription(branch: Branch) -> Subscription {
    Subscription {
        filter: branch.filter(),
        qos: Qos::AtMostOnce,
        no_local: false,
        retain_as_published: false,
        retain_handling: 0,
    }
}
