//! What happened to paths, put together: what follows within a moment is one change.

use std::collections::BTreeMap;
use std::time::Duration;

/// Paths that may wait to be told.
const WAITING_MAX: usize = 4096;
/// A file that is written to and not closed is told after this.
const UNCLOSED: Duration = Duration::from_secs(1);

/// What happened to a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It is new.
    Create,
    /// It was written, or another file took its place.
    Modify,
    /// It is gone.
    Delete,
    /// It came from another path, if that is known; else from somewhere that is not watched.
    Move(Option<String>),
    /// It went somewhere that is not watched.
    Away,
    /// Owner, mode or the like.
    Attributes,
}

impl Change {
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Modify => "modify",
            Self::Delete => "delete",
            Self::Move(_) | Self::Away => "move",
            Self::Attributes => "attributes",
        }
    }

    /// Whether it is wanted. What moved somewhere may be new there, or have taken the place of what was there.
    pub(super) fn is_in(&self, mask: &[String]) -> bool {
        let has = |word: &str| mask.iter().any(|it| it == word);
        match self {
            Self::Move(_) => has("move") || has("create") || has("modify"),
            Self::Away => has("move") || has("delete"),
            other => has(other.word()),
        }
    }

    fn is_end(&self) -> bool {
        matches!(self, Self::Delete | Self::Away)
    }
}

/// A change that waits.
#[derive(Clone, Debug, PartialEq)]
struct Waiting {
    change: Change,
    folder: bool,
    due: Duration,
    /// What left this path may come to another; the kernel gives both the same number.
    cookie: u32,
}

/// Changes that wait to be told.
#[derive(Debug)]
pub(super) struct Changes {
    settle: Duration,
    waiting: BTreeMap<String, Waiting>,
    /// There were too many.
    pub(super) overflow: bool,
    /// What comes now is never told.
    pub(super) muted: bool,
}

/// A change to tell.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Told {
    pub(super) path: String,
    pub(super) change: Change,
    pub(super) folder: bool,
}

impl Changes {
    pub(super) fn new(settle: Duration) -> Self {
        Self { settle, waiting: BTreeMap::new(), overflow: false, muted: false }
    }

    /// Takes a change in.
    pub(super) fn add(&mut self, now: Duration, path: &str, change: Change, folder: bool) {
        self.put(path, Waiting { change, folder, due: now + self.settle, cookie: 0 });
    }

    /// A file was written to, and may be written to for long.
    pub(super) fn written(&mut self, now: Duration, path: &str) {
        if !self.waiting.contains_key(path) {
            let due = now + self.settle.max(UNCLOSED);
            self.put(path, Waiting { change: Change::Modify, folder: false, due, cookie: 0 });
        }
    }

    /// A writer closed it.
    pub(super) fn closed(&mut self, now: Duration, path: &str) {
        let due = now + self.settle;
        match self.waiting.get_mut(path) {
            Some(waiting) if waiting.change == Change::Modify => waiting.due = waiting.due.min(due),
            _ => self.add(now, path, Change::Modify, false),
        }
    }

    /// Something left a path.
    pub(super) fn left(&mut self, now: Duration, path: &str, folder: bool, cookie: u32) {
        self.put(path, Waiting { change: Change::Away, folder, due: now + self.settle, cookie });
    }

    /// Something came to a path. `named` says that people named this very path: what comes there takes its place.
    pub(super) fn came(&mut self, now: Duration, path: &str, folder: bool, cookie: u32, named: bool) {
        let from =
            self.waiting.iter().find(|(_, it)| it.change.is_end() && it.cookie == cookie && cookie != 0);
        let from = from.map(|(from, _)| from.clone());
        if let Some(from) = &from {
            self.waiting.remove(from);
        }
        // A file that was made under another name a moment ago is how programs replace a file.
        let change = if named { Change::Modify } else { Change::Move(from) };
        self.add(now, path, change, folder);
    }

    fn put(&mut self, path: &str, new: Waiting) {
        if self.muted {
            return;
        }
        let Some(old) = self.waiting.get_mut(path) else {
            if self.waiting.len() >= WAITING_MAX {
                self.overflow = true;
            } else {
                self.waiting.insert(path.to_owned(), new);
            }
            return;
        };
        let change = match (&old.change, &new.change) {
            (Change::Create, end) if end.is_end() && new.cookie == 0 => {
                // It came and went: nobody needs to know.
                self.waiting.remove(path);
                return;
            }
            (end, Change::Create | Change::Modify | Change::Move(_)) if end.is_end() => Change::Modify,
            (_, end) if end.is_end() => new.change,
            (Change::Attributes, _) => new.change,
            _ => old.change.clone(),
        };
        let due = old.due.min(new.due);
        *old = Waiting { change, due, ..new };
    }

