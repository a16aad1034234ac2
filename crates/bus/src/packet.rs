//! MQTT packets, 3.1.1 and 5, for the gate: an own small codec, because that of rumqttc reads and writes for a client.
//!
//! Whatever comes out of [`decode`] is well formed: UTF-8 without NUL, topics without wildcards, filters with wildcards
//! only where they may be, packet ids that are not 0, nothing left over, nothing longer than the caller's limit.

mod decode;
mod encode;

use bytes::Bytes;
use model::broken;

pub use decode::{decode, frame_length};
pub use encode::encode;

/// Largest packet before a peer is known.
pub const PACKET_MAX_STRANGER: usize = 4 * 1024;
/// Largest control packet.
pub const PACKET_MAX_CONTROL: usize = 256 * 1024;
/// Largest telemetry sample.
pub const PACKET_MAX_SAMPLE: usize = 64 * 1024;
/// Most filters in one SUBSCRIBE or UNSUBSCRIBE.
pub const FILTERS_MAX: usize = 256;
/// Most properties in one packet.
pub const PROPERTIES_MAX: usize = 64;
/// Longest topic or filter, in bytes.
pub const TOPIC_MAX: usize = 1024;

/// Of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// MQTT 3.1.1.
    V4,
    /// MQTT 5.
    V5,
}

/// Quality of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Qos {
    /// 0.
    AtMostOnce,
    /// 1.
    AtLeastOnce,
    /// 2.
    ExactlyOnce,
}

impl Qos {
    /// As on the wire.
    pub fn number(self) -> u8 {
        match self {
            Self::AtMostOnce => 0,
            Self::AtLeastOnce => 1,
            Self::ExactlyOnce => 2,
        }
    }
    fn from_number(number: u8) -> Result<Self, PacketError> {
        match number {
            0 => Ok(Self::AtMostOnce),
            1 => Ok(Self::AtLeastOnce),
            2 => Ok(Self::ExactlyOnce),
            _ => Err(PacketError::Malformed("QoS")),
        }
    }
}

/// Why bytes are no packet. The connection cannot go on after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// Longer than the limit that the caller gave.
    #[error("packet too large")]
    TooLarge,
    /// A CONNECT of MQTT 3.1 or of an unknown version.
    #[error("unsupported protocol version")]
    UnsupportedVersion,
    /// Against the specification, or against our narrower limits.
    #[error("malformed packet: {0}")]
    Malformed(&'static str),
}

/// A property of MQTT 5.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// Identifier of the specification, such as [`property::RECEIVE_MAXIMUM`].
    pub id: u8,
    /// Its value, of the type that belongs to the identifier.
    pub value: PropertyValue,
}

/// Value of a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PropertyValue {
    /// One byte.
    Byte(u8),
    /// Two bytes.
    Two(u16),
    /// Four bytes.
    Four(u32),
    /// Up to four bytes of seven bits.
    Variable(u32),
    /// A text.
    Text(String),
    /// Bytes.
    Binary(Bytes),
    /// Name and value of a user property.
    Pair(String, String),
}

/// Identifiers of the properties that the gate reads or writes.
pub mod property {
    /// Seconds that a session outlives its connection.
    pub const SESSION_EXPIRY: u8 = 0x11;
    /// Client id that the server chose.
    pub const ASSIGNED_CLIENT_ID: u8 = 0x12;
    /// Keep-alive that the server chose.
    pub const SERVER_KEEP_ALIVE: u8 = 0x13;
    /// Enhanced authentication.
    pub const AUTHENTICATION_METHOD: u8 = 0x15;
    /// For people.
    pub const REASON: u8 = 0x1F;
    /// Unacknowledged publishes that a side takes.
    pub const RECEIVE_MAXIMUM: u8 = 0x21;
    /// Of a publish.
    pub const TOPIC_ALIAS: u8 = 0x23;
    /// Highest QoS that the server takes.
    pub const MAXIMUM_QOS: u8 = 0x24;
    /// Whether retained messages may be published.
    pub const RETAIN_AVAILABLE: u8 = 0x25;
    /// Name and value.
    pub const USER: u8 = 0x26;
    /// Largest packet that a side takes.
    pub const MAXIMUM_PACKET: u8 = 0x27;
    /// Whether filters may have wildcards.
    pub const WILDCARDS: u8 = 0x28;
    /// Whether subscription identifiers may be used.
    pub const SUBSCRIPTION_IDS: u8 = 0x29;
    /// Whether shared subscriptions may be used.
    pub const SHARED_SUBSCRIPTIONS: u8 = 0x2A;
    /// Of a subscription.
    pub const SUBSCRIPTION_ID: u8 = 0x0B;
}

/// Properties of one packet; always empty in 3.1.1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties(pub Vec<Property>);

impl Properties {
    /// Value of the first property with this identifier.
    pub fn get(&self, id: u8) -> Option<&PropertyValue> {
        self.0.iter().find(|it| it.id == id).map(|it| &it.value)
    }
    /// A number, if there is one with this identifier.
    pub fn number(&self, id: u8) -> Option<u32> {
        match self.get(id)? {
            PropertyValue::Byte(it) => Some(u32::from(*it)),
            PropertyValue::Two(it) => Some(u32::from(*it)),
            PropertyValue::Four(it) | PropertyValue::Variable(it) => Some(*it),
            _ => None,
        }
    }
    /// With one more.
    #[must_use]
    pub fn with(mut self, id: u8, value: PropertyValue) -> Self {
        self.0.push(Property { id, value });
        self
    }
}

