//! One way to connect, one way to sign: topics, signed envelopes, keys, TLS by pinned key, sealed boxes, the MQTT
//! client and packet codec, and HTTPS by pinned key; the pulse of a daemon's loops; files opened beneath a folder.
//! Knows what may be said, never what it means.

pub mod beneath;
pub mod chain;
pub mod client;
pub mod envelope;
pub mod http;
pub mod keys;
pub mod masters;
pub mod message;
pub mod packet;
pub mod pulse;
pub mod seal;
pub mod seed;
pub mod tls;
pub mod topic;
pub mod wake;

pub use envelope::{Header, Rejected, Verified};
pub use keys::{Identity, PublicKey, SealKey};
pub use message::{FromMinion, ToMinion};
pub use topic::Topic;
