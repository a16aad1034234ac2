//! `blockdev`: Salt's name of what `disk` does.

pub(crate) use super::disk::BLOCKDEV as MODULE;
