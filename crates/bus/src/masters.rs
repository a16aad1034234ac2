//! `masters.json`: which masters a minion may trust, signed by the org key and versioned.

use crate::keys::{self, Identity, PublicKey};
use crate::seed::sha256;
use model::{ContentHash, broken};
use serde::{Deserialize, Serialize};

/// Longest text that is looked at.
pub const TEXT_MAX: usize = 64 * 1024;
/// Masters in one list, and addresses of one of them.
const MASTERS_MAX: usize = 32;
const ADDRESSES_MAX: usize = 32;
/// Characters of a name.
const NAME_CHARS_MAX: usize = 64;
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
    /// What tells one list from another with the same version: the SHA-256 of what was signed. None of what is no list.
    pub fn hash(text: &str) -> Option<ContentHash> {
        let signed: Signed = serde_json::from_str(text).ok().filter(|_| text.len() <= TEXT_MAX)?;
        Some(sha256(signed.masters.as_bytes()))
    }
    /// Opens a list that is to replace this one: an older one is refused, the same one is none, and one that leads
    /// nowhere is refused whoever signed it.
    pub fn newer(&self, text: &str, org: &PublicKey) -> Result<Option<Self>, MastersError> {
        let offered = Self::open(text, org)?;
        if broken::leaves_out("masters-version") {
            return Ok(Some(offered));
        }
        if offered.version < self.version {
            return Err(MastersError::Older { offered: offered.version, known: self.version });
        }
        if offered.version == self.version {
            return Ok(None);
        }
        match offered.complaints().into_iter().next() {
            Some(complaint) => Err(MastersError::Malformed(complaint)),
            None => Ok(Some(offered)),
        }
    }
    /// All that is wrong with a list that somebody wrote, a sentence each.
    pub fn complaints(&self) -> Vec<String> {
        let mut found = Vec::new();
        if self.version == 0 {
            found.push("`version` is at least 1".to_owned());
        }
        if !(1..=MASTERS_MAX).contains(&self.masters.len()) {
            found.push(format!("it names {} masters: 1 to {MASTERS_MAX} are right", self.masters.len()));
        }
        for (number, entry) in self.masters.iter().enumerate() {
            let twin = self.masters[..number].iter().any(|it| it.sign == entry.sign);
            found.extend(
                entry
                    .complaints()
                    .into_iter()
                    .chain(twin.then_some("its `sign` is there twice"))
                    .map(|what| format!("master {} (`{}`): {what}", number + 1, entry.name.escape_default())),
            );
        }
        found
    }
    /// Where all masters listen for MQTT, each place once, in order.
    pub fn mqtt(&self) -> Vec<String> {
        once(self.masters.iter().flat_map(|it| &it.mqtt))
    }
    /// Where all masters listen for HTTPS.
    pub fn https(&self) -> Vec<String> {
        once(self.masters.iter().flat_map(|it| &it.https))
    }
    /// Pins of all masters, for [`crate::tls::client_config`].
    pub fn pins(&self) -> Vec<ContentHash> {
        self.masters.iter().map(|master| master.tls).collect()
    }
}

impl MasterEntry {
    fn complaints(&self) -> Vec<&'static str> {
        let is_address = |text: &String| {
            let parts = text.rsplit_once(':');
            parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|it| it > 0))
        };
        let all = [
            (
                self.name.is_empty() || self.name.chars().count() > NAME_CHARS_MAX,
                "`name` has 1 to 64 characters",
            ),
            (self.name.chars().any(char::is_control), "`name` holds control characters"),
            (PublicKey::from_text(&self.sign).is_none(), "`sign` is no public key"),
            (self.mqtt.is_empty(), "`mqtt` has no address"),
            (self.mqtt.len().max(self.https.len()) > ADDRESSES_MAX, "there are more than 32 addresses"),
            (!self.mqtt.iter().chain(&self.https).all(is_address), "an address is not `host:port`"),
        ];
        all.into_iter().filter(|it| it.0).map(|it| it.1).collect()
    }
}

fn once<'a>(all: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut seen = Vec::new();
    for one in all {
        if !seen.contains(one) {
            seen.push(one.clone());
        }
    }
    seen
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
        let nowhere = Masters { version: 5, masters: Vec::new() }.sign(&org);
        assert!(matches!(known.newer(&nowhere, &org.public()), Err(MastersError::Malformed(_))));
    }

    #[test]
    fn a_list_is_known_by_what_was_signed_not_by_how_it_is_written() {
        let org = Identity::from_secrets([1; 32], [2; 32]);
        let text = list(3).sign(&org);
        let hash = Masters::hash(&text).unwrap();
        assert_eq!(Masters::hash(&format!(" {text}\n")), Some(hash));
        assert_ne!(Masters::hash(&list(4).sign(&org)), Some(hash));
        let mut other = list(3);
        other.masters[0].name.push('2');
        assert_ne!(Masters::hash(&other.sign(&org)), Some(hash), "the same version, another list");
        for bad in ["", "{}", &" ".repeat(TEXT_MAX + 1)] {
            assert_eq!(Masters::hash(bad), None);
        }
    }

    #[test]
    fn without_the_defences_an_older_and_a_forged_list_are_taken() {
        let org = Identity::from_secrets([1; 32], [2; 32]);
        let other = Identity::from_secrets([3; 32], [2; 32]);
        let (older, forged) = (list(2).sign(&org), list(9).sign(&other));
        let taken = |text: &str| matches!(list(3).newer(text, &org.public()), Ok(Some(_)));
        assert!(!taken(&older) && !taken(&forged));
        assert!(broken::without(Some("masters-version"), || taken(&older)));
        assert!(broken::without(Some("masters-signature"), || taken(&forged)));
    }

    #[test]
    fn all_that_is_wrong_with_a_list_is_said_at_once() {
        assert_eq!(list(1).complaints(), [] as [String; 0]);
        let mut bad = list(0);
        let twin =
            MasterEntry { name: String::new(), mqtt: vec!["lab".to_owned()], ..bad.masters[0].clone() };
        bad.masters.push(twin);
        bad.masters.push(MasterEntry { sign: "x".to_owned(), mqtt: Vec::new(), ..bad.masters[0].clone() });
        let all = bad.complaints().join("; ");
        for part in
            ["`version`", "2 (``): `name`", "not `host:port`", "there twice", "`sign` is no", "`mqtt` has no"]
        {
            assert!(all.contains(part), "{part}: {all}");
        }
        assert!(Masters { version: 1, masters: Vec::new() }.complaints()[0].contains("0 masters"));
    }

    #[test]
    fn one_place_is_tried_once_under_both_keys_of_a_rotation() {
        let mut both = list(1);
        both.masters.push(both.masters[0].clone());
        assert_eq!((both.mqtt().len(), both.https().len(), both.pins().len()), (2, 2, 2));
    }
}
