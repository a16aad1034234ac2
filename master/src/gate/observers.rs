//! An observer's connection: known by name and token, sees the public tree; the gate answers what is retained and
//! relays what is live, and never keeps more for a slow reader than its limits.

mod outbox;
mod publish;

use super::{
    Shared,
    acl::{self, Branch},
    counters::Counters,
    listener::{not_authorized, refuse_connect, unavailable},
    rate::Rate,
    relay::{self, Relayed},
    session::KEEP_ALIVE_DEFAULT_S,
    wire::{Reading, Wire},
};
use crate::limits::Origin;
use bus::packet::{
    self, AckKind, Connect, Packet, Properties, PropertyValue, Qos, Subscription, Version, property,
};
use model::{ObserverRole, Secret, broken};
use outbox::Outbox;
use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{mpsc, watch},
    time::Instant,
};

/// Observers at a time.
const OBSERVERS_MAX: usize = 512;
/// Subscriptions of one observer.
const SUBSCRIPTIONS_MAX: usize = 64;
/// Largest packet from an observer.
const PACKET_MAX: usize = 32 * 1024;
/// Packets of an observer: one in this time, after a burst.
const PACKET_RATE: Rate = Rate::new(Duration::from_millis(5), 1000);
/// Messages of an integration: one in this time, after a burst.
const PUBLISH_RATE: Rate = Rate::new(Duration::from_millis(50), 100);
/// A retained answer waits so long for the live stream to begin before it.
const LIVE_LIMIT: Duration = Duration::from_secs(2);
/// Whether the token is still good is looked up this often.
const REVIEW_EVERY: Duration = Duration::from_secs(1);
/// What is left to say at the end has so long.
const CLOSE_LIMIT: Duration = Duration::from_millis(500);

/// How a connection ends.
enum End {
    /// The client went.
    Quiet,
    /// Against the rules, or no longer welcome; with the reason code of MQTT 5.
    Refused(&'static str, u8),
}

impl From<std::io::Error> for End {
    fn from(_: std::io::Error) -> Self {
        Self::Quiet
    }
}

/// A filter of this observer's.
struct Wanted {
    filter: String,
    qos: Qos,
}

struct Observer<S> {
    gate: Arc<Shared>,
    wire: Wire<S>,
    name: String,
    secret: Secret,
    role: ObserverRole,
    address: IpAddr,
    keep_alive: Duration,
    subscriptions: Vec<Wanted>,
    /// Filters whose retained messages are to be sent as soon as the live stream is there, or at the deadline.
    unanswered: Vec<(String, Qos)>,
    answer_at: Option<Instant>,
    want: watch::Sender<BTreeSet<Branch>>,
    live: BTreeSet<Branch>,
    outbox: Outbox,
    unreleased: BTreeSet<u16>,
    rate: Rate,
    publishes: Rate,
    review_at: Instant,
}

/// Serves one connection of a client without a key, to its end.
pub(crate) async fn serve<S>(gate: Arc<Shared>, mut wire: Wire<S>, connect: Box<Connect>, address: IpAddr)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (name, secret, role) = match authenticate(&gate, &connect) {
        Ok(known) => known,
        Err((reason, code)) => {
            gate.counters.refuse(reason, &address);
            if matches!(reason, "observer-login" | "operator-over-mqtt") {
                hold_back(&gate, &connect, address).await;
            }
            return refuse_connect(wire, code).await;
        }
    };
    let Some(_place) = Place::take(&gate) else {
        gate.counters.refuse("too-many-observers", &name);
        return refuse_connect(wire, unavailable(connect.version)).await;
    };
    if connect.will.is_some() {
        gate.counters.refuse("observer-will", &name);
    }
    wire.agree(connect.version, PACKET_MAX);
    wire.push(&connect_ack(&connect));
    let keep_alive_s = if connect.keep_alive_s == 0 { KEEP_ALIVE_DEFAULT_S } else { connect.keep_alive_s };
    let (want, wanted) = watch::channel(BTreeSet::new());
    let (out, relayed) = mpsc::channel(relay::RELAY_MESSAGES);
    tokio::spawn(relay::run(Arc::clone(&gate.names), gate.config.fanout.clone(), wanted, out));
    let window = connect.properties.number(property::RECEIVE_MAXIMUM).unwrap_or(u32::MAX);
    let largest = connect.properties.number(property::MAXIMUM_PACKET);
    drop(connect);
    let observer = Observer {
        wire,
        name,
        secret,
        role,
        address,
        keep_alive: Duration::from_secs(u64::from(keep_alive_s)) * 3 / 2,
        subscriptions: Vec::new(),
        unanswered: Vec::new(),
        answer_at: None,
        want,
        live: BTreeSet::new(),
        outbox: Outbox::new(window, largest),
        unreleased: BTreeSet::new(),
        rate: PACKET_RATE,
        publishes: PUBLISH_RATE,
        review_at: Instant::now() + REVIEW_EVERY,
        gate: Arc::clone(&gate),
    };
    observer.run(relayed).await;
}

