//! Everything that may be said on control topics. Closed on purpose: whoever adds a message sees every place that
//! must handle it. The envelope's `type` is the variant's name in `snake_case`, its `body` the variant's fields.

use model::{
    ContentHash, Event, Grains, JobId, Mode, Question, RunReport, StepReport, Surroundings, Timestamp,
    request::Ask,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// Largest sealed recipe, in bytes before base64, that travels in an offer; a larger one is fetched. In base64 it is a
/// third more, and must leave room in an envelope.
pub const RECIPE_HERE_MAX: usize = 180 * 1024;

/// What a minion says, on `ctl/<id>/out`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type", content = "body")]
pub enum FromMinion {
    /// First message of every connection: what it has.
    Hello(Box<Hello>),
    /// Every 30 s while nothing else is said.
    Heartbeat {
        /// Job it works at.
        running: Option<JobId>,
    },
    /// An offer is in the journal, synced.
    Received {
        /// Which.
        job: JobId,
    },
    /// The minion would not take an offer.
    Refused {
        /// Which.
        job: JobId,
        /// Why, for people.
        reason: String,
    },
    /// All that happened in a run since the last such message; at most ten a second. May be lost.
    Progress {
        /// Which.
        job: JobId,
        /// Step it is at, from 1.
        step: u32,
        /// Steps in all.
        of: u32,
        /// Block's name and function of that step.
        what: String,
        /// Steps that ended.
        ended: Vec<StepReport>,
        /// Output of a command as it came.
        output: Vec<OutputPart>,
    },
    /// The end of a job on this minion; repeated after every reconnect until it is acknowledged.
    Result(Box<JobResult>),
    /// A piece of a result whose JSON is longer than 64 KiB; the last one completes it. In order of `part`.
    ResultPart {
        /// Which.
        job: JobId,
        /// From 0.
        part: u32,
        /// In all.
        parts: u32,
        /// Piece of the JSON text of a [`JobResult`].
        text: String,
    },
    /// Something happened here. Kept in the outbox until acknowledged.
    Event {
        /// Grows by one an event on this minion.
        number: u64,
        /// Tag below `minion/<id>/`, such as `start`, `beacon/disk`, `event/deployed`.
        tag: String,
        /// Payload.
        data: Value,
        /// Events that were dropped before this one because the outbox was full.
        #[serde(default)]
        gap: u64,
    },
    /// What it is, when that changed.
    Grains {
        /// Whole.
        grains: Grains,
        /// Their hash.
        hash: ContentHash,
    },
    /// To a [`ToMinion::Probe`].
    Answer {
        /// Its number.
        probe: u64,
        /// What.
        answer: Value,
    },
    /// It stops in good order.
    Goodbye {
        /// `stop`, `reboot`, `uninstall`.
        reason: String,
    },
}

/// First message of every connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// Release, `major.minor.patch`.
    pub version: String,
    /// Kernel's boot id.
    pub boot: String,
    /// Whether this is the first hello since that boot.
    pub first_of_boot: bool,
    /// Whether the machine is a sandbox.
    pub sandbox: bool,
    /// Hash of its grains; the master asks for them if it has others.
    pub grains_hash: ContentHash,
    /// The grains themselves, if this key never said hello before or they changed since the last welcome.
    pub grains: Option<Grains>,
    /// Job at work.
    pub running: Option<JobId>,
    /// Jobs in the journal that wait.
    pub waiting: Vec<JobId>,
    /// Jobs whose results are not acknowledged yet.
    pub unacknowledged: Vec<JobId>,
    /// Number of the next event it will send.
    pub next_event: u64,
    /// Version of its `masters.json`.
    pub masters: u64,
    /// Hash of that list ([`crate::masters::Masters::hash`]): two may have one version. A release that does not know of
    /// it leaves it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub masters_hash: Option<ContentHash>,
    /// Who speaks, beside the key.
    #[serde(default)]
    pub speaker: Speaker,
    /// What it can beyond what every release can: see [`CAN_CONFIRM`], [`CAN_REBOOT`], [`CAN_CONDUCT`] and [`CAN_WAKE`].
    #[serde(default)]
    pub can: Vec<String>,
    /// Hash of what it does by itself; none if that is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conduct: Option<ContentHash>,
}

