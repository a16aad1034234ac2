//! What rules do: actions as rule files have them, and as they are once an event has filled in their templates. Filled
//! in, they can be kept: a reaction that waits goes on with them after a restart.

mod fill;
mod parse;
mod say;
mod words;

use crate::target::Target;
use ipnet::IpNet;
use model::{Labels, MinionId, Rolling};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub(crate) use fill::fill;
pub use parse::parse_mac;

/// Actions of one list.
pub const ACTIONS_MAX: usize = 32;
/// Longest wait of a reaction.
pub const WAIT_MS_MAX: u64 = 7 * 86_400_000;
/// A wait without a `timeout`.
pub(crate) const WAIT_MS: u64 = 10 * 60_000;
/// Longest that a call may take.
pub const CALL_MS_MAX: u64 = 60_000;
/// A call without a `timeout`.
pub const CALL_MS: u64 = 10_000;

/// What a rule does, with templates not filled in.
#[derive(Clone, Debug)]
pub enum ActionTemplate {
    /// `apply: { target, states, pillar }`, and `plan` with the same words, which only looks.
    Apply {
        /// Whom.
        target: TargetTemplate,
        /// Names; empty is what top.sls assigns.
        states: Vec<String>,
        /// Wins over the pillar; texts may be templates.
        pillar: Map<String, Value>,
        /// It is `plan`.
        check: bool,
        /// In waves: `batch`, `canary`, `gate` and so on stand beside `target`.
        rolling: Option<Box<Rolling>>,
    },
    /// `run: { target, command: [..], timeout }`; elements may be templates, each stays one argument.
    Run {
        /// Whom.
        target: TargetTemplate,
        /// Program and arguments.
        command: Vec<String>,
        /// Its limit, in milliseconds.
        timeout_ms: Option<u64>,
        /// In waves.
        rolling: Option<Box<Rolling>>,
    },
    /// `reboot: { target, message, rolling words }`
    Reboot {
        /// Whom.
        target: TargetTemplate,
        /// Shown to who is logged in; may be a template.
        message: String,
        /// How it goes over them, if not at all of them at once.
        rolling: Option<Box<Rolling>>,
    },
    /// `event: { tag, data }`: becomes `rule/<name>/<tag>`.
    Event {
        /// Below `rule/<name>/`.
        tag: String,
        /// Payload; texts may be templates.
        data: Map<String, Value>,
    },
    /// `label: { target, set, remove }`
    Label {
        /// Whom.
        target: TargetTemplate,
        /// Names as written, values may be templates.
        set: Vec<(String, String)>,
        /// Names.
        remove: Vec<String>,
    },
    /// `key: { accept: ID, ids, cidr, only_new }`, or `reject`.
    Key {
        /// What.
        act: KeyAction,
        /// A template that gives one id.
        id: String,
        /// For which keys at all.
        policy: KeyPolicy,
    },
    /// `notify: { to, title, message, … }`
    Notify(NotifyTemplate),
    /// `http: { url, method, … }`
    Http(HttpTemplate),
    /// `wait_for: { … }`
    Wait {
        /// For what.
        what: WaitTemplate,
        /// At most so long.
        timeout_ms: u64,
    },
    /// `wake: { target, via }` or `wake: { mac, via }`
    Wake {
        /// Whose addresses.
        target: Option<TargetTemplate>,
        /// Addresses of network cards.
        macs: Vec<String>,
        /// The minion that sends it, a template; none is the master.
        via: Option<String>,
    },
    /// `power: { target, set, by, wait }`
    Power {
        /// Whom it is about, and who is waited for.
        target: TargetTemplate,
        /// What.
        set: PowerSet,
        /// Name of a switch in `notify.yaml`; may be a template.
        by: String,
        /// Wait so long until presence is as wanted.
        wait_ms: Option<u64>,
    },
}