/// One of the places for observers.
struct Place(Arc<Shared>);

impl Place {
    fn take(gate: &Arc<Shared>) -> Option<Self> {
        let more = |count| (count < OBSERVERS_MAX).then_some(count + 1);
        gate.observers.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        Some(Self(Arc::clone(gate)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.observers.fetch_sub(1, Ordering::AcqRel);
    }
}

fn authenticate(
    gate: &Shared,
    connect: &Connect,
) -> Result<(String, Secret, ObserverRole), (&'static str, u8)> {
    let v4 = connect.version == Version::V4;
    if connect.properties.get(property::AUTHENTICATION_METHOD).is_some()
        && !broken::leaves_out("enhanced-authentication")
    {
        return Err(("enhanced-authentication", 0x8c));
    }
    if v4 && connect.client_id.is_empty() && !connect.clean {
        return Err(("empty-client-id", 0x02));
    }
    let bad = ("observer-login", if v4 { 0x04 } else { 0x86 });
    if broken::leaves_out("observer-login") {
        return Ok(("anybody".to_owned(), Secret::default(), ObserverRole::Viewer));
    }
    let name = connect.user.as_deref().ok_or(bad)?;
    let secret = connect.password.as_deref().and_then(|it| std::str::from_utf8(it).ok()).ok_or(bad)?;
    match gate.directory.observer(name, secret, (gate.config.clock)()) {
        Some(role) if !role.is_of_observers() && !broken::leaves_out("operator-over-mqtt") => {
            Err(("operator-over-mqtt", not_authorized(connect.version)))
        }
        Some(role) => Ok((name.to_owned(), Secret::new(secret), role)),
        None => Err(bad),
    }
}

/// Puts a failed login on record; from an address that has too many of them the answer comes late.
async fn hold_back(gate: &Shared, connect: &Connect, address: IpAddr) {
    let name = connect.user.as_deref().unwrap_or_default();
    let secret = connect.password.as_deref().and_then(|it| std::str::from_utf8(it).ok());
    gate.directory.refused_login(name, secret.unwrap_or_default(), address);
    let Err(wait) = gate.limits.failure(Origin::of(address), Instant::now().into_std()) else { return };
    let Some((_place, wait)) = gate.limits.hold_back(wait) else { return };
    tokio::time::sleep(wait).await;
}

fn connect_ack(connect: &Connect) -> Packet {
    let mut properties = Properties::default();
    if connect.version == Version::V5 {
        properties = properties
            .with(property::SUBSCRIPTION_IDS, PropertyValue::Byte(0))
            .with(property::SHARED_SUBSCRIPTIONS, PropertyValue::Byte(0))
            .with(property::RECEIVE_MAXIMUM, PropertyValue::Two(publish::UNRELEASED_MAX))
            .with(
                property::MAXIMUM_PACKET,
                PropertyValue::Four(u32::try_from(PACKET_MAX).unwrap_or(u32::MAX)),
            )
            .with(property::SESSION_EXPIRY, PropertyValue::Four(0));
        if connect.keep_alive_s == 0 {
            properties =
                properties.with(property::SERVER_KEEP_ALIVE, PropertyValue::Two(KEEP_ALIVE_DEFAULT_S));
        }
        if connect.client_id.is_empty() {
            // Nothing hangs on it: sessions end with their connections.
            let id = PropertyValue::Text("observer".to_owned());
            properties = properties.with(property::ASSIGNED_CLIENT_ID, id);
        }
    }
    Packet::ConnAck { session_present: false, code: 0, properties }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Observer<S> {
    async fn run(mut self, mut relayed: mpsc::Receiver<Relayed>) {
        let end = self.talk(&mut relayed).await.err();
        if let Some(End::Refused(reason, code)) = end {
            self.count(reason);
            if self.wire.version() == Version::V5 {
                self.wire.push(&Packet::Disconnect { reason: code });
            }
            self.wire.finish(CLOSE_LIMIT).await;
        }
    }

    fn counters(&self) -> &Counters {
        &self.gate.counters
    }

    fn count(&self, reason: &'static str) {
        self.counters().refuse(reason, &format_args!("{} {}", self.name.escape_debug(), self.address));
    }

    async fn talk(&mut self, relayed: &mut mpsc::Receiver<Relayed>) -> Result<(), End> {
        loop {
            let throttled = loop {
                let now = Instant::now();
                if let Some(until) = self.throttled(now) {
                    break Some(until);
                }
                let malformed = |_| End::Refused("malformed-packet", 0x81);
                let Some(packet) = self.wire.take().map_err(malformed)? else { break None };
                self.rate.charge(now);
                self.packet(packet).await?;
            };
            self.outbox.fill(&mut self.wire);
            let reading = if throttled.is_some() { Reading::Off } else { Reading::On };
            let deadline = self.deadline(throttled);
            let stop = self.gate.stop.clone();
            tokio::select! {
                turned = self.wire.turn(reading) => turned?,
                told = relayed.recv() => match told {
                    Some(told) => self.told(told)?,
                    None => return Err(End::Refused("observer-too-slow", 0x97)),
                },
                () = tokio::time::sleep_until(deadline) => self.judge(throttled.is_some())?,
                () = stop.cancelled() => return Err(End::Refused("shutting-down", 0x8b)),
            }
        }
    }

    fn throttled(&self, now: Instant) -> Option<Instant> {
        let kept = |name: &'static str| !broken::leaves_out(name);
        let packets = self.rate.wait_until(now).filter(|_| kept("observer-rate"));
        packets.or(self.publishes.wait_until(now).filter(|_| kept("integration-rate")))
    }

    fn deadline(&self, throttled: Option<Instant>) -> Instant {
        let silence = self.wire.received_at() + self.keep_alive;
        [throttled, self.wire.write_deadline(), self.answer_at, Some(self.review_at)]
            .into_iter()
            .flatten()
            .fold(if throttled.is_some() { self.review_at } else { silence }, Instant::min)
    }

    /// A deadline passed: whose?
    fn judge(&mut self, throttled: bool) -> Result<(), End> {
        let now = Instant::now();
        if self.wire.write_deadline().is_some_and(|it| it <= now) {
            return Err(End::Refused("write-too-slow", 0x97));
        }
        if throttled {
            self.wire.excuse_silence();
        } else if self.wire.received_at() + self.keep_alive <= now {
            return Err(End::Refused("keep-alive-timeout", 0x8d));
        }
        if self.answer_at.is_some_and(|it| it <= now) {
            self.answer_retained();
        }
        if self.review_at <= now {
            self.review_at = now + REVIEW_EVERY;
            let clock = (self.gate.config.clock)();
            let role = self.gate.directory.observer(&self.name, self.secret.reveal(), clock);
            if role.as_ref() != Some(&self.role) && !broken::leaves_out("observer-review") {
                return Err(End::Refused("observer-revoked", 0x87));
            }
        }
        Ok(())
    }

    async fn packet(&mut self, packet: Packet) -> Result<(), End> {
        match packet {
            Packet::Publish(it) => self.publish(it).await?,
            Packet::Subscribe { id, filters, properties } => {
                if properties.get(property::SUBSCRIPTION_ID).is_some() {
                    return Err(End::Refused("subscription-id", 0xa1));
                }
                self.subscribe(id, filters);
            }
            Packet::Unsubscribe { id, filters } => self.unsubscribe(id, &filters),
            Packet::PingRequest => self.wire.push(&Packet::PingResponse),
            Packet::Ack { kind: AckKind::Ack, id, .. } => self.outbox.acknowledged(id),
            Packet::Ack { kind: AckKind::Released, id, .. } => {
                self.unreleased.remove(&id);
                self.wire.push(&Packet::Ack { kind: AckKind::Complete, id, reason: 0 });
            }
            Packet::Disconnect { .. } => return Err(End::Quiet),
            _ => return Err(End::Refused("unexpected-packet", 0x82)),
        }
        Ok(())
    }

    fn subscribe(&mut self, id: u16, filters: Vec<Subscription>) {
        let mut codes = Vec::with_capacity(filters.len());
        let mut branches = self.want.borrow().clone();
        for it in filters {
            let qos = it.qos.min(Qos::AtLeastOnce);
            let known = self.subscriptions.iter().position(|other| other.filter == it.filter);
            let few = self.subscriptions.len() < SUBSCRIPTIONS_MAX;
            let room = known.is_some() || few || broken::leaves_out("observer-subscriptions");
            let Some(of) = acl::observer_filter(&it.filter).filter(|_| room) else {
                self.count("observer-subscribe");
                let share = it.filter.starts_with("$share/");
                codes.push(match self.wire.version() {
                    Version::V4 => 0x80,
                    Version::V5 if share => 0x9e,
                    Version::V5 if room => 0x87,
                    Version::V5 => 0x97,
                });
                continue;
            };
            codes.push(qos.number());
            branches.extend(of);
            let answer = it.retain_handling == 0 || (it.retain_handling == 1 && known.is_none());
            if answer {
                self.unanswered.retain(|(filter, _)| *filter != it.filter);
                self.unanswered.push((it.filter.clone(), qos));
            }
            let wanted = Wanted { filter: it.filter, qos };
            match known {
                Some(index) => self.subscriptions[index] = wanted,
                None => self.subscriptions.push(wanted),
            }
        }
        self.wire.push(&Packet::SubAck { id, codes });
        self.want.send_if_modified(|now| {
            let more = *now != branches;
            now.clone_from(&branches);
            more
        });
        let there = branches.is_subset(&self.live) || self.gate.config.fanout.borrow().is_none();
        if there {
            self.answer_retained();
        } else if self.answer_at.is_none() {
            self.answer_at = Some(Instant::now() + LIVE_LIMIT);
        }
    }

    fn unsubscribe(&mut self, id: u16, filters: &[String]) {
        let mut codes = Vec::with_capacity(filters.len());
        for filter in filters {
            let before = self.subscriptions.len();
            self.subscriptions.retain(|it| it.filter != *filter);
            self.unanswered.retain(|(it, _)| it != filter);
            self.outbox.forget(filter);
            codes.push(if self.subscriptions.len() < before { 0 } else { 0x11 });
        }
        self.wire.push(&Packet::UnsubAck { id, codes });
    }

    /// Looks up what is retained: after the live stream has begun, so that nothing is missed in between.
    fn answer_retained(&mut self) {
        self.answer_at = None;
        for (filter, qos) in std::mem::take(&mut self.unanswered) {
            let mut found = self.gate.directory.retained(&filter);
            found.retain(|(topic, _)| acl::observer_sees(topic) && packet::matches(&filter, topic));
            self.outbox.retained(filter, qos, found);
        }
    }

    fn told(&mut self, told: Relayed) -> Result<(), End> {
        match told {
            Relayed::Subscribed(branches) => {
                // After a loss, what changed meanwhile is told by telling everything that is retained again.
                if self.live.is_empty() && self.answer_at.is_none() {
                    self.unanswered =
                        self.subscriptions.iter().map(|it| (it.filter.clone(), it.qos)).collect();
                }
                self.live = branches;
                self.answer_retained();
            }
            Relayed::Lost => self.live.clear(),
            Relayed::Message(topic, payload) => {
                let matching = self.subscriptions.iter().filter(|it| packet::matches(&it.filter, &topic));
                if acl::observer_sees(&topic)
                    && let Some(qos) = matching.map(|it| it.qos).max()
                {
                    let slow = |_| End::Refused("observer-too-slow", 0x97);
                    self.outbox.live(topic, payload, qos).map_err(slow)?;
                }
            }
        }
        Ok(())
    }
}
