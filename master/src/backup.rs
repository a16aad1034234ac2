//! A backup in one file: what is in it, how it is written while the master works, and how it is looked through.
//!
//! ```text
//! labctl-backup 1
//! {"version":"0.1.0","schema":3,"at":...,"name":"lab","sign":"...","keys":false,"files":[{"path":"store.db",...}]}
//! the files, one after the other
//! sha256 of all before, in hexadecimal digits
//! ```

mod restore;

use crate::init::SetUpError;
use crate::store::{Reader, SCHEMA, StoreError};
use bus::PublicKey;
use model::{ContentHash, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

pub(crate) use restore::cut_off;
pub use restore::restore;

/// First line.
const MAGIC: &str = "labctl-backup 1\n";
/// Bytes of the second line.
const HEADER_MAX: u64 = 64 * 1024;
/// `sha256 `, 64 digits, a line's end.
const TRAILER_BYTES: u64 = 72;
/// Bytes moved at once.
const CHUNK: usize = 64 * 1024;
/// The store, in the backup and in the state folder.
const STORE: &str = "store.db";
/// What belongs to it and is no secret.
const PUBLIC: &[&str] = &["masters.json", "keys/org.pub"];
/// What a master proves itself with. Not the organization's key: a master runs without it, and it is kept elsewhere.
const SECRET: &[&str] = &[
    "keys/master.pem",
    "keys/master-seal.pem",
    "keys/issuer.pem",
    "keys/issuer-seal.pem",
    "keys/tls.pem",
    "keys/tls.crt",
];
/// A backup on its way to whoever asked for it.
const DRAFT: &str = "backup.draft";
/// The store's copy on its way into that.
const DRAFT_STORE: &str = "backup.store";

/// Whether a backup has the keys of the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// Who has it is not the master.
    Left,
    /// Who has it can be the master.
    Included,
}

/// The second line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Release that wrote it.
    pub version: String,
    /// Format of the store.
    pub schema: i32,
    /// When.
    pub at: Timestamp,
    /// The master's name.
    pub name: String,
    /// The key that it signs with: minions believe no other.
    pub sign: String,
    /// Whether the keys are in it.
    pub keys: bool,
    files: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Part {
    path: String,
    bytes: u64,
    sha256: ContentHash,
}

/// Why there is no backup, or none can be used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file system.
    #[error("cannot {action} `{path}`")]
    Io {
        /// An infinitive.
        action: &'static str,
        /// What.
        path: PathBuf,
        /// The system's word.
        #[source]
        source: io::Error,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The keys.
    #[error(transparent)]
    Keys(#[from] SetUpError),
    /// Not ours.
    #[error("`{0}` is no backup of a labmaster")]
    Foreign(PathBuf),
    /// Ours, and no longer what was written.
    #[error("the backup `{path}` is damaged: {says}; take another one")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        says: String,
    },
    /// Written by a later release.
    #[error(
        "the backup `{path}` is of release {version} (store format {schema}), and this labmaster knows formats up to \
         {SCHEMA}: restore it with that release"
    )]
    Later {
        /// Which.
        path: PathBuf,
        /// That release.
        version: String,
        /// Its format.
        schema: i32,
    },
    /// A master works in that folder.
    #[error("a labmaster works in `{0}`: stop it first (systemctl stop labmaster)")]
    Running(PathBuf),
    /// No keys anywhere.
    #[error(
        "the backup has no keys, and there are none in `{0}`: put the folder `keys` back first, or take a backup that \
         was made with --with-keys"
    )]
    NoKeys(PathBuf),
    /// The keys are another master's.
    #[error(
        "the backup is of another master than the keys in `{0}`: minions of the one do not believe the other"
    )]
    OtherKeys(PathBuf),
}

/// Makes backups for a running master.
#[derive(Debug)]
pub struct Maker {
    state_dir: PathBuf,
    name: String,
    sign: String,
    one_at_a_time: std::sync::Mutex<()>,
}

