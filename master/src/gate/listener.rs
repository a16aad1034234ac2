//! Sockets: accepting never waits for a handshake, only for room in the budget and for file descriptors.

use super::{
    GateConfig, GateError, ObserverStream, Shared,
    budget::{Listened, Ticket},
    observers, session,
    wire::{Reading, Wire},
};
use crate::limits::Origin;
use bus::{
    PublicKey,
    packet::{Connect, PACKET_MAX_STRANGER, Packet, PacketError, Properties, Version},
    pulse::Beat,
};
use model::broken;
use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// From accepting to the end of the TLS handshake.
const TLS_LIMIT: Duration = Duration::from_secs(5);
/// From there to a whole CONNECT.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Pause when the system has no file descriptor or memory for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// A peer that was refused has so long to take the answer.
const GOODBYE_LIMIT: Duration = Duration::from_secs(1);

/// First byte of a TLS handshake.
const TLS_RECORD: u8 = 0x16;
/// As good as no limit, for a program that leaves one out.
const NO_LIMIT: Duration = Duration::from_hours(1);

/// What is spoken on a listener.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Speech {
    Tls,
    Plain,
}

/// A listener before it accepts.
pub(crate) struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    speech: Speech,
}

impl Bound {
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Binds all addresses. `[::]` takes IPv4 too where the system says so: `0.0.0.0` beside it is then no error.
pub(crate) async fn bind(config: &GateConfig) -> Result<Vec<Bound>, GateError> {
    if let Some(address) = config.plain.filter(|it| !it.ip().is_loopback()) {
        return Err(GateError::PlainNotLoopback { address });
    }
    let mut wanted: Vec<_> = config.listen.iter().map(|it| (*it, Speech::Tls)).collect();
    wanted.sort_by_key(|(address, _)| address.is_ipv4());
    wanted.extend(config.plain.map(|it| (it, Speech::Plain)));
    let mut bound: Vec<Bound> = Vec::new();
    for (wanted, speech) in wanted {
        match listen(wanted).await {
            Ok((listener, address)) => bound.push(Bound { listener, address, speech }),
            Err(source) => {
                let both = SocketAddr::new(IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED), wanted.port());
                let covered = source.kind() == io::ErrorKind::AddrInUse
                    && wanted.ip().is_ipv4()
                    && bound.iter().any(|it| it.address == both);
                if !covered {
                    return Err(GateError::Listen { address: wanted, source });
                }
            }
        }
    }
    Ok(bound)
}

