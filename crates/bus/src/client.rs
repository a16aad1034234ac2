//! The MQTT client of minions and of the master's link to the fan-out: stock rumqttc with our own back-off and limits.
//! The only file beside `packet.rs` that names rumqttc.

mod backoff;

pub use backoff::Backoff;

use crate::pulse::Beat;
use bytes::Bytes;
use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event, EventLoop, MqttOptions, Outgoing, Packet, QoS,
    SubAck, SubscribeFilter, SubscribeReasonCode, TlsConfiguration, Transport,
};
use std::{
    collections::VecDeque,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until, timeout},
};

/// Packets that fit every envelope, its topic and its frame.
pub const PACKET_MAX: usize = crate::envelope::CONTROL_MAX + 1024;
/// Bytes of a publish that are neither topic nor payload, at most.
const FRAME_MAX: usize = 7;
/// Publishes that wait to be written.
const QUEUE_MAX: usize = 64;
/// Events that wait to be taken.
const EVENTS_MAX: usize = 64;
/// From the first packet of TCP to CONNACK, and for every write.
const NETWORK_MAX_S: u64 = 20;
/// From CONNACK to SUBACK.
const SUBSCRIBE_MAX: Duration = Duration::from_secs(20);
/// How long [`Client::close`] waits.
const CLOSE_MAX: Duration = Duration::from_secs(2);
/// After DISCONNECT was written, how long the server may take to close: closing first could drop what is on its way.
const LINGER_MAX: Duration = Duration::from_millis(250);
/// Incoming packets that rumqttc keeps room for; it would take 100 for each of a thousand clients.
const READ_AHEAD: usize = 12;

/// How to connect.
#[derive(Clone)]
pub struct ClientConfig {
    /// `host:port` in order of preference; the next one is tried after a failure.
    pub addresses: Vec<String>,
    /// None is plain TCP: only for the loopback link to the fan-out.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// MQTT client id.
    pub client_id: String,
    /// User name and password.
    pub login: Option<(String, String)>,
    /// Topics to subscribe to on every connection before `Connected` is reported.
    pub subscribe: Vec<String>,
    /// Largest packet either way, in bytes.
    pub packet_max: usize,
    /// Seconds of MQTT keep-alive.
    pub keep_alive_s: u16,
    /// Ceiling of the back-off between attempts, in milliseconds ([`Backoff`]).
    pub backoff_max_ms: u64,
}

/// What a connection tells.
#[derive(Clone, Debug)]
pub enum ClientEvent {
    /// Subscribed, ready to publish. A new one begins a new session.
    Connected {
        /// Which address.
        address: String,
    },
    /// A message came.
    Message {
        /// Where.
        topic: String,
        /// What.
        payload: Bytes,
    },
    /// Over; it tries again by itself.
    Disconnected {
        /// Which address; empty if none was tried.
        address: String,
        /// Why, for people.
        reason: String,
        /// Until the next attempt, in milliseconds.
        retry_ms: u64,
    },
}

/// A handle to publish with. Dropping all handles ends the connection in good order.
#[derive(Clone)]
pub struct Client {
    link: Arc<Link>,
    /// True is the wish to end; so is the end of the last sender.
    quit: Arc<watch::Sender<bool>>,
    packet_max: usize,
}

/// The connection is gone or its queue is full: what was to be sent is the caller's to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not connected, or the queue is full")]
pub struct NotSent;

/// What handles and task share.
#[derive(Default)]
struct Link {
    current: Mutex<Option<AsyncClient>>,
    spread_ms: AtomicU64,
}

impl Link {
    fn current(&self) -> Option<AsyncClient> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    fn set(&self, current: Option<AsyncClient>) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = current;
    }
}

