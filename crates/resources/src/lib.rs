//! The state modules: each kind of thing a minion can bring into a desired state, and the engine that runs recipes.
//!
//! A module is one file under `modules/`. It sees the machine only through [`Probe`] and [`Host`], so all of them run
//! in tests without one.

mod answer;
mod args;
pub mod beacons;
mod diff;
mod engine;
pub mod fake_host;

pub mod host;
pub mod keep;
mod modules;
pub mod openrc;
mod output;
pub mod packages;
mod pattern;
pub mod questions;
mod remote;
mod resource;
mod schema;
mod scram;
mod sql;
mod text;
mod text_file;
mod tool;
mod wanted_file;

pub use answer::{answer, askable, refuses};
pub use engine::{Ended, Halt, Listener, Past, Progress, RunOptions, run, run_past};
pub use host::{Host, Probe};
pub use output::Collected;
pub use pattern::{LinePattern, Selection, glob};
pub use remote::{archive_format, is_remote};
pub use resource::{Applied, Error, Function, Module, ParamsError, Parse, Reboot, Resource, Variables};
pub use schema::{Doc, Examples, Param, ParamType};

use serde_json::{Map, Value};

/// Every module, in alphabetical order.
pub fn modules() -> &'static [&'static Module] {
    modules::ALL
}

/// The function that `kind` (`module.function`) names.
pub fn function(kind: &str) -> Option<&'static Function> {
    find(modules(), kind)
}

fn find(modules: &[&'static Module], kind: &str) -> Option<&'static Function> {
    let (module, function) = kind.split_once('.')?;
    let module = modules.iter().find(|it| it.name == module)?;
    module.functions.iter().find(|it| it.name == function)
}

/// Makes the resource that `kind` and its parameters (`name` included) describe. Used by the compiler to check
/// parameters, and by the engine to run them.
pub fn instantiate(kind: &str, params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let function = function(kind).or_else(|| find(modules::INTERNAL, kind));
    let function = function.ok_or_else(|| ParamsError::UnknownKind(kind.to_owned()))?;
    (function.parse)(params)
}
