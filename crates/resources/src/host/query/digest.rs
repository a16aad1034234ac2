//! `md5sum`, `sha512sum` and their like: digests other than SHA-256, which needs no program.

use crate::host::{Command, query::TIMEOUT_MS};
use std::path::{Path, PathBuf};

/// How a digest is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// 32 digits.
    Md5,
    /// 40 digits.
    Sha1,
    /// 56 digits.
    Sha224,
    /// 64 digits.
    Sha256,
    /// 96 digits.
    Sha384,
    /// 128 digits.
    Sha512,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Md5, Self::Sha1, Self::Sha224, Self::Sha256, Self::Sha384, Self::Sha512];

    /// As people write it: `sha256`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha224 => "sha224",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }
    /// Hexadecimal digits of a digest.
    pub fn digits(self) -> usize {
        match self {
            Self::Md5 => 32,
            Self::Sha1 => 40,
            Self::Sha224 => 56,
            Self::Sha256 => 64,
            Self::Sha384 => 96,
            Self::Sha512 => 128,
        }
    }
}

/// The digest of a file: on the first line, before a space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// How.
    pub algorithm: Algorithm,
    /// Of which file.
    pub path: PathBuf,
}

impl Digest {
    pub(super) fn command(&self) -> Command {
        let argv = vec![format!("{}sum", self.algorithm.name()), beneath_root(&self.path)];
        Command { argv, timeout_ms: TIMEOUT_MS, ..Command::default() }
    }
}

/// An absolute path as seen from `/`, where commands run: never an option, and beneath the root of a sandbox too.
pub(crate) fn beneath_root(path: &Path) -> String {
    format!("./{}", path.strip_prefix("/").unwrap_or(path).display())
}