    /// When the next one is to be told.
    pub(super) fn next(&self) -> Option<Duration> {
        self.waiting.values().map(|it| it.due).min()
    }

    /// What is to be told now, in order of path.
    pub(super) fn due(&mut self, now: Duration) -> Vec<Told> {
        let mut told = Vec::new();
        self.waiting.retain(|path, it| {
            if it.due <= now {
                told.push(Told { path: path.clone(), change: it.change.clone(), folder: it.folder });
            }
            it.due > now
        });
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words such as `create a` or `left a 7`, a millisecond apart, and what is told of them.
    fn told(words: &[&str]) -> Vec<String> {
        let mut changes = Changes::new(Duration::from_millis(50));
        for (at, line) in (0..).map(Duration::from_millis).zip(words) {
            let mut parts = line.split(' ');
            let (word, path) = (parts.next().unwrap(), parts.next().unwrap());
            let cookie = parts.next().map_or(0, |it| it.parse().unwrap());
            match word {
                "create" => changes.add(at, path, Change::Create, false),
                "delete" => changes.add(at, path, Change::Delete, false),
                "attributes" => changes.add(at, path, Change::Attributes, false),
                "written" => changes.written(at, path),
                "closed" => changes.closed(at, path),
                "left" => changes.left(at, path, false, cookie),
                "came" => changes.came(at, path, false, cookie, false),
                "came-to-named" => changes.came(at, path, false, cookie, true),
                other => panic!("{other}"),
            }
        }
        let mut said = Vec::new();
        while let Some(at) = changes.next() {
            for it in changes.due(at) {
                let from = if let Change::Move(Some(from)) = &it.change {
                    format!(" from {from}")
                } else {
                    String::new()
                };
                said.push(format!("{} {} {}{from}", at.as_millis(), it.change.word(), it.path));
            }
        }
        said
    }

    #[test]
    fn what_follows_within_a_moment_is_one_change() {
        let cases: &[(&[&str], &[&str])] = &[
            (&["create a", "written a", "closed a"], &["50 create a"]),
            (&["written a", "written a", "closed a", "closed a"], &["52 modify a"]),
            (&["written a"], &["1000 modify a"]),
            (&["create a", "delete a"], &[]),
            (&["closed a", "delete a"], &["50 delete a"]),
            (&["delete a", "create a", "closed a"], &["50 modify a"]),
            (&["left a 7", "came b 7"], &["51 move b from a"]),
            (&["left a 7"], &["50 move a"]),
            (&["came a 7"], &["50 move a"]),
            (&["left a 7", "create a", "closed a"], &["50 modify a"]),
            (
                &["left a 7", "came a~ 7", "create a", "closed a", "delete a~"],
                &["51 delete a~", "52 create a"],
            ),
            (&["came-to-named a 7"], &["50 modify a"]),
            (&["attributes a", "closed a"], &["50 modify a"]),
            (&["create a", "attributes a"], &["50 create a"]),
            (&["closed a", "closed b"], &["50 modify a", "51 modify b"]),
        ];
        for (words, wanted) in cases {
            assert_eq!(told(words), *wanted, "{words:?}");
        }
    }

    #[test]
    fn too_many_paths_are_an_overflow_and_not_a_flood() {
        let mut changes = Changes::new(Duration::from_millis(50));
        for number in 0..WAITING_MAX + 10 {
            changes.add(Duration::ZERO, &format!("/x/{number}"), Change::Create, false);
        }
        assert!(changes.overflow);
        assert_eq!(changes.due(Duration::from_secs(1)).len(), WAITING_MAX);
    }

    #[test]
    fn what_moved_counts_as_what_it_may_be() {
        let mask = |words: &[&str]| words.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        assert!(Change::Move(None).is_in(&mask(&["modify"])));
        assert!(Change::Away.is_in(&mask(&["delete"])));
        assert!(!Change::Away.is_in(&mask(&["modify", "create"])));
        assert!(!Change::Attributes.is_in(&mask(&["modify"])));
    }
}