impl Client {
    /// Starts the connection's task on the current runtime. The first attempt is immediate.
    ///
    /// After a `Disconnected`, nothing is tried before the receiver took it and all before it: what is published in
    /// between fails rather than slips into the next session.
    pub fn start(config: ClientConfig) -> (Self, mpsc::Receiver<ClientEvent>) {
        Self::start_with(config, None)
    }
    /// The same; its loop stamps a beat.
    pub fn start_watched(config: ClientConfig, beat: Beat) -> (Self, mpsc::Receiver<ClientEvent>) {
        Self::start_with(config, Some(beat))
    }
    fn start_with(config: ClientConfig, beat: Option<Beat>) -> (Self, mpsc::Receiver<ClientEvent>) {
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        let (quit, quitting) = watch::channel(false);
        let link = Arc::new(Link::default());
        let packet_max = config.packet_max;
        tokio::spawn(Task { config, link: link.clone(), events, quit: quitting, beat }.run());
        (Self { link, quit: Arc::new(quit), packet_max }, receiver)
    }
    /// Publishes at QoS 0, waiting for room in the queue; fails while not connected, and for what can never be sent:
    /// a topic with wildcards, or more than `packet_max`.
    pub async fn publish(&self, topic: String, payload: Vec<u8>, retain: bool) -> Result<(), NotSent> {
        if topic.len() + payload.len() + FRAME_MAX > self.packet_max {
            return Err(NotSent);
        }
        let client = self.link.current().ok_or(NotSent)?;
        client.publish(topic, QoS::AtMostOnce, retain, payload).await.map_err(|_| NotSent)
    }
    /// Waits (at most 2 s) until what was published has been written, then disconnects in good order and stays so.
    pub async fn close(self) {
        self.link.set(None);
        self.quit.send_replace(true);
        // The task holds the only receiver: when it is gone, so is the task. If it takes longer it ends by itself.
        let _ = timeout(CLOSE_MAX, self.quit.closed()).await;
    }
    /// Before the next attempt after a loss, wait a random time up to this many milliseconds instead of the usual first step.
    pub fn spread_next(&self, ms: u64) {
        self.link.spread_ms.store(ms, Ordering::Relaxed);
    }
}

/// Why a connection ended, where it matters to programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// CONNACK: not authorized. The key was revoked or rejected, or name and password are wrong.
    Key,
    /// SUBACK: the topics are not for this key.
    Subscription,
}

const REFUSED_KEY: &str = "the server refused: not authorized";
const REFUSED_SUBSCRIPTION: &str = "the server refused a subscription";

/// What the reason of a [`ClientEvent::Disconnected`] means, if the server said it.
pub fn refusal(reason: &str) -> Option<Refusal> {
    match reason {
        REFUSED_KEY => Some(Refusal::Key),
        REFUSED_SUBSCRIPTION => Some(Refusal::Subscription),
        _ => None,
    }
}

/// Whether the reason of a [`ClientEvent::Disconnected`] says that somebody answered whose key is not trusted.
pub fn is_untrusted(reason: &str) -> bool {
    reason.contains(crate::tls::NOT_PINNED)
}

/// Why a connection is over.
enum Over {
    /// It was asked to end.
    Quit,
    /// Lost or never had, with the reason for people.
    Lost(String),
}

impl From<ConnectionError> for Over {
    fn from(error: ConnectionError) -> Self {
        Self::Lost(match error {
            ConnectionError::ConnectionRefused(ConnectReturnCode::NotAuthorized) => REFUSED_KEY.to_owned(),
            ConnectionError::ConnectionRefused(code) => format!("the server refused: {code:?}"),
            ConnectionError::NetworkTimeout => "no answer in time".to_owned(),
            ConnectionError::Io(error) => error.to_string(),
            error => error.to_string(),
        })
    }
}

struct Task {
    config: ClientConfig,
    link: Arc<Link>,
    events: mpsc::Sender<ClientEvent>,
    quit: watch::Receiver<bool>,
    beat: Option<Beat>,
}

/// Waits for what may not come for long.
async fn idle<T>(beat: Option<&Beat>, waited_for: impl Future<Output = T>) -> T {
    match beat {
        Some(beat) => beat.idle(waited_for).await,
        None => waited_for.await,
    }
}

impl Task {
    async fn run(mut self) {
        let mut index = 0;
        let mut backoff = Backoff::new(self.config.addresses.len(), self.config.backoff_max_ms);
        loop {
            let address = self.config.addresses.get(index).cloned().unwrap_or_default();
            let mut connected = None;
            let over = self.connection(&address, &mut connected).await;
            self.link.set(None);
            let Over::Lost(reason) = over else { return };
            index = if connected.is_some() { 0 } else { (index + 1) % self.config.addresses.len().max(1) };
            let spread_ms =
                if connected.is_some() { self.link.spread_ms.swap(0, Ordering::Relaxed) } else { 0 };
            let retry_ms = backoff.next_ms(connected.map(|since| since.elapsed()), spread_ms);
            tracing::debug!(address, reason, retry_ms, "not connected");
            let event = ClientEvent::Disconnected { address, reason, retry_ms };
            if self.pause(event, retry_ms).await.is_none() {
                return;
            }
        }
    }