impl Maker {
    /// For the master of this name that signs with this key. What an earlier process left behind is removed.
    pub fn new(state_dir: &Path, name: &str, sign: &PublicKey) -> Self {
        for left in [DRAFT, DRAFT_STORE] {
            let _ = std::fs::remove_file(state_dir.join(left));
        }
        let one_at_a_time = std::sync::Mutex::new(());
        Self { state_dir: state_dir.to_owned(), name: name.to_owned(), sign: sign.to_text(), one_at_a_time }
    }

    /// Writes one, and gives it as a file without a name, to be read from its beginning: whoever asked for it may go
    /// away. Waits for one that is being made. Blocks: not for a runtime's thread.
    pub fn make(&self, reader: &Reader, keys: Keys, at: Timestamp) -> Result<File, BackupError> {
        let _one = self.one_at_a_time.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let store = self.state_dir.join(DRAFT_STORE);
        let draft = self.state_dir.join(DRAFT);
        let made = reader.copy_to(&store).map_err(BackupError::from).and_then(|()| {
            let _ = std::fs::remove_file(&draft);
            let open = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&draft);
            let mut file = open.map_err(io_error("write", &draft))?;
            self.write(&mut file, &store, keys, at)?;
            file.seek(SeekFrom::Start(0)).map_err(io_error("read", &draft))?;
            Ok(file)
        });
        for left in [&draft, &store] {
            let _ = std::fs::remove_file(left);
        }
        made
    }

    fn write(&self, to: &mut File, store: &Path, keys: Keys, at: Timestamp) -> Result<(), BackupError> {
        let secret = if keys == Keys::Included { SECRET } else { &[] };
        let mut sources = vec![(STORE, store.to_owned())];
        for path in PUBLIC.iter().chain(secret) {
            sources.push((path, self.state_dir.join(path)));
        }
        let mut files = Vec::new();
        for (path, from) in &sources {
            let (sha256, bytes) = digest(&mut open(from)?).map_err(io_error("read", from))?;
            files.push(Part { path: (*path).to_owned(), bytes, sha256 });
        }
        let header = Header {
            version: model::VERSION.to_owned(),
            schema: SCHEMA,
            at,
            name: self.name.clone(),
            sign: self.sign.clone(),
            keys: keys == Keys::Included,
            files,
        };
        let draft = self.state_dir.join(DRAFT);
        let failed = io_error("write", &draft);
        let mut to = Sum { to, sum: Sha256::new() };
        let mut write = || -> io::Result<()> {
            to.write_all(MAGIC.as_bytes())?;
            serde_json::to_writer(&mut to, &header)?;
            to.write_all(b"\n")?;
            for (part, (_, from)) in header.files.iter().zip(&sources) {
                let copied = io::copy(&mut File::open(from)?.take(part.bytes), &mut to)?;
                if copied != part.bytes {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            let sum = ContentHash(to.sum.clone().finalize().into());
            writeln!(to.to, "sha256 {sum}")?;
            to.to.sync_all()
        };
        write().map_err(failed)
    }
}

/// A writer that knows the sum of what went through it.
struct Sum<'a> {
    to: &'a mut File,
    sum: Sha256,
}

impl Write for Sum<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.sum.update(&bytes[..written]);
        Ok(written)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// A backup that was looked through: its sum is right, and it holds what a backup may hold.
#[derive(Debug)]
pub struct Backup {
    /// Its second line.
    pub header: Header,
    path: PathBuf,
    file: BufReader<File>,
}

