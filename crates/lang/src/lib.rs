//! The language of `states/`, `pillar/` and `reactors/`: text in; recipes, pillars, rules, targets and diagnostics out.
//! Pure: no files, no clock, no network. The same tree and subject give the same result.

mod compare;
mod compiler;
mod config;
mod expression;
mod functions;
mod helpers;
mod limits;
mod partials;
mod remarks;
mod render;
mod rendering;
pub mod rules;
mod say;
mod scalars;
mod scan;
pub mod target;
mod templates;
mod tree;
mod yaml;

pub use compiler::{Compiler, Options, Renderer, Subject, Wanted};
pub use config::ConfigReader;
pub use render::{Paint, render_diagnostics};
pub use tree::{Source, Tree};
