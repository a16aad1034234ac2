//! Names that are checked once, where they enter, and cannot be wrong afterwards.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Why a text is no id of the wanted kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// Not a minion id.
    #[error("`{0}` is not a minion id: use a-z, 0-9 and `-` in labels of 1 to 63 joined by `.`, 128 in all")]
    Minion(String),
    /// Not a job id.
    #[error("`{0}` is not a job id: 26 characters of Crockford base32")]
    Job(String),
    /// Not a content hash.
    #[error("`{0}` is not a content hash: 64 hexadecimal digits")]
    Hash(String),
    /// Not a key fingerprint.
    #[error("`{0}` is not a fingerprint: `SHA256:` and 43 characters of base64")]
    Fingerprint(String),
}

/// The name a minion enrols under. Lower-case DNS labels joined by dots, at most 128 characters.
/// Safe as a topic level; never used as a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MinionId(String);

impl MinionId {
    /// Longest id.
    pub const LENGTH_MAX: usize = 128;
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_dns_label(label: &str) -> bool {
    let bytes = label.as_bytes();
    let word = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=63).contains(&bytes.len())
        && bytes.iter().all(|byte| word(byte) || *byte == b'-')
        && bytes.first().is_some_and(word)
        && bytes.last().is_some_and(word)
}

impl FromStr for MinionId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if text.len() <= Self::LENGTH_MAX && text.split('.').all(is_dns_label) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidId::Minion(text.chars().take(Self::LENGTH_MAX).collect()))
        }
    }
}
impl TryFrom<String> for MinionId {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}
impl From<MinionId> for String {
    fn from(id: MinionId) -> Self {
        id.0
    }
}
impl fmt::Display for MinionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Identifies a job from submission to the last result: 128 bits (`UUIDv7`, or the hash of rule and event),
/// written as 26 characters of Crockford base32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobId(pub u128);

const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

impl JobId {
    /// A `UUIDv7`: 48 bits of milliseconds, then version, then 74 random bits taken from `random`.
    pub fn v7(now: crate::Timestamp, random: [u8; 10]) -> Self {
        let mut bytes = [0_u8; 16];
        bytes[..6].copy_from_slice(&now.0.to_be_bytes()[2..]);
        bytes[6..].copy_from_slice(&random);
        bytes[6] = (bytes[6] & 0x0f) | 0x70;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Self(u128::from_be_bytes(bytes))
    }
    /// The first characters, enough for people: an id prefix is accepted wherever it is unambiguous.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}
impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digit = |index: u32| char::from(CROCKFORD[((self.0 >> (5 * (25 - index))) & 31) as usize]);
        (0..26).try_for_each(|index| write!(f, "{}", digit(index)))
    }
}
impl FromStr for JobId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = || InvalidId::Job(text.chars().take(40).collect());
        if text.len() != 26 || text.as_bytes()[0] > b'7' {
            return Err(invalid());
        }
        text.bytes()
            .try_fold(0_u128, |sum, byte| {
                let digit =
                    CROCKFORD.iter().position(|it| *it == byte.to_ascii_uppercase()).ok_or_else(invalid)?;
                Ok(sum << 5 | digit as u128)
            })
            .map(Self)
    }
}
impl TryFrom<String> for JobId {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}
impl From<JobId> for String {
    fn from(id: JobId) -> Self {
        id.to_string()
    }
}

/// SHA-256 of some content, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContentHash(pub [u8; 32]);

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
impl FromStr for ContentHash {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = || InvalidId::Hash(text.chars().take(80).collect());
        if text.len() != 64 || !text.bytes().all(|it| it.is_ascii_hexdigit()) {
            return Err(invalid());
        }
        let mut bytes = [0_u8; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).map_err(|_| invalid())?;
        }
        Ok(Self(bytes))
    }
}
impl TryFrom<String> for ContentHash {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}
impl From<ContentHash> for String {
    fn from(hash: ContentHash) -> Self {
        hash.to_string()
    }
}

/// Which state of the source trees something was made from: the hash over all paths and contents,
/// shown by its first 12 digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub ContentHash);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.0[..6].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A public key's fingerprint: `SHA256:` and the unpadded base64 of the SHA-256 of the raw 32 bytes
/// of an ed25519 key (the spelling of ssh-keygen).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(String);

impl Fingerprint {
    /// As text, with `SHA256:` in front.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl FromStr for Fingerprint {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let good = |rest: &str| {
            rest.len() == 43 && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(&byte))
        };
        match text.strip_prefix("SHA256:") {
            Some(rest) if good(rest) => Ok(Self(text.to_owned())),
            _ => Err(InvalidId::Fingerprint(text.chars().take(80).collect())),
        }
    }
}
impl TryFrom<String> for Fingerprint {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}
impl From<Fingerprint> for String {
    fn from(it: Fingerprint) -> Self {
        it.0
    }
}
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minion_ids_are_lower_case_dns_names() {
        for good in ["a", "vm-1", "web.lab", "0", "a-b.c-d.e", &"a".repeat(63)] {
            assert!(good.parse::<MinionId>().is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "-a",
            "a-",
            "A",
            "a_b",
            "a/b",
            "ä",
            "a b",
            "+",
            "#",
            &"a".repeat(64),
        ] {
            assert!(bad.parse::<MinionId>().is_err(), "{bad}");
        }
        assert!(vec!["abcdefgh"; 15].join(".").parse::<MinionId>().is_err());
    }

    #[test]
    fn job_ids_print_and_parse_to_the_same() {
        for value in [0, 1, u128::MAX, 0x0192_f3c1_7abc_7def_8123_4567_89ab_cdef] {
            let id = JobId(value);
            assert_eq!(id.to_string().len(), 26);
            assert_eq!(id.to_string().parse::<JobId>(), Ok(id));
        }
        assert!("8ZZZZZZZZZZZZZZZZZZZZZZZZZ".parse::<JobId>().is_err(), "more than 128 bits");
        assert!("äääääääääääää".parse::<JobId>().is_err());
        let early = JobId::v7(crate::Timestamp(1), [255; 10]);
        assert!(early < JobId::v7(crate::Timestamp(2), [0; 10]), "sorted by time");
    }

    #[test]
    fn hashes_print_and_parse_to_the_same() {
        let hash = ContentHash([0xab; 32]);
        assert_eq!(hash.to_string().parse::<ContentHash>(), Ok(hash));
        assert!("xyz".parse::<ContentHash>().is_err());
        assert!("+1".repeat(32).parse::<ContentHash>().is_err(), "a sign is no digit");
    }
}
