//! Everything that can happen to a minion.

use super::{Entry, RunEnd, RunLine, Scheduled};
use bus::message::ToMinion;
use model::{ContentHash, Grains, JobId, MinionId, MinionSchedule, Timestamp};
use serde_json::Value;

/// Everything that can happen to a minion.
#[derive(Clone, Debug)]
pub enum Input {
    /// The process began; first of all inputs.
    Started,
    /// Subscribed and ready to publish: a new session.
    Connected,
    /// That is over.
    Disconnected,
    /// A verified message of the master, with the master's clock when it was signed.
    Message {
        /// What.
        message: Box<ToMinion>,
        /// Header's `iat`.
        sent: Timestamp,
    },
    /// A run goes on.
    Progress {
        /// Which.
        job: JobId,
        /// Steps in all.
        of: u32,
        /// What happened since the last time.
        lines: Vec<RunLine>,
    },
    /// A run is over, or was never begun.
    RunEnded {
        /// Which.
        job: JobId,
        /// How.
        end: RunEnd,
    },
    /// To [`Effect::Reboot`]: it cannot be done.
    RebootFailed {
        /// For which job.
        job: JobId,
        /// Why.
        reason: String,
    },
    /// Something happened on the machine.
    Event {
        /// Below `minion/<id>/`.
        tag: String,
        /// An object.
        data: Value,
    },
    /// The same, several at once: tags and data in order.
    Events(Vec<(String, Value)>),
    /// Grains were collected, for a probe or because it was time.
    Grains {
        /// Number of the probe that wanted them.
        probe: Option<u64>,
        /// Whole.
        grains: Grains,
        /// Their hash.
        hash: ContentHash,
    },
    /// To [`Effect::AnswerQuestions`].
    Answered {
        /// Number of the probe.
        probe: u64,
        /// What to say.
        answer: Value,
    },
    /// To [`Effect::Conduct`]: this is what it does by itself now.
    Conduct(Option<ContentHash>),
    /// These are its schedules from now on.
    Schedules {
        /// Its name.
        id: MinionId,
        /// In order.
        list: Vec<MinionSchedule>,
    },
    /// To [`Effect::Due`].
    Scheduled(Box<Scheduled>),
    /// These could not be put on disk; whatever was to follow them was not done.
    NotRecorded {
        /// The entries of the failed write.
        entries: Vec<Entry>,
        /// Why, for people.
        reason: String,
    },
    /// The disk takes records again.
    DiskGood,
    /// The process is to end in good order.
    Stop {
        /// `stop`, `reboot`, `uninstall`.
        reason: String,
    },
    /// Time passed.
    Tick,
}
