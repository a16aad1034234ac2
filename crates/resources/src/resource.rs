//! What a state module has to provide.

use crate::{Doc, Examples, Host, Param, Probe, host::Contents};
use model::{Output, Plan};
use serde_json::{Map, Value};
use std::{fmt, io, path::Path};

/// One thing on a machine, in the state that it should be in.
///
/// The value itself is the desired state, deserialized from a step's parameters.
/// It never reports its own success: [`run`](crate::run) checks again after `apply`.
pub trait Resource: fmt::Debug {
    /// Rules that the types of the parameters cannot express. Runs at compile time.
    fn validate(&self) -> Result<(), String> {
        Ok(())
    }
    /// Compares the machine with the desired state. Cannot alter anything.
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error>;
    /// Carries out `plan`, which `check` has just made and which is not empty.
    fn apply(&self, plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error>;
    /// Reacts to a change in something watched: a service restarts. `None`: this kind has nothing to do.
    fn refresh(&self, _host: &mut dyn Host) -> Result<Option<Applied>, Error> {
        Ok(None)
    }
    /// What `refresh` does, in one word such as `restart`; `None` if nothing.
    fn refreshes(&self) -> Option<&'static str> {
        None
    }
    /// Whether an apply of `plan` makes a refresh needless: a service that was just started need not be restarted.
    fn is_fresh_after(&self, plan: &Plan) -> bool {
        !plan.is_empty()
    }
    /// Fetches what `plan` needs from elsewhere, before `candidate` is asked for.
    fn prepare(&self, _plan: &Plan, _host: &mut dyn Host) -> Result<(), Error> {
        Ok(())
    }
    /// Forgets what was fetched, when the step failed before it was used.
    fn abandon(&self, _host: &mut dyn Host) -> Result<(), Error> {
        Ok(())
    }
    /// Where `check_cmd` gets to see them, if not beside the file: a folder, and the end of the name.
    fn draft_place(&self) -> (Option<&Path>, &str) {
        (None, "")
    }
    /// The new contents of the file that `plan` writes: `check_cmd` judges them before they are put in place.
    fn candidate(&self, _plan: &Plan) -> Option<(&Path, Contents<'_>)> {
        None
    }
    /// A sentence for people that the report gets whatever the check finds; empty for most.
    fn remark(&self) -> String {
        String::new()
    }
    /// Variables for the commands of the steps that follow (`None` takes one away), and whether earlier ones are forgotten.
    fn environment(&self) -> Option<(Variables, bool)> {
        None
    }
    /// It is done by booting the machine anew, which is not for `apply`: the run halts here and goes on afterwards.
    fn reboot(&self) -> Option<Reboot> {
        None
    }
    /// Events to send when it changed something: tags and data.
    fn events(&self) -> Vec<(String, Value)> {
        Vec::new()
    }
    /// Whether a second check must find nothing left to do. Only a bare `cmd.run` says no.
    fn converges(&self) -> bool {
        true
    }
}

/// How the machine is to be booted anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reboot {
    /// What people who are logged in are told.
    pub message: String,
    /// Before that, in milliseconds.
    pub wait_ms: u64,
}

/// Names and values of variables; `None` takes one away.
pub type Variables = Vec<(String, Option<String>)>;

/// What an apply has to say beyond the plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Applied {
    /// One sentence for people; may be empty.
    pub comment: String,
    /// A command's output.
    pub output: Option<Output>,
    /// It turned out that nothing had to be changed: a stateful command says so.
    pub unchanged: bool,
}

impl Applied {
    /// With a command's output.
    pub fn with(output: Output) -> Self {
        Self { output: Some(output), ..Self::default() }
    }
    /// With a sentence.
    pub fn saying(comment: impl Into<String>) -> Self {
        Self { comment: comment.into(), ..Self::default() }
    }
}

/// Makes a resource of parameters.
pub type Parse = fn(&Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError>;

/// A file under `modules/`.
#[derive(Debug)]
pub struct Module {
    /// The part before the dot.
    pub name: &'static str,
    /// One sentence.
    pub doc: Doc,
    /// What can be done with it.
    pub functions: &'static [Function],
}

/// One `module.function`.
#[derive(Debug)]
pub struct Function {
    /// The part after the dot.
    pub name: &'static str,
    /// What it brings about: a paragraph.
    pub doc: Doc,
    /// Its parameters, `name` first. Global arguments (`require`, `unless`, ...) are not listed.
    pub params: &'static [Param],
    /// YAML that compiles, at least one.
    pub examples: Examples,
    /// Parameters in, resource out.
    pub parse: Parse,
}

/// Why parameters make no resource.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ParamsError {
    /// No such module or function.
    #[error("unknown state `{0}`")]
    UnknownKind(String),
    /// A parameter that the function does not have.
    #[error("`{kind}` has no parameter `{param}`")]
    UnknownParam {
        /// The function.
        kind: String,
        /// The parameter.
        param: String,
    },
    /// A parameter is missing.
    #[error("`{kind}` needs `{param}`")]
    Missing {
        /// The function.
        kind: String,
        /// The parameter.
        param: String,
    },
    /// A parameter is of the wrong type.
    #[error("`{param}` must be {wanted}")]
    WrongType {
        /// The parameter.
        param: String,
        /// For people: `a whole number`.
        wanted: String,
    },
    /// The module's own rules; `param` if one is to blame.
    #[error("{message}")]
    Invalid {
        /// The parameter to blame.
        param: Option<String>,
        /// Why.
        message: String,
    },
}

/// Why a check or an apply failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused.
    #[error("cannot {action} `{subject}`")]
    Host {
        /// An infinitive, such as `write`.
        action: &'static str,
        /// A path, a user, a unit.
        subject: String,
        /// The operating system's word.
        #[source]
        source: io::Error,
    },
    /// A program said no.
    #[error("{what}: {message}")]
    Command {
        /// For people: `apt-get install nginx`.
        what: String,
        /// Last lines of its output, or `exited with 1`.
        message: String,
        /// All it said.
        output: Box<Output>,
    },
    /// Something is in the way that must not be overwritten.
    #[error("{0}")]
    Refused(String),
}

impl Error {
    /// For `map_err`: names the action and its subject.
    pub fn host(action: &'static str, subject: impl ToString) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Host { action, subject: subject.to_string(), source }
    }
}
