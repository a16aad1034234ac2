//! The language of `states/`, `pillar/` and `reactors/`: text in; recipes, pillars, rules, targets and diagnostics out.
//! Pure: no files, no clock, no network. The same tree and subject give the same result.

mod compiler;
mod render;
pub mod rules;
pub mod target;
mod tree;

pub use compiler::{Compiler, Options, Renderer, Subject, Wanted};
pub use render::{Paint, render_diagnostics};
pub use tree::{Source, Tree};
