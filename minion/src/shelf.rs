//! What jobs altered, as it was before: a folder for each, with a log and the contents. Root's alone to read.

use crate::linux::open_in;
use model::{ContentHash, JobId};
use resources::keep::{Kept, State};
use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::SystemTime,
};

/// Jobs that can be undone; of older ones nothing is kept.
pub const JOBS_MAX: usize = 20;
/// Bytes of all of them together; the oldest go first.
pub const BYTES_MAX: u64 = 256 << 20;
/// Longest log that is read.
const LOG_BYTES_MAX: u64 = 64 << 20;
/// The log in a job's folder.
const LOG: &str = "log.jsonl";

/// The folder of all jobs, and the job that runs.
#[derive(Debug)]
pub struct Shelf {
    dir: PathBuf,
    job: Option<JobId>,
    /// Paths that the log has already.
    seen: BTreeSet<PathBuf>,
    log: Option<File>,
    /// Whether what is kept is made durable before it is altered.
    way_back: bool,
    /// Whether there are lines that are not.
    loose: bool,
}

impl Shelf {
    /// In this folder, for the run of this job; without one nothing is kept. What an earlier attempt at it kept stays.
    pub fn open(dir: &Path, job: Option<JobId>) -> io::Result<Self> {
        let mut shelf = Self {
            dir: dir.to_owned(),
            job,
            seen: BTreeSet::new(),
            log: None,
            way_back: false,
            loose: false,
        };
        let lines = job.map(|it| shelf.kept(it)).transpose()?.flatten().unwrap_or_default();
        shelf.seen.extend(lines.into_iter().filter(|it| !it.after).map(|it| it.path));
        Ok(shelf)
    }

    /// For a run with a way back: it must be possible to put back what it alters even if the machine dies in the middle.
    #[must_use]
    pub fn with_way_back(self, way_back: bool) -> Self {
        // What an earlier attempt kept may not be durable yet.
        Self { way_back, loose: !self.seen.is_empty(), ..self }
    }

    /// Whether the run has a way back.
    pub fn has_way_back(&self) -> bool {
        self.way_back
    }

    /// Whether it is open for a job.
    pub fn is_keeping(&self) -> bool {
        self.job.is_some()
    }

    fn job_dir(&self, job: JobId) -> PathBuf {
        self.dir.join(job.to_string())
    }

    /// Adds a line: the first of how a path was, and each of how the run left it; the contents before it.
    pub fn keep(&mut self, kept: &Kept, contents: Option<&[u8]>) -> io::Result<()> {
        let Some(job) = self.job else { return Ok(()) };
        if !kept.after && !self.seen.insert(kept.path.clone()) {
            return Ok(());
        }
        if self.log.is_none() {
            self.begin(job)?;
        }
        if let (State::File { hash, .. } | State::Rules { hash }, Some(bytes)) = (&kept.state, contents) {
            // Beside its place and renamed: what a crash leaves torn is no content.
            let draft = self.job_dir(job).join("draft");
            let mut file = private(&draft)?;
            file.write_all(bytes)?;
            if self.way_back {
                file.sync_all()?;
            }
            fs::rename(&draft, self.job_dir(job).join(hash.to_string()))?;
        }
        let mut line = serde_json::to_vec(kept)?;
        line.push(b'\n');
        self.loose = true;
        self.log.as_mut().map_or(Ok(()), |log| log.write_all(&line))
    }

    /// With a way back: makes durable what was kept so far, the log behind the contents that it names.
    pub fn secure(&mut self) -> io::Result<()> {
        if !self.way_back || !self.loose {
            return Ok(());
        }
        if let Some(job) = self.job {
            let dir = self.job_dir(job);
            File::open(&dir)?.sync_all()?;
            File::open(dir.join(LOG))?.sync_all()?;
        }
        self.loose = false;
        Ok(())
    }

    fn begin(&mut self, job: JobId) -> io::Result<()> {
        let dir = self.job_dir(job);
        let is_new = !dir.exists();
        DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        if is_new {
            self.forget_oldest(&dir)?;
            if self.way_back {
                for dir in [Some(&*self.dir), self.dir.parent()].into_iter().flatten() {
                    File::open(dir)?.sync_all()?;
                }
            }
        }
        let mut log = OpenOptions::new().append(true).create(true).mode(0o600).open(dir.join(LOG))?;
        // A line that was torn by the end of an earlier attempt stays alone.
        if log.metadata()?.len() > 0 {
            log.write_all(b"\n")?;
        }
        self.log = Some(log);
        Ok(())
    }

