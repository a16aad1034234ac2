//! Files of the real file system: written beside their place and renamed, made durable once at the end of a run.

use model::ContentHash;
use nix::{
    sys::stat::{Mode, SFlag, major, makedev, minor, mknod},
    unistd::syncfs,
};
use resources::host::{
    Attributes, Command, Exit, FileKind, LIST_ENTRIES_MAX, Links, READ_BYTES_MAX, Special, Stat,
};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs::{self, File, Metadata, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt, chown, fchown, lchown, symlink},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Symbolic links in a row that are followed.
const LINKS_MAX: usize = 40;
/// Up to this many files are synced one by one; more are synced with their whole file system.
const SYNC_FILES_MAX: usize = 8;
/// Permissions of what is new.
const FILE_MODE: u32 = 0o644;
const FOLDER_MODE: u32 = 0o755;
const SPECIAL_MODE: u32 = 0o600;
/// Longest that a move to another file system may take.
const MOVE_TIMEOUT_MS: u64 = 3_600_000;

/// What goes into a file.
#[derive(Debug)]
pub(crate) enum Input<'a> {
    Bytes(&'a [u8]),
    File(File),
}

pub(crate) fn stat(path: &Path, links: Links) -> io::Result<Option<Stat>> {
    let found = match links {
        Links::Follow => fs::metadata(path),
        Links::Keep => fs::symlink_metadata(path),
    };
    match found {
        Ok(it) => Ok(Some(stat_of(&it))),
        Err(error) if nothing_there(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn nothing_there(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn stat_of(it: &Metadata) -> Stat {
    let kind = it.file_type();
    let special = kind.is_block_device() || kind.is_char_device() || kind.is_fifo() || kind.is_socket();
    let kind = match () {
        () if special => FileKind::Other,
        () if kind.is_dir() => FileKind::Directory,
        () if kind.is_symlink() => FileKind::Symlink,
        () => FileKind::File,
    };
    Stat {
        kind,
        mode: it.mode() & 0o7777,
        uid: it.uid(),
        gid: it.gid(),
        size: it.len(),
        accessed_s: it.atime(),
        modified_s: it.mtime(),
        identity: (it.dev(), it.ino()),
        special: special_of(it),
    }
}

fn special_of(it: &Metadata) -> Option<Special> {
    let number = |part: u64| u32::try_from(part).unwrap_or_default();
    let kind = it.file_type();
    let (first, second) = (number(major(it.rdev())), number(minor(it.rdev())));
    match () {
        () if kind.is_fifo() => Some(Special::Pipe),
        () if kind.is_block_device() => Some(Special::Block(first, second)),
        () if kind.is_char_device() => Some(Special::Character(first, second)),
        () => None,
    }
}

pub(crate) fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(READ_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > READ_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the file is longer than 64 MiB"));
    }
    Ok(bytes)
}

pub(crate) fn hash(path: &Path) -> io::Result<ContentHash> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(ContentHash(hasher.finalize().into())),
            length => hasher.update(&buffer[..length]),
        }
    }
}

pub(crate) fn list(path: &Path) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        names.push(entry?.file_name());
        if names.len() > LIST_ENTRIES_MAX {
            return Err(io::Error::other("the folder has more than 100,000 entries"));
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Writes beside the place and renames: readers see the old file or the new one. Gives the place, links followed.
pub(crate) fn write(path: &Path, input: Input<'_>, how: Attributes, links: Links) -> io::Result<PathBuf> {
    let place = match links {
        Links::Follow => followed(path)?,
        Links::Keep => path.to_owned(),
    };
    let old = stat(&place, Links::Keep)?.filter(|it| it.kind == FileKind::File);
    let folder = place.parent().ok_or(io::ErrorKind::IsADirectory)?;
    let mut draft = tempfile::Builder::new().prefix(".labctl-").tempfile_in(folder)?;
    match input {
        Input::Bytes(bytes) => draft.write_all(bytes)?,
        Input::File(mut file) => io::copy(&mut file, draft.as_file_mut()).map(drop)?,
    }
    let new = draft.as_file().metadata()?;
    let uid = how.uid.or(old.map(|it| it.uid)).filter(|it| *it != new.uid());
    let gid = how.gid.or(old.map(|it| it.gid)).filter(|it| *it != new.gid());
    if uid.is_some() || gid.is_some() {
        fchown(draft.as_file(), uid, gid)?;
    }
    let mode = how.mode.or(old.map(|it| it.mode)).unwrap_or(FILE_MODE);
    draft.as_file().set_permissions(Permissions::from_mode(mode))?;
    draft.persist(&place).map_err(|error| error.error)?;
    Ok(place)
}

/// Where the links at the end of a path lead, also if nothing is there.
fn followed(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        match fs::read_link(&path) {
            Ok(target) => path = path.parent().unwrap_or(Path::new("/")).join(target),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput || nothing_there(&error) => {
                return Ok(path);
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("too many symbolic links"))
}

pub(crate) fn make_directory(path: &Path, how: Attributes) -> io::Result<()> {
    let mode = how.mode.unwrap_or(FOLDER_MODE);
    // Nobody else gets in before it has its owner.
    fs::DirBuilder::new().mode(mode & 0o700).create(path)?;
    set(path, Attributes { mode: Some(mode), ..how }, Links::Keep)
}

pub(crate) fn make_symlink(path: &Path, target: &Path) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::IsADirectory)?;
    let draft = tempfile::Builder::new().prefix(".labctl-").make_in(folder, |it| symlink(target, it))?;
    let draft = draft.into_temp_path();
    fs::rename(&draft, path)?;
    // It has another name now.
    draft.keep().map(drop).map_err(|error| error.error)
}

