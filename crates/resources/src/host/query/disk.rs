//! What is asked about disks: `lsblk`, `sfdisk` and `wipefs` answer, in JSON.

use super::plain;
use crate::host::Command;

/// A read-only question about a device, or an image file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// The device and what is on top of it: type, size, where it is mounted.
    Device(String),
    /// All signatures on it: file systems, partition tables, members of something.
    Signatures(String),
    /// Its partition table; ends with 1 if there is none.
    Partitions(String),
}

impl Question {
    pub(super) fn command(&self) -> Command {
        match self {
            Self::Device(path) => {
                let columns = "NAME,PATH,TYPE,SIZE,RO,FSTYPE,LABEL,UUID,MOUNTPOINTS";
                plain(&["lsblk", "--json", "--bytes", "--output", columns, "--", path])
            }
            Self::Signatures(path) => plain(&["wipefs", "--no-act", "--json", "--", path]),
            Self::Partitions(path) => plain(&["sfdisk", "--json", "--", path]),
        }
    }
}
