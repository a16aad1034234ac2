//! HTTP/1.1 over TLS by pinned key or over a Unix socket: for `labctl`, and for minions that fetch content by hash.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
    header::{CONTENT_RANGE, HOST, RANGE},
};
use hyper_util::rt::TokioIo;
use model::broken;
use rustls::pki_types::ServerName;
use sha2::{Digest as _, Sha256};
use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    sync::mpsc,
    task::spawn_blocking,
    time::timeout,
};

/// TCP and TLS together.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Between two pieces of an answer.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How often [`fetch`] goes through the addresses.
const ROUNDS_MAX: usize = 3;
/// Pieces (of at most 16 KiB under TLS) between network and disk.
const PIECES_MAX: usize = 64;
/// Read buffer for what is on disk already.
const CHUNK: usize = 256 * 1024;

/// Why a server could not be talked to.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No connection.
    #[error("cannot connect to {address}")]
    Connect {
        /// Which.
        address: String,
        /// The system's word.
        #[source]
        source: std::io::Error,
    },
    /// Connected, but it is not the master, or no HTTP.
    #[error("{address} does not speak HTTP")]
    Protocol {
        /// Which.
        address: String,
        /// Why.
        #[source]
        source: hyper::Error,
    },
    /// An answer that is not 2xx.
    #[error("{address} answered {status}")]
    Status {
        /// Which.
        address: String,
        /// HTTP status.
        status: u16,
    },
    /// Stopped in the middle.
    #[error("{address} stopped answering")]
    Silent {
        /// Which.
        address: String,
    },
    /// What was fetched cannot be kept.
    #[error("cannot write `{path}`")]
    Write {
        /// Which file.
        path: PathBuf,
        /// The system's word.
        #[source]
        source: io::Error,
    },
    /// Content that is not what was asked for.
    #[error("content from {address} has the wrong hash")]
    WrongHash {
        /// Which.
        address: String,
    },
}

/// A connection that can carry requests one after the other.
pub type Connection = SendRequest<Full<Bytes>>;

/// Connects to `host:port`; the driver task ends with the connection.
pub async fn connect_tls(address: &str, tls: Arc<rustls::ClientConfig>) -> Result<Connection, HttpError> {
    let connect = async {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "not `host:port`"))?;
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        tokio_rustls::TlsConnector::from(tls).connect(name, stream).await
    };
    let stream = timeout(CONNECT_MAX, connect).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    start(address, stream).await
}

/// Connects to a Unix socket.
pub async fn connect_unix(path: &Path) -> Result<Connection, HttpError> {
    start(&path.display().to_string(), UnixStream::connect(path).await).await
}

async fn start<S>(address: &str, stream: io::Result<S>) -> Result<Connection, HttpError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stream = stream.map_err(|source| HttpError::Connect { address: address.to_owned(), source })?;
    let (sender, driver) = handshake(TokioIo::new(stream)).await.map_err(protocol(address))?;
    tokio::spawn(async move {
        if let Err(error) = driver.await {
            tracing::debug!(%error, "an HTTP connection broke");
        }
    });
    Ok(sender)
}

fn protocol(address: &str) -> impl FnOnce(hyper::Error) -> HttpError {
    move |source| HttpError::Protocol { address: address.to_owned(), source }
}

/// A short text of `https://<address><path>`; more than `bytes_max` is refused.
pub async fn text(
    address: &str,
    tls: Arc<rustls::ClientConfig>,
    path: &str,
    bytes_max: usize,
) -> Result<String, HttpError> {
    let silent = || HttpError::Silent { address: address.to_owned() };
    let invalid = |what: &'static str| HttpError::Connect {
        address: address.to_owned(),
        source: io::Error::new(io::ErrorKind::InvalidInput, what),
    };
    let mut connection = connect_tls(address, tls).await?;
    let request = Request::get(path).header(HOST, address).body(Full::default());
    let request = request.map_err(|_| invalid("not `host:port`"))?;
    let answer = timeout(SILENCE_MAX, connection.send_request(request)).await;
    let answer = answer.map_err(|_| silent())?.map_err(protocol(address))?;
    if answer.status() != StatusCode::OK {
        return Err(HttpError::Status { address: address.to_owned(), status: answer.status().as_u16() });
    }
    let body = http_body_util::Limited::new(answer.into_body(), bytes_max);
    let body = timeout(SILENCE_MAX, body.collect()).await.map_err(|_| silent())?;
    let body = body.map_err(|_| invalid("the answer is too long or broken"))?.to_bytes();
    String::from_utf8(body.to_vec()).map_err(|_| invalid("the answer is no text"))
}

