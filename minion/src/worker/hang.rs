//! A sign of life of a worker, and how long there was none.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

/// Between two signs of life.
const BEAT_EVERY: Duration = Duration::from_secs(10);
/// A worker without a sign of life for so long hangs: whatever takes longer, such as a command, gives signs of life.
pub const HANG_LIMIT: Duration = Duration::from_hours(1);

/// The worker's side: the time of a file.
#[derive(Debug)]
pub(super) struct Pulse {
    path: Option<PathBuf>,
    last: Mutex<Instant>,
}

impl Pulse {
    pub(super) fn new(path: Option<PathBuf>) -> Self {
        Self { path, last: Mutex::new(Instant::now()) }
    }

    /// Called wherever the run asks whether it is to go on.
    pub(super) fn beat(&self) {
        let Some(path) = &self.path else { return };
        let Ok(mut last) = self.last.lock() else { return };
        if last.elapsed() >= BEAT_EVERY {
            *last = Instant::now();
            // A sign that cannot be given is missed only after a long time.
            let _ = File::options().append(true).open(path).and_then(|it| it.set_modified(SystemTime::now()));
        }
    }
}

/// The agent's side. It judges by its own clock: the machine's may be set at any time.
#[derive(Debug)]
pub(super) struct Silence {
    limit: Duration,
    seen: Option<SystemTime>,
    since: Instant,
    over: bool,
}

impl Silence {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, seen: None, since: Instant::now(), over: false }
    }

    /// Whether the last sign of life is too long ago; said once.
    pub(super) fn is_too_long(&mut self, path: &Path) -> bool {
        let seen = std::fs::metadata(path).and_then(|it| it.modified()).ok();
        if seen != self.seen {
            (self.seen, self.since) = (seen, Instant::now());
        }
        let too_long = !self.over && self.since.elapsed() > self.limit;
        self.over |= too_long;
        too_long
    }

    /// What to say of the worker's end, if it was killed for that.
    pub(super) fn reason(&self) -> Option<String> {
        let minutes = self.limit.as_secs().div_ceil(60);
        self.over.then(|| format!("the worker gave no sign of life for {minutes} minutes and was killed"))
    }
}
