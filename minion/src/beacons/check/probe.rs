//! One look at something over the network, with a time limit for all of it. Waits: it is done by a thread of its own.

use super::http::{self, HEAD_BYTES_MAX, PAGE_BYTES_MAX};
use crate::linux::ask;
use resources::{
    beacons::asked::Address,
    host::{Command, Exit},
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme, StreamOwned,
};
use sha2::{Digest, Sha256};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;
/// Where systems keep whom they believe.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// What is looked at.
#[derive(Clone, Debug)]
pub(super) enum Target {
    Http { address: Address, contains: Option<String>, statuses: Vec<(u16, u16)>, trust: Trust },
    Tcp { host: String, port: u16 },
    Ping { host: String },
}

/// Whom a server must be known by.
#[derive(Clone, Debug)]
pub(super) enum Trust {
    /// The system's list.
    System,
    /// A list in a file.
    File(PathBuf),
    /// SHA-256 of the certificate.
    Pin([u8; 32]),
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: Option<u16>,
    /// Why it is not well.
    pub(super) wrong: Option<String>,
    pub(super) latency: Duration,
}

/// Looks. Takes `limit` at most, but for the system's search for names, which has limits of its own.
pub(super) fn look(target: &Target, limit: Duration) -> Answer {
    let start = Instant::now();
    let deadline = start + limit;
    let mut answer = Answer::default();
    let result = match target {
        Target::Ping { host } => ping(host, limit).map(Some),
        Target::Tcp { host, port } => connect(host, *port, deadline).map(|_| None),
        Target::Http { address, contains, statuses, trust } => {
            fetch(address, trust, deadline).and_then(|page| {
                answer.status = Some(page.status);
                judge(&page, contains.as_deref(), statuses).map(|()| None)
            })
        }
    };
    match result {
        Ok(latency) => answer.latency = latency.unwrap_or_else(|| start.elapsed()),
        Err(wrong) => (answer.wrong, answer.latency) = (Some(wrong), start.elapsed()),
    }
    answer
}

fn judge(page: &http::Page, contains: Option<&str>, statuses: &[(u16, u16)]) -> Result<(), String> {
    if !statuses.iter().any(|(least, most)| (*least..=*most).contains(&page.status)) {
        return Err(format!("status {}", page.status));
    }
    let needle = contains.unwrap_or_default().as_bytes();
    if needle.is_empty() || page.body.windows(needle.len()).any(|it| it == needle) {
        return Ok(());
    }
    Err("the page does not contain what it should".to_owned())
}

fn left(deadline: Instant) -> Result<Duration, String> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err("no answer in time".to_owned()) } else { Ok(left) }
}

fn connect(host: &str, port: u16, deadline: Instant) -> Result<TcpStream, String> {
    let found =
        (host, port).to_socket_addrs().map_err(|error| format!("`{host}` has no address: {error}"))?;
    let found: Vec<SocketAddr> = found.take(ADDRESSES_MAX).collect();
    let mut why = format!("`{host}` has no address");
    for (index, address) in found.iter().enumerate() {
        // Each one has its share of the time that is left.
        let share = left(deadline)? / u32::try_from(found.len() - index).unwrap_or(1);
        match TcpStream::connect_timeout(address, share.max(Duration::from_millis(1))) {
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                "no answer in time".clone_into(&mut why);
            }
            Err(error) => why = reason(&error),
        }
    }
    Err(why)
}

fn reason(error: &std::io::Error) -> String {
    let inner = error.get_ref().and_then(|it| it.downcast_ref::<rustls::Error>());
    if inner == Some(&rustls::CertificateError::ApplicationVerificationFailure.into()) {
        return "its certificate is another one than `pin` says".to_owned();
    }
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => "no answer in time".to_owned(),
        _ => error.to_string(),
    }
}

fn fetch(address: &Address, trust: &Trust, deadline: Instant) -> Result<http::Page, String> {
    let socket = connect(&address.host, address.port, deadline)?;
    let socket = Timed { socket, deadline };
    let bytes = if address.tls {
        let name =
            ServerName::try_from(address.host.clone()).map_err(|_| "its host is no name".to_owned())?;
        let client = ClientConnection::new(believing(trust)?, name).map_err(|error| error.to_string())?;
        talk(StreamOwned::new(client, socket), address)?
    } else {
        talk(socket, address)?
    };
    http::page(&bytes).map_err(str::to_owned)
}

fn talk(mut stream: impl Read + Write, address: &Address) -> Result<Vec<u8>, String> {
    stream.write_all(http::request(address).as_bytes()).map_err(|error| reason(&error))?;
    stream.flush().map_err(|error| reason(&error))?;
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 16 << 10]);
    while bytes.len() < HEAD_BYTES_MAX + PAGE_BYTES_MAX && !http::is_enough(&bytes) {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => bytes.extend(&buffer[..length]),
            // Many servers end without saying so in TLS.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(reason(&error)),
        }
    }
    Ok(bytes)
}

/// A connection whose every read and write ends in time.
struct Timed {
    socket: TcpStream,
    deadline: Instant,
}

