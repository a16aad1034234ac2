//! Signed envelopes: a JSON object whose last member is the signature, verified before it is parsed (`docs/bus.md`).

use crate::{PublicKey, Topic, keys::Identity};
use model::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// What every envelope carries beside its message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Of this connection and direction: random, made by the minion for both directions in its hello.
    pub session: String,
    /// Exactly one more than the last one in this session and direction; the first is 1.
    pub seq: u64,
    /// Sender's clock.
    pub iat: Timestamp,
    /// Not to be believed after, by the master's clock; none for ever.
    pub exp: Option<Timestamp>,
}

/// A message whose signature and topic were checked. Only [`open`] makes one.
#[derive(Clone, Debug)]
pub struct Verified<T> {
    header: Header,
    message: T,
}

impl<T> Verified<T> {
    /// Session, number and times.
    pub fn header(&self) -> &Header {
        &self.header
    }
    /// What was said.
    pub fn into_message(self) -> T {
        self.message
    }
}

/// Why an envelope was thrown away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Rejected {
    /// Larger than the limit of its topic.
    #[error("too large")]
    TooLarge,
    /// No signature at its end.
    #[error("no signature")]
    Unsigned,
    /// Not signed by that key for that topic.
    #[error("bad signature")]
    BadSignature,
    /// Signed, and yet no JSON of ours: duplicate keys, too deep, unknown version or type.
    #[error("malformed")]
    Malformed,
    /// Not the next number of this session.
    #[error("replayed or out of order")]
    OutOfOrder,
    /// After its end.
    #[error("expired")]
    Expired,
}

/// Signs `message` (an internally consistent `{"type":..., "body":...}` value) for `topic`.
pub fn seal<T: Serialize>(_topic: &Topic, _header: &Header, _message: &T, _key: &Identity) -> Vec<u8> {
    todo!()
}

/// Checks size, signature and topic, then parses.
pub fn open<T: DeserializeOwned>(
    _topic: &Topic,
    _bytes: &[u8],
    _key: &PublicKey,
) -> Result<Verified<T>, Rejected> {
    todo!()
}

/// One direction of one connection: numbers must be 1, 2, 3, ... of one session.
#[derive(Clone, Debug, Default)]
pub struct Sequence {
    session: Option<String>,
    last: u64,
}

impl Sequence {
    /// A direction whose session is known already.
    pub fn of(session: String) -> Self {
        Self { session: Some(session), last: 0 }
    }
    /// The header of the next message to send.
    pub fn next(&mut self, now: Timestamp, exp: Option<Timestamp>) -> Header {
        self.last += 1;
        let session = self.session.clone().unwrap_or_default();
        Header { session, seq: self.last, iat: now, exp }
    }
    /// Takes a received header; the first one fixes the session if it is not known.
    pub fn accept(&mut self, header: &Header) -> Result<(), Rejected> {
        let session = self.session.get_or_insert_with(|| header.session.clone());
        if *session != header.session || header.seq != self.last + 1 {
            return Err(Rejected::OutOfOrder);
        }
        self.last = header.seq;
        Ok(())
    }
    /// The session, once known.
    pub fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }
}
