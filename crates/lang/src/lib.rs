//! The language of `states/`, `pillar/` and `reactors/`: text in; recipes, pillars, rules, targets and diagnostics out.
//! Pure: no files, no clock, no network. The same tree and subject give the same result.

mod arguments;
mod blocks;
mod check;
mod codes;
mod compare;
mod compiler;
mod condition;
mod config;
mod content;
mod expression;
mod functions;
mod helpers;
mod limits;
mod order;
mod partials;
mod pillar;
mod remarks;
mod render;
mod rendering;
mod rule_files;
mod rule_texts;
pub mod rules;
mod say;
mod scalars;
mod scan;
mod session;
mod show;
mod steps;
pub mod target;
mod templates;
mod top;
mod tree;
mod values;
mod yaml;

pub use codes::explain;
pub use compiler::{Compiler, Subject, Wanted};
pub use config::ConfigReader;
pub use render::{Paint, render_diagnostics};
pub use resources::{Function, Module, Param, ParamType, modules};
pub use tree::{Dialect, Renderer, Source, Tree};
pub use values::value_of_yaml;
