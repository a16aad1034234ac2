//! What the core asks of the shell.

use super::{Entry, Resume};
use bus::message::{FromMinion, Offer};
use model::{ContentHash, JobId, Question, Timestamp};

/// Everything a minion can ask for. Performed in order; what follows a [`Effect::Record`] waits until it is synced.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Put on disk, synced. Records that follow each other are one write.
    Record(Box<Entry>),
    /// Put on disk with the next record, or at a clean stop.
    Later(Box<Entry>),
    /// Say, if connected.
    Send(Box<FromMinion>),
    /// Get the recipe and give it to a worker; answer with [`super::Input::Progress`] and [`super::Input::RunEnded`].
    Start {
        /// What to run.
        offer: Box<Offer>,
        /// From 1.
        attempt: u32,
        /// The step behind which it goes on, if not at the beginning.
        resume: Option<Resume>,
    },
    /// Put back what a job altered: answer as for [`Effect::Start`].
    PutBack {
        /// Which.
        job: JobId,
    },
    /// Boot the machine anew; answer with [`super::Input::RebootFailed`] if that cannot be done.
    Reboot {
        /// For which job.
        job: JobId,
        /// What people who are logged in are told.
        message: String,
    },
    /// End the connection and make a new one: only that shows that the master can be reached.
    Reconnect,
    /// Kill a worker that was told to stop and does not.
    Kill {
        /// Whose.
        job: JobId,
    },
    /// Look for the worker of a job that was at work when the process ended; answer as for [`Effect::Start`].
    Recover {
        /// Which.
        job: JobId,
        /// The worker that puts back what the job altered, not the job's own.
        undoing: bool,
    },
    /// Tell a worker to end at the next step.
    Cancel {
        /// Whose.
        job: JobId,
    },
    /// The result is on disk: what the worker left can go.
    Clean {
        /// Whose.
        job: JobId,
    },
    /// Collect grains and answer with [`super::Input::Grains`].
    CollectGrains {
        /// For which probe.
        probe: u64,
    },
    /// Send packets that wake other machines, and answer the probe.
    Wake {
        /// Which probe.
        probe: u64,
        /// Addresses of network cards.
        macs: Vec<String>,
    },
    /// Look at the machine and answer with [`super::Input::Answered`].
    AnswerQuestions {
        /// For which probe.
        probe: u64,
        /// What templates ask.
        questions: Vec<Question>,
        /// Whether commands may be run for it.
        commands: bool,
    },
    /// Say how the beacons do: answer with [`super::Input::Answered`].
    ShowBeacons {
        /// For which probe.
        probe: u64,
        /// Only those of this name.
        name: Option<String>,
    },
    /// Open this, keep it and do it from now on; answer with [`super::Input::Conduct`].
    Conduct {
        /// What it is to be.
        hash: ContentHash,
        /// Sealed to this minion.
        sealed: String,
    },
    /// A slot of a schedule has come: answer with [`super::Input::Scheduled`].
    Due {
        /// What its job is to be.
        job: JobId,
        /// Which schedule.
        name: String,
        /// Which slot.
        slot: Timestamp,
        /// How late it is.
        late_ms: u64,
        /// Slots before it that nobody acts for.
        missed: u32,
    },
    /// How the master wants it.
    Pace {
        /// Seconds between telemetry samples; 0 is none.
        sample_s: u32,
        /// Seconds to spread the first attempt over after a loss.
        spread_s: u32,
    },
    /// Check this `masters.json` and use it if it is newer.
    Masters(String),
    /// Not a member any more: drop the identity.
    Forget {
        /// `revoked`, `removed`.
        reason: String,
    },
    /// The master's release does not fit: for people.
    Incompatible {
        /// With the remedy.
        message: String,
    },
}