    /// Reports, and waits for the time and for the report to be taken; `None` if nobody wants more.
    async fn pause(&mut self, event: ClientEvent, retry_ms: u64) -> Option<()> {
        let until = Instant::now() + Duration::from_millis(retry_ms);
        let Self { events, quit, beat, .. } = self;
        let wait = async {
            events.send(event).await.ok()?;
            sleep_until(until).await;
            events.reserve_many(EVENTS_MAX).await.ok().map(drop)
        };
        let wait = async {
            tokio::select! {
                over = wait => over,
                () = unwanted(quit, events) => None,
            }
        };
        idle(beat.as_ref(), wait).await
    }

    /// One connection from its first packet to its end.
    async fn connection(&mut self, address: &str, connected: &mut Option<Instant>) -> Over {
        match self.try_connection(address, connected).await {
            Ok(never) => match never {},
            Err(over) => over,
        }
    }

    async fn try_connection(
        &mut self,
        address: &str,
        connected: &mut Option<Instant>,
    ) -> Result<std::convert::Infallible, Over> {
        let (client, mut eventloop) = self.open(address)?;
        let subscribing = subscribed(&client, &mut eventloop, &self.config.subscribe);
        let early = tokio::select! {
            over = idle(self.beat.as_ref(), subscribing) => over?,
            () = unwanted(&mut self.quit, &self.events) => return Err(Over::Quit),
        };
        *connected = Some(Instant::now());
        let mut session = Session {
            events: &self.events,
            quit: &mut self.quit,
            client: &client,
            quitting: None,
            asked: false,
        };
        session.deliver(ClientEvent::Connected { address: address.to_owned() }).await;
        if session.quitting.is_none() {
            self.link.set(Some(client.clone()));
        }
        for message in early {
            session.deliver(message).await;
        }
        loop {
            let event = match idle(self.beat.as_ref(), session.poll(&mut eventloop)).await {
                Ok(event) => event,
                Err(over) => {
                    // What came together with the end: a last word such as `removed`.
                    for message in std::mem::take(&mut eventloop.state.events).into_iter().filter_map(publish)
                    {
                        session.deliver(received(message)).await;
                    }
                    return Err(over);
                }
            };
            match event {
                Event::Incoming(Packet::Publish(message)) => session.deliver(received(message)).await,
                Event::Outgoing(Outgoing::Disconnect) => {
                    let linger = async { while eventloop.poll().await.is_ok() {} };
                    let _ = timeout(LINGER_MAX, linger).await;
                    return Err(Over::Quit);
                }
                _ => {}
            }
        }
    }

    fn open(&self, address: &str) -> Result<(AsyncClient, EventLoop), Over> {
        let config = &self.config;
        let (host, port) =
            split(address).ok_or_else(|| Over::Lost(format!("`{address}` is not `host:port`")))?;
        let mut options = MqttOptions::new(&config.client_id, host, port);
        options
            .set_max_packet_size(config.packet_max, config.packet_max)
            .set_keep_alive(Duration::from_secs(config.keep_alive_s.into()))
            .set_clean_session(true)
            .set_inflight(1);
        if let Some((name, password)) = &config.login {
            options.set_credentials(name, password);
        }
        if let Some(tls) = &config.tls {
            options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(tls.clone())));
        }
        let (client, mut eventloop) = AsyncClient::new(options, QUEUE_MAX);
        eventloop.network_options.set_connection_timeout(NETWORK_MAX_S);
        eventloop.network_options.set_tcp_nodelay(true);
        eventloop.state.events = VecDeque::with_capacity(READ_AHEAD);
        Ok((client, eventloop))
    }
}

