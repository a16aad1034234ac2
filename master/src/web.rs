//! The HTTP API on a Unix socket and over HTTPS: requests, streams, files by hash, MQTT over websocket, OpenAPI.

use crate::{daemon::Handle, gate::Gate};
use std::{net::SocketAddr, path::PathBuf, sync::Arc};

/// How the web server is set up.
#[derive(Clone)]
pub struct WebConfig {
    /// Where HTTPS listens; port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// For the listeners.
    pub tls: Arc<rustls::ServerConfig>,
    /// Unix socket: mode 0660, group `lab` if there is one.
    pub socket: PathBuf,
}

/// A running web server. Dropping it ends it.
pub struct Web {
    _private: (),
}

impl Web {
    /// Binds, then serves until dropped.
    pub async fn start(_config: WebConfig, _handle: Handle, _gate: Gate) -> std::io::Result<Self> {
        todo!()
    }
    /// HTTPS addresses really bound.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        todo!()
    }
}
