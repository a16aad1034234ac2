//! How full a file system is.

use std::path::Path;

/// Bytes in all and bytes free (for anyone) of the file system at a path. May wait if that is on the network.
pub fn of(path: &Path) -> Option<(u64, u64)> {
    let stat = nix::sys::statvfs::statvfs(path).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.fragment_size());
    Some((bytes(stat.blocks()), bytes(stat.blocks_available())))
}
