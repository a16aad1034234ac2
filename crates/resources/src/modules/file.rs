//! `file`: files, folders and symbolic links.

mod absent;
mod accumulated;
mod append;
mod blockreplace;
mod comment;
mod copy;
mod directory;
mod edit;
mod keyvalue;
mod line;
mod managed;
mod nodes;
mod owner;
mod presence;
mod recurse;
mod replace;
mod serialize;
mod symlink;
mod tidied;

use crate::{Doc, Module};

pub(crate) const MODULE: Module = Module {
    name: "file",
    doc: Doc::new("Files, folders and symbolic links."),
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
        presence::EXISTS,
        presence::MISSING,
        presence::TOUCH,
        copy::COPY,
        copy::RENAME,
        serialize::SERIALIZE,
        serialize::DECODE,
        accumulated::FUNCTION,
        nodes::HARDLINK,
        nodes::MKNOD,
        tidied::FUNCTION,
    ],
};
