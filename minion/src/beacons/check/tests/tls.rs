//! Pages over TLS, from a real server: whom a check believes, and what it says of whom it does not.

use super::super::probe::{Answer, Target, Trust, look};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use resources::beacons::asked::Address;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use sha2::{Digest, Sha256};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest that a test waits for a look.
const LIMIT: Duration = Duration::from_secs(10);
/// A look that must end by its own limit, and what comes on top on a busy machine.
const SHORT: Duration = Duration::from_millis(400);
const SLACK: Duration = Duration::from_secs(5);

/// Authorities of our own.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    file: PathBuf,
    _dir: tempfile::TempDir,
}

fn authority() -> Authority {
    let dir = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let file = dir.path().join("ca.pem");
    std::fs::write(&file, format!("a note\n{}", params.self_signed(&key).unwrap().pem())).unwrap();
    Authority { issuer: Issuer::new(params, key), file, _dir: dir }
}

/// A certificate and its key.
struct Card(CertificateDer<'static>, PrivatePkcs8KeyDer<'static>);

fn card(by: &Authority, names: &[&str], until: i32) -> Card {
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|it| (*it).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    let certificate = params.signed_by(&key, &by.issuer).unwrap();
    Card(certificate.der().clone(), PrivatePkcs8KeyDer::from(key.serialize_der()))
}

type Stream = StreamOwned<ServerConnection, TcpStream>;

/// Serves one connection; the port.
fn serve(card: &Card, talk: impl FnOnce(&mut Stream) + Send + 'static) -> u16 {
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![card.0.clone()], PrivateKeyDer::Pkcs8(card.1.clone_key()))
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        let mut stream = StreamOwned::new(ServerConnection::new(Arc::new(config)).unwrap(), socket);
        if stream.read(&mut [0; 1024]).is_ok() {
            talk(&mut stream);
        }
    });
    port
}

fn says(text: &'static str) -> impl FnOnce(&mut Stream) + Send + 'static {
    move |stream| {
        let _ = stream.write_all(text.as_bytes());
        stream.conn.send_close_notify();
        let _ = stream.flush();
    }
}

fn ask(url: &str, trust: Trust, statuses: &[(u16, u16)], limit: Duration) -> Answer {
    let (address, statuses) = (Address::parse(url).unwrap(), statuses.to_vec());
    look(&Target::Http { address, contains: Some("well".to_owned()), statuses, trust }, limit)
}

const WELL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nall well";
const ALL: &[(u16, u16)] = &[(200, 399)];

#[test]
fn a_server_is_believed_that_the_authority_vouches_for_by_this_name_and_today() {
    let (ours, other) = (authority(), authority());
    let good = card(&ours, &["localhost", "127.0.0.1"], 2049);
    let of = |it: &Authority| Trust::File(it.file.clone());
    let cases = [
        ("its name", "localhost", &good, of(&ours), None),
        ("its address", "127.0.0.1", &good, of(&ours), None),
        ("another authority", "localhost", &good, of(&other), Some("invalid peer certificate")),
        ("the system's list", "localhost", &good, Trust::System, Some("")),
        (
            "another name",
            "localhost",
            &card(&ours, &["git.lab"], 2049),
            of(&ours),
            Some("not valid for name"),
        ),
        ("expired", "localhost", &card(&ours, &["localhost"], 2021), of(&ours), Some("expired")),
        (
            "no such list",
            "localhost",
            &good,
            Trust::File("/nowhere/ca.pem".into()),
            Some("`/nowhere/ca.pem`"),
        ),
    ];
    for (what, host, card, trust, wanted) in cases {
        let port = serve(card, says(WELL));
        let answer = ask(&format!("https://{host}:{port}/"), trust, ALL, LIMIT);
        match wanted {
            None => assert_eq!((answer.status, &answer.wrong), (Some(200), &None), "{what}"),
            Some(wanted) => {
                let wrong = answer.wrong.unwrap_or_else(|| panic!("{what}: it is believed"));
                assert!(wrong.contains(wanted) && answer.status.is_none(), "{what}: {wrong}");
            }
        }
    }
}

#[test]
fn a_pin_believes_one_certificate_whatever_else_is_wrong_with_it() {
    let card = card(&authority(), &["git.lab"], 2021);
    let pin = <[u8; 32]>::from(Sha256::digest(&card.0));
    let url = |port| format!("https://127.0.0.1:{port}/");
    let answer = ask(&url(serve(&card, says(WELL))), Trust::Pin(pin), ALL, LIMIT);
    assert_eq!((answer.status, answer.wrong), (Some(200), None));
    let answer = ask(&url(serve(&card, says(WELL))), Trust::Pin([7; 32]), ALL, LIMIT);
    assert_eq!(answer.wrong.as_deref(), Some("its certificate is another one than `pin` says"));
}

#[test]
fn pages_elsewhere_are_not_fetched_and_slow_ones_not_waited_for() {
    let ours = authority();
    let card = card(&ours, &["localhost"], 2049);
    let trust = || Trust::File(ours.file.clone());
    let url = |port| format!("https://localhost:{port}/");
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let text = format!(
        "HTTP/1.1 302 Found\r\nLocation: http://{}/\r\nContent-Length: 4\r\n\r\nwell",
        elsewhere.local_addr().unwrap()
    );
    let text: &'static str = text.leak();
    assert_eq!(ask(&url(serve(&card, says(text))), trust(), ALL, LIMIT).wrong, None, "it is an answer");
    let answer = ask(&url(serve(&card, says(text))), trust(), &[(200, 200)], LIMIT);
    assert_eq!((answer.status, answer.wrong.as_deref()), (Some(302), Some("status 302")));
    assert!(elsewhere.accept().is_err(), "nobody went there");

    let drip = |stream: &mut Stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
        while stream.write_all(b"x").and_then(|()| stream.flush()).is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let endless = |stream: &mut Stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nwell");
        while stream.write_all(&[b'x'; 16 << 10]).is_ok() {}
    };
    let start = Instant::now();
    let answer = ask(&url(serve(&card, drip)), trust(), ALL, SHORT);
    assert_eq!(answer.wrong.as_deref(), Some("no answer in time"));
    assert!(start.elapsed() < SHORT + SLACK, "{:?}", start.elapsed());
    let answer = ask(&url(serve(&card, endless)), trust(), ALL, LIMIT);
    assert_eq!((answer.status, answer.wrong), (Some(200), None), "the first 256 KiB are enough");
}

#[test]
fn who_speaks_no_tls_or_an_older_one_is_told_as_such() {
    let answer = |bytes: &'static [u8]| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let _ = socket.read(&mut [0; 1024]);
            let _ = socket.write_all(bytes);
        });
        ask(&format!("https://127.0.0.1:{port}/"), Trust::Pin([0; 32]), ALL, LIMIT).wrong.unwrap()
    };
    // What OpenSSL's server says that speaks TLS 1.2 only.
    assert!(answer(&[21, 3, 3, 0, 2, 2, 70]).contains("ProtocolVersion"));
    assert!(answer(WELL.as_bytes()).contains("corrupt message"), "{}", answer(WELL.as_bytes()));
    assert!(!answer(b"").is_empty());
}
