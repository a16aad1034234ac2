//! `file`: files, folders and symbolic links.

mod absent;
mod append;
mod blockreplace;
mod comment;
mod directory;
mod edit;
mod keyvalue;
mod line;
mod managed;
mod owner;
mod recurse;
mod replace;
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
        append::APPEND,
        append::PREPEND,
        replace::FUNCTION,
        line::FUNCTION,
        blockreplace::FUNCTION,
        comment::COMMENT,
        comment::UNCOMMENT,
        keyvalue::FUNCTION,
    ],
};
