//! Fetching content by hash from servers that do well, and from servers that do not.

use bus::{
    http::{HttpError, connect_unix, fetch},
    seed::sha256,
    tls::{MasterCertificate, client_config},
};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use model::ContentHash;
use std::{
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, UnixListener},
};

/// How one connection is answered: from the offset that was asked for to the raw answer.
type Script = Vec<fn(&[u8], usize) -> Vec<u8>>;

struct Server {
    address: String,
    master: MasterCertificate,
    /// Request heads in the order they came.
    heads: Arc<Mutex<Vec<String>>>,
    dir: tempfile::TempDir,
}

impl Server {
    /// Serves `content`, one connection for each line of the script.
    async fn start(content: Vec<u8>, script: Script) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let master = MasterCertificate::load_or_create(dir.path(), &["localhost".to_owned()]).unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(master.server_config(&["http/1.1"]));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let log = heads.clone();
        tokio::spawn(async move {
            for answer in script {
                let mut stream = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    // A client that has all it needs asks for nothing.
                    let Ok(byte) = stream.read_u8().await else { break };
                    head.push(byte);
                }
                let head = String::from_utf8(head).unwrap().to_lowercase();
                let offset = head
                    .split_once("range: bytes=")
                    .map_or(0, |(_, rest)| rest.split_once('-').unwrap().0.parse().unwrap());
                log.lock().unwrap().push(head);
                // The client may hang up in the middle, by right.
                let _ = stream.write_all(&answer(&content, offset)).await;
                let _ = stream.shutdown().await;
            }
        });
        Self { address, master, heads, dir }
    }
    fn blob(&self) -> PathBuf {
        self.dir.path().join("blob")
    }
    fn part(&self) -> PathBuf {
        self.dir.path().join("blob.part")
    }
    async fn fetch(&self, hash: ContentHash, size: usize) -> Result<(), HttpError> {
        let tls = client_config(&[self.master.pin()], None);
        fetch(std::slice::from_ref(&self.address), tls, hash, size as u64, &self.blob()).await
    }
}

fn answer(status: &str, length: usize, headers: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}\r\n").as_bytes(), body].concat()
}
fn good(content: &[u8], offset: usize) -> Vec<u8> {
    let rest = &content[offset..];
    if offset == 0 {
        return answer("200 OK", rest.len(), "", rest);
    }
    let range = format!("content-range: bytes {offset}-{}/{}\r\n", content.len() - 1, content.len());
    answer("206 Partial Content", rest.len(), &range, rest)
}
fn without_ranges(content: &[u8], _: usize) -> Vec<u8> {
    good(content, 0)
}
fn half(content: &[u8], offset: usize) -> Vec<u8> {
    let whole = good(content, offset);
    whole[..whole.len() - (content.len() - offset) / 2].to_vec()
}
fn wrong_range(content: &[u8], _: usize) -> Vec<u8> {
    answer("206 Partial Content", 1, "content-range: bytes 0-0/9\r\n", &content[..1])
}
fn bad_range(_: &[u8], _: usize) -> Vec<u8> {
    answer("416 Range Not Satisfiable", 0, "", b"")
}
fn not_found(_: &[u8], _: usize) -> Vec<u8> {
    answer("404 Not Found", 0, "", b"")
}
fn other(content: &[u8], _: usize) -> Vec<u8> {
    answer("200 OK", content.len(), "", &vec![b'x'; content.len()])
}
fn short(content: &[u8], _: usize) -> Vec<u8> {
    good(&content[1..], 0)
}
fn endless(content: &[u8], _: usize) -> Vec<u8> {
    answer("200 OK", content.len() * 100, "", &content.repeat(50))
}
fn no_http(_: &[u8], _: usize) -> Vec<u8> {
    b"SSH-2.0-OpenSSH\r\n".to_vec()
}

fn content() -> Vec<u8> {
    (0..300_000_u32).flat_map(u32::to_le_bytes).collect()
}