async fn listen(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// The accept loop of one listener.
pub(crate) async fn accept(gate: Arc<Shared>, bound: Bound, beat: Beat) {
    let accepting = async {
        loop {
            match beat.idle(bound.listener.accept()).await {
                Ok((stream, address)) => {
                    let origin = Origin::of(address.ip());
                    // As long as others fill the budget, it waits; they cannot make it stand still.
                    let Some(ticket) = beat.idle(gate.budget.enter(origin)).await else {
                        gate.counters.refuse("too-many-from-one-address", &address.ip());
                        continue;
                    };
                    let greeting = greet(Arc::clone(&gate), stream, address, bound.speech, ticket);
                    if broken::leaves_out("accept-apart") {
                        greeting.await;
                    } else {
                        tokio::spawn(greeting);
                    }
                }
                // The peer was quicker with hanging up.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    gate.counters.refuse("no-file-descriptor", &error);
                    gate.budget.shed();
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        () = accepting => {}
        () = gate.stop.cancelled() => {}
    }
}

/// From a socket to somebody who said CONNECT.
async fn greet(gate: Arc<Shared>, tcp: TcpStream, address: SocketAddr, speech: Speech, ticket: Ticket) {
    let address = address.ip().to_canonical();
    let greeting = async {
        // Without it only the delay of small packets is worse.
        let _ = tcp.set_nodelay(true);
        let handshake = async {
            // Silent until its first byte is there.
            let mut first = [0];
            tcp.peek(&mut first).await?;
            let bare = first != [TLS_RECORD] && broken::leaves_out("tls-on-the-wire");
            let speech = if bare { Speech::Plain } else { speech };
            ticket.handshake().await;
            let tcp = ticket.listen(tcp);
            match speech {
                Speech::Tls => {
                    let acceptor = TlsAcceptor::from(Arc::clone(&gate.config.tls));
                    acceptor.accept(tcp).await.map(Box::new).map(Stream::Tls)
                }
                Speech::Plain => Ok(Stream::Plain(tcp)),
            }
        };
        let limit = if broken::leaves_out("handshake-limit") { NO_LIMIT } else { TLS_LIMIT };
        let stream = match timeout(limit, handshake).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(_)) => return Err("no-handshake"),
            Err(_) => return Err("handshake-too-slow"),
        };
        match stream {
            Stream::Tls(stream) => {
                let key = bus::tls::peer_key(stream.get_ref().1);
                let (wire, connect) = introduce(*stream).await?;
                Ok(Guest::Tls(Box::new(wire), connect, key))
            }
            Stream::Plain(stream) => {
                let (wire, connect) = introduce(stream).await?;
                Ok(Guest::Plain(Box::new(wire), connect))
            }
        }
    };
    let guest = tokio::select! {
        guest = greeting => guest,
        () = ticket.given_away() => Err("gave-way"),
        () = gate.stop.cancelled() => return,
    };
    drop(ticket);
    match guest {
        Ok(guest) => {
            tokio::spawn(receive(gate, guest, address));
        }
        Err(reason) => gate.counters.refuse(reason, &address),
    }
}

type Tcp = Listened<TcpStream>;

enum Stream {
    Tls(Box<TlsStream<Tcp>>),
    Plain(Tcp),
}

enum Guest {
    Tls(Box<Wire<TlsStream<Tcp>>>, Box<Connect>, Option<PublicKey>),
    Plain(Box<Wire<Tcp>>, Box<Connect>),
}

/// To whom the rest of a connection belongs. A future of its own: what greeting needed is freed, and a minion's session
/// is not as large as an observer's.
async fn receive(gate: Arc<Shared>, guest: Guest, address: IpAddr) {
    match guest {
        Guest::Tls(wire, connect, Some(key)) => {
            let session = session::serve(gate, *wire, &connect, key, address);
            drop(connect);
            session.await;
        }
        Guest::Tls(wire, connect, None) => {
            Box::pin(observers::serve(gate, *wire, connect, address)).await;
        }
        Guest::Plain(wire, connect) => Box::pin(observers::serve(gate, *wire, connect, address)).await,
    }
}

/// An observer whose websocket the web server has taken in.
pub(crate) async fn adopt(gate: Arc<Shared>, stream: Box<dyn ObserverStream>, address: SocketAddr) {
    let address = address.ip().to_canonical();
    let introduced = tokio::select! {
        it = introduce(stream) => it,
        () = gate.stop.cancelled() => return,
    };
    match introduced {
        Ok((wire, connect)) => Box::pin(observers::serve(gate, wire, connect, address)).await,
        Err(reason) => gate.counters.refuse(reason, &address),
    }
}

/// Reads the CONNECT.
async fn introduce<S>(stream: S) -> Result<(Wire<S>, Box<Connect>), &'static str>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut wire = Wire::new(stream, PACKET_MAX_STRANGER);
    let connect = async {
        loop {
            match wire.take() {
                Ok(Some(Packet::Connect(connect))) => return Ok(connect),
                Ok(Some(_)) => return Err("no-connect"),
                Ok(None) => {}
                Err(PacketError::TooLarge) => return Err("too-large-before-connect"),
                Err(PacketError::UnsupportedVersion) => return Err("unsupported-version"),
                Err(PacketError::Malformed(_)) => return Err("malformed-before-connect"),
            }
            wire.turn(Reading::On).await.map_err(|_| "gone-before-connect")?;
        }
    };
    let limit = if broken::leaves_out("connect-limit") { NO_LIMIT } else { CONNECT_LIMIT };
    let connect = timeout(limit, connect).await.unwrap_or(Err("connect-too-slow"));
    match connect {
        Ok(connect) => {
            wire.agree(connect.version, PACKET_MAX_STRANGER);
            Ok((wire, connect))
        }
        Err(reason) => {
            if reason == "unsupported-version" {
                refuse_connect(wire, 0x01).await;
            }
            Err(reason)
        }
    }
}

/// Answers a CONNECT with a no and ends the stream.
pub(crate) async fn refuse_connect<S>(mut wire: Wire<S>, code: u8)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    wire.push(&Packet::ConnAck { session_present: false, code, properties: Properties::default() });
    wire.finish(GOODBYE_LIMIT).await;
}

/// The code of a refused CONNECT in either version: not authorized.
pub(crate) fn not_authorized(version: Version) -> u8 {
    if version == Version::V4 { 0x05 } else { 0x87 }
}

/// The code of a refused CONNECT in either version: too many.
pub(crate) fn unavailable(version: Version) -> u8 {
    if version == Version::V4 { 0x03 } else { 0x88 }
}
