//! `masters.json`: which masters a minion may trust, signed by the org key and versioned.

use crate::keys::{self, Identity, PublicKey};
use model::{ContentHash, broken};
use serde::{Deserialize, Serialize};

/// Longest text that is looked at.
pub const TEXT_MAX: usize = 64 * 1024;
/// What is put before the text to sign it.
const PREFIX: &[u8] = b"lab1-masters\0";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    masters: String,
    sig: String,
}

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
    pub fn sign(&self, org: &Identity) -> String {
        let masters = serde_json::to_string(self).expect("strings and numbers are JSON");
        let sig = keys::encode(&org.sign(&[PREFIX, masters.as_bytes()].concat()));
        serde_json::to_string(&Signed { masters, sig }).expect("two strings are JSON")
    }
    /// Checks the signature, then parses.
    pub fn open(text: &str, org: &PublicKey) -> Result<Self, MastersError> {
        let malformed = |error: serde_json::Error| MastersError::Malformed(error.to_string());
        if text.len() > TEXT_MAX {
            return Err(MastersError::Malformed(format!("longer than {TEXT_MAX} bytes")));
        }
        let signed: Signed = serde_json::from_str(text).map_err(malformed)?;
        let signature = keys::decode(&signed.sig).ok_or(MastersError::BadSignature)?;
        let good = org.verify(&[PREFIX, signed.masters.as_bytes()].concat(), &signature);
        if !good && !broken::leaves_out("masters-signature") {
            return Err(MastersError::BadSignature);
        }
        serde_json::from_str(&signed.masters).map_err(malformed)
    }
    /// Opens a list that is to replace this one: an older one is refused, the same one is none.
    pub fn newer(&self, text: &str, org: &PublicKey) -> Result<Option<Self>, MastersError> {
        let offered = Self::open(text, org)?;
        if broken::leaves_out("masters-version") {
            return Ok(Some(offered));
        }
        if offered.version < self.version {
            return Err(MastersError::Older { offered: offered.version, known: self.version });
        }
        Ok((offered.version > self.version).then_some(offered))
    }
    /// Pins of all masters, for [`crate::tls::client_config`].
    pub fn pins(&self) -> Vec<ContentHash> {
        self.masters.iter().map(|master| master.tls).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(version: u64) -> Masters {
        let entry = MasterEntry {
            name: "home".to_owned(),
            sign: Identity::from_secrets([7; 32], [8; 32]).public().to_text(),
            tls: ContentHash([9; 32]),
            mqtt: vec!["lab.home:8883".to_owned(), "[fd00::1]:8883".to_owned()],
            https: vec!["lab.home:8443".to_owned(), "[fd00::1]:8443".to_owned()],
        };
        Masters { version, masters: vec![entry] }
    }

    #[test]
    fn a_list_opens_with_its_org_key_only() {
        let org = Identity::from_secrets([1; 32], [2; 32]);
        let other = Identity::from_secrets([3; 32], [2; 32]);
        let text = list(3).sign(&org);
        assert_eq!(Masters::open(&text, &org.public()), Ok(list(3)));
        assert_eq!(Masters::open(&text, &other.public()), Err(MastersError::BadSignature));
        let bent = text.replace("lab.home", "bad.home");
        assert_eq!(Masters::open(&bent, &org.public()), Err(MastersError::BadSignature));
        for bad in ["", "{}", "[]", &" ".repeat(TEXT_MAX + 1), &text[..text.len() - 1]] {
            assert!(matches!(Masters::open(bad, &org.public()), Err(MastersError::Malformed(_))), "{bad}");
        }
    }

    #[test]
    fn an_older_list_is_refused_and_the_same_one_changes_nothing() {
        let org = Identity::from_secrets([1; 32], [2; 32]);
        let known = list(3);
        let offer = |version| known.newer(&list(version).sign(&org), &org.public());
        assert_eq!(offer(2), Err(MastersError::Older { offered: 2, known: 3 }));
        assert_eq!(offer(3), Ok(None));
        assert_eq!(offer(4), Ok(Some(list(4))));
    }
}
