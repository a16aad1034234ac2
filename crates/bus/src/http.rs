//! HTTP/1.1 over TLS by pinned key or over a Unix socket: for `labctl`, and for minions that fetch content by hash.

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use std::{path::Path, sync::Arc};

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
pub async fn connect_tls(_address: &str, _tls: Arc<rustls::ClientConfig>) -> Result<Connection, HttpError> {
    todo!()
}

/// Connects to a Unix socket.
pub async fn connect_unix(_path: &Path) -> Result<Connection, HttpError> {
    todo!()
}

/// Fetches `https://<address>/files/<hash>` into the file `into` (mode 0600), resuming what is there by range, and
/// checks the hash at the end. `size` bounds it.
pub async fn fetch(
    _addresses: &[String],
    _tls: Arc<rustls::ClientConfig>,
    _hash: model::ContentHash,
    _size: u64,
    _into: &Path,
) -> Result<(), HttpError> {
    todo!()
}
