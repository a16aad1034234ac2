//! The tree as a branch of a bare repository on this machine: operators push, the master takes what checks. Git is asked
//! for objects only, in a repository of our own that borrows them: no configuration, hook, attribute or filter of the
//! pushed one is ever read, and nothing of it is run.

mod objects;
mod run;

use super::Folder;
use model::{Diagnostic, Severity, Span};
use run::Git;
use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

/// Bytes of a file with references.
const REFS_BYTES_MAX: u64 = 16 << 20;
/// Bytes of a commit.
const COMMIT_BYTES_MAX: usize = 64 << 10;
/// Bytes of a list of paths that changed.
const CHANGED_BYTES_MAX: usize = 4 << 20;
/// Paths that a commit is told to change.
const CHANGED_MAX: usize = 100;
/// What git begins a tree from.
const EMPTY_TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

/// Which branch of which repository, and who must have signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitTree {
    /// A bare repository.
    pub repository: PathBuf,
    /// The branch that is followed.
    pub branch: String,
    /// Commits must be signed by a key of this file, as `ssh-keygen` knows it.
    pub signed_by: Option<PathBuf>,
    /// The folder in it that holds `states/`, `pillar/` and `reactors/`.
    pub path: PathBuf,
}

/// A commit, for events and complaints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its id.
    pub id: String,
    /// Who wrote it, as it says itself.
    pub author: String,
    /// The first line of its message.
    pub subject: String,
    /// Paths that differ from what was in use before.
    pub changed: Vec<String>,
    /// There are more of them.
    pub more_changed: bool,
}

/// Why a commit cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GitError {
    /// The file system.
    #[error("cannot {action} `{path}`: {source}")]
    Io {
        /// An infinitive.
        action: &'static str,
        /// What.
        path: PathBuf,
        /// The system's word.
        #[source]
        source: std::io::Error,
    },
    /// Git, or its word.
    #[error("git {0}")]
    Git(String),
    /// No commit to follow.
    #[error("there is no branch `{branch}` in `{repository}`")]
    NoBranch {
        /// Which.
        branch: String,
        /// Where.
        repository: PathBuf,
    },
    /// Not signed by somebody who may.
    #[error("it is not signed by a key of `{file}`: {says}")]
    NotSigned {
        /// Who may.
        file: PathBuf,
        /// What git said.
        says: String,
    },
    /// Something in it that no tree of states has.
    #[error("{0}")]
    Content(String),
}

pub(super) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> GitError {
    let path = path.to_owned();
    move |source| GitError::Io { action, path, source }
}

impl GitError {
    /// As a complaint about the branch.
    pub(crate) fn complaint(&self, tree: &GitTree) -> Diagnostic {
        let file = format!("{} of {}", tree.branch, tree.repository.display());
        let span = Span { file, line: 1, column: 1, length: 1, text: String::new(), label: String::new() };
        let help = match self {
            Self::NotSigned { .. } => "sign it: git config gpg.format ssh; git commit --amend -S",
            Self::NoBranch { .. } => "push it: git push REMOTE HEAD:BRANCH",
            Self::Content(_) => "take it out of the commit, and push again",
            Self::Io { .. } | Self::Git(_) => "the master must be able to read the repository and to run git",
        };
        Diagnostic {
            severity: Severity::Error,
            code: "E0601".into(),
            message: self.to_string(),
            spans: vec![span],
            notes: Vec::new(),
            help: Some(help.into()),
        }
    }
}

/// Whether a text can name a branch here: what it becomes a path of stays below `refs/heads`.
pub(crate) fn is_branch(text: &str) -> bool {
    let letter = |it: u8| it.is_ascii_alphanumeric() || b"-_.".contains(&it);
    let locked = |it: &str| it.strip_suffix(".lock").is_some();
    let part =
        |it: &str| !it.is_empty() && it.bytes().all(letter) && !it.starts_with(['-', '.']) && !locked(it);
    text.len() <= 128 && text.split('/').all(part) && !text.contains("..")
}

/// Whether a text is an id of an object.
fn is_id(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|it| it.is_ascii_digit() || (b'a'..=b'f').contains(&it))
}

/// A repository that is followed.
#[derive(Debug)]
pub(crate) struct Follower {
    pub(crate) tree: GitTree,
    git: Git,
    /// One folder a commit, and which was good.
    home: PathBuf,
}

impl Follower {
    /// With a folder of the master's own for checkouts.
    pub(crate) fn new(tree: GitTree, home: &Path) -> Self {
        let mut borrowed = vec![tree.repository.join("objects")];
        // While a push is judged, its objects lie apart.
        borrowed.extend(run::quarantine());
        Self { git: Git::new(home.join("objects.git"), borrowed), tree, home: home.to_owned() }
    }

    /// Folders whose changes tell of a push.
    pub(crate) fn watched(&self) -> [PathBuf; 2] {
        [self.tree.repository.join("refs/heads"), self.tree.repository.join("packed-refs")]
    }