#[tokio::test]
async fn whatever_the_server_does_the_file_is_whole_or_not_there() {
    let content = content();
    for (what, script, beside, good_end, asked) in [
        ("all at once", vec![good as fn(&[u8], usize) -> Vec<u8>], None, true, vec![0]),
        ("in pieces", vec![half, half, good], None, true, vec![0, 600_000, 900_000]),
        ("a piece from before", vec![good], Some(1000), true, vec![1000]),
        ("no ranges", vec![without_ranges], Some(1000), true, vec![1000]),
        ("whole from before", vec![good], Some(content.len()), true, vec![]),
        ("another range", vec![wrong_range, good], Some(1000), true, vec![1000, 0]),
        ("range refused", vec![bad_range, good], Some(1000), true, vec![1000, 0]),
        ("not found, then found", vec![not_found, good], None, true, vec![0, 0]),
        ("not found", vec![not_found; 3], None, false, vec![0, 0, 0]),
        ("other content", vec![other; 3], None, false, vec![0, 0, 0]),
        ("less", vec![short; 3], None, false, vec![0, 0, 0]),
        ("more", vec![endless; 3], None, false, vec![0, 0, 0]),
        ("no HTTP", vec![no_http; 3], None, false, vec![0, 0, 0]),
    ] {
        let server = Server::start(content.clone(), script).await;
        if let Some(length) = beside {
            std::fs::write(server.part(), &content[..length]).unwrap();
        }
        let result = server.fetch(sha256(&content), content.len()).await;
        assert_eq!(result.is_ok(), good_end, "{what}: {result:?}");
        assert_eq!(server.blob().exists(), good_end, "{what}");
        if good_end {
            assert!(std::fs::read(server.blob()).unwrap() == content, "{what}");
            assert!(!server.part().exists(), "{what}");
        }
        let offsets: Vec<usize> = server
            .heads
            .lock()
            .unwrap()
            .iter()
            .filter(|head| !head.is_empty())
            .map(|head| {
                assert!(head.starts_with(&format!("get /files/{} http/1.1\r\n", sha256(&content))), "{head}");
                head.split_once("range: bytes=")
                    .map_or(0, |(_, rest)| rest.split_once('-').unwrap().0.parse().unwrap())
            })
            .collect();
        assert_eq!(offsets, asked, "{what}");
    }
}

#[tokio::test]
async fn a_spoilt_piece_from_before_is_thrown_away() {
    let content = content();
    let server = Server::start(content.clone(), vec![good, good]).await;
    std::fs::write(server.part(), [b'x'; 1000]).unwrap();
    server.fetch(sha256(&content), content.len()).await.unwrap();
    assert!(std::fs::read(server.blob()).unwrap() == content);
}

#[tokio::test]
async fn what_is_fetched_is_private_and_an_empty_file_is_a_file() {
    let server = Server::start(Vec::new(), vec![good]).await;
    server.fetch(sha256(b""), 0).await.unwrap();
    let metadata = std::fs::metadata(server.blob()).unwrap();
    assert_eq!((metadata.len(), metadata.mode() & 0o777), (0, 0o600));
}

#[tokio::test]
async fn more_than_its_size_is_never_written() {
    let content = content();
    let server = Server::start(content.clone(), vec![endless; 3]).await;
    let error = server.fetch(sha256(&content), content.len()).await.unwrap_err();
    assert!(matches!(error, HttpError::WrongHash { .. }), "{error}");
    assert!(!server.part().exists());
}

#[tokio::test]
async fn errors_name_the_address_and_what_went_wrong() {
    let content = content();
    let hash = sha256(&content);
    let server = Server::start(content.clone(), vec![not_found; 3]).await;
    let error = server.fetch(hash, content.len()).await.unwrap_err();
    assert_eq!(error.to_string(), format!("{} answered 404", server.address));
    let pins = client_config(&[ContentHash([0; 32])], None);
    let server = Server::start(content.clone(), Vec::new()).await;
    let error = fetch(&[], pins, hash, 1, &server.blob()).await.unwrap_err();
    assert!(matches!(error, HttpError::Connect { .. }), "{error}");
    let server = Server::start(content.clone(), vec![good]).await;
    let tls = client_config(&[server.master.pin()], None);
    let error = fetch(std::slice::from_ref(&server.address), tls, hash, 9, &PathBuf::from("/nowhere/blob"))
        .await
        .unwrap_err();
    assert!(matches!(error, HttpError::Write { .. }), "{error}");
}

#[tokio::test]
async fn a_unix_socket_carries_requests_one_after_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("api.sock");
    assert!(matches!(connect_unix(&path).await, Err(HttpError::Connect { .. })));
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        let stream = hyper_util::rt::TokioIo::new(listener.accept().await.unwrap().0);
        let echo = hyper::service::service_fn(|request: hyper::Request<hyper::body::Incoming>| async move {
            let body = request.into_body().collect().await?.to_bytes();
            Ok::<_, hyper::Error>(hyper::Response::new(Full::new(body)))
        });
        hyper::server::conn::http1::Builder::new().serve_connection(stream, echo).await.unwrap();
    });
    let mut connection = connect_unix(&path).await.unwrap();
    for text in ["one", "two"] {
        let request =
            hyper::Request::post("/").header("host", "lab").body(Full::new(Bytes::from(text))).unwrap();
        connection.ready().await.unwrap();
        let answer = connection.send_request(request).await.unwrap();
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), text);
    }
}