impl Timed {
    fn left(&self) -> std::io::Result<Duration> {
        left(self.deadline).map_err(|_| std::io::ErrorKind::TimedOut.into())
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.socket.set_read_timeout(Some(self.left()?))?;
        self.socket.read(buffer)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.socket.set_write_timeout(Some(self.left()?))?;
        self.socket.write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.socket.flush()
    }
}

fn believing(trust: &Trust) -> Result<Arc<ClientConfig>, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let roots = match trust {
        Trust::Pin(pin) => {
            let algorithms = ring::default_provider().signature_verification_algorithms;
            let pinned = Arc::new(Pinned { pin: *pin, algorithms });
            return Ok(Arc::new(
                builder.dangerous().with_custom_certificate_verifier(pinned).with_no_client_auth(),
            ));
        }
        Trust::File(path) => path.clone(),
        Trust::System => {
            let known = BUNDLES.iter().map(PathBuf::from).find(|it| it.exists());
            known.ok_or("this machine has no list of certificate authorities: say `ca` or `pin`")?
        }
    };
    let mut store = RootCertStore::empty();
    let shown = roots.display();
    let certificates = CertificateDer::pem_file_iter(&roots)
        .map_err(|error| format!("`{shown}` cannot be read: {error}"))?;
    store.add_parsable_certificates(certificates.flatten());
    if store.is_empty() {
        return Err(format!("`{shown}` holds no certificates"));
    }
    Ok(Arc::new(builder.with_root_certificates(store).with_no_client_auth()))
}

/// Believes one certificate.
#[derive(Debug)]
struct Pinned {
    pin: [u8; 32],
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if <[u8; 32]>::from(Sha256::digest(certificate)) == self.pin {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::CertificateError::ApplicationVerificationFailure.into())
        }
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// One packet.
fn ping(host: &str, limit: Duration) -> Result<Duration, String> {
    let seconds = limit.as_secs().max(1).to_string();
    let argv = ["ping", "-n", "-c", "1", "-W", &seconds, host].map(str::to_owned).to_vec();
    let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    let command = Command { argv, timeout_ms: limit_ms.saturating_add(500), ..Command::default() };
    let (exit, output) = ask(&command).map_err(|error| format!("`ping`: {error}"))?;
    match exit {
        Exit::Code(0) => Ok(round_trip(&output.stdout).unwrap_or_default()),
        Exit::Code(1) | Exit::TimedOut(_) => Err("no answer in time".to_owned()),
        _ => Err(output.stderr.trim().lines().last().unwrap_or("no answer").chars().take(200).collect()),
    }
}

/// `64 bytes from 192.0.2.1: icmp_seq=1 ttl=57 time=11.2 ms`.
fn round_trip(text: &str) -> Option<Duration> {
    let ms: f64 = text.split_once("time=")?.1.split_whitespace().next()?.parse().ok()?;
    Duration::try_from_secs_f64(ms / 1000.0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn serve(answer: &'static [u8]) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(answer);
        });
        port
    }

    fn http(address: &str, contains: Option<&str>) -> Target {
        Target::Http {
            address: Address::parse(address).unwrap(),
            contains: contains.map(str::to_owned),
            statuses: vec![(200, 399)],
            trust: Trust::System,
        }
    }

    fn said(target: &Target) -> (Option<u16>, Option<String>) {
        let answer = look(target, Duration::from_secs(10));
        (answer.status, answer.wrong)
    }

    #[test]
    fn pages_and_ports_are_looked_at() {
        let page = |answer, contains| said(&http(&format!("http://127.0.0.1:{}/", serve(answer)), contains));
        let wrong = |text: &str| Some(text.to_owned());
        assert_eq!(
            page(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nall ok", Some("all")),
            (Some(200), None)
        );
        let missing = wrong("the page does not contain what it should");
        assert_eq!(page(b"HTTP/1.1 200 OK\r\n\r\nsick", Some("ok")), (Some(200), missing));
        assert_eq!(page(b"HTTP/1.1 503 Busy\r\n\r\n", None), (Some(503), wrong("status 503")));
        assert_eq!(page(b"SSH-2.0-x\r\n", None), (None, wrong("it is no answer of HTTP")));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let tcp = Target::Tcp { host: "127.0.0.1".to_owned(), port: listener.local_addr().unwrap().port() };
        assert_eq!(said(&tcp), (None, None));
        drop(listener);
        assert_eq!(said(&tcp), (None, wrong("connection refused")));
    }

    #[test]
    fn who_says_nothing_is_waited_for_as_long_as_is_said() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/", listener.local_addr().unwrap());
        let start = Instant::now();
        let answer = look(&http(&address, None), Duration::from_millis(200));
        assert_eq!(answer.wrong.as_deref(), Some("no answer in time"));
        assert!(start.elapsed() < Duration::from_secs(5));
    }

    // From iputils 20221126 and busybox 1.36.
    #[test]
    fn what_ping_says_is_understood() {
        for (text, ms) in [
            ("64 bytes from 192.0.2.1: icmp_seq=1 ttl=57 time=11.2 ms\n", 11.2),
            ("64 bytes from 192.0.2.1: seq=0 ttl=64 time=0.068 ms\n", 0.068),
        ] {
            assert!((round_trip(text).unwrap().as_secs_f64() * 1000.0 - ms).abs() < 0.001, "{text}");
        }
        assert_eq!(round_trip("1 packets transmitted, 1 received"), None);
    }
}