/// Fetches `https://<address>/files/<hash>` into the file `into` (mode 0600), resuming what is there by range, and
/// checks the hash at the end. `size` bounds it.
///
/// Until it is whole and checked it is `<into>.part`; that stays after a broken connection and is resumed by the next
/// address, or the next call. One call at a time for one `into`.
pub async fn fetch(
    addresses: &[String],
    tls: Arc<rustls::ClientConfig>,
    hash: model::ContentHash,
    size: u64,
    into: &Path,
) -> Result<(), HttpError> {
    let missing = io::Error::new(io::ErrorKind::AddrNotAvailable, "no address is known");
    let mut last = HttpError::Connect { address: "the master".to_owned(), source: missing };
    for address in addresses.iter().cycle().take(addresses.len() * ROUNDS_MAX) {
        match (Fetch { address, hash, size, into }).run(tls.clone()).await {
            Ok(()) => return Ok(()),
            Err(error @ HttpError::Write { .. }) => return Err(error),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// One attempt at one address.
struct Fetch<'a> {
    address: &'a str,
    hash: model::ContentHash,
    size: u64,
    into: &'a Path,
}

impl Fetch<'_> {
    async fn run(&self, tls: Arc<rustls::ClientConfig>) -> Result<(), HttpError> {
        let mut part_path = self.into.as_os_str().to_owned();
        part_path.push(".part");
        let part_path = PathBuf::from(part_path);
        let mut connection = connect_tls(self.address, tls).await?;
        let (path, size) = (part_path.clone(), self.size);
        let mut part = self.on_disk(spawn_blocking(move || Part::open(path, size)).await)?;
        if part.length < self.size || self.size == 0 {
            let response = self.ask(&mut connection, part.length).await?;
            match response.status() {
                StatusCode::PARTIAL_CONTENT if starts_at(&response, part.length) => {}
                StatusCode::OK => part.rewind().map_err(self.write_error())?,
                StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
                    part.discard();
                    return Err(self.wrong_hash());
                }
                other => {
                    return Err(HttpError::Status {
                        address: self.address.to_owned(),
                        status: other.as_u16(),
                    });
                }
            }
            part = self.receive(response.into_body(), part).await?;
        }
        let (hash, into) = (self.hash, self.into.to_owned());
        match self.on_disk(spawn_blocking(move || part.finish(hash, &into)).await)? {
            Finished::Good => Ok(()),
            Finished::Wrong => Err(self.wrong_hash()),
        }
    }

    async fn ask(&self, connection: &mut Connection, from: u64) -> Result<Response<Incoming>, HttpError> {
        let mut request = Request::get(format!("/files/{}", self.hash)).header(HOST, self.address);
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-"));
        }
        let request = request.body(Full::default()).map_err(|_| HttpError::Connect {
            address: self.address.to_owned(),
            source: io::Error::new(io::ErrorKind::InvalidInput, "not `host:port`"),
        })?;
        let answer = timeout(SILENCE_MAX, connection.send_request(request)).await;
        answer.map_err(|_| self.silent())?.map_err(protocol(self.address))
    }

    /// Hashes and writes on a blocking thread what comes from the network on this one.
    async fn receive(&self, mut body: Incoming, mut part: Part) -> Result<Part, HttpError> {
        let (pieces, mut written) = mpsc::channel::<Bytes>(PIECES_MAX);
        let writer = spawn_blocking(move || {
            while let Some(piece) = written.blocking_recv() {
                part.append(&piece)?;
            }
            Ok(part)
        });
        let mut length = 0_u64;
        let received = loop {
            match timeout(SILENCE_MAX, body.frame()).await {
                Err(_) => break Err(self.silent()),
                Ok(None) => break Ok(()),
                Ok(Some(Err(error))) => break Err(protocol(self.address)(error)),
                Ok(Some(Ok(frame))) => {
                    let Ok(piece) = frame.into_data() else { continue };
                    length = length.saturating_add(piece.len() as u64);
                    if length > self.size || pieces.send(piece).await.is_err() {
                        break Ok(());
                    }
                }
            }
        };
        drop(pieces);
        let part = self.on_disk(writer.await)?;
        received.map(|()| part)
    }

    fn on_disk<T>(&self, result: Result<io::Result<T>, tokio::task::JoinError>) -> Result<T, HttpError> {
        result.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(self.write_error())
    }
    fn write_error(&self) -> impl FnOnce(io::Error) -> HttpError {
        |source| HttpError::Write { path: self.into.to_owned(), source }
    }
    fn wrong_hash(&self) -> HttpError {
        HttpError::WrongHash { address: self.address.to_owned() }
    }
    fn silent(&self) -> HttpError {
        HttpError::Silent { address: self.address.to_owned() }
    }
}

fn starts_at(response: &Response<Incoming>, offset: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
    range.is_some_and(|range| range.starts_with(&format!("bytes {offset}-")))
}

enum Finished {
    Good,
    Wrong,
}

/// The beginning of a file, with the hash of what is there.
struct Part {
    path: PathBuf,
    file: File,
    length: u64,
    size: u64,
    hasher: Sha256,
}

impl Part {
    fn open(path: PathBuf, size: u64) -> io::Result<Self> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        let mut part = Self { path, file, length: 0, size, hasher: Sha256::new() };
        if part.file.metadata()?.len() > size {
            part.rewind()?;
        }
        let mut chunk = vec![0; CHUNK];
        loop {
            match part.file.read(&mut chunk)? {
                0 => return Ok(part),
                read => {
                    part.hasher.update(&chunk[..read]);
                    part.length += read as u64;
                }
            }
        }
    }
    fn rewind(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.length = 0;
        self.hasher = Sha256::new();
        Ok(())
    }
    /// More than `size` is not written; it makes the hash wrong all the same.
    fn append(&mut self, piece: &[u8]) -> io::Result<()> {
        self.length += piece.len() as u64;
        self.hasher.update(piece);
        if self.length > self.size {
            return Ok(());
        }
        self.file.write_all(piece)
    }
    fn discard(self) {
        let _ = std::fs::remove_file(&self.path);
    }
    fn finish(self, hash: model::ContentHash, into: &Path) -> io::Result<Finished> {
        let good = <[u8; 32]>::from(self.hasher.clone().finalize()) == hash.0 && self.length <= self.size;
        if !good && !broken::leaves_out("content-hash") {
            self.discard();
            return Ok(Finished::Wrong);
        }
        self.file.sync_all()?;
        std::fs::rename(&self.path, into)?;
        let folder = into.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()?;
        Ok(Finished::Good)
    }
}
