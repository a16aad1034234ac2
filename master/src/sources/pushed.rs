//! The trees with a branch in front of them: a commit is looked at beside what is in use, and takes its place only if
//! everything in it checks.

use super::{
    Folder, Layout, Reading, Sources,
    git::{Commit, Follower, GitError},
};
use model::Diagnostic;
use std::path::PathBuf;

/// What is new of the trees.
#[derive(Debug)]
pub(crate) enum News {
    /// They were read; by a commit, if it was one.
    Trees(Reading, Option<Commit>),
    /// A commit cannot be used: what was in use stays.
    Bad(Option<Commit>, Vec<Diagnostic>),
}

/// Trees in folders, and perhaps a branch in front of them.
#[derive(Debug)]
pub(crate) struct Trees {
    /// Without the branch.
    base: Layout,
    sources: Sources,
    follower: Option<Follower>,
    /// The commit that is in use.
    good: Option<String>,
    /// The one that was looked at last, unless it is to be looked at again, and whether something was wrong.
    tried: Option<String>,
    bad: bool,
    /// What was told to be wrong, and of which commit.
    told: Option<(Option<String>, Vec<Diagnostic>)>,
}

impl Trees {
    /// Begins with the commit that was good before, if there is one.
    pub(crate) fn new(base: Layout, follower: Option<Follower>) -> Self {
        let good = follower.as_ref().and_then(Follower::good);
        let first = good.as_ref().map(|it| &it.1);
        let sources = Sources::new(in_front(&base, first));
        let good = good.map(|it| it.0);
        Self { base, sources, follower, tried: good.clone(), good, bad: false, told: None }
    }

    /// Where the folders lie.
    pub(crate) fn layout(&self) -> &Layout {
        &self.base
    }

    /// What else tells of a change.
    pub(crate) fn watched(&self) -> Vec<PathBuf> {
        self.follower.iter().flat_map(Follower::watched).collect()
    }

    /// Whether there is a branch.
    pub(crate) fn follows(&self) -> bool {
        self.follower.is_some()
    }

    /// A commit that could not be used is looked at once more: something else may be right now.
    pub(crate) fn try_again(&mut self) {
        if self.bad {
            self.tried = None;
        }
    }

    /// What is new since the last look. Blocks: not for a runtime's thread.
    pub(crate) fn look(&mut self) -> Vec<News> {
        let reading = self.sources.read();
        if let Some(reading) = &reading {
            // It was judged together with what is behind it.
            self.try_again();
            if reading.errors.is_empty() {
                // Who hears that these are well hears anew what is not.
                self.told = None;
            }
        }
        let mut news: Vec<News> = reading.map(|it| News::Trees(it, None)).into_iter().collect();
        let Some(follower) = self.follower.take() else { return news };
        news.extend(self.look_at(&follower));
        self.follower = Some(follower);
        news
    }

    fn look_at(&mut self, follower: &Follower) -> Option<News> {
        let head = match follower.head() {
            Ok(head) => head,
            // Nobody has pushed yet.
            Err(GitError::NoBranch { .. }) if self.good.is_none() => return None,
            Err(error) => {
                self.tried = None;
                return self.tell_bad(None, None, vec![error.complaint(&follower.tree)]);
            }
        };
        if self.tried.as_ref() == Some(&head) {
            return None;
        }
        self.tried = Some(head.clone());
        if self.good.as_ref() == Some(&head) {
            // What was wrong was taken back.
            (self.bad, self.told) = (false, None);
            self.sources.forget();
            return self.sources.read().map(|it| News::Trees(it, None));
        }
        self.try_out(follower, &head)
    }

    fn try_out(&mut self, follower: &Follower, head: &str) -> Option<News> {
        let commit = follower.commit(head, self.good.as_deref());
        let (commit, checked_out) = match commit {
            Ok(commit) => (Some(commit), follower.verify(head).and_then(|()| follower.check_out(head))),
            Err(error) => (None, Err(error)),
        };
        let errors = match checked_out {
            Err(error) => {
                if !matches!(error, GitError::Content(_)) {
                    // That is not the commit's fault, or no more than the list's of those who may sign.
                    self.tried = None;
                }
                vec![error.complaint(&follower.tree)]
            }
            Ok(folder) => {
                let mut sources = Sources::new(in_front(&self.base, Some(&folder)));
                match sources.read() {
                    Some(reading) if reading.errors.is_empty() => {
                        self.sources = sources;
                        let before = self.good.replace(head.to_owned());
                        follower.keep(head, before.as_deref());
                        (self.bad, self.told) = (false, None);
                        return Some(News::Trees(reading, commit));
                    }
                    reading => reading.map(|it| it.errors).unwrap_or_default(),
                }
            }
        };
        follower.discard(head);
        self.tell_bad(Some(head), commit, errors)
    }

    /// Something is wrong: told if that is new.
    fn tell_bad(
        &mut self,
        head: Option<&str>,
        commit: Option<Commit>,
        errors: Vec<Diagnostic>,
    ) -> Option<News> {
        self.bad = true;
        let now = Some((head.map(str::to_owned), errors.clone()));
        let known = self.told == now;
        self.told = now;
        (!known).then_some(News::Bad(commit, errors))
    }
}

fn in_front(base: &Layout, tree: Option<&Folder>) -> Layout {
    tree.map_or_else(|| base.clone(), |it| base.clone().with_first(it))
}

/// What is wrong with a commit that somebody pushes, before it is let in.
pub(crate) fn judge(base: &Layout, follower: &Follower, commit: &str) -> Vec<Diagnostic> {
    let out = follower.verify(commit).and_then(|()| follower.check_out(commit));
    match out {
        Err(error) => vec![error.complaint(&follower.tree)],
        Ok(folder) => {
            let reading = Sources::new(in_front(base, Some(&folder))).read();
            reading.map(|it| it.errors).unwrap_or_default()
        }
    }
}

#[cfg(test)]
mod tests;