/// What a client says first.
#[derive(Clone, PartialEq, Eq)]
pub struct Connect {
    /// Which protocol it speaks from here on.
    pub version: Version,
    /// May be empty.
    pub client_id: String,
    /// Clean session, clean start.
    pub clean: bool,
    /// 0 is none.
    pub keep_alive_s: u16,
    /// What the server should say when the client is gone.
    pub will: Option<Will>,
    /// User name.
    pub user: Option<String>,
    /// Secret.
    pub password: Option<Bytes>,
    /// MQTT 5 only.
    pub properties: Properties,
}

impl std::fmt::Debug for Connect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connect")
            .field("version", &self.version)
            .field("client_id", &self.client_id)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// A last will.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// Where.
    pub topic: String,
    /// What.
    pub payload: Bytes,
    /// How.
    pub qos: Qos,
    /// Whether it stays.
    pub retain: bool,
    /// MQTT 5 only.
    pub properties: Properties,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Not empty, no wildcards.
    pub topic: String,
    /// What.
    pub payload: Bytes,
    /// How.
    pub qos: Qos,
    /// Retained, or to be retained.
    pub retain: bool,
    /// Perhaps for the second time.
    pub duplicate: bool,
    /// Packet id: 0 if and only if the QoS is 0.
    pub id: u16,
    /// MQTT 5 only.
    pub properties: Properties,
}

/// One filter of a SUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Well formed.
    pub filter: String,
    /// Highest QoS that the client wants.
    pub qos: Qos,
    /// Not its own messages (MQTT 5).
    pub no_local: bool,
    /// Keep the retain flag on live messages (MQTT 5).
    pub retain_as_published: bool,
    /// Which retained messages it wants (MQTT 5: 0 all, 1 if it is new, 2 none).
    pub retain_handling: u8,
}

/// Which acknowledgement of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AckKind {
    /// PUBACK: of QoS 1.
    Ack,
    /// PUBREC: received, QoS 2.
    Received,
    /// PUBREL: released, QoS 2.
    Released,
    /// PUBCOMP: complete, QoS 2.
    Complete,
}

/// A packet, either version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// CONNECT.
    Connect(Box<Connect>),
    /// CONNACK.
    ConnAck {
        /// Whether the server remembers the session.
        session_present: bool,
        /// 0 is yes; the others differ between the versions.
        code: u8,
        /// MQTT 5 only.
        properties: Properties,
    },
    /// PUBLISH.
    Publish(Publish),
    /// PUBACK, PUBREC, PUBREL, PUBCOMP.
    Ack {
        /// Which of them.
        kind: AckKind,
        /// Packet id.
        id: u16,
        /// MQTT 5 only, else 0.
        reason: u8,
    },
    /// SUBSCRIBE.
    Subscribe {
        /// Packet id.
        id: u16,
        /// At least one.
        filters: Vec<Subscription>,
        /// MQTT 5 only.
        properties: Properties,
    },
    /// SUBACK.
    SubAck {
        /// Packet id.
        id: u16,
        /// One for each filter.
        codes: Vec<u8>,
    },
    /// UNSUBSCRIBE.
    Unsubscribe {
        /// Packet id.
        id: u16,
        /// At least one.
        filters: Vec<String>,
    },
    /// UNSUBACK.
    UnsubAck {
        /// Packet id.
        id: u16,
        /// One for each filter; MQTT 5 only.
        codes: Vec<u8>,
    },
    /// PINGREQ.
    PingRequest,
    /// PINGRESP.
    PingResponse,
    /// DISCONNECT.
    Disconnect {
        /// MQTT 5 only, else 0.
        reason: u8,
    },
    /// AUTH: read so that it can be refused.
    Auth {
        /// Reason code.
        reason: u8,
    },
}

/// Whether a text may be a topic name: not empty, no wildcard, no NUL, not too long.
pub fn is_topic(text: &str) -> bool {
    let good = (1..=TOPIC_MAX).contains(&text.len()) && !text.contains(['+', '#', '\0']);
    good || broken::leaves_out("mqtt-topic")
}

/// Whether a text may be a filter: wildcards only as whole levels, `#` only at the end.
pub fn is_filter(text: &str) -> bool {
    if broken::leaves_out("mqtt-filter") {
        return true;
    }
    let mut levels = text.split('/').peekable();
    if !(1..=TOPIC_MAX).contains(&text.len()) || text.contains('\0') {
        return false;
    }
    while let Some(level) = levels.next() {
        let good = match level {
            "#" => levels.peek().is_none(),
            "+" => true,
            _ => !level.contains(['+', '#']),
        };
        if !good {
            return false;
        }
    }
    true
}

/// Whether a filter matches a topic, level by level. Wildcards at the first level do not match `$...`.
pub fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let (mut filters, mut topics) = (filter.split('/'), topic.split('/'));
    loop {
        match (filters.next(), topics.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(a), Some(b)) if a == b => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests;
