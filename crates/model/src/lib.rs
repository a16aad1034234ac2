//! The nouns that every part of the system shares: plain data that travels or is stored, no I/O, no clock.

pub mod api;
mod audit;
pub mod broken;
pub mod conduct;
mod diagnostic;
pub mod duration;
mod event;
mod id;
mod job;
mod key;
mod minion;
mod question;
mod recipe;
mod report;
pub mod request;
mod rolling;
mod schedule;
mod secret;
pub mod surroundings;
mod time;

pub use audit::{Audit, AuditBreak, AuditCheck, AuditFilter, AuditLine};
pub use conduct::{BeaconOrder, Conduct, ScheduleOrder};
pub use diagnostic::{Code, Compiled, Diagnostic, Severity, Span};
pub use event::{ActionEnd, Clause, Decision, DecisionAction, Event, Source, Verdict};
pub use id::{ContentHash, Fingerprint, InvalidId, JobId, MinionId, Revision};
pub use job::{Caller, Job, JobKind, JobTarget, TargetState, Terminal};
pub use key::{Key, KeyStatus, Observer, ObserverRole, Operator, Replace, Token, TokenTerms};
pub use minion::{Drift, DriftItem, Grains, Labels, LastApply, Maintenance, Minion, Presence};
pub use question::{Answers, Question};
pub use recipe::{FileRef, Global, GuardCall, Link, Place, Recipe, Requisite, Step};
pub use report::{Change, Mode, Outcome, Output, Plan, RunReport, StepReport, Tally, is_put_back};
pub use request::{Ask, EnrollTerms, KeyDecision, MaintenanceAct, Reply, Request, ScheduleAct};
pub use rolling::{Gate, OnStop, Order, Phase, Roll, Rolling, Share, Turn};
pub use schedule::{CronTimes, MinionSchedule, Missed, Times};
pub use secret::{Masked, Secret, SecretBytes, Secrets, same_text};
pub use surroundings::Surroundings;
pub use time::Timestamp;

/// What stands wherever a value came from a secret pillar: in diffs, logs, events, reports and JSON.
pub const SECRET_MASK: &str = "«secret»";

/// Version of the protocol between the programs: `major.minor` of the release.
/// Peers one minor version apart work together; anything further is refused with both versions named.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
