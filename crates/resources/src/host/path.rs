//! What is at a path.

/// What to do with a symbolic link at the end of a path. Links on the way are always followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// Go where it points.
    Follow,
    /// It is meant itself.
    Keep,
}

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A folder.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device, a socket, a pipe.
    Other,
}

impl FileKind {
    /// For people: `a folder`.
    pub fn describe(self) -> &'static str {
        match self {
            Self::File => "a file",
            Self::Directory => "a folder",
            Self::Symlink => "a symbolic link",
            Self::Other => "a device, socket or pipe",
        }
    }
}

/// What is known of a path without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: FileKind,
    /// The lowest twelve bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// Last read, in seconds since 1970.
    pub accessed_s: i64,
    /// Last written, in seconds since 1970.
    pub modified_s: i64,
    /// Equal for two names of one file: file system and number in it.
    pub identity: (u64, u64),
    /// What a device or a pipe is.
    pub special: Option<Special>,
}

/// A thing with a name in the file system that holds no bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// A pipe.
    Pipe,
    /// A block device: major and minor number.
    Block(u32, u32),
    /// A character device: major and minor number.
    Character(u32, u32),
}
