//! TLS 1.3 with pinned keys both ways: names, dates and issuers in certificates are ignored.

use crate::keys::{Identity, KeyError, PublicKey};
use model::ContentHash;
use std::{path::Path, sync::Arc};

/// The master's TLS key (ECDSA P-256, for browsers) and self-signed certificate with its names.
pub struct MasterCertificate {
    _private: (),
}

impl MasterCertificate {
    /// Loads `<dir>/tls.pem` (key) and `<dir>/tls.crt`, or makes them for `names` (host names and addresses).
    pub fn load_or_create(_dir: &Path, _names: &[String]) -> Result<Self, KeyError> {
        todo!()
    }
    /// The certificate for `--cafile`.
    pub fn certificate_pem(&self) -> String {
        todo!()
    }
    /// SHA-256 of its SPKI: what peers pin.
    pub fn pin(&self) -> ContentHash {
        todo!()
    }
    /// A server that asks for, but does not require, a client certificate; one that comes must prove an ed25519 key.
    /// `alpn` is empty for MQTT and `http/1.1` for HTTPS.
    pub fn server_config(&self, _alpn: &[&str]) -> Arc<rustls::ServerConfig> {
        todo!()
    }
}

/// The key that a client proved, after the handshake.
pub fn peer_key(_connection: &rustls::ServerConnection) -> Option<PublicKey> {
    todo!()
}

/// A client that believes only servers whose SPKI hash is one of `pins`, and proves `identity` if there is one.
pub fn client_config(_pins: &[ContentHash], _identity: Option<&Identity>) -> Arc<rustls::ClientConfig> {
    todo!()
}

/// Installs ring as the process's provider; first thing in every `main`.
pub fn install_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
