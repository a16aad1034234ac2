//! Who may connect: minion keys, enrolment tokens, observers and operators.

use crate::{Fingerprint, Labels, MinionId, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, de::IgnoredAny};

/// Where a minion's key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyStatus {
    /// In quarantine, until an operator decides.
    Pending,
    /// A member.
    Accepted,
    /// An operator said no.
    Rejected,
    /// It was a member; for good.
    Revoked,
    /// Wants a name that another key has.
    Conflict,
    /// A member whose key two machines use: neither is served until an operator decides.
    Suspended,
    /// A word of a newer release.
    #[serde(other)]
    Unknown,
}

/// A minion key the master has seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Key {
    /// Of the signing key.
    pub fingerprint: Fingerprint,
    /// Raw ed25519 public key, unpadded base64url.
    pub sign: String,
    /// Raw X25519 public key, unpadded base64url.
    pub seal: String,
    /// The name it wants or has.
    pub minion: MinionId,
    /// Where it stands.
    pub status: KeyStatus,
    /// Why: `token bake-7`, `no token`, `token expired`, `name is held by SHA256:…`.
    pub reason: String,
    /// Address it came from, without port.
    pub address: String,
    /// First seen.
    pub at: Timestamp,
    /// Labels it gets when it is accepted.
    pub labels: Labels,
    /// A few things it says of itself: `os`, `machine_id`, `product_uuid`; at most 16 of 128 characters.
    pub claims: Labels,
    /// Token it used.
    pub token: Option<String>,
}

/// What a token allows. Signed by the master's issuer key and put into a seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenTerms {
    /// Name of the token, for lists.
    pub name: String,
    /// Raw ed25519 public key of the image key that must sign requests, unpadded base64url.
    pub image_key: String,
    /// Glob over minion ids.
    pub ids: String,
    /// Labels that minions get.
    pub labels: Labels,
    /// Addresses it may be used from; empty is any.
    pub cidr: Vec<String>,
    /// Not good before.
    pub not_before: Timestamp,
    /// Not good after; at most 90 days later.
    pub expires: Timestamp,
    /// How many keys it may bring in.
    pub uses: u32,
    /// What happens when the name is taken by another key.
    #[serde(default)]
    pub replace: Replace,
    /// Machines that it brings in are forgotten when they stay away for longer than this, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retire_after_ms: Option<u64>,
}

/// When a new key may take a name that an old key has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Replace {
    /// An operator decides.
    #[default]
    Never,
    /// If the old one is not connected.
    Offline,
    /// If the old one is not connected and the DMI uuid, or where none is known the network card, is the same.
    SameHardware,
}

/// A token as the master keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Token {
    /// What it allows.
    pub terms: TokenTerms,
    /// Keys it brought in; a retry of one of them is free.
    pub used_by: Vec<Fingerprint>,
    /// Whether an operator ended it.
    pub revoked: bool,
    /// Who made it.
    pub made_by: String,
}

/// What an observer may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ObserverRole {
    /// Read `lab/#` and `homeassistant/#`, and what the HTTP API shows of the same.
    Viewer,
    /// That, and write `lab/in/<name>/...`.
    Integration,
    /// Use the HTTP API as an operator, no MQTT.
    Operator,
    /// Use the HTTP API with this role of `roles.yaml`, or `admin`; no MQTT.
    Named(String),
}

impl ObserverRole {
    /// Name of the role.
    pub fn name(&self) -> &str {
        match self {
            Self::Viewer => "viewer",
            Self::Integration => "integration",
            Self::Operator => "operator",
            Self::Named(name) => name,
        }
    }
    /// The role of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        match name {
            "viewer" => Self::Viewer,
            "integration" => Self::Integration,
            "operator" => Self::Operator,
            _ => Self::Named(name.to_owned()),
        }
    }
    /// Whether it is for MQTT; the others are for the API, and end.
    pub fn is_of_observers(&self) -> bool {
        matches!(self, Self::Viewer | Self::Integration)
    }
}

/// A word that is new is the name of a role, which may nothing where there is none of that name.
impl<'de> Deserialize<'de> for ObserverRole {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Word(String),
            Named { named: String },
            Other(IgnoredAny),
        }
        Ok(match Written::deserialize(from)? {
            Written::Word(word) => Self::of_name(&word),
            Written::Named { named } => Self::Named(named),
            Written::Other(_) => Self::Named("unknown".to_owned()),
        })
    }
}

/// An MQTT observer or API token. Only the hash of the secret is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observer {
    /// User name.
    pub name: String,
    /// What it may do.
    pub role: ObserverRole,
    /// SHA-256 of the secret's bytes, hexadecimal.
    pub secret_hash: String,
    /// Not good after.
    pub expires: Option<Timestamp>,
    /// When it was made.
    pub at: Timestamp,
}

/// An operator that authenticates by key (mTLS on the HTTPS port).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operator {
    /// Name in the audit log.
    pub name: String,
    /// Of its ed25519 key.
    pub fingerprint: Fingerprint,
    /// When it was made.
    pub at: Timestamp,
    /// Name of its role.
    #[serde(default = "operator")]
    pub role: String,
    /// Not good after; none for those of releases that knew no end.
    #[serde(default)]
    pub expires: Option<Timestamp>,
}

fn operator() -> String {
    "operator".to_owned()
}
