//! What a minion is told to be: compiled states for one machine, as data.

use crate::{ContentHash, Question, Secrets};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Steps in the order in which to run them, with everything they need. Sealed to one minion on the way.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// In execution order.
    pub steps: Vec<Step>,
    /// Contents that steps refer to by hash.
    pub files: BTreeMap<ContentHash, FileRef>,
    /// Values that must never be shown: every occurrence in output, diffs and errors becomes [`crate::SECRET_MASK`].
    pub secrets: Secrets,
    /// Whether this is an operator's command (one `cmd.run` step) rather than states: it does not converge,
    /// so it runs at most once and is `interrupted` rather than started again.
    pub command: bool,
}

/// What steps are told may hold secrets: they do not print.
impl std::fmt::Debug for Recipe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let steps: Vec<String> = self.steps.iter().map(|it| format!("{}.{}", it.state, it.fun)).collect();
        f.debug_struct("Recipe").field("steps", &steps).finish_non_exhaustive()
    }
}

/// Where a content comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileRef {
    /// Bytes in all.
    pub size: u64,
    /// The content itself as unpadded base64url, if it is small; else it is fetched by hash.
    pub inline: Option<String>,
}

/// One resource in its desired state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The block's name in the state file (Salt: `__id__`).
    pub id: String,
    /// The state file, dotted (Salt: `__sls__`).
    pub sls: String,
    /// Module, such as `file`.
    pub state: String,
    /// Function, such as `managed`.
    pub fun: String,
    /// What it acts on.
    pub name: String,
    /// The function's own parameters, `name` included, rendered, normalized and checked against its schema.
    pub params: Map<String, Value>,
    /// What this step waits for.
    pub links: Vec<Link>,
    /// Arguments that every step may have.
    pub global: Global,
    /// Where it is written.
    pub at: Option<Place>,
}

impl Step {
    /// `module.function`.
    pub fn kind(&self) -> String {
        format!("{}.{}", self.state, self.fun)
    }
}

/// File and line for messages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// Relative to the root of the trees.
    pub file: String,
    /// 1-based.
    pub line: u32,
}

/// Arguments that every step may have. Commands are the operator's own and run by `/bin/sh -c`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Global {
    /// Skip (as ok) when all of these commands succeed.
    pub unless: Vec<String>,
    /// Skip (as ok) when one of these commands fails.
    pub onlyif: Vec<String>,
    /// Skip (as ok) when all of these paths exist.
    pub creates: Vec<String>,
    /// After a change these must succeed, else the step failed.
    pub check_cmd: Vec<String>,
    /// Attempts in all, at least 1.
    pub attempts: u32,
    /// Pause between attempts, in milliseconds.
    pub interval_ms: u64,
    /// A failure of this step ends the run.
    pub failhard: bool,
    /// Event tag suffix to send when this step changed something.
    pub fire_event: Option<String>,
    /// The user whose name the commands above run under.
    pub runas: Option<String>,
    /// The folder they run in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Their variables.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// As `unless`: skip (as ok) when all of these are true too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unless_calls: Vec<GuardCall>,
    /// As `onlyif`: skip (as ok) when one of these is false.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub onlyif_calls: Vec<GuardCall>,
    /// Steps after this one need not wait for it, unless they depend on it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub parallel: bool,
    /// At most so many milliseconds more between two attempts, by chance.
    #[serde(skip_serializing_if = "is_zero")]
    pub splay_ms: u64,
    /// Attempts go on until one fails rather than until one succeeds.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub until_failed: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A read-only question about the machine in the place of a command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GuardCall {
    /// What is asked.
    pub question: Question,
    /// The part of the answer that counts, such as `a:b`; the whole if there is none.
    #[serde(default)]
    pub get_return: Option<String>,
}

/// A requisite, resolved to a position.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// Index of the other step in the recipe. Earlier than this one, except for `prereq` and `listen`.
    pub step: usize,
    /// What it means.
    pub when: Requisite,
    /// Belongs to the `_any` form: one link of all with the same `when` is enough.
    #[serde(default)]
    pub any: bool,
}

/// How a step depends on another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Requisite {
    /// Run only if it did not fail.
    Require,
    /// As require; and when it changed something, refresh this one.
    Watch,
    /// Run only if it changed something.
    Onchanges,
    /// Run only if one of these failed.
    Onfail,
    /// Run only if all of these failed.
    OnfailAll,
    /// Run before it, and only if it is going to change something.
    Prereq,
    /// When it changed something, refresh this one at the end of the run.
    Listen,
}