pub(crate) fn hard_link(path: &Path, target: &Path) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::IsADirectory)?;
    let draft =
        tempfile::Builder::new().prefix(".labctl-").make_in(folder, |it| fs::hard_link(target, it))?;
    let draft = draft.into_temp_path();
    fs::rename(&draft, path)?;
    // Two names of one file are not renamed but left, both.
    let _ = fs::remove_file(&draft);
    draft.keep().map(drop).map_err(|error| error.error)
}

pub(crate) fn make_special(path: &Path, special: Special, how: Attributes) -> io::Result<()> {
    let (kind, device) = match special {
        Special::Pipe => (SFlag::S_IFIFO, 0),
        Special::Block(major, minor) => (SFlag::S_IFBLK, makedev(major.into(), minor.into())),
        Special::Character(major, minor) => (SFlag::S_IFCHR, makedev(major.into(), minor.into())),
    };
    mknod(path, kind, Mode::S_IRUSR | Mode::S_IWUSR, device)?;
    set(path, Attributes { mode: Some(how.mode.unwrap_or(SPECIAL_MODE)), ..how }, Links::Keep)
}

pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            let argv = ["mv", "--no-target-directory", "--", &from.to_string_lossy(), &to.to_string_lossy()];
            let argv = argv.map(str::to_owned).to_vec();
            let (exit, output) =
                super::ask(&Command { argv, timeout_ms: MOVE_TIMEOUT_MS, ..Command::default() })?;
            if exit == Exit::Code(0) { Ok(()) } else { Err(io::Error::other(output.stderr)) }
        }
        other => other,
    }
}

pub(crate) fn set_times(path: &Path, accessed_s: Option<i64>, modified_s: Option<i64>) -> io::Result<()> {
    let time = |seconds: Option<i64>| match seconds {
        None => SystemTime::now(),
        Some(it) if it < 0 => UNIX_EPOCH - Duration::from_secs(it.unsigned_abs()),
        Some(it) => UNIX_EPOCH + Duration::from_secs(it.unsigned_abs()),
    };
    let times = fs::FileTimes::new().set_accessed(time(accessed_s)).set_modified(time(modified_s));
    File::open(path)?.set_times(times)
}

pub(crate) fn set(path: &Path, how: Attributes, links: Links) -> io::Result<()> {
    let found = match links {
        Links::Follow => fs::metadata(path)?,
        Links::Keep => fs::symlink_metadata(path)?,
    };
    let uid = how.uid.filter(|it| *it != found.uid());
    let gid = how.gid.filter(|it| *it != found.gid());
    let owned = uid.is_some() || gid.is_some();
    match links {
        Links::Follow if owned => chown(path, uid, gid)?,
        Links::Keep if owned => lchown(path, uid, gid)?,
        _ => (),
    }
    let now = found.mode() & 0o7777;
    let mode = how.mode.unwrap_or(now);
    // A new owner takes the set-user-id bits away.
    if !found.file_type().is_symlink() && (mode != now || owned) {
        fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    Ok(())
}

pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(it) if it.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    removed.or_else(|error| if nothing_there(&error) { Ok(()) } else { Err(error) })
}

/// What has to be made durable.
#[derive(Debug, Default)]
pub(crate) struct Written {
    files: BTreeSet<PathBuf>,
    folders: BTreeSet<PathBuf>,
}

impl Written {
    /// A file has new contents, and a name.
    pub(crate) fn file(&mut self, path: PathBuf) {
        self.name(&path);
        self.files.insert(path);
    }
    /// A name came, went or got new permissions.
    pub(crate) fn name(&mut self, path: &Path) {
        self.folders.extend(path.parent().map(Path::to_owned));
    }
    /// Returns when all of it is on the disk.
    pub(crate) fn settle(&mut self) -> io::Result<()> {
        let files = std::mem::take(&mut self.files);
        let folders = std::mem::take(&mut self.folders);
        if files.len() <= SYNC_FILES_MAX {
            files.iter().chain(&folders).try_for_each(|path| present(File::open(path)?.sync_all()))
        } else {
            let mut systems = BTreeMap::new();
            for folder in folders {
                if let Ok(file) = File::open(folder) {
                    systems.entry(file.metadata()?.dev()).or_insert(file);
                }
            }
            systems.into_values().try_for_each(|it| syncfs(it).map_err(io::Error::from))
        }
        .or_else(|error| if nothing_there(&error) { Ok(()) } else { Err(error) })
    }
}

/// File systems that cannot sync a folder say so.
fn present(synced: io::Result<()>) -> io::Result<()> {
    synced.or_else(|error| if error.kind() == io::ErrorKind::InvalidInput { Ok(()) } else { Err(error) })
}