    /// Makes room: the oldest jobs go.
    fn forget_oldest(&self, own: &Path) -> io::Result<()> {
        let mut jobs: Vec<(SystemTime, PathBuf, u64)> = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let modified = entry.metadata()?.modified()?;
            let sizes = fs::read_dir(entry.path()).into_iter().flatten().flatten();
            let size = sizes.filter_map(|it| it.metadata().ok()).map(|it| it.len()).sum();
            jobs.push((modified, entry.path(), size));
        }
        jobs.sort();
        let (mut count, mut bytes) = (jobs.len(), jobs.iter().map(|it| it.2).sum::<u64>());
        for (_, path, size) in jobs.into_iter().filter(|it| it.1 != own) {
            if count <= JOBS_MAX && bytes <= BYTES_MAX {
                break;
            }
            fs::remove_dir_all(&path)?;
            count -= 1;
            bytes -= size;
        }
        Ok(())
    }

    /// Makes it durable.
    pub fn settle(&self) -> io::Result<()> {
        self.log.as_ref().map_or(Ok(()), File::sync_all)
    }

    /// What a job kept.
    pub fn kept(&self, job: JobId) -> io::Result<Option<Vec<Kept>>> {
        let file = match open_in(&self.job_dir(job), LOG) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut text = Vec::new();
        file.take(LOG_BYTES_MAX).read_to_end(&mut text)?;
        let lines = text.split(|it| *it == b'\n').filter(|it| !it.is_empty());
        // A torn line is that of a change which was not made.
        Ok(Some(lines.filter_map(|it| serde_json::from_slice(it).ok()).collect()))
    }

    /// Contents that it kept.
    pub fn contents(&self, job: JobId, hash: ContentHash) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        open_in(&self.job_dir(job), &hash.to_string())?.read_to_end(&mut bytes)?;
        if bus::seed::sha256(&bytes) != hash {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "what was kept is damaged"));
        }
        Ok(bytes)
    }
}

fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(path: &str, state: State) -> Kept {
        Kept { path: PathBuf::from(path), state, after: false }
    }

    #[test]
    fn the_first_line_of_a_path_counts_also_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let hash = bus::seed::sha256(b"old");
        let old = State::File { mode: 0o600, uid: 0, gid: 0, hash };
        let mut shelf = Shelf::open(dir.path(), Some(JobId(7))).unwrap();
        shelf.keep(&line("/a", old.clone()), Some(b"old")).unwrap();
        let log = dir.path().join(JobId(7).to_string()).join(LOG);
        OpenOptions::new().append(true).open(log).unwrap().write_all(b"{\"path\":\"/to").unwrap();

        let mut shelf = Shelf::open(dir.path(), Some(JobId(7))).unwrap();
        shelf.keep(&line("/a", State::Absent), None).unwrap();
        shelf.keep(&line("/b", State::Absent), None).unwrap();
        shelf.settle().unwrap();
        let kept = shelf.kept(JobId(7)).unwrap().unwrap();
        assert_eq!(kept, [line("/a", old), line("/b", State::Absent)]);
        assert_eq!(shelf.contents(JobId(7), hash).unwrap(), b"old");
        assert_eq!(shelf.kept(JobId(8)).unwrap(), None);
    }

    #[test]
    fn with_a_way_back_whatever_is_kept_is_made_durable_also_what_an_earlier_attempt_left() {
        let dir = tempfile::tempdir().unwrap();
        for (way_back, is_loose) in [(false, true), (true, false)] {
            let open = || Shelf::open(dir.path(), Some(JobId(7))).unwrap().with_way_back(way_back);
            let mut shelf = open();
            shelf.keep(&line("/a", State::Absent), None).unwrap();
            assert!(shelf.loose, "it says what is not durable");
            shelf.secure().unwrap();
            assert_eq!(shelf.loose, is_loose, "way back: {way_back}");
            // This attempt died before it could.
            let mut again = open();
            assert!(again.loose);
            again.keep(&line("/a", State::Absent), None).unwrap();
            again.secure().unwrap();
            assert_eq!(again.loose, is_loose, "way back: {way_back}");
        }
    }

    #[test]
    fn only_the_newest_jobs_are_kept_and_damage_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let hash = bus::seed::sha256(b"x");
        for job in 0..=JOBS_MAX as u128 {
            let state = State::File { mode: 0o600, uid: 0, gid: 0, hash };
            Shelf::open(dir.path(), Some(JobId(job))).unwrap().keep(&line("/a", state), Some(b"x")).unwrap();
        }
        let shelf = Shelf::open(dir.path(), Some(JobId(99))).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), JOBS_MAX);
        let newest = JobId(JOBS_MAX as u128);
        fs::write(dir.path().join(newest.to_string()).join(hash.to_string()), "y").unwrap();
        assert_eq!(shelf.contents(newest, hash).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
