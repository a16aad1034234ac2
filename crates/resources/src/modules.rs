//! The list of state modules. A new one is a file in the folder and its name in both lists.

mod cmd;
mod file;

use crate::Module;

pub(crate) const ALL: &[&Module] = &[&cmd::MODULE, &file::MODULE];