impl Backup {
    /// Looks a file through from its first to its last byte.
    pub fn open(path: &Path) -> Result<Self, BackupError> {
        let failed = || io_error("read", path);
        let damaged = |says: &str| BackupError::Damaged { path: path.to_owned(), says: says.to_owned() };
        let mut file = open(path)?;
        let size = file.metadata().map_err(failed())?.len();
        let mut magic = vec![0; MAGIC.len()];
        if file.read_exact(&mut magic).is_err() || magic != MAGIC.as_bytes() {
            return Err(BackupError::Foreign(path.to_owned()));
        }
        file.seek(SeekFrom::Start(0)).map_err(failed())?;
        let whole = size.checked_sub(TRAILER_BYTES).ok_or_else(|| damaged("it is cut off"))?;
        let (sum, _) = digest(&mut (&file).take(whole)).map_err(failed())?;
        let mut trailer = String::new();
        let told = (&file).take(TRAILER_BYTES).read_to_string(&mut trailer);
        if told.is_err() || trailer != format!("sha256 {sum}\n") {
            return Err(damaged("its checksum is wrong"));
        }
        file.seek(SeekFrom::Start(MAGIC.len() as u64)).map_err(failed())?;
        let mut file = BufReader::new(file);
        let mut line = Vec::new();
        io::BufRead::read_until(&mut (&mut file).take(HEADER_MAX), b'\n', &mut line).map_err(failed())?;
        let header: Header = serde_json::from_slice(&line).map_err(|error| damaged(&error.to_string()))?;
        if !(1..=SCHEMA).contains(&header.schema) {
            let (version, schema) = (header.version, header.schema);
            return Err(BackupError::Later { path: path.to_owned(), version, schema });
        }
        let bytes = header.files.iter().try_fold(0_u64, |sum, it| sum.checked_add(it.bytes));
        if bytes.and_then(|it| it.checked_add((MAGIC.len() + line.len()) as u64)) != Some(whole) {
            return Err(damaged("its files are not as long as it says"));
        }
        let wanted = |keys: bool| {
            let secret = if keys { SECRET } else { &[] };
            std::iter::once(&STORE).chain(PUBLIC).chain(secret)
        };
        if !header.files.iter().map(|it| it.path.as_str()).eq(wanted(header.keys).copied()) {
            return Err(damaged("it does not hold the files of a master"));
        }
        Ok(Self { header, path: path.to_owned(), file })
    }

    /// Writes its files beneath a folder, each with mode 0600 and synced.
    fn unpack(mut self, to: &Path) -> Result<Header, BackupError> {
        for part in &self.header.files {
            let place = to.join(&part.path);
            let failed = || io_error("write", &place);
            if let Some(folder) = place.parent() {
                make_private_dir(folder).map_err(failed())?;
            }
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&place);
            let mut file = file.map_err(failed())?;
            let mut sum = Sum { to: &mut file, sum: Sha256::new() };
            io::copy(&mut (&mut self.file).take(part.bytes), &mut sum).map_err(failed())?;
            if ContentHash(sum.sum.finalize().into()) != part.sha256 {
                let says = format!("`{}` in it is not what it was", part.path);
                return Err(BackupError::Damaged { path: self.path, says });
            }
            file.sync_all().map_err(failed())?;
        }
        Ok(self.header)
    }
}

fn open(path: &Path) -> Result<File, BackupError> {
    File::open(path).map_err(io_error("read", path))
}

/// Sum and length of what is read.
fn digest(from: &mut impl Read) -> io::Result<(ContentHash, u64)> {
    let mut sum = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    let mut size = 0;
    loop {
        let read = from.read(&mut chunk)?;
        if read == 0 {
            return Ok((ContentHash(sum.finalize().into()), size));
        }
        sum.update(&chunk[..read]);
        size += read as u64;
    }
}

fn make_private_dir(path: &Path) -> io::Result<()> {
    std::os::unix::fs::DirBuilderExt::mode(std::fs::DirBuilder::new().recursive(true), 0o700).create(path)
}

fn io_error(action: &'static str, path: &Path) -> impl Fn(io::Error) -> BackupError + use<> {
    let path = path.to_owned();
    move |source| BackupError::Io { action, path: path.clone(), source }
}

#[cfg(test)]
mod tests;
