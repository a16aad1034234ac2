//! What was at a path before a run altered it, how units stood and what the packet filter held: kept, so that the job
//! can be undone.

mod system;

pub use system::UnitState;
pub(crate) use system::{Filter, Rules, plain_name, unit_state};

use crate::{
    Host, Probe,
    diff::hash_of,
    host::{FileKind, Links, READ_BYTES_MAX, Stat},
};
use model::ContentHash;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
};

/// A file that is longer is not kept.
pub const KEPT_FILE_BYTES_MAX: u64 = 8 << 20;
/// Paths of one run that are kept, and folders within folders that are looked into.
pub const KEPT_PATHS_MAX: usize = 20_000;
const DEPTH_MAX: usize = 64;
/// Contents of one run that are kept.
pub const KEPT_RUN_BYTES_MAX: u64 = 64 << 20;
/// Links in a row that are followed.
const LINKS_MAX: usize = 20;

/// What is at a path, with everything that can be put back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing.
    Absent,
    /// A file.
    File {
        /// Permission bits.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
        /// Its contents.
        hash: ContentHash,
    },
    /// A symbolic link.
    Link {
        /// Where it points, as written.
        target: PathBuf,
    },
    /// A folder, whatever is in it.
    Folder {
        /// Permission bits.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
    /// A device, a socket, a pipe, or a file that is too long to be kept.
    Other,
    /// Not a path: how a unit stood; its name is behind `unit/`.
    Unit(UnitState),
    /// Not a path: that a unit was restarted, or reloaded only; its name is behind `again/`.
    Again {
        /// Reloaded only.
        reload: bool,
    },
    /// Not a path: all rules of a packet filter, which is named behind `rules/`.
    Rules {
        /// Their text.
        hash: ContentHash,
    },
}

impl State {
    /// For people: `a file`.
    pub(crate) fn describe(&self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::File { .. } => FileKind::File.describe(),
            Self::Link { .. } => FileKind::Symlink.describe(),
            Self::Folder { .. } => FileKind::Directory.describe(),
            Self::Other | Self::Unit(_) | Self::Again { .. } | Self::Rules { .. } => {
                "something that was not kept"
            }
        }
    }
}

/// A line of what a run keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Where.
    pub path: PathBuf,
    /// What was there before the run altered it first, or (`after`) when the run had ended.
    pub state: State,
    /// Whether the run had ended.
    #[serde(default)]
    pub after: bool,
}

/// What is at `path` now; its contents too if they are wanted and can be kept.
pub(crate) fn state(host: &dyn Probe, path: &Path, wanted: bool) -> io::Result<(State, Option<Vec<u8>>)> {
    let Some(Stat { kind, mode, uid, gid, size, .. }) = host.stat(path, Links::Keep)? else {
        return Ok((State::Absent, None));
    };
    Ok(match kind {
        FileKind::Directory => (State::Folder { mode, uid, gid }, None),
        FileKind::Symlink => (State::Link { target: host.read_link(path)? }, None),
        FileKind::File if wanted && size <= KEPT_FILE_BYTES_MAX => {
            let bytes = host.read(path)?;
            (State::File { mode, uid, gid, hash: hash_of(&bytes) }, Some(bytes))
        }
        FileKind::File if !wanted && size <= READ_BYTES_MAX => {
            (State::File { mode, uid, gid, hash: host.hash(path)? }, None)
        }
        FileKind::File | FileKind::Other => (State::Other, None),
    })
}

/// The place that a write to `path` reaches.
fn place(host: &dyn Probe, path: &Path, links: Links) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        let is_link = host.stat(&path, Links::Keep)?.is_some_and(|it| it.kind == FileKind::Symlink);
        if links == Links::Keep || !is_link {
            return Ok(path);
        }
        let target = host.read_link(&path)?;
        path = path.parent().unwrap_or(Path::new("/")).join(target);
    }
    Err(io::Error::other("too many links"))
}

/// What one run has kept so far.
#[derive(Debug, Default)]
pub(crate) struct Keeper {
    paths: BTreeSet<PathBuf>,
    bytes: u64,
}

impl Keeper {
    /// Called before `path` is altered: keeps what is there, once.
    pub(crate) fn before(&mut self, host: &mut dyn Host, path: &Path, links: Links) -> io::Result<()> {
        if !host.is_keeping() {
            return Ok(());
        }
        let path = place(host, path, links)?;
        self.keep(host, path)?;
        host.secure_kept()
    }

    /// Called before `path` is removed with everything in it.
    pub(crate) fn before_removal(&mut self, host: &mut dyn Host, path: &Path) -> io::Result<()> {
        if !host.is_keeping() {
            return Ok(());
        }
        let mut waiting = vec![(path.to_owned(), 0)];
        while let Some((path, depth)) = waiting.pop() {
            let stat = host.stat(&path, Links::Keep)?;
            if stat.is_some_and(|it| it.kind == FileKind::Directory) && depth < DEPTH_MAX {
                let names = host.list(&path)?;
                waiting.extend(names.into_iter().rev().map(|it| (path.join(it), depth + 1)));
            }
            self.keep(host, path)?;
            if self.paths.len() > KEPT_PATHS_MAX {
                break;
            }
        }
        host.secure_kept()
    }

    /// Called before `from` and everything in it becomes `to`.
    pub(crate) fn before_rename(&mut self, host: &mut dyn Host, from: &Path, to: &Path) -> io::Result<()> {
        if !host.is_keeping() {
            return Ok(());
        }
        self.before_removal(host, from)?;
        self.keep(host, to.to_owned())?;
        let inside = self.paths.range(from.to_owned()..).take_while(|it| it.starts_with(from));
        let moved: Vec<PathBuf> =
            inside.filter_map(|it| it.strip_prefix(from).ok()).map(|it| to.join(it)).collect();
        for path in moved {
            if self.paths.insert(path.clone()) {
                host.keep(&Kept { path, state: State::Absent, after: false }, None)?;
            }
        }
        host.secure_kept()
    }

    fn keep(&mut self, host: &mut dyn Host, path: PathBuf) -> io::Result<()> {
        if self.paths.contains(&path) || self.paths.len() > KEPT_PATHS_MAX {
            return Ok(());
        }
        let (mut state, mut contents) = state(host, &path, true)?;
        self.bytes += contents.as_ref().map_or(0, |it| it.len() as u64);
        // The last line says where keeping ended.
        if self.bytes > KEPT_RUN_BYTES_MAX || self.paths.len() == KEPT_PATHS_MAX {
            (state, contents) = (State::Other, None);
        }
        host.keep(&Kept { path: path.clone(), state, after: false }, contents.as_deref())?;
        self.paths.insert(path);
        Ok(())
    }

    /// Called when the run has ended: how it left what it altered, so that an undo sees what was altered since.
    pub(crate) fn after(&self, host: &mut dyn Host) -> io::Result<()> {
        for path in &self.paths {
            let state = if path.is_absolute() {
                state(host, path, false)?.0
            } else {
                let Some(state) = system::state(host, path)? else { continue };
                state.0
            };
            host.keep(&Kept { path: path.clone(), state, after: true }, None)?;
        }
        Ok(())
    }
}
