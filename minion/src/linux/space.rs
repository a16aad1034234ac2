//! How full a file system is.

use crate::senses::Space;
use std::{io, path::Path};

/// Bytes in all and bytes free (for anyone) of the file system at a path. May wait if that is on the network.
pub fn of(path: &Path) -> Option<(u64, u64)> {
    let stat = nix::sys::statvfs::statvfs(path).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.fragment_size());
    Some((bytes(stat.blocks()), bytes(stat.blocks_available())))
}

/// Bytes and inodes of the file system at a path. May wait if that is on the network.
pub fn whole(path: &Path) -> io::Result<Space> {
    let stat = nix::sys::statvfs::statvfs(path)?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.fragment_size());
    Ok(Space {
        total: bytes(stat.blocks()),
        used: bytes(stat.blocks().saturating_sub(stat.blocks_free())),
        free: bytes(stat.blocks_available()),
        inodes: stat.files(),
        inodes_free: stat.files_available(),
    })
}
