//! The seed: what an image or a VM is given so that it can enrol.

use crate::keys::{Identity, PublicKey};
use model::{ContentHash, Fingerprint, MinionId, TokenTerms};
use serde::{Deserialize, Serialize};

/// The seed file, JSON, written by `labctl key enroll` and read by `labminion`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seed {
    /// Format version: 1.
    pub v: u32,
    /// Org public key, unpadded base64url.
    pub org: String,
    /// Text of `masters.json`, signed.
    pub masters: String,
    /// Id, if the seed is for one machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<MinionId>,
    /// Token, if it has one; without, the machine waits in quarantine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<SeedToken>,
}

/// An image token: a signed statement and the image key that must sign requests. The private key never travels.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeedToken {
    /// From [`sign_terms`].
    pub statement: String,
    /// Secret of the image key, 32 bytes, unpadded base64url.
    pub image_secret: String,
}

impl std::fmt::Debug for SeedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SeedToken(..)")
    }
}

impl Seed {
    /// Reads a seed file's text; the error names what is wrong.
    pub fn parse(_text: &str) -> Result<Self, String> {
        todo!()
    }
}

/// A new image key for `terms`: the secret for the seed and the public half for the terms, both as text.
pub fn new_image_key() -> (String, String) {
    todo!()
}

/// The statement: `<base64url of the JSON>.<base64url of the signature over "lab1-token\0" and the JSON>`.
pub fn sign_terms(_terms: &TokenTerms, _issuer: &Identity) -> String {
    todo!()
}

/// Checks a statement; `None` if it was not signed by `issuer`.
pub fn open_terms(_statement: &str, _issuer: &PublicKey) -> Option<TokenTerms> {
    todo!()
}

/// The image key's signature for one request.
pub fn sign_request(_token: &SeedToken, _key: &Fingerprint, _id: &MinionId) -> Option<String> {
    todo!()
}

/// Checks it.
pub fn verify_request(_terms: &TokenTerms, _signature: &str, _key: &Fingerprint, _id: &MinionId) -> bool {
    todo!()
}

/// Hash of bytes, as everywhere on the bus.
pub fn sha256(_bytes: &[u8]) -> ContentHash {
    todo!()
}
