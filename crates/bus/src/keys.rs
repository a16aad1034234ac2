//! ed25519 keys for signing, X25519 keys for sealing, on disk as PKCS#8 PEM of mode 0600.

use model::Fingerprint;
use std::path::{Path, PathBuf};

/// A private identity: one key to sign with and one to open sealed boxes with. Cannot be printed.
pub struct Identity {
    _private: (),
}

/// Why a key could not be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("cannot {action} `{path}`")]
    Io {
        /// An infinitive.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// The system's word.
        #[source]
        source: std::io::Error,
    },
    /// Others may read it.
    #[error("`{path}` can be read by others (mode {mode:04o}): chmod 0600 it, and consider the key stolen")]
    TooWide {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not a key of the kind.
    #[error("`{path}` holds no {wanted} private key in PKCS#8 PEM")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// `ed25519` or `X25519`.
        wanted: &'static str,
    },
}

impl Identity {
    /// A new one, from the system's randomness.
    pub fn generate() -> Self {
        todo!()
    }
    /// Two secrets of 32 bytes: for tests and simulations.
    pub fn from_secrets(_sign: [u8; 32], _seal: [u8; 32]) -> Self {
        todo!()
    }
    /// From `<dir>/<name>.pem` and `<dir>/<name>-seal.pem`.
    pub fn load(_dir: &Path, _name: &str) -> Result<Self, KeyError> {
        todo!()
    }
    /// Loads, or makes and writes (mode 0600 from the start, synced, renamed into place, folder synced).
    pub fn load_or_create(_dir: &Path, _name: &str) -> Result<Self, KeyError> {
        todo!()
    }
    /// Signs bytes.
    pub fn sign(&self, _bytes: &[u8]) -> [u8; 64] {
        todo!()
    }
    /// The public half for signatures.
    pub fn public(&self) -> PublicKey {
        todo!()
    }
    /// The public half for sealing.
    pub fn seal_key(&self) -> SealKey {
        todo!()
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({})", self.public().fingerprint())
    }
}

/// A raw ed25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.fingerprint())
    }
}

impl PublicKey {
    /// From unpadded base64url.
    pub fn from_text(_text: &str) -> Option<Self> {
        todo!()
    }
    /// As unpadded base64url.
    pub fn to_text(self) -> String {
        todo!()
    }
    /// `SHA256:...`
    pub fn fingerprint(&self) -> Fingerprint {
        todo!()
    }
    /// Strict verification.
    pub fn verify(&self, _bytes: &[u8], _signature: &[u8; 64]) -> bool {
        todo!()
    }
}

/// A raw X25519 public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealKey(pub [u8; 32]);

impl SealKey {
    /// From unpadded base64url.
    pub fn from_text(_text: &str) -> Option<Self> {
        todo!()
    }
    /// As unpadded base64url.
    pub fn to_text(self) -> String {
        todo!()
    }
}
