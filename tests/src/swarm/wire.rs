//! A swarm minion's connection: MQTT over TLS from a chosen loopback address, with the back-off of real minions and
//! little else, so that the master is what a swarm measures.

use bus::{
    client::Backoff,
    packet::{
        Connect, PACKET_MAX_CONTROL, Packet, Properties, Publish, Qos, Subscription, Version, decode, encode,
        frame_length,
    },
};
use bytes::{Bytes, BytesMut};
use rustls::pki_types::ServerName;
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Ceiling of the back-off between connections, in milliseconds.
const BACKOFF_MS: u64 = 60_000;
/// Messages that wait to be written, and happenings that wait to be taken.
const QUEUE_MAX: usize = 64;
/// From the first packet of TCP to SUBACK, and for every write.
const NETWORK_MAX: Duration = Duration::from_secs(20);
/// Keep-alive, and how often it is kept.
const KEEP_ALIVE_S: u16 = 30;
/// Largest packet that is taken.
const PACKET_MAX: usize = PACKET_MAX_CONTROL + 1024;
/// Bytes by which the reading buffer grows.
const READ_STEP: usize = 2048;

/// How to connect.
pub(super) struct WireConfig {
    /// `address:port` of the master.
    pub(super) master: String,
    /// Where from.
    pub(super) source: Ipv4Addr,
    /// Pins and the minion's own key.
    pub(super) tls: Arc<rustls::ClientConfig>,
    /// MQTT client id.
    pub(super) client_id: String,
    /// The one topic to subscribe to.
    pub(super) inbox: String,
}

/// What a connection tells.
pub(super) enum Happening {
    /// Subscribed, ready to publish on this connection.
    Connected(u64),
    /// A message came.
    Message { topic: String, payload: Bytes },
    /// Over; it tries again by itself.
    Lost,
}

/// What is asked of one connection.
struct Errand {
    connection: u64,
    /// Topic and payload; none hangs up.
    publish: Option<(String, Vec<u8>)>,
}

/// A handle to publish with. The connection ends with it.
pub(super) struct Wire {
    queue: mpsc::Sender<Errand>,
    spread_ms: Arc<AtomicU64>,
}

impl Wire {
    /// Starts the connection's task on the current runtime.
    pub(super) fn start(config: WireConfig) -> (Self, mpsc::Receiver<Happening>) {
        let (happenings, receiver) = mpsc::channel(QUEUE_MAX);
        let (queue, messages) = mpsc::channel(QUEUE_MAX);
        let spread_ms = Arc::<AtomicU64>::default();
        let spread = Arc::clone(&spread_ms);
        tokio::spawn(async move { run(config, messages, happenings, &spread).await });
        (Self { queue, spread_ms }, receiver)
    }
    /// Publishes on a connection; what was meant for one that is over is dropped.
    pub(super) async fn publish(&self, connection: u64, topic: String, payload: Vec<u8>) {
        // The task ends only with this handle.
        let _ = self.queue.send(Errand { connection, publish: Some((topic, payload)) }).await;
    }
    /// Ends a connection, which is followed by another.
    pub(super) async fn hang_up(&self, connection: u64) {
        let _ = self.queue.send(Errand { connection, publish: None }).await;
    }
    /// As the master told: after the next loss, wait a random time up to this.
    pub(super) fn spread_next(&self, ms: u64) {
        self.spread_ms.store(ms, Ordering::Relaxed);
    }
}

async fn run(
    config: WireConfig,
    mut queue: mpsc::Receiver<Errand>,
    happenings: mpsc::Sender<Happening>,
    spread_ms: &AtomicU64,
) {
    let mut backoff = Backoff::new(1, BACKOFF_MS);
    for number in 1.. {
        let mut since = None;
        if connection(&config, number, &mut queue, &happenings, &mut since).await.is_ok() {
            return;
        }
        let spread = if since.is_some() { spread_ms.swap(0, Ordering::Relaxed) } else { 0 };
        let retry_ms = backoff.next_ms(since.map(|it: Instant| it.elapsed()), spread);
        if happenings.send(Happening::Lost).await.is_err() {
            return;
        }
        sleep(Duration::from_millis(retry_ms)).await;
    }
}

