//! Hooks for people, and what is delivered to them.

use crate::{Secret, Timestamp};
use serde::{Deserialize, Serialize};

/// A hook, without its secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HookView {
    /// `POST /hook/NAME`, and its events are `hook/NAME`.
    pub name: String,
    /// How its sender signs, and what its payloads mean.
    pub recipe: String,
    /// Where its secret is: `kept` by the master, in a `file` or in `hooks.yaml`; or `none yet`.
    pub secret: String,
    /// Networks it may be used from; none is all.
    pub cidr: Vec<String>,
    /// How often: `60/m`.
    pub rate: String,
    /// Bytes of a body.
    pub max: u64,
    /// Deliveries since the master started.
    pub taken: u64,
    /// Deliveries that came again, since then.
    pub again: u64,
    /// The last one.
    pub seen_at: Option<Timestamp>,
}

/// What a hook is tried with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HookTrial {
    /// Which.
    pub hook: String,
    /// The sender's word for what it is, as `push`.
    #[serde(default)]
    pub kind: Option<String>,
    /// The payload; none is one as its senders send them.
    #[serde(default)]
    pub body: Option<String>,
}

/// What a delivery to a hook became.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivered {
    /// Number of its first event.
    pub event: u64,
    /// How many there are.
    pub events: u32,
    /// It came before: these are its events of then.
    pub again: bool,
}

/// A new secret of a hook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HookSecret {
    /// Which hook.
    pub hook: String,
    /// Its recipe.
    pub recipe: String,
    /// Shown this once.
    pub secret: Secret,
}
