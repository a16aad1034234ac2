//! A minion's connection: known by its key, one inbox, two outlets; envelopes are checked and signed here.

use super::{
    FromGate, Shared,
    acl::{self, Outlet},
    listener::{not_authorized, refuse_connect},
    rate::Rate,
    registry::{Link, Order, Outgoing, Peer, Queued},
    wire::{Reading, Wire},
};
use crate::core::TokenFault;
use bus::{
    FromMinion, PublicKey, ToMinion, Topic,
    envelope::{self, Rejected, Sequence, Verified},
    message::EnrollRequest,
    packet::{
        AckKind, Connect, PACKET_MAX_CONTROL, PACKET_MAX_STRANGER, Packet, Properties, PropertyValue,
        Publish, Qos, Subscription, Version, property,
    },
};
use bytes::Bytes;
use model::{TokenTerms, broken};
use serde::de::DeserializeOwned;
use std::{net::IpAddr, pin::Pin, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    time::Instant,
};

/// Keep-alive of clients that ask for none.
pub(crate) const KEEP_ALIVE_DEFAULT_S: u16 = 60;
/// Packets of a member: one in this time, after a burst.
const MEMBER_RATE: Rate = Rate::new(Duration::from_millis(20), 200);
/// Requests of a stranger: one in this time, after a burst.
const STRANGER_RATE: Rate = Rate::new(Duration::from_secs(10), 5);
/// A member that has not said hello by then is none.
const HELLO_LIMIT: Duration = Duration::from_secs(30);
/// Bytes of output from which on the queue is left alone.
const OUTPUT_HIGH: usize = 64 * 1024;
/// What is queued when a connection is closed has so long to leave.
const CLOSE_LIMIT: Duration = Duration::from_millis(500);
/// Jobs in one acknowledgement.
const ACK_JOBS_MAX: usize = 256;
/// Room beside the payload in a control packet: topic and header.
const PACKET_MARGIN: usize = 512;