/// One connection; `Ok` is the end of its owner.
async fn connection(
    config: &WireConfig,
    number: u64,
    queue: &mut mpsc::Receiver<Errand>,
    happenings: &mpsc::Sender<Happening>,
    since: &mut Option<Instant>,
) -> io::Result<()> {
    let mut talk = timeout(NETWORK_MAX, introduce(config)).await??;
    *since = Some(Instant::now());
    if happenings.send(Happening::Connected(number)).await.is_err() {
        return Ok(());
    }
    let every = Duration::from_secs(KEEP_ALIVE_S.into());
    let mut ping_at = Instant::now() + every;
    loop {
        while let Some(packet) = talk.take()? {
            let Packet::Publish(Publish { topic, payload, .. }) = packet else { continue };
            if happenings.send(Happening::Message { topic, payload }).await.is_err() {
                return Ok(());
            }
        }
        tokio::select! {
            more = talk.read() => more?,
            errand = queue.recv() => {
                let Some(errand) = errand else { return Ok(()) };
                ping_at = Instant::now() + every;
                talk.put(number, errand)?;
                while let Ok(errand) = queue.try_recv() {
                    talk.put(number, errand)?;
                }
                timeout(NETWORK_MAX, talk.flush()).await??;
            }
            () = sleep_until(ping_at) => {
                ping_at = Instant::now() + every;
                encode(Version::V4, &Packet::PingRequest, &mut talk.output);
                timeout(NETWORK_MAX, talk.flush()).await??;
            }
        }
    }
}

/// From nothing to SUBACK.
async fn introduce(config: &WireConfig) -> io::Result<Talk> {
    let address: SocketAddr = config.master.parse().map_err(io::Error::other)?;
    let socket = TcpSocket::new_v4()?;
    socket.set_nodelay(true)?;
    socket.bind((config.source, 0).into())?;
    let stream = socket.connect(address).await?;
    let name = ServerName::try_from("labmaster").map_err(io::Error::other)?;
    let stream = TlsConnector::from(Arc::clone(&config.tls)).connect(name, stream).await?;
    let mut talk = Talk { stream, input: BytesMut::new(), output: BytesMut::new() };
    let connect = Connect {
        version: Version::V4,
        client_id: config.client_id.clone(),
        clean: true,
        keep_alive_s: KEEP_ALIVE_S,
        will: None,
        user: None,
        password: None,
        properties: Properties::default(),
    };
    encode(Version::V4, &Packet::Connect(Box::new(connect)), &mut talk.output);
    let filter = Subscription {
        filter: config.inbox.clone(),
        qos: Qos::AtMostOnce,
        no_local: false,
        retain_as_published: false,
        retain_handling: 0,
    };
    let subscribe = Packet::Subscribe { id: 1, filters: vec![filter], properties: Properties::default() };
    encode(Version::V4, &subscribe, &mut talk.output);
    talk.flush().await?;
    loop {
        match talk.take()? {
            Some(Packet::ConnAck { code: 0, .. }) => {}
            Some(Packet::SubAck { codes, .. }) if codes == [0] => return Ok(talk),
            Some(other) => return Err(io::Error::other(format!("the master refused: {other:?}"))),
            None => talk.read().await?,
        }
    }
}

/// A stream as packets.
struct Talk {
    stream: TlsStream<TcpStream>,
    input: BytesMut,
    output: BytesMut,
}

impl Talk {
    fn take(&mut self) -> io::Result<Option<Packet>> {
        match frame_length(&self.input, PACKET_MAX).map_err(io::Error::other)? {
            Some(length) if self.input.len() >= length => {
                let frame = self.input.split_to(length).freeze();
                if self.input.is_empty() {
                    self.input = BytesMut::new();
                }
                decode(Version::V4, frame).map(Some).map_err(io::Error::other)
            }
            _ => Ok(None),
        }
    }
    /// Safe to drop.
    async fn read(&mut self) -> io::Result<()> {
        self.input.reserve(READ_STEP);
        let count = self.stream.read_buf(&mut self.input).await?;
        if count == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
    fn put(&mut self, number: u64, errand: Errand) -> io::Result<()> {
        if errand.connection != number {
            return Ok(());
        }
        let (topic, payload) = errand.publish.ok_or(io::ErrorKind::ConnectionAborted)?;
        let publish = Publish {
            topic,
            payload: payload.into(),
            qos: Qos::AtMostOnce,
            retain: false,
            duplicate: false,
            id: 0,
            properties: Properties::default(),
        };
        encode(Version::V4, &Packet::Publish(publish), &mut self.output);
        Ok(())
    }
    async fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.output).await?;
        self.output = BytesMut::new();
        self.stream.flush().await
    }
}