/// Connects and subscribes; returns the messages that came before SUBACK.
async fn subscribed(
    client: &AsyncClient,
    eventloop: &mut EventLoop,
    topics: &[String],
) -> Result<Vec<ClientEvent>, Over> {
    eventloop.poll().await?;
    let mut early = Vec::new();
    if topics.is_empty() {
        return Ok(early);
    }
    let filters = topics.iter().map(|topic| SubscribeFilter::new(topic.clone(), QoS::AtMostOnce));
    let bad = |_| Over::Lost("a topic to subscribe to is malformed".to_owned());
    client.try_subscribe_many(filters).map_err(bad)?;
    let answer = async {
        loop {
            match eventloop.poll().await {
                Ok(Event::Incoming(Packet::SubAck(ack))) => return Ok(ack),
                Ok(Event::Incoming(Packet::Publish(message))) if early.len() < EVENTS_MAX => {
                    early.push(received(message));
                }
                Ok(_) => {}
                // A refusal that came together with the end is still the reason.
                Err(error) => {
                    return std::mem::take(&mut eventloop.state.events)
                        .into_iter()
                        .find_map(refused)
                        .ok_or(error);
                }
            }
        }
    };
    let ack = timeout(SUBSCRIBE_MAX, answer).await.unwrap_or(Err(ConnectionError::NetworkTimeout))?;
    if ack.return_codes.contains(&SubscribeReasonCode::Failure) {
        return Err(Over::Lost(REFUSED_SUBSCRIPTION.to_owned()));
    }
    Ok(early)
}

fn refused(event: Event) -> Option<SubAck> {
    match event {
        Event::Incoming(Packet::SubAck(ack)) if ack.return_codes.contains(&SubscribeReasonCode::Failure) => {
            Some(ack)
        }
        _ => None,
    }
}

fn publish(event: Event) -> Option<rumqttc::Publish> {
    if let Event::Incoming(Packet::Publish(message)) = event { Some(message) } else { None }
}

fn received(message: rumqttc::Publish) -> ClientEvent {
    ClientEvent::Message { topic: message.topic, payload: message.payload }
}

/// An established connection.
struct Session<'a> {
    events: &'a mpsc::Sender<ClientEvent>,
    quit: &'a mut watch::Receiver<bool>,
    client: &'a AsyncClient,
    /// When it must be over, once it is to end.
    quitting: Option<Instant>,
    /// Whether DISCONNECT is in the queue.
    asked: bool,
}

impl Session<'_> {
    fn begin_to_quit(&mut self) {
        self.quitting = Some(Instant::now() + CLOSE_MAX);
    }

    /// Hands over an event; drops it if the end is wanted first, or nobody takes events any more.
    async fn deliver(&mut self, event: ClientEvent) {
        if self.quitting.is_some() {
            return;
        }
        let taken = tokio::select! {
            biased;
            sent = self.events.send(event) => sent.is_ok(),
            () = unwanted(self.quit, self.events) => false,
        };
        if !taken {
            self.begin_to_quit();
        }
    }

    /// The next event. Never drops a poll half-way: it could have taken a publish out of the queue.
    async fn poll(&mut self, eventloop: &mut EventLoop) -> Result<Event, Over> {
        let mut poll = pin!(eventloop.poll());
        loop {
            if self.quitting.is_some() && !self.asked {
                // Behind all that was published. While the queue is full, the next poll asks again.
                self.asked = self.client.try_disconnect().is_ok();
            }
            let deadline = self.quitting.unwrap_or_else(Instant::now);
            let polled = tokio::select! {
                biased;
                polled = &mut poll => Some(polled),
                () = unwanted(self.quit, self.events), if self.quitting.is_none() => None,
                () = sleep_until(deadline), if self.quitting.is_some() => return Err(Over::Quit),
            };
            match polled {
                None => self.begin_to_quit(),
                Some(Err(_)) if self.quitting.is_some() => return Err(Over::Quit),
                Some(polled) => return Ok(polled?),
            }
        }
    }
}

/// Ends when nobody wants the connection any more.
async fn unwanted(quit: &mut watch::Receiver<bool>, events: &mpsc::Sender<ClientEvent>) {
    tokio::select! {
        _ = quit.wait_for(|quit| *quit) => {}
        () = events.closed() => {}
    }
}

/// `host:port`, an IPv6 host without its brackets.
fn split(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    (!host.is_empty()).then_some((host, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_host_and_port() {
        for (text, parts) in [
            ("lab.home:8883", Some(("lab.home", 8883))),
            ("10.0.0.1:1", Some(("10.0.0.1", 1))),
            ("[fd00::1]:8883", Some(("fd00::1", 8883))),
            ("lab.home", None),
            ("lab.home:", None),
            ("lab.home:99999", None),
            (":8883", None),
            ("", None),
        ] {
            assert_eq!(split(text), parts, "{text}");
        }
    }
}
