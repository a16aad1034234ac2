//! Room on disk that is given up when it is full, so that results already promised still get in.

use std::fs::{File, remove_file, rename};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Bytes that must be free beside the ballast before the disk counts as well again.
const SPARE_BYTES: u64 = 1024 * 1024;
/// Bytes written at a time.
const CHUNK: usize = 64 * 1024;

/// A file of bytes that no file system can compress or leave out.
#[derive(Debug)]
pub(super) struct Ballast {
    path: PathBuf,
    bytes: u64,
}

impl Ballast {
    /// Beside the store.
    pub(super) fn beside(store: &Path, bytes: u64) -> Self {
        Self { path: store.with_extension("ballast"), bytes }
    }
    /// Makes the file unless it is there; an error means that the disk has no room for it and a little more.
    pub(super) fn restore(&self) -> io::Result<()> {
        if std::fs::metadata(&self.path).is_ok_and(|it| it.len() == self.bytes) {
            return Ok(());
        }
        let new = self.path.with_extension("ballast-new");
        let spare = self.path.with_extension("ballast-spare");
        let made = fill(&new, self.bytes)
            .and_then(|()| fill(&spare, SPARE_BYTES.min(self.bytes)))
            .and_then(|()| rename(&new, &self.path));
        let _ = remove_file(&spare);
        if made.is_err() {
            let _ = remove_file(&new);
        }
        made
    }
    /// Gives the room up.
    pub(super) fn free(&self) {
        let _ = remove_file(&self.path);
    }
}

fn fill(path: &Path, bytes: u64) -> io::Result<()> {
    let mut file = File::create(path)?;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut left = bytes;
    let mut chunk = vec![0_u8; CHUNK];
    while left > 0 {
        for word in chunk.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        let length = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        file.write_all(&chunk[..length])?;
        left -= length as u64;
    }
    file.sync_all()
}