/// How a connection ends.
enum End {
    /// The peer went, or was told to: nobody's fault.
    Quiet,
    /// Told to end after what is queued was written.
    Flush,
    /// Against the rules.
    Refused(&'static str),
}

impl From<std::io::Error> for End {
    fn from(_: std::io::Error) -> Self {
        Self::Quiet
    }
}

struct Session<S> {
    gate: Arc<Shared>,
    wire: Wire<S>,
    peer: Peer,
    key: PublicKey,
    address: IpAddr,
    link: Arc<Link>,
    incoming: Sequence,
    outgoing: Option<Sequence>,
    subscribed: bool,
    keep_alive: Duration,
    since: Instant,
    rate: Rate,
    requests: Rate,
}

/// What serves one connection of a client that proved `key`, to its end.
///
/// One of these is there for each minion, so its size counts: what only greets it is no part of it.
pub(crate) fn serve<S>(
    gate: Arc<Shared>,
    wire: Wire<S>,
    connect: &Connect,
    key: PublicKey,
    address: IpAddr,
) -> Pin<Box<dyn Future<Output = ()> + Send>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static,
{
    if let Some((reason, code)) = refusal(&gate, connect, &key) {
        gate.counters.refuse(reason, &format_args!("{} {address}", key.fingerprint()));
        return Box::pin(refuse_connect(wire, code));
    }
    let (mut session, mut queue) = Session::enter(gate, wire, connect, key, address);
    Box::pin(async move {
        let end = match session.announce().await {
            Ok(()) => session.talk(&mut queue).await.err().unwrap_or(End::Quiet),
            Err(end) => end,
        };
        Box::pin(session.leave(end, queue)).await;
    })
}

/// Why this client is not let in, and the code that says so to it.
fn refusal(gate: &Shared, connect: &Connect, key: &PublicKey) -> Option<(&'static str, u8)> {
    if gate.directory.banned(key) && !broken::leaves_out("minion-banned") {
        Some(("minion-banned", if connect.version == Version::V4 { 0x05 } else { 0x8a }))
    } else if connect.will.is_some() && !broken::leaves_out("minion-will") {
        Some(("minion-will", not_authorized(connect.version)))
    } else if connect.properties.get(property::AUTHENTICATION_METHOD).is_some()
        && !broken::leaves_out("enhanced-authentication")
    {
        Some(("enhanced-authentication", 0x8c))
    } else {
        None
    }
}

fn connect_ack(connect: &Connect, packet_max: usize) -> Packet {
    let mut properties = Properties::default();
    if connect.version == Version::V5 {
        let packet_max = u32::try_from(packet_max).unwrap_or(u32::MAX);
        properties = properties
            .with(property::MAXIMUM_QOS, PropertyValue::Byte(1))
            .with(property::RETAIN_AVAILABLE, PropertyValue::Byte(0))
            .with(property::WILDCARDS, PropertyValue::Byte(0))
            .with(property::SUBSCRIPTION_IDS, PropertyValue::Byte(0))
            .with(property::SHARED_SUBSCRIPTIONS, PropertyValue::Byte(0))
            .with(property::MAXIMUM_PACKET, PropertyValue::Four(packet_max))
            .with(property::SESSION_EXPIRY, PropertyValue::Four(0));
        if connect.keep_alive_s == 0 {
            properties =
                properties.with(property::SERVER_KEEP_ALIVE, PropertyValue::Two(KEEP_ALIVE_DEFAULT_S));
        }
    }
    Packet::ConnAck { session_present: false, code: 0, properties }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    fn enter(
        gate: Arc<Shared>,
        mut wire: Wire<S>,
        connect: &Connect,
        key: PublicKey,
        address: IpAddr,
    ) -> (Self, mpsc::Receiver<Queued>) {
        let claimed = || connect.client_id.parse().ok().filter(|_| broken::leaves_out("identity-by-key"));
        let (peer, packet_max) = match gate.directory.minion(&key).or_else(claimed) {
            Some(id) => (Peer::Member(id), PACKET_MAX_CONTROL + PACKET_MARGIN),
            None => (Peer::Stranger(key.fingerprint()), PACKET_MAX_STRANGER),
        };
        wire.agree(connect.version, packet_max);
        wire.push(&connect_ack(connect, packet_max));
        let keep_alive_s =
            if connect.keep_alive_s == 0 { KEEP_ALIVE_DEFAULT_S } else { connect.keep_alive_s };
        let (link, queue) = gate.registry.enter(&peer);
        let session = Self {
            gate,
            wire,
            peer,
            key,
            address,
            link,
            incoming: Sequence::default(),
            outgoing: None,
            subscribed: false,
            keep_alive: Duration::from_secs(u64::from(keep_alive_s)) * 3 / 2,
            since: Instant::now(),
            rate: MEMBER_RATE,
            requests: STRANGER_RATE,
        };
        (session, queue)
    }

    async fn leave(mut self, end: End, mut queue: mpsc::Receiver<Queued>) {
        let epoch = self.link.epoch;
        if let End::Refused(reason) = end {
            self.gate.counters.refuse(reason, &format_args!("{} {}", self.peer, self.address));
        }
        self.gate.registry.leave(&self.peer, epoch);
        if matches!(end, End::Flush) {
            queue.close();
            while let Ok(queued) = queue.try_recv() {
                self.say(queued);
            }
        }
        drop(queue);
        let Self { gate, wire, peer, .. } = self;
        if !matches!(end, End::Quiet) {
            wire.finish(CLOSE_LIMIT).await;
        }
        if let Peer::Member(minion) = peer {
            // The daemon is gone when this fails.
            let _ = gate.events.send(FromGate::Disconnected { minion, epoch }).await;
        }
    }

    async fn announce(&mut self) -> Result<(), End> {
        let Peer::Member(minion) = &self.peer else { return Ok(()) };
        let address = self.address.to_string();
        self.tell(FromGate::Connected { minion: minion.clone(), epoch: self.link.epoch, address }).await
    }

    /// Tells the daemon, waiting for room; an order to end is heard meanwhile.
    async fn tell(&self, what: FromGate) -> Result<(), End> {
        tokio::select! {
            sent = self.gate.events.send(what) => sent.map_err(|_| End::Quiet),
            () = self.link.wake.notified() => Err(self.ordered()),
            () = self.gate.stop.cancelled() => Err(End::Flush),
        }
    }

    fn ordered(&self) -> End {
        match self.link.order() {
            Order::Close => End::Flush,
            Order::Overflow => End::Refused("queue-full"),
            Order::Replaced => End::Refused("replaced-by-newer-connection"),
            Order::GiveWay => End::Refused("too-many-strangers"),
            Order::None => End::Quiet,
        }
    }

    async fn talk(&mut self, queue: &mut mpsc::Receiver<Queued>) -> Result<(), End> {
        loop {
            let throttled = loop {
                let now = Instant::now();
                if let Some(until) = self.throttled(now) {
                    break Some(until);
                }
                let Some(packet) = self.wire.take().map_err(|_| End::Refused("malformed-packet"))? else {
                    break None;
                };
                self.rate.charge(now);
                // Apart, so that nobody who is silent has room for it.
                Box::pin(self.packet(packet)).await?;
            };
            let reading = if throttled.is_some() { Reading::Off } else { Reading::On };
            let may_say = self.subscribed && self.outgoing.is_some() && self.wire.queued() < OUTPUT_HIGH;
            let deadline = throttled.unwrap_or_else(|| self.silence_deadline());
            let deadline = self.wire.write_deadline().map_or(deadline, |it| it.min(deadline));
            let stop = self.gate.stop.clone();
            tokio::select! {
                turned = self.wire.turn(reading) => turned?,
                Some(queued) = queue.recv(), if may_say => self.say_together(queued, queue),
                () = self.link.wake.notified() => return Err(self.ordered()),
                () = tokio::time::sleep_until(deadline) => self.judge(throttled.is_some())?,
                () = stop.cancelled() => return Err(End::Flush),
            }
        }
    }

    fn throttled(&self, now: Instant) -> Option<Instant> {
        let kept = |name: &'static str| !broken::leaves_out(name);
        let member = self.rate.wait_until(now).filter(|_| kept("minion-rate"));
        member.or(self.requests.wait_until(now).filter(|_| kept("stranger-rate")))
    }

    fn silence_deadline(&self) -> Instant {
        if broken::leaves_out("keep-alive") {
            return Instant::now() + HELLO_LIMIT;
        }
        let silent = self.wire.received_at() + self.keep_alive;
        if self.outgoing.is_none() && matches!(self.peer, Peer::Member(_)) {
            silent.min(self.since + HELLO_LIMIT)
        } else {
            silent
        }
    }

    /// A deadline passed: whose?
    fn judge(&mut self, throttled: bool) -> Result<(), End> {
        let now = Instant::now();
        if self.wire.write_deadline().is_some_and(|it| it <= now) {
            return Err(End::Refused("write-too-slow"));
        }
        if throttled {
            self.wire.excuse_silence();
        } else if self.silence_deadline() <= now {
            return Err(End::Refused("keep-alive-timeout"));
        }
        Ok(())
    }

    async fn packet(&mut self, packet: Packet) -> Result<(), End> {
        match packet {
            Packet::Publish(publish) => self.publish(publish).await,
            Packet::Subscribe { id, filters, .. } => self.subscribe(id, &filters),
            Packet::Unsubscribe { id, filters } => {
                let own = acl::inbox(&self.peer).to_string();
                self.subscribed &= !filters.contains(&own);
                let code = |filter: &String| if *filter == own { 0 } else { 0x11 };
                self.wire.push(&Packet::UnsubAck { id, codes: filters.iter().map(code).collect() });
                Ok(())
            }
            Packet::PingRequest => {
                self.wire.push(&Packet::PingResponse);
                Ok(())
            }
            // Ours are of QoS 0: there is nothing to acknowledge, and it does no harm.
            Packet::Ack { kind: AckKind::Ack, .. } => Ok(()),
            Packet::Disconnect { .. } => Err(End::Quiet),
            _ if broken::leaves_out("unexpected-packet") => Ok(()),
            _ => Err(End::Refused("unexpected-packet")),
        }
    }

    fn subscribe(&mut self, id: u16, filters: &[Subscription]) -> Result<(), End> {
        let own = acl::inbox(&self.peer).to_string();
        let no = if self.wire.version() == Version::V4 { 0x80 } else { 0x87 };
        let any = broken::leaves_out("minion-subscribe");
        let code = |it: &Subscription| if it.filter == own || any { 0 } else { no };
        let codes: Vec<u8> = filters.iter().map(code).collect();
        let refused = codes.contains(&no);
        self.wire.push(&Packet::SubAck { id, codes });
        self.subscribed = !refused;
        if refused { Err(End::Refused("minion-subscribe")) } else { Ok(()) }
    }

    async fn publish(&mut self, publish: Publish) -> Result<(), End> {
        if publish.qos == Qos::ExactlyOnce && !broken::leaves_out("minion-qos-2") {
            return Err(End::Refused("minion-qos-2"));
        }
        if publish.retain && !broken::leaves_out("minion-retain") {
            return Err(End::Refused("minion-retain"));
        }
        let may =
            Topic::parse(&publish.topic).and_then(|topic| Some((acl::outlet(&self.peer, &topic)?, topic)));
        let Some((outlet, topic)) = may else {
            if broken::leaves_out("minion-publish") {
                self.acknowledge(&publish);
                return Ok(());
            }
            return Err(End::Refused("minion-publish"));
        };
        match outlet {
            Outlet::Control => self.control(&topic, &publish.payload).await?,
            Outlet::Sample => self.sample(&publish.payload).await?,
            Outlet::Enroll => self.enroll(&topic, &publish.payload).await?,
        }
        self.gate.counters.taken();
        self.acknowledge(&publish);
        Ok(())
    }

    fn acknowledge(&mut self, publish: &Publish) {
        if publish.qos != Qos::AtMostOnce {
            self.wire.push(&Packet::Ack { kind: AckKind::Ack, id: publish.id, reason: 0 });
        }
    }

    /// Only what passes here is believed.
    fn open<T: DeserializeOwned>(&mut self, topic: &Topic, payload: &Bytes) -> Result<T, End> {
        let checked = envelope::open::<T>(topic, payload, &self.key).and_then(|it: Verified<T>| {
            self.incoming.accept(it.header())?;
            match it.header().exp {
                Some(exp) if exp < (self.gate.config.clock)() && !broken::leaves_out("envelope-exp") => {
                    Err(Rejected::Expired)
                }
                _ => Ok(it),
            }
        });
        match checked {
            Ok(verified) => {
                if self.outgoing.is_none() {
                    self.outgoing = Some(Sequence::of(verified.header().session.clone()));
                }
                Ok(verified.into_message())
            }
            Err(rejected) => Err(End::Refused(match rejected {
                Rejected::TooLarge => "envelope-too-large",
                Rejected::Unsigned => "envelope-unsigned",
                Rejected::BadSignature => "envelope-bad-signature",
                Rejected::Malformed => "envelope-malformed",
                Rejected::OutOfOrder => "envelope-out-of-order",
                Rejected::Expired => "envelope-expired",
            })),
        }
    }

    async fn control(&mut self, topic: &Topic, payload: &Bytes) -> Result<(), End> {
        let first = self.outgoing.is_none();
        let message: FromMinion = self.open(topic, payload)?;
        if first != matches!(message, FromMinion::Hello(_)) && !broken::leaves_out("hello-first") {
            return Err(End::Refused(if first { "no-hello" } else { "second-hello" }));
        }
        let Peer::Member(minion) = &self.peer else { return Err(End::Refused("minion-publish")) };
        let (minion, epoch, message) = (minion.clone(), self.link.epoch, Box::new(message));
        self.tell(FromGate::Message { minion, epoch, message }).await
    }

    async fn sample(&self, payload: &Bytes) -> Result<(), End> {
        let Peer::Member(minion) = &self.peer else { return Err(End::Refused("minion-publish")) };
        let Some(sample) = acl::sample(payload) else {
            // A fault of telemetry must not make a machine unmanageable.
            self.gate.counters.refuse("bad-sample", minion);
            return Ok(());
        };
        self.tell(FromGate::Sample { minion: minion.clone(), sample }).await
    }

    async fn enroll(&mut self, topic: &Topic, payload: &Bytes) -> Result<(), End> {
        self.requests.charge(Instant::now());
        let request: EnrollRequest = self.open(topic, payload)?;
        let fingerprint = self.key.fingerprint();
        if PublicKey::from_text(&request.sign) != Some(self.key) && !broken::leaves_out("enroll-own-key") {
            return Err(End::Refused("enroll-foreign-key"));
        }
        if self.gate.directory.banned(&self.key) {
            return Err(End::Refused("minion-banned"));
        }
        let terms = self.terms(&request);
        let (epoch, request, address) = (self.link.epoch, Box::new(request), self.address.to_string());
        self.tell(FromGate::Enroll { fingerprint, epoch, request, terms, address }).await
    }

    fn terms(&self, request: &EnrollRequest) -> Result<Box<TokenTerms>, TokenFault> {
        let statement = request.token.as_deref().ok_or(TokenFault::Absent)?;
        let terms = bus::seed::open_terms(statement, &self.gate.config.issuer).ok_or(TokenFault::Forged)?;
        let signature = request.image_sig.as_deref().ok_or(TokenFault::Forged)?;
        bus::seed::verify_request(&terms, signature, &self.key.fingerprint(), &request.minion)
            .then(|| Box::new(terms))
            .ok_or(TokenFault::Forged)
    }

    /// Says this, and acknowledgements that wait behind each other in one message: each would be a signature here and
    /// one to be checked there.
    fn say_together(&mut self, first: Queued, queue: &mut mpsc::Receiver<Queued>) {
        let mut last = first;
        while is_ack(&last)
            && self.wire.queued() < OUTPUT_HIGH
            && let Ok(next) = queue.try_recv()
        {
            match joined(last, next) {
                Ok(both) => last = both,
                Err((before, next)) => {
                    self.say(before);
                    last = next;
                }
            }
        }
        self.say(last);
    }

    /// Signs and writes what the daemon said.
    fn say(&mut self, (message, weight): Queued) {
        self.link.taken(weight);
        let Some(sequence) = self.outgoing.as_mut() else { return };
        if !self.subscribed {
            return;
        }
        let header = sequence.next((self.gate.config.clock)(), None);
        let topic = acl::inbox(&self.peer);
        let signer = &self.gate.config.signer;
        let payload = match &*message {
            Outgoing::Message(message) => envelope::seal(&topic, &header, message, signer),
            Outgoing::Answer(answer) => envelope::seal(&topic, &header, answer, signer),
        };
        self.wire.push(&Packet::Publish(Publish {
            topic: topic.to_string(),
            payload: payload.into(),
            qos: Qos::AtMostOnce,
            retain: false,
            duplicate: false,
            id: 0,
            properties: Properties::default(),
        }));
    }
}

fn is_ack((message, _): &Queued) -> bool {
    matches!(**message, Outgoing::Message(ToMinion::Ack { .. }))
}

/// Two acknowledgements as one; whatever else they are, or more than one message should hold, comes back.
fn joined((mut first, weight): Queued, (mut second, more): Queued) -> Result<Queued, (Queued, Queued)> {
    if let (
        Outgoing::Message(ToMinion::Ack { jobs, events }),
        Outgoing::Message(ToMinion::Ack { jobs: later, events: newest }),
    ) = (&mut *first, &mut *second)
        && jobs.len() + later.len() <= ACK_JOBS_MAX
    {
        jobs.append(later);
        *events = (*events).max(*newest);
        return Ok((first, weight + more));
    }
    Err(((first, weight), (second, more)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::JobId;

    fn ack(jobs: usize, events: Option<u64>) -> Queued {
        let jobs = vec![JobId(1); jobs];
        (Box::new(Outgoing::Message(ToMinion::Ack { jobs, events })), 10)
    }

    fn read(queued: &Queued) -> (usize, Option<u64>, usize) {
        match &*queued.0 {
            Outgoing::Message(ToMinion::Ack { jobs, events }) => (jobs.len(), *events, queued.1),
            _ => (0, None, 0),
        }
    }

    #[test]
    fn acknowledgements_are_joined_up_to_a_limit_and_nothing_else_is() {
        for (first, second, both) in [
            (ack(0, Some(3)), ack(0, Some(4)), (0, Some(4), 20)),
            (ack(1, None), ack(0, Some(4)), (1, Some(4), 20)),
            (ack(1, Some(4)), ack(2, None), (3, Some(4), 20)),
        ] {
            let joined = joined(first, second).unwrap_or_else(|_| panic!("they fit"));
            assert_eq!(read(&joined), both);
        }
        assert!(joined(ack(ACK_JOBS_MAX, None), ack(1, None)).is_err());
        let cancel = (Box::new(Outgoing::Message(ToMinion::Cancel { job: JobId(1) })), 10);
        let Err((first, second)) = joined(ack(1, None), cancel) else {
            panic!("a cancel is no acknowledgement")
        };
        assert!(is_ack(&first) && !is_ack(&second));
    }
}
