//! The process of a worker, by which it and what it started can be ended, and no stranger: a number is given to another
//! process when its own has ended.

use crate::linux::processes::{self, Process};
use crate::linux::system::{kill_group, kill_process};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, sleep};

/// In the job's folder: number, start and boot of the worker that was started last.
const FILE: &str = "process";
/// A worker gives signs of life more often than this, so that what it started began this long after one at most.
const SIGN_WITHIN: Duration = Duration::from_secs(20);
/// Until killed processes must be gone.
const END_LIMIT: Duration = Duration::from_secs(5);
/// Between two looks at them.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The first process of a worker's session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leader {
    id: i32,
    /// Hundredths of a second from boot to its start, and which boot. A release before this one did not write them.
    since: Option<(u64, String)>,
}

impl Leader {
    /// Notes a process that was started right now.
    pub(super) fn note(dir: &Path, id: u32) -> io::Result<()> {
        let process = processes::look(id.cast_signed()).ok_or(io::ErrorKind::NotFound)?;
        std::fs::write(dir.join(FILE), format!("{id} {} {}", process.start, processes::boot()))
    }

    /// Forgets what was noted: another one is about to be started.
    pub(super) fn forget(dir: &Path) {
        let _ = std::fs::remove_file(dir.join(FILE));
    }

    /// What was noted last.
    pub(super) fn read(dir: &Path) -> io::Result<Self> {
        let text = std::fs::read_to_string(dir.join(FILE))?;
        let mut words = text.split_whitespace();
        let id = words.next().and_then(|it| it.parse::<i32>().ok()).filter(|it| *it > 1);
        let id = id.ok_or_else(|| io::Error::other("`process` holds no process id"))?;
        let since = words.next().and_then(|it| it.parse().ok()).zip(words.next().map(str::to_owned));
        Ok(Self { id, since })
    }

    /// Whether it is one that gives signs of life: a release that noted no more than the number did not know of them.
    pub(super) fn beats(&self) -> bool {
        self.since.is_some()
    }

    /// The process of that number, if it is this one.
    fn process(&self) -> Option<Process> {
        let (start, boot) = self.since.as_ref()?;
        processes::look(self.id).filter(|it| it.start == *start && *boot == processes::boot())
    }

    /// Kills a worker that is known to be alive, with its commands.
    pub(super) fn kill(&self) -> io::Result<()> {
        if self.since.is_none() {
            return kill_group(self.id);
        }
        let process = self.process().ok_or_else(|| {
            io::Error::other(format!("process {} is another one than the worker that was started", self.id))
        })?;
        // The commands go after it: it must not begin another one.
        let ended = kill_group(self.id);
        if process.session == self.id {
            kill_all(&processes::in_session(self.id));
        }
        ended
    }

    /// Whether the processes of a session of this number are what the worker started. They are if it leads them. If it is
    /// gone, another process may have had its number since: one of them at least must have begun while it lived, of which
    /// `last_sign` is the last that is known.
    fn leads(&self, members: &[Process], last_sign: SystemTime) -> bool {
        let Some((start, boot)) = &self.since else { return false };
        if *boot != processes::boot() {
            return false;
        }
        match members.iter().find(|it| it.id == self.id) {
            Some(leader) => leader.start == *start,
            None => members.iter().any(|it| {
                it.start >= *start && processes::began(it).is_some_and(|at| at <= last_sign + SIGN_WITHIN)
            }),
        }
    }

    /// Ends what a worker that is gone has left running: nothing of it goes on beside what comes next. Says whether all
    /// of it is gone.
    pub(super) async fn end_session(&self, last_sign: SystemTime) -> bool {
        let mut members = processes::in_session(self.id);
        if !self.leads(&members, last_sign) {
            return true;
        }
        let begin = Instant::now();
        while !members.is_empty() {
            if begin.elapsed() > END_LIMIT {
                return false;
            }
            kill_all(&members);
            sleep(LOOK_EVERY).await;
            members = processes::in_session(self.id);
        }
        true
    }
}

fn kill_all(members: &[Process]) {
    for member in members {
        // It may have ended in this moment.
        let _ = kill_process(member.id);
    }
}
