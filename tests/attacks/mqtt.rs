//! MQTT by hand: packets as bytes, good ones and any other, over TLS or plain TCP.

use rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};
use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

/// How long an answer may take on a loaded machine.
pub(crate) const SOON: Duration = Duration::from_secs(5);
const TICK: Duration = Duration::from_millis(50);

pub(crate) const PING: [u8; 2] = [0xc0, 0];
pub(crate) const DISCONNECT: [u8; 2] = [0xe0, 0];

/// Anything that carries bytes.
pub(crate) trait Bytes: Read + Write {}
impl<T: Read + Write> Bytes for T {}

/// A connection as its other end sees it.
pub(crate) struct Line {
    stream: Box<dyn Bytes>,
    buffer: Vec<u8>,
    pub(crate) v5: bool,
}

/// What came.
#[derive(Debug, PartialEq)]
pub(crate) enum Heard {
    /// First byte and body.
    Packet(u8, Vec<u8>),
    /// The end.
    Closed,
    /// Nothing within the time.
    Nothing,
}

/// A TCP connection, from a chosen address of loopback.
pub(crate) fn tcp(from: IpAddr, port: u16) -> Option<TcpStream> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(from, 0)).ok()?;
        let to = SocketAddr::new([127, 0, 0, 1].into(), port);
        tokio::time::timeout(SOON, socket.connect(to)).await.ok()?.ok()?.into_std().ok()
    })?;
    stream.set_nonblocking(false).ok()?;
    stream.set_nodelay(true).ok()?;
    stream.set_read_timeout(Some(TICK)).ok()?;
    stream.set_write_timeout(Some(SOON)).ok()?;
    Some(stream)
}

/// A TLS connection whose handshake is over.
pub(crate) fn tls(
    stream: TcpStream,
    config: Arc<ClientConfig>,
    limit: Duration,
) -> Option<StreamOwned<ClientConnection, TcpStream>> {
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = StreamOwned::new(ClientConnection::new(config, name).ok()?, stream);
    let end = Instant::now() + limit;
    while stream.conn.is_handshaking() || stream.conn.wants_write() {
        match stream.conn.complete_io(&mut stream.sock) {
            Ok(_) => {}
            Err(error) if waits(error.kind()) && Instant::now() < end => {}
            Err(_) => return None,
        }
    }
    Some(stream)
}

pub(crate) fn waits(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

impl Line {
    pub(crate) fn over(stream: impl Bytes + 'static) -> Self {
        Self { stream: Box::new(stream), buffer: Vec::new(), v5: false }
    }
    /// Whether the bytes left.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).and_then(|()| self.stream.flush()).is_ok()
    }
    /// More bytes, if some come within a tick; `None` at the end.
    pub(crate) fn read(&mut self) -> Option<usize> {
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => None,
            Ok(count) => {
                self.buffer.extend_from_slice(&chunk[..count]);
                Some(count)
            }
            Err(error) if waits(error.kind()) => Some(0),
            Err(_) => None,
        }
    }
    /// What came so far.
    pub(crate) fn received(&self) -> &[u8] {
        &self.buffer
    }
    fn take(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut length = 0_usize;
        for index in 0..4 {
            let byte = *self.buffer.get(1 + index)?;
            length |= usize::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                let (begin, end) = (2 + index, 2 + index + length);
                let body = self.buffer.get(begin..end)?.to_vec();
                let first = self.buffer[0];
                self.buffer.drain(..end);
                return Some((first, body));
            }
        }
        None
    }
    pub(crate) fn hear(&mut self, limit: Duration) -> Heard {
        let end = Instant::now() + limit;
        loop {
            if let Some((first, body)) = self.take() {
                return Heard::Packet(first, body);
            }
            if self.read().is_none() {
                return self.take().map_or(Heard::Closed, |(first, body)| Heard::Packet(first, body));
            }
            if Instant::now() >= end && self.buffer.is_empty() {
                return Heard::Nothing;
            }
            if Instant::now() >= end + limit {
                return Heard::Nothing;
            }
        }
    }
    /// The body of the next packet of a kind (its upper four bits); others are passed over.
    pub(crate) fn hear_kind(&mut self, kind: u8, limit: Duration) -> Option<Vec<u8>> {
        let end = Instant::now() + limit;
        loop {
            let left = end.checked_duration_since(Instant::now())?;
            match self.hear(left) {
                Heard::Packet(first, body) if first >> 4 == kind => return Some(body),
                Heard::Packet(..) => {}
                Heard::Closed | Heard::Nothing => return None,
            }
        }
    }
    /// Code of the CONNACK.
    pub(crate) fn connack(&mut self) -> Option<u8> {
        self.hear_kind(2, SOON)?.get(1).copied()
    }
    /// Sends a CONNECT; the code of the answer.
    pub(crate) fn connect(&mut self, connect: &Connect<'_>) -> Option<u8> {
        self.v5 = connect.v5;
        self.send(&connect.bytes());
        self.connack()
    }
    /// Reason of the PUBACK or PUBREC; 0 in 3.1.1. `None`: the connection ended, or nothing came.
    pub(crate) fn acknowledged(&mut self, kind: u8) -> Option<u8> {
        let body = self.hear_kind(kind, SOON)?;
        Some(body.get(2).copied().unwrap_or(0))
    }
    /// Code of the first filter of a SUBSCRIBE.
    pub(crate) fn subscribe(&mut self, filter: &str) -> Option<u8> {
        let bytes = subscribe(self.v5, 9, &[filter.as_bytes()]);
        self.send(&bytes);
        self.hear_kind(9, SOON)?.last().copied()
    }
    /// Whether it is still answered.
    pub(crate) fn is_answered(&mut self) -> bool {
        self.send(&PING) && self.hear_kind(13, SOON).is_some()
    }
    /// Whether the other end has not hung up.
    pub(crate) fn is_open(&mut self) -> bool {
        !self.ends_within(TICK)
    }
    /// Whether it ends within a time.
    pub(crate) fn ends_within(&mut self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        while Instant::now() < end {
            if self.read().is_none() {
                return true;
            }
        }
        false
    }
    /// How many packets of a kind come within a time.
    pub(crate) fn count(&mut self, kind: u8, limit: Duration) -> usize {
        let end = Instant::now() + limit;
        let mut count = 0;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            match self.hear(left) {
                Heard::Packet(first, _) => count += usize::from(first >> 4 == kind),
                Heard::Closed | Heard::Nothing => break,
            }
        }
        count
    }
}

