//! What the core keeps on disk, and what a run tells it.

use bus::message::{JobResult, Offer};
use model::{ContentHash, JobId, RunReport, StepReport, Terminal, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What is kept on disk. Replayed in order, they make the same memory: for a live step and for a restart alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "entry", content = "data")]
pub enum Entry {
    /// An offer was taken; it waits.
    Received(Box<Offer>),
    /// A job is about to begin.
    Intent {
        /// Which.
        job: JobId,
        /// From 1.
        attempt: u32,
    },
    /// A run has reached a step that boots the machine anew, which happens next.
    Rebooting {
        /// Which job.
        job: JobId,
        /// Position of that step in the recipe.
        step: u32,
        /// Boot id that is to become another one.
        boot: String,
        /// When.
        at: Timestamp,
        /// What people who are logged in are told.
        message: String,
    },
    /// A run goes on behind a step that boots the machine anew.
    Resumed {
        /// Which job.
        job: JobId,
        /// Counts all begins of the run.
        attempt: u32,
        /// Where.
        resume: Resume,
    },
    /// A run with a way back is over: unless the master is reached anew in time, it is undone.
    Unconfirmed {
        /// What it ends with once it is confirmed.
        result: Box<JobResult>,
        /// The end of that time.
        until: Timestamp,
    },
    /// It was not confirmed in time: what it altered is being put back.
    Undoing {
        /// Which job.
        job: JobId,
        /// From 1.
        attempt: u32,
    },
    /// Events that were dropped and that no later one tells of yet.
    Gap(u64),
    /// A job ended; kept until the master has stored it.
    Ended(Box<JobResult>),
    /// The master has stored the result: only the id and the word are remembered, so that it never runs again.
    Known {
        /// Which.
        job: JobId,
        /// How it ended.
        word: Terminal,
        /// When that was acknowledged, by the master's clock.
        at: Timestamp,
    },
    /// Something happened here; kept until the master has stored it.
    Event {
        /// Grows by one an event.
        number: u64,
        /// Below `minion/<id>/`.
        tag: String,
        /// Payload.
        data: Value,
        /// Events dropped right before it.
        gap: u64,
    },
    /// The master has stored events up to this number.
    EventsTaken(u64),
    /// The slots of a schedule until then have had their turn.
    Slot {
        /// Which.
        name: String,
        /// What its slots go by.
        of: String,
        /// Until when.
        at: Timestamp,
    },
    /// The start of this boot was noted.
    Boot(String),
    /// The master answered a hello of this boot and knows these grains.
    Welcomed {
        /// Boot id.
        boot: String,
        /// Hash.
        grains: ContentHash,
    },
    /// Latest time seen.
    Clock(Timestamp),
}

/// A step that boots the machine anew, which the run is past.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// Its position in the recipe.
    pub step: u32,
    /// Why it failed, if it did.
    pub failed: Option<String>,
}

/// What happened in a run, as it is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "line", content = "data")]
pub enum RunLine {
    /// A step began.
    Started {
        /// Position in the recipe.
        index: u32,
        /// Block's name and function.
        what: String,
    },
    /// A command said something.
    Output {
        /// Standard error rather than output.
        stderr: bool,
        /// Lossy UTF-8.
        text: String,
    },
    /// A step ended.
    Ended(Box<StepReport>),
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "end", content = "data")]
pub enum RunEnd {
    /// By itself, or because it was told to stop.
    Report {
        /// What was done.
        report: Box<RunReport>,
        /// Events that steps fire (`fire_event`): tag and payload.
        events: Vec<(String, Value)>,
    },
    /// It has reached a step that boots the machine anew; the worker has written down where it is.
    Reboot {
        /// Position of that step in the recipe.
        step: u32,
        /// What people who are logged in are told.
        message: String,
    },
    /// It was not begun: the recipe cannot be had or opened.
    NotBegun {
        /// Why.
        reason: String,
    },
    /// A fault of ours in the middle.
    Fault {
        /// Why.
        reason: String,
    },
    /// The worker is gone without a word: killed, or the machine went down.
    Lost {
        /// What is known.
        reason: String,
    },
}