/// A `notify:` as written; every text may be a template.
#[derive(Clone, Debug, Default)]
pub struct NotifyTemplate {
    /// Names of notifiers.
    pub to: Vec<String>,
    /// Short.
    pub title: Option<String>,
    /// Long.
    pub message: String,
    /// A word of [`Priority`].
    pub priority: Option<String>,
    /// Words.
    pub tags: Vec<String>,
    /// Anything for templates of notifiers.
    pub data: Map<String, Value>,
    /// What it told before is over.
    pub resolve: bool,
}

/// An `http:` as written.
#[derive(Clone, Debug, Default)]
pub struct HttpTemplate {
    /// Name of an endpoint in `notify.yaml`.
    pub to: Option<String>,
    /// `https://host/…`, or `/…` at an endpoint. A template behind the host only.
    pub url: String,
    /// `GET` and the like.
    pub method: String,
    /// Names as written, values may be templates.
    pub headers: Vec<(String, String)>,
    /// What is sent.
    pub body: Option<Body>,
    /// Good answers.
    pub expect: Vec<(u16, u16)>,
    /// In milliseconds; nothing is the endpoint's, or the usual time.
    pub timeout_ms: Option<u64>,
}

/// For what a reaction waits, as written.
#[derive(Clone, Debug)]
pub enum WaitTemplate {
    /// `event:` and `when:`
    Event(String, Option<String>),
    /// `minion:` and `presence:`
    Presence(String, bool),
    /// `job: last`
    Job,
}

/// A `target:`; text with `{{` gives ids, other text is an expression that was parsed at load.
#[derive(Clone, Debug)]
pub enum TargetTemplate {
    /// A template whose result is ids.
    Ids(String),
    /// An expression.
    Expression(String, Target),
}

/// An action with its templates filled in.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Submit an apply job.
    Apply {
        /// Whom.
        target: ResolvedTarget,
        /// Names; empty is what top.sls assigns.
        states: Vec<String>,
        /// Wins over the pillar.
        pillar: Map<String, Value>,
        /// Only look.
        check: bool,
        /// In waves.
        #[serde(default)]
        rolling: Option<Box<Rolling>>,
    },
    /// Submit a command job.
    Run {
        /// Whom.
        target: ResolvedTarget,
        /// Program and arguments.
        command: Vec<String>,
        /// Its limit, in milliseconds.
        timeout_ms: Option<u64>,
        /// In waves.
        #[serde(default)]
        rolling: Option<Box<Rolling>>,
    },
    /// Submit a job that restarts machines.
    Reboot {
        /// Whom.
        target: ResolvedTarget,
        /// Shown to who is logged in.
        message: String,
        /// How it goes over them, if not at all of them at once.
        rolling: Option<Box<Rolling>>,
    },
    /// Put an event on the bus.
    Event {
        /// Whole tag, `rule/<name>/...`.
        tag: String,
        /// Payload.
        data: Map<String, Value>,
    },
    /// Set and remove labels.
    Label {
        /// Whom.
        target: ResolvedTarget,
        /// To set.
        set: Labels,
        /// To remove.
        remove: Vec<String>,
    },
    /// Decide about a key.
    Key {
        /// What.
        act: KeyAction,
        /// Whose.
        minion: MinionId,
        /// For which keys at all.
        policy: KeyPolicy,
    },
    /// Tell people.
    Notify {
        /// Names of notifiers.
        to: Vec<String>,
        /// What.
        notice: Notice,
    },
    /// Call another service.
    Http(HttpWish),
    /// Go on when something has come about.
    Wait {
        /// For what.
        what: Wait,
        /// At most so long.
        timeout_ms: u64,
    },
    /// Wake machines over the network.
    Wake {
        /// Whose addresses.
        target: Option<ResolvedTarget>,
        /// Addresses of network cards.
        macs: Vec<String>,
        /// The minion that sends it; none is the master.
        via: Option<MinionId>,
    },
    /// Switch a machine on or off.
    Power {
        /// Whom it is about.
        target: ResolvedTarget,
        /// What.
        set: PowerSet,
        /// Name of a switch in `notify.yaml`.
        by: String,
        /// Wait so long until presence is as wanted.
        wait_ms: Option<u64>,
    },
}

