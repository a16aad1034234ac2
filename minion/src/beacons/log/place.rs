//! Where the journal was read to. It is kept over restarts of the agent, so that what is written meanwhile is seen, once:
//! one short file for each beacon, replaced as a whole, and left to the system to bring to the disk.

use sha2::{Digest, Sha256};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Longest position in the journal; they have about 150 bytes.
const CURSOR_BYTES_MAX: usize = 512;
/// What is older is no news: an agent that was away for longer begins with what comes.
const AGE_MAX: Duration = Duration::from_hours(24);
/// Files of all beacons; those that were not written for longest go first.
const FILES_MAX: usize = 256;
/// How long after a line it is kept, and how often at least, so that its age says how long the agent was away.
const AFTER_LINE: Duration = Duration::from_secs(5);
const AT_LEAST: Duration = Duration::from_hours(1);

/// A place in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
enum At {
    /// Behind this line.
    Cursor(String),
    /// Behind this time, in seconds: no line has come since.
    Time(u64),
}

/// Where a beacon is, and where that is kept.
#[derive(Debug, Default)]
pub(super) struct Place {
    at: Option<At>,
    file: Option<PathBuf>,
    /// When it is to be written.
    due: Option<Duration>,
}

impl Place {
    /// Where the beacon of these settings was last, if it is known.
    pub(super) fn of(settings: &str, folder: Option<&Path>) -> Self {
        let digest = <[u8; 32]>::from(Sha256::digest(settings.as_bytes()));
        let name = digest.first_chunk().map_or(0, |it| u128::from_be_bytes(*it));
        let file = folder.map(|it| it.join(format!("{name:032x}")));
        let at = file.as_ref().and_then(|it| read(it));
        Self { at, file, due: Some(Duration::ZERO) }
    }

    /// The words for the program that goes on there.
    pub(super) fn words(&mut self) -> Vec<String> {
        let now = unix_seconds();
        match &self.at {
            Some(At::Cursor(cursor)) => {
                return vec![format!("--after-cursor={cursor}"), "--lines=all".to_owned()];
            }
            // A clock that was set since makes it a time that says nothing.
            Some(At::Time(time)) if (*time..time + AGE_MAX.as_secs()).contains(&now) => {
                return vec![format!("--since=@{time}"), "--lines=all".to_owned()];
            }
            _ => {}
        }
        self.at = Some(At::Time(now));
        vec!["--since=now".to_owned(), "--lines=0".to_owned()]
    }

    /// A line was read.
    pub(super) fn read_to(&mut self, now: Duration, cursor: &str) {
        if is_cursor(cursor) {
            self.at = Some(At::Cursor(cursor.to_owned()));
            let soon = now + AFTER_LINE;
            self.due = Some(self.due.map_or(soon, |at| at.min(soon)));
        }
    }

    /// When it wants to be written.
    pub(super) fn due(&self) -> Option<Duration> {
        self.due.filter(|_| self.file.is_some())
    }

    /// Writes it. What cannot be kept is not known next time: that is no reason to stop now.
    pub(super) fn keep(&mut self, now: Duration) {
        self.due = Some(now + AT_LEAST);
        let (Some(file), Some(at)) = (&self.file, &self.at) else { return };
        let text = match at {
            At::Cursor(cursor) => format!("cursor {cursor}\n"),
            At::Time(time) => format!("time {time}\n"),
        };
        let Some(folder) = file.parent() else { return };
        let fresh = file.with_extension("new");
        let written = std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&fresh, text))
            .and_then(|()| std::fs::rename(&fresh, file));
        match written {
            Ok(()) => make_room(folder),
            Err(error) => tracing::debug!(%error, "where the journal was read to is not kept"),
        }
    }
}

fn is_cursor(text: &str) -> bool {
    !text.is_empty() && text.len() <= CURSOR_BYTES_MAX && text.bytes().all(|it| it.is_ascii_graphic())
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |it| it.as_secs())
}

/// None if there is nothing of use.
fn read(file: &Path) -> Option<At> {
    let opened = std::fs::File::open(file).ok()?;
    let written = opened.metadata().ok()?.modified().ok()?;
    // From the future is as good as from now: a clock was set.
    let age = SystemTime::now().duration_since(written).unwrap_or_default();
    let mut text = String::new();
    opened.take(2 * CURSOR_BYTES_MAX as u64).read_to_string(&mut text).ok()?;
    let (what, rest) = text.strip_suffix('\n')?.split_once(' ')?;
    match what {
        _ if age > AGE_MAX => None,
        "cursor" if is_cursor(rest) => Some(At::Cursor(rest.to_owned())),
        "time" => Some(At::Time(rest.parse().ok()?)),
        _ => None,
    }
}

fn make_room(folder: &Path) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<(SystemTime, PathBuf)> =
        entries.filter_map(|it| Some((it.metadata().ok()?.modified().ok()?, it.path()))).collect();
    files.sort();
    for (_, path) in files.iter().take(files.len().saturating_sub(FILES_MAX)) {
        // One that is gone already is as good.
        let _ = std::fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(folder: &Path) -> String {
        Place::of("a", Some(folder)).words().join(" ")
    }

    #[test]
    fn a_place_is_found_again_unless_it_is_old_or_broken() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("beacons");
        let mut place = Place::of("a", Some(&folder));
        assert_eq!(place.words().join(" "), "--since=now --lines=0");
        assert_eq!(place.due(), Some(Duration::ZERO), "that nothing came is worth to be known");
        place.keep(Duration::ZERO);
        assert!(words(&folder).starts_with("--since=@"), "{}", words(&folder));
        place.read_to(Duration::from_secs(10), "s=1;i=2");
        assert_eq!(place.due(), Some(Duration::from_secs(15)));
        for wrong in ["", "a b", "ü", &"x".repeat(CURSOR_BYTES_MAX + 1)] {
            place.read_to(Duration::from_secs(11), wrong);
        }
        place.keep(Duration::from_secs(15));
        assert_eq!(place.due(), Some(Duration::from_secs(15) + AT_LEAST));
        assert_eq!(words(&folder), "--after-cursor=s=1;i=2 --lines=all");
        assert_eq!(Place::of("b", Some(&folder)).words()[0], "--since=now", "another beacon's");

        let file = std::fs::read_dir(&folder).unwrap().flatten().next().unwrap().path();
        let opened = std::fs::File::options().write(true).open(&file).unwrap();
        opened.set_modified(SystemTime::now() - AGE_MAX - Duration::from_secs(1)).unwrap();
        assert_eq!(words(&folder), "--since=now --lines=0", "it is old");
        for broken in ["", "cursor s=1", "cursor \n", "time x\n", "time 0\n", "cursor --root=/ x\n", "x\n"] {
            std::fs::write(&file, broken).unwrap();
            assert_eq!(words(&folder), "--since=now --lines=0", "{broken:?}");
        }
        std::fs::write(&file, [0xff; 9]).unwrap();
        assert_eq!(words(&folder), "--since=now --lines=0");
    }

    #[test]
    fn files_have_a_number_and_one_that_cannot_be_written_does_no_harm() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..FILES_MAX + 5 {
            let mut place = Place::of(&number.to_string(), Some(dir.path()));
            place.words();
            place.keep(Duration::ZERO);
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), FILES_MAX);
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        for folder in [Some(file.as_path()), None] {
            let mut place = Place::of("a", folder);
            place.read_to(Duration::ZERO, "s=1");
            place.keep(Duration::ZERO);
            assert_eq!(place.words()[0], "--after-cursor=s=1");
        }
    }
}