    /// The commit that the branch is at.
    pub(crate) fn head(&self) -> Result<String, GitError> {
        let name = format!("refs/heads/{}", self.tree.branch);
        let loose = self.tree.repository.join(&name);
        let found = match read(&loose)? {
            Some(text) => Some(text.trim().to_owned()),
            None => read(&self.tree.repository.join("packed-refs"))?.and_then(|text| {
                let line = text.lines().find_map(|it| it.split_once(' ').filter(|it| it.1 == name));
                line.map(|it| it.0.to_owned())
            }),
        };
        found.filter(|it| is_id(it)).ok_or_else(|| GitError::NoBranch {
            branch: self.tree.branch.clone(),
            repository: self.tree.repository.clone(),
        })
    }

    /// What a commit says of itself, and what it changes against another.
    pub(crate) fn commit(&self, id: &str, before: Option<&str>) -> Result<Commit, GitError> {
        let raw = self.git.output(&["cat-file", "commit", id], COMMIT_BYTES_MAX)?;
        let text = String::from_utf8_lossy(&raw);
        let (head, message) = text.split_once("\n\n").unwrap_or((&text, ""));
        let author = head.lines().find_map(|it| it.strip_prefix("author ")).unwrap_or_default();
        let plain = |it: &str| it.chars().filter(|it| !it.is_control()).take(200).collect::<String>();
        let before = before.unwrap_or(EMPTY_TREE);
        let differs = ["diff-tree", "-r", "-z", "--name-only", "--no-renames", "--no-ext-diff", before, id];
        // A branch that was pushed by force may be of another history, whose objects are gone.
        let paths = self.git.output(&differs, CHANGED_BYTES_MAX).unwrap_or_default();
        let paths: Vec<String> = paths
            .split(|it| *it == 0)
            .filter(|it| !it.is_empty())
            .take(CHANGED_MAX + 1)
            .map(|it| plain(&String::from_utf8_lossy(it)))
            .collect();
        Ok(Commit {
            id: id.to_owned(),
            author: plain(author.split_once(" <").map_or(author, |it| it.0)),
            subject: plain(message.lines().next().unwrap_or_default()),
            more_changed: paths.len() > CHANGED_MAX,
            changed: paths.into_iter().take(CHANGED_MAX).collect(),
        })
    }

    /// Whether somebody who may has signed it.
    pub(crate) fn verify(&self, id: &str) -> Result<(), GitError> {
        let Some(file) = &self.tree.signed_by else { return Ok(()) };
        if model::broken::leaves_out("push-signature") {
            return Ok(());
        }
        // Without it, git would take any good signature for nobody's, and say so in other words.
        std::fs::File::open(file).map_err(io_error("read", file))?;
        self.git.verify(id, file).map_err(|says| GitError::NotSigned { file: file.clone(), says })
    }

    /// Puts a commit into a folder of its own, and says where its trees are.
    pub(crate) fn check_out(&self, id: &str) -> Result<Folder, GitError> {
        let folder = self.home.join(id);
        if folder.is_dir() {
            std::fs::remove_dir_all(&folder).map_err(io_error("remove", &folder))?;
        }
        objects::write(&self.git, id, &folder)?;
        Ok(self.folder(id))
    }

    fn folder(&self, id: &str) -> Folder {
        Folder::native(self.home.join(id).join(&self.tree.path))
    }

    /// The newest commit that was good, if it is still there.
    pub(crate) fn good(&self) -> Option<(String, Folder)> {
        let id = std::fs::read_to_string(self.home.join("good")).ok()?.trim().to_owned();
        (is_id(&id) && self.home.join(&id).is_dir()).then(|| (id.clone(), self.folder(&id)))
    }

    /// This one is good: it is what the next start begins with. Older checkouts than the one before go.
    pub(crate) fn keep(&self, id: &str, before: Option<&str>) {
        // What the next start begins with is whole on disk before it is named; without power in between, the one before.
        let synced = objects::sync(&self.home.join(id)).and_then(|()| File::open(&self.home)?.sync_all());
        let kept = synced.and_then(|()| crate::init::write_whole(&self.home.join("good"), id.as_bytes()));
        if let Err(error) = kept {
            tracing::warn!(%error, "cannot keep which commit was good: the next start begins with the one before");
            return;
        }
        for other in self.checkouts() {
            if other != id && Some(other.as_str()) != before {
                let _ = std::fs::remove_dir_all(self.home.join(other));
            }
        }
    }

    /// A commit that cannot be used goes.
    pub(crate) fn discard(&self, id: &str) {
        if self.good().is_none_or(|it| it.0 != id) {
            let _ = std::fs::remove_dir_all(self.home.join(id));
        }
    }

    fn checkouts(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.home).into_iter().flatten().flatten();
        entries.filter_map(|it| it.file_name().into_string().ok()).filter(|it| is_id(it)).collect()
    }
}

fn read(path: &Path) -> Result<Option<String>, GitError> {
    match std::fs::File::open(path) {
        Ok(file) => {
            let mut text = String::new();
            match file.take(REFS_BYTES_MAX).read_to_string(&mut text) {
                Ok(_) => Ok(Some(text)),
                Err(error) => Err(io_error("read", path)(error)),
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("read", path)(error)),
    }
}