/// What a rule tells people.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// Short; may be empty.
    pub title: String,
    /// Long.
    pub message: String,
    /// How much it matters.
    pub priority: Priority,
    /// Words.
    pub tags: Vec<String>,
    /// Anything for templates of notifiers.
    pub data: Map<String, Value>,
    /// What it told before is over.
    pub resolve: bool,
}

/// How much a notice matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Not worth a sound.
    Min,
    /// Little.
    Low,
    /// As usual.
    #[default]
    Normal,
    /// More than usual.
    High,
    /// It cannot wait; quiet hours do not hold it.
    Urgent,
}

/// All priorities with their words, the least first.
pub const PRIORITIES: [(&str, Priority); 5] = [
    ("min", Priority::Min),
    ("low", Priority::Low),
    ("normal", Priority::Normal),
    ("high", Priority::High),
    ("urgent", Priority::Urgent),
];

impl Priority {
    /// By its word.
    pub fn parse(word: &str) -> Option<Self> {
        PRIORITIES.iter().find(|it| it.0 == word).map(|it| it.1)
    }
    /// Its word.
    pub fn word(self) -> &'static str {
        PRIORITIES.iter().find(|it| it.1 == self).map_or("normal", |it| it.0)
    }
}

/// A call to another service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HttpWish {
    /// Name of an endpoint in `notify.yaml`.
    pub to: Option<String>,
    /// `https://host/…`, or `/…` at an endpoint.
    pub url: String,
    /// `GET` and the like.
    pub method: String,
    /// Beside those of the endpoint.
    pub headers: Vec<(String, String)>,
    /// What is sent.
    pub body: Option<Body>,
    /// Good answers, from and to.
    pub expect: Vec<(u16, u16)>,
    /// In milliseconds.
    pub timeout_ms: u64,
    /// The rule says no time: that of the endpoint counts, if it is one.
    #[serde(default)]
    pub usual_timeout: bool,
}

/// What a call sends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// As JSON; texts in it may be templates.
    Json(Value),
    /// As it is.
    Text(String),
}

/// For what a reaction waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wait {
    /// An event that a filter lets through and for which a condition holds.
    Event(String, Option<String>),
    /// A minion is up, or away.
    Presence(MinionId, bool),
    /// The last job of this reaction has ended.
    Job,
}

/// What is to become of power.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PowerSet {
    /// On.
    On,
    /// Off.
    Off,
    /// Off and on again.
    Cycle,
}

impl PowerSet {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
            Self::Cycle => "cycle",
        }
    }
}

/// What a rule does with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyAction {
    /// Makes a waiting one a member; never in place of another.
    Accept,
    /// Refuses a waiting one.
    Reject,
    /// Forgets the minion: its key is revoked, and it is no member any more.
    Delete,
}

impl KeyAction {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Reject => "reject",
            Self::Delete => "delete",
        }
    }
}

/// For which keys an action about keys is at all; empty is for any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPolicy {
    /// Glob over ids.
    pub ids: Option<String>,
    /// Nets that the key came from.
    pub cidr: Vec<IpNet>,
    /// Only names that no key has had before.
    pub only_new: bool,
}

/// Whom an action means.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResolvedTarget {
    /// These.
    Ids(Vec<MinionId>),
    /// Whoever matches: as written, and parsed.
    Expression(String, Target),
}

/// How many reactions of a rule may be under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concurrency {
    /// So many.
    pub limit: u32,
    /// For each minion by itself.
    pub per_minion: bool,
}

impl Concurrency {
    /// Reads `1 per minion`, `2 per rule` or `2`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (number, per_minion) = match text.split_once(" per ") {
            None => (text, false),
            Some((number, "rule")) => (number, false),
            Some((number, "minion")) => (number, true),
            Some(_) => return None,
        };
        let limit = number.trim().parse().ok().filter(|it| (1..=1_000).contains(it))?;
        Some(Self { limit, per_minion })
    }
}