/// What tells two machines apart that have one key. A release that does not know of it leaves it empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Speaker {
    /// Random, made when the program started: of two machines with one key both come back with theirs.
    pub instance: String,
    /// What the machine sees around itself.
    pub surroundings: Surroundings,
}

/// In [`Hello::can`]: it undoes by itself what keeps it from the master ([`Offer::confirm_ms`]).
pub const CAN_CONFIRM: &str = "confirm";
/// In [`Hello::can`]: a run goes on behind a step that reboots the machine.
pub const CAN_REBOOT: &str = "reboot";
/// In [`Hello::can`]: it does things by itself, as [`ToMinion::Conduct`] says, and can be asked about its beacons.
pub const CAN_CONDUCT: &str = "conduct";
/// In [`Hello::can`]: it sends packets that wake other machines ([`model::Ask::Wake`]).
pub const CAN_WAKE: &str = "wake";

/// Id of the job that a slot of a minion's own schedule is: the same for all who know of it.
pub fn scheduled_job(minion: &model::MinionId, schedule: &str, slot: Timestamp) -> JobId {
    let text = format!("lab1-schedule\0{minion}\0{schedule}\0{}", slot.0);
    let mut first = [0; 16];
    first.copy_from_slice(&crate::seed::sha256(text.as_bytes()).0[..16]);
    JobId(u128::from_be_bytes(first))
}

/// What a minion began by itself, by the clock; [`scheduled_job`] makes its id of this.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Begun {
    /// Of which schedule.
    pub schedule: String,
    /// For which slot.
    pub slot_ms: Timestamp,
    /// Look only, or change.
    pub mode: Mode,
    /// Names of the states; empty is what is assigned.
    #[serde(default)]
    pub states: Vec<String>,
}

/// A piece of a command's live output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutputPart {
    /// Standard error rather than output.
    pub stderr: bool,
    /// Lossy UTF-8.
    pub text: String,
}

/// How a job ended on a minion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobResult {
    /// Which.
    pub job: JobId,
    /// The word.
    pub word: model::Terminal,
    /// Why, where there is more to say.
    pub reason: String,
    /// What was done; none if it never ran.
    pub report: Option<RunReport>,
    /// Minion's clock when it ended.
    pub at: Timestamp,
    /// What it was, of a job that the minion began by itself: the event that told of it may have been dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun: Option<Box<Begun>>,
}

/// What the master says, on `ctl/<id>/in`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type", content = "body")]
pub enum ToMinion {
    /// Answer to hello.
    Welcome {
        /// Release of the master.
        version: String,
        /// Master's clock: offers are judged by it.
        now: Timestamp,
        /// Send whole grains.
        want_grains: bool,
        /// Seconds between heartbeats.
        heartbeat_s: u32,
        /// Seconds between telemetry samples; 0 is none.
        sample_s: u32,
        /// After a loss of connection, spread the first attempt over this many seconds.
        spread_s: u32,
    },
    /// The versions do not fit; the connection ends.
    Incompatible {
        /// Release of the master.
        version: String,
        /// For people, with the remedy.
        message: String,
    },
    /// Become this.
    Offer(Box<Offer>),
    /// Do not begin, or stop at the next step.
    Cancel {
        /// Which.
        job: JobId,
    },
    /// These are on disk here: forget them.
    Ack {
        /// Results.
        jobs: Vec<JobId>,
        /// Events up to this number.
        events: Option<u64>,
    },
    /// Answer within a few seconds, beside your work.
    Probe {
        /// For the answer.
        probe: u64,
        /// What.
        ask: Ask,
    },
    /// Answer what templates ask while they are compiled, with an [`FromMinion::Answer`]: a list with an object for each
    /// question, `{"ok": value}` or `{"error": "why"}`. The functions are a closed list that only looks.
    Questions {
        /// For the answer.
        probe: u64,
        /// What.
        questions: Vec<Question>,
        /// The operator of the master lets templates run commands.
        commands: bool,
    },
    /// A newer list of masters, signed by the org key ([`crate::masters`]).
    Masters {
        /// The file's text.
        text: String,
    },
    /// Do this by yourself from now on, instead of what was said before. Only to those with [`CAN_CONDUCT`].
    Conduct {
        /// Of the JSON text of a [`model::Conduct`]; said again in hello.
        hash: ContentHash,
        /// That text, sealed to this minion's key with [`crate::seal::conduct_context`] as associated data; unpadded
        /// base64url.
        sealed: String,
    },
    /// You are not a member any more: drop the identity, keep the machine. Sent before the connection ends.
    Removed {
        /// `revoked`, `removed`.
        reason: String,
    },
}

