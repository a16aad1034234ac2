//! `file`: files, folders and symbolic links.

mod absent;
mod directory;
mod managed;
mod owner;
mod recurse;
mod symlink;

use crate::Module;

pub(crate) const MODULE: Module = Module {
    name: "file",
    doc: "Files, folders and symbolic links.",
    functions: &[
        managed::FUNCTION,
        directory::FUNCTION,
        symlink::FUNCTION,
        absent::FUNCTION,
        recurse::FUNCTION,
    ],
};