/// A CONNECT.
#[derive(Default)]
pub(crate) struct Connect<'a> {
    pub(crate) id: &'a str,
    pub(crate) v5: bool,
    pub(crate) login: Option<(&'a str, &'a str)>,
    pub(crate) keep_alive_s: u16,
    pub(crate) will: Option<(&'a str, &'a str)>,
    /// Properties of MQTT 5, whole.
    pub(crate) properties: &'a [u8],
    /// Name and level of the protocol, if others than good ones.
    pub(crate) protocol: Option<(&'a str, u8)>,
}

impl Connect<'_> {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let (name, level) = self.protocol.unwrap_or(("MQTT", if self.v5 { 5 } else { 4 }));
        let mut body = text(name.as_bytes());
        let login = if self.login.is_some() { 0xc0 } else { 0 };
        let will = if self.will.is_some() { 0x04 } else { 0 };
        body.extend([level, 0x02 | login | will]);
        body.extend(self.keep_alive_s.to_be_bytes());
        if self.v5 {
            body.extend(number(self.properties.len()));
            body.extend(self.properties);
        }
        body.extend(text(self.id.as_bytes()));
        if let Some((topic, payload)) = self.will {
            body.extend(if self.v5 { vec![0] } else { Vec::new() });
            body.extend([text(topic.as_bytes()), text(payload.as_bytes())].concat());
        }
        if let Some((user, secret)) = self.login {
            body.extend([text(user.as_bytes()), text(secret.as_bytes())].concat());
        }
        frame(0x10, &body)
    }
}

/// A packet.
pub(crate) fn frame(first: u8, body: &[u8]) -> Vec<u8> {
    [vec![first], number(body.len()), body.to_vec()].concat()
}

/// A number of seven bits a byte.
pub(crate) fn number(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7f).unwrap();
        value >>= 7;
        bytes.push(low | if value > 0 { 0x80 } else { 0 });
        if value == 0 {
            return bytes;
        }
    }
}

/// Bytes with their length before them.
pub(crate) fn text(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

/// A PUBLISH; `flags` are QoS, retain and duplicate as on the wire.
pub(crate) fn publish(v5: bool, flags: u8, id: u16, topic: &[u8], payload: &[u8]) -> Vec<u8> {
    let id = if flags & 0x06 == 0 { Vec::new() } else { id.to_be_bytes().to_vec() };
    let properties = if v5 { vec![0] } else { Vec::new() };
    frame(0x30 | flags, &[text(topic), id, properties, payload.to_vec()].concat())
}

/// A SUBSCRIBE at QoS 0.
pub(crate) fn subscribe(v5: bool, id: u16, filters: &[&[u8]]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    body.extend(if v5 { vec![0] } else { Vec::new() });
    for filter in filters {
        body.extend(text(filter));
        body.push(0);
    }
    frame(0x82, &body)
}
