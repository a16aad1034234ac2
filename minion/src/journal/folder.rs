//! A journal in a folder: a file that is appended to, replaced by renaming, and ballast beside it.

use super::{HEADER, JournalError, Medium, io_error};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The file `journal.jsonl` of a folder, open.
#[derive(Debug)]
pub struct Folder {
    dir: PathBuf,
    file: File,
}

impl Folder {
    /// Opens the file, or makes it; the folder exists.
    pub(super) fn open(dir: &Path) -> Result<Self, JournalError> {
        let path = dir.join("journal.jsonl");
        let file = private(OpenOptions::new().read(true).write(true).create(true).truncate(false))
            .open(&path)
            .map_err(io_error("open", &path))?;
        if file.metadata().is_ok_and(|it| it.len() < HEADER.len() as u64) {
            sync_dir(dir)?;
        }
        Ok(Self { dir: dir.to_owned(), file })
    }

    fn ballast(&self) -> PathBuf {
        self.dir.join("ballast")
    }
}

impl Medium for Folder {
    fn path(&self) -> PathBuf {
        self.dir.join("journal.jsonl")
    }

    fn read(&mut self) -> io::Result<Box<dyn Read + '_>> {
        self.file.seek(SeekFrom::Start(0))?;
        Ok(Box::new(&mut self.file))
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)?;
        self.file.seek(SeekFrom::Start(length)).map(drop)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn replace(&mut self, bytes: &[u8]) -> Result<(), JournalError> {
        let fresh = self.dir.join("journal.new");
        let file = write_fresh(&fresh, bytes).inspect_err(|_| {
            let _ = std::fs::remove_file(&fresh);
        })?;
        let path = self.path();
        std::fs::rename(&fresh, &path).map_err(io_error("replace", &path))?;
        sync_dir(&self.dir)?;
        self.file = file;
        Ok(())
    }

    fn keep_damaged(&mut self) -> io::Result<PathBuf> {
        let aside = self.dir.join("journal.damaged");
        std::fs::copy(self.path(), &aside).map(|_| aside)
    }

    fn keep_ballast(&mut self, bytes: u64) {
        let path = self.ballast();
        if std::fs::metadata(&path).map_or(0, |it| it.len()) < bytes {
            let written = private(OpenOptions::new().write(true).create(true).truncate(true))
                .open(&path)
                .and_then(|mut file| io::copy(&mut io::repeat(b'.').take(bytes), &mut file));
            if written.is_err() {
                let _ = std::fs::remove_file(&path);
            }
        }
    }

    fn give_up_ballast(&mut self) -> bool {
        std::fs::remove_file(self.ballast()).is_ok()
    }
}

fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(0o600)
}

/// A new file, synced.
fn write_fresh(path: &Path, bytes: &[u8]) -> Result<File, JournalError> {
    let mut file = private(OpenOptions::new().read(true).write(true).create(true).truncate(true))
        .open(path)
        .map_err(io_error("open", path))?;
    file.write_all(bytes).map_err(io_error("write", path))?;
    // Nothing was promised of it: a disk that is found to be full only now is survived too.
    file.sync_data().map_err(io_error("store", path))?;
    Ok(file)
}

/// Makes a rename or a new file in `dir` last.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), JournalError> {
    File::open(dir).and_then(|it| it.sync_all()).map_err(io_error("sync", dir))
}
