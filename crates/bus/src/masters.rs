//! `masters.json`: which masters a minion may trust, signed by the org key and versioned.

use crate::keys::{Identity, PublicKey};
use model::ContentHash;
use serde::{Deserialize, Serialize};

/// The list. A minion accepts a newer version from any source and refuses an older one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Masters {
    /// Grows with every edition.
    pub version: u64,
    /// Whom to trust.
    pub masters: Vec<MasterEntry>,
}

/// One master.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MasterEntry {
    /// For people.
    pub name: String,
    /// Raw ed25519 key it signs with, unpadded base64url.
    pub sign: String,
    /// SHA-256 of the SPKI of its TLS key.
    pub tls: ContentHash,
    /// `host:port` of MQTT over TLS, in order of preference. IPv6 in brackets.
    pub mqtt: Vec<String>,
    /// `host:port` of HTTPS, in the same order.
    pub https: Vec<String>,
}

/// Why a list was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MastersError {
    /// Not the format.
    #[error("masters.json is malformed: {0}")]
    Malformed(String),
    /// Not signed by the org key.
    #[error("masters.json is not signed by this organization's key")]
    BadSignature,
    /// Older than the one in use.
    #[error("masters.json has version {offered}, older than {known} which is in use")]
    Older {
        /// Its version.
        offered: u64,
        /// Ours.
        known: u64,
    },
}

impl Masters {
    /// The signed text: `{"masters":"<json text>","sig":"<base64url>"}`; signed bytes are `"lab1-masters\0"` and the text.
    pub fn sign(&self, _org: &Identity) -> String {
        todo!()
    }
    /// Checks the signature, then parses.
    pub fn open(_text: &str, _org: &PublicKey) -> Result<Self, MastersError> {
        todo!()
    }
}