/// A job for one minion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Offer {
    /// Which.
    pub job: JobId,
    /// Look only, or change.
    pub mode: Mode,
    /// Whether it is an operator's command: at most once.
    pub command: bool,
    /// Whether it is a full run (all that is assigned): supersedes an older waiting one.
    pub full: bool,
    /// By the master's clock; not begun after.
    pub expires: Timestamp,
    /// For people: `apply web`, `run uptime`.
    pub what: String,
    /// The recipe, sealed to this minion's key with [`crate::seal::recipe_context`] as associated data.
    pub recipe: SealedRecipe,
    /// Milliseconds after the run within which the minion must have reached the master anew, or it undoes the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_ms: Option<u64>,
    /// In the journal of a minion only: what it began by itself. No master says this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun: Option<Box<Begun>>,
}

/// Where the sealed recipe is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "at")]
pub enum SealedRecipe {
    /// Here, as unpadded base64url; at most [`RECIPE_HERE_MAX`].
    Here {
        /// Ciphertext.
        sealed: String,
    },
    /// To be fetched from `https://<master>/files/<hash>`.
    Fetch {
        /// Of the ciphertext.
        hash: ContentHash,
        /// Bytes.
        size: u64,
    },
}

/// What an unknown key says on `enroll/<fp>/out`. Signed by that key; carries the image key's signature beside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct EnrollRequest {
    /// Name it wants.
    pub minion: model::MinionId,
    /// Raw ed25519 public key, unpadded base64url.
    pub sign: String,
    /// Raw X25519 public key, unpadded base64url.
    pub seal: String,
    /// Release.
    pub version: String,
    /// Things it says of itself (`os`, `machine_id`, `product_uuid`, `mac`); at most 16 of 128 characters.
    pub claims: model::Labels,
    /// Token: the signed statement as in the seed, if there is one.
    pub token: Option<String>,
    /// Signature by the image key of that token over `"lab1-image\0"`, the fingerprint, `"\0"`, the id; unpadded base64url.
    pub image_sig: Option<String>,
}

/// The one thing a stranger may say, with its name: as everything in an envelope, `{"type": ..., "body": ...}`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type", content = "body")]
enum FromStranger<T> {
    Enroll(T),
}

impl Serialize for EnrollRequest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Fields<'a>(&'a EnrollRequest);
        impl Serialize for Fields<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                EnrollRequest::serialize(self.0, serializer)
            }
        }
        Serialize::serialize(&FromStranger::Enroll(Fields(self)), serializer)
    }
}

impl<'de> Deserialize<'de> for EnrollRequest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields(EnrollRequest);
        impl<'de> Deserialize<'de> for Fields {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                EnrollRequest::deserialize(deserializer).map(Fields)
            }
        }
        let FromStranger::Enroll(Fields(request)) = Deserialize::deserialize(deserializer)?;
        Ok(request)
    }
}

/// The master's answer on `enroll/<fp>/in`, signed by the master.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type", content = "body")]
pub enum EnrollAnswer {
    /// A member: connect again, now under this id.
    Accepted {
        /// The id.
        minion: model::MinionId,
    },
    /// In quarantine; stay connected, or ask again later.
    Pending {
        /// Why.
        reason: String,
    },
    /// No.
    Rejected {
        /// Why.
        reason: String,
    },
}

/// Events as the master passes them on to streams.
pub type BusEvent = Event;
