//! Jobs: what was asked of which minions, and how it ended for each.

use crate::{Diagnostic, JobId, Labels, MinionId, Mode, Revision, Roll, Rolling, Tally, Timestamp, Turn};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Who asks. Carried by every request into the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// `admin`, `rule:configure-new-machine`, `schedule:nightly`.
    pub name: String,
    /// How they came: `socket uid=0`, `10.0.0.5 token=ci`, `reactor`.
    pub via: String,
    /// The role they came with; none may nothing.
    #[serde(default)]
    pub role: String,
}

impl Caller {
    /// Puts one together.
    pub fn new(name: impl Into<String>, via: impl Into<String>, role: impl Into<String>) -> Self {
        Self { name: name.into(), via: via.into(), role: role.into() }
    }
}

/// What a job does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum JobKind {
    /// Bring states about.
    Apply {
        /// Names; empty is what top.sls assigns.
        states: Vec<String>,
        /// Look only, or change.
        mode: Mode,
        /// Pillar values that win over the tree's, for this run.
        #[serde(default)]
        pillar: Map<String, Value>,
        /// Environment (a named set of trees).
        #[serde(default)]
        env: Option<String>,
        /// A way back: milliseconds after the run within which each minion must have reached the master anew, or it
        /// undoes what it altered.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        confirm_ms: Option<u64>,
    },
    /// Run a command.
    Run {
        /// Program and arguments; with `shell`, one element that `/bin/sh -c` gets.
        command: Vec<String>,
        /// Whether a shell reads it.
        shell: bool,
        /// Working directory.
        #[serde(default)]
        cwd: Option<String>,
        /// User to run as.
        #[serde(default)]
        user: Option<String>,
        /// Environment variables.
        #[serde(default)]
        environment: Labels,
        /// Killed after this long, in milliseconds.
        timeout_ms: u64,
    },
    /// Put back the files that a job altered.
    Undo {
        /// Which.
        of: JobId,
        /// Look only, or change.
        mode: Mode,
        /// Whether what was altered since is put back as well.
        #[serde(default)]
        force: bool,
    },
    /// Boot the machine anew.
    Reboot {
        /// What people who are logged in are told.
        #[serde(default)]
        message: String,
    },
}

impl JobKind {
    /// Whether it only looks.
    pub fn is_check(&self) -> bool {
        matches!(self, Self::Apply { mode: Mode::Check, .. } | Self::Undo { mode: Mode::Check, .. })
    }
    /// Whether it runs a command.
    pub fn is_command(&self) -> bool {
        matches!(self, Self::Run { .. })
    }
    /// Whether it is done at most once, for doing it again is not the same: a command, a reboot.
    pub fn is_once(&self) -> bool {
        matches!(self, Self::Run { .. } | Self::Reboot { .. })
    }
}

/// A job as the master keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Chosen by the submitter: a retry is the same job.
    pub id: JobId,
    /// What.
    pub kind: JobKind,
    /// The target expression as typed.
    pub target: String,
    /// Whom it came to, expanded when it was accepted; of a run in waves in the order of their turns.
    pub minions: Vec<MinionId>,
    /// Who.
    pub caller: Caller,
    /// When it was accepted.
    pub at: Timestamp,
    /// Offers expire then; in a run in waves as long after the wave's begin.
    pub expires: Timestamp,
    /// Whether it waits for minions that are away.
    pub wait: bool,
    /// The trees it was compiled from; `None` for commands.
    pub revision: Option<Revision>,
    /// The job this one repeats, for `job retry`.
    #[serde(default)]
    pub retry_of: Option<JobId>,
    /// When the last minion ended.
    #[serde(default)]
    pub ended: Option<Timestamp>,
    /// When it was asked to stop.
    #[serde(default)]
    pub cancelled: Option<Timestamp>,
    /// How many rule-made events led to it; 0 for what people ask.
    #[serde(default)]
    pub hops: u32,
    /// How it goes over its machines, if it goes in waves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolling: Option<Box<Rolling>>,
    /// How far it has gone in its waves: in views and when it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roll: Option<Box<Roll>>,
}

/// The end of a (job, minion). Exactly one for each, and never altered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Terminal {
    /// Everything was, or would be left, as it should be.
    Ok,
    /// Something was changed (or would be, in a check).
    Changed,
    /// A step failed, a command did not return 0, or the states do not compile for this minion.
    Failed,
    /// Known to be away when the job came.
    Unreachable,
    /// Not received in time.
    Expired,
    /// An operator said so.
    Cancelled,
    /// A newer full run came first.
    Superseded,
    /// It began and its end cannot be known: the machine rebooted, or the minion was removed.
    Interrupted,
    /// The minion would not: its queue or its disk is full, or it cannot open the recipe.
    Refused,
    /// A word of a newer release.
    #[serde(other)]
    Unknown,
}

impl Terminal {
    /// The word, as everywhere.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Changed => "changed",
            Self::Failed => "failed",
            Self::Unreachable => "unreachable",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Superseded => "superseded",
            Self::Interrupted => "interrupted",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }
}

/// Where a (job, minion) stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum TargetState {
    /// Being compiled, or waiting for the minion to come.
    Accepted,
    /// Sent `times` times, last at `at`.
    Offered {
        /// How often.
        times: u32,
        /// When last.
        at: Timestamp,
    },
    /// The minion has it on disk.
    Received {
        /// When.
        at: Timestamp,
    },
    /// The minion works at it.
    Running {
        /// Step now.
        step: u32,
        /// Steps in all.
        of: u32,
        /// When the last word of it came.
        at: Timestamp,
        /// Since when the machine reboots, as the run wants it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rebooting: Option<Timestamp>,
    },
    /// Over.
    Ended {
        /// The word.
        word: Terminal,
        /// When the master stored it.
        at: Timestamp,
        /// Wall time on the minion, if it ran.
        duration_ms: Option<u64>,
        /// Steps by outcome, if it ran.
        #[serde(default)]
        tally: Tally,
        /// Why, for people, where there is more to say than the word.
        #[serde(default)]
        reason: String,
        /// Exit code, for commands.
        #[serde(default)]
        code: Option<i32>,
    },
}

/// One minion's part of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobTarget {
    /// The job.
    pub job: JobId,
    /// The minion.
    pub minion: MinionId,
    /// Where it stands.
    pub state: TargetState,
    /// Complaints of the compiler, if it did not compile for this minion.
    #[serde(default)]
    pub diagnostics: Vec<Diagnostic>,
    /// Since when contact is lost, if it is: in views only, never stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<Timestamp>,
    /// Whose turn it is in a run in waves: in views only, never stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<Turn>,
}
