//! The HTTP API on a Unix socket and over HTTPS: requests, streams, files by hash, MQTT over websocket, `OpenAPI`.

mod backup;
mod caller;
mod files;
mod hook;
mod listen;
mod mqtt;
mod openapi;
mod routes;
mod site;
mod stream;

use crate::{daemon::Handle, gate::Gate};
use bus::pulse::Pulse;
use hook::HookDoor;
use site::Site;
use std::{io, net::SocketAddr, path::PathBuf, sync::Arc};
use tokio::{sync::Semaphore, task::JoinSet};

/// The `OpenAPI` document, for the reference.
pub fn openapi() -> serde_json::Value {
    openapi::document()
}

/// One of each kind of request.
#[cfg(test)]
pub(crate) fn examples() -> Vec<model::Request> {
    openapi::requests()
}

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
    addresses: Vec<SocketAddr>,
    socket: PathBuf,
    _listeners: JoinSet<()>,
}

impl Web {
    /// Binds, then serves until dropped.
    pub async fn start(config: WebConfig, handle: Handle, gate: Gate, pulse: &Pulse) -> io::Result<Self> {
        let limits = gate.limits();
        let observers = Box::new(move |stream, address| gate.adopt_observer(stream, address));
        Self::serve(
            config,
            Site {
                daemon: Arc::new(handle),
                observers,
                limits,
                backups: Arc::new(Semaphore::new(1)),
                hooks: HookDoor::default(),
            },
            pulse,
        )
        .await
    }

    /// As [`Web::start`], for anything that answers like a daemon.
    async fn serve(config: WebConfig, site: Site, pulse: &Pulse) -> io::Result<Self> {
        let pages = routes::router(Arc::new(site));
        let mut listeners = JoinSet::new();
        let socket = listen::bind_socket(&config.socket)?;
        let access = listen::Access::of_socket(&config.socket)?;
        listeners.spawn(listen::serve_socket(socket, access, pages.clone(), pulse.beat("turn-web")));
        let mut addresses = Vec::new();
        for address in &config.listen {
            let listener = tokio::net::TcpListener::bind(address).await?;
            addresses.push(listener.local_addr()?);
            let tls = Arc::clone(&config.tls);
            listeners.spawn(listen::serve_tls(listener, tls, pages.clone(), pulse.beat("turn-web")));
        }
        Ok(Self { addresses, socket: config.socket, _listeners: listeners })
    }

    /// HTTPS addresses really bound.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.clone()
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.socket);
    }
}

#[cfg(test)]
mod tests;
